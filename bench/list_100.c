/* The 100 events of a session, 1.1 KB each. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct list {
    stele_db *db;
    stele_conn *conn;
} list;

static void *open_stele(const bench_run *run, int thread)
{
    (void)thread;
    list *s = bench_alloc(sizeof *s);
    s->db = bench_open_db(run, 1);
    s->conn = bench_acquire(s->db);
    return s;
}

static uint64_t sum_of(const session_events_page *page)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < page->count; i++) {
        const session_events_row *row = &page->rows[i];
        sum += (uint64_t)row->id + row->app_name.len + row->user_id.len + row->session_id.len +
               row->event.len + (uint64_t)row->created_at + (uint64_t)row->updated_at +
               row->expires_at.has + row->deleted_at.has;
    }
    return sum;
}

static void work_stele(void *state, long count)
{
    list *s = state;
    stele_error err;
    const session_events_session_key key = {
        .app_name = {WORKLOAD_APP, sizeof WORKLOAD_APP - 1},
        .user_id = {"reader", 6},
        .session_id = {"listed", 6},
    };
    for (long i = 0; i < count; i++) {
        session_events_page *page = NULL;
        bench_check(session_events_list_by_session(s->conn, &key, NULL, WORKLOAD_LIST, &page, &err),
                    "list", &err);
        if (page->count != WORKLOAD_LIST)
            bench_die("list", "another number of rows");
        workload_sink = sum_of(page);
        session_events_page_free(page);
    }
}

static void close_stele(void *state)
{
    list *s = state;
    stele_conn_release(s->conn);
    stele_db_close(s->db);
    free(s);
}

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        {.name = "stele", .open = open_stele, .work = work_stele, .close = close_stele},
        floor_list_prepared,
        floor_list_params,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
