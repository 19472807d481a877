/*
 * Memory: everything Stele allocates itself passes through here.
 *
 * Floor: mem.
 */
#ifndef STELE_MEM_INTERNAL_H
#define STELE_MEM_INTERNAL_H

#include "stele/mem.h"

/* ---- heap ----------------------------------------------------------------------------------- */

/* Each gives NULL when memory is out or a size overflows; never NULL for size 0 otherwise. */
void *stele__alloc(size_t size);
void *stele__calloc(size_t count, size_t size);

/* On failure `ptr` stays valid and NULL is returned. */
void *stele__realloc_array(void *ptr, size_t count, size_t size);

void stele__free(void *ptr);

/* Copies; NULL gives NULL (which then is no failure). _strndup terminates the copy. */
char *stele__strdup(const char *s);
char *stele__strndup(const char *s, size_t len);

/* ---- block ---------------------------------------------------------------------------------- */

/* Where out-of-line code takes memory that somebody else will free: NULL when there is none. */
typedef void *(*stele__mem_fn)(void *ctx, size_t size);

#define STELE__ALIGN (_Alignof(max_align_t))

typedef struct stele__chunk stele__chunk;

/*
 * A block hands out memory piece by piece and frees it all at once.
 *
 * It starts in a buffer of the caller's choice (on the stack, say) and continues in chained chunks of
 * the heap, so that small work allocates nothing. Zeroed memory is a block without a buffer.
 */
typedef struct stele__block {
    char *next;
    size_t left;
    stele__chunk *chunks; /* newest first */
    char *first;          /* the caller's buffer, or NULL */
    size_t first_size;
} stele__block;

/* `buf` may be NULL with size 0; it must outlive the block. */
void stele__block_init(stele__block *block, void *buf, size_t size);

/* Frees the chunks and starts again in the caller's buffer. */
void stele__block_reset(stele__block *block);

/* Frees the chunks; the block is as after init without a buffer. */
void stele__block_release(stele__block *block);

void *stele__block_grow(stele__block *block, size_t size);

/* `size` bytes aligned for any type, not cleared; NULL when memory is out. */
static inline void *stele__block_alloc(stele__block *block, size_t size)
{
    if (size > block->left || block->left - size < STELE__ALIGN)
        return stele__block_grow(block, size);
    char *piece = block->next;
    size_t step = (size + STELE__ALIGN - 1) & ~(size_t)(STELE__ALIGN - 1);
    block->next += step;
    block->left -= step;
    return piece;
}

/* count × size bytes, cleared. */
void *stele__block_calloc(stele__block *block, size_t count, size_t size);

/* Copies and terminates. */
char *stele__block_strndup(stele__block *block, const char *s, size_t len);

/* A stele__mem_fn: `ctx` is a stele__block. */
void *stele__block_mem(void *ctx, size_t size);

#endif
