/**
 * Cancel requests: they block, and they must not hit whoever has the link next.
 *
 * Who sends one holds the link: meanwhile it is neither closed nor handed on. A server that does not
 * even take the request is given up after a while; then the last holder closes the link.
 *
 * Floor: pool.
 */
#define _GNU_SOURCE
#include "pool_internal.h"

#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define NUDGE_NS (20u * (uint64_t)STELE__MS)

static stele__hold *hold_locked(stele__pool *pool, stele__slot *slot)
{
    stele__hold *hold = slot->hold;
    if (hold == NULL) {
        hold = stele__alloc(sizeof *hold);
        if (hold == NULL)
            return NULL;
        *hold = (stele__hold){.link = slot->link, .slot = slot};
        slot->hold = hold;
    }
    hold->refs++;
    pool->refs++;
    pool->stats.cancels++;
    return hold;
}

/* Unlocks. */
static void let_go(stele__pool *pool, stele__hold *hold)
{
    stele__link *orphan = NULL;
    stele__pool_lock(pool);
    if (--hold->refs == 0) {
        if (hold->slot != NULL)
            hold->slot->hold = NULL;
        else
            orphan = hold->link;
        stele__free(hold);
        stele__pool_wake(pool);
        (void)pthread_cond_broadcast(&pool->calm);
    }
    stele__pool_unref_unlock(pool);
    stele__link_close(orphan);
}

void stele__slot_abandon_locked(stele__slot *slot)
{
    slot->hold->slot = NULL;
    slot->hold = NULL;
    slot->link = NULL;
}

stele_status stele__pool_cancel(stele_conn *conn, stele_error *err)
{
    stele__lease *lease = conn->owner;
    stele__pool *pool = lease->pool;
    stele_status st = stele__pool_check_fork(pool, err);
    if (st != STELE_OK)
        return st;
    stele__pool_lock(pool);
    if (lease->slot == NULL) {
        stele__pool_unlock(pool);
        return stele__fail(err, STELE_E_MISUSE, "the lease has lost its connection");
    }
    stele__hold *hold = hold_locked(pool, lease->slot);
    stele__pool_unlock(pool);
    if (hold == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while canceling");
    st = stele__link_cancel(hold->link, err);
    let_go(pool, hold);
    return st;
}

typedef struct request {
    stele__pool *pool;
    stele__hold *hold;
} request;

static void *send_request(void *arg)
{
    request job = *(request *)arg;
    stele__free(arg);
    (void)stele__link_cancel(job.hold->link, NULL); /* the link ends either way */
    let_go(job.pool, job.hold);
    return NULL;
}

bool stele__slot_cancel_locked(stele__pool *pool, stele__slot *slot)
{
    pthread_t id;
    request *job = stele__alloc(sizeof *job);
    if (job == NULL)
        return false;
    job->pool = pool;
    job->hold = hold_locked(pool, slot);
    if (job->hold != NULL && stele__pool_start_thread(&id, send_request, job, true))
        return true;
    if (job->hold != NULL) {
        pool->refs--;
        if (--job->hold->refs == 0) {
            slot->hold = NULL;
            stele__free(job->hold);
        }
    }
    stele__free(job);
    return false;
}

void stele__pool_nudge(stele_conn *conn)
{
    const stele__lease *lease = conn->owner;
    stele__pool *pool = lease->pool;
    uint64_t until_ns = (uint64_t)stele__now_ns() + NUDGE_NS;
    stele__pool_lock(pool);
    stele__slot *slot = lease->slot;
    bool waits = slot != NULL && slot->hold == NULL && stele__slot_cancel_locked(pool, slot);
    while (waits && slot->hold != NULL)
        waits = stele__cond_wait(&pool->calm, &pool->mutex, until_ns);
    stele__pool_unlock(pool);
}
