/**
 * A database handle: a pool of connections, the modules it serves, their names and policies.
 *
 *     stele_db_options options = STELE_DB_OPTIONS_INIT;
 *     options.dsn = "host=/run/postgresql dbname=app";
 *     options.modules = (const stele_module *const[]){&sessions_module};
 *     options.module_count = 1;
 *     stele_db *db = NULL;
 *     if (stele_db_open(&options, &db, &err) != STELE_OK) …
 *
 * Handles are reference-counted and thread-safe; derived ones share the pool of their origin and
 * may be closed in any order.
 *
 * Floor: db.
 */
#ifndef STELE_DB_H
#define STELE_DB_H

#include "stele/conn.h"
#include "stele/observe.h"
#include "stele/pool.h"
#include "stele/tx.h"

STELE_BEGIN_DECLS

typedef struct stele_registry stele_registry;

/**
 * Where tables live: `schema`.`prefix`table. NULL or "" for none (the search_path decides).
 *
 * Letters, digits and underscores, not starting with a digit. Every name that a module makes of
 * them is checked to fit 63 bytes when a handle is opened or derived; nothing is truncated.
 */
typedef struct stele_names {
    const char *schema;
    const char *prefix;
} stele_names;

/** A module that keeps its own names in this handle and all handles derived from it. */
typedef struct stele_pin {
    const stele_module *module;
    stele_names names;
} stele_pin;

/** A switch whose zero is "as the schema or the origin says". */
typedef enum stele_switch { STELE_DEFAULT = 0, STELE_ON, STELE_OFF } stele_switch;

/** A parameter of the server, as SET takes it. */
typedef struct stele_setting {
    const char *name;
    const char *value;
} stele_setting;

typedef struct stele_db_options {
    size_t size; /* sizeof(stele_db_options); set by STELE_DB_OPTIONS_INIT */

    /* Where the server is. dsn wins, then host and its companions, then a named instance, then the
     * environment as libpq reads it. Texts are copied. A service that dsn names says what is left open
     * by all of these and by the defaults here. */
    const char *dsn; /* connection string or URI; several hosts allowed */
    const char *host;
    const char *port;
    const char *user;
    const char *password;
    const char *dbname; /* a name, never read as a connection string */
    const char *sslmode;
    const stele_registry *registry; /* borrowed until open returns */
    const char *instance;           /* a name in `registry` */
    const char *application_name;   /* [stele] */

    const stele_module *const *modules; /* the array is copied, the modules must live on */
    size_t module_count;
    stele_names names;
    const stele_pin *pins;
    size_t pin_count;
    stele_switch soft_delete; /* [as each table declares] STELE_OFF: delete removes rows */

    stele_pool_options pool;
    uint32_t call_timeout_ms; /* [30000] every call that waits for the server */
    bool unnamed_statements;  /* never prepare: for transaction poolers that cannot */
    uint32_t statement_cache; /* [256] prepared statements per connection */
    /* [STELE_ON] The server plans a prepared statement once, not for the values of each of its first
     * runs: plan_cache_mode is force_generic_plan. A query may opt out: `-- plan: custom`. Never with
     * unnamed_statements. */
    stele_switch generic_plans;
    const stele_setting *settings; /* of every session, copied: {"work_mem", "64MB"} */
    size_t setting_count;
    stele_switch read_write; /* [STELE_ON] connect only to a server that accepts writes */
    uint32_t
        tenant_affinity; /* [8] idle connections looked at for one last used under same names */

    stele_lease_fn on_lease;
    void (*on_notice)(const char *severity, const char *message, void *user);
    void (*on_leak)(const stele_leak_report *report, void *user);
    void *hook_user; /* handed to the hooks */

    /* What runs on the handle and those derived from it; see stele/observe.h. */
    stele_query_fn on_query_start;
    stele_query_fn on_query_end;
    stele_query_fn on_slow_query; /* only those that took slow_query_ms or more */
    uint32_t slow_query_ms;       /* [1000] */
    bool show_parameters;         /* hooks see the values that are sent */
} stele_db_options;

