/**
 * Reading the catalog.
 *
 * Floor: migrate.
 */
#include "ensure_catalog.h"

#include <string.h>

#include "render.h"
#include "run.h"
#include "status_internal.h"

#include "banned.h"

/* ---- what is wanted ---- */

char *stele__target_render(const stele__target *target, const stele_gen_part *parts, uint16_t count)
{
    stele__buf sql = {0};
    stele__render_name(parts, count, target->module, target->names, &sql);
    char *text = stele__buf_take(&sql);
    stele__buf_release(&sql);
    return text;
}

static const char *full_name(stele__block *mem, const char *prefix, const char *table)
{
    size_t prefix_len = strlen(prefix);
    size_t table_len = strlen(table);
    char *name = stele__block_alloc(mem, prefix_len + table_len + 1);
    if (name != NULL) {
        memcpy(name, prefix, prefix_len);
        memcpy(name + prefix_len, table, table_len + 1);
    }
    return name;
}

static bool make_wanted(stele__target *target, stele__block *mem, size_t i)
{
    const stele_gen_object *object = &target->module->objects[i];
    char *name = stele__target_render(target, object->name, object->name_count);
    if (name == NULL)
        return false;
    target->wanted[i] = (stele__wanted){
        .object = object,
        .name = stele__block_strndup(mem, name, strlen(name)),
        .table = object->table != NULL ? full_name(mem, target->prefix, object->table) : "",
    };
    stele__free(name);
    return target->wanted[i].name != NULL && target->wanted[i].table != NULL;
}

stele_status stele__target_make(const stele_module *module, const stele__names *names,
                                stele__block *mem, stele__target *ret_target, stele_error *err)
{
    stele__target target = {.module = module, .names = names};
    stele__names_of(names, module->name, &target.schema, &target.prefix);
    target.wanted = stele__block_calloc(mem, module->object_count + 1u, sizeof *target.wanted);
    target.tables = stele__block_calloc(mem, module->table_count + 1u, sizeof *target.tables);
    bool made = target.wanted != NULL && target.tables != NULL;
    for (size_t i = 0; made && i < module->object_count; i++)
        made = make_wanted(&target, mem, i);
    for (size_t i = 0; made && i < module->table_count; i++) {
        target.tables[i] = full_name(mem, target.prefix, module->tables[i]->name);
        made = target.tables[i] != NULL;
    }
    if (!made)
        return stele__fail(err, STELE_E_NOMEM, "module %s: out of memory", module->name);
    *ret_target = target;
    return STELE_OK;
}

/* ---- the question ---- */

/*
 * $1: the schema, '' for none; $2: tables; $3: enums; $4: all names. Without a schema each table is
 * the one that an unqualified name means to the server, whatever the search path is. Nothing here
 * takes a lock that a writer would notice.
 */
