/**
 * Transactions.
 *
 * Floor: tx.
 */
#include "stele/tx.h"

#include <poll.h>
#include <string.h>

#include "conn_internal.h"
#include "run.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define DEFAULT_ATTEMPTS 10
#define BACKOFF_FIRST_MS 5
#define BACKOFF_MAX_MS 1000

static void forget_transaction(stele_conn *conn)
{
    uint32_t serial = conn->tx.serial;
    memset(&conn->tx, 0, sizeof conn->tx);
    conn->tx.serial = serial;
}

/* ---- begin ---- */

static size_t append(char *buf, size_t len, const char *text)
{
    return len + stele__copy_text(buf + len, STELE__PENDING_SIZE - len, text);
}

stele_status stele_tx_begin(stele_conn *conn, const stele_tx_options *options, stele_error *err)
{
    if (conn->tx.state != STELE__TX_NONE)
        return stele__fail(err, STELE_E_MISUSE, "a transaction is open on this connection");
    if (conn->held != NULL)
        return stele__conn_is_held(conn, err);
    if (options != NULL && options->size != sizeof *options)
        return stele__fail(err, STELE_E_INPUT, "options not made by STELE_TX_OPTIONS_INIT");
    stele_tx_options plain = STELE_TX_OPTIONS_INIT;
    if (options == NULL)
        options = &plain;
    stele__write_begin(conn->tx.pending[0], options->isolation, options->access,
                       options->deferrable);
    conn->tx.pending_count = 1;
    conn->tx.serial++;
    conn->tx.state = STELE__TX_BEGUN;
    return STELE_OK;
}

void stele__tx_set_local(stele_conn *conn, const char *setting, uint32_t value)
{
    stele__buf buf = {0};
    stele__buf_addf(&buf, "SET LOCAL %s = %u", setting, value);
    if (!buf.failed) /* without it, the connection's own holds */
        (void)stele__copy_text(conn->tx.pending[conn->tx.pending_count++], STELE__PENDING_SIZE,
                               stele__buf_text(&buf));
    stele__buf_release(&buf);
}

/* ---- end ---- */

static stele_status finish(stele_conn *conn, const char *sql, struct pg_result **ret_result,
                           stele_error *err)
{
    stele__step step = {.kind = STELE__STEP_SIMPLE, .sql = sql};
    return stele__exchange(conn, &step, 1, STELE__ANYTHING, ret_result, NULL, err);
}

static stele_status lost_error(stele_error *err)
{
    stele_status st =
        stele__fail(err, STELE_E_LOST, "the connection was lost; the transaction is rolled back");
    if (err != NULL)
        err->retryable = true;
    return st;
}

static stele_status aborted_error(const stele_conn *conn, stele_error *err)
{
    (void)stele__fail(err, STELE_E_ABORTED,
                      "not committed: a statement had failed, and the server rolled back");
    stele__error_hint(err, "a failed statement ends its transaction; roll back to a savepoint set "
                           "before it to go on");
    if (conn->tx.first_error != STELE_OK)
        stele__error_detail(err, "the first error was %s (SQLSTATE %s)",
                            stele_status_name(conn->tx.first_error), conn->tx.first_sqlstate);
    return STELE_E_ABORTED;
}

/* Whatever became of COMMIT or ROLLBACK: nothing may run in the old transaction any more. */
static void leave_transaction(stele_conn *conn)
{
    if (!conn->link->broken && stele__link_tx_status(conn->link) != STELE__TX_IDLE) {
        stele_error ignored;
        (void)stele__link_rollback(conn->link, stele__conn_deadline(conn), &ignored);
        if (stele__link_tx_status(conn->link) != STELE__TX_IDLE)
            conn->link->broken = true;
    }
    if (conn->link->broken)
        stele__link_hang_up(conn->link); /* locks go now, not when the lease is used again */
    forget_transaction(conn);
}

