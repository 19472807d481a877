/*
 * Preloaded into a server: each fdatasync takes as much longer as STELE_FSYNC_DELAY_US says, as on
 * a disk that is no memory in disguise. The WAL is written by it.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int (*real)(int fd);
static struct timespec delay;

__attribute__((constructor)) static void prepare(void)
{
    const char *text = getenv("STELE_FSYNC_DELAY_US");
    long us = text != NULL ? strtol(text, NULL, 10) : 0;
    *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    delay = (struct timespec){us / 1000000, us % 1000000 * 1000};
}

__attribute__((visibility("default"))) int fdatasync(int fd)
{
    struct timespec left = delay;
    while (nanosleep(&left, &left) != 0)
        continue;
    return real(fd);
}
