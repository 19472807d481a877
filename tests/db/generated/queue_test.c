/* Iterators of tables, and functions queued in pipelines. */
#include "util.h"

/* Reads a table to its end; gives the number of rows. */
#define COUNT_ROWS(table, filter)                                                                  \
    static int count_##table(void)                                                                 \
    {                                                                                              \
        table##_iter *iter = NULL;                                                                 \
        const table##_row *row = NULL;                                                             \
        int count = 0;                                                                             \
        ok(table##_iter_open(conn, filter, &iter, &err));                                          \
        while (table##_iter_next(iter, &row, &err) == STELE_OK)                                    \
            count++;                                                                               \
        table##_iter_close(iter);                                                                  \
        return count;                                                                              \
    }

COUNT_ROWS(app_states, NULL)
COUNT_ROWS(clocks, NULL)
COUNT_ROWS(scores, NULL)
COUNT_ROWS(session_events, NULL)
COUNT_ROWS(session_states, NULL)
COUNT_ROWS(session_summaries, NULL)
COUNT_ROWS(session_track_events, NULL)
COUNT_ROWS(shop_audit_log, NULL)
COUNT_ROWS(shop_cart_items, NULL)
COUNT_ROWS(shop_carts, NULL)
COUNT_ROWS(shop_categories, NULL)
COUNT_ROWS(shop_customers, NULL)
COUNT_ROWS(shop_invoices, NULL)
COUNT_ROWS(shop_order_lines, NULL)
COUNT_ROWS(shop_orders, NULL)
COUNT_ROWS(shop_payments, NULL)
COUNT_ROWS(shop_product_categories, NULL)
COUNT_ROWS(shop_products, NULL)
COUNT_ROWS(shop_settings, NULL)
COUNT_ROWS(shop_shelf_labels, NULL)
COUNT_ROWS(shop_stock, NULL)
COUNT_ROWS(shop_type_samples, NULL)
COUNT_ROWS(shop_warehouses, NULL)
COUNT_ROWS(shop_wishlists, NULL)
COUNT_ROWS(user_states, NULL)

static void test_every_table_can_be_read_row_by_row(void **state)
{
    (void)state;
    static const struct {
        const char *table;
        int (*count)(void);
    } tables[] = {
        {"app_states", count_app_states},
        {"clocks", count_clocks},
        {"scores", count_scores},
        {"session_events", count_session_events},
        {"session_states", count_session_states},
        {"session_summaries", count_session_summaries},
        {"session_track_events", count_session_track_events},
        {"audit_log", count_shop_audit_log},
        {"cart_items", count_shop_cart_items},
        {"carts", count_shop_carts},
        {"categories", count_shop_categories},
        {"customers", count_shop_customers},
        {"invoices", count_shop_invoices},
        {"order_lines", count_shop_order_lines},
        {"orders", count_shop_orders},
        {"payments", count_shop_payments},
        {"product_categories", count_shop_product_categories},
        {"products", count_shop_products},
        {"settings", count_shop_settings},
        {"shelf_labels", count_shop_shelf_labels},
        {"stock", count_shop_stock},
        {"type_samples", count_shop_type_samples},
        {"warehouses", count_shop_warehouses},
        {"wishlists", count_shop_wishlists},
        {"user_states", count_user_states},
    };
    char sql[128];
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i].table);
        assert_int_equal(tables[i].count(), number(sql));
    }
}

static void put_session(const char *name)
{
    session_states_input input = {
        .app_name = stele_text_v("app"),
        .user_id = stele_text_v("user"),
        .session_id = stele_text_v(name),
    };
    ok(session_states_insert(conn, &input, NULL, &err));
}

static void test_an_iterator_sees_what_its_filter_says_in_order_of_the_key(void **state)
{
    (void)state;
    put_session("b");
    put_session("a");
    put_session("c");
    ok(session_states_delete(conn, 2, &err));
    session_states_filter filter = {.app_name = stele_text_v("app")};
    for (int any = 0; any < 2; any++) {
        STELE_AUTO(session_states_iter) iter = NULL;
        const session_states_row *row = NULL;
        filter.deleted = any ? STELE_SCOPE_ANY : STELE_SCOPE_LIVE;
        ok(session_states_iter_open(conn, &filter, &iter, &err));
        for (int64_t id = 1; id <= 3; id += any ? 1 : 2) {
            assert_int_equal(session_states_iter_next(iter, &row, &err), STELE_OK);
            assert_int_equal(row->id, id);
        }
        assert_int_equal(session_states_iter_next(iter, &row, &err), STELE_DONE);
    }
    filter.app_name = stele_text_v("another");
    STELE_AUTO(session_states_iter) none = NULL;
    const session_states_row *row = NULL;
    ok(session_states_iter_open(conn, &filter, &none, &err));
    assert_int_equal(session_states_iter_next(none, &row, &err), STELE_DONE);
}

