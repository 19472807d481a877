/* Queries that join: one row, none, many, whole rows side by side, outer joins. */
#define _GNU_SOURCE
#include "query_data.h"

static void one_row_by_an_expression(void **state)
{
    (void)state;
    STELE_AUTO(shop_customers_row) row = NULL;
    ok(shop_shop_customer_by_email(
        conn, PARAMS(customer_by_email, .email = stele_text_v("BOB@example.org")), &row, &err));
    assert_int_equal(row->id, 2);
    assert_str(row->email, "Bob@example.org");
    assert_false(row->deleted_at.has);
}

static void one_row_that_is_missing(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    fails(
        STELE_E_NOT_FOUND,
        shop_shop_customer_by_email(
            conn, PARAMS(customer_by_email, .email = stele_text_v("pen@example.org")), &row, &err));
    assert_null(row);
    assert_contains(err.message, "shop_shop_customer_by_email");
}

static void a_row_or_null(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    ok(shop_shop_find_customer(conn, PARAMS(find_customer, .id = stele_i64_v(1)), &row, &err));
    assert_str(row->name, "Ann");
    shop_customers_row_free(row);
    ok(shop_shop_find_customer(conn, PARAMS(find_customer, .id = stele_i64_v(3)), &row, &err));
    assert_null(row);
}

static void a_required_parameter_that_is_unset(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    refuses(STELE_E_INPUT, shop_shop_find_customer(conn, NULL, &row, &err));
    assert_string_equal(err.column, "id");
    refuses(STELE_E_INPUT,
            shop_shop_find_customer(conn, &(shop_shop_find_customer_params){0}, &row, &err));
    assert_contains(err.message, "shop_shop_find_customer: \"id\" is required");
    assert_contains(err.hint, "every call of this query");
    assert_null(row);
}

