/* Pipelines: bounds, snapshots, transactions, plans gone stale, callbacks, lost connections. */
#include "pipeline_util.h"

/* ---- bounds ---- */

static void test_large_results_both_ways_never_deadlock(void **state)
{
    (void)state;
    enum { COUNT = 2000, SIZE = 100000 };
    static const stele_gen_column columns[] = {{"echo", STELE_GEN_TEXT, false, 0, NULL}};
    static const stele_gen_param params[] = {
        {"text", STELE_GEN_TEXT, STELE_GEN_PLAIN, true, 0, 0, 0, NULL}};
    const stele_gen_part parts[] = {STELE_SQL("SELECT "), STELE_PARAM(0), STELE_SQL(" || 'x'")};
    made echo;
    make_read(&echo, "echo", "", columns, 1, sizeof(stele_str));
    echo.stmt.parts = parts;
    echo.stmt.part_count = 3;
    echo.stmt.params = params;
    echo.stmt.param_count = 1;
    echo.stmt.shape_from = 1;
    char *text = malloc(SIZE);
    stele_str **rows = calloc(COUNT, sizeof *rows);
    assert_non_null(text);
    assert_non_null(rows);
    memset(text, 'a', SIZE);
    stele_str input = {text, SIZE};
    const void *args[] = {&input};
    for (int i = 0; i < COUNT; i++) {
        stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROW, .out = &rows[i]};
        text[0] = (char)('a' + i % 26);
        assert_ok(stele_gen_queue(p, &echo.stmt, args, 0, &slot, &err), &err);
    }
    assert_ok(stele_pipeline_sync(p, &err), &err);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(rows[i]->len, SIZE + 1);
        assert_int_equal(rows[i]->data[0], 'a' + i % 26);
        stele_gen_free(rows[i]);
    }
    free(rows);
    free(text);
}

static void test_tight_bounds_change_nothing_but_the_waits(void **state)
{
    (void)state;
    for (uint32_t bound = 1; bound <= 3; bound++) {
        stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
        options.max_in_flight = bound;
        options.max_bytes = bound;
        reopen(&options);
        create_things();
        insert_many(0, 50);
        assert_int_equal(count_things(), 50);
        for (int i = 100; i < 150; i++)
            assert_ok(queue_insert(p, i < 149 ? i : 100, "x"), &err);
        assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
        assert_int_equal(stele_pipeline_failed_entry(p), 49);
        assert_int_equal(count_things(), 50);
    }
}

static void test_a_batch_that_failed_early_takes_the_rest_without_sending(void **state)
{
    (void)state;
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.max_in_flight = 2;
    reopen(&options);
    insert_many(1, 2);
    for (int i = 0; i < 200; i++)
        assert_ok(queue_insert(p, i, "x"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), 1);
    assert_int_equal(count_things(), 1);
}

/* ---- snapshots and transactions ---- */

