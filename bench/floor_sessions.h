/**
 * What the floors of bench-sessions share.
 */
#ifndef STELE_BENCH_FLOOR_SESSIONS_H
#define STELE_BENCH_FLOOR_SESSIONS_H

#include "floor.h"
#include "sessions.h"

/** Runs SQL that gives no rows, or ends the program. */
void floor_sessions_execute(PGconn *pg, const char *sql);

/** This machine's time as the wire has it: clients of the peer's kind stamp rows themselves. */
uint64_t floor_sessions_now(void);

#endif
