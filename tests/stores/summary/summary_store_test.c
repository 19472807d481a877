/* Summaries made in the caller's thread, and the texts that are read. */
#include "summary_util.h"

/* ---- making ---- */

static stele_status make(stele_sessions *store, const stele_session_key *key, const char *filter,
                         bool force)
{
    stele_error_clear(&err);
    return stele_sessions_create_summary(store, key, filter, force, &err);
}

static void expect_text(stele_sessions *store, const stele_session_key *key, const char *filter,
                        const char *expected)
{
    char *text = NULL;
    assert_ok(stele_sessions_get_summary_text(store, key, filter, &text, &err));
    assert_string_equal(text, expected);
    stele_free(text);
}

static stele_sessions *open_plain(void)
{
    stele_sessions_options options = with_fake();
    return open_with(&options);
}

static void a_summary_continues_the_one_before(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    new_event(&key, "e2", 2, "");
    assert_ok(make(store, &key, NULL, false));
    assert_string_equal(model.seen, "||e1,e2,");
    expect_text(store, &key, NULL, ":e1e2");
    assert_ok(make(store, &key, "", false)); /* nothing is new */
    assert_int_equal(model.calls, 1);
    new_event(&key, "e3", 3, "");
    assert_ok(make(store, &key, NULL, false));
    assert_string_equal(model.seen, "|:e1e2|e3,");
    expect_text(store, &key, "", ":e1e2+:e3");
    stele_sessions_stats stats;
    stele_sessions_get_stats(store, &stats);
    assert_int_equal(stats.summaries, 2);
    close_store(store);
}

static void it_is_stored_in_the_peers_shape(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "desk");
    assert_ok(make(store, &key, "desk", false));
    char *row = dbtest_value(dsn, "SELECT concat(filter_key, ' ', updated_at, ' ', expires_at, ' ',"
                                  " summary) FROM session_summaries");
    assert_string_equal(row, "desk 2026-03-01 10:01:00  {\"summary\": \"desk:e1\", \"boundary\": "
                             "{\"version\": 1, \"cutoff_at\": \"2026-03-01T10:01:00Z\", "
                             "\"filter_key\": \"desk\", \"last_event_id\": \"e1\"}, "
                             "\"updated_at\": \"2026-03-01T10:01:00Z\"}");
    free(row);
    close_store(store);
}

static void a_peers_summary_is_continued(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    new_event(&key, "e2", 2, "");
    new_event(&key, "e3", 3, "");
    peer("INSERT INTO session_summaries (app_name, user_id, session_id, filter_key, summary,"
         " updated_at) VALUES ('a', 'u', 's', '', '{\"summary\": \"theirs\", \"topics\": [\"x\"],"
         " \"updated_at\": \"2026-03-01T18:02:00+08:00\", \"boundary\": {\"version\": 1,"
         " \"cutoff_at\": \"2026-03-01T18:02:00+08:00\", \"last_event_id\": \"e2\"}}',"
         " '2026-03-01 10:02')");
    assert_ok(make(store, &key, NULL, false));
    assert_string_equal(model.seen, "|theirs|e3,");
    peer("UPDATE session_summaries SET updated_at = '2026-03-01 10:02', summary = '{\"summary\":"
         " \"old\", \"updated_at\": \"2026-03-01T10:02:00Z\"}'");
    assert_ok(make(store, &key, NULL, false)); /* by time: that of the cutoff is told again */
    assert_string_equal(model.seen, "|old|e2,e3,");
    close_store(store);
}

static void keys_choose_events_both_ways(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "a");
    new_event(&key, "e2", 2, "a/b");
    new_event(&key, "e3", 3, "a/c");
    new_event(&key, "e4", 4, "ab");
    new_event(&key, "e5", 5, "");
    peer("INSERT INTO session_events (app_name, user_id, session_id, event, created_at) VALUES"
         " ('a', 'u', 's', '{\"id\": \"e6\", \"branch\": \"a/b/x\", \"filterKey\": \"zzz\"}',"
         " '2026-03-01 10:06')");
    assert_ok(make(store, &key, "a/b", false));
    assert_string_equal(model.seen, "a/b||e1,e2,e5,e6,");
    assert_ok(make(store, &key, "a", false));
    assert_string_equal(model.seen, "a||e1,e2,e3,e5,e6,");
    assert_ok(make(store, &key, "", false));
    assert_string_equal(model.seen, "||e1,e2,e3,e4,e5,e6,");
    close_store(store);
}

