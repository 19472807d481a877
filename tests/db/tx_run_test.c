/*
 * Transactions that are run again, and connections that go while one is open.
 */
#define _GNU_SOURCE /* barriers */
#include <pthread.h>
#include <stdatomic.h>

#include "one.h"

/* ---- running again ---- */

static stele_status find_nothing(stele_conn *c, void *user, stele_error *e)
{
    ++*(int *)user;
    return find_thing(c, 404, e);
}

static void a_lease_knows_nothing_of_the_plans_of_the_one_before(void **state)
{
    (void)state;
    int count = 0;
    stele_db *one = open_db("stale", 1);
    stele_conn *c = acquire(one);
    dbtest_exec(dsn, "INSERT INTO things (id, name) VALUES (1, 'one')");
    for (int i = 0; i < 3; i++)
        assert_ok(find_thing(c, 1, &err), &err);
    assert_ok(stele_tx_begin(c, NULL, &err), &err);
    dbtest_exec(dsn, "ALTER TABLE things ALTER n TYPE bigint");
    assert_int_not_equal(find_thing(c, 1, &err), STELE_OK);
    assert_true(err.retryable);
    stele_conn_release(c); /* without a rollback */
    dbtest_exec(dsn, "ALTER TABLE things ALTER n TYPE int");
    c = acquire(one);
    assert_int_equal(stele_tx_run(c, NULL, find_nothing, &count, &err), STELE_E_NOT_FOUND);
    assert_int_equal(count, 1);
    stele_conn_release(c);
    stele_db_close(one);
}

static atomic_int runs;

static stele_status insert_seven(stele_conn *c, void *user, stele_error *e)
{
    (void)user;
    runs++;
    return insert_thing(c, 7, "seven", e);
}

static stele_status swallow_unique(stele_conn *c, void *user, stele_error *e)
{
    (void)e;
    (void)user;
    runs++;
    (void)!insert_thing(c, 7, "seven", NULL);
    return STELE_OK;
}

static stele_status roll_back_by_choice(stele_conn *c, void *user, stele_error *e)
{
    (void)user;
    runs++;
    stele_status st = insert_thing(c, 8, "eight", e);
    return st == STELE_OK ? STELE_ROLLBACK : st;
}

static stele_status fail_silently(stele_conn *c, void *user, stele_error *e)
{
    (void)c;
    (void)user;
    (void)e;
    return STELE_E_CONFLICT;
}

static void run_commits_once(void **state)
{
    (void)state;
    stele_error untouched;
    memset(&untouched, 0x5a, sizeof untouched);
    err = untouched;
    runs = 0;
    uint64_t before = stele_conn_round_trips(conn);
    assert_int_equal(stele_tx_run(conn, NULL, insert_seven, NULL, &err), STELE_OK);
    assert_int_equal(waits_since(conn, &before), 2);
    assert_memory_equal(&err, &untouched, sizeof err);
    assert_int_equal(runs, 1);
    assert_int_equal(stele_tx_run(conn, NULL, insert_seven, NULL, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_tx_run(conn, NULL, swallow_unique, NULL, &err), STELE_E_ABORTED);
    assert_int_equal(runs, 3); /* no second go for either */
    assert_int_equal(stele_tx_run(conn, NULL, roll_back_by_choice, NULL, &err), STELE_ROLLBACK);
    assert_int_equal(stele_tx_run(conn, NULL, fail_silently, NULL, &err), STELE_E_CONFLICT);
    assert_int_equal(err.status, STELE_E_CONFLICT);
    assert_int_equal(stele_tx_run(conn, NULL, insert_seven, NULL, NULL), STELE_E_UNIQUE);
    assert_int_equal(count_things(), 1);
}

static stele_status end_it(stele_conn *c, void *user, stele_error *e)
{
    runs++;
    stele_status st = insert_thing(c, 9 + runs, "nine", e);
    if (st != STELE_OK)
        return st;
    st = *(const int *)user == 0 ? stele_tx_commit(c, e) : stele_tx_rollback(c, e);
    if (st == STELE_OK && *(const int *)user == 2)
        st = stele_tx_begin(c, NULL, e);
    return st;
}

static void a_body_may_not_end_its_transaction(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        runs = 0;
        dbtest_exec(dsn, "TRUNCATE things");
        assert_int_equal(stele_tx_run(conn, NULL, end_it, &how, &err), STELE_E_MISUSE);
        assert_int_equal(runs, 1);
        assert_false(stele_conn_in_transaction(conn));
    }
}

