/* Each kind of difference between a database and its schema is found, and told in clear words. */
#include "ensure_lab.h"
#include "ensure_util.h"

/* What is done to tables that fit, and what is told of it then: one text a line. */
typedef struct change {
    const char *name;
    const char *sql;
    const char *told;
} change;

#define ROW "INSERT INTO @.things (name, price) VALUES ('a', 1);"

static const change changes[] = {
    {"a_column_is_missing", "ALTER TABLE @.things DROP COLUMN price CASCADE",
     "table \"things\": column \"price\" does not exist, the schema says numeric(12,2) NOT NULL\n"},
    {"a_column_has_another_type", "ALTER TABLE @.things ALTER note TYPE varchar(9)",
     "table \"things\": column \"note\" is character varying(9), the schema says text\n"},
    {"a_column_has_another_length", "ALTER TABLE @.things ALTER name TYPE varchar(50)",
     "table \"things\": column \"name\" is character varying(50), the schema says character "
     "varying(40)\n"},
    {"a_column_has_another_enum",
     "CREATE TYPE @.moo AS ENUM (); ALTER TABLE @.things DROP COLUMN moods;"
     "ALTER TABLE @.things ADD moods @.moo[]",
     "table \"things\": column \"moods\" is @.moo[], the schema says mood[]\n"},
    {"an_array_is_no_array",
     "ALTER TABLE @.things DROP COLUMN moods; ALTER TABLE @.things ADD moods @.mood",
     "table \"things\": column \"moods\" is @.mood, the schema says mood[]\n"},
    {"a_column_allows_null", "ALTER TABLE @.things ALTER name DROP NOT NULL",
     "table \"things\": column \"name\" allows NULL, the schema says NOT NULL\n"},
    {"a_column_refuses_null", "ALTER TABLE @.things ALTER note SET NOT NULL",
     "table \"things\": column \"note\" is NOT NULL, the schema says that it allows NULL\n"},
    {"a_foreign_column_demands_a_value", "ALTER TABLE @.things ADD colour text NOT NULL",
     "table \"things\": column \"colour\" is unknown to the schema, NOT NULL and without a "
     "default, "
     "so that no row can be inserted\n"},
    {"a_view_has_the_name", "DROP TABLE @.pieces; CREATE VIEW @.pieces AS SELECT 1 AS no",
     "\"pieces\" is no table, the schema says that it is\n"},
    {"a_unique_index_is_missing", ROW "DROP INDEX @.things_active",
     "table \"things\": unique index \"things_active\" does not exist, and the table has rows\n"},
    {"an_index_is_missing", ROW "DROP INDEX @.things_price",
     "table \"things\": index \"things_price\" does not exist, and the table has rows\n"},
    {"a_unique_index_is_not_unique",
     "DROP INDEX @.things_active;"
     "CREATE INDEX things_active ON @.things (name, mood) WHERE deleted_at IS NULL",
     "table \"things\": index \"things_active\" is not unique, the schema says unique\n"},
    {"a_unique_index_has_other_columns",
     "DROP INDEX @.things_active;"
     "CREATE UNIQUE INDEX things_active ON @.things (name, price) WHERE deleted_at IS NULL",
     "table \"things\": index \"things_active\" is on (name, price), the schema says (name, "
     "mood)\n"},
    {"the_columns_of_a_unique_index_stand_otherwise",
     "DROP INDEX @.things_active;"
     "CREATE UNIQUE INDEX things_active ON @.things (mood, name) WHERE deleted_at IS NULL",
     "table \"things\": index \"things_active\" is on (mood, name), the schema says (name, "
     "mood)\n"},
    {"a_unique_index_covers_all_rows",
     "DROP INDEX @.things_active; CREATE UNIQUE INDEX things_active ON @.things (name, mood)",
     "table \"things\": index \"things_active\" covers all rows, the schema says deleted_at IS "
     "NULL\n"},
    {"a_unique_index_covers_other_rows",
     "DROP INDEX @.things_active;"
     "CREATE UNIQUE INDEX things_active ON @.things (name, mood) WHERE deleted_at IS NOT NULL",
     "table \"things\": index \"things_active\" covers deleted_at IS NOT NULL, the schema says "
     "deleted_at IS NULL\n"},
    {"an_expression_means_something_else",
     "DROP INDEX @.things_folded;"
     "CREATE UNIQUE INDEX things_folded ON @.things (lower(name))"
     " WHERE deleted_at IS NULL AND note IN ('a', 'c')",
     "table \"things\": index \"things_folded\" covers deleted_at IS NULL AND note = ANY "
     "(ARRAY['a', "
     "'c']), the schema says deleted_at IS NULL AND note = ANY (ARRAY['a', 'b'])\n"},
    {"an_index_is_not_valid",
     "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '@.things_price'::regclass",
     "table \"things\": index \"things_price\" is not valid, as a concurrent build of it failed or "
     "is still at work\n"},
    {"a_foreign_key_is_missing",
     ROW "INSERT INTO @.pieces VALUES (1, 1);"
         "ALTER TABLE @.pieces DROP CONSTRAINT pieces_thing",
     "table \"pieces\": foreign key \"pieces_thing\" does not exist, and the table has rows\n"},
    {"a_foreign_key_does_something_else",
     "INSERT INTO @.things (id, name, price) VALUES (1, 'a', 1);"
     "INSERT INTO @.pieces VALUES (1, 1);"
     "ALTER TABLE @.pieces DROP CONSTRAINT pieces_thing;"
     "ALTER TABLE @.pieces ADD FOREIGN KEY (thing_id) REFERENCES @.things ON DELETE RESTRICT",
     "table \"pieces\": foreign key \"pieces_thing\" does not exist, and the table has rows\n"},
    {"a_label_is_missing", "ALTER TYPE @.mood RENAME VALUE 'it''s bad' TO 'bad'",
     "enum \"mood\" has no label 'it's bad'\n"},
    {"there_is_no_primary_key", "ALTER TABLE @.pieces DROP CONSTRAINT pieces_pkey",
     "table \"pieces\" has no primary key, the schema says (thing_id, no): add it, or a unique "
     "index "
     "on the same columns\n"},
    {"the_primary_key_is_on_other_columns",
     "ALTER TABLE @.pieces DROP CONSTRAINT pieces_pkey, ADD PRIMARY KEY (no)",
     "table \"pieces\": its primary key is (no), the schema says (thing_id, no): change it, or add "
     "a "
     "unique index on these columns\n"},
    {"the_columns_of_the_primary_key_stand_otherwise",
     "ALTER TABLE @.pieces DROP CONSTRAINT pieces_pkey, ADD PRIMARY KEY (no, thing_id)",
     "table \"pieces\": its primary key is (no, thing_id), the schema says (thing_id, no): change "
     "it, "
     "or add a unique index on these columns\n"},
    {"the_primary_key_is_deferrable",
     "ALTER TABLE @.pieces DROP CONSTRAINT pieces_pkey, ADD PRIMARY KEY (thing_id, no) DEFERRABLE",
     "table \"pieces\": its primary key is deferrable, so that no upsert can use it: add a unique "
     "index on the same columns\n"},
    {"only_some_rows_have_a_key",
     "ALTER TABLE @.pieces DROP CONSTRAINT pieces_pkey;"
     "CREATE UNIQUE INDEX part ON @.pieces (thing_id, no) WHERE no > 0;"
     "CREATE INDEX other ON @.pieces (thing_id, no)",
     "table \"pieces\" has no primary key, the schema says (thing_id, no): add it, or a unique "
     "index "
     "on the same columns\n"},
    {"a_unique_constraint_is_deferrable",
     "DROP INDEX @.pieces_tag; ALTER TABLE @.pieces ADD CONSTRAINT pieces_tag UNIQUE (seq) "
     "DEFERRABLE",
     "table \"pieces\": index \"pieces_tag\" is that of a deferrable constraint, so that no upsert "
     "can "
     "use it\n"},
    {"a_serial_has_no_default", "ALTER TABLE @.things ALTER id DROP DEFAULT",
     "table \"things\": column \"id\" has no default, the schema says bigserial\n"},
    {"an_identity_is_none", "ALTER TABLE @.pieces ALTER seq DROP IDENTITY",
     "table \"pieces\": column \"seq\" has no default, the schema says IDENTITY\n"},
    {"a_default_is_missing", "ALTER TABLE @.pieces ALTER tag DROP DEFAULT",
     "table \"pieces\": column \"tag\" has no default, the schema says DEFAULT coalesce(NULL, 'x, "
     "y')\n"},
    {"a_generated_column_is_none", "ALTER TABLE @.pieces ALTER twice DROP EXPRESSION",
     "table \"pieces\": column \"twice\" has no default, the schema says GENERATED\n"},
    {"the_name_of_an_index_is_taken",
     "DROP INDEX @.things_price; CREATE INDEX things_price ON @.pieces (no)",
     "table \"things\": the name of its index \"things_price\" is taken by an index of table "
     "\"pieces\"\n"},
};

