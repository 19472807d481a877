/**
 * What the files of the pool share.
 *
 * All of it is guarded by one mutex; nobody does I/O, calls a hook or closes anything under it. A
 * slot belongs to whom its state says: a connector, the pool, a lease, or the keeper. Functions that
 * end in `_locked` want the mutex held.
 *
 * Floor: pool.
 */
#ifndef STELE_POOL_INTERNAL_H
#define STELE_POOL_INTERNAL_H

#include <pthread.h>

#include "cond.h"
#include "pool.h"

#define STELE__MS 1000000u /* nanoseconds */
#define STELE__S 1000000000u

#define STELE__ROLLBACK_MS 500 /* of a lease that came back inside a transaction */
#define STELE__RESET_MS 1000   /* of a session that was changed */
#define STELE__RETIRE_MS 5000  /* until a server process that does not end is given up */
#define STELE__CONNECTORS 2

typedef enum stele__slot_state {
    STELE__SLOT_FREE,
    STELE__SLOT_CONNECTING, /* queued or under way */
    STELE__SLOT_IDLE,
    STELE__SLOT_LEASED,
    STELE__SLOT_RETIRING /* until the server's side is gone */
} stele__slot_state;

typedef struct stele__slot stele__slot;
typedef struct stele__lease stele__lease;

/* A link that somebody sends a cancel request for; shared until that is done. */
typedef struct stele__hold {
    stele__link *link;
    stele__slot *slot; /* NULL once the slot was given up: the last holder closes the link */
    size_t refs;
} stele__hold;

/** One of the at most `max_connections` server connections. */
struct stele__slot {
    stele__slot_state state;
    bool open; /* `link` is valid, as far as a forked child can tell, and its socket open */
    stele__link *link;
    stele__slot *prev; /* in the idle list, newest first; `next` also in the other lists */
    stele__slot *next;
    uint64_t expires_ns;
    uint64_t idle_since_ns;
    uint64_t generation;
    stele__hold *hold;
    stele__lease *lease; /* NULL unless leased, or already handed over but not taken up */
    /* retiring */
    bool wants_cancel;
    int watch_fd; /* reads end-of-file when the server process is gone; -1 before the end */
    uint64_t give_up_ns;
};

/** A lease: the caller's stele_conn and what the pool knows about it. Recycled. */
struct stele__lease {
    stele_conn conn; /* first: a lease is found by its conn */
    stele__pool *pool;
    stele__slot *slot;  /* NULL after a relink that failed */
    stele__lease *next; /* of the free ones */
    stele__names_box *names;
    uint64_t acquired_ns;
    const char *file;
    int line;
    long thread_id;
    bool reported;
    stele__link gone; /* what conn->link is when there is none */
};

/** A thread in line. Lives on its stack. */
typedef struct stele__waiter {
    struct stele__waiter *prev;
    struct stele__waiter *next;
    uint64_t ticket; /* 0: not in line yet */
    uint64_t names_id;
    uint64_t since_ns; /* the call began */
    uint64_t now_ns;
    stele__deadline deadline;
    bool is_relink;
    bool warned;
    bool done;
    stele__slot *slot; /* handed over */
    stele_status status;
    pthread_cond_t cond;
} stele__waiter;

typedef struct stele__thread {
    pthread_t id;
    bool started;
    bool ended;
} stele__thread;

struct stele__pool {
    pthread_mutex_t mutex;
    uint32_t fork_epoch;
    bool child_closed;

    stele__pool_config config;
    stele__link_params params; /* but for the values */
    stele__conn_ops ops;

    size_t handles;
    size_t refs; /* the open pool, its threads, holds: the last frees, … */
    size_t out;  /* … unless leases are out: then the last of those */
    bool closing;
    bool stopping; /* threads end */
    void *last_handle;
    pthread_cond_t calm; /* something that closing waits for has happened */

    stele__slot *slots;
    stele__slot *idle; /* newest first */
    stele__slot *oldest_idle;
    stele__slot *free_slots;
    uint32_t total; /* slots that are not free */
    uint32_t idle_count;
    uint32_t in_use;
    uint64_t generation;
    uint64_t last_loss_ns;
    uint64_t jitter; /* state of the generator */

    stele__lease *free_leases;

    stele__waiter *first;
    stele__waiter *last;
    uint32_t waiting;
    uint64_t ticket;

    /* connecting */
    stele__thread connectors[STELE__CONNECTORS];
    pthread_cond_t connect_cond;
    stele__slot *connect_first; /* queued */
    stele__slot *connect_last;
    uint32_t connecting; /* queued and under way */
    uint32_t under_way;
    uint32_t failures;   /* in a row */
    bool server_is_full; /* the last failure was 53300: it runs, and links will come free */
    bool is_down;        /* as the last failure left it: links in use are no hope either */
    bool seen_alive;     /* a lease has talked to the server since the last failure */
    uint64_t next_attempt_ns;
    stele_error last_error;
    size_t first_host; /* of several, the one to begin with */

    /* the keeper */
    stele__thread keeper;
    int wake_fd;
    struct pollfd *poll_fds;   /* the wake-up call and one for each slot; the keeper's */
    stele__slot *retire_first; /* not yet seen by the keeper */
    uint32_t retiring;

    stele_pool_stats stats; /* `wait` without those who did not wait, … */
    uint64_t acquired_late; /* … which are all acquired but these */
};

static inline void stele__pool_lock(stele__pool *pool)
{
    (void)pthread_mutex_lock(&pool->mutex);
}

static inline void stele__pool_unlock(stele__pool *pool)
{
    (void)pthread_mutex_unlock(&pool->mutex);
}

