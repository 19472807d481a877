/* Opening a store: where the database is, names, and tables that are not what they should be. */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sessions_internal.h"
#include "store_lab.h"

static const char index_states[] = "session_states_unique_active";

static stele_status try_open(const stele_sessions_options *options)
{
    stele_sessions *s = NULL;
    stele_status st = stele_sessions_open(options, &s, &err);
    if (st == STELE_OK)
        assert_ok(stele_sessions_close(s, 5000, NULL, &err));
    return st;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void test_prefix_gets_an_underscore(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.schema = NULL;
    const char *const prefixes[] = {"pre", "pre_"};
    for (int i = 0; i < 2; i++) {
        options.prefix = prefixes[i];
        assert_ok(try_open(&options));
    }
    assert_int_equal(
        number("SELECT count(*) FROM pg_class WHERE relname ~ '^pre_(session|app|user)_'"
               " AND relkind = 'r' AND relname !~ 'jobs'"),
        6);
    assert_int_equal(number("SELECT count(*) FROM pg_class WHERE relname ~ '^pre__'"), 0);
}

static void test_bad_names(void **state)
{
    (void)state;
    const char *const bad[] = {"1a", "a-b", "a b", "a;drop", "a\"b", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        stele_sessions_options options = world_options();
        options.prefix = bad[i];
        assert_status(try_open(&options), STELE_E_NAME);
        options = world_options();
        options.schema = bad[i];
        assert_status(try_open(&options), STELE_E_NAME);
    }
    char longest[80];
    memset(longest, 'a', 79);
    longest[79] = '\0';
    stele_sessions_options options = world_options();
    options.prefix = longest;
    assert_status(try_open(&options), STELE_E_NAME);
}

static void test_unknown_schema(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.schema = "nowhere";
    stele_status st = try_open(&options);
    assert_true(st == STELE_E_SCHEMA);
    assert_said("nowhere");
}

/* ---- where the database is ------------------------------------------------------------------- */

static void test_dsn_priority(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.host = "nowhere.invalid";
    options.port = "1";
    options.user = options.password = options.dbname = "nobody";
    options.sslmode = "require";
    options.instance = "unknown";
    assert_ok(try_open(&options));
    /* A host before an instance; it is not to be found. */
    options.dsn = NULL;
    options.pool.acquire_timeout_ms = 2000;
    options.pool.connect_timeout_ms = 1000;
    stele_status st = try_open(&options);
    assert_true(st == STELE_E_CONNECT || st == STELE_E_TIMEOUT);
}

static void test_instance(void **state)
{
    (void)state;
    stele_registry *registry = NULL;
    stele_sessions_options options = world_options();
    assert_ok(stele_registry_new(&registry, &err));
    assert_ok(stele_registry_set(registry, "mine", dsn, &err));
    options.dsn = NULL;
    options.registry = registry;
    options.instance = "mine";
    assert_ok(try_open(&options));
    options.port = "1"; /* companions of a host that is not given */
    options.dbname = "nothing";
    assert_ok(try_open(&options));
    options.instance = "other";
    assert_status(try_open(&options), STELE_E_INPUT);
    assert_said("other");
    options.instance = "mine";
    options.extra = "connect_timeout=3";
    assert_status(try_open(&options), STELE_E_INPUT);
    assert_said("extra");
    stele_registry_free(registry);
}

static void test_extra_options(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.extra = "application_name=extra_of_store";
    stele_sessions *s = open_store(&options);
    assert_int_equal(number("SELECT count(*) FROM pg_stat_activity WHERE application_name ="
                            " 'extra_of_store' AND datname = current_database()"),
                     1);
    close_store(s);
    options.dsn = "postgres://x/y";
    assert_status(try_open(&options), STELE_E_INPUT);
}

/* A store on a handle whose own modules are others. */
static void test_existing_handle(void **state)
{
    (void)state;
    stele_db_options plain = STELE_DB_OPTIONS_INIT;
    stele_db *db = NULL;
    plain.dsn = dsn;
    assert_ok(stele_db_open(&plain, &db, &err));
    stele_sessions_options options = world_options();
    options.dsn = NULL;
    options.db = db;
    stele_sessions *s = open_store(&options);
    stele_db_close(db); /* the store has a reference of its own */
    stele_session_key key = key_of("s");
    assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
    assert_int_equal(number("SELECT count(*) FROM {session_states}"), 1);
    close_store(s);
}

/* A handle before a connection string, which it is not needed for. */
static void test_handle_before_all(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.db = stele_sessions_db(store);
    options.dsn = "host=nowhere.invalid";
    options.host = "nowhere.invalid";
    options.instance = "unknown";
    assert_ok(try_open(&options));
}

/* A part of the connection string of the tests; NULL where it has none. */
static const char *part_of(const PQconninfoOption *parts, const char *keyword)
{
    while (parts->keyword != NULL && strcmp(parts->keyword, keyword) != 0)
        parts++;
    return parts->val;
}

/* What the peer takes where nothing is said. Of the server that there is only its place is given. */
static void test_default_connection(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    PQconninfoOption *parts = PQconninfoParse(dsn, NULL);
    assert_non_null(parts);
    options.dsn = NULL;
    options.host = part_of(parts, "host");
    options.port = part_of(parts, "port");
    options.user = part_of(parts, "user");
    options.password = part_of(parts, "password");
    options.dbname = part_of(parts, "dbname");
    if (options.password == NULL)
        options.password = "one that the peer's 'quotes\\ would = break";
    options.extra = "application_name=extra_of_store";
    assert_ok(try_open(&options));
    options.extra = NULL;
    options.dbname = NULL;
    assert_true(try_open(&options) < STELE_OK);
    assert_said("\"trpc-agent-go-pgsession\" does not exist");
    options.host = NULL;
    options.port = "1";
    options.pool.acquire_timeout_ms = 2000;
    assert_true(try_open(&options) < STELE_OK);
    assert_said("\"localhost\"");
    PQconninfoFree(parts);
}

/* A store of which nothing is said but where its tables are. */
static void test_defaults(void **state)
{
    (void)state;
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    stele_session_key key = key_of("s");
    stele_session_appended appended = {0};
    options.db = stele_sessions_db(store);
    stele_sessions *s = open_store(&options);
    assert_int_equal(s->event_limit, 1000);
    assert_int_equal(s->cleanup_ms, -1);
    assert_int_equal(s->session_ttl_ms + s->track_ttl_ms + s->app_ttl_ms + s->user_ttl_ms, 0);
    assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
    for (int i = 0; i < 2; i++) {
        const char *json = event_json(i == 0 ? "first" : "last", "user", "x");
        assert_ok(stele_sessions_append(s, &key, stele_s(json), &appended, &err));
        assert_false(appended.queued);
        assert_true(appended.row_id > 0);
        peer("INSERT INTO {session_events} (app_name, user_id, session_id, event, created_at)"
             " SELECT 'desk', 'u-1', 's', event, created_at FROM {session_events},"
             " generate_series(1, 1001) WHERE %d = 0",
             i);
    }
    STELE_AUTO(stele_session) session = NULL;
    assert_ok(stele_sessions_get(s, &key, NULL, &session, &err));
    assert_int_equal(session->event_count, 1000);
    assert_string_equal(ids_of(&session->events[999], 1), "last");
    assert_int_equal(number("SELECT count(*) FROM {session_states} WHERE expires_at IS NULL"), 1);
    assert_ok(stele_sessions_delete(s, &key, &err));
    assert_int_equal(number("SELECT count(*) FROM {session_events} WHERE deleted_at IS NOT NULL"),
                     1003);
    close_store(s);
}

static void test_default_cleanup_interval(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.cleanup_interval_ms = 0;
    stele_sessions *never = open_store(&options);
    assert_int_equal(never->cleanup_ms, -1);
    close_store(never);
    options.user_ttl_ms = 1;
    stele_sessions *ever = open_store(&options);
    assert_int_equal(ever->cleanup_ms, 300000);
    close_store(ever);
}

static void test_options_of_another_version(void **state)
{
    (void)state;
    struct {
        stele_sessions_options options;
        char more[8];
    } newer = {.options = world_options(), .more = {0}};
    newer.options.size = sizeof newer;
    assert_ok(try_open(&newer.options));
    newer.more[0] = 1;
    assert_status(try_open(&newer.options), STELE_E_UNSUPPORTED);
    newer.options.size = 0;
    assert_status(try_open(&newer.options), STELE_E_INPUT);
    assert_status(stele_sessions_open(NULL, &(stele_sessions *){NULL}, &err), STELE_E_INPUT);
}

static void test_close_multiple(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    stele_sessions *s = open_store(&options);
    stele_session_key key = key_of("s");
    stele_session *session = NULL;
    assert_ok(stele_sessions_create(s, &key, NULL, 0, NULL, &err));
    assert_ok(stele_sessions_shutdown(s, 1000, NULL, &err));
    assert_ok(stele_sessions_shutdown(s, 1000, NULL, &err));
    /* Nothing is taken and forgotten. */
    assert_status(stele_sessions_append(s, &key, stele_s(event_json("e", "user", "x")), NULL, &err),
                  STELE_E_CLOSED);
    assert_status(stele_sessions_get(s, &key, NULL, &session, &err), STELE_E_CLOSED);
    assert_status(stele_sessions_cleanup(s, 0, NULL, &err), STELE_E_CLOSED);
    assert_status(stele_sessions_flush(s, NULL, 0, &err), STELE_E_CLOSED);
    assert_ok(stele_sessions_close(s, 1000, NULL, &err));
    assert_ok(stele_sessions_close(NULL, 1000, NULL, &err));
}

static void *shut_down(void *arg)
{
    return (void *)(intptr_t)stele_sessions_shutdown(arg, 10000, NULL, NULL);
}

/* Whoever comes second waits for the first. */
static void test_shutdown_by_many(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        pthread_t threads[4];
        stele_sessions_options options = world_options();
        options.async_persist = round % 2 != 0;
        stele_sessions *s = open_store(&options);
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, shut_down, s), 0);
        for (int i = 0; i < 4; i++) {
            void *st = NULL;
            assert_int_equal(pthread_join(threads[i], &st), 0);
            assert_int_equal((intptr_t)st, STELE_OK);
        }
        assert_ok(stele_sessions_close(s, 1000, NULL, &err));
    }
}

