/**
 * The path of every generated call.
 *
 * Floor: stmt.
 */
#include "run.h"

#include <string.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* Parameters whose states fit on the stack. */
#define STATES_INLINE 256
#define MAX_STEPS (STELE__PENDING_MAX + 4)

/* ---- finding the entry ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    a ^= b;
    a *= UINT64_C(0x9e3779b97f4a7c15);
    return a ^ (a >> 29);
}

static stele__key make_key(const stele_conn *conn, const stele__call *call, const uint8_t *states)
{
    const stele_gen_stmt *stmt = call->stmt;
    stele__key key = {
        .stmt = stmt,
        .names_id = conn->names->id,
        .flags = call->flags,
        .shape_len = states != NULL ? (uint16_t)(stmt->param_count - stmt->shape_from) : 0,
        .shape = states != NULL ? states + stmt->shape_from : NULL,
    };
    key.hash = mix((uint64_t)(uintptr_t)stmt, key.names_id);
    if (key.flags != 0)
        key.hash = mix(key.hash, key.flags);
    if (key.shape_len > 0)
        key.hash = mix(key.hash, stele__hash64(0, key.shape, key.shape_len));
    key.hash *= UINT64_C(0xff51afd7ed558ccd);
    return key;
}

/* The server name: the same text and types have the same name in every process. */
static void name_statement(stele__entry *entry)
{
    uint64_t hash = stele__hash64(0, entry->sql, strlen(entry->sql));
    hash = stele__hash64(hash, entry->types, entry->param_count * sizeof *entry->types);
    char bytes[8];
    stele__put_be64(bytes, hash);
    memcpy(entry->name, "stele_", 6);
    stele__hex_encode(bytes, sizeof bytes, entry->name + 6);
}

static bool render_entry(const stele_conn *conn, const stele__call *call, const uint8_t *states,
                         stele__entry *entry, stele_status *ret_status, stele_error *err)
{
    const stele_gen_stmt *stmt = call->stmt;
    stele__render_input input = {
        .parts = stmt->parts,
        .part_count = stmt->part_count,
        .params = stmt->params,
        .param_count = stmt->param_count,
        .states = states,
        .flags = call->flags,
        .module = stmt->module,
        .names = conn->names,
        .groups = stmt->groups,
    };
    stele__buf sql;
    stele__buf_init(&sql);
    *ret_status = stele__render(&input, &sql, entry->order, &entry->param_count, err);
    entry->sql = *ret_status == STELE_OK ? stele__buf_take(&sql) : NULL;
    stele__buf_release(&sql);
    if (entry->sql == NULL)
        return false;
    for (int i = 0; i < entry->param_count; i++) {
        uint16_t param = entry->order[i];
        entry->types[i] = stele__bind_oid(&stmt->params[param],
                                          states != NULL ? states[param] : (uint8_t)STELE__PARAM);
    }
    stele__bind_plan(stmt, entry->order, entry->param_count, entry->slots);
    name_statement(entry);
    return true;
}

