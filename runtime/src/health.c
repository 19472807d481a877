/**
 * Looking at a database and what works on it.
 *
 * Floor: metrics.
 */
#include "stele/health.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "db_internal.h"
#include "ensure_catalog.h"
#include "jobs_internal.h"
#include "mem_internal.h"
#include "pool_internal.h"
#include "run.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define MS 1000000u /* nanoseconds */

typedef struct looking {
    stele_db *db;
    stele_health_options options; /* without zeros where a default applies */
    stele_health *health;
    stele__deadline deadline;
} looking;

/* ---- options, problems, time ---- */

static void default_to(uint64_t *option, uint64_t value)
{
    if (*option == 0)
        *option = value;
}

static stele_status fill_options(const stele_health_options *given, stele_health_options *ret,
                                 stele_error *err)
{
    static const stele_health_options none = STELE_HEALTH_OPTIONS_INIT;
    if (given == NULL)
        given = &none;
    if (given->size != sizeof *given) {
        stele_status st = stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(err,
                          "start from: stele_health_options options = STELE_HEALTH_OPTIONS_INIT;");
        return st;
    }
    *ret = *given;
    if (ret->deadline_ms == 0)
        ret->deadline_ms = 2000;
    default_to(&ret->max_lag_ms, 30000);
    default_to(&ret->max_backlog_ms, 3600000);
    default_to(&ret->max_wait_ms, 60000);
    return STELE_OK;
}

static STELE_PRINTF(3, 4) void complain(stele_health *health, stele_health_state state,
                                        const char *fmt, ...)
{
    stele__buf text = {0};
    va_list args;
    va_start(args, fmt);
    stele__buf_vaddf(&text, fmt, args);
    va_end(args);
    if (health->problem_count < STELE_HEALTH_PROBLEMS) {
        char *place = health->problems[health->problem_count];
        (void)stele__copy(place, sizeof health->problems[0], stele__buf_text(&text), text.len);
    }
    health->problem_count++;
    if (state > health->state)
        health->state = state;
    stele__buf_release(&text);
}

static uint32_t left_ms(const looking *l)
{
    uint64_t now = (uint64_t)stele__now_ns();
    return now < l->deadline ? (uint32_t)((l->deadline - now + MS - 1) / MS) : 0;
}

/* A lease that ends with the deadline. */
static stele_status acquire(const looking *l, stele_db *db, stele_conn **ret_conn, stele_error *err)
{
    uint32_t left = left_ms(l);
    if (left == 0)
        return stele__fail(err, STELE_E_TIMEOUT, "the deadline came first");
    stele_status st = stele_db_acquire_at(db, left, __FILE__, __LINE__, ret_conn, err);
    if (st != STELE_OK)
        return st;
    left = left_ms(l);
    stele_conn_set_deadline(*ret_conn, left > 0 ? left : 1);
    return STELE_OK;
}

/* ---- the server ---- */

static int64_t number_of(const struct pg_result *result, int column, int64_t otherwise)
{
    const char *text = stele__result_text(result, 0, column);
    return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}

