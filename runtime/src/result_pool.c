/**
 * Rows in memory of a result that never was one.
 *
 * Floor: conn.
 */
#include "result_pool.h"

#include <libpq-fe.h>
#include <string.h>

#include "banned.h"

stele__rows *stele__rows_new(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, sizeof(stele__rows), &bytes))
        return NULL;
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    if (result == NULL)
        return NULL;
    stele__rows *rows = PQresultAlloc(result, bytes);
    if (rows == NULL) {
        PQclear(result);
        return NULL;
    }
    memset(rows, 0, bytes);
    rows->result = result;
    rows->count = count;
    return rows;
}

void *stele__rows_alloc(const stele__rows *rows, size_t size)
{
    return PQresultAlloc(rows->result, size > 0 ? size : 1);
}
