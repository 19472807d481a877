/* Reading a session: its window of events, pages, tracks, summaries. */
#include "store_lab.h"

static const stele_opt_ts now = {0};

/* Rows of another program: ten seconds apart, numbered, each fourth of the user. */
static void peer_events(const char *session_id, int count)
{
    peer(
        "INSERT INTO {session_events} (app_name, user_id, session_id, event, created_at, "
        "updated_at)"
        " SELECT 'desk', 'u-1', '%s', jsonb_build_object('id', 'e-' || i, 'timestamp', t.at AT TIME"
        " ZONE 'UTC', 'choices', jsonb_build_array(jsonb_build_object('message', "
        "jsonb_build_object("
        " 'role', CASE WHEN i %% 4 = 1 THEN 'user' ELSE 'assistant' END, 'content', 'x')))), t.at, "
        "t.at"
        " FROM generate_series(1, %d) i, LATERAL (SELECT (now() AT TIME ZONE 'UTC')"
        " - (%d - i) * interval '10 seconds' AS at) t",
        session_id, count, count);
}

static void test_success(void **state)
{
    (void)state;
    create_session("s");
    append_text("s", "e-1", "user", "hello");
    append_text("s", "e-2", "assistant", "good day");
    flush_store();
    uint64_t before = trips();
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(trips() - before, 1);
    assert_string_equal(session->key.app_name.data, "desk");
    assert_string_equal(session->key.session_id.data, "s");
    assert_string_equal(EVENT_IDS(session), "e-1 e-2");
    assert_true(session->events[0].row_id < session->events[1].row_id);
    assert_true(session->events[0].created_at < session->events[1].created_at);
    assert_true(session->events[1].created_at <= session->updated_at);
    assert_true(session->created_at < session->updated_at);
}

static void test_not_found(void **state)
{
    (void)state;
    stele_session_key key = key_of("nobody");
    stele_session *session = NULL;
    stele_session_get_options meta = STELE_SESSION_GET_OPTIONS_INIT;
    meta.only_meta = true;
    peer("INSERT INTO {app_states} (app_name, key, value) VALUES ('desk', 'k', 'v')");
    peer("INSERT INTO {user_states} (app_name, user_id, key, value) VALUES ('desk', 'u-1', 'k', "
         "'v')");
    assert_status(stele_sessions_get(store, &key, NULL, &session, &err), STELE_E_NOT_FOUND);
    assert_status(stele_sessions_get(store, &key, &meta, &session, &err), STELE_E_NOT_FOUND);
    assert_null(session);
    assert_string_equal(err.message, "session not found");
    assert_string_equal(err.hint,
                        "\"nobody\" of user \"u-1\", application \"desk\": create it first");
    assert_status(stele_sessions_get(store, NULL, NULL, &session, &err), STELE_E_INPUT);
    assert_string_equal(err.message, "key is NULL");
    key.session_id = text_of("");
    assert_status(stele_sessions_get(store, &key, NULL, &session, &err), STELE_E_INPUT);
    assert_string_equal(err.message, "sessionID is required");
}

static void test_with_ttl(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session *session = NULL;
    create_session("s");
    peer("UPDATE {session_states} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 "
         "second'");
    assert_status(stele_sessions_get(store, &key, NULL, &session, &err), STELE_E_NOT_FOUND);

    /* A session with a TTL: what is older than it is left out, and reading does not put off the end. */
    stele_sessions_options options = world_options();
    options.session_ttl_ms = 600 * 1000;
    stele_sessions *with_ttl = open_store(&options);
    key = key_of("t");
    assert_ok(stele_sessions_create(with_ttl, &key, NULL, 0, NULL, &err));
    peer_events("t", 200);
    const char *end = answer("SELECT expires_at FROM {session_states} WHERE session_id = 't'");
    assert_ok(stele_sessions_get(with_ttl, &key, NULL, &session, &err));
    assert_in_range(session->event_count, 57, 61);
    assert_string_equal(answer("SELECT expires_at FROM {session_states} WHERE session_id = 't'"),
                        end);
    assert_string_equal(answer("SELECT expires_at - updated_at FROM {session_states}"
                               " WHERE session_id = 't'"),
                        "00:10:00");
    stele_session_free(session);
    close_store(with_ttl);
}

