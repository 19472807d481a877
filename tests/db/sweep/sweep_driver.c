/*
 * Sweeps once, as fast as it goes, and prints what it did: one of the processes of test_processes.py.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sessions.gen.h"
#include "stele.h"

static int fail(const stele_error *err)
{
    char text[2048];
    (void)stele_error_format(err, text, sizeof text);
    (void)fprintf(stderr, "%s\n", text);
    return 1;
}

int main(int argc, char **argv)
{
    const stele_module *modules[] = {&sessions_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    stele_sweeper_options rules = STELE_SWEEPER_OPTIONS_INIT;
    stele_sweep_report report = {0};
    stele_sweeper *sweeper = NULL;
    stele_db *db = NULL;
    stele_error err;
    if (argc != 3)
        return 2;
    options.dsn = argv[1];
    options.modules = modules;
    options.module_count = 1;
    options.soft_delete = argv[2][0] == 's' ? STELE_ON : STELE_OFF;
    rules.interval_ms = -1;
    rules.lock_timeout_ms = rules.statement_timeout_ms = 60000;
    rules.rows_per_second = UINT32_MAX;
    if (stele_db_open(&options, &db, &err) != STELE_OK ||
        stele_sweeper_open(db, &rules, &sweeper, &err) != STELE_OK)
        return fail(&err);
    if (stele_sweeper_run(sweeper, 0, &report, &err) != STELE_OK)
        return fail(&err);
    stele_sweep_stats stats;
    stele_sweeper_stats(sweeper, &stats);
    (void)printf("{\"expired\": %" PRIu64 ", \"followed\": %" PRIu64 ", \"batches\": %" PRIu64
                 ", \"failures\": %" PRIu64 ", \"elsewhere\": %" PRIu32 "}\n",
                 report.expired, report.followed, report.batches, stats.failures, report.elsewhere);
    if (stele_sweeper_close(sweeper, 60000, &err) != STELE_OK)
        return fail(&err);
    stele_db_close(db);
    return 0;
}
