/*
 * The sessions module makes the very tables of its Go peer, no more and no less: columns, types,
 * nullability, defaults, indexes and predicates, under every kind of name. What is expected is
 * written down here, not taken from the schema. Its own table of jobs, which the peer does not know,
 * is left out.
 */
#define _GNU_SOURCE
#include "ensure_util.h"
#include "sessions.gen.h"

typedef struct column {
    const char *table;
    const char *name;
    const char *type;
    bool not_null;
    const char *value; /* its default; # stands for the sequence */
} column;

#define TEXT255 "character varying(255)"
#define STAMP "timestamp without time zone"

#define ID(table)                                                                                  \
    {                                                                                              \
        table, "id", "bigint", true, "nextval('#'::regclass)"                                      \
    }
#define KEY(table, name)                                                                           \
    {                                                                                              \
        table, name, TEXT255, true, ""                                                             \
    }
#define CREATED(table)                                                                             \
    {                                                                                              \
        table, "created_at", STAMP, true, "CURRENT_TIMESTAMP"                                      \
    }
#define MORTAL(table)                                                                              \
    {table, "updated_at", STAMP, true, "CURRENT_TIMESTAMP"},                                       \
        {table, "expires_at", STAMP, false, ""},                                                   \
    {                                                                                              \
        table, "deleted_at", STAMP, false, ""                                                      \
    }
#define SESSION(table) KEY(table, "app_name"), KEY(table, "user_id"), KEY(table, "session_id")

static const column columns[] = {
    ID("session_states"),
    SESSION("session_states"),
    {"session_states", "state", "jsonb", false, ""},
    CREATED("session_states"),
    MORTAL("session_states"),

    ID("session_events"),
    SESSION("session_events"),
    {"session_events", "event", "jsonb", true, ""},
    CREATED("session_events"),
    MORTAL("session_events"),

    ID("session_track_events"),
    SESSION("session_track_events"),
    KEY("session_track_events", "track"),
    {"session_track_events", "event", "jsonb", true, ""},
    CREATED("session_track_events"),
    MORTAL("session_track_events"),

    ID("session_summaries"),
    SESSION("session_summaries"),
    {"session_summaries", "filter_key", TEXT255, true, "''::character varying"},
    {"session_summaries", "summary", "jsonb", false, ""},
    MORTAL("session_summaries"),

    ID("app_states"),
    KEY("app_states", "app_name"),
    KEY("app_states", "key"),
    {"app_states", "value", "text", false, ""},
    CREATED("app_states"),
    MORTAL("app_states"),

    ID("user_states"),
    KEY("user_states", "app_name"),
    KEY("user_states", "user_id"),
    KEY("user_states", "key"),
    {"user_states", "value", "text", false, ""},
    CREATED("user_states"),
    MORTAL("user_states"),
};

typedef struct index_row {
    const char *table;
    const char *suffix;
    bool unique;
    const char *columns;
    const char *predicate;
} index_row;

#define EXPIRES(table)                                                                             \
    {                                                                                              \
        table, "expires", false, "expires_at", "(expires_at IS NOT NULL)"                          \
    }
#define ACTIVE(table, columns)                                                                     \
    {                                                                                              \
        table, "unique_active", true, columns, "(deleted_at IS NULL)"                              \
    }
#define LOOKUP(table, columns)                                                                     \
    {                                                                                              \
        table, "lookup", false, columns, ""                                                        \
    }

static const index_row indexes[] = {
    ACTIVE("session_states", "app_name, user_id, session_id"),
    EXPIRES("session_states"),
    LOOKUP("session_events", "app_name, user_id, session_id, created_at"),
    EXPIRES("session_events"),
    LOOKUP("session_track_events", "app_name, user_id, session_id, track, created_at"),
    EXPIRES("session_track_events"),
    ACTIVE("session_summaries", "app_name, user_id, session_id, filter_key"),
    EXPIRES("session_summaries"),
    ACTIVE("app_states", "app_name, key"),
    EXPIRES("app_states"),
    ACTIVE("user_states", "app_name, user_id, key"),
    EXPIRES("user_states"),
};

/* Names of one proof; schema "" means that the search path leads there. */
typedef struct names {
    const char *schema;
    const char *prefix;
} names;

/* Fails naming what differs: both sides give one sorted line for each thing. */
static void assert_lines(const char *query, const char *expected)
{
    char *found = value(query);
    assert_string_equal(found, expected);
    free(found);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void join_sorted(char **lines, size_t count, char *out, size_t size)
{
    size_t used = 0;
    qsort(lines, count, sizeof *lines, compare_lines);
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(out + used, size - used, "%s\n", lines[i]);
        free(lines[i]);
    }
}

static char *column_line(const column *c, const names *n)
{
    char value_text[160];
    char line[512];
    const char *hole = strchr(c->value, '#');
    snprintf(value_text, sizeof value_text, "%s", c->value);
    if (hole != NULL)
        snprintf(value_text, sizeof value_text, "%.*s%s%s%s%s_id_seq%s", (int)(hole - c->value),
                 c->value, schema, ".", n->prefix, c->table, hole + 1);
    snprintf(line, sizeof line, "%s%s %s %s %s [%s]", n->prefix, c->table, c->name, c->type,
             c->not_null ? "NOT NULL" : "NULL", value_text);
    return strdup(line);
}

