/**
 * Storing what a lane has gathered: which units go together, how they are sent, and what an answer
 * means for each.
 *
 * Units of a gathering are stored from the first to the last, `window` of them at most in one
 * transaction. One that is refused is left out: those before it are stored, then those behind it.
 * So a gathering is sent twice at worst, however many of its units are bad, and order is never
 * given up.
 *
 * Floor: persist.
 */
#define _GNU_SOURCE
#include <string.h>

#include "latency_internal.h"
#include "persist_internal.h"
#include "status_internal.h"
#include "stele/bulk.h"
#include "text_internal.h"

#include "banned.h"

/* Fewer inserts of a kind are not worth a statement of their own. */
#define BULK_LEAST 8
/* So many are, even if others follow that cannot go with them. */
#define BULK_ALONE 64

#define ACQUIRE_MS 1000u /* at a time: closing is looked for in between */
#define BACKOFF_MS 5u
#define BACKOFF_MAX_MS 1000u

/* What an attempt came to. */
typedef enum verdict {
    STORED,
    REFUSED,  /* by the fault of one unit, perhaps not known which */
    NOT_NOW,  /* nothing is stored; it may be later */
    UNCLEAR,  /* it may be stored */
    HOPELESS, /* nothing is stored, nor will it be */
} verdict;

typedef struct gathering {
    stele_persist *persist;
    uint32_t lane;
    stele_unit **units;
    size_t count;
    size_t from;    /* those before are done with */
    size_t window;  /* at most in one transaction */
    size_t suspect; /* a bad one is among those before this, it is not known which; 0: none */
    bool no_bulk;   /* a statement for many failed: who is at fault shows one by one */
    stele_conn *conn;
    stele_pipeline *pipeline;
    stele__deadline give_up; /* STELE__NEVER: nothing has failed yet */
    uint32_t attempts;       /* in vain, since something was stored */
    uint64_t seed;
    stele_commit_stats stats; /* to be added */
} gathering;

#define NO_UNIT SIZE_MAX

/* ---- connections ---- */

static bool is_late(const stele_persist *persist)
{
    return __atomic_load_n(&persist->late, __ATOMIC_RELAXED);
}

/* Shows the connection to who closes, or hides it. */
static void show(gathering *g, stele_conn *conn)
{
    (void)pthread_mutex_lock(&g->persist->lock);
    g->persist->conns[g->lane] = conn;
    (void)pthread_mutex_unlock(&g->persist->lock);
}

static void hang_up(gathering *g)
{
    stele_pipeline_close(g->pipeline);
    g->pipeline = NULL;
    if (g->conn == NULL)
        return;
    show(g, NULL);
    stele__conn_heed(g->conn, NULL);
    stele_conn_release(g->conn);
    g->conn = NULL;
}

static stele_status connect(gathering *g, stele_error *err)
{
    if (g->conn != NULL)
        return STELE_OK;
    stele_status st =
        stele_db_acquire_at(g->persist->db, ACQUIRE_MS, __FILE__, __LINE__, &g->conn, err);
    if (st != STELE_OK)
        return st;
    stele__conn_heed(g->conn, &g->persist->cut);
    show(g, g->conn);
    return STELE_OK;
}

/* ---- which units go together ---- */

/* Whether a unit can be sent in one statement with another. */
static bool is_like(const stele_unit *unit, const stele_unit *other)
{
    return unit->bulk == other->bulk && unit->skip_conflicts == other->skip_conflicts &&
           memcmp(unit->first->states, other->first->states, unit->first->stmt->param_count) == 0;
}

/* From the next unit on: those that are alike and can go in one statement. */
static size_t run_of(const gathering *g, size_t most)
{
    const stele_unit *first = g->units[g->from];
    size_t n = 1;
    if (first->bulk == NULL)
        return 0;
    while (n < most && is_like(g->units[g->from + n], first))
        n++;
    return n;
}

/* Units of one transaction, up to the next that is done with; true if they go as one statement. */
static bool choose(const gathering *g, size_t *ret_count)
{
    size_t most = 1;
    while (most < g->window && g->from + most < g->count &&
           g->units[g->from + most]->status == STELE_OK)
        most++;
    size_t run = run_of(g, most);
    bool must = g->units[g->from]->skip_conflicts;
    bool worth = run >= BULK_ALONE || (run >= BULK_LEAST && run == most);
    *ret_count = run;
    if (run > 0 && (must || (worth && !g->no_bulk)))
        return true;
    size_t n = 1;
    while (n < most && !g->units[g->from + n]->skip_conflicts)
        n++;
    *ret_count = n;
    return false;
}

