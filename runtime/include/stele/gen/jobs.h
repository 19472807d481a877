/**
 * What generated code says of a table with the trait `jobs`. As stele/gen/gen.h, for generated code only.
 *
 * Floor: jobs.
 */
#ifndef STELE_GEN_JOBS_H
#define STELE_GEN_JOBS_H

#include "stele/gen/gen.h"
#include "stele/jobs.h"

STELE_BEGIN_DECLS

/** A job to enqueue. */
typedef struct stele_gen_job_new {
    stele_str kind;
    stele_str key;
    stele_str args;
    int64_t delay_ms;
    stele_opt_ts at;
    int32_t max_attempts;
    int16_t priority;
} stele_gen_job_new;

/** Its row. */
typedef struct stele_gen_job_id {
    int64_t id;
} stele_gen_job_id;

/**
 * Jobs to claim: at most rooms[i] of kinds[i], those of priorities[i] due since froms[i], and at most
 * `most` of all.
 */
typedef struct stele_gen_job_claim {
    stele_str_array kinds;
    stele_i64_array rooms;
    stele_i32_array priorities;
    stele_ts_array froms;
    int64_t most;
    int64_t lease_ms;
} stele_gen_job_claim;

/** One that was claimed. */
typedef struct stele_gen_job_claimed {
    int64_t id;
    stele_str kind;
    stele_str key;
    stele_str args;
    int64_t gen;
    int64_t token;
    int32_t attempt;
    int32_t max_attempts;
    int16_t priority;
    int64_t waited_ms;
    stele_ts run_at;
} stele_gen_job_claimed;

/** Jobs that somebody has: items of one place belong together. */
typedef struct stele_gen_jobs_held {
    stele_i64_array ids;
    stele_i64_array tokens;
    stele_i64_array gens;
    int64_t lease_ms; /* renew */
} stele_gen_jobs_held;

/** What became of one of them. */
typedef struct stele_gen_job_ended {
    int64_t id;
    bool ended;
    bool again; /* it waits: enqueued meanwhile, or for its next attempt */
    bool held;  /* it did not end, as somebody else has locked the row for the moment */
} stele_gen_job_ended;

/** Whether one of them was renewed, and if not whether it is still had. */
typedef struct stele_gen_job_renewed {
    int64_t id;
    bool renewed;
    bool held;
} stele_gen_job_renewed;

/** One job that somebody has, and how it failed. */
typedef struct stele_gen_job_failed {
    int64_t id;
    int64_t token;
    int64_t gen;
    int64_t delay_ms;
    bool counts; /* the attempt does */
    bool dead;   /* at once */
    stele_str message;
} stele_gen_job_failed;

/** What became of jobs whose lease had run out. */
typedef struct stele_gen_job_rescued {
    int64_t again;
    int64_t dead;
} stele_gen_job_rescued;

/** Rows to purge: of the next `limit` from an id on, those that ended long ago. */
typedef struct stele_gen_job_purge {
    int64_t from;
    int64_t limit;
    int64_t keep_ms;
    int64_t keep_key_ms;
} stele_gen_job_purge;

typedef struct stele_gen_job_purged {
    int64_t seen;
    int64_t gone;
    int64_t high; /* the greatest id seen; 0 for none */
} stele_gen_job_purged;

/** A scheduled job, unless it is there. */
typedef struct stele_gen_job_tick {
    stele_str kind;
    stele_str key;
    stele_str args;
    stele_ts at;
    int64_t late_ms; /* nothing when it is later than this */
    int32_t max_attempts;
    int16_t priority;
} stele_gen_job_tick;

/** How much there is to do. */
typedef struct stele_gen_job_depth {
    int64_t due;
    int64_t later;
    int64_t running;
    int64_t dead;
    int64_t oldest_due_ms;
} stele_gen_job_depth;

/** The server's clock. */
typedef struct stele_gen_job_clock {
    stele_ts at;
} stele_gen_job_clock;

struct stele_jobs_table {
    const stele_module *module;
    const char *name;
    const stele_gen_stmt *enqueue; /* stele_gen_job_new → stele_gen_job_id */
    const stele_gen_stmt *claim;   /* stele_gen_job_claim → stele_gen_job_claimed … */
    const stele_gen_stmt *finish; /* stele_gen_jobs_held → stele_gen_job_ended …, not locked ones */
    const stele_gen_stmt
        *finish_one;             /* stele_gen_job_failed → stele_gen_job_ended, waits for locks */
    const stele_gen_stmt *fail;  /* stele_gen_job_failed → stele_gen_job_ended: `again` or dead */
    const stele_gen_stmt *renew; /* stele_gen_jobs_held → stele_gen_job_renewed … */
    const stele_gen_stmt *give_back; /* stele_gen_jobs_held → count */
    const stele_gen_stmt *rescue;    /* int64_t limit → stele_gen_job_rescued */
    const stele_gen_stmt *purge;     /* stele_gen_job_purge → stele_gen_job_purged */
    const stele_gen_stmt *cancel;    /* int64_t id → count */
    const stele_gen_stmt *revive;    /* int64_t id → count */
    const stele_gen_stmt *tick;      /* stele_gen_job_tick → count */
    const stele_gen_stmt *depth;     /* → stele_gen_job_depth */
    const stele_gen_stmt *clock;     /* → stele_gen_job_clock */
};

STELE_END_DECLS

#endif
