#include "stele/json.h"
#include "unit.h"

static json_t *load(const char *text)
{
    json_t *json = NULL;
    stele_error err;
    assert_int_equal(stele_json_load(stele_s(text), &json, &err), STELE_OK);
    assert_non_null(json);
    return json;
}

static void values(void **state)
{
    (void)state;
    json_t *json = load("{\"a\": [1, 2.5, \"x\", null], \"n\": -9223372036854775808}");
    assert_int_equal(json_array_size(json_object_get(json, "a")), 4);
    assert_true(json_integer_value(json_object_get(json, "n")) == INT64_MIN);
    json_decref(json);
    json = load("9223372036854775807");
    assert_true(json_is_integer(json));
    assert_true(json_integer_value(json) == INT64_MAX);
    json_decref(json);
    json = load("\"a\\u0000b\"");
    assert_int_equal(json_string_length(json), 3);
    json_decref(json);
    json = load("{\"k\": 1, \"k\": 2}"); /* json keeps both, the last one counts */
    assert_int_equal(json_integer_value(json_object_get(json, "k")), 2);
    json_decref(json);
}

static void null_is_null(void **state)
{
    (void)state;
    json_t *json = (json_t *)&json;
    assert_int_equal(stele_json_load(stele_s(NULL), &json, NULL), STELE_OK);
    assert_null(json);
    json = load("null");
    assert_true(json_is_null(json));
}

static void big_integers_become_reals(void **state)
{
    (void)state;
    json_t *json = load("[9223372036854775808, 7, -9223372036854775809, \"9223372036854775808 "
                        "\\\"9223372036854775808\", 123456789012345678901234567890, 1.5e3, "
                        "9223372036854775807]");
    assert_true(json_is_real(json_array_get(json, 0)));
    assert_true(json_real_value(json_array_get(json, 0)) == 9223372036854775808.0);
    assert_true(json_is_integer(json_array_get(json, 1)));
    assert_int_equal(json_integer_value(json_array_get(json, 1)), 7);
    assert_true(json_real_value(json_array_get(json, 2)) == -9223372036854775808.0);
    assert_string_equal(json_string_value(json_array_get(json, 3)),
                        "9223372036854775808 \"9223372036854775808");
    assert_true(json_real_value(json_array_get(json, 4)) == 123456789012345678901234567890.0);
    assert_true(json_real_value(json_array_get(json, 5)) == 1500.0);
    assert_true(json_integer_value(json_array_get(json, 6)) == INT64_MAX);
    json_decref(json);
    char many[2000] = "[";
    for (int i = 0; i < 80; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "9999999999999999999,");
    snprintf(many + strlen(many), sizeof many - strlen(many), "1]");
    json = load(many);
    assert_int_equal(json_array_size(json), 81);
    json_decref(json);
}

static void errors_have_a_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[1,]",
                                      "{\"a\":1}x",
                                      "'a'",
                                      "1e999",
                                      "\"\xff\"",
                                      "\"open",
                                      "9999999999999999999 \"open",
                                      "[9999999999999999999, \"\\"};
    json_t *json = NULL;
    stele_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(stele_json_load(stele_s(bad[i]), &json, &err), STELE_E_VALUE);
        assert_int_equal(err.status, STELE_E_VALUE);
        assert_non_null(strstr(err.message, "line 1"));
        assert_null(json);
    }
    assert_int_equal(stele_json_load(stele_s("{\n  \"a\": tru\n}"), &json, &err), STELE_E_VALUE);
    assert_non_null(strstr(err.message, "at line 2, column 10"));
    assert_int_equal(stele_json_load(stele_s("x"), &json, NULL), STELE_E_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(null_is_null),
        cmocka_unit_test(big_integers_become_reals),
        cmocka_unit_test(errors_have_a_place),
    };
    return RUN(tests);
}
