/*
 * Text forms of values against the server's: what we write is what it writes, and what both read
 * means the same.
 */
#define _GNU_SOURCE
#include "dbtest.h"
#include "wire.h"

enum { ROUNDS = 2000 };

/* "…+00:00" as JSON has it to "…Z", without the quotes. */
static const char *rfc_of_json(stele_str json, char buf[64])
{
    size_t len = 0;
    for (size_t i = 0; i < json.len; i++) {
        if (json.data[i] == '"')
            continue;
        if (strncmp(json.data + i, "+00:00", 6) == 0) {
            buf[len++] = 'Z';
            i += 5;
        } else {
            buf[len++] = json.data[i];
        }
    }
    buf[len] = '\0';
    return buf;
}

static void check_timestamp(stele_ts ts)
{
    wire_param params[] = {{STELE_GEN_TIMESTAMPTZ, &ts, NULL}, {STELE_GEN_TIMESTAMP, &ts, NULL}};
    PGresult *result =
        wire_query("SELECT $1, $1::text, to_json($1)::text, $2, $2::text", params, 2);
    stele_ts back;
    wire_decode(result, 0, STELE_GEN_TIMESTAMPTZ, NULL, &back);
    assert_true(back == ts);
    wire_decode(result, 3, STELE_GEN_TIMESTAMP, NULL, &back);
    assert_true(back == ts);
    char ours[STELE_TS_TEXT_SIZE];
    char theirs[64];
    assert_string_equal(stele_ts_format(ts, ours), rfc_of_json(wire_text(result, 2), theirs));
    for (int column = 1; column <= 4; column += 3) {
        assert_int_equal(stele_ts_parse(wire_text(result, column), &back), STELE_OK);
        assert_true(back == ts);
    }
    assert_int_equal(stele_ts_parse(stele_s(ours), &back), STELE_OK);
    assert_true(back == ts);
    PQclear(result);
}

static void timestamps(void **state)
{
    (void)state;
    static const stele_ts edges[] = {
        0, -1, STELE_TS_INFINITY, STELE_TS_NEG_INFINITY, STELE_TS_INFINITY - 1, STELE__TS_MIN,
    };
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        check_timestamp(edges[i]);
    for (int i = 0; i < ROUNDS; i++) {
        stele_ts ts = wire_number();
        if (i % 3 == 0)
            ts -= ts % 1000000;
        if (ts >= STELE__TS_MIN)
            check_timestamp(ts);
    }
}

/* Timestamps as people write them; now and then one that is wrong. */
static void random_timestamp(char out[96])
{
    static const char *const offsets[] = {"", "Z", "+00", "-07", "+05:30", "-0330", "+15:59:59"};
    static const char *const eras[] = {"", "", "", " BC", " AD"};
    unsigned year = (unsigned)wire_below(wire_below(2) != 0 ? 3000 : 296000);
    int len =
        snprintf(out, 96, "%04u-%02u-%02u%c%02u:%02u:%02u", year, 1 + (unsigned)wire_below(12),
                 1 + (unsigned)wire_below(31), wire_below(2) != 0 ? 'T' : ' ',
                 (unsigned)wire_below(25), (unsigned)wire_below(60), (unsigned)wire_below(61));
    size_t digits = wire_below(12);
    if (digits > 0)
        out[len++] = '.';
    for (size_t i = 0; i < digits; i++)
        out[len++] = wire_below(3) == 0 ? '9' : wire_below(2) == 0 ? '5' : '0';
    snprintf(out + len, 96 - (size_t)len, "%s%s", offsets[wire_below(7)], eras[wire_below(5)]);
}

static void timestamps_are_read_alike(void **state)
{
    (void)state;
    int good = 0;
    for (int i = 0; i < 3 * ROUNDS; i++) {
        char text[96];
        random_timestamp(text);
        stele_str str = stele_s(text);
        wire_param param = {STELE_GEN_TEXT, &str, NULL};
        char sqlstate[6];
        PGresult *result = wire_try("SELECT $1::timestamptz", &param, 1, sqlstate);
        stele_ts ours;
        stele_status st = stele_ts_parse(str, &ours);
        if (result == NULL) {
            if (st == STELE_OK)
                fail_msg("the server refuses %s (%s)", text, sqlstate);
            continue;
        }
        int64_t theirs = (int64_t)stele__get_be64(PQgetvalue(result, 0, 0));
        if (theirs < STELE_TS_INFINITY - STELE__EPOCH_MICROS) {
            if (st != STELE_OK || ours != theirs + STELE__EPOCH_MICROS)
                fail_msg("%s is read differently", text);
            good++;
        } else {
            assert_int_equal(st, STELE_E_VALUE);
        }
        PQclear(result);
    }
    assert_true(good > ROUNDS / 2);
}

