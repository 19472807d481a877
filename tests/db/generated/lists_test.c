/*
 * Lists: their order, pages, tokens and filters.
 */
#include "life.h"

/* ---- order ---- */

/* Every second game's rows; ties in each of the order's columns. */
static void fill_scores(void)
{
    peer("INSERT INTO scores (id, game, points, player, level) SELECT i, 'go', i % 5, 'p' || i % 3,"
         " i % 2 FROM generate_series(1, 60) i");
    peer("INSERT INTO scores (id, game, points, player) SELECT i, 'chess', i, 'p' FROM"
         " generate_series(100, 120) i");
}

/* The ids of all pages of `limit` rows, as the server would list them. */
static void a_list_that_goes_both_ways(void **state)
{
    (void)state;
    fill_scores();
    char *wanted = dbtest_value(dsn, "SELECT string_agg(id::text, ',' ORDER BY points DESC, player,"
                                     " level DESC, id) FROM scores WHERE game = 'go'");
    for (uint32_t limit = 1; limit <= 61; limit += 4) {
        char ids[512] = "";
        size_t len = 0;
        stele_status st;
        scores_page *page = NULL;
        while ((st = scores_list_by_ranking(conn, stele_s("go"), NULL, limit, &page, &err)) ==
               STELE_OK)
            for (size_t i = 0; i < page->count; i++)
                len += (size_t)snprintf(ids + len, sizeof ids - len, "%s%d", len > 0 ? "," : "",
                                        (int)page->rows[i].id);
        assert_int_equal(st, STELE_DONE);
        assert_string_equal(ids, wanted);
    }
    free(wanted);
}

/* Rows with the same time are not lost or repeated at the edge of a page. */
static void ties_are_kept_apart(void **state)
{
    (void)state;
    peer("INSERT INTO customers (id, email, name, created_at) SELECT i, i || '@e.org', 'n',"
         " '2026-01-01Z'::timestamptz + i / 4 * interval '1 s' FROM generate_series(1, 40) i");
    shop_customers_page *page = NULL;
    int64_t last = 41;
    for (int n = 0; n < 40; n++) {
        if (n % 7 == 0)
            ok(shop_customers_list_by_newest(conn, false, NULL, 7, &page, &err));
        assert_int_equal(page->rows[n % 7].id, --last);
    }
    assert_false(page->more);
    /* After the last page no question is asked. */
    refuses(STELE_DONE, shop_customers_list_by_newest(conn, false, NULL, 7, &page, &err));
    assert_null(page);
}

/* What is written between two pages: before the place where we are it is not seen, after it, it is. */
static void pages_hold_their_place(void **state)
{
    (void)state;
    peer("INSERT INTO products (sku, name, price) SELECT i, 'n', i FROM generate_series(1, 9) i");
    shop_products_page *page = NULL;
    ok(shop_products_list_by_cheapest(conn, NULL, 3, &page, &err));
    assert_str(page->rows[2].price, "3.00");
    assert_true(page->more);
    peer("INSERT INTO products (sku, name, price) VALUES ('x', 'x', 2.5), ('y', 'y', 3.01)");
    peer("DELETE FROM products WHERE price IN (3, 4)");
    ok(shop_products_list_by_cheapest(conn, NULL, 3, &page, &err));
    assert_int_equal(page->count, 3);
    assert_str(page->rows[0].price, "3.01");
    assert_str(page->rows[1].price, "5.00");
    shop_products_page_free(page);
}

static void a_partial_list_has_what_its_predicate_has(void **state)
{
    (void)state;
    peer("INSERT INTO orders (id, customer_id, currency, status, placed_at) SELECT i, 901, 'EUR',"
         " 'paid', CASE WHEN i % 2 = 0 THEN '2026-01-01Z'::timestamptz + i * interval '1 h' END"
         " FROM generate_series(1, 6) i");
    shop_orders_page *page = NULL;
    ok(shop_orders_list_by_placed(conn, SHOP_ORDER_STATUS_PAID, NULL, 10, &page, &err));
    assert_int_equal(page->count, 3);
    assert_int_equal(page->rows[0].id, 6);
    assert_ts(page->rows[2].placed_at.v, "2026-01-01T02:00:00Z");
    shop_orders_page_free(page);
    page = NULL;
    answers(STELE_DONE, 1,
            shop_orders_list_by_placed(conn, SHOP_ORDER_STATUS_OPEN, NULL, 10, &page, &err));
}

