/*
 * Workers on a durable queue in trouble: leases that are lost, handlers that are slow, rows that are
 * locked, connections that break.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "jobs_util.h"

/* Waits at the gate whatever is said meanwhile, then leaves its effect. */
static stele_status slow_effect(stele_job *job, void *user, stele_error *error)
{
    gate *g = user;
    __atomic_fetch_add(&g->arrived, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&g->open, __ATOMIC_SEQ_CST))
        wait_a_little();
    return leave_effect(job, NULL, error);
}

static void who_lost_a_job_keeps_nothing(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, slow_effect, &g);
    (void)enqueue("plain", NULL);
    stele_jobs *jobs = open_jobs(&options);
    wait_for(&g.arrived, 1);
    peer("UPDATE errands SET token = token + 1, lease_until = now() + interval '1 h'");
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    while (numbers_of(jobs).lost == 0)
        wait_a_little();
    close_jobs(jobs);
    assert_int_equal(number("SELECT count(*) FROM effects"), 0);
    assert_string_equal(states(), "running 1");
}

/* Ends job 1 as its claim with `token` would, and leaves an effect if that did anything. */
static void end_as(int64_t token, bool with_token)
{
    stele_gen_job_failed what = {.id = 1, .token = token, .gen = 1};
    const void *args[] = {&what};
    void *row = NULL;
    STELE_AUTO(stele_conn) conn = acquire(db);
    if (with_token) {
        assert_ok(stele_gen_maybe(conn, errands_jobs.finish_one, args, 0, &row, &err), &err);
        if (row != NULL)
            peer("INSERT INTO effects (job, gen) VALUES (1, 1)");
        stele_gen_free(row);
        return;
    }
    peer("WITH ended AS (UPDATE errands SET state = 'done' WHERE id = 1 RETURNING id)"
         " INSERT INTO effects (job, gen) SELECT id, 1 FROM ended");
}

/* The trap, and what keeps us out of it: a worker is slow, another one takes over, both end the job. */
static void without_a_token_both_would_end_it(void **state)
{
    (void)state;
    for (int with_token = 0; with_token <= 1; with_token++) {
        (void)clean_work(NULL);
        (void)enqueue("plain", NULL);
        peer("UPDATE errands SET state = 'running', token = 2, attempt = 2"); /* the second claim */
        end_as(1, with_token);
        end_as(2, with_token);
        assert_int_equal(number("SELECT count(*) FROM effects"), with_token ? 1 : 2);
    }
}

