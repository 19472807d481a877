/* Creating tables: once, beside others, under locks, with and without rights. */
#define _GNU_SOURCE
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "conn_internal.h"
#include "ensure_lab.h"
#include "ensure_util.h"
#include "sessions.gen.h"

#define ROW "INSERT INTO @.things (name, price) VALUES ('a', 1);"

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void ensure_lab(void)
{
    stele_error err;
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
}

/* A lease whose open transaction has run `text`. */
static stele_conn *hold(stele_db *db, const char *text)
{
    stele_conn *conn = NULL;
    stele_error err;
    char filled[256];
    snprintf(filled, sizeof filled, text, schema);
    assert_status(STELE_OK, stele_db_acquire(db, &conn, &err), &err);
    assert_status(STELE_OK, stele_tx_begin(conn, NULL, &err), &err);
    assert_status(STELE_OK, stele_conn_exec(conn, filled, NULL, 0, NULL, &err), &err);
    return conn;
}

/* A role of this program's own; dropped with everything it may do by drop_role(). */
static char role[32];

static void make_role(const char *rights)
{
    char text[512];
    snprintf(role, sizeof role, "stele_ensure_%ld", (long)getpid());
    snprintf(text, sizeof text, "CREATE ROLE %s LOGIN", role);
    sql(text);
    snprintf(text, sizeof text, rights, role, role, role);
    sql(text);
}

static void drop_role(void)
{
    char text[128];
    snprintf(text, sizeof text, "DROP OWNED BY %s; DROP ROLE %s", role, role);
    sql(text);
}

/* ---- creating ---- */

static void everything_is_created_in_order_and_once(void **state)
{
    (void)state;
    said what;
    stele_error err;
    stele_ensure_options options = listening(&what);
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_string_equal(what.phases, "look lab\n"
                                     "lock lab\n"
                                     "look lab\n"
                                     "create mood\n"
                                     "create things\n"
                                     "create pieces\n"
                                     "create things_active\n"
                                     "create things_folded\n"
                                     "create things_price\n"
                                     "create pieces_tag\ncreate pieces_thing\n"
                                     "create things\n"
                                     "create things_guard\n"
                                     "create things_guard\n"
                                     "look lab\n"
                                     "verify things\n"
                                     "verify pieces\n"
                                     "verify mood\n");
    assert_value("SELECT obj_description('@.things'::regclass)", "What there is");
    assert_value("SELECT tgfoid::regproc::text = '@.things_guard' FROM pg_trigger"
                 " WHERE tgname = 'guard' AND tgrelid = '@.things'::regclass",
                 "t");
    assert_value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                 " (SELECT oid FROM pg_database WHERE datname = current_database())",
                 "0");
    options = listening(&what);
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_string_equal(what.phases, "look lab\nverify things\nverify pieces\nverify mood\n");
    assert_int_equal(what.count, 0);
}

static void what_is_missing_of_an_empty_table_is_created(void **state)
{
    (void)state;
    said what;
    stele_error err;
    ensure_lab();
    sql("DROP INDEX @.things_price, @.things_folded; DROP TABLE @.pieces;"
        "DROP FUNCTION @.things_guard CASCADE");
    stele_ensure_options options = listening(&what);
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_non_null(strstr(what.phases, "create pieces\n"
                                        "create things_folded\n"
                                        "create things_price\n"
                                        "create pieces_tag\ncreate pieces_thing\n"
                                        "create things_guard\n"
                                        "create things_guard\n"
                                        "look"));
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
}

static void skipping_asks_nobody(void **state)
{
    (void)state;
    said what;
    stele_error err;
    stele_ensure_options options = listening(&what);
    options.skip_init = true;
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_string_equal(what.phases, "");
    assert_value("SELECT count(*) FROM pg_class WHERE relnamespace = '@'::regnamespace", "0");
}

static void wrong_calls_are_refused(void **state)
{
    (void)state;
    stele_error err;
    stele_db *db = open_module(&lab_module, schema, NULL, NULL);
    stele_ensure_options options;
    memset(&options, 0, sizeof options);
    assert_int_equal(stele_db_ensure(db, &lab_module, &options, &err), STELE_E_INPUT);
    assert_int_equal(stele_db_ensure(db, &sessions_module, NULL, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.message, "sessions"));
    assert_int_equal(stele_db_ensure(db, &sessions_module, NULL, NULL), STELE_E_INPUT);
    stele_db_close(db);
}

/* ---- when all is there ---- */

static uint64_t trips_of(stele_db *db)
{
    stele_conn *conn = NULL;
    stele_error err;
    assert_status(STELE_OK, stele_db_acquire(db, &conn, &err), &err);
    uint64_t trips = conn->link->round_trips;
    stele_conn_release(conn);
    return trips;
}

