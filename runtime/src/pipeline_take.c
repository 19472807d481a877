/**
 * What the answers of a batch become: slots filled, or an error that says which entry failed.
 *
 * Floor: pipeline.
 */
#include <stdio.h>

#include "mem_internal.h"
#include "page_internal.h"
#include "pipeline_internal.h"
#include "status_internal.h"

#include "banned.h"

/* A list is a struct of rows and count before the rows. */
typedef struct list_head {
    const void *rows;
    size_t count;
} list_head;

#define LIST_LEAD ((sizeof(list_head) + 15u) & ~(size_t)15u)

/* How often plans may be made anew for one batch. */
#define ATTEMPTS_MAX 4

/* ---- one answer ---- */

static bool is_wanted(const stele__queued *item)
{
    const stele_gen_slot *slot = &item->slot;
    if (item->on_result != NULL)
        return item->stmt->column_count > 0;
    return slot->kind != STELE_GEN_SLOT_EXEC &&
           (slot->out != NULL || (slot->kind == STELE_GEN_SLOT_UPSERTED && slot->count != NULL));
}

static stele_status check(stele__queued *item, const stele__row_shape *shape,
                          const struct pg_result *result, stele_error *err)
{
    stele_status st = STELE_OK;
    stele__entry *entry = item->cached;
    if (entry->checked == STELE__UNCHECKED && shape->count > 0 && !stele__result_is_command(result))
        st = stele__result_check(result, shape, err);
    if (st == STELE_OK && entry->state == STELE__ENTRY_PREPARED)
        stele__entry_set_checked(entry);
    return st;
}

static stele_status decode(stele__queued *item, struct pg_result *result, stele_error *err)
{
    const stele_gen_stmt *stmt = item->stmt;
    stele__row_shape shape = {stmt->columns, stmt->column_count, stmt->row_size, stmt->name};
    stele_status st = check(item, &shape, result, err);
    if (st != STELE_OK || !is_wanted(item) || stele__result_is_command(result)) {
        stele__result_clear(result);
        return st;
    }
    if (item->list != NULL) {
        st = stele__page_take(item->list, result, item->limit, &item->page, err);
        return st > 0 ? STELE_OK : st;
    }
    size_t space = item->slot.kind == STELE_GEN_SLOT_LIST ? LIST_LEAD : 0;
    return stele__result_rows(result, &shape, space, &item->rows, err);
}

void stele__pipeline_take(stele_pipeline *p, size_t index, struct pg_result *result)
{
    stele_error err;
    stele__queued *item = &p->items[index];
    item->cached->stale_runs = 0;
    item->affected = stele__result_affected(result);
    if (item->rows != NULL || item->page != NULL || p->undelivered != STELE_OK) {
        stele__result_clear(result); /* a second result, or nobody will see it */
        return;
    }
    stele_status st = decode(item, result, &err);
    if (st == STELE_OK)
        return;
    p->undelivered = st;
    if (p->status == STELE_OK) {
        p->error = err;
        p->failed = index;
    }
}

void stele__pipeline_note(stele_pipeline *p, size_t index, const struct pg_result *result)
{
    stele_error err;
    stele_status st = stele__link_server_error(result, &err);
    /* A session that ends after all entries were done may have stored them. */
    if (index != STELE_NO_ENTRY || p->answered < p->count || !stele__result_is_fatal(result))
        p->refuted = true;
    if (p->status != STELE_OK)
        return;
    p->status = st;
    p->error = err;
    p->failed = index;
}

/* ---- the end ---- */

static void drop_rows(stele__queued *item)
{
    stele__rows_free(item->rows);
    stele_page_free(item->page);
    item->rows = NULL;
    item->page = NULL;
}

