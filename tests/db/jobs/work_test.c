/*
 * Workers on a durable queue: what becomes of jobs when all goes well, and when handlers fail.
 */
#include "jobs_util.h"
#include "latency.h"

static int ran; /* atomic */

static stele_status count_runs(stele_job *job, void *user, stele_error *error)
{
    (void)job;
    (void)user;
    (void)error;
    __atomic_fetch_add(&ran, 1, __ATOMIC_SEQ_CST);
    return STELE_OK;
}

static void jobs_are_done(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, count_runs, NULL);
    ran = 0;
    peer("INSERT INTO errands (kind) SELECT 'plain' FROM generate_series(1, 500)");
    options.batch = 50;
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 500 FROM errands WHERE state = 'done'"
                             " AND done_gen = 1 AND attempt = 1 AND finished_at IS NOT NULL"));
    stele_job_stats stats = numbers_of(jobs);
    assert_int_equal(stats.wait.count, 500);
    assert_int_equal(stats.run.count, 500);
    close_jobs(jobs);
    assert_int_equal(ran, 500);
    assert_int_equal(stats_of(db).in_use, 0);
}

static void effects_are_kept_with_the_end(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, leave_effect, NULL);
    peer("INSERT INTO errands (kind) SELECT 'plain' FROM generate_series(1, 100)");
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 100 FROM errands WHERE state = 'done'"));
    close_jobs(jobs);
    assert_int_equal(number("SELECT count(DISTINCT job) FROM effects WHERE gen = 1"), 100);
    assert_int_equal(number("SELECT count(*) FROM effects"), 100);
    assert_int_equal(stats_of(db).in_use, 0);
}

static stele_status fail_after_effect(stele_job *job, void *user, stele_error *error)
{
    stele_status st = leave_effect(job, user, error);
    if (st == STELE_OK && stele_job_get(job)->attempt < 3) {
        (void)snprintf(error->message, sizeof error->message, "no luck");
        return STELE_E_SERVER;
    }
    return st;
}

static void failures_are_tried_again_without_their_effects(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, fail_after_effect, NULL);
    (void)enqueue("plain", NULL);
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'done'"
                             " AND attempt = 3 AND last_error IS NULL"));
    close_jobs(jobs);
    assert_int_equal(number("SELECT count(*) FROM effects"), 1);
}

static stele_status always_fail(stele_job *job, void *user, stele_error *error)
{
    (void)job;
    (void)snprintf(error->message, sizeof error->message, "no luck");
    return user != NULL ? *(stele_status *)user : STELE_E_SERVER;
}

static void dead_jobs_are_kept(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, always_fail, NULL);
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s("k"), .max_attempts = 4};
    (void)enqueue_as(&job);
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'dead'"
                             " AND attempt = 4 AND last_error = 'no luck'"));
    stele_job_stats stats = numbers_of(jobs);
    assert_int_equal(stats.retried, 3);
    assert_int_equal(stats.dead, 1);
    stele_jobs_depth depth;
    assert_ok(stele_jobs_count(jobs, &depth, &err), &err);
    assert_int_equal(depth.dead, 1);
    assert_int_equal(depth.due + depth.later + depth.running, 0);
    close_jobs(jobs);
}

