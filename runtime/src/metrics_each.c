/**
 * Samples, one by one.
 *
 * Floor: metrics.
 */
#include <stdlib.h>
#include <string.h>

#include "latency_internal.h"
#include "mem_internal.h"
#include "metrics_internal.h"
#include "status_internal.h"

#include "banned.h"

typedef struct telling {
    const stele_metrics *metrics;
    stele_metric_fn fn;
    void *user;
    stele_label labels[STELE__LABELS + 4];
    stele_metric metric;
} telling;

/* ---- labels ---- */

static void set_labels(telling *t, const stele__label_set *set)
{
    memcpy(t->labels, set->labels, set->count * sizeof(stele_label));
    t->metric.labels = t->labels;
    t->metric.label_count = set->count;
}

static void add_label(telling *t, const char *own, const char *otel, const char *value)
{
    const char *name = t->metrics->options.otel_names && otel != NULL ? otel : own;
    t->labels[t->metric.label_count++] = (stele_label){name, value};
}

/* ---- parts ---- */

static stele_metric metric_of(const stele__field *field)
{
    return (stele_metric){.name = field->name,
                          .otel_name = field->otel,
                          .unit = field->unit,
                          .help = field->help,
                          .type = field->type};
}

static void tell_latency(telling *t, const stele_latency *latency)
{
    t->metric.count = latency->count;
    t->metric.sum = (double)latency->sum_ns / 1e9;
    t->metric.latency = latency;
    t->fn(&t->metric, t->user);
}

static void tell_number(telling *t, const stele__field *field, const stele__collected *row)
{
    set_labels(t, row->labels);
    if (field->label != NULL)
        add_label(t, field->label, field->otel_label, field->label_value);
    if (field->type == STELE_METRIC_HISTOGRAM) {
        tell_latency(t, (const void *)((const char *)&row->stats + field->offset));
        return;
    }
    double value = stele__read_number(&row->stats, field->offset, field->kind) / field->scale;
    bool sums = field->type == STELE_METRIC_SUMMARY;
    t->metric.value = sums ? 0 : value;
    t->metric.sum = sums ? value : 0;
    t->metric.count =
        sums ? (uint64_t)stele__read_number(&row->stats, field->count_offset, field->count_kind)
             : 0;
    t->fn(&t->metric, t->user);
}

/* The rows of one name, for all parts of its kind. */
static void tell_name(telling *t, const stele__field *fields, size_t count,
                      const stele__collected *rows, stele__part_kind kind)
{
    t->metric = metric_of(fields);
    for (; rows != NULL; rows = rows->next)
        for (size_t i = 0; rows->kind == kind && i < count; i++)
            tell_number(t, &fields[i], rows);
}

/* How many rows share the name of the first. */
static size_t rows_of_name(const stele__field *fields, size_t left)
{
    size_t n = 1;
    while (n < left && fields[n].name != NULL && strcmp(fields[n].name, fields->name) == 0)
        n++;
    return n;
}

static void tell_kind(telling *t, stele__part_kind kind, const stele__collected *rows)
{
    size_t count;
    const stele__field *fields = stele__fields_of(kind, &count);
    for (size_t i = 0; i < count;) {
        if (fields[i].name == NULL) {
            i++;
            continue;
        }
        size_t n = rows_of_name(&fields[i], count - i);
        tell_name(t, &fields[i], n, rows, kind);
        i += n;
    }
}

/* ---- statements ---- */

enum { DURATION, ERRORS, ROWS, ROUND_TRIPS, PIPELINED, BATCHES, SWEEP, OWN_METRICS };

static const stele_metric own[OWN_METRICS] = {
    [DURATION] = {.name = "stele_statement_duration_seconds",
                  .otel_name = "db.client.operation.duration",
                  .unit = "seconds",
                  .help = "Time of statements, as callers see it",
                  .type = STELE_METRIC_HISTOGRAM},
    [ERRORS] = {.name = "stele_statement_errors",
                .unit = "",
                .help = "Statements that failed",
                .type = STELE_METRIC_COUNTER},
    [ROWS] = {.name = "stele_statement_rows",
              .unit = "",
              .help = "Rows read or written",
              .type = STELE_METRIC_COUNTER},
    [ROUND_TRIPS] = {.name = "stele_statement_round_trips",
                     .unit = "",
                     .help = "Waits for the server",
                     .type = STELE_METRIC_COUNTER},
    [PIPELINED] = {.name = "stele_pipeline_statement_duration_seconds",
                   .unit = "seconds",
                   .help = "Time of statements in pipelines, from the sync to their answer",
                   .type = STELE_METRIC_HISTOGRAM},
    [BATCHES] = {.name = "stele_pipeline_batches",
                 .unit = "",
                 .help = "Batches of pipelines",
                 .type = STELE_METRIC_COUNTER},
    [SWEEP] = {.name = "stele_sweep_duration_seconds",
               .unit = "seconds",
               .help = "Time of the sweeper's transactions",
               .type = STELE_METRIC_HISTOGRAM},
};

/* What was counted of one statement. */
typedef struct counted {
    const char *name;
    const char *table;
    stele_latency latency;
    uint64_t rows;
    uint64_t round_trips;
    uint64_t errors[STELE__STATUSES];
} counted;

static int by_name(const void *a, const void *b)
{
    const counted *left = a;
    const counted *right = b;
    return strcmp(left->name, right->name);
}

