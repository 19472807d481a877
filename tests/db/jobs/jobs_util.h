/*
 * What the tests of jobs share: a database with a queue, workers on it, and SQL of other programs.
 */
#ifndef STELE_TESTS_JOBS_UTIL_H
#define STELE_TESTS_JOBS_UTIL_H

#include "work.gen.h"

#include "pool_util.h"

extern stele_db *db;
extern stele_error err;

int setup_work(void **state);
int teardown_work(void **state);

/* Empties the tables. */
int clean_work(void **state);

#define WORKED(test) cmocka_unit_test_setup(test, clean_work)
#define RUN_WORKED(tests) cmocka_run_group_tests(tests, setup_work, teardown_work)

/* Enqueues in a transaction of its own; key NULL: none. */
int64_t enqueue(const char *kind, const char *key);
int64_t enqueue_as(const stele_job_input *job);

/* Options for one kind, quick in everything. The kind is copied when workers are opened. */
stele_jobs_options quick(stele_job_kind *kind, stele_job_fn run, void *user);

stele_jobs *open_jobs(const stele_jobs_options *options);
void close_jobs(stele_jobs *jobs);
stele_job_stats numbers_of(const stele_jobs *jobs);

/* SQL of another program, which has its own connection and commits at once. */
void peer(const char *sql);
int64_t number(const char *sql);
bool becomes_true(const char *sql);

/* "available 2, done 1": how many jobs are in which state. Not to be kept. */
const char *states(void);

/* A handler that writes an effect of its job and generation in the transaction that ends it. */
stele_status leave_effect(stele_job *job, void *user, stele_error *error);

/* A gate that handlers wait at until it opens, or they should stop. */
typedef struct gate {
    int arrived; /* atomic */
    int open;    /* atomic */
    int stopped; /* atomic: how many left because they were told to */
} gate;
stele_status wait_at_gate(stele_job *job, void *user, stele_error *error);
void wait_for(const int *atomic, int value);

#endif
