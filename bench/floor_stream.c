/* The floor of stream: libpq's single-row mode. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct stream {
    PGconn *pg;
    char *sql;
} stream;

void stream_fill(const bench_run *run)
{
    PGconn *pg = bench_connect(run);
    PGresult *result =
        PQexec(pg, "INSERT INTO session_track_events (app_name, user_id, session_id, track, event) "
                   "SELECT 'stream', 'user', 'session', 'track', '{\"step\": 7}' "
                   "FROM generate_series(1, 1000000) "
                   "WHERE NOT EXISTS (SELECT FROM session_track_events)");
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die("fill", PQerrorMessage(pg));
    PQclear(result);
    PQfinish(pg);
}

static void use_iter(stele_conn *conn)
{
    session_track_events_iter *iter = NULL;
    stele_error err;
    bench_check(session_track_events_iter_open(conn, NULL, &iter, &err), "open", &err);
    session_track_events_iter_close(iter);
}

static void *open_floor(const bench_run *run, int thread)
{
    (void)thread;
    stream *s = bench_alloc(sizeof *s);
    s->pg = bench_connect(run);
    s->sql = bench_learn_sql(run, NULL, use_iter);
    bench_prepare(s->pg, "iter", s->sql);
    return s;
}

static void close_floor(void *state)
{
    stream *s = state;
    PQfinish(s->pg);
    free(s->sql);
    free(s);
}

/* All columns are decoded, as a program that wants rows has to. */
static uint64_t take(const PGresult *result)
{
    int64_t id, created, updated;
    floor_text app, user, session, track, event = {NULL, 0};
    floor_time expires, deleted;
    if (!floor_int8(result, 0, 0, &id) || !floor_str(result, 0, 1, &app) ||
        !floor_str(result, 0, 2, &user) || !floor_str(result, 0, 3, &session) ||
        !floor_str(result, 0, 4, &track) || !floor_jsonb(result, 0, 5, &event) ||
        !floor_timestamp(result, 0, 6, &created) || !floor_timestamp(result, 0, 7, &updated) ||
        !floor_maybe_timestamp(result, 0, 8, &expires) ||
        (PQnfields(result) > 9 && !floor_maybe_timestamp(result, 0, 9, &deleted)))
        bench_die("row", "a value of another shape");
    return (uint64_t)id + app.len + event.len + (uint64_t)created;
}

static void work(void *state, long count)
{
    stream *s = state;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        long rows = 0;
        PGresult *result;
        if (!PQsendQueryPrepared(s->pg, "iter", 0, NULL, NULL, NULL, 1) ||
            !PQsetSingleRowMode(s->pg))
            bench_die("send", PQerrorMessage(s->pg));
        while ((result = PQgetResult(s->pg)) != NULL) {
            if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
                sum += take(result);
                rows++;
            } else if (PQresultStatus(result) != PGRES_TUPLES_OK) {
                bench_die("row", PQerrorMessage(s->pg));
            }
            PQclear(result);
        }
        if (rows != STREAM_ROWS)
            bench_die("row", "too few rows");
    }
    workload_sink = sum;
}

const bench_case floor_stream = {
    .name = "libpq", .setup = stream_fill, .open = open_floor, .work = work, .close = close_floor};
