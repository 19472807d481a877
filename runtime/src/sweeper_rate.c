/**
 * How fast a sweeper may go: rows per second, and no faster than replicas can follow.
 *
 * Floor: sweeper.
 */
#include <errno.h>
#include <stdlib.h>

#include "run.h"
#include "sweeper_internal.h"
#include "text_internal.h"

#include "banned.h"

#define MS 1000000u /* nanoseconds */
#define LAG_EVERY_NS (1000u * (uint64_t)MS)
#define PAUSE_FACTOR 6
#define UNLIMITED UINT32_MAX

static void refill(stele_sweeper *sweeper, uint64_t now_ns)
{
    double rate = sweeper->options.rows_per_second;
    double most = rate > sweeper->options.batch_rows ? rate : sweeper->options.batch_rows;
    if (now_ns > sweeper->filled_ns)
        sweeper->tokens += rate * (double)(now_ns - sweeper->filled_ns) / 1e9;
    sweeper->filled_ns = now_ns;
    if (sweeper->tokens > most)
        sweeper->tokens = most;
}

bool stele__sweep_take(stele__sweep *sweep, uint32_t rows)
{
    stele_sweeper *sweeper = sweep->sweeper;
    double rate = sweeper->options.rows_per_second;
    uint64_t began = (uint64_t)stele__now_ns();
    bool taken = false;
    (void)pthread_mutex_lock(&sweeper->lock);
    while (!taken && !stele__sweep_stops(sweep)) {
        uint64_t now = (uint64_t)stele__now_ns();
        refill(sweeper, now);
        taken = sweeper->options.rows_per_second == UNLIMITED || sweeper->tokens >= rows;
        if (taken)
            break;
        double missing_ns = (rows - sweeper->tokens) / rate * 1e9;
        uint64_t until =
            now + (missing_ns < 1e9 ? (uint64_t)missing_ns + MS : 1000u * (uint64_t)MS);
        (void)stele__cond_wait(&sweeper->changed, &sweeper->lock,
                               until < sweep->deadline ? until : sweep->deadline);
    }
    if (taken)
        sweeper->tokens -= rows;
    sweeper->waited_ms += ((uint64_t)stele__now_ns() - began) / MS;
    (void)pthread_mutex_unlock(&sweeper->lock);
    return taken;
}

void stele__sweep_settle(stele__sweep *sweep, uint32_t taken, uint64_t used)
{
    stele_sweeper *sweeper = sweep->sweeper;
    (void)pthread_mutex_lock(&sweeper->lock);
    sweeper->tokens += (double)taken - (double)used;
    (void)pthread_mutex_unlock(&sweeper->lock);
}

/* ---- replicas ---- */

/* Of a replica that has answered everything the server shows no lag; of one that we may not see
 * it shows no position either. */
static int64_t ask_lag(stele_conn *conn)
{
    static const char sql[] =
        "SELECT count(*) = count(replay_lsn),\n"
        "  coalesce(max(extract(epoch FROM replay_lag) * 1000), 0)::pg_catalog.int8\n"
        "FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup'";
    struct pg_result *result;
    if (stele__run_sql(conn, sql, NULL, 0, &result, NULL) != STELE_OK)
        return -1;
    int64_t lag = -1;
    const char *known = stele__result_text(result, 0, 0);
    if (known != NULL && known[0] == 't')
        lag = strtoll(stele__result_text(result, 0, 1), NULL, 10);
    stele__result_clear(result);
    return lag;
}

static int64_t lag_of(stele__sweep *sweep, stele__sweep_target *target)
{
    const stele_sweeper_options *options = &sweep->sweeper->options;
    uint64_t now = (uint64_t)stele__now_ns();
    stele_conn *conn;
    if (target->lag_asked_ns != 0 && now - target->lag_asked_ns < LAG_EVERY_NS)
        return target->lag_ms;
    target->lag_asked_ns = now;
    target->lag_ms = -1;
    if (stele__sweep_acquire(sweep, target->db, &conn, NULL) == STELE_OK) {
        target->lag_ms = options->replica_lag_ms != NULL
                             ? options->replica_lag_ms(conn, options->user)
                             : ask_lag(conn);
        stele__sweep_release(sweep, conn);
    }
    return target->lag_ms;
}

uint32_t stele__sweep_limit(stele__sweep *sweep, stele__sweep_task *task)
{
    stele_sweeper *sweeper = sweep->sweeper;
    int64_t most = sweeper->options.max_lag_ms;
    int64_t lag = lag_of(sweep, task->target);
    while (lag > most * PAUSE_FACTOR) {
        uint64_t began = (uint64_t)stele__now_ns();
        (void)pthread_mutex_lock(&sweeper->lock);
        bool stops = stele__sweep_stops(sweep);
        uint64_t until = began + LAG_EVERY_NS;
        if (!stops)
            (void)stele__cond_wait(&sweeper->changed, &sweeper->lock,
                                   until < sweep->deadline ? until : sweep->deadline);
        sweeper->paused_ms += ((uint64_t)stele__now_ns() - began) / MS;
        (void)pthread_mutex_unlock(&sweeper->lock);
        if (stops)
            return 0;
        lag = lag_of(sweep, task->target);
    }
    uint32_t limit = task->limit;
    if (lag < 0 || lag > most)
        limit = limit > 1 ? limit / 2 : 1;
    uint32_t rate = sweeper->options.rows_per_second;
    return limit < rate ? limit : rate;
}
