/**
 * Comparing what the catalog has with what the module says, object by object.
 *
 * Floor: migrate.
 */
#include <string.h>

#include "ensure_internal.h"
#include "names.h"
#include "status_internal.h"
#include "stele/tx.h"
#include "text_internal.h"

#include "banned.h"

static bool is_same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* ---- enums ---- */

static void compare_enum(stele__ensure *e, size_t object)
{
    const stele__wanted *wanted = &e->target.wanted[object];
    const stele__catalog *cat = &e->catalog;
    const char **labels = NULL;
    size_t count = 0;
    bool exists = false;
    for (size_t i = 0; i < cat->label_count; i++)
        exists = exists || is_same(cat->labels[i].type, wanted->name);
    e->actions[object] = exists ? STELE__KEEP : STELE__MISSING;
    if (!exists)
        return;
    stele__ensure_phase(e, STELE_ENSURE_VERIFY, wanted->name);
    char *sql =
        stele__target_render(&e->target, wanted->object->create, wanted->object->create_count);
    if (sql == NULL || !stele__sql_strings(&e->round, sql, &labels, &count))
        e->no_memory = true;
    stele__free(sql);
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        for (size_t j = 0; j < cat->label_count && !found; j++)
            found = is_same(cat->labels[j].type, wanted->name) && cat->labels[j].label != NULL &&
                    is_same(cat->labels[j].label, labels[i]);
        if (!found)
            stele__ensure_differ(e, false, wanted->name, labels[i], "enum \"%s\" has no label '%s'",
                                 wanted->name, labels[i]);
    }
}

/* ---- foreign keys ---- */

static void compare_foreign_key(stele__ensure *e, size_t object)
{
    const stele__wanted *wanted = &e->target.wanted[object];
    char *sql =
        stele__target_render(&e->target, wanted->object->create, wanted->object->create_count);
    const char *ours = sql != NULL ? stele__foreign_key_def(&e->round, sql) : NULL;
    stele__free(sql);
    e->no_memory = e->no_memory || ours == NULL;
    e->actions[object] = STELE__MISSING;
    for (size_t i = 0; i < e->catalog.key_count && !e->no_memory; i++) {
        const stele__cat_key *key = &e->catalog.keys[i];
        if (!is_same(key->table, wanted->table))
            continue;
        /* Named as ours it is ours; named otherwise it must mean the same. */
        const char *theirs = stele__foreign_key_def(&e->round, key->def);
        e->no_memory = theirs == NULL;
        if (is_same(key->name, wanted->name) || (theirs != NULL && is_same(theirs, ours)))
            e->actions[object] = STELE__KEEP;
    }
}

/* ---- other objects ---- */

/*
 * A statement that mentions the name it is listed under creates that name: a function, a further
 * table. Others (comments, triggers) come and go with the table.
 */
static bool creates_its_name(const stele__ensure *e, const stele__wanted *wanted)
{
    size_t prefix = strlen(e->target.prefix);
    const stele_gen_object *object = wanted->object;
    for (size_t i = 0; i < object->create_count; i++)
        if (object->create[i].kind == STELE_GEN_TABLE &&
            is_same(object->create[i].text, wanted->name + prefix))
            return true;
    return false;
}

static bool name_exists(const stele__ensure *e, const char *name)
{
    for (size_t i = 0; i < e->catalog.name_count; i++)
        if (is_same(e->catalog.names[i].name, name))
            return true;
    return stele__catalog_table(&e->catalog, name) != NULL;
}

static void compare_other(stele__ensure *e, size_t object)
{
    const stele__wanted *wanted = &e->target.wanted[object];
    bool missing = false;
    /* Statements under one name belong together: a trigger goes with its function. */
    for (size_t i = 0; i < e->target.module->object_count; i++) {
        const stele__wanted *other = &e->target.wanted[i];
        if (other->object->kind == STELE_GEN_OBJECT_OTHER && is_same(other->name, wanted->name))
            missing = missing || creates_its_name(e, other);
    }
    missing = missing && !name_exists(e, wanted->name);
    e->actions[object] = missing ? STELE__MISSING : STELE__KEEP;
}

/* ---- names that something else has ---- */

