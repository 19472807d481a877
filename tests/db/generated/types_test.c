/*
 * Every type, required, optional and as an array: rows that SQL made are read, and what was read is
 * inserted again; the server must find the two rows the same, to the last byte of their text.
 */
#include "life.h"

/* ---- from a row to an input ---- */

static void copy_required(const shop_type_samples_row *row, shop_type_samples_input *in)
{
    in->a_bool = stele_bool_v(row->a_bool);
    in->a_int2 = stele_i16_v(row->a_int2);
    in->a_int4 = stele_i32_v(row->a_int4);
    in->a_int8 = stele_i64_v(row->a_int8);
    in->a_float4 = stele_f32_v(row->a_float4);
    in->a_float8 = stele_f64_v(row->a_float8);
    in->a_numeric = stele_text_of(row->a_numeric);
    in->a_text = stele_text_of(row->a_text);
    in->a_varchar = stele_text_of(row->a_varchar);
    in->a_char = stele_text_of(row->a_char);
    in->a_bytea = stele_bytes_v(row->a_bytea.data, row->a_bytea.len);
    in->a_uuid = stele_uuid_v(row->a_uuid);
    in->a_date = stele_date_v(row->a_date);
    in->a_time = stele_time_v(row->a_time);
    in->a_timestamp = stele_ts_v(row->a_timestamp);
    in->a_timestamptz = stele_ts_v(row->a_timestamptz);
    in->a_interval = stele_interval_v(row->a_interval);
    in->a_json = stele_text_of(row->a_json);
    in->a_jsonb = stele_text_of(row->a_jsonb);
    in->a_inet = stele_inet_v(row->a_inet);
    in->a_enum = shop_currency_v(row->a_enum);
    in->a_opaque = stele_text_of(row->a_opaque);
}

static stele_in_bytes_n bytes_n_of(stele_bytes bytes)
{
    return bytes.data != NULL ? stele_bytes_n_v(bytes.data, bytes.len) : stele_bytes_n_null();
}

static void copy_optional(const shop_type_samples_row *row, shop_type_samples_input *in)
{
    in->n_bool = stele_bool_n_of(row->n_bool);
    in->n_int2 = stele_i16_n_of(row->n_int2);
    in->n_int4 = stele_i32_n_of(row->n_int4);
    in->n_int8 = stele_i64_n_of(row->n_int8);
    in->n_float4 = stele_f32_n_of(row->n_float4);
    in->n_float8 = stele_f64_n_of(row->n_float8);
    in->n_numeric = stele_text_n_of(row->n_numeric);
    in->n_text = stele_text_n_of(row->n_text);
    in->n_varchar = stele_text_n_of(row->n_varchar);
    in->n_char = stele_text_n_of(row->n_char);
    in->n_bytea = bytes_n_of(row->n_bytea);
    in->n_uuid = stele_uuid_n_of(row->n_uuid);
    in->n_date = stele_date_n_of(row->n_date);
    in->n_time = stele_time_n_of(row->n_time);
    in->n_timestamp = stele_ts_n_of(row->n_timestamp);
    in->n_timestamptz = stele_ts_n_of(row->n_timestamptz);
    in->n_interval = stele_interval_n_of(row->n_interval);
    in->n_json = stele_text_n_of(row->n_json);
    in->n_jsonb = stele_text_n_of(row->n_jsonb);
    in->n_inet = stele_inet_n_of(row->n_inet);
    in->n_enum = shop_currency_n_of(row->n_enum);
    in->n_opaque = stele_text_n_of(row->n_opaque);
}

