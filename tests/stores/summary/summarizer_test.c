/* Triggers, the transcript, and the extractive summarizer. */
#include "summary.h"
#include "unit.h"

#define SECOND INT64_C(1000000)

static stele_summary_event says(const char *role, const char *text)
{
    stele_str none = stele_s("");
    return (stele_summary_event){none, none, stele_s(role), stele_s(text), none, none, none, 0};
}

static stele_summary_view view_of(const stele_summary_event *events, size_t count)
{
    return (stele_summary_view){.previous = {"", 0}, .events = events, .event_count = count};
}

static bool fires(stele_summary_trigger trigger, const stele_summary_view *view)
{
    return stele_summary_fires(&trigger, view);
}

/* ---- triggers ---- */

static void counts_fire_above_their_limit(void **state)
{
    (void)state;
    const stele_summary_event events[] = {says("user", "12345678"), says("user", "1234")};
    stele_summary_view view = view_of(events, 2);
    assert_true(fires(stele_when_events(1), &view));
    assert_false(fires(stele_when_events(2), &view));
    assert_int_equal(stele_summary_tokens(&view), 3);
    assert_true(fires(stele_when_tokens(2), &view));
    assert_false(fires(stele_when_tokens(3), &view));
    view.previous = stele_s("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f"); /* four characters */
    assert_int_equal(stele_summary_tokens(&view), 4);
    assert_true(fires(stele_when_tokens(3), &view));
}

static void a_context_fires_by_its_share(void **state)
{
    (void)state;
    const stele_summary_event events[] = {says("user", "1234567890123456789012345678")};
    stele_summary_view view = view_of(events, 1);
    assert_int_equal(stele_summary_tokens(&view), 7);
    assert_false(fires(stele_when_context(14, 0), &view)); /* half of it, and not more */
    assert_true(fires(stele_when_context(13, 0), &view));
    assert_true(fires(stele_when_context(14, 0.4), &view));
    assert_false(fires(stele_when_context(10, 0.7), &view));
}

static void silence_is_measured_from_the_last_event(void **state)
{
    (void)state;
    stele_summary_event events[] = {says("user", "a"), says("user", "b")};
    events[1].timestamp = 100 * SECOND;
    stele_summary_view view = view_of(events, 2);
    view.now = 105 * SECOND;
    assert_false(fires(stele_when_quiet_ms(5000), &view));
    view.now++;
    assert_true(fires(stele_when_quiet_ms(5000), &view));
    assert_false(fires(stele_when_quiet_ms(INT64_MAX), &view));
    view.now = 90 * SECOND; /* an event from a clock that is ahead */
    assert_false(fires(stele_when_quiet_ms(0), &view));
}

static bool by_user(const stele_summary_view *view, void *user)
{
    (void)view;
    ++*(int *)user;
    return true;
}

static void triggers_are_composed(void **state)
{
    (void)state;
    const stele_summary_event events[] = {says("user", "a"), says("user", "b")};
    stele_summary_view view = view_of(events, 2), empty = view_of(NULL, 0);
    int calls = 0;
    const stele_summary_trigger yes_no[] = {stele_when_events(1), stele_when_events(5)};
    const stele_summary_trigger yes_yes[] = {stele_when_events(1), stele_when(by_user, &calls)};
    const stele_summary_trigger no_any[] = {stele_when_events(9), stele_when_any(yes_no, 2)};
    assert_true(fires(stele_when_any(yes_no, 2), &view));
    assert_false(fires(stele_when_all(yes_no, 2), &view));
    assert_true(fires(stele_when_all(yes_yes, 2), &view));
    assert_int_equal(calls, 1);
    assert_true(fires(stele_when_any(yes_yes, 2), &view));
    assert_int_equal(calls, 1); /* the first part decided */
    assert_true(fires(stele_when_any(no_any, 2), &view));
    assert_false(fires(stele_when_all(no_any, 2), &view));
    assert_true(fires(stele_when_all(NULL, 0), &view));
    assert_false(fires(stele_when_any(NULL, 0), &view));
    assert_false(fires(stele_when_all(NULL, 0), &empty));
    assert_true(fires((stele_summary_trigger){0}, &view));
    assert_false(fires((stele_summary_trigger){0}, &empty));
    assert_true(fires(stele_when(by_user, &calls), &empty));
}

static bool flag(void *user)
{
    return *(bool *)user;
}

static void time_left_follows_the_run(void **state)
{
    (void)state;
    bool alive = true;
    struct stele_summary_run run = {0, flag, &alive};
    stele_summary_view view = view_of(NULL, 0);
    assert_int_equal(stele_summary_time_left_ms(&view), UINT32_MAX);
    view.run = &run;
    assert_int_equal(stele_summary_time_left_ms(&view), UINT32_MAX);
    run.deadline_ns = stele__summary_now_ns() + INT64_C(60000000000);
    assert_in_range(stele_summary_time_left_ms(&view), 50000, 60000);
    alive = false;
    assert_int_equal(stele_summary_time_left_ms(&view), 0);
    alive = true;
    run.deadline_ns = stele__summary_now_ns() - 1;
    assert_int_equal(stele_summary_time_left_ms(&view), 0);
}

