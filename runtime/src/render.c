/**
 * Rendering of statements. Runs on a miss of the statement cache only.
 *
 * Floor: stmt.
 */
#include "render.h"

#include <string.h>

#include "status_internal.h"

#include "banned.h"

#define MAX_NESTING 16

typedef struct renderer {
    const stele__render_input *in;
    stele__buf *sql;
    uint16_t *order;
    uint16_t count;
    bool list_open; /* the next item of the list is its first */
    int depth;
    bool taken[MAX_NESTING + 1];  /* whether the branch at this depth is emitted */
    bool parent[MAX_NESTING + 1]; /* whether what surrounds it is */
    stele_error *err;
    stele_status status;
} renderer;

void stele__names_of(const stele__names *names, const char *module, const char **ret_schema,
                     const char **ret_prefix)
{
    *ret_schema = names->schema;
    *ret_prefix = names->prefix;
    for (size_t i = 0; i < names->pin_count; i++) {
        if (strcmp(names->pins[i].module, module) == 0) {
            *ret_schema = names->pins[i].schema;
            *ret_prefix = names->pins[i].prefix;
        }
    }
}

static void names_of_module(const renderer *r, const char **ret_schema, const char **ret_prefix)
{
    stele__names_of(r->in->names, r->in->module->name, ret_schema, ret_prefix);
}

static void add_schema(renderer *r, const char *schema)
{
    if (schema[0] == '\0')
        return;
    stele__buf_add_ident(r->sql, schema, strlen(schema));
    stele__buf_add_char(r->sql, '.');
}

static void add_table(renderer *r, const char *text)
{
    const char *schema;
    const char *prefix;
    char module[STELE_NAME_SIZE];
    char name[2 * STELE_NAME_SIZE];
    const char *dot = strchr(text, '.');
    if (dot != NULL) {
        (void)stele__copy(module, sizeof module, text, (size_t)(dot - text));
        stele__names_of(r->in->names, module, &schema, &prefix);
        text = dot + 1;
    } else {
        names_of_module(r, &schema, &prefix);
    }
    /* Lengths were checked when the handle was opened or derived. */
    size_t len = stele__copy_text(name, sizeof name, prefix);
    len += stele__copy_text(name + len, sizeof name - len, text);
    add_schema(r, schema);
    stele__buf_add_ident(r->sql, name, len);
}

static uint8_t state_of(const renderer *r, uint16_t param)
{
    return r->in->states == NULL ? STELE__PARAM : r->in->states[param];
}

static void add_parameter(renderer *r, uint16_t param)
{
    uint16_t n = 0;
    if (state_of(r, param) == STELE__UNSET) {
        const char *name = r->in->params[param].column;
        r->status = stele__fail(r->err, STELE_E_INPUT, "\"%s\" is not set", name);
        stele__error_place(r->err, NULL, name);
        stele__error_hint(r->err, "what this call asks for needs it");
        return;
    }
    while (n < r->count && r->order[n] != param)
        n++;
    if (n == r->count)
        r->order[r->count++] = param;
    stele__buf_add_char(r->sql, '$');
    stele__buf_add_uint(r->sql, n + 1u);
}

/* The server's clock, in the column's type; timestamps without a zone hold UTC. */
static void add_now(renderer *r, uint8_t type)
{
    stele__buf_add_text(r->sql, type == STELE_GEN_TIMESTAMP
                                    ? "(statement_timestamp() AT TIME ZONE 'UTC')"
                                    : "statement_timestamp()");
}

static void add_expression(renderer *r, uint16_t param)
{
    uint8_t type = r->in->params[param].type;
    switch (state_of(r, param)) {
    case STELE__NOW:
        add_now(r, type);
        break;
    case STELE__AFTER:
        stele__buf_add_char(r->sql, '(');
        add_now(r, type);
        stele__buf_add_text(r->sql, " + ");
        add_parameter(r, param);
        stele__buf_add_char(r->sql, ')');
        break;
    default:
        add_parameter(r, param);
    }
}

