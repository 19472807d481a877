/*
 * Looking into histograms of times.
 */
#ifndef STELE_TESTS_LATENCY_H
#define STELE_TESTS_LATENCY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stele/latency.h"

/* How many took longer than a bound, which is one of the buckets'. Checks that they add up, too. */
static inline uint64_t slower_than(const stele_latency *latency, uint64_t ms)
{
    uint64_t all = 0;
    uint64_t slower = 0;
    bool known = false;
    for (size_t i = 0; i < STELE_LATENCY_BUCKETS; i++) {
        all += latency->buckets[i];
        slower += known ? latency->buckets[i] : 0;
        known = known || stele_latency_bound(i) == ms * 1000000;
    }
    assert_true(known);
    assert_int_equal(all, latency->count);
    assert_true(latency->sum_ns >= slower * ms * 1000000);
    return slower;
}

#endif
