#include "wire.h"

#include "dbtest.h"

PGconn *wire_conn;
stele__block wire_memory;

static char *dsn;
static uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);

uint64_t wire_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * UINT64_C(0x2545f4914f6cdd1d);
}

int wire_setup(void **state)
{
    (void)state;
    dbtest_require_server();
    dsn = dbtest_create();
    wire_conn = PQconnectdb(dsn);
    PGresult *result = PQexec(wire_conn, "SET TimeZone = 'UTC'; SET DateStyle = 'ISO';"
                                         "SET IntervalStyle = 'iso_8601'");
    int code = PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : -1;
    PQclear(result);
    return code;
}

int wire_teardown(void **state)
{
    (void)state;
    PQfinish(wire_conn);
    dbtest_drop(dsn);
    return 0;
}

int wire_clean(void **state)
{
    (void)state;
    stele__block_release(&wire_memory);
    return 0;
}

enum { PARAMS_MAX = 4 };

PGresult *wire_try(const char *sql, const wire_param *params, int count, char sqlstate[6])
{
    stele__encoded encoded[PARAMS_MAX];
    Oid oids[PARAMS_MAX];
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX];
    int formats[PARAMS_MAX];
    for (int i = 0; i < count; i++) {
        assert_int_equal(stele__encode_value(params[i].type, params[i].labels, params[i].value,
                                             &encoded[i], &wire_memory),
                         STELE__CODEC_OK);
        oids[i] = stele__type_oid(params[i].type);
        values[i] = encoded[i].data;
        lengths[i] = encoded[i].len;
        formats[i] = encoded[i].format;
    }
    PGresult *result = PQexecParams(wire_conn, sql, count, oids, values, lengths, formats, 1);
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        assert_int_equal(PQntuples(result), 1);
        return result;
    }
    const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(sqlstate, 6, "%s", code != NULL ? code : "?");
    PQclear(result);
    return NULL;
}

PGresult *wire_query(const char *sql, const wire_param *params, int count)
{
    char sqlstate[6];
    PGresult *result = wire_try(sql, params, count, sqlstate);
    if (result == NULL)
        fail_msg("%s: %s", sql, PQerrorMessage(wire_conn));
    return result;
}

void wire_decode(const PGresult *result, int column, uint8_t type, const stele_gen_enum *labels,
                 void *ret_value)
{
    assert_false(PQgetisnull(result, 0, column));
    assert_int_equal(stele__decode_value(type, labels, PQgetvalue(result, 0, column),
                                         (size_t)PQgetlength(result, 0, column), ret_value,
                                         stele__block_mem, &wire_memory),
                     STELE__CODEC_OK);
}

stele_str wire_text(const PGresult *result, int column)
{
    stele_str text;
    wire_decode(result, column, STELE_GEN_TEXT, NULL, &text);
    return text;
}
