/*
 * Which statements are prepared, what they cost in waits, and what happens when the server no longer
 * has them or they no longer fit.
 */
#define _GNU_SOURCE
#include "things.h"

#define COUNT 600

typedef struct number_row {
    int64_t value;
} number_row;

static const stele_gen_column number_columns[] = {
    {"value", STELE_GEN_INT8, false, offsetof(number_row, value), NULL},
};

static made numbers[COUNT];
static char texts[COUNT][64];

static int setup(void **state)
{
    for (int i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "SELECT %d::int8 AS value", i);
        make_read(&numbers[i], "numbers", texts[i], number_columns, 1, sizeof(number_row));
    }
    return setup_database(state);
}

static void use_number(stele_conn *conn, int i)
{
    stele_error err;
    number_row row = {-1};
    assert_ok(stele_gen_value(conn, &numbers[i].stmt, NULL, 0, &row, &err), &err);
    assert_int_equal(row.value, i);
}

static int prepared(stele_conn *conn)
{
    return (int)strtol(ask(conn, "SELECT count(*) FROM pg_prepared_statements"), NULL, 10);
}

static stele_db *open_cache(const char *name, uint32_t capacity, bool unnamed)
{
    stele_db_options options = options_for(name, 2);
    options.statement_cache = capacity;
    options.unnamed_statements = unnamed;
    return open_with(&options);
}

static void a_second_use_prepares_and_every_call_waits_once(void **state)
{
    (void)state;
    stele_db *db = open_cache("second", 0, false);
    stele_conn *conn = acquire(db);
    uint64_t before = stele_conn_round_trips(conn);
    for (int use = 0; use < 4; use++) {
        use_number(conn, 0);
        assert_int_equal(waits_since(conn, &before), 1);
        assert_int_equal(prepared(conn), use >= 1);
        before = stele_conn_round_trips(conn);
    }
    stele_conn_release(conn);
    stele_db_close(db);
}

/* Control: the same number of other statements less one, and it is prepared. */
static void only_a_use_within_256_counts(void **state)
{
    (void)state;
    for (int between = 255; between <= 256; between++) {
        stele_db *db = open_cache("recent", 0, false);
        stele_conn *conn = acquire(db);
        use_number(conn, 0);
        for (int i = 1; i <= between; i++)
            use_number(conn, i);
        use_number(conn, 0);
        assert_int_equal(prepared(conn), between == 255);
        stele_conn_release(conn);
        stele_db_close(db);
    }
}

static void unnamed_mode_never_prepares(void **state)
{
    (void)state;
    stele_db *db = open_cache("unnamed", 0, true);
    stele_conn *conn = acquire(db);
    uint64_t before = stele_conn_round_trips(conn);
    for (int use = 0; use < 4; use++)
        use_number(conn, 0);
    assert_int_equal(waits_since(conn, &before), 4);
    assert_int_equal(prepared(conn), 0);
    stele_conn_release(conn);
    stele_db_close(db);
}

static void the_least_recently_used_is_deallocated_in_the_same_wait(void **state)
{
    (void)state;
    stele_db *db = open_cache("lru", 3, false);
    stele_conn *conn = acquire(db);
    for (int i = 0; i < 3; i++) {
        use_number(conn, i);
        use_number(conn, i);
    }
    assert_int_equal(prepared(conn), 3);
    use_number(conn, 0); /* now 1 is the oldest */
    use_number(conn, 3);
    uint64_t before = stele_conn_round_trips(conn);
    use_number(conn, 3);
    assert_int_equal(waits_since(conn, &before), 1);
    assert_int_equal(prepared(conn), 3);
    assert_string_equal(ask(conn,
                            "SELECT string_agg(substr(statement, 8, 1), ',' ORDER BY statement)"
                            " FROM pg_prepared_statements"),
                        "0,2,3");
    stele_conn_release(conn);
    stele_db_close(db);
}

static void the_cache_stays_bounded(void **state)
{
    (void)state;
    stele_db *db = open_cache("bound", 16, false);
    stele_conn *conn = acquire(db);
    for (int i = 0; i < COUNT; i++) {
        use_number(conn, i);
        use_number(conn, i);
        use_number(conn, i / 2);
    }
    assert_int_equal(prepared(conn), 16);
    stele_conn_release(conn);
    stele_db_close(db);
}

