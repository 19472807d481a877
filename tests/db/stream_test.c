/* Streams: rows one by one, in constant memory, ended early, late, or by the server. */
#define _GNU_SOURCE
#include <malloc.h>

#include "stele/gen/flow.h"
#include "things.h"

static stele_db *db;
static stele_conn *conn;
static stele_error err;

typedef struct number {
    int64_t n;
    stele_str text;
} number;

static const stele_gen_column columns[] = {
    {"n", STELE_GEN_INT8, false, offsetof(number, n), NULL},
    {"text", STELE_GEN_TEXT, false, offsetof(number, text), NULL},
};
static const stele_gen_param params[] = {
    {"count", STELE_GEN_INT8, STELE_GEN_PLAIN, true, 0, 0, 0, NULL}};
static const stele_gen_part parts[] = {
    STELE_SQL("SELECT n, 'text ' || n FROM (SELECT generate_series(1, "),
    STELE_PARAM(0),
    STELE_SQL(") AS n) AS s"),
};
static const stele_gen_stmt series = {
    .module = &things_module,
    .name = "series",
    .parts = parts,
    .part_count = 3,
    .params = params,
    .param_count = 1,
    .shape_from = 1,
    .columns = columns,
    .column_count = 2,
    .row_size = sizeof(number),
    .properties = STELE_STMT_READ,
};

static int open_all(void **state)
{
    (void)state;
    create_things();
    db = open_db("stream", 1);
    conn = acquire(db);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    stele_conn_release(conn);
    stele_db_close(db);
    return 0;
}

static void *open_series(int64_t count)
{
    void *iter = NULL;
    const void *args[] = {&count};
    assert_ok(stele_gen_iter_open(conn, &series, args, 0, &iter, &err), &err);
    return iter;
}

static const number *next(void *iter)
{
    const void *row = NULL;
    assert_ok(stele_gen_iter_next(iter, &row, &err), &err);
    return row;
}

static void assert_usable(void)
{
    assert_string_equal(ask(conn, "SELECT 1"), "1");
}

static void test_all_rows_come_in_order(void **state)
{
    (void)state;
    static const int counts[] = {0, 1, 2, 1000};
    const void *row = NULL;
    char text[32];
    for (int round = 0; round < 12; round++) { /* unnamed, prepared at once, prepared */
        int count = counts[round % 4];
        uint64_t before = stele_conn_round_trips(conn);
        void *iter = open_series(count);
        for (int i = 1; i <= count; i++) {
            const number *n = next(iter);
            snprintf(text, sizeof text, "text %d", i);
            assert_int_equal(n->n, i);
            assert_int_equal(n->text.len, strlen(text));
            assert_memory_equal(n->text.data, text, n->text.len);
        }
        assert_int_equal(stele_gen_iter_next(iter, &row, &err), STELE_DONE);
        assert_int_equal(stele_gen_iter_next(iter, &row, &err), STELE_DONE);
        stele_gen_iter_close(iter);
        assert_int_equal(waits_since(conn, &before), 1);
        assert_usable();
    }
    assert_string_equal(ask(conn, "SELECT count(*) FROM pg_prepared_statements"), "1");
}

static void test_memory_stays_flat(void **state)
{
    (void)state;
    const void *row;
    void *iter = open_series(1000000);
    struct mallinfo2 before = mallinfo2();
    size_t most = 0;
    int64_t count = 0;
    while (stele_gen_iter_next(iter, &row, &err) == STELE_OK) {
        if (++count % 10000 == 0) {
            struct mallinfo2 now = mallinfo2();
            size_t used = now.uordblks + now.hblkhd;
            most = used > most ? used : most;
        }
    }
    assert_int_equal(count, 1000000);
    stele_gen_iter_close(iter);
    assert_true(most < before.uordblks + before.hblkhd + 256 * 1024);
}

/* However many rows libpq hands over at once: not as many as would be felt when they are large. */
static void test_memory_stays_flat_with_large_rows(void **state)
{
    (void)state;
    enum { ROWS = 600, SIZE = 100000 };
    made large;
    const void *row;
    void *iter = NULL;
    size_t most = 0;
    int count = 0;
    make_read(&large, "large", "SELECT n::int8, repeat('x', 100000) FROM generate_series(1, 600) n",
              columns, 2, sizeof(number));
    struct mallinfo2 before = mallinfo2();
    assert_ok(stele_gen_iter_open(conn, &large.stmt, NULL, 0, &iter, &err), &err);
    while (stele_gen_iter_next(iter, &row, &err) == STELE_OK) {
        struct mallinfo2 now = mallinfo2();
        size_t used = now.uordblks + now.hblkhd;
        most = used > most ? used : most;
        assert_int_equal(((const number *)row)->text.len, SIZE);
        count++;
    }
    assert_int_equal(count, ROWS);
    stele_gen_iter_close(iter);
    assert_true(most < before.uordblks + before.hblkhd + 40 * (size_t)SIZE);
}

