/*
 * Volatile jobs: order, merging, full queues, failures.
 */
#include <pthread.h>

#include "jobs_internal.h"
#include "jobs_util.h"
#include "latency.h"

static stele_jobs *open_memory(const stele_jobs_options *options)
{
    stele_jobs *jobs = NULL;
    assert_ok(stele_jobs_open_volatile(options, &jobs, &err), &err);
    return jobs;
}

static int64_t put(stele_jobs *jobs, const char *key)
{
    int64_t id = 0;
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s(key)};
    assert_ok(stele_jobs_put(jobs, NULL, &job, &id, &err), &err);
    return id;
}

typedef struct log {
    pthread_mutex_t lock;
    char line[4000];
    size_t len;
    int count; /* atomic */
    gate *gate;
} log_of;

#define LOG(g)                                                                                     \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, {0}, 0, 0, (g)                                                  \
    }

/* Notes the first letter of the arguments, or of the key. */
static stele_status note(stele_job *job, void *user, stele_error *error)
{
    log_of *l = user;
    const stele_job_info *info = stele_job_get(job);
    (void)error;
    if (l->gate != NULL && !__atomic_load_n(&l->gate->open, __ATOMIC_SEQ_CST))
        return wait_at_gate(job, l->gate, error);
    (void)pthread_mutex_lock(&l->lock);
    l->line[l->len++] = info->args.data != NULL ? info->args.data[1] : info->key.data[0];
    (void)pthread_mutex_unlock(&l->lock);
    __atomic_fetch_add(&l->count, 1, __ATOMIC_SEQ_CST);
    return STELE_OK;
}

static void jobs_of_a_key_run_in_order(void **state)
{
    (void)state;
    log_of l = LOG(NULL);
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, note, &l);
    stele_jobs *jobs = open_memory(&options);
    assert_false(stele_jobs_is_durable(jobs));
    for (int i = 0; i < 26; i++) {
        char args[] = {'"', (char)('a' + i), '"', '\0'};
        stele_job_input job = {
            .kind = stele_s("plain"), .key = stele_s("k"), .args = stele_s(args)};
        assert_ok(stele_jobs_put(jobs, NULL, &job, NULL, &err), &err);
        wait_for(&l.count, i + 1); /* else they would be one */
    }
    close_jobs(jobs);
    assert_string_equal(l.line, "abcdefghijklmnopqrstuvwxyz");
}

static void what_waits_is_merged_and_what_runs_runs_again(void **state)
{
    (void)state;
    gate g = {0};
    log_of l = LOG(&g);
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, note, &l);
    options.workers = 1;
    stele_jobs *jobs = open_memory(&options);
    int64_t first = put(jobs, "k");
    wait_for(&g.arrived, 1);
    int64_t second = put(jobs, "k");
    assert_true(second != first);
    assert_int_equal(put(jobs, "k"), second);
    assert_int_equal(put(jobs, "k"), second);
    stele_jobs_depth depth;
    assert_ok(stele_jobs_count(jobs, &depth, &err), &err);
    assert_int_equal(depth.due, 1);
    assert_int_equal(depth.running, 1);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    wait_for(&l.count, 1);
    stele_job_stats stats = numbers_of(jobs);
    assert_int_equal(stats.put, 4);
    assert_int_equal(stats.merged, 2);
    close_jobs(jobs);
    assert_int_equal(l.count, 1);
}

