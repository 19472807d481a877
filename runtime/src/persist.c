/**
 * Group commit: options, handles, putting, flushing, numbers, and the end.
 *
 * Floor: persist.
 */
#define _GNU_SOURCE
#include <string.h>

#include "persist_internal.h"
#include "pool.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* ---- opening ---- */

static void default_to(uint32_t *option, uint32_t value)
{
    if (*option == 0)
        *option = value;
}

static stele_status fill_options(const stele_persist_options *given, stele_persist_options *ret,
                                 stele_error *err)
{
    static const stele_persist_options none = STELE_PERSIST_OPTIONS_INIT;
    if (given == NULL)
        given = &none;
    if (given->size != sizeof *given) {
        (void)stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(
            err, "start from: stele_persist_options options = STELE_PERSIST_OPTIONS_INIT;");
        return STELE_E_INPUT;
    }
    *ret = *given;
    default_to(&ret->lanes, 4);
    default_to(&ret->batch_units, 500);
    default_to(&ret->batch_bytes, 1u << 20);
    default_to(&ret->linger_us, 2000);
    default_to(&ret->max_items, 10000);
    default_to(&ret->retry_ms, 30000);
    if (ret->max_bytes == 0)
        ret->max_bytes = 64u << 20;
    return STELE_OK;
}

static bool init_locks(stele_persist *persist)
{
    return stele__cond_init(&persist->changed) && pthread_mutex_init(&persist->lock, NULL) == 0;
}

static void free_persist(stele_persist *persist)
{
    stele_db_close(persist->db);
    stele__free(persist->conns);
    (void)pthread_cond_destroy(&persist->changed);
    (void)pthread_mutex_destroy(&persist->lock);
    stele__free(persist);
}

/* How often it is asked for a cancel, every 100 ms, before the answer is no longer waited for. */
#define MOST_NUDGES 10

/* Closing is late: what waits for the server or for better times gives up. */
static void on_late(void *user)
{
    stele_persist *persist = user;
    (void)pthread_mutex_lock(&persist->lock);
    __atomic_store_n(&persist->late, true, __ATOMIC_RELAXED);
    if (persist->nudges++ >= MOST_NUDGES)
        __atomic_store_n(&persist->cut, true, __ATOMIC_RELAXED);
    (void)pthread_cond_broadcast(&persist->changed);
    for (uint32_t i = 0; i < persist->options.lanes; i++)
        if (persist->conns[i] != NULL)
            stele__pool_nudge(persist->conns[i]);
    (void)pthread_mutex_unlock(&persist->lock);
}

static stele_status open_lanes(stele_persist *persist, stele_error *err)
{
    stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
    options.lanes = persist->options.lanes;
    options.max_items = persist->options.max_items;
    options.max_bytes = persist->options.max_bytes;
    options.when_full = persist->options.when_full;
    options.batch_items = persist->options.batch_units;
    options.batch_bytes = persist->options.batch_bytes;
    options.linger_us = persist->options.linger_us;
    options.name = "stele-persist";
    options.run = stele__persist_run;
    options.on_late = on_late;
    options.user = persist;
    return stele_lanes_open(&options, &persist->lanes, err);
}

stele_status stele_persist_open(stele_db *db, const stele_persist_options *options,
                                stele_persist **ret_persist, stele_error *err)
{
    stele_persist_options chosen;
    if (db == NULL || ret_persist == NULL)
        return stele__fail(err, STELE_E_INPUT, "db or ret_persist is NULL");
    stele_status st = fill_options(options, &chosen, err);
    if (st != STELE_OK)
        return st;
    stele_persist *persist = stele__calloc(1, sizeof *persist);
    if (persist == NULL || !init_locks(persist)) {
        stele__free(persist);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for group commit");
    }
    persist->options = chosen;
    persist->undone_end = &persist->undone;
    persist->conns = stele__calloc(chosen.lanes, sizeof(stele_conn *));
    if (persist->conns == NULL)
        st = stele__fail(err, STELE_E_NOMEM, "out of memory for group commit");
    if (st == STELE_OK)
        st = stele_db_derive_policy(db, STELE_DEFAULT, &persist->db, err);
    if (st == STELE_OK)
        st = open_lanes(persist, err);
    if (st != STELE_OK)
        free_persist(persist);
    else
        *ret_persist = persist;
    return st;
}

