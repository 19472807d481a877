/*
 * Storing what was gathered: receipts, order, units that are one, units that are refused.
 */
#include "latency.h"
#include "persist_util.h"

static stele_persist *persist;

static void open_gathering(uint32_t units)
{
    stele_persist_options options = gathering(units);
    persist = open_persist(&options);
}

static void close_it(void)
{
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
}

static void flush(void)
{
    assert_ok(stele_persist_flush(persist, NULL, 0, 60000, &err), &err);
}

/* ---- receipts ---- */

static void a_receipt_waits_until_it_is_stored(void **state)
{
    (void)state;
    open_gathering(3);
    stele_receipt *first = put(persist, "a", entry("a", 1, "one"));
    stele_receipt *second = put(persist, "a", entry("a", 2, NULL));
    assert_int_equal(stele_receipt_status(first), STELE_AGAIN);
    assert_int_equal(stele_receipt_wait(first, 20, &err), STELE_AGAIN);
    assert_int_equal(stele_receipt_affected(first, 0), 0);
    assert_int_equal(number("SELECT count(*) FROM entries"), 0);
    assert_ok(outcome(put(persist, "a", entry("a", 3, NULL))), &err); /* the third: all go */
    assert_int_equal(stele_receipt_status(second), STELE_OK);
    assert_int_equal(stele_receipt_affected(second, 0), 1);
    assert_int_equal(stele_receipt_affected(second, 1), 0);
    stele_receipt_free(second);
    assert_ok(outcome(first), &err);
    assert_string_equal(stored("a"), "1,2,3");
    stele_commit_stats stats = numbers_of(persist);
    assert_int_equal(stats.put, 3);
    assert_int_equal(stats.stored, 3);
    assert_int_equal(stats.statements, 3);
    assert_int_equal(stats.batches, 1);
    assert_int_equal(stats.ack.count, 3);
    assert_true(slower_than(&stats.ack, 20) >= 1); /* the first waited so long for the third */
    assert_true(stats.longest_ack_ns > 0 && stats.ack.sum_ns >= stats.longest_ack_ns);
    assert_int_equal(stats.lanes.wait.count, 3);
    close_it();
}

static void a_receipt_outlives_all(void **state)
{
    (void)state;
    open_gathering(10);
    stele_receipt *receipt = put(persist, "a", entry("a", 1, NULL));
    stele_receipt *let_go = put(persist, "a", entry("a", 2, NULL));
    stele_receipt_free(let_go);
    close_it();
    assert_ok(outcome(receipt), &err);
    assert_string_equal(stored("a"), "1,2");
}

typedef struct told {
    int calls;
    stele_status status[8];
    uint64_t affected[8];
    char message[520];
} told;

static void note_done(stele_status status, const stele_error *why, const uint64_t *affected,
                      size_t count, void *user)
{
    told *t = user;
    assert_int_equal(why == NULL, status == STELE_OK);
    t->affected[t->calls] = affected[count - 1];
    t->status[t->calls++] = status;
    if (why != NULL)
        (void)snprintf(t->message, sizeof t->message, "%s", why->message);
}

static void callbacks_come_in_order(void **state)
{
    (void)state;
    told t = {0};
    stele_put_options how = STELE_PUT_OPTIONS_INIT;
    how.on_done = note_done;
    how.user = &t;
    open_gathering(10);
    peer("INSERT INTO accounts (name) VALUES ('a')");
    for (int i = 0; i < 4; i++) {
        stele_unit *unit = entry("a", i == 2 ? 1 : i, NULL); /* the third is there already */
        ledger_add_params add = {.name = stele_text_v(i == 3 ? "nobody" : "a"),
                                 .n = stele_i64_v(i)};
        assert_ok(ledger_add_queue(stele_unit_pipeline(unit), &add, NULL, &err), &err);
        assert_ok(stele_persist_put(persist, "a", 1, &unit, &how, NULL, &err), &err);
    }
    flush();
    assert_int_equal(t.calls, 4);
    assert_int_equal(t.status[0], STELE_OK);
    assert_int_equal(t.affected[1], 1);
    assert_int_equal(t.status[2], STELE_E_UNIQUE);
    assert_non_null(strstr(t.message, "entries"));
    assert_int_equal(t.status[3], STELE_OK);
    assert_int_equal(t.affected[3], 0); /* an update that found no row is no failure */
    assert_string_equal(stored("a"), "0,1,3");
    /* What is refused leaves nothing: its update came before the others, and is undone. */
    assert_int_equal(number("SELECT total FROM accounts"), 1);
    close_it();
}

