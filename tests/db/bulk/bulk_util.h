/*
 * What the tests of bulk writes share: the tables, options, and notes of what the callbacks said.
 */
#ifndef STELE_TESTS_BULK_UTIL_H
#define STELE_TESTS_BULK_UTIL_H

#include "heaps.gen.h"

#include "util.h"

int setup_heaps(void **state);

#define HEAPED(test) cmocka_unit_test_setup(test, clean_heaps)
#define RUN_HEAPS(tests) cmocka_run_group_tests(tests, setup_heaps, teardown_tables)

int clean_heaps(void **state);

#define NOTES_MAX 64

/* What the callbacks were told. */
typedef struct notes {
    size_t bad[NOTES_MAX]; /* indexes, as they came */
    stele_error why[NOTES_MAX];
    size_t bad_count;
    size_t progress_count;
    size_t last_done;
    bool fell; /* progress went back */
} notes;

extern notes noted;
extern stele_bulk_report report;

/* Options whose callbacks write to `noted`, which is emptied. */
stele_bulk_options noting(stele_bulk_mode mode);

/* The note of a row; fails the test if there is none. */
const stele_error *note_of(size_t row);

/* Ways that rows can take, by the threshold of COPY. */
#define ARRAYS UINT32_MAX
#define COPY 1

#endif
