/*
 * Every path that allocates, with the nth allocation failing, for all n: it answers "out of memory",
 * leaks nothing, and works when nothing fails.
 */
#include "codec_internal.h"
#include "stele/json.h"
#include "text_internal.h"
#include "unit.h"

static size_t live;      /* blocks not freed */
static size_t countdown; /* allocations that still succeed */
static bool failed;

static bool may_allocate(void)
{
    if (countdown == 0) {
        failed = true;
        return false;
    }
    countdown--;
    return true;
}

static void *failing_alloc(size_t size)
{
    void *ptr = may_allocate() ? malloc(size) : NULL;
    live += ptr != NULL;
    return ptr;
}

static void *failing_realloc(void *ptr, size_t size)
{
    return may_allocate() ? realloc(ptr, size) : NULL;
}

static void counting_free(void *ptr)
{
    live -= ptr != NULL;
    free(ptr);
}

static int install(void **state)
{
    (void)state;
    static const stele_allocator allocator = {failing_alloc, failing_realloc, counting_free};
    return stele_set_allocator(&allocator) == STELE_OK ? 0 : -1;
}

/* Runs `path` until no allocation of it fails; it tells whether it succeeded. */
static void exhaust(bool (*path)(void))
{
    for (size_t n = 0;; n++) {
        live = 0;
        countdown = n;
        failed = false;
        bool succeeded = path();
        assert_int_equal(live, 0);
        assert_int_equal(succeeded, !failed);
        if (succeeded) {
            assert_true(n > 0); /* it does allocate */
            return;
        }
        assert_true(n < 1000);
    }
}

static bool copy_path(void)
{
    char *copy = stele__strdup("text");
    void *more = stele__calloc(3, 4);
    void *grown = more != NULL ? stele__realloc_array(more, 100, 4) : NULL;
    bool succeeded = copy != NULL && more != NULL && grown != NULL;
    stele__free(copy);
    stele__free(grown != NULL ? grown : more);
    return succeeded;
}

static bool builder_path(void)
{
    stele__buf buf;
    stele__buf_init(&buf);
    stele__buf_add_ident(&buf, "na\"me", 5);
    for (int i = 0; i < 100; i++)
        stele__buf_addf(&buf, "%d and a long text that makes it grow again and again", i);
    stele__buf_add_literal(&buf, "it's \\", 6);
    stele__buf_add_uint(&buf, 7);
    char *text = stele__buf_take(&buf);
    bool succeeded = text != NULL;
    stele__free(text);
    stele__buf_release(&buf);
    return succeeded;
}

static bool block_path(void)
{
    char first[64];
    stele__block block;
    stele__block_init(&block, first, sizeof first);
    bool succeeded = true;
    for (size_t i = 0; i < 40 && succeeded; i++)
        succeeded = stele__block_alloc(&block, i * 100) != NULL &&
                    stele__block_strndup(&block, "text", 4) != NULL &&
                    stele__block_calloc(&block, i, 10) != NULL;
    stele__block_release(&block);
    return succeeded;
}

/* Encodes and decodes again, all from blocks of which nothing is left over. */
static bool round_trip(uint8_t type, const void *value)
{
    static const char *const names[] = {"open"};
    static const stele_gen_enum labels = {"status", names, 1};
    stele__block block;
    memset(&block, 0, sizeof block);
    stele__encoded out;
    int code = stele__encode_value(type, &labels, value, &out, &block);
    if (code == STELE__CODEC_OK && out.format == 1) {
        stele_str_array back;
        code = stele__decode_value(type, &labels, out.data, (size_t)out.len, &back,
                                   stele__block_mem, &block);
    }
    stele__block_release(&block);
    assert_true(code == STELE__CODEC_OK || code == STELE__CODEC_NOMEM);
    return code == STELE__CODEC_OK;
}

static bool codec_path(void)
{
    static char digits[12001];
    memset(digits, '7', sizeof digits);
    const stele_str long_number = {digits, sizeof digits};
    const stele_str number = LIT("123456.789");
    const stele_str items[] = {number, {NULL, 0}, number, long_number};
    const stele_str_array array = {items, NULL, 3};
    const stele_str_array long_array = {items, NULL, 4};
    const int one = 1;
    const stele_i32_array enums = {&one, NULL, 1};
    return round_trip(STELE_GEN_NUMERIC, &number) && round_trip(STELE_GEN_JSONB, &number) &&
           round_trip(STELE_GEN_OPAQUE, &number) && round_trip(STELE_GEN_NUMERIC, &long_number) &&
           round_trip(STELE_GEN_NUMERIC | STELE_GEN_ARRAY, &array) &&
           round_trip(STELE_GEN_NUMERIC | STELE_GEN_ARRAY, &long_array) &&
           round_trip(STELE_GEN_TEXT | STELE_GEN_ARRAY, &array) &&
           round_trip(STELE_GEN_OPAQUE | STELE_GEN_ARRAY, &array) &&
           round_trip(STELE_GEN_ENUM | STELE_GEN_ARRAY, &enums);
}

/* Our own memory only: jansson keeps its allocator, and asserts when that fails within a number. */
static bool json_path(void)
{
    json_t *json = NULL;
    stele_error err;
    stele_status st =
        stele_json_load(stele_s("{\"a\": [1, 2.5, \"x\", 99999999999999999999]}"), &json, &err);
    if (st == STELE_OK)
        json_decref(json);
    else
        assert_int_equal(st, STELE_E_NOMEM);
    return st == STELE_OK;
}

#define PATH_TEST(path)                                                                            \
    static void path##_survives(void **state)                                                      \
    {                                                                                              \
        (void)state;                                                                               \
        exhaust(path);                                                                             \
    }
PATH_TEST(copy_path)
PATH_TEST(builder_path)
PATH_TEST(block_path)
PATH_TEST(codec_path)
PATH_TEST(json_path)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_path_survives),  cmocka_unit_test(builder_path_survives),
        cmocka_unit_test(block_path_survives), cmocka_unit_test(codec_path_survives),
        cmocka_unit_test(json_path_survives),
    };
    return cmocka_run_group_tests(tests, install, NULL);
}
