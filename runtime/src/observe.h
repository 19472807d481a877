/**
 * The hooks of a handle, and statements that carry a trace.
 *
 * Floor: stmt.
 */
#ifndef STELE_OBSERVE_INTERNAL_H
#define STELE_OBSERVE_INTERNAL_H

#include "entry.h"

/** stele__run for a lease that is observed. `err` must not be NULL. */
stele_status stele__run_observed(stele_conn *conn, const stele__call *call,
                                 struct pg_result **ret_result, stele_error *err);

/** Tells the start of a statement; gives the time of it. Nothing without hooks. */
uint64_t stele__observe_start(const stele_conn *conn, const stele_gen_stmt *stmt);

/** Where a statement was that has ended. */
typedef struct stele__observed_in {
    uint64_t started_ns;
    uint64_t ended_ns;    /* 0: now */
    uint32_t round_trips; /* waits */
    size_t batch;         /* entries of its pipeline's batch; 0: none */
} stele__observed_in;

/** Tells the end of one; `err` (may be NULL) says why it failed. Nothing without hooks. */
void stele__observe_end(const stele_conn *conn, const stele_gen_stmt *stmt,
                        const stele__observed_in *where, uint64_t rows, stele_status status,
                        const stele_error *err);

/** True if statements are to carry the trace of the lease. */
static inline bool stele__is_traced(const stele_conn *conn)
{
    return conn->observed && conn->sampled;
}

/** Runs a statement with a comment of its own: unnamed, so that it is planned for this run alone. */
stele_status stele__send_traced(stele_conn *conn, const stele_gen_stmt *stmt,
                                const stele__entry *entry, const stele__bound *bound,
                                struct pg_result **ret_result, stele_error *err);

/** The text of a statement with the trace: stele__free() it. NULL when memory is out. */
char *stele__traced_sql(const stele_conn *conn, const stele__entry *entry);

#endif
