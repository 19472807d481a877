/*
 * Stores a conversation and has it summarized: by the sentences that matter most in it, or by a model.
 *
 *     summarize FILE              no network
 *     summarize FILE URL MODEL    asks the model; STELE_API_KEY, if set, is its key
 *
 * STELE_DSN names the database. Each line of FILE is a message: author, role, content, and for tools
 * tool_calls or tool_id.
 */
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stele/mem.h>
#include <stele/sessions.h>

#include "http_summarizer.h"

static const stele_session_key session = {{"examples", 8}, {"reader", 6}, {"summarize", 9}};

static stele_str text_of(const json_t *object, const char *key)
{
    return stele_s(json_string_value(json_object_get(object, key)));
}

static stele_status append_line(stele_sessions *store, const char *line, stele_error *err)
{
    stele_event event = STELE_EVENT_INIT;
    json_t *json = json_loads(line, 0, NULL);
    const json_t *tool_calls = json_object_get(json, "tool_calls");
    char *calls = tool_calls != NULL ? json_dumps(tool_calls, JSON_COMPACT) : NULL;
    event.author = text_of(json, "author");
    event.role = text_of(json, "role");
    event.content = text_of(json, "content");
    event.tool_id = text_of(json, "tool_id");
    event.tool_calls = stele_s(calls);
    stele_status st = stele_sessions_append_event(store, &session, &event, NULL, err);
    free(calls);
    json_decref(json);
    return st;
}

static stele_status append_file(stele_sessions *store, FILE *file, stele_error *err)
{
    char *line = NULL;
    size_t size = 0;
    stele_status st = STELE_OK;
    while (st == STELE_OK && getline(&line, &size, file) >= 0)
        st = append_line(store, line, err);
    free(line);
    return st;
}

static stele_status run(stele_sessions *store, FILE *file, stele_error *err)
{
    STELE_AUTO(stele_session) created = NULL;
    char *summary = NULL;
    stele_status st = stele_sessions_delete(store, &session, err); /* of an earlier run */
    if (st == STELE_OK)
        st = stele_sessions_create(store, &session, NULL, 0, &created, err);
    if (st == STELE_OK)
        st = append_file(store, file, err);
    if (st == STELE_OK)
        st = stele_sessions_create_summary(store, &session, NULL, false, err);
    if (st == STELE_OK)
        st = stele_sessions_get_summary_text(store, &session, NULL, &summary, err);
    if (st == STELE_OK)
        printf("%s\n", summary);
    stele_free(summary);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 4) {
        fprintf(stderr, "usage: %s FILE [URL MODEL]\n", argv[0]);
        return 2;
    }
    FILE *file = fopen(argv[1], "r");
    if (file == NULL) {
        perror(argv[1]);
        return 2;
    }
    http_summarizer_options model = {.api_key = getenv("STELE_API_KEY"), .timeout_ms = 30000};
    const char *patience = getenv("STELE_MODEL_TIMEOUT_MS");
    if (patience != NULL)
        model.timeout_ms = (uint32_t)strtoul(patience, NULL, 10);
    stele_summarizer summarizer = STELE_SUMMARIZER_INIT;
    summarizer.trigger = stele_when_events(5);
    summarizer.summarize = stele_summarize_extractive;
    if (argc == 4) {
        model.url = argv[2];
        model.model = argv[3];
        summarizer.summarize = http_summarize;
        summarizer.user = &model;
    }
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);

    stele_error err = {0};
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.summarizer = &summarizer;
    STELE_AUTO(stele_sessions) store = NULL;
    stele_status st = stele_sessions_open(&options, &store, &err);
    if (st == STELE_OK)
        st = run(store, file, &err);
    if (st != STELE_OK) {
        char line[2048];
        (void)stele_error_format(&err, line, sizeof line);
        fprintf(stderr, "summarize: %s\n", line);
    }
    (void)fclose(file);
    curl_global_cleanup();
    return st == STELE_OK ? 0 : 1;
}
