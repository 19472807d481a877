/*
 * Allocations that fail on demand, for the thread that asks.
 *
 * In a plain build this replaces malloc and its companions in the whole program, libpq and jansson
 * included, and counts live blocks. Under a sanitizer, which has a malloc of its own, only what Stele
 * allocates itself can fail, through its allocator hook; the sanitizer finds the leaks.
 */
#ifndef STELE_TESTS_FAULTMALLOC_H
#define STELE_TESTS_FAULTMALLOC_H

#include <stdbool.h>

/** Call first, before anything else of Stele. */
void fault_install(void);

/** True if every allocation of the program can fail, not only Stele's own. */
bool fault_reaches_all(void);

/** From here on `successes` allocations of this thread succeed; the next one fails, once. */
void fault_arm(long successes);

/** The same, and all that come after it fail as well. */
void fault_arm_for_good(long successes);

/** Ends it; true if one failed. */
bool fault_disarm(void);

/** Allocations of this thread so far. */
long fault_count(void);

/** Blocks of this thread that are not freed; 0 where the sanitizer looks after them. */
long fault_live(void);

#endif
