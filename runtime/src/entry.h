/**
 * The cache entry of a call: which statement text it is, and whether the server has it prepared.
 *
 * Floor: stmt.
 */
#ifndef STELE_ENTRY_H
#define STELE_ENTRY_H

#include "bind.h"
#include "stmt_cache.h"

/** One call of a statement. */
typedef struct stele__call {
    const stele_gen_stmt *stmt;
    const void *const *args;
    uint32_t flags;
} stele__call;

/** The part of stele__entry_find that is seldom needed. */
stele_status stele__entry_look_up(stele_conn *conn, const stele__call *call,
                                  stele__entry **ret_entry, bool *ret_fresh, stele_error *err);

/**
 * Finds or makes the entry for the shape of a call; `*ret_fresh` becomes true if it was not there. The
 * lease must be usable. Errors: as stele__bind_states, STELE_E_NOMEM.
 */
static inline stele_status stele__entry_find(stele_conn *conn, const stele__call *call,
                                             stele__entry **ret_entry, bool *ret_fresh,
                                             stele_error *err)
{
    const stele_gen_stmt *stmt = call->stmt;
    stele__cache *cache = conn->link->cache;
    __atomic_store_n(&conn->last_statement, stmt->name, __ATOMIC_RELAXED);
    if (cache != NULL) {
        stele__entry *entry = stele__cache_latest(cache, stmt, conn->names->id, call->flags);
        if (entry != NULL && stele__bind_has_tags(entry->inputs, entry->shape_len, call->args)) {
            *ret_entry = entry;
            return STELE_OK;
        }
    }
    return stele__entry_look_up(conn, call, ret_entry, ret_fresh, err);
}

/** The text of a statement that was prepared, made once more: stele__free() it. NULL: no memory. */
char *stele__entry_text(const stele_conn *conn, const stele__entry *entry);

/** True if its statement should be prepared before it runs. */
bool stele__entry_worth_preparing(const stele_conn *conn, const stele__cache *cache,
                                  const stele__entry *entry);

/** True if STELE__PLAN_ANEW must precede it, as the session would plan it once for all values. */
bool stele__entry_plans_anew(const stele_conn *conn, const stele__entry *entry);

/* Until the end of the transaction; unlike SET LOCAL it is silent about a transaction without BEGIN. */
#define STELE__PLAN_ANEW                                                                           \
    "SELECT pg_catalog.set_config('plan_cache_mode', 'force_custom_plan', true)"

/** True if the error is one that a prepared statement gives whose plan no longer fits. */
bool stele__is_stale_plan(const stele_error *err);

/**
 * After such an error: true if the statement may be sent again at once, prepared anew. The lease must
 * have the names it had when the entry was made.
 */
bool stele__entry_renew(stele_conn *conn, stele__entry *entry, stele_error *err);

/** Takes an entry that is pinned back into the cache, if that dropped it; false if that cannot be. */
bool stele__entry_revive(stele_conn *conn, stele__entry *entry);

#endif
