/*
 * A row's life in the other tables of the shop; see life_shelves_test.c.
 */
#include "life.h"

/* ---- orders: enum array ---- */

static void is_an_order(const shop_orders_row *row)
{
    assert_int_equal(row->id, 7);
    assert_int_equal(row->customer_id, 902);
    assert_int_equal(row->status, SHOP_ORDER_STATUS_OPEN);
    assert_int_equal(row->currency, SHOP_CURRENCY_JPY);
    assert_str(row->total, "0.00");
    assert_int_equal(row->history.count, 2);
    assert_int_equal(row->history.items[0], SHOP_ORDER_STATUS_OPEN);
    assert_int_equal(row->history.items[1], SHOP_ORDER_STATUS_IN_TRANSIT);
    assert_false(row->placed_at.has);
    assert_null(row->note.data);
}

static void is_placed(const shop_orders_row *row)
{
    assert_int_equal(row->status, SHOP_ORDER_STATUS_IN_TRANSIT);
    assert_ts(row->placed_at.v, "2026-03-04T05:06:07.08Z");
    assert_str(row->note, "fragile");
}

static void life_of_orders(void **state)
{
    (void)state;
    shop_order_status history[] = {SHOP_ORDER_STATUS_OPEN, SHOP_ORDER_STATUS_IN_TRANSIT};
    shop_orders_input order = {
        .id = stele_i64_v(7),
        .customer_id = stele_i64_v(902),
        .currency = shop_currency_v(SHOP_CURRENCY_JPY),
        .history = shop_order_status_array_v((shop_order_status_array){history, NULL, 2})};
    LIVES(shop_orders, 7, &order, 1, is_an_order);
    PAGES(shop_orders, shop_orders_list_by_of_customer(conn, 902, NULL, 2, &page_, &err),
          shop_orders_of_customer_resume, 1);
    PAGES(shop_orders, shop_orders_list_by_customer(conn, 902, NULL, 2, &page_, &err),
          shop_orders_customer_resume, 1);
    shop_orders_patch patch = {.status = shop_order_status_v(SHOP_ORDER_STATUS_IN_TRANSIT),
                               .placed_at = stele_ts_n_v(ts_of("2026-03-04T05:06:07.08Z")),
                               .note = stele_text_n_v("fragile")};
    CHANGES(shop_orders, 7, &patch, is_placed);
    PAGES(shop_orders,
          shop_orders_list_by_placed(conn, SHOP_ORDER_STATUS_IN_TRANSIT, NULL, 2, &page_, &err),
          shop_orders_placed_resume, 1);
    assert_string_equal(shop_order_status_name(SHOP_ORDER_STATUS_IN_TRANSIT), "in transit");
    assert_int_equal(shop_order_status_parse(stele_s("in transit")), SHOP_ORDER_STATUS_IN_TRANSIT);
    assert_int_equal(shop_order_status_parse(stele_s("lost")), SHOP_ORDER_STATUS_UNKNOWN);
    assert_null(shop_order_status_name(SHOP_ORDER_STATUS_UNKNOWN));
    DIES(shop_orders, 7, shop_orders_insert(conn, &order, NULL, &err));
}

/* ---- order_lines ---- */

static void is_three_pens(const shop_order_lines_row *row)
{
    assert_int_equal(row->order_id, 901);
    assert_int_equal(row->line, 1);
    assert_uuid(row->product_id, PEN);
    assert_int_equal(row->warehouse_id, 901);
    assert_int_equal(row->quantity, 3);
    assert_str(row->price, "1.50");
    assert_str(row->amount, "4.50");
}

static void is_four_pens(const shop_order_lines_row *row)
{
    assert_int_equal(row->quantity, 4);
    assert_str(row->amount, "6.00");
}

static void life_of_order_lines(void **state)
{
    (void)state;
    shop_order_lines_key key = {.order_id = 901, .line = 1};
    shop_order_lines_stock_key stock = {.product_id = uuid_of(PEN), .warehouse_id = 901};
    shop_order_lines_input pens = {.order_id = stele_i64_v(901),
                                   .line = stele_i16_v(1),
                                   .product_id = stele_uuid_v(uuid_of(PEN)),
                                   .warehouse_id = stele_i16_v(901),
                                   .quantity = stele_i32_v(3),
                                   .price = stele_text_v("1.5")};
    LIVES(shop_order_lines, &key, &pens, 0, is_three_pens);
    PAGES(shop_order_lines, shop_order_lines_list_by_order(conn, 901, NULL, 2, &page_, &err),
          shop_order_lines_order_resume, 1);
    PAGES(shop_order_lines, shop_order_lines_list_by_stock(conn, &stock, NULL, 2, &page_, &err),
          shop_order_lines_stock_resume, 1);
    bool inserted = true;
    ok(shop_order_lines_upsert(conn, &pens, NULL, &inserted, &err));
    assert_false(inserted);
    shop_order_lines_patch patch = {.quantity = stele_i32_v(4)};
    CHANGES(shop_order_lines, &key, &patch, is_four_pens);
    DIES(shop_order_lines, &key, shop_order_lines_insert(conn, &pens, NULL, &err));
}

