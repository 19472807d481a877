/**
 * Counting statements, from any number of threads, without a lock.
 *
 * Floor: metrics.
 */
#include <string.h>

#include "latency_internal.h"
#include "mem_internal.h"
#include "metrics_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define FREE 0u
#define BEING_MADE 1u
#define THERE 2u
#define LOOKS 16 /* places a statement may be at; past them it is counted with the rest */

static void add(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static uint64_t look(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* ---- histograms ---- */

static void observe_latency(stele__histogram *histogram, uint64_t ns)
{
    add(&histogram->buckets[stele__latency_bucket(ns)], 1);
    add(&histogram->sum_ns, ns);
}

void stele__read_histogram(const stele__histogram *histogram, stele_latency *latency)
{
    latency->sum_ns += look(&histogram->sum_ns);
    for (size_t i = 0; i < STELE_LATENCY_BUCKETS; i++) {
        uint64_t n = look(&histogram->buckets[i]);
        latency->buckets[i] += n;
        latency->count += n; /* so that the buckets always add up to it */
    }
}

/* ---- statements ---- */

static bool is_it(const stele__statement *one, const stele_query_event *event)
{
    return strncmp(one->name, event->statement, sizeof one->name - 1) == 0;
}

static void make(stele__statement *one, const stele_query_event *event)
{
    (void)stele__copy_text(one->name, sizeof one->name, event->statement);
    (void)stele__copy_text(one->table, sizeof one->table, event->table);
    __atomic_store_n(&one->state, THERE, __ATOMIC_RELEASE);
}

/* Two threads may make the same statement at two places at the same time: samples add them up. */
static stele__statement *find(stele_metrics *metrics, const stele_query_event *event)
{
    const uint64_t address = (uint64_t)(uintptr_t)event->statement;
    size_t at = (size_t)((address * 0x9e3779b97f4a7c15u) >> 32);
    for (int i = 0; i < LOOKS; i++, at++) {
        stele__statement *one = &metrics->statements[at & (metrics->capacity - 1)];
        uint32_t state = __atomic_load_n(&one->state, __ATOMIC_ACQUIRE);
        if (state == FREE && __atomic_compare_exchange_n(&one->state, &state, BEING_MADE, false,
                                                         __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
            make(one, event);
            return one;
        }
        if (state == THERE && is_it(one, event))
            return one;
    }
    return &metrics->statements[metrics->capacity];
}

void stele_metrics_on_query(const stele_query_event *event, void *user)
{
    stele_metrics *metrics = user;
    stele__statement *one = find(metrics, event);
    observe_latency(&one->latency, event->duration_ns);
    if (event->rows > 0)
        add(&one->rows, event->rows);
    if (event->round_trips > 0)
        add(&one->round_trips, event->round_trips);
    if (event->status < 0 && -(int)event->status < STELE__STATUSES)
        add(&one->errors[-(int)event->status], 1);
    if (event->batch == 0)
        return;
    observe_latency(&metrics->pipelined, event->duration_ns);
    if (event->round_trips > 0) /* those of the whole batch, with its first entry */
        add(&metrics->batches, 1);
}

void stele_metrics_on_sweep(const stele_sweep_place *place, const stele_sweep_batch *batch,
                            void *user)
{
    stele_metrics *metrics = user;
    (void)place;
    observe_latency(&metrics->sweep, batch->ns);
}
