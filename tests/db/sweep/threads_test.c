/*
 * Sweepers in threads: the sweeper's own, run-now beside it, eight of them at once.
 */
#include <pthread.h>
#include <unistd.h>

#include "sweep_util.h"

enum { SWEEPERS = 8, ROWS = 40000 };

static void add_tickets(int expired, int living)
{
    char sql[300];
    (void)snprintf(
        sql, sizeof sql,
        "INSERT INTO tickets (ends_at) SELECT now() - i * interval '1 ms' FROM"
        " generate_series(1, %d) AS i; INSERT INTO tickets (ends_at, text) SELECT now() +"
        " interval '1 h', 'living' FROM generate_series(1, %d)",
        expired, living);
    peer(sql);
}

static void the_first_sweep_comes_soon(void **state)
{
    (void)state;
    stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;
    options.start_jitter_ms = 200;
    add_tickets(10, 10);
    uint64_t began = now_ms();
    stele_sweeper *sweeper = open_sweeper(db, &options); /* every five minutes */
    wait_until(numbers_of(sweeper).runs > 0);
    assert_true(now_ms() - began < SOON_MS);
    assert_int_equal(numbers_of(sweeper).expired, 10);
    assert_int_equal(number("SELECT count(*) FROM tickets"), 10);
    close_sweeper(sweeper);
}

static void it_goes_on_at_intervals(void **state)
{
    (void)state;
    stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;
    options.start_jitter_ms = 1;
    options.interval_ms = 20;
    stele_sweeper *sweeper = open_sweeper(db, &options);
    for (uint64_t i = 1; i <= 3; i++) {
        add_tickets(10, 0);
        wait_until(numbers_of(sweeper).expired == 10 * i);
    }
    assert_true(numbers_of(sweeper).runs >= 3);
    close_sweeper(sweeper);
}

static int threads_called(const char *name)
{
    int found = 0;
    char command[200];
    (void)snprintf(command, sizeof command, "grep -lx %s /proc/%d/task/*/comm 2>/dev/null | wc -l",
                   name, (int)getpid());
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &found), 1);
    (void)pclose(pipe);
    return found;
}

static void a_negative_interval_starts_no_thread(void **state)
{
    (void)state;
    stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;
    options.start_jitter_ms = 1;
    options.interval_ms = -1;
    stele_sweeper *sweeper = open_sweeper(db, &options);
    assert_int_equal(threads_called("stele-sweeper"), 0);
    close_sweeper(sweeper);
    options.interval_ms = 0;
    sweeper = open_sweeper(db, &options);
    wait_until(threads_called("stele-sweeper") == 1); /* named by itself */
    close_sweeper(sweeper);
    assert_int_equal(threads_called("stele-sweeper"), 0);
}

/* The thread sweeps slowly; who cannot wait takes over. */
static void run_now_takes_over(void **state)
{
    (void)state;
    stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;
    stele_sweep_report report = {0};
    options.start_jitter_ms = 1;
    options.rows_per_second = 2000;
    options.batch_rows = 100;
    add_tickets(20000, 10);
    stele_sweeper *sweeper = open_sweeper(db, &options);
    wait_until(numbers_of(sweeper).running && numbers_of(sweeper).expired > 0);
    assert_ok(stele_sweeper_run(sweeper, 60000, &report, &err), &err);
    assert_true(report.complete && report.expired > 0);
    assert_int_equal(number("SELECT count(*) FROM tickets"), 10);
    assert_int_equal(numbers_of(sweeper).expired, 20000);
    close_sweeper(sweeper);
}

static void a_deadline_ends_a_run(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_sweep_report report = {0};
    options.rows_per_second = 100;
    options.batch_rows = 10;
    add_tickets(1000, 0);
    stele_sweeper *sweeper = open_sweeper(db, &options);
    uint64_t began = now_ms();
    assert_int_equal(stele_sweeper_run(sweeper, 300, &report, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - began < SOON_MS);
    assert_false(report.complete);
    assert_true(report.expired < 1000);
    close_sweeper(sweeper);
}

/* ---- eight at once ---- */

typedef struct one {
    pthread_t thread;
    stele_sweeper *sweeper;
    stele_sweep_report report;
    stele_status st;
    stele_error why;
} one;

static void *sweep(void *user)
{
    one *o = user;
    o->st = stele_sweeper_run(o->sweeper, 60000, &o->report, &o->why);
    return NULL;
}

static bool stop;
static uint64_t renewed;

/* Keeps rows alive that are about to end, or just have. */
static void *renew(void *user)
{
    stele_conn *conn = user;
    stele_error why;
    for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
        uint64_t count = 0;
        char id[16];
        (void)snprintf(id, sizeof id, "%d", 1 + i * 7919 % ROWS);
        stele_str param = stele_s(id);
        if (stele_conn_exec(conn,
                            "UPDATE tickets SET ends_at = now() + interval '1 h', text = 'living'"
                            " WHERE id = $1 AND text IS NULL",
                            &param, 1, &count, &why) == STELE_OK)
            renewed += count;
    }
    return NULL;
}

