/**
 * Which rows set which columns, and which inputs are wrong: all that is known before any I/O.
 *
 * Floor: tx.
 */
#include <string.h>

#include "bind.h"
#include "bulk_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define WRONG UINT8_MAX

static bool is_time(uint8_t type)
{
    return type == STELE_GEN_TIMESTAMP || type == STELE_GEN_TIMESTAMPTZ;
}

/* The state of one input; moments that only the server knows are all "after now". */
static inline uint8_t state_of(const stele_gen_param *param, const char *row)
{
    const stele_tag *tag;
    memcpy(&tag, row + param->offset, sizeof tag);
    if (tag == NULL)
        return param->required ? WRONG : STELE__UNSET;
    if (tag == &stele_tag_value) {
        const stele__layout *layout = stele__layout_of(param->type);
        if (layout->opt != 0)
            return STELE__PARAM;
        const void *data; /* of a text, bytes or an array: its first member */
        memcpy(&data, row + param->offset + layout->in, sizeof data);
        return data != NULL ? STELE__PARAM : WRONG;
    }
    if (tag == &stele_tag_null)
        return param->form == STELE_GEN_IN_N ? STELE__PARAM : WRONG;
    if ((tag == &stele_tag_now || tag == &stele_tag_after) && is_time(param->type))
        return STELE__AFTER;
    return WRONG;
}

/* Fills the shape of a row; false if one of its inputs is wrong. */
static bool read_shape(const stele_gen_stmt *single, const char *row, uint8_t *shape)
{
    uint8_t worst = 0;
    for (int i = 0; i < single->param_count; i++) {
        shape[i] = state_of(&single->params[i], row);
        worst = shape[i] > worst ? shape[i] : worst;
    }
    return worst != WRONG;
}

static inline const stele_tag *tag_at(const char *row, uint32_t offset)
{
    const stele_tag *tag;
    memcpy(&tag, row + offset, sizeof tag);
    return tag;
}

/* True if a row has the tags of a group's first row, and data where that has: the frequent case. */
static bool is_alike(const stele_gen_stmt *single, const char *row, const stele__group *group)
{
    uintptr_t odd = 0; /* without branches, as it is said of each input of each row */
    const stele__probe *probe = group->probes;
    const stele__probe *end = probe + single->param_count;
    for (const stele__probe *set = probe + group->unset_count; probe < set; probe++)
        odd |= (uintptr_t)tag_at(row, probe->tag_offset);
    for (; probe < end; probe++) {
        const void *data;
        memcpy(&data, row + probe->data_offset, sizeof data);
        odd |= (uintptr_t)tag_at(row, probe->tag_offset) ^ (uintptr_t)probe->tag;
        odd |= data == NULL;
    }
    return odd == 0;
}

/* True if a row has the shape of a group. */
static bool has_shape(const stele_gen_stmt *single, const char *row, const stele__group *group)
{
    if (is_alike(single, row, group))
        return true;
    for (int i = 0; i < single->param_count; i++)
        if (state_of(&single->params[i], row) != group->shape[i])
            return false;
    return true;
}

static stele__probe make_probe(const stele_gen_stmt *single, const char *row, uint16_t i)
{
    const stele_gen_param *param = &single->params[i];
    const stele__layout *layout = stele__layout_of(param->type);
    stele__probe probe = {
        .tag = tag_at(row, param->offset),
        .tag_offset = param->offset,
        .data_offset = param->offset,
    };
    if (probe.tag == &stele_tag_value && layout->opt == 0)
        probe.data_offset += layout->in;
    return probe;
}

/* Notes the tags of a group's first row; pointers that must not be NULL are looked at as well. */
static void make_probes(const stele_gen_stmt *single, const char *row, stele__group *group)
{
    stele__probe *probe = group->probes;
    for (int set = 0; set <= 1; set++) {
        for (uint16_t i = 0; i < single->param_count; i++)
            if ((group->shape[i] != STELE__UNSET) == (set != 0))
                *probe++ = make_probe(single, row, i);
        if (set == 0)
            group->unset_count = (uint16_t)(probe - group->probes);
    }
}

/* Says what is wrong with a row's inputs. */
static void explain(const stele__bulk *b, size_t row, uint8_t *states, stele_error *err)
{
    const stele_gen_stmt *single = b->gen->single;
    const char *input = stele__bulk_input(b, row);
    const void *args[] = {input};
    if (stele__bind_states(single, args, states, err) != STELE_OK)
        return;
    int i = 0;
    while (state_of(&single->params[i], input) != WRONG)
        i++;
    const char *column = single->params[i].column;
    (void)stele__fail(err, STELE_E_INPUT, "%s: \"%s\" is a NULL pointer", single->name, column);
    stele__error_place(err, single->table, column);
    stele__error_hint(err, "pass a pointer, also for an empty value; SQL NULL is made by "
                           "stele_…_n_null()");
}

/* ---- groups ---- */

static bool is_in(const uint16_t *list, uint16_t count, uint16_t param)
{
    for (uint16_t i = 0; i < count; i++)
        if (list[i] == param)
            return true;
    return false;
}

