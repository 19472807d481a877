#include "things.h"

const stele_module things_module = {.abi = &stele_gen_abi_1, .name = "things"};

const stele_gen_column thing_columns[5] = {
    {"id", STELE_GEN_INT8, false, offsetof(thing_row, id), NULL},
    {"name", STELE_GEN_TEXT, false, offsetof(thing_row, name), NULL},
    {"n", STELE_GEN_INT4, true, offsetof(thing_row, n), NULL},
    {"doc", STELE_GEN_JSONB, true, offsetof(thing_row, doc), NULL},
    {"at", STELE_GEN_TIMESTAMP, false, offsetof(thing_row, at), NULL},
};

static const stele_gen_param insert_params[] = {
    {"id", STELE_GEN_INT8, STELE_GEN_IN, false, 0, offsetof(thing_input, id), 0, NULL},
    {"name", STELE_GEN_TEXT, STELE_GEN_IN, true, 0, offsetof(thing_input, name), 5, NULL},
    {"n", STELE_GEN_INT4, STELE_GEN_IN_N, false, 0, offsetof(thing_input, n), 0, NULL},
    {"doc", STELE_GEN_JSONB, STELE_GEN_IN_N, false, 0, offsetof(thing_input, doc), 0, NULL},
    {"at", STELE_GEN_TIMESTAMP, STELE_GEN_IN, false, 0, offsetof(thing_input, at), 0, NULL},
};

static const stele_gen_part insert_parts[] = {
    STELE_SQL("INSERT INTO "),
    STELE_TABLE("things"),
    STELE_SQL(" AS t ("),
    STELE_LIST,
    STELE_EACH_NAME(0, 5),
    STELE_SQL(") VALUES ("),
    STELE_LIST,
    STELE_EACH_VALUE(0, 5),
    STELE_SQL(")"),
    STELE_IF_FLAG(STELE_FLAG_RETURNING),
    STELE_SQL(" RETURNING t.id, t.name, t.n, t.doc, t.at"),
    STELE_END,
};

const stele_gen_stmt thing_insert = {
    .module = &things_module,
    .name = "things_insert",
    .table = "things",
    .parts = insert_parts,
    .part_count = STELE_COUNT(insert_parts),
    .params = insert_params,
    .param_count = STELE_COUNT(insert_params),
    .columns = thing_columns,
    .column_count = STELE_COUNT(thing_columns),
    .row_size = sizeof(thing_row),
};

static const stele_gen_param find_params[] = {
    {"id", STELE_GEN_INT8, STELE_GEN_PLAIN, true, 0, 0, 0, NULL},
};

static const stele_gen_part find_parts[] = {
    STELE_SQL("SELECT t.id, t.name, t.n, t.doc, t.at FROM "),
    STELE_TABLE("things"),
    STELE_SQL(" AS t WHERE t.id = "),
    STELE_PARAM(0),
};

const stele_gen_stmt thing_find = {
    .module = &things_module,
    .name = "things_find",
    .table = "things",
    .parts = find_parts,
    .part_count = STELE_COUNT(find_parts),
    .params = find_params,
    .param_count = 1,
    .columns = thing_columns,
    .column_count = STELE_COUNT(thing_columns),
    .row_size = sizeof(thing_row),
    .shape_from = 1,
    .properties = STELE_STMT_READ,
};

static const stele_gen_param list_params[] = {
    {"limit", STELE_GEN_INT8, STELE_GEN_PLAIN, true, 0, 0, 0, NULL},
};

static const stele_gen_part list_parts[] = {
    STELE_SQL("SELECT t.id, t.name, t.n, t.doc, t.at FROM "),
    STELE_TABLE("things"),
    STELE_SQL(" AS t ORDER BY t.id LIMIT "),
    STELE_PARAM(0),
};

const stele_gen_stmt thing_list = {
    .module = &things_module,
    .name = "things_list",
    .table = "things",
    .parts = list_parts,
    .part_count = STELE_COUNT(list_parts),
    .params = list_params,
    .param_count = 1,
    .columns = thing_columns,
    .column_count = STELE_COUNT(thing_columns),
    .row_size = sizeof(thing_row),
    .shape_from = 1,
    .properties = STELE_STMT_READ,
};

void create_things(void)
{
    dbtest_exec(dsn, "DROP TABLE IF EXISTS things; "
                     "CREATE TABLE things (id bigint PRIMARY KEY, name varchar(5) NOT NULL, "
                     "n int CHECK (n > -100), doc jsonb, at timestamp NOT NULL DEFAULT now())");
}

stele_status insert_input(stele_conn *conn, const thing_input *input, stele_error *err)
{
    const void *args[] = {input};
    return stele_gen_exec(conn, &thing_insert, args, 0, true, NULL, err);
}

stele_status insert_thing(stele_conn *conn, int64_t id, const char *name, stele_error *err)
{
    thing_input input = {.id = stele_i64_v(id), .name = stele_text_v(name)};
    return insert_input(conn, &input, err);
}

stele_status insert_returning(stele_conn *conn, const thing_input *input, thing_row **ret_row,
                              stele_error *err)
{
    const void *args[] = {input};
    void *row = NULL;
    stele_status st = stele_gen_one(conn, &thing_insert, args, STELE_FLAG_RETURNING, &row, err);
    if (st == STELE_OK)
        *ret_row = row;
    return st;
}

stele_status find_thing(stele_conn *conn, int64_t id, stele_error *err)
{
    const void *args[] = {&id};
    void *row = NULL;
    stele_status st = stele_gen_one(conn, &thing_find, args, 0, &row, err);
    if (st == STELE_OK)
        stele_gen_free(row);
    return st;
}

int count_things(void)
{
    char *value = dbtest_value(dsn, "SELECT count(*) FROM things");
    int count = (int)strtol(value, NULL, 10);
    free(value);
    return count;
}

void make(made *m, const char *name, const char *sql, const stele_gen_param *params,
          uint16_t param_count)
{
    m->part = (stele_gen_part)STELE_SQL(sql);
    m->stmt = (stele_gen_stmt){.module = &things_module,
                               .name = name,
                               .parts = &m->part,
                               .part_count = 1,
                               .params = params,
                               .param_count = param_count,
                               .shape_from = param_count};
}

void make_read(made *m, const char *name, const char *sql, const stele_gen_column *columns,
               uint16_t column_count, uint32_t row_size)
{
    make(m, name, sql, NULL, 0);
    m->stmt.columns = columns;
    m->stmt.column_count = column_count;
    m->stmt.row_size = row_size;
    m->stmt.properties = STELE_STMT_READ;
}

uint64_t waits_since(const stele_conn *conn, uint64_t *before)
{
    uint64_t now = stele_conn_round_trips(conn);
    uint64_t count = now - *before;
    *before = now;
    return count;
}
