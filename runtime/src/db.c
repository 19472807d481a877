/**
 * Handles: options, names and policies over a pool.
 *
 * Floor: db.
 */
#define _GNU_SOURCE
#include "db_internal.h"

#include <string.h>

#include "mem_internal.h"
#include "names.h"
#include "registry.h"
#include "status_internal.h"
#include "stele/gen/gen.h"
#include "text_internal.h"

#include "banned.h"

#define MOST_CONNECTIONS 10000u
#define SLOW_QUERY_MS 1000
#define CLOSE_DRAIN_MS 5000u

static stele_status no_memory(stele_error *err)
{
    return stele__fail(err, STELE_E_NOMEM, "out of memory while opening a database handle");
}

/* ---- options ---- */

/* Options of an older header are shorter, those of a newer one longer: what we do not know of must
 * not have been set. */
static stele_status copy_options(const stele_db_options *given, stele_db_options *ret_options,
                                 stele_error *err)
{
    if (given == NULL)
        return stele__fail(err, STELE_E_INPUT, "options is NULL");
    if (given->size < sizeof given->size) {
        stele_status st = stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(err, "start from: stele_db_options options = STELE_DB_OPTIONS_INIT;");
        return st;
    }
    const char *bytes = (const char *)given;
    for (size_t i = sizeof *given; i < given->size; i++)
        if (bytes[i] != 0)
            return stele__fail(err, STELE_E_UNSUPPORTED,
                               "an option is set that this version of the library does not know");
    size_t size = given->size < sizeof *given ? given->size : sizeof *given;
    memset(ret_options, 0, sizeof *ret_options);
    memcpy(ret_options, given, size);
    return STELE_OK;
}

static void default_to(uint32_t *option, uint32_t value)
{
    if (*option == 0)
        *option = value;
}

static stele_status fill_rules(stele_db_options *options, uint32_t connect_timeout_ms,
                               stele_error *err)
{
    stele_pool_options *rules = &options->pool;
    default_to(&rules->max_connections, 10);
    default_to(&rules->max_waiters, 1000);
    default_to(&rules->acquire_timeout_ms, 30000);
    default_to(&rules->connect_timeout_ms, connect_timeout_ms);
    default_to(&rules->connect_timeout_ms, 10000);
    default_to(&rules->max_lifetime_ms, 1800000);
    default_to(&rules->max_idle_ms, 600000);
    default_to(&rules->ping_after_ms, 1000);
    default_to(&rules->ping_timeout_ms, 1000);
    default_to(&rules->leak_after_ms, 30000);
    default_to(&options->call_timeout_ms, 30000);
    default_to(&options->statement_cache, 256);
    default_to(&options->tenant_affinity, 8);
    if (rules->max_connections > MOST_CONNECTIONS)
        return stele__fail(err, STELE_E_INPUT, "pool.max_connections is %u, at most %u are allowed",
                           rules->max_connections, MOST_CONNECTIONS);
    if (rules->min_idle > rules->max_connections)
        return stele__fail(err, STELE_E_INPUT,
                           "pool.min_idle (%u) is greater than pool.max_connections (%u)",
                           rules->min_idle, rules->max_connections);
    return STELE_OK;
}

static stele_status check_modules(const stele_module *const *modules, size_t count,
                                  stele_error *err)
{
    if (count > 0 && modules == NULL)
        return stele__fail(err, STELE_E_INPUT, "module_count is %zu but modules is NULL", count);
    for (size_t i = 0; i < count; i++) {
        if (modules[i] == NULL)
            return stele__fail(err, STELE_E_INPUT, "modules[%zu] is NULL", i);
        for (size_t j = 0; j < i; j++)
            if (strcmp(modules[j]->name, modules[i]->name) == 0)
                return stele__fail(err, STELE_E_INPUT, "module %s is listed twice",
                                   modules[i]->name);
    }
    return STELE_OK;
}

static bool is_listed(const stele_db_options *options, const stele_module *module)
{
    for (size_t i = 0; i < options->module_count; i++)
        if (options->modules[i] == module)
            return true;
    return false;
}

