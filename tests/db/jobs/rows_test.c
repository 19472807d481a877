/*
 * Jobs as rows: what enqueuing, canceling and reviving do to them, without any worker.
 */
#include "jobs_util.h"

static void a_job_is_there_when_its_transaction_is(void **state)
{
    (void)state;
    stele_job_input job = {.kind = stele_s("plain"), .args = stele_s("{\"a\": 1}")};
    int64_t id = 0;
    STELE_AUTO(stele_conn) conn = acquire(db);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(errands_enqueue(conn, &job, &id, &err), &err);
    assert_int_equal(number("SELECT count(*) FROM errands"), 0);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_int_equal(number("SELECT count(*) FROM errands"), 0);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(errands_enqueue(conn, &job, &id, &err), &err);
    assert_ok(stele_tx_commit(conn, &err), &err);
    assert_int_equal(number("SELECT id FROM errands WHERE kind = 'plain' AND args = '{\"a\": 1}'"
                            " AND state = 'available' AND dedupe_key IS NULL AND gen = 1"
                            " AND max_attempts = 25 AND run_at <= now()"),
                     id);
}

static void a_job_joins_a_pipeline(void **state)
{
    (void)state;
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s("k")};
    int64_t ids[2] = {0, 0};
    STELE_AUTO(stele_conn) conn = acquire(db);
    stele_pipeline *pipeline = NULL;
    assert_ok(stele_pipeline_open(conn, NULL, &pipeline, &err), &err);
    assert_ok(errands_enqueue_queue(pipeline, &job, &ids[0], &err), &err);
    job.key = stele_s("l");
    assert_ok(errands_enqueue_queue(pipeline, &job, &ids[1], &err), &err);
    uint64_t before = stele_conn_round_trips(conn);
    assert_ok(stele_pipeline_sync(pipeline, &err), &err);
    assert_int_equal(stele_conn_round_trips(conn) - before, 1);
    stele_pipeline_close(pipeline);
    assert_true(ids[0] > 0 && ids[1] > ids[0]);
    assert_string_equal(states(), "available 2");
}

static void one_key_is_one_row(void **state)
{
    (void)state;
    int64_t first = enqueue("plain", "k");
    assert_int_equal(enqueue("plain", "k"), first);
    assert_true(enqueue("other", "k") != first);
    assert_int_equal(number("SELECT gen FROM errands WHERE kind = 'plain'"), 2);
    assert_int_equal(number("SELECT count(*) FROM errands"), 2);
}

static void what_is_asked_for_again_keeps_the_earlier_time(void **state)
{
    (void)state;
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s("k"), .delay_ms = 60000};
    (void)enqueue_as(&job);
    job.delay_ms = 600000;
    job.priority = 3;
    (void)enqueue_as(&job);
    assert_int_equal(number("SELECT count(*) FROM errands WHERE priority = 3"
                            " AND run_at < now() + interval '61 s'"),
                     1);
    job.delay_ms = 0;
    job.priority = 1;
    (void)enqueue_as(&job);
    assert_int_equal(number("SELECT count(*) FROM errands WHERE priority = 3 AND run_at <= now()"),
                     1);
}

static void who_waits_after_a_failure_goes_on_waiting(void **state)
{
    (void)state;
    int64_t id = enqueue("plain", "k");
    peer("UPDATE errands SET attempt = 3, run_at = now() + interval '1 h'");
    assert_int_equal(enqueue("plain", "k"), id);
    assert_int_equal(number("SELECT count(*) FROM errands WHERE attempt = 3 AND gen = 2"
                            " AND run_at > now() + interval '59 min'"),
                     1);
}

static void a_time_can_be_given(void **state)
{
    (void)state;
    stele_ts at = 0;
    assert_ok(stele_ts_parse(stele_s("2031-02-03 04:05:06+00"), &at), &err);
    stele_job_input job = {.kind = stele_s("plain"), .at = &at, .delay_ms = 1000};
    (void)enqueue_as(&job);
    assert_int_equal(number("SELECT count(*) FROM errands WHERE run_at = '2031-02-03 04:05:07+00'"),
                     1);
}

