/*
 * What the server makes of generated statements: they are of the exact shape, and find their index
 * even when the plan must fit every parameter.
 */
#define _GNU_SOURCE

/* Before the globals of the tests, which are named like its parameters. */
#include "run.h"

#include "life.h"

/* ---- asking the session of `conn` ---- */

/* All rows of what SQL answers, one in a line. Free it. */
static char *answer_of(const char *sql)
{
    struct pg_result *result = NULL;
    char *text = NULL;
    size_t size = 0;
    assert_ok(stele__run_sql(conn, sql, NULL, 0, &result, &err), &err);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (int i = 0; i < stele__result_count(result); i++)
        fprintf(out, "%s\n", stele__result_text(result, i, 0));
    assert_int_equal(fclose(out), 0);
    stele__result_clear(result);
    return text;
}

/* The plan of the statement prepared last whose text is like `pattern`, for any parameters. */
static char *plan_of(const char *pattern, const char *arguments)
{
    char sql[512];
    snprintf(sql, sizeof sql,
             "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%s'"
             " ORDER BY prepare_time DESC LIMIT 1",
             pattern);
    char *name = answer_of(sql);
    name[strcspn(name, "\n")] = '\0';
    if (name[0] == '\0')
        fail_msg("no prepared statement is like %s", pattern);
    snprintf(sql, sizeof sql, "EXPLAIN (COSTS OFF) EXECUTE %s(%s)", name, arguments);
    free(name);
    return answer_of(sql);
}

static void assert_plan(const char *pattern, const char *arguments, const char *wanted)
{
    char *plan = plan_of(pattern, arguments);
    assert_contains(plan, wanted);
    if (strstr(plan, "Seq Scan") != NULL || strstr(plan, "  Sort") != NULL)
        fail_msg("%s", plan);
    free(plan);
}

/* ---- the data ---- */

static int setup_crowd(void **state)
{
    (void)setup_tables(state);
    (void)clean_tables(state);
    peer("INSERT INTO customers (id, email, name, phone, vip, created_at) SELECT i, i || '@e.org',"
         " 'n', i, i % 2 = 0, '2026-01-01Z'::timestamptz + i * interval '1 s'"
         " FROM generate_series(1, 50000) i;"
         "INSERT INTO products (sku, name, price) SELECT i, 'n', i / 10 FROM"
         " generate_series(1, 50000) i;"
         "INSERT INTO orders (id, customer_id, currency, status, placed_at, created_at) SELECT i,"
         " i % 500 + 1, 'EUR', 'paid', CASE WHEN i % 3 = 0 THEN '2026-01-01Z'::timestamptz"
         " + i * interval '1 s' END, '2026-01-01Z'::timestamptz + i * interval '1 s'"
         " FROM generate_series(1, 50000) i;"
         "INSERT INTO scores (id, game, points, player) SELECT i, 'g' || i % 50, i % 1000, 'p' || i"
         " FROM generate_series(1, 50000) i;"
         "INSERT INTO session_states (app_name, user_id, session_id, expires_at) SELECT 'a',"
         " 'u' || i % 500, i, now() AT TIME ZONE 'UTC' + i * interval '1 h'"
         " FROM generate_series(1, 50000) i;"
         "INSERT INTO session_events (app_name, user_id, session_id, event, created_at) SELECT 'a',"
         " 'u', i % 500, '{}', '2026-01-01'::timestamp + i * interval '1 s'"
         " FROM generate_series(1, 50000) i;");
    peer("VACUUM ANALYZE");
    run_sql(conn, "SET plan_cache_mode = force_generic_plan");
    return 0;
}

/* Calls twice: a statement is prepared when it is used again. */
#define TWICE(call)                                                                                \
    do {                                                                                           \
        ok(call);                                                                                  \
        ok(call);                                                                                  \
    } while (0)

/* ---- finding by key ---- */

