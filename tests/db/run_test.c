/*
 * Inputs and rows through real statements: what is refused before any I/O, what every type looks like
 * on the way in and out, copies that outlive their origin.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <sys/mman.h>

#include "one.h"

/* ---- inputs ---- */

/* The call is refused, names the column, and has not waited for the server. */
static void refused(const thing_input *input, const char *column)
{
    uint64_t before = stele_conn_round_trips(conn);
    memset(&err, 0x5a, sizeof err);
    assert_int_equal(insert_input(conn, input, &err), STELE_E_INPUT);
    assert_int_equal(err.status, STELE_E_INPUT);
    assert_string_equal(err.column, column);
    assert_string_equal(err.table, "things");
    assert_true(err.hint[0] != '\0');
    assert_int_equal(waits_since(conn, &before), 0);
    assert_int_equal(insert_input(conn, input, NULL), STELE_E_INPUT);
}

static void wrong_inputs_are_refused_before_any_io(void **state)
{
    (void)state;
    const thing_input fine = {.id = stele_i64_v(1), .name = stele_text_v("x")};
    thing_input input = {.id = stele_i64_v(1)};
    refused(&input, "name"); /* required and unset */

    input = fine;
    input.name.tag = (const stele_tag *)&input; /* no tag of ours */
    refused(&input, "name");
    memset(&input, 0x5a, sizeof input);
    refused(&input, "id");

    input = fine;
    const stele_in_str_n null_text = stele_text_n_null();
    memcpy(&input.name, &null_text, sizeof input.name); /* NULL smuggled into NOT NULL */
    refused(&input, "name");

    input = fine;
    input.name = stele_text_v(NULL);
    refused(&input, "name");
    input = fine;
    input.doc = stele_text_n_v(NULL); /* SQL NULL has a constructor of its own */
    refused(&input, "doc");

    input = fine;
    const stele_in_ts now = stele_ts_now();
    memcpy(&input.id.tag, &now.tag, sizeof now.tag); /* "now" is for times */
    refused(&input, "id");
    assert_int_equal(count_things(), 0);
}

static void zero_is_unset(void **state)
{
    (void)state;
    dbtest_exec(dsn, "ALTER TABLE things ALTER n SET DEFAULT 42");
    const thing_input input = {.id = stele_i64_v(1), .name = stele_text_v(""), .n = {0}};
    thing_row *row;
    assert_ok(insert_returning(conn, &input, &row, &err), &err);
    assert_true(row->n.has);
    assert_int_equal(row->n.v, 42);
    assert_int_equal(row->name.len, 0); /* empty is not NULL */
    assert_non_null(row->name.data);
    assert_null(row->doc.data);
    stele_gen_free(row);
    const thing_input null_input = {
        .id = stele_i64_v(2), .name = stele_text_v("x"), .n = stele_i32_n_null()};
    assert_ok(insert_returning(conn, &null_input, &row, &err), &err);
    assert_false(row->n.has);
    stele_gen_free(row);
}

