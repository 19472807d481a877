/*
 * Lanes: order, bounds, batches, and the end at any time.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stele/lanes.h"
#include "text_internal.h"
#include "unit.h"

static stele_error err;
static stele_lane_stats stats;

#define assert_ok(expression) assert_int_equal((expression), STELE_OK)

/* ---- a gate that a handler waits at ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int inside; /* handlers that wait at the gate */
static int late;   /* calls of on_late */

static void set_gate(bool open)
{
    (void)pthread_mutex_lock(&lock);
    gate_open = open;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void wait_for_inside(int count)
{
    (void)pthread_mutex_lock(&lock);
    while (inside < count)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
}

/* ---- what was run ---- */

#define SEEN_MAX 1024

typedef struct record {
    int items[SEEN_MAX];
    size_t batches[SEEN_MAX];
    pthread_t by[SEEN_MAX];
    size_t item_count;
    size_t batch_count;
    bool gated;
} record;

static record seen;

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
        r->by[r->item_count] = pthread_self();
        r->items[r->item_count++] = *(const int *)items[i];
    }
    r->batches[r->batch_count++] = count;
    (void)pthread_mutex_unlock(&lock);
}

static int numbers[SEEN_MAX];

static int reset(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    gate_open = false;
    inside = 0;
    late = 0;
    for (int i = 0; i < SEEN_MAX; i++)
        numbers[i] = i;
    return 0;
}

static stele_lanes_options noting(uint32_t lanes)
{
    stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
    options.lanes = lanes;
    options.run = note;
    options.user = &seen;
    return options;
}

static stele_lanes *open_lanes(const stele_lanes_options *options)
{
    stele_lanes *lanes = NULL;
    assert_ok(stele_lanes_open(options, &lanes, &err));
    return lanes;
}

static stele_status put(stele_lanes *lanes, int item, uint32_t deadline_ms)
{
    return stele_lanes_put(lanes, "key", 3, &numbers[item], 10, deadline_ms, &err);
}

static void assert_in_order(size_t count)
{
    assert_int_equal(seen.item_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(seen.items[i], i);
}

/* ---- order ---- */

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

static void check_order(uint32_t lane, void *const *items, size_t count, void *user)
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

static bool stop_producing; /* atomic */

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
    return NULL;
}

static void start_producers(producer *producers, stele_lanes *lanes)
{
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (producer){.lanes = lanes, .index = i};
        producers[i].stamps = calloc(EACH, sizeof(stamp));
        assert_non_null(producers[i].stamps);
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
}

static uint64_t join_producers(producer *producers)
{
    uint64_t sum = 0;
    for (int i = 0; i < PRODUCERS; i++) {
        assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
        sum += producers[i].put;
    }
    return sum;
}

static void free_stamps(producer *producers)
{
    for (int i = 0; i < PRODUCERS; i++)
        free(producers[i].stamps);
}

static void run_crowd(stele_when_full when_full, uint32_t max_items, uint32_t batch)
{
    crowd c = {0};
    producer producers[PRODUCERS];
    stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
    options.lanes = 3;
    options.max_items = max_items;
    options.batch_items = batch;
    options.when_full = when_full;
    options.run = check_order;
    options.user = &c;
    stele_lanes *lanes = open_lanes(&options);
    start_producers(producers, lanes);
    assert_int_equal(join_producers(producers), PRODUCERS * EACH);
    assert_ok(stele_lanes_flush(lanes, NULL, 0, 10000, &err));
    assert_int_equal(__atomic_load_n(&c.run, __ATOMIC_RELAXED), PRODUCERS * EACH);
    assert_int_equal(__atomic_load_n(&c.broken, __ATOMIC_RELAXED), 0);
    stele_lanes_stats(lanes, &stats);
    assert_int_equal(stats.put, PRODUCERS * EACH);
    assert_int_equal(stats.done, PRODUCERS * EACH);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.waiting_bytes, 0);
    if (when_full == STELE_WHEN_FULL_RUN_HERE)
        assert_true(stats.most_waiting <= max_items + PRODUCERS);
    else
        assert_true(stats.most_waiting <= max_items);
    assert_ok(stele_lanes_close(lanes, 1000, NULL, NULL, &err));
    free_stamps(producers);
}

