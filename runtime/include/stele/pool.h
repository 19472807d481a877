/**
 * The rules and the numbers of a pool of connections, as stele_db_open takes and
 * stele_db_pool_stats gives them.
 *
 * Floor: pool.
 */
#ifndef STELE_POOL_H
#define STELE_POOL_H

#include "stele/conn.h"
#include "stele/latency.h"

STELE_BEGIN_DECLS

/** Pool rules. 0 takes the default in brackets; times are in milliseconds. */
typedef struct stele_pool_options {
    uint32_t max_connections;    /* [10] */
    uint32_t min_idle;           /* [0] kept open in the background */
    uint32_t max_waiters;        /* [1000] a further caller gets STELE_E_BUSY at once */
    uint32_t acquire_timeout_ms; /* [30000] waiting, connecting and checking together */
    uint32_t connect_timeout_ms; /* [10000] one attempt */
    uint32_t max_lifetime_ms;    /* [1800000] minus up to a quarter, at random per connection */
    uint32_t max_idle_ms;        /* [600000] */
    uint32_t ping_after_ms;      /* [1000] an idle connection older than this is pinged */
    uint32_t ping_timeout_ms;    /* [1000] */
    uint32_t leak_after_ms; /* [30000] a lease held longer is reported once; never taken away */
} stele_pool_options;

/** A lease held for too long: see stele_db_options.on_leak. */
typedef struct stele_leak_report {
    uint64_t held_ms;
    const char *file; /* where it was acquired */
    int line;
    long thread_id;
    const char *statement; /* name of the statement it ran last; NULL if none */
} stele_leak_report;

/** Why a pool closed a connection, in stele_pool_stats.closed. */
typedef enum stele_close_reason {
    STELE_CLOSED_LIFETIME,
    STELE_CLOSED_IDLE,
    STELE_CLOSED_BROKEN,
    STELE_CLOSED_DIRTY,
    STELE_CLOSED_GENERATION, /* a failover was noticed, or stele_db_reset */
    STELE_CLOSED_SHUTDOWN,
    STELE_CLOSE_REASONS
} stele_close_reason;

/** Counters since the pool was opened, and gauges. */
typedef struct stele_pool_stats {
    uint32_t max;
    uint32_t open; /* connected, in use or idle */
    uint32_t in_use;
    uint32_t idle;
    uint32_t connecting;
    uint32_t waiting;
    uint64_t acquired;
    uint64_t waited;   /* acquires that had to queue */
    uint64_t timeouts; /* acquires that ended by their deadline */
    uint64_t rejected; /* acquires refused because max_waiters queued */
    uint64_t created;
    uint64_t closed[STELE_CLOSE_REASONS];
    uint64_t dirty;          /* returned inside a transaction */
    uint64_t check_failures; /* found dead when taken from idle */
    uint64_t connect_errors;
    char last_connect_sqlstate[6];
    uint64_t cancels;
    uint64_t leaks;
    uint64_t use_ns;      /* total time leased */
    stele_latency wait;   /* acquires, by the time they queued, which most do not: a lease whose
                             connection is lost, and which queues for another, is there again */
    stele_latency create; /* attempts to connect, failed ones too */
} stele_pool_stats;

/** Called on each lease after it is taken, before the caller sees it: SET ROLE, row security. */
typedef stele_status (*stele_lease_fn)(stele_conn *conn, void *user, stele_error *err);

STELE_END_DECLS

#endif
