#define _GNU_SOURCE
#include <time.h>

#include <stele/json.h>

#include "summaries.h"

#include "sessions.gen.h"
#include "sessions_queue.h"

#include "banned.h"

/*
 * Summaries as jobs. A queue in memory and one in the table run the same handler: it reads, has the
 * summarizer work without a connection, and stores the result in the transaction that ends the job.
 */

enum { DEFAULT_WORKERS = 3, DEFAULT_QUEUE = 100, DEFAULT_TIMEOUT_MS = 60000 };

/* How long a process that died keeps its jobs from others; one that lives renews it in time. */
enum { LEASE_MS = 10000 };

/* Who waits for room looks that often whether the store is being closed. */
enum { ROOM_MS = 200 };

/* True in a caller that puts a job, and does it when the queue is full. */
static _Thread_local bool putting;

static const char job_kind[] = "summary";

/* ---- what a job is about ---- */

/* FNV-1a, of what was hashed before and a text with its length. */
static uint64_t hash_text(uint64_t hash, stele_str text)
{
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * UINT64_C(1099511628211);
    for (size_t len = text.len, i = 0; i < sizeof len; i++, len >>= 8)
        hash = (hash ^ (len & 0xff)) * UINT64_C(1099511628211);
    return hash;
}

/*
 * What makes two jobs one. The parts may come to far more than a job's key holds, so it is their hash,
 * of 128 bits. Forced jobs are others than those that the summarizer decides on.
 */
static void job_key(const stele_session_key *key, stele_str filter_key, bool force,
                    char ret_key[34])
{
    static const char digits[] = "0123456789abcdef";
    const uint64_t seeds[2] = {UINT64_C(14695981039346656037), UINT64_C(7809847782465536322)};
    for (size_t half = 0; half < 2; half++) {
        uint64_t hash = hash_text(seeds[half], key->app_name);
        hash = hash_text(hash, key->user_id);
        hash = hash_text(hash, key->session_id);
        hash = hash_text(hash, filter_key);
        for (size_t i = 0; i < 16; i++, hash >>= 4)
            ret_key[half * 16 + i] = digits[hash & 0xf];
    }
    ret_key[32] = force ? '!' : '\0';
    ret_key[33] = '\0';
}

static void job_args(const stele_session_key *key, stele_str filter_key, bool force,
                     stele__store_text *args)
{
    stele__store_adds(args, "{\"app_name\":");
    stele__store_add_json(args, key->app_name);
    stele__store_adds(args, ",\"user_id\":");
    stele__store_add_json(args, key->user_id);
    stele__store_adds(args, ",\"session_id\":");
    stele__store_add_json(args, key->session_id);
    stele__store_adds(args, ",\"filter_key\":");
    stele__store_add_json(args, filter_key);
    stele__store_adds(args, force ? ",\"force\":true}" : ",\"force\":false}");
}

/* The same, read. The texts are those of `root`. */
typedef struct job_subject {
    json_t *root;
    stele_session_key key;
    stele_str filter_key;
    bool force;
} job_subject;

static stele_str text_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return (stele_str){json_string_value(value), json_string_length(value)};
}

static stele_status read_subject(stele_str args, job_subject *ret_subject, stele_error *err)
{
    json_t *root = NULL;
    stele_status st = stele_json_load(args, &root, err);
    if (st != STELE_OK)
        return st;
    job_subject subject = {
        root,
        {text_at(root, "app_name"), text_at(root, "user_id"), text_at(root, "session_id")},
        text_at(root, "filter_key"),
        json_is_true(json_object_get(root, "force"))};
    if (stele__sessions_check_key(&subject.key, err) != STELE_OK) {
        json_decref(root);
        return STELE_ROLLBACK; /* no attempt will make it any better */
    }
    *ret_subject = subject;
    return STELE_OK;
}

/* ---- doing it ---- */

/* Who waits for a job, and for how long. */
typedef struct patience {
    stele_sessions *store;
    const stele_job *job;
    bool of_caller; /* closing waits until callers have left, so that they leave at once */
} patience;

static bool job_alive(void *user)
{
    const patience *have = user;
    return stele_job_alive(have->job) &&
           (!have->of_caller || stele__summary_store_open(have->store));
}

/*
 * A store that is closing lets nobody in, but stores what is queued, or tells what is lost, before it
 * ends the workers: who is not in can only look whether that is done.
 */