static void each_key_keeps_its_order(void **state)
{
    (void)state;
    run_crowd(STELE_WHEN_FULL_BLOCK, 7, 1);
    run_crowd(STELE_WHEN_FULL_BLOCK, 100, 16);
}

static void who_puts_and_works_keeps_the_order_too(void **state)
{
    (void)state;
    run_crowd(STELE_WHEN_FULL_RUN_HERE, 2, 1);
    run_crowd(STELE_WHEN_FULL_RUN_HERE, 5, 3);
    assert_true(stats.ran_here > 0);
}

static void items_without_a_key_take_turns(void **state)
{
    (void)state;
    stele_lanes_options options = noting(4);
    seen.gated = true;
    stele_lanes *lanes = open_lanes(&options);
    for (int i = 0; i < 4; i++)
        assert_ok(stele_lanes_put(lanes, NULL, 0, &numbers[i], 1, 0, &err));
    wait_for_inside(4); /* all at once: each has a lane of its own */
    set_gate(true);
    assert_ok(stele_lanes_close(lanes, 1000, NULL, NULL, &err));
    assert_int_equal(seen.item_count, 4);
}

/* ---- bounds ---- */

/* A lane with room for two, its thread at the gate with item 0, and items 1 and 2 waiting. */
static stele_lanes *fill(stele_when_full when_full)
{
    stele_lanes_options options = noting(1);
    options.max_items = 2;
    options.when_full = when_full;
    seen.gated = true;
    stele_lanes *lanes = open_lanes(&options);
    assert_ok(put(lanes, 0, 0));
    wait_for_inside(1);
    assert_ok(put(lanes, 1, 0));
    assert_ok(put(lanes, 2, 0));
    return lanes;
}

static void a_full_lane_rejects(void **state)
{
    (void)state;
    stele_lanes *lanes = fill(STELE_WHEN_FULL_REJECT);
    assert_int_equal(put(lanes, 3, 0), STELE_E_BUSY);
    assert_non_null(strstr(err.message, "2 items of 20 bytes"));
    assert_non_null(strstr(err.hint, "max_items"));
    set_gate(true);
    assert_ok(stele_lanes_flush(lanes, "key", 3, 0, &err));
    assert_ok(put(lanes, 3, 0));
    stele_lanes_stats(lanes, &stats);
    assert_int_equal(stats.rejected, 1);
    assert_ok(stele_lanes_close(lanes, 1000, NULL, NULL, &err));
    assert_in_order(4);
}

static void a_full_lane_blocks_until_the_deadline(void **state)
{
    (void)state;
    stele_lanes *lanes = fill(STELE_WHEN_FULL_BLOCK);
    int64_t began = stele__now_ns();
    assert_int_equal(put(lanes, 3, 30), STELE_E_TIMEOUT);
    assert_true(stele__now_ns() - began >= 30 * 1000000);
    set_gate(true);
    assert_ok(put(lanes, 3, 10000));
    stele_lanes_stats(lanes, &stats);
    assert_true(stats.blocked >= 1);
    assert_true(stats.blocked_ns >= 30 * 1000000);
    assert_ok(stele_lanes_close(lanes, 1000, NULL, NULL, &err));
    assert_in_order(4);
}

static void bytes_are_bounded_too(void **state)
{
    (void)state;
    stele_lanes_options options = noting(1);
    options.max_bytes = 100;
    options.when_full = STELE_WHEN_FULL_REJECT;
    seen.gated = true;
    stele_lanes *lanes = open_lanes(&options);
    assert_ok(put(lanes, 0, 0));
    wait_for_inside(1);
    assert_ok(stele_lanes_put(lanes, "key", 3, &numbers[1], 90, 0, &err));
    assert_ok(stele_lanes_put(lanes, "key", 3, &numbers[2], 10, 0, &err));
    assert_int_equal(stele_lanes_put(lanes, "key", 3, &numbers[3], 1, 0, &err), STELE_E_BUSY);
    set_gate(true);
    assert_ok(stele_lanes_flush(lanes, NULL, 0, 0, &err));
    /* Larger than all the room there is: alone. */
    set_gate(false);
    assert_ok(stele_lanes_put(lanes, "key", 3, &numbers[3], SIZE_MAX, 0, &err));
    wait_for_inside(1);
    assert_ok(stele_lanes_put(lanes, "key", 3, &numbers[4], 101, 0, &err));
    assert_int_equal(stele_lanes_put(lanes, "key", 3, &numbers[5], 0, 0, &err), STELE_E_BUSY);
    set_gate(true);
    assert_ok(stele_lanes_close(lanes, 1000, NULL, NULL, &err));
    assert_in_order(5);
}

