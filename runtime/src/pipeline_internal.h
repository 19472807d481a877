/**
 * The inside of a pipeline.
 *
 * A batch goes through: filling (entries are kept), flowing (some were sent, the rest follows as there
 * is room), ending (the Sync was sent). Answers are read all the while, in the order of sending:
 * leads (prepares, each with a Sync of its own, and BEGIN), entries, the tail (COMMIT or ROLLBACK), the
 * Sync.
 *
 * Floor: pipeline.
 */
#ifndef STELE_PIPELINE_INTERNAL_H
#define STELE_PIPELINE_INTERNAL_H

#include "link_flow.h"
#include "observe.h"
#include "run.h"
#include "stele/async.h"
#include "stele/gen/flow.h"

/** Prepares that lead a batch; statements beyond go unnamed this time. */
#define STELE__PREPARES_MAX 32
#define STELE__LEADS_MAX (STELE__PENDING_MAX + 3 + 2 * STELE__PREPARES_MAX)

/**
 * What takes statements in place of a pipeline, to run them later. All of `holder` is zero: by that it
 * is known, since a pipeline can always be left.
 */
typedef struct stele__recorder {
    stele__holder holder; /* first, as in a pipeline */
    stele_status (*record)(struct stele__recorder *recorder, const stele__call *call,
                           const stele_gen_slot *slot, stele_error *err);
} stele__recorder;

/** One statement of a batch. */
typedef struct stele__queued {
    const stele_gen_stmt *stmt;
    stele__entry *cached;      /* pinned */
    const char *const *values; /* NULL once they were let go */
    const int *lengths;
    const int *formats;
    size_t bytes;
    stele_gen_slot slot;
    const stele_gen_list *list; /* of a page: then slot.out is a stele_page ** */
    uint32_t limit;
    const char *traced; /* its text with the trace of the lease, NULL without one */
    bool prepare;       /* worth preparing */
    bool named;         /* sent as a prepared statement */
    stele_pipeline_result_fn on_result;
    void *user;
    stele__rows *rows; /* what came, when somebody wants it */
    stele_page *page;
    uint64_t affected;
    uint64_t done_ns; /* when its answer was complete; only with hooks */
} stele__queued;

/** What goes before the entries. */
typedef struct stele__lead {
    stele__step_kind kind;
    stele__entry *entry; /* of DEALLOCATE: the victim */
    const char *sql;     /* of SIMPLE */
} stele__lead;

struct stele_pipeline {
    stele__holder holder; /* first: what conn->held points at */
    stele_conn *conn;
    bool holds; /* conn->held is ours; false: conn must not be looked at but to take it */
    stele_pipeline_options options;
    stele_pipeline_result_fn next_fn; /* for the entry queued next */
    void *next_user;

    stele__queued *items;
    size_t count;
    size_t capacity;
    stele__block params;  /* what values point at */
    size_t kept;          /* bytes in there */
    bool let_go;          /* some entries' values are gone: they cannot be sent again */
    size_t waiting_bytes; /* of entries not yet sent */
    int attempts;         /* of sending the batch */

    stele__lead leads[STELE__LEADS_MAX];
    char begin[STELE__PENDING_SIZE];
    int lead_count;
    int lead_answered;
    bool lead_sync; /* its answer came, that of its Sync did not */
    bool flowing;
    bool ending;      /* no more entries will come */
    bool in_tx;       /* of the lease: the Sync stores nothing */
    bool wraps;       /* BEGIN … COMMIT of our own */
    size_t sent;      /* entries handed over */
    size_t answered;  /* entries whose answers were read */
    size_t requested; /* entries handed over when answers were asked for last */
    size_t unflushed; /* bytes handed over since all was out */
    bool sync_sent;
    bool tail;       /* a COMMIT or ROLLBACK of ours is to be answered before the Sync */
    bool committed;  /* the tag said so */
    bool cleaning;   /* the transaction of our own is being rolled back */
    bool input_over; /* nothing more will come from the socket */
    int gaps;        /* ends without anything while a Sync is awaited */
    bool over;       /* the Sync was answered, or never will be */

    stele_status status; /* of the first failure */
    stele_error error;
    size_t failed;            /* its entry */
    size_t last_failed;       /* of the sync before, for stele_pipeline_failed_entry() */
    bool refuted;             /* the server told that nothing is stored */
    stele_status undelivered; /* done, but cannot be handed over */
    uint64_t started_ns;      /* of the sync; only with hooks */
    uint64_t trips;           /* of the lease, before it */
    char space[2048];         /* where params begin */
};

/* ---- pipeline_flow.c: sending and reading ---- */

/** Hands over what there is room for, and pushes it out. */
void stele__pipeline_send(stele_pipeline *p);

/** Takes what has come in and reads it. */
void stele__pipeline_read(stele_pipeline *p);

/** Sends and reads, waiting, until `is_done`; after the deadline the link is broken. */
void stele__pipeline_drive(stele_pipeline *p, bool (*is_done)(const stele_pipeline *p));

/** The deadline has passed: the batch ends here, and the link. */
void stele__pipeline_expire(stele_pipeline *p);

/** The link is of no use any more: the batch ends here. */
void stele__pipeline_lose(stele_pipeline *p);

/* ---- pipeline_take.c: what an answer becomes ---- */

/** Takes the result of an entry over. */
void stele__pipeline_take(stele_pipeline *p, size_t index, struct pg_result *result);

/** Notes an error of the server, where it struck: an entry or STELE_NO_ENTRY. Keeps `result`. */
void stele__pipeline_note(stele_pipeline *p, size_t index, const struct pg_result *result);

/** After the end of a batch: true if it is to be sent again, with plans made anew. */
bool stele__pipeline_again(stele_pipeline *p);

/** What the batch came to. Fills the slots, or says in `err` what failed; leaves the batch empty. */
stele_status stele__pipeline_settle(stele_pipeline *p, stele_error *err);

/** Forgets the entries and what came for them, and lets the lease go. */
void stele__pipeline_reset(stele_pipeline *p);

#endif
