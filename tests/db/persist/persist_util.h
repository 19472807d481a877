/*
 * What the tests of group commit share: a database with the tables of ledger.yaml, and units of
 * them.
 */
#ifndef STELE_TESTS_PERSIST_UTIL_H
#define STELE_TESTS_PERSIST_UTIL_H

#include "heaps.gen.h"
#include "ledger.gen.h"

#include "pool_util.h"

#define PERSISTING "persisting" /* application_name of the handle */

extern stele_db *db;
extern stele_error err;

/* Group and test fixtures. */
int setup_ledger(void **state);
int teardown_ledger(void **state);
int clean_ledger(void **state);

#define LEDGER(test) cmocka_unit_test_setup(test, clean_ledger)
#define RUN_LEDGER(tests) cmocka_run_group_tests(tests, setup_ledger, teardown_ledger)

/* SQL of another program, which commits at once. */
void peer(const char *sql);
int64_t number(const char *sql);

stele_persist *open_persist(const stele_persist_options *options);

/* Options with one lane whose gathering ends only when it is full or flushed. */
stele_persist_options gathering(uint32_t units);

stele_unit *new_unit(void);

/* A new unit of one insert; payload NULL for none. */
stele_unit *entry(const char *account, int64_t seq, const char *payload);

/* Adds the same insert to a unit. */
void add_entry(stele_unit *unit, const char *account, int64_t seq, const char *payload);

/* Puts a unit under a key, and gives its receipt. */
stele_receipt *put(stele_persist *persist, const char *key, stele_unit *unit);
stele_receipt *put_so(stele_persist *persist, const char *key, stele_unit *unit,
                      const stele_put_options *how);

/* Waits for it, frees it, gives its status; the error is in `err`. */
stele_status outcome(stele_receipt *receipt);

stele_commit_stats numbers_of(const stele_persist *persist);

/* Waits until one session of this database, and no more, waits for a lock. */
bool someone_waits(void);

/* The entries of an account in order of storing: "1,2,3". In a buffer that the next call reuses. */
const char *stored(const char *account);

#endif
