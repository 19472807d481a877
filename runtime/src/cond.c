/*
 * Condition variables by the monotonic clock.
 *
 * Floor: text.
 */
#define _GNU_SOURCE /* pthread_condattr_setclock */
#include "cond.h"

#include <errno.h>
#include <time.h>

#include "banned.h"

bool stele__cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t clock;
    if (pthread_condattr_init(&clock) != 0)
        return false;
    bool made = pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(cond, &clock) == 0;
    (void)pthread_condattr_destroy(&clock);
    return made;
}

bool stele__cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until_ns)
{
    if (until_ns == UINT64_MAX)
        return pthread_cond_wait(cond, lock) == 0;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};
    return pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
}
