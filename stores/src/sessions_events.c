#include "sessions_call.h"
#include "sessions_event.h"
#include "store_json.h"

#include "banned.h"

/* ---- what was read --------------------------------------------------------------------------- */

typedef struct events_block {
    stele_session_events events; /* first: callers have its address */
    stele__store_arena arena;
    void *generated;
} events_block;

void stele_session_events_free(stele_session_events *events)
{
    events_block *block = (events_block *)events;
    if (block == NULL)
        return;
    stele__store_arena arena = block->arena;
    stele_gen_free(block->generated);
    stele__store_arena_free(&arena);
}

void stele_session_events_autofree(stele_session_events **events)
{
    stele_session_events_free(*events);
}

/* Takes over `generated`; the array is to be filled by the caller. */
static stele_status new_events(size_t count, void *generated, stele_session_events **ret_events,
                               stele_session_event **ret_array, stele_error *err)
{
    stele__store_arena arena = {0};
    events_block *block = stele__store_take(&arena, sizeof *block);
    stele_session_event *array = stele__store_take(&arena, (count + 1) * sizeof *array);
    if (block == NULL || array == NULL) {
        stele_gen_free(generated);
        stele__store_arena_free(&arena);
        return stele__store_no_memory(err);
    }
    block->events.events = array;
    block->events.count = count;
    block->arena = arena;
    block->generated = generated;
    *ret_events = &block->events;
    *ret_array = array;
    return STELE_OK;
}

/* ---- tracks ---------------------------------------------------------------------------------- */

static stele_status check_track(const stele_session_key *key, stele_str track, stele_error *err)
{
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK && track.len == 0)
        st = stele__store_fail(err, STELE_E_INPUT, "track name is required");
    return st;
}

/*
 * Whether an error came of decoding the list of tracks that the session has. What we send is JSON, so
 * that it cannot be meant when it is UTF-8, and has no half of a surrogate pair.
 */
static bool is_of_the_list(const stele_error *why, const sessions_append_track_event_params *params)
{
    if (strcmp(why->sqlstate, "22021") == 0)
        return stele__store_is_utf8(params->track.v) && stele__store_is_utf8(params->event.v);
    if (strcmp(why->sqlstate, "22P02") == 0)
        return !stele__json_has_half(params->event.v);
    return strcmp(why->sqlstate, "22023") == 0;
}

static stele_status run_track(stele_sessions *store, const stele_session_key *key, stele_conn *conn,
                              const sessions_append_track_event_params *params,
                              stele_session_appended *ret_appended, stele_error *err)
{
    STELE_AUTO(sessions_append_track_event_row) row = NULL;
    stele_error why;
    stele_status st = sessions_append_track_event(conn, params, &row, &why);
    if (st != STELE_OK && is_of_the_list(&why, params))
        return stele__store_fail(err, STELE_E_DECODE,
                                 "the session's list of tracks is malformed: %s", why.message);
    if (st != STELE_OK && err != NULL)
        *err = why;
    if (st == STELE_OK)
        st = stele__sessions_changed(key, row != NULL, row != NULL ? row->status : 0, err);
    if (st != STELE_OK)
        return st;
    ret_appended->row_id = row->id.v;
    ret_appended->created_at = row->created_at.v;
    (void)atomic_fetch_add_explicit(&store->appended, 1, memory_order_relaxed);
    return STELE_OK;
}

stele_status stele_sessions_append_track(stele_sessions *store, const stele_session_key *key,
                                         stele_str track, stele_str payload, stele_opt_ts timestamp,
                                         stele_session_appended *ret_appended, stele_error *err)
{
    stele_conn *conn = NULL;
    stele__store_text text = {0};
    stele_session_appended appended = {0};
    stele_ts at = timestamp.has ? timestamp.v : stele__event_now();
    stele_status st = check_track(key, track, err);
    if (st == STELE_OK)
        st = stele__track_write(track, payload, at, &text, err);
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, key, &conn, err);
    if (st == STELE_OK) {
        stele_str json = {text.data, text.len};
        sessions_append_track_event_params params = {
            STELE__KEY(*key),
            .track = stele_text_of(track),
            .event = stele_text_of(json),
            .at = timestamp.has ? stele_ts_n_v(at) : stele_ts_n_null(),
            .ttl = stele__sessions_ttl(store->session_ttl_ms),
            .ttl_slack = stele__sessions_slack(store),
            .track_ttl = stele__sessions_ttl(store->track_ttl_ms),
        };
        st = stele__sessions_end(store, conn, run_track(store, key, conn, &params, &appended, err));
    }
    stele__store_text_free(&text);
    if (st == STELE_OK && ret_appended != NULL)
        *ret_appended = appended;
    return st;
}

