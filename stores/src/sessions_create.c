#include "sessions_call.h"
#include "sessions_event.h"
#include "sessions_rows.h"

#include "banned.h"

stele_status stele__creation_init(stele__creation *creation, const stele_session_key *key,
                                  const stele_session_value *state, size_t count, stele_error *err)
{
    memset(creation, 0, sizeof *creation);
    creation->key = *key;
    stele_session_user user = {key->app_name, key->user_id};
    stele_status st = stele__sessions_check_user(&user, err);
    if (st == STELE_OK && key->session_id.len == 0) {
        stele_uuid uuid;
        st = stele_uuid_v4(&uuid);
        if (st != STELE_OK)
            return stele__store_fail(err, st, "no random numbers for a session id");
        creation->key.session_id = stele_s(stele_uuid_format(uuid, creation->id));
    }
    if (st != STELE_OK)
        return st;
    stele__state_write(state, count, &creation->state);
    return creation->state.failed ? stele__store_no_memory(err) : STELE_OK;
}

void stele__creation_release(stele__creation *creation)
{
    sessions_create_row_free(creation->row);
    stele__store_text_free(&creation->state);
}

/* What a session that expired has left under this key. */
static stele_status queue_clearing(stele_sessions *store, const stele_session_key *key,
                                   stele_pipeline *p, stele_error *err)
{
    sessions_clear_former_events_params events = {STELE__KEY(*key)};
    sessions_clear_former_tracks_params tracks = {STELE__KEY(*key)};
    sessions_clear_former_summaries_params summaries = {STELE__KEY(*key)};
    sessions_hard_clear_former_events_params hard_events = {STELE__KEY(*key)};
    sessions_hard_clear_former_tracks_params hard_tracks = {STELE__KEY(*key)};
    sessions_hard_clear_former_summaries_params hard_summaries = {STELE__KEY(*key)};
    stele_status st;
    if (store->soft_delete) {
        st = sessions_clear_former_events_queue(p, &events, NULL, err);
        if (st == STELE_OK)
            st = sessions_clear_former_tracks_queue(p, &tracks, NULL, err);
        return st == STELE_OK ? sessions_clear_former_summaries_queue(p, &summaries, NULL, err)
                              : st;
    }
    st = sessions_hard_clear_former_events_queue(p, &hard_events, NULL, err);
    if (st == STELE_OK)
        st = sessions_hard_clear_former_tracks_queue(p, &hard_tracks, NULL, err);
    return st == STELE_OK
               ? sessions_hard_clear_former_summaries_queue(p, &hard_summaries, NULL, err)
               : st;
}

stele_status stele__creation_queue(stele_sessions *store, stele__creation *creation,
                                   stele_pipeline *p, stele_error *err)
{
    stele_str state = {creation->state.data, creation->state.len};
    sessions_create_params params = {
        STELE__KEY(creation->key),
        .state = stele_text_of(state),
        .ttl = stele__sessions_ttl(store->session_ttl_ms),
    };
    stele_status st = sessions_create_queue(p, &params, &creation->row, err);
    return st == STELE_OK ? queue_clearing(store, &creation->key, p, err) : st;
}

/* ---- what is created ------------------------------------------------------------------------- */

static stele_status copy_value(stele__state *state, const char *prefix, stele_str key,
                               stele_bytes value, stele_error *err)
{
    stele_str copy = {(const char *)value.data, value.len};
    copy = stele__store_copy(state->arena, copy);
    if (value.data != NULL && copy.data == NULL)
        return stele__store_no_memory(err);
    stele_bytes bytes = {(const uint8_t *)copy.data, copy.len};
    return stele__state_add(state, prefix, key, bytes, err);
}

static stele_bytes bytes_of(stele_str text)
{
    stele_bytes bytes = {(const uint8_t *)text.data, text.len};
    return bytes;
}

typedef struct created {
    stele__creation creation;
    sessions_list_app_states_rows *app;
    sessions_list_user_states_rows *user;
} created;

static stele_status fill_created(stele__session_block *block, const created *c,
                                 const stele_session_value *values, size_t count, stele_error *err)
{
    stele__state state = {.arena = &block->arena};
    stele_session *session = &block->session;
    stele_status st = STELE_OK;
    for (size_t i = 0; i < count && st == STELE_OK; i++)
        st = copy_value(&state, "", values[i].key, values[i].value, err);
    for (size_t i = 0; i < c->app->count && st == STELE_OK; i++)
        st = copy_value(&state, "app:", c->app->rows[i].key, bytes_of(c->app->rows[i].value), err);
    for (size_t i = 0; i < c->user->count && st == STELE_OK; i++)
        st = copy_value(&state, "user:", c->user->rows[i].key, bytes_of(c->user->rows[i].value),
                        err);
    if (st == STELE_OK)
        st = stele__state_finish(&state, &session->state, &session->state_count, err);
    if (st == STELE_OK)
        st = stele__sessions_copy_key(&block->arena, &c->creation.key, &session->key, err);
    session->created_at = c->creation.row->created_at;
    session->updated_at = c->creation.row->created_at;
    return st;
}

static stele_status make_session(const created *c, const stele_session_value *values, size_t count,
                                 stele_session **ret_session, stele_error *err)
{
    if (ret_session == NULL)
        return STELE_OK;
    stele__session_block *block = stele__session_block_new(err);
    if (block == NULL)
        return STELE_E_NOMEM;
    stele_status st = fill_created(block, c, values, count, err);
    if (st != STELE_OK)
        stele_session_free(&block->session);
    else
        *ret_session = &block->session;
    return st;
}

static stele_status run_create(stele_sessions *store, stele_conn *conn, created *c, bool states,
                               stele_error *err)
{
    STELE_AUTO(stele_pipeline) p = NULL;
    sessions_list_app_states_params app = {.app_name = stele_text_of(c->creation.key.app_name)};
    sessions_list_user_states_params user = {.app_name = stele_text_of(c->creation.key.app_name),
                                             .user_id = stele_text_of(c->creation.key.user_id)};
    stele_status st = stele_pipeline_open(conn, NULL, &p, err);
    if (st == STELE_OK)
        st = stele__creation_queue(store, &c->creation, p, err);
    if (st == STELE_OK && states)
        st = sessions_list_app_states_queue(p, &app, &c->app, err);
    if (st == STELE_OK && states)
        st = sessions_list_user_states_queue(p, &user, &c->user, err);
    if (st == STELE_OK)
        st = stele_pipeline_sync(p, err);
    if (st == STELE_OK && c->creation.row == NULL)
        st = stele__store_fail(err, STELE_E_UNIQUE, "session already exists and has not expired");
    return st;
}

stele_status stele_sessions_create(stele_sessions *store, const stele_session_key *key,
                                   const stele_session_value *state, size_t count,
                                   stele_session **ret_session, stele_error *err)
{
    created c = {0};
    stele_conn *conn = NULL;
    stele_status st = stele__creation_init(&c.creation, key, state, count, err);
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, key, &conn, err);
    if (st == STELE_OK) {
        st = run_create(store, conn, &c, ret_session != NULL, err);
        if (st == STELE_OK)
            stele__seen_note(store, &c.creation.key, c.creation.row->created_at);
        if (st == STELE_OK)
            st = make_session(&c, state, count, ret_session, err);
        st = stele__sessions_end(store, conn, st);
    }
    sessions_list_app_states_rows_free(c.app);
    sessions_list_user_states_rows_free(c.user);
    stele__creation_release(&c.creation);
    return st;
}