static void test_early_close_leaves_the_connection_usable(void **state)
{
    (void)state;
    static const int64_t sizes[] = {10, 3000, 1000000000};
    int pid = stele_conn_backend_pid(conn);
    for (int read = 0; read < 4; read++) {
        for (int i = 0; i < 3; i++) {
            uint64_t start = now_ms();
            void *iter = open_series(sizes[i]);
            for (int n = 1; n <= read; n++)
                assert_int_equal(next(iter)->n, n);
            stele_gen_iter_close(iter);
            assert_usable();
            assert_true(now_ms() - start < SOON_MS); /* all billion would take minutes */
        }
    }
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    assert_int_equal(stats_of(db).open, 1);
}

static void test_early_close_inside_a_transaction_does_not_abort_it(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_ok(stele_tx_begin(conn, NULL, &err), &err);
        if (i == 1)
            assert_ok(insert_thing(conn, 10 * i, "x", &err), &err);
        void *iter = open_series(i == 2 ? 5 : 50000000);
        (void)next(iter);
        stele_gen_iter_close(iter);
        assert_true(stele_conn_in_transaction(conn));
        assert_ok(insert_thing(conn, 10 * i + 1, "x", &err), &err);
        assert_ok(stele_tx_savepoint(conn, "mine", &err), &err);
        assert_ok(insert_thing(conn, 10 * i + 2, "x", &err), &err);
        assert_ok(stele_tx_rollback_to(conn, "mine", &err), &err);
        assert_ok(stele_tx_commit(conn, &err), &err);
    }
    assert_int_equal(count_things(), 4);
}

static void test_the_end_of_a_transaction_ends_its_stream(void **state)
{
    (void)state;
    const void *row;
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    void *iter = open_series(50000000);
    (void)next(iter);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_MISUSE);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_usable();
    assert_int_equal(stele_gen_iter_next(iter, &row, &err), STELE_E_MISUSE);
    stele_gen_iter_close(iter);
}

static void test_a_lease_can_be_returned_first(void **state)
{
    (void)state;
    const void *row;
    int pid = stele_conn_backend_pid(conn);
    void *iter = open_series(50000000);
    (void)next(iter);
    stele_conn_release(conn);
    assert_int_equal(stele_gen_iter_next(iter, &row, &err), STELE_E_MISUSE);
    stele_gen_iter_close(iter);
    conn = acquire(db);
    assert_int_equal(stele_conn_backend_pid(conn), pid); /* the pool kept the connection */
}

static void test_other_calls_are_refused_while_it_is_open(void **state)
{
    (void)state;
    void *other = NULL;
    int64_t count = 5;
    const void *args[] = {&count};
    void *iter = open_series(5);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_MISUSE);
    assert_int_equal(stele_gen_iter_open(conn, &series, args, 0, &other, &err), STELE_E_MISUSE);
    assert_int_equal(stele_tx_begin(conn, NULL, &err), STELE_E_MISUSE);
    assert_int_equal(stele_conn_exec(conn, "SELECT 1", NULL, 0, NULL, &err), STELE_E_MISUSE);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(next(iter)->n, i);
    stele_gen_iter_close(iter);
    assert_usable();
}

static void test_an_error_after_rows_is_reported(void **state)
{
    (void)state;
    made failing;
    void *iter = NULL;
    const void *row;
    int count = 0;
    char delivered[32];
    stele_status st;
    make_read(&failing, "failing",
              "SELECT n::int8, (1 / (5000 - n))::text FROM generate_series(1, 10000) n", columns, 2,
              sizeof(number));
    assert_ok(stele_gen_iter_open(conn, &failing.stmt, NULL, 0, &iter, &err), &err);
    while ((st = stele_gen_iter_next(iter, &row, &err)) == STELE_OK)
        count++;
    assert_in_range(count, 4999 - 15, 4999); /* libpq 17 forgets the chunk that it was filling */
    assert_int_equal(st, STELE_E_VALUE);
    assert_string_equal(err.sqlstate, "22012");
    snprintf(delivered, sizeof delivered, "after %d rows", count);
    assert_string_equal(err.detail, delivered);
    assert_int_equal(stele_gen_iter_next(iter, &row, &err), STELE_E_VALUE); /* it stays */
    stele_gen_iter_close(iter);
    assert_usable();
}

