/**
 * From the C fields of a call to the parameters of a statement.
 *
 * Floor: stmt.
 */
#ifndef STELE_BIND_H
#define STELE_BIND_H

#include "codec_internal.h"
#include "render.h"

/** Parameters that fit without the heap. */
#define STELE__BIND_INLINE 24

/** Bytes of copies that fit without the heap. */
#define STELE__BIND_SPACE 2048

/** Arrays as libpq wants them, and the memory behind them. */
typedef struct stele__bound {
    int count;
    const char **values;
    int *lengths;
    int *formats;
    stele__encoded *encoded; /* what values[] may point into */
    stele__block block;      /* copies: jsonb, numeric, arrays, long lists; begins in `space` */
    const char *value_space[STELE__BIND_INLINE];
    int length_space[STELE__BIND_INLINE];
    int format_space[STELE__BIND_INLINE];
    stele__encoded encoded_space[STELE__BIND_INLINE];
    _Alignas(max_align_t) char space[STELE__BIND_SPACE];
} stele__bound;

/** The same for texts alone: no codec, no heap. All of them go in binary. */
typedef struct stele__bound_texts {
    const char *values[STELE__BIND_INLINE];
    int lengths[STELE__BIND_INLINE];
    char space[STELE__BIND_SPACE]; /* the jsonb behind its version byte */
} stele__bound_texts;

extern const int stele__bind_binary[STELE__BIND_INLINE];

/** How one $n is bound. */
typedef struct stele__bind_slot {
    uint16_t param;
    uint8_t arg;
    uint8_t way;     /* stele__bind_way */
    uint32_t offset; /* of the value in args[arg] */
} stele__bind_slot;

/** How a value goes out. */
enum stele__bind_way {
    STELE__BIND_ENCODED, /* by the codec */
    STELE__BIND_AS_IS,   /* the text itself */
    STELE__BIND_JSONB    /* a copy of the text behind its version byte */
};

/** Where an input lies, and what its tag was. */
typedef struct stele__bind_input {
    const stele_tag *tag;
    uint32_t offset;
    uint8_t arg;
} stele__bind_input;

/** Parameters that are texts, all in one argument: what stele__bind_texts() goes by. */
typedef struct stele__text_plan {
    bool possible;
    bool tagged;       /* the texts are inputs, which have their tags right before them */
    uint8_t arg;       /* of the texts, and of all inputs */
    uint8_t jsonb;     /* the one that is; more are not possible */
    uint16_t unset;    /* inputs that are not set */
    uint32_t *offsets; /* of those inputs, then of the texts */
} stele__text_plan;

#define STELE__NO_JSONB UINT8_MAX

/** Works out how the parameters in `order`, those of $1, $2, …, are bound. */
void stele__bind_plan(const stele_gen_stmt *stmt, const uint16_t *order, int count,
                      stele__bind_slot *ret_slots);

/** Works out whether that is so, for inputs of these states; `offsets` takes param_count of them. */
void stele__bind_plan_texts(const stele_gen_stmt *stmt, const uint8_t *states,
                            const stele__bind_slot *slots, int count, uint32_t *offsets,
                            stele__text_plan *ret_plan);

/** Notes the tags of the inputs, params [shape_from, param_count). */
void stele__bind_note_tags(const stele_gen_stmt *stmt, const void *const *args,
                           stele__bind_input *ret_inputs);

static inline const stele_tag *stele__bind_tag(const void *const *args, uint8_t arg,
                                               uint32_t offset)
{
    const char *base = args[arg];
    const stele_tag *tag = NULL;
    if (base != NULL)
        memcpy(&tag, base + offset, sizeof tag);
    return tag;
}

/** True if the `count` inputs have the tags noted: then they also have the states of then. */
static inline bool stele__bind_has_tags(const stele__bind_input *inputs, int count,
                                        const void *const *args)
{
    for (const stele__bind_input *end = inputs + count; inputs < end; inputs++)
        if (stele__bind_tag(args, inputs->arg, inputs->offset) != inputs->tag)
            return false;
    return true;
}

/**
 * Reads the states of the inputs, params [shape_from, param_count), into `states` (param_count
 * entries; those before shape_from get STELE__PARAM).
 *
 * Errors: STELE_E_INPUT naming the column for a required one that is unset, a NULL in a NOT NULL
 *         one, an uninitialised wrapper, or an input that sets nothing where it must.
 */
stele_status stele__bind_states(const stele_gen_stmt *stmt, const void *const *args,
                                uint8_t *states, stele_error *err);

/* The pieces of stele__bind() that take a call: many parameters, other values, too much in all. */
stele_status stele__bind_room(const stele_gen_stmt *stmt, int count, stele__bound *bound,
                              stele_error *err);
stele_status stele__bind_value_of(const stele_gen_stmt *stmt, const void *const *args,
                                  const uint8_t *states, uint16_t param, int i, stele__bound *bound,
                                  stele_error *err);
stele_status stele__bind_too_long(const stele_gen_stmt *stmt, stele_error *err);
stele_status stele__bind_no_memory(const stele_gen_stmt *stmt, stele_error *err);

