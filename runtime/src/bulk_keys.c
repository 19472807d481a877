/**
 * Rows of one upsert that have the same key: the server refuses them in one statement (21000), and in
 * two it would let the later one silently win.
 *
 * Keys are compared by their bytes on the wire. What only the server holds to be equal (a collation
 * that ignores case, say) is left to it.
 *
 * Floor: tx.
 */
#include <math.h>
#include <string.h>

#include "bind.h"
#include "bulk_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* The rows seen so far, by key: row + 1 in a slot, 0 for none. */
typedef struct twins {
    const stele__bulk *b;
    size_t *slots;
    size_t mask;
    stele__buf key;   /* of the row at hand */
    stele__buf other; /* of one with the same hash */
} twins;

/* The server takes these for equal, so their bytes must be. */
static void add_normal(stele__buf *key, uint8_t type, const stele__encoded *value)
{
    size_t len = (size_t)value->len;
    double f8;
    if (type == STELE_GEN_BPCHAR)
        while (len > 0 && value->data[len - 1] == ' ')
            len--;
    if (type == STELE_GEN_NUMERIC && value->format == 1 && len >= 8) {
        while (len > 8 && value->data[len - 1] == 0 && value->data[len - 2] == 0)
            len -= 2;
        stele__buf_add(key, value->data + 2, 4); /* weight and sign, not the digits shown */
        stele__buf_add(key, value->data + 8, len - 8);
        return;
    }
    if (type == STELE_GEN_FLOAT8) {
        uint64_t bits = stele__get_be64(value->data);
        memcpy(&f8, &bits, sizeof f8);
        if (f8 == 0.0 || isnan(f8)) {
            stele__buf_add_text(key, isnan(f8) ? "NaN" : "0");
            return;
        }
    }
    stele__buf_add(key, value->data, len);
}

/* False if the row cannot have a twin: its key is not whole, or it does not have one. */
static bool read_key(const stele__bulk *b, size_t row, stele__buf *key, stele__block *block)
{
    const stele_gen_bulk *gen = b->gen;
    const void *args[] = {stele__bulk_input(b, row)};
    stele__buf_reset(key);
    for (uint16_t i = 0; i < gen->key_count; i++) {
        const stele_gen_param *param = &gen->single->params[gen->key[i]];
        const stele_tag *tag = stele__bind_tag(args, 0, param->offset);
        if (tag == &stele_tag_null && gen->key_has_null) {
            stele__buf_add_char(key, 'N');
            continue;
        }
        stele__encoded value;
        if (tag != &stele_tag_value ||
            stele__encode_value(param->type, param->labels, stele__bind_value(param, args), &value,
                                block) != STELE__CODEC_OK ||
            value.data == NULL)
            return false;
        size_t before = key->len;
        stele__buf_add(key, "\0\0\0\0\0\0\0\0V", 9);
        add_normal(key, param->type, &value);
        if (!key->failed)
            stele__put_be64(key->data + before, key->len);
    }
    if (!gen->key_has_deleted)
        return true;
    const stele_gen_param *deleted = &gen->single->params[gen->deleted_param];
    const stele_tag *tag = stele__bind_tag(args, 0, deleted->offset);
    return tag == NULL || tag == &stele_tag_null;
}

/* The slot of a key: empty, or that of the row that has it. */
static size_t *find_slot(twins *t, stele__block *block)
{
    size_t at = (size_t)stele__hash64(0, t->key.data, t->key.len) & t->mask;
    for (; t->slots[at] != 0; at = (at + 1) & t->mask) {
        (void)read_key(t->b, t->slots[at] - 1, &t->other, block);
        if (t->other.failed ||
            (t->other.len == t->key.len && memcmp(t->other.data, t->key.data, t->key.len) == 0))
            break;
    }
    return &t->slots[at];
}

static bool drop(stele__bulk *b, size_t row)
{
    if (b->dropped == NULL)
        b->dropped = stele__calloc(1, b->count / 8 + 1);
    if (b->dropped == NULL)
        return false;
    b->dropped[row / 8] |= (uint8_t)(1u << (row % 8));
    b->done++;
    return true;
}

static stele_status bad_twin(stele__bulk *b, size_t row, size_t twin, stele_error *err)
{
    const stele_gen_stmt *single = b->gen->single;
    (void)stele__fail(err, STELE_E_UNIQUE, "%s: the key is that of row %zu", single->name, twin);
    (void)stele__copy_text(err->sqlstate, sizeof err->sqlstate, "21000");
    stele__error_place(err, single->table,
                       b->gen->key_count == 1 ? single->params[b->gen->key[0]].column : NULL);
    stele__error_hint(err, "leave one out, or choose last_wins");
    return stele__bulk_bad_row(b, row, err);
}

static stele_status look_at(stele__bulk *b, twins *t, size_t row, stele_error *err)
{
    char space[1024];
    stele__block block;
    stele_status st = STELE_OK;
    stele__block_init(&block, space, sizeof space);
    bool has_key = read_key(b, row, &t->key, &block);
    if (has_key && !t->key.failed) {
        size_t *slot = find_slot(t, &block);
        if (t->other.failed)
            st = STELE_E_NOMEM;
        else if (*slot == 0)
            *slot = row + 1;
        else if (!drop(b, row))
            st = STELE_E_NOMEM;
        else if (b->options.last_wins)
            b->report.skipped++;
        else
            st = bad_twin(b, row, *slot - 1, err);
    }
    stele__block_release(&block);
    if (t->key.failed || st == STELE_E_NOMEM)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory for keys", b->gen->many->name);
    return st;
}

stele_status stele__bulk_find_twins(stele__bulk *b, stele_error *err)
{
    size_t size = 4;
    twins t = {.b = b};
    if (b->gen->key == NULL || b->gen->key_is_partial || b->count < 2)
        return STELE_OK;
    while (size < b->count * 2)
        size *= 2;
    t.mask = size - 1;
    t.slots = stele__calloc(size, sizeof *t.slots);
    if (t.slots == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory for keys", b->gen->many->name);
    stele_status st = STELE_OK;
    for (size_t i = 0; i < b->count && st == STELE_OK; i++)
        st = look_at(b, &t, b->options.last_wins ? b->count - 1 - i : i, err);
    stele__buf_release(&t.key);
    stele__buf_release(&t.other);
    stele__free(t.slots);
    return st;
}
