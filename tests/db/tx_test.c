/*
 * Transactions: what they cost, what is in force inside, and when they count as committed.
 */
#include <libpq-fe.h>

#include "conn_internal.h"
#include "one.h"

/* ---- cost ---- */

static void begin_and_savepoints_ride_along(void **state)
{
    (void)state;
    uint64_t before = stele_conn_round_trips(conn);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_true(stele_conn_in_transaction(conn));
    assert_int_equal(waits_since(conn, &before), 0);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    assert_int_equal(waits_since(conn, &before), 1);
    assert_ok(stele_tx_savepoint(conn, "s1", &err), &err);
    assert_ok(stele_tx_savepoint(conn, "s2", &err), &err);
    assert_ok(insert_thing(conn, 2, "b", &err), &err); /* prepares as well */
    assert_int_equal(waits_since(conn, &before), 1);
    assert_ok(stele_tx_rollback_to(conn, "s1", &err), &err);
    assert_int_equal(waits_since(conn, &before), 1);
    assert_ok(insert_thing(conn, 3, "c", &err), &err);
    assert_ok(stele_tx_release_savepoint(conn, "s1", &err), &err);
    assert_ok(stele_tx_commit(conn, &err), &err);
    assert_int_equal(waits_since(conn, &before), 3);
    assert_false(stele_conn_in_transaction(conn));
    assert_int_equal(count_things(), 2);
}

static void an_empty_transaction_costs_nothing(void **state)
{
    (void)state;
    uint64_t before = stele_conn_round_trips(conn);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(stele_tx_savepoint(conn, "s", &err), &err);
    assert_ok(stele_tx_commit(conn, &err), &err);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_int_equal(waits_since(conn, &before), 0);
}

static void more_savepoints_than_can_wait(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    for (size_t i = 0; i < 10; i++)
        assert_ok(stele_tx_savepoint(conn, names[i], &err), &err);
    for (size_t i = 10; i-- > 0;) {
        assert_ok(insert_thing(conn, (int64_t)i, "x", &err), &err);
        assert_ok(stele_tx_rollback_to(conn, names[i], &err), &err);
    }
    assert_ok(insert_thing(conn, 77, "kept", &err), &err);
    assert_ok(stele_tx_commit(conn, &err), &err);
    assert_int_equal(count_things(), 1);
}

/* ---- what is in force ---- */

static void options_are_in_force(void **state)
{
    (void)state;
    static const struct {
        stele_tx_options options;
        const char *isolation, *read_only, *deferrable;
    } cases[] = {
        {STELE_TX_OPTIONS_INIT, "read committed", "off", "off"},
        {{.size = sizeof(stele_tx_options), .isolation = STELE_READ_COMMITTED},
         "read committed",
         "off",
         "off"},
        {{.size = sizeof(stele_tx_options), .isolation = STELE_REPEATABLE_READ},
         "repeatable read",
         "off",
         "off"},
        {{.size = sizeof(stele_tx_options), .isolation = STELE_SERIALIZABLE},
         "serializable",
         "off",
         "off"},
        {{.size = sizeof(stele_tx_options), .access = STELE_READ_ONLY},
         "read committed",
         "on",
         "off"},
        {{.size = sizeof(stele_tx_options), .access = STELE_READ_WRITE},
         "read committed",
         "off",
         "off"},
        {{.size = sizeof(stele_tx_options),
          .isolation = STELE_SERIALIZABLE,
          .access = STELE_READ_ONLY,
          .deferrable = true},
         "serializable",
         "on",
         "on"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_ok(stele_tx_begin(conn, &cases[i].options, &err), &err);
        assert_string_equal(ask(conn, "SHOW transaction_isolation"), cases[i].isolation);
        assert_string_equal(ask(conn, "SHOW transaction_read_only"), cases[i].read_only);
        assert_string_equal(ask(conn, "SHOW transaction_deferrable"), cases[i].deferrable);
        assert_ok(stele_tx_commit(conn, &err), &err);
    }
}

static void read_only_refuses_writes(void **state)
{
    (void)state;
    const stele_tx_options options = {.size = sizeof options, .access = STELE_READ_ONLY};
    assert_ok(stele_tx_begin(conn, &options, &err), &err);
    assert_int_equal(insert_thing(conn, 1, "a", &err), STELE_E_READ_ONLY);
    assert_string_equal(err.sqlstate, "25006");
    assert_true(err.hint[0] != '\0');
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_ABORTED);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
}

/* ---- misuse ---- */

static stele_status begin_again(stele_conn *c, void *user, stele_error *e)
{
    (void)user;
    return stele_tx_begin(c, NULL, e);
}

static void nesting_is_misuse(void **state)
{
    (void)state;
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_int_equal(stele_tx_begin(conn, NULL, &err), STELE_E_MISUSE);
    assert_int_equal(stele_tx_run(conn, NULL, begin_again, NULL, &err), STELE_E_MISUSE);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_int_equal(stele_tx_run(conn, NULL, begin_again, NULL, &err), STELE_E_MISUSE);
    assert_false(stele_conn_in_transaction(conn));
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_MISUSE);
    assert_int_equal(stele_tx_savepoint(conn, "s", &err), STELE_E_MISUSE);
    assert_int_equal(stele_tx_rollback_to(conn, "s", &err), STELE_E_MISUSE);
    assert_int_equal(stele_tx_release_savepoint(conn, "s", &err), STELE_E_MISUSE);
}

