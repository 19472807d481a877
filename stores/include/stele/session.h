/**
 * What a sessions store holds and hands out: see stele/sessions.h.
 *
 * What was read is one block, freed by one call; its texts point into what the server sent.
 */
#ifndef STELE_SESSION_H
#define STELE_SESSION_H

#include "stele/value.h"

STELE_BEGIN_DECLS

/* ---- what is stored -------------------------------------------------------------------------- */

/** A session. Where one is created `session_id` may be empty: it becomes a random UUID. */
typedef struct stele_session_key {
    stele_str app_name;
    stele_str user_id;
    stele_str session_id;
} stele_session_key;

typedef struct stele_session_user {
    stele_str app_name;
    stele_str user_id;
} stele_session_user;

/** A value of a state. `value.data` NULL is a stored null, which is not the same as no value. */
typedef struct stele_session_value {
    stele_str key;
    stele_bytes value; /* of applications and users: text */
} stele_session_value;

/** An event, or a track's event, as it is stored. Parse `json` where its parts are needed. */
typedef struct stele_session_event {
    int64_t row_id;
    stele_ts
        created_at; /* by the server's clock; events are in the order of (created_at, row_id) */
    stele_str json;
} stele_session_event;

typedef struct stele_session_summary {
    stele_str filter_key;
    stele_ts updated_at; /* time of the last event that it covers */
    stele_str json;      /* summary, topics, updated_at, boundary */
} stele_session_summary;

typedef struct stele_session_track {
    stele_str name;
    const stele_session_event *events;
    size_t event_count;
} stele_session_track;

/** A session as it was read: one block, given up by stele_session_free(). */
typedef struct stele_session {
    stele_session_key key;
    stele_ts created_at;
    stele_ts updated_at;
    /* Its own state, then that of the application under "app:", of the user under "user:"; by key. */
    const stele_session_value *state;
    size_t state_count;
    const stele_session_event *events; /* oldest first */
    size_t event_count;
    const stele_session_summary *summaries;
    size_t summary_count;
    const stele_session_track *tracks; /* those that the session's state names */
    size_t track_count;
} stele_session;

/** The value of a key of the state, or NULL. Borrowed from the session. */
STELE_API const stele_session_value *stele_session_find(const stele_session *session,
                                                        const char *key);

/** Frees a session of _create, _get and _get_or_create. NULL is ignored. */
STELE_API void stele_session_free(stele_session *session);
STELE_API void stele_session_autofree(stele_session **session); /* for STELE_AUTO */

/** Events that were read on their own; stele_session_events_free(). */
typedef struct stele_session_events {
    const stele_session_event *events;
    size_t count;
} stele_session_events;

STELE_API void stele_session_events_free(stele_session_events *events);
STELE_API void stele_session_events_autofree(stele_session_events **events); /* for STELE_AUTO */

/** State that was read on its own, by key; stele_session_values_free(). */
typedef struct stele_session_values {
    const stele_session_value *values;
    size_t count;
} stele_session_values;

STELE_API void stele_session_values_free(stele_session_values *values);
STELE_API void stele_session_values_autofree(stele_session_values **values); /* for STELE_AUTO */

/* ---- what to read ---------------------------------------------------------------------------- */

/** A place between events, to read on from. `row_id` 0: the newest. */
typedef struct stele_session_cursor {
    stele_ts created_at;
    int64_t row_id;
} stele_session_cursor;

/** What to read of a session. 0 and NULL take the default in brackets. */
typedef struct stele_session_get_options {
    size_t size; /* set by STELE_SESSION_GET_OPTIONS_INIT */
    int32_t
        event_num; /* the newest [the store's event_limit]; negative: all. The first is a message of
                          the user: those before it are left out, or the last one is put in front. Also
                          the limit of each track [all] */
    stele_in_ts
        event_time; /* from the first event of that time on, by the time in the event [session's
                               TTL ago]; that is not looked at in events stored over five minutes
                               earlier or later. Tracks: those after it */
    /* A page instead of event_num and event_time, of exactly the events in it: `page_limit` events,
     * newest first, after leaving out `page_offset` or those from `before` on; told oldest first. */
    uint32_t page_limit;
    uint32_t page_offset;
    stele_session_cursor before;
    const stele_str *tracks; /* [all] */
    size_t track_count;
    bool no_tracks;
    bool only_meta; /* neither events, nor summaries, nor tracks */
} stele_session_get_options;