static inline bool stele__pool_is_foreign(const stele__pool *pool)
{
    return pool->fork_epoch != stele__fork_epoch;
}

/* ---- what every lease runs through ---- */

static inline void stele__slot_unlink_idle_locked(stele__pool *pool, stele__slot *slot)
{
    if (slot->prev != NULL)
        slot->prev->next = slot->next;
    else
        pool->idle = slot->next;
    if (slot->next != NULL)
        slot->next->prev = slot->prev;
    else
        pool->oldest_idle = slot->prev;
    slot->prev = NULL;
    slot->next = NULL;
    pool->idle_count--;
}

static inline void stele__slot_push_idle_locked(stele__pool *pool, stele__slot *slot)
{
    slot->state = STELE__SLOT_IDLE;
    slot->next = pool->idle;
    if (pool->idle != NULL)
        pool->idle->prev = slot;
    else
        pool->oldest_idle = slot;
    pool->idle = slot;
    pool->idle_count++;
}

/* ---- pool.c ---- */

/** Uniform in [0, below); 0 for 0. */
uint64_t stele__pool_random_locked(stele__pool *pool, uint64_t below);

/** Gives up one reference. Unlocks; the last one frees the pool. */
void stele__pool_unref_unlock(stele__pool *pool);

/** Starts a thread that no signal reaches. False when there are no means. */
bool stele__pool_start_thread(pthread_t *ret_id, void *(*run)(void *), void *arg, bool detached);

/* ---- pool_slot.c ---- */

/** Hands a usable slot, leased no more, to who is first in line. */
void stele__slot_hand_over_locked(stele__pool *pool, stele__slot *slot);

/** Hands a usable slot to who is first in line, or makes it idle. */
static inline void stele__slot_offer_locked(stele__pool *pool, stele__slot *slot, uint64_t now_ns)
{
    if (slot->state == STELE__SLOT_LEASED)
        pool->in_use--;
    slot->lease = NULL;
    slot->idle_since_ns = now_ns;
    if (pool->first == NULL)
        stele__slot_push_idle_locked(pool, slot);
    else
        stele__slot_hand_over_locked(pool, slot);
}

/** A free slot that counts against the maximum from here on, or NULL. */
stele__slot *stele__slot_reserve_locked(stele__pool *pool);

/** The server's side is gone: the place is free for another. */
void stele__slot_free_locked(stele__pool *pool, stele__slot *slot);

/** Leaves the link to the keeper; the slot counts until the server's side is gone. */
void stele__slot_retire_locked(stele__pool *pool, stele__slot *slot, stele_close_reason reason);

/** All idle slots: those of old generations, or all. */
void stele__slot_drain_idle_locked(stele__pool *pool, stele_close_reason reason);

/** A link was lost by the server's doing: the second within a second condemns all of its age. */
void stele__pool_note_loss_locked(stele__pool *pool, const stele__slot *slot, uint64_t now_ns);

/** Condemns all links that exist. */
void stele__pool_bump_locked(stele__pool *pool);

/* ---- pool_wait.c ---- */

/**
 * A slot for `waiter`, in line. Waits with the mutex released.
 *
 * Errors: STELE_E_CLOSED, STELE_E_BUSY, STELE_E_TIMEOUT, and what connecting failed with.
 */
stele_status stele__pool_take_locked(stele__pool *pool, stele__waiter *waiter,
                                     stele__slot **ret_slot, stele_error *err);

/** Sends everybody in line away with `status`; for failures to connect with the last error. */
void stele__pool_fail_waiters_locked(stele__pool *pool, stele_status status);

void stele__waiter_leave_locked(stele__pool *pool, stele__waiter *waiter);

/* ---- pool_connect.c ---- */

/** Sees to it that somebody connects for those in line and for min_idle. */
void stele__pool_connect_locked(stele__pool *pool);

/**
 * Opens a link within connect_timeout. Of several hosts each gets its share of the time: one that
 * does not answer at all must not hide the others. `*first_host` is where to begin, and begin next.
 */
stele_status stele__pool_open_link(const stele__pool *pool, size_t *first_host,
                                   stele__link **ret_link, stele_error *err);

/** Makes a connected link a slot's. */
void stele__slot_connected_locked(stele__pool *pool, stele__slot *slot, stele__link *link,
                                  uint64_t now_ns);

/** True if the server is known to be down, and no attempt is due at `now_ns`. */
bool stele__pool_is_down_locked(const stele__pool *pool, uint64_t now_ns);

/** No link is in use any more: who stood in line for one is told, not left until the next attempt. */
void stele__pool_lost_last_locked(stele__pool *pool);

/* ---- pool_lease.c ---- */

void stele__pool_set_ops(stele__pool *pool);

long stele__pool_thread_id(void);

/* ---- pool_cancel.c ---- */

stele_status stele__pool_cancel(stele_conn *conn, stele_error *err);

/** Sends a cancel request from a thread of its own. False when there are no means. */
bool stele__slot_cancel_locked(stele__pool *pool, stele__slot *slot);

/** Parts with a link that somebody still holds: the last holder closes it. */
void stele__slot_abandon_locked(stele__slot *slot);

/* ---- pool_close.c ---- */

/** In a forked child: closes the copy of the descriptor, and leaves the session to the parent. */
void stele__slot_close_in_child(stele__slot *slot);

/* ---- pool_reap.c ---- */

void *stele__pool_keeper(void *arg);

/** Wakes the keeper. */
void stele__pool_wake(const stele__pool *pool);

#endif
