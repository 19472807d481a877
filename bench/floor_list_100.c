/* The floors of list-100. */
#include <stdio.h>
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct event {
    int64_t id;
    floor_text app_name;
    floor_text user_id;
    floor_text session_id;
    floor_text event;
    int64_t created_at;
    int64_t updated_at;
    floor_time expires_at;
    floor_time deleted_at;
} event;

typedef struct list {
    PGconn *pg;
    char *sql;
} list;

static void use_list(stele_conn *conn)
{
    const session_events_session_key key = {
        .app_name = stele_s(WORKLOAD_APP),
        .user_id = stele_s("reader"),
        .session_id = stele_s("listed"),
    };
    session_events_page *page = NULL;
    stele_error err;
    bench_check(session_events_list_by_session(conn, &key, NULL, WORKLOAD_LIST, &page, &err),
                "list", &err);
    session_events_page_free(page);
}

static void *open_params(const bench_run *run, int thread)
{
    (void)thread;
    list *s = bench_alloc(sizeof *s);
    s->pg = bench_connect(run);
    s->sql = bench_learn_sql(run, NULL, use_list);
    return s;
}

static void *open_prepared(const bench_run *run, int thread)
{
    list *s = open_params(run, thread);
    bench_prepare(s->pg, "list", s->sql);
    return s;
}

static void close_floor(void *state)
{
    list *s = state;
    PQfinish(s->pg);
    free(s->sql);
    free(s);
}

static void check(const PGconn *pg, const PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        bench_die("list", PQerrorMessage(pg));
    if (PQnfields(result) != 9 || PQntuples(result) != WORKLOAD_LIST)
        bench_die("list", "a result of another shape");
}

/* In place: each row is decoded into one struct, used, and forgotten. */
static bool decode(const PGresult *result, int row, event *ret)
{
    return floor_int8(result, row, 0, &ret->id) && floor_str(result, row, 1, &ret->app_name) &&
           floor_str(result, row, 2, &ret->user_id) &&
           floor_str(result, row, 3, &ret->session_id) &&
           floor_jsonb(result, row, 4, &ret->event) &&
           floor_timestamp(result, row, 5, &ret->created_at) &&
           floor_timestamp(result, row, 6, &ret->updated_at) &&
           floor_maybe_timestamp(result, row, 7, &ret->expires_at) &&
           floor_maybe_timestamp(result, row, 8, &ret->deleted_at);
}

static uint64_t sum_of(const event *row)
{
    return (uint64_t)row->id + row->app_name.len + row->user_id.len + row->session_id.len +
           row->event.len + (uint64_t)row->created_at + (uint64_t)row->updated_at +
           row->expires_at.has + row->deleted_at.has;
}

static void work_prepared(void *state, long count)
{
    static const int formats[] = {1, 1, 1, 1};
    list *s = state;
    for (long i = 0; i < count; i++) {
        uint64_t limit = htobe64(WORKLOAD_LIST + 1); /* one more tells whether there is more */
        const char *const values[] = {WORKLOAD_APP, "reader", "listed", (const char *)&limit};
        const int lengths[] = {sizeof WORKLOAD_APP - 1, 6, 6, sizeof limit};
        PGresult *result = PQexecPrepared(s->pg, "list", 4, values, lengths, formats, 1);
        check(s->pg, result);
        uint64_t sum = 0;
        for (int row = 0; row < WORKLOAD_LIST; row++) {
            event e;
            if (!decode(result, row, &e))
                bench_die("list", "a row of another shape");
            sum += sum_of(&e);
        }
        workload_sink = sum;
        PQclear(result);
    }
}

static void work_params(void *state, long count)
{
    list *s = state;
    for (long i = 0; i < count; i++) {
        const char *const values[] = {WORKLOAD_APP, "reader", "listed", "101"};
        PGresult *result = PQexecParams(s->pg, s->sql, 4, NULL, values, NULL, NULL, 0);
        check(s->pg, result);
        uint64_t sum = 0;
        for (int row = 0; row < WORKLOAD_LIST; row++) {
            sum += strtoull(PQgetvalue(result, row, 0), NULL, 10);
            for (int column = 1; column < 9; column++)
                if (!PQgetisnull(result, row, column))
                    sum += (uint64_t)PQgetlength(result, row, column);
        }
        workload_sink = sum;
        PQclear(result);
    }
}

const bench_case floor_list_prepared = {
    .name = "prepared", .open = open_prepared, .work = work_prepared, .close = close_floor};
const bench_case floor_list_params = {
    .name = "params", .open = open_params, .work = work_params, .close = close_floor};
