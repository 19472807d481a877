/*
 * Summaries beside those who change what they are of. A control shows each time what the statements of
 * the peer, which look neither at the session nor at the summary that is there, leave behind.
 */
#include "summary_util.h"

static stele_sessions *slow; /* with the fake summarizer, held inside */

static void *make_slowly(void *arg)
{
    static stele_error thread_err;
    const stele_session_key *key = arg;
    stele_status st = stele_sessions_create_summary(slow, key, NULL, true, &thread_err);
    return (void *)(intptr_t)st;
}

/* Begins a summary in another thread, and returns once it has read its events. */
static pthread_t begin_slowly(const stele_session_key *key)
{
    pthread_t thread;
    int calls = model.calls;
    fake_hold();
    assert_int_equal(pthread_create(&thread, NULL, make_slowly, (void *)(uintptr_t)key), 0);
    fake_wait_calls(calls + 1);
    return thread;
}

static stele_status finish(pthread_t thread)
{
    void *st;
    fake_let_go();
    assert_int_equal(pthread_join(thread, &st), 0);
    return (stele_status)(intptr_t)st;
}

static int open_slow(void **state)
{
    stele_sessions_options options = with_fake();
    (void)clean_summaries(state);
    slow = open_with(&options);
    return 0;
}

static int close_slow(void **state)
{
    (void)state;
    close_store(slow);
    return 0;
}

/* What a peer does to store a summary of e1, whatever has happened meanwhile. */
static void store_as_peer(const stele_session_key *key)
{
    peer("INSERT INTO session_summaries (app_name, user_id, session_id, filter_key, summary,"
         " updated_at, expires_at) VALUES ('a', 'u', '%s', '', '{\"summary\": \"peer\"}',"
         " '2026-03-01 10:01', NULL) ON CONFLICT (app_name, user_id, session_id, filter_key) WHERE"
         " deleted_at IS NULL DO UPDATE SET summary = EXCLUDED.summary, updated_at ="
         " EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at",
         key->session_id.data);
}

static stele_status say_quick(const stele_summary_view *view, stele_summary_text *text, void *user,
                              stele_error *error)
{
    (void)view, (void)user, (void)error;
    stele_summary_add(text, "quick", 5);
    return STELE_OK;
}

static void make_quickly(const stele_session_key *key)
{
    stele_summarizer summarizer = STELE_SUMMARIZER_INIT;
    stele_sessions_options options = with_fake();
    summarizer.summarize = say_quick;
    options.summarizer = &summarizer;
    stele_sessions *store = open_with(&options);
    assert_ok(stele_sessions_create_summary(store, key, NULL, false, &err));
    close_store(store);
}

/* ---- weakness 11 ---- */

static void a_stale_summary_overwrites_none(void **state)
{
    (void)state;
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    pthread_t thread = begin_slowly(&key);
    new_event(&key, "e2", 2, "");
    make_quickly(&key); /* another instance, with one event more */
    assert_string_equal(stored_text(&key, ""), "quick");
    assert_int_equal(finish(thread), STELE_OK);
    assert_string_equal(stored_text(&key, ""), "quick");
    store_as_peer(&key);
    assert_string_equal(stored_text(&key, ""), "peer"); /* the control */
}

/* Times of events say little: they may be equal, or go back. What counts is which summary covers more. */
static void nor_one_that_ends_at_the_same_time(void **state)
{
    (void)state;
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 2, "");
    pthread_t thread = begin_slowly(&key);
    new_event(&key, "e2", 2, "");
    peer("UPDATE session_events SET created_at = created_at + interval '1 ms' WHERE"
         " event->>'id' = 'e2'");
    make_quickly(&key);
    assert_int_equal(finish(thread), STELE_OK);
    assert_string_equal(stored_text(&key, ""), "quick");
    /* The other way round: who began first has read more, and stores last. */
    new_event(&key, "e3", 1, "");
    peer("UPDATE session_events SET created_at = created_at + interval '2 minutes' WHERE"
         " event->>'id' = 'e3'");
    thread = begin_slowly(&key);
    assert_string_equal(model.seen, "|quick|e3,");
    peer("UPDATE session_summaries SET summary = jsonb_set(summary, '{summary}', '\"same\"')");
    assert_int_equal(finish(thread), STELE_OK);
    assert_string_equal(stored_text(&key, ""), "quick+:e3");
}

static void a_deleted_session_gets_no_summary(void **state)
{
    (void)state;
    static const char *const deletions[] = {
        "UPDATE session_states SET deleted_at = now(); UPDATE session_events SET deleted_at = "
        "now()",
        "DELETE FROM session_states; DELETE FROM session_events"};
    for (size_t i = 0; i < 2; i++) {
        stele_session_key key = new_session("s");
        new_event(&key, "e1", 1, "");
        pthread_t thread = begin_slowly(&key);
        peer("%s", deletions[i]);
        assert_int_equal(finish(thread), STELE_OK);
        assert_string_equal(stored_text(&key, ""), "");
        store_as_peer(&key);
        assert_string_equal(stored_text(&key, ""), "peer"); /* the control: an orphan */
        peer("DELETE FROM session_summaries");
    }
}

static void a_new_session_of_the_same_name_gets_none_of_the_former(void **state)
{
    (void)state;
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    pthread_t thread = begin_slowly(&key);
    peer("UPDATE session_states SET deleted_at = now(); UPDATE session_events SET deleted_at = "
         "now()");
    (void)new_session("s");
    assert_int_equal(finish(thread), STELE_OK);
    assert_string_equal(stored_text(&key, ""), "");
}

