/*
 * What follows an expired row: all of it, nothing else, also while others write. And the tables of
 * tenants.
 */
#include <pthread.h>

#include "sweep_util.h"

static void rows_follow_by_every_key(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    peer("INSERT INTO visits (room, guest, ends_at) SELECT CASE WHEN i % 2 = 0 THEN 'north' ELSE"
         " 'south' END::room, 'g' || (i / 2), CASE WHEN i <= 1500 THEN now() - interval '1 s' * i"
         " END FROM generate_series(0, 1999) AS i;"
         "INSERT INTO notes (room, guest, text) SELECT room, guest, n FROM visits,"
         " generate_series(1, 3) AS n;"
         "INSERT INTO photos (visit) SELECT id FROM visits, generate_series(1, 2);"
         /* a note of a guest who is not there, and a tombstone: neither follows anyone */
         "INSERT INTO notes (room, guest) VALUES ('north', 'nobody');"
         "INSERT INTO notes (room, guest, deleted_at) VALUES ('north', 'g1', '2026-01-01Z')");
    stele_sweep_report report = sweep_once(db, &options);
    assert_int_equal(report.expired, 1501);
    assert_int_equal(report.followed, 1501 * 5);
    assert_int_equal(report.batches, 4); /* of 500 keys */
    assert_int_equal(number("SELECT count(*) FROM notes WHERE deleted_at IS NULL"), 499 * 3 + 1);
    assert_int_equal(number("SELECT count(*) FROM photos"), 499 * 2);
    assert_int_equal(number("SELECT count(*) FROM notes WHERE deleted_at = '2026-01-01Z'"), 1);
    assert_int_equal(number("SELECT count(*) FROM notes AS n JOIN visits AS v USING (room, guest)"
                            " WHERE n.deleted_at IS NULL AND v.deleted_at IS NOT NULL"),
                     0);
}

static void a_time_of_their_own_holds_too(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    peer("INSERT INTO visits (room, guest, ends_at) VALUES ('north', 'a', now() + interval '1 h');"
         "INSERT INTO notes (room, guest, ends_at) VALUES ('north', 'a', now() - interval '1 s'),"
         " ('north', 'a', now() + interval '1 d'), ('north', 'a', NULL)");
    assert_int_equal(sweep_once(db, &options).expired, 1);
    assert_int_equal(number("SELECT count(*) FROM notes WHERE deleted_at IS NULL"), 2);
}

/* With quotes, commas, braces, backslashes and the word NULL: keys travel as arrays. */
static void keys_may_hold_anything(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    peer("INSERT INTO visits (room, guest, ends_at) SELECT 'north', g, now() - interval '1 s' FROM"
         " unnest(ARRAY['a,b', '{}', '\"', E'\\\\', 'NULL', '', ' ', 'ü', E'\\n']) AS g;"
         "INSERT INTO notes (room, guest) SELECT room, guest FROM visits;"
         "INSERT INTO notes (room, guest) VALUES ('south', 'a,b'), ('north', 'null')");
    assert_int_equal(sweep_once(db, &options).followed, 9);
    assert_int_equal(number("SELECT count(*) FROM notes WHERE deleted_at IS NULL"), 2);
}

