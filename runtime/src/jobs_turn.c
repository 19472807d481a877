/**
 * Turns: one round trip that tells the table what ended, and claims what comes next.
 *
 * Both stand in one transaction. Nothing in it waits for a row that somebody has locked, so it cannot
 * be part of a deadlock: such jobs are told again a little later.
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

#define LINGER_NS (2u * STELE__JOB_MS)  /* a job that ended waits for others so long */
#define STUCK_NS (5u * STELE__JOB_MS)   /* before a locked row is tried again */
#define ERROR_NS (100u * STELE__JOB_MS) /* after a turn that failed; doubles */
#define ERROR_MAX_NS (2000ull * STELE__JOB_MS)
#define WHOLE_NS (1000ull * STELE__JOB_MS)
#define TURN_MS 5000u                 /* for a connection, and for its calls */
#define FAILS_MAX 64u                 /* statements of their own in one turn */
#define HOT_NS (100u * STELE__JOB_MS) /* after jobs came it looks often: a doorbell may be late */
#define HOT_LOOK_NS (5u * STELE__JOB_MS)

/* What one turn does. Arrays have room for options.batch and more. */
typedef struct turn {
    stele_jobs *jobs;
    bool claims;
    stele_str *kinds;
    int64_t *rooms;
    int32_t *priorities;
    stele_ts *froms;
    size_t kind_count;
    uint32_t room;
    stele__job_list telling;
    int64_t *ids; /* of those that are told in one statement, tokens and gens behind */
    size_t finish_count;
    size_t return_count;
    stele_gen_rowset *finished;
    stele_gen_rowset *failed[FAILS_MAX];
    stele_gen_rowset *claimed;
    uint64_t sent_ns;
    uint64_t next_look_ns;
    uint64_t hold_ns; /* nothing before, after an error */
    uint64_t stuck_ns;
    uint64_t error_ns;
    uint64_t hot_until_ns;
    uint64_t whole_ns; /* from then on claims begin at the beginning once */
} turn;

/* ---- what is due ---- */

static uint32_t kind_room(const stele__kind *kind)
{
    return kind->given.concurrency > kind->held ? kind->given.concurrency - kind->held : 0;
}

/* How many jobs may be claimed; the lock is held. */
static uint32_t room_of(const stele_jobs *jobs)
{
    uint32_t batch = jobs->options.batch;
    /* Who asks for more than can run wants the next batch to be there when this one is done. */
    uint32_t most = batch > jobs->options.workers ? 2 * batch : jobs->options.workers;
    uint32_t held = jobs->ready.count + jobs->running.count;
    uint32_t room = held < most ? most - held : 0;
    uint64_t kinds = 0;
    for (size_t i = 0; i < jobs->kind_count; i++)
        kinds += kind_room(&jobs->kinds[i]);
    room = room < batch ? room : batch;
    return room < kinds ? room : (uint32_t)kinds;
}

static bool tells(const stele_jobs *jobs, uint64_t now)
{
    const stele__job_list *ended = &jobs->ended;
    if (ended->count == 0)
        return false;
    bool starving = jobs->more && jobs->ready.count == 0 && jobs->idle_workers > 0;
    bool all = jobs->ready.count == 0 && jobs->running.count == 0;
    return jobs->closing || starving || all || now - ended->first->ended_ns >= LINGER_NS;
}

static bool looks(const turn *t, uint64_t now)
{
    const stele_jobs *jobs = t->jobs;
    uint32_t room = room_of(jobs);
    if (jobs->closing || jobs->kind_count == 0 || room == 0)
        return false;
    if (jobs->look || now >= t->next_look_ns || now >= jobs->retry_ns)
        return true;
    /* Quick handlers work a batch off first, so that the next one is a whole one. */
    bool slow = now - t->sent_ns >= LINGER_NS;
    uint32_t batch = jobs->options.batch;
    return jobs->more &&
           (jobs->ready.count == 0 || room >= batch || (slow && room >= (batch + 1) / 2));
}

static uint64_t wait_until(const turn *t)
{
    const stele_jobs *jobs = t->jobs;
    uint64_t until = STELE__NEVER;
    if (!jobs->closing && jobs->kind_count > 0 && room_of(jobs) > 0)
        until = t->next_look_ns < jobs->retry_ns ? t->next_look_ns : jobs->retry_ns;
    if (jobs->ended.count > 0 && jobs->ended.first->ended_ns + LINGER_NS < until)
        until = jobs->ended.first->ended_ns + LINGER_NS;
    if (jobs->stuck.count > 0 && t->stuck_ns < until)
        until = t->stuck_ns;
    return until > t->hold_ns ? until : t->hold_ns;
}

