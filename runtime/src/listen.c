/**
 * Listeners: options, the connection and its proof, the thread, numbers, and the end.
 *
 * Floor: listen.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "latency_internal.h"
#include "link_flow.h"
#include "listen_channels.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* ---- options ---- */

static stele_status fill_options(const stele_listener_options *given, stele_listener_options *ret,
                                 stele_error *err)
{
    static const stele_listener_options none = STELE_LISTENER_OPTIONS_INIT;
    if (given == NULL)
        given = &none;
    if (given->size != sizeof *given) {
        stele_status st = stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(
            err, "start from: stele_listener_options options = STELE_LISTENER_OPTIONS_INIT;");
        return st;
    }
    *ret = *given;
    if (ret->idle_probe_ms == 0)
        ret->idle_probe_ms = 10000;
    if (ret->probe_timeout_ms == 0)
        ret->probe_timeout_ms = 5000;
    if (ret->reconnect_max_ms == 0)
        ret->reconnect_max_ms = 5000;
    return STELE_OK;
}

/* ---- proving that notifications arrive ---- */

static stele_status swallowed(stele_error *err)
{
    stele_status st =
        stele__fail(err, STELE_E_UNSUPPORTED, "LISTEN is accepted, but no notification arrives");
    stele__error_hint(err, "a pooler between this program and the server hands connections out per "
                           "transaction: give the listener's handle a direct address, or poll");
    return st;
}

/* Waits for the notification that was sent last; `ret_pid` tells who sent it. */
static stele_status await_probe(stele_listener *listener, stele__deadline deadline, int *ret_pid,
                                stele_error *err)
{
    char wanted[24];
    stele__line *line = &listener->line;
    (void)snprintf(wanted, sizeof wanted, "%" PRIu64, listener->probe_count);
    for (;;) {
        stele__notification got;
        while (stele__link_next_notification(line->link, &got)) {
            bool is_it =
                strcmp(got.channel, listener->probe) == 0 && strcmp(got.payload, wanted) == 0;
            *ret_pid = got.backend_pid;
            stele__notification_release(&got);
            /* Others that come before it are no news: everyone is told to look afterwards. */
            if (is_it)
                return STELE_OK;
        }
        int ready = stele__link_wait_both(line->link, -1, deadline);
        if (ready == 0)
            return swallowed(err);
        if (!stele__flow_pull(line->link))
            return stele__link_lost(line->link, err);
    }
}

static void write_notify(stele_listener *listener, char *sql, size_t size)
{
    listener->probe_count++;
    (void)snprintf(sql, size, "NOTIFY %s, '%" PRIu64 "'", listener->probe, listener->probe_count);
}

/* From another session: behind a pooler only that shows that an idle connection is notified. */
static stele_status probe_from_elsewhere(stele_listener *listener, stele__deadline deadline,
                                         stele_error *err)
{
    char sql[96];
    int pid;
    struct pg_result *result = NULL;
    stele__link *other = NULL;
    size_t host = listener->line.first_host;
    stele_status st = stele__pool_open_link(listener->line.pool, &host, &other, err);
    if (st != STELE_OK)
        return st;
    write_notify(listener, sql, sizeof sql);
    const stele__step step = {.kind = STELE__STEP_SIMPLE, .sql = sql};
    st = stele__link_exchange(other, &step, 1, deadline, &result, NULL, err);
    stele__result_clear(result);
    stele__link_close(other);
    return st == STELE_OK ? await_probe(listener, deadline, &pid, err) : st;
}

static stele_status prove(stele_listener *listener, stele_error *err)
{
    char sql[96];
    int pid = 0;
    stele__deadline deadline = stele__deadline_in(listener->options.probe_timeout_ms);
    uint64_t began = (uint64_t)stele__now_ns();
    write_notify(listener, sql, sizeof sql);
    stele_status st =
        stele__line_run(&listener->line, sql, listener->options.probe_timeout_ms, NULL, err);
    if (st == STELE_OK)
        st = await_probe(listener, deadline, &pid, err);
    /* A pooler tells a number of its own for the server's process. */
    bool pooled = st == STELE_OK && pid != listener->line.link->backend_pid;
    if (pooled)
        st = probe_from_elsewhere(listener, deadline, err);
    stele__line_lock(&listener->line);
    listener->stats.probes += pooled ? 2 : 1;
    if (st == STELE_OK)
        stele__latency_add(&listener->stats.probe, (uint64_t)stele__now_ns() - began);
    else
        listener->stats.probes_failed++;
    stele__line_unlock(&listener->line);
    return st;
}

/* ---- the connection ---- */

/* Standbys refuse, and servers that have no LISTEN know neither feature nor syntax. */
static stele_status explain(stele_status st, stele_error *err)
{
    if (st != STELE_E_READ_ONLY && strcmp(err->sqlstate, "0A000") != 0 &&
        strcmp(err->sqlstate, "42601") != 0)
        return st;
    const stele_error cause = *err;
    st =
        stele__fail(err, STELE_E_UNSUPPORTED, "this server does not LISTEN: %.300s", cause.message);
    stele__error_hint(err, "a standby cannot: open the handle on the primary, or poll");
    return st;
}

