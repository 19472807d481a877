/**
 * Many rows in one call: what the generated insert_many and upsert_many take and report.
 *
 * A call is one transaction (inside the caller's own: a savepoint), whatever the mode: when it fails,
 * it has stored nothing. Rows are grouped by which of their columns are set, and sent in batches: few
 * rows as arrays, more by COPY; into the table where that is possible, else through a temporary table.
 * Within a group the order is kept; a group is stored when the one before it is.
 *
 * Waits for the server: one for a single batch of arrays. A batch by COPY takes two, and one more
 * when rows are wanted back. More than one batch, or rows back by COPY, need a transaction, whose
 * COMMIT takes one. Looking for a bad row takes about four times the binary logarithm of the batch.
 *
 * Memory: a few kilobytes and 64 KB for a COPY, whatever the number of rows; arrays take up to 8 MB.
 * Upserts add 16 to 32 bytes for each row, to find keys that come twice; groups, where there are
 * several, 8 bytes; rows wanted back, what they hold.
 *
 * Floor: tx.
 */
#ifndef STELE_BULK_H
#define STELE_BULK_H

#include "stele/status.h"

STELE_BEGIN_DECLS

/** What a row that cannot be stored means for the others. */
typedef enum stele_bulk_mode {
    STELE_BULK_ALL_OR_NOTHING = 0, /* the call fails with that row's error, and stores nothing */
    STELE_BULK_KEEP_GOOD           /* the call leaves it out, and succeeds */
} stele_bulk_mode;

/**
 * Called after each batch. `done` never falls and ends at `total` (rows left out count too); the rows
 * are stored only when the call answers STELE_OK. Must not use the connection.
 */
typedef void (*stele_bulk_progress_fn)(size_t done, size_t total, void *user);

/**
 * Called for each bad row that is found, in no certain order; with STELE_BULK_ALL_OR_NOTHING for the
 * one that ends the call. Must not use the connection.
 */
typedef void (*stele_bulk_bad_row_fn)(size_t index, const stele_error *why, void *user);

typedef struct stele_bulk_options {
    size_t size; /* sizeof(stele_bulk_options); set by STELE_BULK_OPTIONS_INIT */
    stele_bulk_mode mode;
    bool skip_conflicts; /* insert_many: leave rows alone whose key exists; they count as skipped */
    bool
        last_wins; /* upsert_many: of rows with the same key the last counts, the others are skipped;
                       otherwise all but the first are bad */
    uint32_t copy_threshold; /* rows from which COPY is used: 0 = 512, UINT32_MAX = never */
    uint32_t batch_rows;     /* rows of a COPY: 0 = 10,000; each batch has the call timeout anew */
    stele_bulk_progress_fn on_progress;
    stele_bulk_bad_row_fn on_bad_row;
    void *user;
} stele_bulk_options;

#ifdef __cplusplus
#define STELE_BULK_OPTIONS_INIT                                                                    \
    {                                                                                              \
        sizeof(stele_bulk_options), STELE_BULK_ALL_OR_NOTHING, false, false, 0, 0, NULL, NULL,     \
            NULL                                                                                   \
    }
#else
#define STELE_BULK_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(stele_bulk_options)                                                         \
    }
#endif

/** Index that stands for no row. */
#define STELE_BULK_NO_ROW SIZE_MAX

/**
 * What a call did. After a failure only `bad` and `first_bad` may say something: which row it was.
 *
 * The server does not tell updates of partitioned tables from inserts; there both count as inserted.
 */
typedef struct stele_bulk_report {
    uint64_t inserted;
    uint64_t updated;
    uint64_t skipped;
    size_t bad;
    size_t first_bad; /* the lowest index of a bad row; STELE_BULK_NO_ROW if there is none */
} stele_bulk_report;

STELE_END_DECLS

#endif