static void filter_allowlist_skips_disallowed_key(void **state)
{
    (void)state;
    const char *allowed[] = {"desk"};
    stele_sessions_options options = with_fake();
    options.summary_allowlist = allowed;
    options.summary_allowlist_count = 1;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "other");
    assert_ok(make(store, &key, "other", true));
    assert_int_equal(model.calls, 0);
    assert_string_equal(stored_text(&key, "other"), "");
    assert_ok(make(store, &key, "desk/x", false)); /* allowed, but without events */
    assert_int_equal(model.calls, 0);
    assert_ok(make(store, &key, "", false));
    assert_string_equal(stored_text(&key, ""), ":e1");
    close_store(store);
}

static void forced_update(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    assert_ok(make(store, &key, NULL, true)); /* there is nothing at all */
    assert_int_equal(model.calls, 0);
    new_event(&key, "e1", 1, "");
    model.never = true;
    assert_ok(make(store, &key, NULL, false));
    assert_int_equal(model.calls, 0);
    assert_ok(make(store, &key, NULL, true));
    assert_string_equal(stored_text(&key, ""), ":e1");
    assert_ok(make(store, &key, NULL, true)); /* the summary alone */
    assert_string_equal(model.seen, "|:e1|");
    assert_string_equal(stored_text(&key, ""), ":e1+:");
    close_store(store);
}

static void triggers_of_the_summarizer_are_asked(void **state)
{
    (void)state;
    stele_summarizer summarizer = fake_summarizer;
    summarizer.trigger = stele_when_events(1);
    stele_sessions_options options = with_fake();
    options.summarizer = &summarizer;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    assert_ok(make(store, &key, NULL, false));
    assert_int_equal(model.calls, 0);
    new_event(&key, "e2", 2, "");
    assert_ok(make(store, &key, NULL, false));
    assert_string_equal(stored_text(&key, ""), ":e1e2");
    close_store(store);
}

static bool keep_now(const stele_summary_view *view, void *user)
{
    *(stele_ts *)user = view->now;
    return true;
}

static void now_is_the_servers(void **state)
{
    (void)state;
    stele_ts now = 0;
    stele_summarizer summarizer = fake_summarizer;
    const stele_summary_trigger all[] = {stele_when_quiet_ms(60000), stele_when(keep_now, &now)};
    summarizer.trigger = stele_when_all(all, 2);
    stele_sessions_options options = with_fake();
    options.summarizer = &summarizer;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    assert_ok(make(store, &key, NULL, false));
    char *text = dbtest_value(dsn, "SELECT (extract(epoch FROM now()) * 1000000)::int8");
    int64_t after = strtoll(text, NULL, 10);
    free(text);
    assert_in_range(now, after - 60000000, after);
    close_store(store);
}

/* ---- what goes wrong ---- */

static void sessions_that_are_gone_are_told(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key none = {stele_s("a"), stele_s("u"), stele_s("none")};
    stele_session_key nameless = {stele_s("a"), stele_s("u"), stele_s("")};
    char *text = NULL;
    assert_status(make(store, &none, NULL, false), STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "session not found");
    assert_status(stele_sessions_get_summary_text(store, &none, NULL, &text, &err),
                  STELE_E_NOT_FOUND);
    assert_status(make(store, &nameless, NULL, false), STELE_E_INPUT);
    assert_string_equal(err.message, "sessionID is required");
    assert_status(stele_sessions_enqueue_summary(store, &nameless, NULL, false, &err),
                  STELE_E_INPUT);
    assert_status(stele_sessions_get_summary_text(store, &nameless, NULL, &text, &err),
                  STELE_E_INPUT);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    peer("UPDATE session_states SET expires_at = '2026-03-01 11:00'");
    assert_status(make(store, &key, NULL, false), STELE_E_NOT_FOUND);
    assert_int_equal(model.calls, 0);
    close_store(store);
}