static stele_status register_all(stele_listener *listener, stele_error *err)
{
    char sql[48];
    (void)snprintf(sql, sizeof sql, "LISTEN %s", listener->probe);
    stele_status st =
        stele__line_run(&listener->line, sql, listener->options.probe_timeout_ms, NULL, err);
    if (st != STELE_OK)
        return explain(st, err);
    st = stele__register_channels(listener, err);
    return st == STELE_OK ? prove(listener, err) : st;
}

static void note_connected(stele_listener *listener)
{
    uint64_t now = (uint64_t)stele__now_ns();
    listener->line.failures = 0;
    listener->heard_ns = now;
    stele__line_lock(&listener->line);
    listener->connected = true;
    listener->stats.connects++;
    if (listener->down_since_ns > 0) {
        stele__latency_add(&listener->stats.outage, now - listener->down_since_ns);
        listener->stats.down_ms += (now - listener->down_since_ns) / STELE__MS;
    }
    listener->down_since_ns = 0;
    (void)pthread_cond_broadcast(&listener->line.changed);
    stele__line_unlock(&listener->line);
}

static stele_status connect_and_prove(stele_listener *listener, stele_error *err)
{
    stele_status st = stele__line_connect(&listener->line, err);
    if (st != STELE_OK)
        return st;
    st = register_all(listener, err);
    if (st == STELE_OK) {
        note_connected(listener);
        return STELE_OK;
    }
    stele__line_hang_up(&listener->line);
    stele__forget_registration(listener);
    return st;
}

static bool is_closing(stele_listener *listener)
{
    stele__line_lock(&listener->line);
    bool closing = listener->line.closing;
    stele__line_unlock(&listener->line);
    return closing;
}

static void lost(stele_listener *listener, bool probe_failed, const stele_error *why)
{
    stele__line_hang_up(&listener->line);
    stele__forget_registration(listener);
    stele__line_back_off(&listener->line, listener->options.reconnect_max_ms);
    stele__line_lock(&listener->line);
    listener->connected = false;
    listener->down_since_ns = (uint64_t)stele__now_ns();
    listener->stats.losses++;
    if (probe_failed)
        listener->stats.probes_failed++;
    stele__line_unlock(&listener->line);
    if (listener->options.on_error != NULL && !is_closing(listener))
        listener->options.on_error(why, listener->options.user);
}

/* ---- the thread ---- */

static void reconnect(stele_listener *listener)
{
    stele_error error;
    stele_error_clear(&error);
    if ((uint64_t)stele__now_ns() < listener->line.due_ns) {
        (void)stele__line_wait(&listener->line, listener->line.due_ns);
        return;
    }
    if (connect_and_prove(listener, &error) == STELE_OK) {
        if (listener->options.on_connect != NULL)
            listener->options.on_connect(listener->options.user);
        return;
    }
    stele__line_back_off(&listener->line, listener->options.reconnect_max_ms);
    stele__line_lock(&listener->line);
    listener->stats.connect_errors++;
    stele__line_unlock(&listener->line);
    if (listener->options.on_error != NULL && !is_closing(listener))
        listener->options.on_error(&error, listener->options.user);
}

static void deliver(stele_listener *listener)
{
    stele__notification got;
    while (stele__link_next_notification(listener->line.link, &got)) {
        if (strcmp(got.channel, listener->probe) != 0)
            stele__call_subscribers(listener, &got);
        stele__notification_release(&got);
    }
}

/* Waits for something to happen; false when the connection is lost. */
static stele_status wait_for_news(stele_listener *listener, bool *ret_probing, stele_error *err)
{
    stele__line *line = &listener->line;
    uint64_t probe_due = listener->heard_ns + (uint64_t)listener->options.idle_probe_ms * STELE__MS;
    int ready = stele__line_wait(line, probe_due);
    if ((ready & STELE__CAN_READ_LINK) != 0) {
        listener->heard_ns = (uint64_t)stele__now_ns();
        return stele__flow_pull(line->link) ? STELE_OK : stele__link_lost(line->link, err);
    }
    if (ready != 0)
        return STELE_OK;
    *ret_probing = true;
    uint64_t began = (uint64_t)stele__now_ns();
    stele_status st =
        stele__link_ping(line->link, stele__deadline_in(listener->options.probe_timeout_ms), err);
    listener->heard_ns = (uint64_t)stele__now_ns();
    stele__line_lock(line);
    listener->stats.probes++;
    if (st == STELE_OK)
        stele__latency_add(&listener->stats.probe, listener->heard_ns - began);
    stele__line_unlock(line);
    return st;
}

static void listen_once(stele_listener *listener)
{
    stele_error error;
    bool probing = false;
    stele_error_clear(&error);
    stele_status st = stele__register_channels(listener, &error);
    if (st == STELE_OK) {
        stele__call_rescans(listener);
        deliver(listener);
        if (is_closing(listener))
            return;
        st = wait_for_news(listener, &probing, &error);
    }
    if (st != STELE_OK)
        lost(listener, probing, &error);
}

