/**
 * The sessions that bench-sessions reads and appends to, as sessions.sql makes them, and its floors.
 */
#ifndef STELE_BENCH_SESSIONS_H
#define STELE_BENCH_SESSIONS_H

#include "harness.h"

#define SESSIONS_APP "desk"
#define SESSIONS_READ 2000  /* "read-00000" and on, with 20 events each */
#define SESSIONS_WRITE 4000 /* "write-00000" and on */
#define SESSIONS_USERS 50   /* to which they belong in turn */
#define SESSIONS_LONG 1000  /* events of "long-00000" */
#define SESSIONS_BIG 100000 /* events of "big-00000" */
#define SESSIONS_EVENTS 20  /* of each that is read */
#define SESSIONS_LAST 50    /* events that are wanted of the big one */

/** The names of a session. */
typedef struct sessions_name {
    char user[16];
    char session[16];
    size_t user_len;
    size_t session_len;
} sessions_name;

/** The names "<kind>-00000" and on. Free with free(). */
sessions_name *sessions_names(const char *kind, int count);

/** An event of 1.1 KB in the peer's shape, with a change of two keys of the state; the same each time. */
extern const char sessions_event[];
extern const size_t sessions_event_len;
/** That change. */
extern const char sessions_delta[];

/* ---- floors --------------------------------------------------------------------------------- */

/** BEGIN, SELECT FOR UPDATE, a merge in the client, UPDATE, INSERT, COMMIT. */
extern const bench_case floor_sessions_append;
extern const bench_case floor_sessions_append_hot; /* to one session */

/** State, state of application and user, all events, summaries: one after the other. */
extern const bench_case floor_sessions_get;
extern const bench_case
    floor_sessions_last; /* of the big session; all but the last ones are left out */

/** The store's own statement, decoded in place. */
extern const bench_case floor_sessions_long;

/** One trivial statement, and one commit: what network and disk take. */
extern const bench_case floor_sessions_ping;
extern const bench_case floor_sessions_commit;

#endif
