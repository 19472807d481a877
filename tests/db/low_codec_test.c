/*
 * The codec against a real server: every type, alone and in arrays, there and back.
 */
#include "dbtest.h"
#include "wire.h"

enum { ROUNDS = 300, ITEMS_MAX = 9 };

static const char *const names[] = {"open", "it's", "a \"b\" \\c", "NULL"};
static const stele_gen_enum moods = {"mood", names, 4};

/* What a type is called in SQL, what it reads as, and how a random value of it is made. */
typedef struct kind {
    uint8_t type;
    const char *sql;
    void (*make)(void *value);
} kind;

static stele_str random_text(const char *alphabet)
{
    size_t len = wire_below(wire_below(20) == 0 ? 70000 : 20);
    char *text = stele__block_alloc(&wire_memory, len + 1);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++)
        text[i] = alphabet[wire_below(strlen(alphabet))];
    if (len > 9 && wire_below(2) != 0)
        memcpy(text + wire_below(len - 8), "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9);
    text[len] = 'x'; /* not a terminator */
    return (stele_str){text, len};
}

static void put(void *value, const void *given, size_t size)
{
    memcpy(value, given, size);
}

#define MAKE(name, c_type, expression)                                                             \
    static void name(void *value)                                                                  \
    {                                                                                              \
        c_type given = expression;                                                                 \
        put(value, &given, sizeof given);                                                          \
    }
MAKE(make_bool, bool, wire_below(2) != 0)
MAKE(make_i16, int16_t, (int16_t)wire_number())
MAKE(make_i32, int32_t, (int32_t)wire_number())
MAKE(make_i64, int64_t, wire_number())
MAKE(make_f32, float, (float)wire_number() / 7.0f)
MAKE(make_f64, double, (double)wire_number() / 7.0)
MAKE(make_text, stele_str, random_text("abc{}\\\"', "))
MAKE(make_date, stele_date, (stele_date)(wire_number() % 2000000))
MAKE(make_time, stele_time, (stele_time)wire_below(86400000001))
MAKE(make_ts, stele_ts, wire_number() / 100)
MAKE(make_enum, int, (int)wire_below(4) + 1)

static void make_bytes(void *value)
{
    stele_str text = random_text("\x01\xff\\x'\x80");
    if (text.len > 0)
        ((char *)(uintptr_t)text.data)[wire_below(text.len)] = '\0';
    stele_bytes bytes = {(const uint8_t *)text.data, text.len};
    put(value, &bytes, sizeof bytes);
}

static void make_numeric(void *value)
{
    char text[48];
    stele_numeric_from_scaled(wire_number(), (int)wire_below(30), text);
    size_t len = strlen(text);
    stele_str str = {stele__block_strndup(&wire_memory, text, len), len};
    put(value, &str, sizeof str);
}

static void make_json(void *value)
{
    char text[64];
    int len = snprintf(text, sizeof text, "{\"a\": [%lld, \"\\\\x\"]}", (long long)wire_number());
    stele_str str = {stele__block_strndup(&wire_memory, text, (size_t)len), (size_t)len};
    put(value, &str, sizeof str);
}

static void make_uuid(void *value)
{
    uint64_t halves[2] = {wire_random(), wire_random()};
    put(value, halves, sizeof halves);
}

static void make_interval(void *value)
{
    stele_interval interval = {wire_number(), (int32_t)wire_number(), (int32_t)wire_number()};
    put(value, &interval, sizeof interval);
}

static void make_inet(void *value)
{
    stele_inet inet = {6, (uint8_t)wire_below(129), {0}};
    make_uuid(inet.addr);
    put(value, &inet, sizeof inet);
}

