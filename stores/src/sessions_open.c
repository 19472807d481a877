#include <stdio.h>
#include <unistd.h>

#include "sessions.gen.h"
#include "sessions_internal.h"
#include "stele/ensure.h"
#include "summaries.h"

#include "banned.h"

enum {
    DEFAULT_EVENTS = 1000,
    DEFAULT_CLEANUP_MS = 300000,
    DEFAULT_CLEANUP_ROWS = 10000,
    CLOSE_MS = 5000,
    MOST_INDEXES = 8,
    MIN_SERVER_VERSION = 130000
};

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static stele_status copy_options(const stele_sessions_options *from,
                                 stele_sessions_options *ret_options, stele_error *err)
{
    if (from == NULL || from->size < sizeof from->size)
        return stele__store_old_options("stele_sessions_options", "STELE_SESSIONS_OPTIONS_INIT",
                                        err);
    const char *bytes = (const char *)from;
    for (size_t i = sizeof *from; i < from->size; i++)
        if (bytes[i] != 0)
            return stele__store_fail(
                err, STELE_E_UNSUPPORTED,
                "an option is set that this version of the library does not know");
    memset(ret_options, 0, sizeof *ret_options);
    memcpy(ret_options, from, from->size < sizeof *from ? from->size : sizeof *from);
    return STELE_OK;
}

/* ---- the database ---------------------------------------------------------------------------- */

/* The peer ends a prefix with an underscore. Which characters names have is checked with the rest. */
static stele_status end_prefix(const char *prefix, char buf[STELE_NAME_SIZE], stele_error *err)
{
    size_t len = given(prefix) ? strlen(prefix) : 0;
    if (len >= STELE_NAME_SIZE - 1)
        return stele__store_fail(
            err, STELE_E_NAME,
            "prefix \"%.20s…\" is too long: %zu bytes, beside a schema at most 28", prefix, len);
    if (len > 0)
        memcpy(buf, prefix, len);
    if (len > 0 && buf[len - 1] != '_')
        buf[len++] = '_';
    buf[len] = '\0';
    return STELE_OK;
}

/* Further options go before a connection string, whose own then win; beside fields they are all of it. */
static stele_status join_extra(const stele_sessions_options *options, stele__store_text *dsn,
                               stele_error *err)
{
    bool named = given(options->instance) && !given(options->host) && !given(options->dsn);
    if (named && given(options->extra))
        return stele__store_fail(err, STELE_E_INPUT,
                                 "extra goes with dsn or host, not with a named instance");
    if (given(options->dsn) && given(options->extra) && strstr(options->dsn, "://") != NULL)
        return stele__store_fail(err, STELE_E_INPUT,
                                 "extra cannot be joined to a URI: append it to the URI");
    if (given(options->extra))
        stele__store_adds(dsn, options->extra);
    if (given(options->extra) && given(options->dsn))
        stele__store_adds(dsn, " ");
    if (given(options->dsn))
        stele__store_adds(dsn, options->dsn);
    return dsn->failed ? stele__store_no_memory(err) : STELE_OK;
}

/* With the peer's defaults. Beside a connection string or an instance they say nothing. */
static void fill_fields(const stele_sessions_options *options, stele_db_options *ret)
{
    if (given(options->dsn) || (given(options->instance) && !given(options->host)))
        return;
    ret->host = given(options->host) ? options->host : "localhost";
    ret->port = given(options->port) ? options->port : "5432";
    ret->user = options->user;
    ret->password = options->password;
    ret->dbname = given(options->dbname) ? options->dbname : "trpc-agent-go-pgsession";
    ret->sslmode = given(options->sslmode) ? options->sslmode : "disable";
}

