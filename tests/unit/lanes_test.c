/*
 * Lanes: order, bounds, batches.
 */
#include "lanes_util.h"

#include "../support/latency.h"

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
    assert_ok(stele_lanes_flush(lanes, NULL, 0, 60000, &err));
    assert_int_equal(__atomic_load_n(&c.run, __ATOMIC_RELAXED), PRODUCERS * EACH);
    assert_int_equal(__atomic_load_n(&c.broken, __ATOMIC_RELAXED), 0);
    stele_lanes_stats(lanes, &stats);
    assert_int_equal(stats.put, PRODUCERS * EACH);
    assert_int_equal(stats.done, PRODUCERS * EACH);
    assert_int_equal(stats.wait.count, PRODUCERS * EACH);
    (void)slower_than(&stats.wait, 50);
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.waiting_bytes, 0);
    if (when_full == STELE_WHEN_FULL_RUN_HERE)
        assert_true(stats.most_waiting <= max_items + PRODUCERS);
    else
        assert_true(stats.most_waiting <= max_items);
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(put(lanes, 3, 60000));
    stele_lanes_stats(lanes, &stats);
    assert_true(stats.blocked >= 1);
    assert_true(stats.blocked_ns >= 30 * 1000000);
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(put(lanes, 3, 60000));
    assert_int_equal(pthread_join(opener, NULL), 0);
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(stele_lanes_flush(lanes, "key", 3, 60000, &err));
    assert_int_equal(seen.batch_count, 1);
    assert_int_equal(seen.batches[0], 5);
    /* A flush, and closing, wait for nobody to come. */
    assert_ok(put(lanes, 5, 0));
    assert_ok(put(lanes, 6, 0));
    assert_ok(stele_lanes_flush(lanes, NULL, 0, 60000, &err));
    assert_int_equal(seen.batches[1], 2);
    assert_ok(put(lanes, 7, 0));
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
}

/* ---- numbers ---- */

static void waiting_counts_by_its_time(void **state)
{
    (void)state;
    stele_lanes *lanes = fill(STELE_WHEN_FULL_BLOCK);
    stele_lanes_stats(lanes, &stats);
    assert_int_equal(stats.wait.count, 1); /* the one at the gate did not wait */
    int64_t began = stele__now_ns();
    while (stele__now_ns() - began <= 20 * 1000000)
        assert_int_equal(put(lanes, 3, 5), STELE_E_TIMEOUT);
    set_gate(true);
    assert_ok(stele_lanes_flush(lanes, NULL, 0, 60000, &err));
    stele_lanes_stats(lanes, &stats);
    assert_int_equal(stats.wait.count, 3); /* nor is one there that was refused */
    assert_in_range(slower_than(&stats.wait, 20), 2, 3);
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
}

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
        LANES(waiting_counts_by_its_time),
    };
    return RUN(tests);
}
