/*
 * What every unit test includes: cmocka and the headers it forgets.
 */
#ifndef STELE_TESTS_UNIT_H
#define STELE_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A stele_str of a string literal, NULs within included. */
#define LIT(s) ((stele_str){(s), sizeof(s) - 1})

/* Fails unless the str has exactly these bytes and, as results do, a terminator. */
#define assert_str(str, expected)                                                                  \
    do {                                                                                           \
        assert_int_equal((str).len, strlen(expected));                                             \
        assert_memory_equal((str).data, (expected), strlen(expected) + 1);                         \
    } while (0)

#define RUN(tests) cmocka_run_group_tests(tests, NULL, NULL)

#endif