static void forget_flow(stele_pipeline *p)
{
    for (int i = 0; i < p->lead_count; i++)
        if (p->leads[i].kind == STELE__STEP_PREPARE)
            p->leads[i].entry->on_way = false;
    p->lead_count = 0;
    p->lead_answered = 0;
    p->lead_sync = false;
    p->flowing = false;
    p->sent = 0;
    p->answered = 0;
    p->requested = 0;
    p->unflushed = 0;
    p->sync_sent = false;
    p->tail = false;
    p->committed = false;
    p->cleaning = false;
    p->input_over = false;
    p->gaps = 0;
    p->over = false;
    p->status = STELE_OK;
    p->undelivered = STELE_OK;
    p->refuted = false;
    p->holder.wants_write = false;
}

void stele__pipeline_reset(stele_pipeline *p)
{
    forget_flow(p);
    for (size_t i = 0; i < p->count; i++) {
        drop_rows(&p->items[i]);
        stele__entry_unpin(p->items[i].cached);
    }
    p->count = 0;
    p->waiting_bytes = 0;
    p->kept = 0;
    p->let_go = false;
    p->attempts = 0;
    p->ending = false;
    stele__block_reset(&p->params);
    p->holder.step = NULL;
    if (p->holds)
        p->conn->held = NULL;
    p->holds = false;
}

bool stele__pipeline_again(stele_pipeline *p)
{
    stele_conn *conn = p->conn;
    if (p->status == STELE_OK || p->failed >= p->count || conn->link->broken ||
        !p->items[p->failed].named || !stele__is_stale_plan(&p->error))
        return false;
    stele__entry *entry = p->items[p->failed].cached;
    if (entry->state != STELE__ENTRY_PREPARED) /* it was the PREPARE that failed */
        return false;
    p->error.retryable = true;
    if (entry->names_id != conn->names->id) {
        /* Its text cannot be made under the names of now: the next to use it makes it anew. */
        if (!entry->dropped)
            stele__cache_drop(conn->link->cache, entry);
        conn->tx.stale = conn->tx.stale || p->in_tx;
        return false;
    }
    if (!stele__entry_renew(conn, entry, &p->error) || p->let_go || p->attempts >= ATTEMPTS_MAX)
        return false;
    for (size_t i = 0; i < p->count; i++) {
        if (!stele__entry_revive(conn, p->items[i].cached))
            return false;
        p->items[i].prepare = p->items[i].prepare || p->items[i].cached == entry;
    }
    if (!stele__flow_end(conn->link))
        return false;
    for (size_t i = 0; i < p->count; i++) {
        drop_rows(&p->items[i]);
        p->waiting_bytes += p->items[i].bytes;
    }
    forget_flow(p);
    conn->link->round_trips++;
    return true;
}

/* ---- success ---- */

/* Slots are pointers to pointers of other types: their bytes are what can be written. */
static void put(void *slot, const void *value, size_t size)
{
    if (slot != NULL)
        memcpy(slot, value, size);
}

static void *rows_of(const stele__queued *item)
{
    return item->rows != NULL ? item->rows + 1 : NULL;
}

static void fill_slot(stele__queued *item)
{
    const stele_gen_slot *slot = &item->slot;
    void *rows = rows_of(item);
    size_t count = item->rows != NULL ? item->rows->count : 0;
    void *row = count > 0 ? rows : NULL;
    switch (slot->kind) {
    case STELE_GEN_SLOT_EXEC:
        put(slot->count, &item->affected, sizeof item->affected);
        return;
    case STELE_GEN_SLOT_ROW:
        put(slot->count, &item->affected, sizeof item->affected);
        put(slot->out, &row, sizeof row);
        break;
    case STELE_GEN_SLOT_UPSERTED:
        if (row != NULL)
            put(slot->count, (const char *)row + slot->offset, sizeof(bool));
        put(slot->out, &row, sizeof row);
        break;
    case STELE_GEN_SLOT_ROWS:
        put(slot->count, &count, sizeof count);
        put(slot->out, &rows, sizeof rows);
        if (slot->out != NULL)
            item->rows = NULL;
        return;
    case STELE_GEN_SLOT_LIST:
        if (rows != NULL)
            *(list_head *)rows = (list_head){(const char *)rows + LIST_LEAD, count};
        put(slot->out, &rows, sizeof rows);
        if (slot->out != NULL)
            item->rows = NULL;
        return;
    case STELE_GEN_SLOT_VALUE:
        if (row != NULL)
            put(slot->out, row, item->stmt->row_size);
        return;
    }
    if (slot->out != NULL && row != NULL)
        item->rows = NULL; /* handed over */
}

