#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "sessions_event.h"
#include "store_json.h"

#include "banned.h"

stele_ts stele__event_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
    return (stele_ts)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void add_name(stele__store_text *text, const char *name)
{
    char last = text->len > 0 && text->data != NULL ? text->data[text->len - 1] : '{';
    if (last != '{' && last != '[')
        stele__store_adds(text, ",");
    stele__store_adds(text, "\"");
    stele__store_adds(text, name);
    stele__store_adds(text, "\":");
}

static void add_text(stele__store_text *text, const char *name, stele_str value)
{
    add_name(text, name);
    stele__store_add_json(text, value);
}

/* Left out when empty. */
static void add_given(stele__store_text *text, const char *name, stele_str value)
{
    if (value.len > 0)
        add_text(text, name, value);
}

static void add_raw(stele__store_text *text, const char *name, stele_str json)
{
    add_name(text, name);
    stele__store_add(text, json.data, json.len);
}

static void add_time(stele__store_text *text, const char *name, stele_ts ts)
{
    char buf[STELE_TS_TEXT_SIZE];
    add_text(text, name, stele_s(stele_ts_format(ts, buf)));
}

void stele__state_write(const stele_session_value *values, size_t count, stele__store_text *text)
{
    stele__store_adds(text, "{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            stele__store_adds(text, ",");
        stele__store_add_json(text, values[i].key);
        stele__store_adds(text, ":");
        if (values[i].value.data == NULL) {
            stele__store_adds(text, "null");
            continue;
        }
        stele__store_adds(text, "\"");
        stele__store_add_base64(text, values[i].value);
        stele__store_adds(text, "\"");
    }
    stele__store_adds(text, "}");
}

/* ---- events ---------------------------------------------------------------------------------- */

static stele_status check_json(stele_str json, char open, const char *what, stele_error *err)
{
    stele__json j = stele__json_of(json);
    if (json.len == 0)
        return STELE_OK;
    bool fits = open == '\0' || stele__json_peek(&j) == open;
    (void)stele__json_value(&j);
    if (fits && stele__json_done(&j))
        return STELE_OK;
    return stele__store_fail(err, STELE_E_INPUT, "%s is no JSON%s", what,
                             open == '{'   ? " object"
                             : open == '[' ? " array"
                                           : "");
}

/* What peers read as a time: years of four digits. */
static stele_status check_time(stele_ts ts, stele_error *err)
{
    const stele_ts first = INT64_C(-62135596800000000);
    const stele_ts end = INT64_C(253402300800000000);
    if (ts >= first && ts < end)
        return STELE_OK;
    return stele__store_fail(err, STELE_E_INPUT, "the timestamp is not within the years 1 to 9999");
}

static void add_message(const stele_event *event, stele__store_text *text)
{
    stele_str role = event->role;
    if (role.len == 0)
        role = stele_s(event->tool_id.len > 0 ? "tool" : "assistant");
    add_name(text, event->partial ? "delta" : "message");
    stele__store_adds(text, "{");
    add_text(text, "role", role);
    add_given(text, "content", event->content);
    add_given(text, "tool_id", event->tool_id);
    add_given(text, "tool_name", event->tool_name);
    if (event->tool_calls.len > 0)
        add_raw(text, "tool_calls", event->tool_calls);
    stele__store_adds(text, "}");
}

static void add_response(const stele_event *event, stele_str id, stele_ts timestamp,
                         stele__store_text *text)
{
    char created[24];
    (void)snprintf(created, sizeof created, "%" PRId64, timestamp / 1000000);
    add_text(text, "object", event->object.len > 0 ? event->object : stele_s("chat.completion"));
    add_raw(text, "created", stele_s(created));
    add_text(text, "model", event->model.data != NULL ? event->model : stele_s(""));
    add_name(text, "choices");
    stele__store_adds(text, "[{\"index\":0");
    add_message(event, text);
    stele__store_adds(text, "}]");
    add_raw(text, "done", stele_s(event->done ? "true" : "false"));
    add_raw(text, "is_partial", stele_s(event->partial ? "true" : "false"));
    add_name(text, "response");
    stele__store_adds(text, "{");
    add_text(text, "id", id);
    add_time(text, "timestamp", timestamp);
    stele__store_adds(text, "}");
}

stele_status stele__event_write(const stele_event *event, stele__store_text *text, stele_error *err)
{
    char made[STELE_UUID_TEXT_SIZE];
    stele_str id = event->id;
    stele_status st = check_json(event->tool_calls, '[', "tool_calls", err);
    if (st == STELE_OK)
        st = check_json(event->extensions, '{', "extensions", err);
    stele_ts timestamp = event->timestamp.has ? event->timestamp.v : stele__event_now();
    if (st == STELE_OK)
        st = check_time(timestamp, err);
    if (st != STELE_OK)
        return st;
    if (id.len == 0) {
        stele_uuid uuid;
        st = stele_uuid_v4(&uuid);
        if (st != STELE_OK)
            return stele__store_fail(err, st, "no random numbers for an event id");
        id = stele_s(stele_uuid_format(uuid, made));
    }
    stele__store_adds(text, "{");
    add_response(event, id, timestamp, text);
    add_text(text, "id", id);
    add_time(text, "timestamp", timestamp);
    add_text(text, "invocationId", event->invocation_id);
    add_text(text, "author", event->author);
    add_given(text, "branch", event->branch);
    add_given(text, "filterKey", event->filter_key);
    if (event->state_delta_count > 0) {
        add_name(text, "stateDelta");
        stele__state_write(event->state_delta, event->state_delta_count, text);
    }
    if (event->extensions.len > 0)
        add_raw(text, "extensions", event->extensions);
    add_raw(text, "version", stele_s("1")); /* else the peer filters by the branch */
    stele__store_adds(text, "}");
    return text->failed ? stele__store_no_memory(err) : STELE_OK;
}

stele_status stele__track_write(stele_str track, stele_str payload, stele_ts timestamp,
                                stele__store_text *text, stele_error *err)
{
    stele_status st = check_json(payload, '\0', "the payload", err);
    if (st == STELE_OK)
        st = check_time(timestamp, err);
    if (st != STELE_OK)
        return st;
    stele__store_adds(text, "{");
    add_text(text, "track", track);
    add_raw(text, "payload", payload.len > 0 ? payload : stele_s("null"));
    add_time(text, "timestamp", timestamp);
    stele__store_adds(text, "}");
    return text->failed ? stele__store_no_memory(err) : STELE_OK;
}