static char *filled_in(const char *text, char *out, size_t size)
{
    size_t used = 0;
    for (; *text != '\0' && used + sizeof schema < size; text++) {
        if (*text == '@')
            used += (size_t)snprintf(out + used, size - used, "%s", schema);
        else
            out[used++] = *text;
    }
    out[used] = '\0';
    return out;
}

static void is_told(void **state)
{
    const change *c = *state;
    char expected[2048];
    char told[2048] = "";
    said what;
    stele_error err;
    make_schema(NULL);
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
    sql(c->sql);
    stele_ensure_options options = listening(&what);
    assert_status(STELE_E_SCHEMA, ensure_once(&lab_module, &options, &err), &err);
    for (int i = 0; i < what.count; i++) {
        size_t used = strlen(told);
        snprintf(told + used, sizeof told - used, "%s\n", what.differences[i]);
    }
    assert_string_equal(told, filled_in(c->told, expected, sizeof expected));
    assert_null(strstr(what.phases, "create"));
    drop_schema(NULL);
}

static void all_are_told_in_one_error(void **state)
{
    (void)state;
    said what;
    stele_error err;
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
    sql("ALTER TABLE @.things ALTER note TYPE varchar(9), ALTER name DROP NOT NULL;"
        "DROP TABLE @.pieces");
    stele_ensure_options options = listening(&what);
    assert_status(STELE_E_SCHEMA, ensure_once(&lab_module, &options, &err), &err);
    assert_int_equal(what.count, 2);
    assert_string_equal(
        err.message,
        "module lab: 2 differences: table \"things\": column \"name\" allows NULL, the schema says "
        "NOT NULL; table \"things\": column \"note\" is character varying(9), the schema says "
        "text");
    assert_string_equal(err.detail, "");
    assert_string_equal(err.table, "things");
    assert_string_equal(err.schema, schema);
    assert_string_not_equal(err.hint, "");
    /* A database that differs is left as it is: the missing table was not made. */
    assert_value("SELECT to_regclass('@.pieces') IS NULL", "t");
}

