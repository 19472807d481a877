/**
 * The inside of a lease, shared by the floors from stmt to db.
 *
 * Floor: conn.
 */
#ifndef STELE_CONN_INTERNAL_H
#define STELE_CONN_INTERNAL_H

#include "link.h"
#include "stele/observe.h"

/** Names of one module that differ from the handle's. */
typedef struct stele__pinned {
    const char *module;
    char schema[STELE_NAME_SIZE];
    char prefix[STELE_NAME_SIZE];
} stele__pinned;

/** Names and policies in force; immutable. Two with the same content have the same id. */
typedef struct stele__names {
    uint64_t id;
    char schema[STELE_NAME_SIZE]; /* "" for none; folded as the modules ask */
    char prefix[STELE_NAME_SIZE];
    bool soft_delete; /* false: delete and expire remove rows */
    const stele__pinned *pins;
    size_t pin_count;
} stele__names;

#define STELE__PENDING_MAX 4
#define STELE__PENDING_SIZE 112

typedef enum stele__tx_state {
    STELE__TX_NONE,
    STELE__TX_BEGUN, /* BEGIN is pending: it leaves with the next statement */
    STELE__TX_OPEN   /* the server has it */
} stele__tx_state;

/** A transaction as this client sees it. */
typedef struct stele__tx {
    stele__tx_state state;
    uint32_t serial; /* of the last transaction begun on the lease */
    bool commit_sent;
    bool lost;         /* the link was lost inside it */
    bool stale;        /* it failed only because a cached plan no longer fitted */
    int pending_count; /* BEGIN, SAVEPOINT … to send with the next statement */
    char pending[STELE__PENDING_MAX][STELE__PENDING_SIZE];
    stele_status first_error; /* status of the first error the server sent in it, or OK */
    char first_sqlstate[6];
} stele__tx;

/** What the pool does for the floors below it. */
typedef struct stele__conn_ops {
    /* Gives conn a fresh link in place of the one it has (which may be broken), within `deadline`.
     * After a failure conn has a link without a session: broken, its `pg` NULL. */
    stele_status (*relink)(stele_conn *conn, stele__deadline deadline, stele_error *err);
    /* Sends a cancel request for the link the lease has now, which cannot be closed, replaced or
     * returned meanwhile; implements stele_conn_cancel. Any thread. */
    stele_status (*cancel)(stele_conn *conn, stele_error *err);
    /* Returns the lease: link back to the pool or closed, memory of the lease freed. */
    void (*release)(stele_conn *conn);
    /* Switches names; implements stele_conn_use. */
    stele_status (*use)(stele_conn *conn, stele_db *db, stele_error *err);
} stele__conn_ops;

/**
 * Who has the lease to itself: a pipeline with entries, an open stream. Meanwhile other calls are
 * refused.
 */
typedef struct stele__holder {
    const char *what; /* for errors: "a pipeline …" */
    /* Gives the lease up, whatever is under way: its link ends usable or broken. */
    void (*leave)(struct stele__holder *holder);
    /* Goes on without waiting; STELE_AGAIN while there is more to do. NULL: nothing was started. */
    stele_status (*step)(struct stele__holder *holder, stele_error *err);
    bool wants_write;         /* what is to be sent waits for the socket */
    stele__deadline deadline; /* of what was started */
} stele__holder;

/** Who watches the statements of a handle. */
typedef struct stele__hooks {
    stele_query_fn on_start;
    stele_query_fn on_end;
    stele_query_fn on_slow;
    uint64_t slow_ns;
    bool show_parameters;
    void *user;
} stele__hooks;

struct stele_conn {
    stele__link *link; /* never NULL while leased, but may be broken */
    const stele__names *names;
    const stele__conn_ops *ops;
    stele__holder *held;       /* NULL: free for any call */
    stele__limits limits;      /* the deadline is the lease's, the timeout each call's */
    const bool *given_up;      /* of its links, see stele__link; NULL: none */
    bool observed;             /* there are hooks, or a trace: the one thing that a call looks at */
    bool sampled;              /* statements carry the trace */
    char trace[56];            /* traceparent, or "" */
    const stele__hooks *hooks; /* NULL: nobody watches */
    stele__tx tx;
    /* Static string of generated code, or NULL. Leak reports read it from another thread: set it with
     * __atomic_store_n(…, __ATOMIC_RELAXED). */
    const char *last_statement;
    uint64_t
        round_trips_before; /* of links this lease has left, minus what the present one began with */
    void *owner;            /* the pool's own record of this lease */
};

/** Writes a BEGIN into a buffer of STELE__PENDING_SIZE bytes. */
void stele__write_begin(char *sql, stele_isolation isolation, stele_access access, bool deferrable);

/** A setting of the transaction that was just begun; it leaves with the first statement. */
void stele__tx_set_local(stele_conn *conn, const char *setting, uint32_t value);

/** The earlier of the lease's deadline and now plus the call timeout. */
stele__deadline stele__conn_deadline(const stele_conn *conn);

/**
 * From here on, nothing on the lease waits for the server once `*given_up` (atomic) is true: what is
 * under way then ends as at its deadline. NULL before the lease is released.
 */
void stele__conn_heed(stele_conn *conn, const bool *given_up);

/** Why a lease cannot be used as it is; outside a transaction a broken link is replaced. */
stele_status stele__conn_unusable(const stele_conn *conn, stele_error *err);

/** STELE_E_MISUSE, saying who holds the lease. */
stele_status stele__conn_is_held(const stele_conn *conn, stele_error *err);

/** Ends what holds the lease, if anything. */
static inline void stele__conn_free(stele_conn *conn)
{
    if (conn->held != NULL)
        conn->held->leave(conn->held);
}

/** True if the lease can be used as it is: free, not forked, and its link alive. */
static inline bool stele__conn_is_ready(const stele_conn *conn)
{
    return !conn->link->broken && !stele__link_is_foreign(conn->link) && conn->held == NULL;
}

/** STELE_OK if the lease can be used, perhaps on another link. */
static inline stele_status stele__conn_usable(const stele_conn *conn, stele_error *err)
{
    if (__builtin_expect(stele__conn_is_ready(conn), 1))
        return STELE_OK;
    return stele__conn_unusable(conn, err);
}

#endif
