/*
 * insert, upsert and update: what is set, what is left alone, and what the server adds.
 */
#include "life.h"

/* ---- insert ---- */

static void defaults_are_the_servers(void **state)
{
    (void)state;
    shop_customers_input input = {.email = stele_text_v("e@e"), .name = stele_text_v("E")};
    STELE_AUTO(shop_customers_row) row = NULL;
    ok(shop_customers_insert(conn, &input, &row, &err));
    assert_int_equal(row->id, 1);
    assert_false(row->vip);
    assert_true(row->created_at == row->updated_at);
    assert_true(holds("SELECT abs(extract(epoch FROM now() - created_at)) < 60 FROM customers"));
    assert_null(row->phone.data);
    assert_null(row->notes.data);
    assert_false(row->birthday.has || row->last_address.has || row->deleted_at.has);
}

/* A text given as a default is not NULL set; NULL set by hand wins over the default. */
static void unset_and_null_differ(void **state)
{
    (void)state;
    peer("ALTER TABLE carts ALTER expires_at SET DEFAULT '2999-01-01'");
    shop_carts_input unset = {.customer_id = stele_i64_n_null()};
    shop_carts_input null = {.expires_at = stele_ts_n_null()};
    shop_carts_row *row = NULL;
    ok(shop_carts_insert(conn, &unset, &row, &err));
    assert_ts(row->expires_at.v, "2999-01-01T00:00:00Z");
    shop_carts_row_free(row);
    ok(shop_carts_insert(conn, &null, &row, &err));
    assert_false(row->expires_at.has);
    shop_carts_row_free(row);
    peer("ALTER TABLE carts ALTER expires_at DROP DEFAULT");
}

/* Nothing is set: INSERT … DEFAULT VALUES. */
static void a_row_of_nothing_but_defaults(void **state)
{
    (void)state;
    shop_carts_input nothing = {0};
    shop_carts_row *row = NULL;
    ok(shop_carts_insert(conn, &nothing, &row, &err));
    assert_int_equal(row->id.bytes[6] >> 4, 4); /* a random uuid */
    assert_false(row->customer_id.has);
    shop_carts_row_free(row);
    ok(shop_carts_insert(conn, &nothing, NULL, &err));
    COUNTS(shop_carts, NULL, 2);
}

static void what_is_required_is_asked_for_here(void **state)
{
    (void)state;
    shop_products_input input = {.sku = stele_text_v("A"), .name = stele_text_v("A")};
    shop_products_row *row = NULL;
    refuses(STELE_E_INPUT, shop_products_insert(conn, &input, &row, &err));
    assert_string_equal(err.table, "products");
    assert_string_equal(err.column, "price");
    assert_contains(err.message, "price");
    refuses(STELE_E_INPUT, shop_products_upsert(conn, &input, &row, NULL, &err));
    assert_string_equal(err.column, "price");
    assert_null(row);
    COUNTS(shop_products, NULL, 0);
}

static void serial_columns_count_on(void **state)
{
    (void)state;
    shop_warehouses_input input = {.gateway = stele_text_v("00:00:00:00:00:01")};
    shop_warehouses_row *row = NULL;
    for (int i = 1; i <= 3; i++) {
        char name[] = {'w', (char)('0' + i), '\0'};
        input.name = stele_text_v(name);
        ok(shop_warehouses_insert(conn, &input, &row, &err));
        assert_int_equal(row->id, i);
        assert_int_equal(row->opens, 8 * INT64_C(3600000000));
        assert_int_equal(row->handling.micros, 7200000000);
        shop_warehouses_row_free(row);
    }
}

/* Times by the server's clock, in both types of timestamp. */
static void now_and_after_are_the_servers(void **state)
{
    (void)state;
    clocks_input input = {.id = stele_i32_v(1),
                          .naive = stele_ts_now(),
                          .zoned = stele_ts_now(),
                          .naive_n = stele_ts_n_after(stele_days(1)),
                          .zoned_n = stele_ts_n_after(stele_days(1))};
    STELE_AUTO(clocks_row) row = NULL;
    ok(clocks_insert(conn, &input, &row, &err));
    assert_true(row->naive == row->zoned);
    assert_int_equal(row->naive_n.v - row->naive, INT64_C(86400000000));
    assert_int_equal(row->zoned_n.v - row->zoned, INT64_C(86400000000));
    assert_true(
        holds("SELECT zoned = naive AT TIME ZONE 'UTC' AND now() - zoned BETWEEN '0' AND '1 min'"
              " FROM clocks"));
}

