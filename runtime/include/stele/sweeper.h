/**
 * The sweeper: removes rows whose time is over, what follows them, and what was deleted long ago.
 *
 *     stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;
 *     options.retention_ms = 30ull * 24 * 3600 * 1000;      deleted rows are kept for thirty days
 *     if (stele_sweeper_open(db, &options, &sweeper, &err) != STELE_OK) …
 *
 * Works through all tables with `ttl` or `soft_delete` of the modules of a handle, and of other
 * handles (tenants) that were added, in small transactions of the oldest rows first. A row is looked at
 * again once it is locked: one that was renewed stays. Rows that others hold, and tables that another
 * sweeper is at, are left for later. Any number of sweepers, in any number of processes, may run.
 *
 * Sweepers of several processes share the work by advisory locks of the server. Where these answer
 * without locking (CockroachDB) they do the same work twice, which is harmless.
 *
 * Floor: sweeper.
 */
#ifndef STELE_SWEEPER_H
#define STELE_SWEEPER_H

#include "stele/db.h"

STELE_BEGIN_DECLS

typedef struct stele_sweeper stele_sweeper;

/** What was done in a table. */
typedef enum stele_sweep_kind {
    STELE_SWEEP_EXPIRED,   /* rows whose time is over, and those that follow them */
    STELE_SWEEP_DELETED,   /* rows deleted longer ago than the retention */
    STELE_SWEEP_PARTITIONS /* partitions whose rows have all expired */
} stele_sweep_kind;

/** Where the sweeper is. The texts live as long as the call of the hook. */
typedef struct stele_sweep_place {
    const char *module;
    const char *table;  /* as the schema file calls it */
    const char *schema; /* "" for none */
    const char *prefix;
    stele_sweep_kind kind;
} stele_sweep_place;

/** One transaction of the sweeper. */
typedef struct stele_sweep_batch {
    uint32_t limit;    /* rows that were asked for */
    uint64_t claimed;  /* rows that were locked */
    uint64_t gone;     /* rows, or partitions, that were removed */
    uint64_t followed; /* rows of other tables that followed them */
    uint64_t ns;       /* from BEGIN to the answer to COMMIT */
} stele_sweep_batch;

/** What a run did. */
typedef struct stele_sweep_report {
    uint64_t expired;
    uint64_t followed; /* rows that followed expired ones */
    uint64_t purged;
    uint64_t partitions;
    uint64_t batches;   /* transactions that were committed */
    uint32_t elsewhere; /* tables left to another sweeper that was at them */
    uint32_t failed;    /* tables given up, see on_error */
    bool complete;      /* no table was left before its end for want of time */
} stele_sweep_report;

/** Options; 0 takes the default in brackets. Times are in milliseconds. */
typedef struct stele_sweeper_options {
    size_t size;         /* set by STELE_SWEEPER_OPTIONS_INIT */
    int64_t interval_ms; /* [five minutes if a module has a ttl, or retention_ms is set and one has
                                  soft_delete; else off] give or take a fifth; negative: off, so that only
                                  stele_sweeper_run() sweeps */
    uint64_t retention_ms;    /* [for ever] how long deleted rows are kept before they are purged */
    uint32_t batch_rows;      /* [1000] at most, in one transaction */
    uint32_t batch_keys;      /* [500] the same for tables whose rows others follow */
    uint32_t rows_per_second; /* [1000] of all tables together; UINT32_MAX: as fast as it goes */
    uint32_t batch_ms;        /* [100] a transaction that takes longer halves the next */
    uint32_t statement_timeout_ms; /* [5000] at most a day */
    uint32_t lock_timeout_ms;      /* [100] at most a day */
    uint32_t max_lag_ms; /* [10000] replicas that lag more halve each transaction; at six times as
                                  much the sweeper pauses. Lag that cannot be seen halves, too */
    uint32_t start_jitter_ms; /* [5000] the first sweep comes at a random time within it */
    bool detach_only;         /* expired partitions are detached, and left as tables */
    /* The lag of the slowest replica; negative: unknown. [asks pg_stat_replication] */
    int64_t (*replica_lag_ms)(stele_conn *conn, void *user);
    /* Hooks. They are called by the thread that sweeps, and must not call the sweeper's functions. */
    void (*on_error)(const stele_sweep_place *place, const stele_error *err, void *user);
    void (*on_batch)(const stele_sweep_place *place, const stele_sweep_batch *batch, void *user);
    void *user;
    /* After each sweep of the sweeper's own thread; closing waits until it returns. */
    void (*on_swept)(const stele_sweep_report *report, void *user);
} stele_sweeper_options;

