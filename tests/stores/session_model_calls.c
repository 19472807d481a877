/* Writes through the store that is tried, beside the same in the model: see session_model.h. */
#define _GNU_SOURCE
#include "session_model.h"

/* In a world of group commit: what was appended is stored, for all that look at it by other ways. */
void settle(void)
{
    assert_ok(stele_sessions_flush(tried, NULL, 30000, &err));
    model.pending = 0;
}

static const stele_session_value *values_of(const model_delta *delta)
{
    static stele_session_value values[4];
    for (size_t i = 0; i < delta->count; i++) {
        const model_value *value = &delta->values[i];
        values[i].key = text_of(value->key);
        values[i].value.data = value->null ? NULL : value->data;
        values[i].value.len = value->len;
    }
    return values;
}

static void must(const char *what, stele_status got, stele_status wanted)
{
    if (got != wanted)
        mismatch("%s answers %s, not %s: %s", what, stele_status_name(got),
                 stele_status_name(wanted), got < STELE_OK ? err.message : "");
}

/* ---- sessions ---------------------------------------------------------------------------------- */

static void begin(int key, const model_delta *delta)
{
    model_state *old = model_there(key);
    if (old != NULL)
        old->gone = GONE_FOR_GOOD;
    (void)model_drop_children(key, GONE_FOR_GOOD);
    apply_delta(model_add_state(key), delta);
    model.pending &= ~(1U << key);
}

void try_create(int key)
{
    model_delta delta;
    stele_session *session = NULL;
    stele_session_key k = model_key(key);
    random_delta(&delta, true);
    bool fresh = model_seen(key) == NULL;
    log_op("create %d", key);
    must("create", stele_sessions_create(tried, &k, values_of(&delta), delta.count, &session, &err),
         fresh ? STELE_OK : STELE_E_UNIQUE);
    if (!fresh)
        return;
    begin(key, &delta);
    model_learn();
    check_session(session, key, &(model_read){.since = NO_TIME, .only_meta = true});
    stele_session_free(session);
}

void try_get_or_create(int key)
{
    model_delta delta;
    stele_session *session = NULL;
    bool created = false;
    stele_session_key k = model_key(key);
    random_delta(&delta, true);
    bool fresh = model_seen(key) == NULL;
    log_op("get or create %d", key);
    must("get_or_create",
         stele_sessions_get_or_create(tried, &k, values_of(&delta), delta.count, NULL, &session,
                                      &created, &err),
         STELE_OK);
    if (created != fresh)
        mismatch("get_or_create %s it", created ? "created" : "found");
    if (fresh)
        begin(key, &delta);
    model.pending &= ~(1U << key);
    model_learn();
    check_session(session, key, &(model_read){.since = NO_TIME});
    stele_session_free(session);
}

void try_delete(int key)
{
    stele_session_key k = model_key(key);
    log_op("delete %d", key);
    must("delete", stele_sessions_delete(tried, &k, &err), STELE_OK);
    model_delete(key, model_stamp());
    model.pending &= ~(1U << key);
}

void try_restore(int key)
{
    stele_session_key k = model_key(key);
    log_op("restore %d", key);
    stele_status st = stele_sessions_restore(tried, &k, &err);
    if (model_there(key) != NULL)
        must("restore", st, STELE_E_UNIQUE);
    else
        must("restore", st, model_restore(key) ? STELE_OK : STELE_E_NOT_FOUND);
}

/* ---- events ------------------------------------------------------------------------------------ */

/* Mostly a new one; at times one that went or is another session's, or with idempotent events one that is
 * there. */
static void choose_id(int key, char *id, size_t size)
{
    snprintf(id, size, "e-%d", model.marks + 1);
    if (chance(5))
        id[0] = '\0';
    bool again = chance(20);
    for (int i = 0; again && i < 10 && model.event_count > 0; i++) {
        const model_event *event = &model.events[pick((uint32_t)model.event_count)];
        if ((event->key != key && !chance(20)) ||
            (model_find_event(key, event->id) != NULL && !model.idempotent))
            continue;
        snprintf(id, size, "%s", event->id);
        return;
    }
}

