/*
 * Inputs read and parameters encoded, without a server.
 */
#include "bind.h"

#include "unit.h"

typedef struct input {
    stele_in_i64 id;
    stele_in_str name;
    stele_in_str_n note;
    stele_in_ts_n at;
} input;

static const stele_gen_param params[] = {
    {"key", STELE_GEN_INT4, STELE_GEN_PLAIN, true, 1, 0, 0, NULL},
    {"id", STELE_GEN_INT8, STELE_GEN_IN, false, 0, offsetof(input, id), 0, NULL},
    {"name", STELE_GEN_TEXT, STELE_GEN_IN, true, 0, offsetof(input, name), 0, NULL},
    {"note", STELE_GEN_TEXT, STELE_GEN_IN_N, false, 0, offsetof(input, note), 0, NULL},
    {"at", STELE_GEN_TIMESTAMP, STELE_GEN_IN_N, false, 0, offsetof(input, at), 0, NULL},
};

static const stele_gen_stmt writes = {.name = "writes",
                                      .table = "things",
                                      .params = params,
                                      .param_count = STELE_COUNT(params),
                                      .shape_from = 1};

static const stele_gen_stmt reads = {.name = "reads",
                                     .table = "things",
                                     .params = params,
                                     .param_count = STELE_COUNT(params),
                                     .shape_from = 1,
                                     .properties = STELE_STMT_READ};

static const stele_gen_stmt patches = {.name = "patches",
                                       .table = "things",
                                       .params = params,
                                       .param_count = STELE_COUNT(params),
                                       .shape_from = 1,
                                       .properties = STELE_STMT_NEEDS_SET,
                                       .set_from = 3,
                                       .set_to = 5};

static const int32_t key = 7;
static uint8_t states[5];
static stele_error err;

static stele_status read_states(const stele_gen_stmt *stmt, const input *in)
{
    const void *args[] = {in, &key};
    return stele__bind_states(stmt, args, states, &err);
}

static void tags_become_states(void **state)
{
    (void)state;
    const input in = {.name = stele_text_v("x"),
                      .note = stele_text_n_null(),
                      .at = stele_ts_n_after(stele_days(1))};
    assert_int_equal(read_states(&writes, &in), STELE_OK);
    static const uint8_t written[] = {STELE__PARAM, STELE__UNSET, STELE__PARAM, STELE__PARAM,
                                      STELE__AFTER};
    assert_memory_equal(states, written, 5);
    /* In a filter NULL is a state of its own: IS NULL. */
    assert_int_equal(read_states(&reads, &in), STELE_OK);
    assert_int_equal(states[3], STELE__NULL);
}

static void no_filter_at_all_is_all_unset(void **state)
{
    (void)state;
    stele_gen_param free_params[5];
    memcpy(free_params, params, sizeof params);
    free_params[2].required = false;
    stele_gen_stmt stmt = reads;
    stmt.params = free_params;
    const void *args[] = {NULL, &key};
    assert_int_equal(stele__bind_states(&stmt, args, states, &err), STELE_OK);
    for (int i = 1; i < 5; i++)
        assert_int_equal(states[i], STELE__UNSET);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    input in = {.id = stele_i64_v(1)};
    assert_int_equal(read_states(&writes, &in), STELE_E_INPUT);
    assert_string_equal(err.column, "name");
    assert_string_equal(err.table, "things");
    in.name = stele_text_v("x");
    in.id.tag = &stele_tag_null;
    assert_int_equal(read_states(&writes, &in), STELE_E_INPUT);
    assert_string_equal(err.column, "id");
    assert_true(strstr(err.message, "NULL") != NULL);
    in.id.tag = &stele_tag_now;
    assert_int_equal(read_states(&writes, &in), STELE_E_INPUT);
    in.id.tag = (const stele_tag *)&key;
    assert_int_equal(read_states(&writes, &in), STELE_E_INPUT);
    assert_true(strstr(err.message, "constructor") != NULL);
    in.id = (stele_in_i64){0};
    assert_int_equal(read_states(&patches, &in), STELE_E_INPUT);
    assert_true(strstr(err.message, "no column") != NULL);
    in.note = stele_text_n_null();
    assert_int_equal(read_states(&patches, &in), STELE_OK);
}

