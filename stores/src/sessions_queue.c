#define _GNU_SOURCE
#include <poll.h>
#include <time.h>

#include "sessions_queue.h"

#include "banned.h"

enum { RETRY_MS = 30000, FIRST_PAUSE_MS = 10, LONGEST_PAUSE_MS = 1000 };

/* Who waits for a connection looks that often whether the store is being closed. */
enum { ACQUIRE_MS = 5000 };

/* ---- one statement --------------------------------------------------------------------------- */

static stele_str_array texts(const stele_str *items, size_t count)
{
    stele_str_array array = {items, NULL, count};
    return array;
}

static sessions_append_group_params group_params(const stele_sessions *store,
                                                 const stele__group *group)
{
    stele_i64_array places = {group->places, NULL, group->event_count};
    stele_ts_array meant = {group->meant, group->meant_nulls, group->session_count};
    sessions_append_group_params params = {
        .app_names = stele_str_array_v(texts(group->app_names, group->session_count)),
        .user_ids = stele_str_array_v(texts(group->user_ids, group->session_count)),
        .session_ids = stele_str_array_v(texts(group->session_ids, group->session_count)),
        .deltas = stele_str_array_v(texts(group->deltas, group->session_count)),
        .meant = stele_ts_array_v(meant),
        .places = stele_i64_array_v(places),
        .events = stele_str_array_v(texts(group->events, group->event_count)),
        .ttl = stele__sessions_ttl(store->session_ttl_ms),
        .ttl_slack = stele__sessions_slack(store),
        .once = store->idempotent ? SESSIONS_APPEND_GROUP_ONCE_YES : SESSIONS_APPEND_GROUP_ONCE_NO,
    };
    return params;
}

