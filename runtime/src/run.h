/**
 * Running one generated statement on a lease: look up, bind, send, wait once, judge the answer.
 *
 * Floor: stmt.
 */
#ifndef STELE_RUN_H
#define STELE_RUN_H

#include "entry.h"
#include "result.h"

/**
 * Runs it and gives the server's result, whose column types were compared with the statement's.
 *
 * Errors: as stele/status.h says, with names of table and column as far as they can be known.
 * Owns:   the caller, on success: stele__result_clear().
 */
stele_status stele__run(stele_conn *conn, const stele__call *call, struct pg_result **ret_result,
                        stele_error *err);

/** The same for those who tell hooks of it. `err` must not be NULL. */
stele_status stele__run_call(stele_conn *conn, const stele__call *call,
                             struct pg_result **ret_result, stele_error *err);

/** After BEGIN or a savepoint travelled: notes what the server made of it. */
void stele__settle_transaction(stele_conn *conn);

/** Notes the first error inside a transaction. */
void stele__note_error(stele_conn *conn, stele_status st, const stele_error *err);

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

/** Where the C value of a parameter lies, NULL if there is none. */
typedef const void *(*stele__value_fn)(void *ctx, const stele_gen_stmt *stmt, int index);

/** The same where the arguments of the call are gone. */
void stele__name_culprit_of(const stele_gen_stmt *stmt, stele__value_fn value_of, void *ctx,
                            stele_error *err);

#endif
