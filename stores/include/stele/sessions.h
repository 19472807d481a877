/**
 * Sessions of agents: their state, events, tracks and summaries, on the tables of trpc-agent-go's
 * session/postgres, which may be used by that program at the same time.
 *
 *     stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
 *     options.dsn = "host=/run/postgresql dbname=agents";
 *     if (stele_sessions_open(&options, &store, &err) != STELE_OK) …
 *     stele_session_key key = {stele_s("desk"), stele_s("u-1"), stele_s("s-1")};
 *     st = stele_sessions_append(store, &key, stele_s(event_json), NULL, &err);
 *
 * Each operation is one round trip, and all of it is stored or none; an append or a change of state
 * that finds no session takes another to learn why. Times are the server's, in UTC.
 *
 * Texts that go in are UTF-8 without NUL; keys have at most 255 characters (STELE_E_VALUE beyond).
 * What comes out is one block, freed by one call; its texts point into what the server sent.
 * Pointers must not be NULL where it is not said that they may; `err` may always.
 *
 * All functions but stele_sessions_close() may be called by any thread at any time, also by hooks; those
 * that open and close a store may not. Those that touch the database also answer what
 * stele_db_acquire() and generated functions do: STELE_E_TIMEOUT, STELE_E_CONNECT, STELE_E_LOST,
 * STELE_E_UNKNOWN, STELE_E_VALUE, STELE_E_SCHEMA, STELE_E_PERMISSION, STELE_E_READ_ONLY, STELE_E_NOMEM,
 * and STELE_E_FORKED in a child process.
 */
#ifndef STELE_SESSIONS_H
#define STELE_SESSIONS_H

#include "stele/db.h"
#include "stele/mem.h"
#include "stele/session.h"

STELE_BEGIN_DECLS

typedef struct stele_sessions stele_sessions;
typedef struct stele_summarizer stele_summarizer; /* stele/summarizer.h */

/* ---- hooks ----------------------------------------------------------------------------------- */

/** What an append answers. */
typedef struct stele_session_appended {
    int64_t row_id;      /* 0: no event was stored, as it is partial or has no content; or queued */
    stele_ts created_at; /* likewise 0 */
    bool duplicate;      /* with idempotent_events: it was there, and is what is told here */
    bool queued;         /* with async_persist: not yet durable, see stele_sessions_wait() */
    uint64_t receipt;    /* of what is queued */
} stele_session_appended;

/** An append under way. A hook may replace `key` and `event`, which must live until the hook returns. */
typedef struct stele_append_call {
    stele_sessions *store;
    const stele_session_key *key;
    stele_str event; /* JSON */
    stele_session_appended *ret_appended;
} stele_append_call;

/** Carries on with the next hook, and after the last one with the database: each call appends once. */
STELE_API STELE_MUST_CHECK stele_status stele_append_next(stele_append_call *call,
                                                          stele_error *err);

/** Called around each append that passed the checks; without _next nothing is stored. */
typedef stele_status (*stele_append_fn)(stele_append_call *call, void *user, stele_error *err);

/** A get under way. A hook may replace `key` and `options` for those after it. */
typedef struct stele_get_call {
    stele_sessions *store;
    const stele_session_key *key;
    const stele_session_get_options *options;
    stele_session **ret_session;
} stele_get_call;

/** The same for a get. A session that an earlier call put into `*ret_session` is freed. */
STELE_API STELE_MUST_CHECK stele_status stele_get_next(stele_get_call *call, stele_error *err);

/** Called around each stele_sessions_get(); what it answers without _next is the caller's result. */
typedef stele_status (*stele_get_fn)(stele_get_call *call, void *user, stele_error *err);

typedef struct stele_append_hook {
    stele_append_fn fn;
    void *user;
} stele_append_hook;

typedef struct stele_get_hook {
    stele_get_fn fn;
    void *user;
} stele_get_hook;

/* ---- opening and closing --------------------------------------------------------------------- */

/** What happens to a summary job when its queue is full. */
typedef enum stele_summary_full {
    STELE_SUMMARY_FULL_RUN_HERE = 0, /* it runs in the caller, as the peer does */
    STELE_SUMMARY_FULL_BLOCK,        /* the caller waits for room, at most the job's timeout */
    STELE_SUMMARY_FULL_REJECT        /* STELE_E_BUSY */
} stele_summary_full;

