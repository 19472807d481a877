/*
 * The main job, step by step: a conversation of an agent, stored and read through the functions that
 * were generated from schema/sessions.yaml, for two tenants on one pool.
 *
 * STELE_DSN names the database; the first argument is the file with the conversation.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stele.h>
#include <stele/json.h>

#include "sessions.gen.h"

static const session_states_unique_active_key room_session = {
    .app_name = {"library", 7}, .user_id = {"m-2071", 6}, .session_id = {"room-change", 11}};

/* ---- telling ---- */

static void step(const char *title)
{
    static int number;
    printf("\n%d. %s\n", ++number, title);
}

/* Every call answers with a status; this is all that is needed to report a failure well. */
static bool failed(const char *what, stele_status st, const stele_error *err)
{
    char line[2048];
    if (st >= STELE_OK)
        return false;
    (void)stele_error_format(err, line, sizeof line);
    fprintf(stderr, "%s: %s\n", what, line);
    return true;
}

static void print_json_event(stele_str event)
{
    json_t *json = NULL;
    if (stele_json_load(event, &json, NULL) != STELE_OK)
        return;
    json_t *calls = json_object_get(json, "tool_calls");
    const char *content = json_string_value(json_object_get(json, "content"));
    printf("   %-14s", json_string_value(json_object_get(json, "author")));
    if (content != NULL)
        printf(" %s", content);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        json_t *function = json_object_get(json_array_get(calls, i), "function");
        printf(" -> %s%s", json_string_value(json_object_get(function, "name")),
               json_string_value(json_object_get(function, "arguments")));
    }
    printf("\n");
    json_decref(json);
}

/* ---- tenants ---- */

static stele_status open_tenant(stele_db *origin, const char *schema, const char *prefix,
                                stele_db **ret_tenant, stele_error *err)
{
    STELE_AUTO(stele_db) tenant = NULL;
    stele_names names = {.schema = schema, .prefix = prefix};
    stele_status st = stele_db_derive(origin, &names, &tenant, err);
    if (st == STELE_OK)
        st = stele_db_ensure(tenant, &sessions_module, NULL, err);
    if (st != STELE_OK)
        return st;
    printf("   tenant %s: tables %s.%ssession_states, … are there\n", schema, schema, prefix);
    *ret_tenant = tenant;
    tenant = NULL;
    return STELE_OK;
}

static stele_status create_schemas(stele_db *db, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = NULL;
    stele_status st = stele_db_acquire(db, &conn, err);
    if (st == STELE_OK)
        st = stele_conn_exec(conn, "CREATE SCHEMA acme", NULL, 0, NULL, err);
    if (st == STELE_OK)
        st = stele_conn_exec(conn, "CREATE SCHEMA globex", NULL, 0, NULL, err);
    return st;
}

/* ---- the conversation ---- */

static stele_status start_session(stele_conn *conn, stele_error *err)
{
    session_states_input input = {
        .app_name = stele_text_of(room_session.app_name),
        .user_id = stele_text_of(room_session.user_id),
        .session_id = stele_text_of(room_session.session_id),
        .state = stele_text_n_v("{\"language\": \"en\", \"topic\": \"booking\"}"),
        .expires_at = stele_ts_n_after(stele_days(30)), /* by the server's clock */
    };
    STELE_AUTO(session_states_row) row = NULL;
    stele_status st = session_states_insert(conn, &input, &row, err);
    if (st != STELE_OK)
        return st;
    char expires[STELE_TS_TEXT_SIZE];
    printf("   session %" PRId64 " lives until %s\n", row->id,
           stele_ts_format(row->expires_at.v, expires));
    return STELE_OK;
}

static stele_status store_conversation(stele_conn *conn, const char *path, stele_error *err)
{
    char line[4096];
    int count = 0;
    stele_status st = STELE_OK;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    uint64_t before = stele_conn_round_trips(conn);
    while (st == STELE_OK && fgets(line, sizeof line, file) != NULL) {
        session_events_input input = {
            .app_name = stele_text_of(room_session.app_name),
            .user_id = stele_text_of(room_session.user_id),
            .session_id = stele_text_of(room_session.session_id),
            .event = stele_text_v(line),
        };
        st = session_events_insert(conn, &input, NULL, err);
        count++;
    }
    (void)fclose(file);
    if (st == STELE_OK)
        printf("   %d events stored in %" PRIu64 " round trips\n", count,
               stele_conn_round_trips(conn) - before);
    return st;
}

