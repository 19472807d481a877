/**
 * Summarizers: when a conversation is condensed, and into what.
 *
 *     stele_summarizer summarizer = STELE_SUMMARIZER_INIT;
 *     stele_summary_trigger when[] = {stele_when_events(20), stele_when_tokens(4000)};
 *     summarizer.trigger = stele_when_any(when, 2);
 *     summarizer.summarize = ask_the_model;
 *     options.summarizer = &summarizer;
 *
 * A summary belongs to a filter key: a path such as "planner/search" of the events that it covers, ""
 * for the whole session. It continues the summary before it: a summarizer sees the text of that one
 * and the events that came after it, never the whole history again.
 *
 * Store: sessions.
 */
#ifndef STELE_SUMMARIZER_H
#define STELE_SUMMARIZER_H

#include "stele/value.h"

STELE_BEGIN_DECLS

/** What a filter key is made of. */
#define STELE_FILTER_KEY_DELIMITER "/"

/** One event, with the parts that summarizers ask for. Texts are "" (never NULL) when it has none. */
typedef struct stele_summary_event {
    stele_str id;
    stele_str author;
    stele_str role;       /* of its first message: user, assistant, tool, system */
    stele_str text;       /* what its messages say, a line each */
    stele_str calls;      /* tools that it calls, a line each: name(arguments) */
    stele_str filter_key; /* what it is filed under; of events before version 1 their branch */
    stele_str json;       /* all of it, as stored */
    stele_ts timestamp;   /* as the event says */
} stele_summary_event;

/** What is to be summarized. Lives as long as the call that it is handed to. */
typedef struct stele_summary_view {
    stele_str app_name;
    stele_str user_id;
    stele_str session_id;
    stele_str filter_key;              /* "" for the whole session */
    stele_str previous;                /* the summary that is continued; "" for none */
    const stele_summary_event *events; /* those not yet covered that match the key, oldest first */
    size_t event_count;
    stele_ts created_at; /* of the session */
    stele_ts now;        /* by the server's clock */
    const struct stele_summary_run *run;
} stele_summary_view;

/** Text that a summarizer writes. */
typedef struct stele_summary_text stele_summary_text;

/** Appends to the summary. Memory that runs out is reported by the caller of summarize(). */
STELE_API void stele_summary_add(stele_summary_text *text, const char *data, size_t len);

/**
 * Appends the conversation as a prompt shows it, a paragraph each: the previous summary first, then the
 * events: author, text, calls. Events that say nothing are left out.
 */
STELE_API void stele_summary_add_transcript(stele_summary_text *text,
                                            const stele_summary_view *view);

/** What was appended so far; NUL-terminated, valid until the next addition. */
STELE_API stele_str stele_summary_written(const stele_summary_text *text);

/** A text for a caller of its own, such as a prompt under way; NULL when memory is out. */
STELE_API stele_summary_text *stele_summary_text_new(void);
/** True when an addition was lost because memory was out. */
STELE_API bool stele_summary_text_failed(const stele_summary_text *text);
STELE_API void stele_summary_text_free(stele_summary_text *text);

/**
 * How long the summarizer may still take; 0 when its time is over, or the store is closing: what it
 * writes then is thrown away. UINT32_MAX without a limit. May be asked at any time by any thread.
 */
STELE_API uint32_t stele_summary_time_left_ms(const stele_summary_view *view);

/* ---- triggers ------------------------------------------------------------------------------- */

typedef enum stele_summary_trigger_kind {
    STELE_WHEN_ALWAYS, /* there are events; what zeroed memory means */
    STELE_WHEN_EVENTS,
    STELE_WHEN_TOKENS,
    STELE_WHEN_QUIET,
    STELE_WHEN_CONTEXT,
    STELE_WHEN_ALL,
    STELE_WHEN_ANY,
    STELE_WHEN_CUSTOM
} stele_summary_trigger_kind;

/** When to summarize. The functions below make one; it borrows what they are given. */
typedef struct stele_summary_trigger {
    stele_summary_trigger_kind kind;
    int64_t limit;
    double ratio;
    const struct stele_summary_trigger *parts;
    size_t part_count;
    bool (*fires)(const stele_summary_view *view, void *user);
    void *user;
} stele_summary_trigger;

static inline stele_summary_trigger stele_when_(stele_summary_trigger_kind kind, int64_t limit)
{
    stele_summary_trigger trigger;
    memset(&trigger, 0, sizeof trigger);
    trigger.kind = kind;
    trigger.limit = limit;
    return trigger;
}

