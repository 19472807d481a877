/**
 * Connecting in the background.
 *
 * At most two connectors work at a time, one while the server is down. An attempt goes on when the
 * caller that caused it has given up: the link serves the next one. Waits between failed attempts are
 * random up to a bound that doubles, so that processes do not knock together.
 *
 * Floor: pool.
 */
#define _GNU_SOURCE
#include "pool_internal.h"

#include <string.h>

#include "latency_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define BACKOFF_MIN_NS (10u * (uint64_t)STELE__MS)
#define BACKOFF_MAX_NS (5u * (uint64_t)STELE__S)

bool stele__pool_is_down_locked(const stele__pool *pool, uint64_t now_ns)
{
    if (pool->failures == 0 || pool->server_is_full)
        return false;
    if (now_ns >= pool->next_attempt_ns && pool->connecting == 0)
        return false; /* this caller's need is the next probe */
    return pool->in_use == 0 || pool->is_down;
}

void stele__pool_lost_last_locked(stele__pool *pool)
{
    if (pool->first == NULL || pool->failures == 0 || pool->server_is_full || pool->under_way > 0)
        return;
    if ((uint64_t)stele__now_ns() < pool->next_attempt_ns)
        stele__pool_fail_waiters_locked(pool, pool->last_error.status);
}

/* ---- the queue of slots to connect ---- */

static void queue_push(stele__pool *pool, stele__slot *slot)
{
    slot->state = STELE__SLOT_CONNECTING;
    slot->next = NULL;
    if (pool->connect_last != NULL)
        pool->connect_last->next = slot;
    else
        pool->connect_first = slot;
    pool->connect_last = slot;
    pool->connecting++;
}

static stele__slot *queue_pop(stele__pool *pool)
{
    stele__slot *slot = pool->connect_first;
    pool->connect_first = slot->next;
    if (pool->connect_first == NULL)
        pool->connect_last = NULL;
    slot->next = NULL;
    return slot;
}

static void queue_clear(stele__pool *pool)
{
    while (pool->connect_first != NULL) {
        pool->connecting--;
        stele__slot_free_locked(pool, queue_pop(pool));
    }
}

/* ---- results ---- */

void stele__slot_connected_locked(stele__pool *pool, stele__slot *slot, stele__link *link,
                                  uint64_t now_ns)
{
    uint64_t life = (uint64_t)pool->config.rules.max_lifetime_ms * STELE__MS;
    slot->link = link;
    slot->open = true;
    slot->expires_ns = now_ns + life - stele__pool_random_locked(pool, life / 4);
    pool->stats.created++;
    pool->failures = 0;
    pool->next_attempt_ns = 0;
    pool->server_is_full = false;
    pool->is_down = false;
}

static bool is_hopeless(const stele__pool *pool)
{
    return pool->failures > 0 && pool->last_error.status == STELE_E_AUTH;
}

static void note_failure(stele__pool *pool, const stele_error *error, uint64_t now_ns)
{
    pool->failures++;
    pool->stats.connect_errors++;
    pool->last_error = *error;
    pool->server_is_full = strcmp(error->sqlstate, "53300") == 0;
    memcpy(pool->stats.last_connect_sqlstate, error->sqlstate, sizeof error->sqlstate);
    uint64_t most = BACKOFF_MAX_NS;
    if (pool->failures < 10 && error->status != STELE_E_AUTH)
        most = BACKOFF_MIN_NS << (pool->failures - 1);
    if (most > BACKOFF_MAX_NS)
        most = BACKOFF_MAX_NS;
    pool->next_attempt_ns = now_ns + stele__pool_random_locked(pool, most);
}

static void failed(stele__pool *pool, stele__slot *slot, const stele_error *error, uint64_t now_ns)
{
    stele__slot_free_locked(pool, slot);
    queue_clear(pool);
    note_failure(pool, error, now_ns);
    /* Links in use may still come back to those in line, unless the server is gone for all. */
    pool->is_down =
        !pool->server_is_full && (pool->in_use == 0 || (pool->failures > 1 && !pool->seen_alive));
    pool->seen_alive = false;
    if (pool->is_down || error->status == STELE_E_AUTH)
        stele__pool_fail_waiters_locked(pool, error->status);
}

/* ---- the connectors ---- */

stele_status stele__pool_open_link(const stele__pool *pool, size_t *first_host,
                                   stele__link **ret_link, stele_error *err)
{
    const stele__conninfo *info = &pool->config.conninfo;
    stele__link_params params = pool->params;
    uint64_t start = (uint64_t)stele__now_ns();
    uint64_t share = (uint64_t)pool->config.rules.connect_timeout_ms * STELE__MS / info->host_count;
    stele_status st = STELE_E_TIMEOUT;
    for (size_t i = 0; i < info->host_count && st == STELE_E_TIMEOUT; i++) {
        size_t host = (*first_host + i) % info->host_count;
        params.values = info->turned[host];
        st = stele__link_open(&params, start + share * (i + 1), ret_link, err);
        if (st == STELE_OK)
            *first_host = host;
    }
    return st;
}

