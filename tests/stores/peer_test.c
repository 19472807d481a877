/*
 * The peer on the same tables: what it writes is read, and what we write it can read, rewrite and
 * write beside. Its rows are written here as its program writes them, statement by statement.
 */
#include "store_lab.h"

/* As it creates a session: times with the offset of its host, state as base64. */
static void peer_session(const char *session_id)
{
    peer("INSERT INTO {session_states} (app_name, user_id, session_id, state, created_at, "
         "updated_at,"
         " expires_at) VALUES ('desk', 'u-1', '%s', '{\"id\": \"%s\", \"state\": {\"note\":"
         " \"w6kg5pel5pys\", \"unset\": null, \"empty\": \"\", \"raw\": \"AAH/\"}, \"createdAt\":"
         " \"2026-03-06T16:00:11.123456789+08:00\", \"updatedAt\":"
         " \"2026-03-06T16:00:11.123456789+08:00\"}', '2026-03-06 08:00:11.123456',"
         " '2026-03-06 08:00:11.123456', NULL)",
         session_id, session_id);
}

static void peer_insert_event(const char *session_id, const char *at, const char *json)
{
    peer("INSERT INTO {session_events} (app_name, user_id, session_id, event, created_at, "
         "updated_at,"
         " expires_at) VALUES ('desk', 'u-1', '%s', '%s', '%s', '%s', NULL)",
         session_id, json, at, at);
}

static const char user_event[] =
    "{\"object\": \"\", \"created\": 0, \"model\": \"\", \"choices\": [{\"index\": 0, \"message\":"
    " {\"role\": \"user\", \"content\": \"Wo ist das Zimmer? \\u65e5\\ud83d\\ude00\"}, \"delta\":"
    " {\"role\": \"\"}}], \"done\": true, \"is_partial\": false, \"response\": {\"id\": \"\","
    " \"timestamp\": \"0001-01-01T00:00:00Z\"}, \"requestID\": \"r-1\", \"invocationId\": \"i-1\","
    " \"author\": \"user\", \"id\": \"p-1\", \"timestamp\": \"2026-03-06T16:00:12.5+08:00\","
    " \"stateDelta\": null, \"filterKey\": \"desk\", \"version\": 1, \"unknownKey\": {\"deep\": [1,"
    " null]}}";

static const char tool_event[] =
    "{\"object\": \"chat.completion\", \"created\": 1772755213, \"model\": \"m\", \"choices\":"
    " [{\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": \"\", \"tool_calls\":"
    " [{\"type\": \"function\", \"function\": {\"name\": \"find\", \"arguments\": \"eyJ9\"}, "
    "\"id\":"
    " \"c-1\"}]}, \"delta\": {\"role\": \"\"}, \"finish_reason\": \"tool_calls\"}], \"usage\":"
    " {\"prompt_tokens\": 3}, \"timestamp\": \"2026-03-05T22:00:13-10:00\", \"done\": true,"
    " \"is_partial\": false, \"response\": {\"id\": \"x\", \"timestamp\":"
    " \"2026-03-05T22:00:13-10:00\"}, \"invocationId\": \"i-1\", \"author\": \"desk\", \"id\": "
    "\"p-2\","
    " \"branch\": \"desk\", \"longRunningToolIDs\": {\"c-1\": {}}, \"actions\":"
    " {\"skipSummarization\": true}, \"version\": 1}";

static void test_its_rows_are_read(void **state)
{
    (void)state;
    peer_session("s");
    peer_insert_event("s", "2026-03-06 08:00:12.5", user_event);
    peer_insert_event("s", "2026-03-06 08:00:13", tool_event);
    peer("INSERT INTO {session_summaries} (app_name, user_id, session_id, filter_key, summary,"
         " updated_at) VALUES ('desk', 'u-1', 's', '', '{\"summary\": \"they talk\", \"topics\": "
         "null,"
         " \"updated_at\": \"2026-03-06T08:00:13Z\", \"boundary\": {\"version\": 1, \"cutoff_at\":"
         " \"2026-03-06T08:00:13Z\", \"last_event_id\": \"p-2\"}}', '2026-03-06 08:00:13')");
    peer("INSERT INTO {app_states} (app_name, key, value) VALUES ('desk', 'raw', 'no base64 \" ')");
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "note"), "\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac");
    assert_string_equal(state_of(session, "unset"), "(null)");
    assert_string_equal(state_of(session, "empty"), "");
    assert_string_equal(state_of(session, "app:raw"), "no base64 \" ");
    const stele_session_value *raw = stele_session_find(session, "raw");
    assert_int_equal(raw->value.len, 3);
    assert_memory_equal(raw->value.data, "\x00\x01\xff", 3);
    assert_int_equal(session->created_at, 1772784011123456);
    assert_string_equal(EVENT_IDS(session), "p-1 p-2");
    assert_non_null(strstr(session->events[0].json.data, "\"unknownKey\": {\"deep\": [1, null]}"));
    assert_non_null(strstr(session->events[0].json.data, "\xe6\x97\xa5\xf0\x9f\x98\x80"));
    assert_int_equal(session->summary_count, 1);
}

/* Times count as they are meant, whatever zone they are written in. */
static void test_its_times_are_absolute(void **state)
{
    (void)state;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    peer_session("s");
    peer_insert_event("s", "2026-03-06 08:00:12.5", user_event);
    peer_insert_event("s", "2026-03-06 08:00:13", tool_event);
    options.event_time = stele_ts_v(1772784012500000);
    STELE_AUTO(stele_session) both = get_session("s", &options);
    assert_string_equal(EVENT_IDS(both), "p-1 p-2");
    options.event_time = stele_ts_v(1772784012500001);
    STELE_AUTO(stele_session) later = get_session("s", &options);
    assert_string_equal(EVENT_IDS(later), "p-1 p-2"); /* the first is the anchor */
    options.event_time = stele_ts_v(1772784013000001);
    STELE_AUTO(stele_session) none = get_session("s", &options);
    assert_string_equal(EVENT_IDS(none), "p-1");
}