/* ---- tokens ---- */

static void a_token_crosses_processes(void **state)
{
    (void)state;
    char token[STELE_PAGE_TOKEN_SIZE];
    fill_scores();
    scores_page *page = NULL;
    ok(scores_list_by_ranking(conn, stele_s("go"), NULL, 13, &page, &err));
    int64_t last = page->rows[12].id;
    ok_here(scores_page_token(page, token, sizeof token, &err));
    for (const char *c = token; *c != '\0'; c++)
        assert_non_null(
            strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", *c));
    scores_page *next = NULL;
    ok(scores_list_by_ranking(conn, stele_s("go"), NULL, 13, &page, &err));
    ok_here(scores_ranking_resume(stele_s(token), &next, &err));
    assert_int_equal(next->count, 0);
    ok(scores_list_by_ranking(conn, stele_s("go"), NULL, 13, &next, &err));
    assert_int_equal(next->count, 13);
    for (size_t i = 0; i < 13; i++) {
        assert_int_equal(next->rows[i].id, page->rows[i].id);
        assert_int_not_equal(next->rows[i].id, last);
    }
    scores_page_free(page);
    scores_page_free(next);
}

static void a_token_of_something_else_is_refused(void **state)
{
    (void)state;
    char token[STELE_PAGE_TOKEN_SIZE];
    peer("INSERT INTO products (sku, name, price) VALUES ('a', 'n', 123456.78)");
    shop_products_page *page = NULL;
    shop_orders_page *orders = NULL;
    ok(shop_products_list_by_cheapest(conn, NULL, 5, &page, &err));
    ok_here(shop_products_page_token(page, token, sizeof token, &err));
    refuses(STELE_E_INPUT, shop_products_page_token(page, token, 8, &err));
    shop_products_page_free(page);
    page = NULL;
    refuses(STELE_E_INPUT, shop_orders_placed_resume(stele_s(token), &orders, &err));
    refuses(STELE_E_INPUT, shop_products_cheapest_resume(stele_s(""), &page, &err));
    refuses(STELE_E_INPUT, shop_products_cheapest_resume(stele_s("hello"), &page, &err));
    for (size_t i = 0; token[i] != '\0'; i++) {
        char kept = token[i];
        token[i] = kept == 'A' ? 'B' : 'A';
        refuses(STELE_E_INPUT, shop_products_cheapest_resume(stele_s(token), &page, &err));
        token[i] = kept;
    }
    assert_null(page);
    assert_null(orders);
    ok_here(shop_products_cheapest_resume(stele_s(token), &page, &err));
    shop_products_page_free(page);
}

static void a_limit_of_nothing_is_refused(void **state)
{
    (void)state;
    shop_products_page *page = NULL;
    refuses(STELE_E_INPUT, shop_products_list_by_cheapest(conn, NULL, 0, &page, &err));
    assert_null(page);
    peer("INSERT INTO products (sku, name, price) VALUES ('a', 'n', 1), ('b', 'n', 2)");
    ok(shop_products_list_by_cheapest(conn, NULL, 1, &page, &err));
    refuses(STELE_E_INPUT, shop_products_list_by_cheapest(conn, NULL, 0, &page, &err));
    assert_int_equal(page->count, 1); /* stays as it was */
    ok(shop_products_list_by_cheapest(conn, NULL, UINT32_MAX, &page, &err));
    assert_int_equal(page->count, 1);
    assert_str(page->rows[0].price, "2.00");
    shop_products_page_free(page);
}

/* ---- filters ---- */

static void fill_customers(void)
{
    peer("INSERT INTO customers (id, email, name, phone, vip, birthday, created_at) VALUES"
         " (1, 'a@e', 'A', NULL, false, '1980-01-01', '2026-01-01Z'),"
         " (2, 'b@e', 'B', '2', false, NULL, '2026-01-02Z'),"
         " (3, 'c@e', 'C', '3', false, '1999-12-31', '2026-01-03Z'),"
         " (4, 'd@e', 'D', NULL, false, '2000-01-01', statement_timestamp() + interval '1 hour')");
}

/* The rows that a filter lets through, as a list, as a count and by exists. */
static void assert_customers(const shop_customers_filter *filter, const char *wanted)
{
    char ids[32] = "";
    size_t len = 0;
    int64_t count = -1;
    shop_customers_page *page = NULL;
    stele_status st = shop_customers_list_by_newest(conn, false, filter, 10, &page, &err);
    for (size_t i = 0; st == STELE_OK && i < page->count; i++)
        len += (size_t)snprintf(ids + len, sizeof ids - len, "%d", (int)page->rows[i].id);
    shop_customers_page_free(page);
    assert_string_equal(ids, wanted);
    ok(shop_customers_count(conn, filter, &count, &err));
    assert_int_equal(count, strlen(wanted));
    bool exists = count == 0;
    ok(shop_customers_exists(conn, filter, &exists, &err));
    assert_int_equal(exists, count > 0);
}

static void filters_restrict(void **state)
{
    (void)state;
    fill_customers();
    assert_customers(NULL, "4321");
    assert_customers(&(shop_customers_filter){.name = stele_text_v("B")}, "2");
    assert_customers(&(shop_customers_filter){.phone = stele_text_n_null()}, "41");
    assert_customers(&(shop_customers_filter){.phone = stele_text_n_v("3")}, "3");
    assert_customers(&(shop_customers_filter){.phone = stele_text_n_null(),
                                              .birthday = stele_date_n_v(date_of("2000-01-01"))},
                     "4");
    assert_customers(&(shop_customers_filter){.birthday = stele_date_n_null()}, "2");
    assert_customers(
        &(shop_customers_filter){.id_from = stele_i64_v(2), .id_before = stele_i64_v(4)}, "32");
    assert_customers(&(shop_customers_filter){.birthday_from = stele_date_v(date_of("1999-12-31"))},
                     "43");
    assert_customers(
        &(shop_customers_filter){.birthday_before = stele_date_v(date_of("1999-12-31"))}, "1");
    assert_customers(&(shop_customers_filter){.name = stele_text_v("nobody")}, "");
}

/* Bounds in time may be the server's clock. */
static void filters_know_the_servers_clock(void **state)
{
    (void)state;
    fill_customers();
    peer(
        "UPDATE customers SET created_at = statement_timestamp() - interval '1 hour' WHERE id = 3");
    assert_customers(&(shop_customers_filter){.created_at_before = stele_ts_now()}, "321");
    assert_customers(&(shop_customers_filter){.created_at_from = stele_ts_now()}, "4");
    assert_customers(
        &(shop_customers_filter){.created_at_from = stele_ts_after(stele_seconds(-7200))}, "43");
    assert_customers(
        &(shop_customers_filter){.created_at_from = stele_ts_after(stele_seconds(-7200)),
                                 .created_at_before = stele_ts_after(stele_seconds(-1800))},
        "3");
    assert_customers(
        &(shop_customers_filter){.created_at = stele_ts_v(ts_of("2026-01-02T00:00:00Z"))}, "2");
    peer("INSERT INTO carts (expires_at) VALUES (timezone('UTC', now()) + interval '1 hour'),"
         " (timezone('UTC', now()) + interval '3 hours'), (NULL)");
    COUNTS(shop_carts,
           (&(shop_carts_filter){.expires_at_before = stele_ts_after(stele_seconds(7200))}), 1);
    COUNTS(shop_carts, (&(shop_carts_filter){.expires_at = stele_ts_n_null()}), 1);
}

/* A filter holds on every page, and its shape may change between pages. */
static void filters_go_with_pages(void **state)
{
    (void)state;
    fill_customers();
    shop_customers_page *page = NULL;
    shop_customers_filter filter = {.phone = stele_text_n_null()};
    ok(shop_customers_list_by_newest(conn, false, &filter, 1, &page, &err));
    assert_int_equal(page->rows[0].id, 4);
    ok(shop_customers_list_by_newest(conn, false, &filter, 1, &page, &err));
    assert_int_equal(page->rows[0].id, 1);
    assert_false(page->more);
    shop_customers_page_free(page);
}

static void null_bounds_nothing(void **state)
{
    (void)state;
    /* A bound that was made NULL by hand; no constructor makes one. */
    shop_customers_filter filter = {.id_from = {&stele_tag_null, 0}};
    int64_t count = -1;
    refuses(STELE_E_INPUT, shop_customers_count(conn, &filter, &count, &err));
    assert_string_equal(err.column, "id");
    assert_int_equal(count, -1);
}

/* ---- scopes ---- */

static void fill_scopes(void)
{
    peer("INSERT INTO session_states (app_name, user_id, session_id, deleted_at, expires_at) SELECT"
         " 'a', 'u', d || e, CASE d WHEN 'D' THEN now() AT TIME ZONE 'UTC' END,"
         " CASE e WHEN 'E' THEN now() AT TIME ZONE 'UTC' - interval '1 s' WHEN 'L' THEN"
         " now() AT TIME ZONE 'UTC' + interval '1 h' END"
         " FROM unnest('{D,d}'::text[]) d, unnest('{E,L,N}'::text[]) e");
}

static void assert_scope(stele_scope deleted, stele_scope expired, const char *wanted)
{
    session_states_filter filter = {.deleted = deleted, .expired = expired};
    session_states_recent_key key = {.app_name = stele_s("a"), .user_id = stele_s("u")};
    session_states_page *page = NULL;
    char seen[64] = "";
    size_t len = 0;
    ok(session_states_list_by_recent(conn, &key, &filter, 10, &page, &err));
    for (size_t i = page->count; i > 0; i--) /* newest first: ids go down */
        len += (size_t)snprintf(seen + len, sizeof seen - len, "%s ",
                                page->rows[i - 1].session_id.data);
    assert_string_equal(seen, wanted);
    COUNTS(session_states, &filter, (int64_t)page->count);
    session_states_page_free(page);
}

static void scopes_choose_who_is_seen(void **state)
{
    (void)state;
    fill_scopes();
    assert_scope(STELE_SCOPE_LIVE, STELE_SCOPE_LIVE, "dL dN ");
    assert_scope(STELE_SCOPE_ANY, STELE_SCOPE_LIVE, "DL DN dL dN ");
    assert_scope(STELE_SCOPE_ONLY, STELE_SCOPE_LIVE, "DL DN ");
    assert_scope(STELE_SCOPE_LIVE, STELE_SCOPE_ANY, "dE dL dN ");
    assert_scope(STELE_SCOPE_LIVE, STELE_SCOPE_ONLY, "dE ");
    assert_scope(STELE_SCOPE_ANY, STELE_SCOPE_ANY, "DE DL DN dE dL dN ");
    assert_scope(STELE_SCOPE_ONLY, STELE_SCOPE_ONLY, "DE ");
    assert_scope(STELE_SCOPE_ANY, STELE_SCOPE_ONLY, "DE dE ");
    assert_scope(STELE_SCOPE_ONLY, STELE_SCOPE_ANY, "DE DL DN ");
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        GENERATED(a_list_that_goes_both_ways),
        GENERATED(ties_are_kept_apart),
        GENERATED(pages_hold_their_place),
        STOCKED(a_partial_list_has_what_its_predicate_has),
        GENERATED(a_token_crosses_processes),
        GENERATED(a_token_of_something_else_is_refused),
        GENERATED(a_limit_of_nothing_is_refused),
        GENERATED(filters_restrict),
        GENERATED(filters_know_the_servers_clock),
        GENERATED(filters_go_with_pages),
        GENERATED(null_bounds_nothing),
        GENERATED(scopes_choose_who_is_seen),
    };
    return RUN_GENERATED(tests);
}
