#define _GNU_SOURCE
#include "query_data.h"

static const char ROWS[] =
    "INSERT INTO customers (id, email, name, phone, vip, birthday, created_at, deleted_at) VALUES"
    " (1, 'ann@example.org', 'Ann', '+31', true, '1990-05-01', '2026-01-01Z', NULL),"
    " (2, 'Bob@example.org', 'Bob', NULL, false, NULL, '2026-01-02Z', NULL),"
    " (3, 'pen@example.org', 'Pen', NULL, false, NULL, '2026-01-03Z', '2026-02-01Z');"
    "SELECT setval('customers_id_seq', 100);"
    "INSERT INTO categories (id, parent_id, name) OVERRIDING SYSTEM VALUE VALUES"
    " (1, NULL, 'Office'), (2, 1, 'Paper'), (3, 1, 'Pens'), (4, 3, 'Ink pens'), (5, NULL, 'Tea');"
    "INSERT INTO products (id, sku, name, description, price, tags, attributes) VALUES"
    " ('" PEN "', 'PEN', 'Pen', 'writes blue', 1.50, '{blue,fine,steel}',"
    "  '{\"colour\": \"blue\", \"size\": {\"width\": 3}}'),"
    " ('" INK "', 'INK', 'Ink', 'black ink', 7.00, '{blue}',"
    "  '{\"colour\": \"black\", \"weight\": 5}'),"
    " ('" MAP "', 'MAP', 'Map', '', 12.25, '{}', '{}');"
    "INSERT INTO warehouses (id, name, gateway, opens, closes, handling) VALUES"
    " (1, 'North', '08:00:2b:01:02:03', '08:00', '18:00', '2 hours'),"
    " (2, 'South', '08:00:2b:01:02:04', '06:00', '14:30', '30 minutes');"
    "INSERT INTO stock (product_id, warehouse_id, on_hand, reserved) VALUES"
    " ('" PEN "', 1, 90, 9), ('" INK "', 1, 5, 0);"
    "INSERT INTO carts (id, customer_id, expires_at) VALUES"
    " ('" CART "', 1, NULL), ('" CART_PAST "', 1, '2000-01-01'),"
    " ('" CART_LATER "', 2, timezone('UTC', now()) + interval '1 day');"
    "INSERT INTO cart_items (cart_id, product_id, quantity) VALUES"
    " ('" CART "', '" PEN "', 2), ('" CART "', '" INK "', 1);"
    "INSERT INTO orders (id, customer_id, status, currency, total, created_at, placed_at, note) "
    "VALUES"
    " (1, 1, 'open', 'EUR', 10.50, '2026-01-10 08:00Z', '2026-01-11Z', 'gift'),"
    " (2, 1, 'paid', 'EUR', 20.00, '2026-01-10 12:00Z', NULL, NULL),"
    " (3, 2, 'paid', 'USD', 5.00, '2026-02-01 00:00Z', '2026-02-02Z', NULL);"
    "SELECT setval('orders_id_seq', 100);"
    "INSERT INTO order_lines (order_id, line, product_id, warehouse_id, quantity, price) VALUES"
    " (1, 1, '" PEN "', 1, 2, 1.50), (1, 2, '" INK "', 1, 1, 7.00), (2, 1, '" INK "', 1, 2, 7.00);"
    "INSERT INTO invoices (id, order_id, number, status, created_at) VALUES"
    " (1, 1, 'R-1', 'draft', '2026-01-11Z'), (2, 2, 'R-2', 'draft', '2026-01-12Z'),"
    " (3, 3, 'R-3', 'paid', '2026-01-13Z');"
    "INSERT INTO settings (key, value) VALUES ('theme', '\"dark\"'), ('empty', NULL);"
    "INSERT INTO wishlists (customer_id, title, products, deleted_at) VALUES"
    " (1, 'Birthday', '{" MAP "," PEN "}', NULL), (1, 'Old', '{" INK "}', '2026-01-01Z');"
    "INSERT INTO audit_log (at, actor, change) VALUES"
    " ('2026-01-01Z', 'ann', '{\"n\": 1}'), ('2026-01-02Z', 'ann', '{\"n\": 2}');"
    "INSERT INTO page_views (path, visitor) VALUES"
    " ('/', '" PEN "'), ('/', '" PEN "'), ('/', '" INK "'), ('/map', NULL);"
    "INSERT INTO shelf_labels (conn, class, \"order\", \"user\") VALUES (7, 'pens', 1, 'ann');";

int shop_tables(void **state)
{
    (void)clean_tables(state);
    peer(ROWS);
    return 0;
}

void check_texts(const char *file, int line, stele_str_array array, const char *const *wanted)
{
    size_t count = 0;
    while (wanted[count] != NULL)
        count++;
    if (array.count != count) {
        print_error("%zu elements, not %zu\n", array.count, count);
        _fail(file, line);
    }
    for (size_t i = 0; i < count; i++)
        _assert_string_equal(array.items[i].data, wanted[i], file, line);
}
