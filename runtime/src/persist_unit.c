/**
 * Units: statements whose inputs are checked and copied as they are queued.
 *
 * The `_queue` forms are given a recorder, which poses as their pipeline. What a statement's
 * parameters are read from is copied as far as the parameters reach, then each text, array or piece
 * of bytes that they point to.
 *
 * Floor: persist.
 */
#include <stddef.h>
#include <string.h>

#include "bind.h"
#include "persist_internal.h"
#include "status_internal.h"

#include "banned.h"

#define ARGS_MAX 256 /* args are numbered by a byte */

static stele_status no_memory(stele_error *err)
{
    return stele__fail(err, STELE_E_NOMEM, "out of memory for a unit");
}

static void *take(stele_unit *unit, size_t size)
{
    unit->bytes += size;
    return stele__block_alloc(&unit->block, size > 0 ? size : 1);
}

/* ---- what a statement is given ---- */

static bool is_time(uint8_t type)
{
    return type == STELE_GEN_TIMESTAMP || type == STELE_GEN_TIMESTAMPTZ;
}

static bool is_input(const stele_gen_param *param)
{
    return param->form == STELE_GEN_IN || param->form == STELE_GEN_IN_N;
}

/* Where a parameter's field ends in its argument. */
static size_t end_of(const stele_gen_param *param)
{
    const stele__layout *layout = stele__layout_of(param->type);
    if (is_input(param) && is_time(param->type))
        return param->offset + sizeof(stele_in_ts);
    if (is_input(param))
        return (size_t)param->offset + layout->in + layout->size;
    if (param->form == STELE_GEN_OPT)
        return (size_t)param->offset + layout->opt + layout->size;
    return (size_t)param->offset + layout->size;
}

/* How far each argument is read; answers how many there are. */
static int measure(const stele_gen_stmt *stmt, size_t *ret_sizes)
{
    int count = 0;
    for (int i = 0; i < stmt->param_count; i++) {
        const stele_gen_param *param = &stmt->params[i];
        size_t end = end_of(param);
        while (count <= param->arg)
            ret_sizes[count++] = 0;
        if (end > ret_sizes[param->arg])
            ret_sizes[param->arg] = end;
    }
    return count;
}

static bool copy_view(stele_unit *unit, char *field)
{
    stele_str view;
    memcpy(&view, field, sizeof view);
    if (view.data == NULL)
        return true;
    char *copy = take(unit, view.len + 1);
    if (copy == NULL)
        return false;
    if (view.len > 0)
        memcpy(copy, view.data, view.len);
    copy[view.len] = '\0';
    view.data = copy;
    memcpy(field, &view, sizeof view);
    return true;
}

static bool copy_array(stele_unit *unit, uint8_t scalar, char *field)
{
    stele_bytes_array array; /* all array types have this layout */
    size_t size = stele__layouts[scalar].size;
    memcpy(&array, field, sizeof array);
    if (array.items == NULL)
        return true;
    char *items = take(unit, array.count * size);
    bool *nulls = array.nulls != NULL ? take(unit, array.count) : NULL;
    if (items == NULL || (array.nulls != NULL && nulls == NULL))
        return false;
    if (array.count > 0)
        memcpy(items, array.items, array.count * size);
    if (nulls != NULL)
        memcpy(nulls, array.nulls, array.count);
    for (size_t i = 0; stele__layouts[scalar].opt == 0 && i < array.count; i++)
        if ((nulls == NULL || !nulls[i]) && !copy_view(unit, items + i * size))
            return false;
    array.items = (const void *)items;
    array.nulls = nulls;
    memcpy(field, &array, sizeof array);
    return true;
}

/* Copies what a parameter points to, and points it there. */
static bool copy_value(stele_unit *unit, const stele_gen_param *param, const void **args)
{
    char *value = (char *)(uintptr_t)stele__bind_value(param, args);
    uint8_t scalar = param->type & (uint8_t)~STELE_GEN_ARRAY;
    if (value == NULL)
        return true;
    if ((param->type & STELE_GEN_ARRAY) != 0)
        return copy_array(unit, scalar, value);
    return stele__layouts[scalar].opt != 0 || copy_view(unit, value);
}

static bool copy_args(stele_unit *unit, const stele__call *call, stele__write *write)
{
    const stele_gen_stmt *stmt = call->stmt;
    size_t sizes[ARGS_MAX];
    int count = measure(stmt, sizes);
    write->input_size = count > 0 ? sizes[0] : 0;
    write->args = take(unit, ((size_t)count + 1) * sizeof *write->args);
    if (write->args == NULL)
        return false;
    for (int i = 0; i < count; i++) {
        void *copy = call->args[i] != NULL ? take(unit, sizes[i]) : NULL;
        if (copy == NULL && call->args[i] != NULL)
            return false;
        if (copy != NULL)
            memcpy(copy, call->args[i], sizes[i]);
        write->args[i] = copy;
    }
    for (int i = 0; i < stmt->param_count; i++)
        if (!copy_value(unit, &stmt->params[i], write->args))
            return false;
    return true;
}

