/*
 * A process with workers, to be killed at any time: `jobs_driver DSN`. Works until it is.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "work.gen.h"

static int number_of_process;

static stele_status leave_effect(stele_job *job, void *user, stele_error *err)
{
    const stele_job_info *info = stele_job_get(job);
    stele_conn *conn;
    (void)user;
    stele_status st = stele_job_begin(job, &conn, err);
    if (st != STELE_OK)
        return st;
    effects_input row = {.job = stele_i64_v(info->id),
                         .gen = stele_i64_v(info->gen),
                         .worker = stele_i32_v(number_of_process)};
    return effects_insert(conn, &row, NULL, err);
}

/* The first who tries stands still in the transaction that ends the job. */
static stele_status freeze(stele_job *job, void *user, stele_error *err)
{
    stele_status st = leave_effect(job, user, err);
    if (st == STELE_OK && stele_job_get(job)->attempt == 1)
        (void)raise(SIGSTOP);
    return st;
}

static stele_status count_only(stele_job *job, void *user, stele_error *err)
{
    (void)job;
    (void)user;
    (void)err;
    return STELE_OK;
}

int main(int argc, char **argv)
{
    const stele_module *modules[] = {&work_module};
    const stele_job_kind kinds[] = {
        {.name = "effect", .run = leave_effect, .backoff_ms = 10},
        {.name = "plain", .run = count_only, .backoff_ms = 10},
        {.name = "freeze", .run = freeze, .backoff_ms = 10, .timeout_ms = 3000},
    };
    stele_db *db = NULL;
    stele_jobs *jobs = NULL;
    stele_error err;
    stele_error_clear(&err);
    if (argc != 2)
        return 2;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = argv[1];
    options.modules = modules;
    options.module_count = 1;
    options.pool.max_connections = 8;
    stele_jobs_options how = STELE_JOBS_OPTIONS_INIT;
    how.kinds = kinds;
    how.kind_count = 3;
    how.workers = 4;
    how.batch = 20;
    how.poll_ms = 50;
    how.lease_ms = 1000;
    if (stele_db_open(&options, &db, &err) != STELE_OK ||
        stele_jobs_open(db, &errands_jobs, &how, &jobs, &err) != STELE_OK) {
        (void)fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    (void)printf("ready\n");
    (void)fflush(stdout);
    for (;;)
        (void)poll(NULL, 0, -1);
}
