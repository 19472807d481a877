#include "sessions_append.h"
#include "store_json.h"

#include "banned.h"

/* Members of a delta under way: those that stay with the session and those that stay in the event. */
typedef struct routing {
    stele__append *append;
    stele_session_value *app;
    stele_session_value *user;
    size_t app_count;
    size_t user_count;
    bool own_begun;
    bool kept_begun;
    stele__store_text kept; /* what the stored event shows: all but temporary values */
} routing;

static void add_member(stele__store_text *text, bool *begun, stele_str raw_key, stele_str value)
{
    stele__store_adds(text, *begun ? ",\"" : "{\"");
    stele__store_add(text, raw_key.data, raw_key.len);
    stele__store_adds(text, "\":");
    stele__store_add(text, value.data, value.len);
    *begun = true;
}

static stele_status take_value(routing *r, stele_str key, stele_str json,
                               stele_session_value *value, stele_error *err)
{
    value->key = key;
    if (json.data[0] != '"')
        return STELE_OK;
    uint8_t *bytes = stele__store_take(&r->append->arena, json.len / 4 * 3 + 4);
    if (bytes == NULL)
        return stele__store_no_memory(err);
    value->value.data = bytes;
    value->value.len = stele__json_base64((stele_str){json.data + 1, json.len - 2}, bytes);
    return STELE_OK;
}

static stele_status route(routing *r, stele_str raw_key, stele_str json, stele_error *err)
{
    char *name = stele__store_take(&r->append->arena, raw_key.len + 1);
    size_t len = name != NULL ? stele__json_unescape(raw_key, name) : 0;
    if (name == NULL)
        return stele__store_no_memory(err);
    if (len == SIZE_MAX)
        return stele__store_fail(err, STELE_E_INPUT, "a key of the event's stateDelta is no text");
    stele_str key = {name, len};
    if (stele__store_starts(key, "temp:"))
        return STELE_OK;
    add_member(&r->kept, &r->kept_begun, raw_key, json);
    if (stele__store_starts(key, "app:"))
        return take_value(r, key, json, &r->app[r->app_count++], err);
    if (stele__store_starts(key, "user:"))
        return take_value(r, key, json, &r->user[r->user_count++], err);
    add_member(&r->append->own_delta, &r->own_begun, raw_key, json);
    return STELE_OK;
}

/* The event with another stateDelta. */
static void replace_delta(routing *r)
{
    stele__append *append = r->append;
    stele_str event = append->event;
    stele_str delta = append->facts.delta;
    size_t before = (size_t)(delta.data - event.data);
    stele__store_text *text = &append->own_event;
    stele__store_add(text, event.data, before);
    stele__store_add(text, r->kept.data, r->kept.len);
    stele__store_add(text, delta.data + delta.len, event.len - before - delta.len);
    append->event.data = text->data;
    append->event.len = text->len;
}

static stele_status route_all(routing *r, stele_error *err)
{
    stele__append *append = r->append;
    stele__json j = stele__json_of(append->facts.delta);
    stele_str key = {NULL, 0};
    for (bool first = stele__json_enter(&j, '{'); stele__json_member(&j, &first, &key);) {
        stele_str json = stele__json_value(&j);
        stele_status st = route(r, key, json, err);
        if (st != STELE_OK)
            return st;
    }
    stele__store_adds(&append->own_delta, r->own_begun ? "}" : "{}");
    stele__store_adds(&r->kept, r->kept_begun ? "}" : "{}");
    replace_delta(r);
    append->delta.data = append->own_delta.data;
    append->delta.len = append->own_delta.len;
    if (append->own_delta.failed || r->kept.failed || append->own_event.failed)
        return stele__store_no_memory(err);
    stele_status st = stele__pairs_init(&append->app, r->app, r->app_count, "app:", err);
    if (st == STELE_OK)
        st = stele__pairs_init(&append->user, r->user, r->user_count, "user:", err);
    return st;
}

stele_status stele__append_route(stele__append *append, stele_error *err)
{
    routing r = {.append = append};
    size_t most = 1;
    stele_str delta = append->facts.delta;
    if (delta.len <= 2)
        return STELE_OK;
    for (size_t i = 0; i < delta.len; i++)
        most += delta.data[i] == ':';
    r.app = stele__store_take_array(&append->arena, most, sizeof *r.app);
    r.user = stele__store_take_array(&append->arena, most, sizeof *r.user);
    if (r.app == NULL || r.user == NULL)
        return stele__store_no_memory(err);
    stele_status st = route_all(&r, err);
    stele__store_text_free(&r.kept);
    return st;
}

stele_status stele__append_queue_routed(const stele_sessions *store, const stele__append *append,
                                        stele_pipeline *p, stele_error *err)
{
    stele_status st = STELE_OK;
    if (append->app.keys.count > 0) {
        sessions_put_app_states_params params = {
            .app_name = stele_text_of(append->key.app_name),
            .owner_id = stele_text_of(append->key.user_id),
            .session_id = stele_text_of(append->key.session_id),
            .keys = stele_str_array_v(append->app.keys),
            .values = stele_str_array_v(append->app.values),
            .ttl = stele__sessions_ttl(store->app_ttl_ms),
        };
        st = sessions_put_app_states_queue(p, &params, NULL, err);
    }
    if (st == STELE_OK && append->user.keys.count > 0) {
        sessions_put_user_states_params params = {
            .app_name = stele_text_of(append->key.app_name),
            .user_id = stele_text_of(append->key.user_id),
            .session_id = stele_text_of(append->key.session_id),
            .keys = stele_str_array_v(append->user.keys),
            .values = stele_str_array_v(append->user.values),
            .ttl = stele__sessions_ttl(store->user_ttl_ms),
        };
        st = sessions_put_user_states_queue(p, &params, NULL, err);
    }
    return st;
}
