/*
 * What the tests of summaries share: a database with sessions in it, written as a peer does, and a
 * summarizer that can be watched, held and told what to answer. STELE_WORLD has "named" in it for tables
 * with a schema and a prefix, "hard" for a store that deletes for good, "async" for queued appends.
 */
#ifndef STELE_TESTS_SUMMARY_UTIL_H
#define STELE_TESTS_SUMMARY_UTIL_H

#include <pthread.h>

#include "dbtest.h"
#include "stele/mem.h"
#include "stele/sessions.h"
#include "stele/summarizer.h"
#include "unit.h"

extern char *dsn;
extern stele_error err;

/* Fails with the error's text. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) != STELE_OK) {                                                                  \
            char line_[2048];                                                                      \
            (void)stele_error_format(&err, line_, sizeof line_);                                   \
            fail_msg("%s: %s", #call, line_);                                                      \
        }                                                                                          \
    } while (0)
#define assert_status(call, status) assert_string_equal(stele_status_name(call), #status)

/* ---- the summarizer ---- */

typedef struct fake {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    int calls;      /* begun */
    int inside;     /* now */
    int most;       /* ever inside at once */
    bool held;      /* those inside wait until it is false */
    bool patient;   /* held ones go on waiting when their time is over */
    bool late;      /* one of them saw that its time was over */
    bool never;     /* should_summarize() answers no */
    int failures;   /* so many calls fail first */
    bool silent;    /* answers no text */
    char seen[512]; /* of the last call: "key|previous|id,id," */
    pthread_t threads[64];
} fake;

extern fake model;

/* A summarizer that answers "<key>:<ids of events>", after its previous summary and a plus. */
extern const stele_summarizer fake_summarizer;

void fake_reset(void);
void fake_hold(void);
void fake_let_go(void);
/* Waits until so many calls are inside, or have begun; fails after a minute. */
void fake_wait_inside(int count);
void fake_wait_calls(int count);

/* ---- the database ---- */

/* Group fixtures: a database with the tables. Test fixture: empties them, resets the summarizer. */
int setup_summaries(void **state);
int teardown_summaries(void **state);
int clean_summaries(void **state);

#define CLEAN(test) cmocka_unit_test_setup(test, clean_summaries)
#define RUN_CLEAN(tests) cmocka_run_group_tests(tests, setup_summaries, teardown_summaries)

stele_sessions_options with_fake(void);
stele_sessions *open_with(const stele_sessions_options *options);
void close_store(stele_sessions *store);

/* SQL of another program; printf-like. */
void peer(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A session of app "a", user "u", created a while ago. */
stele_session_key new_session(const char *id);

/* Appends "<id>" at a minute after 10 o'clock, filed under a key ("" for none). */
void new_event(const stele_session_key *key, const char *id, int minute, const char *filter_key);

/* Appends "<id>" through a store. */
stele_status append_event(stele_sessions *store, const stele_session_key *key, const char *id,
                          const char *filter_key);

/* The text stored for a key, "" for none; in a buffer of its own for each of four calls. */
const char *stored_text(const stele_session_key *key, const char *filter_key);

/* True when the first column of the first row is this, sooner or later. */
bool becomes(const char *sql, const char *expected);

#endif
