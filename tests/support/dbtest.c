#define _GNU_SOURCE
#include "dbtest.h"

#include <libpq-fe.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SKIPPED = 77, WAIT_SECONDS = 60, POLL_MS = 5 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "dbtest: %s: %s\n", what, why);
    exit(99);
}

static const char *server_dsn(void)
{
    const char *dsn = getenv("STELE_DSN");
    if (dsn == NULL || *dsn == '\0') {
        fprintf(stderr, "dbtest: STELE_DSN is not set; run ./dev test\n");
        exit(SKIPPED);
    }
    return dsn;
}

void dbtest_require_server(void)
{
    (void)server_dsn();
}

static PGconn *dbtest_connect(const char *dsn)
{
    PGconn *conn = PQconnectdb(dsn);
    if (PQstatus(conn) != CONNECTION_OK)
        die("cannot connect", PQerrorMessage(conn));
    PQclear(PQexec(conn, "SET client_min_messages = warning"));
    return conn;
}

static PGresult *run(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        die(sql, PQerrorMessage(conn));
    return result;
}

void dbtest_exec(const char *dsn, const char *sql)
{
    PGconn *conn = dbtest_connect(dsn);
    PQclear(run(conn, sql));
    PQfinish(conn);
}

static char *first_value(PGconn *conn, const char *sql)
{
    PGresult *result = run(conn, sql);
    char *value = strdup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    if (value == NULL)
        die(sql, "out of memory");
    PQclear(result);
    return value;
}

char *dbtest_value(const char *dsn, const char *sql)
{
    PGconn *conn = dbtest_connect(dsn);
    char *value = first_value(conn, sql);
    PQfinish(conn);
    return value;
}

bool dbtest_wait_until(const char *dsn, const char *sql)
{
    PGconn *conn = dbtest_connect(dsn);
    bool met = false;
    for (int i = 0; !met && i < WAIT_SECONDS * 1000 / POLL_MS; i++) {
        if (i > 0)
            (void)poll(NULL, 0, POLL_MS); /* cut short by a signal: just asks sooner */
        char *value = first_value(conn, sql);
        met = strcmp(value, "t") == 0;
        free(value);
    }
    PQfinish(conn);
    return met;
}

/* Appends " key='value'" with the quoting of connection strings. */
static void append_option(FILE *out, const char *key, const char *value)
{
    fprintf(out, " %s='", key);
    for (; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            fputc('\\', out);
        fputc(*value, out);
    }
    fputc('\'', out);
}

/* The server's connection string with another database. */
static char *dsn_for(const char *database)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(server_dsn(), &why);
    if (options == NULL)
        die("STELE_DSN", why != NULL ? why : "out of memory");
    char *dsn = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&dsn, &size);
    if (out == NULL)
        die("open_memstream", "out of memory");
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        if (o->val != NULL && strcmp(o->keyword, "dbname") != 0)
            append_option(out, o->keyword, o->val);
    }
    append_option(out, "dbname", database);
    if (fclose(out) != 0)
        die("open_memstream", "out of memory");
    PQconninfoFree(options);
    return dsn;
}

int dbtest_server_version(void)
{
    static atomic_int version;
    if (atomic_load(&version) == 0) {
        PGconn *conn = dbtest_connect(server_dsn());
        atomic_store(&version, PQserverVersion(conn));
        PQfinish(conn);
    }
    return atomic_load(&version);
}

/* What tests and their schemas use and older servers lack. */
static void bring_up_to_date(const char *dsn)
{
    static const char terminate[] =
        "SELECT pg_advisory_xact_lock(1);"
        "CREATE OR REPLACE FUNCTION pg_terminate_backend(pid int, timeout bigint) RETURNS bool"
        " LANGUAGE plpgsql AS $$ DECLARE ends timestamptz := clock_timestamp() + timeout *"
        " interval '1 ms'; done bool := pg_terminate_backend($1); BEGIN"
        " WHILE done AND clock_timestamp() < ends AND"
        " (pg_stat_file('/proc/' || $1, true)).size IS NOT NULL LOOP"
        " PERFORM pg_sleep(0.002); END LOOP; RETURN done; END $$";
    if (dbtest_server_version() < 130000)
        dbtest_exec(dsn, "CREATE EXTENSION pgcrypto");
    if (dbtest_server_version() < 140000) {
        dbtest_exec(dsn, terminate);
        dbtest_exec(server_dsn(), terminate); /* for tests that close their own to connections */
    }
}

char *dbtest_create(void)
{
    static atomic_int count;
    char name[64];
    char sql[128];
    snprintf(name, sizeof name, "t_%ld_%d", (long)getpid(), atomic_fetch_add(&count, 1));
    snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE template0", name);
    dbtest_exec(server_dsn(), sql);
    char *dsn = dsn_for(name);
    bring_up_to_date(dsn);
    return dsn;
}

void dbtest_drop(char *dsn)
{
    if (dsn == NULL)
        return;
    char *name = dbtest_value(dsn, "SELECT current_database()");
    char sql[256];
    bool forces = dbtest_server_version() >= 130000;
    snprintf(sql, sizeof sql,
             "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'", name);
    if (!forces)
        dbtest_exec(server_dsn(), sql);
    snprintf(sql, sizeof sql, "DROP DATABASE %s%s", name, forces ? " WITH (FORCE)" : "");
    dbtest_exec(server_dsn(), sql);
    free(name);
    free(dsn);
}
