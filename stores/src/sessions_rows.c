#include "sessions_rows.h"
#include "sessions_call.h"
#include "store_json.h"

#include "banned.h"

/* One layout serves the rows of all reads. */
#define SAME_LAYOUT(type)                                                                          \
    _Static_assert(offsetof(type, kind) == 0 &&                                                    \
                       offsetof(type, id) - offsetof(type, name) == offsetof(stele__row, id) &&    \
                       offsetof(type, created_at) - offsetof(type, name) ==                        \
                           offsetof(stele__row, created_at) &&                                     \
                       offsetof(type, updated_at) - offsetof(type, name) ==                        \
                           offsetof(stele__row, updated_at) &&                                     \
                       offsetof(type, body) - offsetof(type, name) ==                              \
                           offsetof(stele__row, body) &&                                           \
                       sizeof(type) - offsetof(type, name) == sizeof(stele__row),                  \
                   #type)
SAME_LAYOUT(sessions_get_row);
SAME_LAYOUT(sessions_get_page_row);
SAME_LAYOUT(sessions_list_row);
SAME_LAYOUT(sessions_list_meta_row);
_Static_assert(offsetof(sessions_list_row, session_id) ==
                   offsetof(sessions_list_meta_row, session_id),
               "session_id");

static stele__rows rows_of(const void *base, size_t count, size_t stride, size_t tail,
                           void *generated)
{
    stele__rows rows = {
        .base = base, .count = count, .stride = stride, .tail = tail, .generated = generated};
    for (size_t i = 0; i < count; i++) {
        stele__row_kind kind = stele__rows_kind(&rows, i);
        if (kind != STELE__ROW_APP_STATE && kind != STELE__ROW_USER_STATE)
            continue;
        if (rows.states_end == 0)
            rows.states_begin = i;
        rows.states_end = i + 1;
    }
    return rows;
}

stele__rows stele__rows_of_get(sessions_get_rows *g)
{
    return rows_of(g->rows, g->count, sizeof *g->rows, offsetof(sessions_get_row, name), g);
}

stele__rows stele__rows_of_page(sessions_get_page_rows *g)
{
    return rows_of(g->rows, g->count, sizeof *g->rows, offsetof(sessions_get_page_row, name), g);
}

stele__rows stele__rows_of_list(sessions_list_rows *g)
{
    return rows_of(g->rows, g->count, sizeof *g->rows, offsetof(sessions_list_row, name), g);
}

stele__rows stele__rows_of_list_meta(sessions_list_meta_rows *g)
{
    return rows_of(g->rows, g->count, sizeof *g->rows, offsetof(sessions_list_meta_row, name), g);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

stele__session_block *stele__session_block_new(stele_error *err)
{
    stele__store_arena arena = {0};
    stele__session_block *block = stele__store_take(&arena, sizeof *block);
    if (block == NULL) {
        (void)stele__store_no_memory(err);
        return NULL;
    }
    memset(block, 0, sizeof *block);
    block->arena = arena;
    return block;
}

void stele_session_free(stele_session *session)
{
    stele__session_block *block = (stele__session_block *)session;
    if (block == NULL)
        return;
    stele__store_arena arena = block->arena; /* of which the block is a part */
    stele_gen_free(block->generated);
    stele__store_arena_free(&arena);
}

void stele_session_autofree(stele_session **session)
{
    stele_session_free(*session);
}

const stele_session_value *stele_session_find(const stele_session *session, const char *key)
{
    return stele__state_find(session->state, session->state_count, stele_s(key));
}

/* ---- tracks ---------------------------------------------------------------------------------- */

/* The events of one track: they stand together. */
static stele_session_track track_named(const stele__gathering *g, stele_str name)
{
    stele_session_track track = {name, NULL, 0};
    for (size_t i = 0; i < g->track_event_count; i++) {
        if (!stele_str_eq(*g->track_names[i], name))
            continue;
        if (track.event_count++ == 0)
            track.events = &g->track_events[i];
    }
    return track;
}

static bool is_wanted(const stele__wanted_tracks *wanted, stele_str name)
{
    if (wanted->all)
        return true;
    for (size_t i = 0; i < wanted->count; i++)
        if (stele_str_eq(wanted->names[i], name))
            return true;
    return false;
}

/* Names of a JSON array of texts; NULL for what is none. */
static stele_status list_names(stele__store_arena *arena, stele_bytes value, stele_str **ret_names,
                               size_t *ret_count, stele_error *err)
{
    stele_str text = {(const char *)value.data, value.len};
    size_t commas = 1;
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        commas += text.data[i] == ',';
    stele_str *names = stele__store_take(arena, commas * sizeof *names);
    if (names == NULL)
        return stele__store_no_memory(err);
    stele__json j = stele__json_of(text);
    *ret_names = NULL;
    if (stele__json_peek(&j) != '[')
        return STELE_OK;
    for (bool first = stele__json_enter(&j, '['); stele__json_item(&j, &first);) {
        stele_str raw = stele__json_string(&j);
        char *name = stele__store_take(arena, raw.len + 1);
        if (name == NULL)
            return stele__store_no_memory(err);
        size_t len = j.bad ? SIZE_MAX : stele__json_unescape(raw, name);
        if (len == SIZE_MAX)
            return STELE_OK;
        name[len] = '\0';
        names[count].data = name;
        names[count++].len = len;
    }
    *ret_count = count;
    *ret_names = stele__json_done(&j) ? names : NULL;
    return STELE_OK;
}

/* A list of tracks that cannot be read hides nothing: then there are those that have events. */
static stele_str *names_of_rows(const stele__gathering *g, size_t *ret_count)
{
    stele_str *names = stele__store_take(g->arena, (g->track_event_count + 1) * sizeof *names);
    size_t count = 0;
    for (size_t i = 0; names != NULL && i < g->track_event_count; i++)
        if (i == 0 || !stele_str_eq(*g->track_names[i], *g->track_names[i - 1]))
            names[count++] = *g->track_names[i];
    *ret_count = count;
    return names;
}

static stele_status add_tracks(stele__gathering *g, const stele__wanted_tracks *wanted,
                               stele_error *err)
{
    const stele_session_value *list = stele_session_find(g->session, "tracks");
    stele_str *names = NULL;
    size_t count = 0;
    if (list == NULL || list->value.data == NULL || list->value.len == 0)
        return STELE_OK;
    stele_status st = list_names(g->arena, list->value, &names, &count, err);
    if (st != STELE_OK)
        return st;
    if (names == NULL)
        names = names_of_rows(g, &count);
    stele_session_track *tracks = stele__store_take(g->arena, (count + 1) * sizeof *tracks);
    if (names == NULL || tracks == NULL)
        return stele__store_no_memory(err);
    g->session->tracks = tracks;
    for (size_t i = 0; i < count; i++)
        if (is_wanted(wanted, names[i]))
            tracks[g->session->track_count++] = track_named(g, names[i]);
    return STELE_OK;
}

/* ---- stele__gathering ------------------------------------------------------------------------------- */

void stele__gather_count(stele__gathering *g, stele__row_kind kind)
{
    g->befores += kind == STELE__ROW_EVENT_BEFORE;
    g->event_count += kind == STELE__ROW_EVENT;
    g->track_event_count += kind == STELE__ROW_TRACK_EVENT;
    g->summary_count += kind == STELE__ROW_SUMMARY;
}

stele_status stele__gather_begin(stele__gathering *g, stele_error *err)
{
    size_t events = g->befores + g->event_count;
    g->events = stele__store_take(g->arena, (events + 1) * sizeof *g->events);
    g->track_events =
        stele__store_take(g->arena, (g->track_event_count + 1) * sizeof *g->track_events);
    g->track_names =
        stele__store_take(g->arena, (g->track_event_count + 1) * sizeof *g->track_names);
    g->summaries = stele__store_take(g->arena, (g->summary_count + 1) * sizeof *g->summaries);
    if (g->events == NULL || g->track_events == NULL || g->track_names == NULL ||
        g->summaries == NULL)
        return stele__store_no_memory(err);
    g->event_count = g->befores;
    g->befores = 0;
    g->track_event_count = 0;
    g->summary_count = 0;
    return STELE_OK;
}

static void put_event(stele_session_event *event, const stele__row *row)
{
    event->row_id = row->id.v;
    event->created_at = row->created_at.v;
    event->json = row->body;
}

void stele__gather_row(stele__gathering *g, stele__row_kind kind, const stele__row *row)
{
    if (kind == STELE__ROW_EVENT) {
        put_event(&g->events[g->event_count++], row);
    } else if (kind == STELE__ROW_EVENT_BEFORE) {
        put_event(&g->events[g->befores++], row);
    } else if (kind == STELE__ROW_TRACK_EVENT) {
        g->track_names[g->track_event_count] = &row->name;
        put_event(&g->track_events[g->track_event_count++], row);
    } else if (kind == STELE__ROW_SUMMARY) {
        stele_session_summary *summary = &g->summaries[g->summary_count++];
        summary->filter_key = row->name;
        summary->updated_at = row->updated_at.v;
        summary->json = row->body;
    }
}

/* The session's own state, then that of application and user. */
static stele_status add_state(stele__gathering *g, const stele__rows *rows, const stele__row *own,
                              stele_error *err)
{
    stele__state state = {.arena = g->arena};
    stele_status st = stele__state_add_envelope(&state, own->body, err);
    for (size_t i = rows->states_begin; i < rows->states_end && st == STELE_OK; i++) {
        stele__row_kind kind = stele__rows_kind(rows, i);
        const stele__row *row = stele__rows_at(rows, i);
        stele_bytes value = {(const uint8_t *)row->body.data, row->body.len};
        if (kind == STELE__ROW_APP_STATE)
            st = stele__state_add(&state, "app:", row->name, value, err);
        else if (kind == STELE__ROW_USER_STATE)
            st = stele__state_add(&state, "user:", row->name, value, err);
    }
    if (st == STELE_OK)
        st = stele__state_finish(&state, &g->session->state, &g->session->state_count, err);
    return st;
}

stele_status stele__gather_finish(stele__gathering *g, const stele__rows *rows,
                                  const stele__row *own, const stele__wanted_tracks *tracks,
                                  stele_error *err)
{
    stele_session *session = g->session;
    session->events = g->events;
    session->event_count = g->event_count;
    session->summaries = g->summaries;
    session->summary_count = g->event_count > 0 ? g->summary_count : 0; /* as the peer */
    stele_status st = add_state(g, rows, own, err);
    if (st == STELE_OK)
        st = add_tracks(g, tracks, err);
    return st;
}

/* ---- one session ----------------------------------------------------------------------------- */

/* The row of the session itself; NULL: there is none, whatever its application and user have. */
static const stele__row *own_row(const stele__rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        if (stele__rows_kind(rows, i) == STELE__ROW_SESSION)
            return stele__rows_at(rows, i);
    return NULL;
}

static stele_status fill_session(stele__session_block *block, const stele_session_key *given,
                                 const stele__rows *rows, const stele__row *own,
                                 const stele__wanted_tracks *tracks, stele_error *err)
{
    stele__gathering g = {.arena = &block->arena, .session = &block->session};
    stele_session_key key;
    for (size_t i = 0; i < rows->count; i++)
        stele__gather_count(&g, stele__rows_kind(rows, i));
    stele_status st = stele__sessions_copy_key(&block->arena, given, &key, err);
    if (st == STELE_OK)
        st = stele__gather_begin(&g, err);
    if (st != STELE_OK)
        return st;
    block->session.key = key;
    block->session.created_at = own->created_at.v;
    block->session.updated_at = own->updated_at.v;
    for (size_t i = 0; i < rows->count; i++)
        stele__gather_row(&g, stele__rows_kind(rows, i), stele__rows_at(rows, i));
    return stele__gather_finish(&g, rows, own, tracks, err);
}

stele_status stele__session_of_rows(const stele_session_key *key, stele__rows rows,
                                    const stele__wanted_tracks *tracks, stele_session **ret_session,
                                    stele_error *err)
{
    const stele__row *own = own_row(&rows);
    if (own == NULL) {
        stele_gen_free(rows.generated);
        return stele__sessions_missing(key, err);
    }
    stele__session_block *block = stele__session_block_new(err);
    if (block == NULL) {
        stele_gen_free(rows.generated);
        return STELE_E_NOMEM;
    }
    block->generated = rows.generated;
    stele_status st = fill_session(block, key, &rows, own, tracks, err);
    if (st != STELE_OK) {
        stele_session_free(&block->session);
        return st;
    }
    *ret_session = &block->session;
    return STELE_OK;
}
