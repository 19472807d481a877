#include "sessions_call.h"
#include "sessions_rows.h"

#include "banned.h"

/* ---- what was read --------------------------------------------------------------------------- */

typedef struct values_block {
    stele_session_values values; /* first: callers have its address */
    stele__store_arena arena;
    void *generated;
} values_block;

void stele_session_values_free(stele_session_values *values)
{
    values_block *block = (values_block *)values;
    if (block == NULL)
        return;
    stele__store_arena arena = block->arena;
    stele_gen_free(block->generated);
    stele__store_arena_free(&arena);
}

void stele_session_values_autofree(stele_session_values **values)
{
    stele_session_values_free(*values);
}

/* Both lists have the same rows. */
typedef struct pair {
    stele_str key;
    stele_str value;
} pair;
_Static_assert(sizeof(sessions_list_app_states_row) == sizeof(pair) &&
                   offsetof(sessions_list_app_states_row, value) == offsetof(pair, value) &&
                   sizeof(sessions_list_user_states_row) == sizeof(pair) &&
                   offsetof(sessions_list_user_states_row, value) == offsetof(pair, value),
               "rows of states");

/* Takes over `generated`, of which `pairs` are a part. */
static stele_status make_values(const void *pairs, size_t count, void *generated,
                                stele_session_values **ret_values, stele_error *err)
{
    const pair *from = pairs;
    stele__store_arena arena = {0};
    values_block *block = stele__store_take(&arena, sizeof *block);
    stele_session_value *values = stele__store_take(&arena, (count + 1) * sizeof *values);
    stele__state state = {.arena = &arena};
    stele_status st = block != NULL && values != NULL ? STELE_OK : stele__store_no_memory(err);
    for (size_t i = 0; i < count && st == STELE_OK; i++) {
        stele_bytes value = {(const uint8_t *)from[i].value.data, from[i].value.len};
        st = stele__state_add(&state, "", from[i].key, value, err);
    }
    const stele_session_value *sorted = NULL;
    if (st == STELE_OK)
        st = stele__state_finish(&state, &sorted, &count, err);
    if (st != STELE_OK) {
        stele_gen_free(generated);
        stele__store_arena_free(&arena);
        return st;
    }
    block->values.values = sorted;
    block->values.count = count;
    block->arena = arena;
    block->generated = generated;
    *ret_values = &block->values;
    return STELE_OK;
}

stele_status stele_sessions_list_app_state(stele_sessions *store, stele_str app_name,
                                           stele_session_values **ret_values, stele_error *err)
{
    stele_conn *conn = NULL;
    sessions_list_app_states_rows *rows = NULL;
    sessions_list_app_states_params params = {.app_name = stele_text_of(app_name)};
    stele_status st = stele__sessions_check_app(app_name, err);
    if (st == STELE_OK)
        st = stele__sessions_begin(store, &conn, err);
    if (st != STELE_OK)
        return st;
    st = sessions_list_app_states(conn, &params, &rows, err);
    if (st == STELE_OK)
        st = make_values(rows->rows, rows->count, rows, ret_values, err);
    return stele__sessions_end(store, conn, st);
}

stele_status stele_sessions_list_user_state(stele_sessions *store, const stele_session_user *user,
                                            stele_session_values **ret_values, stele_error *err)
{
    stele_conn *conn = NULL;
    sessions_list_user_states_rows *rows = NULL;
    sessions_list_user_states_params params = {.app_name = stele_text_of(user->app_name),
                                               .user_id = stele_text_of(user->user_id)};
    stele_status st = stele__sessions_check_user(user, err);
    if (st == STELE_OK)
        st = stele__sessions_begin(store, &conn, err);
    if (st != STELE_OK)
        return st;
    st = sessions_list_user_states(conn, &params, &rows, err);
    if (st == STELE_OK)
        st = make_values(rows->rows, rows->count, rows, ret_values, err);
    return stele__sessions_end(store, conn, st);
}

/* ---- writing --------------------------------------------------------------------------------- */

stele_status stele__pairs_init(stele__pairs *pairs, const stele_session_value *values, size_t count,
                               const char *prefix, stele_error *err)
{
    stele_str *keys = stele__store_take(&pairs->arena, (count + 1) * sizeof *keys);
    stele_str *texts = stele__store_take(&pairs->arena, (count + 1) * sizeof *texts);
    bool *nulls = stele__store_take_array(&pairs->arena, count + 1, sizeof *nulls);
    if (keys == NULL || texts == NULL || nulls == NULL)
        return stele__store_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        keys[i] = stele__sessions_strip(values[i].key, prefix);
        if (keys[i].len == 0)
            return stele__store_fail(err, STELE_E_INPUT, "state key is required");
        texts[i].data = (const char *)values[i].value.data;
        texts[i].len = values[i].value.len;
        nulls[i] = texts[i].data == NULL;
    }
    pairs->keys.items = keys;
    pairs->keys.count = count;
    pairs->values.items = texts;
    pairs->values.nulls = nulls;
    pairs->values.count = count;
    return STELE_OK;
}

