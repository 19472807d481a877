/**
 * The inside of a sweeper: its tables, a sweep through them, and one transaction of it.
 *
 * Floor: sweeper.
 */
#ifndef STELE_SWEEPER_INSIDE_H
#define STELE_SWEEPER_INSIDE_H

#include <pthread.h>
#include <sys/types.h>

#include "cond.h"
#include "db_internal.h"
#include "stele/gen/gen.h"
#include "stele/sweeper.h"

/** One table of one handle. */
typedef struct stele__swept_table {
    const stele_module *module;
    const stele_gen_table *table;
    const char *schema; /* of the handle's names */
    const char *prefix;
    int64_t lock;
    stele_sweep_table_stats stats; /* under the sweeper's lock */
} stele__swept_table;

/** A handle whose tables are swept. */
typedef struct stele__sweep_target {
    struct stele__sweep_target *next;
    stele_db *db;
    size_t refs;  /* the sweeper's list, sweeps under way */
    bool removed; /* no longer in the list */
    uint64_t lag_asked_ns;
    int64_t lag_ms; /* as it was then; negative for unknown */
    size_t table_count;
    stele__swept_table tables[];
} stele__sweep_target;

struct stele_sweeper {
    stele_sweeper_options options; /* without zeros where a default applies */
    pid_t pid;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    stele__sweep_target *targets;
    pthread_t thread;
    bool has_thread;
    bool thread_ended;
    bool closing;
    bool cut;         /* closing: nothing more is waited for; atomic */
    bool running;     /* a sweep is under way */
    uint32_t callers; /* of stele_sweeper_run, those that wait included */
    uint32_t waiting; /* of these, who wait for the sweep under way */
    stele_conn *conn; /* leased by the sweep under way: what close may cancel */
    double tokens;    /* rows that may be removed now; negative when rows followed */
    uint64_t filled_ns;
    uint64_t runs;
    uint64_t paused_ms;
    uint64_t waited_ms;
};

/** One sweep through all tables. */
typedef struct stele__sweep {
    stele_sweeper *sweeper;
    bool yields; /* to callers of stele_sweeper_run */
    stele__deadline deadline;
    stele_sweep_report report;
    stele_status first_failure;
    stele_error error; /* of the first table that was given up */
} stele__sweep;

/** What is left to do in one table. */
typedef struct stele__sweep_task {
    stele__sweep_target *target;
    stele__swept_table *table;
    stele_sweep_kind kind;
    bool looked; /* it was asked whether there is anything to do */
    bool done;
    stele_ts from;  /* the watermark */
    uint32_t limit; /* of the next transaction */
    uint32_t most;
    uint32_t failures; /* in a row */
} stele__sweep_task;

/* ---- sweeper.c ---- */

/** Gives up a target that a sweep held; the last one frees it. */
void stele__sweep_target_drop(stele_sweeper *sweeper, stele__sweep_target *target);

/* ---- sweeper_cycle.c ---- */

/** Sweeps all tables. */
void stele__sweep_all(stele__sweep *sweep);

/** True when the sweep has to end: closing, somebody wants to sweep now, or it is late. */
bool stele__sweep_stops(const stele__sweep *sweep);

/** A place for hooks. */
stele_sweep_place stele__sweep_place_of(const stele__swept_table *table, stele_sweep_kind kind);

/* ---- sweeper_batch.c ---- */

/** Leases a connection for the sweep; it can be canceled until it is given back. */
stele_status stele__sweep_acquire(stele__sweep *sweep, stele_db *db, stele_conn **ret_conn,
                                  stele_error *err);
void stele__sweep_release(stele__sweep *sweep, stele_conn *conn);

/** Begins a transaction with the sweeper's timeouts, which travel with its first statement. */
stele_status stele__sweep_begin(const stele_sweeper *sweeper, stele_conn *conn, stele_error *err);

/** Looks for the row to begin with. STELE_DONE: there is none from the watermark on. */
stele_status stele__sweep_look(stele__sweep *sweep, const stele__sweep_task *task,
                               stele_gen_oldest *ret_oldest, stele_error *err);

typedef struct stele__sweep_result {
    bool leader;
    stele_opt_ts high;
    stele_sweep_batch batch;
} stele__sweep_result;

/** One transaction. STELE_E_UNKNOWN and errors before COMMIT leave `ret_result` alone. */
stele_status stele__sweep_batch(stele__sweep *sweep, const stele__sweep_task *task, uint32_t limit,
                                stele__sweep_result *ret_result, stele_error *err);

/* ---- sweeper_rate.c ---- */

/** Waits until `rows` may be removed, and takes them. False when the sweep has to end. */
bool stele__sweep_take(stele__sweep *sweep, uint32_t rows);

/** Gives back what was not needed, or takes what was needed beyond. */
void stele__sweep_settle(stele__sweep *sweep, uint32_t taken, uint64_t used);

/** What the rows of one transaction may be, given how far replicas are behind; waits if they are far.
 * 0 when the sweep has to end. */
uint32_t stele__sweep_limit(stele__sweep *sweep, stele__sweep_task *task);

/* ---- sweeper_partition.c ---- */

/** Drops or detaches the expired partitions of a table. */
stele_status stele__sweep_partitions(stele__sweep *sweep, const stele__sweep_task *task,
                                     uint64_t *ret_count, stele_error *err);

#endif