static void apply_event(int key, model_state *state, const model_delta *delta)
{
    state->wrote = true;
    state->expired = false;
    if (!model.strict) {
        apply_delta(state, delta);
        return;
    }
    for (size_t i = 0; i < delta->count; i++) {
        model_value value = delta->values[i];
        if (strncmp(value.key, "app:", 4) == 0) {
            value.key += 4;
            map_set(&model.app, &value);
        } else if (strncmp(value.key, "user:", 5) == 0) {
            value.key += 5;
            map_set(&model.users[model_user(key)], &value);
        } else if (strncmp(value.key, "temp:", 5) != 0) {
            map_set(&state->own, &value);
        }
    }
}

/* What was queued is waited for, most times; what fails is told then. */
static stele_status after_queueing(int key, const stele_session_appended *appended, bool there)
{
    stele_session_key k = model_key(key);
    model.pending |= 1U << key;
    if (there && chance(50))
        return STELE_OK;
    stele_status st = chance(50) ? stele_sessions_wait(tried, &k, appended->receipt, 30000, &err)
                                 : stele_sessions_flush(tried, &k, 30000, &err);
    model.pending &= ~(1U << key);
    return st;
}

static stele_ts own_time(void)
{
    stele_ts now = sql_now();
    switch (pick(10)) {
    case 0:
        return NO_TIME;
    case 1:
        return now - 100 * MINUTE - pick(999999);
    case 2:
        return now + 100 * MINUTE + pick(999999);
    case 3:
    case 4:
    case 5:
        return now + ((int64_t)pick(8 * 60) - 4 * 60) * INT64_C(1000000);
    default:
        return now;
    }
}

static void check_appended(const stele_session_appended *appended, const model_event *made,
                           const model_event *twin)
{
    if (appended->queued)
        return;
    if (appended->duplicate != (twin != NULL))
        mismatch("event %d is %sa duplicate", made->mark, twin != NULL ? "no " : "");
    if (twin != NULL && twin->row != 0 &&
        (appended->row_id != twin->row || appended->created_at != twin->at))
        mismatch("the duplicate %d is told another place than %d", made->mark, twin->mark);
    bool kept = made->kind != KIND_PARTIAL && made->kind != KIND_EMPTY;
    if ((appended->row_id != 0) != kept)
        mismatch("event %d has the row %lld", made->mark, (long long)appended->row_id);
}

/* The same kind of event by the struct: the store writes its JSON. */
static stele_status append_struct(int key, const model_event *made, const model_delta *delta,
                                  stele_session_appended *ret)
{
    char extensions[32];
    stele_session_key k = model_key(key);
    stele_event event = STELE_EVENT_INIT;
    snprintf(extensions, sizeof extensions, "{\"mark\": %d}", made->mark);
    event.id = text_of(made->id);
    event.author = text_of("desk");
    event.extensions = text_of(extensions);
    event.content = text_of(made->kind == KIND_EMPTY ? "" : "some \"text\"");
    if (made->kind == KIND_USER || made->kind == KIND_TOOL)
        event.role = text_of(made->kind == KIND_USER ? "user" : "tool");
    if (made->kind == KIND_CALL)
        event.tool_calls = text_of("[{\"type\": \"function\", \"id\": \"c-1\"}]");
    if (made->kind == KIND_TOOL)
        event.tool_id = text_of("c-1");
    event.timestamp = (stele_opt_ts){true, made->own};
    event.partial = made->kind == KIND_PARTIAL;
    event.state_delta = values_of(delta);
    event.state_delta_count = delta->count;
    return stele_sessions_append_event(tried, &k, &event, ret, &err);
}

