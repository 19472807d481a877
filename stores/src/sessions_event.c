#include "sessions_event.h"

#include "store_json.h"

#include "banned.h"

static bool says_something(stele_str value)
{
    return value.len > 2 && (value.data[0] == '"' || value.data[0] == '[') &&
           !(value.data[0] == '[' && value.data[value.len - 1] == ']' &&
             strspn(value.data + 1, " \t\r\n") >= value.len - 2);
}

typedef struct message_facts {
    bool speaks; /* content, content_parts or reasoning_content */
    bool calls;  /* tool_calls or tool_id */
} message_facts;

static void read_message(stele__json *j, message_facts *facts)
{
    stele_str key = {NULL, 0};
    if (stele__json_peek(j) != '{') {
        (void)stele__json_value(j);
        return;
    }
    for (bool first = stele__json_enter(j, '{'); stele__json_member(j, &first, &key);) {
        stele_str value = stele__json_value(j);
        if (j->bad || !says_something(value))
            continue;
        if (stele__json_is(key, "content") || stele__json_is(key, "content_parts") ||
            stele__json_is(key, "reasoning_content"))
            facts->speaks = true;
        else if (stele__json_is(key, "tool_calls") || stele__json_is(key, "tool_id"))
            facts->calls = true;
    }
}

static bool read_choices(stele__json *j)
{
    bool valid = false;
    bool first_choice = true;
    stele_str key = {NULL, 0};
    if (stele__json_peek(j) != '[') {
        (void)stele__json_value(j);
        return false;
    }
    for (bool first = stele__json_enter(j, '['); stele__json_item(j, &first);) {
        message_facts facts = {false, false};
        if (stele__json_peek(j) != '{') {
            (void)stele__json_value(j);
            continue;
        }
        for (bool start = stele__json_enter(j, '{'); stele__json_member(j, &start, &key);) {
            if (stele__json_is(key, "message") || stele__json_is(key, "delta"))
                read_message(j, &facts);
            else
                (void)stele__json_value(j);
        }
        valid = valid || facts.speaks || (first_choice && facts.calls);
        first_choice = false;
    }
    return valid;
}

/* An object of base64 texts and nulls; null itself is like none. */
static stele_status read_delta(stele__json *j, stele_str *ret_delta, stele_error *err)
{
    stele_str key = {NULL, 0};
    if (stele__json_peek(j) == 'n') {
        (void)stele__json_value(j);
        return STELE_OK;
    }
    if (stele__json_peek(j) != '{')
        return stele__store_fail(err, STELE_E_INPUT, "stateDelta of the event is no object");
    const char *begin = j->at;
    for (bool first = stele__json_enter(j, '{'); stele__json_member(j, &first, &key);) {
        stele_str value = stele__json_value(j);
        if (j->bad || stele__json_is(value, "null"))
            continue;
        stele_str text = {value.data + 1, value.len - 2};
        if (value.data[0] != '"' || stele__json_base64(text, NULL) == SIZE_MAX)
            return stele__store_fail(err, STELE_E_INPUT,
                                     "value of \"%.*s\" in the event's stateDelta is no base64",
                                     (int)(key.len < 100 ? key.len : 100), key.data);
    }
    if (!j->bad) {
        ret_delta->data = begin;
        ret_delta->len = (size_t)(j->at - begin);
    }
    return STELE_OK;
}

static stele_str read_text(stele__json *j)
{
    if (stele__json_peek(j) == '"')
        return stele__json_string(j);
    (void)stele__json_value(j);
    return stele_s("");
}

stele_status stele__event_read(stele_str json, stele__event_facts *ret_facts, stele_error *err)
{
    stele__event_facts facts = {stele_s(""), stele_s("{}"), false};
    stele__json j = stele__json_of(json);
    stele_str key = {NULL, 0};
    bool partial = false;
    bool valid = false;
    if (stele__json_peek(&j) != '{')
        return stele__store_fail(err, STELE_E_INPUT, "the event is no JSON object");
    for (bool first = stele__json_enter(&j, '{'); stele__json_member(&j, &first, &key);) {
        stele_status st = STELE_OK;
        if (stele__json_is(key, "id"))
            facts.id = read_text(&j);
        else if (stele__json_is(key, "is_partial"))
            partial = stele__json_is(stele__json_value(&j), "true");
        else if (stele__json_is(key, "choices"))
            valid = read_choices(&j);
        else if (stele__json_is(key, "stateDelta"))
            st = read_delta(&j, &facts.delta, err);
        else
            (void)stele__json_value(&j);
        if (st != STELE_OK)
            return st;
    }
    if (!stele__json_done(&j))
        return stele__store_fail(err, STELE_E_INPUT, "the event is no JSON: byte %zu",
                                 (size_t)(j.at - json.data) + 1);
    facts.stored = valid && !partial;
    *ret_facts = facts;
    return STELE_OK;
}
