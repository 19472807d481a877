/* The line of those who wait: order, limits, warnings, and what closing does to them. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "latency.h"
#include "pool_util.h"

/* A caller that waits in line and notes when it was served. */
typedef struct caller {
    stele_db *db;
    pthread_t thread;
    uint32_t timeout_ms;
    int served; /* 1 for the first of all */
    stele_status status;
    stele_error err;
} caller;

static atomic_int serial;

static void *call(void *arg)
{
    caller *c = arg;
    stele_conn *conn = NULL;
    c->status = stele_db_acquire_at(c->db, c->timeout_ms, "caller.c", 1, &conn, &c->err);
    if (c->status == STELE_OK) {
        c->served = atomic_fetch_add(&serial, 1) + 1;
        stele_conn_release(conn);
    }
    return NULL;
}

/* Starts it and waits until it has joined the line as number `place`. */
static void start_caller(caller *c, stele_db *db, uint32_t timeout_ms, uint32_t place)
{
    *c = (caller){.db = db, .timeout_ms = timeout_ms};
    assert_int_equal(pthread_create(&c->thread, NULL, call, c), 0);
    wait_until(stats_of(db).waited >= place);
}

static void join_caller(caller *c)
{
    assert_int_equal(pthread_join(c->thread, NULL), 0);
}

static void the_line_is_served_in_order(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    static caller callers[COUNT];
    atomic_store(&serial, 0);
    stele_db *db = open_db("order", 1);
    stele_conn *conn = acquire(db);
    for (uint32_t i = 0; i < COUNT; i++)
        start_caller(&callers[i], db, 60000, i + 1);
    stele_conn_release(conn);
    for (int i = 0; i < COUNT; i++) {
        join_caller(&callers[i]);
        assert_ok(callers[i].status, &callers[i].err);
        assert_int_equal(callers[i].served, i + 1);
    }
    stele_pool_stats stats = stats_of(db);
    assert_int_equal(stats.waited, COUNT);
    assert_int_equal(stats.created, 1); /* the one link was handed on */
    assert_int_equal(stats.wait.count, 1 + COUNT);
    assert_true(stats.wait.sum_ns > 0);
    stele_db_close(db);
}

static bool waits_or_is_served(const stele_db *db, uint32_t errors)
{
    stele_pool_stats stats = stats_of(db);
    return stats.waiting == 1 || stats.connect_errors > errors;
}

/* One round: true if the caller was told before another attempt to connect was made. */
static bool is_told_at_once(const char *as_role, const char *forbid)
{
    caller hoping;
    stele_conn *second = NULL;
    stele_error err;
    stele_db_options options = options_for("hope", 2);
    options.dsn = as_role;
    stele_db *db = open_with(&options);
    stele_conn *conn = acquire(db);
    dbtest_exec(dsn, forbid);
    assert_int_equal(stele_db_acquire_at(db, 60000, __FILE__, __LINE__, &second, &err),
                     STELE_E_AUTH);
    /* One link is in use, and may come back to who waits; until it is lost. */
    hoping = (caller){.db = db, .timeout_ms = 60000};
    assert_int_equal(pthread_create(&hoping.thread, NULL, call, &hoping), 0);
    wait_until(waits_or_is_served(db, 1));
    (void)try_sql(conn, "SELECT pg_terminate_backend(pg_backend_pid())", &err);
    stele_conn_release(conn);
    join_caller(&hoping);
    assert_int_equal(hoping.status, STELE_E_AUTH);
    bool at_once = stats_of(db).connect_errors == 1;
    stele_db_close(db);
    return at_once;
}

/* The next attempt may be due at any time within 5 s: now and then it comes before the loss. */
static void the_line_is_told_when_its_last_hope_is_lost(void **state)
{
    (void)state;
    enum { ROUNDS_AT_MOST = 20 };
    char as_role[1024];
    char allow[96];
    char forbid[96];
    int rounds = 0;
    (void)snprintf(as_role, sizeof as_role, "%s user=line_role_%d", dsn, (int)getpid());
    (void)snprintf(allow, sizeof allow, "ALTER ROLE line_role_%d LOGIN", (int)getpid());
    (void)snprintf(forbid, sizeof forbid, "ALTER ROLE line_role_%d NOLOGIN", (int)getpid());
    char sql[96];
    (void)snprintf(sql, sizeof sql, "CREATE ROLE line_role_%d", (int)getpid());
    dbtest_exec(dsn, sql);
    do {
        assert_true(rounds++ < ROUNDS_AT_MOST);
        dbtest_exec(dsn, allow);
    } while (!is_told_at_once(as_role, forbid));
    (void)snprintf(sql, sizeof sql, "DROP ROLE line_role_%d", (int)getpid());
    dbtest_exec(dsn, sql);
}

