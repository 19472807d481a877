/* Appending events. */
#define _GNU_SOURCE
#include "store_lab.h"

static stele_status append(const char *session_id, const char *json, stele_session_appended *ret)
{
    stele_session_key key = key_of(session_id);
    return stele_sessions_append(store, &key, stele_s(json), ret, &err);
}

static int64_t stored(void)
{
    flush_store();
    return number("SELECT count(*) FROM {session_events} WHERE deleted_at IS NULL");
}

static void test_sync_mode(void **state)
{
    (void)state;
    stele_session_appended appended = {0};
    if (world_is_async())
        return;
    create_session("s");
    uint64_t before = trips();
    assert_ok(append("s", event_json("e-1", "user", "hello"), &appended));
    assert_int_equal(trips() - before, 1);
    assert_int_equal(appended.row_id, number("SELECT id FROM {session_events}"));
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_int_equal(session->events[0].created_at, appended.created_at);
    assert_int_equal(session->updated_at, appended.created_at);
    assert_string_equal(answer("SELECT created_at = updated_at AND expires_at IS NULL"
                               " FROM {session_events}"),
                        "t");
}

/* An event's state goes into the session's as it is: not routed, not stripped; null is a value. */
static void test_state_delta(void **state)
{
    (void)state;
    create_session("s");
    assert_ok(
        append("s",
               "{\"id\": \"e-1\", \"choices\": [{\"message\": {\"role\": \"user\", \"content\":"
               " \"x\"}}], \"stateDelta\": {\"a\": \"MQ==\", \"app:b\": \"Mg==\","
               " \"user:c\": \"\", \"temp:d\": null}}",
               NULL));
    flush_store();
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "a"), "1");
    assert_string_equal(state_of(session, "app:b"), "2");
    assert_string_equal(state_of(session, "user:c"), "");
    assert_string_equal(state_of(session, "temp:d"), "(null)");
    assert_int_equal(number("SELECT count(*) FROM {app_states}"), 0);
}

/* Writers of JSON may escape what base64 has: it is the same text. */
static void test_escapes_in_a_delta(void **state)
{
    (void)state;
    static const char json[] =
        "{\"id\": \"e-1\", \"stateDelta\": {\"a\": \"\\/\\/8=\", \"app:b\": \"P\\u003D\\u003d=\","
        " \"user:c\": \"YS9\\u0069\"}}";
    static const char fine[] =
        "{\"id\": \"e-1\", \"stateDelta\": {\"a\": \"\\/\\/8=\", \"app:b\": \"Pw\\u003D\\u003d\","
        " \"user:c\": \"YS9\\u0069\"}}";
    stele_session_key key = key_of("s");
    create_session("s");
    assert_status(append("s", json, NULL), STELE_E_INPUT);
    assert_ok(append("s", fine, NULL));
    flush_store();
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "a"), "\xff\xff");
    assert_string_equal(state_of(session, "app:b"), "?");
    assert_string_equal(state_of(session, "user:c"), "a/b");
    stele_sessions_options options = world_options();
    options.strict = true;
    stele_sessions *strict = open_store(&options);
    assert_ok(stele_sessions_append(strict, &key, stele_s(fine), NULL, &err));
    close_store(strict);
    assert_string_equal(answer("SELECT value FROM {app_states} WHERE key = 'b'"), "?");
    assert_string_equal(answer("SELECT value FROM {user_states} WHERE key = 'c'"), "a/b");
}

static void test_expired_session(void **state)
{
    (void)state;
    create_session("s");
    append_text("s", "e-1", "user", "hello");
    flush_store();
    peer("UPDATE {session_states} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 "
         "second'");
    append_text("s", "e-2", "assistant", "still here");
    flush_store();
    STELE_AUTO(stele_session) session = get_session("s", NULL); /* revived */
    assert_string_equal(EVENT_IDS(session), "e-1 e-2");
}

static void test_partial_event(void **state)
{
    (void)state;
    stele_session_appended appended = {.row_id = 7};
    create_session("s");
    assert_ok(append("s",
                     "{\"id\": \"e-1\", \"is_partial\": true, \"choices\": [{\"delta\": {\"role\":"
                     " \"assistant\", \"content\": \"x\"}}], \"stateDelta\": {\"k\": \"dg==\"}}",
                     &appended));
    assert_int_equal(appended.row_id, 0);
    assert_int_equal(stored(), 0);
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "k"), "v");
}

