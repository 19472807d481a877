/**
 * What a module wants to find, and what the catalog of the server has.
 *
 * Floor: migrate.
 */
#ifndef STELE_ENSURE_CATALOG_H
#define STELE_ENSURE_CATALOG_H

#include "conn_internal.h"
#include "mem_internal.h"
#include "stele/gen/gen.h"

/** An object of the module under the names in force. */
typedef struct stele__wanted {
    const stele_gen_object *object;
    const char *name;
    const char *table; /* the whole name of its table; "" for an enum */
} stele__wanted;

/** A module under the names in force. Texts live in the block it was made in. */
typedef struct stele__target {
    const stele_module *module;
    const stele__names *names;
    const char *schema; /* "" if the search path decides */
    const char *prefix;
    stele__wanted *wanted; /* module->object_count */
    const char **tables;   /* module->table_count */
} stele__target;

stele_status stele__target_make(const stele_module *module, const stele__names *names,
                                stele__block *mem, stele__target *ret_target, stele_error *err);

/** Renders one of an object's statements; stele__free. NULL when memory is out. */
char *stele__target_render(const stele__target *target, const stele_gen_part *parts,
                           uint16_t count);

typedef struct stele__cat_table {
    const char *name;
    const char *schema;
    const char *oid;
    char kind;
    bool readable; /* by us */
} stele__cat_table;

typedef struct stele__cat_column {
    const char *table;
    const char *name;
    const char *type;      /* format_type() */
    const char *base_type; /* bare name of the type, of the element for an array */
    const char *base_schema;
    bool not_null;
    bool has_value; /* a default, an identity or generated */
} stele__cat_column;

typedef struct stele__cat_index {
    const char *table;
    const char *name;
    const char *create; /* pg_get_indexdef() */
    bool unique;
    bool valid;
    bool primary;
    bool deferrable; /* its constraint may be checked late: ON CONFLICT does not take it */
} stele__cat_index;

typedef struct stele__cat_key {
    const char *table;
    const char *name;
    const char *def; /* pg_get_constraintdef() */
} stele__cat_key;

/** A label of an enum; an enum without labels has one that is NULL. */
typedef struct stele__cat_label {
    const char *type;
    const char *schema;
    const char *label;
} stele__cat_label;

/** Something that has one of the wanted names. */
typedef struct stele__cat_name {
    const char *name;
    const char *schema;
    char kind;         /* pg_class.relkind, 'F' for a function, 'T' for a type */
    const char *table; /* of an index; else NULL */
} stele__cat_name;

/** All of it is one statement's answer: one round trip, one snapshot. Texts live in `result`. */
typedef struct stele__catalog {
    struct pg_result *result;
    const char *role;
    const char *schema; /* where objects are created; NULL if there is no such schema */
    const char *search_path;
    bool schema_exists; /* true if none is named */
    bool schema_usable; /* by us */
    bool may_write;     /* temporary tables, in a rolled back transaction */
    stele__cat_table *tables;
    stele__cat_column *columns;
    stele__cat_index *indexes;
    stele__cat_key *keys;
    stele__cat_label *labels;
    stele__cat_name *names;
    size_t table_count;
    size_t column_count;
    size_t index_count;
    size_t key_count;
    size_t label_count;
    size_t name_count;
} stele__catalog;

/** Reads it anew; free with stele__catalog_release(), which leaves zeros. */
stele_status stele__catalog_read(stele_conn *conn, const stele__target *target,
                                 stele__catalog *ret_catalog, stele_error *err);
void stele__catalog_release(stele__catalog *catalog);

const stele__cat_table *stele__catalog_table(const stele__catalog *catalog, const char *name);
const stele__cat_column *stele__catalog_column(const stele__catalog *catalog, const char *table,
                                               const char *name);

#endif
