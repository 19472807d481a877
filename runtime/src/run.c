/**
 * The path of every generated call.
 *
 * Floor: stmt.
 */
#include "run.h"

#include <string.h>

#include "mem_internal.h"
#include "observe.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define MAX_STEPS (STELE__PENDING_MAX + 5)

/* ---- sending ---- */

/* What one attempt sends, and what it must remember afterwards. */
typedef struct attempt {
    stele__step steps[MAX_STEPS];
    int count;
    bool is_open;         /* the server was in our transaction before */
    int deallocate_step;  /* -1: none */
    int prepare_step;     /* -1: none */
    stele__entry *victim; /* what is deallocated; the entry itself when its plan is stale */
    char deallocate[48];
} attempt;

static void add_pending(const stele_conn *conn, attempt *a)
{
    for (int i = 0; i < conn->tx.pending_count; i++)
        a->steps[a->count++] =
            (stele__step){.kind = STELE__STEP_SIMPLE, .sql = conn->tx.pending[i]};
}

static void add_deallocate(attempt *a, stele__entry *victim)
{
    size_t len = stele__copy_text(a->deallocate, sizeof a->deallocate, "DEALLOCATE ");
    (void)stele__copy_text(a->deallocate + len, sizeof a->deallocate - len, victim->name);
    a->victim = victim;
    a->deallocate_step = a->count;
    a->steps[a->count++] = (stele__step){.kind = STELE__STEP_DEALLOCATE, .sql = a->deallocate};
}

static void add_prepare(const stele__cache *cache, stele__entry *entry, attempt *a)
{
    stele__entry *victim = entry->state == STELE__ENTRY_STALE ? entry : stele__cache_victim(cache);
    if (victim != NULL)
        add_deallocate(a, victim);
    a->prepare_step = a->count;
    a->steps[a->count++] = (stele__step){.kind = STELE__STEP_PREPARE,
                                         .name = entry->name,
                                         .sql = entry->sql,
                                         .param_count = entry->param_count,
                                         .types = entry->types};
}

/*
 * A prepare that fails must neither be seen by BEGIN nor escape a pending savepoint: it comes before
 * the one and after the other.
 */
static void plan_attempt(stele_conn *conn, const stele__cache *cache, stele__entry *entry,
                         bool fresh, const stele__bound *bound, attempt *a)
{
    a->count = 0;
    a->deallocate_step = -1;
    a->prepare_step = -1;
    a->is_open = conn->tx.state == STELE__TX_OPEN;
    if (a->is_open)
        add_pending(conn, a);
    if (!fresh && stele__entry_worth_preparing(conn, cache, entry))
        add_prepare(cache, entry, a);
    if (!a->is_open)
        add_pending(conn, a);
    if (stele__entry_plans_anew(conn, entry))
        a->steps[a->count++] = (stele__step){.kind = STELE__STEP_SIMPLE, .sql = STELE__PLAN_ANEW};
    bool named = a->prepare_step >= 0 || entry->state == STELE__ENTRY_PREPARED;
    a->steps[a->count++] = (stele__step){.kind = named ? STELE__STEP_EXECUTE : STELE__STEP_QUERY,
                                         .name = entry->name,
                                         .sql = entry->sql,
                                         .param_count = bound->count,
                                         .types = entry->types,
                                         .values = bound->values,
                                         .lengths = bound->lengths,
                                         .formats = bound->formats,
                                         .result_format = 1};
}

/* After BEGIN travelled: what the server made of it. */
void stele__settle_transaction(stele_conn *conn)
{
    stele__tx_status status = stele__link_tx_status(conn->link);
    if (status == STELE__TX_IN || status == STELE__TX_ERROR) {
        conn->tx.state = STELE__TX_OPEN;
        conn->tx.pending_count = 0;
    }
}

