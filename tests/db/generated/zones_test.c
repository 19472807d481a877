/*
 * Time zones: those of the role, of the process and of libpq's environment leave no trace, in columns
 * with a zone and without.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "life.h"

#define LOS_ANGELES "America/Los_Angeles"

/* A role that the administrator gave a zone of its own, and the handle that logs in as it. */
static char role[32];
static char *role_dsn;
static stele_db *role_db;

static int setup_role(void **state)
{
    (void)setup_tables(state);
    char sql[512];
    (void)snprintf(role, sizeof role, "zone_test_%ld", (long)getpid());
    (void)snprintf(sql, sizeof sql,
                   "CREATE ROLE %s LOGIN;"
                   "ALTER ROLE %s SET TimeZone = '%s';"
                   "GRANT ALL ON ALL TABLES IN SCHEMA public TO %s;"
                   "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO %s",
                   role, role, LOS_ANGELES, role, role);
    peer(sql);
    size_t size = strlen(dsn) + strlen(role) + sizeof " user=";
    role_dsn = malloc(size);
    assert_non_null(role_dsn);
    (void)snprintf(role_dsn, size, "%s user=%s", dsn, role);
    return 0;
}

static int teardown_role(void **state)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "DROP OWNED BY %s; DROP ROLE %s", role, role);
    peer(sql);
    free(role_dsn);
    return teardown_tables(state);
}

/* From here on `conn` is a lease of the role. */
static int log_in(void **state)
{
    (void)clean_tables(state);
    stele_db_options options = options_for("zone", 2);
    options.dsn = role_dsn;
    role_db = open_with(&options);
    stele_conn_release(conn);
    conn = acquire(role_db);
    return 0;
}

static int log_out(void **state)
{
    (void)state;
    stele_conn_release(conn);
    stele_db_close(role_db);
    conn = acquire(db);
    return 0;
}

/* ---- control ---- */

/* What the zone would do: a naive column gets the wall clock of Los Angeles. */
static void a_naive_now_is_wrong_in_another_zone(void **state)
{
    (void)state;
    char *zone = dbtest_value(role_dsn, "SHOW TimeZone");
    assert_string_equal(zone, LOS_ANGELES);
    free(zone);
    dbtest_exec(role_dsn, "INSERT INTO clocks (id, naive) VALUES (1, now())");
    dbtest_exec(role_dsn, "INSERT INTO session_states (app_name, user_id, session_id)"
                          " VALUES ('a', 'u', 'naive')"); /* DEFAULT CURRENT_TIMESTAMP */
    assert_true(holds("SELECT timezone('UTC', zoned) - naive BETWEEN '6 h' AND '9 h' FROM clocks"));
    assert_true(holds("SELECT timezone('UTC', now()) - created_at BETWEEN '6 h' AND '9 h'"
                      " FROM session_states"));
}

/* ---- ours ---- */

static void the_session_runs_in_utc(void **state)
{
    (void)state;
    assert_string_equal(ask(conn, "SHOW TimeZone"), "UTC");
    assert_string_equal(ask(conn, "SELECT current_user"), role);
}

static void both_columns_hold_the_same_time(void **state)
{
    (void)state;
    stele_ts noon = ts_of("2026-07-01T12:00:00.000001Z");
    clocks_input input = {.id = stele_i32_v(1),
                          .naive = stele_ts_v(noon),
                          .zoned = stele_ts_v(noon),
                          .naive_n = stele_ts_n_now(),
                          .zoned_n = stele_ts_n_now()};
    clocks_row *row = NULL;
    ok(clocks_insert(conn, &input, &row, &err));
    assert_true(row->naive == noon && row->zoned == noon);
    assert_true(row->naive_n.v == row->zoned_n.v);
    clocks_row_free(row);
    assert_true(holds("SELECT naive::text = '2026-07-01 12:00:00.000001' AND zoned ="
                      " '2026-07-01 12:00:00.000001Z' AND zoned_n = timezone('UTC', naive_n) AND"
                      " now() - zoned_n BETWEEN '0' AND '1 min' FROM clocks"));
    clocks_filter filter = {.naive = stele_ts_v(noon), .zoned = stele_ts_v(noon)};
    COUNTS(clocks, &filter, 1);
    clocks_patch patch = {.naive = stele_ts_after(stele_days(-1)),
                          .zoned = stele_ts_after(stele_days(-1))};
    ok(clocks_update(conn, 1, &patch, &row, &err));
    assert_true(row->naive == row->zoned);
    clocks_row_free(row);
}

