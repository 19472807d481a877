#define _GNU_SOURCE
/* Before the globals of util.h, whose names their inline functions use. */
#include "conn_internal.h"
#include "render.h"

#include "util.h"

stele_db *db;
stele_conn *conn;
stele_conn *other;
stele_error err;

/* Two customers, two products, a warehouse with the first of them, a cart, an order and its invoice. */
static const char SHELVES[] =
    "INSERT INTO customers (id, email, name, vip, created_at, updated_at) VALUES"
    " (901, 'ann@example.org', 'Ann', false, '2026-01-01Z', '2026-01-01Z'),"
    " (902, 'bob@example.org', 'Bob', true, '2026-01-02Z', '2026-01-02Z');"
    "INSERT INTO products (id, sku, name, price) VALUES"
    " ('" PEN "', 'PEN', 'Pen', 1.50), ('" INK "', 'INK', 'Ink', 7.00);"
    "INSERT INTO categories (name) VALUES ('Writing');"
    "INSERT INTO warehouses (id, name, gateway) VALUES (901, 'North', '08:00:2b:01:02:03');"
    "INSERT INTO stock (product_id, warehouse_id, on_hand, reserved) VALUES ('" PEN
    "', 901, 90, 9);"
    "INSERT INTO carts (id, customer_id) VALUES ('" CART "', 901);"
    "INSERT INTO orders (id, customer_id, currency) VALUES (901, 901, 'EUR');"
    "INSERT INTO invoices (id, order_id, number) VALUES (901, 901, 'R-901');";

/* The statement of an object, with NULLS NOT DISTINCT taken out. */
static char *without_equal_nulls(const stele_gen_object *object, const stele_module *module,
                                 const stele__names *names)
{
    static const char clause[] = " NULLS NOT DISTINCT";
    stele__buf sql = {0};
    stele__render_name(object->create, object->create_count, module, names, &sql);
    char *text = stele__buf_take(&sql);
    assert_non_null(text);
    char *at = strstr(text, clause);
    if (at != NULL)
        memmove(at, at + strlen(clause), strlen(at + strlen(clause)) + 1);
    return text;
}

void make_tables(stele_db *on, const stele_module *module)
{
    if (module != &shop_shop_module || dbtest_server_version() >= 150000) {
        assert_ok(stele_db_ensure(on, module, NULL, &err), &err);
        return;
    }
    stele_conn *lease = acquire(on);
    for (size_t i = 0; i < module->object_count; i++) {
        char *sql = without_equal_nulls(&module->objects[i], module, lease->names);
        peer(sql);
        stele__free(sql);
    }
    stele_conn_release(lease);
}

int setup_modules(void **state, const stele_module *const *modules, size_t count)
{
    (void)setup_database(state);
    stele_db_options options = options_for("generated", 8);
    options.modules = modules;
    options.module_count = count;
    db = open_with(&options);
    for (size_t i = 0; i < count; i++)
        make_tables(db, modules[i]);
    conn = acquire(db);
    other = acquire(db);
    return 0;
}

int setup_tables(void **state)
{
    const stele_module *modules[] = {&shop_shop_module, &sessions_module, &odds_module};
    return setup_modules(state, modules, 3);
}

int teardown_tables(void **state)
{
    stele_conn_release(other);
    stele_conn_release(conn);
    stele_db_close(db);
    return teardown_database(state);
}

int clean_tables(void **state)
{
    (void)state;
    assert_ok(stele_tx_rollback(conn, &err), &err);
    assert_ok(stele_tx_rollback(other, &err), &err);
    assert_ok(stele_conn_use(conn, db, &err), &err);
    peer("DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(oid::regclass::text, ', ') ||"
         " ' RESTART IDENTITY' FROM pg_class WHERE relnamespace = 'public'::regnamespace"
         " AND relkind IN ('r', 'p')); END $$");
    return 0;
}

int stock_tables(void **state)
{
    (void)clean_tables(state);
    peer(SHELVES);
    return 0;
}

void check_answer(const char *file, int line, const char *call, stele_status st,
                  stele_status wanted)
{
    char text[2048];
    if (st == wanted)
        return;
    (void)stele_error_format(&err, text, sizeof text);
    print_error("%s:%d: %s answers %s, not %s: %s\n", file, line, call, stele_status_name(st),
                stele_status_name(wanted), text);
    _fail(file, line);
}

void check_contains(const char *file, int line, const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        return;
    print_error("\"%s\" is not in \"%s\"\n", part, text);
    _fail(file, line);
}

stele_uuid uuid_of(const char *text)
{
    stele_uuid uuid;
    assert_int_equal(stele_uuid_parse(stele_s(text), &uuid), STELE_OK);
    return uuid;
}

stele_ts ts_of(const char *text)
{
    stele_ts ts;
    assert_int_equal(stele_ts_parse(stele_s(text), &ts), STELE_OK);
    return ts;
}

stele_inet inet_of(const char *text)
{
    stele_inet inet;
    assert_int_equal(stele_inet_parse(stele_s(text), &inet), STELE_OK);
    return inet;
}

stele_date date_of(const char *text)
{
    stele_date date;
    assert_int_equal(stele_date_parse(stele_s(text), &date), STELE_OK);
    return date;
}

void peer(const char *sql)
{
    dbtest_exec(dsn, sql);
}

bool holds(const char *sql)
{
    char *value = dbtest_value(dsn, sql);
    bool held = strcmp(value, "t") == 0;
    free(value);
    return held;
}

int64_t number(const char *sql)
{
    char *value = dbtest_value(dsn, sql);
    int64_t n = strtoll(value, NULL, 10);
    free(value);
    return n;
}