/* A failure of the server's making in the first `*user` runs. */
static stele_status fail_at_first(stele_conn *c, void *user, stele_error *e)
{
    int run = ++runs;
    stele_status st = insert_thing(c, 10, "ten", e);
    if (st != STELE_OK || run > *(const int *)user)
        return st;
    return stele_conn_exec(c, "DO $$ BEGIN RAISE serialization_failure; END $$", NULL, 0, NULL, e);
}

static stele_status fail_and_swallow(stele_conn *c, void *user, stele_error *e)
{
    stele_status st = fail_at_first(c, user, e);
    if (st != STELE_OK)
        (void)!insert_thing(c, 11, "x", e); /* 25P02 is the last error, 40001 the first */
    return st == STELE_OK ? STELE_OK : STELE_E_CONFLICT;
}

static void the_first_error_decides_even_if_swallowed(void **state)
{
    (void)state;
    int failures = 3;
    runs = 0;
    assert_ok(stele_tx_run(conn, NULL, fail_and_swallow, &failures, &err), &err);
    assert_int_equal(runs, 4);
    assert_int_equal(count_things(), 1);
}

static void attempts_are_bounded(void **state)
{
    (void)state;
    int failures = 1000;
    stele_tx_options options = STELE_TX_OPTIONS_INIT;
    options.max_attempts = 3;
    runs = 0;
    assert_int_equal(stele_tx_run(conn, &options, fail_at_first, &failures, &err),
                     STELE_E_SERIALIZATION);
    assert_int_equal(runs, 3);
    assert_true(err.retryable);
    runs = 0;
    assert_int_equal(stele_tx_run(conn, NULL, fail_at_first, &failures, &err),
                     STELE_E_SERIALIZATION);
    assert_int_equal(runs, 10);
}

static void the_deadline_bounds_the_attempts(void **state)
{
    (void)state;
    int failures = 1000000;
    stele_tx_options options = STELE_TX_OPTIONS_INIT;
    options.max_attempts = 1000000;
    stele_conn_set_deadline(conn, 300);
    uint64_t start = now_ms();
    stele_status st = stele_tx_run(conn, &options, fail_at_first, &failures, &err);
    assert_true(st == STELE_E_SERIALIZATION || st == STELE_E_TIMEOUT);
    assert_true(now_ms() - start < SOON_MS);
    stele_conn_set_deadline(conn, 0);
}

static stele_status wait_for_lock(stele_conn *c, void *user, stele_error *e)
{
    (void)user;
    int run = ++runs;
    stele_status st = insert_thing(c, 12, "twelv", e);
    if (st != STELE_OK || run > 2)
        return st;
    return stele_conn_exec(c, "DO $$ BEGIN RAISE lock_not_available; END $$", NULL, 0, NULL, e);
}

static void lock_timeouts_are_retried_on_demand(void **state)
{
    (void)state;
    stele_tx_options options = STELE_TX_OPTIONS_INIT;
    runs = 0;
    assert_int_equal(stele_tx_run(conn, &options, wait_for_lock, NULL, &err), STELE_E_LOCKED);
    assert_int_equal(runs, 1);
    options.retry_lock_timeout = true;
    runs = 0;
    assert_ok(stele_tx_run(conn, &options, wait_for_lock, NULL, &err), &err);
    assert_int_equal(runs, 3);
}

/* ---- two sessions at odds ---- */

typedef struct rival {
    stele_conn *conn;
    pthread_barrier_t *met;
    int first, second; /* rows to work on, in this order */
    int met_times;
    stele_isolation isolation;
    const char *sql[2];
    stele_status st;
    stele_error err;
} rival;

static stele_status collide(stele_conn *c, void *user, stele_error *e)
{
    rival *r = user;
    runs++;
    stele_status st = stele_conn_exec(c, r->sql[0], NULL, 0, NULL, e);
    if (st != STELE_OK)
        return st;
    if (r->met_times++ == 0)
        (void)pthread_barrier_wait(r->met);
    return stele_conn_exec(c, r->sql[1], NULL, 0, NULL, e);
}

static void *run_rival(void *arg)
{
    rival *r = arg;
    stele_tx_options options = STELE_TX_OPTIONS_INIT;
    options.isolation = r->isolation;
    r->st = stele_tx_run(r->conn, &options, collide, r, &r->err);
    return NULL;
}

