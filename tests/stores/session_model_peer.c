/* The model's other program: the statements of the peer, one by one as its reference tells them, and the
 * events that both write. See session_model.h. */
#define _GNU_SOURCE
#include <jansson.h>
#include <time.h>

#include "session_model.h"

/* ---- what is written ---------------------------------------------------------------------------- */

static char *base64(const model_value *value)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static char text[32];
    size_t len = 0;
    for (size_t i = 0; i < value->len; i += 3) {
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (i + j < value->len ? value->data[i + j] : 0);
        for (size_t j = 0; j < 4; j++)
            text[len++] = i + j <= value->len ? digits[bits >> (18 - 6 * j) & 63] : '=';
    }
    text[len] = '\0';
    return text;
}

void random_delta(model_delta *delta, bool prefixes)
{
    static const char *const keys[] = {"a",   "b",     "c\xc3\xa9", "d\"q\\", "temp:t",
                                       "e e", "app:x", "user:y",    "app:z"};
    memset(delta, 0, sizeof *delta);
    for (size_t count = pick(5); count > 0; count--) {
        model_value value = {.key = keys[pick(prefixes ? 9 : 6)]};
        bool text = value.key[0] == 'u' || strncmp(value.key, "app:", 4) == 0;
        value.null = chance(15);
        value.len = value.null ? 0 : pick(9);
        for (size_t i = 0; i < value.len; i++)
            value.data[i] = (uint8_t)(text ? 'a' + pick(26) : pick(256));
        bool twice = false;
        for (size_t i = 0; i < delta->count; i++)
            twice |= delta->values[i].key == value.key;
        if (!twice)
            delta->values[delta->count++] = value;
    }
}

void apply_delta(model_state *state, const model_delta *delta)
{
    for (size_t i = 0; i < delta->count; i++)
        map_set(&state->own, &delta->values[i]);
}

static json_t *delta_object(const model_delta *delta)
{
    json_t *object = json_object();
    for (size_t i = 0; i < delta->count; i++) {
        const model_value *value = &delta->values[i];
        json_object_set_new(object, value->key,
                            value->null ? json_null() : json_string(base64(value)));
    }
    return object;
}

char *delta_json(const model_delta *delta)
{
    json_t *object = delta_object(delta);
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    assert_non_null(text);
    return text;
}

/* A time as programs in several zones write it, with all digits or as few as it needs. */
static const char *zoned(stele_ts at)
{
    static const struct {
        int minutes;
        const char *name;
    } zones[] = {{0, "Z"}, {480, "+08:00"}, {-420, "-07:00"}, {330, "+05:30"}};
    static char text[64];
    size_t zone = pick(4);
    int64_t local = at + zones[zone].minutes * MINUTE;
    time_t seconds = (time_t)(local / 1000000);
    struct tm parts;
    assert_non_null(gmtime_r(&seconds, &parts));
    size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    int micros = (int)(local % 1000000);
    if (micros != 0)
        len += (size_t)snprintf(text + len, sizeof text - len, ".%06d%s", micros,
                                chance(30) ? "000" : "");
    snprintf(text + len, sizeof text - len, "%s", zones[zone].name);
    return text;
}

static json_t *choice(const char *role, const char *content)
{
    return json_pack("{s:i, s:{s:s, s:s}, s:{s:s}}", "index", 0, "message", "role", role, "content",
                     content, "delta", "role", "");
}

static json_t *choices_of(model_kind kind)
{
    json_t *list = json_array();
    json_t *one = NULL;
    if (kind == KIND_DELTA_USER)
        one = json_pack("{s:i, s:{s:s}, s:{s:s, s:s}}", "index", 0, "message", "role", "", "delta",
                        "role", "user", "content", "x");
    else if (kind == KIND_PARTS)
        one = json_pack("{s:{s:s, s:[{s:s, s:s}]}}", "message", "role", "assistant",
                        "content_parts", "type", "text", "text", "x");
    else
        one = choice(kind == KIND_USER   ? "user"
                     : kind == KIND_TOOL ? "tool"
                                         : "assistant",
                     kind == KIND_EMPTY ? "" : "some \"text\"");
    json_t *message = json_object_get(one, "message");
    if (kind == KIND_CALL)
        json_object_set_new(message, "tool_calls",
                            json_pack("[{s:s, s:s}]", "type", "function", "id", "c-1"));
    if (kind == KIND_TOOL)
        json_object_set_new(message, "tool_id", json_string("c-1"));
    json_array_append_new(list, one);
    if (kind == KIND_SECOND_USER)
        json_array_append_new(list, choice("user", "x"));
    return list;
}

