/**
 * Sending some rows of a group by COPY: into the table, or into a temporary one that INSERT reads.
 *
 * Rows are encoded into a buffer that leaves whenever it is full; long values pass it by.
 *
 * Floor: tx.
 */
#include <string.h>

#include "bulk_internal.h"
#include "codec_internal.h"
#include "link_copy.h"
#include "run.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define BUFFER_SIZE STELE__COPY_PUT
#define SLACK 64u              /* behind the buffer: for what is written in one piece */
#define SCRATCH_SIZE 4096u     /* for one value at a time */
#define SCRATCH_AT (65u << 10) /* behind the buffer, aligned */

_Static_assert(BUFFER_SIZE + SLACK <= SCRATCH_AT, "the buffer ends before the scratch");

#define TEXT_HEAD 5 /* its length and perhaps a version */
#define STAGE "pg_temp.stele_bulk"

/* How a column is encoded. */
typedef enum way { WAY_TEXT = 0, WAY_JSONB = 1 /* the version's byte */, WAY_ANY, WAY_AFTER } way;

typedef struct field {
    uint32_t tag;   /* offset of the tag in an input */
    uint32_t value; /* … of the value */
    uint8_t type;
    uint8_t way;
    const stele_gen_enum *labels;
    const char *column;
} field;

/* A COPY under way. */
typedef struct copier {
    stele__bulk *b;
    stele__deadline deadline;
    const field *fields;
    uint16_t field_count;
    bool counted;    /* rows begin with their number */
    uint64_t number; /* … of this row, from 1 */
    char *buffer;
    size_t used;
    stele_status status; /* the first failure; later calls do nothing */
    bool refused;        /* … was a value's, not the connection's */
    stele_error *err;
} copier;

/* ---- the stream ---- */

static void put(copier *c, const char *data, size_t len)
{
    if (c->status == STELE_OK)
        c->status = stele__link_copy_put(c->b->conn->link, data, len, c->deadline, c->err);
}

/* Sends a whole buffer; what is behind it becomes the beginning of the next. */
static void spill(copier *c)
{
    put(c, c->buffer, BUFFER_SIZE);
    c->used -= BUFFER_SIZE;
    memcpy(c->buffer, c->buffer + BUFFER_SIZE, c->used);
}

/* Room for a few bytes, SLACK at most. */
static inline char *room(copier *c, size_t len)
{
    if (c->used >= BUFFER_SIZE)
        spill(c);
    char *at = c->buffer + c->used;
    c->used += len;
    return at;
}

/* Bytes that do not fit. Whole buffers of them go as they lie. */
static void add_long(copier *c, const char *data, size_t len)
{
    if (c->used >= BUFFER_SIZE)
        spill(c);
    size_t first = BUFFER_SIZE - c->used;
    if (first < len) {
        memcpy(c->buffer + c->used, data, first);
        put(c, c->buffer, BUFFER_SIZE);
        c->used = 0;
        for (data += first, len -= first; len >= BUFFER_SIZE; len -= BUFFER_SIZE) {
            put(c, data, BUFFER_SIZE);
            data += BUFFER_SIZE;
        }
    }
    memcpy(c->buffer + c->used, data, len);
    c->used += len;
}

static inline void add_bytes(copier *c, const char *data, size_t len)
{
    if (BUFFER_SIZE + SLACK - c->used < len) {
        add_long(c, data, len);
        return;
    }
    memcpy(c->buffer + c->used, data, len);
    c->used += len;
}

/* A value is at fault: the COPY will be called off. */
static void refuse(copier *c, const field *f, size_t row, int code)
{
    const stele_gen_stmt *many = c->b->gen->many;
    if (c->status != STELE_OK)
        return;
    c->refused = true;
    c->b->suspect = row;
    c->status = stele__fail(c->err, code == STELE__CODEC_NOMEM ? STELE_E_NOMEM : STELE_E_VALUE,
                            "%s: \"%s\": %s", many->name, f->column, stele__codec_text(code));
}

static void add_any(copier *c, const field *f, const char *value, size_t row)
{
    stele__encoded encoded;
    stele__block *block = &c->b->block;
    int code = stele__encode_value(f->type, f->labels, value, &encoded, block);
    if (code == STELE__CODEC_OK && encoded.format == 0 && f->type == STELE_GEN_NUMERIC) {
        /* More digits than binary can say. */
        c->b->again = true;
        c->b->no_copy = true;
        code = STELE__CODEC_TOO_LONG;
    }
    if (code != STELE__CODEC_OK) {
        refuse(c, f, row, code);
        return;
    }
    stele__put_be32(room(c, 4), (uint32_t)encoded.len);
    add_bytes(c, encoded.data, (size_t)encoded.len);
    stele__block_reset(block);
}

