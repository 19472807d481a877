/**
 * The floors: what a careful programmer writes by hand on libpq, without any layer.
 *
 * They send the statements that Stele sends, ask for binary results, check status, shape, NULLs and
 * lengths, and decode in place: texts stay views into the result.
 */
#ifndef STELE_BENCH_FLOOR_H
#define STELE_BENCH_FLOOR_H

#include <endian.h>
#include <string.h>

#include "harness.h"

#define FLOOR_EPOCH_MICROS INT64_C(946684800000000) /* 2000-01-01, where the server counts from */

typedef struct floor_text {
    const char *data; /* NULL for SQL NULL */
    size_t len;
} floor_text;

typedef struct floor_time {
    bool has;
    int64_t micros; /* since 1970 */
} floor_time;

static inline bool floor_int8(const PGresult *result, int row, int column, int64_t *ret)
{
    uint64_t bits;
    if (PQgetisnull(result, row, column) || PQgetlength(result, row, column) != sizeof bits)
        return false;
    memcpy(&bits, PQgetvalue(result, row, column), sizeof bits);
    *ret = (int64_t)be64toh(bits);
    return true;
}

static inline bool floor_timestamp(const PGresult *result, int row, int column, int64_t *ret)
{
    int64_t micros;
    if (!floor_int8(result, row, column, &micros))
        return false;
    *ret = micros + FLOOR_EPOCH_MICROS;
    return true;
}

static inline bool floor_maybe_timestamp(const PGresult *result, int row, int column,
                                         floor_time *ret)
{
    ret->has = !PQgetisnull(result, row, column);
    return !ret->has || floor_timestamp(result, row, column, &ret->micros);
}

static inline bool floor_str(const PGresult *result, int row, int column, floor_text *ret)
{
    if (PQgetisnull(result, row, column))
        return false;
    ret->data = PQgetvalue(result, row, column);
    ret->len = (size_t)PQgetlength(result, row, column);
    return true;
}

static inline bool floor_jsonb(const PGresult *result, int row, int column, floor_text *ret)
{
    if (!floor_str(result, row, column, ret) || ret->len < 1 || ret->data[0] != 1)
        return false;
    ret->data++; /* the version of the format */
    ret->len--;
    return true;
}

/** A row of session_events. */
typedef struct floor_event {
    int64_t id;
    floor_text app_name;
    floor_text user_id;
    floor_text session_id;
    floor_text event;
    int64_t created_at;
    int64_t updated_at;
    floor_time expires_at;
    floor_time deleted_at;
} floor_event;

static inline bool floor_decode_event(const PGresult *result, int row, floor_event *ret)
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

/** Looks at each field. */
static inline uint64_t floor_sum_event(const floor_event *row)
{
    return (uint64_t)row->id + row->app_name.len + row->user_id.len + row->session_id.len +
           row->event.len + (uint64_t)row->created_at + (uint64_t)row->updated_at +
           row->expires_at.has + row->deleted_at.has;
}

/** Looks at each field of the one row of session_states that `result` must hold. */
static inline uint64_t floor_take_session(const PGresult *result)
{
    int64_t id, created, updated;
    floor_text app, user, session, doc = {NULL, 0};
    floor_time expires, deleted;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1 ||
        PQnfields(result) != 9)
        bench_die("get", "a row of another shape");
    if (!PQgetisnull(result, 0, 4) && !floor_jsonb(result, 0, 4, &doc))
        bench_die("get", "no jsonb");
    if (!floor_int8(result, 0, 0, &id) || !floor_str(result, 0, 1, &app) ||
        !floor_str(result, 0, 2, &user) || !floor_str(result, 0, 3, &session) ||
        !floor_timestamp(result, 0, 5, &created) || !floor_timestamp(result, 0, 6, &updated) ||
        !floor_maybe_timestamp(result, 0, 7, &expires) ||
        !floor_maybe_timestamp(result, 0, 8, &deleted))
        bench_die("get", "a value of another shape");
    return (uint64_t)id + app.len + user.len + session.len + doc.len + (uint64_t)created +
           (uint64_t)updated + expires.has + deleted.has;
}

/* ---- point-get ---- */

extern const bench_case floor_point_get_prepared;
extern const bench_case floor_point_get_params;

/* ---- insert ---- */

extern const bench_case floor_insert_prepared;
extern const bench_case floor_insert_returning; /* prepared, and the row back */
extern const bench_case floor_insert_params;

/* ---- list-100 ---- */

extern const bench_case floor_list_prepared;
extern const bench_case floor_list_params;

/* ---- pipeline-10 ---- */

#define PIPELINE_DEPTH 10

extern const bench_case floor_pipeline_10;

/* ---- event-loop ---- */

#define EVENT_LOOP_CONNECTIONS 20 /* each with PIPELINE_DEPTH statements under way */

extern const bench_case floor_event_loop;

/* ---- bulk ---- */

#define BULK_ROWS 10000
/* Before each round, so that all find the same table. */
#define BULK_EMPTY "TRUNCATE session_events"

extern const bench_case floor_bulk_copy;
extern const bench_case floor_bulk_single; /* prepared, in one transaction */

/* ---- group-commit ---- */

#define GROUP_ROWS 10000 /* of an operation, but for those that store one row */
#define GROUP_KEYS 125   /* sessions of each thread, of eight at most */

extern const bench_case floor_group_unnest;
extern const bench_case floor_group_pipeline; /* a state and an event each */
extern const bench_case floor_group_autocommit;

/* ---- stream ---- */

#define STREAM_ROWS 1000000

/** A bench_case.setup: the rows, unless they are there. */
void stream_fill(const bench_run *run);

extern const bench_case floor_stream;

#endif
