/**
 * The inside of workers: jobs that are had, who runs them, and what the table is told.
 *
 * Durable workers have three sorts of threads: those that run handlers, one that ends and claims jobs
 * (jobs_turn.c), and one that renews leases, looks after those of others and keeps schedules
 * (jobs_keep.c). Volatile ones have only the first (jobs_memory.c). The lock is never held while a
 * handler, a hook or a statement runs.
 *
 * Floor: jobs.
 */
#ifndef STELE_JOBS_INSIDE_H
#define STELE_JOBS_INSIDE_H

#include <pthread.h>
#include <sys/types.h>

#include "cond.h"
#include "db_internal.h"
#include "stele/gen/flow.h"
#include "stele/gen/jobs.h"
#include "stele/jobs.h"

#define STELE__JOB_MS 1000000u /* nanoseconds */
#define STELE__KINDS_MAX 256
#define STELE__WHOLE INT32_MAX /* more than any priority */

typedef struct stele__kind {
    stele_job_kind given; /* without zeros where a default applies; its name is ours */
    uint32_t held;        /* ready or running here */
    uint32_t running;
    uint32_t asked; /* of the claim under way */
    uint32_t taken;
    /* Claims begin there: what of this priority was due before is claimed already. */
    int32_t priority; /* STELE__WHOLE: no such place, they begin at the beginning */
    stele_ts from;
    int32_t last_priority; /* of those taken, the lowest, and the latest time of it */
    stele_ts last;
} stele__kind;

/** Why a handler should stop. */
typedef enum stele__job_stop {
    STELE__STOP_NOT,
    STELE__STOP_LOST, /* somebody else has it, or it was canceled */
    STELE__STOP_CLOSING
} stele__job_stop;

/** What is to be said of a job that was run. */
typedef enum stele__job_end {
    STELE__END_NOT,
    STELE__END_FINISH,
    STELE__END_FAIL,
    STELE__END_RETURN, /* give back untouched */
    STELE__END_STORED  /* the handler's own transaction said it */
} stele__job_end;

struct stele_job {
    stele_job *next; /* in the list it is in: ready, running or ended */
    stele_job *prev;
    stele_job_info info; /* texts behind the struct, but for the kind's name */
    stele_jobs *jobs;
    stele__kind *kind;
    int64_t token;
    uint64_t fence_ns;   /* atomic: when the lease counts as lost */
    uint64_t timeout_ns; /* atomic: when it takes too long */
    int stop;            /* atomic: stele__job_stop */
    bool began;          /* atomic: its transaction has ended it, if that commits */
    stele_conn *conn;    /* of stele_job_begin; under the lock, for who cancels */

    /* Of the thread that runs it, then of the list `ended`. */
    stele__job_end end;
    bool unsure;  /* it was told, and the answer was lost */
    bool dead;    /* at once */
    bool counts;  /* the attempt does */
    bool delayed; /* delay_ms is set */
    bool timed_out;
    bool fenced;
    stele_job_outcome outcome;
    uint64_t delay_ms;
    uint64_t ended_ns;
    uint64_t due_ns;   /* volatile: not before */
    uint64_t taken_ns; /* durable: when it was claimed */
    uint64_t run_ns;   /* if it `ran` */
    bool ran;
    stele_error *error; /* NULL: none, or no memory to keep it */
};

typedef struct stele__job_list {
    stele_job *first;
    stele_job *last;
    uint32_t count;
} stele__job_list;

typedef struct stele__cron {
    uint64_t minutes; /* a bit for each value */
    uint32_t hours;
    uint32_t days;
    uint16_t months;
    uint8_t weekdays;
    bool any_day;     /* of the month: `*` */
    bool any_weekday; /* both restricted: either will do */
} stele__cron;

typedef struct stele__schedule {
    char *name;
    char *kind;
    char *args; /* NULL: none */
    size_t args_len;
    bool is_cron;
    stele__cron cron;
    int64_t every_us;
    int32_t max_attempts;
    int16_t priority;
    int64_t last_us; /* the time that was enqueued last, or at which the workers were opened */
} stele__schedule;

/** A worker of volatile jobs. */
typedef struct stele__lane {
    stele_jobs *jobs;
    stele__job_list waiting;
    pthread_cond_t work;
    pthread_cond_t room;
} stele__lane;

