/*
 * The sessions store at work on a conversation, in two lives of one program:
 *
 *     stele-demo-desk talk CONVERSATION STEP     stores it, asks for a summary, and is killed in the middle
 *     stele-demo-desk resume STEP                finds the summary made all the same, and goes on
 *
 * STELE_DSN names the database; STEP is the number of the first step that is told.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <stele/json.h>
#include <stele/mem.h>
#include <stele/sessions.h>
#include <stele/summarizer.h>

enum { PATIENCE_SECONDS = 60 };

static const stele_session_key room = {{"library", 7}, {"m-2071", 6}, {"room-change", 11}};
static const stele_session_user member = {{"library", 7}, {"m-2071", 6}};
static int number; /* of the next step */

/* ---- telling ---- */

static void step(const char *title)
{
    printf("\n%d. %s\n", number++, title);
}

static bool failed(const char *what, stele_status st, const stele_error *err)
{
    char line[2048];
    if (st >= STELE_OK)
        return false;
    (void)stele_error_format(err, line, sizeof line);
    fprintf(stderr, "%s: %s\n", what, line);
    return true;
}

static uint64_t round_trips(const stele_sessions *store)
{
    stele_sessions_stats stats;
    stele_sessions_get_stats(store, &stats);
    return stats.round_trips;
}

static void print_event(const char *before, stele_str event)
{
    json_t *json = NULL;
    if (stele_json_load(event, &json, NULL) != STELE_OK)
        return;
    const json_t *choice = json_array_get(json_object_get(json, "choices"), 0);
    const json_t *content = json_object_get(json_object_get(choice, "message"), "content");
    printf("   %s %-5s %s\n", before, json_string_value(json_object_get(json, "author")),
           json_is_string(content) ? json_string_value(content) : "(calls a tool)");
    json_decref(json);
}

static void print_indented(const char *text)
{
    for (const char *end; *text != '\0'; text = *end != '\0' ? end + 1 : end) {
        end = text + strcspn(text, "\n");
        printf("   | %.*s\n", (int)(end - text), text);
    }
}

/* ---- storing ---- */

static stele_session_value text_value(const char *key, const char *value)
{
    stele_session_value pair = {stele_s(key), {(const uint8_t *)value, strlen(value)}};
    return pair;
}

static stele_status start(stele_sessions *store, stele_error *err)
{
    stele_session_value topic = text_value("topic", "booking");
    const stele_session_value opening[] = {text_value("opens", "09:00"),
                                           text_value("closes", "18:00")};
    const stele_session_value card = text_value("card", "gold");
    STELE_AUTO(stele_session) session = NULL;
    bool created = false;
    uint64_t before = round_trips(store);
    stele_status st = stele_sessions_update_app_state(store, room.app_name, opening, 2, err);
    if (st == STELE_OK)
        st = stele_sessions_update_user_state(store, &member, &card, 1, err);
    if (st == STELE_OK)
        st = stele_sessions_get_or_create(store, &room, &topic, 1, NULL, &session, &created, err);
    if (st != STELE_OK)
        return st;
    printf("   %s in %" PRIu64 " round trips, state:", created ? "created" : "found",
           round_trips(store) - before);
    for (size_t i = 0; i < session->state_count; i++)
        printf(" %s=%.*s", session->state[i].key.data, (int)session->state[i].value.len,
               (const char *)session->state[i].value.data);
    printf("\n");
    return STELE_OK;
}

static stele_str text_of(const json_t *object, const char *key)
{
    return stele_s(json_string_value(json_object_get(object, key)));
}

static stele_status append_line(stele_sessions *store, const char *line, int count,
                                stele_error *err)
{
    char id[16];
    stele_event event = STELE_EVENT_INIT;
    json_t *json = json_loads(line, 0, NULL);
    const json_t *calls = json_object_get(json, "tool_calls");
    char *tool_calls = calls != NULL ? json_dumps(calls, JSON_COMPACT) : NULL;
    (void)snprintf(id, sizeof id, "e-%02d", count);
    event.id = stele_s(id);
    event.author = text_of(json, "author");
    event.role = text_of(json, "role");
    event.content = text_of(json, "content");
    event.tool_id = text_of(json, "tool_id");
    event.tool_calls = stele_s(tool_calls);
    stele_status st = stele_sessions_append_event(store, &room, &event, NULL, err);
    free(tool_calls);
    json_decref(json);
    return st;
}

static stele_status store_conversation(stele_sessions *store, const char *path, stele_error *err)
{
    char *line = NULL;
    size_t size = 0;
    int count = 0;
    stele_status st = STELE_OK;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    uint64_t before = round_trips(store);
    while (st == STELE_OK && getline(&line, &size, file) >= 0)
        st = append_line(store, line, ++count, err);
    if (st == STELE_OK)
        printf("   %d events appended in %" PRIu64 " round trips\n", count,
               round_trips(store) - before);
    free(line);
    (void)fclose(file);
    return st;
}

/* ---- reading and changing ---- */

static stele_status show_last(stele_sessions *store, stele_error *err)
{
    STELE_AUTO(stele_session) session = NULL;
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    options.event_num = 6;
    uint64_t before = round_trips(store);
    stele_status st = stele_sessions_get(store, &room, &options, &session, err);
    if (st != STELE_OK)
        return st;
    printf("   the end of it, with all of its state and %zu summary, in %" PRIu64 " round trip:\n",
           session->summary_count, round_trips(store) - before);
    for (size_t i = 0; i < session->event_count; i++)
        print_event(" ", session->events[i].json);
    return STELE_OK;
}