static const kind kinds[] = {
    {STELE_GEN_BOOL, "bool", make_bool},
    {STELE_GEN_INT2, "int2", make_i16},
    {STELE_GEN_INT4, "int4", make_i32},
    {STELE_GEN_INT8, "int8", make_i64},
    {STELE_GEN_FLOAT4, "float4", make_f32},
    {STELE_GEN_FLOAT8, "float8", make_f64},
    {STELE_GEN_NUMERIC, "numeric", make_numeric},
    {STELE_GEN_TEXT, "text", make_text},
    {STELE_GEN_TEXT, "varchar", make_text},
    {STELE_GEN_BPCHAR, "bpchar", make_text},
    {STELE_GEN_BYTEA, "bytea", make_bytes},
    {STELE_GEN_UUID, "uuid", make_uuid},
    {STELE_GEN_DATE, "date", make_date},
    {STELE_GEN_TIME, "time", make_time},
    {STELE_GEN_TIMESTAMP, "timestamp", make_ts},
    {STELE_GEN_TIMESTAMPTZ, "timestamptz", make_ts},
    {STELE_GEN_INTERVAL, "interval", make_interval},
    {STELE_GEN_JSON, "json", make_json},
    {STELE_GEN_JSONB, "jsonb", make_json},
    {STELE_GEN_INET, "inet", make_inet},
    {STELE_GEN_ENUM, "mood", make_enum},
    {STELE_GEN_OPAQUE, "text", make_text},
};

static bool is_view(uint8_t type)
{
    return stele__layouts[type].opt == 0;
}

static void assert_same(uint8_t type, const void *a, const void *b)
{
    if (!is_view(type)) {
        assert_memory_equal(a, b, stele__layouts[type].size);
        return;
    }
    stele_str x, y; /* stele_bytes has the same layout */
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    assert_true(stele_str_eq(x, y));
    if (type != STELE_GEN_BYTEA)
        assert_int_equal(y.data[y.len], '\0');
}

static int create_mood(void **state)
{
    if (wire_setup(state) != 0)
        return -1;
    PGresult *result = PQexec(
        wire_conn, "CREATE TYPE mood AS ENUM ('open', 'it''s', 'a \"b\" \\c', 'NULL', 'later')");
    int code = PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : -1;
    PQclear(result);
    return code;
}

static void scalars(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT $1::%s", kinds[k].sql);
        for (int i = 0; i < ROUNDS; i++) {
            char value[32], back[32];
            kinds[k].make(value);
            wire_param param = {kinds[k].type, value, &moods};
            PGresult *result = wire_query(sql, &param, 1);
            wire_decode(result, 0, kinds[k].type, &moods, back);
            assert_same(kinds[k].type, value, back);
            PQclear(result);
        }
        stele__block_release(&wire_memory);
    }
}

/* An array with each item NULL or not, of random length. */
static stele_str_array random_array(const kind *k, char *items, bool *nulls)
{
    size_t size = stele__layouts[k->type].size;
    stele_str_array array = {(const stele_str *)(void *)items, nulls, wire_below(ITEMS_MAX + 1)};
    bool any = wire_below(2) != 0;
    memset(items, 0, 32 * ITEMS_MAX);
    for (size_t i = 0; i < array.count; i++) {
        nulls[i] = any && wire_below(3) == 0;
        if (!nulls[i])
            k->make(items + i * size);
    }
    if (wire_below(2) != 0 && is_view(k->type))
        array.nulls = NULL; /* data NULL says the same */
    return array;
}

static void arrays(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        uint8_t type = kinds[k].type;
        char sql[96];
        snprintf(sql, sizeof sql,
                 "SELECT x, coalesce(array_length(x, 1), 0) FROM (SELECT $1::%s[])"
                 " AS t (x)",
                 kinds[k].sql);
        for (int i = 0; i < ROUNDS; i++) {
            _Alignas(8) char items[32 * ITEMS_MAX];
            bool nulls[ITEMS_MAX];
            stele_str_array array = random_array(&kinds[k], items, nulls);
            wire_param param = {type | STELE_GEN_ARRAY, &array, &moods};
            PGresult *result = wire_query(sql, &param, 1);
            int32_t length;
            stele_str_array back;
            wire_decode(result, 1, STELE_GEN_INT4, NULL, &length);
            assert_int_equal(length, array.count);
            wire_decode(result, 0, type | STELE_GEN_ARRAY, &moods, &back);
            assert_int_equal(back.count, array.count);
            for (size_t n = 0; n < array.count; n++) {
                assert_int_equal(back.nulls != NULL && back.nulls[n], nulls[n]);
                size_t at = n * stele__layouts[type].size;
                if (!nulls[n])
                    assert_same(type, items + at, (const char *)back.items + at);
            }
            PQclear(result);
        }
        stele__block_release(&wire_memory);
    }
}

