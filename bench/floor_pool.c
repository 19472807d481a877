#include "floor_pool.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)
#define ACQUIRE_TIMEOUT (30 * SECOND)
#define MAX_LIFETIME (1800 * SECOND)
#define MAX_IDLE (600 * SECOND)
#define PING_AFTER SECOND

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

void floor_pool_open(floor_pool *pool, const bench_run *run)
{
    pthread_condattr_t monotonic;
    memset(pool, 0, sizeof *pool);
    if (pthread_mutex_init(&pool->mutex, NULL) != 0 || pthread_condattr_init(&monotonic) != 0 ||
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&pool->freed, &monotonic) != 0)
        bench_die("pool", "cannot be made");
    pool->size = run->connections;
    pool->slots = bench_alloc((size_t)pool->size * sizeof *pool->slots);
    pool->idle = bench_alloc((size_t)pool->size * sizeof(floor_slot *));
    for (int i = 0; i < pool->size; i++) {
        pool->slots[i].pg = bench_connect(run);
        pool->slots[i].born_ns = now_ns();
        pool->slots[i].idle_since_ns = pool->slots[i].born_ns;
        pool->idle[pool->idle_count++] = &pool->slots[i];
    }
}

void floor_pool_close(floor_pool *pool)
{
    for (int i = 0; i < pool->size; i++)
        PQfinish(pool->slots[i].pg);
    (void)pthread_cond_destroy(&pool->freed);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->idle);
    free(pool->slots);
}

/* ---- plain ---- */

floor_slot *floor_pool_take(floor_pool *pool)
{
    (void)pthread_mutex_lock(&pool->mutex);
    while (pool->idle_count == 0)
        (void)pthread_cond_wait(&pool->freed, &pool->mutex);
    floor_slot *slot = pool->idle[--pool->idle_count];
    (void)pthread_mutex_unlock(&pool->mutex);
    return slot;
}

void floor_pool_give(floor_pool *pool, floor_slot *slot)
{
    (void)pthread_mutex_lock(&pool->mutex);
    pool->idle[pool->idle_count++] = slot;
    (void)pthread_cond_signal(&pool->freed);
    (void)pthread_mutex_unlock(&pool->mutex);
}

/* ---- checked ---- */

/* This pool never meets a bad connection in a benchmark: it has to look, not to mend. */
static void unfit(const char *why)
{
    bench_die("a connection of the pool", why);
}

static bool is_alive(PGconn *pg)
{
    struct pollfd fd = {.fd = PQsocket(pg), .events = POLLIN};
    if (poll(&fd, 1, 0) == 0)
        return PQstatus(pg) == CONNECTION_OK;
    return PQconsumeInput(pg) && PQconsumeInput(pg) && PQstatus(pg) == CONNECTION_OK;
}

static void check_taken(const floor_slot *slot, uint64_t now)
{
    if (now - slot->born_ns > MAX_LIFETIME)
        unfit("too old");
    if (now > slot->idle_since_ns && now - slot->idle_since_ns > MAX_IDLE)
        unfit("idle for too long");
    if (!is_alive(slot->pg))
        unfit("dead");
    if (now > slot->idle_since_ns && now - slot->idle_since_ns > PING_AFTER) {
        PQclear(PQexec(slot->pg, ""));
        if (PQstatus(slot->pg) != CONNECTION_OK)
            unfit("dead");
    }
    const char *zone = PQparameterStatus(slot->pg, "TimeZone");
    if (zone == NULL || strcmp(zone, "UTC") != 0)
        unfit("in another time zone");
}

floor_slot *floor_pool_take_checked(floor_pool *pool)
{
    uint64_t now = now_ns();
    uint64_t deadline = now + ACQUIRE_TIMEOUT;
    const struct timespec until = {.tv_sec = (time_t)(deadline / SECOND),
                                   .tv_nsec = (long)(deadline % SECOND)};
    (void)pthread_mutex_lock(&pool->mutex);
    while (pool->idle_count == 0)
        if (pthread_cond_timedwait(&pool->freed, &pool->mutex, &until) == ETIMEDOUT)
            unfit("none came free in time");
    floor_slot *slot = pool->idle[--pool->idle_count];
    (void)pthread_mutex_unlock(&pool->mutex);
    check_taken(slot, now);
    return slot;
}

void floor_pool_give_checked(floor_pool *pool, floor_slot *slot)
{
    if (PQstatus(slot->pg) != CONNECTION_OK)
        unfit("dead");
    if (PQtransactionStatus(slot->pg) != PQTRANS_IDLE)
        unfit("in a transaction");
    uint64_t now = now_ns();
    if (now - slot->born_ns > MAX_LIFETIME)
        unfit("too old");
    slot->idle_since_ns = now;
    (void)pthread_mutex_lock(&pool->mutex);
    if (slot->generation != pool->generation)
        unfit("of an older generation");
    pool->idle[pool->idle_count++] = slot;
    (void)pthread_cond_signal(&pool->freed);
    (void)pthread_mutex_unlock(&pool->mutex);
}
