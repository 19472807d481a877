/**
 * Pipelines: many statements, one wait.
 *
 *     stele_pipeline *p = NULL;
 *     stele_status st = stele_pipeline_open(conn, NULL, &p, &err);
 *     for (size_t i = 0; i < 10 && st == STELE_OK; i++)
 *         st = users_find_queue(p, ids[i], &users[i], &err);
 *     if (st == STELE_OK)
 *         st = stele_pipeline_sync(p, &err);
 *     stele_pipeline_close(p);
 *
 * Every generated read and write has a `_queue` form: the same inputs, and a slot for each output. Slots
 * are filled by stele_pipeline_sync(), or a callback gets what they would. Statements of all kinds mix.
 *
 * What is queued between two syncs is one batch and one transaction: the server answers the Sync at its
 * end once, when all of it is stored, or none of it is. While a batch is being filled its connection
 * takes no other calls (STELE_E_MISUSE). One thread at a time.
 *
 * Floor: pipeline.
 */
#ifndef STELE_PIPELINE_H
#define STELE_PIPELINE_H

#include "stele/conn.h"

STELE_BEGIN_DECLS

typedef struct stele_pipeline_options {
    size_t size; /* sizeof(stele_pipeline_options); set by STELE_PIPELINE_OPTIONS_INIT */
    /* Either makes a batch BEGIN … COMMIT of this kind: STELE_REPEATABLE_READ and STELE_READ_ONLY read
     * all of it from one snapshot. Not inside a transaction, which has its own. */
    stele_isolation isolation;
    stele_access access;
    uint32_t max_in_flight; /* [256] statements that are sent and not answered */
    uint32_t max_bytes;     /* [65536] inputs that are kept and not sent, but for one statement */
    bool
        never_wait; /* for event loops: `_queue` keeps inputs in memory rather than wait for room */
} stele_pipeline_options;

#ifdef __cplusplus
#define STELE_PIPELINE_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(stele_pipeline_options), STELE_ISOLATION_DEFAULT, STELE_ACCESS_DEFAULT, 0, 0, false \
    }
#else
#define STELE_PIPELINE_OPTIONS_INIT                                                                \
    {                                                                                              \
        .size = sizeof(stele_pipeline_options)                                                     \
    }
#endif

/** What stele_pipeline_failed_entry() answers when it was none of them. */
#define STELE_NO_ENTRY SIZE_MAX

/** What a statement of a batch came to, for stele_pipeline_on_result(). */
typedef struct stele_pipeline_result {
    size_t entry;          /* its place in the batch, from 0 */
    const char *statement; /* name of its function, without "_queue" */
    const void *rows;      /* array of the row type that it returns; NULL if it returns none */
    size_t count;          /* of `rows` */
    uint64_t affected;     /* rows read or written */
} stele_pipeline_result;

/** Called while stele_pipeline_sync() succeeds, in order; `result` and its rows end with the call. */
typedef void (*stele_pipeline_result_fn)(const stele_pipeline_result *result, void *user);

/**
 * Opens a pipeline on a lease. `options` NULL: defaults. Does no I/O.
 *
 * Owns:   the caller: stele_pipeline_close(). It may outlive the lease, but not be used then.
 * Errors: STELE_E_INPUT, STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_pipeline_open(stele_conn *conn,
                                                            const stele_pipeline_options *options,
                                                            stele_pipeline **ret_pipeline,
                                                            stele_error *err);

/** Has `fn` called for the statement that is queued next, in addition to its slots. */
STELE_API void stele_pipeline_on_result(stele_pipeline *pipeline, stele_pipeline_result_fn fn,
                                        void *user);

/** Statements queued since the last sync. */
STELE_API size_t stele_pipeline_count(const stele_pipeline *pipeline);

/**
 * Sends what is left, waits for the answer to the Sync, and fills the slots. Without entries: nothing.
 *
 * A row that was not found leaves NULL in its slot, and a write that found no row (or another version
 * of it) leaves 0 in its count: that is no failure of the others, which are stored.
 *
 * Inside a transaction of the lease the Sync stores nothing: stele_tx_commit() does.
 *
 * Errors: nothing is stored and no slot is filled. Of the first statement that failed: its status;
 *         the message names it, stele_pipeline_failed_entry() gives its place, those after it never ran,
 *         and those before it are rolled back. STELE_E_UNKNOWN when the connection was lost after the
 *         Sync was sent, unless all entries read or a transaction was open: STELE_E_LOST. STELE_E_DECODE,
 *         _NULL, _SCHEMA and _NOMEM with err->outcome_unknown: all was done, but cannot be handed over.
 *         Afterwards the pipeline is empty, and can be used again.
 */
STELE_API STELE_MUST_CHECK stele_status stele_pipeline_sync(stele_pipeline *pipeline,
                                                            stele_error *err);

/**
 * Begins a sync without waiting for anything; stele_conn_step() (stele/async.h) carries it on and
 * answers as stele_pipeline_sync() does.
 */
STELE_API STELE_MUST_CHECK stele_status stele_pipeline_start(stele_pipeline *pipeline,
                                                             stele_error *err);

/** After a sync that failed: which statement it was, or STELE_NO_ENTRY (the commit, the connection). */
STELE_API size_t stele_pipeline_failed_entry(const stele_pipeline *pipeline);

/**
 * Frees a pipeline. Entries without a sync are discarded: nothing of them is stored. After a start that
 * was not carried to its end the connection is given up, as its answers are not known. NULL is ignored.
 */
STELE_API void stele_pipeline_close(stele_pipeline *pipeline);
STELE_API void stele_pipeline_autofree(stele_pipeline **pipeline); /* for STELE_AUTO */

STELE_END_DECLS

#endif
