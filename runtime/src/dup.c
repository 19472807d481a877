/**
 * A copy of one row, with all it points to, in one heap block.
 *
 * Two passes over the columns: the first adds up sizes, the second copies.
 *
 * Floor: stmt.
 */
#include <string.h>

#include "codec_internal.h"
#include "mem_internal.h"
#include "result.h"
#include "status_internal.h"
#include "stele/gen/gen.h"

#include "banned.h"

/* Where the next piece goes; `base` NULL: only counting. */
typedef struct copier {
    char *base;
    size_t used;
} copier;

static const void *copy_bytes(copier *c, const void *data, size_t len, size_t extra)
{
    size_t at = c->used;
    c->used += (len + extra + 7u) & ~(size_t)7u;
    if (c->base == NULL)
        return data;
    if (len > 0)
        memcpy(c->base + at, data, len);
    memset(c->base + at + len, 0, extra);
    return c->base + at;
}

static bool is_pointer(uint8_t scalar)
{
    return stele__layouts[scalar].opt == 0;
}

/* stele_str and stele_bytes: a pointer and a length. Copies stay terminated. */
static void copy_view(copier *c, char *field)
{
    stele_str view;
    memcpy(&view, field, sizeof view);
    if (view.data == NULL)
        return;
    view.data = copy_bytes(c, view.data, view.len, 1);
    if (c->base != NULL)
        memcpy(field, &view, sizeof view);
}

static void copy_array(copier *c, uint8_t scalar, char *field)
{
    stele_bytes_array array; /* all array types have this layout */
    memcpy(&array, field, sizeof array);
    if (array.items == NULL)
        return;
    size_t size = stele__layouts[scalar].size;
    char *items = (char *)(uintptr_t)copy_bytes(c, array.items, array.count * size, 1);
    if (array.nulls != NULL)
        array.nulls = copy_bytes(c, array.nulls, array.count, 1);
    for (size_t i = 0; is_pointer(scalar) && i < array.count; i++)
        copy_view(c, items + i * size);
    array.items = (const void *)items;
    if (c->base != NULL)
        memcpy(field, &array, sizeof array);
}

static void copy_columns(copier *c, const stele_gen_stmt *stmt, char *row)
{
    for (int i = 0; i < stmt->column_count; i++) {
        const stele_gen_column *column = &stmt->columns[i];
        uint8_t scalar = column->type & (uint8_t)~STELE_GEN_ARRAY;
        if ((column->type & STELE_GEN_ARRAY) != 0)
            copy_array(c, scalar, row + column->offset);
        else if (is_pointer(scalar))
            copy_view(c, row + column->offset);
    }
}

stele_status stele_gen_dup(const stele_gen_stmt *stmt, const void *row, void **ret_row,
                           stele_error *err)
{
    copier count = {NULL, 0};
    size_t row_size = (stmt->row_size + 7u) & ~(size_t)7u;
    copy_columns(&count, stmt, (char *)(uintptr_t)row);
    stele__rows *rows = stele__alloc(sizeof *rows + row_size + count.used);
    if (rows == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory for a copy", stmt->name);
    rows->result = NULL;
    rows->count = 1;
    char *copy = (char *)(rows + 1);
    memcpy(copy, row, stmt->row_size);
    copier fill = {copy + row_size, 0};
    copy_columns(&fill, stmt, copy);
    *ret_row = copy;
    return STELE_OK;
}