/* All acquires are there, by the time they stood in line. */
static void waiting_counts_by_its_time(void **state)
{
    (void)state;
    caller waiting;
    stele_conn *conn = NULL;
    stele_error err;
    stele_db *db = open_db("waited", 1);
    for (int i = 0; i < 10; i++)
        stele_conn_release(acquire(db));
    conn = acquire(db);
    uint64_t start = now_ms();
    start_caller(&waiting, db, 60000, 1);
    uint64_t late = now_ms();
    wait_until(now_ms() - late > 50);
    stele_conn_release(conn);
    join_caller(&waiting);
    uint64_t most = now_ms() - start + 1;
    stele_pool_stats stats = stats_of(db);
    assert_int_equal(stats.wait.count, 12);
    assert_int_equal(stats.wait.count, stats.acquired);
    assert_int_equal(stats.wait.buckets[0], 11);
    assert_int_equal(slower_than(&stats.wait, 50), 1);
    assert_in_range(stats.wait.sum_ns, 50 * 1000000, most * 1000000);
    /* Who gives up has waited, too. */
    conn = acquire(db);
    stele_conn *second = NULL;
    assert_int_equal(stele_db_acquire_at(db, 60, __FILE__, __LINE__, &second, &err),
                     STELE_E_TIMEOUT);
    stats = stats_of(db);
    assert_int_equal(stats.acquired, 13);
    assert_int_equal(stats.wait.count, 14);
    assert_int_equal(slower_than(&stats.wait, 50), 2);
    /* A lease whose connection turns out to be dead waits for the next. */
    stele_conn_release(conn);
    char *killed = dbtest_value(dsn, "SELECT pg_terminate_backend(pid, 60000) FROM"
                                     " pg_stat_activity WHERE application_name = 'waited'"
                                     " AND datname = current_database()");
    assert_string_equal(killed, "t");
    free(killed);
    stele_conn_release(acquire(db));
    stats = stats_of(db);
    assert_int_equal(stats.check_failures, 1);
    assert_int_equal(stats.acquired, 14);
    assert_int_equal(stats.wait.count, 16);
    assert_int_equal(stats.create.count, 2);
    assert_int_equal(stats.created, 2);
    (void)slower_than(&stats.create, 50);
    stele_db_close(db);
}

static void attempts_to_connect_count_that_fail(void **state)
{
    (void)state;
    stele_conn *conn = NULL;
    stele_error err;
    char sql[400];
    char *name = dbtest_value(dsn, "SELECT current_database()");
    stele_db *db = open_db("refused", 1);
    (void)snprintf(sql, sizeof sql,
                   "ALTER DATABASE \"%s\" ALLOW_CONNECTIONS false;"
                   "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
                   " WHERE application_name = 'refused' AND datname = '%s'",
                   name, name);
    dbtest_exec(getenv("STELE_DSN"), sql);
    assert_int_not_equal(stele_db_acquire(db, &conn, &err), STELE_OK);
    (void)snprintf(sql, sizeof sql, "ALTER DATABASE \"%s\" ALLOW_CONNECTIONS true", name);
    dbtest_exec(getenv("STELE_DSN"), sql);
    stele_pool_stats stats = stats_of(db);
    assert_true(stats.connect_errors >= 1);
    assert_int_equal(stats.create.count, stats.created + stats.connect_errors);
    (void)slower_than(&stats.create, 50);
    stele_db_close(db);
    free(name);
}

static void a_newcomer_does_not_overtake(void **state)
{
    (void)state;
    caller waiting;
    stele_conn *conn = NULL;
    stele_error err;
    stele_db *db = open_db("overtake", 1);
    conn = acquire(db);
    start_caller(&waiting, db, 60000, 1);
    /* The link is handed over in the release, so it is never there for us to take. */
    stele_conn_release(conn);
    conn = acquire(db);
    join_caller(&waiting);
    assert_ok(waiting.status, &waiting.err);
    stele_conn_release(conn);
    /* with no time at all, it is refused rather than let past */
    conn = acquire(db);
    stele_conn *second = NULL;
    assert_int_equal(stele_db_acquire_at(db, 1, __FILE__, __LINE__, &second, &err),
                     STELE_E_TIMEOUT);
    assert_non_null(strstr(err.message, "1 of 1 in use"));
    assert_true(err.retryable);
    assert_true(err.hint[0] != '\0');
    stele_conn_release(conn);
    assert_int_equal(stats_of(db).timeouts, 1);
    stele_db_close(db);
}

