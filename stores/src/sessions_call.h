/*
 * What the operations of a sessions store share: parameters and parts of pipelines.
 */
#ifndef STELE_SESSIONS_CALL_H
#define STELE_SESSIONS_CALL_H

#include "sessions.gen.h"
#include "sessions_internal.h"

/* The first members of most parameter structs. */
#define STELE__KEY(key)                                                                            \
    .app_name = stele_text_of((key).app_name), .user_id = stele_text_of((key).user_id),            \
    .session_id = stele_text_of((key).session_id)

/* A creation in a pipeline. Afterwards `row` is NULL if the session was there. */
typedef struct stele__creation {
    stele_session_key key; /* with a session id */
    stele__store_text state;
    char id[STELE_UUID_TEXT_SIZE];
    sessions_create_row *row;
} stele__creation;

stele_status stele__creation_init(stele__creation *creation, const stele_session_key *key,
                                  const stele_session_value *state, size_t count, stele_error *err);
stele_status stele__creation_queue(stele_sessions *store, stele__creation *creation,
                                   stele_pipeline *p, stele_error *err);
void stele__creation_release(stele__creation *creation);

/* How much of a TTL may be used up before a write puts off the end; zero for exact TTLs. */
stele_in_interval stele__sessions_slack(const stele_sessions *store);

/* Keys and values as arrays, a leading prefix of each key taken off. Zeroed memory is none. */
typedef struct stele__pairs {
    stele_str_array keys;
    stele_str_array values;
    stele__store_arena arena;
} stele__pairs;

stele_status stele__pairs_init(stele__pairs *pairs, const stele_session_value *values, size_t count,
                               const char *prefix, stele_error *err);
void stele__pairs_release(stele__pairs *pairs);

/* A key without one leading prefix. */
stele_str stele__sessions_strip(stele_str key, const char *prefix);

/* What the status of a changing statement means; `has_row` false: there is no such session. */
stele_status stele__sessions_changed(const stele_session_key *key, bool has_row, int32_t status,
                                     stele_error *err);

/* Why a change of a session found no row: a round trip that only failures take. Never STELE_OK. */
stele_status stele__sessions_refusal(stele_conn *conn, const stele_session_key *key,
                                     stele_error *err);

/* From options of reads to parameters: the default of event_time, of event_num, and no bound at all. */
stele_in_ts stele__sessions_since(stele_in_ts given, int64_t ttl_ms);
stele_in_i64_n stele__sessions_event_num(const stele_sessions *store, int32_t given);
stele_in_ts stele__sessions_or_ever(stele_in_ts since);

/* Copies into the arena. */
stele_status stele__sessions_copy_key(stele__store_arena *arena, const stele_session_key *key,
                                      stele_session_key *ret_key, stele_error *err);

#endif
