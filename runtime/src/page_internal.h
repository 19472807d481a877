/**
 * The two halves of reading a page, for those who do not wait in between.
 *
 * Floor: stmt.
 */
#ifndef STELE_PAGE_INTERNAL_H
#define STELE_PAGE_INTERNAL_H

#include "result.h"
#include "stele/gen/gen.h"

/** Fills in where the next page resumes; STELE_DONE when there is none: then `*page` is freed. */
stele_status stele__page_args(const stele_gen_list *list, const void **args, uint32_t *flags,
                              uint32_t limit, int64_t *fetch, stele_page **page, stele_error *err);

/** Takes `result` over; `*page` is freed and replaced, by NULL after STELE_DONE. */
stele_status stele__page_take(const stele_gen_list *list, struct pg_result *result, uint32_t limit,
                              stele_page **page, stele_error *err);

#endif
