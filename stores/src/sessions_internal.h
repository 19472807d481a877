/*
 * The inside of a sessions store, for the files that make it up.
 */
#ifndef STELE_SESSIONS_INTERNAL_H
#define STELE_SESSIONS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "stele/pipeline.h"
#include "stele/sessions.h"
#include "stele/sweeper.h"
#include "store_util.h"

typedef struct stele__summaries stele__summaries; /* of the files that make summaries */
typedef struct stele__seen stele__seen;           /* of sessions_seen.c */
typedef struct stele__patrol stele__patrol;       /* of sessions_cleanup.c */
typedef struct stele__queue stele__queue; /* of appends that return before they are stored */

struct stele_sessions {
    stele_db *db; /* a handle of the store's own: its names, its soft delete */
    stele_sweeper *sweeper;
    stele__patrol *patrol;       /* of the sweeper's thread */
    stele__summaries *summaries; /* NULL without a summarizer */
    stele__queue *queue;         /* NULL without async_persist */
    stele__seen *seen;           /* likewise */
    int32_t event_limit;         /* negative: all */
    int64_t session_ttl_ms;      /* 0: never expires */
    int64_t app_ttl_ms;
    int64_t user_ttl_ms;
    int64_t track_ttl_ms;
    int64_t cleanup_ms; /* negative: only when told to */
    bool expires;       /* something may */
    bool soft_delete;
    bool lazy_ttl;
    bool strict;
    bool idempotent;
    bool event_id_index;
    stele_append_hook *append_hooks;
    size_t append_hook_count;
    stele_get_hook *get_hooks;
    size_t get_hook_count;
    void (*on_error)(const stele_session_key *key, const stele_error *err, void *user);
    void *on_error_user;
    pid_t pid;              /* of the process that opened it */
    pthread_mutex_t ending; /* held while it is shut down: once, whoever comes first */
    /* Calls under way, which closing waits for. */
    pthread_mutex_t lock;
    pthread_cond_t idle;
    bool closed;
    uint64_t under_way;
    /* Numbers. */
    atomic_uint_fast64_t operations;
    atomic_uint_fast64_t failures;
    atomic_uint_fast64_t round_trips;
    atomic_uint_fast64_t appended;
    atomic_uint_fast64_t duplicates;
};

/* ---- keys ------------------------------------------------------------------------------------ */

/* In the peer's order, with its messages: STELE_E_INPUT. */
stele_status stele__sessions_check_app(stele_str app_name, stele_error *err);
stele_status stele__sessions_check_user(const stele_session_user *user, stele_error *err);
stele_status stele__sessions_check_key(const stele_session_key *key, stele_error *err);

/* "session not found", and which one. Never STELE_OK. */
stele_status stele__sessions_missing(const stele_session_key *key, stele_error *err);

/* ---- operations ------------------------------------------------------------------------------ */

/* STELE_E_FORKED in a child process, which has neither the threads nor the connections. */
stele_status stele__sessions_check_fork(const stele_sessions *store, stele_error *err);

/*
 * Around calls that use the store outside of _begin and _end: STELE_E_CLOSED once it is closing,
 * STELE_E_FORKED.
 */
stele_status stele__sessions_enter(stele_sessions *store, stele_error *err);
void stele__sessions_leave(stele_sessions *store);

/* Lets nobody enter any more, and waits until all have left. */
void stele__sessions_shut(stele_sessions *store);

/*
 * Enters, and takes a lease for one operation. Every _begin that answered STELE_OK is followed by an
 * _end, which gives the lease back, counts, leaves, and answers `st`.
 */
stele_status stele__sessions_begin(stele_sessions *store, stele_conn **ret_conn, stele_error *err);

/* The same, once what a session (NULL: any) has queued before is stored. */
stele_status stele__sessions_begin_after(stele_sessions *store, const stele_session_key *key,
                                         stele_conn **ret_conn, stele_error *err);
stele_status stele__sessions_end(stele_sessions *store, stele_conn *conn, stele_status st);

/* Appends that are queued: see sessions_queue.h. */
stele_status stele__queue_open(stele_sessions *store, uint32_t lanes, stele_error *err);
stele_status stele__queue_settle(stele_sessions *store, const stele_session_key *key,
                                 stele_error *err);
stele_status stele__queue_close(stele_sessions *store, uint32_t deadline_ms, uint64_t *ret_lost,
                                stele_error *err);
void stele__queue_free(stele_sessions *store);

/*
 * When the session under a key began: what was seen last, of a few thousand. An append is queued for
 * that session and no later one of the same key. Nothing of this is done without async_persist.
 */
stele_status stele__seen_open(stele_sessions *store, stele_error *err);
void stele__seen_free(stele_sessions *store);
void stele__seen_note(stele_sessions *store, const stele_session_key *key, stele_ts created_at);
void stele__seen_forget(stele_sessions *store, const stele_session_key *key);
stele_opt_ts stele__seen_when(stele_sessions *store, const stele_session_key *key);

/* After each sweep of the store's own: repairs some more of what a peer's cleanup has left. */
stele_status stele__patrol_open(stele_sessions *store, stele_error *err);
void stele__patrol_on(stele_sessions *store);
void stele__patrol_free(stele_sessions *store);

/* What statements take for a TTL: NULL for none. */
stele_in_interval_n stele__sessions_ttl(int64_t ttl_ms);

#endif
