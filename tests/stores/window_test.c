/* Messages around one. */
#include "store_lab.h"

static stele_status window(const char *id, uint32_t before, uint32_t after, const char *role,
                           stele_session_events **ret_events, size_t *ret_anchor)
{
    stele_session_key key = key_of("s");
    stele_str roles[] = {stele_s(role)};
    return stele_sessions_window(store, &key, stele_s(id), before, after, roles, role != NULL,
                                 ret_events, ret_anchor, &err);
}

static void fill(void)
{
    stele_session_key key = key_of("s");
    create_session("s");
    for (int i = 1; i <= 9; i++) {
        char id[8];
        snprintf(id, sizeof id, "e-%d", i);
        append_text("s", id, i % 3 == 1 ? "user" : "assistant", "text");
    }
    assert_ok(stele_sessions_append(
        store, &key,
        stele_s("{\"id\": \"call\", \"choices\": [{\"message\": {\"role\": \"assistant\","
                " \"content\": \"x\", \"tool_calls\": [{\"id\": \"c\"}]}}]}"),
        NULL, &err));
    append_text("s", "e-10", "user", "text");
    flush_store();
}

static void test_get_event_window(void **state)
{
    (void)state;
    size_t anchor = 99;
    fill();
    uint64_t before = trips();
    STELE_AUTO(stele_session_events) around = NULL;
    assert_ok(window("e-5", 2, 1, NULL, &around, &anchor));
    assert_int_equal(trips() - before, 1);
    assert_string_equal(ids_of(around->events, around->count), "e-3 e-4 e-5 e-6");
    assert_int_equal(anchor, 2);
    STELE_AUTO(stele_session_events) end = NULL;
    assert_ok(window("e-9", 1, 5, NULL, &end, &anchor)); /* calls of tools do not count */
    assert_string_equal(ids_of(end->events, end->count), "e-8 e-9 e-10");
    STELE_AUTO(stele_session_events) alone = NULL;
    assert_ok(window("e-1", 5, 0, NULL, &alone, &anchor));
    assert_string_equal(ids_of(alone->events, alone->count), "e-1");
    assert_int_equal(anchor, 0);
    STELE_AUTO(stele_session_events) users = NULL;
    assert_ok(window("e-7", 1, 1, "user", &users, &anchor));
    assert_string_equal(ids_of(users->events, users->count), "e-4 e-7 e-10");
}

static void test_anchor_not_found(void **state)
{
    (void)state;
    stele_session_events *events = NULL;
    fill();
    assert_status(window("nothing", 1, 1, NULL, &events, NULL), STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "anchor event not found");
    assert_status(window("call", 1, 1, NULL, &events, NULL), STELE_E_NOT_FOUND);
    assert_status(window("", 1, 1, NULL, &events, NULL), STELE_E_INPUT);
}

static void test_no_active_session(void **state)
{
    (void)state;
    stele_session_events *events = NULL;
    stele_session_key key = key_of("s");
    assert_status(window("e-1", 1, 1, NULL, &events, NULL), STELE_E_NOT_FOUND);
    fill();
    assert_ok(stele_sessions_delete(store, &key, &err));
    assert_status(window("e-1", 1, 1, NULL, &events, NULL), STELE_E_NOT_FOUND);
    create_session("s");
    assert_status(window("e-1", 1, 1, NULL, &events, NULL), STELE_E_NOT_FOUND);
}

static void test_anchor_filtered_by_role(void **state)
{
    (void)state;
    stele_session_events *events = NULL;
    fill();
    assert_status(window("e-5", 1, 1, "user", &events, NULL), STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "anchor event not found");
}

/* ---- tracks on their own ---------------------------------------------------------------------- */

static void test_get_track_events_with_limit(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_opt_ts at = {true, 1772755211250000};
    stele_session_appended appended;
    create_session("s");
    for (int i = 0; i < 5; i++, at.v += 1000000)
        assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("{\"a\": [1]}"),
                                              at, &appended, &err));
    assert_int_equal(appended.created_at, at.v - 1000000); /* the event's own time */
    uint64_t before = trips();
    STELE_AUTO(stele_session_events) two = NULL;
    assert_ok(
        stele_sessions_get_track(store, &key, text_of("tool"), (stele_opt_ts){0}, 2, &two, &err));
    assert_int_equal(trips() - before, 1);
    assert_int_equal(two->count, 2);
    assert_true(two->events[0].created_at < two->events[1].created_at);
    assert_int_equal(two->events[1].row_id, appended.row_id);
    assert_non_null(strstr(two->events[1].json.data, "\"timestamp\": \"2026-03-06T00:00:15.25Z\""));
    STELE_AUTO(stele_session_events) later = NULL;
    stele_opt_ts third = {true, at.v - 3000000};
    assert_ok(stele_sessions_get_track(store, &key, text_of("tool"), third, 0, &later, &err));
    assert_int_equal(later->count, 2); /* later than that, not at it */
    key.session_id = text_of("nobody");
    STELE_AUTO(stele_session_events) none = NULL;
    assert_ok(stele_sessions_get_track(store, &key, text_of("tool"), third, 0, &none, &err));
    assert_int_equal(none->count, 0);
    assert_status(
        stele_sessions_append_track(store, &key, text_of("tool"), text_of("1"), third, NULL, &err),
        STELE_E_NOT_FOUND);
    assert_status(
        stele_sessions_append_track(store, &key, text_of(""), text_of("1"), third, NULL, &err),
        STELE_E_INPUT);
    assert_string_equal(err.message, "track name is required");
    assert_status(
        stele_sessions_append_track(store, &key, text_of("t"), text_of("{"), third, NULL, &err),
        STELE_E_INPUT);
}

static void test_track_ttl_overrides_session_ttl(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    const struct {
        stele_in_i64 track_ttl;
        const char *end;
    } cases[] = {{{0}, "00:10:00"}, {stele_i64_v(60000), "00:01:00"}, {stele_i64_v(0), ""}};
    for (size_t i = 0; i < 3; i++) {
        stele_sessions_options options = world_options();
        options.session_ttl_ms = 600000;
        options.track_ttl_ms = cases[i].track_ttl;
        stele_sessions *with_ttl = open_store(&options);
        assert_int_equal(clean_store(NULL), 0);
        create_session("s");
        assert_ok(stele_sessions_append_track(with_ttl, &key, text_of("t"), text_of("1"),
                                              (stele_opt_ts){0}, NULL, &err));
        close_store(with_ttl);
        assert_string_equal(
            answer("SELECT t.expires_at - s.updated_at FROM {session_track_events} t,"
                   " {session_states} s"),
            cases[i].end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_get_event_window),
        STORED(test_anchor_not_found),
        STORED(test_no_active_session),
        STORED(test_anchor_filtered_by_role),
        STORED(test_get_track_events_with_limit),
        STORED(test_track_ttl_overrides_session_ttl),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
