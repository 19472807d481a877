/**
 * One run of stele_db_ensure: what it found, what it found wrong, what it is going to do.
 *
 * Floor: migrate.
 */
#ifndef STELE_ENSURE_INTERNAL_H
#define STELE_ENSURE_INTERNAL_H

#include "ensure_catalog.h"
#include "ensure_text.h"
#include "stele/ensure.h"

/** What to do about an object. */
typedef enum stele__action {
    STELE__KEEP,    /* it is there, or it is reported */
    STELE__CREATE,  /* in the transaction */
    STELE__BUILD,   /* concurrently, after it */
    STELE__REBUILD, /* the same; what an earlier build left behind is dropped first */
    STELE__MISSING  /* while comparing: not decided yet */
} stele__action;

typedef struct stele__difference {
    const char *table;
    const char *object;
    const char *text;
    bool soft; /* could not be compared: told, but no error */
} stele__difference;

typedef struct stele__ensure {
    stele_conn *conn;
    stele_ensure_options options; /* without zeros where a default applies */
    stele__target target;
    stele__catalog catalog;
    stele__action *actions; /* of each object of the module */
    bool *left_out;         /* of each: an optional index that is not asked for */
    size_t to_create;
    size_t to_build;
    stele__difference *differences;
    size_t difference_count; /* all of them */
    size_t hard_count;       /* those that are errors */
    size_t difference_room;
    bool no_memory;
    stele__block mem;   /* as long as the run */
    stele__block round; /* texts of one look; emptied before the next */
} stele__ensure;

/** Tells the phase hook. */
void stele__ensure_phase(const stele__ensure *e, stele_ensure_phase phase, const char *object);

/** Adds a difference. Sets e->no_memory when it cannot. */
void stele__ensure_differ(stele__ensure *e, bool soft, const char *table, const char *object,
                          const char *fmt, ...) STELE_PRINTF(5, 6);

/** Runs a statement and discards its answer. */
stele_status stele__ensure_run(stele__ensure *e, const char *sql, stele_error *err);

/** Runs a query with at most one parameter (or NULL) and copies its first value; NULL if none. */
stele_status stele__ensure_value(stele__ensure *e, const char *sql, const char *param,
                                 const char **ret_value, stele_error *err);

/** Begins a transaction whose statements do not wait long for locks. */
stele_status stele__ensure_begin(stele__ensure *e, stele_error *err);

/* ---- comparing: ensure_verify.c, ensure_table.c, ensure_index.c ---- */

/** Reads the catalog, compares, and decides what to do. Differences are collected, not returned. */
stele_status stele__ensure_look(stele__ensure *e, stele_error *err);

/** Compares one table of the module, by its number; nothing to do if it does not exist. */
void stele__ensure_compare_table(stele__ensure *e, size_t number);

/** Compares one index of a table that exists; sets its action to KEEP, MISSING or REBUILD. */
stele_status stele__ensure_compare_index(stele__ensure *e, size_t object, stele_error *err);

/* ---- changing: ensure_create.c ---- */

/** Creates what is to be created, in one transaction, under the lock. */
stele_status stele__ensure_create(stele__ensure *e, stele_error *err);

/** Builds indexes concurrently, under the lock of the session. */
stele_status stele__ensure_build(stele__ensure *e, stele_error *err);

/** True if the error means that another program did the same at the same time. */
bool stele__ensure_lost_race(const stele_error *err);

/** Waits for a random time of at most `most_ms`. */
void stele__ensure_pause(const stele__ensure *e, uint32_t most_ms);

#endif
