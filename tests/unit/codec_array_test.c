#include "codec_internal.h"
#include "unit.h"

static const char *const names[] = {"open", "pa\"id", "NULL"};
static const stele_gen_enum labels = {"status", names, 3};

static stele__block memory;

static int clean(void **state)
{
    (void)state;
    stele__block_release(&memory);
    return 0;
}

static int encode(uint8_t type, const void *array, stele__encoded *out)
{
    memset(out, 0x55, sizeof *out);
    return stele__encode_value(type | STELE_GEN_ARRAY, &labels, array, out, &memory);
}

static int decode(uint8_t type, const char *data, size_t len, void *ret_array)
{
    return stele__decode_value(type | STELE_GEN_ARRAY, &labels, data, len, ret_array,
                               stele__block_mem, &memory);
}

/* Decodes heap copies of every shorter length: each is refused, none is read past its end. */
static void refuse_truncations(uint8_t type, const char *data, size_t len)
{
    for (size_t cut = 0; cut < len; cut++) {
        stele_str_array back;
        char *exact = malloc(cut != 0 ? cut : 1);
        assert_non_null(exact);
        memcpy(exact, data, cut);
        assert_int_equal(decode(type, exact, cut, &back), STELE__CODEC_LENGTH);
        free(exact);
    }
    stele_str_array back;
    char *longer = malloc(len + 1);
    assert_non_null(longer);
    memcpy(longer, data, len);
    longer[len] = 0;
    assert_int_equal(decode(type, longer, len + 1, &back), STELE__CODEC_LENGTH);
    free(longer);
}

#define round_trip(TYPE, array_type, item_type, ...)                                               \
    do {                                                                                           \
        const item_type items[] = {__VA_ARGS__};                                                   \
        const bool nulls[] = {false, true, false, true};                                           \
        enum { COUNT = sizeof items / sizeof *items };                                             \
        array_type given = {items, NULL, COUNT};                                                   \
        array_type back;                                                                           \
        stele__encoded out;                                                                        \
        assert_int_equal(encode(TYPE, &given, &out), STELE__CODEC_OK);                             \
        assert_int_equal(out.format, 1);                                                           \
        assert_int_equal(decode(TYPE, out.data, (size_t)out.len, &back), STELE__CODEC_OK);         \
        assert_int_equal(back.count, COUNT);                                                       \
        assert_null(back.nulls);                                                                   \
        assert_memory_equal(back.items, items, sizeof items);                                      \
        given.nulls = nulls;                                                                       \
        assert_int_equal(encode(TYPE, &given, &out), STELE__CODEC_OK);                             \
        assert_int_equal(decode(TYPE, out.data, (size_t)out.len, &back), STELE__CODEC_OK);         \
        for (size_t i = 0; i < COUNT; i++) {                                                       \
            item_type zero;                                                                        \
            memset(&zero, 0, sizeof zero);                                                         \
            assert_int_equal(back.nulls[i], nulls[i]);                                             \
            assert_memory_equal(&back.items[i], nulls[i] ? &zero : &items[i], sizeof zero);        \
        }                                                                                          \
        refuse_truncations(TYPE, out.data, (size_t)out.len);                                       \
        given.count = 0;                                                                           \
        assert_int_equal(encode(TYPE, &given, &out), STELE__CODEC_OK);                             \
        assert_int_equal(out.len, 12);                                                             \
        assert_int_equal(decode(TYPE, out.data, 12, &back), STELE__CODEC_OK);                      \
        assert_int_equal(back.count, 0);                                                           \
        assert_non_null(back.items);                                                               \
        assert_null(back.nulls);                                                                   \
        refuse_truncations(TYPE, out.data, 12);                                                    \
    } while (0)