static void what_runs_gets_its_attempts_back(void **state)
{
    (void)state;
    (void)enqueue("plain", "k");
    peer("UPDATE errands SET state = 'running', attempt = 25, token = 1");
    (void)enqueue("plain", "k");
    assert_int_equal(
        number("SELECT count(*) FROM errands WHERE state = 'running' AND gen = 2 AND attempt = 0"),
        1);
}

static void ended_jobs_wait_again(void **state)
{
    static const char *const ends[] = {"done", "dead", "cancelled"};
    (void)state;
    int64_t id = enqueue("plain", "k");
    for (size_t i = 0; i < 3; i++) {
        char sql[160];
        (void)snprintf(sql, sizeof sql,
                       "UPDATE errands SET state = '%s', attempt = 7, finished_at = now()",
                       ends[i]);
        peer(sql);
        assert_int_equal(enqueue("plain", "k"), id);
        assert_int_equal(number("SELECT gen FROM errands WHERE state = 'available' AND attempt = 0"
                                " AND finished_at IS NULL"),
                         (int64_t)i + 2);
    }
}

static void canceling_and_reviving(void **state)
{
    (void)state;
    int64_t id = enqueue("plain", NULL);
    STELE_AUTO(stele_conn) conn = acquire(db);
    assert_int_equal(errands_revive(conn, id, &err), STELE_E_NOT_FOUND);
    assert_ok(errands_cancel(conn, id, &err), &err);
    assert_string_equal(states(), "cancelled 1");
    assert_int_equal(errands_cancel(conn, id, &err), STELE_E_NOT_FOUND);
    assert_ok(errands_revive(conn, id, &err), &err);
    assert_string_equal(states(), "available 1");
    peer("UPDATE errands SET state = 'running', token = 5");
    assert_ok(errands_cancel(conn, id, &err), &err);
    assert_int_equal(number("SELECT token FROM errands WHERE state = 'cancelled'"), 6);
    peer("UPDATE errands SET state = 'dead', attempt = 25");
    assert_ok(errands_revive(conn, id, &err), &err);
    assert_int_equal(number("SELECT count(*) FROM errands WHERE attempt = 0"), 1);
}

static void bad_jobs_are_refused(void **state)
{
    (void)state;
    char long_text[300];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    const stele_job_input bad[] = {
        {.kind = {NULL, 0}},
        {.kind = stele_s(long_text)},
        {.kind = stele_s("k"), .key = stele_s(long_text)},
        {.kind = stele_s("\xff")},
        {.kind = stele_s("k"), .key = {NULL, 3}},
        {.kind = stele_s("k"), .max_attempts = UINT32_MAX},
        {.kind = stele_s("k"), .delay_ms = UINT64_MAX},
    };
    STELE_AUTO(stele_conn) conn = acquire(db);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stele_error_clear(&err);
        assert_int_equal(errands_enqueue(conn, &bad[i], NULL, &err), STELE_E_INPUT);
        assert_true(err.message[0] != '\0');
    }
    assert_int_equal(errands_enqueue(conn, NULL, NULL, &err), STELE_E_INPUT);
    stele_job_input json = {.kind = stele_s("k"), .args = stele_s("{")};
    assert_int_equal(errands_enqueue(conn, &json, NULL, &err), STELE_E_VALUE);
    assert_int_equal(number("SELECT count(*) FROM errands"), 0);
}

/* Claims as workers do; answers how many. */
static size_t claim(stele_conn *conn, int64_t room, int32_t priority, stele_ts from)
{
    const stele_str kinds[] = {stele_s("plain")};
    stele_gen_job_claim what = {.kinds = {kinds, NULL, 1},
                                .rooms = {&room, NULL, 1},
                                .priorities = {&priority, NULL, 1},
                                .froms = {&from, NULL, 1},
                                .most = 5,
                                .lease_ms = 1000};
    const void *args[] = {&what};
    void *set = NULL;
    assert_ok(stele_gen_rows(conn, errands_jobs.claim, args, 0, &set, &err), &err);
    size_t count = ((stele_gen_rowset *)set)->count;
    stele_gen_free(set);
    return count;
}