/* ---- sending ---- */

static stele_status queue_unit(gathering *g, stele_unit *unit, stele_error *err)
{
    stele_status st = STELE_OK;
    size_t i = 0;
    for (const stele__write *one = unit->first; one != NULL && st == STELE_OK; one = one->next) {
        stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC, .count = &unit->affected[i++]};
        st = stele_gen_queue(g->pipeline, one->stmt, one->args, one->flags, &slot, err);
    }
    return st;
}

/* The unit that an entry of the pipeline belongs to. */
static size_t unit_of(const gathering *g, size_t count, size_t entry)
{
    size_t before = 0;
    for (size_t i = 0; i < count && entry != STELE_NO_ENTRY; i++) {
        before += g->units[g->from + i]->count;
        if (entry < before)
            return i;
    }
    return NO_UNIT;
}

static stele_status send_pipeline(gathering *g, size_t count, size_t *ret_bad, stele_error *err)
{
    stele_status st = STELE_OK;
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.max_in_flight = UINT32_MAX; /* a gathering is bounded, and its answers are few bytes */
    if (g->pipeline == NULL)
        st = stele_pipeline_open(g->conn, &options, &g->pipeline, err);
    for (size_t i = 0; i < count && st == STELE_OK; i++) {
        st = queue_unit(g, g->units[g->from + i], err);
        if (st != STELE_OK)
            *ret_bad = i;
    }
    if (st != STELE_OK) { /* nothing is stored: no Sync was sent */
        stele_pipeline_close(g->pipeline);
        g->pipeline = NULL;
        return st;
    }
    st = stele_pipeline_sync(g->pipeline, err);
    if (st != STELE_OK)
        *ret_bad = unit_of(g, count, stele_pipeline_failed_entry(g->pipeline));
    return st;
}

static void note_bad_row(size_t index, const stele_error *why, void *user)
{
    gathering *g = user;
    stele__unit_fail(g->units[g->from + index], why->status, why);
}

static void forgive(gathering *g, size_t count)
{
    for (size_t i = 0; i < count; i++)
        g->units[g->from + i]->status = STELE_OK;
}

/* Rows that a statement for many wrote: one each, unless some were left alone. */
static void count_rows(gathering *g, size_t count, const stele_bulk_report *report)
{
    uint64_t each = 1;
    if (report->skipped > 0)
        each = report->inserted == 0 ? 0 : STELE_AFFECTED_UNKNOWN;
    for (size_t i = 0; i < count; i++)
        g->units[g->from + i]->affected[0] = each;
}

