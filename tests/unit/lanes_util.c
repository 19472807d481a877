#include "lanes_util.h"

stele_error err;
stele_lane_stats stats;

/* ---- a gate that a handler waits at ---- */

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
bool gate_open;
static int inside; /* handlers that wait at the gate */

void set_gate(bool open)
{
    (void)pthread_mutex_lock(&lock);
    gate_open = open;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

void wait_for_inside(int count)
{
    (void)pthread_mutex_lock(&lock);
    while (inside < count)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- what was run ---- */

record seen;

static void note(uint32_t lane, void *const *items, size_t count, void *user)
{
    record *r = user;
    (void)lane;
    (void)pthread_mutex_lock(&lock);
    inside++;
    (void)pthread_cond_broadcast(&changed);
    while (r->gated && !gate_open)
        (void)pthread_cond_wait(&changed, &lock);
    inside--;
    for (size_t i = 0; i < count; i++) {
        r->items[r->item_count++] = *(const int *)items[i];
    }
    r->batches[r->batch_count++] = count;
    (void)pthread_mutex_unlock(&lock);
}

int numbers[SEEN_MAX];

int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    gate_open = false;
    inside = 0;
    for (int i = 0; i < SEEN_MAX; i++)
        numbers[i] = i;
    return 0;
}

stele_lanes_options noting(uint32_t lanes)
{
    stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
    options.lanes = lanes;
    options.run = note;
    options.user = &seen;
    return options;
}

stele_lanes *open_lanes(const stele_lanes_options *options)
{
    stele_lanes *lanes = NULL;
    assert_ok(stele_lanes_open(options, &lanes, &err));
    return lanes;
}

stele_status put(stele_lanes *lanes, int item, uint32_t deadline_ms)
{
    return stele_lanes_put(lanes, "key", 3, &numbers[item], 10, deadline_ms, &err);
}

void assert_in_order(size_t count)
{
    assert_int_equal(seen.item_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(seen.items[i], i);
}

/* ---- a crowd ---- */

void check_order(uint32_t lane, void *const *items, size_t count, void *user)
{
    crowd *c = user;
    (void)lane;
    for (size_t i = 0; i < count; i++) {
        const stamp *one = items[i];
        if (one->seq != c->last[one->key] + 1)
            (void)__atomic_fetch_add(&c->broken, 1, __ATOMIC_RELAXED);
        c->last[one->key] = one->seq;
    }
    (void)__atomic_fetch_add(&c->run, count, __ATOMIC_RELAXED);
}

bool stop_producing; /* atomic */
uint32_t producers_done;

static void *produce(void *arg)
{
    producer *p = arg;
    stele_error why;
    for (uint32_t i = 0; i < EACH && !__atomic_load_n(&stop_producing, __ATOMIC_RELAXED); i++) {
        stamp *one = &p->stamps[i];
        one->key = p->index * KEYS + i % KEYS;
        one->seq = i / KEYS + 1;
        if (stele_lanes_put(p->lanes, &one->key, sizeof one->key, one, 8, 0, &why) != STELE_OK)
            break;
        p->put++;
    }
    __atomic_add_fetch(&producers_done, 1, __ATOMIC_RELAXED);
    return NULL;
}

void start_producers(producer *producers, stele_lanes *lanes)
{
    __atomic_store_n(&producers_done, 0, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (producer){.lanes = lanes, .index = i};
        producers[i].stamps = calloc(EACH, sizeof(stamp));
        assert_non_null(producers[i].stamps);
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
}

uint64_t join_producers(producer *producers)
{
    uint64_t sum = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
        sum += producers[i].put;
    }
    return sum;
}

void free_stamps(producer *producers)
{
    for (int i = 0; i < PRODUCERS; i++)
        free(producers[i].stamps);
}