static void times_by_the_servers_clock(void **state)
{
    (void)state;
    const struct {
        stele_in_ts at;
        const char *sql;
    } cases[] = {
        {stele_ts_now(), "SELECT abs(extract(epoch FROM at - now() AT TIME ZONE 'UTC')) < 60 "
                         "FROM things"},
        {stele_ts_after(stele_days(1)), "SELECT extract(epoch FROM at - now() AT TIME ZONE 'UTC') "
                                        "BETWEEN 86300 AND 86400 FROM things"},
        {stele_ts_v(0), "SELECT at = '1970-01-01' FROM things"},
        {stele_ts_v(STELE_TS_INFINITY), "SELECT at = 'infinity' FROM things"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dbtest_exec(dsn, "TRUNCATE things");
        const thing_input input = {
            .id = stele_i64_v(1), .name = stele_text_v("x"), .at = cases[i].at};
        assert_ok(insert_input(conn, &input, &err), &err);
        assert_string_equal(ask(conn, cases[i].sql), "t");
    }
}

enum { MANY = 300 };

/* Beyond what fits inline: 24 parameters bound, 256 states. */
static void many_parameters(void **state)
{
    (void)state;
    static stele_gen_param params[MANY];
    static stele_in_i64 inputs[MANY];
    static const stele_gen_column columns[] = {{"sum", STELE_GEN_INT8, false, 0, NULL}};
    static const int counts[] = {1, 23, 24, 25, 255, 256, 257, MANY};
    for (int i = 0; i < MANY; i++) {
        params[i] = (stele_gen_param){.column = "p",
                                      .type = STELE_GEN_INT8,
                                      .form = STELE_GEN_IN,
                                      .offset = (uint32_t)((size_t)i * sizeof inputs[0])};
        inputs[i] = stele_i64_v(i);
    }
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        uint16_t n = (uint16_t)counts[c];
        const stele_gen_part parts[] = {
            STELE_SQL("SELECT sum(v)::int8 FROM unnest(ARRAY["),
            STELE_LIST,
            STELE_EACH_VALUE(0, n),
            STELE_SQL("]) AS v"),
        };
        const stele_gen_stmt stmt = {.module = &things_module,
                                     .name = "many",
                                     .parts = parts,
                                     .part_count = STELE_COUNT(parts),
                                     .params = params,
                                     .param_count = n,
                                     .columns = columns,
                                     .column_count = 1,
                                     .row_size = 8,
                                     .properties = STELE_STMT_READ};
        const void *args[] = {inputs};
        int64_t sum = 0;
        for (int use = 0; use < 3; use++)
            assert_ok(stele_gen_value(conn, &stmt, args, 0, &sum, &err), &err);
        assert_int_equal(sum, (int64_t)n * (n - 1) / 2);
        stele_db_reset(db); /* the descriptor lives in this block only */
        stele_conn_release(conn);
        conn = acquire(db);
    }
}

/* Not resident: pages of zeros that nobody touches. */
static void values_of_a_gigabyte_are_refused(void **state)
{
    (void)state;
    size_t size = ((size_t)1 << 30) + 1;
    char *huge = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(huge, MAP_FAILED);
    uint64_t before = stele_conn_round_trips(conn);
    const thing_input input = {.id = stele_i64_v(1),
                               .name = stele_text_of((stele_str){huge, size})};
    assert_int_equal(insert_input(conn, &input, &err), STELE_E_VALUE);
    assert_string_equal(err.column, "name");
    assert_true(err.hint[0] != '\0');

    /* Each would do, together they do not: the server would hang up. */
    static const stele_gen_param two[] = {
        {"a", STELE_GEN_BYTEA, STELE_GEN_PLAIN, true, 0, 0, 0, NULL},
        {"b", STELE_GEN_BYTEA, STELE_GEN_PLAIN, true, 0, 0, 0, NULL},
    };
    static const stele_gen_part parts[] = {STELE_SQL("SELECT "), STELE_PARAM(0), STELE_SQL(", "),
                                           STELE_PARAM(1)};
    static const stele_gen_stmt stmt = {.module = &things_module,
                                        .name = "two",
                                        .parts = parts,
                                        .part_count = 4,
                                        .params = two,
                                        .param_count = 2,
                                        .shape_from = 2};
    const stele_bytes half = {(const uint8_t *)huge, size / 2 + 1};
    const void *args[] = {&half}; /* for both */
    assert_int_equal(stele_gen_exec(conn, &stmt, args, 0, false, NULL, &err), STELE_E_VALUE);
    assert_true(strstr(err.message, "too long") != NULL);
    assert_int_equal(waits_since(conn, &before), 0);
    assert_ok(insert_thing(conn, 1, "x", &err), &err);
    (void)munmap(huge, size);
}

/* ---- every type ---- */

static const char *const mood_labels[] = {"calm", "wild"};
static const stele_gen_enum mood_enum = {"mood", mood_labels, 2};

typedef struct mood_opt {
    bool has;
    int v;
} mood_opt;

typedef struct mood_array {
    const int *items;
    const bool *nulls;
    size_t count;
} mood_array;

/* Nullable, then arrays; for NULL, for empty and for full. */
typedef struct all_row {
    int64_t id;
    stele_opt_bool b;
    stele_opt_i16 i2;
    stele_opt_i32 i4;
    stele_opt_i64 i8;
    stele_opt_f32 f4;
    stele_opt_f64 f8;
    stele_str num;
    stele_str txt;
    stele_str bp;
    stele_bytes by;
    stele_opt_uuid u;
    stele_opt_date d;
    stele_opt_time t;
    stele_opt_ts ts;
    stele_opt_ts tz;
    stele_opt_interval iv;
    stele_str js;
    stele_str jb;
    stele_opt_inet ip;
    mood_opt m;
    stele_bool_array ab;
    stele_i16_array ai2;
    stele_i32_array ai4;
    stele_i64_array ai8;
    stele_f64_array af8;
    stele_str_array anum;
    stele_str_array atxt;
    stele_bytes_array aby;
    stele_uuid_array au;
    stele_date_array ad;
    stele_ts_array ats;
    stele_interval_array aiv;
    stele_str_array ajb;
    stele_inet_array aip;
    mood_array am;
} all_row;

