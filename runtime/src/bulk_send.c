/**
 * Sending some rows of a group: as arrays, one for each column, or as a list of VALUES.
 *
 * Floor: tx.
 */
#include <string.h>

#include "bulk_internal.h"
#include "codec_internal.h"
#include "observe.h"
#include "run.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define BATCH_BYTES (8u << 20) /* of arrays: what is held in memory on both sides */
#define PARAMS_MAX 65535u
#define TEXT_OID 25

_Static_assert(sizeof(stele_in_str_array) == sizeof(stele_in_i64_array) &&
                   offsetof(stele_in_str_array, v) == offsetof(stele_in_bool_array, v),
               "inputs that are arrays lie alike, whatever their type");

/* ---- how much ---- */

static const char *field_of(const stele__bulk *b, const stele__bulk_column *column, size_t row)
{
    return stele__bulk_input(b, row) + b->gen->single->params[column->source].offset;
}

static bool is_value(const char *field)
{
    const stele_tag *tag;
    memcpy(&tag, field, sizeof tag);
    return tag == &stele_tag_value;
}

/* About what a row takes; arrays within rows are guessed. */
static size_t weight(const stele__bulk *b, const stele__group *group, size_t row)
{
    size_t sum = 0;
    for (uint16_t i = 0; i < group->column_count; i++) {
        const stele__bulk_column *column = &group->columns[i];
        uint8_t type = b->gen->single->params[column->source].type;
        const stele__layout *layout = stele__layout_of(type);
        const char *field = field_of(b, column, row);
        sum += 16;
        if (layout->opt != 0 || !is_value(field))
            continue;
        stele_str view;
        stele_str_array array;
        if ((type & STELE_GEN_ARRAY) != 0) {
            memcpy(&array, field + layout->in, sizeof array);
            sum += array.count * 32;
        } else {
            memcpy(&view, field + layout->in, sizeof view);
            sum += view.len;
        }
    }
    return sum;
}

bool stele__bulk_copies(const stele__bulk *b, const stele__group *group, size_t count)
{
    return !b->no_copy && group->column_count > 0 && count >= b->options.copy_threshold;
}

size_t stele__bulk_fit(const stele__bulk *b, const stele__group *group, const stele__slice *slice)
{
    size_t most = slice->count < b->options.batch_rows ? slice->count : b->options.batch_rows;
    if (stele__bulk_copies(b, group, slice->count))
        return most;
    if (group->has_arrays && most > PARAMS_MAX / group->column_count)
        most = PARAMS_MAX / group->column_count;
    size_t n = 0;
    for (size_t bytes = 0; n < most; n++) {
        bytes += weight(b, group, stele__slice_row(slice, n));
        if (n > 0 && bytes > BATCH_BYTES)
            break;
    }
    return n;
}

/* ---- what is sent ---- */

stele_status stele__bulk_render(const stele__bulk *b, const stele__group *group, uint32_t flags,
                                const char *rows, stele__buf *sql, stele_error *err)
{
    const stele_gen_stmt *many = b->gen->many;
    stele__render_input input = {
        .parts = many->parts,
        .part_count = many->part_count,
        .params = many->params,
        .param_count = many->param_count,
        .states = group->states,
        .flags = flags,
        .module = many->module,
        .names = b->conn->names,
        .rows = rows,
    };
    /* Nothing but ROWS takes parameters, and that is given as text. */
    return stele__render(&input, sql, NULL, NULL, err);
}

static uint32_t flags_of(const stele__bulk *b)
{
    return (b->wants_rows ? STELE_FLAG_RETURNING : 0u) |
           (b->options.skip_conflicts ? STELE_FLAG_BULK_SKIP : 0u);
}

stele_status stele__bulk_query(stele__bulk *b, const stele__step *step,
                               struct pg_result **ret_result, stele_error *err)
{
    stele__step steps[STELE__PENDING_MAX + 1];
    int count = 0;
    stele_conn *conn = b->conn;
    for (; count < conn->tx.pending_count; count++)
        steps[count] = (stele__step){.kind = STELE__STEP_SIMPLE, .sql = conn->tx.pending[count]};
    steps[count++] = *step;
    return stele__exchange(conn, steps, count, STELE__WRITES, ret_result, NULL, err);
}

