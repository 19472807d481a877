#include "summary.h"

#include "banned.h"

/* Bytes that begin a character. */
static int64_t characters(stele_str s)
{
    int64_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.data[i] & 0xc0) != 0x80;
    return count;
}

static int64_t tokens_of(stele_str s)
{
    return (characters(s) + 3) / 4;
}

int64_t stele_summary_tokens(const stele_summary_view *view)
{
    int64_t tokens = tokens_of(view->previous);
    for (size_t i = 0; i < view->event_count; i++)
        tokens += tokens_of(view->events[i].text) + tokens_of(view->events[i].calls);
    return tokens;
}

static bool is_quiet(const stele_summary_view *view, int64_t ms)
{
    stele_ts last = view->events[view->event_count - 1].timestamp;
    return ms <= INT64_MAX / 1000 && last < view->now && view->now - last > ms * 1000;
}

static bool is_crowded(const stele_summary_view *view, int64_t window, double ratio)
{
    return (double)stele_summary_tokens(view) > (double)window * (ratio > 0 ? ratio : 0.5);
}

/* The first part that answers `any` decides. */
static bool composite_fires(const stele_summary_trigger *trigger, const stele_summary_view *view,
                            bool any)
{
    for (size_t i = 0; i < trigger->part_count; i++) {
        if (stele_summary_fires(&trigger->parts[i], view) == any)
            return any;
    }
    return !any;
}

bool stele_summary_fires(const stele_summary_trigger *trigger, const stele_summary_view *view)
{
    bool events = view->event_count > 0;
    switch (trigger->kind) {
    case STELE_WHEN_ALWAYS:
        return events;
    case STELE_WHEN_EVENTS:
        return events && (int64_t)view->event_count > trigger->limit;
    case STELE_WHEN_TOKENS:
        return events && stele_summary_tokens(view) > trigger->limit;
    case STELE_WHEN_QUIET:
        return events && is_quiet(view, trigger->limit);
    case STELE_WHEN_CONTEXT:
        return events && is_crowded(view, trigger->limit, trigger->ratio);
    case STELE_WHEN_ALL:
        return events && composite_fires(trigger, view, false);
    case STELE_WHEN_ANY:
        return composite_fires(trigger, view, true);
    case STELE_WHEN_CUSTOM:
        return trigger->fires(view, trigger->user);
    }
    return false;
}