static void fixed_widths(void **state)
{
    (void)state;
    round_trip(STELE_GEN_BOOL, stele_bool_array, bool, true, false, true);
    round_trip(STELE_GEN_INT2, stele_i16_array, int16_t, INT16_MIN, 1, INT16_MAX);
    round_trip(STELE_GEN_INT4, stele_i32_array, int32_t, INT32_MIN, 1, INT32_MAX, 4);
    round_trip(STELE_GEN_INT8, stele_i64_array, int64_t, INT64_MIN, 1, INT64_MAX, 4);
    round_trip(STELE_GEN_FLOAT4, stele_f32_array, float, 1.5f, -2.0f);
    round_trip(STELE_GEN_FLOAT8, stele_f64_array, double, 1.5, 2.0, -0.0);
    round_trip(STELE_GEN_DATE, stele_date_array, stele_date, 0, 1, STELE_DATE_INFINITY);
    round_trip(STELE_GEN_TIME, stele_time_array, stele_time, 0, 1, 86400000000);
    round_trip(STELE_GEN_TIMESTAMP, stele_ts_array, stele_ts, 0, 1, STELE_TS_NEG_INFINITY);
    round_trip(STELE_GEN_TIMESTAMPTZ, stele_ts_array, stele_ts, 0, 1, STELE_TS_INFINITY, -1);
    round_trip(STELE_GEN_INTERVAL, stele_interval_array, stele_interval, {1, 2, 3}, {-4, -5, -6});
    round_trip(STELE_GEN_UUID, stele_uuid_array, stele_uuid, {{1, 2}}, {{3}}, {{4}});
    round_trip(STELE_GEN_INET, stele_inet_array, stele_inet, {4, 32, {1, 2, 3, 4}}, {6, 0, {0}});
}

static void texts(void **state)
{
    (void)state;
    static const uint8_t types[] = {STELE_GEN_TEXT, STELE_GEN_BPCHAR, STELE_GEN_JSON,
                                    STELE_GEN_JSONB, STELE_GEN_NUMERIC};
    const stele_str items[] = {
        stele_s("1"), {NULL, 0}, stele_s("-20.50"), {NULL, 0}, stele_s("3333333333")};
    stele_str_array given = {items, NULL, 5};
    for (size_t t = 0; t < sizeof types; t++) {
        stele__encoded out;
        stele_str_array back;
        assert_int_equal(encode(types[t], &given, &out), STELE__CODEC_OK);
        /* With the terminator behind it, as libpq has it. */
        char *data = stele__block_strndup(&memory, out.data, (size_t)out.len);
        assert_int_equal(decode(types[t], data, (size_t)out.len, &back), STELE__CODEC_OK);
        assert_int_equal(back.count, 5);
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(back.nulls[i], items[i].data == NULL);
            if (items[i].data == NULL)
                assert_null(back.items[i].data);
            else
                assert_str(back.items[i], items[i].data); /* terminated, even before a NULL */
        }
        refuse_truncations(types[t], out.data, (size_t)out.len);
    }
}

static void byte_strings(void **state)
{
    (void)state;
    const stele_bytes items[] = {{(const uint8_t *)"a\0b", 3}, {NULL, 0}, {(const uint8_t *)"", 0}};
    stele_bytes_array given = {items, NULL, 3};
    stele_bytes_array back;
    stele__encoded out;
    assert_int_equal(encode(STELE_GEN_BYTEA, &given, &out), STELE__CODEC_OK);
    assert_int_equal(decode(STELE_GEN_BYTEA, out.data, (size_t)out.len, &back), STELE__CODEC_OK);
    assert_int_equal(back.count, 3);
    assert_int_equal(back.items[0].len, 3);
    assert_memory_equal(back.items[0].data, "a\0b", 3);
    assert_true(back.nulls[1]);
    assert_false(back.nulls[2]);
    assert_non_null(back.items[2].data);
    refuse_truncations(STELE_GEN_BYTEA, out.data, (size_t)out.len);
}

static void exact_bytes(void **state)
{
    (void)state;
    static const char expected[] = "\0\0\0\1"
                                   "\0\0\0\1"
                                   "\0\0\0\x19"
                                   "\0\0\0\2"
                                   "\0\0\0\1"
                                   "\0\0\0\2"
                                   "ab"
                                   "\xff\xff\xff\xff";
    const stele_str items[] = {stele_s("ab"), {NULL, 0}};
    stele_str_array given = {items, NULL, 2};
    stele__encoded out;
    assert_int_equal(encode(STELE_GEN_TEXT, &given, &out), STELE__CODEC_OK);
    assert_int_equal(out.len, sizeof expected - 1);
    assert_memory_equal(out.data, expected, sizeof expected - 1);
}

