/*
 * Filling a stele_error. All of these ignore a NULL `err`.
 *
 * Floor: status.
 */
#ifndef STELE_STATUS_INTERNAL_H
#define STELE_STATUS_INTERNAL_H

#include <stdarg.h>

#include "stele/status.h"

/*
 * Makes `err` say `status` and the message, and nothing else: all other members are cleared.
 * Returns `status`, so that a failing function ends in `return stele__fail(err, …)`.
 *
 * The arguments must not point into `err`.
 */
stele_status stele__fail(stele_error *err, stele_status status, const char *fmt, ...)
    STELE_PRINTF(3, 4);

/* Say more about a failure that stele__fail has described. NULL leaves a member as it is. */
void stele__error_hint(stele_error *err, const char *fmt, ...) STELE_PRINTF(2, 3);
void stele__error_detail(stele_error *err, const char *fmt, ...) STELE_PRINTF(2, 3);
void stele__error_place(stele_error *err, const char *table, const char *column);

/*
 * Copies `len` bytes of UTF-8 into a buffer of `size` bytes, cut so that no character is halved, and
 * terminates it. Returns the bytes copied. Bytes that are not UTF-8 are copied as they are.
 */
size_t stele__copy(char *dst, size_t size, const char *src, size_t len);

/* The same for a NUL-terminated string; NULL is "". */
size_t stele__copy_text(char *dst, size_t size, const char *src);

#endif
