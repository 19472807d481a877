/**
 * Reading inputs and encoding parameters.
 *
 * Floor: stmt.
 */
#include "bind.h"

#include <stddef.h>

#include "status_internal.h"

#include "banned.h"

_Static_assert(offsetof(stele_in_str, v) == sizeof(const stele_tag *), "a tag is right before it");

const int stele__bind_binary[STELE__BIND_INLINE] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static stele_status column_error(const stele_gen_stmt *stmt, const stele_gen_param *param,
                                 stele_error *err, stele_status status, const char *what,
                                 const char *hint)
{
    (void)stele__fail(err, status, "%s: \"%s\" %s", stmt->name, param->column, what);
    stele__error_place(err, stmt->table, param->column);
    stele__error_hint(err, "%s", hint);
    return status;
}

static const stele_tag *tag_of(const void *input)
{
    const stele_tag *tag;
    memcpy(&tag, input, sizeof tag);
    return tag;
}

static const char *field_of(const stele_gen_param *param, const void *const *args)
{
    const char *base = args[param->arg];
    return base == NULL ? NULL : base + param->offset;
}

static bool is_time(uint8_t type)
{
    return type == STELE_GEN_TIMESTAMP || type == STELE_GEN_TIMESTAMPTZ;
}

static bool is_input(const stele_gen_param *param)
{
    return param->form == STELE_GEN_IN || param->form == STELE_GEN_IN_N;
}

/* Whether NULL means IS NULL. */
static bool is_filter(const stele_gen_stmt *stmt)
{
    return (stmt->properties & (STELE_STMT_READ | STELE_STMT_QUERY)) == STELE_STMT_READ;
}

/* The state that an input's tag stands for; -1 for a tag that no constructor makes. */
static int state_of_tag(const stele_gen_stmt *stmt, const stele_gen_param *param,
                        const stele_tag *tag)
{
    if (tag == NULL)
        return STELE__UNSET;
    if (tag == &stele_tag_value)
        return STELE__PARAM;
    if (tag == &stele_tag_null && param->form == STELE_GEN_IN_N)
        return is_filter(stmt) ? STELE__NULL : STELE__PARAM;
    if (tag == &stele_tag_now && is_time(param->type))
        return STELE__NOW;
    if (tag == &stele_tag_after && is_time(param->type))
        return STELE__AFTER;
    return -1;
}

static stele_status bad_tag(const stele_gen_stmt *stmt, const stele_gen_param *param,
                            const stele_tag *tag, stele_error *err)
{
    if (tag == &stele_tag_null)
        return column_error(stmt, param, err, STELE_E_INPUT, "cannot be NULL", "set a value");
    return column_error(stmt, param, err, STELE_E_INPUT, "was not made by a constructor",
                        "zero-initialise the struct, and set fields with stele_…_v() only");
}

static bool sets_any(const stele_gen_stmt *stmt, const uint8_t *states)
{
    for (int i = stmt->set_from; i < stmt->set_to; i++)
        if (states[i] != STELE__UNSET)
            return true;
    return false;
}

static stele_status check_group(const stele_gen_stmt *stmt, const stele_gen_group *group,
                                const uint8_t *states, stele_error *err)
{
    int set = 0;
    const stele_gen_param *missing = NULL;
    for (int i = 0; i < group->count; i++) {
        if (states[group->params[i]] != STELE__UNSET)
            set++;
        else if (missing == NULL)
            missing = &stmt->params[group->params[i]];
    }
    if (missing == NULL || set == 0)
        return STELE_OK;
    return column_error(stmt, missing, err, STELE_E_INPUT, "is not set, but what goes with it is",
                        "set them together, or none of them");
}

stele_status stele__bind_states(const stele_gen_stmt *stmt, const void *const *args,
                                uint8_t *states, stele_error *err)
{
    memset(states, STELE__PARAM, stmt->shape_from);
    for (int i = stmt->shape_from; i < stmt->param_count; i++) {
        const stele_gen_param *param = &stmt->params[i];
        const stele_tag *tag = stele__bind_tag(args, param->arg, param->offset);
        int state = state_of_tag(stmt, param, tag);
        if (state < 0)
            return bad_tag(stmt, param, tag, err);
        if (state == STELE__UNSET && param->required)
            return column_error(stmt, param, err, STELE_E_INPUT, "is required and not set",
                                (stmt->properties & STELE_STMT_QUERY) != 0
                                    ? "every call of this query needs it"
                                    : "it is NOT NULL and has no default");
        states[i] = (uint8_t)state;
    }
    for (int i = 0; i < stmt->group_count; i++) {
        stele_status st = check_group(stmt, &stmt->groups[i], states, err);
        if (st != STELE_OK)
            return st;
    }
    if ((stmt->properties & STELE_STMT_NEEDS_SET) == 0 || sets_any(stmt, states))
        return STELE_OK;
    (void)stele__fail(err, STELE_E_INPUT, "%s: no column is set", stmt->name);
    stele__error_place(err, stmt->table, NULL);
    stele__error_hint(err, "a patch that changes nothing is taken for a mistake");
    return STELE_E_INPUT;
}

