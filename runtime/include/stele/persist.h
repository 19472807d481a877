/**
 * Group commit: writes that are queued by many, stored together, and acknowledged when they are
 * stored.
 *
 *     stele_unit *unit = NULL;
 *     stele_receipt *receipt = NULL;
 *     stele_status st = stele_unit_open(&unit, &err);
 *     if (st == STELE_OK)
 *         st = events_insert_queue(stele_unit_pipeline(unit), &event, NULL, &err);
 *     if (st == STELE_OK)
 *         st = stele_persist_put(persist, session, session_len, &unit, NULL, &receipt, &err);
 *     if (st == STELE_OK)
 *         st = stele_receipt_wait(receipt, 0, &err);              stored, and durable
 *     stele_receipt_free(receipt);
 *     stele_unit_free(unit);                                      NULL once it was put
 *
 * A unit is one write or several that are stored together or not at all. Lanes gather the units of
 * many callers; a gathering is one transaction, and its receipts are completed only when the server
 * has answered its end. Units of one key are stored in the order of putting. A unit that the server
 * refuses fails alone; the others are stored without it.
 *
 * What may be stored or not, because the connection was lost just then, is tried again only for
 * units whose caller said that this does no harm; the others are told STELE_E_UNKNOWN. Nothing is
 * kept on disk but by the server: what was not acknowledged is lost when the process dies.
 *
 * Floor: persist.
 */
#ifndef STELE_PERSIST_H
#define STELE_PERSIST_H

#include "stele/db.h"
#include "stele/lanes.h"
#include "stele/pipeline.h"

STELE_BEGIN_DECLS

typedef struct stele_persist stele_persist;
typedef struct stele_unit stele_unit;
typedef struct stele_receipt stele_receipt;

/* ---- units ---------------------------------------------------------------------------------- */

/**
 * An empty unit. Does no I/O, and belongs to no database.
 *
 * Owns:    the caller: stele_unit_free(), or stele_persist_put().
 * Errors:  STELE_E_INPUT, STELE_E_NOMEM.
 * Threads: one at a time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_unit_open(stele_unit **ret_unit, stele_error *err);

/**
 * What to give the `_queue` forms of generated writes, in order. They look at their inputs as the
 * plain forms do, and copy what those point to: nothing need be kept. The pointers for what they
 * give back must be NULL, since nobody will be there to take it; see stele_receipt_affected().
 * Statements that only read are STELE_E_INPUT. It is no pipeline otherwise: it cannot be synced,
 * started or closed.
 */
STELE_API stele_pipeline *stele_unit_pipeline(stele_unit *unit);

/** Number of statements. */
STELE_API size_t stele_unit_count(const stele_unit *unit);

/** Name of a statement's function, without "_queue"; NULL beyond the last. */
STELE_API const char *stele_unit_statement(const stele_unit *unit, size_t index);

/** Bytes that it takes, with all it has copied. */
STELE_API size_t stele_unit_bytes(const stele_unit *unit);

/** The key it was put with, and its length; NULL before. */
STELE_API const void *stele_unit_key(const stele_unit *unit, size_t *ret_len);

/** Frees a unit that nobody has taken. NULL is ignored. */
STELE_API void stele_unit_free(stele_unit *unit);
STELE_API void stele_unit_autofree(stele_unit **unit); /* for STELE_AUTO */

/* ---- opening -------------------------------------------------------------------------------- */

/** A unit that was not stored, or may not have been. All of it ends with the call. */
typedef struct stele_persist_failure {
    const stele_unit *unit;
    const stele_error *error; /* its status is the receipt's */
    bool forgotten;           /* nobody waits for it: neither receipt nor callback */
} stele_persist_failure;

/** Options; 0 takes the default in brackets. Times are in milliseconds unless they say else. */
typedef struct stele_persist_options {
    size_t size;          /* set by STELE_PERSIST_OPTIONS_INIT */
    uint32_t lanes;       /* [4] threads, each with a connection of the pool while it stores */
    uint32_t batch_units; /* [500] a gathering ends with so many units, */
    uint32_t batch_bytes; /* [1 MiB] so many bytes of them, */
    uint32_t linger_us;   /* [2000] or when the first of them has waited so long */
    uint32_t max_items;   /* [10000] units that wait in one lane */
    uint64_t max_bytes;   /* [64 MiB] the same in bytes */
    stele_when_full when_full;
    uint32_t
        retry_ms; /* [30000] a gathering that was not stored, as there was no connection or another
                             transaction was in its way, is tried again for so long */
    /* Called by a lane's thread for each unit that failed, before its receipt is completed, and for
     * those that closing left undone. It must not wait for anything of this persist. */
    void (*on_fail)(const stele_persist_failure *failure, void *user);
    void *user;
} stele_persist_options;