static void rows_in_one_block(void **state)
{
    (void)state;
    STELE_AUTO(shop_customers_rows) rows = NULL;
    ok(shop_shop_all_customers(conn, &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_str(rows->rows[0].name, "Ann");
    assert_str(rows->rows[1].name, "Bob");
    assert_int_equal(rows->rows[0].birthday.v, date_of("1990-05-01"));
}

static void no_rows(void **state)
{
    (void)state;
    shop_customers_rows *rows = NULL;
    peer("UPDATE customers SET deleted_at = now()");
    ok(shop_shop_all_customers(conn, &rows, &err));
    assert_int_equal(rows->count, 0);
    assert_non_null(rows);
    shop_customers_rows_free(rows);
    shop_customers_rows_free(NULL);
}

static void one_row_at_a_time(void **state)
{
    (void)state;
    const shop_shop_each_customer_row *row = NULL;
    shop_shop_each_customer_iter *iter = NULL;
    ok(shop_shop_each_customer(conn, PARAMS(each_customer, .from = stele_i64_v(1)), &iter, &err));
    for (int id = 1; id <= 3; id++) {
        assert_ok(shop_shop_each_customer_iter_next(iter, &row, &err), &err);
        assert_int_equal(row->c.id, id);
        assert_int_equal(row->orders, 3 - id);
    }
    assert_int_equal(shop_shop_each_customer_iter_next(iter, &row, &err), STELE_DONE);
    shop_shop_each_customer_iter_close(iter);

    iter = NULL;
    ok(shop_shop_each_customer(
        conn, PARAMS(each_customer, .from = stele_i64_v(2), .only_live = true), &iter, &err));
    assert_ok(shop_shop_each_customer_iter_next(iter, &row, &err), &err);
    assert_str(row->c.name, "Bob");
    shop_shop_each_customer_iter_close(iter); /* before the end */
    shop_shop_each_customer_iter_close(NULL);

    refuses(STELE_E_INPUT, shop_shop_each_customer(conn, NULL, &iter, &err));
    assert_string_equal(err.column, "from");
}

static void two_whole_rows_side_by_side(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_orders_with_customer_rows) rows = NULL;
    ok(shop_shop_orders_with_customer(
        conn, PARAMS(orders_with_customer, .status = shop_order_status_v(SHOP_ORDER_STATUS_PAID)),
        &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_int_equal(rows->rows[0].o.id, 2);
    assert_str(rows->rows[0].c.name, "Ann");
    assert_int_equal(rows->rows[1].o.id, 3);
    assert_int_equal(rows->rows[1].o.status, SHOP_ORDER_STATUS_PAID);
    assert_int_equal(rows->rows[1].c.id, 2);
    assert_str(rows->rows[1].o.total, "5.00");
}

static void scalars_and_a_whole_row(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_order_totals_rows) rows = NULL;
    ok(shop_shop_order_totals(conn, &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_int_equal(rows->rows[0].lines, 2);
    assert_int_equal(rows->rows[0].quantity, 3);
    assert_str(rows->rows[0].amount, "10.00");
    assert_str(rows->rows[0].o.note, "gift");
    assert_int_equal(rows->rows[2].lines, 0);
    assert_str(rows->rows[2].amount, "0");
    assert_int_equal(rows->rows[2].o.currency, SHOP_CURRENCY_USD);
}

static void an_outer_join_gives_nulls(void **state)
{
    (void)state;
    peer("DELETE FROM invoices; DELETE FROM orders WHERE id = 3");
    STELE_AUTO(shop_shop_customers_and_orders_rows) rows = NULL;
    ok(shop_shop_customers_and_orders(conn, &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_int_equal(rows->rows[0].order_id.v, 1);
    assert_int_equal(rows->rows[0].status.v, SHOP_ORDER_STATUS_OPEN);
    assert_true(rows->rows[1].currency.has);
    assert_str(rows->rows[2].name, "Bob");
    assert_false(rows->rows[2].order_id.has);
    assert_false(rows->rows[2].status.has);
    assert_false(rows->rows[2].currency.has);
    assert_null(rows->rows[2].total.data);
}

static void a_full_join(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_full_join_rows) rows = NULL;
    ok(shop_shop_full_join(conn, &rows, &err));
    assert_int_equal(rows->count, 5);
    assert_str(rows->rows[0].customer, "Ann");
    assert_null(rows->rows[0].product.data);
    assert_str(rows->rows[2].customer, "Pen");
    assert_str(rows->rows[2].product, "Pen");
    assert_null(rows->rows[3].customer.data);
    assert_str(rows->rows[3].product, "Ink");
}

static void a_nullable_column_that_is_sure(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_notes_of_orders_rows) rows = NULL;
    ok(shop_shop_notes_of_orders(conn, &rows, &err));
    assert_int_equal(rows->count, 1);
    assert_str(rows->rows[0].note, "gift");
}

static void distinct_on(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_newest_order_of_each_rows) rows = NULL;
    ok(shop_shop_newest_order_of_each(conn, &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_int_equal(rows->rows[0].order_id, 2);
    assert_false(rows->rows[0].placed_at.has);
    assert_int_equal(rows->rows[1].order_id, 3);
    assert_true(rows->rows[1].placed_at.v == ts_of("2026-02-02T00:00:00Z"));
}

static void a_lateral_join(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_last_two_orders_rows) rows = NULL;
    ok(shop_shop_last_two_orders(conn, &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_int_equal(rows->rows[0].order_id.v, 2);
    assert_int_equal(rows->rows[1].order_id.v, 1);
    assert_int_equal(rows->rows[2].order_id.v, 3);
}

static void exists_and_not_exists(void **state)
{
    (void)state;
    shop_shop_customers_who_bought_rows *bought = NULL;
    ok(shop_shop_customers_who_bought(
        conn, PARAMS(customers_who_bought, .product = stele_uuid_v(uuid_of(INK))), &bought, &err));
    assert_int_equal(bought->count, 1);
    assert_str(bought->rows[0].name, "Ann");
    shop_shop_customers_who_bought_rows_free(bought);

    peer("DELETE FROM invoices; DELETE FROM orders WHERE id = 3");
    STELE_AUTO(shop_shop_customers_without_orders_rows) without = NULL;
    ok(shop_shop_customers_without_orders(conn, &without, &err));
    assert_int_equal(without->count, 1);
    assert_str(without->rows[0].name, "Bob");
}

static void a_union(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_names_of_both_rows) rows = NULL;
    ok(shop_shop_names_of_both(conn, &rows, &err));
    assert_int_equal(rows->count, 5);
    assert_str(rows->rows[0].kind, "customer");
    assert_str(rows->rows[1].name, "Bob");
    assert_str(rows->rows[2].kind, "product");
    assert_str(rows->rows[4].name, "Pen");
}

static void a_table_with_itself(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_same_pairs_rows) rows = NULL;
    ok(shop_shop_same_pairs(conn, &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_int_equal(rows->rows[1].first, 1);
    assert_int_equal(rows->rows[1].second, 3);
}

static void names_that_c_and_sql_keep(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_shelf_words_rows) rows = NULL;
    ok(shop_shop_shelf_words(
        conn, PARAMS(shelf_words, .class_ = stele_text_v("pens"), .user = stele_text_v("ann")),
        &rows, &err));
    assert_int_equal(rows->count, 1);
    assert_int_equal(rows->rows[0].conn, 7);
    assert_str(rows->rows[0].class_, "pens");
    assert_null(rows->rows[0].default_.data);
    assert_int_equal(rows->rows[0].order, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKED(one_row_by_an_expression),
        ASKED(one_row_that_is_missing),
        ASKED(a_row_or_null),
        ASKED(a_required_parameter_that_is_unset),
        ASKED(rows_in_one_block),
        ASKED(no_rows),
        ASKED(one_row_at_a_time),
        ASKED(two_whole_rows_side_by_side),
        ASKED(scalars_and_a_whole_row),
        ASKED(an_outer_join_gives_nulls),
        ASKED(a_full_join),
        ASKED(a_nullable_column_that_is_sure),
        ASKED(distinct_on),
        ASKED(a_lateral_join),
        ASKED(exists_and_not_exists),
        ASKED(a_union),
        ASKED(a_table_with_itself),
        ASKED(names_that_c_and_sql_keep),
    };
    return RUN_GENERATED(tests);
}
