/* Deleting and restoring sessions, cutting off their last events, cleaning up. */
#include "store_lab.h"

static const char *const children[] = {"session_events", "session_track_events",
                                       "session_summaries"};

/* A session with something in each table. */
static void fill(const char *session_id)
{
    char id[32];
    stele_session_key key = key_of(session_id);
    create_session(session_id);
    snprintf(id, sizeof id, "%s-1", session_id);
    append_text(session_id, id, "user", "hello");
    snprintf(id, sizeof id, "%s-2", session_id);
    append_text(session_id, id, "assistant", "good day");
    assert_ok(stele_sessions_append_track(store, &key, text_of("tool"), text_of("7"),
                                          (stele_opt_ts){0}, NULL, &err));
    flush_store();
    peer("INSERT INTO {session_summaries} (app_name, user_id, session_id, summary, updated_at)"
         " VALUES ('desk', 'u-1', '%s', '{\"summary\": \"x\"}', now() AT TIME ZONE 'UTC')",
         session_id);
}

static int64_t live(const char *table, const char *session_id)
{
    return number("SELECT count(*) FROM {%s} WHERE session_id = '%s' AND deleted_at IS NULL", table,
                  session_id);
}

static int64_t all(const char *table)
{
    return number("SELECT count(*) FROM {%s}", table);
}

static void test_delete_session(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    stele_session *session = NULL;
    fill("s");
    fill("other");
    uint64_t before = trips();
    assert_ok(stele_sessions_delete(store, &key, &err));
    assert_int_equal(trips() - before, 1);
    assert_status(stele_sessions_get(store, &key, NULL, &session, &err), STELE_E_NOT_FOUND);
    assert_int_equal(live("session_states", "s"), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(live(children[i], "s"), 0);
        assert_true(live(children[i], "other") > 0);
    }
    assert_int_equal(all("session_states"), world_is_soft() ? 2 : 1);
    assert_int_equal(all("session_events"), world_is_soft() ? 4 : 2);
    assert_ok(stele_sessions_delete(store, &key, &err)); /* one that is not there is no error */
    key.user_id = text_of("");
    assert_status(stele_sessions_delete(store, &key, &err), STELE_E_INPUT);
    /* A session of the same key begins with nothing. */
    create_session("s");
    STELE_AUTO(stele_session) again = get_session("s", NULL);
    assert_int_equal(again->event_count, 0);
}

static void test_restore(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    assert_status(stele_sessions_restore(store, &key, &err), STELE_E_NOT_FOUND);
    fill("s");
    assert_status(stele_sessions_restore(store, &key, &err), STELE_E_UNIQUE); /* it lives */
    assert_ok(stele_sessions_delete(store, &key, &err));
    uint64_t before = trips();
    if (!world_is_soft()) {
        assert_status(stele_sessions_restore(store, &key, &err), STELE_E_NOT_FOUND);
        return;
    }
    assert_ok(stele_sessions_restore(store, &key, &err));
    assert_int_equal(trips() - before, 1);
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(session), "s-1 s-2");
    assert_int_equal(session->track_count, 1);
    assert_int_equal(session->summary_count, 1);
    /* A peer may store a summary after that, of what is no longer there: that one stays. */
    assert_ok(stele_sessions_delete(store, &key, &err));
    peer("INSERT INTO {session_summaries} (app_name, user_id, session_id, summary, updated_at)"
         " VALUES ('desk', 'u-1', 's', '{\"summary\": \"late\"}', now() AT TIME ZONE 'UTC')");
    assert_ok(stele_sessions_restore(store, &key, &err));
    STELE_AUTO(stele_session) late = get_session("s", NULL);
    assert_int_equal(late->summary_count, 1);
    assert_non_null(strstr(late->summaries[0].json.data, "late"));
    /* Of two deletions the last is taken back, without what went before. */
    assert_ok(stele_sessions_delete(store, &key, &err));
    create_session("s");
    append_text("s", "new", "user", "hello");
    flush_store();
    before = trips();
    assert_status(stele_sessions_restore(store, &key, &err), STELE_E_UNIQUE);
    assert_said("exists");
    assert_int_equal(trips() - before, 1);
    assert_ok(stele_sessions_delete(store, &key, &err));
    assert_ok(stele_sessions_restore(store, &key, &err));
    STELE_AUTO(stele_session) newer = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(newer), "new");
}

static void test_truncate_after(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    uint64_t count = 0;
    fill("s");
    append_text("s", "s-3", "user", "no, wait");
    append_text("s", "s-4", "assistant", "yes?");
    flush_store();
    uint64_t before = trips();
    assert_ok(stele_sessions_truncate_after(store, &key, text_of("s-3"), true, &count, &err));
    assert_int_equal(trips() - before, 1);
    assert_int_equal(count, 2);
    append_text("s", "s-5", "user", "I meant this");
    flush_store();
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(session), "s-1 s-2 s-5");
    assert_ok(stele_sessions_truncate_after(store, &key, text_of("s-1"), false, &count, &err));
    assert_int_equal(count, 2);
    STELE_AUTO(stele_session) one = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(one), "s-1");
    assert_int_equal(one->summary_count, 0); /* it covered what went */
    assert_status(stele_sessions_truncate_after(store, &key, text_of("s-5"), false, &count, &err),
                  STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "anchor event not found");
    append_text("s", "s-6", "user", "and now");
    before = trips();
    assert_ok(stele_sessions_truncate(store, &key, &count, &err));
    assert_int_equal(trips() - before, world_is_async() ? 2 : 1); /* one for what was queued */
    assert_int_equal(count, 2);
    STELE_AUTO(stele_session) none = get_session("s", NULL);
    assert_int_equal(none->event_count, 0);
    assert_int_equal(none->track_count, 1);
    assert_int_equal(all("session_events"), world_is_soft() ? 6 : 0);
    key = key_of("nobody");
    assert_status(stele_sessions_truncate(store, &key, NULL, &err), STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "session not found");
    assert_status(stele_sessions_truncate_after(store, &key, text_of("s-5"), false, NULL, &err),
                  STELE_E_NOT_FOUND);
    assert_string_equal(err.message, "session not found");
}

