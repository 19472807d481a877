/* What the cleanup takes: each table by its own time, a session with all that is its, in one pass. */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

#include "store_lab.h"

static const char *const tables[] = {"session_states",    "session_events", "session_track_events",
                                     "session_summaries", "app_states",     "user_states"};
enum { TABLES = sizeof tables / sizeof *tables };

/* A row in each table, of a session "s". */
static void fill(stele_sessions *s)
{
    stele_session_key key = key_of("s");
    stele_session_user user = user_of("u-1");
    stele_session_value values[] = {value_of("a", "1")};
    assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
    assert_ok(stele_sessions_append(s, &key, stele_s(event_json("e", "user", "x")), NULL, &err));
    assert_ok(stele_sessions_append_track(s, &key, text_of("tool"), text_of("7"), (stele_opt_ts){0},
                                          NULL, &err));
    assert_ok(stele_sessions_update_app_state(s, text_of("desk"), values, 1, &err));
    assert_ok(stele_sessions_update_user_state(s, &user, values, 1, &err));
    assert_ok(stele_sessions_flush(s, NULL, 10000, &err));
    peer("INSERT INTO {session_summaries} (app_name, user_id, session_id, summary, updated_at)"
         " VALUES ('desk', 'u-1', 's', '{\"summary\": \"x\"}', now() AT TIME ZONE 'UTC')");
}

/* Live rows of each table, in its order. */
static const char *live_rows(void)
{
    return answer(
        "SELECT concat_ws(' ', (SELECT count(*) FROM {session_states} WHERE deleted_at IS"
        " NULL), (SELECT count(*) FROM {session_events} WHERE deleted_at IS NULL), (SELECT"
        " count(*) FROM {session_track_events} WHERE deleted_at IS NULL), (SELECT count(*)"
        " FROM {session_summaries} WHERE deleted_at IS NULL), (SELECT count(*) FROM"
        " {app_states} WHERE deleted_at IS NULL), (SELECT count(*) FROM {user_states}"
        " WHERE deleted_at IS NULL))");
}

static int64_t rows_of_all(void)
{
    int64_t sum = 0;
    for (int i = 0; i < TABLES; i++)
        sum += number("SELECT count(*) FROM {%s}", tables[i]);
    return sum;
}

/* Lets the rows grow older, instead of waiting. */
static void pass(const char *time)
{
    for (int i = 0; i < TABLES; i++)
        peer("UPDATE {%s} SET expires_at = expires_at - interval '%s'", tables[i], time);
}

static const char *cleaned(stele_sessions *s)
{
    assert_ok(stele_sessions_cleanup(s, 0, NULL, &err));
    return live_rows();
}

static void test_each_table_has_its_time(void **state)
{
    (void)state;
    const int64_t minute = 60 * 1000;
    stele_sessions_options options = world_options();
    options.track_ttl_ms = stele_i64_v(30 * minute);
    options.session_ttl_ms = 60 * minute;
    options.user_ttl_ms = 120 * minute;
    stele_sessions *s = open_store(&options);
    fill(s);
    assert_string_equal(cleaned(s), "1 1 1 1 1 1");
    pass("45 minutes");
    assert_string_equal(cleaned(s), "1 1 0 1 1 1"); /* the track alone */
    pass("30 minutes");
    assert_string_equal(cleaned(s), "0 0 0 0 1 1"); /* the session, with its events and summaries */
    pass("60 minutes");
    assert_string_equal(cleaned(s), "0 0 0 0 1 0"); /* what has no time stays */
    assert_int_equal(rows_of_all(), world_is_soft() ? 6 : 1);
    close_store(s);
}

/* Tombstones of all tables go after the retention, those that a peer left beside hard deletes, too. */
static void test_tombstones_of_all_tables_are_purged(void **state)
{
    (void)state;
    stele_sessions_cleanup_report report;
    stele_sessions_options options = world_options();
    options.retention_ms = 3600 * 1000;
    stele_sessions *s = open_store(&options);
    fill(s);
    for (int i = 0; i < TABLES; i++)
        peer("UPDATE {%s} SET deleted_at = (now() AT TIME ZONE 'UTC') - interval '59 minutes'",
             tables[i]);
    assert_ok(stele_sessions_cleanup(s, 0, &report, &err));
    assert_int_equal(report.purged, 0);
    assert_int_equal(rows_of_all(), 6);
    for (int i = 0; i < TABLES; i++)
        peer("UPDATE {%s} SET deleted_at = deleted_at - interval '2 minutes'", tables[i]);
    assert_ok(stele_sessions_cleanup(s, 0, &report, &err));
    assert_int_equal(report.purged, 6);
    assert_int_equal(rows_of_all(), 0);
    close_store(s);
}

/* The control: a statement that names each part of each key, as the peer's, is not even sent. */
static void assert_too_many_parameters(int count)
{
    const char **values = calloc((size_t)count, sizeof *values);
    assert_non_null(values);
    PGconn *conn = PQconnectdb(dsn);
    PGresult *res = PQexecParams(conn, "SELECT 1", count, NULL, values, NULL, NULL, 0);
    assert_int_not_equal(PQresultStatus(res), PGRES_TUPLES_OK);
    assert_non_null(strstr(PQerrorMessage(conn), "number of parameters"));
    PQclear(res);
    PQfinish(conn);
    free(values);
}