static void copy_arrays(const shop_type_samples_row *row, shop_type_samples_input *in)
{
    in->l_bool = stele_bool_array_v(row->l_bool);
    in->l_int2 = stele_i16_array_v(row->l_int2);
    in->l_int4 = stele_i32_array_v(row->l_int4);
    in->l_int8 = stele_i64_array_v(row->l_int8);
    in->l_float4 = stele_f32_array_v(row->l_float4);
    in->l_float8 = stele_f64_array_v(row->l_float8);
    in->l_numeric = stele_str_array_v(row->l_numeric);
    in->l_text = stele_str_array_v(row->l_text);
    in->l_varchar = stele_str_array_v(row->l_varchar);
    in->l_char = stele_str_array_v(row->l_char);
    in->l_bytea = stele_bytes_array_v(row->l_bytea);
    in->l_uuid = stele_uuid_array_v(row->l_uuid);
    in->l_date = stele_date_array_v(row->l_date);
    in->l_time = stele_time_array_v(row->l_time);
    in->l_timestamp = stele_ts_array_v(row->l_timestamp);
    in->l_timestamptz = stele_ts_array_v(row->l_timestamptz);
    in->l_interval = stele_interval_array_v(row->l_interval);
    in->l_json = stele_str_array_v(row->l_json);
    in->l_jsonb = stele_str_array_v(row->l_jsonb);
    in->l_inet = stele_inet_array_v(row->l_inet);
    in->l_enum = row->l_enum.items != NULL ? shop_currency_array_n_v(row->l_enum)
                                           : shop_currency_array_n_null();
    in->l_text_n =
        row->l_text_n.items != NULL ? stele_str_array_n_v(row->l_text_n) : stele_str_array_n_null();
}

/* Reads row 1, inserts a copy of it as row 2, and has the server compare the two. */
static shop_type_samples_row *come_and_go(void)
{
    shop_type_samples_row *row = NULL;
    shop_type_samples_input in = {.id = stele_i32_v(2)};
    ok(shop_type_samples_find(conn, 1, &row, &err));
    copy_required(row, &in);
    copy_optional(row, &in);
    copy_arrays(row, &in);
    ok(shop_type_samples_insert(conn, &in, NULL, &err));
    assert_true(holds("SELECT (jsonb_populate_record(a, '{\"id\": 0}')::text) ="
                      " (jsonb_populate_record(b, '{\"id\": 0}')::text)"
                      " FROM type_samples a, type_samples b WHERE a.id = 1 AND b.id = 2"));
    return row;
}

/* ---- the rows ---- */

/* In the order of the columns. */
static void plain_row(void)
{
    peer("INSERT INTO type_samples VALUES (1, true, -32768, 2147483647, -9223372036854775808, 1.5,"
         " 2.25, 12345678901234567890.000000000123, E'caf\\u00e9 \\n\\t', 'varchar', 'ab', "
         "'\\x00ff10',"
         " '" PEN "', '2026-02-28', '23:59:59.999999', '2026-01-31 09:05:00.25',"
         " '2026-01-31 09:05:00.25+02', '1 year 2 mons -3 days 04:05:06.7', '{ \"a\" : [1, 2] }',"
         " '{ \"b\" : 1, \"a\" : 2 }', '192.168.7.1/24', 'USD', '08:00:2b:01:02:03',"
         " false, 1, 2, 3, 'NaN', '-Infinity', -0.5, '', 'v', 'c', '', '" INK "', '1999-12-31',"
         " '24:00', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59Z', '-1 us', '1', 'null',"
         " '2001:db8::1', 'JPY', 'ff:ff:ff:ff:ff:ff',"
         " '{t,f}', '{1,-1}', '{2}', '{3,4,5}', '{0.5,-Infinity}', '{1e300,1e-300}',"
         " '{1.10,-0.00,NaN,1e20}', '{\"a b\",\"c\\\"d\",\"\",\"null\",\"\\\\\"}', '{x,y}', "
         "'{ab,cdef}',"
         " '{\"\\\\x00\",\"\\\\x\"}', '{" PEN "," INK
         "}', '{2000-01-01,1970-01-01}', '{00:00,24:00}',"
         " '{2000-01-01 00:00,infinity}', '{-infinity,2000-01-01 00:00Z}', '{1 mon,-1 day,3 us}',"
         " '{\"{\\\"a\\\": 1}\",2}', '{\"[1,  2]\",\"\\\"s\\\"\"}', '{10.0.0.1,::1,10.0.0.0/8}',"
         " '{EUR,JPY}', '{one}')");
}