/* ---- children -------------------------------------------------------------------------------- */

static pthread_barrier_t inside;

/* Stays in the store while the process forks. */
static stele_status stay(stele_append_call *call, void *user, stele_error *e)
{
    (void)user;
    (void)pthread_barrier_wait(&inside);
    (void)pthread_barrier_wait(&inside);
    return stele_append_next(call, e);
}

static void *append_one(void *arg)
{
    stele_session_key key = key_of("s");
    const char *json = event_json("e-1", "user", "x");
    return (void *)(intptr_t)stele_sessions_append(arg, &key, stele_s(json), NULL, NULL);
}

/* In the child, which must neither wait for threads that it does not have nor touch the connections. */
static int use_in_child(stele_sessions *s)
{
    stele_session_key key = key_of("s");
    stele_session *session = NULL;
    stele_sessions_stats stats;
    int wrong = 0;
    (void)alarm(20);
    wrong += stele_sessions_get(s, &key, NULL, &session, &err) != STELE_E_FORKED;
    wrong += stele_sessions_append(s, &key, stele_s("{}"), NULL, &err) != STELE_E_FORKED;
    wrong += stele_sessions_flush(s, NULL, 0, &err) != STELE_E_FORKED;
    wrong += stele_sessions_cleanup(s, 0, NULL, &err) != STELE_E_FORKED;
    stele_sessions_get_stats(s, &stats);
    wrong += stele_sessions_shutdown(s, 100, NULL, &err) != STELE_E_FORKED;
    wrong += stele_sessions_close(s, 100, NULL, &err) != STELE_E_FORKED;
    return wrong;
}

