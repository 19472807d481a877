/**
 * What generated code runs pipelines and streams by. As stele/gen/gen.h, for generated code only.
 *
 * Floor: pipeline.
 */
#ifndef STELE_GEN_FLOW_H
#define STELE_GEN_FLOW_H

#include "stele/gen/gen.h"
#include "stele/pipeline.h"

STELE_BEGIN_DECLS

/** What the answer of a queued statement becomes. */
typedef enum stele_gen_slot_kind {
    STELE_GEN_SLOT_EXEC,    /* count: uint64_t * */
    STELE_GEN_SLOT_ROW,     /* out: row **, NULL if there is none; count: uint64_t * */
    STELE_GEN_SLOT_ROWS,    /* out: row **; count: size_t * */
    STELE_GEN_SLOT_LIST,    /* out: list **, a struct of rows and count, as stele_gen_list_many */
    STELE_GEN_SLOT_VALUE,   /* out: row_size bytes */
    STELE_GEN_SLOT_UPSERTED /* as ROW; count: bool *, copied from the row at `offset` */
} stele_gen_slot_kind;

/** Where an answer goes when the batch is stored. `out` and `count` may be NULL. */
typedef struct stele_gen_slot {
    stele_gen_slot_kind kind;
    uint32_t offset;
    void *out;
    void *count;
} stele_gen_slot;

/** Queues a statement. args[] and what it points at may go away; the slots must live until sync. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_queue(stele_pipeline *pipeline,
                                                        const stele_gen_stmt *stmt,
                                                        const void *const *args, uint32_t flags,
                                                        const stele_gen_slot *slot,
                                                        stele_error *err);

/** Queues the next page, as stele_gen_page; `page` is a page's address, and replaced at sync. STELE_DONE: no more pages. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_queue_page(stele_pipeline *pipeline,
                                                             const stele_gen_list *list,
                                                             const void **args, uint32_t flags,
                                                             uint32_t limit, void *page,
                                                             stele_error *err);

/** Runs a statement whose rows are read one by one; see stele_gen_iter_next. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_iter_open(stele_conn *conn,
                                                            const stele_gen_stmt *stmt,
                                                            const void *const *args, uint32_t flags,
                                                            void **ret_iter, stele_error *err);

/** The next row, valid until the next call; STELE_DONE after the last. Errors may come after rows. */
STELE_API STELE_MUST_CHECK stele_status stele_gen_iter_next(void *iter, const void **ret_row,
                                                            stele_error *err);

/** Ends a stream, early or not; the connection can be used again. NULL is ignored. */
STELE_API void stele_gen_iter_close(void *iter);

STELE_END_DECLS

#endif
