#include <stdio.h>

#include "stele/value.h"
#include "value_internal.h"

#include "banned.h"

/* ---- calendar ------------------------------------------------------------------------------- */

/*
 * Years are counted from 1 March, so that a leap day ends its year, and in eras of 400 years, which
 * all have the same number of days.
 */
#define ERA_DAYS 146097
#define EPOCH_FROM_ERA 719468 /* days from 0000-03-01 to 1970-01-01 */

int64_t stele__days_from_ymd(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA_DAYS + day_of_era - EPOCH_FROM_ERA;
}

static void ymd_from_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day)
{
    days += EPOCH_FROM_ERA;
    int64_t era = (days >= 0 ? days : days - (ERA_DAYS - 1)) / ERA_DAYS;
    int64_t day_of_era = days - era * ERA_DAYS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (ERA_DAYS - 1)) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month_from_march = (int)((5 * day_of_year + 2) / 153);
    *ret_day = (int)(day_of_year - (153 * month_from_march + 2) / 5) + 1;
    *ret_month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    *ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

int stele__month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

stele_status stele_date_from_ymd(int32_t year, int month, int day, stele_date *ret_date)
{
    if (month < 1 || month > 12 || day < 1 || day > stele__month_days(year, month))
        return STELE_E_INPUT;
    int64_t days = stele__days_from_ymd(year, month, day);
    if (days <= INT32_MIN || days >= INT32_MAX)
        return STELE_E_INPUT;
    *ret_date = (stele_date)days;
    return STELE_OK;
}

void stele_date_to_ymd(stele_date date, int32_t *ret_year, int *ret_month, int *ret_day)
{
    int64_t year;
    ymd_from_days(date, &year, ret_month, ret_day);
    *ret_year = (int32_t)year;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* "infinity" or "-infinity". */
static char *write_infinity(char *buf, size_t size, bool negative)
{
    (void)snprintf(buf, size, "%sinfinity", negative ? "-" : ""); /* 9 characters */
    return buf;
}

/* "2026-01-31"; years before 1 count backwards from 1 BC, which the caller appends. */
static size_t write_ymd(char *buf, size_t size, int64_t days, bool *ret_bc)
{
    int64_t year;
    int month, day;
    ymd_from_days(days, &year, &month, &day);
    *ret_bc = year <= 0;
    return (size_t)snprintf(buf, size, "%04lld-%02d-%02d", (long long)(year > 0 ? year : 1 - year),
                            month, day);
}

/* ".25" without trailing zeros; nothing for 0. */
static size_t write_fraction(char *buf, size_t size, unsigned micros)
{
    if (micros == 0)
        return 0;
    size_t len = (size_t)snprintf(buf, size, ".%06u", micros);
    while (buf[len - 1] == '0')
        len--;
    buf[len] = '\0';
    return len;
}

char *stele_date_format(stele_date date, char buf[STELE_DATE_TEXT_SIZE])
{
    if (date == STELE_DATE_INFINITY || date == STELE_DATE_NEG_INFINITY)
        return write_infinity(buf, STELE_DATE_TEXT_SIZE, date < 0);
    bool bc;
    size_t len = write_ymd(buf, STELE_DATE_TEXT_SIZE, date, &bc);
    (void)snprintf(buf + len, STELE_DATE_TEXT_SIZE - len, "%s", bc ? " BC" : ""); /* fits */
    return buf;
}

char *stele_ts_format(stele_ts ts, char buf[STELE_TS_TEXT_SIZE])
{
    if (ts == STELE_TS_INFINITY || ts == STELE_TS_NEG_INFINITY)
        return write_infinity(buf, STELE_TS_TEXT_SIZE, ts < 0);
    int64_t days = ts / STELE__DAY_MICROS;
    int64_t rest = ts % STELE__DAY_MICROS;
    if (rest < 0) {
        rest += STELE__DAY_MICROS;
        days--;
    }
    unsigned seconds = (unsigned)(rest / 1000000);
    bool bc;
    size_t size = STELE_TS_TEXT_SIZE;
    size_t len = write_ymd(buf, size, days, &bc);
    len += (size_t)snprintf(buf + len, size - len, "T%02u:%02u:%02u", seconds / 3600,
                            seconds / 60 % 60, seconds % 60);
    len += write_fraction(buf + len, size - len, (unsigned)(rest % 1000000));
    (void)snprintf(buf + len, size - len, "Z%s", bc ? " BC" : ""); /* fits */
    return buf;
}

/* ---- intervals ------------------------------------------------------------------------------ */

/* "5D", nothing for 0. */
static size_t write_part(char *buf, size_t size, int64_t value, char unit)
{
    return value != 0 ? (size_t)snprintf(buf, size, "%lld%c", (long long)value, unit) : 0;
}

char *stele_interval_format(stele_interval interval, char buf[STELE_INTERVAL_TEXT_SIZE])
{
    size_t size = STELE_INTERVAL_TEXT_SIZE;
    if (interval.months == 0 && interval.days == 0 && interval.micros == 0) {
        (void)snprintf(buf, size, "PT0S");
        return buf;
    }
    size_t len = 1;
    buf[0] = 'P';
    buf[1] = '\0';
    len += write_part(buf + len, size - len, interval.months / 12, 'Y');
    len += write_part(buf + len, size - len, interval.months % 12, 'M');
    len += write_part(buf + len, size - len, interval.days, 'D');
    if (interval.micros == 0)
        return buf;
    buf[len++] = 'T';
    buf[len] = '\0';
    len += write_part(buf + len, size - len, interval.micros / 3600000000, 'H');
    len += write_part(buf + len, size - len, interval.micros / 60000000 % 60, 'M');
    int64_t rest = interval.micros % 60000000;
    if (rest == 0)
        return buf;
    unsigned micros = (unsigned)(rest < 0 ? -rest : rest);
    len += (size_t)snprintf(buf + len, size - len, "%s%u", rest < 0 ? "-" : "", micros / 1000000);
    len += write_fraction(buf + len, size - len, micros % 1000000);
    (void)snprintf(buf + len, size - len, "S"); /* fits */
    return buf;
}
