/**
 * The row loop: from a libpq result to an array of structs.
 *
 * Floor: conn.
 */
#include "result.h"

#include <libpq-fe.h>

#include "codec_internal.h"
#include "status_internal.h"

#include "banned.h"

_Static_assert(sizeof(stele__rows) % 8 == 0, "rows after the header keep their alignment");

static void *result_mem(void *ctx, size_t size)
{
    return PQresultAlloc(ctx, size > 0 ? size : 1);
}

static stele_status decode_error(const stele__row_shape *shape, const stele_gen_column *column,
                                 int code, int row, stele_error *err)
{
    if (code == STELE__CODEC_NOMEM)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while reading rows");
    stele_status st = stele__fail(err, STELE_E_DECODE, "%s: column \"%s\" of row %d: %s",
                                  shape->origin, column->name, row, stele__codec_text(code));
    stele__error_place(err, NULL, column->name);
    stele__error_hint(err, "the column's type is not what the schema declares");
    return st;
}

static stele_status null_error(const stele__row_shape *shape, const stele_gen_column *column,
                               int row, stele_error *err)
{
    stele_status st = stele__fail(err, STELE_E_NULL, "%s: column \"%s\" of row %d is NULL",
                                  shape->origin, column->name, row);
    stele__error_place(err, NULL, column->name);
    stele__error_hint(err,
                      "declare it nullable in the schema (type?), or make the column NOT NULL");
    return st;
}

/* Clears a field; nearly all nullable ones are texts or times, of 16 bytes. */
static inline void clear_field(char *field, size_t size)
{
    if (size == 16)
        memset(field, 0, 16);
    else
        memset(field, 0, size);
}

static inline stele_status decode_row(PGresult *result, const stele__row_shape *shape, int row,
                                      char *out, stele_error *err)
{
    const stele_gen_column *column = shape->columns;
    const int count = shape->count;
    for (int i = 0; i < count; i++, column++) {
        char *field = out + column->offset;
        int len = PQgetlength(result, row, i);
        /* libpq says 0 for NULL as well, so that only empty values need the second question. */
        bool null = len == 0 && PQgetisnull(result, row, i);
        if (column->nullable) {
            const stele__layout *layout = stele__layout_of(column->type);
            if (null) {
                clear_field(field, (size_t)layout->opt + layout->size);
                continue;
            }
            if (layout->opt != 0) {
                *(bool *)field = true;
                field += layout->opt;
            }
        } else if (null) {
            return null_error(shape, column, row, err);
        }
        int code = stele__decode_value(column->type, column->labels, PQgetvalue(result, row, i),
                                       (size_t)len, field, result_mem, result);
        if (code != STELE__CODEC_OK)
            return decode_error(shape, column, code, row, err);
    }
    return STELE_OK;
}

stele_status stele__result_rows(PGresult *result, const stele__row_shape *shape, size_t lead,
                                stele__rows **ret_rows, stele_error *err)
{
    int count = PQntuples(result);
    size_t size = sizeof(stele__rows) + lead + (size_t)count * shape->size;
    stele__rows *rows = PQresultAlloc(result, size);
    if (rows == NULL) {
        PQclear(result);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for %d rows", count);
    }
    rows->result = result;
    rows->count = (size_t)count;
    char *out = (char *)(rows + 1) + lead;
    for (int i = 0; i < count; i++, out += shape->size) {
        stele_status st = decode_row(result, shape, i, out, err);
        if (st != STELE_OK) {
            PQclear(result);
            return st;
        }
    }
    *ret_rows = rows;
    return STELE_OK;
}

stele_status stele__result_row(PGresult *result, const stele__row_shape *shape, void *ret_row,
                               stele_error *err)
{
    return decode_row(result, shape, 0, ret_row, err);
}

stele_status stele__result_row_at(PGresult *result, const stele__row_shape *shape, int row,
                                  void *ret_row, stele_error *err)
{
    return decode_row(result, shape, row, ret_row, err);
}

/* Types that arrive in the same bytes. */
static bool fits(uint8_t type, Oid oid)
{
    if (oid == stele__type_oid(type))
        return true;
    switch (type) {
    case STELE_GEN_TEXT:
        return oid == 1043 || oid == 1042 || oid == 19; /* varchar, char(n), name */
    case STELE_GEN_OPAQUE:
        return oid == 25;
    case STELE_GEN_TEXT | STELE_GEN_ARRAY:
        return oid == 1015 || oid == 1014;
    case STELE_GEN_OPAQUE | STELE_GEN_ARRAY:
        return oid == 1009;
    case STELE_GEN_ENUM:
    case STELE_GEN_ENUM | STELE_GEN_ARRAY:
        return oid >= 16384; /* made by users; labels are checked as they come */
    default:
        return false;
    }
}

stele_status stele__result_check(const PGresult *result, const stele__row_shape *shape,
                                 stele_error *err)
{
    int count = PQnfields(result);
    if (count != shape->count)
        return stele__fail(err, STELE_E_SCHEMA, "%s: %d columns came, %d are declared",
                           shape->origin, count, shape->count);
    for (int i = 0; i < count; i++) {
        const stele_gen_column *column = &shape->columns[i];
        if (fits(column->type, PQftype(result, i)))
            continue;
        stele_status st = stele__fail(
            err, STELE_E_SCHEMA, "%s: column \"%s\" has another type (OID %u) than the schema says",
            shape->origin, column->name, PQftype(result, i));
        stele__error_place(err, NULL, column->name);
        stele__error_hint(err, "migrate the database, or change the schema and generate again");
        return st;
    }
    return STELE_OK;
}

void stele__rows_free(stele__rows *rows)
{
    if (rows == NULL)
        return;
    if (rows->result != NULL)
        PQclear(rows->result);
    else
        stele__free(rows);
}