static int forgotten;
static int noted;

static void note_failure(const stele_persist_failure *failure, void *user)
{
    size_t len = 0;
    const char *key = stele_unit_key(failure->unit, &len);
    assert_ptr_equal(user, &noted);
    assert_memory_equal(key, "key", 3);
    assert_int_equal(len, 3);
    assert_int_equal(failure->error->status, STELE_E_UNIQUE);
    assert_string_equal(stele_unit_statement(failure->unit, 0), "entries_insert");
    noted++;
    forgotten += failure->forgotten;
}

static void what_is_forgotten_is_counted(void **state)
{
    (void)state;
    stele_persist_options options = gathering(10);
    options.on_fail = note_failure;
    options.user = &noted;
    persist = open_persist(&options);
    noted = forgotten = 0;
    for (int i = 0; i < 3; i++) {
        stele_unit *unit = entry("a", 1, NULL);
        assert_ok(stele_persist_put(persist, "key", 3, &unit, NULL, NULL, &err), &err);
    }
    stele_receipt *receipt = put(persist, "key", entry("a", 1, NULL));
    flush();
    assert_int_equal(outcome(receipt), STELE_E_UNIQUE);
    stele_commit_stats stats = numbers_of(persist);
    assert_int_equal(stats.stored, 1);
    assert_int_equal(stats.failed, 3);
    assert_int_equal(stats.forgotten, 2);
    assert_int_equal(noted, 3);
    assert_int_equal(forgotten, 2);
    close_it();
}

/* ---- ways ---- */

#define MANY 300

static void put_many(stele_receipt **receipts, int bad_every, bool mixed)
{
    for (int i = 0; i < MANY; i++) {
        bool bad = bad_every > 0 && i % bad_every == bad_every - 1;
        stele_unit *unit = entry(bad ? "an account whose name is longer than forty" : "a", i, "x");
        if (mixed && i % 2 == 0) {
            ledger_add_params add = {.name = stele_text_v("a"), .n = stele_i64_v(1)};
            assert_ok(ledger_add_queue(stele_unit_pipeline(unit), &add, NULL, &err), &err);
        }
        receipts[i] = put(persist, "a", unit);
    }
}

static void check_many(stele_receipt **receipts, int bad_every)
{
    int64_t bad = 0;
    for (int i = 0; i < MANY; i++) {
        bool is_bad = bad_every > 0 && i % bad_every == bad_every - 1;
        bad += is_bad;
        assert_int_equal(outcome(receipts[i]), is_bad ? STELE_E_VALUE : STELE_OK);
        if (is_bad)
            assert_string_equal(err.sqlstate, "22001");
    }
    assert_int_equal(number("SELECT count(*) FROM entries"), MANY - bad);
    assert_int_equal(
        number("SELECT count(*) FROM (SELECT seq, lag(seq) OVER (ORDER BY id) AS before"
               " FROM entries) AS e WHERE before >= seq"),
        0);
}

static void inserts_of_a_kind_go_as_one(void **state)
{
    (void)state;
    stele_receipt *receipts[MANY];
    open_gathering(MANY);
    put_many(receipts, 0, false);
    check_many(receipts, 0);
    stele_commit_stats stats = numbers_of(persist);
    assert_int_equal(stats.batches, 1);
    assert_int_equal(stats.bulk, 1);
    close_it();
}

