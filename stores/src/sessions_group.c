#include "sessions_queue.h"

#include "banned.h"

/* A session of the group, found by its key. */
typedef struct slot {
    const stele__queued *item; /* its first */
    size_t place;
} slot;

static size_t hash_of(stele_str text)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * 1099511628211u;
    return (size_t)(hash ^ hash >> 32);
}

/* The place of an item's session; a new one gets the next. */
static size_t find_place(slot *slots, size_t mask, const stele__queued *item, size_t next)
{
    size_t at = hash_of(item->lane_key) & mask;
    while (slots[at].item != NULL && !stele_str_eq(slots[at].item->lane_key, item->lane_key))
        at = (at + 1) & mask;
    if (slots[at].item == NULL) {
        slots[at].item = item;
        slots[at].place = next;
    }
    return slots[at].place;
}

static stele_status make_room(stele__group *group, size_t count, stele_error *err)
{
    group->app_names = stele__store_take(&group->arena, count * sizeof(stele_str));
    group->user_ids = stele__store_take(&group->arena, count * sizeof(stele_str));
    group->session_ids = stele__store_take(&group->arena, count * sizeof(stele_str));
    group->deltas = stele__store_take_array(&group->arena, count, sizeof(stele_str));
    group->meant = stele__store_take_array(&group->arena, count, sizeof(stele_ts));
    group->meant_nulls = stele__store_take_array(&group->arena, count, sizeof(bool));
    group->events = stele__store_take(&group->arena, count * sizeof(stele_str));
    group->places = stele__store_take(&group->arena, count * sizeof(int64_t));
    group->place_of = stele__store_take(&group->arena, count * sizeof(size_t));
    if (group->app_names == NULL || group->user_ids == NULL || group->session_ids == NULL ||
        group->deltas == NULL || group->meant == NULL || group->meant_nulls == NULL ||
        group->events == NULL || group->places == NULL || group->place_of == NULL)
        return stele__store_no_memory(err);
    return STELE_OK;
}

/* What is between the braces; nothing of an empty object. */
static stele_str inside(stele_str object)
{
    stele_str text = {object.data + 1, object.len - 2};
    return text;
}

static bool is_empty(stele_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (memchr(" \t\r\n", text.data[i], 4) == NULL)
            return false;
    return true;
}

/* Of keys that stand twice in an object the server takes the last. */
static stele_status merge_deltas(stele__group *group, stele__queued *const *items, size_t count,
                                 stele_error *err)
{
    size_t *sizes = stele__store_take_array(&group->arena, group->session_count, sizeof *sizes);
    char **texts = stele__store_take(&group->arena, group->session_count * sizeof *texts);
    if (sizes == NULL || texts == NULL)
        return stele__store_no_memory(err);
    for (size_t i = 0; i < count; i++)
        sizes[group->place_of[i]] += items[i]->delta.len + 1;
    for (size_t p = 0; p < group->session_count; p++) {
        texts[p] = stele__store_take(&group->arena, sizes[p] + 3);
        if (texts[p] == NULL)
            return stele__store_no_memory(err);
        texts[p][0] = '{';
        group->deltas[p].data = texts[p];
        group->deltas[p].len = 1;
    }
    for (size_t i = 0; i < count; i++) {
        size_t p = group->place_of[i];
        stele_str members = inside(items[i]->delta);
        if (is_empty(members))
            continue;
        if (group->deltas[p].len > 1)
            texts[p][group->deltas[p].len++] = ',';
        memcpy(texts[p] + group->deltas[p].len, members.data, members.len);
        group->deltas[p].len += members.len;
    }
    for (size_t p = 0; p < group->session_count; p++)
        texts[p][group->deltas[p].len++] = '}';
    return STELE_OK;
}

static void begin_session(stele__group *group, const stele__queued *item)
{
    size_t p = group->session_count++;
    group->app_names[p] = item->key.app_name;
    group->user_ids[p] = item->key.user_id;
    group->session_ids[p] = item->key.session_id;
    group->meant[p] = item->meant.v;
    group->meant_nulls[p] = !item->meant.has;
}

static bool is_meant_alike(const stele__group *group, size_t p, const stele__queued *item)
{
    return group->meant_nulls[p] == !item->meant.has && group->meant[p] == item->meant.v;
}

static bool has_effect(const stele__queued *item)
{
    return item->stored || !is_empty(inside(item->delta));
}

enum { HAS_IDS = 1, HAS_STATE_ALONE = 2 };

/* An event that was stored before leaves its state out with it, which nobody could tell from state alone. */
static bool goes_along(uint8_t *what, const stele__queued *item)
{
    uint8_t more = 0;
    if (item->has_id)
        more = HAS_IDS;
    else if (!item->stored && has_effect(item))
        more = HAS_STATE_ALONE;
    if ((*what | more) == (HAS_IDS | HAS_STATE_ALONE))
        return false;
    *what |= more;
    return true;
}

stele_status stele__group_init(stele__group *group, stele__queued *const *items, size_t count,
                               stele_error *err)
{
    memset(group, 0, sizeof *group);
    size_t mask = 3;
    while (mask < count * 2)
        mask = mask * 2 + 1;
    slot *slots = stele__store_take_array(&group->arena, mask + 1, sizeof *slots);
    uint8_t *what = stele__store_take_array(&group->arena, count, sizeof *what); /* of each place */
    stele_status st =
        slots != NULL && what != NULL ? make_room(group, count, err) : stele__store_no_memory(err);
    if (st != STELE_OK)
        return st;
    group->repeatable = true;
    for (size_t i = 0; i < count; i++) {
        const stele__queued *item = items[i];
        size_t p = find_place(slots, mask, item, group->session_count);
        if (p == group->session_count)
            begin_session(group, item);
        else if (!is_meant_alike(group, p, item))
            break;
        if (!goes_along(&what[p], item))
            break;
        group->place_of[i] = p;
        group->taken++;
        group->repeatable = group->repeatable && (item->has_id || !has_effect(item));
        if (!item->stored)
            continue;
        group->places[group->event_count] = (int64_t)p + 1;
        group->events[group->event_count++] = item->event;
    }
    return merge_deltas(group, items, group->taken, err);
}

void stele__group_release(stele__group *group)
{
    stele__store_arena_free(&group->arena);
}
