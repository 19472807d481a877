#define _GNU_SOURCE
#include "pool_util.h"

#include <poll.h>
#include <time.h>

#include "run.h"

char *dsn;

int setup_database(void **state)
{
    (void)state;
    dsn = dbtest_create();
    return 0;
}

int teardown_database(void **state)
{
    (void)state;
    dbtest_drop(dsn);
    dsn = NULL;
    return 0;
}

void fail_with(const char *file, int line, const stele_error *err)
{
    char text[1024];
    (void)stele_error_format(err, text, sizeof text);
    print_error("%s:%d: %s\n", file, line, text);
    _fail(file, line);
}

stele_db_options options_for(const char *name, uint32_t max_connections)
{
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = dsn;
    options.application_name = name;
    options.pool.max_connections = max_connections;
    return options;
}

stele_db_options options_of(const char *name, uint32_t max_connections, const stele_module *module)
{
    static const stele_module *list[1];
    stele_db_options options = options_for(name, max_connections);
    list[0] = module;
    options.modules = list;
    options.module_count = 1;
    return options;
}

stele_db *open_with(const stele_db_options *options)
{
    stele_db *db = NULL;
    stele_error err;
    assert_ok(stele_db_open(options, &db, &err), &err);
    return db;
}

stele_db *open_db(const char *name, uint32_t max_connections)
{
    stele_db_options options = options_for(name, max_connections);
    return open_with(&options);
}

stele_conn *acquire(stele_db *db)
{
    stele_conn *conn = NULL;
    stele_error err;
    assert_ok(stele_db_acquire(db, &conn, &err), &err);
    return conn;
}

stele_status try_sql(stele_conn *conn, const char *sql, stele_error *err)
{
    struct pg_result *result = NULL;
    stele_status st = stele__run_sql(conn, sql, NULL, 0, &result, err);
    if (st == STELE_OK)
        stele__result_clear(result);
    return st;
}

void run_sql(stele_conn *conn, const char *sql)
{
    stele_error err;
    assert_ok(try_sql(conn, sql, &err), &err);
}

const char *ask(stele_conn *conn, const char *sql)
{
    static _Thread_local char value[256];
    struct pg_result *result = NULL;
    stele_error err;
    assert_ok(stele__run_sql(conn, sql, NULL, 0, &result, &err), &err);
    snprintf(value, sizeof value, "%s", stele__result_text(result, 0, 0));
    stele__result_clear(result);
    return value;
}

stele_pool_stats stats_of(const stele_db *db)
{
    stele_pool_stats stats;
    stele_db_pool_stats(db, &stats);
    return stats;
}

int backends(const char *name)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM pg_stat_activity WHERE application_name = '%s'"
             " AND datname = current_database()",
             name);
    char *value = dbtest_value(dsn, sql);
    int count = (int)strtol(value, NULL, 10);
    free(value);
    return count;
}

void wait_for_backends(const char *name, int count)
{
    wait_until(backends(name) == count);
}

void wait_a_little(void)
{
    (void)poll(NULL, 0, 2);
}

uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
