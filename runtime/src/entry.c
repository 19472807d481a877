/**
 * Cache entries: made, found, and renewed when their plans no longer fit.
 *
 * Floor: stmt.
 */
#include "entry.h"

#include <string.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* Parameters whose states fit on the stack. */
#define STATES_INLINE 256

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

char *stele__entry_text(const stele_conn *conn, const stele__entry *entry)
{
    const stele_gen_stmt *stmt = entry->stmt;
    stele__render_input input = {
        .parts = stmt->parts,
        .part_count = stmt->part_count,
        .params = stmt->params,
        .param_count = stmt->param_count,
        .states = entry->states,
        .flags = entry->flags,
        .module = stmt->module,
        .names = conn->names,
        .groups = stmt->groups,
    };
    stele_error ignored;
    stele__buf sql;
    uint16_t count;
    uint16_t *order = stele__calloc((size_t)stmt->param_count + 1, sizeof *order);
    if (order == NULL)
        return NULL;
    stele__buf_init(&sql);
    bool fine = stele__render(&input, &sql, order, &count, &ignored) == STELE_OK;
    char *text = fine ? stele__buf_take(&sql) : NULL;
    stele__buf_release(&sql);
    stele__free(order);
    return text;
}

static stele_status new_entry(const stele_conn *conn, const stele__call *call,
                              const uint8_t *states, const stele__key *key,
                              stele__entry **ret_entry, stele_error *err)
{
    size_t n = call->stmt->param_count;
    size_t each = sizeof(stele__bind_input) + sizeof(stele__bind_slot) + 2 * sizeof(uint32_t) +
                  sizeof(uint16_t) + sizeof(uint8_t);
    size_t size = sizeof(stele__entry) + n * each;
    stele__entry *entry = stele__calloc(1, size);
    if (entry == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", call->stmt->name);
    entry->inputs = (stele__bind_input *)(void *)(entry + 1);
    entry->slots = (stele__bind_slot *)(void *)(entry->inputs + n);
    entry->types = (uint32_t *)(void *)(entry->slots + n);
    uint32_t *offsets = entry->types + n;
    entry->order = (uint16_t *)(void *)(offsets + n);
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
    stele__bind_plan_texts(call->stmt, states, entry->slots, entry->param_count, offsets,
                           &entry->texts);
    *ret_entry = entry;
    return STELE_OK;
}

/* Finds or makes the entry for the shape that the inputs have now. */
static stele_status look_up_states(stele_conn *conn, const stele__call *call, uint8_t *states,
                                   stele__entry **ret_entry, bool *ret_fresh, stele_error *err)
{
    stele__cache *cache = conn->link->cache;
    const stele_gen_stmt *stmt = call->stmt;
    if (states != NULL) {
        stele_status st = stele__bind_states(stmt, call->args, states, err);
        if (st != STELE_OK)
            return st;
    }
    stele__key key = make_key(conn, call, states);
    stele__entry *entry = stele__cache_find(cache, &key);
    if (entry == NULL) {
        stele_status st = new_entry(conn, call, states, &key, &entry, err);
        if (st != STELE_OK)
            return st;
        stele__cache_add(cache, entry);
        *ret_fresh = true;
    }
    stele__bind_note_tags(stmt, call->args, entry->inputs);
    *ret_entry = entry;
    return STELE_OK;
}

stele_status stele__entry_look_up(stele_conn *conn, const stele__call *call,
                                  stele__entry **ret_entry, bool *ret_fresh, stele_error *err)
{
    const stele_gen_stmt *stmt = call->stmt;
    stele__link *link = conn->link;
    uint8_t inline_states[STATES_INLINE];
    if (link->cache == NULL) {
        link->cache = stele__cache_new(link->cache_capacity);
        link->free_cache = stele__cache_free;
        if (link->cache == NULL)
            return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", stmt->name);
    }
    if (stmt->shape_from >= stmt->param_count)
        return look_up_states(conn, call, NULL, ret_entry, ret_fresh, err);
    if (stmt->param_count <= STATES_INLINE)
        return look_up_states(conn, call, inline_states, ret_entry, ret_fresh, err);
    uint8_t *states = stele__alloc(stmt->param_count);
    if (states == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", stmt->name);
    stele_status st = look_up_states(conn, call, states, ret_entry, ret_fresh, err);
    stele__free(states);
    return st;
}

/* Inside a failed transaction nothing can be prepared; an unnamed statement fails just as well. */
bool stele__entry_worth_preparing(const stele_conn *conn, const stele__cache *cache,
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

bool stele__entry_plans_anew(const stele_conn *conn, const stele__entry *entry)
{
    return conn->link->generic && (entry->stmt->properties & STELE_STMT_CUSTOM_PLAN) != 0;
}

/* How often in a row a plan made anew may be stale again before the error is taken at its word. */
#define STALE_RUNS_MAX 3

bool stele__entry_renew(stele_conn *conn, stele__entry *entry, stele_error *err)
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
    entry->checked = STELE__UNCHECKED;
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

bool stele__entry_revive(stele_conn *conn, stele__entry *entry)
{
    stele_status st;
    stele_error ignored;
    stele__call call = {entry->stmt, NULL, entry->flags};
    if (!entry->dropped)
        return true;
    if (conn->names->id != entry->names_id)
        return false;
    if (entry->sql == NULL && !render_entry(conn, &call, entry->states, entry, &st, &ignored))
        return false;
    entry->checked = STELE__UNCHECKED;
    stele__cache_add(conn->link->cache, entry);
    return true;
}
