#include "store_json.h"

#include "banned.h"

enum { DEEPEST = 512 };

static void blanks(stele__json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
        j->at++;
}

char stele__json_peek(stele__json *j)
{
    if (j->bad)
        return '\0';
    blanks(j);
    return j->at < j->end ? *j->at : '\0';
}

static bool take(stele__json *j, char c)
{
    if (stele__json_peek(j) != c || c == '\0')
        return false;
    j->at++;
    return true;
}

static bool expect(stele__json *j, char c)
{
    if (!take(j, c))
        j->bad = true;
    return !j->bad;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Behind a backslash; gives how many characters belong to the escape, 0 for none such. */
static size_t escape_length(const char *at, const char *end)
{
    if (at == end)
        return 0;
    if (*at != 'u')
        return memchr("\"\\/bfnrt", *at, 8) != NULL ? 1 : 0;
    for (int i = 1; i <= 4; i++)
        if (end - at <= i || !is_hex(at[i]))
            return 0;
    return 5;
}

stele_str stele__json_string(stele__json *j)
{
    stele_str raw = {NULL, 0};
    if (!expect(j, '"'))
        return raw;
    const char *begin = j->at;
    for (const char *at = begin; at < j->end;) {
        unsigned char c = (unsigned char)*at;
        if (c == '"') {
            raw.data = begin;
            raw.len = (size_t)(at - begin);
            j->at = at + 1;
            return raw;
        }
        size_t escaped = c == '\\' ? escape_length(at + 1, j->end) : 0;
        if (c < 0x20 || (c == '\\' && escaped == 0))
            break;
        at += 1 + escaped;
    }
    j->bad = true;
    return raw;
}

static void digits(stele__json *j)
{
    const char *begin = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
        j->at++;
    if (j->at == begin)
        j->bad = true;
}

static void number(stele__json *j)
{
    if (*j->at == '-')
        j->at++;
    if (j->at < j->end && *j->at == '0')
        j->at++;
    else
        digits(j);
    if (j->at < j->end && *j->at == '.') {
        j->at++;
        digits(j);
    }
    if (j->at < j->end && (*j->at == 'e' || *j->at == 'E')) {
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
            j->at++;
        digits(j);
    }
}

static void word(stele__json *j, const char *w)
{
    size_t len = strlen(w);
    if ((size_t)(j->end - j->at) < len || memcmp(j->at, w, len) != 0)
        j->bad = true;
    else
        j->at += len;
}

static void scalar(stele__json *j, char first)
{
    if (first == '"')
        (void)stele__json_string(j);
    else if (first == '-' || (first >= '0' && first <= '9'))
        number(j);
    else
        word(j, first == 't' ? "true" : first == 'f' ? "false" : "null");
}

bool stele__json_enter(stele__json *j, char open)
{
    return expect(j, open);
}

/* Before the next part of an object or array: false behind its end. */
static bool next_part(stele__json *j, bool *first, char close)
{
    if (j->bad || take(j, close))
        return false;
    if (!*first && !expect(j, ','))
        return false;
    *first = false;
    return true;
}

bool stele__json_member(stele__json *j, bool *first, stele_str *ret_raw_key)
{
    if (!next_part(j, first, '}'))
        return false;
    blanks(j);
    *ret_raw_key = stele__json_string(j);
    return expect(j, ':');
}

bool stele__json_item(stele__json *j, bool *first)
{
    return next_part(j, first, ']');
}

static void skip(stele__json *j, int depth)
{
    stele_str key;
    char c = stele__json_peek(j);
    if (c != '{' && c != '[') {
        scalar(j, c);
        return;
    }
    if (depth == DEEPEST) {
        j->bad = true;
        return;
    }
    for (bool first = stele__json_enter(j, c);
         c == '{' ? stele__json_member(j, &first, &key) : stele__json_item(j, &first);)
        skip(j, depth + 1);
}

stele_str stele__json_value(stele__json *j)
{
    stele_str value = {NULL, 0};
    if (stele__json_peek(j) == '\0')
        j->bad = true;
    const char *begin = j->at;
    if (!j->bad)
        skip(j, 0);
    if (!j->bad) {
        value.data = begin;
        value.len = (size_t)(j->at - begin);
    }
    return value;
}

bool stele__json_done(stele__json *j)
{
    blanks(j);
    return !j->bad && j->at == j->end;
}

/* ---- strings --------------------------------------------------------------------------------- */

static uint32_t hex4(const char *at)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        uint32_t digit = c <= '9' ? (uint32_t)(c - '0') : (uint32_t)((c | 0x20) - 'a') + 10;
        v = v << 4 | digit;
    }
    return v;
}