static void test_what_is_stored(void **state)
{
    (void)state;
    static const struct {
        const char *choices;
        int64_t count;
    } cases[] = {
        {"[]", 0},
        {"null", 0},
        {"[{}]", 0},
        {"[null]", 0},
        {"[{\"message\": {\"role\": \"user\", \"content\": \"\"}}]", 0},
        {"[{\"message\": {\"role\": \"user\", \"content\": \"x\"}}]", 1},
        {"[{\"delta\": {\"content\": \"x\"}}]", 1},
        {"[{\"message\": {\"reasoning_content\": \"x\"}}]", 1},
        {"[{\"message\": {\"content_parts\": [ ]}}]", 0},
        {"[{\"message\": {\"content_parts\": [{\"type\": \"text\"}]}}]", 1},
        {"[{\"message\": {\"tool_calls\": [{\"id\": \"c\"}]}}]", 1},
        {"[{\"message\": {\"tool_calls\": null}}]", 0},
        {"[{\"message\": {\"tool_id\": \"c\"}}]", 1},
        {"[{}, {\"message\": {\"tool_id\": \"c\"}}]", 0}, /* tools count in the first alone */
        {"[{}, {\"message\": {\"content\": \"x\"}}]", 1},
    };
    char json[512];
    create_session("s");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer("TRUNCATE {session_events}");
        snprintf(json, sizeof json, "{\"id\": \"e\", \"choices\": %s}", cases[i].choices);
        assert_ok(append("s", json, NULL));
        if (stored() != cases[i].count)
            fail_msg("%s: not as expected", cases[i].choices);
    }
}

static void test_skip_insert_when_response_missing(void **state)
{
    (void)state;
    create_session("s");
    assert_ok(append("s",
                     "{\"id\": \"e-1\", \"author\": \"user\", \"stateDelta\": {\"k\":"
                     " \"dg==\"}}",
                     NULL));
    assert_int_equal(stored(), 0);
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "k"), "v");
}

static void test_session_not_found(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    if (world_is_async())
        return; /* told by flushing: see async_test */
    assert_status(append("s", event_json("e-1", "user", "hello"), NULL), STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "session not found");
    create_session("s");
    assert_ok(stele_sessions_delete(store, &key, &err));
    assert_status(append("s", event_json("e-1", "user", "hello"), NULL), STELE_E_NOT_FOUND);
    assert_int_equal(stored(), 0);
}

static void test_what_is_no_event(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "null",
        "{",
        "{\"a\": }",
        "{\"a\": 1,}",
        "{\"a\": 01}",
        "{\"a\": \"\\x\"}",
        "{} x",
        "{\"stateDelta\": []}",
        "{\"stateDelta\": {\"k\": 1}}",
        "{\"stateDelta\": {\"k\": \"no base64\"}}",
        "{\"stateDelta\": {\"k\": \"YQ\"}}",
    };
    create_session("s");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (append("s", bad[i], NULL) != STELE_E_INPUT)
            fail_msg("%s: was taken", bad[i]);
    stele_session_key key = {.app_name = text_of("desk")};
    assert_status(stele_sessions_append(store, &key, stele_s("{}"), NULL, &err), STELE_E_INPUT);
    assert_string_equal(err.message, "userID is required");
}

/* ---- events made of a struct ------------------------------------------------------------------ */