#define C(field, type)                                                                             \
    {                                                                                              \
#field, STELE_GEN_##type, true, offsetof(all_row, field), NULL                             \
    }
#define A(field, type)                                                                             \
    {                                                                                              \
#field, STELE_GEN_##type | STELE_GEN_ARRAY, true, offsetof(all_row, field), NULL           \
    }

static const stele_gen_column all_columns[] = {
    {"id", STELE_GEN_INT8, false, offsetof(all_row, id), NULL},
    C(b, BOOL),
    C(i2, INT2),
    C(i4, INT4),
    C(i8, INT8),
    C(f4, FLOAT4),
    C(f8, FLOAT8),
    C(num, NUMERIC),
    C(txt, TEXT),
    C(bp, BPCHAR),
    C(by, BYTEA),
    C(u, UUID),
    C(d, DATE),
    C(t, TIME),
    C(ts, TIMESTAMP),
    C(tz, TIMESTAMPTZ),
    C(iv, INTERVAL),
    C(js, JSON),
    C(jb, JSONB),
    C(ip, INET),
    {"m", STELE_GEN_ENUM, true, offsetof(all_row, m), &mood_enum},
    A(ab, BOOL),
    A(ai2, INT2),
    A(ai4, INT4),
    A(ai8, INT8),
    A(af8, FLOAT8),
    A(anum, NUMERIC),
    A(atxt, TEXT),
    A(aby, BYTEA),
    A(au, UUID),
    A(ad, DATE),
    A(ats, TIMESTAMP),
    A(aiv, INTERVAL),
    A(ajb, JSONB),
    A(aip, INET),
    {"am", STELE_GEN_ENUM | STELE_GEN_ARRAY, true, offsetof(all_row, am), &mood_enum},
};

enum { COLUMNS = sizeof all_columns / sizeof all_columns[0] };

static const char all_sql[] =
    "DROP TABLE IF EXISTS al; DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('calm', 'wild');"
    "CREATE TABLE al (id int8, b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, num "
    "numeric,"
    " txt text, bp char(3), by bytea, u uuid, d date, t time, ts timestamp, tz timestamptz,"
    " iv interval, js json, jb jsonb, ip inet, m mood, ab bool[], ai2 int2[], ai4 int4[], ai8 "
    "int8[],"
    " af8 float8[], anum numeric[], atxt text[], aby bytea[], au uuid[], ad date[], ats "
    "timestamp[],"
    " aiv interval[], ajb jsonb[], aip inet[], am mood[]);"
    "INSERT INTO al (id) VALUES (1);"
    "INSERT INTO al (id, txt, by, js, atxt, ai4, am) VALUES (2, '', '', '\"\"', '{}', '{}', '{}');"
    "INSERT INTO al VALUES (3, true, -2, 4, -8, 1.5, -2.25, 12345678901234567890.0120, 'hé', 'ab',"
    " '\\x00ff', '00112233-4455-6677-8899-aabbccddeeff', '1969-12-31', '23:59:59.5',"
    " '2026-01-31 09:05', '2026-01-31 09:05+01', '1 mon 2 days 00:00:03', '{\"a\":  1}',"
    " '{\"a\":  1}', '10.0.0.0/8', 'wild', '{t,NULL,f}', '{1,-1}', '{NULL}', '{1,2,3}', '{0.5}',"
    " '{1.10,NULL,-3}', '{a,NULL,\"\",\"d e\"}', '{\"\\\\x01\",NULL}',"
    " '{00112233-4455-6677-8899-aabbccddeeff}', '{1970-01-02,NULL}', '{1970-01-01}', '{1 "
    "day,NULL}',"
    " '{\"[1]\",NULL}', '{::1,NULL}', '{wild,NULL,calm}');";

static made all;

