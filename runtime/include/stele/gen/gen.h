/**
 * What generated code is made of: constant descriptors, and the functions that run them.
 *
 * A weaker promise than the rest of stele/: only the generator of the same ABI number writes
 * against this header. Do not use it in handwritten code.
 */
#ifndef STELE_GEN_GEN_H
#define STELE_GEN_GEN_H

#include "stele/conn.h"
#include "stele/gen/types.h"
#include "stele/page.h"
#include "stele/value.h"

STELE_BEGIN_DECLS

#define STELE_GEN_ABI 1
/** Referenced by every module: a library of another ABI lacks it, so the mismatch fails at load. */
STELE_API extern const int stele_gen_abi_1;

/* ---- enums ---------------------------------------------------------------------------------- */

/*
 * The C types that go with an enum E (a C enum whose 0 is "unknown"):
 * E_opt, E_array, E_in, E_in_n, and E_v(), E_n_v(), E_n_null(), E_n_of().
 */
#define STELE_GEN_DECLARE_ENUM(E)                                                                  \
    typedef struct E##_opt {                                                                       \
        bool has;                                                                                  \
        E v;                                                                                       \
    } E##_opt;                                                                                     \
    typedef struct E##_array {                                                                     \
        const E *items;                                                                            \
        const bool *nulls;                                                                         \
        size_t count;                                                                              \
    } E##_array;                                                                                   \
    STELE_GEN_DECLARE_ENUM_IN(E, E)                                                                \
    STELE_GEN_DECLARE_ENUM_IN(E##_array, E##_array)                                                \
    static inline E##_in_n E##_n_of(E##_opt opt)                                                   \
    {                                                                                              \
        return opt.has ? E##_n_v(opt.v) : E##_n_null();                                            \
    }

#define STELE_GEN_DECLARE_ENUM_IN(name, type)                                                      \
    typedef struct name##_in {                                                                     \
        const stele_tag *tag;                                                                      \
        type v;                                                                                    \
    } name##_in;                                                                                   \
    typedef struct name##_in_n {                                                                   \
        const stele_tag *tag;                                                                      \
        type v;                                                                                    \
    } name##_in_n;                                                                                 \
    static inline name##_in name##_v(type v)                                                       \
    {                                                                                              \
        name##_in in = {&stele_tag_value, v};                                                      \
        return in;                                                                                 \
    }                                                                                              \
    static inline name##_in_n name##_n_v(type v)                                                   \
    {                                                                                              \
        name##_in_n in = {&stele_tag_value, v};                                                    \
        return in;                                                                                 \
    }                                                                                              \
    static inline name##_in_n name##_n_null(void)                                                  \
    {                                                                                              \
        name##_in_n in;                                                                            \
        memset(&in, 0, sizeof in);                                                                 \
        in.tag = &stele_tag_null;                                                                  \
        return in;                                                                                 \
    }

/* ---- columns and parameters ----------------------------------------------------------------- */

/** How a parameter's C field is wrapped. */
typedef enum stele_gen_form {
    STELE_GEN_PLAIN, /* the value itself */
    STELE_GEN_OPT,   /* stele_opt_*, as rows have it */
    STELE_GEN_IN,    /* stele_in_*: unset or a value */
    STELE_GEN_IN_N   /* stele_in_*_n: unset, NULL or a value */
} stele_gen_form;

/** One parameter of a statement: args[arg] + offset is where its field lies. */
typedef struct stele_gen_param {
    const char *column;
    uint8_t type;
    uint8_t form;
    bool required; /* unset is STELE_E_INPUT */
    uint8_t arg;
    uint32_t offset;
    int32_t modifier; /* varchar(n), char(n): n; numeric(p,s): p << 16 | s; else 0 */
    const stele_gen_enum *labels;
} stele_gen_param;

/* ---- SQL ------------------------------------------------------------------------------------ */

