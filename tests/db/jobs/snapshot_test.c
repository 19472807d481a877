/*
 * Claims while an old snapshot is held elsewhere, so that nothing of what was claimed can be removed from
 * the index: counted in blocks of it, not in time.
 */
#include "jobs_util.h"

#define JOBS 20000
#define SETTLED "datname = current_database() AND application_name = ''"

static stele_status nothing(stele_job *job, void *user, stele_error *error)
{
    (void)job;
    (void)user;
    (void)error;
    return STELE_OK;
}

static int64_t blocks_of_index(void)
{
    return number("SELECT pg_stat_get_blocks_fetched('errands_available'::regclass)");
}

/* The numbers of sessions that have ended are there. */
static void wait_for_numbers(const char *counter)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "SELECT %s AND (SELECT count(*) = 1 FROM pg_stat_activity WHERE " SETTLED ")"
                   " FROM pg_stat_user_tables WHERE relname = 'errands'",
                   counter);
    assert_true(becomes_true(sql));
}

/* What it takes to walk over all that was claimed. */
static int64_t blocks_of_a_whole_walk(void)
{
    int64_t blocks;
    STELE_AUTO(stele_conn) conn = acquire(db);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    run_sql(conn, "SET LOCAL enable_seqscan = off");
    run_sql(conn, "SET LOCAL enable_sort = off");
    (void)ask(conn, "SELECT count(*) FROM (SELECT FROM errands WHERE state = 'available'"
                    " AND kind = 'plain' ORDER BY priority DESC, run_at, id LIMIT 1) AS e");
    blocks =
        strtoll(ask(conn, "SELECT pg_stat_get_xact_blocks_fetched('errands_available'::regclass)"),
                NULL, 10);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    return blocks;
}

static stele_job_stats work_off(const stele_jobs_options *options)
{
    stele_jobs *jobs = NULL;
    stele_db_options db_options = options_of("counted", 4, &work_module);
    stele_db *counted = open_with(&db_options);
    assert_ok(stele_jobs_open(counted, &errands_jobs, options, &jobs, &err), &err);
    for (int i = 0; i < 12 && numbers_of(jobs).done < JOBS; i++)
        (void)becomes_true("SELECT count(*) = 0 FROM errands WHERE state <> 'done'");
    stele_job_stats stats = numbers_of(jobs);
    close_jobs(jobs);
    stele_db_close(counted);
    wait_for_backends("counted", 0);
    assert_int_equal(stats.done, JOBS);
    return stats;
}

/* Once a second a claim begins at the beginning, the others where the last one ended. */
static void claims_do_not_walk_over_what_was_claimed(void **state)
{
    (void)state;
    stele_job_kind kind;
    stele_jobs_options options = quick(&kind, nothing, NULL);
    options.workers = 1;
    options.batch = 20;
    options.poll_ms = 1000;
    stele_tx_options old = STELE_TX_OPTIONS_INIT;
    old.isolation = STELE_REPEATABLE_READ;
    STELE_AUTO(stele_conn) holder = acquire(db);
    assert_ok(stele_tx_begin(holder, &old, &err), &err);
    run_sql(holder, "SELECT count(*) FROM errands");
    peer("INSERT INTO errands (kind, run_at) SELECT 'plain', now() - i * interval '1 ms'"
         " FROM generate_series(1, 20000) AS i");
    peer("ANALYZE errands");
    wait_for_numbers("n_tup_ins >= 20000");
    int64_t before = blocks_of_index();
    uint64_t began = now_ms();
    stele_job_stats stats = work_off(&options);
    int64_t seconds = (int64_t)(now_ms() - began) / 1000;
    wait_for_numbers("n_tup_upd >= 40000");
    int64_t blocks = blocks_of_index() - before;
    int64_t whole = blocks_of_a_whole_walk();
    print_message("# %lld blocks in %llu claims, %lld s, a whole walk is %lld\n", (long long)blocks,
                  (unsigned long long)stats.claims, (long long)seconds, (long long)whole);
    assert_true(whole > 100);
    assert_true(blocks < (int64_t)stats.claims * 20 + (seconds + 4) * 2 * whole);
    assert_ok(stele_tx_rollback(holder, &err), &err);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {WORKED(claims_do_not_walk_over_what_was_claimed)};
    return RUN_WORKED(tests);
}
