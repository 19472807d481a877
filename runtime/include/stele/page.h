/**
 * Pages of a list.
 *
 * A list function takes the address of a page pointer. NULL asks for the first page; each further
 * call replaces the page by the next one, and STELE_DONE frees it and sets the pointer to NULL:
 *
 *     invoices_page *page = NULL;
 *     while ((st = invoices_list_by_recent(conn, &key, NULL, 100, &page, &err)) == STELE_OK)
 *         for (size_t i = 0; i < page->count; i++)
 *             show(&page->rows[i]);
 *
 * Leaving the loop early, free the page (invoices_page_free, or STELE_AUTO).
 *
 * Floor: stmt.
 */
#ifndef STELE_PAGE_H
#define STELE_PAGE_H

#include "stele/value.h"

STELE_BEGIN_DECLS

/** Which rows a filter sees, in regard to deletion or to expiry. */
typedef enum stele_scope {
    STELE_SCOPE_LIVE = 0, /* those that are not deleted (not expired) */
    STELE_SCOPE_ANY,      /* all */
    STELE_SCOPE_ONLY      /* the deleted (the expired) ones */
} stele_scope;

/** What every generated page type looks like; `rows` is typed there. */
typedef struct stele_page {
    const void *rows;
    size_t count;
    bool more; /* rows followed this page when it was read */
} stele_page;

/** Bytes that hold any token whose order columns are at most 255 bytes each. */
#define STELE_PAGE_TOKEN_SIZE 2048

/**
 * Writes an opaque, URL-safe string that continues after this page: for HTTP APIs.
 *
 * It holds the order columns of the last row, readable to who decodes it: sign it or keep it
 * server-side where that matters. `size` includes the terminator.
 * Errors: STELE_E_INPUT for a page without rows, or when `size` is too small.
 */
STELE_API STELE_MUST_CHECK stele_status stele_page_token(const stele_page *page, char *buf,
                                                         size_t size, stele_error *err);

/** Frees a page. NULL is ignored. */
STELE_API void stele_page_free(stele_page *page);

STELE_END_DECLS

#endif