static void who_gives_up_leaves_the_line(void **state)
{
    (void)state;
    caller first;
    caller second;
    atomic_store(&serial, 0);
    stele_db *db = open_db("give_up", 1);
    stele_conn *conn = acquire(db);
    uint64_t start = now_ms();
    start_caller(&first, db, 150, 1);
    start_caller(&second, db, 60000, 2);
    join_caller(&first);
    assert_int_equal(first.status, STELE_E_TIMEOUT);
    assert_in_range(now_ms() - start, 140, SOON_MS);
    assert_int_equal(stats_of(db).waiting, 1);
    stele_conn_release(conn);
    join_caller(&second);
    assert_ok(second.status, &second.err);
    stele_db_close(db);
}

static void too_many_in_line_are_refused_at_once(void **state)
{
    (void)state;
    caller callers[3];
    stele_conn *conn = NULL;
    stele_error err;
    stele_db_options options = options_for("busy", 1);
    options.pool.max_waiters = 3;
    stele_db *db = open_with(&options);
    stele_conn *held = acquire(db);
    for (uint32_t i = 0; i < 3; i++)
        start_caller(&callers[i], db, 60000, i + 1);
    uint64_t start = now_ms();
    assert_int_equal(stele_db_acquire(db, &conn, &err), STELE_E_BUSY);
    assert_true(now_ms() - start < SOON_MS);
    assert_non_null(strstr(err.message, "3 callers wait"));
    assert_int_equal(stats_of(db).rejected, 1);
    stele_conn_release(held);
    for (int i = 0; i < 3; i++) {
        join_caller(&callers[i]);
        assert_ok(callers[i].status, &callers[i].err);
    }
    stele_db_close(db);
}

/* What a frozen hold keeps others from: the link it is handed must still be checked. */
static void a_link_that_dies_on_the_way_is_replaced_in_place(void **state)
{
    (void)state;
    caller callers[2];
    char sql[96];
    atomic_store(&serial, 0);
    stele_db *db = open_db("dies", 1);
    stele_conn *conn = acquire(db);
    start_caller(&callers[0], db, 60000, 1);
    start_caller(&callers[1], db, 60000, 2);
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 60000)",
             stele_conn_backend_pid(conn));
    dbtest_exec(dsn, sql);
    stele_conn_release(conn); /* not noticed yet: idle as far as libpq knows */
    for (int i = 0; i < 2; i++) {
        join_caller(&callers[i]);
        assert_ok(callers[i].status, &callers[i].err);
        assert_int_equal(callers[i].served, i + 1);
    }
    assert_int_equal(stats_of(db).created, 2);
    stele_db_close(db);
}

static atomic_int warnings;

static void note_warning(const char *severity, const char *message, void *user)
{
    (void)user;
    if (strcmp(severity, "WARNING") == 0 && strstr(message, "while it holds one taken at") != NULL)
        atomic_fetch_add(&warnings, 1);
}

static void a_thread_that_waits_for_itself_is_warned_about(void **state)
{
    (void)state;
    stele_conn *second = NULL;
    caller other;
    stele_db_options options = options_for("nested", 1);
    options.on_notice = note_warning;
    atomic_store(&warnings, 0);
    stele_db *db = open_with(&options);
    stele_conn *conn = acquire(db);
    start_caller(&other, db, 100, 1); /* another thread is no reason */
    join_caller(&other);
    assert_int_equal(atomic_load(&warnings), 0);
    assert_int_equal(stele_db_acquire_at(db, 50, __FILE__, __LINE__, &second, NULL),
                     STELE_E_TIMEOUT);
    assert_int_equal(atomic_load(&warnings), 1);
    stele_conn_release(conn);
    stele_db_close(db);
}

