#include "status_internal.h"
#include "stele/gen/types.h"
#include "stele/version.h"
#include "unit.h"

static void names_and_texts(void **state)
{
    (void)state;
#define CHECK(name, value, words)                                                                  \
    assert_int_equal(STELE_##name, value);                                                         \
    assert_string_equal(stele_status_name(STELE_##name), "STELE_" #name);                          \
    assert_string_equal(stele_status_text(STELE_##name), words);
    STELE_STATUS_MAP(CHECK)
#undef CHECK
    assert_string_equal(stele_status_name((stele_status)-999), "STELE_?");
    assert_non_null(stele_status_text((stele_status)999));
}

static void fail_clears_what_was_there(void **state)
{
    (void)state;
    stele_error err;
    memset(&err, 'x', sizeof err);
    assert_int_equal(stele__fail(&err, STELE_E_INPUT, "column %d", 3), STELE_E_INPUT);
    assert_int_equal(err.status, STELE_E_INPUT);
    assert_string_equal(err.message, "column 3");
    assert_false(err.retryable);
    assert_false(err.outcome_unknown);
    assert_string_equal(err.sqlstate, "");
    assert_string_equal(err.schema, "");
    assert_string_equal(err.constraint, "");
    assert_string_equal(err.hint, "");
    stele__error_place(&err, "users", NULL);
    stele__error_place(&err, NULL, "email");
    stele__error_hint(&err, "set %s", "it");
    stele__error_detail(&err, "because");
    assert_string_equal(err.table, "users");
    assert_string_equal(err.column, "email");
    assert_string_equal(err.hint, "set it");
    assert_string_equal(err.detail, "because");
    assert_string_equal(err.message, "column 3");
    stele_error_clear(&err);
    assert_int_equal(err.status, STELE_OK);
    assert_string_equal(err.message, "");
}

static void no_error_wanted(void **state)
{
    (void)state;
    assert_int_equal(stele__fail(NULL, STELE_E_NOMEM, "x"), STELE_E_NOMEM);
    stele__error_hint(NULL, "x");
    stele__error_detail(NULL, "x");
    stele__error_place(NULL, "t", "c");
    stele_error_clear(NULL);
}

static void copies_never_halve_a_character(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z"; /* a ä € 😀 z */
    static const size_t kept[] = {0, 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
    for (size_t size = 1; size < sizeof kept / sizeof *kept; size++) {
        char buf[16];
        memset(buf, 'x', sizeof buf);
        assert_int_equal(stele__copy_text(buf, size, text), kept[size]);
        assert_memory_equal(buf, text, kept[size]);
        assert_int_equal(buf[kept[size]], 0);
        assert_int_equal(buf[size], 'x');
    }
    char buf[4] = "xyz";
    assert_int_equal(stele__copy(buf, 0, text, 5), 0);
    assert_int_equal(buf[0], 'x');
    assert_int_equal(stele__copy_text(buf, sizeof buf, NULL), 0);
    assert_string_equal(buf, "");
    /* Not UTF-8: cut where the room ends. */
    assert_int_equal(stele__copy(buf, sizeof buf, "\xff\xff\xff\xff\xff", 5), 3);
}

static void long_messages_end_with_a_whole_character(void **state)
{
    (void)state;
    char longest[700];
    for (size_t i = 0; i + 2 < sizeof longest; i += 2) {
        longest[i] = '\xc3';
        longest[i + 1] = '\xa4';
    }
    longest[sizeof longest - 2] = '\0';
    stele_error err;
    stele__fail(&err, STELE_E_SERVER, "%s", longest);
    assert_int_equal(strlen(err.message), 510);
    stele__fail(&err, STELE_E_SERVER, "x%s", longest);
    assert_int_equal(strlen(err.message), 511);
}

static void one_line_for_the_log(void **state)
{
    (void)state;
    stele_error err;
    char line[300];
    stele__fail(&err, STELE_E_UNIQUE, "duplicate\nkey");
    stele__copy_text(err.sqlstate, sizeof err.sqlstate, "23505");
    stele__error_place(&err, "users", "email");
    stele__copy_text(err.constraint, sizeof err.constraint, "users_email");
    stele__error_hint(&err, "choose another");
    static const char expected[] = "STELE_E_UNIQUE [23505]: duplicate key (table \"users\", column "
                                   "\"email\", constraint \"users_email\"); hint: choose another";
    assert_int_equal(stele_error_format(&err, line, sizeof line), strlen(expected));
    assert_string_equal(line, expected);
    assert_int_equal(stele_error_format(&err, NULL, 0), strlen(expected));
    for (size_t size = 1; size <= sizeof expected; size++) {
        assert_int_equal(stele_error_format(&err, line, size), strlen(expected));
        assert_int_equal(strlen(line), size - 1);
        assert_memory_equal(line, expected, size - 1);
    }
    stele_error_clear(&err);
    stele_error_format(&err, line, sizeof line);
    assert_string_equal(line, "STELE_OK: success");
    stele_error_format(NULL, line, sizeof line);
    assert_string_equal(line, "STELE_OK: success");
}

static void version_is_that_of_the_header(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", STELE_VERSION_MAJOR, STELE_VERSION_MINOR,
             STELE_VERSION_PATCH);
    assert_string_equal(stele_version(), text);
}

static void enum_labels(void **state)
{
    (void)state;
    static const char *const names[] = {"open", "paid", "open "};
    static const stele_gen_enum labels = {"status", names, 3};
    assert_string_equal(stele_gen_enum_label(&labels, 1), "open");
    assert_string_equal(stele_gen_enum_label(&labels, 3), "open ");
    assert_null(stele_gen_enum_label(&labels, 0));
    assert_null(stele_gen_enum_label(&labels, -1));
    assert_null(stele_gen_enum_label(&labels, 4));
    assert_null(stele_gen_enum_label(NULL, 1));
    assert_int_equal(stele_gen_enum_value(&labels, stele_s("paid")), 2);
    assert_int_equal(stele_gen_enum_value(&labels, stele_s("pai")), 0);
    assert_int_equal(stele_gen_enum_value(&labels, stele_s("paid!")), 0);
    assert_int_equal(stele_gen_enum_value(&labels, stele_s(NULL)), 0);
    assert_int_equal(stele_gen_enum_value(NULL, stele_s("paid")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_texts),
        cmocka_unit_test(fail_clears_what_was_there),
        cmocka_unit_test(no_error_wanted),
        cmocka_unit_test(copies_never_halve_a_character),
        cmocka_unit_test(long_messages_end_with_a_whole_character),
        cmocka_unit_test(one_line_for_the_log),
        cmocka_unit_test(version_is_that_of_the_header),
        cmocka_unit_test(enum_labels),
    };
    return RUN(tests);
}
