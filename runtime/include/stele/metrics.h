/**
 * Numbers of everything that runs: collected when asked for, as a struct, one by one, or as text
 * for Prometheus.
 *
 *     stele_metrics *metrics = NULL;
 *     if (stele_metrics_open(NULL, &metrics, &err) != STELE_OK) …
 *     stele_db_options options = STELE_DB_OPTIONS_INIT;
 *     options.on_query_end = stele_metrics_on_query;        how long statements take
 *     options.hook_user = metrics;
 *     if (stele_db_open(&options, &db, &err) != STELE_OK) …
 *     const stele_label label = {"pool", "orders"};
 *     if (stele_metrics_add_db(metrics, db, &label, 1, &err) != STELE_OK) …
 *     if (stele_metrics_serve(metrics, NULL, &server, &err) != STELE_OK) …       GET /metrics
 *
 * Nothing runs in the background, but for the server. What parts count they count anyway; only
 * statements have to be watched, by a hook of stele/observe.h, which costs them a fifth of a
 * microsecond or less.
 *
 * Floor: metrics.
 */
#ifndef STELE_METRICS_H
#define STELE_METRICS_H

#include "stele/jobs.h"
#include "stele/lanes.h"
#include "stele/latency.h"
#include "stele/listen.h"
#include "stele/persist.h"
#include "stele/sweeper.h"

STELE_BEGIN_DECLS

typedef struct stele_metrics stele_metrics;
typedef struct stele_metrics_server stele_metrics_server;

/**
 * A name (letters, digits, underscores, dots; none that samples have themselves, such as "table")
 * and its value (UTF-8), both copied when given.
 */
typedef struct stele_label {
    const char *name;
    const char *value;
} stele_label;

/** Options; 0 takes the default in brackets. */
typedef struct stele_metrics_options {
    size_t size;               /* set by STELE_METRICS_OPTIONS_INIT */
    const stele_label *labels; /* of all samples: service, instance, … */
    size_t label_count;
    uint32_t max_statements; /* [256] statements counted one by one; the rest is counted together */
    bool otel_names;         /* names of OpenTelemetry's semantic conventions where there are any */
} stele_metrics_options;

#ifdef __cplusplus
}
static inline stele_metrics_options stele_metrics_options_init(void)
{
    stele_metrics_options options = stele_metrics_options();
    options.size = sizeof options;
    return options;
}
extern "C" {
#define STELE_METRICS_OPTIONS_INIT stele_metrics_options_init()
#else
#define STELE_METRICS_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .size = sizeof(stele_metrics_options)                                                      \
    }
#endif

/**
 * Opens an empty registry. `options` NULL: defaults.
 *
 * Owns:    the caller: stele_metrics_close(), after all handles whose hook it is.
 * Errors:  STELE_E_INPUT, STELE_E_NAME (labels), STELE_E_NOMEM.
 * Threads: all functions but close may be called by any thread at any time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_metrics_open(const stele_metrics_options *options,
                                                           stele_metrics **ret_metrics,
                                                           stele_error *err);

/** Frees it. NULL is ignored. */
STELE_API void stele_metrics_close(stele_metrics *metrics);

/* ---- what is measured ----------------------------------------------------------------------- */

/**
 * For stele_db_options.on_query_end, with the metrics as its user; or call it from a hook of your
 * own. Counts how long the statement took, what it returned, and how it ended.
 */
STELE_API void stele_metrics_on_query(const stele_query_event *event, void *metrics);

/**
 * For stele_sweeper_options.on_batch, with the metrics as its user.
 * Counts how long the sweeper's transactions take.
 */
STELE_API void stele_metrics_on_sweep(const stele_sweep_place *place,
                                      const stele_sweep_batch *batch, void *metrics);

/**
 * Adds a part, whose samples have the labels. Two of the same kind need different ones. The pool of
 * derived handles is that of their origin: add one of them.
 *
 * Owns:   the part must live until stele_metrics_remove(), or the end of the registry.
 * Errors: STELE_E_NAME (labels), STELE_E_INPUT (NULL, or the same kind has the same labels),
 *         STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_metrics_add_db(stele_metrics *metrics,
                                                             const stele_db *db,
                                                             const stele_label *labels,
                                                             size_t count, stele_error *err);
STELE_API STELE_MUST_CHECK stele_status stele_metrics_add_sweeper(stele_metrics *metrics,
                                                                  const stele_sweeper *sweeper,
                                                                  const stele_label *labels,
                                                                  size_t count, stele_error *err);
STELE_API STELE_MUST_CHECK stele_status stele_metrics_add_lanes(stele_metrics *metrics,
                                                                const stele_lanes *lanes,
                                                                const stele_label *labels,
                                                                size_t count, stele_error *err);
STELE_API STELE_MUST_CHECK stele_status stele_metrics_add_persist(stele_metrics *metrics,
                                                                  const stele_persist *persist,
                                                                  const stele_label *labels,
                                                                  size_t count, stele_error *err);
STELE_API STELE_MUST_CHECK stele_status stele_metrics_add_jobs(stele_metrics *metrics,
                                                               const stele_jobs *jobs,
                                                               const stele_label *labels,
                                                               size_t count, stele_error *err);
STELE_API STELE_MUST_CHECK stele_status stele_metrics_add_listener(stele_metrics *metrics,
                                                                   const stele_listener *listener,
                                                                   const stele_label *labels,
                                                                   size_t count, stele_error *err);
STELE_API STELE_MUST_CHECK stele_status stele_metrics_add_doorbell(stele_metrics *metrics,
                                                                   const stele_doorbell *bell,
                                                                   const stele_label *labels,
                                                                   size_t count, stele_error *err);

/** Forgets a part, before it is closed. Does not return while it is being looked at. */
STELE_API void stele_metrics_remove(stele_metrics *metrics, const void *part);

