/*
 * The floors of group-commit: arrays of 500 rows by one statement, pipelines of 250 updates and
 * inserts with one Sync, and a transaction for each row. All wait for the answer before they go on.
 */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

#define BATCH 500
#define COLUMNS 4
#define TEXT_OID 25
#define JSONB_OID 3802

typedef struct group {
    PGconn *pg;
    int thread;
    char *arrays[COLUMNS];
    size_t used[COLUMNS];
} group;

static void *open_floor(const bench_run *run, int thread)
{
    group *s = bench_alloc(sizeof *s);
    s->thread = thread;
    s->pg = bench_connect(run);
    for (int i = 0; i < COLUMNS; i++)
        s->arrays[i] = bench_alloc(BATCH * (workload_event_len + 16) + 64);
    bench_prepare(s->pg, "put",
                  "INSERT INTO session_events (app_name, user_id, session_id, event) "
                  "VALUES ($1, $2, $3, $4)");
    bench_prepare(s->pg, "set",
                  "UPDATE session_states SET state = $2, updated_at = statement_timestamp() "
                  "WHERE id = $1 AND deleted_at IS NULL");
    bench_prepare(s->pg, "many",
                  "INSERT INTO session_events (app_name, user_id, session_id, event) "
                  "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::jsonb[])");
    return s;
}

static void close_floor(void *state)
{
    group *s = state;
    PQfinish(s->pg);
    for (int i = 0; i < COLUMNS; i++)
        free(s->arrays[i]);
    free(s);
}

static void check(const group *s, PGresult *result)
{
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die("put", PQerrorMessage(s->pg));
    PQclear(result);
}

/* ---- arrays ---- */

static void add_number(group *s, int column, uint32_t number)
{
    number = htobe32(number);
    memcpy(s->arrays[column] + s->used[column], &number, sizeof number);
    s->used[column] += sizeof number;
}

static void begin_array(group *s, int column, uint32_t oid)
{
    const uint32_t head[] = {1, 0, oid, BATCH, 1}; /* dimensions, NULLs, type, length, from */
    s->used[column] = 0;
    for (int i = 0; i < 5; i++)
        add_number(s, column, head[i]);
}

static void add_text(group *s, int column, const char *data, size_t len)
{
    add_number(s, column, (uint32_t)len);
    memcpy(s->arrays[column] + s->used[column], data, len);
    s->used[column] += len;
}

static void add_json(group *s, int column, const char *data, size_t len)
{
    add_number(s, column, (uint32_t)len + 1);
    s->arrays[column][s->used[column]++] = 1; /* the version of the format */
    memcpy(s->arrays[column] + s->used[column], data, len);
    s->used[column] += len;
}

static void put_many(group *s)
{
    static const int formats[COLUMNS] = {1, 1, 1, 1};
    const char *values[COLUMNS];
    int lengths[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        begin_array(s, i, i == COLUMNS - 1 ? JSONB_OID : TEXT_OID);
    for (int i = 0; i < BATCH; i++) {
        const int n = i % GROUP_KEYS;
        const char key[] = {'A', (char)('a' + n / 26), (char)('a' + n % 26)};
        add_text(s, 0, WORKLOAD_APP, sizeof WORKLOAD_APP - 1);
        add_text(s, 1, "writer", 6);
        add_text(s, 2, key, sizeof key);
        add_json(s, 3, workload_event, workload_event_len);
    }
    for (int i = 0; i < COLUMNS; i++) {
        values[i] = s->arrays[i];
        lengths[i] = (int)s->used[i];
    }
    check(s, PQexecPrepared(s->pg, "many", COLUMNS, values, lengths, formats, 1));
}

static void work_unnest(void *state, long count)
{
    for (long i = 0; i < count * (GROUP_ROWS / BATCH); i++)
        put_many(state);
}

/* ---- pipelines ---- */

static void send_event(const group *s, int i)
{
    static const int formats[COLUMNS] = {1, 1, 1, 0};
    const int n = i % GROUP_KEYS;
    const char key[] = {'A', (char)('a' + n / 26), (char)('a' + n % 26)};
    const char *const values[] = {WORKLOAD_APP, "writer", key, workload_event};
    const int lengths[] = {sizeof WORKLOAD_APP - 1, 6, sizeof key, 0};
    if (PQsendQueryPrepared(s->pg, "put", COLUMNS, values, lengths, formats, 1) != 1)
        bench_die("put", PQerrorMessage(s->pg));
}

static void send_state(const group *s, int row)
{
    static const int formats[] = {1, 0};
    const uint64_t id = htobe64((uint64_t)(s->thread * GROUP_KEYS + row % GROUP_KEYS) + 1);
    const char *const values[] = {(const char *)&id, "{\"turn\": 1}"};
    const int lengths[] = {sizeof id, 0};
    if (PQsendQueryPrepared(s->pg, "set", 2, values, lengths, formats, 1) != 1)
        bench_die("set", PQerrorMessage(s->pg));
}

static void sync_pipeline(const group *s, int statements)
{
    if (PQpipelineSync(s->pg) != 1)
        bench_die("sync", PQerrorMessage(s->pg));
    for (int i = 0; i < statements; i++) {
        check(s, PQgetResult(s->pg));
        if (PQgetResult(s->pg) != NULL)
            bench_die("sync", "two results");
    }
    PGresult *result = PQgetResult(s->pg);
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC)
        bench_die("sync", PQerrorMessage(s->pg));
    PQclear(result);
}

static void work_pipeline(void *state, long count)
{
    group *s = state;
    if (PQenterPipelineMode(s->pg) != 1)
        bench_die("pipeline", PQerrorMessage(s->pg));
    for (long i = 0; i < count; i++) {
        for (int row = 0; row < GROUP_ROWS; row++) {
            send_state(s, row);
            send_event(s, row);
            if (row % BATCH == BATCH - 1)
                sync_pipeline(s, 2 * BATCH);
        }
    }
    if (PQexitPipelineMode(s->pg) != 1)
        bench_die("pipeline", PQerrorMessage(s->pg));
}

/* ---- one by one ---- */

static void work_autocommit(void *state, long count)
{
    static const int formats[COLUMNS] = {1, 1, 1, 0};
    static const char *const values[] = {WORKLOAD_APP, "writer", "Aaa", workload_event};
    static const int lengths[] = {sizeof WORKLOAD_APP - 1, 6, 3, 0};
    const group *s = state;
    for (long i = 0; i < count; i++)
        check(s, PQexecPrepared(s->pg, "put", COLUMNS, values, lengths, formats, 1));
}

const bench_case floor_group_unnest = {
    .name = "unnest", .open = open_floor, .work = work_unnest, .close = close_floor};
const bench_case floor_group_pipeline = {
    .name = "pipeline", .open = open_floor, .work = work_pipeline, .close = close_floor};
const bench_case floor_group_autocommit = {
    .name = "autocommit", .open = open_floor, .work = work_autocommit, .close = close_floor};
