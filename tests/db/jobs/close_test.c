/*
 * Closing at any time: nobody hangs, nothing leaks, no job is lost or kept twice.
 */
#include "listen/relay.h"

#include "jobs_util.h"

#define MOMENTS 100

/* Pauses that differ from one to the next, without a clock: the same in every run. */
static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

static stele_status slow_or_quick(stele_job *job, void *user, stele_error *error)
{
    int64_t id = stele_job_get(job)->id;
    (void)user;
    for (int64_t i = 0; i < id % 5 && stele_job_alive(job); i++)
        wait_a_little();
    if (id % 7 == 0 && stele_job_get(job)->attempt == 1)
        return STELE_E_SERVER;
    return id % 3 == 0 ? leave_effect(job, user, error) : STELE_OK;
}

static void durable_workers_can_be_closed_at_any_time(void **state)
{
    (void)state;
    stele_job_kind kind;
    uint32_t seed = 7;
    peer("INSERT INTO errands (kind, max_attempts) SELECT 'plain', 1000"
         " FROM generate_series(1, 3000)");
    for (int i = 0; i < MOMENTS; i++) {
        stele_jobs_options options = quick(&kind, slow_or_quick, NULL);
        options.batch = 1 + next_random(&seed) % 20;
        options.workers = 1 + next_random(&seed) % 6;
        options.lease_ms = 1000;
        stele_jobs *jobs = open_jobs(&options);
        for (uint32_t j = next_random(&seed) % 12; j > 0; j--)
            wait_a_little();
        uint64_t began = now_ms();
        stele_status st = stele_jobs_close(jobs, i % 2 == 0 ? 0 : 1000, &err);
        assert_true(st == STELE_OK || st == STELE_E_TIMEOUT || st == STELE_E_LOST);
        assert_true(now_ms() - began < SOON_MS);
        assert_int_equal(stats_of(db).in_use, 0);
    }
    stele_jobs_options options = quick(&kind, slow_or_quick, NULL);
    options.workers = 8;
    options.batch = 50;
    stele_jobs *jobs = open_jobs(&options);
    for (int i = 0; i < 6; i++)
        if (becomes_true("SELECT count(*) = 3000 FROM errands WHERE state = 'done'"))
            break;
    assert_string_equal(states(), "done 3000");
    close_jobs(jobs);
    assert_int_equal(number("SELECT count(DISTINCT job) FROM effects"), 1000);
    assert_int_equal(number("SELECT count(*) FROM effects"), 1000);
}

static int ended; /* atomic */

static void count_end(const stele_job_info *job, stele_job_outcome outcome,
                      const stele_error *error, void *user)
{
    (void)job;
    (void)error;
    (void)user;
    if (outcome != STELE_JOB_RETRY)
        __atomic_fetch_add(&ended, 1, __ATOMIC_SEQ_CST);
}

static void volatile_workers_can_be_closed_at_any_time(void **state)
{
    (void)state;
    stele_job_kind kind;
    uint32_t seed = 11;
    for (int i = 0; i < MOMENTS; i++) {
        stele_jobs_options options = quick(&kind, slow_or_quick, NULL);
        options.workers = 1 + next_random(&seed) % 4;
        options.on_end = count_end;
        options.db = db;
        stele_jobs *jobs = NULL;
        int given = (int)(next_random(&seed) % 40);
        ended = 0;
        assert_ok(stele_jobs_open_volatile(&options, &jobs, &err), &err);
        for (int j = 0; j < given; j++) {
            stele_job_input job = {.kind = stele_s("plain"), .max_attempts = 2};
            assert_ok(stele_jobs_put(jobs, NULL, &job, NULL, &err), &err);
        }
        for (uint32_t j = next_random(&seed) % 6; j > 0; j--)
            wait_a_little();
        stele_status st = stele_jobs_close(jobs, i % 2 == 0 ? 0 : 1000, &err);
        assert_true(st == STELE_OK || st == STELE_E_TIMEOUT);
        assert_int_equal(ended, given); /* each is told of, once */
        assert_int_equal(stats_of(db).in_use, 0);
    }
}

static void what_was_not_begun_goes_back(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.workers = 2;
    options.batch = 10;
    peer("INSERT INTO errands (kind) SELECT 'plain' FROM generate_series(1, 30)");
    stele_jobs *jobs = open_jobs(&options);
    wait_for(&g.arrived, 2);
    assert_true(becomes_true("SELECT count(*) = 20 FROM errands WHERE state = 'running'"));
    assert_int_equal(stele_jobs_close(jobs, 50, &err), STELE_E_TIMEOUT);
    assert_int_equal(g.stopped, 2);
    assert_string_equal(states(), "available 30");
    assert_int_equal(number("SELECT max(attempt) FROM errands"), 0);
}

static void a_statement_that_hangs_is_canceled(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, leave_effect, NULL);
    (void)enqueue("plain", NULL);
    STELE_AUTO(stele_conn) holder = acquire(db);
    assert_ok(stele_tx_begin(holder, NULL, &err), &err);
    run_sql(holder, "LOCK TABLE effects");
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 1 FROM pg_stat_activity"
                             " WHERE datname = current_database()"
                             " AND wait_event_type = 'Lock' AND query LIKE '%effects%'"));
    assert_int_equal(stele_jobs_close(jobs, 50, &err), STELE_E_TIMEOUT);
    assert_string_equal(states(), "available 1");
    run_sql(holder, "LOCK TABLE errands"); /* now the table cannot even be told */
    uint64_t began = now_ms();
    jobs = open_jobs(&options);
    (void)stele_jobs_close(jobs, 0, &err);
    assert_true(now_ms() - began < SOON_MS);
    assert_ok(stele_tx_rollback(holder, &err), &err);
}

/* A network that swallows everything takes the request to cancel, too. */
static void a_silent_network_does_not_hold_up_closing(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, leave_effect, NULL);
    stele_jobs *jobs = NULL;
    options.lease_ms = 3600000; /* its renewal may take ten minutes */
    relay_start(dsn);
    stele_db_options db_options = options_of("silent", 4, &work_module);
    db_options.dsn = relay_dsn();
    db_options.call_timeout_ms = 600000;
    stele_db *silent = open_with(&db_options);
    STELE_AUTO(stele_conn) holder = acquire(db);
    assert_ok(stele_tx_begin(holder, NULL, &err), &err);
    run_sql(holder, "LOCK TABLE errands");
    assert_ok(stele_jobs_open(silent, &errands_jobs, &options, &jobs, &err), &err);
    assert_true(becomes_true("SELECT count(*) = 2 FROM pg_stat_activity"
                             " WHERE datname = current_database() AND wait_event_type = 'Lock'"));
    relay_set(RELAY_SWALLOW);
    uint64_t began = now_ms();
    (void)stele_jobs_close(jobs, 0, &err);
    assert_true(now_ms() - began < 60000);
    relay_set(RELAY_PASS);
    relay_cut();
    assert_ok(stele_tx_rollback(holder, &err), &err);
    stele_db_close(silent);
    wait_until(relay_open() == 0);
    relay_stop();
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        WORKED(durable_workers_can_be_closed_at_any_time),
        WORKED(volatile_workers_can_be_closed_at_any_time),
        WORKED(what_was_not_begun_goes_back),
        WORKED(a_statement_that_hangs_is_canceled),
        WORKED(a_silent_network_does_not_hold_up_closing),
    };
    return RUN_WORKED(tests);
}
