/*
 * Appends that are queued, gathered, and stored together.
 */
#ifndef STELE_SESSIONS_QUEUE_H
#define STELE_SESSIONS_QUEUE_H

#include "sessions_append.h"
#include "stele/lanes.h"

/* An append that waits: one block, with copies of its texts. */
typedef struct stele__queued {
    stele_session_key key;
    stele_str lane_key; /* what orders it */
    stele_str event;
    stele_str delta;
    bool stored;        /* the event is, not only its state */
    bool has_id;        /* by which it is not stored again; of idempotent stores */
    stele_opt_ts meant; /* when the session that it is meant for began, if that is known */
    uint64_t receipt;
} stele__queued;

/* An append that failed, until somebody is told. */
typedef struct stele__queue_failure {
    struct stele__queue_failure *next;
    uint64_t receipt;
    stele_error error;
    size_t lane_key_len;
    char lane_key[];
} stele__queue_failure;

/* A statement under way; it lives on the stack of who runs it. */
typedef struct stele__queue_call {
    stele_conn *conn;
    struct stele__queue_call *next;
} stele__queue_call;

struct stele__queue {
    stele_lanes *lanes;
    atomic_uint_fast64_t last_receipt;
    atomic_uint_fast64_t waiting;   /* queued, and neither stored nor failed */
    atomic_bool closing;            /* nothing is tried again */
    pthread_mutex_t calling;        /* of `calls`, and held while one of them is canceled */
    stele__queue_call *calls;       /* statements under way */
    pthread_mutex_t lock;           /* of all below */
    stele__queue_failure *failures; /* oldest first */
    stele__queue_failure **end;     /* where the next one goes */
    size_t failure_count;
    uint64_t untold;    /* failures that nobody asked for, those no longer kept included */
    uint64_t forgotten; /* the last receipt among these; 0: all are kept */
};

/* Of more failures than that the first are told to on_error only. */
#define STELE__MOST_FAILURES 10000

/* Fails an append: kept for who asks, and told to on_error. */
void stele__queue_fail(stele_sessions *store, const stele__queued *item, const stele_error *why);

/* Stores what was gathered in a lane: of stele_lanes_options.run, its user is the store. */
void stele__queue_run(uint32_t lane, void *const *items, size_t count, void *user);

/* Appends of one statement: those of a session share a place in the arrays up to `meant_nulls`. */
typedef struct stele__group {
    stele__store_arena arena;
    stele_str *app_names;
    stele_str *user_ids;
    stele_str *session_ids;
    stele_str *deltas;
    stele_ts *meant;
    bool *meant_nulls; /* any session of that key */
    size_t session_count;
    int64_t *places;
    stele_str *events;
    size_t event_count;
    size_t *place_of; /* of each item, from 0 */
    size_t taken;     /* items in it, from the first on */
    bool repeatable;  /* all of them may be stored again, and change nothing then */
} stele__group;

/*
 * Gathers items, whose texts are borrowed, up to one that is meant for another session of a key that is
 * in it already, or that would bring state alone together with events that have an id. STELE_E_NOMEM.
 * To be released in any case.
 */
stele_status stele__group_init(stele__group *group, stele__queued *const *items, size_t count,
                               stele_error *err);
void stele__group_release(stele__group *group);

#endif
