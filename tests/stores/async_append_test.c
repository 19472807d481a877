/* Appends that return before they are stored. */
#define _GNU_SOURCE
#include <pthread.h>
#include <time.h>

#include "store_lab.h"

static stele_sessions *open_async(void (*on_error)(const stele_session_key *key,
                                                   const stele_error *err, void *user),
                                  void *user)
{
    stele_sessions_options options = world_options();
    options.async_persist = true;
    options.on_error = on_error;
    options.on_error_user = user;
    return open_store(&options);
}

static stele_status append(stele_sessions *s, const char *session_id, const char *json,
                           stele_session_appended *ret)
{
    stele_session_key key = key_of(session_id);
    return stele_sessions_append(s, &key, stele_s(json), ret, &err);
}

static void test_success(void **state)
{
    (void)state;
    stele_session_appended appended = {0};
    stele_session_key key = key_of("s");
    stele_sessions *s = open_async(NULL, NULL);
    create_session("s");
    assert_ok(append(s, "s", event_json("e-1", "user", "hello"), &appended));
    assert_true(appended.queued && appended.receipt > 0);
    assert_ok(stele_sessions_wait(s, &key, appended.receipt, 10000, &err));
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 1);
    close_store(s);
}

static void test_reads_see_what_was_queued(void **state)
{
    (void)state;
    char id[16];
    stele_session_key key = key_of("s");
    stele_sessions *s = open_async(NULL, NULL);
    create_session("s");
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "e-%d", i);
        assert_ok(append(s, "s", event_json(id, "user", "hello"), NULL));
        if (i % 10 != 9)
            continue;
        STELE_AUTO(stele_session) session = NULL;
        assert_ok(stele_sessions_get(s, &key, NULL, &session, &err));
        assert_int_equal(session->event_count, i + 1);
        assert_string_equal(ids_of(session->events + i, 1), id);
    }
    stele_session_user user = user_of("u-1");
    assert_ok(append(s, "s", event_json("last", "user", "hello"), NULL));
    STELE_AUTO(stele_session_list) list = NULL;
    assert_ok(stele_sessions_list(s, &user, NULL, &list, &err));
    assert_int_equal(list->items[0].session.event_count, 201);
    assert_string_equal(answer("SELECT count(DISTINCT created_at) FROM {session_events}"), "201");
    close_store(s);
}

/* The peer's queue may carry an event over into a session that was created anew. */
static void test_nothing_enters_a_session_created_anew(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_sessions *s = open_async(NULL, NULL);
    for (int i = 0; i < 20; i++) {
        assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
        for (int j = 0; j < 10; j++)
            assert_ok(append(s, "s", event_json("e", "user", "hello"), NULL));
        assert_ok(stele_sessions_delete(s, &key, &err));
        assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
        STELE_AUTO(stele_session) session = NULL;
        assert_ok(stele_sessions_get(s, &key, NULL, &session, &err));
        assert_int_equal(session->event_count, 0);
        assert_ok(stele_sessions_delete(s, &key, &err));
    }
    close_store(s);
}

/* A store that waits while its only connection is held. */
static stele_sessions *open_with_one(void)
{
    stele_sessions_options options = world_options();
    options.async_persist = true;
    options.pool.max_connections = 1;
    return open_store(&options);
}

static void begin_anew(stele_sessions *elsewhere, bool expired)
{
    stele_session_key key = key_of("s");
    if (expired)
        peer("UPDATE {session_states} SET expires_at = '2020-01-01'");
    else
        assert_ok(stele_sessions_delete(elsewhere, &key, &err));
    assert_ok(stele_sessions_create(elsewhere, &key, NULL, 0, NULL, &err));
}

