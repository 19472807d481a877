/**
 * Workers: options, opening, what callers ask of them, and the end.
 *
 * Floor: jobs.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "jobs_internal.h"
#include "link.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define CALL_MS 10000u /* for a connection of a caller who gave none */
#define NUDGE_MS 100u
#define TELL_MS 2000u

/* ---- options ---- */

static void default_to(uint32_t *option, uint32_t value)
{
    if (*option == 0)
        *option = value;
}

static stele_status check_options(const stele_jobs_options *given, stele_error *err)
{
    if (given == NULL || given->size != sizeof *given) {
        stele_status st = stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(err, "start from: stele_jobs_options options = STELE_JOBS_OPTIONS_INIT;");
        return st;
    }
    if (given->kind_count > STELE__KINDS_MAX || given->workers > 1024 || given->batch > 10000)
        return stele__fail(err, STELE_E_INPUT,
                           "at most %d kinds, 1024 workers and batches of 10000", STELE__KINDS_MAX);
    if (given->lease_ms != 0 && given->lease_ms < 1000)
        return stele__fail(err, STELE_E_INPUT, "lease_ms is less than a second");
    uint32_t lease_ms = given->lease_ms > 0 ? given->lease_ms : 30000;
    if (given->fence_ms >= lease_ms / 2)
        return stele__fail(err, STELE_E_INPUT, "fence_ms is not less than half of lease_ms");
    if (given->keep_ms > 100ull * 366 * 24 * 3600 * 1000)
        return stele__fail(err, STELE_E_INPUT, "keep_ms is more than a hundred years");
    if (given->listener != NULL && given->channel == NULL)
        return stele__fail(err, STELE_E_INPUT, "there is a listener, and no channel");
    return STELE_OK;
}

static void fill_options(const stele_jobs_options *given, stele_jobs_options *ret)
{
    *ret = *given;
    default_to(&ret->workers, 4);
    default_to(&ret->batch, ret->workers);
    default_to(&ret->poll_ms, 1000);
    default_to(&ret->lease_ms, 30000);
    default_to(&ret->fence_ms, ret->lease_ms / 6);
    default_to(&ret->queue, 100);
    default_to(&ret->put_timeout_ms, 30000);
    if (ret->keep_ms == 0)
        ret->keep_ms = 24ull * 3600 * 1000;
    ret->kinds = NULL; /* the copies count */
    ret->schedules = NULL;
    ret->channel = NULL;
}

