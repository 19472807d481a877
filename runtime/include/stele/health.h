/**
 * How a database and what works on it are: for readiness probes, and for people who look.
 *
 *     stele_health health;
 *     if (stele_db_health(db, NULL, &health, &err) != STELE_OK) …       not when the server is down
 *     if (health.state != STELE_HEALTH_OK)
 *         log(health.problems[0]);
 *
 * Asks at most three short questions, all of them within one deadline. A server that is down, or a
 * pool that is used up, is an answer and no error.
 *
 * Floor: metrics.
 */
#ifndef STELE_HEALTH_H
#define STELE_HEALTH_H

#include "stele/metrics.h"

STELE_BEGIN_DECLS

typedef enum stele_health_state {
    STELE_HEALTH_OK = 0,
    STELE_HEALTH_DEGRADED, /* it works, and something is wrong */
    STELE_HEALTH_DOWN      /* the server cannot be asked */
} stele_health_state;

typedef enum stele_role {
    STELE_ROLE_UNKNOWN = 0,
    STELE_ROLE_PRIMARY,
    STELE_ROLE_STANDBY
} stele_role;

/** Options; 0 takes the default in brackets. Times are in milliseconds. */
typedef struct stele_health_options {
    size_t size;          /* set by STELE_HEALTH_OPTIONS_INIT */
    uint32_t deadline_ms; /* [2000] of everything */
    /* What else to look at; each may be NULL. */
    const stele_sweeper *sweeper;
    stele_jobs *jobs;
    const stele_persist *persist;
    const stele_listener *listener;
    const stele_doorbell *doorbell;
    /* What is too much: the state is then STELE_HEALTH_DEGRADED. UINT64_MAX: never. */
    uint64_t max_lag_ms;     /* [30000] of the slowest standby, or of this one */
    uint64_t max_backlog_ms; /* [3600000] that an expired row has been waiting for the sweeper */
    uint64_t max_wait_ms;    /* [60000] that a job has been waiting for a worker */
    bool any_role; /* a standby is fine, though the handle asks for a server that accepts writes */
} stele_health_options;

#ifdef __cplusplus
}
static inline stele_health_options stele_health_options_init(void)
{
    stele_health_options options = stele_health_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_HEALTH_OPTIONS_INIT stele_health_options_init()
#else
#define STELE_HEALTH_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(stele_health_options)                                                       \
    }
#endif

#define STELE_HEALTH_PROBLEMS 8
#define STELE_HEALTH_MODULES 16

/** The tables of a module, under the names of the handle. */
typedef struct stele_health_module {
    const char *name;
    char version[17]; /* of the schema this program was made with: a hash of what creates it */
    uint32_t tables;
    uint32_t missing;
    char first_missing[STELE_NAME_SIZE];
} stele_health_module;

/** What was found. Plain bytes, but for the names of modules: nothing to free. */
typedef struct stele_health {
    stele_health_state state;
    uint32_t problem_count; /* those beyond the eighth are counted and not told */
    char problems[STELE_HEALTH_PROBLEMS][160];

    /* The server. */
    stele_status status; /* STELE_OK, or why it could not be asked */
    uint64_t answer_ns;  /* how long the first answer took, the lease included */
    char server_version[32];
    stele_role role;
    int64_t lag_ms; /* of the slowest standby, or of this one; -1: unknown */
    uint32_t standbys;

    stele_pool_stats pool;
    bool pool_used_up; /* all connections are in use, and callers wait */

    uint32_t module_count; /* of those of the handle, the first sixteen */
    stele_health_module modules[STELE_HEALTH_MODULES];

    bool has_sweeper;
    stele_sweep_stats sweeper;

    bool has_jobs;
    bool jobs_counted; /* false: the table could not be asked */
    stele_jobs_depth depth;
    stele_job_stats jobs;

    bool has_persist;
    stele_commit_stats persist;

    bool has_listener;
    stele_listen_stats listener;

    bool has_doorbell;
    stele_bell_stats doorbell;
} stele_health;

/**
 * Looks at all of it, for at most the deadline (the parts' own locks apart). `options` NULL:
 * defaults.
 *
 * Errors:  STELE_E_INPUT, STELE_E_NOMEM, STELE_E_FORKED, STELE_E_CLOSED; nothing of the server's.
 * Threads: any.
 */
STELE_API STELE_MUST_CHECK stele_status stele_db_health(stele_db *db,
                                                        const stele_health_options *options,
                                                        stele_health *ret_health, stele_error *err);

/** Name of a state: "ok", "degraded", "down". */
STELE_API const char *stele_health_state_name(stele_health_state state);

/**
 * The same as one JSON object.
 *
 * Owns:   the caller: stele_free().
 * Errors: STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_health_json(const stele_health *health,
                                                          char **ret_text, stele_error *err);

STELE_END_DECLS

#endif
