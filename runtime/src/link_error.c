/**
 * What the server or libpq says went wrong, as a stele_error.
 *
 * Floor: conn.
 */
#include "link_internal.h"

#include <string.h>

#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* A status for an SQLSTATE: the first prefix that fits. */
static const struct {
    const char *prefix;
    stele_status status;
    bool retryable;
} sqlstate_map[] = {
    {"40001", STELE_E_SERIALIZATION, true},
    {"40P01", STELE_E_SERIALIZATION, true},
    {"23505", STELE_E_UNIQUE, false},
    {"23503", STELE_E_FOREIGN_KEY, false},
    {"23001", STELE_E_FOREIGN_KEY, false}, /* RESTRICT, from server 18 on */
    {"23502", STELE_E_NOT_NULL, false},
    {"23514", STELE_E_CHECK, false},
    {"23P01", STELE_E_EXCLUSION, false},
    {"22", STELE_E_VALUE, false},
    {"55P03", STELE_E_LOCKED, true},
    {"57014", STELE_E_CANCELED, false},
    {"25006", STELE_E_READ_ONLY, false},
    {"25P02", STELE_E_ABORTED, false},
    {"42501", STELE_E_PERMISSION, false},
    {"42P01", STELE_E_SCHEMA, false},
    {"42703", STELE_E_SCHEMA, false},
    {"42704", STELE_E_SCHEMA, false},
    {"42883", STELE_E_SCHEMA, false},
    {"42804", STELE_E_SCHEMA, false},
    {"42P10", STELE_E_SCHEMA, false},
    {"3F000", STELE_E_SCHEMA, false},
    {"28", STELE_E_AUTH, false},
    {"3D000", STELE_E_AUTH, false},
    {"57P", STELE_E_LOST, true},
    {"08", STELE_E_LOST, true},
    {"25P03", STELE_E_LOST, true},
    {"25P04", STELE_E_LOST, true},
};

static stele_status status_of(const char *sqlstate, bool *ret_retryable)
{
    for (size_t i = 0; i < sizeof sqlstate_map / sizeof sqlstate_map[0]; i++) {
        if (strncmp(sqlstate, sqlstate_map[i].prefix, strlen(sqlstate_map[i].prefix)) == 0) {
            *ret_retryable = sqlstate_map[i].retryable;
            return sqlstate_map[i].status;
        }
    }
    *ret_retryable = false;
    return STELE_E_SERVER;
}

/* What to do, where the server gives no hint of its own. */
static const char *remedy(stele_status status)
{
    switch (status) {
    case STELE_E_UNIQUE:
        return "use another key, or upsert; an expired row that is not swept yet counts as well";
    case STELE_E_FOREIGN_KEY:
        return "write the row that is referred to first, or remove those that refer to it";
    case STELE_E_CHECK:
        return "the value breaks a rule that the schema declares for this column or table";
    case STELE_E_NOT_NULL:
        return "set the column";
    case STELE_E_EXCLUSION:
        return "another row is in the way: choose values that do not conflict with it";
    case STELE_E_VALUE:
        return "change the value, or the column's type";
    case STELE_E_ABORTED:
        return "roll back; the first error in the transaction is the cause";
    case STELE_E_PERMISSION:
        return "GRANT the role what it needs on this object, or connect as another role";
    case STELE_E_SCHEMA:
        return "the database lacks what the schema declares: create it (stele_db_ensure(), a store "
               "without skip_init, or the SQL of stele ddl), or check schema and prefix";
    case STELE_E_READ_ONLY:
        return "this is a standby or a read-only transaction: write to the primary";
    case STELE_E_SERIALIZATION:
        return "run the transaction again, or let stele_tx_run do it";
    default:
        return "";
    }
}

static void take_field(char *dst, size_t size, const PGresult *result, int field)
{
    (void)stele__copy_text(dst, size, PQresultErrorField(result, field));
}

/* libpq's text in one line: line ends become "; ", the verbose LOCATION lines go. */
static void flatten(const char *text, char *out, size_t size)
{
    size_t used = 0;
    while (*text != '\0' && used + 1 < size) {
        size_t len = strcspn(text, "\n");
        const char *line = text;
        text += len + (text[len] == '\n');
        while (len > 0 && (*line == ' ' || *line == '\t'))
            line++, len--;
        if (len == 0 || strncmp(line, "LOCATION:", 9) == 0)
            continue;
        if (used > 0)
            used += stele__copy(out + used, size - used, "; ", 2);
        used += stele__copy(out + used, size - used, line, len);
    }
    out[used] = '\0';
}