static void a_summarizer_that_fails_is_told(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    model.failures = 1;
    assert_status(make(store, &key, NULL, false), STELE_E_SERVER);
    assert_string_equal(err.message, "the model is tired");
    assert_string_equal(stored_text(&key, ""), "");
    model.silent = true;
    assert_ok(make(store, &key, NULL, false)); /* no text: no summary */
    assert_string_equal(stored_text(&key, ""), "");
    model.silent = false;
    assert_ok(make(store, &key, NULL, false));
    assert_string_equal(stored_text(&key, ""), ":e1");
    close_store(store);
}

static stele_status says_done(const stele_summary_view *view, stele_summary_text *text, void *user,
                              stele_error *error)
{
    (void)view, (void)error;
    stele_summary_add(text, user, strlen(user));
    return *(const char *)user == 'd' ? STELE_DONE : STELE_OK;
}

static void odd_answers_are_refused(void **state)
{
    (void)state;
    static const char *const answers[] = {"done", "\xff\xfe"};
    for (size_t i = 0; i < 2; i++) {
        stele_summarizer summarizer = STELE_SUMMARIZER_INIT;
        summarizer.summarize = says_done;
        summarizer.user = (void *)(uintptr_t)answers[i];
        stele_sessions_options options = with_fake();
        options.summarizer = &summarizer;
        stele_sessions *store = open_with(&options);
        stele_session_key key = new_session(i == 0 ? "s0" : "s1");
        new_event(&key, "e1", 1, "");
        stele_status st = make(store, &key, NULL, false);
        assert_int_equal(st, i == 0 ? STELE_E_MISUSE : STELE_E_VALUE);
        assert_string_equal(stored_text(&key, ""), "");
        close_store(store);
    }
}

static void summarizers_are_checked(void **state)
{
    (void)state;
    stele_sessions *store = NULL;
    stele_sessions_options options = with_fake();
    stele_summarizer empty = STELE_SUMMARIZER_INIT, older = fake_summarizer;
    older.size = 8;
    options.summarizer = &empty;
    assert_status(stele_sessions_open(&options, &store, &err), STELE_E_INPUT);
    options.summarizer = &older;
    assert_status(stele_sessions_open(&options, &store, &err), STELE_E_INPUT);
    options = with_fake();
    options.summary_full = (stele_summary_full)7;
    assert_status(stele_sessions_open(&options, &store, &err), STELE_E_INPUT);
    assert_null(store);
}

static void without_a_summarizer_nothing_is_made(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    options.summarizer = NULL;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    assert_ok(make(store, &key, NULL, true));
    assert_ok(stele_sessions_enqueue_summary(store, &key, NULL, true, &err));
    assert_string_equal(stored_text(&key, ""), "");
    peer("INSERT INTO session_summaries (app_name, user_id, session_id, summary, updated_at)"
         " VALUES ('a', 'u', 's', '{\"summary\": \"theirs\"}', '2026-03-01 10:02')");
    expect_text(store, &key, NULL, "theirs"); /* what peers made is read */
    close_store(store);
}

/* ---- reading ---- */

static void fallback_to_full_session(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    char *text = NULL;
    new_event(&key, "e1", 1, "desk");
    assert_status(stele_sessions_get_summary_text(store, &key, "desk", &text, &err),
                  STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "there is no summary");
    assert_ok(make(store, &key, "", false));
    expect_text(store, &key, "desk", ":e1");
    assert_ok(make(store, &key, "desk", false));
    expect_text(store, &key, "desk", "desk:e1");
    expect_text(store, &key, "other", ":e1");
    expect_text(store, &key, NULL, ":e1");
    peer("UPDATE session_summaries SET summary = '{\"summary\": \"\"}' WHERE filter_key = 'desk'");
    expect_text(store, &key, "desk", ":e1"); /* one without a text counts for nothing */
    close_store(store);
}

static void summaries_of_a_former_session_are_not_read(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    char *text = NULL;
    peer("INSERT INTO session_summaries (app_name, user_id, session_id, summary, updated_at)"
         " VALUES ('a', 'u', 's', '{\"summary\": \"former\"}', '2026-03-01 08:59')");
    assert_status(stele_sessions_get_summary_text(store, &key, NULL, &text, &err),
                  STELE_E_NOT_FOUND);
    new_event(&key, "e1", 1, "");
    assert_ok(make(store, &key, NULL, false)); /* nor continued */
    assert_string_equal(model.seen, "||e1,");
    expect_text(store, &key, NULL, ":e1");
    close_store(store);
}

