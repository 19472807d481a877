/**
 * Histograms of times.
 *
 * Floor: base.
 */
#include "latency_internal.h"

#include "banned.h"

static const uint64_t bounds[STELE_LATENCY_BUCKETS - 1] = {
    50000,     100000,     200000,     500000,     1000000,     2000000,
    5000000,   10000000,   20000000,   50000000,   100000000,   200000000,
    500000000, 1000000000, 2000000000, 5000000000, 10000000000,
};

uint64_t stele_latency_bound(size_t bucket)
{
    return bucket < STELE_LATENCY_BUCKETS - 1 ? bounds[bucket] : UINT64_MAX;
}

size_t stele__latency_bucket(uint64_t ns)
{
    size_t bucket = 0;
    while (bucket < STELE_LATENCY_BUCKETS - 1 && ns > bounds[bucket])
        bucket++;
    return bucket;
}

void stele__latency_add(stele_latency *latency, uint64_t ns)
{
    latency->count++;
    latency->sum_ns += ns;
    latency->buckets[stele__latency_bucket(ns)]++;
}

void stele__latency_join(stele_latency *sum, const stele_latency *more)
{
    sum->count += more->count;
    sum->sum_ns += more->sum_ns;
    for (size_t i = 0; i < STELE_LATENCY_BUCKETS; i++)
        sum->buckets[i] += more->buckets[i];
}
