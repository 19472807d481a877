/* Clauses that are there or not, choices, tenants, and how the statements of a query are planned. */
#define _GNU_SOURCE
#include "query_data.h"

/* The ids of the rows, as "3 2 1". */
static const char *ids_of(const shop_orders_rows *rows)
{
    static char text[64];
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < rows->count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%d", i > 0 ? " " : "",
                                (int)rows->rows[i].id);
    return text;
}

static void searches(shop_shop_search_orders_params params, const char *wanted)
{
    shop_orders_rows *rows = NULL;
    params.limit = stele_i64_v(10);
    ok(shop_shop_search_orders(conn, &params, &rows, &err));
    assert_string_equal(ids_of(rows), wanted);
    shop_orders_rows_free(rows);
}

#define SEARCH(...) ((shop_shop_search_orders_params){__VA_ARGS__})

static void every_clause_alone(void **state)
{
    (void)state;
    searches(SEARCH(.only_placed = false), "3 2 1");
    searches(SEARCH(.customer_id = stele_i64_v(1)), "2 1");
    searches(SEARCH(.status = shop_order_status_v(SHOP_ORDER_STATUS_PAID)), "3 2");
    searches(SEARCH(.since = stele_ts_v(ts_of("2026-01-10T10:00:00Z")), .until = stele_ts_now()),
             number("SELECT (now() > '2026-02-01Z')::int") ? "3 2" : "2");
    searches(SEARCH(.since = stele_ts_v(0), .until = stele_ts_v(ts_of("2026-01-31T00:00:00Z"))),
             "2 1");
    searches(SEARCH(.note = stele_text_n_v("gift")), "1");
    searches(SEARCH(.only_placed = true), "3 1");
}

static void null_is_a_value_of_a_clause(void **state)
{
    (void)state;
    searches(SEARCH(.note = stele_text_n_null()), "3 2");
}

static void clauses_together(void **state)
{
    (void)state;
    searches(SEARCH(.customer_id = stele_i64_v(1), .only_placed = true), "1");
    searches(SEARCH(.customer_id = stele_i64_v(1), .note = stele_text_n_null(),
                    .status = shop_order_status_v(SHOP_ORDER_STATUS_PAID)),
             "2");
    searches(SEARCH(.customer_id = stele_i64_v(2), .note = stele_text_n_v("gift")), "");
}

static void choices(void **state)
{
    (void)state;
    searches(SEARCH(.sort = SHOP_SHOP_SEARCH_ORDERS_SORT_NEWEST), "3 2 1");
    searches(SEARCH(.sort = SHOP_SHOP_SEARCH_ORDERS_SORT_OLDEST), "1 2 3");
    searches(SEARCH(.sort = SHOP_SHOP_SEARCH_ORDERS_SORT_DEAREST), "2 1 3");
    searches(SEARCH(.sort = SHOP_SHOP_SEARCH_ORDERS_SORT_DEAREST, .only_placed = true), "1 3");
}

static void a_choice_out_of_range(void **state)
{
    (void)state;
    shop_orders_rows *rows = NULL;
    shop_shop_search_orders_params params = {.limit = stele_i64_v(1)};
    for (int value = 3; value < 9; value += 2) {
        memcpy(&params.sort, &value, sizeof params.sort);
        refuses(STELE_E_INPUT, shop_shop_search_orders(conn, &params, &rows, &err));
        assert_string_equal(err.column, "sort");
    }
    assert_null(rows);
}

static void half_of_a_pair(void **state)
{
    (void)state;
    shop_orders_rows *rows = NULL;
    refuses(STELE_E_INPUT,
            shop_shop_search_orders(conn, &SEARCH(.limit = stele_i64_v(1), .since = stele_ts_now()),
                                    &rows, &err));
    assert_string_equal(err.column, "until");
    refuses(STELE_E_INPUT,
            shop_shop_search_orders(conn, &SEARCH(.limit = stele_i64_v(1), .until = stele_ts_v(0)),
                                    &rows, &err));
    assert_string_equal(err.column, "since");
    refuses(STELE_E_INPUT,
            shop_shop_search_orders(conn, &SEARCH(.only_placed = true), &rows, &err));
    assert_string_equal(err.column, "limit");
    assert_null(rows);
}

