/**
 * The keeper: a thread that ends links, replaces what is too old, and reports leaks.
 *
 * A slot counts against the maximum until the server's process is gone: a statement that was left
 * running is canceled first, then the session is closed and its end awaited. All of that happens side
 * by side and without blocking; a process that does not end in time is given up.
 *
 * Floor: pool.
 */
#define _GNU_SOURCE
#include "pool_internal.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "link_pool.h"
#include "text_internal.h"

#include "banned.h"

#define SWEEP_MS 30000u
#define LAST_RETIRE_NS (500u * (uint64_t)STELE__MS) /* when the pool is being closed */

typedef struct keeper {
    stele__pool *pool;
    stele__slot *working; /* retiring slots it has taken over */
    uint64_t next_sweep_ns;
} keeper;

void stele__pool_wake(const stele__pool *pool)
{
    (void)eventfd_write(pool->wake_fd, 1); /* a full counter wakes as well */
}

/* ---- ending links ---- */

static void begin_cancel(keeper *k, stele__slot *slot)
{
    stele__pool *pool = k->pool;
    slot->wants_cancel = false;
    stele__pool_lock(pool);
    (void)stele__slot_cancel_locked(pool, slot); /* without means the end alone must do */
    stele__pool_unlock(pool);
}

/* True while somebody still sends a cancel request for the slot's link. */
static bool is_held(keeper *k, stele__slot *slot, uint64_t now_ns)
{
    stele__pool *pool = k->pool;
    stele__pool_lock(pool);
    bool held = slot->hold != NULL;
    if (held && now_ns >= slot->give_up_ns) {
        stele__link_shutdown(slot->link);
        stele__slot_abandon_locked(slot);
        held = false;
    }
    stele__pool_unlock(pool);
    return held;
}

/* Does what can be done for a slot now. True when its place is free. */
static bool advance(keeper *k, stele__slot *slot, uint64_t now_ns)
{
    if (slot->give_up_ns == 0)
        slot->give_up_ns = now_ns + STELE__RETIRE_MS * (uint64_t)STELE__MS;
    if (slot->wants_cancel)
        begin_cancel(k, slot);
    if (slot->watch_fd < 0) {
        if (is_held(k, slot, now_ns))
            return false;
        if (slot->link == NULL)
            return true;
        slot->open = false; /* for a child that is forked from here on */
        slot->watch_fd = stele__link_end(slot->link);
        slot->link = NULL;
        if (slot->watch_fd < 0)
            return true;
    }
    if (!stele__end_is_seen(slot->watch_fd) && now_ns < slot->give_up_ns)
        return false;
    (void)close(slot->watch_fd);
    slot->watch_fd = -1;
    return true;
}

static void advance_all(keeper *k)
{
    stele__pool *pool = k->pool;
    uint64_t now = (uint64_t)stele__now_ns();
    stele__slot **link = &k->working;
    while (*link != NULL) {
        stele__slot *slot = *link;
        if (!advance(k, slot, now)) {
            link = &slot->next;
            continue;
        }
        *link = slot->next;
        stele__pool_lock(pool);
        pool->retiring--;
        stele__slot_free_locked(pool, slot);
        stele__pool_connect_locked(pool);
        stele__pool_unlock(pool);
    }
}

/* ---- sweeping ---- */

static void sweep_locked(stele__pool *pool, uint64_t now_ns)
{
    uint64_t max_idle = (uint64_t)pool->config.rules.max_idle_ms * STELE__MS;
    stele__slot *slot = pool->oldest_idle;
    while (slot != NULL) {
        stele__slot *newer = slot->prev;
        if (now_ns >= slot->expires_ns)
            stele__slot_retire_locked(pool, slot, STELE_CLOSED_LIFETIME);
        else if (now_ns - slot->idle_since_ns > max_idle &&
                 pool->idle_count > pool->config.rules.min_idle)
            stele__slot_retire_locked(pool, slot, STELE_CLOSED_IDLE);
        slot = newer;
    }
    stele__pool_connect_locked(pool);
}

