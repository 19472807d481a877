/* Two hundred conversations of an agent, replayed by eight threads and compared message by message. */
#define _GNU_SOURCE
#include <pthread.h>

#include "stele/json.h"
#include "store_lab.h"

enum { THREADS = 8, MOST = 8000, LONGEST_LINE = 1 << 20 };

typedef struct line {
    json_t *json;
    char *message; /* its JSON, as it is sent */
} line;

static line lines[MOST];
static int line_count;

static const char *text(const line *l, const char *name)
{
    return json_string_value(json_object_get(l->json, name));
}

static stele_session_key key_of_line(const line *l)
{
    stele_session_key key = {stele_s(text(l, "app_name")), stele_s(text(l, "user_id")),
                             stele_s(text(l, "session_id"))};
    return key;
}

static bool load(const char *path)
{
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    char *buffer = malloc(LONGEST_LINE);
    while (file != NULL && buffer != NULL && fgets(buffer, LONGEST_LINE, file) != NULL) {
        stele_str whole = stele_s(buffer);
        if (line_count == MOST || stele_json_load(whole, &lines[line_count].json, NULL) != STELE_OK)
            break;
        lines[line_count].message =
            json_dumps(json_object_get(lines[line_count].json, "message"), JSON_COMPACT);
        line_count++;
    }
    free(buffer);
    if (file != NULL)
        (void)fclose(file);
    return line_count > 0;
}

/* All lines of a session have one thread. */
static bool is_mine(const line *l, int thread)
{
    unsigned sum = 0;
    for (const char *c = text(l, "session_id"); *c != '\0'; c++)
        sum = sum * 31 + (unsigned char)*c;
    return (int)(sum % THREADS) == thread;
}

typedef struct replayer {
    pthread_t thread;
    int number;
    stele_error error;
    stele_status status;
} replayer;

static stele_status send_line(const line *l, int number, stele_error *e)
{
    char *event = NULL;
    size_t size = 0;
    stele_session_key key = key_of_line(l);
    FILE *out = open_memstream(&event, &size);
    if (out == NULL)
        return STELE_E_NOMEM;
    fprintf(out,
            "{\"id\": \"m-%d\", \"author\": \"x\", \"invocationId\": \"\", \"version\": 1,"
            " \"choices\": [{\"index\": 0, \"message\": %s}]}",
            number, l->message);
    (void)fclose(out);
    stele_status st = stele_sessions_append(store, &key, stele_s(event), NULL, e);
    free(event);
    return st;
}

static void *replay(void *arg)
{
    replayer *r = arg;
    for (int i = 0; i < line_count && r->status == STELE_OK; i++) {
        if (!is_mine(&lines[i], r->number))
            continue;
        stele_session_key key = key_of_line(&lines[i]);
        STELE_AUTO(stele_session) session = NULL;
        r->status =
            stele_sessions_get_or_create(store, &key, NULL, 0, NULL, &session, NULL, &r->error);
        if (r->status == STELE_OK)
            r->status = send_line(&lines[i], i, &r->error);
    }
    return NULL;
}

static bool is_stored(const char *message)
{
    json_t *json = json_loads(message, 0, NULL);
    const char *content = json_string_value(json_object_get(json, "content"));
    bool says = content != NULL && content[0] != '\0';
    bool calls = json_array_size(json_object_get(json, "tool_calls")) > 0;
    json_decref(json);
    return says || calls;
}

/* The events of a session are its lines, in order, and their messages are equal as JSON. */
static void compare(const line *first, int from)
{
    stele_session_key key = key_of_line(first);
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    STELE_AUTO(stele_session) session = NULL;
    options.page_limit = MOST;
    assert_ok(stele_sessions_get(store, &key, &options, &session, &err));
    size_t at = 0;
    for (int i = from; i < line_count; i++) {
        if (strcmp(text(&lines[i], "session_id"), text(first, "session_id")) != 0 ||
            !is_stored(lines[i].message))
            continue;
        json_t *event = NULL;
        assert_true(at < session->event_count);
        assert_ok(stele_json_load(session->events[at++].json, &event, &err));
        json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
        assert_true(json_equal(json_object_get(choice, "message"),
                               json_object_get(lines[i].json, "message")));
        json_decref(event);
    }
    assert_int_equal(at, session->event_count);
}

static bool is_first(int i)
{
    for (int j = 0; j < i; j++)
        if (strcmp(text(&lines[j], "session_id"), text(&lines[i], "session_id")) == 0)
            return false;
    return true;
}

static void test_conversations(void **state)
{
    (void)state;
    replayer replayers[THREADS] = {{0}};
    int sessions = 0;
    for (int i = 0; i < THREADS; i++) {
        replayers[i].number = i;
        assert_int_equal(pthread_create(&replayers[i].thread, NULL, replay, &replayers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(replayers[i].thread, NULL), 0);
        err = replayers[i].error;
        assert_ok(replayers[i].status);
    }
    flush_store();
    for (int i = 0; i < line_count; i++) {
        if (!is_first(i))
            continue;
        compare(&lines[i], i);
        sessions++;
    }
    assert_true(sessions > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_conversations),
    };
    dbtest_require_server();
    if (!load(getenv("STELE_CONVERSATIONS"))) {
        printf("1..0 # SKIP the dataset that STELE_CONVERSATIONS names is missing\n");
        return 0;
    }
    return RUN_STORED(tests);
}
