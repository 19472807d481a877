/*
 * Removing the expired half of a table while a reader and a writer use it.
 *
 *     bench-ttl --case NAME --rows N [--ms MS]
 *
 * Cases: none (reader and writer alone, for MS), stele, by-hand (the sweeper's own statement on libpq),
 * restart (each batch from the start, for at most MS), giant (one statement). With -held another session
 * keeps an old snapshot. One line of JSON tells the rows removed, the time that took, and what reader
 * and writer saw.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"
#include "sessions.gen.h"

#define SAMPLES 2000000
#define BATCH 1000
#define THINK_NS 500000

static bench_run run = {.threads = 1};
static long rows = 400000;
static bool stop;

static uint64_t now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- SQL ---- */

static PGresult *must(PGresult *result, PGconn *pg)
{
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        bench_die("SQL", PQerrorMessage(pg));
    return result;
}

static void execute(PGconn *pg, const char *sql)
{
    PQclear(must(PQexec(pg, sql), pg));
}

/* Rows expire one by one, in the order of their time but not of their place. */
static void fill(PGconn *pg)
{
    char sql[600];
    (void)snprintf(sql, sizeof sql,
                   "TRUNCATE app_states; INSERT INTO app_states (app_name, key, value, expires_at)"
                   " SELECT 'app', i::text, repeat('x', 60), timezone('UTC', now()) + CASE WHEN i "
                   "%% 2 = 0 THEN"
                   " (i::int8 * 7919 %% %ld + 1) * interval '-1 ms' ELSE interval '1 d' END"
                   " FROM generate_series(0, %ld - 1) AS i",
                   rows, rows);
    execute(pg, sql);
    execute(pg, "VACUUM ANALYZE app_states");
    execute(pg, "CHECKPOINT");
}

/* ---- reader and writer ---- */

typedef struct user {
    pthread_t thread;
    const char *sql;
    uint64_t random;
    uint64_t *samples;
    size_t count;
    uint64_t longest_ns;
} user;

static void *use(void *arg)
{
    user *u = arg;
    PGconn *pg = bench_connect(&run);
    const struct timespec think = {.tv_nsec = THINK_NS};
    PQclear(must(PQprepare(pg, "use", u->sql, 1, NULL), pg));
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        char key[24];
        const char *params[] = {key};
        (void)snprintf(key, sizeof key, "%ld", (long)bench_random(&u->random) % rows);
        uint64_t began = now_ns();
        PQclear(must(PQexecPrepared(pg, "use", 1, params, NULL, NULL, 0), pg));
        uint64_t took = now_ns() - began;
        u->longest_ns = took > u->longest_ns ? took : u->longest_ns;
        if (u->count < SAMPLES)
            u->samples[u->count++] = took;
        (void)nanosleep(&think, NULL);
    }
    PQfinish(pg);
    return NULL;
}

static void start(user *u, const char *sql, uint64_t random)
{
    *u = (user){.sql = sql, .random = random, .samples = bench_alloc(SAMPLES * sizeof(uint64_t))};
    if (pthread_create(&u->thread, NULL, use, u) != 0)
        bench_die("threads", "cannot start one");
}

static int compare(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a;
    uint64_t two = *(const uint64_t *)b;
    return (one > two) - (one < two);
}

static uint64_t percentile_99(user *u)
{
    qsort(u->samples, u->count, sizeof u->samples[0], compare);
    return u->count > 0 ? u->samples[u->count * 99 / 100] : 0;
}

/* ---- ways to remove ---- */

static uint64_t sweep(stele_switch soft)
{
    stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;
    stele_sweep_report report;
    stele_sweeper *sweeper = NULL;
    stele_db *origin = bench_open_db(&run, 4);
    stele_db *db = NULL;
    stele_error err;
    options.interval_ms = -1;
    options.batch_rows = BATCH;
    options.rows_per_second = UINT32_MAX;
    bench_check(stele_db_derive_policy(origin, soft, &db, &err), "derive", &err);
    bench_check(stele_sweeper_open(db, &options, &sweeper, &err), "open", &err);
    bench_check(stele_sweeper_run(sweeper, 0, &report, &err), "sweep", &err);
    bench_check(stele_sweeper_close(sweeper, 1000, &err), "close", &err);
    stele_db_close(db);
    stele_db_close(origin);
    return report.expired;
}

