/*
 * Every part that can be measured, at work for a moment, for the tests in Python.
 *
 *     metrics_driver describe              names, types and units
 *     metrics_driver text FORMAT NAMES     FORMAT openmetrics or prometheus, NAMES own or otel
 *     metrics_driver serve                 prints the port, and serves until its input ends
 *     metrics_driver health                health as JSON, and whether it can listen and ring
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sessions.gen.h"
#include "stele.h"

static stele_error err;
static stele_metrics *metrics;
static stele_db *db;
static stele_sweeper *sweeper;
static stele_lanes *lanes;
static stele_persist *persist;
static stele_jobs *jobs;
static stele_listener *listener;
static stele_doorbell *bell;

static void check(stele_status st, const char *what)
{
    if (st == STELE_OK)
        return;
    char text[1024];
    (void)stele_error_format(&err, text, sizeof text);
    (void)fprintf(stderr, "%s: %s\n", what, text);
    exit(1);
}

static void run_nothing(uint32_t lane, void *const *items, size_t count, void *user)
{
    (void)lane;
    (void)items;
    (void)count;
    (void)user;
}

static stele_status do_nothing(stele_job *job, void *user, stele_error *why)
{
    (void)job;
    (void)user;
    (void)why;
    return STELE_OK;
}

static void hear(const char *channel, const char *payload, bool rescan, void *user)
{
    (void)channel;
    (void)payload;
    (void)rescan;
    (void)user;
}

static void open_db(void)
{
    static const stele_module *modules[] = {&sessions_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.modules = modules;
    options.module_count = 1;
    options.on_query_end = stele_metrics_on_query;
    options.hook_user = metrics;
    check(stele_db_open(&options, &db, &err), "db");
    check(stele_db_ensure(db, &sessions_module, NULL, &err), "ensure");
}

static void open_workers(void)
{
    stele_sweeper_options sweeps = STELE_SWEEPER_OPTIONS_INIT;
    sweeps.interval_ms = -1;
    sweeps.rows_per_second = UINT32_MAX;
    sweeps.on_batch = stele_metrics_on_sweep;
    sweeps.user = metrics;
    check(stele_sweeper_open(db, &sweeps, &sweeper, &err), "sweeper");
    stele_lanes_options runs = STELE_LANES_OPTIONS_INIT;
    runs.run = run_nothing;
    check(stele_lanes_open(&runs, &lanes, &err), "lanes");
    const stele_job_kind kind = {.name = "nothing", .run = do_nothing};
    stele_jobs_options jobs_options = STELE_JOBS_OPTIONS_INIT;
    jobs_options.kinds = &kind;
    jobs_options.kind_count = 1;
    check(stele_jobs_open_volatile(&jobs_options, &jobs, &err), "jobs");
    check(stele_persist_open(db, NULL, &persist, &err), "persist");
    check(stele_listener_open(db, NULL, &listener, &err), "listener");
    check(stele_doorbell_open(db, "measured", 0, &bell, &err), "doorbell");
}

static void add_parts(void)
{
    const stele_label pool = {"db.client.connection.pool.name", "main \"one\""};
    check(stele_metrics_add_db(metrics, db, &pool, 1, &err), "add db");
    check(stele_metrics_add_sweeper(metrics, sweeper, NULL, 0, &err), "add sweeper");
    check(stele_metrics_add_lanes(metrics, lanes, NULL, 0, &err), "add lanes");
    check(stele_metrics_add_persist(metrics, persist, NULL, 0, &err), "add persist");
    check(stele_metrics_add_jobs(metrics, jobs, NULL, 0, &err), "add jobs");
    check(stele_metrics_add_listener(metrics, listener, NULL, 0, &err), "add listener");
    check(stele_metrics_add_doorbell(metrics, bell, NULL, 0, &err), "add doorbell");
}

static session_events_input event_of_user(const char *user)
{
    return (session_events_input){.app_name = stele_text_v("app"),
                                  .user_id = stele_text_v(user),
                                  .session_id = stele_text_v("one"),
                                  .event = stele_text_v("{}")};
}

static void write_rows(void)
{
    stele_conn *conn = NULL;
    stele_pipeline *pipeline = NULL;
    check(stele_db_acquire(db, &conn, &err), "acquire");
    const session_events_input input = event_of_user("driver");
    for (int i = 0; i < 5; i++)
        check(session_events_insert(conn, &input, NULL, &err), "insert");
    const session_events_input wrong = {.app_name = stele_text_v("app")};
    if (session_events_insert(conn, &wrong, NULL, &err) != STELE_E_INPUT)
        exit(1);
    check(stele_pipeline_open(conn, NULL, &pipeline, &err), "pipeline");
    for (int i = 0; i < 3; i++)
        check(session_events_insert_queue(pipeline, &input, NULL, &err), "queue");
    check(stele_pipeline_sync(pipeline, &err), "sync");
    stele_pipeline_close(pipeline);
    check(stele_conn_exec(conn, "UPDATE session_events SET expires_at = now() - interval '1 hour'",
                          NULL, 0, NULL, &err),
          "expire");
    stele_conn_release(conn);
}

static void use_workers(void)
{
    static int item;
    stele_subscription *sub = NULL;
    stele_unit *unit = NULL;
    stele_receipt *receipt = NULL;
    check(stele_sweeper_run(sweeper, 0, NULL, &err), "sweep");
    check(stele_lanes_put(lanes, NULL, 0, &item, 1, 0, &err), "put");
    check(stele_lanes_flush(lanes, NULL, 0, 60000, &err), "flush");
    const stele_job_input job = {.kind = stele_s("nothing")};
    check(stele_jobs_put(jobs, NULL, &job, NULL, &err), "job");
    check(stele_unit_open(&unit, &err), "unit");
    const session_events_input input = event_of_user("persisted");
    check(session_events_insert_queue(stele_unit_pipeline(unit), &input, NULL, &err), "queue");
    check(stele_persist_put(persist, NULL, 0, &unit, NULL, &receipt, &err), "put");
    check(stele_receipt_wait(receipt, 60000, &err), "receipt");
    stele_receipt_free(receipt);
    check(stele_listener_subscribe(listener, "measured", hear, NULL, &sub, &err), "subscribe");
    check(stele_listener_wait(listener, 60000, &err), "listen");
    stele_doorbell_ring(bell);
}

static void close_all(void)
{
    (void)stele_doorbell_close(bell, 5000, NULL);
    (void)stele_listener_close(listener, 5000, NULL);
    (void)stele_jobs_close(jobs, 5000, NULL);
    (void)stele_persist_close(persist, 5000, NULL, NULL, NULL);
    (void)stele_lanes_close(lanes, 5000, NULL, NULL, NULL);
    (void)stele_sweeper_close(sweeper, 5000, NULL);
    stele_metrics_remove(metrics, db);
    stele_db_close(db);
    stele_metrics_close(metrics);
}

static void print_name(const stele_metric *metric, void *user)
{
    static const char *const types[] = {"counter", "gauge", "summary", "histogram"};
    (void)user;
    (void)printf("%s %s %s %s\n", metric->name, types[metric->type],
                 metric->unit[0] != '\0' ? metric->unit : "-",
                 metric->otel_name != NULL ? metric->otel_name : "-");
}

static void print_text(const char *format)
{
    char *text = NULL;
    check(stele_metrics_text(metrics,
                             strcmp(format, "openmetrics") == 0 ? STELE_METRICS_OPENMETRICS
                                                                : STELE_METRICS_PROMETHEUS,
                             &text, NULL, &err),
          "text");
    (void)fputs(text, stdout);
    stele_free(text);
}

static void serve(void)
{
    stele_metrics_server *server = NULL;
    stele_status st = stele_metrics_serve(metrics, NULL, &server, &err);
    if (st == STELE_E_UNSUPPORTED)
        (void)printf("unsupported: %s\n", err.hint);
    else
        check(st, "serve");
    if (server != NULL)
        (void)printf("%u\n", stele_metrics_server_port(server));
    (void)fflush(stdout);
    while (getchar() != EOF)
        continue;
    stele_metrics_server_close(server);
}

/* Of any server, standbys too. */
static void print_health(void)
{
    stele_health health;
    stele_health_options rules = STELE_HEALTH_OPTIONS_INIT;
    char *text = NULL;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.read_write = STELE_OFF;
    check(stele_db_open(&options, &db, &err), "db");
    rules.deadline_ms = 60000;
    check(stele_db_health(db, &rules, &health, &err), "health");
    check(stele_health_json(&health, &text, &err), "json");
    (void)printf("%s\n", text);
    stele_free(text);
    (void)printf("%s\n", stele_status_name(stele_listener_open(db, NULL, &listener, &err)));
    (void)printf("%s\n", stele_status_name(stele_doorbell_open(db, "x", 0, &bell, &err)));
    (void)stele_listener_close(listener, 5000, NULL);
    (void)stele_doorbell_close(bell, 5000, NULL);
    stele_db_close(db);
}

int main(int argc, char **argv)
{
    stele_metrics_options options = STELE_METRICS_OPTIONS_INIT;
    const stele_label service = {"service", "tests"};
    if (argc > 1 && strcmp(argv[1], "describe") == 0) {
        stele_metrics_describe(print_name, NULL);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "health") == 0) {
        print_health();
        return 0;
    }
    options.labels = &service;
    options.label_count = 1;
    options.otel_names = argc > 3 && strcmp(argv[3], "otel") == 0;
    check(stele_metrics_open(&options, &metrics, &err), "metrics");
    open_db();
    open_workers();
    add_parts();
    write_rows();
    use_workers();
    if (argc > 2)
        print_text(argv[2]);
    else
        serve();
    close_all();
    return 0;
}
