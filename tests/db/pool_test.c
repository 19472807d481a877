/* What a pool does with one thread: check-out, return, ages, failures of the server side. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "db_internal.h"
#include "pool_internal.h"
#include "pool_util.h"

static void kill_backend(int pid)
{
    char sql[96];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 60000)", pid);
    dbtest_exec(dsn, sql);
}

static void a_connection_is_reused_and_counted(void **state)
{
    (void)state;
    stele_db *db = open_db("reuse", 3);
    assert_int_equal(stats_of(db).created, 1);
    stele_conn *conn = acquire(db);
    int pid = stele_conn_backend_pid(conn);
    assert_int_equal(stele_conn_round_trips(conn), 0);
    assert_string_equal(ask(conn, "SELECT 1"), "1");
    assert_int_equal(stele_conn_round_trips(conn), 1);
    assert_int_equal(stats_of(db).in_use, 1);
    stele_conn_release(conn);
    conn = acquire(db);
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    assert_int_equal(stele_conn_round_trips(conn), 0);
    stele_conn_release(conn);
    stele_pool_stats stats = stats_of(db);
    assert_int_equal(stats.acquired, 2);
    assert_int_equal(stats.waited, 0);
    assert_int_equal(stats.in_use, 0);
    assert_int_equal(stats.idle, 1);
    assert_int_equal(stats.open, 1);
    assert_int_equal(stats.max, 3);
    assert_true(stats.use_ns > 0);
    assert_int_equal(stats.create.count, 1);
    assert_true(stats.create.sum_ns > 0);
    assert_int_equal(stats.wait.count, 2); /* that did not wait */
    assert_int_equal(stats.wait.buckets[0], 2);
    assert_int_equal(stats.wait.sum_ns, 0);
    stele_db_close(db);
    wait_for_backends("reuse", 0);
}

static void the_newest_idle_connection_is_taken(void **state)
{
    (void)state;
    stele_db *db = open_db("lifo", 2);
    stele_conn *first = acquire(db);
    stele_conn *second = acquire(db);
    int pid = stele_conn_backend_pid(first);
    stele_conn_release(second);
    stele_conn_release(first);
    stele_conn *again = acquire(db);
    assert_int_equal(stele_conn_backend_pid(again), pid);
    stele_conn_release(again);
    stele_db_close(db);
}

/* Control: without affinity the newest is taken, whoever used it. */
static void a_tenant_gets_the_connection_it_used_last(void **state)
{
    (void)state;
    for (uint32_t affinity = 1; affinity <= 8; affinity += 7) {
        stele_db_options options = options_for("affinity", 2);
        options.tenant_affinity = affinity;
        stele_db *db = open_with(&options);
        stele_db *tenant = NULL;
        stele_error err;
        stele_names names = {.prefix = "t_"};
        assert_ok(stele_db_derive(db, &names, &tenant, &err), &err);
        stele_conn *mine = acquire(tenant);
        stele_conn *other = acquire(db);
        int pid = stele_conn_backend_pid(mine);
        stele_conn_release(mine);
        stele_conn_release(other);
        stele_conn *again = acquire(tenant);
        assert_int_equal(stele_conn_backend_pid(again) == pid, affinity > 1);
        stele_conn_release(again);
        stele_db_close(tenant);
        stele_db_close(db);
    }
}

static void a_dead_idle_connection_is_replaced(void **state)
{
    (void)state;
    stele_db *db = open_db("dead", 2);
    stele_conn *conn = acquire(db);
    int pid = stele_conn_backend_pid(conn);
    stele_conn_release(conn);
    kill_backend(pid);
    conn = acquire(db);
    assert_int_not_equal(stele_conn_backend_pid(conn), pid);
    run_sql(conn, "SELECT 1");
    stele_conn_release(conn);
    assert_int_equal(stats_of(db).check_failures, 1);
    assert_int_equal(stats_of(db).closed[STELE_CLOSED_BROKEN], 1);
    stele_db_close(db);
}

