#define _GNU_SOURCE
#include "store_lab.h"

#include "stele/json.h"

enum { BUFFERS = 8, BUFFER_SIZE = 65536 };

char *dsn;
stele_sessions *store;
stele_error err;

/* ---- worlds ---------------------------------------------------------------------------------- */

static const char *world(void)
{
    const char *name = getenv("STELE_WORLD");
    return name != NULL ? name : "plain";
}

static bool world_has_names(void)
{
    return strstr(world(), "named") != NULL;
}

bool world_is_soft(void)
{
    return strstr(world(), "hard") == NULL;
}

bool world_is_async(void)
{
    return strstr(world(), "async") != NULL;
}

stele_sessions_options world_options(void)
{
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    options.dsn = dsn;
    options.pool.max_connections = 40;
    options.cleanup_interval_ms = -1;
    options.cleanup_rows_per_second = UINT32_MAX;
    options.soft_delete = world_is_soft() ? STELE_ON : STELE_OFF;
    options.async_persist = world_is_async();
    if (world_has_names()) {
        options.schema = "tenant_a";
        options.prefix = "app1";
    }
    return options;
}

stele_sessions *open_store(const stele_sessions_options *options)
{
    stele_sessions *s = NULL;
    assert_ok(stele_sessions_open(options, &s, &err));
    return s;
}

void close_store(stele_sessions *s)
{
    uint64_t lost = 1;
    assert_ok(stele_sessions_close(s, 10000, &lost, &err));
    assert_int_equal(lost, 0);
}

int setup_store(void **state)
{
    (void)state;
    dsn = dbtest_create();
    if (world_has_names())
        dbtest_exec(dsn, "CREATE SCHEMA tenant_a");
    stele_sessions_options options = world_options();
    store = open_store(&options);
    return 0;
}

int teardown_store(void **state)
{
    (void)state;
    close_store(store);
    dbtest_drop(dsn);
    return 0;
}

int clean_store(void **state)
{
    (void)state;
    flush_store();
    peer("TRUNCATE {session_states}, {session_events}, {session_track_events}, {session_summaries},"
         " {app_states}, {user_states}");
    return 0;
}

/* ---- checks ---------------------------------------------------------------------------------- */

void check_status(const char *file, int line, const char *what, stele_status got,
                  stele_status wanted)
{
    if (got == wanted)
        return;
    char text[1024] = "";
    if (got < STELE_OK)
        (void)stele_error_format(&err, text, sizeof text);
    print_error("%s answered %s, not %s: %s\n", what, stele_status_name(got),
                stele_status_name(wanted), text);
    _fail(file, line);
}

void check_said(const char *file, int line, const char *part)
{
    if (strstr(err.message, part) != NULL)
        return;
    print_error("\"%s\" is not in \"%s\"\n", part, err.message);
    _fail(file, line);
}

/* ---- SQL ------------------------------------------------------------------------------------- */

static char *buffer(void)
{
    static _Thread_local char buffers[BUFFERS][BUFFER_SIZE];
    static _Thread_local size_t next;
    return buffers[next++ % BUFFERS];
}

/* Puts names in the place of {table}; braces of JSON have a quote behind them, or nothing. */
static char *expand(const char *sql)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (; *sql != '\0'; sql++) {
        const char *end = *sql == '{' ? strchr(sql, '}') : NULL;
        size_t len = end != NULL ? (size_t)(end - sql) - 1 : 0;
        if (len > 0 && strspn(sql + 1, "abcdefghijklmnopqrstuvwxyz_") == len) {
            fprintf(out, "%s%.*s", world_has_names() ? "tenant_a.app1_" : "", (int)len, sql + 1);
            sql = end;
        } else {
            fputc(*sql, out);
        }
    }
    assert_int_equal(fclose(out), 0);
    return text;
}

static char *expanded(const char *fmt, va_list args)
{
    char *sql = NULL;
    assert_true(vasprintf(&sql, fmt, args) >= 0);
    char *text = expand(sql);
    free(sql);
    return text;
}

void peer(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *sql = expanded(fmt, args);
    va_end(args);
    dbtest_exec(dsn, sql);
    free(sql);
}

