/*
 * Metrics of parts that are at work: sums, adding and removing while others look, and the endpoint.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency.h"
#include "things.h"

static stele_error err;

static int setup_things(void **state)
{
    (void)setup_database(state);
    create_things();
    return 0;
}

static stele_metrics *open_metrics(void)
{
    stele_metrics *metrics = NULL;
    assert_ok(stele_metrics_open(NULL, &metrics, &err), &err);
    return metrics;
}

static stele_db *open_watched(stele_metrics *metrics, const char *name)
{
    stele_db_options options = options_for(name, 4);
    options.on_query_end = stele_metrics_on_query;
    options.hook_user = metrics;
    return open_with(&options);
}

/* ---- numbers ---- */

static void statements_and_pools_are_counted(void **state)
{
    (void)state;
    stele_snapshot found;
    stele_metrics *metrics = open_metrics();
    stele_db *one = open_watched(metrics, "one");
    stele_db *two = open_watched(metrics, "two");
    const stele_label labels[] = {{"pool", "one"}, {"pool", "two"}};
    assert_ok(stele_metrics_add_db(metrics, one, &labels[0], 1, &err), &err);
    assert_int_equal(stele_metrics_add_db(metrics, two, &labels[0], 1, &err), STELE_E_INPUT);
    assert_true(strlen(err.hint) > 0);
    assert_ok(stele_metrics_add_db(metrics, two, &labels[1], 1, &err), &err);
    stele_conn *conn = acquire(one);
    stele_conn *other = acquire(two);
    for (int i = 1; i <= 10; i++)
        assert_ok(insert_thing(i % 2 == 0 ? conn : other, i, "thing", &err), &err);
    assert_int_equal(insert_thing(conn, 1, "again", &err), STELE_E_UNIQUE);
    stele_metrics_snapshot(metrics, &found);
    assert_int_equal(found.dbs, 2);
    assert_int_equal(found.statement.count, 11);
    assert_int_equal(found.statement_errors, 1);
    assert_int_equal(found.statement_rows, 10);
    assert_int_equal(found.round_trips, 11);
    assert_true(found.statement.sum_ns > 0);
    assert_int_equal(found.pool.max, 8);
    assert_int_equal(found.pool.in_use, 2);
    assert_int_equal(found.pool.open, 2);
    assert_int_equal(found.pool.created, 2);
    stele_conn_release(conn);
    stele_conn_release(other);
    stele_metrics_remove(metrics, two);
    stele_metrics_snapshot(metrics, &found);
    assert_int_equal(found.dbs, 1);
    assert_int_equal(found.pool.max, 4);
    assert_int_equal(found.statement.count, 11);
    stele_db_close(two);
    stele_db_close(one);
    stele_metrics_close(metrics);
}

/* ---- histograms of parts ---- */

static void do_nothing(uint32_t lane, void *const *items, size_t count, void *user)
{
    (void)lane;
    (void)items;
    (void)count;
    (void)user;
}

static stele_status be_done(stele_job *job, void *user, stele_error *why)
{
    (void)job;
    (void)user;
    (void)why;
    return STELE_OK;
}

/* How often a name has been counted, in all its series. */
typedef struct counted {
    const char *name;
    const char *otel;
    int series;
    uint64_t count;
} counted;

static void count_one(const stele_metric *metric, void *user)
{
    counted *c = user;
    if (strcmp(metric->name, c->name) != 0)
        return;
    assert_int_equal(metric->type, STELE_METRIC_HISTOGRAM);
    assert_string_equal(metric->unit, "seconds");
    assert_string_equal(metric->otel_name != NULL ? metric->otel_name : "", c->otel);
    assert_int_equal(metric->latency->count, metric->count);
    assert_true(metric->sum == (double)metric->latency->sum_ns / 1e9);
    (void)slower_than(metric->latency, 10000);
    c->series++;
    c->count += metric->count;
}

static void assert_counted(stele_metrics *metrics, const char *name, const char *otel, int series,
                           uint64_t count)
{
    counted c = {.name = name, .otel = otel};
    assert_ok(stele_metrics_each(metrics, count_one, &c, &err), &err);
    assert_int_equal(c.series, series);
    assert_int_equal(c.count, count);
}