void stele__bind_note_tags(const stele_gen_stmt *stmt, const void *const *args,
                           stele__bind_input *ret_inputs)
{
    for (int i = stmt->shape_from; i < stmt->param_count; i++) {
        const stele_gen_param *param = &stmt->params[i];
        *ret_inputs++ = (stele__bind_input){
            .tag = stele__bind_tag(args, param->arg, param->offset),
            .offset = param->offset,
            .arg = param->arg,
        };
    }
}

static bool is_slot(uint16_t param, const stele__bind_slot *slots, int count)
{
    for (int i = 0; i < count; i++)
        if (slots[i].param == param)
            return true;
    return false;
}

/* Every input must be read: it is either unset or one of the slots. */
static bool plan_inputs(const stele_gen_stmt *stmt, const uint8_t *states,
                        const stele__bind_slot *slots, int count, stele__text_plan *plan)
{
    for (uint16_t i = stmt->shape_from; i < stmt->param_count; i++) {
        if (stmt->params[i].arg != plan->arg)
            return false;
        if (states[i] == STELE__UNSET)
            plan->offsets[plan->unset++] = stmt->params[i].offset;
        else if (!is_slot(i, slots, count))
            return false;
    }
    return true;
}

static bool plan_texts(const stele_gen_stmt *stmt, const stele__bind_slot *slots, int count,
                       stele__text_plan *plan)
{
    for (int i = 0; i < count; i++) {
        const stele__bind_slot *slot = &slots[i];
        if (slot->way == STELE__BIND_ENCODED || slot->arg != plan->arg ||
            is_input(&stmt->params[slot->param]) != plan->tagged)
            return false;
        if (slot->way == STELE__BIND_JSONB) {
            if (plan->jsonb != STELE__NO_JSONB)
                return false;
            plan->jsonb = (uint8_t)i;
        }
        plan->offsets[plan->unset + i] = slot->offset;
    }
    return true;
}

void stele__bind_plan_texts(const stele_gen_stmt *stmt, const uint8_t *states,
                            const stele__bind_slot *slots, int count, uint32_t *offsets,
                            stele__text_plan *ret_plan)
{
    *ret_plan = (stele__text_plan){.jsonb = STELE__NO_JSONB, .offsets = offsets};
    if (count < 1 || count > STELE__BIND_INLINE)
        return;
    ret_plan->arg = slots[0].arg;
    ret_plan->tagged = is_input(&stmt->params[slots[0].param]);
    ret_plan->possible = plan_inputs(stmt, states, slots, count, ret_plan) &&
                         plan_texts(stmt, slots, count, ret_plan);
}

uint32_t stele__bind_oid(const stele_gen_param *param, uint8_t state)
{
    return stele__type_oid(state == STELE__AFTER ? (uint8_t)STELE_GEN_INTERVAL : param->type);
}

const void *stele__bind_value(const stele_gen_param *param, const void *const *args)
{
    const char *field = field_of(param, args);
    if (field == NULL)
        return NULL;
    const stele__layout *layout = stele__layout_of(param->type);
    switch (param->form) {
    case STELE_GEN_PLAIN:
        return field;
    case STELE_GEN_OPT:
        if (layout->opt == 0)
            return field;
        return *(const bool *)field ? field + layout->opt : NULL;
    default:
        return tag_of(field) == &stele_tag_value ? field + layout->in : NULL;
    }
}

