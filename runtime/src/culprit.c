/**
 * Which column a class-22 error is about. The server does not say; the client can look.
 *
 * Runs after such an error only.
 *
 * Floor: stmt.
 */
#define _GNU_SOURCE /* memmem */
#include <stdio.h>
#include <string.h>

#include "run.h"
#include "status_internal.h"
#include "stele/json.h"
#include "text_internal.h"

#include "banned.h"

/* What is wrong with one value, in words; "" if nothing is. */
typedef struct finding {
    char what[256];
} finding;

static bool is_text(uint8_t type)
{
    return type == STELE_GEN_TEXT || type == STELE_GEN_BPCHAR || type == STELE_GEN_JSON ||
           type == STELE_GEN_JSONB || type == STELE_GEN_OPAQUE;
}

static bool is_json(uint8_t type)
{
    return type == STELE_GEN_JSON || type == STELE_GEN_JSONB;
}

static bool has_escaped_nul(stele_str text)
{
    static const char escape[] = "\\u0000";
    return memmem(text.data, text.len, escape, sizeof escape - 1) != NULL;
}

static void check_encoding(stele_str text, finding *f)
{
    size_t bad = stele__utf8_check(text.data, text.len);
    if (bad == text.len)
        return;
    if (text.data[bad] == '\0')
        (void)snprintf(f->what, sizeof f->what, "contains a NUL byte at offset %zu", bad);
    else
        (void)snprintf(f->what, sizeof f->what, "is not valid UTF-8 at offset %zu (byte 0x%02x)",
                       bad, (unsigned)(unsigned char)text.data[bad]);
}

static void check_length(const stele_gen_param *param, stele_str text, finding *f)
{
    if (param->modifier <= 0 || is_json(param->type))
        return;
    size_t count = stele__utf8_count(text.data, text.len);
    if (count > (size_t)param->modifier)
        (void)snprintf(f->what, sizeof f->what, "has %zu characters, at most %d fit", count,
                       param->modifier);
}

/* The server quotes the label that it does not know. */
static void check_label(const stele_gen_param *param, const void *value, const char *message,
                        finding *f)
{
    char quoted[2 * STELE_NAME_SIZE];
    int label;
    memcpy(&label, value, sizeof label);
    const char *text = stele_gen_enum_label(param->labels, label);
    if (text == NULL)
        return;
    (void)snprintf(quoted, sizeof quoted, "\"%s\"", text);
    if (strstr(message, quoted) != NULL)
        (void)snprintf(f->what, sizeof f->what, "is %s, a label that the database lacks", quoted);
}

static void check_json(stele_str text, finding *f)
{
    json_t *json;
    stele_error why;
    stele_status st = stele_json_load(text, &json, &why);
    if (st == STELE_OK)
        json_decref(json);
    else if (st == STELE_E_VALUE)
        (void)snprintf(f->what, sizeof f->what, "is %.150s", why.message);
}

