/*
 * Health: of a server that is well, of one that lacks tables, is away or does not answer, of pools
 * and queues; as a struct and as JSON.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jobs_util.h"
#include "relay.h"
#include "stele/json.h"

static stele_health health;

/* A minute, if the options leave the deadline open: what is well is not to look slow. */
static void look(stele_db *at, const stele_health_options *options)
{
    stele_health_options patient = STELE_HEALTH_OPTIONS_INIT;
    if (options != NULL)
        patient = *options;
    if (patient.deadline_ms == 0)
        patient.deadline_ms = 60000;
    memset(&health, 0x55, sizeof health);
    assert_ok(stele_db_health(at, &patient, &health, &err), &err);
}

static json_t *json_of_health(void)
{
    char *text = NULL;
    json_error_t wrong;
    assert_ok(stele_health_json(&health, &text, &err), &err);
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &wrong);
    assert_non_null(object);
    stele_free(text);
    return object;
}

static const char *text_at(const json_t *object, const char *section, const char *key)
{
    return json_string_value(json_object_get(json_object_get(object, section), key));
}

static json_int_t number_at(const json_t *object, const char *section, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(object, section), key));
}

/* ---- well ---- */

static void a_server_that_is_well(void **state)
{
    (void)state;
    look(db, NULL);
    assert_int_equal(health.state, STELE_HEALTH_OK);
    assert_int_equal(health.problem_count, 0);
    assert_int_equal(health.status, STELE_OK);
    assert_int_equal(health.role, STELE_ROLE_PRIMARY);
    assert_int_equal(health.lag_ms, 0);
    assert_true(health.answer_ns > 0);
    assert_true(strtol(health.server_version, NULL, 10) >= 12);
    assert_int_equal(health.module_count, 1);
    assert_string_equal(health.modules[0].name, "work");
    assert_int_equal(strspn(health.modules[0].version, "0123456789abcdef"), 16);
    assert_int_equal(health.modules[0].tables, work_module.table_count);
    assert_int_equal(health.modules[0].missing, 0);
    assert_int_equal(stats_of(db).in_use, 0);
    json_t *object = json_of_health();
    assert_string_equal(json_string_value(json_object_get(object, "status")), "ok");
    assert_string_equal(text_at(object, "server", "role"), "primary");
    assert_true(json_is_true(json_object_get(json_object_get(object, "server"), "reachable")));
    assert_int_equal(number_at(object, "pool", "max"), 20);
    assert_null(json_object_get(object, "sweeper"));
    json_decref(object);
}