static void test_child_process(void **state)
{
    (void)state;
    stele_append_hook hook = {stay, NULL};
    stele_sessions_options options = world_options();
    options.append_hooks = &hook;
    options.append_hook_count = 1;
    stele_sessions *s = open_store(&options);
    pthread_t thread;
    void *st = NULL;
    int status = -1;
    create_session("s");
    assert_int_equal(pthread_barrier_init(&inside, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, append_one, s), 0);
    (void)pthread_barrier_wait(&inside);
    pid_t child = fork();
    if (child == 0)
        _exit(use_in_child(s));
    (void)pthread_barrier_wait(&inside);
    assert_int_equal(pthread_join(thread, &st), 0);
    assert_int_equal((intptr_t)st, STELE_OK);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close_store(s);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), 1);
    (void)pthread_barrier_destroy(&inside);
}

/* ---- verifying ------------------------------------------------------------------------------- */

static const char *index_name(const char *of)
{
    return answer("SELECT CASE WHEN '{x}' = 'x' THEN 'idx_%s' ELSE 'idx_tenant_a_app1_%s' END", of,
                  of);
}

static const char *schema_dot(void)
{
    return answer("SELECT CASE WHEN '{x}' = 'x' THEN '' ELSE 'tenant_a.' END");
}

static void refuses(const char *part)
{
    stele_sessions_options options = world_options();
    assert_status(try_open(&options), STELE_E_SCHEMA);
    assert_said(part);
}

