/*
 * A model of the sessions store, kept beside it by the randomised test: what the tables hold, and what
 * each read must answer, from the rules that the headers and the reference state.
 *
 * Rows are never taken out of the arrays: `gone` says when one was deleted, so that restoring can find
 * what went together.
 */
#ifndef STELE_TESTS_SESSION_MODEL_H
#define STELE_TESTS_SESSION_MODEL_H

#include "store_lab.h"

enum {
    KEYS = 5, /* four sessions of u-1; the last is of u-2 and named as the first */
    TRACKS = 3,
    FILTERS = 3,
    MAP = 24,
    EVENTS = 4096,
    GONE_FOR_GOOD = -1,
};

#define MINUTE INT64_C(60000000)
#define SLACK (5 * MINUTE)
#define NO_TIME INT64_MIN

typedef struct model_value {
    const char *key;
    bool expired; /* of applications and users */
    bool null;
    size_t len;
    uint8_t data[12];
} model_value;

typedef struct model_map {
    model_value at[MAP];
    size_t count;
} model_map;

typedef struct model_state {
    int key;
    int64_t gone;     /* 0: there */
    stele_ts created; /* 0: to be learnt from the table */
    stele_ts updated;
    bool expired;
    bool wrote; /* `updated` must have moved on */
    bool may_have_written;
    model_map own;
    bool names_tracks; /* the state has a key "tracks" */
    int tracks[TRACKS];
    int track_count;
} model_state;

typedef enum model_kind {
    KIND_USER,
    KIND_ASSISTANT,
    KIND_CALL,
    KIND_TOOL,
    KIND_PARTIAL,
    KIND_EMPTY,
    KIND_DELTA_USER, /* from here on: none that a window is asked around */
    KIND_SECOND_USER,
    KIND_PARTS,
    KIND_COUNT
} model_kind;

typedef struct model_event {
    int key;
    int64_t gone;
    int64_t row; /* 0: queued, its place to be learnt */
    stele_ts at;
    stele_ts own; /* NO_TIME: it has none */
    int mark;     /* a number of its own, which its JSON carries */
    char id[16];
    model_kind kind;
} model_event;

typedef struct model_track {
    int key;
    int64_t gone;
    int64_t row;
    stele_ts at;
    int track;
    int mark;
    bool expired;
} model_track;

typedef struct model_summary {
    int key;
    int64_t gone;
    int filter;
    stele_ts updated;
    int last; /* mark of the last event that it covers */
    int mark;
} model_summary;

typedef struct session_model {
    bool soft;
    int64_t ttl; /* microseconds, 0: none */
    int event_limit;
    bool strict;
    bool idempotent;
    model_state states[EVENTS];
    size_t state_count;
    model_event events[EVENTS];
    size_t event_count;
    model_track tracks[EVENTS];
    size_t track_count;
    model_summary summaries[EVENTS];
    size_t summary_count;
    model_map app;
    model_map users[2];
    int64_t stamps; /* given out for `gone` */
    int marks;
    unsigned pending;  /* sessions that may have something queued: bits */
    stele_ts peer_now; /* one time for all that a transaction of the peer deletes */
    int64_t last_row;  /* of session_events, that was looked at */
    int64_t last_track_row;
} session_model;

extern session_model model;
extern const char *const track_names[TRACKS];
extern const char *const filter_keys[FILTERS];

/* ---- chance: the same for the same seed -------------------------------------------------------- */

void seed_chance(uint64_t seed);
uint32_t pick(uint32_t count);
bool chance(uint32_t percent);

/* ---- telling ----------------------------------------------------------------------------------- */

void begin_log(uint64_t seed);
void log_step(int step);
void log_op(const char *fmt, ...) STELE_PRINTF(1, 2);

/* Prints the seed, the step and the last operations, and fails the test. */
_Noreturn void mismatch(const char *fmt, ...) STELE_PRINTF(1, 2);

/* ---- SQL on a connection that stays, {table} as in peer() --------------------------------------- */

void open_sql(void);
void close_sql(void);
const char *sql(const char *fmt, ...) STELE_PRINTF(1, 2); /* until the next call */
stele_ts sql_now(void);

/* ---- the rows ---------------------------------------------------------------------------------- */

stele_session_key model_key(int key);
int model_user(int key);

/* The session that is there, expired or not; and only if it has not expired. NULL: none. */
model_state *model_there(int key);
model_state *model_seen(int key);

model_state *model_add_state(int key);
model_event *model_add_event(int key);
model_track *model_add_track(int key, int track);
model_summary *model_add_summary(int key, int filter);
model_event *model_find_event(int key, const char *id); /* that is there */

/* A stamp for rows that go: for good in a world of hard deletes. */
int64_t model_stamp(void);

/* Children of a session go; counted. */
int64_t model_drop_children(int key, int64_t stamp);
void model_delete(int key, int64_t stamp);
bool model_restore(int key);
/* As the store's cleanup does: the number of rows that went. */
int64_t model_cleanup(void);

model_value *map_find(model_map *map, const char *key);
void map_set(model_map *map, const model_value *value);
void map_remove(model_map *map, const char *key);

/* Looks into the tables: learns places and times of what was written, and refuses what must not be. */
void model_learn(void);

/* ---- what reads must answer -------------------------------------------------------------------- */

typedef struct model_read {
    int num;        /* 0: the store's limit, negative: all */
    stele_ts since; /* NO_TIME: the TTL's beginning */
    int page_limit; /* 0: no page */
    int page_offset;
    stele_ts before_at;
    int64_t before_row; /* 0: no cursor */
    bool only_meta;
    bool no_tracks;
    unsigned track_set; /* bits; 0: all */
} model_read;

/* Indexes of events in their order. */
size_t model_events(int key, int *ret);
size_t model_window(int key, const model_read *read, int *ret);
size_t model_tracks(int key, int track, stele_ts after, int limit, int *ret);

bool is_user(const model_event *event);

void check_session(const stele_session *session, int key, const model_read *read);
void check_events(const char *what, const stele_session_event *events, size_t count,
                  const int *wanted, size_t wanted_count);
void check_tracks(const char *what, const stele_session_event *events, size_t count,
                  const int *wanted, size_t wanted_count);
void check_values(const char *what, const stele_session_value *values, size_t count,
                  const model_map *map);

/* ---- what is written, by either program ---------------------------------------------------------- */

extern stele_sessions *tried; /* the store that is tried, with options of the seed's choice */

typedef struct model_delta {
    model_value values[4];
    size_t count;
} model_delta;

/* Values for keys of a session's state; those under "app:" and "user:" are texts. */
void random_delta(model_delta *delta, bool prefixes);
void apply_delta(model_state *state, const model_delta *delta);

/* A new event in the peer's shape with this state; its JSON is the caller's to free. */
char *random_event(int key, const char *id, model_kind kind, stele_ts own, const model_delta *delta,
                   model_event *ret_event);
char *delta_json(const model_delta *delta); /* to be freed */

/* The peer's statements, as its reference has them. */
void peer_writes(int key);

/* Calls of the store, each with what it does to the model. */
void settle(void); /* what is queued is stored */
void try_create(int key);
void try_get_or_create(int key);
void try_delete(int key);
void try_restore(int key);
void try_append(int key);
void try_append_track(int key);
void try_refused(int key);
void try_truncate_after(int key);
void try_truncate(int key);
void try_cleanup(void);
void try_update_state(int key);
void try_shared_state(int key);

#endif
