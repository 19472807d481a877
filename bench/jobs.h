/**
 * What the two halves of the benchmark of jobs share: Stele's workers and those written by hand.
 */
#ifndef STELE_BENCH_JOBS_H
#define STELE_BENCH_JOBS_H

#include "harness.h"

#define JOBS_BATCH 100

extern bench_run jobs_run;

/** When jobs were asked for and begun, by the number in their key. */
typedef struct jobs_times {
    uint64_t *asked_ns;
    uint64_t *begun_ns;
    int count;
    int begun; /* atomic */
} jobs_times;

uint64_t jobs_now_ns(void);
PGresult *jobs_must(PGresult *result, PGconn *pg);
void jobs_pause(uint64_t ns);

/** Notes that a job has begun. */
void jobs_begin(jobs_times *times, const char *key, size_t len);

/** Claims and ends everything, on so many connections. */
void jobs_by_hand(int threads);

/** Asks for jobs at random times, tells by NOTIFY, and begins them. */
void jobs_listen_by_hand(jobs_times *times);

/** Calls `ask` for each number, after a random pause. */
void jobs_ask(jobs_times *times, void (*ask)(void *user, const char *key), void *user);

#endif
