/**
 * Rows one by one, in constant memory, however many there are.
 *
 * The statement is sent as a batch of one; its rows are delivered as they come. Ended early, what is
 * left is read if it is little, else the statement is canceled. Inside a transaction it stands behind a
 * savepoint, so that the cancel does not abort what was done before.
 *
 * Floor: pipeline.
 */
#include "mem_internal.h"
#include "pipeline_internal.h"
#include "status_internal.h"

#include "banned.h"

#define SAVEPOINT "stele_stream"

/* Ended early: results that are read rather than canceled, and how long the end may take. */
#define DRAIN_RESULTS 1000
#define DRAIN_MS 5000

typedef struct stream {
    stele__holder holder; /* first: what conn->held points at */
    stele_conn *conn;     /* NULL once the lease was given up */
    const stele_gen_stmt *stmt;
    stele__entry *entry; /* pinned */
    stele__lead leads[STELE__PENDING_MAX + 4];
    int lead_count;
    bool in_tx;
    bool saved; /* a savepoint of ours was sent */
    bool named;
    char *traced; /* its text with the trace of the lease, NULL without one */
    bool sync_sent;
    bool sync_seen;
    bool over; /* no more rows: the statement ended, or failed */
    stele_status status;
    stele_error error;
    uint64_t started_ns;
    uint64_t trips;           /* of the lease, before */
    uint64_t delivered;       /* rows */
    struct pg_result *result; /* the rows that are being handed out */
    int at;                   /* the next one of them */
    int count;
    bool input_over;
    size_t said; /* what libpq had complained when an error of the server was read last */
    _Alignas(max_align_t) char row[]; /* the row handed out */
} stream;

static void lose(stream *s)
{
    if (s->status == STELE_OK)
        s->status = stele__link_lost(s->conn->link, &s->error);
    s->conn->link->broken = true;
    s->over = true;
}

static void expire(stream *s)
{
    s->conn->link->broken = true;
    s->over = true;
    if (s->status == STELE_OK)
        s->status = stele__fail(&s->error, STELE_E_TIMEOUT, "no answer from the server in time");
}

/* libpq has no memory for what it has read, and would wait for it for ever. */
static void starve(stream *s)
{
    stele_error why;
    stele_status st = stele__link_starved(s->conn->link, &why);
    s->over = true;
    if (s->status != STELE_OK)
        return;
    s->status = st;
    s->error = why;
}

static void drop_result(stream *s)
{
    if (s->result != NULL)
        stele__result_clear(s->result);
    s->result = NULL;
    s->count = 0;
    s->at = 0;
}

/* What comes next; what the server complains of is not libpq's own trouble. */
static stele__arrival next(stream *s, struct pg_result **ret_result)
{
    stele__arrival arrival = stele__flow_next(s->conn->link, ret_result);
    if (arrival == STELE__ARRIVAL_ERROR)
        s->said = stele__link_said(s->conn->link);
    return arrival;
}

/* Waits for what comes next. */
static stele__arrival await(stream *s, struct pg_result **ret_result)
{
    stele__link *link = s->conn->link;
    for (;;) {
        stele__arrival arrival = next(s, ret_result);
        if (arrival != STELE__ARRIVAL_NONE)
            return arrival;
        if (stele__link_said(link) > s->said) {
            starve(s);
            return STELE__ARRIVAL_LOST;
        }
        if (s->input_over)
            return STELE__ARRIVAL_LOST;
        if (s->holder.deadline == 0)
            s->holder.deadline = stele__conn_deadline(s->conn);
        int left = stele__flow_push(link);
        int ready = left < 0 ? -1 : stele__flow_wait(link, left > 0, s->holder.deadline);
        if (ready == 0) {
            expire(s);
            return STELE__ARRIVAL_LOST;
        }
        s->input_over = ready < 0 || !stele__flow_pull(link);
    }
}

static void note(stream *s, const struct pg_result *result)
{
    stele_error err;
    stele_status st = stele__link_server_error(result, &err);
    if (s->status != STELE_OK)
        return;
    s->status = st;
    s->error = err;
}