static const char *owner_of_name(const stele__ensure *e, const stele__wanted *wanted)
{
    const stele__cat_table *table = stele__catalog_table(&e->catalog, wanted->table);
    const char *schema = table != NULL ? table->schema : e->catalog.schema;
    for (size_t i = 0; i < e->catalog.name_count; i++) {
        const stele__cat_name *name = &e->catalog.names[i];
        if (is_same(name->name, wanted->name) && strchr("FT", name->kind) == NULL &&
            schema != NULL && is_same(name->schema, schema))
            return name->table != NULL ? name->table : name->name;
    }
    return NULL;
}

/* An index is looked for at its table; its name must be free in the schema as well. */
static bool is_name_taken(stele__ensure *e, size_t object)
{
    const stele__wanted *wanted = &e->target.wanted[object];
    const char *owner = owner_of_name(e, wanted);
    if (wanted->object->kind != STELE_GEN_OBJECT_INDEX || owner == NULL ||
        is_same(owner, wanted->table))
        return false;
    e->actions[object] = STELE__KEEP;
    stele__ensure_differ(e, false, wanted->table, wanted->name,
                         "table \"%s\": the name of its index \"%s\" is taken by %s\"%s\"",
                         wanted->table, wanted->name,
                         is_same(owner, wanted->name) ? "" : "an index of table ", owner);
    return true;
}

/* ---- deciding ---- */

static stele_status ask_for_rows(stele__ensure *e, const stele__cat_table *table,
                                 const char **ret_value, stele_error *err)
{
    stele__buf sql = {0};
    bool nested = stele_conn_in_transaction(e->conn);
    stele__buf_add_text(&sql, "SELECT EXISTS (SELECT FROM ");
    stele__buf_add_ident(&sql, table->schema, strlen(table->schema));
    stele__buf_add_char(&sql, '.');
    stele__buf_add_ident(&sql, table->name, strlen(table->name));
    stele__buf_add_text(&sql, ")");
    stele_status st = sql.failed ? stele__fail(err, STELE_E_NOMEM, "out of memory") : STELE_OK;
    if (st == STELE_OK && !nested)
        st = stele__ensure_begin(e, err);
    if (st == STELE_OK)
        st = stele__ensure_value(e, stele__buf_text(&sql), NULL, ret_value, err);
    stele__buf_release(&sql);
    if (nested)
        return st;
    stele_error ignored;
    stele_status back = stele_tx_rollback(e->conn, &ignored);
    return st == STELE_OK && back != STELE_OK ? stele__fail(err, back, "%s", ignored.message) : st;
}

static stele_status has_rows(stele__ensure *e, const stele__cat_table *table, bool *ret_has,
                             stele_error *err)
{
    const char *value = NULL;
    *ret_has = true;
    if (!table->readable)
        return STELE_OK; /* then it is as good as full */
    stele_status st = ask_for_rows(e, table, &value, err);
    if (st != STELE_OK && is_same(err->sqlstate, "55P03")) {
        st = stele__fail(err, STELE_E_TIMEOUT, "module %s: table \"%s\" is locked",
                         e->target.module->name, table->name);
        err->retryable = true;
        stele__error_hint(err, "end the transaction that locks it, or raise lock_timeout_ms");
    }
    *ret_has = st != STELE_OK || is_same(value, "t");
    return st;
}

static void report_missing(stele__ensure *e, size_t object, bool rows)
{
    const stele__wanted *wanted = &e->target.wanted[object];
    const stele_gen_object *gen = wanted->object;
    const char *kind = stele__kind_text(gen->kind);
    if (gen->kind == STELE_GEN_OBJECT_ENUM || gen->kind == STELE_GEN_OBJECT_TABLE)
        stele__ensure_differ(e, false, wanted->name, wanted->name, "%s \"%s\" does not exist", kind,
                             wanted->name);
    else
        stele__ensure_differ(e, false, wanted->table, wanted->name,
                             "table \"%s\": %s%s \"%s\" does not exist%s", wanted->table,
                             gen->unique ? "unique " : "", kind, wanted->name,
                             rows ? ", and the table has rows" : "");
}

/*
 * What is missing of a table that has rows is not made at start-up: building an index stops its
 * writers for as long as it takes, and a foreign key those of both tables.
 */
