/*
 * Many threads on few connections, while statements are canceled and server processes killed.
 *
 * 64 threads, 10 connections, 100,000 leases (STELE_STORM_CYCLES changes that; under ThreadSanitizer
 * 20,000), one in a hundred of which runs a statement that is canceled or whose server process is
 * killed. Held to: the server never sees more than 10 connections, no place is lost, nobody overtakes,
 * hardly anybody waits longer than twice its fair share plus what the kills cost.
 *
 * The control is the pool that everybody writes first, a mutex and a condition variable around a
 * stack: on it the same measure of overtaking does not come out at zero.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

#include "pool_util.h"

#if defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { THREADS = 64, MOST = 10, WAIT_BOUND_MS = 60000 };

static long cycles(void)
{
    const char *text = getenv("STELE_STORM_CYCLES");
    if (text != NULL)
        return strtol(text, NULL, 10);
#ifdef SANITIZED
    return 20000;
#else
    return 100000;
#endif
}

/* ---- the storm ---- */

typedef struct storm {
    stele_db *db;
    atomic_long left;
    atomic_bool over;
    atomic_int most_seen; /* server connections at once */
    atomic_long samples;
    atomic_long errors;
    atomic_long wrong; /* statuses that no kill or cancel explains */
    atomic_ullong longest_wait_ms;
    atomic_long waits[WAIT_BOUND_MS]; /* by milliseconds; the last is of all that took longer */
} storm;

static void note_wait(storm *s, uint64_t ms)
{
    atomic_fetch_add(&s->waits[ms < WAIT_BOUND_MS ? ms : WAIT_BOUND_MS - 1], 1);
    unsigned long long seen = atomic_load(&s->longest_wait_ms);
    while (ms > seen && !atomic_compare_exchange_weak(&s->longest_wait_ms, &seen, ms))
        ;
}

static void note_error(storm *s, stele_status st)
{
    atomic_fetch_add(&s->errors, 1);
    if (st != STELE_E_CANCELED && st != STELE_E_LOST && st != STELE_E_TIMEOUT &&
        st != STELE_E_UNKNOWN)
        atomic_fetch_add(&s->wrong, 1);
}

/* One in a hundred runs into trouble: a deadline, its own cancel, or the death of its process. */
static void make_trouble(storm *s, stele_conn *conn, unsigned *seed)
{
    stele_error err;
    stele_status st = STELE_OK;
    switch (rand_r(seed) % 4) {
    case 0:
        stele_conn_set_deadline(conn, 1);
        st = try_sql(conn, "SELECT pg_sleep(0.01)", &err);
        break;
    case 1:
        st = stele_conn_cancel(conn, &err);
        if (st == STELE_OK)
            st = try_sql(conn, "SELECT 1", &err);
        break;
    case 2:
        st = try_sql(conn, "SELECT pg_terminate_backend(pg_backend_pid())", &err);
        break;
    default:
        st = stele_tx_begin(conn, NULL, &err); /* left open */
        if (st == STELE_OK)
            st = try_sql(conn, "SELECT 1/0", &err) == STELE_E_VALUE ? STELE_OK : err.status;
    }
    if (st != STELE_OK)
        note_error(s, st);
}

static void *ride(void *arg)
{
    storm *s = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    while (atomic_fetch_sub(&s->left, 1) > 0) {
        stele_conn *conn = NULL;
        stele_error err;
        uint64_t start = now_ms();
        stele_status st = stele_db_acquire(s->db, &conn, &err);
        note_wait(s, now_ms() - start);
        if (st != STELE_OK) {
            char text[1024];
            (void)stele_error_format(&err, text, sizeof text);
            print_error("# acquire: %s\n", text);
            atomic_fetch_add(&s->wrong, 1);
            continue;
        }
        int dice = rand_r(&seed) % 100;
        if (dice == 0) {
            make_trouble(s, conn, &seed);
        } else if (dice < 20) {
            st = try_sql(conn, "SELECT 1", &err);
            if (st != STELE_OK)
                note_error(s, st);
        }
        stele_conn_release(conn);
    }
    return NULL;
}

