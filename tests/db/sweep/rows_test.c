/*
 * What a sweep takes and what it leaves: policies, retention, watermark, failures, numbers.
 */
#include "sweep_util.h"

static int told; /* errors */
static stele_sweep_kind told_kind;
static char told_table[64];
static char told_state[6];

static void note_error(const stele_sweep_place *place, const stele_error *why, void *user)
{
    (void)user;
    told++;
    told_kind = place->kind;
    (void)snprintf(told_table, sizeof told_table, "%s", place->table);
    (void)snprintf(told_state, sizeof told_state, "%s", why->sqlstate);
}

static stele_sweeper_options telling(void)
{
    stele_sweeper_options options = by_hand();
    told = 0;
    options.on_error = note_error;
    return options;
}

/* `count` tickets, the first `expired` of them for 1 to `expired` seconds. */
static void add_tickets(int expired, int count)
{
    char sql[300];
    (void)snprintf(
        sql, sizeof sql,
        "INSERT INTO tickets (ends_at) SELECT CASE WHEN i <= %d THEN now() - i * interval"
        " '1 s' WHEN i %% 2 = 0 THEN now() + interval '1 h' END"
        " FROM generate_series(1, %d) AS i",
        expired, count);
    peer(sql);
}

static void expired_rows_go_by_policy(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_db *hard = NULL;
    add_tickets(2500, 5000);
    peer("INSERT INTO visits (room, guest, ends_at) SELECT 'north', i, now() - interval '1 s' * i"
         " FROM generate_series(1, 30) AS i");
    stele_sweep_report report = sweep_once(db, &options);
    assert_int_equal(report.expired, 2530);
    assert_int_equal(report.batches, 4); /* 1000, 1000, 500; 30 */
    assert_int_equal(report.failed + report.elsewhere + report.purged, 0);
    assert_int_equal(number("SELECT count(*) FROM tickets"), 2500);
    assert_int_equal(number("SELECT count(*) FROM visits WHERE deleted_at IS NOT NULL"), 30);

    peer("UPDATE visits SET deleted_at = NULL");
    assert_ok(stele_db_derive_policy(db, STELE_OFF, &hard, &err), &err);
    assert_int_equal(sweep_once(hard, &options).expired, 30);
    assert_int_equal(number("SELECT count(*) FROM visits"), 0);
    stele_db_close(hard);
}

static void tombstones_are_kept_for_the_retention(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    peer(
        "INSERT INTO visits (room, guest, deleted_at) SELECT 'south', i, now() - i * interval '1 h'"
        " FROM generate_series(1, 2000) AS i");
    assert_int_equal(sweep_once(db, &options).purged, 0);
    options.retention_ms = 100 * 3600 * 1000 + 1800 * 1000;
    assert_int_equal(sweep_once(db, &options).purged, 1900);
    assert_int_equal(number("SELECT count(*) FROM visits"), 100);
    assert_int_equal(sweep_once(db, &options).purged, 0);
}

/* Under another's snapshot dead rows stay in the index. Without a watermark each transaction visits all
 * of them again: that is the generated expire, beside which the sweeper is measured. */
static int64_t visits_of_rows(void (*remove_all)(void))
{
    static const char sql[] = "SELECT idx_tup_fetch + idx_tup_read FROM pg_stat_user_indexes"
                              " WHERE indexrelname = 'tickets_ends'";
    stele_conn *reader = acquire(db);
    peer("TRUNCATE tickets, stubs");
    add_tickets(8000, 8000);
    peer("ANALYZE tickets");
    stele_tx_options repeatable = STELE_TX_OPTIONS_INIT;
    repeatable.isolation = STELE_REPEATABLE_READ;
    assert_ok(stele_tx_begin(reader, &repeatable, &err), &err);
    run_sql(reader, "SELECT count(*) FROM tickets");
    int64_t before = number(sql);
    remove_all();
    assert_int_equal(number("SELECT count(*) FROM tickets"), 0);
    /* Statistics arrive when a session ends, or with a second's delay. */
    assert_ok(stele_tx_rollback(reader, &err), &err);
    stele_conn_release(reader);
    stele_db_reset(db);
    wait_for_backends("sweeping", 0);
    return number(sql) - before;
}

static void remove_by_sweeper(void)
{
    stele_sweeper_options options = by_hand();
    options.batch_rows = 100;
    (void)sweep_once(db, &options);
}