static void those_without_room_are_counted(void **state)
{
    (void)state;
    said what;
    stele_error err;
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
    sql("DO $$ BEGIN FOR i IN 1..16 LOOP EXECUTE 'ALTER TABLE @.pieces ADD'"
        " || ' a_column_with_quite_a_long_name_to_fill_the_message_' || i || ' text NOT NULL';"
        "END LOOP; END $$");
    stele_ensure_options options = listening(&what);
    assert_status(STELE_E_SCHEMA, ensure_once(&lab_module, &options, &err), &err);
    assert_int_equal(what.count, 16);
    assert_memory_equal(err.message, "module lab: 16 differences: table \"pieces\"", 42);
    size_t told = 0;
    for (int i = 0; i < 16; i++)
        told += strstr(err.message, what.differences[i]) != NULL ||
                strstr(err.detail, what.differences[i]) != NULL;
    assert_true(told > 2);
    char more[32];
    snprintf(more, sizeof more, "; and %zu more", 16 - told);
    assert_string_equal(err.detail + strlen(err.detail) - strlen(more), more);
}

static void what_is_more_is_fine(void **state)
{
    (void)state;
    stele_error err;
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
    sql("ALTER TABLE @.things ADD more text, ADD tag text NOT NULL DEFAULT '',"
        " ADD serial_no int NOT NULL GENERATED ALWAYS AS IDENTITY,"
        " ADD twice numeric NOT NULL GENERATED ALWAYS AS (price * 2) STORED;"
        "CREATE INDEX more ON @.things (more); CREATE TABLE @.other (id int);"
        "CREATE UNIQUE INDEX even_more ON @.things (id, lower(name) DESC) WHERE length(name) > 3;"
        "ALTER TYPE @.mood ADD VALUE 'more'");
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
}

