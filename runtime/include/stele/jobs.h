/**
 * Jobs: work that is asked for now and done later, by any process.
 *
 * A table that the schema gives the trait `jobs` is a durable queue. A job is enqueued in the caller's
 * transaction, so it is there exactly when what it is about is there:
 *
 *     stele_job_input job = {.kind = stele_s("summary"), .key = stele_s(session_id)};
 *     st = app_jobs_enqueue(conn, &job, &id, &err);              generated for table app_jobs
 *     …
 *     stele_jobs_wake(jobs);                                     after the commit; NULL is fine
 *
 * and workers run it:
 *
 *     static stele_status summarise(stele_job *job, void *user, stele_error *err)
 *     {
 *         char *text = ask_model(job, …);                        looks at stele_job_alive() now and then
 *         stele_conn *conn;
 *         stele_status st = stele_job_begin(job, &conn, err);    a transaction that ends the job
 *         return st == STELE_OK ? store(conn, text, err) : st;   committed when this answers STELE_OK
 *     }
 *
 * A job runs at least once. What its handler writes between stele_job_begin() and its return is there
 * exactly once for each generation (below), as it is committed together with the end of the job.
 *
 * Generations. Jobs of one kind and key are one row. Enqueuing it again while it waits changes nothing
 * but its generation; while it runs, it will run once more afterwards, so what was written after the
 * handler had looked is not missed. A job that is done, dead or canceled waits again.
 *
 * Leases. A worker has a job for `lease_ms` by the server's clock and renews that. Every claim gives the
 * row a new token, and only who has the token can end the job. A worker that cannot renew stops in time
 * by its own clock, before anybody else can have the job: stele_job_alive() says so.
 *
 * stele_jobs_open_volatile() opens the same without a table: jobs live in memory, and go with it.
 *
 * Floor: jobs.
 */
#ifndef STELE_JOBS_H
#define STELE_JOBS_H

#include "stele/db.h"
#include "stele/listen.h"
#include "stele/pipeline.h"

STELE_BEGIN_DECLS

typedef struct stele_jobs stele_jobs;
typedef struct stele_job stele_job;
/** Of generated code: `<table>_jobs`, a table with the trait `jobs`. */
typedef struct stele_jobs_table stele_jobs_table;

/* ---- enqueuing ------------------------------------------------------------------------------ */

/** A job to be done. What is not set takes the default in brackets. Borrowed for the call. */
typedef struct stele_job_input {
    stele_str kind;        /* which handler; 1 to 100 characters */
    stele_str key;         /* [none] jobs of one kind and key are one; at most 255 characters */
    stele_str args;        /* [none] JSON */
    uint64_t delay_ms;     /* [0] not before this time from now, by the server's clock */
    const stele_ts *at;    /* [none] not before this time; `delay_ms` is added */
    uint32_t max_attempts; /* [25] then it is dead */
    int16_t priority;      /* [0] greater goes first among the jobs of a kind */
} stele_job_input;

/**
 * Enqueues a job in the transaction of `conn`, or in one of its own. Generated code has a function of
 * its own for each table: <table>_enqueue(conn, job, ret_id, err).
 *
 * If a job of this kind and key waits or runs, its row is answered: its arguments are replaced, the
 * earlier time and the greater priority hold; one that waits after a failure goes on waiting. The row
 * stays locked until the caller's transaction ends, so enqueue late in it, and several in one order.
 *
 * `ret_id` may be NULL.
 *
 * Errors: STELE_E_INPUT, those of the server.
 */
STELE_API STELE_MUST_CHECK stele_status stele_job_enqueue(stele_conn *conn,
                                                          const stele_jobs_table *table,
                                                          const stele_job_input *job,
                                                          int64_t *ret_id, stele_error *err);

/** The same in a pipeline: `ret_id` (may be NULL) is there when stele_pipeline_sync() succeeds. */
STELE_API STELE_MUST_CHECK stele_status stele_job_enqueue_queue(stele_pipeline *pipeline,
                                                                const stele_jobs_table *table,
                                                                const stele_job_input *job,
                                                                int64_t *ret_id, stele_error *err);

/**
 * Cancels a job that waits or runs, in the transaction of `conn`. A handler that runs is told when its
 * worker next renews the lease; its result is discarded in any case.
 *
 * Errors: STELE_E_NOT_FOUND when it neither waits nor runs.
 */