static stele_status ask_server(looking *l, stele_conn *conn, stele_error *err)
{
    /* A standby that has replayed all it received does not lag, however old its last transaction.
     * Who may not see the standbys of a primary sees rows without positions. */
    static const char sql[] =
        "SELECT r, pg_catalog.current_setting('server_version'),\n"
        "  CASE WHEN r THEN CASE\n"
        "      WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn()\n"
        "        THEN 0\n"
        "      ELSE extract(epoch FROM pg_catalog.clock_timestamp() -\n"
        "        pg_catalog.pg_last_xact_replay_timestamp()) * 1000 END\n"
        "    WHEN s.known THEN s.lag END::pg_catalog.int8,\n"
        "  s.count\n"
        "FROM pg_catalog.pg_is_in_recovery() AS r, (\n"
        "  SELECT count(*) AS count, count(*) = count(replay_lsn) AS known,\n"
        "    coalesce(max(extract(epoch FROM replay_lag) * 1000), 0) AS lag\n"
        "  FROM pg_catalog.pg_stat_replication WHERE state IS DISTINCT FROM 'backup') AS s";
    struct pg_result *result;
    stele_health *health = l->health;
    stele_status st = stele__run_sql(conn, sql, NULL, 0, &result, err);
    if (st != STELE_OK)
        return st;
    const char *standby = stele__result_text(result, 0, 0);
    health->role = standby != NULL && standby[0] == 't' ? STELE_ROLE_STANDBY : STELE_ROLE_PRIMARY;
    (void)stele__copy_text(health->server_version, sizeof health->server_version,
                           stele__result_text(result, 0, 1));
    health->lag_ms = number_of(result, 2, -1);
    health->standbys = (uint32_t)number_of(result, 3, 0);
    stele__result_clear(result);
    return STELE_OK;
}

/* ---- tables ---- */

static const stele__names no_names = {.schema = "", .prefix = ""};

/* A hash of the statements that create the module, the same whatever it is called in a database. */
static bool version_of(const stele_module *module, stele__block *mem, char *ret_version)
{
    stele__target target;
    uint64_t hash = 0;
    if (stele__target_make(module, &no_names, mem, &target, NULL) != STELE_OK)
        return false;
    for (uint16_t i = 0; i < module->object_count; i++) {
        const stele_gen_object *object = &module->objects[i];
        char *sql = stele__target_render(&target, object->create, object->create_count);
        if (sql == NULL)
            return false;
        hash = stele__hash64(hash, sql, strlen(sql) + 1);
        stele__free(sql);
    }
    for (int i = 15; i >= 0; i--, hash >>= 4)
        ret_version[i] = "0123456789abcdef"[hash & 15];
    ret_version[16] = '\0';
    return true;
}

static void add_tables(stele__buf *sql, const stele__target *target, uint32_t module)
{
    stele__buf name;
    stele__buf_init(&name);
    for (uint16_t i = 0; i < target->module->table_count; i++) {
        stele__buf_reset(&name);
        if (target->schema[0] != '\0') {
            stele__buf_add_ident(&name, target->schema, strlen(target->schema));
            stele__buf_add_char(&name, '.');
        }
        stele__buf_add_ident(&name, target->tables[i], strlen(target->tables[i]));
        stele__buf_addf(sql, "%s(%" PRIu32 ", ", sql->len > 0 ? ", " : "", module);
        stele__buf_add_literal(sql, stele__buf_text(&name), name.len);
        stele__buf_add_char(sql, ')');
        sql->failed = sql->failed || name.failed;
    }
    stele__buf_release(&name);
}

/* Fills in the modules, and gives what to ask the server for. */
static stele_status list_tables(looking *l, stele__buf *sql, stele_error *err)
{
    stele__block mem = {0};
    stele_health *health = l->health;
    stele_status st = STELE_OK;
    for (size_t i = 0; i < l->db->module_count && i < STELE_HEALTH_MODULES && st == STELE_OK; i++) {
        const stele_module *module = l->db->modules[i];
        stele__target target;
        stele_health_module *found = &health->modules[health->module_count];
        *found = (stele_health_module){.name = module->name, .tables = module->table_count};
        st = stele__target_make(module, &l->db->names->names, &mem, &target, err);
        if (st == STELE_OK && !version_of(module, &mem, found->version))
            st = stele__fail(err, STELE_E_NOMEM, "out of memory");
        if (st == STELE_OK)
            add_tables(sql, &target, health->module_count++);
    }
    stele__block_release(&mem);
    if (st == STELE_OK && sql->failed)
        st = stele__fail(err, STELE_E_NOMEM, "out of memory");
    return st;
}

