/**
 * A batch on its way: sending and reading at the same time, so that neither side ever waits for the
 * other with its hands full.
 *
 * Floor: pipeline.
 */
#include "pipeline_internal.h"

#include "status_internal.h"

#include "banned.h"

void stele__pipeline_lose(stele_pipeline *p)
{
    if (p->status == STELE_OK) {
        p->status = stele__link_lost(p->conn->link, &p->error);
        p->failed = STELE_NO_ENTRY;
    }
    p->conn->link->broken = true;
    p->over = true;
}

/* libpq has no memory for what it has read, and would wait for it for ever. */
static void starve(stele_pipeline *p)
{
    stele_error why;
    stele_status st = stele__link_starved(p->conn->link, &why);
    if (p->status == STELE_OK) {
        p->status = st;
        p->error = why;
        p->failed = STELE_NO_ENTRY;
    }
    p->over = true;
}

static void refuse(stele_pipeline *p)
{
    stele_error why;
    stele_status st = stele__flow_failed(p->conn->link, &why);
    if (p->status == STELE_OK) {
        p->status = st;
        p->error = why;
        p->failed = p->sent < p->count ? p->sent : STELE_NO_ENTRY;
    }
    p->over = true;
}

/* ---- what leads ---- */

static void lead(stele_pipeline *p, stele__step_kind kind, stele__entry *entry, const char *sql)
{
    p->leads[p->lead_count++] = (stele__lead){kind, entry, sql};
}

static void lead_pending(stele_pipeline *p)
{
    const stele__tx *tx = &p->conn->tx;
    for (int i = 0; i < tx->pending_count; i++)
        lead(p, STELE__STEP_SIMPLE, NULL, tx->pending[i]);
}

/* Prepares what is worth it; of a full cache at most one entry makes room. */
static void lead_prepares(stele_pipeline *p)
{
    stele__cache *cache = p->conn->link->cache;
    uint32_t planned = 0;
    bool evicts = false;
    for (size_t i = 0; i < p->count && planned < STELE__PREPARES_MAX; i++) {
        stele__entry *entry = p->items[i].cached;
        if (!p->items[i].prepare || entry->on_way || entry->dropped || entry->sql == NULL ||
            entry->state == STELE__ENTRY_PREPARED)
            continue;
        if (entry->state == STELE__ENTRY_STALE) {
            lead(p, STELE__STEP_DEALLOCATE, entry, NULL);
        } else if (cache->prepared.count + planned - evicts >= cache->prepared.capacity) {
            stele__entry *victim = cache->prepared.oldest;
            if (evicts || victim == NULL || victim->pins > 0)
                continue;
            lead(p, STELE__STEP_DEALLOCATE, victim, NULL);
            evicts = true;
        }
        lead(p, STELE__STEP_PREPARE, entry, NULL);
        entry->on_way = true;
        planned++;
    }
}

static bool send_lead(stele_pipeline *p, const stele__lead *one)
{
    char sql[64];
    stele__step step = {.kind = one->kind, .sql = one->sql};
    if (one->kind == STELE__STEP_DEALLOCATE) {
        size_t len = stele__copy_text(sql, sizeof sql, "DEALLOCATE ");
        (void)stele__copy_text(sql + len, sizeof sql - len, one->entry->name);
        step.sql = sql;
    } else if (one->kind == STELE__STEP_PREPARE) {
        step.name = one->entry->name;
        step.sql = one->entry->sql;
        step.param_count = one->entry->param_count;
        step.types = one->entry->types;
    }
    return stele__flow_send(p->conn->link, &step);
}

/* One such statement, there before any is sent, has all of the batch planned anew. */
static bool plans_anew(const stele_pipeline *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (stele__entry_plans_anew(p->conn, p->items[i].cached))
            return true;
    return false;
}

/*
 * A prepare that fails must neither be seen by BEGIN nor escape a pending savepoint: it comes before
 * the one and after the other.
 */