/* Rooms by kind, each turn beginning with another one. */
static void share_room(turn *t)
{
    stele_jobs *jobs = t->jobs;
    t->kind_count = 0;
    t->room = room_of(jobs);
    size_t first = jobs->stats.claims % jobs->kind_count;
    uint64_t now = (uint64_t)stele__now_ns();
    bool whole = now >= t->whole_ns;
    if (whole)
        t->whole_ns = now + WHOLE_NS;
    for (size_t i = 0; i < jobs->kind_count; i++) {
        stele__kind *kind = &jobs->kinds[(first + i) % jobs->kind_count];
        uint32_t room = kind_room(kind);
        kind->asked = room < t->room ? room : t->room;
        kind->taken = 0;
        if (room == 0)
            continue;
        t->kinds[t->kind_count] = stele_s(kind->given.name);
        if (whole)
            kind->priority = STELE__WHOLE;
        kind->last_priority = STELE__WHOLE;
        t->priorities[t->kind_count] = kind->priority;
        t->froms[t->kind_count] = kind->from;
        t->rooms[t->kind_count++] = kind->asked;
    }
}

/* Whether the table may hold more than was claimed; the lock is held. */
static bool leaves_more(const turn *t, size_t count)
{
    const stele_jobs *jobs = t->jobs;
    bool more = count >= t->room;
    for (size_t i = 0; i < jobs->kind_count; i++)
        more |= jobs->kinds[i].taken >= jobs->kinds[i].asked;
    return more;
}

/* ---- the round trip ---- */

static void take_ended(turn *t)
{
    stele_jobs *jobs = t->jobs;
    uint32_t fails = 0;
    for (stele_job *job = jobs->ended.first, *next; job != NULL; job = next) {
        next = job->next;
        if (job->end == STELE__END_FAIL && fails++ >= FAILS_MAX)
            continue;
        stele__jobs_remove(&jobs->ended, job);
        stele__jobs_push(&t->telling, job);
    }
    jobs->telling = t->telling.count;
}

static stele_status queue_held(turn *t, stele_pipeline *pipeline, stele__job_end end,
                               const stele_gen_stmt *stmt, stele_gen_rowset **rows,
                               stele_error *err)
{
    size_t n = 0;
    size_t most = t->telling.count;
    for (const stele_job *job = t->telling.first; job != NULL; job = job->next) {
        if (job->end != end)
            continue;
        t->ids[n] = job->info.id;
        t->ids[most + n] = job->token;
        t->ids[2 * most + n++] = job->info.gen;
    }
    if (n == 0)
        return STELE_OK;
    stele_gen_jobs_held held = {.ids = {t->ids, NULL, n},
                                .tokens = {t->ids + most, NULL, n},
                                .gens = {t->ids + 2 * most, NULL, n}};
    const void *args[] = {&held};
    stele_gen_slot slot = {.kind = rows != NULL ? STELE_GEN_SLOT_LIST : STELE_GEN_SLOT_EXEC,
                           .out = rows};
    return stele_gen_queue(pipeline, stmt, args, 0, &slot, err);
}

static stele_status queue_fails(turn *t, stele_pipeline *pipeline, stele_error *err)
{
    stele_status st = STELE_OK;
    size_t n = 0;
    for (stele_job *job = t->telling.first; job != NULL && st == STELE_OK; job = job->next) {
        if (job->end != STELE__END_FAIL)
            continue;
        if (!job->delayed)
            stele_job_delay(job, stele__job_backoff(job));
        stele_str message = {NULL, 0};
        if (job->error != NULL)
            message = stele_s(job->error->message);
        stele_gen_job_failed what = {.id = job->info.id,
                                     .token = job->token,
                                     .gen = job->info.gen,
                                     .delay_ms = (int64_t)job->delay_ms,
                                     .counts = job->counts,
                                     .dead = job->dead,
                                     .message = message};
        const void *args[] = {&what};
        stele_gen_slot slot = {.kind = STELE_GEN_SLOT_LIST, .out = &t->failed[n++]};
        st = stele_gen_queue(pipeline, t->jobs->table->fail, args, 0, &slot, err);
    }
    return st;
}