static stele_status new_entry(const stele_conn *conn, const stele__call *call,
                              const uint8_t *states, const stele__key *key,
                              stele__entry **ret_entry, stele_error *err)
{
    size_t n = call->stmt->param_count;
    size_t each = sizeof(stele__bind_input) + sizeof(stele__bind_slot) + sizeof(uint32_t) +
                  sizeof(uint16_t) + sizeof(uint8_t);
    size_t size = sizeof(stele__entry) + n * each;
    stele__entry *entry = stele__calloc(1, size);
    if (entry == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", call->stmt->name);
    entry->inputs = (stele__bind_input *)(void *)(entry + 1);
    entry->slots = (stele__bind_slot *)(void *)(entry->inputs + n);
    entry->types = (uint32_t *)(void *)(entry->slots + n);
    entry->order = (uint16_t *)(void *)(entry->types + n);
    entry->hash = key->hash;
    entry->stmt = key->stmt;
    entry->names_id = key->names_id;
    entry->flags = key->flags;
    entry->shape_len = key->shape_len;
    if (states != NULL) {
        entry->states = (uint8_t *)(void *)(entry->order + n);
        memcpy(entry->states, states, n);
        entry->shape = entry->states + call->stmt->shape_from;
    }
    stele_status st;
    if (!render_entry(conn, call, states, entry, &st, err)) {
        stele__free(entry);
        return st != STELE_OK
                   ? st
                   : stele__fail(err, STELE_E_NOMEM, "%s: out of memory", call->stmt->name);
    }
    *ret_entry = entry;
    return STELE_OK;
}

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

/* Inside a failed transaction nothing can be prepared; an unnamed statement fails just as well. */
bool stele__should_prepare(const stele_conn *conn, const stele__cache *cache,
                           const stele__entry *entry)
{
    if (conn->link->unnamed || entry->state == STELE__ENTRY_PREPARED)
        return false;
    /* The server plans what is sent unnamed with the values at hand, every time. */
    if ((entry->stmt->properties & STELE_STMT_CUSTOM_PLAN) != 0)
        return false;
    if (stele__link_tx_status(conn->link) == STELE__TX_ERROR)
        return false;
    return entry->state == STELE__ENTRY_STALE || stele__cache_is_recent(cache, entry);
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
    if (!fresh && stele__should_prepare(conn, cache, entry))
        add_prepare(cache, entry, a);
    if (!a->is_open)
        add_pending(conn, a);
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
static void settle_transaction(stele_conn *conn)
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

static void note_first_error(stele_conn *conn, stele_status st, const stele_error *err)
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
    note_first_error(conn, st, err);
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
        settle_transaction(conn);
    return st == STELE_OK ? st : judge(conn, in_tx, effect, st, err);
}

/* The frequent case: one prepared statement and nothing else. */
static stele_status execute(stele_conn *conn, const stele__entry *entry, const stele__bound *bound,
                            stele__effect effect, struct pg_result **ret_result, stele_error *err)
{
    const stele__step step = {.kind = STELE__STEP_EXECUTE,
                              .name = entry->name,
                              .param_count = bound->count,
                              .values = bound->values,
                              .lengths = bound->lengths,
                              .formats = bound->formats,
                              .result_format = 1};
    uint64_t now = (uint64_t)stele__now_ns();
    stele__deadline deadline = now + (uint64_t)conn->call_timeout_ms * 1000000u;
    if (conn->deadline < deadline)
        deadline = conn->deadline;
    bool in_tx = conn->tx.state != STELE__TX_NONE;
    stele_status st = stele__link_execute(conn->link, &step, now, deadline, ret_result, err);
    return st == STELE_OK ? st : judge(conn, in_tx, effect, st, err);
}

/* ---- plans that no longer fit ---- */

bool stele__is_stale_plan(const stele_error *err)
{
    /* A cached plan fails like this after its tables changed, or when the server lost it. */
    static const char *const codes[] = {"0A000", "26000", "42883", "42703", "42P01", "42804"};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (strcmp(err->sqlstate, codes[i]) == 0)
            return true;
    return false;
}

/* How often in a row a plan made anew may be stale again before the error is taken at its word. */
#define STALE_RUNS_MAX 3

bool stele__renew_entry(stele_conn *conn, stele__entry *entry, stele_error *err)
{
    stele_status st;
    stele_error ignored;
    stele__call call = {entry->stmt, NULL, entry->flags};
    stele__cache *cache = conn->link->cache;
    if (conn->link->broken || entry->stale_runs >= STALE_RUNS_MAX)
        return false;
    if (entry->sql == NULL && !render_entry(conn, &call, entry->states, entry, &st, &ignored))
        return false;
    entry->stale_runs++;
    entry->checked = false;
    if (strcmp(err->sqlstate, "26000") == 0) {
        /* What lost one statement lost all: DISCARD ALL, or another backend behind a pooler. */
        stele__cache_unprepared(cache, entry);
        stele__cache_clear(cache, entry);
    } else {
        entry->state = STELE__ENTRY_STALE;
    }
    if (conn->tx.state == STELE__TX_NONE)
        return true;
    /* The transaction is aborted; running it again will do. */
    err->retryable = true;
    conn->tx.stale = true;
    return false;
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
    bool reads = (r->call->stmt->properties & STELE_STMT_READ) != 0;
    stele__effect effect = reads ? STELE__READS : STELE__WRITES;
    if (r->entry->state == STELE__ENTRY_PREPARED && conn->tx.pending_count == 0) {
        *ret_named = true;
        return execute(conn, r->entry, bound, effect, ret_result, err);
    }
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
        r->entry->checked = true;
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
               stele__renew_entry(r->conn, r->entry, err));
    }
    stele__bind_release(&bound);
    if (st != STELE_OK) {
        if (err->sqlstate[0] == '2' && err->sqlstate[1] == '2')
            stele__name_culprit(r->call, err);
        if (err->table[0] == '\0' && stmt->table != NULL)
            stele__error_place(err, stmt->table, NULL);
        return st;
    }
    r->entry->stale_runs = 0;
    if (!r->entry->checked)
        st = check_types(r, *ret_result, err);
    if (st != STELE_OK) {
        stele__result_clear(*ret_result);
        return stele__undelivered(r->conn, r->call, st, err);
    }
    return st;
}

