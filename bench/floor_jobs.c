/*
 * Claiming and ending jobs by hand: two prepared statements, each a transaction, in a loop.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static const char claim_sql[] =
    "WITH picked AS MATERIALIZED (SELECT t.id FROM bench_jobs AS t WHERE t.state = 'available'"
    " AND t.kind = 'plain' AND t.run_at <= statement_timestamp()"
    " ORDER BY t.priority DESC, t.run_at, t.id LIMIT " TEXT(
        JOBS_BATCH) " FOR UPDATE OF t SKIP LOCKED)"
                    " UPDATE bench_jobs AS t SET state = 'running', attempt = t.attempt + 1,"
                    " token = t.token + 1, lease_until = statement_timestamp() + interval '30 s'"
                    " WHERE t.id = ANY (ARRAY(SELECT p.id FROM picked AS p))"
                    " RETURNING t.id, t.token, t.dedupe_key, t.args";

static const char end_sql[] =
    "UPDATE bench_jobs AS t SET state = 'done', done_gen = t.gen, lease_until = NULL,"
    " finished_at = statement_timestamp()"
    " FROM unnest($1::int8[], $2::int8[]) AS u(id, token)"
    " WHERE t.id = u.id AND t.token = u.token AND t.state = 'running'";

static void add(char *list, size_t size, size_t *len, const char *number)
{
    int written = snprintf(list + *len, size - *len, "%s%s", *len == 1 ? "" : ",", number);
    if (written < 0 || (size_t)written >= size - *len)
        bench_die("list", "too long");
    *len += (size_t)written;
}

/* Ends what was claimed; false when that was nothing. */
static bool end(PGconn *pg, const PGresult *claimed)
{
    char ids[JOBS_BATCH * 22 + 3] = "{";
    char tokens[JOBS_BATCH * 22 + 3] = "{";
    size_t id_len = 1;
    size_t token_len = 1;
    int n = PQntuples(claimed);
    for (int i = 0; i < n; i++) {
        add(ids, sizeof ids - 2, &id_len, PQgetvalue(claimed, i, 0));
        add(tokens, sizeof tokens - 2, &token_len, PQgetvalue(claimed, i, 1));
    }
    if (n == 0)
        return false;
    memcpy(ids + id_len, "}", 2);
    memcpy(tokens + token_len, "}", 2);
    const char *params[] = {ids, tokens};
    PQclear(jobs_must(PQexecPrepared(pg, "end", 2, params, NULL, NULL, 0), pg));
    return true;
}

static PGconn *connect_prepared(void)
{
    PGconn *pg = bench_connect(&jobs_run);
    bench_prepare(pg, "claim", claim_sql);
    bench_prepare(pg, "end", end_sql);
    return pg;
}

static PGresult *claim(PGconn *pg)
{
    return jobs_must(PQexecPrepared(pg, "claim", 0, NULL, NULL, NULL, 0), pg);
}

static void *work(void *arg)
{
    PGconn *pg = arg;
    bool more = true;
    while (more) {
        PGresult *claimed = claim(pg);
        more = end(pg, claimed);
        PQclear(claimed);
    }
    return NULL;
}

void jobs_by_hand(int threads)
{
    pthread_t *handles = bench_alloc((size_t)threads * sizeof *handles);
    PGconn **conns = bench_alloc((size_t)threads * sizeof *conns);
    for (int i = 0; i < threads; i++)
        conns[i] = connect_prepared();
    for (int i = 0; i < threads; i++)
        if (pthread_create(&handles[i], NULL, work, conns[i]) != 0)
            bench_die("threads", "cannot start one");
    for (int i = 0; i < threads; i++) {
        (void)pthread_join(handles[i], NULL);
        PQfinish(conns[i]);
    }
    free(handles);
    free(conns);
}

/* ---- waiting for NOTIFY ---- */

static void *listen_and_work(void *arg)
{
    jobs_times *times = arg;
    PGconn *pg = connect_prepared();
    PQclear(jobs_must(PQexec(pg, "LISTEN bench_jobs"), pg));
    while (__atomic_load_n(&times->begun, __ATOMIC_RELAXED) < times->count) {
        PGnotify *note;
        PGresult *claimed = claim(pg);
        for (int i = 0; i < PQntuples(claimed); i++)
            jobs_begin(times, PQgetvalue(claimed, i, 2), (size_t)PQgetlength(claimed, i, 2));
        bool some = end(pg, claimed);
        PQclear(claimed);
        while ((note = PQnotifies(pg)) != NULL) {
            some = true;
            PQfreemem(note);
        }
        if (some)
            continue;
        struct pollfd fd = {.fd = PQsocket(pg), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
        (void)PQconsumeInput(pg);
    }
    PQfinish(pg);
    return NULL;
}

static void ask(void *user, const char *key)
{
    PGconn *pg = user;
    const char *params[] = {key};
    PQclear(jobs_must(PQexecPrepared(pg, "ask", 1, params, NULL, NULL, 0), pg));
    PQclear(jobs_must(PQexec(pg, "NOTIFY bench_jobs"), pg));
}

void jobs_listen_by_hand(jobs_times *times)
{
    pthread_t thread;
    PGconn *pg = bench_connect(&jobs_run);
    bench_prepare(pg, "ask", "INSERT INTO bench_jobs (kind, dedupe_key) VALUES ('plain', $1)");
    if (pthread_create(&thread, NULL, listen_and_work, times) != 0)
        bench_die("threads", "cannot start one");
    jobs_ask(times, ask, pg);
    (void)pthread_join(thread, NULL);
    PQfinish(pg);
}
