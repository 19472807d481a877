/*
 * Soft delete and time to live: who is seen, what comes back, and what the sweep may take.
 */
#include <pthread.h>

#include "life.h"

/* Deletes softly or not, as the schema has it or not. */
static stele_db *with_policy(stele_switch soft_delete)
{
    stele_db *derived = NULL;
    assert_ok(stele_db_derive_policy(db, soft_delete, &derived, &err), &err);
    assert_ok(stele_conn_use(conn, derived, &err), &err);
    return derived;
}

static void add_customers(void)
{
    peer("INSERT INTO customers (id, email, name, phone, deleted_at) VALUES"
         " (1, 'a@e', 'live', '1', NULL), (2, 'b@e', 'gone', '2', now() - interval '1 h')");
}

/* ---- deleting ---- */

static void a_delete_leaves_a_tombstone(void **state)
{
    (void)state;
    add_customers();
    ok(shop_customers_delete(conn, 1, &err));
    assert_true(holds("SELECT count(*) = 2 AND bool_and(deleted_at <= now()) FROM customers"));
    fails(STELE_E_NOT_FOUND, shop_customers_delete(conn, 1, &err));
    fails(STELE_E_NOT_FOUND, shop_customers_delete(conn, 2, &err));
    assert_string_equal(err.table, "customers");
}

/* Switched off, delete removes; tombstones of before are there, and nobody sees them. */
static void a_policy_may_be_switched_off(void **state)
{
    (void)state;
    add_customers();
    stele_db *hard = with_policy(STELE_OFF);
    shop_customers_row *row = NULL;
    bool inserted = false;
    fails(STELE_E_NOT_FOUND, shop_customers_find(conn, 2, &row, &err));
    fails(STELE_E_NOT_FOUND, shop_customers_find_for_update(conn, 2, &row, &err));
    fails(STELE_E_NOT_FOUND, shop_customers_find_by_phone(conn, stele_s("2"), &row, &err));
    fails(STELE_E_NOT_FOUND, shop_customers_delete(conn, 2, &err));
    COUNTS(shop_customers, NULL, 1);
    shop_customers_input input = {
        .id = stele_i64_v(3), .email = stele_text_v("b@e"), .name = stele_text_v("new")};
    ok(shop_customers_upsert_by_email(conn, &input, NULL, &inserted, &err));
    assert_true(inserted);
    ok(shop_customers_delete(conn, 1, &err));
    assert_int_equal(number("SELECT count(*) FROM customers WHERE phone = '1'"), 0);
    assert_int_equal(number("SELECT count(*) FROM customers WHERE deleted_at IS NOT NULL"), 1);
    stele_db_close(hard);
}

static void a_derived_policy_is_not_the_origins(void **state)
{
    (void)state;
    add_customers();
    stele_db *hard = with_policy(STELE_OFF);
    stele_db *soft = NULL;
    assert_ok(stele_db_derive_policy(hard, STELE_ON, &soft, &err), &err);
    stele_db_close(hard);
    assert_ok(stele_conn_use(conn, soft, &err), &err);
    ok(shop_customers_delete(conn, 1, &err));
    assert_int_equal(number("SELECT count(*) FROM customers WHERE deleted_at IS NOT NULL"), 2);
    stele_db_close(soft);
}

/* ---- restoring ---- */

static void a_restore_takes_the_delete_back(void **state)
{
    (void)state;
    add_customers();
    shop_customers_row *row = NULL;
    ok(shop_customers_restore(conn, 2, &err));
    ok(shop_customers_find_by_phone(conn, stele_s("2"), &row, &err));
    assert_int_equal(row->id, 2);
    assert_false(row->deleted_at.has);
    shop_customers_row_free(row);
    fails(STELE_E_NOT_FOUND, shop_customers_restore(conn, 2, &err)); /* lives already */
    fails(STELE_E_NOT_FOUND, shop_customers_restore(conn, 3, &err));
}