static void what_is_mixed_goes_in_one_pipeline(void **state)
{
    (void)state;
    stele_receipt *receipts[MANY];
    peer("INSERT INTO accounts (name) VALUES ('a')");
    open_gathering(MANY);
    put_many(receipts, 0, true);
    check_many(receipts, 0);
    stele_commit_stats stats = numbers_of(persist);
    assert_int_equal(stats.batches, 1);
    assert_int_equal(stats.bulk, 0);
    assert_int_equal(stats.statements, MANY + MANY / 2);
    assert_int_equal(number("SELECT total FROM accounts"), MANY / 2);
    close_it();
}

/* Rows that set other columns are other statements; their order is kept all the same. */
static void shapes_keep_their_order(void **state)
{
    (void)state;
    stele_receipt *last = NULL;
    open_gathering(40);
    for (int i = 1; i <= 40; i++) {
        last = put(persist, "a", entry("a", i, i % 10 == 0 ? "x" : NULL));
        if (i < 40)
            stele_receipt_free(last);
    }
    assert_ok(outcome(last), &err);
    assert_int_equal(number("SELECT count(*) FROM entries WHERE id <> seq"), 0);
    close_it();
}

/* ---- poison ---- */

static void one_bad_unit_fails_alone(void **state)
{
    (void)state;
    stele_receipt *receipts[MANY];
    for (int mixed = 0; mixed < 2; mixed++) {
        assert_int_equal(clean_ledger(NULL), 0);
        open_gathering(MANY);
        put_many(receipts, 200, mixed == 1);
        check_many(receipts, 200);
        stele_commit_stats stats = numbers_of(persist);
        assert_int_equal(stats.failed, 1);
        assert_true(stats.batches <= 4); /* those before it, and those behind */
        close_it();
    }
}

static void many_bad_units_fail_alone(void **state)
{
    (void)state;
    stele_receipt *receipts[MANY];
    const int every[] = {1, 2, 3, 50};
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++) {
        for (int mixed = 0; mixed < 2; mixed++) {
            assert_int_equal(clean_ledger(NULL), 0);
            open_gathering(MANY);
            put_many(receipts, every[i], mixed == 1);
            check_many(receipts, every[i]);
            close_it();
        }
    }
}

/* Nobody says which it was: the server found it at the end. */
static void what_fails_at_the_end_is_found_by_halves(void **state)
{
    (void)state;
    stele_receipt *receipts[64];
    open_gathering(64);
    for (int i = 0; i < 64; i++) {
        char name[20];
        (void)snprintf(name, sizeof name, "n%d", i);
        accounts_input input = {.name = stele_text_v(name)};
        if (i == 41)
            input.backer = stele_text_n_v("nobody");
        stele_unit *unit = new_unit();
        assert_ok(accounts_insert_queue(stele_unit_pipeline(unit), &input, NULL, &err), &err);
        if (i % 2 == 0) /* no two are alike, so that they go in a pipeline */
            add_entry(unit, "a", i, NULL);
        receipts[i] = put(persist, name, unit);
    }
    for (int i = 0; i < 64; i++)
        assert_int_equal(outcome(receipts[i]), i == 41 ? STELE_E_FOREIGN_KEY : STELE_OK);
    assert_int_equal(number("SELECT count(*) FROM accounts"), 63);
    stele_commit_stats stats = numbers_of(persist);
    assert_true(stats.refusals <= 7);
    close_it();
}

