/*
 * What the tests of pipelines share: a lease with a pipeline on it, and queue forms as generated code has
 * them, of the table in things.h.
 */
#ifndef STELE_TESTS_PIPELINE_UTIL_H
#define STELE_TESTS_PIPELINE_UTIL_H

#include "stele/gen/flow.h"
#include "things.h"

extern stele_db *db;
extern stele_conn *conn;
extern stele_pipeline *p;
extern stele_error err; /* what the queue forms below say */

/* cmocka fixtures of a test. */
int open_pipeline(void **state);
int close_pipeline(void **state);

/* Opens the pipeline anew. */
void reopen(const stele_pipeline_options *options);

stele_status queue_find(stele_pipeline *to, int64_t id, thing_row **ret_row);
stele_status queue_input(stele_pipeline *to, const thing_input *input, uint64_t *ret_count);
stele_status queue_insert(stele_pipeline *to, int64_t id, const char *name);
stele_status queue_list(stele_pipeline *to, int64_t limit, thing_row **ret_rows, size_t *ret_count);
stele_status queue_sql(stele_pipeline *to, made *m, const char *sql, uint64_t *ret_count);

/* Inserts things `from` up to `to`, in one batch. */
void insert_many(int from, int to);

#endif