static void remove_from_the_start(void)
{
    stele_conn *conn = acquire(db);
    uint64_t count = 1;
    while (count > 0)
        assert_ok(tickets_expire(conn, 100, &count, &err), &err);
    stele_conn_release(conn);
}

static void a_watermark_keeps_it_linear(void **state)
{
    (void)state;
    int64_t control = visits_of_rows(remove_from_the_start);
    int64_t ours = visits_of_rows(remove_by_sweeper);
    print_message("# index entries read: %lld with watermark, %lld from the start\n",
                  (long long)ours, (long long)control);
    assert_true(control > 300000); /* 80 transactions, of 4000 dead rows on average */
    assert_true(ours < 4 * 8000);
}

static void rows_that_are_held_are_left(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_conn *holder = acquire(db);
    add_tickets(10, 10);
    assert_ok(stele_tx_begin(holder, NULL, &err), &err);
    run_sql(holder, "SELECT FROM tickets WHERE id IN (1, 9) FOR UPDATE");
    assert_int_equal(sweep_once(db, &options).expired, 8);
    assert_ok(stele_tx_rollback(holder, &err), &err);
    stele_conn_release(holder);
    assert_int_equal(sweep_once(db, &options).expired, 2);
}

/* Ten tickets have stubs; each is passed over alone. */
static void what_cannot_be_removed_is_passed_over(void **state)
{
    (void)state;
    stele_sweeper_options options = telling();
    stele_sweep_report report = {0};
    add_tickets(3000, 3000);
    peer("INSERT INTO stubs (ticket) SELECT i * 290 FROM generate_series(1, 10) AS i");
    stele_sweeper *sweeper = open_sweeper(db, &options);
    assert_ok(stele_sweeper_run(sweeper, 60000, &report, &err), &err);
    assert_int_equal(report.expired, 2990);
    assert_int_equal(number("SELECT count(*) FROM tickets"), 10);
    stele_sweep_table_stats stats = table_numbers(sweeper, "tickets");
    assert_int_equal(stats.expired, 2990);
    assert_int_equal(stats.blocked, 10);
    assert_true(stats.failures >= 20);
    assert_int_equal(told, 10);
    assert_string_equal(told_table, "tickets");
    assert_string_equal(told_state, "23503");
    close_sweeper(sweeper);
}

static void a_table_at_fault_does_not_stop_the_others(void **state)
{
    (void)state;
    stele_sweeper_options options = telling();
    stele_sweep_report report = {0};
    add_tickets(100, 100);
    peer("INSERT INTO visits (room, guest, ends_at) VALUES ('north', 'a', now() - interval '1 s');"
         "INSERT INTO app_states (app_name, key, expires_at) VALUES ('a', 'k', now() at time zone"
         " 'UTC' - interval '1 s'); ALTER TABLE visits RENAME TO visited");
    stele_sweeper *sweeper = open_sweeper(db, &options);
    assert_int_equal(stele_sweeper_run(sweeper, 60000, &report, &err), STELE_E_SCHEMA);
    peer("ALTER TABLE visited RENAME TO visits");
    assert_string_equal(err.sqlstate, "42P01");
    assert_int_equal(report.expired, 101);
    assert_int_equal(report.failed, 1);
    assert_true(report.complete);
    assert_int_equal(told, 1);
    assert_string_equal(told_table, "visits");
    assert_ok(stele_sweeper_run(sweeper, 60000, &report, &err), &err);
    assert_int_equal(report.expired, 1);
    close_sweeper(sweeper);
}

static stele_status be_poor(stele_conn *conn, void *user, stele_error *why)
{
    (void)user;
    return stele_conn_exec(conn, "SET ROLE sweep_poor", NULL, 0, NULL, why);
}

static void a_role_without_rights_sweeps_what_it_may(void **state)
{
    (void)state;
    stele_sweeper_options options = telling();
    stele_sweep_report report = {0};
    peer("DO $$ BEGIN CREATE ROLE sweep_poor; EXCEPTION WHEN duplicate_object THEN END $$;"
         "GRANT SELECT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO sweep_poor;"
         "REVOKE DELETE ON tickets FROM sweep_poor");
    add_tickets(10, 10);
    peer("INSERT INTO visits (room, guest, ends_at) VALUES ('north', 'a', now() - interval '1 s')");
    stele_db_options db_options = options_of("poor", 3, &chores_module);
    db_options.on_lease = be_poor;
    stele_db *poor = open_with(&db_options);
    stele_sweeper *sweeper = open_sweeper(poor, &options);
    assert_int_equal(stele_sweeper_run(sweeper, 60000, &report, &err), STELE_E_PERMISSION);
    assert_int_equal(report.expired, 1);
    assert_int_equal(report.failed, 1);
    assert_string_equal(told_table, "tickets");
    close_sweeper(sweeper);
    stele_db_close(poor);
    peer("DROP OWNED BY sweep_poor; DROP ROLE sweep_poor");
}

