/**
 * Comparing tables: columns, what fills them, and the primary key.
 *
 * Floor: migrate.
 */
#include <string.h>

#include "ensure_internal.h"
#include "text_internal.h"

#include "banned.h"

static bool is_same(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* ---- columns ---- */

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t end_len = strlen(end);
    return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

static bool is_array(const char *type)
{
    return ends_with(type, strlen(type), "[]");
}

/* True if the module has an enum whose base name is `name` (`len` bytes). */
static bool is_own_enum(const stele__ensure *e, const char *name, size_t len)
{
    size_t prefix = strlen(e->target.prefix);
    for (size_t i = 0; i < e->target.module->object_count; i++) {
        const stele__wanted *wanted = &e->target.wanted[i];
        if (wanted->object->kind == STELE_GEN_OBJECT_ENUM && strlen(wanted->name) == prefix + len &&
            memcmp(wanted->name + prefix, name, len) == 0)
            return true;
    }
    return false;
}

/* An enum of another module has that module's schema and prefix, which are not known here. */
static bool is_enum_type(const stele__ensure *e, const stele_gen_catalog_column *column,
                         const stele__cat_column *found)
{
    const stele__target *target = &e->target;
    size_t len = strcspn(column->type, "[");
    size_t found_len = strlen(found->base_type);
    size_t prefix = strlen(target->prefix);
    if (is_array(column->type) != is_array(found->type) || found_len < len ||
        memcmp(found->base_type + found_len - len, column->type, len) != 0)
        return false;
    if (!is_own_enum(e, column->type, len))
        return true;
    return found_len == prefix + len && memcmp(found->base_type, target->prefix, prefix) == 0 &&
           (target->schema[0] == '\0' || is_same(target->schema, found->base_schema));
}

/* A type outside the search path is shown with its schema. */
static bool is_type(const stele__ensure *e, const stele_gen_catalog_column *column,
                    const stele__cat_column *found)
{
    if (column->own_enum)
        return is_enum_type(e, column, found);
    if (is_same(column->type, found->type))
        return true;
    const char *dot = strchr(found->type, '.');
    return dot != NULL && strchr(column->type, '.') == NULL && is_same(column->type, dot + 1);
}

static void compare_column(stele__ensure *e, const char *table,
                           const stele_gen_catalog_column *column)
{
    const char *prefix = column->own_enum ? e->target.prefix : "";
    const stele__cat_column *found = stele__catalog_column(&e->catalog, table, column->name);
    if (found == NULL) {
        stele__ensure_differ(e, false, table, column->name,
                             "table \"%s\": column \"%s\" does not exist, the schema says %s%s%s",
                             table, column->name, prefix, column->type,
                             column->not_null ? " NOT NULL" : "");
        return;
    }
    if (!is_type(e, column, found))
        stele__ensure_differ(e, false, table, column->name,
                             "table \"%s\": column \"%s\" is %s, the schema says %s%s", table,
                             column->name, found->type, prefix, column->type);
    if (found->not_null != column->not_null)
        stele__ensure_differ(e, false, table, column->name,
                             "table \"%s\": column \"%s\" %s, the schema says %s", table,
                             column->name, found->not_null ? "is NOT NULL" : "allows NULL",
                             column->not_null ? "NOT NULL" : "that it allows NULL");
}

static bool is_declared(const stele_gen_table *table, const char *column)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (is_same(table->columns[i].name, column))
            return true;
    return false;
}

/* ---- what only CREATE TABLE says ---- */

/*
 * What an insert that leaves the column out relies on. Which default it is stays the database's affair:
 * the server writes an expression its own way, and an identity does what a sequence does.
 */
static void compare_filled(stele__ensure *e, const char *table, const stele__filled *filled)
{
    const stele__cat_column *found = stele__catalog_column(&e->catalog, table, filled->column);
    if (found != NULL && !found->has_value)
        stele__ensure_differ(e, false, table, filled->column,
                             "table \"%s\": column \"%s\" has no default, the schema says %s",
                             table, filled->column, filled->how);
}

static bool no_varchar(const void *ctx, const char *column)
{
    (void)ctx;
    (void)column;
    return false;
}

