#include "sweep_util.h"

stele_db *db;
stele_error err;

void ensure_swept(stele_db *handle, const stele_module *module)
{
    static const char *const indexes[] = {"*.sweep", "*.deleted"};
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    options.optional = indexes;
    options.optional_count = module == &sessions_module ? 2 : 0;
    assert_ok(stele_db_ensure(handle, module, &options, &err), &err);
}

int setup_chores(void **state)
{
    const stele_module *modules[] = {&chores_module, &sessions_module};
    (void)setup_database(state);
    stele_db_options options = options_for("sweeping", 20);
    options.modules = modules;
    options.module_count = 2;
    db = open_with(&options);
    for (size_t i = 0; i < 2; i++)
        ensure_swept(db, modules[i]);
    return 0;
}

int teardown_chores(void **state)
{
    stele_db_close(db);
    return teardown_database(state);
}

int clean_chores(void **state)
{
    (void)state;
    peer("DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ') ||"
         " ' RESTART IDENTITY' FROM pg_class WHERE relnamespace = 'public'::regnamespace"
         " AND relkind IN ('r', 'p')); END $$");
    return 0;
}

stele_sweeper_options by_hand(void)
{
    stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;
    options.interval_ms = -1;
    options.rows_per_second = UINT32_MAX;
    options.statement_timeout_ms = 60000;
    options.batch_ms = 60000; /* a machine that stands still makes no transaction smaller */
    return options;
}

stele_sweeper *open_sweeper(stele_db *on, const stele_sweeper_options *options)
{
    stele_sweeper *sweeper = NULL;
    assert_ok(stele_sweeper_open(on, options, &sweeper, &err), &err);
    return sweeper;
}

void close_sweeper(stele_sweeper *sweeper)
{
    assert_ok(stele_sweeper_close(sweeper, 60000, &err), &err);
}

stele_sweep_report sweep_once(stele_db *on, const stele_sweeper_options *options)
{
    stele_sweep_report report = {0};
    stele_sweeper *sweeper = open_sweeper(on, options);
    assert_ok(stele_sweeper_run(sweeper, 60000, &report, &err), &err);
    close_sweeper(sweeper);
    assert_true(report.complete);
    return report;
}

stele_sweep_stats numbers_of(const stele_sweeper *sweeper)
{
    stele_sweep_stats stats;
    stele_sweeper_stats(sweeper, &stats);
    return stats;
}

typedef struct wanted {
    const char *table;
    stele_sweep_table_stats stats;
    int found;
} wanted;

static void note(const stele_sweep_place *place, const stele_sweep_table_stats *stats, void *user)
{
    wanted *w = user;
    if (strcmp(place->table, w->table) != 0 || place->schema[0] != '\0' || place->prefix[0] != '\0')
        return;
    w->stats = *stats;
    w->found++;
}

stele_sweep_table_stats table_numbers(const stele_sweeper *sweeper, const char *table)
{
    wanted w = {.table = table};
    stele_sweeper_each(sweeper, note, &w);
    assert_int_equal(w.found, 1);
    return w.stats;
}

void peer(const char *sql)
{
    dbtest_exec(dsn, sql);
}

int64_t number(const char *sql)
{
    char *value = dbtest_value(dsn, sql);
    int64_t n = strtoll(value, NULL, 10);
    free(value);
    return n;
}