#ifdef __cplusplus
}
static inline stele_db_options stele_db_options_init(void)
{
    stele_db_options options = stele_db_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_DB_OPTIONS_INIT stele_db_options_init()
#else
#define STELE_DB_OPTIONS_INIT                                                                      \
    {                                                                                              \
        .size = sizeof(stele_db_options)                                                           \
    }
#endif

/**
 * Opens a handle. Connects once, so that a wrong address, password or version is told at once.
 *
 * Owns:    the caller: stele_db_close().
 * Threads: a handle may be used by any number at once, also to derive, acquire and reset. After a fork
 *          only the parent may use it (STELE_E_FORKED); the child may close its copy.
 * Errors: STELE_E_CONNECT, STELE_E_AUTH, STELE_E_UNSUPPORTED (server before 12), STELE_E_NAME,
 *         STELE_E_INPUT, STELE_E_TIMEOUT, STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_db_open(const stele_db_options *options,
                                                      stele_db **ret_db, stele_error *err);

/**
 * A handle on the same pool under other names (a tenant). Does no I/O. Close it on its own, before or
 * after `db`. Errors of all three: STELE_E_NAME, STELE_E_INPUT, STELE_E_CLOSED, STELE_E_FORKED,
 * STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_db_derive(stele_db *db, const stele_names *names,
                                                        stele_db **ret_db, stele_error *err);

/** A handle on the same pool and names with soft delete switched. */
STELE_API STELE_MUST_CHECK stele_status stele_db_derive_policy(stele_db *db,
                                                               stele_switch soft_delete,
                                                               stele_db **ret_db, stele_error *err);

/**
 * A handle on the same pool for other modules, whatever those of `db` are: how a library with tables of
 * its own stands on a handle of its user's. `names` NULL: those of `db`. Close it on its own.
 *
 * Errors: STELE_E_NAME, STELE_E_INPUT, STELE_E_CLOSED, STELE_E_FORKED, STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_db_derive_modules(
    stele_db *db, const stele_module *const *modules, size_t module_count, const stele_names *names,
    stele_switch soft_delete, stele_db **ret_db, stele_error *err);

/**
 * Gives up a handle. The last one closes the pool: new acquires are refused, leases in use get
 * `drain_ms` (stele_db_close_wait; 5000 for stele_db_close) to come back, then their statements are
 * canceled. A lease still out keeps its memory until released. NULL is ignored.
 */
STELE_API void stele_db_close(stele_db *db);
STELE_API void stele_db_close_wait(stele_db *db, uint32_t drain_ms);
STELE_API void stele_db_autofree(stele_db **db); /* for STELE_AUTO */

/**
 * Takes a connection. Waits in line, first come first served, at most the pool's acquire timeout.
 *
 * Owns:   the caller: stele_conn_release(), also after the handle was closed.
 * Errors: STELE_E_TIMEOUT, STELE_E_BUSY, STELE_E_CONNECT, STELE_E_AUTH, STELE_E_CLOSED,
 *         STELE_E_FORKED, STELE_E_NOMEM, and what on_lease answers.
 */
#define stele_db_acquire(db, ret_conn, err)                                                        \
    stele_db_acquire_at((db), 0, __FILE__, __LINE__, (ret_conn), (err))
/** The same with a timeout of its own (0: the pool's) and the place that leak reports name. */
STELE_API STELE_MUST_CHECK stele_status stele_db_acquire_at(stele_db *db, uint32_t timeout_ms,
                                                            const char *file, int line,
                                                            stele_conn **ret_conn,
                                                            stele_error *err);

/** A snapshot of the pool's numbers. */
STELE_API void stele_db_pool_stats(const stele_db *db, stele_pool_stats *ret_stats);

/** Replaces all connections: idle ones now, leased ones as they return. */
STELE_API void stele_db_reset(stele_db *db);

/* ---- registry: named instances -------------------------------------------------------------- */

/** A caller-owned list of named connection strings. Thread-safe. */
STELE_API STELE_MUST_CHECK stele_status stele_registry_new(stele_registry **ret_registry,
                                                           stele_error *err);
/** Adds or replaces a name. Both strings are copied. */
STELE_API STELE_MUST_CHECK stele_status stele_registry_set(stele_registry *registry,
                                                           const char *name, const char *dsn,
                                                           stele_error *err);
/** NULL is ignored; nobody may use it any more. Handles opened with it do not need it. */
STELE_API void stele_registry_free(stele_registry *registry);

STELE_END_DECLS

#endif
