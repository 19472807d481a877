/* Stored summaries and events: what is read, what is written, and how far a summary reaches. */
#include "summary.h"
#include "unit.h"

static stele_ts at(const char *text)
{
    stele_ts ts;
    assert_int_equal(stele_ts_parse(stele_s(text), &ts), STELE_OK);
    return ts;
}

/* ---- stored summaries ---- */

static void parse(const char *json, stele_ts updated_at, stele__summary_stored *stored)
{
    stele_error err;
    assert_int_equal(stele__summary_parse(stele_s(json), updated_at, stored, &err), STELE_OK);
}

static void a_peers_summary_is_read(void **state)
{
    (void)state;
    stele__summary_stored stored;
    parse("{\"summary\": \"Rooms \\u2014 moved\", \"topics\": [\"rooms\"], \"x\": {},"
          " \"updated_at\": \"2026-03-01T10:00:00+08:00\", \"boundary\": {\"version\": 1,"
          " \"filter_key\": \"desk\", \"cutoff_at\": \"2026-03-01T10:00:00.5+08:00\","
          " \"last_event_id\": \"e-7\"}}",
          1, &stored);
    assert_str(stored.text, "Rooms \xe2\x80\x94 moved");
    assert_true(stored.boundary.known);
    assert_int_equal(stored.boundary.cutoff, at("2026-03-01T02:00:00.5Z"));
    assert_str(stored.boundary.last_event_id, "e-7");
    stele__summary_stored_release(&stored);
}

static void a_boundary_falls_back_to_times(void **state)
{
    (void)state;
    stele__summary_stored stored;
    parse("{\"summary\": \"s\", \"updated_at\": \"2026-03-01T10:00:00Z\"}", 1, &stored);
    assert_true(stored.boundary.known);
    assert_int_equal(stored.boundary.cutoff, at("2026-03-01T10:00:00Z"));
    assert_str(stored.boundary.last_event_id, "");
    stele__summary_stored_release(&stored);
    parse("{\"summary\": \"s\", \"updated_at\": \"0001-01-01T00:00:00Z\", \"boundary\": null}", 42,
          &stored);
    assert_int_equal(stored.boundary.cutoff, 42);
    stele__summary_stored_release(&stored);
    parse("{\"summary\": \"s\", \"boundary\": {\"cutoff_at\": \"0001-01-01T00:00:00Z\"}}", 42,
          &stored);
    assert_int_equal(stored.boundary.cutoff, 42);
    stele__summary_stored_release(&stored);
}

static void what_is_no_summary_has_no_text(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null", "[]", "{}", "{\"summary\": 7}", "{\"summary\": \"\"}", "{\"summary\"", "7"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        stele__summary_stored stored;
        parse(texts[i], 42, &stored);
        assert_str(stored.text, "");
        assert_true(stored.boundary.known);
        assert_int_equal(stored.boundary.cutoff, 42);
        stele__summary_stored_release(&stored);
    }
    stele__summary_stored stored;
    assert_int_equal(stele__summary_parse((stele_str){NULL, 0}, 1, &stored, NULL), STELE_OK);
    assert_str(stored.text, "");
    stele__summary_stored_release(&stored);
}

static void a_summary_is_written_as_the_peer_does(void **state)
{
    (void)state;
    stele_error err;
    stele_summary_text text = {0};
    stele__summary_boundary boundary = {true, at("2026-03-01T02:00:00.25Z"), stele_s("e-9")};
    assert_int_equal(
        stele__summary_format(stele_s("a \"b\"\n"), stele_s("desk/a"), &boundary, &text, &err),
        STELE_OK);
    assert_str(stele_summary_written(&text),
               "{\"summary\":\"a \\\"b\\\"\\n\",\"updated_at\":\"2026-03-01T02:00:00.25Z\","
               "\"boundary\":{\"version\":1,\"cutoff_at\":\"2026-03-01T02:00:00.25Z\","
               "\"filter_key\":\"desk/a\",\"last_event_id\":\"e-9\"}}");
    stele__summary_stored stored;
    parse(stele_summary_written(&text).data, 0, &stored);
    assert_str(stored.text, "a \"b\"\n");
    assert_int_equal(stored.boundary.cutoff, boundary.cutoff);
    stele__summary_stored_release(&stored);
    stele__summary_text_release(&text);

    boundary.last_event_id = stele_s("");
    assert_int_equal(stele__summary_format(stele_s("x"), stele_s(""), &boundary, &text, &err),
                     STELE_OK);
    assert_str(stele_summary_written(&text),
               "{\"summary\":\"x\",\"updated_at\":\"2026-03-01T02:00:00.25Z\","
               "\"boundary\":{\"version\":1,\"cutoff_at\":\"2026-03-01T02:00:00.25Z\"}}");
    stele__summary_text_release(&text);
    assert_int_equal(stele__summary_format(stele_s("\xff"), stele_s(""), &boundary, &text, &err),
                     STELE_E_VALUE);
    stele__summary_text_release(&text);
}

