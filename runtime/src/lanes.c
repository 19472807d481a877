/**
 * Lanes at work: items are put, gathered, run and waited for.
 *
 * Floor: lanes.
 */
#define _GNU_SOURCE
#include <string.h>

#include "lanes_internal.h"
#include "latency_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

static uint64_t now_ns(void)
{
    return (uint64_t)stele__now_ns();
}

static stele__deadline deadline_of(uint32_t ms)
{
    return ms > 0 ? stele__deadline_in(ms) : STELE__NEVER;
}

/* ---- the ring ---- */

static bool has_room(const stele__lane *l, size_t bytes)
{
    const stele_lanes_options *options = &l->all->options;
    if (l->count == 0)
        return true;
    return l->count < options->max_items && bytes <= options->max_bytes &&
           l->bytes <= options->max_bytes - bytes;
}

static bool grow(stele__lane *l)
{
    size_t capacity = l->capacity > 0 ? 2 * l->capacity : 64;
    stele__lane_slot *ring = stele__realloc_array(NULL, capacity, sizeof *ring);
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < l->count; i++)
        ring[i] = l->ring[(l->head + i) & (l->capacity - 1)];
    stele__free(l->ring);
    l->ring = ring;
    l->capacity = capacity;
    l->head = 0;
    return true;
}

static bool push(stele__lane *l, void *item, size_t bytes)
{
    if (l->count == l->capacity && !grow(l))
        return false;
    l->ring[(l->head + l->count) & (l->capacity - 1)] = (stele__lane_slot){item, bytes, now_ns()};
    l->count++;
    l->bytes += bytes;
    l->put++;
    if (l->count > l->stats.most_waiting)
        l->stats.most_waiting = l->count;
    return true;
}

stele__lane_slot stele__lane_pop(stele__lane *l)
{
    stele__lane_slot first = l->ring[l->head];
    l->head = (l->head + 1) & (l->capacity - 1);
    l->count--;
    l->bytes -= first.bytes;
    return first;
}

/* Takes the next batch off the ring. */
static size_t gather(stele__lane *l)
{
    const stele_lanes_options *options = &l->all->options;
    uint64_t now = now_ns();
    uint64_t bytes = 0;
    size_t n = 0;
    while (l->count > 0 && n < options->batch_items && bytes < options->batch_bytes) {
        stele__lane_slot next = stele__lane_pop(l);
        bytes += next.bytes;
        stele__latency_add(&l->stats.wait, now - next.put_ns);
        l->batch[n++] = next.item;
    }
    l->taken += n;
    return n;
}

/* ---- turns ---- */

/* Whether the first batch need not wait for more; else when it must not wait any longer. */
static bool is_ripe(const stele__lane *l, stele__deadline *ret_until)
{
    const stele_lanes_options *options = &l->all->options;
    if (l->closing || l->blocked > 0 || l->taken < l->hurry || l->count >= options->batch_items ||
        l->bytes >= options->batch_bytes || options->linger_us == 0)
        return true;
    *ret_until = l->ring[l->head].put_ns + (uint64_t)options->linger_us * 1000u;
    return now_ns() >= *ret_until;
}