static void a_full_queue_does_as_it_was_told(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.workers = 1;
    options.queue = 2;
    options.put_timeout_ms = 30;
    stele_job_input job = {.kind = stele_s("plain")};
    for (int i = 0; i < 3; i++) {
        g = (gate){0};
        options.if_full = (stele_jobs_full)i;
        stele_jobs *jobs = open_memory(&options);
        (void)put(jobs, NULL);
        wait_for(&g.arrived, 1);
        (void)put(jobs, "a");
        (void)put(jobs, "b");
        assert_int_equal(put(jobs, "a"), 2); /* joins, and needs no room */
        if (i == STELE_JOBS_RUN_HERE)
            __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
        stele_status st = stele_jobs_put(jobs, NULL, &job, NULL, &err);
        static const stele_status wanted[] = {STELE_E_TIMEOUT, STELE_E_BUSY, STELE_OK};
        assert_int_equal(st, wanted[i]);
        __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
        assert_int_equal(numbers_of(jobs).rejected, i < 2);
        close_jobs(jobs);
        assert_int_equal(g.arrived, i < 2 ? 3 : 4);
    }
}

typedef struct turns {
    int arrived; /* atomic, as all */
    int open[2]; /* what the first and the second to arrive wait for */
} turns;

static stele_status wait_in_turn(stele_job *job, void *user, stele_error *error)
{
    turns *t = user;
    int place = __atomic_fetch_add(&t->arrived, 1, __ATOMIC_SEQ_CST);
    (void)job;
    (void)error;
    while (place < 2 && !__atomic_load_n(&t->open[place], __ATOMIC_SEQ_CST))
        wait_a_little();
    return STELE_OK;
}

typedef struct blocked {
    stele_jobs *jobs;
    stele_status st;
    const char *key; /* NULL: none */
} blocked;

static void *put_blocked(void *arg)
{
    blocked *b = arg;
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s(b->key)};
    stele_error why;
    b->st = stele_jobs_put(b->jobs, NULL, &job, NULL, &why);
    return NULL;
}

/* A job that its caller runs takes the only place of its kind: who waited for that place gets it. */
static void a_place_that_a_caller_took_is_given_back(void **state)
{
    (void)state;
    turns t = {0};
    pthread_t thread;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_in_turn, &t);
    kind.concurrency = 1;
    options.workers = 1;
    options.queue = 1;
    options.if_full = STELE_JOBS_RUN_HERE;
    stele_jobs *jobs = open_memory(&options);
    (void)put(jobs, NULL);
    wait_for(&t.arrived, 1);
    (void)put(jobs, NULL); /* waits behind it */
    blocked b = {.jobs = jobs, .st = STELE_DONE};
    assert_int_equal(pthread_create(&thread, NULL, put_blocked, &b), 0);
    wait_for(&t.arrived, 2);
    __atomic_store_n(&t.open[0], 1, __ATOMIC_SEQ_CST);
    while (numbers_of(jobs).done < 1)
        wait_a_little();
    for (int i = 0; i < 20; i++) /* the worker finds no place, and goes to sleep */
        wait_a_little();
    __atomic_store_n(&t.open[1], 1, __ATOMIC_SEQ_CST);
    wait_for(&t.arrived, 3);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(b.st, STELE_OK);
    close_jobs(jobs);
}

static void who_waits_for_room_gets_it_or_hears_of_the_end(void **state)
{
    (void)state;
    stele_job_kind kind;
    for (int ends = 0; ends <= 1; ends++) {
        gate g = {0};
        pthread_t thread;
        stele_jobs_options options = quick(&kind, wait_at_gate, &g);
        options.workers = 1;
        options.queue = 1;
        stele_jobs *jobs = open_memory(&options);
        (void)put(jobs, NULL);
        wait_for(&g.arrived, 1);
        (void)put(jobs, NULL);
        blocked b = {.jobs = jobs, .st = STELE_DONE};
        assert_int_equal(pthread_create(&thread, NULL, put_blocked, &b), 0);
        wait_a_little();
        __atomic_store_n(&g.open, !ends, __ATOMIC_SEQ_CST);
        if (ends)
            assert_int_equal(stele_jobs_close(jobs, 50, &err), STELE_E_TIMEOUT);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(b.st, ends ? STELE_E_CLOSED : STELE_OK);
        if (!ends)
            close_jobs(jobs);
    }
}

