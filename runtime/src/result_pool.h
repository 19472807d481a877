/**
 * A block of rows that grows: an array, and what its rows point to, freed as one.
 *
 * The memory is a result's of libpq's, as that of rows that were read in one piece.
 *
 * Floor: conn.
 */
#ifndef STELE_RESULT_POOL_H
#define STELE_RESULT_POOL_H

#include "result.h"

/** `count` rows of `size` bytes, all zero; NULL when memory is out. Free: stele__rows_free(). */
stele__rows *stele__rows_new(size_t count, size_t size);

/** Memory that lives as long as the rows; NULL when it is out. */
void *stele__rows_alloc(const stele__rows *rows, size_t size);

#endif
