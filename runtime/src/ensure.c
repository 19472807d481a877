/**
 * Creating and verifying the tables of a module.
 *
 * Looking comes first and costs one round trip; when all is there, nothing else happens. What is
 * missing is created in one transaction under an advisory lock, then looked at again. Programs that
 * know no such lock may do the same at the same time, so a lost race is a reason to start over.
 *
 * Floor: migrate.
 */
#include "stele/ensure.h"

#include <string.h>

#include "db_internal.h"
#include "ensure_internal.h"
#include "run.h"
#include "status_internal.h"
#include "stele/tx.h"
#include "text_internal.h"

#include "banned.h"

#define LOCK_TIMEOUT_MS 3000
/* Each lost race means that another program has got further, so few rounds are ever needed. */
#define MOST_ROUNDS 30
#define PAUSE_MS 100

/* ---- what the other files use ---- */

void stele__ensure_phase(const stele__ensure *e, stele_ensure_phase phase, const char *object)
{
    if (e->options.on_phase != NULL)
        e->options.on_phase(phase, object, e->options.user);
}

static stele__difference *new_difference(stele__ensure *e)
{
    if (e->difference_count == e->difference_room) {
        size_t room = 2 * e->difference_room + 8;
        stele__difference *more = stele__block_calloc(&e->round, room, sizeof *more);
        if (more == NULL)
            return NULL;
        if (e->difference_count > 0)
            memcpy(more, e->differences, e->difference_count * sizeof *more);
        e->differences = more;
        e->difference_room = room;
    }
    return &e->differences[e->difference_count];
}

void stele__ensure_differ(stele__ensure *e, bool soft, const char *table, const char *object,
                          const char *fmt, ...)
{
    stele__buf buf = {0};
    va_list args;
    va_start(args, fmt);
    stele__buf_vaddf(&buf, fmt, args);
    va_end(args);
    const char *text =
        buf.failed ? NULL : stele__block_strndup(&e->round, stele__buf_text(&buf), buf.len);
    stele__buf_release(&buf);
    stele__difference *difference = text != NULL ? new_difference(e) : NULL;
    if (difference == NULL) {
        e->no_memory = true;
        return;
    }
    *difference = (stele__difference){table, object, text, soft};
    e->difference_count++;
    e->hard_count += !soft;
}

stele_status stele__ensure_run(stele__ensure *e, const char *sql, stele_error *err)
{
    struct pg_result *result;
    stele_status st = stele__run_sql(e->conn, sql, NULL, 0, &result, err);
    if (st == STELE_OK)
        stele__result_clear(result);
    return st;
}

stele_status stele__ensure_value(stele__ensure *e, const char *sql, const char *param,
                                 const char **ret_value, stele_error *err)
{
    struct pg_result *result;
    stele_status st = stele__run_sql(e->conn, sql, &param, param != NULL, &result, err);
    if (st != STELE_OK)
        return st;
    const char *value = stele__result_count(result) > 0 ? stele__result_text(result, 0, 0) : NULL;
    *ret_value = NULL;
    if (value != NULL) {
        *ret_value = stele__block_strndup(&e->round, value, strlen(value));
        if (*ret_value == NULL)
            st = stele__fail(err, STELE_E_NOMEM, "out of memory");
    }
    stele__result_clear(result);
    return st;
}

stele_status stele__ensure_begin(stele__ensure *e, stele_error *err)
{
    stele_tx_options options = STELE_TX_OPTIONS_INIT;
    stele__buf sql = {0};
    /* A snapshot for each statement: what others have created meanwhile must be seen. */
    options.isolation = STELE_READ_COMMITTED;
    stele_status st = stele_tx_begin(e->conn, &options, err);
    if (st != STELE_OK)
        return st;
    stele__buf_addf(&sql, "SET LOCAL lock_timeout = %u", e->options.lock_timeout_ms);
    st = sql.failed ? stele__fail(err, STELE_E_NOMEM, "out of memory")
                    : stele__ensure_run(e, stele__buf_text(&sql), err);
    stele__buf_release(&sql);
    return st;
}

/* ---- telling ---- */

static void add_text(stele__buf *buf, const char *text)
{
    stele__buf_add_text(buf, buf->len > 0 ? "; " : "");
    stele__buf_add_text(buf, text);
}