static void closing_sends_the_line_away(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    static caller callers[COUNT];
    stele_db *db = open_db("away", 1);
    stele_conn *conn = acquire(db);
    for (uint32_t i = 0; i < COUNT; i++)
        start_caller(&callers[i], db, 60000, i + 1);
    uint64_t start = now_ms();
    stele_db_close_wait(db, 0);
    for (int i = 0; i < COUNT; i++) {
        join_caller(&callers[i]);
        assert_int_equal(callers[i].status, STELE_E_CLOSED);
    }
    assert_true(now_ms() - start < SOON_MS);
    /* the handle's memory is there while the lease is: a late caller is refused, not lost */
    stele_conn *late = NULL;
    assert_int_equal(stele_db_acquire(db, &late, NULL), STELE_E_CLOSED);
    stele_conn_release(conn);
    wait_for_backends("away", 0);
}

static void *sleep_on_the_server(void *arg)
{
    stele_error err;
    stele_status st = try_sql(arg, "SELECT pg_sleep(60)", &err);
    stele_conn_release(arg);
    return (void *)(intptr_t)st;
}

static void closing_drains_then_cancels(void **state)
{
    (void)state;
    pthread_t thread;
    void *status;
    stele_db *db = open_db("drains", 2);
    stele_conn *conn = acquire(db);
    assert_int_equal(pthread_create(&thread, NULL, sleep_on_the_server, conn), 0);
    assert_true(dbtest_wait_until(dsn, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE "
                                       "application_name = 'drains' AND state = 'active' "
                                       "AND datname = current_database())"));
    uint64_t start = now_ms();
    stele_db_close_wait(db, 200);
    uint64_t took = now_ms() - start;
    assert_in_range(took, 190, SOON_MS);
    assert_int_equal(pthread_join(thread, &status), 0);
    assert_int_equal((intptr_t)status, STELE_E_CANCELED);
    wait_for_backends("drains", 0);
}

/* ---- closing at random moments ---- */

enum { ROUNDS = 100, THREADS = 4 };

typedef struct worker {
    stele_db *db;
    pthread_t thread;
    unsigned seed;
    uint64_t served;
} worker;

/* Works until the handle is closed; the lease that main() holds keeps the handle's memory. */
static void *work_until_closed(void *arg)
{
    worker *w = arg;
    for (;;) {
        stele_conn *conn = NULL;
        stele_error err;
        stele_status st = stele_db_acquire(w->db, &conn, &err);
        if (st != STELE_OK)
            return (void *)(intptr_t)st;
        if (rand_r(&w->seed) % 2 == 0)
            (void)try_sql(conn, "SELECT 1", &err);
        stele_conn_release(conn);
        w->served++;
    }
}

/* 100 pools, 4 threads each, closed after a random number of leases. */
static void closing_at_any_moment_is_clean(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < ROUNDS; round++) {
        worker workers[THREADS];
        stele_db *db = open_db("any", 3);
        stele_conn *keep = acquire(db);
        uint64_t limit = stats_of(db).acquired + (uint64_t)(rand_r(&seed) % 200);
        for (unsigned i = 0; i < THREADS; i++) {
            workers[i] = (worker){.db = db, .seed = seed + i};
            assert_int_equal(
                pthread_create(&workers[i].thread, NULL, work_until_closed, &workers[i]), 0);
        }
        wait_until(stats_of(db).acquired >= limit);
        stele_db_close_wait(db, 0);
        for (int i = 0; i < THREADS; i++) {
            void *status;
            assert_int_equal(pthread_join(workers[i].thread, &status), 0);
            assert_int_equal((intptr_t)status, STELE_E_CLOSED);
        }
        stele_conn_release(keep);
    }
    wait_for_backends("any", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_line_is_served_in_order),
        cmocka_unit_test(the_line_is_told_when_its_last_hope_is_lost),
        cmocka_unit_test(waiting_counts_by_its_time),
        cmocka_unit_test(attempts_to_connect_count_that_fail),
        cmocka_unit_test(a_newcomer_does_not_overtake),
        cmocka_unit_test(who_gives_up_leaves_the_line),
        cmocka_unit_test(too_many_in_line_are_refused_at_once),
        cmocka_unit_test(a_link_that_dies_on_the_way_is_replaced_in_place),
        cmocka_unit_test(a_thread_that_waits_for_itself_is_warned_about),
        cmocka_unit_test(closing_sends_the_line_away),
        cmocka_unit_test(closing_drains_then_cancels),
        cmocka_unit_test(closing_at_any_moment_is_clean),
    };
    return RUN(tests);
}
