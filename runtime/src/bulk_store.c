/**
 * Storing groups batch by batch, and finding out which row a failing batch fails for.
 *
 * A savepoint before each batch holds what is stored so far. What fails is undone and tried again in
 * halves, until one row is left; its error is the answer.
 *
 * Floor: tx.
 */
#include <stdio.h>
#include <string.h>

#include "bulk_internal.h"
#include "run.h"
#include "status_internal.h"
#include "stele/tx.h"
#include "text_internal.h"

#include "banned.h"

#define SAVEPOINT "stele_bulk_batch"

/* ---- bad rows ---- */

stele_status stele__bulk_bad_row(stele__bulk *b, size_t row, stele_error *why)
{
    char message[sizeof why->message - 32];
    (void)stele__copy_text(message, sizeof message, why->message);
    (void)snprintf(why->message, sizeof why->message, "row %zu: %s", row, message);
    b->report.bad++;
    if (row < b->report.first_bad)
        b->report.first_bad = row;
    if (b->options.on_bad_row != NULL)
        b->options.on_bad_row(row, why, b->options.user);
    return b->options.mode == STELE_BULK_KEEP_GOOD ? STELE_OK : why->status;
}

/* Whether an error can be one row's fault, so that the others may do. */
static bool is_of_a_row(const stele_conn *conn, const stele_error *err)
{
    if (conn->link->broken)
        return false;
    switch (err->status) {
    case STELE_E_UNIQUE:
    case STELE_E_FOREIGN_KEY:
    case STELE_E_CHECK:
    case STELE_E_NOT_NULL:
    case STELE_E_EXCLUSION:
    case STELE_E_VALUE:
        return true;
    default:
        /* cardinality, data, constraints, and what triggers raise */
        return strncmp(err->sqlstate, "21", 2) == 0 || strncmp(err->sqlstate, "22", 2) == 0 ||
               strncmp(err->sqlstate, "23", 2) == 0 || strncmp(err->sqlstate, "P0001", 5) == 0;
    }
}

/* ---- savepoints ---- */

stele_status stele__bulk_queue(stele__bulk *b, const char *sql, stele_error *err)
{
    struct pg_result *result;
    stele_conn *conn = b->conn;
    if (conn->tx.pending_count < STELE__PENDING_MAX) {
        char *slot = conn->tx.pending[conn->tx.pending_count++];
        (void)stele__copy_text(slot, STELE__PENDING_SIZE, sql);
        return STELE_OK;
    }
    stele_status st = stele__run_sql(conn, sql, NULL, 0, &result, err);
    if (st == STELE_OK)
        stele__result_clear(result);
    return st;
}

static stele_status mark(stele__bulk *b, stele_error *err)
{
    if (!b->in_tx || b->is_marked)
        return STELE_OK;
    b->is_marked = true;
    b->had_table = b->has_table;
    return stele__bulk_queue(b, "SAVEPOINT " SAVEPOINT, err);
}

/* What is stored stays, whatever becomes of the next batch. */
static stele_status unmark(stele__bulk *b, stele_error *err)
{
    if (!b->is_marked)
        return STELE_OK;
    b->is_marked = false;
    return stele__bulk_queue(b, "RELEASE SAVEPOINT " SAVEPOINT, err);
}

static stele_status undo(stele__bulk *b, uint64_t trips_before, stele_error *err)
{
    stele_conn *conn = b->conn;
    b->has_table = b->had_table;
    /* A value that could not be encoded was never sent, and no savepoint with it. */
    if (!b->is_marked || conn->link->round_trips == trips_before)
        return STELE_OK;
    return stele_tx_rollback_to(conn, SAVEPOINT, err);
}

/* ---- attempts ---- */

/* What an attempt came to. */
typedef enum verdict {
    STORED,
    UNDONE, /* a row is at fault, or another way must be taken; the state is as before */
    FAILED  /* the call is over */
} verdict;

static verdict attempt(stele__bulk *b, const stele__group *group, const stele__slice *slice,
                       stele__outcome *ret_outcome, stele_error *err)
{
    stele_error ignored;
    if (mark(b, err) != STELE_OK)
        return FAILED;
    uint64_t trips = b->conn->link->round_trips;
    stele_status st = stele__bulk_send(b, group, slice, ret_outcome, err);
    if (st == STELE_OK)
        return STORED;
    if (b->conn->link->broken || (!b->again && !is_of_a_row(b->conn, err)))
        return FAILED;
    return undo(b, trips, &ignored) == STELE_OK ? UNDONE : FAILED;
}

/* Rows that were stored: counted, and what came back is taken. */
static stele_status accept(stele__bulk *b, const stele__slice *slice, stele__outcome *outcome,
                           stele_error *err)
{
    uint64_t stored = outcome->inserted + outcome->updated;
    b->report.inserted += outcome->inserted;
    b->report.updated += outcome->updated;
    if (stored < slice->count)
        b->report.skipped += slice->count - stored;
    b->done += slice->count;
    stele_status st = stele__bulk_take_rows(b, slice, outcome, err);
    return st == STELE_OK ? unmark(b, err) : st;
}

/* ---- the search for bad rows ---- */

static stele_status solve(stele__bulk *b, const stele__group *group, const stele__slice *slice,
                          stele_error *err);

