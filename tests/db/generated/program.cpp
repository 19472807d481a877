// A C++17 program on generated C: structs are filled by their members, since C++17 has no designated
// initialisers. Prints what it sees; test_cplusplus.py reads it.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <stele.h>

#include "shop.gen.h"

namespace
{

stele_error err;

void must(stele_status st, const char *what)
{
    if (st == STELE_OK)
        return;
    char text[1024];
    (void)stele_error_format(&err, text, sizeof text);
    std::fprintf(stderr, "%s: %s\n", what, text);
    std::exit(1);
}

std::string text_of(stele_str s)
{
    return s.data == nullptr ? "NULL" : std::string(s.data, s.len);
}

stele_uuid add_product(stele_conn *conn)
{
    const stele_str tags[] = {stele_s("blue"), stele_s("fine")};
    shop_products_input input{};
    input.sku = stele_text_v("PEN");
    input.name = stele_text_v("Pen");
    input.price = stele_text_v("1.50");
    input.currency = shop_currency_v(SHOP_CURRENCY_JPY);
    input.weight = stele_f64_n_v(0.5);
    input.tags = stele_str_array_v(stele_str_array{tags, nullptr, 2});
    STELE_AUTO(shop_products_row) row = nullptr;
    must(shop_products_insert(conn, &input, &row, &err), "insert");
    std::printf("%s %s %s tags %zu weight %.1f rating %s\n", text_of(row->name).c_str(),
                text_of(row->price).c_str(), shop_currency_name(row->currency), row->tags.count,
                row->weight.v, row->rating.has ? "set" : "NULL");
    return row->id;
}

void change_product(stele_conn *conn, stele_uuid id)
{
    shop_products_patch patch{};
    patch.weight = stele_f64_n_null();
    patch.description = stele_text_v("writes");
    patch.if_version = stele_i64_v(1);
    STELE_AUTO(shop_products_row) row = nullptr;
    must(shop_products_update(conn, id, &patch, &row, &err), "update");
    std::printf("%s weight %s version %d\n", text_of(row->description).c_str(),
                row->weight.has ? "set" : "NULL", row->version);
    const stele_status st = shop_products_update(conn, id, &patch, nullptr, &err);
    std::printf("again: %s\n", stele_status_name(st));
}

stele_status book(stele_conn *conn, void *user, stele_error *why)
{
    shop_stock_input input{};
    input.product_id = stele_uuid_v(*static_cast<const stele_uuid *>(user));
    input.warehouse_id = stele_i16_v(1);
    input.on_hand = stele_i32_v(7);
    return shop_stock_upsert(conn, &input, nullptr, nullptr, why);
}

void list_stock(stele_conn *conn)
{
    STELE_AUTO(shop_stock_page) page = nullptr;
    shop_stock_filter filter{};
    filter.on_hand_from = stele_i32_v(1);
    must(shop_stock_list_by_in_warehouse(conn, 1, &filter, 10, &page, &err), "list");
    for (size_t i = 0; i < page->count; i++)
        std::printf("stock %d available %d\n", page->rows[i].on_hand, page->rows[i].available);
}

} // namespace

int main()
{
    const stele_module *const modules[] = {&shop_shop_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = std::getenv("STELE_DSN");
    options.modules = modules;
    options.module_count = 1;
    STELE_AUTO(stele_db) db = nullptr;
    must(stele_db_open(&options, &db, &err), "open");
    must(stele_db_ensure(db, &shop_shop_module, nullptr, &err), "ensure");
    STELE_AUTO(stele_conn) conn = nullptr;
    must(stele_db_acquire(db, &conn, &err), "acquire");

    stele_uuid id = add_product(conn);
    change_product(conn, id);
    shop_warehouses_input warehouse{};
    warehouse.name = stele_text_v("North");
    warehouse.gateway = stele_text_v("08:00:2b:01:02:03");
    must(shop_warehouses_insert(conn, &warehouse, nullptr, &err), "insert");
    stele_tx_options serializable = STELE_TX_OPTIONS_INIT;
    serializable.isolation = STELE_SERIALIZABLE;
    must(stele_tx_run(conn, &serializable, book, &id, &err), "transaction");
    list_stock(conn);
    return 0;
}
