/*
 * Working off a queue in batches of a hundred, and the time from asking for a job to its begin.
 *
 *     bench-jobs --case NAME --rows N --threads N
 *
 * Cases: stele and by-hand (N workers' instances or loops), stele-wake and by-hand-wake (jobs that are
 * asked for at random times in another place). One line of JSON tells the jobs and what they took.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jobs.h"
#include "queue.gen.h"

#define CHANNEL "bench_jobs"

bench_run jobs_run = {.threads = 1, .count = 100000};

uint64_t jobs_now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

PGresult *jobs_must(PGresult *result, PGconn *pg)
{
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        bench_die("SQL", PQerrorMessage(pg));
    return result;
}

void jobs_pause(uint64_t ns)
{
    const struct timespec pause = {.tv_sec = (time_t)(ns / 1000000000u),
                                   .tv_nsec = (long)(ns % 1000000000u)};
    (void)nanosleep(&pause, NULL);
}

void jobs_begin(jobs_times *times, const char *key, size_t len)
{
    char text[16] = {0};
    memcpy(text, key, len < sizeof text ? len : sizeof text - 1);
    times->begun_ns[strtol(text, NULL, 10)] = jobs_now_ns();
    __atomic_fetch_add(&times->begun, 1, __ATOMIC_SEQ_CST);
}

/* Up to fifty milliseconds apart: some wait for a doorbell that has just rung. */
void jobs_ask(jobs_times *times, void (*ask)(void *user, const char *key), void *user)
{
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < times->count; i++) {
        char key[16];
        jobs_pause((uint64_t)bench_random(&random) % 50000000u);
        (void)snprintf(key, sizeof key, "%d", i);
        times->asked_ns[i] = jobs_now_ns();
        ask(user, key);
    }
    while (__atomic_load_n(&times->begun, __ATOMIC_SEQ_CST) < times->count)
        jobs_pause(1000000);
}

/* ---- the table ---- */