/* What `learn` tells the store of the session is all that it knows when it queues. */
static void queue_across(stele_status (*learn)(stele_sessions *s, const stele_session_key *key),
                         bool expired, stele_status wanted)
{
    stele_conn *held = NULL;
    stele_session_appended appended = {0};
    stele_session_key key = key_of("s");
    assert_int_equal(clean_store(NULL), 0);
    stele_sessions *here = open_with_one();
    create_session("s");
    create_session("other");
    assert_ok(learn(here, &key));
    assert_ok(stele_db_acquire(stele_sessions_db(here), &held, &err));
    assert_ok(append(here, "s", event_json("late", "user", "x"), &appended));
    assert_ok(append(here, "other", event_json("o", "user", "x"), NULL));
    begin_anew(store, expired);
    stele_conn_release(held);
    assert_status(stele_sessions_wait(here, &key, appended.receipt, 20000, &err), wanted);
    if (wanted != STELE_OK)
        assert_said("session not found");
    assert_ok(stele_sessions_flush(here, NULL, 20000, &err));
    STELE_AUTO(stele_session) anew = get_session("s", NULL);
    STELE_AUTO(stele_session) other = get_session("other", NULL);
    assert_string_equal(EVENT_IDS(anew), wanted == STELE_OK ? "late" : "");
    assert_string_equal(EVENT_IDS(other), "o");
    /* That append alone. */
    assert_ok(append(here, "s", event_json("next", "user", "x"), NULL));
    assert_ok(stele_sessions_flush(here, NULL, 20000, &err));
    STELE_AUTO(stele_session) then = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(then), wanted == STELE_OK ? "late next" : "next");
    close_store(here);
}

static stele_status by_get(stele_sessions *s, const stele_session_key *key)
{
    STELE_AUTO(stele_session) session = NULL;
    return stele_sessions_get(s, key, NULL, &session, &err);
}

static stele_status by_get_or_create(stele_sessions *s, const stele_session_key *key)
{
    STELE_AUTO(stele_session) session = NULL;
    return stele_sessions_get_or_create(s, key, NULL, 0, NULL, &session, NULL, &err);
}

static stele_status by_create(stele_sessions *s, const stele_session_key *key)
{
    stele_status st = stele_sessions_delete(store, key, &err);
    return st == STELE_OK ? stele_sessions_create(s, key, NULL, 0, NULL, &err) : st;
}

static stele_status by_append(stele_sessions *s, const stele_session_key *key)
{
    stele_status st = append(s, "s", event_json("first", "user", "x"), NULL);
    return st == STELE_OK ? stele_sessions_flush(s, key, 10000, &err) : st;
}

static stele_status by_nothing(stele_sessions *s, const stele_session_key *key)
{
    (void)s;
    (void)key;
    return STELE_OK;
}

/* Another store deletes the session and creates it anew while an append waits here. */
static void test_nothing_enters_a_session_created_anew_elsewhere(void **state)
{
    (void)state;
    queue_across(by_get, false, STELE_E_NOT_FOUND);
    queue_across(by_get_or_create, false, STELE_E_NOT_FOUND);
    queue_across(by_create, false, STELE_E_NOT_FOUND);
    queue_across(by_append, false, STELE_E_NOT_FOUND);
    queue_across(by_get, true, STELE_E_NOT_FOUND);
    queue_across(by_nothing, false, STELE_OK); /* the control: it cannot know better */
}

/* More sessions than are remembered: none is refused. */
static void test_sessions_that_were_forgotten(void **state)
{
    (void)state;
    stele_sessions *s = open_async(NULL, NULL);
    peer("INSERT INTO {session_states} (app_name, user_id, session_id, state)"
         " SELECT 'desk', 'u-1', 'f-' || i, '{\"state\": {}}' FROM generate_series(0, 4199) i");
    for (int i = 0; i < 9000; i++) {
        char id[16];
        snprintf(id, sizeof id, "f-%d", i % 4200);
        assert_ok(append(s, id, event_json("e", "user", "x"), NULL));
    }
    assert_ok(stele_sessions_flush(s, NULL, 60000, &err));
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 9000);
    close_store(s);
}

static pthread_mutex_t telling =
    PTHREAD_MUTEX_INITIALIZER; /* threads of the store, maybe at once */

typedef struct told {
    int count;
    char session_id[32];
    stele_status status;
} told;

