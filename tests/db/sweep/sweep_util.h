/*
 * What the tests of the sweeper share: a database with the tables of chores.yaml and of sessions, and
 * sweepers on it.
 */
#ifndef STELE_TESTS_SWEEP_UTIL_H
#define STELE_TESTS_SWEEP_UTIL_H

#include "chores.gen.h"
#include "sessions.gen.h"

#include "pool_util.h"

extern stele_db *db;
extern stele_error err;

/* Group fixtures. */
int setup_chores(void **state);
int teardown_chores(void **state);

/* Creates the tables of a module with the indexes that sweeping walks. */
void ensure_swept(stele_db *handle, const stele_module *module);

/* Test fixture: empties all tables. */
int clean_chores(void **state);

#define SWEPT(test) cmocka_unit_test_setup(test, clean_chores)
#define RUN_SWEPT(tests) cmocka_run_group_tests(tests, setup_chores, teardown_chores)

/* Options of a sweeper that runs only when told to, as fast as it can. */
stele_sweeper_options by_hand(void);

stele_sweeper *open_sweeper(stele_db *on, const stele_sweeper_options *options);
void close_sweeper(stele_sweeper *sweeper);

/* Opens, runs once (which must succeed), closes. */
stele_sweep_report sweep_once(stele_db *on, const stele_sweeper_options *options);

stele_sweep_stats numbers_of(const stele_sweeper *sweeper);

/* Those of a table of the handle without schema and prefix. */
stele_sweep_table_stats table_numbers(const stele_sweeper *sweeper, const char *table);

/* SQL of another program, which has its own connection and commits at once. */
void peer(const char *sql);
int64_t number(const char *sql);

#endif