static stele_status fail_twice(stele_job *job, void *user, stele_error *error)
{
    int *count = user;
    (void)error;
    (void)job;
    return __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST) < 3 ? STELE_E_SERVER : STELE_OK;
}

/* Callers that wait for room; the lock is the workers'. */
static uint32_t callers_of(stele_jobs *jobs)
{
    (void)pthread_mutex_lock(&jobs->lock);
    uint32_t callers = jobs->callers;
    (void)pthread_mutex_unlock(&jobs->lock);
    return callers;
}

/* Who was woken and needs no room, as the same job waits by now, wakes the next one. */
static void room_that_is_not_needed_is_passed_on(void **state)
{
    (void)state;
    static const char *const keys[] = {"a", "a", "c"};
    stele_job_kind kind;
    pthread_t threads[3];
    blocked waiting[3];
    int64_t ids[2];
    gate g = {0};
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.workers = 1;
    options.queue = 2;
    options.put_timeout_ms = 60000;
    stele_jobs *jobs = open_memory(&options);
    (void)put(jobs, NULL);
    wait_for(&g.arrived, 1);
    for (int i = 0; i < 2; i++)
        ids[i] = put(jobs, NULL);
    for (uint32_t i = 0; i < 3; i++) { /* in this order */
        waiting[i] = (blocked){.jobs = jobs, .key = keys[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, put_blocked, &waiting[i]), 0);
        wait_until(callers_of(jobs) == i + 1);
    }
    uint64_t began = now_ms();
    for (int i = 0; i < 2; i++)
        assert_ok(stele_jobs_cancel(jobs, ids[i], &err), &err);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(waiting[i].st, STELE_OK);
    }
    assert_true(now_ms() - began < options.put_timeout_ms / 2);
    assert_int_equal(numbers_of(jobs).merged, 1);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    close_jobs(jobs);
}

static void failures_are_tried_again(void **state)
{
    (void)state;
    stele_job_kind kind;
    int count = 0;
    stele_jobs_options options = quick(&kind, fail_twice, &count);
    stele_jobs *jobs = open_memory(&options);
    stele_job_input job = {.kind = stele_s("plain"), .max_attempts = 3};
    assert_ok(stele_jobs_put(jobs, NULL, &job, NULL, &err), &err);
    while (numbers_of(jobs).done == 0)
        wait_a_little();
    assert_int_equal(numbers_of(jobs).retried, 2);
    count = 0;
    assert_ok(stele_jobs_put(jobs, NULL, &(stele_job_input){.kind = stele_s("plain")}, NULL, &err),
              &err);
    while (numbers_of(jobs).dead == 0)
        wait_a_little();
    assert_int_equal(count, 1);
    close_jobs(jobs);
}

static void priorities_and_delays_hold(void **state)
{
    (void)state;
    gate g = {0};
    log_of l = LOG(&g);
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, note, &l);
    options.workers = 1;
    stele_jobs *jobs = open_memory(&options);
    (void)put(jobs, "z");
    wait_for(&g.arrived, 1);
    (void)put(jobs, "b");
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s("a"), .priority = 4};
    assert_ok(stele_jobs_put(jobs, NULL, &job, NULL, &err), &err);
    job = (stele_job_input){
        .kind = stele_s("plain"), .key = stele_s("c"), .priority = 9, .delay_ms = 6000};
    assert_ok(stele_jobs_put(jobs, NULL, &job, NULL, &err), &err);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    wait_for(&l.count, 3);
    close_jobs(jobs);
    assert_string_equal(l.line, "abc");
}

