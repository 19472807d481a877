#include "store_util.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "banned.h"

stele_status stele__store_fail(stele_error *err, stele_status status, const char *fmt, ...)
{
    va_list args;
    if (err == NULL)
        return status;
    stele_error_clear(err);
    err->status = status;
    va_start(args, fmt);
    (void)vsnprintf(err->message, sizeof err->message, fmt, args); /* cut where it is too long */
    va_end(args);
    return status;
}

void stele__store_hint(stele_error *err, const char *fmt, ...)
{
    va_list args;
    if (err == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(err->hint, sizeof err->hint, fmt, args);
    va_end(args);
}

stele_status stele__store_old_options(const char *type, const char *init, stele_error *err)
{
    stele_status st = stele__store_fail(err, STELE_E_INPUT, "options are not those of %s", init);
    stele__store_hint(err, "start from: %s options = %s;", type, init);
    return st;
}

stele_status stele__store_no_memory(stele_error *err)
{
    return stele__store_fail(err, STELE_E_NOMEM, "out of memory");
}

/* ---- arena ----------------------------------------------------------------------------------- */

enum { CHUNK = 2048 };

struct stele__store_chunk {
    stele__store_chunk *before;
    _Alignas(max_align_t) char data[];
};

static char *new_chunk(stele__store_arena *arena, size_t room)
{
    stele__store_chunk *chunk = stele_alloc(sizeof *chunk + room);
    if (chunk == NULL)
        return NULL;
    chunk->before = arena->chunks;
    arena->chunks = chunk;
    return chunk->data;
}

void *stele__store_take(stele__store_arena *arena, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t step = (size + align - 1) & ~(align - 1);
    if (step > CHUNK / 4 && step > arena->left)
        return new_chunk(arena, step); /* what is left of the chunk before stays in use */
    if (step > arena->left) {
        arena->left = 0;
        arena->next = new_chunk(arena, CHUNK);
        if (arena->next == NULL)
            return NULL;
        arena->left = CHUNK;
    }
    void *piece = arena->next;
    arena->next += step;
    arena->left -= step;
    return piece;
}

void *stele__store_take_array(stele__store_arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *piece = stele__store_take(arena, total);
    if (piece != NULL)
        memset(piece, 0, total);
    return piece;
}

stele_str stele__store_copy(stele__store_arena *arena, stele_str text)
{
    stele_str none = {NULL, 0};
    if (text.data == NULL)
        return none;
    char *copy = stele__store_take(arena, text.len + 1);
    if (copy == NULL)
        return none;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    stele_str str = {copy, text.len};
    return str;
}

void stele__store_arena_free(stele__store_arena *arena)
{
    stele__store_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        stele__store_chunk *before = chunk->before;
        stele_free(chunk);
        chunk = before;
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

static bool grow(stele__store_text *text, size_t more)
{
    if (text->failed)
        return false;
    if (text->size - text->len > more)
        return true;
    size_t size = text->size < 256 ? 256 : text->size * 2;
    while (size - text->len <= more && size < SIZE_MAX / 4)
        size *= 2;
    char *data = size - text->len > more ? stele_realloc(text->data, size) : NULL;
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->size = size;
    return true;
}

void stele__store_add(stele__store_text *text, const char *data, size_t len)
{
    if (!grow(text, len))
        return;
    if (len > 0)
        memcpy(text->data + text->len, data, len);
    text->len += len;
    text->data[text->len] = '\0';
}

void stele__store_adds(stele__store_text *text, const char *s)
{
    stele__store_add(text, s, strlen(s));
}

static void add_escape(stele__store_text *text, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"':
        stele__store_adds(text, "\\\"");
        return;
    case '\\':
        stele__store_adds(text, "\\\\");
        return;
    case '\n':
        stele__store_adds(text, "\\n");
        return;
    case '\t':
        stele__store_adds(text, "\\t");
        return;
    case '\r':
        stele__store_adds(text, "\\r");
        return;
    default: {
        char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        stele__store_add(text, escape, sizeof escape);
    }
    }
}

void stele__store_add_json(stele__store_text *text, stele_str s)
{
    size_t done = 0;
    stele__store_add(text, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        stele__store_add(text, s.data + done, i - done);
        add_escape(text, c);
        done = i + 1;
    }
    if (s.len > done) /* `s.data` may be NULL */
        stele__store_add(text, s.data + done, s.len - done);
    stele__store_add(text, "\"", 1);
}

void stele__store_add_base64(stele__store_text *text, stele_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (bytes.len > SIZE_MAX / 4) {
        text->failed = true;
        return;
    }
    if (!grow(text, (bytes.len + 2) / 3 * 4))
        return;
    char *out = text->data + text->len;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t v = (uint32_t)bytes.data[i] << 16;
        v |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        v |= left > 2 ? bytes.data[i + 2] : 0;
        *out++ = digits[v >> 18];
        *out++ = digits[v >> 12 & 63];
        *out++ = left > 1 ? digits[v >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[v & 63] : '=';
    }
    *out = '\0';
    text->len = (size_t)(out - text->data);
}

void stele__store_text_free(stele__store_text *text)
{
    stele_free(text->data);
    memset(text, 0, sizeof *text);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static int digit_of(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t stele__store_base64_decode(const char *text, size_t len, uint8_t *out)
{
    if (len % 4 != 0)
        return SIZE_MAX;
    size_t pad = len > 0 && text[len - 1] == '=' ? (text[len - 2] == '=' ? 2 : 1) : 0;
    size_t done = 0;
    for (size_t i = 0; i < len; i += 4) {
        size_t count = i + 4 == len ? 4 - pad : 4;
        uint32_t v = 0;
        for (size_t j = 0; j < 4; j++) {
            int digit = j < count ? digit_of((unsigned char)text[i + j]) : 0;
            if (digit < 0)
                return SIZE_MAX;
            v = v << 6 | (uint32_t)digit;
        }
        out[done++] = (uint8_t)(v >> 16);
        if (count > 2)
            out[done++] = (uint8_t)(v >> 8 & 255);
        if (count > 3)
            out[done++] = (uint8_t)(v & 255);
    }
    return done;
}

int stele__store_compare(stele_str a, stele_str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;
    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}
