/**
 * Schedules: the five fields of cron, and which time of a schedule has come last.
 *
 * Floor: jobs.
 */
#include <string.h>

#include "jobs_internal.h"
#include "status_internal.h"

#include "banned.h"

#define SECOND_US 1000000
#define MINUTE_US (60 * (int64_t)SECOND_US)
#define MINUTES_BACK 60 /* a time that is later than this is left out */

/* ---- reading ---- */

typedef struct field {
    const char *name;
    int low;
    int high;
} field;

static const field fields[] = {
    {"minute", 0, 59}, {"hour", 0, 23},   {"day of the month", 1, 31},
    {"month", 1, 12},  {"weekday", 0, 7},
};

static bool read_number(const char **at, int *ret_number)
{
    int number = 0;
    if (**at < '0' || **at > '9')
        return false;
    while (**at >= '0' && **at <= '9' && number < 1000)
        number = number * 10 + (*(*at)++ - '0');
    *ret_number = number;
    return true;
}

/* One item of a list: *, 5, 5-9, any of these with /2. */
static bool read_item(const char **at, const field *what, uint64_t *bits)
{
    int from = what->low;
    int to = what->high;
    int step = 1;
    bool open = true; /* without an end of its own */
    if (**at == '*') {
        (*at)++;
    } else {
        if (!read_number(at, &from))
            return false;
        to = from;
        if (**at == '-') {
            (*at)++;
            open = false;
            if (!read_number(at, &to))
                return false;
        }
    }
    if (**at == '/') {
        (*at)++;
        if (!read_number(at, &step) || step == 0)
            return false;
        if (open)
            to = what->high;
    }
    if (from < what->low || to > what->high || from > to)
        return false;
    for (int i = from; i <= to; i += step)
        *bits |= 1ull << i;
    return true;
}

static bool read_field(const char **at, const field *what, uint64_t *ret_bits, bool *ret_any)
{
    *ret_bits = 0;
    while (**at == ' ' || **at == '\t')
        (*at)++;
    *ret_any = **at == '*';
    for (;;) {
        if (!read_item(at, what, ret_bits))
            return false;
        if (**at != ',')
            break;
        (*at)++;
    }
    return **at == ' ' || **at == '\t' || **at == '\0';
}

stele_status stele__cron_parse(const char *text, stele__cron *ret_cron, stele_error *err)
{
    uint64_t bits[5];
    bool any[5];
    const char *at = text;
    for (size_t i = 0; i < 5; i++) {
        if (!read_field(&at, &fields[i], &bits[i], &any[i])) {
            stele_status st = stele__fail(err, STELE_E_INPUT, "the %s of cron \"%s\" is not valid",
                                          fields[i].name, text);
            stele__error_hint(err, "five fields, such as \"*/5 8-17 * * 1-5\"");
            return st;
        }
    }
    while (*at == ' ' || *at == '\t')
        at++;
    if (*at != '\0')
        return stele__fail(err, STELE_E_INPUT, "cron \"%s\" has more than five fields", text);
    bits[4] |= bits[4] >> 7; /* Sunday is 0 and 7 */
    *ret_cron = (stele__cron){.minutes = bits[0],
                              .hours = (uint32_t)bits[1],
                              .days = (uint32_t)bits[2],
                              .months = (uint16_t)bits[3],
                              .weekdays = (uint8_t)(bits[4] & 0x7f),
                              .any_day = any[2],
                              .any_weekday = any[4]};
    return STELE_OK;
}

/* ---- times ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q * b > a ? q - 1 : q;
}

/* Month and day of a day since 1970, by the proleptic Gregorian calendar. */
static void date_of(int64_t day, int *ret_month, int *ret_day)
{
    int64_t shifted = day + 719468; /* since the first of March of the year 0 */
    int64_t era = floor_div(shifted, 146097);
    int64_t of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153; /* from March */
    *ret_day = (int)(of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
}

static bool matches(const stele__cron *cron, int64_t minute)
{
    int64_t day = floor_div(minute, 1440);
    int64_t of_day = minute - day * 1440;
    int month;
    int day_of_month;
    date_of(day, &month, &day_of_month);
    int64_t weekday = (day + 4) - floor_div(day + 4, 7) * 7; /* 1970 began on a Thursday */
    bool day_fits = cron->days >> day_of_month & 1;
    bool weekday_fits = cron->weekdays >> weekday & 1;
    if (!cron->any_day && !cron->any_weekday)
        day_fits = day_fits || weekday_fits;
    else
        day_fits = day_fits && weekday_fits;
    return day_fits && (cron->minutes >> (of_day % 60) & 1) && (cron->hours >> (of_day / 60) & 1) &&
           (cron->months >> month & 1);
}

bool stele__schedule_due(const stele__schedule *schedule, int64_t now_us, int64_t *ret_at)
{
    if (!schedule->is_cron) {
        *ret_at = floor_div(now_us, schedule->every_us) * schedule->every_us;
        return *ret_at > schedule->last_us;
    }
    int64_t now = floor_div(now_us, MINUTE_US);
    for (int64_t minute = now; minute > now - MINUTES_BACK; minute--) {
        *ret_at = minute * MINUTE_US;
        if (*ret_at <= schedule->last_us)
            return false;
        if (matches(&schedule->cron, minute))
            return true;
    }
    return false;
}