static void all_of_a_unit_or_nothing(void **state)
{
    (void)state;
    open_gathering(3);
    stele_unit *unit = entry("a", 1, NULL);
    add_entry(unit, "a", 2, NULL);
    add_entry(unit, "a", 1, NULL); /* there already */
    stele_receipt *before = put(persist, "a", entry("b", 1, NULL));
    stele_receipt *bad = put(persist, "a", unit);
    stele_receipt *after = put(persist, "a", entry("b", 2, NULL));
    assert_int_equal(outcome(bad), STELE_E_UNIQUE);
    assert_string_equal(err.constraint, "entries_place");
    assert_ok(outcome(before), &err);
    assert_ok(outcome(after), &err);
    assert_string_equal(stored("a"), "");
    assert_string_equal(stored("b"), "1,2");
    close_it();
}

/* ---- conflicts ---- */

static void conflicts_are_skipped_on_demand(void **state)
{
    (void)state;
    stele_put_options how = STELE_PUT_OPTIONS_INIT;
    stele_receipt *receipts[30];
    how.skip_conflicts = true;
    open_gathering(31);
    for (int i = 0; i < 30; i++)
        receipts[i] = put_so(persist, "a", entry("a", i % 15, NULL), &how);
    stele_receipt *plain = put(persist, "a", entry("a", 3, NULL));
    for (int i = 0; i < 30; i++) {
        assert_ok(stele_receipt_wait(receipts[i], 0, &err), &err);
        assert_true(stele_receipt_affected(receipts[i], 0) == STELE_AFFECTED_UNKNOWN);
        stele_receipt_free(receipts[i]);
    }
    assert_int_equal(outcome(plain), STELE_E_UNIQUE);
    assert_int_equal(number("SELECT count(*) FROM entries"), 15);
    /* Alone it is known. */
    stele_receipt *again = put_so(persist, "a", entry("a", 3, NULL), &how);
    flush();
    assert_ok(stele_receipt_wait(again, 0, &err), &err);
    assert_int_equal(stele_receipt_affected(again, 0), 0);
    stele_receipt_free(again);
    close_it();
}

/* ---- what is in the way ---- */

/* What another transaction was in the way of is tried again, as a whole. */
static void a_serialization_failure_is_tried_again(void **state)
{
    (void)state;
    stele_receipt *receipts[10];
    peer("CREATE SEQUENCE tries; CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$"
         " BEGIN IF NEW.seq = 5 AND nextval('tries') < 4 THEN"
         " RAISE EXCEPTION 'collided' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$;"
         "CREATE TRIGGER collide BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION collide()");
    open_gathering(10);
    for (int i = 0; i < 10; i++)
        receipts[i] = put(persist, "a", entry("a", i, NULL));
    for (int i = 0; i < 10; i++)
        assert_ok(outcome(receipts[i]), &err);
    assert_string_equal(stored("a"), "0,1,2,3,4,5,6,7,8,9");
    assert_int_equal(numbers_of(persist).retries, 3);
    peer("DROP FUNCTION collide CASCADE; DROP SEQUENCE tries");
    close_it();
}

/* Nothing can be stored: each unit is told so, and the lane goes on. */
static void what_is_missing_fails_and_comes_back(void **state)
{
    (void)state;
    stele_receipt *receipts[20];
    open_gathering(20);
    peer("ALTER TABLE entries RENAME TO elsewhere");
    for (int i = 0; i < 20; i++)
        receipts[i] = put(persist, "a", entry("a", i, NULL));
    for (int i = 0; i < 20; i++)
        assert_int_equal(outcome(receipts[i]), STELE_E_SCHEMA);
    peer("ALTER TABLE elsewhere RENAME TO entries");
    stele_receipt *receipt = put(persist, "a", entry("a", 1, NULL));
    flush();
    assert_ok(outcome(receipt), &err);
    close_it();
}

