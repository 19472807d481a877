/* Ten sessions by their keys: one at a time, or in one pipeline. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct pipeline_10 {
    stele_db *db;
    stele_conn *conn;
    stele_pipeline *batch;
    workload_key *keys;
    size_t next;
} pipeline_10;

static void *open_stele(const bench_run *run, int thread)
{
    stele_error err;
    pipeline_10 *s = bench_alloc(sizeof *s);
    s->db = bench_open_db(run, 1);
    s->conn = bench_acquire(s->db);
    bench_check(stele_pipeline_open(s->conn, NULL, &s->batch, &err), "pipeline", &err);
    s->keys = workload_keys();
    s->next = (size_t)thread * 61 % WORKLOAD_SESSIONS;
    return s;
}

static session_states_unique_active_key next_key(pipeline_10 *s)
{
    const workload_key *at = &s->keys[s->next];
    s->next = s->next + 1 < WORKLOAD_SESSIONS ? s->next + 1 : 0;
    return (session_states_unique_active_key){
        .app_name = {WORKLOAD_APP, sizeof WORKLOAD_APP - 1},
        .user_id = {at->user, at->user_len},
        .session_id = {at->session, at->session_len},
    };
}

static uint64_t take(session_states_row *row)
{
    uint64_t sum = (uint64_t)row->id + row->app_name.len + row->user_id.len + row->session_id.len +
                   row->state.len + (uint64_t)row->created_at + (uint64_t)row->updated_at +
                   row->expires_at.has + row->deleted_at.has;
    session_states_row_free(row);
    return sum;
}

static void work_stele(void *state, long count)
{
    pipeline_10 *s = state;
    stele_error err;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        session_states_row *rows[PIPELINE_DEPTH];
        for (int k = 0; k < PIPELINE_DEPTH; k++) {
            const session_states_unique_active_key key = next_key(s);
            bench_check(session_states_find_by_unique_active_queue(s->batch, &key, &rows[k], &err),
                        "queue", &err);
        }
        bench_check(stele_pipeline_sync(s->batch, &err), "sync", &err);
        for (int k = 0; k < PIPELINE_DEPTH; k++)
            sum += take(rows[k]);
    }
    workload_sink = sum;
}

static void work_sequential(void *state, long count)
{
    pipeline_10 *s = state;
    stele_error err;
    uint64_t sum = 0;
    for (long i = 0; i < count * PIPELINE_DEPTH; i++) {
        const session_states_unique_active_key key = next_key(s);
        session_states_row *row = NULL;
        bench_check(session_states_find_by_unique_active(s->conn, &key, &row, &err), "find", &err);
        sum += take(row);
    }
    workload_sink = sum;
}

static void close_stele(void *state)
{
    pipeline_10 *s = state;
    stele_pipeline_close(s->batch);
    stele_conn_release(s->conn);
    stele_db_close(s->db);
    free(s->keys);
    free(s);
}

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        {.name = "stele", .open = open_stele, .work = work_stele, .close = close_stele},
        {.name = "sequential", .open = open_stele, .work = work_sequential, .close = close_stele},
        floor_pipeline_10,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