static void a_key_is_found_by_its_index(void **state)
{
    (void)state;
    session_states_unique_active_key key = {stele_s("a"), stele_s("u7"), stele_s("7")};
    shop_customers_row *customer;
    session_states_row *session;
    for (int i = 0; i < 3; i++) {
        ok(shop_customers_find_by_email(conn, stele_s("77@e.org"), &customer, &err));
        assert_int_equal(customer->id, 77);
        shop_customers_row_free(customer);
        ok(shop_customers_find_by_phone(conn, stele_s("78"), &customer, &err));
        assert_int_equal(customer->id, 78);
        shop_customers_row_free(customer);
        ok(session_states_find_by_unique_active(conn, &key, &session, &err));
        assert_int_equal(session->id, 7);
        session_states_row_free(session);
    }
    assert_plan("SELECT%customers%email = $1%", "'x'", "customers_email");
    assert_plan("SELECT%customers%phone = $1%", "'x'", "customers_phone");
    assert_plan("SELECT%session_states%t.session_id = $3%", "'a', 'b', 'c'",
                "session_states_unique_active");
}

/* ---- pages ---- */

/* An index that has only the first column of an order: servers before 13 sort all rows instead. */
static void needs_incremental_sorts(void)
{
    if (dbtest_server_version() >= 130000)
        return;
    print_message("# incremental sorts came with PostgreSQL 13\n");
    skip();
}

/* Reads three pages: two of the shape that resumes, so that it is prepared. */
#define THREE_PAGES(table, call)                                                                   \
    do {                                                                                           \
        for (int again_ = 0; again_ < 2; again_++) {                                               \
            table##_page *page = NULL;                                                             \
            for (int i_ = 0; i_ < 3; i_++) {                                                       \
                ok(call);                                                                          \
                assert_int_equal(page->count, 20);                                                 \
            }                                                                                      \
            table##_page_free(page);                                                               \
        }                                                                                          \
    } while (0)

static void pages_follow_their_index(void **state)
{
    (void)state;
    THREE_PAGES(shop_products, shop_products_list_by_cheapest(conn, NULL, 20, &page, &err));
    assert_plan("SELECT%products%LIMIT $1", "21", "Index Scan using products_cheapest");
    assert_plan("SELECT%products%(t.price, t.id) >%", "10, '" PEN "', 21",
                "Index Cond: (ROW(price, id) > ROW($1, $2))");

    THREE_PAGES(shop_orders,
                shop_orders_list_by_placed(conn, SHOP_ORDER_STATUS_PAID, NULL, 20, &page, &err));
    shop_orders_filter young = {.created_at_from = stele_ts_v(ts_of("2026-01-01T00:00:00Z"))};
    THREE_PAGES(shop_orders, shop_orders_list_by_of_customer(conn, 7, &young, 20, &page, &err));
    needs_incremental_sorts();
    char *plan = plan_of("SELECT%orders%(t.placed_at, t.id) <%", "'paid', now(), 7, 21");
    assert_contains(plan, "using orders_placed");
    assert_contains(plan, "placed_at <= $2");
    free(plan);
    plan =
        plan_of("SELECT%orders%(t.created_at, t.id) <%created_at >= $%", "7, now(), 7, now(), 21");
    assert_contains(plan, "Backward using orders_customer");
    free(plan);
}

/* An order that goes both ways has a bound that its index understands. */
static void pages_that_go_both_ways_follow_their_index(void **state)
{
    (void)state;
    THREE_PAGES(scores, scores_list_by_ranking(conn, stele_s("g1"), NULL, 20, &page, &err));
    assert_plan("SELECT%scores%game = $1%LIMIT $2", "'g1', 21", "Scan using scores_ranking");
    assert_plan("SELECT%scores%points <= $2%", "'g1', 500, 'p', 0, 7, 21", "(points <= $2)");
}

static void a_history_is_read_from_its_end(void **state)
{
    (void)state;
    session_events_session_key key = {stele_s("a"), stele_s("u"), stele_s("7")};
    session_events_newest_key newest = {stele_s("a"), stele_s("u"), stele_s("7")};
    THREE_PAGES(session_events, session_events_list_by_session(conn, &key, NULL, 20, &page, &err));
    THREE_PAGES(session_events,
                session_events_list_by_newest(conn, &newest, NULL, 20, &page, &err));
    needs_incremental_sorts();
    char *plan =
        plan_of("SELECT%session_events%(t.created_at, t.id) <%", "'a', 'u', '7', now(), 7, 21");
    assert_contains(plan, "Backward using idx_session_events_lookup");
    assert_contains(plan, "created_at <= $4");
    assert_contains(plan, "Presorted Key: created_at"); /* sorts ties only */
    free(plan);
}

