/**
 * The lease: what an application holds between acquire and release.
 *
 * Floor: stmt.
 */
#include "stele/conn.h"

#include "conn_internal.h"
#include "run.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

stele__deadline stele__conn_deadline(const stele_conn *conn)
{
    stele__deadline call = stele__deadline_in(conn->limits.timeout_ms);
    return call < conn->limits.deadline ? call : conn->limits.deadline;
}

void stele__conn_heed(stele_conn *conn, const bool *given_up)
{
    conn->given_up = given_up;
    conn->link->given_up = given_up;
}

stele_status stele__conn_unusable(const stele_conn *conn, stele_error *err)
{
    if (stele__link_is_foreign(conn->link)) {
        stele_status st =
            stele__fail(err, STELE_E_FORKED, "the connection belongs to the parent process");
        stele__error_hint(err, "open a handle of its own in the child");
        return st;
    }
    if (conn->held != NULL)
        return stele__conn_is_held(conn, err);
    if (conn->tx.lost || conn->tx.state == STELE__TX_OPEN) {
        stele_status st =
            stele__fail(err, STELE_E_ABORTED, "the connection was lost inside the transaction");
        stele__error_hint(err, "roll back, and run the whole transaction again");
        return st;
    }
    stele__deadline deadline = stele__conn_deadline(conn);
    return conn->ops->relink((stele_conn *)(uintptr_t)conn, deadline, err);
}

stele_status stele__conn_is_held(const stele_conn *conn, stele_error *err)
{
    stele_status st =
        stele__fail(err, STELE_E_MISUSE, "the connection is used by %s", conn->held->what);
    stele__error_hint(err, "end that first, or take another connection");
    return st;
}

void stele_conn_release(stele_conn *conn)
{
    if (conn == NULL)
        return;
    stele__conn_free(conn);
    if (conn->observed) { /* the trace ends here */
        conn->trace[0] = '\0';
        conn->sampled = false;
        conn->observed = conn->hooks != NULL;
    }
    conn->ops->release(conn);
}

void stele_conn_autofree(stele_conn **conn)
{
    stele_conn_release(*conn);
}

void stele_conn_set_deadline(stele_conn *conn, uint32_t deadline_ms)
{
    conn->limits.deadline = deadline_ms > 0 ? stele__deadline_in(deadline_ms) : STELE__NEVER;
}

stele_status stele_conn_cancel(stele_conn *conn, stele_error *err)
{
    return conn->ops->cancel(conn, err);
}

stele_status stele_conn_use(stele_conn *conn, stele_db *db, stele_error *err)
{
    return conn->ops->use(conn, db, err);
}

uint64_t stele_conn_round_trips(const stele_conn *conn)
{
    return conn->round_trips_before + conn->link->round_trips;
}

int stele_conn_backend_pid(const stele_conn *conn)
{
    return conn->link->broken ? 0 : conn->link->backend_pid;
}

int stele_conn_server_version(const stele_conn *conn)
{
    return conn->link->server_version;
}

bool stele_conn_in_transaction(const stele_conn *conn)
{
    return conn->tx.state != STELE__TX_NONE;
}

void stele__write_begin(char *sql, stele_isolation isolation, stele_access access, bool deferrable)
{
    static const char *const levels[] = {"", " ISOLATION LEVEL READ COMMITTED",
                                         " ISOLATION LEVEL REPEATABLE READ",
                                         " ISOLATION LEVEL SERIALIZABLE"};
    static const char *const accesses[] = {"", " READ WRITE", " READ ONLY"};
    const char *const pieces[] = {"BEGIN", (size_t)isolation < 4 ? levels[isolation] : "",
                                  (size_t)access < 3 ? accesses[access] : "",
                                  deferrable ? " DEFERRABLE" : ""};
    size_t len = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        len += stele__copy_text(sql + len, STELE__PENDING_SIZE - len, pieces[i]);
}

/* libpq wants terminated texts; a terminated copy also reveals what would be cut. */
static stele_status text_params(const stele_str *params, size_t count, stele__block *block,
                                const char ***ret_values, stele_error *err)
{
    const char **values = stele__block_calloc(block, count > 0 ? count : 1, sizeof *values);
    if (values == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for parameters");
    for (size_t i = 0; i < count; i++) {
        if (params[i].data == NULL)
            continue;
        if (memchr(params[i].data, '\0', params[i].len) != NULL)
            return stele__fail(err, STELE_E_VALUE, "parameter $%zu contains a NUL byte", i + 1);
        values[i] = stele__block_strndup(block, params[i].data, params[i].len);
        if (values[i] == NULL)
            return stele__fail(err, STELE_E_NOMEM, "out of memory for parameters");
    }
    *ret_values = values;
    return STELE_OK;
}

/*
 * BEGIN and COMMIT as plain SQL: what the lease takes for its transaction decides what a lost
 * connection means and whether a statement may move to another one, so the two must not part.
 */
static stele_status check_transaction(stele_conn *conn, stele_error *err)
{
    stele_error ignored;
    stele__tx_status now = stele__link_tx_status(conn->link);
    bool is_in = now == STELE__TX_IN || now == STELE__TX_ERROR;
    if (conn->link->broken || is_in == (conn->tx.state == STELE__TX_OPEN))
        return STELE_OK;
    if (is_in)
        (void)stele__link_rollback(conn->link, stele__conn_deadline(conn), &ignored);
    conn->tx.state = STELE__TX_NONE;
    conn->tx.pending_count = 0;
    stele_status st = stele__fail(err, STELE_E_MISUSE, "SQL may not begin or end a transaction");
    stele__error_hint(err, "use stele_tx_begin, stele_tx_commit and stele_tx_rollback");
    return st;
}

stele_status stele_conn_exec(stele_conn *conn, const char *sql, const stele_str *params,
                             size_t param_count, uint64_t *ret_rows, stele_error *err)
{
    char space[512];
    stele__block block;
    const char **values = NULL;
    struct pg_result *result = NULL;
    if (conn->held != NULL)
        return stele__conn_is_held(conn, err);
    if (param_count > 65535)
        return stele__fail(err, STELE_E_INPUT, "%zu parameters; the protocol takes 65535",
                           param_count);
    stele__block_init(&block, space, sizeof space);
    stele_status st = text_params(params, param_count, &block, &values, err);
    if (st == STELE_OK) {
        st = stele__run_sql(conn, sql, values, (int)param_count, &result, err);
        conn->link->dirty_session = true; /* of the link it ran on, which may be a new one */
    }
    if (st == STELE_OK && ret_rows != NULL)
        *ret_rows = stele__result_affected(result);
    stele__result_clear(result);
    stele__block_release(&block);
    stele_status moved = check_transaction(conn, st == STELE_OK ? err : NULL);
    return st == STELE_OK ? moved : st;
}
