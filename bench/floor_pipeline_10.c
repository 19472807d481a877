/* The floor of pipeline-10: libpq's pipeline mode as its documentation shows it. */
#include <poll.h>
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct pipeline_10 {
    PGconn *pg;
    char *sql;
    workload_key *keys;
    size_t next;
} pipeline_10;

static void *open_floor(const bench_run *run, int thread)
{
    pipeline_10 *s = bench_alloc(sizeof *s);
    s->pg = bench_connect(run);
    s->sql = bench_learn_sql(run, NULL, workload_use_get);
    bench_prepare(s->pg, "get", s->sql);
    if (PQsetnonblocking(s->pg, 1) != 0 || !PQenterPipelineMode(s->pg))
        bench_die("pipeline", PQerrorMessage(s->pg));
    s->keys = workload_keys();
    s->next = (size_t)thread * 61 % WORKLOAD_SESSIONS;
    return s;
}

static void close_floor(void *state)
{
    pipeline_10 *s = state;
    PQfinish(s->pg);
    free(s->sql);
    free(s->keys);
    free(s);
}

/* Waits as long as libpq would block. */
static void await(PGconn *pg)
{
    while (PQisBusy(pg)) {
        struct pollfd fd = {.fd = PQsocket(pg), .events = POLLIN};
        if (poll(&fd, 1, -1) < 0 || !PQconsumeInput(pg))
            bench_die("pipeline", PQerrorMessage(pg));
    }
}

static void send_ten(pipeline_10 *s)
{
    static const int formats[] = {1, 1, 1};
    for (int i = 0; i < PIPELINE_DEPTH; i++) {
        const workload_key *key = &s->keys[s->next];
        s->next = s->next + 1 < WORKLOAD_SESSIONS ? s->next + 1 : 0;
        const char *const values[] = {WORKLOAD_APP, key->user, key->session};
        const int lengths[] = {sizeof WORKLOAD_APP - 1, (int)key->user_len, (int)key->session_len};
        if (!PQsendQueryPrepared(s->pg, "get", 3, values, lengths, formats, 1))
            bench_die("send", PQerrorMessage(s->pg));
    }
    if (!PQpipelineSync(s->pg) || PQflush(s->pg) != 0)
        bench_die("sync", PQerrorMessage(s->pg));
}

static void work(void *state, long count)
{
    pipeline_10 *s = state;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        PGresult *results[PIPELINE_DEPTH];
        send_ten(s);
        for (int k = 0; k < PIPELINE_DEPTH; k++) {
            await(s->pg);
            results[k] = PQgetResult(s->pg);
            await(s->pg);
            if (PQgetResult(s->pg) != NULL)
                bench_die("get", "two results");
        }
        await(s->pg);
        PGresult *sync = PQgetResult(s->pg);
        if (PQresultStatus(sync) != PGRES_PIPELINE_SYNC)
            bench_die("sync", "no answer");
        PQclear(sync);
        for (int k = 0; k < PIPELINE_DEPTH; k++) {
            sum += floor_take_session(results[k]);
            PQclear(results[k]);
        }
    }
    workload_sink = sum;
}

const bench_case floor_pipeline_10 = {
    .name = "libpq", .open = open_floor, .work = work, .close = close_floor};
