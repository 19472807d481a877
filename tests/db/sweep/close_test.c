/*
 * Closing at any time: nothing half done, nobody left behind.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "listen/relay.h"
#include "sweep_util.h"

#define MOMENTS 100

static void add_visits_from(int first, int count)
{
    char sql[400];
    (void)snprintf(sql, sizeof sql,
                   "WITH v AS (INSERT INTO visits (room, guest, ends_at)"
                   " SELECT 'north', i, now() - i * interval '1 ms'"
                   " FROM generate_series(%d, %d) AS i RETURNING room, guest)"
                   " INSERT INTO notes (room, guest) SELECT room, guest FROM v,"
                   " generate_series(1, 3)",
                   first, first + count - 1);
    peer(sql);
}

static void add_visits(void)
{
    add_visits_from(1, 2000);
}

/* Visits that are deleted and have notes, or the other way round. */
static int64_t halves(void)
{
    return number("SELECT count(*) FROM visits AS v JOIN notes AS n USING (room, guest)"
                  " WHERE (v.deleted_at IS NULL) <> (n.deleted_at IS NULL)");
}

static void a_close_at_any_time_leaves_nothing_half_done(void **state)
{
    (void)state;
    for (int i = 0; i < MOMENTS; i++) {
        stele_sweeper_options options = by_hand();
        uint64_t moment = (uint64_t)(i * 37 % MOMENTS) / 8; /* in transactions */
        options.interval_ms = 1;
        options.start_jitter_ms = 1;
        options.batch_keys = 20;
        add_visits_from(1 + i * 200, 200);
        stele_sweeper *sweeper = open_sweeper(db, &options);
        wait_until(numbers_of(sweeper).batches >= moment || numbers_of(sweeper).runs > 0);
        (void)stele_sweeper_close(sweeper, i % 2 == 0 ? 0 : 5000, &err);
        assert_int_equal(halves(), 0);
    }
    assert_int_equal(stats_of(db).in_use, 0);
    assert_true(number("SELECT count(*) FROM visits WHERE deleted_at IS NOT NULL") > 0);
}

typedef struct caller {
    pthread_t thread;
    stele_sweeper *sweeper;
    stele_status st;
} caller;

static void *run(void *user)
{
    caller *c = user;
    stele_error why;
    c->st = stele_sweeper_run(c->sweeper, 0, NULL, &why);
    return NULL;
}

static void hold_up_deletes(stele_conn *holder)
{
    peer("CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
         " PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$;"
         "CREATE TRIGGER linger AFTER UPDATE ON visits FOR EACH STATEMENT EXECUTE FUNCTION"
         " linger()");
    run_sql(holder, "SELECT pg_advisory_lock(7)");
}

/* A transaction that does not end is canceled; callers wait for nothing more. */
static void what_hangs_is_canceled(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    options.lock_timeout_ms = 60000;
    options.statement_timeout_ms = 60000;
    stele_conn *holder = acquire(db);
    caller callers[3] = {0};
    add_visits();
    hold_up_deletes(holder);
    stele_sweeper *sweeper = open_sweeper(db, &options);
    for (int i = 0; i < 3; i++) {
        callers[i].sweeper = sweeper;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, run, &callers[i]), 0);
    }
    assert_true(dbtest_wait_until(dsn,
                                  "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event ="
                                  " 'advisory' AND datname = current_database()"));
    uint64_t began = now_ms();
    assert_int_equal(stele_sweeper_close(sweeper, 50, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - began < SOON_MS);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
        assert_int_equal(callers[i].st, STELE_E_CLOSED);
    }
    assert_int_equal(number("SELECT count(*) FROM visits WHERE deleted_at IS NOT NULL"), 0);
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    peer("DROP FUNCTION linger CASCADE");
}

/* A network that swallows everything takes the request to cancel, too. */
static void a_silent_network_does_not_hold_up_closing(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    options.lock_timeout_ms = 60000;
    options.statement_timeout_ms = 60000;
    relay_start(dsn);
    stele_db_options db_options = options_of("silent", 2, &chores_module);
    db_options.dsn = relay_dsn();
    db_options.call_timeout_ms = 120000;
    stele_db *silent = open_with(&db_options);
    stele_conn *holder = acquire(db);
    add_visits();
    hold_up_deletes(holder);
    caller c = {.sweeper = open_sweeper(silent, &options)};
    assert_int_equal(pthread_create(&c.thread, NULL, run, &c), 0);
    assert_true(dbtest_wait_until(dsn,
                                  "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event ="
                                  " 'advisory' AND datname = current_database()"));
    relay_set(RELAY_SWALLOW);
    uint64_t began = now_ms();
    assert_int_equal(stele_sweeper_close(c.sweeper, 200, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - began < SOON_MS);
    assert_int_equal(pthread_join(c.thread, NULL), 0);
    assert_int_equal(c.st, STELE_E_CLOSED);
    relay_set(RELAY_PASS);
    relay_cut();
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    peer("DROP FUNCTION linger CASCADE");
    stele_db_close(silent);
    wait_until(relay_open() == 0);
    relay_stop();
}

static void a_child_has_no_sweeper(void **state)
{
    (void)state;
    stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;
    int status = -1;
    stele_sweeper *sweeper = open_sweeper(db, &options);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool right = stele_sweeper_run(sweeper, 0, NULL, &err) == STELE_E_FORKED &&
                     stele_sweeper_add(sweeper, db, &err) == STELE_E_FORKED &&
                     stele_sweeper_close(sweeper, 0, &err) == STELE_E_FORKED;
        _exit(right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close_sweeper(sweeper);
}

/* The handle it was opened with may go first. */
static void it_has_a_handle_of_its_own(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_sweep_report report = {0};
    stele_db_options db_options = options_of("brief", 2, &chores_module);
    stele_db *brief = open_with(&db_options);
    stele_sweeper *sweeper = open_sweeper(brief, &options);
    stele_db_close(brief);
    add_visits();
    assert_ok(stele_sweeper_run(sweeper, 60000, &report, &err), &err);
    assert_int_equal(report.expired, 2000);
    assert_int_equal(report.followed, 6000);
    close_sweeper(sweeper);
    wait_for_backends("brief", 0);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        SWEPT(a_close_at_any_time_leaves_nothing_half_done),
        SWEPT(what_hangs_is_canceled),
        SWEPT(a_silent_network_does_not_hold_up_closing),
        SWEPT(a_child_has_no_sweeper),
        SWEPT(it_has_a_handle_of_its_own),
    };
    return RUN_SWEPT(tests);
}
