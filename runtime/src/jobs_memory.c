/**
 * Volatile jobs: queues in memory, one for each worker.
 *
 * A job of a key always goes to the same queue, which one thread works off, so jobs of one key run one
 * after the other. The queues share the workers' lock: what is done under it is short.
 *
 * Floor: jobs.
 */
#define _GNU_SOURCE
#include <string.h>

#include "jobs_internal.h"
#include "link.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

static uint64_t due_of(const stele_gen_job_new *job)
{
    return (uint64_t)stele__now_ns() + (uint64_t)job->delay_ms * STELE__JOB_MS;
}

/* ---- queues ---- */

static stele__lane *lane_of(stele_jobs *jobs, const stele_gen_job_new *job)
{
    uint32_t n = jobs->options.workers;
    if (job->key.data == NULL)
        return &jobs->lanes[jobs->next_lane++ % n];
    uint64_t hash = stele__hash64(0, job->kind.data, job->kind.len);
    return &jobs->lanes[stele__hash64(hash, job->key.data, job->key.len) % n];
}

static stele_job *find_same(const stele__lane *lane, stele_str kind, stele_str key)
{
    if (key.data == NULL)
        return NULL;
    for (stele_job *job = lane->waiting.first; job != NULL; job = job->next)
        if (stele_str_eq(job->info.key, key) && stele_str_eq(job->info.kind, kind))
            return job;
    return NULL;
}

static void insert_before(stele__job_list *list, stele_job *job, stele_job *before)
{
    job->next = before;
    job->prev = before->prev;
    if (before->prev != NULL)
        before->prev->next = job;
    else
        list->first = job;
    before->prev = job;
    list->count++;
}

static void add(stele__lane *lane, stele_job *job)
{
    stele__jobs_push(&lane->waiting, job);
    lane->jobs->stats.waiting++;
    (void)pthread_cond_signal(&lane->work);
}

static void take_out(stele__lane *lane, stele_job *job)
{
    stele__jobs_remove(&lane->waiting, job);
    lane->jobs->stats.waiting--;
    (void)pthread_cond_signal(&lane->room);
}

/* ---- putting ---- */

static stele_job *make_job(stele_jobs *jobs, stele__kind *kind, const stele_gen_job_new *given)
{
    stele_job_info info = {.key = given->key,
                           .args = given->args,
                           .gen = 1,
                           .attempt = 1,
                           .max_attempts = (uint32_t)given->max_attempts,
                           .priority = given->priority};
    stele_job *job = stele__job_new(jobs, kind, &info);
    if (job != NULL)
        job->due_ns = due_of(given);
    return job;
}

/* The newer job takes the place of the one that waits: that is the same job, asked for once more. */
static void merge(stele__lane *lane, stele_job *old, stele_job *job)
{
    stele_jobs *jobs = lane->jobs;
    job->info.id = old->info.id;
    job->info.gen = old->info.gen + 1;
    job->info.attempt = old->info.attempt;
    if (old->info.priority > job->info.priority)
        job->info.priority = old->info.priority;
    if (old->info.attempt > 1 || old->due_ns < job->due_ns)
        job->due_ns = old->due_ns;
    insert_before(&lane->waiting, job, old);
    stele__jobs_remove(&lane->waiting, old);
    stele__job_free(old);
    jobs->stats.merged++;
    (void)pthread_cond_signal(&lane->work);
}

/* Waits for room; the lock is held. STELE_DONE: the caller is to do it. */
static stele_status wait_for_room(stele__lane *lane, const stele_job *job, stele_error *err)
{
    stele_jobs *jobs = lane->jobs;
    stele__deadline deadline = stele__deadline_in(jobs->options.put_timeout_ms);
    while (!jobs->closing && lane->waiting.count >= jobs->options.queue &&
           find_same(lane, job->info.kind, job->info.key) == NULL) {
        if (jobs->options.if_full == STELE_JOBS_RUN_HERE)
            return STELE_DONE;
        bool late = (uint64_t)stele__now_ns() >= deadline;
        if (jobs->options.if_full == STELE_JOBS_REJECT || late) {
            jobs->stats.rejected++;
            return stele__fail(err, late ? STELE_E_TIMEOUT : STELE_E_BUSY,
                               "%u jobs wait for this worker already", lane->waiting.count);
        }
        (void)stele__cond_wait(&lane->room, &jobs->lock, deadline);
    }
    if (jobs->closing)
        return stele__fail(err, STELE_E_CLOSED, "the workers are being closed");
    return STELE_OK;
}

static void end_run(stele__lane *lane, stele_job *job);

/* The lock is held, and given back meanwhile. */
static void run_here(stele__lane *lane, stele_job *job)
{
    stele_jobs *jobs = lane->jobs;
    jobs->stats.ran_here++;
    job->kind->running++;
    stele__jobs_push(&jobs->running, job);
    (void)pthread_mutex_unlock(&jobs->lock);
    stele__job_run(job);
    (void)pthread_mutex_lock(&jobs->lock);
    end_run(lane, job);
}

