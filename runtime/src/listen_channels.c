/**
 * Channels and subscriptions.
 *
 * Floor: listen.
 */
#include "listen_channels.h"

#include <string.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define STATEMENTS_AT_ONCE 32 /* LISTEN and UNLISTEN that share a round trip */

/* ---- subscribing ---- */

static stele__channel *find_channel_locked(const stele_listener *listener, const char *name)
{
    uint64_t hash = stele__hash64(0, name, strlen(name));
    for (stele__channel *one = listener->channels; one != NULL; one = one->next)
        if (one->hash == hash && strcmp(one->name, name) == 0)
            return one;
    return NULL;
}

static void subscribe_locked(stele_listener *listener, stele__channel *fresh,
                             stele_subscription *sub, const char *name)
{
    stele__channel *channel = find_channel_locked(listener, name);
    if (channel == NULL) {
        channel = fresh;
        fresh = NULL;
        (void)stele__copy_text(channel->name, sizeof channel->name, name);
        channel->hash = stele__hash64(0, name, strlen(name));
        channel->next = listener->channels;
        listener->channels = channel;
    }
    stele__free(fresh);
    sub->channel = channel;
    sub->needs_rescan = true;
    sub->next = channel->first;
    if (channel->first != NULL)
        channel->first->prev = sub;
    channel->first = sub;
}

stele_status stele_listener_subscribe(stele_listener *listener, const char *channel,
                                      stele_listen_fn fn, void *user, stele_subscription **ret_sub,
                                      stele_error *err)
{
    if (listener == NULL || fn == NULL || ret_sub == NULL)
        return stele__fail(err, STELE_E_INPUT, "listener, fn or ret_sub is NULL");
    stele_status st = stele__line_check_fork(&listener->line, "listener", err);
    if (st == STELE_OK)
        st = stele__check_channel(channel, err);
    if (st != STELE_OK)
        return st;
    stele__channel *fresh = stele__calloc(1, sizeof *fresh);
    stele_subscription *sub = stele__calloc(1, sizeof *sub);
    if (fresh == NULL || sub == NULL) {
        stele__free(fresh);
        stele__free(sub);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a subscription");
    }
    sub->fn = fn;
    sub->user = user;
    *ret_sub = sub; /* fn may be called before this returns */
    stele__line_lock(&listener->line);
    subscribe_locked(listener, fresh, sub, channel);
    stele__line_unlock(&listener->line);
    stele__line_wake(&listener->line);
    return STELE_OK;
}

static void unsubscribe_locked(stele_listener *listener, stele_subscription *sub)
{
    if (listener->next == sub)
        listener->next = sub->next;
    if (sub->prev != NULL)
        sub->prev->next = sub->next;
    else
        sub->channel->first = sub->next;
    if (sub->next != NULL)
        sub->next->prev = sub->prev;
    (void)pthread_cond_broadcast(&listener->line.changed); /* one less to be waited for */
}

void stele_listener_unsubscribe(stele_listener *listener, stele_subscription *sub)
{
    if (listener == NULL || sub == NULL ||
        stele__line_check_fork(&listener->line, "listener", NULL) != STELE_OK)
        return;
    stele__line_lock(&listener->line);
    unsubscribe_locked(listener, sub);
    bool inside =
        listener->calling == sub && pthread_equal(listener->line.thread, pthread_self()) != 0;
    sub->ended = inside;
    while (!inside && listener->calling == sub)
        (void)pthread_cond_wait(&listener->line.changed, &listener->line.lock);
    stele__line_unlock(&listener->line);
    if (!inside)
        stele__free(sub);
    stele__line_wake(&listener->line);
}

/* ---- registering ---- */

typedef struct registration {
    stele__channel *channels[STATEMENTS_AT_ONCE];
    bool listens[STATEMENTS_AT_ONCE];
    stele__buf sql[STATEMENTS_AT_ONCE];
    stele__step steps[STATEMENTS_AT_ONCE];
    int count;
} registration;

static void add_statement(registration *r, stele__channel *channel)
{
    stele__buf *sql = &r->sql[r->count];
    bool listens = channel->first != NULL;
    stele__buf_init(sql);
    stele__buf_add_text(sql, listens ? "LISTEN " : "UNLISTEN ");
    stele__buf_add_ident(sql, channel->name, strlen(channel->name));
    r->steps[r->count] = (stele__step){.kind = STELE__STEP_SIMPLE, .sql = stele__buf_text(sql)};
    r->channels[r->count] = channel;
    r->listens[r->count] = listens;
    r->count++;
}

