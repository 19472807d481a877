/*
 * As many expired sessions as a long night leaves: all of them, with what follows, in one run. The peer's
 * cleaner names each in three parameters of one statement, of which there may be 65,535.
 */
#include "sweep_util.h"

enum { SESSIONS = 300000, LIVE = 1000 };

static void all_go_in_one_run(void **state)
{
    (void)state;
    char sql[800];
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO session_states (app_name, user_id, session_id, state, expires_at)"
                   " SELECT 'a', 'u', 's' || i, '{}', (now() AT TIME ZONE 'UTC')"
                   " + CASE WHEN i <= %d THEN interval '-1 h' ELSE interval '1 h' END"
                   " FROM generate_series(1, %d) AS i;"
                   "INSERT INTO session_events (app_name, user_id, session_id, event)"
                   " SELECT app_name, user_id, session_id, '{}' FROM session_states;"
                   "ANALYZE session_states; ANALYZE session_events",
                   SESSIONS, SESSIONS + LIVE);
    peer(sql);
    stele_sweeper_options options = by_hand();
    stele_sweep_report report = sweep_once(db, &options);
    assert_int_equal(report.expired, SESSIONS);
    assert_int_equal(report.followed, SESSIONS);
    assert_true(report.complete);
    assert_int_equal(number("SELECT count(*) FROM session_states WHERE deleted_at IS NULL"), LIVE);
    assert_int_equal(number("SELECT count(*) FROM session_events WHERE deleted_at IS NULL"), LIVE);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {SWEPT(all_go_in_one_run)};
    return RUN_SWEPT(tests);
}