/* ---- invoices: a unique key that deleted rows keep ---- */

static void is_a_draft(const shop_invoices_row *row)
{
    assert_int_equal(row->id, 7);
    assert_int_equal(row->order_id, 901);
    assert_str(row->number, "R-7");
    assert_int_equal(row->status, SHOP_INVOICE_STATUS_DRAFT);
    assert_false(row->paid_at.has);
    assert_null(row->note.data);
    assert_int_equal(row->version, 1);
}

static void is_paid(const shop_invoices_row *row)
{
    assert_int_equal(row->status, SHOP_INVOICE_STATUS_PAID);
    assert_true(row->paid_at.has);
    assert_str(row->note, "by cheque");
}

static void life_of_invoices(void **state)
{
    (void)state;
    shop_invoices_input invoice = {
        .id = stele_i64_v(7), .order_id = stele_i64_v(901), .number = stele_text_v("R-7")};
    LIVES(shop_invoices, 7, &invoice, 1, is_a_draft);
    FINDS(shop_invoices, shop_invoices_find_by_number(conn, stele_s("R-7"), &row_, &err),
          is_a_draft);
    PAGES(shop_invoices,
          shop_invoices_list_by_by_status(conn, SHOP_INVOICE_STATUS_DRAFT, NULL, 2, &page_, &err),
          shop_invoices_by_status_resume, 2);
    PAGES(shop_invoices, shop_invoices_list_by_order(conn, 901, NULL, 2, &page_, &err),
          shop_invoices_order_resume, 2);
    bool inserted = true;
    ok(shop_invoices_upsert_by_number(conn, &invoice, NULL, &inserted, &err));
    assert_false(inserted);
    shop_invoices_patch patch = {.status = shop_invoice_status_v(SHOP_INVOICE_STATUS_PAID),
                                 .paid_at = stele_ts_n_now(),
                                 .note = stele_text_n_v("by cheque")};
    CHANGES(shop_invoices, 7, &patch, is_paid);
    assert_string_equal(shop_invoice_status_name(SHOP_INVOICE_STATUS_PAID), "paid");
    assert_int_equal(shop_invoice_status_parse(stele_s("paid")), SHOP_INVOICE_STATUS_PAID);
    FADES(shop_invoices, 7, is_paid);
}

/* ---- payments ---- */

static void is_half(const shop_payments_row *row)
{
    assert_uuid(row->id, MAP);
    assert_int_equal(row->invoice_id, 901);
    assert_str(row->amount, "0.50");
    assert_str(row->reference, "half");
}

static void is_refund(const shop_payments_row *row)
{
    assert_str(row->amount, "-0.50");
    assert_ts(row->received_at, "2026-01-31T09:05:00.25Z");
}

static void life_of_payments(void **state)
{
    (void)state;
    shop_payments_input half = {.id = stele_uuid_v(uuid_of(MAP)),
                                .invoice_id = stele_i64_v(901),
                                .amount = stele_text_v("0.5"),
                                .reference = stele_text_v("half")};
    LIVES(shop_payments, uuid_of(MAP), &half, 0, is_half);
    shop_payments_reference_key key = {.invoice_id = 901, .reference = stele_s("half")};
    FINDS(shop_payments, shop_payments_find_by_reference(conn, &key, &row_, &err), is_half);
    PAGES(shop_payments, shop_payments_list_by_of_invoice(conn, 901, NULL, 2, &page_, &err),
          shop_payments_of_invoice_resume, 1);
    PAGES(shop_payments, shop_payments_list_by_invoice_id(conn, 901, NULL, 2, &page_, &err),
          shop_payments_invoice_id_resume, 1);
    bool inserted = true;
    ok(shop_payments_upsert(conn, &half, NULL, &inserted, &err));
    assert_false(inserted);
    inserted = true;
    ok(shop_payments_upsert_by_reference(conn, &half, NULL, &inserted, &err));
    assert_false(inserted);
    shop_payments_patch patch = {.amount = stele_text_v("-0.5"),
                                 .received_at = stele_ts_v(ts_of("2026-01-31T09:05:00.25Z"))};
    CHANGES(shop_payments, uuid_of(MAP), &patch, is_refund);
    DIES(shop_payments, uuid_of(MAP), shop_payments_insert(conn, &half, NULL, &err));
}