/* Adds hard differences from `i` on while they fit into `size`; gives the first that did not. */
static size_t fill(const stele__ensure *e, size_t i, stele__buf *buf, size_t size, size_t *told)
{
    for (bool first = true; i < e->difference_count; i++) {
        const char *text = e->differences[i].text;
        if (e->differences[i].soft)
            continue;
        if (!first && buf->len + strlen(text) + 2 >= size)
            break;
        if (first)
            stele__buf_add_text(buf, text);
        else
            add_text(buf, text);
        first = false;
        (*told)++;
    }
    return i;
}

static stele_status summarize(const stele__ensure *e, stele_error *err)
{
    enum { REST = 24 }; /* "; and 18446744073 more" */
    stele__buf buf = {0};
    size_t told = 0;
    size_t i = 0;
    stele_status st = stele__fail(err, STELE_E_SCHEMA, "module %s differs from the database",
                                  e->target.module->name);
    stele__buf_addf(&buf, "module %s: %zu difference%s: ", e->target.module->name, e->hard_count,
                    e->hard_count == 1 ? "" : "s");
    i = fill(e, i, &buf, sizeof err->message, &told);
    if (!buf.failed)
        (void)stele__copy_text(err->message, sizeof err->message, stele__buf_text(&buf));
    stele__buf_reset(&buf);
    (void)fill(e, i, &buf, sizeof err->detail - REST, &told);
    if (told < e->hard_count)
        stele__buf_addf(&buf, "; and %zu more", e->hard_count - told);
    if (!buf.failed)
        (void)stele__copy_text(err->detail, sizeof err->detail, stele__buf_text(&buf));
    stele__buf_release(&buf);
    for (i = 0; e->differences[i].soft;)
        i++;
    stele__error_place(err, e->differences[i].table, NULL);
    if (e->target.schema[0] != '\0')
        (void)stele__copy_text(err->schema, sizeof err->schema, e->target.schema);
    stele__error_hint(err, "what exists is never changed here: migrate the database, or choose "
                           "another schema or prefix");
    return st;
}

/* Each difference once, when it is certain that there will be no other look. */
static void tell_differences(const stele__ensure *e)
{
    if (e->options.on_difference == NULL)
        return;
    for (size_t i = 0; i < e->difference_count; i++)
        e->options.on_difference(e->differences[i].table, e->differences[i].object,
                                 e->differences[i].text, e->options.user);
}

/* ---- rounds ---- */

/* One look, and one step towards what is wanted. */
static stele_status run_round(stele__ensure *e, bool *ret_done, stele_error *err)
{
    stele_status st = stele__ensure_look(e, err);
    *ret_done = false;
    if (st != STELE_OK)
        return st;
    if (e->hard_count > 0 || (e->to_create == 0 && e->to_build == 0)) {
        *ret_done = true;
        tell_differences(e);
        return e->hard_count > 0 ? summarize(e, err) : STELE_OK;
    }
    return e->to_create > 0 ? stele__ensure_create(e, err) : stele__ensure_build(e, err);
}

static stele_status run_rounds(stele__ensure *e, stele_error *err)
{
    bool done = false;
    stele_status st = STELE_OK;
    for (int i = 0; i < MOST_ROUNDS && !done; i++) {
        stele_error_clear(err);
        st = run_round(e, &done, err);
        if (st == STELE_OK || done)
            continue;
        if (!stele__ensure_lost_race(err))
            return st;
        stele__ensure_phase(e, STELE_ENSURE_RETRY, e->target.module->name);
        stele__ensure_pause(e, PAUSE_MS);
    }
    if (st == STELE_OK && !done)
        st =
            stele__fail(err, STELE_E_CONFLICT, "module %s: other programs keep changing its tables",
                        e->target.module->name);
    return st;
}

/* ---- the call ---- */

static stele_status copy_options(const stele_ensure_options *given,
                                 stele_ensure_options *ret_options, stele_error *err)
{
    static const stele_ensure_options none = STELE_ENSURE_OPTIONS_INIT;
    if (given == NULL)
        given = &none;
    if (given->size != sizeof *given) {
        stele_status st = stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(err,
                          "start from: stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;");
        return st;
    }
    *ret_options = *given;
    if (ret_options->lock_timeout_ms == 0)
        ret_options->lock_timeout_ms = LOCK_TIMEOUT_MS;
    return STELE_OK;
}