/* An aborted transaction answers COMMIT with success and the tag ROLLBACK. */
static stele_status send_commit(stele_conn *conn, stele_error *err)
{
    struct pg_result *result;
    /* What is known to be dead before COMMIT leaves has rolled back for certain. */
    if (!stele__link_alive(conn->link))
        return lost_error(err);
    conn->tx.commit_sent = true;
    stele_status st = finish(conn, "COMMIT", &result, err);
    if (st != STELE_OK)
        return st;
    bool committed = strcmp(stele__result_tag(result), "COMMIT") == 0;
    stele__result_clear(result);
    return committed ? STELE_OK : aborted_error(conn, err);
}

stele_status stele_tx_commit(stele_conn *conn, stele_error *err)
{
    stele_error local;
    stele_status st = STELE_OK;
    if (err == NULL)
        err = &local;
    if (conn->tx.state == STELE__TX_NONE)
        return stele__fail(err, STELE_E_MISUSE, "no transaction to commit");
    if (conn->held != NULL)
        return stele__conn_is_held(conn, err);
    if (stele__link_is_foreign(conn->link))
        return stele__fail(err, STELE_E_FORKED, "the connection belongs to the parent process");
    if (conn->tx.lost)
        st = lost_error(err);
    else if (conn->tx.state == STELE__TX_OPEN)
        st = send_commit(conn, err);
    else if (conn->tx.first_error != STELE_OK)
        st = aborted_error(conn, err); /* BEGIN itself was refused */
    leave_transaction(conn);
    return st;
}

static void roll_back(stele_conn *conn)
{
    stele_error ignored;
    struct pg_result *result;
    stele__conn_free(conn);
    /* When the link is lost on the way, the server rolls back on its own. */
    if (conn->tx.state == STELE__TX_OPEN && !conn->tx.lost &&
        finish(conn, "ROLLBACK", &result, &ignored) == STELE_OK)
        stele__result_clear(result);
    leave_transaction(conn);
}

stele_status stele_tx_rollback(stele_conn *conn, stele_error *err)
{
    if (stele__link_is_foreign(conn->link))
        return stele__fail(err, STELE_E_FORKED, "the connection belongs to the parent process");
    roll_back(conn);
    return STELE_OK;
}

/* ---- savepoints ---- */

static bool is_plain_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return len > 0 && len < STELE_NAME_SIZE && name[len] == '\0';
}

static stele_status check_savepoint(const stele_conn *conn, const char *name, stele_error *err)
{
    if (conn->tx.state == STELE__TX_NONE)
        return stele__fail(err, STELE_E_MISUSE, "a savepoint needs a transaction");
    if (conn->held != NULL)
        return stele__conn_is_held(conn, err);
    if (name == NULL || !is_plain_name(name))
        return stele__fail(err, STELE_E_NAME,
                           "savepoint names are 1 to 63 letters, digits and underscores");
    return STELE_OK;
}

static stele_status run_savepoint_sql(stele_conn *conn, const char *verb, const char *name,
                                      stele_error *err)
{
    char sql[STELE__PENDING_SIZE];
    struct pg_result *result;
    size_t len = append(sql, 0, verb);
    len = append(sql, len, " \"");
    len = append(sql, len, name);
    (void)append(sql, len, "\"");
    stele_status st = stele__run_sql(conn, sql, NULL, 0, &result, err);
    if (st == STELE_OK)
        stele__result_clear(result);
    return st;
}

stele_status stele_tx_savepoint(stele_conn *conn, const char *name, stele_error *err)
{
    stele_status st = check_savepoint(conn, name, err);
    if (st != STELE_OK)
        return st;
    if (conn->tx.pending_count == STELE__PENDING_MAX)
        return run_savepoint_sql(conn, "SAVEPOINT", name, err);
    char *sql = conn->tx.pending[conn->tx.pending_count++];
    size_t len = append(sql, 0, "SAVEPOINT \"");
    len = append(sql, len, name);
    (void)append(sql, len, "\"");
    return STELE_OK;
}

stele_status stele_tx_rollback_to(stele_conn *conn, const char *name, stele_error *err)
{
    stele_status st = check_savepoint(conn, name, err);
    if (st == STELE_OK)
        st = run_savepoint_sql(conn, "ROLLBACK TO SAVEPOINT", name, err);
    if (st == STELE_OK) {
        /* The error is mended; a later one decides anew. */
        conn->tx.first_error = STELE_OK;
        conn->tx.first_sqlstate[0] = '\0';
        conn->tx.stale = false;
    }
    return st;
}