/* Events have no time to live of their own: the session's decides. */
static void a_session_that_is_kept_alive_keeps_its_events(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    peer(
        "INSERT INTO session_states (app_name, user_id, session_id, expires_at) SELECT 'a', 'u', s,"
        " now() AT TIME ZONE 'UTC' + CASE s WHEN 'old' THEN interval '-1 s' ELSE '1 h' END"
        " FROM unnest(ARRAY['old', 'kept']) AS s;"
        "INSERT INTO session_events (app_name, user_id, session_id, event, created_at, updated_at)"
        " SELECT 'a', 'u', session_id, '{}', '2020-01-01', '2020-01-01' FROM session_states,"
        " generate_series(1, 10);"
        "INSERT INTO session_track_events (app_name, user_id, session_id, track, event) SELECT 'a',"
        " 'u', session_id, 't', '{}' FROM session_states;"
        "INSERT INTO session_summaries (app_name, user_id, session_id) SELECT 'a', 'u', session_id"
        " FROM session_states");
    stele_sweep_report report = sweep_once(db, &options);
    assert_int_equal(report.expired, 1);
    assert_int_equal(report.followed, 12);
    assert_int_equal(number("SELECT count(*) FROM session_events WHERE deleted_at IS NULL AND"
                            " session_id = 'kept'"),
                     10);
    assert_int_equal(number("SELECT count(*) FROM session_events WHERE deleted_at IS NULL"), 10);
    assert_int_equal(number("SELECT count(*) FROM session_track_events WHERE deleted_at IS NULL"),
                     1);
    assert_int_equal(number("SELECT count(*) FROM session_summaries WHERE deleted_at IS NULL"), 1);
}

/* ---- beside others ---- */

enum { SESSIONS = 400, WRITERS = 3 };

typedef struct writer {
    pthread_t thread;
    int number;
    uint64_t appended;
    uint64_t prolonged;
    bool failed;
} writer;

static bool stop;

static bool run(stele_conn *conn, const char *sql, const char *session, uint64_t *ret_count)
{
    stele_error why;
    stele_str param = stele_s(session);
    return stele_conn_exec(conn, sql, &param, 1, ret_count, &why) == STELE_OK;
}

/* As a store would: lock the session, which must live, then add an event; or keep it alive. */
static void append(stele_conn *conn, writer *w, int n)
{
    stele_error why;
    char session[16];
    uint64_t found = 0;
    (void)snprintf(session, sizeof session, "s%d", n);
    if (stele_tx_begin(conn, NULL, &why) != STELE_OK)
        return;
    bool prolongs = n % 7 == 0;
    bool fine = run(conn,
                    prolongs ? "UPDATE session_states SET expires_at = timezone('UTC', now()) +"
                               " interval '1 h' WHERE session_id = $1 AND deleted_at IS NULL"
                               " AND expires_at < timezone('UTC', now()) + interval '1 minute'"
                             : "SELECT FROM session_states WHERE session_id = $1 AND"
                               " deleted_at IS NULL FOR UPDATE",
                    session, &found);
    if (fine && found == 1)
        fine = run(conn,
                   "INSERT INTO session_events (app_name, user_id, session_id, event)"
                   " VALUES ('a', 'u', $1, '{}')",
                   session, NULL);
    if (!fine || stele_tx_commit(conn, &why) != STELE_OK) {
        w->failed = true;
        (void)!stele_tx_rollback(conn, &why);
    } else if (found == 1) {
        w->appended++;
        w->prolonged += prolongs;
    }
}

static void *write_on(void *user)
{
    writer *w = user;
    stele_conn *conn = NULL;
    stele_error why;
    if (stele_db_acquire(db, &conn, &why) != STELE_OK) {
        w->failed = true;
        return NULL;
    }
    for (int i = w->number; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i += WRITERS)
        append(conn, w, i % SESSIONS);
    stele_conn_release(conn);
    return NULL;
}

