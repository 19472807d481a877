#include "codec_internal.h"
#include "unit.h"

static stele__block memory;

static int clean(void **state)
{
    (void)state;
    stele__block_release(&memory);
    return 0;
}

typedef struct wire {
    int count;
    int weight;
    unsigned sign;
    int scale;
    uint16_t groups[8];
} wire;

static size_t pack(const wire *w, char out[32])
{
    stele__put_be16(out, (uint16_t)w->count);
    stele__put_be16(out + 2, (uint16_t)w->weight);
    stele__put_be16(out + 4, (uint16_t)w->sign);
    stele__put_be16(out + 6, (uint16_t)w->scale);
    for (int i = 0; i < w->count; i++)
        stele__put_be16(out + 8 + 2 * i, w->groups[i]);
    return 8 + 2 * (size_t)w->count;
}

static int read_wire(const wire *w, stele_str *ret_text)
{
    char bytes[32];
    size_t len = pack(w, bytes);
    return stele__decode_value(STELE_GEN_NUMERIC, NULL, bytes, len, ret_text, stele__block_mem,
                               &memory);
}

/* Text that the server prints, and what it looks like on the wire. */
static void both_ways(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        wire w;
    } cases[] = {
        {"0", {0, 0, 0, 0, {0}}},
        {"0.00", {0, 0, 0, 2, {0}}},
        {"1", {1, 0, 0, 0, {1}}},
        {"-1", {1, 0, 0x4000, 0, {1}}},
        {"10000", {1, 1, 0, 0, {1}}},
        {"123456", {2, 1, 0, 0, {12, 3456}}},
        {"12.50", {2, 0, 0, 2, {12, 5000}}},
        {"0.1", {1, -1, 0, 1, {1000}}},
        {"0.00001", {1, -2, 0, 5, {1000}}},
        {"-0.00000001000", {1, -2, 0x4000, 11, {1}}},
        {"100000000.0000", {1, 2, 0, 4, {1}}},
        {"12345678.87654321", {4, 1, 0, 8, {1234, 5678, 8765, 4321}}},
        {"NaN", {0, 0, 0xC000, 0, {0}}},
        {"Infinity", {0, 0, 0xD000, 0, {0}}},
        {"-Infinity", {0, 0, 0xF000, 0, {0}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[32];
        size_t len = pack(&cases[i].w, bytes);
        stele_str text = stele_s(cases[i].text);
        stele__encoded out;
        assert_int_equal(stele__encode_value(STELE_GEN_NUMERIC, NULL, &text, &out, &memory),
                         STELE__CODEC_OK);
        assert_int_equal(out.format, 1);
        assert_int_equal(out.len, len);
        assert_memory_equal(out.data, bytes, len);
        assert_int_equal(read_wire(&cases[i].w, &text), STELE__CODEC_OK);
        assert_str(text, cases[i].text);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(stele__decode_value(STELE_GEN_NUMERIC, NULL, bytes, cut, &text,
                                                 stele__block_mem, &memory),
                             STELE__CODEC_LENGTH);
    }
}

/* Other spellings of the same numbers. */
static void spellings(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"+1", "1"},
        {" 1 ", "1"},
        {"001", "1"},
        {".5", "0.5"},
        {"5.", "5"},
        {"1e3", "1000"},
        {"1.5e3", "1500"},
        {"1.50e1", "15.0"},
        {"15e-1", "1.5"},
        {"-0", "0"},
        {"-0.0", "0.0"},
        {"1E+2", "100"},
        {"0e5", "0"},
        {"0e-5", "0.00000"},
        {"inf", "Infinity"},
        {"-INF", "-Infinity"},
        {"nan", "NaN"},
        {"+Infinity", "Infinity"},
        {"1e-10", "0.0000000001"},
        {"00000.00010", "0.00010"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        stele_str text = stele_s(pairs[i][0]);
        stele__encoded out;
        assert_int_equal(stele__encode_value(STELE_GEN_NUMERIC, NULL, &text, &out, &memory),
                         STELE__CODEC_OK);
        assert_int_equal(stele__decode_value(STELE_GEN_NUMERIC, NULL, out.data, (size_t)out.len,
                                             &text, stele__block_mem, &memory),
                         STELE__CODEC_OK);
        assert_str(text, pairs[i][1]);
    }
}

