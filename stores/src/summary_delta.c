#include "summary.h"

#include "banned.h"

/* The place after the event that the boundary names; false when it is not among them. */
static bool after_named(const stele__summary_item *items, size_t count, stele_str id,
                        size_t *ret_start)
{
    for (size_t i = count; id.len > 0 && i-- > 0;) {
        if (stele_str_eq(items[i].event.id, id)) {
            *ret_start = i + 1;
            return true;
        }
    }
    return false;
}

/*
 * Takes an event in. What is covered reaches to the last event in order, though the cutoff never goes
 * back: clocks of several hosts need not agree, and a summary with an earlier cutoff is a stale one.
 */
static void take(stele__summary_delta *delta, const stele__summary_item *item)
{
    delta->events[delta->count++] = item->event;
    delta->last_row = item->row;
    delta->reach.last_event_id = item->event.id;
    if (!delta->reach.known || item->event.timestamp > delta->reach.cutoff)
        delta->reach.cutoff = item->event.timestamp;
    delta->reach.known = true;
}

stele_status stele__summary_since(const stele__summary_item *items, size_t count,
                                  const stele__summary_boundary *boundary, stele_str key,
                                  stele__summary_delta *ret_delta, stele_error *err)
{
    stele__summary_delta delta = {.all_match = true, .reach = *boundary};
    size_t start = 0;
    bool named = boundary->known && after_named(items, count, boundary->last_event_id, &start);
    delta.events = stele__summary_calloc(count, sizeof *delta.events);
    if (delta.events == NULL)
        return stele__store_fail(err, STELE_E_NOMEM, "no memory for %zu events", count);
    for (size_t i = start; i < count; i++) {
        const stele_summary_event *event = &items[i].event;
        if (boundary->known && !named && event->timestamp < boundary->cutoff)
            continue;
        if (stele_filter_key_matches(event->filter_key, key))
            take(&delta, &items[i]);
        else
            delta.all_match = false;
    }
    *ret_delta = delta;
    return STELE_OK;
}

void stele__summary_delta_release(stele__summary_delta *delta)
{
    stele_free(delta->events);
    memset(delta, 0, sizeof *delta);
}
