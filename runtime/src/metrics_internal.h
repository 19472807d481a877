/**
 * The inside of the registry: what there is to measure, what was added, and what was collected.
 *
 * Floor: metrics.
 */
#ifndef STELE_METRICS_INSIDE_H
#define STELE_METRICS_INSIDE_H

#include <pthread.h>

#include "stele/metrics.h"

#define STELE__LABELS 16 /* of one sample, at most */

/** What a row of numbers is about: each kind has a struct. */
typedef enum stele__part_kind {
    STELE__PART_POOL,
    STELE__PART_SWEEPER,
    STELE__PART_SWEPT_TABLE, /* collected with the sweeper */
    STELE__PART_LANES,
    STELE__PART_PERSIST,
    STELE__PART_JOBS,
    STELE__PART_LISTENER,
    STELE__PART_DOORBELL,
    STELE__PART_KINDS
} stele__part_kind;

typedef enum stele__number_kind {
    STELE__NUMBER_U32,
    STELE__NUMBER_U64,
    STELE__NUMBER_I64,
    STELE__NUMBER_BOOL,
    STELE__NUMBER_LATENCY /* of histograms */
} stele__number_kind;

/** One number of a part's struct, and what it is called. Rows of one name stand together. */
typedef struct stele__field {
    const char *name; /* NULL: only summed up for snapshots */
    const char *help; /* of the first row of a name */
    const char *otel; /* or NULL */
    const char *label;
    const char *otel_label;
    const char *label_value;
    stele_metric_type type;
    const char *unit;
    double scale; /* divides */
    uint16_t offset;
    uint8_t kind;
    bool greatest;         /* of several parts the greatest counts, not the sum */
    uint16_t count_offset; /* of summaries */
    uint8_t count_kind;
} stele__field;

/** The rows of a kind. */
const stele__field *stele__fields_of(stele__part_kind kind, size_t *ret_count);

double stele__read_number(const void *stats, uint16_t offset, uint8_t kind);

/** Adds the numbers of one struct to those of another of its kind. */
void stele__sum_up(stele__part_kind kind, void *sum, const void *stats);

/** A union large enough, and aligned, for all structs. */
typedef union stele__part_stats {
    stele_pool_stats pool;
    stele_sweep_stats sweeper;
    stele_sweep_table_stats table;
    stele_lane_stats lanes;
    stele_commit_stats persist;
    stele_job_stats jobs;
    stele_listen_stats listener;
    stele_bell_stats doorbell;
} stele__part_stats;

/** Labels with their texts, in one piece of memory. */
typedef struct stele__label_set {
    size_t count;
    stele_label labels[STELE__LABELS];
} stele__label_set;

typedef struct stele__part {
    struct stele__part *next;
    stele__part_kind kind;
    const void *handle;
    stele__label_set *labels;
} stele__part;

/** The numbers of one part, or one of its tables, as they were collected. */
typedef struct stele__collected {
    struct stele__collected *next;
    stele__part_kind kind;
    stele__label_set *labels; /* of all that the sample has */
    bool owns_labels;
    stele__part_stats stats;
} stele__collected;

/* ---- statements ---- */

/** Latencies that any number of threads add to. */
typedef struct stele__histogram {
    uint64_t sum_ns;
    uint64_t buckets[STELE_LATENCY_BUCKETS];
} stele__histogram;

/** Adds what was counted so far. */
void stele__read_histogram(const stele__histogram *histogram, stele_latency *latency);

#define STELE__STATUSES 32 /* negative ones that exist, and room */

typedef struct stele__statement {
    uint32_t state; /* 0 free, 1 being made, 2 there */
    char name[2 * STELE_NAME_SIZE];
    char table[STELE_NAME_SIZE];
    stele__histogram latency;
    uint64_t rows;
    uint64_t round_trips;
    uint64_t errors[STELE__STATUSES];
} stele__statement;

struct stele_metrics {
    stele_metrics_options options;
    stele__label_set *labels;
    pthread_mutex_t lock; /* of the parts */
    stele__part *parts;
    /* without the lock */
    stele__histogram pipelined;
    stele__histogram sweep;
    uint64_t batches;
    size_t capacity; /* of `statements`, a power of two; one more takes the rest */
    stele__statement *statements;
};

/* ---- metrics_collect.c ---- */

/** Numbers of all parts, in the order of kinds. The lock is held. */
stele_status stele__collect_locked(const stele_metrics *metrics, stele__collected **ret_first,
                                   stele_error *err);
void stele__collected_free(stele__collected *first);

/** Labels of both, and of up to four more. NULL when memory is out, or there are too many. */
stele__label_set *stele__join_labels(const stele__label_set *a, const stele_label *more,
                                     size_t count);

#endif
