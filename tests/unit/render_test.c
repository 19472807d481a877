/*
 * From parts to SQL, for names, flags and shapes.
 */
#include "render.h"

#include "unit.h"

static const stele_module shop = {.name = "shop"};

static const stele_gen_param params[] = {
    {"id", STELE_GEN_INT8, STELE_GEN_IN, false, 0, 0, 0, NULL},
    {"name", STELE_GEN_TEXT, STELE_GEN_IN, false, 0, 0, 0, NULL},
    {"at", STELE_GEN_TIMESTAMP, STELE_GEN_IN_N, false, 0, 0, 0, NULL},
    {"tz", STELE_GEN_TIMESTAMPTZ, STELE_GEN_IN_N, false, 0, 0, 0, NULL},
    {"se\"lect", STELE_GEN_INT4, STELE_GEN_IN_N, false, 0, 0, 0, NULL},
};

enum { U = STELE__UNSET, P = STELE__PARAM, N = STELE__NOW, A = STELE__AFTER, Z = STELE__NULL };

static stele__names plain_names(void)
{
    return (stele__names){.id = 1, .soft_delete = true};
}

typedef struct rendering {
    stele_status st;
    char sql[512];
    uint16_t order[5];
    uint16_t count;
    stele_error err;
} rendering;

static rendering render(const stele_gen_part *parts, uint16_t count, const uint8_t *states,
                        uint32_t flags, const stele__names *names)
{
    rendering r = {.st = STELE_OK};
    stele__buf sql;
    stele__buf_init(&sql);
    stele__render_input input = {.parts = parts,
                                 .part_count = count,
                                 .params = params,
                                 .param_count = 5,
                                 .states = states,
                                 .flags = flags,
                                 .module = &shop,
                                 .names = names};
    r.st = stele__render(&input, &sql, r.order, &r.count, &r.err);
    (void)snprintf(r.sql, sizeof r.sql, "%s", stele__buf_text(&sql));
    stele__buf_release(&sql);
    return r;
}

#define RENDER(parts, states, flags, names) render(parts, STELE_COUNT(parts), states, flags, names)

static void tables_take_schema_and_prefix(void **state)
{
    (void)state;
    static const stele_gen_part parts[] = {STELE_SQL("FROM "), STELE_TABLE("orders"),
                                           STELE_SQL(", "), STELE_TABLE("billing.taxes")};
    static const stele__pinned pins[] = {{"billing", "shared", "b_"}};
    stele__names names = plain_names();
    assert_string_equal(RENDER(parts, NULL, 0, &names).sql, "FROM \"orders\", \"taxes\"");
    (void)snprintf(names.schema, sizeof names.schema, "te\"n");
    (void)snprintf(names.prefix, sizeof names.prefix, "app_");
    names.pins = pins;
    names.pin_count = 1;
    assert_string_equal(RENDER(parts, NULL, 0, &names).sql,
                        "FROM \"te\"\"n\".\"app_orders\", \"shared\".\"b_taxes\"");
}

static void pieces_of_names(void **state)
{
    (void)state;
    static const stele_gen_part parts[] = {STELE_SCHEMA, STELE_SQL("\"idx_"), STELE_SCHEMA_,
                                           STELE_PREFIX, STELE_SQL("orders\"")};
    stele__names names = plain_names();
    assert_string_equal(RENDER(parts, NULL, 0, &names).sql, "\"idx_orders\"");
    (void)snprintf(names.schema, sizeof names.schema, "s");
    (void)snprintf(names.prefix, sizeof names.prefix, "p_");
    assert_string_equal(RENDER(parts, NULL, 0, &names).sql, "\"s\".\"idx_s_p_orders\"");
    stele__buf name;
    stele__buf_init(&name);
    stele__render_name(parts + 2, 2, &shop, &names, &name);
    assert_string_equal(stele__buf_text(&name), "s_p_");
    stele__buf_release(&name);
}

static const stele_gen_part insert_parts[] = {
    STELE_SQL("INSERT "),
    STELE_IF_ANY(0, 5),
    STELE_SQL("("),
    STELE_LIST,
    STELE_EACH_NAME(0, 5),
    STELE_SQL(") VALUES ("),
    STELE_LIST,
    STELE_EACH_VALUE(0, 5),
    STELE_SQL(")"),
    STELE_ELSE,
    STELE_SQL("DEFAULT VALUES"),
    STELE_END,
    STELE_IF_FLAG(STELE_FLAG_RETURNING),
    STELE_SQL(" RETURNING id"),
    STELE_END,
};

