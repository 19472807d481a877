#include "faultmalloc.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "stele/mem.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static __thread long countdown = -1; /* -1: not armed */
static __thread bool has_failed;
static __thread bool for_good;
static __thread long count;

static bool may_allocate(void)
{
    count++;
    if (countdown < 0)
        return true;
    if (countdown > 0) {
        countdown--;
        return true;
    }
    if (!for_good)
        countdown = -1;
    has_failed = true;
    errno = ENOMEM;
    return false;
}

void fault_arm(long successes)
{
    has_failed = false;
    for_good = false;
    countdown = successes;
}

void fault_arm_for_good(long successes)
{
    fault_arm(successes);
    for_good = true;
}

bool fault_disarm(void)
{
    countdown = -1;
    return has_failed;
}

long fault_count(void)
{
    return count;
}

#ifdef SANITIZED

static void *failing_alloc(size_t size)
{
    return may_allocate() ? malloc(size) : NULL;
}

static void *failing_realloc(void *ptr, size_t size)
{
    return may_allocate() ? realloc(ptr, size) : NULL;
}

void fault_install(void)
{
    const stele_allocator allocator = {failing_alloc, failing_realloc, free};
    if (stele_set_allocator(&allocator) != STELE_OK)
        abort();
}

bool fault_reaches_all(void)
{
    return false;
}

long fault_live(void)
{
    return 0;
}

#else

/* glibc's own, under the names it keeps for replacements of malloc. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);
extern void __libc_free(void *ptr);

static __thread long live;

/* The libraries must see these, whatever the rest of the program hides. */
#pragma GCC visibility push(default)

void *malloc(size_t size)
{
    void *ptr = may_allocate() ? __libc_malloc(size) : NULL;
    live += ptr != NULL;
    return ptr;
}

void *calloc(size_t n, size_t size)
{
    void *ptr = may_allocate() ? __libc_calloc(n, size) : NULL;
    live += ptr != NULL;
    return ptr;
}

void *realloc(void *old, size_t size)
{
    if (!may_allocate())
        return NULL;
    void *ptr = __libc_realloc(old, size);
    live += old == NULL && ptr != NULL;
    return ptr;
}

void free(void *ptr)
{
    live -= ptr != NULL;
    __libc_free(ptr);
}

#pragma GCC visibility pop

void fault_install(void)
{
}

bool fault_reaches_all(void)
{
    return true;
}

long fault_live(void)
{
    return live;
}

#endif