static void free_listener(stele_listener *listener)
{
    while (listener->channels != NULL) {
        stele__channel *channel = listener->channels;
        listener->channels = channel->next;
        while (channel->first != NULL) {
            stele_subscription *sub = channel->first;
            channel->first = sub->next;
            stele__free(sub);
        }
        stele__free(channel);
    }
    stele__line_release(&listener->line);
    stele__free(listener);
}

static void *thread_main(void *arg)
{
    stele_listener *listener = arg;
    (void)pthread_setname_np(pthread_self(), "stele-listener");
    while (!is_closing(listener)) {
        if (listener->line.link == NULL)
            reconnect(listener);
        else
            listen_once(listener);
    }
    if (stele__line_end(&listener->line))
        free_listener(listener);
    return NULL;
}

/* ---- opening, waiting, numbers, closing ---- */

stele_status stele_listener_open(stele_db *db, const stele_listener_options *options,
                                 stele_listener **ret_listener, stele_error *err)
{
    stele_listener_options chosen;
    stele_error unwanted;
    if (err == NULL)
        err = &unwanted;
    if (db == NULL || ret_listener == NULL)
        return stele__fail(err, STELE_E_INPUT, "db or ret_listener is NULL");
    stele_status st = fill_options(options, &chosen, err);
    if (st != STELE_OK)
        return st;
    stele_listener *listener = stele__calloc(1, sizeof *listener);
    if (listener == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a listener");
    st = stele__line_init(&listener->line, db, err);
    if (st != STELE_OK) {
        stele__free(listener);
        return st;
    }
    listener->options = chosen;
    (void)snprintf(listener->probe, sizeof listener->probe, "stele_%016" PRIx64,
                   listener->line.jitter);
    st = connect_and_prove(listener, err);
    if (st == STELE_OK)
        st = stele__line_start(&listener->line, thread_main, listener, err);
    if (st != STELE_OK)
        free_listener(listener);
    else
        *ret_listener = listener;
    return st;
}

static bool is_registered_locked(const stele_listener *listener)
{
    if (!listener->connected)
        return false;
    for (const stele__channel *one = listener->channels; one != NULL; one = one->next)
        for (const stele_subscription *sub = one->first; sub != NULL; sub = sub->next)
            if (sub->needs_rescan || listener->calling == sub)
                return false;
    return true;
}

stele_status stele_listener_wait(stele_listener *listener, uint32_t deadline_ms, stele_error *err)
{
    stele__deadline deadline = stele__deadline_in(deadline_ms);
    stele_status st = stele__line_check_fork(&listener->line, "listener", err);
    if (st != STELE_OK)
        return st;
    stele__line_lock(&listener->line);
    bool inside = pthread_equal(listener->line.thread, pthread_self()) != 0;
    bool there = is_registered_locked(listener);
    while (!inside && !there && stele__line_await_locked(&listener->line, deadline))
        there = is_registered_locked(listener);
    stele__line_unlock(&listener->line);
    if (inside)
        return stele__fail(err, STELE_E_MISUSE, "a subscriber cannot wait for its own listener");
    if (there)
        return STELE_OK;
    return stele__fail(err, STELE_E_TIMEOUT, "not all channels are registered yet");
}

void stele_listener_stats(const stele_listener *listener, stele_listen_stats *ret_stats)
{
    stele_listener *own = (stele_listener *)(uintptr_t)listener; /* to lock it */
    memset(ret_stats, 0, sizeof *ret_stats);
    if (stele__line_check_fork(&own->line, "listener", NULL) != STELE_OK)
        return;
    stele__line_lock(&own->line);
    *ret_stats = own->stats;
    ret_stats->connected = own->connected;
    if (own->down_since_ns > 0)
        ret_stats->down_ms += ((uint64_t)stele__now_ns() - own->down_since_ns) / STELE__MS;
    for (const stele__channel *one = own->channels; one != NULL; one = one->next) {
        ret_stats->channels += one->first != NULL ? 1 : 0;
        for (const stele_subscription *sub = one->first; sub != NULL; sub = sub->next)
            ret_stats->subscriptions++;
    }
    stele__line_unlock(&own->line);
}

stele_status stele_listener_close(stele_listener *listener, uint32_t deadline_ms, stele_error *err)
{
    if (listener == NULL)
        return STELE_OK;
    stele_status st = stele__line_check_fork(&listener->line, "listener", err);
    if (st != STELE_OK) {
        stele__line_close_in_child(&listener->line);
        return st;
    }
    if (pthread_equal(listener->line.thread, pthread_self()) != 0)
        return stele__fail(err, STELE_E_MISUSE, "a subscriber cannot close its own listener");
    /* Nothing is left undone: what it waits for may end at once. */
    if (stele__line_close(&listener->line, true, deadline_ms)) {
        free_listener(listener);
        return STELE_OK;
    }
    return stele__fail(err, STELE_E_TIMEOUT,
                       "a subscriber, or an attempt to connect, goes on after the deadline");
}
