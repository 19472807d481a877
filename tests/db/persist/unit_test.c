/*
 * Units: what is queued is checked at once, and copied with all it points to.
 */
#include "persist_util.h"

static entries_input good_entry(void)
{
    return (entries_input){.account = stele_text_v("a"), .seq = stele_i64_v(1)};
}

static stele_status queue_entry(stele_unit *unit, const entries_input *input)
{
    return entries_insert_queue(stele_unit_pipeline(unit), input, NULL, &err);
}

static void inputs_are_looked_at_when_queued(void **state)
{
    (void)state;
    STELE_AUTO(stele_unit) unit = new_unit();
    entries_input input = good_entry();
    input.seq = (stele_in_i64){0};
    assert_int_equal(queue_entry(unit, &input), STELE_E_INPUT);
    assert_string_equal(err.column, "seq");
    input = good_entry();
    input.amount = stele_text_n_v("12x");
    assert_int_equal(queue_entry(unit, &input), STELE_E_VALUE);
    assert_string_equal(err.column, "amount");
    input = good_entry();
    input.account.v.data = NULL;
    assert_int_equal(queue_entry(unit, &input), STELE_E_INPUT);
    assert_string_equal(err.column, "account");
    assert_int_equal(stele_unit_count(unit), 0);
    input = good_entry();
    assert_ok(queue_entry(unit, &input), &err);
    assert_int_equal(stele_unit_count(unit), 1);
}

static void only_writes_are_taken_and_nothing_is_given_back(void **state)
{
    (void)state;
    STELE_AUTO(stele_unit) unit = new_unit();
    stele_pipeline *pipeline = stele_unit_pipeline(unit);
    entries_input input = good_entry();
    entries_row *row = NULL;
    accounts_page *page = NULL;
    uint64_t count;
    ledger_add_params add = {.name = stele_text_v("a"), .n = stele_i64_v(1)};
    assert_int_equal(entries_find_queue(pipeline, 1, &row, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.message, "only writes"));
    assert_int_equal(entries_insert_queue(pipeline, &input, &row, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.message, "gives nothing back"));
    assert_non_null(strstr(err.hint, "receipt"));
    assert_int_equal(ledger_add_queue(pipeline, &add, &count, &err), STELE_E_INPUT);
    assert_ok(ledger_add_queue(pipeline, &add, NULL, &err), &err);
    assert_int_equal(accounts_list_by_backer_queue(pipeline, stele_s("a"), NULL, 10, &page, &err),
                     STELE_E_INPUT);
    assert_int_equal(stele_unit_count(unit), 1);
    assert_string_equal(stele_unit_statement(unit, 0), "ledger_add");
    assert_null(stele_unit_statement(unit, 1));
}

static void its_pipeline_is_none_otherwise(void **state)
{
    (void)state;
    STELE_AUTO(stele_unit) unit = entry("a", 1, NULL);
    stele_pipeline *pipeline = stele_unit_pipeline(unit);
    assert_int_equal(stele_pipeline_sync(pipeline, &err), STELE_E_MISUSE);
    assert_int_equal(stele_pipeline_start(pipeline, &err), STELE_E_MISUSE);
    assert_int_equal(stele_pipeline_count(pipeline), 0);
    assert_true(stele_pipeline_failed_entry(pipeline) == STELE_NO_ENTRY);
    stele_pipeline_on_result(pipeline, NULL, NULL);
    stele_pipeline_close(pipeline);
    assert_int_equal(stele_unit_count(unit), 1);
}

static void what_cannot_be_put_stays(void **state)
{
    (void)state;
    stele_put_options how = STELE_PUT_OPTIONS_INIT;
    stele_persist *persist = open_persist(NULL);
    stele_unit *unit = NULL;
    assert_int_equal(stele_persist_put(persist, "a", 1, &unit, NULL, NULL, &err), STELE_E_INPUT);
    unit = new_unit();
    assert_int_equal(stele_persist_put(persist, "a", 1, &unit, NULL, NULL, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.message, "no statements"));
    add_entry(unit, "a", 1, NULL);
    add_entry(unit, "a", 2, NULL);
    how.skip_conflicts = true;
    assert_int_equal(stele_persist_put(persist, "a", 1, &unit, &how, NULL, &err), STELE_E_INPUT);
    how = (stele_put_options){0};
    assert_int_equal(stele_persist_put(persist, "a", 1, &unit, &how, NULL, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.hint, "STELE_PUT_OPTIONS_INIT"));
    assert_non_null(unit);
    size_t len = 0;
    assert_ok(outcome(put(persist, "key", unit)), &err);
    assert_string_equal(stored("a"), "1,2");
    unit = entry("b", 1, NULL);
    assert_null(stele_unit_key(unit, &len));
    assert_int_equal(len, 0);
    stele_unit_free(unit);
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
}

static void options_are_checked(void **state)
{
    (void)state;
    stele_persist *persist = NULL;
    stele_persist_options options = STELE_PERSIST_OPTIONS_INIT;
    assert_int_equal(stele_persist_open(NULL, NULL, &persist, &err), STELE_E_INPUT);
    assert_int_equal(stele_persist_open(db, NULL, NULL, &err), STELE_E_INPUT);
    options.size = 0;
    assert_int_equal(stele_persist_open(db, &options, &persist, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.hint, "STELE_PERSIST_OPTIONS_INIT"));
    options = (stele_persist_options)STELE_PERSIST_OPTIONS_INIT;
    options.lanes = 5000;
    assert_int_equal(stele_persist_open(db, &options, &persist, &err), STELE_E_INPUT);
    assert_int_equal(stele_unit_open(NULL, &err), STELE_E_INPUT);
    assert_ok(stele_persist_close(NULL, 0, NULL, NULL, &err), &err);
    stele_unit_free(NULL);
    stele_receipt_free(NULL);
}