static void a_parameter_of_one_branch(void **state)
{
    (void)state;
    shop_shop_rank_products_rows *rows = NULL;
    ok(shop_shop_rank_products(conn, NULL, &rows, &err));
    assert_int_equal(rows->count, 3);
    assert_str(rows->rows[0].score, "1.50");
    shop_shop_rank_products_rows_free(rows);

    shop_shop_rank_products_params params = {.sort = SHOP_SHOP_RANK_PRODUCTS_SORT_NEARNESS};
    rows = NULL;
    refuses(STELE_E_INPUT, shop_shop_rank_products(conn, &params, &rows, &err));
    assert_string_equal(err.column, "near");
    assert_null(rows);

    params.near = stele_text_v("8.00");
    ok(shop_shop_rank_products(conn, &params, &rows, &err));
    assert_str(rows->rows[0].name, "Ink");
    assert_str(rows->rows[0].score, "1.00");
    shop_shop_rank_products_rows_free(rows);
}

static void an_update_of_what_is_given(void **state)
{
    (void)state;
    uint64_t count;
    ok(shop_shop_change_order(conn, PARAMS(change_order, .id = stele_i64_v(1)), &count, &err));
    assert_true(holds("SELECT note = 'gift' AND placed_at IS NOT NULL FROM orders WHERE id = 1"));
    ok(shop_shop_change_order(
        conn, PARAMS(change_order, .id = stele_i64_v(1), .note = stele_text_n_null()), &count,
        &err));
    assert_true(holds("SELECT note IS NULL AND placed_at IS NOT NULL FROM orders WHERE id = 1"));
    ok(shop_shop_change_order(conn,
                              PARAMS(change_order, .id = stele_i64_v(1),
                                     .note = stele_text_n_v("late"), .placed_at = stele_ts_n_now()),
                              &count, &err));
    assert_int_equal(count, 1);
    assert_true(holds("SELECT note = 'late' AND placed_at = updated_at FROM orders WHERE id = 1"));
}

static void a_wrapper_that_no_constructor_made(void **state)
{
    (void)state;
    shop_orders_rows *rows = NULL;
    shop_shop_search_orders_params params = {.limit = stele_i64_v(1)};
    params.customer_id.tag = &stele_tag_null;
    refuses(STELE_E_INPUT, shop_shop_search_orders(conn, &params, &rows, &err));
    assert_string_equal(err.column, "customer_id");
    assert_contains(err.message, "cannot be NULL");
}

static void other_names(void **state)
{
    (void)state;
    stele_db *tenant = NULL;
    shop_orders_rows *rows = NULL;
    stele_names names = {.schema = "tenant_q", .prefix = "q_"};
    peer("CREATE SCHEMA IF NOT EXISTS tenant_q");
    assert_ok(stele_db_derive(db, &names, &tenant, &err), &err);
    make_tables(tenant, &shop_shop_module);
    peer("INSERT INTO tenant_q.q_customers (id, email, name) VALUES (9, 'x@y', 'X');"
         "INSERT INTO tenant_q.q_orders (id, customer_id, currency, status)"
         " VALUES (77, 9, 'EUR', 'paid')");
    assert_ok(stele_conn_use(conn, tenant, &err), &err);
    searches(SEARCH(.status = shop_order_status_v(SHOP_ORDER_STATUS_PAID)), "77");
    ok(shop_shop_search_orders(conn, &SEARCH(.limit = stele_i64_v(0)), &rows, &err));
    assert_int_equal(rows->count, 0);
    shop_orders_rows_free(rows);
    shop_currency one = SHOP_CURRENCY_JPY;
    STELE_AUTO(shop_shop_typed_enums_rows) enums = NULL;
    shop_currency_array array = {.items = &one, .count = 1};
    ok(shop_shop_typed_enums(conn, PARAMS(typed_enums, .currencies = shop_currency_array_v(array)),
                             &enums, &err));
    assert_int_equal(enums->rows[0].currency, SHOP_CURRENCY_JPY);
    assert_ok(stele_conn_use(conn, db, &err), &err);
    searches(SEARCH(.only_placed = true), "3 1");
    stele_db_close(tenant);
    peer("DROP SCHEMA tenant_q CASCADE");
}

static int prepared(const char *part)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%%s%%'"
                   " AND statement NOT LIKE '%%pg_prepared%%'",
                   part);
    return (int)strtol(ask(conn, sql), NULL, 10);
}

