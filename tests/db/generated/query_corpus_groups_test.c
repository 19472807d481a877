/* Queries that count, rank and recurse. */
#define _GNU_SOURCE
#include "query_data.h"

static void a_tree(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_category_tree_rows) rows = NULL;
    ok(shop_shop_category_tree(conn, &rows, &err));
    assert_int_equal(rows->count, 5);
    assert_str(rows->rows[3].path, "Office > Pens > Ink pens");
    assert_int_equal(rows->rows[3].depth, 2);
    assert_int_equal(rows->rows[4].id, 5);
}

static void a_parameter_in_a_recursion(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_count_down_rows) rows = NULL;
    ok(shop_shop_count_down(conn, PARAMS(count_down, .start = stele_i32_v(40)), &rows, &err));
    assert_int_equal(rows->count, 40);
    assert_int_equal(rows->rows[0].n, 40);
    assert_int_equal(rows->rows[39].n, 1);
}

static void windows(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_running_totals_rows) rows = NULL;
    ok(shop_shop_running_totals(conn, &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_str(rows->rows[0].running, "10.50");
    assert_str(rows->rows[1].running, "30.50");
    assert_str(rows->rows[2].running, "5.00");
    assert_int_equal(rows->rows[1].place, 1);
    assert_int_equal(rows->rows[2].place, 3);
}

static void a_window_that_begins_with_null(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_change_of_price_rows) rows = NULL;
    ok(shop_shop_change_of_price(conn, &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_null(rows->rows[0].before.data);
    assert_str(rows->rows[1].before, "1.50");
    assert_str(rows->rows[2].price, "12.25");
}

static void filtered_aggregates(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_status_counts_row) row = NULL;
    ok(shop_shop_status_counts(conn, &row, &err));
    assert_int_equal(row->open, 1);
    assert_int_equal(row->paid, 2);
    assert_int_equal(row->all_orders, 3);
}

static void grouping_sets(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_sales_cube_rows) rows = NULL;
    ok(shop_shop_sales_cube(conn, &rows, &err));
    assert_int_equal(rows->count, 6);
    assert_int_equal(rows->rows[0].currency.v, SHOP_CURRENCY_EUR);
    assert_int_equal(rows->rows[0].status.v, SHOP_ORDER_STATUS_OPEN);
    assert_false(rows->rows[2].status.has);
    assert_str(rows->rows[2].total, "30.50");
    assert_false(rows->rows[5].currency.has);
    assert_str(rows->rows[5].total, "35.50");
}

static void having(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_big_spenders_rows) rows = NULL;
    ok(shop_shop_big_spenders(conn, PARAMS(big_spenders, .at_least = stele_text_v("30.5")), &rows,
                              &err));
    assert_int_equal(rows->count, 1);
    assert_int_equal(rows->rows[0].customer_id, 1);
    assert_str(rows->rows[0].spent, "30.50");
}

static void within_group(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_median_price_row) row = NULL;
    ok(shop_shop_median_price(conn, &row, &err));
    assert_true(row->median == 7.0);
}

static void values_as_a_table(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_prices_as_values_rows) rows = NULL;
    ok(shop_shop_prices_as_values(conn, PARAMS(prices_as_values, .factor = stele_text_v("2")),
                                  &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_str(rows->rows[0].label, "low");
    assert_str(rows->rows[1].price, "5.0");
}

static void a_month_of_days(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_orders_of_month_rows) rows = NULL;
    ok(shop_shop_orders_of_month(
        conn, PARAMS(orders_of_month, .month = stele_date_v(date_of("2026-01-01"))), &rows, &err));
    assert_int_equal(rows->count, 1);
    assert_int_equal(rows->rows[0].orders, 2);
    assert_true(rows->rows[0].day == ts_of("2026-01-10T00:00:00Z"));
}

static void times_and_intervals(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_opening_hours_rows) rows = NULL;
    ok(shop_shop_opening_hours(conn, &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_true(rows->rows[0].open_for.micros == INT64_C(10) * 3600 * 1000000);
    assert_true(rows->rows[0].handled_at == INT64_C(10) * 3600 * 1000000);
    assert_true(rows->rows[1].open_for.micros == INT64_C(17) * 1800 * 1000000);
}

static void dates_that_may_be_null(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_ages_rows) rows = NULL;
    ok(shop_shop_ages(conn, PARAMS(ages, .today = stele_date_v(date_of("1990-05-31"))), &rows,
                      &err));
    assert_int_equal(rows->count, 3);
    assert_int_equal(rows->rows[0].days.v, 30);
    assert_false(rows->rows[1].days.has);
}

static void live_rows_of_a_table_with_expiry(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_live_carts_rows) rows = NULL;
    ok(shop_shop_live_carts(conn, &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_uuid(rows->rows[0].id, CART);
    assert_false(rows->rows[0].left.has);
    assert_uuid(rows->rows[1].id, CART_LATER);
    int64_t left = rows->rows[1].left.v.micros;
    assert_true(rows->rows[1].left.v.days == 0 && left > INT64_C(86000) * 1000000);
}

static void distinct_counts(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_visits_rows) rows = NULL;
    ok(shop_shop_visits(conn, &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_int_equal(rows->rows[0].visitors, 2);
    assert_str(rows->rows[1].path, "/map");
    assert_int_equal(rows->rows[1].visitors, 0);
}

static void an_array_as_a_table(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_wished_products_rows) rows = NULL;
    ok(shop_shop_wished_products(conn, PARAMS(wished_products, .customer = stele_i64_v(1)), &rows,
                                 &err));
    assert_int_equal(rows->count, 2);
    assert_str(rows->rows[0].title, "Birthday");
    assert_str(rows->rows[0].product, "Map");
    assert_str(rows->rows[1].product, "Pen");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKED(a_tree),
        ASKED(a_parameter_in_a_recursion),
        ASKED(windows),
        ASKED(a_window_that_begins_with_null),
        ASKED(filtered_aggregates),
        ASKED(grouping_sets),
        ASKED(having),
        ASKED(within_group),
        ASKED(values_as_a_table),
        ASKED(a_month_of_days),
        ASKED(times_and_intervals),
        ASKED(dates_that_may_be_null),
        ASKED(live_rows_of_a_table_with_expiry),
        ASKED(distinct_counts),
        ASKED(an_array_as_a_table),
    };
    return RUN_GENERATED(tests);
}
