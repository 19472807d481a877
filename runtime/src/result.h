/**
 * Rows of a result as an array of structs: one block per call.
 *
 * The array lives in the libpq result's own memory, text and json point into it, and freeing the rows
 * frees the result: a call that returns rows allocates nothing beyond what libpq did.
 *
 * Floor: conn.
 */
#ifndef STELE_RESULT_H
#define STELE_RESULT_H

#include "link.h"
#include "stele/gen/types.h"

/** What stands before the first row, or before the lead when there is one. */
typedef struct stele__rows {
    struct pg_result *result; /* NULL: the block is of our heap */
    size_t count;
} stele__rows;

/** How rows look. */
typedef struct stele__row_shape {
    const stele_gen_column *columns;
    uint16_t count;
    uint32_t size;      /* of a row */
    const char *origin; /* statement or table, for errors */
} stele__row_shape;

/**
 * Decodes all rows. `lead` bytes (a multiple of 16) are left free between header and rows.
 *
 * Takes `result` over: on success it lives in *ret_rows, on failure it is cleared.
 * Errors: STELE_E_NULL and STELE_E_DECODE naming the column, STELE_E_NOMEM.
 */
stele_status stele__result_rows(struct pg_result *result, const stele__row_shape *shape,
                                size_t lead, stele__rows **ret_rows, stele_error *err);

/** Decodes row 0 into `ret_row`, which must not point into the result afterwards. Keeps `result`. */
stele_status stele__result_row(struct pg_result *result, const stele__row_shape *shape,
                               void *ret_row, stele_error *err);

/** The same for any row; what it points at lives in `result`. */
stele_status stele__result_row_at(struct pg_result *result, const stele__row_shape *shape, int row,
                                  void *ret_row, stele_error *err);

/** Compares the columns' number and types with the shape; STELE_E_SCHEMA says what differs. */
stele_status stele__result_check(const struct pg_result *result, const stele__row_shape *shape,
                                 stele_error *err);

/** Frees what stele__result_rows gave, or a heap block with the same header. NULL is ignored. */
void stele__rows_free(stele__rows *rows);

#endif
