#include "pipeline_util.h"

stele_db *db;
stele_conn *conn;
stele_pipeline *p;
stele_error err;

int open_pipeline(void **state)
{
    (void)state;
    create_things();
    db = open_db("pipeline", 2);
    conn = acquire(db);
    assert_ok(stele_pipeline_open(conn, NULL, &p, &err), &err);
    return 0;
}

int close_pipeline(void **state)
{
    (void)state;
    stele_pipeline_close(p);
    stele_conn_release(conn);
    stele_db_close(db);
    return 0;
}

void reopen(const stele_pipeline_options *options)
{
    stele_pipeline_close(p);
    assert_ok(stele_pipeline_open(conn, options, &p, &err), &err);
}

stele_status queue_find(stele_pipeline *to, int64_t id, thing_row **ret_row)
{
    const void *args[] = {&id};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROW, .out = ret_row};
    return stele_gen_queue(to, &thing_find, args, 0, &slot, &err);
}

stele_status queue_input(stele_pipeline *to, const thing_input *input, uint64_t *ret_count)
{
    const void *args[] = {input};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC, .count = ret_count};
    return stele_gen_queue(to, &thing_insert, args, 0, &slot, &err);
}

stele_status queue_insert(stele_pipeline *to, int64_t id, const char *name)
{
    thing_input input = {.id = stele_i64_v(id), .name = stele_text_v(name)};
    return queue_input(to, &input, NULL);
}

stele_status queue_list(stele_pipeline *to, int64_t limit, thing_row **ret_rows, size_t *ret_count)
{
    const void *args[] = {&limit};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROWS, .out = ret_rows, .count = ret_count};
    return stele_gen_queue(to, &thing_list, args, 0, &slot, &err);
}

stele_status queue_sql(stele_pipeline *to, made *m, const char *sql, uint64_t *ret_count)
{
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC, .count = ret_count};
    make(m, "sql", sql, NULL, 0);
    return stele_gen_queue(to, &m->stmt, NULL, 0, &slot, &err);
}

void insert_many(int from, int to)
{
    for (int i = from; i < to; i++)
        assert_ok(queue_insert(p, i, "x"), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
}