static void add_separator(renderer *r)
{
    if (!r->list_open)
        stele__buf_add_text(r->sql, ", ");
    r->list_open = false;
}

static void add_row_column(renderer *r, uint16_t param)
{
    stele__buf_add_text(r->sql, "u.c");
    stele__buf_add_uint(r->sql, param);
}

/* The columns of many rows side by side; `n` counts them where the order of the result matters. */
static void add_rows(renderer *r, uint16_t count)
{
    const char *lead = "unnest(";
    if (r->in->rows != NULL) {
        stele__buf_add_text(r->sql, r->in->rows);
        return;
    }
    for (uint16_t i = 0; i < count; i++) {
        if (state_of(r, i) == STELE__UNSET)
            continue;
        stele__buf_add_text(r->sql, lead);
        add_parameter(r, i);
        lead = ", ";
    }
    bool counted = (r->in->flags & STELE_FLAG_RETURNING) != 0;
    stele__buf_add_text(r->sql, counted ? ") WITH ORDINALITY AS u" : ") AS u");
    lead = "(c";
    for (uint16_t i = 0; i < count; i++) {
        if (state_of(r, i) == STELE__UNSET)
            continue;
        stele__buf_add_text(r->sql, lead);
        stele__buf_add_uint(r->sql, i);
        lead = ", c";
    }
    stele__buf_add_text(r->sql, counted ? ", n)" : ")");
}

static void add_each(renderer *r, const stele_gen_part *part)
{
    for (uint16_t i = part->a; i < part->b; i++) {
        if (state_of(r, i) == STELE__UNSET)
            continue;
        const char *column = r->in->params[i].column;
        size_t len = strlen(column);
        add_separator(r);
        if (part->kind == STELE_GEN_EACH_ROW) {
            add_row_column(r, i);
            continue;
        }
        if (part->kind != STELE_GEN_EACH_VALUE)
            stele__buf_add_ident(r->sql, column, len);
        if (part->kind == STELE_GEN_EACH_SET || part->kind == STELE_GEN_EACH_EXCLUDED)
            stele__buf_add_text(r->sql, " = ");
        if (part->kind == STELE_GEN_EACH_EXCLUDED) {
            stele__buf_add_text(r->sql, "EXCLUDED.");
            stele__buf_add_ident(r->sql, column, len);
        } else if (part->kind != STELE_GEN_EACH_NAME) {
            add_expression(r, i);
        }
    }
}

static void add_where(renderer *r, const stele_gen_part *part)
{
    uint8_t state = state_of(r, part->a);
    if (state == STELE__UNSET)
        return;
    stele__buf_add_text(r->sql, "\n  AND ");
    stele__buf_add_text(r->sql, part->text);
    if (state == STELE__NULL) {
        if (part->kind != STELE_GEN_WHERE_EQ)
            r->status = stele__fail(r->err, STELE_E_INPUT, "NULL cannot bound the range of \"%s\"",
                                    r->in->params[part->a].column);
        stele__buf_add_text(r->sql, " IS NULL");
        return;
    }
    stele__buf_add_text(r->sql, part->kind == STELE_GEN_WHERE_EQ   ? " = "
                                : part->kind == STELE_GEN_WHERE_GE ? " >= "
                                                                   : " < ");
    add_expression(r, part->a);
}

static bool group_is_set(const renderer *r, const stele_gen_group *group)
{
    for (uint16_t i = 0; i < group->count; i++)
        if (state_of(r, group->params[i]) == STELE__UNSET)
            return false;
    return true;
}