static uint64_t remove_batches(bool keyset, uint64_t until_ns)
{
    static const char sql[] =
        "WITH doomed AS MATERIALIZED (SELECT t.ctid AS place, t.expires_at AS stamp FROM "
        "app_states AS"
        " t WHERE t.expires_at >= $1::timestamp AND t.expires_at <= timezone('UTC', now()) AND"
        " t.deleted_at IS NULL ORDER BY t.expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED), gone AS"
        " (DELETE FROM app_states AS t WHERE t.ctid = ANY (ARRAY(SELECT place FROM doomed))"
        " AND t.expires_at <= timezone('UTC', now()) AND t.deleted_at IS NULL RETURNING 1)"
        " SELECT count(*), (SELECT max(stamp) FROM doomed) FROM gone";
    PGconn *pg = bench_connect(&run);
    char from[64] = "-infinity";
    const char *params[] = {from};
    uint64_t total = 0;
    long count = 1;
    PQclear(must(PQprepare(pg, "remove", sql, 1, NULL), pg));
    while (count > 0 && now_ns() < until_ns) {
        execute(pg, "BEGIN");
        PGresult *result = must(PQexecPrepared(pg, "remove", 1, params, NULL, NULL, 0), pg);
        count = strtol(PQgetvalue(result, 0, 0), NULL, 10);
        if (keyset && count > 0)
            (void)snprintf(from, sizeof from, "%s", PQgetvalue(result, 0, 1));
        PQclear(result);
        execute(pg, "COMMIT");
        total += (uint64_t)count;
    }
    PQfinish(pg);
    return total;
}

static uint64_t remove_at_once(void)
{
    PGconn *pg = bench_connect(&run);
    PGresult *result =
        must(PQexec(pg, "DELETE FROM app_states WHERE expires_at <= timezone('UTC', now())"), pg);
    uint64_t count = strtoull(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    PQfinish(pg);
    return count;
}

static uint64_t work(const char *way)
{
    const struct timespec while_ms = {.tv_sec = run.ms / 1000, .tv_nsec = run.ms % 1000 * 1000000};
    uint64_t until = now_ns() + (uint64_t)run.ms * 1000000u;
    if (strncmp(way, "none", 4) == 0)
        (void)nanosleep(&while_ms, NULL);
    else if (strncmp(way, "stele-soft", 10) == 0)
        return sweep(STELE_ON);
    else if (strncmp(way, "stele", 5) == 0)
        return sweep(STELE_OFF);
    else if (strncmp(way, "by-hand", 7) == 0)
        return remove_batches(true, UINT64_MAX);
    else if (strncmp(way, "restart", 7) == 0)
        return remove_batches(false, until);
    else if (strncmp(way, "giant", 5) == 0)
        return remove_at_once();
    else
        bench_die("no such case", way);
    return 0;
}

/* ---- one run ---- */

static void parse(int argc, char **argv)
{
    run.dsn = getenv("STELE_DSN");
    run.ms = 3000;
    if (run.dsn == NULL)
        bench_die("STELE_DSN", "is not set");
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--case") == 0)
            run.case_name = argv[i + 1];
        else if (strcmp(argv[i], "--rows") == 0)
            rows = strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--ms") == 0)
            run.ms = strtol(argv[i + 1], NULL, 10);
    }
    if (run.case_name == NULL || rows <= 0 || run.ms <= 0)
        bench_die("arguments", "--case NAME --rows N [--ms MS]");
}

int main(int argc, char **argv)
{
    user reader;
    user writer;
    parse(argc, argv);
    PGconn *pg = bench_connect(&run);
    fill(pg);
    if (strstr(run.case_name, "-held") != NULL) {
        execute(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        execute(pg, "SELECT count(*) FROM session_states");
    }
    start(&reader,
          "SELECT value FROM app_states WHERE app_name = 'app' AND key = $1 AND deleted_at IS"
          " NULL AND expires_at > timezone('UTC', now())",
          88172645463325252u);
    start(&writer,
          "UPDATE app_states SET value = repeat('y', 60) WHERE app_name = 'app' AND key = $1"
          " AND deleted_at IS NULL",
          2463534242u);
    uint64_t began = now_ns();
    uint64_t count = work(run.case_name);
    uint64_t wall = now_ns() - began;
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    (void)pthread_join(reader.thread, NULL);
    (void)pthread_join(writer.thread, NULL);
    (void)printf("{\"count\": %" PRIu64 ", \"wall_ns\": %" PRIu64 ", \"writes\": %zu,"
                 " \"write_max_ns\": %" PRIu64 ", \"write_p99_ns\": %" PRIu64
                 ", \"read_p99_ns\": %" PRIu64 "}\n",
                 count, wall, writer.count, writer.longest_ns, percentile_99(&writer),
                 percentile_99(&reader));
    free(reader.samples);
    free(writer.samples);
    PQfinish(pg);
    return 0;
}
