/**
 * Rows that come back, batch by batch, put where their inputs stood.
 *
 * Floor: tx.
 */
#include <string.h>

#include "bulk_internal.h"
#include "codec_internal.h"
#include "result_pool.h"
#include "status_internal.h"

#include "banned.h"

static bool is_view(uint8_t scalar)
{
    return stele__layouts[scalar].opt == 0;
}

/* A terminated copy. */
static void *copy_bytes(const stele__rows *rows, const void *data, size_t len)
{
    char *copy = stele__rows_alloc(rows, len + 1);
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

/* stele_str and stele_bytes: a pointer and a length. */
static bool own_view(const stele__rows *rows, char *field)
{
    stele_str view;
    memcpy(&view, field, sizeof view);
    if (view.data == NULL)
        return true;
    view.data = copy_bytes(rows, view.data, view.len);
    memcpy(field, &view, sizeof view);
    return view.data != NULL;
}

static bool own_array(const stele__rows *rows, uint8_t scalar, char *field)
{
    stele_bytes_array array; /* all array types have this layout */
    memcpy(&array, field, sizeof array);
    if (array.items == NULL)
        return true;
    size_t size = stele__layouts[scalar].size;
    char *items = copy_bytes(rows, array.items, array.count * size);
    if (items == NULL)
        return false;
    if (array.nulls != NULL && (array.nulls = copy_bytes(rows, array.nulls, array.count)) == NULL)
        return false;
    for (size_t i = 0; is_view(scalar) && i < array.count; i++)
        if (!own_view(rows, items + i * size))
            return false;
    array.items = (const void *)items;
    memcpy(field, &array, sizeof array);
    return true;
}

static bool own_row(const stele__bulk *b, char *row)
{
    const stele_gen_stmt *single = b->gen->single;
    int count = single->column_count - (b->gen->tells_inserted ? 1 : 0);
    for (int i = 0; i < count; i++) {
        const stele_gen_column *column = &single->columns[i];
        uint8_t scalar = column->type & (uint8_t)~STELE_GEN_ARRAY;
        char *field = row + column->offset;
        if ((column->type & STELE_GEN_ARRAY) != 0 ? !own_array(b->rows, scalar, field)
                                                  : is_view(scalar) && !own_view(b->rows, field))
            return false;
    }
    return true;
}

stele_status stele__bulk_take_rows(stele__bulk *b, const stele__slice *slice,
                                   stele__outcome *outcome, stele_error *err)
{
    const stele_gen_stmt *single = b->gen->single;
    stele__row_shape shape = {single->columns, single->column_count, single->row_size,
                              single->name};
    stele__rows *got;
    if (outcome->result == NULL)
        return STELE_OK;
    struct pg_result *result = outcome->result;
    outcome->result = NULL;
    stele_status st = stele__result_rows(result, &shape, 0, &got, err);
    if (st != STELE_OK)
        return st;
    const char *from = (const char *)(got + 1);
    char *base = (char *)(b->rows + 1);
    for (size_t i = 0; i < slice->count && st == STELE_OK; i++, from += single->row_size) {
        char *to = base + stele__slice_row(slice, i) * b->gen->row_size;
        memcpy(to, from, b->gen->row_size);
        if (!own_row(b, to))
            st = stele__fail(err, STELE_E_NOMEM, "%s: out of memory for rows", single->name);
    }
    stele__rows_free(got);
    return st;
}