/* ---- opening ---- */

static void lead(stream *s, stele__step_kind kind, stele__entry *entry, const char *sql)
{
    s->leads[s->lead_count++] = (stele__lead){kind, entry, sql};
}

/* As single calls do; only that a full cache makes no room here: then the statement goes unnamed. */
static void plan(stream *s, bool fresh)
{
    stele_conn *conn = s->conn;
    stele__cache *cache = conn->link->cache;
    stele__entry *entry = s->entry;
    bool is_open = conn->tx.state == STELE__TX_OPEN;
    bool prepare = !fresh && entry->state == STELE__ENTRY_SEEN && s->traced == NULL &&
                   stele__entry_worth_preparing(conn, cache, entry) &&
                   cache->prepared.count < cache->prepared.capacity;
    s->in_tx = conn->tx.state != STELE__TX_NONE;
    for (int i = 0; is_open && i < conn->tx.pending_count; i++)
        lead(s, STELE__STEP_SIMPLE, NULL, conn->tx.pending[i]);
    if (prepare)
        lead(s, STELE__STEP_PREPARE, entry, NULL);
    for (int i = 0; !is_open && i < conn->tx.pending_count; i++)
        lead(s, STELE__STEP_SIMPLE, NULL, conn->tx.pending[i]);
    if (s->in_tx)
        lead(s, STELE__STEP_SIMPLE, NULL, "SAVEPOINT " SAVEPOINT);
    if (stele__entry_plans_anew(conn, entry))
        lead(s, STELE__STEP_SIMPLE, NULL, STELE__PLAN_ANEW);
    s->saved = s->in_tx;
    s->named = s->traced == NULL && (prepare || entry->state == STELE__ENTRY_PREPARED);
}

static bool send_all(stream *s, const stele__bound *bound)
{
    stele__link *link = s->conn->link;
    stele__entry *entry = s->entry;
    stele__step last = {.kind = s->named ? STELE__STEP_EXECUTE : STELE__STEP_QUERY,
                        .name = entry->name,
                        .sql = s->traced != NULL ? s->traced : entry->sql,
                        .param_count = bound->count,
                        .types = entry->types,
                        .values = bound->values,
                        .lengths = bound->lengths,
                        .formats = bound->formats,
                        .result_format = 1};
    if (!stele__flow_begin(link))
        return false;
    for (int i = 0; i < s->lead_count; i++) {
        const stele__lead *one = &s->leads[i];
        stele__step step = {.kind = one->kind, .sql = one->sql};
        if (one->kind == STELE__STEP_PREPARE) {
            step.name = entry->name;
            step.sql = entry->sql;
            step.param_count = entry->param_count;
            step.types = entry->types;
        }
        if (!stele__flow_send(link, &step))
            return false;
    }
    if (!stele__flow_send(link, &last))
        return false;
    s->sync_sent = true;
    return stele__flow_sync(link);
}

static bool is_prepared_already(const stream *s, const struct pg_result *result)
{
    stele_error err;
    (void)stele__link_server_error(result, &err);
    return s->conn->tx.state != STELE__TX_OPEN && strcmp(err.sqlstate, "42P05") == 0;
}

/* Reads the answer to a lead up to its end. */
static void read_lead(stream *s, const stele__lead *one)
{
    bool wants_sync = one->kind == STELE__STEP_PREPARE;
    for (;;) {
        struct pg_result *result = NULL;
        stele__arrival arrival = await(s, &result);
        bool fine = arrival == STELE__ARRIVAL_RESULT;
        if (arrival == STELE__ARRIVAL_ERROR) {
            fine = wants_sync && is_prepared_already(s, result);
            if (!fine)
                note(s, result);
        }
        if (fine && wants_sync && !one->entry->dropped)
            stele__cache_prepared(s->conn->link->cache, one->entry);
        switch (arrival) {
        case STELE__ARRIVAL_RESULT:
        case STELE__ARRIVAL_ERROR:
            stele__result_clear(result);
            break;
        case STELE__ARRIVAL_SKIPPED:
            break;
        case STELE__ARRIVAL_END:
            if (!wants_sync)
                return;
            break;
        case STELE__ARRIVAL_SYNC:
            return;
        default:
            lose(s);
            return;
        }
    }
}

