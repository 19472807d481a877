/* Pipelines: batches, slots, what failed, bounds, snapshots, transactions, plans gone stale. */
#define _GNU_SOURCE
#include <poll.h>

#include "stele/gen/flow.h"
#include "things.h"

static stele_db *db;
static stele_conn *conn;
static stele_pipeline *p;
static stele_error err;

static int open_all(void **state)
{
    (void)state;
    create_things();
    db = open_db("pipeline", 2);
    conn = acquire(db);
    assert_ok(stele_pipeline_open(conn, NULL, &p, &err), &err);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    stele_pipeline_close(p);
    stele_conn_release(conn);
    stele_db_close(db);
    return 0;
}

static void reopen(const stele_pipeline_options *options)
{
    stele_pipeline_close(p);
    assert_ok(stele_pipeline_open(conn, options, &p, &err), &err);
}

/* ---- queue forms, as generated code has them ---- */

static stele_status queue_find(stele_pipeline *to, int64_t id, thing_row **ret_row)
{
    const void *args[] = {&id};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROW, .out = ret_row};
    return stele_gen_queue(to, &thing_find, args, 0, &slot, &err);
}

static stele_status queue_input(stele_pipeline *to, const thing_input *input, uint64_t *ret_count)
{
    const void *args[] = {input};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC, .count = ret_count};
    return stele_gen_queue(to, &thing_insert, args, 0, &slot, &err);
}

static stele_status queue_insert(stele_pipeline *to, int64_t id, const char *name)
{
    thing_input input = {.id = stele_i64_v(id), .name = stele_text_v(name)};
    return queue_input(to, &input, NULL);
}

static stele_status queue_list(stele_pipeline *to, int64_t limit, thing_row **ret_rows,
                               size_t *ret_count)
{
    const void *args[] = {&limit};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROWS, .out = ret_rows, .count = ret_count};
    return stele_gen_queue(to, &thing_list, args, 0, &slot, &err);
}

static stele_status queue_sql(stele_pipeline *to, made *m, const char *sql, uint64_t *ret_count)
{
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC, .count = ret_count};
    make(m, "sql", sql, NULL, 0);
    return stele_gen_queue(to, &m->stmt, NULL, 0, &slot, &err);
}

static void insert_many(int from, int to)
{
    for (int i = from; i < to; i++)
        assert_ok(queue_insert(p, i, "x"), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
}

/* ---- batches ---- */

static void test_ten_finds_take_one_round_trip(void **state)
{
    (void)state;
    insert_many(0, 10);
    for (int round = 0; round < 3; round++) {
        thing_row *rows[11];
        memset(rows, 0xff, sizeof rows);
        uint64_t before = stele_conn_round_trips(conn);
        for (int i = 0; i < 11; i++)
            assert_ok(queue_find(p, i, &rows[i]), &err);
        assert_int_equal(stele_pipeline_count(p), 11);
        assert_int_equal(stele_conn_round_trips(conn), before);
        assert_ok(stele_pipeline_sync(p, &err), &err);
        assert_int_equal(waits_since(conn, &before), 1);
        assert_int_equal(stele_pipeline_count(p), 0);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(rows[i]->id, i);
            assert_memory_equal(rows[i]->name.data, "x", 1);
            stele_gen_free(rows[i]);
        }
        assert_null(rows[10]); /* not found is no failure of the others */
    }
}