/* ---- settings: a text key called "key" ---- */

static void is_dark(const shop_settings_row *row)
{
    assert_str(row->key, "theme");
    assert_str(row->value, "\"dark\"");
}

static void is_null(const shop_settings_row *row)
{
    assert_null(row->value.data);
}

static void life_of_settings(void **state)
{
    (void)state;
    shop_settings_input dark = {.key = stele_text_v("theme"), .value = stele_text_n_v("\"dark\"")};
    LIVES(shop_settings, stele_s("theme"), &dark, 0, is_dark);
    bool inserted = true;
    ok(shop_settings_upsert(conn, &dark, NULL, &inserted, &err));
    assert_false(inserted);
    shop_settings_patch patch = {.value = stele_text_n_null()};
    CHANGES(shop_settings, stele_s("theme"), &patch, is_null);
    DIES(shop_settings, stele_s("theme"), shop_settings_insert(conn, &dark, NULL, &err));
}

/* ---- wishlists: uuid array ---- */

static void is_birthday(const shop_wishlists_row *row)
{
    assert_int_equal(row->id, 7);
    assert_int_equal(row->customer_id, 901);
    assert_str(row->title, "Birthday");
    assert_int_equal(row->products.count, 2);
    assert_uuid(row->products.items[0], INK);
    assert_uuid(row->products.items[1], PEN);
}

static void is_empty(const shop_wishlists_row *row)
{
    assert_int_equal(row->products.count, 0);
}

static void life_of_wishlists(void **state)
{
    (void)state;
    stele_uuid products[] = {uuid_of(INK), uuid_of(PEN)};
    shop_wishlists_input birthday = {.id = stele_i64_v(7),
                                     .customer_id = stele_i64_v(901),
                                     .title = stele_text_v("Birthday"),
                                     .products =
                                         stele_uuid_array_v((stele_uuid_array){products, NULL, 2})};
    LIVES(shop_wishlists, 7, &birthday, 0, is_birthday);
    shop_wishlists_title_key key = {.customer_id = 901, .title = stele_s("Birthday")};
    FINDS(shop_wishlists, shop_wishlists_find_by_title(conn, &key, &row_, &err), is_birthday);
    PAGES(shop_wishlists, shop_wishlists_list_by_customer_id(conn, 901, NULL, 2, &page_, &err),
          shop_wishlists_customer_id_resume, 1);
    bool inserted = true;
    ok(shop_wishlists_upsert_by_title(conn, &birthday, NULL, &inserted, &err));
    assert_false(inserted);
    shop_wishlists_patch patch = {.products =
                                      stele_uuid_array_v((stele_uuid_array){products, NULL, 0})};
    CHANGES(shop_wishlists, 7, &patch, is_empty);
    FADES(shop_wishlists, 7, is_empty);
}

/* ---- audit_log: partitioned ---- */

static shop_audit_log_key entry_key(void)
{
    return (shop_audit_log_key){.at = ts_of("2026-05-05T05:05:05Z"), .id = 7};
}

static void is_an_entry(const shop_audit_log_row *row)
{
    assert_int_equal(row->id, 7);
    assert_ts(row->at, "2026-05-05T05:05:05Z");
    assert_str(row->actor, "ann");
    assert_str(row->change, "[1, null]");
}

static void is_corrected(const shop_audit_log_row *row)
{
    assert_str(row->actor, "bob");
}

static void life_of_audit_log(void **state)
{
    (void)state;
    shop_audit_log_key key = entry_key();
    shop_audit_log_input entry = {.id = stele_i64_v(7),
                                  .at = stele_ts_v(key.at),
                                  .actor = stele_text_v("ann"),
                                  .change = stele_text_v("[1,null]")};
    LIVES(shop_audit_log, &key, &entry, 0, is_an_entry);
    PAGES(shop_audit_log,
          shop_audit_log_list_by_of_actor(conn, stele_s("ann"), NULL, 2, &page_, &err),
          shop_audit_log_of_actor_resume, 1);
    shop_audit_log_row *row = NULL;
    ok(shop_audit_log_upsert(conn, &entry, &row, &err));
    is_an_entry(row);
    shop_audit_log_row_free(row);
    shop_audit_log_patch patch = {.actor = stele_text_v("bob")};
    CHANGES(shop_audit_log, &key, &patch, is_corrected);
    DIES(shop_audit_log, &key, shop_audit_log_insert(conn, &entry, NULL, &err));
}