/* ---- sweeps ---- */

static void a_sweep_follows_its_index(void **state)
{
    (void)state;
    static const char *const indexes[] = {"*.sweep"};
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    options.optional = indexes;
    options.optional_count = 1;
    options.build_indexes = true;
    assert_ok(stele_db_ensure(db, &sessions_module, &options, &err), &err);
    uint64_t count = 99;
    TWICE(session_states_expire(conn, 10, &count, &err));
    assert_int_equal(count, 0);
    char *plan = plan_of("WITH doomed%session_states%expires_at%", "10");
    assert_contains(plan, "Index Scan using idx_session_states_sweep");
    assert_null(strstr(plan, "Sort"));
    free(plan);
}

/* ---- control ---- */

/* What these statements are not: one text for "set" and "unset". It reads the whole table. */
static void one_shape_for_all_would_read_everything(void **state)
{
    (void)state;
    run_sql(conn, "PREPARE all_in_one (text) AS SELECT t.id FROM customers AS t WHERE"
                  " ($1 IS NULL OR t.email = $1) AND t.deleted_at IS NULL");
    char *plan = answer_of("EXPLAIN (COSTS OFF) EXECUTE all_in_one('77@e.org')");
    assert_contains(plan, "Seq Scan on customers");
    free(plan);
    run_sql(conn, "DEALLOCATE all_in_one");
    int64_t found = 0;
    shop_customers_filter filter = {.email = stele_text_v("77@e.org")};
    TWICE(shop_customers_count(conn, &filter, &found, &err));
    assert_int_equal(found, 1);
    assert_plan("SELECT count(*)%customers%email = $1%", "'x'", "customers_email");
}

/* ---- shapes ---- */

/* All that was prepared in this program. */
static void statements_have_their_exact_shape(void **state)
{
    (void)state;
    const char *all =
        "SELECT count(*) >= 15 FROM pg_prepared_statements WHERE name LIKE 'stele\\_%'";
    assert_string_equal(ask(conn, all), "t");
    char *wrong =
        answer_of("SELECT statement FROM pg_prepared_statements WHERE name LIKE 'stele\\_%'"
                  " AND (statement ~ '\\$\\d+\\s+IS' OR statement ~* 'coalesce\\(\\$'"
                  " OR replace(statement, 'count(*)', '') ~ '\\*'"
                  " OR statement !~ ' AS t\\M')");
    assert_string_equal(wrong, "");
    free(wrong);
    /* A shape of its own for each filter, and each without what is unset. */
    int64_t count = 0;
    shop_customers_filter filter = {.name = stele_text_v("n"), .vip = stele_bool_v(true)};
    TWICE(shop_customers_count(conn, &filter, &count, &err));
    filter.phone = stele_text_n_null();
    TWICE(shop_customers_count(conn, &filter, &count, &err));
    char *texts = answer_of("SELECT statement FROM pg_prepared_statements WHERE statement LIKE"
                            " '%count(*)%t.name = $1%' ORDER BY length(statement)");
    assert_string_equal(texts, "SELECT count(*) AS count\nFROM \"customers\" AS t\n"
                               "WHERE t.deleted_at IS NULL\n  AND t.name = $1\n  AND t.vip = $2\n"
                               "SELECT count(*) AS count\nFROM \"customers\" AS t\n"
                               "WHERE t.deleted_at IS NULL\n  AND t.name = $1\n"
                               "  AND t.phone IS NULL\n  AND t.vip = $2\n");
    free(texts);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_found_by_its_index),
        cmocka_unit_test(pages_follow_their_index),
        cmocka_unit_test(pages_that_go_both_ways_follow_their_index),
        cmocka_unit_test(a_history_is_read_from_its_end),
        cmocka_unit_test(a_sweep_follows_its_index),
        cmocka_unit_test(one_shape_for_all_would_read_everything),
        cmocka_unit_test(statements_have_their_exact_shape),
    };
    return cmocka_run_group_tests(tests, setup_crowd, teardown_tables);
}
