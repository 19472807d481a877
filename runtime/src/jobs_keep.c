/**
 * The keeper: renews the leases of what is had here, takes back those that ran out anywhere, keeps
 * schedules, and removes rows of jobs that ended long ago.
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

#define RESCUE_MAX_MS 4000u /* between looks for leases that ran out */
#define RESCUE_ROWS 1000
#define TICK_MS 200u          /* between looks at schedules; costs nothing until one is due */
#define LATE_MS (3600 * 1000) /* a time that is later is left out */
#define PURGE_ROWS 5000
#define PURGE_MAX_MS (5 * 60 * 1000u)
#define KEY_KEEP_MS (2ull * LATE_MS) /* so that a late schedule meets the row of the early one */

typedef struct keeper {
    stele_jobs *jobs;
    uint64_t next_renew_ns;
    uint64_t next_rescue_ns;
    uint64_t next_tick_ns;
    uint64_t next_purge_ns;
    int64_t purge_from;
    bool knows_clock;
    int64_t clock_us; /* the server's, at clock_ns */
    uint64_t clock_ns;
    int64_t *ids; /* of what is renewed; tokens behind */
    size_t room;
} keeper;

static uint32_t statement_ms(const stele_jobs *jobs)
{
    return jobs->options.lease_ms / 6;
}

static uint64_t in_ms(uint64_t ms)
{
    return (uint64_t)stele__now_ns() + ms * STELE__JOB_MS;
}

/* Give or take a fifth. */
static uint64_t in_about_ms(const keeper *k, uint64_t ms)
{
    return in_ms(ms - ms / 5 + stele__jobs_random(k, 2 * (ms / 5)));
}

/* ---- leases ---- */

/* Jobs whose time is over are let go: their lease runs out, and others may try. */
static bool is_renewed(const stele_job *job, uint64_t now)
{
    return !__atomic_load_n(&job->began, __ATOMIC_RELAXED) &&
           now < __atomic_load_n(&job->timeout_ns, __ATOMIC_RELAXED) &&
           __atomic_load_n(&job->stop, __ATOMIC_RELAXED) != STELE__STOP_LOST;
}

static size_t held_count(const stele_jobs *jobs)
{
    return (size_t)jobs->ready.count + jobs->running.count + jobs->ended.count + jobs->stuck.count;
}

static bool make_room(keeper *k, size_t count)
{
    if (count <= k->room)
        return true;
    int64_t *ids = stele__realloc_array(k->ids, 2 * count, sizeof *ids);
    if (ids == NULL)
        return false;
    k->ids = ids;
    k->room = count;
    return true;
}

/* The lock is held. */
static size_t collect(keeper *k)
{
    const stele_jobs *jobs = k->jobs;
    const stele__job_list *const lists[] = {&jobs->ready, &jobs->running, &jobs->ended,
                                            &jobs->stuck};
    uint64_t now = (uint64_t)stele__now_ns();
    size_t n = 0;
    if (!make_room(k, held_count(jobs)))
        return 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const stele_job *job = lists[i]->first; job != NULL; job = job->next) {
            if (!is_renewed(job, now))
                continue;
            k->ids[n] = job->info.id;
            k->ids[k->room + n++] = job->token;
        }
    }
    return n;
}

static int64_t token_of(const keeper *k, size_t count, int64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (k->ids[i] == id)
            return k->ids[k->room + i];
    return 0;
}

static stele_job *find(const stele_jobs *jobs, int64_t id, int64_t token)
{
    const stele__job_list *const lists[] = {&jobs->ready, &jobs->running, &jobs->ended,
                                            &jobs->stuck};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (stele_job *job = lists[i]->first; job != NULL; job = job->next)
            if (job->info.id == id && job->token == token)
                return job;
    return NULL;
}

static void renewed(keeper *k, size_t count, const stele_gen_rowset *set, uint64_t sent_ns)
{
    stele_jobs *jobs = k->jobs;
    const stele_gen_job_renewed *rows = set->rows;
    uint64_t kept_ns = (uint64_t)(jobs->options.lease_ms - jobs->options.fence_ms) * STELE__JOB_MS;
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->stats.heartbeats++;
    for (size_t i = 0; i < set->count; i++) {
        stele_job *job = find(jobs, rows[i].id, token_of(k, count, rows[i].id));
        if (job == NULL)
            continue;
        if (rows[i].renewed)
            __atomic_store_n(&job->fence_ns, sent_ns + kept_ns, __ATOMIC_RELAXED);
        else if (!rows[i].held && !__atomic_load_n(&job->began, __ATOMIC_RELAXED))
            __atomic_store_n(&job->stop, STELE__STOP_LOST, __ATOMIC_RELAXED);
    }
    (void)pthread_mutex_unlock(&jobs->lock);
}

