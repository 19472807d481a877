/* Upserts of many rows: new and old ones, twins, partial keys, expired and deleted rows; and skipping. */
#include "bulk_util.h"

static const uint32_t ways[] = {ARRAYS, COPY};

static stele_bulk_options by(size_t way)
{
    stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
    (void)clean_tables(NULL);
    options.copy_threshold = ways[way];
    return options;
}

static void some_are_there(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        heaps_stamps_row *rows = NULL;
        heaps_stamps_input in[3] = {{.id = stele_i64_v(1), .label = stele_text_n_v("new")},
                                    {.id = stele_i64_v(2), .label = stele_text_n_null()},
                                    {.id = stele_i64_v(3)}};
        stele_bulk_options options = by(w);
        peer("INSERT INTO stamps VALUES (1, 'old', '2020-01-01Z', 7), (3, 'kept', "
             "'2020-01-01Z', 1)");
        assert_ok(heaps_stamps_upsert_many(conn, in, 3, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, 1);
        assert_int_equal(report.updated, 2);
        assert_true(holds("SELECT string_agg(concat_ws(' ', id, label, edition), ',' ORDER BY id)"
                          " = '1 new 8,2 1,3 kept 2' FROM stamps"));
        assert_true(holds("SELECT min(changed_at) > '2021-01-01' FROM stamps"));
        assert_ok(heaps_stamps_upsert_many(conn, in, 3, &options, &report, &rows, &err), &err);
        assert_int_equal(report.inserted, 0);
        assert_int_equal(report.updated, 3);
        assert_int_equal(rows[0].edition, 9);
        assert_int_equal(rows[1].id, 2);
        assert_str(rows[2].label, "kept");
        heaps_stamps_row_free(rows);
    }
}

static heaps_mortals_input mortal(const char *name)
{
    return (heaps_mortals_input){.name = stele_text_of((stele_str){name, strlen(name)})};
}

static void twins_are_bad_rows(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        heaps_mortals_input in[5] = {mortal("a"), mortal("b"), mortal("a"), mortal("c"),
                                     mortal("a")};
        stele_bulk_options options = by(w);
        refuses(STELE_E_UNIQUE,
                heaps_mortals_upsert_many_by_name(conn, in, 5, &options, &report, NULL, &err));
        assert_int_equal(report.first_bad, 2);
        assert_string_equal(err.sqlstate, "21000");
        assert_string_equal(err.column, "name");
        assert_contains(err.message, "the key is that of row 0");
        options.mode = STELE_BULK_KEEP_GOOD;
        assert_ok(heaps_mortals_upsert_many_by_name(conn, in, 5, &options, &report, NULL, &err),
                  &err);
        assert_int_equal(report.bad, 2);
        assert_int_equal(report.inserted, 3);
    }
}

static void the_last_twin_wins_if_asked(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = by(w);
        heaps_stamps_input in[4] = {
            {.id = stele_i64_v(1), .label = stele_text_n_v("first")},
            {.id = stele_i64_v(2), .label = stele_text_n_v("other")},
            {.id = stele_i64_v(1), .label = stele_text_n_v("second")},
            {.id = stele_i64_v(1), .label = stele_text_n_v("third"), .edition = stele_i32_v(5)},
        };
        options.last_wins = true;
        assert_ok(heaps_stamps_upsert_many(conn, in, 4, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, 2);
        assert_int_equal(report.skipped, 2);
        assert_int_equal(report.bad, 0);
        assert_int_equal(noted.last_done, 4);
        assert_true(holds("SELECT label = 'third' AND edition = 5 FROM stamps WHERE id = 1"));
    }
}

/* 1 day and 24 hours differ in their bytes; the server finds them equal. */
static void twins_that_only_the_server_sees(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = by(w);
        heaps_spans_input in[6];
        for (int i = 0; i < 6; i++)
            in[i] = (heaps_spans_input){
                .span = stele_interval_v((stele_interval){.days = i + 1}),
            };
        in[4].span = stele_interval_v((stele_interval){.micros = 86400000000});
        assert_int_equal(heaps_spans_upsert_many(conn, in, 6, &options, &report, NULL, &err),
                         STELE_E_SERVER);
        assert_string_equal(err.sqlstate, "21000");
        assert_int_equal(report.first_bad, 4);
        options.mode = STELE_BULK_KEEP_GOOD;
        assert_ok(heaps_spans_upsert_many(conn, in, 6, &options, &report, NULL, &err), &err);
        assert_int_equal(report.bad, 1);
        assert_int_equal(number("SELECT count(*) FROM spans"), 5);
    }
}

/* A deleted row does not have the key: neither one that is there, nor one that is sent. */
static void deleted_rows_leave_their_key(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = by(w);
        heaps_mortals_input in[3] = {mortal("a"), mortal("a"), mortal("b")};
        peer("INSERT INTO mortals (name, deleted_at) VALUES ('a', now())");
        in[1].deleted_at = stele_ts_n_now();
        assert_ok(heaps_mortals_upsert_many_by_name(conn, in, 3, &options, &report, NULL, &err),
                  &err);
        assert_int_equal(report.inserted, 3);
        assert_int_equal(number("SELECT count(*) FROM mortals WHERE name = 'a'"), 3);
    }
}

