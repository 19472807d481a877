#include "jobs_util.h"

#include <stdlib.h>

stele_db *db;
stele_error err;

int setup_work(void **state)
{
    (void)setup_database(state);
    stele_db_options options = options_of("working", 20, &work_module);
    db = open_with(&options);
    stele_ensure_options ensure = STELE_ENSURE_OPTIONS_INIT;
    assert_ok(stele_db_ensure(db, &work_module, &ensure, &err), &err);
    return 0;
}

int teardown_work(void **state)
{
    stele_db_close(db);
    return teardown_database(state);
}

int clean_work(void **state)
{
    (void)state;
    peer("TRUNCATE errands, effects RESTART IDENTITY");
    return 0;
}

int64_t enqueue_as(const stele_job_input *job)
{
    int64_t id = 0;
    STELE_AUTO(stele_conn) conn = NULL;
    assert_ok(stele_db_acquire(db, &conn, &err), &err);
    assert_ok(errands_enqueue(conn, job, &id, &err), &err);
    return id;
}

int64_t enqueue(const char *kind, const char *key)
{
    stele_job_input job = {.kind = stele_s(kind), .key = stele_s(key)};
    return enqueue_as(&job);
}

stele_jobs_options quick(stele_job_kind *kind, stele_job_fn run, void *user)
{
    *kind = (stele_job_kind){.name = "plain", .run = run, .user = user, .backoff_ms = 1};
    stele_jobs_options options = STELE_JOBS_OPTIONS_INIT;
    options.kinds = kind;
    options.kind_count = 1;
    options.poll_ms = 20;
    options.lease_ms = 30000;
    return options;
}

stele_jobs *open_jobs(const stele_jobs_options *options)
{
    stele_jobs *jobs = NULL;
    assert_ok(stele_jobs_open(db, &errands_jobs, options, &jobs, &err), &err);
    return jobs;
}

void close_jobs(stele_jobs *jobs)
{
    assert_ok(stele_jobs_close(jobs, 60000, &err), &err);
}

stele_job_stats numbers_of(const stele_jobs *jobs)
{
    stele_job_stats stats;
    stele_jobs_stats(jobs, &stats);
    return stats;
}

void peer(const char *sql)
{
    dbtest_exec(dsn, sql);
}

int64_t number(const char *sql)
{
    char *text = dbtest_value(dsn, sql);
    int64_t value = strtoll(text, NULL, 10);
    free(text);
    return value;
}

bool becomes_true(const char *sql)
{
    return dbtest_wait_until(dsn, sql);
}

const char *states(void)
{
    static char line[200];
    char *text =
        dbtest_value(dsn, "SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM"
                          " (SELECT state, count(*) AS n FROM errands GROUP BY state) AS s");
    (void)snprintf(line, sizeof line, "%s", text);
    free(text);
    return line;
}

stele_status leave_effect(stele_job *job, void *user, stele_error *error)
{
    const stele_job_info *info = stele_job_get(job);
    stele_conn *conn;
    (void)user;
    stele_status st = stele_job_begin(job, &conn, error);
    if (st != STELE_OK)
        return st;
    effects_input row = {.job = stele_i64_v(info->id), .gen = stele_i64_v(info->gen)};
    return effects_insert(conn, &row, NULL, error);
}

stele_status wait_at_gate(stele_job *job, void *user, stele_error *error)
{
    gate *g = user;
    __atomic_fetch_add(&g->arrived, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&g->open, __ATOMIC_SEQ_CST)) {
        if (!stele_job_alive(job)) {
            __atomic_fetch_add(&g->stopped, 1, __ATOMIC_SEQ_CST);
            (void)snprintf(error->message, sizeof error->message, "told to stop");
            return STELE_E_CANCELED;
        }
        wait_a_little();
    }
    return STELE_OK;
}

void wait_for(const int *atomic, int value)
{
    for (int i = 0; i < 100000 && __atomic_load_n(atomic, __ATOMIC_SEQ_CST) < value; i++)
        wait_a_little();
    assert_true(__atomic_load_n(atomic, __ATOMIC_SEQ_CST) >= value);
}