static void test_one_pass_takes_any_number(void **state)
{
    (void)state;
    enum { COUNT = 22000 };
    stele_sessions_cleanup_report report;
    peer("INSERT INTO {session_states} (app_name, user_id, session_id, state, expires_at) SELECT"
         " 'desk', 'u-1', 's-' || i, '{}', '2020-01-01' FROM generate_series(1, %d) i",
         COUNT);
    peer("INSERT INTO {session_events} (app_name, user_id, session_id, event) SELECT 'desk',"
         " 'u-1', 's-' || i, '{}' FROM generate_series(1, %d) i",
         COUNT);
    peer("INSERT INTO {session_track_events} (app_name, user_id, session_id, track, event) SELECT"
         " 'desk', 'u-1', 's-' || i, 't', '{}' FROM generate_series(1, %d, 10) i",
         COUNT);
    peer("INSERT INTO {session_summaries} (app_name, user_id, session_id, summary) SELECT 'desk',"
         " 'u-1', 's-' || i, '{}' FROM generate_series(1, %d, 10) i",
         COUNT);
    create_session("kept");
    assert_ok(stele_sessions_cleanup(store, 0, &report, &err));
    assert_int_equal(report.expired, COUNT);
    assert_int_equal(report.followed, COUNT + 2 * COUNT / 10);
    assert_int_equal(report.repaired, 0);
    assert_string_equal(live_rows(), "1 0 0 0 0 0");
    assert_too_many_parameters(3 * COUNT);
}

/* ---- beside writers --------------------------------------------------------------------------- */

enum { WRITERS = 4, SESSIONS = 40 };

typedef struct writer {
    pthread_t thread;
    atomic_bool *stop;
    int number;
    int stored;
    int refused;
} writer;

static void *append_on(void *arg)
{
    writer *w = arg;
    for (int i = 0; i < 2 * SESSIONS || !atomic_load(w->stop); i++) {
        char session_id[16];
        stele_error e;
        stele_session_appended appended;
        snprintf(session_id, sizeof session_id, "s-%d", (i + 7 * w->number) % SESSIONS);
        stele_session_key key = key_of(session_id);
        stele_status st = stele_sessions_append(store, &key, stele_s(event_json("e", "user", "x")),
                                                &appended, &e);
        if (st == STELE_OK && appended.queued)
            st = stele_sessions_wait(store, &key, appended.receipt, 30000, &e);
        w->stored += st == STELE_OK;
        w->refused += st == STELE_E_NOT_FOUND;
        if (st != STELE_OK && st != STELE_E_NOT_FOUND)
            return (void *)(intptr_t)st;
    }
    return NULL;
}

static void join(writer *writers, int *stored, int *refused)
{
    for (int i = 0; i < WRITERS; i++) {
        void *st;
        assert_int_equal(pthread_join(writers[i].thread, &st), 0);
        assert_int_equal((intptr_t)st, STELE_OK);
        *stored += writers[i].stored;
        *refused += writers[i].refused;
    }
}

/* Sessions that expire under writers are revived or go, but never in part. */
static void test_nothing_is_left_beside_writers(void **state)
{
    (void)state;
    writer writers[WRITERS] = {{0}};
    atomic_bool stop = false;
    int stored = 0, refused = 0;
    for (int i = 0; i < SESSIONS; i++) {
        char id[16];
        snprintf(id, sizeof id, "s-%d", i);
        create_session(id);
    }
    for (int i = 0; i < WRITERS; i++) {
        writers[i].stop = &stop;
        writers[i].number = i;
        assert_int_equal(pthread_create(&writers[i].thread, NULL, append_on, &writers[i]), 0);
    }
    assert_true(wait_until("SELECT count(*) > 10 FROM {session_events}"));
    for (int i = 0; i < 5 * SESSIONS; i++) {
        peer("UPDATE {session_states} SET expires_at = '2020-01-01' WHERE session_id = 's-%d' AND"
             " deleted_at IS NULL",
             i % SESSIONS);
        assert_ok(stele_sessions_cleanup(store, 0, NULL, &err));
    }
    atomic_store(&stop, true);
    join(writers, &stored, &refused);
    assert_true(stored > 0);
    assert_true(refused > 0);
    assert_int_equal(number("SELECT count(*) FROM {session_events} e WHERE deleted_at IS NULL AND"
                            " NOT EXISTS (SELECT FROM {session_states} s WHERE s.session_id ="
                            " e.session_id AND s.deleted_at IS NULL)"),
                     0);
    assert_int_equal(number("SELECT count(*) FROM {session_events} e WHERE deleted_at IS NOT NULL"
                            " AND EXISTS (SELECT FROM {session_states} s WHERE s.session_id ="
                            " e.session_id AND s.deleted_at IS NULL)"),
                     0);
    if (world_is_soft())
        assert_int_equal(number("SELECT count(*) FROM {session_events}"), stored);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_each_table_has_its_time),
        STORED(test_tombstones_of_all_tables_are_purged),
        STORED(test_one_pass_takes_any_number),
        STORED(test_nothing_is_left_beside_writers),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
