/*
 * Calls that end before their statement does: cancel requests from other threads, deadlines; and
 * changes of the tables under running traffic.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "conn_internal.h"
#include "one.h"

/* ---- cancel ---- */

static const char sleeping[] = "SELECT count(*) > 0 FROM pg_stat_activity "
                               "WHERE wait_event = 'PgSleep' AND datname = current_database()";

static void *cancel_sleeper(void *arg)
{
    stele_error local;
    bool found = dbtest_wait_until(dsn, sleeping);
    *(bool *)arg = found && stele_conn_cancel(conn, &local) == STELE_OK;
    return NULL;
}

static stele_status sleep_canceled(void)
{
    pthread_t thread;
    bool sent = false;
    assert_int_equal(pthread_create(&thread, NULL, cancel_sleeper, &sent), 0);
    stele_status st = stele_conn_exec(conn, "SELECT pg_sleep(60)", NULL, 0, NULL, &err);
    (void)pthread_join(thread, NULL);
    assert_true(sent);
    return st;
}

static void another_thread_cancels(void **state)
{
    (void)state;
    int pid = stele_conn_backend_pid(conn);
    assert_int_equal(sleep_canceled(), STELE_E_CANCELED);
    assert_string_equal(err.sqlstate, "57014");
    assert_false(err.outcome_unknown);
    assert_int_equal(stele_conn_backend_pid(conn), pid); /* the connection is as good as before */
    assert_ok(insert_thing(conn, 1, "a", &err), &err);

    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(insert_thing(conn, 2, "b", &err), &err);
    assert_int_equal(sleep_canceled(), STELE_E_CANCELED);
    assert_int_equal(insert_thing(conn, 3, "c", &err), STELE_E_ABORTED);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_ABORTED);
    assert_int_equal(count_things(), 1);
}

typedef struct canceler {
    atomic_bool stop;
    atomic_long sent;
} canceler;

static void *cancel_all_the_time(void *arg)
{
    canceler *c = arg;
    while (!c->stop) {
        if (stele_conn_cancel(conn, NULL) == STELE_OK)
            c->sent++;
    }
    return NULL;
}

/* Requests at every moment: what is said of each transaction is what is stored. */
static void cancels_at_any_moment_tell_no_lies(void **state)
{
    (void)state;
    pthread_t thread;
    canceler c = {false, 0};
    int64_t done = 0;
    int canceled = 0;
    assert_int_equal(pthread_create(&thread, NULL, cancel_all_the_time, &c), 0);
    for (int64_t id = 1; id < 4000 && (id < 300 || canceled < 20); id++) {
        stele_status st = STELE_OK;
        bool by_hand = id % 2 == 0;
        if (by_hand)
            st = stele_tx_begin(conn, NULL, &err);
        if (st == STELE_OK)
            st = insert_thing(conn, id, "x", &err);
        if (by_hand && st == STELE_OK)
            st = stele_tx_commit(conn, &err);
        else if (by_hand)
            (void)!stele_tx_rollback(conn, NULL);
        assert_false(stele_conn_in_transaction(conn));
        if (st == STELE_OK)
            done += id;
        else if (st == STELE_E_CANCELED || st == STELE_E_ABORTED)
            canceled++;
        else
            fail_with(__FILE__, __LINE__, &err);
    }
    c.stop = true;
    (void)pthread_join(thread, NULL);
    assert_true(c.sent > 0);
    char expected[32];
    char *sum = dbtest_value(dsn, "SELECT coalesce(sum(id), 0) FROM things");
    snprintf(expected, sizeof expected, "%lld", (long long)done);
    assert_string_equal(sum, expected);
    free(sum);
}

/* ---- deadlines ---- */

/* Long enough for a statement to be under way by then. */
enum { BRIEF_MS = 2000 };

static void set_call_timeout(uint32_t ms)
{
    stele_db_options options = options_for("cancel", 2);
    options.call_timeout_ms = ms;
    stele_conn_release(conn);
    stele_db_close(db);
    db = open_with(&options);
    conn = acquire(db);
}

/* From now on, and for this lease only: what is to succeed must not be short of time. */
static void limit_calls(uint32_t ms)
{
    conn->limits.timeout_ms = ms;
}

static void timed_out(uint32_t ms, stele_status expected)
{
    uint64_t start = now_ms();
    assert_int_equal(stele_conn_exec(conn, "SELECT pg_sleep(60)", NULL, 0, NULL, &err), expected);
    uint64_t took = now_ms() - start;
    assert_true(took >= ms && took < SOON_MS);
    /* The statement does not go on behind our back. */
    assert_int_equal(stele_conn_backend_pid(conn), 0);
}

static void a_call_ends_at_its_deadline(void **state)
{
    (void)state;
    set_call_timeout(BRIEF_MS);
    timed_out(BRIEF_MS, STELE_E_TIMEOUT);
    assert_true(err.outcome_unknown);
    assert_false(err.retryable);
    limit_calls(60000);
    assert_ok(insert_thing(conn, 1, "a", &err), &err); /* on another connection */
    assert_true(dbtest_wait_until(dsn, "SELECT count(*) = 0 FROM pg_stat_activity "
                                       "WHERE wait_event = 'PgSleep' "
                                       "AND datname = current_database()"));
}

static void a_lease_ends_at_its_deadline(void **state)
{
    (void)state;
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    stele_conn_set_deadline(conn, BRIEF_MS);
    timed_out(BRIEF_MS - 10, STELE_E_TIMEOUT);
    assert_true(insert_thing(conn, 2, "b", &err) < 0); /* the lease is over, not only that call */
    stele_conn_set_deadline(conn, 0);
    assert_ok(insert_thing(conn, 3, "c", &err), &err);
    assert_int_equal(count_things(), 2);
}