static void *open_gate_when_blocked(void *arg)
{
    stele_lane_stats now;
    do
        stele_lanes_stats(arg, &now);
    while (now.blocked == 0);
    set_gate(true);
    return NULL;
}

/* It waits for the batch under way, then runs what is before its item, and its item. */
static void who_puts_into_a_full_lane_works(void **state)
{
    (void)state;
    pthread_t opener;
    stele_lanes *lanes = fill(STELE_WHEN_FULL_RUN_HERE);
    assert_int_equal(put(lanes, 3, 20), STELE_E_TIMEOUT); /* the turn is taken */
    assert_int_equal(pthread_create(&opener, NULL, open_gate_when_blocked, lanes), 0);
    assert_ok(put(lanes, 3, 10000));
    assert_int_equal(pthread_join(opener, NULL), 0);
    assert_ok(stele_lanes_close(lanes, 1000, NULL, NULL, &err));
    assert_in_order(4);
}

/* ---- batches ---- */

static void items_are_gathered(void **state)
{
    (void)state;
    stele_lanes_options options = noting(1);
    options.linger_us = 60u * 1000000u; /* nobody waits so long: a full batch goes at once */
    options.batch_items = 5;
    stele_lanes *lanes = open_lanes(&options);
    for (int i = 0; i < 5; i++)
        assert_ok(put(lanes, i, 0));
    assert_ok(stele_lanes_flush(lanes, "key", 3, 10000, &err));
    assert_int_equal(seen.batch_count, 1);
    assert_int_equal(seen.batches[0], 5);
    /* A flush, and closing, wait for nobody to come. */
    assert_ok(put(lanes, 5, 0));
    assert_ok(put(lanes, 6, 0));
    assert_ok(stele_lanes_flush(lanes, NULL, 0, 10000, &err));
    assert_int_equal(seen.batches[1], 2);
    assert_ok(put(lanes, 7, 0));
    assert_ok(stele_lanes_close(lanes, 10000, NULL, NULL, &err));
    assert_int_equal(seen.batch_count, 3);
    assert_in_order(8);
}

static void bytes_end_a_batch(void **state)
{
    (void)state;
    stele_lanes_options options = noting(1);
    options.linger_us = 60u * 1000000u;
    options.batch_items = 100;
    options.batch_bytes = 25; /* the third item makes it so many */
    stele_lanes *lanes = open_lanes(&options);
    for (int i = 0; i < 3; i++)
        assert_ok(put(lanes, i, 0));
    while (stele_lanes_stats(lanes, &stats), stats.done < 3)
        ;
    assert_int_equal(seen.batches[0], 3);
    assert_ok(stele_lanes_close(lanes, 10000, NULL, NULL, &err));
}

static void a_lone_item_lingers_only_so_long(void **state)
{
    (void)state;
    stele_lanes_options options = noting(1);
    options.linger_us = 20000;
    options.batch_items = 100;
    stele_lanes *lanes = open_lanes(&options);
    int64_t began = stele__now_ns();
    assert_ok(put(lanes, 0, 0));
    while (stele_lanes_stats(lanes, &stats), stats.done < 1)
        ;
    assert_true(stele__now_ns() - began >= 20 * 1000000);
    assert_ok(stele_lanes_close(lanes, 10000, NULL, NULL, &err));
}

/* ---- inside a call of run ---- */

typedef struct within {
    stele_lanes *lanes;
    stele_status flush;
    stele_status close;
    stele_status put;
    int calls;
} within;

static void misbehave(uint32_t lane, void *const *items, size_t count, void *user)
{
    within *w = user;
    stele_error why;
    (void)lane;
    (void)items;
    (void)count;
    if (w->calls++ > 0)
        return;
    w->flush = stele_lanes_flush(w->lanes, NULL, 0, 0, &why);
    w->close = stele_lanes_close(w->lanes, 0, NULL, NULL, &why);
    while ((w->put = stele_lanes_put(w->lanes, "key", 3, w, 1, 0, &why)) == STELE_OK)
        ;
}

