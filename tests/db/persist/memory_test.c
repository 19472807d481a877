/*
 * Every path of a caller that allocates, with the nth allocation failing, for all n: it answers
 * "out of memory", leaks nothing, and the unit is stored once nothing fails.
 */
#include "faultmalloc.h"
#include "persist_util.h"

static stele_status run_once(stele_persist *persist, bool receipt_wanted)
{
    stele_unit *unit = NULL;
    stele_receipt *receipt = NULL;
    char payload[5000];
    stele_status st = stele_unit_open(&unit, &err);
    memset(payload, 'x', sizeof payload);
    entries_input input = {
        .account = stele_text_v("a"),
        .seq = stele_i64_v(1),
        .payload = stele_text_n_of((stele_str){payload, sizeof payload}),
        .amount = stele_text_n_v("12345678901234567890.5"),
    };
    for (int i = 0; i < 3 && st == STELE_OK; i++) {
        input.seq = stele_i64_v(i);
        st = entries_insert_queue(stele_unit_pipeline(unit), &input, NULL, &err);
    }
    if (st == STELE_OK)
        st = stele_persist_put(persist, "key", 3, &unit, NULL, receipt_wanted ? &receipt : NULL,
                               &err);
    stele_unit_free(unit);
    (void)fault_disarm(); /* waiting allocates nothing that may fail */
    if (st == STELE_OK && receipt != NULL)
        st = stele_receipt_wait(receipt, 0, &err);
    stele_receipt_free(receipt);
    return st;
}

static void what_is_put_is_whole_or_not_at_all(void **state)
{
    (void)state;
    stele_persist *persist = open_persist(NULL);
    for (int receipt = 0; receipt < 2; receipt++) {
        long failures = 0;
        stele_status st = STELE_E_NOMEM;
        for (long n = 0; st != STELE_OK; n++) {
            peer("TRUNCATE entries");
            fault_arm(n);
            st = run_once(persist, receipt == 1);
            assert_true(st == STELE_OK || st == STELE_E_NOMEM);
            assert_ok(stele_persist_flush(persist, NULL, 0, 60000, &err), &err);
            assert_int_equal(number("SELECT count(*) FROM entries"), st == STELE_OK ? 3 : 0);
            failures += st != STELE_OK;
        }
        assert_true(failures > 2);
    }
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
}

static void opening_is_whole_or_not_at_all(void **state)
{
    (void)state;
    long failures = 0;
    bool failed = true;
    for (long n = 0; failed; n++) {
        stele_persist *persist = NULL;
        fault_arm(n);
        stele_status st = stele_persist_open(db, NULL, &persist, &err);
        failed = fault_disarm();
        assert_true(st == STELE_OK || (failed && st == STELE_E_NOMEM));
        failures += st != STELE_OK;
        assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
    }
    assert_true(failures > 6); /* itself, its lanes, and what each lane gathers in */
}

int main(void)
{
    dbtest_require_server();
    fault_install();
    const struct CMUnitTest tests[] = {
        LEDGER(what_is_put_is_whole_or_not_at_all),
        LEDGER(opening_is_whole_or_not_at_all),
    };
    return RUN_LEDGER(tests);
}