stele_status stele_sessions_get_track(stele_sessions *store, const stele_session_key *key,
                                      stele_str track, stele_opt_ts after, uint32_t limit,
                                      stele_session_events **ret_events, stele_error *err)
{
    stele_conn *conn = NULL;
    sessions_get_track_events_rows *rows = NULL;
    stele_session_event *array = NULL;
    sessions_get_track_events_params params = {
        STELE__KEY(*key),
        .track = stele_text_of(track),
        .limit = limit > 0 ? stele_i64_n_v(limit) : stele_i64_n_null(),
    };
    if (after.has)
        params.since = stele_ts_v(after.v);
    stele_status st = check_track(key, track, err);
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, key, &conn, err);
    if (st != STELE_OK)
        return st;
    st = sessions_get_track_events(conn, &params, &rows, err);
    if (st == STELE_OK)
        st = new_events(rows->count, rows, ret_events, &array, err);
    for (size_t i = 0; st == STELE_OK && i < rows->count; i++) {
        array[i].row_id = rows->rows[i].id;
        array[i].created_at = rows->rows[i].created_at;
        array[i].json = rows->rows[i].event;
    }
    return stele__sessions_end(store, conn, st);
}

/* ---- windows --------------------------------------------------------------------------------- */

static stele_status take_window(sessions_get_window_rows *rows, stele_session_events **ret_events,
                                size_t *ret_anchor, stele_error *err)
{
    stele_session_event *array = NULL;
    if (rows->count == 0) {
        sessions_get_window_rows_free(rows);
        return stele__store_fail(err, STELE_E_NOT_FOUND, "anchor event not found");
    }
    stele_status st = new_events(rows->count, rows, ret_events, &array, err);
    for (size_t i = 0; st == STELE_OK && i < rows->count; i++) {
        array[i].row_id = rows->rows[i].id;
        array[i].created_at = rows->rows[i].created_at;
        array[i].json = rows->rows[i].event;
        if (rows->rows[i].side == 0 && ret_anchor != NULL)
            *ret_anchor = i;
    }
    return st;
}

stele_status stele_sessions_window(stele_sessions *store, const stele_session_key *key,
                                   stele_str event_id, uint32_t before, uint32_t after,
                                   const stele_str *roles, size_t role_count,
                                   stele_session_events **ret_events, size_t *ret_anchor,
                                   stele_error *err)
{
    static const stele_str usual[] = {{"user", 4}, {"assistant", 9}};
    stele_conn *conn = NULL;
    sessions_get_window_rows *rows = NULL;
    stele_str_array wanted = {role_count > 0 ? roles : usual, NULL,
                              role_count > 0 ? role_count : 2};
    sessions_get_window_params params = {
        STELE__KEY(*key),
        .event_id = stele_text_of(event_id),
        .roles = stele_str_array_v(wanted),
        .before = stele_i64_v(before),
        .after = stele_i64_v(after),
        .find =
            store->event_id_index ? SESSIONS_GET_WINDOW_FIND_INDEX : SESSIONS_GET_WINDOW_FIND_SCAN,
    };
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK && event_id.len == 0)
        st = stele__store_fail(err, STELE_E_INPUT, "event id is required");
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, key, &conn, err);
    if (st != STELE_OK)
        return st;
    st = sessions_get_window(conn, &params, &rows, err);
    if (st == STELE_OK)
        st = take_window(rows, ret_events, ret_anchor, err);
    return stele__sessions_end(store, conn, st);
}