static void wait_for_closing(const stele_sessions *store)
{
    const struct timespec moment = {0, 2000000};
    while (store->queue != NULL && atomic_load(&store->queue->waiting) > 0 &&
           !atomic_load(&store->summaries->stopping))
        (void)nanosleep(&moment, NULL); /* interrupted or not, it looks again */
}

/* What the session has queued is stored first. */
static stele_status settle(const stele__summary_work *work, stele_error *err)
{
    if (stele__sessions_enter(work->store, NULL) != STELE_OK) {
        wait_for_closing(work->store);
        return STELE_OK;
    }
    stele_status st = stele__queue_settle(work->store, work->key, err);
    stele__sessions_leave(work->store);
    return st;
}

static stele_status read_for_job(stele__summary_work *work, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = NULL;
    stele_status st = settle(work, err);
    if (st == STELE_OK)
        st = stele_db_acquire(work->store->db, &conn, err);
    return st == STELE_OK ? stele__summary_read(work, conn, err) : st;
}

static stele_status work_on(stele__summary_work *work, stele_job *job, stele_error *err)
{
    bool any = false;
    stele_status st = read_for_job(work, err);
    if (st == STELE_E_NOT_FOUND)
        return STELE_OK; /* deleted or expired meanwhile: there is nothing to summarize */
    if (st == STELE_OK)
        st = stele__summary_make(work, &any, err);
    if (st != STELE_OK || !any)
        return st;
    stele_conn *conn = NULL; /* of the workers, who release it */
    st = stele_job_begin(job, &conn, err);
    return st == STELE_OK ? stele__summary_write(work, conn, err) : st;
}

static stele_status summarize_subject(stele_sessions *store, const job_subject *subject,
                                      stele_job *job, stele_error *err)
{
    stele__summary_work work;
    stele_str targets[2];
    patience have = {store, job, putting};
    size_t count = stele__summary_targets(&store->summaries->policy, subject->filter_key, targets);
    stele__summary_work_init(&work, store, &subject->key, targets, count, subject->force);
    work.run.deadline_ns =
        stele__summary_now_ns() + (int64_t)store->summaries->timeout_ms * 1000000;
    work.run.alive = job_alive;
    work.run.user = &have;
    stele_status st = count > 0 ? work_on(&work, job, err) : STELE_OK;
    stele__summary_work_release(&work);
    return st;
}

static stele_status run_job(stele_job *job, void *user, stele_error *err)
{
    stele_sessions *store = user;
    job_subject subject;
    stele_status st = read_subject(stele_job_get(job)->args, &subject, err);
    if (st != STELE_OK)
        return st;
    st = summarize_subject(store, &subject, job, err);
    if (st < STELE_OK) {
        (void)atomic_fetch_add(&store->summaries->failures, 1);
        if (store->on_error != NULL)
            store->on_error(&subject.key, err, store->on_error_user);
    }
    json_decref(subject.root);
    return st;
}

/* ---- enqueuing ---- */

/* A job to be put; zeroed memory is one that is not wanted. */
typedef struct request {
    bool wanted;
    char name[34];
    stele__store_text args;
    stele_job_input job;
} request;

/* Fills a request that stays where it is, and is released; not wanted when no key would be renewed. */
static stele_status make_request(const stele_sessions *store, const stele_session_key *key,
                                 stele_str filter_key, bool force, request *req, stele_error *err)
{
    stele_str targets[2];
    if (stele__summary_targets(&store->summaries->policy, filter_key, targets) == 0)
        return STELE_OK;
    job_key(key, filter_key, force, req->name);
    job_args(key, filter_key, force, &req->args);
    if (req->args.failed)
        return stele__store_no_memory(err);
    req->job.kind = stele_s(job_kind);
    req->job.key = stele_s(req->name);
    req->job.args = (stele_str){req->args.data, req->args.len};
    req->wanted = true;
    return STELE_OK;
}

static void release_request(request *req)
{
    stele__store_text_free(&req->args);
}

/* Into the queue in memory; not longer than closing may have to wait. */
static stele_status put_here(stele_sessions *store, const request *req, stele_error *err)
{
    bool before = putting;
    stele_status st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    putting = true;
    st = stele_jobs_put(store->summaries->jobs, NULL, &req->job, NULL, err);
    putting = before;
    stele__sessions_leave(store);
    return st;
}