static void race(stele_isolation isolation, const char *a1, const char *a2, const char *b1,
                 const char *b2)
{
    pthread_barrier_t met;
    pthread_t threads[2];
    rival rivals[2] = {{.conn = conn, .met = &met, .isolation = isolation, .sql = {a1, a2}},
                       {.conn = acquire(db), .met = &met, .isolation = isolation, .sql = {b1, b2}}};
    runs = 0;
    assert_int_equal(pthread_barrier_init(&met, NULL, 2), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_rival, &rivals[i]), 0);
    for (int i = 0; i < 2; i++)
        (void)pthread_join(threads[i], NULL);
    (void)pthread_barrier_destroy(&met);
    for (int i = 0; i < 2; i++)
        assert_ok(rivals[i].st, &rivals[i].err);
    assert_true(runs >= 3); /* one of them was run again */
    stele_conn_release(rivals[1].conn);
}

static void a_real_serialization_failure_is_run_again(void **state)
{
    (void)state;
    dbtest_exec(dsn, "INSERT INTO things (id, name, n) VALUES (1, 'a', 1), (2, 'b', 1)");
    /* Write skew: each reads what the other writes. */
    race(STELE_SERIALIZABLE, "SELECT sum(n) FROM things",
         "UPDATE things SET n = n + 1 WHERE id = 1", "SELECT sum(n) FROM things",
         "UPDATE things SET n = n + 1 WHERE id = 2");
}

static void a_real_deadlock_is_run_again(void **state)
{
    (void)state;
    dbtest_exec(dsn, "INSERT INTO things (id, name, n) VALUES (1, 'a', 1), (2, 'b', 1)");
    race(STELE_ISOLATION_DEFAULT, "UPDATE things SET n = n + 1 WHERE id = 1",
         "UPDATE things SET n = n + 1 WHERE id = 2", "UPDATE things SET n = n + 1 WHERE id = 2",
         "UPDATE things SET n = n + 1 WHERE id = 1");
    assert_string_equal(ask(conn, "SELECT string_agg(n::text, ',') FROM things"), "3,3");
}

/* ---- the connection goes ---- */

static void terminate(int pid)
{
    char sql[96];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 60000)", pid);
    dbtest_exec(dsn, sql);
}

static int lose_at; /* 0: before the first statement, 1: between, 2: before COMMIT */

static stele_status lose(stele_conn *c, void *user, stele_error *e)
{
    (void)user;
    int run = ++runs;
    stele_status st = STELE_OK;
    for (int i = 0; i < 3 && st == STELE_OK; i++) {
        if (run == 1 && i == lose_at)
            terminate(stele_conn_backend_pid(c));
        if (i < 2)
            st = insert_thing(c, 20 + i, "x", e);
    }
    return st;
}

static void a_lost_transaction_moves_to_another_connection(void **state)
{
    (void)state;
    for (lose_at = 0; lose_at < 3; lose_at++) {
        dbtest_exec(dsn, "TRUNCATE things");
        int pid = stele_conn_backend_pid(conn);
        runs = 0;
        assert_ok(stele_tx_run(conn, NULL, lose, NULL, &err), &err);
        assert_int_equal(runs, 2);
        assert_int_not_equal(stele_conn_backend_pid(conn), pid);
        assert_int_equal(count_things(), 2);
    }
}

static void a_lost_transaction_by_hand_answers_aborted_until_rolled_back(void **state)
{
    (void)state;
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    terminate(stele_conn_backend_pid(conn));
    assert_int_equal(insert_thing(conn, 2, "b", &err), STELE_E_LOST);
    assert_true(err.retryable);
    assert_false(err.outcome_unknown);
    assert_int_equal(insert_thing(conn, 3, "c", &err), STELE_E_ABORTED);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_LOST);
    assert_false(err.outcome_unknown);
    assert_ok(insert_thing(conn, 4, "d", &err), &err); /* on a new connection */
    assert_int_equal(count_things(), 1);
}

