#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "mem_internal.h"

#define STELE__OWNS_MALLOC
#include "banned.h"

/* The one piece of global state: set once, before anything else runs, and constant from then on. */
static stele_allocator allocator = {malloc, realloc, free};
static atomic_bool allocator_settled;

stele_status stele_set_allocator(const stele_allocator *wanted)
{
    if (wanted == NULL || wanted->alloc == NULL || wanted->realloc == NULL || wanted->free == NULL)
        return STELE_E_INPUT;
    if (atomic_exchange(&allocator_settled, true))
        return STELE_E_MISUSE;
    allocator = *wanted;
    return STELE_OK;
}

/* The first allocation settles which allocator it is. A plain load keeps the cache line shared. */
static void settle(void)
{
    if (!atomic_load_explicit(&allocator_settled, memory_order_relaxed))
        atomic_store_explicit(&allocator_settled, true, memory_order_relaxed);
}

void *stele__alloc(size_t size)
{
    settle();
    return allocator.alloc(size != 0 ? size : 1);
}

void *stele__calloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *ptr = stele__alloc(total);
    if (ptr != NULL)
        memset(ptr, 0, total);
    return ptr;
}

void *stele__realloc_array(void *ptr, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    if (ptr == NULL)
        return stele__alloc(total);
    return allocator.realloc(ptr, total != 0 ? total : 1);
}

void *stele_alloc(size_t size)
{
    return stele__alloc(size);
}

void *stele_realloc(void *ptr, size_t size)
{
    return stele__realloc_array(ptr, 1, size);
}

void stele_free(void *ptr)
{
    stele__free(ptr);
}

void stele__free(void *ptr)
{
    if (ptr != NULL)
        allocator.free(ptr);
}

char *stele__strndup(const char *s, size_t len)
{
    if (s == NULL || len == SIZE_MAX)
        return NULL;
    char *copy = stele__alloc(len + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *stele__strdup(const char *s)
{
    return s != NULL ? stele__strndup(s, strlen(s)) : NULL;
}

/* ---- block ---------------------------------------------------------------------------------- */

struct stele__chunk {
    stele__chunk *older;
    size_t size; /* of the room behind the header */
};

#define CHUNK_HEADER ((sizeof(stele__chunk) + STELE__ALIGN - 1) & ~(size_t)(STELE__ALIGN - 1))
#define CHUNK_SMALLEST ((size_t)1024)
#define CHUNK_LARGEST ((size_t)64 * 1024)

void stele__block_init(stele__block *block, void *buf, size_t size)
{
    memset(block, 0, sizeof *block);
    if (buf == NULL)
        return;
    size_t skew = (uintptr_t)buf & (STELE__ALIGN - 1);
    size_t skip = skew != 0 ? STELE__ALIGN - skew : 0;
    if (size <= skip)
        return;
    block->first = (char *)buf + skip;
    block->first_size = size - skip;
    block->next = block->first;
    block->left = block->first_size;
}

static void free_chunks(stele__block *block)
{
    while (block->chunks != NULL) {
        stele__chunk *older = block->chunks->older;
        stele__free(block->chunks);
        block->chunks = older;
    }
}

void stele__block_reset(stele__block *block)
{
    free_chunks(block);
    block->next = block->first;
    block->left = block->first_size;
}

void stele__block_release(stele__block *block)
{
    free_chunks(block);
    memset(block, 0, sizeof *block);
}

void *stele__block_grow(stele__block *block, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    /* stele__block_alloc wants a margin of one alignment beyond the size. */
    size_t wanted = size + 2 * STELE__ALIGN;
    size_t room = CHUNK_SMALLEST;
    if (block->chunks != NULL && room < 2 * block->chunks->size)
        room = 2 * block->chunks->size;
    if (room > CHUNK_LARGEST)
        room = CHUNK_LARGEST;
    if (room < wanted)
        room = wanted;
    stele__chunk *chunk = stele__alloc(CHUNK_HEADER + room);
    if (chunk == NULL)
        return NULL;
    chunk->older = block->chunks;
    chunk->size = room;
    block->chunks = chunk;
    block->next = (char *)chunk + CHUNK_HEADER;
    block->left = room;
    return stele__block_alloc(block, size);
}

void *stele__block_calloc(stele__block *block, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *piece = stele__block_alloc(block, total);
    if (piece != NULL)
        memset(piece, 0, total);
    return piece;
}

char *stele__block_strndup(stele__block *block, const char *s, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *copy = stele__block_alloc(block, len + 1);
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

void *stele__block_mem(void *ctx, size_t size)
{
    return stele__block_alloc(ctx, size);
}
