/*
 * Parts of summaries that several files share: text, filter keys, stored JSON, and what is new since
 * the last one.
 */
#ifndef STELE_SUMMARY_H
#define STELE_SUMMARY_H

#include <jansson.h>

#include "stele/summarizer.h"
#include "store_util.h"

/* ---- text ----------------------------------------------------------------------------------- */

struct stele_summary_text {
    stele__store_text text;
};

/* Zeroed memory is an empty text. */
void stele__summary_text_release(stele_summary_text *text);
void stele__summary_text_add(stele_summary_text *text, const char *s);

/* ---- time ----------------------------------------------------------------------------------- */

/* What a summarizer asks for its time left. */
struct stele_summary_run {
    int64_t deadline_ns;       /* of the monotonic clock; 0 for none */
    bool (*alive)(void *user); /* NULL: as long as it likes */
    void *user;
};

int64_t stele__summary_now_ns(void);

/* ---- filter keys ---------------------------------------------------------------------------- */

/* Which keys are summarized. */
typedef struct stele__summary_policy {
    const stele_str *allowed; /* NULL allows all, none of zero allow none but "" */
    size_t allowed_count;
    bool cascade; /* a branch also renews the summary of the whole session */
} stele__summary_policy;

/* Blanks around an allowed key do not count; a key of blanks alone allows nothing. */
bool stele__summary_allows(const stele__summary_policy *policy, stele_str key);

/* Writes the keys that a job for `key` renews, the branch before "", and returns their number. */
size_t stele__summary_targets(const stele__summary_policy *policy, stele_str key,
                              stele_str ret_targets[2]);

/* ---- stored summaries ----------------------------------------------------------------------- */

/* How far a summary reaches. Zeroed memory: there is none. */
typedef struct stele__summary_boundary {
    bool known;
    stele_ts cutoff;
    stele_str last_event_id; /* "" when only the time is known */
} stele__summary_boundary;

/* A stored summary, read. The texts are those of `root`. */
typedef struct stele__summary_stored {
    json_t *root;
    stele_str text; /* "" when there is none */
    stele__summary_boundary boundary;
} stele__summary_stored;

/*
 * Reads what a peer or we stored; `updated_at` is the row's, which the boundary falls back to. JSON of
 * another shape is a summary without text.
 */
stele_status stele__summary_parse(stele_str json, stele_ts updated_at,
                                  stele__summary_stored *ret_stored, stele_error *err);
void stele__summary_stored_release(stele__summary_stored *stored);

/* The JSON to store, in the peer's shape. */
stele_status stele__summary_format(stele_str summary, stele_str filter_key,
                                   const stele__summary_boundary *boundary,
                                   stele_summary_text *text, stele_error *err);

/* ---- events --------------------------------------------------------------------------------- */

/* An event as it comes from the table. */
typedef struct stele__summary_item {
    stele_summary_event event;
    int64_t row; /* its id */
    json_t *root;
    stele_summary_text text;
    stele_summary_text calls;
} stele__summary_item;

/* Reads an event; `created_at` stands in for a timestamp that it lacks. Borrows `json`. */
stele_status stele__summary_item_load(stele_str json, int64_t row, stele_ts created_at,
                                      stele__summary_item *ret_item, stele_error *err);
void stele__summary_item_release(stele__summary_item *item);

/* What an event is filed under: its filterKey; before version 1 its branch. Borrowed. */
stele_str stele__summary_event_key(const json_t *event);

/*
 * How far a summary of these events reaches that continues one with the boundary `from`. The last event
 * in order ends it, though the cutoff never goes back: clocks of several hosts need not agree, and a
 * summary with an earlier cutoff would be a stale one. Borrows the id.
 */
stele__summary_boundary stele__summary_reach(const stele__summary_item *items, size_t count,
                                             const stele__summary_boundary *from);

/* ---- memory --------------------------------------------------------------------------------- */

/* Cleared memory; stele_free(). */
void *stele__summary_calloc(size_t count, size_t size);

#endif
