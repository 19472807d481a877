/*
 * Bulk writes when something breaks: the server process is killed amid the rows, deadlines, memory that
 * runs out; a million rows in bounded memory. Nothing is ever said to be stored that is not.
 */
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bulk_util.h"
#include "faultmalloc.h"

enum { COUNT = 60000 };

static char names[COUNT][12];
static heaps_nodes_input *rows;

static void make_rows(void)
{
    rows = calloc(COUNT, sizeof *rows);
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "n%d", i);
        rows[i].id = stele_i64_v(i);
        rows[i].name = stele_text_of((stele_str){names[i], strlen(names[i])});
    }
}

/* ---- a killed server process ---- */

/* Runs SQL on another connection when so many rows are done. */
typedef struct killer {
    size_t at;
    int pid;
    bool done;
} killer;

static void kill_backend(size_t done, size_t total, void *user)
{
    killer *k = user;
    char sql[100];
    (void)total;
    if (k->done || done < k->at)
        return;
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 60000)", k->pid);
    peer(sql);
    k->done = true;
}

static void killed_between_batches(void **state)
{
    (void)state;
    for (size_t batch = 1; batch <= 5; batch++) {
        (void)clean_tables(NULL);
        killer k = {batch * 10000, stele_conn_backend_pid(conn), false};
        stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
        options.on_progress = kill_backend;
        options.user = &k;
        stele_status st = heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err);
        assert_int_equal(st, STELE_E_LOST);
        assert_false(err.outcome_unknown);
        assert_true(err.retryable);
        assert_int_equal(report.inserted, 0);
        assert_int_equal(number("SELECT count(*) FROM nodes"), 0);
        /* The lease finds another connection. */
        assert_ok(heaps_nodes_insert_many(conn, rows, 600, NULL, &report, NULL, &err), &err);
        assert_int_equal(number("SELECT count(*) FROM nodes"), 600);
    }
}

/* Kills from another thread, at a moment of its own choice. */
static void *kill_soon(void *arg)
{
    killer *k = arg;
    char sql[160];
    (void)snprintf(sql, sizeof sql, "SELECT pg_sleep(%g); SELECT pg_terminate_backend(%d)",
                   (double)k->at / 1e6, k->pid);
    peer(sql);
    return NULL;
}

static void killed_amid_rows(void **state)
{
    (void)state;
    int lost = 0;
    for (size_t round = 0; round < 20 || (lost <= 5 && round < 200); round++) {
        pthread_t thread;
        (void)clean_tables(NULL);
        run_sql(conn, "SELECT"); /* after a loss it finds a new connection only now */
        killer k = {round % 20 * 2000, stele_conn_backend_pid(conn), false};
        stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
        options.batch_rows = round % 2 == 0 ? COUNT : 10000; /* with and without a transaction */
        assert_int_equal(pthread_create(&thread, NULL, kill_soon, &k), 0);
        stele_status st = heaps_nodes_insert_many(conn, rows, COUNT, &options, &report, NULL, &err);
        assert_int_equal(pthread_join(thread, NULL), 0);
        int64_t stored = number("SELECT count(*) FROM nodes");
        assert_true(stored == 0 || stored == COUNT);
        if (st == STELE_OK)
            assert_int_equal(stored, COUNT);
        else if (!err.outcome_unknown)
            assert_int_equal(stored, 0);
        else
            assert_int_equal(st, STELE_E_UNKNOWN);
        lost += st != STELE_OK;
    }
    assert_true(lost > 0);
    assert_true(lost > 5);
}

/* ---- deadlines ---- */

static void a_deadline_ends_the_call(void **state)
{
    (void)state;
    peer("CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
         " PERFORM pg_sleep(60); RETURN NEW; END $$;"
         "CREATE TRIGGER doze BEFORE INSERT ON nodes FOR EACH STATEMENT EXECUTE FUNCTION doze()");
    for (int nested = 0; nested < 2; nested++)
        for (uint32_t threshold = 1; threshold != 2; threshold = threshold == 1 ? UINT32_MAX : 2) {
            stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
            options.mode = STELE_BULK_KEEP_GOOD;
            options.copy_threshold = threshold;
            stele_conn *lease = acquire(db);
            if (nested)
                assert_ok(stele_tx_begin(lease, NULL, &err), &err);
            stele_conn_set_deadline(lease, 2000);
            stele_status st =
                heaps_nodes_insert_many(lease, rows, 1000, &options, &report, NULL, &err);
            assert_int_equal(st, STELE_E_TIMEOUT);
            assert_int_equal(err.outcome_unknown, !nested);
            assert_int_equal(report.bad, 0);
            stele_conn_release(lease);
        }
    peer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
         " WHERE wait_event = 'PgSleep' AND datname = current_database()");
    assert_true(
        dbtest_wait_until(dsn, "SELECT count(*) = 0 FROM pg_stat_activity"
                               " WHERE wait_event = 'PgSleep' AND datname = current_database()"));
    peer("DROP TRIGGER doze ON nodes; DROP FUNCTION doze()");
    assert_int_equal(number("SELECT count(*) FROM nodes"), 0);
}

/* ---- what COPY is refused ---- */

static char role[32];

static void as_role(const char *sql)
{
    char text[300];
    (void)snprintf(text, sizeof text, sql, role, role, role);
    peer(text);
}

