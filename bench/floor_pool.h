/**
 * A pool as one writes it by hand: a mutex, a condition variable, a stack of connections.
 */
#ifndef STELE_BENCH_FLOOR_POOL_H
#define STELE_BENCH_FLOOR_POOL_H

#include <pthread.h>

#include "harness.h"

typedef struct floor_slot {
    PGconn *pg;
    uint64_t born_ns;
    uint64_t idle_since_ns;
    uint64_t generation;
    void *extra; /* what the user of the pool keeps with a connection */
} floor_slot;

typedef struct floor_pool {
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    floor_slot **idle; /* the last is taken first */
    int idle_count;
    int size;
    uint64_t generation; /* raised when all connections are to be replaced */
    floor_slot *slots;
} floor_pool;

void floor_pool_open(floor_pool *pool, const bench_run *run);
void floor_pool_close(floor_pool *pool);

/** Takes and gives back, and looks at nothing. */
floor_slot *floor_pool_take(floor_pool *pool);
void floor_pool_give(floor_pool *pool, floor_slot *slot);

/**
 * Looks, as Stele's pool does: at the deadline while waiting; whether the connection is too old, too
 * long idle, hung up (poll) or in another time zone; and, when it comes back, whether it is alive,
 * outside of a transaction, of the present generation and young enough.
 */
floor_slot *floor_pool_take_checked(floor_pool *pool);
void floor_pool_give_checked(floor_pool *pool, floor_slot *slot);

#endif