static void events_of_a_clock_behind_do_not_hide_a_summary(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    peer("UPDATE session_states SET created_at = '2026-03-01 10:01:00.0005'");
    assert_ok(make(store, &key, NULL, false));
    expect_text(store, &key, NULL, ":e1");
    close_store(store);
}

/* A host whose clock is hours ahead says how far its summary reaches; what others append is told. */
static void events_behind_a_clock_ahead_are_told(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    peer("UPDATE session_events SET event = jsonb_set(event, '{timestamp}',"
         " '\"2026-03-01T13:00:00Z\"')");
    assert_ok(make(store, &key, NULL, false));
    new_event(&key, "e2", 2, "");
    assert_ok(make(store, &key, NULL, false));
    expect_text(store, &key, NULL, ":e1+:e2");
    close_store(store);
}

static void errors_of_the_database_are_told(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    char *text = NULL;
    new_event(&key, "e1", 1, "");
    peer("DO $$ BEGIN IF to_regclass('tenant.app1_session_summaries') IS NULL THEN ALTER TABLE"
         " session_summaries RENAME COLUMN summary TO other; ELSE ALTER TABLE"
         " tenant.app1_session_summaries RENAME COLUMN summary TO other; END IF; END $$");
    assert_status(stele_sessions_get_summary_text(store, &key, NULL, &text, &err), STELE_E_SCHEMA);
    assert_status(make(store, &key, NULL, false), STELE_E_SCHEMA);
    peer("DO $$ BEGIN IF to_regclass('tenant.app1_session_summaries') IS NULL THEN ALTER TABLE"
         " session_summaries RENAME COLUMN other TO summary; ELSE ALTER TABLE"
         " tenant.app1_session_summaries RENAME COLUMN other TO summary; END IF; END $$");
    assert_null(text);
    close_store(store);
}

static void two_round_trips_and_one(void **state)
{
    (void)state;
    stele_sessions *store = open_plain();
    stele_session_key key = new_session("s");
    stele_sessions_stats before, after;
    new_event(&key, "e1", 1, "");
    assert_ok(make(store, &key, NULL, false)); /* prepared */
    peer("DELETE FROM session_summaries");
    stele_sessions_get_stats(store, &before);
    assert_ok(make(store, &key, NULL, false));
    stele_sessions_get_stats(store, &after);
    assert_int_equal(after.round_trips - before.round_trips, 2); /* to read, and to write */
    before = after;
    expect_text(store, &key, NULL, ":e1");
    stele_sessions_get_stats(store, &after);
    assert_int_equal(after.round_trips - before.round_trips, 1);
    close_store(store);
}

static void long_histories_are_told_in_parts(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    options.event_limit = 2;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    for (int i = 1; i <= 3; i++)
        new_event(&key, i == 1 ? "e1" : i == 2 ? "e2" : "e3", i, "");
    assert_ok(make(store, &key, NULL, false));
    assert_ok(make(store, &key, NULL, false));
    expect_text(store, &key, NULL, ":e1e2+:e3"); /* none is left out */
    close_store(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(a_summary_continues_the_one_before),
        CLEAN(it_is_stored_in_the_peers_shape),
        CLEAN(a_peers_summary_is_continued),
        CLEAN(keys_choose_events_both_ways),
        CLEAN(filter_allowlist_skips_disallowed_key),
        CLEAN(forced_update),
        CLEAN(triggers_of_the_summarizer_are_asked),
        CLEAN(now_is_the_servers),
        CLEAN(sessions_that_are_gone_are_told),
        CLEAN(a_summarizer_that_fails_is_told),
        CLEAN(odd_answers_are_refused),
        CLEAN(summarizers_are_checked),
        CLEAN(without_a_summarizer_nothing_is_made),
        CLEAN(fallback_to_full_session),
        CLEAN(summaries_of_a_former_session_are_not_read),
        CLEAN(events_of_a_clock_behind_do_not_hide_a_summary),
        CLEAN(events_behind_a_clock_ahead_are_told),
        CLEAN(errors_of_the_database_are_told),
        CLEAN(two_round_trips_and_one),
        CLEAN(long_histories_are_told_in_parts),
    };
    return RUN_CLEAN(tests);
}