/* Row-level security forbids COPY, a missing right temporary tables: then another way is taken. */
static void where_copy_is_refused(void **state)
{
    (void)state;
    (void)snprintf(role, sizeof role, "bulk_%d", (int)getpid());
    as_role("CREATE ROLE %s; GRANT ALL ON ALL TABLES IN SCHEMA public TO %s;"
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO %s");
    peer("DO $$ BEGIN EXECUTE 'REVOKE TEMPORARY ON DATABASE ' || current_database() || "
         "' FROM PUBLIC'; END $$; ALTER TABLE nodes ENABLE ROW LEVEL SECURITY;"
         "CREATE POLICY small ON nodes USING (true) WITH CHECK (id < 5000)");
    stele_conn *lease = acquire(db);
    char sql[64];
    (void)snprintf(sql, sizeof sql, "SET ROLE %s", role);
    run_sql(lease, sql);
    for (int nested = 0; nested < 2; nested++) {
        (void)clean_tables(NULL);
        stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
        heaps_stamps_input in[600] = {0};
        for (int i = 0; i < 600; i++)
            in[i] = (heaps_stamps_input){.id = stele_i64_v(i), .changed_at = stele_ts_now()};
        if (nested)
            assert_ok(stele_tx_begin(lease, NULL, &err), &err);
        assert_ok(heaps_nodes_insert_many(lease, rows, 2000, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, 2000);
        assert_ok(heaps_stamps_upsert_many(lease, in, 600, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, 600);
        assert_int_equal(
            heaps_nodes_insert_many(lease, rows + 2000, 4000, &options, &report, NULL, &err),
            STELE_E_PERMISSION);
        if (nested)
            assert_ok(stele_tx_commit(lease, &err), &err);
        assert_int_equal(number("SELECT count(*) FROM nodes"), 2000);
        assert_int_equal(number("SELECT count(*) FROM stamps"), 600);
    }
    run_sql(lease, "RESET ROLE");
    stele_conn_release(lease);
    peer("DROP POLICY small ON nodes; ALTER TABLE nodes DISABLE ROW LEVEL SECURITY");
    as_role("DROP OWNED BY %s; DROP ROLE %s");
}

/* ---- memory ---- */

static long peak_kilobytes(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* The inputs are the caller's; beside them a million rows take what ten thousand do. */
static void a_million_rows(void **state)
{
    (void)state;
    enum { MILLION = 1000000 };
    static const heaps_stamps_input one = {.label = {&stele_tag_value, {"a label", 7}}};
    heaps_stamps_input *many = calloc(MILLION, sizeof *many);
    for (int64_t i = 0; i < MILLION; i++) {
        many[i] = one;
        many[i].id = stele_i64_v(i);
        many[i].changed_at = stele_ts_v(i);
    }
    assert_ok(heaps_stamps_insert_many(conn, many, 20000, NULL, &report, NULL, &err), &err);
    (void)clean_tables(NULL);
    long before = peak_kilobytes();
    assert_ok(heaps_stamps_insert_many(conn, many, MILLION, NULL, &report, NULL, &err), &err);
    assert_int_equal(report.inserted, MILLION);
    if (fault_reaches_all()) /* a sanitizer keeps what was freed */
        assert_true(peak_kilobytes() - before < 2048);
    assert_int_equal(number("SELECT count(*) FROM stamps"), MILLION);
    free(many);
}

/* Memory ends at every allocation of every way: an error, and nothing stored; or success, and all. */
static void memory_runs_out(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++)
        for (long n = 0; n < 400; n++) {
            (void)clean_tables(NULL);
            heaps_stamps_row *back = NULL;
            heaps_stamps_input in[6];
            stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
            options.copy_threshold = way % 2 == 0 ? UINT32_MAX : 1;
            for (int i = 0; i < 6; i++)
                in[i] = (heaps_stamps_input){.id = stele_i64_v(i), .changed_at = stele_ts_now()};
            in[5].label = stele_text_n_v("another group");
            stele_error_clear(&err);
            /* libpq waits for ever when memory ends as it notes the answer to a Sync. */
            stele_conn_set_deadline(conn, 500);
            fault_arm(n);
            stele_status st = heaps_stamps_upsert_many(conn, in, 6, &options, &report,
                                                       way / 2 == 1 ? &back : NULL, &err);
            bool failed = fault_disarm();
            stele_conn_set_deadline(conn, 0);
            int64_t stored = number("SELECT count(*) FROM stamps");
            if (st == STELE_OK)
                assert_int_equal(stored, 6);
            else if (!err.outcome_unknown)
                assert_int_equal(stored, 0);
            heaps_stamps_row_free(back);
            if (st == STELE_OK && !failed)
                break;
            assert_true(n < 399);
        }
}

static int setup(void **state)
{
    make_rows();
    return setup_heaps(state);
}

static int teardown(void **state)
{
    free(rows);
    return teardown_tables(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAPED(killed_between_batches), HEAPED(killed_amid_rows), HEAPED(a_deadline_ends_the_call),
        HEAPED(where_copy_is_refused),  HEAPED(a_million_rows),   HEAPED(memory_runs_out),
    };
    fault_install();
    return cmocka_run_group_tests(tests, setup, teardown);
}
