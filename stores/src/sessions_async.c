#include "sessions_queue.h"

#include "banned.h"

enum { LANES = 10, WAITING = 10000, BATCH = 500, LINGER_US = 0 };

/* ---- opening and closing --------------------------------------------------------------------- */

/* Called again and again until all have ended: a request may come before its statement. */
static void hurry(void *user)
{
    stele__queue *queue = ((stele_sessions *)user)->queue;
    atomic_store(&queue->closing, true);
    (void)pthread_mutex_lock(&queue->calling);
    for (const stele__queue_call *call = queue->calls; call != NULL; call = call->next) {
        stele_status st = stele_conn_cancel(call->conn, NULL);
        (void)st; /* then it ends by its own deadline */
    }
    (void)pthread_mutex_unlock(&queue->calling);
}

stele_status stele__queue_open(stele_sessions *store, uint32_t lanes, stele_error *err)
{
    stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
    stele_status st = stele__seen_open(store, err);
    stele__queue *queue = st == STELE_OK ? stele_alloc(sizeof *queue) : NULL;
    if (queue == NULL) {
        stele__seen_free(store);
        return stele__store_no_memory(err);
    }
    memset(queue, 0, sizeof *queue);
    queue->end = &queue->failures;
    (void)pthread_mutex_init(&queue->lock, NULL);
    (void)pthread_mutex_init(&queue->calling, NULL);
    store->queue = queue;
    options.lanes = lanes > 0 ? lanes : LANES;
    options.max_items = WAITING;
    options.max_bytes = 64u << 20;
    options.batch_items = BATCH;
    options.linger_us = LINGER_US;
    options.name = "stele-append";
    options.run = stele__queue_run;
    options.on_late = hurry;
    options.user = store;
    st = stele_lanes_open(&options, &queue->lanes, err);
    if (st != STELE_OK) {
        (void)pthread_mutex_destroy(&queue->calling);
        (void)pthread_mutex_destroy(&queue->lock);
        stele_free(queue);
        stele__seen_free(store);
        store->queue = NULL;
    }
    return st;
}

static void undone(void *item, void *user)
{
    stele_error why;
    stele_sessions *store = user;
    (void)stele__store_fail(&why, STELE_E_CLOSED, "the store was closed before it was stored");
    stele__queue_fail(store, item, &why);
    (void)atomic_fetch_sub(&store->queue->waiting, 1);
    stele_free(item);
}

stele_status stele__queue_close(stele_sessions *store, uint32_t deadline_ms, uint64_t *ret_lost,
                                stele_error *err)
{
    stele__queue *queue = store->queue;
    if (queue == NULL || queue->lanes == NULL)
        return STELE_OK;
    stele_status st = stele_lanes_close(queue->lanes, deadline_ms, undone, store, err);
    if (st == STELE_E_FORKED)
        return st;
    queue->lanes = NULL;
    if (ret_lost != NULL)
        *ret_lost = queue->untold;
    return st;
}

void stele__queue_free(stele_sessions *store)
{
    stele__queue *queue = store->queue;
    if (queue == NULL)
        return;
    while (queue->failures != NULL) {
        stele__queue_failure *failure = queue->failures;
        queue->failures = failure->next;
        stele_free(failure);
    }
    (void)pthread_mutex_destroy(&queue->calling);
    (void)pthread_mutex_destroy(&queue->lock);
    stele_free(queue);
    stele__seen_free(store);
}

/* ---- putting --------------------------------------------------------------------------------- */

static char *copy_to(char *at, stele_str from, stele_str *ret)
{
    if (from.len > 0)
        memcpy(at, from.data, from.len);
    ret->data = at;
    ret->len = from.len;
    return at + from.len;
}

/* Parts of a key apart, so that no two keys make the same; lengths first. */
static size_t lane_key_size(const stele_session_key *key)
{
    return 2 * sizeof(size_t) + key->app_name.len + key->user_id.len + key->session_id.len;
}

static char *write_lane_key(char *at, const stele_session_key *key)
{
    stele_str part;
    memcpy(at, &key->app_name.len, sizeof(size_t));
    memcpy(at + sizeof(size_t), &key->user_id.len, sizeof(size_t));
    at = copy_to(at + 2 * sizeof(size_t), key->app_name, &part);
    at = copy_to(at, key->user_id, &part);
    return copy_to(at, key->session_id, &part);
}

static stele__queued *make_item(const stele__append *append, size_t *ret_bytes)
{
    const stele_session_key *key = &append->key;
    size_t own = lane_key_size(key);
    size_t size = sizeof(stele__queued) + own + append->event.len + append->delta.len;
    stele__queued *item = stele_alloc(size);
    if (item == NULL)
        return NULL;
    char *at = (char *)(item + 1);
    item->lane_key.data = at;
    item->lane_key.len = own;
    char *names = at + 2 * sizeof(size_t);
    at = write_lane_key(at, key);
    item->key.app_name = (stele_str){names, key->app_name.len};
    item->key.user_id = (stele_str){names + key->app_name.len, key->user_id.len};
    item->key.session_id = (stele_str){at - key->session_id.len, key->session_id.len};
    at = copy_to(at, append->event, &item->event);
    (void)copy_to(at, append->delta, &item->delta);
    item->stored = append->stored;
    item->has_id = append->id.len > 0;
    *ret_bytes = size;
    return item;
}