STELE_API STELE_MUST_CHECK stele_status stele_job_cancel(stele_conn *conn,
                                                         const stele_jobs_table *table, int64_t id,
                                                         stele_error *err);

/** Has a dead or canceled job wait again, with all its attempts. STELE_E_NOT_FOUND otherwise. */
STELE_API STELE_MUST_CHECK stele_status stele_job_revive(stele_conn *conn,
                                                         const stele_jobs_table *table, int64_t id,
                                                         stele_error *err);

/* ---- handlers ------------------------------------------------------------------------------- */

/** What a handler is to do. Texts live as long as the handler runs. */
typedef struct stele_job_info {
    int64_t id;
    stele_str kind;
    stele_str key;    /* data NULL: none */
    stele_str args;   /* JSON; data NULL: none */
    int64_t gen;      /* generation: how often it was enqueued */
    uint32_t attempt; /* from 1 */
    uint32_t max_attempts;
    int16_t priority;
    bool durable;
    uint64_t waited_ms; /* since it was due */
} stele_job_info;

/**
 * Does a job, in a thread of the workers.
 *
 * STELE_OK: it is done. STELE_AGAIN: it runs again after stele_job_delay(), and this attempt does not
 * count. STELE_ROLLBACK: it is given up, and dead at once. Anything else: it failed, and runs again after
 * a time that doubles with each attempt, until it is dead; `err->message` is kept in the row.
 */
typedef stele_status (*stele_job_fn)(stele_job *job, void *user, stele_error *err);

/** What the job is; valid while its handler runs. */
STELE_API const stele_job_info *stele_job_get(const stele_job *job);

/**
 * False when the handler should return: the lease cannot be renewed and runs out soon, the job was
 * canceled, it takes longer than its kind allows, or the workers are being closed and will not wait
 * longer. Costs no wait; any thread may ask while the handler runs.
 */
STELE_API bool stele_job_alive(const stele_job *job);

/** How long until stele_job_alive() may turn false if nothing is renewed; for timeouts of calls. */
STELE_API uint32_t stele_job_left_ms(const stele_job *job);

/** Sets the time until the next attempt, if there will be one. */
STELE_API void stele_job_delay(stele_job *job, uint64_t delay_ms);

/**
 * Opens a transaction in which the job is done already: what the handler writes on `*ret_conn` is
 * committed if it answers STELE_OK, and rolled back otherwise. Call it when all slow work is behind,
 * at most once. Volatile jobs get a plain transaction.
 *
 * Owns:   the workers: never release or commit the lease.
 * Errors: STELE_E_CANCELED when the job is no longer this worker's (return it);
 *         STELE_E_MISUSE the second time, or without a database; those of stele_db_acquire().
 */
STELE_API STELE_MUST_CHECK stele_status stele_job_begin(stele_job *job, stele_conn **ret_conn,
                                                        stele_error *err);

/* ---- workers -------------------------------------------------------------------------------- */

/** A kind of jobs and who does them. Times are in milliseconds; 0 takes the default in brackets. */
typedef struct stele_job_kind {
    const char *name;
    stele_job_fn run;
    void *user;
    uint32_t concurrency;    /* [as many as there are workers] at once, here */
    uint32_t timeout_ms;     /* [none] then stele_job_alive() is false, and the lease is let go */
    uint32_t backoff_ms;     /* [1000] before the second attempt; then twice as long each time */
    uint32_t backoff_max_ms; /* [3600000] each is shortened by a random part, up to a half */
} stele_job_kind;

/**
 * A job that is enqueued again and again: once for each time, however many processes say so.
 *
 * Times are multiples of `every_ms` since 1970, or those that the five fields of `cron` (minute, hour,
 * day of month, month, day of week: *, lists, ranges, steps; UTC) name, by the server's clock. Times at
 * which no process is there are left out.
 */
typedef struct stele_job_schedule {
    const char *name; /* unique within the kind, at most 200 bytes */
    const char *kind;
    const char *cron;      /* or */
    uint64_t every_ms;     /* at least 1000 */
    stele_str args;        /* [none] JSON */
    uint32_t max_attempts; /* [25] */
    int16_t priority;
} stele_job_schedule;

/** What became of a job that was begun. */
typedef enum stele_job_outcome {
    STELE_JOB_DONE,     /* done; or enqueued again while it ran, and waiting for that */
    STELE_JOB_RETRY,    /* failed, or not finished yet; waits for its next attempt */
    STELE_JOB_DEAD,     /* failed for the last time, or given up */
    STELE_JOB_RETURNED, /* given back untouched because the workers are being closed */
    STELE_JOB_LOST      /* canceled, or somebody else's since the lease ran out: nothing was kept */
} stele_job_outcome;

