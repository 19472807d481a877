/* The floors that read sessions: five round trips as the peer does, and the store's own statement. */
#include <stdlib.h>

#include <stele/sessions.h>

#include "floor_sessions.h"

#define OF_SESSION                                                                                 \
    " WHERE app_name = $1 AND user_id = $2 AND session_id = $3 AND deleted_at IS NULL"
#define ALIVE " AND (expires_at IS NULL OR expires_at > "

static volatile uint64_t sink;

typedef struct reader {
    PGconn *pg;
    sessions_name *names;
    uint32_t name_count;
    uint64_t random;
    int least;
} reader;

static reader *open_reader(const bench_run *run, int thread, const char *kind, int count)
{
    reader *r = bench_alloc(sizeof *r);
    r->pg = bench_connect(run);
    r->names = sessions_names(kind, count);
    r->name_count = (uint32_t)count;
    r->random = 88172645463325252u + (uint64_t)thread * 2654435761u;
    return r;
}

static void close_reader(void *state)
{
    reader *r = state;
    PQfinish(r->pg);
    free(r->names);
    free(r);
}

/* ---- five round trips ----------------------------------------------------------------------- */

static reader *open_five(const bench_run *run, int thread, const char *kind, int count)
{
    reader *r = open_reader(run, thread, kind, count);
    bench_prepare(r->pg, "state",
                  "SELECT state, created_at, updated_at FROM session_states" OF_SESSION ALIVE
                  "$4)");
    bench_prepare(
        r->pg, "app",
        "SELECT key, value FROM app_states WHERE app_name = $1 AND deleted_at IS NULL" ALIVE "$2)");
    bench_prepare(r->pg, "user",
                  "SELECT key, value FROM user_states WHERE app_name = $1 AND user_id = $2 AND"
                  " deleted_at IS NULL" ALIVE "$3)");
    bench_prepare(r->pg, "events",
                  "SELECT id, created_at, event FROM session_events" OF_SESSION
                  " ORDER BY created_at, id");
    bench_prepare(r->pg, "summaries",
                  "SELECT filter_key, updated_at, summary FROM session_summaries" OF_SESSION ALIVE
                  "$4)");
    return r;
}

static void *open_get(const bench_run *run, int thread)
{
    reader *r = open_five(run, thread, "read", SESSIONS_READ);
    r->least = SESSIONS_EVENTS;
    return r;
}

static void *open_last(const bench_run *run, int thread)
{
    reader *r = open_five(run, thread, "big", 1);
    r->least = SESSIONS_BIG;
    return r;
}

static PGresult *query(PGconn *pg, const char *name, int count, const char *const *values,
                       const int *lengths)
{
    static const int formats[] = {1, 1, 1, 1};
    PGresult *result = PQexecPrepared(pg, name, count, values, lengths, formats, 1);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        bench_die(name, PQerrorMessage(pg));
    return result;
}

static uint64_t sum_of_state(const PGresult *result)
{
    floor_text state;
    int64_t created, updated;
    if (PQntuples(result) != 1 || PQnfields(result) != 3 || !floor_jsonb(result, 0, 0, &state) ||
        !floor_timestamp(result, 0, 1, &created) || !floor_timestamp(result, 0, 2, &updated))
        bench_die("state", "a row of another shape");
    return state.len + (uint64_t)updated;
}

static uint64_t sum_of_values(const PGresult *result)
{
    uint64_t sum = 0;
    floor_text key, value;
    for (int i = 0; i < PQntuples(result); i++) {
        if (!floor_str(result, i, 0, &key) || !floor_str(result, i, 1, &value))
            bench_die("values", "a row of another shape");
        sum += key.len + value.len;
    }
    return sum;
}

/* From `first` on, as nothing else is wanted. */
static uint64_t sum_of_events(const PGresult *result, int first)
{
    uint64_t sum = 0;
    int64_t id, created;
    floor_text event;
    for (int i = first; i < PQntuples(result); i++) {
        if (!floor_int8(result, i, 0, &id) || !floor_timestamp(result, i, 1, &created) ||
            !floor_jsonb(result, i, 2, &event))
            bench_die("events", "a row of another shape");
        sum += (uint64_t)id + (uint64_t)created + event.len;
    }
    return sum;
}

static uint64_t sum_of_summaries(const PGresult *result)
{
    uint64_t sum = 0;
    int64_t updated;
    floor_text key, summary;
    for (int i = 0; i < PQntuples(result); i++) {
        if (!floor_str(result, i, 0, &key) || !floor_timestamp(result, i, 1, &updated) ||
            !floor_jsonb(result, i, 2, &summary))
            bench_die("summaries", "a row of another shape");
        sum += key.len + (uint64_t)updated + summary.len;
    }
    return sum;
}