static void test_built_event(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value delta[] = {value_of("k\"ey", "v\n"), value_of("nil", NULL)};
    stele_event event = STELE_EVENT_INIT;
    event.author = text_of("planner");
    event.invocation_id = text_of("i-7");
    event.branch = text_of("planner/search");
    event.filter_key = text_of("planner/search");
    event.content = text_of("a \"quote\", a \\ and \x01, \xe6\x97\xa5");
    event.tool_calls = text_of("[{\"type\": \"function\", \"function\": {\"name\": \"find\","
                               " \"arguments\": \"{}\"}, \"id\": \"c-1\"}]");
    event.state_delta = delta;
    event.state_delta_count = 2;
    event.extensions = text_of("{\"score\": 1.5}");
    event.timestamp.has = true;
    event.timestamp.v = 1772755211250000;
    create_session("s");
    assert_ok(stele_sessions_append_event(store, &key, &event, NULL, &err));
    flush_store();
#define SHOWS(path)                                                                                \
    answer("SELECT event #>> string_to_array('%s', ',') FROM {session_events}", path)
    assert_int_equal(strlen(SHOWS("id")), 36);
    assert_string_equal(SHOWS("version"), "1");
    assert_string_equal(SHOWS("timestamp"), "2026-03-06T00:00:11.25Z");
    assert_string_equal(SHOWS("created"), "1772755211");
    assert_string_equal(SHOWS("author"), "planner");
    assert_string_equal(SHOWS("invocationId"), "i-7");
    assert_string_equal(SHOWS("filterKey"), "planner/search");
    assert_string_equal(SHOWS("branch"), "planner/search");
    assert_string_equal(SHOWS("choices,0,message,role"), "assistant");
    assert_string_equal(SHOWS("choices,0,message,content"),
                        "a \"quote\", a \\ and \x01, \xe6\x97\xa5");
    assert_string_equal(SHOWS("choices,0,message,tool_calls,0,function,name"), "find");
    assert_string_equal(SHOWS("stateDelta"), "{\"nil\": null, \"k\\\"ey\": \"dgo=\"}");
    assert_string_equal(SHOWS("extensions,score"), "1.5");
    assert_string_equal(SHOWS("done"), "false");
    assert_string_equal(SHOWS("response,timestamp"), "2026-03-06T00:00:11.25Z");
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(state_of(session, "k\"ey"), "v\n");
    event.extensions = text_of("[]");
    assert_status(stele_sessions_append_event(store, &key, &event, NULL, &err), STELE_E_INPUT);
    assert_said("extensions is no JSON object");
}

/* ---- options --------------------------------------------------------------------------------- */

static void test_ttl_exact_and_lazy(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.async_persist = false;
    options.session_ttl_ms = 3600 * 1000;
    stele_session_key key = key_of("s");
    const char *json = event_json("e-1", "user", "hello");
    for (int lazy = 0; lazy < 2; lazy++) {
        assert_int_equal(clean_store(NULL), 0);
        options.lazy_ttl = lazy == 1;
        stele_sessions *with_ttl = open_store(&options);
        assert_ok(stele_sessions_create(with_ttl, &key, NULL, 0, NULL, &err));
        const char *end = answer("SELECT expires_at FROM {session_states}");
        assert_ok(stele_sessions_append(with_ttl, &key, stele_s(json), NULL, &err));
        const char *later = answer("SELECT expires_at FROM {session_states}");
        assert_int_equal(strcmp(end, later) == 0, lazy == 1);
        /* Once a sixteenth of it is over, it is put off in both. */
        peer("UPDATE {session_states} SET expires_at = expires_at - interval '230 seconds'");
        assert_ok(stele_sessions_append(with_ttl, &key, stele_s(json), NULL, &err));
        assert_string_equal(answer("SELECT expires_at > updated_at + interval '3599 seconds'"
                                   " FROM {session_states}"),
                            "t");
        close_store(with_ttl);
    }
}

/* Updates of the table of sessions under a prefix, which nobody else uses; the kind is a column's. */
static int64_t updates(const char *prefix, const char *kind)
{
    return number("SELECT %s FROM pg_stat_user_tables WHERE relname = '%s_session_states'", kind,
                  prefix);
}

static int64_t hot_updates(const char *prefix, bool lazy)
{
    enum { COUNT = 200 };
    stele_sessions_options options = world_options();
    options.async_persist = false;
    options.prefix = prefix;
    options.session_ttl_ms = 3600 * 1000;
    options.lazy_ttl = lazy;
    stele_sessions *s = open_store(&options);
    stele_session_key key = key_of("s");
    assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
    for (int i = 0; i < COUNT; i++) {
        const char *json = event_json("e", "user", "x");
        assert_ok(stele_sessions_append(s, &key, stele_s(json), NULL, &err));
    }
    close_store(s); /* its connections count what they did at the latest when they end */
    char *counted = NULL;
    assert_true(asprintf(&counted,
                         "SELECT n_tup_upd >= %d FROM pg_stat_user_tables WHERE relname ="
                         " '%s_session_states'",
                         COUNT, prefix) > 0);
    assert_true(wait_until(counted));
    free(counted);
    assert_int_equal(updates(prefix, "n_tup_upd"), COUNT);
    return updates(prefix, "n_tup_hot_upd");
}