/* Counts the server's side all the while, over a connection of its own. */
static void *watch(void *arg)
{
    storm *s = arg;
    PGconn *conn = PQconnectdb(dsn);
    while (!atomic_load(&s->over)) {
        PGresult *result = PQexec(conn, "SELECT count(*) FROM pg_stat_activity "
                                        "WHERE application_name = 'storm' "
                                        "AND datname = current_database()");
        if (PQresultStatus(result) == PGRES_TUPLES_OK) {
            int seen = (int)strtol(PQgetvalue(result, 0, 0), NULL, 10);
            if (seen > atomic_load(&s->most_seen))
                atomic_store(&s->most_seen, seen);
            atomic_fetch_add(&s->samples, 1);
        }
        PQclear(result);
    }
    PQfinish(conn);
    return NULL;
}

/*
 * Twice the fair share, the average time between two turns of one thread, plus what a kill costs, for
 * all but one in a hundred: when the machine stands still, so do all who wait.
 */
static void check_waits(storm *s, uint64_t took, long total)
{
    uint64_t fair = took * THREADS / (uint64_t)total + 1;
    long longer = total;
    for (uint64_t ms = 0; ms <= 2 * fair * THREADS / MOST + 1000 && ms < WAIT_BOUND_MS; ms++)
        longer -= atomic_load(&s->waits[ms]);
    assert_true(longer * 100 <= total);
    assert_true(atomic_load(&s->longest_wait_ms) < SOON_MS);
}

static void nothing_is_lost_in_a_storm(void **state)
{
    (void)state;
    static storm s;
    pthread_t threads[THREADS];
    pthread_t watcher;
    long total = cycles();
    atomic_store(&s.left, total);
    s.db = open_db("storm", MOST);
    uint64_t start = now_ms();
    assert_int_equal(pthread_create(&watcher, NULL, watch, &s), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ride, &s), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    uint64_t took = now_ms() - start;
    atomic_store(&s.over, true);
    assert_int_equal(pthread_join(watcher, NULL), 0);

    stele_pool_stats stats = stats_of(s.db);
    print_message("# %ld leases in %llu ms, %ld errors, at most %d of %d connections in %ld looks, "
                  "longest wait %llu ms, %llu connections made, %llu dirty, %llu cancels\n",
                  total, (unsigned long long)took, atomic_load(&s.errors),
                  atomic_load(&s.most_seen), MOST, atomic_load(&s.samples),
                  atomic_load(&s.longest_wait_ms), (unsigned long long)stats.created,
                  (unsigned long long)stats.dirty, (unsigned long long)stats.cancels);
    assert_int_equal(atomic_load(&s.wrong), 0);
    assert_true(atomic_load(&s.errors) > 0);
    assert_true(atomic_load(&s.samples) > 10);
    assert_in_range(atomic_load(&s.most_seen), 1, MOST);
    /* every place can be had again */
    stele_conn *conns[MOST];
    for (int i = 0; i < MOST; i++)
        conns[i] = acquire(s.db);
    assert_int_equal(stats_of(s.db).in_use, MOST);
    for (int i = 0; i < MOST; i++)
        stele_conn_release(conns[i]);
    check_waits(&s, took, total);
    stele_db_close(s.db);
    wait_for_backends("storm", 0);
}

/* ---- overtaking, and the control ---- */

enum { TURNS = 300 };

/* A pool of one, ours or the naive one. */
typedef struct race {
    stele_db *db; /* NULL: the naive one */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool taken;
} race;

static void naive_acquire(race *r)
{
    pthread_mutex_lock(&r->mutex);
    while (r->taken)
        pthread_cond_wait(&r->cond, &r->mutex);
    r->taken = true;
    pthread_mutex_unlock(&r->mutex);
}