/* ---- events ---- */

static void load(const char *json, stele__summary_item *item)
{
    stele_error err;
    assert_int_equal(stele__summary_item_load(stele_s(json), 3, 77, item, &err), STELE_OK);
}

static void an_event_is_read(void **state)
{
    (void)state;
    stele__summary_item item;
    load("{\"id\": \"e1\", \"timestamp\": \"2026-03-01T10:00:00+08:00\", \"author\": \"desk\","
         " \"branch\": \"old\", \"filterKey\": \"desk/a\", \"version\": 1, \"choices\": "
         "[{\"message\":"
         " {\"role\": \"assistant\", \"content\": \"One.\", \"tool_calls\": [{\"function\": "
         "{\"name\":"
         " \"find\", \"arguments\": \"{\\\"q\\\":1}\"}}]}}, {\"delta\": {\"content\": \"Two.\","
         " \"content_parts\": [{\"type\": \"text\", \"text\": \"Three.\"}, {\"type\": "
         "\"image\"}]}}]}",
         &item);
    assert_str(item.event.id, "e1");
    assert_str(item.event.author, "desk");
    assert_str(item.event.role, "assistant");
    assert_str(item.event.filter_key, "desk/a");
    assert_str(item.event.text, "One.\nTwo.\nThree.");
    assert_str(item.event.calls, "find({\"q\":1})");
    assert_int_equal(item.event.timestamp, at("2026-03-01T02:00:00Z"));
    assert_int_equal(item.row, 3);
    stele__summary_item_release(&item);
}

static void an_event_may_lack_everything(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{}", "[1]", "null", "{\"choices\": 1, \"id\": 2, \"timestamp\": \"soon\"}",
        "{\"choices\": [null, {\"message\": []}], \"timestamp\": \"0001-01-01T00:00:00Z\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        stele__summary_item item;
        load(texts[i], &item);
        assert_str(item.event.id, "");
        assert_str(item.event.text, "");
        assert_str(item.event.calls, "");
        assert_str(item.event.role, "");
        assert_int_equal(item.event.timestamp, 77); /* when it was stored */
        stele__summary_item_release(&item);
    }
}

static void events_before_version_1_are_filed_under_their_branch(void **state)
{
    (void)state;
    stele__summary_item item;
    load("{\"branch\": \"old\", \"filterKey\": \"new\"}", &item);
    assert_str(item.event.filter_key, "old");
    stele__summary_item_release(&item);
    load("{\"branch\": \"old\", \"filterKey\": \"new\", \"version\": 0}", &item);
    assert_str(item.event.filter_key, "old");
    stele__summary_item_release(&item);
}

/* ---- how far a summary reaches ---- */

static stele__summary_item plain(const char *id, stele_ts timestamp)
{
    stele__summary_item item = {.row = 1};
    item.event.id = stele_s(id);
    item.event.timestamp = timestamp;
    return item;
}

static void a_summary_reaches_to_the_last_event(void **state)
{
    (void)state;
    const stele__summary_item items[] = {plain("a", 10), plain("b", 20), plain("c", 15)};
    const stele__summary_boundary none = {.last_event_id = stele_s("")};
    stele__summary_boundary reach = stele__summary_reach(items, 3, &none);
    assert_true(reach.known);
    assert_int_equal(reach.cutoff, 20); /* c's clock is behind */
    assert_str(reach.last_event_id, "c");
    reach = stele__summary_reach(items, 0, &none);
    assert_false(reach.known);
}

static void a_cutoff_never_goes_back(void **state)
{
    (void)state;
    const stele__summary_item items[] = {plain("b", 20)};
    const stele__summary_boundary at_a = {true, 90, stele_s("a")};
    stele__summary_boundary reach = stele__summary_reach(items, 1, &at_a);
    assert_int_equal(reach.cutoff, 90);
    assert_str(reach.last_event_id, "b");
    reach = stele__summary_reach(items, 0, &at_a);
    assert_int_equal(reach.cutoff, 90);
    assert_str(reach.last_event_id, "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peers_summary_is_read),
        cmocka_unit_test(a_boundary_falls_back_to_times),
        cmocka_unit_test(what_is_no_summary_has_no_text),
        cmocka_unit_test(a_summary_is_written_as_the_peer_does),
        cmocka_unit_test(an_event_is_read),
        cmocka_unit_test(an_event_may_lack_everything),
        cmocka_unit_test(events_before_version_1_are_filed_under_their_branch),
        cmocka_unit_test(a_summary_reaches_to_the_last_event),
        cmocka_unit_test(a_cutoff_never_goes_back),
    };
    return RUN(tests);
}