static stele_status renew(keeper *k, stele_conn *conn, size_t count, stele_error *err)
{
    stele_gen_jobs_held held = {.ids = {k->ids, NULL, count},
                                .tokens = {k->ids + k->room, NULL, count},
                                .lease_ms = k->jobs->options.lease_ms};
    const void *args[] = {&held};
    void *set = NULL;
    uint64_t sent_ns = (uint64_t)stele__now_ns();
    stele_status st = stele_gen_rows(conn, k->jobs->table->renew, args, 0, &set, err);
    if (st != STELE_OK)
        return st;
    renewed(k, count, set, sent_ns);
    stele_gen_free(set);
    return STELE_OK;
}

/* ---- chores ---- */

static stele_status rescue(keeper *k, stele_conn *conn, stele_error *err)
{
    stele_jobs *jobs = k->jobs;
    const int64_t limit = RESCUE_ROWS;
    const void *args[] = {&limit};
    stele_gen_job_rescued done;
    stele_status st = stele_gen_value(conn, jobs->table->rescue, args, 0, &done, err);
    if (st != STELE_OK)
        return st;
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->stats.rescued += (uint64_t)(done.again + done.dead);
    jobs->look |= done.again > 0;
    (void)pthread_cond_signal(&jobs->turn);
    (void)pthread_mutex_unlock(&jobs->lock);
    return STELE_OK;
}

static stele_status purge(keeper *k, stele_conn *conn, stele_error *err)
{
    stele_jobs *jobs = k->jobs;
    uint64_t keep_ms = jobs->options.keep_ms;
    stele_gen_job_purge what = {.from = k->purge_from,
                                .limit = PURGE_ROWS,
                                .keep_ms = (int64_t)keep_ms,
                                .keep_key_ms =
                                    (int64_t)(keep_ms > KEY_KEEP_MS ? keep_ms : KEY_KEEP_MS)};
    const void *args[] = {&what};
    stele_gen_job_purged done;
    stele_status st = stele_gen_value(conn, jobs->table->purge, args, 0, &done, err);
    if (st != STELE_OK)
        return st;
    bool ends = done.seen < PURGE_ROWS;
    k->purge_from = ends ? 0 : done.high;
    uint64_t pause_ms = keep_ms / 4 < PURGE_MAX_MS ? keep_ms / 4 : PURGE_MAX_MS;
    k->next_purge_ns = ends ? in_about_ms(k, pause_ms > 1000 ? pause_ms : 1000) : in_ms(10);
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->stats.purged += (uint64_t)done.gone;
    (void)pthread_mutex_unlock(&jobs->lock);
    return STELE_OK;
}

/* ---- schedules ---- */

static int64_t guessed_us(const keeper *k)
{
    return k->clock_us + (int64_t)(((uint64_t)stele__now_ns() - k->clock_ns) / 1000);
}

static stele_status ask_clock(keeper *k, stele_conn *conn, stele_error *err)
{
    stele_gen_job_clock clock;
    stele_status st = stele_gen_value(conn, k->jobs->table->clock, NULL, 0, &clock, err);
    if (st != STELE_OK)
        return st;
    k->clock_us = clock.at;
    k->clock_ns = (uint64_t)stele__now_ns();
    for (size_t i = 0; !k->knows_clock && i < k->jobs->schedule_count; i++)
        k->jobs->schedules[i].last_us = clock.at;
    k->knows_clock = true;
    return STELE_OK;
}

static bool any_due(const keeper *k)
{
    int64_t at;
    int64_t now_us = guessed_us(k);
    for (size_t i = 0; i < k->jobs->schedule_count; i++)
        if (stele__schedule_due(&k->jobs->schedules[i], now_us, &at))
            return true;
    return false;
}

/* The key holds the time, so that all who ask for it ask for one row. */
static stele_status tick(keeper *k, stele_conn *conn, stele__schedule *schedule, int64_t at,
                         stele_error *err)
{
    stele_jobs *jobs = k->jobs;
    stele__buf key;
    uint64_t count = 0;
    stele__buf_init(&key);
    stele__buf_addf(&key, "%s@%lld", schedule->name, (long long)(at / 1000));
    if (key.failed) {
        stele__buf_release(&key);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a scheduled job");
    }
    stele_gen_job_tick what = {.kind = stele_s(schedule->kind),
                               .key = stele_s(stele__buf_text(&key)),
                               .args = {schedule->args, schedule->args_len},
                               .at = at,
                               .late_ms = LATE_MS,
                               .max_attempts = schedule->max_attempts,
                               .priority = schedule->priority};
    const void *args[] = {&what};
    stele_status st = stele_gen_exec(conn, jobs->table->tick, args, 0, false, &count, err);
    stele__buf_release(&key);
    if (st != STELE_OK)
        return st;
    schedule->last_us = at;
    if (count > 0) {
        (void)pthread_mutex_lock(&jobs->lock);
        jobs->stats.put++;
        (void)pthread_mutex_unlock(&jobs->lock);
        stele_jobs_wake(jobs);
    }
    return STELE_OK;
}

