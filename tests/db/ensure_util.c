#define _GNU_SOURCE
#include "ensure_util.h"

char *dsn;
char schema[32];

int make_database(void **state)
{
    (void)state;
    dbtest_require_server();
    dsn = dbtest_create();
    return 0;
}

int drop_database(void **state)
{
    (void)state;
    dbtest_drop(dsn);
    dsn = NULL;
    return 0;
}

int make_schema(void **state)
{
    static int count;
    (void)state;
    snprintf(schema, sizeof schema, "e%d", ++count);
    sql("CREATE SCHEMA @");
    return 0;
}

int drop_schema(void **state)
{
    (void)state;
    sql("DROP SCHEMA @ CASCADE");
    return 0;
}

stele_db *open_module(const stele_module *module, const char *in_schema, const char *prefix,
                      const char *role)
{
    char text[512];
    stele_db *db = NULL;
    stele_error err;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    snprintf(text, sizeof text, "%s", dsn);
    if (role != NULL)
        snprintf(text, sizeof text, "%s user=%s", dsn, role);
    options.dsn = text;
    options.modules = &module;
    options.module_count = 1;
    options.names = (stele_names){.schema = in_schema, .prefix = prefix};
    assert_status(STELE_OK, stele_db_open(&options, &db, &err), &err);
    return db;
}

static void hear_difference(const char *table, const char *object, const char *difference,
                            void *user)
{
    said *what = user;
    assert_non_null(table);
    assert_non_null(object);
    assert_true(what->count < SAID_MAX);
    snprintf(what->differences[what->count++], SAID_SIZE, "%s", difference);
}

static void hear_phase(stele_ensure_phase phase, const char *object, void *user)
{
    static const char *const names[] = {"lock", "look", "create", "index", "verify", "retry"};
    said *what = user;
    size_t used = strlen(what->phases);
    snprintf(what->phases + used, sizeof what->phases - used, "%s %s\n", names[phase], object);
}

stele_ensure_options listening(said *what)
{
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    memset(what, 0, sizeof *what);
    options.on_difference = hear_difference;
    options.on_phase = hear_phase;
    options.user = what;
    return options;
}

static char *filled_in(const char *text)
{
    char *out = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&out, &size);
    assert_non_null(stream);
    for (; *text != '\0'; text++) {
        if (*text == '@')
            fputs(schema, stream);
        else
            fputc(*text, stream);
    }
    assert_int_equal(fclose(stream), 0);
    return out;
}

void sql(const char *text)
{
    char *filled = filled_in(text);
    dbtest_exec(dsn, filled);
    free(filled);
}

char *value(const char *text)
{
    char *filled = filled_in(text);
    char *answer = dbtest_value(dsn, filled);
    free(filled);
    return answer;
}

void assert_value(const char *query, const char *expected)
{
    char *answer = value(query);
    assert_string_equal(answer, expected);
    free(answer);
}

void check_status(stele_status expected, stele_status status, const stele_error *err,
                  const char *file, int line)
{
    char text[1600];
    if (status == expected)
        return;
    text[0] = '\0';
    if (status < 0)
        (void)stele_error_format(err, text, sizeof text);
    print_error("%s:%d: %s instead of %s: %s\n", file, line, stele_status_name(status),
                stele_status_name(expected), text);
    _fail(file, line);
}

stele_status ensure_once(const stele_module *module, const stele_ensure_options *options,
                         stele_error *err)
{
    stele_db *db = open_module(module, schema, NULL, NULL);
    stele_status st = stele_db_ensure(db, module, options, err);
    stele_db_close(db);
    return st;
}
