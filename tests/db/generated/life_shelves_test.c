/*
 * A row's life in every table of the shop: each generated function is called, and shows the values
 * that were put in. What is special about one kind of function stands in its own test.
 */
#include "life.h"

/* ---- customers: soft delete, partial unique keys ---- */

static void is_eve(const shop_customers_row *row)
{
    assert_int_equal(row->id, 7);
    assert_str(row->email, "eve@example.org");
    assert_str(row->name, "Eve");
    assert_str(row->phone, "+44 20");
    assert_false(row->vip);
    assert_true(row->birthday.has);
    assert_date(row->birthday.v, "1990-02-28");
    assert_true(row->last_address.has);
    assert_inet(row->last_address.v, "10.1.0.0/16");
    assert_str(row->notes, "{\"a\" : 1}"); /* json keeps its text */
    assert_false(row->deleted_at.has);
}

static void is_eva(const shop_customers_row *row)
{
    assert_str(row->name, "Eva");
    assert_null(row->phone.data);
    assert_false(row->birthday.has);
    assert_true(row->vip);
    assert_str(row->email, "eve@example.org");
}

static const shop_customers_row *first_customer(const shop_customers_page *page)
{
    return &page->rows[0];
}

static void life_of_customers(void **state)
{
    (void)state;
    shop_customers_input eve = {.id = stele_i64_v(7),
                                .email = stele_text_v("eve@example.org"),
                                .name = stele_text_v("Eve"),
                                .phone = stele_text_n_v("+44 20"),
                                .birthday = stele_date_n_v(date_of("1990-02-28")),
                                .last_address = stele_inet_n_v(inet_of("10.1.0.0/16")),
                                .notes = stele_text_n_v("{\"a\" : 1}")};
    LIVES(shop_customers, 7, &eve, 2, is_eve);
    FINDS(shop_customers,
          shop_customers_find_by_email(conn, stele_s("eve@example.org"), &row_, &err), is_eve);
    FINDS(shop_customers, shop_customers_find_by_phone(conn, stele_s("+44 20"), &row_, &err),
          is_eve);
    shop_customers_page *page = NULL;
    ok(shop_customers_list_by_newest(conn, false, NULL, 10, &page, &err));
    assert_int_equal(page->count, 2); /* Ann is older, Bob a VIP */
    is_eve(first_customer(page));
    assert_int_equal(page->rows[1].id, 901);
    shop_customers_page_free(page);
    PAGES(shop_customers, shop_customers_list_by_newest(conn, false, NULL, 2, &page_, &err),
          shop_customers_newest_resume, 2);
    bool inserted = true;
    ok(shop_customers_upsert_by_email(conn, &eve, NULL, &inserted, &err));
    assert_false(inserted);
    inserted = true;
    ok(shop_customers_upsert_by_phone(conn, &eve, NULL, &inserted, &err));
    assert_false(inserted);
    shop_customers_patch patch = {.name = stele_text_v("Eva"),
                                  .phone = stele_text_n_null(),
                                  .birthday = stele_date_n_null(),
                                  .vip = stele_bool_v(true)};
    CHANGES(shop_customers, 7, &patch, is_eva);
    FADES(shop_customers, 7, is_eva);
}

/* ---- categories: identity, unique keys where NULL equals NULL ---- */

static void is_paper(const shop_categories_row *row)
{
    assert_int_equal(row->id, 2);
    assert_true(row->parent_id.has);
    assert_int_equal(row->parent_id.v, 1);
    assert_str(row->name, "Paper");
    assert_int_equal(row->position, 0);
}

static void is_top_paper(const shop_categories_row *row)
{
    assert_false(row->parent_id.has);
    assert_int_equal(row->position, -3);
}