/* The names of a module that the handle does not know were neither checked nor folded. */
static stele_status check_module(const stele_db *db, const stele_module *module, stele_error *err)
{
    for (size_t i = 0; i < db->module_count; i++)
        if (db->modules[i] == module)
            return STELE_OK;
    stele_status st = stele__fail(
        err, STELE_E_INPUT, "module %s is not one that the handle was opened with", module->name);
    stele__error_hint(err, "list it in stele_db_options.modules");
    return st;
}

/* "*", "*.index" or "table.index". */
static bool names_index(const char *pattern, const char *index)
{
    const char *key = strchr(index, '.');
    return strcmp(pattern, "*") == 0 || strcmp(pattern, index) == 0 ||
           (pattern[0] == '*' && key != NULL && strcmp(pattern + 1, key) == 0);
}

static stele_status unknown_index(const stele_module *module, const char *name, stele_error *err)
{
    stele__buf known = {0};
    stele_status st = stele__fail(err, STELE_E_INPUT,
                                  "module %s: options.optional names \"%s\", which is no "
                                  "optional index",
                                  module->name, name);
    for (size_t i = 0; i < module->object_count; i++)
        if (module->objects[i].optional != NULL)
            stele__buf_addf(&known, "%s%s", known.len > 0 ? ", " : "", module->objects[i].optional);
    stele__error_hint(err, "known here: %s", known.len > 0 ? stele__buf_text(&known) : "none");
    stele__buf_release(&known);
    return st;
}

/* Which optional indexes are left out. A name that means none is a mistake. */
static stele_status choose_indexes(const stele__ensure *e, const stele_module *module,
                                   stele_error *err)
{
    const stele_gen_object *objects = module->objects;
    for (size_t i = 0; i < module->object_count; i++)
        e->left_out[i] = objects[i].optional != NULL;
    for (size_t n = 0; n < e->options.optional_count; n++) {
        const char *name = e->options.optional[n];
        bool found = strcmp(name, "*") == 0;
        for (size_t i = 0; i < module->object_count; i++) {
            if (objects[i].optional == NULL || !names_index(name, objects[i].optional))
                continue;
            e->left_out[i] = false;
            found = true;
        }
        if (!found)
            return unknown_index(module, name, err);
    }
    return STELE_OK;
}

static stele_status prepare(stele__ensure *e, const stele_module *module, stele_error *err)
{
    e->actions = stele__block_calloc(&e->mem, module->object_count + 1u, sizeof *e->actions);
    e->left_out = stele__block_calloc(&e->mem, module->object_count + 1u, sizeof *e->left_out);
    if (e->actions == NULL || e->left_out == NULL)
        return stele__fail(err, STELE_E_NOMEM, "module %s: out of memory", module->name);
    stele_status st = choose_indexes(e, module, err);
    return st == STELE_OK ? stele__target_make(module, e->conn->names, &e->mem, &e->target, err)
                          : st;
}

static stele_status run(stele_conn *conn, const stele_module *module,
                        const stele_ensure_options *options, stele_error *err)
{
    stele__ensure e = {.conn = conn, .options = *options};
    stele__block_init(&e.mem, NULL, 0);
    stele__block_init(&e.round, NULL, 0);
    stele_status st = prepare(&e, module, err);
    if (st == STELE_OK)
        st = run_rounds(&e, err);
    stele__catalog_release(&e.catalog);
    stele__block_release(&e.round);
    stele__block_release(&e.mem);
    return st;
}

stele_status stele_db_ensure(stele_db *db, const stele_module *module,
                             const stele_ensure_options *options, stele_error *err)
{
    stele_ensure_options chosen;
    stele_conn *conn;
    stele_error own; /* errors on the way to success are not the caller's */
    stele_status st = copy_options(options, &chosen, err);
    if (st != STELE_OK || chosen.skip_init)
        return st;
    st = check_module(db, module, err);
    if (st == STELE_OK)
        st = stele_db_acquire(db, &conn, err);
    if (st != STELE_OK)
        return st;
    st = run(conn, module, &chosen, &own);
    stele_conn_release(conn);
    if (st != STELE_OK && err != NULL)
        *err = own;
    return st;
}
