/**
 * One sweep: all tables in turn, one transaction of each at a time, until nothing is left.
 *
 * A transaction that fails is tried again with fewer rows; when a single row is at fault, it is passed
 * over until the next sweep. A table that cannot be swept at all does not keep the others from it.
 *
 * Floor: sweeper.
 */
#include <string.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "sweeper_internal.h"
#include "text_internal.h"

#include "banned.h"

#define MOST_FAILURES 16

/* ---- telling ---- */

stele_sweep_place stele__sweep_place_of(const stele__swept_table *table, stele_sweep_kind kind)
{
    return (stele_sweep_place){.module = table->module->name,
                               .table = table->table->name,
                               .schema = table->schema,
                               .prefix = table->prefix,
                               .kind = kind};
}

static void tell_error(const stele__sweep *sweep, const stele__sweep_task *task,
                       const stele_error *err)
{
    const stele_sweeper_options *options = &sweep->sweeper->options;
    stele_sweep_place place = stele__sweep_place_of(task->table, task->kind);
    if (options->on_error != NULL)
        options->on_error(&place, err, options->user);
}

static void tell_batch(const stele__sweep *sweep, const stele__sweep_task *task,
                       const stele_sweep_batch *batch)
{
    const stele_sweeper_options *options = &sweep->sweeper->options;
    stele_sweep_place place = stele__sweep_place_of(task->table, task->kind);
    if (options->on_batch != NULL)
        options->on_batch(&place, batch, options->user);
}

static void count(stele__sweep *sweep, stele__sweep_task *task, const stele_sweep_batch *batch)
{
    stele_sweep_table_stats *stats = &task->table->stats;
    stele_sweep_report *report = &sweep->report;
    uint64_t skipped = batch->claimed > batch->gone ? batch->claimed - batch->gone : 0;
    (void)pthread_mutex_lock(&sweep->sweeper->lock);
    stats->batches++;
    stats->batch_ns += batch->ns;
    if (batch->ns > stats->longest_batch_ns)
        stats->longest_batch_ns = batch->ns;
    stats->skipped += skipped;
    stats->followed += batch->followed;
    if (task->kind == STELE_SWEEP_EXPIRED)
        stats->expired += batch->gone;
    else if (task->kind == STELE_SWEEP_DELETED)
        stats->purged += batch->gone;
    else
        stats->partitions += batch->gone;
    (void)pthread_mutex_unlock(&sweep->sweeper->lock);
    report->batches++;
    report->followed += batch->followed;
    report->expired += task->kind == STELE_SWEEP_EXPIRED ? batch->gone : 0;
    report->purged += task->kind == STELE_SWEEP_DELETED ? batch->gone : 0;
    report->partitions += task->kind == STELE_SWEEP_PARTITIONS ? batch->gone : 0;
    tell_batch(sweep, task, batch);
}

static void bump(const stele__sweep *sweep, uint64_t *counter)
{
    (void)pthread_mutex_lock(&sweep->sweeper->lock);
    (*counter)++;
    (void)pthread_mutex_unlock(&sweep->sweeper->lock);
}

static void note_age(const stele__sweep *sweep, const stele__sweep_task *task, bool found,
                     int64_t age_ms)
{
    stele_sweep_table_stats *stats = &task->table->stats;
    if (task->kind != STELE_SWEEP_EXPIRED)
        return;
    (void)pthread_mutex_lock(&sweep->sweeper->lock);
    if (found)
        stats->oldest_found_ms = age_ms;
    stats->oldest_ms = age_ms;
    (void)pthread_mutex_unlock(&sweep->sweeper->lock);
}

/* ---- failing ---- */

static void give_up(stele__sweep *sweep, stele__sweep_task *task, const stele_error *err)
{
    task->done = true;
    sweep->report.failed++;
    if (sweep->first_failure == STELE_OK) {
        sweep->first_failure = err->status;
        sweep->error = *err;
    }
    tell_error(sweep, task, err);
}

/* Whether fewer rows, or others, may do better. */
static bool is_passing(const stele_error *err)
{
    switch (err->status) {
    case STELE_E_LOCKED:
    case STELE_E_CANCELED:
    case STELE_E_SERIALIZATION:
    case STELE_E_UNKNOWN: /* done or not, doing it again is harmless */
    case STELE_E_FOREIGN_KEY:
    case STELE_E_CHECK:
    case STELE_E_UNIQUE:
    case STELE_E_NOT_NULL:
    case STELE_E_EXCLUSION:
        return true;
    default: /* class P0: a trigger has refused */
        return strncmp(err->sqlstate, "P0", 2) == 0;
    }
}

