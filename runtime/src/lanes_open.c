/**
 * Lanes opened and closed.
 *
 * Floor: lanes.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>

#include "lanes_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define LANES_MAX 1024
#define LATE_MS 100 /* how often a `run` that is late is told so */

/* ---- opening ---- */

static stele_status fill_options(const stele_lanes_options *given, stele_lanes_options *ret,
                                 stele_error *err)
{
    if (given == NULL || given->run == NULL)
        return stele__fail(err, STELE_E_INPUT, "options or options.run is NULL");
    if (given->size != sizeof *given) {
        (void)stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(err,
                          "start from: stele_lanes_options options = STELE_LANES_OPTIONS_INIT;");
        return STELE_E_INPUT;
    }
    if (given->lanes > LANES_MAX)
        return stele__fail(err, STELE_E_INPUT, "more than %d lanes", LANES_MAX);
    if (given->when_full < STELE_WHEN_FULL_BLOCK || given->when_full > STELE_WHEN_FULL_RUN_HERE)
        return stele__fail(err, STELE_E_INPUT, "when_full is no choice of its enum");
    *ret = *given;
    ret->lanes = ret->lanes > 0 ? ret->lanes : 4;
    ret->max_items = ret->max_items > 0 ? ret->max_items : 1000;
    ret->max_bytes = ret->max_bytes > 0 ? ret->max_bytes : 16u << 20;
    ret->batch_items = ret->batch_items > 0 ? ret->batch_items : 1;
    ret->batch_bytes = ret->batch_bytes > 0 ? ret->batch_bytes : 1u << 20;
    return STELE_OK;
}

/* A lane with a ring's array is one whose locks were made. */
static bool init_lane(stele_lanes *lanes, uint32_t index)
{
    stele__lane *l = &lanes->lanes[index];
    l->all = lanes;
    l->index = index;
    if (pthread_mutex_init(&l->lock, NULL) != 0)
        return false;
    if (!stele__cond_init(&l->work) || !stele__cond_init(&l->changed))
        return false;
    l->batch = stele__calloc(lanes->options.batch_items, sizeof *l->batch);
    return l->batch != NULL;
}

