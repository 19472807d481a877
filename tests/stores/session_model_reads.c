/* What reads must answer, by the model: see session_model.h. */
#define _GNU_SOURCE
#include <jansson.h>

#include "session_model.h"

bool is_user(const model_event *event)
{
    return event->kind == KIND_USER || event->kind == KIND_DELTA_USER ||
           event->kind == KIND_SECOND_USER;
}

static int by_place(stele_ts at, int64_t row, stele_ts other_at, int64_t other_row)
{
    if (at != other_at)
        return at < other_at ? -1 : 1;
    return (row > other_row) - (row < other_row);
}

static int compare_events(const void *a, const void *b)
{
    const model_event *left = &model.events[*(const int *)a];
    const model_event *right = &model.events[*(const int *)b];
    return by_place(left->at, left->row, right->at, right->row);
}

static int compare_tracks(const void *a, const void *b)
{
    const model_track *left = &model.tracks[*(const int *)a];
    const model_track *right = &model.tracks[*(const int *)b];
    return by_place(left->at, left->row, right->at, right->row);
}

size_t model_events(int key, int *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < model.event_count; i++)
        if (model.events[i].key == key && model.events[i].gone == 0)
            ret[count++] = (int)i;
    qsort(ret, count, sizeof *ret, compare_events);
    return count;
}

/* The time in the event counts, but for those stored over five minutes before or after. */
static bool is_since(const model_event *event, stele_ts since)
{
    if (event->at < since - SLACK)
        return false;
    return event->at > since + SLACK || event->own >= since;
}

static stele_ts beginning(const model_read *read)
{
    if (read->since != NO_TIME || model.ttl == 0)
        return read->since;
    return sql_now() - model.ttl;
}

static size_t page(const model_read *read, int *events, size_t count)
{
    stele_ts since = model.ttl == 0 ? NO_TIME : sql_now() - model.ttl;
    size_t first = 0;
    while (first < count && model.events[events[first]].at < since)
        first++;
    if (read->before_row != 0) {
        while (count > first) {
            const model_event *last = &model.events[events[count - 1]];
            if (by_place(last->at, last->row, read->before_at, read->before_row) < 0)
                break;
            count--;
        }
    }
    size_t left = count - first;
    left = left > (size_t)read->page_offset ? left - (size_t)read->page_offset : 0;
    size_t taken = left < (size_t)read->page_limit ? left : (size_t)read->page_limit;
    memmove(events, events + first + left - taken, taken * sizeof *events);
    return taken;
}

size_t model_window(int key, const model_read *read, int *ret)
{
    size_t count = model_events(key, ret);
    if (read->page_limit > 0)
        return page(read, ret, count);
    int last_user = -1;
    for (size_t i = 0; i < count; i++)
        if (is_user(&model.events[ret[i]]))
            last_user = ret[i];
    size_t first = 0;
    stele_ts since = beginning(read);
    while (since != NO_TIME && first < count && !is_since(&model.events[ret[first]], since))
        first++;
    int num = read->num != 0 ? read->num : model.event_limit;
    if (num > 0 && count - first > (size_t)num)
        first = count - (size_t)num;
    while (first < count && !is_user(&model.events[ret[first]]))
        first++;
    if (first < count) {
        memmove(ret, ret + first, (count - first) * sizeof *ret);
        return count - first;
    }
    /* None of the user's: the last one before, and what the window had. */
    if (last_user < 0)
        return 0;
    first = 0;
    while (since != NO_TIME && first < count && !is_since(&model.events[ret[first]], since))
        first++;
    if (num > 0 && count - first > (size_t)num)
        first = count - (size_t)num;
    size_t rest = count - first;
    memmove(ret + 1, ret + first, rest * sizeof *ret);
    ret[0] = last_user;
    return rest + 1;
}

size_t model_tracks(int key, int track, stele_ts after, int limit, int *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < model.track_count; i++) {
        const model_track *event = &model.tracks[i];
        if (event->key == key && event->gone == 0 && event->track == track && !event->expired &&
            (after == NO_TIME || event->at > after))
            ret[count++] = (int)i;
    }
    qsort(ret, count, sizeof *ret, compare_tracks);
    if (limit > 0 && count > (size_t)limit) {
        memmove(ret, ret + count - (size_t)limit, (size_t)limit * sizeof *ret);
        count = (size_t)limit;
    }
    return count;
}