static const char look_sql[] =
    "WITH wanted AS (\n"
    "    SELECT w.name, CASE WHEN $1 = ''\n"
    "        THEN pg_catalog.to_regclass(pg_catalog.quote_ident(w.name))::pg_catalog.oid\n"
    "        ELSE (SELECT c.oid FROM pg_catalog.pg_class c\n"
    "              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n"
    "              WHERE n.nspname = $1 AND c.relname = w.name) END AS oid\n"
    "    FROM pg_catalog.unnest($2::pg_catalog.text[]) AS w (name)\n"
    "), tables AS MATERIALIZED (\n"
    "    SELECT w.name, c.oid, c.relkind, n.nspname\n"
    "    FROM wanted w JOIN pg_catalog.pg_class c ON c.oid = w.oid\n"
    "    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n"
    "), types AS (\n"
    "    SELECT w.name, t.oid, n.nspname\n"
    "    FROM pg_catalog.unnest($3::pg_catalog.text[]) AS w (name)\n"
    "    JOIN pg_catalog.pg_type t ON t.typname = w.name AND t.typtype = 'e'\n"
    "    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace\n"
    "    WHERE CASE WHEN $1 = '' THEN pg_catalog.pg_type_is_visible(t.oid)\n"
    "               ELSE n.nspname = $1 END\n"
    "), schemas AS (\n"
    "    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n\n"
    "    WHERE CASE WHEN $1 = '' THEN n.nspname = ANY (pg_catalog.current_schemas(false))\n"
    "               ELSE n.nspname = $1 END\n"
    ")\n"
    "SELECT 's' AS kind, current_user::pg_catalog.text AS t, 0 AS place,\n"
    "       CASE WHEN $1 = '' THEN pg_catalog.current_schema()::pg_catalog.text\n"
    "            ELSE $1 END AS a,\n"
    "       pg_catalog.current_setting('search_path') AS b,\n"
    "       ($1 = '' OR EXISTS (SELECT FROM schemas))::pg_catalog.text AS c,\n"
    "       ($1 = '' OR EXISTS (SELECT FROM schemas s\n"
    "           WHERE pg_catalog.has_schema_privilege(s.oid, 'USAGE')))::pg_catalog.text AS d,\n"
    "       (pg_catalog.current_setting('transaction_read_only') = 'off'\n"
    "           AND pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMP')\n"
    "       )::pg_catalog.text AS e,\n"
    "       NULL AS f\n"
    "UNION ALL\n"
    "SELECT 't', t.name, 0, t.nspname, t.relkind::pg_catalog.text, t.oid::pg_catalog.text,\n"
    "       pg_catalog.has_table_privilege(t.oid, 'SELECT')::pg_catalog.text, NULL, NULL\n"
    "FROM tables t\n"
    "UNION ALL\n"
    "SELECT 'c', t.name, a.attnum, a.attname,\n"
    "       pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull::pg_catalog.text,\n"
    "       (a.atthasdef OR a.attidentity <> '')::pg_catalog.text, b.typname, n.nspname\n"
    "FROM tables t\n"
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped\n"
    "JOIN pg_catalog.pg_type y ON y.oid = a.atttypid\n"
    "JOIN pg_catalog.pg_type b\n"
    "    ON b.oid = CASE WHEN y.typcategory = 'A' THEN y.typelem ELSE y.oid END\n"
    "JOIN pg_catalog.pg_namespace n ON n.oid = b.typnamespace\n"
    "UNION ALL\n"
    "SELECT 'i', t.name, i.indimmediate::pg_catalog.int4, c.relname,\n"
    "       i.indisunique::pg_catalog.text,\n"
    "       (i.indisvalid AND i.indisready AND i.indislive)::pg_catalog.text,\n"
    "       pg_catalog.pg_get_indexdef(i.indexrelid), i.indisprimary::pg_catalog.text, NULL\n"
    "FROM tables t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid\n"
    "JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid\n"
    "UNION ALL\n"
    "SELECT 'k', t.name, 0, k.conname, pg_catalog.pg_get_constraintdef(k.oid),\n"
    "       NULL, NULL, NULL, NULL\n"
    "FROM tables t JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'\n"
    "UNION ALL\n"
    "SELECT 'e', t.name, pg_catalog.row_number() OVER (ORDER BY e.enumsortorder)::integer,\n"
    "       t.nspname, e.enumlabel, NULL, NULL, NULL, NULL\n"
    "FROM types t LEFT JOIN pg_catalog.pg_enum e ON e.enumtypid = t.oid\n"
    "UNION ALL\n"
    "SELECT 'n', c.relname, 0, c.relkind::pg_catalog.text,\n"
    "       (SELECT o.relname FROM pg_catalog.pg_index i\n"
    "        JOIN pg_catalog.pg_class o ON o.oid = i.indrelid WHERE i.indexrelid = c.oid),\n"
    "       s.nspname, NULL, NULL, NULL\n"
    "FROM schemas s JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid\n"
    "WHERE c.relname = ANY ($4::pg_catalog.text[])\n"
    "UNION ALL\n"
    "SELECT 'n', p.proname, 0, 'F', NULL, s.nspname, NULL, NULL, NULL\n"
    "FROM schemas s JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid\n"
    "WHERE p.proname = ANY ($4::pg_catalog.text[])\n"
    "UNION ALL\n"
    "SELECT 'n', t.typname, 0, 'T', NULL, s.nspname, NULL, NULL, NULL\n"
    "FROM schemas s JOIN pg_catalog.pg_type t ON t.typnamespace = s.oid AND t.typrelid = 0\n"
    "WHERE t.typname = ANY ($4::pg_catalog.text[])\n"
    "ORDER BY 1, 2, 3, 4";

/* ---- parameters ---- */

static void add_element(stele__buf *array, const char *name)
{
    stele__buf_add_text(array, array->len == 0 ? "{\"" : ",\"");
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\')
            stele__buf_add_char(array, '\\');
        stele__buf_add_char(array, *name);
    }
    stele__buf_add_char(array, '"');
}

static void end_array(stele__buf *array)
{
    stele__buf_add_text(array, array->len == 0 ? "{}" : "}");
}

/* The arrays for $2, $3 and $4. */
static bool make_arrays(const stele__target *target, stele__buf arrays[3])
{
    for (size_t i = 0; i < target->module->table_count; i++)
        add_element(&arrays[0], target->tables[i]);
    for (size_t i = 0; i < target->module->object_count; i++) {
        const stele__wanted *wanted = &target->wanted[i];
        if (wanted->object->kind == STELE_GEN_OBJECT_ENUM)
            add_element(&arrays[1], wanted->name);
        add_element(&arrays[2], wanted->name);
    }
    for (int i = 0; i < 3; i++)
        end_array(&arrays[i]);
    return !arrays[0].failed && !arrays[1].failed && !arrays[2].failed;
}

/* ---- the answer ---- */

enum { KIND, NAME, PLACE, A, B, C, D, E, F };

