/**
 * From a statement's parts to SQL text, for one schema, prefix and shape.
 *
 * Floor: stmt.
 */
#ifndef STELE_RENDER_H
#define STELE_RENDER_H

#include "conn_internal.h"
#include "stele/gen/gen.h"
#include "text_internal.h"

/** State of a parameter: a byte of the shape. */
typedef enum stele__state {
    STELE__UNSET,
    STELE__PARAM, /* a value, or NULL where SQL treats it as one */
    STELE__NOW,
    STELE__AFTER,
    STELE__NULL /* NULL in a filter: IS NULL */
} stele__state;

/** What decides the text. */
typedef struct stele__render_input {
    const stele_gen_part *parts;
    uint16_t part_count;
    const stele_gen_param *params;
    uint16_t param_count;
    const uint8_t *states; /* one stele__state for each parameter; NULL if there is none */
    uint32_t flags;
    const stele_module *module;
    const stele__names *names;
    const stele_gen_group *groups; /* of IF_ALL */
    const char *rows;              /* what ROWS stands for; NULL: arrays, one for each parameter */
} stele__render_input;

/**
 * Appends the SQL to `sql`. `ret_order` (param_count entries) gets the parameter that each $n stands
 * for, `ret_count` the number of them. Errors: STELE_E_NOMEM, STELE_E_INPUT (NULL in
 * a range, or a parameter unset that this shape needs).
 */
stele_status stele__render(const stele__render_input *input, stele__buf *sql, uint16_t *ret_order,
                           uint16_t *ret_count, stele_error *err);

/** Renders the bare name of an object: TEXT, SCHEMA_ and PREFIX parts, unquoted. */
void stele__render_name(const stele_gen_part *parts, uint16_t count, const stele_module *module,
                        const stele__names *names, stele__buf *out);

/** Schema and prefix that apply to a module: pinned ones, or the handle's. */
void stele__names_of(const stele__names *names, const char *module, const char **ret_schema,
                     const char **ret_prefix);

#endif