static bool may_be_stored(const stele_conn *conn, bool in_tx, stele__effect effect,
                          const stele_error *err)
{
    if (effect == STELE__ANYTHING && conn->link->sent && (!in_tx || conn->tx.commit_sent))
        return true;
    return !in_tx && effect != STELE__READS && err->outcome_unknown;
}

/*
 * What a lost or late answer means. Inside a transaction nothing is stored before COMMIT; once that
 * was sent, or for a write outside a transaction, nobody knows.
 */
static stele_status judge_loss(stele_conn *conn, bool in_tx, stele__effect effect, stele_status st,
                               stele_error *err)
{
    bool unknown = may_be_stored(conn, in_tx, effect, err);
    err->outcome_unknown = unknown;
    err->retryable = !unknown && st == STELE_E_LOST;
    if (in_tx)
        conn->tx.lost = true;
    if (!unknown)
        return st;
    stele__error_hint(err, "it may or may not be stored: look before repeating it, or make it "
                           "idempotent");
    if (st != STELE_E_LOST && !conn->tx.commit_sent)
        return st;
    err->status = STELE_E_UNKNOWN;
    return STELE_E_UNKNOWN;
}

void stele__note_error(stele_conn *conn, stele_status st, const stele_error *err)
{
    if (conn->tx.state == STELE__TX_NONE || conn->tx.first_error != STELE_OK)
        return;
    conn->tx.first_error = st;
    (void)stele__copy_text(conn->tx.first_sqlstate, sizeof conn->tx.first_sqlstate, err->sqlstate);
}

/* What a failed exchange means for the caller and for the transaction. */
static stele_status judge(stele_conn *conn, bool in_tx, stele__effect effect, stele_status st,
                          stele_error *err)
{
    if (conn->link->broken)
        st = judge_loss(conn, in_tx, effect, st, err);
    stele__note_error(conn, st, err);
    return st;
}

stele_status stele__exchange(stele_conn *conn, const stele__step *steps, int count,
                             stele__effect effect, struct pg_result **ret_result,
                             int *ret_failed_step, stele_error *err)
{
    bool in_tx = conn->tx.state != STELE__TX_NONE;
    bool begins = conn->tx.pending_count > 0;
    stele_status st = stele__link_exchange(conn->link, steps, count, stele__conn_deadline(conn),
                                           ret_result, ret_failed_step, err);
    if (begins)
        stele__settle_transaction(conn);
    return st == STELE_OK ? st : judge(conn, in_tx, effect, st, err);
}

/* One prepared statement and nothing else. */
static stele_status execute(stele_conn *conn, const stele__entry *entry, const stele__bound *bound,
                            stele__effect effect, struct pg_result **ret_result, stele_error *err)
{
    *ret_result = stele__link_execute(conn->link, entry->name, bound->count, bound->values,
                                      bound->lengths, bound->formats, &conn->limits, err);
    if (*ret_result != NULL)
        return STELE_OK;
    return judge(conn, conn->tx.state != STELE__TX_NONE, effect, err->status, err);
}

static stele__effect effect_of(const stele_gen_stmt *stmt)
{
    return (stmt->properties & STELE_STMT_READ) != 0 ? STELE__READS : STELE__WRITES;
}

/* ---- one call ---- */

typedef struct running {
    stele_conn *conn;
    const stele__call *call;
    stele__entry *entry;
    bool fresh; /* the entry is new */
} running;

/* Brings the cache up to date with what the server has now. */
static void settle_cache(stele__cache *cache, stele__entry *entry, const attempt *a,
                         stele_status st, int failed)
{
    if (a->deallocate_step >= 0 && (st == STELE_OK || failed > a->deallocate_step)) {
        if (a->victim == entry)
            stele__cache_unprepared(cache, entry);
        else
            stele__cache_drop(cache, a->victim);
    }
    /* An error of the execution leaves the statement prepared, one of the prepare does not. */
    if (a->prepare_step >= 0 && (st == STELE_OK || failed > a->prepare_step))
        stele__cache_prepared(cache, entry);
}

