/**
 * Filling and ending batches.
 *
 * Floor: pipeline.
 */
#include "mem_internal.h"
#include "page_internal.h"
#include "pipeline_internal.h"
#include "status_internal.h"

#include "banned.h"

#define MAX_IN_FLIGHT 256
#define MAX_BYTES 65536u

/* How long giving up a batch that was sent in part may take. */
#define DISCARD_MS 5000

/* ---- opening ---- */

static void leave(stele__holder *holder);

stele_status stele_pipeline_open(stele_conn *conn, const stele_pipeline_options *options,
                                 stele_pipeline **ret_pipeline, stele_error *err)
{
    if (conn == NULL || ret_pipeline == NULL)
        return stele__fail(err, STELE_E_INPUT, "conn or ret_pipeline is NULL");
    if (options != NULL && options->size != sizeof *options)
        return stele__fail(err, STELE_E_INPUT, "options not made by STELE_PIPELINE_OPTIONS_INIT");
    stele_pipeline *p = stele__calloc(1, sizeof *p);
    if (p == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a pipeline");
    p->holder.what = "a pipeline with entries that were not synced";
    p->holder.leave = leave;
    p->conn = conn;
    if (options != NULL)
        p->options = *options;
    if (p->options.max_in_flight == 0)
        p->options.max_in_flight = MAX_IN_FLIGHT;
    if (p->options.max_bytes == 0)
        p->options.max_bytes = MAX_BYTES;
    stele__block_init(&p->params, p->space, sizeof p->space);
    p->failed = STELE_NO_ENTRY;
    p->last_failed = STELE_NO_ENTRY;
    *ret_pipeline = p;
    return STELE_OK;
}

/* The recorder that poses as this pipeline, or NULL. */
static stele__recorder *recorder_of(stele_pipeline *p)
{
    stele__holder *holder = (stele__holder *)(void *)p;
    return holder->leave == NULL ? (stele__recorder *)(void *)p : NULL;
}

static bool is_recorder(const stele_pipeline *p)
{
    return ((const stele__holder *)(const void *)p)->leave == NULL;
}

void stele_pipeline_on_result(stele_pipeline *p, stele_pipeline_result_fn fn, void *user)
{
    if (is_recorder(p))
        return;
    p->next_fn = fn;
    p->next_user = user;
}

size_t stele_pipeline_count(const stele_pipeline *p)
{
    return is_recorder(p) ? 0 : p->count;
}

size_t stele_pipeline_failed_entry(const stele_pipeline *p)
{
    return is_recorder(p) ? STELE_NO_ENTRY : p->last_failed;
}

/* ---- queueing ---- */

/* Takes the lease for the batch. */
static stele_status hold(stele_pipeline *p, stele_error *err)
{
    stele_conn *conn = p->conn;
    if (p->holds) {
        if (stele__link_is_foreign(conn->link))
            return stele__fail(err, STELE_E_FORKED, "the connection belongs to the parent process");
        if (p->holder.step != NULL)
            return stele__fail(err, STELE_E_MISUSE, "a sync of this pipeline is under way");
        return STELE_OK;
    }
    stele_status st = stele__conn_usable(conn, err);
    if (st != STELE_OK)
        return st;
    if ((p->options.isolation != STELE_ISOLATION_DEFAULT ||
         p->options.access != STELE_ACCESS_DEFAULT) &&
        conn->tx.state != STELE__TX_NONE) {
        st = stele__fail(err, STELE_E_MISUSE,
                         "a pipeline with an isolation of its own inside a transaction");
        stele__error_hint(err, "give the isolation to stele_tx_begin()");
        return st;
    }
    conn->held = &p->holder;
    p->holds = true;
    return STELE_OK;
}

static stele_status no_memory(const stele_gen_stmt *stmt, stele_error *err)
{
    return stele__fail(err, STELE_E_NOMEM, "%s: out of memory in a pipeline", stmt->name);
}

static stele_status make_room(stele_pipeline *p, const stele_gen_stmt *stmt, stele_error *err)
{
    if (p->count < p->capacity)
        return STELE_OK;
    size_t capacity = p->capacity > 0 ? 2 * p->capacity : 16;
    stele__queued *items = stele__realloc_array(p->items, capacity, sizeof *items);
    if (items == NULL)
        return no_memory(stmt, err);
    p->items = items;
    p->capacity = capacity;
    return STELE_OK;
}

/* Bytes of a value as libpq will read them; text is terminated. */
static size_t value_size(const stele__bound *bound, int i)
{
    if (bound->values[i] == NULL)
        return 0;
    return bound->formats[i] != 0 ? (size_t)bound->lengths[i] : strlen(bound->values[i]) + 1;
}

/* Copies the values: arrays and bytes in one piece. */
static bool keep(stele_pipeline *p, const stele__bound *bound, stele__queued *item)
{
    size_t n = (size_t)bound->count;
    size_t arrays = n * (sizeof(char *) + 2 * sizeof(int));
    size_t size = arrays;
    for (int i = 0; i < bound->count; i++)
        size += value_size(bound, i);
    char *piece = stele__block_alloc(&p->params, size > 0 ? size : 1);
    if (piece == NULL)
        return false;
    const char **values = (const char **)(void *)piece;
    int *lengths = (int *)(void *)(values + n);
    int *formats = lengths + n;
    char *bytes = piece + arrays;
    for (int i = 0; i < bound->count; i++) {
        size_t len = value_size(bound, i);
        values[i] = bound->values[i] != NULL ? bytes : NULL;
        lengths[i] = bound->lengths[i];
        formats[i] = bound->formats[i];
        if (len > 0)
            memcpy(bytes, bound->values[i], len);
        bytes += len;
    }
    item->values = values;
    item->lengths = lengths;
    item->formats = formats;
    item->bytes = size;
    p->kept += size;
    return true;
}

/* The text with the trace of the lease. */
static bool keep_text(stele_pipeline *p, const stele__entry *entry, stele__queued *item)
{
    char *sql = stele__traced_sql(p->conn, entry);
    item->traced = sql != NULL ? stele__block_strndup(&p->params, sql, strlen(sql)) : NULL;
    if (item->traced != NULL)
        p->kept += strlen(sql);
    stele__free(sql);
    return item->traced != NULL;
}

static stele_status add(stele_pipeline *p, const stele__call *call, const stele__queued *what,
                        stele_error *err)
{
    stele_conn *conn = p->conn;
    stele__cache *cache;
    stele__bound bound;
    stele__entry *entry = NULL;
    bool fresh = false;
    stele_status st = make_room(p, call->stmt, err);
    if (st == STELE_OK)
        st = stele__entry_find(conn, call, &entry, &fresh, err);
    if (st != STELE_OK)
        return st;
    stele__queued item = *what;
    st = stele__bind(call->stmt, call->args, entry->states, entry->slots, entry->param_count,
                     &bound, err);
    if (st == STELE_OK && p->status == STELE_OK && !keep(p, &bound, &item))
        st = no_memory(call->stmt, err);
    stele__bind_release(&bound);
    if (st != STELE_OK)
        return st;
    if (stele__is_traced(conn) && !keep_text(p, entry, &item))
        return no_memory(call->stmt, err);
    cache = conn->link->cache;
    item.stmt = call->stmt;
    item.cached = entry;
    item.prepare = !fresh && !p->flowing && item.traced == NULL &&
                   stele__entry_worth_preparing(conn, cache, entry);
    item.on_result = p->next_fn;
    item.user = p->next_user;
    p->next_fn = NULL;
    stele__entry_pin(entry);
    stele__cache_touch(cache, entry);
    p->items[p->count++] = item;
    p->waiting_bytes += item.bytes;
    return STELE_OK;
}

static bool nothing_waits(const stele_pipeline *p)
{
    return p->sent == p->count || p->status != STELE_OK;
}

/* What goes wrong on the way is told at sync. */
static void make_way(stele_pipeline *p)
{
    bool full =
        p->count - p->sent >= p->options.max_in_flight || p->waiting_bytes >= p->options.max_bytes;
    if (!full || p->options.never_wait || p->status != STELE_OK)
        return;
    p->holder.deadline = stele__conn_deadline(p->conn);
    stele__pipeline_drive(p, nothing_waits);
}

static stele_status queue(stele_pipeline *p, const stele__call *call, const stele__queued *what,
                          stele_error *err)
{
    stele_status st = hold(p, err);
    if (st != STELE_OK)
        return st;
    st = add(p, call, what, err);
    if (st == STELE_OK)
        make_way(p);
    else if (p->count == 0)
        stele__pipeline_reset(p);
    return st;
}

stele_status stele_gen_queue(stele_pipeline *p, const stele_gen_stmt *stmt, const void *const *args,
                             uint32_t flags, const stele_gen_slot *slot, stele_error *err)
{
    stele__call call = {stmt, args, flags};
    stele__recorder *recorder = recorder_of(p);
    if (recorder != NULL)
        return recorder->record(recorder, &call, slot, err);
    stele__queued what = {.slot = *slot};
    return queue(p, &call, &what, err);
}

stele_status stele_gen_queue_page(stele_pipeline *p, const stele_gen_list *list, const void **args,
                                  uint32_t flags, uint32_t limit, void *page, stele_error *err)
{
    int64_t fetch;
    if (is_recorder(p))
        return stele__fail(err, STELE_E_INPUT, "%s: only writes can be stored later",
                           list->stmt->name);
    stele_page *before; /* generated pages have types of their own: only the bytes are the same */
    memcpy(&before, page, sizeof before);
    stele_status st = stele__page_args(list, args, &flags, limit, &fetch, &before, err);
    if (st == STELE_DONE)
        memcpy(page, &before, sizeof before);
    if (st != STELE_OK)
        return st;
    stele__call call = {list->stmt, args, flags};
    stele__queued what = {
        .slot = {.out = page, .kind = STELE_GEN_SLOT_ROWS}, .list = list, .limit = limit};
    return queue(p, &call, &what, err);
}

/* ---- ending ---- */

static stele_status check_sync(const stele_pipeline *p, stele_error *err)
{
    if (is_recorder(p))
        return stele__fail(err, STELE_E_MISUSE,
                           "the pipeline of a unit is not synced: put the unit");
    if (p->holder.step != NULL)
        return stele__fail(err, STELE_E_MISUSE, "a sync of this pipeline is under way");
    if (p->holds && stele__link_is_foreign(p->conn->link))
        return stele__fail(err, STELE_E_FORKED, "the connection belongs to the parent process");
    return STELE_OK;
}

static void start(stele_pipeline *p)
{
    p->holder.deadline = stele__conn_deadline(p->conn);
    p->ending = true;
    if (p->conn->hooks != NULL) {
        p->trips = stele_conn_round_trips(p->conn);
        for (size_t i = 0; i < p->count; i++) {
            uint64_t now = stele__observe_start(p->conn, p->items[i].stmt);
            p->started_ns = i == 0 ? now : p->started_ns;
        }
    }
    p->conn->link->round_trips++;
}

static bool is_over(const stele_pipeline *p)
{
    return p->over;
}

stele_status stele_pipeline_sync(stele_pipeline *p, stele_error *err)
{
    stele_status st = check_sync(p, err);
    if (st != STELE_OK || p->count == 0)
        return st;
    start(p);
    do
        stele__pipeline_drive(p, is_over);
    while (stele__pipeline_again(p));
    return stele__pipeline_settle(p, err);
}

static stele_status step(stele__holder *holder, stele_error *err)
{
    stele_pipeline *p = (stele_pipeline *)(void *)holder;
    stele__pipeline_send(p);
    stele__pipeline_read(p);
    stele__pipeline_send(p); /* answers have made room */
    if (p->over && stele__pipeline_again(p))
        stele__pipeline_send(p);
    if (!p->over && stele__deadline_in(0) >= p->holder.deadline)
        stele__pipeline_expire(p);
    return p->over ? stele__pipeline_settle(p, err) : STELE_AGAIN;
}

stele_status stele_pipeline_start(stele_pipeline *p, stele_error *err)
{
    stele_status st = check_sync(p, err);
    if (st != STELE_OK)
        return st;
    if (p->count == 0)
        return stele__fail(err, STELE_E_MISUSE, "a pipeline without entries is not started");
    start(p);
    p->holder.step = step;
    stele__pipeline_send(p);
    return STELE_OK;
}

/* ---- giving up ---- */

/*
 * Some entries were sent, and no Sync: what they did is undone. Inside the lease's own transaction only
 * its end can do that.
 */
static void discard(stele_pipeline *p)
{
    static const stele__step rollback = {.kind = STELE__STEP_SIMPLE, .sql = "ROLLBACK"};
    stele__link *link = p->conn->link;
    if (p->over || p->in_tx) {
        p->conn->tx.lost = p->conn->tx.lost || p->in_tx;
        link->broken = true;
        return;
    }
    p->status = STELE_ROLLBACK; /* nothing more is sent */
    p->ending = true;
    p->cleaning = true;
    p->tail = true;
    p->sync_sent = true;
    p->holder.deadline = stele__deadline_in(DISCARD_MS);
    if (!stele__flow_send(link, &rollback) || !stele__flow_sync(link))
        link->broken = true;
    else
        stele__pipeline_drive(p, is_over);
    (void)stele__flow_end(link);
}

static void leave(stele__holder *holder)
{
    stele_pipeline *p = (stele_pipeline *)(void *)holder;
    stele__link *link = p->conn->link;
    if (stele__link_is_foreign(link) || link->broken) {
        stele__pipeline_reset(p);
        return;
    }
    if (p->sync_sent) { /* only its answer would say what it did */
        p->conn->tx.lost = p->conn->tx.lost || p->in_tx;
        link->broken = true;
    } else if (p->flowing) {
        discard(p);
    }
    stele__pipeline_reset(p);
}

void stele_pipeline_close(stele_pipeline *p)
{
    if (p == NULL || is_recorder(p))
        return;
    if (p->holds)
        leave(&p->holder);
    stele__free(p->items);
    stele__free(p);
}

void stele_pipeline_autofree(stele_pipeline **p)
{
    stele_pipeline_close(*p);
}