/* A table that is locked costs as many lock timeouts as a table may fail, and no more. */
static void a_locked_table_is_left_for_later(void **state)
{
    (void)state;
    stele_sweeper_options options = telling();
    stele_sweep_report report = {0};
    stele_conn *holder = acquire(db);
    options.lock_timeout_ms = 10;
    add_tickets(50, 50);
    peer("INSERT INTO visits (room, guest, ends_at) VALUES ('north', 'a', now() - interval '1 s');"
         "INSERT INTO notes (room, guest) VALUES ('north', 'a')");
    assert_ok(stele_tx_begin(holder, NULL, &err), &err);
    run_sql(holder, "LOCK TABLE notes IN SHARE MODE");
    stele_sweeper *sweeper = open_sweeper(db, &options);
    (void)!stele_sweeper_run(sweeper, 60000, &report, &err);
    assert_int_equal(report.expired, 50);
    assert_true(table_numbers(sweeper, "visits").failures >= 5);
    assert_int_equal(number("SELECT count(*) FROM visits WHERE deleted_at IS NULL"), 1);
    assert_string_equal(told_state, "55P03");
    assert_ok(stele_tx_rollback(holder, &err), &err);
    assert_ok(stele_sweeper_run(sweeper, 60000, &report, &err), &err);
    assert_int_equal(report.expired, 1);
    assert_int_equal(report.followed, 1);
    close_sweeper(sweeper);
    stele_conn_release(holder);
}

static void ages_are_told(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    peer("INSERT INTO tickets (ends_at) VALUES (now() - interval '1 h'), (now() - interval '2 h')");
    stele_sweeper *sweeper = open_sweeper(db, &options);
    assert_ok(stele_sweeper_run(sweeper, 0, NULL, &err), &err);
    stele_sweep_table_stats stats = table_numbers(sweeper, "tickets");
    assert_in_range(stats.oldest_found_ms, 7200000, 7300000);
    assert_int_equal(stats.oldest_ms, 0);
    assert_int_equal(numbers_of(sweeper).runs, 1);
    assert_int_equal(numbers_of(sweeper).expired, 2);
    peer("INSERT INTO tickets (ends_at) VALUES (now() - interval '3 h'); INSERT INTO stubs (ticket)"
         " SELECT max(id) FROM tickets");
    assert_ok(stele_sweeper_run(sweeper, 0, NULL, &err), &err);
    assert_in_range(table_numbers(sweeper, "tickets").oldest_found_ms, 10800000, 10900000);
    close_sweeper(sweeper);
}

static uint64_t most_claimed;
static uint64_t batch_count;

static void note_batch(const stele_sweep_place *place, const stele_sweep_batch *batch, void *user)
{
    (void)place;
    (void)user;
    batch_count++;
    assert_true(batch->claimed <= batch->limit);
    if (batch->claimed > most_claimed)
        most_claimed = batch->claimed;
}

/* Every transaction is late: each next one has half the rows. */
static void slow_transactions_get_smaller(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    options.batch_ms = 1;
    options.batch_rows = 512;
    options.on_batch = note_batch;
    most_claimed = batch_count = 0;
    add_tickets(600, 600);
    peer("CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
         " PERFORM pg_sleep(0.002); RETURN NULL; END $$;"
         "CREATE TRIGGER linger AFTER DELETE ON tickets FOR EACH STATEMENT EXECUTE FUNCTION"
         " linger()");
    (void)sweep_once(db, &options);
    peer("DROP FUNCTION linger CASCADE");
    assert_int_equal(most_claimed, 512);
    assert_in_range(batch_count, 2, 2); /* 512, then 256 would be asked for and 88 are left */
}

static void rows_per_second_are_kept_to(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    options.rows_per_second = 500;
    options.batch_rows = 100;
    add_tickets(600, 600);
    uint64_t began = now_ms();
    stele_sweeper *sweeper = open_sweeper(db, &options);
    assert_ok(stele_sweeper_run(sweeper, 60000, NULL, &err), &err);
    uint64_t took = now_ms() - began;
    assert_in_range(took, 1000, SOON_MS); /* 1.2 s, less what had gathered before */
    assert_true(numbers_of(sweeper).waited_ms > 0);
    close_sweeper(sweeper);
}

