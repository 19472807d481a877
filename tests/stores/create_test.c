/* Creating sessions, and getting or creating them. */
#include "store_lab.h"

static void test_success(void **state)
{
    (void)state;
    stele_session_value values[] = {value_of("color", "blue"), value_of("none", NULL)};
    stele_session_value app[] = {value_of("app:theme", "dark")};
    stele_session_value own[] = {value_of("lang", "de")};
    stele_session_user user = user_of("u-1");
    STELE_AUTO(stele_session) session = NULL;
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), app, 1, &err));
    assert_ok(stele_sessions_update_user_state(store, &user, own, 1, &err));

    stele_session_key key = key_of("");
    uint64_t before = trips();
    assert_ok(stele_sessions_create(store, &key, values, 2, &session, &err));
    assert_int_equal(trips() - before, 1);
    assert_int_equal(session->key.session_id.len, 36); /* a UUID */
    assert_int_equal(session->key.session_id.data[14], '4');
    assert_string_equal(state_of(session, "color"), "blue");
    assert_string_equal(state_of(session, "none"), "(null)");
    assert_string_equal(state_of(session, "app:theme"), "dark");
    assert_string_equal(state_of(session, "user:lang"), "de");
    assert_int_equal(session->state_count, 4);
    assert_int_equal(session->event_count, 0);
    assert_true(session->created_at > 0 && session->created_at == session->updated_at);
    assert_string_equal(answer("SELECT state -> 'state' FROM {session_states}"),
                        "{\"none\": null, \"color\": \"Ymx1ZQ==\"}");
    assert_string_equal(
        answer("SELECT (state ->> 'createdAt')::timestamptz = created_at AT TIME ZONE "
               "'UTC' FROM {session_states}"),
        "t");
}

static void test_invalid_key(void **state)
{
    (void)state;
    stele_session_key key = {.user_id = text_of("u")};
    assert_status(stele_sessions_create(store, &key, NULL, 0, NULL, &err), STELE_E_INPUT);
    assert_string_equal(err.message, "appName is required");
    key.app_name = text_of("a");
    key.user_id = text_of("");
    assert_status(stele_sessions_create(store, &key, NULL, 0, NULL, &err), STELE_E_INPUT);
    assert_string_equal(err.message, "userID is required");
}

static void test_with_session_id(void **state)
{
    (void)state;
    stele_session_key key = key_of("mine");
    STELE_AUTO(stele_session) session = NULL;
    assert_ok(stele_sessions_create(store, &key, NULL, 0, &session, &err));
    assert_string_equal(session->key.session_id.data, "mine");
    assert_string_equal(answer("SELECT state ->> 'id' FROM {session_states}"), "mine");
}

static void test_existing_not_expired(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    create_session("s");
    peer("UPDATE {session_states} SET expires_at = (now() AT TIME ZONE 'UTC') + interval '1 hour'");
    assert_status(stele_sessions_create(store, &key, NULL, 0, NULL, &err), STELE_E_UNIQUE);
    assert_string_equal(err.message, "session already exists and has not expired");
}

static void test_existing_never_expires(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    create_session("s");
    append_text("s", "e-1", "user", "hello");
    flush_store();
    assert_status(stele_sessions_create(store, &key, NULL, 0, NULL, &err), STELE_E_UNIQUE);
    assert_int_equal(number("SELECT count(*) FROM {session_events} WHERE deleted_at IS NULL"), 1);
}

static void test_existing_expired(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value fresh[] = {value_of("fresh", "yes")};
    create_session("s");
    append_text("s", "e-1", "user", "hello");
    assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("1"),
                                          (stele_opt_ts){0}, NULL, &err));
    flush_store();
    peer("UPDATE {session_states} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 "
         "second'");
    uint64_t before = trips();
    assert_ok(stele_sessions_create(store, &key, fresh, 1, NULL, &err));
    assert_int_equal(trips() - before, 1);
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(session->event_count, 0);
    assert_int_equal(session->track_count, 0);
    assert_string_equal(state_of(session, "fresh"), "yes");
    const char *where = world_is_soft() ? "WHERE deleted_at IS NULL" : "";
    assert_int_equal(number("SELECT count(*) FROM {session_events} %s", where), 0);
    assert_int_equal(number("SELECT count(*) FROM {session_track_events} %s", where), 0);
}

static void test_get_or_create(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value first[] = {value_of("n", "1")};
    stele_session_value second[] = {value_of("n", "2")};
    bool created = false;
    uint64_t before = trips();
    STELE_AUTO(stele_session) a = NULL;
    assert_ok(stele_sessions_get_or_create(store, &key, first, 1, NULL, &a, &created, &err));
    assert_int_equal(trips() - before, 1);
    assert_true(created);
    append_text("s", "e-1", "user", "hello");
    flush_store();
    STELE_AUTO(stele_session) b = NULL;
    assert_ok(stele_sessions_get_or_create(store, &key, second, 1, NULL, &b, &created, &err));
    assert_false(created);
    assert_string_equal(state_of(b, "n"), "1");
    assert_string_equal(EVENT_IDS(b), "e-1");
    peer("UPDATE {session_states} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 "
         "second'");
    STELE_AUTO(stele_session) c = NULL;
    assert_ok(stele_sessions_get_or_create(store, &key, second, 1, NULL, &c, &created, &err));
    assert_true(created);
    assert_string_equal(state_of(c, "n"), "2");
    assert_int_equal(c->event_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_success),
        STORED(test_invalid_key),
        STORED(test_with_session_id),
        STORED(test_existing_not_expired),
        STORED(test_existing_never_expires),
        STORED(test_existing_expired),
        STORED(test_get_or_create),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
