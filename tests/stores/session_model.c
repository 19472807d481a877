/* The model's rows, and what is told when it and the store differ. See session_model.h. */
#define _GNU_SOURCE
#include "session_model.h"

#include <libpq-fe.h>

session_model model;
const char *const track_names[TRACKS] = {"tool", "m\xc3\xa9moire \"x\"", "z"};
const char *const filter_keys[FILTERS] = {"", "a", "a/b"};

/* ---- chance ------------------------------------------------------------------------------------ */

static uint64_t chance_state;

static uint64_t scatter(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Scattered, so that no seed begins where another comes along. */
void seed_chance(uint64_t seed)
{
    chance_state = scatter(seed + 1);
}

uint32_t pick(uint32_t count)
{
    chance_state += UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(scatter(chance_state) >> 32) % count;
}

bool chance(uint32_t percent)
{
    return pick(100) < percent;
}

/* ---- telling ----------------------------------------------------------------------------------- */

enum { LINES = 60, LINE = 220 };

static char lines[LINES][LINE];
static size_t line_count;
static uint64_t the_seed;
static int the_step;

void begin_log(uint64_t seed)
{
    the_seed = seed;
    the_step = 0;
    line_count = 0;
}

void log_step(int step)
{
    the_step = step;
}

void log_op(const char *fmt, ...)
{
    va_list args;
    char *line = lines[line_count++ % LINES];
    int len = snprintf(line, LINE, "%4d: ", the_step);
    va_start(args, fmt);
    vsnprintf(line + len, LINE - (size_t)len, fmt, args);
    va_end(args);
    if (getenv("STELE_MODEL_TRACE") != NULL)
        fprintf(stderr, "%s\n", line);
}

void mismatch(const char *fmt, ...)
{
    va_list args;
    char *why = NULL;
    va_start(args, fmt);
    if (vasprintf(&why, fmt, args) < 0)
        why = NULL;
    va_end(args);
    print_error("STELE_MODEL_SEED=%llu, step %d: %s\n", (unsigned long long)the_seed, the_step,
                why != NULL ? why : fmt);
    free(why);
    for (size_t i = line_count > LINES ? line_count - LINES : 0; i < line_count; i++)
        print_error("%s\n", lines[i % LINES]);
    _fail(__FILE__, __LINE__);
    abort(); /* that does not return */
}

/* ---- SQL --------------------------------------------------------------------------------------- */

static PGconn *sql_conn;
static PGresult *sql_result;
static char sql_prefix[64];

void open_sql(void)
{
    snprintf(sql_prefix, sizeof sql_prefix, "%s", answer("SELECT '{x}'"));
    sql_prefix[strlen(sql_prefix) - 1] = '\0';
    sql_conn = PQconnectdb(dsn);
    assert_int_equal(PQstatus(sql_conn), CONNECTION_OK);
    PQclear(PQexec(sql_conn, "SET TimeZone = 'UTC'"));
}

void close_sql(void)
{
    PQclear(sql_result);
    sql_result = NULL;
    PQfinish(sql_conn);
    sql_conn = NULL;
}

/* Names in the place of {table}; other braces stay. */
static char *named(const char *text)
{
    char *out = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&out, &size);
    assert_non_null(to);
    for (; *text != '\0'; text++) {
        size_t len = *text == '{' ? strspn(text + 1, "abcdefghijklmnopqrstuvwxyz_") : 0;
        if (len > 0 && text[len + 1] == '}') {
            fprintf(to, "%s%.*s", sql_prefix, (int)len, text + 1);
            text += len + 1;
        } else {
            fputc(*text, to);
        }
    }
    assert_int_equal(fclose(to), 0);
    return out;
}

const char *sql(const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, fmt);
    assert_true(vasprintf(&text, fmt, args) >= 0);
    va_end(args);
    char *full = named(text);
    PQclear(sql_result);
    sql_result = PQexec(sql_conn, full);
    ExecStatusType status = PQresultStatus(sql_result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        mismatch("%s: %s", full, PQerrorMessage(sql_conn));
    free(full);
    free(text);
    return PQntuples(sql_result) > 0 ? PQgetvalue(sql_result, 0, 0) : "";
}