char *random_event(int key, const char *id, model_kind kind, stele_ts own, const model_delta *delta,
                   model_event *ret_event)
{
    memset(ret_event, 0, sizeof *ret_event);
    ret_event->key = key;
    ret_event->kind = kind;
    ret_event->own = own;
    ret_event->mark = ++model.marks;
    snprintf(ret_event->id, sizeof ret_event->id, "%s", id);
    json_t *event = json_pack(
        "{s:s, s:s, s:s, s:i, s:s, s:o, s:b, s:b, s:{s:s, s:s}, s:i, s:{s:[i, n]}, s:i}", "author",
        kind == KIND_USER ? "user" : "desk", "invocationId", "i-1", "object", "chat.completion",
        "created", 1772755211, "model", "m", "choices", choices_of(kind), "done", 1, "is_partial",
        kind == KIND_PARTIAL, "response", "id", "r", "timestamp", "0001-01-01T00:00:00Z", "version",
        1, "unknownKey", "deep", 1, "mark", ret_event->mark);
    assert_non_null(event);
    if (id[0] != '\0')
        json_object_set_new(event, "id", json_string(id));
    if (own != NO_TIME)
        json_object_set_new(event, "timestamp", json_string(zoned(own)));
    else if (chance(50)) /* its zero, and what is none */
        json_object_set_new(event, "timestamp",
                            chance(50)   ? json_string("0001-01-01T00:00:00Z")
                            : chance(50) ? json_string("2026-02-30T00:00:00Z")
                                         : json_integer(1772755211));
    if (delta->count > 0)
        json_object_set_new(event, "stateDelta", delta_object(delta));
    else if (chance(50))
        json_object_set_new(event, "stateDelta", json_null());
    char *text = json_dumps(event, JSON_COMPACT);
    json_decref(event);
    assert_non_null(text);
    return text;
}

/* ---- the peer's statements ----------------------------------------------------------------------- */

#define KEY_IS "app_name = 'desk' AND user_id = '%s' AND session_id = '%s'"
#define KEY_OF(key) model_key(key).user_id.data, model_key(key).session_id.data
#define TIME(at) "(TIMESTAMP 'epoch' + " at " * interval '1 microsecond')"

/* Of an app's or user's own, without quotes in them. */
static const char *quoted(const char *text)
{
    static char copy[4096];
    size_t len = 0;
    copy[len++] = '\'';
    for (; *text != '\0' && len < sizeof copy - 3; text++) {
        if (*text == '\'')
            copy[len++] = '\'';
        copy[len++] = *text;
    }
    copy[len++] = '\'';
    copy[len] = '\0';
    return copy;
}

/* It looks first, and inserts where there is no row: what is left of events is then seen again. */
static void peer_create(int key)
{
    if (model_there(key) != NULL)
        return;
    model_delta delta;
    random_delta(&delta, true);
    char *state = delta_json(&delta);
    stele_ts at = sql_now() - (stele_ts)pick(5) * 90 * MINUTE;
    log_op("peer creates %d", key);
    sql("INSERT INTO {session_states} (app_name, user_id, session_id, state, created_at, "
        "updated_at,"
        " expires_at) SELECT 'desk', '%s', '%s', jsonb_build_object('id', '%s', 'state', %s::jsonb,"
        " 'createdAt', '2026-03-06T16:00:11.123456789+08:00', 'updatedAt',"
        " '2026-03-06T16:00:11.123456789+08:00'), at, at, NULL FROM (SELECT " TIME(
            "%lld") " AS at) t",
        KEY_OF(key), model_key(key).session_id.data, quoted(state), (long long)at);
    free(state);
    model_state *made = model_add_state(key);
    apply_delta(made, &delta);
}

