/*
 * What generated calls say when the server refuses: where, why, and what to do.
 */
#include "life.h"

static void assert_place(const char *sqlstate, const char *table, const char *column,
                         const char *constraint)
{
    assert_string_equal(err.sqlstate, sqlstate);
    assert_string_equal(err.table, table);
    assert_string_equal(err.column, column);
    assert_string_equal(err.constraint, constraint);
    assert_false(err.outcome_unknown);
    assert_int_not_equal(err.hint[0], '\0');
}

/* ---- constraints ---- */

static void unique_keys(void **state)
{
    (void)state;
    shop_customers_input input = {.email = stele_text_v("ann@example.org"),
                                  .name = stele_text_v("A")};
    fails(STELE_E_UNIQUE, shop_customers_insert(conn, &input, NULL, &err));
    assert_place("23505", "customers", "", "customers_email");
    assert_string_equal(err.schema, "public");
    assert_contains(err.detail, "(email)=(ann@example.org)");
    assert_contains(err.hint, "upsert");
    assert_false(err.retryable);
    input.email = stele_text_v("ANN@example.org"); /* the key on lower(email) */
    fails(STELE_E_UNIQUE, shop_customers_insert(conn, &input, NULL, &err));
    assert_place("23505", "customers", "", "customers_email_folded");
    shop_customers_patch patch = {.email = stele_text_v("bob@example.org")};
    fails(STELE_E_UNIQUE, shop_customers_update(conn, 901, &patch, NULL, &err));
    assert_place("23505", "customers", "", "customers_email");
    input = (shop_customers_input){
        .id = stele_i64_v(901), .email = stele_text_v("x@e"), .name = stele_text_v("X")};
    fails(STELE_E_UNIQUE, shop_customers_insert(conn, &input, NULL, &err));
    assert_place("23505", "customers", "", "customers_pkey");
}

static void foreign_keys(void **state)
{
    (void)state;
    shop_orders_input input = {.customer_id = stele_i64_v(5),
                               .currency = shop_currency_v(SHOP_CURRENCY_EUR)};
    fails(STELE_E_FOREIGN_KEY, shop_orders_insert(conn, &input, NULL, &err));
    assert_place("23503", "orders", "", "orders_customer");
    assert_contains(err.detail, "(customer_id)=(5)");
    assert_contains(err.hint, "first");
    shop_stock_key key = {.product_id = uuid_of(PEN), .warehouse_id = 901};
    shop_order_lines_input line = {.order_id = stele_i64_v(901),
                                   .line = stele_i16_v(1),
                                   .product_id = stele_uuid_v(uuid_of(PEN)),
                                   .warehouse_id = stele_i16_v(901),
                                   .quantity = stele_i32_v(1),
                                   .price = stele_text_v("1")};
    ok(shop_order_lines_insert(conn, &line, NULL, &err));
    fails(STELE_E_FOREIGN_KEY, shop_stock_delete(conn, &key, &err));
    assert_place("23503", "order_lines", "", "order_lines_stock");
}

/* One that is checked at the end is told by COMMIT. */
static void deferred_foreign_keys(void **state)
{
    (void)state;
    shop_invoices_input input = {.order_id = stele_i64_v(5), .number = stele_text_v("R-5")};
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    ok(shop_invoices_insert(conn, &input, NULL, &err));
    fails(STELE_E_FOREIGN_KEY, stele_tx_commit(conn, &err));
    assert_place("23503", "invoices", "", "invoices_order");
    assert_false(stele_conn_in_transaction(conn));
    assert_int_equal(number("SELECT count(*) FROM invoices"), 1);
}

static void checks(void **state)
{
    (void)state;
    shop_customers_input input = {.email = stele_text_v("nobody"), .name = stele_text_v("N")};
    fails(STELE_E_CHECK, shop_customers_insert(conn, &input, NULL, &err));
    assert_place("23514", "customers", "", "customers_email_has_at");
    assert_contains(err.hint, "rule");
    shop_products_patch patch = {.price = stele_text_v("-0.01")};
    fails(STELE_E_CHECK, shop_products_update(conn, uuid_of(PEN), &patch, NULL, &err));
    assert_string_equal(err.table, "products");
    assert_contains(err.constraint, "price");
    shop_stock_key key = {.product_id = uuid_of(PEN), .warehouse_id = 901};
    shop_stock_patch stock = {.on_hand = stele_i32_v(1)};
    fails(STELE_E_CHECK, shop_stock_update(conn, &key, &stock, NULL, &err));
    assert_place("23514", "stock", "", "stock_not_negative");
}

/* A trigger that speaks like a constraint is heard like one. */
static void triggers(void **state)
{
    (void)state;
    peer("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
         " 'closed on Sundays' USING ERRCODE = '23514', HINT = 'come on Monday'; END $$;"
         "CREATE TRIGGER refuse BEFORE INSERT ON settings EXECUTE FUNCTION refuse()");
    shop_settings_input input = {.key = stele_text_v("k")};
    stele_status st = shop_settings_insert(conn, &input, NULL, &err);
    peer("DROP FUNCTION refuse() CASCADE");
    assert_int_equal(st, STELE_E_CHECK);
    assert_string_equal(err.message, "closed on Sundays");
    assert_string_equal(err.hint, "come on Monday");
    assert_string_equal(err.table, "settings"); /* the server did not say */
}