static stele_status run_group(const stele_sessions *store, stele_conn *conn,
                              const stele__group *group, sessions_append_group_rows **ret_rows,
                              stele_error *err)
{
    STELE_AUTO(stele_pipeline) p = NULL;
    sessions_append_group_params params = group_params(store, group);
    sessions_lock_sessions_params lock = {
        .app_names = params.app_names,
        .user_ids = params.user_ids,
        .session_ids = params.session_ids,
    };
    if (!store->idempotent)
        return sessions_append_group(conn, &params, ret_rows, err);
    stele_status st = stele_pipeline_open(conn, NULL, &p, err);
    if (st == STELE_OK)
        st = sessions_lock_sessions_queue(p, &lock, NULL, err);
    if (st == STELE_OK)
        st = sessions_append_group_queue(p, &params, ret_rows, err);
    return st == STELE_OK ? stele_pipeline_sync(p, err) : st;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* What can no longer be told to who waits for it: that it may have failed is. The lock is held. */
static void forget(stele__queue *queue, uint64_t receipt)
{
    if (receipt > queue->forgotten)
        queue->forgotten = receipt;
}

void stele__queue_fail(stele_sessions *store, const stele__queued *item, const stele_error *why)
{
    stele__queue *queue = store->queue;
    stele__queue_failure *failure = stele_alloc(sizeof *failure + item->lane_key.len);
    (void)atomic_fetch_add(&store->failures, 1);
    if (store->on_error != NULL)
        store->on_error(&item->key, why, store->on_error_user);
    if (failure != NULL) {
        failure->next = NULL;
        failure->receipt = item->receipt;
        failure->error = *why;
        failure->lane_key_len = item->lane_key.len;
        memcpy(failure->lane_key, item->lane_key.data, item->lane_key.len);
    }
    (void)pthread_mutex_lock(&queue->lock);
    queue->untold++;
    if (failure != NULL) {
        *queue->end = failure;
        queue->end = &failure->next;
        queue->failure_count++;
    } else {
        forget(queue, item->receipt);
    }
    if (queue->failure_count > STELE__MOST_FAILURES) {
        stele__queue_failure *oldest = queue->failures;
        queue->failures = oldest->next;
        queue->failure_count--;
        forget(queue, oldest->receipt);
        stele_free(oldest);
    }
    (void)pthread_mutex_unlock(&queue->lock);
}

/* Who waits must not take a deadline of ours for its own, and ask again: it was told, then. */
static void fail_all(stele_sessions *store, stele__queued *const *items, size_t count,
                     stele_error *why)
{
    if (why->outcome_unknown)
        why->status = STELE_E_UNKNOWN;
    else if (why->status == STELE_E_TIMEOUT)
        why->status = STELE_E_CONNECT; /* nothing else is waited for before anything is sent */
    for (size_t i = 0; i < count; i++)
        stele__queue_fail(store, items[i], why);
}

/* What it says of the sessions. One that is not the one meant is forgotten: only what was queued before
 * this answer is refused. */
static void learn(stele_sessions *store, const stele__group *group,
                  const sessions_append_group_rows *rows)
{
    for (size_t p = 0; p < rows->count && p < group->session_count; p++) {
        stele_session_key key = {group->app_names[p], group->user_ids[p], group->session_ids[p]};
        if (rows->rows[p].created_at.has)
            stele__seen_note(store, &key, rows->rows[p].created_at.v);
        else
            stele__seen_forget(store, &key);
    }
}

static void tell(stele_sessions *store, stele__queued *const *items, const stele__group *group,
                 const sessions_append_group_rows *rows)
{
    stele_error why;
    uint64_t stored = 0;
    uint64_t taken = 0;
    for (size_t i = 0; i < rows->count; i++)
        stored += rows->rows[i].status == 1 ? (uint64_t)rows->rows[i].stored : 0;
    for (size_t i = 0; i < group->event_count; i++)
        taken +=
            (size_t)group->places[i] <= rows->count && rows->rows[group->places[i] - 1].status == 1;
    (void)atomic_fetch_add_explicit(&store->appended, stored, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&store->duplicates, taken - stored, memory_order_relaxed);
    for (size_t i = 0; i < group->taken; i++) {
        size_t p = group->place_of[i];
        int32_t status = p < rows->count ? rows->rows[p].status : 0;
        if (stele__sessions_changed(&items[i]->key, status != 0, status, &why) != STELE_OK)
            stele__queue_fail(store, items[i], &why);
    }
}

/* ---- trying ---------------------------------------------------------------------------------- */

typedef enum verdict {
    VERDICT_STORED,
    VERDICT_REFUSED, /* one of them is at fault */
    VERDICT_AGAIN,
    VERDICT_FAILED
} verdict;

static verdict judge(stele_status st, bool repeatable, const stele_error *why)
{
    switch (st) {
    case STELE_OK:
        return VERDICT_STORED;
    case STELE_E_CONNECT:
    case STELE_E_LOST:
    case STELE_E_TIMEOUT:
    case STELE_E_BUSY:
    case STELE_E_SERIALIZATION:
    case STELE_E_LOCKED:
    case STELE_E_CANCELED:
    case STELE_E_READ_ONLY:
        return why->outcome_unknown && !repeatable ? VERDICT_FAILED : VERDICT_AGAIN;
    case STELE_E_UNKNOWN:
        return repeatable ? VERDICT_AGAIN : VERDICT_FAILED;
    case STELE_E_NOMEM:
    case STELE_E_CLOSED:
    case STELE_E_FORKED:
    case STELE_E_PERMISSION:
    case STELE_E_SCHEMA:
        return VERDICT_FAILED;
    default:
        return why->retryable ? VERDICT_AGAIN : VERDICT_REFUSED;
    }
}

/* From here on closing may cancel the call. */
static void begin_call(stele__queue *queue, stele__queue_call *call)
{
    (void)pthread_mutex_lock(&queue->calling);
    call->next = queue->calls;
    queue->calls = call;
    (void)pthread_mutex_unlock(&queue->calling);
}

/* From here on it does not, whoever has the connection next. */
static void end_call(stele__queue *queue, const stele__queue_call *call)
{
    (void)pthread_mutex_lock(&queue->calling);
    stele__queue_call **at = &queue->calls;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    (void)pthread_mutex_unlock(&queue->calling);
}

static stele_status call_group(stele_sessions *store, const stele__group *group,
                               sessions_append_group_rows **ret_rows, stele_error *err)
{
    stele__queue_call call = {0};
    stele_status st =
        stele_db_acquire_at(store->db, ACQUIRE_MS, __FILE__, __LINE__, &call.conn, err);
    if (st != STELE_OK)
        return st;
    begin_call(store->queue, &call);
    st = run_group(store, call.conn, group, ret_rows, err);
    end_call(store->queue, &call);
    (void)atomic_fetch_add(&store->operations, 1);
    (void)atomic_fetch_add(&store->round_trips, stele_conn_round_trips(call.conn));
    stele_conn_release(call.conn);
    return st;
}

/* Stores the first of them once. What it answers is told by the caller, but for single sessions. */
static verdict try_once(stele_sessions *store, stele__queued *const *items, size_t count,
                        size_t *ret_taken, stele_error *err)
{
    stele__group group;
    sessions_append_group_rows *rows = NULL;
    stele_status st = stele__group_init(&group, items, count, err);
    if (st == STELE_OK)
        st = call_group(store, &group, &rows, err);
    *ret_taken = group.taken;
    if (st == STELE_OK) {
        learn(store, &group, rows);
        tell(store, items, &group, rows);
    }
    verdict v = judge(st, store->idempotent && group.repeatable, err);
    sessions_append_group_rows_free(rows);
    stele__group_release(&group);
    return v;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void store_items(stele_sessions *store, stele__queued *const *items, size_t count)
{
    stele_error why;
    int64_t give_up = now_ms() + RETRY_MS;
    int pause_ms = FIRST_PAUSE_MS;
    for (;;) {
        size_t taken = 0;
        stele_error_clear(&why);
        verdict v = try_once(store, items, count, &taken, &why);
        if (v == VERDICT_STORED && taken == count)
            return;
        if (v == VERDICT_FAILED && taken < count && taken > 0) {
            fail_all(store, items, taken, &why); /* those behind were not sent */
            v = VERDICT_STORED;
        }
        if (v == VERDICT_STORED) {
            items += taken;
            count -= taken;
            give_up = now_ms() + RETRY_MS;
            continue;
        }
        if (v == VERDICT_REFUSED && count > 1) {
            store_items(store, items, count / 2); /* at most a dozen deep */
            store_items(store, items + count / 2, count - count / 2);
            return;
        }
        if (v != VERDICT_AGAIN || now_ms() > give_up || atomic_load(&store->queue->closing)) {
            fail_all(store, items, count, &why);
            return;
        }
        (void)poll(NULL, 0, pause_ms);
        pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
    }
}

void stele__queue_run(uint32_t lane, void *const *items, size_t count, void *user)
{
    stele_sessions *store = user;
    (void)lane;
    store_items(store, (stele__queued *const *)items, count);
    for (size_t i = 0; i < count; i++)
        stele_free(items[i]);
    (void)atomic_fetch_sub(&store->queue->waiting, count);
}