/* Finds or makes the entry for the shape that the inputs have now. */
static stele_status look_up_states(running *r, uint8_t *states, stele_error *err)
{
    stele__cache *cache = r->conn->link->cache;
    const stele_gen_stmt *stmt = r->call->stmt;
    if (states != NULL) {
        stele_status st = stele__bind_states(stmt, r->call->args, states, err);
        if (st != STELE_OK)
            return st;
    }
    stele__key key = make_key(r->conn, r->call, states);
    r->entry = stele__cache_find(cache, &key);
    if (r->entry == NULL) {
        stele_status st = new_entry(r->conn, r->call, states, &key, &r->entry, err);
        if (st != STELE_OK)
            return st;
        stele__cache_add(cache, r->entry);
        r->fresh = true;
    }
    stele__bind_note_tags(stmt, r->call->args, r->entry->inputs);
    return STELE_OK;
}

static stele_status look_up(running *r, stele_error *err)
{
    const stele_gen_stmt *stmt = r->call->stmt;
    uint8_t inline_states[STATES_INLINE];
    if (stmt->shape_from >= stmt->param_count)
        return look_up_states(r, NULL, err);
    if (stmt->param_count <= STATES_INLINE)
        return look_up_states(r, inline_states, err);
    uint8_t *states = stele__alloc(stmt->param_count);
    if (states == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", stmt->name);
    stele_status st = look_up_states(r, states, err);
    stele__free(states);
    return st;
}

static inline stele_status find_entry(running *r, stele_error *err)
{
    stele__link *link = r->conn->link;
    const stele_gen_stmt *stmt = r->call->stmt;
    __atomic_store_n(&r->conn->last_statement, stmt->name, __ATOMIC_RELAXED);
    if (link->cache == NULL) {
        link->cache = stele__cache_new(link->cache_capacity);
        link->free_cache = stele__cache_free;
        if (link->cache == NULL)
            return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", stmt->name);
    }
    r->entry = stele__cache_latest(link->cache, stmt, r->conn->names->id, r->call->flags);
    if (r->entry == NULL ||
        !stele__bind_has_tags(r->entry->inputs, r->entry->shape_len, r->call->args))
        return look_up(r, err);
    return STELE_OK;
}

stele_status stele__find_entry(stele_conn *conn, const stele__call *call, stele__entry **ret_entry,
                               bool *ret_fresh, stele_error *err)
{
    running r = {.conn = conn, .call = call};
    stele_status st = find_entry(&r, err);
    *ret_entry = r.entry;
    *ret_fresh = r.fresh;
    return st;
}

static stele_status run_call(stele_conn *conn, const stele__call *call,
                             struct pg_result **ret_result, stele_error *err)
{
    running r = {.conn = conn, .call = call};
    stele_status st = stele__conn_usable(conn, err);
    if (st == STELE_OK)
        st = find_entry(&r, err);
    if (st != STELE_OK)
        return st;
    stele__link *link = conn->link;
    st = run_entry(&r, ret_result, err);
    /* A broken link takes its cache along; it is closed by the pool, not here. */
    stele__cache_touch(link->cache, r.entry);
    return st;
}

stele_status stele__run(stele_conn *conn, const stele__call *call, struct pg_result **ret_result,
                        stele_error *err)
{
    /* What went wrong must be known here, also when the caller does not ask; and a caller's error is
     * left alone when a second attempt succeeds. */
    stele_error local;
    local.status = STELE_OK;
    stele_status st = run_call(conn, call, ret_result, &local);
    if (st == STELE_OK || err == NULL)
        return st;
    if (local.status == STELE_OK) /* a hook that told nothing */
        (void)stele__fail(&local, st, "%s: %s", call->stmt->name, stele_status_text(st));
    *err = local;
    return st;
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
