/*
 * The ways of rows: arrays, VALUES, COPY into the table and by a temporary one, at their thresholds,
 * with all types, in groups, with rows back; and how often each waits for the server.
 */
#include "bulk_util.h"

/* ---- thresholds ---- */

static char names[10001][12];

static heaps_nodes_input *nodes(size_t count)
{
    heaps_nodes_input *rows = calloc(count, sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof names[i], "n%zu", i);
        rows[i].id = stele_i64_v((int64_t)i);
        rows[i].name = stele_text_of((stele_str){names[i], strlen(names[i])});
    }
    return rows;
}

static void insert_so_many(size_t count, uint64_t trips)
{
    heaps_nodes_input *rows = nodes(count);
    stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
    (void)clean_tables(NULL);
    answers(STELE_OK, trips,
            heaps_nodes_insert_many(conn, rows, count, &options, &report, NULL, &err));
    assert_int_equal(report.inserted, count);
    assert_int_equal(report.updated + report.skipped + report.bad, 0);
    assert_true(report.first_bad == STELE_BULK_NO_ROW);
    assert_int_equal(number("SELECT count(*) FROM nodes WHERE name = 'n' || id"), count);
    assert_int_equal(noted.last_done, count);
    assert_false(noted.fell);
    free(rows);
}

static void each_side_of_the_thresholds(void **state)
{
    (void)state;
    insert_so_many(1, 1);
    insert_so_many(2, 1);
    insert_so_many(511, 1);
    insert_so_many(512, 2); /* a COPY: the server asks for the rows, and has them */
    insert_so_many(10000, 2);
    insert_so_many(10001, 4); /* and a single row, and COMMIT */
}

static void no_row_is_no_wait(void **state)
{
    (void)state;
    stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
    refuses(STELE_OK, heaps_nodes_insert_many(conn, NULL, 0, &options, &report, NULL, &err));
    assert_int_equal(report.inserted, 0);
    assert_int_equal(noted.progress_count, 1);
}

static void progress_is_told_for_each_batch(void **state)
{
    (void)state;
    heaps_nodes_input *rows = nodes(1000);
    stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
    options.batch_rows = 64;
    options.copy_threshold = 32;
    answers(STELE_OK, 16 * 2 + 1,
            heaps_nodes_insert_many(conn, rows, 1000, &options, &report, NULL, &err));
    assert_int_equal(noted.progress_count, 16);
    assert_int_equal(noted.last_done, 1000);
    assert_false(noted.fell);
    assert_int_equal(number("SELECT count(*) FROM nodes"), 1000);
    free(rows);
}

/* ---- types ---- */

static void scalar_rows(heaps_scalars_input *in)
{
    static const uint8_t bytes[] = {0, 255, 16};
    stele_uuid uuid = uuid_of(PEN);
    in[0] = (heaps_scalars_input){
        .id = stele_i64_v(2),
        .n_bool = stele_bool_n_v(true),
        .n_int2 = stele_i16_n_v(INT16_MIN),
        .n_int4 = stele_i32_n_v(-7),
        .n_float4 = stele_f32_n_v(1.5F),
        .n_float8 = stele_f64_n_v(-2.25),
        .n_numeric = stele_text_n_v("-12345678901234.500000"),
        .n_long = stele_text_n_v("0.10"),
        .n_text = stele_text_n_v("caf\xc3\xa9 \n\t\\N"),
        .n_varchar = stele_text_n_v(""),
        .n_char = stele_text_n_v("ab"),
        .n_bytea = stele_bytes_n_v(bytes, sizeof bytes),
        .n_uuid = stele_uuid_n_v(uuid),
        .n_date = stele_date_n_v(date_of("2026-02-28")),
        .n_time = stele_time_n_v(86399999999),
        .n_timestamp = stele_ts_n_v(ts_of("2026-01-31T09:05:00.25Z")),
        .n_timestamptz = stele_ts_n_v(STELE_TS_NEG_INFINITY),
        .n_interval = stele_interval_n_v((stele_interval){1, -2, 14}),
        .n_json = stele_text_n_v("{ \"a\" : 1 }"),
        .n_jsonb = stele_text_n_v("[1,  2]"),
        .n_inet = stele_inet_n_v(inet_of("192.168.7.1/24")),
        .n_enum = heaps_size_n_v(HEAPS_SIZE_LARGE),
        .n_opaque = stele_text_n_v("08:00:2b:01:02:03"),
    };
    in[1] = (heaps_scalars_input){.id = stele_i64_v(3)};
    in[1].n_bool = stele_bool_n_null();
    in[1].n_int2 = stele_i16_n_null();
    in[1].n_int4 = stele_i32_n_null();
    in[1].n_float4 = stele_f32_n_null();
    in[1].n_float8 = stele_f64_n_null();
    in[1].n_numeric = in[1].n_long = in[1].n_text = in[1].n_varchar = stele_text_n_null();
    in[1].n_char = in[1].n_json = in[1].n_jsonb = in[1].n_opaque = stele_text_n_null();
    in[1].n_bytea = stele_bytes_n_null();
    in[1].n_uuid = stele_uuid_n_null();
    in[1].n_date = stele_date_n_null();
    in[1].n_time = stele_time_n_null();
    in[1].n_timestamp = in[1].n_timestamptz = stele_ts_n_null();
    in[1].n_interval = stele_interval_n_null();
    in[1].n_inet = stele_inet_n_null();
    in[1].n_enum = heaps_size_n_null();
}

