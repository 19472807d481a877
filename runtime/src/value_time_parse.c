#define _GNU_SOURCE
#include <locale.h>
#include <stdlib.h>

#include "stele/value.h"
#include "value_internal.h"

#include "banned.h"

/* Text being read, from `at` on. */
typedef struct reader {
    const char *at;
    const char *end;
} reader;

static bool take(reader *in, char c)
{
    if (in->at == in->end || *in->at != c)
        return false;
    in->at++;
    return true;
}

/* Takes `word` (lower case) in any case. */
static bool take_word(reader *in, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(in->end - in->at) < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((in->at[i] | 0x20) != (word[i] | 0x20))
            return false;
    }
    in->at += len;
    return true;
}

static bool at_digit(const reader *in)
{
    return in->at < in->end && *in->at >= '0' && *in->at <= '9';
}

/* Takes from `least` to `most` digits; at most 9, so that the number fits. */
static bool take_number(reader *in, int least, int most, int *ret_number)
{
    int number = 0;
    int count = 0;
    for (; count < most && at_digit(in); count++)
        number = number * 10 + (*in->at++ - '0');
    *ret_number = number;
    return count >= least;
}

/* "infinity" or "-infinity" and nothing else. */
static bool is_infinity(stele_str text, bool *ret_negative)
{
    reader in = {text.data, text.data + text.len};
    *ret_negative = take(&in, '-');
    return take_word(&in, "infinity") && in.at == in.end;
}

/* A year as written, a month and a day. */
typedef struct ymd {
    int year;
    int month;
    int day;
} ymd;

/* Year, month and day; whether the day exists is known only when the era has been read. */
static bool take_ymd(reader *in, ymd *out)
{
    return take_number(in, 4, 7, &out->year) && take(in, '-') &&
           take_number(in, 2, 2, &out->month) && take(in, '-') && take_number(in, 2, 2, &out->day);
}

/* Takes " BC" or " AD" at the end, and then makes days of the parts. */
static bool finish_days(reader *in, const ymd *parts, int64_t *ret_days)
{
    bool bc = false;
    if (take(in, ' ')) {
        bc = take_word(in, "bc");
        if (!bc && !take_word(in, "ad"))
            return false;
    }
    if (in->at != in->end || parts->year < 1 || parts->month < 1 || parts->month > 12)
        return false;
    int64_t year = bc ? 1 - (int64_t)parts->year : parts->year;
    if (parts->day < 1 || parts->day > stele__month_days(year, parts->month))
        return false;
    *ret_days = stele__days_from_ymd(year, parts->month, parts->day);
    return true;
}

stele_status stele_date_parse(stele_str text, stele_date *ret_date)
{
    if (text.data == NULL)
        return STELE_E_INPUT;
    bool negative;
    if (is_infinity(text, &negative)) {
        *ret_date = negative ? STELE_DATE_NEG_INFINITY : STELE_DATE_INFINITY;
        return STELE_OK;
    }
    reader in = {text.data, text.data + text.len};
    ymd parts;
    int64_t days;
    if (!take_ymd(&in, &parts) || !finish_days(&in, &parts, &days))
        return STELE_E_INPUT;
    if (days < STELE__DATE_MIN || days > STELE__DATE_MAX)
        return STELE_E_VALUE;
    *ret_date = (stele_date)days;
    return STELE_OK;
}

/* ---- timestamps ----------------------------------------------------------------------------- */

/*
 * Digits after a point as microseconds, 0 to 1000000. Rounded through a double, half to even, because
 * that is how the server does it: the same text gives the same timestamp.
 */
static bool take_fraction(reader *in, int64_t *ret_micros)
{
    char digits[40] = "0.";
    size_t len = 2;
    bool any = false;
    for (; at_digit(in); in->at++, any = true) {
        if (len < sizeof digits - 1)
            digits[len++] = *in->at;
    }
    if (!any)
        return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0)
        return false;
    double micros = strtod_l(digits, NULL, c) * 1000000;
    freelocale(c);
    int64_t whole = (int64_t)micros;
    double rest = micros - (double)whole;
    *ret_micros = whole + (rest > 0.5 || (rest == 0.5 && whole % 2 != 0));
    return true;
}

/* "09:05", "09:05:00", "09:05:00.25": microseconds of the day, at most 24:00:00 and a leap second. */
static bool take_time(reader *in, int64_t *ret_micros)
{
    int hour, minute, second = 0;
    int64_t micros = 0;
    if (!take_number(in, 2, 2, &hour) || !take(in, ':') || !take_number(in, 2, 2, &minute))
        return false;
    if (take(in, ':')) {
        if (!take_number(in, 2, 2, &second))
            return false;
        if (take(in, '.') && !take_fraction(in, &micros))
            return false;
    }
    if (minute > 59 || second > 60)
        return false;
    *ret_micros = ((int64_t)hour * 3600 + minute * 60 + second) * 1000000 + micros;
    return *ret_micros <= STELE__DAY_MICROS;
}

/* "Z", "+02", "-0330", "+05:30", "+05:53:28", or nothing, which is UTC: seconds east of it. */
static bool take_offset(reader *in, int *ret_seconds)
{
    *ret_seconds = 0;
    if (take(in, 'Z') || take(in, 'z'))
        return true;
    bool west = in->at < in->end && *in->at == '-';
    if (!west && (in->at == in->end || *in->at != '+'))
        return true;
    in->at++;
    int hours, minutes = 0, seconds = 0;
    if (!take_number(in, 2, 2, &hours))
        return false;
    if (take(in, ':')) {
        if (!take_number(in, 2, 2, &minutes))
            return false;
        if (take(in, ':') && !take_number(in, 2, 2, &seconds))
            return false;
    } else if (at_digit(in) && !take_number(in, 2, 2, &minutes)) {
        return false;
    }
    if (hours > 23 || minutes > 59 || seconds > 59)
        return false;
    *ret_seconds = (hours * 60 + minutes) * 60 + seconds;
    if (west)
        *ret_seconds = -*ret_seconds;
    return true;
}

stele_status stele_ts_parse(stele_str text, stele_ts *ret_ts)
{
    if (text.data == NULL)
        return STELE_E_INPUT;
    bool negative;
    if (is_infinity(text, &negative)) {
        *ret_ts = negative ? STELE_TS_NEG_INFINITY : STELE_TS_INFINITY;
        return STELE_OK;
    }
    reader in = {text.data, text.data + text.len};
    ymd parts;
    int64_t days;
    int64_t time = 0;
    int offset = 0;
    if (!take_ymd(&in, &parts))
        return STELE_E_INPUT;
    bool has_time = take(&in, 'T') || take(&in, 't');
    if (!has_time && in.end - in.at > 1 && in.at[0] == ' ' && in.at[1] >= '0' && in.at[1] <= '9') {
        in.at++;
        has_time = true;
    }
    if (has_time && (!take_time(&in, &time) || !take_offset(&in, &offset)))
        return STELE_E_INPUT;
    if (!finish_days(&in, &parts, &days))
        return STELE_E_INPUT;
    int64_t ts;
    time -= (int64_t)offset * 1000000;
    if (__builtin_mul_overflow(days, STELE__DAY_MICROS, &ts) ||
        __builtin_add_overflow(ts, time, &ts) || ts < STELE__TS_MIN || ts == STELE_TS_INFINITY)
        return STELE_E_VALUE;
    *ret_ts = ts;
    return STELE_OK;
}
