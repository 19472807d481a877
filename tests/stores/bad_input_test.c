/* Input that the server, or anybody, cannot keep; and rows that are not what they should be. */
#include "store_lab.h"

static stele_status create(stele_str app, stele_str user, stele_str id)
{
    stele_session_key key = {app, user, id};
    return stele_sessions_create(store, &key, NULL, 0, NULL, &err);
}

static void test_long_keys(void **state)
{
    (void)state;
    char text[600];
    memset(text, 'k', 255);
    text[255] = '\0';
    assert_ok(create(text_of(text), text_of(text), text_of(text)));
    text[255] = 'k';
    text[256] = '\0';
    assert_status(create(text_of(text), text_of("u"), text_of("s")), STELE_E_VALUE);
    assert_string_equal(err.sqlstate, "22001");
    assert_status(create(text_of("a"), text_of(text), text_of("s")), STELE_E_VALUE);
    assert_status(create(text_of("a"), text_of("u"), text_of(text)), STELE_E_VALUE);
    /* Characters, not bytes. */
    for (int i = 0; i < 255; i++)
        memcpy(text + 2 * (size_t)i, "\xc3\xa9", 2);
    text[510] = '\0';
    assert_ok(create(text_of(text), text_of("u"), text_of("s")));
}

static void test_invalid_utf8(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value bad[] = {value_of("\xff", "x")};
    stele_session_value bytes[] = {value_of("bytes", "\xff\xfe")};
    assert_status(create(text_of("\xff"), text_of("u"), text_of("s")), STELE_E_VALUE);
    assert_status(stele_sessions_create(store, &key, bad, 1, NULL, &err), STELE_E_VALUE);
    assert_ok(stele_sessions_create(store, &key, bytes, 1, NULL, &err)); /* values are bytes … */
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "bytes"), "\xff\xfe");
    /* … but those of applications, which are text. */
    assert_status(stele_sessions_update_app_state(store, text_of("desk"), bytes, 1, &err),
                  STELE_E_VALUE);
    if (!world_is_async())
        assert_status(stele_sessions_append(
                          store, &key, stele_s(event_json("e", "user", "\xc3\x28")), NULL, &err),
                      STELE_E_VALUE);
    assert_status(stele_sessions_append_track(store, &key, text_of("t\xff"), text_of("1"),
                                              (stele_opt_ts){0}, NULL, &err),
                  STELE_E_VALUE);
}

static void test_nul(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value nul = value_of("k", "a");
    stele_str name = {"a\0b", 3};
    nul.value.data = (const uint8_t *)"a\0b";
    nul.value.len = 3;
    assert_ok(stele_sessions_create(store, &key, &nul, 1, NULL, &err));
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(stele_session_find(session, "k")->value.len, 3);
    assert_status(stele_sessions_update_app_state(store, text_of("desk"), &nul, 1, &err),
                  STELE_E_VALUE);
    assert_status(create(name, text_of("u"), text_of("s")), STELE_E_VALUE);
    if (world_is_async())
        return;
    assert_status(stele_sessions_append(store, &key, stele_s(event_json("e", "user", "a\\u0000b")),
                                        NULL, &err),
                  STELE_E_VALUE);
    assert_string_equal(err.sqlstate, "22P05");
    assert_status(
        stele_sessions_append(store, &key, stele_s(event_json("e", "user", "\\ud800")), NULL, &err),
        STELE_E_VALUE);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 0);
    static const char *const payloads[] = {"\"\\u0000\"", "\"\\ud800\"", "{\"\\udc00\": 1}",
                                           "[\"\\ud800\\n\"]"};
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++)
        assert_status(stele_sessions_append_track(store, &key, text_of("t"), text_of(payloads[i]),
                                                  (stele_opt_ts){0}, NULL, &err),
                      STELE_E_VALUE);
}

/* What peers cannot read as a time would hide the whole session from them. */
static void test_times_of_no_year(void **state)
{
    (void)state;
    static const int64_t times[] = {STELE_TS_INFINITY, STELE_TS_NEG_INFINITY,
                                    INT64_C(-62135596800000001), INT64_C(253402300800000000)};
    stele_session_key key = key_of("s");
    stele_event event = STELE_EVENT_INIT;
    event.content = text_of("x");
    create_session("s");
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        stele_opt_ts at = {true, times[i]};
        event.timestamp = at;
        assert_status(stele_sessions_append_event(store, &key, &event, NULL, &err), STELE_E_INPUT);
        assert_said("years 1 to 9999");
        assert_status(
            stele_sessions_append_track(store, &key, text_of("t"), text_of("1"), at, NULL, &err),
            STELE_E_INPUT);
    }
    event.timestamp.v = times[3] - 1;
    assert_ok(stele_sessions_append_event(store, &key, &event, NULL, &err));
}