static void note(const stele_session_key *key, const stele_error *why, void *user)
{
    told *t = user;
    (void)pthread_mutex_lock(&telling);
    t->count++;
    snprintf(t->session_id, sizeof t->session_id, "%.*s", (int)key->session_id.len,
             key->session_id.data);
    t->status = why->status;
    (void)pthread_mutex_unlock(&telling);
}

/* What cannot be stored fails alone, and somebody is told. */
static void test_failures_are_told(void **state)
{
    (void)state;
    told t = {0};
    stele_sessions *s = open_async(note, &t);
    stele_session_key a = key_of("a");
    stele_session_key gone = key_of("gone");
    stele_session_appended bad = {0};
    create_session("a");
    create_session("malformed");
    peer("UPDATE {session_states} SET state = '[]' WHERE session_id = 'malformed'");
    for (int i = 0; i < 50; i++) {
        assert_ok(append(s, "a", event_json("e", "user", "fine"), NULL));
        if (i == 20)
            assert_ok(append(s, "a", event_json("e", "user", "a\\u0000b"), &bad));
        if (i == 30)
            assert_ok(append(s, "gone", event_json("e", "user", "fine"), NULL));
        if (i == 40)
            assert_ok(append(s, "malformed", event_json("e", "user", "fine"), NULL));
    }
    assert_status(stele_sessions_wait(s, &a, bad.receipt, 10000, &err), STELE_E_VALUE);
    assert_string_equal(err.sqlstate, "22P05");
    assert_ok(stele_sessions_flush(s, &a, 10000, &err)); /* it was told */
    assert_status(stele_sessions_flush(s, &gone, 10000, &err), STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "session not found");
    assert_status(stele_sessions_flush(s, NULL, 10000, &err), STELE_E_DECODE);
    assert_ok(stele_sessions_flush(s, NULL, 10000, &err));
    assert_int_equal(t.count, 3);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 50);
    close_store(s);
}

/* More failures than are kept: nobody is told that one of them is stored. */
static void test_failures_that_were_forgotten(void **state)
{
    (void)state;
    stele_session_key gone = key_of("gone");
    stele_session_key fine = key_of("fine");
    stele_session_appended first = {0};
    stele_session_appended later = {0};
    stele_sessions *s = open_async(NULL, NULL);
    const char *json = event_json("e", "user", "x");
    create_session("fine");
    assert_ok(append(s, "gone", json, &first));
    for (int i = 0; i < 10100; i++)
        assert_ok(append(s, "gone", json, &later));
    assert_status(stele_sessions_wait(s, &gone, later.receipt, 60000, &err), STELE_E_NOT_FOUND);
    assert_status(stele_sessions_wait(s, &gone, first.receipt, 10000, &err), STELE_E_UNKNOWN);
    assert_ok(append(s, "fine", json, &later));
    assert_ok(stele_sessions_wait(s, &fine, later.receipt, 10000, &err)); /* it came afterwards */
    assert_status(stele_sessions_flush(s, &fine, 10000, &err), STELE_E_UNKNOWN);
    assert_status(stele_sessions_flush(s, NULL, 10000, &err), STELE_E_NOT_FOUND);
    assert_ok(stele_sessions_flush(s, &fine, 10000, &err));
    uint64_t lost = 0;
    assert_ok(stele_sessions_close(s, 10000, &lost, &err));
    assert_in_range(lost, 90, 110); /* those that no flush has told */
}

