/*
 * Closing at any time: nothing half done, nobody left behind.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sweep_util.h"

static void add_visits(void)
{
    peer("INSERT INTO visits (room, guest, ends_at) SELECT 'north', i, now() - i * interval '1 ms'"
         " FROM generate_series(1, 2000) AS i;"
         "INSERT INTO notes (room, guest) SELECT room, guest FROM visits, generate_series(1, 3)");
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
    add_visits();
    for (int i = 0; i < 40; i++) {
        stele_sweeper_options options = by_hand();
        options.interval_ms = 1;
        options.start_jitter_ms = 1;
        options.batch_keys = 20;
        stele_sweeper *sweeper = open_sweeper(db, &options);
        for (int j = 0; j < i % 8; j++)
            wait_a_little();
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
    options.lock_timeout_ms = 30000;
    options.statement_timeout_ms = 30000;
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
    assert_true(now_ms() - began < 5000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
        assert_int_equal(callers[i].st, STELE_E_CLOSED);
    }
    assert_int_equal(number("SELECT count(*) FROM visits WHERE deleted_at IS NOT NULL"), 0);
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    peer("DROP FUNCTION linger CASCADE");
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
    const stele_module *modules[] = {&chores_module};
    stele_sweeper_options options = by_hand();
    stele_sweep_report report = {0};
    stele_db_options db_options = options_for("brief", 2);
    db_options.modules = modules;
    db_options.module_count = 1;
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
        SWEPT(a_child_has_no_sweeper),
        SWEPT(it_has_a_handle_of_its_own),
    };
    return RUN_SWEPT(tests);
}
