/* Ten thousand events of 1.1 KB in one call: four columns in, nothing back. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct bulk {
    stele_db *db;
    stele_conn *conn;
    session_events_input *rows;
} bulk;

static void *open_stele(const bench_run *run, int thread)
{
    (void)thread;
    bulk *s = bench_alloc(sizeof *s);
    s->db = bench_open_db(run, 1);
    s->conn = bench_acquire(s->db);
    s->rows = bench_alloc(BULK_ROWS * sizeof *s->rows);
    for (int i = 0; i < BULK_ROWS; i++)
        s->rows[i] = (session_events_input){
            .app_name = stele_text_of((stele_str){WORKLOAD_APP, sizeof WORKLOAD_APP - 1}),
            .user_id = stele_text_of((stele_str){"writer", 6}),
            .session_id = stele_text_of((stele_str){"written", 7}),
            .event = stele_text_of((stele_str){workload_event, workload_event_len}),
        };
    return s;
}

static void insert(bulk *s, size_t count, const stele_bulk_options *options)
{
    stele_error err;
    bench_check(session_events_insert_many(s->conn, s->rows, count, options, NULL, NULL, &err),
                "insert_many", &err);
}

static void empty(bulk *s)
{
    stele_error err;
    bench_check(stele_conn_exec(s->conn, BULK_EMPTY, NULL, 0, NULL, &err), BULK_EMPTY, &err);
}

static void work_copy(void *state, long count)
{
    bulk *s = state;
    for (long i = 0; i < count; i++) {
        empty(s);
        insert(s, BULK_ROWS, NULL);
    }
}

/* As arrays, 500 rows each, all in one transaction. */
static void work_arrays(void *state, long count)
{
    bulk *s = state;
    stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
    options.copy_threshold = UINT32_MAX;
    options.batch_rows = 500;
    for (long i = 0; i < count; i++) {
        empty(s);
        insert(s, BULK_ROWS, &options);
    }
}

static void close_stele(void *state)
{
    bulk *s = state;
    stele_conn_release(s->conn);
    stele_db_close(s->db);
    free(s->rows);
    free(s);
}

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        {.name = "stele", .open = open_stele, .work = work_copy, .close = close_stele},
        {.name = "stele-arrays", .open = open_stele, .work = work_arrays, .close = close_stele},
        floor_bulk_copy,
        floor_bulk_single,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