/* The whole envelope is written anew, with the keys that it knows. */
static void peer_rewrite(int key, const model_delta *delta)
{
    model_state *state = model_there(key);
    char *text = delta_json(delta);
    sql("UPDATE {session_states} SET state = jsonb_build_object('id', state -> 'id', 'state',"
        " coalesce(nullif(state -> 'state', 'null'), '{}') || %s::jsonb, 'createdAt',"
        " state -> 'createdAt', 'updatedAt', '2026-03-06T16:00:20.5+08:00'), updated_at ="
        " greatest(clock_timestamp() AT TIME ZONE 'UTC', updated_at), expires_at = NULL "
        "WHERE " KEY_IS " AND deleted_at IS NULL",
        quoted(text), KEY_OF(key));
    free(text);
    apply_delta(state, delta);
    state->expired = false;
    state->may_have_written = true;
}

static void peer_insert(int key, stele_ts at)
{
    char id[16];
    char *json;
    model_event made;
    stele_ts own = at;
    switch (pick(8)) {
    case 0:
        own = NO_TIME;
        break;
    case 1:
        own -= 3 * 60 * MINUTE + 7;
        break;
    case 2:
        own += 3 * 60 * MINUTE + 7;
        break;
    case 3:
        own -= pick(4 * 60) * 1000000 + 1;
        break;
    case 4:
        own += pick(4 * 60) * 1000000 + 1;
        break;
    default:
        break;
    }
    static const model_kind kinds[] = {KIND_USER, KIND_ASSISTANT,  KIND_ASSISTANT,  KIND_CALL,
                                       KIND_TOOL, KIND_DELTA_USER, KIND_SECOND_USER};
    model_kind kind = kinds[pick(key == 0 || key == KEYS - 1 ? 7 : 5)];
    snprintf(id, sizeof id, "p-%d", model.marks + 1);
    json = random_event(key, id, kind, own, &(model_delta){0}, &made);
    made.at = at;
    made.row = strtoll(sql("INSERT INTO {session_events} (app_name, user_id, session_id, event,"
                           " created_at, updated_at, expires_at) SELECT 'desk', '%s', '%s', %s, at,"
                           " at, NULL FROM (SELECT " TIME("%lld") " AS at) t RETURNING id",
                           KEY_OF(key), quoted(json), (long long)at),
                       NULL, 10);
    free(json);
    *model_add_event(key) = made;
    log_op("peer inserts event %d into %d, kind %d, at %lld, its time %lld", made.mark, key,
           (int)kind, (long long)at, own == NO_TIME ? 0LL : (long long)own);
}

/* Some of its hosts' clocks are behind or ahead, and their times equal. */
static void peer_append(int key)
{
    static int events[EVENTS];
    const model_state *state = model_there(key);
    if (state == NULL)
        return;
    size_t count = model_events(key, events);
    stele_ts now = sql_now();
    stele_ts at = now - (stele_ts)pick(2000);
    uint32_t way = pick(6);
    if (way == 0 && count > 0)
        at = model.events[events[count - 1]].at;
    else if (way == 1 && count > 0)
        at = model.events[events[pick((uint32_t)count)]].at;
    else if (way == 2)
        at = now - pick(chance(60) ? 6 * 60 : 45 * 60) * INT64_C(1000000) - pick(999999);
    else if (way == 3)
        at = now - (75 + pick(100)) * MINUTE - pick(999999);
    else if (way == 4)
        at = now + pick(3000000);
    model_delta delta;
    random_delta(&delta, true);
    peer_rewrite(key, &delta);
    for (uint32_t times = chance(40) ? 1 + pick(6) : 1; times > 0; times--)
        peer_insert(key, at);
}

static void peer_track(int key)
{
    model_state *state = model_there(key);
    if (state == NULL)
        return;
    int track = (int)pick(TRACKS);
    bool known = false;
    for (int i = 0; i < state->track_count; i++)
        known |= state->tracks[i] == track;
    if (!known) /* it would name it in the state */
        return;
    stele_ts at = sql_now() - pick(40 * 60) * INT64_C(1000000);
    model_track *event = model_add_track(key, track);
    event->at = at;
    event->mark = ++model.marks;
    peer_rewrite(key, &(model_delta){0});
    log_op("peer appends %d to track %d of %d", event->mark, track, key);
    sql("INSERT INTO {session_track_events} (app_name, user_id, session_id, track, event,"
        " created_at, updated_at, expires_at) SELECT 'desk', '%s', '%s', '%s',"
        " jsonb_build_object('track', 't', 'payload', jsonb_build_object('mark', %d), 'timestamp',"
        " '2026-03-06T16:00:20.5+08:00'), at, at, NULL FROM (SELECT " TIME("%lld") " AS at) t",
        KEY_OF(key), track_names[track], event->mark, (long long)at);
}

