/* Queries on json, arrays and text, and what must not be mistaken for a parameter. */
#define _GNU_SOURCE
#include "query_data.h"

static stele_str_array texts(const stele_str *items, size_t count)
{
    return (stele_str_array){.items = items, .count = count};
}

static void operators_with_question_marks(void **state)
{
    (void)state;
    stele_str any[] = {stele_s("weight"), stele_s("nothing")};
    stele_str every[] = {stele_s("colour"), stele_s("weight")};
    STELE_AUTO(shop_shop_products_with_attribute_rows) rows = NULL;
    ok(shop_shop_products_with_attribute(conn,
                                         PARAMS(products_with_attribute,
                                                .key = stele_text_v("colour"),
                                                .any = stele_str_array_v(texts(any, 2)),
                                                .every = stele_str_array_v(texts(every, 2))),
                                         &rows, &err));
    assert_int_equal(rows->count, 1);
    assert_str(rows->rows[0].name, "Ink");
}

static void containment_and_paths(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_products_containing_rows) rows = NULL;
    ok(shop_shop_products_containing(
        conn, PARAMS(products_containing, .attributes = stele_text_v("{\"colour\": \"blue\"}")),
        &rows, &err));
    assert_int_equal(rows->count, 1);
    assert_str(rows->rows[0].colour, "blue");
    assert_str(rows->rows[0].size, "3");
    shop_shop_products_containing_rows_free(rows);
    rows = NULL;
    ok(shop_shop_products_containing(
        conn, PARAMS(products_containing, .attributes = stele_text_v("{}")), &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_null(rows->rows[0].size.data);
    assert_null(rows->rows[1].colour.data);
}

static void json_paths(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_products_by_path_rows) rows = NULL;
    ok(shop_shop_products_by_path(
        conn, PARAMS(products_by_path, .least = stele_text_v("{\"least\": 5}")), &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_str(rows->rows[0].name, "Ink");
    assert_str(rows->rows[1].name, "Pen");
}

static void json_is_changed(void **state)
{
    (void)state;
    stele_str path[] = {stele_s("size"), stele_s("width")};
    uint64_t count = 0;
    ok(shop_shop_set_attribute(conn,
                               PARAMS(set_attribute, .id = stele_uuid_v(uuid_of(PEN)),
                                      .path = stele_str_array_v(texts(path, 2)),
                                      .value = stele_text_v("4")),
                               &count, &err));
    assert_int_equal(count, 1);
    assert_true(
        holds("SELECT attributes #>> '{size,width}' = '4' FROM products WHERE name = 'Pen'"));

    stele_str keys[] = {stele_s("size"), stele_s("none")};
    STELE_AUTO(shop_shop_drop_attributes_row) row = NULL;
    ok(shop_shop_drop_attributes(conn,
                                 PARAMS(drop_attributes, .id = stele_uuid_v(uuid_of(PEN)),
                                        .keys = stele_str_array_v(texts(keys, 2))),
                                 &row, &err));
    assert_str(row->attributes, "{\"colour\": \"blue\"}");
}

static void a_document_of_rows(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_order_document_row) row = NULL;
    ok(shop_shop_order_document(conn, PARAMS(order_document, .id = stele_i64_v(1)), &row, &err));
    assert_str(row->document, "{\"id\": 1, \"lines\": [[1, 2], [2, 1]]}");
}

static void any_of_an_array(void **state)
{
    (void)state;
    stele_uuid ids[] = {uuid_of(PEN), uuid_of(MAP), uuid_of(CART)};
    STELE_AUTO(shop_products_rows) rows = NULL;
    ok(shop_shop_products_by_id(conn,
                                PARAMS(products_by_id, .ids = stele_uuid_array_v((stele_uuid_array){
                                                           .items = ids, .count = 3})),
                                &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_str(rows->rows[0].name, "Map");
    assert_str(rows->rows[1].words, "'blue':3 'pen':1 'writes':2");
    assert_span(rows->rows[1].tags, "blue", "fine", "steel");
    shop_products_rows_free(rows);
    rows = NULL;
    ok(shop_shop_products_by_id(conn,
                                PARAMS(products_by_id, .ids = stele_uuid_array_v((stele_uuid_array){
                                                           .items = ids, .count = 0})),
                                &rows, &err));
    assert_int_equal(rows->count, 0);
}

static void arrays_of_enums(void **state)
{
    (void)state;
    shop_order_status statuses[] = {SHOP_ORDER_STATUS_PAID, SHOP_ORDER_STATUS_IN_TRANSIT};
    shop_order_status_array array = {.items = statuses, .count = 2};
    STELE_AUTO(shop_shop_orders_not_in_rows) rows = NULL;
    ok(shop_shop_orders_not_in(
        conn, PARAMS(orders_not_in, .statuses = shop_order_status_array_v(array)), &rows, &err));
    assert_int_equal(rows->count, 1);
    assert_int_equal(rows->rows[0].status, SHOP_ORDER_STATUS_OPEN);

    shop_currency currencies[] = {SHOP_CURRENCY_USD, SHOP_CURRENCY_EUR};
    STELE_AUTO(shop_shop_typed_enums_rows) enums = NULL;
    ok(shop_shop_typed_enums(
        conn,
        PARAMS(typed_enums, .currencies = shop_currency_array_v(
                                (shop_currency_array){.items = currencies, .count = 2})),
        &enums, &err));
    assert_int_equal(enums->count, 2);
    assert_int_equal(enums->rows[0].currency, SHOP_CURRENCY_EUR);
}

static void slices(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_tags_between_rows) rows = NULL;
    ok(shop_shop_tags_between(
        conn, PARAMS(tags_between, .first = stele_i32_v(1), .last = stele_i32_v(2)), &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_span(rows->rows[1].some, "blue", "fine");
    assert_span(rows->rows[1].fixed, "fine", "steel");
    assert_span(rows->rows[1].upto, "blue", "fine");
    assert_span(rows->rows[0].some, "blue");
    assert_int_equal(rows->rows[0].fixed.count, 0);
}

static void tags(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_tag_counts_rows) rows = NULL;
    ok(shop_shop_tag_counts(conn, &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_str(rows->rows[0].tag, "blue");
    assert_int_equal(rows->rows[0].times, 2);

    stele_str more[] = {stele_s("new"), stele_s("blue")};
    STELE_AUTO(shop_shop_add_tags_row) row = NULL;
    ok(shop_shop_add_tags(conn,
                          PARAMS(add_tags, .id = stele_uuid_v(uuid_of(INK)),
                                 .tags = stele_str_array_v(texts(more, 2))),
                          &row, &err));
    assert_span(row->tags, "blue", "new");
}

static void arrays_with_nulls(void **state)
{
    (void)state;
    int64_t numbers[] = {1, 0, INT64_MIN};
    bool nulls[] = {false, true, false};
    stele_ts times[] = {0, STELE_TS_INFINITY};
    shop_shop_arrays_back_params params = {
        .numbers =
            stele_i64_array_v((stele_i64_array){.items = numbers, .nulls = nulls, .count = 3}),
        .flags = stele_bool_array_n_null(),
        .times = stele_ts_array_v((stele_ts_array){.items = times, .count = 2}),
    };
    STELE_AUTO(shop_shop_arrays_back_row) row = NULL;
    ok(shop_shop_arrays_back(conn, &params, &row, &err));
    assert_int_equal(row->numbers.count, 3);
    assert_true(row->numbers.nulls[1] && !row->numbers.nulls[2]);
    assert_true(row->numbers.items[2] == INT64_MIN);
    assert_null(row->flags.items);
    assert_true(row->times.items[1] == STELE_TS_INFINITY);
}

static void one_parameter_in_two_places(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_history_of_row) row = NULL;
    ok(shop_shop_history_of(conn,
                            PARAMS(history_of, .id = stele_i64_v(1),
                                   .status = shop_order_status_v(SHOP_ORDER_STATUS_SHIPPED)),
                            &row, &err));
    assert_int_equal(row->history.count, 1);
    assert_int_equal(row->history.items[0], SHOP_ORDER_STATUS_SHIPPED);
    assert_true(
        holds("SELECT status = 'shipped' AND updated_at > created_at FROM orders WHERE id = 1"));
}

static void full_text(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_search_words_rows) rows = NULL;
    ok(shop_shop_search_words(conn, PARAMS(search_words, .words = stele_text_v("writes")), &rows,
                              &err));
    assert_int_equal(rows->count, 1);
    assert_str(rows->rows[0].words, "'blue':3 'pen':1 'writes':2");
}

static void literals_stay_as_they_are(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_literals_row) row = NULL;
    ok(shop_shop_literals(conn, PARAMS(literals, .yes = stele_text_v("yes")), &row, &err));
    assert_str(row->a, ":no {no} /*?if no*/ -- no 'quoted'");
    assert_str(row->b, "it's :no\\");
    assert_str(row->c, ":no {no} $1 'no'");
    assert_str(row->d, ":no $$ :no");
    assert_str(row->e, "quoted");
    assert_str(row->f, ": no");
    assert_str(row->g, "yes:no");
}

static void casts(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_casts_row) row = NULL;
    ok(shop_shop_casts(conn,
                       PARAMS(casts, .at = stele_text_v("2026-01-01 00:00+02"),
                              .amount = stele_text_v("1.239"), .id = stele_text_v(PEN)),
                       &row, &err));
    assert_true(row->at == ts_of("2025-12-31T22:00:00Z"));
    assert_str(row->amount, "1.24");
    assert_uuid(row->id, PEN);
    assert_true(row->zone == row->at);
}

static void a_value_the_server_cannot_read(void **state)
{
    (void)state;
    shop_shop_casts_row *row = NULL;
    fails(STELE_E_VALUE,
          shop_shop_casts(conn,
                          PARAMS(casts, .at = stele_text_v("never"), .amount = stele_text_v("1"),
                                 .id = stele_text_v(PEN)),
                          &row, &err));
    assert_string_equal(err.sqlstate, "22007");
}

static void patterns(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_matching_rows) rows = NULL;
    ok(shop_shop_matching(
        conn, PARAMS(matching, .prefix = stele_text_v("An"), .pattern = stele_text_v("^bob@")),
        &rows, &err));
    assert_int_equal(rows->count, 2);
    STELE_AUTO(shop_shop_format_names_row) row = NULL;
    ok(shop_shop_format_names(conn, &row, &err));
    assert_str(row->text, "Ann <ann@example.org>,\nBob <Bob@example.org>");
}

