/* Connections of both kinds, and what is asked of the server besides the work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn_internal.h"
#include "harness.h"
#include "sessions.gen.h"

stele_db *bench_open_db(const bench_run *run, int connections)
{
    static const stele_module *const modules[] = {&sessions_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    stele_db *db = NULL;
    stele_error err;
    options.dsn = run->dsn;
    options.modules = modules;
    options.module_count = 1;
    options.pool.max_connections = (uint32_t)connections;
    bench_check(stele_db_open(&options, &db, &err), "stele_db_open", &err);
    return db;
}

stele_conn *bench_acquire(stele_db *db)
{
    stele_conn *conn = NULL;
    stele_error err;
    bench_check(stele_db_acquire(db, &conn, &err), "stele_db_acquire", &err);
    return conn;
}

PGconn *bench_connect(const bench_run *run)
{
    static const char *const keys[] = {"dbname", "application_name", "client_encoding", "options",
                                       NULL};
    const char *const values[] = {run->dsn, "floor", "UTF8", "-c TimeZone=UTC", NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    if (PQstatus(pg) != CONNECTION_OK)
        bench_die("cannot connect", PQerrorMessage(pg));
    return pg;
}

void bench_prepare(PGconn *pg, const char *name, const char *sql)
{
    PGresult *result = PQprepare(pg, name, sql, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die(sql, PQerrorMessage(pg));
    PQclear(result);
}

PGconn *bench_pg_of(stele_conn *conn)
{
    return conn->link->pg;
}

/* The first column of the first row; ends the program if there is none. */
static char *ask(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) < 1)
        bench_die(sql, PQresultStatus(result) == PGRES_TUPLES_OK ? "no row" : PQerrorMessage(pg));
    char *text = strdup(PQgetvalue(result, 0, 0));
    if (text == NULL)
        bench_die("strdup", "out of memory");
    PQclear(result);
    return text;
}

/* Stele's links are non-blocking, which PQexec does not mind: it waits all the same. */
static uint64_t ask_number(PGconn *pg, const char *sql)
{
    char *text = ask(pg, sql);
    uint64_t n = strtoull(text, NULL, 10);
    free(text);
    return n;
}

char *bench_latest_sql(stele_db *db)
{
    stele_conn *conn = bench_acquire(db);
    char *sql = ask(bench_pg_of(conn), "SELECT statement FROM pg_prepared_statements "
                                       "ORDER BY prepare_time DESC LIMIT 1");
    stele_conn_release(conn);
    return sql;
}

char *bench_learn_sql(const bench_run *run, const char *schema, void (*use)(stele_conn *conn))
{
    stele_db *db = bench_open_db(run, 1);
    stele_db *derived = NULL;
    stele_error err;
    const stele_names names = {.schema = schema};
    bench_check(stele_db_derive(db, &names, &derived, &err), "stele_db_derive", &err);
    stele_conn *conn = bench_acquire(derived);
    use(conn);
    use(conn); /* the second use prepares it */
    stele_conn_release(conn);
    char *sql = bench_latest_sql(derived);
    stele_db_close(derived);
    stele_db_close(db);
    return sql;
}

/* User and system time of a process of this machine, to a hundredth of a second. */
static uint64_t cpu_ns_of(int pid)
{
    char path[64];
    unsigned long long user = 0;
    unsigned long long system = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *stat = fopen(path, "r");
    if (stat == NULL)
        return 0; /* the server is elsewhere */
    /* pid (name, with spaces) state and ten numbers */
    if (fscanf(stat, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
               &system) != 2)
        user = system = 0;
    (void)fclose(stat);
    return (user + system) * (UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK));
}

void bench_inspect(PGconn *pg, bench_backend *backends)
{
    uint64_t memory = ask_number(pg, "SELECT sum(total_bytes) FROM pg_backend_memory_contexts");
    uint64_t statements = ask_number(pg, "SELECT count(*) FROM pg_prepared_statements");
    if (memory > backends->memory)
        backends->memory = memory;
    if (statements > backends->statements)
        backends->statements = statements;
    backends->cpu_ns += cpu_ns_of(PQbackendPID(pg));
}