struct stele_jobs {
    stele_jobs_options options; /* without zeros where a default applies */
    pid_t pid;
    bool durable;
    stele_db *db;
    const stele_jobs_table *table;
    stele__kind *kinds;
    size_t kind_count;
    stele__schedule *schedules;
    size_t schedule_count;
    stele_subscription *subscription;
    stele__lane *lanes; /* volatile: one for each worker */
    int64_t next_id;    /* volatile */
    uint32_t next_lane;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t work;  /* there is something to run, or an end */
    pthread_cond_t turn;  /* there is something to end, or to claim */
    pthread_cond_t keep;  /* the end */
    pthread_cond_t idle;  /* somebody left */
    stele__job_list ready;
    stele__job_list running;
    stele__job_list ended; /* the table is to be told */
    stele__job_list stuck; /* the same, and somebody has locked the row for the moment */
    uint32_t telling;      /* taken from `ended` by the turn under way */
    uint32_t idle_workers;
    bool look;      /* jobs may have come */
    bool more;      /* the last claim took all it asked for */
    bool closing;   /* nothing new begins; atomic */
    bool giving_up; /* the table need not be told any more */
    bool cut;       /* nothing of the table is waited for; atomic */
    uint32_t threads;
    uint32_t callers;      /* inside a call that may wait */
    stele_conn *turn_conn; /* leased: what close may cancel */
    stele_conn *keep_conn;
    uint64_t retry_ns; /* look then at the latest: a job of ours will be due */
    stele_job_stats stats;
    size_t thread_count;
    pthread_t handles[];
};

/* ---- jobs_rows.c ---- */

/** Checks a job and makes the parameters of it. */
stele_status stele__job_check(const stele_job_input *job, uint32_t attempts,
                              stele_gen_job_new *ret_new, stele_error *err);

/* ---- jobs_cron.c ---- */

stele_status stele__cron_parse(const char *text, stele__cron *ret_cron, stele_error *err);

/** The last time of a schedule that is not after `now_us`, and after its last one; false: none. */
bool stele__schedule_due(const stele__schedule *schedule, int64_t now_us, int64_t *ret_at);

/* ---- jobs_list.c ---- */

void stele__jobs_push(stele__job_list *list, stele_job *job);
void stele__jobs_remove(stele__job_list *list, stele_job *job);
stele_job *stele__jobs_pop(stele__job_list *list);

/** A job with a copy of the texts of `info`; the kind is found by its name. NULL: out of memory. */
stele_job *stele__job_new(stele_jobs *jobs, stele__kind *kind, const stele_job_info *info);

stele__kind *stele__kind_find(const stele_jobs *jobs, stele_str name);

/** A random number below a bound. */
uint64_t stele__jobs_random(const void *seed, uint64_t below);

/** Leases a connection that close can cancel until it is given back. */
stele_status stele__jobs_acquire(stele_jobs *jobs, stele_conn **place, uint32_t deadline_ms,
                                 stele_conn **ret_conn, stele_error *err);
void stele__jobs_release(stele_jobs *jobs, stele_conn **place, stele_conn *conn);

/** Counts a statement that failed, and tells the hook. */
void stele__jobs_failed(stele_jobs *jobs, const stele_error *err);

void stele__job_free(stele_job *job);

/** Counts what became of a job, and tells the hook. It is in no list. */
void stele__job_tell(stele_job *job, stele_job_outcome outcome);

/** The same, and frees it. */
void stele__job_over(stele_job *job, stele_job_outcome outcome);

/** The same of a list of jobs that have their outcomes. */
void stele__jobs_over(stele_jobs *jobs, stele__job_list *list);

/* ---- jobs_run.c ---- */

/** Runs a job's handler; it is in the list `running`. Afterwards job->end says what is to be told. */
void stele__job_run(stele_job *job);

/** Counts that; the lock is held. */
void stele__job_count_run(const stele_job *job);

/** Counts for how long a job could have run as it was begun; the lock is held. */
void stele__job_count_wait(const stele_job *job, uint64_t ns);

/** A thread of durable workers. */
void *stele__jobs_work(void *arg);

/** How long until the next attempt. */
uint64_t stele__job_backoff(const stele_job *job);

/* ---- jobs_turn.c ---- */

/** The thread that ends and claims jobs. */
void *stele__jobs_turns(void *arg);

/* ---- jobs_keep.c ---- */

/** The thread that renews leases and does the chores. */
void *stele__jobs_keeper(void *arg);

/* ---- jobs_memory.c ---- */

void *stele__lane_work(void *arg);
stele_status stele__memory_put(stele_jobs *jobs, const stele_job_input *job, int64_t *ret_id,
                               stele_error *err);
stele_status stele__memory_cancel(stele_jobs *jobs, int64_t id, stele_error *err);
void stele__memory_count(stele_jobs *jobs, stele_jobs_depth *ret_depth);
/** Takes out what waits, after the deadline; the lock is held. Answers how many. */
uint32_t stele__memory_drop(stele_jobs *jobs, stele__job_list *ret_dropped);
void stele__memory_wake_all(stele_jobs *jobs);

#endif
