/* State of applications, users and sessions. */
#include "store_lab.h"

static stele_session_values *app_state(void)
{
    stele_session_values *values = NULL;
    assert_ok(stele_sessions_list_app_state(store, text_of("desk"), &values, &err));
    return values;
}

static stele_session_values *user_state(void)
{
    stele_session_user user = user_of("u-1");
    stele_session_values *values = NULL;
    assert_ok(stele_sessions_list_user_state(store, &user, &values, &err));
    return values;
}

static void test_app_state_success(void **state)
{
    (void)state;
    stele_session_value values[] = {value_of("app:theme", "dark"), value_of("limit", "3"),
                                    value_of("app:app:twice", "x"), value_of("nil", NULL),
                                    value_of("limit", "4")};
    uint64_t before = trips();
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), values, 5, &err));
    assert_int_equal(trips() - before, 1); /* whatever the number of keys */
    STELE_AUTO(stele_session_values) found = app_state();
    assert_int_equal(found->count, 4);
    assert_string_equal(found->values[0].key.data, "app:twice"); /* one prefix is taken off */
    assert_string_equal(found->values[1].key.data, "limit");
    assert_string_equal((const char *)found->values[1].value.data, "4"); /* the last one counts */
    assert_null(found->values[2].value.data);
    assert_string_equal(answer("SELECT value FROM {app_states} WHERE key = 'theme'"), "dark");
    assert_int_equal(trips() - before, 2);
    assert_ok(stele_sessions_delete_app_state(store, text_of("desk"), text_of("app:theme"), &err));
    assert_ok(stele_sessions_delete_app_state(store, text_of("desk"), text_of("limit"), &err));
    assert_ok(stele_sessions_delete_app_state(store, text_of("desk"), text_of("gone"), &err));
    STELE_AUTO(stele_session_values) left = app_state();
    assert_int_equal(left->count, 2);
    assert_int_equal(number("SELECT count(*) FROM {app_states}"), world_is_soft() ? 4 : 2);
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), values, 2, &err));
    STELE_AUTO(stele_session_values) again = app_state();
    assert_int_equal(again->count, 4);
}

static void test_user_state_success(void **state)
{
    (void)state;
    stele_session_user user = user_of("u-1");
    stele_session_user other = user_of("u-2");
    stele_session_value values[] = {value_of("user:lang", "de"), value_of("zone", "CET")};
    uint64_t before = trips();
    assert_ok(stele_sessions_update_user_state(store, &user, values, 2, &err));
    assert_int_equal(trips() - before, 1);
    assert_ok(stele_sessions_update_user_state(store, &other, values, 1, &err));
    STELE_AUTO(stele_session_values) found = user_state();
    assert_int_equal(found->count, 2);
    assert_string_equal(found->values[0].key.data, "lang");
    assert_ok(stele_sessions_delete_user_state(store, &user, text_of("user:lang"), &err));
    STELE_AUTO(stele_session_values) left = user_state();
    assert_int_equal(left->count, 1);
    assert_int_equal(number("SELECT count(*) FROM {user_states} WHERE user_id = 'u-2'"), 1);
}

static void test_empty_and_invalid_keys(void **state)
{
    (void)state;
    stele_session_value empty[] = {value_of("app:", "x")};
    stele_session_value fine[] = {value_of("a", "x")};
    stele_session_user user = {text_of("desk"), text_of("")};
    stele_session_values *values = NULL;
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), NULL, 0, &err));
    assert_status(stele_sessions_update_app_state(store, text_of(""), fine, 1, &err),
                  STELE_E_INPUT);
    assert_string_equal(err.message, "appName is required");
    assert_status(stele_sessions_update_app_state(store, text_of("desk"), empty, 1, &err),
                  STELE_E_INPUT);
    assert_string_equal(err.message, "state key is required");
    assert_status(stele_sessions_delete_app_state(store, text_of("desk"), text_of(""), &err),
                  STELE_E_INPUT);
    assert_string_equal(err.message, "state key is required");
    assert_status(stele_sessions_list_app_state(store, text_of(""), &values, &err), STELE_E_INPUT);
    assert_status(stele_sessions_update_user_state(store, &user, fine, 1, &err), STELE_E_INPUT);
    assert_string_equal(err.message, "userID is required");
    assert_status(stele_sessions_list_user_state(store, &user, &values, &err), STELE_E_INPUT);
    assert_status(stele_sessions_delete_user_state(store, &user, text_of("a"), &err),
                  STELE_E_INPUT);
}