static bool begin(stele_pipeline *p)
{
    stele_conn *conn = p->conn;
    bool is_open = conn->tx.state == STELE__TX_OPEN;
    p->in_tx = conn->tx.state != STELE__TX_NONE;
    p->wraps = p->options.isolation != STELE_ISOLATION_DEFAULT ||
               p->options.access != STELE_ACCESS_DEFAULT;
    p->flowing = true;
    p->attempts++;
    conn->link->sent = false;
    if (conn->link->broken || !stele__flow_begin(conn->link)) {
        stele__pipeline_lose(p);
        return false;
    }
    if (is_open)
        lead_pending(p);
    lead_prepares(p);
    if (!is_open)
        lead_pending(p);
    if (p->wraps) {
        stele__write_begin(p->begin, p->options.isolation, p->options.access, false);
        lead(p, STELE__STEP_SIMPLE, NULL, p->begin);
    }
    if (plans_anew(p))
        lead(p, STELE__STEP_SIMPLE, NULL, STELE__PLAN_ANEW);
    for (int i = 0; i < p->lead_count; i++) {
        if (!send_lead(p, &p->leads[i])) {
            refuse(p);
            return false;
        }
    }
    return true;
}

/* ---- sending ---- */

static bool send_entry(stele_pipeline *p, stele__queued *item)
{
    stele__entry *entry = item->cached;
    item->named = item->traced == NULL && (entry->state == STELE__ENTRY_PREPARED || entry->on_way);
    stele__step step = {.kind = item->named ? STELE__STEP_EXECUTE : STELE__STEP_QUERY,
                        .name = entry->name,
                        .sql = item->traced != NULL ? item->traced : entry->sql,
                        .param_count = entry->param_count,
                        .types = entry->types,
                        .values = item->values,
                        .lengths = item->lengths,
                        .formats = item->formats,
                        .result_format = 1};
    if (!stele__flow_send(p->conn->link, &step))
        return false;
    p->sent++;
    p->waiting_bytes -= item->bytes;
    p->unflushed += item->bytes + 64;
    return true;
}

/* Values of entries that were sent are kept while that is cheap: to find culprits, to send again. */
static void let_values_go(stele_pipeline *p)
{
    if (p->sent < p->count || p->kept < (size_t)4 * p->options.max_bytes)
        return;
    for (size_t i = 0; i < p->count; i++) {
        p->items[i].values = NULL;
        p->items[i].traced = NULL;
    }
    stele__block_reset(&p->params);
    p->kept = 0;
    p->let_go = true;
}

static bool push(stele_pipeline *p)
{
    int left = stele__flow_push(p->conn->link);
    if (left == 0)
        p->unflushed = 0;
    p->holder.wants_write = left > 0;
    return left >= 0;
}

static bool has_room(stele_pipeline *p)
{
    if (p->sent - p->answered >= p->options.max_in_flight)
        return false;
    if (p->unflushed < p->options.max_bytes)
        return true;
    return push(p) && p->unflushed == 0;
}

static bool send_end(stele_pipeline *p)
{
    static const stele__step commit = {.kind = STELE__STEP_SIMPLE, .sql = "COMMIT"};
    stele__link *link = p->conn->link;
    if (p->wraps && p->status == STELE_OK) {
        p->tail = true;
        if (!stele__flow_send(link, &commit))
            return false;
    }
    p->sync_sent = true;
    return stele__flow_sync(link);
}

/* What fits into the connection now; false when that is over for good. */
static bool send_some(stele_pipeline *p)
{
    size_t half = p->options.max_in_flight > 1 ? p->options.max_in_flight / 2 : 1;
    while (!p->over && p->status == STELE_OK && p->sent < p->count && has_room(p)) {
        bool fine = send_entry(p, &p->items[p->sent]);
        /* Without being asked the server may keep answers back until the Sync. */
        if (fine && p->sent - p->requested >= half && (!p->ending || p->sent < p->count)) {
            fine = stele__flow_request(p->conn->link);
            p->requested = p->sent;
        }
        if (!fine) {
            refuse(p);
            return false;
        }
    }
    let_values_go(p);
    bool all = p->sent == p->count || p->status != STELE_OK;
    if (!p->over && p->ending && all && !p->sync_sent && !send_end(p))
        refuse(p);
    if (!p->over && !push(p))
        stele__pipeline_lose(p);
    return !p->over;
}