/* The first lease that is held for too long and not reported yet. */
static bool next_leak_locked(stele__pool *pool, uint64_t now_ns, stele_leak_report *ret_report)
{
    uint64_t after = (uint64_t)pool->config.rules.leak_after_ms * STELE__MS;
    for (uint32_t i = 0; i < pool->config.rules.max_connections; i++) {
        stele__lease *lease = pool->slots[i].lease;
        if (lease == NULL || lease->reported || lease->acquired_ns + after > now_ns)
            continue;
        lease->reported = true;
        pool->stats.leaks++;
        *ret_report = (stele_leak_report){
            .held_ms = (now_ns - lease->acquired_ns) / STELE__MS,
            .file = lease->file,
            .line = lease->line,
            .thread_id = lease->thread_id,
            .statement = __atomic_load_n(&lease->conn.last_statement, __ATOMIC_RELAXED),
        };
        return true;
    }
    return false;
}

static void report_leaks(stele__pool *pool, uint64_t now_ns)
{
    const stele__pool_config *config = &pool->config;
    stele_leak_report report;
    for (;;) {
        stele__pool_lock(pool);
        bool found = next_leak_locked(pool, now_ns, &report);
        stele__pool_unlock(pool);
        if (!found)
            return;
        if (config->on_leak != NULL)
            config->on_leak(&report, config->hook_user);
    }
}

static uint64_t sweep_interval_ns(const stele_pool_options *rules)
{
    const uint32_t bounds[] = {rules->max_lifetime_ms / 2, rules->max_idle_ms / 2,
                               rules->leak_after_ms / 2};
    uint32_t ms = SWEEP_MS;
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        if (bounds[i] < ms)
            ms = bounds[i];
    return (uint64_t)(ms < 10 ? 10 : ms) * STELE__MS;
}

/* ---- the thread ---- */

/* Takes over what was retired since, and sweeps when that is due. */
static void take_over(keeper *k)
{
    stele__pool *pool = k->pool;
    stele__pool_lock(pool);
    while (pool->retire_first != NULL) {
        stele__slot *slot = pool->retire_first;
        pool->retire_first = slot->next;
        slot->next = k->working;
        k->working = slot;
    }
    uint64_t now = (uint64_t)stele__now_ns();
    for (stele__slot *slot = pool->stopping ? k->working : NULL; slot != NULL; slot = slot->next)
        if (slot->give_up_ns == 0 || slot->give_up_ns > now + LAST_RETIRE_NS)
            slot->give_up_ns = now + LAST_RETIRE_NS;
    bool due = now >= k->next_sweep_ns;
    if (due && !pool->closing) {
        k->next_sweep_ns = now + sweep_interval_ns(&pool->config.rules);
        sweep_locked(pool, now);
    } else if (due) {
        k->next_sweep_ns = UINT64_MAX;
    }
    stele__pool_unlock(pool);
    if (due)
        report_leaks(pool, now);
}

/* True, and the pool may be gone, when nothing is left to do. */
static bool has_ended(const keeper *k)
{
    stele__pool *pool = k->pool;
    stele__pool_lock(pool);
    if (!pool->stopping || pool->retire_first != NULL || k->working != NULL) {
        stele__pool_unlock(pool);
        return false;
    }
    pool->keeper.ended = true;
    (void)pthread_cond_broadcast(&pool->calm);
    stele__pool_unref_unlock(pool);
    return true;
}

static void wait_until_needed(keeper *k)
{
    stele__pool *pool = k->pool;
    struct pollfd *fds = pool->poll_fds;
    nfds_t count = 0;
    uint64_t until = k->next_sweep_ns;
    eventfd_t waste;
    fds[count++] = (struct pollfd){.fd = pool->wake_fd, .events = POLLIN};
    for (const stele__slot *slot = k->working; slot != NULL; slot = slot->next) {
        if (slot->watch_fd >= 0)
            fds[count++] = (struct pollfd){.fd = slot->watch_fd, .events = POLLIN};
        if (slot->give_up_ns < until)
            until = slot->give_up_ns;
    }
    uint64_t now = (uint64_t)stele__now_ns();
    uint64_t ms = until > now ? (until - now) / STELE__MS + 1 : 0;
    (void)poll(fds, count, ms < SWEEP_MS ? (int)ms : (int)SWEEP_MS);
    (void)eventfd_read(pool->wake_fd, &waste); /* does not block */
}

void *stele__pool_keeper(void *arg)
{
    keeper k = {.pool = arg};
    for (;;) {
        take_over(&k);
        advance_all(&k);
        if (has_ended(&k))
            return NULL;
        wait_until_needed(&k);
    }
}
