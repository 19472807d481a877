/* Queries that write: upserts, statements that move rows from table to table, locks. */
#define _GNU_SOURCE
#include "query_data.h"

static void an_insert_gives_back_what_the_server_made(void **state)
{
    (void)state;
    STELE_AUTO(shop_shop_add_customer_row) row = NULL;
    ok(shop_shop_add_customer(conn,
                              PARAMS(add_customer, .email = stele_text_v("dan@example.org"),
                                     .name = stele_text_v("Dan"), .phone = stele_text_n_null()),
                              &row, &err));
    assert_int_equal(row->id, 101);
    assert_true(holds("SELECT phone IS NULL FROM customers WHERE name = 'Dan'"));
    shop_shop_add_customer_row *again = NULL;
    fails(STELE_E_UNIQUE,
          shop_shop_add_customer(conn,
                                 PARAMS(add_customer, .email = stele_text_v("dan@example.org"),
                                        .name = stele_text_v("Dan"), .phone = stele_text_n_v("+1")),
                                 &again, &err));
    assert_string_equal(err.constraint, "customers_email");
}

static void null_is_not_unset(void **state)
{
    (void)state;
    shop_shop_add_customer_row *row = NULL;
    refuses(STELE_E_INPUT,
            shop_shop_add_customer(conn,
                                   PARAMS(add_customer, .email = stele_text_v("dan@example.org"),
                                          .name = stele_text_v("Dan")),
                                   &row, &err));
    assert_string_equal(err.column, "phone");
}

static void an_upsert(void **state)
{
    (void)state;
    shop_settings_row *row = NULL;
    ok(shop_shop_put_setting(
        conn,
        PARAMS(put_setting, .key = stele_text_v("theme"), .value = stele_text_n_v("\"light\"")),
        &row, &err));
    assert_str(row->value, "\"light\"");
    assert_true(row->updated_at >= row->created_at);
    shop_settings_row_free(row);
    ok(shop_shop_put_setting(
        conn, PARAMS(put_setting, .key = stele_text_v("new"), .value = stele_text_n_null()), &row,
        &err));
    assert_null(row->value.data);
    shop_settings_row_free(row);
    assert_int_equal(number("SELECT count(*) FROM settings"), 3);
}

static void an_insert_that_may_do_nothing(void **state)
{
    (void)state;
    shop_shop_add_setting_once_row *row = NULL;
    ok(shop_shop_add_setting_once(
        conn, PARAMS(add_setting_once, .key = stele_text_v("theme"), .value = stele_text_n_v("1")),
        &row, &err));
    assert_null(row);
    ok(shop_shop_add_setting_once(
        conn, PARAMS(add_setting_once, .key = stele_text_v("other"), .value = stele_text_n_v("1")),
        &row, &err));
    assert_str(row->key, "other");
    shop_shop_add_setting_once_row_free(row);
}

static void commands_and_their_counts(void **state)
{
    (void)state;
    uint64_t count = 99;
    ok(shop_shop_remove_setting(conn, PARAMS(remove_setting, .key = stele_text_v("none")), &err));
    ok(shop_shop_remove_setting(conn, PARAMS(remove_setting, .key = stele_text_v("empty")), &err));
    ok(shop_shop_clear_settings(conn, &count, &err));
    assert_int_equal(count, 1);
    ok(shop_shop_clear_settings(conn, &count, &err));
    assert_int_equal(count, 0);
    ok(shop_shop_clear_settings(conn, NULL, &err));
}

static void a_cart_becomes_an_order(void **state)
{
    (void)state;
    STELE_AUTO(shop_order_lines_rows) rows = NULL;
    ok(shop_shop_copy_cart(conn,
                           PARAMS(copy_cart, .cart = stele_uuid_v(uuid_of(CART)),
                                  .customer = stele_i64_v(1), .warehouse = stele_i16_v(1)),
                           &rows, &err));
    assert_int_equal(rows->count, 2);
    assert_int_equal(rows->rows[0].order_id, 101);
    assert_uuid(rows->rows[0].product_id, INK);
    assert_str(rows->rows[1].amount, "3.00");
    assert_int_equal(number("SELECT count(*) FROM cart_items"), 0);
    uint64_t count;
    ok(shop_shop_total_orders(conn, &count, &err));
    assert_int_equal(count, 3);
    assert_true(holds("SELECT total = 10.00 FROM orders WHERE id = 101"));
}

static void stock_is_reserved_while_it_lasts(void **state)
{
    (void)state;
    shop_stock_row *row = NULL;
    shop_shop_reserve_params params = {.product = stele_uuid_v(uuid_of(INK)),
                                       .warehouse = stele_i16_v(1),
                                       .quantity = stele_i32_v(4)};
    ok(shop_shop_reserve(conn, &params, &row, &err));
    assert_int_equal(row->available, 1);
    assert_int_equal(row->version, 2);
    shop_stock_row_free(row);
    ok(shop_shop_reserve(conn, &params, &row, &err));
    assert_null(row);
}

