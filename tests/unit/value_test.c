#include "stele/value.h"
#include "unit.h"

static void strs_compare(void **state)
{
    (void)state;
    assert_true(stele_str_eq(stele_s("ab"), LIT("ab")));
    assert_false(stele_str_eq(stele_s("ab"), stele_s("abc")));
    assert_false(stele_str_eq(stele_s("ab"), stele_s("ac")));
    assert_false(stele_str_eq(stele_s(""), stele_s(NULL)));
    assert_true(stele_str_eq(stele_s(NULL), stele_s(NULL)));
    assert_true(stele_str_eq(stele_s(""), stele_s("")));
}

static void inputs_know_their_state(void **state)
{
    (void)state;
    stele_in_i64 unset = {0};
    assert_null(unset.tag);
    assert_ptr_equal(stele_i64_v(5).tag, &stele_tag_value);
    assert_ptr_equal(stele_i64_n_null().tag, &stele_tag_null);
    assert_ptr_equal(stele_ts_now().tag, &stele_tag_now);
    assert_ptr_equal(stele_ts_n_after(stele_days(1)).tag, &stele_tag_after);
    assert_ptr_equal(stele_text_n_of(stele_s(NULL)).tag, &stele_tag_null);
    const void *tags[] = {&stele_tag_value, &stele_tag_null, &stele_tag_now, &stele_tag_after};
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = i + 1; k < 4; k++)
            assert_ptr_not_equal(tags[i], tags[k]);
    }
}

static void uuids(void **state)
{
    (void)state;
    static const char text[] = "00112233-4455-6677-8899-aabbccddeeff";
    static const char *const good[] = {
        "00112233-4455-6677-8899-aabbccddeeff",   "00112233445566778899AABBCCDDEEFF",
        "{00112233-4455-6677-8899-aabbccddeeff}", "0011-2233-4455-6677-8899-aabb-ccdd-eeff",
        "00112233-44556677-8899aabb-ccddeeff",
    };
    static const char *const bad[] = {
        "",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeefff",
        "{00112233-4455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeeff}",
        "0-0112233445566778899aabbccddeeff",
        "00112233--4455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeefg",
        "00112233-4455-6677-8899-aabbccddeeff-",
        "{}",
    };
    stele_uuid uuid;
    char buf[STELE_UUID_TEXT_SIZE];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(stele_uuid_parse(stele_s(good[i]), &uuid), STELE_OK);
        assert_string_equal(stele_uuid_format(uuid, buf), text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(stele_uuid_parse(stele_s(bad[i]), &uuid), STELE_E_INPUT);
    assert_int_equal(stele_uuid_parse(stele_s(NULL), &uuid), STELE_E_INPUT);
    stele_uuid other;
    assert_int_equal(stele_uuid_v4(&uuid), STELE_OK);
    assert_int_equal(stele_uuid_v4(&other), STELE_OK);
    assert_memory_not_equal(&uuid, &other, sizeof uuid);
    assert_int_equal(uuid.bytes[6] >> 4, 4);
    assert_int_equal(uuid.bytes[8] >> 6, 2);
}

static const char *const inet_texts[][2] = {
    {"10.0.0.1", "10.0.0.1"},
    {"10.0.0.0/8", "10.0.0.0/8"},
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"255.255.255.255/32", "255.255.255.255"},
    {"::", "::"},
    {"::1", "::1"},
    {"::/0", "::/0"},
    {"1::", "1::"},
    {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
    {"2001:DB8:0:0:1:0:0:1/64", "2001:db8::1:0:0:1/64"},
    {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
    {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
    {"::ffff:102:304", "::ffff:1.2.3.4"},
    {"::1.2.3.4", "::1.2.3.4"},
    {"1:2:3:4:5:6:1.2.3.4/128", "1:2:3:4:5:6:102:304"},
};

static const char *const no_inets[] = {
    "",
    "1.2.3",
    "1.2.3.4.5",
    "256.0.0.1",
    "01.2.3.4",
    "1.2.3.4/33",
    "1.2.3.4/",
    "1.2.3.4/-1",
    "1.2.3.4 ",
    ":",
    ":::",
    "1:",
    "1:2",
    "1::2::3",
    "12345::",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "g::",
    "::1/129",
    "::1/",
    "1.2.3.4::",
    "::1.2.3",
    "::1:2.3.4.5.6",
    "1:2:3:4:5:6:7:1.2.3.4",
    "1:/8",
};

static void inets(void **state)
{
    (void)state;
    stele_inet inet;
    char buf[STELE_INET_TEXT_SIZE];
    for (size_t i = 0; i < sizeof inet_texts / sizeof *inet_texts; i++) {
        assert_int_equal(stele_inet_parse(stele_s(inet_texts[i][0]), &inet), STELE_OK);
        assert_string_equal(stele_inet_format(inet, buf), inet_texts[i][1]);
    }
    for (size_t i = 0; i < sizeof no_inets / sizeof *no_inets; i++)
        assert_int_equal(stele_inet_parse(stele_s(no_inets[i]), &inet), STELE_E_INPUT);
    assert_int_equal(stele_inet_parse(stele_s(NULL), &inet), STELE_E_INPUT);
    memset(&inet, 0, sizeof inet);
    assert_string_equal(stele_inet_format(inet, buf), "");
    memset(&inet, 0xff, sizeof inet);
    inet.family = 6;
    assert_string_equal(stele_inet_format(inet, buf),
                        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/255");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strs_compare),
        cmocka_unit_test(inputs_know_their_state),
        cmocka_unit_test(uuids),
        cmocka_unit_test(inets),
    };
    return RUN(tests);
}