static all_row *read_all(void)
{
    static char sql[1024];
    size_t len = (size_t)snprintf(sql, sizeof sql, "SELECT ");
    for (int i = 0; i < COLUMNS; i++)
        len += (size_t)snprintf(sql + len, sizeof sql - len, "%st.%s", i > 0 ? ", " : "",
                                all_columns[i].name);
    snprintf(sql + len, sizeof sql - len, " FROM al AS t ORDER BY t.id");
    void *rows = NULL;
    size_t count = 0;
    make_read(&all, "all", sql, all_columns, COLUMNS, sizeof(all_row));
    assert_ok(stele_gen_many(conn, &all.stmt, NULL, 0, &rows, &count, &err), &err);
    assert_int_equal(count, 3);
    return rows;
}

#define assert_text(view, expected)                                                                \
    do {                                                                                           \
        assert_non_null((view).data);                                                              \
        assert_int_equal((view).len, strlen(expected));                                            \
        assert_memory_equal((view).data, expected, strlen(expected) + 1);                          \
    } while (0)

static void check_nulls(const all_row *row)
{
    all_row zero;
    memset(&zero, 0, sizeof zero);
    assert_false(row->b.has || row->i2.has || row->i4.has || row->i8.has || row->f4.has);
    assert_false(row->f8.has || row->u.has || row->d.has || row->t.has || row->ts.has);
    assert_false(row->tz.has || row->iv.has || row->ip.has || row->m.has);
    assert_null(row->num.data);
    assert_null(row->txt.data);
    assert_null(row->by.data);
    assert_null(row->js.data);
    assert_null(row->atxt.items);
    assert_null(row->am.items);
    /* All but the key is zero, padding of the structs aside. */
    assert_memory_equal(&row->atxt, &zero.atxt, sizeof zero.atxt);
}

static void check_empty(const all_row *row)
{
    assert_text(row->txt, "");
    assert_non_null(row->by.data);
    assert_int_equal(row->by.len, 0);
    assert_text(row->js, "\"\"");
    assert_non_null(row->atxt.items);
    assert_int_equal(row->atxt.count, 0);
    assert_non_null(row->am.items);
    assert_int_equal(row->am.count, 0);
}

static void check_scalars(const all_row *row)
{
    static const uint8_t uuid[] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
    assert_true(row->b.has && row->b.v);
    assert_true(row->i2.has && row->i2.v == -2);
    assert_true(row->i4.has && row->i4.v == 4);
    assert_true(row->i8.has && row->i8.v == -8);
    assert_true(row->f4.has && row->f4.v >= 1.5f && row->f4.v <= 1.5f);
    assert_true(row->f8.has && row->f8.v >= -2.25 && row->f8.v <= -2.25);
    assert_text(row->num, "12345678901234567890.0120");
    assert_text(row->txt, "h\xc3\xa9");
    assert_text(row->bp, "ab ");
    assert_int_equal(row->by.len, 2);
    assert_memory_equal(row->by.data, "\x00\xff", 2);
    assert_true(row->u.has);
    assert_memory_equal(row->u.v.bytes, uuid, 16);
    assert_true(row->d.has && row->d.v == -1);
    assert_true(row->t.has && row->t.v == INT64_C(86399500000));
    assert_true(row->ts.has && row->ts.v == INT64_C(1769850300000000));
    assert_true(row->tz.has && row->tz.v == row->ts.v - INT64_C(3600000000));
    assert_true(row->iv.has && row->iv.v.months == 1 && row->iv.v.days == 2 &&
                row->iv.v.micros == 3000000);
    assert_text(row->js, "{\"a\":  1}"); /* json as written, jsonb as parsed */
    assert_text(row->jb, "{\"a\": 1}");
    assert_true(row->ip.has && row->ip.v.family == 4 && row->ip.v.bits == 8);
    assert_int_equal(row->ip.v.addr[0], 10);
    assert_true(row->m.has && row->m.v == 2);
}