static stele_status open_own(const stele_sessions_options *options, const stele_names *names,
                             stele_db **ret_db, stele_error *err)
{
    const stele_module *const modules[] = {&sessions_module};
    stele__store_text dsn = {0};
    stele_db_options db = STELE_DB_OPTIONS_INIT;
    stele_status st = join_extra(options, &dsn, err);
    db.dsn = dsn.data;
    fill_fields(options, &db);
    db.registry = options->registry;
    db.instance = options->instance;
    db.modules = modules;
    db.module_count = 1;
    db.names = *names;
    db.soft_delete = options->soft_delete;
    db.pool = options->pool;
    db.call_timeout_ms = options->call_timeout_ms;
    db.on_query_start = options->on_query_start;
    db.on_query_end = options->on_query_end;
    db.on_slow_query = options->on_slow_query;
    db.slow_query_ms = options->slow_query_ms;
    db.hook_user = options->hook_user;
    /* Writers of one session wait for each other; above this they would fail instead. */
    const stele_setting settings[] = {{"default_transaction_isolation", "read committed"}};
    db.settings = settings;
    db.setting_count = 1;
    if (st == STELE_OK)
        st = stele_db_open(&db, ret_db, err);
    stele__store_text_free(&dsn);
    return st;
}

static stele_status open_db(const stele_sessions_options *options, stele_db **ret_db,
                            stele_error *err)
{
    const stele_module *const modules[] = {&sessions_module};
    char prefix[STELE_NAME_SIZE];
    stele_status st = end_prefix(options->prefix, prefix, err);
    if (st != STELE_OK)
        return st;
    stele_names names = {.schema = options->schema, .prefix = prefix};
    if (options->db == NULL)
        return open_own(options, &names, ret_db, err);
    bool named = given(options->schema) || given(options->prefix);
    return stele_db_derive_modules(options->db, modules, 1, named ? &names : NULL,
                                   options->soft_delete, ret_db, err);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void *copy_array(const void *from, size_t count, size_t size)
{
    void *copy = stele_alloc(count * size);
    if (copy != NULL && count > 0)
        memcpy(copy, from, count * size);
    return copy;
}

/* 0: never; at most a thousand years, for which the server has times before and after now. */
static int64_t ttl_of(int64_t ttl_ms)
{
    const int64_t most = INT64_C(1000) * 365 * 24 * 3600 * 1000;
    return ttl_ms <= 0 ? 0 : ttl_ms < most ? ttl_ms : most;
}

static stele_status fill(stele_sessions *store, const stele_sessions_options *options,
                         stele_error *err)
{
    store->event_limit = options->event_limit != 0 ? options->event_limit : DEFAULT_EVENTS;
    store->session_ttl_ms = ttl_of(options->session_ttl_ms);
    store->app_ttl_ms = ttl_of(options->app_ttl_ms);
    store->user_ttl_ms = ttl_of(options->user_ttl_ms);
    store->track_ttl_ms = store->session_ttl_ms;
    if (options->track_ttl_ms.tag == &stele_tag_value)
        store->track_ttl_ms = ttl_of(options->track_ttl_ms.v);
    store->lazy_ttl = options->lazy_ttl;
    store->strict = options->strict;
    store->idempotent = options->idempotent_events;
    store->expires = store->session_ttl_ms > 0 || store->app_ttl_ms > 0 || store->user_ttl_ms > 0 ||
                     store->track_ttl_ms > 0;
    store->event_id_index = options->event_id_index || options->idempotent_events;
    store->soft_delete = options->soft_delete != STELE_OFF;
    store->on_error = options->on_error;
    store->on_error_user = options->on_error_user;
    store->append_hooks = copy_array(options->append_hooks, options->append_hook_count,
                                     sizeof *options->append_hooks);
    store->append_hook_count = options->append_hook_count;
    store->get_hooks =
        copy_array(options->get_hooks, options->get_hook_count, sizeof *options->get_hooks);
    store->get_hook_count = options->get_hook_count;
    if (store->append_hooks == NULL || store->get_hooks == NULL)
        return stele__store_no_memory(err);
    return STELE_OK;
}

static void tell_cleanup(const stele_sweep_place *place, const stele_error *err, void *user)
{
    stele_sessions *store = user;
    (void)place;
    if (store->on_error != NULL)
        store->on_error(NULL, err, store->on_error_user);
}

static void repair_more(const stele_sweep_report *report, void *user)
{
    (void)report;
    stele__patrol_on(user);
}

static stele_status open_sweeper(stele_sessions *store, const stele_sessions_options *options,
                                 stele_error *err)
{
    stele_sweeper_options sweeper = STELE_SWEEPER_OPTIONS_INIT;
    bool wanted = store->expires || options->retention_ms > 0;
    store->cleanup_ms = wanted ? DEFAULT_CLEANUP_MS : -1;
    if (options->cleanup_interval_ms != 0)
        store->cleanup_ms = options->cleanup_interval_ms;
    sweeper.interval_ms = store->cleanup_ms;
    sweeper.retention_ms = options->retention_ms;
    sweeper.rows_per_second = options->cleanup_rows_per_second > 0
                                  ? options->cleanup_rows_per_second
                                  : DEFAULT_CLEANUP_ROWS;
    sweeper.on_error = tell_cleanup;
    sweeper.on_swept = repair_more;
    sweeper.user = store;
    stele_status st = stele__patrol_open(store, err);
    return st == STELE_OK ? stele_sweeper_open(store->db, &sweeper, &store->sweeper, err) : st;
}

/* Which optional indexes of schema/sessions.yaml are wanted. */
static size_t choose_indexes(const stele_sessions *store, const stele_sessions_options *options,
                             const char *chosen[MOST_INDEXES])
{
    size_t count = 0;
    if (!options->peer_indexes) {
        chosen[count++] = "session_events.user_message";
        chosen[count++] = "session_states.tombstone";
        chosen[count++] = "*.deleted";
    }
    if (!options->peer_indexes && store->expires)
        chosen[count++] = "*.sweep";
    if (store->event_id_index)
        chosen[count++] = "session_events.event_id";
    if (options->recent_index)
        chosen[count++] = "session_states.recent";
    if (options->undeleted_index)
        chosen[count++] = "session_events.undeleted";
    return count;
}

static stele_status ensure(stele_sessions *store, const stele_sessions_options *options,
                           stele_error *err)
{
    const char *chosen[MOST_INDEXES];
    stele_ensure_options how = STELE_ENSURE_OPTIONS_INIT;
    how.skip_init = options->skip_init;
    how.build_indexes = true;
    how.optional = chosen;
    how.optional_count = choose_indexes(store, options, chosen);
    return stele_db_ensure(store->db, &sessions_module, &how, err);
}

static void release(stele_sessions *store, uint32_t drain_ms)
{
    if (store->db != NULL)
        stele_db_close_wait(store->db, drain_ms);
    (void)pthread_cond_destroy(&store->idle);
    (void)pthread_mutex_destroy(&store->lock);
    (void)pthread_mutex_destroy(&store->ending);
    stele__summaries_free(store);
    stele__queue_free(store);
    stele__patrol_free(store);
    stele_free(store->append_hooks);
    stele_free(store->get_hooks);
    stele_free(store);
}

/* Reads end with FETCH FIRST … WITH TIES: whatever stands in for it reads more. */
static stele_status check_server(stele_db *db, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = NULL;
    stele_status st = stele_db_acquire(db, &conn, err);
    if (st != STELE_OK || stele_conn_server_version(conn) >= MIN_SERVER_VERSION)
        return st;
    return stele__store_fail(err, STELE_E_UNSUPPORTED,
                             "the sessions store needs PostgreSQL 13 or newer, this is %d",
                             stele_conn_server_version(conn) / 10000);
}

stele_status stele_sessions_open(const stele_sessions_options *given_options,
                                 stele_sessions **ret_store, stele_error *err)
{
    stele_sessions_options options;
    if (ret_store == NULL)
        return stele__store_fail(err, STELE_E_INPUT, "ret_store is NULL");
    stele_status st = copy_options(given_options, &options, err);
    if (st != STELE_OK)
        return st;
    stele_sessions *store = stele_alloc(sizeof *store);
    if (store == NULL)
        return stele__store_no_memory(err);
    memset(store, 0, sizeof *store);
    store->pid = getpid();
    (void)pthread_mutex_init(&store->lock, NULL); /* none of these fails on Linux */
    (void)pthread_mutex_init(&store->ending, NULL);
    (void)pthread_cond_init(&store->idle, NULL);
    st = fill(store, &options, err);
    if (st == STELE_OK)
        st = open_db(&options, &store->db, err);
    if (st == STELE_OK)
        st = check_server(store->db, err);
    if (st == STELE_OK)
        st = ensure(store, &options, err);
    if (st == STELE_OK && options.async_persist)
        st = stele__queue_open(store, options.lanes, err);
    if (st == STELE_OK) /* jobs may wait for its workers, who look into the queue */
        st = stele__summaries_open(store, &options, err);
    if (st == STELE_OK)
        st = open_sweeper(store, &options, err);
    if (st != STELE_OK) {
        (void)stele__queue_close(store, CLOSE_MS, NULL, NULL);
        (void)stele__summaries_stop(store, CLOSE_MS, NULL); /* what failed first is what counts */
        release(store, CLOSE_MS);
        return st;
    }
    *ret_store = store;
    return STELE_OK;
}

/* ---- closing --------------------------------------------------------------------------------- */

/* What is left of a deadline, for the next of those who share it. */
static uint32_t left_of(int64_t until_ns)
{
    int64_t left = (until_ns - stele__summary_now_ns()) / 1000000;
    return left > 0 ? (uint32_t)left : 0;
}

static int64_t until_of(uint32_t deadline_ms)
{
    return stele__summary_now_ns() + (int64_t)deadline_ms * 1000000;
}

/* The first failure is told; who is behind gets what time is left. */
static stele_status shut_down(stele_sessions *store, int64_t until_ns, uint64_t *ret_lost,
                              stele_error *err)
{
    if (store->sweeper == NULL)
        return STELE_OK; /* not for the first time */
    stele__sessions_shut(store);
    stele_status st = stele__queue_close(store, left_of(until_ns), ret_lost, err);
    stele_status next =
        stele_sweeper_close(store->sweeper, left_of(until_ns), st == STELE_OK ? err : NULL);
    store->sweeper = NULL;
    st = st == STELE_OK ? next : st;
    next = stele__summaries_stop(store, left_of(until_ns), st == STELE_OK ? err : NULL);
    return st == STELE_OK ? next : st;
}

stele_status stele_sessions_shutdown(stele_sessions *store, uint32_t deadline_ms,
                                     uint64_t *ret_lost, stele_error *err)
{
    int64_t until_ns = until_of(deadline_ms);
    if (ret_lost != NULL)
        *ret_lost = 0;
    stele_status st = stele__sessions_check_fork(store, err);
    if (st != STELE_OK)
        return st;
    (void)pthread_mutex_lock(&store->ending);
    st = shut_down(store, until_ns, ret_lost, err);
    (void)pthread_mutex_unlock(&store->ending);
    return st;
}

stele_status stele_sessions_close(stele_sessions *store, uint32_t deadline_ms, uint64_t *ret_lost,
                                  stele_error *err)
{
    int64_t until_ns = until_of(deadline_ms);
    if (ret_lost != NULL)
        *ret_lost = 0;
    if (store == NULL)
        return STELE_OK;
    stele_status st = stele_sessions_shutdown(store, deadline_ms, ret_lost, err);
    if (st != STELE_E_FORKED) /* the parent's: its memory is left alone */
        release(store, left_of(until_ns));
    return st;
}

void stele_sessions_autofree(stele_sessions **store)
{
    (void)stele_sessions_close(*store, CLOSE_MS, NULL, NULL); /* nobody could be told */
}
