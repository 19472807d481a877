/*
 * Everything the server can refuse: the status, the place it names, and what to do about it. Each case
 * runs with and without a stele_error; a success leaves the caller's untouched.
 */
#include "one.h"

static const char *const mood_labels[] = {"calm", "wild"};
static const stele_gen_enum mood = {"mood", mood_labels, 2};

typedef struct rich_input {
    stele_in_i64 id;
    stele_in_str name;    /* varchar(5) NOT NULL */
    stele_in_str_n code;  /* char(3) UNIQUE */
    stele_in_str_n note;  /* text CHECK (note <> 'bad') */
    stele_in_str_n doc;   /* jsonb */
    stele_in_str_n raw;   /* json */
    stele_in_str_n price; /* numeric(6,2) */
    stele_in_i64_n owner; /* REFERENCES owners */
    struct {
        const stele_tag *tag;
        int v;
    } mood;
    stele_in_i32_n low, high; /* the range excludes overlaps */
    stele_in_i32_n ratio;     /* ratio_of: generated from 1 / ratio */
} rich_input;

#define P(column, type, form, required, modifier, labels)                                          \
    {                                                                                              \
#column, STELE_GEN_##type, STELE_GEN_##form, required, 0, offsetof(rich_input, column),    \
            modifier, labels                                                                       \
    }

static const stele_gen_param rich_params[] = {
    P(id, INT8, IN, false, 0, NULL),
    P(name, TEXT, IN, false, 5, NULL),
    P(code, BPCHAR, IN_N, false, 3, NULL),
    P(note, TEXT, IN_N, false, 0, NULL),
    P(doc, JSONB, IN_N, false, 0, NULL),
    P(raw, JSON, IN_N, false, 0, NULL),
    P(price, NUMERIC, IN_N, false, 6 << 16 | 2, NULL),
    P(owner, INT8, IN_N, false, 0, NULL),
    P(mood, ENUM, IN_N, false, 0, &mood),
    P(low, INT4, IN_N, false, 0, NULL),
    P(high, INT4, IN_N, false, 0, NULL),
    P(ratio, INT4, IN_N, false, 0, NULL),
};

static const stele_gen_part rich_parts[] = {
    STELE_SQL("INSERT INTO "),
    STELE_TABLE("rich"),
    STELE_SQL(" AS t ("),
    STELE_LIST,
    STELE_EACH_NAME(0, 12),
    STELE_SQL(") VALUES ("),
    STELE_LIST,
    STELE_EACH_VALUE(0, 12),
    STELE_SQL(")"),
};

static const stele_gen_stmt rich_insert = {
    .module = &things_module,
    .name = "rich_insert",
    .table = "rich",
    .parts = rich_parts,
    .part_count = STELE_COUNT(rich_parts),
    .params = rich_params,
    .param_count = STELE_COUNT(rich_params),
};

static const char schema_sql[] =
    "CREATE EXTENSION IF NOT EXISTS btree_gist;"
    "DROP TABLE IF EXISTS rich, owners; DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM "
    "('calm');"
    "CREATE TABLE owners (id bigint PRIMARY KEY);"
    "CREATE TABLE rich (id bigint CONSTRAINT rich_key PRIMARY KEY, name varchar(5) NOT NULL,"
    " code char(3) CONSTRAINT rich_code UNIQUE, note text CONSTRAINT rich_note CHECK (note <> "
    "'bad'),"
    " doc jsonb, raw json, price numeric(6,2),"
    " owner bigint CONSTRAINT rich_owner REFERENCES owners, mood mood, low int, high int, ratio "
    "int,"
    " inverse int GENERATED ALWAYS AS (100 / ratio) STORED,"
    " CONSTRAINT rich_range EXCLUDE USING gist (int4range(low, high) WITH &&)"
    " WHERE (low IS NOT NULL),"
    " CHECK (note <> 'cast' OR note::int > 0));"
    "INSERT INTO rich (id, name, code, low, high) VALUES (1, 'one', 'abc', 1, 10);";

#define NAME .name = {&stele_tag_value, {"x", 1}}
#define TEXT(s)                                                                                    \
    {                                                                                              \
        &stele_tag_value,                                                                          \
        {                                                                                          \
            s, sizeof(s) - 1                                                                       \
        }                                                                                          \
    }
#define NUMBER(n)                                                                                  \
    {                                                                                              \
        &stele_tag_value, n                                                                        \
    }

