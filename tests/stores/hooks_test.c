/* Hooks around appends and gets. */
#include "store_lab.h"

static char order[64];

static void note(const char *what)
{
    size_t len = strlen(order);
    snprintf(order + len, sizeof order - len, "%s ", what);
}

static stele_status outer(stele_append_call *call, void *user, stele_error *e)
{
    (void)user;
    note("outer");
    stele_status st = stele_append_next(call, e);
    note("done");
    return st;
}

static stele_status replace(stele_append_call *call, void *user, stele_error *e)
{
    note("inner");
    call->event = stele_s(event_json("replaced", "user", user));
    return stele_append_next(call, e);
}

static stele_status leave(stele_append_call *call, void *user, stele_error *e)
{
    (void)call;
    (void)user;
    (void)e;
    note("leave");
    return STELE_OK;
}

static stele_status refuse(stele_append_call *call, void *user, stele_error *e)
{
    (void)call;
    (void)user;
    stele_error_clear(e);
    e->status = STELE_E_PERMISSION;
    return STELE_E_PERMISSION;
}

/* Two sessions of one event: each call appends once. */
static stele_status to_both(stele_append_call *call, void *user, stele_error *e)
{
    stele_session_key other = key_of("other");
    const stele_session_key *key = call->key;
    (void)user;
    note("both");
    call->key = &other;
    stele_status st = stele_append_next(call, e);
    call->key = key;
    return st == STELE_OK ? stele_append_next(call, e) : st;
}

/* What it puts into the call ends with it. */
static stele_status elsewhere(stele_append_call *call, void *user, stele_error *e)
{
    stele_session_key key = key_of(user);
    call->key = &key;
    return stele_append_next(call, e);
}

static stele_status again(stele_append_call *call, void *user, stele_error *e)
{
    (void)user;
    stele_status st = stele_append_next(call, e);
    return st == STELE_OK ? stele_append_next(call, e) : st;
}

static stele_status append_with(stele_append_fn first, stele_append_fn second, const char *id)
{
    stele_append_hook hooks[] = {{first, NULL}, {second, "by a hook"}};
    stele_sessions_options options = world_options();
    options.append_hooks = hooks;
    options.append_hook_count = 2;
    stele_sessions *hooked = open_store(&options);
    stele_session_key key = key_of("s");
    order[0] = '\0';
    stele_status st =
        stele_sessions_append(hooked, &key, stele_s(event_json(id, "user", "x")), NULL, &err);
    close_store(hooked);
    return st;
}

static void test_append_event_hook(void **state)
{
    (void)state;
    create_session("s");
    assert_ok(append_with(outer, replace, "e-1"));
    assert_string_equal(order, "outer inner done ");
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(session), "replaced");
    assert_non_null(strstr(session->events[0].json.data, "by a hook"));
    assert_ok(append_with(leave, outer, "e-2"));
    assert_string_equal(order, "leave ");
    assert_status(append_with(outer, refuse, "e-3"), STELE_E_PERMISSION);
    STELE_AUTO(stele_session) same = get_session("s", NULL);
    assert_int_equal(same->event_count, 1);
    /* What is no event is refused before hooks see it. */
    assert_status(append_with(outer, replace, "bad\x01"), STELE_E_INPUT);
    assert_string_equal(order, "");
}

static int64_t events_of(const char *session_id)
{
    return number("SELECT count(*) FROM {session_events} WHERE session_id = '%s'", session_id);
}