static bool holds(const renderer *r, const stele_gen_part *part)
{
    switch (part->kind) {
    case STELE_GEN_IF_SET:
        return state_of(r, part->a) != STELE__UNSET;
    case STELE_GEN_IF_UNSET:
        return state_of(r, part->a) == STELE__UNSET;
    case STELE_GEN_IF_ANY:
        for (uint16_t i = part->a; i < part->b; i++)
            if (state_of(r, i) != STELE__UNSET)
                return true;
        return false;
    case STELE_GEN_IF_FLAG:
        return (r->in->flags & part->a) != 0;
    case STELE_GEN_IF_NO_FLAG:
        return (r->in->flags & part->a) == 0;
    case STELE_GEN_IF_ALL:
        return group_is_set(r, &r->in->groups[part->a]);
    case STELE_GEN_IF_CHOICE:
        return (r->in->flags & part->a) == part->b;
    default: /* STELE_GEN_IF_SOFT */
        return r->in->names->soft_delete;
    }
}

/* True if the part only steers, and was dealt with. */
static bool steer(renderer *r, const stele_gen_part *part)
{
    if (part->kind >= STELE_GEN_IF_SET && part->kind <= STELE_GEN_IF_SOFT) {
        if (r->depth == MAX_NESTING) {
            r->status = stele__fail(r->err, STELE_E_MISUSE, "conditions nested too deeply");
            return true;
        }
        bool outer = r->taken[r->depth];
        r->depth++;
        r->parent[r->depth] = outer;
        r->taken[r->depth] = outer && holds(r, part);
        return true;
    }
    if (part->kind == STELE_GEN_ELSE) {
        r->taken[r->depth] = r->parent[r->depth] && !r->taken[r->depth];
        return true;
    }
    if (part->kind == STELE_GEN_END) {
        r->depth--;
        return true;
    }
    return !r->taken[r->depth];
}

static void add_part(renderer *r, const stele_gen_part *part)
{
    const char *schema;
    const char *prefix;
    switch (part->kind) {
    case STELE_GEN_SQL:
        stele__buf_add_text(r->sql, part->text);
        break;
    case STELE_GEN_TABLE:
        add_table(r, part->text);
        break;
    case STELE_GEN_SCHEMA:
        names_of_module(r, &schema, &prefix);
        add_schema(r, schema);
        break;
    case STELE_GEN_SCHEMA_:
        names_of_module(r, &schema, &prefix);
        if (schema[0] != '\0') {
            stele__buf_add_text(r->sql, schema);
            stele__buf_add_char(r->sql, '_');
        }
        break;
    case STELE_GEN_PREFIX:
        names_of_module(r, &schema, &prefix);
        stele__buf_add_text(r->sql, prefix);
        break;
    case STELE_GEN_PARAM_REF:
        add_expression(r, part->a);
        break;
    case STELE_GEN_LIST:
        r->list_open = true;
        break;
    case STELE_GEN_ITEM:
        add_separator(r);
        stele__buf_add_text(r->sql, part->text);
        break;
    case STELE_GEN_WHERE_EQ:
    case STELE_GEN_WHERE_GE:
    case STELE_GEN_WHERE_LT:
        add_where(r, part);
        break;
    case STELE_GEN_ROWS:
        add_rows(r, part->a);
        break;
    default:
        add_each(r, part);
    }
}

stele_status stele__render(const stele__render_input *input, stele__buf *sql, uint16_t *ret_order,
                           uint16_t *ret_count, stele_error *err)
{
    renderer r = {.in = input, .sql = sql, .order = ret_order, .err = err};
    r.taken[0] = true;
    for (uint16_t i = 0; i < input->part_count && r.status == STELE_OK; i++)
        if (!steer(&r, &input->parts[i]))
            add_part(&r, &input->parts[i]);
    if (r.status != STELE_OK)
        return r.status;
    if (sql->failed)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while rendering a statement");
    if (ret_count != NULL)
        *ret_count = r.count;
    return STELE_OK;
}

void stele__render_name(const stele_gen_part *parts, uint16_t count, const stele_module *module,
                        const stele__names *names, stele__buf *out)
{
    stele__render_input input = {
        .parts = parts, .part_count = count, .module = module, .names = names};
    (void)stele__render(&input, out, NULL, NULL, NULL);
}