static stele_status put_locked(stele__lane *lane, stele_job *job, int64_t *ret_id, stele_error *err)
{
    stele_jobs *jobs = lane->jobs;
    stele_status st = wait_for_room(lane, job, err);
    if (st < 0) {
        stele__job_free(job);
        return st;
    }
    jobs->stats.put++;
    job->info.id = ++jobs->next_id;
    stele_job *same = find_same(lane, job->info.kind, job->info.key);
    if (same != NULL)
        merge(lane, same, job);
    if (ret_id != NULL)
        *ret_id = job->info.id;
    if (same != NULL) { /* the room we may have been woken for is another's */
        (void)pthread_cond_signal(&lane->room);
        return STELE_OK;
    }
    if (st == STELE_DONE)
        run_here(lane, job);
    else
        add(lane, job);
    return STELE_OK;
}

stele_status stele__memory_put(stele_jobs *jobs, const stele_job_input *input, int64_t *ret_id,
                               stele_error *err)
{
    stele_gen_job_new given;
    if (input != NULL && input->at != NULL)
        return stele__fail(err, STELE_E_INPUT, "volatile jobs know a delay, not a time");
    stele_status st = stele__job_check(input, 1, &given, err);
    if (st != STELE_OK)
        return st;
    stele__kind *kind = stele__kind_find(jobs, given.kind);
    if (kind == NULL)
        return stele__fail(err, STELE_E_INPUT, "the workers know no kind \"%.*s\"",
                           (int)given.kind.len, given.kind.data);
    stele_job *job = make_job(jobs, kind, &given);
    if (job == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a job");
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->callers++;
    st = put_locked(lane_of(jobs, &given), job, ret_id, err);
    jobs->callers--;
    (void)pthread_cond_broadcast(&jobs->idle);
    (void)pthread_mutex_unlock(&jobs->lock);
    return st;
}

/* ---- running ---- */

static bool may_run(const stele_job *job)
{
    return job->kind->running < job->kind->given.concurrency;
}

/* What to run now, or when to look again; the lock is held. */
static stele_job *pick(const stele__lane *lane, uint64_t *ret_until)
{
    uint64_t now = (uint64_t)stele__now_ns();
    stele_job *best = NULL;
    *ret_until = STELE__NEVER;
    for (stele_job *job = lane->waiting.first; job != NULL; job = job->next) {
        if (job->due_ns > now) {
            *ret_until = job->due_ns < *ret_until ? job->due_ns : *ret_until;
            continue;
        }
        if (may_run(job) && (best == NULL || job->info.priority > best->info.priority))
            best = job;
    }
    return best;
}

static bool tries_again(const stele_job *job)
{
    if (job->end != STELE__END_FAIL || job->dead)
        return false;
    return !job->counts || job->info.attempt < job->info.max_attempts;
}

static void try_again(stele__lane *lane, stele_job *job)
{
    stele_jobs *jobs = lane->jobs;
    (void)pthread_mutex_unlock(&jobs->lock);
    stele__job_tell(job, STELE_JOB_RETRY);
    (void)pthread_mutex_lock(&jobs->lock);
    if (find_same(lane, job->info.kind, job->info.key) !=
        NULL) { /* asked for again meanwhile: that is the next attempt */
        stele__job_free(job);
        return;
    }
    job->due_ns = (uint64_t)stele__now_ns() + stele__job_backoff(job) * STELE__JOB_MS;
    job->info.attempt += job->counts;
    job->end = STELE__END_NOT;
    stele__free(job->error);
    job->error = NULL;
    job->delayed = job->dead = false;
    __atomic_store_n(&job->timeout_ns, STELE__NEVER, __ATOMIC_RELAXED);
    add(lane, job);
}

static stele_job_outcome outcome_of(const stele_job *job)
{
    switch (job->end) {
    case STELE__END_FINISH:
    case STELE__END_STORED:
        return STELE_JOB_DONE;
    case STELE__END_RETURN:
        return STELE_JOB_RETURNED;
    case STELE__END_FAIL:
        return STELE_JOB_DEAD;
    case STELE__END_NOT:
        break;
    }
    return STELE_JOB_LOST;
}

/* A kind that was full has room now, for any queue. Those who run a job themselves may overfill it. */
static void tell_others(stele_jobs *jobs, const stele__kind *kind)
{
    if (kind->running + 1 != kind->given.concurrency)
        return;
    for (uint32_t i = 0; i < jobs->options.workers; i++)
        (void)pthread_cond_signal(&jobs->lanes[i].work);
}

/* The lock is held, and given back meanwhile. */
static void end_run(stele__lane *lane, stele_job *job)
{
    stele_jobs *jobs = lane->jobs;
    stele__jobs_remove(&jobs->running, job);
    stele__job_count_run(job);
    job->kind->running--;
    if (jobs->closing)
        stele__memory_wake_all(jobs);
    else
        tell_others(jobs, job->kind);
    if (tries_again(job) && !jobs->closing) {
        try_again(lane, job);
        return;
    }
    if (tries_again(job))
        job->end = STELE__END_RETURN;
    (void)pthread_mutex_unlock(&jobs->lock);
    stele__job_over(job, outcome_of(job));
    (void)pthread_mutex_lock(&jobs->lock);
}

static void count_wait(stele_jobs *jobs, stele_job *job)
{
    uint64_t now = (uint64_t)stele__now_ns();
    uint64_t waited = now > job->due_ns ? now - job->due_ns : 0;
    job->info.waited_ms = waited / STELE__JOB_MS;
    jobs->stats.claimed++;
    stele__job_count_wait(job, waited);
}

void *stele__lane_work(void *arg)
{
    stele__lane *lane = arg;
    stele_jobs *jobs = lane->jobs;
    (void)pthread_setname_np(pthread_self(), "stele-job");
    (void)pthread_mutex_lock(&jobs->lock);
    for (;;) {
        uint64_t until = STELE__NEVER;
        stele_job *job = jobs->giving_up ? NULL : pick(lane, &until);
        if (job != NULL) {
            take_out(lane, job);
            count_wait(jobs, job);
            job->kind->running++;
            stele__jobs_push(&jobs->running, job);
            (void)pthread_mutex_unlock(&jobs->lock);
            stele__job_run(job);
            (void)pthread_mutex_lock(&jobs->lock);
            end_run(lane, job);
            continue;
        }
        /* What is not due before the end is not waited for; what lacks room is, as it will have some. */
        bool blocked = lane->waiting.count > 0 && jobs->running.count > 0;
        if (jobs->closing && (jobs->giving_up || !blocked))
            break;
        (void)stele__cond_wait(&lane->work, &jobs->lock, until);
    }
    jobs->threads--;
    (void)pthread_cond_broadcast(&jobs->idle);
    (void)pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

/* ---- the rest ---- */

stele_status stele__memory_cancel(stele_jobs *jobs, int64_t id, stele_error *err)
{
    stele_job *found = NULL;
    (void)pthread_mutex_lock(&jobs->lock);
    for (uint32_t i = 0; i < jobs->options.workers && found == NULL; i++) {
        stele__lane *lane = &jobs->lanes[i];
        for (stele_job *job = lane->waiting.first; job != NULL && found == NULL; job = job->next)
            if (job->info.id == id)
                found = job;
        if (found != NULL)
            take_out(lane, found);
    }
    bool runs = false;
    for (stele_job *job = jobs->running.first; job != NULL; job = job->next) {
        if (job->info.id == id) {
            __atomic_store_n(&job->stop, STELE__STOP_LOST, __ATOMIC_RELAXED);
            runs = true;
        }
    }
    (void)pthread_mutex_unlock(&jobs->lock);
    if (found != NULL)
        stele__job_over(found, STELE_JOB_LOST);
    if (found != NULL || runs)
        return STELE_OK;
    return stele__fail(err, STELE_E_NOT_FOUND, "no such job waits or runs");
}

void stele__memory_count(stele_jobs *jobs, stele_jobs_depth *ret_depth)
{
    uint64_t now = (uint64_t)stele__now_ns();
    uint64_t oldest = now;
    *ret_depth = (stele_jobs_depth){0};
    (void)pthread_mutex_lock(&jobs->lock);
    for (uint32_t i = 0; i < jobs->options.workers; i++) {
        for (const stele_job *job = jobs->lanes[i].waiting.first; job != NULL; job = job->next) {
            ret_depth->due += job->due_ns <= now;
            ret_depth->later += job->due_ns > now;
            oldest = job->due_ns < oldest ? job->due_ns : oldest;
        }
    }
    ret_depth->running = jobs->running.count;
    (void)pthread_mutex_unlock(&jobs->lock);
    ret_depth->oldest_due_ms = (int64_t)((now - oldest) / STELE__JOB_MS);
}

uint32_t stele__memory_drop(stele_jobs *jobs, stele__job_list *ret_dropped)
{
    for (uint32_t i = 0; i < jobs->options.workers; i++) {
        stele_job *job;
        while ((job = jobs->lanes[i].waiting.first) != NULL) {
            take_out(&jobs->lanes[i], job);
            stele__jobs_push(ret_dropped, job);
        }
    }
    return ret_dropped->count;
}

void stele__memory_wake_all(stele_jobs *jobs)
{
    for (uint32_t i = 0; i < jobs->options.workers; i++) {
        (void)pthread_cond_broadcast(&jobs->lanes[i].work);
        (void)pthread_cond_broadcast(&jobs->lanes[i].room);
    }
}
