/*
 * What the tests of the sessions store share: a database, a store on it, and SQL that looks behind it.
 *
 * Every test runs in several worlds, which STELE_WORLD names: the tables' names, soft or hard deletes,
 * appends at once or through group commit. The time zone of the process is the build's choice.
 */
#ifndef STELE_TESTS_STORE_LAB_H
#define STELE_TESTS_STORE_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbtest.h"
#include "stele/sessions.h"

extern char *dsn;
extern stele_sessions *store; /* with the world's options and no others */
extern stele_error err;

/* Group fixtures; a test fixture that empties all tables. */
int setup_store(void **state);
int teardown_store(void **state);
int clean_store(void **state);

#define STORED(test) cmocka_unit_test_setup(test, clean_store)
#define RUN_STORED(tests) cmocka_run_group_tests(tests, setup_store, teardown_store)

/* What the world is like. */
bool world_is_soft(void);
bool world_is_async(void);

/* Options of this world, to be added to; and a store of them. */
stele_sessions_options world_options(void);
stele_sessions *open_store(const stele_sessions_options *options);
void close_store(stele_sessions *s);

/* `expression` must answer `status`; its message is shown when it does not. */
#define assert_status(expression, status)                                                          \
    check_status(__FILE__, __LINE__, #expression, (expression), (status))
#define assert_ok(expression) assert_status(expression, STELE_OK)
void check_status(const char *file, int line, const char *what, stele_status got,
                  stele_status wanted);

/* The last error's message must have this in it. */
#define assert_said(part) check_said(__FILE__, __LINE__, (part))
void check_said(const char *file, int line, const char *part);

/* SQL of another program. {table} becomes the name that the table has in this world. */
void peer(const char *fmt, ...) STELE_PRINTF(1, 2);
int64_t number(const char *fmt, ...) STELE_PRINTF(1, 2);
/* In a buffer that the call after the next seven reuses. */
const char *answer(const char *fmt, ...) STELE_PRINTF(1, 2);

/* Waits until SQL answers true, at most a minute; false if it never did. */
bool wait_until(const char *sql);

/* Keys of the application "desk" and the user "u-1". */
stele_session_key key_of(const char *session_id);
stele_session_user user_of(const char *user_id);
stele_str text_of(const char *s);

/* A value of a state; `text` NULL for null. */
stele_session_value value_of(const char *key, const char *text);

/* The value of a key as text: "(none)" when there is none, "(null)" for null. */
const char *state_of(const stele_session *session, const char *key);

/* Sessions and events with nothing to them; each must succeed. */
void create_session(const char *session_id);
int64_t append_text(const char *session_id, const char *event_id, const char *role,
                    const char *text);
stele_session *get_session(const char *session_id, const stele_session_get_options *options);

/* JSON of an event in the peer's shape; in a buffer as answer()'s. */
const char *event_json(const char *event_id, const char *role, const char *text);

/* Ids of the events of a session, joined by blanks; in a buffer as answer()'s. */
const char *ids_of(const stele_session_event *events, size_t count);
#define EVENT_IDS(session) ids_of((session)->events, (session)->event_count)

/* Round trips that the store has made. */
uint64_t trips(void);

/* Waits until what was appended is stored. */
void flush_store(void);

#endif
