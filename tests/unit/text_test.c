#include "text_internal.h"
#include "unit.h"

static void builders_grow(void **state)
{
    (void)state;
    stele__buf buf;
    stele__buf_init(&buf);
    assert_string_equal(stele__buf_text(&buf), "");
    stele__buf_add_text(&buf, "a");
    stele__buf_add_text(&buf, NULL);
    stele__buf_add(&buf, "bcd", 2);
    stele__buf_add_char(&buf, '-');
    stele__buf_add_uint(&buf, 0);
    stele__buf_add_uint(&buf, UINT64_MAX);
    stele__buf_addf(&buf, "[%s %d]", "x", 7);
    assert_string_equal(stele__buf_text(&buf), "abc-018446744073709551615[x 7]");
    stele__buf_reset(&buf);
    assert_string_equal(stele__buf_text(&buf), "");
    char expected[3001];
    for (unsigned i = 0; i < 300; i++) {
        stele__buf_addf(&buf, "%010u", i);
        snprintf(expected + 10 * i, 11, "%010u", i);
    }
    assert_int_equal(buf.len, 3000);
    assert_string_equal(stele__buf_text(&buf), expected);
    char *taken = stele__buf_take(&buf);
    assert_string_equal(taken, expected);
    stele__free(taken);
    taken = stele__buf_take(&buf);
    assert_string_equal(taken, "");
    stele__free(taken);
    assert_false(stele__buf_reserve(&buf, SIZE_MAX));
    assert_true(buf.failed);
    stele__buf_add_text(&buf, "x");
    assert_string_equal(stele__buf_text(&buf), "");
    assert_null(stele__buf_take(&buf));
    stele__buf_release(&buf);
}

static void quoted(void **state)
{
    (void)state;
    stele__buf buf;
    stele__buf_init(&buf);
    stele__buf_add_ident(&buf, "a\"b\"\"", 5);
    assert_string_equal(stele__buf_text(&buf), "\"a\"\"b\"\"\"\"\"");
    stele__buf_reset(&buf);
    stele__buf_add_literal(&buf, "it's", 4);
    assert_string_equal(stele__buf_text(&buf), "'it''s'");
    stele__buf_reset(&buf);
    stele__buf_add_literal(&buf, "", 0);
    assert_string_equal(stele__buf_text(&buf), "''");
    stele__buf_reset(&buf);
    stele__buf_add_literal(&buf, "\\'\\\\x", 5);
    assert_string_equal(stele__buf_text(&buf), " E'\\\\''\\\\\\\\x'");
    stele__buf_release(&buf);
}

static void hashes_are_for_ever(void **state)
{
    (void)state;
    /* These name statements on servers: a change of any is a change of all programs out there. */
    assert_true(stele__hash64(0, "", 0) == UINT64_C(0x2180a92350d49cce));
    assert_true(stele__hash64(0, "stele", 5) == UINT64_C(0x9df2d2c3a624708b));
    assert_true(stele__hash64(1, "stele", 5) == UINT64_C(0xa707d628e5b64117));
    assert_true(stele__hash64(0, "a\0", 2) != stele__hash64(0, "a", 1));
}

/* By the definition, one code point at a time. */
static size_t naive_check(const unsigned char *s, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t need = s[at] < 0x80 ? 1 : s[at] >> 5 == 6 ? 2 : s[at] >> 4 == 14 ? 3 : 4;
        if (s[at] == 0 || (s[at] >= 0x80 && s[at] < 0xc0) || s[at] >= 0xf8 || need > len - at)
            return at;
        uint32_t point = need == 1 ? s[at] : s[at] & (0xffu >> (need + 1));
        for (size_t i = 1; i < need; i++) {
            if (s[at + i] >> 6 != 2)
                return at;
            point = point << 6 | (s[at + i] & 0x3f);
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (point < least[need] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
            return at;
        at += need;
    }
    return len;
}

static void utf8_is_checked(void **state)
{
    (void)state;
    /* Every two-byte and three-byte start, at every distance from a word boundary. */
    for (uint32_t bits = 0; bits < 1u << 24; bits += bits < 1u << 16 ? 1 : 251) {
        unsigned char text[16] = "abcdefghijklmno";
        size_t at = bits % 9;
        text[at] = (unsigned char)(bits >> 16);
        text[at + 1] = (unsigned char)(bits >> 8);
        text[at + 2] = (unsigned char)bits;
        text[at + 3] = (unsigned char)(0x80 + bits % 64);
        size_t len = at + 1 + bits % 5;
        assert_int_equal(stele__utf8_check((const char *)text, len), naive_check(text, len));
    }
    assert_int_equal(stele__utf8_check("", 0), 0);
    assert_int_equal(stele__utf8_check("0123456789abcdef\0", 17), 16);
    assert_int_equal(stele__utf8_check("0123456789\xed\xa0\x80", 13), 10);
    assert_int_equal(stele__utf8_check("\xf4\x8f\xbf\xbf", 4), 4);
    assert_int_equal(stele__utf8_check("\xf4\x90\x80\x80", 4), 0);
    assert_int_equal(stele__utf8_check("\xc0\x80", 2), 0);
    assert_int_equal(stele__utf8_count("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z", 11), 5);
}

static void base64(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},           {"f", "Zg"},
                                           {"fo", "Zm8"},      {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg"}, {"\xff\xef\xbe", "_---"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char out[16];
        uint8_t back[16];
        size_t len = strlen(pairs[i][0]);
        size_t back_len = 99;
        assert_int_equal(stele__base64_encode(pairs[i][0], len, out), strlen(pairs[i][1]));
        assert_string_equal(out, pairs[i][1]);
        assert_true(strlen(out) + 1 <= stele__base64_size(len));
        assert_true(stele__base64_decode(out, strlen(out), back, &back_len));
        assert_int_equal(back_len, len);
        assert_memory_equal(back, pairs[i][0], len);
    }
    uint8_t back[8];
    size_t len;
    assert_false(stele__base64_decode("Z", 1, back, &len));
    assert_false(stele__base64_decode("Zh", 2, back, &len)); /* trailing bits */
    assert_false(stele__base64_decode("Zm9=", 4, back, &len));
    assert_false(stele__base64_decode("Zm+v", 4, back, &len));
    assert_false(stele__base64_decode("Zm9v\0", 5, back, &len));
}

static void hex(void **state)
{
    (void)state;
    char out[9];
    uint8_t back[4];
    stele__hex_encode("\x00\x7f\xff\xa5", 4, out);
    assert_string_equal(out, "007fffa5");
    assert_true(stele__hex_decode("007FfFa5", 8, back));
    assert_memory_equal(back, "\x00\x7f\xff\xa5", 4);
    assert_false(stele__hex_decode("0", 1, back));
    assert_false(stele__hex_decode("0g", 2, back));
    assert_true(stele__hex_decode("", 0, back));
}

static void the_clock_goes_forward(void **state)
{
    (void)state;
    int64_t first = stele__now_ns();
    int64_t second = stele__now_ns();
    assert_true(first > 0);
    assert_true(second >= first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builders_grow),
        cmocka_unit_test(quoted),
        cmocka_unit_test(hashes_are_for_ever),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(base64),
        cmocka_unit_test(hex),
        cmocka_unit_test(the_clock_goes_forward),
    };
    return RUN(tests);
}