#ifdef __cplusplus
}
static inline stele_session_get_options stele_session_get_options_init(void)
{
    stele_session_get_options options = stele_session_get_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_SESSION_GET_OPTIONS_INIT stele_session_get_options_init()
#else
#define STELE_SESSION_GET_OPTIONS_INIT                                                             \
    {                                                                                              \
        .size = sizeof(stele_session_get_options)                                                  \
    }
#endif

/** What to list. 0 and NULL take the default in brackets. */
typedef struct stele_session_list_options {
    size_t size;    /* set by STELE_SESSION_LIST_OPTIONS_INIT */
    uint32_t limit; /* sessions [all] */
    uint32_t offset;
    /* Go on after a session of the list before: its updated_at and session_id. Not with `offset`. */
    stele_opt_ts after_updated_at;
    stele_str after_session_id;
    int32_t event_num; /* of each session, as in stele_session_get_options */
    stele_in_ts event_time;
    bool only_meta; /* neither events, nor summaries, nor tracks */
} stele_session_list_options;

#ifdef __cplusplus
}
static inline stele_session_list_options stele_session_list_options_init(void)
{
    stele_session_list_options options = stele_session_list_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_SESSION_LIST_OPTIONS_INIT stele_session_list_options_init()
#else
#define STELE_SESSION_LIST_OPTIONS_INIT                                                            \
    {                                                                                              \
        .size = sizeof(stele_session_list_options)                                                 \
    }
#endif

/** A session of a list. With a `status` other than STELE_OK only its key and times are known. */
typedef struct stele_session_item {
    stele_session session;
    stele_status status; /* STELE_E_DECODE when its state is not what the peer writes */
    const char *message; /* why; NULL for STELE_OK */
} stele_session_item;

typedef struct stele_session_list {
    const stele_session_item *items; /* last used first, then by session id downwards */
    size_t count;
} stele_session_list;

/* ---- events to append ------------------------------------------------------------------------- */

/**
 * An event, for those who have no JSON of their own. NULL and 0 leave a part out; it is written with
 * all keys that the peer expects.
 */
typedef struct stele_event {
    size_t size;  /* set by STELE_EVENT_INIT */
    stele_str id; /* [a random UUID] */
    stele_str author;
    stele_str invocation_id;
    stele_str branch;
    stele_str filter_key;
    stele_str role; /* [assistant] "user", "system", "tool" */
    stele_str content;
    stele_str model;
    stele_str object;     /* [chat.completion] */
    stele_str tool_calls; /* JSON array, as the model gave it */
    stele_str tool_id;    /* with role "tool": what this is the answer to */
    stele_str tool_name;
    /* [now, by this machine's clock: for people, not for order] Of the years 1 to 9999. */
    stele_opt_ts timestamp;
    bool partial; /* a piece of an answer: its state is kept, the event is not */
    bool done;
    const stele_session_value *state_delta;
    size_t state_delta_count;
    stele_str extensions; /* JSON object */
} stele_event;

#ifdef __cplusplus
}
static inline stele_event stele_event_init(void)
{
    stele_event event = stele_event();
    event.size = sizeof event;
    return event;
}
extern "C" {
#define STELE_EVENT_INIT stele_event_init()
#else
#define STELE_EVENT_INIT                                                                           \
    {                                                                                              \
        .size = sizeof(stele_event)                                                                \
    }
#endif

STELE_END_DECLS

#endif