static session_events_session_key events_key(void)
{
    session_events_session_key key = {room_session.app_name, room_session.user_id,
                                      room_session.session_id};
    return key;
}

/* Pages as a web server would serve them: a token leaves with each page and comes back for the next. */
static stele_status show_conversation(stele_conn *conn, stele_error *err)
{
    session_events_session_key key = events_key();
    char token[STELE_PAGE_TOKEN_SIZE] = "";
    for (int number = 1;; number++) {
        STELE_AUTO(session_events_page) page = NULL;
        stele_status st = STELE_OK;
        if (token[0] != '\0')
            st = session_events_session_resume(stele_s(token), &page, err);
        if (st == STELE_OK)
            st = session_events_list_by_session(conn, &key, NULL, 5, &page, err);
        if (st != STELE_OK)
            return st == STELE_DONE ? STELE_OK : st;
        printf("   --- page %d\n", number);
        for (size_t i = 0; i < page->count; i++)
            print_json_event(page->rows[i].event);
        if (!page->more)
            return STELE_OK;
        st = session_events_page_token(page, token, sizeof token, err);
        if (st != STELE_OK)
            return st;
    }
}

/* ---- changing ---- */

static stele_status change_state(stele_conn *conn, stele_error *err)
{
    STELE_AUTO(session_states_row) row = NULL;
    stele_status st = session_states_find_by_unique_active(conn, &room_session, &row, err);
    if (st != STELE_OK)
        return st;
    printf("   found by its key: state %s\n", row->state.data);

    STELE_AUTO(session_states_row) patched = NULL;
    session_states_patch patch = {.state = stele_text_n_null()}; /* the rest stays as it is */
    st = session_states_update(conn, row->id, &patch, &patched, err);
    if (st != STELE_OK)
        return st;
    printf("   patched: state is %s, expires_at %s\n", patched->state.data ? "set" : "NULL",
           patched->expires_at.has ? "unchanged" : "NULL");

    STELE_AUTO(session_states_row) upserted = NULL;
    bool inserted = true;
    session_states_input again = {
        .app_name = stele_text_of(room_session.app_name),
        .user_id = stele_text_of(room_session.user_id),
        .session_id = stele_text_of(room_session.session_id),
        .state = stele_text_n_v("{\"language\": \"en\", \"topic\": \"done\"}"),
    };
    st = session_states_upsert_by_unique_active(conn, &again, &upserted, &inserted, err);
    if (st == STELE_OK)
        printf("   upserted: %s, state %s\n", inserted ? "a new row" : "the same row",
               upserted->state.data);
    return st;
}

static stele_status delete_and_restore(stele_conn *conn, stele_error *err)
{
    STELE_AUTO(session_states_row) row = NULL;
    STELE_AUTO(session_states_row) gone = NULL;
    stele_status st = session_states_find_by_unique_active(conn, &room_session, &row, err);
    if (st == STELE_OK)
        st = session_states_delete(conn, row->id, err);
    if (st != STELE_OK)
        return st;
    st = session_states_find(conn, row->id, &gone, err);
    printf("   deleted; looking for it answers %s\n", stele_status_name(st));
    st = session_states_restore(conn, row->id, err);
    if (st == STELE_OK)
        st = session_states_find(conn, row->id, &gone, err);
    if (st == STELE_OK)
        printf("   restored; its state is %s again\n", gone->state.data);
    return st;
}

static stele_status expire_and_purge(stele_conn *conn, stele_error *err)
{
    static const char *const names[] = {"old-1", "old-2", "old-3"};
    stele_status st = STELE_OK;
    for (int i = 0; i < 3 && st == STELE_OK; i++) {
        session_states_input input = {
            .app_name = stele_text_v("library"),
            .user_id = stele_text_v("m-2071"),
            .session_id = stele_text_v(names[i]),
            .expires_at = stele_ts_n_after(stele_seconds(-60)),
        };
        st = session_states_insert(conn, &input, NULL, err);
    }
    int64_t live = 0;
    int64_t all = 0;
    uint64_t expired = 0;
    uint64_t purged = 0;
    session_states_filter any = {.expired = STELE_SCOPE_ANY};
    if (st == STELE_OK)
        st = session_states_count(conn, NULL, &live, err);
    if (st == STELE_OK)
        st = session_states_count(conn, &any, &all, err);
    if (st == STELE_OK)
        st = session_states_expire(conn, 100, &expired, err);
    if (st == STELE_OK)
        st = session_states_purge(conn, STELE_TS_INFINITY, 100, &purged, err);
    if (st == STELE_OK)
        printf("   %" PRId64 " live of %" PRId64 " rows; %" PRIu64 " expired, then %" PRIu64
               " purged for good\n",
               live, all, expired, purged);
    return st;
}

