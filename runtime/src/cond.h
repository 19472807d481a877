/*
 * Condition variables by the monotonic clock, that of stele__now_ns().
 *
 * Floor: text.
 */
#ifndef STELE_COND_H
#define STELE_COND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* False when there is no memory. */
bool stele__cond_init(pthread_cond_t *cond);

/*
 * Waits until `until_ns`, UINT64_MAX for ever; false once that has passed. True tells nothing: look at
 * what is waited for.
 */
bool stele__cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns);

#endif