static void test_what_is_worth_it_is_prepared_in_the_same_flush(void **state)
{
    (void)state;
    thing_row *rows[2];
    uint64_t before = stele_conn_round_trips(conn);
    assert_ok(queue_find(p, 1, &rows[0]), &err);
    assert_ok(queue_find(p, 2, &rows[1]), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(waits_since(conn, &before), 1);
    assert_string_equal(ask(conn, "SELECT count(*) FROM pg_prepared_statements"), "1");
}

static void test_statements_mix_and_slots_are_filled(void **state)
{
    (void)state;
    made update, count;
    uint64_t inserted = 77, updated = 77;
    size_t listed = 77;
    thing_row *list = NULL, *row = NULL;
    int64_t total = 0;
    static const stele_gen_column columns[] = {{"count", STELE_GEN_INT8, false, 0, NULL}};
    stele_gen_slot value = {.kind = STELE_GEN_SLOT_VALUE, .out = &total};
    thing_input input = {.id = stele_i64_v(1), .name = stele_text_v("one")};
    assert_ok(queue_input(p, &input, &inserted), &err);
    assert_ok(queue_insert(p, 2, "two"), &err);
    assert_ok(queue_sql(p, &update, "UPDATE things SET n = 5", &updated), &err);
    assert_ok(queue_list(p, 10, &list, &listed), &err);
    assert_ok(queue_find(p, 2, &row), &err);
    make_read(&count, "count", "SELECT count(*) FROM things", columns, 1, sizeof total);
    assert_ok(stele_gen_queue(p, &count.stmt, NULL, 0, &value, &err), &err);
    assert_null(row);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(inserted, 1);
    assert_int_equal(updated, 2);
    assert_int_equal(listed, 2);
    assert_int_equal(list[1].n.v, 5);
    assert_int_equal(row->id, 2);
    assert_int_equal(total, 2);
    stele_gen_free(list);
    stele_gen_free(row);
}

static void test_inputs_may_go_away_at_once(void **state)
{
    (void)state;
    char name[6];
    char doc[64];
    thing_row *rows[20];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%d", i);
        snprintf(doc, sizeof doc, "{\"a\": %d}", i);
        thing_input input = {
            .id = stele_i64_v(i), .name = stele_text_v(name), .doc = stele_text_n_v(doc)};
        assert_ok(queue_input(p, &input, NULL), &err);
        memset(&input, 0xee, sizeof input);
        memset(name, 0xee, sizeof name);
        memset(doc, 0xee, sizeof doc);
    }
    for (int i = 0; i < 20; i++)
        assert_ok(queue_find(p, i, &rows[i]), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    for (int i = 0; i < 20; i++) {
        snprintf(doc, sizeof doc, "{\"a\": %d}", i);
        assert_memory_equal(rows[i]->doc.data, doc, strlen(doc));
        stele_gen_free(rows[i]);
    }
}

/* ---- errors ---- */

static void test_an_input_that_is_wrong_is_refused_at_once(void **state)
{
    (void)state;
    thing_input input = {.id = stele_i64_v(1)};
    assert_int_equal(queue_input(p, &input, NULL), STELE_E_INPUT);
    assert_string_equal(err.column, "name");
    assert_int_equal(stele_pipeline_count(p), 0);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND); /* the lease is free */
    assert_ok(queue_insert(p, 2, "two"), &err);
    assert_int_equal(queue_input(p, &input, NULL), STELE_E_INPUT);
    assert_int_equal(stele_pipeline_count(p), 1);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(count_things(), 1);
}

static void test_a_failure_names_its_entry_and_undoes_the_rest(void **state)
{
    (void)state;
    insert_many(5, 6);
    uint64_t counts[3] = {77, 77, 77};
    thing_row *row = (thing_row *)&counts;
    thing_input input = {.name = stele_text_v("x")};
    for (int i = 0; i < 3; i++) {
        input.id = stele_i64_v(4 + i); /* 5 is taken */
        assert_ok(queue_input(p, &input, &counts[i]), &err);
    }
    assert_ok(queue_find(p, 5, &row), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), 1);
    assert_string_equal(err.sqlstate, "23505");
    assert_string_equal(err.constraint, "things_pkey");
    assert_non_null(strstr(err.message, "entry 1 (things_insert): "));
    assert_non_null(strstr(err.message, "rolled back"));
    assert_false(err.outcome_unknown);
    assert_int_equal(count_things(), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(counts[i], 77); /* no slot is touched */
    assert_ptr_equal(row, (thing_row *)&counts);
    /* Pipeline and connection go on. */
    assert_ok(queue_insert(p, 9, "nine"), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(stele_pipeline_failed_entry(p), STELE_NO_ENTRY);
    assert_int_equal(count_things(), 2);
}

static void test_an_error_at_the_commit_is_of_no_entry(void **state)
{
    (void)state;
    dbtest_exec(dsn, "ALTER TABLE things ADD CONSTRAINT n_once UNIQUE (n) "
                     "DEFERRABLE INITIALLY DEFERRED");
    thing_input input = {.name = stele_text_v("x"), .n = stele_i32_n_v(1)};
    for (int i = 0; i < 2; i++) {
        input.id = stele_i64_v(i);
        assert_ok(queue_input(p, &input, NULL), &err);
    }
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), STELE_NO_ENTRY);
    assert_int_equal(count_things(), 0);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
}