static void bad_arguments_are_told(void **state)
{
    (void)state;
    const stele_tx_options options = {.size = 3};
    char long_name[65];
    memset(long_name, 'x', 64);
    long_name[64] = '\0';
    assert_int_equal(stele_tx_begin(conn, &options, &err), STELE_E_INPUT);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_int_equal(stele_tx_savepoint(conn, "a b", &err), STELE_E_NAME);
    assert_int_equal(stele_tx_savepoint(conn, "", &err), STELE_E_NAME);
    assert_int_equal(stele_tx_savepoint(conn, NULL, &err), STELE_E_NAME);
    assert_int_equal(stele_tx_savepoint(conn, long_name, &err), STELE_E_NAME);
    assert_int_equal(stele_tx_savepoint(conn, "x\"; DROP TABLE things; --", &err), STELE_E_NAME);
    long_name[63] = '\0';
    assert_ok(stele_tx_savepoint(conn, long_name, &err), &err);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    assert_ok(stele_tx_rollback_to(conn, long_name, &err), &err);
    assert_ok(stele_tx_rollback(conn, &err), &err);
}

static void transactions_in_plain_sql_are_refused(void **state)
{
    (void)state;
    assert_int_equal(stele_conn_exec(conn, "BEGIN", NULL, 0, NULL, &err), STELE_E_MISUSE);
    assert_true(strstr(err.hint, "stele_tx_begin") != NULL);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    assert_int_equal(count_things(), 1); /* not held back by the BEGIN */
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(insert_thing(conn, 2, "b", &err), &err);
    assert_int_equal(stele_conn_exec(conn, "COMMIT", NULL, 0, NULL, &err), STELE_E_MISUSE);
    assert_false(stele_conn_in_transaction(conn));
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_MISUSE);
}

/* ---- what counts as committed ---- */

static void a_swallowed_error_is_not_committed(void **state)
{
    (void)state;
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    assert_int_equal(insert_thing(conn, 1, "a", NULL), STELE_E_UNIQUE); /* swallowed */
    assert_int_equal(insert_thing(conn, 2, "b", &err), STELE_E_ABORTED);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_ABORTED);
    assert_true(strstr(err.detail, "STELE_E_UNIQUE") != NULL);
    assert_true(strstr(err.detail, "23505") != NULL);
    assert_int_equal(count_things(), 0);
}

/* Control: what libpq calls success. */
static void plain_libpq_calls_it_success(void **state)
{
    (void)state;
    PGconn *pg = PQconnectdb(dsn);
    PQclear(PQexec(pg, "BEGIN"));
    PQclear(PQexec(pg, "INSERT INTO things (id, name) VALUES (1, 'a')"));
    PQclear(PQexec(pg, "SELECT 1/0"));
    PGresult *result = PQexec(pg, "COMMIT");
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    assert_string_equal(PQcmdStatus(result), "ROLLBACK");
    PQclear(result);
    PQfinish(pg);
    assert_int_equal(count_things(), 0);
}

static void a_begin_that_is_refused_commits_nothing(void **state)
{
    (void)state;
    /* A parameter that BEGIN chokes on, as a standby does on READ WRITE. */
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    conn->tx.pending[0][0] = 'X';
    assert_true(insert_thing(conn, 1, "a", NULL) < 0);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_ABORTED);
    assert_int_equal(count_things(), 0);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
}

/* However a transaction ends for the client, the next statement does not run in the old one. */
static void nothing_runs_in_a_transaction_left_behind(void **state)
{
    (void)state;
    for (int rolls_back = 0; rolls_back < 2; rolls_back++) {
        assert_ok(stele_tx_begin(conn, NULL, &err), &err);
        assert_ok(insert_thing(conn, 1, "a", &err), &err);
        conn->tx.lost = true; /* the client gave up, the server knows nothing of it */
        if (rolls_back)
            assert_ok(stele_tx_rollback(conn, &err), &err);
        else
            assert_int_equal(stele_tx_commit(conn, &err), STELE_E_LOST);
        assert_ok(insert_thing(conn, 2 + rolls_back, "b", &err), &err);
        assert_int_equal(count_things(), 1 + rolls_back);
    }
}

static void a_deferred_constraint_fails_at_commit(void **state)
{
    (void)state;
    dbtest_exec(dsn, "DROP TABLE IF EXISTS kids; CREATE TABLE kids (id bigint CONSTRAINT kid_of "
                     "REFERENCES things DEFERRABLE INITIALLY DEFERRED)");
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    run_sql(conn, "INSERT INTO kids VALUES (5)");
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_FOREIGN_KEY);
    assert_string_equal(err.constraint, "kid_of");
    assert_false(err.outcome_unknown);
    assert_false(stele_conn_in_transaction(conn));
    /* Outside a transaction it strikes at the Sync: after "done", both ways of sending. */
    static made orphan;
    make(&orphan, "orphan", "INSERT INTO kids VALUES (5)", NULL, 0);
    for (int use = 0; use < 4; use++) {
        assert_int_equal(stele_gen_exec(conn, &orphan.stmt, NULL, 0, false, NULL, &err),
                         STELE_E_FOREIGN_KEY);
        assert_false(err.outcome_unknown);
    }
    dbtest_exec(dsn, "DROP TABLE kids");
}

int main(void)
{
    dbtest_require_server();
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_one, close_one)
    const struct CMUnitTest tests[] = {
        TEST(begin_and_savepoints_ride_along),
        TEST(an_empty_transaction_costs_nothing),
        TEST(more_savepoints_than_can_wait),
        TEST(options_are_in_force),
        TEST(read_only_refuses_writes),
        TEST(nesting_is_misuse),
        TEST(bad_arguments_are_told),
        TEST(transactions_in_plain_sql_are_refused),
        TEST(a_swallowed_error_is_not_committed),
        TEST(plain_libpq_calls_it_success),
        TEST(a_begin_that_is_refused_commits_nothing),
        TEST(nothing_runs_in_a_transaction_left_behind),
        TEST(a_deferred_constraint_fails_at_commit),
    };
    return RUN(tests);
}