/* Goes on behind the row that cannot be removed. */
static void pass_over(stele__sweep *sweep, stele__sweep_task *task, const stele_error *why)
{
    stele_gen_oldest oldest = {0};
    stele_error err;
    stele_status st = stele__sweep_look(sweep, task, &oldest, &err);
    if (st == STELE_DONE || (st == STELE_OK && oldest.at == STELE_TS_INFINITY)) {
        task->done = true;
    } else if (st != STELE_OK) {
        give_up(sweep, task, &err);
    } else {
        bump(sweep, &task->table->stats.blocked);
        task->from = oldest.at + 1;
        note_age(sweep, task, false, oldest.age_ms);
        tell_error(sweep, task, why);
    }
}

static void fail(stele__sweep *sweep, stele__sweep_task *task, const stele_error *err)
{
    bump(sweep, &task->table->stats.failures);
    task->failures++;
    if (!is_passing(err) || task->failures > MOST_FAILURES)
        give_up(sweep, task, err);
    else if (task->limit > 1)
        task->limit /= 4;
    else
        pass_over(sweep, task, err);
    if (task->limit == 0)
        task->limit = 1;
}

/* ---- going on ---- */

static void adapt(const stele__sweep *sweep, stele__sweep_task *task, uint64_t ns)
{
    uint64_t most_ns = (uint64_t)sweep->sweeper->options.batch_ms * 1000000u;
    uint32_t step = task->most / 10 + 1;
    if (ns > most_ns)
        task->limit = task->limit > 1 ? task->limit / 2 : 1;
    else
        task->limit = task->most - task->limit > step ? task->limit + step : task->most;
}

static void go_on(const stele__sweep *sweep, stele__sweep_task *task, uint32_t limit,
                  const stele__sweep_result *result)
{
    task->failures = 0;
    adapt(sweep, task, result->batch.ns);
    if (result->batch.claimed < limit || !result->high.has) {
        task->done = true; /* all others are held by someone */
        note_age(sweep, task, false, 0);
        return;
    }
    /* Rows that were claimed and stay all the same, as policies for rows and triggers may have it,
     * are not claimed again. */
    bool stuck = result->batch.gone == 0 && result->high.v == task->from;
    task->from = result->high.v + (stuck ? 1 : 0);
}

static void batch_step(stele__sweep *sweep, stele__sweep_task *task)
{
    stele_error err;
    stele__sweep_result result = {0};
    uint32_t limit = stele__sweep_limit(sweep, task);
    if (limit == 0 || !stele__sweep_take(sweep, limit))
        return;
    stele_status st = stele__sweep_batch(sweep, task, limit, &result, &err);
    stele__sweep_settle(sweep, limit, result.batch.gone + result.batch.followed);
    if (st != STELE_OK) {
        if (!stele__sweep_stops(sweep)) /* else it was canceled for that */
            fail(sweep, task, &err);
        return;
    }
    if (!result.leader) {
        task->done = true;
        sweep->report.elsewhere++;
        bump(sweep, &task->table->stats.elsewhere);
        return;
    }
    if (result.batch.claimed > 0)
        count(sweep, task, &result.batch);
    go_on(sweep, task, limit, &result);
}

static void look_step(stele__sweep *sweep, stele__sweep_task *task)
{
    stele_gen_oldest oldest = {0};
    stele_error err;
    stele_status st = stele__sweep_look(sweep, task, &oldest, &err);
    task->looked = true;
    task->done = st == STELE_DONE;
    if (st == STELE_OK || st == STELE_DONE)
        note_age(sweep, task, true, oldest.age_ms);
    else if (!stele__sweep_stops(sweep))
        give_up(sweep, task, &err);
}

static void partition_step(stele__sweep *sweep, stele__sweep_task *task)
{
    stele_error err;
    stele_sweep_batch batch = {0};
    int64_t began = stele__now_ns();
    stele_status st = stele__sweep_partitions(sweep, task, &batch.gone, &err);
    batch.ns = (uint64_t)(stele__now_ns() - began);
    task->done = true;
    if (batch.gone > 0)
        count(sweep, task, &batch);
    if (st != STELE_OK && !stele__sweep_stops(sweep)) {
        bump(sweep, &task->table->stats.failures);
        give_up(sweep, task, &err);
    }
}

