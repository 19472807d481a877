/*
 * Tenants: one pool, tables in schemas and under prefixes of their own.
 */
#include "life.h"

static stele_db *derive(const char *schema, const char *prefix)
{
    stele_db *tenant = NULL;
    stele_names names = {.schema = schema, .prefix = prefix};
    assert_ok(stele_db_derive(db, &names, &tenant, &err), &err);
    return tenant;
}

/* A tenant with all tables. */
static stele_db *found(const char *schema, const char *prefix)
{
    char sql[128];
    stele_db *tenant = derive(schema, prefix);
    (void)snprintf(sql, sizeof sql, "CREATE SCHEMA \"%s\"", schema);
    peer(sql);
    make_tables(tenant, &shop_shop_module);
    assert_ok(stele_db_ensure(tenant, &sessions_module, NULL, &err), &err);
    return tenant;
}

static void use(stele_db *tenant)
{
    answers(STELE_OK, 0, stele_conn_use(conn, tenant, &err));
}

static void add_category(const char *name)
{
    shop_categories_input input = {.name = stele_text_v(name)};
    ok(shop_categories_insert(conn, &input, NULL, &err));
}

static void add_session(const char *id)
{
    session_states_input input = {.app_name = stele_text_v("a"),
                                  .user_id = stele_text_v("u"),
                                  .session_id = stele_text_v(id)};
    ok(session_states_insert(conn, &input, NULL, &err));
}

static void drop(const char *schema, stele_db *tenant)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "DROP SCHEMA \"%s\" CASCADE", schema);
    stele_db_close(tenant);
    peer(sql);
}

/* ---- apart ---- */

static void tenants_share_a_pool_and_no_row(void **state)
{
    (void)state;
    stele_db *a = found("ten_a", "x_");
    stele_db *b = found("ten_b", "");
    /* The same statements on the same connection, in turn: prepared for each of the names. */
    for (int i = 0; i < 4; i++) {
        char name[] = {'n', (char)('0' + i), '\0'};
        use(a);
        add_category(name);
        add_session(name);
        COUNTS(shop_categories, NULL, 2 * i + 1);
        use(b);
        COUNTS(shop_categories, NULL, i);
        add_category(name);
        use(a);
        add_category("again");
        peer("UPDATE ten_a.x_categories SET name = name || id WHERE name = 'again'");
    }
    use(db);
    COUNTS(shop_categories, NULL, 0);
    COUNTS(session_states, NULL, 0);
    assert_int_equal(number("SELECT count(*) FROM ten_a.x_categories"), 8);
    assert_int_equal(number("SELECT count(*) FROM ten_b.categories"), 4);
    assert_int_equal(number("SELECT count(*) FROM ten_a.x_session_states"), 4);
    drop("ten_a", a);
    drop("ten_b", b);
}

/* Keys, enums, generated columns and references are the tenant's own. */
static void a_tenant_has_its_own_types_and_keys(void **state)
{
    (void)state;
    stele_db *a = found("ten_a", "x_");
    use(a);
    shop_order_status history[] = {SHOP_ORDER_STATUS_PAID};
    shop_customers_input customer = {.email = stele_text_v("a@e"), .name = stele_text_v("A")};
    shop_orders_input order = {
        .customer_id = stele_i64_v(1),
        .currency = shop_currency_v(SHOP_CURRENCY_USD),
        .history = shop_order_status_array_v((shop_order_status_array){history, NULL, 1})};
    shop_orders_row *row = NULL;
    fails(STELE_E_FOREIGN_KEY, shop_orders_insert(conn, &order, &row, &err));
    assert_string_equal(err.schema, "ten_a");
    assert_string_equal(err.table, "x_orders");
    assert_string_equal(err.constraint, "x_orders_customer");
    ok(shop_customers_insert(conn, &customer, NULL, &err));
    ok(shop_orders_insert(conn, &order, &row, &err));
    assert_int_equal(row->currency, SHOP_CURRENCY_USD);
    assert_int_equal(row->history.items[0], SHOP_ORDER_STATUS_PAID);
    shop_orders_row_free(row);
    fails(STELE_E_UNIQUE, shop_customers_insert(conn, &customer, NULL, &err));
    assert_string_equal(err.constraint, "x_customers_email");
    use(db);
    drop("ten_a", a);
}