/*
 * A statement's SQL is a list of parts, rendered for one schema, prefix and shape when the statement
 * cache misses. The shape is which inputs are unset, NULL, a value, now or after, plus the flags of
 * the call.
 *
 * LIST starts a comma-separated list; ITEM and the EACH_ parts add to it.
 */
typedef enum stele_gen_part_kind {
    STELE_GEN_SQL,           /* text as it is */
    STELE_GEN_TABLE,         /* text is a table, or module.table: "schema"."prefix_table" */
    STELE_GEN_SCHEMA,        /* "schema". with the point, or nothing when no schema is named */
    STELE_GEN_SCHEMA_,       /* schema and an underscore, or nothing; inside a quoted name */
    STELE_GEN_PREFIX,        /* the prefix; inside a quoted name */
    STELE_GEN_PARAM_REF,     /* $n of parameter a; for an input its expression ($n, now, after) */
    STELE_GEN_LIST,          /* starts a list */
    STELE_GEN_ITEM,          /* text as an item of the list */
    STELE_GEN_EACH_NAME,     /* "column" of each set parameter in [a, b) */
    STELE_GEN_EACH_VALUE,    /* expression of each set parameter in [a, b) */
    STELE_GEN_EACH_SET,      /* "column" = expression, of each set parameter in [a, b) */
    STELE_GEN_EACH_EXCLUDED, /* "column" = EXCLUDED."column", of each set parameter in [a, b) */
    STELE_GEN_WHERE_EQ,      /* AND text = expression of a, or AND text IS NULL; nothing if unset */
    STELE_GEN_WHERE_GE,      /* AND text >= expression of a; nothing if unset */
    STELE_GEN_WHERE_LT,      /* AND text < expression of a; nothing if unset */
    STELE_GEN_IF_SET,     /* up to ELSE or END: if parameter a is set (value, NULL, now, after) */
    STELE_GEN_IF_UNSET,   /* … if parameter a is unset */
    STELE_GEN_IF_ANY,     /* … if any parameter in [a, b) is set */
    STELE_GEN_IF_FLAG,    /* … if the call's flags have any bit of a */
    STELE_GEN_IF_NO_FLAG, /* … if they have none of a */
    STELE_GEN_IF_ALL,     /* … if the parameters of group a are set; they are all, or none is */
    STELE_GEN_IF_CHOICE,  /* … if the bits a of the call's flags are b */
    STELE_GEN_IF_SOFT,    /* … if the policy in force deletes softly */
    STELE_GEN_ELSE,
    STELE_GEN_END,
    STELE_GEN_EACH_ROW, /* many rows: u.c<index> of each set parameter in [a, b) */
    STELE_GEN_ROWS      /* many rows: where they come from, AS u; [0, a) are their columns */
} stele_gen_part_kind;

typedef struct stele_gen_part {
    uint16_t kind;
    uint16_t a;
    uint16_t b;
    const char *text;
} stele_gen_part;

