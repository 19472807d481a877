/* Every allocation of Stele for a summary may fail: the call says so, nothing is stored, and the next succeeds. */
#include "stele/mem.h"
#include "summary_util.h"

static _Thread_local int left = -1; /* allocations that succeed; negative: all */

static bool refuses(void)
{
    return left >= 0 && left-- == 0;
}

static void *fail_alloc(size_t size)
{
    return refuses() ? NULL : malloc(size);
}

static void *fail_realloc(void *ptr, size_t size)
{
    return refuses() ? NULL : realloc(ptr, size);
}

static const stele_allocator allocator = {fail_alloc, fail_realloc, free};

/* From here on so many allocations of this thread succeed; then one fails. */
static void arm(int successes)
{
    left = successes;
}

/* True if none has failed. */
static bool spared(void)
{
    bool all = left >= 0;
    left = -1;
    return all;
}

/* The first call without a failure is the last; how many failed before. */
static int until_it_succeeds(stele_sessions *store, const stele_session_key *key)
{
    for (int n = 0; n < 2000; n++) {
        arm(n);
        stele_status st = stele_sessions_create_summary(store, key, "desk", true, &err);
        if (spared()) {
            assert_ok(st);
            return n;
        }
        if (st != STELE_OK && st != STELE_E_NOMEM)
            assert_ok(st); /* shows it */
        if (st == STELE_E_NOMEM && !err.outcome_unknown)
            assert_string_equal(stored_text(key, "desk"), "");
        peer("DELETE FROM session_summaries");
    }
    fail_msg("it never succeeded");
    return 0;
}

static void a_summary_without_memory_is_none(void **state)
{
    (void)state;
    stele_summarizer summarizer = STELE_SUMMARIZER_INIT;
    summarizer.summarize = stele_summarize_extractive;
    stele_sessions_options options = with_fake();
    options.summarizer = &summarizer;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "desk");
    new_event(&key, "e2", 2, "desk");
    assert_ok(stele_sessions_create_summary(store, &key, "desk", true, &err)); /* prepared */
    peer("DELETE FROM session_summaries");
    assert_in_range(until_it_succeeds(store, &key), 10, 1999);
    assert_string_equal(stored_text(&key, "desk"), "user: This is e1.");
    close_store(store);
}

static void a_text_without_memory_is_none(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    char *text = NULL;
    new_event(&key, "e1", 1, "");
    assert_ok(stele_sessions_create_summary(store, &key, NULL, true, &err));
    assert_ok(stele_sessions_get_summary_text(store, &key, NULL, &text, &err));
    stele_free(text);
    bool done = false;
    for (int n = 0; n < 500 && !done; n++) {
        text = NULL;
        arm(n);
        stele_status st = stele_sessions_get_summary_text(store, &key, NULL, &text, &err);
        done = spared();
        assert_true(st == STELE_OK || st == STELE_E_NOMEM);
        assert_true((text != NULL) == (st == STELE_OK));
        stele_free(text);
    }
    assert_true(done);
    close_store(store);
}

static int setup_memory(void **state)
{
    if (stele_set_allocator(&allocator) != STELE_OK)
        return -1;
    return setup_summaries(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(a_summary_without_memory_is_none),
        CLEAN(a_text_without_memory_is_none),
    };
    return cmocka_run_group_tests(tests, setup_memory, teardown_summaries);
}
