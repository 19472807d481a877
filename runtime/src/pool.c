/**
 * Opening a pool, looking at it, and its last breath.
 *
 * Floor: pool.
 */
#define _GNU_SOURCE
#include "pool_internal.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "latency_internal.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

uint64_t stele__pool_random_locked(stele__pool *pool, uint64_t below)
{
    /* xorshift64*: only jitter hangs on it */
    pool->jitter ^= pool->jitter >> 12;
    pool->jitter ^= pool->jitter << 25;
    pool->jitter ^= pool->jitter >> 27;
    return below > 0 ? pool->jitter * 0x2545f4914f6cdd1du % below : 0;
}

bool stele__pool_start_thread(pthread_t *ret_id, void *(*run)(void *), void *arg, bool detached)
{
    pthread_attr_t attr;
    sigset_t all;
    sigset_t kept;
    if (pthread_attr_init(&attr) != 0)
        return false;
    if (detached)
        (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Signals are the application's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &kept);
    int failed = pthread_create(ret_id, &attr, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &kept, NULL);
    (void)pthread_attr_destroy(&attr);
    return failed == 0;
}

stele_status stele__pool_check_fork(const stele__pool *pool, stele_error *err)
{
    if (!stele__pool_is_foreign(pool))
        return STELE_OK;
    stele_status st =
        stele__fail(err, STELE_E_FORKED, "the database handle was opened before a fork");
    stele__error_hint(err, "open another in the child; this one may only be closed");
    return st;
}

/* ---- opening and freeing ---- */

static bool init_sync(stele__pool *pool)
{
    return pthread_mutex_init(&pool->mutex, NULL) == 0 && stele__cond_init(&pool->calm) &&
           stele__cond_init(&pool->connect_cond);
}

static void free_pool(stele__pool *pool)
{
    while (pool->free_leases != NULL) {
        stele__lease *lease = pool->free_leases;
        pool->free_leases = lease->next;
        stele__free(lease);
    }
    if (pool->wake_fd >= 0)
        (void)close(pool->wake_fd);
    (void)pthread_cond_destroy(&pool->connect_cond);
    (void)pthread_cond_destroy(&pool->calm);
    (void)pthread_mutex_destroy(&pool->mutex);
    stele__free(pool->slots);
    stele__free(pool->poll_fds);
    stele__free(pool->last_handle);
    stele__conninfo_release(&pool->config.conninfo);
    stele__free(pool);
}

void stele__pool_unref_unlock(stele__pool *pool)
{
    bool last = --pool->refs == 0 && pool->out == 0;
    stele__pool_unlock(pool);
    if (last)
        free_pool(pool);
}

static stele__pool *new_pool(const stele__pool_config *config)
{
    uint32_t max = config->rules.max_connections;
    stele__pool *pool = stele__calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->config = *config;
    pool->config.conninfo = (stele__conninfo){0}; /* the caller's until all is well */
    pool->slots = stele__calloc(max, sizeof *pool->slots);
    pool->poll_fds = stele__calloc((size_t)max + 1, sizeof *pool->poll_fds);
    pool->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!init_sync(pool) || pool->slots == NULL || pool->poll_fds == NULL || pool->wake_fd < 0) {
        free_pool(pool);
        return NULL;
    }
    pool->fork_epoch = stele__fork_epoch;
    pool->handles = 1;
    pool->refs = 1;
    pool->generation = 1;
    pool->stats.max = max;
    /* Different in each pool and process, never 0. */
    pool->jitter = ((uint64_t)stele__now_ns() ^ (uint64_t)(uintptr_t)pool) | 1;
    pool->jitter ^= (uint64_t)getpid() << 32;
    for (uint32_t i = max; i > 0; i--) {
        stele__slot *slot = &pool->slots[i - 1];
        slot->watch_fd = -1;
        slot->next = pool->free_slots;
        pool->free_slots = slot;
    }
    stele__pool_set_ops(pool);
    return pool;
}

static void set_params(stele__pool *pool, const stele__pool_config *config)
{
    pool->params = (stele__link_params){
        .keys = config->conninfo.keys,
        .on_notice = config->on_notice,
        .notice_user = config->hook_user,
        .statement_cache = config->statement_cache,
        .unnamed = config->unnamed,
        .generic = config->generic,
        .settings = config->conninfo.settings,
    };
}

/* The first connection is made by the caller, so that its errors are told at once. */
static stele_status connect_first(stele__pool *pool, stele_error *err)
{
    stele__link *link = NULL;
    uint64_t start = (uint64_t)stele__now_ns();
    stele_status st = stele__pool_open_link(pool, &pool->first_host, &link, err);
    if (st != STELE_OK)
        return st;
    uint64_t now = (uint64_t)stele__now_ns();
    stele__pool_lock(pool);
    stele__slot *slot = stele__slot_reserve_locked(pool);
    slot->state = STELE__SLOT_CONNECTING;
    slot->generation = pool->generation;
    stele__slot_connected_locked(pool, slot, link, now);
    stele__latency_add(&pool->stats.create, now - start);
    stele__slot_offer_locked(pool, slot, now);
    stele__pool_unlock(pool);
    return STELE_OK;
}

stele_status stele__pool_open(const stele__pool_config *config, stele__pool **ret_pool,
                              stele_error *err)
{
    stele__fork_watch();
    stele__pool *pool = new_pool(config);
    if (pool == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory or descriptors for a pool of %u",
                           config->rules.max_connections);
    set_params(pool, config);
    pool->config.conninfo = config->conninfo;
    stele_status st = connect_first(pool, err);
    if (st != STELE_OK) {
        pool->config.conninfo = (stele__conninfo){0};
        free_pool(pool);
        return st;
    }
    stele__pool_lock(pool);
    pool->keeper.started =
        stele__pool_start_thread(&pool->keeper.id, stele__pool_keeper, pool, false);
    pool->refs += pool->keeper.started ? 1 : 0;
    stele__pool_unlock(pool);
    if (!pool->keeper.started) {
        stele__link_close(pool->idle->link);
        pool->config.conninfo = (stele__conninfo){0};
        free_pool(pool);
        return stele__fail(err, STELE_E_NOMEM, "cannot start the thread that keeps the pool");
    }
    *ret_pool = pool;
    return STELE_OK;
}

/* ---- looking and resetting ---- */

void stele__pool_stats(stele__pool *pool, stele_pool_stats *ret_stats)
{
    memset(ret_stats, 0, sizeof *ret_stats);
    if (stele__pool_is_foreign(pool))
        return;
    stele__pool_lock(pool);
    *ret_stats = pool->stats;
    /* Who did not queue is counted as acquired, and only so: an acquire has no time for more. */
    uint64_t at_once = pool->stats.acquired - pool->acquired_late;
    ret_stats->wait.count += at_once;
    ret_stats->wait.buckets[0] += at_once;
    ret_stats->in_use = pool->in_use;
    ret_stats->idle = pool->idle_count;
    ret_stats->open = pool->in_use + pool->idle_count;
    ret_stats->connecting = pool->connecting;
    ret_stats->waiting = pool->waiting;
    stele__pool_unlock(pool);
}

void stele__pool_reset(stele__pool *pool)
{
    if (stele__pool_is_foreign(pool))
        return;
    stele__pool_lock(pool);
    stele__pool_bump_locked(pool);
    stele__pool_connect_locked(pool);
    stele__pool_unlock(pool);
}
