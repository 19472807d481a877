/**
 * What the benchmarks share: arguments, threads, clocks, counters, one line of results.
 *
 * A program holds one benchmark, with several cases: ways to do the same work. One run of it does one
 * case and prints what it took as a line of JSON; run.py starts the runs in turn and compares them.
 */
#ifndef STELE_BENCH_HARNESS_H
#define STELE_BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>
#include <stele.h>

/** What the command line asked for. */
typedef struct bench_run {
    const char *dsn; /* STELE_DSN */
    const char *case_name;
    int threads;
    int connections; /* of pools */
    long count;      /* operations of each thread; 0: as many as fit in `ms` */
    long ms;
    long warm;   /* operations of each thread before the clock starts */
    bool skewed; /* choices follow Zipf's law instead of being equally likely */
} bench_run;

/** What the server processes used hold, and what they took. */
typedef struct bench_backend {
    uint64_t memory;     /* bytes of the memory contexts of the fattest one */
    uint64_t statements; /* most that one keeps prepared */
    uint64_t cpu_ns;     /* of all of them, since they began */
} bench_backend;

/** One way to do the work. Everything may be NULL but `name` and `work`. */
typedef struct bench_case {
    const char *name;
    void (*setup)(const bench_run *run);             /* once, before the threads */
    void *(*open)(const bench_run *run, int thread); /* each thread's state */
    void (*work)(void *state, long count);           /* what is measured */
    void (*settle)(void *state); /* measured too: ends what work left under way */
    void (*close)(void *state);
    void (*inspect)(bench_backend *ret_backends); /* before and after the work */
    void (*teardown)(void);
} bench_case;

/** The whole of a benchmark's main(). */
int bench_main(int argc, char **argv, const bench_case *cases, size_t case_count);

/** Says what went wrong and ends the program. */
_Noreturn void bench_die(const char *what, const char *why);

/** Ends the program unless `st` is STELE_OK. */
static inline void bench_check(stele_status st, const char *what, const stele_error *err)
{
    if (__builtin_expect(st != STELE_OK, 0))
        bench_die(what, err->message);
}

/** calloc() that does not fail. */
void *bench_alloc(size_t size);

/** Uniform in [0, 2^32); `state` is any number but 0. */
static inline uint32_t bench_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* ---- Stele ---------------------------------------------------------------------------------- */

/** A handle on the sessions module; `connections` is the size of its pool. */
stele_db *bench_open_db(const bench_run *run, int connections);

/** A lease of it. */
stele_conn *bench_acquire(stele_db *db);

/* ---- libpq ---------------------------------------------------------------------------------- */

/** A connection with the settings that Stele's have. */
PGconn *bench_connect(const bench_run *run);

/**
 * The SQL that `use` prepares when Stele runs it in `schema` (may be NULL): floors run the very same
 * statement. Free the text.
 */
char *bench_learn_sql(const bench_run *run, const char *schema, void (*use)(stele_conn *conn));

/** The latest SQL that the only connection of `db` has prepared. Free the text. */
char *bench_latest_sql(stele_db *db);

/** Prepares `sql` as `name`, or ends the program. */
void bench_prepare(PGconn *pg, const char *name, const char *sql);

/** The libpq connection under a lease, to ask what no application asks. */
PGconn *bench_pg_of(stele_conn *conn);

/** Adds the server process of `pg` to what is known of the others. */
void bench_inspect(PGconn *pg, bench_backend *backends);

#endif