static stele_status queue_claim(turn *t, stele_pipeline *pipeline, stele_error *err)
{
    stele_gen_job_claim what = {.kinds = {t->kinds, NULL, t->kind_count},
                                .rooms = {t->rooms, NULL, t->kind_count},
                                .priorities = {t->priorities, NULL, t->kind_count},
                                .froms = {t->froms, NULL, t->kind_count},
                                .most = t->room,
                                .lease_ms = t->jobs->options.lease_ms};
    const void *args[] = {&what};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_LIST, .out = &t->claimed};
    return stele_gen_queue(pipeline, t->jobs->table->claim, args, 0, &slot, err);
}

static stele_status queue_all(turn *t, stele_pipeline *pipeline, stele_error *err)
{
    const stele_jobs_table *table = t->jobs->table;
    stele_status st = queue_held(t, pipeline, STELE__END_FINISH, table->finish, &t->finished, err);
    if (st == STELE_OK)
        st = queue_held(t, pipeline, STELE__END_RETURN, table->give_back, NULL, err);
    if (st == STELE_OK)
        st = queue_fails(t, pipeline, err);
    if (st == STELE_OK && t->claims)
        st = queue_claim(t, pipeline, err);
    return st;
}

static stele_status go(turn *t, stele_error *err)
{
    stele_conn *conn;
    stele_pipeline *pipeline = NULL;
    stele_status st = stele__jobs_acquire(t->jobs, &t->jobs->turn_conn, TURN_MS, &conn, err);
    if (st != STELE_OK)
        return st;
    t->ids = stele__alloc((3 * (size_t)t->telling.count + 1) * sizeof *t->ids);
    if (t->ids == NULL)
        st = stele__fail(err, STELE_E_NOMEM, "out of memory for jobs that ended");
    if (st == STELE_OK)
        st = stele_pipeline_open(conn, NULL, &pipeline, err);
    t->sent_ns = (uint64_t)stele__now_ns();
    if (st == STELE_OK)
        st = queue_all(t, pipeline, err);
    if (st == STELE_OK)
        st = stele_pipeline_sync(pipeline, err);
    stele_pipeline_close(pipeline);
    stele__free(t->ids);
    stele__jobs_release(t->jobs, &t->jobs->turn_conn, conn);
    return st;
}

/* ---- what came of it ---- */

static const stele_gen_job_ended *find_ended(const stele_gen_rowset *set, size_t *at, int64_t id)
{
    const stele_gen_job_ended *rows = set != NULL ? set->rows : NULL;
    for (size_t i = 0; rows != NULL && i < set->count; i++) { /* most often it is the next one */
        size_t place = (*at + i) % set->count;
        if (rows[place].id == id) {
            *at = place + 1;
            return &rows[place];
        }
    }
    return NULL;
}

static stele_job_outcome outcome_of(const stele_job *job, const stele_gen_job_ended *ended)
{
    if (job->end == STELE__END_RETURN)
        return STELE_JOB_RETURNED;
    if (ended == NULL || !ended->ended)
        return job->unsure ? STELE_JOB_DONE : STELE_JOB_LOST;
    if (job->end == STELE__END_FINISH)
        return STELE_JOB_DONE;
    return ended->again ? STELE_JOB_RETRY : STELE_JOB_DEAD;
}

/* One that is enqueued again is there at once, one that failed after its delay. */
static uint64_t again_at(const stele_job *job, const stele_gen_job_ended *ended)
{
    if (ended == NULL || !ended->again)
        return STELE__NEVER;
    uint64_t delay_ms = job->end == STELE__END_FAIL ? job->delay_ms + 1 : 0;
    return (uint64_t)stele__now_ns() + delay_ms * STELE__JOB_MS;
}

