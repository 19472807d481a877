/**
 * The floors: what a careful programmer writes by hand on libpq, without any layer.
 *
 * They send the statements that Stele sends, ask for binary results, check status, shape, NULLs and
 * lengths, and decode in place: texts stay views into the result.
 */
#ifndef STELE_BENCH_FLOOR_H
#define STELE_BENCH_FLOOR_H

#include <endian.h>
#include <string.h>

#include "harness.h"

#define FLOOR_EPOCH_MICROS INT64_C(946684800000000) /* 2000-01-01, where the server counts from */

typedef struct floor_text {
    const char *data; /* NULL for SQL NULL */
    size_t len;
} floor_text;

typedef struct floor_time {
    bool has;
    int64_t micros; /* since 1970 */
} floor_time;

static inline bool floor_int8(const PGresult *result, int row, int column, int64_t *ret)
{
    uint64_t bits;
    if (PQgetisnull(result, row, column) || PQgetlength(result, row, column) != sizeof bits)
        return false;
    memcpy(&bits, PQgetvalue(result, row, column), sizeof bits);
    *ret = (int64_t)be64toh(bits);
    return true;
}

static inline bool floor_timestamp(const PGresult *result, int row, int column, int64_t *ret)
{
    int64_t micros;
    if (!floor_int8(result, row, column, &micros))
        return false;
    *ret = micros + FLOOR_EPOCH_MICROS;
    return true;
}

static inline bool floor_maybe_timestamp(const PGresult *result, int row, int column,
                                         floor_time *ret)
{
    ret->has = !PQgetisnull(result, row, column);
    return !ret->has || floor_timestamp(result, row, column, &ret->micros);
}

static inline bool floor_str(const PGresult *result, int row, int column, floor_text *ret)
{
    if (PQgetisnull(result, row, column))
        return false;
    ret->data = PQgetvalue(result, row, column);
    ret->len = (size_t)PQgetlength(result, row, column);
    return true;
}

static inline bool floor_jsonb(const PGresult *result, int row, int column, floor_text *ret)
{
    if (!floor_str(result, row, column, ret) || ret->len < 1 || ret->data[0] != 1)
        return false;
    ret->data++; /* the version of the format */
    ret->len--;
    return true;
}

/* ---- point-get ---- */

extern const bench_case floor_point_get_prepared;
extern const bench_case floor_point_get_params;

/* ---- insert ---- */

extern const bench_case floor_insert_prepared;
extern const bench_case floor_insert_params;

/* ---- list-100 ---- */

extern const bench_case floor_list_prepared;
extern const bench_case floor_list_params;

#endif