stele_ts sql_now(void)
{
    return strtoll(sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"), NULL,
                   10);
}

/* ---- the rows ---------------------------------------------------------------------------------- */

stele_session_key model_key(int key)
{
    static const char *const ids[KEYS] = {"s-0", "s-1", "s-2", "s-3", "s-0"};
    stele_session_key made = {stele_s("desk"), stele_s(key == KEYS - 1 ? "u-2" : "u-1"),
                              stele_s(ids[key])};
    return made;
}

int model_user(int key)
{
    return key == KEYS - 1;
}

model_state *model_there(int key)
{
    for (size_t i = 0; i < model.state_count; i++)
        if (model.states[i].key == key && model.states[i].gone == 0)
            return &model.states[i];
    return NULL;
}

model_state *model_seen(int key)
{
    model_state *state = model_there(key);
    return state != NULL && !state->expired ? state : NULL;
}

model_state *model_add_state(int key)
{
    assert_true(model.state_count < EVENTS);
    model_state *state = &model.states[model.state_count++];
    memset(state, 0, sizeof *state);
    state->key = key;
    state->wrote = true;
    return state;
}

model_event *model_add_event(int key)
{
    assert_true(model.event_count < EVENTS);
    model_event *event = &model.events[model.event_count++];
    memset(event, 0, sizeof *event);
    event->key = key;
    return event;
}

model_track *model_add_track(int key, int track)
{
    assert_true(model.track_count < EVENTS);
    model_track *event = &model.tracks[model.track_count++];
    memset(event, 0, sizeof *event);
    event->key = key;
    event->track = track;
    return event;
}

model_summary *model_add_summary(int key, int filter)
{
    for (size_t i = 0; i < model.summary_count; i++) {
        model_summary *s = &model.summaries[i];
        if (s->key == key && s->filter == filter && s->gone == 0)
            return s;
    }
    assert_true(model.summary_count < EVENTS);
    model_summary *summary = &model.summaries[model.summary_count++];
    memset(summary, 0, sizeof *summary);
    summary->key = key;
    summary->filter = filter;
    return summary;
}

model_event *model_find_event(int key, const char *id)
{
    for (size_t i = 0; i < model.event_count; i++) {
        model_event *event = &model.events[i];
        if (event->key == key && event->gone == 0 && strcmp(event->id, id) == 0)
            return event;
    }
    return NULL;
}

int64_t model_stamp(void)
{
    model.stamps++;
    return model.soft ? model.stamps : GONE_FOR_GOOD;
}

static int64_t move(int key, int row_key, int64_t *gone, int64_t from, int64_t to)
{
    if (row_key != key || *gone != from)
        return 0;
    *gone = to;
    return 1;
}

int64_t model_drop_children(int key, int64_t stamp)
{
    int64_t count = 0;
    for (model_event *e = model.events; e < model.events + model.event_count; e++)
        count += move(key, e->key, &e->gone, 0, stamp);
    for (model_track *t = model.tracks; t < model.tracks + model.track_count; t++)
        count += move(key, t->key, &t->gone, 0, stamp);
    for (model_summary *y = model.summaries; y < model.summaries + model.summary_count; y++)
        count += move(key, y->key, &y->gone, 0, stamp);
    return count;
}

void model_delete(int key, int64_t stamp)
{
    model_state *state = model_there(key);
    if (state != NULL)
        state->gone = stamp;
    (void)model_drop_children(key, stamp);
}

static bool has_summary(int key, int filter)
{
    for (model_summary *y = model.summaries; y < model.summaries + model.summary_count; y++)
        if (y->key == key && y->gone == 0 && y->filter == filter)
            return true;
    return false;
}