/* Counts and lets go of what was told, keeps what was not. */
static void told(turn *t)
{
    stele_jobs *jobs = t->jobs;
    stele__job_list over = {0};
    stele__job_list stuck = {0};
    uint64_t again_ns = STELE__NEVER;
    size_t at = 0;
    size_t fails = 0;
    stele_job *job;
    while ((job = stele__jobs_pop(&t->telling)) != NULL) {
        const stele_gen_job_ended *ended = NULL;
        size_t first = 0;
        if (job->end == STELE__END_FINISH)
            ended = find_ended(t->finished, &at, job->info.id);
        else if (job->end == STELE__END_FAIL)
            ended = find_ended(t->failed[fails++], &first, job->info.id);
        uint64_t at_ns = again_at(job, ended);
        again_ns = at_ns < again_ns ? at_ns : again_ns;
        job->outcome = outcome_of(job, ended);
        stele__jobs_push(ended != NULL && ended->held ? &stuck : &over, job);
    }
    if (stuck.count > 0)
        t->stuck_ns = (uint64_t)stele__now_ns() + STUCK_NS;
    (void)pthread_mutex_lock(&jobs->lock);
    while ((job = stele__jobs_pop(&stuck)) != NULL)
        stele__jobs_push(&jobs->stuck, job);
    jobs->retry_ns = again_ns < jobs->retry_ns ? again_ns : jobs->retry_ns;
    (void)pthread_mutex_unlock(&jobs->lock);
    if (over.count > 0)
        stele__jobs_over(jobs, &over);
}

static stele_job *job_of(turn *t, const stele_gen_job_claimed *row)
{
    stele_jobs *jobs = t->jobs;
    stele__kind *kind = stele__kind_find(jobs, row->kind);
    stele_job_info info = {.id = row->id,
                           .key = row->key,
                           .args = row->args,
                           .gen = row->gen,
                           .attempt = (uint32_t)row->attempt,
                           .max_attempts = (uint32_t)row->max_attempts,
                           .priority = row->priority,
                           .durable = true,
                           .waited_ms = (uint64_t)row->waited_ms};
    stele_job *job = kind != NULL ? stele__job_new(jobs, kind, &info) : NULL;
    if (job == NULL)
        return NULL;
    job->token = row->token;
    if (row->priority < kind->last_priority ||
        (row->priority == kind->last_priority && row->run_at > kind->last)) {
        kind->last_priority = row->priority;
        kind->last = row->run_at;
    }
    /* The server began the lease after we had asked for it. */
    job->fence_ns =
        t->sent_ns + (uint64_t)(jobs->options.lease_ms - jobs->options.fence_ms) * STELE__JOB_MS;
    return job;
}

/*
 * Where the next claims begin. What was claimed leaves entries in the index that cannot be removed while
 * somebody's snapshot is older, and looking each of them up would take longer with every claim. What is
 * due since earlier, and was locked or has come back, is found by the next whole claim: after a second,
 * or at once when a claim finds no more. True for that. The lock is held.
 */
static bool move_on(stele_jobs *jobs)
{
    bool again = false;
    for (size_t i = 0; i < jobs->kind_count; i++) {
        stele__kind *kind = &jobs->kinds[i];
        if (kind->asked == 0)
            continue;
        again |= kind->taken < kind->asked && kind->priority != STELE__WHOLE;
        kind->priority = kind->taken < kind->asked ? STELE__WHOLE : kind->last_priority;
        kind->from = kind->last;
    }
    return again;
}

/* Whom there is no memory for is left to the end of its lease. */
static void took(turn *t)
{
    stele_jobs *jobs = t->jobs;
    stele__job_list taken = {0};
    const stele_gen_job_claimed *rows = t->claimed != NULL ? t->claimed->rows : NULL;
    size_t count = t->claimed != NULL ? t->claimed->count : 0;
    uint64_t now = (uint64_t)stele__now_ns();
    for (size_t i = 0; i < count; i++) {
        stele_job *job = job_of(t, &rows[i]);
        if (job != NULL)
            stele__jobs_push(&taken, job);
    }
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->stats.claims++;
    jobs->stats.claimed += taken.count;
    stele_job *job;
    while ((job = stele__jobs_pop(&taken)) != NULL) {
        job->taken_ns = now;
        job->kind->taken++;
        job->kind->held += !jobs->closing;
        if (jobs->closing)
            job->end = STELE__END_RETURN;
        stele__jobs_push(jobs->closing ? &jobs->ended : &jobs->ready, job);
    }
    jobs->more = leaves_more(t, count);
    jobs->look |= move_on(jobs);
    if (count > 0)
        t->hot_until_ns = now + HOT_NS;
    if (count > 0 && count < jobs->options.workers)
        for (size_t i = 0; i < count; i++)
            (void)pthread_cond_signal(&jobs->work);
    else if (count > 0)
        (void)pthread_cond_broadcast(&jobs->work);
    (void)pthread_mutex_unlock(&jobs->lock);
    uint64_t poll_ns = (uint64_t)jobs->options.poll_ms * STELE__JOB_MS;
    t->next_look_ns = now + poll_ns - poll_ns / 5 + stele__jobs_random(t, 2 * (poll_ns / 5));
    if (jobs->subscription != NULL && now < t->hot_until_ns && HOT_LOOK_NS < poll_ns)
        t->next_look_ns = now + HOT_LOOK_NS;
}

