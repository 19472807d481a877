/**
 * What the cases of the tenants benchmark share: who is asked for next.
 */
#ifndef STELE_BENCH_TENANTS_H
#define STELE_BENCH_TENANTS_H

#include "harness.h"

#define TENANTS 1000
#define TENANT_FORMAT "tenant_%04d" /* schema of a tenant */
#define TENANT_CHOICES ((size_t)1 << 16)

/** Draws the choices, the same in each run; once, before the threads. */
void tenants_choose(const bench_run *run);
void tenants_forget(void);

/**
 * Lets the server process of `pg` meet all tenants' tables: what it then knows of them takes longer to
 * gather than all that is measured here.
 */
void tenants_visit(PGconn *pg);

/** A thread's place among the choices; free(). */
void *tenants_start(const bench_run *run, int thread);
uint16_t tenants_next(void *state);

extern const bench_case floor_tenants_always; /* prepares each statement, keeps the latest 256 */
extern const bench_case floor_tenants_never;  /* sends the statement's text each time */

#endif