static void a_restore_finds_its_place_taken(void **state)
{
    (void)state;
    add_customers();
    peer("INSERT INTO customers (id, email, name) VALUES (3, 'b@e', 'newer')");
    fails(STELE_E_UNIQUE, shop_customers_restore(conn, 2, &err));
    assert_string_equal(err.sqlstate, "23505");
    assert_string_equal(err.table, "customers");
    assert_string_equal(err.constraint, "customers_email");
    assert_true(holds("SELECT deleted_at IS NOT NULL FROM customers WHERE id = 2"));
    ok(shop_customers_delete(conn, 3, &err));
    ok(shop_customers_restore(conn, 2, &err));
}

/* ---- purging ---- */

static void a_purge_takes_the_oldest_first(void **state)
{
    (void)state;
    uint64_t count = 99;
    peer("INSERT INTO customers (id, email, name, deleted_at) SELECT i, 'e@e', 'n', '2026-01-01Z'::"
         "timestamptz + i * interval '1 day' FROM generate_series(1, 9) i");
    peer("INSERT INTO customers (id, email, name) VALUES (100, 'live@e', 'n')");
    ok(shop_customers_purge(conn, ts_of("2026-01-08T00:00:00Z"), 4, &count, &err));
    assert_int_equal(count, 4);
    assert_true(holds("SELECT min(id) = 5 FROM customers"));
    ok(shop_customers_purge(conn, ts_of("2026-01-08T00:00:00Z"), 4, &count, &err));
    assert_int_equal(count, 2); /* 5 and 6; 7 was deleted at the very time */
    assert_true(holds("SELECT string_agg(id::text, ',' ORDER BY id) = '7,8,9,100' FROM customers"));
    ok(shop_customers_purge(conn, STELE_TS_INFINITY, 100, NULL, &err));
    assert_true(holds("SELECT min(id) = 100 AND count(*) = 1 FROM customers"));
}

static void a_purge_passes_what_is_held(void **state)
{
    (void)state;
    uint64_t count = 99;
    peer("INSERT INTO customers (id, email, name, deleted_at) SELECT i, 'e@e', 'n', '2026-01-01Z'"
         " FROM generate_series(1, 3) i");
    assert_ok(stele_tx_begin(other, NULL, &err), &err);
    assert_ok(stele_conn_exec(other, "SELECT FROM customers WHERE id = 2 FOR UPDATE", NULL, 0, NULL,
                              &err),
              &err);
    ok(shop_customers_purge(conn, STELE_TS_INFINITY, 10, &count, &err));
    assert_int_equal(count, 2);
    assert_ok(stele_tx_rollback(other, &err), &err);
    assert_true(holds("SELECT min(id) = 2 AND count(*) = 1 FROM customers"));
}

/* ---- expiring ---- */

static void add_sessions(void)
{
    peer(
        "INSERT INTO session_states (app_name, user_id, session_id, expires_at) SELECT 'a', 'u', i,"
        " CASE WHEN i <= 5 THEN now() AT TIME ZONE 'UTC' - i * interval '1 h' WHEN i <= 7 THEN"
        " now() AT TIME ZONE 'UTC' + i * interval '1 h' END FROM generate_series(1, 9) i");
}

static void an_expired_row_is_deleted_by_policy(void **state)
{
    (void)state;
    uint64_t count = 99;
    add_sessions();
    COUNTS(session_states, NULL, 4);
    ok(session_states_expire(conn, 3, &count, &err));
    assert_int_equal(count, 3);
    assert_true(holds("SELECT string_agg(id::text, ',' ORDER BY id) = '3,4,5' FROM session_states"
                      " WHERE deleted_at IS NOT NULL")); /* the longest expired */
    ok(session_states_expire(conn, 3, &count, &err));
    assert_int_equal(count, 2);
    ok(session_states_expire(conn, 3, &count, &err));
    assert_int_equal(count, 0);
    COUNTS(session_states, NULL, 4);
    assert_int_equal(number("SELECT count(*) FROM session_states"), 9);
    ok(session_states_purge(conn, STELE_TS_INFINITY, 10, &count, &err));
    assert_int_equal(count, 5);
}