/* A row by the function for one, and the same by a way for many, twice: the server finds no difference. */
static void scalars_by(uint32_t threshold, bool with_opaque, bool back)
{
    heaps_scalars_input in[3];
    heaps_scalars_row *rows = NULL;
    stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
    (void)clean_tables(NULL);
    scalar_rows(in);
    if (!with_opaque)
        in[0].n_opaque = in[1].n_opaque = (stele_in_str_n){.tag = NULL};
    in[2] = in[0];
    in[2].id = stele_i64_v(1);
    ok(heaps_scalars_insert(conn, &in[2], NULL, &err));
    in[2].id = stele_i64_v(4);
    options.copy_threshold = threshold;
    assert_ok(heaps_scalars_insert_many(conn, in, 3, &options, &report, back ? &rows : NULL, &err),
              &err);
    assert_int_equal(number("SELECT count(*) FROM scalars a, scalars b WHERE a.id = 1 AND b.id > 1"
                            " AND (to_jsonb(a) - 'id')::text = (to_jsonb(b) - 'id')::text"
                            " AND a.n_json::text = b.n_json::text"),
                     2);
    assert_true(holds("SELECT jsonb_strip_nulls(to_jsonb(s)) = '{\"id\": 3}' FROM scalars s"
                      " WHERE id = 3"));
    if (back) {
        assert_int_equal(rows[0].id, 2);
        assert_int_equal(rows[1].id, 3);
        assert_int_equal(rows[2].id, 4);
        assert_str(rows[2].n_text, "caf\xc3\xa9 \n\t\\N");
        assert_null(rows[1].n_text.data);
        assert_str(rows[0].n_char, "ab  ");
        heaps_scalars_row_free(rows);
    }
}

static void every_scalar_by_every_way(void **state)
{
    (void)state;
    scalars_by(ARRAYS, true, false);
    scalars_by(ARRAYS, true, true);
    scalars_by(COPY, false, false); /* into the table itself */
    scalars_by(COPY, true, false);  /* by a temporary table, for the opaque type */
    scalars_by(COPY, true, true);
}

static heaps_lists_input list_row(int64_t id, bool special)
{
    static const int64_t numbers[] = {1, -2};
    static const bool nulls[] = {false, true};
    static const stele_str words[] = {{"a \"b\"", 5}, {"", 0}};
    static const heaps_size kinds[] = {HEAPS_SIZE_SMALL, HEAPS_SIZE_LARGE};
    heaps_lists_input in = {
        .id = stele_i64_v(id),
        .numbers = stele_i64_array_n_v((stele_i64_array){numbers, nulls, 2}),
        .words = stele_str_array_n_v((stele_str_array){words, NULL, 2}),
    };
    if (special) {
        in.short_words = stele_str_array_n_v((stele_str_array){words, NULL, 2});
        in.sizes = heaps_size_array_n_v((heaps_size_array){kinds, NULL, 2});
        in.addresses = stele_text_n_v("{08:00:2b:01:02:03,NULL}");
    }
    return in;
}