bool model_restore(int key)
{
    model_state *last = NULL;
    for (model_state *s = model.states; s < model.states + model.state_count; s++)
        if (s->key == key && s->gone > 0 && (last == NULL || s->gone > last->gone))
            last = s;
    if (last == NULL)
        return false;
    int64_t stamp = last->gone;
    last->gone = 0;
    last->expired = false;
    last->may_have_written = true;
    for (model_event *e = model.events; e < model.events + model.event_count; e++)
        (void)move(key, e->key, &e->gone, stamp, 0);
    for (model_track *t = model.tracks; t < model.tracks + model.track_count; t++)
        (void)move(key, t->key, &t->gone, stamp, 0);
    for (model_summary *y = model.summaries; y < model.summaries + model.summary_count; y++)
        if (!has_summary(key, y->filter)) /* one that came meanwhile stays */
            (void)move(key, y->key, &y->gone, stamp, 0);
    return true;
}

static int64_t map_clean(model_map *map)
{
    int64_t count = 0;
    for (size_t i = map->count; i-- > 0;) {
        if (map->at[i].expired) {
            map_remove(map, map->at[i].key);
            count++;
        }
    }
    return count;
}

int64_t model_cleanup(void)
{
    int64_t count = map_clean(&model.app) + map_clean(&model.users[0]) + map_clean(&model.users[1]);
    for (int key = 0; key < KEYS; key++) {
        model_state *state = model_there(key);
        int64_t stamp = model_stamp();
        if (state != NULL && !state->expired)
            continue;
        if (state != NULL) {
            state->gone = stamp;
            count++;
        }
        count += model_drop_children(key, stamp);
    }
    for (model_track *t = model.tracks; t < model.tracks + model.track_count; t++)
        if (t->expired)
            count += move(t->key, t->key, &t->gone, 0, GONE_FOR_GOOD);
    return count;
}

model_value *map_find(model_map *map, const char *key)
{
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->at[i].key, key) == 0)
            return &map->at[i];
    return NULL;
}

void map_set(model_map *map, const model_value *value)
{
    model_value *old = map_find(map, value->key);
    if (old == NULL) {
        assert_true(map->count < MAP);
        old = &map->at[map->count++];
    }
    *old = *value;
}

void map_remove(model_map *map, const char *key)
{
    model_value *old = map_find(map, key);
    if (old == NULL)
        return;
    *old = map->at[--map->count];
}

/* ---- learning ---------------------------------------------------------------------------------- */

#define MICROS(column) "(extract(epoch FROM " column ") * 1000000)::bigint"

static const char tables[] =
    "SELECT 0 AS kind, user_id AS a, session_id AS b, " MICROS("created_at") " AS x, " MICROS(
        "updated_at") " AS y, coalesce(expires_at <= now() AT TIME ZONE 'UTC', false) AS z"
                      " FROM {session_states} WHERE deleted_at IS NULL"
                      " UNION ALL SELECT 1, coalesce(event ->> 'mark', event #>>"
                      " '{extensions,mark}'), '', id, " MICROS(
                          "created_at") ", false FROM {session_events} WHERE id > %lld"
                                        " UNION ALL SELECT 2, event -> 'payload' ->> 'mark', '',"
                                        " id, " MICROS(
                                            "created_at") ", false FROM {session_track_events}"
                                                          " WHERE id > %lld"
                                                          " UNION ALL SELECT 3, '', '', count(*), "
                                                          "0, false FROM {session_events} WHERE "
                                                          "deleted_at IS NULL"
                                                          " UNION ALL SELECT 4, '', '', count(*), "
                                                          "0, false FROM {session_track_events}"
                                                          " WHERE deleted_at IS NULL"
                                                          " UNION ALL SELECT 5, '', '', count(*), "
                                                          "0, false FROM {session_summaries}"
                                                          " WHERE deleted_at IS NULL ORDER BY "
                                                          "kind, x";

static int64_t whole(int row, int column)
{
    return strtoll(PQgetvalue(sql_result, row, column), NULL, 10);
}

