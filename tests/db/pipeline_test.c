/* Pipelines: batches, slots, what failed, and who may use the connection. */
#include "pipeline_util.h"

/* ---- batches ---- */

static void test_ten_finds_take_one_round_trip(void **state)
{
    (void)state;
    insert_many(0, 10);
    for (int round = 0; round < 3; round++) {
        thing_row *rows[11];
        memset(rows, 0xff, sizeof rows);
        uint64_t before = stele_conn_round_trips(conn);
        for (int i = 0; i < 11; i++)
            assert_ok(queue_find(p, i, &rows[i]), &err);
        assert_int_equal(stele_pipeline_count(p), 11);
        assert_int_equal(stele_conn_round_trips(conn), before);
        assert_ok(stele_pipeline_sync(p, &err), &err);
        assert_int_equal(waits_since(conn, &before), 1);
        assert_int_equal(stele_pipeline_count(p), 0);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(rows[i]->id, i);
            assert_memory_equal(rows[i]->name.data, "x", 1);
            stele_gen_free(rows[i]);
        }
        assert_null(rows[10]); /* not found is no failure of the others */
    }
}

static void test_what_is_worth_it_is_prepared_in_the_same_flush(void **state)
{
    (void)state;
    thing_row *rows[2];
    uint64_t before = stele_conn_round_trips(conn);
    assert_ok(queue_find(p, 1, &rows[0]), &err);
    assert_ok(queue_find(p, 2, &rows[1]), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(waits_since(conn, &before), 1);
    assert_string_equal(ask(conn, "SELECT count(*) FROM pg_prepared_statements"), "1");
}

static void test_statements_mix_and_slots_are_filled(void **state)
{
    (void)state;
    made update, count;
    uint64_t inserted = 77, updated = 77;
    size_t listed = 77;
    thing_row *list = NULL, *row = NULL;
    int64_t total = 0;
    static const stele_gen_column columns[] = {{"count", STELE_GEN_INT8, false, 0, NULL}};
    stele_gen_slot value = {.kind = STELE_GEN_SLOT_VALUE, .out = &total};
    thing_input input = {.id = stele_i64_v(1), .name = stele_text_v("one")};
    assert_ok(queue_input(p, &input, &inserted), &err);
    assert_ok(queue_insert(p, 2, "two"), &err);
    assert_ok(queue_sql(p, &update, "UPDATE things SET n = 5", &updated), &err);
    assert_ok(queue_list(p, 10, &list, &listed), &err);
    assert_ok(queue_find(p, 2, &row), &err);
    make_read(&count, "count", "SELECT count(*) FROM things", columns, 1, sizeof total);
    assert_ok(stele_gen_queue(p, &count.stmt, NULL, 0, &value, &err), &err);
    assert_null(row);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(inserted, 1);
    assert_int_equal(updated, 2);
    assert_int_equal(listed, 2);
    assert_int_equal(list[1].n.v, 5);
    assert_int_equal(row->id, 2);
    assert_int_equal(total, 2);
    stele_gen_free(list);
    stele_gen_free(row);
}

static void test_inputs_may_go_away_at_once(void **state)
{
    (void)state;
    char name[6];
    char doc[64];
    thing_row *rows[20];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "n%d", i);
        snprintf(doc, sizeof doc, "{\"a\": %d}", i);
        thing_input input = {
            .id = stele_i64_v(i), .name = stele_text_v(name), .doc = stele_text_n_v(doc)};
        assert_ok(queue_input(p, &input, NULL), &err);
        memset(&input, 0xee, sizeof input);
        memset(name, 0xee, sizeof name);
        memset(doc, 0xee, sizeof doc);
    }
    for (int i = 0; i < 20; i++)
        assert_ok(queue_find(p, i, &rows[i]), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    for (int i = 0; i < 20; i++) {
        snprintf(doc, sizeof doc, "{\"a\": %d}", i);
        assert_memory_equal(rows[i]->doc.data, doc, strlen(doc));
        stele_gen_free(rows[i]);
    }
}

/* ---- errors ---- */

static void test_an_input_that_is_wrong_is_refused_at_once(void **state)
{
    (void)state;
    thing_input input = {.id = stele_i64_v(1)};
    assert_int_equal(queue_input(p, &input, NULL), STELE_E_INPUT);
    assert_string_equal(err.column, "name");
    assert_int_equal(stele_pipeline_count(p), 0);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND); /* the lease is free */
    assert_ok(queue_insert(p, 2, "two"), &err);
    assert_int_equal(queue_input(p, &input, NULL), STELE_E_INPUT);
    assert_int_equal(stele_pipeline_count(p), 1);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(count_things(), 1);
}

static void test_a_failure_names_its_entry_and_undoes_the_rest(void **state)
{
    (void)state;
    insert_many(5, 6);
    uint64_t counts[3] = {77, 77, 77};
    thing_row *row = (thing_row *)&counts;
    thing_input input = {.name = stele_text_v("x")};
    for (int i = 0; i < 3; i++) {
        input.id = stele_i64_v(4 + i); /* 5 is taken */
        assert_ok(queue_input(p, &input, &counts[i]), &err);
    }
    assert_ok(queue_find(p, 5, &row), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), 1);
    assert_string_equal(err.sqlstate, "23505");
    assert_string_equal(err.constraint, "things_pkey");
    assert_non_null(strstr(err.message, "entry 1 (things_insert): "));
    assert_non_null(strstr(err.message, "rolled back"));
    assert_false(err.outcome_unknown);
    assert_int_equal(count_things(), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(counts[i], 77); /* no slot is touched */
    assert_ptr_equal(row, (thing_row *)&counts);
    /* Pipeline and connection go on. */
    assert_ok(queue_insert(p, 9, "nine"), &err);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_int_equal(stele_pipeline_failed_entry(p), STELE_NO_ENTRY);
    assert_int_equal(count_things(), 2);
}