/* ---- what is wrong with it ---- */

/* Values that the codec may refuse: all but texts that are there, which go as they are. */
static bool is_checked(const stele_gen_param *param, const void *const *args, uint8_t state)
{
    if (state == STELE__UNSET || state == STELE__NOW || state == STELE__NULL)
        return false;
    if (param->type != STELE_GEN_TEXT && param->type != STELE_GEN_JSON &&
        param->type != STELE_GEN_JSONB)
        return true;
    const stele_str *text = stele__bind_value(param, args);
    return text != NULL && (text->data == NULL || text->len >= STELE__VALUE_MAX);
}

static stele_status check_values(const stele__call *call, const uint8_t *states, stele_error *err)
{
    const stele_gen_stmt *stmt = call->stmt;
    stele__bound bound;
    size_t n = stmt->param_count;
    size_t count = 0;
    uint16_t order_space[64];
    stele__bind_slot slot_space[64];
    bool fits = n <= 64;
    uint16_t *order = fits ? order_space : stele__calloc(n, sizeof *order);
    stele__bind_slot *slots = fits ? slot_space : stele__calloc(n, sizeof *slots);
    stele_status st = order != NULL && slots != NULL ? STELE_OK : no_memory(err);
    for (uint16_t i = 0; i < n && st == STELE_OK; i++)
        if (is_checked(&stmt->params[i], call->args, states[i]))
            order[count++] = i;
    if (st == STELE_OK && count > 0) {
        stele__bind_plan(stmt, order, (int)count, slots);
        st = stele__bind(stmt, call->args, states, slots, (int)count, &bound, err);
        stele__bind_release(&bound);
    }
    if (!fits) {
        stele__free(order);
        stele__free(slots);
    }
    return st;
}

static stele_status check_kind(const stele__call *call, const stele_gen_slot *slot,
                               stele_error *err)
{
    const char *name = call->stmt->name;
    if ((call->stmt->properties & STELE_STMT_READ) != 0)
        return stele__fail(err, STELE_E_INPUT, "%s: only writes can be stored later", name);
    if (slot->out == NULL && slot->count == NULL)
        return STELE_OK;
    (void)stele__fail(err, STELE_E_INPUT, "%s: a write that is stored later gives nothing back",
                      name);
    stele__error_hint(err, "pass NULL; the receipt tells the rows that were written");
    return STELE_E_INPUT;
}

/* ---- recording ---- */

static stele_status record(stele__recorder *recorder, const stele__call *call,
                           const stele_gen_slot *slot, stele_error *err)
{
    stele_unit *unit = (stele_unit *)(void *)recorder;
    stele_status st = check_kind(call, slot, err);
    if (st != STELE_OK)
        return st;
    stele__write *write = take(unit, sizeof *write);
    uint8_t *states = take(unit, call->stmt->param_count);
    if (write == NULL || states == NULL)
        return no_memory(err);
    if (call->stmt->shape_from < call->stmt->param_count)
        st = stele__bind_states(call->stmt, call->args, states, err);
    else
        memset(states, STELE__PARAM, call->stmt->param_count);
    if (st == STELE_OK)
        st = check_values(call, states, err);
    if (st != STELE_OK)
        return st;
    *write = (stele__write){.stmt = call->stmt, .states = states, .flags = call->flags};
    if (!copy_args(unit, call, write))
        return no_memory(err);
    if (unit->last != NULL)
        unit->last->next = write;
    else
        unit->first = write;
    unit->last = write;
    unit->count++;
    return STELE_OK;
}

stele_status stele_unit_open(stele_unit **ret_unit, stele_error *err)
{
    if (ret_unit == NULL)
        return stele__fail(err, STELE_E_INPUT, "ret_unit is NULL");
    stele_unit *unit = stele__alloc(sizeof *unit);
    if (unit == NULL)
        return no_memory(err);
    memset(unit, 0, offsetof(stele_unit, space));
    unit->recorder.record = record;
    unit->bytes = offsetof(stele_unit, space);
    stele__block_init(&unit->block, unit->space, sizeof unit->space);
    *ret_unit = unit;
    return STELE_OK;
}

stele_pipeline *stele_unit_pipeline(stele_unit *unit)
{
    return (stele_pipeline *)(void *)&unit->recorder;
}

size_t stele_unit_count(const stele_unit *unit)
{
    return unit->count;
}

const char *stele_unit_statement(const stele_unit *unit, size_t index)
{
    const stele__write *write = unit->first;
    while (write != NULL && index-- > 0)
        write = write->next;
    return write != NULL ? write->stmt->name : NULL;
}

size_t stele_unit_bytes(const stele_unit *unit)
{
    return unit->bytes;
}

const void *stele_unit_key(const stele_unit *unit, size_t *ret_len)
{
    if (ret_len != NULL)
        *ret_len = unit->key_len;
    return unit->key;
}

