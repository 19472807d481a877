/* Hooks at the start and end of statements, slow ones, parameters, and traces that reach the server. */
#include "stele/gen/flow.h"
#include "things.h"

#define SAMPLED "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define UNSAMPLED "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

typedef struct record {
    char statement[64];
    char table[64];
    char sqlstate[6];
    char trace[64];
    char param[64]; /* data of the second parameter */
    size_t params;
    uint64_t duration_ns;
    uint64_t rows;
    uint32_t trips;
    stele_status status;
} record;

static struct {
    record starts[64], ends[64], slow[64];
    int start_count, end_count, slow_count;
} seen;

enum { SLOW_MS = 100 };

static stele_db *db;
static stele_conn *conn;
static stele_error err;

static void take(record *r, const stele_query_event *e)
{
    memset(r, 0, sizeof *r);
    snprintf(r->statement, sizeof r->statement, "%s", e->statement);
    snprintf(r->table, sizeof r->table, "%s", e->table != NULL ? e->table : "");
    snprintf(r->trace, sizeof r->trace, "%s", e->traceparent != NULL ? e->traceparent : "");
    memcpy(r->sqlstate, e->sqlstate, sizeof r->sqlstate);
    r->params = e->param_count;
    if (e->param_count > 1)
        snprintf(r->param, sizeof r->param, "%s=%.*s", e->params[1].column, e->params[1].len,
                 e->params[1].data);
    r->duration_ns = e->duration_ns;
    r->rows = e->rows;
    r->trips = e->round_trips;
    r->status = e->status;
}

static void on_start(const stele_query_event *e, void *user)
{
    assert_ptr_equal(user, &seen);
    take(&seen.starts[seen.start_count++], e);
}

static void on_end(const stele_query_event *e, void *user)
{
    assert_ptr_equal(user, &seen);
    take(&seen.ends[seen.end_count++], e);
}

static void on_slow(const stele_query_event *e, void *user)
{
    assert_ptr_equal(user, &seen);
    take(&seen.slow[seen.slow_count++], e);
}

/* A machine that stands still makes others slow as well. */
static int ends_of_at_least(uint64_t ms)
{
    int count = 0;
    for (int i = 0; i < seen.end_count; i++)
        count += seen.ends[i].duration_ns >= ms * 1000000;
    return count;
}

static int open_watched(bool show)
{
    stele_db_options options = options_for("observe", 1);
    options.on_query_start = on_start;
    options.on_query_end = on_end;
    options.on_slow_query = on_slow;
    options.slow_query_ms = SLOW_MS;
    options.show_parameters = show;
    options.hook_user = &seen;
    create_things();
    db = open_with(&options);
    conn = acquire(db);
    memset(&seen, 0, sizeof seen);
    return 0;
}

static int open_all(void **state)
{
    (void)state;
    return open_watched(false);
}

static int open_showing(void **state)
{
    (void)state;
    return open_watched(true);
}

static int close_all(void **state)
{
    (void)state;
    stele_conn_release(conn);
    stele_db_close(db);
    return 0;
}

static void test_each_statement_is_told_at_its_start_and_end(void **state)
{
    (void)state;
    uint64_t began = now_ms();
    assert_ok(insert_thing(conn, 1, "one", &err), &err);
    uint64_t took = now_ms() - began + 1;
    assert_int_equal(insert_thing(conn, 1, "one", &err), STELE_E_UNIQUE);
    assert_ok(find_thing(conn, 1, &err), &err);
    assert_int_equal(seen.start_count, 3);
    assert_int_equal(seen.end_count, 3);
    assert_int_equal(seen.slow_count, ends_of_at_least(SLOW_MS));
    assert_string_equal(seen.starts[0].statement, "things_insert");
    assert_string_equal(seen.ends[0].table, "things");
    assert_int_equal(seen.ends[0].rows, 1);
    assert_int_equal(seen.ends[0].trips, 1);
    assert_int_equal(seen.ends[0].status, STELE_OK);
    assert_true(seen.ends[0].duration_ns > 0 && seen.ends[0].duration_ns / 1000000 <= took);
    assert_int_equal(seen.ends[1].status, STELE_E_UNIQUE);
    assert_string_equal(seen.ends[1].sqlstate, "23505");
    assert_string_equal(seen.ends[2].statement, "things_find");
    for (int i = 0; i < 3; i++)
        assert_int_equal(seen.ends[i].params, 0); /* nobody asked for them */
}

