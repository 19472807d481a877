/**
 * Creating and verifying the tables of a module.
 *
 * Floor: migrate.
 */
#ifndef STELE_ENSURE_H
#define STELE_ENSURE_H

#include "stele/db.h"

STELE_BEGIN_DECLS

typedef enum stele_ensure_phase {
    STELE_ENSURE_LOCK,   /* waiting for the advisory lock */
    STELE_ENSURE_LOOK,   /* reading the catalog */
    STELE_ENSURE_CREATE, /* creating `object` */
    STELE_ENSURE_INDEX,  /* building index `object` concurrently */
    STELE_ENSURE_VERIFY, /* comparing `object` with the schema */
    STELE_ENSURE_RETRY   /* again, after another program won a race */
} stele_ensure_phase;

typedef struct stele_ensure_options {
    size_t size;              /* sizeof(stele_ensure_options); set by STELE_ENSURE_OPTIONS_INIT */
    bool skip_init;           /* do nothing at all */
    bool verify_only;         /* create nothing, only compare */
    bool build_indexes;       /* build missing indexes of tables that have rows, concurrently */
    uint32_t lock_timeout_ms; /* [3000] the advisory lock, and each DDL statement */
    void (*on_phase)(stele_ensure_phase phase, const char *object, void *user);
    void *user;
    /* Every difference found, one call each; err->message sums them up as far as it has room. Called
     * too for an index that this role cannot compare; that alone is no error. */
    void (*on_difference)(const char *table, const char *object, const char *difference,
                          void *user);
    /* Indexes that the schema calls optional, to be treated as all others: "table.index", "*.index" of
     * every table, "*" for all. Those not named are neither created nor missed. */
    const char *const *optional;
    size_t optional_count;
} stele_ensure_options;

#ifdef __cplusplus
#define STELE_ENSURE_OPTIONS_INIT                                                                  \
    {                                                                                              \
        sizeof(stele_ensure_options), false, false, false, 0, NULL, NULL, NULL, NULL, 0            \
    }
#else
#define STELE_ENSURE_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(stele_ensure_options)                                                       \
    }
#endif

/**
 * Creates what is missing of `module` under the names of `db`, and verifies what exists: columns,
 * types, nullability, primary keys, unique indexes and their predicates, and that a column has a default
 * (or is an identity, or generated) where the schema declares one. Extra columns with defaults, extra
 * indexes and tables are fine.
 *
 * In place of a primary key a unique index on the same columns does, if it covers all rows and is not
 * deferrable: nothing asks for the constraint. Not compared are which default it is, checks, what a
 * foreign key or an index that is not unique says once its name is there, and comments.
 *
 * Takes a lease of `db` for as long as it runs. `db` and `module` must not be NULL; `options` NULL:
 * defaults. Any number of threads and processes may call it at once; hooks run in the caller's thread.
 * Errors: STELE_E_SCHEMA with all differences; STELE_E_TIMEOUT when the lock was not to be had;
 *         STELE_E_PERMISSION; STELE_E_NAME; STELE_E_INPUT, also for an optional index that the module
 *         does not have; STELE_E_UNSUPPORTED for NULLS NOT DISTINCT on a server before 15.
 */
STELE_API STELE_MUST_CHECK stele_status stele_db_ensure(stele_db *db, const stele_module *module,
                                                        const stele_ensure_options *options,
                                                        stele_error *err);

STELE_END_DECLS

#endif