/* ---- upsert ---- */

static void an_upsert_tells_what_it_did(void **state)
{
    (void)state;
    shop_customers_input input = {.email = stele_text_v("e@e"), .name = stele_text_v("E")};
    shop_customers_row *row = NULL;
    bool inserted = false;
    ok(shop_customers_upsert_by_email(conn, &input, &row, &inserted, &err));
    assert_true(inserted);
    assert_int_equal(row->id, 1);
    shop_customers_row_free(row);
    input.name = stele_text_v("F");
    ok(shop_customers_upsert_by_email(conn, &input, &row, &inserted, &err));
    assert_false(inserted);
    assert_int_equal(row->id, 1);
    assert_str(row->name, "F");
    shop_customers_row_free(row);
    ok(shop_customers_upsert_by_email(conn, &input, NULL, NULL, &err));
    COUNTS(shop_customers, NULL, 1);
}

/* What is unset stays as it is; what is NULL is set to NULL; touch moves on by itself. */
static void an_upsert_sets_what_is_set(void **state)
{
    (void)state;
    peer("INSERT INTO customers (id, email, name, phone, birthday, created_at, updated_at) VALUES"
         " (5, 'e@e', 'E', '5', '2000-01-01', '2026-01-01Z', '2026-01-01Z')");
    shop_customers_input input = {
        .email = stele_text_v("e@e"), .name = stele_text_v("E2"), .phone = stele_text_n_null()};
    STELE_AUTO(shop_customers_row) row = NULL;
    bool inserted = true;
    ok(shop_customers_upsert_by_email(conn, &input, &row, &inserted, &err));
    assert_false(inserted);
    assert_int_equal(row->id, 5);
    assert_str(row->name, "E2");
    assert_null(row->phone.data);
    assert_date(row->birthday.v, "2000-01-01");
    assert_ts(row->created_at, "2026-01-01T00:00:00Z");
    assert_true(row->updated_at > row->created_at);
}

/* A tombstone with the same key is no conflict: the key is that of rows that live. */
static void an_upsert_passes_tombstones(void **state)
{
    (void)state;
    peer("INSERT INTO customers (id, email, name, deleted_at) VALUES (5, 'e@e', 'old', now())");
    shop_customers_input input = {.email = stele_text_v("e@e"), .name = stele_text_v("new")};
    bool inserted = false;
    ok(shop_customers_upsert_by_email(conn, &input, NULL, &inserted, &err));
    assert_true(inserted);
    assert_true(holds("SELECT count(*) = 2 AND max(name) FILTER (WHERE id = 5) = 'old'"
                      " FROM customers"));
}

/* A key that spans deleted rows meets the tombstone, which comes back to life. */
static void an_upsert_revives_what_keeps_its_key(void **state)
{
    (void)state;
    peer("INSERT INTO invoices (id, order_id, number, deleted_at, version) VALUES"
         " (5, 901, 'R-5', now(), 7)");
    shop_invoices_input input = {.order_id = stele_i64_v(901), .number = stele_text_v("R-5")};
    STELE_AUTO(shop_invoices_row) row = NULL;
    bool inserted = true;
    ok(shop_invoices_upsert_by_number(conn, &input, &row, &inserted, &err));
    assert_false(inserted);
    assert_int_equal(row->id, 5);
    assert_false(row->deleted_at.has);
    assert_int_equal(row->version, 8);
}

static void an_upsert_moves_the_version(void **state)
{
    (void)state;
    shop_stock_input input = {.product_id = stele_uuid_v(uuid_of(PEN)),
                              .warehouse_id = stele_i16_v(901)};
    shop_stock_row *row = NULL;
    bool inserted = true;
    for (int version = 2; version < 5; version++) { /* nothing but the key is set */
        ok(shop_stock_upsert(conn, &input, &row, &inserted, &err));
        assert_false(inserted);
        assert_int_equal(row->version, version);
        assert_int_equal(row->on_hand, 90);
        assert_int_equal(row->reserved, 9);
        shop_stock_row_free(row);
    }
}