static stele_lanes *open_lanes(stele_metrics *metrics, const stele_label *label)
{
    static int item;
    stele_lanes *lanes = NULL;
    stele_lanes_options options = STELE_LANES_OPTIONS_INIT;
    options.run = do_nothing;
    assert_ok(stele_lanes_open(&options, &lanes, &err), &err);
    assert_ok(stele_metrics_add_lanes(metrics, lanes, label, 1, &err), &err);
    for (int i = 0; i < 10; i++)
        assert_ok(stele_lanes_put(lanes, NULL, 0, &item, 1, 0, &err), &err);
    assert_ok(stele_lanes_flush(lanes, NULL, 0, 60000, &err), &err);
    return lanes;
}

static uint64_t jobs_done(const stele_jobs *jobs)
{
    stele_job_stats stats;
    stele_jobs_stats(jobs, &stats);
    return stats.done;
}

static stele_jobs *open_jobs(stele_metrics *metrics)
{
    stele_jobs *jobs = NULL;
    const stele_job_kind kind = {.name = "nothing", .run = be_done};
    stele_jobs_options options = STELE_JOBS_OPTIONS_INIT;
    options.kinds = &kind;
    options.kind_count = 1;
    assert_ok(stele_jobs_open_volatile(&options, &jobs, &err), &err);
    assert_ok(stele_metrics_add_jobs(metrics, jobs, NULL, 0, &err), &err);
    const stele_job_input job = {.kind = stele_s("nothing")};
    for (int i = 0; i < 7; i++)
        assert_ok(stele_jobs_put(jobs, NULL, &job, NULL, &err), &err);
    wait_until(jobs_done(jobs) == 7);
    return jobs;
}

static void histograms_of_parts_add_up(void **state)
{
    (void)state;
    stele_snapshot found;
    stele_listener *listener = NULL;
    const stele_label labels[] = {{"group", "one"}, {"group", "two"}};
    stele_metrics *metrics = open_metrics();
    stele_db *db = open_watched(metrics, "histograms");
    stele_lanes *one = open_lanes(metrics, &labels[0]);
    stele_lanes *two = open_lanes(metrics, &labels[1]);
    stele_jobs *jobs = open_jobs(metrics);
    assert_ok(stele_listener_open(db, NULL, &listener, &err), &err);
    assert_ok(stele_metrics_add_listener(metrics, listener, NULL, 0, &err), &err);
    assert_ok(stele_metrics_add_db(metrics, db, NULL, 0, &err), &err);
    for (int i = 0; i < 5; i++)
        stele_conn_release(acquire(db));
    assert_counted(metrics, "stele_lanes_wait_seconds", "", 2, 20);
    assert_counted(metrics, "stele_jobs_wait_seconds", "", 1, 7);
    assert_counted(metrics, "stele_jobs_run_seconds", "", 1, 7);
    assert_counted(metrics, "stele_listener_probe_seconds", "", 1, 1);
    assert_counted(metrics, "stele_listener_outage_seconds", "", 1, 0);
    assert_counted(metrics, "stele_pool_wait_seconds", "db.client.connection.wait_time", 1, 5);
    assert_counted(metrics, "stele_pool_create_seconds", "db.client.connection.create_time", 1, 1);
    stele_metrics_snapshot(metrics, &found);
    assert_int_equal(found.lanes.wait.count, 20);
    (void)slower_than(&found.lanes.wait, 10000);
    assert_int_equal(found.jobs.wait.count, 7);
    assert_int_equal(found.jobs.run.count, 7);
    assert_int_equal(found.pool.wait.count, 5);
    assert_int_equal(found.pool.create.count, 1);
    stele_metrics_close(metrics);
    assert_ok(stele_listener_close(listener, 60000, &err), &err);
    assert_ok(stele_jobs_close(jobs, 60000, &err), &err);
    assert_ok(stele_lanes_close(two, 60000, NULL, NULL, &err), &err);
    assert_ok(stele_lanes_close(one, 60000, NULL, NULL, &err), &err);
    stele_db_close(db);
}

/* ---- others look meanwhile ---- */

static atomic_bool enough;

static void *look(void *user)
{
    stele_metrics *metrics = user;
    while (!atomic_load(&enough)) {
        stele_error why;
        stele_snapshot found;
        char *text = NULL;
        assert_int_equal(stele_metrics_text(metrics, STELE_METRICS_OPENMETRICS, &text, NULL, &why),
                         STELE_OK);
        stele_free(text);
        stele_metrics_snapshot(metrics, &found);
    }
    return NULL;
}

static void *work(void *user)
{
    stele_conn *conn = acquire(user);
    stele_error why;
    while (!atomic_load(&enough))
        assert_int_equal(find_thing(conn, 1, &why), STELE_OK);
    stele_conn_release(conn);
    return NULL;
}