static void test_repeatable_read_is_one_snapshot(void **state)
{
    (void)state;
    made wait;
    thing_row *first = NULL, *second = NULL;
    size_t counts[2] = {0, 0};
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.max_in_flight = 1; /* so that the first list has run before the row is inserted */
    for (int round = 0; round < 2; round++) {
        create_things();
        options.isolation = round == 0 ? STELE_ISOLATION_DEFAULT : STELE_REPEATABLE_READ;
        options.access = round == 0 ? STELE_ACCESS_DEFAULT : STELE_READ_ONLY;
        reopen(&options);
        assert_ok(queue_list(p, 10, &first, &counts[0]), &err);
        assert_ok(queue_sql(p, &wait, "SELECT 1", NULL), &err);
        assert_ok(queue_sql(p, &wait, "SELECT 1", NULL), &err);
        dbtest_exec(dsn, "INSERT INTO things (id, name) VALUES (1, 'x')");
        assert_ok(queue_list(p, 10, &second, &counts[1]), &err);
        assert_ok(stele_pipeline_sync(p, &err), &err);
        assert_int_equal(counts[0], 0);
        assert_int_equal(counts[1], round == 0); /* the control sees what came in between */
        stele_gen_free(first);
        stele_gen_free(second);
    }
    assert_false(stele_conn_in_transaction(conn));
    assert_ok(queue_insert(p, 5, "x"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_READ_ONLY);
    assert_int_equal(stele_pipeline_failed_entry(p), 0);
    assert_ok(insert_thing(conn, 6, "x", &err), &err); /* the transaction is over */
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_int_equal(queue_insert(p, 5, "x"), STELE_E_MISUSE);
    assert_ok(stele_tx_rollback(conn, &err), &err);
}

static void test_a_batch_of_its_own_transaction_commits(void **state)
{
    (void)state;
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.isolation = STELE_SERIALIZABLE;
    reopen(&options);
    uint64_t before = stele_conn_round_trips(conn);
    insert_many(0, 5);
    assert_int_equal(waits_since(conn, &before), 1);
    assert_int_equal(count_things(), 5);
    assert_ok(queue_insert(p, 7, "x"), &err);
    assert_ok(queue_insert(p, 3, "x"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), 1);
    insert_many(8, 9);
    assert_int_equal(count_things(), 6);
}

static void test_inside_a_transaction_the_sync_does_not_commit(void **state)
{
    (void)state;
    uint64_t before = stele_conn_round_trips(conn);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    insert_many(0, 5); /* BEGIN travels with it */
    assert_int_equal(waits_since(conn, &before), 1);
    assert_int_equal(count_things(), 0);
    assert_ok(stele_tx_savepoint(conn, "here", &err), &err);
    assert_ok(queue_insert(p, 0, "x"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_non_null(strstr(err.message, "the transaction is aborted"));
    assert_ok(stele_tx_rollback_to(conn, "here", &err), &err);
    insert_many(5, 6);
    assert_ok(stele_tx_commit(conn, &err), &err);
    assert_int_equal(count_things(), 6);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(queue_insert(p, 20, "x"), &err);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_E_MISUSE);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_int_equal(stele_pipeline_count(p), 0);
    assert_int_equal(count_things(), 6);
}

/* ---- plans ---- */

static void test_stale_plans_are_made_anew(void **state)
{
    (void)state;
    thing_row *rows[3];
    insert_many(0, 3);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 3; i++)
            assert_ok(queue_find(p, i, &rows[i]), &err);
        assert_ok(stele_pipeline_sync(p, &err), &err);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(rows[i]->id, i);
            stele_gen_free(rows[i]);
        }
        if (round == 0)
            run_sql(conn, "DISCARD ALL");
        else if (round == 1)
            dbtest_exec(dsn, "ALTER TABLE things ALTER COLUMN name TYPE text");
        else
            run_sql(conn, "DEALLOCATE ALL");
    }
}

