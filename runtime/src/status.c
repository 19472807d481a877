#include <stdio.h>
#include <string.h>

#include "status_internal.h"

#include "banned.h"

const char *stele_status_name(stele_status status)
{
    switch (status) {
#define STATUS_NAME(name, value, text)                                                             \
    case STELE_##name:                                                                             \
        return "STELE_" #name;
        STELE_STATUS_MAP(STATUS_NAME)
#undef STATUS_NAME
    }
    return "STELE_?";
}

const char *stele_status_text(stele_status status)
{
    switch (status) {
#define STATUS_TEXT(name, value, text)                                                             \
    case STELE_##name:                                                                             \
        return text;
        STELE_STATUS_MAP(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

void stele_error_clear(stele_error *err)
{
    if (err != NULL)
        memset(err, 0, sizeof *err);
}

/* ---- copying -------------------------------------------------------------------------------- */

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Bytes of the character that a lead byte announces; 1 for anything else. */
static size_t announced_len(char lead)
{
    unsigned char c = (unsigned char)lead;
    if (c >= 0xf0 && c <= 0xf4)
        return 4;
    if (c >= 0xe0 && c < 0xf0)
        return 3;
    if (c >= 0xc2 && c < 0xe0)
        return 2;
    return 1;
}

/* Longest prefix of data[0, len) that does not end within a character. */
static size_t whole_characters(const char *data, size_t len)
{
    size_t start = len;
    while (start > 0 && len - start < 3 && is_continuation(data[start - 1]))
        start--;
    if (start > 0 && announced_len(data[start - 1]) > len - start + 1)
        return start - 1;
    return len;
}

size_t stele__copy(char *dst, size_t size, const char *src, size_t len)
{
    if (size == 0)
        return 0;
    if (len >= size)
        len = whole_characters(src, size - 1);
    if (len > 0)
        memmove(dst, src, len);
    dst[len] = '\0';
    return len;
}

size_t stele__copy_text(char *dst, size_t size, const char *src)
{
    return stele__copy(dst, size, src, src != NULL ? strlen(src) : 0);
}

/* ---- filling -------------------------------------------------------------------------------- */

/* vsnprintf that never leaves half a character at the end. */
static void write_text(char *dst, size_t size, const char *fmt, va_list args)
{
    int wanted = vsnprintf(dst, size, fmt, args);
    if (wanted < 0)
        dst[0] = '\0';
    else if ((size_t)wanted >= size)
        dst[whole_characters(dst, size - 1)] = '\0';
}

stele_status stele__fail(stele_error *err, stele_status status, const char *fmt, ...)
{
    if (err == NULL)
        return status;
    va_list args;
    stele_error_clear(err);
    err->status = status;
    va_start(args, fmt);
    write_text(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return status;
}

void stele__error_hint(stele_error *err, const char *fmt, ...)
{
    if (err == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    write_text(err->hint, sizeof err->hint, fmt, args);
    va_end(args);
}

void stele__error_detail(stele_error *err, const char *fmt, ...)
{
    if (err == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    write_text(err->detail, sizeof err->detail, fmt, args);
    va_end(args);
}

void stele__error_place(stele_error *err, const char *table, const char *column)
{
    if (err == NULL)
        return;
    if (table != NULL)
        stele__copy_text(err->table, sizeof err->table, table);
    if (column != NULL)
        stele__copy_text(err->column, sizeof err->column, column);
}

/* ---- one line ------------------------------------------------------------------------------- */

/* A line that counts on when its buffer is full. */
typedef struct line {
    char *buf;
    size_t size;
    size_t len;
} line;

static void add(line *out, const char *text)
{
    for (; *text != '\0'; text++, out->len++) {
        if (out->len + 1 < out->size)
            out->buf[out->len] = (unsigned char)*text < ' ' ? ' ' : *text;
    }
}

/* `, label "name"`, the first with a parenthesis in place of the comma. */
static void add_place(line *out, bool *open, const char *label, const char *name)
{
    if (name[0] == '\0')
        return;
    add(out, *open ? ", " : " (");
    *open = true;
    add(out, label);
    add(out, " \"");
    add(out, name);
    add(out, "\"");
}

size_t stele_error_format(const stele_error *err, char *buf, size_t size)
{
    static const stele_error empty;
    line out = {buf, size, 0};
    if (err == NULL)
        err = &empty;
    add(&out, stele_status_name(err->status));
    if (err->sqlstate[0] != '\0') {
        add(&out, " [");
        add(&out, err->sqlstate);
        add(&out, "]");
    }
    add(&out, ": ");
    add(&out, err->message[0] != '\0' ? err->message : stele_status_text(err->status));
    bool open = false;
    add_place(&out, &open, "schema", err->schema);
    add_place(&out, &open, "table", err->table);
    add_place(&out, &open, "column", err->column);
    add_place(&out, &open, "constraint", err->constraint);
    if (open)
        add(&out, ")");
    if (err->hint[0] != '\0') {
        add(&out, "; hint: ");
        add(&out, err->hint);
    }
    if (size > 0) {
        size_t end = out.len < size ? out.len : whole_characters(buf, size - 1);
        buf[end] = '\0';
    }
    return out.len;
}
