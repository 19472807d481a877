#define _GNU_SOURCE
#include <string.h>
#include <time.h>

#include "text_internal.h"

#include "banned.h"

/* ---- hash ----------------------------------------------------------------------------------- */

/* FNV-1a over the bytes, then a finaliser: FNV alone leaves the high bits of short keys poor. */
uint64_t stele__hash64(uint64_t seed, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    hash *= UINT64_C(0xd6e8feb86659fd93);
    hash ^= hash >> 32;
    hash *= UINT64_C(0xd6e8feb86659fd93);
    return hash ^ (hash >> 32);
}

/* ---- UTF-8 ---------------------------------------------------------------------------------- */

static bool is_continuation(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

/* Length of the valid character at s[0, left), 0 if there is none. left is at least 1. */
static size_t character_len(const unsigned char *s, size_t left)
{
    unsigned char lead = s[0];
    if (lead < 0x80)
        return lead != 0 ? 1 : 0;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    if (lead < 0xe0)
        return left >= 2 && is_continuation(s[1]) ? 2 : 0;
    if (left < 3 || !is_continuation(s[1]) || !is_continuation(s[2]))
        return 0;
    if (lead < 0xf0) {
        bool overlong = lead == 0xe0 && s[1] < 0xa0;
        bool surrogate = lead == 0xed && s[1] >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    if (left < 4 || !is_continuation(s[3]))
        return 0;
    bool overlong = lead == 0xf0 && s[1] < 0x90;
    bool beyond = lead == 0xf4 && s[1] >= 0x90;
    return overlong || beyond ? 0 : 4;
}

#define ONES UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

size_t stele__utf8_check(const char *data, size_t len)
{
    size_t at = 0;
    while (at < len) {
        uint64_t word;
        if (len - at >= sizeof word) {
            memcpy(&word, data + at, sizeof word);
            /* No high bit set, and no byte that borrows when one is taken off: plain ASCII. */
            if (((word | (word - ONES)) & HIGHS) == 0) {
                at += sizeof word;
                continue;
            }
        }
        size_t step = character_len((const unsigned char *)data + at, len - at);
        if (step == 0)
            return at;
        at += step;
    }
    return len;
}

size_t stele__utf8_count(const char *data, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++)
        count += !is_continuation((unsigned char)data[i]);
    return count;
}

/* ---- base64url ------------------------------------------------------------------------------ */

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t stele__base64_encode(const void *data, size_t len, char *out)
{
    const unsigned char *bytes = data;
    size_t at = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        held += 8;
        while (held >= 6) {
            held -= 6;
            out[at++] = base64_alphabet[bits >> held & 63];
        }
    }
    if (held > 0)
        out[at++] = base64_alphabet[bits << (6 - held) & 63];
    out[at] = '\0';
    return at;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    return c == '_' ? 63 : -1;
}

bool stele__base64_decode(const char *text, size_t len, uint8_t *out, size_t *ret_len)
{
    if (len % 4 == 1)
        return false;
    size_t at = 0;
    uint32_t bits = 0;
    unsigned held = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[at++] = (uint8_t)(bits >> held);
        }
    }
    if ((bits & ((1u << held) - 1)) != 0)
        return false;
    *ret_len = at;
    return true;
}

/* ---- hex ------------------------------------------------------------------------------------ */

void stele__hex_encode(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
}

int stele__hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool stele__hex_decode(const char *text, size_t len, uint8_t *out)
{
    if (len % 2 != 0)
        return false;
    for (size_t i = 0; i < len; i += 2) {
        int high = stele__hex_digit(text[i]);
        int low = stele__hex_digit(text[i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* ---- clock ---------------------------------------------------------------------------------- */