/* Binds all five in order; the caller releases. */
static stele_status bind_all(const input *in, stele__bound *bound)
{
    static const uint16_t order[] = {0, 1, 2, 3, 4};
    stele__bind_slot slots[5];
    const void *args[] = {in, &key};
    assert_int_equal(read_states(&writes, in), STELE_OK);
    stele__bind_plan(&writes, order, 5, slots);
    return stele__bind(&writes, args, states, slots, 5, bound, &err);
}

static void values_are_encoded_in_order(void **state)
{
    (void)state;
    stele__bound bound;
    const input in = {.id = stele_i64_v(-2),
                      .name = stele_text_v(""),
                      .note = stele_text_n_null(),
                      .at = stele_ts_n_after(stele_days(3))};
    assert_int_equal(bind_all(&in, &bound), STELE_OK);
    assert_int_equal(bound.count, 5);
    assert_int_equal(bound.lengths[0], 4);
    assert_memory_equal(bound.values[0], "\0\0\0\7", 4);
    assert_memory_equal(bound.values[1], "\xff\xff\xff\xff\xff\xff\xff\xfe", 8);
    assert_non_null(bound.values[2]); /* empty, not NULL */
    assert_int_equal(bound.lengths[2], 0);
    assert_null(bound.values[3]);
    assert_int_equal(bound.lengths[4], 16); /* an interval */
    assert_memory_equal(bound.values[4], "\0\0\0\0\0\0\0\0\0\0\0\3\0\0\0\0", 16);
    stele__bind_release(&bound);
}

static void texts_are_not_copied(void **state)
{
    (void)state;
    stele__bound bound;
    static const char text[] = "a text of some length";
    const input in = {.name = stele_text_v(text)};
    assert_int_equal(bind_all(&in, &bound), STELE_OK);
    assert_ptr_equal(bound.values[2], text);
    assert_null(bound.block.chunks);
    stele__bind_release(&bound);
}

static void null_pointers_are_refused(void **state)
{
    (void)state;
    stele__bound bound;
    const input in = {.name = stele_text_v(NULL)};
    assert_int_equal(bind_all(&in, &bound), STELE_E_INPUT);
    assert_string_equal(err.column, "name");
    stele__bind_release(&bound);
}

/* Beyond what a result or a message may hold; the bytes are never looked at. */
static void lengths_are_bounded(void **state)
{
    (void)state;
    stele__bound bound;
    input in = {.name = stele_text_of((stele_str){"", (size_t)1 << 30})};
    assert_int_equal(bind_all(&in, &bound), STELE_E_VALUE);
    assert_string_equal(err.column, "name");
    stele__bind_release(&bound);
    in.name.v.len = SIZE_MAX;
    assert_int_equal(bind_all(&in, &bound), STELE_E_VALUE);
    stele__bind_release(&bound);
    in.name.v.len = (size_t)1 << 29;
    in.note = stele_text_n_of(in.name.v);
    assert_int_equal(bind_all(&in, &bound), STELE_E_VALUE);
    assert_true(strstr(err.message, "together") != NULL);
    stele__bind_release(&bound);
    in.note = stele_text_n_null();
    assert_int_equal(bind_all(&in, &bound), STELE_OK);
    stele__bind_release(&bound);
}

/* ---- texts alone ---- */

typedef struct note {
    stele_in_i64 id;
    stele_in_str title;
    stele_in_str_n body;
} note;