static void scalars_come_and_go(void **state)
{
    (void)state;
    plain_row();
    STELE_AUTO(shop_type_samples_row) row = come_and_go();
    assert_true(row->a_bool);
    assert_int_equal(row->a_int2, INT16_MIN);
    assert_int_equal(row->a_int4, INT32_MAX);
    assert_true(row->a_int8 == INT64_MIN);
    assert_true(row->a_float4 > 1.4F && row->a_float4 < 1.6F);
    assert_true(row->a_float8 > 2.24 && row->a_float8 < 2.26);
    assert_str(row->a_numeric, "12345678901234567890.000000000123");
    assert_str(row->a_text, "caf\xc3\xa9 \n\t");
    assert_str(row->a_varchar, "varchar");
    assert_str(row->a_char, "ab  ");
    assert_memory_equal(row->a_bytea.data, "\x00\xff\x10", 3);
    assert_int_equal(row->a_bytea.len, 3);
    assert_uuid(row->a_uuid, PEN);
    assert_date(row->a_date, "2026-02-28");
    assert_int_equal(row->a_time, 86399999999);
    assert_ts(row->a_timestamp, "2026-01-31T09:05:00.25Z");
    assert_ts(row->a_timestamptz, "2026-01-31T07:05:00.25Z");
    assert_int_equal(row->a_interval.months, 14);
    assert_int_equal(row->a_interval.days, -3);
    assert_int_equal(row->a_interval.micros, 14706700000);
    assert_str(row->a_json, "{ \"a\" : [1, 2] }");
    assert_str(row->a_jsonb, "{\"a\": 2, \"b\": 1}");
    assert_inet(row->a_inet, "192.168.7.1/24");
    assert_int_equal(row->a_enum, SHOP_CURRENCY_USD);
    assert_str(row->a_opaque, "08:00:2b:01:02:03");
}

static void optional_values_come_and_go(void **state)
{
    (void)state;
    plain_row();
    STELE_AUTO(shop_type_samples_row) row = come_and_go();
    assert_true(row->n_bool.has && !row->n_bool.v);
    assert_true(row->n_int2.has && row->n_int2.v == 1);
    assert_true(row->n_int4.has && row->n_int4.v == 2);
    assert_true(row->n_int8.has && row->n_int8.v == 3);
    assert_true(row->n_float4.has && row->n_float4.v != row->n_float4.v);
    assert_true(row->n_float8.has && row->n_float8.v < -1e308);
    assert_str(row->n_numeric, "-0.500000"); /* numeric(20,6) */
    assert_non_null(row->n_text.data);       /* the empty text is not NULL */
    assert_int_equal(row->n_text.len, 0);
    assert_non_null(row->n_bytea.data);
    assert_int_equal(row->n_bytea.len, 0);
    assert_str(row->n_char, "c   ");
    assert_date(row->n_date.v, "1999-12-31");
    assert_int_equal(row->n_time.v, 86400000000);
    assert_int_equal(row->n_timestamp.v, -1);
    assert_ts(row->n_timestamptz.v, "1969-12-31T23:59:59Z");
    assert_int_equal(row->n_interval.v.micros, -1);
    assert_str(row->n_json, "1");
    assert_str(row->n_jsonb, "null");
    assert_inet(row->n_inet.v, "2001:db8::1");
    assert_int_equal(row->n_enum.v, SHOP_CURRENCY_JPY);
    assert_str(row->n_opaque, "ff:ff:ff:ff:ff:ff");
}

static void arrays_come_and_go(void **state)
{
    (void)state;
    plain_row();
    STELE_AUTO(shop_type_samples_row) row = come_and_go();
    assert_int_equal(row->l_bool.count, 2);
    assert_true(row->l_bool.items[0] && !row->l_bool.items[1]);
    assert_int_equal(row->l_int2.items[1], -1);
    assert_int_equal(row->l_int4.items[0], 2);
    assert_int_equal(row->l_int8.items[2], 5);
    assert_true(row->l_float4.items[1] < -3e38F);
    assert_true(row->l_float8.items[0] > 9e299);
    assert_int_equal(row->l_numeric.count, 4);
    assert_str(row->l_numeric.items[1], "0.00");
    assert_str(row->l_numeric.items[2], "NaN");
    assert_str(row->l_numeric.items[3], "100000000000000000000");
    assert_int_equal(row->l_text.count, 5);
    assert_str(row->l_text.items[1], "c\"d");
    assert_str(row->l_text.items[3], "null");
    assert_str(row->l_text.items[4], "\\");
    assert_null(row->l_text.nulls);
    assert_str(row->l_char.items[0], "ab  ");
    assert_int_equal(row->l_bytea.items[0].len, 1);
    assert_int_equal(row->l_bytea.items[1].len, 0);
    assert_uuid(row->l_uuid.items[1], INK);
    assert_date(row->l_date.items[0], "2000-01-01");
    assert_int_equal(row->l_time.items[1], 86400000000);
    assert_true(row->l_timestamp.items[1] == STELE_TS_INFINITY);
    assert_true(row->l_timestamptz.items[0] == STELE_TS_NEG_INFINITY);
    assert_int_equal(row->l_interval.items[0].months, 1);
    assert_str(row->l_json.items[0], "{\"a\": 1}");
    assert_str(row->l_jsonb.items[0], "[1, 2]");
    assert_inet(row->l_inet.items[2], "10.0.0.0/8");
    assert_int_equal(row->l_enum.items[1], SHOP_CURRENCY_JPY);
    assert_str(row->l_text_n.items[0], "one");
}

