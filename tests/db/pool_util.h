/*
 * What the tests of pool and handles share: a database of the test program's own, handles on it, and
 * SQL that leaves the session as it was.
 */
#ifndef STELE_TESTS_POOL_UTIL_H
#define STELE_TESTS_POOL_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbtest.h"
#include "stele.h"

/* The database that setup_database() made. */
extern char *dsn;

/* cmocka group fixtures. */
int setup_database(void **state);
int teardown_database(void **state);

/* Prints what `err` says when `expression` is not STELE_OK. */
#define assert_ok(expression, err)                                                                 \
    do {                                                                                           \
        if ((expression) != STELE_OK)                                                              \
            fail_with(__FILE__, __LINE__, (err));                                                  \
    } while (0)

void fail_with(const char *file, int line, const stele_error *err);

/* Options for `dsn` with an application_name of its own, so that its server side can be counted. */
stele_db_options options_for(const char *name, uint32_t max_connections);

/* The same for a handle that knows a module; the next call takes its list over. */
stele_db_options options_of(const char *name, uint32_t max_connections, const stele_module *module);

stele_db *open_with(const stele_db_options *options);

/* Options and handle in one. */
stele_db *open_db(const char *name, uint32_t max_connections);

stele_conn *acquire(stele_db *db);

/* Runs SQL on a lease. */
stele_status try_sql(stele_conn *conn, const char *sql, stele_error *err);
void run_sql(stele_conn *conn, const char *sql);

/* The first value that SQL answers; in a buffer that the next call reuses in the same thread. */
const char *ask(stele_conn *conn, const char *sql);

stele_pool_stats stats_of(const stele_db *db);

/* Server processes that serve connections of this application_name. */
int backends(const char *name);

/* Waits, at most a minute, until so many are left. */
void wait_for_backends(const char *name, int count);

/* Waits, at least a minute, until `condition` holds; polls. */
#define wait_until(condition)                                                                      \
    do {                                                                                           \
        for (int tries_ = 0; !(condition); tries_++) {                                             \
            assert_true(tries_ < 30000);                                                           \
            wait_a_little();                                                                       \
        }                                                                                          \
    } while (0)

/* Two milliseconds, between two looks at a condition. */
void wait_a_little(void);

uint64_t now_ms(void);

#define RUN(tests) cmocka_run_group_tests(tests, setup_database, teardown_database)

#endif