static void count_in(counted *sum, const stele__statement *one)
{
    stele__read_histogram(&one->latency, &sum->latency);
    sum->rows += __atomic_load_n(&one->rows, __ATOMIC_RELAXED);
    sum->round_trips += __atomic_load_n(&one->round_trips, __ATOMIC_RELAXED);
    for (size_t i = 0; i < STELE__STATUSES; i++)
        sum->errors[i] += __atomic_load_n(&one->errors[i], __ATOMIC_RELAXED);
}

static void join(counted *sum, const counted *other)
{
    stele__latency_join(&sum->latency, &other->latency);
    sum->rows += other->rows;
    sum->round_trips += other->round_trips;
    for (size_t i = 0; i < STELE__STATUSES; i++)
        sum->errors[i] += other->errors[i];
}

/* Statements that were met, each once. */
static size_t gather(const stele_metrics *metrics, counted *all)
{
    size_t n = 0;
    size_t kept = 0;
    for (size_t i = 0; i <= metrics->capacity; i++) {
        const stele__statement *one = &metrics->statements[i];
        bool rest = i == metrics->capacity;
        if (!rest && __atomic_load_n(&one->state, __ATOMIC_ACQUIRE) != 2)
            continue;
        all[n] = (counted){.name = rest ? "other" : one->name, .table = one->table};
        count_in(&all[n], one);
        n += !rest || all[n].latency.count > 0 ? 1 : 0;
    }
    qsort(all, n, sizeof *all, by_name);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && strcmp(all[kept - 1].name, all[i].name) == 0)
            join(&all[kept - 1], &all[i]);
        else
            all[kept++] = all[i];
    }
    return kept;
}

static void label_statement(telling *t, const counted *one)
{
    set_labels(t, t->metrics->labels);
    if (t->metrics->options.otel_names)
        add_label(t, "db.system.name", NULL, "postgresql");
    add_label(t, "statement", "db.query.summary", one->name);
    add_label(t, "table", "db.collection.name", one->table);
}

static void tell_counter(telling *t, uint64_t value)
{
    t->metric.value = (double)value;
    t->fn(&t->metric, t->user);
}

static void tell_errors(telling *t, const counted *one)
{
    for (int i = 1; i < STELE__STATUSES; i++) {
        if (one->errors[i] == 0)
            continue;
        label_statement(t, one);
        add_label(t, "status", "error.type", stele_status_name((stele_status)-i));
        tell_counter(t, one->errors[i]);
    }
}

static void tell_statements(telling *t, const counted *all, size_t count)
{
    t->metric = own[DURATION];
    for (size_t i = 0; i < count; i++) {
        label_statement(t, &all[i]);
        tell_latency(t, &all[i].latency);
    }
    t->metric = own[ERRORS];
    for (size_t i = 0; i < count; i++)
        tell_errors(t, &all[i]);
    t->metric = own[ROWS];
    for (size_t i = 0; i < count; i++) {
        label_statement(t, &all[i]);
        tell_counter(t, all[i].rows);
    }
    t->metric = own[ROUND_TRIPS];
    for (size_t i = 0; i < count; i++) {
        label_statement(t, &all[i]);
        tell_counter(t, all[i].round_trips);
    }
}

static void tell_one_latency(telling *t, int which, const stele__histogram *histogram)
{
    stele_latency latency = {0};
    stele__read_histogram(histogram, &latency);
    if (latency.count == 0)
        return;
    t->metric = own[which];
    set_labels(t, t->metrics->labels);
    tell_latency(t, &latency);
}

static stele_status tell_own(telling *t, stele_error *err)
{
    const stele_metrics *metrics = t->metrics;
    counted *all = stele__calloc(metrics->capacity + 1, sizeof *all);
    if (all == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while collecting metrics");
    size_t count = gather(metrics, all);
    tell_statements(t, all, count);
    tell_one_latency(t, PIPELINED, &metrics->pipelined);
    uint64_t batches = __atomic_load_n(&metrics->batches, __ATOMIC_RELAXED);
    if (batches > 0) {
        t->metric = own[BATCHES];
        set_labels(t, metrics->labels);
        tell_counter(t, batches);
    }
    tell_one_latency(t, SWEEP, &metrics->sweep);
    stele__free(all);
    return STELE_OK;
}

/* ---- everything ---- */

stele_status stele_metrics_each(stele_metrics *metrics, stele_metric_fn fn, void *user,
                                stele_error *err)
{
    telling t = {.metrics = metrics, .fn = fn, .user = user};
    stele__collected *rows = NULL;
    if (metrics == NULL || fn == NULL)
        return stele__fail(err, STELE_E_INPUT, "metrics or fn is NULL");
    (void)pthread_mutex_lock(&metrics->lock);
    stele_status st = stele__collect_locked(metrics, &rows, err);
    if (st == STELE_OK)
        st = tell_own(&t, err);
    for (int kind = 0; st == STELE_OK && kind < STELE__PART_KINDS; kind++)
        tell_kind(&t, (stele__part_kind)kind, rows);
    stele__collected_free(rows);
    (void)pthread_mutex_unlock(&metrics->lock);
    return st;
}

void stele_metrics_describe(stele_metric_fn fn, void *user)
{
    for (int i = 0; i < OWN_METRICS; i++)
        fn(&own[i], user);
    for (int kind = 0; kind < STELE__PART_KINDS; kind++) {
        size_t count;
        const stele__field *fields = stele__fields_of((stele__part_kind)kind, &count);
        for (size_t i = 0; i < count; i++) {
            if (fields[i].name == NULL || fields[i].help == NULL)
                continue;
            stele_metric metric = metric_of(&fields[i]);
            fn(&metric, user);
        }
    }
}