/* ---- what comes back ---- */

static uint64_t read_count(const struct pg_result *result, int column)
{
    uint64_t n = 0;
    const char *text = stele__result_text(result, 0, column);
    for (; text != NULL && *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (uint64_t)(*text - '0');
    return n;
}

/* Rows that are wanted back, or that say whether they are new. */
static stele_status count_rows(const stele__bulk *b, struct pg_result *result, size_t sent,
                               stele__outcome *ret_outcome, stele_error *err)
{
    const stele_gen_stmt *single = b->gen->single;
    stele__row_shape shape = {single->columns, single->column_count, single->row_size,
                              single->name};
    uint64_t rows = (uint64_t)stele__result_count(result);
    stele_status st = stele__result_check(result, &shape, err);
    if (st == STELE_OK && b->wants_rows && rows != sent) {
        st = stele__fail(err, STELE_E_UNSUPPORTED, "%s: %llu rows came back for %zu", single->name,
                         (unsigned long long)rows, sent);
        stele__error_hint(err, "a trigger leaves rows out; do not ask for rows back");
    }
    if (st != STELE_OK) {
        stele__result_clear(result);
        return st;
    }
    ret_outcome->inserted = rows;
    for (int i = 0; b->gen->tells_inserted && i < (int)rows; i++)
        if (stele__result_text(result, i, single->column_count - 1)[0] == 0)
            ret_outcome->updated++;
    ret_outcome->inserted -= ret_outcome->updated;
    if (b->wants_rows)
        ret_outcome->result = result;
    else
        stele__result_clear(result);
    return STELE_OK;
}

stele_status stele__bulk_count(const stele__bulk *b, struct pg_result *result, size_t sent,
                               stele__outcome *ret_outcome, stele_error *err)
{
    if (stele__result_is_command(result)) {
        ret_outcome->inserted = stele__result_affected(result);
    } else if (b->wants_rows || sent == 1) {
        return count_rows(b, result, sent, ret_outcome, err);
    } else {
        ret_outcome->inserted = read_count(result, 0);
        ret_outcome->updated = read_count(result, 1);
    }
    stele__result_clear(result);
    return STELE_OK;
}

/* ---- arrays ---- */

static bool is_label(const stele_gen_param *from, const stele_gen_param *to)
{
    return from->type == STELE_GEN_ENUM && to->type != from->type;
}

/* One column of a slice, as an array of C values. */
static stele_status gather(const stele__bulk *b, const stele__bulk_column *column,
                           const stele__slice *slice, stele_in_str_array *ret_column,
                           stele__block *block, stele_error *err)
{
    const stele_gen_param *from = &b->gen->single->params[column->source];
    const stele_gen_param *to = &b->gen->many->params[column->param];
    size_t size = stele__layouts[to->type & (uint8_t)~STELE_GEN_ARRAY].size;
    size_t offset =
        column->is_after ? offsetof(stele_in_ts, after) : stele__layout_of(from->type)->in;
    char *items = stele__block_calloc(block, slice->count, size);
    bool *nulls = stele__block_calloc(block, slice->count, sizeof *nulls);
    if (items == NULL || nulls == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory for \"%s\"", b->gen->many->name,
                           to->column);
    for (size_t i = 0; i < slice->count; i++) {
        const char *field = field_of(b, column, stele__slice_row(slice, i));
        if (column->is_after) {
            const stele_tag *tag;
            memcpy(&tag, field, sizeof tag);
            if (tag == &stele_tag_after) /* else: now, which is no time after it */
                memcpy(items + i * size, field + offset, size);
        } else if (!is_value(field)) {
            nulls[i] = true;
        } else if (is_label(from, to)) {
            int value;
            memcpy(&value, field + offset, sizeof value);
            stele_str label = stele_s(stele_gen_enum_label(from->labels, value));
            if (label.data == NULL)
                return stele__fail(err, STELE_E_VALUE, "%s: \"%s\": %s", b->gen->many->name,
                                   to->column, stele__codec_text(STELE__CODEC_LABEL));
            memcpy(items + i * size, &label, sizeof label);
        } else {
            memcpy(items + i * size, field + offset, size);
        }
    }
    *ret_column = (stele_in_str_array){
        .tag = &stele_tag_value,
        .v = {.items = (const void *)items, .nulls = nulls, .count = slice->count}};
    return STELE_OK;
}

static stele_status send_arrays(stele__bulk *b, const stele__group *group,
                                const stele__slice *slice, stele__outcome *ret_outcome,
                                stele_error *err)
{
    const stele_gen_stmt *many = b->gen->many;
    stele_in_str_array *columns =
        stele__block_calloc(&b->block, many->param_count, sizeof *columns);
    if (columns == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", many->name);
    for (uint16_t i = 0; i < group->column_count; i++) {
        const stele__bulk_column *column = &group->columns[i];
        stele_status st = gather(b, column, slice, &columns[column->param], &b->block, err);
        if (st != STELE_OK)
            return st;
    }
    const void *args[] = {columns};
    stele_status st;
    struct pg_result *result = stele__run(b->conn, many, args, flags_of(b), &st, err);
    return result != NULL ? stele__bulk_count(b, result, slice->count, ret_outcome, err) : st;
}

/* ---- VALUES ---- */

/* (VALUES ($1, $2, 1), …) AS u(c0, c3, n) */
static void add_values(const stele__group *group, size_t count, stele__buf *sql)
{
    unsigned number = 1;
    stele__buf_add_text(sql, "(VALUES ");
    for (size_t row = 1; row <= count; row++) {
        stele__buf_add_text(sql, row > 1 ? ", (" : "(");
        for (uint16_t i = 0; i < group->column_count; i++) {
            stele__buf_add_char(sql, '$');
            stele__buf_add_uint(sql, number++);
            stele__buf_add_text(sql, ", ");
        }
        stele__buf_add_uint(sql, row);
        stele__buf_add_char(sql, ')');
    }
    stele__buf_add_text(sql, ") AS u(");
    for (uint16_t i = 0; i < group->column_count; i++) {
        stele__buf_add_char(sql, 'c');
        stele__buf_add_uint(sql, group->columns[i].param);
        stele__buf_add_text(sql, ", ");
    }
    stele__buf_add_text(sql, "n)");
}

/* OID of a parameter in a list of VALUES. */
static uint32_t value_oid(const stele__bulk *b, const stele__bulk_column *column)
{
    uint8_t from = b->gen->single->params[column->source].type;
    uint8_t to = b->gen->many->params[column->param].type;
    if ((from & STELE_GEN_ARRAY) != 0)
        return stele__type_oid(to);
    return stele__type_oid(to & (uint8_t)~STELE_GEN_ARRAY);
}

static stele_status encode(const stele__bulk *b, const stele__bulk_column *column, size_t row,
                           stele__encoded *out, stele__block *block, stele_error *err)
{
    static const stele_interval zero;
    const stele_gen_param *from = &b->gen->single->params[column->source];
    const char *field = field_of(b, column, row);
    const stele_tag *tag;
    int code;
    memcpy(&tag, field, sizeof tag);
    if (column->is_after) {
        const void *after =
            tag == &stele_tag_after ? field + offsetof(stele_in_ts, after) : (const void *)&zero;
        code = stele__encode_value(STELE_GEN_INTERVAL, NULL, after, out, block);
    } else if (tag != &stele_tag_value) {
        *out = (stele__encoded){.data = NULL};
        return STELE_OK;
    } else {
        const void *value = field + stele__layout_of(from->type)->in;
        code = stele__encode_value(from->type, from->labels, value, out, block);
    }
    if (code == STELE__CODEC_OK)
        return STELE_OK;
    return stele__fail(err, code == STELE__CODEC_NOMEM ? STELE_E_NOMEM : STELE_E_VALUE,
                       "%s: \"%s\": %s", b->gen->many->name, from->column, stele__codec_text(code));
}

/* Arrays of libpq's for all values of a slice, in the scratch block. */
static stele_status bind_values(stele__bulk *b, const stele__group *group,
                                const stele__slice *slice, stele__step *step, stele_error *err)
{
    size_t width = group->column_count;
    size_t n = slice->count * width;
    stele__block *block = &b->block;
    uint32_t *types = stele__block_calloc(block, n + 1, sizeof *types);
    const char **values = stele__block_calloc(block, n + 1, sizeof *values);
    int *lengths = stele__block_calloc(block, n + 1, sizeof *lengths);
    int *formats = stele__block_calloc(block, n + 1, sizeof *formats);
    stele__encoded *encoded = stele__block_calloc(block, n + 1, sizeof *encoded);
    if (types == NULL || values == NULL || lengths == NULL || formats == NULL || encoded == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", b->gen->many->name);
    for (size_t k = 0; k < n; k++) {
        const stele__bulk_column *column = &group->columns[k % width];
        size_t row = stele__slice_row(slice, k / width);
        stele_status st = encode(b, column, row, &encoded[k], block, err);
        if (st != STELE_OK) {
            b->suspect = row;
            return st;
        }
        types[k] = value_oid(b, column);
        values[k] = encoded[k].data;
        lengths[k] = encoded[k].len;
        formats[k] = encoded[k].format;
    }
    *step = (stele__step){.kind = STELE__STEP_QUERY,
                          .param_count = (int)n,
                          .types = types,
                          .values = values,
                          .lengths = lengths,
                          .formats = formats,
                          .result_format = 1};
    return STELE_OK;
}

static stele_status send_values(stele__bulk *b, const stele__group *group,
                                const stele__slice *slice, stele__outcome *ret_outcome,
                                stele_error *err)
{
    stele__step step;
    stele__buf rows = {0};
    stele__buf sql = {0};
    stele_status st = bind_values(b, group, slice, &step, err);
    if (st == STELE_OK) {
        add_values(group, slice->count, &rows);
        st = rows.failed ? stele__fail(err, STELE_E_NOMEM, "out of memory for a statement")
                         : stele__bulk_render(b, group, flags_of(b), rows.data, &sql, err);
    }
    struct pg_result *result = NULL;
    step.sql = stele__buf_text(&sql);
    if (st == STELE_OK)
        st = stele__bulk_query(b, &step, &result, err);
    stele__buf_release(&rows);
    stele__buf_release(&sql);
    return st == STELE_OK ? stele__bulk_count(b, result, slice->count, ret_outcome, err) : st;
}

/* ---- one row ---- */

/* As the function for one row would: its errors say the most. */
static stele_status send_single(stele__bulk *b, const stele__slice *slice,
                                stele__outcome *ret_outcome, stele_error *err)
{
    const void *args[] = {stele__bulk_input(b, stele__slice_row(slice, 0))};
    bool asks = b->wants_rows || b->gen->tells_inserted;
    stele_status st;
    struct pg_result *result =
        stele__run(b->conn, b->gen->single, args, asks ? STELE_FLAG_RETURNING : 0, &st, err);
    return result != NULL ? stele__bulk_count(b, result, 1, ret_outcome, err) : st;
}

/* What does not run as other statements do tells the hooks itself. */
static stele_status send_unseen(stele__bulk *b, const stele__group *group,
                                const stele__slice *slice, bool copies, stele__outcome *ret_outcome,
                                stele_error *err)
{
    const stele_gen_stmt *many = b->gen->many;
    uint64_t trips = b->conn->link->round_trips;
    uint64_t started = stele__observe_start(b->conn, many);
    stele_status st = copies ? stele__bulk_copy(b, group, slice, ret_outcome, err)
                             : send_values(b, group, slice, ret_outcome, err);
    const stele__observed_in where = {
        .started_ns = started, .round_trips = (uint32_t)(b->conn->link->round_trips - trips)};
    stele__observe_end(b->conn, many, &where, ret_outcome->inserted + ret_outcome->updated, st,
                       err);
    return st;
}

stele_status stele__bulk_send(stele__bulk *b, const stele__group *group, const stele__slice *slice,
                              stele__outcome *ret_outcome, stele_error *err)
{
    stele_status st;
    *ret_outcome = (stele__outcome){0, 0, NULL};
    b->again = false;
    b->suspect = STELE_BULK_NO_ROW;
    if (slice->count == 1 && !b->options.skip_conflicts)
        return send_single(b, slice, ret_outcome, err);
    bool copies = stele__bulk_copies(b, group, slice->count);
    if (copies || group->has_arrays || group->column_count == 0)
        st = send_unseen(b, group, slice, copies, ret_outcome, err);
    else
        st = send_arrays(b, group, slice, ret_outcome, err);
    stele__block_release(&b->block);
    return st;
}
