/*
 * What all stores need: errors, memory that is freed at once, texts that grow.
 */
#ifndef STELE_STORE_UTIL_H
#define STELE_STORE_UTIL_H

#include "stele/mem.h"
#include "stele/value.h"

/* Writes `err` anew (NULL is ignored) and gives back `status`. */
stele_status stele__store_fail(stele_error *err, stele_status status, const char *fmt, ...)
    STELE_PRINTF(3, 4);

/* What to do about it, behind one of those. */
void stele__store_hint(stele_error *err, const char *fmt, ...) STELE_PRINTF(2, 3);

/* Options that nobody initialised. */
stele_status stele__store_old_options(const char *type, const char *init, stele_error *err);

stele_status stele__store_no_memory(stele_error *err);

/* ---- arena ----------------------------------------------------------------------------------- */

typedef struct stele__store_chunk stele__store_chunk;

/* Hands out memory piece by piece, and frees it all at once. Zeroed memory is an empty one. */
typedef struct stele__store_arena {
    char *next;
    size_t left;
    stele__store_chunk *chunks; /* newest first */
} stele__store_arena;

/* `size` bytes aligned for any type, not cleared; NULL when memory is out. */
void *stele__store_take(stele__store_arena *arena, size_t size);

/* count × size bytes, cleared. */
void *stele__store_take_array(stele__store_arena *arena, size_t count, size_t size);

/* Copies and terminates; data NULL when memory is out, and for NULL. */
stele_str stele__store_copy(stele__store_arena *arena, stele_str text);

void stele__store_arena_free(stele__store_arena *arena);

/* ---- text ------------------------------------------------------------------------------------ */

/* A text that grows; always NUL-terminated. Failed allocations are kept in `failed`. */
typedef struct stele__store_text {
    char *data;
    size_t len;
    size_t size;
    bool failed;
} stele__store_text;

void stele__store_add(stele__store_text *text, const char *data, size_t len);
void stele__store_adds(stele__store_text *text, const char *s);

/* A JSON string, quoted and escaped. Bytes that are no UTF-8 pass: the server refuses them. */
void stele__store_add_json(stele__store_text *text, stele_str s);

/* Standard base64 with padding, without line breaks. */
void stele__store_add_base64(stele__store_text *text, stele_bytes bytes);

void stele__store_text_free(stele__store_text *text);

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Standard base64 with padding into `out` (3/4 of `len` bytes suffice); SIZE_MAX for what is none. */
size_t stele__store_base64_decode(const char *text, size_t len, uint8_t *out);

/* By bytes, a prefix before what it begins. */
int stele__store_compare(stele_str a, stele_str b);

static inline bool stele__store_starts(stele_str s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && memcmp(s.data, prefix, len) == 0;
}

#endif
