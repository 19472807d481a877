/**
 * Creating what is missing: the lock, the transaction, and indexes built beside running writers.
 *
 * Floor: migrate.
 */
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "ensure_internal.h"
#include "names.h"
#include "run.h"
#include "status_internal.h"
#include "stele/tx.h"
#include "text_internal.h"

#include "banned.h"

#define POLL_MS 50
#define KEY_SIZE 24
#define FIRST_WITH_EQUAL_NULLS 150000
/* A build reads the whole table, and waits for every transaction older than itself. */
#define BUILD_BUDGET_MS 3600000u
#define BUILD_BUDGET_SQL "SET statement_timeout = 3600000"

/* ---- races ---- */

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

bool stele__ensure_lost_race(const stele_error *err)
{
    /* Deadlocks, and things that someone else created between our look and our CREATE. */
    static const char *const always[] = {"40P01", "40001", "42P07", "42710", "42723", "42P06"};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        if (strcmp(err->sqlstate, always[i]) == 0)
            return true;
    /* The same, noticed by an index of the catalog; that of a user's table is another matter. */
    if (strcmp(err->sqlstate, "23505") == 0)
        return strcmp(err->schema, "pg_catalog") == 0;
    /* What the catalog says while someone changes it; the codes are those of bugs. */
    if (strcmp(err->sqlstate, "XX000") == 0)
        return strstr(err->message, "concurrently") != NULL ||
               starts_with(err->message, "could not open relation with OID") ||
               starts_with(err->message, "cache lookup failed");
    /* Whatever happened to the work, doing it again is harmless. */
    return err->status == STELE_E_LOST || err->status == STELE_E_UNKNOWN;
}

void stele__ensure_pause(const stele__ensure *e, uint32_t most_ms)
{
    int64_t now = stele__now_ns();
    uint64_t dice = stele__hash64((uint64_t)e->conn->link->backend_pid, &now, sizeof now);
    (void)poll(NULL, 0, 1 + (int)(dice % most_ms));
}

/* ---- the lock ---- */

/* One lock for each module, schema and prefix of a database, the same in every version of Stele. */
static int64_t lock_key(const stele__ensure *e)
{
    const char *schema = e->catalog.schema != NULL ? e->catalog.schema : "";
    const char *const parts[] = {"stele.ensure", e->target.module->name, schema, e->target.prefix};
    uint64_t key = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        key = stele__hash64(key, parts[i], strlen(parts[i]) + 1);
    return (int64_t)key;
}

static stele_status lock_refused(stele__ensure *e, const char *key, stele_error *err)
{
    static const char holder_sql[] =
        "SELECT pid FROM pg_catalog.pg_locks\n"
        "WHERE locktype = 'advisory' AND granted AND objsubid = 1\n"
        "  AND database = (SELECT oid FROM pg_catalog.pg_database\n"
        "                  WHERE datname = pg_catalog.current_database())\n"
        "  AND (classid::pg_catalog.int8 << 32) | objid::pg_catalog.int8 = $1::pg_catalog.int8";
    const char *holder = NULL;
    stele_error ignored;
    if (stele__ensure_value(e, holder_sql, key, &holder, &ignored) != STELE_OK || holder == NULL)
        holder = "unknown";
    stele_status st = stele__fail(err, STELE_E_TIMEOUT,
                                  "module %s: advisory lock %s was not to be had within %" PRIu32
                                  " ms; server process %s holds it",
                                  e->target.module->name, key, e->options.lock_timeout_ms, holder);
    err->retryable = true;
    stele__error_hint(err, "another program creates or builds these tables: wait for it, or raise "
                           "lock_timeout_ms");
    return st;
}

/*
 * Asks again and again instead of waiting in the server: who waits there holds a snapshot, for
 * which a concurrent index build of the lock's holder waits in turn, and neither ever ends.
 */
static stele_status take_lock(stele__ensure *e, const char *function, char key[KEY_SIZE],
                              stele_error *err)
{
    stele__buf sql = {0};
    stele__deadline end = stele__deadline_in(e->options.lock_timeout_ms);
    stele_status st = STELE_OK;
    bool locked = false;
    stele__buf_addf(&sql, "%" PRId64, lock_key(e));
    (void)stele__copy_text(key, KEY_SIZE, stele__buf_text(&sql));
    stele__buf_reset(&sql);
    stele__buf_addf(&sql, "SELECT pg_catalog.%s($1::pg_catalog.int8)", function);
    if (sql.failed)
        st = stele__fail(err, STELE_E_NOMEM, "out of memory");
    stele__ensure_phase(e, STELE_ENSURE_LOCK, e->target.module->name);
    while (st == STELE_OK && !locked) {
        const char *value = NULL;
        st = stele__ensure_value(e, stele__buf_text(&sql), key, &value, err);
        locked = value != NULL && strcmp(value, "t") == 0;
        if (st != STELE_OK || locked)
            break;
        if ((uint64_t)stele__now_ns() >= end)
            st = lock_refused(e, key, err);
        else
            stele__ensure_pause(e, POLL_MS);
    }
    stele__buf_release(&sql);
    return st;
}

