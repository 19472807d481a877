/*
 * Parts of the conversions that several files share: decimal text taken apart, and the calendar.
 *
 * Floor: value.
 */
#ifndef STELE_VALUE_INTERNAL_H
#define STELE_VALUE_INTERNAL_H

#include "stele/value.h"

/* ---- decimals ------------------------------------------------------------------------------- */

typedef enum stele__decimal_kind {
    STELE__DECIMAL_FINITE,
    STELE__DECIMAL_INFINITY,
    STELE__DECIMAL_NAN
} stele__decimal_kind;

/* A scanned number: (-1)^negative × digits × 10^exponent. Borrows the text. */
typedef struct stele__decimal {
    stele__decimal_kind kind;
    bool negative;
    const char *digits; /* `whole` digits, then, if `fraction`, a point and `fraction` digits */
    size_t whole;
    size_t fraction;
    int64_t exponent; /* as written after "e"; the point still counts */
} stele__decimal;

/*
 * Scans what the server's numeric input takes: blanks around, a sign, digits, point, exponent, or NaN,
 * inf, Infinity in any case. False with the offset of the first bad byte.
 */
bool stele__decimal_scan(stele_str text, stele__decimal *ret_decimal, size_t *ret_where);

/* Digit i of the whole + fraction digits, 0 to 9. */
static inline int stele__decimal_digit(const stele__decimal *decimal, size_t i)
{
    return decimal->digits[i + (i >= decimal->whole)] - '0';
}

/* ---- calendar ------------------------------------------------------------------------------- */

#define STELE__DAY_MICROS (INT64_C(86400) * 1000000)

/* The server's range: dates from 4714-11-24 BC to 5874897-12-31, timestamps from the same day. */
#define STELE__DATE_MIN (-2440588)
#define STELE__DATE_MAX 2145042905
#define STELE__TS_MIN (STELE__DATE_MIN * STELE__DAY_MICROS)

/* Days since 1970-01-01 in the proleptic Gregorian calendar, whose year 0 is 1 BC. */
int64_t stele__days_from_ymd(int64_t year, int month, int day);

/* Days of a month, 1 to 12. */
int stele__month_days(int64_t year, int month);

#endif