/* clang-format off */
#define STELE_SQL(text) {STELE_GEN_SQL, 0, 0, text}
#define STELE_TABLE(name) {STELE_GEN_TABLE, 0, 0, name}
#define STELE_SCHEMA {STELE_GEN_SCHEMA, 0, 0, NULL}
#define STELE_SCHEMA_ {STELE_GEN_SCHEMA_, 0, 0, NULL}
#define STELE_PREFIX {STELE_GEN_PREFIX, 0, 0, NULL}
#define STELE_PARAM(index) {STELE_GEN_PARAM_REF, index, 0, NULL}
#define STELE_LIST {STELE_GEN_LIST, 0, 0, NULL}
#define STELE_ITEM(text) {STELE_GEN_ITEM, 0, 0, text}
#define STELE_EACH_NAME(from, to) {STELE_GEN_EACH_NAME, from, to, NULL}
#define STELE_EACH_VALUE(from, to) {STELE_GEN_EACH_VALUE, from, to, NULL}
#define STELE_EACH_SET(from, to) {STELE_GEN_EACH_SET, from, to, NULL}
#define STELE_EACH_EXCLUDED(from, to) {STELE_GEN_EACH_EXCLUDED, from, to, NULL}
#define STELE_WHERE_EQ(index, column) {STELE_GEN_WHERE_EQ, index, 0, column}
#define STELE_WHERE_GE(index, column) {STELE_GEN_WHERE_GE, index, 0, column}
#define STELE_WHERE_LT(index, column) {STELE_GEN_WHERE_LT, index, 0, column}
#define STELE_IF_SET(index) {STELE_GEN_IF_SET, index, 0, NULL}
#define STELE_IF_UNSET(index) {STELE_GEN_IF_UNSET, index, 0, NULL}
#define STELE_IF_ANY(from, to) {STELE_GEN_IF_ANY, from, to, NULL}
#define STELE_IF_FLAG(mask) {STELE_GEN_IF_FLAG, mask, 0, NULL}
#define STELE_IF_NO_FLAG(mask) {STELE_GEN_IF_NO_FLAG, mask, 0, NULL}
#define STELE_IF_ALL(group) {STELE_GEN_IF_ALL, group, 0, NULL}
#define STELE_IF_CHOICE(mask, bits) {STELE_GEN_IF_CHOICE, mask, bits, NULL}
#define STELE_IF_SOFT {STELE_GEN_IF_SOFT, 0, 0, NULL}
#define STELE_ELSE {STELE_GEN_ELSE, 0, 0, NULL}
#define STELE_END {STELE_GEN_END, 0, 0, NULL}
#define STELE_EACH_ROW(from, to) {STELE_GEN_EACH_ROW, from, to, NULL}
#define STELE_ROWS(count) {STELE_GEN_ROWS, count, 0, NULL}
/* clang-format on */

/** Number of elements of a static array, for descriptors. */
#define STELE_COUNT(array) ((uint16_t)(sizeof(array) / sizeof((array)[0])))

/* Flags of a call; they are part of the shape. */
#define STELE_FLAG_RETURNING 0x0001u    /* the caller wants the row back */
#define STELE_FLAG_RESUME 0x0002u       /* not the first page */
#define STELE_FLAG_WITH_DELETED 0x0004u /* filter: deleted rows too */
#define STELE_FLAG_ONLY_DELETED 0x0008u /* filter: deleted rows only */
#define STELE_FLAG_WITH_EXPIRED 0x0010u /* filter: expired rows too */
#define STELE_FLAG_ONLY_EXPIRED 0x0020u /* filter: expired rows only */

#define STELE_FLAG_BULK_SKIP 0x0040u /* many rows: leave alone those whose key exists */
#define STELE_FLAG_BULK_COPY 0x0080u /* … COPY into the table */

/* Properties of a statement. */
#define STELE_STMT_READ 0x01u      /* only reads */
#define STELE_STMT_VERSION 0x02u   /* no row: STELE_E_CONFLICT when the version parameter is set */
#define STELE_STMT_NEEDS_SET 0x04u /* an input that sets nothing is STELE_E_INPUT */
#define STELE_STMT_CUSTOM_PLAN 0x08u  /* never a generic plan */
#define STELE_STMT_LOCKS_NOWAIT 0x10u /* 55P03 is an expected outcome */
#define STELE_STMT_QUERY 0x20u /* an author's: NULL is a value, not IS NULL; flags are its own */

/** Parameters of a query that are set together or not at all. */
typedef struct stele_gen_group {
    const uint16_t *params;
    uint16_t count;
} stele_gen_group;

/** A flag or a choice of a query: a member of its parameter struct, and its bits of the flags. */
typedef struct stele_gen_switch {
    const char *name;
    uint32_t offset;
    uint16_t count; /* 2 for a bool; for an enum the number of its values, from 0 */
    uint8_t shift;
    bool is_flag;
} stele_gen_switch;

