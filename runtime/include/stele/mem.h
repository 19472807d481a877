/**
 * The allocator hook.
 *
 * Floor: mem.
 */
#ifndef STELE_MEM_H
#define STELE_MEM_H

#include "stele/status.h"

STELE_BEGIN_DECLS

/** malloc, realloc and free of the caller's choice. Each must be thread-safe. */
typedef struct stele_allocator {
    void *(*alloc)(size_t size);
    void *(*realloc)(void *ptr, size_t size);
    void (*free)(void *ptr);
} stele_allocator;

/**
 * Sets the allocator for everything Stele allocates itself. libpq and jansson keep their own.
 *
 * Call it once, before any other Stele function; afterwards it answers STELE_E_MISUSE. All three
 * members must be set (STELE_E_INPUT otherwise).
 * Threads: none may be in Stele.
 */
STELE_API STELE_MUST_CHECK stele_status stele_set_allocator(const stele_allocator *allocator);

/**
 * Memory by that allocator, for libraries that stand on Stele and for what they hand out. As malloc,
 * realloc and free, but a size of 0 gives memory, too; NULL when there is none.
 */
STELE_API void *stele_alloc(size_t size);
STELE_API void *stele_realloc(void *ptr, size_t size);
STELE_API void stele_free(void *ptr);

STELE_END_DECLS

#endif
