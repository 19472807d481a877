#include <stdio.h>

#include "stele/value.h"
#include "text_internal.h"

#include "banned.h"

/* ---- writing -------------------------------------------------------------------------------- */

static int write_v4(char *out, size_t size, const uint8_t addr[4])
{
    return snprintf(out, size, "%u.%u.%u.%u", addr[0], addr[1], addr[2], addr[3]);
}

/* The first longest run of two or more zero words; *ret_len 0 if there is none. */
static void longest_zeros(const unsigned words[8], int *ret_from, int *ret_len)
{
    *ret_from = 0;
    *ret_len = 0;
    for (int i = 0; i < 8;) {
        int end = i;
        while (end < 8 && words[end] == 0)
            end++;
        if (end - i >= 2 && end - i > *ret_len) {
            *ret_from = i;
            *ret_len = end - i;
        }
        i = end + 1;
    }
}

/* Whether the last four bytes are shown as an IPv4 address: ::ffff:a.b.c.d and ::a.b.c.d. */
static bool embeds_v4(const unsigned words[8], int zeros_from, int zeros_len)
{
    if (zeros_from != 0)
        return false;
    return zeros_len == 6 || (zeros_len == 5 && words[5] == 0xffff);
}

static size_t write_v6(char *out, size_t size, const uint8_t addr[16])
{
    unsigned words[8];
    for (int i = 0; i < 8; i++)
        words[i] = (unsigned)addr[2 * i] << 8 | addr[2 * i + 1];
    int from, zeros;
    longest_zeros(words, &from, &zeros);
    bool v4 = embeds_v4(words, from, zeros);
    size_t len = 0;
    for (int i = 0; i < 8; i++) {
        if (zeros > 0 && i == from) {
            out[len++] = ':';
            i += zeros - 1;
            if (i == 7)
                out[len++] = ':';
            continue;
        }
        if (i > 0)
            out[len++] = ':';
        if (v4 && i == 6) {
            len += (size_t)write_v4(out + len, size - len, addr + 12);
            break;
        }
        len += (size_t)snprintf(out + len, size - len, "%x", words[i]);
    }
    out[len] = '\0';
    return len;
}

char *stele_inet_format(stele_inet inet, char buf[STELE_INET_TEXT_SIZE])
{
    size_t len;
    unsigned full;
    if (inet.family == 4) {
        len = (size_t)write_v4(buf, STELE_INET_TEXT_SIZE, inet.addr);
        full = 32;
    } else if (inet.family == 6) {
        len = write_v6(buf, STELE_INET_TEXT_SIZE, inet.addr);
        full = 128;
    } else {
        buf[0] = '\0';
        return buf;
    }
    if (inet.bits != full)
        (void)snprintf(buf + len, STELE_INET_TEXT_SIZE - len, "/%u", inet.bits); /* fits */
    return buf;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* A decimal number without leading zeros, at most `max`, at *at. */
static bool read_number(stele_str text, size_t *at, unsigned max, uint8_t *ret_number)
{
    size_t start = *at;
    unsigned number = 0;
    while (*at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9') {
        number = number * 10 + (unsigned)(text.data[*at] - '0');
        if (number > max)
            return false;
        ++*at;
    }
    if (*at == start || (*at > start + 1 && text.data[start] == '0'))
        return false;
    *ret_number = (uint8_t)number;
    return true;
}

static bool read_v4(stele_str text, size_t *at, uint8_t addr[4])
{
    for (int i = 0; i < 4; i++) {
        if (i > 0 && (*at >= text.len || text.data[(*at)++] != '.'))
            return false;
        if (!read_number(text, at, 255, &addr[i]))
            return false;
    }
    return true;
}

/* One to four hex digits at *at; their number, 0 if none or too many. */
static size_t read_word(stele_str text, size_t *at, unsigned *ret_word)
{
    size_t start = *at;
    *ret_word = 0;
    while (*at < text.len && stele__hex_digit(text.data[*at]) >= 0 && *at - start < 5)
        *ret_word = *ret_word << 4 | (unsigned)stele__hex_digit(text.data[(*at)++]);
    return *at - start <= 4 ? *at - start : 0;
}

static bool read_v6(stele_str text, size_t *at, uint8_t addr[16])
{
    int bytes = 0;
    int gap = -1;
    if (text.len >= 2 && text.data[0] == ':' && text.data[1] == ':') {
        gap = 0;
        *at = 2;
    }
    while (bytes < 16 && *at < text.len && text.data[*at] != '/') {
        size_t start = *at;
        unsigned word;
        if (read_word(text, at, &word) == 0)
            return false;
        if (*at < text.len && text.data[*at] == '.') {
            *at = start;
            if (bytes > 12 || !read_v4(text, at, addr + bytes))
                return false;
            bytes += 4;
            break;
        }
        addr[bytes++] = (uint8_t)(word >> 8);
        addr[bytes++] = (uint8_t)word;
        if (*at >= text.len || text.data[*at] != ':')
            break;
        ++*at;
        if (*at < text.len && text.data[*at] == ':') {
            if (gap >= 0)
                return false;
            gap = bytes;
            ++*at;
        } else if (*at >= text.len || text.data[*at] == '/' || bytes == 16) {
            return false; /* a colon at the end */
        }
    }
    if (gap < 0)
        return bytes == 16;
    if (bytes > 14)
        return false;
    memmove(addr + 16 - (bytes - gap), addr + gap, (size_t)(bytes - gap));
    memset(addr + gap, 0, (size_t)(16 - bytes));
    return true;
}

stele_status stele_inet_parse(stele_str text, stele_inet *ret_inet)
{
    if (text.data == NULL)
        return STELE_E_INPUT;
    stele_inet inet;
    memset(&inet, 0, sizeof inet);
    size_t at = 0;
    bool v6 = text.len > 0 && memchr(text.data, ':', text.len) != NULL;
    inet.family = v6 ? 6 : 4;
    inet.bits = v6 ? 128 : 32;
    if (!(v6 ? read_v6(text, &at, inet.addr) : read_v4(text, &at, inet.addr)))
        return STELE_E_INPUT;
    if (at < text.len && text.data[at] == '/') {
        at++;
        if (!read_number(text, &at, inet.bits, &inet.bits))
            return STELE_E_INPUT;
    }
    if (at != text.len)
        return STELE_E_INPUT;
    *ret_inet = inet;
    return STELE_OK;
}