static void a_worker_stops_before_its_lease_ends(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.lease_ms = 12000;
    options.fence_ms = 5900;
    (void)enqueue("plain", NULL);
    stele_jobs *jobs = open_jobs(&options);
    wait_for(&g.arrived, 1);
    STELE_AUTO(stele_conn) holder = acquire(db);
    assert_ok(stele_tx_begin(holder, NULL, &err), &err);
    run_sql(holder, "LOCK TABLE errands"); /* nothing is renewed now */
    wait_for(&g.stopped, 1);
    assert_string_equal(ask(holder, "SELECT clock_timestamp() < lease_until FROM errands"), "t");
    assert_ok(stele_tx_rollback(holder, &err), &err);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    assert_true(becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'done'"));
    assert_int_equal(numbers_of(jobs).fenced, 1);
    close_jobs(jobs);
}

static void a_lease_is_renewed_while_a_handler_runs(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.lease_ms = 12000;
    (void)enqueue("plain", NULL);
    stele_jobs *jobs = open_jobs(&options);
    stele_jobs *other = open_jobs(&options);
    wait_for(&g.arrived, 1);
    while (numbers_of(jobs).heartbeats + numbers_of(other).heartbeats < 3)
        wait_a_little(); /* each a third of a lease later: past the first one */
    assert_int_equal(number("SELECT attempt FROM errands WHERE state = 'running'"
                            " AND lease_until > now() AND run_at < now() - interval '12 s'"),
                     1);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    assert_true(becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'done'"));
    close_jobs(jobs);
    close_jobs(other);
    assert_int_equal(g.arrived, 1);
}

static void jobs_of_the_dead_are_taken_back(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, leave_effect, NULL);
    peer("INSERT INTO errands (kind, state, token, attempt, lease_until) VALUES"
         " ('plain', 'running', 1, 1, now() - interval '1 s'),"
         " ('plain', 'running', 9, 25, now() - interval '1 s'),"
         " ('plain', 'running', 1, 1, now() + interval '1 h')");
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'done'"));
    assert_string_equal(states(), "dead 1, done 1, running 1");
    assert_int_equal(number("SELECT count(*) FROM errands WHERE state = 'dead'"
                            " AND last_error = 'the lease ran out'"),
                     1);
    assert_int_equal(numbers_of(jobs).rescued, 2);
    close_jobs(jobs);
    assert_int_equal(number("SELECT count(*) FROM effects"), 1);
}

static void handlers_are_told_of_a_cancellation(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.lease_ms = 12000;
    stele_jobs *jobs = open_jobs(&options);
    int64_t id = enqueue("plain", NULL);
    wait_for(&g.arrived, 1);
    assert_ok(stele_jobs_cancel(jobs, id, &err), &err); /* here: at once */
    wait_for(&g.stopped, 1);
    assert_int_equal(stele_jobs_cancel(jobs, id, &err), STELE_E_NOT_FOUND);
    (void)enqueue("plain", NULL);
    wait_for(&g.arrived, 2);
    peer("UPDATE errands SET state = 'cancelled', token = token + 1 WHERE state = 'running'");
    wait_for(&g.stopped, 2); /* elsewhere: when the lease is renewed */
    while (numbers_of(jobs).lost < 2)
        wait_a_little();
    assert_string_equal(states(), "cancelled 2");
    close_jobs(jobs);
}

static void a_handler_that_takes_too_long_is_told(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    kind.timeout_ms = 30;
    stele_job_input job = {.kind = stele_s("plain"), .max_attempts = 2};
    (void)enqueue_as(&job);
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'dead'"
                             " AND last_error = 'told to stop'"));
    assert_int_equal(g.stopped, 2);
    assert_int_equal(numbers_of(jobs).timed_out, 2);
    close_jobs(jobs);
}

/* A writer that enqueues the key of a job that ends holds up that one only. */
static void a_locked_row_holds_nobody_else_up(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    (void)enqueue("plain", "a");
    (void)enqueue("plain", "b");
    stele_jobs *jobs = open_jobs(&options);
    wait_for(&g.arrived, 2);
    STELE_AUTO(stele_conn) writer = acquire(db);
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s("a")};
    assert_ok(stele_tx_begin(writer, NULL, &err), &err);
    assert_ok(errands_enqueue(writer, &job, NULL, &err), &err);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    assert_true(becomes_true("SELECT state = 'done' FROM errands WHERE dedupe_key = 'b'"));
    assert_string_equal(states(), "done 1, running 1");
    assert_ok(stele_tx_commit(writer, &err), &err);
    assert_true(becomes_true("SELECT state = 'done' AND done_gen = 2 FROM errands"
                             " WHERE dedupe_key = 'a'"));
    assert_int_equal(g.arrived, 3);
    close_jobs(jobs);
}

static stele_status fail_the_first_at_gate(stele_job *job, void *user, stele_error *error)
{
    stele_status st = wait_at_gate(job, user, error);
    return stele_job_get(job)->gen == 1 ? STELE_E_SERVER : st;
}

/* The last attempt fails, and meanwhile there is something new: that has not had its attempts. */
static void a_newer_generation_outlives_the_last_failure(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, fail_the_first_at_gate, &g);
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s("k"), .max_attempts = 1};
    (void)enqueue_as(&job);
    stele_jobs *jobs = open_jobs(&options);
    wait_for(&g.arrived, 1);
    (void)enqueue_as(&job);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    wait_for(&g.arrived, 2);
    assert_true(
        becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'done' AND done_gen = 2"));
    close_jobs(jobs);
}