void stele_unit_free(stele_unit *unit)
{
    if (unit == NULL)
        return;
    stele__unit_unput(unit);
    stele__block_release(&unit->block);
    stele__free(unit);
}

void stele_unit_autofree(stele_unit **unit)
{
    stele_unit_free(*unit);
}

/* ---- putting ---- */

static const stele_gen_bulk *bulk_of(const stele_unit *unit)
{
    const stele_gen_stmt *stmt = unit->first->stmt;
    if (unit->count != 1 || unit->first->flags != 0)
        return NULL;
    for (uint16_t i = 0; i < stmt->module->table_count; i++) {
        const stele_gen_bulk *bulk = stmt->module->tables[i]->insert_many;
        if (bulk != NULL && bulk->single == stmt)
            return bulk;
    }
    return NULL;
}

static stele_status check_put(const stele_unit *unit, const stele_put_options *how,
                              stele_error *err)
{
    if (unit->count == 0)
        return stele__fail(err, STELE_E_INPUT, "the unit has no statements");
    if (how != NULL && how->size != sizeof *how) {
        (void)stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(err, "start from: stele_put_options how = STELE_PUT_OPTIONS_INIT;");
        return STELE_E_INPUT;
    }
    if (how == NULL || !how->skip_conflicts || unit->bulk != NULL)
        return STELE_OK;
    (void)stele__fail(err, STELE_E_INPUT, "skip_conflicts is for units of one generated insert");
    stele__error_hint(err, "write a query with ON CONFLICT DO NOTHING, and put it as idempotent");
    return STELE_E_INPUT;
}

/* What was put before, and is put again, has its key already. */
static bool copy_key(stele_unit *unit, const void *key, size_t key_len)
{
    if (key == NULL) {
        unit->key = NULL;
        unit->key_len = 0;
        return true;
    }
    if (unit->key != NULL && unit->key_len == key_len && memcmp(unit->key, key, key_len) == 0)
        return true;
    char *copy = take(unit, key_len);
    if (copy == NULL)
        return false;
    if (key_len > 0)
        memcpy(copy, key, key_len);
    unit->key = copy;
    unit->key_len = key_len;
    return true;
}

static bool make_counts(stele_unit *unit)
{
    if (unit->affected_count != unit->count)
        unit->affected = take(unit, unit->count * sizeof *unit->affected);
    if (unit->affected == NULL)
        return false;
    unit->affected_count = unit->count;
    memset(unit->affected, 0, unit->count * sizeof *unit->affected);
    return true;
}

stele_status stele__unit_prepare(stele_unit *unit, const void *key, size_t key_len,
                                 const stele_put_options *how, bool wants_receipt, stele_error *err)
{
    unit->bulk = unit->count > 0 ? bulk_of(unit) : NULL;
    stele_status st = check_put(unit, how, err);
    if (st != STELE_OK)
        return st;
    if (!copy_key(unit, key, key_len) || !make_counts(unit))
        return no_memory(err);
    if (how != NULL) {
        unit->idempotent = how->idempotent || how->skip_conflicts;
        unit->skip_conflicts = how->skip_conflicts;
        unit->on_done = how->on_done;
        unit->user = how->user;
    }
    unit->receipt = wants_receipt ? stele__receipt_new(unit->count) : NULL;
    if (wants_receipt && unit->receipt == NULL)
        return no_memory(err);
    return STELE_OK;
}

void stele__unit_unput(stele_unit *unit)
{
    if (unit->receipt != NULL) {
        stele_receipt_free(unit->receipt);
        stele_receipt_free(unit->receipt);
    }
    unit->receipt = NULL;
    unit->idempotent = false;
    unit->skip_conflicts = false;
    unit->on_done = NULL;
    unit->user = NULL;
    unit->unclear = false;
    unit->status = STELE_OK;
    unit->next = NULL;
    stele__free(unit->why);
    unit->why = NULL;
}

void stele__unit_fail(stele_unit *unit, stele_status status, const stele_error *why)
{
    unit->status = status;
    stele__free(unit->why);
    unit->why = why != NULL ? stele__alloc(sizeof *unit->why) : NULL;
    if (unit->why == NULL)
        return;
    *unit->why = *why;
    unit->why->status = status;
}

void stele__unit_tell(const stele_persist *persist, stele_unit *unit)
{
    stele_error blank;
    stele_status st = unit->status;
    const stele_error *why = unit->why;
    if (st != STELE_OK && why == NULL) {
        (void)stele__fail(&blank, st, "not stored, and no memory to say why");
        why = &blank;
    }
    if (st != STELE_OK && persist->options.on_fail != NULL) {
        stele_persist_failure failure = {unit, why, stele__unit_is_forgotten(unit)};
        persist->options.on_fail(&failure, persist->options.user);
    }
    if (unit->receipt != NULL)
        stele__receipt_complete(unit->receipt, st, why, unit->affected);
    unit->receipt = NULL;
    if (unit->on_done != NULL)
        unit->on_done(st, why, unit->affected, unit->count, unit->user);
    unit->on_done = NULL;
}