static void add_after(copier *c, const field *f, const char *input)
{
    const stele_tag *tag;
    size_t len;
    stele_interval after = {0};
    char *at = room(c, 20);
    memcpy(&tag, input + f->tag, sizeof tag);
    if (tag == &stele_tag_after) /* else: now, which is no time after it */
        memcpy(&after, input + f->value, sizeof after);
    stele__put_be32(at, 16);
    (void)stele__write_fixed(STELE_GEN_INTERVAL, &after, at + 4, &len);
}

/* A text that does not fit, or is too long. */
static void add_long_text(copier *c, const field *f, const stele_str *text, size_t row)
{
    bool jsonb = f->way == WAY_JSONB;
    if (text->len > STELE__VALUE_MAX - 1) {
        refuse(c, f, row, STELE__CODEC_TOO_LONG);
        return;
    }
    char *at = room(c, jsonb ? 5 : 4);
    stele__put_be32(at, (uint32_t)text->len + jsonb);
    if (jsonb)
        at[4] = 1; /* version of the format */
    add_bytes(c, text->data, text->len);
}

static inline bool is_value(const char *input, const field *f)
{
    const stele_tag *tag;
    memcpy(&tag, input + f->tag, sizeof tag);
    return tag == &stele_tag_value;
}

/* All but a text that is there and fits. */
static void add_field(copier *c, const field *f, const char *input, size_t row)
{
    stele_str text;
    if (f->way == WAY_AFTER) {
        add_after(c, f, input);
    } else if (!is_value(input, f)) {
        stele__put_be32(room(c, 4), UINT32_MAX);
    } else if (f->way == WAY_ANY) {
        add_any(c, f, input + f->value, row);
    } else {
        memcpy(&text, input + f->value, sizeof text);
        add_long_text(c, f, &text, row);
    }
}

/* The frequent case is in this loop, whose variables stay in registers: it runs for each value. */
static void add_row(copier *c, const char *input, size_t row)
{
    const char *limit = c->buffer + BUFFER_SIZE + SLACK - TEXT_HEAD;
    char *at = room(c, 2);
    stele__put_be16(at, (uint16_t)(c->field_count + c->counted));
    at += 2;
    if (c->counted) {
        stele__put_be32(at, 8);
        stele__put_be64(at + 4, c->number);
        at += 12;
    }
    for (const field *f = c->fields, *end = f + c->field_count; f < end; f++) {
        stele_str text = {.len = SIZE_MAX};
        if (f->way <= WAY_JSONB && is_value(input, f))
            memcpy(&text, input + f->value, sizeof text);
        if (text.len > BUFFER_SIZE || (ptrdiff_t)text.len > limit - at) {
            c->used = (size_t)(at - c->buffer);
            add_field(c, f, input, row);
            at = c->buffer + c->used;
            continue;
        }
        stele__put_be32(at, (uint32_t)text.len + f->way);
        at[4] = 1; /* version of the format, or overwritten */
        memcpy(at + 4 + f->way, text.data, text.len);
        at += 4 + f->way + text.len;
    }
    c->used = (size_t)(at - c->buffer);
}

static void add_rows(copier *c, const stele__slice *slice)
{
    static const char head[19] = "PGCOPY\n\377\r\n"; /* no flags, nothing more in the header */
    add_bytes(c, head, sizeof head);
    for (size_t i = 0; i < slice->count && c->status == STELE_OK; i++) {
        size_t row = stele__slice_row(slice, i);
        const char *input = stele__bulk_input(c->b, row);
        stele__bulk_prefetch(input, c->b->gen->input_size);
        c->number = i + 1;
        add_row(c, input, row);
    }
    stele__put_be16(room(c, 2), UINT16_MAX);
    put(c, c->buffer, c->used);
}

/* ---- what is run ---- */

static bool is_text_like(uint8_t type)
{
    return type == STELE_GEN_TEXT || type == STELE_GEN_BPCHAR || type == STELE_GEN_JSON ||
           type == STELE_GEN_OPAQUE;
}

static void describe(const stele__bulk *b, const stele__group *group, field *fields)
{
    for (uint16_t i = 0; i < group->column_count; i++) {
        const stele__bulk_column *column = &group->columns[i];
        const stele_gen_param *from = &b->gen->single->params[column->source];
        uint32_t in = column->is_after ? (uint32_t)offsetof(stele_in_ts, after)
                                       : stele__layout_of(from->type)->in;
        fields[i] = (field){
            .tag = from->offset,
            .value = from->offset + in,
            .type = from->type,
            .way = column->is_after                ? WAY_AFTER
                   : is_text_like(from->type)      ? WAY_TEXT
                   : from->type == STELE_GEN_JSONB ? WAY_JSONB
                                                   : WAY_ANY,
            .labels = from->labels,
            .column = from->column,
        };
    }
}

