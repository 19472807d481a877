/*
 * Names that no runtime source may use. Include it last, after every other header.
 *
 * Floor: base.
 *
 * STELE__OWNS_MALLOC, defined before the include, leaves the C allocator usable: mem.c only.
 */
#ifndef STELE_BANNED_H
#define STELE_BANNED_H

/* Unbounded or easily misjudged: stele__copy, stele__buf and snprintf take their place. */
#pragma GCC poison sprintf vsprintf strcpy stpcpy strcat strncpy stpncpy strncat gets
#undef alloca
#pragma GCC poison strtok scanf sscanf fscanf alloca

/* Silent about errors, or different in another locale. */
#pragma GCC poison atoi atol atoll atof strtod strtof setlocale

/* Shared static storage. */
#pragma GCC poison strerror localtime gmtime asctime ctime rand srand random srandom

/* A library neither ends its process, nor talks to its terminal, nor reads its environment. */
#pragma GCC poison exit _exit _Exit quick_exit abort atexit printf vprintf puts putchar perror
#pragma GCC poison getenv secure_getenv setenv putenv unsetenv system popen signal

/* A condition is waited for, not a span of time. */
#pragma GCC poison sleep usleep

#ifndef STELE__OWNS_MALLOC
/* These would pass by the allocator hook: stele__alloc and friends take their place. */
#pragma GCC poison malloc calloc realloc reallocarray free strdup strndup asprintf vasprintf
#endif

#endif