static void giving_up_is_dead_at_once(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_status answer = STELE_ROLLBACK;
    stele_jobs_options options = quick(&kind, always_fail, &answer);
    (void)enqueue("plain", NULL);
    stele_jobs *jobs = open_jobs(&options);
    assert_true(
        becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'dead' AND attempt = 1"));
    close_jobs(jobs);
}

static stele_status not_yet(stele_job *job, void *user, stele_error *error)
{
    (void)user;
    (void)error;
    if (__atomic_fetch_add(&ran, 1, __ATOMIC_SEQ_CST) >= 5)
        return STELE_OK;
    stele_job_delay(job, 1);
    return STELE_AGAIN;
}

static void not_yet_costs_no_attempt(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, not_yet, NULL);
    stele_job_input job = {.kind = stele_s("plain"), .max_attempts = 2};
    ran = 0;
    (void)enqueue_as(&job);
    stele_jobs *jobs = open_jobs(&options);
    assert_true(
        becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'done' AND attempt = 1"));
    close_jobs(jobs);
    assert_int_equal(ran, 6);
}

/* The trap: a unique key that covers what runs would lose the second request. */
static void what_is_asked_for_while_it_runs_runs_again(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    int64_t id = enqueue("plain", "k");
    stele_jobs *jobs = open_jobs(&options);
    wait_for(&g.arrived, 1);
    assert_int_equal(enqueue("plain", "k"), id);
    assert_int_equal(enqueue("plain", "k"), id);
    assert_string_equal(states(), "running 1");
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    assert_true(becomes_true("SELECT count(*) = 1 FROM errands WHERE state = 'done'"
                             " AND gen = 3 AND done_gen = 3"));
    assert_int_equal(g.arrived, 2);
    close_jobs(jobs);
}

typedef struct order {
    char line[64]; /* atomic by having one worker */
    size_t len;
} order;

static stele_status note_order(stele_job *job, void *user, stele_error *error)
{
    order *o = user;
    (void)error;
    stele_str key = stele_job_get(job)->key;
    o->line[o->len++] = key.data[0];
    return STELE_OK;
}

static void greater_priority_goes_first_and_time_is_kept(void **state)
{
    (void)state;
    order o = {{0}, 0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, note_order, &o);
    options.workers = 1;
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s("c")};
    (void)enqueue_as(&job);
    job.key = stele_s("a");
    job.priority = 5;
    (void)enqueue_as(&job);
    job.key = stele_s("d");
    job.priority = -1;
    (void)enqueue_as(&job);
    job.key = stele_s("b");
    job.priority = 2;
    (void)enqueue_as(&job);
    job.key = stele_s("e");
    job.priority = 9;
    job.delay_ms = 6000;
    (void)enqueue_as(&job);
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 5 FROM errands WHERE state = 'done'"));
    close_jobs(jobs);
    assert_string_equal(o.line, "abcde");
    assert_int_equal(number("SELECT count(*) FROM errands WHERE finished_at < run_at"), 0);
}

static int most_at_once; /* atomic */
static int at_once;

