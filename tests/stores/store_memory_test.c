/*
 * Running out of memory at every allocation of every operation: an error or the whole answer, never a
 * part of it, a leak or a crash.
 */
#include "faultmalloc.h"
#include "store_lab.h"

static int round_number; /* a name that no round before has used */

static const char *fresh_id(void)
{
    static char id[32];
    snprintf(id, sizeof id, "new-%d", ++round_number);
    return id;
}

static stele_status run_create(void)
{
    stele_session *session = NULL;
    stele_session_value values[] = {value_of("a", "1"), value_of("b", NULL)};
    stele_session_key key = key_of(fresh_id());
    stele_status st = stele_sessions_create(store, &key, values, 2, &session, &err);
    if (st == STELE_OK)
        assert_int_equal(session->state_count, 4);
    stele_session_free(session);
    return st;
}

static stele_status run_get_or_create(void)
{
    stele_session *session = NULL;
    stele_session_key key = key_of(fresh_id());
    bool created = false;
    stele_status st =
        stele_sessions_get_or_create(store, &key, NULL, 0, NULL, &session, &created, &err);
    if (st == STELE_OK)
        assert_true(created && session->state_count == 2);
    stele_session_free(session);
    return st;
}

static stele_status run_get(void)
{
    stele_session *session = NULL;
    stele_session_key key = key_of("s");
    stele_status st = stele_sessions_get(store, &key, NULL, &session, &err);
    if (st == STELE_OK) {
        assert_int_equal(session->event_count, 30);
        assert_int_equal(session->state_count, 4);
        assert_int_equal(session->track_count, 2);
        assert_int_equal(session->tracks[1].event_count, 1);
        assert_int_equal(session->summary_count, 1);
    }
    stele_session_free(session);
    return st;
}

static stele_status run_list(void)
{
    stele_session_list *list = NULL;
    stele_session_user user = user_of("u-1");
    stele_session_list_options options = STELE_SESSION_LIST_OPTIONS_INIT;
    options.limit = 3;
    options.offset = 0;
    stele_status st = stele_sessions_list(store, &user, &options, &list, &err);
    if (st == STELE_OK) {
        assert_int_equal(list->count, 3);
        for (size_t i = 0; i < 3; i++)
            assert_true((list->items[i].status == STELE_OK) == (list->items[i].message == NULL));
    }
    stele_session_list_free(list);
    return st;
}

static stele_status run_append(void)
{
    stele_session_key key = key_of("other");
    stele_session_value values[] = {value_of("k", "v")};
    stele_event event = STELE_EVENT_INIT;
    event.content = text_of("hello");
    event.state_delta = values;
    event.state_delta_count = 1;
    return stele_sessions_append_event(store, &key, &event, NULL, &err);
}

static stele_status run_append_track(void)
{
    stele_session_key key = key_of("other");
    return stele_sessions_append_track(store, &key, text_of("t"), text_of("{}"), (stele_opt_ts){0},
                                       NULL, &err);
}

static stele_status run_update_state(void)
{
    stele_session_key key = key_of("other");
    stele_session_value values[] = {value_of("k", "v"), value_of("l", NULL)};
    stele_str removed[] = {text_of("m")};
    return stele_sessions_update_state(store, &key, values, 2, removed, 1, &err);
}

static stele_status run_app_state(void)
{
    stele_session_value values[] = {value_of("k", "v")};
    stele_session_values *found = NULL;
    stele_status st = stele_sessions_update_app_state(store, text_of("desk-2"), values, 1, &err);
    if (st == STELE_OK)
        st = stele_sessions_list_app_state(store, text_of("desk-2"), &found, &err);
    if (st == STELE_OK)
        assert_int_equal(found->count, 1);
    stele_session_values_free(found);
    return st;
}

static stele_status run_window(void)
{
    stele_session_events *events = NULL;
    stele_session_key key = key_of("s");
    stele_status st =
        stele_sessions_window(store, &key, text_of("e-9"), 3, 3, NULL, 0, &events, NULL, &err);
    if (st == STELE_OK)
        assert_int_equal(events->count, 7);
    stele_session_events_free(events);
    return st;
}

static stele_status run_get_track(void)
{
    stele_session_events *events = NULL;
    stele_session_key key = key_of("s");
    stele_status st =
        stele_sessions_get_track(store, &key, text_of("tool"), (stele_opt_ts){0}, 0, &events, &err);
    if (st == STELE_OK)
        assert_int_equal(events->count, 1);
    stele_session_events_free(events);
    return st;
}

static stele_status run_delete(void)
{
    stele_session_key key = key_of("nobody");
    return stele_sessions_delete(store, &key, &err);
}

static const struct {
    const char *name;
    stele_status (*run)(void);
} operations[] = {
    {"create", run_create},
    {"get_or_create", run_get_or_create},
    {"get", run_get},
    {"list", run_list},
    {"append", run_append},
    {"append_track", run_append_track},
    {"update_state", run_update_state},
    {"app_state", run_app_state},
    {"window", run_window},
    {"get_track", run_get_track},
    {"delete", run_delete},
};

static void fill(void)
{
    char id[16];
    stele_session_key key = key_of("s");
    stele_session_user user = user_of("u-1");
    stele_session_value values[] = {value_of("x", "y")};
    create_session("s");
    create_session("other");
    for (int i = 0; i < 30; i++) {
        snprintf(id, sizeof id, "e-%d", i);
        append_text("s", id, "user", "hello");
    }
    flush_store();
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), values, 1, &err));
    assert_ok(stele_sessions_update_user_state(store, &user, values, 1, &err));
    assert_ok(stele_sessions_update_state(store, &key, values, 1, NULL, 0, &err));
    assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("1"),
                                          (stele_opt_ts){0}, NULL, &err));
    assert_ok(stele_sessions_append_track(store, &key, text_of("log"), text_of("1"),
                                          (stele_opt_ts){0}, NULL, &err));
    peer("INSERT INTO {session_summaries} (app_name, user_id, session_id, summary, updated_at)"
         " VALUES ('desk', 'u-1', 's', '{\"summary\": \"x\"}', now() AT TIME ZONE 'UTC')");
}

/* One more allocation succeeds in each round, until none fails. AddressSanitizer looks for what stays. */
static void starve(size_t which)
{
    for (long successes = 0;; successes++) {
        fault_arm(successes);
        stele_status st = operations[which].run();
        bool failed = fault_disarm();
        if (!failed) {
            assert_status(st, STELE_OK);
            assert_true(successes > 0 || !fault_reaches_all());
            return;
        }
        flush_store();
    }
}

static void test_every_allocation(void **state)
{
    (void)state;
    fill();
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        for (int warm = 0; warm < 6; warm++)
            assert_ok(operations[i].run());
        starve(i);
        for (int again = 0; again < 3; again++)
            assert_ok(operations[i].run());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_every_allocation),
    };
    fault_install();
    dbtest_require_server();
    return RUN_STORED(tests);
}