static void check_date(stele_date date)
{
    wire_param param = {STELE_GEN_DATE, &date, NULL};
    PGresult *result = wire_query("SELECT $1, $1::text", &param, 1);
    stele_date back;
    char ours[STELE_DATE_TEXT_SIZE];
    wire_decode(result, 0, STELE_GEN_DATE, NULL, &back);
    assert_int_equal(back, date);
    assert_str(wire_text(result, 1), stele_date_format(date, ours));
    assert_int_equal(stele_date_parse(stele_s(ours), &back), STELE_OK);
    assert_int_equal(back, date);
    PQclear(result);
}

static void dates(void **state)
{
    (void)state;
    check_date(STELE__DATE_MIN);
    check_date(STELE__DATE_MAX);
    check_date(STELE_DATE_INFINITY);
    check_date(STELE_DATE_NEG_INFINITY);
    for (int i = 0; i < ROUNDS; i++) {
        int32_t date = (int32_t)(wire_number() >> 32);
        if (date >= STELE__DATE_MIN && date <= STELE__DATE_MAX)
            check_date(date);
    }
}

/* The server refuses what lies one beyond the range that the codec lets through. */
static void ranges_are_the_servers(void **state)
{
    (void)state;
    char bytes[8];
    const char *values[] = {bytes};
    const int lengths[][1] = {{4}, {8}};
    const Oid oids[][1] = {{1082}, {1114}};
    const int format[] = {1};
    static const int64_t beyond[] = {STELE__DATE_MIN - 1, (int64_t)STELE__DATE_MAX + 1};
    for (size_t i = 0; i < 2; i++) {
        stele__put_be32(bytes, (uint32_t)(beyond[i] - STELE__EPOCH_DAYS));
        PGresult *result =
            PQexecParams(wire_conn, "SELECT $1", 1, oids[0], values, lengths[0], format, 1);
        assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22008");
        PQclear(result);
    }
    stele__put_be64(bytes, (uint64_t)(STELE__TS_MIN - 1 - STELE__EPOCH_MICROS));
    PGresult *result =
        PQexecParams(wire_conn, "SELECT $1", 1, oids[1], values, lengths[1], format, 1);
    assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22008");
    PQclear(result);
}

static void intervals(void **state)
{
    (void)state;
    bool old = dbtest_server_version() < 150000;
    for (int i = 0; i < ROUNDS; i++) {
        stele_interval interval = {wire_number(), (int32_t)(wire_number() >> 32),
                                   (int32_t)(wire_number() >> 32)};
        if (i % 3 == 0)
            interval.micros = 0;
        if (i % 5 == 0)
            interval.days = 0;
        if (i % 7 == 0)
            interval.months = 0;
        if (old) /* it keeps, but cannot write, an interval of more hours than 32 bits count */
            interval.micros %= INT64_C(3600000000) * INT32_MAX;
        wire_param param = {STELE_GEN_INTERVAL, &interval, NULL};
        PGresult *result = wire_query("SELECT $1, $1::text", &param, 1);
        stele_interval back;
        char ours[STELE_INTERVAL_TEXT_SIZE];
        wire_decode(result, 0, STELE_GEN_INTERVAL, NULL, &back);
        assert_memory_equal(&back, &interval, sizeof back);
        assert_str(wire_text(result, 1), stele_interval_format(interval, ours));
        PQclear(result);
    }
}

static void uuids(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        stele_uuid uuid, back;
        char ours[STELE_UUID_TEXT_SIZE];
        assert_int_equal(stele_uuid_v4(&uuid), STELE_OK);
        wire_param param = {STELE_GEN_UUID, &uuid, NULL};
        PGresult *result = wire_query("SELECT $1, $1::text", &param, 1);
        wire_decode(result, 0, STELE_GEN_UUID, NULL, &back);
        assert_memory_equal(&back, &uuid, sizeof back);
        assert_str(wire_text(result, 1), stele_uuid_format(uuid, ours));
        assert_int_equal(stele_uuid_parse(wire_text(result, 1), &back), STELE_OK);
        assert_memory_equal(&back, &uuid, sizeof back);
        PQclear(result);
    }
}

static void inets(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * ROUNDS; i++) {
        stele_inet inet, back;
        memset(&inet, 0, sizeof inet);
        inet.family = wire_below(4) == 0 ? 4 : 6;
        unsigned bytes = inet.family == 4 ? 4 : 16;
        inet.bits = (uint8_t)(wire_below(2) != 0 ? bytes * 8 : wire_below(bytes * 8 + 1));
        for (unsigned k = 0; k < bytes; k += 2) {
            if (wire_below(2) == 0)
                continue;
            inet.addr[k] = (uint8_t)(wire_below(3) == 0 ? 0xff : wire_below(4) * 7);
            inet.addr[k + 1] = (uint8_t)(wire_below(3) == 0 ? 0xff : wire_random());
        }
        wire_param param = {STELE_GEN_INET, &inet, NULL};
        PGresult *result = wire_query("SELECT $1, inet_out($1)::text", &param, 1);
        char ours[STELE_INET_TEXT_SIZE];
        wire_decode(result, 0, STELE_GEN_INET, NULL, &back);
        assert_memory_equal(&back, &inet, sizeof back);
        assert_str(wire_text(result, 1), stele_inet_format(inet, ours));
        assert_int_equal(stele_inet_parse(wire_text(result, 1), &back), STELE_OK);
        assert_memory_equal(&back, &inet, sizeof back);
        PQclear(result);
    }
}