static void nor_does_one_that_took_the_row_of_an_expired_one(void **state)
{
    (void)state;
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    assert_ok(stele_sessions_create_summary(slow, &key, NULL, false, &err));
    pthread_t thread = begin_slowly(&key); /* forced: there is no event to go by */
    assert_string_equal(model.seen, "|:e1|");
    peer("UPDATE session_states SET created_at = created_at + interval '1 hour';"
         " UPDATE session_events SET deleted_at = now();"
         " UPDATE session_summaries SET deleted_at = now()");
    assert_int_equal(finish(thread), STELE_OK);
    assert_string_equal(stored_text(&key, ""), "");
}

static void events_that_are_cut_off_are_not_told(void **state)
{
    (void)state;
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    new_event(&key, "e2", 2, "");
    pthread_t thread = begin_slowly(&key);
    peer("UPDATE session_events SET deleted_at = now() WHERE event->>'id' = 'e2'");
    assert_int_equal(finish(thread), STELE_OK);
    assert_string_equal(stored_text(&key, ""), "");
    assert_ok(stele_sessions_create_summary(slow, &key, NULL, false, &err));
    assert_string_equal(stored_text(&key, ""), ":e1");
}

/* Forced, of nothing but the summary before, which goes meanwhile with what it was of. */
static void what_was_cut_off_does_not_come_back(void **state)
{
    (void)state;
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    new_event(&key, "e2", 2, "");
    assert_ok(stele_sessions_create_summary(slow, &key, NULL, false, &err));
    pthread_t thread = begin_slowly(&key);
    assert_string_equal(model.seen, "|:e1e2|");
    assert_ok(stele_sessions_truncate_after(slow, &key, stele_s("e1"), false, NULL, &err));
    assert_string_equal(stored_text(&key, ""), "");
    assert_int_equal(finish(thread), STELE_OK);
    assert_string_equal(stored_text(&key, ""), "");
}

/* A writer that holds the session's row, as who deletes it does, is waited for. */
static void a_deletion_under_way_is_waited_for(void **state)
{
    (void)state;
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "");
    pthread_t thread = begin_slowly(&key);
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    stele_db *db = NULL;
    stele_conn *conn = NULL;
    options.dsn = dsn;
    assert_ok(stele_db_open(&options, &db, &err));
    assert_ok(stele_db_acquire(db, &conn, &err));
    assert_ok(stele_tx_begin(conn, NULL, &err));
    assert_ok(
        stele_conn_exec(conn, "UPDATE session_states SET deleted_at = now()", NULL, 0, NULL, &err));
    fake_let_go();
    assert_true(becomes("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
                        " datname = current_database()",
                        "1"));
    assert_ok(stele_tx_commit(conn, &err));
    assert_int_equal(finish(thread), STELE_OK);
    assert_string_equal(stored_text(&key, ""), "");
    stele_conn_release(conn);
    stele_db_close(db);
}

/* ---- many at once ---- */

enum { MAKERS = 6, EVENTS = 40 };

static void *make_until_all(void *arg)
{
    const stele_session_key *key = arg;
    char *text = NULL, last[8];
    stele_status st = STELE_OK;
    stele_error thread_err;
    (void)snprintf(last, sizeof last, "e%02d", EVENTS);
    for (bool done = false; st == STELE_OK && !done; stele_free(text), text = NULL) {
        st = stele_sessions_create_summary(slow, key, NULL, false, &thread_err);
        if (st == STELE_OK)
            st = stele_sessions_get_summary_text(slow, key, NULL, &text, &thread_err);
        if (st == STELE_E_NOT_FOUND)
            st = STELE_OK;
        done = text != NULL && strstr(text, last) != NULL;
    }
    return (void *)(intptr_t)st;
}

static void every_event_is_told_once_and_in_order(void **state)
{
    (void)state;
    pthread_t makers[MAKERS];
    char expected[EVENTS * 4 + 1] = "", found[EVENTS * 4 + 1] = "", id[8];
    stele_session_key key = new_session("s");
    for (int i = 0; i < MAKERS; i++)
        assert_int_equal(pthread_create(&makers[i], NULL, make_until_all, &key), 0);
    for (int i = 1; i <= EVENTS; i++) {
        (void)snprintf(id, sizeof id, "e%02d", i);
        new_event(&key, id, i, "");
        memcpy(expected + (i - 1) * 3, id, 4);
    }
    for (int i = 0; i < MAKERS; i++) {
        void *st;
        assert_int_equal(pthread_join(makers[i], &st), 0);
        assert_int_equal((intptr_t)st, STELE_OK);
    }
    size_t used = 0;
    for (const char *at = stored_text(&key, ""); *at != '\0' && used + 1 < sizeof found; at++)
        if (*at != '+' && *at != ':')
            found[used++] = *at;
    assert_string_equal(found, expected);
}

#define SLOW(test) cmocka_unit_test_setup_teardown(test, open_slow, close_slow)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SLOW(a_stale_summary_overwrites_none),
        SLOW(nor_one_that_ends_at_the_same_time),
        SLOW(what_was_cut_off_does_not_come_back),
        SLOW(a_deleted_session_gets_no_summary),
        SLOW(a_new_session_of_the_same_name_gets_none_of_the_former),
        SLOW(nor_does_one_that_took_the_row_of_an_expired_one),
        SLOW(events_that_are_cut_off_are_not_told),
        SLOW(a_deletion_under_way_is_waited_for),
        SLOW(every_event_is_told_once_and_in_order),
    };
    return RUN_CLEAN(tests);
}
