/**
 * What the threads of the workers share: lists of jobs, waiting, leases, counting.
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

/* ---- lists ---- */

void stele__jobs_push(stele__job_list *list, stele_job *job)
{
    job->next = NULL;
    job->prev = list->last;
    if (list->last != NULL)
        list->last->next = job;
    else
        list->first = job;
    list->last = job;
    list->count++;
}

void stele__jobs_remove(stele__job_list *list, stele_job *job)
{
    if (job->prev != NULL)
        job->prev->next = job->next;
    else
        list->first = job->next;
    if (job->next != NULL)
        job->next->prev = job->prev;
    else
        list->last = job->prev;
    job->next = job->prev = NULL;
    list->count--;
}

stele_job *stele__jobs_pop(stele__job_list *list)
{
    stele_job *job = list->first;
    if (job != NULL)
        stele__jobs_remove(list, job);
    return job;
}

/* ---- jobs ---- */

static stele_str copy_text(char **at, stele_str text)
{
    stele_str copy = {NULL, 0};
    if (text.data == NULL)
        return copy;
    memcpy(*at, text.data, text.len);
    (*at)[text.len] = '\0';
    copy = (stele_str){*at, text.len};
    *at += text.len + 1;
    return copy;
}

stele_job *stele__job_new(stele_jobs *jobs, stele__kind *kind, const stele_job_info *info)
{
    size_t texts = info->key.len + info->args.len + 2;
    stele_job *job = stele__calloc(1, sizeof *job + texts);
    if (job == NULL)
        return NULL;
    char *at = (char *)(job + 1);
    job->info = *info;
    job->info.kind = stele_s(kind->given.name);
    job->info.key = copy_text(&at, info->key);
    job->info.args = copy_text(&at, info->args);
    job->jobs = jobs;
    job->kind = kind;
    job->fence_ns = STELE__NEVER;
    job->timeout_ns = STELE__NEVER;
    return job;
}

stele__kind *stele__kind_find(const stele_jobs *jobs, stele_str name)
{
    for (size_t i = 0; i < jobs->kind_count; i++)
        if (stele_str_eq(stele_s(jobs->kinds[i].given.name), name))
            return &jobs->kinds[i];
    return NULL;
}

static void count_outcome(stele_job_stats *stats, stele_job_outcome outcome)
{
    switch (outcome) {
    case STELE_JOB_DONE:
        stats->done++;
        break;
    case STELE_JOB_RETRY:
        stats->retried++;
        break;
    case STELE_JOB_DEAD:
        stats->dead++;
        break;
    case STELE_JOB_RETURNED:
        stats->returned++;
        break;
    case STELE_JOB_LOST:
        stats->lost++;
        break;
    }
}

static void tell_hook(const stele_job *job, stele_job_outcome outcome)
{
    const stele_jobs_options *options = &job->jobs->options;
    if (options->on_end != NULL)
        options->on_end(&job->info, outcome, job->error, options->user);
}

void stele__job_free(stele_job *job)
{
    stele__free(job->error);
    stele__free(job);
}

void stele__job_tell(stele_job *job, stele_job_outcome outcome)
{
    stele_jobs *jobs = job->jobs;
    (void)pthread_mutex_lock(&jobs->lock);
    count_outcome(&jobs->stats, outcome);
    (void)pthread_mutex_unlock(&jobs->lock);
    tell_hook(job, outcome);
}

void stele__job_over(stele_job *job, stele_job_outcome outcome)
{
    stele__job_tell(job, outcome);
    stele__job_free(job);
}

void stele__jobs_over(stele_jobs *jobs, stele__job_list *list)
{
    stele_job *job;
    (void)pthread_mutex_lock(&jobs->lock);
    for (job = list->first; job != NULL; job = job->next)
        count_outcome(&jobs->stats, job->outcome);
    (void)pthread_mutex_unlock(&jobs->lock);
    while ((job = stele__jobs_pop(list)) != NULL) {
        tell_hook(job, job->outcome);
        stele__job_free(job);
    }
}

uint64_t stele__jobs_random(const void *seed, uint64_t below)
{
    uint64_t seeds[] = {(uint64_t)stele__now_ns(), (uint64_t)(uintptr_t)seed,
                        (uint64_t)(uintptr_t)pthread_self()};
    return stele__hash64(0, seeds, sizeof seeds) % (below > 0 ? below : 1);
}

/* ---- statements ---- */

stele_status stele__jobs_acquire(stele_jobs *jobs, stele_conn **place, uint32_t deadline_ms,
                                 stele_conn **ret_conn, stele_error *err)
{
    stele_conn *conn;
    stele_status st = stele_db_acquire_at(jobs->db, deadline_ms, __FILE__, __LINE__, &conn, err);
    if (st != STELE_OK)
        return st;
    stele_conn_set_deadline(conn, deadline_ms);
    stele__conn_heed(conn, &jobs->cut);
    (void)pthread_mutex_lock(&jobs->lock);
    *place = conn;
    (void)pthread_mutex_unlock(&jobs->lock);
    *ret_conn = conn;
    return STELE_OK;
}

void stele__jobs_release(stele_jobs *jobs, stele_conn **place, stele_conn *conn)
{
    (void)pthread_mutex_lock(&jobs->lock);
    *place = NULL;
    (void)pthread_mutex_unlock(&jobs->lock);
    stele__conn_heed(conn, NULL);
    stele_conn_release(conn);
}

void stele__jobs_failed(stele_jobs *jobs, const stele_error *err)
{
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->stats.errors++;
    (void)pthread_mutex_unlock(&jobs->lock);
    if (jobs->options.on_error != NULL)
        jobs->options.on_error(err, jobs->options.user);
}
