/**
 * Running one generated statement on a lease: look up, bind, send, wait once, judge the answer.
 *
 * Floor: stmt.
 */
#ifndef STELE_RUN_H
#define STELE_RUN_H

#include "bind.h"
#include "result.h"
#include "stmt_cache.h"

/** One call of a statement. */
typedef struct stele__call {
    const stele_gen_stmt *stmt;
    const void *const *args;
    uint32_t flags;
} stele__call;

/**
 * Runs it and gives the server's result, whose column types were compared with the statement's.
 *
 * Errors: as stele/status.h says, with names of table and column as far as they can be known.
 * Owns:   the caller, on success: stele__result_clear().
 */
stele_status stele__run(stele_conn *conn, const stele__call *call, struct pg_result **ret_result,
                        stele_error *err);

/**
 * Finds or makes the cache entry for the shape of a call; `*ret_fresh`: it was not there. The lease must
 * be usable. Errors: as stele__bind_states, STELE_E_NOMEM.
 */
stele_status stele__find_entry(stele_conn *conn, const stele__call *call, stele__entry **ret_entry,
                               bool *ret_fresh, stele_error *err);

/** True if its statement should be prepared before it runs. */
bool stele__should_prepare(const stele_conn *conn, const stele__cache *cache,
                           const stele__entry *entry);

/** True if the error is one that a prepared statement gives whose plan no longer fits. */
bool stele__is_stale_plan(const stele_error *err);

/**
 * After such an error: true if the statement may be sent again at once, prepared anew. The lease must
 * have the names it had when the entry was made.
 */
bool stele__renew_entry(stele_conn *conn, stele__entry *entry, stele_error *err);

/** What the last step of an exchange may do to the database. */
typedef enum stele__effect {
    STELE__READS,   /* nothing */
    STELE__WRITES,  /* it stores when its transaction commits, at the Sync */
    STELE__ANYTHING /* it may commit on its own: COMMIT, CALL, VACUUM */
} stele__effect;

/**
 * Sends steps on the lease's link and judges the answer: what it means for the transaction, and
 * whether a lost answer leaves the outcome unknown. The pending BEGIN must be among the steps.
 * `err` must not be NULL.
 */
stele_status stele__exchange(stele_conn *conn, const stele__step *steps, int count,
                             stele__effect effect, struct pg_result **ret_result,
                             int *ret_failed_step, stele_error *err);

/** Runs SQL of our own making, without parameters, text results: catalog queries, DDL. */
stele_status stele__run_sql(stele_conn *conn, const char *sql, const char *const *params,
                            int param_count, struct pg_result **ret_result, stele_error *err);

/** Number of rows that a STELE_STMT_VERSION statement did not find: not found, or changed? */
stele_status stele__no_row(const stele__call *call, stele_error *err);

/**
 * The statement was done, but its answer could not be handed over: says in `err` that a write outside
 * a transaction is stored all the same. Returns `st`.
 */
stele_status stele__undelivered(const stele_conn *conn, const stele__call *call, stele_status st,
                                stele_error *err);

/** After a class-22 error: looks for the parameter at fault and names its column in `err`. */
void stele__name_culprit(const stele__call *call, stele_error *err);

#endif
