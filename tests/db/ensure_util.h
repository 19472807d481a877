/*
 * What the tests of stele_db_ensure share: one database for the program, a schema for each test,
 * and what the call has said.
 */
#ifndef STELE_TESTS_ENSURE_UTIL_H
#define STELE_TESTS_ENSURE_UTIL_H

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
#include "stele/gen/gen.h"

enum { SAID_MAX = 16, SAID_SIZE = 256, PHASES_SIZE = 4096 };

/* What the hooks were told. */
typedef struct said {
    int count;
    char differences[SAID_MAX][SAID_SIZE];
    char phases[PHASES_SIZE]; /* "look lab\ncreate things\n…" */
} said;

/* The database of this program. */
extern char *dsn;

/* The schema of this test, made anew by in_schema(). */
extern char schema[32];

int make_database(void **state);
int drop_database(void **state);
int make_schema(void **state);
int drop_schema(void **state);

/* Opens `module` in a schema (NULL: none), with a prefix (NULL: none), as a role (NULL: owner). */
stele_db *open_module(const stele_module *module, const char *in_schema, const char *prefix,
                      const char *role);

/* Options that fill `what`. */
stele_ensure_options listening(said *what);

/* Runs SQL in which every @ stands for the test's schema. */
void sql(const char *text);

/* The first value of a query in which every @ stands for the test's schema; freed by free(). */
char *value(const char *text);
void assert_value(const char *query, const char *expected);

/* Fails with what `err` says unless `status` is as expected. */
#define assert_status(expected, status, err)                                                       \
    check_status((expected), (status), (err), __FILE__, __LINE__)
void check_status(stele_status expected, stele_status status, const stele_error *err,
                  const char *file, int line);

/* stele_db_ensure on a handle opened for it alone. */
stele_status ensure_once(const stele_module *module, const stele_ensure_options *options,
                         stele_error *err);

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_schema, drop_schema)
#define RUN(tests) cmocka_run_group_tests(tests, make_database, drop_database)

#endif
