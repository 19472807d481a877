/**
 * Handles come and go; the last one closes the pool.
 *
 * Floor: pool.
 */
#define _GNU_SOURCE
#include "pool_internal.h"

#include <errno.h>
#include <unistd.h>

#include "link_pool.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* For leases whose statement was canceled: those that come later close their links themselves. */
#define LEASE_GRACE_NS (50u * (uint64_t)STELE__MS)
#define THREAD_GRACE_NS (1000u * (uint64_t)STELE__MS)

bool stele__pool_attach(stele__pool *pool, stele_error *err)
{
    if (stele__pool_check_fork(pool, err) != STELE_OK)
        return false;
    stele__pool_lock(pool);
    bool open = !pool->closing;
    pool->handles += open ? 1 : 0;
    stele__pool_unlock(pool);
    if (!open)
        (void)stele__fail(err, STELE_E_CLOSED, "the database handle is being closed");
    return open;
}

void stele__slot_close_in_child(stele__slot *slot)
{
    int fd = slot->open ? stele__link_socket(slot->link) : -1;
    slot->open = false;
    if (fd >= 0)
        (void)close(fd);
}

/* The parent's sessions live on: only our copies of their descriptors go. The rest is left as the
 * fork left it, since another thread may have been in the middle of changing it. */
static void close_in_child(stele__pool *pool)
{
    if (pool->child_closed)
        return;
    pool->child_closed = true;
    for (uint32_t i = 0; i < pool->config.rules.max_connections; i++)
        stele__slot_close_in_child(&pool->slots[i]);
    (void)close(pool->wake_fd);
}

static bool leases_are_back(const stele__pool *pool)
{
    return pool->out == 0;
}

static bool all_is_quiet(const stele__pool *pool)
{
    if (pool->out > 0)
        return false;
    for (uint32_t i = 0; i < pool->config.rules.max_connections; i++)
        if (pool->slots[i].hold != NULL)
            return false;
    return true;
}

static bool threads_ended(const stele__pool *pool)
{
    bool ended = pool->keeper.ended;
    for (int i = 0; i < STELE__CONNECTORS; i++)
        ended = ended && (!pool->connectors[i].started || pool->connectors[i].ended);
    return ended;
}

static void wait_for_locked(stele__pool *pool, bool (*is_so)(const stele__pool *),
                            uint64_t until_ns)
{
    while (!is_so(pool))
        if (!stele__cond_wait(&pool->calm, &pool->mutex, until_ns))
            return;
}

static void cancel_leases_locked(stele__pool *pool)
{
    for (uint32_t i = 0; i < pool->config.rules.max_connections; i++) {
        stele__slot *slot = &pool->slots[i];
        if (slot->lease != NULL && slot->hold == NULL)
            (void)stele__slot_cancel_locked(pool, slot);
    }
}

/* One that hangs in the resolver or in a server that does not answer ends by itself, later. */
static void part_with(stele__thread *thread, bool ended)
{
    if (!thread->started)
        return;
    if (ended)
        (void)pthread_join(thread->id, NULL);
    else
        (void)pthread_detach(thread->id);
}

static void end_threads(stele__pool *pool, uint64_t until_ns)
{
    bool ended[STELE__CONNECTORS];
    stele__pool_lock(pool);
    pool->stopping = true;
    stele__pool_wake(pool);
    (void)pthread_cond_broadcast(&pool->connect_cond);
    wait_for_locked(pool, threads_ended, until_ns);
    bool keeper_ended = pool->keeper.ended;
    for (int i = 0; i < STELE__CONNECTORS; i++)
        ended[i] = pool->connectors[i].ended;
    stele__pool_unlock(pool);
    part_with(&pool->keeper, keeper_ended);
    for (int i = 0; i < STELE__CONNECTORS; i++)
        part_with(&pool->connectors[i], ended[i]);
}

static void close_pool(stele__pool *pool, uint32_t drain_ms)
{
    uint64_t drained = (uint64_t)stele__now_ns() + (uint64_t)drain_ms * STELE__MS;
    stele__pool_lock(pool);
    pool->closing = true;
    stele__pool_fail_waiters_locked(pool, STELE_E_CLOSED);
    stele__slot_drain_idle_locked(pool, STELE_CLOSED_SHUTDOWN);
    (void)pthread_cond_broadcast(&pool->connect_cond);
    wait_for_locked(pool, leases_are_back, drained);
    if (!leases_are_back(pool)) {
        cancel_leases_locked(pool);
        wait_for_locked(pool, all_is_quiet, (uint64_t)stele__now_ns() + LEASE_GRACE_NS);
    }
    stele__pool_unlock(pool);

    uint64_t now = (uint64_t)stele__now_ns();
    end_threads(pool, (now > drained ? now : drained) + THREAD_GRACE_NS);
    stele__pool_lock(pool);
    stele__pool_unref_unlock(pool);
}

void stele__pool_detach(stele__pool *pool, stele__names_box *names, void *memory, uint32_t drain_ms)
{
    if (stele__pool_is_foreign(pool)) {
        close_in_child(pool);
        return;
    }
    stele__pool_lock(pool);
    bool last = --pool->handles == 0;
    if (--names->refs == 0)
        stele__free(names);
    if (last)
        pool->last_handle = memory;
    stele__pool_unlock(pool);
    if (last)
        close_pool(pool, drain_ms);
    else
        stele__free(memory);
}