/* A name depends on text and types alone: poolers share what other processes have prepared. */
static void every_process_uses_the_same_names(void **state)
{
    (void)state;
    stele_db *db = open_cache("names", 0, false);
    stele_conn *conns[2] = {acquire(db), acquire(db)};
    char *names[2];
    for (int i = 0; i < 2; i++) {
        use_number(conns[i], 7);
        use_number(conns[i], 7);
        names[i] = strdup(ask(conns[i], "SELECT name FROM pg_prepared_statements"));
    }
    assert_string_equal(names[0], names[1]);
    assert_string_equal(names[0], "stele_dfcd087d599b0379");
    for (int i = 0; i < 2; i++) {
        free(names[i]);
        stele_conn_release(conns[i]);
    }
    stele_db_close(db);
}

/* ---- the server's side changes ---- */

static void use_twice(stele_conn *conn)
{
    stele_error err;
    assert_ok(find_thing(conn, 1, &err), &err);
    assert_ok(find_thing(conn, 1, &err), &err);
}

static stele_conn *conn_with_find(stele_db **ret_db)
{
    create_things();
    dbtest_exec(dsn, "INSERT INTO things (id, name) VALUES (1, 'one')");
    *ret_db = open_cache("stale", 0, false);
    stele_conn *conn = acquire(*ret_db);
    use_twice(conn);
    assert_int_equal(prepared(conn), 1);
    return conn;
}

static const struct change {
    const char *what;
    const char *sql;
    bool own_session; /* run on the lease itself */
    const char *sqlstate;
} changes[] = {
    {"type change", "ALTER TABLE things ALTER name TYPE text", false, "0A000"},
    {"DEALLOCATE ALL", "DEALLOCATE ALL", true, "26000"},
    {"DISCARD ALL", "DISCARD ALL", true, "26000"},
    {"recreated",
     "ALTER TABLE things RENAME TO old; CREATE TABLE things (LIKE old INCLUDING ALL); "
     "INSERT INTO things SELECT * FROM old; DROP TABLE old",
     false, NULL},
};

static void change(stele_conn *conn, const struct change *c)
{
    if (c->own_session)
        run_sql(conn, c->sql);
    else
        dbtest_exec(dsn, c->sql);
}

/* Control: a plain prepared statement fails after the same change (those with an SQLSTATE). */
static void plain_execution_fails(const struct change *c)
{
    if (c->sqlstate == NULL)
        return;
    create_things();
    stele_db *db = open_cache("plain", 0, false);
    stele_conn *conn = acquire(db);
    stele_error err;
    run_sql(conn, "PREPARE p AS SELECT t.id, t.name FROM things AS t");
    run_sql(conn, "EXECUTE p");
    change(conn, c);
    assert_int_not_equal(try_sql(conn, "EXECUTE p", &err), STELE_OK);
    assert_string_equal(err.sqlstate, c->sqlstate);
    stele_conn_release(conn);
    stele_db_close(db);
}

static void outside_a_transaction_the_statement_is_prepared_anew(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        stele_db *db;
        stele_error err;
        plain_execution_fails(&changes[i]);
        stele_conn *conn = conn_with_find(&db);
        change(conn, &changes[i]);
        assert_ok(find_thing(conn, 1, &err), &err);
        assert_ok(find_thing(conn, 1, &err), &err);
        assert_int_equal(prepared(conn), 1);
        uint64_t before = stele_conn_round_trips(conn);
        assert_ok(find_thing(conn, 1, &err), &err);
        assert_int_equal(waits_since(conn, &before), 1);
        stele_conn_release(conn);
        stele_db_close(db);
    }
}

static void inside_a_transaction_the_error_is_retryable(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        if (changes[i].sqlstate == NULL)
            continue;
        stele_db *db;
        stele_error err;
        stele_conn *conn = conn_with_find(&db);
        change(conn, &changes[i]);
        assert_int_equal(stele_tx_begin(conn, NULL, &err), STELE_OK);
        assert_true(find_thing(conn, 1, &err) < 0);
        assert_string_equal(err.sqlstate, changes[i].sqlstate);
        assert_true(err.retryable);
        assert_int_equal(stele_tx_commit(conn, &err), STELE_E_ABORTED);
        assert_ok(find_thing(conn, 1, &err), &err);
        stele_conn_release(conn);
        stele_db_close(db);
    }
}

static int goes;

static stele_status find_last(stele_conn *conn, void *user, stele_error *err)
{
    (void)user;
    goes++;
    stele_status st = insert_thing(conn, 100 + goes, "go", err);
    return st == STELE_OK ? find_thing(conn, 1, err) : st;
}

