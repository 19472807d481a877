/*
 * Finding a row to change it: with a second program at the same row.
 */
#include <pthread.h>

#include "life.h"

/* ---- waiting ---- */

typedef struct waiter {
    int64_t id;
    stele_status status;
    char name[32]; /* as the row says after the wait */
} waiter;

static void *find_and_wait(void *user)
{
    waiter *w = user;
    stele_error why;
    shop_customers_row *row = NULL;
    w->status = shop_customers_find_for_update(conn, w->id, &row, &why);
    if (w->status == STELE_OK)
        (void)snprintf(w->name, sizeof w->name, "%s", row->name.data);
    shop_customers_row_free(row);
    return NULL;
}

static bool someone_waits(void)
{
    return dbtest_wait_until(dsn,
                             "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type ="
                             " 'Lock' AND datname = current_database()");
}

/* Changes Ann on `other`, lets `conn` wait for her, and ends the transaction. */
static waiter meet(const shop_customers_patch *patch)
{
    pthread_t thread;
    waiter w = {.id = 901, .status = STELE_E_MISUSE};
    shop_customers_row *row = NULL;
    assert_ok(stele_tx_begin(other, NULL, &err), &err);
    assert_ok(shop_customers_find_for_update(other, 901, &row, &err), &err);
    shop_customers_row_free(row);
    if (patch != NULL)
        assert_ok(shop_customers_update(other, 901, patch, NULL, &err), &err);
    else
        assert_ok(shop_customers_delete(other, 901, &err), &err);
    assert_int_equal(pthread_create(&thread, NULL, find_and_wait, &w), 0);
    bool waited = someone_waits();
    assert_ok(stele_tx_commit(other, &err), &err);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(waited);
    return w;
}

static void the_one_who_waits_sees_the_change(void **state)
{
    (void)state;
    shop_customers_patch patch = {.name = stele_text_v("Anna")};
    waiter w = meet(&patch);
    assert_int_equal(w.status, STELE_OK);
    assert_string_equal(w.name, "Anna");
}

static void the_one_who_waits_sees_the_deletion(void **state)
{
    (void)state;
    waiter w = meet(NULL);
    assert_int_equal(w.status, STELE_E_NOT_FOUND);
}

/* ---- not waiting ---- */

static void nowait_says_who_is_in_the_way(void **state)
{
    (void)state;
    shop_stock_row *row = NULL;
    shop_stock_key key = {.product_id = uuid_of(PEN), .warehouse_id = 901};
    assert_ok(stele_tx_begin(other, NULL, &err), &err);
    assert_ok(shop_stock_find_for_update(other, &key, &row, &err), &err);
    shop_stock_row_free(row);
    row = NULL;
    fails(STELE_E_LOCKED, shop_stock_find_for_update_nowait(conn, &key, &row, &err));
    assert_string_equal(err.sqlstate, "55P03");
    assert_string_equal(err.table, "stock");
    assert_true(err.retryable);
    assert_null(row);
    /* To read it is not forbidden, nor to lock another row. */
    ok(shop_stock_find(conn, &key, &row, &err));
    assert_int_equal(row->on_hand, 90);
    shop_stock_row_free(row);
}

/* Two workers take the rows of a queue: each gets what the other does not hold. */
static void skip_locked_leaves_what_is_held(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    assert_ok(stele_tx_begin(other, NULL, &err), &err);
    assert_ok(shop_customers_find_for_update_skip_locked(other, 901, &row, &err), &err);
    shop_customers_row_free(row);
    row = NULL;
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    fails(STELE_E_NOT_FOUND, shop_customers_find_for_update_skip_locked(conn, 901, &row, &err));
    assert_null(row);
    ok(shop_customers_find_for_update_skip_locked(conn, 902, &row, &err));
    assert_str(row->name, "Bob");
    shop_customers_row_free(row);
    ok(stele_tx_commit(conn, &err));
}

