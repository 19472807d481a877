#include <unistd.h>

#include "sessions_queue.h"
#include "summaries.h"

#include "banned.h"

stele_status stele__sessions_check_fork(const stele_sessions *store, stele_error *err)
{
    if (store->pid == getpid())
        return STELE_OK;
    return stele__store_fail(err, STELE_E_FORKED, "the store was opened before a fork");
}

stele_status stele__sessions_enter(stele_sessions *store, stele_error *err)
{
    stele_status st = stele__sessions_check_fork(store, err);
    if (st != STELE_OK)
        return st; /* another thread of the parent may hold the lock for ever */
    (void)pthread_mutex_lock(&store->lock);
    bool closed = store->closed;
    store->under_way += !closed;
    (void)pthread_mutex_unlock(&store->lock);
    return closed ? stele__store_fail(err, STELE_E_CLOSED, "the store is closed") : STELE_OK;
}

void stele__sessions_leave(stele_sessions *store)
{
    (void)pthread_mutex_lock(&store->lock);
    if (--store->under_way == 0 && store->closed)
        (void)pthread_cond_signal(&store->idle);
    (void)pthread_mutex_unlock(&store->lock);
}

void stele__sessions_shut(stele_sessions *store)
{
    (void)pthread_mutex_lock(&store->lock);
    store->closed = true;
    while (store->under_way > 0)
        (void)pthread_cond_wait(&store->idle, &store->lock);
    (void)pthread_mutex_unlock(&store->lock);
}

stele_status stele__sessions_begin(stele_sessions *store, stele_conn **ret_conn, stele_error *err)
{
    stele_status st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    st = stele_db_acquire(store->db, ret_conn, err);
    if (st != STELE_OK)
        stele__sessions_leave(store);
    return st;
}

stele_status stele__sessions_begin_after(stele_sessions *store, const stele_session_key *key,
                                         stele_conn **ret_conn, stele_error *err)
{
    stele_status st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    st = stele__queue_settle(store, key, err);
    if (st == STELE_OK)
        st = stele_db_acquire(store->db, ret_conn, err);
    if (st != STELE_OK)
        stele__sessions_leave(store);
    return st;
}

static void count(atomic_uint_fast64_t *counter, uint64_t n)
{
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

stele_status stele__sessions_end(stele_sessions *store, stele_conn *conn, stele_status st)
{
    count(&store->operations, 1);
    count(&store->round_trips, stele_conn_round_trips(conn));
    if (st < STELE_OK && st != STELE_E_NOT_FOUND && st != STELE_E_UNIQUE)
        count(&store->failures, 1);
    stele_conn_release(conn);
    stele__sessions_leave(store);
    return st;
}

stele_in_interval_n stele__sessions_ttl(int64_t ttl_ms)
{
    if (ttl_ms <= 0)
        return stele_interval_n_null();
    return stele_interval_n_v(stele_micros(ttl_ms * 1000));
}

stele_in_interval stele__sessions_slack(const stele_sessions *store)
{
    return stele_interval_v(stele_micros(store->lazy_ttl ? store->session_ttl_ms / 16 * 1000 : 0));
}

stele_status stele__sessions_changed(const stele_session_key *key, bool has_row, int32_t status,
                                     stele_error *err)
{
    if (!has_row)
        return stele__sessions_missing(key, err);
    if (status == 2)
        return stele__store_fail(err, STELE_E_DECODE,
                                 "the stored state is malformed, and cannot be changed");
    return STELE_OK;
}

stele_status stele__sessions_refusal(stele_conn *conn, const stele_session_key *key,
                                     stele_error *err)
{
    STELE_AUTO(sessions_can_be_changed_row) row = NULL;
    sessions_can_be_changed_params params = {STELE__KEY(*key)};
    stele_status st = sessions_can_be_changed(conn, &params, &row, err);
    return st == STELE_OK ? stele__sessions_changed(key, row != NULL && !row->sound, 2, err) : st;
}

stele_db *stele_sessions_db(const stele_sessions *store)
{
    return store->db;
}

void stele_sessions_get_stats(const stele_sessions *store, stele_sessions_stats *ret_stats)
{
    stele_sessions_stats stats = {0};
    stats.operations = atomic_load(&store->operations);
    stats.failures = atomic_load(&store->failures);
    stats.round_trips = atomic_load(&store->round_trips);
    stats.appended = atomic_load(&store->appended);
    stats.duplicates = atomic_load(&store->duplicates);
    if (store->queue != NULL)
        stats.queued = atomic_load(&store->queue->waiting);
    stele__summaries_stats((stele_sessions *)(uintptr_t)store, &stats); /* for its lock */
    *ret_stats = stats;
}