#ifdef __cplusplus
}
static inline stele_persist_options stele_persist_options_init(void)
{
    stele_persist_options options = stele_persist_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_PERSIST_OPTIONS_INIT stele_persist_options_init()
#else
#define STELE_PERSIST_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .size = sizeof(stele_persist_options)                                                      \
    }
#endif

/**
 * Opens group commit on a handle, whose names and policies all of its units are stored under.
 * `options` NULL: defaults. Does no I/O.
 *
 * Owns:    the caller: stele_persist_close(), before the last handle on the pool is closed. It
 *          keeps a handle of its own on `db`.
 * Errors:  STELE_E_INPUT, STELE_E_NOMEM, STELE_E_FORKED, STELE_E_CLOSED.
 * Threads: all functions but close may be called by any thread at any time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_persist_open(stele_db *db,
                                                           const stele_persist_options *options,
                                                           stele_persist **ret_persist,
                                                           stele_error *err);

/* ---- putting -------------------------------------------------------------------------------- */

/**
 * What became of a unit: STELE_OK when it is stored, otherwise see stele_receipt_wait(). `err` is
 * NULL with STELE_OK; `affected` has the rows that each statement wrote. All of it ends with the
 * call.
 *
 * Called by a lane's thread, in the order of each key. It may put, but not wait for this persist:
 * when its lane is full then, the answer is STELE_E_BUSY.
 */
typedef void (*stele_persist_done_fn)(stele_status status, const stele_error *err,
                                      const uint64_t *affected, size_t count, void *user);

/** How a unit is put. */
typedef struct stele_put_options {
    size_t size; /* set by STELE_PUT_OPTIONS_INIT */
    /* Storing it twice does no harm, also when later units of its key were stored in between. For
     * example an INSERT … ON CONFLICT DO NOTHING under a key of the caller's. It is stored again
     * where it may or may not have been, unless a later unit of its key in the same gathering may
     * not. */
    bool idempotent;
    /* The unit is one generated insert: leave the row alone whose key exists. It is idempotent. */
    bool skip_conflicts;
    uint32_t deadline_ms; /* [none] for room in the lane */
    stele_persist_done_fn on_done;
    void *user;
} stele_put_options;

#ifdef __cplusplus
#define STELE_PUT_OPTIONS_INIT                                                                     \
    {                                                                                              \
        sizeof(stele_put_options), false, false, 0, NULL, NULL                                     \
    }
#else
#define STELE_PUT_OPTIONS_INIT                                                                     \
    {                                                                                              \
        .size = sizeof(stele_put_options)                                                          \
    }
#endif

/** What stele_receipt_affected() answers where the server does not tell. */
#define STELE_AFFECTED_UNKNOWN UINT64_MAX

/**
 * Queues a unit. `key` orders it among the others of that key; it is copied. NULL: no order is
 * wanted.
 *
 * `how` NULL: defaults. `ret_receipt` NULL and no on_done: it is forgotten; if it fails then, only
 * stele_persist_options.on_fail and the numbers tell.
 *
 * Owns:   the unit is taken, and *unit set to NULL, on success; otherwise it stays the caller's and
 *         may be put again. The receipt is the caller's: stele_receipt_free().
 * Errors: STELE_E_INPUT (an empty unit, skip_conflicts where it cannot be), STELE_E_BUSY and
 *         STELE_E_TIMEOUT when there is no room, STELE_E_CLOSED, STELE_E_FORKED, STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_persist_put(stele_persist *persist, const void *key,
                                                          size_t key_len, stele_unit **unit,
                                                          const stele_put_options *how,
                                                          stele_receipt **ret_receipt,
                                                          stele_error *err);

/* ---- receipts ------------------------------------------------------------------------------- */