static stele_status encode_error(const stele_gen_stmt *stmt, const stele_gen_param *param, int code,
                                 const stele__encoded *encoded, stele_error *err)
{
    if (code == STELE__CODEC_NOMEM)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory for \"%s\"", stmt->name,
                           param->column);
    (void)stele__fail(err, STELE_E_VALUE, "%s: \"%s\": %s", stmt->name, param->column,
                      stele__codec_text(code));
    stele__error_place(err, stmt->table, param->column);
    stele__error_hint(err, code == STELE__CODEC_LABEL ? "use one of the enum's declared values"
                                                      : "change the value, or the column's type");
    if (code == STELE__CODEC_VALUE)
        stele__error_detail(err, "at %s %zu", (param->type & STELE_GEN_ARRAY) ? "element" : "byte",
                            encoded->where);
    return STELE_E_VALUE;
}

static stele_status encode_one(const stele_gen_stmt *stmt, const stele_gen_param *param,
                               const void *const *args, uint8_t state, stele__encoded *encoded,
                               stele__block *block, stele_error *err)
{
    uint8_t type = param->type;
    const void *value;
    if (state == STELE__AFTER) {
        value = field_of(param, args) + offsetof(stele_in_ts, after);
        type = STELE_GEN_INTERVAL;
    } else {
        value = stele__bind_value(param, args);
    }
    if (value == NULL) {
        *encoded = (stele__encoded){.data = NULL};
        return STELE_OK;
    }
    int code = stele__encode_value(type, param->labels, value, encoded, block);
    if (code != STELE__CODEC_OK)
        return encode_error(stmt, param, code, encoded, err);
    if (encoded->data == NULL && param->form != STELE_GEN_OPT)
        return column_error(stmt, param, err, STELE_E_INPUT, "is a NULL pointer",
                            "pass a pointer, also for an empty value; SQL NULL is made by "
                            "stele_…_n_null()");
    return STELE_OK;
}

stele_status stele__bind_room(const stele_gen_stmt *stmt, int count, stele__bound *bound,
                              stele_error *err)
{
    size_t n = (size_t)count;
    bound->values = stele__block_alloc(&bound->block, n * sizeof *bound->values);
    bound->lengths = stele__block_alloc(&bound->block, n * sizeof *bound->lengths);
    bound->formats = stele__block_alloc(&bound->block, n * sizeof *bound->formats);
    bound->encoded = stele__block_alloc(&bound->block, n * sizeof *bound->encoded);
    if (bound->values != NULL && bound->lengths != NULL && bound->formats != NULL &&
        bound->encoded != NULL)
        return STELE_OK;
    return stele__bind_no_memory(stmt, err);
}

stele_status stele__bind_no_memory(const stele_gen_stmt *stmt, stele_error *err)
{
    return stele__fail(err, STELE_E_NOMEM, "%s: out of memory for parameters", stmt->name);
}

static uint8_t way_of(const stele_gen_param *param)
{
    switch (param->type) {
    case STELE_GEN_TEXT:
    case STELE_GEN_JSON:
        return STELE__BIND_AS_IS;
    case STELE_GEN_JSONB:
        return STELE__BIND_JSONB;
    default:
        return STELE__BIND_ENCODED;
    }
}

void stele__bind_plan(const stele_gen_stmt *stmt, const uint16_t *order, int count,
                      stele__bind_slot *ret_slots)
{
    for (int i = 0; i < count; i++) {
        const stele_gen_param *param = &stmt->params[order[i]];
        ret_slots[i] = (stele__bind_slot){
            .param = order[i],
            .arg = param->arg,
            .way = way_of(param),
            .offset = param->offset + (is_input(param) ? (uint32_t)offsetof(stele_in_str, v) : 0),
        };
    }
}

stele_status stele__bind_value_of(const stele_gen_stmt *stmt, const void *const *args,
                                  const uint8_t *states, uint16_t param, int i, stele__bound *bound,
                                  stele_error *err)
{
    stele__encoded *encoded = &bound->encoded[i];
    uint8_t state = states != NULL ? states[param] : (uint8_t)STELE__PARAM;
    stele_status st =
        encode_one(stmt, &stmt->params[param], args, state, encoded, &bound->block, err);
    if (st != STELE_OK)
        return st;
    bound->values[i] = encoded->data;
    bound->lengths[i] = encoded->data != NULL ? encoded->len : 0;
    bound->formats[i] = encoded->format;
    return STELE_OK;
}

stele_status stele__bind_too_long(const stele_gen_stmt *stmt, stele_error *err)
{
    stele_status st =
        stele__fail(err, STELE_E_VALUE, "%s: the values are too long together", stmt->name);
    stele__error_place(err, stmt->table, NULL);
    stele__error_hint(err, "a statement's parameters may take one gigabyte");
    return st;
}