static void test_a_prepare_that_fails_is_told_of_its_entry(void **state)
{
    (void)state;
    made missing;
    for (int i = 0; i < 5; i++) {
        assert_ok(queue_insert(p, i, "x"), &err);
        assert_ok(queue_sql(p, &missing, "SELECT 1 FROM missing", NULL), &err);
        assert_ok(queue_sql(p, &missing, "SELECT 1 FROM missing", NULL), &err);
        assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_SCHEMA);
        assert_string_equal(err.sqlstate, "42P01");
        assert_int_equal(stele_pipeline_failed_entry(p), 1);
        assert_int_equal(count_things(), 0);
    }
}

static void test_a_row_of_another_shape_is_told_as_done(void **state)
{
    (void)state;
    static const stele_gen_column columns[] = {{"n", STELE_GEN_INT4, false, 0, NULL}};
    made wrong;
    int32_t n;
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_VALUE, .out = &n};
    make_read(&wrong, "wrong", "SELECT NULL::int4", columns, 1, sizeof n);
    assert_ok(queue_insert(p, 1, "one"), &err);
    assert_ok(stele_gen_queue(p, &wrong.stmt, NULL, 0, &slot, &err), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_NULL);
    assert_int_equal(stele_pipeline_failed_entry(p), 1);
    assert_true(err.outcome_unknown);
    assert_int_equal(count_things(), 1);
}

/* ---- who may use the connection ---- */

static void test_other_calls_are_refused_meanwhile(void **state)
{
    (void)state;
    stele_pipeline *other = NULL;
    assert_ok(queue_insert(p, 1, "one"), &err);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_MISUSE);
    assert_int_equal(stele_conn_exec(conn, "SELECT 1", NULL, 0, NULL, &err), STELE_E_MISUSE);
    assert_int_equal(stele_tx_begin(conn, NULL, &err), STELE_E_MISUSE);
    assert_ok(stele_pipeline_open(conn, NULL, &other, &err), &err);
    assert_int_equal(queue_insert(other, 2, "two"), STELE_E_MISUSE);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_ok(queue_insert(other, 2, "two"), &err);
    assert_ok(stele_pipeline_sync(other, &err), &err);
    stele_pipeline_close(other);
    assert_int_equal(count_things(), 2);
}

static void test_closing_discards_what_was_not_synced(void **state)
{
    (void)state;
    uint64_t before = stele_conn_round_trips(conn);
    int pid = stele_conn_backend_pid(conn);
    assert_ok(queue_insert(p, 1, "one"), &err);
    reopen(NULL);
    assert_int_equal(waits_since(conn, &before), 0);
    /* Also when some of it was sent. */
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.max_in_flight = 4;
    reopen(&options);
    for (int i = 0; i < 100; i++)
        assert_ok(queue_insert(p, i, "x"), &err);
    reopen(NULL);
    assert_int_equal(count_things(), 0);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    assert_string_equal(ask(conn, "SELECT pg_current_xact_id_if_assigned() IS NULL"), "t");
}

static void test_a_lease_can_be_returned_first(void **state)
{
    (void)state;
    stele_conn *other = acquire(db);
    stele_pipeline *q = NULL;
    assert_ok(stele_pipeline_open(other, NULL, &q, &err), &err);
    assert_ok(queue_insert(q, 1, "one"), &err);
    stele_conn_release(other);
    stele_pipeline_close(q);
    assert_int_equal(count_things(), 0);
}

/* ---- bounds ---- */