static void wrong_calls(void **state)
{
    (void)state;
    stele_health_options options = {0};
    assert_int_equal(stele_db_health(NULL, NULL, &health, &err), STELE_E_INPUT);
    assert_int_equal(stele_db_health(db, NULL, NULL, &err), STELE_E_INPUT);
    assert_int_equal(stele_db_health(db, &options, &health, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.hint, "STELE_HEALTH_OPTIONS_INIT"));
    assert_int_equal(stele_health_json(NULL, NULL, &err), STELE_E_INPUT);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(stele_db_health(db, NULL, &health, &err) == STELE_E_FORKED ? 0 : 1);
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* ---- tables ---- */

static void missing_tables_are_named(void **state)
{
    (void)state;
    stele_db *tenant = NULL;
    const stele_names names = {.schema = "no_such_schema", .prefix = "p_"};
    assert_ok(stele_db_derive(db, &names, &tenant, &err), &err);
    look(db, NULL);
    char version[17];
    memcpy(version, health.modules[0].version, sizeof version);
    look(tenant, NULL);
    assert_int_equal(health.state, STELE_HEALTH_DEGRADED);
    assert_int_equal(health.modules[0].missing, work_module.table_count);
    assert_non_null(strstr(health.problems[0], "work lacks"));
    assert_non_null(strstr(health.problems[0], "no_such_schema"));
    assert_string_equal(health.modules[0].version, version); /* whatever it is called here */
    json_t *object = json_of_health();
    assert_string_equal(json_string_value(json_object_get(object, "status")), "degraded");
    assert_int_equal(json_array_size(json_object_get(object, "problems")), 1);
    json_decref(object);
    stele_db_close(tenant);
}

/* ---- away ---- */

static void a_server_that_is_away_or_silent(void **state)
{
    (void)state;
    static const relay_mode modes[] = {RELAY_REFUSE, RELAY_SWALLOW};
    stele_health_options options = STELE_HEALTH_OPTIONS_INIT;
    for (int i = 0; i < 2; i++) {
        relay_start(dsn);
        stele_db_options through = options_for("through", 2);
        through.dsn = relay_dsn();
        through.pool.connect_timeout_ms = 60000;
        stele_db *relayed = open_with(&through);
        options.deadline_ms = 0;
        look(relayed, &options);
        assert_int_equal(health.state, STELE_HEALTH_OK);
        options.deadline_ms = 300;
        relay_set(modes[i]);
        if (modes[i] == RELAY_REFUSE)
            relay_cut();
        uint64_t began = now_ms();
        look(relayed, &options);
        assert_true(now_ms() - began < SOON_MS);
        assert_int_equal(health.state, STELE_HEALTH_DOWN);
        assert_true(health.status < 0);
        assert_int_equal(health.role, STELE_ROLE_UNKNOWN);
        assert_int_equal(health.lag_ms, -1);
        assert_non_null(strstr(health.problems[0], "cannot be asked"));
        json_t *object = json_of_health();
        assert_string_equal(json_string_value(json_object_get(object, "status")), "down");
        assert_true(json_is_null(json_object_get(json_object_get(object, "server"), "lag_ms")));
        json_decref(object);
        relay_set(RELAY_PASS);
        relay_cut();
        wait_until((look(relayed, &options), health.state == STELE_HEALTH_OK));
        stele_db_close(relayed);
        relay_stop();
    }
}

/* ---- pools ---- */

static void *wait_in_line(void *user)
{
    stele_conn *conn = acquire(user);
    stele_conn_release(conn);
    return NULL;
}

static void a_pool_that_is_used_up(void **state)
{
    (void)state;
    pthread_t waiter;
    stele_health_options options = STELE_HEALTH_OPTIONS_INIT;
    options.deadline_ms = 200;
    stele_db *small = open_db("small", 1);
    stele_conn *conn = acquire(small);
    assert_int_equal(pthread_create(&waiter, NULL, wait_in_line, small), 0);
    wait_until(stats_of(small).waiting == 1);
    uint64_t began = now_ms();
    look(small, &options);
    assert_true(now_ms() - began < SOON_MS);
    assert_int_equal(health.state, STELE_HEALTH_DOWN);
    assert_int_equal(health.status, STELE_E_TIMEOUT);
    assert_true(health.pool_used_up);
    assert_non_null(strstr(health.problems[0], "in use"));
    stele_conn_release(conn);
    assert_int_equal(pthread_join(waiter, NULL), 0);
    options.deadline_ms = 0;
    look(small, &options);
    assert_int_equal(health.state, STELE_HEALTH_OK);
    stele_db_close(small);
}

/* ---- parts ---- */

static void queues_and_others(void **state)
{
    (void)state;
    stele_health_options options = STELE_HEALTH_OPTIONS_INIT;
    stele_jobs_options none = STELE_JOBS_OPTIONS_INIT; /* no kinds: nothing runs */
    stele_listener *listener = NULL;
    stele_doorbell *bell = NULL;
    stele_sweeper *sweeper = NULL;
    options.jobs = open_jobs(&none);
    assert_ok(stele_listener_open(db, NULL, &listener, &err), &err);
    assert_ok(stele_doorbell_open(db, "x", 0, &bell, &err), &err);
    assert_ok(stele_sweeper_open(db, NULL, &sweeper, &err), &err);
    options.listener = listener;
    options.doorbell = bell;
    options.sweeper = sweeper;
    (void)enqueue("plain", NULL);
    (void)enqueue("plain", NULL);
    const stele_job_input later = {.kind = stele_s("plain"), .delay_ms = 3600000};
    (void)enqueue_as(&later);
    look(db, &options);
    assert_int_equal(health.state, STELE_HEALTH_OK);
    assert_true(health.has_jobs && health.jobs_counted && health.has_listener &&
                health.has_doorbell && health.has_sweeper);
    assert_int_equal(health.depth.due, 2);
    assert_int_equal(health.depth.later, 1);
    json_t *object = json_of_health();
    json_t *depth = json_object_get(json_object_get(object, "jobs"), "depth");
    assert_int_equal(json_integer_value(json_object_get(depth, "due")), 2);
    assert_true(json_is_true(json_object_get(json_object_get(object, "listener"), "connected")));
    json_decref(object);
    peer("UPDATE errands SET run_at = run_at - interval '1 hour' WHERE run_at <= now()");
    look(db, &options);
    assert_int_equal(health.state, STELE_HEALTH_DEGRADED);
    assert_non_null(strstr(health.problems[0], "a job has been waiting"));
    options.max_wait_ms = UINT64_MAX;
    look(db, &options);
    assert_int_equal(health.state, STELE_HEALTH_OK);
    assert_ok(stele_sweeper_close(sweeper, 60000, &err), &err);
    assert_ok(stele_doorbell_close(bell, 60000, &err), &err);
    assert_ok(stele_listener_close(listener, 60000, &err), &err);
    close_jobs(options.jobs);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        WORKED(a_server_that_is_well),    WORKED(wrong_calls),
        WORKED(missing_tables_are_named), WORKED(a_server_that_is_away_or_silent),
        WORKED(a_pool_that_is_used_up),   WORKED(queues_and_others),
    };
    return RUN_WORKED(tests);
}