/* ---- putting ---- */

stele_status stele_persist_put(stele_persist *persist, const void *key, size_t key_len,
                               stele_unit **unit, const stele_put_options *how,
                               stele_receipt **ret_receipt, stele_error *err)
{
    if (unit == NULL || *unit == NULL)
        return stele__fail(err, STELE_E_INPUT, "unit is NULL");
    stele_unit *put = *unit;
    stele_status st = stele__unit_prepare(put, key, key_len, how, ret_receipt != NULL, err);
    if (st == STELE_OK) {
        stele_receipt *receipt = put->receipt;
        put->put_ns = (uint64_t)stele__now_ns();
        st = stele_lanes_put(persist->lanes, put->key, put->key_len, put, put->bytes,
                             how != NULL ? how->deadline_ms : 0, err);
        if (st == STELE_OK) { /* from here on the unit may be gone */
            *unit = NULL;
            if (ret_receipt != NULL)
                *ret_receipt = receipt;
            return STELE_OK;
        }
    }
    stele__unit_unput(put);
    return st;
}

stele_status stele_persist_flush(stele_persist *persist, const void *key, size_t key_len,
                                 uint32_t deadline_ms, stele_error *err)
{
    return stele_lanes_flush(persist->lanes, key, key_len, deadline_ms, err);
}

void stele_persist_stats(const stele_persist *persist, stele_commit_stats *ret_stats)
{
    stele_persist *own = (stele_persist *)(uintptr_t)persist; /* to lock it */
    (void)pthread_mutex_lock(&own->lock);
    *ret_stats = own->stats;
    (void)pthread_mutex_unlock(&own->lock);
    stele_lanes_stats(own->lanes, &ret_stats->lanes);
    ret_stats->put = ret_stats->lanes.put;
}

/* ---- the end ---- */

void stele__persist_leave(stele_persist *persist, stele_unit *unit)
{
    stele_error why;
    if (unit->unclear)
        (void)stele__fail(&why, STELE_E_UNKNOWN,
                          "closed before it was known whether the unit is stored");
    else
        (void)stele__fail(&why, STELE_E_CLOSED, "closed before the unit was stored");
    why.outcome_unknown = unit->unclear;
    stele__unit_fail(unit, why.status, &why);
    (void)pthread_mutex_lock(&persist->lock);
    persist->stats.undone++;
    persist->stats.forgotten += stele__unit_is_forgotten(unit);
    unit->next = NULL;
    *persist->undone_end = unit;
    persist->undone_end = &unit->next;
    (void)pthread_mutex_unlock(&persist->lock);
}

/* What no lane has begun with. */
static void leave(void *item, void *user)
{
    stele__persist_leave(user, item);
}

static size_t tell_undone(stele_persist *persist, stele_undone_fn on_undone, void *user)
{
    size_t count = 0;
    while (persist->undone != NULL) {
        stele_unit *unit = persist->undone;
        stele_status st = unit->status;
        persist->undone = unit->next;
        stele__unit_tell(persist, unit);
        stele__unit_unput(unit);
        if (on_undone != NULL)
            on_undone(&unit, st, user);
        stele_unit_free(unit);
        count++;
    }
    return count;
}

stele_status stele_persist_close(stele_persist *persist, uint32_t deadline_ms,
                                 stele_undone_fn on_undone, void *user, stele_error *err)
{
    if (persist == NULL)
        return STELE_OK;
    stele_status st = stele_lanes_close(persist->lanes, deadline_ms, leave, persist, err);
    if (st == STELE_E_FORKED || st == STELE_E_MISUSE)
        return st;
    size_t left = tell_undone(persist, on_undone, user);
    free_persist(persist);
    if (left > 0)
        return stele__fail(err, STELE_E_TIMEOUT, "%zu units were left undone", left);
    return st;
}