static void two_losses_in_a_second_condemn_all(void **state)
{
    (void)state;
    stele_db *db = open_db("losses", 4);
    stele_conn *conns[4];
    int pids[4];
    for (int i = 0; i < 4; i++) {
        conns[i] = acquire(db);
        pids[i] = stele_conn_backend_pid(conns[i]);
    }
    for (int i = 0; i < 4; i++)
        stele_conn_release(conns[i]);
    kill_backend(pids[3]); /* the newest two */
    kill_backend(pids[2]);
    stele_conn *conn = acquire(db);
    for (int i = 0; i < 4; i++)
        assert_int_not_equal(stele_conn_backend_pid(conn), pids[i]);
    stele_conn_release(conn);
    assert_int_equal(stats_of(db).check_failures, 2);
    assert_int_equal(stats_of(db).closed[STELE_CLOSED_GENERATION], 2);
    stele_db_close(db);
}

static void an_open_transaction_is_rolled_back_on_return(void **state)
{
    (void)state;
    stele_db *db = open_db("dirty", 1);
    stele_conn *conn = acquire(db);
    stele_error err;
    run_sql(conn, "CREATE TABLE dirty_t (n int)");
    int pid = stele_conn_backend_pid(conn);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    run_sql(conn, "INSERT INTO dirty_t VALUES (1)");
    stele_conn_release(conn);
    conn = acquire(db);
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    assert_false(stele_conn_in_transaction(conn));
    assert_string_equal(ask(conn, "SELECT count(*) FROM dirty_t"), "0");
    /* after an error, too */
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_int_equal(try_sql(conn, "SELECT 1/0", &err), STELE_E_VALUE);
    stele_conn_release(conn);
    conn = acquire(db);
    run_sql(conn, "SELECT 1");
    /* a BEGIN that never left costs nothing and is no dirt */
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    stele_conn_release(conn);
    assert_int_equal(stats_of(db).dirty, 2);
    assert_int_equal(stats_of(db).created, 1);
    stele_db_close(db);
}

/* A trigger that holds up the rollback's connection cannot be had; a stopped server process can. */
static void a_rollback_that_hangs_costs_half_a_second_and_the_connection(void **state)
{
    (void)state;
    char sql[96];
    stele_db *db = open_db("hang", 1);
    stele_conn *conn = acquire(db);
    stele_error err;
    int pid = stele_conn_backend_pid(conn);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    run_sql(conn, "SELECT 1");
    if (kill(pid, SIGSTOP) != 0)
        skip();
    uint64_t start = now_ms();
    stele_conn_release(conn);
    uint64_t took = now_ms() - start;
    (void)kill(pid, SIGCONT);
    assert_in_range(took, 450, SOON_MS);
    assert_int_equal(stats_of(db).closed[STELE_CLOSED_DIRTY], 1);
    snprintf(sql, sizeof sql, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %d)",
             pid);
    assert_true(dbtest_wait_until(dsn, sql));
    stele_db_close(db);
}

static void a_changed_session_is_reset(void **state)
{
    (void)state;
    stele_db *db = open_db("session", 1);
    stele_error err;
    dbtest_exec(dsn, "DROP ROLE IF EXISTS pool_other; CREATE ROLE pool_other");
    stele_conn *conn = acquire(db);
    int pid = stele_conn_backend_pid(conn);
    assert_ok(stele_conn_exec(conn, "SET ROLE pool_other", NULL, 0, NULL, &err), &err);
    assert_ok(stele_conn_exec(conn, "SET search_path = nowhere", NULL, 0, NULL, &err), &err);
    assert_ok(stele_conn_exec(conn, "SET TimeZone = 'Asia/Tokyo'", NULL, 0, NULL, &err), &err);
    assert_string_equal(ask(conn, "SELECT current_user"), "pool_other");
    stele_conn_release(conn);
    conn = acquire(db);
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    assert_string_equal(ask(conn, "SELECT current_user = session_user"), "t");
    assert_string_equal(ask(conn, "SHOW search_path"), "\"$user\", public");
    assert_string_equal(ask(conn, "SHOW TimeZone"), "UTC");
    assert_string_equal(ask(conn, "SHOW plan_cache_mode"), "force_generic_plan");
    stele_conn_release(conn);
    stele_db_close(db);
    dbtest_exec(dsn, "DROP ROLE pool_other");
}