static stele_status decide(stele__ensure *e, size_t object, stele_error *err)
{
    const stele_gen_object *gen = e->target.wanted[object].object;
    const stele__cat_table *table =
        stele__catalog_table(&e->catalog, e->target.wanted[object].table);
    bool rows = false;
    stele_status st = STELE_OK;
    if (is_name_taken(e, object))
        return STELE_OK;
    if (e->options.verify_only) {
        report_missing(e, object, false);
        e->actions[object] = STELE__KEEP;
        return STELE_OK;
    }
    bool heavy = gen->kind == STELE_GEN_OBJECT_INDEX || gen->kind == STELE_GEN_OBJECT_FOREIGN_KEY;
    if (heavy && table != NULL)
        st = has_rows(e, table, &rows, err);
    if (st != STELE_OK)
        return st;
    if (rows && e->options.build_indexes && gen->create_concurrently_count > 0) {
        e->actions[object] = STELE__BUILD;
    } else if (rows) {
        report_missing(e, object, true);
        e->actions[object] = STELE__KEEP;
    } else {
        e->actions[object] = STELE__CREATE;
    }
    return STELE_OK;
}

/* ---- the whole ---- */

static stele_status compare_object(stele__ensure *e, size_t object, stele_error *err)
{
    const stele__wanted *wanted = &e->target.wanted[object];
    const stele__cat_table *table = stele__catalog_table(&e->catalog, wanted->table);
    if (wanted->object->kind == STELE_GEN_OBJECT_ENUM) {
        compare_enum(e, object);
        return STELE_OK;
    }
    e->actions[object] = table != NULL || e->left_out[object] ? STELE__KEEP : STELE__MISSING;
    if (table == NULL || e->left_out[object] || strchr("rpf", table->kind) == NULL)
        return STELE_OK;
    if (wanted->object->kind == STELE_GEN_OBJECT_INDEX)
        return stele__ensure_compare_index(e, object, err);
    if (wanted->object->kind == STELE_GEN_OBJECT_FOREIGN_KEY)
        compare_foreign_key(e, object);
    if (wanted->object->kind == STELE_GEN_OBJECT_OTHER)
        compare_other(e, object);
    return STELE_OK;
}

static stele_status check_schema(const stele__ensure *e, stele_error *err)
{
    const stele__catalog *cat = &e->catalog;
    const char *schema = e->target.schema;
    const char *module = e->target.module->name;
    stele_status st = STELE_OK;
    if (!cat->schema_exists) {
        st = stele__fail(err, STELE_E_SCHEMA, "module %s: schema \"%s\" does not exist", module,
                         schema);
        stele__error_hint(err, "CREATE SCHEMA \"%s\" AUTHORIZATION \"%s\"", schema, cat->role);
    } else if (!cat->schema_usable) {
        st =
            stele__fail(err, STELE_E_PERMISSION, "module %s: role \"%s\" may not use schema \"%s\"",
                        module, cat->role, schema);
        stele__error_hint(err, "GRANT USAGE ON SCHEMA \"%s\" TO \"%s\"", schema, cat->role);
    } else if (cat->schema == NULL && e->to_create > 0) {
        st = stele__fail(err, STELE_E_SCHEMA,
                         "module %s: there is no schema to create tables in; search_path is %s",
                         module, cat->search_path);
        stele__error_hint(err, "name a schema in stele_db_options.names, or create one that "
                               "search_path lists");
    }
    return st;
}

static void start_round(stele__ensure *e)
{
    stele__catalog_release(&e->catalog);
    stele__block_reset(&e->round);
    e->differences = NULL;
    e->difference_count = 0;
    e->hard_count = 0;
    e->difference_room = 0;
    e->to_create = 0;
    e->to_build = 0;
}

stele_status stele__ensure_look(stele__ensure *e, stele_error *err)
{
    size_t count = e->target.module->object_count;
    start_round(e);
    stele__ensure_phase(e, STELE_ENSURE_LOOK, e->target.module->name);
    stele_status st = stele__catalog_read(e->conn, &e->target, &e->catalog, err);
    if (st == STELE_OK)
        st = check_schema(e, err);
    for (size_t i = 0; i < e->target.module->table_count && st == STELE_OK; i++)
        stele__ensure_compare_table(e, i);
    for (size_t i = 0; i < count && st == STELE_OK; i++) {
        st = compare_object(e, i, err);
        if (st == STELE_OK && e->actions[i] == STELE__MISSING)
            st = decide(e, i, err);
    }
    for (size_t i = 0; i < count && st == STELE_OK; i++) {
        e->to_create += e->actions[i] == STELE__CREATE;
        e->to_build += e->actions[i] == STELE__BUILD || e->actions[i] == STELE__REBUILD;
    }
    if (st == STELE_OK && e->no_memory)
        st = stele__fail(err, STELE_E_NOMEM, "module %s: out of memory", e->target.module->name);
    return st == STELE_OK ? check_schema(e, err) : st;
}