static void test_lazy_ttl_keeps_updates_hot(void **state)
{
    (void)state;
    assert_int_equal(hot_updates("exact", false), 0); /* expires_at has an index */
    assert_true(hot_updates("lazy", true) > 100);
}

/* More than the server has years for. */
static void test_ttl_without_end(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_sessions_options options = world_options();
    options.session_ttl_ms = INT64_MAX;
    options.track_ttl_ms = stele_i64_v(INT64_MAX);
    options.app_ttl_ms = INT64_MAX;
    options.async_persist = false;
    stele_session_value values[] = {value_of("a", "1")};
    for (int lazy = 0; lazy < 2; lazy++) {
        options.lazy_ttl = lazy == 1;
        stele_sessions *s = open_store(&options);
        STELE_AUTO(stele_session) session = NULL;
        assert_ok(stele_sessions_get_or_create(s, &key, NULL, 0, NULL, &session, NULL, &err));
        assert_ok(
            stele_sessions_append(s, &key, stele_s(event_json("e", "user", "x")), NULL, &err));
        assert_ok(stele_sessions_append_track(s, &key, text_of("t"), text_of("1"),
                                              (stele_opt_ts){0}, NULL, &err));
        assert_ok(stele_sessions_update_app_state(s, text_of("desk"), values, 1, &err));
        STELE_AUTO(stele_session) again = NULL;
        assert_ok(stele_sessions_get(s, &key, NULL, &again, &err));
        assert_int_equal(again->event_count, lazy + 1);
        close_store(s);
    }
}

static void test_idempotent_events(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.async_persist = false;
    options.idempotent_events = true;
    stele_sessions *once = open_store(&options);
    stele_session_key key = key_of("s");
    stele_session_appended first;
    stele_session_appended second;
    const char *json = event_json("e-1", "user", "hello");
    create_session("s");
    assert_ok(stele_sessions_append(once, &key, stele_s(json), &first, &err));
    stele_sessions_stats before;
    stele_sessions_get_stats(once, &before);
    assert_ok(stele_sessions_append(once, &key, stele_s(json), &second, &err));
    stele_sessions_stats after;
    stele_sessions_get_stats(once, &after);
    assert_int_equal(after.round_trips - before.round_trips, 1);
    assert_false(first.duplicate);
    assert_true(second.duplicate);
    assert_int_equal(first.row_id, second.row_id);
    assert_int_equal(first.created_at, second.created_at);
    assert_int_equal(after.duplicates, 1);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 1);
    /* However the id is written; and of each session alone. */
    stele_session_key other = key_of("other");
    create_session("other");
    json = event_json("\\u0065\\u002d1", "user", "hello");
    assert_ok(stele_sessions_append(once, &key, stele_s(json), &second, &err));
    assert_true(second.duplicate && second.row_id == first.row_id);
    assert_ok(stele_sessions_append(once, &other, stele_s(json), &second, &err));
    assert_false(second.duplicate);
    close_store(once);
}

/* The index makes it fast, not right. */
static void test_idempotent_events_without_the_index(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.idempotent_events = true;
    options.skip_init = true;
    peer("DROP INDEX IF EXISTS %s",
         answer("SELECT coalesce(min(i.oid::regclass::text), 'none') FROM pg_class i"
                " WHERE relname ~ 'session_events_event_id$'"));
    assert_int_equal(number("SELECT count(*) FROM pg_class WHERE relname ~"
                            " 'session_events_event_id$'"),
                     0);
    stele_sessions *once = open_store(&options);
    stele_session_key key = key_of("s");
    create_session("s");
    for (int i = 0; i < 6; i++) {
        const char *json = event_json(i % 2 == 0 ? "even" : "odd", "user", "hello");
        assert_ok(stele_sessions_append(once, &key, stele_s(json), NULL, &err));
    }
    close_store(once);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 2);
}