/* What libpq itself reports: the connection ended, or the answer could not be taken. */
static stele_status own_error(const PGresult *result, stele_error *err)
{
    char text[512];
    flatten(PQresultErrorMessage(result), text, sizeof text);
    (void)stele__fail(err, STELE_E_LOST, "connection lost: %s",
                      text[0] != '\0' ? text : "the server closed it");
    err->retryable = true;
    return STELE_E_LOST;
}

stele_status stele__link_server_error(const PGresult *result, stele_error *err)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    bool retryable = false;
    stele_status status = sqlstate != NULL ? status_of(sqlstate, &retryable) : STELE_E_LOST;
    if (err == NULL)
        return status;
    if (sqlstate == NULL)
        return own_error(result, err);
    (void)stele__fail(err, status, "%s", message != NULL ? message : "");
    err->retryable = retryable;
    take_field(err->sqlstate, sizeof err->sqlstate, result, PG_DIAG_SQLSTATE);
    take_field(err->schema, sizeof err->schema, result, PG_DIAG_SCHEMA_NAME);
    take_field(err->table, sizeof err->table, result, PG_DIAG_TABLE_NAME);
    take_field(err->column, sizeof err->column, result, PG_DIAG_COLUMN_NAME);
    take_field(err->constraint, sizeof err->constraint, result, PG_DIAG_CONSTRAINT_NAME);
    take_field(err->detail, sizeof err->detail, result, PG_DIAG_MESSAGE_DETAIL);
    take_field(err->hint, sizeof err->hint, result, PG_DIAG_MESSAGE_HINT);
    if (err->hint[0] == '\0')
        (void)stele__copy_text(err->hint, sizeof err->hint, remedy(status));
    return status;
}

static bool is_sqlstate(const char *s)
{
    size_t n = strspn(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return n == 5 && s[5] == ':' && s[6] == ' ';
}

/*
 * Takes "28P01: " out of "FATAL:  28P01: password …" wherever it stands; of several hosts the last
 * one's code is kept.
 */
static void extract_sqlstate(char *text, char sqlstate[6])
{
    sqlstate[0] = '\0';
    for (char *at = text; (at = strstr(at, ":  ")) != NULL; at += 3) {
        char *code = at + 3;
        if (!is_sqlstate(code))
            continue;
        memcpy(sqlstate, code, 5);
        sqlstate[5] = '\0';
        memmove(code, code + 7, strlen(code + 7) + 1);
    }
}

stele_status stele__link_connect_error(const stele__link *link, stele_error *err)
{
    char text[1024];
    char sqlstate[6];
    bool retryable = true;
    flatten(PQerrorMessage(link->pg), text, sizeof text);
    extract_sqlstate(text, sqlstate);
    stele_status status = STELE_E_CONNECT;
    if (sqlstate[0] != '\0' && status_of(sqlstate, &retryable) == STELE_E_AUTH)
        status = STELE_E_AUTH;
    /* libpq itself refuses without a password: no code comes from the server. */
    if (sqlstate[0] == '\0' && PQconnectionNeedsPassword(link->pg))
        status = STELE_E_AUTH;
    (void)stele__fail(err, status, "%s", text[0] != '\0' ? text : "cannot connect");
    if (err == NULL)
        return status;
    err->retryable = status == STELE_E_CONNECT;
    (void)stele__copy_text(err->sqlstate, sizeof err->sqlstate, sqlstate);
    stele__error_hint(err, status == STELE_E_AUTH
                               ? "check user, password, database name and the server's pg_hba.conf"
                               : "check that the server runs and that host and port are right");
    return status;
}

stele_status stele__link_lost(stele__link *link, stele_error *err)
{
    char text[512];
    link->broken = true;
    flatten(PQerrorMessage(link->pg), text, sizeof text);
    stele_status st = stele__fail(err, STELE_E_LOST, "connection lost: %s",
                                  text[0] != '\0' ? text : "the server closed it");
    if (err != NULL)
        err->retryable = true;
    return st;
}

/*
 * libpq refuses some statements before sending anything; what it says tells those from a dead
 * connection.
 */
stele_status stele__link_send_failed(stele__link *link, stele_error *err)
{
    if (PQstatus(link->pg) != CONNECTION_OK)
        return stele__link_lost(link, err);
    char text[512];
    flatten(PQerrorMessage(link->pg), text, sizeof text);
    link->broken = true;
    return stele__fail(err, STELE_E_NOMEM, "cannot send the statement: %s", text);
}
