#include "stele/value.h"
#include "unit.h"
#include "value_internal.h"

static void the_calendar(void **state)
{
    (void)state;
    stele_date date;
    assert_int_equal(stele_date_from_ymd(1970, 1, 1, &date), STELE_OK);
    assert_int_equal(date, 0);
    assert_int_equal(stele_date_from_ymd(2000, 2, 29, &date), STELE_OK);
    assert_int_equal(date, 11016);
    assert_int_equal(stele_date_from_ymd(-4713, 11, 24, &date), STELE_OK);
    assert_int_equal(date, STELE__DATE_MIN);
    assert_int_equal(stele_date_from_ymd(5874897, 12, 31, &date), STELE_OK);
    assert_int_equal(date, STELE__DATE_MAX);
    static const int bad[][3] = {{1900, 2, 29},       {2001, 2, 29},    {2000, 0, 1},
                                 {2000, 13, 1},       {2000, 4, 31},    {2000, 1, 0},
                                 {INT32_MAX, 12, 31}, {INT32_MIN, 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(stele_date_from_ymd(bad[i][0], bad[i][1], bad[i][2], &date),
                         STELE_E_INPUT);
    /* Walk day by day through four centuries around year 0, and check the way back. */
    int64_t days = stele__days_from_ymd(-200, 1, 1);
    for (int year = -200; year < 220; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= stele__month_days(year, month); day++, days++) {
                int32_t y;
                int m, d;
                assert_int_equal(stele__days_from_ymd(year, month, day), days);
                stele_date_to_ymd((stele_date)days, &y, &m, &d);
                assert_true(y == year && m == month && d == day);
            }
        }
    }
    static const stele_date far[] = {INT32_MIN, INT32_MIN + 1, -1, 0, INT32_MAX - 1, INT32_MAX};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        int32_t y;
        int m, d;
        stele_date_to_ymd(far[i], &y, &m, &d);
        assert_int_equal(stele__days_from_ymd(y, m, d), far[i]);
    }
}