static void looking_takes_one_round_trip_and_no_right_to_write(void **state)
{
    (void)state;
    stele_error err;
    assert_status(STELE_OK, ensure_once(&sessions_module, NULL, &err), &err);
    make_role("GRANT USAGE ON SCHEMA @ TO %s; GRANT SELECT ON ALL TABLES IN SCHEMA @ TO %s;"
              "ALTER ROLE %s SET default_transaction_read_only = on");
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    char text[512];
    snprintf(text, sizeof text, "%s user=%s", dsn, role);
    const stele_module *module = &sessions_module;
    options.dsn = text;
    options.modules = &module;
    options.module_count = 1;
    options.names.schema = schema;
    options.read_write = STELE_OFF;
    stele_db *db = NULL;
    assert_status(STELE_OK, stele_db_open(&options, &db, &err), &err);
    uint64_t before = trips_of(db);
    assert_status(STELE_OK, stele_db_ensure(db, module, NULL, &err), &err);
    assert_int_equal(trips_of(db) - before, 1);
    stele_db_close(db);
    drop_role();
}

static void nobody_is_waited_for(void **state)
{
    (void)state;
    stele_error err;
    ensure_lab();
    stele_db *db = open_module(&lab_module, schema, NULL, NULL);
    stele_conn *writer = hold(db, "INSERT INTO %s.things (name, price) VALUES ('a', 1)");
    stele_conn *locker = hold(db, "LOCK TABLE %s.pieces IN EXCLUSIVE MODE");
    uint64_t start = now_ms();
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    options.lock_timeout_ms = 60000;
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_true(now_ms() - start < SOON_MS);
    stele_conn_release(writer);
    stele_conn_release(locker);
    stele_db_close(db);
}

/* ---- rights ---- */

static void a_reader_without_temporary_tables_is_told_softly(void **state)
{
    (void)state;
    said what;
    stele_error err;
    ensure_lab();
    make_role("GRANT USAGE ON SCHEMA @ TO %s; GRANT SELECT ON ALL TABLES IN SCHEMA @ TO %s;"
              "ALTER ROLE %s SET default_transaction_read_only = off");
    char *database = value("SELECT current_database()");
    char text[160];
    snprintf(text, sizeof text, "REVOKE TEMP ON DATABASE %s FROM PUBLIC", database);
    sql(text);
    stele_db *db = open_module(&lab_module, schema, NULL, role);
    stele_ensure_options options = listening(&what);
    assert_status(STELE_OK, stele_db_ensure(db, &lab_module, &options, &err), &err);
    assert_int_equal(what.count, 1);
    assert_string_equal(
        what.differences[0],
        "table \"things\": index \"things_folded\" cannot be compared: the role may "
        "not create a temporary table to compare with");
    stele_db_close(db);
    snprintf(text, sizeof text, "GRANT TEMP ON DATABASE %s TO PUBLIC", database);
    sql(text);
    free(database);
    drop_role();
}

static void who_may_not_create_is_told_what_to_grant(void **state)
{
    (void)state;
    stele_error err;
    char expected[256];
    make_role("GRANT USAGE ON SCHEMA @ TO %s");
    stele_db *db = open_module(&sessions_module, schema, "app1_", role);
    assert_status(STELE_E_PERMISSION, stele_db_ensure(db, &sessions_module, NULL, &err), &err);
    snprintf(expected, sizeof expected,
             "module sessions: cannot create table \"app1_session_states\": permission denied for "
             "schema %s",
             schema);
    assert_string_equal(err.message, expected);
    snprintf(expected, sizeof expected,
             "GRANT CREATE ON SCHEMA \"%s\" TO \"%s\", or let the schema's owner run the module's "
             "SQL",
             schema, role);
    assert_string_equal(err.hint, expected);
    assert_string_equal(err.sqlstate, "42501");
    stele_db_close(db);
    drop_role();
}

static void who_may_not_look_is_told_what_to_grant(void **state)
{
    (void)state;
    stele_error err;
    char expected[128];
    make_role("COMMENT ON ROLE %s IS ''");
    stele_db *db = open_module(&lab_module, schema, NULL, role);
    assert_status(STELE_E_PERMISSION, stele_db_ensure(db, &lab_module, NULL, &err), &err);
    snprintf(expected, sizeof expected, "GRANT USAGE ON SCHEMA \"%s\" TO \"%s\"", schema, role);
    assert_string_equal(err.hint, expected);
    stele_db_close(db);
    drop_role();
}

