/**
 * Listening for NOTIFY on one connection for all channels, and ringing without holding writers up.
 *
 *     static void on_change(const char *channel, const char *payload, bool rescan, void *user)
 *     {
 *         wake(user);                        look into the table: it knows what changed
 *     }
 *     if (stele_listener_open(db, NULL, &listener, &err) != STELE_OK) …
 *     if (stele_listener_subscribe(listener, "jobs", on_change, worker, &sub, &err) != STELE_OK) …
 *
 * A notification is a hint, never the data: it is lost while nobody is connected. So a subscriber
 * is told to look itself (`rescan`) each time the channel was registered anew: once after it
 * subscribed, and after each reconnection. Whatever was committed before that call is to be found
 * by looking; whatever is committed later is notified. This holds because registering goes in this
 * order: LISTEN, commit, a notification to oneself that has to come back, and only then the call.
 *
 * Standbys have no LISTEN, and poolers that hand out connections per transaction swallow it:
 * stele_listener_open() answers STELE_E_UNSUPPORTED there; poll instead.
 *
 * Floor: listen.
 */
#ifndef STELE_LISTEN_H
#define STELE_LISTEN_H

#include "stele/db.h"

STELE_BEGIN_DECLS

typedef struct stele_listener stele_listener;
typedef struct stele_subscription stele_subscription;
typedef struct stele_doorbell stele_doorbell;

/**
 * A notification, or with `rescan` the request to look: then `payload` is "". Texts end with the
 * call.
 *
 * Called by the listener's thread, one call at a time for all subscriptions: be quick, hand work
 * over to others. Subscribing and unsubscribing are allowed in it, closing the listener is not.
 */
typedef void (*stele_listen_fn)(const char *channel, const char *payload, bool rescan, void *user);

/** Options; 0 takes the default in brackets. Times are in milliseconds. */
typedef struct stele_listener_options {
    size_t size; /* set by STELE_LISTENER_OPTIONS_INIT */
    /* [10000] after so long without a word from the server it is asked for one */
    uint32_t idle_probe_ms;
    /* [5000] when an answer, or a notification to oneself, takes longer, it is given up */
    uint32_t probe_timeout_ms;
    /* [5000] random waits between attempts to reconnect: their bound doubles up to this */
    uint32_t reconnect_max_ms;
    /* Hooks, called by the listener's thread: the connection was lost, or an attempt failed; all
     * channels are registered again. They must not call the listener's functions. */
    void (*on_error)(const stele_error *err, void *user);
    void (*on_connect)(void *user);
    void *user;
} stele_listener_options;

