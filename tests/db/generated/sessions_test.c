/*
 * A row's life in the tables of sessions, whose timestamps have no zone, and which Go programs write
 * at the same time.
 */
#include "life.h"

static void is_a_session(const session_states_row *row)
{
    assert_int_equal(row->id, 1);
    assert_str(row->app_name, "app");
    assert_str(row->user_id, "user");
    assert_str(row->session_id, "s-1");
    assert_str(row->state, "{\"state\": {}}");
    assert_true(row->expires_at.has && row->expires_at.v > row->created_at);
    assert_false(row->deleted_at.has);
}

static void is_stateless(const session_states_row *row)
{
    assert_null(row->state.data);
    assert_true(row->expires_at.has);
    assert_true(row->updated_at > row->created_at);
}

static void life_of_session_states(void **state)
{
    (void)state;
    session_states_input input = {.app_name = stele_text_v("app"),
                                  .user_id = stele_text_v("user"),
                                  .session_id = stele_text_v("s-1"),
                                  .state = stele_text_n_v("{\"state\":{}}"),
                                  .expires_at = stele_ts_n_after(stele_seconds(3600))};
    LIVES(session_states, 1, &input, 0, is_a_session);
    session_states_unique_active_key key = {stele_s("app"), stele_s("user"), stele_s("s-1")};
    session_states_recent_key recent = {stele_s("app"), stele_s("user")};
    FINDS(session_states, session_states_find_by_unique_active(conn, &key, &row_, &err),
          is_a_session);
    PAGES(session_states, session_states_list_by_recent(conn, &recent, NULL, 2, &page_, &err),
          session_states_recent_resume, 1);
    bool inserted = true;
    uint64_t expired = 99;
    ok(session_states_upsert_by_unique_active(conn, &input, NULL, &inserted, &err));
    assert_false(inserted);
    session_states_patch patch = {.state = stele_text_n_null()};
    CHANGES(session_states, 1, &patch, is_stateless);
    ok(session_states_expire(conn, 10, &expired, &err));
    assert_int_equal(expired, 0);
    FADES(session_states, 1, is_stateless);
}

static void is_an_event(const session_events_row *row)
{
    assert_int_equal(row->id, 1);
    assert_str(row->session_id, "s-1");
    assert_str(row->event, "{\"id\": \"e-1\", \"version\": 1}");
    assert_false(row->expires_at.has);
}

static void is_edited(const session_events_row *row)
{
    assert_str(row->event, "null");
}

static void life_of_session_events(void **state)
{
    (void)state;
    session_events_input input = {.app_name = stele_text_v("app"),
                                  .user_id = stele_text_v("user"),
                                  .session_id = stele_text_v("s-1"),
                                  .event = stele_text_v("{\"version\":1,\"id\":\"e-1\"}")};
    LIVES(session_events, 1, &input, 0, is_an_event);
    session_events_session_key key = {stele_s("app"), stele_s("user"), stele_s("s-1")};
    session_events_newest_key newest = {stele_s("app"), stele_s("user"), stele_s("s-1")};
    PAGES(session_events, session_events_list_by_session(conn, &key, NULL, 2, &page_, &err),
          session_events_session_resume, 1);
    PAGES(session_events, session_events_list_by_newest(conn, &newest, NULL, 2, &page_, &err),
          session_events_newest_resume, 1);
    session_events_patch patch = {.event = stele_text_v("null")}; /* JSON's null, not SQL's */
    CHANGES(session_events, 1, &patch, is_edited);
    uint64_t expired = 99;
    ok(session_events_expire(conn, 10, &expired, &err));
    assert_int_equal(expired, 0);
    FADES(session_events, 1, is_edited);
}

static void is_a_track_event(const session_track_events_row *row)
{
    assert_int_equal(row->id, 1);
    assert_str(row->track, "tool");
    assert_str(row->event, "{}");
}

