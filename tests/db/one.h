/*
 * A handle and a lease of it, made anew for each test, on an empty table of things.
 */
#ifndef STELE_TESTS_ONE_H
#define STELE_TESTS_ONE_H

#include "things.h"

extern stele_db *db;
extern stele_conn *conn;
extern stele_error err;

/* cmocka test fixtures. */
int open_one(void **state);
int close_one(void **state);

#endif