static bool is_needed(const stele__pool *pool)
{
    return pool->waiting > 0 || pool->idle_count < pool->config.rules.min_idle;
}

/* True when there is a slot to connect now; otherwise it waits for a change. */
static bool may_connect(stele__pool *pool)
{
    uint32_t most = pool->failures > 0 ? 1 : STELE__CONNECTORS;
    if (pool->connect_first == NULL || pool->under_way >= most) {
        (void)pthread_cond_wait(&pool->connect_cond, &pool->mutex);
        return false;
    }
    uint64_t due = pool->next_attempt_ns;
    if (due > (uint64_t)stele__now_ns()) {
        (void)stele__cond_wait(&pool->connect_cond, &pool->mutex, due);
        return false;
    }
    return true;
}

static void connect_one(stele__pool *pool, stele__slot *slot)
{
    stele_error error;
    stele__link *link = NULL;
    uint64_t generation = pool->generation;
    size_t first_host = pool->first_host;
    pool->under_way++;
    stele__pool_unlock(pool);

    uint64_t start = (uint64_t)stele__now_ns();
    stele_error_clear(&error);
    stele_status st = stele__pool_open_link(pool, &first_host, &link, &error);
    uint64_t now = (uint64_t)stele__now_ns();

    stele__pool_lock(pool);
    pool->under_way--;
    pool->connecting--;
    stele__latency_add(&pool->stats.create, now - start);
    if (st != STELE_OK) {
        failed(pool, slot, &error, now);
    } else {
        slot->generation = generation;
        pool->first_host = first_host;
        stele__slot_connected_locked(pool, slot, link, now);
        if (pool->closing)
            stele__slot_retire_locked(pool, slot, STELE_CLOSED_SHUTDOWN);
        else if (generation != pool->generation)
            stele__slot_retire_locked(pool, slot, STELE_CLOSED_GENERATION);
        else
            stele__slot_offer_locked(pool, slot, now);
    }
    stele__pool_connect_locked(pool);
    (void)pthread_cond_broadcast(&pool->connect_cond);
}

static void *connector(void *arg)
{
    stele__pool *pool = arg;
    stele__pool_lock(pool);
    size_t self = 0;
    while (!pthread_equal(pool->connectors[self].id, pthread_self()))
        self++;
    while (!pool->closing) {
        if (!may_connect(pool))
            continue;
        stele__slot *slot = queue_pop(pool);
        if (is_needed(pool)) {
            connect_one(pool, slot);
        } else {
            pool->connecting--;
            stele__slot_free_locked(pool, slot);
        }
    }
    queue_clear(pool);
    pool->connectors[self].ended = true;
    (void)pthread_cond_broadcast(&pool->calm);
    stele__pool_unref_unlock(pool);
    return NULL;
}

/* A thread for each attempt that may run at once; they stay for the next. */
static bool start_connectors(stele__pool *pool)
{
    uint32_t wanted = pool->connecting < STELE__CONNECTORS ? pool->connecting : STELE__CONNECTORS;
    for (uint32_t i = 0; i < wanted; i++) {
        stele__thread *thread = &pool->connectors[i];
        if (thread->started)
            continue;
        if (!stele__pool_start_thread(&thread->id, connector, pool, false))
            return i > 0;
        thread->started = true;
        pool->refs++;
    }
    return true;
}

static uint32_t wanted_links(const stele__pool *pool)
{
    uint32_t want = pool->waiting;
    uint32_t min_idle = pool->config.rules.min_idle;
    if (want + pool->idle_count < min_idle && !is_hopeless(pool))
        want = min_idle - pool->idle_count;
    return want > pool->connecting ? want - pool->connecting : 0;
}

void stele__pool_connect_locked(stele__pool *pool)
{
    if (pool->closing)
        return;
    uint32_t want = wanted_links(pool);
    if (want == 0)
        return;
    if (pool->failures > 0)
        want = pool->connecting > 0 ? 0 : 1; /* one prober */
    for (stele__slot *slot; want > 0 && (slot = stele__slot_reserve_locked(pool)) != NULL; want--)
        queue_push(pool, slot);
    if (start_connectors(pool)) {
        (void)pthread_cond_broadcast(&pool->connect_cond);
        return;
    }
    queue_clear(pool);
    (void)stele__fail(&pool->last_error, STELE_E_NOMEM, "cannot start a thread to connect with");
    if (pool->in_use == 0)
        stele__pool_fail_waiters_locked(pool, STELE_E_NOMEM);
}