static void parts_come_and_go_while_others_look(void **state)
{
    (void)state;
    pthread_t threads[4];
    stele_metrics *metrics = open_metrics();
    stele_db *db = open_watched(metrics, "busy");
    atomic_store(&enough, false);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? look : work,
                                        i < 2 ? (void *)metrics : (void *)db),
                         0);
    for (int i = 0; i < 30; i++) {
        stele_sweeper *sweeper = NULL;
        stele_listener *listener = NULL;
        stele_doorbell *bell = NULL;
        assert_ok(stele_sweeper_open(db, NULL, &sweeper, &err), &err);
        assert_ok(stele_listener_open(db, NULL, &listener, &err), &err);
        assert_ok(stele_doorbell_open(db, "x", 0, &bell, &err), &err);
        assert_ok(stele_metrics_add_db(metrics, db, NULL, 0, &err), &err);
        assert_ok(stele_metrics_add_sweeper(metrics, sweeper, NULL, 0, &err), &err);
        assert_ok(stele_metrics_add_listener(metrics, listener, NULL, 0, &err), &err);
        assert_ok(stele_metrics_add_doorbell(metrics, bell, NULL, 0, &err), &err);
        stele_doorbell_ring(bell);
        stele_metrics_remove(metrics, bell);
        stele_metrics_remove(metrics, listener);
        stele_metrics_remove(metrics, sweeper);
        stele_metrics_remove(metrics, db);
        assert_ok(stele_doorbell_close(bell, 60000, &err), &err);
        assert_ok(stele_listener_close(listener, 60000, &err), &err);
        assert_ok(stele_sweeper_close(sweeper, 60000, &err), &err);
    }
    atomic_store(&enough, true);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    stele_db_close(db);
    stele_metrics_close(metrics);
}

/* ---- the endpoint ---- */

/* What the server answers to a request, in a buffer of the caller. */
static void ask_http(uint16_t port, const char *request, char *answer, size_t size)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(port)};
    size_t have = 0;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&place, sizeof place), 0);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    for (ssize_t got = 1; got > 0 && have + 1 < size; have += got > 0 ? (size_t)got : 0)
        got = recv(fd, answer + have, size - have - 1, 0);
    answer[have] = '\0';
    (void)close(fd);
}

#define REST " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

static void it_serves_over_http(void **state)
{
    (void)state;
    static char answer[200000];
    stele_metrics_server *server = NULL;
    stele_metrics_server *second = NULL;
    stele_metrics *metrics = open_metrics();
    stele_db *db = open_watched(metrics, "served");
    assert_ok(stele_metrics_add_db(metrics, db, NULL, 0, &err), &err);
    stele_status st = stele_metrics_serve(metrics, NULL, &server, &err);
    if (st == STELE_E_UNSUPPORTED) { /* built without: it says what to do */
        assert_non_null(strstr(err.hint, "libmicrohttpd"));
        skip();
    }
    assert_ok(st, &err);
    uint16_t port = stele_metrics_server_port(server);
    ask_http(port, "GET /metrics" REST "\r\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "200 OK"));
    assert_non_null(strstr(answer, "text/plain; version=0.0.4"));
    assert_non_null(strstr(answer, "stele_pool_max_connections 4\n"));
    ask_http(port, "GET /metrics" REST "Accept: application/openmetrics-text\r\n\r\n", answer,
             sizeof answer);
    assert_non_null(strstr(answer, "application/openmetrics-text; version=1.0.0"));
    assert_non_null(strstr(answer, "# EOF\n"));
    ask_http(port, "GET /" REST "\r\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "404"));
    ask_http(port, "POST /metrics" REST "Content-Length: 3\r\n\r\nabc", answer, sizeof answer);
    assert_non_null(strstr(answer, "405"));
    stele_metrics_server_options options = STELE_METRICS_SERVER_OPTIONS_INIT;
    options.port = port;
    assert_int_equal(stele_metrics_serve(metrics, &options, &second, &err), STELE_E_CONNECT);
    options.address = "localhost";
    assert_int_equal(stele_metrics_serve(metrics, &options, &second, &err), STELE_E_INPUT);
    assert_null(second);
    stele_metrics_server_close(server);
    stele_metrics_server_close(NULL);
    stele_db_close(db);
    stele_metrics_close(metrics);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_and_pools_are_counted),
        cmocka_unit_test(histograms_of_parts_add_up),
        cmocka_unit_test(parts_come_and_go_while_others_look),
        cmocka_unit_test(it_serves_over_http),
    };
    return cmocka_run_group_tests(tests, setup_things, teardown_database);
}
