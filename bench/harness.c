#include "harness.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* What count_alloc.c counts, if it is preloaded. */
static uint64_t allocations_now(void)
{
    static uint64_t (*count)(void);
    static bool looked;
    if (!looked) {
        *(void **)&count = dlsym(RTLD_DEFAULT, "bench_allocations");
        looked = true;
    }
    return count != NULL ? count() : 0;
}

_Noreturn void bench_die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

void *bench_alloc(size_t size)
{
    void *piece = calloc(1, size);
    if (piece == NULL)
        bench_die("calloc", "out of memory");
    return piece;
}

/* ---- clocks --------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_ns(void)
{
    struct rusage r;
    (void)getrusage(RUSAGE_SELF, &r); /* cannot fail for ourselves */
    return (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000u;
}

/* ---- running -------------------------------------------------------------------------------- */

typedef struct worker {
    const bench_case *way;
    const bench_run *run;
    pthread_t thread;
    pthread_barrier_t *barrier;
    atomic_bool *stop;
    void *state;
    long done;
} worker;

/* Callgrind collects inside this function only, so it must stay one. */
void bench_measured(const bench_case *way, void *state, long count);
__attribute__((noinline)) void bench_measured(const bench_case *way, void *state, long count)
{
    way->work(state, count);
}

static void work(worker *w)
{
    if (w->run->count > 0) {
        bench_measured(w->way, w->state, w->run->count);
        w->done = w->run->count;
    }
    while (w->run->count == 0 && !atomic_load_explicit(w->stop, memory_order_relaxed)) {
        w->way->work(w->state, 1);
        w->done++;
    }
    if (w->way->settle != NULL)
        w->way->settle(w->state);
}

static void *thread_main(void *arg)
{
    worker *w = arg;
    w->way->work(w->state, w->run->warm);
    if (w->way->settle != NULL)
        w->way->settle(w->state);
    (void)pthread_barrier_wait(w->barrier);
    (void)pthread_barrier_wait(w->barrier);
    work(w);
    return NULL;
}

static void start_threads(worker *workers, int count, pthread_barrier_t *barrier)
{
    if (pthread_barrier_init(barrier, NULL, (unsigned)count + 1) != 0)
        bench_die("pthread_barrier_init", "failed");
    for (int i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, thread_main, &workers[i]) != 0)
            bench_die("pthread_create", "failed");
    (void)pthread_barrier_wait(barrier); /* all are there, and warm */
}

static void sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0)
        continue;
}

/* A single thread that counts runs in the program's own one, where Callgrind starts. */
static void run_workers(const bench_run *run, worker *workers, atomic_bool *stop)
{
    if (run->threads == 1 && run->count > 0) {
        work(workers);
        return;
    }
    pthread_barrier_t *barrier = workers[0].barrier;
    (void)pthread_barrier_wait(barrier);
    if (run->count == 0) {
        sleep_ms(run->ms);
        atomic_store(stop, true);
    }
    for (int i = 0; i < run->threads; i++)
        (void)pthread_join(workers[i].thread, NULL);
}

static void report(const worker *workers, int threads, uint64_t wall, uint64_t cpu,
                   uint64_t allocations, const bench_backend *backends)
{
    long done = 0;
    long most = workers[0].done;
    long least = workers[0].done;
    for (int i = 0; i < threads; i++) {
        done += workers[i].done;
        most = workers[i].done > most ? workers[i].done : most;
        least = workers[i].done < least ? workers[i].done : least;
    }
    printf("{\"count\": %ld, \"wall_ns\": %llu, \"cpu_ns\": %llu, \"allocations\": %llu, "
           "\"most\": %ld, \"least\": %ld, \"memory\": %llu, \"statements\": %llu, \"server_ns\": "
           "%llu}\n",
           done, (unsigned long long)wall, (unsigned long long)cpu, (unsigned long long)allocations,
           most, least, (unsigned long long)backends->memory,
           (unsigned long long)backends->statements, (unsigned long long)backends->cpu_ns);
}

static void run_case(const bench_run *run, const bench_case *way)
{
    worker *workers = bench_alloc((size_t)run->threads * sizeof *workers);
    pthread_barrier_t barrier;
    atomic_bool stop = false;
    if (way->setup != NULL)
        way->setup(run);
    for (int i = 0; i < run->threads; i++) {
        workers[i].way = way;
        workers[i].run = run;
        workers[i].barrier = &barrier;
        workers[i].stop = &stop;
        workers[i].state = way->open != NULL ? way->open(run, i) : NULL;
    }
    if (run->threads > 1 || run->count == 0)
        start_threads(workers, run->threads, &barrier);
    else
        way->work(workers[0].state, run->warm);
    bench_backend before = {0};
    if (way->inspect != NULL)
        way->inspect(&before);
    uint64_t allocations = allocations_now();
    uint64_t cpu = cpu_ns();
    uint64_t start = now_ns();
    run_workers(run, workers, &stop);
    uint64_t wall = now_ns() - start;
    cpu = cpu_ns() - cpu;
    allocations = allocations_now() - allocations;
    bench_backend after = {0};
    if (way->inspect != NULL)
        way->inspect(&after);
    after.cpu_ns -= before.cpu_ns;
    report(workers, run->threads, wall, cpu, allocations, &after);
    for (int i = 0; i < run->threads; i++)
        if (way->close != NULL)
            way->close(workers[i].state);
    if (way->teardown != NULL)
        way->teardown();
    free(workers);
}

/* ---- arguments ------------------------------------------------------------------------------ */

static long number(const char *text)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end != '\0' || v < 0)
        bench_die("not a number", text);
    return v;
}

static bool take_option(bench_run *run, const char *name, const char *value)
{
    if (strcmp(name, "--case") == 0)
        run->case_name = value;
    else if (strcmp(name, "--threads") == 0)
        run->threads = (int)number(value);
    else if (strcmp(name, "--connections") == 0)
        run->connections = (int)number(value);
    else if (strcmp(name, "--count") == 0)
        run->count = number(value);
    else if (strcmp(name, "--ms") == 0)
        run->ms = number(value);
    else if (strcmp(name, "--warm") == 0)
        run->warm = number(value);
    else if (strcmp(name, "--skewed") == 0)
        run->skewed = number(value) != 0;
    else
        return false;
    return true;
}

int bench_main(int argc, char **argv, const bench_case *cases, size_t case_count)
{
    bench_run run = {.case_name = "", .threads = 1, .connections = 8, .ms = 1000, .warm = 40};
    run.dsn = getenv("STELE_DSN");
    if (run.dsn == NULL || *run.dsn == '\0')
        bench_die("STELE_DSN is not set", "run ./dev bench");
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !take_option(&run, argv[i], argv[i + 1]))
            bench_die("unknown option", argv[i]);
    if (run.threads < 1 || run.connections < 1)
        bench_die("threads and connections", "at least one of each is needed");
    for (size_t i = 0; i < case_count; i++) {
        if (strcmp(cases[i].name, run.case_name) == 0) {
            run_case(&run, &cases[i]);
            return 0;
        }
    }
    fprintf(stderr, "bench: --case must be one of:");
    for (size_t i = 0; i < case_count; i++)
        fprintf(stderr, " %s", cases[i].name);
    fprintf(stderr, "\n");
    return 2;
}
