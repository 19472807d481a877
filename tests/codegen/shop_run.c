/*
 * Calls one function of each kind that is generated, on a real server. Prints nothing when all is as
 * it should be; else the line that is not.
 */
#include <stdio.h>
#include <stdlib.h>

#include "shop.gen.h"

static stele_error err;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            char text[1024];                                                                       \
            stele_error_format(&err, text, sizeof text);                                           \
            printf("%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, text);                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define OK(call) CHECK((call) == STELE_OK)

static int64_t new_customer(stele_conn *conn, const char *email, bool vip)
{
    STELE_AUTO(shop_customers_row) row = NULL;
    shop_customers_input input = {
        .email = stele_text_v(email), .name = stele_text_v("Ann"), .vip = stele_bool_v(vip)};
    OK(shop_customers_insert(conn, &input, &row, &err));
    CHECK(stele_str_eq(row->email, stele_s(email)) && row->vip == vip);
    CHECK(row->phone.data == NULL && !row->deleted_at.has);
    return row->id;
}

static int64_t new_order(stele_conn *conn, int64_t customer)
{
    STELE_AUTO(shop_orders_row) row = NULL;
    shop_orders_input input = {
        .customer_id = stele_i64_v(customer),
        .currency = shop_currency_v(SHOP_CURRENCY_EUR),
        .status = shop_order_status_v(SHOP_ORDER_STATUS_IN_TRANSIT),
        .total = stele_text_v("12.50"),
    };
    OK(shop_orders_insert(conn, &input, &row, &err));
    CHECK(row->status == SHOP_ORDER_STATUS_IN_TRANSIT &&
          stele_str_eq(row->total, stele_s("12.50")));
    return row->id;
}

static void find_and_count(stele_conn *conn, int64_t id)
{
    shop_customers_row *row = NULL;
    int64_t count = 0;
    bool found = false;
    shop_customers_filter gone = {.deleted = STELE_SCOPE_ONLY};
    shop_customers_filter some = {.id_from = stele_i64_v(id), .phone = stele_text_n_null()};
    OK(shop_customers_find(conn, id, &row, &err));
    shop_customers_row *copy = NULL;
    OK(shop_customers_row_dup(row, &copy, &err));
    shop_customers_row_free(row);
    CHECK(stele_str_eq(copy->name, stele_s("Ann")));
    shop_customers_row_free(copy);
    OK(shop_customers_find_by_email(conn, stele_s("a@x"), &row, &err));
    CHECK(row->id == id);
    shop_customers_row_free(row);
    CHECK(shop_customers_find(conn, -1, &row, &err) == STELE_E_NOT_FOUND);
    OK(shop_customers_count(conn, NULL, &count, &err));
    CHECK(count == 1);
    OK(shop_customers_count(conn, &some, &count, &err));
    CHECK(count == 1);
    OK(shop_customers_exists(conn, &gone, &found, &err));
    CHECK(!found);
    OK(shop_customers_delete(conn, id, &err));
    OK(shop_customers_exists(conn, &gone, &found, &err));
    CHECK(found);
    CHECK(shop_customers_delete(conn, id, &err) == STELE_E_NOT_FOUND);
    OK(shop_customers_restore(conn, id, &err));
    OK(shop_customers_find_for_update_skip_locked(conn, id, &row, &err));
    shop_customers_row_free(row);
}

static void patch_and_version(stele_conn *conn, int64_t order)
{
    STELE_AUTO(shop_invoices_row) row = NULL;
    shop_invoices_input input = {.order_id = stele_i64_v(order), .number = stele_text_v("n-1")};
    OK(shop_invoices_insert(conn, &input, &row, &err));
    int64_t id = row->id;
    shop_invoices_patch patch = {
        .status = shop_invoice_status_v(SHOP_INVOICE_STATUS_PAID),
        .paid_at = stele_ts_n_now(),
        .if_version = stele_i64_v(row->version),
    };
    OK(shop_invoices_update(conn, id, &patch, NULL, &err));
    CHECK(shop_invoices_update(conn, id, &patch, NULL, &err) == STELE_E_CONFLICT);
    shop_invoices_patch nothing = {0};
    CHECK(shop_invoices_update(conn, id, &nothing, NULL, &err) == STELE_E_INPUT);
    STELE_AUTO(shop_invoices_row) after = NULL;
    shop_invoices_patch clear = {.paid_at = stele_ts_n_null()};
    OK(shop_invoices_update(conn, id, &clear, &after, &err));
    CHECK(!after->paid_at.has && after->version == row->version + 2);
    CHECK(after->updated_at > row->updated_at);

    bool inserted = true;
    STELE_AUTO(shop_invoices_row) again = NULL;
    OK(shop_invoices_upsert_by_number(conn, &input, &again, &inserted, &err));
    CHECK(!inserted && again->id == id);
    OK(shop_invoices_upsert_by_number(conn, &input, NULL, NULL, &err));
    input.number = stele_text_v("n-2");
    OK(shop_invoices_upsert_by_number(conn, &input, NULL, &inserted, &err));
    CHECK(inserted);
}

static void pages(stele_conn *conn)
{
    char token[STELE_PAGE_TOKEN_SIZE];
    shop_customers_page *page = NULL;
    stele_status st;
    size_t seen = 0;
    for (int i = 0; i < 7; i++) {
        char email[16];
        snprintf(email, sizeof email, "p%d@x", i);
        (void)new_customer(conn, email, true);
    }
    while ((st = shop_customers_list_by_newest(conn, true, NULL, 3, &page, &err)) == STELE_OK) {
        seen += page->count;
        OK(shop_customers_page_token(page, token, sizeof token, &err));
        CHECK(page->more == (seen < 7));
        STELE_AUTO(shop_customers_page) resumed = NULL;
        OK(shop_customers_newest_resume(stele_s(token), &resumed, &err));
        st = shop_customers_list_by_newest(conn, true, NULL, 9, &resumed, &err);
        CHECK(seen == 7 ? st == STELE_DONE : st == STELE_OK && resumed->count == 7 - seen);
    }
    CHECK(st == STELE_DONE && page == NULL && seen == 7);
    shop_customers_filter none = {.name = stele_text_v("nobody")};
    CHECK(shop_customers_list_by_newest(conn, true, &none, 3, &page, &err) == STELE_DONE);
}

static void life_cycle(stele_conn *conn)
{
    uint64_t count = 0;
    STELE_AUTO(shop_carts_row) cart = NULL;
    shop_carts_input input = {.expires_at = stele_ts_n_after(stele_seconds(-60))};
    OK(shop_carts_insert(conn, &input, &cart, &err));
    CHECK(cart->expires_at.has);
    shop_carts_row *row = NULL;
    CHECK(shop_carts_find(conn, cart->id, &row, &err) == STELE_E_NOT_FOUND);
    OK(shop_carts_expire(conn, 10, &count, &err));
    CHECK(count == 1);
    shop_carts_input empty = {0};
    OK(shop_carts_insert(conn, &empty, NULL, &err));

    int64_t id = new_customer(conn, "gone@x", false);
    OK(shop_customers_delete(conn, id, &err));
    OK(shop_customers_purge(conn, STELE_TS_INFINITY, 10, &count, &err));
    CHECK(count == 1);
    CHECK(shop_customers_restore(conn, id, &err) == STELE_E_NOT_FOUND);
    CHECK(shop_customers_hard_delete(conn, id, &err) == STELE_E_NOT_FOUND);
}

static void keys(stele_conn *conn)
{
    shop_categories_input category = {.name = stele_text_v("all")};
    shop_products_input product = {
        .sku = stele_text_v("1"), .name = stele_text_v("cup"), .price = stele_text_v("3.20")};
    STELE_AUTO(shop_categories_row) top = NULL;
    STELE_AUTO(shop_products_row) cup = NULL;
    OK(shop_categories_insert(conn, &category, &top, &err));
    OK(shop_products_insert(conn, &product, &cup, &err));
    CHECK(stele_str_eq(cup->price, stele_s("3.20")) && cup->currency == SHOP_CURRENCY_EUR);
    shop_product_categories_input both = {.product_id = stele_uuid_v(cup->id),
                                          .category_id = stele_i32_v(top->id)};
    bool inserted = false;
    OK(shop_product_categories_upsert(conn, &both, NULL, &inserted, &err));
    CHECK(inserted);
    OK(shop_product_categories_upsert(conn, &both, NULL, &inserted, &err));
    CHECK(!inserted);
    shop_product_categories_key key = {.product_id = cup->id, .category_id = top->id};
    STELE_AUTO(shop_product_categories_row) row = NULL;
    OK(shop_product_categories_find(conn, &key, &row, &err));
    STELE_AUTO(shop_product_categories_page) page = NULL;
    OK(shop_product_categories_list_by_product(conn, cup->id, NULL, 5, &page, &err));
    CHECK(page->count == 1 && !page->more);
    CHECK(shop_product_categories_list_by_product(conn, cup->id, NULL, 5, &page, &err) ==
          STELE_DONE);
    OK(shop_product_categories_delete(conn, &key, &err));
}

static void errors(stele_conn *conn)
{
    shop_customers_input unset = {.email = stele_text_v("e@x")};
    CHECK(shop_customers_insert(conn, &unset, NULL, &err) == STELE_E_INPUT);
    CHECK(strcmp(err.column, "name") == 0);
    shop_customers_input twice = {.email = stele_text_v("a@x"), .name = stele_text_v("B")};
    CHECK(shop_customers_insert(conn, &twice, NULL, &err) == STELE_E_UNIQUE);
    CHECK(strcmp(shop_currency_name(SHOP_CURRENCY_USD), "USD") == 0);
    CHECK(shop_currency_parse(stele_s("JPY")) == SHOP_CURRENCY_JPY);
    CHECK(shop_currency_parse(stele_s("?")) == SHOP_CURRENCY_UNKNOWN);
    CHECK(shop_currency_name(SHOP_CURRENCY_UNKNOWN) == NULL);
}

int main(void)
{
    const stele_module *const modules[] = {&shop_shop_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.names.prefix = getenv("STELE_PREFIX");
    options.modules = modules;
    options.module_count = 1;
    STELE_AUTO(stele_db) db = NULL;
    STELE_AUTO(stele_conn) conn = NULL;
    OK(stele_db_open(&options, &db, &err));
    OK(stele_db_ensure(db, &shop_shop_module, NULL, &err));
    OK(stele_db_ensure(db, &shop_shop_module, NULL, &err));
    OK(stele_db_acquire(db, &conn, &err));
    int64_t customer = new_customer(conn, "a@x", false);
    find_and_count(conn, customer);
    patch_and_version(conn, new_order(conn, customer));
    pages(conn);
    life_cycle(conn);
    keys(conn);
    errors(conn);
    return 0;
}
