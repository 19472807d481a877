/*
 * The sessions store: a conversation is kept, read back, and its last turn sent again.
 *
 * STELE_DSN names the database. Its tables get the prefix "example_".
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <stele/sessions.h>

static stele_status say(stele_sessions *store, const stele_session_key *key, const char *id,
                        const char *role, const char *text, stele_error *err)
{
    stele_event event = STELE_EVENT_INIT;
    event.id = stele_s(id); /* a random UUID if it is left out */
    event.author = stele_s(role);
    event.role = stele_s(role);
    event.content = stele_s(text);
    return stele_sessions_append_event(store, key, &event, NULL, err);
}

static stele_status show(stele_sessions *store, const stele_session_key *key, stele_error *err)
{
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    options.event_num = 20; /* the newest */
    STELE_AUTO(stele_session) session = NULL;
    stele_status st = stele_sessions_get(store, key, &options, &session, err);
    if (st != STELE_OK)
        return st;
    for (size_t i = 0; i < session->event_count; i++)
        printf("%s\n", session->events[i].json.data);
    const stele_session_value *lang = stele_session_find(session, "user:lang");
    if (lang != NULL)
        printf("the user reads %.*s\n", (int)lang->value.len, (const char *)lang->value.data);
    return STELE_OK;
}

static stele_status converse(stele_sessions *store, stele_error *err)
{
    stele_session_key key = {stele_s("desk"), stele_s("ada"), stele_s("room")};
    stele_session_user ada = {key.app_name, key.user_id};
    stele_session_value lang = {stele_s("lang"), {(const uint8_t *)"en", 2}};
    STELE_AUTO(stele_session) session = NULL;
    uint64_t gone = 0;

    stele_status st = stele_sessions_update_user_state(store, &ada, &lang, 1, err);
    if (st == STELE_OK)
        st = stele_sessions_get_or_create(store, &key, NULL, 0, NULL, &session, NULL, err);
    if (st == STELE_OK)
        st = say(store, &key, "e-1", "user", "Is the map room free on Monday?", err);
    if (st == STELE_OK)
        st = say(store, &key, "e-2", "assistant", "It is, from nine to noon.", err);
    /* The user edits the question: it goes, with all that came after it. */
    if (st == STELE_OK)
        st = stele_sessions_truncate_after(store, &key, stele_s("e-1"), true, &gone, err);
    if (st == STELE_OK)
        st = say(store, &key, "e-3", "user", "Is the map room free on Tuesday?", err);
    if (st == STELE_OK)
        st = show(store, &key, err);
    return st == STELE_OK ? stele_sessions_delete(store, &key, err) : st;
}

int main(void)
{
    stele_error err;
    stele_sessions *store = NULL;
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.prefix = "example";
    options.session_ttl_ms = 24 * 3600 * 1000;
    stele_status st = stele_sessions_open(&options, &store, &err);
    if (st == STELE_OK)
        st = converse(store, &err);
    if (st != STELE_OK)
        fprintf(stderr, "%s: %s\n", stele_status_name(st), err.message);
    stele_status closed = stele_sessions_close(store, 5000, NULL, &err);
    return st == STELE_OK && closed == STELE_OK ? 0 : 1;
}