static void check_arrays(const all_row *row)
{
    assert_int_equal(row->ab.count, 3);
    assert_true(row->ab.items[0] && !row->ab.items[2]);
    assert_true(!row->ab.nulls[0] && row->ab.nulls[1]);
    assert_null(row->ai2.nulls);
    assert_int_equal(row->ai2.items[1], -1);
    assert_true(row->ai4.count == 1 && row->ai4.nulls[0]);
    assert_int_equal(row->ai8.items[2], 3);
    assert_int_equal(row->af8.count, 1);
    assert_text(row->anum.items[0], "1.10");
    assert_null(row->anum.items[1].data);
    assert_text(row->atxt.items[0], "a");
    assert_null(row->atxt.items[1].data);
    assert_text(row->atxt.items[2], "");
    assert_text(row->atxt.items[3], "d e");
    assert_int_equal(row->aby.items[0].len, 1);
    assert_int_equal(row->au.items[0].bytes[1], 0x11);
    assert_int_equal(row->ad.items[0], 1);
    assert_int_equal(row->ats.items[0], 0);
    assert_int_equal(row->aiv.items[0].days, 1);
    assert_text(row->ajb.items[0], "[1]");
    assert_int_equal(row->aip.items[0].family, 6);
    assert_int_equal(row->am.count, 3);
    assert_true(row->am.items[0] == 2 && row->am.items[2] == 1 && row->am.nulls[1]);
}

static void check_full(const all_row *row)
{
    check_scalars(row);
    check_arrays(row);
}

static void every_type_comes_out(void **state)
{
    (void)state;
    dbtest_exec(dsn, all_sql);
    for (int use = 0; use < 3; use++) {
        all_row *rows = read_all();
        assert_int_equal((uintptr_t)rows % 8, 0);
        check_nulls(&rows[0]);
        check_empty(&rows[1]);
        check_full(&rows[2]);
        stele_gen_free(rows);
    }
}

static void copies_outlive_their_origin(void **state)
{
    (void)state;
    dbtest_exec(dsn, all_sql);
    all_row *rows = read_all();
    void *copies[3];
    void *second = NULL;
    for (int i = 0; i < 3; i++)
        assert_ok(stele_gen_dup(&all.stmt, &rows[i], &copies[i], &err), &err);
    stele_gen_free(rows);
    assert_ok(stele_gen_dup(&all.stmt, copies[2], &second, &err), &err);
    check_nulls(copies[0]);
    check_empty(copies[1]);
    check_full(copies[2]);
    for (int i = 0; i < 3; i++)
        stele_gen_free(copies[i]);
    check_full(second);
    stele_gen_free(second);
    stele_gen_free(NULL);
}

/* What came out goes in again, as OPT fields of a row, and is the same. */
static void every_type_goes_in(void **state)
{
    (void)state;
    static stele_gen_param params[COLUMNS];
    dbtest_exec(dsn, all_sql);
    for (int i = 0; i < COLUMNS; i++) {
        const stele_gen_column *c = &all_columns[i];
        params[i] = (stele_gen_param){.column = c->name,
                                      .type = c->type,
                                      .form = c->nullable ? STELE_GEN_OPT : STELE_GEN_PLAIN,
                                      .offset = c->offset,
                                      .labels = c->labels};
    }
    stele_gen_part parts[2 * COLUMNS + 1];
    int n = 0;
    for (int i = 0; i < COLUMNS; i++) {
        parts[n++] = (stele_gen_part)STELE_SQL(i == 0 ? "INSERT INTO al VALUES (" : ", ");
        parts[n++] = (stele_gen_part)STELE_PARAM((uint16_t)i);
    }
    parts[n++] = (stele_gen_part)STELE_SQL(")");
    const stele_gen_stmt stmt = {.module = &things_module,
                                 .name = "all_in",
                                 .parts = parts,
                                 .part_count = (uint16_t)n,
                                 .params = params,
                                 .param_count = COLUMNS,
                                 .shape_from = COLUMNS};
    all_row *rows = read_all();
    for (int i = 0; i < 3; i++) {
        const void *args[] = {&rows[i]};
        assert_ok(stele_gen_exec(conn, &stmt, args, 0, true, NULL, &err), &err);
    }
    stele_gen_free(rows);
    assert_string_equal(ask(conn, "SELECT count(*) || ' ' || count(DISTINCT al::text) FROM al"),
                        "6 3");
    stele_conn_release(conn);
    stele_db_reset(db);
    conn = acquire(db);
}

int main(void)
{
    dbtest_require_server();
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_one, close_one)
    const struct CMUnitTest tests[] = {
        TEST(wrong_inputs_are_refused_before_any_io),
        TEST(zero_is_unset),
        TEST(times_by_the_servers_clock),
        TEST(many_parameters),
        TEST(values_of_a_gigabyte_are_refused),
        TEST(every_type_comes_out),
        TEST(copies_outlive_their_origin),
        TEST(every_type_goes_in),
    };
    return RUN(tests);
}