void try_append(int key)
{
    static const model_kind kinds[] = {
        KIND_USER,    KIND_USER,  KIND_ASSISTANT,  KIND_CALL,  KIND_TOOL,        KIND_ASSISTANT,
        KIND_PARTIAL, KIND_EMPTY, KIND_DELTA_USER, KIND_PARTS, KIND_SECOND_USER, KIND_ASSISTANT};
    char id[16];
    model_event made;
    model_delta delta;
    stele_session_appended appended = {0};
    stele_session_key k = model_key(key);
    model_state *state = model_there(key);
    choose_id(key, id, sizeof id);
    model_kind kind = kinds[pick(key == 0 || key == KEYS - 1 ? 12 : 8)];
    bool kept = kind != KIND_PARTIAL && kind != KIND_EMPTY;
    random_delta(&delta, true);
    model_event *twin =
        model.idempotent && id[0] != '\0' && kept ? model_find_event(key, id) : NULL;
    char *json = random_event(key, id, kind, own_time(), &delta, &made);
    log_op("append event %d to %d, id \"%s\", kind %d, %zu of state%s", made.mark, key, id,
           (int)kind, delta.count, twin != NULL ? ", a duplicate" : "");
    bool by_struct = kind < KIND_DELTA_USER && id[0] != '\0' && made.own != NO_TIME && chance(25);
    stele_status st = by_struct ? append_struct(key, &made, &delta, &appended)
                                : stele_sessions_append(tried, &k, text_of(json), &appended, &err);
    free(json);
    if (st == STELE_OK && appended.queued)
        st = after_queueing(key, &appended, state != NULL);
    must("append", st, state != NULL ? STELE_OK : STELE_E_NOT_FOUND);
    if (state == NULL)
        return;
    check_appended(&appended, &made, twin);
    if (twin !=
        NULL) { /* what it brings was merged when it was stored, and may have changed since */
        state->may_have_written = true;
        if (state->expired) { /* whether that revives it is not told */
            settle();
            state->expired = strcmp(sql("SELECT expires_at <= now() AT TIME ZONE 'UTC' FROM"
                                        " {session_states} WHERE deleted_at IS NULL AND user_id ="
                                        " '%s' AND session_id = '%s'",
                                        k.user_id.data, k.session_id.data),
                                    "t") == 0;
        }
        return;
    }
    apply_event(key, state, &delta);
    if (!kept)
        return;
    made.row = appended.row_id;
    made.at = appended.created_at;
    *model_add_event(key) = made;
}

void try_append_track(int key)
{
    int track = (int)pick(TRACKS);
    char payload[64];
    stele_session_appended appended = {0};
    stele_session_key k = model_key(key);
    model_state *state = model_there(key);
    stele_opt_ts at = {true, sql_now() - (stele_ts)pick(4) * 7000000};
    if (chance(10))
        at.v -= 120 * MINUTE;
    for (int i = 0; model.track_count > 0 && i < 5; i++) {
        const model_track *other = &model.tracks[pick((uint32_t)model.track_count)];
        if (other->key == key && other->track == track)
            at.v = other->at; /* the same time again */
    }
    int mark = ++model.marks;
    snprintf(payload, sizeof payload, "{\"mark\": %d}", mark);
    log_op("append %d to track %d of %d at %lld", mark, track, key, (long long)at.v);
    stele_status st = stele_sessions_append_track(tried, &k, text_of(track_names[track]),
                                                  text_of(payload), at, &appended, &err);
    if (st == STELE_OK && appended.queued)
        st = after_queueing(key, &appended, state != NULL);
    must("append_track", st, state != NULL ? STELE_OK : STELE_E_NOT_FOUND);
    if (state == NULL)
        return;
    state->wrote = true;
    state->expired = false;
    state->names_tracks = true;
    bool known = false;
    for (int i = 0; i < state->track_count; i++)
        known |= state->tracks[i] == track;
    if (!known)
        state->tracks[state->track_count++] = track;
    model_track *event = model_add_track(key, track);
    event->row = appended.row_id;
    event->at = at.v;
    event->mark = mark;
}

/* What no session takes; nothing may come of it. */
void try_refused(int key)
{
    stele_session *session = NULL;
    stele_session_events *events = NULL;
    stele_session_key k = model_key(key);
    stele_session_key nobody = {k.app_name, text_of(""), k.session_id};
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    const stele_str none = {0};
    log_op("what is refused, of %d", key);
    options.page_limit = 3;
    options.event_num = 1 + (int)pick(3);
    must("get without a user", stele_sessions_get(tried, &nobody, NULL, &session, &err),
         STELE_E_INPUT);
    must("a page with event_num", stele_sessions_get(tried, &k, &options, &session, &err),
         STELE_E_INPUT);
    must("append of no object", stele_sessions_append(tried, &k, text_of("[]"), NULL, &err),
         STELE_E_INPUT);
    must("append of no base64",
         stele_sessions_append(tried, &k, text_of("{\"stateDelta\": {\"a\": \"?\"}}"), NULL, &err),
         STELE_E_INPUT);
    must("a track without a name",
         stele_sessions_append_track(tried, &k, none, text_of("1"), (stele_opt_ts){0}, NULL, &err),
         STELE_E_INPUT);
    must("a window around nothing",
         stele_sessions_window(tried, &k, none, 1, 1, NULL, 0, &events, NULL, &err), STELE_E_INPUT);
}