static void test_stale_plans_inside_a_transaction_are_retryable(void **state)
{
    (void)state;
    thing_row *row = NULL;
    insert_many(0, 3);
    for (int i = 0; i < 3; i++)
        (void)!find_thing(conn, i, &err);
    run_sql(conn, "DEALLOCATE ALL");
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(queue_find(p, 1, &row), &err);
    assert_int_equal(stele_pipeline_sync(p, &err) < 0, true);
    assert_true(err.retryable);
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_ok(queue_find(p, 1, &row), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    stele_gen_free(row);
}

static void test_more_statements_than_the_cache_holds(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    static made many[COUNT];
    static char sql[COUNT][64];
    stele_db_options options = options_for("small cache", 1);
    options.statement_cache = 4;
    stele_db *small = open_with(&options);
    stele_conn *c = acquire(small);
    stele_pipeline *q = NULL;
    assert_ok(stele_pipeline_open(c, NULL, &q, &err), &err);
    for (int round = 0; round < 3; round++) {
        uint64_t counts[COUNT];
        for (int i = 0; i < COUNT; i++) {
            snprintf(sql[i], sizeof sql[i], "SELECT generate_series(1, %d)", i % 7);
            assert_ok(queue_sql(q, &many[i], sql[i], &counts[i]), &err);
        }
        for (int i = 0; i < 8; i++)
            assert_ok(queue_sql(q, &many[i], sql[i], NULL), &err);
        assert_ok(stele_pipeline_sync(q, &err), &err);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(counts[i], i % 7);
        for (int i = 0; i < 12; i++) {
            assert_ok(queue_sql(q, &many[i], sql[i], NULL), &err);
            assert_ok(stele_pipeline_sync(q, &err), &err);
        }
    }
    assert_true(strtol(ask(c, "SELECT count(*) FROM pg_prepared_statements"), NULL, 10) <= 4);
    stele_pipeline_close(q);
    stele_conn_release(c);
    stele_db_close(small);
}

/* ---- callbacks ---- */

typedef struct seen {
    int calls;
    size_t entries[4];
    int64_t ids[4];
    uint64_t affected[4];
    bool refill;
} seen;

static void see(const stele_pipeline_result *result, void *user)
{
    seen *s = user;
    const thing_row *rows = result->rows;
    s->entries[s->calls] = result->entry;
    s->ids[s->calls] = result->count > 0 ? rows[0].id : -1;
    s->affected[s->calls++] = result->affected;
    if (s->refill)
        (void)!queue_insert(p, 50 + s->calls, "again");
}

static void test_callbacks_get_what_slots_would(void **state)
{
    (void)state;
    seen s = {.refill = true};
    insert_many(0, 3);
    stele_pipeline_on_result(p, see, &s);
    assert_ok(queue_find(p, 2, NULL), &err);
    assert_ok(queue_find(p, 1, NULL), &err); /* without one */
    stele_pipeline_on_result(p, see, &s);
    assert_ok(queue_insert(p, 9, "nine"), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(s.calls, 2);
    assert_int_equal(s.entries[0], 0);
    assert_int_equal(s.ids[0], 2);
    assert_int_equal(s.entries[1], 2);
    assert_int_equal(s.ids[1], -1);
    assert_int_equal(s.affected[1], 1);
    assert_int_equal(stele_pipeline_count(p), 2); /* what the callbacks queued */
    s.refill = false;
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(count_things(), 6);
    stele_pipeline_on_result(p, see, &s);
    assert_ok(queue_insert(p, 9, "nine"), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(s.calls, 2); /* a batch that failed calls nobody */
}

/* ---- lost connections ---- */

static void test_a_dead_connection_is_unknown_for_writes_only(void **state)
{
    (void)state;
    made kill;
    thing_row *row = NULL;
    static const char sql[] = "SELECT pg_terminate_backend(pg_backend_pid())";
    assert_ok(queue_find(p, 1, &row), &err);
    assert_ok(queue_sql(p, &kill, sql, NULL), &err);
    kill.stmt.properties = STELE_STMT_READ;
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_LOST);
    assert_true(err.retryable);
    /* The server told of its end before the Sync: a write is known not to be stored. */
    assert_ok(queue_insert(p, 1, "one"), &err);
    assert_ok(queue_sql(p, &kill, sql, NULL), &err);
    stele_status st = stele_pipeline_sync(p, &err);
    assert_true(st == STELE_E_LOST || st == STELE_E_UNKNOWN);
    assert_int_equal(count_things(), 0);
    assert_ok(queue_insert(p, 1, "one"), &err); /* on another connection */
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(count_things(), 1);
}

static void test_the_deadline_holds(void **state)
{
    (void)state;
    made sleep;
    uint64_t start = now_ms();
    assert_ok(queue_insert(p, 1, "one"), &err);
    assert_ok(queue_sql(p, &sleep, "SELECT pg_sleep(60)", NULL), &err);
    stele_conn_set_deadline(conn, 5000);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNKNOWN);
    assert_true(err.outcome_unknown);
    assert_true(now_ms() - start < SOON_MS);
    stele_conn_set_deadline(conn, 0);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pipeline, close_pipeline)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_large_results_both_ways_never_deadlock),
        TEST(test_tight_bounds_change_nothing_but_the_waits),
        TEST(test_a_batch_that_failed_early_takes_the_rest_without_sending),
        TEST(test_repeatable_read_is_one_snapshot),
        TEST(test_a_batch_of_its_own_transaction_commits),
        TEST(test_inside_a_transaction_the_sync_does_not_commit),
        TEST(test_stale_plans_are_made_anew),
        TEST(test_stale_plans_inside_a_transaction_are_retryable),
        TEST(test_more_statements_than_the_cache_holds),
        TEST(test_callbacks_get_what_slots_would),
        TEST(test_a_dead_connection_is_unknown_for_writes_only),
        TEST(test_the_deadline_holds),
    };
    dbtest_require_server();
    return RUN(tests);
}
