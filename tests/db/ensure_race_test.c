/* What happens on the way: peers that come between, connections that die, memory that runs out. */
#define _GNU_SOURCE
#include "ensure_lab.h"
#include "ensure_util.h"
#include "stele/mem.h"

/* What is done once, when a phase reaches an object. */
typedef struct meddling {
    said what; /* first: the listening hooks take it */
    stele_ensure_phase phase;
    const char *object;
    const char *sql;
    bool done;
} meddling;

static void (*listen_phase)(stele_ensure_phase phase, const char *object, void *user);

static void meddle(stele_ensure_phase phase, const char *object, void *user)
{
    meddling *m = user;
    listen_phase(phase, object, &m->what);
    if (m->done || phase != m->phase || strcmp(object, m->object) != 0)
        return;
    m->done = true;
    sql(m->sql);
}

static stele_ensure_options meddling_options(meddling *m)
{
    stele_ensure_options options = listening(&m->what);
    listen_phase = options.on_phase;
    options.on_phase = meddle;
    options.user = m;
    return options;
}

static void a_peer_that_was_faster_is_no_error(void **state)
{
    (void)state;
    stele_error err;
    meddling m = {.phase = STELE_ENSURE_CREATE,
                  .object = "pieces",
                  .sql = "CREATE TABLE @.pieces (thing_id bigint NOT NULL, no int NOT NULL,"
                         " seq bigserial, tag text DEFAULT '', twice int DEFAULT 2,"
                         " PRIMARY KEY (thing_id, no))"};
    stele_ensure_options options = meddling_options(&m);
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_true(m.done);
    assert_non_null(strstr(m.what.phases, "create pieces\nretry lab\nlook lab\n"));
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
}

static void a_peer_that_makes_something_else_is_told(void **state)
{
    (void)state;
    stele_error err;
    meddling m = {.phase = STELE_ENSURE_CREATE,
                  .object = "pieces",
                  .sql = "CREATE TABLE @.pieces (thing_id text, no int PRIMARY KEY,"
                         " seq bigserial, tag text DEFAULT '', twice int DEFAULT 2)"};
    stele_ensure_options options = meddling_options(&m);
    assert_status(STELE_E_SCHEMA, ensure_once(&lab_module, &options, &err), &err);
    assert_int_equal(m.what.count, 3);
    assert_value("SELECT to_regclass('@.things') IS NULL", "t");
}

static void a_lost_connection_is_replaced(void **state)
{
    (void)state;
    stele_error err;
    meddling m = {.phase = STELE_ENSURE_CREATE,
                  .object = "things_active",
                  .sql = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
                         " WHERE datname = current_database() AND application_name = 'stele'"};
    stele_ensure_options options = meddling_options(&m);
    assert_status(STELE_OK, ensure_once(&lab_module, &options, &err), &err);
    assert_non_null(strstr(m.what.phases, "create things_active\nretry lab\nlook lab\n"));
    assert_status(STELE_OK, ensure_once(&lab_module, NULL, &err), &err);
}

static void a_schema_dropped_meanwhile_is_told(void **state)
{
    (void)state;
    stele_error err;
    meddling m = {
        .phase = STELE_ENSURE_LOCK, .object = "lab", .sql = "ALTER SCHEMA @ RENAME TO gone_@"};
    stele_ensure_options options = meddling_options(&m);
    assert_status(STELE_E_SCHEMA, ensure_once(&lab_module, &options, &err), &err);
    assert_non_null(strstr(err.message, "does not exist"));
    sql("ALTER SCHEMA gone_@ RENAME TO @");
}

/* ---- memory ---- */

static _Thread_local bool counting;
static _Thread_local size_t countdown; /* allocations of this thread that still succeed */
static _Thread_local bool failed;

static bool may_allocate(void)
{
    if (!counting)
        return true;
    if (countdown == 0) {
        failed = true;
        return false;
    }
    countdown--;
    return true;
}

static void *failing_alloc(size_t size)
{
    return may_allocate() ? malloc(size) : NULL;
}

static void *failing_realloc(void *ptr, size_t size)
{
    return may_allocate() ? realloc(ptr, size) : NULL;
}

/* Fails each allocation in turn until none is left to fail; gives how often it was told. */
static int exhaust(stele_db *db, stele_status expected)
{
    int told = 0;
    for (size_t n = 0;; n++) {
        stele_error err;
        countdown = n;
        failed = false;
        counting = true;
        stele_status st = stele_db_ensure(db, &lab_module, NULL, &err);
        counting = false;
        if (!failed) {
            assert_status(expected, st, &err);
            return told;
        }
        /* What a cache cannot keep for want of memory is no error. */
        assert_true(st == STELE_E_NOMEM || st == expected);
        told += st == STELE_E_NOMEM;
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    stele_db *db = open_module(&lab_module, schema, NULL, NULL);
    assert_true(exhaust(db, STELE_OK) > 20); /* creates everything, at the last */
    assert_true(exhaust(db, STELE_OK) > 20);
    sql("INSERT INTO @.things (name, price) VALUES ('a', 1);"
        "DROP INDEX @.things_price; ALTER TABLE @.things ALTER name DROP NOT NULL");
    assert_true(exhaust(db, STELE_E_SCHEMA) > 20);
    stele_db_close(db);
}

int main(void)
{
    static const stele_allocator allocator = {failing_alloc, failing_realloc, free};
    const struct CMUnitTest tests[] = {
        TEST(a_peer_that_was_faster_is_no_error), TEST(a_peer_that_makes_something_else_is_told),
        TEST(a_lost_connection_is_replaced),      TEST(a_schema_dropped_meanwhile_is_told),
        TEST(every_allocation_may_fail),
    };
    if (stele_set_allocator(&allocator) != STELE_OK)
        return 1;
    return RUN(tests);
}