static stele_status send_bulk(gathering *g, size_t count, size_t *ret_bad, stele_error *err)
{
    const stele_unit *first = g->units[g->from];
    const stele_gen_bulk *bulk = first->bulk;
    stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
    stele_bulk_report report;
    options.mode = STELE_BULK_KEEP_GOOD;
    options.skip_conflicts = first->skip_conflicts;
    options.on_bad_row = note_bad_row;
    options.user = g;
    char *inputs = stele__calloc(count, bulk->input_size);
    if (inputs == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for %zu rows", count);
    for (size_t i = 0; i < count; i++) {
        const stele__write *one = g->units[g->from + i]->first;
        size_t size = one->input_size < bulk->input_size ? one->input_size : bulk->input_size;
        memcpy(inputs + i * bulk->input_size, one->args[0], size);
    }
    stele_status st =
        stele_gen_insert_many(g->conn, bulk, inputs, count, &options, &report, NULL, err);
    stele__free(inputs);
    if (st == STELE_OK) {
        count_rows(g, count, &report);
        return STELE_OK;
    }
    forgive(g, count); /* all are sent again */
    g->no_bulk = true;
    *ret_bad = NO_UNIT;
    return st;
}

static verdict judge(const gathering *g, stele_status st, const stele_error *err)
{
    if (st == STELE_OK)
        return STORED;
    if (err->outcome_unknown || st == STELE_E_UNKNOWN)
        return UNCLEAR;
    if (err->retryable)
        return NOT_NOW;
    switch (st) {
    case STELE_E_LOST:
    case STELE_E_CONNECT:
    case STELE_E_BUSY:
    case STELE_E_TIMEOUT:
    case STELE_E_READ_ONLY:
    case STELE_E_SERIALIZATION:
        return NOT_NOW;
    case STELE_E_CANCELED:
        return is_late(g->persist) ? NOT_NOW : REFUSED;
    default:
        return REFUSED;
    }
}

static verdict attempt(gathering *g, size_t *ret_count, size_t *ret_bad, stele_error *err)
{
    bool as_one = choose(g, ret_count);
    uint64_t began = (uint64_t)stele__now_ns();
    *ret_bad = NO_UNIT;
    stele_error_clear(err);
    stele_status st = connect(g, err);
    if (st == STELE_E_AUTH || st == STELE_E_CLOSED || st == STELE_E_FORKED)
        return HOPELESS;
    if (st != STELE_OK)
        return NOT_NOW;
    st = as_one ? send_bulk(g, *ret_count, ret_bad, err)
                : send_pipeline(g, *ret_count, ret_bad, err);
    verdict what = judge(g, st, err);
    if (what == UNCLEAR || what == NOT_NOW)
        hang_up(g);
    if (what != STORED)
        return what;
    uint64_t took = (uint64_t)stele__now_ns() - began;
    g->stats.batches++;
    g->stats.bulk += as_one;
    g->stats.batch_ns += took;
    if (took > g->stats.longest_batch_ns)
        g->stats.longest_batch_ns = took;
    return STORED;
}

/* ---- what it means for the units ---- */

static void note_stored(gathering *g, const stele_unit *unit, uint64_t now)
{
    uint64_t took = now - unit->put_ns;
    g->stats.stored++;
    g->stats.statements += unit->count;
    stele__latency_add(&g->stats.ack, took);
    if (took > g->stats.longest_ack_ns)
        g->stats.longest_ack_ns = took;
}

/* A refusal of what may have been stored before says nothing: it may have met itself. */
static void settle(stele_unit *unit)
{
    if (unit->status == STELE_OK || unit->status == STELE_E_UNKNOWN || !unit->unclear)
        return;
    unit->status = STELE_E_UNKNOWN;
    if (unit->why != NULL) {
        unit->why->status = STELE_E_UNKNOWN;
        unit->why->outcome_unknown = true;
    }
}

static void add_stats(gathering *g)
{
    stele_commit_stats *sum = &g->persist->stats;
    const stele_commit_stats *more = &g->stats;
    (void)pthread_mutex_lock(&g->persist->lock);
    sum->stored += more->stored;
    sum->failed += more->failed;
    sum->unknown += more->unknown;
    sum->forgotten += more->forgotten;
    sum->statements += more->statements;
    sum->batches += more->batches;
    sum->bulk += more->bulk;
    sum->refusals += more->refusals;
    sum->retries += more->retries;
    sum->replayed += more->replayed;
    sum->batch_ns += more->batch_ns;
    stele__latency_join(&sum->ack, &more->ack);
    if (more->longest_batch_ns > sum->longest_batch_ns)
        sum->longest_batch_ns = more->longest_batch_ns;
    if (more->longest_ack_ns > sum->longest_ack_ns)
        sum->longest_ack_ns = more->longest_ack_ns;
    (void)pthread_mutex_unlock(&g->persist->lock);
    memset(&g->stats, 0, sizeof g->stats);
}

/* Tells what became of the next units, and is done with them. */
static void complete(gathering *g, size_t count)
{
    uint64_t now = (uint64_t)stele__now_ns();
    for (size_t i = 0; i < count; i++) {
        stele_unit *unit = g->units[g->from + i];
        settle(unit);
        if (unit->status == STELE_OK)
            note_stored(g, unit, now);
        else if (unit->status == STELE_E_UNKNOWN)
            g->stats.unknown++;
        else
            g->stats.failed++;
        if (unit->status != STELE_OK)
            g->stats.forgotten += stele__unit_is_forgotten(unit);
    }
    size_t from = g->from;
    g->from += count;
    add_stats(g);
    for (size_t i = 0; i < count; i++) {
        stele__unit_tell(g->persist, g->units[from + i]);
        stele_unit_free(g->units[from + i]);
    }
}

/* Leaves the rest of a gathering to who closes. */
static void leave_rest(gathering *g)
{
    while (g->from < g->count) {
        stele_unit *unit = g->units[g->from];
        if (unit->status != STELE_OK) {
            complete(g, 1);
            continue;
        }
        g->from++;
        stele__persist_leave(g->persist, unit);
    }
}

/* Waits a little, longer each time, and at random so that lanes do not meet again. */
static void back_off(gathering *g)
{
    uint32_t shift = g->attempts < 8 ? g->attempts : 8;
    uint32_t most = BACKOFF_MS << shift;
    stele_persist *persist = g->persist;
    g->attempts++;
    g->seed = stele__hash64(g->seed, &g->attempts, sizeof g->attempts);
    uint64_t ns = g->seed % ((most < BACKOFF_MAX_MS ? most : BACKOFF_MAX_MS) * 1000000ull);
    uint64_t until = (uint64_t)stele__now_ns() + ns;
    (void)pthread_mutex_lock(&persist->lock);
    while (!persist->late && (uint64_t)stele__now_ns() < until)
        (void)stele__cond_wait(&persist->changed, &persist->lock, until);
    (void)pthread_mutex_unlock(&persist->lock);
}

static void fail_all(gathering *g, size_t count, const stele_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (g->units[g->from + i]->status == STELE_OK)
            stele__unit_fail(g->units[g->from + i], err->status, err);
    complete(g, count);
}

/* Nothing of the next units is stored, or it was noted which may be: they are tried again. */
static void try_again(gathering *g, size_t count, const stele_error *err)
{
    if (is_late(g->persist))
        return;
    if (g->give_up == STELE__NEVER)
        g->give_up = stele__deadline_in(g->persist->options.retry_ms);
    if ((uint64_t)stele__now_ns() >= g->give_up) {
        fail_all(g, count, err);
        return;
    }
    g->stats.retries++;
    add_stats(g); /* who looks while the server is away sees it */
    if (err->status == STELE_E_SERIALIZATION || err->status == STELE_E_TIMEOUT)
        g->window = count > 1 ? count / 2 : 1;
    back_off(g);
}

static bool has_same_key(const stele_unit *one, const stele_unit *other)
{
    return one->key != NULL && other->key != NULL && one->key_len == other->key_len &&
           memcmp(one->key, other->key, one->key_len) == 0;
}

/* Whether a unit that may be stored may be stored again: then no later one of its key would be lost
 * under it. Those behind it were judged already. */
static bool may_replay(const gathering *g, size_t index, size_t count)
{
    const stele_unit *unit = g->units[g->from + index];
    if (!unit->idempotent)
        return false;
    for (size_t i = index + 1; i < count; i++) {
        const stele_unit *later = g->units[g->from + i];
        if (later->status != STELE_OK && has_same_key(unit, later))
            return false;
    }
    return true;
}

static void sort_out(gathering *g, size_t count, const stele_error *err)
{
    bool late = is_late(g->persist);
    for (size_t i = count; i-- > 0;) {
        stele_unit *unit = g->units[g->from + i];
        if (late || may_replay(g, i, count)) {
            unit->unclear = true;
            g->stats.replayed += !late;
        } else {
            stele__unit_fail(unit, STELE_E_UNKNOWN, err);
        }
    }
}

static void refuse(gathering *g, size_t count, size_t bad, const stele_error *err)
{
    g->stats.refusals++;
    if (bad == NO_UNIT && count == 1)
        bad = 0;
    g->window = count > 1 ? count / 2 : 1;
    if (bad == NO_UNIT) {
        g->suspect = g->from + count;
        return;
    }
    if (bad > g->window)
        g->window = bad;
    g->suspect = 0;
    stele__unit_fail(g->units[g->from + bad], err->status, err);
}

/* More at a time, unless a bad one is still looked for: then half of those it is among. */
static void widen(gathering *g)
{
    if (g->from < g->suspect)
        g->window = g->suspect - g->from > 1 ? (g->suspect - g->from) / 2 : 1;
    else
        g->window = g->window < g->count ? 2 * g->window : g->count;
}

static void store_next(gathering *g)
{
    stele_error err;
    size_t count;
    size_t bad;
    switch (attempt(g, &count, &bad, &err)) {
    case STORED:
        g->attempts = 0;
        g->give_up = STELE__NEVER;
        complete(g, count);
        widen(g);
        break;
    case REFUSED:
        refuse(g, count, bad, &err);
        break;
    case NOT_NOW:
        try_again(g, count, &err);
        break;
    case UNCLEAR:
        sort_out(g, count, &err);
        try_again(g, count, &err);
        break;
    case HOPELESS:
        fail_all(g, count, &err);
        break;
    }
}

void stele__persist_run(uint32_t lane, void *const *items, size_t count, void *user)
{
    gathering g = {
        .persist = user,
        .lane = lane,
        .units = (stele_unit **)(uintptr_t)items,
        .count = count,
        .window = count,
        .give_up = STELE__NEVER,
        .seed = (uint64_t)stele__now_ns() + lane,
    };
    while (g.from < g.count) {
        if (g.units[g.from]->status != STELE_OK)
            complete(&g, 1);
        else if (is_late(g.persist))
            leave_rest(&g);
        else
            store_next(&g);
    }
    hang_up(&g);
    add_stats(&g);
}