static void anew(void)
{
    peer("DROP TABLE {session_states}");
    stele_sessions_options options = world_options();
    assert_ok(try_open(&options));
}

/* The peer takes a missing one for fatal; we make it. */
static void test_missing_unique_index(void **state)
{
    (void)state;
    const char *name = index_name(index_states);
    peer("DROP INDEX %s%s", schema_dot(), name);
    stele_sessions_options options = world_options();
    assert_ok(try_open(&options));
    assert_int_equal(number("SELECT count(*) FROM pg_class WHERE relname = '%s'", name), 1);
}

static void test_unique_index_not_unique(void **state)
{
    (void)state;
    const char *name = index_name(index_states);
    peer("DROP INDEX %s%s; CREATE INDEX %s ON {session_states} (app_name, user_id, session_id)"
         " WHERE deleted_at IS NULL",
         schema_dot(), name, name);
    refuses(index_states);
    anew();
}

static void test_unique_index_wrong_definition(void **state)
{
    (void)state;
    const char *name = index_name(index_states);
    peer("DROP INDEX %s%s; CREATE UNIQUE INDEX %s ON {session_states} (app_name, session_id)"
         " WHERE deleted_at IS NULL",
         schema_dot(), name, name);
    refuses(index_states);
    peer("DROP INDEX %s%s; CREATE UNIQUE INDEX %s ON {session_states} (app_name, user_id,"
         " session_id)",
         schema_dot(), name, name);
    refuses(index_states);
    anew();
}

static void test_verify_columns(void **state)
{
    (void)state;
    peer("ALTER TABLE {session_states} DROP COLUMN expires_at");
    refuses("expires_at");
    anew();
    peer("ALTER TABLE {session_states} ALTER COLUMN state TYPE text");
    refuses("state");
    anew();
    peer("ALTER TABLE {session_states} ALTER COLUMN user_id DROP NOT NULL");
    refuses("user_id");
    anew();
    peer("ALTER TABLE {session_states} ADD COLUMN extra int DEFAULT 7");
    stele_sessions_options options = world_options();
    assert_ok(try_open(&options)); /* more columns are fine */
    anew();
}

static void test_skip_init(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    stele_session_key key = key_of("s");
    options.skip_init = true;
    options.prefix = "gone";
    stele_sessions *s = open_store(&options);
    stele_status st = stele_sessions_create(s, &key, NULL, 0, NULL, &err);
    assert_true(st == STELE_E_SCHEMA);
    assert_said("gone_session_states");
    close_store(s);
}

static void test_peer_indexes_alone(void **state)
{
    (void)state;
    stele_sessions_options options = world_options();
    options.schema = NULL;
    options.prefix = "bare";
    options.peer_indexes = true;
    assert_ok(try_open(&options));
    assert_int_equal(number("SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
                            " WHERE c.relname ~ '^bare_' AND c.relname !~ 'jobs'"
                            " AND NOT i.indisprimary"),
                     12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_prefix_gets_an_underscore),
        STORED(test_bad_names),
        STORED(test_unknown_schema),
        STORED(test_dsn_priority),
        STORED(test_instance),
        STORED(test_extra_options),
        STORED(test_existing_handle),
        STORED(test_handle_before_all),
        STORED(test_default_connection),
        STORED(test_defaults),
        STORED(test_default_cleanup_interval),
        STORED(test_options_of_another_version),
        STORED(test_close_multiple),
        STORED(test_shutdown_by_many),
        STORED(test_child_process),
        STORED(test_missing_unique_index),
        STORED(test_unique_index_not_unique),
        STORED(test_unique_index_wrong_definition),
        STORED(test_verify_columns),
        STORED(test_skip_init),
        STORED(test_peer_indexes_alone),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
