/**
 * Transactions. BEGIN and SAVEPOINT travel with the next statement and cost no wait of their own.
 *
 * Floor: tx.
 */
#ifndef STELE_TX_H
#define STELE_TX_H

#include "stele/conn.h"

STELE_BEGIN_DECLS

typedef struct stele_tx_options {
    size_t size; /* sizeof(stele_tx_options); set by STELE_TX_OPTIONS_INIT */
    stele_isolation isolation;
    stele_access access;
    bool deferrable;
    uint32_t max_attempts;   /* stele_tx_run: 0 = 10 */
    bool retry_lock_timeout; /* stele_tx_run: also after 55P03 and 57014 from our own timeout */
} stele_tx_options;

#ifdef __cplusplus
#define STELE_TX_OPTIONS_INIT                                                                      \
    {                                                                                              \
        sizeof(stele_tx_options), STELE_ISOLATION_DEFAULT, STELE_ACCESS_DEFAULT, false, 0, false   \
    }
#else
#define STELE_TX_OPTIONS_INIT                                                                      \
    {                                                                                              \
        .size = sizeof(stele_tx_options)                                                           \
    }
#endif

/** Opens a transaction with the next statement. `options` NULL: defaults. Nested: STELE_E_MISUSE. */
STELE_API STELE_MUST_CHECK stele_status stele_tx_begin(stele_conn *conn,
                                                       const stele_tx_options *options,
                                                       stele_error *err);

/**
 * Commits. STELE_OK only when the server answered with the tag COMMIT.
 *
 * Whatever it answers but STELE_E_MISUSE and STELE_E_FORKED, the transaction is over. One in which no
 * statement ran is committed without a wait.
 *
 * Errors: STELE_E_ABORTED when a statement had failed (the server rolled back); STELE_E_LOST when the
 *         connection was lost before COMMIT was sent, so that nothing is stored; STELE_E_UNKNOWN when it
 *         was lost, or the deadline passed, after that: the work may be stored or not;
 *         STELE_E_SERIALIZATION, constraint errors of deferred constraints; STELE_E_MISUSE without a
 *         transaction, or while a pipeline or stream has the connection.
 */
STELE_API STELE_MUST_CHECK stele_status stele_tx_commit(stele_conn *conn, stele_error *err);

/** Rolls back, giving up an open pipeline or stream. Without a transaction it does nothing more. A lost
 *  connection is no error: the server rolls back. Errors: STELE_E_FORKED. */
STELE_API STELE_MUST_CHECK stele_status stele_tx_rollback(stele_conn *conn, stele_error *err);

/**
 * Sets a savepoint with the next statement, goes back to one, or gives it up; the last two wait for the
 * server. `name`: letters, digits, underscores; at most 63.
 *
 * Errors: STELE_E_MISUSE without a transaction; STELE_E_NAME; those of the server.
 */
STELE_API STELE_MUST_CHECK stele_status stele_tx_savepoint(stele_conn *conn, const char *name,
                                                           stele_error *err);
STELE_API STELE_MUST_CHECK stele_status stele_tx_rollback_to(stele_conn *conn, const char *name,
                                                             stele_error *err);
STELE_API STELE_MUST_CHECK stele_status stele_tx_release_savepoint(stele_conn *conn,
                                                                   const char *name,
                                                                   stele_error *err);

/**
 * The body of a transaction. May run several times: it must change nothing but the database.
 *
 * STELE_OK commits, STELE_ROLLBACK rolls back by choice, anything else rolls back and is returned.
 */
typedef stele_status (*stele_tx_fn)(stele_conn *conn, void *user, stele_error *err);

/**
 * Runs `fn` in a transaction, again after serialization failures and deadlocks (40001, 40P01), and
 * on a new connection when the old one was lost before anything could have been committed.
 *
 * What decides is the first error the server sent, even if `fn` swallowed it. Full jitter between
 * attempts (5 ms, doubling, at most 1 s), bounded by the lease's deadline. An unknown outcome of
 * COMMIT is never retried. Answers STELE_ROLLBACK when `fn` did. Inside a transaction:
 * STELE_E_MISUSE.
 */
STELE_API STELE_MUST_CHECK stele_status stele_tx_run(stele_conn *conn,
                                                     const stele_tx_options *options,
                                                     stele_tx_fn fn, void *user, stele_error *err);

STELE_END_DECLS

#endif
