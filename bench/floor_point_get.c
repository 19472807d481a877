/* The floors of point-get. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct session {
    int64_t id;
    floor_text app_name;
    floor_text user_id;
    floor_text session_id;
    floor_text state; /* may be NULL */
    int64_t created_at;
    int64_t updated_at;
    floor_time expires_at;
    floor_time deleted_at;
} session;

typedef struct point_get {
    PGconn *pg;
    char *sql;
    workload_key *keys;
    size_t next;
} point_get;

static void *open_params(const bench_run *run, int thread)
{
    point_get *s = bench_alloc(sizeof *s);
    s->pg = bench_connect(run);
    s->sql = bench_learn_sql(run, NULL, workload_use_get);
    s->keys = workload_keys();
    s->next = (size_t)thread * 61 % WORKLOAD_SESSIONS;
    return s;
}

static void *open_prepared(const bench_run *run, int thread)
{
    point_get *s = open_params(run, thread);
    bench_prepare(s->pg, "get", s->sql);
    return s;
}

static void close_floor(void *state)
{
    point_get *s = state;
    PQfinish(s->pg);
    free(s->sql);
    free(s->keys);
    free(s);
}

static uint64_t sum_of(const session *row)
{
    return (uint64_t)row->id + row->app_name.len + row->user_id.len + row->session_id.len +
           row->state.len + (uint64_t)row->created_at + (uint64_t)row->updated_at +
           row->expires_at.has + row->deleted_at.has;
}

static const workload_key *next_key(point_get *s)
{
    const workload_key *key = &s->keys[s->next];
    s->next = s->next + 1 < WORKLOAD_SESSIONS ? s->next + 1 : 0;
    return key;
}

/* ---- prepared, binary ---- */

static bool decode(const PGresult *result, session *ret)
{
    if (PQnfields(result) != 9 || PQntuples(result) != 1)
        return false;
    ret->state = (floor_text){NULL, 0};
    if (!PQgetisnull(result, 0, 4) && !floor_jsonb(result, 0, 4, &ret->state))
        return false;
    return floor_int8(result, 0, 0, &ret->id) && floor_str(result, 0, 1, &ret->app_name) &&
           floor_str(result, 0, 2, &ret->user_id) && floor_str(result, 0, 3, &ret->session_id) &&
           floor_timestamp(result, 0, 5, &ret->created_at) &&
           floor_timestamp(result, 0, 6, &ret->updated_at) &&
           floor_maybe_timestamp(result, 0, 7, &ret->expires_at) &&
           floor_maybe_timestamp(result, 0, 8, &ret->deleted_at);
}

static void work_prepared(void *state, long count)
{
    static const int formats[] = {1, 1, 1};
    point_get *s = state;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        const workload_key *key = next_key(s);
        const char *const values[] = {WORKLOAD_APP, key->user, key->session};
        const int lengths[] = {sizeof WORKLOAD_APP - 1, (int)key->user_len, (int)key->session_len};
        PGresult *result = PQexecPrepared(s->pg, "get", 3, values, lengths, formats, 1);
        if (PQresultStatus(result) != PGRES_TUPLES_OK)
            bench_die("get", PQerrorMessage(s->pg));
        session row;
        if (!decode(result, &row))
            bench_die("get", "a row of another shape");
        sum += sum_of(&row);
        PQclear(result);
    }
    workload_sink = sum;
}

/* ---- PQexecParams, text ---- */

/* What libpq's documentation shows first: text both ways, planned each time. */
static void work_params(void *state, long count)
{
    point_get *s = state;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        const workload_key *key = next_key(s);
        const char *const values[] = {WORKLOAD_APP, key->user, key->session};
        PGresult *result = PQexecParams(s->pg, s->sql, 3, NULL, values, NULL, NULL, 0);
        if (PQresultStatus(result) != PGRES_TUPLES_OK)
            bench_die("get", PQerrorMessage(s->pg));
        if (PQnfields(result) != 9 || PQntuples(result) != 1)
            bench_die("get", "a row of another shape");
        sum += strtoull(PQgetvalue(result, 0, 0), NULL, 10);
        for (int column = 1; column < 7;
             column++) /* times stay text: parsing them would be unfair */
            if (column == 4 || !PQgetisnull(result, 0, column))
                sum += (uint64_t)PQgetlength(result, 0, column);
        sum += !PQgetisnull(result, 0, 7);
        sum += !PQgetisnull(result, 0, 8);
        PQclear(result);
    }
    workload_sink = sum;
}

const bench_case floor_point_get_prepared = {
    .name = "prepared", .open = open_prepared, .work = work_prepared, .close = close_floor};
const bench_case floor_point_get_params = {
    .name = "params", .open = open_params, .work = work_params, .close = close_floor};