static void life_of_session_track_events(void **state)
{
    (void)state;
    session_track_events_input input = {.app_name = stele_text_v("app"),
                                        .user_id = stele_text_v("user"),
                                        .session_id = stele_text_v("s-1"),
                                        .track = stele_text_v("tool"),
                                        .event = stele_text_v("{}")};
    LIVES(session_track_events, 1, &input, 0, is_a_track_event);
    session_track_events_track_key key = {stele_s("app"), stele_s("user"), stele_s("s-1"),
                                          stele_s("tool")};
    PAGES(session_track_events,
          session_track_events_list_by_track(conn, &key, NULL, 2, &page_, &err),
          session_track_events_track_resume, 1);
    session_track_events_patch patch = {.event = stele_text_v("{}")};
    CHANGES(session_track_events, 1, &patch, is_a_track_event);
    uint64_t expired = 99;
    ok(session_track_events_expire(conn, 10, &expired, &err));
    assert_int_equal(expired, 0);
    FADES(session_track_events, 1, is_a_track_event);
}

static void is_a_summary(const session_summaries_row *row)
{
    assert_int_equal(row->id, 1);
    assert_str(row->filter_key, "");
    assert_str(row->summary, "{\"summary\": \"short\"}");
}

static void is_no_summary(const session_summaries_row *row)
{
    assert_null(row->summary.data);
}

static void life_of_session_summaries(void **state)
{
    (void)state;
    session_summaries_input input = {.app_name = stele_text_v("app"),
                                     .user_id = stele_text_v("user"),
                                     .session_id = stele_text_v("s-1"),
                                     .summary = stele_text_n_v("{\"summary\":\"short\"}")};
    LIVES(session_summaries, 1, &input, 0, is_a_summary);
    session_summaries_unique_active_key key = {stele_s("app"), stele_s("user"), stele_s("s-1"),
                                               stele_s("")};
    session_summaries_session_key list = {stele_s("app"), stele_s("user"), stele_s("s-1")};
    FINDS(session_summaries, session_summaries_find_by_unique_active(conn, &key, &row_, &err),
          is_a_summary);
    PAGES(session_summaries, session_summaries_list_by_session(conn, &list, NULL, 2, &page_, &err),
          session_summaries_session_resume, 1);
    bool inserted = true;
    ok(session_summaries_upsert_by_unique_active(conn, &input, NULL, &inserted, &err));
    assert_false(inserted);
    session_summaries_patch patch = {.summary = stele_text_n_null()};
    CHANGES(session_summaries, 1, &patch, is_no_summary);
    uint64_t expired = 99;
    ok(session_summaries_expire(conn, 10, &expired, &err));
    assert_int_equal(expired, 0);
    FADES(session_summaries, 1, is_no_summary);
}

static void is_a_setting(const app_states_row *row)
{
    assert_str(row->key, "colour");
    assert_str(row->value, "red");
}

static void life_of_app_states(void **state)
{
    (void)state;
    app_states_input input = {.app_name = stele_text_v("app"),
                              .key = stele_text_v("colour"),
                              .value = stele_text_n_v("red")};
    LIVES(app_states, 1, &input, 0, is_a_setting);
    app_states_unique_active_key key = {.app_name = stele_s("app"), .key = stele_s("colour")};
    FINDS(app_states, app_states_find_by_unique_active(conn, &key, &row_, &err), is_a_setting);
    PAGES(app_states, app_states_list_by_app(conn, stele_s("app"), NULL, 2, &page_, &err),
          app_states_app_resume, 1);
    bool inserted = true;
    ok(app_states_upsert_by_unique_active(conn, &input, NULL, &inserted, &err));
    assert_false(inserted);
    app_states_patch patch = {.value = stele_text_n_v("red")};
    CHANGES(app_states, 1, &patch, is_a_setting);
    uint64_t expired = 99;
    ok(app_states_expire(conn, 10, &expired, &err));
    assert_int_equal(expired, 0);
    FADES(app_states, 1, is_a_setting);
}

static void is_a_users_setting(const user_states_row *row)
{
    assert_str(row->user_id, "user");
    assert_str(row->value, "blue");
}