/* Digits before the point, without leading zeros. */
static size_t integer_digits(stele_str text)
{
    size_t i = 0;
    size_t count = 0;
    while (i < text.len && (text.data[i] == '-' || text.data[i] == '+' || text.data[i] == '0'))
        i++;
    for (; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        count++;
    return count;
}

static void check_numeric(const stele_gen_param *param, stele_str text, finding *f)
{
    int precision = (int)((uint32_t)param->modifier >> 16);
    int scale = param->modifier & 0xffff;
    if (precision > 0 && integer_digits(text) > (size_t)(precision - scale))
        (void)snprintf(f->what, sizeof f->what, "does not fit numeric(%d,%d)", precision, scale);
}

static void check_value(const stele_gen_param *param, const char *sqlstate, const void *value,
                        finding *f)
{
    stele_str text;
    memcpy(&text, value, sizeof text);
    if (text.data == NULL)
        return;
    if (param->type == STELE_GEN_NUMERIC) {
        if (strcmp(sqlstate, "22003") == 0)
            check_numeric(param, text, f);
        return;
    }
    if (strcmp(sqlstate, "22P02") == 0 && is_json(param->type))
        check_json(text, f);
    else if (strcmp(sqlstate, "22021") == 0)
        check_encoding(text, f);
    else if (strcmp(sqlstate, "22001") == 0)
        check_length(param, text, f);
    else if (strcmp(sqlstate, "22P05") == 0 && is_json(param->type) && has_escaped_nul(text))
        (void)snprintf(f->what, sizeof f->what, "contains \\u0000, which jsonb cannot hold");
}

/* Whether a value of this type can be meant by the error at all. */
static bool is_candidate(const stele_gen_param *param, const char *sqlstate)
{
    uint8_t type = param->type & (uint8_t)~STELE_GEN_ARRAY;
    if (strcmp(sqlstate, "22P02") == 0)
        return is_json(type) || type == STELE_GEN_ENUM || type == STELE_GEN_OPAQUE;
    if (strcmp(sqlstate, "22003") == 0)
        return type == STELE_GEN_NUMERIC || type == STELE_GEN_OPAQUE;
    if (strcmp(sqlstate, "22008") == 0)
        return type == STELE_GEN_TIMESTAMP || type == STELE_GEN_TIMESTAMPTZ ||
               type == STELE_GEN_DATE || type == STELE_GEN_TIME || type == STELE_GEN_INTERVAL;
    /* Others, such as a division by zero, are about what the statement computes. */
    static const char *const of_text[] = {"22001", "22021", "22P05"};
    for (size_t i = 0; i < sizeof of_text / sizeof of_text[0]; i++)
        if (strcmp(sqlstate, of_text[i]) == 0)
            return is_text(type);
    return false;
}

static void name_column(const stele_gen_stmt *stmt, const stele_gen_param *param, const char *what,
                        stele_error *err)
{
    char server[160];
    (void)stele__copy_text(server, sizeof server, err->message);
    stele__error_place(err, stmt->table, param->column);
    if (what[0] != '\0')
        (void)snprintf(err->message, sizeof err->message, "\"%s\" %s", param->column, what);
    else
        (void)snprintf(err->message, sizeof err->message, "\"%s\": %s", param->column, server);
    if (err->detail[0] == '\0' && what[0] != '\0')
        stele__error_detail(err, "%s", server);
}

static const void *value_of_call(void *ctx, const stele_gen_stmt *stmt, int index)
{
    const stele__call *call = ctx;
    return stele__bind_value(&stmt->params[index], call->args);
}

void stele__name_culprit(const stele__call *call, stele_error *err)
{
    stele__call copy = *call;
    stele__name_culprit_of(call->stmt, value_of_call, &copy, err);
}

void stele__name_culprit_of(const stele_gen_stmt *stmt, stele__value_fn value_of, void *ctx,
                            stele_error *err)
{
    const stele_gen_param *only = NULL;
    int candidates = 0;
    if (err->column[0] != '\0')
        return;
    for (int i = 0; i < stmt->param_count; i++) {
        const stele_gen_param *param = &stmt->params[i];
        const void *value = value_of(ctx, stmt, i);
        finding f = {""};
        if (value == NULL || !is_candidate(param, err->sqlstate))
            continue;
        candidates++;
        only = param;
        if (param->type == STELE_GEN_ENUM)
            check_label(param, value, err->message, &f);
        else if (is_text(param->type) || param->type == STELE_GEN_NUMERIC)
            check_value(param, err->sqlstate, value, &f);
        if (f.what[0] != '\0') {
            name_column(stmt, param, f.what, err);
            return;
        }
    }
    /* Nothing seen, but only one can be meant; a range may also be that of an expression. */
    if (candidates == 1 && strcmp(err->sqlstate, "22003") != 0)
        name_column(stmt, only, "", err);
}