/* A retry changes nothing: what was set since stays, with appends at once and with queued ones. */
static void test_a_duplicate_changes_no_state(void **state)
{
    (void)state;
    static const char *const jsons[] = {
        "{\"id\": \"e-1\", \"stateDelta\": {\"k\": \"MQ==\", \"app:k\": \"MQ==\"}, \"choices\":"
        " [{\"message\": {\"role\": \"user\", \"content\": \"x\"}}]}",
        "{\"id\": \"e-2\", \"stateDelta\": {\"k\": \"Mg==\", \"app:k\": \"Mg==\"}, \"choices\":"
        " [{\"message\": {\"role\": \"user\", \"content\": \"x\"}}]}",
    };
    static const char alone[] = "{\"id\": \"e-1\", \"stateDelta\": {\"alone\": \"MQ==\"}}";
    stele_session_key key = key_of("s");
    for (int way = 0; way < 3; way++) {
        assert_int_equal(clean_store(NULL), 0);
        stele_sessions_options options = world_options();
        options.idempotent_events = true;
        options.async_persist = way == 1;
        options.strict = way == 2;
        stele_sessions *once = open_store(&options);
        STELE_AUTO(stele_session) session = NULL;
        assert_ok(stele_sessions_create(once, &key, NULL, 0, NULL, &err));
        for (int i = 0; i < 3; i++) {
            assert_ok(stele_sessions_append(once, &key, stele_s(jsons[i % 2]), NULL, &err));
            if (i == 0) /* state alone, in between */
                assert_ok(stele_sessions_append(once, &key, stele_s(alone), NULL, &err));
            else
                assert_ok(stele_sessions_flush(once, NULL, SOON_MS, &err));
        }
        assert_ok(stele_sessions_get(once, &key, NULL, &session, &err));
        assert_string_equal(EVENT_IDS(session), "e-1 e-2");
        assert_string_equal(state_of(session, "k"), "2");
        assert_string_equal(state_of(session, "app:k"), "2");
        assert_string_equal(state_of(session, "alone"), "1");
        close_store(once);
    }
}

static void test_strict_mode(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.async_persist = false;
    options.strict = true;
    stele_sessions *strict = open_store(&options);
    stele_session_key key = key_of("s");
    const char *json = "{\"id\": \"e-1\", \"stateDelta\": {\"own\": \"MQ==\", \"app:b\": \"Mg==\","
                       " \"user:c\": null, \"temp:d\": \"NA==\"}, \"choices\": [{\"message\":"
                       " {\"content\": \"x\"}}]}";
    STELE_AUTO(stele_session) session = NULL;
    assert_status(stele_sessions_append(strict, &key, stele_s(json), NULL, &err),
                  STELE_E_NOT_FOUND);
    assert_int_equal(number("SELECT count(*) FROM {app_states}"), 0);
    assert_int_equal(number("SELECT count(*) FROM {user_states}"), 0);
    create_session("s");
    stele_sessions_stats before;
    stele_sessions_get_stats(strict, &before);
    assert_ok(stele_sessions_append(strict, &key, stele_s(json), NULL, &err));
    stele_sessions_stats after;
    stele_sessions_get_stats(strict, &after);
    assert_int_equal(after.round_trips - before.round_trips, 1);
    assert_ok(stele_sessions_get(strict, &key, NULL, &session, &err));
    assert_string_equal(state_of(session, "own"), "1");
    assert_string_equal(state_of(session, "app:b"), "2");
    assert_string_equal(state_of(session, "user:c"), "(null)");
    assert_string_equal(state_of(session, "temp:d"), "(none)");
    assert_string_equal(answer("SELECT state -> 'state' FROM {session_states}"),
                        "{\"own\": \"MQ==\"}");
    assert_string_equal(answer("SELECT value FROM {app_states} WHERE key = 'b'"), "2");
    assert_string_equal(answer("SELECT event -> 'stateDelta' FROM {session_events}"),
                        "{\"own\": \"MQ==\", \"app:b\": \"Mg==\", \"user:c\": null}");
    close_store(strict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_sync_mode),
        STORED(test_state_delta),
        STORED(test_escapes_in_a_delta),
        STORED(test_expired_session),
        STORED(test_partial_event),
        STORED(test_what_is_stored),
        STORED(test_skip_insert_when_response_missing),
        STORED(test_session_not_found),
        STORED(test_what_is_no_event),
        STORED(test_built_event),
        STORED(test_ttl_exact_and_lazy),
        STORED(test_lazy_ttl_keeps_updates_hot),
        STORED(test_ttl_without_end),
        STORED(test_idempotent_events),
        STORED(test_idempotent_events_without_the_index),
        STORED(test_a_duplicate_changes_no_state),
        STORED(test_strict_mode),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