/* `ret_named` says, after an error, whether it was a prepared statement's execution that failed. */
static stele_status send(const running *r, const stele__bound *bound, bool *ret_named,
                         struct pg_result **ret_result, stele_error *err)
{
    attempt a;
    stele_conn *conn = r->conn;
    stele__effect effect = effect_of(r->call->stmt);
    if (r->entry->state == STELE__ENTRY_PREPARED && conn->tx.pending_count == 0 && !conn->sampled) {
        *ret_named = true;
        return execute(conn, r->entry, bound, effect, ret_result, err);
    }
    *ret_named = false;
    if (conn->sampled)
        return stele__send_traced(conn, r->call->stmt, r->entry, bound, ret_result, err);
    int failed = 0;
    plan_attempt(conn, conn->link->cache, r->entry, r->fresh, bound, &a);
    stele_status st = stele__exchange(conn, a.steps, a.count, effect, ret_result, &failed, err);
    *ret_named = a.steps[a.count - 1].kind == STELE__STEP_EXECUTE && failed == a.count - 1;
    if (conn->link->broken)
        return st;
    settle_cache(conn->link->cache, r->entry, &a, st, failed);
    if (st != STELE_OK && a.is_open && conn->link->forgiven != 0) {
        /* An error that was forgiven has aborted the transaction all the same. */
        err->retryable = true;
        conn->tx.stale = true;
    }
    return st;
}

static stele_status check_types(const running *r, struct pg_result *result, stele_error *err)
{
    const stele_gen_stmt *stmt = r->call->stmt;
    stele__row_shape shape = {stmt->columns, stmt->column_count, stmt->row_size, stmt->name};
    stele_status st = STELE_OK;
    if (stmt->column_count > 0 && !stele__result_is_command(result))
        st = stele__result_check(result, &shape, err);
    /* Only a prepared statement keeps its types: the server refuses it once they change. */
    if (st == STELE_OK && r->entry->state == STELE__ENTRY_PREPARED)
        stele__entry_set_checked(r->entry);
    return st;
}

/* Names what a failed statement was about. */
static stele_status explain(const stele__call *call, stele_status st, stele_error *err)
{
    if (err->sqlstate[0] == '2' && err->sqlstate[1] == '2')
        stele__name_culprit(call, err);
    if (err->table[0] == '\0' && call->stmt->table != NULL)
        stele__error_place(err, call->stmt->table, NULL);
    return st;
}

static stele_status run_entry(const running *r, struct pg_result **ret_result, stele_error *err)
{
    stele__bound bound;
    const stele_gen_stmt *stmt = r->call->stmt;
    stele_status st = stele__bind(stmt, r->call->args, r->entry->states, r->entry->slots,
                                  r->entry->param_count, &bound, err);
    if (st == STELE_OK) {
        bool named;
        do
            st = send(r, &bound, &named, ret_result, err);
        while (st != STELE_OK && named && stele__is_stale_plan(err) &&
               stele__entry_renew(r->conn, r->entry, err));
    }
    stele__bind_release(&bound);
    if (st != STELE_OK)
        return explain(r->call, st, err);
    r->entry->stale_runs = 0;
    if (r->entry->checked == STELE__UNCHECKED)
        st = check_types(r, *ret_result, err);
    if (st != STELE_OK) {
        stele__result_clear(*ret_result);
        return stele__undelivered(r->conn, r->call, st, err);
    }
    return st;
}

/* Apart, so that its many variables are not in the way of the frequent case. */
__attribute__((noinline)) stele_status stele__run_call(stele_conn *conn, const stele__call *call,
                                                       struct pg_result **ret_result,
                                                       stele_error *err)
{
    running r = {.conn = conn, .call = call};
    stele_status st = stele__conn_usable(conn, err);
    if (st == STELE_OK)
        st = stele__entry_find(conn, call, &r.entry, &r.fresh, err);
    if (st != STELE_OK)
        return st;
    stele__link *link = conn->link;
    st = run_entry(&r, ret_result, err);
    /* A broken link takes its cache along; it is closed by the pool, not here. */
    stele__cache_touch(link->cache, r.entry);
    return st;
}

