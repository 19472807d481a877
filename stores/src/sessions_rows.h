/*
 * From the rows of reads to sessions.
 */
#ifndef STELE_SESSIONS_ROWS_H
#define STELE_SESSIONS_ROWS_H

#include "sessions.gen.h"
#include "sessions_internal.h"

/* What rows are about, in their column `kind`. */
typedef enum stele__row_kind {
    STELE__ROW_SESSION,
    STELE__ROW_APP_STATE,
    STELE__ROW_USER_STATE,
    STELE__ROW_EVENT_BEFORE,
    STELE__ROW_EVENT,
    STELE__ROW_SUMMARY,
    STELE__ROW_TRACK_EVENT,
    STELE__ROW_KINDS
} stele__row_kind;

/* What all rows of reads have in common behind `kind` and, in lists, `session_id`. */
typedef struct stele__row {
    stele_str name;
    stele_opt_i64 id;
    stele_opt_ts created_at;
    stele_opt_ts updated_at;
    stele_str body;
} stele__row;

/* Rows of one of the four reads: get, get_page, list, list_meta. */
typedef struct stele__rows {
    const char *base;
    size_t count;
    size_t stride;
    size_t tail;         /* where a stele__row begins in each */
    size_t states_begin; /* among these are those of application and user */
    size_t states_end;
    void *generated; /* the block, which stele_gen_free() frees */
} stele__rows;

static inline stele__row_kind stele__rows_kind(const stele__rows *rows, size_t i)
{
    return (stele__row_kind) * (const int32_t *)(const void *)(rows->base + i * rows->stride);
}

static inline const stele__row *stele__rows_at(const stele__rows *rows, size_t i)
{
    return (const stele__row *)(const void *)(rows->base + i * rows->stride + rows->tail);
}

/* Of lists. */
static inline stele_str stele__rows_session(const stele__rows *rows, size_t i)
{
    return ((const sessions_list_row *)(const void *)(rows->base + i * rows->stride))->session_id;
}

stele__rows stele__rows_of_get(sessions_get_rows *rows);
stele__rows stele__rows_of_page(sessions_get_page_rows *rows);
stele__rows stele__rows_of_list(sessions_list_rows *rows);
stele__rows stele__rows_of_list_meta(sessions_list_meta_rows *rows);

/* Names of tracks that are wanted; `all` for every one. */
typedef struct stele__wanted_tracks {
    const stele_str *names;
    size_t count;
    bool all;
} stele__wanted_tracks;

/*
 * Makes a session of the rows of one. Takes over `rows`, also when it fails. STELE_E_NOT_FOUND without
 * a session in them, STELE_E_DECODE for a state that is not what the peer writes.
 */
stele_status stele__session_of_rows(const stele_session_key *key, stele__rows rows,
                                    const stele__wanted_tracks *tracks, stele_session **ret_session,
                                    stele_error *err);

/* The same for many, with their tracks or none; those that cannot be read have a status of their own. */
stele_status stele__session_list_of_rows(const stele_session_user *user, stele__rows rows,
                                         bool tracks, stele_session_list **ret_list,
                                         stele_error *err);

/* What the rows of one session are gathered in. */
typedef struct stele__gathering {
    stele__store_arena *arena;
    stele_session *session;
    stele_session_event *events; /* those of before first */
    stele_session_event *track_events;
    const stele_str **track_names; /* of each of them */
    stele_session_summary *summaries;
    size_t befores; /* how many are in, and at the end how many there are */
    size_t event_count;
    size_t track_event_count;
    size_t summary_count;
} stele__gathering;

void stele__gather_count(stele__gathering *g, stele__row_kind kind);

/* Takes memory for what was counted; then _row gathers it. */
stele_status stele__gather_begin(stele__gathering *g, stele_error *err);
void stele__gather_row(stele__gathering *g, stele__row_kind kind, const stele__row *row);

/* Hands it to the session, whose own row is `own`; STELE_E_DECODE when that is not to be read. */
stele_status stele__gather_finish(stele__gathering *g, const stele__rows *rows,
                                  const stele__row *own, const stele__wanted_tracks *tracks,
                                  stele_error *err);

/* A session without rows, for the one that fills it. Its texts must be copied into `arena`. */
typedef struct stele__session_block {
    stele_session session; /* first: callers have its address */
    stele__store_arena arena;
    void *generated;
} stele__session_block;

stele__session_block *stele__session_block_new(stele_error *err);

/* ---- state ----------------------------------------------------------------------------------- */

/* A state under way: what is added later takes the place of what was there. */
typedef struct stele__state_entry {
    stele_session_value value;
    size_t order;
} stele__state_entry;

typedef struct stele__state {
    stele__store_arena *arena;
    stele__state_entry *entries;
    size_t count;
    size_t room;
} stele__state;

/* Reads the envelope of a session's row; SQL NULL is an empty state. */
stele_status stele__state_add_envelope(stele__state *state, stele_str envelope, stele_error *err);

/* Adds a value under a prefix. The value's bytes are borrowed. */
stele_status stele__state_add(stele__state *state, const char *prefix, stele_str key,
                              stele_bytes value, stele_error *err);

/* Sorts by key, and gives what is left. */
stele_status stele__state_finish(stele__state *state, const stele_session_value **ret_values,
                                 size_t *ret_count, stele_error *err);

const stele_session_value *stele__state_find(const stele_session_value *values, size_t count,
                                             stele_str key);

#endif