static void shapes_of_an_insert(void **state)
{
    (void)state;
    stele__names names = plain_names();
    static const uint8_t none[5] = {U, U, U, U, U};
    static const uint8_t some[5] = {U, P, N, A, P};
    assert_string_equal(RENDER(insert_parts, none, 0, &names).sql, "INSERT DEFAULT VALUES");
    assert_string_equal(RENDER(insert_parts, none, STELE_FLAG_RETURNING, &names).sql,
                        "INSERT DEFAULT VALUES RETURNING id");
    rendering r = RENDER(insert_parts, some, 0, &names);
    assert_string_equal(r.sql, "INSERT (\"name\", \"at\", \"tz\", \"se\"\"lect\") VALUES ($1, "
                               "(statement_timestamp() AT TIME ZONE 'UTC'), "
                               "(statement_timestamp() + $2), $3)");
    assert_int_equal(r.count, 3);
    assert_int_equal(r.order[0], 1);
    assert_int_equal(r.order[1], 3);
    assert_int_equal(r.order[2], 4);
}

static void a_parameter_used_twice_is_sent_once(void **state)
{
    (void)state;
    static const stele_gen_part parts[] = {STELE_PARAM(3), STELE_SQL(" "), STELE_PARAM(1),
                                           STELE_SQL(" "), STELE_PARAM(3)};
    stele__names names = plain_names();
    rendering r = RENDER(parts, NULL, 0, &names);
    assert_string_equal(r.sql, "$1 $2 $1");
    assert_int_equal(r.count, 2);
}

static void patches_and_upserts(void **state)
{
    (void)state;
    static const uint8_t states[5] = {P, P, U, U, P};
    static const stele_gen_part parts[] = {
        STELE_SQL("SET "), STELE_LIST,           STELE_EACH_SET(1, 5),
        STELE_IF_UNSET(2), STELE_ITEM("at = x"), STELE_END,
        STELE_IF_SET(2),   STELE_ITEM("wrong"),  STELE_END,
        STELE_SQL("; "),   STELE_LIST,           STELE_EACH_EXCLUDED(0, 2),
    };
    stele__names names = plain_names();
    assert_string_equal(RENDER(parts, states, 0, &names).sql,
                        "SET \"name\" = $1, \"se\"\"lect\" = $2, at = x; "
                        "\"id\" = EXCLUDED.\"id\", \"name\" = EXCLUDED.\"name\"");
}

static void filters_know_null(void **state)
{
    (void)state;
    static const stele_gen_part parts[] = {STELE_WHERE_EQ(0, "t.id"), STELE_WHERE_EQ(2, "t.at"),
                                           STELE_WHERE_GE(3, "t.tz"), STELE_WHERE_LT(1, "t.name")};
    static const stele_gen_part range[] = {STELE_WHERE_GE(2, "t.at")};
    static const uint8_t states[5] = {P, Z, N, N, U};
    static const uint8_t mixed[5] = {U, P, Z, A, U};
    stele__names names = plain_names();
    rendering r = RENDER(parts, mixed, 0, &names);
    assert_string_equal(r.sql, "\n  AND t.at IS NULL\n  AND t.tz >= (statement_timestamp() + $1)"
                               "\n  AND t.name < $2");
    r = RENDER(parts, states, 0, &names);
    assert_int_equal(r.st, STELE_E_INPUT); /* NULL bounds nothing */
    assert_true(strstr(r.err.message, "\"name\"") != NULL);
    assert_int_equal(RENDER(range, mixed, 0, &names).st, STELE_E_INPUT);
}

static void branches_nest(void **state)
{
    (void)state;
    static const stele_gen_part parts[] = {
        STELE_IF_FLAG(1), STELE_SQL("a"), STELE_IF_NO_FLAG(2), STELE_SQL("b"), STELE_ELSE,
        STELE_SQL("c"),   STELE_END,      STELE_ELSE,          STELE_SQL("d"), STELE_IF_FLAG(2),
        STELE_SQL("e"),   STELE_ELSE,     STELE_SQL("f"),      STELE_END,      STELE_END,
        STELE_IF_SOFT,    STELE_SQL("s"), STELE_ELSE,          STELE_SQL("h"), STELE_END,
    };
    stele__names names = plain_names();
    assert_string_equal(RENDER(parts, NULL, 0, &names).sql, "dfs");
    assert_string_equal(RENDER(parts, NULL, 1, &names).sql, "abs");
    assert_string_equal(RENDER(parts, NULL, 2, &names).sql, "des");
    assert_string_equal(RENDER(parts, NULL, 3, &names).sql, "acs");
    names.soft_delete = false;
    assert_string_equal(RENDER(parts, NULL, 3, &names).sql, "ach");
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    stele_gen_part parts[40];
    stele__names names = plain_names();
    for (int i = 0; i < 40; i++)
        parts[i] = (stele_gen_part)STELE_IF_FLAG(1);
    assert_int_equal(RENDER(parts, NULL, 1, &names).st, STELE_E_MISUSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_take_schema_and_prefix),
        cmocka_unit_test(pieces_of_names),
        cmocka_unit_test(shapes_of_an_insert),
        cmocka_unit_test(a_parameter_used_twice_is_sent_once),
        cmocka_unit_test(patches_and_upserts),
        cmocka_unit_test(filters_know_null),
        cmocka_unit_test(branches_nest),
        cmocka_unit_test(nesting_is_bounded),
    };
    return RUN(tests);
}