static void free_answers(turn *t)
{
    stele_gen_free(t->finished);
    stele_gen_free(t->claimed);
    for (size_t i = 0; i < FAILS_MAX; i++) {
        stele_gen_free(t->failed[i]);
        t->failed[i] = NULL;
    }
    t->finished = t->claimed = NULL;
}

/* Everything is to be told once more: by token, so that no harm is done if it was heard. */
static void failed(turn *t, const stele_error *err)
{
    stele_jobs *jobs = t->jobs;
    bool unsure = err->outcome_unknown || err->status == STELE_E_UNKNOWN;
    (void)pthread_mutex_lock(&jobs->lock);
    stele_job *job;
    while ((job = stele__jobs_pop(&t->telling)) != NULL) {
        job->unsure |= unsure;
        stele__jobs_push(&jobs->ended, job);
    }
    jobs->look |= t->claims;
    (void)pthread_mutex_unlock(&jobs->lock);
    t->error_ns = t->error_ns == 0 ? ERROR_NS : t->error_ns * 2;
    if (t->error_ns > ERROR_MAX_NS)
        t->error_ns = ERROR_MAX_NS;
    t->hold_ns = (uint64_t)stele__now_ns() + t->error_ns - stele__jobs_random(t, t->error_ns / 2);
    stele__jobs_failed(jobs, err);
}

/* The lock is held, and given back meanwhile. */
static void take_turn(turn *t, bool claims)
{
    stele_jobs *jobs = t->jobs;
    stele_error err;
    stele_error_clear(&err);
    t->claims = claims;
    if (claims) {
        share_room(t);
        jobs->look = false;
        jobs->retry_ns = STELE__NEVER;
    }
    take_ended(t);
    (void)pthread_mutex_unlock(&jobs->lock);
    stele_status st = go(t, &err);
    if (st == STELE_OK) {
        t->error_ns = 0;
        told(t);
        if (claims)
            took(t);
    } else {
        failed(t, &err);
    }
    free_answers(t);
    (void)pthread_mutex_lock(&jobs->lock);
    jobs->telling = 0;
    (void)pthread_cond_broadcast(&jobs->idle);
}

static void unstick(turn *t)
{
    stele_job *job;
    while ((job = stele__jobs_pop(&t->jobs->stuck)) != NULL) {
        job->ended_ns = 0; /* due at once */
        stele__jobs_push(&t->jobs->ended, job);
    }
}

static bool is_over(const stele_jobs *jobs)
{
    if (!jobs->closing)
        return false;
    return jobs->giving_up || (jobs->ready.count == 0 && jobs->running.count == 0 &&
                               jobs->ended.count == 0 && jobs->stuck.count == 0);
}

void *stele__jobs_turns(void *arg)
{
    stele_jobs *jobs = arg;
    stele_str kinds[STELE__KINDS_MAX];
    int64_t rooms[STELE__KINDS_MAX];
    int32_t priorities[STELE__KINDS_MAX];
    stele_ts froms[STELE__KINDS_MAX];
    turn t = {
        .jobs = jobs, .kinds = kinds, .rooms = rooms, .priorities = priorities, .froms = froms};
    (void)pthread_setname_np(pthread_self(), "stele-jobs");
    (void)pthread_mutex_lock(&jobs->lock);
    while (!is_over(jobs)) {
        uint64_t now = (uint64_t)stele__now_ns();
        if (jobs->stuck.count > 0 && now >= t.stuck_ns)
            unstick(&t);
        bool tell = now >= t.hold_ns && tells(jobs, now);
        bool claims = now >= t.hold_ns && looks(&t, now);
        if (tell || claims)
            take_turn(&t, claims);
        else
            (void)stele__cond_wait(&jobs->turn, &jobs->lock, wait_until(&t));
    }
    jobs->threads--;
    (void)pthread_cond_broadcast(&jobs->idle);
    (void)pthread_mutex_unlock(&jobs->lock);
    return NULL;
}