/* The last push may have made room: nobody would wake us for what is left then. */
static bool can_go_on(const stele_pipeline *p)
{
    return p->status == STELE_OK && p->sent < p->count && p->unflushed == 0 &&
           p->sent - p->answered < p->options.max_in_flight;
}

void stele__pipeline_send(stele_pipeline *p)
{
    if (!p->flowing && !begin(p))
        return;
    while (send_some(p) && can_go_on(p))
        continue;
}

/* ---- reading ---- */

/* What is already as it should be: the name is there (it is a hash of the SQL), or gone. */
static bool is_harmless(const stele_pipeline *p, const stele__lead *one,
                        const struct pg_result *result)
{
    stele_error err;
    if (one->kind == STELE__STEP_SIMPLE || stele__result_is_fatal(result))
        return false;
    (void)stele__link_server_error(result, &err);
    if (p->in_tx && p->conn->tx.state == STELE__TX_OPEN)
        return false; /* it has aborted the transaction */
    return strcmp(err.sqlstate, one->kind == STELE__STEP_PREPARE ? "42P05" : "26000") == 0;
}

static void lead_is_done(stele_pipeline *p, stele__lead *one)
{
    stele__cache *cache = p->conn->link->cache;
    stele__entry *entry = one->entry;
    if (one->kind == STELE__STEP_PREPARE && !entry->dropped) {
        stele__cache_prepared(cache, entry);
    } else if (one->kind == STELE__STEP_DEALLOCATE) {
        if (entry->state == STELE__ENTRY_STALE && entry->pins > 0)
            stele__cache_unprepared(cache, entry);
        else
            stele__cache_drop(cache, entry);
    }
}

/* The entry that a lead was sent for. */
static size_t entry_of(const stele_pipeline *p, const stele__lead *one)
{
    for (size_t i = 0; one->kind == STELE__STEP_PREPARE && i < p->count; i++)
        if (p->items[i].cached == one->entry)
            return i;
    return STELE_NO_ENTRY;
}

static void lead_arrives(stele_pipeline *p, stele__arrival arrival, struct pg_result *result)
{
    stele__lead *one = &p->leads[p->lead_answered];
    bool fine = arrival == STELE__ARRIVAL_RESULT;
    if (arrival == STELE__ARRIVAL_ERROR) {
        fine = is_harmless(p, one, result);
        if (!fine)
            stele__pipeline_note(p, entry_of(p, one), result);
    }
    if (fine)
        lead_is_done(p, one);
    if (arrival == STELE__ARRIVAL_RESULT || arrival == STELE__ARRIVAL_ERROR) {
        stele__result_clear(result);
        return;
    }
    if (arrival == STELE__ARRIVAL_SYNC)
        p->lead_sync = false;
    else if (arrival == STELE__ARRIVAL_END && !p->lead_sync)
        p->lead_sync = one->kind != STELE__STEP_SIMPLE;
    if (arrival == STELE__ARRIVAL_SKIPPED || p->lead_sync)
        return;
    if (one->kind == STELE__STEP_PREPARE)
        one->entry->on_way = false;
    p->lead_answered++;
}

static void entry_arrives(stele_pipeline *p, stele__arrival arrival, struct pg_result *result)
{
    if (arrival == STELE__ARRIVAL_RESULT) {
        stele__pipeline_take(p, p->answered, result);
    } else if (arrival == STELE__ARRIVAL_ERROR) {
        stele__pipeline_note(p, p->answered, result);
        stele__result_clear(result);
    } else if (arrival == STELE__ARRIVAL_END) {
        if (p->conn->hooks != NULL)
            p->items[p->answered].done_ns = (uint64_t)stele__now_ns();
        p->answered++;
    } else if (arrival != STELE__ARRIVAL_SKIPPED) {
        stele__pipeline_lose(p); /* out of step with the server */
    }
}