static void an_expired_row_is_removed_without_soft_delete(void **state)
{
    (void)state;
    uint64_t count = 99;
    add_sessions();
    stele_db *hard = with_policy(STELE_OFF);
    ok(session_states_expire(conn, 10, &count, &err));
    assert_int_equal(count, 5);
    assert_true(holds("SELECT min(id) = 6 AND count(*) = 4 FROM session_states"));
    stele_db_close(hard);
    /* carts have no tombstones at all */
    peer("INSERT INTO carts (expires_at) SELECT timezone('UTC', now()) + i * interval '1 h' FROM"
         " generate_series(-2, 2) i");
    ok(shop_carts_expire(conn, 10, &count, &err));
    assert_int_equal(count, 3);
    assert_int_equal(number("SELECT count(*) FROM carts"), 2);
}

static void a_sweep_passes_what_is_held(void **state)
{
    (void)state;
    uint64_t count = 99;
    add_sessions();
    assert_ok(stele_tx_begin(other, NULL, &err), &err);
    assert_ok(stele_conn_exec(other, "SELECT FROM session_states WHERE id IN (4, 5) FOR UPDATE",
                              NULL, 0, NULL, &err),
              &err);
    ok(session_states_expire(conn, 10, &count, &err));
    assert_int_equal(count, 3);
    assert_ok(stele_tx_rollback(other, &err), &err);
    ok(session_states_expire(conn, 10, &count, &err));
    assert_int_equal(count, 2);
}

/* ---- never a row that lives ---- */

static void *sweep(void *user)
{
    stele_error why;
    uint64_t *count = user;
    if (session_states_expire(conn, 10, count, &why) != STELE_OK)
        *count = 77;
    return NULL;
}

static void *purge(void *user)
{
    stele_error why;
    uint64_t *count = user;
    if (session_states_purge(conn, STELE_TS_INFINITY, 10, count, &why) != STELE_OK)
        *count = 77;
    return NULL;
}

static void exec(stele_conn *on, const char *sql)
{
    assert_ok(stele_conn_exec(on, sql, NULL, 0, NULL, &err), &err);
}

/*
 * Runs `sweeper` on `conn`, holds it while it looks for its rows, has `meanwhile` done by someone else,
 * and lets it go on. Answers how many rows it took.
 *
 * It works through a view whose condition waits: it has taken its snapshot, and locked no row yet.
 */
static uint64_t interrupt(void *(*sweeper)(void *), const char *meanwhile)
{
    pthread_t thread;
    uint64_t count = 99;
    stele_db *view = NULL;
    peer(
        "CREATE SCHEMA held;"
        "CREATE FUNCTION held.wait() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$;"
        "CREATE VIEW held.session_states AS SELECT * FROM public.session_states WHERE held.wait()");
    assert_ok(stele_db_derive(db, &(stele_names){.schema = "held"}, &view, &err), &err);
    assert_ok(stele_conn_use(conn, view, &err), &err);
    exec(other, "SELECT pg_advisory_lock(1)");
    assert_int_equal(pthread_create(&thread, NULL, sweeper, &count), 0);
    bool waited = dbtest_wait_until(dsn, "SELECT count(*) = 1 FROM pg_stat_activity WHERE"
                                         " wait_event = 'advisory' AND datname ="
                                         " current_database()");
    peer(meanwhile);
    exec(other, "SELECT pg_advisory_unlock(1)");
    assert_int_equal(pthread_join(thread, NULL), 0);
    peer("DROP SCHEMA held CASCADE");
    stele_db_close(view);
    assert_true(waited);
    return count;
}

static void a_sweep_sees_what_was_prolonged(void **state)
{
    (void)state;
    add_sessions();
    uint64_t count = interrupt(sweep, "UPDATE session_states SET expires_at = now() AT TIME ZONE"
                                      " 'UTC' + interval '1 h' WHERE id = 1");
    assert_int_equal(count, 4);
    assert_true(holds("SELECT deleted_at IS NULL FROM session_states WHERE id = 1"));
    assert_int_equal(number("SELECT count(*) FROM session_states WHERE deleted_at IS NOT NULL"), 4);
}

static void a_purge_sees_what_was_restored(void **state)
{
    (void)state;
    add_sessions();
    peer("UPDATE session_states SET deleted_at = '2026-01-01'::timestamp - id * interval '1 h'"
         " WHERE id <= 5");
    uint64_t count =
        interrupt(purge, "UPDATE session_states SET deleted_at = NULL, expires_at = NULL"
                         " WHERE id = 1");
    assert_int_equal(count, 4);
    assert_true(holds("SELECT bool_and(deleted_at IS NULL) AND min(id) = 1 FROM session_states"));
}