static void ages_end_connections(void **state)
{
    (void)state;
    stele_db_options options = options_for("idle_age", 2);
    options.pool.max_idle_ms = 100;
    stele_db *db = open_with(&options);
    wait_for_backends("idle_age", 0); /* swept without anybody asking */
    assert_int_equal(stats_of(db).closed[STELE_CLOSED_IDLE], 1);
    stele_db_close(db);

    options = options_for("life_age", 2);
    options.pool.max_lifetime_ms = 200;
    db = open_with(&options);
    stele_conn *conn = acquire(db);
    int pid = stele_conn_backend_pid(conn);
    uint64_t ended = stats_of(db).closed[STELE_CLOSED_LIFETIME];
    uint64_t start = now_ms();
    wait_until(now_ms() - start > 220);
    stele_conn_release(conn); /* too old to be kept */
    assert_int_equal(stats_of(db).closed[STELE_CLOSED_LIFETIME], ended + 1);
    conn = acquire(db);
    assert_int_not_equal(stele_conn_backend_pid(conn), pid);
    stele_conn_release(conn);
    stele_db_close(db);
}

/* The ends that were drawn, told from when they were made: independent of how fast the test runs. */
static void look_at_ends(stele_db *db, uint64_t *ret_first, uint64_t *ret_last)
{
    stele__pool *pool = db->pool;
    *ret_first = UINT64_MAX;
    *ret_last = 0;
    stele__pool_lock(pool);
    for (uint32_t i = 0; i < pool->config.rules.max_connections; i++) {
        uint64_t ms = pool->slots[i].expires_ns / 1000000;
        *ret_first = ms < *ret_first ? ms : *ret_first;
        *ret_last = ms > *ret_last ? ms : *ret_last;
    }
    stele__pool_unlock(pool);
}

/* 24 connections opened together end over a quarter of 2 s: not all in any one eighth of it. */
static void lifetimes_are_spread(void **state)
{
    (void)state;
    enum { COUNT = 24 };
    stele_conn *conns[COUNT];
    stele_db_options options = options_for("spread", COUNT);
    options.pool.max_lifetime_ms = 2000;
    options.pool.leak_after_ms = 20; /* makes the sweeps frequent */
    uint64_t first;
    uint64_t last;
    uint64_t before = now_ms();
    stele_db *db = open_with(&options);
    for (int i = 0; i < COUNT; i++)
        conns[i] = acquire(db);
    uint64_t after = now_ms();
    look_at_ends(db, &first, &last);
    assert_in_range(first, before + 1500, after + 2000);
    assert_in_range(last, first + 250, after + 2001);
    for (int i = 0; i < COUNT; i++)
        stele_conn_release(conns[i]);
    wait_until(stats_of(db).closed[STELE_CLOSED_LIFETIME] >= COUNT);
    assert_true(now_ms() >= last);
    stele_db_close(db);
}

static void min_idle_is_kept(void **state)
{
    (void)state;
    stele_db_options options = options_for("min_idle", 5);
    options.pool.min_idle = 3;
    options.pool.max_idle_ms = 50;
    stele_db *db = open_with(&options);
    wait_until(stats_of(db).idle == 3);
    stele_db_reset(db);
    wait_until(stats_of(db).idle == 3 && stats_of(db).closed[STELE_CLOSED_GENERATION] == 3);
    wait_for_backends("min_idle", 3);
    stele_db_close(db);
}