static void columns_are_the_peers(const names *n)
{
    enum { COUNT = sizeof columns / sizeof columns[0] };
    char *lines[COUNT];
    char expected[8192];
    for (size_t i = 0; i < COUNT; i++)
        lines[i] = column_line(&columns[i], n);
    join_sorted(lines, COUNT, expected, sizeof expected);
    assert_lines(
        "SELECT string_agg(line || E'\\n', '' ORDER BY line COLLATE \"C\") FROM ("
        " SELECT format('%s %s %s %s [%s]', c.relname, a.attname,"
        " format_type(a.atttypid, a.atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' ELSE 'NULL' "
        "END,"
        " pg_get_expr(d.adbin, d.adrelid)) AS line"
        " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
        " WHERE c.relnamespace = '@'::regnamespace AND c.relkind = 'r' AND NOT attisdropped"
        " AND c.relname !~ 'session_summary_jobs') l",
        expected);
}

static char *index_line(const index_row *x, const names *n)
{
    char line[512];
    snprintf(line, sizeof line, "%s%s idx_%s%s%s%s_%s %s btree (%s) [%s]", n->prefix, x->table,
             n->schema, n->schema[0] != '\0' ? "_" : "", n->prefix, x->table, x->suffix,
             x->unique ? "UNIQUE" : "", x->columns, x->predicate);
    return strdup(line);
}

static void indexes_are_the_peers(const names *n)
{
    enum { COUNT = sizeof indexes / sizeof indexes[0] };
    char *lines[COUNT];
    char expected[8192];
    for (size_t i = 0; i < COUNT; i++)
        lines[i] = index_line(&indexes[i], n);
    join_sorted(lines, COUNT, expected, sizeof expected);
    assert_lines(
        "SELECT string_agg(line || E'\\n', '' ORDER BY line COLLATE \"C\") FROM ("
        " SELECT format('%s %s %s %s (%s) [%s]', t.relname, c.relname,"
        " CASE WHEN indisunique THEN 'UNIQUE' END, m.amname,"
        " (SELECT string_agg(pg_get_indexdef(c.oid, k, false), ', ' ORDER BY k)"
        "  FROM generate_series(1, indnatts) k),"
        " pg_get_expr(indpred, indrelid)) AS line"
        " FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_class t ON t.oid = indrelid"
        " JOIN pg_am m ON m.oid = c.relam"
        " WHERE t.relnamespace = '@'::regnamespace AND NOT indisprimary"
        " AND indisvalid AND indislive AND indnatts = indnkeyatts"
        " AND indoption::text !~ '[1-9]' AND t.relname !~ 'session_summary_jobs') l",
        expected);
}

static void prove(const names *n)
{
    static const char *const keys =
        "SELECT count(*) FROM pg_constraint WHERE connamespace = '@'::regnamespace AND"
        " conrelid::regclass::text !~ 'session_summary_jobs' AND ";
    char query[320];
    columns_are_the_peers(n);
    indexes_are_the_peers(n);
    snprintf(query, sizeof query, "%scontype = 'p' AND pg_get_constraintdef(oid) = %s", keys,
             "'PRIMARY KEY (id)'");
    assert_value(query, "6");
    /* Servers from 18 on keep what is NOT NULL there, too. */
    snprintf(query, sizeof query, "%scontype NOT IN ('p', 'n')", keys);
    assert_value(query, "0");
}

/* The peer never names public: without a schema the search path leads to the test's. */
static void prove_names(const char *named, const char *prefix)
{
    stele_error err;
    char text[160];
    names n = {named != NULL ? named : "", prefix != NULL ? prefix : ""};
    char *database = value("SELECT current_database()");
    snprintf(text, sizeof text, "ALTER DATABASE %s SET search_path = %s", database,
             named == NULL ? schema : "public");
    sql(text);
    stele_db *db = open_module(&sessions_module, named, prefix, NULL);
    for (int i = 0; i < 2; i++) {
        assert_status(STELE_OK, stele_db_ensure(db, &sessions_module, NULL, &err), &err);
        snprintf(text, sizeof text, "ALTER DATABASE %s RESET search_path", database);
        sql(text);
        prove(&n);
    }
    stele_db_close(db);
    free(database);
}

static void with_a_schema_only(void **state)
{
    (void)state;
    prove_names(schema, NULL);
}

static void with_a_prefix_only(void **state)
{
    (void)state;
    prove_names(NULL, "app1_");
}

static void with_both(void **state)
{
    (void)state;
    prove_names(schema, "app1_");
}

static void with_neither(void **state)
{
    (void)state;
    prove_names(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_a_schema_only),
        TEST(with_a_prefix_only),
        TEST(with_both),
        TEST(with_neither),
    };
    return RUN(tests);
}
