/*
 * Partitions of rows that have all expired go as a whole; no other does.
 */
#include "sweep_util.h"

static void drop_partitions(void)
{
    peer("DO $$ DECLARE p text; BEGIN FOR p IN SELECT inhrelid::regclass::text FROM pg_inherits "
         "WHERE"
         " inhparent IN ('logs'::regclass, 'memos'::regclass) LOOP EXECUTE 'DROP TABLE ' || p;"
         " END LOOP; END $$");
}

/* Days: two that are over, the one that is, one to come; and what has no end. */
static void add_days(const char *table)
{
    char sql[700];
    drop_partitions();
    (void)snprintf(
        sql, sizeof sql,
        "DO $$ BEGIN FOR i IN -2..1 LOOP EXECUTE format('CREATE TABLE day_%%s PARTITION OF"
        " %s FOR VALUES FROM (%%L) TO (%%L)', i + 3, timezone('UTC', now())::date + i,"
        " timezone('UTC', now())::date + i + 1); END LOOP; END $$;"
        "CREATE TABLE day_5 PARTITION OF %s FOR VALUES FROM ('2100-01-01') TO (MAXVALUE);"
        "INSERT INTO %s (ends_at) SELECT timezone('UTC', now())::date + d * interval '1 d'"
        " + i * interval '1 ms' FROM generate_series(-2, 1) AS d,"
        " generate_series(1, 1000) AS i",
        table, table, table);
    peer(sql);
}

static int64_t days(const char *table)
{
    char sql[200];
    (void)snprintf(
        sql, sizeof sql,
        "SELECT string_agg(right(inhrelid::regclass::text, 1), '' ORDER"
        " BY inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = '%s'::regclass",
        table);
    return number(sql);
}

static void expired_partitions_are_dropped(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    add_days("logs");
    stele_sweep_report report = sweep_once(db, &options);
    assert_int_equal(report.partitions, 2);
    assert_int_equal(days("logs"), 345);
    /* the day that is not over is swept row by row */
    assert_int_equal(report.expired, 1000);
    assert_int_equal(number("SELECT count(*) FROM logs"), 1000);
    assert_int_equal(number("SELECT count(*) FROM pg_class WHERE relname IN ('day_1', 'day_2')"),
                     0);
    assert_int_equal(sweep_once(db, &options).partitions, 0);
}

static void they_may_be_kept_as_tables(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    options.detach_only = true;
    add_days("logs");
    assert_int_equal(sweep_once(db, &options).partitions, 2);
    assert_int_equal(days("logs"), 345);
    assert_int_equal(number("SELECT count(*) FROM day_1"), 1000);
    peer("DROP TABLE day_1, day_2");
}

/* With a default partition none can be detached beside others. */
static void a_default_partition_is_minded(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_sweep_report report = {0};
    stele_conn *reader = acquire(db);
    add_days("logs");
    peer("CREATE TABLE day_9 PARTITION OF logs DEFAULT");
    assert_ok(stele_tx_begin(reader, NULL, &err), &err);
    run_sql(reader, "SELECT count(*) FROM logs");
    stele_sweeper *sweeper = open_sweeper(db, &options);
    assert_int_equal(stele_sweeper_run(sweeper, 60000, &report, &err), STELE_E_LOCKED);
    assert_int_equal(report.partitions, 0);
    assert_ok(stele_tx_rollback(reader, &err), &err);
    assert_ok(stele_sweeper_run(sweeper, 60000, &report, &err), &err);
    assert_int_equal(report.partitions, 2);
    assert_int_equal(days("logs"), 3459);
    close_sweeper(sweeper);
    stele_conn_release(reader);
}

/* Detaching waits for those who see the partition, while others go on; what was not ended in time is
 * ended by the next sweep. */
static void a_detach_that_was_not_ended_is_ended(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_sweep_report report = {0};
    stele_conn *reader = acquire(db);
    options.statement_timeout_ms = 2000;
    add_days("logs");
    assert_ok(stele_tx_begin(reader, NULL, &err), &err);
    run_sql(reader, "SELECT count(*) FROM logs");
    stele_sweeper *sweeper = open_sweeper(db, &options);
    assert_int_not_equal(stele_sweeper_run(sweeper, 60000, &report, &err), STELE_OK);
    assert_int_equal(report.partitions, 0);
    if (stele_conn_server_version(reader) >= 140000)
        assert_true(number("SELECT count(*) FROM pg_inherits WHERE inhdetachpending") > 0);
    assert_ok(stele_tx_rollback(reader, &err), &err);
    stele_conn_release(reader);
    for (int i = 0; i < 10 && days("logs") != 345; i++)
        (void)!stele_sweeper_run(sweeper, 60000, &report, &err);
    assert_int_equal(days("logs"), 345);
    assert_int_equal(number("SELECT count(*) FROM pg_class WHERE relname IN ('day_1', 'day_2')"),
                     0);
    close_sweeper(sweeper);
}

/* Soft delete keeps a row for its retention; so does a partition, which has no tombstones. */
static void retention_holds_for_partitions(void **state)
{
    (void)state;
    stele_sweeper_options options = by_hand();
    stele_db *hard = NULL;
    add_days("memos");
    stele_sweep_report report = sweep_once(db, &options);
    assert_int_equal(report.partitions, 0);
    assert_int_equal(report.expired, 3000);
    assert_int_equal(number("SELECT count(*) FROM memos WHERE deleted_at IS NOT NULL"), 3000);
    options.retention_ms = 25 * 3600 * 1000;
    assert_int_equal(sweep_once(db, &options).partitions,
                     number("SELECT count(*) FROM generate_series(-1, 0) AS i WHERE"
                            " timezone('UTC', now())::date + i <= timezone('UTC', now())"
                            " - interval '25 h'"));
    add_days("memos");
    assert_ok(stele_db_derive_policy(db, STELE_OFF, &hard, &err), &err);
    options.retention_ms = 0;
    assert_int_equal(sweep_once(hard, &options).partitions, 2);
    assert_int_equal(days("memos"), 345);
    stele_db_close(hard);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        SWEPT(expired_partitions_are_dropped), SWEPT(they_may_be_kept_as_tables),
        SWEPT(a_default_partition_is_minded),  SWEPT(a_detach_that_was_not_ended_is_ended),
        SWEPT(retention_holds_for_partitions),
    };
    return RUN_SWEPT(tests);
}