static stele_status make_names(const stele_db_options *options, stele__names_box **ret_names,
                               stele_error *err)
{
    stele_status st = STELE_OK;
    stele__pinned *pins = stele__calloc(options->pin_count + 1, sizeof *pins);
    if (pins == NULL)
        return no_memory(err);
    for (size_t i = 0; i < options->pin_count && st == STELE_OK; i++) {
        st = stele__names_pin(&options->pins[i], &pins[i], err);
        if (st == STELE_OK && !is_listed(options, options->pins[i].module))
            st = stele__fail(err, STELE_E_INPUT, "module %s is pinned but not listed in modules",
                             options->pins[i].module->name);
    }
    if (st == STELE_OK) {
        stele__names_input input = {
            .modules = options->modules,
            .module_count = options->module_count,
            .pins = pins,
            .pin_count = options->pin_count,
            .names = options->names,
            .soft_delete = options->soft_delete != STELE_OFF,
        };
        st = stele__names_new(&input, ret_names, err);
    }
    stele__free(pins);
    return st;
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static stele_status find_server(const stele_db_options *options, stele__conninfo *ret_info,
                                stele_error *err)
{
    char *instance_dsn = NULL;
    if (is_given(options->instance) && !is_given(options->dsn) && !is_given(options->host)) {
        stele_status st = STELE_E_INPUT;
        if (options->registry != NULL) {
            st = stele__registry_copy(options->registry, options->instance, &instance_dsn, err);
        } else {
            (void)stele__fail(err, st,
                              "instance \"%s\" is named, but there is no registry to look it up",
                              options->instance);
            stele__error_hint(err, "set options.registry to one that has it, or options.dsn");
        }
        if (st != STELE_OK)
            return st;
    }
    stele__conninfo_input input = {
        .dsn = options->dsn,
        .host = options->host,
        .port = options->port,
        .user = options->user,
        .password = options->password,
        .dbname = options->dbname,
        .sslmode = options->sslmode,
        .application_name = options->application_name,
        .instance = options->instance,
        .instance_dsn = instance_dsn,
        .read_write = options->read_write != STELE_OFF,
    };
    stele_status st = stele__conninfo_build(&input, ret_info, err);
    stele__registry_forget(instance_dsn);
    return st;
}

/* ---- opening ---- */

static stele_db *new_handle(const stele_module *const *modules, size_t count)
{
    stele_db *db = stele__calloc(1, sizeof *db + count * sizeof(stele_module *));
    if (db == NULL)
        return NULL;
    db->module_count = count;
    if (count > 0)
        memcpy(db->modules, modules, count * sizeof(stele_module *));
    return db;
}

static stele_status use_names(stele_conn *conn, stele_db *db, stele_error *err)
{
    if (db == NULL)
        return stele__fail(err, STELE_E_INPUT, "db is NULL");
    return stele__pool_use(db->pool, conn, db->names, err);
}

/* One statement for all settings: SELECT pg_catalog.set_config('a', 'b', false), … */
static stele_status join_settings(const stele_db_options *options, char **ret_sql, stele_error *err)
{
    stele__buf sql = {0};
    if (options->setting_count > 0 && options->settings == NULL)
        return stele__fail(err, STELE_E_INPUT, "setting_count is %zu but settings is NULL",
                           options->setting_count);
    for (size_t i = 0; i < options->setting_count; i++) {
        const stele_setting *setting = &options->settings[i];
        if (setting->name == NULL || setting->value == NULL) {
            stele__buf_release(&sql);
            return stele__fail(err, STELE_E_INPUT, "settings[%zu] has no name or no value", i);
        }
        stele__buf_add_text(&sql,
                            i == 0 ? "SELECT pg_catalog.set_config(" : ", pg_catalog.set_config(");
        stele__buf_add_literal(&sql, setting->name, strlen(setting->name));
        stele__buf_add_text(&sql, ", ");
        stele__buf_add_literal(&sql, setting->value, strlen(setting->value));
        stele__buf_add_text(&sql, ", false)");
    }
    if (options->setting_count == 0)
        return STELE_OK;
    *ret_sql = stele__buf_take(&sql);
    return *ret_sql != NULL ? STELE_OK : no_memory(err);
}

static stele_status open_pool(stele_db_options *options, stele__pool **ret_pool, stele_error *err)
{
    stele__pool_config config = {
        .call_timeout_ms = 0,
        .unnamed = options->unnamed_statements,
        .generic = options->generic_plans != STELE_OFF && !options->unnamed_statements,
        .read_write = options->read_write != STELE_OFF,
        .on_lease = options->on_lease,
        .on_notice = options->on_notice,
        .on_leak = options->on_leak,
        .hook_user = options->hook_user,
        .hooks = {.on_start = options->on_query_start,
                  .on_end = options->on_query_end,
                  .on_slow = options->on_slow_query,
                  .slow_ns = (uint64_t)(options->slow_query_ms > 0 ? options->slow_query_ms
                                                                   : SLOW_QUERY_MS) *
                             1000000u,
                  .show_parameters = options->show_parameters,
                  .user = options->hook_user},
        .use = use_names,
    };
    stele_status st = find_server(options, &config.conninfo, err);
    if (st != STELE_OK)
        return st;
    st = fill_rules(options, config.conninfo.connect_timeout_ms, err);
    if (st == STELE_OK)
        st = join_settings(options, &config.conninfo.settings, err);
    if (st == STELE_OK) {
        config.rules = options->pool;
        /* What poll() takes: 24 days. */
        config.call_timeout_ms =
            options->call_timeout_ms < INT32_MAX ? options->call_timeout_ms : INT32_MAX;
        config.statement_cache = options->statement_cache;
        config.tenant_affinity = options->tenant_affinity;
        st = stele__pool_open(&config, ret_pool, err);
    }
    if (st != STELE_OK)
        stele__conninfo_release(&config.conninfo);
    return st;
}

stele_status stele_db_open(const stele_db_options *given, stele_db **ret_db, stele_error *err)
{
    stele_db_options options;
    if (ret_db == NULL)
        return stele__fail(err, STELE_E_INPUT, "ret_db is NULL");
    stele_status st = copy_options(given, &options, err);
    if (st == STELE_OK)
        st = check_modules(options.modules, options.module_count, err);
    if (st == STELE_OK && options.pin_count > 0 && options.pins == NULL)
        st =
            stele__fail(err, STELE_E_INPUT, "pin_count is %zu but pins is NULL", options.pin_count);
    if (st != STELE_OK)
        return st;
    stele_db *db = new_handle(options.modules, options.module_count);
    if (db == NULL)
        return no_memory(err);
    st = make_names(&options, &db->names, err);
    if (st == STELE_OK) {
        st = open_pool(&options, &db->pool, err);
        if (st != STELE_OK)
            stele__free(db->names);
    }
    if (st != STELE_OK) {
        stele__free(db);
        return st;
    }
    *ret_db = db;
    return STELE_OK;
}

/* ---- deriving ---- */

static stele_status derive(const stele_db *db, const stele_module *const *modules,
                           size_t module_count, const stele_names *names, bool soft_delete,
                           stele_db **ret_db, stele_error *err)
{
    stele__names_input input = {
        .modules = modules,
        .module_count = module_count,
        .pins = db->names->pins,
        .pin_count = db->names->fixed_pins,
        .names = *names,
        .soft_delete = soft_delete,
    };
    stele_db *derived = new_handle(modules, module_count);
    if (derived == NULL)
        return no_memory(err);
    stele_status st = stele__names_new(&input, &derived->names, err);
    if (st == STELE_OK && !stele__pool_attach(db->pool, err)) {
        st = stele__pool_check_fork(db->pool, NULL) != STELE_OK ? STELE_E_FORKED : STELE_E_CLOSED;
        stele__free(derived->names);
    }
    if (st != STELE_OK) {
        stele__free(derived);
        return st;
    }
    derived->pool = db->pool;
    *ret_db = derived;
    return STELE_OK;
}

stele_status stele_db_derive(stele_db *db, const stele_names *names, stele_db **ret_db,
                             stele_error *err)
{
    if (db == NULL || names == NULL || ret_db == NULL)
        return stele__fail(err, STELE_E_INPUT, "db, names or ret_db is NULL");
    return derive(db, db->modules, db->module_count, names, db->names->names.soft_delete, ret_db,
                  err);
}

stele_status stele_db_derive_modules(stele_db *db, const stele_module *const *modules,
                                     size_t module_count, const stele_names *names,
                                     stele_switch soft_delete, stele_db **ret_db, stele_error *err)
{
    if (db == NULL || ret_db == NULL)
        return stele__fail(err, STELE_E_INPUT, "db or ret_db is NULL");
    stele_status st = check_modules(modules, module_count, err);
    if (st != STELE_OK)
        return st;
    const stele__names *current = &db->names->names;
    stele_names same = {.schema = current->schema, .prefix = current->prefix};
    bool soft = soft_delete == STELE_DEFAULT ? current->soft_delete : soft_delete == STELE_ON;
    return derive(db, modules, module_count, names != NULL ? names : &same, soft, ret_db, err);
}

stele_status stele_db_derive_policy(stele_db *db, stele_switch soft_delete, stele_db **ret_db,
                                    stele_error *err)
{
    if (db == NULL || ret_db == NULL)
        return stele__fail(err, STELE_E_INPUT, "db or ret_db is NULL");
    const stele__names *current = &db->names->names;
    stele_names names = {.schema = current->schema, .prefix = current->prefix};
    bool soft = soft_delete == STELE_DEFAULT ? current->soft_delete : soft_delete == STELE_ON;
    return derive(db, db->modules, db->module_count, &names, soft, ret_db, err);
}

/* ---- using and closing ---- */

stele_status stele_db_acquire_at(stele_db *db, uint32_t timeout_ms, const char *file, int line,
                                 stele_conn **ret_conn, stele_error *err)
{
    if (db == NULL || ret_conn == NULL)
        return stele__fail(err, STELE_E_INPUT, "db or ret_conn is NULL");
    const stele__place place = {file, line};
    return stele__pool_acquire(db->pool, db->names, timeout_ms, &place, ret_conn, err);
}

void stele_db_pool_stats(const stele_db *db, stele_pool_stats *ret_stats)
{
    stele__pool_stats(db->pool, ret_stats);
}

void stele_db_reset(stele_db *db)
{
    stele__pool_reset(db->pool);
}

void stele_db_close_wait(stele_db *db, uint32_t drain_ms)
{
    if (db != NULL)
        stele__pool_detach(db->pool, db->names, db, drain_ms);
}

void stele_db_close(stele_db *db)
{
    stele_db_close_wait(db, CLOSE_DRAIN_MS);
}

void stele_db_autofree(stele_db **db)
{
    stele_db_close(*db);
}