/* The find is not the first statement: it is replaced within the open transaction. */
static void a_transaction_succeeds_on_the_second_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        stele_db *db;
        stele_error err;
        stele_conn *conn = conn_with_find(&db);
        change(conn, &changes[i]);
        goes = 0;
        assert_ok(stele_tx_run(conn, NULL, find_last, NULL, &err), &err);
        assert_int_equal(goes, changes[i].sqlstate != NULL ? 2 : 1);
        assert_int_equal(count_things(), 2);
        stele_conn_release(conn);
        stele_db_close(db);
    }
}

static void use_numbers(stele_conn *conn, int first, int end)
{
    for (int i = first; i < end; i++) {
        use_number(conn, i);
        use_number(conn, i);
    }
}

static stele_status use_fourth(stele_conn *conn, void *user, stele_error *err)
{
    (void)user;
    number_row row;
    goes++;
    stele_status st = find_thing(conn, 1, err);
    for (int i = 0; i < 2 && st == STELE_OK; i++)
        st = stele_gen_value(conn, &numbers[4].stmt, NULL, 0, &row, err);
    return st;
}

/* The victim of an eviction was deallocated behind our back, and the transaction is open. */
static void a_victim_that_is_gone_costs_one_more_go(void **state)
{
    (void)state;
    create_things();
    dbtest_exec(dsn, "INSERT INTO things (id, name) VALUES (1, 'one')");
    stele_db *db = open_cache("victim", 3, false);
    stele_conn *conn = acquire(db);
    stele_error err;
    use_numbers(conn, 0, 3);
    char sql[128];
    snprintf(sql, sizeof sql, "DEALLOCATE %s",
             ask(conn, "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%0::int8%'"));
    run_sql(conn, sql);
    goes = 0;
    assert_ok(stele_tx_run(conn, NULL, use_fourth, NULL, &err), &err);
    assert_int_equal(goes, 2);
    stele_conn_release(conn);
    stele_db_close(db);
}

static void a_name_that_is_there_already_is_adopted(void **state)
{
    (void)state;
    stele_db *db = open_cache("adopt", 0, false);
    stele_conn *conn = acquire(db);
    use_number(conn, 5);
    use_number(conn, 5);
    char sql[128];
    snprintf(sql, sizeof sql, "PREPARE %s AS SELECT 5::int8 AS value",
             ask(conn, "SELECT name FROM pg_prepared_statements"));
    stele_conn *other = acquire(db);
    run_sql(other, sql);
    use_number(other, 5);
    uint64_t before = stele_conn_round_trips(other);
    use_number(other, 5); /* prepares: 42P05 */
    assert_int_equal(waits_since(other, &before), 1);
    use_number(other, 5);
    assert_string_equal(ask(other, "SELECT bool_and(from_sql) FROM pg_prepared_statements"), "t");
    stele_conn_release(conn);
    stele_conn_release(other);
    stele_db_close(db);
}

static stele_status use_fifth_twice(stele_conn *conn, void *user, stele_error *err)
{
    (void)user;
    number_row row;
    goes++;
    stele_status st = STELE_OK;
    for (int i = 0; i < 2 && st == STELE_OK; i++)
        st = stele_gen_value(conn, &numbers[5].stmt, NULL, 0, &row, err);
    return st;
}

/* The same inside a transaction: the failed prepare aborts it, and running it again does. */
static void a_name_adopted_inside_a_transaction_costs_one_more_go(void **state)
{
    (void)state;
    stele_db *db = open_cache("adopt2", 0, false);
    stele_conn *conn = acquire(db);
    stele_error err;
    use_number(conn, 5);
    use_number(conn, 5);
    char sql[128];
    snprintf(sql, sizeof sql, "PREPARE %s AS SELECT 5::int8 AS value",
             ask(conn, "SELECT name FROM pg_prepared_statements"));
    stele_conn *other = acquire(db);
    run_sql(other, sql);
    goes = 0;
    assert_ok(stele_tx_run(other, NULL, use_fifth_twice, NULL, &err), &err);
    assert_int_equal(goes, 2);
    stele_conn_release(conn);
    stele_conn_release(other);
    stele_db_close(db);
}

/* ---- prepares that fail ---- */

