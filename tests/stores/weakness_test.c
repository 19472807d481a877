/*
 * What goes wrong in the peer, and must not here. Those of its weaknesses that have a test elsewhere:
 * full reads, N+1 tracks (get), races of creators and deadlocks (crowd), loss and closing (async_append),
 * doubles (append), tombstones (delete), any number that expires (cleanup), NUL and poison (bad_input),
 * partial updates (state).
 */
#include <libpq-fe.h>
#include <pthread.h>

#include "store_lab.h"

static stele_sessions *open_with_ttl(int64_t ttl_ms)
{
    stele_sessions_options options = world_options();
    options.session_ttl_ms = ttl_ms;
    options.async_persist = false;
    return open_store(&options);
}

static void append_to(stele_sessions *s, const char *session_id, const char *event_id)
{
    stele_session_key key = key_of(session_id);
    assert_ok(
        stele_sessions_append(s, &key, stele_s(event_json(event_id, "user", "x")), NULL, &err));
}

/* Columns hold UTC whatever zone the process and the server are in: nothing expires hours too soon or
 * too late, and summaries are neither older nor newer than they are. */
static void test_zones(void **state)
{
    (void)state;
    stele_sessions_cleanup_report report;
    stele_session_key key = key_of("s");
    peer("ALTER ROLE CURRENT_USER IN DATABASE %s SET TimeZone = 'Pacific/Auckland'",
         answer("SELECT current_database()"));
    stele_sessions *s = open_with_ttl(30 * 60 * 1000);
    assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
    append_to(s, "s", "e-1");
    assert_string_equal(answer("SELECT bool_and(abs(extract(epoch FROM at - (now() AT TIME ZONE"
                               " 'UTC'))) < 60) FROM (SELECT created_at AS at FROM {session_states}"
                               " UNION ALL SELECT updated_at FROM {session_states} UNION ALL SELECT"
                               " created_at FROM {session_events} UNION ALL SELECT expires_at -"
                               " interval '30 minutes' FROM {session_states}) t"),
                        "t");
    assert_ok(stele_sessions_cleanup(s, 10000, &report, &err));
    assert_int_equal(report.expired + report.repaired, 0);
    assert_status(stele_sessions_create(s, &key, NULL, 0, NULL, &err), STELE_E_UNIQUE);
    STELE_AUTO(stele_session) session = NULL;
    assert_ok(stele_sessions_get(s, &key, NULL, &session, &err));
    assert_int_equal(session->event_count, 1);
    close_store(s);
    peer("ALTER ROLE CURRENT_USER IN DATABASE %s RESET TimeZone",
         answer("SELECT current_database()"));
}

/* The control: the same beside a clock that is shown on the wall, as the peer stores it. */
static void test_wall_clocks_lose_events(void **state)
{
    (void)state;
    peer(
        "CREATE TEMP TABLE e AS SELECT now() AT TIME ZONE 'America/Los_Angeles' AS updated_at;"
        " DO $$ BEGIN ASSERT (SELECT count(*) FROM e WHERE updated_at <= (now() AT TIME ZONE 'UTC')"
        " - interval '30 minutes') = 1; END $$");
}

/* A session that only its state keeps alive keeps its events. */
static void test_events_live_as_long_as_their_session(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session_value values[] = {value_of("a", "1")};
    stele_sessions *s = open_with_ttl(60 * 60 * 1000);
    assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
    append_to(s, "s", "e-1");
    peer("UPDATE {session_events} SET created_at = created_at - interval '50 minutes', updated_at ="
         " updated_at - interval '2 hours'");
    assert_ok(stele_sessions_update_state(s, &key, values, 1, NULL, 0, &err));
    assert_ok(stele_sessions_cleanup(s, 10000, NULL, &err));
    assert_int_equal(number("SELECT count(*) FROM {session_events} WHERE deleted_at IS NULL"), 1);
    /* The control: the peer's way to find old events takes it. */
    assert_int_equal(number("SELECT count(*) FROM (SELECT FROM {session_events} WHERE deleted_at IS"
                            " NULL GROUP BY app_name, user_id, session_id HAVING max(updated_at) <"
                            " (now() AT TIME ZONE 'UTC') - interval '1 hour') t"),
                     1);
    close_store(s);
}

/* Whatever the TTL was and is: an expired id can be created, and shows nothing of before. */
static void test_changing_the_ttl(void **state)
{
    (void)state;
    const int64_t ttls[] = {0, 1000, 24 * 60 * 60 * 1000};
    stele_session_key key = key_of("s");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(clean_store(NULL), 0);
        stele_sessions *before = open_with_ttl(60 * 1000);
        assert_ok(stele_sessions_create(before, &key, NULL, 0, NULL, &err));
        append_to(before, "s", "old");
        close_store(before);
        peer("UPDATE {session_states} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 "
             "ms'");
        /* The control: what is left when only events older than the TTL are cleared, as the peer does. */
        if (ttls[i] > 1000)
            assert_int_equal(
                number("SELECT count(*) FROM {session_events} WHERE updated_at > (now()"
                       " AT TIME ZONE 'UTC') - interval '1 day'"),
                1);
        stele_sessions *after = open_with_ttl(ttls[i]);
        STELE_AUTO(stele_session) session = NULL;
        assert_ok(stele_sessions_create(after, &key, NULL, 0, NULL, &err));
        append_to(after, "s", "new");
        assert_ok(stele_sessions_get(after, &key, NULL, &session, &err));
        assert_string_equal(EVENT_IDS(session), "new");
        close_store(after);
    }
}

