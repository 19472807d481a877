/**
 * Partitions whose rows have all expired: dropped, or detached, as a whole.
 *
 * Where the server can, a partition is detached beside running readers and writers and dropped
 * afterwards, when nobody can see it any more. Elsewhere both happen in one transaction, which needs the
 * whole table for a moment and gives up soon when it does not get it.
 *
 * Floor: sweeper.
 */
#include <string.h>

#include "conn_internal.h"
#include "status_internal.h"
#include "stele/tx.h"
#include "sweeper_internal.h"
#include "text_internal.h"

#include "banned.h"

#define FIRST_WITH_CONCURRENTLY 140000

static stele_status execute(stele_conn *conn, stele__buf *sql, stele_error *err)
{
    stele_status st = sql->failed ? stele__fail(err, STELE_E_NOMEM, "out of memory")
                                  : stele_conn_exec(conn, stele__buf_text(sql), NULL, 0, NULL, err);
    stele__buf_release(sql);
    return st;
}

static stele_status detach(stele_conn *conn, const stele_gen_partition *part, const char *how,
                           stele_error *err)
{
    stele__buf sql = {0};
    stele__buf_addf(&sql, "ALTER TABLE %s DETACH PARTITION %s%s", part->parent.data,
                    part->name.data, how);
    return execute(conn, &sql, err);
}

static stele_status drop(stele_conn *conn, const stele_gen_partition *part, stele_error *err)
{
    stele__buf sql = {0};
    stele__buf_addf(&sql, "DROP TABLE %s", part->name.data);
    return execute(conn, &sql, err);
}

/* Outside a transaction the timeouts are the session's, which the pool resets. To wait for old
 * transactions blocks nobody here, so only the statement's own timeout bounds it. */
static stele_status prepare_session(const stele_sweeper *sweeper, stele_conn *conn,
                                    stele_error *err)
{
    stele__buf sql = {0};
    conn->link->dirty_session = true;
    stele__buf_addf(&sql, "SET lock_timeout = %u", sweeper->options.statement_timeout_ms);
    stele_status st = execute(conn, &sql, err);
    if (st != STELE_OK)
        return st;
    stele__buf_init(&sql);
    stele__buf_addf(&sql, "SET statement_timeout = %u", sweeper->options.statement_timeout_ms);
    return execute(conn, &sql, err);
}

static stele_status remove_concurrently(const stele_sweeper *sweeper, stele_conn *conn,
                                        const stele_gen_partition *part, stele_error *err)
{
    stele_status st = prepare_session(sweeper, conn, err);
    if (st == STELE_OK) /* what was begun before is ended first */
        st = detach(conn, part, part->pending ? " FINALIZE" : " CONCURRENTLY", err);
    if (st == STELE_OK && !sweeper->options.detach_only)
        st = drop(conn, part, err);
    return st;
}

static stele_status remove_at_once(const stele_sweeper *sweeper, stele_conn *conn,
                                   const stele_gen_partition *part, stele_error *err)
{
    stele_status st = stele__sweep_begin(sweeper, conn, err);
    if (st == STELE_OK)
        st = detach(conn, part, "", err);
    if (st == STELE_OK && !sweeper->options.detach_only)
        st = drop(conn, part, err);
    if (st == STELE_OK)
        return stele_tx_commit(conn, err);
    (void)!stele_tx_rollback(conn, NULL); /* what failed first is what counts */
    return st;
}

static stele_status remove_partition(stele__sweep *sweep, stele_conn *conn,
                                     const stele_gen_partition *part, stele_error *err)
{
    bool apart = part->pending ||
                 (!part->has_default && stele_conn_server_version(conn) >= FIRST_WITH_CONCURRENTLY);
    /* Each is a matter of its own, and may wait for its timeout. */
    stele_conn_set_deadline(conn, 2 * sweep->sweeper->options.statement_timeout_ms + 10000);
    return apart ? remove_concurrently(sweep->sweeper, conn, part, err)
                 : remove_at_once(sweep->sweeper, conn, part, err);
}

/* Another sweeper may have taken it meanwhile. */
static bool is_taken(const stele_error *err)
{
    static const char *const codes[] = {
        "42P01", /* it is gone, or no partition of this table any more */
        "55000", /* it is being detached */
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (memcmp(err->sqlstate, codes[i], 6) == 0)
            return true;
    return false;
}

static stele_status list(stele_conn *conn, const stele__sweep_task *task, int64_t retention_ms,
                         stele_gen_partition **ret_parts, size_t *ret_count, stele_error *err)
{
    const void *args[] = {&retention_ms};
    void *rows;
    stele_status st =
        stele_gen_many(conn, task->table->table->sweep_partitions, args, 0, &rows, ret_count, err);
    if (st == STELE_OK)
        *ret_parts = rows;
    return st;
}

stele_status stele__sweep_partitions(stele__sweep *sweep, const stele__sweep_task *task,
                                     uint64_t *ret_count, stele_error *err)
{
    const stele_sweeper_options *options = &sweep->sweeper->options;
    const stele__sweep_target *target = task->target;
    /* Soft delete keeps rows for a while after their time: so do partitions. */
    bool keeps = task->table->table->has_tombstones && target->db->names->names.soft_delete;
    int64_t retention_ms = keeps ? (int64_t)options->retention_ms : 0;
    stele_gen_partition *parts = NULL;
    size_t count = 0;
    stele_conn *conn;
    stele_error one;
    stele_status first = STELE_OK;
    if (keeps && retention_ms == 0)
        return STELE_OK;
    stele_status st = stele__sweep_acquire(sweep, target->db, &conn, err);
    if (st != STELE_OK)
        return st;
    st = list(conn, task, retention_ms, &parts, &count, err);
    for (size_t i = 0; i < count && st == STELE_OK && !stele__sweep_stops(sweep); i++) {
        stele_status outcome = remove_partition(sweep, conn, &parts[i], &one);
        if (outcome == STELE_OK) {
            ++*ret_count;
        } else if (!is_taken(&one) && first == STELE_OK) {
            first = outcome;
            *err = one;
        }
    }
    stele_gen_free(parts);
    stele__sweep_release(sweep, conn);
    return st == STELE_OK ? first : st;
}
