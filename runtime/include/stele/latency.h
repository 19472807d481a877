/**
 * How long things take: a histogram that all numbers of times share.
 *
 * Floor: base.
 */
#ifndef STELE_LATENCY_H
#define STELE_LATENCY_H

#include "stele/base.h"

STELE_BEGIN_DECLS

#define STELE_LATENCY_BUCKETS 18

/**
 * How long something took: counts up to the bounds 50 µs, 100 µs, 200 µs, 500 µs … 10 s, and
 * beyond.
 */
typedef struct stele_latency {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t buckets[STELE_LATENCY_BUCKETS]; /* each its own; the last one is what took longer */
} stele_latency;

/** The upper bound of a bucket in nanoseconds; UINT64_MAX for the last. */
STELE_API uint64_t stele_latency_bound(size_t bucket);

STELE_END_DECLS

#endif
