#include <stdlib.h>

#include "sessions_rows.h"
#include "store_json.h"

#include "banned.h"

static stele__state_entry *new_entry(stele__state *state)
{
    if (state->count == state->room) {
        size_t room = state->room < 16 ? 16 : state->room * 2;
        stele__state_entry *entries = stele__store_take(state->arena, room * sizeof *entries);
        if (entries == NULL)
            return NULL;
        if (state->count > 0)
            memcpy(entries, state->entries, state->count * sizeof *entries);
        state->entries = entries;
        state->room = room;
    }
    stele__state_entry *entry = &state->entries[state->count];
    memset(entry, 0, sizeof *entry);
    entry->order = state->count++;
    return entry;
}

static stele_status malformed(stele_error *err, const char *why)
{
    return stele__store_fail(err, STELE_E_DECODE, "the stored state is malformed: %s", why);
}

/* A key of JSON as text of our own. */
static stele_status take_key(stele__state *state, stele_str raw, stele_str *ret_key,
                             stele_error *err)
{
    char *key = stele__store_take(state->arena, raw.len + 1);
    if (key == NULL)
        return stele__store_no_memory(err);
    size_t len = stele__json_unescape(raw, key);
    if (len == SIZE_MAX)
        return malformed(err, "a key is no text");
    key[len] = '\0';
    ret_key->data = key;
    ret_key->len = len;
    return STELE_OK;
}

/* A base64 text of JSON, with its quotes, as bytes of our own; null as NULL. */
static stele_status take_value(stele__state *state, stele_str key, stele_str json,
                               stele_bytes *ret_value, stele_error *err)
{
    if (stele__json_is(json, "null"))
        return STELE_OK;
    if (json.data[0] == '"') {
        uint8_t *bytes = stele__store_take(state->arena, json.len / 4 * 3 + 4);
        if (bytes == NULL)
            return stele__store_no_memory(err);
        size_t len = stele__store_base64_decode(json.data + 1, json.len - 2, bytes);
        if (len != SIZE_MAX) {
            bytes[len] = 0;
            ret_value->data = bytes;
            ret_value->len = len;
            return STELE_OK;
        }
    }
    return stele__store_fail(err, STELE_E_DECODE,
                             "the stored state is malformed: the value of \"%.*s\" is no base64",
                             (int)(key.len < 100 ? key.len : 100), key.data);
}

static stele_status add_members(stele__state *state, stele__json *j, stele_error *err)
{
    stele_str raw = {NULL, 0};
    for (bool first = stele__json_enter(j, '{'); stele__json_member(j, &first, &raw);) {
        stele_str json = stele__json_value(j);
        stele__state_entry *entry = j->bad ? NULL : new_entry(state);
        if (j->bad)
            break;
        if (entry == NULL)
            return stele__store_no_memory(err);
        stele_status st = take_key(state, raw, &entry->value.key, err);
        if (st == STELE_OK)
            st = take_value(state, entry->value.key, json, &entry->value.value, err);
        if (st != STELE_OK)
            return st;
    }
    return STELE_OK;
}

stele_status stele__state_add_envelope(stele__state *state, stele_str envelope, stele_error *err)
{
    stele__json j = stele__json_of(envelope);
    stele_str raw = {NULL, 0};
    if (envelope.data == NULL || stele__json_is(envelope, "null"))
        return STELE_OK;
    if (stele__json_peek(&j) != '{')
        return malformed(err, "it is no object");
    for (bool first = stele__json_enter(&j, '{'); stele__json_member(&j, &first, &raw);) {
        if (!stele__json_is(raw, "state") || stele__json_peek(&j) == 'n') {
            (void)stele__json_value(&j);
            continue;
        }
        if (stele__json_peek(&j) != '{')
            return malformed(err, "\"state\" is no object");
        stele_status st = add_members(state, &j, err);
        if (st != STELE_OK)
            return st;
    }
    return stele__json_done(&j) ? STELE_OK : malformed(err, "it is no JSON");
}

stele_status stele__state_add(stele__state *state, const char *prefix, stele_str key,
                              stele_bytes value, stele_error *err)
{
    size_t before = strlen(prefix);
    char *name = stele__store_take(state->arena, before + key.len + 1);
    stele__state_entry *entry = name != NULL ? new_entry(state) : NULL;
    if (entry == NULL)
        return stele__store_no_memory(err);
    memcpy(name, prefix, before);
    if (key.len > 0)
        memcpy(name + before, key.data, key.len);
    name[before + key.len] = '\0';
    entry->value.key.data = name;
    entry->value.key.len = before + key.len;
    entry->value.value = value;
    return STELE_OK;
}

static int by_key(const void *a, const void *b)
{
    const stele__state_entry *x = a;
    const stele__state_entry *y = b;
    int order = stele__store_compare(x->value.key, y->value.key);
    if (order != 0)
        return order;
    return x->order < y->order ? -1 : x->order > y->order;
}

stele_status stele__state_finish(stele__state *state, const stele_session_value **ret_values,
                                 size_t *ret_count, stele_error *err)
{
    stele_session_value *values =
        stele__store_take(state->arena, (state->count + 1) * sizeof *values);
    size_t count = 0;
    if (values == NULL)
        return stele__store_no_memory(err);
    if (state->count > 1)
        qsort(state->entries, state->count, sizeof *state->entries, by_key);
    for (size_t i = 0; i < state->count; i++) {
        const stele_session_value *value = &state->entries[i].value;
        bool same = count > 0 && stele_str_eq(values[count - 1].key, value->key);
        values[same ? count - 1 : count] = *value;
        count += !same;
    }
    *ret_values = values;
    *ret_count = count;
    return STELE_OK;
}

const stele_session_value *stele__state_find(const stele_session_value *values, size_t count,
                                             stele_str key)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        int order = stele__store_compare(values[middle].key, key);
        if (order == 0)
            return &values[middle];
        if (order < 0)
            low = middle + 1;
        else
            count = middle;
    }
    return NULL;
}
