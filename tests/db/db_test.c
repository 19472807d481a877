/* Handles: what opening says when something is wrong, names, policies, hooks, and closing. */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "conn_internal.h"
#include "pool_util.h"
#include "stele/gen/gen.h"

static stele_error open_fails(const stele_db_options *options, stele_status expected)
{
    stele_db *db = NULL;
    stele_error err;
    stele_status st = stele_db_open(options, &db, &err);
    if (st != expected)
        fail_with(__FILE__, __LINE__, &err);
    assert_null(db);
    assert_int_equal(err.status, expected);
    assert_true(err.message[0] != '\0');
    assert_null(strchr(err.message, '\n'));
    return err;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        print_error("\"%s\" lacks \"%s\"\n", text, part);
        fail();
    }
}

/* No field of an error may hold it. */
static void assert_secret(const stele_error *err, const char *secret)
{
    char text[2048];
    (void)stele_error_format(err, text, sizeof text);
    assert_null(strstr(text, secret));
    assert_null(strstr(err->message, secret));
    assert_null(strstr(err->detail, secret));
    assert_null(strstr(err->hint, secret));
}

/* ---- where the server is ---- */

static void a_wrong_connection_string_is_explained(void **state)
{
    (void)state;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = "hots=/tmp password=geheim";
    stele_error err = open_fails(&options, STELE_E_INPUT);
    assert_has(err.message, "invalid connection option");
    assert_has(err.hint, "\"host\"");
    assert_secret(&err, "geheim");

    options.dsn = "host=/tmp password=geheim mit leerzeichen dbname=x";
    err = open_fails(&options, STELE_E_INPUT);
    assert_secret(&err, "geheim");
    assert_secret(&err, "leerzeichen");
    assert_has(err.hint, "single quotes");

    options.dsn = "postgresql://u:geh%zzeim@localhost/x";
    err = open_fails(&options, STELE_E_INPUT);
    assert_secret(&err, "eim");

    options.dsn = "postgresql://u:geheim@localhost/x?pool_max_conns=4";
    err = open_fails(&options, STELE_E_INPUT);
    assert_secret(&err, "geheim");
    assert_has(err.hint, "pool_max_conns");

    options.dsn = "app";
    err = open_fails(&options, STELE_E_INPUT);
    assert_has(err.hint, "dbname=app");
}

static void a_server_that_is_down_is_named(void **state)
{
    (void)state;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = "host=/nonexistent port=5999 password=geheim dbname=x";
    stele_error err = open_fails(&options, STELE_E_CONNECT);
    assert_has(err.message, "/nonexistent");
    assert_has(err.message, "5999");
    assert_has(err.hint, "server runs");
    assert_true(err.retryable);
    assert_secret(&err, "geheim");
    options.dsn = "host=127.0.0.1 port=1 dbname=x";
    err = open_fails(&options, STELE_E_CONNECT);
    assert_has(err.message, "127.0.0.1");
}

static void a_server_that_does_not_answer_is_given_up(void **state)
{
    (void)state;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = "host=203.0.113.1 dbname=x"; /* set aside for documentation: nobody is there */
    options.pool.connect_timeout_ms = 200;
    stele_db *db = NULL;
    stele_error err;
    uint64_t start = now_ms();
    stele_status st = stele_db_open(&options, &db, &err);
    assert_true(st == STELE_E_TIMEOUT || st == STELE_E_CONNECT); /* some networks refuse */
    assert_true(now_ms() - start < SOON_MS);
}

static const char *value_of(const char *dsn_text, const char *key)
{
    static char value[512];
    PQconninfoOption *all = PQconninfoParse(dsn_text, NULL);
    value[0] = '\0';
    for (const PQconninfoOption *o = all; o->keyword != NULL; o++)
        if (strcmp(o->keyword, key) == 0 && o->val != NULL)
            snprintf(value, sizeof value, "%s", o->val);
    PQconninfoFree(all);
    return value;
}