static void test_large_results_both_ways_never_deadlock(void **state)
{
    (void)state;
    enum { COUNT = 2000, SIZE = 100000 };
    static const stele_gen_column columns[] = {{"echo", STELE_GEN_TEXT, false, 0, NULL}};
    static const stele_gen_param params[] = {
        {"text", STELE_GEN_TEXT, STELE_GEN_PLAIN, true, 0, 0, 0, NULL}};
    const stele_gen_part parts[] = {STELE_SQL("SELECT "), STELE_PARAM(0), STELE_SQL(" || 'x'")};
    made echo;
    make_read(&echo, "echo", "", columns, 1, sizeof(stele_str));
    echo.stmt.parts = parts;
    echo.stmt.part_count = 3;
    echo.stmt.params = params;
    echo.stmt.param_count = 1;
    echo.stmt.shape_from = 1;
    char *text = malloc(SIZE);
    stele_str **rows = calloc(COUNT, sizeof *rows);
    assert_non_null(text);
    assert_non_null(rows);
    memset(text, 'a', SIZE);
    stele_str input = {text, SIZE};
    const void *args[] = {&input};
    for (int i = 0; i < COUNT; i++) {
        stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROW, .out = &rows[i]};
        text[0] = (char)('a' + i % 26);
        assert_ok(stele_gen_queue(p, &echo.stmt, args, 0, &slot, &err), &err);
    }
    assert_ok(stele_pipeline_sync(p, &err), &err);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(rows[i]->len, SIZE + 1);
        assert_int_equal(rows[i]->data[0], 'a' + i % 26);
        stele_gen_free(rows[i]);
    }
    free(rows);
    free(text);
}

static void test_tight_bounds_change_nothing_but_the_waits(void **state)
{
    (void)state;
    for (uint32_t bound = 1; bound <= 3; bound++) {
        stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
        options.max_in_flight = bound;
        options.max_bytes = bound;
        reopen(&options);
        create_things();
        insert_many(0, 50);
        assert_int_equal(count_things(), 50);
        for (int i = 100; i < 150; i++)
            assert_ok(queue_insert(p, i < 149 ? i : 100, "x"), &err);
        assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
        assert_int_equal(stele_pipeline_failed_entry(p), 49);
        assert_int_equal(count_things(), 50);
    }
}

static void test_a_batch_that_failed_early_takes_the_rest_without_sending(void **state)
{
    (void)state;
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.max_in_flight = 2;
    reopen(&options);
    insert_many(1, 2);
    for (int i = 0; i < 200; i++)
        assert_ok(queue_insert(p, i, "x"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), 1);
    assert_int_equal(count_things(), 1);
}

/* ---- snapshots and transactions ---- */

static void test_repeatable_read_is_one_snapshot(void **state)
{
    (void)state;
    made wait;
    thing_row *first = NULL, *second = NULL;
    size_t counts[2] = {0, 0};
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.max_in_flight = 1; /* so that the first list has run before the row is inserted */
    for (int round = 0; round < 2; round++) {
        create_things();
        options.isolation = round == 0 ? STELE_ISOLATION_DEFAULT : STELE_REPEATABLE_READ;
        options.access = round == 0 ? STELE_ACCESS_DEFAULT : STELE_READ_ONLY;
        reopen(&options);
        assert_ok(queue_list(p, 10, &first, &counts[0]), &err);
        assert_ok(queue_sql(p, &wait, "SELECT 1", NULL), &err);
        assert_ok(queue_sql(p, &wait, "SELECT 1", NULL), &err);
        dbtest_exec(dsn, "INSERT INTO things (id, name) VALUES (1, 'x')");
        assert_ok(queue_list(p, 10, &second, &counts[1]), &err);
        assert_ok(stele_pipeline_sync(p, &err), &err);
        assert_int_equal(counts[0], 0);
        assert_int_equal(counts[1], round == 0); /* the control sees what came in between */
        stele_gen_free(first);
        stele_gen_free(second);
    }
    assert_false(stele_conn_in_transaction(conn));
    assert_ok(queue_insert(p, 5, "x"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_READ_ONLY);
    assert_int_equal(stele_pipeline_failed_entry(p), 0);
    assert_ok(insert_thing(conn, 6, "x", &err), &err); /* the transaction is over */
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_int_equal(queue_insert(p, 5, "x"), STELE_E_MISUSE);
    assert_ok(stele_tx_rollback(conn, &err), &err);
}

static void test_a_batch_of_its_own_transaction_commits(void **state)
{
    (void)state;
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.isolation = STELE_SERIALIZABLE;
    reopen(&options);
    uint64_t before = stele_conn_round_trips(conn);
    insert_many(0, 5);
    assert_int_equal(waits_since(conn, &before), 1);
    assert_int_equal(count_things(), 5);
    assert_ok(queue_insert(p, 7, "x"), &err);
    assert_ok(queue_insert(p, 3, "x"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), 1);
    insert_many(8, 9);
    assert_int_equal(count_things(), 6);
}

static void test_inside_a_transaction_the_sync_does_not_commit(void **state)
{
    (void)state;
    uint64_t before = stele_conn_round_trips(conn);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    insert_many(0, 5); /* BEGIN travels with it */
    assert_int_equal(waits_since(conn, &before), 1);
    assert_int_equal(count_things(), 0);
    assert_ok(stele_tx_savepoint(conn, "here", &err), &err);
    assert_ok(queue_insert(p, 0, "x"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_non_null(strstr(err.message, "the transaction is aborted"));
    assert_ok(stele_tx_rollback_to(conn, "here", &err), &err);
    insert_many(5, 6);
    assert_ok(stele_tx_commit(conn, &err), &err);
    assert_int_equal(count_things(), 6);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(queue_insert(p, 20, "x"), &err);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_MISUSE);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_int_equal(stele_pipeline_count(p), 0);
    assert_int_equal(count_things(), 6);
}

/* ---- plans ---- */

static void test_stale_plans_are_made_anew(void **state)
{
    (void)state;
    thing_row *rows[3];
    insert_many(0, 3);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3; i++)
            assert_ok(queue_find(p, i, &rows[i]), &err);
        assert_ok(stele_pipeline_sync(p, &err), &err);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(rows[i]->id, i);
            stele_gen_free(rows[i]);
        }
        if (round == 0)
            run_sql(conn, "DISCARD ALL");
        else if (round == 1)
            dbtest_exec(dsn, "ALTER TABLE things ALTER COLUMN name TYPE text");
        else
            run_sql(conn, "DEALLOCATE ALL");
    }
}