/* The lock is there as long as the transaction: an update on the same lease goes through. */
static void what_is_locked_is_ours_to_change(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    shop_customers_patch patch = {.name = stele_text_v("Anna")};
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    ok(shop_customers_find_for_update(conn, 901, &row, &err)); /* BEGIN went along */
    shop_customers_row_free(row);
    assert_false(
        holds("SELECT EXISTS (SELECT FROM customers WHERE id = 901 FOR UPDATE SKIP LOCKED)"));
    ok(shop_customers_update(conn, 901, &patch, NULL, &err));
    ok(stele_tx_commit(conn, &err));
    assert_true(holds("SELECT name = 'Anna' FROM customers WHERE id = 901 FOR UPDATE SKIP LOCKED"));
}

/* ---- the three ways see live rows only ---- */

static void expired_rows_are_not_found_to_be_changed(void **state)
{
    (void)state;
    stele_uuid id = uuid_of(CART);
    shop_carts_row *row = NULL;
    peer("UPDATE carts SET expires_at = timezone('UTC', now()) - interval '1 second'");
    fails(STELE_E_NOT_FOUND, shop_carts_find(conn, id, &row, &err));
    fails(STELE_E_NOT_FOUND, shop_carts_find_for_update(conn, id, &row, &err));
    fails(STELE_E_NOT_FOUND, shop_carts_find_for_update_nowait(conn, id, &row, &err));
    fails(STELE_E_NOT_FOUND, shop_carts_find_for_update_skip_locked(conn, id, &row, &err));
    assert_null(row);
}

/* ---- unique keys ---- */

/* What a server before 15 cannot do is said. */
static void equal_nulls_are_refused(void)
{
    stele_names names = {.prefix = "old_"};
    stele_db *old = NULL;
    char here[16];
    assert_ok(stele_db_derive(db, &names, &old, &err), &err);
    assert_int_equal(stele_db_ensure(old, &shop_shop_module, NULL, &err), STELE_E_UNSUPPORTED);
    assert_contains(err.message, "old_categories_name_in_parent");
    assert_contains(err.hint, "NULLS NOT DISTINCT needs PostgreSQL 15 or newer");
    (void)snprintf(here, sizeof here, "this is %d", dbtest_server_version() / 10000);
    assert_contains(err.hint, here);
    stele_db_close(old);
}

/* A parent of NULL takes part in this key: NULLS NOT DISTINCT. */
static void null_equals_null_in_a_key(void **state)
{
    (void)state;
    if (dbtest_server_version() < 150000) {
        equal_nulls_are_refused();
        return;
    }
    shop_categories_input writing = {.name = stele_text_v("Writing"), .position = stele_i16_v(9)};
    shop_categories_row *row = NULL;
    bool inserted = true;
    fails(STELE_E_UNIQUE, shop_categories_insert(conn, &writing, NULL, &err));
    assert_string_equal(err.constraint, "categories_name_in_parent");
    ok(shop_categories_upsert_by_name_in_parent(conn, &writing, &row, &inserted, &err));
    assert_false(inserted);
    assert_int_equal(row->id, 1);
    assert_int_equal(row->position, 9);
    assert_false(row->parent_id.has);
    shop_categories_row_free(row);
    COUNTS(shop_categories, NULL, 1);
}

/* Finding by a partial key sees what the key sees, though many tombstones have the same value. */
static void a_partial_key_finds_the_one_that_lives(void **state)
{
    (void)state;
    shop_customers_row *row = NULL;
    peer("INSERT INTO customers (id, email, name, phone, deleted_at) SELECT i, 'ann@example.org',"
         " 'old', '1', now() FROM generate_series(1, 20) i");
    ok(shop_customers_find_by_email(conn, stele_s("ann@example.org"), &row, &err));
    assert_int_equal(row->id, 901);
    shop_customers_row_free(row);
    row = NULL;
    fails(STELE_E_NOT_FOUND, shop_customers_find_by_phone(conn, stele_s("1"), &row, &err));
    assert_string_equal(err.table, "customers");
    assert_null(row);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        STOCKED(the_one_who_waits_sees_the_change),
        STOCKED(the_one_who_waits_sees_the_deletion),
        STOCKED(nowait_says_who_is_in_the_way),
        STOCKED(skip_locked_leaves_what_is_held),
        STOCKED(what_is_locked_is_ours_to_change),
        STOCKED(expired_rows_are_not_found_to_be_changed),
        STOCKED(null_equals_null_in_a_key),
        STOCKED(a_partial_key_finds_the_one_that_lives),
    };
    return RUN_GENERATED(tests);
}
