/*
 * What the tests of generated functions share: a database with the tables of both modules, a lease on
 * it, and assertions that count round trips.
 */
#ifndef STELE_TESTS_GENERATED_UTIL_H
#define STELE_TESTS_GENERATED_UTIL_H

/* Generated headers first: their inline functions have parameters named like the globals below. */
#include "odds.gen.h"
#include "sessions.gen.h"
#include "shop.gen.h"

#include "pool_util.h"

extern stele_db *db;
extern stele_conn *conn;
extern stele_conn *other; /* for what a second program does meanwhile */
extern stele_error err;

/* Group fixtures: the database, all tables of shop and sessions (or of `modules`) in
 * `public`, `db`, `conn` and `other`. */
int setup_tables(void **state);
int setup_modules(void **state, const stele_module *const *modules, size_t count);
int teardown_tables(void **state);

/* Creates a module's tables, those of the shop also on servers before 15, which know no NULLS NOT
 * DISTINCT: there two NULLs in that key differ. */
void make_tables(stele_db *on, const stele_module *module);

/* Test fixture: empties all tables and sets their sequences back; no transaction is left open. */
int clean_tables(void **state);

/* The same, and rows that others may refer to: see SHELVES in util.c. */
int stock_tables(void **state);

#define GENERATED(test) cmocka_unit_test_setup(test, clean_tables)
#define STOCKED(test) cmocka_unit_test_setup(test, stock_tables)
#define RUN_GENERATED(tests) cmocka_run_group_tests(tests, setup_tables, teardown_tables)

/* A call that succeeds, on `conn`, with one wait for the server. */
#define ok(call) answers(STELE_OK, 1, call)

/* A call that answers otherwise, with one wait. */
#define fails(status, call) answers(status, 1, call)

/* A call that answers without asking the server. */
#define refuses(status, call) answers(status, 0, call)

#define answers(status, trips, call)                                                               \
    do {                                                                                           \
        uint64_t before_ = stele_conn_round_trips(conn);                                           \
        stele_error_clear(&err);                                                                   \
        stele_status st_ = (call);                                                                 \
        check_answer(__FILE__, __LINE__, #call, st_, (status));                                    \
        assert_int_equal(stele_conn_round_trips(conn) - before_, (trips));                         \
    } while (0)

void check_answer(const char *file, int line, const char *call, stele_status st,
                  stele_status wanted);

#define assert_str(str, text) assert_string_equal((str).data, (text))
#define assert_ts(ts, text) assert_string_equal(stele_ts_format((ts), (char[40]){""}), (text))
#define assert_uuid(uuid, text)                                                                    \
    assert_string_equal(stele_uuid_format((uuid), (char[37]){""}), (text))
#define assert_inet(inet, text)                                                                    \
    assert_string_equal(stele_inet_format((inet), (char[56]){""}), (text))
#define assert_date(date, text)                                                                    \
    assert_string_equal(stele_date_format((date), (char[24]){""}), (text))
#define assert_contains(text, part) check_contains(__FILE__, __LINE__, (text), (part))

void check_contains(const char *file, int line, const char *text, const char *part);

stele_uuid uuid_of(const char *text);
stele_ts ts_of(const char *text);
stele_inet inet_of(const char *text);
stele_date date_of(const char *text);

/* SQL of another program, which has its own connection and commits at once. */
void peer(const char *sql);

/* True if `sql` answers `t` there. */
bool holds(const char *sql);

/* The number that `sql` answers there. */
int64_t number(const char *sql);

/* uuids in util.c's rows */
#define PEN "00000000-0000-4000-8000-000000000001"
#define INK "00000000-0000-4000-8000-000000000002"
#define MAP "00000000-0000-4000-8000-000000000003"
#define CART "00000000-0000-4000-8000-0000000000c1"

#endif
