#define _GNU_SOURCE
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "value_internal.h"

#include "banned.h"

/* ---- scanning ------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether `word` (lower case) stands at text[at], in any case. */
static bool word_at(stele_str text, size_t at, const char *word)
{
    size_t len = strlen(word);
    if (text.len - at < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((text.data[at + i] | 0x20) != word[i])
            return false;
    }
    return true;
}

static size_t skip_digits(stele_str text, size_t at)
{
    while (at < text.len && is_digit(text.data[at]))
        at++;
    return at;
}

/* Reads "e-12" at *at, if it stands there. False if it is cut short or absurdly large. */
static bool scan_exponent(stele_str text, size_t *at, int64_t *ret_exponent)
{
    *ret_exponent = 0;
    if (*at >= text.len || (text.data[*at] | 0x20) != 'e')
        return true;
    size_t i = *at + 1;
    bool negative = i < text.len && text.data[i] == '-';
    if (i < text.len && (text.data[i] == '-' || text.data[i] == '+'))
        i++;
    size_t end = skip_digits(text, i);
    int64_t exponent = 0;
    for (size_t k = i; k < end; k++) {
        exponent = exponent * 10 + (text.data[k] - '0');
        if (exponent > INT32_MAX / 2)
            end = k; /* as the server's limit; not read further, so reported here */
    }
    *at = end;
    if (end == i || exponent > INT32_MAX / 2)
        return false;
    *ret_exponent = negative ? -exponent : exponent;
    return true;
}

/* Words for what is no number, at `at`; the length of the word, 0 if none stands there. */
static size_t scan_word(stele_str text, size_t at, bool has_sign, stele__decimal_kind *ret_kind)
{
    *ret_kind = STELE__DECIMAL_INFINITY;
    if (word_at(text, at, "infinity"))
        return 8;
    if (word_at(text, at, "inf"))
        return 3;
    *ret_kind = STELE__DECIMAL_NAN;
    return !has_sign && word_at(text, at, "nan") ? 3 : 0;
}

/* The digits, point and exponent at *at, or false with *at at the culprit. */
static bool scan_finite(stele_str text, size_t *at, stele__decimal *out)
{
    out->digits = text.data + *at;
    size_t end = skip_digits(text, *at);
    out->whole = end - *at;
    *at = end;
    if (end < text.len && text.data[end] == '.') {
        *at = skip_digits(text, end + 1);
        out->fraction = *at - end - 1;
    }
    if (out->whole + out->fraction == 0)
        return false;
    return scan_exponent(text, at, &out->exponent);
}

bool stele__decimal_scan(stele_str text, stele__decimal *ret_decimal, size_t *ret_where)
{
    stele__decimal out = {STELE__DECIMAL_FINITE, false, NULL, 0, 0, 0};
    size_t at = 0;
    *ret_where = 0;
    if (text.data == NULL)
        return false;
    while (at < text.len && is_blank(text.data[at]))
        at++;
    bool has_sign = at < text.len && (text.data[at] == '-' || text.data[at] == '+');
    if (has_sign)
        out.negative = text.data[at++] == '-';
    stele__decimal_kind kind;
    size_t word = scan_word(text, at, has_sign, &kind);
    if (word > 0) {
        out.kind = kind;
        at += word;
    } else if (!scan_finite(text, &at, &out)) {
        *ret_where = at;
        return false;
    }
    while (at < text.len && is_blank(text.data[at]))
        at++;
    *ret_where = at;
    if (at != text.len)
        return false;
    *ret_decimal = out;
    return true;
}

/* ---- integers ------------------------------------------------------------------------------- */

