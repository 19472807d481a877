/*
 * Text: builders, hashes, UTF-8, encodings, and the monotonic clock.
 *
 * Floor: text.
 */
#ifndef STELE_TEXT_INTERNAL_H
#define STELE_TEXT_INTERNAL_H

#include <stdarg.h>
#include <time.h>

#include "mem_internal.h"

/* ---- builder -------------------------------------------------------------------------------- */

/*
 * Text that grows. Zeroed memory is an empty builder.
 *
 * When memory is out, `failed` is set and stays: later additions do nothing, and the caller looks
 * once, at the end.
 */
typedef struct stele__buf {
    char *data; /* NULL, or terminated: data[len] == 0 */
    size_t len;
    size_t cap;
    bool failed;
} stele__buf;

void stele__buf_init(stele__buf *buf);
void stele__buf_release(stele__buf *buf);

/* Empties it and keeps its memory; clears `failed`. */
void stele__buf_reset(stele__buf *buf);

/* Makes room for `extra` more bytes and the terminator; false (and failed) when memory is out. */
bool stele__buf_reserve(stele__buf *buf, size_t extra);

void stele__buf_add(stele__buf *buf, const char *data, size_t len);
void stele__buf_add_text(stele__buf *buf, const char *s); /* NULL adds nothing */
void stele__buf_add_char(stele__buf *buf, char c);
void stele__buf_add_uint(stele__buf *buf, uint64_t n);
void stele__buf_addf(stele__buf *buf, const char *fmt, ...) STELE_PRINTF(2, 3);
void stele__buf_vaddf(stele__buf *buf, const char *fmt, va_list args) STELE_PRINTF(2, 0);

/* "name" with inner quotes doubled. */
void stele__buf_add_ident(stele__buf *buf, const char *name, size_t len);

/* A text constant that reads the same whatever standard_conforming_strings says: 'it''s', E'a\\b'. */
void stele__buf_add_literal(stele__buf *buf, const char *text, size_t len);

/* The text, terminated; "" when empty or failed. Valid until the builder changes. */
const char *stele__buf_text(const stele__buf *buf);

/* Hands the memory over (stele__free) and empties the builder; NULL if it failed. */
char *stele__buf_take(stele__buf *buf);

/* ---- hash ----------------------------------------------------------------------------------- */

/* The same on every machine and in every version: hashes name prepared statements on the server. */
uint64_t stele__hash64(uint64_t seed, const void *data, size_t len);

/* ---- UTF-8 ---------------------------------------------------------------------------------- */

/*
 * Offset of the first byte that the server would refuse in text: a NUL, or what is not UTF-8
 * (overlong forms, surrogates, past U+10FFFF). `len` when all is well.
 */
size_t stele__utf8_check(const char *data, size_t len);

/* Characters in valid UTF-8, as varchar(n) counts them. */
size_t stele__utf8_count(const char *data, size_t len);

/* ---- encodings ------------------------------------------------------------------------------ */

/* Unpadded base64url. `out` takes stele__base64_size(len) bytes, terminator included. */
#define stele__base64_size(len) (((len)*4 + 2) / 3 + 1)
size_t stele__base64_encode(const void *data, size_t len, char *out);

/*
 * Back again: `out` takes len * 3 / 4 bytes. False for characters, lengths or trailing bits that the
 * encoder never writes.
 */
bool stele__base64_decode(const char *text, size_t len, uint8_t *out, size_t *ret_len);

/* Lower-case hex; `out` takes 2 * len + 1 bytes. */
void stele__hex_encode(const void *data, size_t len, char *out);

/* `out` takes len / 2 bytes; false for an odd length or another character. */
bool stele__hex_decode(const char *text, size_t len, uint8_t *out);

/* Value of a hex digit, -1 for another character. */
int stele__hex_digit(char c);

/* ---- clock ---------------------------------------------------------------------------------- */

/* Nanoseconds of the monotonic clock: for deadlines and durations, never for data. */
static inline int64_t stele__now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
