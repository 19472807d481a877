/**
 * The pool: leases of links, in order of arrival.
 *
 * Floor: pool.
 */
#ifndef STELE_POOL_INSIDE_H
#define STELE_POOL_INSIDE_H

#include "conn_internal.h"
#include "conninfo.h"
#include "stele/pool.h"

typedef struct stele__pool stele__pool;

/** Names with their users counted: handles and leases. The count belongs to the pool's lock. */
typedef struct stele__names_box {
    size_t refs;
    size_t fixed_pins; /* pins that derived handles inherit; others follow from folding */
    stele__names names;
    stele__pinned pins[]; /* names.pins */
} stele__names_box;

typedef struct stele__pool_config {
    stele__conninfo conninfo; /* taken over by stele__pool_open when it succeeds */
    stele_pool_options rules; /* without zeros, but for min_idle */
    uint32_t call_timeout_ms;
    uint32_t statement_cache;
    bool unnamed;
    bool generic;    /* plans */
    bool read_write; /* a refused write means that the server was demoted */
    uint32_t tenant_affinity;
    stele_lease_fn on_lease;
    void (*on_notice)(const char *severity, const char *message, void *user);
    void (*on_leak)(const stele_leak_report *report, void *user);
    void *hook_user;
    stele__hooks hooks; /* of statements */
    stele_status (*use)(stele_conn *conn, stele_db *db, stele_error *err);
} stele__pool_config;

/** Connects once, at once. The pool begins with one handle. */
stele_status stele__pool_open(const stele__pool_config *config, stele__pool **ret_pool,
                              stele_error *err);

/** One more handle. False in a forked child or when the pool is closing (`err` filled). */
bool stele__pool_attach(stele__pool *pool, stele_error *err);

/**
 * One handle less; the last one closes the pool. `memory` is the handle's: freed at once, or, when
 * the pool closes, as soon as no lease is out.
 */
void stele__pool_detach(stele__pool *pool, stele__names_box *names, void *memory,
                        uint32_t drain_ms);

/** Where a lease was taken: static text. */
typedef struct stele__place {
    const char *file;
    int line;
} stele__place;

/** Takes a link in line. timeout_ms 0: the pool's. Errors: as stele_db_acquire(). */
stele_status stele__pool_acquire(stele__pool *pool, stele__names_box *names, uint32_t timeout_ms,
                                 const stele__place *place, stele_conn **ret_conn,
                                 stele_error *err);

/**
 * Sends a cancel request for what a lease runs, and waits until the server has taken it, but only for a
 * moment: one that takes longer goes on by itself, and until then there is no other. Who calls sees to
 * it that the lease is not released meanwhile. Any thread.
 */
void stele__pool_nudge(stele_conn *conn);

/** Puts `names` in force for a lease of this pool. Errors: STELE_E_MISUSE, STELE_E_FORKED. */
stele_status stele__pool_use(stele__pool *pool, stele_conn *conn, stele__names_box *names,
                             stele_error *err);

/** Replaces all links: idle ones now, leased ones when they return. */
void stele__pool_reset(stele__pool *pool);

void stele__pool_stats(stele__pool *pool, stele_pool_stats *ret_stats);

/** STELE_OK, or STELE_E_FORKED in a child of the process that opened the pool. */
stele_status stele__pool_check_fork(const stele__pool *pool, stele_error *err);

#endif