static void a_missing_schema_is_not_created(void **state)
{
    (void)state;
    stele_error err;
    stele_db *db = open_module(&sessions_module, "nowhere", NULL, NULL);
    assert_status(STELE_E_SCHEMA, stele_db_ensure(db, &sessions_module, NULL, &err), &err);
    assert_string_equal(err.message, "module sessions: schema \"nowhere\" does not exist");
    assert_memory_equal(err.hint, "CREATE SCHEMA \"nowhere\" AUTHORIZATION \"", 39);
    stele_db_close(db);
}

/* ---- locks ---- */

typedef struct rival {
    stele_db *db;
    stele_status status;
    stele_error err;
    uint64_t took_ms;
    int asked;
} rival;

/* While one call is inside its transaction, another one comes. */
static void come_second(stele_ensure_phase phase, const char *object, void *user)
{
    rival *r = user;
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    if (phase != STELE_ENSURE_CREATE || strcmp(object, "pieces") != 0)
        return;
    options.lock_timeout_ms = 300;
    uint64_t start = now_ms();
    r->status = stele_db_ensure(r->db, &lab_module, &options, &r->err);
    r->took_ms = now_ms() - start;
    r->asked++;
}

static void the_lock_of_another_is_named(void **state)
{
    (void)state;
    stele_error err;
    rival r = {.db = open_module(&lab_module, schema, NULL, NULL)};
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    options.on_phase = come_second;
    options.user = &r;
    assert_status(STELE_OK, stele_db_ensure(r.db, &lab_module, &options, &err), &err);
    assert_int_equal(r.asked, 1);
    assert_status(STELE_E_TIMEOUT, r.status, &r.err);
    assert_true(r.took_ms >= 300 && r.took_ms < SOON_MS);
    assert_memory_equal(r.err.message, "module lab: advisory lock ", 26);
    assert_non_null(strstr(r.err.message, " was not to be had within 300 ms; server process "));
    assert_null(strstr(r.err.message, "unknown"));
    assert_true(r.err.retryable);
    assert_status(STELE_OK, stele_db_ensure(r.db, &lab_module, NULL, &err), &err);
    stele_db_close(r.db);
}

static void other_names_have_other_locks(void **state)
{
    (void)state;
    stele_error err;
    rival r = {.db = open_module(&lab_module, schema, "b_", NULL)};
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    options.on_phase = come_second;
    options.user = &r;
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_int_equal(r.asked, 1);
    assert_status(STELE_OK, r.status, &r.err);
    stele_db_close(r.db);
}

static void a_statement_does_not_wait_for_long(void **state)
{
    (void)state;
    stele_error err;
    ensure_lab();
    sql("DROP INDEX @.things_price");
    stele_db *db = open_module(&lab_module, schema, NULL, NULL);
    stele_conn *writer = hold(db, "LOCK TABLE %s.things IN ROW EXCLUSIVE MODE");
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    options.lock_timeout_ms = 200;
    uint64_t start = now_ms();
    assert_status(STELE_E_TIMEOUT, ensure_once(&lab_module, &options, &err), &err);
    assert_true(now_ms() - start < SOON_MS);
    assert_string_equal(err.message, "module lab: cannot create index \"things_price\": canceling "
                                     "statement due to lock timeout");
    assert_string_equal(err.table, "things");
    assert_string_equal(err.sqlstate, "55P03");
    stele_conn_release(writer);
    options.lock_timeout_ms = 60000;
    assert_status(STELE_OK, stele_db_ensure(db, &lab_module, &options, &err), &err);
    stele_db_close(db);
}

/* ---- indexes of tables with rows ---- */

static void indexes_are_built_beside_writers(void **state)
{
    (void)state;
    said what;
    stele_error err;
    ensure_lab();
    sql(ROW "DROP INDEX @.things_price, @.things_active");
    stele_ensure_options options = listening(&what);
    options.build_indexes = true;
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_non_null(strstr(what.phases, "index things_active\nindex things_price\n"));
    assert_null(strstr(what.phases, "create"));
    assert_value("SELECT bool_and(indisvalid) AND count(*) = 4 FROM pg_index"
                 " WHERE indrelid = '@.things'::regclass",
                 "t");
    assert_value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                 " (SELECT oid FROM pg_database WHERE datname = current_database())",
                 "0");
}

static void what_a_failed_build_left_is_built_anew(void **state)
{
    (void)state;
    stele_error err;
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    ensure_lab();
    sql(ROW "UPDATE pg_index SET indisvalid = false, indisready = false"
            " WHERE indexrelid IN ('@.things_price'::regclass, '@.things_active'::regclass)");
    options.build_indexes = true;
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_value("SELECT bool_and(indisvalid) AND count(*) = 4 FROM pg_index"
                 " WHERE indrelid = '@.things'::regclass",
                 "t");
}