/* ---- a transaction that another one gets in the way of ---- */

typedef struct booking {
    stele_db *db;
    int attempts;
} booking;

/* What a colleague's program would do meanwhile. */
static stele_status interfere(stele_db *db, int64_t id, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = NULL;
    session_states_patch patch = {.state = stele_text_n_v("{\"seats\": 16}")};
    stele_status st = stele_db_acquire(db, &conn, err);
    return st == STELE_OK ? session_states_update(conn, id, &patch, NULL, err) : st;
}

static stele_status add_note(stele_conn *conn, void *user, stele_error *err)
{
    booking *b = user;
    STELE_AUTO(session_states_row) row = NULL;
    stele_status st = session_states_find_by_unique_active(conn, &room_session, &row, err);
    if (st != STELE_OK)
        return st;
    printf("   attempt %d sees %s\n", ++b->attempts, row->state.data);
    if (b->attempts == 1)
        st = interfere(b->db, row->id, err);
    if (st != STELE_OK)
        return st;
    session_states_patch patch = {.state =
                                      stele_text_n_v("{\"seats\": 16, \"note\": \"map room\"}")};
    return session_states_update(conn, row->id, &patch, NULL, err);
}

static stele_status run_transaction(stele_db *db, stele_conn *conn, stele_error *err)
{
    booking b = {.db = db};
    stele_tx_options options = STELE_TX_OPTIONS_INIT;
    options.isolation = STELE_SERIALIZABLE;
    stele_status st = stele_tx_run(conn, &options, add_note, &b, err);
    if (st == STELE_OK)
        printf("   committed after %d attempts: the first met a serialization failure\n",
               b.attempts);
    return st;
}

/* ---- the whole ---- */

static bool work(stele_db *db, stele_db *acme, stele_db *globex, const char *path, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = NULL;
    int64_t count = -1;
    if (failed("acquire", stele_db_acquire(acme, &conn, err), err))
        return false;
    step("Start a session and store a conversation");
    if (failed("start", start_session(conn, err), err) ||
        failed("store", store_conversation(conn, path, err), err))
        return false;
    step("Read it back in pages of five");
    if (failed("show", show_conversation(conn, err), err))
        return false;
    step("Find, patch to NULL, upsert");
    if (failed("change", change_state(conn, err), err))
        return false;
    step("The other tenant, on the same connection, sees nothing of it");
    if (failed("use", stele_conn_use(conn, globex, err), err) ||
        failed("count", session_states_count(conn, NULL, &count, err), err) ||
        failed("start", start_session(conn, err), err) ||
        failed("use", stele_conn_use(conn, acme, err), err))
        return false;
    printf("   globex had %" PRId64 " sessions, and may use the same key\n", count);
    step("Delete softly and restore");
    if (failed("delete", delete_and_restore(conn, err), err))
        return false;
    step("Expire and purge");
    if (failed("expire", expire_and_purge(conn, err), err))
        return false;
    step("Run a transaction that is retried");
    if (failed("transaction", run_transaction(acme, conn, err), err))
        return false;
    stele_pool_stats stats;
    stele_db_pool_stats(db, &stats);
    printf("\n   One pool served both tenants: %u connections open, %" PRIu64 " leases.\n",
           stats.open, stats.acquired);
    return true;
}

int main(int argc, char **argv)
{
    stele_error err;
    STELE_AUTO(stele_db) db = NULL;
    STELE_AUTO(stele_db) acme = NULL;
    STELE_AUTO(stele_db) globex = NULL;
    const stele_module *modules[] = {&sessions_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    if (argc != 2) {
        fprintf(stderr, "usage: %s CONVERSATION\n", argv[0]);
        return 2;
    }
    options.dsn = getenv("STELE_DSN");
    options.modules = modules;
    options.module_count = 1;
    if (failed("open", stele_db_open(&options, &db, &err), &err))
        return 1;
    step("One pool, two tenants: their own schema, their own prefix");
    if (failed("schemas", create_schemas(db, &err), &err) ||
        failed("acme", open_tenant(db, "acme", "", &acme, &err), &err) ||
        failed("globex", open_tenant(db, "globex", "app1_", &globex, &err), &err))
        return 1;
    return work(db, acme, globex, argv[1], &err) ? 0 : 1;
}
