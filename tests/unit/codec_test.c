#include "codec_internal.h"
#include "unit.h"

static const char *const names[] = {"open", "paid"};
static const stele_gen_enum labels = {"status", names, 2};

static stele__block memory;

static int clean(void **state)
{
    (void)state;
    stele__block_release(&memory);
    return 0;
}

/* Decodes a copy of exactly `len` bytes on the heap, so that a sanitizer sees a byte read too far. */
static int decode(uint8_t type, const char *data, size_t len, void *ret_value)
{
    char *exact = malloc(len != 0 ? len : 1);
    assert_non_null(exact);
    memcpy(exact, data, len);
    char *kept = stele__block_strndup(&memory, data, len);
    unsigned char probe[32];
    int code = stele__decode_value(type, &labels, exact, len, probe, stele__block_mem, &memory);
    free(exact);
    int again = stele__decode_value(type, &labels, kept, len, ret_value, stele__block_mem, &memory);
    assert_int_equal(code, again);
    return code;
}

/* The encoded bytes in a heap copy of their exact length. */
static int encode(uint8_t type, const void *value, stele__encoded *out)
{
    memset(out, 0x55, sizeof *out);
    return stele__encode_value(type, &labels, value, out, &memory);
}

#define assert_bytes(out, bytes)                                                                   \
    do {                                                                                           \
        assert_int_equal((out).format, 1);                                                         \
        assert_int_equal((out).len, sizeof(bytes) - 1);                                            \
        assert_memory_equal((out).data, (bytes), sizeof(bytes) - 1);                               \
    } while (0)

/* Encodes a value, expects `bytes`, decodes them again, and tries every shorter and a longer input. */
static void check_both_ways(uint8_t type, const void *value, size_t size, const char *bytes,
                            size_t bytes_len)
{
    unsigned char back[32];
    stele__encoded out;
    assert_int_equal(encode(type, value, &out), STELE__CODEC_OK);
    assert_int_equal(out.format, 1);
    assert_int_equal(out.len, bytes_len);
    assert_memory_equal(out.data, bytes, bytes_len);
    assert_int_equal(decode(type, bytes, bytes_len, back), STELE__CODEC_OK);
    assert_memory_equal(value, back, size);
    for (size_t len = 0; len < bytes_len; len++)
        assert_int_equal(decode(type, bytes, len, back), STELE__CODEC_LENGTH);
    assert_int_equal(decode(type, bytes, bytes_len + 1, back), STELE__CODEC_LENGTH);
}

#define both_ways(type, c_type, value, bytes)                                                      \
    do {                                                                                           \
        const c_type given[1] = {value};                                                           \
        check_both_ways(type, given, sizeof(c_type), bytes, sizeof(bytes) - 1);                    \
    } while (0)

static void fixed_widths(void **state)
{
    (void)state;
    both_ways(STELE_GEN_BOOL, bool, true, "\x01");
    both_ways(STELE_GEN_BOOL, bool, false, "\x00");
    both_ways(STELE_GEN_INT2, int16_t, INT16_MIN, "\x80\x00");
    both_ways(STELE_GEN_INT4, int32_t, 0x01020304, "\x01\x02\x03\x04");
    both_ways(STELE_GEN_INT4, int32_t, -1, "\xff\xff\xff\xff");
    both_ways(STELE_GEN_INT8, int64_t, INT64_MIN, "\x80\0\0\0\0\0\0\0");
    both_ways(STELE_GEN_INT8, int64_t, 0x0102030405060708, "\x01\x02\x03\x04\x05\x06\x07\x08");
    both_ways(STELE_GEN_FLOAT4, float, 1.5f, "\x3f\xc0\0\0");
    both_ways(STELE_GEN_FLOAT8, double, -0.0, "\x80\0\0\0\0\0\0\0");
    both_ways(STELE_GEN_DATE, int32_t, 10957, "\0\0\0\0");
    both_ways(STELE_GEN_DATE, int32_t, 0, "\xff\xff\xd5\x33");
    both_ways(STELE_GEN_DATE, int32_t, STELE_DATE_INFINITY, "\x7f\xff\xff\xff");
    both_ways(STELE_GEN_DATE, int32_t, STELE_DATE_NEG_INFINITY, "\x80\0\0\0");
    both_ways(STELE_GEN_TIME, int64_t, 1, "\0\0\0\0\0\0\0\x01");
    both_ways(STELE_GEN_TIME, int64_t, 86400000000, "\0\0\0\x14\x1d\xd7\x60\0");
    both_ways(STELE_GEN_TIMESTAMP, int64_t, 946684800000001, "\0\0\0\0\0\0\0\x01");
    both_ways(STELE_GEN_TIMESTAMPTZ, int64_t, 0, "\xff\xfc\xa2\xfe\xc4\xc8\x20\0");
    both_ways(STELE_GEN_TIMESTAMPTZ, int64_t, STELE_TS_INFINITY,
              "\x7f\xff\xff\xff\xff\xff\xff\xff");
    both_ways(STELE_GEN_TIMESTAMP, int64_t, STELE_TS_NEG_INFINITY, "\x80\0\0\0\0\0\0\0");
    both_ways(STELE_GEN_UUID, stele_uuid, {"0123456789abcdef"}, "0123456789abcdef");
}