static void lists_by(uint32_t threshold, bool special, bool timed)
{
    heaps_lists_input in[3];
    stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
    (void)clean_tables(NULL);
    options.copy_threshold = threshold;
    for (int i = 0; i < 3; i++) {
        in[i] = list_row(i + 2, special);
        if (timed)
            in[i].made_at = stele_ts_now();
    }
    heaps_lists_input one = list_row(1, special);
    ok(heaps_lists_insert(conn, &one, NULL, &err));
    assert_ok(heaps_lists_insert_many(conn, in, 3, &options, &report, NULL, &err), &err);
    assert_int_equal(
        number("SELECT count(*) FROM lists a, lists b WHERE a.id = 1 AND b.id > 1 AND"
               " (to_jsonb(a) - 'id' - 'made_at')::text = (to_jsonb(b) - 'id' - 'made_at')::text"),
        3);
}

static void every_array_by_every_way(void **state)
{
    (void)state;
    for (int timed = 0; timed < 2; timed++) {
        lists_by(ARRAYS, false, timed != 0);
        lists_by(ARRAYS, true, timed != 0);
        lists_by(COPY, false, timed != 0);
        lists_by(COPY, true, timed != 0);
    }
}

/* A number with more digits than the binary format has goes as text, which COPY cannot. */
static void a_very_long_number(void **state)
{
    (void)state;
    static char digits[30001];
    memset(digits, '7', 30000);
    for (uint32_t threshold = 1; threshold != 2; threshold = threshold == 1 ? UINT32_MAX : 2) {
        heaps_scalars_input in[4];
        stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
        (void)clean_tables(NULL);
        options.copy_threshold = threshold;
        for (int i = 0; i < 4; i++)
            in[i] = (heaps_scalars_input){.id = stele_i64_v(i),
                                          .n_long = stele_text_n_v(i == 2 ? digits : "1.5")};
        assert_ok(heaps_scalars_insert_many(conn, in, 4, &options, &report, NULL, &err), &err);
        assert_int_equal(report.inserted, 4);
        assert_int_equal(number("SELECT length(n_long::text) FROM scalars WHERE id = 2"), 30000);
    }
}

/* ---- groups ---- */

static void rows_are_grouped_by_what_they_set(void **state)
{
    (void)state;
    for (uint32_t threshold = 1; threshold != 2; threshold = threshold == 1 ? UINT32_MAX : 2) {
        heaps_stamps_input in[6] = {
            {.id = stele_i64_v(1), .label = stele_text_n_v("one")},
            {.id = stele_i64_v(2)},
            {.id = stele_i64_v(3), .label = stele_text_n_null(), .edition = stele_i32_v(9)},
            {.id = stele_i64_v(4), .changed_at = stele_ts_now()},
            {.id = stele_i64_v(5), .changed_at = stele_ts_v(0)},
            {.id = stele_i64_v(6),
             .changed_at = stele_ts_after((stele_interval){.micros = 3600000000})},
        };
        heaps_stamps_row *rows = NULL;
        stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
        (void)clean_tables(NULL);
        options.copy_threshold = threshold;
        assert_ok(heaps_stamps_insert_many(conn, in, 6, &options, &report, &rows, &err), &err);
        assert_int_equal(report.inserted, 6);
        for (int i = 0; i < 6; i++)
            assert_int_equal(rows[i].id, i + 1);
        assert_str(rows[0].label, "one");
        assert_null(rows[2].label.data);
        assert_int_equal(rows[0].edition, 1);
        assert_int_equal(rows[2].edition, 9);
        assert_true(rows[4].changed_at == 0);
        assert_true(rows[5].changed_at - rows[3].changed_at > 3500000000);
        assert_true(rows[0].changed_at > rows[4].changed_at);
        heaps_stamps_row_free(rows);
    }
}

static void nothing_need_be_set(void **state)
{
    (void)state;
    static const heaps_blanks_input in[1000];
    heaps_blanks_row *rows = NULL;
    ok(heaps_blanks_insert_many(conn, in, 1000, NULL, &report, NULL, &err));
    ok(heaps_blanks_insert_many(conn, in, 3, NULL, &report, &rows, &err));
    assert_int_equal(rows[2].id, 1003);
    assert_str(rows[1].note, "none");
    heaps_blanks_row_free(rows);
    assert_int_equal(number("SELECT count(*) FROM blanks WHERE note = 'none'"), 1003);
}