static const struct refusal {
    rich_input input;
    stele_status status;
    const char *sqlstate, *column, *constraint, *message; /* a part of it */
} refusals[] = {
    {{.id = NUMBER(1), NAME}, STELE_E_UNIQUE, "23505", "", "rich_key", "duplicate"},
    {{.id = NUMBER(2), NAME, .code = TEXT("abc")}, STELE_E_UNIQUE, "23505", "", "rich_code", ""},
    {{.id = NUMBER(2), NAME, .owner = NUMBER(9)},
     STELE_E_FOREIGN_KEY,
     "23503",
     "",
     "rich_owner",
     ""},
    {{.id = NUMBER(2), NAME, .note = TEXT("bad")}, STELE_E_CHECK, "23514", "", "rich_note", ""},
    {{.id = NUMBER(2)}, STELE_E_NOT_NULL, "23502", "name", "", "null value"},
    {{.id = NUMBER(2), NAME, .low = NUMBER(5), .high = NUMBER(6)},
     STELE_E_EXCLUSION,
     "23P01",
     "",
     "rich_range",
     ""},
    {{.id = NUMBER(2), .name = TEXT("sechs!")}, STELE_E_VALUE, "22001", "name", "", "6 characters"},
    {{.id = NUMBER(2), NAME, .code = TEXT("abcd")},
     STELE_E_VALUE,
     "22001",
     "code",
     "",
     "at most 3"},
    {{.id = NUMBER(2), .name = TEXT("a\0b")},
     STELE_E_VALUE,
     "22021",
     "name",
     "",
     "NUL byte at offset 1"},
    {{.id = NUMBER(2), NAME, .note = TEXT("ab\xff")},
     STELE_E_VALUE,
     "22021",
     "note",
     "",
     "offset 2"},
    {{.id = NUMBER(2), NAME, .doc = TEXT("{}"), .raw = TEXT("{\"a\": }")},
     STELE_E_VALUE,
     "22P02",
     "raw",
     "",
     "invalid JSON"},
    {{.id = NUMBER(2), NAME, .doc = TEXT("[1,"), .raw = TEXT("1")},
     STELE_E_VALUE,
     "22P02",
     "doc",
     "",
     "invalid JSON"},
    {{.id = NUMBER(2), NAME, .doc = TEXT("\"\\u0000\""), .note = TEXT("fine")},
     STELE_E_VALUE,
     "22P05",
     "doc",
     "",
     "u0000"},
    {{.id = NUMBER(2), NAME, .price = TEXT("12345.5")},
     STELE_E_VALUE,
     "22003",
     "price",
     "",
     "numeric(6,2)"},
    {{.id = NUMBER(2), NAME, .price = TEXT("1x")}, STELE_E_VALUE, "", "price", "", ""},
    {{.id = NUMBER(2), NAME, .doc = TEXT("{}"), .mood = NUMBER(2)},
     STELE_E_VALUE,
     "22P02",
     "mood",
     "",
     "\"wild\""},
    {{.id = NUMBER(2), NAME, .mood = NUMBER(7)}, STELE_E_VALUE, "", "mood", "", ""},
    /* Either might be meant, and neither is: nobody is blamed. */
    {{.id = NUMBER(2), NAME, .note = TEXT("cast"), .doc = TEXT("{}"), .raw = TEXT("1")},
     STELE_E_VALUE,
     "22P02",
     "",
     "",
     "integer"},
    {{.id = NUMBER(2), NAME, .ratio = NUMBER(0)},
     STELE_E_VALUE,
     "22012",
     "",
     "",
     "division by zero"},
};

static stele_status insert_rich(const rich_input *input, stele_error *reterr)
{
    const void *args[] = {input};
    return stele_gen_exec(conn, &rich_insert, args, 0, true, NULL, reterr);
}

static void refusals_name_their_place(void **state)
{
    (void)state;
    dbtest_exec(dsn, schema_sql);
    for (size_t i = 0; i < 2 * (sizeof refusals / sizeof refusals[0]); i++) {
        const struct refusal *r = &refusals[i / 2]; /* twice: unnamed, then prepared */
        stele_error_clear(&err);
        stele_status st = insert_rich(&r->input, &err);
        if (st != r->status || strcmp(err.sqlstate, r->sqlstate) != 0 ||
            strcmp(err.column, r->column) != 0 || strcmp(err.constraint, r->constraint) != 0 ||
            strstr(err.message, r->message) == NULL || strcmp(err.table, "rich") != 0 ||
            err.status != st || err.hint[0] == '\0' || err.retryable || err.outcome_unknown)
            fail_with(__FILE__, (int)i, &err);
        assert_int_equal(insert_rich(&r->input, NULL), r->status);
    }
    char *count = dbtest_value(dsn, "SELECT count(*) FROM rich");
    assert_string_equal(count, "1");
    free(count);
}

static void success_leaves_the_error_alone(void **state)
{
    (void)state;
    stele_error before;
    memset(&err, 0x5a, sizeof err);
    before = err;
    for (int64_t i = 1; i < 5; i++) {
        assert_int_equal(insert_thing(conn, i, "x", &err), STELE_OK);
        assert_int_equal(find_thing(conn, i, &err), STELE_OK);
    }
    /* A second attempt behind the scenes leaves no trace either. */
    run_sql(conn, "DEALLOCATE ALL");
    assert_int_equal(find_thing(conn, 1, &err), STELE_OK);
    assert_int_equal(stele_tx_begin(conn, NULL, &err), STELE_OK);
    assert_int_equal(stele_tx_savepoint(conn, "s", &err), STELE_OK);
    assert_int_equal(find_thing(conn, 1, &err), STELE_OK);
    assert_int_equal(stele_tx_rollback_to(conn, "s", &err), STELE_OK);
    assert_int_equal(stele_tx_commit(conn, &err), STELE_OK);
    assert_int_equal(stele_conn_exec(conn, "SELECT 1", NULL, 0, NULL, &err), STELE_OK);
    assert_memory_equal(&err, &before, sizeof err);
}

