#include "mem_internal.h"
#include "unit.h"

static size_t calls;

static void *counting_alloc(size_t size)
{
    calls++;
    return malloc(size);
}

static void *counting_realloc(void *ptr, size_t size)
{
    calls++;
    return realloc(ptr, size);
}

static void counting_free(void *ptr)
{
    calls++;
    free(ptr);
}

/* Runs first: it is about what may happen before anything else. */
static void the_allocator_is_set_once(void **state)
{
    (void)state;
    stele_allocator mine = {counting_alloc, counting_realloc, NULL};
    assert_int_equal(stele_set_allocator(NULL), STELE_E_INPUT);
    assert_int_equal(stele_set_allocator(&mine), STELE_E_INPUT);
    mine.free = counting_free;
    assert_int_equal(stele_set_allocator(&mine), STELE_OK);
    assert_int_equal(stele_set_allocator(&mine), STELE_E_MISUSE);
    calls = 0;
    void *ptr = stele__alloc(10);
    assert_non_null(ptr);
    ptr = stele__realloc_array(ptr, 20, 4);
    assert_non_null(ptr);
    stele__free(ptr);
    assert_int_equal(calls, 3);
    stele__free(NULL);
    assert_int_equal(calls, 3);
}

static void sizes(void **state)
{
    (void)state;
    void *none = stele__alloc(0);
    assert_non_null(none);
    none = stele__realloc_array(none, 0, 8);
    assert_non_null(none);
    stele__free(none);
    assert_null(stele__calloc(SIZE_MAX / 2, 3));
    assert_null(stele__realloc_array(NULL, SIZE_MAX, 2));
    unsigned char *zeroed = stele__calloc(7, 3);
    assert_non_null(zeroed);
    for (size_t i = 0; i < 21; i++)
        assert_int_equal(zeroed[i], 0);
    stele__free(zeroed);
}

static void copies(void **state)
{
    (void)state;
    char *copy = stele__strdup("text");
    assert_string_equal(copy, "text");
    stele__free(copy);
    copy = stele__strndup("text", 2);
    assert_string_equal(copy, "te");
    stele__free(copy);
    assert_null(stele__strdup(NULL));
}

static void blocks_use_the_callers_buffer_first(void **state)
{
    (void)state;
    char buf[256];
    stele__block block;
    stele__block_init(&block, buf + 1, sizeof buf - 1);
    calls = 0;
    for (int i = 0; i < 8; i++) {
        char *piece = stele__block_alloc(&block, 17);
        assert_int_equal((uintptr_t)piece % STELE__ALIGN, 0);
        if (piece < buf || piece >= buf + sizeof buf)
            assert_true(calls > 0);
        memset(piece, i, 17);
    }
    assert_true(calls > 0);
    stele__block_reset(&block);
    char *again = stele__block_alloc(&block, 17);
    assert_true(again >= buf && again < buf + sizeof buf);
    stele__block_release(&block);
    stele__block_release(&block);
}

static void blocks_grow(void **state)
{
    (void)state;
    stele__block block;
    memset(&block, 0, sizeof block);
    unsigned char *pieces[2000];
    for (size_t i = 0; i < 2000; i++) {
        pieces[i] = stele__block_alloc(&block, i % 200);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % STELE__ALIGN, 0);
        memset(pieces[i], (int)(i % 251), i % 200);
    }
    for (size_t i = 0; i < 2000; i++) {
        for (size_t k = 0; k < i % 200; k++)
            assert_int_equal(pieces[i][k], i % 251);
    }
    char *large = stele__block_alloc(&block, 1000000);
    assert_non_null(large);
    memset(large, 1, 1000000);
    assert_null(stele__block_alloc(&block, SIZE_MAX));
    assert_null(stele__block_alloc(&block, SIZE_MAX - 8));
    assert_null(stele__block_calloc(&block, SIZE_MAX, 2));
    unsigned char *zeroed = stele__block_calloc(&block, 30, 3);
    for (size_t i = 0; i < 90; i++)
        assert_int_equal(zeroed[i], 0);
    assert_string_equal(stele__block_strndup(&block, "text", 2), "te");
    assert_string_equal(stele__block_strndup(&block, NULL, 0), "");
    assert_non_null(stele__block_mem(&block, 3));
    stele__block_release(&block);
}

static void tiny_buffers_are_no_trouble(void **state)
{
    (void)state;
    char buf[40];
    for (size_t size = 0; size <= sizeof buf; size++) {
        stele__block block;
        stele__block_init(&block, buf, size);
        char *piece = stele__block_alloc(&block, size);
        assert_non_null(piece);
        memset(piece, 0, size);
        stele__block_release(&block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_allocator_is_set_once),
        cmocka_unit_test(sizes),
        cmocka_unit_test(copies),
        cmocka_unit_test(blocks_use_the_callers_buffer_first),
        cmocka_unit_test(blocks_grow),
        cmocka_unit_test(tiny_buffers_are_no_trouble),
    };
    return RUN(tests);
}