static void an_old_idle_connection_is_pinged(void **state)
{
    (void)state;
    stele_db_options options = options_for("ping", 2);
    options.pool.ping_after_ms = 50;
    options.pool.ping_timeout_ms = 1000;
    stele_db *db = open_with(&options);
    stele_conn *conn = acquire(db);
    int pid = stele_conn_backend_pid(conn);
    uint64_t failed = stats_of(db).check_failures;
    stele_conn_release(conn);
    uint64_t start = now_ms();
    wait_until(now_ms() - start > 60);
    if (kill(pid, SIGSTOP) != 0)
        skip();
    start = now_ms();
    conn = acquire(db); /* the frozen one is found out, and the pool is not exhausted */
    uint64_t took = now_ms() - start;
    assert_int_not_equal(stele_conn_backend_pid(conn), pid);
    assert_in_range(took, 990, SOON_MS);
    run_sql(conn, "SELECT 1");
    stele_conn_release(conn);
    (void)kill(pid, SIGCONT);
    assert_true(stats_of(db).check_failures > failed);
    stele_db_close(db);
}

static void a_check_that_takes_all_the_time_says_how_long_it_was(void **state)
{
    (void)state;
    stele_db_options options = options_for("slow_check", 1);
    options.pool.ping_after_ms = 1;
    options.pool.ping_timeout_ms = 60000;
    stele_db *db = open_with(&options);
    stele_conn *conn = acquire(db);
    stele_error err;
    unsigned long long waited = 0;
    int pid = stele_conn_backend_pid(conn);
    stele_conn_release(conn);
    uint64_t start = now_ms();
    wait_until(now_ms() - start > 10);
    if (kill(pid, SIGSTOP) != 0)
        skip();
    stele_status st = stele_db_acquire_at(db, 200, __FILE__, __LINE__, &conn, &err);
    (void)kill(pid, SIGCONT);
    assert_int_equal(st, STELE_E_TIMEOUT);
    assert_int_equal(sscanf(err.message, "no connection came free in %llu ms", &waited), 1);
    assert_in_range(waited, 200, 60000);
    stele_db_close(db);
}

static void reset_replaces_all(void **state)
{
    (void)state;
    stele_db *db = open_db("reset", 3);
    stele_conn *leased = acquire(db);
    stele_conn *other = acquire(db);
    int idle_pid = stele_conn_backend_pid(other);
    int leased_pid = stele_conn_backend_pid(leased);
    stele_conn_release(other);
    stele_db_reset(db);
    run_sql(leased, "SELECT 1"); /* a lease is not disturbed */
    stele_conn_release(leased);
    assert_int_equal(stats_of(db).closed[STELE_CLOSED_GENERATION], 2);
    other = acquire(db);
    assert_int_not_equal(stele_conn_backend_pid(other), idle_pid);
    assert_int_not_equal(stele_conn_backend_pid(other), leased_pid);
    stele_conn_release(other);
    stele_db_close(db);
}

static atomic_int leaks;
static stele_leak_report last_leak;

static void note_leak(const stele_leak_report *report, void *user)
{
    *(stele_leak_report *)user = *report;
    atomic_fetch_add(&leaks, 1);
}

static void a_leak_is_reported_once_and_not_taken_away(void **state)
{
    (void)state;
    stele_db_options options = options_for("leak", 1);
    options.pool.leak_after_ms = 60;
    options.on_leak = note_leak;
    options.hook_user = &last_leak;
    atomic_store(&leaks, 0);
    stele_db *db = open_with(&options);
    int line = __LINE__ + 2;
    stele_conn *conn = NULL;
    assert_int_equal(stele_db_acquire(db, &conn, NULL), STELE_OK);
    wait_until(atomic_load(&leaks) == 1);
    assert_true(last_leak.held_ms >= 60);
    assert_int_equal(last_leak.line, line);
    assert_non_null(strstr(last_leak.file, "pool_test.c"));
    assert_true(last_leak.thread_id > 0);
    uint64_t start = now_ms();
    wait_until(now_ms() - start > 200);
    assert_int_equal(atomic_load(&leaks), 1);
    run_sql(conn, "SELECT 1");
    stele_conn_release(conn);
    assert_int_equal(stats_of(db).leaks, 1);
    stele_db_close(db);
}

