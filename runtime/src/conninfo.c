/**
 * Merging of connection parameters.
 *
 * Floor: conn.
 */
#define _GNU_SOURCE
#include "conninfo.h"

#include <libpq-fe.h>
#include <string.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* Keys libpq may know, and room for the NULL. */
#define MAX_KEYS 96
#define MAX_CONNECT_TIMEOUT_S 100000u

/* Value of a key, NULL if it is not set. */
static const char *value_of(const stele__conninfo *info, const char *key)
{
    for (size_t i = 0; i < info->count; i++)
        if (strcmp(info->keys[i], key) == 0)
            return info->values[i];
    return NULL;
}

static void wipe(const char *text)
{
    if (text == NULL)
        return;
    char *bytes = (char *)(uintptr_t)text; /* ours, only declared const for libpq */
    explicit_bzero(bytes, strlen(bytes));
    stele__free(bytes);
}

static bool is_list(const char *key)
{
    return strcmp(key, "host") == 0 || strcmp(key, "hostaddr") == 0 || strcmp(key, "port") == 0;
}

static void release_turned(stele__conninfo *info)
{
    for (size_t turn = 1; info->turned != NULL && turn < info->host_count; turn++) {
        const char **values = info->turned[turn];
        for (size_t i = 0; values != NULL && i < info->count; i++)
            if (is_list(info->keys[i]) && values[i] != info->values[i])
                wipe(values[i]);
        stele__free(values);
    }
    stele__free(info->turned);
}

void stele__conninfo_release(stele__conninfo *info)
{
    release_turned(info);
    for (size_t i = 0; i < info->count; i++) {
        stele__free((char *)(uintptr_t)info->keys[i]);
        wipe(info->values[i]);
    }
    stele__free(info->keys);
    stele__free(info->values);
    stele__free(info->settings);
    *info = (stele__conninfo){0};
}

static stele_status no_memory(stele_error *err)
{
    return stele__fail(err, STELE_E_NOMEM, "out of memory while reading connection parameters");
}

/* Adds a key unless it is there. NULL and "" say nothing. */
static bool add(stele__conninfo *info, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0' || value_of(info, key) != NULL)
        return true;
    if (info->count + 1 >= MAX_KEYS)
        return false;
    char *k = stele__strdup(key);
    char *v = stele__strdup(value);
    if (k == NULL || v == NULL) {
        stele__free(k);
        wipe(v);
        return false;
    }
    info->keys[info->count] = k;
    info->values[info->count] = v;
    info->count++;
    return true;
}

/* ---- connection strings ---- */

/* Edits between two words, at most 3 counted: how far a misspelled key is from one that exists. */
static size_t distance(const char *a, size_t a_len, const char *b)
{
    size_t b_len = strlen(b);
    size_t row[48];
    if (b_len + 1 > sizeof row / sizeof row[0] || a_len > 40)
        return 3;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_len];
}

/* The key that the word in quotes was meant to be, NULL if none is near. */
static const char *nearest_key(const char *message, const PQconninfoOption *known)
{
    const char *open = strchr(message, '"');
    const char *end = open != NULL ? strchr(open + 1, '"') : NULL;
    const char *best = NULL;
    size_t best_distance = 3;
    if (end == NULL)
        return NULL;
    for (; known->keyword != NULL; known++) {
        size_t d = distance(open + 1, (size_t)(end - open - 1), known->keyword);
        if (d < best_distance) {
            best_distance = d;
            best = known->keyword;
        }
    }
    return best;
}

/*
 * libpq's complaint quotes pieces of the string, and a piece may be a password: only the words around
 * the quotes are taken, and a key it does not know becomes the known one that is nearest.
 */