/* What a group's shape means for `many`, and for the ways it can be sent. */
static void describe(const stele_gen_bulk *gen, stele__group *group)
{
    group->is_direct = true;
    for (uint16_t i = 0; i < gen->many->param_count; i++) {
        const stele_gen_param *param = &gen->many->params[i];
        uint16_t source = (uint16_t)param->modifier;
        const stele_gen_param *from = &gen->single->params[source];
        bool is_after =
            is_time(from->type) && param->type == (STELE_GEN_INTERVAL | STELE_GEN_ARRAY);
        uint8_t wanted = is_after ? STELE__AFTER : STELE__PARAM;
        group->states[i] = group->shape[source] == wanted ? STELE__PARAM : STELE__UNSET;
        if (group->states[i] == STELE__UNSET)
            continue;
        group->columns[group->column_count++] = (stele__bulk_column){i, source, is_after};
        if ((from->type & STELE_GEN_ARRAY) != 0)
            group->has_arrays = true;
        if (is_after || is_in(gen->staged, gen->staged_count, i))
            group->is_direct = false;
    }
    for (uint16_t i = 0; i < gen->stamped_count; i++)
        if (group->shape[gen->stamped[i]] == STELE__UNSET)
            group->is_direct = false;
}

static stele__group *new_group(stele__bulk *b, const char *row, const uint8_t *shape, uint64_t hash)
{
    size_t sources = b->gen->single->param_count;
    size_t params = b->gen->many->param_count;
    size_t size = sizeof(stele__group) + sources * (sizeof(stele__probe) + 1) +
                  params * (sizeof(stele__bulk_column) + 1);
    stele__group *group = stele__calloc(1, size);
    if (group == NULL)
        return NULL;
    group->probes = (stele__probe *)(void *)(group + 1);
    group->columns = (stele__bulk_column *)(void *)(group->probes + sources);
    group->shape = (uint8_t *)(void *)(group->columns + params);
    group->states = group->shape + sources;
    memcpy(group->shape, shape, sources);
    group->hash = hash;
    make_probes(b->gen->single, row, group);
    describe(b->gen, group);
    *b->last = group;
    b->last = &group->next;
    stele__group **bucket = &b->buckets[hash % STELE__GROUP_BUCKETS];
    group->chain = *bucket;
    *bucket = group;
    return group;
}

static stele__group *group_of(stele__bulk *b, const char *row, const uint8_t *shape)
{
    size_t len = b->gen->single->param_count;
    uint64_t hash = stele__hash64(0, shape, len);
    stele__group *group = b->buckets[hash % STELE__GROUP_BUCKETS];
    while (group != NULL && (group->hash != hash || memcmp(group->shape, shape, len) != 0))
        group = group->chain;
    return group != NULL ? group : new_group(b, row, shape, hash);
}

/* From rows that follow each other to a list of them. */
static bool make_index(stele__group *group)
{
    size_t room = group->count * 2 > 16 ? group->count * 2 : 16;
    size_t *index = stele__realloc_array(group->index, room, sizeof *index);
    if (index == NULL)
        return false;
    for (size_t i = 0; group->index == NULL && i < group->count; i++)
        index[i] = group->first + i;
    group->index = index;
    group->room = room;
    return true;
}

static bool add_row(stele__group *group, size_t row)
{
    if (group->count == 0)
        group->first = row;
    if (group->index == NULL && group->first + group->count == row) {
        group->count++;
        return true;
    }
    if ((group->index == NULL || group->count == group->room) && !make_index(group))
        return false;
    group->index[group->count++] = row;
    return true;
}

/* ---- all rows ---- */

static stele_status no_memory(const stele__bulk *b, stele_error *err)
{
    return stele__fail(err, STELE_E_NOMEM, "%s: out of memory for %zu rows", b->gen->many->name,
                       b->count);
}

static stele_status sort_rows(stele__bulk *b, uint8_t *shape, stele_error *err)
{
    const stele_gen_stmt *single = b->gen->single;
    stele__group *group = NULL;
    for (size_t row = 0; row < b->count; row++) {
        if (stele__bulk_is_dropped(b, row))
            continue;
        const char *input = stele__bulk_input(b, row);
        stele__bulk_prefetch(input, b->gen->input_size);
        if (group == NULL || !has_shape(single, input, group)) {
            if (!read_shape(single, input, shape)) {
                explain(b, row, shape, err);
                stele_status st = stele__bulk_bad_row(b, row, err);
                if (st != STELE_OK)
                    return st;
                b->done++;
                continue;
            }
            group = group_of(b, input, shape);
        }
        if (group == NULL || !add_row(group, row))
            return no_memory(b, err);
    }
    return STELE_OK;
}

stele_status stele__bulk_plan(stele__bulk *b, stele_error *err)
{
    uint8_t *shape = stele__alloc((size_t)b->gen->single->param_count + 1);
    b->last = &b->groups;
    if (shape == NULL)
        return no_memory(b, err);
    stele_status st = stele__bulk_find_twins(b, err);
    if (st == STELE_OK)
        st = sort_rows(b, shape, err);
    stele__free(shape);
    return st;
}

void stele__bulk_plan_free(stele__bulk *b)
{
    for (stele__group *group = b->groups; group != NULL;) {
        stele__group *next = group->next;
        stele__free(group->index);
        stele__free(group);
        group = next;
    }
    stele__free(b->dropped);
}