static bool start(stele__lane *l)
{
    sigset_t all;
    sigset_t kept;
    /* Signals are the application's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &kept);
    l->has_thread = pthread_create(&l->thread, NULL, stele__lane_thread, l) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &kept, NULL);
    return l->has_thread;
}

static void free_lanes(stele_lanes *lanes)
{
    for (uint32_t i = 0; i < lanes->options.lanes; i++) {
        stele__lane *l = &lanes->lanes[i];
        if (l->has_thread)
            (void)pthread_join(l->thread, NULL);
        stele__free(l->ring);
        if (l->batch == NULL)
            continue;
        stele__free(l->batch);
        (void)pthread_cond_destroy(&l->work);
        (void)pthread_cond_destroy(&l->changed);
        (void)pthread_mutex_destroy(&l->lock);
    }
    stele__free(lanes);
}

static void stop(stele__lane *l, bool abandon)
{
    (void)pthread_mutex_lock(&l->lock);
    l->closing = true;
    l->abandoned = l->abandoned || abandon;
    (void)pthread_cond_broadcast(&l->work);
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
}

stele_status stele_lanes_open(const stele_lanes_options *options, stele_lanes **ret_lanes,
                              stele_error *err)
{
    stele_lanes_options chosen;
    if (ret_lanes == NULL)
        return stele__fail(err, STELE_E_INPUT, "ret_lanes is NULL");
    stele_status st = fill_options(options, &chosen, err);
    if (st != STELE_OK)
        return st;
    stele_lanes *lanes = stele__calloc(1, sizeof *lanes + chosen.lanes * sizeof(stele__lane));
    if (lanes == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for lanes");
    stele__fork_watch();
    lanes->options = chosen;
    lanes->fork_epoch = stele__fork_epoch;
    (void)stele__copy_text(lanes->name, sizeof lanes->name,
                           chosen.name != NULL ? chosen.name : "stele-lane");
    lanes->options.name = lanes->name;
    bool made = true;
    for (uint32_t i = 0; i < chosen.lanes && made; i++)
        made = init_lane(lanes, i);
    for (uint32_t i = 0; i < chosen.lanes && made; i++)
        made = start(&lanes->lanes[i]);
    if (!made) {
        for (uint32_t i = 0; i < chosen.lanes && lanes->lanes[i].batch != NULL; i++)
            stop(&lanes->lanes[i], true);
        free_lanes(lanes);
        return stele__fail(err, STELE_E_NOMEM, "cannot start the threads of %u lanes",
                           chosen.lanes);
    }
    *ret_lanes = lanes;
    return STELE_OK;
}

/* ---- closing ---- */

/* Waits until a lane has come to rest; false at the deadline. */
static bool wait_for_rest(stele__lane *l, stele__deadline deadline)
{
    (void)pthread_mutex_lock(&l->lock);
    while ((!l->ended || l->running || l->callers > 0) && (uint64_t)stele__now_ns() < deadline)
        (void)stele__cond_wait(&l->changed, &l->lock, deadline);
    bool rests = l->ended && !l->running && l->callers == 0;
    (void)pthread_mutex_unlock(&l->lock);
    return rests;
}

/* Nothing more is begun; what is under way is told to end, until it has. False if it was told. */
static bool abandon_all(stele_lanes *lanes)
{
    const stele_lanes_options *options = &lanes->options;
    bool in_time = true;
    for (uint32_t i = 0; i < options->lanes; i++)
        stop(&lanes->lanes[i], true);
    for (uint32_t i = 0; i < options->lanes; i++) {
        /* A lane without a batch under way needs but a moment to see that it is over. */
        uint32_t patience_ms = in_time ? 1 : LATE_MS;
        while (!wait_for_rest(&lanes->lanes[i], stele__deadline_in(patience_ms))) {
            in_time = false;
            patience_ms = LATE_MS;
            if (options->on_late != NULL)
                options->on_late(options->user);
        }
    }
    return in_time;
}

static size_t hand_back(stele_lanes *lanes, stele_lanes_undone_fn on_undone, void *user)
{
    size_t left = 0;
    for (uint32_t i = 0; i < lanes->options.lanes; i++) {
        stele__lane *l = &lanes->lanes[i];
        for (; l->count > 0; left++) {
            stele__lane_slot next = stele__lane_pop(l);
            if (on_undone != NULL)
                on_undone(next.item, user);
        }
    }
    return left;
}

stele_status stele_lanes_close(stele_lanes *lanes, uint32_t deadline_ms,
                               stele_lanes_undone_fn on_undone, void *user, stele_error *err)
{
    if (lanes == NULL)
        return STELE_OK;
    stele_status st = stele__lanes_check_fork(lanes, err);
    if (st != STELE_OK)
        return st;
    if (stele__lanes_run_me(lanes))
        return stele__fail(err, STELE_E_MISUSE, "lanes closed in a call of their own");
    stele__deadline deadline = stele__deadline_in(deadline_ms);
    bool in_time = true;
    for (uint32_t i = 0; i < lanes->options.lanes; i++)
        stop(&lanes->lanes[i], false);
    for (uint32_t i = 0; i < lanes->options.lanes; i++)
        in_time = wait_for_rest(&lanes->lanes[i], deadline) && in_time;
    if (!in_time)
        in_time = abandon_all(lanes);
    size_t left = hand_back(lanes, on_undone, user);
    free_lanes(lanes);
    if (left > 0)
        return stele__fail(err, STELE_E_TIMEOUT, "%zu items were left undone", left);
    if (!in_time)
        return stele__fail(err, STELE_E_TIMEOUT, "what was under way ended after the deadline");
    return STELE_OK;
}