static void peer_remove(const char *table, const char *where)
{
    if (model.soft)
        sql("UPDATE {%s} SET deleted_at = " TIME("%lld") " WHERE deleted_at IS NULL AND %s", table,
            (long long)model.peer_now, where);
    else
        sql("DELETE FROM {%s} WHERE %s", table, where);
}

static void peer_delete(int key)
{
    char where[128];
    static const char *const tables[] = {"session_states", "session_summaries", "session_events",
                                         "session_track_events"};
    log_op("peer deletes %d", key);
    snprintf(where, sizeof where, KEY_IS, KEY_OF(key));
    model.peer_now = sql_now();
    for (int i = 0; i < 4; i++)
        peer_remove(tables[i], where);
    model_delete(key, model_stamp());
}

/* Its cleanup: what has expired itself; events by a rule of their own, or not at all; no summaries. */
static void peer_cleans(void)
{
    bool events = chance(50);
    static const char over[] = "expires_at <= now() AT TIME ZONE 'UTC'";
    int64_t stamp = model_stamp();
    log_op("peer cleans up%s", events ? ", events too" : "");
    model.peer_now = sql_now();
    for (int key = 0; key < KEYS; key++) {
        model_state *state = model_there(key);
        if (state == NULL || !state->expired)
            continue;
        state->gone = stamp;
        char where[128];
        snprintf(where, sizeof where, KEY_IS, KEY_OF(key));
        for (size_t i = 0; events && i < model.event_count; i++)
            if (model.events[i].key == key && model.events[i].gone == 0)
                model.events[i].gone = stamp;
        if (events)
            peer_remove("session_events", where);
    }
    for (size_t i = 0; i < model.track_count; i++)
        if (model.tracks[i].gone == 0 && model.tracks[i].expired)
            model.tracks[i].gone = stamp;
    peer_remove("session_states", over);
    peer_remove("session_track_events", over);
}

static void peer_summary(int key)
{
    static int events[EVENTS];
    size_t count = model_events(key, events);
    if (count == 0)
        return;
    int filter = (int)pick(FILTERS);
    size_t back = chance(60) ? pick(count < 3 ? (uint32_t)count : 3) : pick((uint32_t)count);
    const model_event *last = &model.events[events[count - 1 - back]];
    stele_ts cutoff = last->own != NO_TIME && chance(70) ? last->own : last->at;
    model_summary *summary = model_add_summary(key, filter);
    summary->updated = cutoff;
    summary->last = last->mark;
    summary->mark = ++model.marks;
    log_op("peer summarizes %d under \"%s\" up to event %d: %d", key, filter_keys[filter],
           last->mark, summary->mark);
    sql("INSERT INTO {session_summaries} (app_name, user_id, session_id, filter_key, summary,"
        " updated_at, expires_at) SELECT 'desk', '%s', '%s', '%s', jsonb_build_object('summary',"
        " 'text %d', 'mark', %d, 'updated_at', to_jsonb(at AT TIME ZONE 'UTC'), 'boundary',"
        " jsonb_build_object('version', 1, 'cutoff_at', to_jsonb(at AT TIME ZONE 'UTC'),"
        " 'last_event_id', '%s')), at, NULL FROM (SELECT " TIME(
            "%lld") " AS at) t ON CONFLICT (app_name, user_id, session_id, filter_key) WHERE"
                    " deleted_at IS NULL DO UPDATE SET summary = EXCLUDED.summary, updated_at ="
                    " EXCLUDED.updated_at, expires_at = EXCLUDED.expires_at",
        KEY_OF(key), filter_keys[filter], summary->mark, summary->mark, last->id,
        (long long)cutoff);
}