static void fill_page(stele__queued *item)
{
    stele_page *before;
    memcpy(&before, item->slot.out, sizeof before);
    stele_page_free(before);
    memcpy(item->slot.out, &item->page, sizeof item->page);
    item->page = NULL;
}

static void tell(const stele__queued *item, size_t index)
{
    const char *rows = rows_of(item);
    stele_pipeline_result result = {
        .entry = index, .statement = item->stmt->name, .rows = rows, .affected = item->affected};
    if (item->list != NULL) {
        result.rows = item->page != NULL ? item->page->rows : NULL;
        result.count = item->page != NULL ? item->page->count : 0;
    } else if (rows != NULL) {
        result.rows = item->slot.kind == STELE_GEN_SLOT_LIST ? rows + LIST_LEAD : rows;
        result.count = item->rows->count;
    }
    item->on_result(&result, item->user);
}

/* The batch is taken out of the pipeline first: a callback may fill the next one. */
static void deliver(stele_pipeline *p)
{
    stele__queued *items = p->items;
    size_t count = p->count;
    for (size_t i = 0; i < count; i++)
        stele__entry_unpin(items[i].cached);
    size_t capacity = p->capacity;
    p->items = NULL;
    p->count = 0;
    p->capacity = 0;
    stele__pipeline_reset(p);
    for (size_t i = 0; i < count; i++) {
        if (items[i].on_result != NULL)
            tell(&items[i], i);
        if (items[i].list != NULL)
            fill_page(&items[i]);
        else
            fill_slot(&items[i]);
        drop_rows(&items[i]);
    }
    if (p->items != NULL) {
        stele__free(items);
        return;
    }
    p->items = items;
    p->capacity = capacity;
}

/* ---- hooks ---- */

static void observe(const stele_pipeline *p, stele_status st)
{
    uint32_t trips = (uint32_t)(stele_conn_round_trips(p->conn) - p->trips);
    if (p->conn->hooks == NULL)
        return;
    for (size_t i = 0; i < p->count; i++) {
        const stele__queued *item = &p->items[i];
        bool own = st == STELE_OK || i == p->failed || p->failed >= p->count;
        const stele__observed_in where = {.started_ns = p->started_ns,
                                          .ended_ns = item->done_ns,
                                          .round_trips = i == 0 ? trips : 0,
                                          .batch = p->count};
        stele__observe_end(p->conn, item->stmt, &where, item->affected, own ? st : STELE_E_ABORTED,
                           own ? &p->error : NULL);
    }
}

/* ---- failure ---- */

static bool all_read(const stele_pipeline *p)
{
    for (size_t i = 0; i < p->count; i++)
        if ((p->items[i].stmt->properties & STELE_STMT_READ) == 0)
            return false;
    return true;
}

/* What became of the batch, in words that follow what went wrong. */
static const char *consequence(const stele_pipeline *p, bool unknown)
{
    if (unknown)
        return "; whether the batch is stored is not known";
    if (p->in_tx)
        return "; the transaction is aborted";
    if (p->status == STELE_OK)
        return "; the batch was done";
    return all_read(p) ? "; the batch ended there" : "; all of the batch is rolled back";
}

static void say_which(const stele_pipeline *p, bool unknown, stele_error *err)
{
    char text[sizeof err->message];
    const char *end = consequence(p, unknown);
    size_t len = 0;
    if (p->failed < p->count)
        len = (size_t)snprintf(text, 200, "entry %zu (%.150s): ", p->failed,
                               p->items[p->failed].stmt->name);
    len += stele__copy_text(text + len, sizeof text - len - strlen(end), err->message);
    len += stele__copy_text(text + len, sizeof text - len, end);
    memcpy(err->message, text, len + 1);
}

