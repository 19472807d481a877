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
 * The frequent case: what ran last under these names is the statement, prepared and checked, and only
 * texts go out. NULL: `err` tells what failed, or nothing ran and err->status is as it was.
 */
__attribute__((always_inline)) static inline struct pg_result *
stele__run_latest(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args,
                  uint32_t flags, stele_error *err)
{
    stele__bound_texts bound;
    stele__cache *cache = conn->link->cache;
    if (conn->observed || !stele__conn_is_ready(conn) || cache == NULL ||
        conn->tx.pending_count != 0)
        return NULL;
    stele__entry *entry = stele__cache_latest(cache, stmt, conn->names->id, flags);
    if (entry == NULL || entry->checked != STELE__CHECKED_TEXTS)
        return NULL;
    stele__cache_touch_latest(cache, entry);
    if (!stele__bind_texts(&entry->texts, entry->param_count, args, &bound))
        return NULL;
    __atomic_store_n(&conn->last_statement, stmt->name, __ATOMIC_RELAXED);
    return stele__link_execute(conn->link, entry->name, entry->param_count, bound.values,
                               bound.lengths, stele__bind_binary, &conn->limits, err);
}

/** The rest of stele__run(), after the frequent case: `latest` is what that told. */
struct pg_result *stele__run_on(stele_conn *conn, const stele_gen_stmt *stmt,
                                const void *const *args, uint32_t flags, stele_error *latest,
                                stele_status *ret_status, stele_error *err);

/**
 * Runs it and gives the server's result, whose column types were compared with the statement's; NULL
 * after a failure, which `*ret_status` tells then.
 *
 * Errors: as stele/status.h says, with names of table and column as far as they can be known.
 * Owns:   the caller, on success: stele__result_clear().
 */
__attribute__((always_inline)) static inline struct pg_result *
stele__run(stele_conn *conn, const stele_gen_stmt *stmt, const void *const *args, uint32_t flags,
           stele_status *ret_status, stele_error *err)
{
    /* What went wrong must be known here, also when the caller does not ask; and a caller's error is
     * left alone when a second attempt succeeds. */
    stele_error local;
    local.status = STELE_OK;
    struct pg_result *result = stele__run_latest(conn, stmt, args, flags, &local);
    if (__builtin_expect(result != NULL, 1))
        return result;
    return stele__run_on(conn, stmt, args, flags, &local, ret_status, err);
}

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