static void peer_shared_state(int key)
{
    model_value value = {.key = chance(50) ? "x" : "k", .len = 3};
    for (size_t i = 0; i < 3; i++)
        value.data[i] = (uint8_t)('a' + pick(26));
    if (chance(50)) {
        log_op("peer sets app %s", value.key);
        sql("INSERT INTO {app_states} (app_name, key, value, expires_at) VALUES ('desk', '%s',"
            " '%.3s', NULL) ON CONFLICT (app_name, key) WHERE deleted_at IS NULL DO UPDATE SET"
            " value = EXCLUDED.value, updated_at = EXCLUDED.updated_at, expires_at = NULL",
            value.key, (const char *)value.data);
        map_set(&model.app, &value);
    } else {
        log_op("peer sets user %s of %d", value.key, key);
        sql("INSERT INTO {user_states} (app_name, user_id, key, value, expires_at) VALUES ('desk',"
            " '%s', '%s', '%.3s', NULL) ON CONFLICT (app_name, user_id, key) WHERE deleted_at IS"
            " NULL DO UPDATE SET value = EXCLUDED.value, updated_at = EXCLUDED.updated_at,"
            " expires_at = NULL",
            model_key(key).user_id.data, value.key, (const char *)value.data);
        map_set(&model.users[model_user(key)], &value);
    }
}

/* Time passes, for one session. */
static void expire_one(int key)
{
    static const char past[] = "expires_at = (now() AT TIME ZONE 'UTC') - interval '1 second'";
    model_state *state = model_there(key);
    uint32_t what = pick(10);
    if (what < 6 && state != NULL) {
        log_op("%d expires", key);
        sql("UPDATE {session_states} SET %s WHERE deleted_at IS NULL AND " KEY_IS, past,
            KEY_OF(key));
        state->expired = true;
    } else if (what < 8) {
        log_op("tracks of %d expire", key);
        sql("UPDATE {session_track_events} SET %s WHERE deleted_at IS NULL AND " KEY_IS, past,
            KEY_OF(key));
        for (size_t i = 0; i < model.track_count; i++)
            if (model.tracks[i].key == key && model.tracks[i].gone == 0)
                model.tracks[i].expired = true;
    } else {
        log_op("state of app expires");
        sql("UPDATE {app_states} SET %s WHERE deleted_at IS NULL AND key = 'x'", past);
        model_value *value = map_find(&model.app, "x");
        if (value != NULL)
            value->expired = true;
    }
}

/* A session that began hours ago. */
static void age_one(int key)
{
    model_state *state = model_seen(key); /* queues go by when it began, once it is read anew */
    if (state == NULL)
        return;
    log_op("%d has been there for five hours more", key);
    sql("UPDATE {session_states} SET created_at = created_at - interval '5 hours' WHERE deleted_at"
        " IS NULL AND " KEY_IS,
        KEY_OF(key));
    state->created -= 300 * MINUTE;
}

/* A state of nothing, in the shapes that it has. */
static void blank_one(int key)
{
    static const char *const shapes[] = {"NULL", "'null'", "'{}'", "'{\"state\": null}'"};
    model_state *state = model_there(key);
    if (state == NULL)
        return;
    const char *shape = shapes[pick(4)];
    log_op("%d has the state %s", key, shape);
    sql("UPDATE {session_states} SET state = %s WHERE deleted_at IS NULL AND " KEY_IS, shape,
        KEY_OF(key));
    state->own.count = 0;
    state->names_tracks = false;
    state->track_count = 0;
}

/* Sessions last used at one time. */
static void tie_all(void)
{
    stele_ts at = 0;
    for (int key = 0; key < KEYS; key++)
        if (model_there(key) != NULL && model_there(key)->updated > at)
            at = model_there(key)->updated;
    log_op("all were last used at %lld", (long long)at);
    sql("UPDATE {session_states} SET updated_at = " TIME("%lld") " WHERE deleted_at IS NULL",
        (long long)at);
    for (int key = 0; key < KEYS; key++)
        if (model_there(key) != NULL)
            model_there(key)->updated = at;
}

void peer_writes(int key)
{
    uint32_t what = pick(100);
    if (what < 10)
        peer_create(key);
    else if (what < 42)
        peer_append(key);
    else if (what < 48)
        peer_track(key);
    else if (what < 53)
        peer_delete(key);
    else if (what < 57)
        peer_cleans();
    else if (what < 67)
        peer_summary(key);
    else if (what < 72)
        peer_shared_state(key);
    else if (what < 89)
        expire_one(key);
    else if (what < 92)
        blank_one(key);
    else if (what < 97)
        age_one(key);
    else
        tie_all();
}
