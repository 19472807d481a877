#include "summary.h"

#include "banned.h"

/* True when `path` is `stem`, or goes on below it. */
static bool leads_to(stele_str stem, stele_str path)
{
    return stem.len <= path.len && memcmp(stem.data, path.data, stem.len) == 0 &&
           (stem.len == path.len || path.data[stem.len] == STELE_FILTER_KEY_DELIMITER[0]);
}

bool stele_filter_key_matches(stele_str a, stele_str b)
{
    return a.len == 0 || b.len == 0 || leads_to(a, b) || leads_to(b, a);
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static stele_str trimmed(stele_str s)
{
    while (s.len > 0 && is_blank(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool stele__summary_allows(const stele__summary_policy *policy, stele_str key)
{
    if (key.len == 0 || policy->allowed == NULL)
        return true;
    for (size_t i = 0; i < policy->allowed_count; i++) {
        stele_str allowed = trimmed(policy->allowed[i]);
        if (allowed.len > 0 && stele_filter_key_matches(allowed, key))
            return true;
    }
    return false;
}

size_t stele__summary_targets(const stele__summary_policy *policy, stele_str key,
                              stele_str ret_targets[2])
{
    size_t count = 0;
    if (key.len > 0 && stele__summary_allows(policy, key))
        ret_targets[count++] = key;
    if (key.len == 0 || policy->cascade)
        ret_targets[count++] = stele_s("");
    return count;
}
