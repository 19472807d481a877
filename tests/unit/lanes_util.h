/*
 * What the tests of lanes share: a handler that notes what it gets, and may wait at a gate; and a
 * crowd of producers whose handler checks the order of each key.
 */
#ifndef STELE_TESTS_LANES_UTIL_H
#define STELE_TESTS_LANES_UTIL_H

#include <pthread.h>

#include "stele/lanes.h"
#include "text_internal.h"
#include "unit.h"

extern stele_error err;
extern stele_lane_stats stats;

#define assert_ok(expression) assert_int_equal((expression), STELE_OK)

/* ---- a gate that the handler waits at ---- */

extern pthread_mutex_t lock;
extern pthread_cond_t changed;
extern bool gate_open;

void set_gate(bool open);

/* Waits until so many handlers have come to the gate. */
void wait_for_inside(int count);

/* ---- what was run ---- */

#define SEEN_MAX 1024

typedef struct record {
    int items[SEEN_MAX];
    size_t batches[SEEN_MAX];
    size_t item_count;
    size_t batch_count;
    bool gated;
} record;

extern record seen;
extern int numbers[SEEN_MAX];

/* cmocka setup: all as at the start. */
int reset(void **state);

/* Options of a handler that writes to `seen`. */
stele_lanes_options noting(uint32_t lanes);

stele_lanes *open_lanes(const stele_lanes_options *options);

/* Puts numbers[item] under one key. */
stele_status put(stele_lanes *lanes, int item, uint32_t deadline_ms);

/* Exactly the items 0, 1, 2, … were run. */
void assert_in_order(size_t count);

/* ---- a crowd ---- */

#define PRODUCERS 6
#define KEYS 5
#define EACH 4000

typedef struct stamp {
    uint32_t key;
    uint32_t seq;
} stamp;

typedef struct crowd {
    uint32_t last[PRODUCERS * KEYS]; /* each key belongs to one lane, so to one thread at a time */
    uint64_t broken;                 /* atomic */
    uint64_t run;                    /* atomic */
} crowd;

typedef struct producer {
    pthread_t thread;
    stele_lanes *lanes;
    uint32_t index;
    stamp *stamps;
    uint64_t put;
} producer;

extern bool stop_producing;     /* atomic */
extern uint32_t producers_done; /* atomic */

/* A handler: `user` is a crowd. */
void check_order(uint32_t lane, void *const *items, size_t count, void *user);

void start_producers(producer *producers, stele_lanes *lanes);

/* Items that were put. */
uint64_t join_producers(producer *producers);
void free_stamps(producer *producers);

#define LANES(test) cmocka_unit_test_setup(test, reset)

#endif