/** A statement: how its SQL is made, what goes in, what comes out. */
typedef struct stele_gen_stmt {
    const stele_module *module; /* whose names apply; tables of others are named module.table */
    const char *name;           /* the C function's name: for errors, hooks and statistics */
    const char *table; /* base name of the table it is about, for errors; NULL for queries */
    const stele_gen_part *parts;
    const stele_gen_param *params;
    const stele_gen_column *columns; /* NULL if it returns no rows */
    uint16_t part_count;
    uint16_t param_count;
    uint16_t column_count;
    uint16_t shape_from; /* params [shape_from, param_count) are inputs; those before are plain */
    uint32_t row_size;
    uint32_t properties;
    uint16_t set_from; /* STELE_STMT_NEEDS_SET: the parameters [set_from, set_to) */
    uint16_t set_to;
    uint16_t version_param; /* STELE_STMT_VERSION: the version the caller saw */
    uint16_t group_count;
    uint16_t switch_count;
    const stele_gen_group *groups;
    const stele_gen_switch *switches;
} stele_gen_stmt;

/** A list read in pages: the fields of the last row give the parameters that resume after it. */
typedef struct stele_gen_list {
    const stele_gen_stmt *stmt; /* parameters: those of args[0], resume, limit, then inputs */
    uint8_t resume_arg;         /* index in args[] that is pointed at the last row */
    uint8_t limit_arg;          /* index in args[] that is pointed at an int64_t */
    uint16_t resume_from;       /* the parameters [resume_from, resume_to) are the row's */
    uint16_t resume_to;
} stele_gen_list;

/* ---- running -------------------------------------------------------------------------------- */

/*
 * All borrow args[] for the call and answer as stele/status.h says; outputs are written only on
 * STELE_OK. Each waits for the server once.
 */

/** One row or STELE_E_NOT_FOUND (STELE_E_CONFLICT, see STELE_STMT_VERSION). Free: stele_gen_free. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_one(stele_conn *conn, const stele_gen_stmt *stmt,
                                                      const void *const *args, uint32_t flags,
                                                      void **ret_row, stele_error *err);

/** One row, or STELE_OK with *ret_row NULL. Free: stele_gen_free. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_maybe(stele_conn *conn,
                                                        const stele_gen_stmt *stmt,
                                                        const void *const *args, uint32_t flags,
                                                        void **ret_row, stele_error *err);

/** What stele_gen_rows gives: generated types have a typed pointer instead. */
typedef struct stele_gen_rowset {
    const void *rows;
    size_t count;
} stele_gen_rowset;

/** All rows behind a stele_gen_rowset, in one block. Free: stele_gen_free. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_rows(stele_conn *conn, const stele_gen_stmt *stmt,
                                                       const void *const *args, uint32_t flags,
                                                       void **ret_rowset, stele_error *err);

/**
 * The flags of a call: what the switches of a query say in its parameter struct (NULL: nothing).
 * STELE_E_INPUT, naming the member, for a choice out of range.
 */
STELE_API STELE_MUST_CHECK stele_status stele_gen_flags(const stele_gen_stmt *stmt,
                                                        const void *params, uint32_t *ret_flags,
                                                        stele_error *err);

/** All rows, as one array; *ret_rows is never NULL on success. Free: stele_gen_free. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_many(stele_conn *conn, const stele_gen_stmt *stmt,
                                                       const void *const *args, uint32_t flags,
                                                       void **ret_rows, size_t *ret_count,
                                                       stele_error *err);

/** One row of scalars, copied to `ret_value` (stmt->row_size bytes); nothing to free. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_value(stele_conn *conn,
                                                        const stele_gen_stmt *stmt,
                                                        const void *const *args, uint32_t flags,
                                                        void *ret_value, stele_error *err);

/** A command that must affect a row: none is STELE_E_NOT_FOUND (or STELE_E_CONFLICT). */
STELE_API STELE_MUST_CHECK stele_status stele_gen_write(stele_conn *conn,
                                                        const stele_gen_stmt *stmt,
                                                        const void *const *args, uint32_t flags,
                                                        stele_error *err);

/**
 * A command. `ret_count` (may be NULL) gets the number of rows. With `need_row`, none affected is
 * STELE_E_NOT_FOUND (or STELE_E_CONFLICT).
 */