/* What others wrote in UTC is read as UTC, and defaults of the server are right. */
static void defaults_and_peers_are_read_right(void **state)
{
    (void)state;
    clocks_row *row = NULL;
    session_states_row *session = NULL;
    peer("INSERT INTO clocks (id, naive, zoned) VALUES"
         " (1, '2026-03-08 02:30:00', '2026-03-08 02:30:00Z')"); /* is no hour in Los Angeles */
    ok(clocks_find(conn, 1, &row, &err));
    assert_ts(row->naive, "2026-03-08T02:30:00Z");
    assert_ts(row->zoned, "2026-03-08T02:30:00Z");
    clocks_row_free(row);
    session_states_input input = {.app_name = stele_text_v("a"),
                                  .user_id = stele_text_v("u"),
                                  .session_id = stele_text_v("s")};
    ok(session_states_insert(conn, &input, &session, &err));
    session_states_row_free(session);
    assert_true(holds("SELECT timezone('UTC', now()) - created_at BETWEEN '0' AND '1 min' AND"
                      " updated_at = created_at FROM session_states"));
}

/* A row that lives for a minute lives now, in every zone; one that ended a minute ago does not. */
static void rows_live_as_long_as_they_should(void **state)
{
    (void)state;
    uint64_t expired = 99;
    session_states_input input = {.app_name = stele_text_v("a"), .user_id = stele_text_v("u")};
    input.session_id = stele_text_v("lives");
    input.expires_at = stele_ts_n_after(stele_seconds(60));
    ok(session_states_insert(conn, &input, NULL, &err));
    input.session_id = stele_text_v("ended");
    input.expires_at = stele_ts_n_after(stele_seconds(-60));
    ok(session_states_insert(conn, &input, NULL, &err));
    COUNTS(session_states, NULL, 1);
    COUNTS(session_states, (&(session_states_filter){.session_id = stele_text_v("lives")}), 1);
    ok(session_states_expire(conn, 10, &expired, &err));
    assert_int_equal(expired, 1);
    assert_true(holds("SELECT session_id = 'ended' AND timezone('UTC', now()) - deleted_at"
                      " BETWEEN '0' AND '1 min' FROM session_states WHERE deleted_at IS NOT NULL"));
}

/* The process, and what libpq takes from its environment. */
static void the_environment_leaves_no_trace(void **state)
{
    static const char *const zones[] = {"Asia/Tokyo", LOS_ANGELES, "<-03>3", "Europe/Berlin"};
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        (void)setenv("TZ", zones[i], 1);
        (void)setenv("PGTZ", zones[i], 1);
        tzset();
        (void)log_in(state);
        the_session_runs_in_utc(state);
        both_columns_hold_the_same_time(state);
        rows_live_as_long_as_they_should(state);
        (void)log_out(state);
    }
    (void)unsetenv("TZ");
    (void)unsetenv("PGTZ");
    tzset();
}

/* Someone who sets the zone on a lease does so for that lease only. */
static void a_lease_comes_back_in_utc(void **state)
{
    (void)state;
    run_sql(conn, "SET TimeZone = '" LOS_ANGELES "'");
    int backend = stele_conn_backend_pid(conn);
    stele_conn_release(conn);
    conn = acquire(role_db);
    assert_int_equal(stele_conn_backend_pid(conn), backend);
    the_session_runs_in_utc(state);
    both_columns_hold_the_same_time(state);
}

#define IN_ZONE(test) cmocka_unit_test_setup_teardown(test, log_in, log_out)

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        GENERATED(a_naive_now_is_wrong_in_another_zone),
        IN_ZONE(the_session_runs_in_utc),
        IN_ZONE(both_columns_hold_the_same_time),
        IN_ZONE(defaults_and_peers_are_read_right),
        IN_ZONE(rows_live_as_long_as_they_should),
        cmocka_unit_test(the_environment_leaves_no_trace),
        IN_ZONE(a_lease_comes_back_in_utc),
    };
    return cmocka_run_group_tests(tests, setup_role, teardown_role);
}