static void a_failed_prepare_is_not_remembered(void **state)
{
    (void)state;
    stele_db *db = open_cache("failed", 2, false);
    stele_conn *conn = acquire(db);
    stele_error err;
    use_numbers(conn, 0, 2);
    dbtest_exec(dsn, "DROP TABLE IF EXISTS things");
    for (int i = 0; i < 3; i++) {
        uint64_t before = stele_conn_round_trips(conn);
        assert_int_equal(find_thing(conn, 1, &err), STELE_E_SCHEMA);
        assert_string_equal(err.sqlstate, "42P01");
        assert_int_equal(waits_since(conn, &before), 1);
    }
    create_things();
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
    /* What the failed prepares pushed out is known to be gone, also within a transaction. */
    assert_int_equal(stele_tx_begin(conn, NULL, &err), STELE_OK);
    use_number(conn, 0);
    use_number(conn, 1);
    assert_ok(stele_tx_commit(conn, &err), &err);
    stele_conn_release(conn);
    stele_db_close(db);
}

/* A savepoint protects from a prepare that fails just as from an execution. */
static void a_savepoint_catches_a_failed_prepare(void **state)
{
    (void)state;
    dbtest_exec(dsn, "DROP TABLE IF EXISTS things");
    stele_db *db = open_cache("savepoint", 0, false);
    stele_conn *conn = acquire(db);
    stele_error err;
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_SCHEMA);
    assert_int_equal(stele_tx_begin(conn, NULL, &err), STELE_OK);
    use_number(conn, 0);
    assert_int_equal(stele_tx_savepoint(conn, "s", &err), STELE_OK);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_SCHEMA); /* the second use: it prepares */
    assert_ok(stele_tx_rollback_to(conn, "s", &err), &err);
    use_number(conn, 0);
    assert_ok(stele_tx_commit(conn, &err), &err);
    stele_conn_release(conn);
    stele_db_close(db);
}

/* A statement that always fails like a stale plan is not run for ever. */
static void a_function_that_lacks_its_table_is_no_stale_plan(void **state)
{
    (void)state;
    dbtest_exec(dsn,
                "CREATE SEQUENCE IF NOT EXISTS tries; "
                "CREATE OR REPLACE FUNCTION lacks() RETURNS int8 LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM nextval('tries'); PERFORM 1 FROM nothing_here; RETURN 1; END $$");
    static made lacks;
    make_read(&lacks, "lacks", "SELECT lacks() AS value", number_columns, 1, sizeof(number_row));
    stele_db *db = open_cache("lacks", 0, false);
    stele_conn *conn = acquire(db);
    stele_error err;
    number_row row;
    for (int i = 0; i < 4; i++)
        assert_int_equal(stele_gen_value(conn, &lacks.stmt, NULL, 0, &row, &err), STELE_E_SCHEMA);
    assert_true(strtol(ask(conn, "SELECT last_value FROM tries"), NULL, 10) <= 8);
    stele_conn_release(conn);
    stele_db_close(db);
}

/* Types are looked at whenever the statement is not prepared: 8 bytes may mean many things. */
static void a_type_change_between_unnamed_uses_is_seen(void **state)
{
    (void)state;
    create_things();
    dbtest_exec(dsn, "INSERT INTO things (id, name) VALUES (1, 'one')");
    stele_db *db = open_cache("types", 0, true);
    stele_conn *conn = acquire(db);
    stele_error err;
    assert_ok(find_thing(conn, 1, &err), &err);
    dbtest_exec(dsn, "ALTER TABLE things ALTER at TYPE timestamptz");
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_SCHEMA);
    assert_string_equal(err.column, "at");
    assert_string_equal(err.table, "things");
    stele_conn_release(conn);
    stele_db_close(db);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_use_prepares_and_every_call_waits_once),
        cmocka_unit_test(only_a_use_within_256_counts),
        cmocka_unit_test(unnamed_mode_never_prepares),
        cmocka_unit_test(the_least_recently_used_is_deallocated_in_the_same_wait),
        cmocka_unit_test(the_cache_stays_bounded),
        cmocka_unit_test(every_process_uses_the_same_names),
        cmocka_unit_test(outside_a_transaction_the_statement_is_prepared_anew),
        cmocka_unit_test(inside_a_transaction_the_error_is_retryable),
        cmocka_unit_test(a_transaction_succeeds_on_the_second_go),
        cmocka_unit_test(a_victim_that_is_gone_costs_one_more_go),
        cmocka_unit_test(a_name_that_is_there_already_is_adopted),
        cmocka_unit_test(a_name_adopted_inside_a_transaction_costs_one_more_go),
        cmocka_unit_test(a_failed_prepare_is_not_remembered),
        cmocka_unit_test(a_savepoint_catches_a_failed_prepare),
        cmocka_unit_test(a_function_that_lacks_its_table_is_no_stale_plan),
        cmocka_unit_test(a_type_change_between_unnamed_uses_is_seen),
    };
    return cmocka_run_group_tests(tests, setup, teardown_database);
}