/* State of many events in one go: the last value of a key counts, none is lost. */
static void test_states_are_merged_in_order(void **state)
{
    (void)state;
    char json[256];
    stele_session_key key = key_of("s");
    stele_sessions *s = open_async(NULL, NULL);
    create_session("s");
    for (int i = 0; i < 100; i++) {
        snprintf(json, sizeof json,
                 "{\"id\": \"e\", \"stateDelta\": {\"last\": \"%s\", \"k%d\": \"\" }%s}",
                 i == 99 ? "WUVT" : "bm8=", i,
                 i % 3 != 0 ? ", \"choices\": [{\"message\": {\"role\": \"user\", \"content\":"
                              " \"x\"}}]"
                            : "");
        assert_ok(append(s, "s", json, NULL));
    }
    STELE_AUTO(stele_session) session = NULL;
    assert_ok(stele_sessions_get(s, &key, NULL, &session, &err));
    assert_string_equal(state_of(session, "last"), "YES");
    assert_int_equal(session->state_count, 101);
    assert_int_equal(session->event_count, 66);
    close_store(s);
}

static void test_idempotent(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.async_persist = true;
    options.idempotent_events = true;
    stele_sessions *s = open_store(&options);
    create_session("s");
    for (int i = 0; i < 30; i++)
        assert_ok(append(s, "s", event_json(i % 2 == 0 ? "even" : "odd", "user", "x"), NULL));
    assert_ok(stele_sessions_flush(s, NULL, 10000, &err));
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 2);
    stele_sessions_stats stats;
    stele_sessions_get_stats(s, &stats);
    assert_int_equal(stats.appended, 2);
    assert_int_equal(stats.duplicates, 28);
    close_store(s);
}

/* What has no id cannot be there already: neither kind of store takes two of them for one. */
static void test_events_without_an_id(void **state)
{
    (void)state;
    static const char *const ids[] = {"", "\"id\": \"\", ", "\"id\": null, ", "\"id\": 7, "};
    char json[256];
    create_session("s");
    for (int queued = 0; queued < 2; queued++) {
        stele_sessions_options options = world_options();
        options.async_persist = queued != 0;
        options.idempotent_events = true;
        stele_sessions *s = open_store(&options);
        peer("TRUNCATE {session_events}");
        for (size_t i = 0; i < 8; i++) {
            snprintf(json, sizeof json, "{%s\"choices\": [{\"message\": {\"content\": \"%zu\"}}]}",
                     ids[i % 4], i);
            assert_ok(append(s, "s", json, NULL));
        }
        assert_ok(stele_sessions_flush(s, NULL, 10000, &err));
        assert_int_equal(number("SELECT count(*) FROM {session_events}"), 8);
        close_store(s);
    }
}

/* What goes to the application's state, too, comes behind what was queued before. */
static void test_strict_ones_are_stored_at_once(void **state)
{
    (void)state;
    stele_session_appended appended = {0};
    stele_sessions_options options = world_options();
    options.async_persist = true;
    options.strict = true;
    stele_sessions *s = open_store(&options);
    create_session("s");
    assert_ok(append(s, "s", event_json("e-1", "user", "x"), &appended));
    assert_true(appended.queued);
    assert_ok(append(s, "s",
                     "{\"id\": \"e-2\", \"stateDelta\": {\"app:k\": \"dg==\"}, \"choices\":"
                     " [{\"message\": {\"content\": \"x\"}}]}",
                     &appended));
    assert_false(appended.queued);
    assert_true(appended.row_id > 0);
    assert_string_equal(answer("SELECT string_agg(event ->> 'id', ' ' ORDER BY created_at)"
                               " FROM {session_events}"),
                        "e-1 e-2");
    close_store(s);
}

typedef struct appender {
    stele_sessions *store;
    int taken;
    stele_status ended;
} appender;

static void *append_until_closed(void *arg)
{
    appender *a = arg;
    stele_session_key key = key_of("s");
    const char *json = event_json("e", "user", "hello");
    for (;;) {
        stele_error e;
        a->ended = stele_sessions_append(a->store, &key, stele_s(json), NULL, &e);
        if (a->ended != STELE_OK)
            return NULL;
        a->taken++;
    }
}