/* ---- within one transaction ---- */

static void names_may_change_within_a_transaction(void **state)
{
    (void)state;
    stele_db *a = found("ten_a", "");
    for (int commit = 0; commit < 2; commit++) {
        use(db);
        assert_ok(stele_tx_begin(conn, NULL, &err), &err);
        add_category("one");
        use(a);
        add_category("two");
        COUNTS(shop_categories, NULL, 1);
        use(db);
        COUNTS(shop_categories, (&(shop_categories_filter){.name = stele_text_v("one")}), 1);
        ok(commit ? stele_tx_commit(conn, &err) : stele_tx_rollback(conn, &err));
        assert_int_equal(number("SELECT count(*) FROM categories"), commit);
        assert_int_equal(number("SELECT count(*) FROM ten_a.categories"), commit);
    }
    drop("ten_a", a);
}

static void a_lease_keeps_names_of_a_closed_handle(void **state)
{
    (void)state;
    stele_db *a = found("ten_a", "");
    stele_conn *lease = acquire(a);
    stele_db_close(a);
    shop_categories_input input = {.name = stele_text_v("late")};
    assert_ok(shop_categories_insert(lease, &input, NULL, &err), &err);
    stele_conn_release(lease);
    assert_int_equal(number("SELECT count(*) FROM ten_a.categories"), 1);
    peer("DROP SCHEMA ten_a CASCADE");
}

/* ---- pins ---- */

static void a_pinned_module_stays_where_it_is(void **state)
{
    (void)state;
    const stele_module *modules[] = {&shop_shop_module, &sessions_module};
    stele_pin pin = {.module = &sessions_module, .names = {.schema = "public", .prefix = ""}};
    stele_db_options options = options_for("pinned", 2);
    options.modules = modules;
    options.module_count = 2;
    options.names.schema = "ten_a";
    options.pins = &pin;
    options.pin_count = 1;
    stele_db *a = found("ten_a", "");
    stele_db *pinned = open_with(&options);
    stele_db *tenant = NULL;
    stele_conn *lease = acquire(pinned);
    shop_categories_input category = {.name = stele_text_v("c")};
    app_states_input shared = {.app_name = stele_text_v("a"), .key = stele_text_v("k")};
    assert_ok(shop_categories_insert(lease, &category, NULL, &err), &err);
    assert_ok(app_states_insert(lease, &shared, NULL, &err), &err);
    assert_int_equal(number("SELECT count(*) FROM ten_a.categories"), 1);
    assert_int_equal(number("SELECT count(*) FROM ten_a.app_states"), 0);
    assert_int_equal(number("SELECT count(*) FROM public.app_states"), 1);
    /* What is derived inherits the pin. */
    assert_ok(stele_db_derive(pinned, &(stele_names){.schema = "ten_z"}, &tenant, &err), &err);
    assert_ok(stele_conn_use(lease, tenant, &err), &err);
    int64_t count = 0;
    assert_ok(app_states_count(lease, NULL, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(shop_categories_count(lease, NULL, &count, &err), STELE_E_SCHEMA);
    stele_conn_release(lease);
    stele_db_close(tenant);
    stele_db_close(pinned);
    drop("ten_a", a);
}

/* ---- names ---- */

static void names_that_are_too_long_are_refused_whole(void **state)
{
    (void)state;
    stele_db_options options = options_of("long", 2, &sessions_module);
    stele_db *long_db = NULL;
    options.names = (stele_names){.schema = "a_schema_of_20_bytes", .prefix = "a_prefix_"};
    assert_int_equal(stele_db_open(&options, &long_db, &err), STELE_E_NAME);
    assert_contains(err.message, "idx_a_schema_of_20_bytes_a_prefix_session_");
    assert_contains(err.message, "unique_active\" would have ");
    assert_contains(err.hint, "a_prefix_");
    assert_null(long_db);
    options.names = (stele_names){0};
    assert_ok(stele_db_open(&options, &long_db, &err), &err);
    stele_db *tenant = NULL;
    stele_names names = {.schema = "a_schema_of_20_bytes", .prefix = "a_prefix_"};
    assert_int_equal(stele_db_derive(long_db, &names, &tenant, &err), STELE_E_NAME);
    assert_contains(err.message, "idx_a_schema_of_20_bytes_a_prefix_session_");
    names.prefix = ""; /* idx_…_session_summaries_unique_active is 57 bytes long */
    assert_ok(stele_db_derive(long_db, &names, &tenant, &err), &err);
    stele_db_close(tenant);
    stele_db_close(long_db);
}

/* The longest names that are let through are the ones the server has then. */
static void names_that_just_fit_are_not_cut(void **state)
{
    (void)state;
    const char *schema = "a_schema_of_15_"; /* with the prefix 28 bytes, the most that fits */
    stele_db *a = found(schema, "prefix_of12_");
    assert_true(holds("SELECT count(*) = 4 AND max(length(indexname)) = 63 FROM pg_indexes WHERE"
                      " schemaname = 'a_schema_of_15_' AND indexname LIKE '%\\_unique\\_active'"));
    use(a);
    add_session("s");
    COUNTS(session_states, NULL, 1);
    use(db);
    drop(schema, a);
}

static void names_that_are_no_names_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"a-b",         "1a", "a b", "a\"; DROP SCHEMA public; --",
                                      "caf\xc3\xa9", "a.b"};
    stele_db *tenant = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stele_names schema = {.schema = bad[i]};
        stele_names prefix = {.prefix = bad[i]};
        assert_int_equal(stele_db_derive(db, &schema, &tenant, &err), STELE_E_NAME);
        assert_contains(err.message, "schema \"");
        assert_int_equal(stele_db_derive(db, &prefix, &tenant, &err), STELE_E_NAME);
        assert_contains(err.message, "prefix \"");
    }
    assert_null(tenant);
}