static stele_db *open_db(uint32_t connections)
{
    const stele_module *modules[] = {&queue_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    stele_error err;
    stele_db *db = NULL;
    options.dsn = jobs_run.dsn;
    options.modules = modules;
    options.module_count = 1;
    options.pool.max_connections = connections;
    bench_check(stele_db_open(&options, &db, &err), "open", &err);
    return db;
}

static void fill(long rows)
{
    stele_ensure_options ensure = STELE_ENSURE_OPTIONS_INIT;
    stele_error err;
    char sql[200];
    stele_db *db = open_db(1);
    bench_check(stele_db_ensure(db, &queue_module, &ensure, &err), "tables", &err);
    stele_db_close(db);
    PGconn *pg = bench_connect(&jobs_run);
    (void)snprintf(sql, sizeof sql,
                   "TRUNCATE bench_jobs; INSERT INTO bench_jobs (kind, run_at)"
                   " SELECT 'plain', now() - i * interval '1 ms' FROM generate_series(1, %ld) AS i",
                   rows);
    PQclear(jobs_must(PQexec(pg, sql), pg));
    PQclear(jobs_must(PQexec(pg, "VACUUM ANALYZE bench_jobs"), pg));
    PQclear(jobs_must(PQexec(pg, "CHECKPOINT"), pg));
    PQfinish(pg);
}

/* ---- Stele ---- */

static stele_status nothing(stele_job *job, void *user, stele_error *err)
{
    (void)job;
    (void)user;
    (void)err;
    return STELE_OK;
}

static uint64_t done_by(stele_jobs **jobs, int count)
{
    uint64_t done = 0;
    for (int i = 0; i < count; i++) {
        stele_job_stats stats;
        stele_jobs_stats(jobs[i], &stats);
        done += stats.done;
    }
    return done;
}

/* Connections are opened before the clock starts, as the floor's are. */
static void warm_up(stele_db *db, int count)
{
    stele_conn *conns[64];
    for (int i = 0; i < count; i++)
        conns[i] = bench_acquire(db);
    for (int i = 0; i < count; i++)
        stele_conn_release(conns[i]);
}

static uint64_t work_off(int instances, long rows)
{
    const stele_job_kind kind = {.name = "plain", .run = nothing};
    stele_jobs_options options = STELE_JOBS_OPTIONS_INIT;
    stele_jobs **jobs = bench_alloc((size_t)instances * sizeof *jobs);
    stele_error err;
    stele_db *db = open_db((uint32_t)instances * 2);
    warm_up(db, instances * 2);
    options.kinds = &kind;
    options.kind_count = 1;
    options.workers = 1;
    options.batch = JOBS_BATCH;
    uint64_t began = jobs_now_ns();
    for (int i = 0; i < instances; i++)
        bench_check(stele_jobs_open(db, &bench_jobs_jobs, &options, &jobs[i], &err), "open", &err);
    while (done_by(jobs, instances) < (uint64_t)rows)
        jobs_pause(1000000);
    uint64_t took = jobs_now_ns() - began;
    for (int i = 0; i < instances; i++)
        bench_check(stele_jobs_close(jobs[i], 5000, &err), "close", &err);
    free(jobs);
    stele_db_close(db);
    return took;
}

static stele_status note(stele_job *job, void *user, stele_error *err)
{
    stele_str key = stele_job_get(job)->key;
    (void)err;
    jobs_begin(user, key.data, key.len);
    return STELE_OK;
}

static void put(void *user, const char *key)
{
    stele_job_input job = {.kind = stele_s("plain"), .key = stele_s(key)};
    stele_error err;
    bench_check(stele_jobs_put(user, NULL, &job, NULL, &err), "put", &err);
}

static void wake(jobs_times *times)
{
    const stele_job_kind kind = {.name = "plain", .run = note, .user = times};
    stele_jobs_options workers = STELE_JOBS_OPTIONS_INIT;
    stele_jobs_options callers = STELE_JOBS_OPTIONS_INIT;
    stele_listener *listener = NULL;
    stele_doorbell *bell = NULL;
    stele_jobs *there = NULL;
    stele_jobs *here = NULL;
    stele_error err;
    stele_db *db = open_db(10);
    bench_check(stele_listener_open(db, NULL, &listener, &err), "listen", &err);
    bench_check(stele_doorbell_open(db, CHANNEL, 0, &bell, &err), "doorbell", &err);
    workers.kinds = &kind;
    workers.kind_count = 1;
    workers.listener = listener;
    workers.channel = CHANNEL;
    callers.doorbell = bell;
    bench_check(stele_jobs_open(db, &bench_jobs_jobs, &workers, &there, &err), "open", &err);
    bench_check(stele_jobs_open(db, &bench_jobs_jobs, &callers, &here, &err), "open", &err);
    bench_check(stele_listener_wait(listener, 10000, &err), "listen", &err);
    jobs_ask(times, put, here);
    bench_check(stele_jobs_close(here, 5000, &err), "close", &err);
    bench_check(stele_jobs_close(there, 5000, &err), "close", &err);
    bench_check(stele_doorbell_close(bell, 5000, &err), "doorbell", &err);
    bench_check(stele_listener_close(listener, 5000, &err), "listen", &err);
    stele_db_close(db);
}

/* ---- one run ---- */

static int compare(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a;
    uint64_t two = *(const uint64_t *)b;
    return (one > two) - (one < two);
}

static void time_wakes(bool by_hand)
{
    size_t n = (size_t)jobs_run.count;
    jobs_times times = {.asked_ns = bench_alloc(n * sizeof(uint64_t)),
                        .begun_ns = bench_alloc(n * sizeof(uint64_t)),
                        .count = (int)n};
    fill(0);
    if (by_hand)
        jobs_listen_by_hand(&times);
    else
        wake(&times);
    for (size_t i = 0; i < n; i++)
        times.begun_ns[i] -= times.asked_ns[i];
    qsort(times.begun_ns, n, sizeof times.begun_ns[0], compare);
    (void)printf("{\"count\": %zu, \"p50_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64
                 ", \"max_ns\": %" PRIu64 "}\n",
                 n, times.begun_ns[n / 2], times.begun_ns[n * 99 / 100], times.begun_ns[n - 1]);
    free(times.asked_ns);
    free(times.begun_ns);
}

static void time_work(bool by_hand)
{
    uint64_t took;
    fill(jobs_run.count);
    if (by_hand) {
        uint64_t began = jobs_now_ns();
        jobs_by_hand(jobs_run.threads);
        took = jobs_now_ns() - began;
    } else {
        took = work_off(jobs_run.threads, jobs_run.count);
    }
    (void)printf("{\"count\": %ld, \"wall_ns\": %" PRIu64 "}\n", jobs_run.count, took);
}

int main(int argc, char **argv)
{
    jobs_run.dsn = getenv("STELE_DSN");
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--case") == 0)
            jobs_run.case_name = argv[i + 1];
        else if (strcmp(argv[i], "--rows") == 0)
            jobs_run.count = strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--threads") == 0)
            jobs_run.threads = (int)strtol(argv[i + 1], NULL, 10);
    }
    if (jobs_run.dsn == NULL || jobs_run.case_name == NULL || jobs_run.count <= 0 ||
        jobs_run.threads <= 0 || jobs_run.threads > 32)
        bench_die("arguments", "STELE_DSN, --case NAME --rows N --threads N");
    bool by_hand = strncmp(jobs_run.case_name, "by-hand", 7) == 0;
    if (strstr(jobs_run.case_name, "-wake") != NULL)
        time_wakes(by_hand);
    else
        time_work(by_hand);
    return 0;
}
