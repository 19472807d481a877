/**
 * insert_many and upsert_many: one call, one transaction.
 *
 * Floor: tx.
 */
#include "stele/bulk.h"

#include <string.h>

#include "bulk_internal.h"
#include "result_pool.h"
#include "run.h"
#include "status_internal.h"
#include "stele/tx.h"

#include "banned.h"

#define COPY_THRESHOLD 512
#define BATCH_ROWS 10000
#define SAVEPOINT "stele_bulk"

static stele_status check_options(stele__bulk *b, const stele_bulk_options *options,
                                  stele_error *err)
{
    const char *name = b->gen->many->name;
    if (options != NULL && options->size != sizeof *options)
        return stele__fail(err, STELE_E_INPUT, "%s: options not made by STELE_BULK_OPTIONS_INIT",
                           name);
    if (options != NULL)
        b->options = *options;
    if (b->options.copy_threshold == 0)
        b->options.copy_threshold = COPY_THRESHOLD;
    if (b->options.batch_rows == 0)
        b->options.batch_rows = BATCH_ROWS;
    if (b->options.skip_conflicts && b->gen->key != NULL)
        return stele__fail(err, STELE_E_INPUT, "%s: skip_conflicts is for insert_many", name);
    if (b->options.last_wins && b->gen->key == NULL)
        return stele__fail(err, STELE_E_INPUT, "%s: last_wins is for upsert_many", name);
    if (b->wants_rows && (b->options.skip_conflicts || b->options.last_wins))
        return stele__fail(err, STELE_E_INPUT,
                           "%s: rows that are skipped cannot be given back: leave ret_rows NULL",
                           name);
    return STELE_OK;
}

/* Whether one statement will do, which needs no transaction of its own. */
static bool is_lone(const stele__bulk *b)
{
    const stele__group *group = b->groups;
    if (group->next != NULL)
        return false;
    if (b->wants_rows && stele__bulk_copies(b, group, group->count))
        return false;
    stele__slice all = stele__group_rows(group);
    return stele__bulk_fit(b, group, &all) == group->count;
}

/* In a transaction of the caller's a savepoint holds what was before. */
static stele_status store_nested(stele__bulk *b, stele_error *err)
{
    stele_error ignored;
    stele_conn *conn = b->conn;
    stele_status st = stele_tx_savepoint(conn, SAVEPOINT, err);
    if (st != STELE_OK)
        return st;
    b->in_tx = true;
    st = stele__bulk_store(b, err);
    if (st == STELE_OK && b->has_table)
        st = stele__bulk_queue(b, "DROP TABLE pg_temp.stele_bulk", err);
    if (st == STELE_OK)
        return stele__bulk_queue(b, "RELEASE SAVEPOINT " SAVEPOINT, err);
    if (!conn->link->broken && stele_tx_rollback_to(conn, SAVEPOINT, &ignored) == STELE_OK)
        (void)stele__bulk_queue(b, "RELEASE SAVEPOINT " SAVEPOINT, &ignored);
    return st;
}

static stele_status store(stele__bulk *b, stele_error *err)
{
    stele_status st = STELE_OK;
    if (b->groups == NULL)
        return STELE_OK;
    if (b->conn->tx.state != STELE__TX_NONE)
        return store_nested(b, err);
    if (!is_lone(b)) {
        st = stele_tx_begin(b->conn, NULL, err);
        b->in_tx = st == STELE_OK;
    }
    if (st == STELE_OK)
        st = stele__bulk_store(b, err);
    if (!b->in_tx)
        return st;
    if (st == STELE_OK)
        return stele_tx_commit(b->conn, err);
    stele_error ignored;
    if (stele_tx_rollback(b->conn, &ignored) != STELE_OK)
        return st; /* the server does it when the connection ends */
    return st;
}

static stele_status run(stele__bulk *b, stele_error *err)
{
    stele_status st = stele__conn_usable(b->conn, err);
    if (st == STELE_OK)
        st = stele__bulk_plan(b, err);
    if (st == STELE_OK && b->wants_rows) {
        b->rows = stele__rows_new(b->count, b->gen->row_size);
        if (b->rows == NULL)
            st = stele__fail(err, STELE_E_NOMEM, "%s: out of memory for %zu rows",
                             b->gen->many->name, b->count);
    }
    return st == STELE_OK ? store(b, err) : st;
}

stele_status stele_gen_insert_many(stele_conn *conn, const stele_gen_bulk *gen, const void *inputs,
                                   size_t count, const stele_bulk_options *options,
                                   stele_bulk_report *ret_report, void **ret_rows, stele_error *err)
{
    stele_error local;
    stele__bulk b = {
        .conn = conn,
        .gen = gen,
        .inputs = inputs,
        .count = count,
        .wants_rows = ret_rows != NULL,
        .report = {.first_bad = STELE_BULK_NO_ROW},
        .suspect = STELE_BULK_NO_ROW,
    };
    stele_error_clear(&local);
    stele_status st = check_options(&b, options, &local);
    if (st == STELE_OK)
        st = run(&b, &local);
    stele__bulk_plan_free(&b);
    if (st == STELE_OK && ret_rows != NULL)
        *ret_rows = b.rows + 1;
    else
        stele__rows_free(b.rows);
    if (st != STELE_OK) {
        b.report.inserted = b.report.updated = b.report.skipped = 0;
        if (err != NULL)
            *err = local;
    } else if (b.options.on_progress != NULL) {
        b.options.on_progress(count, count, b.options.user);
    }
    if (ret_report != NULL)
        *ret_report = b.report;
    return st;
}