static void test_stale_plans_inside_a_transaction_are_retryable(void **state)
{
    (void)state;
    thing_row *row = NULL;
    insert_many(0, 3);
    for (int i = 0; i < 3; i++)
        (void)!find_thing(conn, i, &err);
    run_sql(conn, "DEALLOCATE ALL");
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(queue_find(p, 1, &row), &err);
    assert_int_equal(stele_pipeline_sync(p, &err) < 0, true);
    assert_true(err.retryable);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_ok(queue_find(p, 1, &row), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    stele_gen_free(row);
}

static void test_more_statements_than_the_cache_holds(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    static made many[COUNT];
    static char sql[COUNT][64];
    stele_db_options options = options_for("small cache", 1);
    options.statement_cache = 4;
    stele_db *small = open_with(&options);
    stele_conn *c = acquire(small);
    stele_pipeline *q = NULL;
    assert_ok(stele_pipeline_open(c, NULL, &q, &err), &err);
    for (int round = 0; round < 3; round++) {
        uint64_t counts[COUNT];
        for (int i = 0; i < COUNT; i++) {
            snprintf(sql[i], sizeof sql[i], "SELECT generate_series(1, %d)", i % 7);
            assert_ok(queue_sql(q, &many[i], sql[i], &counts[i]), &err);
        }
        for (int i = 0; i < 8; i++)
            assert_ok(queue_sql(q, &many[i], sql[i], NULL), &err);
        assert_ok(stele_pipeline_sync(q, &err), &err);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(counts[i], i % 7);
        for (int i = 0; i < 12; i++) {
            assert_ok(queue_sql(q, &many[i], sql[i], NULL), &err);
            assert_ok(stele_pipeline_sync(q, &err), &err);
        }
    }
    assert_true(strtol(ask(c, "SELECT count(*) FROM pg_prepared_statements"), NULL, 10) <= 4);
    stele_pipeline_close(q);
    stele_conn_release(c);
    stele_db_close(small);
}

/* ---- callbacks ---- */

typedef struct seen {
    int calls;
    size_t entries[4];
    int64_t ids[4];
    uint64_t affected[4];
    bool refill;
} seen;

static void see(const stele_pipeline_result *result, void *user)
{
    seen *s = user;
    const thing_row *rows = result->rows;
    s->entries[s->calls] = result->entry;
    s->ids[s->calls] = result->count > 0 ? rows[0].id : -1;
    s->affected[s->calls++] = result->affected;
    if (s->refill)
        (void)!queue_insert(p, 50 + s->calls, "again");
}

static void test_callbacks_get_what_slots_would(void **state)
{
    (void)state;
    seen s = {.refill = true};
    insert_many(0, 3);
    stele_pipeline_on_result(p, see, &s);
    assert_ok(queue_find(p, 2, NULL), &err);
    assert_ok(queue_find(p, 1, NULL), &err); /* without one */
    stele_pipeline_on_result(p, see, &s);
    assert_ok(queue_insert(p, 9, "nine"), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(s.calls, 2);
    assert_int_equal(s.entries[0], 0);
    assert_int_equal(s.ids[0], 2);
    assert_int_equal(s.entries[1], 2);
    assert_int_equal(s.ids[1], -1);
    assert_int_equal(s.affected[1], 1);
    assert_int_equal(stele_pipeline_count(p), 2); /* what the callbacks queued */
    s.refill = false;
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(count_things(), 6);
    stele_pipeline_on_result(p, see, &s);
    assert_ok(queue_insert(p, 9, "nine"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(s.calls, 2); /* a batch that failed calls nobody */
}

/* ---- lost connections ---- */

static void test_a_dead_connection_is_unknown_for_writes_only(void **state)
{
    (void)state;
    made kill;
    thing_row *row = NULL;
    static const char sql[] = "SELECT pg_terminate_backend(pg_backend_pid())";
    assert_ok(queue_find(p, 1, &row), &err);
    assert_ok(queue_sql(p, &kill, sql, NULL), &err);
    kill.stmt.properties = STELE_STMT_READ;
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_LOST);
    assert_true(err.retryable);
    /* The server told of its end before the Sync: a write is known not to be stored. */
    assert_ok(queue_insert(p, 1, "one"), &err);
    assert_ok(queue_sql(p, &kill, sql, NULL), &err);
    stele_status st = stele_pipeline_sync(p, &err);
    assert_true(st == STELE_E_LOST || st == STELE_E_UNKNOWN);
    assert_int_equal(count_things(), 0);
    assert_ok(queue_insert(p, 1, "one"), &err); /* on another connection */
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(count_things(), 1);
}

static void test_the_deadline_holds(void **state)
{
    (void)state;
    made sleep;
    stele_conn_set_deadline(conn, 200);
    uint64_t start = now_ms();
    assert_ok(queue_insert(p, 1, "one"), &err);
    assert_ok(queue_sql(p, &sleep, "SELECT pg_sleep(30)", NULL), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNKNOWN);
    assert_true(err.outcome_unknown);
    assert_true(now_ms() - start < 2000);
    stele_conn_set_deadline(conn, 0);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ten_finds_take_one_round_trip),
        TEST(test_what_is_worth_it_is_prepared_in_the_same_flush),
        TEST(test_statements_mix_and_slots_are_filled),
        TEST(test_inputs_may_go_away_at_once),
        TEST(test_an_input_that_is_wrong_is_refused_at_once),
        TEST(test_a_failure_names_its_entry_and_undoes_the_rest),
        TEST(test_an_error_at_the_commit_is_of_no_entry),
        TEST(test_a_prepare_that_fails_is_told_of_its_entry),
        TEST(test_a_row_of_another_shape_is_told_as_done),
        TEST(test_other_calls_are_refused_meanwhile),
        TEST(test_closing_discards_what_was_not_synced),
        TEST(test_a_lease_can_be_returned_first),
        TEST(test_large_results_both_ways_never_deadlock),
        TEST(test_tight_bounds_change_nothing_but_the_waits),
        TEST(test_a_batch_that_failed_early_takes_the_rest_without_sending),
        TEST(test_repeatable_read_is_one_snapshot),
        TEST(test_a_batch_of_its_own_transaction_commits),
        TEST(test_inside_a_transaction_the_sync_does_not_commit),
        TEST(test_stale_plans_are_made_anew),
        TEST(test_stale_plans_inside_a_transaction_are_retryable),
        TEST(test_more_statements_than_the_cache_holds),
        TEST(test_callbacks_get_what_slots_would),
        TEST(test_a_dead_connection_is_unknown_for_writes_only),
        TEST(test_the_deadline_holds),
    };
    dbtest_require_server();
    return RUN(tests);
}