/* NULL where it may be, empty arrays, arrays of NULLs, infinities and years before Christ. */
static void nulls_and_limits_come_and_go(void **state)
{
    (void)state;
    peer(
        "INSERT INTO type_samples VALUES (1, false, 0, 0, 0, 0, -0.0, 'NaN', '', '', '', '',"
        " '" PEN "', 'infinity', '00:00', '-infinity', 'infinity', '0', '0', '0',"
        " '::ffff:1.2.3.4/96', 'EUR', '00:00:00:00:00:00',"
        " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
        " '{}', '{NULL}', '{NULL,1}', '{}', '{NULL}', '{}', '{NULL,1.50}', '{NULL,\"\"}', '{}',"
        " '{NULL}', '{NULL}', '{NULL}', '{-infinity,0044-03-15 BC}', '{NULL}', '{NULL}', '{}',"
        " '{NULL}', '{NULL}', '{NULL}', '{NULL}', NULL, '{NULL,a}')");
    STELE_AUTO(shop_type_samples_row) row = come_and_go();
    assert_str(row->a_numeric, "NaN");
    assert_true(row->a_date == STELE_DATE_INFINITY);
    assert_true(row->a_timestamp == STELE_TS_NEG_INFINITY);
    assert_true(row->a_timestamptz == STELE_TS_INFINITY);
    assert_non_null(row->a_text.data);
    assert_false(row->n_int8.has || row->n_uuid.has || row->n_interval.has || row->n_enum.has);
    assert_null(row->n_text.data);
    assert_null(row->n_bytea.data);
    assert_non_null(row->l_bool.items);
    assert_int_equal(row->l_bool.count, 0);
    assert_int_equal(row->l_int4.count, 2);
    assert_true(row->l_int4.nulls[0] && !row->l_int4.nulls[1]);
    assert_int_equal(row->l_int4.items[0], 0);
    assert_int_equal(row->l_int4.items[1], 1);
    assert_null(row->l_text.items[0].data);
    assert_str(row->l_text.items[1], "");
    assert_date(row->l_date.items[1], "0044-03-15 BC");
    assert_null(row->l_enum.items);
    assert_true(row->l_text_n.nulls[0]);
}

/* What only optional columns have unset becomes NULL; the life of such a row, with its functions. */
static void is_bare(const shop_type_samples_row *row)
{
    assert_int_equal(row->id, 1);
    assert_false(row->n_bool.has);
    assert_str(row->a_text, "");
    assert_int_equal(row->a_enum, SHOP_CURRENCY_EUR);
}

static void life_of_type_samples(void **state)
{
    (void)state;
    shop_type_samples_row zero = {.a_enum = SHOP_CURRENCY_EUR};
    shop_type_samples_input in = {.id = stele_i32_v(1)};
    static const bool none[1];
    zero.a_numeric = zero.a_json = zero.a_jsonb = stele_s("0");
    zero.a_text = zero.a_varchar = zero.a_char = stele_s("");
    zero.a_opaque = stele_s("00:00:00:00:00:00");
    zero.a_bytea = (stele_bytes){(const uint8_t *)"", 0};
    zero.a_inet = inet_of("0.0.0.0");
    zero.l_bool.items = none;
    copy_required(&zero, &in);
    copy_arrays(&zero, &in);
    /* An array without items is SQL NULL, which these columns do not take. */
    refuses(STELE_E_INPUT, shop_type_samples_insert(conn, &in, NULL, &err));
    assert_string_equal(err.column, "l_int2");
#define EMPTY(name) in.name.v.items = (const void *)none
    EMPTY(l_int2), EMPTY(l_int4), EMPTY(l_int8), EMPTY(l_float4), EMPTY(l_float8);
    EMPTY(l_numeric), EMPTY(l_text), EMPTY(l_varchar), EMPTY(l_char), EMPTY(l_bytea), EMPTY(l_uuid);
    EMPTY(l_date), EMPTY(l_time), EMPTY(l_timestamp), EMPTY(l_timestamptz), EMPTY(l_interval);
    EMPTY(l_json), EMPTY(l_jsonb), EMPTY(l_inet);
#undef EMPTY
    LIVES(shop_type_samples, 1, &in, 0, is_bare);
    shop_type_samples_patch patch = {.n_bool = stele_bool_n_null(), .a_text = stele_text_v("")};
    CHANGES(shop_type_samples, 1, &patch, is_bare);
    DIES(shop_type_samples, 1, shop_type_samples_insert(conn, &in, NULL, &err));
}