static void naive_release(race *r)
{
    pthread_mutex_lock(&r->mutex);
    r->taken = false;
    pthread_cond_signal(&r->cond);
    pthread_mutex_unlock(&r->mutex);
}

/* The first caller holds the only connection, lets a second stand in line, gives the connection back
 * and asks again at once. Served before the second, it has overtaken. */
typedef struct second_caller {
    race *race;
    atomic_int *order;
    int served;
} second_caller;

static void *be_second(void *arg)
{
    second_caller *c = arg;
    stele_conn *conn = NULL;
    if (c->race->db != NULL)
        conn = acquire(c->race->db);
    else
        naive_acquire(c->race);
    c->served = atomic_fetch_add(c->order, 1);
    if (c->race->db != NULL)
        stele_conn_release(conn);
    else
        naive_release(c->race);
    return NULL;
}

static bool second_waits(race *r, uint64_t start)
{
    /* The naive pool keeps no count of its waiters: it gets 5 ms to begin waiting. */
    return r->db != NULL ? stats_of(r->db).waiting == 1 : now_ms() - start >= 5;
}

static bool overtakes_once(race *r)
{
    pthread_t thread;
    atomic_int order = 0;
    second_caller second = {.race = r, .order = &order};
    stele_conn *conn = NULL;
    if (r->db != NULL)
        conn = acquire(r->db);
    else
        naive_acquire(r);
    uint64_t start = now_ms();
    assert_int_equal(pthread_create(&thread, NULL, be_second, &second), 0);
    wait_until(second_waits(r, start));
    if (r->db != NULL) {
        stele_conn_release(conn);
        conn = acquire(r->db);
    } else {
        naive_release(r);
        naive_acquire(r);
    }
    int mine = atomic_fetch_add(&order, 1);
    if (r->db != NULL)
        stele_conn_release(conn);
    else
        naive_release(r);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return mine < second.served;
}

static int overtakes(race *r)
{
    int count = 0;
    for (int i = 0; i < TURNS; i++)
        count += overtakes_once(r) ? 1 : 0;
    return count;
}

static void nobody_overtakes_unlike_in_a_naive_pool(void **state)
{
    (void)state;
    static race ours;
    static race naive;
    assert_int_equal(pthread_mutex_init(&naive.mutex, NULL), 0);
    assert_int_equal(pthread_cond_init(&naive.cond, NULL), 0);
    ours.db = open_db("race", 1);
    int ours_count = overtakes(&ours);
    int naive_count = overtakes(&naive);
    print_message("# overtaken in %d turns: %d, in the naive pool %d\n", TURNS, ours_count,
                  naive_count);
    assert_int_equal(ours_count, 0);
    assert_true(naive_count > 0);
    stele_db_close(ours.db);
}

/* ---- the other control: a place that is free before the server's side is gone ---- */

/* Closes while a statement runs, and connects anew at once, as a pool does that lets go of the place
 * with the descriptor. The server sees more connections than the "pool" may have. */
static void a_careless_pool_exceeds_its_maximum(void **state)
{
    (void)state;
    char text[512];
    PGconn *conns[5];
    snprintf(text, sizeof text, "%s application_name=careless", dsn);
    for (int i = 0; i < 5; i++) {
        conns[i] = PQconnectdb(text);
        assert_int_equal(PQstatus(conns[i]), CONNECTION_OK);
        assert_int_equal(PQsendQuery(conns[i], "SELECT pg_sleep(60)"), 1);
        PQfinish(conns[i]);
    }
    PGconn *last = PQconnectdb(text);
    assert_true(backends("careless") > 1);
    PQfinish(last);
    dbtest_exec(dsn, "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                     "WHERE application_name = 'careless' AND datname = current_database()");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_in_a_storm),
        cmocka_unit_test(nobody_overtakes_unlike_in_a_naive_pool),
        cmocka_unit_test(a_careless_pool_exceeds_its_maximum),
    };
    return RUN(tests);
}