/* Closing stores what was taken, and takes nothing more. */
static void test_closing(void **state)
{
    (void)state;
    pthread_t threads[4];
    appender appenders[4] = {{0}};
    uint64_t lost = 1;
    int64_t taken = 0;
    stele_sessions *s = open_async(NULL, NULL);
    create_session("s");
    for (int i = 0; i < 4; i++) {
        appenders[i].store = s;
        assert_int_equal(pthread_create(&threads[i], NULL, append_until_closed, &appenders[i]), 0);
    }
    assert_true(wait_until("SELECT count(*) > 200 FROM {session_events}"));
    assert_ok(stele_sessions_shutdown(s, 60000, &lost, &err));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(appenders[i].ended, STELE_E_CLOSED);
        taken += appenders[i].taken;
    }
    assert_int_equal(lost, 0);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), taken);
    assert_ok(stele_sessions_close(s, 0, NULL, &err));
}

/* What cannot be stored in time is counted, and told one by one. */
static void test_closing_without_time(void **state)
{
    (void)state;
    told t = {0};
    uint64_t lost = 0;
    stele_sessions *s = open_async(note, &t);
    create_session("s");
    peer("DROP TABLE {session_states} CASCADE");
    for (int i = 0; i < 20; i++)
        assert_ok(append(s, "s", event_json("e", "user", "x"), NULL));
    (void)stele_sessions_close(s, 2000, &lost, &err);
    assert_int_equal(lost, 20);
    assert_int_equal(t.count, 20);
    stele_sessions_options options = world_options();
    close_store(open_store(&options)); /* makes the table again */
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Holds a table against writers until it is let go. */
static stele_conn *hold_table(stele_db *db, const char *name)
{
    char sql[128];
    stele_conn *conn = NULL;
    assert_ok(stele_db_acquire(db, &conn, &err));
    assert_ok(stele_tx_begin(conn, NULL, &err));
    snprintf(sql, sizeof sql, "LOCK TABLE %s IN EXCLUSIVE MODE", name);
    assert_ok(stele_conn_exec(conn, sql, NULL, 0, NULL, &err));
    return conn;
}

/* A deadline that comes first: what is not known to be durable is counted and told, and nothing else. */
static void test_closing_by_a_deadline(void **state)
{
    (void)state;
    told t = {0};
    uint64_t lost = 0;
    stele_session_key key = key_of("s");
    stele_sessions_options options = world_options();
    options.async_persist = true;
    options.call_timeout_ms = 3 * SOON_MS; /* how long it would wait of itself */
    options.on_error = note;
    options.on_error_user = &t;
    stele_sessions *s = open_store(&options);
    create_session("s");
    for (int i = 0; i < 7; i++)
        assert_ok(append(s, "s", event_json("stored", "user", "x"), NULL));
    assert_ok(stele_sessions_flush(s, &key, 20000, &err));
    stele_conn *held = hold_table(stele_sessions_db(store), answer("SELECT '{session_states}'"));
    for (int i = 0; i < 50; i++)
        assert_ok(append(s, "s", event_json("queued", "user", "x"), NULL));
    assert_status(stele_sessions_flush(s, &key, 50, &err), STELE_E_TIMEOUT);
    int64_t begun = now_ms();
    assert_status(stele_sessions_shutdown(s, 200, &lost, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - begun < SOON_MS);
    assert_int_equal(lost, 50);
    assert_int_equal(t.count, 50);
    assert_string_equal(t.session_id, "s");
    assert_status(append(s, "s", event_json("late", "user", "x"), NULL), STELE_E_CLOSED);
    assert_status(stele_sessions_flush(s, &key, 0, &err), STELE_E_CLOSED);
    assert_ok(stele_tx_rollback(held, &err));
    stele_conn_release(held);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 7);
    (void)stele_sessions_close(s, 0, NULL, &err);
}

static bool is_full(const stele_sessions *s)
{
    stele_sessions_stats stats;
    stele_sessions_get_stats(s, &stats);
    return stats.queued > 10000;
}

/* A lane has its bounds: who appends to a full one waits, and is told when the store is closed. */
static void test_a_full_lane(void **state)
{
    (void)state;
    pthread_t thread;
    uint64_t lost = 0;
    stele_sessions *s = open_async(NULL, NULL);
    appender a = {.store = s};
    create_session("s");
    stele_conn *held = hold_table(stele_sessions_db(store), answer("SELECT '{session_states}'"));
    assert_int_equal(pthread_create(&thread, NULL, append_until_closed, &a), 0);
    int64_t begun = now_ms();
    while (!is_full(s)) {
        assert_true(now_ms() - begun < SOON_MS);
        assert_int_equal(number("SELECT 1"), 1); /* a pause: who appends needs the lock, too */
    }
    begun = now_ms();
    assert_status(stele_sessions_shutdown(s, 100, &lost, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - begun < SOON_MS); /* the statement itself would wait for longer */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(a.ended, STELE_E_CLOSED);
    assert_in_range(a.taken, 10000, 10500); /* with those of the statement under way */
    assert_int_equal(lost, a.taken);
    assert_ok(stele_tx_rollback(held, &err));
    stele_conn_release(held);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 0);
    (void)stele_sessions_close(s, 0, NULL, &err);
}

/* A statement that ends by its deadline may have been stored: whoever asks is told just that. */
static void test_unknown_outcomes_are_told(void **state)
{
    (void)state;
    told t = {0};
    stele_session_appended appended = {0};
    stele_session_key key = key_of("s");
    stele_sessions_options options = world_options();
    options.async_persist = true;
    options.call_timeout_ms = 1000;
    options.on_error = note;
    options.on_error_user = &t;
    stele_sessions *s = open_store(&options);
    create_session("s");
    stele_conn *held = hold_table(stele_sessions_db(store), answer("SELECT '{session_states}'"));
    assert_ok(append(s, "s", event_json("e", "user", "x"), &appended));
    assert_status(stele_sessions_wait(s, &key, appended.receipt, 60000, &err), STELE_E_UNKNOWN);
    assert_true(err.outcome_unknown);
    assert_int_equal(t.status, STELE_E_UNKNOWN);
    assert_ok(stele_tx_rollback(held, &err));
    stele_conn_release(held);
    close_store(s);
}

/* Nor is the time for which no connection came taken for that of the caller. */
static void test_no_connection_is_told(void **state)
{
    (void)state;
    uint64_t lost = 0;
    stele_session_appended appended = {0};
    stele_session_key key = key_of("s");
    stele_conn *held = NULL;
    told t = {0};
    stele_sessions_options options = world_options();
    options.async_persist = true;
    options.pool.max_connections = 1;
    options.on_error = note;
    options.on_error_user = &t;
    stele_sessions *s = open_store(&options);
    create_session("s");
    assert_ok(stele_db_acquire(stele_sessions_db(s), &held, &err));
    assert_ok(append(s, "s", event_json("e", "user", "x"), &appended));
    assert_status(stele_sessions_wait(s, &key, appended.receipt, 50, &err), STELE_E_TIMEOUT);
    assert_status(stele_sessions_wait(s, &key, appended.receipt, 50, &err), STELE_E_TIMEOUT);
    assert_status(stele_sessions_shutdown(s, 100, &lost, &err), STELE_E_TIMEOUT);
    assert_int_equal(lost, 1);
    assert_int_equal(t.status, STELE_E_CONNECT);
    stele_conn_release(held);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 0);
    (void)stele_sessions_close(s, 0, NULL, &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_success),
        STORED(test_reads_see_what_was_queued),
        STORED(test_nothing_enters_a_session_created_anew),
        STORED(test_nothing_enters_a_session_created_anew_elsewhere),
        STORED(test_sessions_that_were_forgotten),
        STORED(test_failures_are_told),
        STORED(test_failures_that_were_forgotten),
        STORED(test_states_are_merged_in_order),
        STORED(test_idempotent),
        STORED(test_events_without_an_id),
        STORED(test_strict_ones_are_stored_at_once),
        STORED(test_closing),
        STORED(test_closing_without_time),
        STORED(test_closing_by_a_deadline),
        STORED(test_a_full_lane),
        STORED(test_unknown_outcomes_are_told),
        STORED(test_no_connection_is_told),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