/* A label that came with a later migration is unknown to this program, not an error. */
static void a_label_of_later_is_unknown(void **state)
{
    (void)state;
    shop_type_samples_row *row = NULL;
    plain_row();
    peer("ALTER TYPE currency ADD VALUE IF NOT EXISTS 'XAU'");
    peer("UPDATE type_samples SET a_enum = 'XAU', l_enum = '{EUR,XAU}'");
    ok(shop_type_samples_find(conn, 1, &row, &err));
    assert_int_equal(row->a_enum, SHOP_CURRENCY_UNKNOWN);
    assert_int_equal(row->l_enum.items[0], SHOP_CURRENCY_EUR);
    assert_int_equal(row->l_enum.items[1], SHOP_CURRENCY_UNKNOWN);
    shop_type_samples_patch patch = {.a_enum = shop_currency_v(row->a_enum)};
    refuses(STELE_E_VALUE, shop_type_samples_update(conn, 1, &patch, NULL, &err));
    assert_string_equal(err.column, "a_enum");
    shop_type_samples_row_free(row);
}

/* Filters of every type meet the row that has the value, and no other. */
static void every_type_is_filtered(void **state)
{
    (void)state;
    plain_row();
    STELE_AUTO(shop_type_samples_row) row = come_and_go();
    shop_type_samples_filter same = {.a_bool = stele_bool_v(true),
                                     .a_int2 = stele_i16_v(row->a_int2),
                                     .a_int8 = stele_i64_v(row->a_int8),
                                     .a_float4_from = stele_f32_v(row->a_float4),
                                     .a_float8_before = stele_f64_v(2.3),
                                     .a_numeric = stele_text_of(row->a_numeric),
                                     .a_text = stele_text_of(row->a_text),
                                     .a_char = stele_text_v("ab"),
                                     .a_uuid = stele_uuid_v(row->a_uuid),
                                     .a_date = stele_date_v(row->a_date),
                                     .a_time = stele_time_v(row->a_time),
                                     .a_timestamp = stele_ts_v(row->a_timestamp),
                                     .a_timestamptz = stele_ts_v(row->a_timestamptz),
                                     .a_interval = stele_interval_v(row->a_interval),
                                     .a_inet = stele_inet_v(row->a_inet),
                                     .a_enum = shop_currency_v(SHOP_CURRENCY_USD),
                                     .n_date = stele_date_n_of(row->n_date),
                                     .n_enum = shop_currency_n_v(SHOP_CURRENCY_JPY)};
    COUNTS(shop_type_samples, &same, 2);
    same.id_before = stele_i32_v(2);
    COUNTS(shop_type_samples, &same, 1);
    same.a_enum = shop_currency_v(SHOP_CURRENCY_EUR);
    COUNTS(shop_type_samples, &same, 0);
    shop_type_samples_filter missing = {.n_uuid = stele_uuid_n_null()};
    COUNTS(shop_type_samples, &missing, 0);
    peer("UPDATE type_samples SET n_uuid = NULL WHERE id = 2");
    COUNTS(shop_type_samples, &missing, 1);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        GENERATED(scalars_come_and_go),         GENERATED(optional_values_come_and_go),
        GENERATED(arrays_come_and_go),          GENERATED(nulls_and_limits_come_and_go),
        GENERATED(life_of_type_samples),        GENERATED(every_type_is_filtered),
        GENERATED(a_label_of_later_is_unknown),
    };
    return RUN_GENERATED(tests);
}
