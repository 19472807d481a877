/*
 * What the tests of listening share: a handle, listeners on it, and a subscriber that counts.
 */
#ifndef STELE_TESTS_LISTEN_UTIL_H
#define STELE_TESTS_LISTEN_UTIL_H

#include <stdatomic.h>

#include "pool_util.h"

/* Counts what it is told, and payloads that say "end"; `last` is the payload told last. */
typedef struct ear {
    atomic_int rescans;
    atomic_int heard;
    atomic_int ends;
    char last[100]; /* read it when nothing more comes */
} ear;

extern stele_db *db;
extern stele_error err;

/* Group fixtures. */
int setup_listen(void **state);
int teardown_listen(void **state);

void hear(const char *channel, const char *payload, bool rescan, void *user);

/* Options that notice soon. */
stele_listener_options quick(void);

stele_listener *open_listener(stele_db *on, const stele_listener_options *options);
void close_listener(stele_listener *listener);
stele_subscription *subscribe(stele_listener *listener, const char *channel, ear *who);
stele_listen_stats heard_by(const stele_listener *listener);

/* SQL of another program. */
void peer(const char *sql);

/* Ends the server processes of this application_name; how many there were. */
int kill_backends(const char *name);

/* Descriptors and threads this process has. */
int descriptors(void);
int threads_called(const char *name);

#define RUN_LISTEN(tests) cmocka_run_group_tests(tests, setup_listen, teardown_listen)

#endif