/* All keys or none: the third is too long. */
static void test_all_or_nothing(void **state)
{
    (void)state;
    char key[257];
    memset(key, 'k', 256);
    key[256] = '\0';
    stele_session_value values[] = {value_of("a", "1"), value_of("b", "2"), value_of(key, "3")};
    assert_status(stele_sessions_update_app_state(store, text_of("desk"), values, 3, &err),
                  STELE_E_VALUE);
    assert_int_equal(number("SELECT count(*) FROM {app_states}"), 0);
}

static void test_ttl_of_app_and_user_state(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.app_ttl_ms = 3600 * 1000;
    options.user_ttl_ms = 7200 * 1000;
    stele_sessions *with_ttl = open_store(&options);
    stele_session_user user = user_of("u-1");
    stele_session_value values[] = {value_of("a", "1")};
    assert_ok(stele_sessions_update_app_state(with_ttl, text_of("desk"), values, 1, &err));
    assert_ok(stele_sessions_update_user_state(with_ttl, &user, values, 1, &err));
    close_store(with_ttl);
    assert_string_equal(answer("SELECT expires_at - updated_at FROM {app_states}"), "01:00:00");
    assert_string_equal(answer("SELECT expires_at - updated_at FROM {user_states}"), "02:00:00");
    peer("UPDATE {app_states} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 second'");
    STELE_AUTO(stele_session_values) gone = app_state();
    assert_int_equal(gone->count, 0);
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), values, 1, &err));
    STELE_AUTO(stele_session_values) revived = app_state();
    assert_int_equal(revived->count, 1);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void test_disallow_prefixed_keys(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value app[] = {value_of("a", "1"), value_of("app:x", "1")};
    stele_session_value user[] = {value_of("user:x", "1")};
    stele_session_value temp[] = {value_of("temp:x", "1")};
    stele_str removed[] = {text_of("user:x")};
    create_session("s");
    assert_status(stele_sessions_update_state(store, &key, app, 2, NULL, 0, &err), STELE_E_INPUT);
    assert_said("\"app:x\" is no key of a session's state");
    assert_status(stele_sessions_update_state(store, &key, user, 1, NULL, 0, &err), STELE_E_INPUT);
    assert_status(stele_sessions_update_state(store, &key, NULL, 0, removed, 1, &err),
                  STELE_E_INPUT);
    assert_ok(stele_sessions_update_state(store, &key, temp, 1, NULL, 0, &err));
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(session->state_count, 1);
    assert_string_equal(state_of(session, "temp:x"), "1");
}

static void test_copies_values_and_keeps_nil(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value first[] = {value_of("a", "1"), value_of("b", "2"), value_of("c", "")};
    stele_session_value second[] = {value_of("b", NULL), value_of("d", "quote \" and \xc3\xa9")};
    stele_str removed[] = {text_of("a"), text_of("nowhere")};
    create_session("s");
    uint64_t before = trips();
    assert_ok(stele_sessions_update_state(store, &key, first, 3, NULL, 0, &err));
    assert_ok(stele_sessions_update_state(store, &key, second, 2, removed, 2, &err));
    assert_int_equal(trips() - before, 2);
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "a"), "(none)"); /* removed is not null */
    assert_string_equal(state_of(session, "b"), "(null)");
    assert_string_equal(state_of(session, "c"), "");
    assert_string_equal(state_of(session, "d"), "quote \" and \xc3\xa9");
    assert_int_equal(session->state_count, 3);
}

static void test_session_not_found(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value values[] = {value_of("a", "1")};
    assert_status(stele_sessions_update_state(store, &key, values, 1, NULL, 0, &err),
                  STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "session not found");
    create_session("s");
    assert_ok(stele_sessions_delete(store, &key, &err));
    assert_status(stele_sessions_update_state(store, &key, values, 1, NULL, 0, &err),
                  STELE_E_NOT_FOUND);
}

/* Rows whose state is SQL NULL, JSON null, or lacks the inner object. */
static void test_unmarshal_nil_state(void **state)
{
    (void)state;
    const char *const shapes[] = {"NULL", "'null'", "'{}'", "'{\"state\": null}'"};
    stele_session_key key = key_of("s");
    stele_session_value values[] = {value_of("a", "1")};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(clean_store(NULL), 0);
        peer("INSERT INTO {session_states} (app_name, user_id, session_id, state)"
             " VALUES ('desk', 'u-1', 's', %s)",
             shapes[i]);
        STELE_AUTO(stele_session) empty = get_session("s", NULL);
        assert_int_equal(empty->state_count, 0);
        assert_ok(stele_sessions_update_state(store, &key, values, 1, NULL, 0, &err));
        STELE_AUTO(stele_session) session = get_session("s", NULL);
        assert_string_equal(state_of(session, "a"), "1");
    }
}