/** What a volatile queue does with a job when it is full. */
typedef enum stele_jobs_full {
    STELE_JOBS_BLOCK = 0, /* wait, at most put_timeout_ms: then STELE_E_TIMEOUT */
    STELE_JOBS_REJECT,    /* STELE_E_BUSY */
    STELE_JOBS_RUN_HERE   /* the caller's thread does it, perhaps beside another job of its key */
} stele_jobs_full;

/** Options; 0 takes the default in brackets. Times are in milliseconds. */
typedef struct stele_jobs_options {
    size_t size;                 /* set by STELE_JOBS_OPTIONS_INIT */
    const stele_job_kind *kinds; /* copied, as are their names */
    size_t kind_count;
    uint32_t workers; /* [4] threads that run handlers */
    /* Hooks. They are called by the threads of the workers, and must not call their functions. */
    void (*on_end)(const stele_job_info *job, stele_job_outcome outcome, const stele_error *err,
                   void *user);                           /* `err` NULL if there was none */
    void (*on_error)(const stele_error *err, void *user); /* the table could not be reached */
    void *user;

    /* Of durable jobs. Besides the workers' leases they take up to two of the pool. */
    const stele_job_schedule *schedules; /* copied */
    size_t schedule_count;
    stele_listener *listener; /* [none: polls] must live longer than the workers */
    stele_doorbell *doorbell; /* [none] rung by stele_jobs_wake(), on the same channel */
    const char *channel;      /* the listener's channel for this table */
    /* [workers] jobs claimed at once. If these are more than there are workers, twice as many are held:
     * the next ones are here when the last are done. */
    uint32_t batch;
    uint32_t poll_ms;  /* [1000] give or take a fifth */
    uint32_t lease_ms; /* [30000] at least 1000; renewed after a third of it */
    uint32_t fence_ms; /* [a sixth of lease_ms] before its end a worker stops by itself */
    uint64_t keep_ms;  /* [a day] done and canceled jobs; those with a key two hours at least */

    /* Of volatile jobs. */
    stele_db *db;            /* [none] for stele_job_begin() */
    uint32_t queue;          /* [100] jobs that wait, for each worker */
    stele_jobs_full if_full; /* [STELE_JOBS_BLOCK] */
    uint32_t put_timeout_ms; /* [30000] */
} stele_jobs_options;

#ifdef __cplusplus
}
static inline stele_jobs_options stele_jobs_options_init(void)
{
    stele_jobs_options options = stele_jobs_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_JOBS_OPTIONS_INIT stele_jobs_options_init()
#else
#define STELE_JOBS_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(stele_jobs_options)                                                         \
    }
#endif

/** Counters since the workers were opened, and gauges. */
typedef struct stele_job_stats {
    uint64_t put;    /* by stele_jobs_put() and schedules */
    uint64_t merged; /* volatile: of these, joined to one of the same key that waited */
    uint64_t claimed;
    uint64_t done;
    uint64_t retried;
    uint64_t dead;
    uint64_t returned;
    uint64_t lost;
    uint64_t timed_out; /* took longer than their kind allows */
    uint64_t fenced;    /* leases that could not be renewed in time */
    uint64_t rescued;   /* jobs of others whose lease had run out */
    uint64_t purged;
    uint64_t rejected;   /* volatile: not taken as the queue was full */
    uint64_t ran_here;   /* volatile: done by callers */
    uint64_t claims;     /* statements that looked for jobs */
    uint64_t wakes;      /* by stele_jobs_wake() and the listener */
    uint64_t heartbeats; /* statements that renewed leases */
    uint64_t errors;     /* statements that failed */
    stele_latency run;   /* calls of handlers, by their time, with the end of their transaction */
    stele_latency wait;  /* jobs that were taken up, by the time since they were due */
    uint64_t longest_wait_ms;
    uint32_t workers;
    uint32_t running; /* now */
    uint32_t waiting; /* here, now: claimed and not begun, or in the volatile queue */
} stele_job_stats;