static void every_type_there_is(void **state)
{
    (void)state;
    peer("INSERT INTO type_samples (id, a_bool, a_int2, a_int4, a_int8, a_float4, a_float8, "
         "a_numeric,"
         " a_text, a_varchar, a_char, a_bytea, a_uuid, a_date, a_time, a_timestamp, a_timestamptz,"
         " a_interval, a_json, a_jsonb, a_inet, a_enum, a_opaque, l_bool, l_int2, l_int4, l_int8,"
         " l_float4, l_float8, l_numeric, l_text, l_varchar, l_char, l_bytea, l_uuid, l_date, "
         "l_time,"
         " l_timestamp, l_timestamptz, l_interval, l_json, l_jsonb, l_inet)"
         " VALUES (1, true, 2, 4, 8, 4.5, 8.5, 1.20, 'text', 'varchar', 'char', 'bytes', '" PEN
         "', '2026-01-01', '12:00', '2026-01-01', '2026-01-01Z', '1 day', '[1]', '[2]', '10.0.0.1',"
         " 'JPY', '08:00:2b:01:02:03', '{t}', '{2}', '{4}', '{8}', '{4.5}', '{8.5}', '{1.20}', "
         "'{a}',"
         " '{b}', '{c}', '{\"\\\\x01\"}', '{}', '{2026-01-01}', '{12:00}', '{2026-01-01}',"
         " '{2026-01-01Z}', '{1 day}', '{1}', '{2}', '{10.0.0.1}')");
    STELE_AUTO(shop_type_samples_row) row = NULL;
    ok(shop_shop_every_type(conn, PARAMS(every_type, .id = stele_i32_v(1)), &row, &err));
    assert_str(row->a_numeric, "1.20");
    assert_str(row->a_opaque, "08:00:2b:01:02:03");
    assert_int_equal(row->a_enum, SHOP_CURRENCY_JPY);
    assert_inet(row->a_inet, "10.0.0.1");
    assert_str(row->a_jsonb, "[2]");
    assert_int_equal(row->l_bytea.items[0].data[0], 1);
    assert_false(row->n_enum.has);
    assert_null(row->l_text_n.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKED(operators_with_question_marks),
        ASKED(containment_and_paths),
        ASKED(json_paths),
        ASKED(json_is_changed),
        ASKED(a_document_of_rows),
        ASKED(any_of_an_array),
        ASKED(arrays_of_enums),
        ASKED(slices),
        ASKED(tags),
        ASKED(arrays_with_nulls),
        ASKED(one_parameter_in_two_places),
        ASKED(full_text),
        ASKED(literals_stay_as_they_are),
        ASKED(casts),
        ASKED(a_value_the_server_cannot_read),
        ASKED(patterns),
        ASKED(every_type_there_is),
    };
    return RUN_GENERATED(tests);
}