static void read_sync(stream *s)
{
    struct pg_result *result = NULL;
    int gaps = 0;
    while (!s->sync_seen && !s->conn->link->broken) {
        stele__arrival arrival = await(s, &result);
        if (arrival == STELE__ARRIVAL_SYNC) {
            s->sync_seen = true;
        } else if (arrival == STELE__ARRIVAL_ERROR) {
            note(s, result); /* it struck at the commit */
            stele__result_clear(result);
        } else if (arrival == STELE__ARRIVAL_RESULT || arrival == STELE__ARRIVAL_ROWS) {
            stele__result_clear(result);
        } else if (arrival != STELE__ARRIVAL_SKIPPED &&
                   (arrival != STELE__ARRIVAL_END || ++gaps > 1)) {
            lose(s);
        }
    }
}

/* The statement is at its end: the answer to the Sync makes it one. */
static void finish(stream *s)
{
    stele_conn *conn = s->conn;
    s->over = true;
    if (!conn->link->broken)
        read_sync(s);
    if (!conn->link->broken)
        (void)stele__flow_end(conn->link);
    if (!conn->link->broken && s->in_tx)
        stele__settle_transaction(conn);
}

/* Reads on until there are rows to hand out, or the end. */
static void read_rows(stream *s)
{
    while (!s->over && s->at == s->count) {
        struct pg_result *result = NULL;
        drop_result(s);
        stele__arrival arrival = await(s, &result);
        switch (arrival) {
        case STELE__ARRIVAL_ROWS:
        case STELE__ARRIVAL_RESULT:
            s->result = result;
            s->count = stele__result_count(result);
            break;
        case STELE__ARRIVAL_ERROR:
            note(s, result);
            stele__result_clear(result);
            break;
        case STELE__ARRIVAL_SKIPPED:
            break;
        case STELE__ARRIVAL_END:
            finish(s);
            break;
        default:
            lose(s);
            finish(s);
        }
    }
}

/* ---- ending ---- */

/* Takes the savepoint away, back to it if the statement was cut short. */
static void end_savepoint(stream *s, bool cut_short)
{
    stele_conn *conn = s->conn;
    stele_error ignored;
    struct pg_result *result;
    static const stele__step back = {.kind = STELE__STEP_SIMPLE,
                                     .sql = "ROLLBACK TO SAVEPOINT " SAVEPOINT};
    if (!s->saved || conn->link->broken)
        return;
    s->saved = false;
    if (cut_short) {
        if (stele__link_exchange(conn->link, &back, 1, stele__deadline_in(DRAIN_MS), &result, NULL,
                                 &ignored) == STELE_OK)
            stele__result_clear(result);
        else
            conn->link->broken = true;
    }
    /* It travels with the next statement; a transaction that was aborted is past it. */
    if (stele__link_tx_status(conn->link) == STELE__TX_IN && conn->tx.pending_count == 0)
        (void)stele__copy_text(conn->tx.pending[conn->tx.pending_count++], STELE__PENDING_SIZE,
                               "RELEASE SAVEPOINT " SAVEPOINT);
}

/* Reads what is left if it is here already and little; true if the end was reached. */
static bool drain_a_little(stream *s)
{
    stele__link *link = s->conn->link;
    bool pulled = false;
    for (int i = 0; i < DRAIN_RESULTS && !s->over; i++) {
        struct pg_result *result = NULL;
        stele__arrival arrival = next(s, &result);
        if (arrival == STELE__ARRIVAL_ERROR)
            note(s, result);
        stele__result_clear(result);
        if (arrival == STELE__ARRIVAL_END) {
            finish(s);
        } else if (arrival == STELE__ARRIVAL_NONE) {
            if (pulled)
                return false;
            s->input_over = !stele__flow_pull(link);
            pulled = true;
        } else if (arrival == STELE__ARRIVAL_LOST || arrival == STELE__ARRIVAL_COPY) {
            lose(s);
        }
    }
    return s->over;
}

