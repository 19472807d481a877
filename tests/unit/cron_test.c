/*
 * Schedules: which times the five fields of cron name, and which has come last.
 */
#include "jobs_internal.h"
#include "unit.h"

static stele_error err;

static int64_t at(const char *text)
{
    stele_ts ts = 0;
    assert_int_equal(stele_ts_parse(stele_s(text), &ts), STELE_OK);
    return ts;
}

/* The last time of `cron` up to `now`; 0 when there is none within the hour before. */
static int64_t last(const char *cron, const char *now)
{
    stele__schedule schedule = {.is_cron = true, .last_us = INT64_MIN};
    int64_t found = 0;
    assert_int_equal(stele__cron_parse(cron, &schedule.cron, &err), STELE_OK);
    return stele__schedule_due(&schedule, at(now), &found) ? found : 0;
}

static void fields_name_times(void **state)
{
    static const struct {
        const char *cron;
        const char *now;
        const char *last; /* NULL: none */
    } cases[] = {
        {"* * * * *", "2026-11-20 12:40:26+00", "2026-11-20 12:40:00+00"},
        {"*/15 * * * *", "2026-11-20 12:44:59.9+00", "2026-11-20 12:30:00+00"},
        {"5,35 * * * *", "2026-11-20 12:34:59+00", "2026-11-20 12:05:00+00"},
        {"10-12 * * * *", "2026-11-20 12:40:00+00", "2026-11-20 12:12:00+00"},
        {"10-30/7 * * * *", "2026-11-20 12:29:00+00", "2026-11-20 12:24:00+00"},
        {"50/3 * * * *", "2026-11-20 12:59:59+00", "2026-11-20 12:59:00+00"},
        {"0 0 * * *", "2026-11-20 00:00:00+00", "2026-11-20 00:00:00+00"},
        {"0 0 * * *", "2026-11-20 00:59:59+00", "2026-11-20 00:00:00+00"},
        {"0 0 * * *", "2026-11-20 01:00:00+00", NULL},
        {"59 23 31 12 *", "2026-12-31 23:59:01+00", "2026-12-31 23:59:00+00"},
        {"0 9 * * 5", "2026-11-20 09:30:00+00", "2026-11-20 09:00:00+00"}, /* a Friday */
        {"0 9 * * 1-4", "2026-11-20 09:30:00+00", NULL},
        {"0 9 * * 0", "2026-11-22 09:30:00+00", "2026-11-22 09:00:00+00"},
        {"0 9 * * 7", "2026-11-22 09:30:00+00", "2026-11-22 09:00:00+00"},
        {"0 9 * * 5-7", "2026-11-22 09:30:00+00", "2026-11-22 09:00:00+00"},
        {"0 9 13 * 5", "2026-11-20 09:30:00+00", "2026-11-20 09:00:00+00"}, /* either will do */
        {"0 9 20 * 1", "2026-11-20 09:30:00+00", "2026-11-20 09:00:00+00"},
        {"0 9 13 * 1", "2026-11-20 09:30:00+00", NULL},
        {"0 9 29 2 *", "2028-02-29 09:30:00+00", "2028-02-29 09:00:00+00"},
        {"0 9 1 3 *", "2027-03-01 09:30:00+00", "2027-03-01 09:00:00+00"},
        {"0 9 29 2 *", "2027-03-01 09:30:00+00", NULL},
        {" 1\t2 * * * ", "2026-11-20 02:01:00+00", "2026-11-20 02:01:00+00"},
        {"30 11 1 1 *", "1969-01-01 11:45:00+00", "1969-01-01 11:30:00+00"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t wanted = cases[i].last != NULL ? at(cases[i].last) : 0;
        if (last(cases[i].cron, cases[i].now) != wanted)
            fail_msg("%s at %s", cases[i].cron, cases[i].now);
    }
}

static void a_time_comes_once(void **state)
{
    (void)state;
    stele__schedule often = {.every_us = 10 * 1000000, .last_us = at("2026-11-20 12:00:00+00")};
    int64_t found = 0;
    assert_false(stele__schedule_due(&often, at("2026-11-20 12:00:09.9+00"), &found));
    assert_true(stele__schedule_due(&often, at("2026-11-20 12:00:31+00"), &found));
    assert_int_equal(found, at("2026-11-20 12:00:30+00")); /* the others are left out */
    stele__schedule cron = {.is_cron = true, .last_us = at("2026-11-20 12:00:10+00")};
    assert_int_equal(stele__cron_parse("* * * * *", &cron.cron, &err), STELE_OK);
    assert_false(stele__schedule_due(&cron, at("2026-11-20 12:00:59+00"), &found));
    assert_true(stele__schedule_due(&cron, at("2026-11-20 12:02:00+00"), &found));
    assert_int_equal(found, at("2026-11-20 12:02:00+00"));
}

static void other_texts_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "*",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-4 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "1, * * * *",
        ",1 * * * *",
        "1- * * * *",
        "-1 * * * *",
        "1/ * * * *",
        "1x * * * *",
        "** * * * *",
        "99999999999999999999 * * * *",
        "* * * jan *",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stele__cron cron;
        stele_error_clear(&err);
        if (stele__cron_parse(bad[i], &cron, &err) != STELE_E_INPUT)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_true(err.message[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_name_times),
        cmocka_unit_test(a_time_comes_once),
        cmocka_unit_test(other_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