static stele_status parse_failed(const char *what, const char *message,
                                 const PQconninfoOption *known, stele_error *err)
{
    const char *text = message != NULL ? message : "out of memory";
    char reason[256];
    size_t used = 0;
    bool quoted = false;
    for (const char *p = text; *p != '\0' && *p != '\n' && used + 4 < sizeof reason; p++) {
        if (*p == '"') {
            quoted = !quoted;
            if (quoted)
                used += stele__copy_text(reason + used, sizeof reason - used, "…");
        } else if (!quoted) {
            reason[used++] = *p;
        }
    }
    reason[used] = '\0';
    stele_status st =
        stele__fail(err, STELE_E_INPUT, "%s is no connection string: %s", what, reason);
    const char *key = NULL;
    if (known != NULL && strncmp(text, "invalid connection option", 25) == 0)
        key = nearest_key(text, known);
    if (key != NULL)
        stele__error_hint(err, "did you mean the key \"%s\"?", key);
    else if (strncmp(text, "invalid URI query parameter", 27) == 0)
        stele__error_hint(err,
                          "only libpq's parameters go there: those of the pool, as pgx has them "
                          "(pool_max_conns and others), are fields of stele_pool_options");
    else
        stele__error_hint(err,
                          "write key=value pairs, values with blanks in single quotes, or a URI "
                          "postgresql://user@host:port/dbname with special characters "
                          "percent-encoded");
    return st;
}

static stele_status add_string(stele__conninfo *info, const char *what, const char *dsn,
                               const PQconninfoOption *known, stele_error *err)
{
    char *message = NULL;
    PQconninfoOption *options;
    stele_status st = STELE_OK;
    /* libpq takes "app" for a database name only as the value of dbname; say so instead. */
    if (strchr(dsn, '=') == NULL && strstr(dsn, "://") == NULL) {
        st = stele__fail(err, STELE_E_INPUT, "%s is no connection string: it has no \"=\"", what);
        stele__error_hint(err, "write for example \"dbname=app\", or a URI postgresql://host/app");
        return st;
    }
    options = PQconninfoParse(dsn, &message);
    if (options == NULL) {
        st = parse_failed(what, message, known, err);
        PQfreemem(message);
        return st;
    }
    for (const PQconninfoOption *o = options; o->keyword != NULL && st == STELE_OK; o++)
        if (!add(info, o->keyword, o->val))
            st = no_memory(err);
    PQconninfoFree(options);
    return st;
}

/* ---- fields and defaults ---- */

static bool add_fields(stele__conninfo *info, const stele__conninfo_input *in)
{
    return add(info, "host", in->host) && add(info, "port", in->port) &&
           add(info, "user", in->user) && add(info, "password", in->password) &&
           add(info, "dbname", in->dbname) && add(info, "sslmode", in->sslmode) &&
           add(info, "application_name", in->application_name);
}

/* True if libpq knows the key and the environment does not set it. */
static bool is_open(const PQconninfoOption *known, const char *key)
{
    for (; known->keyword != NULL; known++)
        if (strcmp(known->keyword, key) == 0)
            return known->val == NULL ||
                   (known->compiled != NULL && strcmp(known->val, known->compiled) == 0);
    return false;
}

static bool add_default(stele__conninfo *info, const PQconninfoOption *known, const char *key,
                        const char *value)
{
    return !is_open(known, key) || add(info, key, value);
}

static size_t list_length(const char *list)
{
    size_t length = 1;
    for (; list != NULL && (list = strchr(list, ',')) != NULL; list++)
        length++;
    return length;
}

static size_t count_hosts(const stele__conninfo *info)
{
    const char *addr = value_of(info, "hostaddr");
    return list_length(addr != NULL ? addr : value_of(info, "host"));
}

/* "a,b,c" turned by 1 is "b,c,a". */
static char *turn_list(const char *list, size_t turn)
{
    stele__buf turned = {0};
    const char *rest = list;
    for (; turn > 0; turn--)
        rest = strchr(rest, ',') + 1;
    stele__buf_add_text(&turned, rest);
    stele__buf_add_char(&turned, ',');
    stele__buf_add(&turned, list, (size_t)(rest - list) - 1);
    return stele__buf_take(&turned);
}

static bool make_turns(stele__conninfo *info)
{
    info->turned = stele__calloc(info->host_count, sizeof *info->turned);
    if (info->turned == NULL)
        return false;
    info->turned[0] = info->values;
    for (size_t turn = 1; turn < info->host_count; turn++) {
        const char **values = stele__calloc(info->count + 1, sizeof *values);
        info->turned[turn] = values;
        if (values == NULL)
            return false;
        for (size_t i = 0; i < info->count; i++) {
            const char *value = info->values[i];
            values[i] = value;
            /* A single port serves all hosts. */
            if (!is_list(info->keys[i]) || list_length(value) != info->host_count)
                continue;
            values[i] = turn_list(value, turn);
            if (values[i] == NULL)
                return false;
        }
    }
    return true;
}

