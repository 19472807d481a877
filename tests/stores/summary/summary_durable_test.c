/* Summaries as jobs in the table, for workers of any process. */
#include "summary_util.h"

static stele_session_key sessions[12];

static void many_sessions(size_t count)
{
    static char names[12][8];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof names[i], "s%zu", i);
        sessions[i] = new_session(names[i]);
        new_event(&sessions[i], "e1", 1, "");
    }
}

static stele_sessions_options durable(void)
{
    stele_sessions_options options = with_fake();
    options.summary_jobs = STELE_SUMMARY_DURABLE;
    return options;
}

static void enqueue(stele_sessions *store, const stele_session_key *key, const char *filter,
                    bool force)
{
    assert_ok(stele_sessions_enqueue_summary(store, key, filter, force, &err));
}

static bool has_summaries(const char *count)
{
    return becomes("SELECT count(*) FROM session_summaries WHERE deleted_at IS NULL", count);
}

static bool has_jobs(const char *state, const char *count)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM session_summary_jobs WHERE state = '%s'",
                   state);
    return becomes(sql, count);
}

static void a_job_is_a_row(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    stele_sessions *store = open_with(&options);
    many_sessions(1);
    fake_hold();
    enqueue(store, &sessions[0], "desk", false); /* returns at once */
    fake_wait_inside(1);
    assert_true(has_jobs("running", "1"));
    char *args = dbtest_value(dsn, "SELECT args FROM session_summary_jobs");
    assert_string_equal(args, "{\"force\": false, \"user_id\": \"u\", \"app_name\": \"a\", "
                              "\"filter_key\": \"desk\", \"session_id\": \"s0\"}");
    free(args);
    fake_let_go();
    assert_true(has_summaries("2"));
    assert_true(has_jobs("done", "1"));
    close_store(store);
}

static void one_row_for_many_requests(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    options.summary_workers = 1;
    stele_sessions *store = open_with(&options);
    many_sessions(2);
    fake_hold();
    enqueue(store, &sessions[0], NULL, false);
    fake_wait_inside(1);
    for (int i = 0; i < 10; i++)
        enqueue(store, &sessions[1], NULL, false);
    assert_true(becomes("SELECT count(*) FROM session_summary_jobs", "2"));
    new_event(&sessions[0], "e2", 2, "");
    enqueue(store, &sessions[0], NULL, false); /* while it runs: once more */
    fake_let_go();
    assert_true(has_summaries("2"));
    assert_true(has_jobs("done", "2"));
    assert_string_equal(stored_text(&sessions[0], ""), ":e1+:e2");
    assert_int_equal(model.calls, 3);
    close_store(store);
}

static void a_forced_job_is_another(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    stele_sessions *store = open_with(&options);
    many_sessions(1);
    model.never = true;
    enqueue(store, &sessions[0], NULL, true);
    enqueue(store, &sessions[0], NULL, false);
    assert_true(has_jobs("done", "2"));
    assert_string_equal(stored_text(&sessions[0], ""), ":e1");
    close_store(store);
}

static void a_summarizer_that_fails_is_asked_again(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    stele_sessions *store = open_with(&options);
    many_sessions(1);
    model.failures = 1;
    enqueue(store, &sessions[0], NULL, false);
    assert_true(has_summaries("1"));
    assert_true(has_jobs("done", "1"));
    assert_int_equal(model.calls, 2);
    close_store(store);
}

static void a_job_waits_for_somebody_who_can(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    stele_sessions *store = open_with(&options);
    many_sessions(1);
    fake_hold();
    enqueue(store, &sessions[0], NULL, false);
    fake_wait_inside(1);
    assert_status(stele_sessions_close(store, 50, NULL, &err), STELE_E_TIMEOUT);
    assert_true(has_summaries("0"));
    assert_true(has_jobs("available", "1")); /* given back */
    fake_let_go();
    store = open_with(&options); /* another day */
    assert_true(has_summaries("1"));
    close_store(store);
}

static void instances_share_the_work(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    options.summary_workers = 2;
    stele_sessions *one = open_with(&options), *other = open_with(&options);
    many_sessions(8);
    fake_hold();
    for (size_t i = 0; i < 8; i++)
        enqueue(one, &sessions[i], NULL, false);
    fake_wait_inside(4);
    fake_let_go();
    assert_true(has_summaries("8"));
    assert_true(has_jobs("done", "8"));
    assert_int_equal(model.calls, 8); /* none was made twice */
    close_store(one);
    close_store(other);
}

