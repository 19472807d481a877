/*
 * Traffic for the tests of faults: threads that insert rows until the time is over, and a report.
 *
 *     pool_driver DSN SECONDS THREADS MAX TIMEOUT_MS
 *
 * Inserts into `traffic (id bigint)`. Prints "ready" when the pool is open, and at the end one JSON
 * object: rows acknowledged, calls by status, by how much a call outlived its deadline at most, the
 * slowest refusal, successes in slices of 10 ms from "start_ns" (CLOCK_MONOTONIC) on, failed attempts
 * to connect up to each tenth of a second, and the acknowledged rows that the server has not.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "run.h"
#include "stele.h"

enum { MOST_THREADS = 128, PER_THREAD = 1000000, SLICES = 6000, STATUSES = 40, LOOKS = 600 };

typedef struct rider {
    pthread_t thread;
    long first; /* id of its first row */
    long count; /* rows tried */
    unsigned char *acked;
    long statuses[STATUSES]; /* by -status */
    uint64_t longest_over_ns;
    uint64_t slowest_refusal_ns;
} rider;

static stele_db *db;
static uint64_t start_ns;
static uint64_t end_ns;
static uint32_t timeout_ms;
static atomic_long slices[SLICES];
static rider riders[MOST_THREADS];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static stele_status insert(long id, uint64_t until)
{
    stele_conn *conn = NULL;
    struct pg_result *result = NULL;
    stele_error err;
    char text[24];
    const char *const params[] = {text};
    snprintf(text, sizeof text, "%ld", id);
    stele_status st = stele_db_acquire_at(db, timeout_ms, "driver", 0, &conn, &err);
    if (st != STELE_OK)
        return st;
    uint64_t now = now_ns();
    stele_conn_set_deadline(conn, now < until ? (uint32_t)((until - now) / 1000000u) + 1 : 1);
    st = stele__run_sql(conn, "INSERT INTO traffic VALUES ($1)", params, 1, &result, &err);
    if (st == STELE_OK)
        stele__result_clear(result);
    stele_conn_release(conn);
    return st;
}

static void *ride(void *arg)
{
    rider *r = arg;
    for (uint64_t now = now_ns(); now < end_ns && r->count < PER_THREAD; now = now_ns()) {
        uint64_t until = now + (uint64_t)timeout_ms * 1000000u;
        stele_status st = insert(r->first + r->count, until);
        uint64_t done = now_ns();
        if (done > until)
            r->longest_over_ns = later(r->longest_over_ns, done - until);
        r->statuses[-st]++;
        if (st == STELE_OK) {
            r->acked[r->count] = 1;
            uint64_t slice = (done - start_ns) / 10000000u;
            if (slice < SLICES)
                atomic_fetch_add(&slices[slice], 1);
        } else {
            if (st == STELE_E_CONNECT || st == STELE_E_AUTH)
                r->slowest_refusal_ns = later(r->slowest_refusal_ns, done - now);
            (void)poll(NULL, 0, 1); /* as a caller that has something else to do */
        }
        r->count++;
    }
    return NULL;
}

/* Failed attempts so far, each tenth of a second. */
static int look(uint64_t *attempts)
{
    int looks = 0;
    while (now_ns() < end_ns && looks < LOOKS) {
        stele_pool_stats stats;
        stele_db_pool_stats(db, &stats);
        attempts[looks++] = stats.connect_errors;
        (void)poll(NULL, 0, 100);
    }
    return looks;
}

/* Acknowledged rows that are not there; -1 if the server cannot be asked. */
static long count_lost(const char *dsn, int threads)
{
    PGconn *conn = PQconnectdb(dsn);
    PGresult *result = PQexec(conn, "SELECT id FROM traffic");
    long lost = -1;
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        lost = 0;
        for (int i = 0; i < PQntuples(result); i++) {
            long id = strtol(PQgetvalue(result, i, 0), NULL, 10);
            riders[id / PER_THREAD].acked[id % PER_THREAD] = 0;
        }
        for (int t = 0; t < threads; t++)
            for (long i = 0; i < riders[t].count; i++)
                lost += riders[t].acked[i];
    }
    PQclear(result);
    PQfinish(conn);
    return lost;
}

static void print_statuses(int threads)
{
    const char *comma = "";
    printf("\"statuses\": {");
    for (int s = 0; s < STATUSES; s++) {
        long count = 0;
        for (int t = 0; t < threads; t++)
            count += riders[t].statuses[s];
        if (count > 0) {
            printf("%s\"%s\": %ld", comma, stele_status_name((stele_status)-s), count);
            comma = ", ";
        }
    }
    printf("}");
}

static void report(const char *dsn, int threads, const uint64_t *attempts, int looks)
{
    long acked = 0;
    uint64_t over = 0;
    uint64_t refusal = 0;
    stele_pool_stats stats;
    stele_db_pool_stats(db, &stats);
    for (int t = 0; t < threads; t++) {
        acked += riders[t].statuses[0];
        over = later(over, riders[t].longest_over_ns);
        refusal = later(refusal, riders[t].slowest_refusal_ns);
    }
    printf("{\"acked\": %ld, \"over_ms\": %.1f, \"refusal_ms\": %.1f, \"start_ns\": %llu, ", acked,
           (double)over / 1e6, (double)refusal / 1e6, (unsigned long long)start_ns);
    printf("\"lost\": %ld, \"open\": %u, \"max\": %u, \"created\": %llu, ",
           count_lost(dsn, threads), stats.open, stats.max, (unsigned long long)stats.created);
    print_statuses(threads);
    printf(", \"attempts\": [");
    for (int i = 0; i < looks; i++)
        printf("%s%llu", i > 0 ? ", " : "", (unsigned long long)attempts[i]);
    printf("], \"slices\": [");
    uint64_t count = (end_ns - start_ns) / 10000000u;
    for (uint64_t i = 0; i < count && i < SLICES; i++)
        printf("%s%ld", i > 0 ? ", " : "", atomic_load(&slices[i]));
    printf("]}\n");
}

int main(int argc, char **argv)
{
    static uint64_t attempts[LOOKS];
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    stele_error err;
    if (argc != 6) {
        fprintf(stderr, "usage: pool_driver DSN SECONDS THREADS MAX TIMEOUT_MS\n");
        return 2;
    }
    int threads = (int)strtol(argv[3], NULL, 10);
    options.dsn = argv[1];
    options.pool.max_connections = (uint32_t)strtoul(argv[4], NULL, 10);
    timeout_ms = (uint32_t)strtoul(argv[5], NULL, 10);
    if (threads > MOST_THREADS || stele_db_open(&options, &db, &err) != STELE_OK) {
        char text[1024];
        (void)stele_error_format(&err, text, sizeof text);
        fprintf(stderr, "pool_driver: %s\n", text);
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    start_ns = now_ns();
    end_ns = start_ns + strtoul(argv[2], NULL, 10) * 1000000000u;
    for (int t = 0; t < threads; t++) {
        riders[t].first = (long)t * PER_THREAD;
        riders[t].acked = calloc(PER_THREAD, 1);
        if (riders[t].acked == NULL ||
            pthread_create(&riders[t].thread, NULL, ride, &riders[t]) != 0)
            return 1;
    }
    int looks = look(attempts);
    for (int t = 0; t < threads; t++)
        (void)pthread_join(riders[t].thread, NULL);
    report(argv[1], threads, attempts, looks);
    stele_db_close(db);
    for (int t = 0; t < threads; t++)
        free(riders[t].acked);
    return 0;
}