static void test_with_event_limit(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.event_limit = 3;
    stele_sessions *limited = open_store(&options);
    stele_session_key key = key_of("s");
    create_session("s");
    peer_events("s", 15);
    STELE_AUTO(stele_session) session = NULL;
    assert_ok(stele_sessions_get(limited, &key, NULL, &session, &err));
    assert_string_equal(EVENT_IDS(session), "e-13 e-14 e-15");
    close_store(limited);
    STELE_AUTO(stele_session) all = get_session("s", NULL);
    assert_int_equal(all->event_count, 15);
}

static void test_limit_keeps_last_user_anchor(void **state)
{
    (void)state;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    create_session("s");
    peer_events("s", 16);
    /* The window begins with a message of the user: what is before it goes … */
    options.event_num = 6;
    STELE_AUTO(stele_session) six = get_session("s", &options);
    assert_string_equal(EVENT_IDS(six), "e-13 e-14 e-15 e-16");
    /* … and when there is none in it, the last one is put in front. */
    options.event_num = 2;
    STELE_AUTO(stele_session) two = get_session("s", &options);
    assert_string_equal(EVENT_IDS(two), "e-13 e-15 e-16");
    peer("UPDATE {session_events} SET event = replace(event::text, '\"user\"', '\"tool\"')::jsonb");
    STELE_AUTO(stele_session) none = get_session("s", &options);
    assert_int_equal(none->event_count, 0);
}

static void test_event_time(void **state)
{
    (void)state;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    create_session("s");
    peer_events("s", 16);
    options.event_time = stele_ts_after(stele_seconds(-75));
    STELE_AUTO(stele_session) session = get_session("s", &options);
    assert_string_equal(EVENT_IDS(session), "e-9 e-10 e-11 e-12 e-13 e-14 e-15 e-16");
    options.event_time = stele_ts_after(stele_seconds(3600));
    STELE_AUTO(stele_session) later = get_session("s", &options);
    assert_string_equal(EVENT_IDS(later), "e-13");
}

static void test_event_page(void **state)
{
    (void)state;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    create_session("s");
    peer_events("s", 16);
    options.page_limit = 5;
    STELE_AUTO(stele_session) first = get_session("s", &options);
    assert_string_equal(EVENT_IDS(first), "e-12 e-13 e-14 e-15 e-16"); /* no anchor */
    options.page_offset = 5;
    STELE_AUTO(stele_session) second = get_session("s", &options);
    assert_string_equal(EVENT_IDS(second), "e-7 e-8 e-9 e-10 e-11");
    options.page_offset = 0;
    options.before.created_at = second->events[0].created_at;
    options.before.row_id = second->events[0].row_id;
    STELE_AUTO(stele_session) third = get_session("s", &options);
    assert_string_equal(EVENT_IDS(third), "e-2 e-3 e-4 e-5 e-6");
}

static void test_event_page_uses_ttl_lower_bound(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.session_ttl_ms = 35 * 1000;
    stele_sessions *with_ttl = open_store(&options);
    stele_session_get_options page = STELE_SESSION_GET_OPTIONS_INIT;
    stele_session_key key = key_of("s");
    STELE_AUTO(stele_session) session = NULL;
    create_session("s");
    peer_events("s", 16);
    page.page_limit = 10;
    assert_ok(stele_sessions_get(with_ttl, &key, &page, &session, &err));
    assert_string_equal(EVENT_IDS(session), "e-13 e-14 e-15 e-16");
    close_store(with_ttl);
}

static void refuse(const stele_session_get_options *options, const char *why)
{
    stele_session_key key = key_of("s");
    stele_session *session = NULL;
    assert_status(stele_sessions_get(store, &key, options, &session, &err), STELE_E_INPUT);
    assert_said(why);
}

static void test_event_page_validation(void **state)
{
    (void)state;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    options.page_offset = 1;
    refuse(&options, "a page needs page_limit");
    options.page_limit = 1;
    options.event_num = 1;
    refuse(&options, "excludes event_num");
    options.event_num = 0;
    options.event_time = stele_ts_now();
    refuse(&options, "excludes event_num and event_time");
    options.event_time.tag = NULL;
    options.before.row_id = 4;
    refuse(&options, "either an offset or a cursor");
    options.size = 0;
    refuse(&options, "STELE_SESSION_GET_OPTIONS_INIT");
    assert_string_equal(
        err.hint,
        "start from: stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;");
}

