/* Names: what is allowed, how they are folded and pinned, and that none is ever too long. */
#include "unit.h"

#include "mem_internal.h"
#include "names.h"
#include "stele/gen/gen.h"

/* A module with one table and one index, as generated code has them. */
static const stele_gen_part table_name[] = {STELE_PREFIX, STELE_SQL("events")};
static const stele_gen_part index_name[] = {STELE_SQL("idx_"), STELE_SCHEMA_, STELE_PREFIX,
                                            STELE_SQL("events_created")};
static const stele_gen_object objects[] = {
    {.kind = STELE_GEN_OBJECT_TABLE, .table = "events", .name = table_name, .name_count = 2},
    {.kind = STELE_GEN_OBJECT_INDEX, .table = "events", .name = index_name, .name_count = 4},
};
static const stele_gen_table events = {.name = "events"};
static const stele_gen_table *const tables[] = {&events};

static const stele_module folding = {.name = "folding",
                                     .tables = tables,
                                     .objects = objects,
                                     .table_count = 1,
                                     .object_count = 2,
                                     .fold_lower = true};
static const stele_module exact = {
    .name = "exact", .tables = tables, .objects = objects, .table_count = 1, .object_count = 2};
static const stele_module declared = {.name = "declared",
                                      .tables = tables,
                                      .objects = objects,
                                      .table_count = 1,
                                      .object_count = 2,
                                      .longest_schema = 16,
                                      .longest_prefix = 12};

static stele_status make(const stele_module *const *modules, size_t count, const char *schema,
                         const char *prefix, stele__names_box **ret_box, stele_error *err)
{
    stele__names_input input = {
        .modules = modules,
        .module_count = count,
        .names = {.schema = schema, .prefix = prefix},
        .soft_delete = true,
    };
    return stele__names_new(&input, ret_box, err);
}

static stele_error refused(const char *schema, const char *prefix)
{
    stele__names_box *box = NULL;
    stele_error err;
    assert_int_equal(make(NULL, 0, schema, prefix, &box, &err), STELE_E_NAME);
    assert_null(box);
    return err;
}

static void plain_names_are_taken_as_they_are(void **state)
{
    (void)state;
    stele__names_box *box = NULL;
    assert_int_equal(make(NULL, 0, "Tenant_1", "_App2_", &box, NULL), STELE_OK);
    assert_string_equal(box->names.schema, "Tenant_1");
    assert_string_equal(box->names.prefix, "_App2_");
    stele__free(box);
    assert_int_equal(make(NULL, 0, NULL, "", &box, NULL), STELE_OK);
    assert_string_equal(box->names.schema, "");
    assert_string_equal(box->names.prefix, "");
    stele__free(box);
}

static void odd_names_are_refused(void **state)
{
    (void)state;
    stele_error err = refused("1st", NULL);
    assert_string_equal(err.message, "schema \"1st\" starts with a digit");
    err = refused(NULL, "a-b");
    assert_string_equal(err.message, "prefix \"a-b\" has '-' at byte 2");
    assert_true(err.hint[0] != '\0');
    err = refused("a\"; DROP TABLE x; --", NULL);
    assert_non_null(strstr(err.message, "has '\"' at byte 2"));
    err = refused("caf\xc3\xa9", NULL);
    assert_string_equal(err.message, "schema \"caf\" has byte 0xc3 at byte 4");
    err = refused("a\nb", NULL);
    assert_null(strchr(err.message, '\n'));
    err = refused("a b", NULL);
    assert_non_null(strstr(err.message, "0x20"));
    (void)refused(".", NULL);
    (void)refused("a$", NULL);
}

static void sixty_three_bytes_and_no_more(void **state)
{
    (void)state;
    char name[65];
    stele__names_box *box = NULL;
    memset(name, 'n', sizeof name);
    name[63] = '\0';
    assert_int_equal(make(NULL, 0, name, NULL, &box, NULL), STELE_OK);
    assert_int_equal(strlen(box->names.schema), 63);
    stele__free(box);
    name[63] = 'n';
    name[64] = '\0';
    stele_error err = refused(name, NULL);
    assert_non_null(strstr(err.message, "64 bytes"));
}

/* "idx_" + schema + "_" + prefix + "events_created" is 19 bytes and the names. */
static void names_that_a_module_makes_are_measured(void **state)
{
    (void)state;
    const stele_module *const modules[] = {&exact};
    stele__names_box *box = NULL;
    stele_error err;
    char schema[64] = {0};
    memset(schema, 's', 40);
    assert_int_equal(make(modules, 1, schema, "pppp", &box, &err), STELE_OK); /* 63 */
    stele__free(box);
    assert_int_equal(make(modules, 1, schema, "ppppp", &box, &err), STELE_E_NAME);
    assert_non_null(strstr(err.message, "the index \"idx_ssss"));
    assert_non_null(strstr(err.message, "would have 64 bytes"));
    assert_non_null(strstr(err.hint, "take 1 bytes off"));
    assert_string_equal(err.table, "events");
    /* without a schema the table is the longest: prefix + 6 */
    char prefix[64] = {0};
    memset(prefix, 'p', 58);
    assert_int_equal(make(modules, 1, NULL, prefix, &box, &err), STELE_E_NAME);
    assert_non_null(strstr(err.message, "table"));
}