static void literals(void **state)
{
    (void)state;
    const int values[] = {1, 3, 2, 1};
    const bool nulls[] = {false, false, false, true};
    stele_i32_array enums = {values, nulls, 4};
    stele__encoded out;
    assert_int_equal(encode(STELE_GEN_ENUM, &enums, &out), STELE__CODEC_OK);
    assert_int_equal(out.format, 0);
    assert_string_equal(out.data, "{\"open\",\"NULL\",\"pa\\\"id\",NULL}");
    assert_int_equal(out.len, strlen(out.data));
    const stele_str items[] = {stele_s(""), stele_s("\\{,}\""), {NULL, 9}};
    stele_str_array opaque = {items, NULL, 3};
    assert_int_equal(encode(STELE_GEN_OPAQUE, &opaque, &out), STELE__CODEC_OK);
    assert_string_equal(out.data, "{\"\",\"\\\\{,}\\\"\",NULL}");
    opaque.count = 0;
    assert_int_equal(encode(STELE_GEN_OPAQUE, &opaque, &out), STELE__CODEC_OK);
    assert_string_equal(out.data, "{}");
}

static void culprits_are_named(void **state)
{
    (void)state;
    stele__encoded out;
    const int values[] = {1, 0};
    stele_i32_array enums = {values, NULL, 2};
    assert_int_equal(encode(STELE_GEN_ENUM, &enums, &out), STELE__CODEC_LABEL);
    assert_int_equal(out.where, 1);
    const stele_str texts_[] = {stele_s("1"), stele_s("2"), stele_s("x")};
    stele_str_array array = {texts_, NULL, 3};
    assert_int_equal(encode(STELE_GEN_NUMERIC, &array, &out), STELE__CODEC_VALUE);
    assert_int_equal(out.where, 2);
    const stele_str nul[] = {stele_s("1"), LIT("\0")};
    stele_str_array opaque = {nul, NULL, 2};
    assert_int_equal(encode(STELE_GEN_OPAQUE, &opaque, &out), STELE__CODEC_VALUE);
    assert_int_equal(out.where, 1);
    const stele_ts far[] = {0, 1, INT64_MIN + 1};
    stele_ts_array times = {far, NULL, 3};
    assert_int_equal(encode(STELE_GEN_TIMESTAMP, &times, &out), STELE__CODEC_RANGE);
    assert_int_equal(out.where, 2);
}

static void enums_decode_to_ints(void **state)
{
    (void)state;
    static const char data[] = "\0\0\0\1\0\0\0\1\0\1\2\3\0\0\0\3\0\0\0\1"
                               "\0\0\0\4open\xff\xff\xff\xff\0\0\0\1?";
    stele_i32_array back;
    assert_int_equal(decode(STELE_GEN_ENUM, data, sizeof data - 1, &back), STELE__CODEC_OK);
    assert_int_equal(back.count, 3);
    assert_int_equal(back.items[0], 1);
    assert_int_equal(back.items[1], 0);
    assert_int_equal(back.items[2], 0);
    assert_true(back.nulls[1]);
    assert_false(back.nulls[2]);
}

static void odd_headers(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t len;
        int code;
    } cases[] = {
#define CASE(bytes, code) {bytes, sizeof(bytes) - 1, code}
        CASE("\0\0\0\2\0\0\0\0\0\0\0\x17\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1", STELE__CODEC_DIMENSIONS),
        CASE("\0\0\0\1\0\0\0\2\0\0\0\x17\0\0\0\0\0\0\0\1", STELE__CODEC_VALUE),
        CASE("\0\0\0\1\0\0\0\0\0\0\0\x14\0\0\0\0\0\0\0\1", STELE__CODEC_ELEMENT),
        CASE("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\0\0\0\0\1", STELE__CODEC_OK),
        CASE("\0\0\0\1\0\0\0\0\0\0\0\x17\xff\xff\xff\xff\0\0\0\1", STELE__CODEC_LENGTH),
        CASE("\0\0\0\1\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\1\0\0\0\0", STELE__CODEC_LENGTH),
        CASE("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\x80\0\0\0", STELE__CODEC_LENGTH),
        CASE("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\0\0\0\2\0\0", STELE__CODEC_LENGTH),
        CASE("\xff\xff\xff\xff\0\0\0\0\0\0\0\x17", STELE__CODEC_DIMENSIONS),
#undef CASE
    };
    stele_i32_array back;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(decode(STELE_GEN_INT4, cases[i].data, cases[i].len, &back), cases[i].code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_widths),
        cmocka_unit_test(texts),
        cmocka_unit_test(byte_strings),
        cmocka_unit_test(exact_bytes),
        cmocka_unit_test(literals),
        cmocka_unit_test(culprits_are_named),
        cmocka_unit_test(enums_decode_to_ints),
        cmocka_unit_test(odd_headers),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