/* ---- cleaning up ----------------------------------------------------------------------------- */

static void expire(const char *table, const char *where)
{
    peer("UPDATE {%s} SET expires_at = (now() AT TIME ZONE 'UTC') - interval '1 second' WHERE %s",
         table, where);
}

static void test_cleanup_takes_all_of_a_session(void **state)
{
    (void)state;
    stele_session_value values[] = {value_of("a", "1")};
    stele_session_user user = user_of("u-1");
    stele_sessions_cleanup_report report;
    fill("s");
    fill("kept");
    assert_ok(stele_sessions_update_app_state(store, text_of("desk"), values, 1, &err));
    assert_ok(stele_sessions_update_user_state(store, &user, values, 1, &err));
    assert_ok(stele_sessions_cleanup(store, 10000, &report, &err));
    assert_int_equal(report.expired, 0);
    expire("session_states", "session_id = 's'");
    expire("app_states", "true");
    expire("user_states", "true");
    assert_ok(stele_sessions_cleanup(store, 10000, &report, &err));
    assert_int_equal(report.expired, 3);
    assert_int_equal(report.followed, 4);
    assert_int_equal(report.repaired, 0);
    assert_int_equal(live("session_states", "s"), 0);
    assert_int_equal(live("session_states", "kept"), 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(live(children[i], "s"), 0);
        assert_true(live(children[i], "kept") > 0);
    }
    assert_int_equal(all("session_states"), world_is_soft() ? 2 : 1);
}

/* What the cleanup removed softly comes back as what was deleted does. */
static void test_restore_after_cleanup(void **state)
{
    (void)state;
    stele_session_key key = key_of("s");
    if (!world_is_soft())
        return;
    fill("s");
    expire("session_states", "session_id = 's'");
    assert_ok(stele_sessions_cleanup(store, 10000, NULL, &err));
    assert_int_equal(live("session_events", "s"), 0);
    assert_ok(stele_sessions_restore(store, &key, &err));
    STELE_AUTO(stele_session) session = get_session("s", NULL);
    assert_string_equal(EVENT_IDS(session), "s-1 s-2");
    assert_int_equal(session->track_count, 1);
    assert_int_equal(session->summary_count, 1);
}

static void test_cleanup_purges_after_retention(void **state)
{
    (void)state;
    if (!world_is_soft())
        return;
    stele_sessions_options options = world_options();
    stele_sessions_cleanup_report report;
    options.retention_ms = 3600 * 1000;
    stele_sessions *purging = open_store(&options);
    stele_session_key key = key_of("s");
    fill("s");
    assert_ok(stele_sessions_delete(store, &key, &err));
    assert_ok(stele_sessions_cleanup(purging, 10000, &report, &err));
    assert_int_equal(report.purged, 0);
    for (int i = 0; i < 3; i++)
        peer("UPDATE {%s} SET deleted_at = deleted_at - interval '2 hours'", children[i]);
    peer("UPDATE {session_states} SET deleted_at = deleted_at - interval '2 hours'");
    assert_ok(stele_sessions_cleanup(purging, 10000, &report, &err));
    assert_int_equal(report.purged, 5);
    assert_int_equal(all("session_events"), 0);
    close_store(purging);
}

static void test_cleanup_runs_periodically(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.session_ttl_ms = 3600 * 1000;
    options.cleanup_interval_ms = 50;
    fill("s");
    expire("session_states", "true");
    stele_sessions *cleaning = open_store(&options);
    assert_true(wait_until("SELECT count(*) = 0 FROM {session_events} WHERE deleted_at IS NULL"));
    /* And it repairs, table after table, as in test_cleanup_repairs(). */
    fill("other");
    fill("kept");
    peer("DELETE FROM {session_states} WHERE session_id = 'other'");
    assert_true(wait_until("SELECT count(*) = 0 FROM (SELECT session_id, deleted_at FROM"
                           " {session_events} UNION ALL SELECT session_id, deleted_at FROM"
                           " {session_track_events} UNION ALL SELECT session_id, deleted_at FROM"
                           " {session_summaries}) t WHERE session_id = 'other' AND deleted_at IS"
                           " NULL"));
    for (int i = 0; i < 3; i++)
        assert_true(live(children[i], "kept") > 0);
    close_store(cleaning);
}

/* What another program's cleaner leaves of a session that it has removed. */
static void test_cleanup_repairs(void **state)
{
    (void)state;
    stele_sessions_cleanup_report report;
    fill("s");
    fill("kept");
    peer("DELETE FROM {session_states} WHERE session_id = 's'");
    assert_ok(stele_sessions_cleanup(store, 10000, &report, &err));
    assert_int_equal(report.repaired, 4);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(live(children[i], "s"), 0);
        assert_true(live(children[i], "kept") > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_delete_session),
        STORED(test_restore),
        STORED(test_truncate_after),
        STORED(test_cleanup_takes_all_of_a_session),
        STORED(test_restore_after_cleanup),
        STORED(test_cleanup_purges_after_retention),
        STORED(test_cleanup_runs_periodically),
        STORED(test_cleanup_repairs),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