static void life_of_user_states(void **state)
{
    (void)state;
    user_states_input input = {.app_name = stele_text_v("app"),
                               .user_id = stele_text_v("user"),
                               .key = stele_text_v("colour"),
                               .value = stele_text_n_v("blue")};
    LIVES(user_states, 1, &input, 0, is_a_users_setting);
    user_states_unique_active_key key = {stele_s("app"), stele_s("user"), stele_s("colour")};
    user_states_user_key list = {.app_name = stele_s("app"), .user_id = stele_s("user")};
    FINDS(user_states, user_states_find_by_unique_active(conn, &key, &row_, &err),
          is_a_users_setting);
    PAGES(user_states, user_states_list_by_user(conn, &list, NULL, 2, &page_, &err),
          user_states_user_resume, 1);
    bool inserted = true;
    ok(user_states_upsert_by_unique_active(conn, &input, NULL, &inserted, &err));
    assert_false(inserted);
    user_states_patch patch = {.value = stele_text_n_v("blue")};
    CHANGES(user_states, 1, &patch, is_a_users_setting);
    uint64_t expired = 99;
    ok(user_states_expire(conn, 10, &expired, &err));
    assert_int_equal(expired, 0);
    FADES(user_states, 1, is_a_users_setting);
}

/* ---- a peer beside us ---- */

/* As the Go program writes: client's clock, in UTC, no expiry; an event in its own order of keys. */
static void what_a_peer_writes_is_read(void **state)
{
    (void)state;
    peer("INSERT INTO session_states (app_name, user_id, session_id, state, created_at, updated_at,"
         " expires_at, deleted_at) VALUES ('app', 'user', 'go', '{\"id\":\"go\",\"state\":null}',"
         " '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901', NULL, NULL)");
    peer("INSERT INTO session_states (app_name, user_id, session_id, deleted_at) VALUES"
         " ('app', 'user', 'gone', '2026-01-02')");
    peer("INSERT INTO session_states (app_name, user_id, session_id, expires_at) VALUES"
         " ('app', 'user', 'over', now() AT TIME ZONE 'UTC' - interval '1 second'),"
         " ('app', 'user', 'soon', now() AT TIME ZONE 'UTC' + interval '1 minute')");
    session_states_recent_key key = {.app_name = stele_s("app"), .user_id = stele_s("user")};
    session_states_page *page = NULL;
    ok(session_states_list_by_recent(conn, &key, NULL, 10, &page, &err));
    assert_int_equal(page->count, 2);
    assert_str(page->rows[0].session_id, "soon");
    assert_null(page->rows[0].state.data);
    assert_str(page->rows[1].session_id, "go");
    assert_ts(page->rows[1].created_at, "2026-01-02T03:04:05.678901Z");
    session_states_page_free(page);
}

/* Its way to insert, ON CONFLICT on the partial index, meets our row; ours meets its. */
static void a_peer_upserts_our_row(void **state)
{
    (void)state;
    user_states_input ours = {.app_name = stele_text_v("app"),
                              .user_id = stele_text_v("user"),
                              .key = stele_text_v("k"),
                              .value = stele_text_n_v("ours")};
    user_states_row *row = NULL;
    bool inserted = false;
    ok(user_states_upsert_by_unique_active(conn, &ours, NULL, &inserted, &err));
    assert_true(inserted);
    peer("INSERT INTO user_states (app_name, user_id, key, value, updated_at, expires_at,"
         " deleted_at) VALUES ('app', 'user', 'k', 'theirs', now() AT TIME ZONE 'UTC', NULL, NULL)"
         " ON CONFLICT (app_name, user_id, key) WHERE deleted_at IS NULL"
         " DO UPDATE SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at");
    ok(user_states_find(conn, 1, &row, &err));
    assert_str(row->value, "theirs");
    user_states_row_free(row);
    ok(user_states_upsert_by_unique_active(conn, &ours, NULL, &inserted, &err));
    assert_false(inserted);
    assert_true(holds("SELECT count(*) = 1 AND max(value) = 'ours' FROM user_states"));
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        GENERATED(life_of_session_states),       GENERATED(life_of_session_events),
        GENERATED(life_of_session_track_events), GENERATED(life_of_session_summaries),
        GENERATED(life_of_app_states),           GENERATED(life_of_user_states),
        GENERATED(what_a_peer_writes_is_read),   GENERATED(a_peer_upserts_our_row),
    };
    return RUN_GENERATED(tests);
}