/* The order of the inputs is that of the sequence. */
static void order_is_kept(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static char text[COUNT][8];
    for (uint32_t threshold = 1; threshold != 2; threshold = threshold == 1 ? UINT32_MAX : 2) {
        heaps_blanks_input *in = calloc(COUNT, sizeof *in);
        heaps_blanks_row *rows = NULL;
        stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
        (void)clean_tables(NULL);
        options.copy_threshold = threshold;
        options.batch_rows = 700;
        for (int i = 0; i < COUNT; i++) {
            (void)snprintf(text[i], sizeof text[i], "%d", i + 1);
            in[i].note = stele_text_of((stele_str){text[i], strlen(text[i])});
        }
        assert_ok(heaps_blanks_insert_many(conn, in, COUNT, &options, &report, &rows, &err), &err);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(rows[i].id, i + 1);
        assert_int_equal(number("SELECT count(*) FROM blanks WHERE note = id::text"), COUNT);
        heaps_blanks_row_free(rows);
        free(in);
    }
}

/* ---- tables of all kinds ---- */

static void partitions_and_identities(void **state)
{
    (void)state;
    shop_audit_log_input log[] = {
        {.at = stele_ts_v(1), .actor = stele_text_v("ann"), .change = stele_text_v("{}")},
        {.at = stele_ts_now(), .actor = stele_text_v("bob"), .change = stele_text_v("[]")},
    };
    shop_categories_input categories[] = {{.name = stele_text_v("a")}, {.name = stele_text_v("b")}};
    shop_page_views_input views[] = {{.path = stele_text_v("/")}, {.path = stele_text_v("/x")}};
    for (uint32_t threshold = 1; threshold != 2; threshold = threshold == 1 ? UINT32_MAX : 2) {
        stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
        options.copy_threshold = threshold;
        (void)clean_tables(NULL);
        assert_ok(shop_audit_log_insert_many(conn, log, 2, &options, NULL, NULL, &err), &err);
        assert_ok(shop_categories_insert_many(conn, categories, 2, &options, NULL, NULL, &err),
                  &err);
        assert_ok(shop_page_views_insert_many(conn, views, 2, &options, NULL, NULL, &err), &err);
        assert_true(holds("SELECT (SELECT count(*) FROM audit_log) = 2 AND"
                          " (SELECT sum(id) FROM categories) = 3 AND"
                          " (SELECT count(*) FROM page_views) = 2"));
    }
}

/* ---- transactions and names ---- */

static void in_a_transaction_of_the_callers(void **state)
{
    (void)state;
    for (uint32_t threshold = 1; threshold != 2; threshold = threshold == 1 ? UINT32_MAX : 2) {
        heaps_stamps_input in[2] = {{.id = stele_i64_v(1)}, {.id = stele_i64_v(2)}};
        heaps_stamps_input more[2] = {{.id = stele_i64_v(3)}, {.id = stele_i64_v(3)}};
        stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
        (void)clean_tables(NULL);
        options.copy_threshold = threshold;
        assert_ok(stele_tx_begin(conn, NULL, &err), &err);
        assert_ok(heaps_stamps_insert_many(conn, in, 2, &options, &report, NULL, &err), &err);
        assert_int_equal(heaps_stamps_insert_many(conn, more, 2, &options, &report, NULL, &err),
                         STELE_E_UNIQUE);
        assert_int_equal(report.first_bad, 1);
        assert_int_equal(report.inserted, 0);
        more[1].id = stele_i64_v(4); /* the failure undid its own work only */
        assert_ok(heaps_stamps_insert_many(conn, more, 2, &options, &report, NULL, &err), &err);
        assert_int_equal(number("SELECT count(*) FROM stamps"), 0);
        assert_ok(stele_tx_commit(conn, &err), &err);
        assert_int_equal(number("SELECT count(*) FROM stamps"), 4);
    }
}

static void under_names_of_a_tenant(void **state)
{
    (void)state;
    stele_db *tenant = NULL;
    const stele_names mine = {.schema = "tenant_a", .prefix = "app1_"};
    peer("CREATE SCHEMA IF NOT EXISTS tenant_a");
    assert_ok(stele_db_derive(db, &mine, &tenant, &err), &err);
    assert_ok(stele_db_ensure(tenant, &heaps_heaps_module, NULL, &err), &err);
    stele_conn *lease = acquire(tenant);
    heaps_scalars_input in[3];
    scalar_rows(in);
    in[2] = in[0];
    in[2].id = stele_i64_v(9);
    stele_bulk_options options = noting(STELE_BULK_ALL_OR_NOTHING);
    assert_ok(heaps_scalars_insert_many(lease, in, 3, &options, &report, NULL, &err), &err);
    options.copy_threshold = 1;
    options.skip_conflicts = true;
    assert_ok(heaps_scalars_insert_many(lease, in, 3, &options, &report, NULL, &err), &err);
    assert_int_equal(report.skipped, 3);
    assert_int_equal(number("SELECT count(*) FROM tenant_a.app1_scalars"), 3);
    stele_conn_release(lease);
    stele_db_close(tenant);
}

