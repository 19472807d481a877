/**
 * One transaction of a sweeper: claim, let follow, commit.
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

#define ACQUIRE_MS 5000u
/* What a call may take beyond the server's own timeout, before the connection is given up. */
#define GRACE_MS 5000u

/* ---- leases ---- */

static void set_conn(stele_sweeper *sweeper, stele_conn *conn)
{
    (void)pthread_mutex_lock(&sweeper->lock);
    sweeper->conn = conn;
    (void)pthread_mutex_unlock(&sweeper->lock);
}

stele_status stele__sweep_acquire(stele__sweep *sweep, stele_db *db, stele_conn **ret_conn,
                                  stele_error *err)
{
    stele_status st = stele_db_acquire_at(db, ACQUIRE_MS, __FILE__, __LINE__, ret_conn, err);
    if (st != STELE_OK)
        return st;
    stele_conn_set_deadline(*ret_conn, 4 * sweep->sweeper->options.statement_timeout_ms + GRACE_MS);
    stele__conn_heed(*ret_conn, &sweep->sweeper->cut);
    set_conn(sweep->sweeper, *ret_conn);
    return STELE_OK;
}

void stele__sweep_release(stele__sweep *sweep, stele_conn *conn)
{
    set_conn(sweep->sweeper, NULL);
    stele__conn_heed(conn, NULL);
    stele_conn_release(conn);
}

/* ---- the transaction ---- */

stele_status stele__sweep_begin(const stele_sweeper *sweeper, stele_conn *conn, stele_error *err)
{
    stele_tx_options options = STELE_TX_OPTIONS_INIT;
    /* What follows a row is looked for after the row is locked, so it must be seen then. */
    options.isolation = STELE_READ_COMMITTED;
    options.access = STELE_READ_WRITE;
    stele_status st = stele_tx_begin(conn, &options, err);
    if (st == STELE_OK) {
        stele__tx_set_local(conn, "statement_timeout", sweeper->options.statement_timeout_ms);
        stele__tx_set_local(conn, "lock_timeout", sweeper->options.lock_timeout_ms);
    }
    return st;
}

static stele_status let_follow(stele_conn *conn, const stele_gen_table *table,
                               const stele_gen_swept *swept, uint64_t *ret_followed,
                               stele_error *err)
{
    const void *args[] = {swept};
    stele_status st = STELE_OK;
    for (uint16_t i = 0; i < table->follower_count && st == STELE_OK; i++) {
        uint64_t count = 0;
        st = stele_gen_exec(conn, table->followers[i], args, 0, false, &count, err);
        *ret_followed += count;
    }
    return st;
}

static stele_status claim(stele_conn *conn, const stele__sweep_task *task,
                          const stele_gen_claim *what, stele__sweep_result *ret_result,
                          stele_error *err)
{
    const stele_gen_table *table = task->table->table;
    bool expires = task->kind == STELE_SWEEP_EXPIRED;
    const void *args[] = {what};
    void *row;
    stele_status st =
        stele_gen_one(conn, expires ? table->sweep : table->sweep_deleted, args, 0, &row, err);
    if (st != STELE_OK)
        return st;
    const stele_gen_swept *swept = row;
    ret_result->leader = swept->leader;
    ret_result->high = swept->high;
    ret_result->batch.claimed = (uint64_t)swept->claimed;
    ret_result->batch.gone = (uint64_t)swept->gone;
    if (expires && swept->gone > 0)
        st = let_follow(conn, table, swept, &ret_result->batch.followed, err);
    stele_gen_free(row);
    return st;
}

stele_status stele__sweep_batch(stele__sweep *sweep, const stele__sweep_task *task, uint32_t limit,
                                stele__sweep_result *ret_result, stele_error *err)
{
    stele_sweeper *sweeper = sweep->sweeper;
    stele_gen_claim what = {.from = task->from,
                            .limit = limit,
                            .lock = task->table->lock,
                            .retention_ms = (int64_t)sweeper->options.retention_ms};
    stele__sweep_result result = {.batch = {.limit = limit}};
    stele_conn *conn;
    stele_status st = stele__sweep_acquire(sweep, task->target->db, &conn, err);
    if (st != STELE_OK)
        return st;
    int64_t began = stele__now_ns();
    st = stele__sweep_begin(sweeper, conn, err);
    if (st == STELE_OK)
        st = claim(conn, task, &what, &result, err);
    if (st == STELE_OK)
        st = stele_tx_commit(conn, err);
    else
        (void)!stele_tx_rollback(conn, NULL); /* what failed first is what counts */
    result.batch.ns = (uint64_t)(stele__now_ns() - began);
    stele__sweep_release(sweep, conn);
    if (st == STELE_OK)
        *ret_result = result;
    return st;
}

/* ---- looking ---- */

stele_status stele__sweep_look(stele__sweep *sweep, const stele__sweep_task *task,
                               stele_gen_oldest *ret_oldest, stele_error *err)
{
    const stele_gen_table *table = task->table->table;
    const stele_gen_stmt *stmt =
        task->kind == STELE_SWEEP_EXPIRED ? table->sweep_oldest : table->sweep_oldest_deleted;
    stele_gen_claim what = {.from = task->from,
                            .retention_ms = (int64_t)sweep->sweeper->options.retention_ms};
    const void *args[] = {&what};
    stele_conn *conn;
    void *row = NULL;
    stele_status st = stele__sweep_acquire(sweep, task->target->db, &conn, err);
    if (st != STELE_OK)
        return st;
    st = stele_gen_maybe(conn, stmt, args, 0, &row, err);
    stele__sweep_release(sweep, conn);
    if (st == STELE_OK && row == NULL)
        return STELE_DONE;
    if (st == STELE_OK)
        *ret_oldest = *(const stele_gen_oldest *)row;
    stele_gen_free(row);
    return st;
}
