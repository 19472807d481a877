/*
 * Every path of a caller that allocates, with the nth allocation failing, for all n: it answers "out of
 * memory", and works when nothing fails. What leaks then is found by the sanitizer's build.
 */
#include "faultmalloc.h"
#include "jobs_util.h"

static int ran; /* atomic */

static stele_status count_runs(stele_job *job, void *user, stele_error *error)
{
    (void)job;
    (void)user;
    (void)error;
    __atomic_fetch_add(&ran, 1, __ATOMIC_SEQ_CST);
    return STELE_OK;
}

static void opening_is_whole_or_not_at_all(void **state)
{
    (void)state;
    const stele_job_schedule schedule = {
        .name = "s", .kind = "plain", .cron = "1 1 1 1 *", .args = stele_s("{}")};
    for (int durable = 0; durable <= 1; durable++) {
        stele_job_kind kind;
        stele_jobs_options options = quick(&kind, count_runs, NULL);
        long failures = 0;
        stele_status st = STELE_E_NOMEM;
        if (durable) {
            options.schedules = &schedule;
            options.schedule_count = 1;
        }
        for (long n = 0; st != STELE_OK; n++) {
            stele_jobs *jobs = NULL;
            fault_arm(n);
            st = durable ? stele_jobs_open(db, &errands_jobs, &options, &jobs, &err)
                         : stele_jobs_open_volatile(&options, &jobs, &err);
            (void)fault_disarm();
            assert_true(st == STELE_OK || st == STELE_E_NOMEM);
            assert_true((st == STELE_OK) == (jobs != NULL));
            failures += st != STELE_OK;
            close_jobs(jobs);
        }
        assert_true(failures > 3);
    }
    assert_int_equal(stats_of(db).in_use, 0);
}

static void a_job_is_put_or_not(void **state)
{
    (void)state;
    for (int durable = 0; durable <= 1; durable++) {
        stele_job_kind kind;
        stele_jobs_options options = quick(&kind, count_runs, NULL);
        stele_job_input job = {
            .kind = stele_s("plain"), .key = stele_s("k"), .args = stele_s("{\"a\": [1, 2]}")};
        stele_jobs *jobs = NULL;
        stele_status st = STELE_E_NOMEM;
        ran = 0;
        assert_ok(durable ? stele_jobs_open(db, &errands_jobs, &options, &jobs, &err)
                          : stele_jobs_open_volatile(&options, &jobs, &err),
                  &err);
        STELE_AUTO(stele_conn) conn = durable ? acquire(db) : NULL;
        for (long n = 0; st != STELE_OK; n++) {
            fault_arm(n);
            st = stele_jobs_put(jobs, conn, &job, NULL, &err);
            (void)fault_disarm();
            assert_true(st == STELE_OK || st == STELE_E_NOMEM);
        }
        wait_for(&ran, 1);
        close_jobs(jobs);
        assert_int_equal(number("SELECT count(*) FROM errands"), durable);
    }
}

int main(void)
{
    dbtest_require_server();
    fault_install();
    const struct CMUnitTest tests[] = {
        WORKED(opening_is_whole_or_not_at_all),
        WORKED(a_job_is_put_or_not),
    };
    return RUN_WORKED(tests);
}