/* ---- cutting off ------------------------------------------------------------------------------- */

/* A summary goes when its last event does. When that stays, but an event that went is not later than what
 * the summary says to cover, either is right, and the table is asked. */
static void cut_summaries(int key, const bool *went, stele_ts earliest)
{
    for (size_t i = 0; i < model.summary_count; i++) {
        model_summary *summary = &model.summaries[i];
        if (summary->key != key || summary->gone != 0)
            continue;
        bool covers = false;
        for (size_t j = 0; j < model.event_count; j++)
            covers |= went[j] && model.events[j].mark == summary->last;
        bool may = summary->updated >= earliest;
        if (!covers && may)
            covers = strcmp(sql("SELECT count(*) FROM {session_summaries} WHERE deleted_at IS NULL"
                                " AND summary ->> 'mark' = '%d'",
                                summary->mark),
                            "0") == 0;
        if (covers)
            summary->gone = GONE_FOR_GOOD;
    }
}

void try_truncate_after(int key)
{
    static int events[EVENTS];
    static bool went[EVENTS];
    stele_session_key k = model_key(key);
    settle();
    model_learn();
    size_t count = model_events(key, events);
    const char *id = "nothing";
    size_t from = count;
    if (count > 0 && chance(90)) {
        from = chance(70) ? count - 1 - pick((uint32_t)(count < 5 ? count : 5))
                          : pick((uint32_t)count);
        id = model.events[events[from]].id;
    }
    bool including = chance(50);
    uint64_t gone = 0;
    model_state *state = model_there(key);
    if (id[0] == '\0')
        return; /* it cannot be named */
    log_op("truncate %d after \"%s\"%s", key, id, including ? ", with it" : "");
    stele_status st = stele_sessions_truncate_after(tried, &k, text_of(id), including, &gone, &err);
    must("truncate_after", st, state == NULL || from == count ? STELE_E_NOT_FOUND : STELE_OK);
    if (st != STELE_OK) {
        assert_said(state == NULL ? "session not found" : "anchor event not found");
        return;
    }
    memset(went, 0, sizeof went);
    stele_ts earliest = INT64_MAX;
    for (size_t i = including ? from : from + 1; i < count; i++) {
        model_event *event = &model.events[events[i]];
        event->gone = GONE_FOR_GOOD;
        went[events[i]] = true;
        earliest = event->at < earliest ? event->at : earliest;
        earliest = event->own < earliest ? event->own : earliest;
    }
    if (gone != count - from - !including)
        mismatch("%llu events went, not %zu", (unsigned long long)gone, count - from - !including);
    cut_summaries(key, went, earliest);
    state->may_have_written = true;
    state->expired = false;
}

void try_truncate(int key)
{
    static int events[EVENTS];
    stele_session_key k = model_key(key);
    uint64_t gone = 0;
    settle();
    model_learn();
    size_t count = model_events(key, events);
    model_state *state = model_there(key);
    log_op("truncate %d", key);
    stele_status st = stele_sessions_truncate(tried, &k, &gone, &err);
    must("truncate", st, state != NULL ? STELE_OK : STELE_E_NOT_FOUND);
    if (state == NULL)
        return;
    if (gone != count)
        mismatch("%llu events went, not %zu", (unsigned long long)gone, count);
    for (size_t i = 0; i < count; i++)
        model.events[events[i]].gone = GONE_FOR_GOOD;
    for (size_t i = 0; i < model.summary_count; i++)
        if (model.summaries[i].key == key && model.summaries[i].gone == 0)
            model.summaries[i].gone = GONE_FOR_GOOD;
    state->may_have_written = true;
    state->expired = false;
}

void try_cleanup(void)
{
    stele_sessions_cleanup_report report;
    settle();
    log_op("cleanup");
    must("cleanup", stele_sessions_cleanup(tried, 60000, &report, &err), STELE_OK);
    int64_t wanted = model_cleanup();
    uint64_t found = report.expired + report.followed + report.repaired;
    if (report.purged != 0 || found != (uint64_t)wanted)
        mismatch("cleanup removed %llu + %llu + %llu rows, purged %llu; wanted are %lld",
                 (unsigned long long)report.expired, (unsigned long long)report.followed,
                 (unsigned long long)report.repaired, (unsigned long long)report.purged,
                 (long long)wanted);
}