/* ---- telling why ---- */

static void add_remedy(const stele__ensure *e, const stele__wanted *wanted, stele_error *err)
{
    const char *schema = e->catalog.schema != NULL ? e->catalog.schema : "";
    if (err->status == STELE_E_PERMISSION &&
        starts_with(err->message, "permission denied for schema"))
        stele__error_hint(err,
                          "GRANT CREATE ON SCHEMA \"%s\" TO \"%s\", or let the schema's owner run "
                          "the module's SQL",
                          schema, e->catalog.role);
    else if (err->status == STELE_E_PERMISSION)
        stele__error_hint(err,
                          "let the owner of table \"%s\" create it, or make role \"%s\" a "
                          "member of the owner",
                          wanted->table, e->catalog.role);
    else if (err->status == STELE_E_TIMEOUT)
        stele__error_hint(err, "another transaction holds a lock on its table: end it, or raise "
                               "lock_timeout_ms");
}

/* Servers before 15 do not know NULLS NOT DISTINCT; what they say of it is a syntax error. */
static bool is_too_old(const stele__ensure *e, const stele_gen_object *object,
                       const stele_error *err)
{
    if (strcmp(err->sqlstate, "42601") != 0 ||
        stele_conn_server_version(e->conn) >= FIRST_WITH_EQUAL_NULLS)
        return false;
    for (size_t i = 0; i < object->create_count; i++)
        if (object->create[i].kind == STELE_GEN_SQL &&
            strstr(object->create[i].text, "NULLS NOT DISTINCT") != NULL)
            return true;
    return false;
}

/* Says of which object the server speaks. */
static stele_status explain(const stele__ensure *e, const stele__wanted *wanted, stele_status st,
                            stele_error *err)
{
    stele__buf text = {0};
    stele_gen_object_kind kind = wanted->object->kind;
    if (strcmp(err->sqlstate, "55P03") == 0)
        err->status = st = STELE_E_TIMEOUT;
    if (is_too_old(e, wanted->object, err)) {
        err->status = st = STELE_E_UNSUPPORTED;
        stele__error_hint(err, "NULLS NOT DISTINCT needs PostgreSQL 15 or newer, this is %d",
                          stele_conn_server_version(e->conn) / 10000);
    }
    add_remedy(e, wanted, err);
    stele__buf_addf(&text, "module %s: cannot create %s%s \"%s\": %s", e->target.module->name,
                    stele__kind_text(kind), kind == STELE_GEN_OBJECT_OTHER ? " of" : "",
                    wanted->name, err->message);
    if (!text.failed)
        (void)stele__copy_text(err->message, sizeof err->message, stele__buf_text(&text));
    stele__buf_release(&text);
    if (err->table[0] == '\0')
        stele__error_place(err, wanted->table, NULL);
    return st;
}

/* ---- in one transaction ---- */

static stele_status run_parts(stele__ensure *e, const stele_gen_part *parts, uint16_t count,
                              stele_error *err)
{
    char *sql = stele__target_render(&e->target, parts, count);
    stele_status st = sql != NULL ? stele__ensure_run(e, sql, err)
                                  : stele__fail(err, STELE_E_NOMEM, "out of memory");
    stele__free(sql);
    return st;
}

static stele_status create_all(stele__ensure *e, stele_error *err)
{
    for (size_t i = 0; i < e->target.module->object_count; i++) {
        const stele__wanted *wanted = &e->target.wanted[i];
        if (e->actions[i] != STELE__CREATE)
            continue;
        stele__ensure_phase(e, STELE_ENSURE_CREATE, wanted->name);
        stele_status st = run_parts(e, wanted->object->create, wanted->object->create_count, err);
        if (st != STELE_OK)
            return explain(e, wanted, st, err);
    }
    return STELE_OK;
}

stele_status stele__ensure_create(stele__ensure *e, stele_error *err)
{
    char key[KEY_SIZE];
    stele_status st = stele__ensure_begin(e, err);
    if (st == STELE_OK)
        st = take_lock(e, "pg_try_advisory_xact_lock", key, err);
    /* Whoever held the lock may have created it all. */
    if (st == STELE_OK)
        st = stele__ensure_look(e, err);
    if (st == STELE_OK && e->hard_count == 0)
        st = create_all(e, err);
    if (st == STELE_OK)
        return stele_tx_commit(e->conn, err);
    stele_error ignored;
    stele_status back = stele_tx_rollback(e->conn, &ignored);
    (void)back; /* what failed first is what counts */
    return st;
}

/* ---- beside running writers ---- */

/*
 * Who builds an index of this table now? Vacuum holds the same lock but belongs to nobody. An index
 * that is being built looks like one whose build failed.
 */