static void the_policy_of_a_write(void **state)
{
    (void)state;
    stele_uuid ids[] = {uuid_of(PEN), uuid_of(MAP)};
    stele_uuid_array array = {.items = ids, .count = 2};
    uint64_t count;
    ok(shop_shop_forget_products(conn, PARAMS(forget_products, .ids = stele_uuid_array_v(array)),
                                 &count, &err));
    assert_int_equal(count, 2);
    ok(shop_shop_forget_products(conn, PARAMS(forget_products, .ids = stele_uuid_array_v(array)),
                                 &count, &err));
    assert_int_equal(count, 0);
}

static void two_workers_take_two_invoices(void **state)
{
    (void)state;
    shop_invoices_row *mine = NULL;
    shop_invoices_row *theirs = NULL;
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_ok(stele_tx_begin(other, NULL, &err), &err);
    ok(shop_shop_next_invoice(conn, &mine, &err));
    assert_ok(shop_shop_next_invoice(other, &theirs, &err), &err);
    assert_str(mine->number, "R-1");
    assert_str(theirs->number, "R-2");
    shop_invoices_row_free(mine);
    shop_invoices_row_free(theirs);
    assert_ok(stele_tx_commit(conn, &err), &err);
    ok(shop_shop_next_invoice(conn, &mine, &err));
    assert_str(mine->number, "R-1");
    shop_invoices_row_free(mine);
    assert_ok(stele_tx_rollback(other, &err), &err);
}

static void a_batch_is_taken_once(void **state)
{
    (void)state;
    shop_shop_take_invoices_rows *rows = NULL;
    ok(shop_shop_take_invoices(conn, PARAMS(take_invoices, .most = stele_i32_v(10)), &rows, &err));
    assert_int_equal(rows->count, 2);
    shop_shop_take_invoices_rows_free(rows);
    ok(shop_shop_take_invoices(conn, PARAMS(take_invoices, .most = stele_i32_v(10)), &rows, &err));
    assert_int_equal(rows->count, 0);
    shop_shop_take_invoices_rows_free(rows);
    assert_int_equal(number("SELECT count(*) FROM invoices WHERE status = 'open' AND version = 2"),
                     2);
}

static void arrays_become_rows(void **state)
{
    (void)state;
    stele_str actors[] = {stele_s("eve"), stele_s("eve"), stele_s("mallory")};
    stele_str changes[] = {stele_s("{\"n\": 1}"), stele_s("{\"n\": 2}"), stele_s("[]")};
    shop_shop_log_many_params params = {
        .actors = stele_str_array_v((stele_str_array){.items = actors, .count = 3}),
        .changes = stele_str_array_v((stele_str_array){.items = changes, .count = 3}),
    };
    uint64_t count;
    ok(shop_shop_log_many(conn, &params, &count, &err));
    assert_int_equal(count, 3);
    STELE_AUTO(shop_shop_last_changes_rows) rows = NULL;
    ok(shop_shop_last_changes(
        conn, PARAMS(last_changes, .actor = stele_text_v("ann"), .most = stele_i64_v(1)), &rows,
        &err));
    assert_int_equal(rows->count, 1);
    assert_str(rows->rows[0].change, "{\"n\": 2}");
}

static void the_servers_clock(void **state)
{
    (void)state;
    uint64_t count;
    stele_interval day = {.days = 1};
    ok(shop_shop_put_off(
        conn,
        PARAMS(put_off, .id = stele_uuid_v(uuid_of(CART_PAST)), .until = stele_ts_n_after(day)),
        &count, &err));
    assert_int_equal(count, 1);
    assert_true(holds("SELECT expires_at = updated_at + interval '1 day' FROM carts WHERE id = "
                      "'" CART_PAST "'"));
    ok(shop_shop_put_off(
        conn, PARAMS(put_off, .id = stele_uuid_v(uuid_of(CART_PAST)), .until = stele_ts_n_null()),
        &count, &err));
    assert_true(holds("SELECT expires_at IS NULL FROM carts WHERE id = '" CART_PAST "'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKED(an_insert_gives_back_what_the_server_made),
        ASKED(null_is_not_unset),
        ASKED(an_upsert),
        ASKED(an_insert_that_may_do_nothing),
        ASKED(commands_and_their_counts),
        ASKED(a_cart_becomes_an_order),
        ASKED(stock_is_reserved_while_it_lasts),
        ASKED(the_policy_of_a_write),
        ASKED(two_workers_take_two_invoices),
        ASKED(a_batch_is_taken_once),
        ASKED(arrays_become_rows),
        ASKED(the_servers_clock),
    };
    return RUN_GENERATED(tests);
}
