/* Ways to say where the server is, and what holds for every session whatever the server says. */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <unistd.h>

#include "pool_util.h"

/* What the tests' own connection string means. */
static char host[512];
static char name[128];
static char user[128];

static int look(void **state)
{
    if (setup_database(state) != 0)
        return -1;
    PGconn *pg = PQconnectdb(dsn);
    snprintf(host, sizeof host, "%s", PQhost(pg));
    snprintf(name, sizeof name, "%s", PQdb(pg));
    snprintf(user, sizeof user, "%s", PQuser(pg));
    PQfinish(pg);
    return 0;
}

static void assert_reaches(const stele_db_options *options, const char *database)
{
    stele_db *db = open_with(options);
    stele_conn *conn = acquire(db);
    assert_string_equal(ask(conn, "SELECT current_database()"), database);
    stele_conn_release(conn);
    stele_db_close(db);
}

/* What looks like a connection string is a name all the same. */
static void a_database_may_have_any_name(void **state)
{
    (void)state;
    char odd[64];
    char sql[160];
    char text[160];
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    snprintf(odd, sizeof odd, "user=t_%ld", (long)getpid());
    snprintf(sql, sizeof sql, "CREATE DATABASE \"%s\" TEMPLATE template0", odd);
    dbtest_exec(dsn, sql);
    options.host = host;
    options.user = user;
    options.dbname = odd;
    assert_reaches(&options, odd);
    snprintf(text, sizeof text, "dbname='%s'", odd);
    options.dsn = text;
    assert_reaches(&options, odd);
    snprintf(text, sizeof text, "postgresql:///user%%3Dt_%ld", (long)getpid());
    assert_reaches(&options, odd);
    snprintf(sql, sizeof sql, "DROP DATABASE \"%s\"", odd);
    dbtest_exec(dsn, sql);
}

static void services_and_lists_of_hosts_are_followed(void **state)
{
    (void)state;
    char path[] = "/tmp/stele-service-XXXXXX";
    char text[1024];
    stele_error err;
    stele_db *db;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    assert_non_null(file);
    fprintf(file, "[tests]\nhost=%s\ndbname=%s\nuser=%s\n", host, name, user);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(setenv("PGSERVICEFILE", path, 1), 0);
    options.dsn = "service=tests";
    assert_reaches(&options, name);
    options.dsn = "postgresql://?service=tests";
    assert_reaches(&options, name);
    options.dsn = "service=none";
    assert_int_equal(stele_db_open(&options, &db, &err), STELE_E_CONNECT);
    assert_non_null(strstr(err.message, "none"));
    assert_int_equal(unsetenv("PGSERVICEFILE"), 0);
    (void)unlink(path);
    options.dsn = text;
    snprintf(text, sizeof text, "postgresql:///%s?host=/nonexistent,%s&user=%s", name, host, user);
    assert_reaches(&options, name);
    snprintf(text, sizeof text, "dbname=%s host='/nonexistent,%s' user=%s", name, host, user);
    assert_reaches(&options, name);
}

/* Also where the server's own zone is UTC: a reload of its configuration may change that. */
static void the_zone_is_the_sessions_own(void **state)
{
    (void)state;
    char sql[256];
    snprintf(sql, sizeof sql, "ALTER DATABASE %s SET TimeZone = 'UTC'", name);
    dbtest_exec(dsn, sql);
    char *source = dbtest_value(dsn, "SELECT source FROM pg_settings WHERE name = 'TimeZone'");
    assert_string_equal(source, "database");
    free(source);
    stele_db *db = open_db("zone", 1);
    stele_conn *conn = acquire(db);
    assert_string_equal(ask(conn, "SHOW TimeZone"), "UTC");
    assert_string_equal(ask(conn, "SELECT source FROM pg_settings WHERE name = 'TimeZone'"),
                        "session");
    stele_conn_release(conn);
    stele_db_close(db);
    snprintf(sql, sizeof sql, "ALTER DATABASE %s RESET TimeZone", name);
    dbtest_exec(dsn, sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_database_may_have_any_name),
        cmocka_unit_test(services_and_lists_of_hosts_are_followed),
        cmocka_unit_test(the_zone_is_the_sessions_own),
    };
    return cmocka_run_group_tests(tests, look, teardown_database);
}