static bool add_defaults(stele__conninfo *info, const stele__conninfo_input *in,
                         const PQconninfoOption *known)
{
    /* A peer that vanished is noticed in 30 + 3 × 10 s when idle, 15 s when something was sent. */
    bool added = add_default(info, known, "application_name", "stele") &&
                 add_default(info, known, "keepalives", "1") &&
                 add_default(info, known, "keepalives_idle", "30") &&
                 add_default(info, known, "keepalives_interval", "10") &&
                 add_default(info, known, "keepalives_count", "3") &&
                 add_default(info, known, "tcp_user_timeout", "15000");
    if (added && in->read_write)
        added = add_default(info, known, "target_session_attrs", "read-write");
    /* load_balance_hosts stays as it is: the pool turns the list itself, away from silent hosts. */
    return added;
}

/* Decoders and text inputs rely on UTF-8, whatever else was asked for. */
static bool force_utf8(stele__conninfo *info)
{
    for (size_t i = 0; i < info->count; i++) {
        if (strcmp(info->keys[i], "client_encoding") != 0)
            continue;
        char *utf8 = stele__strdup("UTF8");
        if (utf8 == NULL)
            return false;
        wipe(info->values[i]);
        info->values[i] = utf8;
        return true;
    }
    return add(info, "client_encoding", "UTF8");
}

/* The seconds of connect_timeout; libpq's own timer does not run when it is polled. */
static uint32_t timeout_of(const stele__conninfo *info)
{
    const char *text = value_of(info, "connect_timeout");
    uint32_t seconds = 0;
    if (text == NULL)
        return 0;
    for (; *text >= '0' && *text <= '9' && seconds < MAX_CONNECT_TIMEOUT_S; text++)
        seconds = seconds * 10 + (uint32_t)(*text - '0');
    if (seconds > MAX_CONNECT_TIMEOUT_S)
        seconds = MAX_CONNECT_TIMEOUT_S;
    return seconds * 1000;
}

static stele_status merge(const stele__conninfo_input *in, const PQconninfoOption *known,
                          stele__conninfo *info, stele_error *err)
{
    char what[96];
    stele__buf name = {0};
    stele_status st = STELE_OK;
    if (in->dsn != NULL && in->dsn[0] != '\0')
        st = add_string(info, "dsn", in->dsn, known, err);
    if (st == STELE_OK && !add_fields(info, in))
        st = no_memory(err);
    if (st == STELE_OK && in->instance_dsn != NULL) {
        stele__buf_addf(&name, "the instance \"%s\"", in->instance);
        (void)stele__copy_text(what, sizeof what, stele__buf_text(&name));
        stele__buf_release(&name);
        st = add_string(info, what, in->instance_dsn, known, err);
    }
    if (st == STELE_OK && (!add_defaults(info, in, known) || !force_utf8(info)))
        st = no_memory(err);
    return st;
}

stele_status stele__conninfo_build(const stele__conninfo_input *input, stele__conninfo *ret_info,
                                   stele_error *err)
{
    stele__conninfo info = {0};
    PQconninfoOption *known = PQconndefaults();
    info.keys = stele__calloc(MAX_KEYS, sizeof *info.keys);
    info.values = stele__calloc(MAX_KEYS, sizeof *info.values);
    stele_status st = STELE_OK;
    if (known == NULL || info.keys == NULL || info.values == NULL)
        st = no_memory(err);
    else
        st = merge(input, known, &info, err);
    PQconninfoFree(known);
    info.host_count = count_hosts(&info);
    if (st == STELE_OK && !make_turns(&info))
        st = no_memory(err);
    if (st != STELE_OK) {
        stele__conninfo_release(&info);
        return st;
    }
    info.connect_timeout_ms = timeout_of(&info);
    *ret_info = info;
    return STELE_OK;
}