/* Nothing but the key is set, and no policy adds to it: the row is handed back as it is. */
static void an_upsert_of_a_key_alone(void **state)
{
    (void)state;
    peer("INSERT INTO cart_items VALUES ('" CART "', '" PEN "', 5)");
    shop_cart_items_input input = {.cart_id = stele_uuid_v(uuid_of(CART)),
                                   .product_id = stele_uuid_v(uuid_of(PEN))};
    STELE_AUTO(shop_cart_items_row) row = NULL;
    bool inserted = true;
    ok(shop_cart_items_upsert(conn, &input, &row, &inserted, &err));
    assert_false(inserted);
    assert_int_equal(row->quantity, 5); /* the default is for new rows */
}

/* An expired row is one that nobody sees: an upsert starts it anew. */
static void an_upsert_revives_what_expired(void **state)
{
    (void)state;
    peer("INSERT INTO session_states (app_name, user_id, session_id, state, expires_at) VALUES"
         " ('a', 'u', 's', '1', now() AT TIME ZONE 'UTC' - interval '1 s'),"
         " ('a', 'u', 't', '1', now() AT TIME ZONE 'UTC' + interval '1 h')");
    session_states_unique_active_key key = {stele_s("a"), stele_s("u"), stele_s("s")};
    session_states_input input = {.app_name = stele_text_v("a"),
                                  .user_id = stele_text_v("u"),
                                  .session_id = stele_text_v("s"),
                                  .state = stele_text_n_v("2")};
    session_states_row *row = NULL;
    bool inserted = true;
    fails(STELE_E_NOT_FOUND, session_states_find_by_unique_active(conn, &key, &row, &err));
    fails(STELE_E_UNIQUE, session_states_insert(conn, &input, NULL, &err));
    ok(session_states_upsert_by_unique_active(conn, &input, &row, &inserted, &err));
    assert_false(inserted);
    assert_int_equal(row->id, 1);
    assert_str(row->state, "2");
    assert_false(row->expires_at.has); /* as a new row would have it */
    session_states_row_free(row);
    /* One that has not expired keeps its term. */
    input.session_id = stele_text_v("t");
    ok(session_states_upsert_by_unique_active(conn, &input, &row, &inserted, &err));
    assert_true(row->expires_at.has);
    session_states_row_free(row);
    input.expires_at = stele_ts_n_null();
    ok(session_states_upsert_by_unique_active(conn, &input, &row, &inserted, &err));
    assert_false(row->expires_at.has);
    session_states_row_free(row);
}

/* The other keys of the table still hold. */
static void an_upsert_meets_another_key(void **state)
{
    (void)state;
    peer("INSERT INTO customers (email, name, phone) VALUES ('a@e', 'A', '1'), ('b@e', 'B', '2')");
    shop_customers_input input = {
        .email = stele_text_v("c@e"), .name = stele_text_v("C"), .phone = stele_text_n_v("2")};
    fails(STELE_E_UNIQUE, shop_customers_upsert_by_email(conn, &input, NULL, NULL, &err));
    assert_string_equal(err.constraint, "customers_phone");
    STELE_AUTO(shop_customers_row) row = NULL;
    ok(shop_customers_upsert_by_phone(conn, &input, &row, NULL, &err));
    assert_str(row->email, "c@e");
    assert_str(row->name, "C");
}

/* ---- update ---- */

static void a_patch_changes_what_it_sets(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    peer("UPDATE customers SET phone = '1', birthday = '2000-01-01' WHERE id = 901");
    shop_customers_patch patch = {.phone = stele_text_n_null()};
    ok(shop_customers_update(conn, 901, &patch, &row, &err));
    assert_null(row->phone.data);
    assert_date(row->birthday.v, "2000-01-01"); /* unset is not NULL */
    assert_str(row->name, "Ann");
    assert_true(row->updated_at > ts_of("2026-01-01T00:00:00Z"));
    assert_ts(row->created_at, "2026-01-01T00:00:00Z");
    shop_customers_row_free(row);
    patch.updated_at = stele_ts_v(ts_of("2026-02-02T00:00:00Z"));
    ok(shop_customers_update(conn, 901, &patch, &row, &err));
    assert_ts(row->updated_at, "2026-02-02T00:00:00Z");
    shop_customers_row_free(row);
    assert_true(holds("SELECT name = 'Bob' AND updated_at = '2026-01-02Z' FROM customers"
                      " WHERE id = 902"));
}