/** Who makes summaries that were enqueued. */
typedef enum stele_summary_workers {
    STELE_SUMMARY_VOLATILE = 0, /* threads of this process; jobs end with it */
    STELE_SUMMARY_DURABLE       /* jobs in a table: they survive a crash, and run on any process */
} stele_summary_workers;

/**
 * Options. 0 and NULL take the default in brackets; times are in milliseconds.
 *
 * Everything is copied but the registry, the modules' names and what hooks and the summarizer point to.
 */
typedef struct stele_sessions_options {
    size_t size; /* sizeof(stele_sessions_options); set by STELE_SESSIONS_OPTIONS_INIT */

    /* Where the database is: `db`, else dsn, else host and its companions, else a named instance, else
     * the companions' defaults: `host` "localhost", `port` 5432, `dbname` "trpc-agent-go-pgsession",
     * `sslmode` "disable". What is passed over says nothing, also where the other leaves it open. */
    stele_db *db; /* an existing handle; kept by a reference of the store's own. Its sessions should
                     have READ COMMITTED by default, as the store's own do: above that, writers of one
                     session answer STELE_E_SERIALIZATION */
    const char *dsn;
    const char *host;
    const char *port;
    const char *user;
    const char *password;
    const char *dbname;
    const char *sslmode;
    const stele_registry *registry; /* borrowed until open returns */
    const char *instance;
    const char *extra; /* further libpq options, appended to the named ones: "connect_timeout=3" */
    stele_pool_options pool;       /* not with `db` */
    uint32_t call_timeout_ms;      /* [30000] not with `db` */
    stele_query_fn on_query_start; /* see stele/observe.h; not with `db` */
    stele_query_fn on_query_end;
    stele_query_fn on_slow_query;
    uint32_t slow_query_ms; /* [1000] */
    void *hook_user;        /* handed to these three */

    /* Letters, digits and underscores; the schema must exist. An underscore ends the prefix if it has
     * none. [the names of `db`] */
    const char *schema;
    const char *prefix;
    bool skip_init; /* neither create the tables nor look at them */
    /* Indexes beyond the peer's, which tolerates them. They are built without blocking writes where
     * tables have rows already. What costs next to nothing is there unless `peer_indexes` is set: those
     * for the last message of the user, for what was deleted, and with a TTL for what expires. */
    bool peer_indexes; /* no index but the peer's own: reads of long sessions may be slow */
    bool
        event_id_index; /* windows and cuts find their event at once; appends pay five to ten percent */
    bool recent_index; /* lists read one page of a user's thousands of sessions; updates of sessions
                             are no longer HOT */
    bool undeleted_index; /* reads do not wade through events that were cut off; ten percent */

    int32_t event_limit; /* [1000] events that are read; negative: all. Nothing is ever trimmed */
    int64_t session_ttl_ms; /* [never expires] */
    int64_t app_ttl_ms;
    int64_t user_ttl_ms;
    stele_in_i64 track_ttl_ms; /* [the session's] 0 and less: never */
    bool
        lazy_ttl; /* writes put off a session's end only once a sixteenth of its time has passed, so
                      that most updates stay HOT; a session may end that much earlier */
    int64_t
        cleanup_interval_ms; /* [300000 if anything expires, or retention_ms is set] negative: never */
    uint32_t
        cleanup_rows_per_second; /* [10000] so that it leaves room for others; UINT32_MAX: no limit */
    uint64_t retention_ms;       /* [for ever] how long deleted rows are kept */
    stele_switch soft_delete;    /* [STELE_ON] */

    bool strict; /* an event's "app:" and "user:" values go to the application's and the
                               user's state, and its "temp:" values nowhere; the peer keeps all of them
                               in the session */
    bool
        idempotent_events; /* an event whose id is there is not stored again; brings event_id_index.
                              One without an id, or whose id is no text, is stored each time */

    /* Appends return once they are queued, and are stored many at a time. What reads or changes the same
     * session waits for those before it. What fails is told by stele_sessions_flush() and on_error; so is
     * what was meant for a session that this store has seen, and that was created anew meanwhile. An append
     * waits for room once 10000 others, or 64 MiB of them, wait in its lane. With `strict`, one that sets
     * keys of "app:" or "user:" is stored at once, behind what its session has queued. */
    bool async_persist;
    uint32_t lanes; /* [10] */

    const stele_append_hook *append_hooks; /* the first is the outermost */
    size_t append_hook_count;
    const stele_get_hook *get_hooks;
    size_t get_hook_count;

    const stele_summarizer *summarizer; /* [none: summaries are neither made nor an error] */
    uint32_t summary_workers;           /* [3] */
    uint32_t summary_queue;             /* [100] jobs that wait, for each worker */
    uint32_t summary_timeout_ms;        /* [60000] one job */
    stele_summary_workers summary_jobs;
    stele_summary_full summary_full;
    /* Each event that is stored asks for a summary of its filter key; with durable workers in its own
     * transaction and round trip, so that no crash comes between (not with async_persist then). */
    bool summary_on_append;
    const char *const
        *summary_allowlist; /* [all] filter keys, and what is below or above them by "/" */
    size_t summary_allowlist_count;
    stele_switch
        summary_cascade; /* [STELE_ON] a branch's summary brings that of the whole session */
    /* Told what no caller can be: failures of queued appends, of summaries and of the cleanup (`key`
     * NULL). Called by threads of the store, maybe several at once; it must neither close the store nor
     * wait for what is queued (STELE_E_MISUSE). */
    void (*on_error)(const stele_session_key *key, const stele_error *err, void *user);
    void *on_error_user;
} stele_sessions_options;