static void eight_share_the_work(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    one all[SWEEPERS] = {0};
    pthread_t thread;
    uint64_t expired = 0;
    uint32_t elsewhere = 0;
    stop = false;
    renewed = 0;
    options.batch_rows = 200;
    add_tickets(ROWS, 1000);
    stele_conn *conn = acquire(db);
    assert_int_equal(pthread_create(&thread, NULL, renew, conn), 0);
    for (int i = 0; i < SWEEPERS; i++) {
        all[i].sweeper = open_sweeper(db, &options);
        assert_int_equal(pthread_create(&all[i].thread, NULL, sweep, &all[i]), 0);
    }
    for (int i = 0; i < SWEEPERS; i++) {
        assert_int_equal(pthread_join(all[i].thread, NULL), 0);
        assert_ok(all[i].st, &all[i].why);
        expired += all[i].report.expired;
        elsewhere += all[i].report.elsewhere;
        assert_int_equal(numbers_of(all[i].sweeper).failures, 0);
        close_sweeper(all[i].sweeper);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    stele_conn_release(conn);
    expired += sweep_once(db, &options).expired; /* what was held or renewed in between */
    print_message("# %llu expired, %llu renewed, %u times another was at it\n",
                  (unsigned long long)expired, (unsigned long long)renewed, elsewhere);
    assert_int_equal(expired + renewed, ROWS);
    assert_int_equal(number("SELECT count(*) FROM tickets WHERE text = 'living'"), 1000 + renewed);
    assert_int_equal(number("SELECT count(*) FROM tickets"), 1000 + renewed);
    assert_int_equal(number("SELECT deadlocks FROM pg_stat_database WHERE datname ="
                            " current_database()"),
                     0);
    assert_true(elsewhere > 0 && renewed > 0);
}

static void tables_are_left_to_whoever_is_at_them(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_sweep_report report = {0};
    stele_conn *holder = acquire(db);
    options.lock_timeout_ms = options.statement_timeout_ms = 60000;
    add_tickets(10, 0);
    stele_sweeper *sweeper = open_sweeper(db, &options);
    peer("CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
         " PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$;"
         "CREATE TRIGGER linger AFTER DELETE ON tickets FOR EACH ROW EXECUTE FUNCTION"
         " linger()");
    run_sql(holder, "SELECT pg_advisory_lock(7)");
    one first = {.sweeper = open_sweeper(db, &options)};
    assert_int_equal(pthread_create(&first.thread, NULL, sweep, &first), 0);
    assert_true(dbtest_wait_until(dsn,
                                  "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event ="
                                  " 'advisory' AND datname = current_database()"));
    peer(
        "INSERT INTO tickets (ends_at) VALUES (now() - interval '1 s')"); /* not held by the first */
    assert_ok(stele_sweeper_run(sweeper, 60000, &report, &err), &err);
    assert_int_equal(report.elsewhere, 1);
    assert_int_equal(report.expired, 0);
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    assert_int_equal(pthread_join(first.thread, NULL), 0);
    assert_int_equal(first.report.expired, 10);
    peer("DROP FUNCTION linger CASCADE");
    close_sweeper(first.sweeper);
    close_sweeper(sweeper);
    stele_conn_release(holder);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        SWEPT(the_first_sweep_comes_soon),
        SWEPT(it_goes_on_at_intervals),
        SWEPT(a_negative_interval_starts_no_thread),
        SWEPT(run_now_takes_over),
        SWEPT(a_deadline_ends_a_run),
        SWEPT(eight_share_the_work),
        SWEPT(tables_are_left_to_whoever_is_at_them),
    };
    return RUN_SWEPT(tests);
}
