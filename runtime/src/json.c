#include <string.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "stele/json.h"

#include "banned.h"

/* json and jsonb columns may hold any value at the top, and json columns \u0000 in strings. */
#define LOAD_FLAGS (JSON_DECODE_ANY | JSON_ALLOW_NUL)

/* Past the integer that begins at `at`; *ret_integer says whether it is one and not a real. */
static size_t skip_number(stele_str text, size_t at, bool *ret_integer)
{
    *ret_integer = true;
    for (; at < text.len; at++) {
        char c = text.data[at];
        if (c == '.' || c == 'e' || c == 'E')
            *ret_integer = false;
        else if ((c < '0' || c > '9') && c != '-' && c != '+')
            break;
    }
    return at;
}

/* Past the string whose opening quote is at `at`. */
static size_t skip_string(stele_str text, size_t at)
{
    for (at++; at < text.len && text.data[at] != '"'; at++) {
        if (text.data[at] == '\\')
            at++;
    }
    return at + 1;
}

/* More digits than any int64_t has; those of 19 that do not fit are found by comparing. */
static bool is_too_big(const char *number, size_t len)
{
    bool negative = len > 0 && number[0] == '-';
    const char *limit = negative ? "9223372036854775808" : "9223372036854775807";
    number += negative;
    len -= negative;
    return len > 19 || (len == 19 && memcmp(number, limit, 19) > 0);
}

/*
 * A copy in which the integers that int64_t cannot hold are written as reals ("1e0"): jansson refuses
 * them otherwise, or turns all integers into reals. NULL when memory is out.
 */
static char *with_big_reals(stele_str text, size_t *ret_len)
{
    /* An integer that grows by two has twenty bytes or more. */
    char *copy = stele__alloc(text.len + text.len / 8 + 1);
    if (copy == NULL)
        return NULL;
    size_t len = 0;
    for (size_t at = 0; at < text.len;) {
        char c = text.data[at];
        bool integer = false;
        size_t end = at + 1;
        if (c == '"')
            end = skip_string(text, at);
        else if (c == '-' || (c >= '0' && c <= '9'))
            end = skip_number(text, at, &integer);
        if (end > text.len)
            end = text.len;
        memcpy(copy + len, text.data + at, end - at);
        len += end - at;
        if (integer && is_too_big(text.data + at, end - at)) {
            copy[len++] = 'e';
            copy[len++] = '0';
        }
        at = end;
    }
    *ret_len = len;
    return copy;
}

/* Reads again, big integers as reals; STELE_E_NOMEM or STELE_OK with *ret_json NULL and *error set. */
static stele_status load_big(stele_str text, json_t **ret_json, json_error_t *error)
{
    size_t len;
    char *copy = with_big_reals(text, &len);
    if (copy == NULL)
        return STELE_E_NOMEM;
    *ret_json = json_loadb(copy, len, LOAD_FLAGS, error);
    stele__free(copy);
    return STELE_OK;
}

/* In most places where its memory ends, jansson leaves the text empty and the code as it was. */
static bool is_out_of_memory(const json_error_t *error)
{
    return error->text[0] == '\0' || json_error_code(error) == json_error_out_of_memory;
}

stele_status stele_json_load(stele_str text, json_t **ret_json, stele_error *err)
{
    if (text.data == NULL) {
        *ret_json = NULL;
        return STELE_OK;
    }
    json_error_t error;
    memset(&error, 0, sizeof error);
    json_t *json = json_loadb(text.data, text.len, LOAD_FLAGS, &error);
    stele_status st = STELE_OK;
    if (json == NULL && json_error_code(&error) == json_error_numeric_overflow)
        st = load_big(text, &json, &error);
    if (st != STELE_OK || (json == NULL && is_out_of_memory(&error)))
        return stele__fail(err, STELE_E_NOMEM, "out of memory while reading JSON");
    if (json == NULL)
        return stele__fail(err, STELE_E_VALUE, "invalid JSON at line %d, column %d: %s", error.line,
                           error.column, error.text);
    *ret_json = json;
    return STELE_OK;
}