static void intervals(void **state)
{
    (void)state;
    static const char bytes[] = "\0\0\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0\0\x03";
    stele_interval interval = {1, -2, 3};
    stele_interval back;
    stele__encoded out;
    assert_int_equal(encode(STELE_GEN_INTERVAL, &interval, &out), STELE__CODEC_OK);
    assert_bytes(out, bytes);
    assert_int_equal(decode(STELE_GEN_INTERVAL, bytes, 16, &back), STELE__CODEC_OK);
    assert_memory_equal(&back, &interval, sizeof back);
    assert_int_equal(decode(STELE_GEN_INTERVAL, bytes, 15, &back), STELE__CODEC_LENGTH);
}

static void out_of_range(void **state)
{
    (void)state;
    stele__encoded out;
    int64_t ts = STELE__TS_MIN - 1;
    assert_int_equal(encode(STELE_GEN_TIMESTAMP, &ts, &out), STELE__CODEC_RANGE);
    ts = INT64_MIN + 1;
    assert_int_equal(encode(STELE_GEN_TIMESTAMPTZ, &ts, &out), STELE__CODEC_RANGE);
    ts = STELE__TS_MIN;
    assert_int_equal(encode(STELE_GEN_TIMESTAMP, &ts, &out), STELE__CODEC_OK);
    ts = INT64_MAX - 1;
    assert_int_equal(encode(STELE_GEN_TIMESTAMP, &ts, &out), STELE__CODEC_OK);
    assert_int_equal(decode(STELE_GEN_TIMESTAMP, out.data, 8, &ts), STELE__CODEC_OK);
    assert_true(ts == INT64_MAX - 1);
    char bytes[8];
    stele__put_be64(bytes, (uint64_t)(INT64_MAX - STELE__EPOCH_MICROS));
    assert_int_equal(decode(STELE_GEN_TIMESTAMP, bytes, 8, &ts), STELE__CODEC_RANGE);
    stele__put_be64(bytes, (uint64_t)(INT64_MAX - 1));
    assert_int_equal(decode(STELE_GEN_TIMESTAMP, bytes, 8, &ts), STELE__CODEC_RANGE);
    int32_t date = STELE__DATE_MIN - 1;
    assert_int_equal(encode(STELE_GEN_DATE, &date, &out), STELE__CODEC_RANGE);
    date = STELE__DATE_MAX + 1;
    assert_int_equal(encode(STELE_GEN_DATE, &date, &out), STELE__CODEC_RANGE);
    date = STELE__DATE_MAX;
    assert_int_equal(encode(STELE_GEN_DATE, &date, &out), STELE__CODEC_OK);
    assert_int_equal(decode(STELE_GEN_DATE, out.data, 4, &date), STELE__CODEC_OK);
    assert_int_equal(date, STELE__DATE_MAX);
    assert_int_equal(decode(STELE_GEN_DATE, "\x7f\xff\xff\xfe", 4, &date), STELE__CODEC_RANGE);
    int64_t time = 86400000001;
    assert_int_equal(encode(STELE_GEN_TIME, &time, &out), STELE__CODEC_RANGE);
    time = -1;
    assert_int_equal(encode(STELE_GEN_TIME, &time, &out), STELE__CODEC_RANGE);
    assert_int_equal(decode(STELE_GEN_TIME, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, &time),
                     STELE__CODEC_RANGE);
}

