/**
 * The inside of lanes: a ring of items each, and who has the turn.
 *
 * Whoever runs a batch holds the lane's turn (`running`); all else is under the lane's lock.
 * `changed` wakes who waits for room, for the turn, for a flush or for the end; `work` wakes the
 * lane's thread.
 *
 * Floor: lanes.
 */
#ifndef STELE_LANES_INTERNAL_H
#define STELE_LANES_INTERNAL_H

#include <pthread.h>

#include "cond.h"
#include "link.h"
#include "stele/lanes.h"

typedef struct stele__lane_slot {
    void *item;
    size_t bytes;
    uint64_t put_ns;
} stele__lane_slot;

typedef struct stele__lane {
    stele_lanes *all;
    uint32_t index;
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t work;
    pthread_cond_t changed;
    stele__lane_slot *ring;
    size_t capacity;
    size_t head;
    size_t count;
    uint64_t bytes;
    void **batch; /* of who has the turn */
    uint64_t put; /* items, ever */
    uint64_t taken;
    uint64_t done;
    uint64_t hurry; /* nobody lingers for items put before this many */
    bool running;
    pthread_t runner;
    bool closing;     /* nothing more is put */
    bool abandoned;   /* nothing more is run */
    bool ended;       /* the thread has */
    uint32_t callers; /* that wait for something here */
    uint32_t blocked; /* of these, for room or the turn */
    stele_lane_stats stats;
} stele__lane;

struct stele_lanes {
    stele_lanes_options options; /* without zeros where a default applies */
    char name[16];
    uint32_t fork_epoch;
    uint32_t turn; /* of items without a key; atomic */
    stele__lane lanes[];
};

/** Takes the first item off the ring, which has one. */
stele__lane_slot stele__lane_pop(stele__lane *l);

/** The thread of a lane: its argument is the lane. */
void *stele__lane_thread(void *arg);

/** True if the thread that asks runs a batch of one of them. */
bool stele__lanes_run_me(stele_lanes *lanes);

/** STELE_E_FORKED in a child process. */
stele_status stele__lanes_check_fork(const stele_lanes *lanes, stele_error *err);

#endif