static void track(const char *name, const char *payload)
{
    stele_session_key key = key_of("s");
    assert_ok(
        stele_sessions_append_track(store, &key, text_of(name), text_of(payload), now, NULL, &err));
}

static void test_with_track_events(void **state)
{
    (void)state;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    create_session("s");
    uint64_t before = trips();
    track("tool", "null");
    assert_int_equal(trips() - before, 1);
    peer("DELETE FROM {session_track_events}");
    for (int i = 0; i < 3; i++) {
        track("tool", i == 0 ? "{\"n\": 0}" : i == 1 ? "{\"n\": 1}" : "{\"n\": 2}");
        track("mémoire \"x\"", "[1, null]");
    }
    peer("INSERT INTO {session_track_events} (app_name, user_id, session_id, track, event)"
         " VALUES ('desk', 'u-1', 's', 'unregistered', '{}')");
    before = trips();
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(trips() - before, 1);
    assert_int_equal(session->track_count, 2);
    assert_string_equal(session->tracks[0].name.data, "tool");
    assert_string_equal(session->tracks[1].name.data, "mémoire \"x\"");
    assert_int_equal(session->tracks[0].event_count, 3);
    assert_non_null(strstr(session->tracks[0].events[2].json.data, "{\"n\": 2}"));

    options.event_num = 2;
    STELE_AUTO(stele_session) two = get_session("s", &options);
    assert_int_equal(two->tracks[0].event_count, 2);
    assert_non_null(strstr(two->tracks[0].events[0].json.data, "{\"n\": 1}"));

    stele_str wanted[] = {text_of("tool"), text_of("nothing")};
    options.tracks = wanted;
    options.track_count = 2;
    options.event_num = 0;
    STELE_AUTO(stele_session) named = get_session("s", &options);
    assert_int_equal(named->track_count, 1);
    assert_int_equal(named->tracks[0].event_count, 3);
    options.no_tracks = true;
    STELE_AUTO(stele_session) none = get_session("s", &options);
    assert_int_equal(none->track_count, 0);
}

static void test_only_meta(void **state)
{
    (void)state;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    stele_session_key key = key_of("s");
    stele_session_value values[] = {value_of("k", "v")};
    assert_ok(stele_sessions_create(store, &key, values, 1, NULL, &err));
    peer_events("s", 4);
    options.only_meta = true;
    STELE_AUTO(stele_session) session = get_session("s", &options);
    assert_int_equal(session->event_count, 0);
    assert_string_equal(state_of(session, "k"), "v");
}

static void test_summaries_filters_stale_and_preserves_boundary(void **state)
{
    (void)state;
    create_session("s");
    peer("INSERT INTO {session_summaries} (app_name, user_id, session_id, filter_key, summary,"
         " updated_at) SELECT 'desk', 'u-1', 's', k, jsonb_build_object('summary', k, 'boundary',"
         " jsonb_build_object('version', 1, 'last_event_id', 'e-1')), at"
         " FROM (VALUES ('old', TIMESTAMP '2020-01-01'), ('', now() AT TIME ZONE 'UTC'),"
         " ('a/b', (now() AT TIME ZONE 'UTC') + interval '1 hour')) v (k, at)");
    STELE_AUTO(stele_session) empty = get_session("s", NULL);
    assert_int_equal(empty->summary_count, 0); /* as there are no events */
    append_text("s", "e-1", "user", "hello");
    flush_store();
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(session->summary_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_not_equal(session->summaries[i].filter_key.data, "old");
        assert_non_null(strstr(session->summaries[i].json.data, "\"last_event_id\": \"e-1\""));
        assert_true(session->summaries[i].updated_at >= session->created_at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_success),
        STORED(test_not_found),
        STORED(test_with_ttl),
        STORED(test_with_event_limit),
        STORED(test_limit_keeps_last_user_anchor),
        STORED(test_event_time),
        STORED(test_event_page),
        STORED(test_event_page_uses_ttl_lower_bound),
        STORED(test_event_page_validation),
        STORED(test_with_track_events),
        STORED(test_only_meta),
        STORED(test_summaries_filters_stale_and_preserves_boundary),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
