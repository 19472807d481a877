/**
 * Named instances, as stele_db_open looks them up.
 *
 * Floor: db.
 */
#ifndef STELE_REGISTRY_H
#define STELE_REGISTRY_H

#include "stele/db.h"

/**
 * A copy of the connection string of `name`.
 *
 * Errors: STELE_E_INPUT (no such name; the message lists those there are), STELE_E_NOMEM.
 * Owns: the caller: stele__registry_forget().
 */
stele_status stele__registry_copy(const stele_registry *registry, const char *name, char **ret_dsn,
                                  stele_error *err);

/** Overwrites and frees a connection string. NULL is ignored. */
void stele__registry_forget(char *dsn);

#endif
