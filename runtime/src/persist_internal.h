/**
 * The inside of group commit: units with copies of all they need, receipts, and what lanes share.
 *
 * A unit goes from the caller to a lane, and ends in stele__unit_tell() or among the undone.
 * Only who has it looks at it; receipts are looked at by two, and counted.
 *
 * Floor: persist.
 */
#ifndef STELE_PERSIST_INTERNAL_H
#define STELE_PERSIST_INTERNAL_H

#include <pthread.h>

#include "cond.h"
#include "mem_internal.h"
#include "pipeline_internal.h"
#include "stele/persist.h"

/** One statement of a unit, and copies of what its parameters are read from. */
typedef struct stele__write {
    struct stele__write *next;
    const stele_gen_stmt *stmt;
    const void **args;
    size_t input_size;     /* of args[0] */
    const uint8_t *states; /* of its parameters */
    uint32_t flags;
} stele__write;

struct stele_receipt {
    uint32_t refs; /* the caller's, and the unit's; atomic */
    uint32_t fork_epoch;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t completed;
    bool done;
    stele_status status;
    stele_error *why; /* NULL with STELE_OK, or when there was no memory for it */
    size_t count;
    uint64_t affected[];
};

/* Events of a kilobyte fit without a second allocation. */
#define STELE__UNIT_SPACE 2048

struct stele_unit {
    stele__recorder recorder; /* first: what its pipeline is */
    stele__block block;
    size_t bytes;
    size_t count;
    stele__write *first;
    stele__write *last;

    /* From here on as it was put. */
    const stele_gen_bulk *bulk; /* it is one insert that can be sent with others of its kind */
    const void *key;
    size_t key_len;
    uint64_t *affected; /* rows that each statement wrote */
    size_t affected_count;
    bool idempotent;
    bool skip_conflicts;
    stele_persist_done_fn on_done;
    void *user;
    stele_receipt *receipt; /* NULL: none */
    uint64_t put_ns;

    /* What became of it so far. */
    bool unclear; /* it may have been stored, and is tried again */
    stele_status status;
    stele_error *why;
    struct stele_unit *next; /* among the undone */
    _Alignas(max_align_t) char space[STELE__UNIT_SPACE];
};

struct stele_persist {
    stele_persist_options options; /* without zeros where a default applies */
    stele_db *db;
    stele_lanes *lanes;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool late;          /* closing: nothing more is sent; also read as an atomic */
    bool cut;           /* closing: nothing more is waited for; atomic */
    uint32_t nudges;    /* calls of on_late, by who closes */
    stele_conn **conns; /* leased by lanes: what may be canceled */
    stele_unit *undone; /* in order */
    stele_unit **undone_end;
    stele_commit_stats stats;
};

/* ---- persist_unit.c ---- */

/** Makes ready to be put; stele__unit_unput() undoes that. */
stele_status stele__unit_prepare(stele_unit *unit, const void *key, size_t key_len,
                                 const stele_put_options *how, bool wants_receipt,
                                 stele_error *err);
void stele__unit_unput(stele_unit *unit);

/** Notes why a unit is not stored. */
void stele__unit_fail(stele_unit *unit, stele_status status, const stele_error *why);

/** True if nobody waits for what becomes of it. */
static inline bool stele__unit_is_forgotten(const stele_unit *unit)
{
    return unit->receipt == NULL && unit->on_done == NULL;
}

/** Tells what became of it: hook, receipt, callback. The unit is the caller's still. */
void stele__unit_tell(const stele_persist *persist, stele_unit *unit);

/* ---- persist_receipt.c ---- */

/** A receipt for `count` statements, held twice; NULL when memory is out. */
stele_receipt *stele__receipt_new(size_t count);

/** Completes and lets go of it. `why` may be NULL. */
void stele__receipt_complete(stele_receipt *receipt, stele_status status, const stele_error *why,
                             const uint64_t *affected);

/* ---- persist_store.c ---- */

/** The work of a lane: a stele_lane_fn. */
void stele__persist_run(uint32_t lane, void *const *items, size_t count, void *user);

/** Adds a unit that closing leaves; it is told so later. */
void stele__persist_leave(stele_persist *persist, stele_unit *unit);

#endif