void stele__pairs_release(stele__pairs *pairs)
{
    stele__store_arena_free(&pairs->arena);
}

stele_str stele__sessions_strip(stele_str key, const char *prefix)
{
    size_t len = strlen(prefix);
    if (key.data != NULL && stele__store_starts(key, prefix)) {
        key.data += len;
        key.len -= len;
    }
    return key;
}

stele_status stele_sessions_update_app_state(stele_sessions *store, stele_str app_name,
                                             const stele_session_value *values, size_t count,
                                             stele_error *err)
{
    stele_conn *conn = NULL;
    stele__pairs pairs = {0};
    stele_status st = stele__sessions_check_app(app_name, err);
    if (st != STELE_OK || count == 0)
        return st;
    st = stele__pairs_init(&pairs, values, count, "app:", err);
    if (st == STELE_OK)
        st = stele__sessions_begin(store, &conn, err);
    if (st == STELE_OK) {
        sessions_put_app_states_params params = {
            .app_name = stele_text_of(app_name),
            .keys = stele_str_array_v(pairs.keys),
            .values = stele_str_array_v(pairs.values),
            .ttl = stele__sessions_ttl(store->app_ttl_ms),
        };
        st = stele__sessions_end(store, conn, sessions_put_app_states(conn, &params, NULL, err));
    }
    stele__pairs_release(&pairs);
    return st;
}

stele_status stele_sessions_update_user_state(stele_sessions *store, const stele_session_user *user,
                                              const stele_session_value *values, size_t count,
                                              stele_error *err)
{
    stele_conn *conn = NULL;
    stele__pairs pairs = {0};
    stele_status st = stele__sessions_check_user(user, err);
    if (st != STELE_OK || count == 0)
        return st;
    st = stele__pairs_init(&pairs, values, count, "user:", err);
    if (st == STELE_OK)
        st = stele__sessions_begin(store, &conn, err);
    if (st == STELE_OK) {
        sessions_put_user_states_params params = {
            .app_name = stele_text_of(user->app_name),
            .user_id = stele_text_of(user->user_id),
            .keys = stele_str_array_v(pairs.keys),
            .values = stele_str_array_v(pairs.values),
            .ttl = stele__sessions_ttl(store->user_ttl_ms),
        };
        st = stele__sessions_end(store, conn, sessions_put_user_states(conn, &params, NULL, err));
    }
    stele__pairs_release(&pairs);
    return st;
}

/* ---- deleting -------------------------------------------------------------------------------- */

static stele_status check_state_key(stele_str key, stele_error *err)
{
    return key.len > 0 ? STELE_OK : stele__store_fail(err, STELE_E_INPUT, "state key is required");
}

stele_status stele_sessions_delete_app_state(stele_sessions *store, stele_str app_name,
                                             stele_str key, stele_error *err)
{
    stele_conn *conn = NULL;
    stele_str stripped = stele__sessions_strip(key, "app:");
    sessions_delete_app_state_params soft = {.app_name = stele_text_of(app_name),
                                             .key = stele_text_of(stripped)};
    sessions_hard_delete_app_state_params hard = {.app_name = stele_text_of(app_name),
                                                  .key = stele_text_of(stripped)};
    stele_status st = stele__sessions_check_app(app_name, err);
    if (st == STELE_OK)
        st = check_state_key(stripped, err);
    if (st == STELE_OK)
        st = stele__sessions_begin(store, &conn, err);
    if (st != STELE_OK)
        return st;
    st = store->soft_delete ? sessions_delete_app_state(conn, &soft, NULL, err)
                            : sessions_hard_delete_app_state(conn, &hard, NULL, err);
    return stele__sessions_end(store, conn, st);
}

stele_status stele_sessions_delete_user_state(stele_sessions *store, const stele_session_user *user,
                                              stele_str key, stele_error *err)
{
    stele_conn *conn = NULL;
    stele_str stripped = stele__sessions_strip(key, "user:");
    sessions_delete_user_state_params soft = {.app_name = stele_text_of(user->app_name),
                                              .user_id = stele_text_of(user->user_id),
                                              .key = stele_text_of(stripped)};
    sessions_hard_delete_user_state_params hard = {.app_name = stele_text_of(user->app_name),
                                                   .user_id = stele_text_of(user->user_id),
                                                   .key = stele_text_of(stripped)};
    stele_status st = stele__sessions_check_user(user, err);
    if (st == STELE_OK)
        st = check_state_key(stripped, err);
    if (st == STELE_OK)
        st = stele__sessions_begin(store, &conn, err);
    if (st != STELE_OK)
        return st;
    st = store->soft_delete ? sessions_delete_user_state(conn, &soft, NULL, err)
                            : sessions_hard_delete_user_state(conn, &hard, NULL, err);
    return stele__sessions_end(store, conn, st);
}