/**
 * Opens workers for the jobs of a table under the names of `db`, and starts their threads. Without kinds
 * they run nothing, and serve stele_jobs_put(), schedules, rescue and purge.
 *
 * Owns:    the caller: stele_jobs_close(), before the listener and the last handle on the pool are
 *          closed. They keep a handle of their own on `db`.
 * Errors:  STELE_E_INPUT, STELE_E_NOMEM, STELE_E_FORKED, those of stele_listener_subscribe().
 * Threads: all functions but close may be called by any thread at any time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_jobs_open(stele_db *db, const stele_jobs_table *table,
                                                        const stele_jobs_options *options,
                                                        stele_jobs **ret_jobs, stele_error *err);

/**
 * Opens workers for jobs in memory: each has a bounded queue, and a job goes to the worker that the hash
 * of its key names (any, without a key), so jobs of one key run one after the other, but for those that
 * their callers run (STELE_JOBS_RUN_HERE). A job that waits and is put again stays one. Failed jobs run
 * again as durable ones do; attempts [1].
 */
STELE_API STELE_MUST_CHECK stele_status stele_jobs_open_volatile(const stele_jobs_options *options,
                                                                 stele_jobs **ret_jobs,
                                                                 stele_error *err);

/** True for jobs in a table. Put volatile ones after the commit of what they are about. */
STELE_API bool stele_jobs_is_durable(const stele_jobs *jobs);

/**
 * Enqueues a job in either. Durable: in the transaction of `conn`; without an open transaction the
 * workers are woken, too. Volatile: `conn` is not used, and may be NULL. `ret_id` may be NULL.
 *
 * Errors: STELE_E_INPUT (also for a kind that volatile workers do not know); STELE_E_BUSY,
 *         STELE_E_TIMEOUT, see if_full; STELE_E_CLOSED; STELE_E_FORKED; those of the server.
 */
STELE_API STELE_MUST_CHECK stele_status stele_jobs_put(stele_jobs *jobs, stele_conn *conn,
                                                       const stele_job_input *job, int64_t *ret_id,
                                                       stele_error *err);

/** The same in a pipeline; durable jobs only, others answer STELE_E_MISUSE. */
STELE_API STELE_MUST_CHECK stele_status stele_jobs_put_queue(stele_jobs *jobs,
                                                             stele_pipeline *pipeline,
                                                             const stele_job_input *job,
                                                             int64_t *ret_id, stele_error *err);

/**
 * Says that jobs were committed: workers here look at once, and the doorbell is rung for those
 * elsewhere. Never waits. NULL, and volatile jobs: nothing.
 */
STELE_API void stele_jobs_wake(stele_jobs *jobs);

/**
 * Cancels a job that waits or runs, and tells its handler at once if that runs here.
 *
 * Errors: STELE_E_NOT_FOUND; those of stele_db_acquire() and the server.
 */
STELE_API STELE_MUST_CHECK stele_status stele_jobs_cancel(stele_jobs *jobs, int64_t id,
                                                          stele_error *err);

/** How much there is to do, in the whole table or in memory. */
typedef struct stele_jobs_depth {
    int64_t due;     /* could run now */
    int64_t later;   /* wait for their time */
    int64_t running; /* by anybody */
    int64_t dead;
    int64_t oldest_due_ms; /* for how long the job that has waited longest could have run */
} stele_jobs_depth;

/** Counts: reads the indexes of jobs that are not done. Volatile: dead is 0. */
STELE_API STELE_MUST_CHECK stele_status stele_jobs_count(stele_jobs *jobs,
                                                         stele_jobs_depth *ret_depth,
                                                         stele_error *err);

/** A snapshot of the numbers. */
STELE_API void stele_jobs_stats(const stele_jobs *jobs, stele_job_stats *ret_stats);

/**
 * Ends the workers. Durable: nothing new is begun, what is claimed and not begun is given back.
 * Volatile: what waits is done, as far as the deadline allows. Handlers get `deadline_ms` to end, then
 * stele_job_alive() is false for them and their statements are canceled; this returns when they have
 * returned, as they may use what is the caller's. Their jobs are given back. NULL is ignored. No other
 * call may follow.
 *
 * Errors: STELE_E_TIMEOUT when a handler was told to stop, or volatile jobs were not begun: `err` says
 *         how many, on_end which. STELE_E_LOST when the table could not be told of jobs that ended:
 *         these run again when their lease is over. All is closed all the same.
 *         STELE_E_FORKED in a child process, which has no such threads: the memory is left alone.
 */
STELE_API stele_status stele_jobs_close(stele_jobs *jobs, uint32_t deadline_ms, stele_error *err);

STELE_END_DECLS

#endif