static void note_missing(stele_health *health, const struct pg_result *result)
{
    for (int i = 0; i < stele__result_count(result); i++) {
        const char *number = stele__result_text(result, i, 0);
        long module = number != NULL ? strtol(number, NULL, 10) : 0;
        stele_health_module *found = &health->modules[module];
        if (found->missing++ == 0)
            (void)stele__copy_text(found->first_missing, sizeof found->first_missing,
                                   stele__result_text(result, i, 1));
    }
}

static stele_status ask_tables(looking *l, stele_conn *conn, const stele__buf *values,
                               stele_error *err)
{
    struct pg_result *result;
    stele__buf sql = {0};
    if (values->len == 0)
        return STELE_OK;
    stele__buf_add_text(&sql, "SELECT m, t FROM (VALUES ");
    stele__buf_add(&sql, values->data, values->len);
    stele__buf_add_text(&sql, ") AS v (m, t) WHERE pg_catalog.to_regclass(t) IS NULL");
    stele_status st = sql.failed
                          ? stele__fail(err, STELE_E_NOMEM, "out of memory")
                          : stele__run_sql(conn, stele__buf_text(&sql), NULL, 0, &result, err);
    stele__buf_release(&sql);
    if (st != STELE_OK)
        return st;
    note_missing(l->health, result);
    stele__result_clear(result);
    return STELE_OK;
}

/* ---- everything about the server ---- */

static bool is_ours(stele_status st)
{
    return st == STELE_E_NOMEM || st == STELE_E_FORKED || st == STELE_E_CLOSED;
}

static stele_status ask(looking *l, const stele__buf *values, stele_error *err)
{
    stele_conn *conn = NULL;
    uint64_t began = (uint64_t)stele__now_ns();
    stele_status st = acquire(l, l->db, &conn, err);
    if (st == STELE_OK)
        st = ask_server(l, conn, err);
    l->health->answer_ns = (uint64_t)stele__now_ns() - began;
    if (st == STELE_OK)
        st = ask_tables(l, conn, values, err);
    stele_conn_release(conn);
    return st;
}

static void judge_server(looking *l)
{
    stele_health *health = l->health;
    if (health->role == STELE_ROLE_STANDBY && !l->options.any_role &&
        l->db->pool->config.read_write)
        complain(health, STELE_HEALTH_DEGRADED, "the server is a standby and takes no writes");
    if (health->lag_ms > 0 && (uint64_t)health->lag_ms > l->options.max_lag_ms)
        complain(health, STELE_HEALTH_DEGRADED, "replication lags by %" PRId64 " ms",
                 health->lag_ms);
    for (uint32_t i = 0; i < health->module_count; i++) {
        const stele_health_module *module = &health->modules[i];
        if (module->missing > 0)
            complain(health, STELE_HEALTH_DEGRADED, "%s lacks %u of %u tables: %s", module->name,
                     module->missing, module->tables, module->first_missing);
    }
}

static stele_status look_at_server(looking *l, stele_error *err)
{
    stele_error why;
    stele__buf values = {0};
    stele_error_clear(&why);
    stele_status st = list_tables(l, &values, err);
    if (st == STELE_OK) {
        st = ask(l, &values, &why);
        if (is_ours(st) && err != NULL)
            *err = why;
    }
    stele__buf_release(&values);
    if (is_ours(st))
        return st;
    l->health->status = st;
    if (st == STELE_OK)
        judge_server(l);
    else
        complain(l->health, STELE_HEALTH_DOWN, "the server cannot be asked: %.120s", why.message);
    return STELE_OK;
}

/* ---- parts ---- */

static void look_at_pool(looking *l)
{
    stele_health *health = l->health;
    stele_db_pool_stats(l->db, &health->pool);
    health->pool_used_up = health->pool.in_use >= health->pool.max && health->pool.waiting > 0;
    if (health->pool_used_up)
        complain(health, STELE_HEALTH_DEGRADED, "all %u connections are in use, %u callers wait",
                 health->pool.max, health->pool.waiting);
}

