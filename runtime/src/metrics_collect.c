/**
 * Asking the parts.
 *
 * Floor: metrics.
 */
#include <string.h>

#include "mem_internal.h"
#include "metrics_internal.h"
#include "status_internal.h"

#include "banned.h"

/* ---- one part ---- */

static void ask(stele__part_kind kind, const void *handle, stele__part_stats *ret_stats)
{
    memset(ret_stats, 0, sizeof *ret_stats);
    switch (kind) {
    case STELE__PART_POOL:
        stele_db_pool_stats(handle, &ret_stats->pool);
        break;
    case STELE__PART_SWEEPER:
        stele_sweeper_stats(handle, &ret_stats->sweeper);
        break;
    case STELE__PART_LANES:
        stele_lanes_stats(handle, &ret_stats->lanes);
        break;
    case STELE__PART_PERSIST:
        stele_persist_stats(handle, &ret_stats->persist);
        break;
    case STELE__PART_JOBS:
        stele_jobs_stats(handle, &ret_stats->jobs);
        break;
    case STELE__PART_LISTENER:
        stele_listener_stats(handle, &ret_stats->listener);
        break;
    case STELE__PART_DOORBELL:
        stele_doorbell_stats(handle, &ret_stats->doorbell);
        break;
    case STELE__PART_SWEPT_TABLE:
    case STELE__PART_KINDS:
        break;
    }
}

/* ---- all of them ---- */

typedef struct collecting {
    stele__collected *first;
    stele__collected *last;
    const stele__part *part;
    bool failed;
} collecting;

static stele__collected *append(collecting *c, stele__part_kind kind)
{
    stele__collected *row = stele__calloc(1, sizeof *row);
    if (row == NULL) {
        c->failed = true;
        return NULL;
    }
    row->kind = kind;
    row->labels = c->part->labels;
    if (c->last != NULL)
        c->last->next = row;
    else
        c->first = row;
    c->last = row;
    return row;
}

static void add_table(const stele_sweep_place *place, const stele_sweep_table_stats *stats,
                      void *user)
{
    collecting *c = user;
    const stele_label labels[] = {{"module", place->module},
                                  {"table", place->table},
                                  {"schema", place->schema},
                                  {"prefix", place->prefix}};
    stele__collected *row = append(c, STELE__PART_SWEPT_TABLE);
    if (row == NULL)
        return;
    row->stats.table = *stats;
    row->labels = stele__join_labels(c->part->labels, labels, 4);
    row->owns_labels = row->labels != NULL;
    c->failed = c->failed || row->labels == NULL;
}

static void collect_kind(collecting *c, const stele_metrics *metrics, stele__part_kind kind)
{
    bool tables = kind == STELE__PART_SWEPT_TABLE;
    for (const stele__part *part = metrics->parts; part != NULL; part = part->next) {
        c->part = part;
        if (tables && part->kind == STELE__PART_SWEEPER)
            stele_sweeper_each(part->handle, add_table, c);
        if (part->kind != kind)
            continue;
        stele__collected *row = append(c, kind);
        if (row != NULL)
            ask(kind, part->handle, &row->stats);
    }
}

stele_status stele__collect_locked(const stele_metrics *metrics, stele__collected **ret_first,
                                   stele_error *err)
{
    collecting c = {.failed = false};
    for (int kind = 0; kind < STELE__PART_KINDS; kind++)
        collect_kind(&c, metrics, (stele__part_kind)kind);
    if (c.failed) {
        stele__collected_free(c.first);
        return stele__fail(err, STELE_E_NOMEM, "out of memory while collecting metrics");
    }
    *ret_first = c.first;
    return STELE_OK;
}

void stele__collected_free(stele__collected *first)
{
    while (first != NULL) {
        stele__collected *next = first->next;
        if (first->owns_labels)
            stele__free(first->labels);
        stele__free(first);
        first = next;
    }
}

/* ---- the struct ---- */

static void *place_of(stele_snapshot *snapshot, stele__part_kind kind, uint32_t **ret_count)
{
    switch (kind) {
    case STELE__PART_POOL:
        *ret_count = &snapshot->dbs;
        return &snapshot->pool;
    case STELE__PART_SWEEPER:
        *ret_count = &snapshot->sweepers;
        return &snapshot->sweeper;
    case STELE__PART_LANES:
        *ret_count = &snapshot->lane_groups;
        return &snapshot->lanes;
    case STELE__PART_PERSIST:
        *ret_count = &snapshot->persists;
        return &snapshot->persist;
    case STELE__PART_JOBS:
        *ret_count = &snapshot->job_workers;
        return &snapshot->jobs;
    case STELE__PART_LISTENER:
        *ret_count = &snapshot->listeners;
        return &snapshot->listener;
    case STELE__PART_DOORBELL:
        *ret_count = &snapshot->doorbells;
        return &snapshot->doorbell;
    case STELE__PART_SWEPT_TABLE:
    case STELE__PART_KINDS:
        break;
    }
    return NULL;
}

static void sum_statements(const stele_metrics *metrics, stele_snapshot *snapshot)
{
    for (size_t i = 0; i <= metrics->capacity; i++) {
        const stele__statement *one = &metrics->statements[i];
        stele__read_histogram(&one->latency, &snapshot->statement);
        snapshot->statement_rows += __atomic_load_n(&one->rows, __ATOMIC_RELAXED);
        snapshot->round_trips += __atomic_load_n(&one->round_trips, __ATOMIC_RELAXED);
        for (size_t j = 0; j < STELE__STATUSES; j++)
            snapshot->statement_errors += __atomic_load_n(&one->errors[j], __ATOMIC_RELAXED);
    }
    stele__read_histogram(&metrics->pipelined, &snapshot->pipelined);
    stele__read_histogram(&metrics->sweep, &snapshot->sweep);
    snapshot->batches = __atomic_load_n(&metrics->batches, __ATOMIC_RELAXED);
}

void stele_metrics_snapshot(stele_metrics *metrics, stele_snapshot *ret_snapshot)
{
    memset(ret_snapshot, 0, sizeof *ret_snapshot);
    sum_statements(metrics, ret_snapshot);
    (void)pthread_mutex_lock(&metrics->lock);
    for (const stele__part *part = metrics->parts; part != NULL; part = part->next) {
        stele__part_stats stats;
        uint32_t *count = NULL;
        void *sum = place_of(ret_snapshot, part->kind, &count);
        ask(part->kind, part->handle, &stats);
        if (sum == NULL)
            continue;
        stele__sum_up(part->kind, sum, &stats);
        (*count)++;
    }
    (void)pthread_mutex_unlock(&metrics->lock);
}
