#include <stele/json.h>

#include "summary.h"

#include "banned.h"

/* ---- stored summaries ---- */

static stele_str text_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return stele_s("");
    return (stele_str){json_string_value(value), json_string_length(value)};
}

/* False when there is no time, or the zero time that Go writes for "none". */
static bool time_at(const json_t *object, const char *key, stele_ts *ret_ts)
{
    stele_str text = text_at(object, key);
    if (text.len == 0 || strncmp(text.data, "0001-01-01T00:00:00", 19) == 0)
        return false;
    return stele_ts_parse(text, ret_ts) == STELE_OK;
}

static stele__summary_boundary read_boundary(const json_t *root, stele_ts updated_at)
{
    const json_t *object = json_object_get(root, "boundary");
    stele__summary_boundary boundary = {.known = true, .last_event_id = stele_s("")};
    if (json_is_object(object))
        boundary.last_event_id = text_at(object, "last_event_id");
    if (!time_at(object, "cutoff_at", &boundary.cutoff) &&
        !time_at(root, "updated_at", &boundary.cutoff))
        boundary.cutoff = updated_at;
    return boundary;
}

stele_status stele__summary_parse(stele_str json, stele_ts updated_at,
                                  stele__summary_stored *ret_stored, stele_error *err)
{
    json_t *root = NULL;
    stele_status st = stele_json_load(json, &root, err);
    if (st == STELE_E_NOMEM)
        return st;
    memset(ret_stored, 0, sizeof *ret_stored);
    ret_stored->root = root;
    ret_stored->text = text_at(root, "summary");
    ret_stored->boundary = read_boundary(root, updated_at);
    return STELE_OK;
}

void stele__summary_stored_release(stele__summary_stored *stored)
{
    json_decref(stored->root);
    memset(stored, 0, sizeof *stored);
}

static json_t *boundary_json(stele_str filter_key, const stele__summary_boundary *boundary)
{
    char cutoff[STELE_TS_TEXT_SIZE];
    json_t *object = json_pack("{s:i, s:s}", "version", 1, "cutoff_at",
                               stele_ts_format(boundary->cutoff, cutoff));
    bool fine = object != NULL;
    if (fine && filter_key.len > 0)
        fine = json_object_set_new(object, "filter_key",
                                   json_stringn(filter_key.data, filter_key.len)) == 0;
    if (fine && boundary->last_event_id.len > 0)
        fine = json_object_set_new(
                   object, "last_event_id",
                   json_stringn(boundary->last_event_id.data, boundary->last_event_id.len)) == 0;
    if (!fine) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static int append(const char *data, size_t len, void *user)
{
    stele_summary_text *text = user;
    stele_summary_add(text, data, len);
    return text->text.failed ? -1 : 0;
}

stele_status stele__summary_format(stele_str summary, stele_str filter_key,
                                   const stele__summary_boundary *boundary,
                                   stele_summary_text *text, stele_error *err)
{
    char updated_at[STELE_TS_TEXT_SIZE];
    json_t *words = json_stringn(summary.data, summary.len);
    if (words == NULL) {
        words = json_stringn_nocheck(summary.data, summary.len);
        bool memory = words != NULL;
        json_decref(words);
        return memory ? stele__store_fail(err, STELE_E_VALUE, "the summary is not UTF-8")
                      : stele__store_no_memory(err);
    }
    json_t *object = json_pack("{s:o, s:s, s:o}", "summary", words, "updated_at",
                               stele_ts_format(boundary->cutoff, updated_at), "boundary",
                               boundary_json(filter_key, boundary));
    int failed = object == NULL || json_dump_callback(object, append, text, JSON_COMPACT) != 0;
    json_decref(object);
    if (failed)
        return stele__store_fail(err, STELE_E_NOMEM, "no memory for the summary");
    return STELE_OK;
}

/* ---- events ---- */

/* What is said in a message, or a delta: its content, or the texts among its parts. */
static void add_message(stele_summary_text *text, const json_t *message)
{
    stele_str content = text_at(message, "content");
    const json_t *parts = json_object_get(message, "content_parts");
    if (content.len > 0) {
        if (stele_summary_written(text).len > 0)
            stele__summary_text_add(text, "\n");
        stele_summary_add(text, content.data, content.len);
    }
    for (size_t i = 0; i < json_array_size(parts); i++) {
        stele_str part = text_at(json_array_get(parts, i), "text");
        if (part.len > 0 && stele_summary_written(text).len > 0)
            stele__summary_text_add(text, "\n");
        stele_summary_add(text, part.data, part.len);
    }
}

static void add_calls(stele_summary_text *text, const json_t *message)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *function = json_object_get(json_array_get(calls, i), "function");
        stele_str name = text_at(function, "name");
        stele_str arguments = text_at(function, "arguments");
        if (stele_summary_written(text).len > 0)
            stele__summary_text_add(text, "\n");
        stele_summary_add(text, name.data, name.len);
        stele__summary_text_add(text, "(");
        stele_summary_add(text, arguments.data, arguments.len);
        stele__summary_text_add(text, ")");
    }
}

/* All choices count, as they do for what makes an event worth storing. */
static void read_messages(stele__summary_item *item)
{
    static const char *const kinds[] = {"message", "delta"};
    const json_t *choices = json_object_get(item->root, "choices");
    for (size_t i = 0; i < json_array_size(choices); i++) {
        for (size_t k = 0; k < 2; k++) {
            const json_t *message = json_object_get(json_array_get(choices, i), kinds[k]);
            if (item->event.role.len == 0)
                item->event.role = text_at(message, "role");
            add_message(&item->text, message);
            add_calls(&item->calls, message);
        }
    }
}

stele_str stele__summary_event_key(const json_t *event)
{
    bool current = json_integer_value(json_object_get(event, "version")) == 1;
    return text_at(event, current ? "filterKey" : "branch");
}

stele_status stele__summary_item_load(stele_str json, int64_t row, stele_ts created_at,
                                      stele__summary_item *ret_item, stele_error *err)
{
    stele__summary_item item = {.row = row, .event = {.json = json, .timestamp = created_at}};
    stele_status st = stele_json_load(json, &item.root, err);
    if (st != STELE_OK)
        return st;
    stele_summary_event *event = &item.event;
    event->id = text_at(item.root, "id");
    event->author = text_at(item.root, "author");
    event->role = stele_s("");
    (void)time_at(item.root, "timestamp", &event->timestamp);
    event->filter_key = stele__summary_event_key(item.root);
    read_messages(&item);
    if (item.text.text.failed || item.calls.text.failed) {
        stele__summary_item_release(&item);
        return stele__store_fail(err, STELE_E_NOMEM, "no memory for an event");
    }
    event->text = stele_summary_written(&item.text);
    event->calls = stele_summary_written(&item.calls);
    *ret_item = item;
    return STELE_OK;
}

void stele__summary_item_release(stele__summary_item *item)
{
    json_decref(item->root);
    stele__summary_text_release(&item->text);
    stele__summary_text_release(&item->calls);
    memset(item, 0, sizeof *item);
}

stele__summary_boundary stele__summary_reach(const stele__summary_item *items, size_t count,
                                             const stele__summary_boundary *from)
{
    stele__summary_boundary reach = *from;
    for (size_t i = 0; i < count; i++) {
        const stele_summary_event *event = &items[i].event;
        if (!reach.known || event->timestamp > reach.cutoff)
            reach.cutoff = event->timestamp;
        reach.known = true;
        reach.last_event_id = event->id;
    }
    return reach;
}