/* "5 2010, 0 2010": priorities and years of what runs. Not to be kept. */
static const char *running(void)
{
    static char list[200];
    char *text = dbtest_value(dsn, "SELECT string_agg(priority || to_char(run_at, ' YYYY'), ', '"
                                   " ORDER BY priority DESC, run_at) FROM errands"
                                   " WHERE state = 'running'");
    (void)snprintf(list, sizeof list, "%s", text);
    free(text);
    return list;
}

/* The trap: SKIP LOCKED with LIMIT under IN is run again for each row of a nested loop. */
static void a_claim_takes_no_more_than_it_may(void **state)
{
    (void)state;
    static const char plans[] = "SET enable_hashjoin = off; SET enable_mergejoin = off;"
                                "SET enable_material = off; SET enable_hashagg = off;"
                                "SET enable_sort = off; SET enable_indexscan = off;"
                                "SET enable_bitmapscan = off;";
    char sql[900];
    peer("INSERT INTO errands (kind) SELECT 'plain' FROM generate_series(1, 10)");
    (void)snprintf(
        sql, sizeof sql,
        "%s UPDATE errands SET state = 'running' WHERE id IN (SELECT id FROM errands AS e"
        " WHERE e.state = 'available' LIMIT 1 FOR UPDATE SKIP LOCKED)",
        plans);
    peer(sql);
    int64_t naive = number("SELECT count(*) FROM errands WHERE state = 'running'");
    print_message("# the naive claim of one took %d\n", (int)naive);
    assert_true(naive > 1);

    peer("UPDATE errands SET state = 'available'");
    STELE_AUTO(stele_conn) conn = acquire(db);
    run_sql(conn, "SET enable_hashjoin = off");
    run_sql(conn, "SET enable_mergejoin = off");
    run_sql(conn, "SET enable_indexscan = off");
    run_sql(conn, "SET enable_bitmapscan = off");
    run_sql(conn, "SET enable_material = off");
    assert_int_equal(claim(conn, 1, INT32_MAX, STELE_TS_NEG_INFINITY), 1);
    assert_string_equal(states(), "available 9, running 1");
    run_sql(conn, "RESET ALL");
}

/* Greater priorities, the rest of the one it was at, lesser ones; what is due before that is left. */
static void a_claim_goes_on_where_the_last_one_ended(void **state)
{
    (void)state;
    STELE_AUTO(stele_conn) conn = acquire(db);
    const stele_ts start = 0; /* 1970 */
    peer("INSERT INTO errands (kind, priority, run_at)"
         " SELECT 'plain', p, make_date(y, 1, 1) FROM unnest(ARRAY[5, 0, -5]) AS p,"
         " unnest(ARRAY[1900, 2010]) AS y");
    assert_int_equal(claim(conn, 3, 0, start), 3);
    assert_string_equal(running(), "5 1900, 5 2010, 0 2010");
    assert_int_equal(claim(conn, 3, 0, start), 2);
    assert_string_equal(running(), "5 1900, 5 2010, 0 2010, -5 1900, -5 2010");
    assert_int_equal(claim(conn, 3, 0, start), 0);
    assert_int_equal(claim(conn, 3, INT32_MAX, STELE_TS_NEG_INFINITY), 1);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        WORKED(a_job_is_there_when_its_transaction_is),
        WORKED(a_job_joins_a_pipeline),
        WORKED(one_key_is_one_row),
        WORKED(what_is_asked_for_again_keeps_the_earlier_time),
        WORKED(who_waits_after_a_failure_goes_on_waiting),
        WORKED(a_time_can_be_given),
        WORKED(what_runs_gets_its_attempts_back),
        WORKED(ended_jobs_wait_again),
        WORKED(canceling_and_reviving),
        WORKED(bad_jobs_are_refused),
        WORKED(a_claim_takes_no_more_than_it_may),
        WORKED(a_claim_goes_on_where_the_last_one_ended),
    };
    return RUN_WORKED(tests);
}
