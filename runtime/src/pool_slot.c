/**
 * Slots: where each of the pool's server connections stands.
 *
 * Floor: pool.
 */
#define _GNU_SOURCE
#include "pool_internal.h"

#include "link_pool.h"

#include "banned.h"

stele__slot *stele__slot_reserve_locked(stele__pool *pool)
{
    stele__slot *slot = pool->free_slots;
    if (slot == NULL)
        return NULL;
    pool->free_slots = slot->next;
    slot->next = NULL;
    pool->total++;
    return slot;
}

void stele__slot_free_locked(stele__pool *pool, stele__slot *slot)
{
    slot->state = STELE__SLOT_FREE;
    slot->link = NULL;
    slot->open = false;
    slot->hold = NULL;
    slot->prev = NULL;
    slot->next = pool->free_slots;
    pool->free_slots = slot;
    pool->total--;
}

void stele__slot_hand_over_locked(stele__pool *pool, stele__slot *slot)
{
    stele__waiter *waiter = pool->first;
    stele__waiter_leave_locked(pool, waiter);
    slot->state = STELE__SLOT_LEASED;
    pool->in_use++;
    waiter->slot = slot;
    waiter->status = STELE_OK;
    waiter->done = true;
    (void)pthread_cond_signal(&waiter->cond);
}

/* ---- end ---- */

/* A lease that outlived its pool: no keeper is there, and nobody to keep waiting for the mutex. */
static void close_late(stele__pool *pool, stele__slot *slot)
{
    slot->open = false;
    if (slot->hold != NULL)
        stele__slot_abandon_locked(slot);
    else
        stele__link_close(slot->link);
    stele__slot_free_locked(pool, slot);
}

void stele__slot_retire_locked(stele__pool *pool, stele__slot *slot, stele_close_reason reason)
{
    if (slot->state == STELE__SLOT_IDLE)
        stele__slot_unlink_idle_locked(pool, slot);
    else if (slot->state == STELE__SLOT_LEASED && --pool->in_use == 0)
        stele__pool_lost_last_locked(pool);
    slot->lease = NULL;
    pool->stats.closed[reason]++;
    if (pool->keeper.ended) {
        close_late(pool, slot);
        return;
    }
    slot->state = STELE__SLOT_RETIRING;
    slot->wants_cancel = slot->hold == NULL && stele__link_has_work(slot->link);
    slot->watch_fd = -1;
    slot->give_up_ns = 0;
    slot->next = pool->retire_first;
    pool->retire_first = slot;
    pool->retiring++;
    stele__pool_wake(pool);
}

void stele__slot_drain_idle_locked(stele__pool *pool, stele_close_reason reason)
{
    while (pool->idle != NULL)
        stele__slot_retire_locked(pool, pool->idle, reason);
}

void stele__pool_bump_locked(stele__pool *pool)
{
    pool->generation++;
    pool->last_loss_ns = 0;
    stele__slot_drain_idle_locked(pool, STELE_CLOSED_GENERATION);
}

void stele__pool_note_loss_locked(stele__pool *pool, const stele__slot *slot, uint64_t now_ns)
{
    if (slot->generation != pool->generation)
        return; /* its whole age is condemned already */
    if (pool->last_loss_ns != 0 && now_ns - pool->last_loss_ns < STELE__S)
        stele__pool_bump_locked(pool);
    else
        pool->last_loss_ns = now_ns;
}