/* ---- comparing --------------------------------------------------------------------------------- */

static int mark_in(stele_str json)
{
    const char *mark = strstr(json.data, "\"mark\": ");
    return mark != NULL ? (int)strtol(mark + strlen("\"mark\": "), NULL, 10) : -1;
}

static const char *marks_of(const stele_session_event *events, size_t count)
{
    static char text[4096];
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count && len < sizeof text - 16; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, " %d", mark_in(events[i].json));
    return text;
}

void check_events(const char *what, const stele_session_event *events, size_t count,
                  const int *wanted, size_t wanted_count)
{
    char text[4096] = "";
    size_t len = 0;
    bool same = count == wanted_count;
    for (size_t i = 0; i < wanted_count && len < sizeof text - 16; i++) {
        const model_event *event = &model.events[wanted[i]];
        len += (size_t)snprintf(text + len, sizeof text - len, " %d", event->mark);
        same = same && events[i].row_id == event->row && events[i].created_at == event->at &&
               mark_in(events[i].json) == event->mark &&
               (event->id[0] == '\0' || strstr(events[i].json.data, event->id) != NULL);
    }
    if (!same)
        mismatch("%s: events%s, not%s", what, marks_of(events, count), text);
}

void check_tracks(const char *what, const stele_session_event *events, size_t count,
                  const int *wanted, size_t wanted_count)
{
    char text[4096] = "";
    size_t len = 0;
    bool same = count == wanted_count;
    for (size_t i = 0; i < wanted_count && len < sizeof text - 16; i++) {
        const model_track *event = &model.tracks[wanted[i]];
        len += (size_t)snprintf(text + len, sizeof text - len, " %d", event->mark);
        same = same && events[i].row_id == event->row && events[i].created_at == event->at &&
               mark_in(events[i].json) == event->mark;
    }
    if (!same)
        mismatch("%s: of track%s, not%s", what, marks_of(events, count), text);
}

static bool has_value(const stele_session_value *found, const char *key, const model_value *value)
{
    if (found->key.len != strlen(key) || memcmp(found->key.data, key, found->key.len) != 0)
        return false;
    if (value->null || found->value.data == NULL)
        return value->null && found->value.data == NULL;
    return found->value.len == value->len &&
           memcmp(found->value.data, value->data, value->len) == 0;
}

static int compare_values(const void *a, const void *b)
{
    return strcmp(((const model_value *)a)->key, ((const model_value *)b)->key);
}

void check_values(const char *what, const stele_session_value *values, size_t count,
                  const model_map *map)
{
    model_map sorted = {0};
    for (size_t i = 0; i < map->count; i++)
        if (!map->at[i].expired)
            sorted.at[sorted.count++] = map->at[i];
    qsort(sorted.at, sorted.count, sizeof *sorted.at, compare_values);
    for (size_t i = 0; i < count && i < sorted.count; i++)
        if (!has_value(&values[i], sorted.at[i].key, &sorted.at[i]))
            mismatch("%s: state \"%s\" is \"%.*s\", wanted is \"%s\" %s\"%.*s\"", what,
                     values[i].key.data, (int)values[i].value.len,
                     values[i].value.data != NULL ? (const char *)values[i].value.data : "",
                     sorted.at[i].key, sorted.at[i].null ? "null" : "", (int)sorted.at[i].len,
                     (const char *)sorted.at[i].data);
    if (count != sorted.count)
        mismatch("%s: %zu keys of state, not %zu", what, count, sorted.count);
}

/* Keys of applications and users, with their prefix; as many texts as there can be in one check. */
static void merge_map(model_map *into, const model_map *from, const char *prefix)
{
    static char keys[2 * MAP][32];
    static size_t next;
    for (size_t i = 0; i < from->count; i++) {
        model_value value = from->at[i];
        if (value.expired)
            continue;
        char *key = keys[next++ % (2 * MAP)];
        snprintf(key, sizeof keys[0], "%s%s", prefix, value.key);
        value.key = key;
        map_set(into, &value);
    }
}