static bool is_true(const char *text)
{
    return text != NULL && strcmp(text, "true") == 0;
}

static void take_row(stele__catalog *cat, int row)
{
    const char *v[F + 1];
    for (int i = KIND; i <= F; i++)
        v[i] = stele__result_text(cat->result, row, i);
    switch (v[KIND][0]) {
    case 's':
        cat->role = v[NAME];
        cat->schema = v[A];
        cat->search_path = v[B];
        cat->schema_exists = is_true(v[C]);
        cat->schema_usable = is_true(v[D]);
        cat->may_write = is_true(v[E]);
        break;
    case 't':
        cat->tables[cat->table_count++] =
            (stele__cat_table){v[NAME], v[A], v[C], v[B][0], is_true(v[D])};
        break;
    case 'c':
        cat->columns[cat->column_count++] =
            (stele__cat_column){v[NAME], v[A], v[B], v[E], v[F], is_true(v[C]), is_true(v[D])};
        break;
    case 'i':
        cat->indexes[cat->index_count++] = (stele__cat_index){.table = v[NAME],
                                                              .name = v[A],
                                                              .create = v[D] != NULL ? v[D] : "",
                                                              .unique = is_true(v[B]),
                                                              .valid = is_true(v[C]),
                                                              .primary = is_true(v[E]),
                                                              .deferrable = v[PLACE][0] == '0'};
        break;
    case 'k':
        cat->keys[cat->key_count++] = (stele__cat_key){v[NAME], v[A], v[B] != NULL ? v[B] : ""};
        break;
    case 'e':
        cat->labels[cat->label_count++] = (stele__cat_label){v[NAME], v[A], v[B]};
        break;
    default: /* 'n' */
        cat->names[cat->name_count++] = (stele__cat_name){v[NAME], v[C], v[A][0], v[B]};
    }
}

/* Room for every row in every list: simpler than counting, and small. */
static bool make_room(stele__catalog *cat, size_t rows)
{
    cat->tables = stele__calloc(rows, sizeof *cat->tables);
    cat->columns = stele__calloc(rows, sizeof *cat->columns);
    cat->indexes = stele__calloc(rows, sizeof *cat->indexes);
    cat->keys = stele__calloc(rows, sizeof *cat->keys);
    cat->labels = stele__calloc(rows, sizeof *cat->labels);
    cat->names = stele__calloc(rows, sizeof *cat->names);
    return cat->tables != NULL && cat->columns != NULL && cat->indexes != NULL &&
           cat->keys != NULL && cat->labels != NULL && cat->names != NULL;
}

static stele_status take_rows(stele__catalog *cat, stele_error *err)
{
    int rows = stele__result_count(cat->result);
    if (!make_room(cat, (size_t)rows + 1))
        return stele__fail(err, STELE_E_NOMEM, "out of memory while reading the catalog");
    for (int i = 0; i < rows; i++)
        take_row(cat, i);
    return STELE_OK;
}

stele_status stele__catalog_read(stele_conn *conn, const stele__target *target,
                                 stele__catalog *ret_catalog, stele_error *err)
{
    stele__buf arrays[3] = {{0}, {0}, {0}};
    stele__catalog cat = {0};
    stele_status st = STELE_OK;
    if (make_arrays(target, arrays)) {
        const char *params[] = {target->schema, stele__buf_text(&arrays[0]),
                                stele__buf_text(&arrays[1]), stele__buf_text(&arrays[2])};
        st = stele__run_sql(conn, look_sql, params, 4, &cat.result, err);
    } else {
        st = stele__fail(err, STELE_E_NOMEM, "out of memory while reading the catalog");
    }
    for (int i = 0; i < 3; i++)
        stele__buf_release(&arrays[i]);
    if (st == STELE_OK)
        st = take_rows(&cat, err);
    if (st == STELE_OK)
        *ret_catalog = cat;
    else
        stele__catalog_release(&cat);
    return st;
}

void stele__catalog_release(stele__catalog *catalog)
{
    if (catalog->result != NULL)
        stele__result_clear(catalog->result);
    stele__free(catalog->tables);
    stele__free(catalog->columns);
    stele__free(catalog->indexes);
    stele__free(catalog->keys);
    stele__free(catalog->labels);
    stele__free(catalog->names);
    memset(catalog, 0, sizeof *catalog);
}

const stele__cat_table *stele__catalog_table(const stele__catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->table_count; i++)
        if (strcmp(catalog->tables[i].name, name) == 0)
            return &catalog->tables[i];
    return NULL;
}

const stele__cat_column *stele__catalog_column(const stele__catalog *catalog, const char *table,
                                               const char *name)
{
    for (size_t i = 0; i < catalog->column_count; i++)
        if (strcmp(catalog->columns[i].table, table) == 0 &&
            strcmp(catalog->columns[i].name, name) == 0)
            return &catalog->columns[i];
    return NULL;
}