static void life_of_categories(void **state)
{
    (void)state;
    shop_categories_input paper = {.parent_id = stele_i32_n_v(1), .name = stele_text_v("Paper")};
    LIVES(shop_categories, 2, &paper, 1, is_paper);
    shop_categories_name_in_parent_key key = {.parent_id = 1, .name = stele_s("Paper")};
    FINDS(shop_categories, shop_categories_find_by_name_in_parent(conn, &key, &row_, &err),
          is_paper);
    PAGES(shop_categories, shop_categories_list_by_in_order(conn, 1, NULL, 2, &page_, &err),
          shop_categories_in_order_resume, 1);
    PAGES(shop_categories, shop_categories_list_by_parent(conn, 1, NULL, 2, &page_, &err),
          shop_categories_parent_resume, 1);
    bool inserted = true;
    ok(shop_categories_upsert_by_name_in_parent(conn, &paper, NULL, &inserted, &err));
    assert_false(inserted);
    shop_categories_patch patch = {.parent_id = stele_i32_n_null(), .position = stele_i16_v(-3)};
    CHANGES(shop_categories, 2, &patch, is_top_paper);
    ok(shop_categories_delete(conn, 2, &err));
    fails(STELE_E_NOT_FOUND, shop_categories_delete(conn, 2, &err));
    ok(shop_categories_hard_delete(conn, 1, &err));
    COUNTS(shop_categories, NULL, 0);
}

/* ---- products: everything at once ---- */

static const uint8_t picture[] = {0, 1, 255};

static void is_map(const shop_products_row *row)
{
    assert_uuid(row->id, MAP);
    assert_str(row->sku, "MAP         "); /* char(12) is padded */
    assert_str(row->name, "Map");
    assert_str(row->description, "");
    assert_str(row->price, "12.50");
    assert_int_equal(row->currency, SHOP_CURRENCY_EUR);
    assert_true(row->weight.has && row->weight.v > 0.24 && row->weight.v < 0.26);
    assert_false(row->rating.has);
    assert_int_equal(row->tags.count, 2);
    assert_str(row->tags.items[1], "north, \"up\"");
    assert_null(row->tags.nulls);
    assert_str(row->attributes, "{\"scale\": 25000}");
    assert_int_equal(row->picture.len, 3);
    assert_memory_equal(row->picture.data, picture, 3);
    assert_str(row->words, "'map':1");
    assert_false(row->deleted_at.has);
    assert_int_equal(row->version, 1);
}

static void is_folded_map(const shop_products_row *row)
{
    assert_str(row->price, "9.99");
    assert_null(row->picture.data);
    assert_false(row->weight.has);
    assert_true(row->rating.has && row->rating.v > 4.4F && row->rating.v < 4.6F);
    assert_int_equal(row->tags.count, 0);
    assert_non_null(row->tags.items);
    assert_str(row->words, "'folded':2 'map':1");
}

static void life_of_products(void **state)
{
    (void)state;
    stele_str tags[] = {stele_s("paper"), stele_s("north, \"up\"")};
    shop_products_input map = {.id = stele_uuid_v(uuid_of(MAP)),
                               .sku = stele_text_v("MAP"),
                               .name = stele_text_v("Map"),
                               .price = stele_text_v("12.50"),
                               .weight = stele_f64_n_v(0.25),
                               .tags = stele_str_array_v((stele_str_array){tags, NULL, 2}),
                               .attributes = stele_text_v("{\"scale\":25000}"),
                               .picture = stele_bytes_n_v(picture, sizeof picture)};
    LIVES(shop_products, uuid_of(MAP), &map, 2, is_map);
    FINDS(shop_products, shop_products_find_by_sku(conn, stele_s("MAP"), &row_, &err), is_map);
    PAGES(shop_products, shop_products_list_by_cheapest(conn, NULL, 2, &page_, &err),
          shop_products_cheapest_resume, 3);
    bool inserted = true;
    ok(shop_products_upsert(conn, &map, NULL, &inserted, &err));
    assert_false(inserted);
    inserted = true;
    ok(shop_products_upsert_by_sku(conn, &map, NULL, &inserted, &err));
    assert_false(inserted);
    shop_products_patch patch = {.description = stele_text_v("folded"),
                                 .price = stele_text_v("9.99"),
                                 .weight = stele_f64_n_null(),
                                 .rating = stele_f32_n_v(4.5F),
                                 .tags = stele_str_array_v((stele_str_array){tags, NULL, 0}),
                                 .picture = stele_bytes_n_null()};
    CHANGES(shop_products, uuid_of(MAP), &patch, is_folded_map);
    FADES(shop_products, uuid_of(MAP), is_folded_map);
}

/* ---- product_categories: nothing but a key ---- */

static shop_product_categories_key pen_writing(void)
{
    return (shop_product_categories_key){.product_id = uuid_of(PEN), .category_id = 1};
}

