/**
 * What the files of bulk writes share: rows, groups of them, and one call's state.
 *
 * Floor: tx.
 */
#ifndef STELE_BULK_INTERNAL_H
#define STELE_BULK_INTERNAL_H

#include "conn_internal.h"
#include "render.h"
#include "result.h"
#include "stele/bulk.h"

/** Some rows of a call: those that `index` names from `first` on; NULL: the rows themselves. */
typedef struct stele__slice {
    const size_t *index;
    size_t first;
    size_t count;
} stele__slice;

static inline size_t stele__slice_row(const stele__slice *slice, size_t i)
{
    return slice->index != NULL ? slice->index[slice->first + i] : slice->first + i;
}

static inline stele__slice stele__slice_part(const stele__slice *slice, size_t from, size_t count)
{
    return (stele__slice){slice->index, slice->first + from, count};
}

/** How one column of a group travels. */
typedef struct stele__bulk_column {
    uint16_t param;  /* of `many` */
    uint16_t source; /* of `single`, whose fields hold the values */
    bool is_after;   /* an interval after now */
} stele__bulk_column;

/** An input of a group's first row: where its tag lies, and what must not be NULL beside it. */
typedef struct stele__probe {
    const stele_tag *tag;
    uint32_t tag_offset;
    uint32_t data_offset;
} stele__probe;

/** Rows that set the same columns. */
typedef struct stele__group {
    struct stele__group *next;  /* in order of appearance */
    struct stele__group *chain; /* with the same hash */
    uint64_t hash;
    stele__probe *probes; /* for each parameter of `single`: those that are unset come first */
    uint8_t *shape;       /* for each parameter of `single`: a stele__state */
    uint8_t *states;      /* for each parameter of `many`: the same */
    stele__bulk_column *columns;
    uint16_t column_count;
    uint16_t unset_count;
    bool has_arrays; /* a column is an array: unnest would flatten it */
    bool is_direct;  /* COPY can put it into the table itself */
    size_t first;    /* without an index: the first row */
    size_t count;
    size_t *index; /* NULL: the rows follow each other */
    size_t room;
} stele__group;

static inline stele__slice stele__group_rows(const stele__group *group)
{
    return (stele__slice){group->index, group->index != NULL ? 0 : group->first, group->count};
}

#define STELE__GROUP_BUCKETS 64

/** One call. */
typedef struct stele__bulk {
    stele_conn *conn;
    const stele_gen_bulk *gen;
    const char *inputs;
    size_t count;
    stele_bulk_options options; /* defaults filled in */
    stele_bulk_report report;
    bool wants_rows;
    stele__rows *rows; /* what came back so far */

    stele__group *groups;
    stele__group **last;
    stele__group *buckets[STELE__GROUP_BUCKETS];
    uint8_t *dropped; /* a bit for each row whose key comes again; NULL: none */
    size_t done;      /* rows dealt with */

    bool in_tx;         /* a transaction is open, the caller's or ours */
    bool is_marked;     /* a savepoint holds what is stored so far */
    bool has_table;     /* the temporary table is there */
    bool had_table;     /* … when the savepoint was set */
    bool no_copy;       /* COPY cannot be used, or not for a value that was met */
    bool no_direct;     /* … not into the table itself */
    bool again;         /* the attempt failed only because of that: another way will do */
    size_t suspect;     /* the row whose value cannot be encoded, or STELE_BULK_NO_ROW */
    stele__block block; /* scratch of one attempt */
} stele__bulk;

/** What an attempt stored. */
typedef struct stele__outcome {
    uint64_t inserted;
    uint64_t updated;
    struct pg_result *result; /* the rows that are wanted back, or NULL */
} stele__outcome;

static inline const char *stele__bulk_input(const stele__bulk *b, size_t row)
{
    return b->inputs + row * b->gen->input_size;
}

/* Rows are read in order, but wide: waiting for them was most of what preparing them cost. */
static inline void stele__bulk_prefetch(const char *input, size_t size)
{
    uintptr_t ahead = (uintptr_t)input + 6 * size; /* perhaps behind the last, which does no harm */
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch((const void *)(ahead + at));
}

/* ---- bulk_plan.c ---- */

/** Sorts the rows into groups and finds those whose inputs are wrong. No I/O. */
stele_status stele__bulk_plan(stele__bulk *b, stele_error *err);

void stele__bulk_plan_free(stele__bulk *b);

/* ---- bulk_keys.c ---- */

/** Finds rows of an upsert whose key comes twice; they are dropped or bad, as the options say. */
stele_status stele__bulk_find_twins(stele__bulk *b, stele_error *err);

static inline bool stele__bulk_is_dropped(const stele__bulk *b, size_t row)
{
    return b->dropped != NULL && (b->dropped[row / 8] >> (row % 8) & 1) != 0;
}

/* ---- bulk_send.c, bulk_copy.c ---- */

/** How many of these rows, from the first on, can go at once. */
size_t stele__bulk_fit(const stele__bulk *b, const stele__group *group, const stele__slice *slice);

/** True if the rows go by COPY. */
bool stele__bulk_copies(const stele__bulk *b, const stele__group *group, size_t count);

/** Sends rows once. On success the caller clears outcome->result; b->again: see there. */
stele_status stele__bulk_send(stele__bulk *b, const stele__group *group, const stele__slice *slice,
                              stele__outcome *ret_outcome, stele_error *err);

/** The same by COPY. */
stele_status stele__bulk_copy(stele__bulk *b, const stele__group *group, const stele__slice *slice,
                              stele__outcome *ret_outcome, stele_error *err);

/** The statement for many rows; `rows` is what ROWS stands for. */
stele_status stele__bulk_render(const stele__bulk *b, const stele__group *group, uint32_t flags,
                                const char *rows, stele__buf *sql, stele_error *err);

/** Runs SQL that no cache knows, in binary, and with it what is pending. */
stele_status stele__bulk_query(stele__bulk *b, const stele__step *step,
                               struct pg_result **ret_result, stele_error *err);

/** Counts what a result for `sent` rows says was stored, and keeps it if rows are wanted back. */
stele_status stele__bulk_count(const stele__bulk *b, struct pg_result *result, size_t sent,
                               stele__outcome *ret_outcome, stele_error *err);

/* ---- bulk_rows.c ---- */

/** Copies what came back for a slice to where the caller expects it. Clears outcome->result. */
stele_status stele__bulk_take_rows(stele__bulk *b, const stele__slice *slice,
                                   stele__outcome *outcome, stele_error *err);

/* ---- bulk_store.c ---- */

/** Stores all groups, looking for bad rows where a batch fails. */
stele_status stele__bulk_store(stele__bulk *b, stele_error *err);

/** Notes a bad row; STELE_OK if the call goes on without it. `why` gets its index. */
stele_status stele__bulk_bad_row(stele__bulk *b, size_t row, stele_error *why);

/** Has SQL leave with the next statement, or at once when too much is waiting. */
stele_status stele__bulk_queue(stele__bulk *b, const char *sql, stele_error *err);

#endif