/** More than `count` events came since the last summary. */
static inline stele_summary_trigger stele_when_events(int64_t count)
{
    return stele_when_(STELE_WHEN_EVENTS, count);
}

/** They, and the summary before them, come to more than `tokens` by stele_summary_tokens(). */
static inline stele_summary_trigger stele_when_tokens(int64_t tokens)
{
    return stele_when_(STELE_WHEN_TOKENS, tokens);
}

/** The last event is more than `ms` milliseconds old. */
static inline stele_summary_trigger stele_when_quiet_ms(int64_t ms)
{
    return stele_when_(STELE_WHEN_QUIET, ms);
}

/** The tokens exceed a share of the model's window: `ratio` (0 takes 0.5) of `window_tokens`. */
static inline stele_summary_trigger stele_when_context(int64_t window_tokens, double ratio)
{
    stele_summary_trigger trigger = stele_when_(STELE_WHEN_CONTEXT, window_tokens);
    trigger.ratio = ratio;
    return trigger;
}

/** All of several triggers; of none: it fires. They must outlive the summarizer. */
static inline stele_summary_trigger stele_when_all(const stele_summary_trigger *parts, size_t count)
{
    stele_summary_trigger trigger = stele_when_(STELE_WHEN_ALL, 0);
    trigger.parts = parts;
    trigger.part_count = count;
    return trigger;
}

/** Any of several triggers; of none: it does not fire. They must outlive the summarizer. */
static inline stele_summary_trigger stele_when_any(const stele_summary_trigger *parts, size_t count)
{
    stele_summary_trigger trigger = stele_when_(STELE_WHEN_ANY, 0);
    trigger.parts = parts;
    trigger.part_count = count;
    return trigger;
}

/** What a function decides. */
static inline stele_summary_trigger
stele_when(bool (*fires)(const stele_summary_view *view, void *user), void *user)
{
    stele_summary_trigger trigger = stele_when_(STELE_WHEN_CUSTOM, 0);
    trigger.fires = fires;
    trigger.user = user;
    return trigger;
}

/** Whether a trigger fires. Without events none but a custom one does. */
STELE_API bool stele_summary_fires(const stele_summary_trigger *trigger,
                                   const stele_summary_view *view);

/** An estimate that no model's tokenizer is needed for: a token for every four characters. */
STELE_API int64_t stele_summary_tokens(const stele_summary_view *view);

/* ---- the summarizer ------------------------------------------------------------------------- */

/** A summarizer. Copied by the store that it is given to; `user` and parts must outlive it. */
typedef struct stele_summarizer {
    size_t size;                   /* set by STELE_SUMMARIZER_INIT */
    stele_summary_trigger trigger; /* [always] asked unless the caller forces a summary */
    bool (*should_summarize)(const stele_summary_view *view, void *user); /* [yes] asked then too */
    /**
     * Writes the summary. Text that is empty leaves the summary before it in place. Any status but
     * STELE_OK fails the call or the job, which is then repeated.
     *
     * Threads: called by several threads at once, for different sessions or keys.
     */
    stele_status (*summarize)(const stele_summary_view *view, stele_summary_text *text, void *user,
                              stele_error *err);
    void *user;
} stele_summarizer;

#ifdef __cplusplus
}
static inline stele_summarizer stele_summarizer_init(void)
{
    stele_summarizer summarizer = stele_summarizer();
    summarizer.size = sizeof summarizer;
    return summarizer;
}
extern "C" {
#define STELE_SUMMARIZER_INIT stele_summarizer_init()
#else
#define STELE_SUMMARIZER_INIT                                                                      \
    {                                                                                              \
        .size = sizeof(stele_summarizer)                                                           \
    }
#endif

/** Options of the extractive summarizer; 0 takes the default in brackets. */
typedef struct stele_extractive_options {
    uint32_t max_sentences; /* [8] */
    uint32_t max_bytes;     /* [2000] */
} stele_extractive_options;

/**
 * A summarizer that needs no model: picks the sentences of users and assistants whose words matter most
 * in the conversation, and keeps them in order. Its `user` is a stele_extractive_options, or NULL.
 */
STELE_API stele_status stele_summarize_extractive(const stele_summary_view *view,
                                                  stele_summary_text *text, void *user,
                                                  stele_error *err);

/* ---- filter keys ---------------------------------------------------------------------------- */

/**
 * Whether an event filed under one key belongs to the other: the same path, or one of them leads to
 * the other ("a" and "a/b", both ways; not "a" and "ab"). An empty key matches all.
 */
STELE_API bool stele_filter_key_matches(stele_str a, stele_str b);

STELE_END_DECLS

#endif