static void dates(void **state)
{
    (void)state;
    static const char *const good[] = {"2026-01-31",    "0001-01-01",    "0001-12-31 BC",
                                       "4714-11-24 BC", "5874897-12-31", "0005-02-29 BC",
                                       "infinity",      "-infinity"};
    static const char *const bad[] = {
        "",          "2026",        "2026-1-31",     "2026-02-30",    "0000-01-01",
        "26-01-31",  "2026-01-31 ", "2026-01-31 XC", "0004-02-29 BC", "2026-01-31 BCE",
        "infinity ", "+infinity",   "infinit",       "20260131",      "-2026-01-31"};
    char buf[STELE_DATE_TEXT_SIZE];
    stele_date date;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(stele_date_parse(stele_s(good[i]), &date), STELE_OK);
        assert_string_equal(stele_date_format(date, buf), good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(stele_date_parse(stele_s(bad[i]), &date), STELE_E_INPUT);
    assert_int_equal(stele_date_parse(stele_s(NULL), &date), STELE_E_INPUT);
    assert_int_equal(stele_date_parse(stele_s("5874898-01-01"), &date), STELE_E_VALUE);
    assert_int_equal(stele_date_parse(stele_s("4714-11-23 BC"), &date), STELE_E_VALUE);
    assert_int_equal(stele_date_parse(stele_s("0031-12-25 AD"), &date), STELE_OK);
    assert_string_equal(stele_date_format(date, buf), "0031-12-25");
    stele_date_format(INT32_MIN + 1, buf); /* no value of the server, but no trouble either */
}

static const struct {
    const char *text;
    const char *normal;
    stele_ts ts;
} some_timestamps[] = {
    {"1970-01-01T00:00:00Z", NULL, 0},
    {"2026-01-31T09:05:00.25Z", NULL, 1769850300250000},
    {"1969-12-31T23:59:59.999999Z", NULL, -1},
    {"infinity", NULL, INT64_MAX},
    {"-infinity", NULL, INT64_MIN},
    {"294247-01-10T04:00:54.775806Z", NULL, INT64_MAX - 1},
    {"4714-11-24T00:00:00Z BC", NULL, STELE__TS_MIN},
    {"1970-01-01t00:00:00.000001z", "1970-01-01T00:00:00.000001Z", 1},
    {"1970-01-01 00:00:00", "1970-01-01T00:00:00Z", 0},
    {"1970-01-01 00:00", "1970-01-01T00:00:00Z", 0},
    {"1970-01-01", "1970-01-01T00:00:00Z", 0},
    {"1970-01-01 01:00:00+01", "1970-01-01T00:00:00Z", 0},
    {"1970-01-01T05:53:28+05:53:28", "1970-01-01T00:00:00Z", 0},
    {"1970-01-01T00:00:00-0330", "1970-01-01T03:30:00Z", 12600000000},
    {"1970-01-01T23:59:60Z", "1970-01-02T00:00:00Z", 86400000000},
    {"1970-01-01T24:00:00Z", "1970-01-02T00:00:00Z", 86400000000},
    {"1970-01-01T00:00:00.0000005Z", "1970-01-01T00:00:00Z", 0},
    {"1970-01-01T00:00:00.0000015Z", "1970-01-01T00:00:00.000002Z", 2},
    {"1970-01-01T00:00:00.00000051Z", "1970-01-01T00:00:00.000001Z", 1},
    {"1970-01-01T23:59:59.9999999Z", "1970-01-02T00:00:00Z", 86400000000},
    {"1970-01-01 00:00:00 AD", "1970-01-01T00:00:00Z", 0},
};

static const char *const no_timestamps[] = {
    "",
    "1970-01-01T",
    "1970-01-01 ",
    "1970-01-01T00",
    "1970-01-01T0:00:00Z",
    "1970-01-01T00:00:00.Z",
    "1970-01-01T00:60:00Z",
    "1970-01-01T00:00:61Z",
    "1970-01-01T25:00:00Z",
    "1970-01-01T24:00:00.1Z",
    "1970-01-01T23:59:60.5Z",
    "1970-01-01T00:00:00Zulu",
    "1970-01-01T00:00:00+1",
    "1970-01-01T00:00:00+24:00",
    "1970-01-01T00:00:00+00:60",
    "1970-01-01T00:00:00 UTC",
    "1970-13-01T00:00:00Z",
    "1970-02-29T00:00:00Z",
    "now",
};

static void timestamps(void **state)
{
    (void)state;
    char buf[STELE_TS_TEXT_SIZE];
    stele_ts ts;
    for (size_t i = 0; i < sizeof some_timestamps / sizeof *some_timestamps; i++) {
        assert_int_equal(stele_ts_parse(stele_s(some_timestamps[i].text), &ts), STELE_OK);
        assert_true(ts == some_timestamps[i].ts);
        assert_string_equal(stele_ts_format(ts, buf), some_timestamps[i].normal != NULL
                                                          ? some_timestamps[i].normal
                                                          : some_timestamps[i].text);
    }
    for (size_t i = 0; i < sizeof no_timestamps / sizeof *no_timestamps; i++)
        assert_int_equal(stele_ts_parse(stele_s(no_timestamps[i]), &ts), STELE_E_INPUT);
    assert_int_equal(stele_ts_parse(stele_s(NULL), &ts), STELE_E_INPUT);
    assert_int_equal(stele_ts_parse(stele_s("294247-01-10T04:00:54.775807Z"), &ts), STELE_E_VALUE);
    assert_int_equal(stele_ts_parse(stele_s("294276-12-31T00:00:00Z"), &ts), STELE_E_VALUE);
    assert_int_equal(stele_ts_parse(stele_s("4714-11-24T00:00:00+01 BC"), &ts), STELE_E_VALUE);
    assert_true(strlen(stele_ts_format(INT64_MIN + 1, buf)) < STELE_TS_TEXT_SIZE);
}

static void intervals(void **state)
{
    (void)state;
    static const struct {
        stele_interval interval;
        const char *text;
    } cases[] = {
        {{0, 0, 0}, "PT0S"},
        {{3500000, 2, 1}, "P1M2DT3.5S"},
        {{0, 0, 14}, "P1Y2M"},
        {{0, 0, -14}, "P-1Y-2M"},
        {{-500000, -3, 0}, "P-3DT-0.5S"},
        {{3600000000, 0, 0}, "PT1H"},
        {{-5400000001, 0, 0}, "PT-1H-30M-0.000001S"},
        {{60000000, 1, 0}, "P1DT1M"},
        {{INT64_MAX, INT32_MAX, INT32_MAX}, "P178956970Y7M2147483647DT2562047788H54.775807S"},
        {{INT64_MIN, INT32_MIN, INT32_MIN}, "P-178956970Y-8M-2147483648DT-2562047788H-54.775808S"},
    };
    char buf[STELE_INTERVAL_TEXT_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(stele_interval_format(cases[i].interval, buf), cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_calendar),
        cmocka_unit_test(dates),
        cmocka_unit_test(timestamps),
        cmocka_unit_test(intervals),
    };
    return RUN(tests);
}