/* Into the table after what the session has queued: a job that finds nothing is done for good. */
static stele_status put(stele_sessions *store, const stele_session_key *key, const request *req,
                        stele_error *err)
{
    stele_conn *conn = NULL;
    stele_status st;
    if (store->summaries->durable) {
        st = stele__sessions_begin_after(store, key, &conn, err);
        if (st != STELE_OK)
            return st;
        st = stele_jobs_put(store->summaries->jobs, conn, &req->job, NULL, err);
        return stele__sessions_end(store, conn, st);
    }
    int64_t until = stele__summary_now_ns() + (int64_t)store->summaries->timeout_ms * 1000000;
    do {
        st = put_here(store, req, err);
    } while (st == STELE_E_TIMEOUT && store->summaries->blocks && stele__summary_now_ns() < until);
    return st;
}

stele_status stele_sessions_enqueue_summary(stele_sessions *store, const stele_session_key *key,
                                            const char *filter_key, bool force, stele_error *err)
{
    request req = {0};
    stele_status st = stele__sessions_check_key(key, err);
    if (st != STELE_OK || store->summaries == NULL)
        return st;
    st = make_request(store, key, stele_s(filter_key != NULL ? filter_key : ""), force, &req, err);
    if (st == STELE_OK && req.wanted)
        st = put(store, key, &req, err);
    release_request(&req);
    return st;
}

/* ---- with appends ---- */

/* A request for what an event belongs to. */
static stele_status request_of(const stele_sessions *store, const stele_session_key *key,
                               stele_str event, request *req, stele_error *err)
{
    json_t *root = NULL;
    stele_status st = stele_json_load(event, &root, err);
    if (st == STELE_OK)
        st = make_request(store, key, stele__summary_event_key(root), false, req, err);
    json_decref(root);
    return st;
}

bool stele__summaries_ride(const stele_sessions *store)
{
    return store->summaries != NULL && store->summaries->on_append && store->summaries->durable;
}

stele_status stele__summaries_queue(const stele_sessions *store, const stele_session_key *key,
                                    stele_str event, stele_pipeline *pipeline, stele_error *err)
{
    request req = {0};
    if (!stele__summaries_ride(store))
        return STELE_OK;
    stele_status st = request_of(store, key, event, &req, err);
    if (st == STELE_OK && req.wanted)
        st = stele_jobs_put_queue(store->summaries->jobs, pipeline, &req.job, NULL, err);
    release_request(&req);
    return st;
}

void stele__summaries_appended(stele_sessions *store, const stele_session_key *key, stele_str event)
{
    request req = {0};
    stele_error err;
    if (store->summaries == NULL || !store->summaries->on_append)
        return;
    if (store->summaries->durable) {
        if (stele__sessions_enter(store, NULL) != STELE_OK)
            return; /* it is being closed: who opens it next will look */
        stele_jobs_wake(store->summaries->jobs);
        stele__sessions_leave(store);
        return;
    }
    stele_status st = request_of(store, key, event, &req, &err);
    if (st == STELE_OK && req.wanted)
        st = put(store, key, &req, &err);
    if (st < STELE_OK && store->on_error != NULL)
        store->on_error(key, &err, store->on_error_user);
    release_request(&req);
}

/* ---- opening and closing ---- */

static stele_status open_workers(stele_sessions *store, const stele_sessions_options *options,
                                 stele_error *err)
{
    static const stele_jobs_full full[] = {
        [STELE_SUMMARY_FULL_RUN_HERE] = STELE_JOBS_RUN_HERE,
        [STELE_SUMMARY_FULL_BLOCK] = STELE_JOBS_BLOCK,
        [STELE_SUMMARY_FULL_REJECT] = STELE_JOBS_REJECT,
    };
    if ((unsigned)options->summary_full >= sizeof full / sizeof full[0])
        return stele__store_fail(err, STELE_E_INPUT, "summary_full is no stele_summary_full");
    if (options->summary_on_append && options->async_persist &&
        options->summary_jobs == STELE_SUMMARY_DURABLE)
        return stele__store_fail(err, STELE_E_INPUT,
                                 "jobs cannot ride with appends that are queued: leave out"
                                 " summary_on_append or async_persist");
    stele__summaries *all = store->summaries;
    stele_job_kind kind = {.name = job_kind, .run = run_job, .user = store};
    stele_jobs_options jobs = STELE_JOBS_OPTIONS_INIT;
    kind.timeout_ms = all->timeout_ms;
    jobs.kinds = &kind;
    jobs.kind_count = 1;
    jobs.workers = options->summary_workers > 0 ? options->summary_workers : DEFAULT_WORKERS;
    jobs.lease_ms = LEASE_MS;
    if (all->durable)
        return stele_jobs_open(store->db, &session_summary_jobs_jobs, &jobs, &all->jobs, err);
    kind.concurrency = UINT32_MAX; /* callers that run a job themselves take no worker's place */
    jobs.db = store->db;
    jobs.queue = options->summary_queue > 0 ? options->summary_queue : DEFAULT_QUEUE;
    jobs.if_full = full[options->summary_full];
    jobs.put_timeout_ms = all->timeout_ms < ROOM_MS ? all->timeout_ms : ROOM_MS;
    all->blocks = options->summary_full == STELE_SUMMARY_FULL_BLOCK;
    return stele_jobs_open_volatile(&jobs, &all->jobs, err);
}