STELE_API STELE_MUST_CHECK stele_status stele_gen_exec(stele_conn *conn, const stele_gen_stmt *stmt,
                                                       const void *const *args, uint32_t flags,
                                                       bool need_row, uint64_t *ret_count,
                                                       stele_error *err);

/**
 * The next page. `*page` is NULL for the first; it is freed and replaced, on STELE_DONE set to NULL;
 * on an error it stays as it was, so that the call may be repeated. limit 0 is STELE_E_INPUT.
 */
STELE_API STELE_MUST_CHECK stele_status stele_gen_page(stele_conn *conn, const stele_gen_list *list,
                                                       const void **args, uint32_t flags,
                                                       uint32_t limit, stele_page **page,
                                                       stele_error *err);

/** A page without rows that continues where `token` was taken; STELE_E_INPUT if it is not ours. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_page_resume(const stele_gen_list *list,
                                                              stele_str token,
                                                              stele_page **ret_page,
                                                              stele_error *err);

/** A copy of one row in a block of its own. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_dup(const stele_gen_stmt *stmt, const void *row,
                                                      void **ret_row, stele_error *err);

/** Frees what stele_gen_one, _many, _dup gave. NULL is ignored. */
STELE_API void stele_gen_free(void *rows);

/* ---- many rows ------------------------------------------------------------------------------ */

struct stele_bulk_options;
struct stele_bulk_report;

/** Where a statement for many rows finds the array of its parameter i: in args[0]. */
#define STELE_BULK_COLUMN(i) ((i) * sizeof(stele_in_str_array))

/**
 * A statement for many rows, beside the one for a single row.
 *
 * The parameters of `many` stand for those of `single`: `modifier` is the index there. A timestamp has
 * two, one for values and one, of type interval, for times after now. Types are those on the wire:
 * what the server knows under names of its own goes as text and is cast.
 */
typedef struct stele_gen_bulk {
    const stele_gen_stmt *single; /* args[0] is an input; what it returns begins with the row */
    const stele_gen_stmt *many;
    uint32_t input_size;
    uint32_t row_size;
    const uint16_t *staged; /* parameters of `many` that COPY cannot put into the table itself */
    const uint16_t
        *stamped;        /* parameters of `single` that get a value of ours when they are unset */
    const uint16_t *key; /* upsert: parameters of `single` that are the key; NULL: an insert */
    uint16_t staged_count;
    uint16_t stamped_count;
    uint16_t key_count;
    uint16_t deleted_param; /* key_has_deleted: the soft-delete column */
    bool key_has_deleted;   /* rows that are inserted as deleted ones do not have the key */
    bool key_has_null;      /* NULLs in the key are equal */
    bool key_is_partial;    /* an author's predicate: only the server knows who has the key */
    bool tells_inserted;    /* the last column of `single` says whether a row is new */
} stele_gen_bulk;

/**
 * Inserts or upserts `count` inputs of bulk->input_size bytes each. See stele/bulk.h for `options` (may
 * be NULL) and `ret_report` (may be NULL). `ret_rows` (may be NULL) gets an array of `count` rows, in
 * the order of the inputs; that of a row left out is all zero. Free: stele_gen_free.
 */
STELE_API STELE_MUST_CHECK stele_status
stele_gen_insert_many(stele_conn *conn, const stele_gen_bulk *bulk, const void *inputs,
                      size_t count, const struct stele_bulk_options *options,
                      struct stele_bulk_report *ret_report, void **ret_rows, stele_error *err);

/* ---- modules -------------------------------------------------------------------------------- */

/** A column as the catalog must show it. */
typedef struct stele_gen_catalog_column {
    const char *name;
    const char *type; /* as format_type() says it; of an enum of ours the base name of the type */
    bool not_null;
    bool own_enum; /* `type` is an enum of this module: schema and prefix apply */
} stele_gen_catalog_column;