static void test_an_error_before_rows_is_told_at_once(void **state)
{
    (void)state;
    made failing, other;
    void *iter = NULL;
    make_read(&failing, "failing", "SELECT n, text FROM missing", columns, 2, sizeof(number));
    for (int i = 0; i < 5; i++) { /* also when it is the PREPARE that fails */
        assert_int_equal(stele_gen_iter_open(conn, &failing.stmt, NULL, 0, &iter, &err),
                         STELE_E_SCHEMA);
        assert_string_equal(err.sqlstate, "42P01");
    }
    assert_null(iter);
    make_read(&other, "other", "SELECT 1::int4, 'a'::text", columns, 2, sizeof(number));
    assert_int_equal(stele_gen_iter_open(conn, &other.stmt, NULL, 0, &iter, &err), STELE_E_SCHEMA);
    assert_string_equal(err.column, "n");
    assert_usable();
}

static void test_a_lost_connection_ends_it(void **state)
{
    (void)state;
    const void *row;
    stele_status st;
    char sql[128];
    void *iter = open_series(50000000);
    (void)next(iter);
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d)", stele_conn_backend_pid(conn));
    dbtest_exec(dsn, sql);
    while ((st = stele_gen_iter_next(iter, &row, &err)) == STELE_OK)
        continue;
    assert_int_equal(st, STELE_E_LOST);
    assert_true(err.retryable);
    stele_gen_iter_close(iter);
    assert_usable(); /* on another connection */
}

static void test_the_deadline_ends_it(void **state)
{
    (void)state;
    made slow;
    const void *row;
    void *iter = NULL;
    stele_status st;
    uint64_t start = now_ms();
    make_read(&slow, "slow",
              "SELECT n::int8, pg_sleep(n / 100000)::text FROM generate_series(1, 1000000) n",
              columns, 2, sizeof(number));
    stele_conn_set_deadline(conn, 400);
    st = stele_gen_iter_open(conn, &slow.stmt, NULL, 0, &iter, &err);
    while (st == STELE_OK)
        st = stele_gen_iter_next(iter, &row, &err);
    assert_int_equal(st, STELE_E_TIMEOUT);
    stele_gen_iter_close(iter);
    assert_true(now_ms() - start < SOON_MS);
    stele_conn_set_deadline(conn, 0);
    assert_usable();
}

static void test_stale_plans_are_made_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        void *iter = open_series(3);
        assert_int_equal(next(iter)->n, 1);
        stele_gen_iter_close(iter);
        run_sql(conn, i % 2 == 0 ? "DEALLOCATE ALL" : "DISCARD ALL");
    }
}

static void test_a_stream_that_writes_stores_when_it_is_read_to_its_end(void **state)
{
    (void)state;
    made write;
    for (int whole = 0; whole < 2; whole++) {
        const void *row;
        void *iter = NULL;
        make_read(&write, "write",
                  "INSERT INTO things (id, name) SELECT n, 'x' FROM generate_series(1, 20000) n "
                  "RETURNING id, name::text",
                  columns, 2, sizeof(number));
        write.stmt.properties = 0;
        assert_ok(stele_gen_iter_open(conn, &write.stmt, NULL, 0, &iter, &err), &err);
        while (whole && stele_gen_iter_next(iter, &row, &err) == STELE_OK)
            continue;
        stele_gen_iter_close(iter);
        if (whole)
            assert_int_equal(count_things(), 20000);
        else
            assert_true(count_things() == 0 || count_things() == 20000);
        create_things();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_rows_come_in_order),
        TEST(test_memory_stays_flat),
        TEST(test_memory_stays_flat_with_large_rows),
        TEST(test_early_close_leaves_the_connection_usable),
        TEST(test_early_close_inside_a_transaction_does_not_abort_it),
        TEST(test_the_end_of_a_transaction_ends_its_stream),
        TEST(test_a_lease_can_be_returned_first),
        TEST(test_other_calls_are_refused_while_it_is_open),
        TEST(test_an_error_after_rows_is_reported),
        TEST(test_an_error_before_rows_is_told_at_once),
        TEST(test_a_lost_connection_ends_it),
        TEST(test_the_deadline_ends_it),
        TEST(test_stale_plans_are_made_anew),
        TEST(test_a_stream_that_writes_stores_when_it_is_read_to_its_end),
    };
    dbtest_require_server();
    return RUN(tests);
}