/* Runs a batch; the lock is held, and given back meanwhile. Nobody has the turn. */
static void take_turn(stele__lane *l, bool here)
{
    const stele_lanes_options *options = &l->all->options;
    size_t n = gather(l);
    l->running = true;
    l->runner = pthread_self();
    if (l->blocked > 0)
        (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
    uint64_t began = now_ns();
    options->run(l->index, l->batch, n, options->user);
    uint64_t took = now_ns() - began;
    (void)pthread_mutex_lock(&l->lock);
    l->running = false;
    l->done += n;
    l->stats.run_ns += took;
    l->stats.batches++;
    l->stats.ran_here += here;
    if (l->callers > 0 || l->closing)
        (void)pthread_cond_broadcast(&l->changed);
    if (here)
        (void)pthread_cond_signal(&l->work);
}

void *stele__lane_thread(void *arg)
{
    stele__lane *l = arg;
    (void)pthread_setname_np(pthread_self(), l->all->name);
    (void)pthread_mutex_lock(&l->lock);
    while (!l->abandoned && !(l->closing && l->count == 0)) {
        stele__deadline until = STELE__NEVER;
        if (l->count > 0 && !l->running && is_ripe(l, &until))
            take_turn(l, false);
        else
            (void)stele__cond_wait(&l->work, &l->lock, until);
    }
    l->ended = true;
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
    return NULL;
}

static bool has_my_turn(const stele__lane *l)
{
    return l->running && pthread_equal(l->runner, pthread_self()) != 0;
}

/* ---- putting ---- */

static stele_status closed(stele_error *err)
{
    return stele__fail(err, STELE_E_CLOSED, "closed, or being closed");
}

static stele_status full(stele__lane *l, stele_status status, const char *what, stele_error *err)
{
    l->stats.rejected++;
    (void)stele__fail(err, status, "%s: %zu items of %llu bytes wait in the lane of the key", what,
                      l->count, (unsigned long long)l->bytes);
    stele__error_hint(err, "put less at once, or allow for more: max_items, max_bytes, lanes");
    return status;
}

/* Waits for room, or as well for the turn; the lock is held. */
static stele_status wait_for_room(stele__lane *l, size_t bytes, stele__deadline deadline,
                                  bool turn_will_do, stele_error *err)
{
    uint64_t began = now_ns();
    l->callers++;
    l->blocked++;
    l->stats.blocked++;
    (void)pthread_cond_signal(&l->work); /* no more lingering */
    while (!l->closing && !has_room(l, bytes) && !(turn_will_do && !l->running) &&
           now_ns() < deadline)
        (void)stele__cond_wait(&l->changed, &l->lock, deadline);
    l->stats.blocked_ns += now_ns() - began;
    l->blocked--;
    l->callers--;
    if (l->closing) {
        (void)pthread_cond_broadcast(&l->changed);
        return closed(err);
    }
    if (has_room(l, bytes) || (turn_will_do && !l->running))
        return STELE_OK;
    return full(l, STELE_E_TIMEOUT, "no room before the deadline", err);
}

static stele_status make_room(stele__lane *l, size_t bytes, uint32_t deadline_ms, stele_error *err)
{
    stele_when_full when_full = l->all->options.when_full;
    if (has_room(l, bytes))
        return STELE_OK;
    if (when_full == STELE_WHEN_FULL_REJECT)
        return full(l, STELE_E_BUSY, "no room", err);
    if (has_my_turn(l))
        return full(l, STELE_E_BUSY, "no room, and who runs the lane cannot wait for it", err);
    return wait_for_room(l, bytes, deadline_of(deadline_ms), when_full == STELE_WHEN_FULL_RUN_HERE,
                         err);
}

/* There was no room but the turn was free: this thread runs all up to the item it has put. */
static void work_off(stele__lane *l)
{
    uint64_t mine = l->put;
    l->callers++;
    while (l->done < mine && !l->abandoned && !l->running)
        take_turn(l, true);
    l->callers--;
    if (l->closing)
        (void)pthread_cond_broadcast(&l->changed);
}

static stele_status put_locked(stele__lane *l, void *item, size_t bytes, uint32_t deadline_ms,
                               stele_error *err)
{
    const stele_lanes_options *options = &l->all->options;
    if (l->closing)
        return closed(err);
    stele_status st = make_room(l, bytes, deadline_ms, err);
    if (st != STELE_OK)
        return st;
    bool over = !has_room(l, bytes);
    bool was_empty = l->count == 0;
    bool was_ripe = l->count >= options->batch_items || l->bytes >= options->batch_bytes;
    if (!push(l, item, bytes))
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a lane");
    bool ripe = l->count >= options->batch_items || l->bytes >= options->batch_bytes;
    if (over)
        work_off(l);
    else if (was_empty || (ripe && !was_ripe))
        (void)pthread_cond_signal(&l->work);
    return STELE_OK;
}

stele_status stele__lanes_check_fork(const stele_lanes *lanes, stele_error *err)
{
    if (lanes->fork_epoch == stele__fork_epoch)
        return STELE_OK;
    return stele__fail(err, STELE_E_FORKED, "the lanes were opened before a fork");
}

static stele__lane *lane_of(stele_lanes *lanes, const void *key, size_t key_len)
{
    uint64_t hash = key != NULL ? stele__hash64(0, key, key_len)
                                : __atomic_fetch_add(&lanes->turn, 1, __ATOMIC_RELAXED);
    return &lanes->lanes[hash % lanes->options.lanes];
}

stele_status stele_lanes_put(stele_lanes *lanes, const void *key, size_t key_len, void *item,
                             size_t bytes, uint32_t deadline_ms, stele_error *err)
{
    stele_status st = stele__lanes_check_fork(lanes, err);
    if (st != STELE_OK)
        return st;
    stele__lane *l = lane_of(lanes, key, key_len);
    (void)pthread_mutex_lock(&l->lock);
    st = put_locked(l, item, bytes, deadline_ms, err);
    (void)pthread_mutex_unlock(&l->lock);
    return st;
}

/* ---- flushing ---- */

bool stele__lanes_run_me(stele_lanes *lanes)
{
    bool mine = false;
    for (uint32_t i = 0; i < lanes->options.lanes && !mine; i++) {
        (void)pthread_mutex_lock(&lanes->lanes[i].lock);
        mine = has_my_turn(&lanes->lanes[i]);
        (void)pthread_mutex_unlock(&lanes->lanes[i].lock);
    }
    return mine;
}

/* From here on nobody lingers for what is there; answers how far that is. */
static uint64_t hurry(stele__lane *l)
{
    (void)pthread_mutex_lock(&l->lock);
    uint64_t target = l->put;
    l->hurry = target;
    (void)pthread_cond_signal(&l->work);
    (void)pthread_mutex_unlock(&l->lock);
    return target;
}

static stele_status wait_for_done(stele__lane *l, uint64_t target, stele__deadline deadline,
                                  stele_error *err)
{
    (void)pthread_mutex_lock(&l->lock);
    l->callers++;
    while (l->done < target && !(l->abandoned && !l->running) && now_ns() < deadline)
        (void)stele__cond_wait(&l->changed, &l->lock, deadline);
    bool done = l->done >= target;
    bool abandoned = l->abandoned;
    uint64_t left = target - l->done;
    l->callers--;
    if (l->closing)
        (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
    if (done)
        return STELE_OK;
    if (abandoned)
        return closed(err);
    return stele__fail(err, STELE_E_TIMEOUT, "%llu items of a lane were not done at the deadline",
                       (unsigned long long)left);
}

static stele_status flush_all(stele_lanes *lanes, stele__deadline deadline, stele_error *err)
{
    uint32_t count = lanes->options.lanes;
    stele_status st = STELE_OK;
    uint64_t *targets = stele__calloc(count, sizeof *targets);
    if (targets == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a flush");
    for (uint32_t i = 0; i < count; i++)
        targets[i] = hurry(&lanes->lanes[i]);
    for (uint32_t i = 0; i < count && st == STELE_OK; i++)
        st = wait_for_done(&lanes->lanes[i], targets[i], deadline, err);
    stele__free(targets);
    return st;
}

stele_status stele_lanes_flush(stele_lanes *lanes, const void *key, size_t key_len,
                               uint32_t deadline_ms, stele_error *err)
{
    stele_status st = stele__lanes_check_fork(lanes, err);
    if (st != STELE_OK)
        return st;
    if (stele__lanes_run_me(lanes))
        return stele__fail(err, STELE_E_MISUSE, "a flush in a call of its own lanes");
    stele__deadline deadline = deadline_of(deadline_ms);
    if (key == NULL)
        return flush_all(lanes, deadline, err);
    stele__lane *l = lane_of(lanes, key, key_len);
    return wait_for_done(l, hurry(l), deadline, err);
}

/* ---- numbers ---- */

void stele_lanes_stats(const stele_lanes *lanes, stele_lane_stats *ret_stats)
{
    stele_lanes *own = (stele_lanes *)(uintptr_t)lanes; /* to lock them */
    memset(ret_stats, 0, sizeof *ret_stats);
    ret_stats->lanes = lanes->options.lanes;
    for (uint32_t i = 0; i < lanes->options.lanes; i++) {
        stele__lane *l = &own->lanes[i];
        (void)pthread_mutex_lock(&l->lock);
        ret_stats->running += l->running;
        ret_stats->waiting += l->count;
        ret_stats->waiting_bytes += l->bytes;
        if (l->stats.most_waiting > ret_stats->most_waiting)
            ret_stats->most_waiting = l->stats.most_waiting;
        ret_stats->put += l->put;
        ret_stats->done += l->done;
        ret_stats->batches += l->stats.batches;
        ret_stats->ran_here += l->stats.ran_here;
        ret_stats->blocked += l->stats.blocked;
        ret_stats->blocked_ns += l->stats.blocked_ns;
        ret_stats->rejected += l->stats.rejected;
        ret_stats->run_ns += l->stats.run_ns;
        stele__latency_join(&ret_stats->wait, &l->stats.wait);
        (void)pthread_mutex_unlock(&l->lock);
    }
}
