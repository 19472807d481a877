/*
 * Lanes: what they refuse, and the end at any time.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lanes_internal.h"
#include "lanes_util.h"

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
        assert_ok(stele_lanes_close(w.lanes, 60000, NULL, NULL, &err));
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

static int late; /* calls of on_late */

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
    late = 0;
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

/* Who waits for the lane; nobody may begin to after it was closed. */
static uint32_t callers_of(stele__lane *lane)
{
    (void)pthread_mutex_lock(&lane->lock);
    uint32_t callers = lane->callers;
    (void)pthread_mutex_unlock(&lane->lock);
    return callers;
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
    while (callers_of(&lanes->lanes[0]) < 2)
        (void)sched_yield();
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
        uint64_t moment = (uint64_t)(i * 37 % 100) * 3; /* in items that were run */
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
        time_t deadline = time(NULL) + 60;
        while (__atomic_load_n(&c.run, __ATOMIC_RELAXED) < moment &&
               __atomic_load_n(&producers_done, __ATOMIC_RELAXED) < PRODUCERS) {
            assert_true(time(NULL) < deadline);
            (void)sched_yield();
        }
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
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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
    assert_ok(stele_lanes_close(lanes, 60000, NULL, NULL, &err));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