static void broken_connections_lose_nothing(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, leave_effect, NULL);
    options.lease_ms = 1000;
    options.workers = 8;
    peer("INSERT INTO errands (kind, max_attempts) SELECT 'plain', 1000"
         " FROM generate_series(1, 1500)");
    stele_jobs *jobs = open_jobs(&options);
    int64_t killed = 0;
    while (number("SELECT count(*) FROM errands WHERE state = 'done'") < 1200) {
        killed += number("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                         " WHERE application_name = 'working' AND datname = current_database()"
                         " AND random() < 0.4");
        wait_a_little();
    }
    assert_true(becomes_true("SELECT count(*) = 1500 FROM errands WHERE state = 'done'"));
    print_message("# %d connections were broken\n", (int)killed);
    assert_true(killed > 0);
    close_jobs(jobs);
    assert_int_equal(number("SELECT count(DISTINCT job) FROM effects"), 1500);
    assert_int_equal(number("SELECT count(*) FROM effects"), 1500);
}

static void a_child_process_is_refused(void **state)
{
    (void)state;
    stele_jobs_options options = STELE_JOBS_OPTIONS_INIT;
    stele_jobs *jobs = open_jobs(&options);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        stele_job_input job = {.kind = stele_s("plain")};
        stele_jobs_wake(jobs);
        bool refused = stele_jobs_put(jobs, NULL, &job, NULL, NULL) == STELE_E_FORKED &&
                       stele_jobs_close(jobs, 0, NULL) == STELE_E_FORKED;
        _exit(refused ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close_jobs(jobs);
}

static stele_status never_called(stele_job *job, void *user, stele_error *error)
{
    (void)job;
    (void)user;
    (void)error;
    return STELE_OK;
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs *jobs = NULL;
    stele_job_schedule schedule = {.name = "s", .kind = "plain", .cron = "61 * * * *"};
    for (int i = 0; i < 9; i++) {
        stele_job_kind twice[2];
        stele_jobs_options options = quick(&kind, never_called, NULL);
        twice[0] = twice[1] = kind;
        if (i == 0)
            options.size = 0;
        if (i == 1)
            options.lease_ms = 999;
        if (i == 2)
            options.fence_ms = options.lease_ms / 2;
        if (i == 3)
            kind.run = NULL;
        if (i == 4)
            kind.name = NULL;
        if (i == 5) {
            options.kinds = twice;
            options.kind_count = 2;
        }
        if (i >= 6) {
            options.schedules = &schedule;
            options.schedule_count = 1;
        }
        if (i == 7)
            schedule.cron = NULL;
        if (i == 8)
            schedule.every_ms = 10;
        stele_error_clear(&err);
        assert_int_equal(stele_jobs_open(db, &errands_jobs, &options, &jobs, &err), STELE_E_INPUT);
        assert_true(err.message[0] != '\0');
    }
    assert_null(jobs);
    assert_int_equal(stats_of(db).in_use, 0);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        WORKED(who_lost_a_job_keeps_nothing),
        WORKED(without_a_token_both_would_end_it),
        WORKED(a_worker_stops_before_its_lease_ends),
        WORKED(a_lease_is_renewed_while_a_handler_runs),
        WORKED(jobs_of_the_dead_are_taken_back),
        WORKED(handlers_are_told_of_a_cancellation),
        WORKED(a_handler_that_takes_too_long_is_told),
        WORKED(a_locked_row_holds_nobody_else_up),
        WORKED(a_newer_generation_outlives_the_last_failure),
        WORKED(broken_connections_lose_nothing),
        WORKED(a_child_process_is_refused),
        WORKED(bad_options_are_refused),
    };
    return RUN_WORKED(tests);
}