/* What no server sends: still read without harm, or refused. */
static void odd_wire(void **state)
{
    (void)state;
    stele_str text;
    wire leading = {3, 2, 0x4000, 1, {0, 0, 7}};
    assert_int_equal(read_wire(&leading, &text), STELE__CODEC_OK);
    assert_str(text, "-7.0");
    wire hidden = {1, -1, 0x4000, 2, {42}}; /* -0.0042, of which two digits are shown */
    assert_int_equal(read_wire(&hidden, &text), STELE__CODEC_OK);
    assert_str(text, "0.00");
    wire zeros = {2, 5, 0x4000, 0, {0, 0}};
    assert_int_equal(read_wire(&zeros, &text), STELE__CODEC_OK);
    assert_str(text, "0");
    wire lowest = {1, INT16_MIN, 0, 3, {1}};
    assert_int_equal(read_wire(&lowest, &text), STELE__CODEC_OK);
    assert_str(text, "0.000");
    wire highest = {1, INT16_MAX, 0, 0x3FFF, {9999}};
    assert_int_equal(read_wire(&highest, &text), STELE__CODEC_OK);
    assert_int_equal(text.len, 4 * 32768 + 1 + 0x3FFF);
    wire group = {1, 0, 0, 0, {10000}};
    assert_int_equal(read_wire(&group, &text), STELE__CODEC_VALUE);
    wire sign = {1, 0, 0x8000, 0, {1}};
    assert_int_equal(read_wire(&sign, &text), STELE__CODEC_VALUE);
    wire scale = {1, 0, 0, 0x4000, {1}};
    assert_int_equal(read_wire(&scale, &text), STELE__CODEC_VALUE);
}

static void limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        size_t where;
    } bad[] = {
        {"", STELE__CODEC_VALUE, 0},         {"12x", STELE__CODEC_VALUE, 2},
        {"1,5", STELE__CODEC_VALUE, 1},      {" ", STELE__CODEC_VALUE, 1},
        {"--1", STELE__CODEC_VALUE, 1},      {"1.5.", STELE__CODEC_VALUE, 3},
        {"1 x", STELE__CODEC_VALUE, 2},      {"1e", STELE__CODEC_VALUE, 2},
        {"-NaN", STELE__CODEC_VALUE, 1},     {"1e131072", STELE__CODEC_RANGE, 0},
        {"1e-16384", STELE__CODEC_RANGE, 0}, {"1e1000000000", STELE__CODEC_RANGE, 0},
    };
    stele__encoded out;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        stele_str text = stele_s(bad[i].text);
        out.where = 0;
        assert_int_equal(stele__encode_value(STELE_GEN_NUMERIC, NULL, &text, &out, &memory),
                         bad[i].code);
        if (bad[i].code == STELE__CODEC_VALUE)
            assert_int_equal(out.where, bad[i].where);
    }
    stele_str edges[] = {stele_s("1e131071"), stele_s("1e-16383")};
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(stele__encode_value(STELE_GEN_NUMERIC, NULL, &edges[i], &out, &memory),
                         STELE__CODEC_OK);
}

/* Every length and position of the point around the group boundaries fits the bound and comes back. */
static void every_shape(void **state)
{
    (void)state;
    for (size_t whole = 1; whole < 20; whole++) {
        for (size_t fraction = 0; fraction < 20; fraction++) {
            char text[64];
            size_t len = 0;
            for (size_t i = 0; i < whole; i++)
                text[len++] = (char)('1' + i % 9);
            if (fraction > 0)
                text[len++] = '.';
            for (size_t i = 0; i < fraction; i++)
                text[len++] = (char)('0' + (i + whole) % 10);
            text[len] = '\0';
            char *exact = malloc(stele__numeric_bound(len));
            assert_non_null(exact);
            size_t wire_len, where;
            assert_int_equal(stele__numeric_write(stele_s(text), exact, &wire_len, &where),
                             STELE__CODEC_OK);
            stele_str back;
            assert_int_equal(stele__numeric_read(exact, wire_len, &back, stele__block_mem, &memory),
                             STELE__CODEC_OK);
            assert_str(back, text);
            free(exact);
        }
    }
}

static void too_many_digits_for_binary(void **state)
{
    (void)state;
    char text[12010];
    memset(text, '7', sizeof text);
    stele_str most = {text, 12000};
    stele__encoded out;
    assert_int_equal(stele__encode_value(STELE_GEN_NUMERIC, NULL, &most, &out, &memory),
                     STELE__CODEC_OK);
    assert_int_equal(out.format, 1);
    assert_int_equal(out.len, 8 + 2 * 3000);
    stele_str more = {text, 12001};
    assert_int_equal(stele__encode_value(STELE_GEN_NUMERIC, NULL, &more, &out, &memory),
                     STELE__CODEC_OK);
    assert_int_equal(out.format, 0);
    assert_int_equal(out.len, 12001);
    assert_int_equal(out.data[12001], 0);
    stele_str items[] = {stele_s("1"), more, stele_s(NULL)};
    stele_str_array array = {items, NULL, 3};
    assert_int_equal(
        stele__encode_value(STELE_GEN_NUMERIC | STELE_GEN_ARRAY, NULL, &array, &out, &memory),
        STELE__CODEC_OK);
    assert_int_equal(out.format, 0);
    assert_int_equal(out.len, 1 + 3 + 1 + 12003 + 1 + 4 + 1);
    assert_memory_equal(out.data, "{\"1\",\"777", 9);
    assert_string_equal(out.data + out.len - 7, "\",NULL}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),   cmocka_unit_test(spellings),
        cmocka_unit_test(odd_wire),    cmocka_unit_test(limits),
        cmocka_unit_test(every_shape), cmocka_unit_test(too_many_digits_for_binary),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}