/** Bytes of parameters that the server takes: at a message of a gigabyte it just hangs up. */
#define STELE__BIND_MAX (0x3fffffffu - 128)

/*
 * Text that is there: the frequent case, which goes as it is. NULL for all others. An input that is
 * no value has no pointer either: its constructor, or the caller's zeros, saw to that.
 */
static inline const stele_str *stele__bind_text(const stele__bind_slot *slot,
                                                const void *const *args)
{
    const char *base = args[slot->arg];
    if (slot->way == STELE__BIND_ENCODED || base == NULL)
        return NULL;
    const stele_str *text = (const stele_str *)(const void *)(base + slot->offset);
    return text->data != NULL && text->len < STELE__VALUE_MAX ? text : NULL;
}

/**
 * Encodes the parameters, $1, $2, …; `states` may be NULL when all are plain.
 *
 * Owns:   the caller, also after a failure: stele__bind_release(). Values may point into args[].
 * Errors: STELE_E_INPUT and STELE_E_VALUE naming the column, STELE_E_NOMEM.
 */
static inline stele_status stele__bind(const stele_gen_stmt *stmt, const void *const *args,
                                       const uint8_t *states, const stele__bind_slot *slots,
                                       int count, stele__bound *bound, stele_error *err)
{
    size_t size = 0;
    bound->block = (stele__block){.next = bound->space,
                                  .left = sizeof bound->space,
                                  .first = bound->space,
                                  .first_size = sizeof bound->space};
    bound->count = count;
    bound->values = bound->value_space;
    bound->lengths = bound->length_space;
    bound->formats = bound->format_space;
    bound->encoded = bound->encoded_space;
    stele_status st =
        count <= STELE__BIND_INLINE ? STELE_OK : stele__bind_room(stmt, count, bound, err);
    if (st != STELE_OK)
        return st;
    const char **values = bound->values;
    int *lengths = bound->lengths;
    int *formats = bound->formats;
    for (int i = 0; i < count; i++) {
        const stele_str *text = stele__bind_text(&slots[i], args);
        if (text != NULL) {
            values[i] = text->data;
            lengths[i] = (int)text->len;
            formats[i] = 1;
            if (slots[i].way == STELE__BIND_JSONB) {
                char *copy = stele__block_alloc(&bound->block, text->len + 1);
                if (copy == NULL)
                    return stele__bind_no_memory(stmt, err);
                copy[0] = 1;
                memcpy(copy + 1, text->data, text->len);
                values[i] = copy;
                lengths[i]++;
            }
        } else {
            st = stele__bind_value_of(stmt, args, states, slots[i].param, i, bound, err);
            if (st != STELE_OK)
                return st;
        }
        size += (size_t)lengths[i] + 6;
    }
    return size <= STELE__BIND_MAX ? STELE_OK : stele__bind_too_long(stmt, err);
}

/* Longer texts take the other way, which sums the lengths up. */
#define STELE__TEXTS_MAX (STELE__BIND_MAX / STELE__BIND_INLINE - 8)

static inline const stele_tag *stele__bind_tag_at(const char *input)
{
    return *(const stele_tag *const *)(const void *)input;
}

/**
 * The frequent case in one pass: true if what the plan takes for unset is, and all its texts are there,
 * which are then bound. Else nothing is known: see stele__bind_has_tags() and stele__bind().
 */
static inline bool stele__bind_texts(const stele__text_plan *plan, int count,
                                     const void *const *args, stele__bound_texts *bound)
{
    const uint32_t *offsets = plan->offsets;
    const char *base = args[plan->arg];
    const bool tagged = plan->tagged;
    if (base == NULL)
        return false;
    for (long i = plan->unset; i > 0; i--)
        if (stele__bind_tag_at(base + *offsets++) != NULL)
            return false;
    long i = count;
    do {
        i--;
        const char *value = base + offsets[i];
        if (tagged && stele__bind_tag_at(value - sizeof(stele_tag *)) != &stele_tag_value)
            return false;
        const stele_str *text = (const stele_str *)(const void *)value;
        const char *data = text->data;
        size_t len = text->len;
        if (data == NULL || len > STELE__TEXTS_MAX)
            return false;
        bound->values[i] = data;
        bound->lengths[i] = (int)len;
    } while (i != 0);
    if (plan->jsonb == STELE__NO_JSONB)
        return true;
    const char **value = &bound->values[plan->jsonb];
    size_t len = (size_t)bound->lengths[plan->jsonb]++;
    const char *data = *value;
    if (len >= sizeof bound->space)
        return false;
    *value = bound->space;
    bound->space[0] = 1;
    memcpy(bound->space + 1, data, len);
    return true;
}

static inline void stele__bind_release(stele__bound *bound)
{
    if (bound->block.chunks != NULL)
        stele__block_release(&bound->block);
}

/** OID to declare for a parameter in a state; 0 lets the server infer it. */
uint32_t stele__bind_oid(const stele_gen_param *param, uint8_t state);

/** Where a parameter's value lies, or NULL if it is SQL NULL or unset. */
const void *stele__bind_value(const stele_gen_param *param, const void *const *args);

#endif