static void inets(void **state)
{
    (void)state;
    stele_inet v4 = {4, 8, {10}};
    stele_inet v6 = {6, 128, {0x20, 1, [15] = 9}};
    both_ways(STELE_GEN_INET, stele_inet, v4, "\x02\x08\x00\x04\x0a\0\0\0");
    both_ways(STELE_GEN_INET, stele_inet, v6,
              "\x03\x80\x00\x10\x20\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x09");
    stele_inet back;
    assert_int_equal(decode(STELE_GEN_INET, "\x02\x08\x01\x04\x0a\0\0\0", 8, &back),
                     STELE__CODEC_OK); /* cidr */
    assert_int_equal(decode(STELE_GEN_INET, "\x04\x08\x00\x04\x0a\0\0\0", 8, &back),
                     STELE__CODEC_VALUE);
    assert_int_equal(decode(STELE_GEN_INET, "\x02\x21\x00\x04\x0a\0\0\0", 8, &back),
                     STELE__CODEC_VALUE);
    assert_int_equal(decode(STELE_GEN_INET, "\x02\x20\x00\x10\x0a\0\0\0", 8, &back),
                     STELE__CODEC_LENGTH);
    stele__encoded out;
    v4.bits = 33;
    assert_int_equal(encode(STELE_GEN_INET, &v4, &out), STELE__CODEC_RANGE);
    v4.family = 0;
    assert_int_equal(encode(STELE_GEN_INET, &v4, &out), STELE__CODEC_VALUE);
}

static void texts_are_views(void **state)
{
    (void)state;
    static const uint8_t types[] = {STELE_GEN_TEXT, STELE_GEN_BPCHAR, STELE_GEN_JSON};
    static const char data[] = "text";
    stele_str str;
    stele__encoded out;
    for (size_t i = 0; i < sizeof types; i++) {
        assert_int_equal(stele__decode_value(types[i], NULL, data, 4, &str, NULL, NULL),
                         STELE__CODEC_OK);
        assert_ptr_equal(str.data, data);
        assert_str(str, "text");
        assert_int_equal(encode(types[i], &str, &out), STELE__CODEC_OK);
        assert_ptr_equal(out.data, data);
        assert_bytes(out, "text");
    }
    assert_int_equal(stele__decode_value(STELE_GEN_OPAQUE, NULL, data, 4, &str, NULL, NULL),
                     STELE__CODEC_OK);
    assert_ptr_equal(str.data, data);
    stele_bytes bytes;
    assert_int_equal(stele__decode_value(STELE_GEN_BYTEA, NULL, data, 0, &bytes, NULL, NULL),
                     STELE__CODEC_OK);
    assert_ptr_equal(bytes.data, data);
    assert_int_equal(bytes.len, 0);
    assert_int_equal(encode(STELE_GEN_BYTEA, &bytes, &out), STELE__CODEC_OK);
    assert_ptr_equal(out.data, data);
    assert_int_equal(out.len, 0);
}

static void jsonb_has_a_version(void **state)
{
    (void)state;
    stele_str str = LIT("{}");
    stele__encoded out;
    assert_int_equal(encode(STELE_GEN_JSONB, &str, &out), STELE__CODEC_OK);
    assert_bytes(out, "\x01{}");
    assert_int_equal(decode(STELE_GEN_JSONB, "\x01{}", 3, &str), STELE__CODEC_OK);
    assert_str(str, "{}");
    assert_int_equal(decode(STELE_GEN_JSONB, "\x02{}", 3, &str), STELE__CODEC_VALUE);
    assert_int_equal(decode(STELE_GEN_JSONB, "", 0, &str), STELE__CODEC_LENGTH);
}

static void opaque_goes_as_text(void **state)
{
    (void)state;
    stele_str str = {"citext!", 6};
    stele__encoded out;
    assert_int_equal(encode(STELE_GEN_OPAQUE, &str, &out), STELE__CODEC_OK);
    assert_int_equal(out.format, 0);
    assert_int_equal(out.len, 6);
    assert_string_equal(out.data, "citext");
    str = LIT("a\0b");
    assert_int_equal(encode(STELE_GEN_OPAQUE, &str, &out), STELE__CODEC_VALUE);
    assert_int_equal(out.where, 1);
    str = LIT("");
    assert_int_equal(encode(STELE_GEN_OPAQUE, &str, &out), STELE__CODEC_OK);
    assert_string_equal(out.data, "");
}

static void enums(void **state)
{
    (void)state;
    stele__encoded out;
    int value = 2;
    assert_int_equal(encode(STELE_GEN_ENUM, &value, &out), STELE__CODEC_OK);
    assert_bytes(out, "paid");
    for (value = -1; value <= 3; value += value == 0 ? 3 : 1)
        assert_int_equal(encode(STELE_GEN_ENUM, &value, &out), STELE__CODEC_LABEL);
    assert_int_equal(decode(STELE_GEN_ENUM, "open", 4, &value), STELE__CODEC_OK);
    assert_int_equal(value, 1);
    assert_int_equal(decode(STELE_GEN_ENUM, "shut", 4, &value), STELE__CODEC_OK);
    assert_int_equal(value, 0);
}