static void test_append_hooks_may_go_on_twice(void **state)
{
    (void)state;
    stele_session_key key = key_of("");
    create_session("s");
    create_session("other");
    create_session("by a hook");
    assert_ok(append_with(to_both, outer, "e-1"));
    assert_string_equal(order, "both outer done outer done ");
    assert_int_equal(events_of("s"), 1);
    assert_int_equal(events_of("other"), 1);
    assert_ok(append_with(again, elsewhere, "e-2"));
    assert_int_equal(events_of("s"), 1);
    assert_int_equal(events_of("by a hook"), 2);
    /* A key that is none is refused before hooks see it, and when one puts it there. */
    stele_append_hook hook = {elsewhere, ""};
    stele_sessions_options options = world_options();
    options.append_hooks = &hook;
    options.append_hook_count = 1;
    stele_sessions *hooked = open_store(&options);
    order[0] = '\0';
    const char *json = event_json("e-3", "user", "x");
    assert_status(stele_sessions_append(hooked, &key, stele_s(json), NULL, &err), STELE_E_INPUT);
    key = key_of("s");
    assert_status(stele_sessions_append(hooked, &key, stele_s(json), NULL, &err), STELE_E_INPUT);
    assert_string_equal(err.message, "sessionID is required");
    /* Tracks have none. */
    assert_ok(stele_sessions_append_track(hooked, &key, text_of("t"), text_of("1"),
                                          (stele_opt_ts){0}, NULL, &err));
    close_store(hooked);
}

/* ---- get ------------------------------------------------------------------------------------- */

static stele_status fewer(stele_get_call *call, void *user, stele_error *e)
{
    (void)user;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    options.event_num = 1;
    call->options = &options;
    note("fewer");
    return stele_get_next(call, e);
}

static stele_status counted(stele_get_call *call, void *user, stele_error *e)
{
    note("counted");
    stele_status st = stele_get_next(call, e);
    if (st == STELE_OK && *call->ret_session != NULL)
        *(size_t *)user = (*call->ret_session)->event_count;
    return st;
}

/* What the first try gave is not lost. */
static stele_status twice(stele_get_call *call, void *user, stele_error *e)
{
    (void)user;
    stele_status st = stele_get_next(call, e);
    return st == STELE_OK ? stele_get_next(call, e) : st;
}

static stele_status other_session(stele_get_call *call, void *user, stele_error *e)
{
    stele_session_key key = key_of("other");
    const stele_session_key *before = call->key;
    (void)user;
    call->key = &key;
    stele_status st = stele_get_next(call, e);
    call->key = before;
    return st;
}

static stele_status no_session(stele_get_call *call, void *user, stele_error *e)
{
    stele_session_key key = key_of("");
    (void)user;
    call->key = &key;
    return stele_get_next(call, e);
}

static stele_status nothing(stele_get_call *call, void *user, stele_error *e)
{
    (void)call;
    (void)user;
    (void)e;
    return STELE_OK;
}

static stele_status get_with(stele_get_fn first, stele_get_fn second, size_t *seen,
                             stele_session **ret_session)
{
    stele_get_hook hooks[] = {{first, seen}, {second, seen}};
    stele_sessions_options options = world_options();
    options.get_hooks = hooks;
    options.get_hook_count = 2;
    stele_sessions *hooked = open_store(&options);
    stele_session_key key = key_of("s");
    order[0] = '\0';
    stele_status st = stele_sessions_get(hooked, &key, NULL, ret_session, &err);
    close_store(hooked);
    return st;
}

static void test_get_session_hook(void **state)
{
    (void)state;
    size_t seen = 0;
    create_session("s");
    append_text("s", "e-1", "user", "a");
    append_text("s", "e-2", "user", "b");
    flush_store();
    STELE_AUTO(stele_session) session = NULL;
    assert_ok(get_with(counted, fewer, &seen, &session));
    assert_string_equal(order, "counted fewer ");
    assert_int_equal(seen, 1);
    assert_string_equal(EVENT_IDS(session), "e-2");
    STELE_AUTO(stele_session) again = NULL;
    assert_ok(get_with(twice, counted, &seen, &again));
    assert_string_equal(order, "counted counted ");
    assert_string_equal(EVENT_IDS(again), "e-1 e-2");
    create_session("other");
    STELE_AUTO(stele_session) other = NULL;
    assert_ok(get_with(counted, other_session, &seen, &other));
    assert_string_equal(other->key.session_id.data, "other");
    stele_session *none = NULL;
    assert_status(get_with(counted, no_session, &seen, &none), STELE_E_INPUT);
    assert_status(get_with(twice, no_session, &seen, &none), STELE_E_INPUT);
    assert_status(get_with(counted, nothing, &seen, &none), STELE_E_NOT_FOUND);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_append_event_hook),
        STORED(test_append_hooks_may_go_on_twice),
        STORED(test_get_session_hook),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