static void is_pen_writing(const shop_product_categories_row *row)
{
    assert_uuid(row->product_id, PEN);
    assert_int_equal(row->category_id, 1);
}

static void life_of_product_categories(void **state)
{
    (void)state;
    shop_product_categories_key key = pen_writing();
    shop_product_categories_input link = {.product_id = stele_uuid_v(key.product_id),
                                          .category_id = stele_i32_v(1)};
    LIVES(shop_product_categories, &key, &link, 0, is_pen_writing);
    PAGES(shop_product_categories,
          shop_product_categories_list_by_product(conn, key.product_id, NULL, 2, &page_, &err),
          shop_product_categories_product_resume, 1);
    PAGES(shop_product_categories,
          shop_product_categories_list_by_category(conn, 1, NULL, 2, &page_, &err),
          shop_product_categories_category_resume, 1);
    bool inserted = true;
    shop_product_categories_row *row = NULL;
    ok(shop_product_categories_upsert(conn, &link, &row, &inserted, &err));
    assert_false(inserted);
    is_pen_writing(row);
    shop_product_categories_row_free(row);
    DIES(shop_product_categories, &key,
         shop_product_categories_upsert(conn, &link, NULL, NULL, &err));
}

/* ---- warehouses: opaque, time and interval ---- */

#define HOUR INT64_C(3600000000)

static void is_south(const shop_warehouses_row *row)
{
    assert_int_equal(row->id, 5);
    assert_str(row->name, "South");
    assert_str(row->gateway, "08:00:2b:01:02:03");
    assert_int_equal(row->opens, 8 * HOUR);
    assert_int_equal(row->closes, 20 * HOUR + 1);
    assert_int_equal(row->handling.months, 1);
    assert_int_equal(row->handling.days, -2);
    assert_int_equal(row->handling.micros, 3);
}

static void is_far_south(const shop_warehouses_row *row)
{
    assert_str(row->name, "Far South");
    assert_int_equal(row->closes, 24 * HOUR);
    assert_int_equal(row->handling.micros, 7200000000);
}

static void life_of_warehouses(void **state)
{
    (void)state;
    shop_warehouses_input south = {
        .id = stele_i16_v(5),
        .name = stele_text_v("South"),
        .gateway = stele_text_v("08-00-2B-01-02-03"),
        .closes = stele_time_v(20 * HOUR + 1),
        .handling = stele_interval_v((stele_interval){.micros = 3, .days = -2, .months = 1})};
    LIVES(shop_warehouses, 5, &south, 1, is_south);
    FINDS(shop_warehouses, shop_warehouses_find_by_name(conn, stele_s("South"), &row_, &err),
          is_south);
    bool inserted = true;
    ok(shop_warehouses_upsert_by_name(conn, &south, NULL, &inserted, &err));
    assert_false(inserted);
    shop_warehouses_patch patch = {.name = stele_text_v("Far South"),
                                   .closes = stele_time_v(24 * HOUR),
                                   .handling = stele_interval_v(stele_seconds(7200))};
    CHANGES(shop_warehouses, 5, &patch, is_far_south);
    DIES(shop_warehouses, 5, shop_warehouses_insert(conn, &south, NULL, &err));
}

/* ---- stock: composite key, generated column, version ---- */

static void is_ink_in_north(const shop_stock_row *row)
{
    assert_uuid(row->product_id, INK);
    assert_int_equal(row->warehouse_id, 901);
    assert_int_equal(row->on_hand, 30);
    assert_int_equal(row->reserved, 4);
    assert_int_equal(row->available, 26);
    assert_int_equal(row->version, 1);
}

static void is_less_ink(const shop_stock_row *row)
{
    assert_int_equal(row->on_hand, 4);
    assert_int_equal(row->available, 0);
    assert_true(row->version > 1);
}

