/**
 * The line of those who wait, first come first served.
 *
 * A link that comes free goes to the first in line by hand and never lies about while somebody
 * waits; so nobody can overtake, and no wake-up can be lost.
 *
 * Floor: pool.
 */
#define _GNU_SOURCE
#include "pool_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "latency_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* ---- the line ---- */

/* By ticket: who got a dead link and comes again stands where it stood. */
static void join_line(stele__pool *pool, stele__waiter *waiter)
{
    stele__waiter *before = pool->last;
    while (before != NULL && before->ticket > waiter->ticket)
        before = before->prev;
    waiter->prev = before;
    waiter->next = before != NULL ? before->next : pool->first;
    if (waiter->prev != NULL)
        waiter->prev->next = waiter;
    else
        pool->first = waiter;
    if (waiter->next != NULL)
        waiter->next->prev = waiter;
    else
        pool->last = waiter;
    pool->waiting++;
}

void stele__waiter_leave_locked(stele__pool *pool, stele__waiter *waiter)
{
    if (waiter->prev != NULL)
        waiter->prev->next = waiter->next;
    else
        pool->first = waiter->next;
    if (waiter->next != NULL)
        waiter->next->prev = waiter->prev;
    else
        pool->last = waiter->prev;
    waiter->prev = NULL;
    waiter->next = NULL;
    pool->waiting--;
}

void stele__pool_fail_waiters_locked(stele__pool *pool, stele_status status)
{
    while (pool->first != NULL) {
        stele__waiter *waiter = pool->first;
        stele__waiter_leave_locked(pool, waiter);
        waiter->status = status;
        waiter->done = true;
        (void)pthread_cond_signal(&waiter->cond);
    }
}

/* ---- idle links ---- */

/* The newest idle link, or one of the next few that knows the names already. */
static stele__slot *choose_idle(const stele__pool *pool, uint64_t names_id)
{
    stele__slot *slot = pool->idle;
    for (uint32_t i = 0; slot != NULL && i < pool->config.tenant_affinity; i++, slot = slot->next)
        if (slot->link->names_id == names_id)
            return slot;
    return pool->idle;
}

static stele__slot *take_idle(stele__pool *pool, const stele__waiter *waiter)
{
    uint64_t max_idle = (uint64_t)pool->config.rules.max_idle_ms * STELE__MS;
    stele__slot *slot;
    while ((slot = choose_idle(pool, waiter->names_id)) != NULL) {
        uint64_t now = waiter->now_ns;
        if (now >= slot->expires_ns) {
            stele__slot_retire_locked(pool, slot, STELE_CLOSED_LIFETIME);
        } else if (now > slot->idle_since_ns && now - slot->idle_since_ns > max_idle) {
            stele__slot_retire_locked(pool, slot, STELE_CLOSED_IDLE);
        } else {
            stele__slot_unlink_idle_locked(pool, slot);
            slot->state = STELE__SLOT_LEASED;
            pool->in_use++;
            return slot;
        }
    }
    return NULL;
}

/* ---- errors ---- */

static stele_status closed(stele_error *err)
{
    stele_status st = stele__fail(err, STELE_E_CLOSED, "the database handle is being closed");
    stele__error_hint(err, "stop the callers before stele_db_close");
    return st;
}

static stele_status too_many(const stele__pool *pool, stele_error *err)
{
    stele_status st =
        stele__fail(err, STELE_E_BUSY, "%u callers wait for one of %u connections already",
                    pool->waiting, pool->config.rules.max_connections);
    if (err != NULL)
        err->retryable = true;
    stele__error_hint(err, "raise max_connections or max_waiters, or take less load at once");
    return st;
}

static stele_status connect_failed(const stele__pool *pool, stele_error *err)
{
    if (err != NULL) {
        *err = pool->last_error;
        if (err->detail[0] == '\0')
            stele__error_detail(err, "%u attempt%s in a row failed", pool->failures,
                                pool->failures == 1 ? "" : "s");
    }
    return pool->last_error.status;
}

static stele_status expired(const stele__pool *pool, const stele__waiter *waiter, stele_error *err)
{
    uint64_t ms = ((uint64_t)stele__now_ns() - waiter->since_ns) / STELE__MS;
    stele_status st =
        stele__fail(err, STELE_E_TIMEOUT,
                    "no connection came free in %llu ms: %u of %u in use, %u being "
                    "made, %u callers still waiting",
                    (unsigned long long)ms, pool->in_use, pool->config.rules.max_connections,
                    pool->connecting, pool->waiting);
    if (err == NULL)
        return st;
    err->retryable = true;
    if (pool->failures > 0) {
        stele__error_detail(err, "connecting failed %u times in a row: %s", pool->failures,
                            pool->last_error.message);
        stele__error_hint(err, "%s", pool->last_error.hint);
        (void)stele__copy_text(err->sqlstate, sizeof err->sqlstate, pool->last_error.sqlstate);
    } else {
        stele__error_hint(err,
                          "hold connections for a shorter time, raise max_connections, or look "
                          "for leases that are never released (on_leak)");
    }
    return st;
}

