/* What text alone can settle: definitions of ours against what a real server makes of them. */
#include "ensure_text.h"
#include "ensure_util.h"

typedef struct pair {
    const char *ours;   /* what follows the table's name */
    const char *theirs; /* the index to make; NULL: the same */
    bool equal;
    bool plain;
} pair;

static const pair pairs[] = {
    {" (a, b)", NULL, true, true},
    {" (a, b)", " (b, a)", false, true},
    {" USING btree (a ASC NULLS LAST, b DESC NULLS FIRST)", " (a, b DESC)", true, true},
    {" (a DESC NULLS LAST)", " (a DESC)", false, true},
    {" (\"order\", \"Mixed\")", NULL, true, true},
    {" (a) INCLUDE (b, n)", NULL, true, true},
    {" (a) INCLUDE (b)", " (a, b)", false, true},
    {" (a) NULLS NOT DISTINCT", " (a)", false, true},
    {" USING hash (a)", NULL, true, true},
    {" USING hash (a)", " (a)", false, true},
    {" (a) WITH (fillfactor = 70)", " (a)", true, true},
    {" (a) WHERE a IS NOT NULL", NULL, true, true},
    {" (a) where A is NOT null", NULL, true, true},
    {" (a) WHERE n IS NULL AND a IS NOT NULL", " (a) WHERE a IS NOT NULL AND n IS NULL", true,
     true},
    {" (a) WHERE (((a IS NOT NULL)) AND (n IS NULL))", NULL, true, true},
    {" (a) WHERE a IS NULL", " (a) WHERE a IS NOT NULL", false, true},
    {" (a) WHERE a IS NULL", " (a)", false, true},
    {" (a) WHERE flag", NULL, true, false},
    {" (a) WHERE a IS NULL OR n IS NULL AND flag", NULL, false, false},
    {" (a) WHERE a IS NULL OR (n IS NULL AND flag)", NULL, true, false},
    {" (a) WHERE (a IS NULL OR n IS NULL) AND flag", NULL, true, false},
    {" (a) WHERE (a IS NULL OR n IS NULL) AND flag", " (a) WHERE a IS NULL OR (n IS NULL AND flag)",
     false, false},
    {" (a) WHERE v = 'it''s' AND n > 3", NULL, true, false},
    {" (a) WHERE v != 'x'", " (a) WHERE v <> 'x'::text", true, false},
    {" (a) WHERE v = 'x'", " (a) WHERE v = 'y'", false, false},
    {" (a) WHERE t = 'x'::text", " (a) WHERE t = 'x'", true, false},
    {" (a) WHERE n = 1", " (a) WHERE n::text = '1'", false, false},
    {" (lower(v))", NULL, true, false},
    {" ((lower(v)))", NULL, true, false},
    {" ((n + m) DESC)", NULL, true, false},
    {" (((n + m) * 2))", NULL, true, false},
    {" (((n + m) * 2))", " ((n + m * 2))", false, false},
    {" (v text_pattern_ops)", NULL, true, false},
    {" (a, v COLLATE \"C\")", NULL, true, false},
    {" (a) WHERE n BETWEEN 1 AND 3", NULL, false, false},
    {" (a) WHERE v IN ('x', 'y')", NULL, false, false},
    {" (a) WHERE n = 1 OR n = 2 AND m = 3 OR (n = 4 AND m = 5)", NULL, false, false},
    {" (a) WHERE CASE WHEN flag AND n > 1 THEN m > 2 ELSE false END", NULL, false, false},
    {" (a) WHERE NOT flag", NULL, true, false},
};

static bool is_varchar(const void *ctx, const char *column)
{
    (void)ctx;
    return strcmp(column, "v") == 0;
}

static void text_settles_what_it_can(void **state)
{
    (void)state;
    sql("CREATE TABLE @.t (a bigint, b int, n int, m int, flag bool, v varchar(9), t text,"
        " \"order\" int, \"Mixed\" int)");
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const pair *p = &pairs[i];
        char create[512];
        stele__block mem;
        stele__index_def ours;
        stele__index_def theirs;
        snprintf(create, sizeof create, "CREATE INDEX \" on \" ON @.t%s",
                 p->theirs != NULL ? p->theirs : p->ours);
        if (strstr(create, "DISTINCT") == NULL && strstr(create, "fillfactor") == NULL)
            sql(create);
        else
            sql("CREATE INDEX \" on \" ON @.t (a)");
        char *shown = value("SELECT pg_get_indexdef('@.\" on \"'::regclass)");
        sql("DROP INDEX @.\" on \"");
        stele__block_init(&mem, NULL, 0);
        assert_true(stele__index_def_of_tail(&mem, p->ours, is_varchar, NULL, &ours));
        assert_true(stele__index_def_of_server(&mem, shown, is_varchar, NULL, &theirs));
        if (stele__index_def_equal(&ours, &theirs) != p->equal || ours.plain != p->plain) {
            print_error("%s\n%s\nours %s %s [%s] %d\ntheirs %s %s [%s] %d\n", p->ours, shown,
                        ours.method, ours.keys, ours.predicate, ours.plain, theirs.method,
                        theirs.keys, theirs.predicate, theirs.plain);
            fail();
        }
        stele__block_release(&mem);
        free(shown);
    }
}