/* The statement runs on past its deadline: it must be canceled, and its place stay taken till then. */
static void an_expired_call_is_canceled_and_its_place_waited_for(void **state)
{
    (void)state;
    stele_db *db = open_db("expired", 1);
    stele_conn *conn = acquire(db);
    stele_error err;
    stele_conn_set_deadline(conn, 2000); /* only once it is under way */
    assert_int_equal(try_sql(conn, "SELECT pg_sleep(60)", &err), STELE_E_TIMEOUT);
    uint64_t start = now_ms();
    stele_conn_release(conn);
    conn = acquire(db);
    assert_int_equal(backends("expired"), 1);
    assert_true(now_ms() - start < SOON_MS);
    stele_conn_release(conn);
    assert_int_equal(stats_of(db).cancels, 1);
    assert_int_equal(stats_of(db).closed[STELE_CLOSED_BROKEN], 1);
    stele_db_close(db);
}

static void *cancel_when_active(void *arg)
{
    stele_error err;
    assert_true(dbtest_wait_until(dsn, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE "
                                       "application_name = 'cancel' AND state = 'active' AND "
                                       "datname = current_database())"));
    assert_ok(stele_conn_cancel(arg, &err), &err);
    return NULL;
}

static void another_thread_can_cancel(void **state)
{
    (void)state;
    pthread_t thread;
    stele_db *db = open_db("cancel", 1);
    stele_conn *conn = acquire(db);
    stele_error err;
    int pid = stele_conn_backend_pid(conn);
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_active, conn), 0);
    assert_int_equal(try_sql(conn, "SELECT pg_sleep(60)", &err), STELE_E_CANCELED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    run_sql(conn, "SELECT 1");
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    stele_conn_release(conn);
    assert_int_equal(stats_of(db).cancels, 1);
    stele_db_close(db);
}

static void a_lease_outlives_the_handle(void **state)
{
    (void)state;
    stele_db *db = open_db("outlive", 2);
    stele_conn *conn = acquire(db);
    stele_db_close_wait(db, 0);
    stele_error err;
    stele_status st = try_sql(conn, "SELECT 1", &err); /* a late cancel request may hit it */
    assert_true(st == STELE_OK || st == STELE_E_CANCELED);
    stele_conn_release(conn);
    wait_for_backends("outlive", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_reused_and_counted),
        cmocka_unit_test(the_newest_idle_connection_is_taken),
        cmocka_unit_test(a_tenant_gets_the_connection_it_used_last),
        cmocka_unit_test(a_dead_idle_connection_is_replaced),
        cmocka_unit_test(two_losses_in_a_second_condemn_all),
        cmocka_unit_test(an_open_transaction_is_rolled_back_on_return),
        cmocka_unit_test(a_rollback_that_hangs_costs_half_a_second_and_the_connection),
        cmocka_unit_test(a_changed_session_is_reset),
        cmocka_unit_test(ages_end_connections),
        cmocka_unit_test(lifetimes_are_spread),
        cmocka_unit_test(min_idle_is_kept),
        cmocka_unit_test(an_old_idle_connection_is_pinged),
        cmocka_unit_test(a_check_that_takes_all_the_time_says_how_long_it_was),
        cmocka_unit_test(reset_replaces_all),
        cmocka_unit_test(a_leak_is_reported_once_and_not_taken_away),
        cmocka_unit_test(an_expired_call_is_canceled_and_its_place_waited_for),
        cmocka_unit_test(another_thread_can_cancel),
        cmocka_unit_test(a_lease_outlives_the_handle),
    };
    return RUN(tests);
}
