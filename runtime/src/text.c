#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "text_internal.h"

#include "banned.h"

void stele__buf_init(stele__buf *buf)
{
    memset(buf, 0, sizeof *buf);
}

void stele__buf_release(stele__buf *buf)
{
    stele__free(buf->data);
    stele__buf_init(buf);
}

void stele__buf_reset(stele__buf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

bool stele__buf_reserve(stele__buf *buf, size_t extra)
{
    if (buf->failed)
        return false;
    if (extra < buf->cap - buf->len)
        return true;
    size_t cap;
    if (__builtin_add_overflow(buf->len, extra, &cap) || cap > SIZE_MAX / 2) {
        buf->failed = true;
        return false;
    }
    cap = cap < 64 ? 64 : cap + cap / 2 + 1;
    char *data = stele__realloc_array(buf->data, cap, 1);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    buf->data[buf->len] = '\0';
    return true;
}

void stele__buf_add(stele__buf *buf, const char *data, size_t len)
{
    if (len == 0 || !stele__buf_reserve(buf, len))
        return;
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void stele__buf_add_text(stele__buf *buf, const char *s)
{
    if (s != NULL)
        stele__buf_add(buf, s, strlen(s));
}

void stele__buf_add_char(stele__buf *buf, char c)
{
    stele__buf_add(buf, &c, 1);
}

void stele__buf_add_uint(stele__buf *buf, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    stele__buf_add(buf, digits + at, sizeof digits - at);
}

void stele__buf_vaddf(stele__buf *buf, const char *fmt, va_list args)
{
    if (buf->failed)
        return;
    va_list again;
    va_copy(again, args);
    size_t room = buf->cap - buf->len;
    int wanted = vsnprintf(room != 0 ? buf->data + buf->len : NULL, room, fmt, args);
    if (wanted < 0) {
        buf->failed = true;
    } else if ((size_t)wanted < room) {
        buf->len += (size_t)wanted;
    } else if (stele__buf_reserve(buf, (size_t)wanted)) {
        (void)vsnprintf(buf->data + buf->len, (size_t)wanted + 1, fmt, again); /* as before */
        buf->len += (size_t)wanted;
    } else if (buf->data != NULL) {
        buf->data[buf->len] = '\0';
    }
    va_end(again);
}

void stele__buf_addf(stele__buf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    stele__buf_vaddf(buf, fmt, args);
    va_end(args);
}

/* Adds the text with every `mark` doubled. */
static void add_doubled(stele__buf *buf, const char *text, size_t len, char mark)
{
    while (len > 0) {
        const char *hit = memchr(text, mark, len);
        size_t part = hit != NULL ? (size_t)(hit - text) + 1 : len;
        stele__buf_add(buf, text, part);
        if (hit != NULL)
            stele__buf_add_char(buf, mark);
        text += part;
        len -= part;
    }
}

void stele__buf_add_ident(stele__buf *buf, const char *name, size_t len)
{
    stele__buf_add_char(buf, '"');
    add_doubled(buf, name, len, '"');
    stele__buf_add_char(buf, '"');
}

void stele__buf_add_literal(stele__buf *buf, const char *text, size_t len)
{
    bool escaped = len > 0 && memchr(text, '\\', len) != NULL;
    stele__buf_add_text(buf, escaped ? " E'" : "'");
    while (len > 0) {
        const char *hit = escaped ? memchr(text, '\\', len) : NULL;
        size_t part = hit != NULL ? (size_t)(hit - text) + 1 : len;
        add_doubled(buf, text, part, '\'');
        if (hit != NULL)
            stele__buf_add_char(buf, '\\');
        text += part;
        len -= part;
    }
    stele__buf_add_char(buf, '\'');
}

const char *stele__buf_text(const stele__buf *buf)
{
    return buf->data != NULL && !buf->failed ? buf->data : "";
}

char *stele__buf_take(stele__buf *buf)
{
    if (!stele__buf_reserve(buf, 0)) {
        stele__buf_release(buf);
        return NULL;
    }
    char *data = buf->data;
    stele__buf_init(buf);
    return data;
}
