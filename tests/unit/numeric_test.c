#include <math.h>

#include "stele/value.h"
#include "unit.h"

static const struct {
    const char *text;
    int scale;
    int64_t value;
} integers[] = {
    {"0", 0, 0},
    {"-0.00", 0, 0},
    {"12.50", 2, 1250},
    {"12.5", 1, 125},
    {"12.50", 1, 125},
    {"-12", 3, -12000},
    {"12000", -3, 12},
    {"9223372036854775807", 0, INT64_MAX},
    {"-9223372036854775808", 0, INT64_MIN},
    {"-9223372036854775808.000", 0, INT64_MIN},
    {"92233720368547758.07", 2, INT64_MAX},
    {"000000000000000000000000000000012", 0, 12},
    {"+5", 0, 5},
    {".5", 1, 5},
    {"5.", 0, 5},
    {"1e3", 0, 1000},
    {"1500E-2", 0, 15},
    {" 7 ", 0, 7},
    {"0", 2000000000, 0},
    {"0e1000000000", 0, 0},
};

static const struct {
    const char *text;
    int scale;
    stele_status status;
} no_integers[] = {
    {"12.5", 0, STELE_E_VALUE},
    {"12.505", 2, STELE_E_VALUE},
    {"9223372036854775808", 0, STELE_E_VALUE},
    {"-9223372036854775809", 0, STELE_E_VALUE},
    {"18446744073709551616", 0, STELE_E_VALUE},
    {"92233720368547758.08", 2, STELE_E_VALUE},
    {"1", 19, STELE_E_VALUE},
    {"1", 2000000000, STELE_E_VALUE},
    {"1", -1, STELE_E_VALUE},
    {"NaN", 0, STELE_E_VALUE},
    {"Infinity", 0, STELE_E_VALUE},
    {"-inf", 0, STELE_E_VALUE},
    {"", 0, STELE_E_INPUT},
    {".", 0, STELE_E_INPUT},
    {"-", 0, STELE_E_INPUT},
    {"1e", 0, STELE_E_INPUT},
    {"1e+", 0, STELE_E_INPUT},
    {"1e9999999999", 0, STELE_E_INPUT},
    {"1.2.3", 0, STELE_E_INPUT},
    {"1 2", 0, STELE_E_INPUT},
    {"0x10", 0, STELE_E_INPUT},
    {"-NaN", 0, STELE_E_INPUT},
    {"infinite", 0, STELE_E_INPUT},
};

static void to_integers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        int64_t value = 99;
        assert_int_equal(
            stele_numeric_to_scaled(stele_s(integers[i].text), integers[i].scale, &value),
            STELE_OK);
        assert_true(value == integers[i].value);
    }
    for (size_t i = 0; i < sizeof no_integers / sizeof *no_integers; i++) {
        int64_t value = 99;
        assert_int_equal(
            stele_numeric_to_scaled(stele_s(no_integers[i].text), no_integers[i].scale, &value),
            no_integers[i].status);
        assert_true(value == 99);
    }
    int64_t value;
    assert_int_equal(stele_numeric_to_i64(stele_s("42.000"), &value), STELE_OK);
    assert_int_equal(value, 42);
    assert_int_equal(stele_numeric_to_i64(stele_s(NULL), &value), STELE_E_INPUT);
}

static void to_doubles(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"0", 0.0},
        {"12.50", 12.5},
        {"-0.1", -0.1},
        {"9007199254740993", 9007199254740992.0},
        {"9007199254740993.0000000000000000000000000001", 9007199254740994.0},
        {"1e308", 1e308},
        {"123456789012345678901234567890", 123456789012345678901234567890.0},
        {"0.000000000000000000000000000001", 1e-30},
        {"1e-400", 0.0},
        {"4.9e-324", 4.9e-324},
        {"Infinity", INFINITY},
        {"-Infinity", -INFINITY},
    };
    double value;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(stele_numeric_to_f64(stele_s(cases[i].text), &value), STELE_OK);
        assert_memory_equal(&value, &cases[i].value, sizeof value);
    }
    assert_int_equal(stele_numeric_to_f64(stele_s("NaN"), &value), STELE_OK);
    assert_true(isnan(value));
    assert_int_equal(stele_numeric_to_f64(stele_s("1e400"), &value), STELE_E_VALUE);
    assert_int_equal(stele_numeric_to_f64(stele_s("1,5"), &value), STELE_E_INPUT);
    /* Half way between two doubles, decided by the two thousandth digit. */
    char text[2100];
    int len = snprintf(text, sizeof text, "9007199254740993.");
    memset(text + len, '0', 2000);
    text[len + 2000] = '\0';
    assert_int_equal(stele_numeric_to_f64(stele_s(text), &value), STELE_OK);
    assert_true(value == 9007199254740992.0);
    text[len + 1999] = '1';
    assert_int_equal(stele_numeric_to_f64(stele_s(text), &value), STELE_OK);
    assert_true(value == 9007199254740994.0);
}

static void from_scaled(void **state)
{
    (void)state;
    static const struct {
        int64_t value;
        int scale;
        const char *text;
    } cases[] = {
        {0, 0, "0"},
        {0, 2, "0.00"},
        {1250, 2, "12.50"},
        {-1250, 2, "-12.50"},
        {5, 2, "0.05"},
        {50, 2, "0.50"},
        {-5, 4, "-0.0005"},
        {12, -3, "12000"},
        {0, -3, "0"},
        {INT64_MIN, 0, "-9223372036854775808"},
        {INT64_MIN, 19, "-0.9223372036854775808"},
        {INT64_MIN, 18, "-9.223372036854775808"},
        {INT64_MIN, 40, "-0.0000000000000000000009223372036854775808"},
        {INT64_MIN, -20, "-922337203685477580800000000000000000000"},
        {7, 41, "7e-41"},
        {-7, -21, "-7e21"},
        {1, INT32_MIN, "1e2147483648"},
    };
    char buf[48];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(stele_numeric_from_scaled(cases[i].value, cases[i].scale, buf),
                            cases[i].text);
        int64_t back;
        if (cases[i].scale >= -21 && cases[i].scale <= 41) {
            assert_int_equal(stele_numeric_to_scaled(stele_s(buf), cases[i].scale, &back),
                             STELE_OK);
            assert_true(back == cases[i].value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(to_integers),
        cmocka_unit_test(to_doubles),
        cmocka_unit_test(from_scaled),
    };
    return RUN(tests);
}
