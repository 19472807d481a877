/*
 * Traffic for the tests of faults: threads that insert rows until standard input ends, and a report.
 *
 *     pool_driver DSN THREADS MAX TIMEOUT_MS
 *
 * Inserts into `traffic (id bigint)`. Prints "ready" when the pool is open, and at the end one JSON
 * object: rows acknowledged, calls by status, by how much a call outlived its deadline at most, the
 * slowest refusal, successes in slices of 10 ms from "start_ns" (CLOCK_MONOTONIC) on, failed attempts
 * to connect up to each look (ten a second), and the acknowledged rows that the server has not.
 *
 * And what the machine did meanwhile, so that bounds on time hold the pool to account and nothing
 * else: "stall_ms", by how much a thread that only sleeps for 2 ms was woken too late at most, on any
 * processor; and "control", when a client without a pool connected, inserted a row of a negative id
 * and left: [seconds from start_ns, seconds from start_ns, whether it could].
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "run.h"
#include "stele.h"

enum {
    MOST_THREADS = 128,
    PER_THREAD = 1000000,
    MOST_SECONDS = 300,
    SLICES = MOST_SECONDS * 100,
    STATUSES = 40,
    LOOKS = MOST_SECONDS * 10,
    CONTROLS = MOST_SECONDS * 50,
    NAP_MS = 2
};

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
static atomic_bool enough;
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
    for (uint64_t now = now_ns(); !atomic_load(&enough) && r->count < PER_THREAD; now = now_ns()) {
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

/* ---- what the machine does meanwhile ---- */

static uint64_t stall_ns;

/* Sleeps on one processor after the other, since one of them may stand still alone. */
static void *nap(void *arg)
{
    cpu_set_t all;
    (void)arg;
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        CPU_ZERO(&all);
    for (size_t cpu = 0; !atomic_load(&enough); cpu = (cpu + 1) % CPU_SETSIZE) {
        cpu_set_t one;
        if (!CPU_ISSET(cpu, &all) && CPU_COUNT(&all) > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        uint64_t before = now_ns();
        (void)sched_setaffinity(0, sizeof one, &one);
        (void)poll(NULL, 0, NAP_MS);
        uint64_t took = now_ns() - before;
        if (took > NAP_MS * UINT64_C(1000000))
            stall_ns = later(stall_ns, took - NAP_MS * UINT64_C(1000000));
    }
    return NULL;
}

static struct control {
    uint64_t began_ns;
    uint64_t ended_ns;
    bool could;
} controls[CONTROLS];
static int control_count;

/* A client without a pool, over and over. */
static void *go_without_pool(void *dsn)
{
    const char *const keys[] = {"dbname", "target_session_attrs", "application_name", NULL};
    const char *const values[] = {dsn, "read-write", "control", NULL};
    while (!atomic_load(&enough) && control_count < CONTROLS) {
        struct control *c = &controls[control_count++];
        c->began_ns = now_ns();
        PGconn *conn = PQconnectdbParams(keys, values, 1);
        PGresult *result = PQexec(conn, "INSERT INTO traffic VALUES (-1)");
        c->could = PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
        PQfinish(conn);
        c->ended_ns = now_ns();
        (void)poll(NULL, 0, 20);
    }
    return NULL;
}

/* ---- the report ---- */

typedef struct sight {
    uint64_t ns;
    uint64_t attempts; /* to connect that failed until then */
} sight;

/* Ten times a second, until there is no more input. */
static int look(sight *sights)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int looks = 0;
    while (looks < LOOKS && poll(&input, 1, 100) == 0) {
        stele_pool_stats stats;
        stele_db_pool_stats(db, &stats);
        sights[looks++] = (sight){now_ns(), stats.connect_errors};
    }
    return looks;
}

/* Acknowledged rows that are not there; -1 if the server cannot be asked. */
static long count_lost(const char *dsn, int threads)
{
    PGconn *conn = PQconnectdb(dsn);
    PGresult *result = PQexec(conn, "SELECT id FROM traffic WHERE id >= 0");
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

static double since_start(uint64_t ns)
{
    return (double)(ns - start_ns) / 1e9;
}

static void print_meanwhile(const sight *sights, int looks)
{
    printf(", \"stall_ms\": %.1f, \"control\": [", (double)stall_ns / 1e6);
    for (int i = 0; i < control_count; i++)
        printf("%s[%.4f, %.4f, %s]", i > 0 ? ", " : "", since_start(controls[i].began_ns),
               since_start(controls[i].ended_ns), controls[i].could ? "true" : "false");
    printf("], \"attempts\": [");
    for (int i = 0; i < looks; i++)
        printf("%s[%.3f, %llu]", i > 0 ? ", " : "", since_start(sights[i].ns),
               (unsigned long long)sights[i].attempts);
    printf("], \"slices\": [");
    uint64_t count = (end_ns - start_ns) / 10000000u;
    for (uint64_t i = 0; i < count && i < SLICES; i++)
        printf("%s%ld", i > 0 ? ", " : "", atomic_load(&slices[i]));
    printf("]");
}

static void report(const char *dsn, int threads, const sight *sights, int looks)
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
    print_meanwhile(sights, looks);
    printf("}\n");
}

int main(int argc, char **argv)
{
    static sight sights[LOOKS];
    pthread_t napper;
    pthread_t control;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    stele_error err;
    if (argc != 5) {
        fprintf(stderr, "usage: pool_driver DSN THREADS MAX TIMEOUT_MS\n");
        return 2;
    }
    int threads = (int)strtol(argv[2], NULL, 10);
    options.dsn = argv[1];
    options.pool.max_connections = (uint32_t)strtoul(argv[3], NULL, 10);
    timeout_ms = (uint32_t)strtoul(argv[4], NULL, 10);
    if (threads > MOST_THREADS || stele_db_open(&options, &db, &err) != STELE_OK) {
        char text[1024];
        (void)stele_error_format(&err, text, sizeof text);
        fprintf(stderr, "pool_driver: %s\n", text);
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    start_ns = now_ns();
    if (pthread_create(&napper, NULL, nap, NULL) != 0 ||
        pthread_create(&control, NULL, go_without_pool, argv[1]) != 0)
        return 1;
    for (int t = 0; t < threads; t++) {
        riders[t].first = (long)t * PER_THREAD;
        riders[t].acked = calloc(PER_THREAD, 1);
        if (riders[t].acked == NULL ||
            pthread_create(&riders[t].thread, NULL, ride, &riders[t]) != 0)
            return 1;
    }
    int looks = look(sights);
    end_ns = now_ns();
    atomic_store(&enough, true);
    for (int t = 0; t < threads; t++)
        (void)pthread_join(riders[t].thread, NULL);
    (void)pthread_join(napper, NULL);
    (void)pthread_join(control, NULL);
    report(argv[1], threads, sights, looks);
    stele_db_close(db);
    for (int t = 0; t < threads; t++)
        free(riders[t].acked);
    return 0;
}