static stele_status be_counted(stele_job *job, void *user, stele_error *error)
{
    (void)user;
    (void)error;
    (void)job;
    int now = __atomic_add_fetch(&at_once, 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(&most_at_once, __ATOMIC_SEQ_CST);
    while (now > most && !__atomic_compare_exchange_n(&most_at_once, &most, now, false,
                                                      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        continue;
    wait_a_little();
    __atomic_sub_fetch(&at_once, 1, __ATOMIC_SEQ_CST);
    return STELE_OK;
}

static void a_kind_keeps_to_its_number(void **state)
{
    (void)state;
    stele_job_kind kinds[2];
    stele_jobs_options options = quick(&kinds[0], be_counted, NULL);
    kinds[0].concurrency = 2;
    kinds[1] = (stele_job_kind){.name = "other", .run = count_runs};
    options.kinds = kinds;
    options.kind_count = 2;
    options.workers = 8;
    options.batch = 20;
    ran = 0;
    most_at_once = 0;
    peer("INSERT INTO errands (kind) SELECT 'plain' FROM generate_series(1, 60);"
         "INSERT INTO errands (kind) SELECT 'other' FROM generate_series(1, 60);"
         "INSERT INTO errands (kind) SELECT 'foreign' FROM generate_series(1, 3)");
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 120 FROM errands WHERE state = 'done'"));
    close_jobs(jobs);
    assert_int_equal(most_at_once, 2);
    assert_int_equal(ran, 60);
    assert_string_equal(states(), "available 3, done 120");
}

static stele_status come_late(stele_job *job, void *user, stele_error *error)
{
    (void)user;
    (void)error;
    (void)job;
    if (__atomic_add_fetch(&ran, 1, __ATOMIC_SEQ_CST) == 60)
        peer("INSERT INTO errands (kind, dedupe_key, run_at) VALUES ('plain', 'late', 'epoch')");
    return STELE_OK;
}

/* Claims begin where the last one was: what is due since earlier is found within a second all the same. */
static void what_comes_back_from_the_past_is_found(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, come_late, NULL);
    options.workers = 1;
    options.batch = 10;
    options.poll_ms = 600000;
    ran = 0;
    peer("INSERT INTO errands (kind, run_at) SELECT 'plain', now() - i * interval '1 ms'"
         " FROM generate_series(1, 2000) AS i");
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT state = 'done' FROM errands WHERE dedupe_key = 'late'"));
    assert_true(becomes_true("SELECT count(*) = 2001 FROM errands WHERE state = 'done'"));
    close_jobs(jobs);
}

static void put_wakes_without_waiting_for_a_poll(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, count_runs, NULL);
    options.poll_ms = 600000;
    ran = 0;
    stele_jobs *jobs = open_jobs(&options);
    stele_job_input job = {.kind = stele_s("plain")};
    assert_ok(stele_jobs_put(jobs, NULL, &job, NULL, &err), &err);
    wait_for(&ran, 1);
    {
        STELE_AUTO(stele_conn) conn = acquire(db);
        assert_ok(stele_jobs_put(jobs, conn, &job, NULL, &err), &err);
        wait_for(&ran, 2);
        assert_ok(stele_tx_begin(conn, NULL, &err), &err);
        assert_ok(stele_jobs_put(jobs, conn, &job, NULL, &err), &err);
        assert_ok(stele_tx_commit(conn, &err), &err);
    }
    stele_jobs_wake(jobs);
    wait_for(&ran, 3);
    assert_true(stele_jobs_is_durable(jobs));
    assert_int_equal(numbers_of(jobs).put, 3);
    close_jobs(jobs);
}

static void a_doorbell_wakes_other_processes(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_listener *listener = NULL;
    stele_doorbell *bell = NULL;
    stele_jobs_options options = quick(&kind, count_runs, NULL);
    stele_jobs_options callers = STELE_JOBS_OPTIONS_INIT;
    assert_ok(stele_listener_open(db, NULL, &listener, &err), &err);
    assert_ok(stele_doorbell_open(db, "errands", 0, &bell, &err), &err);
    options.poll_ms = 600000;
    options.listener = listener;
    options.channel = "errands";
    callers.doorbell = bell;
    ran = 0;
    stele_jobs *jobs = open_jobs(&options);
    stele_jobs *caller = open_jobs(&callers);
    assert_ok(stele_listener_wait(listener, 60000, &err), &err);
    for (int i = 1; i <= 5; i++) {
        stele_job_input job = {.kind = stele_s("plain")};
        assert_ok(stele_jobs_put(caller, NULL, &job, NULL, &err), &err);
        wait_for(&ran, i);
    }
    close_jobs(caller);
    close_jobs(jobs);
    assert_ok(stele_doorbell_close(bell, 60000, &err), &err);
    assert_ok(stele_listener_close(listener, 60000, &err), &err);
}

static void schedules_tick_once_for_all(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs *jobs[4];
    stele_jobs_options options = quick(&kind, leave_effect, NULL);
    stele_job_schedule schedules[] = {
        {.name = "often", .kind = "plain", .every_ms = 1000, .args = stele_s("{\"n\": 1}")},
        {.name = "minutely", .kind = "foreign", .cron = "* * * * *"},
    };
    options.schedules = schedules;
    options.schedule_count = 2;
    options.workers = 1;
    for (size_t i = 0; i < 4; i++)
        jobs[i] = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) >= 4 FROM errands WHERE state = 'done'"));
    uint64_t put = 0;
    for (size_t i = 0; i < 4; i++) {
        put += numbers_of(jobs[i]).put;
        close_jobs(jobs[i]);
    }
    assert_int_equal(put, number("SELECT count(*) FROM errands"));
    assert_int_equal(number("SELECT count(*) FROM errands WHERE kind = 'plain'"),
                     number("SELECT count(DISTINCT run_at) FROM errands WHERE kind = 'plain'"));
    assert_int_equal(number("SELECT count(*) FROM errands WHERE kind = 'plain' AND (gen <> 1"
                            " OR run_at <> date_trunc('second', run_at) OR args <> '{\"n\": 1}')"),
                     0);
    assert_int_equal(number("SELECT count(*) FROM effects"),
                     number("SELECT count(*) FROM errands WHERE state = 'done'"));
}