/* The types of the temporary table, as SQL names them. */
static const char *type_name(uint8_t type)
{
    static const char *const names[STELE_GEN_TYPE_COUNT] = {
        [STELE_GEN_BOOL] = "bool",
        [STELE_GEN_INT2] = "int2",
        [STELE_GEN_INT4] = "int4",
        [STELE_GEN_INT8] = "int8",
        [STELE_GEN_FLOAT4] = "float4",
        [STELE_GEN_FLOAT8] = "float8",
        [STELE_GEN_NUMERIC] = "numeric",
        [STELE_GEN_TEXT] = "text",
        [STELE_GEN_BPCHAR] = "bpchar",
        [STELE_GEN_BYTEA] = "bytea",
        [STELE_GEN_UUID] = "uuid",
        [STELE_GEN_DATE] = "date",
        [STELE_GEN_TIME] = "time",
        [STELE_GEN_TIMESTAMP] = "timestamp",
        [STELE_GEN_TIMESTAMPTZ] = "timestamptz",
        [STELE_GEN_INTERVAL] = "interval",
        [STELE_GEN_JSON] = "json",
        [STELE_GEN_JSONB] = "jsonb",
        [STELE_GEN_INET] = "inet",
        [STELE_GEN_ENUM] = "text",
        [STELE_GEN_OPAQUE] = "text",
    };
    return names[type & (uint8_t)~STELE_GEN_ARRAY];
}

static void add_pending(const stele__bulk *b, stele__buf *sql)
{
    for (int i = 0; i < b->conn->tx.pending_count; i++)
        stele__buf_addf(sql, "%s; ", b->conn->tx.pending[i]);
}

static void add_stage(const stele__bulk *b, const stele__group *group, stele__buf *sql)
{
    if (b->has_table)
        stele__buf_add_text(sql, "DROP TABLE " STAGE "; ");
    stele__buf_add_text(sql, "CREATE TEMPORARY TABLE " STAGE " (");
    stele__buf_add_text(sql, b->wants_rows ? "n int8, " : "");
    for (uint16_t i = 0; i < group->column_count; i++) {
        const stele__bulk_column *column = &group->columns[i];
        uint8_t from = b->gen->single->params[column->source].type;
        uint8_t to = b->gen->many->params[column->param].type;
        bool is_array = (from & to & STELE_GEN_ARRAY) != 0;
        stele__buf_addf(sql, "%sc%u %s%s", i > 0 ? ", " : "", column->param, type_name(to),
                        is_array ? "[]" : "");
    }
    stele__buf_add_text(sql, ") ON COMMIT DROP; COPY " STAGE " FROM STDIN (FORMAT binary)");
}

static uint32_t flags_of(const stele__bulk *b)
{
    return (b->wants_rows ? STELE_FLAG_RETURNING : 0u) |
           (b->options.skip_conflicts ? STELE_FLAG_BULK_SKIP : 0u);
}

static bool goes_straight(const stele__bulk *b, const stele__group *group)
{
    return group->is_direct && !b->no_direct && !b->wants_rows && !b->options.skip_conflicts &&
           b->gen->key == NULL;
}

/* All that one exchange runs: what is pending, the COPY, and the INSERT if nothing comes back. */
static stele_status make_sql(const stele__bulk *b, const stele__group *group, stele__buf *sql,
                             stele_error *err)
{
    stele_status st = STELE_OK;
    add_pending(b, sql);
    if (goes_straight(b, group)) {
        st = stele__bulk_render(b, group, STELE_FLAG_BULK_COPY, "", sql, err);
    } else {
        add_stage(b, group, sql);
        if (!b->wants_rows) {
            stele__buf_add_text(sql, "; ");
            st = stele__bulk_render(b, group, flags_of(b), STAGE " AS u", sql, err);
        }
    }
    if (st == STELE_OK && sql->failed)
        st = stele__fail(err, STELE_E_NOMEM, "out of memory for a statement");
    return st;
}

/* ---- what it came to ---- */

static bool is_state(const stele_error *err, const char *sqlstate)
{
    return strcmp(err->sqlstate, sqlstate) == 0;
}

/* Row-level security refuses COPY, and a role may lack the right to temporary tables. */
static void look_for_another_way(stele__bulk *b, const stele__group *group, const stele_error *err)
{
    if (b->conn->link->broken)
        return;
    if (goes_straight(b, group) && is_state(err, "0A000")) {
        b->no_direct = true;
        b->again = true;
    } else if (!goes_straight(b, group) && (is_state(err, "42501") || is_state(err, "0A000"))) {
        b->no_copy = true;
        b->again = true;
    }
}

