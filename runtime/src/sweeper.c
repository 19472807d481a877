/**
 * Sweepers: options, handles, the thread, runs of the caller's own, numbers, and the end.
 *
 * Floor: sweeper.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "sweeper_internal.h"
#include "text_internal.h"

#include "banned.h"

#define MS 1000000u /* nanoseconds */
/* How often it is asked for a cancel, every 100 ms, before the answer is no longer waited for. */
#define MOST_NUDGES 10
#define DAY_MS (24u * 60 * 60 * 1000)
#define FIVE_MINUTES_MS (5 * 60 * 1000)

/* ---- options ---- */

static void default_to(uint32_t *option, uint32_t value)
{
    if (*option == 0)
        *option = value;
}

static stele_status fill_options(const stele_sweeper_options *given, stele_sweeper_options *ret,
                                 stele_error *err)
{
    static const stele_sweeper_options none = STELE_SWEEPER_OPTIONS_INIT;
    const uint64_t century_ms = 100ull * 366 * 24 * 3600 * 1000;
    if (given == NULL)
        given = &none;
    if (given->size != sizeof *given) {
        stele_status st = stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(
            err, "start from: stele_sweeper_options options = STELE_SWEEPER_OPTIONS_INIT;");
        return st;
    }
    if (given->retention_ms > century_ms ||
        (given->interval_ms > 0 && (uint64_t)given->interval_ms > century_ms))
        return stele__fail(err, STELE_E_INPUT, "%s is more than a hundred years",
                           given->retention_ms > century_ms ? "retention_ms" : "interval_ms");
    if (given->statement_timeout_ms > DAY_MS || given->lock_timeout_ms > DAY_MS)
        return stele__fail(err, STELE_E_INPUT, "%s is more than a day",
                           given->statement_timeout_ms > DAY_MS ? "statement_timeout_ms"
                                                                : "lock_timeout_ms");
    *ret = *given;
    default_to(&ret->batch_rows, 1000);
    default_to(&ret->batch_keys, 500);
    default_to(&ret->rows_per_second, 1000);
    default_to(&ret->batch_ms, 100);
    default_to(&ret->statement_timeout_ms, 5000);
    default_to(&ret->lock_timeout_ms, 100);
    default_to(&ret->max_lag_ms, 10000);
    default_to(&ret->start_jitter_ms, 5000);
    return STELE_OK;
}

static bool has_work(const stele_sweeper_options *options, const stele__sweep_target *target)
{
    for (size_t i = 0; i < target->table_count; i++) {
        const stele_gen_table *table = target->tables[i].table;
        if (table->sweep != NULL || (options->retention_ms > 0 && table->sweep_deleted != NULL))
            return true;
    }
    return false;
}

/* How long to wait between sweeps; 0 is off. */
static uint64_t interval_ms(const stele_sweeper *sweeper)
{
    if (sweeper->options.interval_ms != 0)
        return sweeper->options.interval_ms > 0 ? (uint64_t)sweeper->options.interval_ms : 0;
    for (const stele__sweep_target *one = sweeper->targets; one != NULL; one = one->next)
        if (has_work(&sweeper->options, one))
            return FIVE_MINUTES_MS;
    return 0;
}

/* ---- targets ---- */

static void find_names(const stele_db *db, const char *module, stele__swept_table *table)
{
    const stele__names *names = &db->names->names;
    table->schema = names->schema;
    table->prefix = names->prefix;
    for (size_t i = 0; i < names->pin_count; i++) {
        if (strcmp(names->pins[i].module, module) == 0) {
            table->schema = names->pins[i].schema;
            table->prefix = names->pins[i].prefix;
        }
    }
}

/* One lock for each table of a database, the same in every version of Stele. */
static int64_t lock_of(const stele__swept_table *table)
{
    const char *const parts[] = {"stele.sweep", table->module->name, table->schema, table->prefix,
                                 table->table->name};
    uint64_t key = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        key = stele__hash64(key, parts[i], strlen(parts[i]) + 1);
    return (int64_t)key;
}