static void learn_state(model_state *state, int row)
{
    bool pending = (model.pending >> state->key & 1) != 0;
    stele_ts updated = whole(row, 4);
    bool expired = PQgetvalue(sql_result, row, 5)[0] == 't';
    if (state->created == 0)
        state->created = whole(row, 3);
    if (state->created != whole(row, 3))
        mismatch("created_at of session %d moved", state->key);
    if (updated < state->updated ||
        (updated != state->updated && !state->wrote && !state->may_have_written))
        mismatch("updated_at of session %d went from %lld to %lld", state->key,
                 (long long)state->updated, (long long)updated);
    if (updated == state->updated && state->wrote && !pending)
        mismatch("updated_at of session %d did not move on", state->key);
    if (!pending) {
        state->wrote = state->may_have_written = false;
    } else if (updated != state->updated) { /* and more may be on its way */
        state->wrote = false;
        state->may_have_written = true;
    }
    state->updated = updated;
    if (expired != state->expired && !pending)
        mismatch("session %d %s", state->key, expired ? "has expired" : "lives again");
}

static void learn_session(int row)
{
    for (int key = 0; key < KEYS; key++) {
        stele_session_key k = model_key(key);
        if (strcmp(PQgetvalue(sql_result, row, 1), k.user_id.data) != 0 ||
            strcmp(PQgetvalue(sql_result, row, 2), k.session_id.data) != 0)
            continue;
        if (model_there(key) == NULL)
            mismatch("session %d is there", key);
        learn_state(model_there(key), row);
    }
}

static void learn_event(int row)
{
    int mark = (int)whole(row, 1);
    model_event *event = NULL;
    for (model_event *e = model.events; e < model.events + model.event_count; e++)
        if (e->mark == mark)
            event = e;
    if (event == NULL ||
        (event->row != 0 && (event->row != whole(row, 3) || event->at != whole(row, 4))))
        mismatch("event %d is stored as %lld", mark, (long long)whole(row, 3));
    event->row = whole(row, 3);
    event->at = whole(row, 4);
    if (model.pending == 0) /* what is being stored has lower ones, maybe */
        model.last_row = event->row;
}

static void learn_track(int row)
{
    int mark = (int)whole(row, 1);
    model_track *event = NULL;
    for (model_track *t = model.tracks; t < model.tracks + model.track_count; t++)
        if (t->mark == mark)
            event = t;
    if (event == NULL || event->at != whole(row, 4) ||
        (event->row != 0 && event->row != whole(row, 3)))
        mismatch("track event %d is stored as %lld", mark, (long long)whole(row, 3));
    event->row = whole(row, 3);
    if (model.pending == 0)
        model.last_track_row = event->row;
}

static void check_counts(int row)
{
    int64_t wanted[3] = {0, 0, 0};
    for (model_event *e = model.events; e < model.events + model.event_count; e++)
        wanted[0] += e->gone == 0;
    for (model_track *t = model.tracks; t < model.tracks + model.track_count; t++)
        wanted[1] += t->gone == 0;
    for (model_summary *y = model.summaries; y < model.summaries + model.summary_count; y++)
        wanted[2] += y->gone == 0;
    for (int i = 0; i < 3; i++)
        if (whole(row + i, 3) != wanted[i])
            mismatch("there are %lld %s, not %lld", (long long)whole(row + i, 3),
                     i == 0   ? "events"
                     : i == 1 ? "events of tracks"
                              : "summaries",
                     (long long)wanted[i]);
}

void model_learn(void)
{
    int sessions = 0;
    (void)sql(tables, (long long)model.last_row, (long long)model.last_track_row);
    for (int i = 0; i < PQntuples(sql_result); i++) {
        int64_t kind = whole(i, 0);
        sessions += kind == 0;
        if (kind == 0)
            learn_session(i);
        else if (kind == 1)
            learn_event(i);
        else if (kind == 2)
            learn_track(i);
        else if (kind == 3 && model.pending == 0)
            check_counts(i);
    }
    for (int key = 0; key < KEYS; key++)
        sessions -= model_there(key) != NULL;
    if (sessions != 0)
        mismatch("%d sessions are missing", -sessions);
}