static void test_parameters_are_shown_to_those_who_ask(void **state)
{
    (void)state;
    assert_ok(insert_thing(conn, 1, "one", &err), &err);
    assert_int_equal(seen.starts[0].params, 2);
    assert_string_equal(seen.ends[0].param, "name=one");
}

static void test_slow_statements_are_told_apart(void **state)
{
    (void)state;
    made slow;
    const void *args[] = {NULL};
    make(&slow, "slow", "SELECT pg_sleep(0.15)", NULL, 0);
    assert_ok(stele_gen_exec(conn, &slow.stmt, args, 0, false, NULL, &err), &err);
    assert_ok(insert_thing(conn, 1, "one", &err), &err);
    assert_int_equal(seen.slow_count, ends_of_at_least(SLOW_MS));
    assert_string_equal(seen.slow[0].statement, "slow");
    assert_true(seen.slow[0].duration_ns >= 150000000u);
}

static void queue(stele_pipeline *p, int64_t id)
{
    thing_input input = {.id = stele_i64_v(id), .name = stele_text_v("x")};
    const void *args[] = {&input};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC};
    assert_ok(stele_gen_queue(p, &thing_insert, args, 0, &slot, &err), &err);
}

static void test_entries_of_a_pipeline_are_told_when_it_is_over(void **state)
{
    (void)state;
    stele_pipeline *p = NULL;
    assert_ok(stele_pipeline_open(conn, NULL, &p, &err), &err);
    for (int i = 0; i < 3; i++)
        queue(p, i);
    assert_int_equal(seen.end_count, 0);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(seen.start_count, 3);
    assert_int_equal(seen.end_count, 3);
    assert_int_equal(seen.ends[0].trips, 1);
    assert_int_equal(seen.ends[1].trips, 0);
    assert_int_equal(seen.ends[2].rows, 1);
    queue(p, 7);
    queue(p, 1);
    queue(p, 8);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(seen.end_count, 6);
    assert_int_equal(seen.ends[3].status, STELE_E_ABORTED);
    assert_int_equal(seen.ends[4].status, STELE_E_UNIQUE);
    assert_string_equal(seen.ends[4].sqlstate, "23505");
    assert_int_equal(seen.ends[5].status, STELE_E_ABORTED);
    stele_pipeline_close(p);
}

static void test_a_stream_is_told_when_it_is_closed(void **state)
{
    (void)state;
    void *iter = NULL;
    const void *row;
    int64_t limit = 2;
    const void *args[] = {&limit};
    for (int i = 0; i < 3; i++)
        assert_ok(insert_thing(conn, i, "x", &err), &err);
    seen.end_count = 0;
    assert_ok(stele_gen_iter_open(conn, &thing_list, args, 0, &iter, &err), &err);
    while (stele_gen_iter_next(iter, &row, &err) == STELE_OK)
        continue;
    assert_int_equal(seen.end_count, 0);
    stele_gen_iter_close(iter);
    assert_int_equal(seen.end_count, 1);
    assert_int_equal(seen.ends[0].rows, 2);
    assert_int_equal(seen.ends[0].status, STELE_OK);
    assert_int_equal(seen.ends[0].trips, 1);
}

/* What the server shows of the statement that reads it. */
static void current_query(stele_conn *c, char *text, size_t size)
{
    static const stele_gen_column columns[] = {{"query", STELE_GEN_TEXT, false, 0, NULL}};
    static made shown;
    void *row = NULL;
    make_read(&shown, "shown", "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()",
              columns, 1, sizeof(stele_str));
    assert_ok(stele_gen_one(c, &shown.stmt, NULL, 0, &row, &err), &err);
    const stele_str *query = row;
    snprintf(text, size, "%.*s", (int)query->len, query->data);
    stele_gen_free(row);
}