/* ---- page_views: no primary key ---- */

static void life_of_page_views(void **state)
{
    (void)state;
    shop_page_views_input view = {.path = stele_text_v("/")};
    shop_page_views_filter nobody = {.visitor = stele_uuid_n_null()};
    shop_page_views_row *row = NULL;
    shop_page_views_row *copy = NULL;
    COUNTS(shop_page_views, NULL, 0);
    ok(shop_page_views_insert(conn, &view, &row, &err));
    ok_here(shop_page_views_row_dup(row, &copy, &err));
    shop_page_views_row_free(row);
    assert_str(copy->path, "/");
    assert_false(copy->visitor.has);
    shop_page_views_row_free(copy);
    view.visitor = stele_uuid_n_v(uuid_of(PEN));
    ok(shop_page_views_insert(conn, &view, NULL, &err));
    COUNTS(shop_page_views, NULL, 2);
    COUNTS(shop_page_views, &nobody, 1);
}

/* ---- shelf_labels: names that languages keep for themselves ---- */

static void is_a_label(const shop_shelf_labels_row *row)
{
    assert_int_equal(row->conn, 1);
    assert_str(row->class_, "fiction");
    assert_null(row->default_.data);
    assert_int_equal(row->errno_.v, 2);
    assert_false(row->int_.has);
    assert_int_equal(row->order, 3);
    assert_str(row->select, "a");
    assert_str(row->template_, "b");
    assert_true(row->unix_.has && row->unix_.v);
    assert_str(row->user, "ann");
}

static void is_relabelled(const shop_shelf_labels_row *row)
{
    assert_str(row->default_, "c");
    assert_false(row->unix_.has);
    assert_false(row->errno_.has);
}

static void life_of_shelf_labels(void **state)
{
    (void)state;
    shop_shelf_labels_key key = {.conn = 1, .order = 3};
    shop_shelf_labels_class_key class_key = {.class_ = stele_s("fiction"), .user = stele_s("ann")};
    shop_shelf_labels_input label = {.conn = stele_i64_v(1),
                                     .class_ = stele_text_v("fiction"),
                                     .errno_ = stele_i32_n_v(2),
                                     .order = stele_i32_v(3),
                                     .select = stele_text_n_v("a"),
                                     .template_ = stele_text_n_v("b"),
                                     .unix_ = stele_bool_n_v(true),
                                     .user = stele_text_v("ann")};
    LIVES(shop_shelf_labels, &key, &label, 0, is_a_label);
    FINDS(shop_shelf_labels, shop_shelf_labels_find_by_user(conn, stele_s("ann"), &row_, &err),
          is_a_label);
    FINDS(shop_shelf_labels, shop_shelf_labels_find_by_class(conn, &class_key, &row_, &err),
          is_a_label);
    PAGES(shop_shelf_labels,
          shop_shelf_labels_list_by_class(conn, stele_s("fiction"), NULL, 2, &page_, &err),
          shop_shelf_labels_class_resume, 1);
    bool inserted = true;
    ok(shop_shelf_labels_upsert(conn, &label, NULL, &inserted, &err));
    assert_false(inserted);
    ok(shop_shelf_labels_upsert_by_user(conn, &label, NULL, &inserted, &err));
    ok(shop_shelf_labels_upsert_by_class(conn, &label, NULL, &inserted, &err));
    assert_false(inserted);
    shop_shelf_labels_patch patch = {.default_ = stele_text_n_v("c"),
                                     .errno_ = stele_i32_n_null(),
                                     .unix_ = stele_bool_n_null()};
    CHANGES(shop_shelf_labels, &key, &patch, is_relabelled);
    DIES(shop_shelf_labels, &key, shop_shelf_labels_insert(conn, &label, NULL, &err));
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        STOCKED(life_of_orders),    STOCKED(life_of_order_lines), STOCKED(life_of_invoices),
        STOCKED(life_of_payments),  STOCKED(life_of_settings),    STOCKED(life_of_wishlists),
        STOCKED(life_of_audit_log), STOCKED(life_of_page_views),  STOCKED(life_of_shelf_labels),
    };
    return RUN_GENERATED(tests);
}
