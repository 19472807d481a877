/* The floor of event-loop: the same loop on libpq's pipeline mode, by hand. */
#include <poll.h>
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct carrier {
    PGconn *pg;
    PGresult *results[PIPELINE_DEPTH];
    int done;   /* results taken */
    bool ended; /* those of the statement that is being read are all there */
    bool under_way;
} carrier;

typedef struct event_loop {
    carrier carriers[EVENT_LOOP_CONNECTIONS];
    char *sql;
    workload_key *keys;
    size_t next;
} event_loop;

static void *open_floor(const bench_run *run, int thread)
{
    event_loop *s = bench_alloc(sizeof *s);
    s->sql = bench_learn_sql(run, NULL, workload_use_get);
    for (int i = 0; i < EVENT_LOOP_CONNECTIONS; i++) {
        PGconn *pg = bench_connect(run);
        bench_prepare(pg, "get", s->sql);
        if (PQsetnonblocking(pg, 1) != 0 || !PQenterPipelineMode(pg))
            bench_die("pipeline", PQerrorMessage(pg));
        s->carriers[i].pg = pg;
    }
    s->keys = workload_keys();
    s->next = (size_t)thread * 61 % WORKLOAD_SESSIONS;
    return s;
}

static void start(event_loop *s, carrier *c)
{
    static const int formats[] = {1, 1, 1};
    for (int i = 0; i < PIPELINE_DEPTH; i++) {
        const workload_key *key = &s->keys[s->next];
        s->next = s->next + 1 < WORKLOAD_SESSIONS ? s->next + 1 : 0;
        const char *const values[] = {WORKLOAD_APP, key->user, key->session};
        const int lengths[] = {sizeof WORKLOAD_APP - 1, (int)key->user_len, (int)key->session_len};
        if (!PQsendQueryPrepared(c->pg, "get", 3, values, lengths, formats, 1))
            bench_die("send", PQerrorMessage(c->pg));
    }
    /* Ten short statements always fit the socket's buffer. */
    if (!PQpipelineSync(c->pg) || PQflush(c->pg) != 0)
        bench_die("sync", PQerrorMessage(c->pg));
    c->done = 0;
    c->ended = true;
    c->under_way = true;
}

/* Reads what has come; true when the batch is complete. */
static bool step(carrier *c)
{
    if (!PQconsumeInput(c->pg))
        bench_die("read", PQerrorMessage(c->pg));
    while (!PQisBusy(c->pg)) {
        PGresult *result = PQgetResult(c->pg);
        if (result == NULL) {
            if (c->ended)
                bench_die("get", "no result");
            c->ended = true;
        } else if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            return true;
        } else if (c->done == PIPELINE_DEPTH || !c->ended) {
            bench_die("get", "too many results");
        } else {
            c->results[c->done++] = result;
            c->ended = false;
        }
    }
    return false;
}

static uint64_t take(carrier *c)
{
    uint64_t sum = 0;
    for (int i = 0; i < PIPELINE_DEPTH; i++) {
        sum += floor_take_session(c->results[i]);
        PQclear(c->results[i]);
    }
    c->under_way = false;
    return sum;
}

static void work(void *state, long count)
{
    event_loop *s = state;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        struct pollfd fds[EVENT_LOOP_CONNECTIONS];
        int open = EVENT_LOOP_CONNECTIONS;
        for (int k = 0; k < EVENT_LOOP_CONNECTIONS; k++)
            start(s, &s->carriers[k]);
        while (open > 0) {
            for (int k = 0; k < EVENT_LOOP_CONNECTIONS; k++) {
                const carrier *c = &s->carriers[k];
                fds[k].fd = c->under_way ? PQsocket(c->pg) : -1;
                fds[k].events = POLLIN;
            }
            if (poll(fds, EVENT_LOOP_CONNECTIONS, -1) < 0)
                bench_die("poll", "failed");
            for (int k = 0; k < EVENT_LOOP_CONNECTIONS; k++) {
                carrier *c = &s->carriers[k];
                if (!c->under_way || fds[k].revents == 0 || !step(c))
                    continue;
                open--;
                sum += take(c);
            }
        }
    }
    workload_sink = sum;
}

static void close_floor(void *state)
{
    event_loop *s = state;
    for (int i = 0; i < EVENT_LOOP_CONNECTIONS; i++)
        PQfinish(s->carriers[i].pg);
    free(s->sql);
    free(s->keys);
    free(s);
}

const bench_case floor_event_loop = {
    .name = "libpq", .open = open_floor, .work = work, .close = close_floor};