static void old_jobs_are_purged(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, count_runs, NULL);
    options.keep_ms = 60000;
    peer("INSERT INTO errands (kind, state, finished_at) SELECT 'plain', s, now() - age FROM"
         " unnest(ARRAY['done', 'cancelled', 'dead']) AS s,"
         " unnest(ARRAY[interval '1 s', interval '1 h']) AS age;"
         "INSERT INTO errands (kind, dedupe_key, state, finished_at)"
         " VALUES ('plain', 'a', 'done', now() - interval '1 h'),"
         "        ('plain', 'b', 'done', now() - interval '3 h')");
    stele_jobs *jobs = open_jobs(&options);
    assert_true(becomes_true("SELECT count(*) = 5 FROM errands"));
    assert_string_equal(states(), "cancelled 1, dead 2, done 2");
    close_jobs(jobs);
}

/* By the server's clock until they are claimed, by ours until they begin. */
static void waiting_and_running_count_by_their_times(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.workers = 1;
    options.batch = 3;
    peer("INSERT INTO errands (kind, run_at) SELECT 'plain', now() - s * interval '1 second'"
         " FROM unnest(ARRAY[30, 3, 0]) AS s");
    stele_jobs *jobs = open_jobs(&options);
    wait_for(&g.arrived, 1);
    wait_until(numbers_of(jobs).waiting == 2); /* claimed, and behind the one at the gate */
    assert_int_equal(numbers_of(jobs).wait.count, 1);
    assert_int_equal(numbers_of(jobs).run.count, 0);
    uint64_t began = now_ms();
    wait_until(now_ms() - began > 200);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    assert_true(becomes_true("SELECT count(*) = 3 FROM errands WHERE state = 'done'"));
    stele_job_stats stats = numbers_of(jobs);
    assert_int_equal(stats.wait.count, 3);
    assert_in_range(slower_than(&stats.wait, 10000), 1, 2);
    assert_in_range(slower_than(&stats.wait, 2000), 2, 3);
    assert_int_equal(slower_than(&stats.wait, 200), 3);
    assert_in_range(stats.longest_wait_ms, 30000, 90000);
    assert_int_equal(stats.run.count, 3);
    assert_in_range(slower_than(&stats.run, 200), 1, 2);
    close_jobs(jobs);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        WORKED(jobs_are_done),
        WORKED(effects_are_kept_with_the_end),
        WORKED(failures_are_tried_again_without_their_effects),
        WORKED(dead_jobs_are_kept),
        WORKED(giving_up_is_dead_at_once),
        WORKED(not_yet_costs_no_attempt),
        WORKED(what_is_asked_for_while_it_runs_runs_again),
        WORKED(greater_priority_goes_first_and_time_is_kept),
        WORKED(a_kind_keeps_to_its_number),
        WORKED(what_comes_back_from_the_past_is_found),
        WORKED(put_wakes_without_waiting_for_a_poll),
        WORKED(a_doorbell_wakes_other_processes),
        WORKED(schedules_tick_once_for_all),
        WORKED(old_jobs_are_purged),
        WORKED(waiting_and_running_count_by_their_times),
    };
    return RUN_WORKED(tests);
}