static stele_status find_builder(stele__ensure *e, const stele__cat_table *table,
                                 const char **ret_pid, stele_error *err)
{
    static const char sql[] =
        "SELECT l.pid FROM pg_catalog.pg_locks l\n"
        "JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid\n"
        "WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'\n"
        "  AND l.relation = $1::pg_catalog.oid AND a.usesysid IS NOT NULL\n"
        "  AND l.pid <> pg_catalog.pg_backend_pid()\n"
        "  AND l.database = (SELECT oid FROM pg_catalog.pg_database\n"
        "                    WHERE datname = pg_catalog.current_database())";
    return stele__ensure_value(e, sql, table->oid, ret_pid, err);
}

static stele_status drop_index(stele__ensure *e, const stele__cat_table *table, const char *name,
                               stele_error *err)
{
    stele__buf sql = {0};
    stele__buf_add_text(&sql, "DROP INDEX CONCURRENTLY ");
    stele__buf_add_ident(&sql, table->schema, strlen(table->schema));
    stele__buf_add_char(&sql, '.');
    stele__buf_add_ident(&sql, name, strlen(name));
    stele_status st = sql.failed ? stele__fail(err, STELE_E_NOMEM, "out of memory")
                                 : stele__ensure_run(e, stele__buf_text(&sql), err);
    stele__buf_release(&sql);
    return st;
}

static stele_status drop_leftover(stele__ensure *e, const stele__cat_table *table,
                                  const stele__wanted *wanted, stele_error *err)
{
    const char *builder = NULL;
    stele_status st = find_builder(e, table, &builder, err);
    if (st == STELE_OK && builder != NULL) {
        st =
            stele__fail(err, STELE_E_TIMEOUT,
                        "module %s: server process %s may be building index \"%s\" of table \"%s\"",
                        e->target.module->name, builder, wanted->name, table->name);
        err->retryable = true;
        stele__error_hint(err, "wait until it has ended, then start again");
        return st;
    }
    return st == STELE_OK ? drop_index(e, table, wanted->name, err) : st;
}

static stele_status build_one(stele__ensure *e, size_t object, stele_error *err)
{
    const stele__wanted *wanted = &e->target.wanted[object];
    const stele__cat_table *table = stele__catalog_table(&e->catalog, wanted->table);
    stele_status st = STELE_OK;
    stele_error ignored;
    stele__ensure_phase(e, STELE_ENSURE_INDEX, wanted->name);
    if (e->actions[object] == STELE__REBUILD)
        st = drop_leftover(e, table, wanted, err);
    if (st != STELE_OK)
        return st;
    /* Never IF NOT EXISTS: an index that a failed build has left exists as well. */
    st = run_parts(e, wanted->object->create_concurrently,
                   wanted->object->create_concurrently_count, err);
    if (st == STELE_OK)
        return st;
    bool ours = !stele__ensure_lost_race(err) && !e->conn->link->broken;
    if (ours)
        (void)drop_index(e, table, wanted->name, &ignored); /* invalid if it is there at all */
    st = explain(e, wanted, st, err);
    if (strcmp(err->sqlstate, "23505") == 0 && ours)
        stele__error_hint(err, "rows of table \"%s\" have the same key: make them differ first",
                          table->name);
    return st;
}

static stele_status build_all(stele__ensure *e, stele_error *err)
{
    stele_status st = stele__ensure_look(e, err);
    for (size_t i = 0; i < e->target.module->object_count && st == STELE_OK; i++)
        if (e->hard_count == 0 &&
            (e->actions[i] == STELE__BUILD || e->actions[i] == STELE__REBUILD))
            st = build_one(e, i, err);
    return st;
}

/*
 * Without lock_timeout: a build waits for old transactions of whatever table, and a timeout would
 * leave an invalid index behind each time.
 */
static stele_status prepare_session(stele__ensure *e, stele_error *err)
{
    e->conn->link->dirty_session = true; /* the pool resets it, and unlocks what we could not */
    stele_status st = stele__ensure_run(e, BUILD_BUDGET_SQL, err);
    return st == STELE_OK ? stele__ensure_run(e, "SET lock_timeout = 0", err) : st;
}

stele_status stele__ensure_build(stele__ensure *e, stele_error *err)
{
    uint32_t call_timeout_ms = e->conn->limits.timeout_ms;
    const char *unlocked;
    char key[KEY_SIZE];
    stele_error ignored;
    stele_status st = take_lock(e, "pg_try_advisory_lock", key, err);
    if (st != STELE_OK)
        return st;
    if (call_timeout_ms < INT32_MAX - BUILD_BUDGET_MS)
        e->conn->limits.timeout_ms = BUILD_BUDGET_MS + call_timeout_ms;
    st = prepare_session(e, err);
    if (st == STELE_OK)
        st = build_all(e, err);
    e->conn->limits.timeout_ms = call_timeout_ms;
    if (!e->conn->link->broken)
        (void)stele__ensure_value(e, "SELECT pg_catalog.pg_advisory_unlock($1::pg_catalog.int8)",
                                  key, &unlocked, &ignored);
    return st;
}
