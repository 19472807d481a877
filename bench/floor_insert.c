/* The floors of insert. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct insert {
    PGconn *pg;
    char *sql;
} insert;

static void use(stele_conn *conn, session_events_row **ret_row)
{
    const session_events_input input = {
        .app_name = stele_text_v(WORKLOAD_APP),
        .user_id = stele_text_v("writer"),
        .session_id = stele_text_v("written"),
        .event = stele_text_v(workload_event),
    };
    stele_error err;
    bench_check(session_events_insert(conn, &input, ret_row, &err), "insert", &err);
}

static void use_insert(stele_conn *conn)
{
    use(conn, NULL);
}

static void use_returning(stele_conn *conn)
{
    session_events_row *row = NULL;
    use(conn, &row);
    session_events_row_free(row);
}

static insert *open_with(const bench_run *run, void (*usage)(stele_conn *conn))
{
    insert *s = bench_alloc(sizeof *s);
    s->pg = bench_connect(run);
    s->sql = bench_learn_sql(run, NULL, usage);
    return s;
}

static void *open_params(const bench_run *run, int thread)
{
    (void)thread;
    return open_with(run, use_insert);
}

static void *open_prepared(const bench_run *run, int thread)
{
    insert *s = open_params(run, thread);
    bench_prepare(s->pg, "put", s->sql);
    return s;
}

static void *open_returning(const bench_run *run, int thread)
{
    (void)thread;
    insert *s = open_with(run, use_returning);
    bench_prepare(s->pg, "put", s->sql);
    return s;
}

static void close_floor(void *state)
{
    insert *s = state;
    PQfinish(s->pg);
    free(s->sql);
    free(s);
}

static void check(const PGconn *pg, const PGresult *result)
{
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die("put", PQerrorMessage(pg));
}

/*
 * The texts go in binary, since their lengths are known; the event goes as text, which spares the
 * copy that jsonb's version byte in front would need.
 */
static PGresult *put(const insert *s)
{
    static const int formats[] = {1, 1, 1, 0};
    const char *const values[] = {WORKLOAD_APP, "writer", "written", workload_event};
    const int lengths[] = {sizeof WORKLOAD_APP - 1, 6, 7, 0};
    return PQexecPrepared(s->pg, "put", 4, values, lengths, formats, 1);
}

static void work_prepared(void *state, long count)
{
    insert *s = state;
    for (long i = 0; i < count; i++) {
        PGresult *result = put(s);
        check(s->pg, result);
        PQclear(result);
    }
}

static void work_returning(void *state, long count)
{
    insert *s = state;
    for (long i = 0; i < count; i++) {
        PGresult *result = put(s);
        if (PQresultStatus(result) != PGRES_TUPLES_OK)
            bench_die("put", PQerrorMessage(s->pg));
        floor_event event;
        if (PQnfields(result) != 9 || PQntuples(result) != 1 ||
            !floor_decode_event(result, 0, &event))
            bench_die("put", "a row of another shape");
        workload_sink = floor_sum_event(&event);
        PQclear(result);
    }
}

static void work_params(void *state, long count)
{
    insert *s = state;
    for (long i = 0; i < count; i++) {
        const char *const values[] = {WORKLOAD_APP, "writer", "written", workload_event};
        PGresult *result = PQexecParams(s->pg, s->sql, 4, NULL, values, NULL, NULL, 0);
        check(s->pg, result);
        PQclear(result);
    }
}

const bench_case floor_insert_prepared = {
    .name = "prepared", .open = open_prepared, .work = work_prepared, .close = close_floor};
const bench_case floor_insert_returning = {
    .name = "returning", .open = open_returning, .work = work_returning, .close = close_floor};
const bench_case floor_insert_params = {
    .name = "params", .open = open_params, .work = work_params, .close = close_floor};