static void get(reader *r, int last)
{
    uint64_t now = floor_sessions_now();
    const sessions_name *n = &r->names[bench_random(&r->random) % r->name_count];
    const char *time = (const char *)&now;
    const char *const session[] = {SESSIONS_APP, n->user, n->session, time};
    const int session_lengths[] = {sizeof SESSIONS_APP - 1, (int)n->user_len, (int)n->session_len,
                                   sizeof now};
    const char *const app[] = {SESSIONS_APP, time};
    const int app_lengths[] = {sizeof SESSIONS_APP - 1, sizeof now};
    const char *const user[] = {SESSIONS_APP, n->user, time};
    const int user_lengths[] = {sizeof SESSIONS_APP - 1, (int)n->user_len, sizeof now};
    PGresult *state = query(r->pg, "state", 4, session, session_lengths);
    PGresult *of_app = query(r->pg, "app", 2, app, app_lengths);
    PGresult *of_user = query(r->pg, "user", 3, user, user_lengths);
    PGresult *events = query(r->pg, "events", 3, session, session_lengths);
    PGresult *summaries = query(r->pg, "summaries", 4, session, session_lengths);
    int found = PQntuples(events);
    if (found < r->least)
        bench_die("events", "too few");
    sink = sum_of_state(state) + sum_of_values(of_app) + sum_of_values(of_user) +
           sum_of_events(events, found > last ? found - last : 0) + sum_of_summaries(summaries);
    PQclear(state);
    PQclear(of_app);
    PQclear(of_user);
    PQclear(events);
    PQclear(summaries);
}

static void work_get(void *state, long count)
{
    for (long i = 0; i < count; i++)
        get(state, SESSIONS_EVENTS);
}

static void work_last(void *state, long count)
{
    for (long i = 0; i < count; i++)
        get(state, SESSIONS_LAST);
}

/* ---- the store's own statement -------------------------------------------------------------- */

/* What stele_sessions_get() prepares. Free it. */
static char *learn(const bench_run *run)
{
    stele_error err;
    stele_sessions *store = NULL;
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    const stele_session_key key = {stele_s(SESSIONS_APP), stele_s("user-000"),
                                   stele_s("long-00000")};
    options.dsn = run->dsn;
    options.pool.max_connections = 1;
    bench_check(stele_sessions_open(&options, &store, &err), "stele_sessions_open", &err);
    for (int i = 0; i < 2; i++) { /* the second use prepares it */
        stele_session *session = NULL;
        bench_check(stele_sessions_get(store, &key, NULL, &session, &err), "get", &err);
        stele_session_free(session);
    }
    char *sql = bench_latest_sql(stele_sessions_db(store));
    bench_check(stele_sessions_close(store, 1000, NULL, &err), "stele_sessions_close", &err);
    return sql;
}

static void *open_long(const bench_run *run, int thread)
{
    reader *r = open_reader(run, thread, "long", 1);
    char *sql = learn(run);
    bench_prepare(r->pg, "get", sql);
    free(sql);
    return r;
}

typedef struct get_row {
    int32_t kind;
    floor_text name;
    int64_t id;
    floor_time created_at;
    floor_time updated_at;
    floor_text body;
} get_row;

static bool decode(const PGresult *result, int row, get_row *ret)
{
    uint32_t kind;
    if (PQgetisnull(result, row, 0) || PQgetlength(result, row, 0) != sizeof kind)
        return false;
    memcpy(&kind, PQgetvalue(result, row, 0), sizeof kind);
    ret->kind = (int32_t)be32toh(kind);
    ret->name = (floor_text){NULL, 0};
    ret->body = (floor_text){NULL, 0};
    ret->id = 0;
    return (PQgetisnull(result, row, 1) || floor_str(result, row, 1, &ret->name)) &&
           (PQgetisnull(result, row, 2) || floor_int8(result, row, 2, &ret->id)) &&
           floor_maybe_timestamp(result, row, 3, &ret->created_at) &&
           floor_maybe_timestamp(result, row, 4, &ret->updated_at) &&
           (PQgetisnull(result, row, 5) || floor_str(result, row, 5, &ret->body));
}

/* Each row is decoded in place into one struct, used, and forgotten. */
static uint64_t sum_of_rows(const PGresult *result)
{
    uint64_t sum = 0;
    get_row row = {0};
    for (int i = 0; i < PQntuples(result); i++) {
        if (!decode(result, i, &row))
            bench_die("get", "a row of another shape");
        sum += (uint64_t)row.kind + (uint64_t)row.id + row.name.len + row.body.len +
               (uint64_t)row.created_at.micros + row.updated_at.has;
    }
    return sum;
}

static void work_long(void *state, long count)
{
    reader *r = state;
    const uint64_t limit = htobe64(SESSIONS_LONG);
    const uint64_t ever = htobe64((uint64_t)INT64_MIN); /* -infinity */
    const char *const values[] = {SESSIONS_APP, r->names->user, r->names->session,
                                  (const char *)&limit, (const char *)&ever};
    const int lengths[] = {sizeof SESSIONS_APP - 1, (int)r->names->user_len,
                           (int)r->names->session_len, sizeof limit, sizeof ever};
    static const int formats[] = {1, 1, 1, 1, 1};
    for (long i = 0; i < count; i++) {
        PGresult *result = PQexecPrepared(r->pg, "get", 5, values, lengths, formats, 1);
        if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) != 6 ||
            PQntuples(result) < SESSIONS_LONG)
            bench_die("get", PQerrorMessage(r->pg));
        sink = sum_of_rows(result);
        PQclear(result);
    }
}

const bench_case floor_sessions_get = {
    .name = "get", .open = open_get, .work = work_get, .close = close_reader};
const bench_case floor_sessions_last = {
    .name = "last", .open = open_last, .work = work_last, .close = close_reader};
const bench_case floor_sessions_long = {
    .name = "long", .open = open_long, .work = work_long, .close = close_reader};
