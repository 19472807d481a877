/*
 * Closing at any time: each unit is stored or comes back, and nobody waits for ever.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "listen/relay.h"
#include "persist_util.h"

static stele_persist *persist;

/* ---- at a hundred moments ---- */

#define PRODUCERS 3
#define MOST 400

typedef struct producer {
    pthread_t thread;
    int index;
    int put;
    stele_receipt *receipts[MOST];
} producer;

static bool stop; /* atomic */
static int done;  /* atomic: producers */

static void *produce(void *arg)
{
    producer *p = arg;
    stele_error why;
    char account[20];
    (void)snprintf(account, sizeof account, "account %d", p->index);
    p->put = 0;
    while (p->put < MOST && !__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        stele_unit *unit = NULL;
        entries_input input = {.account = stele_text_v(account), .seq = stele_i64_v(p->put)};
        if (stele_unit_open(&unit, &why) != STELE_OK)
            break;
        stele_status st = entries_insert_queue(stele_unit_pipeline(unit), &input, NULL, &why);
        if (st == STELE_OK)
            st = stele_persist_put(persist, account, strlen(account), &unit, NULL,
                                   &p->receipts[p->put], &why);
        stele_unit_free(unit);
        if (st != STELE_OK)
            break;
        p->put++;
    }
    __atomic_add_fetch(&done, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void count_undone(stele_unit **unit, stele_status status, void *user)
{
    int *counts = user;
    assert_int_equal(stele_unit_count(*unit), 1);
    counts[status == STELE_E_CLOSED ? 0 : 1]++;
    if (counts[0] % 2 == 0) { /* taken, or left */
        stele_unit_free(*unit);
        *unit = NULL;
    }
}

/* What a receipt says is what is there. */
static void check(producer *p, int *ret_left)
{
    char sql[200];
    for (int i = 0; i < p->put; i++) {
        stele_status st = stele_receipt_status(p->receipts[i]);
        assert_true(st == STELE_OK || st == STELE_E_CLOSED || st == STELE_E_UNKNOWN);
        (void)snprintf(sql, sizeof sql, "account %d", p->index);
        *ret_left += st != STELE_OK;
        if (st == STELE_OK)
            (void)snprintf(sql, sizeof sql,
                           "SELECT count(*) FROM entries WHERE account = 'account %d' AND seq = %d",
                           p->index, i);
        if (st == STELE_OK && i % 50 == 0) /* a sample: asking takes longer than storing */
            assert_int_equal(number(sql), 1);
        stele_receipt_free(p->receipts[i]);
    }
}

static void it_closes_at_any_time(void **state)
{
    (void)state;
    static producer producers[PRODUCERS];
    int closed_early = 0;
    for (int i = 0; i < 100; i++) {
        int counts[2] = {0};
        int left = 0;
        uint64_t moment = (uint64_t)(i * 37 % 100) * 2; /* in units that were put */
        stele_persist_options options = STELE_PERSIST_OPTIONS_INIT;
        options.lanes = 2;
        options.batch_units = 20;
        options.linger_us = 300;
        options.max_items = 50;
        options.when_full = (stele_when_full)(i % 3);
        __atomic_store_n(&stop, false, __ATOMIC_RELAXED);
        __atomic_store_n(&done, 0, __ATOMIC_RELAXED);
        persist = open_persist(&options);
        for (int j = 0; j < PRODUCERS; j++) {
            producers[j].index = j;
            assert_int_equal(pthread_create(&producers[j].thread, NULL, produce, &producers[j]), 0);
        }
        wait_until(numbers_of(persist).put >= moment ||
                   __atomic_load_n(&done, __ATOMIC_RELAXED) == PRODUCERS);
        __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
        for (int j = 0; j < PRODUCERS; j++)
            assert_int_equal(pthread_join(producers[j].thread, NULL), 0);
        uint64_t began = now_ms();
        stele_status st =
            stele_persist_close(persist, i % 2 == 0 ? 0 : 60000, count_undone, counts, &err);
        assert_true(now_ms() - began < SOON_MS);
        for (int j = 0; j < PRODUCERS; j++)
            check(&producers[j], &left);
        assert_int_equal(left, counts[0] + counts[1]);
        assert_true(left == 0 || st == STELE_E_TIMEOUT);
        assert_true(i % 2 == 0 || left == 0);
        closed_early += left > 0;
        assert_int_equal(
            number("SELECT count(*) FROM (SELECT seq, lag(seq) OVER (PARTITION BY account"
                   " ORDER BY id) AS before FROM entries) AS e WHERE before >= seq"),
            0);
        peer("TRUNCATE entries");
    }
    assert_int_equal(stats_of(db).in_use, 0);
    assert_true(closed_early > 0);
}

/* ---- what hangs ---- */

static stele_unit *slow(int seq)
{
    stele_unit *unit = new_unit();
    ledger_slow_entry_params params = {.account = stele_text_v("slow"), .seq = stele_i64_v(seq)};
    assert_ok(ledger_slow_entry_queue(stele_unit_pipeline(unit), &params, NULL, &err), &err);
    return unit;
}

typedef struct kept {
    stele_unit *units[8];
    stele_status status[8];
    int count;
} kept;

static void keep(stele_unit **unit, stele_status status, void *user)
{
    kept *k = user;
    k->status[k->count] = status;
    k->units[k->count++] = *unit;
    *unit = NULL;
}

/* What is under way is canceled; with what waits it comes back, and can be stored elsewhere. */
static void what_hangs_is_canceled_and_comes_back(void **state)
{
    (void)state;
    kept k = {.count = 0};
    stele_persist_options options = gathering(2);
    persist = open_persist(&options);
    stele_conn *holder = acquire(db);
    run_sql(holder, "SELECT pg_advisory_lock(7)");
    stele_receipt *receipts[3];
    for (int i = 0; i < 3; i++)
        receipts[i] = put(persist, "a", slow(i));
    assert_true(someone_waits());
    uint64_t began = now_ms();
    assert_int_equal(stele_persist_close(persist, 50, keep, &k, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - began < SOON_MS);
    assert_non_null(strstr(err.message, "3 units"));
    assert_int_equal(k.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(k.status[i], STELE_E_CLOSED);
        assert_int_equal(outcome(receipts[i]), STELE_E_CLOSED);
    }
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    assert_string_equal(stored("slow"), "");
    persist = open_persist(NULL);
    for (int i = 0; i < 3; i++)
        receipts[i] = put(persist, "a", k.units[i]);
    for (int i = 0; i < 3; i++)
        assert_ok(outcome(receipts[i]), &err);
    assert_string_equal(stored("slow"), "0,1,2");
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
}

/* ---- a server that answers nothing ---- */

#define PATIENCE_MS 120000u /* of the handle; closing must not wait for it */

static stele_db *open_patient(const char *where)
{
    stele_db_options options = options_of("patient", 4, &ledger_module);
    options.dsn = where;
    options.call_timeout_ms = PATIENCE_MS;
    return open_with(&options);
}

/* One lane, of which two units hang in a transaction, and a third waits behind them. */
static void hang_up_a_lane(stele_db *patient, stele_receipt *receipts[3])
{
    stele_persist_options options = gathering(2);
    assert_ok(stele_persist_open(patient, &options, &persist, &err), &err);
    for (int i = 0; i < 3; i++)
        receipts[i] = put(persist, "a", slow(i));
    assert_true(someone_waits());
}

static void assert_closes_in_time(stele_receipt *receipts[3])
{
    kept k = {.count = 0};
    uint64_t began = now_ms();
    assert_int_equal(stele_persist_close(persist, 200, keep, &k, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - began < SOON_MS);
    assert_int_equal(k.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(k.status[i], i < 2 ? STELE_E_UNKNOWN : STELE_E_CLOSED);
        assert_int_equal(outcome(receipts[i]), k.status[i]);
        stele_unit_free(k.units[i]);
    }
}

static void a_frozen_backend_does_not_hold_up_closing(void **state)
{
    (void)state;
    stele_receipt *receipts[3];
    stele_db *patient = open_patient(dsn);
    stele_conn *holder = acquire(db);
    run_sql(holder, "SELECT pg_advisory_lock(7)");
    hang_up_a_lane(patient, receipts);
    pid_t pid = (pid_t)number("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                              " AND datname = current_database()");
    if (kill(pid, SIGSTOP) != 0)
        skip();
    assert_closes_in_time(receipts);
    (void)kill(pid, SIGCONT);
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    stele_db_close(patient);
    wait_for_backends("patient", 0);
}

/* A network that swallows everything takes the request to cancel, too. */
static void a_silent_network_does_not_hold_up_closing(void **state)
{
    (void)state;
    stele_receipt *receipts[3];
    relay_start(dsn);
    stele_db *patient = open_patient(relay_dsn());
    stele_conn *holder = acquire(db);
    run_sql(holder, "SELECT pg_advisory_lock(7)");
    hang_up_a_lane(patient, receipts);
    relay_set(RELAY_SWALLOW);
    assert_closes_in_time(receipts);
    relay_set(RELAY_PASS);
    relay_cut();
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    stele_db_close(patient);
    wait_for_backends("patient", 0);
    wait_until(relay_open() == 0);
    relay_stop();
}

/* No server to come: what waits to try again does not keep closing waiting. */
static void it_closes_while_it_tries_again(void **state)
{
    (void)state;
    kept k = {.count = 0};
    stele_db_options one = options_of("one only", 1, &ledger_module);
    stele_db *narrow = open_with(&one);
    stele_persist_options options = gathering(1);
    stele_conn *conn = acquire(narrow); /* the only one */
    assert_ok(stele_persist_open(narrow, &options, &persist, &err), &err);
    stele_receipt *receipt = put(persist, "a", entry("a", 1, NULL));
    wait_until(numbers_of(persist).retries >= 1);
    uint64_t began = now_ms();
    assert_int_equal(stele_persist_close(persist, 10, keep, &k, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - began < SOON_MS);
    assert_int_equal(outcome(receipt), STELE_E_CLOSED);
    assert_int_equal(k.count, 1);
    stele_unit_free(k.units[0]);
    stele_conn_release(conn);
    stele_db_close(narrow);
}

/* ---- who may not ---- */

typedef struct meddler {
    stele_status flush;
    stele_status close;
    stele_status put;
} meddler;

static void meddle(stele_status status, const stele_error *why, const uint64_t *affected,
                   size_t count, void *user)
{
    meddler *m = user;
    stele_error ignored;
    stele_unit *unit = entry("more", 1, NULL);
    (void)why;
    (void)affected;
    (void)count;
    assert_int_equal(status, STELE_OK);
    m->flush = stele_persist_flush(persist, NULL, 0, 0, &ignored);
    m->close = stele_persist_close(persist, 0, NULL, NULL, &ignored);
    m->put = stele_persist_put(persist, "a", 1, &unit, NULL, NULL, &ignored);
    stele_unit_free(unit);
}

static void callbacks_may_put_but_not_wait(void **state)
{
    (void)state;
    meddler m = {0};
    stele_put_options how = STELE_PUT_OPTIONS_INIT;
    stele_persist_options options = gathering(1);
    how.on_done = meddle;
    how.user = &m;
    persist = open_persist(&options);
    assert_ok(outcome(put_so(persist, "a", entry("a", 1, NULL), &how)), &err);
    assert_ok(stele_persist_flush(persist, NULL, 0, 60000, &err), &err);
    assert_ok(stele_persist_flush(persist, NULL, 0, 60000, &err),
              &err); /* what was put meanwhile */
    assert_int_equal(m.flush, STELE_E_MISUSE);
    assert_int_equal(m.close, STELE_E_MISUSE);
    assert_int_equal(m.put, STELE_OK);
    assert_string_equal(stored("more"), "1");
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
}

static void a_child_has_no_lanes(void **state)
{
    (void)state;
    int status = -1;
    stele_persist_options options = gathering(100);
    persist = open_persist(&options);
    stele_receipt *receipt = put(persist, "a", entry("a", 1, NULL));
    stele_unit *unit = entry("a", 2, NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool right =
            stele_persist_put(persist, "a", 1, &unit, NULL, NULL, &err) == STELE_E_FORKED &&
            unit != NULL && stele_persist_flush(persist, NULL, 0, 0, &err) == STELE_E_FORKED &&
            stele_receipt_wait(receipt, 0, &err) == STELE_E_FORKED &&
            stele_receipt_status(receipt) == STELE_E_FORKED &&
            stele_persist_close(persist, 0, NULL, NULL, &err) == STELE_E_FORKED;
        _exit(right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    stele_unit_free(unit);
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
    assert_ok(outcome(receipt), &err);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        LEDGER(it_closes_at_any_time),
        LEDGER(what_hangs_is_canceled_and_comes_back),
        LEDGER(a_frozen_backend_does_not_hold_up_closing),
        LEDGER(a_silent_network_does_not_hold_up_closing),
        LEDGER(it_closes_while_it_tries_again),
        LEDGER(callbacks_may_put_but_not_wait),
        LEDGER(a_child_has_no_lanes),
    };
    return RUN_LEDGER(tests);
}