static void test_an_error_at_the_commit_is_of_no_entry(void **state)
{
    (void)state;
    dbtest_exec(dsn, "ALTER TABLE things ADD CONSTRAINT n_once UNIQUE (n) "
                     "DEFERRABLE INITIALLY DEFERRED");
    thing_input input = {.name = stele_text_v("x"), .n = stele_i32_n_v(1)};
    for (int i = 0; i < 2; i++) {
        input.id = stele_i64_v(i);
        assert_ok(queue_input(p, &input, NULL), &err);
    }
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), STELE_NO_ENTRY);
    assert_int_equal(count_things(), 0);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
}

static void test_a_prepare_that_fails_is_told_of_its_entry(void **state)
{
    (void)state;
    made missing;
    for (int i = 0; i < 5; i++) {
        assert_ok(queue_insert(p, i, "x"), &err);
        assert_ok(queue_sql(p, &missing, "SELECT 1 FROM missing", NULL), &err);
        assert_ok(queue_sql(p, &missing, "SELECT 1 FROM missing", NULL), &err);
        assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_SCHEMA);
        assert_string_equal(err.sqlstate, "42P01");
        assert_int_equal(stele_pipeline_failed_entry(p), 1);
        assert_int_equal(count_things(), 0);
    }
}

static void test_a_row_of_another_shape_is_told_as_done(void **state)
{
    (void)state;
    static const stele_gen_column columns[] = {{"n", STELE_GEN_INT4, false, 0, NULL}};
    made wrong;
    int32_t n;
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_VALUE, .out = &n};
    make_read(&wrong, "wrong", "SELECT NULL::int4", columns, 1, sizeof n);
    assert_ok(queue_insert(p, 1, "one"), &err);
    assert_ok(stele_gen_queue(p, &wrong.stmt, NULL, 0, &slot, &err), &err);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_NULL);
    assert_int_equal(stele_pipeline_failed_entry(p), 1);
    assert_true(err.outcome_unknown);
    assert_int_equal(count_things(), 1);
}

/* ---- who may use the connection ---- */

static void test_other_calls_are_refused_meanwhile(void **state)
{
    (void)state;
    stele_pipeline *other = NULL;
    assert_ok(queue_insert(p, 1, "one"), &err);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_MISUSE);
    assert_int_equal(stele_conn_exec(conn, "SELECT 1", NULL, 0, NULL, &err), STELE_E_MISUSE);
    assert_int_equal(stele_tx_begin(conn, NULL, &err), STELE_E_MISUSE);
    assert_ok(stele_pipeline_open(conn, NULL, &other, &err), &err);
    assert_int_equal(queue_insert(other, 2, "two"), STELE_E_MISUSE);
    assert_ok(stele_pipeline_sync(p, &err), &err);
    assert_ok(queue_insert(other, 2, "two"), &err);
    assert_ok(stele_pipeline_sync(other, &err), &err);
    stele_pipeline_close(other);
    assert_int_equal(count_things(), 2);
}

static void test_closing_discards_what_was_not_synced(void **state)
{
    (void)state;
    uint64_t before = stele_conn_round_trips(conn);
    int pid = stele_conn_backend_pid(conn);
    assert_ok(queue_insert(p, 1, "one"), &err);
    reopen(NULL);
    assert_int_equal(waits_since(conn, &before), 0);
    /* Also when some of it was sent. */
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.max_in_flight = 4;
    reopen(&options);
    for (int i = 0; i < 100; i++)
        assert_ok(queue_insert(p, i, "x"), &err);
    reopen(NULL);
    assert_int_equal(count_things(), 0);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
    assert_int_equal(stele_conn_backend_pid(conn), pid);
    assert_string_equal(ask(conn, "SELECT txid_current_if_assigned() IS NULL"), "t");
}

static void test_a_lease_can_be_returned_first(void **state)
{
    (void)state;
    stele_conn *other = acquire(db);
    stele_pipeline *q = NULL;
    assert_ok(stele_pipeline_open(other, NULL, &q, &err), &err);
    assert_ok(queue_insert(q, 1, "one"), &err);
    stele_conn_release(other);
    stele_pipeline_close(q);
    assert_int_equal(count_things(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pipeline, close_pipeline)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_ten_finds_take_one_round_trip),
        TEST(test_what_is_worth_it_is_prepared_in_the_same_flush),
        TEST(test_statements_mix_and_slots_are_filled),
        TEST(test_inputs_may_go_away_at_once),
        TEST(test_an_input_that_is_wrong_is_refused_at_once),
        TEST(test_a_failure_names_its_entry_and_undoes_the_rest),
        TEST(test_an_error_at_the_commit_is_of_no_entry),
        TEST(test_a_prepare_that_fails_is_told_of_its_entry),
        TEST(test_a_row_of_another_shape_is_told_as_done),
        TEST(test_other_calls_are_refused_meanwhile),
        TEST(test_closing_discards_what_was_not_synced),
        TEST(test_a_lease_can_be_returned_first),
    };
    dbtest_require_server();
    return RUN(tests);
}