#ifdef __cplusplus
}
static inline stele_sweeper_options stele_sweeper_options_init(void)
{
    stele_sweeper_options options = stele_sweeper_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_SWEEPER_OPTIONS_INIT stele_sweeper_options_init()
#else
#define STELE_SWEEPER_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .size = sizeof(stele_sweeper_options)                                                      \
    }
#endif

/** Counters since the sweeper was opened, of all tables together. */
typedef struct stele_sweep_stats {
    uint64_t runs; /* that went through all tables */
    uint64_t expired;
    uint64_t followed;
    uint64_t purged;
    uint64_t partitions;
    uint64_t batches;
    uint64_t skipped;  /* rows claimed that had been renewed meanwhile */
    uint64_t blocked;  /* rows passed over because removing them failed */
    uint64_t failures; /* transactions that failed, lock timeouts included */
    uint64_t elsewhere;
    uint64_t batch_ns;  /* total */
    uint64_t paused_ms; /* waited for replicas */
    uint64_t waited_ms; /* waited for rows_per_second */
    int64_t oldest_ms;  /* the greatest of all tables, see below */
    uint32_t tables;
    bool running; /* now */
} stele_sweep_stats;

/** The same of one table of one handle. */
typedef struct stele_sweep_table_stats {
    uint64_t expired;
    uint64_t followed; /* rows of other tables that followed rows of this one */
    uint64_t purged;
    uint64_t partitions;
    uint64_t batches;
    uint64_t skipped;
    uint64_t blocked;
    uint64_t failures;
    uint64_t elsewhere;
    uint64_t batch_ns;
    uint64_t longest_batch_ns;
    int64_t
        oldest_found_ms; /* for how long the oldest expired row had been so as the last run came by */
    int64_t oldest_ms;   /* the same after that run; 0 when it went to the end */
} stele_sweep_table_stats;

/**
 * Opens a sweeper, and starts its thread unless it is off. `options` NULL: defaults.
 *
 * Owns:    the caller: stele_sweeper_close(), before the last handle on the pool is closed. It keeps
 *          a handle of its own on `db`.
 * Errors:  STELE_E_INPUT, STELE_E_NOMEM, STELE_E_FORKED, STELE_E_CLOSED.
 * Threads: all functions but close may be called by any thread at any time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sweeper_open(stele_db *db,
                                                           const stele_sweeper_options *options,
                                                           stele_sweeper **ret_sweeper,
                                                           stele_error *err);

/** Sweeps the tables of another handle too. One of the same names on the same pool: nothing. */
STELE_API STELE_MUST_CHECK stele_status stele_sweeper_add(stele_sweeper *sweeper, stele_db *db,
                                                          stele_error *err);

/** Leaves the tables of a handle alone from the next transaction on. */
STELE_API STELE_MUST_CHECK stele_status stele_sweeper_remove(stele_sweeper *sweeper, stele_db *db,
                                                             stele_error *err);

/**
 * Goes through all tables now, in the caller's thread. A sweep that is under way is ended first.
 *
 * `ret_report` (may be NULL) is also written on errors. `deadline_ms` 0: none.
 *
 * Errors: STELE_E_TIMEOUT when the deadline came first; STELE_E_CLOSED; STELE_E_FORKED; otherwise what
 *         went wrong in the first table that was given up, after all others were swept.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sweeper_run(stele_sweeper *sweeper,
                                                          uint32_t deadline_ms,
                                                          stele_sweep_report *ret_report,
                                                          stele_error *err);

/** A snapshot of the numbers. */
STELE_API void stele_sweeper_stats(const stele_sweeper *sweeper, stele_sweep_stats *ret_stats);

/** Calls `fn` for each table; it must not call the sweeper's functions. */
STELE_API void stele_sweeper_each(const stele_sweeper *sweeper,
                                  void (*fn)(const stele_sweep_place *place,
                                             const stele_sweep_table_stats *stats, void *user),
                                  void *user);

/**
 * Ends the sweeper: its transaction under way gets `deadline_ms` to end, then it is canceled and rolled
 * back; a server that does not take the cancel is given up after a second. NULL is ignored. No other
 * call may follow; stele_sweeper_run() in other threads answers STELE_E_CLOSED.
 *
 * Errors: STELE_E_TIMEOUT when a transaction had to be canceled: the sweeper is closed all the same.
 *         STELE_E_FORKED in a child process, which has no such thread: its memory is left alone.
 */
STELE_API stele_status stele_sweeper_close(stele_sweeper *sweeper, uint32_t deadline_ms,
                                           stele_error *err);

STELE_END_DECLS

#endif