static stele_status copy_kinds(stele_jobs *jobs, const stele_jobs_options *given, stele_error *err)
{
    jobs->kinds = stele__calloc(given->kind_count + 1, sizeof *jobs->kinds);
    if (jobs->kinds == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for kinds of jobs");
    for (size_t i = 0; i < given->kind_count; i++) {
        stele_job_kind *kind = &jobs->kinds[i].given;
        *kind = given->kinds[i];
        if (kind->name == NULL || kind->name[0] == '\0' || kind->run == NULL)
            return stele__fail(err, STELE_E_INPUT, "kinds[%zu] lacks its name or run", i);
        if (stele__kind_find(jobs, stele_s(kind->name)) != NULL)
            return stele__fail(err, STELE_E_INPUT, "kind \"%s\" stands there twice", kind->name);
        kind->name = stele__strdup(kind->name);
        if (kind->name == NULL)
            return stele__fail(err, STELE_E_NOMEM, "out of memory for kinds of jobs");
        jobs->kind_count++;
        default_to(&kind->concurrency, UINT32_MAX); /* as there are workers */
        default_to(&kind->backoff_ms, 1000);
        default_to(&kind->backoff_max_ms, 3600 * 1000);
    }
    return STELE_OK;
}

static stele_status copy_schedule(const stele_job_schedule *given, stele__schedule *ret,
                                  stele_error *err)
{
    if (given->name == NULL || given->kind == NULL || strlen(given->name) > 200)
        return stele__fail(err, STELE_E_INPUT, "a schedule lacks its name or kind");
    if ((given->cron == NULL) == (given->every_ms == 0) ||
        (given->cron == NULL && given->every_ms < 1000) || given->every_ms > INT64_MAX / 1000000)
        return stele__fail(err, STELE_E_INPUT,
                           "schedule \"%s\" wants either cron or every_ms, of at least 1000",
                           given->name);
    ret->is_cron = given->cron != NULL;
    ret->every_us = (int64_t)given->every_ms * 1000;
    ret->max_attempts = given->max_attempts > 0 ? (int32_t)given->max_attempts : 25;
    ret->priority = given->priority;
    ret->name = stele__strdup(given->name);
    ret->kind = stele__strdup(given->kind);
    if (given->args.data != NULL)
        ret->args = stele__strndup(given->args.data, given->args.len);
    ret->args_len = given->args.len;
    if (ret->name == NULL || ret->kind == NULL || (given->args.data != NULL && ret->args == NULL))
        return stele__fail(err, STELE_E_NOMEM, "out of memory for schedules");
    return ret->is_cron ? stele__cron_parse(given->cron, &ret->cron, err) : STELE_OK;
}

static stele_status copy_schedules(stele_jobs *jobs, const stele_jobs_options *given,
                                   stele_error *err)
{
    stele_status st = STELE_OK;
    jobs->schedules = stele__calloc(given->schedule_count + 1, sizeof *jobs->schedules);
    if (jobs->schedules == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for schedules");
    for (size_t i = 0; i < given->schedule_count && st == STELE_OK; i++) {
        jobs->schedule_count++;
        st = copy_schedule(&given->schedules[i], &jobs->schedules[i], err);
    }
    return st;
}

/* ---- opening ---- */

static void free_lists(stele_jobs *jobs)
{
    stele__job_list *const lists[] = {&jobs->ready, &jobs->running, &jobs->ended, &jobs->stuck};
    stele_job *job;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        while ((job = stele__jobs_pop(lists[i])) != NULL)
            stele__job_free(job);
}

static void free_jobs(stele_jobs *jobs)
{
    free_lists(jobs);
    for (size_t i = 0; i < jobs->kind_count; i++)
        stele__free((char *)(uintptr_t)jobs->kinds[i].given.name);
    for (size_t i = 0; i < jobs->schedule_count; i++) {
        stele__free(jobs->schedules[i].name);
        stele__free(jobs->schedules[i].kind);
        stele__free(jobs->schedules[i].args);
    }
    for (uint32_t i = 0; jobs->lanes != NULL && i < jobs->options.workers; i++) {
        (void)pthread_cond_destroy(&jobs->lanes[i].work);
        (void)pthread_cond_destroy(&jobs->lanes[i].room);
    }
    stele__free(jobs->kinds);
    stele__free(jobs->schedules);
    stele__free(jobs->lanes);
    (void)pthread_cond_destroy(&jobs->work);
    (void)pthread_cond_destroy(&jobs->turn);
    (void)pthread_cond_destroy(&jobs->keep);
    (void)pthread_cond_destroy(&jobs->idle);
    (void)pthread_mutex_destroy(&jobs->lock);
    stele_db_close(jobs->db);
    stele__free(jobs);
}

static bool make_lanes(stele_jobs *jobs)
{
    jobs->lanes = stele__calloc(jobs->options.workers, sizeof *jobs->lanes);
    for (uint32_t i = 0; jobs->lanes != NULL && i < jobs->options.workers; i++) {
        jobs->lanes[i].jobs = jobs;
        if (!stele__cond_init(&jobs->lanes[i].work) || !stele__cond_init(&jobs->lanes[i].room))
            return false;
    }
    return jobs->lanes != NULL;
}

static stele_jobs *new_jobs(const stele_jobs_options *given, bool durable)
{
    stele_jobs_options options;
    fill_options(given, &options);
    stele_jobs *jobs =
        stele__calloc(1, sizeof *jobs + (options.workers + 2) * sizeof jobs->handles[0]);
    if (jobs == NULL)
        return NULL;
    jobs->options = options;
    jobs->durable = durable;
    jobs->pid = getpid();
    jobs->retry_ns = UINT64_MAX;
    jobs->stats.workers = options.workers;
    (void)pthread_mutex_init(&jobs->lock, NULL); /* of Linux: never fails without attributes */
    bool made = stele__cond_init(&jobs->work) && stele__cond_init(&jobs->turn) &&
                stele__cond_init(&jobs->keep) && stele__cond_init(&jobs->idle);
    if (made && !durable)
        made = make_lanes(jobs);
    if (made)
        return jobs;
    free_jobs(jobs);
    return NULL;
}

static bool start(stele_jobs *jobs, void *(*run)(void *), void *arg)
{
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->threads++;
    (void)pthread_mutex_unlock(&jobs->lock);
    if (pthread_create(&jobs->handles[jobs->thread_count], NULL, run, arg) == 0) {
        jobs->thread_count++;
        return true;
    }
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->threads--;
    (void)pthread_mutex_unlock(&jobs->lock);
    return false;
}

static stele_status start_all(stele_jobs *jobs, stele_error *err)
{
    sigset_t all;
    sigset_t kept;
    bool started = true;
    uint32_t workers = jobs->kind_count > 0 ? jobs->options.workers : 0;
    (void)sigfillset(&all); /* signals are the application's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &kept);
    for (uint32_t i = 0; i < workers && started; i++)
        started = jobs->durable ? start(jobs, stele__jobs_work, jobs)
                                : start(jobs, stele__lane_work, &jobs->lanes[i]);
    if (started && jobs->durable)
        started = start(jobs, stele__jobs_turns, jobs) && start(jobs, stele__jobs_keeper, jobs);
    (void)pthread_sigmask(SIG_SETMASK, &kept, NULL);
    if (started)
        return STELE_OK;
    return stele__fail(err, STELE_E_NOMEM, "cannot start the workers' threads");
}

static void on_bell(const char *channel, const char *payload, bool rescan, void *user)
{
    stele_jobs *jobs = user;
    (void)channel;
    (void)payload;
    (void)rescan;
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->look = true;
    jobs->stats.wakes++;
    (void)pthread_cond_signal(&jobs->turn);
    (void)pthread_mutex_unlock(&jobs->lock);
}

static stele_status set_up(stele_jobs *jobs, stele_db *db, const stele_jobs_options *given,
                           stele_error *err)
{
    stele_status st = copy_kinds(jobs, given, err);
    if (st == STELE_OK)
        st = copy_schedules(jobs, given, err);
    if (st == STELE_OK && db != NULL)
        st = stele_db_derive_policy(db, STELE_DEFAULT, &jobs->db, err);
    if (st == STELE_OK && jobs->durable && given->listener != NULL)
        st = stele_listener_subscribe(given->listener, given->channel, on_bell, jobs,
                                      &jobs->subscription, err);
    if (st == STELE_OK)
        st = start_all(jobs, err);
    return st;
}

static stele_status open_jobs(stele_db *db, const stele_jobs_table *table,
                              const stele_jobs_options *options, stele_jobs **ret_jobs,
                              stele_error *err)
{
    stele_status st = check_options(options, err);
    if (st != STELE_OK)
        return st;
    stele_jobs *jobs = new_jobs(options, table != NULL);
    if (jobs == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for workers");
    jobs->table = table;
    st = set_up(jobs, db, options, err);
    if (st == STELE_OK)
        *ret_jobs = jobs;
    else
        (void)stele_jobs_close(jobs, 0, NULL); /* what failed first is what counts */
    return st;
}

stele_status stele_jobs_open(stele_db *db, const stele_jobs_table *table,
                             const stele_jobs_options *options, stele_jobs **ret_jobs,
                             stele_error *err)
{
    if (db == NULL || table == NULL || ret_jobs == NULL)
        return stele__fail(err, STELE_E_INPUT, "db, table or ret_jobs is NULL");
    return open_jobs(db, table, options, ret_jobs, err);
}

stele_status stele_jobs_open_volatile(const stele_jobs_options *options, stele_jobs **ret_jobs,
                                      stele_error *err)
{
    if (ret_jobs == NULL)
        return stele__fail(err, STELE_E_INPUT, "ret_jobs is NULL");
    if (options != NULL && (options->kind_count == 0 || options->schedule_count > 0))
        return stele__fail(err, STELE_E_INPUT, "volatile jobs have kinds, and no schedules");
    return open_jobs(options != NULL ? options->db : NULL, NULL, options, ret_jobs, err);
}

/* ---- what callers ask ---- */

static stele_status check_fork(const stele_jobs *jobs, stele_error *err)
{
    if (jobs->pid == getpid())
        return STELE_OK;
    return stele__fail(err, STELE_E_FORKED, "the workers were opened before a fork");
}

static stele_status check_open(stele_jobs *jobs, stele_error *err)
{
    stele_status st = check_fork(jobs, err);
    if (st == STELE_OK && __atomic_load_n(&jobs->closing, __ATOMIC_RELAXED))
        st = stele__fail(err, STELE_E_CLOSED, "the workers are being closed");
    return st;
}

bool stele_jobs_is_durable(const stele_jobs *jobs)
{
    return jobs->durable;
}

static void count_put(stele_jobs *jobs)
{
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->stats.put++;
    (void)pthread_mutex_unlock(&jobs->lock);
}

static stele_status put(stele_jobs *jobs, stele_conn *conn, const stele_job_input *job,
                        int64_t *ret_id, stele_error *err)
{
    stele_status st = stele_job_enqueue(conn, jobs->table, job, ret_id, err);
    if (st != STELE_OK)
        return st;
    count_put(jobs);
    if (!stele_conn_in_transaction(conn))
        stele_jobs_wake(jobs);
    return STELE_OK;
}

stele_status stele_jobs_put(stele_jobs *jobs, stele_conn *conn, const stele_job_input *job,
                            int64_t *ret_id, stele_error *err)
{
    stele_conn *own = NULL;
    stele_status st = check_open(jobs, err);
    if (st != STELE_OK)
        return st;
    if (!jobs->durable)
        return stele__memory_put(jobs, job, ret_id, err);
    if (conn != NULL)
        return put(jobs, conn, job, ret_id, err);
    st = stele_db_acquire_at(jobs->db, CALL_MS, __FILE__, __LINE__, &own, err);
    if (st == STELE_OK)
        st = put(jobs, own, job, ret_id, err);
    stele_conn_release(own);
    return st;
}

stele_status stele_jobs_put_queue(stele_jobs *jobs, stele_pipeline *pipeline,
                                  const stele_job_input *job, int64_t *ret_id, stele_error *err)
{
    stele_status st = check_open(jobs, err);
    if (st != STELE_OK)
        return st;
    if (!jobs->durable)
        return stele__fail(err, STELE_E_MISUSE, "volatile jobs are put after the commit");
    st = stele_job_enqueue_queue(pipeline, jobs->table, job, ret_id, err);
    if (st == STELE_OK)
        count_put(jobs);
    return st;
}

void stele_jobs_wake(stele_jobs *jobs)
{
    if (jobs == NULL || !jobs->durable || jobs->pid != getpid())
        return;
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->look = true;
    jobs->stats.wakes++;
    (void)pthread_cond_signal(&jobs->turn);
    (void)pthread_mutex_unlock(&jobs->lock);
    stele_doorbell_ring(jobs->options.doorbell);
}

static void stop_here(stele_jobs *jobs, int64_t id)
{
    stele__job_list *const lists[] = {&jobs->ready, &jobs->running};
    (void)pthread_mutex_lock(&jobs->lock);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (stele_job *job = lists[i]->first; job != NULL; job = job->next)
            if (job->info.id == id)
                __atomic_store_n(&job->stop, STELE__STOP_LOST, __ATOMIC_RELAXED);
    (void)pthread_mutex_unlock(&jobs->lock);
}

stele_status stele_jobs_cancel(stele_jobs *jobs, int64_t id, stele_error *err)
{
    stele_conn *conn = NULL;
    stele_status st = check_open(jobs, err);
    if (st != STELE_OK)
        return st;
    if (!jobs->durable)
        return stele__memory_cancel(jobs, id, err);
    st = stele_db_acquire_at(jobs->db, CALL_MS, __FILE__, __LINE__, &conn, err);
    if (st == STELE_OK)
        st = stele_job_cancel(conn, jobs->table, id, err);
    stele_conn_release(conn);
    if (st == STELE_OK)
        stop_here(jobs, id);
    return st;
}

stele_status stele_jobs_count(stele_jobs *jobs, stele_jobs_depth *ret_depth, stele_error *err)
{
    stele_conn *conn = NULL;
    stele_gen_job_depth depth;
    stele_status st = check_open(jobs, err);
    if (st != STELE_OK)
        return st;
    if (!jobs->durable) {
        stele__memory_count(jobs, ret_depth);
        return STELE_OK;
    }
    st = stele_db_acquire_at(jobs->db, CALL_MS, __FILE__, __LINE__, &conn, err);
    if (st == STELE_OK)
        st = stele_gen_value(conn, jobs->table->depth, NULL, 0, &depth, err);
    stele_conn_release(conn);
    if (st == STELE_OK)
        *ret_depth = (stele_jobs_depth){.due = depth.due,
                                        .later = depth.later,
                                        .running = depth.running,
                                        .dead = depth.dead,
                                        .oldest_due_ms = depth.oldest_due_ms};
    return st;
}

void stele_jobs_stats(const stele_jobs *jobs, stele_job_stats *ret_stats)
{
    stele_jobs *own = (stele_jobs *)(uintptr_t)jobs; /* to lock it */
    (void)pthread_mutex_lock(&own->lock);
    *ret_stats = own->stats;
    ret_stats->running = own->running.count;
    if (own->durable)
        ret_stats->waiting = own->ready.count;
    (void)pthread_mutex_unlock(&own->lock);
}

/* ---- closing ---- */

static void wake_everyone(stele_jobs *jobs)
{
    (void)pthread_cond_broadcast(&jobs->work);
    (void)pthread_cond_broadcast(&jobs->turn);
    (void)pthread_cond_broadcast(&jobs->keep);
    if (jobs->lanes != NULL)
        stele__memory_wake_all(jobs);
}

/* What was claimed and not begun goes back. */
static void return_ready(stele_jobs *jobs)
{
    stele_job *job;
    while ((job = stele__jobs_pop(&jobs->ready)) != NULL) {
        job->end = STELE__END_RETURN;
        job->kind->held--;
        stele__jobs_push(&jobs->ended, job);
    }
}

/* Tells handlers to stop, and cancels what they wait for. */
static void stop_handlers(stele_jobs *jobs)
{
    for (stele_job *job = jobs->running.first; job != NULL; job = job->next) {
        int none = STELE__STOP_NOT;
        (void)__atomic_compare_exchange_n(&job->stop, &none, STELE__STOP_CLOSING, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        if (job->conn != NULL)
            stele__pool_nudge(job->conn);
    }
}

/* The table is not told of what ended: its leases run out. */
static void give_up(stele_jobs *jobs)
{
    if (jobs->giving_up) /* the second time: a cancel is not answered either */
        __atomic_store_n(&jobs->cut, true, __ATOMIC_RELAXED);
    jobs->giving_up = true;
    if (jobs->turn_conn != NULL)
        stele__pool_nudge(jobs->turn_conn);
    if (jobs->keep_conn != NULL)
        stele__pool_nudge(jobs->keep_conn);
}

/* After the deadline handlers are told to stop; once they have, the table has a little longer to hear
 * of them. A request to cancel may come between two statements, so it is repeated. The lock is held. */
static uint32_t wait_for_all(stele_jobs *jobs, uint32_t deadline_ms)
{
    stele__deadline deadline = stele__deadline_in(deadline_ms);
    stele__deadline told = STELE__NEVER;
    uint32_t stopped = 0;
    wake_everyone(jobs);
    while (jobs->threads > 0 || jobs->callers > 0) {
        uint64_t now = (uint64_t)stele__now_ns();
        if (now >= deadline) {
            jobs->giving_up |= !jobs->durable;
            if (jobs->running.count > 0) {
                stopped = jobs->running.count > stopped ? jobs->running.count : stopped;
                stop_handlers(jobs);
            } else if (told == STELE__NEVER) {
                told = stele__deadline_in(TELL_MS);
            } else if (now >= told) {
                give_up(jobs);
            }
            wake_everyone(jobs);
        }
        (void)stele__cond_wait(&jobs->idle, &jobs->lock,
                               now >= deadline ? stele__deadline_in(NUDGE_MS) : deadline);
        wake_everyone(jobs);
    }
    return stopped;
}

/* Says of jobs that nothing will become of them here. */
static uint32_t leave(stele__job_list *list, stele_job_outcome outcome)
{
    uint32_t count = list->count;
    stele_job *job;
    while ((job = stele__jobs_pop(list)) != NULL)
        stele__job_over(job, outcome);
    return count;
}

static stele_status end_all(stele_jobs *jobs, uint32_t deadline_ms, stele_error *err)
{
    stele__job_list dropped = {0};
    (void)pthread_mutex_lock(&jobs->lock);
    __atomic_store_n(&jobs->closing, true, __ATOMIC_RELAXED);
    return_ready(jobs);
    uint32_t stopped = wait_for_all(jobs, deadline_ms);
    if (jobs->lanes != NULL)
        (void)stele__memory_drop(jobs, &dropped);
    (void)pthread_mutex_unlock(&jobs->lock);
    for (size_t i = 0; i < jobs->thread_count; i++)
        (void)pthread_join(jobs->handles[i], NULL);
    uint32_t untold = leave(&jobs->ended, STELE_JOB_LOST) + leave(&jobs->stuck, STELE_JOB_LOST);
    uint32_t undone = leave(&dropped, STELE_JOB_RETURNED);
    if (untold > 0)
        return stele__fail(err, STELE_E_LOST,
                           "the table could not be told of %u jobs that ended: they run again",
                           untold);
    if (stopped > 0 || undone > 0)
        return stele__fail(err, STELE_E_TIMEOUT,
                           "%u handlers were told to stop, and %u jobs were not begun", stopped,
                           undone);
    return STELE_OK;
}

stele_status stele_jobs_close(stele_jobs *jobs, uint32_t deadline_ms, stele_error *err)
{
    if (jobs == NULL)
        return STELE_OK;
    stele_status st = check_fork(jobs, err);
    if (st != STELE_OK)
        return st;
    st = end_all(jobs, deadline_ms, err);
    if (jobs->subscription != NULL)
        stele_listener_unsubscribe(jobs->options.listener, jobs->subscription);
    free_jobs(jobs);
    return st;
}