static void no_data_is_null(void **state)
{
    (void)state;
    static const uint8_t types[] = {
        STELE_GEN_TEXT,    STELE_GEN_BPCHAR, STELE_GEN_JSON,   STELE_GEN_JSONB,
        STELE_GEN_NUMERIC, STELE_GEN_BYTEA,  STELE_GEN_OPAQUE, STELE_GEN_TEXT | STELE_GEN_ARRAY};
    stele_str_array null = {NULL, NULL, 0}; /* as long as any of them */
    for (size_t i = 0; i < sizeof types; i++) {
        stele__encoded out;
        assert_int_equal(encode(types[i], &null, &out), STELE__CODEC_OK);
        assert_null(out.data);
    }
}

static void too_long_for_the_server(void **state)
{
    (void)state;
    static const uint8_t types[] = {STELE_GEN_TEXT,  STELE_GEN_JSON,   STELE_GEN_JSONB,
                                    STELE_GEN_BYTEA, STELE_GEN_OPAQUE, STELE_GEN_NUMERIC};
    static const size_t lengths[] = {(size_t)STELE__VALUE_MAX + 1, (size_t)INT32_MAX + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof types; i++) {
        for (size_t k = 0; k < 3; k++) {
            stele_str str = {"x", lengths[k]}; /* never read */
            stele__encoded out;
            assert_int_equal(encode(types[i], &str, &out), STELE__CODEC_TOO_LONG);
            stele_str_array array = {&str, NULL, 1};
            assert_int_equal(encode((uint8_t)(STELE_GEN_TEXT | STELE_GEN_ARRAY), &array, &out),
                             STELE__CODEC_TOO_LONG);
        }
    }
}

static void layouts(void **state)
{
    (void)state;
#define CHECK(name, type, oid_, array_oid)                                                         \
    assert_int_equal(stele__layout_of(STELE_GEN_##name)->size, sizeof(type));                      \
    assert_int_equal(stele__type_oid(STELE_GEN_##name), oid_);                                     \
    assert_int_equal(stele__type_oid(STELE_GEN_##name | STELE_GEN_ARRAY), array_oid);              \
    assert_int_equal(stele__layout_of(STELE_GEN_##name | STELE_GEN_ARRAY)->size,                   \
                     sizeof(stele_i64_array));                                                     \
    assert_true(stele__type_valid(STELE_GEN_##name | STELE_GEN_ARRAY));
    STELE_GEN_TYPE_MAP(CHECK)
#undef CHECK
    assert_int_equal(stele__layout_of(STELE_GEN_BOOL)->opt, offsetof(stele_opt_bool, v));
    assert_int_equal(stele__layout_of(STELE_GEN_TIMESTAMP)->opt, offsetof(stele_opt_ts, v));
    assert_int_equal(stele__layout_of(STELE_GEN_UUID)->opt, offsetof(stele_opt_uuid, v));
    assert_int_equal(stele__layout_of(STELE_GEN_TEXT)->opt, 0);
    assert_int_equal(stele__layout_of(STELE_GEN_TEXT)->in, offsetof(stele_in_str_n, v));
    assert_int_equal(stele__layout_of(STELE_GEN_UUID)->in, offsetof(stele_in_uuid, v));
    assert_false(stele__type_valid(STELE_GEN_TYPE_COUNT));
    char byte = 0;
    int64_t value = 0;
    stele__encoded out;
    assert_int_equal(decode(STELE_GEN_TYPE_COUNT, &byte, 1, &value), STELE__CODEC_TYPE);
    assert_int_equal(encode(STELE_GEN_TYPE_COUNT, &value, &out), STELE__CODEC_TYPE);
    assert_int_equal(decode(STELE_GEN_TYPE_COUNT | STELE_GEN_ARRAY, &byte, 1, &value),
                     STELE__CODEC_TYPE);
    for (int code = 0; code <= STELE__CODEC_NOMEM; code++)
        assert_non_null(stele__codec_text(code));
    assert_string_equal(stele__codec_text(STELE__CODEC_RANGE), "value out of range");
    assert_string_equal(stele__codec_text(999), "unknown codec error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_widths),
        cmocka_unit_test(intervals),
        cmocka_unit_test(out_of_range),
        cmocka_unit_test(inets),
        cmocka_unit_test(texts_are_views),
        cmocka_unit_test(jsonb_has_a_version),
        cmocka_unit_test(opaque_goes_as_text),
        cmocka_unit_test(enums),
        cmocka_unit_test(no_data_is_null),
        cmocka_unit_test(too_long_for_the_server),
        cmocka_unit_test(layouts),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
