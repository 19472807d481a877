/* One session by its key: three texts in, nine columns out. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct point_get {
    stele_db *db;
    stele_conn *conn;
    workload_key *keys;
    size_t next;
} point_get;

static void *open_stele(const bench_run *run, int thread)
{
    point_get *s = bench_alloc(sizeof *s);
    s->db = bench_open_db(run, 1);
    s->conn = bench_acquire(s->db);
    s->keys = workload_keys();
    s->next = (size_t)thread * 61 % WORKLOAD_SESSIONS;
    return s;
}

static void work_stele(void *state, long count)
{
    point_get *s = state;
    stele_error err;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        const workload_key *at = &s->keys[s->next];
        s->next = s->next + 1 < WORKLOAD_SESSIONS ? s->next + 1 : 0;
        const session_states_unique_active_key key = {
            .app_name = {WORKLOAD_APP, sizeof WORKLOAD_APP - 1},
            .user_id = {at->user, at->user_len},
            .session_id = {at->session, at->session_len},
        };
        session_states_row *row = NULL;
        bench_check(session_states_find_by_unique_active(s->conn, &key, &row, &err), "find", &err);
        sum += (uint64_t)row->id + row->app_name.len + row->user_id.len + row->session_id.len +
               row->state.len + (uint64_t)row->created_at + (uint64_t)row->updated_at +
               row->expires_at.has + row->deleted_at.has;
        session_states_row_free(row);
    }
    workload_sink = sum;
}

static void close_stele(void *state)
{
    point_get *s = state;
    stele_conn_release(s->conn);
    stele_db_close(s->db);
    free(s->keys);
    free(s);
}

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        {.name = "stele", .open = open_stele, .work = work_stele, .close = close_stele},
        floor_point_get_prepared,
        floor_point_get_params,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
