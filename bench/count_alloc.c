/*
 * Preloaded to count what a program takes from the heap.
 *
 * Freed and grown memory is not told apart: each malloc, calloc and realloc is one.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SHOWN __attribute__((visibility("default")))

/* glibc's own, under the names it keeps for those who replace them. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);

static _Atomic uint64_t allocations;

SHOWN uint64_t bench_allocations(void);
uint64_t bench_allocations(void)
{
    return atomic_load(&allocations);
}

SHOWN void *malloc(size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_malloc(size);
}

SHOWN void *calloc(size_t count, size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_calloc(count, size);
}

SHOWN void *realloc(void *ptr, size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_realloc(ptr, size);
}