/* The server ends the session while a statement waits: it was not done, and that is certain. */
static void *terminate_waiting(void *arg)
{
    const char *sql = "SELECT count(*) > 0 FROM pg_stat_activity "
                      "WHERE wait_event_type = 'Lock' AND datname = current_database()";
    *(bool *)arg = dbtest_wait_until(dsn, sql);
    dbtest_exec(dsn, "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                     "WHERE wait_event_type = 'Lock' AND datname = current_database()");
    return NULL;
}

static void last_words_settle_the_outcome(void **state)
{
    (void)state;
    for (int use = 0; use < 3; use++) { /* unnamed, prepare rides along, prepared */
        pthread_t thread;
        bool waited = false;
        stele_conn *other = acquire(db);
        assert_ok(stele_tx_begin(other, NULL, &err), &err);
        run_sql(other, "LOCK TABLE things");
        assert_int_equal(pthread_create(&thread, NULL, terminate_waiting, &waited), 0);
        assert_int_equal(insert_thing(conn, 50, "x", &err), STELE_E_LOST);
        assert_string_equal(err.sqlstate, "57P01");
        assert_false(err.outcome_unknown);
        assert_true(err.retryable);
        (void)pthread_join(thread, NULL);
        assert_true(waited);
        assert_ok(stele_tx_rollback(other, &err), &err);
        stele_conn_release(other);
        assert_int_equal(count_things(), 0);
        for (int i = 0; i <= use; i++)
            assert_ok(insert_thing(conn, i, "x", &err), &err);
        dbtest_exec(dsn, "TRUNCATE things");
    }
}

/* An error of class 08 or 57P that the session survives is no loss of the connection. */
static void a_loss_that_is_not_ours_keeps_the_connection(void **state)
{
    (void)state;
    int pid = stele_conn_backend_pid(conn);
    assert_int_equal(
        stele_conn_exec(conn, "DO $$ BEGIN RAISE SQLSTATE '08006'; END $$", NULL, 0, NULL, &err),
        STELE_E_SERVER);
    assert_string_equal(err.sqlstate, "08006");
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    assert_int_equal(
        stele_conn_exec(conn, "DO $$ BEGIN RAISE SQLSTATE '57P01'; END $$", NULL, 0, NULL, &err),
        STELE_E_SERVER);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_ABORTED);
    assert_int_equal(stele_conn_backend_pid(conn), pid);
}

/* A session that was changed on a replaced connection is reset as well. */
static void a_replaced_connection_is_known_to_be_changed(void **state)
{
    (void)state;
    terminate(stele_conn_backend_pid(conn));
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_LOST);
    assert_ok(stele_conn_exec(conn, "SET work_mem = '77MB'", NULL, 0, NULL, &err), &err);
    int pid = stele_conn_backend_pid(conn);
    stele_conn_release(conn);
    conn = acquire(db);
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    assert_string_not_equal(ask(conn, "SHOW work_mem"), "77MB");
}

static void copy_is_refused_and_does_not_hang(void **state)
{
    (void)state;
    static const char *const sqls[] = {"COPY things FROM STDIN", "COPY things TO STDOUT"};
    for (size_t i = 0; i < 4; i++) {
        bool in_tx = i >= 2; /* BEGIN rides along: pipeline mode */
        if (in_tx)
            assert_ok(stele_tx_begin(conn, NULL, &err), &err);
        assert_int_equal(stele_conn_exec(conn, sqls[i % 2], NULL, 0, NULL, &err),
                         STELE_E_UNSUPPORTED);
        if (in_tx)
            assert_ok(stele_tx_rollback(conn, &err), &err);
        assert_ok(insert_thing(conn, (int64_t)i, "a", &err), &err);
    }
}

int main(void)
{
    dbtest_require_server();
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_one, close_one)
    const struct CMUnitTest tests[] = {
        TEST(run_commits_once),
        TEST(a_lease_knows_nothing_of_the_plans_of_the_one_before),
        TEST(a_body_may_not_end_its_transaction),
        TEST(the_first_error_decides_even_if_swallowed),
        TEST(attempts_are_bounded),
        TEST(the_deadline_bounds_the_attempts),
        TEST(lock_timeouts_are_retried_on_demand),
        TEST(a_real_serialization_failure_is_run_again),
        TEST(a_real_deadlock_is_run_again),
        TEST(a_lost_transaction_moves_to_another_connection),
        TEST(a_lost_transaction_by_hand_answers_aborted_until_rolled_back),
        TEST(last_words_settle_the_outcome),
        TEST(a_loss_that_is_not_ours_keeps_the_connection),
        TEST(a_replaced_connection_is_known_to_be_changed),
        TEST(copy_is_refused_and_does_not_hang),
    };
    return RUN(tests);
}