/* ---- numbers as a struct -------------------------------------------------------------------- */

/**
 * Everything in one struct: parts of one kind summed up, what is longest or oldest as the greatest.
 */
typedef struct stele_snapshot {
    uint32_t dbs; /* how many of each kind were added */
    uint32_t sweepers;
    uint32_t lane_groups;
    uint32_t persists;
    uint32_t job_workers;
    uint32_t listeners;
    uint32_t doorbells;
    uint64_t statement_errors;
    uint64_t statement_rows;
    uint64_t round_trips;
    uint64_t batches;        /* of pipelines */
    stele_latency statement; /* all that the hook was told of */
    stele_latency pipelined; /* of these, those in pipelines */
    stele_latency sweep;
    stele_pool_stats pool;
    stele_sweep_stats sweeper;
    stele_lane_stats lanes;
    stele_commit_stats persist;
    stele_job_stats jobs;
    stele_listen_stats listener;
    stele_bell_stats doorbell;
} stele_snapshot;

/** Takes a snapshot. What its structs say of one connection, such as an SQLSTATE, is left empty. */
STELE_API void stele_metrics_snapshot(stele_metrics *metrics, stele_snapshot *ret_snapshot);

/* ---- numbers one by one --------------------------------------------------------------------- */

typedef enum stele_metric_type {
    STELE_METRIC_COUNTER,  /* only grows */
    STELE_METRIC_GAUGE,    /* as it is now */
    STELE_METRIC_SUMMARY,  /* how many, and how much altogether */
    STELE_METRIC_HISTOGRAM /* the same, by size */
} stele_metric_type;

/** One sample. Samples of one name come one after the other. */
typedef struct stele_metric {
    const char *name;      /* without "_total" */
    const char *otel_name; /* of OpenTelemetry's conventions; NULL if these have none */
    const char *unit;      /* "seconds", "bytes" or "" */
    const char *help;
    stele_metric_type type;
    const stele_label *labels; /* those of the registry, of the part, and of the sample */
    size_t label_count;
    double value;                 /* of counters and gauges */
    double sum;                   /* of summaries and histograms */
    uint64_t count;               /* of these, too */
    const stele_latency *latency; /* of histograms; NULL otherwise */
} stele_metric;

typedef void (*stele_metric_fn)(const stele_metric *metric, void *user);

/**
 * Calls `fn` for each sample: what exporters of other kinds are made of. It must not call functions
 * of the registry.
 *
 * Errors: STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_metrics_each(stele_metrics *metrics,
                                                           stele_metric_fn fn, void *user,
                                                           stele_error *err);

/** Calls `fn` once for each name there is, without labels and values. */
STELE_API void stele_metrics_describe(stele_metric_fn fn, void *user);

/* ---- numbers as text ------------------------------------------------------------------------ */

typedef enum stele_metrics_format {
    STELE_METRICS_OPENMETRICS = 0, /* application/openmetrics-text; version=1.0.0 */
    STELE_METRICS_PROMETHEUS       /* text/plain; version=0.0.4 */
} stele_metrics_format;

/**
 * Writes all samples.
 *
 * Owns:   the caller: stele_free(). `ret_len` (may be NULL) is without the terminator.
 * Errors: STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status stele_metrics_text(stele_metrics *metrics,
                                                           stele_metrics_format format,
                                                           char **ret_text, size_t *ret_len,
                                                           stele_error *err);

/* ---- serving -------------------------------------------------------------------------------- */

typedef struct stele_metrics_server_options {
    size_t size;         /* set by STELE_METRICS_SERVER_OPTIONS_INIT */
    const char *address; /* [127.0.0.1] IPv4 or IPv6; 0.0.0.0 or :: for all */
    uint16_t port;       /* 0: any that is free */
    const char *path;    /* [/metrics] */
} stele_metrics_server_options;

#ifdef __cplusplus
#define STELE_METRICS_SERVER_OPTIONS_INIT                                                          \
    {                                                                                              \
        sizeof(stele_metrics_server_options), NULL, 0, NULL                                        \
    }
#else
#define STELE_METRICS_SERVER_OPTIONS_INIT                                                          \
    {                                                                                              \
        .size = sizeof(stele_metrics_server_options)                                               \
    }
#endif

/**
 * Answers GET requests for `path` over HTTP, in a thread of its own, in the format that is asked
 * for.
 *
 * Owns:   the caller: stele_metrics_server_close(), before the registry.
 * Errors: STELE_E_UNSUPPORTED when Stele was built without libmicrohttpd; STELE_E_INPUT (the
 * address);
 *         STELE_E_CONNECT (it cannot be listened on); STELE_E_NOMEM.
 */
STELE_API STELE_MUST_CHECK stele_status
stele_metrics_serve(stele_metrics *metrics, const stele_metrics_server_options *options,
                    stele_metrics_server **ret_server, stele_error *err);

/** The port it listens on. */
STELE_API uint16_t stele_metrics_server_port(const stele_metrics_server *server);

/** Ends it; requests under way are answered or dropped. NULL is ignored. */
STELE_API void stele_metrics_server_close(stele_metrics_server *server);

STELE_END_DECLS

#endif