stele_status stele__queue_put(stele_sessions *store, const stele__append *append, uint32_t room_ms,
                              stele_session_appended *ret, stele_error *err)
{
    size_t bytes = 0;
    stele__queue *queue = store->queue;
    stele__queued *item = make_item(append, &bytes);
    if (item == NULL)
        return stele__store_no_memory(err);
    uint64_t receipt = atomic_fetch_add(&queue->last_receipt, 1) + 1;
    item->receipt = receipt;
    item->meant = stele__seen_when(store, &append->key);
    (void)atomic_fetch_add(&queue->waiting, 1);
    stele_status st = stele_lanes_put(queue->lanes, item->lane_key.data, item->lane_key.len, item,
                                      bytes, room_ms, err);
    if (st != STELE_OK) {
        (void)atomic_fetch_sub(&queue->waiting, 1);
        stele_free(item);
        return st;
    }
    ret->queued = true;
    ret->receipt = receipt;
    return STELE_OK;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static stele_status flush(const stele__queue *queue, const stele_session_key *key, char *lane_key,
                          uint32_t deadline_ms, stele_error *err)
{
    if (key == NULL)
        return stele_lanes_flush(queue->lanes, NULL, 0, deadline_ms, err);
    (void)write_lane_key(lane_key, key);
    return stele_lanes_flush(queue->lanes, lane_key, lane_key_size(key), deadline_ms, err);
}

/* Whether one of those asked for is among the failures that were forgotten; asked for all, it is told. */
static bool may_be_forgotten(stele__queue *queue, const stele_session_key *key, uint64_t receipt)
{
    bool may_be = queue->forgotten > 0 && receipt <= queue->forgotten;
    if (key == NULL)
        queue->forgotten = 0;
    return may_be;
}

/* Takes out what failed: of a receipt, of a session, or all; the first is told. */
static stele_status take_failures(stele__queue *queue, const stele_session_key *key,
                                  const char *lane_key, uint64_t receipt, stele_error *err)
{
    stele_status st = STELE_OK;
    size_t len = key != NULL ? lane_key_size(key) : 0;
    (void)pthread_mutex_lock(&queue->lock);
    for (stele__queue_failure **at = &queue->failures; *at != NULL;) {
        stele__queue_failure *failure = *at;
        bool meant = receipt != 0 ? failure->receipt == receipt
                                  : key == NULL || (failure->lane_key_len == len &&
                                                    memcmp(failure->lane_key, lane_key, len) == 0);
        if (!meant) {
            at = &failure->next;
            continue;
        }
        if (st == STELE_OK && err != NULL)
            *err = failure->error;
        st = st == STELE_OK ? failure->error.status : st;
        *at = failure->next;
        queue->failure_count--;
        queue->untold--;
        stele_free(failure);
        if (*at == NULL)
            queue->end = at;
    }
    bool unknown = may_be_forgotten(queue, key, receipt) && st == STELE_OK;
    (void)pthread_mutex_unlock(&queue->lock);
    if (unknown)
        return stele__store_fail(
            err, STELE_E_UNKNOWN,
            "so many appends have failed that it is not known whether this did");
    return st;
}

static stele_status wait_for(stele_sessions *store, const stele_session_key *key, uint64_t receipt,
                             uint32_t deadline_ms, stele_error *err)
{
    char *lane_key = key != NULL ? stele_alloc(lane_key_size(key)) : NULL;
    if (key != NULL && lane_key == NULL)
        return stele__store_no_memory(err);
    stele_status st = flush(store->queue, key, lane_key, deadline_ms, err);
    if (st == STELE_OK)
        st = take_failures(store->queue, key, lane_key, receipt, err);
    stele_free(lane_key);
    return st;
}

stele_status stele_sessions_flush(stele_sessions *store, const stele_session_key *key,
                                  uint32_t deadline_ms, stele_error *err)
{
    stele_status st = key != NULL ? stele__sessions_check_key(key, err) : STELE_OK;
    if (st == STELE_OK)
        st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    if (store->queue != NULL)
        st = wait_for(store, key, 0, deadline_ms, err);
    stele__sessions_leave(store);
    return st;
}

stele_status stele_sessions_wait(stele_sessions *store, const stele_session_key *key,
                                 uint64_t receipt, uint32_t deadline_ms, stele_error *err)
{
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK)
        st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    if (store->queue != NULL && receipt != 0)
        st = wait_for(store, key, receipt, deadline_ms, err);
    stele__sessions_leave(store);
    return st;
}

stele_status stele__queue_settle(stele_sessions *store, const stele_session_key *key,
                                 stele_error *err)
{
    if (store->queue == NULL || atomic_load(&store->queue->waiting) == 0)
        return STELE_OK;
    char *lane_key = key != NULL ? stele_alloc(lane_key_size(key)) : NULL;
    if (key != NULL && lane_key == NULL)
        return stele__store_no_memory(err);
    stele_status st =
        flush(store->queue, key, lane_key, 0, err); /* failures are told by flushing */
    stele_free(lane_key);
    return st;
}
