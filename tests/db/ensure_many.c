/*
 * One of many processes that start at once; a test drives it.
 *
 *     ensure_many ensure DSN            calls stele_db_ensure on the sessions module
 *     ensure_many naive DSN FILE        runs the statements of FILE one after another, without more
 *     ensure_many naive-retry DSN FILE  the same, from the start again while one fails
 *
 * It connects and says "ready". For each name of a schema read from stdin it does its work there,
 * and answers "ok" or what went wrong. In FILE each line is a statement, and @ the schema.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sessions.gen.h"
#include "stele.h"

enum { MOST_TRIES = 100, STATEMENT_SIZE = 2048 };

static void answer(const char *text)
{
    size_t len = strcspn(text, "\n");
    printf("%.*s\n", (int)len, text);
    fflush(stdout);
}

/* The next schema, without the line's end; false when there is no more. */
static bool next_schema(char *name, size_t size)
{
    if (fgets(name, (int)size, stdin) == NULL)
        return false;
    name[strcspn(name, "\n")] = '\0';
    return true;
}

/* ---- with Stele ---- */

static stele_status ensure(stele_db *db, const char *name, stele_error *err)
{
    stele_db *tenant = NULL;
    stele_names names = {.schema = name, .prefix = "p_"};
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    /* Eight processes share a small machine with other tests. */
    options.lock_timeout_ms = 60000;
    stele_status st = stele_db_derive(db, &names, &tenant, err);
    if (st != STELE_OK)
        return st;
    st = stele_db_ensure(tenant, &sessions_module, &options, err);
    stele_db_close(tenant);
    return st;
}

static int run_ensure(const char *dsn)
{
    char name[64];
    char text[1024];
    stele_db *db = NULL;
    stele_error err;
    const stele_module *module = &sessions_module;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = dsn;
    options.modules = &module;
    options.module_count = 1;
    if (stele_db_open(&options, &db, &err) != STELE_OK) {
        answer(err.message);
        return 1;
    }
    answer("ready");
    while (next_schema(name, sizeof name)) {
        if (ensure(db, name, &err) == STELE_OK) {
            answer("ok");
        } else {
            (void)stele_error_format(&err, text, sizeof text);
            answer(text);
        }
    }
    stele_db_close(db);
    return 0;
}

/* ---- without ---- */

static void fill_in(const char *statement, const char *name, char *out, size_t size)
{
    size_t used = 0;
    for (; *statement != '\0' && used + 64 < size; statement++) {
        if (*statement == '@')
            used += (size_t)snprintf(out + used, size - used, "%s", name);
        else
            out[used++] = *statement;
    }
    out[used] = '\0';
}

/* All statements once; what the server said against the first that failed, "" if none did. */
static void run_file(PGconn *conn, const char *path, const char *name, char *why, size_t size)
{
    char line[STATEMENT_SIZE];
    char statement[STATEMENT_SIZE];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        snprintf(why, size, "cannot read %s", path);
        return;
    }
    why[0] = '\0';
    while (why[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        fill_in(line, name, statement, sizeof statement);
        PGresult *result = PQexec(conn, statement);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            snprintf(why, size, "%s", PQresultErrorMessage(result));
        PQclear(result);
    }
    fclose(file);
}

static int run_naive(const char *dsn, const char *path, int tries)
{
    char name[64];
    char why[512];
    PGconn *conn = PQconnectdb(dsn);
    if (PQstatus(conn) != CONNECTION_OK) {
        answer(PQerrorMessage(conn));
        PQfinish(conn);
        return 1;
    }
    PQclear(PQexec(conn, "SET client_min_messages = warning"));
    answer("ready");
    while (next_schema(name, sizeof name)) {
        for (int i = 0; i == 0 || (i < tries && why[0] != '\0'); i++)
            run_file(conn, path, name, why, sizeof why);
        answer(why[0] == '\0' ? "ok" : why);
    }
    PQfinish(conn);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "ensure") == 0)
        return run_ensure(argv[2]);
    if (argc == 4 && strcmp(argv[1], "naive") == 0)
        return run_naive(argv[2], argv[3], 1);
    if (argc == 4 && strcmp(argv[1], "naive-retry") == 0)
        return run_naive(argv[2], argv[3], MOST_TRIES);
    fprintf(stderr, "usage: ensure_many ensure DSN | naive DSN FILE | naive-retry DSN FILE\n");
    return 2;
}