/* Its transaction: lock, decode, merge, write the whole envelope, insert. Keys that it does not know are
 * lost in this, so that we may have none. */
static void peer_append(const char *session_id, const char *delta, const char *event)
{
    peer("BEGIN; SELECT state FROM {session_states} WHERE session_id = '%s' AND deleted_at IS NULL"
         " FOR UPDATE; UPDATE {session_states} SET state = jsonb_build_object('id', state -> 'id',"
         " 'state', coalesce(nullif(state -> 'state', 'null'), '{}') || '%s', 'createdAt',"
         " state -> 'createdAt', 'updatedAt', '2026-03-06T16:00:20.5+08:00'),"
         " updated_at = now() AT TIME ZONE 'UTC', expires_at = NULL WHERE session_id = '%s'"
         " AND deleted_at IS NULL; INSERT INTO {session_events} (app_name, user_id, session_id, "
         "event,"
         " created_at, updated_at) VALUES ('desk', 'u-1', '%s', '%s', now() AT TIME ZONE 'UTC',"
         " now() AT TIME ZONE 'UTC'); COMMIT",
         session_id, delta, session_id, session_id, event);
}

static void test_our_rows_survive_its_rewrite(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value values[] = {value_of("a", "1"), value_of("nil", NULL)};
    stele_event event = STELE_EVENT_INIT;
    event.content = text_of("from us");
    event.role = text_of("user");
    event.id = text_of("o-1");
    event.state_delta = values + 1;
    event.state_delta_count = 1;
    assert_ok(stele_sessions_create(store, &key, values, 1, NULL, &err));
    assert_ok(stele_sessions_append_event(store, &key, &event, NULL, &err));
    assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("1"),
                                          (stele_opt_ts){0}, NULL, &err));
    flush_store();
    peer_append("s", "{\"b\": \"Mg==\"}", tool_event);
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "a"), "1");
    assert_string_equal(state_of(session, "b"), "2");
    assert_string_equal(state_of(session, "nil"), "(null)");
    assert_int_equal(session->track_count, 1);
    assert_string_equal(EVENT_IDS(session), "o-1 p-2");
    append_text("s", "o-2", "user", "and on");
    flush_store();
    STELE_AUTO(stele_session) again = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(again), "o-1 p-2 o-2");
    assert_int_equal(again->state_count, 4);
}

/* What its decoder asks of us. */
static void test_our_rows_have_what_it_needs(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value values[] = {value_of("a", "1")};
    stele_event event = STELE_EVENT_INIT;
    event.content = text_of("x");
    create_session("s");
    assert_ok(stele_sessions_update_state(store, &key, values, 1, NULL, 0, &err));
    assert_ok(stele_sessions_append_event(store, &key, &event, NULL, &err));
    assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("1"),
                                          (stele_opt_ts){0}, NULL, &err));
    flush_store();
    const char zoned[] =
        "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?(Z|[+-]\\d\\d:\\d\\d)$";
    assert_string_equal(answer("SELECT string_agg(k, ' ' ORDER BY k) FROM {session_states},"
                               " jsonb_object_keys(state) k"),
                        "createdAt id state updatedAt");
    assert_string_equal(answer("SELECT bool_and(state ->> k ~ '%s') FROM {session_states},"
                               " (VALUES ('createdAt'), ('updatedAt')) v (k)",
                               zoned),
                        "t");
    assert_string_equal(answer("SELECT string_agg(k, ' ' ORDER BY k) FROM {session_events},"
                               " jsonb_object_keys(event) k"),
                        "author choices created done id invocationId is_partial model object"
                        " response timestamp version");
    assert_string_equal(answer("SELECT event ->> 'timestamp' ~ '%s' AND event #>>"
                               " ARRAY['response', 'timestamp'] ~ '%s' FROM {session_events}",
                               zoned, zoned),
                        "t");
    assert_string_equal(answer("SELECT string_agg(k, ' ' ORDER BY k) FROM {session_track_events},"
                               " jsonb_object_keys(event) k"),
                        "payload timestamp track");
    assert_string_equal(answer("SELECT convert_from(decode(state #>> ARRAY['state', 'tracks'],"
                               " 'base64'), 'UTF8') FROM {session_states}"),
                        "[\"tool\"]");
    assert_string_equal(answer("SELECT expires_at IS NULL AND deleted_at IS NULL AND created_at ="
                               " updated_at FROM {session_events}"),
                        "t");
}

/* Its cleaner makes tombstones of whole sessions; ours may be the next of the same key. */
static void test_its_tombstones(void **state)
{
    (void)state;
    create_session("s");
    append_text("s", "o-1", "user", "hello");
    flush_store();
    peer("UPDATE {session_states} SET deleted_at = now() AT TIME ZONE 'UTC'");
    stele_session_key key = key_of("s");
    stele_session *gone = NULL;
    assert_status(stele_sessions_get(store, &key, NULL, &gone, &err), STELE_E_NOT_FOUND);
    create_session("s"); /* its events had been left */
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(session->event_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_its_rows_are_read),
        STORED(test_its_times_are_absolute),
        STORED(test_our_rows_survive_its_rewrite),
        STORED(test_our_rows_have_what_it_needs),
        STORED(test_its_tombstones),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
