/*
 * The statement cache alone: against a plain list that does the same slowly.
 */
#include "stmt_cache.h"

#include "mem_internal.h"
#include "unit.h"

static const stele_gen_stmt stmts[40];

static stele__key key_of(int i)
{
    /* Few hashes, so that chains are long. */
    return (stele__key){.hash = (uint64_t)(i % 3) << 60 | (uint64_t)i % 3,
                        .stmt = &stmts[i % 40],
                        .names_id = (uint64_t)(i / 40),
                        .flags = 0};
}

static stele__entry *new_entry(const stele__key *key)
{
    stele__entry *entry = stele__calloc(1, sizeof *entry);
    assert_non_null(entry);
    entry->hash = key->hash;
    entry->stmt = key->stmt;
    entry->names_id = key->names_id;
    entry->sql = stele__strdup("SELECT 1");
    return entry;
}

static stele__entry *find_or_add(stele__cache *cache, int i)
{
    stele__key key = key_of(i);
    stele__entry *entry = stele__cache_find(cache, &key);
    if (entry == NULL) {
        entry = new_entry(&key);
        stele__cache_add(cache, entry);
    }
    return entry;
}

/* What run.c does with the cache, without a server. True if the entry was prepared before. */
static bool use(stele__cache *cache, int i, bool renewed)
{
    stele__entry *entry = find_or_add(cache, i);
    bool was_prepared = entry->state == STELE__ENTRY_PREPARED;
    if (!was_prepared && renewed && stele__cache_is_recent(cache, entry)) {
        stele__entry *victim = stele__cache_victim(cache);
        if (victim != NULL)
            stele__cache_drop(cache, victim);
        stele__cache_prepared(cache, entry);
    }
    stele__cache_touch(cache, entry);
    return was_prepared;
}

static void the_newest_prepared_ones_stay(void **state)
{
    (void)state;
    enum { CAPACITY = 7, KEYS = 30 };
    stele__cache *cache = stele__cache_new(CAPACITY);
    long last[KEYS];
    uint32_t dice = 1;
    assert_non_null(cache);
    for (int i = 0; i < KEYS; i++)
        last[i] = -1;
    for (long now = 0; now < 20000; now++) {
        dice = dice * 1664525u + 1013904223u;
        int i = (int)(dice >> 20) % KEYS;
        int newer = 0; /* other statements used since its last use */
        for (int k = 0; k < KEYS; k++)
            newer += last[k] > last[i];
        bool expected = last[i] >= 0 && newer < CAPACITY;
        assert_int_equal(use(cache, i, true), expected);
        last[i] = now;
        assert_true(cache->prepared.count <= CAPACITY);
        if (!expected)
            assert_true(use(cache, i, true));
    }
    stele__cache_free(cache);
}

static void seen_ones_are_bounded_too(void **state)
{
    (void)state;
    stele__cache *cache = stele__cache_new(4);
    int found = 0;
    for (int i = 0; i < 1000; i++)
        (void)use(cache, i, false);
    assert_int_equal(cache->prepared.count, 0);
    for (int i = 0; i < 1000; i++) {
        stele__key key = key_of(i);
        found += stele__cache_find(cache, &key) != NULL;
    }
    assert_int_equal(found, STELE__RECENT);
    stele__cache_free(cache);
}

static void a_use_counts_for_256_look_ups(void **state)
{
    (void)state;
    stele__cache *cache = stele__cache_new(4);
    (void)use(cache, 0, false);
    stele__key key = key_of(0);
    stele__entry *entry = stele__cache_find(cache, &key);
    for (int i = 1; i < STELE__RECENT; i++)
        (void)use(cache, 1, false);
    assert_true(stele__cache_is_recent(cache, entry));
    (void)use(cache, 1, false);
    assert_false(stele__cache_is_recent(cache, entry));
    stele__cache_free(cache);
}

static void shapes_flags_and_names_are_told_apart(void **state)
{
    (void)state;
    static uint8_t shapes[2][3] = {{1, 2, 3}, {1, 2, 4}};
    stele__cache *cache = stele__cache_new(4);
    stele__key keys[5];
    for (int i = 0; i < 5; i++)
        keys[i] = (stele__key){.hash = 1, .stmt = &stmts[0], .shape_len = 3, .shape = shapes[0]};
    keys[1].shape = shapes[1];
    keys[2].flags = 1;
    keys[3].names_id = 1;
    keys[4].stmt = &stmts[1];
    for (int i = 0; i < 5; i++) {
        assert_null(stele__cache_find(cache, &keys[i]));
        stele__entry *entry = new_entry(&keys[i]);
        entry->flags = keys[i].flags;
        entry->shape_len = 3;
        entry->shape = shapes[keys[i].shape == shapes[1]];
        stele__cache_add(cache, entry);
        for (int k = 0; k <= i; k++)
            assert_non_null(stele__cache_find(cache, &keys[k]));
    }
    stele__cache_free(cache);
}

static void what_the_server_lost_is_forgotten(void **state)
{
    (void)state;
    stele__cache *cache = stele__cache_new(4);
    for (int i = 0; i < 4; i++) {
        (void)use(cache, i, false);
        (void)use(cache, i, true);
    }
    assert_int_equal(cache->prepared.count, 4);
    stele__key key = key_of(2);
    stele__entry *kept = stele__cache_find(cache, &key);
    assert_null(kept->sql); /* a prepared one needs none */
    kept->sql = stele__strdup("SELECT 1");
    kept->checked = true;
    stele__cache_unprepared(cache, kept);
    assert_int_equal(kept->state, STELE__ENTRY_SEEN);
    assert_false(kept->checked);
    stele__cache_unprepared(cache, kept); /* once is enough */
    stele__cache_clear(cache, kept);
    assert_int_equal(cache->prepared.count, 0);
    assert_ptr_equal(stele__cache_find(cache, &key), kept);
    assert_true(use(cache, 2, true) == false);
    assert_true(use(cache, 2, true));
    stele__cache_free(cache);
}

static void a_pinned_entry_outlives_the_cache(void **state)
{
    (void)state;
    stele__cache *cache = stele__cache_new(4);
    stele__entry *entry = find_or_add(cache, 3);
    stele__entry_pin(entry);
    stele__cache_free(cache);
    assert_string_equal(entry->sql, "SELECT 1");
    stele__entry_unpin(entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_prepared_ones_stay),
        cmocka_unit_test(seen_ones_are_bounded_too),
        cmocka_unit_test(a_use_counts_for_256_look_ups),
        cmocka_unit_test(shapes_flags_and_names_are_told_apart),
        cmocka_unit_test(what_the_server_lost_is_forgotten),
        cmocka_unit_test(a_pinned_entry_outlives_the_cache),
    };
    return RUN(tests);
}