/* ---- state ------------------------------------------------------------------------------------- */

void try_update_state(int key)
{
    static const char *const keys[] = {"a", "b", "c\xc3\xa9", "d\"q\\", "temp:t", "e e", "tracks"};
    model_delta delta;
    stele_str removed[3];
    size_t remove_count = pick(4);
    bool refused = false;
    stele_session_key k = model_key(key);
    model_state *state = model_there(key);
    random_delta(&delta, chance(10));
    for (size_t i = 0; i < delta.count; i++)
        refused |= strncmp(delta.values[i].key, "app:", 4) == 0 || delta.values[i].key[0] == 'u';
    for (size_t i = 0; i < remove_count; i++) {
        removed[i] = text_of(keys[pick(chance(10) ? 7 : 6)]);
        for (size_t j = 0; j < delta.count; j++)
            if (strcmp(delta.values[j].key, removed[i].data) == 0)
                removed[i] = text_of("other"); /* what is set is not what is removed */
    }
    log_op("update state of %d: %zu set, %zu removed%s", key, delta.count, remove_count,
           refused ? "; refused" : "");
    stele_status st = stele_sessions_update_state(tried, &k, values_of(&delta), delta.count,
                                                  removed, remove_count, &err);
    must("update_state", st,
         refused         ? STELE_E_INPUT
         : state != NULL ? STELE_OK
                         : STELE_E_NOT_FOUND);
    if (refused || state == NULL)
        return;
    model.pending &= ~(1U << key);
    apply_delta(state, &delta);
    for (size_t i = 0; i < remove_count; i++) {
        map_remove(&state->own, removed[i].data);
        if (strcmp(removed[i].data, "tracks") == 0) {
            state->names_tracks = false;
            state->track_count = 0;
        }
    }
    state->wrote = true;
    state->expired = false;
}

void try_shared_state(int key)
{
    static const char *const app_keys[] = {"app:x", "x", "app:k", "l"};
    static const char *const user_keys[] = {"user:y", "y", "user:k", "l"};
    bool app = chance(50);
    stele_session_user user = user_of(model_key(key).user_id.data);
    model_map *map = app ? &model.app : &model.users[model_user(key)];
    model_delta delta;
    random_delta(&delta, true);
    for (size_t i = 0; i < delta.count; i++) {
        model_value *value = &delta.values[i];
        value->key = (app ? app_keys : user_keys)[pick(4)];
        for (size_t j = 0; j < value->len; j++)
            value->data[j] = (uint8_t)('a' + value->data[j] % 26);
    }
    bool deleting = chance(30);
    const char *name = (app ? app_keys : user_keys)[pick(4)];
    log_op("%s state of %s: %zu", deleting ? "delete" : "update", app ? "app" : user.user_id.data,
           delta.count);
    if (deleting) {
        must("delete_state",
             app ? stele_sessions_delete_app_state(tried, user.app_name, text_of(name), &err)
                 : stele_sessions_delete_user_state(tried, &user, text_of(name), &err),
             STELE_OK);
        map_remove(map, strchr(name, ':') != NULL ? strchr(name, ':') + 1 : name);
    } else {
        const stele_session_value *values = values_of(&delta);
        must("update_shared_state",
             app ? stele_sessions_update_app_state(tried, user.app_name, values, delta.count, &err)
                 : stele_sessions_update_user_state(tried, &user, values, delta.count, &err),
             STELE_OK);
        for (size_t i = 0; i < delta.count; i++) {
            const char *colon = strchr(delta.values[i].key, ':');
            if (colon != NULL)
                delta.values[i].key = colon + 1;
            map_set(map, &delta.values[i]);
        }
    }
    stele_session_values *found = NULL;
    must("list_state",
         app ? stele_sessions_list_app_state(tried, user.app_name, &found, &err)
             : stele_sessions_list_user_state(tried, &user, &found, &err),
         STELE_OK);
    check_values("list_state", found->values, found->count, map);
    stele_session_values_free(found);
}