static void life_of_stock(void **state)
{
    (void)state;
    shop_stock_key key = {.product_id = uuid_of(INK), .warehouse_id = 901};
    shop_stock_input ink = {.product_id = stele_uuid_v(key.product_id),
                            .warehouse_id = stele_i16_v(901),
                            .on_hand = stele_i32_v(30),
                            .reserved = stele_i32_v(4)};
    LIVES(shop_stock, &key, &ink, 1, is_ink_in_north);
    PAGES(shop_stock, shop_stock_list_by_in_warehouse(conn, 901, NULL, 2, &page_, &err),
          shop_stock_in_warehouse_resume, 2);
    PAGES(shop_stock, shop_stock_list_by_warehouse_id(conn, 901, NULL, 2, &page_, &err),
          shop_stock_warehouse_id_resume, 2);
    PAGES(shop_stock, shop_stock_list_by_product(conn, key.product_id, NULL, 2, &page_, &err),
          shop_stock_product_resume, 1);
    bool inserted = true;
    ok(shop_stock_upsert(conn, &ink, NULL, &inserted, &err));
    assert_false(inserted);
    shop_stock_patch patch = {.on_hand = stele_i32_v(4)};
    CHANGES(shop_stock, &key, &patch, is_less_ink);
    DIES(shop_stock, &key, shop_stock_insert(conn, &ink, NULL, &err));
}

/* ---- carts and their items ---- */

static void is_a_cart(const shop_carts_row *row)
{
    assert_uuid(row->id, MAP);
    assert_false(row->customer_id.has);
    assert_true(row->expires_at.has);
    assert_ts(row->expires_at.v, "2999-01-01T00:00:00Z");
}

static void is_anns_cart(const shop_carts_row *row)
{
    assert_int_equal(row->customer_id.v, 901);
    assert_false(row->expires_at.has);
}

static void life_of_carts(void **state)
{
    (void)state;
    stele_uuid id = uuid_of(MAP);
    uint64_t expired = 99;
    shop_carts_input cart = {.id = stele_uuid_v(id),
                             .expires_at = stele_ts_n_v(ts_of("2999-01-01T00:00:00Z"))};
    LIVES(shop_carts, id, &cart, 1, is_a_cart);
    bool inserted = true;
    ok(shop_carts_upsert(conn, &cart, NULL, &inserted, &err));
    assert_false(inserted);
    shop_carts_patch patch = {.customer_id = stele_i64_n_v(901), .expires_at = stele_ts_n_null()};
    CHANGES(shop_carts, id, &patch, is_anns_cart);
    PAGES(shop_carts, shop_carts_list_by_customer(conn, 901, NULL, 2, &page_, &err),
          shop_carts_customer_resume, 2);
    ok(shop_carts_expire(conn, 10, &expired, &err));
    assert_int_equal(expired, 0);
    DIES(shop_carts, id, shop_carts_insert(conn, &cart, NULL, &err));
}

static void is_a_pen(const shop_cart_items_row *row)
{
    assert_uuid(row->cart_id, CART);
    assert_uuid(row->product_id, PEN);
    assert_int_equal(row->quantity, 1);
}

static void is_a_dozen(const shop_cart_items_row *row)
{
    assert_int_equal(row->quantity, 12);
}

static void life_of_cart_items(void **state)
{
    (void)state;
    shop_cart_items_key key = {.cart_id = uuid_of(CART), .product_id = uuid_of(PEN)};
    shop_cart_items_input pen = {.cart_id = stele_uuid_v(key.cart_id),
                                 .product_id = stele_uuid_v(key.product_id)};
    LIVES(shop_cart_items, &key, &pen, 0, is_a_pen);
    PAGES(shop_cart_items, shop_cart_items_list_by_cart(conn, key.cart_id, NULL, 2, &page_, &err),
          shop_cart_items_cart_resume, 1);
    PAGES(shop_cart_items,
          shop_cart_items_list_by_product(conn, key.product_id, NULL, 2, &page_, &err),
          shop_cart_items_product_resume, 1);
    bool inserted = true;
    ok(shop_cart_items_upsert(conn, &pen, NULL, &inserted, &err));
    assert_false(inserted);
    shop_cart_items_patch patch = {.quantity = stele_i32_v(12)};
    CHANGES(shop_cart_items, &key, &patch, is_a_dozen);
    DIES(shop_cart_items, &key, shop_cart_items_insert(conn, &pen, NULL, &err));
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        STOCKED(life_of_customers),  STOCKED(life_of_categories),
        STOCKED(life_of_products),   STOCKED(life_of_product_categories),
        STOCKED(life_of_warehouses), STOCKED(life_of_stock),
        STOCKED(life_of_carts),      STOCKED(life_of_cart_items),
    };
    return RUN_GENERATED(tests);
}