static void a_session_that_is_deleted_ends_its_job(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    stele_sessions *store = open_with(&options);
    many_sessions(2);
    fake_hold();
    enqueue(store, &sessions[0], NULL, false);
    fake_wait_inside(1);
    peer("UPDATE session_states SET deleted_at = now()");
    enqueue(store, &sessions[1], NULL, false);
    fake_let_go();
    assert_true(has_jobs("done", "2"));
    assert_true(has_summaries("0"));
    assert_int_equal(model.calls, 1);
    close_store(store);
}

static void an_append_brings_its_job_in_one_round_trip(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    stele_sessions_stats before, after;
    options.summary_on_append = true;
    options.async_persist = false; /* see jobs_do_not_ride_with_queued_appends() */
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    assert_ok(append_event(store, &key, "e1", "desk"));
    assert_true(has_summaries("2"));
    assert_true(has_jobs("done", "1"));
    assert_string_equal(stored_text(&key, ""), "desk:e1");
    stele_sessions_get_stats(store, &before);
    assert_ok(append_event(store, &key, "e2", "desk"));
    stele_sessions_get_stats(store, &after);
    assert_int_equal(after.round_trips - before.round_trips, 1);
    assert_true(becomes("SELECT summary->>'summary' FROM session_summaries WHERE filter_key = ''",
                        "desk:e1+desk:e2"));
    close_store(store);
}

static void an_append_that_fails_brings_none(void **state)
{
    (void)state;
    stele_sessions_options options = durable();
    options.summary_on_append = true;
    options.async_persist = false;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    const char *bad = "{\"id\": \"e1\", \"choices\": [{\"message\": {\"content\": \"\\u0000\"}}]}";
    assert_status(stele_sessions_append(store, &key, stele_s(bad), NULL, &err), STELE_E_VALUE);
    const char *partial = "{\"id\": \"e2\", \"is_partial\": true, \"choices\": [{\"delta\":"
                          " {\"content\": \"x\"}}]}";
    assert_ok(stele_sessions_append(store, &key, stele_s(partial), NULL, &err));
    assert_true(becomes("SELECT count(*) FROM session_summary_jobs", "0"));
    close_store(store);
}

static void jobs_do_not_ride_with_queued_appends(void **state)
{
    (void)state;
    stele_sessions *store = NULL;
    stele_sessions_options options = durable();
    options.summary_on_append = true;
    options.async_persist = true;
    assert_status(stele_sessions_open(&options, &store, &err), STELE_E_INPUT);
    /* Asked for after them, they come after them. */
    options.summary_on_append = false;
    store = open_with(&options);
    stele_session_key key = new_session("s");
    assert_ok(append_event(store, &key, "e1", ""));
    enqueue(store, &key, NULL, false);
    assert_true(has_jobs("done", "1"));
    assert_string_equal(stored_text(&key, ""), ":e1");
    close_store(store);
}

static void a_peer_does_not_mind_the_table(void **state)
{
    (void)state;
    /* What the peer compares are the columns and unique indexes of its own six tables. */
    char *tables = dbtest_value(dsn, "SELECT string_agg(replace(table_name, 'app1_', ''), ' ' ORDER"
                                     " BY table_name) FROM information_schema.tables WHERE"
                                     " table_type = 'BASE TABLE' AND table_schema IN ('public',"
                                     " 'tenant')");
    assert_string_equal(tables, "app_states session_events session_states session_summaries"
                                " session_summary_jobs session_track_events user_states");
    free(tables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(a_job_is_a_row),
        CLEAN(one_row_for_many_requests),
        CLEAN(a_forced_job_is_another),
        CLEAN(a_summarizer_that_fails_is_asked_again),
        CLEAN(a_job_waits_for_somebody_who_can),
        CLEAN(instances_share_the_work),
        CLEAN(a_session_that_is_deleted_ends_its_job),
        CLEAN(an_append_brings_its_job_in_one_round_trip),
        CLEAN(an_append_that_fails_brings_none),
        CLEAN(jobs_do_not_ride_with_queued_appends),
        CLEAN(a_peer_does_not_mind_the_table),
    };
    return RUN_CLEAN(tests);
}