/* A number in a spelling that numeric takes. */
static size_t random_numeric(char out[160])
{
    static const char *const signs[] = {"", "", "-", "+"};
    size_t len = (size_t)snprintf(out, 160, "%s", signs[wire_below(4)]);
    size_t whole = wire_below(wire_below(4) == 0 ? 40 : 12);
    size_t fraction = wire_below(3) == 0 ? 0 : wire_below(30);
    if (whole + fraction == 0)
        whole = 1;
    for (size_t i = 0; i < whole + fraction; i++) {
        if (i == whole)
            out[len++] = '.';
        out[len++] = (char)(wire_below(2) == 0 ? '0' : '0' + wire_below(10));
    }
    if (wire_below(4) == 0)
        len += (size_t)snprintf(out + len, 160 - len, "e%d", (int)wire_below(80) - 40);
    out[len] = '\0';
    return len;
}

static void numerics(void **state)
{
    (void)state;
    static const int64_t powers[] = {1, 10, 100, 1000, 10000};
    int integers = 0;
    for (int i = 0; i < 3 * ROUNDS; i++) {
        char text[160];
        stele_str str = {text, random_numeric(text)};
        int scale = (int)wire_below(5);
        wire_param params[] = {{STELE_GEN_NUMERIC, &str, NULL},
                               {STELE_GEN_TEXT, &str, NULL},
                               {STELE_GEN_INT8, &powers[scale], NULL}};
        PGresult *result = wire_query(
            "SELECT $1, $1::text, $2::numeric::text, $2::numeric::float8,"
            " coalesce(x = trunc(x) AND x BETWEEN -9223372036854775808 AND 9223372036854775807,"
            "          false),"
            " CASE WHEN x BETWEEN -9223372036854775808 AND 9223372036854775807"
            "      THEN trunc(x)::int8 ELSE 0 END"
            " FROM (SELECT $2::numeric * $3) AS t (x)",
            params, 3);
        stele_str ours;
        wire_decode(result, 0, STELE_GEN_NUMERIC, NULL, &ours);
        stele_str theirs = wire_text(result, 1);
        if (!stele_str_eq(ours, theirs) || !stele_str_eq(ours, wire_text(result, 2)))
            fail_msg("%s: %s, but the server says %s", text, ours.data, theirs.data);
        double exact, nearest;
        wire_decode(result, 3, STELE_GEN_FLOAT8, NULL, &exact);
        assert_int_equal(stele_numeric_to_f64(ours, &nearest), STELE_OK);
        assert_memory_equal(&exact, &nearest, sizeof exact);
        bool fits;
        int64_t expected, scaled;
        wire_decode(result, 4, STELE_GEN_BOOL, NULL, &fits);
        wire_decode(result, 5, STELE_GEN_INT8, NULL, &expected);
        assert_int_equal(stele_numeric_to_scaled(str, scale, &scaled),
                         fits ? STELE_OK : STELE_E_VALUE);
        if (fits) {
            assert_true(scaled == expected);
            integers++;
        }
        PQclear(result);
    }
    assert_true(integers > ROUNDS / 4);
}

/* Malformed and borderline text: the server and the codec agree on what is a number. */
static void numbers_are_recognised_alike(void **state)
{
    (void)state;
    static const char alphabet[] = "0123456789.eE+- naNiIfty";
    int agreed = 0;
    for (int i = 0; i < 5 * ROUNDS; i++) {
        char text[12];
        size_t len = 1 + wire_below(sizeof text - 2);
        for (size_t k = 0; k < len; k++)
            text[k] = alphabet[wire_below(wire_below(3) == 0 ? sizeof alphabet - 1 : 16)];
        text[len] = '\0';
        if (strcasestr(text, "e ") != NULL)
            continue; /* strtol lets the server skip blanks there; we do not */
        stele_str str = {text, len};
        wire_param param = {STELE_GEN_TEXT, &str, NULL};
        char sqlstate[6];
        PGresult *result = wire_try("SELECT $1::numeric::text", &param, 1, sqlstate);
        stele__encoded out;
        int code = stele__encode_value(STELE_GEN_NUMERIC, NULL, &str, &out, &wire_memory);
        if ((result != NULL) != (code == STELE__CODEC_OK))
            fail_msg("\"%.*s\" is no number for one of us (%d)", (int)len, text, code);
        agreed += result != NULL;
        PQclear(result);
    }
    assert_true(agreed > ROUNDS / 4);
}

#define TEST(name) cmocka_unit_test_teardown(name, wire_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(timestamps),
        TEST(timestamps_are_read_alike),
        TEST(dates),
        TEST(ranges_are_the_servers),
        TEST(intervals),
        TEST(uuids),
        TEST(inets),
        TEST(numerics),
        TEST(numbers_are_recognised_alike),
    };
    return cmocka_run_group_tests(tests, wire_setup, wire_teardown);
}
