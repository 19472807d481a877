/**
 * Definitions as text, brought into a form in which equal ones are the same.
 *
 * The server does not keep what was written: it adds parentheses and casts, drops what is a default
 * and prints the rest its own way. What is undone here is only what cannot change the meaning, so
 * equal texts mean the same; different ones still may, unless ours is plain.
 *
 * Floor: migrate.
 */
#ifndef STELE_ENSURE_TEXT_H
#define STELE_ENSURE_TEXT_H

#include "mem_internal.h"

/** True if a column is a varchar, whose cast to text changes nothing. */
typedef bool (*stele__is_varchar_fn)(const void *ctx, const char *column);

/** What an index is, without its name and table. Texts live in the block given. */
typedef struct stele__index_def {
    const char *method;    /* "btree" */
    const char *keys;      /* "(a, b DESC) INCLUDE (c)" */
    const char *predicate; /* "" if it covers all rows */
    bool plain; /* only column names and tests for NULL: the server has no other way to write it */
} stele__index_def;

/** Reads what follows the table's name in CREATE INDEX. False when memory is out. */
bool stele__index_def_of_tail(stele__block *mem, const char *tail, stele__is_varchar_fn is_varchar,
                              const void *ctx, stele__index_def *ret_def);

/** The same from the whole statement as pg_get_indexdef() gives it. */
bool stele__index_def_of_server(stele__block *mem, const char *create,
                                stele__is_varchar_fn is_varchar, const void *ctx,
                                stele__index_def *ret_def);

bool stele__index_def_equal(const stele__index_def *a, const stele__index_def *b);

/**
 * A foreign key from FOREIGN on, without the schema of the table referred to: from ALTER TABLE or
 * from pg_get_constraintdef(). NULL when memory is out.
 */
const char *stele__foreign_key_def(stele__block *mem, const char *text);

/** A column that the server fills when an insert leaves it out. */
typedef struct stele__filled {
    const char *column;
    const char *how; /* "DEFAULT now()", "bigserial", "IDENTITY", "GENERATED" */
} stele__filled;

/** What CREATE TABLE says beside columns, types and NOT NULL. Texts live in the block given. */
typedef struct stele__table_def {
    const char *key; /* columns of the primary key: "(a, b)"; "" without one */
    stele__filled *filled;
    size_t filled_count;
} stele__table_def;

/** Reads CREATE TABLE as the generator writes it. False when memory is out. */
bool stele__table_def_of(stele__block *mem, const char *create, stele__table_def *ret_def);

/** The string constants of a statement, in order. False when memory is out. */
bool stele__sql_strings(stele__block *mem, const char *sql, const char ***ret_strings,
                        size_t *ret_count);

#endif