static void test_functions_of_every_kind_in_one_pipeline(void **state)
{
    (void)state;
    put_session("one");
    put_session("two");
    STELE_AUTO(stele_pipeline) p = NULL;
    session_states_input input = {
        .app_name = stele_text_v("app"),
        .user_id = stele_text_v("user"),
        .session_id = stele_text_v("three"),
    };
    session_states_patch patch = {.state = stele_text_n_v("{\"a\": 1}")};
    session_states_unique_active_key key = {stele_s("app"), stele_s("user"), stele_s("two")};
    session_states_recent_key recent = {stele_s("app"), stele_s("user")};
    session_states_row *inserted = NULL, *upserted = NULL, *updated = NULL, *found = NULL;
    session_states_row *missing = (session_states_row *)&key;
    session_states_page *page = NULL;
    bool is_new = true, exists = false;
    uint64_t patched = 77, nothing = 77, deleted = 77, restored = 77, removed = 77, expired = 77;
    int64_t count = 0;
    refuses(STELE_OK, stele_pipeline_open(conn, NULL, &p, &err));
    refuses(STELE_OK, session_states_insert_queue(p, &input, &inserted, &err));
    refuses(STELE_OK,
            session_states_upsert_by_unique_active_queue(p, &input, &upserted, &is_new, &err));
    refuses(STELE_OK, session_states_update_queue(p, 1, &patch, &updated, &patched, &err));
    refuses(STELE_OK, session_states_update_queue(p, 99, &patch, NULL, &nothing, &err));
    refuses(STELE_OK, session_states_find_by_unique_active_queue(p, &key, &found, &err));
    refuses(STELE_OK, session_states_find_queue(p, 99, &missing, &err));
    refuses(STELE_OK, session_states_count_queue(p, NULL, &count, &err));
    refuses(STELE_OK, session_states_exists_queue(p, NULL, &exists, &err));
    refuses(STELE_OK, session_states_list_by_recent_queue(p, &recent, NULL, 2, &page, &err));
    refuses(STELE_OK, session_states_delete_queue(p, 2, &deleted, &err));
    refuses(STELE_OK, session_states_restore_queue(p, 2, &restored, &err));
    refuses(STELE_OK, session_states_hard_delete_queue(p, 2, &removed, &err));
    refuses(STELE_OK, session_states_expire_queue(p, 10, &expired, &err));
    ok(stele_pipeline_sync(p, &err));
    assert_str(inserted->session_id, "three");
    assert_int_equal(upserted->id, inserted->id);
    assert_false(is_new);
    assert_contains(updated->state.data, "\"a\": 1");
    assert_int_equal(patched, 1);
    assert_int_equal(nothing, 0);
    assert_int_equal(found->id, 2);
    assert_null(missing);
    assert_int_equal(count, 3);
    assert_true(exists);
    assert_int_equal(page->count, 2);
    assert_true(page->more);
    assert_int_equal(deleted + restored + removed, 3);
    assert_int_equal(expired, 0);
    session_states_row_free(inserted);
    session_states_row_free(upserted);
    session_states_row_free(updated);
    session_states_row_free(found);
    /* The page goes on where it ended, in a pipeline or without. */
    refuses(STELE_OK, session_states_list_by_recent_queue(p, &recent, NULL, 2, &page, &err));
    ok(stele_pipeline_sync(p, &err));
    assert_null(page); /* the third was removed meanwhile */
}

static void test_errors_in_a_pipeline_name_the_column(void **state)
{
    (void)state;
    static char text[300];
    STELE_AUTO(stele_pipeline) p = NULL;
    session_states_input input = {.app_name = stele_text_v("app")};
    memset(text, 'x', sizeof text - 1);
    refuses(STELE_OK, stele_pipeline_open(conn, NULL, &p, &err));
    refuses(STELE_E_INPUT, session_states_insert_queue(p, &input, NULL, &err));
    assert_string_equal(err.column, "user_id");
    input.user_id = stele_text_v(text);
    input.session_id = stele_text_v("one");
    refuses(STELE_OK, session_states_insert_queue(p, &input, NULL, &err));
    fails(STELE_E_VALUE, stele_pipeline_sync(p, &err));
    assert_string_equal(err.table, "session_states");
    assert_string_equal(err.column, "user_id");
    assert_contains(err.message, "entry 0 (session_states_insert)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STOCKED(test_every_table_can_be_read_row_by_row),
        GENERATED(test_an_iterator_sees_what_its_filter_says_in_order_of_the_key),
        GENERATED(test_functions_of_every_kind_in_one_pipeline),
        GENERATED(test_errors_in_a_pipeline_name_the_column),
    };
    dbtest_require_server();
    return RUN_GENERATED(tests);
}