static void expired_rows_are_revived(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = by(w);
        heaps_mortals_input in[2] = {mortal("a"), mortal("b")};
        peer("INSERT INTO mortals (name, expires_at) VALUES ('a', now() - interval '1 day'),"
             " ('b', now() + interval '1 day')");
        assert_ok(heaps_mortals_upsert_many_by_name(conn, in, 2, &options, &report, NULL, &err),
                  &err);
        assert_int_equal(report.updated, 2);
        assert_true(holds("SELECT expires_at IS NULL FROM mortals WHERE name = 'a'"));
        assert_true(holds("SELECT expires_at IS NOT NULL FROM mortals WHERE name = 'b'"));
        in[0].expires_at = in[1].expires_at = stele_ts_n_after((stele_interval){.days = 7});
        assert_ok(heaps_mortals_upsert_many_by_name(conn, in, 2, &options, &report, NULL, &err),
                  &err);
        assert_true(holds("SELECT min(expires_at) > now() + interval '6 days' FROM mortals"));
    }
}

/* An author's own predicate is the server's to judge. */
static void partial_keys(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = by(w);
        shop_customers_input in[2] = {
            {.email = stele_text_v("a@x"), .name = stele_text_v("A"), .phone = stele_text_n_v("1")},
            {.email = stele_text_v("b@x"), .name = stele_text_v("B"), .phone = stele_text_n_v("2")},
        };
        assert_ok(shop_customers_upsert_many_by_phone(conn, in, 2, &options, &report, NULL, &err),
                  &err);
        in[0].name = stele_text_v("AA");
        assert_ok(shop_customers_upsert_many_by_phone(conn, in, 2, &options, &report, NULL, &err),
                  &err);
        assert_int_equal(report.updated, 2);
        in[1].phone = stele_text_n_v("1");
        assert_int_equal(
            shop_customers_upsert_many_by_phone(conn, in, 2, &options, &report, NULL, &err),
            STELE_E_SERVER);
        assert_string_equal(err.sqlstate, "21000");
        assert_int_equal(report.first_bad, 1);
    }
}

static void partitions_do_not_tell(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        stele_bulk_options options = by(w);
        shop_audit_log_input in[2] = {
            {.at = stele_ts_v(1),
             .id = stele_i64_v(1),
             .actor = stele_text_v("a"),
             .change = stele_text_v("1")},
            {.at = stele_ts_v(1),
             .id = stele_i64_v(2),
             .actor = stele_text_v("a"),
             .change = stele_text_v("1")},
        };
        for (int i = 0; i < 2; i++) {
            assert_ok(shop_audit_log_upsert_many(conn, in, 2, &options, &report, NULL, &err), &err);
            assert_int_equal(report.inserted, 2);
        }
        assert_int_equal(number("SELECT count(*) FROM audit_log"), 2);
    }
}

static void conflicts_are_skipped(void **state)
{
    (void)state;
    for (size_t w = 0; w < 2; w++) {
        heaps_mortals_input in[4] = {mortal("a"), mortal("b"), mortal("a"), mortal("c")};
        stele_bulk_options options = by(w);
        options.skip_conflicts = true;
        peer("INSERT INTO mortals (name) VALUES ('b')");
        assert_ok(heaps_mortals_insert_many(conn, in, 4, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, 2);
        assert_int_equal(report.skipped, 2);
        assert_ok(heaps_mortals_insert_many(conn, in, 1, &options, &report, NULL, &err), &err);
        assert_int_equal(report.skipped, 1);
    }
}

/* Keys that the server takes for equal, and the client knows to. */
static void keys_in_many_spellings(void **state)
{
    (void)state;
    stele_bulk_options options = by(0);
    shop_products_input in[2] = {
        {.sku = stele_text_v("PEN"), .name = stele_text_v("a"), .price = stele_text_v("1")},
        {.sku = stele_text_v("PEN  "), .name = stele_text_v("b"), .price = stele_text_v("1")},
    };
    refuses(STELE_E_UNIQUE,
            shop_products_upsert_many_by_sku(conn, in, 2, &options, &report, NULL, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAPED(some_are_there),
        HEAPED(twins_are_bad_rows),
        HEAPED(the_last_twin_wins_if_asked),
        HEAPED(twins_that_only_the_server_sees),
        HEAPED(deleted_rows_leave_their_key),
        HEAPED(expired_rows_are_revived),
        HEAPED(partial_keys),
        HEAPED(partitions_do_not_tell),
        HEAPED(conflicts_are_skipped),
        HEAPED(keys_in_many_spellings),
    };
    return RUN_HEAPS(tests);
}