/* The reserved key: names of tracks in JSON. */
static void check_track_names(const stele_session_value *value, const model_state *state)
{
    json_t *found = json_loadb((const char *)value->value.data, value->value.len, 0, NULL);
    json_t *wanted = json_array();
    for (int i = 0; i < state->track_count; i++)
        json_array_append_new(wanted, json_string(track_names[state->tracks[i]]));
    bool same = json_equal(found, wanted);
    json_decref(found);
    json_decref(wanted);
    if (!same || !state->names_tracks)
        mismatch("state names the tracks %.*s, not those %d", (int)value->value.len,
                 (const char *)value->value.data, state->track_count);
}

static void check_state(const stele_session *session, int key, const model_state *state)
{
    static stele_session_value values[4 * MAP];
    model_map merged = state->own;
    merge_map(&merged, &model.app, "app:");
    merge_map(&merged, &model.users[model_user(key)], "user:");
    size_t count = 0;
    for (size_t i = 0; i < session->state_count && count < 4 * MAP; i++) {
        if (strcmp(session->state[i].key.data, "tracks") == 0)
            check_track_names(&session->state[i], state);
        else
            values[count++] = session->state[i];
    }
    if (session->state_count - count != (state->names_tracks ? 1 : 0))
        mismatch("state %s tracks", state->names_tracks ? "does not name" : "names");
    check_values("session", values, count, &merged);
}

static void check_session_tracks(const stele_session *session, int key, const model_read *read,
                                 const model_state *state)
{
    static int wanted[EVENTS];
    size_t count = 0;
    for (int i = 0; i < state->track_count; i++) {
        int track = state->tracks[i];
        if (read->only_meta || read->no_tracks ||
            (read->track_set != 0 && (read->track_set >> track & 1) == 0))
            continue;
        count++;
        const stele_session_track *found = NULL;
        for (size_t j = 0; j < session->track_count; j++)
            if (strcmp(session->tracks[j].name.data, track_names[track]) == 0)
                found = &session->tracks[j];
        if (found == NULL)
            mismatch("track %d is not there", track);
        size_t number = model_tracks(key, track, beginning(read), read->num, wanted);
        check_tracks("get", found->events, found->event_count, wanted, number);
    }
    if (session->track_count != count)
        mismatch("%zu tracks, not %zu", session->track_count, count);
}

static void check_summaries(const stele_session *session, int key, const model_state *state,
                            bool shown)
{
    size_t count = 0;
    for (size_t i = 0; shown && i < model.summary_count; i++) {
        const model_summary *summary = &model.summaries[i];
        if (summary->key != key || summary->gone != 0 || summary->updated < state->created)
            continue;
        count++;
        bool found = false;
        for (size_t j = 0; j < session->summary_count; j++)
            found |=
                strcmp(session->summaries[j].filter_key.data, filter_keys[summary->filter]) == 0 &&
                session->summaries[j].updated_at == summary->updated &&
                mark_in(session->summaries[j].json) == summary->mark;
        if (!found)
            mismatch("the summary of \"%s\" is not there, or another",
                     filter_keys[summary->filter]);
    }
    if (session->summary_count != count)
        mismatch("%zu summaries, not %zu", session->summary_count, count);
}

void check_session(const stele_session *session, int key, const model_read *read)
{
    static int wanted[EVENTS + 1];
    const model_state *state = model_there(key);
    stele_session_key k = model_key(key);
    if (state == NULL)
        mismatch("session %d is read, but not there", key);
    if (strcmp(session->key.app_name.data, "desk") != 0 ||
        strcmp(session->key.user_id.data, k.user_id.data) != 0 ||
        strcmp(session->key.session_id.data, k.session_id.data) != 0)
        mismatch("session %d has another key", key);
    if (session->created_at != state->created || session->updated_at != state->updated)
        mismatch("session %d has times %lld, %lld, not %lld, %lld", key,
                 (long long)session->created_at, (long long)session->updated_at,
                 (long long)state->created, (long long)state->updated);
    check_state(session, key, state);
    size_t count = read->only_meta ? 0 : model_window(key, read, wanted);
    check_events("session", session->events, session->event_count, wanted, count);
    check_session_tracks(session, key, read, state);
    check_summaries(session, key, state, count > 0);
}