stele_status stele_tx_release_savepoint(stele_conn *conn, const char *name, stele_error *err)
{
    stele_status st = check_savepoint(conn, name, err);
    return st == STELE_OK ? run_savepoint_sql(conn, "RELEASE SAVEPOINT", name, err) : st;
}

/* ---- run ---- */

/* Whether running the whole transaction again is safe and may help. */
static bool may_retry(const stele__tx *tx, const stele_tx_options *options, stele_status st)
{
    if (st == STELE_E_UNKNOWN || st == STELE_E_FORKED || st == STELE_E_CLOSED)
        return false;
    if (tx->first_error == STELE_E_SERIALIZATION || st == STELE_E_SERIALIZATION || tx->stale)
        return true;
    if (tx->lost)
        return tx->first_error == STELE_E_LOST || st == STELE_E_LOST || st == STELE_E_READ_ONLY;
    if (options != NULL && options->retry_lock_timeout)
        return tx->first_error == STELE_E_LOCKED || tx->first_error == STELE_E_CANCELED;
    return false;
}

/* Full jitter: anything between nothing and the doubled step. False if the deadline forbids it. */
static bool back_off(const stele_conn *conn, uint32_t attempt)
{
    uint32_t step = attempt < 9 ? (uint32_t)BACKOFF_FIRST_MS << (attempt - 1) : BACKOFF_MAX_MS;
    uint64_t now = (uint64_t)stele__now_ns();
    uint64_t dice = stele__hash64(now, &conn, sizeof conn);
    int ms = (int)(dice % ((step < BACKOFF_MAX_MS ? step : BACKOFF_MAX_MS) + 1));
    if (conn->limits.deadline != STELE__NEVER &&
        now + (uint64_t)ms * 1000000u >= conn->limits.deadline)
        return false;
    (void)poll(NULL, 0, ms);
    return true;
}

/* One attempt; `ret_tx` gets what the transaction had come to. */
static stele_status run_once(stele_conn *conn, const stele_tx_options *options, stele_tx_fn fn,
                             void *user, stele__tx *ret_tx, stele_error *err)
{
    stele_status st = stele_tx_begin(conn, options, err);
    if (st != STELE_OK)
        return st;
    uint32_t serial = conn->tx.serial;
    st = fn(conn, user, err);
    *ret_tx = conn->tx;
    if (st < 0 && err->status == STELE_OK)
        (void)stele__fail(err, st, "the body of the transaction failed");
    if (stele__link_is_foreign(conn->link))
        return stele__fail(err, STELE_E_FORKED, "the connection belongs to the parent process");
    if (conn->tx.state == STELE__TX_NONE || conn->tx.serial != serial) {
        roll_back(conn);
        return stele__fail(err, STELE_E_MISUSE,
                           "the body of stele_tx_run must not end the transaction itself");
    }
    if (st == STELE_OK) {
        st = stele_tx_commit(conn, err);
        ret_tx->lost = ret_tx->lost || st == STELE_E_LOST; /* before COMMIT left */
        return st;
    }
    roll_back(conn);
    return st;
}

stele_status stele_tx_run(stele_conn *conn, const stele_tx_options *options, stele_tx_fn fn,
                          void *user, stele_error *err)
{
    /* A caller's error is left alone when a later attempt succeeds. */
    stele_error local;
    stele__tx tx;
    stele_status st;
    if (conn->tx.state != STELE__TX_NONE)
        return stele__fail(err, STELE_E_MISUSE, "a transaction is open on this connection");
    uint32_t max =
        options != NULL && options->max_attempts > 0 ? options->max_attempts : DEFAULT_ATTEMPTS;
    for (uint32_t attempt = 1;; attempt++) {
        memset(&tx, 0, sizeof tx);
        stele_error_clear(&local);
        st = run_once(conn, options, fn, user, &tx, &local);
        if (st == STELE_OK || st == STELE_E_MISUSE || !may_retry(&tx, options, st))
            break;
        if (attempt >= max || !back_off(conn, attempt))
            break;
    }
    if (st < 0 && err != NULL)
        *err = local;
    return st;
}