stele_status stele_numeric_to_scaled(stele_str text, int scale, int64_t *ret_value)
{
    stele__decimal decimal;
    size_t where;
    if (!stele__decimal_scan(text, &decimal, &where))
        return STELE_E_INPUT;
    if (decimal.kind != STELE__DECIMAL_FINITE)
        return STELE_E_VALUE;
    size_t count = decimal.whole + decimal.fraction;
    /* The value wanted is all digits × 10^shift. */
    int64_t shift = decimal.exponent - (int64_t)decimal.fraction + scale;
    uint64_t magnitude = 0;
    for (size_t i = 0; i < count; i++) {
        int digit = stele__decimal_digit(&decimal, i);
        if (shift < 0 && (int64_t)(count - i) <= -shift) {
            if (digit != 0)
                return STELE_E_VALUE;
        } else if (__builtin_mul_overflow(magnitude, (uint64_t)10, &magnitude) ||
                   __builtin_add_overflow(magnitude, (uint64_t)digit, &magnitude)) {
            return STELE_E_VALUE;
        }
    }
    for (; shift > 0 && magnitude != 0; shift--) {
        if (__builtin_mul_overflow(magnitude, (uint64_t)10, &magnitude))
            return STELE_E_VALUE;
    }
    uint64_t limit = (uint64_t)INT64_MAX + decimal.negative;
    if (magnitude > limit)
        return STELE_E_VALUE;
    if (!decimal.negative)
        *ret_value = (int64_t)magnitude;
    else
        *ret_value = magnitude == limit ? INT64_MIN : -(int64_t)magnitude;
    return STELE_OK;
}

stele_status stele_numeric_to_i64(stele_str text, int64_t *ret_value)
{
    return stele_numeric_to_scaled(text, 0, ret_value);
}

/* Writes digits backwards, ending before `end`; returns where they begin. */
static char *write_backwards(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return end;
}

char *stele_numeric_from_scaled(int64_t value, int scale, char buf[48])
{
    char digits[20];
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char *first = write_backwards(digits + sizeof digits, magnitude);
    int count = (int)(digits + sizeof digits - first);
    const char *sign = value < 0 ? "-" : "";
    if (scale == 0)
        (void)snprintf(buf, 48, "%s%.*s", sign, count, first); /* 20 bytes at most */
    else if (scale > 40 || scale < -20) /* digits would not fit; this is numeric text as well */
        (void)snprintf(buf, 48, "%s%.*se%lld", sign, count, first, -(long long)scale);
    else if (scale < 0)
        (void)snprintf(buf, 48, "%s%.*s%.*s", sign, count, first, magnitude != 0 ? -scale : 0,
                       "00000000000000000000");
    else if (scale < count)
        (void)snprintf(buf, 48, "%s%.*s.%.*s", sign, count - scale, first, scale,
                       first + (count - scale));
    else
        (void)snprintf(buf, 48, "%s0.%.*s%.*s", sign, scale - count,
                       "0000000000000000000000000000000000000000", count, first);
    return buf;
}

/* ---- doubles -------------------------------------------------------------------------------- */

/*
 * No double needs more than 767 significant digits to be told from its neighbours' midpoints; what
 * comes after those matters only by being zero or not.
 */
#define SIGNIFICANT 800

/* Text of a finite decimal that strtod reads alike, whatever the length of the original. */
static void shorten(const stele__decimal *decimal, char out[SIGNIFICANT + 40])
{
    size_t count = decimal->whole + decimal->fraction;
    size_t skip = 0;
    while (skip < count && stele__decimal_digit(decimal, skip) == 0)
        skip++;
    size_t len = 0;
    bool more = false;
    for (size_t i = skip; i < count; i++) {
        int digit = stele__decimal_digit(decimal, i);
        if (len < SIGNIFICANT)
            out[len++] = (char)('0' + digit);
        else
            more = more || digit != 0;
    }
    int64_t shift = decimal->exponent - (int64_t)decimal->fraction + (int64_t)(count - skip - len);
    if (len == 0) {
        out[len++] = '0';
        shift = 0;
    } else if (more) {
        out[len++] = '1';
        shift--;
    }
    (void)snprintf(out + len, 40, "e%lld", (long long)shift); /* fits: 21 characters */
}

stele_status stele_numeric_to_f64(stele_str text, double *ret_value)
{
    stele__decimal decimal;
    size_t where;
    if (!stele__decimal_scan(text, &decimal, &where))
        return STELE_E_INPUT;
    double value;
    if (decimal.kind == STELE__DECIMAL_NAN) {
        value = NAN;
    } else if (decimal.kind == STELE__DECIMAL_INFINITY) {
        value = INFINITY;
    } else {
        /* The C locale is built in: newlocale allocates nothing for it. */
        locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (c == (locale_t)0)
            return STELE_E_NOMEM;
        char digits[SIGNIFICANT + 40];
        shorten(&decimal, digits);
        value = strtod_l(digits, NULL, c);
        freelocale(c);
        if (isinf(value))
            return STELE_E_VALUE;
    }
    *ret_value = decimal.negative ? -value : value;
    return STELE_OK;
}