/* ---- every read is filtered ---- */

static void no_read_sees_a_tombstone(void **state)
{
    (void)state;
    peer("UPDATE invoices SET deleted_at = now()");
    shop_invoices_row *row = NULL;
    shop_invoices_page *page = NULL;
    for (int i = 0; i < 2; i++) {
        stele_db *derived = with_policy(i == 0 ? STELE_ON : STELE_OFF);
        fails(STELE_E_NOT_FOUND, shop_invoices_find(conn, 901, &row, &err));
        fails(STELE_E_NOT_FOUND, shop_invoices_find_by_number(conn, stele_s("R-901"), &row, &err));
        answers(
            STELE_DONE, 1,
            shop_invoices_list_by_by_status(conn, SHOP_INVOICE_STATUS_DRAFT, NULL, 9, &page, &err));
        answers(STELE_DONE, 1, shop_invoices_list_by_order(conn, 901, NULL, 9, &page, &err));
        COUNTS(shop_invoices, NULL, 0);
        COUNTS(shop_invoices, (&(shop_invoices_filter){.number = stele_text_v("R-901")}), 0);
        COUNTS(shop_invoices, (&(shop_invoices_filter){.deleted = STELE_SCOPE_ONLY}), 1);
        stele_db_close(derived);
    }
    assert_null(row);
    assert_null(page);
}

static void no_read_sees_what_expired(void **state)
{
    (void)state;
    peer("INSERT INTO app_states (app_name, key, value, expires_at) VALUES"
         " ('a', 'k', 'v', now() AT TIME ZONE 'UTC' - interval '1 us')");
    app_states_unique_active_key key = {.app_name = stele_s("a"), .key = stele_s("k")};
    app_states_row *row = NULL;
    app_states_page *page = NULL;
    fails(STELE_E_NOT_FOUND, app_states_find(conn, 1, &row, &err));
    fails(STELE_E_NOT_FOUND, app_states_find_by_unique_active(conn, &key, &row, &err));
    answers(STELE_DONE, 1, app_states_list_by_app(conn, stele_s("a"), NULL, 9, &page, &err));
    COUNTS(app_states, NULL, 0);
    COUNTS(app_states, (&(app_states_filter){.expired = STELE_SCOPE_ONLY}), 1);
    assert_null(row);
    assert_null(page);
}

/* Removing for good asks neither for tombstones nor for references in vain. */
static void a_hard_delete_asks_nothing(void **state)
{
    (void)state;
    add_customers();
    ok(shop_customers_hard_delete(conn, 2, &err)); /* was a tombstone */
    ok(shop_customers_hard_delete(conn, 1, &err));
    fails(STELE_E_FOREIGN_KEY, shop_customers_hard_delete(conn, 901, &err)); /* has a cart */
    assert_true(strcmp(err.sqlstate, "23503") == 0 || strcmp(err.sqlstate, "23001") == 0);
    assert_string_equal(err.table, "carts");
    assert_string_equal(err.constraint, "carts_customer");
    ok(shop_customers_delete(conn, 901, &err)); /* a tombstone may be referred to */
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        GENERATED(a_delete_leaves_a_tombstone),
        GENERATED(a_policy_may_be_switched_off),
        GENERATED(a_derived_policy_is_not_the_origins),
        GENERATED(a_restore_takes_the_delete_back),
        GENERATED(a_restore_finds_its_place_taken),
        GENERATED(a_purge_takes_the_oldest_first),
        GENERATED(a_purge_passes_what_is_held),
        GENERATED(an_expired_row_is_deleted_by_policy),
        GENERATED(an_expired_row_is_removed_without_soft_delete),
        GENERATED(a_sweep_passes_what_is_held),
        GENERATED(a_sweep_sees_what_was_prolonged),
        GENERATED(a_purge_sees_what_was_restored),
        STOCKED(no_read_sees_a_tombstone),
        GENERATED(no_read_sees_what_expired),
        STOCKED(a_hard_delete_asks_nothing),
    };
    return RUN_GENERATED(tests);
}
