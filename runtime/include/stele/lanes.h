/**
 * Lanes: worker threads behind bounded queues, which keep what has the same key in order.
 *
 *     static void deliver(uint32_t lane, void *const *letters, size_t count, void *user);
 *
 *     stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
 *     options.run = deliver;
 *     options.user = mailer;
 *     if (stele_lanes_open(&options, &lanes, &err) != STELE_OK) …
 *     if (stele_lanes_put(lanes, to, strlen(to), letter, sizeof *letter, 1000, &err) != STELE_OK) …
 *
 * A lane is one thread and one queue. A key always has the same lane, and a lane runs one batch at
 * a time, in the order of putting: so do the items of a key. Items are pointers of the caller's,
 * which lanes never look into.
 *
 * Floor: lanes.
 */
#ifndef STELE_LANES_H
#define STELE_LANES_H

#include "stele/latency.h"
#include "stele/status.h"

STELE_BEGIN_DECLS

typedef struct stele_lanes stele_lanes;

/** What putting does when the lane has no room. */
typedef enum stele_when_full {
    STELE_WHEN_FULL_BLOCK = 0, /* wait for room, until the deadline: STELE_E_TIMEOUT */
    STELE_WHEN_FULL_REJECT,    /* STELE_E_BUSY at once */
    /* Work: the caller takes the lane's turn as soon as the batch under way has ended, and runs
     * what is before its item, and its item, in its own thread. The order of each key is kept. */
    STELE_WHEN_FULL_RUN_HERE
} stele_when_full;

/**
 * Does the work of `count` items of a lane, at least one, in order. The lane goes on when it
 * returns.
 *
 * Called by the lane's thread, or one that puts (STELE_WHEN_FULL_RUN_HERE); never by two at once
 * for one lane. It may put: when its own lane is full then, the answer is STELE_E_BUSY whatever
 * `when_full` says, as it would wait for itself. It must not flush or close (STELE_E_MISUSE).
 */
typedef void (*stele_lane_fn)(uint32_t lane, void *const *items, size_t count, void *user);

/** Options; 0 takes the default in brackets. */
typedef struct stele_lanes_options {
    size_t size;        /* set by STELE_LANES_OPTIONS_INIT */
    uint32_t lanes;     /* [4] at most 1024 */
    uint32_t max_items; /* [1000] that wait in one lane; those that run do not count */
    uint64_t max_bytes; /* [16 MiB] the same, as said when putting; a larger item waits alone */
    stele_when_full when_full;
    /* How items are gathered: a batch ends with so many items, or the first that makes it so many
     * bytes, or when its first item has waited so long. Closing, flushing and a full lane wait for
     * nobody to come. */
    uint32_t batch_items; /* [1] */
    uint64_t batch_bytes; /* [1 MiB] */
    uint32_t linger_us;   /* [0] */
    const char *name;     /* [stele-lane] of the threads; its first 15 bytes count */
    stele_lane_fn run;    /* required */
    /* Closing: its deadline has passed, and `run` has not returned. Called by the thread that
     * closes, again every 100 ms until it has; it should make `run` give up. May be NULL. */
    void (*on_late)(void *user);
    void *user;
} stele_lanes_options;

#ifdef __cplusplus
}
static inline stele_lanes_options stele_lanes_options_init(void)
{
    stele_lanes_options options = stele_lanes_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_LANES_OPTIONS_INIT stele_lanes_options_init()
#else
#define STELE_LANES_OPTIONS_INIT                                                                   \
    {                                                                                              \
        .size = sizeof(stele_lanes_options)                                                        \
    }
#endif

/** Counters since the lanes were opened, and gauges, of all lanes together. */
typedef struct stele_lane_stats {
    uint32_t lanes;
    uint32_t running; /* lanes whose `run` is under way */
    uint64_t waiting; /* items now, without those that run */
    uint64_t waiting_bytes;
    uint64_t most_waiting; /* items, in the lane that had most */
    uint64_t put;
    uint64_t done;     /* items whose `run` has returned */
    uint64_t batches;  /* calls of `run` */
    uint64_t ran_here; /* of these, by threads that put */
    uint64_t blocked;  /* puts that had to wait */
    uint64_t blocked_ns;
    uint64_t rejected;  /* puts refused for want of room, at once or at their deadline */
    uint64_t run_ns;    /* total time spent in `run` */
    stele_latency wait; /* items, by the time from putting to the beginning of `run` */
} stele_lane_stats;

/**
 * Opens lanes, and starts their threads, which block all signals.
 *
 * Owns:    the caller: stele_lanes_close().
 * Errors:  STELE_E_INPUT, STELE_E_NOMEM (threads that cannot be started, too).
 * Threads: all functions but close may be called by any thread at any time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_lanes_open(const stele_lanes_options *options,
                                                         stele_lanes **ret_lanes, stele_error *err);

/**
 * Puts an item into the lane of its key. `key` NULL: no order is wanted, the lanes take turns.
 *
 * `bytes` is what the item counts for, against `max_bytes` and `batch_bytes`. `deadline_ms` bounds
 * the wait for room, or for the turn of STELE_WHEN_FULL_RUN_HERE; 0: none.
 *
 * Owns:   the lanes, on success, until `run` or `on_undone` has got the item; the caller otherwise.
 * Errors: STELE_E_TIMEOUT, STELE_E_BUSY, STELE_E_CLOSED, STELE_E_FORKED, STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_lanes_put(stele_lanes *lanes, const void *key,
                                                        size_t key_len, void *item, size_t bytes,
                                                        uint32_t deadline_ms, stele_error *err);

/**
 * Waits until all that was put before into the lane of a key, or into all lanes (`key` NULL), has
 * run.
 *
 * `deadline_ms` 0: none. Nobody lingers meanwhile.
 *
 * Errors: STELE_E_TIMEOUT; STELE_E_CLOSED when closing left some of it undone; STELE_E_FORKED;
 *         STELE_E_MISUSE in a call of `run`.
 */
STELE_API STELE_MUST_CHECK stele_status stele_lanes_flush(stele_lanes *lanes, const void *key,
                                                          size_t key_len, uint32_t deadline_ms,
                                                          stele_error *err);

/** A snapshot of the numbers. */
STELE_API void stele_lanes_stats(const stele_lanes *lanes, stele_lane_stats *ret_stats);

/** Gets back an item that was put and never run. Called by the thread that closes. */
typedef void (*stele_lanes_undone_fn)(void *item, void *user);

/**
 * Ends the lanes. What waits still runs, for `deadline_ms` (0: no more than what is under way);
 * then the rest goes to `on_undone` (NULL: dropped), lane by lane in order. A `run` under way is
 * waited for however long it takes, see `on_late`. No other call may follow; those that wait in
 * other threads end with STELE_E_CLOSED. NULL is ignored.
 *
 * Errors: STELE_E_TIMEOUT when items were left undone, or a `run` was late: closed all the same.
 *         STELE_E_FORKED in a child process, which has no such threads: its memory is left alone.
 *         STELE_E_MISUSE in a call of `run`: nothing was done.
 */
STELE_API stele_status stele_lanes_close(stele_lanes *lanes, uint32_t deadline_ms,
                                         stele_lanes_undone_fn on_undone, void *user,
                                         stele_error *err);

STELE_END_DECLS

#endif