/* Rows 1 and 2 are the same, but for what tells them apart. */
static void check_copies(void)
{
    assert_int_equal(
        number("SELECT count(*) FROM scalars AS a JOIN scalars AS b ON b.id = 2"
               " WHERE a.id = 1 AND to_jsonb(a) - '{id,n_timestamp,n_timestamptz}'::text[]"
               " = to_jsonb(b) - '{id,n_timestamp,n_timestamptz}'::text[]"
               " AND b.n_timestamp - a.n_timestamp < interval '1 min'"
               " AND b.n_timestamptz > now() + interval '2 d'"
               " AND b.n_char IS NULL AND b.n_bytea IS NOT NULL"),
        1);
    assert_int_equal(number("SELECT count(*) FROM lists AS a JOIN lists AS b ON b.id = 2"
                            " WHERE a.id = 1 AND to_jsonb(a) - '{id,made_at}'::text[]"
                            " = to_jsonb(b) - '{id,made_at}'::text[]"
                            " AND b.words = '{one,NULL,two}'"),
                     1);
}

/* Every type, its inputs gone when it is stored: the same row as when it is inserted at once. */
static void all_that_inputs_point_to_is_copied(void **state)
{
    (void)state;
    char bytes[] = "payload\0 with a zero";
    char words[2][8] = {"one", "two"};
    bool nulls[3] = {false, true, false};
    int64_t numbers_of_row[2] = {7, -8};
    stele_str items[3] = {{words[0], 3}, {NULL, 0}, {words[1], 3}};
    heaps_scalars_input scalars = {
        .id = stele_i64_v(1),
        .n_bool = stele_bool_n_v(true),
        .n_int2 = stele_i16_n_v(2),
        .n_numeric = stele_text_n_v("12.5"),
        .n_text = stele_text_n_of((stele_str){bytes, 7}),
        .n_char = stele_text_n_null(),
        .n_bytea = stele_bytes_n_v(bytes, sizeof bytes),
        .n_timestamp = stele_ts_n_now(),
        .n_timestamptz = stele_ts_n_after((stele_interval){.days = 3}),
        .n_interval = stele_interval_n_v((stele_interval){.months = 1}),
        .n_jsonb = stele_text_n_v("{\"a\": 1}"),
        .n_enum = heaps_size_n_v(HEAPS_SIZE_LARGE),
        .n_opaque = stele_text_n_v("08:00:2b:01:02:03"),
    };
    heaps_lists_input lists = {
        .id = stele_i64_v(1),
        .numbers = stele_i64_array_n_v((stele_i64_array){numbers_of_row, NULL, 2}),
        .words = stele_str_array_n_v((stele_str_array){items, nulls, 3}),
        .addresses = stele_text_n_v("{08:00:2b:01:02:03}"),
    };
    stele_conn *conn = acquire(db);
    assert_ok(heaps_scalars_insert(conn, &scalars, NULL, &err), &err);
    assert_ok(heaps_lists_insert(conn, &lists, NULL, &err), &err);
    stele_conn_release(conn);
    scalars.id = stele_i64_v(2);
    lists.id = stele_i64_v(2);
    stele_unit *unit = new_unit();
    stele_pipeline *pipeline = stele_unit_pipeline(unit);
    assert_ok(heaps_scalars_insert_queue(pipeline, &scalars, NULL, &err), &err);
    assert_ok(heaps_lists_insert_queue(pipeline, &lists, NULL, &err), &err);
    memset(&scalars, 0x5a, sizeof scalars);
    memset(&lists, 0x5a, sizeof lists);
    memset(bytes, 0x5a, sizeof bytes);
    memset(words, 0x5a, sizeof words);
    memset(nulls, 1, sizeof nulls);
    memset(items, 0x5a, sizeof items);
    memset(numbers_of_row, 0x5a, sizeof numbers_of_row);
    stele_persist *persist = open_persist(NULL);
    assert_ok(outcome(put(persist, "key", unit)), &err);
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
    check_copies();
}

/* More than its first piece of memory holds. */
static void units_grow(void **state)
{
    (void)state;
    char account[40];
    char *payload = calloc(1, 100001);
    stele_unit *unit = new_unit();
    stele_persist *persist = open_persist(NULL);
    memset(payload, 'x', 100000);
    for (int i = 0; i < 30; i++) {
        (void)snprintf(account, sizeof account, "account %d", i);
        add_entry(unit, account, i, i % 10 == 0 ? payload : NULL);
    }
    assert_true(stele_unit_bytes(unit) > 300000);
    assert_true(stele_unit_bytes(unit) < 400000);
    assert_ok(outcome(put(persist, "key", unit)), &err);
    assert_int_equal(number("SELECT count(*) FROM entries"), 30);
    assert_int_equal(number("SELECT sum(length(payload)) FROM entries"), 300000);
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
    free(payload);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        LEDGER(inputs_are_looked_at_when_queued),
        LEDGER(only_writes_are_taken_and_nothing_is_given_back),
        LEDGER(its_pipeline_is_none_otherwise),
        LEDGER(what_cannot_be_put_stays),
        LEDGER(options_are_checked),
        LEDGER(all_that_inputs_point_to_is_copied),
        LEDGER(units_grow),
    };
    return RUN_LEDGER(tests);
}