static stele_status copy_allowlist(stele__summaries *all, const stele_sessions_options *options,
                                   stele_error *err)
{
    size_t count = options->summary_allowlist_count;
    if (options->summary_allowlist == NULL)
        return STELE_OK;
    stele_str *allowed = stele__store_take_array(&all->arena, count, sizeof *allowed);
    if (allowed == NULL)
        return stele__store_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const char *key = options->summary_allowlist[i];
        allowed[i] = stele__store_copy(&all->arena, stele_s(key != NULL ? key : ""));
        if (allowed[i].data == NULL)
            return stele__store_no_memory(err);
    }
    all->policy.allowed = allowed;
    all->policy.allowed_count = count;
    return STELE_OK;
}

static stele_status copy_summarizer(stele__summaries *all, const stele_summarizer *from,
                                    stele_error *err)
{
    if (from->size < sizeof from->size || from->size > sizeof *from)
        return stele__store_fail(err, STELE_E_INPUT,
                                 "the summarizer is not one of STELE_SUMMARIZER_INIT");
    memcpy(&all->summarizer, from, from->size);
    if (all->summarizer.summarize == NULL)
        return stele__store_fail(err, STELE_E_INPUT, "the summarizer has no summarize function");
    return STELE_OK;
}

void stele__summaries_free(stele_sessions *store)
{
    if (store->summaries == NULL)
        return;
    stele__store_arena_free(&store->summaries->arena);
    stele_free(store->summaries);
    store->summaries = NULL;
}

stele_status stele__summaries_open(stele_sessions *store, const stele_sessions_options *options,
                                   stele_error *err)
{
    if (options->summarizer == NULL)
        return STELE_OK;
    stele__summaries *all = stele__summary_calloc(1, sizeof *all);
    if (all == NULL)
        return stele__store_no_memory(err);
    store->summaries = all;
    all->durable = options->summary_jobs == STELE_SUMMARY_DURABLE;
    all->on_append = options->summary_on_append;
    all->policy.cascade = options->summary_cascade != STELE_OFF;
    all->timeout_ms =
        options->summary_timeout_ms > 0 ? options->summary_timeout_ms : DEFAULT_TIMEOUT_MS;
    stele_status st = copy_summarizer(all, options->summarizer, err);
    if (st == STELE_OK)
        st = copy_allowlist(all, options, err);
    if (st == STELE_OK)
        st = open_workers(store, options, err);
    if (st != STELE_OK)
        stele__summaries_free(store);
    return st;
}

static stele_job_stats numbers_of(const stele__summaries *all)
{
    stele_job_stats jobs;
    stele_jobs_stats(all->jobs, &jobs);
    return jobs;
}

stele_status stele__summaries_stop(stele_sessions *store, uint32_t deadline_ms, stele_error *err)
{
    stele__summaries *all = store->summaries;
    if (all == NULL || all->jobs == NULL)
        return STELE_OK;
    atomic_store(&all->stopping, true);
    atomic_store(&all->run_here, numbers_of(all).ran_here);
    stele_status st = stele_jobs_close(all->jobs, deadline_ms, err);
    if (st != STELE_E_FORKED)
        all->jobs = NULL;
    return st;
}

void stele__summaries_stats(stele_sessions *store, stele_sessions_stats *stats)
{
    const stele__summaries *all = store->summaries;
    if (all == NULL)
        return;
    stats->summaries = atomic_load(&all->written);
    stats->summary_failures = atomic_load(&all->failures);
    stats->summary_run_here = atomic_load(&all->run_here);
    if (stele__sessions_enter(store, NULL) != STELE_OK)
        return;
    stele_job_stats jobs = numbers_of(all); /* nobody closes them while we are inside */
    stats->summary_queued = jobs.waiting;
    stats->summary_run_here = jobs.ran_here;
    stele__sessions_leave(store);
}