/* The inputs as the caller had them, out of what was sent. */
typedef struct inputs {
    const stele__queued *item;
    stele__block memory;
    _Alignas(max_align_t) char value[256];
} inputs;

static const void *input_of(void *ctx, const stele_gen_stmt *stmt, int index)
{
    inputs *in = ctx;
    const stele__entry *entry = in->item->cached;
    const stele_gen_param *param = &stmt->params[index];
    const stele__layout *layout = stele__layout_of(param->type);
    for (int i = 0; i < entry->param_count; i++) {
        const char *data = in->item->values[i];
        if (entry->order[i] != index || data == NULL || layout->size > sizeof in->value ||
            entry->types[i] != stele__type_oid(param->type))
            continue;
        size_t len = in->item->formats[i] != 0 ? (size_t)in->item->lengths[i] : strlen(data);
        int code = stele__decode_value(param->type, param->labels, data, len, in->value,
                                       stele__block_mem, &in->memory);
        return code == STELE__CODEC_OK ? in->value : NULL;
    }
    return NULL;
}

static void name_culprit(const stele__queued *item, stele_error *err)
{
    inputs in = {.item = item};
    if (item->values == NULL || err->sqlstate[0] != '2' || err->sqlstate[1] != '2')
        return;
    stele__name_culprit_of(item->stmt, input_of, &in, err);
    stele__block_release(&in.memory);
}

static stele_status judge_loss(stele_pipeline *p, bool *ret_unknown)
{
    stele_error *err = &p->error;
    bool unknown = !p->in_tx && p->sync_sent && !p->refuted && !p->cleaning && !all_read(p);
    *ret_unknown = unknown;
    err->outcome_unknown = unknown;
    err->retryable = !unknown && p->status == STELE_E_LOST;
    if (p->in_tx)
        p->conn->tx.lost = true;
    if (unknown)
        p->status = STELE_E_UNKNOWN;
    return p->status;
}

static stele_status fail(stele_pipeline *p, stele_error *err)
{
    stele_conn *conn = p->conn;
    stele_status st = p->status;
    bool unknown = false;
    if (conn->link->broken) {
        st = judge_loss(p, &unknown);
    } else if (st == STELE_OK) {
        st = p->undelivered;
        p->error.outcome_unknown = !p->in_tx && !all_read(p);
    } else if (st == STELE_E_LOST) {
        st = STELE_E_SERVER; /* a function or a foreign server reported a loss of its own */
    } else if (st == STELE_E_READ_ONLY) {
        conn->link->refused_write = true;
    }
    if (p->failed < p->count) {
        const stele__queued *item = &p->items[p->failed];
        name_culprit(item, &p->error);
        if (p->error.table[0] == '\0' && item->stmt->table != NULL)
            stele__error_place(&p->error, item->stmt->table, NULL);
    }
    p->error.status = st;
    say_which(p, unknown, &p->error);
    stele__note_error(conn, st, &p->error);
    if (err != NULL)
        *err = p->error;
    p->last_failed = p->failed;
    observe(p, st);
    stele__pipeline_reset(p);
    return st;
}

stele_status stele__pipeline_settle(stele_pipeline *p, stele_error *err)
{
    stele_conn *conn = p->conn;
    if (!conn->link->broken && !stele__flow_end(conn->link))
        stele__pipeline_lose(p);
    if (!conn->link->broken && conn->tx.pending_count > 0)
        stele__settle_transaction(conn);
    if (p->status == STELE_OK && p->wraps && !p->committed) {
        p->status = stele__fail(&p->error, STELE_E_ABORTED, "not committed");
        p->failed = STELE_NO_ENTRY;
    }
    if (p->status != STELE_OK || p->undelivered != STELE_OK)
        return fail(p, err);
    p->last_failed = STELE_NO_ENTRY;
    observe(p, STELE_OK);
    deliver(p);
    return STELE_OK;
}
