/* A million rows, one by one: an operation is one whole stream. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct stream {
    stele_db *db;
    stele_conn *conn;
} stream;

static void *open_stele(const bench_run *run, int thread)
{
    (void)thread;
    stream *s = bench_alloc(sizeof *s);
    s->db = bench_open_db(run, 1);
    s->conn = bench_acquire(s->db);
    return s;
}

static void work_stele(void *state, long count)
{
    stream *s = state;
    stele_error err;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        session_track_events_iter *iter = NULL;
        const session_track_events_row *row = NULL;
        stele_status st;
        long rows = 0;
        bench_check(session_track_events_iter_open(s->conn, NULL, &iter, &err), "open", &err);
        while ((st = session_track_events_iter_next(iter, &row, &err)) == STELE_OK) {
            sum +=
                (uint64_t)row->id + row->app_name.len + row->event.len + (uint64_t)row->created_at;
            rows++;
        }
        if (st != STELE_DONE || rows != STREAM_ROWS)
            bench_die("next", st == STELE_DONE ? "too few rows" : err.message);
        session_track_events_iter_close(iter);
    }
    workload_sink = sum;
}

static void close_stele(void *state)
{
    stream *s = state;
    stele_conn_release(s->conn);
    stele_db_close(s->db);
    free(s);
}

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        {.name = "stele",
         .setup = stream_fill,
         .open = open_stele,
         .work = work_stele,
         .close = close_stele},
        floor_stream,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