/* Events at one and the same time, and one with no time at all, are there and in order. */
static void test_odd_times(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_opt_ts same = {true, 1772755211250000};
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    create_session("s");
    for (int i = 0; i < 5; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%d", i);
        assert_ok(stele_sessions_append_track(store, &key, text_of("t"), text_of(payload), same,
                                              NULL, &err));
    }
    same.v = -62135596800000000; /* year 1, the zero time of the peer */
    assert_ok(
        stele_sessions_append_track(store, &key, text_of("z"), text_of("0"), same, NULL, &err));
    peer("INSERT INTO {session_events} (app_name, user_id, session_id, event, created_at)"
         " SELECT 'desk', 'u-1', 's', jsonb_build_object('id', 'e-' || i, 'choices',"
         " jsonb_build_array(jsonb_build_object('message', jsonb_build_object('role', 'user',"
         " 'content', 'x')))), TIMESTAMP '2026-03-06 00:00:00' FROM generate_series(1, 9) i");
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(session), "e-1 e-2 e-3 e-4 e-5 e-6 e-7 e-8 e-9");
    assert_int_equal(session->track_count, 2);
    for (size_t i = 1; i < 5; i++)
        assert_true(session->tracks[0].events[i - 1].row_id < session->tracks[0].events[i].row_id);
    assert_int_equal(session->tracks[1].event_count, 1);
    options.event_num = 3;
    STELE_AUTO(stele_session) three = get_session("s", &options);
    assert_string_equal(EVENT_IDS(three), "e-7 e-8 e-9");
}

/* The order is the server's, whatever the clocks of those who append say. */
static void test_clocks_of_clients(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_event event = STELE_EVENT_INIT;
    const int64_t hours[] = {5, -5, 0};
    const char *const ids[] = {"e-1", "e-2", "e-3"};
    create_session("s");
    for (int i = 0; i < 3; i++) {
        event.id = text_of(ids[i]);
        event.role = text_of("user");
        event.content = text_of("x");
        event.timestamp.has = true;
        event.timestamp.v = 1772755211250000 + hours[i] * 3600000000;
        assert_ok(stele_sessions_append_event(store, &key, &event, NULL, &err));
    }
    flush_store();
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(session), "e-1 e-2 e-3");
}

/* ---- starting -------------------------------------------------------------------------------- */

static char *fresh; /* a database without tables */

static void *open_once(void *arg)
{
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    stele_sessions *s = NULL;
    options.dsn = fresh;
    stele_status *status = arg;
    *status = stele_sessions_open(&options, &s, NULL);
    (void)stele_sessions_close(s, 5000, NULL, NULL);
    return NULL;
}

static void test_many_start_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        pthread_t threads[8];
        stele_status statuses[8];
        fresh = dbtest_create();
        for (int i = 0; i < 8; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, open_once, &statuses[i]), 0);
        for (int i = 0; i < 8; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(statuses[i], STELE_OK);
        }
        dbtest_drop(fresh);
    }
}

/* The control: IF NOT EXISTS alone, as the peer has it, fails for who comes second. */
static void test_starting_naively_fails(void **state)
{
    (void)state;
    static const char table[] = "CREATE TABLE IF NOT EXISTS started_naively (id int)";
    PGconn *first = PQconnectdb(dsn);
    PGconn *second = PQconnectdb(dsn);
    PQclear(PQexec(first, "BEGIN"));
    PQclear(PQexec(first, table));
    assert_int_equal(PQsendQuery(second, table), 1);
    assert_true(wait_until("SELECT count(*) = 1 FROM pg_stat_activity WHERE datname ="
                           " current_database() AND wait_event_type = 'Lock'"));
    PQclear(PQexec(first, "COMMIT"));
    PGresult *answered = PQgetResult(second);
    assert_string_equal(PQresultErrorField(answered, PG_DIAG_SQLSTATE), "23505");
    PQclear(answered);
    PQfinish(first);
    PQfinish(second);
    peer("DROP TABLE started_naively");
}

/* Names that are cut off are refused at once; mixed case and another search_path are fine. */
static void test_names(void **state)
{
    (void)state;
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    stele_sessions *s = NULL;
    stele_session_key key = key_of("s");
    fresh = dbtest_create();
    dbtest_exec(fresh, "CREATE SCHEMA other; CREATE SCHEMA tenant_of_many_letters;"
                       " DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() ||"
                       " ' SET search_path = other'; END $$");
    options.dsn = fresh;
    options.schema = "tenant_of_many_letters";
    options.prefix = "and_a_long_prefix";
    assert_status(stele_sessions_open(&options, &s, &err), STELE_E_NAME);
    options.schema = NULL;
    options.prefix = "MixedCase";
    for (int i = 0; i < 2; i++) { /* and again, with the tables there */
        assert_ok(stele_sessions_open(&options, &s, &err));
        assert_status(stele_sessions_create(s, &key, NULL, 0, NULL, &err),
                      i == 0 ? STELE_OK : STELE_E_UNIQUE);
        close_store(s);
    }
    char *count = dbtest_value(fresh, "SELECT count(*) FROM other.mixedcase_session_states");
    assert_string_equal(count, "1");
    free(count);
    dbtest_drop(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_zones),
        STORED(test_wall_clocks_lose_events),
        STORED(test_events_live_as_long_as_their_session),
        STORED(test_changing_the_ttl),
        STORED(test_odd_times),
        STORED(test_clocks_of_clients),
        STORED(test_many_start_at_once),
        STORED(test_starting_naively_fails),
        STORED(test_names),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