static void cancellations_and_timeouts_are_told(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.workers = 1;
    kind.timeout_ms = 60000;
    stele_jobs *jobs = open_memory(&options);
    int64_t runs = put(jobs, "a");
    wait_for(&g.arrived, 1);
    int64_t waits = put(jobs, "b");
    assert_ok(stele_jobs_cancel(jobs, waits, &err), &err);
    assert_ok(stele_jobs_cancel(jobs, runs, &err), &err);
    wait_for(&g.stopped, 1);
    while (numbers_of(jobs).lost < 2)
        wait_a_little();
    assert_int_equal(stele_jobs_cancel(jobs, runs, &err), STELE_E_NOT_FOUND);
    close_jobs(jobs);
    kind.timeout_ms = 20;
    jobs = open_memory(&options);
    (void)put(jobs, "a");
    wait_for(&g.stopped, 2);
    while (numbers_of(jobs).dead == 0)
        wait_a_little();
    assert_int_equal(numbers_of(jobs).timed_out, 1);
    close_jobs(jobs);
}

static void a_transaction_needs_a_database(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, leave_effect, NULL);
    for (int with = 0; with <= 1; with++) {
        options.db = with ? db : NULL;
        stele_jobs *jobs = open_memory(&options);
        (void)put(jobs, NULL);
        (void)put(jobs, "k");
        close_jobs(jobs);
        assert_int_equal(number("SELECT count(*) FROM effects"), with ? 2 : 0);
    }
    assert_int_equal(stats_of(db).in_use, 0);
}

static void what_is_not_known_is_refused(void **state)
{
    (void)state;
    gate g = {.open = 1};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    stele_jobs *jobs = open_memory(&options);
    stele_ts at = 0;
    stele_job_input job = {.kind = stele_s("other")};
    assert_int_equal(stele_jobs_put(jobs, NULL, &job, NULL, &err), STELE_E_INPUT);
    job = (stele_job_input){.kind = stele_s("plain"), .at = &at};
    assert_int_equal(stele_jobs_put(jobs, NULL, &job, NULL, &err), STELE_E_INPUT);
    assert_int_equal(stele_jobs_put_queue(jobs, NULL, &job, NULL, &err), STELE_E_MISUSE);
    stele_jobs_wake(jobs);
    close_jobs(jobs);
    options.kind_count = 0;
    assert_int_equal(stele_jobs_open_volatile(&options, &jobs, &err), STELE_E_INPUT);
    assert_int_equal(stele_jobs_open_volatile(NULL, &jobs, &err), STELE_E_INPUT);
}

static void waiting_and_running_count_by_their_times(void **state)
{
    (void)state;
    gate g = {0};
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, wait_at_gate, &g);
    options.workers = 1;
    stele_jobs *jobs = open_memory(&options);
    (void)put(jobs, "a");
    wait_for(&g.arrived, 1);
    (void)put(jobs, "b");
    uint64_t began = now_ms();
    wait_until(now_ms() - began > 50);
    __atomic_store_n(&g.open, 1, __ATOMIC_SEQ_CST);
    wait_until(numbers_of(jobs).done == 2);
    stele_job_stats stats = numbers_of(jobs);
    assert_int_equal(stats.wait.count, 2);
    assert_true(slower_than(&stats.wait, 50) >= 1);
    assert_int_equal(stats.run.count, 2);
    assert_true(slower_than(&stats.run, 50) >= 1);
    assert_true(stats.wait.sum_ns + stats.run.sum_ns >= 100 * 1000000);
    close_jobs(jobs);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        WORKED(jobs_of_a_key_run_in_order),
        WORKED(what_waits_is_merged_and_what_runs_runs_again),
        WORKED(a_full_queue_does_as_it_was_told),
        WORKED(a_place_that_a_caller_took_is_given_back),
        WORKED(who_waits_for_room_gets_it_or_hears_of_the_end),
        WORKED(room_that_is_not_needed_is_passed_on),
        WORKED(failures_are_tried_again),
        WORKED(priorities_and_delays_hold),
        WORKED(cancellations_and_timeouts_are_told),
        WORKED(a_transaction_needs_a_database),
        WORKED(what_is_not_known_is_refused),
        WORKED(waiting_and_running_count_by_their_times),
    };
    return RUN_WORKED(tests);
}