static const char *ask(char *sql)
{
    char *value = dbtest_value(dsn, sql);
    char *copy = buffer();
    snprintf(copy, BUFFER_SIZE, "%s", value);
    free(value);
    free(sql);
    return copy;
}

const char *answer(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *sql = expanded(fmt, args);
    va_end(args);
    return ask(sql);
}

int64_t number(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *sql = expanded(fmt, args);
    va_end(args);
    return strtoll(ask(sql), NULL, 10);
}

bool wait_until(const char *sql)
{
    char *text = expand(sql);
    bool met = dbtest_wait_until(dsn, text);
    free(text);
    return met;
}

/* ---- sessions -------------------------------------------------------------------------------- */

stele_str text_of(const char *s)
{
    return stele_s(s);
}

stele_session_key key_of(const char *session_id)
{
    stele_session_key key = {stele_s("desk"), stele_s("u-1"), stele_s(session_id)};
    return key;
}

stele_session_user user_of(const char *user_id)
{
    stele_session_user user = {stele_s("desk"), stele_s(user_id)};
    return user;
}

stele_session_value value_of(const char *key, const char *text)
{
    stele_session_value value = {stele_s(key), {(const uint8_t *)text, 0}};
    value.value.len = text != NULL ? strlen(text) : 0;
    return value;
}

const char *state_of(const stele_session *session, const char *key)
{
    const stele_session_value *value = stele_session_find(session, key);
    if (value == NULL)
        return "(none)";
    if (value->value.data == NULL)
        return "(null)";
    char *text = buffer();
    snprintf(text, BUFFER_SIZE, "%.*s", (int)value->value.len, (const char *)value->value.data);
    return text;
}

void create_session(const char *session_id)
{
    stele_session_key key = key_of(session_id);
    assert_ok(stele_sessions_create(store, &key, NULL, 0, NULL, &err));
}

const char *event_json(const char *event_id, const char *role, const char *text)
{
    char *json = buffer();
    snprintf(json, BUFFER_SIZE,
             "{\"id\": \"%s\", \"timestamp\": \"2026-03-06T08:00:11.25+08:00\","
             " \"author\": \"%s\", \"invocationId\": \"i-1\", \"object\": \"chat.completion\","
             " \"created\": 1772755211, \"model\": \"m\", \"done\": true, \"is_partial\": false,"
             " \"choices\": [{\"index\": 0, \"message\": {\"role\": \"%s\", \"content\": \"%s\"}}],"
             " \"response\": {\"id\": \"%s\", \"timestamp\": \"2026-03-06T00:00:11.25Z\"},"
             " \"version\": 1}",
             event_id, role, role, text, event_id);
    return json;
}

int64_t append_text(const char *session_id, const char *event_id, const char *role,
                    const char *text)
{
    stele_session_key key = key_of(session_id);
    stele_session_appended appended;
    const char *json = event_json(event_id, role, text);
    assert_ok(stele_sessions_append(store, &key, stele_s(json), &appended, &err));
    assert_true(appended.row_id > 0 || appended.queued);
    return appended.row_id;
}

stele_session *get_session(const char *session_id, const stele_session_get_options *options)
{
    stele_session_key key = key_of(session_id);
    stele_session *session = NULL;
    assert_ok(stele_sessions_get(store, &key, options, &session, &err));
    return session;
}

const char *ids_of(const stele_session_event *events, size_t count)
{
    char *ids = buffer();
    size_t len = 0;
    ids[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        json_t *json = NULL;
        assert_ok(stele_json_load(events[i].json, &json, &err));
        const char *id = json_string_value(json_object_get(json, "id"));
        int more =
            snprintf(ids + len, BUFFER_SIZE - len, "%s%s", i > 0 ? " " : "", id != NULL ? id : "?");
        len += more > 0 ? (size_t)more : 0;
        json_decref(json);
    }
    return ids;
}

uint64_t trips(void)
{
    stele_sessions_stats stats;
    stele_sessions_get_stats(store, &stats);
    return stats.round_trips;
}

void flush_store(void)
{
    assert_ok(stele_sessions_flush(store, NULL, 10000, &err));
}