static void nulls_stay_null(void **state)
{
    (void)state;
    stele_str_array null = {NULL, NULL, 0};
    wire_param params[] = {{STELE_GEN_TEXT, &null, NULL},
                           {STELE_GEN_NUMERIC, &null, NULL},
                           {STELE_GEN_TEXT | STELE_GEN_ARRAY, &null, NULL},
                           {STELE_GEN_OPAQUE, &null, NULL}};
    PGresult *result = wire_query(
        "SELECT $1 IS NULL AND $2 IS NULL AND $3 IS NULL AND $4::text IS NULL", params, 4);
    bool all;
    wire_decode(result, 0, STELE_GEN_BOOL, NULL, &all);
    assert_true(all);
    PQclear(result);
}

static void other_labels_are_unknown(void **state)
{
    (void)state;
    PGresult *result = wire_query("SELECT 'later'::mood, ARRAY['later', 'open']::mood[]", NULL, 0);
    int value = 9;
    wire_decode(result, 0, STELE_GEN_ENUM, &moods, &value);
    assert_int_equal(value, 0);
    stele_i32_array array;
    wire_decode(result, 1, STELE_GEN_ENUM | STELE_GEN_ARRAY, &moods, &array);
    assert_int_equal(array.count, 2);
    assert_int_equal(array.items[0], 0);
    assert_int_equal(array.items[1], 1);
    PQclear(result);
}

static void arrays_of_more_dimensions_are_refused(void **state)
{
    (void)state;
    PGresult *result = wire_query("SELECT '{{1,2},{3,4}}'::int4[]", NULL, 0);
    stele_i32_array array;
    assert_int_equal(stele__decode_value(
                         STELE_GEN_INT4 | STELE_GEN_ARRAY, NULL, PQgetvalue(result, 0, 0),
                         (size_t)PQgetlength(result, 0, 0), &array, stele__block_mem, &wire_memory),
                     STELE__CODEC_DIMENSIONS);
    PQclear(result);
}

/* The server takes 3000 groups of digits in binary; more go as text, alone and in arrays. */
static void long_numbers(void **state)
{
    (void)state;
    static const size_t lengths[] = {11999, 12000, 12001, 40000, 131072};
    char *digits = stele__block_alloc(&wire_memory, 131072);
    assert_non_null(digits);
    for (size_t i = 0; i < 131072; i++)
        digits[i] = (char)('1' + wire_below(9));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        stele_str number = {digits, lengths[i]};
        stele_str items[] = {number, {NULL, 0}, stele_s("-0.5")};
        stele_str_array array = {items, NULL, 3};
        wire_param params[] = {{STELE_GEN_NUMERIC, &number, NULL},
                               {STELE_GEN_NUMERIC | STELE_GEN_ARRAY, &array, NULL}};
        PGresult *result = wire_query("SELECT $1, $2", params, 2);
        stele_str back;
        wire_decode(result, 0, STELE_GEN_NUMERIC, NULL, &back);
        assert_true(stele_str_eq(back, number));
        wire_decode(result, 1, STELE_GEN_NUMERIC | STELE_GEN_ARRAY, NULL, &array);
        assert_true(stele_str_eq(array.items[0], number));
        assert_true(array.nulls[1]);
        assert_str(array.items[2], "-0.5");
        PQclear(result);
    }
}

static void special_numbers(void **state)
{
    (void)state;
    static const char *const words[] = {"NaN", "Infinity", "-Infinity", "0.000", "1e-16383"};
    bool old = dbtest_server_version() < 140000;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (old && strstr(words[i], "Infinity") != NULL)
            continue; /* of its numbers only NaN is not finite */
        stele_str str = stele_s(words[i]);
        wire_param params[] = {{STELE_GEN_NUMERIC, &str, NULL}, {STELE_GEN_TEXT, &str, NULL}};
        PGresult *result = wire_query("SELECT $1, $2::numeric::text", params, 2);
        stele_str back;
        wire_decode(result, 0, STELE_GEN_NUMERIC, NULL, &back);
        assert_true(stele_str_eq(back, wire_text(result, 1)));
        PQclear(result);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, wire_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(scalars),
        TEST(arrays),
        TEST(nulls_stay_null),
        TEST(other_labels_are_unknown),
        TEST(arrays_of_more_dimensions_are_refused),
        TEST(long_numbers),
        TEST(special_numbers),
    };
    return cmocka_run_group_tests(tests, create_mood, wire_teardown);
}
