/*
 * Reading JSON in place: no tree, no memory. Callers walk through a text and take what they know.
 *
 *     stele__json j = stele__json_of(text);
 *     stele_str key;
 *     for (bool first = stele__json_enter(&j, '{'); stele__json_member(&j, &first, &key);)
 *         if (stele__json_is(key, "id"))
 *             id = stele__json_value(&j);
 *         else
 *             (void)stele__json_value(&j);
 *
 * A text that is no JSON sets `bad`, and ends all loops. Raw strings are as they stand, without quotes.
 */
#ifndef STELE_STORE_JSON_H
#define STELE_STORE_JSON_H

#include "store_util.h"

typedef struct stele__json {
    const char *at;
    const char *end;
    bool bad;
} stele__json;

static inline stele__json stele__json_of(stele_str text)
{
    stele__json j = {text.data, text.data != NULL ? text.data + text.len : NULL, text.data == NULL};
    return j;
}

/* First character of the value that comes; '\0' at the end and when bad. */
char stele__json_peek(stele__json *j);

/* Takes '{' or '['; anything else is bad. */
bool stele__json_enter(stele__json *j, char open);

/* The next key and its colon; false behind the last one. The value must be taken before the next call. */
bool stele__json_member(stele__json *j, bool *first, stele_str *ret_raw_key);

/* The same for arrays. */
bool stele__json_item(stele__json *j, bool *first);

/* Takes a value, and gives its text: strings with their quotes. */
stele_str stele__json_value(stele__json *j);

/* Takes a string, and gives it raw. */
stele_str stele__json_string(stele__json *j);

/* True when nothing but blanks follows, and all was well. */
bool stele__json_done(stele__json *j);

/* Whether a raw string is `s`, which has nothing to escape. */
static inline bool stele__json_is(stele_str raw, const char *s)
{
    return raw.len == strlen(s) && memcmp(raw.data, s, raw.len) == 0;
}

/*
 * A raw string without its escapes, into `out` (raw.len bytes suffice). Gives the length; SIZE_MAX for
 * half a surrogate pair.
 */
size_t stele__json_unescape(stele_str raw, char *out);

/*
 * A raw string that is base64, escaped or not, into `out` (3/4 of raw.len bytes suffice; NULL: it is only
 * looked at). Gives the length; SIZE_MAX for what is none.
 */
size_t stele__json_base64(stele_str raw, uint8_t *out);

/* Whether a text that is JSON has half a surrogate pair somewhere, which the server does not take. */
bool stele__json_has_half(stele_str json);

/* Whether a text is UTF-8 as PostgreSQL takes it, NUL excluded. */
bool stele__store_is_utf8(stele_str text);

#endif