/* A list of tracks that is none: reads go on, with the tracks that there are. */
static void test_poisoned_tracks(void **state)
{
    (void)state;
    static const char *const poison[] = {
        "\"ew==\"",         /* { */
        "\"e30=\"",         /* {} */
        "\"WzEsIngiXQ==\"", /* [1,"x"] */
        "\"/w==\"",         /* no UTF-8 */
    };
    stele_session_key key = key_of("s");
    for (size_t i = 0; i < sizeof poison / sizeof *poison; i++) {
        assert_int_equal(clean_store(NULL), 0);
        create_session("s");
        append_text("s", "e-1", "user", "hello");
        assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("1"),
                                              (stele_opt_ts){0}, NULL, &err));
        flush_store();
        peer("UPDATE {session_states} SET state = jsonb_set(state, '{state,tracks}', '%s')",
             poison[i]);
        STELE_AUTO(stele_session) session = get_session("s", NULL);
        assert_string_equal(EVENT_IDS(session), "e-1");
        assert_int_equal(session->track_count, 1);
        append_text("s", "e-2", "assistant", "still");
        flush_store();
        stele_status st = stele_sessions_append_track(store, &key, text_of("tool"), text_of("2"),
                                                      (stele_opt_ts){0}, NULL, &err);
        if (i != 2) { /* an array is kept as it is */
            assert_status(st, STELE_E_DECODE);
            assert_said("malformed");
        }
    }
}

static void test_malformed_envelopes(void **state)
{
    (void)state;
    static const struct {
        const char *envelope;
        bool readable;
        bool writable;
    } cases[] = {
        {"[]", false, false},
        {"7", false, false},
        {"{\"state\": []}", false, false},
        {"{\"state\": \"x\"}", false, false},
        {"{\"state\": {\"k\": 1}}", false, true},
        {"{\"state\": {\"k\": \"!\"}}", false, true},
        {"{\"state\": {\"k\": {}}}", false, true},
        {"{\"state\": {}, \"more\": [{}]}", true, true},
    };
    stele_session_key key = key_of("s");
    stele_session_value values[] = {value_of("a", "1")};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stele_session *session = NULL;
        assert_int_equal(clean_store(NULL), 0);
        create_session("s");
        peer("UPDATE {session_states} SET state = '%s'", cases[i].envelope);
        assert_status(stele_sessions_get(store, &key, NULL, &session, &err),
                      cases[i].readable ? STELE_OK : STELE_E_DECODE);
        if (!cases[i].readable)
            assert_said("malformed");
        stele_session_free(session);
        assert_status(stele_sessions_update_state(store, &key, values, 1, NULL, 0, &err),
                      cases[i].writable ? STELE_OK : STELE_E_DECODE);
        if (!world_is_async())
            assert_status(stele_sessions_append(store, &key, stele_s(event_json("e", "user", "x")),
                                                NULL, &err),
                          cases[i].writable ? STELE_OK : STELE_E_DECODE);
    }
}

static void test_large(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    size_t size = 3u << 20;
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, 'x', size);
    text[size] = '\0';
    stele_event event = STELE_EVENT_INIT;
    event.content = text_of(text);
    stele_session_value values[] = {value_of("k", text)};
    for (int i = 0; i < 8; i++) { /* what is behind in the pipeline finds its way each time */
        assert_ok(stele_sessions_delete(store, &key, &err));
        assert_ok(stele_sessions_create(store, &key, values, 1, NULL, &err));
    }
    assert_ok(stele_sessions_append_event(store, &key, &event, NULL, &err));
    event.role = text_of("user");
    assert_ok(stele_sessions_append_event(store, &key, &event, NULL, &err));
    flush_store();
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(session->event_count, 1); /* from the user's message on */
    assert_true(session->events[0].json.len > size);
    assert_int_equal(stele_session_find(session, "k")->value.len, size);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_long_keys),
        STORED(test_invalid_utf8),
        STORED(test_nul),
        STORED(test_times_of_no_year),
        STORED(test_poisoned_tracks),
        STORED(test_malformed_envelopes),
        STORED(test_large),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
