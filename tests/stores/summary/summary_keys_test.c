/* Filter keys: what they match, which are allowed, and which summaries a job renews. */
#include "summary.h"
#include "unit.h"

static bool matches(const char *a, const char *b)
{
    bool there = stele_filter_key_matches(stele_s(a), stele_s(b));
    assert_int_equal(there, stele_filter_key_matches(stele_s(b), stele_s(a)));
    return there;
}

static void keys_match_along_a_path(void **state)
{
    (void)state;
    assert_true(matches("a", "a"));
    assert_true(matches("a", "a/b"));
    assert_true(matches("a/b", "a/b/c"));
    assert_true(matches("a", "a/"));
    assert_true(matches("", "a"));
    assert_true(matches("", ""));
    assert_false(matches("a", "ab"));
    assert_false(matches("a/b", "a/c"));
    assert_false(matches("a/b", "b"));
    assert_false(matches("a", "A"));
    assert_true(stele_filter_key_matches((stele_str){NULL, 0}, stele_s("a")));
}

static bool allowed(const stele_str *list, size_t count, const char *key)
{
    stele__summary_policy policy = {.allowed = list, .allowed_count = count};
    return stele__summary_allows(&policy, stele_s(key));
}

static void an_allowlist_knows_the_hierarchy(void **state)
{
    (void)state;
    const stele_str list[] = {stele_s("  planner/search\n"), stele_s("writer"), stele_s(" ")};
    assert_true(allowed(NULL, 0, "anything"));
    assert_true(allowed(list, 3, "planner/search"));
    assert_true(allowed(list, 3, "planner/search/web"));
    assert_true(allowed(list, 3, "planner"));
    assert_true(allowed(list, 3, "writer/drafts"));
    assert_true(allowed(list, 3, ""));
    assert_false(allowed(list, 3, "planner/files"));
    assert_false(allowed(list, 3, "writers"));
    assert_false(allowed(list, 0, "writer")); /* a list of none allows none */
    assert_true(allowed(list, 0, ""));
    assert_false(allowed(list + 2, 1, "writer")); /* blanks do not stand for all */
}

static void expect_targets(const stele__summary_policy *policy, const char *key, size_t count,
                           const char *first, const char *second)
{
    stele_str targets[2];
    assert_int_equal(stele__summary_targets(policy, stele_s(key), targets), count);
    if (count > 0)
        assert_str(targets[0], first);
    if (count > 1)
        assert_str(targets[1], second);
}

static void a_branch_cascades_to_the_whole_session(void **state)
{
    (void)state;
    const stele_str list[] = {stele_s("writer")};
    const stele__summary_policy all = {.cascade = true};
    const stele__summary_policy some = {list, 1, true};
    const stele__summary_policy alone = {list, 1, false};
    expect_targets(&all, "a/b", 2, "a/b", "");
    expect_targets(&all, "", 1, "", NULL);
    expect_targets(&some, "writer/x", 2, "writer/x", "");
    expect_targets(&some, "blocked", 1, "", NULL); /* blocked branches still cascade */
    expect_targets(&alone, "writer", 1, "writer", NULL);
    expect_targets(&alone, "", 1, "", NULL);
    expect_targets(&alone, "blocked", 0, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_match_along_a_path),
        cmocka_unit_test(an_allowlist_knows_the_hierarchy),
        cmocka_unit_test(a_branch_cascades_to_the_whole_session),
    };
    return RUN(tests);
}