static size_t put_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint32_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[more] | c >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (c >> (6 * (more - i)) & 0x3f));
    return more + 1;
}

/* The character of \\uXXXX at `at`, behind the u, and how long it is; SIZE_MAX for half a pair. */
static size_t code_point(const char *at, const char *end, uint32_t *ret_c)
{
    uint32_t c = hex4(at);
    *ret_c = c;
    if (c < 0xd800 || c > 0xdfff)
        return 4;
    if (c > 0xdbff || end - at < 10 || at[4] != '\\' || at[5] != 'u')
        return SIZE_MAX;
    uint32_t low = hex4(at + 6);
    if (low < 0xdc00 || low > 0xdfff)
        return SIZE_MAX;
    *ret_c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    return 10;
}

size_t stele__json_unescape(stele_str raw, char *out)
{
    static const char from[] = "bfnrt";
    static const char to[] = "\b\f\n\r\t";
    const char *end = raw.data + raw.len;
    size_t len = 0;
    for (const char *at = raw.data; at < end; at++) {
        if (*at != '\\') {
            out[len++] = *at;
            continue;
        }
        at++;
        if (*at == 'u') {
            uint32_t c = 0;
            size_t used = code_point(at + 1, end, &c);
            if (used == SIZE_MAX)
                return SIZE_MAX;
            at += used;
            len += put_utf8(c, out + len);
            continue;
        }
        const char *known = memchr(from, *at, sizeof from - 1);
        out[len++] = known != NULL ? to[known - from] : *at;
    }
    return len;
}

/* The next character, which must be one of ASCII; '\0' for others. */
static char next_ascii(const char **at)
{
    const char *c = *at;
    *at += *c != '\\' ? 1 : c[1] == 'u' ? 6 : 2;
    if (*c != '\\')
        return *c;
    if (c[1] == 'u')
        return hex4(c + 2) < 0x80 ? (char)hex4(c + 2) : '\0';
    return c[1] == '/' ? '/' : '\0';
}

size_t stele__json_base64(stele_str raw, uint8_t *out)
{
    char four[4];
    uint8_t bytes[3];
    size_t count = 0;
    size_t done = 0;
    bool ended = false;
    for (const char *at = raw.data; at < raw.data + raw.len;) {
        if (ended)
            return SIZE_MAX;
        four[count++] = next_ascii(&at);
        if (count < 4)
            continue;
        count = 0;
        size_t len = stele__store_base64_decode(four, 4, bytes);
        if (len == SIZE_MAX)
            return SIZE_MAX;
        if (out != NULL)
            memcpy(out + done, bytes, len);
        done += len;
        ended = four[3] == '=';
    }
    return count == 0 ? done : SIZE_MAX;
}

bool stele__json_has_half(stele_str json)
{
    const char *end = json.data + json.len;
    for (const char *at = json.data; at < end; at++) {
        uint32_t c = 0;
        if (*at != '\\')
            continue;
        at++;
        if (*at != 'u')
            continue;
        size_t used = code_point(at + 1, end, &c);
        if (used == SIZE_MAX)
            return true;
        at += used;
    }
    return false;
}

/* Bytes of the character at `at`; 0 for what is none. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    unsigned char c = at[0];
    size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c == 0 || (c >= 0x80 && c < 0xc2) || c > 0xf4 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f) || (c == 0xf0 && at[1] < 0x90) ||
        (c == 0xf4 && at[1] > 0x8f))
        return 0;
    return len;
}

bool stele__store_is_utf8(stele_str text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    for (size_t left = text.len; left > 0;) {
        size_t len = utf8_length(at, left);
        if (len == 0)
            return false;
        at += len;
        left -= len;
    }
    return true;
}
