/* The floors of list-100. */
#include <stdio.h>
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

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
        /* In place: each row is decoded into one struct, used, and forgotten. */
        for (int row = 0; row < WORKLOAD_LIST; row++) {
            floor_event event;
            if (!floor_decode_event(result, row, &event))
                bench_die("list", "a row of another shape");
            sum += floor_sum_event(&event);
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