/**
 * Waits until the unit is stored or has failed, at most `deadline_ms` (0: as long as it takes).
 *
 * Answers STELE_OK when it is stored and the server has said so; STELE_AGAIN when that is not known
 * yet.
 *
 * Errors: what the server refused it for. STELE_E_UNKNOWN, with outcome_unknown: it may be stored
 *         or not. STELE_E_LOST, STELE_E_CONNECT, STELE_E_TIMEOUT …: not stored, retry_ms were over.
 *         STELE_E_CLOSED: not stored, closing came first. STELE_E_FORKED.
 */
STELE_API STELE_MUST_CHECK stele_status stele_receipt_wait(stele_receipt *receipt,
                                                           uint32_t deadline_ms, stele_error *err);

/** The same without waiting and without words. */
STELE_API STELE_MUST_CHECK stele_status stele_receipt_status(stele_receipt *receipt);

/**
 * Rows that a statement of the unit wrote, once it is stored: 0 for an update that found none. 0
 * before, and after a failure. With skip_conflicts STELE_AFFECTED_UNKNOWN, where others were stored
 * with it.
 */
STELE_API uint64_t stele_receipt_affected(stele_receipt *receipt, size_t statement);

/** Frees a receipt, completed or not; the unit is stored all the same. NULL is ignored. */
STELE_API void stele_receipt_free(stele_receipt *receipt);
STELE_API void stele_receipt_autofree(stele_receipt **receipt); /* for STELE_AUTO */

/* ---- the end -------------------------------------------------------------------------------- */

/**
 * Waits until all units put before, of a key (or at least those) or of all (`key` NULL), are stored
 * or have failed. `deadline_ms` 0: none. Nobody lingers meanwhile.
 *
 * Errors: STELE_E_TIMEOUT, STELE_E_CLOSED, STELE_E_FORKED, STELE_E_MISUSE in a callback.
 */
STELE_API STELE_MUST_CHECK stele_status stele_persist_flush(stele_persist *persist, const void *key,
                                                            size_t key_len, uint32_t deadline_ms,
                                                            stele_error *err);

/** Counters since it was opened, and gauges. */
typedef struct stele_commit_stats {
    uint64_t put; /* units; so are the others unless they say otherwise */
    uint64_t stored;
    uint64_t failed;     /* refused by the server, or given up after retry_ms */
    uint64_t unknown;    /* may be stored or not */
    uint64_t undone;     /* left by closing */
    uint64_t forgotten;  /* of failed, unknown and undone ones those that only on_fail tells of */
    uint64_t statements; /* stored */
    uint64_t batches;    /* transactions that were stored */
    uint64_t bulk;       /* of these, those sent as arrays or COPY */
    uint64_t refusals;   /* transactions that failed for one of their units */
    uint64_t retries;    /* transactions that failed, and were tried again */
    uint64_t replayed;   /* stored again, perhaps, after a loss */
    uint64_t batch_ns;   /* total time of those stored */
    uint64_t longest_batch_ns;
    stele_latency ack; /* those stored, by the time from putting to completing */
    uint64_t longest_ack_ns;
    stele_lane_stats lanes; /* units that wait, and how full lanes were */
} stele_commit_stats;

/** A snapshot of the numbers. */
STELE_API void stele_persist_stats(const stele_persist *persist, stele_commit_stats *ret_stats);

/**
 * Told of a unit that closing leaves undone, after its receipt was completed: STELE_E_CLOSED, not
 * stored, or STELE_E_UNKNOWN. To keep it, take it and set *unit to NULL: it can be put again,
 * elsewhere.
 */
typedef void (*stele_undone_fn)(stele_unit **unit, stele_status status, void *user);

/**
 * Ends group commit: what waits is stored, for `deadline_ms`; what is under way then is canceled,
 * and all that is left goes to `on_undone` (NULL: dropped), in the order of each key. A server that
 * does not take the cancel is given up after a second. No other call may follow but of receipts;
 * calls in other threads end with STELE_E_CLOSED. NULL is ignored.
 *
 * Errors: STELE_E_TIMEOUT when something was left undone: closed all the same. STELE_E_FORKED in a
 *         child process, whose memory is left alone. STELE_E_MISUSE in a callback: nothing was
 *         done.
 */
STELE_API stele_status stele_persist_close(stele_persist *persist, uint32_t deadline_ms,
                                           stele_undone_fn on_undone, void *user, stele_error *err);

STELE_END_DECLS

#endif
