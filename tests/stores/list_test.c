/* Listing the sessions of a user. */
#include "store_lab.h"

static void fill(void)
{
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        char id[8];
        create_session(names[i]);
        snprintf(id, sizeof id, "%s-1", names[i]);
        append_text(names[i], id, "user", "hello");
        snprintf(id, sizeof id, "%s-2", names[i]);
        append_text(names[i], id, "assistant", "good day");
        flush_store();
    }
    stele_session_key other = {text_of("desk"), text_of("u-2"), text_of("d")};
    assert_ok(stele_sessions_create(store, &other, NULL, 0, NULL, &err));
}

static stele_session_list *list(const stele_session_list_options *options)
{
    stele_session_user user = user_of("u-1");
    stele_session_list *found = NULL;
    assert_ok(stele_sessions_list(store, &user, options, &found, &err));
    return found;
}

static void assert_listed(const stele_session_list *found, const char *wanted)
{
    char ids[256] = "";
    for (size_t i = 0; i < found->count; i++) {
        assert_int_equal(found->items[i].status, STELE_OK);
        size_t len = strlen(ids);
        snprintf(ids + len, sizeof ids - len, "%s%s", i > 0 ? " " : "",
                 found->items[i].session.key.session_id.data);
    }
    assert_string_equal(ids, wanted);
}

static void test_multiple_sessions(void **state)
{
    (void)state;
    stele_session_key key = key_of("b");
    stele_session_value app[] = {value_of("theme", "dark")};
    fill();
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), app, 1, &err));
    assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("7"),
                                          (stele_opt_ts){0}, NULL, &err));
    uint64_t before = trips();
    STELE_AUTO(stele_session_list) found = list(NULL);
    assert_int_equal(trips() - before, 1);
    assert_listed(found, "b c a");
    assert_string_equal(EVENT_IDS(&found->items[0].session), "b-1 b-2");
    assert_string_equal(EVENT_IDS(&found->items[2].session), "a-1 a-2");
    assert_int_equal(found->items[0].session.track_count, 1);
    assert_int_equal(found->items[0].session.tracks[0].event_count, 1);
    assert_int_equal(found->items[1].session.track_count, 0);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(state_of(&found->items[i].session, "app:theme"), "dark");
}

static void test_only_meta(void **state)
{
    (void)state;
    stele_session_list_options options = STELE_SESSION_LIST_OPTIONS_INIT;
    stele_session_key key = key_of("c");
    fill();
    assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("7"),
                                          (stele_opt_ts){0}, NULL, &err));
    flush_store();
    options.only_meta = true;
    uint64_t before = trips();
    STELE_AUTO(stele_session_list) found = list(&options);
    assert_int_equal(trips() - before, 1);
    assert_listed(found, "c b a");
    assert_int_equal(found->items[0].session.event_count, 0);
    assert_int_equal(found->items[0].session.track_count, 0);
}

static void pages(bool only_meta)
{
    stele_session_list_options options = STELE_SESSION_LIST_OPTIONS_INIT;
    options.only_meta = only_meta;
    options.limit = 2;
    STELE_AUTO(stele_session_list) first = list(&options);
    assert_listed(first, "c b");
    options.offset = 2;
    STELE_AUTO(stele_session_list) second = list(&options);
    assert_listed(second, "a");
    options.offset = 0;
    options.after_updated_at.has = true;
    options.after_updated_at.v = first->items[1].session.updated_at;
    options.after_session_id = first->items[1].session.key.session_id;
    STELE_AUTO(stele_session_list) after = list(&options);
    assert_listed(after, "a");
    options.offset = 1;
    stele_session_user user = user_of("u-1");
    stele_session_list *none = NULL;
    assert_status(stele_sessions_list(store, &user, &options, &none, &err), STELE_E_INPUT);
}

static void test_pages(void **state)
{
    (void)state;
    fill();
    pages(false);
    pages(true);
}

/* Equal times are told apart by the session's id. */
static void test_pages_of_equal_times(void **state)
{
    (void)state;
    fill();
    peer("UPDATE {session_states} SET updated_at = '2026-01-01'");
    pages(true);
    pages(false);
}

static void test_event_num(void **state)
{
    (void)state;
    stele_session_list_options options = STELE_SESSION_LIST_OPTIONS_INIT;
    fill();
    options.event_num = 1;
    STELE_AUTO(stele_session_list) found = list(&options);
    assert_string_equal(EVENT_IDS(&found->items[0].session), "c-1 c-2"); /* with its anchor */
    assert_int_equal(found->count, 3);
}

static void test_expired_and_deleted_are_left_out(void **state)
{
    (void)state;
    stele_session_key key = key_of("b");
    fill();
    assert_ok(stele_sessions_delete(store, &key, &err));
    peer("UPDATE {session_states} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 second'"
         " WHERE session_id = 'c'");
    STELE_AUTO(stele_session_list) found = list(NULL);
    assert_listed(found, "a");
    stele_session_user nobody = {text_of("desk"), text_of("nobody")};
    STELE_AUTO(stele_session_list) none = NULL;
    assert_ok(stele_sessions_list(store, &nobody, NULL, &none, &err));
    assert_int_equal(none->count, 0);
    nobody.user_id = text_of("");
    stele_session_list *bad = NULL;
    assert_status(stele_sessions_list(store, &nobody, NULL, &bad, &err), STELE_E_INPUT);
    assert_string_equal(err.message, "userID is required");
}

/* One that cannot be read is told so in its place; the others are there. */
static void test_a_malformed_one(void **state)
{
    (void)state;
    fill();
    peer("UPDATE {session_states} SET state = jsonb_set(state, '{state,bad}', '\"no base64!\"')"
         " WHERE session_id = 'b'");
    STELE_AUTO(stele_session_list) found = list(NULL);
    assert_int_equal(found->count, 3);
    assert_int_equal(found->items[0].status, STELE_OK);
    assert_int_equal(found->items[1].status, STELE_E_DECODE);
    assert_non_null(strstr(found->items[1].message, "\"bad\" is no base64"));
    assert_string_equal(found->items[1].session.key.session_id.data, "b");
    assert_int_equal(found->items[1].session.event_count, 0);
    assert_string_equal(EVENT_IDS(&found->items[2].session), "a-1 a-2");
    stele_session_key key = key_of("b");
    stele_session *session = NULL;
    assert_status(stele_sessions_get(store, &key, NULL, &session, &err), STELE_E_DECODE);
    assert_said("\"bad\" is no base64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_multiple_sessions),
        STORED(test_only_meta),
        STORED(test_pages),
        STORED(test_pages_of_equal_times),
        STORED(test_event_num),
        STORED(test_expired_and_deleted_are_left_out),
        STORED(test_a_malformed_one),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