/* Stores a part of what failed, or finds what is wrong with it. */
static stele_status solve_part(stele__bulk *b, const stele__group *group, const stele__slice *slice,
                               size_t from, size_t count, stele_error *err)
{
    stele__outcome outcome;
    stele__slice part = stele__slice_part(slice, from, count);
    size_t fit = count > 0 ? stele__bulk_fit(b, group, &part) : 0;
    if (fit < count) { /* what COPY took may be too much at once for arrays */
        stele_status st = solve_part(b, group, slice, from, fit, err);
        return st == STELE_OK ? solve_part(b, group, slice, from + fit, count - fit, err) : st;
    }
    if (count == 0)
        return STELE_OK;
    switch (attempt(b, group, &part, &outcome, err)) {
    case STORED:
        return accept(b, &part, &outcome, err);
    case UNDONE:
        return b->again ? solve_part(b, group, slice, from, count, err)
                        : solve(b, group, &part, err);
    default:
        return err->status;
    }
}

/* Position of the row that could not be encoded; the slice's length if it is none of its. */
static size_t find_suspect(const stele__bulk *b, const stele__slice *slice)
{
    size_t at = 0;
    if (b->suspect == STELE_BULK_NO_ROW)
        return slice->count;
    while (at < slice->count && stele__slice_row(slice, at) != b->suspect)
        at++;
    return at;
}

/*
 * Two rows have one key, as the server sees it (21000). They would pass one by one, and the later win;
 * so the shortest beginning that fails is looked for, and its last row left out.
 */
static stele_status solve_twins(stele__bulk *b, const stele__group *group,
                                const stele__slice *slice, stele_error *err)
{
    size_t good = 1;
    size_t bad = slice->count;
    stele_error why = *err;
    while (bad - good > 1) {
        stele_error undone;
        stele__outcome outcome;
        stele__slice part = stele__slice_part(slice, 0, good + (bad - good) / 2);
        uint64_t trips = b->conn->link->round_trips;
        switch (attempt(b, group, &part, &outcome, err)) {
        case STORED:
            stele__result_clear(outcome.result);
            if (undo(b, trips, &undone) != STELE_OK) {
                *err = undone;
                return undone.status;
            }
            good = part.count;
            break;
        case UNDONE:
            bad = part.count;
            why = *err;
            break;
        default:
            return err->status;
        }
    }
    *err = why;
    stele_status st = stele__bulk_bad_row(b, stele__slice_row(slice, bad - 1), err);
    if (st != STELE_OK)
        return st;
    b->done++;
    /* All others again, as one. */
    size_t *index = stele__realloc_array(NULL, slice->count, sizeof *index);
    if (index == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", b->gen->many->name);
    for (size_t i = 0, n = 0; i < slice->count; i++)
        if (i != bad - 1)
            index[n++] = stele__slice_row(slice, i);
    stele__slice rest = {index, 0, slice->count - 1};
    st = solve_part(b, group, &rest, 0, rest.count, err);
    stele__free(index);
    return st;
}

/* Rows that fail together, their error in `err`. */
static stele_status solve(stele__bulk *b, const stele__group *group, const stele__slice *slice,
                          stele_error *err)
{
    if (slice->count == 1) {
        stele_status st = stele__bulk_bad_row(b, stele__slice_row(slice, 0), err);
        b->done += st == STELE_OK;
        return st;
    }
    if (strcmp(err->sqlstate, "21000") == 0 && b->gen->key != NULL)
        return solve_twins(b, group, slice, err);
    size_t middle = slice->count / 2;
    size_t suspect = find_suspect(b, slice);
    size_t after = middle;
    stele_status st;
    if (suspect < slice->count) {
        st = solve_part(b, group, slice, 0, suspect, err);
        if (st == STELE_OK)
            st = solve_part(b, group, slice, suspect, 1, err);
        after = suspect + 1;
    } else {
        st = solve_part(b, group, slice, 0, middle, err);
    }
    return st == STELE_OK ? solve_part(b, group, slice, after, slice->count - after, err) : st;
}

/* ---- batches ---- */

/* A batch that was the only one had no transaction; the search in it needs one. */
static stele_status need_transaction(stele__bulk *b, stele_error *err)
{
    if (b->in_tx)
        return STELE_OK;
    stele_status st = stele_tx_begin(b->conn, NULL, err);
    b->in_tx = st == STELE_OK;
    return st;
}

static stele_status store_batch(stele__bulk *b, const stele__group *group,
                                const stele__slice *slice, stele_error *err)
{
    stele__outcome outcome;
    switch (attempt(b, group, slice, &outcome, err)) {
    case STORED:
        return accept(b, slice, &outcome, err);
    case UNDONE: {
        if (b->again)
            return STELE_OK; /* nothing is done: the batch is cut anew */
        stele_status st = need_transaction(b, err);
        return st == STELE_OK ? solve(b, group, slice, err) : st;
    }
    default:
        return err->status;
    }
}

static stele_status store_group(stele__bulk *b, const stele__group *group, stele_error *err)
{
    stele_status st = STELE_OK;
    stele__slice all = stele__group_rows(group);
    size_t from = 0;
    while (from < group->count && st == STELE_OK) {
        stele__slice slice = stele__slice_part(&all, from, group->count - from);
        slice.count = stele__bulk_fit(b, group, &slice);
        if (slice.count < group->count - from)
            st = need_transaction(b, err); /* also where one batch was enough before */
        b->again = false;
        if (st == STELE_OK)
            st = store_batch(b, group, &slice, err);
        if (st != STELE_OK || b->again)
            continue;
        from += slice.count;
        if (b->options.on_progress != NULL && b->done < b->count)
            b->options.on_progress(b->done, b->count, b->options.user);
    }
    return st;
}

stele_status stele__bulk_store(stele__bulk *b, stele_error *err)
{
    stele_status st = STELE_OK;
    for (const stele__group *group = b->groups; group != NULL && st == STELE_OK;
         group = group->next)
        st = store_group(b, group, err);
    return st;
}