static void the_same_under_another_name_is_fine(void **state)
{
    (void)state;
    stele_error err;
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
    sql(ROW "DROP INDEX @.things_active, @.things_folded, @.things_price;"
            "CREATE UNIQUE INDEX one ON @.things USING btree (name, mood ASC NULLS LAST)"
            " WHERE ((deleted_at) IS NULL);"
            "CREATE UNIQUE INDEX two ON @.things (lower(name::text))"
            " WHERE (deleted_at IS NULL) AND (note = ANY (ARRAY['a', 'b']));"
            "CREATE INDEX three ON @.things (price, id DESC NULLS FIRST) WITH (fillfactor = 70);"
            "ALTER TABLE @.pieces RENAME CONSTRAINT pieces_thing TO four");
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
    assert_value("SELECT count(*) FROM pg_index WHERE indrelid = '@.things'::regclass", "4");
}

static void a_unique_index_is_as_good_as_a_primary_key(void **state)
{
    static const char *const ways[] = {
        "CREATE UNIQUE INDEX one ON @.pieces (thing_id, no)",
        "ALTER TABLE @.pieces ADD UNIQUE (thing_id, no)",
        "CREATE UNIQUE INDEX two ON @.pieces (thing_id, no) INCLUDE (tag)",
        "ALTER TABLE @.pieces ADD UNIQUE (thing_id, no), ADD PRIMARY KEY (seq)",
        "ALTER TABLE @.pieces ADD PRIMARY KEY (thing_id, no) INCLUDE (tag)",
    };
    (void)state;
    stele_error err;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (i > 0)
            make_schema(NULL);
        assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
        sql("ALTER TABLE @.pieces DROP CONSTRAINT pieces_pkey");
        sql(ways[i]);
        assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
        sql("INSERT INTO @.things (id, name, price) VALUES (1, 'a', 1);"
            "INSERT INTO @.pieces VALUES (1, 1) ON CONFLICT (thing_id, no) DO NOTHING");
        if (i + 1 < sizeof ways / sizeof ways[0])
            drop_schema(NULL);
    }
}

static void what_fills_a_column_may_be_another_thing(void **state)
{
    (void)state;
    stele_error err;
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
    sql("ALTER TABLE @.things ALTER id DROP DEFAULT;"
        "ALTER TABLE @.things ALTER id ADD GENERATED ALWAYS AS IDENTITY;"
        "ALTER TABLE @.pieces ALTER tag SET DEFAULT 'z';"
        "ALTER TABLE @.pieces ALTER seq DROP IDENTITY;"
        "CREATE SEQUENCE @.numbers;"
        "ALTER TABLE @.pieces ALTER seq SET DEFAULT nextval('@.numbers')");
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
}

static void verifying_creates_nothing(void **state)
{
    (void)state;
    said what;
    stele_error err;
    stele_ensure_options options = listening(&what);
    options.verify_only = true;
    assert_status(STELE_E_SCHEMA, ensure_once(&lab_module, &options, &err), &err);
    assert_int_equal(what.count, 11);
    assert_string_equal(what.differences[0], "enum \"mood\" does not exist");
    assert_string_equal(what.differences[1], "table \"things\" does not exist");
    assert_string_equal(what.differences[3],
                        "table \"things\": unique index \"things_active\" does not exist");
    assert_value("SELECT count(*) FROM pg_class WHERE relnamespace = '@'::regnamespace", "0");
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
}

int main(void)
{
    enum { CHANGES = sizeof changes / sizeof changes[0] };
    const struct CMUnitTest others[] = {
        TEST(all_are_told_in_one_error),
        TEST(those_without_room_are_counted),
        TEST(what_is_more_is_fine),
        TEST(the_same_under_another_name_is_fine),
        TEST(a_unique_index_is_as_good_as_a_primary_key),
        TEST(what_fills_a_column_may_be_another_thing),
        TEST(verifying_creates_nothing),
    };
    enum { OTHERS = sizeof others / sizeof others[0] };
    struct CMUnitTest tests[CHANGES + OTHERS];
    for (size_t i = 0; i < CHANGES; i++)
        tests[i] = (struct CMUnitTest){changes[i].name, is_told, NULL, NULL,
                                       (void *)(uintptr_t)&changes[i]};
    memcpy(tests + CHANGES, others, sizeof others);
    return RUN(tests);
}
