/*
 * What the tests of the shop's queries share: rows to ask for, and a short way to give parameters.
 */
#ifndef STELE_TESTS_QUERY_DATA_H
#define STELE_TESTS_QUERY_DATA_H

#include "util.h"

#define CART_PAST "00000000-0000-4000-8000-0000000000c2"
#define CART_LATER "00000000-0000-4000-8000-0000000000c3"

/* Test fixture: the rows in query_data.c. */
int shop_tables(void **state);

#define ASKED(test) cmocka_unit_test_setup(test, shop_tables)

/* The parameters of a query: PARAMS(find_customer, .id = stele_i64_v(1)). */
#define PARAMS(query, ...) (&(const shop_shop_##query##_params){__VA_ARGS__})

#define assert_span(array, ...)                                                                    \
    check_texts(__FILE__, __LINE__, (array), (const char *const[]){__VA_ARGS__, NULL})

void check_texts(const char *file, int line, stele_str_array array, const char *const *wanted);

#endif
