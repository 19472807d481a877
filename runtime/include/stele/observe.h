/**
 * Watching statements: hooks at their start and end, slow ones, and traces that reach the server.
 *
 * Hooks are given to stele_db_open(). They run on the thread of the call, inside it: they must be quick,
 * must not use the connection, and, as everything on a handle, may run on many threads at once. Without
 * hooks a call pays one branch for them.
 *
 * Floor: conn.
 */
#ifndef STELE_OBSERVE_H
#define STELE_OBSERVE_H

#include "stele/conn.h"

STELE_BEGIN_DECLS

/** A parameter as it is sent; only with stele_db_options.show_parameters. */
typedef struct stele_query_param {
    const char *column;
    const char *data; /* NULL for SQL NULL */
    int len;
    bool binary; /* PostgreSQL's binary format; else text */
} stele_query_param;

/**
 * One run of a generated statement. All of it ends with the call of the hook. At the start only
 * `statement`, `table`, `traceparent`, `started_ns` and parameters are known.
 */
typedef struct stele_query_event {
    const char *statement;   /* name of its function; of a pipeline's entry without "_queue" */
    const char *table;       /* NULL for queries */
    const char *traceparent; /* of the connection, NULL if there is none */
    uint64_t started_ns;     /* CLOCK_MONOTONIC; in a pipeline when its sync began */
    uint64_t duration_ns; /* in a pipeline until its answer came, of a stream until it was closed */
    uint64_t rows;        /* read or written */
    stele_status status;  /* in a batch that failed STELE_E_ABORTED but for the entry that did */
    char sqlstate[6];     /* "" on success and when the server told none */
    uint32_t round_trips; /* waits; in a pipeline those of the whole batch, with its first entry */
    size_t batch;         /* entries of the pipeline's batch it was in; 0: none */
    const stele_query_param *params; /* NULL unless show_parameters, and in pipelines and streams */
    size_t param_count;
} stele_query_event;

typedef void (*stele_query_fn)(const stele_query_event *event, void *user);

/**
 * Ties what the connection runs from here on to a trace (W3C: "00-<trace>-<span>-<flags>"); NULL ends
 * that, and so does returning the lease. Hooks are told it.
 *
 * When its flags say "sampled" (01), statements carry it as a comment that PostgreSQL's log and
 * pg_stat_activity show: traceparent='…'. As the text of a prepared statement cannot change, they go
 * unnamed and are planned each time; an unsampled trace costs nothing on the server.
 *
 * Errors: STELE_E_INPUT for what is no traceparent.
 */
STELE_API STELE_MUST_CHECK stele_status stele_conn_set_traceparent(stele_conn *conn,
                                                                   const char *traceparent,
                                                                   stele_error *err);

STELE_END_DECLS

#endif
