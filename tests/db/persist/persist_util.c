#include "persist_util.h"

stele_db *db;
stele_error err;

int setup_ledger(void **state)
{
    const stele_module *modules[] = {&ledger_module, &heaps_heaps_module};
    (void)setup_database(state);
    stele_db_options options = options_for(PERSISTING, 12);
    options.modules = modules;
    options.module_count = 2;
    db = open_with(&options);
    for (size_t i = 0; i < 2; i++)
        assert_ok(stele_db_ensure(db, modules[i], NULL, &err), &err);
    return 0;
}

int teardown_ledger(void **state)
{
    stele_db_close(db);
    return teardown_database(state);
}

int clean_ledger(void **state)
{
    (void)state;
    peer("TRUNCATE entries, accounts RESTART IDENTITY; TRUNCATE scalars, lists");
    return 0;
}

void peer(const char *sql)
{
    dbtest_exec(dsn, sql);
}

int64_t number(const char *sql)
{
    char *text = dbtest_value(dsn, sql);
    int64_t value = strtoll(text, NULL, 10);
    free(text);
    return value;
}

stele_persist *open_persist(const stele_persist_options *options)
{
    stele_persist *persist = NULL;
    assert_ok(stele_persist_open(db, options, &persist, &err), &err);
    return persist;
}

stele_persist_options gathering(uint32_t units)
{
    stele_persist_options options = STELE_PERSIST_OPTIONS_INIT;
    options.lanes = 1;
    options.batch_units = units;
    options.linger_us = 600u * 1000000u;
    return options;
}

static stele_str text_of(const char *text)
{
    return (stele_str){text, strlen(text)};
}

stele_unit *new_unit(void)
{
    stele_unit *unit = NULL;
    assert_ok(stele_unit_open(&unit, &err), &err);
    return unit;
}

void add_entry(stele_unit *unit, const char *account, int64_t seq, const char *payload)
{
    entries_input input = {
        .account = stele_text_of(text_of(account)),
        .seq = stele_i64_v(seq),
    };
    if (payload != NULL)
        input.payload = stele_text_n_of(text_of(payload));
    assert_ok(entries_insert_queue(stele_unit_pipeline(unit), &input, NULL, &err), &err);
}

stele_unit *entry(const char *account, int64_t seq, const char *payload)
{
    stele_unit *unit = new_unit();
    add_entry(unit, account, seq, payload);
    return unit;
}

stele_receipt *put_so(stele_persist *persist, const char *key, stele_unit *unit,
                      const stele_put_options *how)
{
    stele_receipt *receipt = NULL;
    assert_ok(stele_persist_put(persist, key, strlen(key), &unit, how, &receipt, &err), &err);
    assert_null(unit);
    return receipt;
}

stele_receipt *put(stele_persist *persist, const char *key, stele_unit *unit)
{
    return put_so(persist, key, unit, NULL);
}

stele_status outcome(stele_receipt *receipt)
{
    stele_error_clear(&err);
    stele_status st = stele_receipt_wait(receipt, 60000, &err);
    stele_receipt_free(receipt);
    return st;
}

stele_commit_stats numbers_of(const stele_persist *persist)
{
    stele_commit_stats stats;
    stele_persist_stats(persist, &stats);
    return stats;
}

bool someone_waits(void)
{
    return dbtest_wait_until(dsn, "SELECT count(*) = 1 FROM pg_stat_activity WHERE"
                                  " wait_event_type = 'Lock' AND datname = current_database()");
}

const char *stored(const char *account)
{
    static char list[4096];
    char sql[200];
    (void)snprintf(
        sql, sizeof sql,
        "SELECT string_agg(seq::text, ',' ORDER BY id) FROM entries WHERE account = '%s'", account);
    char *text = dbtest_value(dsn, sql);
    (void)snprintf(list, sizeof list, "%s", text);
    free(text);
    return list;
}