/* Collects what differs from what the server knows, and drops channels nobody wants any more. */
static void collect_locked(stele_listener *listener, registration *r)
{
    stele__channel **at = &listener->channels;
    r->count = 0;
    while (*at != NULL && r->count < STATEMENTS_AT_ONCE) {
        stele__channel *one = *at;
        if (one->first == NULL && !one->listening) {
            *at = one->next;
            stele__free(one);
            continue;
        }
        if (one->listening != (one->first != NULL))
            add_statement(r, one);
        at = &one->next;
    }
}

static bool is_complete(const registration *r)
{
    for (int i = 0; i < r->count; i++)
        if (r->sql[i].failed)
            return false;
    return true;
}

static stele_status send_registration(stele_listener *listener, registration *r, stele_error *err)
{
    struct pg_result *result = NULL;
    stele_status st =
        is_complete(r)
            ? stele__link_exchange(listener->line.link, r->steps, r->count,
                                   stele__deadline_in(listener->options.probe_timeout_ms), &result,
                                   NULL, err)
            : stele__fail(err, STELE_E_NOMEM, "out of memory while registering channels");
    stele__result_clear(result);
    for (int i = 0; i < r->count; i++)
        stele__buf_release(&r->sql[i]);
    if (st != STELE_OK)
        return st;
    listener->heard_ns = (uint64_t)stele__now_ns();
    stele__line_lock(&listener->line);
    for (int i = 0; i < r->count; i++)
        r->channels[i]->listening = r->listens[i];
    stele__line_unlock(&listener->line);
    return STELE_OK;
}

stele_status stele__register_channels(stele_listener *listener, stele_error *err)
{
    registration r;
    stele_status st = STELE_OK;
    do {
        stele__line_lock(&listener->line);
        collect_locked(listener, &r);
        stele__line_unlock(&listener->line);
        if (r.count > 0)
            st = send_registration(listener, &r, err);
    } while (st == STELE_OK && r.count > 0);
    return st;
}

void stele__forget_registration(stele_listener *listener)
{
    stele__line_lock(&listener->line);
    for (stele__channel *one = listener->channels; one != NULL; one = one->next) {
        one->listening = false;
        for (stele_subscription *sub = one->first; sub != NULL; sub = sub->next)
            sub->needs_rescan = true;
    }
    stele__line_unlock(&listener->line);
}

/* ---- calling ---- */

/* Calls without the lock, which is held before and after. */
static void call_locked(stele_listener *listener, stele_subscription *sub, const char *payload,
                        bool rescan)
{
    const stele__channel *channel = sub->channel;
    listener->calling = sub;
    stele__line_unlock(&listener->line);
    uint64_t began = (uint64_t)stele__now_ns();
    sub->fn(channel->name, payload, rescan, sub->user);
    uint64_t took = (uint64_t)stele__now_ns() - began;
    stele__line_lock(&listener->line);
    listener->calling = NULL;
    listener->stats.callback_ns += took;
    if (took > listener->stats.longest_callback_ns)
        listener->stats.longest_callback_ns = took;
    if (rescan)
        listener->stats.rescans++;
    else
        listener->stats.delivered++;
    if (sub->ended)
        stele__free(sub);
    (void)pthread_cond_broadcast(&listener->line.changed);
}

static bool call_rescans_locked(stele_listener *listener)
{
    bool called = false;
    for (stele__channel *one = listener->channels; one != NULL; one = one->next) {
        listener->next = one->listening ? one->first : NULL;
        while (listener->next != NULL && !listener->line.closing) {
            stele_subscription *sub = listener->next;
            listener->next = sub->next;
            if (!sub->needs_rescan)
                continue;
            sub->needs_rescan = false;
            called = true;
            call_locked(listener, sub, "", true);
        }
    }
    return called;
}

void stele__call_rescans(stele_listener *listener)
{
    stele__line_lock(&listener->line);
    while (call_rescans_locked(listener)) /* a call may have added more */
        continue;
    listener->next = NULL;
    stele__line_unlock(&listener->line);
}

void stele__call_subscribers(stele_listener *listener, const stele__notification *notification)
{
    stele__line_lock(&listener->line);
    stele__channel *channel = find_channel_locked(listener, notification->channel);
    listener->stats.notifications++;
    listener->next = channel != NULL ? channel->first : NULL;
    while (listener->next != NULL && !listener->line.closing) {
        stele_subscription *sub = listener->next;
        listener->next = sub->next;
        /* One who is about to be told to look will see what this notification is about. */
        if (!sub->needs_rescan)
            call_locked(listener, sub, notification->payload, false);
    }
    listener->next = NULL;
    stele__line_unlock(&listener->line);
}