static void foreign_keys_are_read(void **state)
{
    (void)state;
    stele__block mem;
    stele__block_init(&mem, NULL, 0);
    sql("CREATE TABLE @.p (a int, b int, PRIMARY KEY (a, b));"
        "CREATE TABLE @.c (x int, y int);"
        "ALTER TABLE @.c ADD CONSTRAINT k FOREIGN KEY (x, y) REFERENCES @.p (a, b)"
        " ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED NOT VALID");
    char *shown = value("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'k'");
    const char *theirs = stele__foreign_key_def(&mem, shown);
    assert_string_equal(theirs, "FOREIGN KEY (x, y) REFERENCES p(a, b) ON UPDATE CASCADE ON DELETE "
                                "SET NULL DEFERRABLE INITIALLY DEFERRED");
    const char *ours = stele__foreign_key_def(
        &mem, "ALTER TABLE \"s\".\"c\"\n    ADD CONSTRAINT \"foreign\"\n    FOREIGN KEY (x, y)"
              " REFERENCES \"s\".\"p\" (a, b) ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE"
              " INITIALLY DEFERRED");
    assert_string_equal(ours, theirs);
    stele__block_release(&mem);
    free(shown);
}

static void tables_are_read(void **state)
{
    (void)state;
    stele__block mem;
    stele__table_def def;
    stele__block_init(&mem, NULL, 0);
    assert_true(
        stele__table_def_of(&mem,
                            "CREATE TABLE \"s\".\"t\" (\n"
                            "    id        bigserial,\n"
                            "    \"primary\" \"s\".\"p_mood\" NOT NULL DEFAULT 'a, (b',\n"
                            "    plain     numeric(12,2) COLLATE \"default\" NOT NULL,\n"
                            "    nothing   text DEFAULT NULL,\n"
                            "    now       timestamp(3) with time zone NOT NULL DEFAULT now(),\n"
                            "    no        int NOT NULL GENERATED BY DEFAULT AS IDENTITY,\n"
                            "    twice     int GENERATED ALWAYS AS ((no * 2)) STORED,\n"
                            "    PRIMARY KEY (id, \"primary\", \"Mixed\"),\n"
                            "    CONSTRAINT \"default\" CHECK (no > 0 AND coalesce(id, no) > 1)\n"
                            ") PARTITION BY RANGE (now)\nWITH (fillfactor = 70)",
                            &def));
    static const stele__filled filled[] = {{"id", "bigserial"},
                                           {"primary", "DEFAULT 'a, (b'"},
                                           {"now", "DEFAULT now()"},
                                           {"no", "IDENTITY"},
                                           {"twice", "GENERATED"}};
    assert_string_equal(def.key, "(id, primary, \"Mixed\")");
    assert_int_equal(def.filled_count, sizeof filled / sizeof filled[0]);
    for (size_t i = 0; i < def.filled_count; i++) {
        assert_string_equal(def.filled[i].column, filled[i].column);
        assert_string_equal(def.filled[i].how, filled[i].how);
    }
    assert_true(stele__table_def_of(&mem, "CREATE TABLE t (a int)", &def));
    assert_string_equal(def.key, "");
    assert_int_equal(def.filled_count, 0);
    stele__block_release(&mem);
}

static void broken_text_is_survived(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "(",
                                        ")",
                                        " WHERE",
                                        "'",
                                        "\"",
                                        "((a)",
                                        "a)",
                                        "(a) WHERE (",
                                        "USING",
                                        "CREATE",
                                        "ON",
                                        "ON x",
                                        "ON x.",
                                        "(a, ",
                                        "('x'::",
                                        "('x'::a(",
                                        "(a) INCLUDE",
                                        "(a) INCLUDE (",
                                        "(v)::text",
                                        "FOREIGN KEY",
                                        "REFERENCES",
                                        "REFERENCES a.",
                                        "(a NULLS",
                                        "(NULLS FIRST)",
                                        "(DESC)",
                                        "(()) WHERE ()",
                                        "(a) WHERE and",
                                        "(a) WHERE a and",
                                        "(PRIMARY",
                                        "(PRIMARY KEY",
                                        "(a DEFAULT",
                                        "(a DEFAULT, GENERATED)"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        stele__block mem;
        stele__index_def def;
        stele__table_def table;
        const char **strings;
        size_t count;
        stele__block_init(&mem, NULL, 0);
        assert_true(stele__index_def_of_tail(&mem, texts[i], is_varchar, NULL, &def));
        assert_true(stele__index_def_of_server(&mem, texts[i], is_varchar, NULL, &def));
        assert_non_null(stele__foreign_key_def(&mem, texts[i]));
        assert_true(stele__table_def_of(&mem, texts[i], &table));
        assert_true(stele__sql_strings(&mem, texts[i], &strings, &count));
        stele__block_release(&mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(text_settles_what_it_can),
        TEST(foreign_keys_are_read),
        TEST(tables_are_read),
        TEST(broken_text_is_survived),
    };
    return RUN(tests);
}
