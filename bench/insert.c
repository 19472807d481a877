/* One event of 1.1 KB: four columns in; nothing back, or the row as it was stored. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct insert {
    stele_db *db;
    stele_conn *conn;
} insert;

static void *open_stele(const bench_run *run, int thread)
{
    (void)thread;
    insert *s = bench_alloc(sizeof *s);
    s->db = bench_open_db(run, 1);
    s->conn = bench_acquire(s->db);
    return s;
}

static void work_stele(void *state, long count)
{
    insert *s = state;
    stele_error err;
    for (long i = 0; i < count; i++) {
        const session_events_input input = {
            .app_name = stele_text_of((stele_str){WORKLOAD_APP, sizeof WORKLOAD_APP - 1}),
            .user_id = stele_text_of((stele_str){"writer", 6}),
            .session_id = stele_text_of((stele_str){"written", 7}),
            .event = stele_text_of((stele_str){workload_event, workload_event_len}),
        };
        bench_check(session_events_insert(s->conn, &input, NULL, &err), "insert", &err);
    }
}

static void work_returning(void *state, long count)
{
    insert *s = state;
    stele_error err;
    for (long i = 0; i < count; i++) {
        const session_events_input input = {
            .app_name = stele_text_of((stele_str){WORKLOAD_APP, sizeof WORKLOAD_APP - 1}),
            .user_id = stele_text_of((stele_str){"writer", 6}),
            .session_id = stele_text_of((stele_str){"written", 7}),
            .event = stele_text_of((stele_str){workload_event, workload_event_len}),
        };
        session_events_row *row = NULL;
        bench_check(session_events_insert(s->conn, &input, &row, &err), "insert", &err);
        workload_sink = (uint64_t)row->id + row->app_name.len + row->user_id.len +
                        row->session_id.len + row->event.len + (uint64_t)row->created_at +
                        (uint64_t)row->updated_at + row->expires_at.has + row->deleted_at.has;
        session_events_row_free(row);
    }
}

static void close_stele(void *state)
{
    insert *s = state;
    stele_conn_release(s->conn);
    stele_db_close(s->db);
    free(s);
}

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        {.name = "stele", .open = open_stele, .work = work_stele, .close = close_stele},
        {.name = "stele-returning",
         .open = open_stele,
         .work = work_returning,
         .close = close_stele},
        floor_insert_prepared,
        floor_insert_returning,
        floor_insert_params,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