/* The columns of which no two rows have the same values, "(a, b)"; "" if the index does not promise. */
static const char *unique_columns(stele__ensure *e, const stele__cat_index *index)
{
    stele__index_def def;
    if (!stele__index_def_of_server(&e->round, index->create, no_varchar, NULL, &def)) {
        e->no_memory = true;
        return "";
    }
    return index->unique && def.predicate[0] == '\0' ? def.keys : "";
}

/* What follows the columns, INCLUDE or NULLS NOT DISTINCT, changes nothing. */
static bool is_on(const char *columns, const char *key)
{
    size_t len = strlen(key);
    return strncmp(columns, key, len) == 0 && (columns[len] == '\0' || columns[len] == ' ');
}

/* Nobody asks for the constraint itself: a unique index on the same columns, which are NOT NULL, does. */
static void compare_key(stele__ensure *e, const stele__cat_table *table, const char *key)
{
    const stele__cat_index *primary = NULL;
    const char *found = "";
    for (size_t i = 0; i < e->catalog.index_count; i++) {
        const stele__cat_index *index = &e->catalog.indexes[i];
        if (!is_same(index->table, table->name) || (!index->unique && !index->primary))
            continue;
        const char *columns = unique_columns(e, index);
        if (index->valid && !index->deferrable && is_on(columns, key))
            return;
        if (index->primary) {
            primary = index;
            found = columns;
        }
    }
    if (primary == NULL)
        stele__ensure_differ(e, false, table->name, table->name,
                             "table \"%s\" has no primary key, the schema says %s: add it, or a "
                             "unique index on the same columns",
                             table->name, key);
    else if (is_on(found, key))
        stele__ensure_differ(
            e, false, table->name, primary->name,
            "table \"%s\": its primary key is %s, so that no upsert can use it: add "
            "a unique index on the same columns",
            table->name, primary->deferrable ? "deferrable" : "not valid");
    else
        stele__ensure_differ(
            e, false, table->name, primary->name,
            "table \"%s\": its primary key is %s, the schema says %s: change it, or "
            "add a unique index on these columns",
            table->name, found, key);
}

static void compare_definition(stele__ensure *e, const stele__cat_table *table)
{
    const stele_gen_object *object = NULL;
    stele__table_def def;
    for (size_t i = 0; i < e->target.module->object_count; i++)
        if (e->target.wanted[i].object->kind == STELE_GEN_OBJECT_TABLE &&
            is_same(e->target.wanted[i].table, table->name))
            object = e->target.wanted[i].object;
    if (object == NULL)
        return;
    char *sql = stele__target_render(&e->target, object->create, object->create_count);
    bool read = sql != NULL && stele__table_def_of(&e->round, sql, &def);
    stele__free(sql);
    if (!read) {
        e->no_memory = true;
        return;
    }
    for (size_t i = 0; i < def.filled_count; i++)
        compare_filled(e, table->name, &def.filled[i]);
    if (def.key[0] != '\0' && table->kind != 'f') /* a foreign table has no indexes */
        compare_key(e, table, def.key);
}

/* ---- the whole ---- */

void stele__ensure_compare_table(stele__ensure *e, size_t number)
{
    const stele_gen_table *table = e->target.module->tables[number];
    const char *name = e->target.tables[number];
    const stele__cat_table *found = stele__catalog_table(&e->catalog, name);
    if (found == NULL)
        return;
    stele__ensure_phase(e, STELE_ENSURE_VERIFY, name);
    if (strchr("rpf", found->kind) == NULL) {
        stele__ensure_differ(e, false, name, name, "\"%s\" is no table, the schema says that it is",
                             name);
        return;
    }
    for (size_t i = 0; i < table->column_count; i++)
        compare_column(e, name, &table->columns[i]);
    compare_definition(e, found);
    for (size_t i = 0; i < e->catalog.column_count; i++) {
        const stele__cat_column *column = &e->catalog.columns[i];
        if (is_same(column->table, name) && column->not_null && !column->has_value &&
            !is_declared(table, column->name))
            stele__ensure_differ(e, false, name, column->name,
                                 "table \"%s\": column \"%s\" is unknown to the schema, NOT NULL "
                                 "and without a default, so that no row can be inserted",
                                 name, column->name);
    }
}