#ifdef __cplusplus
}
static inline stele_sessions_options stele_sessions_options_init(void)
{
    stele_sessions_options options = stele_sessions_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_SESSIONS_OPTIONS_INIT stele_sessions_options_init()
#else
#define STELE_SESSIONS_OPTIONS_INIT                                                                \
    {                                                                                              \
        .size = sizeof(stele_sessions_options)                                                     \
    }
#endif

/**
 * Opens a store: connects, creates what is missing of the tables, verifies what is there, starts the
 * workers that the options ask for.
 *
 * Owns:   the caller: stele_sessions_close().
 * Errors: STELE_E_NAME for a schema or a prefix; STELE_E_INPUT for an instance that is not registered
 *         and for options that do not fit together; STELE_E_UNSUPPORTED for a server before 13; what
 *         stele_db_open() and stele_db_ensure() answer.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_open(const stele_sessions_options *options,
                                                            stele_sessions **ret_store,
                                                            stele_error *err);

/**
 * Ends a store: what is queued is written, running summaries end, for at most `deadline_ms`; calls of
 * other threads are waited for, but for appends that wait for room. From here on every call answers
 * STELE_E_CLOSED, until stele_sessions_close().
 *
 * `ret_lost` (may be NULL) is the number of appends that were queued and are not known to be durable,
 * without those whose failure was told to who asked. Who shuts down beside another waits for that one.
 *
 * Errors: STELE_E_TIMEOUT when something had to be given up. STELE_E_FORKED in a child process.
 */
STELE_API stele_status stele_sessions_shutdown(stele_sessions *store, uint32_t deadline_ms,
                                               uint64_t *ret_lost, stele_error *err);

/** Shuts down, unless that was done, and frees the store. NULL is ignored. No other call may follow. */
STELE_API stele_status stele_sessions_close(stele_sessions *store, uint32_t deadline_ms,
                                            uint64_t *ret_lost, stele_error *err);
/** The same with five seconds; NULL is ignored. For STELE_AUTO. */
STELE_API void stele_sessions_autofree(stele_sessions **store);

/** The handle that the store stands on: borrowed, with its names and policies. */
STELE_API stele_db *stele_sessions_db(const stele_sessions *store);

/* ---- sessions -------------------------------------------------------------------------------- */

/**
 * Creates a session with a state. One that has expired is replaced: nothing of it is seen again.
 *
 * Owns:   the caller: stele_session_free(). `ret_session` may be NULL; it has the state of application
 *         and user, too.
 * Errors: STELE_E_INPUT "appName is required", "userID is required"; STELE_E_UNIQUE "session already
 *         exists and has not expired".
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_create(
    stele_sessions *store, const stele_session_key *key, const stele_session_value *state,
    size_t state_count, stele_session **ret_session, stele_error *err);

/**
 * Reads a session from one snapshot. `options` NULL: defaults. Reading does not put off its end.
 *
 * Owns:   the caller: stele_session_free().
 * Errors: STELE_E_NOT_FOUND, also for one that has expired; STELE_E_INPUT "appName is required", "userID
 *         is required", "sessionID is required", and for options that do not fit together;
 *         STELE_E_DECODE when its state is not what the peer writes.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_get(stele_sessions *store,
                                                           const stele_session_key *key,
                                                           const stele_session_get_options *options,
                                                           stele_session **ret_session,
                                                           stele_error *err);

/**
 * Reads a session, which is created with `state` if it is not there or has expired. Of any number of
 * callers one creates it.
 *
 * Owns:   the caller: stele_session_free(). `ret_created` may be NULL.
 * Errors: those of stele_sessions_get() but STELE_E_NOT_FOUND.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_get_or_create(
    stele_sessions *store, const stele_session_key *key, const stele_session_value *state,
    size_t state_count, const stele_session_get_options *options, stele_session **ret_session,
    bool *ret_created, stele_error *err);

/**
 * Lists the sessions of a user that have not expired, from one snapshot. `options` NULL: defaults.
 *
 * Owns:   the caller: stele_session_list_free(), which frees the sessions in it.
 * Errors: STELE_E_INPUT "appName is required", "userID is required", and for options that do not fit
 *         together. A session that cannot be read is told in its item.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_list(
    stele_sessions *store, const stele_session_user *user,
    const stele_session_list_options *options, stele_session_list **ret_list, stele_error *err);

STELE_API void stele_session_list_free(stele_session_list *list);
STELE_API void stele_session_list_autofree(stele_session_list **list); /* for STELE_AUTO */

/** Deletes a session with its events, tracks and summaries. One that is not there is no error. */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_delete(stele_sessions *store,
                                                              const stele_session_key *key,
                                                              stele_error *err);

/**
 * Brings back what was deleted last under a key, with all that was deleted with it.
 *
 * Errors: STELE_E_NOT_FOUND; STELE_E_UNIQUE when the session exists again.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_restore(stele_sessions *store,
                                                               const stele_session_key *key,
                                                               stele_error *err);

/* ---- state ----------------------------------------------------------------------------------- */

/**
 * Sets keys of a session's state, then removes others; whoever changes other keys meanwhile loses
 * nothing. Puts off the session's end; one that has expired is revived.
 *
 * Errors: STELE_E_NOT_FOUND "session not found"; STELE_E_INPUT for keys with "app:" or "user:" ("temp:"
 *         is fine); STELE_E_DECODE when its state is not what the peer writes.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_update_state(
    stele_sessions *store, const stele_session_key *key, const stele_session_value *set,
    size_t set_count, const stele_str *remove, size_t remove_count, stele_error *err);

/**
 * Sets keys of the state that all users of an application share, all or none. One leading "app:" of a
 * key is taken off; what is set twice gets the last value.
 *
 * Errors: STELE_E_INPUT "appName is required"; STELE_E_VALUE for a value that is no text.
 */
STELE_API STELE_MUST_CHECK stele_status
stele_sessions_update_app_state(stele_sessions *store, stele_str app_name,
                                const stele_session_value *values, size_t count, stele_error *err);

/** Reads it, keys without "app:". Owns: the caller: stele_session_values_free(). */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_list_app_state(
    stele_sessions *store, stele_str app_name, stele_session_values **ret_values, stele_error *err);

/** Deletes a key of it, "app:" taken off. STELE_E_INPUT "state key is required" for an empty one. */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_delete_app_state(stele_sessions *store,
                                                                        stele_str app_name,
                                                                        stele_str key,
                                                                        stele_error *err);

/** The same three for the state that all sessions of a user share; the prefix is "user:". */
STELE_API STELE_MUST_CHECK stele_status
stele_sessions_update_user_state(stele_sessions *store, const stele_session_user *user,
                                 const stele_session_value *values, size_t count, stele_error *err);
/** See stele_sessions_list_app_state(). */
STELE_API STELE_MUST_CHECK stele_status
stele_sessions_list_user_state(stele_sessions *store, const stele_session_user *user,
                               stele_session_values **ret_values, stele_error *err);
/** See stele_sessions_delete_app_state(). */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_delete_user_state(
    stele_sessions *store, const stele_session_user *user, stele_str key, stele_error *err);

/* ---- events ---------------------------------------------------------------------------------- */

/**
 * Appends an event, given as JSON in the peer's flat shape, and merges its stateDelta into the state.
 *
 * The event is stored when it is not partial and has content: a first choice with a tool call or a tool
 * id, or any choice with content, content_parts or reasoning_content. Its state is merged in any case.
 * Puts off the session's end; one that has expired is revived. What stele_session structs the caller has
 * stay as they are.
 *
 * Owns:   `ret_appended` may be NULL.
 * Errors: STELE_E_NOT_FOUND "session not found"; STELE_E_INPUT for the key, and for what is no JSON
 *         object or has a stateDelta that is no object of base64 texts and nulls; STELE_E_VALUE for JSON
 *         that the server cannot keep (\u0000); STELE_E_DECODE when the session's state is not what the
 *         peer writes; STELE_E_CLOSED.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_append(stele_sessions *store,
                                                              const stele_session_key *key,
                                                              stele_str event_json,
                                                              stele_session_appended *ret_appended,
                                                              stele_error *err);

/** The same for a struct. */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_append_event(
    stele_sessions *store, const stele_session_key *key, const stele_event *event,
    stele_session_appended *ret_appended, stele_error *err);

/**
 * Appends to a track, such as a tool's own log, and names the track in the session's state.
 *
 * `payload` is any JSON. `timestamp` unset: now, by this machine's clock; of the years 1 to 9999.
 * Errors: as stele_sessions_append(); STELE_E_INPUT "track name is required".
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_append_track(
    stele_sessions *store, const stele_session_key *key, stele_str track, stele_str payload,
    stele_opt_ts timestamp, stele_session_appended *ret_appended, stele_error *err);

/**
 * Reads a track, whether its session exists or not: events after `after` (unset: the TTL of tracks
 * counts alone), the newest `limit` of them (0: all), oldest first.
 *
 * Owns:   the caller: stele_session_events_free().
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_get_track(
    stele_sessions *store, const stele_session_key *key, stele_str track, stele_opt_ts after,
    uint32_t limit, stele_session_events **ret_events, stele_error *err);

/**
 * Reads messages around an event: up to `before` and `after` of them that have text, are no tool calls,
 * and are of one of `roles` (count 0: user and assistant).
 *
 * Owns:   the caller: stele_session_events_free(). Oldest first; `ret_anchor` is the event's place.
 * Errors: STELE_E_NOT_FOUND "anchor event not found", also without the session and when it is no such
 *         message.
 */
STELE_API STELE_MUST_CHECK stele_status
stele_sessions_window(stele_sessions *store, const stele_session_key *key, stele_str event_id,
                      uint32_t before, uint32_t after, const stele_str *roles, size_t role_count,
                      stele_session_events **ret_events, size_t *ret_anchor, stele_error *err);

/**
 * Deletes all events after one, and the summaries that cover them: for a turn that is edited and sent
 * again. With `including` the event goes, too. The state is not undone.
 *
 * `ret_count` (may be NULL): events that went.
 * Errors: STELE_E_NOT_FOUND "session not found", "anchor event not found".
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_truncate_after(
    stele_sessions *store, const stele_session_key *key, stele_str event_id, bool including,
    uint64_t *ret_count, stele_error *err);

/**
 * Deletes all events of a session and its summaries. The session itself stays, with its state and tracks.
 *
 * `ret_count` (may be NULL): events that went. Errors: STELE_E_NOT_FOUND "session not found".
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_truncate(stele_sessions *store,
                                                                const stele_session_key *key,
                                                                uint64_t *ret_count,
                                                                stele_error *err);

/* ---- durability and numbers ------------------------------------------------------------------ */

/**
 * With async_persist: waits until what this session (NULL: all) has queued so far is durable.
 * `deadline_ms` 0: as long as it takes. Without it there is nothing to wait for.
 *
 * Errors: STELE_E_TIMEOUT; otherwise the first append of the session that failed since the last flush:
 *         STELE_E_NOT_FOUND, STELE_E_VALUE, …: its event is not stored; STELE_E_UNKNOWN: it may be.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_flush(stele_sessions *store,
                                                             const stele_session_key *key,
                                                             uint32_t deadline_ms,
                                                             stele_error *err);

/**
 * The same for one append: `receipt` of stele_session_appended, and its session's key. STELE_OK when it is
 * durable, and when its failure was told before. STELE_E_UNKNOWN also once more than 10000 failures that
 * nobody asked for were put by: until all are flushed.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_wait(stele_sessions *store,
                                                            const stele_session_key *key,
                                                            uint64_t receipt, uint32_t deadline_ms,
                                                            stele_error *err);

/** What a cleanup did. */
typedef struct stele_sessions_cleanup_report {
    uint64_t expired;  /* sessions, tracks and states whose time was over */
    uint64_t followed; /* events, tracks and summaries that went with their session */
    uint64_t purged;   /* rows deleted longer ago than the retention */
    uint64_t repaired; /* rows without a session, that another program's cleanup had left */
} stele_sessions_cleanup_report;

/**
 * Cleans up now, in the caller's thread, and looks through all sessions for what is to be repaired, of which
 * the cleanup at intervals looks at some thousands each time.
 *
 * `ret_report` (may be NULL) is also written on errors. `deadline_ms` 0: none.
 */
STELE_API STELE_MUST_CHECK stele_status
stele_sessions_cleanup(stele_sessions *store, uint32_t deadline_ms,
                       stele_sessions_cleanup_report *ret_report, stele_error *err);

/** Counters since the store was opened. */
typedef struct stele_sessions_stats {
    uint64_t operations;  /* that reached the database */
    uint64_t failures;    /* of these */
    uint64_t round_trips; /* of all of them */
    uint64_t appended;    /* events that are durable */
    uint64_t duplicates;  /* events that were there already, with idempotent_events */
    uint64_t queued;      /* with async_persist: not durable yet, now */
    uint64_t summaries;   /* written */
    uint64_t summary_failures;
    uint64_t summary_queued;   /* jobs that wait, now */
    uint64_t summary_run_here; /* jobs that ran in a caller, as their queue was full */
} stele_sessions_stats;

STELE_API void stele_sessions_get_stats(const stele_sessions *store,
                                        stele_sessions_stats *ret_stats); /* a snapshot */

/* ---- summaries ------------------------------------------------------------------------------- */

/**
 * Summarizes a session now, in the caller's thread: the events under `filter_key` (NULL or "": all) that
 * its summary does not cover yet. Without `force` only if the summarizer says that it is time.
 *
 * STELE_OK without a summarizer, without new events, and for a filter key off the allowlist.
 * Errors: STELE_E_NOT_FOUND; what the summarizer answers.
 */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_create_summary(stele_sessions *store,
                                                                      const stele_session_key *key,
                                                                      const char *filter_key,
                                                                      bool force, stele_error *err);

/** The same by a worker. Answers before it is done, but with STELE_SUMMARY_FULL_RUN_HERE and full queues. */
STELE_API STELE_MUST_CHECK stele_status stele_sessions_enqueue_summary(stele_sessions *store,
                                                                       const stele_session_key *key,
                                                                       const char *filter_key,
                                                                       bool force,
                                                                       stele_error *err);

/**
 * The text of a summary: of the filter key, or else of the whole session.
 *
 * Owns:   the caller: stele_free(). NUL-terminated.
 * Errors: STELE_E_NOT_FOUND when there is none, or it is older than the session.
 */
STELE_API STELE_MUST_CHECK stele_status
stele_sessions_get_summary_text(stele_sessions *store, const stele_session_key *key,
                                const char *filter_key, char **ret_text, stele_error *err);

STELE_END_DECLS

#endif