static void what_would_wait_for_itself_does_not(void **state)
{
    (void)state;
    for (int when = STELE_WHEN_FULL_BLOCK; when <= STELE_WHEN_FULL_RUN_HERE; when++) {
        within w = {0};
        stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
        options.lanes = 1;
        options.max_items = 3;
        options.when_full = (stele_when_full)when;
        options.run = misbehave;
        options.user = &w;
        w.lanes = open_lanes(&options);
        assert_ok(stele_lanes_put(w.lanes, "key", 3, &w, 1, 0, &err));
        while (stele_lanes_stats(w.lanes, &stats), stats.done < 4)
            ;
        assert_ok(stele_lanes_close(w.lanes, 10000, NULL, NULL, &err));
        assert_int_equal(w.flush, STELE_E_MISUSE);
        assert_int_equal(w.close, STELE_E_MISUSE);
        assert_int_equal(w.put, STELE_E_BUSY);
        assert_int_equal(w.calls, 4);
    }
}

/* ---- the end ---- */

typedef struct returned {
    int items[SEEN_MAX];
    size_t count;
} returned;

static void take_back(void *item, void *user)
{
    returned *r = user;
    r->items[r->count++] = *(const int *)item;
}

static void note_late(void *user)
{
    (void)user;
    (void)pthread_mutex_lock(&lock);
    late++;
    gate_open = true;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void what_was_not_done_comes_back(void **state)
{
    (void)state;
    returned back = {.count = 0};
    stele_lanes_options options = noting(1);
    options.on_late = note_late;
    seen.gated = true;
    stele_lanes *lanes = open_lanes(&options);
    for (int i = 0; i < 10; i++)
        assert_ok(put(lanes, i, 0));
    wait_for_inside(1);
    assert_int_equal(stele_lanes_close(lanes, 20, take_back, &back, &err), STELE_E_TIMEOUT);
    assert_non_null(strstr(err.message, "9 items"));
    assert_int_equal(late, 1);
    assert_in_order(1);
    assert_int_equal(back.count, 9);
    for (int i = 0; i < 9; i++)
        assert_int_equal(back.items[i], i + 1);
}

typedef struct waiter {
    pthread_t thread;
    stele_lanes *lanes;
    bool flushes;
    stele_status st;
} waiter;

static void *wait_for_lane(void *arg)
{
    waiter *w = arg;
    stele_error why;
    w->st = w->flushes ? stele_lanes_flush(w->lanes, NULL, 0, 0, &why)
                       : stele_lanes_put(w->lanes, "key", 3, &numbers[9], 1, 0, &why);
    return NULL;
}

static void who_waits_is_let_go_when_it_closes(void **state)
{
    (void)state;
    waiter waiters[2];
    stele_lanes_options options = noting(1);
    options.max_items = 2;
    options.on_late = note_late;
    seen.gated = true;
    stele_lanes *lanes = open_lanes(&options);
    assert_ok(put(lanes, 0, 0));
    wait_for_inside(1);
    assert_ok(put(lanes, 1, 0));
    assert_ok(put(lanes, 2, 0));
    for (int i = 0; i < 2; i++) {
        waiters[i] = (waiter){.lanes = lanes, .flushes = i == 1};
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_for_lane, &waiters[i]), 0);
    }
    while (stele_lanes_stats(lanes, &stats), stats.blocked == 0)
        ;
    assert_int_equal(stele_lanes_flush(lanes, NULL, 0, 10, &err), STELE_E_TIMEOUT);
    assert_int_equal(stele_lanes_close(lanes, 10, NULL, NULL, &err), STELE_E_TIMEOUT);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(waiters[i].thread, NULL), 0);
        assert_int_equal(waiters[i].st, STELE_E_CLOSED);
    }
}

static void count_back(void *item, void *user)
{
    (void)item;
    (*(uint64_t *)user)++;
}