static void missing_objects_and_rights(void **state)
{
    (void)state;
    dbtest_exec(dsn, "DROP TABLE things");
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_SCHEMA);
    assert_string_equal(err.table, "things");
    assert_true(strstr(err.hint, "stele_db_ensure") != NULL);
    create_things();
    dbtest_exec(dsn, "ALTER TABLE things DROP COLUMN n");
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_SCHEMA);
    assert_string_equal(err.sqlstate, "42703");
    create_things();
    dbtest_exec(dsn, "DROP ROLE IF EXISTS stele_nobody; CREATE ROLE stele_nobody");
    assert_ok(stele_conn_exec(conn, "SET ROLE stele_nobody", NULL, 0, NULL, &err), &err);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_PERMISSION);
    assert_string_equal(err.table, "things");
    assert_true(strstr(err.hint, "GRANT") != NULL);
    assert_ok(stele_conn_exec(conn, "RESET ROLE", NULL, 0, NULL, &err), &err);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NOT_FOUND);
    assert_string_equal(err.table, "things");
    dbtest_exec(dsn, "DROP ROLE stele_nobody");
}

/* What came back is not what the schema promises; a write that said so is stored all the same. */
static void surprising_rows(void **state)
{
    (void)state;
    thing_row *row;
    dbtest_exec(dsn, "ALTER TABLE things ALTER name DROP NOT NULL; "
                     "INSERT INTO things (id, name) VALUES (1, NULL)");
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_NULL);
    assert_string_equal(err.column, "name");
    assert_string_equal(err.table, "things");
    assert_false(err.outcome_unknown);
    assert_true(err.hint[0] != '\0');
    assert_int_equal(find_thing(conn, 1, NULL), STELE_E_NULL);

    dbtest_exec(dsn, "ALTER TABLE things ALTER n TYPE bigint");
    const thing_input input = {.id = stele_i64_v(2), .name = stele_text_v("x")};
    assert_int_equal(insert_returning(conn, &input, &row, &err), STELE_E_SCHEMA);
    assert_string_equal(err.column, "n");
    assert_true(err.outcome_unknown); /* never repeat it blindly */
    assert_int_equal(count_things(), 2);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_SCHEMA);
    assert_false(err.outcome_unknown);
    assert_ok(stele_tx_begin(conn, NULL, &err), &err);
    assert_int_equal(insert_returning(conn, &input, &row, &err), STELE_E_UNIQUE);
    assert_false(err.outcome_unknown);
    assert_ok(stele_tx_rollback(conn, &err), &err);
}

static void a_read_only_server_is_told(void **state)
{
    (void)state;
    run_sql(conn, "SET default_transaction_read_only = on");
    assert_int_equal(insert_thing(conn, 1, "x", &err), STELE_E_READ_ONLY);
    assert_string_equal(err.table, "things");
    assert_true(err.hint[0] != '\0');
    run_sql(conn, "SET default_transaction_read_only = off");
}

/* The status of everything else, by its class. */
static void statuses_by_sqlstate(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        stele_status status;
        bool retryable;
    } cases[] = {
        {"40001", STELE_E_SERIALIZATION, true}, {"40P01", STELE_E_SERIALIZATION, true},
        {"55P03", STELE_E_LOCKED, true},        {"57014", STELE_E_CANCELED, false},
        {"22999", STELE_E_VALUE, false},        {"42P01", STELE_E_SCHEMA, false},
        {"42703", STELE_E_SCHEMA, false},       {"3F000", STELE_E_SCHEMA, false},
        {"XX000", STELE_E_SERVER, false},       {"53100", STELE_E_SERVER, false},
        {"P0001", STELE_E_SERVER, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sql[96];
        snprintf(sql, sizeof sql, "DO $$ BEGIN RAISE SQLSTATE '%s'; END $$", cases[i].sqlstate);
        assert_int_equal(stele_conn_exec(conn, sql, NULL, 0, NULL, &err), cases[i].status);
        assert_string_equal(err.sqlstate, cases[i].sqlstate);
        assert_int_equal(err.retryable, cases[i].retryable);
    }
}

int main(void)
{
    dbtest_require_server();
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_one, close_one)
    const struct CMUnitTest tests[] = {
        TEST(refusals_name_their_place),  TEST(success_leaves_the_error_alone),
        TEST(missing_objects_and_rights), TEST(surprising_rows),
        TEST(a_read_only_server_is_told), TEST(statuses_by_sqlstate),
    };
    return RUN(tests);
}