/* As for any other statement: what a loss means for the transaction. */
static stele_status judge(stele__bulk *b, bool in_tx, stele_status st, stele_error *err)
{
    stele_conn *conn = b->conn;
    if (conn->link->broken) {
        bool unknown = !in_tx && err->outcome_unknown;
        err->outcome_unknown = unknown;
        err->retryable = !unknown && st == STELE_E_LOST;
        conn->tx.lost = conn->tx.lost || in_tx;
        if (unknown) {
            stele__error_hint(err, "it may or may not be stored: look before repeating it, or make "
                                   "it idempotent");
            if (st == STELE_E_LOST)
                st = err->status = STELE_E_UNKNOWN;
        }
    }
    stele__note_error(conn, st, err);
    if (err->table[0] == '\0')
        stele__error_place(err, b->gen->many->table, NULL);
    return st;
}

/* Rows and their end; what the server makes of them. */
static stele_status feed(copier *c, const stele__slice *slice, struct pg_result **ret_result)
{
    stele__link *link = c->b->conn->link;
    stele_error ignored;
    add_rows(c, slice);
    if (c->status == STELE_OK)
        return stele__link_copy_end(link, NULL, c->deadline, ret_result, c->err);
    if (!c->refused)
        return c->status;
    (void)stele__link_copy_end(link, "a value cannot be sent", c->deadline, ret_result, &ignored);
    if (!link->broken)
        return c->status;
    *c->err = ignored;
    return ignored.status;
}

/* One exchange: the statements, the rows, the answer. */
static stele_status exchange(copier *c, const char *sql, const stele__slice *slice,
                             struct pg_result **ret_result)
{
    stele_conn *conn = c->b->conn;
    bool in_tx = conn->tx.state != STELE__TX_NONE;
    bool begins = conn->tx.pending_count > 0;
    stele_status st = stele__link_copy_begin(conn->link, sql, c->deadline, c->err);
    if (st == STELE_OK)
        st = feed(c, slice, ret_result);
    if (begins)
        stele__settle_transaction(conn);
    return st == STELE_OK ? st : judge(c->b, in_tx, st, c->err);
}

/* The rows are in the temporary table: from there on as a statement that gives rows back. */
static stele_status insert_staged(stele__bulk *b, const stele__group *group,
                                  struct pg_result **ret_result, stele_error *err)
{
    stele__buf sql = {0};
    stele_status st = stele__bulk_render(b, group, flags_of(b), STAGE " AS u", &sql, err);
    stele__step step = {.kind = STELE__STEP_QUERY, .sql = sql.data, .result_format = 1};
    if (st == STELE_OK)
        st = stele__bulk_query(b, &step, ret_result, err);
    stele__buf_release(&sql);
    return st;
}

static stele_status run(copier *c, const stele__group *group, const stele__slice *slice,
                        struct pg_result **ret_result)
{
    stele__bulk *b = c->b;
    stele__buf sql = {0};
    bool straight = goes_straight(b, group);
    stele_status st = make_sql(b, group, &sql, c->err);
    if (st == STELE_OK) {
        st = exchange(c, sql.data, slice, ret_result);
        if (st != STELE_OK)
            look_for_another_way(b, group, c->err);
    }
    stele__buf_release(&sql);
    if (st != STELE_OK || straight)
        return st;
    b->has_table = true;
    if (!b->wants_rows)
        return STELE_OK;
    stele__result_clear(*ret_result);
    return insert_staged(b, group, ret_result, c->err);
}

stele_status stele__bulk_copy(stele__bulk *b, const stele__group *group, const stele__slice *slice,
                              stele__outcome *ret_outcome, stele_error *err)
{
    struct pg_result *result = NULL;
    stele_conn *conn = b->conn;
    size_t fixed = SCRATCH_AT + SCRATCH_SIZE;
    char *memory = stele__alloc(fixed + group->column_count * sizeof(field));
    if (memory == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory for COPY", b->gen->many->name);
    field *fields = (field *)(void *)(memory + fixed);
    describe(b, group, fields);
    stele__block_init(&b->block, memory + SCRATCH_AT, SCRATCH_SIZE);
    copier c = {
        .b = b,
        .deadline = stele__conn_deadline(conn),
        .fields = fields,
        .field_count = group->column_count,
        .counted = b->wants_rows && !goes_straight(b, group),
        .buffer = memory,
        .err = err,
    };
    __atomic_store_n(&conn->last_statement, b->gen->many->name, __ATOMIC_RELAXED);
    stele_status st = run(&c, group, slice, &result);
    stele__block_release(&b->block);
    stele__free(memory);
    return st == STELE_OK ? stele__bulk_count(b, result, slice->count, ret_outcome, err) : st;
}