/* At 100 moments, while items run and wait: each is run or comes back, once. */
static void it_closes_at_any_time(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        crowd c = {0};
        producer producers[PRODUCERS];
        uint64_t back = 0;
        const struct timespec moment = {.tv_nsec = i * 37 % 100 * 20000};
        stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
        options.max_items = 20;
        options.batch_items = (uint32_t)(i % 7 + 1);
        options.linger_us = i % 3 == 0 ? 100 : 0;
        options.when_full = (stele_when_full)(i % 3);
        options.run = check_order;
        options.user = &c;
        stele_lanes *lanes = open_lanes(&options);
        __atomic_store_n(&stop_producing, false, __ATOMIC_RELAXED);
        start_producers(producers, lanes);
        (void)nanosleep(&moment, NULL); /* the moment itself: nothing is waited for */
        __atomic_store_n(&stop_producing, true, __ATOMIC_RELAXED);
        uint64_t put_count = join_producers(producers); /* nobody may call what is closed */
        (void)stele_lanes_close(lanes, i % 4 == 0 ? 0 : 1000, count_back, &back, &err);
        assert_int_equal(c.run + back, put_count);
        assert_int_equal(c.broken, 0);
        free_stamps(producers);
    }
    __atomic_store_n(&stop_producing, false, __ATOMIC_RELAXED);
}

static void a_child_has_no_lanes(void **state)
{
    (void)state;
    int status = -1;
    stele_lanes_options options = noting(2);
    stele_lanes *lanes = open_lanes(&options);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool right = put(lanes, 0, 0) == STELE_E_FORKED &&
                     stele_lanes_flush(lanes, NULL, 0, 0, &err) == STELE_E_FORKED &&
                     stele_lanes_close(lanes, 0, NULL, NULL, &err) == STELE_E_FORKED;
        _exit(right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_ok(put(lanes, 0, 0));
    assert_ok(stele_lanes_close(lanes, 10000, NULL, NULL, &err));
    assert_in_order(1);
}

/* ---- threads and options ---- */

static sigset_t blocked_signals;
static char thread_name[16];

static void look_around(uint32_t lane, void *const *items, size_t count, void *user)
{
    (void)lane;
    (void)items;
    (void)count;
    (void)user;
    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked_signals);
    (void)pthread_getname_np(pthread_self(), thread_name, sizeof thread_name);
}

static void threads_have_names_and_take_no_signals(void **state)
{
    (void)state;
    stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
    options.run = look_around;
    options.name = "a name that is too long";
    stele_lanes *lanes = open_lanes(&options);
    assert_ok(put(lanes, 0, 0));
    assert_ok(stele_lanes_close(lanes, 10000, NULL, NULL, &err));
    assert_string_equal(thread_name, "a name that is ");
    assert_int_equal(sigismember(&blocked_signals, SIGTERM), 1);
}

static void options_are_checked(void **state)
{
    (void)state;
    stele_lanes *lanes = NULL;
    stele_lanes_options options = noting(1);
    assert_int_equal(stele_lanes_open(NULL, &lanes, &err), STELE_E_INPUT);
    assert_int_equal(stele_lanes_open(&options, NULL, &err), STELE_E_INPUT);
    options.run = NULL;
    assert_int_equal(stele_lanes_open(&options, &lanes, &err), STELE_E_INPUT);
    options = noting(1025);
    assert_int_equal(stele_lanes_open(&options, &lanes, &err), STELE_E_INPUT);
    options = noting(1);
    options.when_full = (stele_when_full)3;
    assert_int_equal(stele_lanes_open(&options, &lanes, &err), STELE_E_INPUT);
    options = noting(1);
    options.size = 0;
    assert_int_equal(stele_lanes_open(&options, &lanes, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.hint, "STELE_LANES_OPTIONS_INIT"));
    assert_ok(stele_lanes_close(NULL, 0, NULL, NULL, &err));
}

#define LANES(test) cmocka_unit_test_setup(test, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LANES(each_key_keeps_its_order),
        LANES(who_puts_and_works_keeps_the_order_too),
        LANES(items_without_a_key_take_turns),
        LANES(a_full_lane_rejects),
        LANES(a_full_lane_blocks_until_the_deadline),
        LANES(bytes_are_bounded_too),
        LANES(who_puts_into_a_full_lane_works),
        LANES(items_are_gathered),
        LANES(bytes_end_a_batch),
        LANES(a_lone_item_lingers_only_so_long),
        LANES(what_would_wait_for_itself_does_not),
        LANES(what_was_not_done_comes_back),
        LANES(who_waits_is_let_go_when_it_closes),
        LANES(it_closes_at_any_time),
        LANES(a_child_has_no_lanes),
        LANES(threads_have_names_and_take_no_signals),
        LANES(options_are_checked),
    };
    return RUN(tests);
}
