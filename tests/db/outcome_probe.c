/*
 * Runs one scenario against STELE_DSN and prints what it was told, for test_outcomes.py:
 *
 *     outcome_probe first|prepare|prepared|transaction|run|pipeline|snapshot|pipeline_in|naive TIMEOUT_MS
 *
 * The tables are there; each scenario stores ids 1 (and 2), and says in one line: the step at which it
 * ended, status, whether the outcome is unknown, whether it is retryable, SQLSTATE or "-",
 * milliseconds, waits of the last call.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "stele.h"
#include "stele/gen/flow.h"

static const stele_module module = {.abi = &stele_gen_abi_1, .name = "probe"};

static const stele_gen_param params[] = {
    {"id", STELE_GEN_INT8, STELE_GEN_PLAIN, true, 0, 0, 0, NULL},
};

static const stele_gen_part parts[] = {
    STELE_SQL("INSERT INTO kept (id) VALUES ("),
    STELE_PARAM(0),
    STELE_SQL(")"),
};

static const stele_gen_stmt insert = {
    .module = &module,
    .name = "insert",
    .table = "kept",
    .parts = parts,
    .part_count = STELE_COUNT(parts),
    .params = params,
    .param_count = 1,
    .shape_from = 1,
};

static const stele_gen_part arm_parts[] = {STELE_SQL("SELECT 'cut from here'")};

static const stele_gen_stmt arm = {
    .module = &module,
    .name = "arm",
    .parts = arm_parts,
    .part_count = STELE_COUNT(arm_parts),
    .properties = STELE_STMT_READ,
};

static const char *step;

static stele_status put(stele_conn *conn, int64_t id, stele_error *err)
{
    const void *args[] = {&id};
    return stele_gen_exec(conn, &insert, args, 0, true, NULL, err);
}

static stele_status put_two(stele_conn *conn, void *user, stele_error *err)
{
    (void)user;
    step = "one";
    stele_status st = put(conn, 1, err);
    if (st != STELE_OK)
        return st;
    step = "two";
    st = put(conn, 2, err);
    if (st == STELE_OK)
        step = "commit";
    return st;
}

static stele_status by_hand(stele_conn *conn, stele_error *err)
{
    step = "begin";
    stele_status st = stele_tx_begin(conn, NULL, err);
    if (st == STELE_OK)
        st = put_two(conn, NULL, err);
    if (st != STELE_OK) {
        (void)!stele_tx_rollback(conn, NULL);
        return st;
    }
    return stele_tx_commit(conn, err);
}

/* Two rows in one batch; of a transaction of its own with an isolation. */
static stele_status pipe_two(stele_conn *conn, stele_isolation isolation, stele_error *err)
{
    stele_pipeline *p = NULL;
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC};
    options.isolation = isolation;
    step = "one";
    stele_status st = stele_pipeline_open(conn, &options, &p, err);
    for (int64_t id = 1; id <= 2 && st == STELE_OK; id++) {
        const void *args[] = {&id};
        st = stele_gen_queue(p, &insert, args, 0, &slot, err);
    }
    if (st == STELE_OK)
        st = stele_pipeline_sync(p, err);
    stele_pipeline_close(p);
    return st;
}

static stele_status pipe_in_transaction(stele_conn *conn, stele_error *err)
{
    step = "begin";
    stele_status st = stele_tx_begin(conn, NULL, err);
    if (st == STELE_OK)
        st = pipe_two(conn, STELE_ISOLATION_DEFAULT, err);
    if (st != STELE_OK) {
        (void)!stele_tx_rollback(conn, NULL);
        return st;
    }
    step = "commit";
    return stele_tx_commit(conn, err);
}

static stele_status run_scenario(stele_conn *conn, const char *name, stele_error *err)
{
    stele_status st = STELE_OK;
    int warm = strcmp(name, "prepared") == 0 ? 2 : strcmp(name, "prepare") == 0 ? 1 : 0;
    for (int i = 0; i < warm && st == STELE_OK; i++)
        st = put(conn, 100 + i, err);
    if (st == STELE_OK)
        st = stele_gen_exec(conn, &arm, NULL, 0, false, NULL, err);
    if (st != STELE_OK) {
        step = "warm";
        return st;
    }
    if (strcmp(name, "transaction") == 0)
        return by_hand(conn, err);
    if (strcmp(name, "pipeline") == 0)
        return pipe_two(conn, STELE_ISOLATION_DEFAULT, err);
    if (strcmp(name, "snapshot") == 0)
        return pipe_two(conn, STELE_REPEATABLE_READ, err);
    if (strcmp(name, "pipeline_in") == 0)
        return pipe_in_transaction(conn, err);
    if (strcmp(name, "run") == 0)
        return stele_tx_run(conn, NULL, put_two, NULL, err);
    step = "one";
    return put(conn, 1, err);
}

/* What is often written: several commands in a pipeline, and done when the command says so. */
static stele_status naive(const char *dsn)
{
    stele_status st = STELE_E_LOST;
    PGconn *pg = PQconnectdb(dsn);
    PQclear(PQexec(pg, "SELECT 'cut from here'"));
    (void)PQenterPipelineMode(pg);
    (void)PQsendQueryParams(pg, "INSERT INTO kept (id) VALUES (1)", 0, NULL, NULL, NULL, NULL, 0);
    (void)PQsendFlushRequest(pg);
    (void)PQflush(pg);
    PGresult *result = PQgetResult(pg);
    if (PQresultStatus(result) == PGRES_COMMAND_OK)
        st = STELE_OK;
    PQclear(result);
    (void)PQpipelineSync(pg);
    PQfinish(pg);
    return st;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    stele_error err;
    stele_error_clear(&err);
    options.dsn = getenv("STELE_DSN");
    options.application_name = "probe";
    options.call_timeout_ms = (uint32_t)strtoul(argv[2], NULL, 10);
    options.pool.max_connections = 2;
    step = "one";
    if (strcmp(argv[1], "naive") == 0) {
        printf("one %s 0 0 - 0 0\n", stele_status_name(naive(options.dsn)));
        return 0;
    }
    stele_db *db = NULL;
    stele_conn *conn = NULL;
    step = "open";
    stele_status st = stele_db_open(&options, &db, &err);
    if (st == STELE_OK)
        st = stele_db_acquire(db, &conn, &err);
    long start = now_ms();
    if (st == STELE_OK)
        st = run_scenario(conn, argv[1], &err);
    printf("%s %s %d %d %s %ld %llu\n", step, stele_status_name(st), err.outcome_unknown,
           err.retryable, err.sqlstate[0] != '\0' ? err.sqlstate : "-", now_ms() - start,
           conn != NULL ? (unsigned long long)stele_conn_round_trips(conn) : 0ULL);
    fprintf(stderr, "%s\n", err.message);
    stele_conn_release(conn);
    stele_db_close(db);
    return 0;
}