/* ---- transcript ---- */

static void a_transcript_tells_who_said_what(void **state)
{
    (void)state;
    stele_summary_event events[] = {says("user", "Hi.\nThere?"), says("tool", ""),
                                    says("assistant", ""), says("assistant", "Yes.")};
    events[2].calls = stele_s("find({})");
    events[3].author = stele_s("desk");
    events[3].calls = stele_s("move(1)\nmail(2)");
    stele_summary_view view = view_of(events, 4);
    view.previous = stele_s("They met.");
    stele_summary_text *text = stele_summary_text_new();
    assert_non_null(text);
    stele_summary_add_transcript(text, &view);
    assert_str(stele_summary_written(text), "Summary so far: They met.\n"
                                            "\nuser: Hi.\nThere?\n"
                                            "\nassistant: calls find({})\n"
                                            "\ndesk: Yes.\ncalls move(1)\nmail(2)\n");
    assert_false(stele_summary_text_failed(text));
    stele_summary_text_free(text);
}

/* ---- extractive ---- */

static const char *extract(const stele_summary_view *view, uint32_t sentences, uint32_t bytes)
{
    static char kept[4096];
    stele_extractive_options options = {sentences, bytes};
    stele_summary_text text = {0};
    stele_error err;
    assert_int_equal(stele_summarize_extractive(view, &text, &options, &err), STELE_OK);
    (void)snprintf(kept, sizeof kept, "%s", stele_summary_written(&text).data);
    stele__summary_text_release(&text);
    return kept;
}

static void sentences_that_matter_are_kept_in_order(void **state)
{
    (void)state;
    const stele_summary_event events[] = {
        says("user", "Hello there! I booked the seminar room for Thursday. Is that fine?"),
        says("tool", "The seminar room, the seminar room, the seminar room on Thursday."),
        says("assistant", "Thanks. The seminar room on Thursday seats twelve!"),
        says("user", "Nice weather, isn't it?")};
    stele_summary_view view = view_of(events, 4);
    assert_string_equal(extract(&view, 2, 0), "user: I booked the seminar room for Thursday.\n"
                                              "assistant: The seminar room on Thursday seats"
                                              " twelve!");
    assert_string_equal(extract(&view, 2, 0), extract(&view, 2, 0));
}

static void a_summary_goes_on_from_the_one_before(void **state)
{
    (void)state;
    const stele_summary_event events[] = {says("user", "I booked the seminar room for Thursday."),
                                          says("user", "I booked the seminar room for Thursday.")};
    stele_summary_view view = view_of(events, 2);
    view.previous = stele_s("desk: Member Anna wants the projector of the seminar room.");
    assert_string_equal(extract(&view, 8, 0),
                        "desk: Member Anna wants the projector of the seminar room.\n"
                        "user: I booked the seminar room for Thursday."); /* once */
    assert_string_equal(extract(&view, 8, 60), "user: I booked the seminar room for Thursday.");
    assert_string_equal(extract(&view, 8, 10), "");
}

static void other_scripts_have_sentences_too(void **state)
{
    (void)state;
    const stele_summary_event events[] = {
        says("user", "\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82\xe6\x88\xbf\xe9\x97\xb4\xef\xbc\x9f")};
    stele_summary_view view = view_of(events, 1);
    assert_string_equal(extract(&view, 1, 0), "user: \xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82");
}

static void nothing_said_is_no_summary(void **state)
{
    (void)state;
    const stele_summary_event events[] = {says("user", ""), says("user", " \n "),
                                          says("user", "?")};
    stele_summary_view view = view_of(events, 3);
    assert_string_equal(extract(&view, 0, 0), "");
    view = view_of(NULL, 0);
    stele_summary_text text = {0};
    assert_int_equal(stele_summarize_extractive(&view, &text, NULL, NULL), STELE_OK);
    assert_int_equal(stele_summary_written(&text).len, 0);
    stele__summary_text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_fire_above_their_limit),
        cmocka_unit_test(a_context_fires_by_its_share),
        cmocka_unit_test(silence_is_measured_from_the_last_event),
        cmocka_unit_test(triggers_are_composed),
        cmocka_unit_test(time_left_follows_the_run),
        cmocka_unit_test(a_transcript_tells_who_said_what),
        cmocka_unit_test(sentences_that_matter_are_kept_in_order),
        cmocka_unit_test(a_summary_goes_on_from_the_one_before),
        cmocka_unit_test(other_scripts_have_sentences_too),
        cmocka_unit_test(nothing_said_is_no_summary),
    };
    return RUN(tests);
}