/* Ends the statement where it is. */
static void cut_short(stream *s)
{
    stele_conn *conn = s->conn;
    stele_error ignored;
    s->holder.deadline = stele__deadline_in(DRAIN_MS);
    if (drain_a_little(s)) {
        end_savepoint(s, s->status != STELE_OK);
        return;
    }
    s->status = STELE_E_CANCELED; /* what comes of it is expected */
    if (conn->ops->cancel(conn, &ignored) != STELE_OK)
        lose(s);
    while (!s->over) {
        s->at = s->count;
        read_rows(s);
    }
    end_savepoint(s, true);
}

static void leave(stele__holder *holder)
{
    stream *s = (stream *)(void *)holder;
    stele_conn *conn = s->conn;
    drop_result(s);
    if (!stele__link_is_foreign(conn->link)) {
        if (!s->over && !conn->link->broken)
            cut_short(s);
        if (conn->link->broken && s->in_tx)
            conn->tx.lost = true;
    }
    conn->held = NULL;
    stele_status st =
        s->status == STELE_E_CANCELED && s->error.status == STELE_OK ? STELE_OK : s->status;
    const stele__observed_in where = {.started_ns = s->started_ns,
                                      .round_trips =
                                          (uint32_t)(stele_conn_round_trips(conn) - s->trips)};
    stele__observe_end(conn, s->stmt, &where, s->delivered, st, &s->error);
    stele__free(s->traced);
    s->traced = NULL;
    s->conn = NULL;
    s->over = true;
    stele__entry_unpin(s->entry);
}

/* ---- what generated code calls ---- */

static stele_status loss(stream *s)
{
    bool reads = (s->stmt->properties & STELE_STMT_READ) != 0;
    bool unknown = !s->in_tx && !reads && s->error.sqlstate[0] == '\0';
    s->error.outcome_unknown = unknown;
    s->error.retryable = !unknown && s->status == STELE_E_LOST;
    if (unknown)
        s->error.status = s->status = STELE_E_UNKNOWN;
    return s->status;
}

static stele_status answer(stream *s, stele_error *err)
{
    if (s->status == STELE_OK)
        return STELE_DONE;
    if (s->conn->link->broken)
        (void)loss(s);
    else if (s->status == STELE_E_READ_ONLY)
        s->conn->link->refused_write = true;
    if (s->error.table[0] == '\0' && s->stmt->table != NULL)
        stele__error_place(&s->error, s->stmt->table, NULL);
    if (s->delivered > 0 && s->error.detail[0] == '\0')
        stele__error_detail(&s->error, "after %llu rows", (unsigned long long)s->delivered);
    stele__note_error(s->conn, s->status, &s->error);
    if (err != NULL)
        *err = s->error;
    return s->status;
}

/* Sends it; the first row, or the end, decides whether that went well. */
static stele_status start(stream *s, const stele__bound *bound, bool fresh, stele_error *err)
{
    stele_conn *conn = s->conn;
    if (stele__is_traced(conn)) {
        s->traced = stele__traced_sql(conn, s->entry);
        if (s->traced == NULL)
            return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", s->stmt->name);
    }
    s->trips = stele_conn_round_trips(conn);
    s->started_ns = stele__observe_start(conn, s->stmt);
    plan(s, fresh);
    conn->held = &s->holder;
    if (!send_all(s, bound)) {
        s->status = stele__flow_failed(conn->link, &s->error);
        s->over = true;
        return answer(s, err);
    }
    conn->link->round_trips++;
    for (int i = 0; i < s->lead_count && !s->over; i++)
        read_lead(s, &s->leads[i]);
    if (!s->over && !stele__flow_by_rows(conn->link))
        lose(s);
    read_rows(s);
    if (conn->link->broken && s->in_tx)
        conn->tx.lost = true;
    if (s->status != STELE_OK)
        return answer(s, err);
    stele__row_shape shape = {s->stmt->columns, s->stmt->column_count, s->stmt->row_size,
                              s->stmt->name};
    if (s->result != NULL && !stele__result_is_command(s->result))
        return stele__result_check(s->result, &shape, err);
    return STELE_OK;
}