static void test_a_sampled_trace_reaches_the_server(void **state)
{
    (void)state;
    char text[512];
    for (int i = 0; i < 3; i++)
        current_query(conn, text, sizeof text); /* prepared by now */
    assert_ok(stele_conn_set_traceparent(conn, SAMPLED, &err), &err);
    current_query(conn, text, sizeof text);
    assert_non_null(strstr(text, "/*traceparent='" SAMPLED "'*/"));
    assert_string_equal(seen.ends[seen.end_count - 1].trace, SAMPLED);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    current_query(conn, text, sizeof text);
    assert_non_null(strstr(text, SAMPLED));
    assert_ok(stele_tx_commit(conn, &err), &err);
    assert_ok(stele_conn_set_traceparent(conn, UNSAMPLED, &err), &err);
    current_query(conn, text, sizeof text);
    assert_null(strstr(text, "traceparent"));
    assert_string_equal(seen.ends[seen.end_count - 1].trace, UNSAMPLED);
    assert_ok(stele_conn_set_traceparent(conn, NULL, &err), &err);
    current_query(conn, text, sizeof text);
    assert_string_equal(seen.ends[seen.end_count - 1].trace, "");
    assert_int_equal(stele_conn_set_traceparent(conn, "00-x", &err), STELE_E_INPUT);
    assert_int_equal(stele_conn_set_traceparent(conn, "'; DROP TABLE things; --", &err),
                     STELE_E_INPUT);
}

static void test_a_trace_travels_in_pipelines_and_streams(void **state)
{
    (void)state;
    static const stele_gen_column columns[] = {{"query", STELE_GEN_TEXT, false, 0, NULL}};
    made shown;
    stele_pipeline *p = NULL;
    stele_str *rows[2];
    void *iter = NULL;
    const void *row;
    make_read(&shown, "shown", "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()",
              columns, 1, sizeof(stele_str));
    assert_ok(stele_conn_set_traceparent(conn, SAMPLED, &err), &err);
    assert_ok(stele_pipeline_open(conn, NULL, &p, &err), &err);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 2; i++) {
            stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROW, .out = &rows[i]};
            assert_ok(stele_gen_queue(p, &shown.stmt, NULL, 0, &slot, &err), &err);
        }
        assert_ok(stele_pipeline_sync(p, &err), &err);
        for (int i = 0; i < 2; i++) {
            assert_non_null(memchr(rows[i]->data, '*', rows[i]->len));
            stele_gen_free(rows[i]);
        }
    }
    stele_pipeline_close(p);
    assert_ok(stele_gen_iter_open(conn, &shown.stmt, NULL, 0, &iter, &err), &err);
    assert_ok(stele_gen_iter_next(iter, &row, &err), &err);
    assert_non_null(memchr(((const stele_str *)row)->data, '*', ((const stele_str *)row)->len));
    stele_gen_iter_close(iter);
}

static void test_a_trace_ends_with_the_lease(void **state)
{
    (void)state;
    char text[512];
    assert_ok(stele_conn_set_traceparent(conn, SAMPLED, &err), &err);
    stele_conn_release(conn);
    conn = acquire(db);
    current_query(conn, text, sizeof text);
    assert_null(strstr(text, "traceparent"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_statement_is_told_at_its_start_and_end),
        cmocka_unit_test_setup_teardown(test_parameters_are_shown_to_those_who_ask, open_showing,
                                        close_all),
        TEST(test_slow_statements_are_told_apart),
        TEST(test_entries_of_a_pipeline_are_told_when_it_is_over),
        TEST(test_a_stream_is_told_when_it_is_closed),
        TEST(test_a_sampled_trace_reaches_the_server),
        TEST(test_a_trace_travels_in_pipelines_and_streams),
        TEST(test_a_trace_ends_with_the_lease),
    };
    dbtest_require_server();
    return RUN(tests);
}
