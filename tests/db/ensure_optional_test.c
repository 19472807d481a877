/* Indexes that a schema calls optional: there only where they are asked for, and never missed. */
#define _GNU_SOURCE
#include "ensure_util.h"
#include "sessions.gen.h"

#define COUNT(array) (sizeof array / sizeof array[0])

/* Of the peer's tables in the test's schema, without the keys. */
#define INDEXES                                                                                    \
    "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid"                        \
    " WHERE relnamespace = '@'::regnamespace AND NOT indisprimary AND indisvalid"                  \
    " AND relname !~ 'session_summary_jobs'"
#define USUAL "12"
#define ALL "29"

static stele_ensure_options asking(const char *const *names, size_t count)
{
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    options.optional = names;
    options.optional_count = count;
    return options;
}

static void ensure(const stele_ensure_options *options)
{
    stele_error err;
    assert_status(STELE_OK, ensure_once(&sessions_module, options, &err), &err);
}

static void assert_index(const char *name, const char *definition)
{
    char query[256];
    char *end;
    snprintf(query, sizeof query, "SELECT pg_get_indexdef('@.idx_%s_%s'::regclass)", schema, name);
    char *found = value(query);
    end = strstr(found, " USING ");
    assert_non_null(end);
    assert_string_equal(end + 1, definition);
    free(found);
}

static void nothing_optional_is_made_or_missed(void **state)
{
    (void)state;
    stele_ensure_options options = STELE_ENSURE_OPTIONS_INIT;
    ensure(NULL);
    assert_value(INDEXES, USUAL);
    options.verify_only = true;
    ensure(&options);
}

static void one_is_made_by_its_name(void **state)
{
    (void)state;
    static const char *const names[] = {"session_events.event_id"};
    stele_ensure_options options = asking(names, COUNT(names));
    ensure(&options);
    assert_value(INDEXES, "13");
    assert_index("session_events_event_id", "USING btree (session_id, ((event ->> 'id'::text)))");
    ensure(&options);
    ensure(NULL); /* what is there is left alone */
    assert_value(INDEXES, "13");
}

static void one_of_every_table_is_made(void **state)
{
    (void)state;
    static const char *const names[] = {"*.sweep", "*.deleted"};
    stele_ensure_options options = asking(names, COUNT(names));
    ensure(NULL);
    ensure(&options);
    assert_value(INDEXES, "24");
    assert_index("user_states_deleted", "USING btree (deleted_at) WHERE (deleted_at IS NOT NULL)");
}

static void all_are_made(void **state)
{
    (void)state;
    static const char *const names[] = {"*"};
    stele_ensure_options options = asking(names, COUNT(names));
    ensure(&options);
    assert_value(INDEXES, ALL);
    assert_index(
        "session_events_user_message",
        "USING btree (app_name, user_id, session_id, created_at, id)"
        " WHERE ((deleted_at IS NULL) AND (event @? '$.\"choices\"[*]?(@.\"message\".\"role\""
        " == \"user\" || @.\"delta\".\"role\" == \"user\")'::jsonpath))");
    options.verify_only = true;
    ensure(&options);
}

static void one_that_is_asked_for_is_missed(void **state)
{
    (void)state;
    static const char *const names[] = {"session_states.tombstone"};
    stele_error err;
    said what;
    stele_ensure_options options = listening(&what);
    ensure(NULL);
    options.verify_only = true;
    options.optional = names;
    options.optional_count = COUNT(names);
    assert_status(STELE_E_SCHEMA, ensure_once(&sessions_module, &options, &err), &err);
    assert_int_equal(what.count, 1);
    assert_non_null(strstr(what.differences[0], "_session_states_tombstone\" does not exist"));
}

static void rows_ask_for_a_build_beside_writers(void **state)
{
    (void)state;
    static const char *const names[] = {"app_states.sweep"};
    stele_error err;
    stele_ensure_options options = asking(names, COUNT(names));
    ensure(NULL);
    sql("INSERT INTO @.app_states (app_name, key) VALUES ('a', 'k')");
    assert_status(STELE_E_SCHEMA, ensure_once(&sessions_module, &options, &err), &err);
    assert_non_null(strstr(err.message, "and the table has rows"));
    options.build_indexes = true;
    ensure(&options);
    assert_value(INDEXES, "13");
}

/* A build that failed leaves an index behind. Nobody who does without it is stopped by that. */
static void a_broken_one_is_the_matter_of_who_asks(void **state)
{
    (void)state;
    static const char *const names[] = {"session_events.event_id"};
    stele_error err;
    stele_ensure_options options = asking(names, COUNT(names));
    ensure(&options);
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = "
        "'@.idx_@_session_events_event_id'"
        "::regclass");
    ensure(NULL);
    assert_status(STELE_E_SCHEMA, ensure_once(&sessions_module, &options, &err), &err);
    options.build_indexes = true;
    ensure(&options);
    assert_value(INDEXES, "13");
}

static void a_name_that_means_nothing_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"session_events.lookup", "*.nothing", "event_id", ""};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        stele_error err;
        stele_ensure_options options = asking(&wrong[i], 1);
        assert_status(STELE_E_INPUT, ensure_once(&sessions_module, &options, &err), &err);
        assert_non_null(strstr(err.message, "no optional index"));
        assert_non_null(strstr(err.hint, "session_states.recent, session_states.tombstone"));
    }
    assert_value("SELECT count(*) FROM pg_class WHERE relnamespace = '@'::regnamespace", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_optional_is_made_or_missed),
        TEST(one_is_made_by_its_name),
        TEST(one_of_every_table_is_made),
        TEST(all_are_made),
        TEST(one_that_is_asked_for_is_missed),
        TEST(rows_ask_for_a_build_beside_writers),
        TEST(a_broken_one_is_the_matter_of_who_asks),
        TEST(a_name_that_means_nothing_is_refused),
    };
    return RUN(tests);
}