/* ---- a thread that waits for itself ---- */

static const stele__lease *lease_of_thread(const stele__pool *pool, long thread_id)
{
    for (uint32_t i = 0; i < pool->config.rules.max_connections; i++) {
        const stele__lease *lease = pool->slots[i].lease;
        if (lease != NULL && lease->thread_id == thread_id)
            return lease;
    }
    return NULL;
}

/* Releases the mutex for the hook. True if it did, so that the pool has to be looked at again. */
static bool warn_nested(stele__pool *pool, stele__waiter *waiter)
{
    const stele__pool_config *config = &pool->config;
    if (waiter->warned || pool->total < config->rules.max_connections)
        return false;
    waiter->warned = true;
    long thread_id = stele__pool_thread_id();
    const stele__lease *lease = lease_of_thread(pool, thread_id);
    if (lease == NULL || waiter->is_relink)
        return false;
    stele_leak_report report = {
        .held_ms = (waiter->now_ns - lease->acquired_ns) / STELE__MS,
        .file = lease->file,
        .line = lease->line,
        .thread_id = thread_id,
        .statement = __atomic_load_n(&lease->conn.last_statement, __ATOMIC_RELAXED),
    };
    stele__pool_unlock(pool);
    if (config->on_notice != NULL) {
        char text[512];
        (void)snprintf(
            text, sizeof text,
            "thread %ld waits for a connection while it holds one taken at %s:%d, and all "
            "%u are in use: threads that do so can wait for each other",
            thread_id, report.file, report.line, config->rules.max_connections);
        config->on_notice("WARNING", text, config->hook_user);
    } else if (config->on_leak != NULL) {
        config->on_leak(&report, config->hook_user);
    }
    stele__pool_lock(pool);
    return true;
}

/* ---- taking ---- */

static stele_status wait_in_line(stele__pool *pool, stele__waiter *waiter, stele__slot **ret_slot,
                                 stele_error *err)
{
    if (!stele__cond_init(&waiter->cond))
        return stele__fail(err, STELE_E_NOMEM, "out of memory while waiting for a connection");
    waiter->done = false;
    join_line(pool, waiter);
    stele__pool_connect_locked(pool);
    while (!waiter->done)
        if (!stele__cond_wait(&waiter->cond, &pool->mutex, waiter->deadline))
            break;
    (void)pthread_cond_destroy(&waiter->cond);
    if (!waiter->done) {
        stele__waiter_leave_locked(pool, waiter);
        pool->stats.timeouts++;
        return expired(pool, waiter, err);
    }
    if (waiter->status == STELE_E_CLOSED)
        return closed(err);
    if (waiter->status != STELE_OK)
        return connect_failed(pool, err);
    waiter->slot->link->names_id = waiter->names_id;
    *ret_slot = waiter->slot;
    return STELE_OK;
}

static stele_status take_later(stele__pool *pool, stele__waiter *waiter, stele__slot **ret_slot,
                               stele_error *err)
{
    if (stele__pool_is_down_locked(pool, waiter->now_ns))
        return connect_failed(pool, err);
    bool is_new = waiter->ticket == 0;
    if (is_new && !waiter->is_relink && pool->waiting >= pool->config.rules.max_waiters) {
        pool->stats.rejected++;
        return too_many(pool, err);
    }
    if (is_new) {
        waiter->ticket = ++pool->ticket;
        pool->stats.waited++;
    }
    stele_status st = wait_in_line(pool, waiter, ret_slot, err);
    uint64_t now = (uint64_t)stele__now_ns();
    stele__latency_add(&pool->stats.wait, now - waiter->now_ns);
    waiter->now_ns = now;
    return st;
}

stele_status stele__pool_take_locked(stele__pool *pool, stele__waiter *waiter,
                                     stele__slot **ret_slot, stele_error *err)
{
    do {
        if (pool->closing)
            return closed(err);
        stele__slot *slot = pool->first == NULL ? take_idle(pool, waiter) : NULL;
        if (slot != NULL) {
            slot->link->names_id = waiter->names_id;
            *ret_slot = slot;
            return STELE_OK;
        }
    } while (warn_nested(pool, waiter));
    return take_later(pool, waiter, ret_slot, err);
}