/* Sessions expire one after the other while events are added to all of them. */
static void appenders_leave_no_orphans(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    writer writers[WRITERS] = {0};
    options.batch_keys = 7;
    stop = false;
    peer("INSERT INTO session_states (app_name, user_id, session_id, expires_at) SELECT 'a', 'u',"
         " 's' || i, timezone('UTC', clock_timestamp()) + i * interval '4 ms'"
         " FROM generate_series(0, 399) AS i");
    stele_sweeper *sweeper = open_sweeper(db, &options);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
    }
    /* Those that are a multiple of seven may be kept alive. */
    uint64_t until = now_ms() + 60000;
    while (numbers_of(sweeper).expired < SESSIONS * 5 / 7 && now_ms() < until)
        assert_ok(stele_sweeper_run(sweeper, 60000, NULL, &err), &err);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    uint64_t appended = 0;
    uint64_t prolonged = 0;
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
        assert_false(writers[i].failed);
        appended += writers[i].appended;
        prolonged += writers[i].prolonged;
    }
    stele_sweep_stats stats = numbers_of(sweeper);
    print_message("# %llu expired, %llu events added, %llu of them followed, %llu renewals\n",
                  (unsigned long long)stats.expired, (unsigned long long)appended,
                  (unsigned long long)stats.followed, (unsigned long long)prolonged);
    assert_true(stats.expired >= SESSIONS * 5 / 7);
    assert_true(prolonged > 0 && stats.followed > 0);
    assert_int_equal(number("SELECT count(*) FROM session_events AS e WHERE deleted_at IS NULL AND"
                            " NOT EXISTS (SELECT FROM session_states AS s WHERE s.session_id ="
                            " e.session_id AND s.deleted_at IS NULL)"),
                     0);
    assert_int_equal(number("SELECT count(*) FROM session_events"), appended);
    /* and none of a session that lives was taken */
    assert_int_equal(number("SELECT count(*) FROM session_events AS e JOIN session_states AS s"
                            " USING (session_id) WHERE e.deleted_at IS NOT NULL AND"
                            " s.deleted_at IS NULL"),
                     0);
    assert_int_equal(number("SELECT count(*) FROM session_states WHERE deleted_at < expires_at"),
                     0);
    close_sweeper(sweeper);
}

/* ---- tenants ---- */

static void tenants_are_swept_under_their_names(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_sweep_report report = {0};
    stele_db *tenants[3];
    char sql[300];
    peer("CREATE SCHEMA far");
    for (int i = 0; i < 3; i++) {
        char prefix[16];
        (void)snprintf(prefix, sizeof prefix, "t%d_", i);
        stele_names names = {.schema = "far", .prefix = prefix};
        assert_ok(stele_db_derive(db, &names, &tenants[i], &err), &err);
        ensure_swept(tenants[i], &sessions_module);
        (void)snprintf(sql, sizeof sql,
                       "INSERT INTO far.t%d_app_states (app_name, key, expires_at) SELECT 'a', i,"
                       " '2026-01-01' FROM generate_series(1, %d) AS i",
                       i, 10 * (i + 1));
        peer(sql);
    }
    peer("INSERT INTO app_states (app_name, key, expires_at) VALUES ('a', 'k', '2026-01-01')");
    stele_sweeper *sweeper = open_sweeper(db, &options);
    for (int i = 0; i < 3; i++) {
        assert_ok(stele_sweeper_add(sweeper, tenants[i], &err), &err);
        assert_ok(stele_sweeper_add(sweeper, tenants[i], &err), &err); /* is there already */
    }
    assert_ok(stele_sweeper_remove(sweeper, tenants[1], &err), &err);
    assert_int_equal(stele_sweeper_remove(sweeper, tenants[1], &err), STELE_E_NOT_FOUND);
    for (int i = 0; i < 3; i++)
        stele_db_close(tenants[i]); /* the sweeper has handles of its own */
    /* tenants have no chores: those tables fail, and others do not */
    assert_int_equal(stele_sweeper_run(sweeper, 60000, &report, &err), STELE_E_SCHEMA);
    assert_int_equal(report.expired, 10 + 30 + 1);
    assert_int_equal(number("SELECT count(*) FROM far.t1_app_states WHERE deleted_at IS NULL"), 20);
    close_sweeper(sweeper);
    peer("DROP SCHEMA far CASCADE");
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        SWEPT(rows_follow_by_every_key),   SWEPT(a_time_of_their_own_holds_too),
        SWEPT(keys_may_hold_anything),     SWEPT(a_session_that_is_kept_alive_keeps_its_events),
        SWEPT(appenders_leave_no_orphans), SWEPT(tenants_are_swept_under_their_names),
    };
    return RUN_SWEPT(tests);
}