static stele_status ticks(keeper *k, stele_conn *conn, stele_error *err)
{
    stele_jobs *jobs = k->jobs;
    stele_status st = ask_clock(k, conn, err);
    for (size_t i = 0; i < jobs->schedule_count && st == STELE_OK; i++) {
        int64_t at;
        if (stele__schedule_due(&jobs->schedules[i], guessed_us(k), &at))
            st = tick(k, conn, &jobs->schedules[i], at, err);
    }
    return st;
}

/* ---- the thread ---- */

typedef struct due {
    size_t renew; /* how many */
    bool rescue;
    bool tick;
    bool purge;
} due;

/* What is to be done now; the lock is held. */
static due look(keeper *k)
{
    const stele_jobs *jobs = k->jobs;
    uint64_t now = (uint64_t)stele__now_ns();
    due what = {0};
    if (now >= k->next_renew_ns) {
        what.renew = collect(k);
        k->next_renew_ns = in_ms(jobs->options.lease_ms / 3);
    }
    if (jobs->closing)
        return what;
    if (now >= k->next_rescue_ns) {
        uint32_t ms = jobs->options.lease_ms / 2;
        k->next_rescue_ns = in_about_ms(k, ms < RESCUE_MAX_MS ? ms : RESCUE_MAX_MS);
        what.rescue = true;
    }
    if (jobs->schedule_count > 0 && now >= k->next_tick_ns) {
        k->next_tick_ns = in_ms(TICK_MS);
        what.tick = !k->knows_clock || any_due(k);
    }
    what.purge = now >= k->next_purge_ns;
    return what;
}

static stele_status run(keeper *k, const due *what, stele_conn *conn, stele_error *err)
{
    stele_status st = STELE_OK;
    if (what->renew > 0)
        st = renew(k, conn, what->renew, err);
    if (st == STELE_OK && what->rescue)
        st = rescue(k, conn, err);
    if (st == STELE_OK && what->tick)
        st = ticks(k, conn, err);
    if (st == STELE_OK && what->purge)
        st = purge(k, conn, err);
    return st;
}

/* The lock is held, and given back meanwhile. */
static void keep(keeper *k, const due *what)
{
    stele_jobs *jobs = k->jobs;
    stele_error err;
    stele_error_clear(&err);
    stele_conn *conn;
    (void)pthread_mutex_unlock(&jobs->lock);
    stele_status st = stele__jobs_acquire(jobs, &jobs->keep_conn, statement_ms(jobs), &conn, &err);
    if (st == STELE_OK) {
        st = run(k, what, conn, &err);
        stele__jobs_release(jobs, &jobs->keep_conn, conn);
    }
    if (st != STELE_OK) {
        uint64_t soon =
            in_ms(jobs->options.lease_ms / 12 < 1000 ? jobs->options.lease_ms / 12 : 1000);
        if (what->renew > 0)
            k->next_renew_ns = soon;
        if (what->tick)
            k->next_tick_ns = soon;
        if (what->purge && k->next_purge_ns < soon)
            k->next_purge_ns = in_about_ms(k, 1000);
        stele__jobs_failed(jobs, &err);
    }
    (void)pthread_mutex_lock(&jobs->lock);
}

static uint64_t wait_until(const keeper *k)
{
    const stele_jobs *jobs = k->jobs;
    uint64_t until = k->next_renew_ns;
    if (jobs->closing)
        return until;
    until = k->next_rescue_ns < until ? k->next_rescue_ns : until;
    until = k->next_purge_ns < until ? k->next_purge_ns : until;
    if (jobs->schedule_count > 0 && k->next_tick_ns < until)
        until = k->next_tick_ns;
    return until;
}

static bool is_over(const stele_jobs *jobs)
{
    return jobs->closing && (jobs->giving_up || held_count(jobs) == 0);
}

void *stele__jobs_keeper(void *arg)
{
    stele_jobs *jobs = arg;
    keeper k = {.jobs = jobs};
    (void)pthread_setname_np(pthread_self(), "stele-jobs-keep");
    k.next_renew_ns = in_ms(jobs->options.lease_ms / 3);
    k.next_rescue_ns = in_ms(stele__jobs_random(&k, 500));
    k.next_purge_ns = in_ms(1000 + stele__jobs_random(&k, 5000));
    (void)pthread_mutex_lock(&jobs->lock);
    while (!is_over(jobs)) {
        due what = look(&k);
        if (what.renew > 0 || what.rescue || what.tick || what.purge)
            keep(&k, &what);
        else
            (void)stele__cond_wait(&jobs->keep, &jobs->lock, wait_until(&k));
    }
    jobs->threads--;
    (void)pthread_cond_broadcast(&jobs->idle);
    (void)pthread_mutex_unlock(&jobs->lock);
    stele__free(k.ids);
    return NULL;
}