static int64_t lag;

static int64_t measure_lag(stele_conn *conn, void *user)
{
    (void)user;
    run_sql(conn, "SELECT 1");
    int64_t now = lag;
    if (lag > 60000)
        lag = 0; /* it has caught up when it is asked next */
    return now;
}

static void lagging_replicas_are_waited_for(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    options.replica_lag_ms = measure_lag;
    options.on_batch = note_batch;
    most_claimed = batch_count = 0;
    add_tickets(1000, 1000);
    lag = 10001;
    assert_int_equal(sweep_once(db, &options).expired, 1000);
    assert_int_equal(most_claimed, 500);
    add_tickets(1000, 1000);
    lag = -1; /* not known */
    most_claimed = 0;
    assert_int_equal(sweep_once(db, &options).expired, 1000);
    assert_int_equal(most_claimed, 500);
    add_tickets(1000, 1000);
    lag = 60001;
    stele_sweeper *sweeper = open_sweeper(db, &options);
    assert_ok(stele_sweeper_run(sweeper, 60000, NULL, &err), &err);
    assert_true(numbers_of(sweeper).paused_ms >= 900);
    assert_int_equal(number("SELECT count(*) FROM tickets"), 0);
    close_sweeper(sweeper);
}

/* A policy for rows lets the role see what it may not remove: that ends too. */
static void rows_that_stay_do_not_keep_it_for_ever(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    options.batch_rows = 10;
    add_tickets(100, 100);
    peer("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
         "CREATE TRIGGER keep BEFORE DELETE ON tickets FOR EACH ROW EXECUTE FUNCTION keep()");
    stele_sweep_report report = sweep_once(db, &options);
    peer("DROP FUNCTION keep CASCADE; UPDATE tickets SET ends_at = now() - interval '1 h';"
         "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
         "CREATE TRIGGER keep BEFORE DELETE ON tickets FOR EACH ROW EXECUTE FUNCTION keep()");
    assert_int_equal(report.expired, 0);
    assert_int_equal(sweep_once(db, &options).expired, 0); /* all of the same time */
    peer("DROP FUNCTION keep CASCADE");
    assert_int_equal(sweep_once(db, &options).expired, 100);
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    stele_sweeper *sweeper = NULL;
    stele_sweeper_options options = by_hand();
    options.size = 3;
    assert_int_equal(stele_sweeper_open(db, &options, &sweeper, &err), STELE_E_INPUT);
    options = by_hand();
    options.retention_ms = UINT64_MAX;
    assert_int_equal(stele_sweeper_open(db, &options, &sweeper, &err), STELE_E_INPUT);
    options = by_hand();
    options.interval_ms = INT64_MAX;
    assert_int_equal(stele_sweeper_open(db, &options, &sweeper, &err), STELE_E_INPUT);
    options = by_hand();
    options.statement_timeout_ms = 1u << 30; /* four of them are none in 32 bits */
    assert_int_equal(stele_sweeper_open(db, &options, &sweeper, &err), STELE_E_INPUT);
    options = by_hand();
    options.lock_timeout_ms = UINT32_MAX;
    assert_int_equal(stele_sweeper_open(db, &options, &sweeper, &err), STELE_E_INPUT);
    assert_int_equal(stele_sweeper_open(NULL, NULL, &sweeper, &err), STELE_E_INPUT);
    assert_null(sweeper);
    assert_int_equal(stele_sweeper_close(NULL, 0, &err), STELE_OK);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        SWEPT(expired_rows_go_by_policy),
        SWEPT(tombstones_are_kept_for_the_retention),
        SWEPT(a_watermark_keeps_it_linear),
        SWEPT(rows_that_are_held_are_left),
        SWEPT(what_cannot_be_removed_is_passed_over),
        SWEPT(a_table_at_fault_does_not_stop_the_others),
        SWEPT(a_role_without_rights_sweeps_what_it_may),
        SWEPT(a_locked_table_is_left_for_later),
        SWEPT(ages_are_told),
        SWEPT(slow_transactions_get_smaller),
        SWEPT(rows_per_second_are_kept_to),
        SWEPT(lagging_replicas_are_waited_for),
        SWEPT(rows_that_stay_do_not_keep_it_for_ever),
        SWEPT(wrong_options_are_refused),
    };
    return RUN_SWEPT(tests);
}