/* The session's own, over it the application's, over it the user's. */
static void test_merge_state(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_user user = user_of("u-1");
    stele_session_value own[] = {value_of("app:x", "own"), value_of("x", "own"),
                                 value_of("user:y", "own"), value_of("app:z", "own")};
    stele_session_value app[] = {value_of("x", "app"), value_of("y", "app")};
    stele_session_value mine[] = {value_of("x", "user")};
    assert_ok(stele_sessions_create(store, &key, own, 4, NULL, &err));
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), app, 2, &err));
    assert_ok(stele_sessions_update_user_state(store, &user, mine, 1, &err));
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(session->state_count, 6);
    assert_string_equal(state_of(session, "x"), "own");
    assert_string_equal(state_of(session, "app:x"), "app");
    assert_string_equal(state_of(session, "app:y"), "app");
    assert_string_equal(state_of(session, "app:z"), "own");
    assert_string_equal(state_of(session, "user:x"), "user");
    assert_string_equal(state_of(session, "user:y"), "own");
    for (size_t i = 1; i < session->state_count; i++)
        assert_true(strcmp(session->state[i - 1].key.data, session->state[i].key.data) < 0);
}

/* ---- expired, and still there ------------------------------------------------------------------ */

static void expire(void)
{
    peer("UPDATE {session_states} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 ms'");
}

static stele_status write_as(int way, const stele_session_key *key)
{
    static const char partial[] = "{\"is_partial\": true, \"stateDelta\": {\"p\": \"MQ==\"}}";
    stele_session_value values[] = {value_of("a", "1")};
    stele_status st = STELE_OK;
    if (way == 0)
        return stele_sessions_update_state(store, key, values, 1, NULL, 0, &err);
    if (way == 1)
        return stele_sessions_append_track(store, key, text_of("t"), text_of("1"),
                                           (stele_opt_ts){0}, NULL, &err);
    if (way == 2)
        return stele_sessions_truncate_after(store, key, text_of("e"), false, NULL, &err);
    st = stele_sessions_append(store, key, stele_s(partial), NULL, &err);
    flush_store();
    return st;
}

/* No read shows it, reading its track apart; whatever writes to it brings it back with what it has. */
static void test_expired_but_present(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_user user = user_of("u-1");
    for (int way = 0; way < 4; way++) {
        stele_session *gone = NULL;
        stele_session_events *around = NULL;
        char *text = NULL;
        assert_int_equal(clean_store(NULL), 0);
        create_session("s");
        append_text("s", "e", "user", "hello");
        assert_ok(stele_sessions_append_track(store, &key, text_of("t"), text_of("0"),
                                              (stele_opt_ts){0}, NULL, &err));
        flush_store();
        peer("INSERT INTO {session_summaries} (app_name, user_id, session_id, summary, updated_at)"
             " VALUES ('desk', 'u-1', 's', '{\"summary\": \"x\"}', now() AT TIME ZONE 'UTC')");
        expire();
        assert_status(stele_sessions_get(store, &key, NULL, &gone, &err), STELE_E_NOT_FOUND);
        assert_status(
            stele_sessions_window(store, &key, text_of("e"), 1, 1, NULL, 0, &around, NULL, &err),
            STELE_E_NOT_FOUND);
        assert_status(stele_sessions_get_summary_text(store, &key, "", &text, &err),
                      STELE_E_NOT_FOUND);
        assert_status(stele_sessions_restore(store, &key, &err), STELE_E_UNIQUE);
        STELE_AUTO(stele_session_list) list = NULL;
        assert_ok(stele_sessions_list(store, &user, NULL, &list, &err));
        assert_int_equal(list->count, 0);
        STELE_AUTO(stele_session_events) track = NULL;
        assert_ok(stele_sessions_get_track(store, &key, text_of("t"), (stele_opt_ts){0}, 0, &track,
                                           &err));
        assert_int_equal(track->count, 1);
        assert_ok(write_as(way, &key));
        STELE_AUTO(stele_session) back = get_session("s", NULL);
        assert_string_equal(EVENT_IDS(back), "e");
        assert_int_equal(back->tracks[0].event_count, way == 1 ? 2 : 1);
        assert_int_equal(back->summary_count, 1);
        expire();
        assert_ok(stele_sessions_delete(store, &key, &err));
        assert_int_equal(number("SELECT count(*) FROM {session_events} WHERE deleted_at IS NULL"),
                         0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_app_state_success),           STORED(test_user_state_success),
        STORED(test_empty_and_invalid_keys),      STORED(test_all_or_nothing),
        STORED(test_ttl_of_app_and_user_state),   STORED(test_disallow_prefixed_keys),
        STORED(test_copies_values_and_keeps_nil), STORED(test_session_not_found),
        STORED(test_unmarshal_nil_state),         STORED(test_merge_state),
        STORED(test_expired_but_present),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