static void columns_that_are_not_null(void **state)
{
    (void)state;
    peer("ALTER TABLE customers ALTER vip DROP DEFAULT");
    shop_customers_input input = {.email = stele_text_v("x@e"), .name = stele_text_v("X")};
    stele_status st = shop_customers_insert(conn, &input, NULL, &err);
    peer("ALTER TABLE customers ALTER vip SET DEFAULT false");
    assert_int_equal(st, STELE_E_NOT_NULL);
    assert_place("23502", "customers", "vip", "");
}

/* ---- values: the server names no column, we do ---- */

static void values_that_are_too_long(void **state)
{
    (void)state;
    char number_of[50];
    memset(number_of, 'x', sizeof number_of);
    number_of[41] = '\0';
    shop_invoices_input input = {.order_id = stele_i64_v(901),
                                 .number = stele_text_v(number_of),
                                 .note =
                                     stele_text_n_v("a longer text than the number is, but free")};
    fails(STELE_E_VALUE, shop_invoices_insert(conn, &input, NULL, &err));
    assert_place("22001", "invoices", "number", "");
    number_of[40] = '\0';
    input.number = stele_text_v(number_of);
    ok(shop_invoices_insert(conn, &input, NULL, &err));
    /* Characters are counted, not bytes. */
    for (int i = 0; i < 40; i += 2)
        memcpy(number_of + i, "\xc3\xa9", 2);
    input.number = stele_text_v(number_of);
    ok(shop_invoices_insert(conn, &input, NULL, &err));
}

static void values_out_of_range(void **state)
{
    (void)state;
    shop_products_patch patch = {.name = stele_text_v("n"), .price = stele_text_v("12345678901")};
    fails(STELE_E_VALUE, shop_products_update(conn, uuid_of(PEN), &patch, NULL, &err));
    assert_place("22003", "products", "price", "");
    patch.price = stele_text_v("1,5");
    stele_status st = shop_products_update(conn, uuid_of(PEN), &patch, NULL, &err);
    assert_true(st == STELE_E_VALUE || st == STELE_E_INPUT);
    assert_string_equal(err.column, "price");
    assert_true(holds("SELECT price = 1.5 AND name = 'Pen' FROM products WHERE sku = 'PEN'"));
}

static void values_the_type_does_not_have(void **state)
{
    (void)state;
    shop_customers_patch json = {.name = stele_text_v("n"), .notes = stele_text_n_v("{a: 1}")};
    fails(STELE_E_VALUE, shop_customers_update(conn, 901, &json, NULL, &err));
    assert_place("22P02", "customers", "notes", "");
    shop_warehouses_patch address = {.name = stele_text_v("n"), .gateway = stele_text_v("08:00")};
    fails(STELE_E_VALUE, shop_warehouses_update(conn, 901, &address, NULL, &err));
    assert_place("22P02", "warehouses", "gateway", "");
    shop_customers_patch latin = {.phone = stele_text_n_v("1"), .name = stele_text_v("caf\xe9")};
    stele_status st = shop_customers_update(conn, 901, &latin, NULL, &err);
    assert_int_equal(st, STELE_E_VALUE);
    assert_string_equal(err.column, "name");
    assert_true(holds("SELECT name = 'Ann' FROM customers WHERE id = 901"));
}

/* ---- inside a transaction ---- */

static void an_error_aborts_the_transaction(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    shop_customers_patch patch = {.email = stele_text_v("nobody")};
    shop_customers_patch name = {.name = stele_text_v("Anna")};
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    ok(shop_customers_update(conn, 901, &name, NULL, &err));
    fails(STELE_E_CHECK, shop_customers_update(conn, 901, &patch, NULL, &err));
    fails(STELE_E_ABORTED, shop_customers_find(conn, 901, &row, &err));
    assert_contains(err.hint, "roll back");
    fails(STELE_E_ABORTED, stele_tx_commit(conn, &err));
    ok(shop_customers_find(conn, 901, &row, &err));
    assert_str(row->name, "Ann");
    shop_customers_row_free(row);
}

/* ---- a database that differs ---- */

static void tables_that_are_missing(void **state)
{
    (void)state;
    stele_db *nowhere = NULL;
    int64_t count = 0;
    assert_ok(stele_db_derive(db, &(stele_names){.prefix = "no_"}, &nowhere, &err), &err);
    assert_ok(stele_conn_use(conn, nowhere, &err), &err);
    stele_db_close(nowhere);
    fails(STELE_E_SCHEMA, shop_orders_count(conn, NULL, &count, &err));
    assert_place("42P01", "orders", "", "");
    assert_contains(err.message, "no_orders");
    assert_contains(err.hint, "stele_db_ensure");
}

/* NULL where the schema promises a value is told as it is read, not passed on as an empty text. */
static void promises_that_are_broken(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    peer("ALTER TABLE customers ALTER name DROP NOT NULL; UPDATE customers SET name = NULL");
    stele_status st = shop_customers_find(conn, 901, &row, &err);
    peer("UPDATE customers SET name = 'n'; ALTER TABLE customers ALTER name SET NOT NULL");
    assert_int_equal(st, STELE_E_NULL);
    assert_string_equal(err.table, "customers");
    assert_string_equal(err.column, "name");
    assert_null(row);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        STOCKED(unique_keys),
        STOCKED(foreign_keys),
        STOCKED(deferred_foreign_keys),
        STOCKED(checks),
        STOCKED(triggers),
        STOCKED(columns_that_are_not_null),
        STOCKED(values_that_are_too_long),
        STOCKED(values_out_of_range),
        STOCKED(values_the_type_does_not_have),
        STOCKED(an_error_aborts_the_transaction),
        GENERATED(tables_that_are_missing),
        STOCKED(promises_that_are_broken),
    };
    return RUN_GENERATED(tests);
}