static void a_deadline_inside_a_transaction_aborts_it(void **state)
{
    (void)state;
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    limit_calls(BRIEF_MS);
    timed_out(BRIEF_MS, STELE_E_TIMEOUT);
    limit_calls(60000);
    assert_false(err.outcome_unknown); /* nothing is stored before COMMIT */
    assert_int_equal(insert_thing(conn, 2, "b", &err), STELE_E_ABORTED);
    assert_int_equal(stele_tx_savepoint(conn, "s", &err), STELE_OK);
    assert_int_equal(stele_tx_rollback_to(conn, "s", &err), STELE_E_ABORTED);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_LOST);
    assert_ok(insert_thing(conn, 3, "c", &err), &err);
    assert_int_equal(count_things(), 1);
}

/* A reader that stalls the server: its answer is larger than what buffers hold, and so is ours. */
static void large_values_both_ways_do_not_block(void **state)
{
    (void)state;
    static char big[8 << 20];
    static const stele_gen_param params[] = {
        {"v", STELE_GEN_TEXT, STELE_GEN_PLAIN, true, 0, 0, 0, NULL}};
    static const stele_gen_part parts[] = {STELE_SQL("SELECT "), STELE_PARAM(0),
                                           STELE_SQL("::text AS v FROM generate_series(1, 4)")};
    static const stele_gen_column columns[] = {{"v", STELE_GEN_TEXT, false, 0, NULL}};
    static const stele_gen_stmt stmt = {.module = &things_module,
                                        .name = "echo",
                                        .parts = parts,
                                        .part_count = 3,
                                        .params = params,
                                        .param_count = 1,
                                        .columns = columns,
                                        .column_count = 1,
                                        .row_size = sizeof(stele_str),
                                        .shape_from = 1,
                                        .properties = STELE_STMT_READ};
    memset(big, 'y', sizeof big);
    for (int use = 0; use < 3; use++) {
        stele_str value = {big, sizeof big};
        const void *args[] = {&value};
        void *rows;
        size_t count;
        uint64_t before = stele_conn_round_trips(conn);
        assert_ok(stele_gen_many(conn, &stmt, args, 0, &rows, &count, &err), &err);
        assert_int_equal(waits_since(conn, &before), 1);
        assert_int_equal(count, 4);
        assert_int_equal(((stele_str *)rows)[3].len, sizeof big);
        stele_gen_free(rows);
    }
}

/* ---- tables that change under traffic ---- */

enum { WORKERS = 4, STORM_CALLS = 400 };

typedef struct worker {
    pthread_t thread;
    stele_conn *conn;
    bool in_tx;
    int errors, calls;
    atomic_int *running;
    stele_error first;
} worker;

static stele_status find_in_tx(stele_conn *c, void *user, stele_error *e)
{
    (void)user;
    return find_thing(c, 1, e);
}

static void *work(void *arg)
{
    worker *w = arg;
    for (int i = 0; i < STORM_CALLS; i++) {
        stele_error e;
        stele_status st = w->in_tx ? stele_tx_run(w->conn, NULL, find_in_tx, NULL, &e)
                                   : find_thing(w->conn, 1, &e);
        w->calls++;
        if (st != STELE_OK && w->errors++ == 0)
            w->first = e;
    }
    (*w->running)--;
    return NULL;
}

/* Control: how often a plain prepared statement would have failed. */
static int storm(worker *workers, atomic_int *running)
{
    int failures = 0;
    stele_conn *plain = acquire(db);
    for (int change = 0; *running > 0; change++) {
        dbtest_exec(dsn, change % 2 == 0 ? "ALTER TABLE things ALTER name TYPE text"
                                         : "ALTER TABLE things ALTER name TYPE varchar(5)");
        if (try_sql(plain, "EXECUTE p", &err) != STELE_OK) {
            failures++;
            (void)!try_sql(plain, "DEALLOCATE p", &err);
            run_sql(plain, "PREPARE p AS SELECT t.id, t.name FROM things AS t WHERE t.id = 1");
            run_sql(plain, "EXECUTE p");
        }
    }
    stele_conn_release(plain);
    (void)workers;
    return failures;
}

static void a_storm_of_changes_is_not_felt(void **state)
{
    (void)state;
    worker workers[WORKERS];
    atomic_int running = WORKERS;
    assert_ok(insert_thing(conn, 1, "a", &err), &err);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.conn = acquire(db), .in_tx = i % 2 == 1, .running = &running};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    int plain_failures = storm(workers, &running);
    for (int i = 0; i < WORKERS; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        if (workers[i].errors > 0)
            fail_with(__FILE__, __LINE__, &workers[i].first);
        assert_int_equal(workers[i].calls, STORM_CALLS);
        stele_conn_release(workers[i].conn);
    }
    print_message("# a plain prepared statement failed %d times\n", plain_failures);
    assert_true(plain_failures > 1); /* the first made it */
}

int main(void)
{
    dbtest_require_server();
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_one, close_one)
    const struct CMUnitTest tests[] = {
        TEST(another_thread_cancels),
        TEST(cancels_at_any_moment_tell_no_lies),
        TEST(a_call_ends_at_its_deadline),
        TEST(a_lease_ends_at_its_deadline),
        TEST(a_deadline_inside_a_transaction_aborts_it),
        TEST(large_values_both_ways_do_not_block),
        TEST(a_storm_of_changes_is_not_felt),
    };
    return RUN(tests);
}
