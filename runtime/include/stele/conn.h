/**
 * A connection lease: what generated functions run on.
 *
 * stele_db_acquire() gives one, stele_conn_release() returns it. One thread at a time. Between the
 * two it may move to another server connection (stele_tx_run does that after a failover).
 *
 * Floor: conn.
 */
#ifndef STELE_CONN_H
#define STELE_CONN_H

#include "stele/value.h"

STELE_BEGIN_DECLS

typedef struct stele_conn stele_conn;
typedef struct stele_db stele_db;
typedef struct stele_pipeline stele_pipeline;
typedef struct stele_module stele_module; /* of generated code: its tables and their DDL */

typedef enum stele_isolation {
    STELE_ISOLATION_DEFAULT = 0, /* what the server is set to */
    STELE_READ_COMMITTED,
    STELE_REPEATABLE_READ,
    STELE_SERIALIZABLE
} stele_isolation;

typedef enum stele_access {
    STELE_ACCESS_DEFAULT = 0,
    STELE_READ_WRITE,
    STELE_READ_ONLY
} stele_access;

/** Returns the lease to its pool, also in a forked child. An open transaction is rolled back (and
 *  counted as dirty), a pipeline or stream given up. NULL is ignored. */
STELE_API void stele_conn_release(stele_conn *conn);
STELE_API void stele_conn_autofree(stele_conn **conn); /* for STELE_AUTO */

/**
 * Runs one SQL statement with text parameters ($1, …; data NULL for SQL NULL), rows discarded.
 *
 * For what has no place in a schema: SET ROLE, set_config, utility commands. `sql` must not come
 * from users. `ret_rows` (may be NULL) gets the rows affected. The session is reset when the lease
 * returns.
 *
 * Errors: those of the server; STELE_E_VALUE for a NUL byte; STELE_E_UNSUPPORTED for COPY;
 *         STELE_E_MISUSE when the SQL began or ended a transaction; what it began is rolled back.
 */
STELE_API STELE_MUST_CHECK stele_status stele_conn_exec(stele_conn *conn, const char *sql,
                                                        const stele_str *params, size_t param_count,
                                                        uint64_t *ret_rows, stele_error *err);

/**
 * Bounds every call on this lease: none waits past `deadline_ms` from now. 0 takes the bound away;
 * the db's call timeout still holds. A call that runs into a deadline answers STELE_E_TIMEOUT, the
 * statement is canceled and the server connection is not used again.
 */
STELE_API void stele_conn_set_deadline(stele_conn *conn, uint32_t deadline_ms);

/**
 * Asks the server to stop what this lease is running. The only call that another thread may make
 * while the lease is in use. The running call answers STELE_E_CANCELED if the request won. It connects
 * to the server on its own, and waits for that as long as the network does.
 *
 * Errors: STELE_E_CONNECT, STELE_E_MISUSE (the connection is lost), STELE_E_FORKED, STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_conn_cancel(stele_conn *conn, stele_error *err);

/** Uses the names and policies of `db` (same pool) from here on, also inside a transaction.
 *  Errors: STELE_E_MISUSE for a handle of another pool, STELE_E_INPUT, STELE_E_FORKED. */
STELE_API STELE_MUST_CHECK stele_status stele_conn_use(stele_conn *conn, stele_db *db,
                                                       stele_error *err);

/** Times this lease has waited for the server since it was acquired. */
STELE_API uint64_t stele_conn_round_trips(const stele_conn *conn);

/** Process id of the server backend, 0 if none. */
STELE_API int stele_conn_backend_pid(const stele_conn *conn);

/** Version of the server, for example 150018. */
STELE_API int stele_conn_server_version(const stele_conn *conn);

/** True inside a transaction, begun or about to begin with the next statement. */
STELE_API bool stele_conn_in_transaction(const stele_conn *conn);

STELE_END_DECLS

#endif
