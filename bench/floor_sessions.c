/* The floors that append to a session in five round trips, and those of network and disk. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "floor_sessions.h"

/* ---- what the floors share ------------------------------------------------------------------ */

void floor_sessions_execute(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die(sql, PQerrorMessage(pg));
    PQclear(result);
}

uint64_t floor_sessions_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    int64_t micros = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 - FLOOR_EPOCH_MICROS;
    return htobe64((uint64_t)micros);
}

/* ---- appending ------------------------------------------------------------------------------ */

#define WHERE " WHERE app_name = $1 AND user_id = $2 AND session_id = $3 AND deleted_at IS NULL"

typedef struct appender {
    PGconn *pg;
    sessions_name *names;
    uint32_t name_count;
    uint64_t random;
    json_t *delta;
} appender;

static appender *open_names(const bench_run *run, int thread, int count)
{
    appender *a = bench_alloc(sizeof *a);
    a->pg = bench_connect(run);
    a->names = sessions_names("write", count);
    a->name_count = (uint32_t)count;
    a->random = 88172645463325252u + (uint64_t)thread * 2654435761u;
    a->delta = json_loads(sessions_delta, 0, NULL);
    bench_prepare(a->pg, "lock",
                  "SELECT state, expires_at FROM session_states" WHERE " FOR UPDATE");
    bench_prepare(a->pg, "update",
                  "UPDATE session_states SET state = $4, updated_at = $5, expires_at = NULL" WHERE);
    bench_prepare(a->pg, "insert",
                  "INSERT INTO session_events (app_name, user_id, session_id, event, created_at,"
                  " updated_at, expires_at) VALUES ($1, $2, $3, $4, $5, $5, NULL)");
    return a;
}

static void *open_append(const bench_run *run, int thread)
{
    return open_names(run, thread, SESSIONS_WRITE);
}

static void *open_hot(const bench_run *run, int thread)
{
    return open_names(run, thread, 1);
}

static void close_append(void *state)
{
    appender *a = state;
    PQfinish(a->pg);
    json_decref(a->delta);
    free(a->names);
    free(a);
}

/* The envelope with the change merged into its state, as the peer does. Free it. */
static char *merge(const appender *a, const PGresult *locked)
{
    char now[48];
    floor_text text;
    struct timespec t;
    struct tm utc;
    if (PQresultStatus(locked) != PGRES_TUPLES_OK || PQntuples(locked) != 1 ||
        !floor_jsonb(locked, 0, 0, &text))
        bench_die("lock", PQresultErrorMessage(locked));
    json_t *envelope = json_loadb(text.data, text.len, 0, NULL);
    json_t *state = json_object_get(envelope, "state");
    (void)clock_gettime(CLOCK_REALTIME, &t);
    (void)gmtime_r(&t.tv_sec, &utc);
    size_t len = strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(now + len, sizeof now - len, ".%09ldZ", t.tv_nsec);
    if (state == NULL || json_object_update(state, a->delta) != 0 ||
        json_object_set_new(envelope, "updatedAt", json_string(now)) != 0)
        bench_die("merge", "no envelope");
    char *merged = json_dumps(envelope, JSON_COMPACT);
    if (merged == NULL)
        bench_die("merge", "out of memory");
    json_decref(envelope);
    return merged;
}

static void run_write(PGconn *pg, const char *name, int count, const char *const *values,
                      const int *lengths)
{
    static const int formats[] = {1, 1, 1, 0, 1};
    PGresult *result = PQexecPrepared(pg, name, count, values, lengths, formats, 1);
    if (PQresultStatus(result) != PGRES_COMMAND_OK || strcmp(PQcmdTuples(result), "1") != 0)
        bench_die(name, PQerrorMessage(pg));
    PQclear(result);
}

static void append(appender *a)
{
    static const int formats[] = {1, 1, 1};
    const sessions_name *n = &a->names[bench_random(&a->random) % a->name_count];
    const char *values[] = {SESSIONS_APP, n->user, n->session, NULL, NULL};
    int lengths[] = {sizeof SESSIONS_APP - 1, (int)n->user_len, (int)n->session_len, 0,
                     sizeof(uint64_t)};
    floor_sessions_execute(a->pg, "BEGIN");
    PGresult *locked = PQexecPrepared(a->pg, "lock", 3, values, lengths, formats, 1);
    char *merged = merge(a, locked);
    uint64_t now = floor_sessions_now(); /* under the lock */
    values[3] = merged;
    values[4] = (const char *)&now;
    run_write(a->pg, "update", 5, values, lengths);
    values[3] = sessions_event;
    run_write(a->pg, "insert", 5, values, lengths);
    floor_sessions_execute(a->pg, "COMMIT");
    PQclear(locked);
    free(merged);
}

static void work_append(void *state, long count)
{
    for (long i = 0; i < count; i++)
        append(state);
}

/* ---- network and disk ----------------------------------------------------------------------- */

static void *open_plain(const bench_run *run, int thread)
{
    (void)thread;
    PGconn *pg = bench_connect(run);
    bench_prepare(pg, "ping", "SELECT 1");
    bench_prepare(pg, "commit", "SELECT pg_logical_emit_message(true, 'bench', 'x')");
    return pg;
}

static void close_plain(void *state)
{
    PQfinish(state);
}

static void run_plain(PGconn *pg, const char *name, long count)
{
    for (long i = 0; i < count; i++) {
        PGresult *result = PQexecPrepared(pg, name, 0, NULL, NULL, NULL, 1);
        if (PQresultStatus(result) != PGRES_TUPLES_OK)
            bench_die(name, PQerrorMessage(pg));
        PQclear(result);
    }
}

static void work_ping(void *state, long count)
{
    run_plain(state, "ping", count);
}

static void work_commit(void *state, long count)
{
    run_plain(state, "commit", count);
}

const bench_case floor_sessions_append = {
    .name = "append", .open = open_append, .work = work_append, .close = close_append};
const bench_case floor_sessions_append_hot = {
    .name = "append-hot", .open = open_hot, .work = work_append, .close = close_append};
const bench_case floor_sessions_ping = {
    .name = "ping", .open = open_plain, .work = work_ping, .close = close_plain};
const bench_case floor_sessions_commit = {
    .name = "commit", .open = open_plain, .work = work_commit, .close = close_plain};