static stele_status edit_last_turn(stele_sessions *store, stele_error *err)
{
    STELE_AUTO(stele_session_events) around = NULL;
    stele_event event = STELE_EVENT_INIT;
    uint64_t gone = 0;
    size_t anchor = 0;
    stele_status st =
        stele_sessions_truncate_after(store, &room, stele_s("e-14"), true, &gone, err);
    if (st != STELE_OK)
        return st;
    printf("   %" PRIu64 " event taken back, and another sent instead\n", gone);
    event.id = stele_s("e-15");
    event.author = event.role = stele_s("user");
    event.content = stele_s("Thank you! Could we have it until one?");
    st = stele_sessions_append_event(store, &room, &event, NULL, err);
    if (st == STELE_OK)
        st = stele_sessions_window(store, &room, stele_s("e-15"), 1, 1, NULL, 0, &around, &anchor,
                                   err);
    for (size_t i = 0; st == STELE_OK && i < around->count; i++)
        print_event(i == anchor ? ">" : " ", around->events[i].json);
    return st;
}

static stele_status delete_and_restore(stele_sessions *store, stele_error *err)
{
    STELE_AUTO(stele_session_list) none = NULL;
    STELE_AUTO(stele_session_list) list = NULL;
    stele_status st = stele_sessions_delete(store, &room, err);
    if (st == STELE_OK)
        st = stele_sessions_list(store, &member, NULL, &none, err);
    if (st == STELE_OK)
        st = stele_sessions_restore(store, &room, err);
    if (st == STELE_OK)
        st = stele_sessions_list(store, &member, NULL, &list, err);
    if (st == STELE_OK)
        printf("   deleted: %zu sessions; restored: %zu, with %zu events and %zu summary\n",
               none->count, list->count, list->items[0].session.event_count,
               list->items[0].session.summary_count);
    return st;
}

/* ---- the summary ---- */

/* Begins a summary, and does not live to store it. */
static stele_status die(const stele_summary_view *view, stele_summary_text *text, void *user,
                        stele_error *err)
{
    (void)text, (void)user, (void)err;
    printf("   a worker has read %zu events, and … SIGKILL\n", view->event_count);
    (void)fflush(stdout);
    (void)kill(getpid(), SIGKILL);
    return STELE_E_CANCELED;
}

static stele_status wait_for_summary(stele_sessions *store, stele_error *err)
{
    const struct timespec moment = {0, 50000000};
    time_t begun = time(NULL);
    char *text = NULL;
    stele_status st;
    while ((st = stele_sessions_get_summary_text(store, &room, NULL, &text, err)) ==
               STELE_E_NOT_FOUND &&
           time(NULL) - begun < PATIENCE_SECONDS)
        (void)nanosleep(&moment, NULL);
    if (st != STELE_OK)
        return st;
    printf(
        "   the job of the dead process was taken over; the summary, made of the sentences that\n"
        "   matter most:\n");
    print_indented(text);
    stele_free(text);
    return STELE_OK;
}

/* ---- the whole ---- */

static bool talk(stele_sessions *store, const char *path, stele_error *err)
{
    step("The sessions store: state of an application, a user and a session");
    if (failed("start", start(store, err), err))
        return false;
    step("Append the conversation");
    if (failed("append", store_conversation(store, path, err), err))
        return false;
    step("Ask for a summary, and die before it is there");
    if (failed("enqueue", stele_sessions_enqueue_summary(store, &room, NULL, false, err), err))
        return false;
    for (;;) /* a worker of this process ends it */
        (void)pause();
}

static bool resume(stele_sessions *store, stele_error *err)
{
    step("Start again");
    if (failed("summary", wait_for_summary(store, err), err))
        return false;
    step("Read the session");
    if (failed("get", show_last(store, err), err))
        return false;
    step("Delete it, and restore it");
    if (failed("restore", delete_and_restore(store, err), err))
        return false;
    step("Edit the last turn and send it again");
    return !failed("edit", edit_last_turn(store, err), err);
}

int main(int argc, char **argv)
{
    bool talks = argc == 4 && strcmp(argv[1], "talk") == 0;
    if (!talks && (argc != 3 || strcmp(argv[1], "resume") != 0)) {
        fprintf(stderr, "usage: %s talk CONVERSATION STEP | resume STEP\n", argv[0]);
        return 2;
    }
    number = (int)strtol(argv[argc - 1], NULL, 10);
    stele_error err;
    stele_extractive_options extract = {.max_sentences = 3};
    stele_summarizer summarizer = STELE_SUMMARIZER_INIT;
    summarizer.trigger = stele_when_events(10);
    summarizer.summarize = talks ? die : stele_summarize_extractive;
    summarizer.user = &extract;
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.prefix = "desk";
    options.summarizer = &summarizer;
    options.summary_jobs = STELE_SUMMARY_DURABLE; /* jobs in a table: they outlive us */
    STELE_AUTO(stele_sessions) store = NULL;
    if (failed("open", stele_sessions_open(&options, &store, &err), &err))
        return 1;
    return (talks ? talk(store, argv[2], &err) : resume(store, &err)) ? 0 : 1;
}