static void a_build_that_fails_leaves_nothing(void **state)
{
    (void)state;
    stele_error err;
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    ensure_lab();
    sql("DROP INDEX @.things_active;"
        "INSERT INTO @.things (name, mood, price) VALUES ('a', 'happy', 1), ('a', 'happy', 2)");
    options.build_indexes = true;
    assert_status(STELE_E_UNIQUE, ensure_once(&lab_module, &options, &err), &err);
    assert_memory_equal(err.message, "module lab: cannot create index \"things_active\": ", 48);
    assert_non_null(strstr(err.detail, "happy"));
    assert_non_null(strstr(err.hint, "things"));
    assert_value("SELECT to_regclass('@.things_active') IS NULL", "t");
    sql("DELETE FROM @.things WHERE price = 2");
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
}

static void an_index_at_work_is_not_dropped(void **state)
{
    (void)state;
    stele_error err;
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    ensure_lab();
    sql(ROW "UPDATE pg_index SET indisvalid = false"
            " WHERE indexrelid = '@.things_price'::regclass");
    stele_db *db = open_module(&lab_module, schema, NULL, NULL);
    stele_conn *builder = hold(db, "LOCK TABLE %s.things IN SHARE UPDATE EXCLUSIVE MODE");
    options.build_indexes = true;
    assert_status(STELE_E_TIMEOUT, ensure_once(&lab_module, &options, &err), &err);
    char expected[128];
    snprintf(expected, sizeof expected,
             "module lab: server process %d may be building index \"things_price\" of table "
             "\"things\"",
             stele_conn_backend_pid(builder));
    assert_string_equal(err.message, expected);
    stele_conn_release(builder);
    assert_status(STELE_OK, stele_db_ensure(db, &lab_module, &options, &err), &err);
    stele_db_close(db);
}

/* A polled lock does not hold a snapshot, for which the build would wait. */
static void *ensure_in_thread(void *arg)
{
    rival *r = arg;
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    options.build_indexes = true;
    options.lock_timeout_ms = 60000;
    r->status = stele_db_ensure(r->db, &lab_module, &options, &r->err);
    return NULL;
}

static void builders_do_not_block_each_other(void **state)
{
    (void)state;
    enum { RIVALS = 4 };
    rival rivals[RIVALS];
    pthread_t threads[RIVALS];
    ensure_lab();
    sql("INSERT INTO @.things (name, price) SELECT i, i FROM generate_series(1, 20000) i;"
        "DROP INDEX @.things_price, @.things_active");
    stele_db *db = open_module(&lab_module, schema, NULL, NULL);
    for (int i = 0; i < RIVALS; i++) {
        rivals[i] = (rival){.db = db};
        assert_int_equal(pthread_create(&threads[i], NULL, ensure_in_thread, &rivals[i]), 0);
    }
    for (int i = 0; i < RIVALS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_status(STELE_OK, rivals[i].status, &rivals[i].err);
    }
    stele_db_close(db);
}

/* ---- names ---- */

static void names_are_folded_as_the_peer_folds_them(void **state)
{
    (void)state;
    stele_error err;
    char mixed[32];
    snprintf(mixed, sizeof mixed, "E%s", schema + 1);
    stele_db *db = open_module(&sessions_module, mixed, "App_", NULL);
    assert_status(STELE_OK, stele_db_ensure(db, &sessions_module, NULL, &err), &err);
    assert_status(STELE_OK, stele_db_ensure(db, &sessions_module, NULL, &err), &err);
    stele_db_close(db);
    assert_value("SELECT count(*) FROM pg_tables WHERE schemaname = '@'"
                 " AND tablename LIKE 'app\\_%'",
                 "7");
    assert_value("SELECT to_regclass('@.idx_@_app_session_states_unique_active') IS NOT NULL", "t");
}

static void names_are_kept_where_the_module_keeps_them(void **state)
{
    (void)state;
    stele_error err;
    sql("CREATE SCHEMA \"Up_@\"");
    char mixed[40];
    snprintf(mixed, sizeof mixed, "Up_%s", schema);
    stele_db *db = open_module(&lab_module, mixed, "A_", NULL);
    assert_status(STELE_OK, stele_db_ensure(db, &lab_module, NULL, &err), &err);
    assert_status(STELE_OK, stele_db_ensure(db, &lab_module, NULL, &err), &err);
    stele_db_close(db);
    assert_value("SELECT to_regclass('\"Up_@\".\"A_things\"') IS NOT NULL", "t");
    sql("DROP SCHEMA \"Up_@\" CASCADE");
}