static void an_empty_patch_is_refused(void **state)
{
    (void)state;
    shop_customers_patch nothing = {0};
    shop_stock_key key = {.product_id = uuid_of(PEN), .warehouse_id = 901};
    shop_stock_patch version = {.if_version = stele_i64_v(1)};
    refuses(STELE_E_INPUT, shop_customers_update(conn, 901, &nothing, NULL, &err));
    assert_string_equal(err.table, "customers");
    refuses(STELE_E_INPUT, shop_stock_update(conn, &key, &version, NULL, &err));
    assert_true(holds("SELECT updated_at = '2026-01-01Z' FROM customers WHERE id = 901"));
}

static void a_patch_of_no_row(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    shop_customers_patch patch = {.name = stele_text_v("X")};
    fails(STELE_E_NOT_FOUND, shop_customers_update(conn, 1, &patch, &row, &err));
    assert_string_equal(err.table, "customers");
    fails(STELE_E_NOT_FOUND, shop_customers_update(conn, 1, &patch, NULL, &err));
    peer("UPDATE customers SET deleted_at = now() WHERE id = 901");
    fails(STELE_E_NOT_FOUND, shop_customers_update(conn, 901, &patch, NULL, &err));
    assert_null(row);
    assert_true(holds("SELECT count(*) = 0 FROM customers WHERE name = 'X'"));
}

/* Of two who read the same version one is told to read again. */
static void a_version_is_checked(void **state)
{
    (void)state;
    shop_stock_key key = {.product_id = uuid_of(PEN), .warehouse_id = 901};
    shop_stock_row *row = NULL;
    shop_stock_patch patch = {.on_hand = stele_i32_v(80), .if_version = stele_i64_v(1)};
    ok(shop_stock_update(conn, &key, &patch, &row, &err));
    assert_int_equal(row->version, 2);
    shop_stock_row_free(row);
    row = NULL;
    patch.on_hand = stele_i32_v(70);
    fails(STELE_E_CONFLICT, shop_stock_update(conn, &key, &patch, &row, &err));
    assert_string_equal(err.table, "stock");
    assert_contains(err.hint, "read it again");
    assert_null(row);
    fails(STELE_E_CONFLICT, shop_stock_update(conn, &key, &patch, NULL, &err));
    assert_true(holds("SELECT on_hand = 80 AND version = 2 FROM stock"));
    patch.if_version = stele_i64_v(2);
    ok(shop_stock_update(conn, &key, &patch, NULL, &err));
    /* Without a version only the key decides. */
    patch.if_version = (stele_in_i64){0};
    ok(shop_stock_update(conn, &key, &patch, NULL, &err));
    assert_true(holds("SELECT on_hand = 70 AND version = 4 FROM stock"));
    key.warehouse_id = 1;
    fails(STELE_E_NOT_FOUND, shop_stock_update(conn, &key, &patch, NULL, &err));
}

/* A patch may make an expired row live again; until it is swept it is there. */
static void a_patch_prolongs(void **state)
{
    (void)state;
    shop_carts_row *row = NULL;
    peer("UPDATE carts SET expires_at = timezone('UTC', now()) - interval '1 s'");
    shop_carts_patch patch = {.expires_at = stele_ts_n_after(stele_seconds(3600))};
    ok(shop_carts_update(conn, uuid_of(CART), &patch, &row, &err));
    assert_true(row->expires_at.v > row->updated_at);
    shop_carts_row_free(row);
    ok(shop_carts_find(conn, uuid_of(CART), &row, &err));
    shop_carts_row_free(row);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        GENERATED(defaults_are_the_servers),
        GENERATED(unset_and_null_differ),
        GENERATED(a_row_of_nothing_but_defaults),
        GENERATED(what_is_required_is_asked_for_here),
        GENERATED(serial_columns_count_on),
        GENERATED(now_and_after_are_the_servers),
        GENERATED(an_upsert_tells_what_it_did),
        GENERATED(an_upsert_sets_what_is_set),
        GENERATED(an_upsert_passes_tombstones),
        STOCKED(an_upsert_revives_what_keeps_its_key),
        STOCKED(an_upsert_moves_the_version),
        STOCKED(an_upsert_of_a_key_alone),
        GENERATED(an_upsert_revives_what_expired),
        GENERATED(an_upsert_meets_another_key),
        STOCKED(a_patch_changes_what_it_sets),
        STOCKED(an_empty_patch_is_refused),
        STOCKED(a_patch_of_no_row),
        STOCKED(a_version_is_checked),
        STOCKED(a_patch_prolongs),
    };
    return RUN_GENERATED(tests);
}
