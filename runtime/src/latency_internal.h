/**
 * Counting how long things take. What is added to is the caller's to guard.
 *
 * Floor: base.
 */
#ifndef STELE_LATENCY_INTERNAL_H
#define STELE_LATENCY_INTERNAL_H

#include "stele/latency.h"

/** The bucket of a time. */
size_t stele__latency_bucket(uint64_t ns);

/** Counts one time. */
void stele__latency_add(stele_latency *latency, uint64_t ns);

/** Adds what another one counted. */
void stele__latency_join(stele_latency *sum, const stele_latency *more);

#endif