/* What is asked for again is prepared, each shape by itself, and every use finds its own. */
static void each_shape_is_a_statement(void **state)
{
    (void)state;
    stele_conn *own = conn;
    conn = other; /* which has prepared nothing yet */
    for (int i = 0; i < 3; i++) {
        searches(SEARCH(.note = stele_text_n_v("gift")), "1");
        searches(SEARCH(.note = stele_text_n_null()), "3 2");
        searches(SEARCH(.note = stele_text_n_null(), .sort = SHOP_SHOP_SEARCH_ORDERS_SORT_OLDEST),
                 "2 3");
    }
    assert_int_equal(prepared("IS NOT DISTINCT FROM"), 2);
    conn = own;
}

static void orders_of(stele_status (*call)(stele_conn *, shop_order_status))
{
    for (int i = 0; i < 12; i++)
        assert_int_equal(call(conn, SHOP_ORDER_STATUS_PAID), STELE_OK);
}

static stele_status call_custom(stele_conn *on, shop_order_status status)
{
    STELE_AUTO(shop_shop_orders_of_status_rows) rows = NULL;
    return shop_shop_orders_of_status(
        on, PARAMS(orders_of_status, .status = shop_order_status_v(status)), &rows, &err);
}

static stele_status call_generic(stele_conn *on, shop_order_status status)
{
    STELE_AUTO(shop_shop_orders_of_status_as_ever_rows) rows = NULL;
    return shop_shop_orders_of_status_as_ever(
        on, PARAMS(orders_of_status_as_ever, .status = shop_order_status_v(status)), &rows, &err);
}

/* Twelve uses: the one is prepared and has a generic plan by then, the other is never prepared. */
static void a_custom_plan_is_made_every_time(void **state)
{
    (void)state;
    if (dbtest_server_version() < 140000) {
        print_message("# plans are counted from PostgreSQL 14 on\n");
        skip();
    }
    run_sql(conn, "DEALLOCATE ALL");
    orders_of(call_custom);
    assert_int_equal(prepared("WHERE o.status = $1 ORDER BY o.id"), 0);
    orders_of(call_generic);
    assert_int_equal(prepared("WHERE o.status = $1 ORDER BY o.id"), 1);
    assert_string_equal(ask(conn, "SELECT generic_plans > 0 FROM pg_prepared_statements WHERE"
                                  " statement LIKE '%o.status = $1 ORDER BY o.id'"),
                        "t");
    orders_of(call_custom);
    assert_int_equal(prepared("WHERE o.status = $1 ORDER BY o.id"), 1);
}

static void queue_custom(stele_conn *on)
{
    STELE_AUTO(shop_shop_orders_of_status_rows) rows = NULL;
    STELE_AUTO(stele_pipeline) batch = NULL;
    refuses(STELE_OK, stele_pipeline_open(on, NULL, &batch, &err));
    refuses(STELE_OK,
            shop_shop_orders_of_status_queue(
                batch,
                PARAMS(orders_of_status, .status = shop_order_status_v(SHOP_ORDER_STATUS_PAID)),
                &rows, &err));
    ok(stele_pipeline_sync(batch, &err));
}

/* The session plans once for all values; such a query has that changed for its transaction. */
static void a_custom_plan_ends_with_its_transaction(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        ok(call_generic(conn, SHOP_ORDER_STATUS_PAID));
        assert_string_equal(ask(conn, "SHOW plan_cache_mode"), "force_generic_plan");
        refuses(STELE_OK, stele_tx_begin(conn, NULL, &err));
        if (i == 0)
            ok(call_custom(conn, SHOP_ORDER_STATUS_PAID));
        else
            queue_custom(conn);
        assert_string_equal(ask(conn, "SHOW plan_cache_mode"), "force_custom_plan");
        ok(stele_tx_rollback(conn, &err));
        ok(call_custom(conn, SHOP_ORDER_STATUS_PAID));
        queue_custom(conn);
        assert_string_equal(ask(conn, "SHOW plan_cache_mode"), "force_generic_plan");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ASKED(every_clause_alone),
        ASKED(null_is_a_value_of_a_clause),
        ASKED(clauses_together),
        ASKED(choices),
        ASKED(a_choice_out_of_range),
        ASKED(half_of_a_pair),
        ASKED(a_parameter_of_one_branch),
        ASKED(an_update_of_what_is_given),
        ASKED(a_wrapper_that_no_constructor_made),
        ASKED(other_names),
        ASKED(each_shape_is_a_statement),
        ASKED(a_custom_plan_is_made_every_time),
        ASKED(a_custom_plan_ends_with_its_transaction),
    };
    return RUN_GENERATED(tests);
}