static void a_name_too_long_is_refused_before_anything_is_made(void **state)
{
    (void)state;
    stele_error err;
    stele_db *db = NULL;
    const stele_module *module = &sessions_module;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = dsn;
    options.modules = &module;
    options.module_count = 1;
    options.names = (stele_names){.schema = schema, .prefix = "a_prefix_of_thirty_bytes_or_so"};
    assert_int_equal(stele_db_open(&options, &db, &err), STELE_E_NAME);
    assert_non_null(strstr(err.message, "a_prefix_of_thirty_bytes_or_so"));
    assert_value("SELECT count(*) FROM pg_class WHERE relnamespace = '@'::regnamespace", "0");
}

static void a_pinned_module_has_its_own_names(void **state)
{
    (void)state;
    stele_error err;
    const stele_module *module = &lab_module;
    stele_pin pin = {.module = module, .names = {.schema = schema, .prefix = "pin_"}};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = dsn;
    options.modules = &module;
    options.module_count = 1;
    options.names = (stele_names){.schema = "nowhere", .prefix = "b_"};
    options.pins = &pin;
    options.pin_count = 1;
    stele_db *db = NULL;
    assert_status(STELE_OK, stele_db_open(&options, &db, &err), &err);
    assert_status(STELE_OK, stele_db_ensure(db, module, NULL, &err), &err);
    stele_db_close(db);
    assert_value("SELECT to_regclass('@.pin_things') IS NOT NULL", "t");
}

static void without_a_schema_the_search_path_decides(void **state)
{
    (void)state;
    stele_error err;
    char text[128];
    make_role("GRANT USAGE, CREATE ON SCHEMA @ TO %s; ALTER ROLE %s SET search_path = @");
    stele_db *db = open_module(&lab_module, NULL, NULL, role);
    assert_status(STELE_OK, stele_db_ensure(db, &lab_module, NULL, &err), &err);
    stele_db_close(db);
    assert_value("SELECT to_regclass('@.things') IS NOT NULL", "t");
    assert_value("SELECT to_regclass('public.things') IS NULL", "t");

    /* Tables that a later schema of the path has are found there, not made once more. */
    sql("CREATE SCHEMA first_@");
    snprintf(text, sizeof text, "ALTER ROLE %s SET search_path = first_@, @", role);
    sql(text);
    snprintf(text, sizeof text, "GRANT USAGE, CREATE ON SCHEMA first_@ TO %s", role);
    sql(text);
    db = open_module(&lab_module, NULL, NULL, role);
    assert_status(STELE_OK, stele_db_ensure(db, &lab_module, NULL, &err), &err);
    stele_db_close(db);
    assert_value("SELECT count(*) FROM pg_class WHERE relnamespace = 'first_@'::regnamespace", "0");

    snprintf(text, sizeof text, "ALTER ROLE %s SET search_path = nowhere", role);
    sql(text);
    db = open_module(&lab_module, NULL, NULL, role);
    assert_status(STELE_E_SCHEMA, stele_db_ensure(db, &lab_module, NULL, &err), &err);
    assert_string_equal(err.message, "module lab: there is no schema to create tables in; "
                                     "search_path is nowhere");
    stele_db_close(db);
    sql("DROP SCHEMA first_@");
    drop_role();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_is_created_in_order_and_once),
        TEST(what_is_missing_of_an_empty_table_is_created),
        TEST(skipping_asks_nobody),
        TEST(wrong_calls_are_refused),
        TEST(looking_takes_one_round_trip_and_no_right_to_write),
        TEST(nobody_is_waited_for),
        TEST(a_reader_without_temporary_tables_is_told_softly),
        TEST(who_may_not_create_is_told_what_to_grant),
        TEST(who_may_not_look_is_told_what_to_grant),
        TEST(a_missing_schema_is_not_created),
        TEST(the_lock_of_another_is_named),
        TEST(other_names_have_other_locks),
        TEST(a_statement_does_not_wait_for_long),
        TEST(indexes_are_built_beside_writers),
        TEST(what_a_failed_build_left_is_built_anew),
        TEST(a_build_that_fails_leaves_nothing),
        TEST(an_index_at_work_is_not_dropped),
        TEST(builders_do_not_block_each_other),
        TEST(names_are_folded_as_the_peer_folds_them),
        TEST(names_are_kept_where_the_module_keeps_them),
        TEST(a_name_too_long_is_refused_before_anything_is_made),
        TEST(a_pinned_module_has_its_own_names),
        TEST(without_a_schema_the_search_path_decides),
    };
    return RUN(tests);
}