static size_t fill_tables(const stele_db *db, stele__swept_table *ret_tables)
{
    size_t n = 0;
    for (size_t i = 0; i < db->module_count; i++) {
        const stele_module *module = db->modules[i];
        for (uint16_t j = 0; j < module->table_count; j++) {
            const stele_gen_table *table = module->tables[j];
            if (table->sweep == NULL && table->sweep_deleted == NULL)
                continue;
            if (ret_tables != NULL) {
                ret_tables[n] = (stele__swept_table){.module = module, .table = table};
                find_names(db, module->name, &ret_tables[n]);
                ret_tables[n].lock = lock_of(&ret_tables[n]);
            }
            n++;
        }
    }
    return n;
}

static stele_status new_target(stele_db *db, stele__sweep_target **ret_target, stele_error *err)
{
    size_t count = fill_tables(db, NULL);
    stele__sweep_target *target =
        stele__calloc(1, sizeof *target + count * sizeof(stele__swept_table));
    if (target == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a sweeper");
    stele_status st = stele_db_derive_policy(db, STELE_DEFAULT, &target->db, err);
    if (st != STELE_OK) {
        stele__free(target);
        return st;
    }
    target->refs = 1;
    target->table_count = fill_tables(target->db, target->tables);
    *ret_target = target;
    return STELE_OK;
}

static void free_target(stele__sweep_target *target)
{
    stele_db_close(target->db);
    stele__free(target);
}

void stele__sweep_target_drop(stele_sweeper *sweeper, stele__sweep_target *target)
{
    (void)pthread_mutex_lock(&sweeper->lock);
    bool last = --target->refs == 0;
    (void)pthread_mutex_unlock(&sweeper->lock);
    if (last)
        free_target(target);
}

static stele__sweep_target **find_target(stele_sweeper *sweeper, const stele_db *db)
{
    stele__sweep_target **at = &sweeper->targets;
    while (*at != NULL &&
           ((*at)->db->pool != db->pool || (*at)->db->names->names.id != db->names->names.id))
        at = &(*at)->next;
    return at;
}

/* ---- sweeping ---- */

/* The lock is held, and given back meanwhile. */
static void sweep_locked(stele_sweeper *sweeper, stele__sweep *sweep)
{
    sweeper->running = true;
    (void)pthread_mutex_unlock(&sweeper->lock);
    stele__sweep_all(sweep);
    (void)pthread_mutex_lock(&sweeper->lock);
    sweeper->running = false;
    sweeper->runs += sweep->report.complete;
    (void)pthread_cond_broadcast(&sweeper->changed);
}

/* The same; the report is the thread's own. */
static void tell_locked(stele_sweeper *sweeper, const stele_sweep_report *report)
{
    if (sweeper->options.on_swept == NULL || sweeper->closing)
        return;
    (void)pthread_mutex_unlock(&sweeper->lock);
    sweeper->options.on_swept(report, sweeper->options.user);
    (void)pthread_mutex_lock(&sweeper->lock);
}

static uint64_t random_below(const stele_sweeper *sweeper, uint64_t below)
{
    uint64_t seed[] = {(uint64_t)stele__now_ns(), (uint64_t)(uintptr_t)sweeper,
                       (uint64_t)sweeper->pid};
    return stele__hash64(0, seed, sizeof seed) % (below > 0 ? below : 1);
}

static void *thread_main(void *arg)
{
    stele_sweeper *sweeper = arg;
    (void)pthread_setname_np(pthread_self(), "stele-sweeper");
    (void)pthread_mutex_lock(&sweeper->lock);
    uint64_t jitter_ns = (uint64_t)sweeper->options.start_jitter_ms * MS;
    uint64_t next = (uint64_t)stele__now_ns() + random_below(sweeper, jitter_ns);
    while (!sweeper->closing) {
        uint64_t interval_ns = interval_ms(sweeper) * MS;
        if (interval_ns == 0 || sweeper->running || (uint64_t)stele__now_ns() < next) {
            (void)stele__cond_wait(&sweeper->changed, &sweeper->lock,
                                   interval_ns == 0 || sweeper->running ? STELE__NEVER : next);
            continue;
        }
        stele__sweep sweep = {.sweeper = sweeper, .yields = true, .deadline = STELE__NEVER};
        sweep_locked(sweeper, &sweep);
        tell_locked(sweeper, &sweep.report);
        next = (uint64_t)stele__now_ns() + interval_ns - interval_ns / 5 +
               random_below(sweeper, 2 * (interval_ns / 5));
    }
    sweeper->thread_ended = true;
    (void)pthread_cond_broadcast(&sweeper->changed);
    (void)pthread_mutex_unlock(&sweeper->lock);
    return NULL;
}

static bool start_thread_locked(stele_sweeper *sweeper)
{
    sigset_t all;
    sigset_t kept;
    if (sweeper->has_thread || interval_ms(sweeper) == 0)
        return true;
    /* Signals are the application's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &kept);
    sweeper->has_thread = pthread_create(&sweeper->thread, NULL, thread_main, sweeper) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &kept, NULL);
    return sweeper->has_thread;
}

static stele_status check_fork(const stele_sweeper *sweeper, stele_error *err)
{
    if (sweeper->pid == getpid())
        return STELE_OK;
    return stele__fail(err, STELE_E_FORKED, "the sweeper was opened before a fork");
}

/* Waits for its turn: true when it has come. The lock is held. */
static bool wait_for_turn(stele_sweeper *sweeper, stele__deadline deadline)
{
    __atomic_fetch_add(&sweeper->waiting, 1, __ATOMIC_RELAXED);
    (void)pthread_cond_broadcast(&sweeper->changed);
    while (sweeper->running && !sweeper->closing && (uint64_t)stele__now_ns() < deadline)
        (void)stele__cond_wait(&sweeper->changed, &sweeper->lock, deadline);
    __atomic_fetch_sub(&sweeper->waiting, 1, __ATOMIC_RELAXED);
    return !sweeper->running && !sweeper->closing;
}

static stele_status run_locked(stele_sweeper *sweeper, stele__sweep *sweep, stele_error *err)
{
    if (!sweeper->closing && wait_for_turn(sweeper, sweep->deadline))
        sweep_locked(sweeper, sweep);
    if (sweeper->closing)
        return stele__fail(err, STELE_E_CLOSED, "the sweeper is being closed");
    if (sweep->first_failure != STELE_OK) {
        if (err != NULL)
            *err = sweep->error;
        return sweep->first_failure;
    }
    if (!sweep->report.complete)
        return stele__fail(err, STELE_E_TIMEOUT, "the deadline came before the end of the sweep");
    return STELE_OK;
}

stele_status stele_sweeper_run(stele_sweeper *sweeper, uint32_t deadline_ms,
                               stele_sweep_report *ret_report, stele_error *err)
{
    stele__sweep sweep = {.sweeper = sweeper,
                          .deadline =
                              deadline_ms > 0 ? stele__deadline_in(deadline_ms) : STELE__NEVER};
    stele_status st = check_fork(sweeper, err);
    if (st != STELE_OK)
        return st;
    (void)pthread_mutex_lock(&sweeper->lock);
    sweeper->callers++;
    st = run_locked(sweeper, &sweep, err);
    sweeper->callers--;
    (void)pthread_cond_broadcast(&sweeper->changed);
    (void)pthread_mutex_unlock(&sweeper->lock);
    if (ret_report != NULL)
        *ret_report = sweep.report;
    return st;
}

/* ---- opening ---- */

static bool init_locks(stele_sweeper *sweeper)
{
    return stele__cond_init(&sweeper->changed) && pthread_mutex_init(&sweeper->lock, NULL) == 0;
}

static stele_status add_locked(stele_sweeper *sweeper, stele_db *db, stele__sweep_target *target,
                               bool *ret_used, stele_error *err)
{
    stele__sweep_target **at = find_target(sweeper, db);
    *ret_used = *at == NULL;
    if (*at == NULL)
        *at = target;
    if (start_thread_locked(sweeper)) {
        (void)pthread_cond_broadcast(&sweeper->changed);
        return STELE_OK;
    }
    if (*ret_used)
        *at = NULL;
    *ret_used = false;
    return stele__fail(err, STELE_E_NOMEM, "cannot start the sweeper's thread");
}

stele_status stele_sweeper_add(stele_sweeper *sweeper, stele_db *db, stele_error *err)
{
    stele__sweep_target *target = NULL;
    bool used = false;
    if (db == NULL)
        return stele__fail(err, STELE_E_INPUT, "db is NULL");
    stele_status st = check_fork(sweeper, err);
    if (st == STELE_OK)
        st = new_target(db, &target, err);
    if (st != STELE_OK)
        return st;
    (void)pthread_mutex_lock(&sweeper->lock);
    st = add_locked(sweeper, db, target, &used, err);
    (void)pthread_mutex_unlock(&sweeper->lock);
    if (!used)
        free_target(target);
    return st;
}

stele_status stele_sweeper_remove(stele_sweeper *sweeper, stele_db *db, stele_error *err)
{
    if (db == NULL)
        return stele__fail(err, STELE_E_INPUT, "db is NULL");
    stele_status st = check_fork(sweeper, err);
    if (st != STELE_OK)
        return st;
    (void)pthread_mutex_lock(&sweeper->lock);
    stele__sweep_target **at = find_target(sweeper, db);
    stele__sweep_target *target = *at;
    if (target != NULL) {
        *at = target->next;
        target->removed = true;
    }
    (void)pthread_mutex_unlock(&sweeper->lock);
    if (target == NULL)
        return stele__fail(err, STELE_E_NOT_FOUND, "the sweeper has no tables of this handle");
    stele__sweep_target_drop(sweeper, target);
    return STELE_OK;
}

static void free_sweeper(stele_sweeper *sweeper)
{
    while (sweeper->targets != NULL) {
        stele__sweep_target *target = sweeper->targets;
        sweeper->targets = target->next;
        free_target(target);
    }
    (void)pthread_cond_destroy(&sweeper->changed);
    (void)pthread_mutex_destroy(&sweeper->lock);
    stele__free(sweeper);
}

stele_status stele_sweeper_open(stele_db *db, const stele_sweeper_options *options,
                                stele_sweeper **ret_sweeper, stele_error *err)
{
    stele_sweeper_options chosen;
    if (db == NULL || ret_sweeper == NULL)
        return stele__fail(err, STELE_E_INPUT, "db or ret_sweeper is NULL");
    stele_status st = fill_options(options, &chosen, err);
    if (st != STELE_OK)
        return st;
    stele_sweeper *sweeper = stele__calloc(1, sizeof *sweeper);
    if (sweeper == NULL || !init_locks(sweeper)) {
        stele__free(sweeper);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a sweeper");
    }
    sweeper->options = chosen;
    sweeper->pid = getpid();
    sweeper->filled_ns = (uint64_t)stele__now_ns();
    st = stele_sweeper_add(sweeper, db, err);
    if (st != STELE_OK)
        free_sweeper(sweeper);
    else
        *ret_sweeper = sweeper;
    return st;
}

/* ---- numbers ---- */

static void add_stats(stele_sweep_stats *sum, const stele_sweep_table_stats *one)
{
    sum->expired += one->expired;
    sum->followed += one->followed;
    sum->purged += one->purged;
    sum->partitions += one->partitions;
    sum->batches += one->batches;
    sum->skipped += one->skipped;
    sum->blocked += one->blocked;
    sum->failures += one->failures;
    sum->elsewhere += one->elsewhere;
    sum->batch_ns += one->batch_ns;
    if (one->oldest_ms > sum->oldest_ms)
        sum->oldest_ms = one->oldest_ms;
    sum->tables++;
}

void stele_sweeper_stats(const stele_sweeper *sweeper, stele_sweep_stats *ret_stats)
{
    stele_sweeper *own = (stele_sweeper *)(uintptr_t)sweeper; /* to lock it */
    memset(ret_stats, 0, sizeof *ret_stats);
    (void)pthread_mutex_lock(&own->lock);
    for (const stele__sweep_target *one = own->targets; one != NULL; one = one->next)
        for (size_t i = 0; i < one->table_count; i++)
            add_stats(ret_stats, &one->tables[i].stats);
    ret_stats->runs = own->runs;
    ret_stats->paused_ms = own->paused_ms;
    ret_stats->waited_ms = own->waited_ms;
    ret_stats->running = own->running;
    (void)pthread_mutex_unlock(&own->lock);
}

void stele_sweeper_each(const stele_sweeper *sweeper,
                        void (*fn)(const stele_sweep_place *place,
                                   const stele_sweep_table_stats *stats, void *user),
                        void *user)
{
    stele_sweeper *own = (stele_sweeper *)(uintptr_t)sweeper; /* to lock it */
    (void)pthread_mutex_lock(&own->lock);
    for (const stele__sweep_target *one = own->targets; one != NULL; one = one->next) {
        for (size_t i = 0; i < one->table_count; i++) {
            stele_sweep_place place = stele__sweep_place_of(&one->tables[i], STELE_SWEEP_EXPIRED);
            fn(&place, &one->tables[i].stats, user);
        }
    }
    (void)pthread_mutex_unlock(&own->lock);
}

/* ---- closing ---- */

static bool is_busy(const stele_sweeper *sweeper)
{
    return sweeper->callers > 0 || (sweeper->has_thread && !sweeper->thread_ended);
}

/* Everyone leaves by themselves after one transaction, and that one is canceled when it takes too
 * long: while it is leased here, nobody else can have the connection. */
static bool wait_for_all_locked(stele_sweeper *sweeper, uint32_t deadline_ms)
{
    stele__deadline deadline = stele__deadline_in(deadline_ms);
    uint32_t nudges = 0;
    bool canceled = false;
    while (is_busy(sweeper)) {
        if ((uint64_t)stele__now_ns() >= deadline) {
            if (nudges++ >= MOST_NUDGES)
                __atomic_store_n(&sweeper->cut, true, __ATOMIC_RELAXED);
            if (sweeper->conn != NULL) {
                canceled = true;
                stele__pool_nudge(sweeper->conn);
            }
            deadline = stele__deadline_in(100); /* a request may come between two statements */
        }
        (void)stele__cond_wait(&sweeper->changed, &sweeper->lock, deadline);
    }
    return !canceled;
}

stele_status stele_sweeper_close(stele_sweeper *sweeper, uint32_t deadline_ms, stele_error *err)
{
    if (sweeper == NULL)
        return STELE_OK;
    stele_status st = check_fork(sweeper, err);
    if (st != STELE_OK)
        return st;
    (void)pthread_mutex_lock(&sweeper->lock);
    __atomic_store_n(&sweeper->closing, true, __ATOMIC_RELAXED);
    (void)pthread_cond_broadcast(&sweeper->changed);
    bool in_time = wait_for_all_locked(sweeper, deadline_ms);
    (void)pthread_mutex_unlock(&sweeper->lock);
    if (sweeper->has_thread)
        (void)pthread_join(sweeper->thread, NULL);
    free_sweeper(sweeper);
    if (in_time)
        return STELE_OK;
    return stele__fail(err, STELE_E_TIMEOUT,
                       "a transaction of the sweeper was canceled: its rows are left as they were");
}