/* A transaction of our own that failed stays open until it is rolled back. */
static void sync_arrives(stele_pipeline *p)
{
    static const stele__step rollback = {.kind = STELE__STEP_SIMPLE, .sql = "ROLLBACK"};
    stele__link *link = p->conn->link;
    if (!p->wraps || p->cleaning || stele__link_tx_status(link) == STELE__TX_IDLE) {
        p->over = true;
        return;
    }
    p->cleaning = true;
    p->tail = true;
    p->gaps = 0;
    if (!stele__flow_send(link, &rollback) || !stele__flow_sync(link))
        refuse(p);
}

static void end_arrives(stele_pipeline *p, stele__arrival arrival, struct pg_result *result)
{
    if (arrival == STELE__ARRIVAL_RESULT) {
        if (p->tail && strcmp(stele__result_tag(result), "COMMIT") == 0)
            p->committed = true;
        stele__result_clear(result);
    } else if (arrival == STELE__ARRIVAL_ERROR) {
        stele__pipeline_note(p, STELE_NO_ENTRY, result);
        stele__result_clear(result);
    } else if (arrival == STELE__ARRIVAL_SYNC && !p->tail) {
        sync_arrives(p);
    } else if (arrival == STELE__ARRIVAL_END) {
        /* Before a Sync one may separate; after a second its answer will never come. */
        if (!p->tail && ++p->gaps > 1)
            stele__pipeline_lose(p);
        p->tail = false;
    } else if (arrival != STELE__ARRIVAL_SKIPPED) {
        stele__pipeline_lose(p);
    }
}

static void arrives(stele_pipeline *p, stele__arrival arrival, struct pg_result *result)
{
    if (arrival == STELE__ARRIVAL_LOST) {
        stele__pipeline_lose(p);
    } else if (arrival == STELE__ARRIVAL_COPY) {
        if (p->status == STELE_OK) {
            p->status = stele__fail(&p->error, STELE_E_UNSUPPORTED,
                                    "COPY from or to the client cannot run like this");
            p->failed = p->answered < p->count ? p->answered : STELE_NO_ENTRY;
        }
        p->refuted = true; /* a COPY that is never fed stores nothing */
        stele__pipeline_lose(p);
    } else if (p->lead_answered < p->lead_count) {
        lead_arrives(p, arrival, result);
    } else if (p->answered < p->sent) {
        entry_arrives(p, arrival, result);
    } else {
        end_arrives(p, arrival, result);
    }
}

static bool expects_more(const stele_pipeline *p)
{
    return !p->over && (p->lead_answered < p->lead_count || p->answered < p->sent || p->sync_sent);
}

void stele__pipeline_read(stele_pipeline *p)
{
    stele__link *link = p->conn->link;
    if (p->over)
        return;
    if (!stele__flow_pull(link))
        p->input_over = true;
    while (expects_more(p)) {
        struct pg_result *result = NULL;
        size_t said = stele__link_said(link);
        stele__arrival arrival = stele__flow_next(link, &result);
        if (arrival == STELE__ARRIVAL_NONE) {
            if (stele__link_said(link) > said)
                starve(p);
            break;
        }
        arrives(p, arrival, result);
    }
    if (!p->over && p->input_over)
        stele__pipeline_lose(p);
}

void stele__pipeline_expire(stele_pipeline *p)
{
    /* The answer may still come, so nobody may use this link again. */
    p->conn->link->broken = true;
    p->over = true;
    if (p->status != STELE_OK)
        return;
    p->status = stele__fail(&p->error, STELE_E_TIMEOUT, "no answer from the server in time");
    p->failed = STELE_NO_ENTRY;
}

void stele__pipeline_drive(stele_pipeline *p, bool (*is_done)(const stele_pipeline *p))
{
    for (;;) {
        stele__pipeline_send(p);
        if (p->over || is_done(p))
            return;
        int ready = stele__flow_wait(p->conn->link, p->holder.wants_write, p->holder.deadline);
        if (ready == 0)
            stele__pipeline_expire(p);
        else if (ready < 0)
            stele__pipeline_lose(p);
        else
            stele__pipeline_read(p);
    }
}