/* The peer of the sessions never quotes a name, so theirs are folded; the shop's are as given. */
static void names_are_folded_where_the_peer_does(void **state)
{
    (void)state;
    peer("CREATE SCHEMA folded");
    stele_db *tenant = found("Folded", "Pre_");
    use(tenant);
    add_category("c");
    add_session("s");
    use(db);
    peer("INSERT INTO Folded.Pre_session_states (app_name, user_id, session_id) VALUES"
         " ('a', 'u', 'go')"); /* as the peer writes it */
    assert_int_equal(number("SELECT count(*) FROM folded.pre_session_states"), 2);
    assert_int_equal(number("SELECT count(*) FROM \"Folded\".\"Pre_categories\""), 1);
    peer("DROP SCHEMA folded CASCADE");
    drop("Folded", tenant);
}

/* Words of SQL are names like others. */
static void keywords_are_names(void **state)
{
    (void)state;
    stele_db *tenant = found("select", "order");
    use(tenant);
    add_category("c");
    COUNTS(shop_categories, NULL, 1);
    shop_shelf_labels_input label = {.conn = stele_i64_v(1),
                                     .class_ = stele_text_v("c"),
                                     .order = stele_i32_v(1),
                                     .user = stele_text_v("u")};
    ok(shop_shelf_labels_insert(conn, &label, NULL, &err));
    use(db);
    assert_int_equal(number("SELECT count(*) FROM \"select\".ordershelf_labels"), 1);
    drop("select", tenant);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        GENERATED(tenants_share_a_pool_and_no_row),
        GENERATED(a_tenant_has_its_own_types_and_keys),
        GENERATED(names_may_change_within_a_transaction),
        GENERATED(a_lease_keeps_names_of_a_closed_handle),
        GENERATED(a_pinned_module_stays_where_it_is),
        GENERATED(names_that_are_too_long_are_refused_whole),
        GENERATED(names_that_just_fit_are_not_cut),
        GENERATED(names_that_are_no_names_are_refused),
        GENERATED(names_are_folded_where_the_peer_does),
        GENERATED(keywords_are_names),
    };
    return RUN_GENERATED(tests);
}