typedef enum stele_gen_object_kind {
    STELE_GEN_OBJECT_ENUM,
    STELE_GEN_OBJECT_TABLE,
    STELE_GEN_OBJECT_INDEX,
    STELE_GEN_OBJECT_FOREIGN_KEY,
    STELE_GEN_OBJECT_OTHER
} stele_gen_object_kind;

/** One thing to create, in order. */
typedef struct stele_gen_object {
    stele_gen_object_kind kind;
    bool unique;                /* an index that peers and upserts rely on */
    const char *optional;       /* "table.key" of an index that only exists where it is asked for */
    const char *table;          /* base name of the table it belongs to; NULL for an enum */
    const stele_gen_part *name; /* its name, unquoted, without schema */
    const stele_gen_part *create; /* one statement that creates it */
    uint16_t name_count;
    uint16_t create_count;
    const stele_gen_part *create_concurrently; /* indexes: the same, without blocking writers */
    uint16_t create_concurrently_count;
} stele_gen_object;

/** What a claim of the sweeper takes. */
typedef struct stele_gen_claim {
    stele_ts from; /* rows whose time is earlier were claimed before */
    int64_t limit;
    int64_t lock;         /* the advisory lock without which nothing is claimed */
    int64_t retention_ms; /* claims of deleted rows: how long they are kept */
} stele_gen_claim;

#define STELE_GEN_SWEPT_KEYS 8

/** What it answers. */
typedef struct stele_gen_swept {
    bool leader; /* the lock was free, or ours */
    int64_t claimed;
    int64_t gone;                         /* less, when rows were renewed meanwhile */
    stele_opt_ts high;                    /* the latest time among those claimed */
    stele_str keys[STELE_GEN_SWEPT_KEYS]; /* of those gone, as arrays, for rows that follow them */
} stele_gen_swept;

/** The row that a claim would begin with. */
typedef struct stele_gen_oldest {
    stele_ts at;
    int64_t age_ms;
} stele_gen_oldest;

/** A partition whose rows have all expired. Names are quoted. */
typedef struct stele_gen_partition {
    stele_str parent;
    stele_str name;
    bool pending;     /* its detaching was begun, and not ended */
    bool has_default; /* the table has a default partition, so none is detached concurrently */
} stele_gen_partition;

/** A table: its columns for verification, its life-cycle statements for the sweeper. */
typedef struct stele_gen_table {
    const char *name;
    const stele_gen_catalog_column *columns;
    uint16_t column_count;
    const stele_gen_stmt *expire; /* args[0] → int64_t limit; NULL without ttl */
    const stele_gen_stmt *purge; /* args[0] → stele_ts before, args[1] → int64_t limit; or NULL */

    /* The sweeper's. args[0] → stele_gen_claim; each NULL where there is no such policy. */
    const stele_gen_stmt *sweep;         /* one stele_gen_swept */
    const stele_gen_stmt *sweep_oldest;  /* one stele_gen_oldest or none */
    const stele_gen_stmt *sweep_deleted; /* the same of rows deleted long ago */
    const stele_gen_stmt *sweep_oldest_deleted;
    const stele_gen_stmt
        *sweep_partitions; /* args[0] → int64_t retention_ms; stele_gen_partition */
    const stele_gen_stmt *const *followers; /* args[0] → stele_gen_swept; of other tables */
    uint16_t follower_count;
    bool has_tombstones;               /* soft delete, where it is in force */
    const stele_gen_bulk *insert_many; /* NULL if nothing can be inserted */
} stele_gen_table;

/** A module of the schema; a db is opened with the modules it uses. */
struct stele_module {
    const int *abi;
    const char *name;
    const stele_gen_table *const *tables;
    const stele_gen_object *objects;
    uint16_t table_count;
    uint16_t object_count;
    bool fold_lower;         /* names given at run time are folded to lower case */
    uint16_t longest_schema; /* bytes that the generator checked names with; 0 = not declared */
    uint16_t longest_prefix;
};

STELE_END_DECLS

#endif