/* ---- hooks ---- */

typedef struct seen {
    int starts;
    int ends;
    uint64_t rows;
    uint32_t round_trips;
    stele_status worst;
} seen;

static void see_start(const stele_query_event *event, void *user)
{
    seen *s = user;
    assert_string_equal(event->table, "lists");
    s->starts++;
}

static void see_end(const stele_query_event *event, void *user)
{
    seen *s = user;
    s->ends++;
    s->rows += event->rows;
    s->round_trips += event->round_trips;
    s->worst = event->status < s->worst ? event->status : s->worst;
}

static void hooks_are_told_of_every_batch(void **state)
{
    (void)state;
    for (uint32_t threshold = 1; threshold != 2; threshold = threshold == 1 ? UINT32_MAX : 2) {
        seen s = {0};
        (void)clean_tables(NULL);
        stele_db_options options = options_for("hooked", 1);
        options.on_query_start = see_start;
        options.on_query_end = see_end;
        options.hook_user = &s;
        stele_db *hooked = open_with(&options);
        stele_conn *lease = acquire(hooked);
        heaps_lists_input in[4];
        for (int i = 0; i < 4; i++)
            in[i] = list_row(i, false);
        stele_bulk_options bulk = noting(STELE_BULK_ALL_OR_NOTHING);
        bulk.copy_threshold = threshold;
        bulk.batch_rows = 2;
        assert_ok(heaps_lists_insert_many(lease, in, 4, &bulk, NULL, NULL, &err), &err);
        assert_int_equal(s.starts, 2);
        assert_int_equal(s.ends, 2);
        assert_int_equal(s.rows, 4);
        assert_int_equal(s.round_trips, threshold == 1 ? 4 : 2);
        assert_int_equal(s.worst, STELE_OK);
        assert_int_equal(heaps_lists_insert_many(lease, in, 4, &bulk, NULL, NULL, &err),
                         STELE_E_UNIQUE);
        assert_int_equal(s.worst, STELE_E_UNIQUE);
        assert_int_equal(s.starts, s.ends);
        stele_conn_release(lease);
        stele_db_close(hooked);
    }
}

/* ---- what is refused ---- */

static void wrong_options(void **state)
{
    (void)state;
    heaps_blanks_input in[2] = {{.id = stele_i64_v(1)}};
    heaps_blanks_row *rows = NULL;
    stele_bulk_options none = {0};
    stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
    refuses(STELE_E_INPUT, heaps_blanks_insert_many(conn, in, 2, &none, NULL, NULL, &err));
    options.last_wins = true;
    refuses(STELE_E_INPUT, heaps_blanks_insert_many(conn, in, 2, &options, NULL, NULL, &err));
    options.last_wins = false;
    options.skip_conflicts = true;
    heaps_nodes_input node = {.id = stele_i64_v(1), .name = stele_text_v("a")};
    refuses(STELE_E_INPUT, heaps_nodes_upsert_many(conn, &node, 1, &options, NULL, NULL, &err));
    refuses(STELE_E_INPUT, heaps_blanks_insert_many(conn, in, 2, &options, NULL, &rows, &err));
    assert_null(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAPED(each_side_of_the_thresholds),
        HEAPED(no_row_is_no_wait),
        HEAPED(progress_is_told_for_each_batch),
        HEAPED(every_scalar_by_every_way),
        HEAPED(every_array_by_every_way),
        HEAPED(a_very_long_number),
        HEAPED(rows_are_grouped_by_what_they_set),
        HEAPED(nothing_need_be_set),
        HEAPED(order_is_kept),
        HEAPED(partitions_and_identities),
        HEAPED(in_a_transaction_of_the_callers),
        HEAPED(under_names_of_a_tenant),
        HEAPED(hooks_are_told_of_every_batch),
        HEAPED(wrong_options),
    };
    return RUN_HEAPS(tests);
}
