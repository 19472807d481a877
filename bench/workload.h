/**
 * The data that run.py puts into the database, as the cases ask for it.
 */
#ifndef STELE_BENCH_WORKLOAD_H
#define STELE_BENCH_WORKLOAD_H

#include "harness.h"
#include "sessions.gen.h"

#define WORKLOAD_APP "assistant"
#define WORKLOAD_SESSIONS 1000 /* of which point reads choose */
#define WORKLOAD_LIST 100      /* events of the session that is listed */

/** Key of a session. */
typedef struct workload_key {
    char user[16];
    char session[24];
    size_t user_len;
    size_t session_len;
} workload_key;

/** The sessions, in an order that jumps about. Free with free(). */
workload_key *workload_keys(void);

/** An event of about 1.1 KB, as an agent writes it; the same each time. */
extern const char workload_event[];
extern const size_t workload_event_len;

/** One read of a session, to learn its statement. */
void workload_use_get(stele_conn *conn);

/** Where results go, so that no compiler leaves the reading of a field out. */
extern volatile uint64_t workload_sink;

#endif
