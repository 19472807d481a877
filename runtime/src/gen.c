/**
 * The functions that generated code calls: one statement, one wait, typed rows out.
 *
 * Floor: stmt.
 */
#include <string.h>

#include "mem_internal.h"
#include "run.h"
#include "status_internal.h"

#include "banned.h"

const int stele_gen_abi_1 = 1;

static stele__row_shape shape_of(const stele_gen_stmt *stmt)
{
    return (stele__row_shape){stmt->columns, stmt->column_count, stmt->row_size, stmt->name};
}

stele_status stele_gen_one(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args,
                           uint32_t flags, void **ret_row, stele_error *err)
{
    stele_status st;
    struct pg_result *result = stele__run(conn, stmt, args, flags, &st, err);
    if (result == NULL)
        return st;
    stele__row_shape shape = shape_of(stmt);
    stele__rows *rows;
    st = stele__result_rows(result, &shape, 0, &rows, err);
    if (st != STELE_OK)
        return stele__undelivered(conn, &(stele__call){stmt, args, flags}, st, err);
    if (rows->count == 0) {
        stele__rows_free(rows);
        return stele__no_row(&(stele__call){stmt, args, flags}, err);
    }
    *ret_row = rows + 1;
    return STELE_OK;
}

stele_status stele_gen_maybe(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args,
                             uint32_t flags, void **ret_row, stele_error *err)
{
    stele_status st;
    struct pg_result *result = stele__run(conn, stmt, args, flags, &st, err);
    if (result == NULL)
        return st;
    if (stele__result_count(result) == 0) {
        stele__result_clear(result);
        *ret_row = NULL;
        return STELE_OK;
    }
    stele__row_shape shape = shape_of(stmt);
    stele__rows *rows;
    st = stele__result_rows(result, &shape, 0, &rows, err);
    if (st != STELE_OK)
        return stele__undelivered(conn, &(stele__call){stmt, args, flags}, st, err);
    *ret_row = rows + 1;
    return STELE_OK;
}

/* A multiple of 16, so that rows behind a rowset keep their alignment. */
#define ROWSET_SIZE 16
_Static_assert(sizeof(stele_gen_rowset) <= ROWSET_SIZE, "a rowset fits before its rows");

stele_status stele_gen_rows(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args,
                            uint32_t flags, void **ret_rowset, stele_error *err)
{
    stele_status st;
    struct pg_result *result = stele__run(conn, stmt, args, flags, &st, err);
    if (result == NULL)
        return st;
    stele__row_shape shape = shape_of(stmt);
    stele__rows *rows;
    st = stele__result_rows(result, &shape, ROWSET_SIZE, &rows, err);
    if (st != STELE_OK)
        return stele__undelivered(conn, &(stele__call){stmt, args, flags}, st, err);
    stele_gen_rowset *rowset = (stele_gen_rowset *)(void *)(rows + 1);
    rowset->rows = (const char *)rowset + ROWSET_SIZE;
    rowset->count = rows->count;
    *ret_rowset = rowset;
    return STELE_OK;
}

stele_status stele_gen_flags(const stele_gen_stmt *stmt, const void *params, uint32_t *ret_flags,
                             stele_error *err)
{
    uint32_t flags = 0;
    for (int i = 0; i < stmt->switch_count && params != NULL; i++) {
        const stele_gen_switch *one = &stmt->switches[i];
        const char *field = (const char *)params + one->offset;
        unsigned value;
        if (one->is_flag)
            value = *(const bool *)field;
        else
            memcpy(&value, field, sizeof value); /* an enum */
        if (value >= one->count) {
            (void)stele__fail(err, STELE_E_INPUT, "%s: \"%s\" is no choice of its enum", stmt->name,
                              one->name);
            stele__error_place(err, stmt->table, one->name);
            return STELE_E_INPUT;
        }
        flags |= (uint32_t)value << one->shift;
    }
    *ret_flags = flags;
    return STELE_OK;
}

stele_status stele_gen_many(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args,
                            uint32_t flags, void **ret_rows, size_t *ret_count, stele_error *err)
{
    stele_status st;
    struct pg_result *result = stele__run(conn, stmt, args, flags, &st, err);
    if (result == NULL)
        return st;
    stele__row_shape shape = shape_of(stmt);
    stele__rows *rows;
    st = stele__result_rows(result, &shape, 0, &rows, err);
    if (st != STELE_OK)
        return stele__undelivered(conn, &(stele__call){stmt, args, flags}, st, err);
    *ret_rows = rows + 1;
    *ret_count = rows->count;
    return STELE_OK;
}

stele_status stele_gen_value(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args,
                             uint32_t flags, void *ret_value, stele_error *err)
{
    stele_status st;
    struct pg_result *result = stele__run(conn, stmt, args, flags, &st, err);
    if (result == NULL)
        return st;
    stele__row_shape shape = shape_of(stmt);
    if (stele__result_count(result) == 0) {
        st = stele__no_row(&(stele__call){stmt, args, flags}, err);
    } else {
        st = stele__result_row(result, &shape, ret_value, err);
        if (st != STELE_OK)
            st = stele__undelivered(conn, &(stele__call){stmt, args, flags}, st, err);
    }
    stele__result_clear(result);
    return st;
}

static stele_status no_row(struct pg_result *result, const stele_gen_stmt *stmt,
                           const void *const *args, stele_error *err)
{
    stele__result_clear(result);
    return stele__no_row(&(stele__call){stmt, args, 0}, err);
}

stele_status stele_gen_write(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args,
                             uint32_t flags, stele_error *err)
{
    stele_status st;
    struct pg_result *result = stele__run(conn, stmt, args, flags, &st, err);
    if (result == NULL)
        return st;
    if (stele__result_changed_nothing(result))
        return no_row(result, stmt, args, err);
    stele__result_clear(result);
    return STELE_OK;
}

stele_status stele_gen_exec(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args,
                            uint32_t flags, bool need_row, uint64_t *ret_count, stele_error *err)
{
    stele_status st;
    struct pg_result *result = stele__run(conn, stmt, args, flags, &st, err);
    if (result == NULL)
        return st;
    bool missing = need_row && stele__result_changed_nothing(result);
    if (ret_count != NULL && !missing)
        *ret_count = stele__result_affected(result);
    stele__result_clear(result);
    return missing ? stele__no_row(&(stele__call){stmt, args, flags}, err) : STELE_OK;
}

void stele_gen_free(void *rows)
{
    if (rows != NULL)
        stele__rows_free((stele__rows *)rows - 1);
}