static void count_jobs(looking *l, stele_jobs *jobs)
{
    stele_gen_job_depth depth;
    stele_conn *conn = NULL;
    if (!stele_jobs_is_durable(jobs)) {
        l->health->jobs_counted = stele_jobs_count(jobs, &l->health->depth, NULL) == STELE_OK;
        return;
    }
    if (l->health->status != STELE_OK || acquire(l, jobs->db, &conn, NULL) != STELE_OK)
        return;
    l->health->jobs_counted =
        stele_gen_value(conn, jobs->table->depth, NULL, 0, &depth, NULL) == STELE_OK;
    stele_conn_release(conn);
    if (l->health->jobs_counted)
        l->health->depth = (stele_jobs_depth){.due = depth.due,
                                              .later = depth.later,
                                              .running = depth.running,
                                              .dead = depth.dead,
                                              .oldest_due_ms = depth.oldest_due_ms};
}

static void look_at_jobs(looking *l)
{
    stele_health *health = l->health;
    if (l->options.jobs == NULL)
        return;
    health->has_jobs = true;
    stele_jobs_stats(l->options.jobs, &health->jobs);
    count_jobs(l, l->options.jobs);
    if (!health->jobs_counted && health->status == STELE_OK)
        complain(health, STELE_HEALTH_DEGRADED, "the queue of jobs cannot be counted");
    if (health->depth.oldest_due_ms > 0 &&
        (uint64_t)health->depth.oldest_due_ms > l->options.max_wait_ms)
        complain(health, STELE_HEALTH_DEGRADED, "a job has been waiting for %" PRId64 " ms",
                 health->depth.oldest_due_ms);
}

static void look_at_sweeper(looking *l)
{
    stele_health *health = l->health;
    if (l->options.sweeper == NULL)
        return;
    health->has_sweeper = true;
    stele_sweeper_stats(l->options.sweeper, &health->sweeper);
    if (health->sweeper.oldest_ms > 0 &&
        (uint64_t)health->sweeper.oldest_ms > l->options.max_backlog_ms)
        complain(health, STELE_HEALTH_DEGRADED, "expired rows are left for %" PRId64 " ms",
                 health->sweeper.oldest_ms);
}

static void look_at_others(looking *l)
{
    stele_health *health = l->health;
    health->has_persist = l->options.persist != NULL;
    if (health->has_persist)
        stele_persist_stats(l->options.persist, &health->persist);
    health->has_listener = l->options.listener != NULL;
    if (health->has_listener)
        stele_listener_stats(l->options.listener, &health->listener);
    if (health->has_listener && !health->listener.connected)
        complain(health, STELE_HEALTH_DEGRADED, "the listener is not connected");
    health->has_doorbell = l->options.doorbell != NULL;
    if (health->has_doorbell)
        stele_doorbell_stats(l->options.doorbell, &health->doorbell);
    if (health->has_doorbell && !health->doorbell.connected)
        complain(health, STELE_HEALTH_DEGRADED, "the doorbell is not connected");
}

stele_status stele_db_health(stele_db *db, const stele_health_options *options,
                             stele_health *ret_health, stele_error *err)
{
    looking l = {.db = db, .health = ret_health};
    if (db == NULL || ret_health == NULL)
        return stele__fail(err, STELE_E_INPUT, "db or ret_health is NULL");
    stele_status st = fill_options(options, &l.options, err);
    if (st != STELE_OK)
        return st;
    memset(ret_health, 0, sizeof *ret_health);
    ret_health->lag_ms = -1;
    l.deadline = stele__deadline_in(l.options.deadline_ms);
    st = stele__pool_check_fork(db->pool, err);
    if (st == STELE_OK) {
        look_at_pool(&l); /* before a lease of our own */
        st = look_at_server(&l, err);
    }
    if (st != STELE_OK)
        return st;
    look_at_sweeper(&l);
    look_at_jobs(&l);
    look_at_others(&l);
    return STELE_OK;
}
