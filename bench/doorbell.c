/*
 * Writers that commit a row each time, durably, while somebody listens: telling nobody (the floor),
 * ringing a doorbell after each commit, or with NOTIFY inside each transaction (the control).
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "floor.h"

#define ROW "INSERT INTO bell_rows (writer) VALUES ($1)"
#define ROW_AND_NOTIFY "WITH row AS (" ROW ") SELECT pg_notify('bench-bell', '')"
#define PER_SECOND 20

static stele_db *db;
static stele_doorbell *bell;
static stele_listener *listener;
static double began;
static atomic_ulong looks; /* of who listens */

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void look(const char *channel, const char *payload, bool rescan, void *user)
{
    (void)channel;
    (void)payload;
    (void)rescan;
    (void)user;
    atomic_fetch_add(&looks, 1);
}

/* Every case has the same rows to begin with, and somebody who listens. */
static void setup(const bench_run *run)
{
    stele_error err;
    stele_subscription *sub = NULL;
    PGconn *pg = bench_connect(run);
    PQclear(PQexec(pg, "SET client_min_messages = warning"));
    PQclear(PQexec(pg, "CREATE TABLE IF NOT EXISTS bell_rows (id bigserial, writer int8)"));
    PQclear(PQexec(pg, "TRUNCATE bell_rows"));
    PQfinish(pg);
    db = bench_open_db(run, 1);
    bench_check(stele_listener_open(db, NULL, &listener, &err), "listen", &err);
    bench_check(stele_listener_subscribe(listener, "bench-bell", look, NULL, &sub, &err), "listen",
                &err);
    bench_check(stele_listener_wait(listener, 10000, &err), "listen", &err);
    began = seconds();
}

static void setup_bell(const bench_run *run)
{
    stele_error err;
    setup(run);
    bench_check(stele_doorbell_open(db, "bench-bell", PER_SECOND, &bell, &err), "doorbell", &err);
}

static void teardown(void)
{
    stele_error err;
    bench_check(stele_listener_close(listener, 10000, &err), "listen", &err);
    stele_db_close(db);
}

static void teardown_bell(void)
{
    stele_error err;
    stele_listen_stats heard;
    bench_check(stele_doorbell_close(bell, 10000, &err), "doorbell", &err);
    stele_listener_stats(listener, &heard);
    if ((double)heard.notifications > PER_SECOND * (seconds() - began) + 1)
        bench_die("doorbell", "more notifications than were asked for");
    if (heard.notifications == 0)
        bench_die("doorbell", "no notification");
    teardown();
}

/* ---- writers ---- */

static PGconn *open_writer(const bench_run *run, const char *sql)
{
    PGconn *pg = bench_connect(run);
    PQclear(PQexec(pg, "SET synchronous_commit = on"));
    bench_prepare(pg, "write", sql);
    return pg;
}

static void *open_silent(const bench_run *run, int thread)
{
    (void)thread;
    return open_writer(run, ROW);
}

static void *open_inside(const bench_run *run, int thread)
{
    (void)thread;
    return open_writer(run, ROW_AND_NOTIFY);
}

static void close_writer(void *state)
{
    PQfinish(state);
}

static void write_row(PGconn *pg, long i)
{
    const uint64_t number = htobe64((uint64_t)i);
    const char *const values[] = {(const char *)&number};
    const int lengths[] = {sizeof number};
    const int formats[] = {1};
    PGresult *result = PQexecPrepared(pg, "write", 1, values, lengths, formats, 1);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        bench_die("write", PQerrorMessage(pg));
    PQclear(result);
}

static void work(void *state, long count)
{
    for (long i = 0; i < count; i++)
        write_row(state, i);
}

static void work_and_ring(void *state, long count)
{
    for (long i = 0; i < count; i++) {
        write_row(state, i);
        stele_doorbell_ring(bell);
    }
}

int main(int argc, char **argv)
{
    static const bench_case cases[] = {
        {.name = "stele",
         .setup = setup_bell,
         .open = open_silent,
         .work = work_and_ring,
         .close = close_writer,
         .teardown = teardown_bell},
        {.name = "silent",
         .setup = setup,
         .open = open_silent,
         .work = work,
         .close = close_writer,
         .teardown = teardown},
        {.name = "inside",
         .setup = setup,
         .open = open_inside,
         .work = work,
         .close = close_writer,
         .teardown = teardown},
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