static void step(stele__sweep *sweep, stele__sweep_task *task)
{
    (void)pthread_mutex_lock(&sweep->sweeper->lock);
    bool removed = task->target->removed;
    (void)pthread_mutex_unlock(&sweep->sweeper->lock);
    if (removed)
        task->done = true;
    else if (task->kind == STELE_SWEEP_PARTITIONS)
        partition_step(sweep, task);
    else if (!task->looked)
        look_step(sweep, task);
    else
        batch_step(sweep, task);
}

/* ---- all tables ---- */

bool stele__sweep_stops(const stele__sweep *sweep)
{
    const stele_sweeper *sweeper = sweep->sweeper;
    return __atomic_load_n(&sweeper->closing, __ATOMIC_RELAXED) ||
           (sweep->yields && __atomic_load_n(&sweeper->waiting, __ATOMIC_RELAXED) > 0) ||
           (uint64_t)stele__now_ns() >= sweep->deadline;
}

static void add_task(const stele__sweep *sweep, stele__sweep_target *target,
                     stele__swept_table *table, stele_sweep_kind kind, stele__sweep_task *task)
{
    const stele_sweeper_options *options = &sweep->sweeper->options;
    bool has_keys = kind == STELE_SWEEP_EXPIRED && table->table->follower_count > 0;
    *task = (stele__sweep_task){.target = target,
                                .table = table,
                                .kind = kind,
                                .from = INT64_MIN,
                                .most = has_keys ? options->batch_keys : options->batch_rows};
    task->limit = task->most;
}

/* Partitions first: what they hold need not be removed row by row. */
static size_t add_tasks(const stele__sweep *sweep, stele__sweep_target *target,
                        stele__sweep_task *tasks)
{
    size_t n = 0;
    bool purges = sweep->sweeper->options.retention_ms > 0;
    for (size_t i = 0; i < target->table_count; i++) {
        const stele_gen_table *table = target->tables[i].table;
        if (table->sweep_partitions != NULL)
            add_task(sweep, target, &target->tables[i], STELE_SWEEP_PARTITIONS, &tasks[n++]);
        if (table->sweep != NULL)
            add_task(sweep, target, &target->tables[i], STELE_SWEEP_EXPIRED, &tasks[n++]);
        if (table->sweep_deleted != NULL && purges)
            add_task(sweep, target, &target->tables[i], STELE_SWEEP_DELETED, &tasks[n++]);
    }
    return n;
}

static void run_tasks(stele__sweep *sweep, stele__sweep_task *tasks, size_t task_count)
{
    bool open = true;
    while (open && !stele__sweep_stops(sweep)) {
        open = false;
        for (size_t i = 0; i < task_count && !stele__sweep_stops(sweep); i++) {
            if (!tasks[i].done)
                step(sweep, &tasks[i]);
            open = open || !tasks[i].done;
        }
    }
    sweep->report.complete = true;
    for (size_t i = 0; i < task_count; i++)
        sweep->report.complete = sweep->report.complete && tasks[i].done;
}

static size_t hold_targets(stele_sweeper *sweeper, stele__sweep_target **targets, size_t room)
{
    size_t n = 0;
    for (stele__sweep_target *one = sweeper->targets; one != NULL && n < room; one = one->next) {
        one->refs++;
        targets[n++] = one;
    }
    return n;
}

void stele__sweep_all(stele__sweep *sweep)
{
    stele_sweeper *sweeper = sweep->sweeper;
    size_t target_count = 0;
    size_t tables = 0;
    (void)pthread_mutex_lock(&sweeper->lock);
    for (const stele__sweep_target *one = sweeper->targets; one != NULL; one = one->next) {
        target_count++;
        tables += one->table_count;
    }
    stele__sweep_target **targets = stele__calloc(target_count + 1, sizeof(stele__sweep_target *));
    stele__sweep_task *tasks = stele__calloc(3 * tables + 1, sizeof *tasks);
    bool ready = targets != NULL && tasks != NULL;
    target_count = ready ? hold_targets(sweeper, targets, target_count) : 0;
    (void)pthread_mutex_unlock(&sweeper->lock);
    size_t task_count = 0;
    for (size_t i = 0; i < target_count; i++)
        task_count += add_tasks(sweep, targets[i], tasks + task_count);
    if (ready)
        run_tasks(sweep, tasks, task_count);
    else
        sweep->first_failure = stele__fail(&sweep->error, STELE_E_NOMEM, "out of memory");
    for (size_t i = 0; i < target_count; i++)
        stele__sweep_target_drop(sweeper, targets[i]);
    stele__free(tasks);
    stele__free(targets);
}