static const stele_gen_param note_params[] = {
    {"id", STELE_GEN_INT8, STELE_GEN_IN, false, 0, offsetof(note, id), 0, NULL},
    {"title", STELE_GEN_TEXT, STELE_GEN_IN, true, 0, offsetof(note, title), 0, NULL},
    {"body", STELE_GEN_JSONB, STELE_GEN_IN_N, false, 0, offsetof(note, body), 0, NULL},
};

static const stele_gen_stmt notes = {.name = "notes",
                                     .table = "notes",
                                     .params = note_params,
                                     .param_count = STELE_COUNT(note_params)};

static uint32_t offsets[3];

/* The plan for the shape that `in` has; its parameters are those in `order`. */
static stele__text_plan plan_for(const note *in, const uint16_t *order, int count)
{
    stele__bind_slot slots[3];
    stele__text_plan plan;
    const void *args[] = {in};
    assert_int_equal(stele__bind_states(&notes, args, states, &err), STELE_OK);
    stele__bind_plan(&notes, order, count, slots);
    stele__bind_plan_texts(&notes, states, slots, count, offsets, &plan);
    return plan;
}

static bool bind_texts(const stele__text_plan *plan, const note *in, stele__bound_texts *bound)
{
    const void *args[] = {in};
    return stele__bind_texts(plan, 2, args, bound);
}

static void texts_are_bound_at_once(void **state)
{
    (void)state;
    static const uint16_t order[] = {1, 2};
    const note in = {.title = stele_text_v("x"), .body = stele_text_n_v("{}")};
    stele__bound_texts bound;
    stele__text_plan plan = plan_for(&in, order, 2);
    assert_true(plan.possible);
    assert_true(bind_texts(&plan, &in, &bound));
    assert_ptr_equal(bound.values[0], in.title.v.data);
    assert_int_equal(bound.lengths[0], 1);
    assert_int_equal(bound.lengths[1], 3);
    assert_memory_equal(bound.values[1], "\1{}", 3);
}

static void another_shape_is_seen(void **state)
{
    (void)state;
    static const uint16_t order[] = {1, 2};
    const note in = {.title = stele_text_v("x"), .body = stele_text_n_v("{}")};
    static char big[STELE__BIND_SPACE];
    stele__bound_texts bound;
    stele__text_plan plan = plan_for(&in, order, 2);
    note other = in;
    other.id = stele_i64_v(1);
    assert_false(bind_texts(&plan, &other, &bound));
    other = in;
    other.title.tag = NULL;
    assert_false(bind_texts(&plan, &other, &bound));
    other = in;
    other.title.v.data = NULL;
    assert_false(bind_texts(&plan, &other, &bound));
    other = in;
    other.body = stele_text_n_null();
    assert_false(bind_texts(&plan, &other, &bound));
    other.body = stele_text_n_of((stele_str){big, sizeof big});
    assert_false(bind_texts(&plan, &other, &bound));
    other = in;
    other.title.v.len = STELE__VALUE_MAX;
    assert_false(bind_texts(&plan, &other, &bound));
    assert_false(bind_texts(&plan, NULL, &bound));
}

static void what_is_no_text_goes_the_other_way(void **state)
{
    (void)state;
    static const uint16_t with_id[] = {0, 1};
    static const uint16_t without_body[] = {1};
    note in = {.id = stele_i64_v(1), .title = stele_text_v("x")};
    assert_false(plan_for(&in, with_id, 2).possible);
    /* An input that is set but bound to nothing would not be looked at. */
    in = (note){.title = stele_text_v("x"), .body = stele_text_n_v("{}")};
    assert_false(plan_for(&in, without_body, 1).possible);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_become_states),
        cmocka_unit_test(no_filter_at_all_is_all_unset),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(values_are_encoded_in_order),
        cmocka_unit_test(texts_are_not_copied),
        cmocka_unit_test(null_pointers_are_refused),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(texts_are_bound_at_once),
        cmocka_unit_test(another_shape_is_seen),
        cmocka_unit_test(what_is_no_text_goes_the_other_way),
    };
    return RUN(tests);
}