static stele_status open_once(stele_conn *conn, const stele__call *call, stele__entry *entry,
                              bool fresh, void **ret_iter, bool *ret_stale, stele_error *err)
{
    stele__bound bound;
    stream *s = stele__calloc(1, sizeof *s + call->stmt->row_size);
    if (s == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", call->stmt->name);
    s->holder.what = "an open stream of rows";
    s->holder.leave = leave;
    s->holder.deadline = stele__conn_deadline(conn);
    s->conn = conn;
    s->stmt = call->stmt;
    s->entry = entry;
    stele__entry_pin(entry);
    stele_status st = stele__bind(call->stmt, call->args, entry->states, entry->slots,
                                  entry->param_count, &bound, err);
    if (st == STELE_OK) {
        st = start(s, &bound, fresh, err);
        *ret_stale = st != STELE_OK && s->named && entry->state == STELE__ENTRY_PREPARED &&
                     stele__is_stale_plan(&s->error);
        if (st != STELE_OK && err->sqlstate[0] == '2' && err->sqlstate[1] == '2')
            stele__name_culprit(call, err);
    }
    stele__bind_release(&bound);
    if (st == STELE_OK) {
        *ret_iter = s;
        return STELE_OK;
    }
    if (conn->held == &s->holder)
        leave(&s->holder);
    else
        stele__entry_unpin(entry);
    stele__free(s);
    return st;
}

stele_status stele_gen_iter_open(stele_conn *conn, const stele_gen_stmt *stmt,
                                 const void *const *args, uint32_t flags, void **ret_iter,
                                 stele_error *err)
{
    stele_error local;
    stele__call call = {stmt, args, flags};
    if (err == NULL)
        err = &local;
    for (;;) {
        bool fresh = false;
        bool stale = false;
        stele__entry *entry;
        stele_status st = stele__conn_usable(conn, err);
        if (st == STELE_OK)
            st = stele__entry_find(conn, &call, &entry, &fresh, err);
        if (st != STELE_OK)
            return st;
        stele__entry_pin(entry);
        st = open_once(conn, &call, entry, fresh, ret_iter, &stale, err);
        if (!conn->link->broken && !entry->dropped)
            stele__cache_touch(conn->link->cache, entry);
        bool again = stale && !conn->link->broken && stele__entry_renew(conn, entry, err);
        stele__entry_unpin(entry);
        if (!again)
            return st;
    }
}

stele_status stele_gen_iter_next(void *iter, const void **ret_row, stele_error *err)
{
    stream *s = iter;
    if (s->conn == NULL)
        return stele__fail(err, STELE_E_MISUSE, "the connection of this stream was given up");
    if (stele__link_is_foreign(s->conn->link))
        return stele__fail(err, STELE_E_FORKED, "the connection belongs to the parent process");
    if (s->at == s->count) {
        s->holder.deadline = 0; /* set when there is something to wait for: a clock costs */
        read_rows(s);
        if (s->at == s->count)
            return answer(s, err);
    }
    stele__row_shape shape = {s->stmt->columns, s->stmt->column_count, s->stmt->row_size,
                              s->stmt->name};
    stele_status st = stele__result_row_at(s->result, &shape, s->at, s->row, err);
    if (st != STELE_OK)
        return st;
    s->at++;
    s->delivered++;
    *ret_row = s->row;
    return STELE_OK;
}

void stele_gen_iter_close(void *iter)
{
    stream *s = iter;
    if (s == NULL)
        return;
    if (s->conn != NULL) {
        if (s->over && s->status == STELE_OK)
            end_savepoint(s, false);
        leave(&s->holder);
    }
    drop_result(s);
    stele__free(s);
}