/* The frequent case failed: judges the error, or clears it if the statement is to run in full. */
static void judge_latest(stele_conn *conn, const stele__call *call, stele_error *err)
{
    stele__entry *entry =
        stele__cache_latest(conn->link->cache, call->stmt, conn->names->id, call->flags);
    stele_status st =
        judge(conn, conn->tx.state != STELE__TX_NONE, effect_of(call->stmt), err->status, err);
    if (entry != NULL && stele__is_stale_plan(err) && stele__entry_renew(conn, entry, err))
        err->status = STELE_OK;
    else
        err->status = explain(call, st, err);
}

struct pg_result *stele__run_on(stele_conn *conn, const stele_gen_stmt *stmt,
                                const void *const *args, uint32_t flags, stele_error *latest,
                                stele_status *ret_status, stele_error *err)
{
    const stele__call call = {stmt, args, flags};
    struct pg_result *result = NULL;
    if (latest->status != STELE_OK)
        judge_latest(conn, &call, latest);
    stele_status st = latest->status;
    if (st == STELE_OK && conn->observed)
        st = stele__run_observed(conn, &call, &result, latest);
    else if (st == STELE_OK)
        st = stele__run_call(conn, &call, &result, latest);
    *ret_status = st;
    if (st == STELE_OK)
        return result;
    if (latest->status == STELE_OK) /* a hook that told nothing */
        (void)stele__fail(latest, st, "%s: %s", stmt->name, stele_status_text(st));
    if (err != NULL)
        *err = *latest;
    return NULL;
}

stele_status stele__run_sql(stele_conn *conn, const char *sql, const char *const *params,
                            int param_count, struct pg_result **ret_result, stele_error *err)
{
    stele_error local;
    stele__step steps[STELE__PENDING_MAX + 1];
    int count = 0;
    if (err == NULL)
        err = &local;
    stele_status st = stele__conn_usable(conn, err);
    if (st != STELE_OK)
        return st;
    for (; count < conn->tx.pending_count; count++)
        steps[count] = (stele__step){.kind = STELE__STEP_SIMPLE, .sql = conn->tx.pending[count]};
    steps[count++] = (stele__step){
        .kind = STELE__STEP_QUERY, .sql = sql, .param_count = param_count, .values = params};
    return stele__exchange(conn, steps, count, STELE__ANYTHING, ret_result, NULL, err);
}

stele_status stele__undelivered(const stele_conn *conn, const stele__call *call, stele_status st,
                                stele_error *err)
{
    const stele_gen_stmt *stmt = call->stmt;
    if (err == NULL)
        return st;
    if (err->table[0] == '\0' && stmt->table != NULL)
        stele__error_place(err, stmt->table, NULL);
    if (conn->tx.state == STELE__TX_NONE && (stmt->properties & STELE_STMT_READ) == 0)
        err->outcome_unknown = true;
    return st;
}

stele_status stele__no_row(const stele__call *call, stele_error *err)
{
    const stele_gen_stmt *stmt = call->stmt;
    const char *table = stmt->table != NULL ? stmt->table : stmt->name;
    stele_status st = STELE_E_NOT_FOUND;
    if ((stmt->properties & STELE_STMT_VERSION) != 0 &&
        stele__bind_value(&stmt->params[stmt->version_param], call->args) != NULL) {
        st = stele__fail(err, STELE_E_CONFLICT, "%s: no row with this key and version", table);
        stele__error_hint(err, "it was changed or deleted meanwhile: read it again");
    } else {
        (void)stele__fail(err, STELE_E_NOT_FOUND, "%s: no such row", table);
    }
    stele__error_place(err, table, NULL);
    return st;
}