/* A pool without a free connection: it is waited for, as long as retry_ms. */
static void it_waits_for_a_connection(void **state)
{
    (void)state;
    stele_db_options one = options_of("one only", 1, &ledger_module);
    stele_db *narrow = open_with(&one);
    stele_persist_options options = gathering(1);
    options.retry_ms = 1;
    stele_conn *conn = acquire(narrow);
    assert_ok(stele_persist_open(narrow, &options, &persist, &err), &err);
    assert_int_equal(outcome(put(persist, "a", entry("a", 1, NULL))), STELE_E_TIMEOUT);
    close_it();
    options.retry_ms = 120000;
    assert_ok(stele_persist_open(narrow, &options, &persist, &err), &err);
    stele_receipt *receipt = put(persist, "a", entry("a", 2, NULL));
    wait_until(stats_of(narrow).waiting == 1);
    stele_conn_release(conn);
    assert_ok(outcome(receipt), &err);
    close_it();
    stele_db_close(narrow);
    assert_string_equal(stored("a"), "2");
}

/* No room: the unit stays the caller's, and can be put when there is. */
static void what_finds_no_room_can_be_put_later(void **state)
{
    (void)state;
    stele_persist_options options = gathering(1);
    stele_conn *holder = acquire(db);
    options.max_items = 1;
    options.when_full = STELE_WHEN_FULL_REJECT;
    run_sql(holder, "SELECT pg_advisory_lock(7)");
    persist = open_persist(&options);
    stele_unit *slow = new_unit();
    ledger_slow_entry_params params = {.account = stele_text_v("a"), .seq = stele_i64_v(1)};
    assert_ok(ledger_slow_entry_queue(stele_unit_pipeline(slow), &params, NULL, &err), &err);
    stele_receipt *first = put(persist, "a", slow);
    assert_true(someone_waits());
    stele_receipt *second = put(persist, "a", entry("a", 2, NULL));
    stele_unit *third = entry("a", 3, NULL);
    stele_receipt *none = NULL;
    size_t bytes = stele_unit_bytes(third);
    for (int i = 0; i < 100; i++)
        assert_int_equal(stele_persist_put(persist, "a", 1, &third, NULL, &none, &err),
                         STELE_E_BUSY);
    assert_null(none);
    assert_true(stele_unit_bytes(third) < bytes + 100); /* trying costs no memory */
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    assert_ok(outcome(first), &err);
    assert_ok(outcome(second), &err);
    assert_ok(outcome(put(persist, "a", third)), &err);
    assert_string_equal(stored("a"), "1,2,3");
    close_it();
}

static void a_flush_is_of_a_key_or_all(void **state)
{
    (void)state;
    open_gathering(100);
    stele_receipt *receipt = put(persist, "a", entry("a", 1, NULL));
    assert_ok(stele_persist_flush(persist, "a", 1, 60000, &err), &err);
    assert_int_equal(stele_receipt_status(receipt), STELE_OK);
    stele_receipt_free(receipt);
    receipt = put(persist, "b", entry("a", 2, NULL));
    flush();
    assert_int_equal(stele_receipt_status(receipt), STELE_OK);
    stele_receipt_free(receipt);
    close_it();
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        LEDGER(a_receipt_waits_until_it_is_stored),
        LEDGER(a_receipt_outlives_all),
        LEDGER(callbacks_come_in_order),
        LEDGER(what_is_forgotten_is_counted),
        LEDGER(inserts_of_a_kind_go_as_one),
        LEDGER(what_is_mixed_goes_in_one_pipeline),
        LEDGER(shapes_keep_their_order),
        LEDGER(one_bad_unit_fails_alone),
        LEDGER(many_bad_units_fail_alone),
        LEDGER(what_fails_at_the_end_is_found_by_halves),
        LEDGER(all_of_a_unit_or_nothing),
        LEDGER(conflicts_are_skipped_on_demand),
        LEDGER(a_serialization_failure_is_tried_again),
        LEDGER(what_is_missing_fails_and_comes_back),
        LEDGER(it_waits_for_a_connection),
        LEDGER(what_finds_no_room_can_be_put_later),
        LEDGER(a_flush_is_of_a_key_or_all),
    };
    return RUN_LEDGER(tests);
}