/* A socket that takes connections and never says a word, as a host that lost its power. */
static int listen_and_keep_silent(char folder[64])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(folder, 64, "/tmp/stele-silent-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.5432", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

/* Takes and closes the connections that wait there. */
static int callers_of(int fd)
{
    int count = 0;
    for (int caller; (caller = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; count++)
        (void)close(caller);
    return count;
}

static void a_silent_host_does_not_hide_the_next(void **state)
{
    (void)state;
    char folder[64];
    char host[512];
    char hosts[640];
    char name[128];
    char user[128];
    int fd = listen_and_keep_silent(folder);
    snprintf(host, sizeof host, "%s", value_of(dsn, "host"));
    snprintf(name, sizeof name, "%s", value_of(dsn, "dbname"));
    snprintf(user, sizeof user, "%s", value_of(dsn, "user"));
    snprintf(hosts, sizeof hosts, "%s,%s", folder, host);
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.host = hosts;
    options.dbname = name;
    options.user = user;
    options.pool.connect_timeout_ms = 8000;
    uint64_t start = now_ms();
    stele_db *db = open_with(&options);
    assert_true(now_ms() - start >= 3990); /* its half of the time */
    assert_int_equal(callers_of(fd), 1);
    stele_conn *first = acquire(db);
    stele_conn *second = acquire(db); /* connects, and begins with the host that answered */
    assert_int_equal(callers_of(fd), 0);
    stele_conn_release(first);
    stele_conn_release(second);
    stele_db_close(db);
    close(fd);
    snprintf(hosts, sizeof hosts, "%s/.s.PGSQL.5432", folder);
    (void)unlink(hosts);
    (void)rmdir(folder);
}

static void a_missing_database_or_role_is_named(void **state)
{
    (void)state;
    char text[1024];
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    snprintf(text, sizeof text, "%s dbname=nowhere", dsn);
    options.dsn = text;
    stele_error err = open_fails(&options, STELE_E_AUTH);
    assert_string_equal(err.sqlstate, "3D000");
    assert_has(err.message, "nowhere");
    snprintf(text, sizeof text, "%s user=nobody_here", dsn);
    err = open_fails(&options, STELE_E_AUTH);
    assert_string_equal(err.sqlstate, "28000");
    assert_has(err.message, "nobody_here");
}

static void a_read_only_server_is_refused_unless_wanted(void **state)
{
    (void)state;
    char text[1024];
    stele_db_options options = options_for("read_only", 1);
    snprintf(text, sizeof text, "%s options='-c default_transaction_read_only=on'", dsn);
    options.dsn = text;
    stele_error err = open_fails(&options, STELE_E_CONNECT);
    assert_has(err.message, "read-only");
    options.read_write = STELE_OFF;
    stele_db *db = open_with(&options);
    stele_conn *conn = acquire(db);
    assert_int_equal(try_sql(conn, "CREATE TABLE ro (n int)", &err), STELE_E_READ_ONLY);
    int pid = stele_conn_backend_pid(conn);
    stele_conn_release(conn);
    conn = acquire(db); /* what the caller asked for is no demotion */
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    stele_conn_release(conn);
    stele_db_close(db);
}

static void fields_instances_and_strings_rank(void **state)
{
    (void)state;
    char host[512];
    char name[128];
    stele_registry *registry = NULL;
    stele_error err;
    snprintf(host, sizeof host, "%s", value_of(dsn, "host"));
    snprintf(name, sizeof name, "%s", value_of(dsn, "dbname"));
    assert_ok(stele_registry_new(&registry, &err), &err);
    assert_ok(stele_registry_set(registry, "main", "dbname=other", &err), &err);
    assert_ok(stele_registry_set(registry, "main", dsn, &err), &err); /* replaces */
    assert_ok(stele_registry_set(registry, "spare", "host=/nonexistent", &err), &err);

    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.registry = registry;
    options.instance = "main";
    options.application_name = "ranked";
    stele_db *db = open_with(&options);
    stele_conn *conn = acquire(db);
    assert_string_equal(ask(conn, "SELECT current_database()"), name);
    assert_string_equal(ask(conn, "SHOW application_name"), "ranked");
    stele_conn_release(conn);
    stele_db_close(db);

    options.instance = "spare"; /* is not looked at: a host is given */
    options.host = host;
    options.dbname = name;
    char user[128];
    snprintf(user, sizeof user, "%s", value_of(dsn, "user"));
    options.user = user;
    stele_db_close(open_with(&options));

    options.dsn = dsn; /* wins key by key */
    options.dbname = "nowhere";
    stele_db_close(open_with(&options));

    options = (stele_db_options)STELE_DB_OPTIONS_INIT;
    options.registry = registry;
    options.instance = "mian";
    err = open_fails(&options, STELE_E_INPUT);
    assert_has(err.message, "mian");
    assert_has(err.hint, "\"main\", \"spare\"");
    stele_registry_free(registry);
}

static void sessions_are_set_up(void **state)
{
    (void)state;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    char text[1024];
    snprintf(text, sizeof text, "%s client_encoding=LATIN1", dsn);
    options.dsn = text;
    stele_db *db = open_with(&options);
    stele_conn *conn = acquire(db);
    assert_string_equal(ask(conn, "SHOW client_encoding"), "UTF8");
    assert_string_equal(ask(conn, "SHOW TimeZone"), "UTC");
    assert_string_equal(ask(conn, "SHOW application_name"), "stele");
    stele_conn_release(conn);
    stele_db_close(db);
}

static void plans_are_generic_unless_told(void **state)
{
    (void)state;
    static const struct {
        stele_switch generic;
        bool unnamed;
        const char *mode;
    } cases[] = {
        {STELE_DEFAULT, false, "force_generic_plan"},
        {STELE_OFF, false, "auto"},
        {STELE_ON, true, "auto"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stele_db_options options = options_for("plans", 1);
        options.generic_plans = cases[i].generic;
        options.unnamed_statements = cases[i].unnamed;
        stele_db *db = open_with(&options);
        stele_conn *conn = acquire(db);
        assert_string_equal(ask(conn, "SHOW plan_cache_mode"), cases[i].mode);
        stele_conn_release(conn);
        stele_db_close(db);
    }
}

static void settings_hold_for_every_lease(void **state)
{
    (void)state;
    static const stele_setting settings[] = {{"work_mem", "7MB"}, {"my.note", "it's"}};
    stele_error err;
    stele_db_options options = options_for("settings", 1);
    options.settings = settings;
    options.setting_count = 2;
    stele_db *db = open_with(&options);
    for (int i = 0; i < 2; i++) {
        stele_conn *conn = acquire(db);
        assert_string_equal(ask(conn, "SELECT current_setting('my.note') || ' ' || "
                                      "current_setting('work_mem')"),
                            "it's 7MB");
        assert_ok(stele_conn_exec(conn, "SET work_mem = '1MB'", NULL, 0, NULL, &err), &err);
        stele_conn_release(conn);
    }
    stele_db_close(db);
    static const stele_setting unknown[] = {{"work_memory", "7MB"}};
    options.settings = unknown;
    options.setting_count = 1;
    assert_int_equal(stele_db_open(&options, &db, &err), STELE_E_SCHEMA);
    assert_has(err.message, "work_memory");
    options.settings = NULL;
    assert_int_equal(stele_db_open(&options, &db, &err), STELE_E_INPUT);
}

/* Control: a plain connection of the same role is in another zone. */
static void utc_is_pinned_whatever_the_role_says(void **state)
{
    (void)state;
    char text[1024];
    dbtest_exec(dsn, "DROP ROLE IF EXISTS tokyo; CREATE ROLE tokyo LOGIN; ALTER ROLE tokyo SET "
                     "TimeZone TO 'Asia/Tokyo'; "
                     "GRANT pg_read_all_stats TO tokyo");
    snprintf(text, sizeof text, "%s user=tokyo", dsn);
    char *zone = dbtest_value(text, "SHOW TimeZone");
    assert_string_equal(zone, "Asia/Tokyo");
    free(zone);
    stele_db_options options = options_for("utc", 1);
    options.dsn = text;
    stele_db *db = open_with(&options);
    for (int i = 0; i < 2; i++) {
        stele_conn *conn = acquire(db);
        assert_string_equal(ask(conn, "SELECT current_user || ' ' || current_setting('TimeZone')"),
                            "tokyo UTC");
        run_sql(conn, "SET TimeZone = 'Asia/Tokyo'"); /* behind the library's back */
        stele_conn_release(conn);
    }
    stele_conn *conn = acquire(db);
    assert_string_equal(ask(conn, "SHOW TimeZone"), "UTC");
    stele_conn_release(conn);
    assert_int_equal(stats_of(db).created, 1);
    stele_db_close(db);
    dbtest_exec(dsn, "DROP ROLE tokyo");
}

/* ---- options ---- */

static void wrong_options_are_refused_before_any_connection(void **state)
{
    (void)state;
    stele_db_options options;
    memset(&options, 0, sizeof options);
    stele_error err = open_fails(&options, STELE_E_INPUT);
    assert_has(err.hint, "STELE_DB_OPTIONS_INIT");
    options = options_for("options", 2);
    options.pool.min_idle = 3;
    err = open_fails(&options, STELE_E_INPUT);
    assert_has(err.message, "min_idle (3)");
    options = options_for("options", 1000000);
    (void)open_fails(&options, STELE_E_INPUT);
    options = options_for("options", 2);
    options.module_count = 1;
    (void)open_fails(&options, STELE_E_INPUT);
    options = options_for("options", 2);
    options.instance = "x";
    options.dsn = NULL;
    err = open_fails(&options, STELE_E_INPUT);
    assert_has(err.message, "no registry");
    assert_has(err.hint, "options.registry");
    assert_int_equal(backends("options"), 0);

    struct {
        stele_db_options options;
        uint64_t newer;
    } longer = {.options = options_for("options", 1)};
    longer.options.size = sizeof longer;
    stele_db_close(open_with(&longer.options));
    longer.newer = 1;
    (void)open_fails(&longer.options, STELE_E_UNSUPPORTED);
    stele_db_options shorter = options_for("shorter", 1);
    shorter.size = offsetof(stele_db_options, on_lease);
    stele_db_close(open_with(&shorter));
}

/* ---- names and policies ---- */

static const stele__names *names_of(stele_db *db)
{
    static stele__names names;
    stele_conn *conn = acquire(db);
    names = *conn->names;
    stele_conn_release(conn);
    return &names;
}

static void derived_handles_have_names_of_their_own(void **state)
{
    (void)state;
    stele_db *db = open_db("derive", 2);
    stele_db *tenant = NULL;
    stele_db *same = NULL;
    stele_db *hard = NULL;
    stele_error err;
    assert_ok(
        stele_db_derive(db, &(stele_names){.schema = "tenant_a", .prefix = "p_"}, &tenant, &err),
        &err);
    assert_ok(
        stele_db_derive(db, &(stele_names){.schema = "tenant_a", .prefix = "p_"}, &same, &err),
        &err);
    assert_ok(stele_db_derive_policy(tenant, STELE_OFF, &hard, &err), &err);
    assert_string_equal(names_of(db)->schema, "");
    assert_string_equal(names_of(tenant)->schema, "tenant_a");
    assert_string_equal(names_of(tenant)->prefix, "p_");
    assert_true(names_of(tenant)->soft_delete);
    uint64_t id = names_of(tenant)->id;
    assert_true(names_of(same)->id == id);
    assert_true(names_of(hard)->id != id);
    assert_false(names_of(hard)->soft_delete);
    assert_string_equal(names_of(hard)->schema, "tenant_a");
    assert_int_equal(stats_of(db).created, 1); /* one pool, and no I/O */

    stele_db *none = NULL;
    stele_names bad = {.schema = "tenant-a"};
    assert_int_equal(stele_db_derive(db, &bad, &none, &err), STELE_E_NAME);
    assert_has(err.message, "schema \"tenant-a\" has '-' at byte 7");
    /* any order */
    stele_db_close(db);
    stele_conn *conn = acquire(tenant);
    run_sql(conn, "SELECT 1");
    stele_conn_release(conn);
    stele_db_close(tenant);
    stele_db_close(hard);
    conn = acquire(same);
    stele_conn_release(conn);
    stele_db_close(same);
    wait_for_backends("derive", 0);
}

static void a_lease_can_switch_names(void **state)
{
    (void)state;
    stele_db *db = open_db("use", 2);
    stele_db *stranger = open_db("stranger", 1);
    stele_db *tenant = NULL;
    stele_error err;
    assert_ok(stele_db_derive(db, &(stele_names){.prefix = "t_"}, &tenant, &err), &err);
    stele_conn *conn = acquire(db);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(stele_conn_use(conn, tenant, &err), &err);
    stele_db_close(tenant); /* the lease keeps the names */
    assert_string_equal(conn->names->prefix, "t_");
    assert_int_equal(stele_conn_use(conn, stranger, &err), STELE_E_MISUSE);
    assert_has(err.hint, "stele_db_derive");
    assert_ok(stele_conn_use(conn, db, &err), &err);
    assert_string_equal(conn->names->prefix, "");
    stele_conn_release(conn);
    stele_db_close(stranger);
    stele_db_close(db);
}

/* ---- hooks ---- */

static stele_status set_role(stele_conn *conn, void *user, stele_error *err)
{
    if (user == NULL)
        return stele_conn_exec(conn, "SET ROLE nobody_at_all", NULL, 0, NULL, err);
    return stele_conn_exec(conn, user, NULL, 0, NULL, err);
}

static void the_lease_hook_runs_each_time_and_after_a_move(void **state)
{
    (void)state;
    char statement[] = "SET ROLE hook_role";
    char sql[96];
    dbtest_exec(dsn, "DROP ROLE IF EXISTS hook_role; CREATE ROLE hook_role");
    stele_db_options options = options_for("hook", 1);
    options.on_lease = set_role;
    options.hook_user = statement;
    stele_db *db = open_with(&options);
    for (int i = 0; i < 2; i++) {
        stele_conn *conn = acquire(db);
        assert_string_equal(ask(conn, "SELECT current_user"), "hook_role");
        stele_conn_release(conn);
    }
    stele_conn *conn = acquire(db);
    stele_error err;
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 60000)",
             stele_conn_backend_pid(conn));
    dbtest_exec(dsn, sql);
    assert_int_not_equal(try_sql(conn, "SELECT 1", &err), STELE_OK);
    assert_string_equal(ask(conn, "SELECT current_user"), "hook_role"); /* another connection */
    stele_conn_release(conn);
    stele_db_close(db);

    options.hook_user = NULL;
    db = open_with(&options);
    conn = NULL;
    assert_int_not_equal(stele_db_acquire(db, &conn, &err), STELE_OK);
    assert_has(err.message, "nobody_at_all");
    assert_null(conn);
    assert_int_equal(stats_of(db).in_use, 0);
    stele_db_close(db);
    dbtest_exec(dsn, "DROP ROLE hook_role");
}

/* ---- a server that goes read-only beneath its sessions ---- */

static void a_demoted_server_is_left_and_a_read_only_transaction_is_not_one(void **state)
{
    (void)state;
    stele_db *db = open_db("demoted", 2);
    stele_error err;
    stele_tx_options read_only = STELE_TX_OPTIONS_INIT;
    read_only.access = STELE_READ_ONLY;
    stele_conn *conn = acquire(db);
    int pid = stele_conn_backend_pid(conn);
    run_sql(conn, "CREATE TABLE demoted_t (n int)");
    assert_ok(stele_tx_begin(conn, &read_only, &err), &err);
    assert_int_equal(try_sql(conn, "INSERT INTO demoted_t VALUES (1)", &err), STELE_E_READ_ONLY);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    stele_conn_release(conn);
    conn = acquire(db);
    if (dbtest_server_version() >= 140000) /* older ones do not say which of the two it is */
        assert_int_equal(stele_conn_backend_pid(conn), pid);

    run_sql(conn,
            "SET default_transaction_read_only = on"); /* reported to libpq, as a demotion is */
    assert_int_equal(try_sql(conn, "INSERT INTO demoted_t VALUES (1)", &err), STELE_E_READ_ONLY);
    stele_conn_release(conn);
    conn = acquire(db);
    assert_int_not_equal(stele_conn_backend_pid(conn), pid);
    run_sql(conn, "INSERT INTO demoted_t VALUES (1)");
    stele_conn_release(conn);
    stele_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_connection_string_is_explained),
        cmocka_unit_test(a_server_that_is_down_is_named),
        cmocka_unit_test(a_server_that_does_not_answer_is_given_up),
        cmocka_unit_test(a_silent_host_does_not_hide_the_next),
        cmocka_unit_test(a_missing_database_or_role_is_named),
        cmocka_unit_test(a_read_only_server_is_refused_unless_wanted),
        cmocka_unit_test(fields_instances_and_strings_rank),
        cmocka_unit_test(sessions_are_set_up),
        cmocka_unit_test(plans_are_generic_unless_told),
        cmocka_unit_test(settings_hold_for_every_lease),
        cmocka_unit_test(utc_is_pinned_whatever_the_role_says),
        cmocka_unit_test(wrong_options_are_refused_before_any_connection),
        cmocka_unit_test(derived_handles_have_names_of_their_own),
        cmocka_unit_test(a_lease_can_switch_names),
        cmocka_unit_test(the_lease_hook_runs_each_time_and_after_a_move),
        cmocka_unit_test(a_demoted_server_is_left_and_a_read_only_transaction_is_not_one),
    };
    return RUN(tests);
}