/* The generator's promise is trusted up to the lengths it was made for, and no further. */
static void declared_lengths_are_not_measured_again(void **state)
{
    (void)state;
    const stele_module *const modules[] = {&declared};
    stele__names_box *box = NULL;
    stele_error err;
    assert_int_equal(make(modules, 1, "ssssssssssssssss", "pppppppppppp", &box, &err), STELE_OK);
    stele__free(box);
    char schema[64] = {0};
    memset(schema, 's', 50);
    assert_int_equal(make(modules, 1, schema, NULL, &box, &err), STELE_E_NAME);
}

static void folding_follows_the_modules(void **state)
{
    (void)state;
    const stele_module *const all[] = {&folding};
    const stele_module *const mixed[] = {&exact, &folding};
    stele__names_box *box = NULL;
    assert_int_equal(make(all, 1, "Tenant", "App_", &box, NULL), STELE_OK);
    assert_string_equal(box->names.schema, "tenant");
    assert_string_equal(box->names.prefix, "app_");
    assert_int_equal(box->names.pin_count, 0);
    stele__free(box);
    assert_int_equal(make(mixed, 2, "Tenant", "App_", &box, NULL), STELE_OK);
    assert_string_equal(box->names.schema, "Tenant");
    assert_int_equal(box->names.pin_count, 1);
    assert_int_equal(box->fixed_pins, 0);
    assert_string_equal(box->names.pins[0].module, "folding");
    assert_string_equal(box->names.pins[0].schema, "tenant");
    assert_string_equal(box->names.pins[0].prefix, "app_");
    stele__free(box);
    assert_int_equal(make(mixed, 2, "tenant", "app_", &box, NULL), STELE_OK);
    assert_int_equal(box->names.pin_count, 0); /* no difference, no pin */
    stele__free(box);
}

static void pins_are_checked_folded_and_inherited(void **state)
{
    (void)state;
    const stele_module *const mixed[] = {&exact, &folding};
    stele__pinned pin;
    stele_error err;
    stele_pin wish = {.module = &folding, .names = {.schema = "Public"}};
    assert_int_equal(stele__names_pin(&wish, &pin, &err), STELE_OK);
    assert_string_equal(pin.schema, "public");
    stele__names_input input = {.modules = mixed,
                                .module_count = 2,
                                .pins = &pin,
                                .pin_count = 1,
                                .names = {.schema = "Tenant"}};
    stele__names_box *box = NULL;
    assert_int_equal(stele__names_new(&input, &box, &err), STELE_OK);
    assert_int_equal(box->fixed_pins, 1);
    assert_int_equal(box->names.pin_count, 1); /* pinned: no second one for folding */
    assert_string_equal(box->names.pins[0].schema, "public");
    stele__free(box);
    wish.names.schema = "no-good";
    assert_int_equal(stele__names_pin(&wish, &pin, &err), STELE_E_NAME);
    assert_non_null(strstr(err.message, "module folding"));
}

static uint64_t id_of(const char *schema, const char *prefix, bool soft, const stele__pinned *pins,
                      size_t pin_count)
{
    const stele_module *const modules[] = {&exact, &folding};
    stele__names_input input = {.modules = modules,
                                .module_count = 2,
                                .pins = pins,
                                .pin_count = pin_count,
                                .names = {.schema = schema, .prefix = prefix},
                                .soft_delete = soft};
    stele__names_box *box = NULL;
    assert_int_equal(stele__names_new(&input, &box, NULL), STELE_OK);
    uint64_t id = box->names.id;
    stele__free(box);
    return id;
}

static void equal_names_have_equal_ids(void **state)
{
    (void)state;
    const stele__pinned pins[] = {{.module = "exact", .schema = "a"},
                                  {.module = "folding", .schema = "b"}};
    const stele__pinned turned[] = {{.module = "folding", .schema = "b"},
                                    {.module = "exact", .schema = "a"}};
    const stele__pinned swapped[] = {{.module = "exact", .schema = "b"},
                                     {.module = "folding", .schema = "a"}};
    uint64_t id = id_of("s", "p", true, NULL, 0);
    assert_true(id != 0);
    assert_true(id == id_of("s", "p", true, NULL, 0));
    assert_true(id != id_of("sp", "", true, NULL, 0));
    assert_true(id != id_of("", "sp", true, NULL, 0));
    assert_true(id != id_of("s", "p", false, NULL, 0));
    assert_true(id_of("s", "p", true, pins, 2) == id_of("s", "p", true, turned, 2));
    assert_true(id_of("s", "p", true, pins, 2) != id_of("s", "p", true, swapped, 2));
    assert_true(id_of("", "", true, NULL, 0) == id_of(NULL, NULL, true, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_names_are_taken_as_they_are),
        cmocka_unit_test(odd_names_are_refused),
        cmocka_unit_test(sixty_three_bytes_and_no_more),
        cmocka_unit_test(names_that_a_module_makes_are_measured),
        cmocka_unit_test(declared_lengths_are_not_measured_again),
        cmocka_unit_test(folding_follows_the_modules),
        cmocka_unit_test(pins_are_checked_folded_and_inherited),
        cmocka_unit_test(equal_names_have_equal_ids),
    };
    return RUN(tests);
}