#ifdef __cplusplus
}
static inline stele_listener_options stele_listener_options_init(void)
{
    stele_listener_options options = stele_listener_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_LISTENER_OPTIONS_INIT stele_listener_options_init()
#else
#define STELE_LISTENER_OPTIONS_INIT                                                                \
    {                                                                                              \
        .size = sizeof(stele_listener_options)                                                     \
    }
#endif

/** Counters since the listener was opened, and gauges. */
typedef struct stele_listen_stats {
    bool connected; /* connected, and the registration proven */
    uint32_t channels;
    uint32_t subscriptions;
    uint64_t connects; /* that went as far as that */
    uint64_t connect_errors;
    uint64_t losses;        /* connections that were lost or given up */
    uint64_t probes;        /* questions to an idle connection, and notifications to oneself */
    uint64_t probes_failed; /* that took longer than probe_timeout_ms, or failed */
    uint64_t notifications; /* received, but for those to oneself */
    uint64_t delivered;     /* calls with a notification */
    uint64_t rescans;       /* calls with `rescan` */
    uint64_t callback_ns;   /* total time spent in calls */
    uint64_t longest_callback_ns;
    stele_latency probe;  /* what `probes` counts and was answered, by its time; a proof that takes
                             two notifications is one */
    stele_latency outage; /* losses that were made good, by the time to the proven registration */
    uint64_t down_ms;     /* total time without a connection, the one under way included */
} stele_listen_stats;

/**
 * Opens a listener: connects on a connection of its own (none of the pool's), proves that
 * notifications arrive, and starts its thread. From then on it reconnects by itself. `options`
 * NULL: defaults.
 *
 * Owns:    the caller: stele_listener_close(). It keeps a handle of its own on the pool of `db`.
 * Errors:  STELE_E_UNSUPPORTED (a standby, a pooler that swallows LISTEN, a server without it),
 *          STELE_E_CONNECT, STELE_E_AUTH, STELE_E_TIMEOUT, STELE_E_INPUT, STELE_E_NOMEM,
 *          STELE_E_FORKED, STELE_E_CLOSED.
 * Threads: all functions but close may be called by any thread at any time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_listener_open(stele_db *db,
                                                            const stele_listener_options *options,
                                                            stele_listener **ret_listener,
                                                            stele_error *err);

/**
 * Calls `fn` for each notification on `channel`. Waits for nothing: the first call, with `rescan`,
 * tells that it is in force; if the server cannot be reached now, that call comes as soon as it
 * can.
 *
 * `channel` is 1 to 63 bytes, taken as it is: letters keep their case, as in NOTIFY "Jobs".
 *
 * Owns:   the caller: stele_listener_unsubscribe(), or stele_listener_close() ends all of them.
 * Errors: STELE_E_NAME, STELE_E_INPUT, STELE_E_NOMEM, STELE_E_FORKED.
 */
STELE_API STELE_MUST_CHECK stele_status stele_listener_subscribe(stele_listener *listener,
                                                                 const char *channel,
                                                                 stele_listen_fn fn, void *user,
                                                                 stele_subscription **ret_sub,
                                                                 stele_error *err);

/**
 * Ends a subscription and frees it. Does not return while its `fn` runs in the listener's thread,
 * so that `user` may be freed afterwards; called from within that `fn` it returns at once, and that
 * call is the last. NULL is ignored; in a forked child nothing happens.
 */
STELE_API void stele_listener_unsubscribe(stele_listener *listener, stele_subscription *sub);

/**
 * Waits until all channels subscribed to so far are registered, at most `deadline_ms`.
 *
 * Errors: STELE_E_TIMEOUT; STELE_E_FORKED; STELE_E_MISUSE in a call of the listener's thread.
 */
STELE_API STELE_MUST_CHECK stele_status stele_listener_wait(stele_listener *listener,
                                                            uint32_t deadline_ms, stele_error *err);

/** A snapshot of the numbers. */
STELE_API void stele_listener_stats(const stele_listener *listener, stele_listen_stats *ret_stats);

/**
 * Ends the listener and its subscriptions. No other call may follow. NULL is ignored.
 *
 * Errors: STELE_E_TIMEOUT when a call of a subscriber, or a connection attempt, had not ended after
 *         `deadline_ms`: it is closed all the same, and its thread frees what is left when that is
 *         over; a subscriber's `user` must live until its call has ended.
 *         STELE_E_FORKED in a child process: the parent's connection lives on.
 *         STELE_E_MISUSE in a call of the listener's thread: nothing was done.
 */
STELE_API stele_status stele_listener_close(stele_listener *listener, uint32_t deadline_ms,
                                            stele_error *err);

/* ---- doorbell ------------------------------------------------------------------------------- */

/** Counters since the doorbell was opened. */
typedef struct stele_bell_stats {
    bool connected;
    uint64_t rings;    /* calls of stele_doorbell_ring */
    uint64_t notifies; /* NOTIFY statements that the server took: many rings make one */
    uint64_t failures; /* attempts to connect or to notify that failed, and are made again */
    uint64_t connects;
} stele_bell_stats;

/**
 * Opens a doorbell: a connection and a thread that send NOTIFY `channel`, with an empty payload, on
 * behalf of all who ring, at most `per_second` times a second (0: 20).
 *
 * NOTIFY inside the transactions of writers makes them commit one after the other, on the whole
 * server. Ring after the commit instead: what listens finds all rows that are there.
 *
 * Owns:    the caller: stele_doorbell_close(). It keeps a handle of its own on the pool of `db`.
 * Errors:  STELE_E_NAME; STELE_E_UNSUPPORTED on a standby; otherwise as stele_listener_open().
 * Threads: all functions but close may be called by any thread at any time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_doorbell_open(stele_db *db, const char *channel,
                                                            uint32_t per_second,
                                                            stele_doorbell **ret_bell,
                                                            stele_error *err);

/**
 * Has a NOTIFY sent that begins after this call: at once after a quiet time, else with the next one
 * that is due. Never waits, for nothing and nobody. While the server is away the ring is kept, and
 * sent when it is back. Call it after COMMIT. NULL is ignored; in a forked child nothing happens.
 */
STELE_API void stele_doorbell_ring(stele_doorbell *bell);

/** A snapshot of the numbers. */
STELE_API void stele_doorbell_stats(const stele_doorbell *bell, stele_bell_stats *ret_stats);

/**
 * Sends what was rung and not sent yet, for at most `deadline_ms`, and ends the doorbell. No other
 * call may follow. NULL is ignored.
 *
 * Errors: STELE_E_TIMEOUT when a ring was not sent in that time: it is closed all the same.
 *         STELE_E_FORKED in a child process: the parent's connection lives on.
 */
STELE_API stele_status stele_doorbell_close(stele_doorbell *bell, uint32_t deadline_ms,
                                            stele_error *err);

STELE_END_DECLS

#endif
