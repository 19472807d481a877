/* Many threads on one session and on many; and on a server that keeps killing its backends. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "store_lab.h"

enum { THREADS = 32, EACH = 25 };

typedef struct worker {
    pthread_t thread;
    int number;
    int sessions; /* that it goes around */
    uint64_t acknowledged;
    char *acks; /* which of its appends were acknowledged */
    int count;
    atomic_bool *stop;
} worker;

static void *append_many(void *arg)
{
    worker *w = arg;
    stele_error e;
    for (int i = 0; i < w->count && (w->stop == NULL || !atomic_load(w->stop)); i++) {
        char session_id[32];
        char json[512];
        snprintf(session_id, sizeof session_id, "s-%d", (w->number + i * THREADS) % w->sessions);
        snprintf(
            json, sizeof json,
            "{\"id\": \"%d-%d\", \"stateDelta\": {\"k-%d-%d\": \"\"}, \"choices\": [{\"message\":"
            " {\"role\": \"user\", \"content\": \"x\"}}]}",
            w->number, i, w->number, i);
        stele_session_key key = key_of(session_id);
        stele_session_appended appended;
        bool stored = stele_sessions_append(store, &key, stele_s(json), &appended, &e) == STELE_OK;
        if (stored && appended.queued)
            stored = stele_sessions_wait(store, &key, appended.receipt, 30000, &e) == STELE_OK;
        w->acks[i] = (char)stored;
        w->acknowledged += stored;
    }
    return NULL;
}

static void start(worker *workers, int count, int sessions, int each, atomic_bool *stop)
{
    for (int i = 0; i < count; i++) {
        workers[i] = (worker){.number = i, .sessions = sessions, .count = each, .stop = stop};
        workers[i].acks = calloc((size_t)each, 1);
        assert_non_null(workers[i].acks);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, append_many, &workers[i]), 0);
    }
}

static uint64_t join(worker *workers, int count)
{
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        sum += workers[i].acknowledged;
    }
    return sum;
}

static void forget(worker *workers, int count)
{
    for (int i = 0; i < count; i++)
        free(workers[i].acks);
}

/* The order in which events were committed is that of their times, and no two are equal. */
static void assert_in_order(void)
{
    assert_int_equal(number("SELECT count(*) FROM (SELECT count(*) FROM {session_events} GROUP BY"
                            " session_id, created_at HAVING count(*) > 1) t"),
                     0);
    assert_int_equal(
        number("SELECT count(*) FROM (SELECT split_part(event ->> 'id', '-', 2)::int n,"
               " lag(split_part(event ->> 'id', '-', 2)::int) OVER (PARTITION BY"
               " session_id, split_part(event ->> 'id', '-', 1) ORDER BY created_at, id)"
               " AS before FROM {session_events}) t WHERE before > n"),
        0);
}

static void test_one_hot_session(void **state)
{
    (void)state;
    worker workers[THREADS];
    create_session("s-0");
    start(workers, THREADS, 1, EACH, NULL);
    assert_int_equal(join(workers, THREADS), THREADS * EACH);
    forget(workers, THREADS);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), THREADS * EACH);
    assert_int_equal(number("SELECT count(DISTINCT event ->> 'id') FROM {session_events}"),
                     THREADS * EACH);
    assert_int_equal(
        number("SELECT count(*) FROM {session_states}, jsonb_object_keys(state -> 'state')"),
        THREADS * EACH); /* no key is lost */
    assert_in_order();
    STELE_AUTO(stele_session) session = get_session("s-0", NULL);
    assert_int_equal(session->event_count, THREADS * EACH);
}

static void test_many_sessions(void **state)
{
    (void)state;
    enum { MANY = 10000, ROUND = MANY / THREADS + 1 };
    worker workers[THREADS];
    stele_session_key seen = key_of("s-0"); /* of the test before; it is another one now */
    assert_ok(stele_sessions_delete(store, &seen, &err));
    peer("INSERT INTO {session_states} (app_name, user_id, session_id, state)"
         " SELECT 'desk', 'u-1', 's-' || i, '{\"state\": {}}' FROM generate_series(0, 9999) i");
    start(workers, THREADS, MANY, ROUND, NULL);
    assert_int_equal(join(workers, THREADS), THREADS * ROUND);
    forget(workers, THREADS);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), THREADS * ROUND);
    assert_int_equal(number("SELECT count(DISTINCT event ->> 'id') FROM {session_events}"),
                     THREADS * ROUND);
    assert_int_equal(number("SELECT count(DISTINCT session_id) FROM {session_events}"), MANY);
    assert_int_equal(
        number("SELECT count(*) FROM {session_states}, jsonb_object_keys(state -> 'state')"),
        THREADS * ROUND);
    assert_in_order();
}

/* ---- a hot session in naive SQL -------------------------------------------------------------- */

/* The control: read, merge, write, without a lock. It does lose keys. */
static void *merge_naively(void *arg)
{
    const char *name = arg;
    for (int i = 0; i < 30; i++) {
        const char *old = answer("SELECT state -> 'state' FROM {session_states}");
        peer("SELECT pg_sleep(0.002); UPDATE {session_states} SET state = "
             "jsonb_build_object('state',"
             " '%s'::jsonb || '{\"%s-%d\": \"\"}')",
             old, name, i);
    }
    return NULL;
}

static void test_naive_merging_loses_keys(void **state)
{
    (void)state;
    pthread_t threads[4];
    char names[4][4];
    create_session("s-0");
    for (int i = 0; i < 4; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        assert_int_equal(pthread_create(&threads[i], NULL, merge_naively, names[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(number("SELECT count(*) FROM {session_states},"
                       " jsonb_object_keys(state -> 'state')") < 120);
}

/* ---- getting or creating ---------------------------------------------------------------------- */

typedef struct creator {
    pthread_t thread;
    pthread_barrier_t *barrier;
    int created;
    stele_status status;
} creator;

static void *get_or_create(void *arg)
{
    creator *c = arg;
    for (int i = 0; i < 10 && c->status == STELE_OK; i++) {
        char id[16];
        bool created = false;
        stele_error e;
        STELE_AUTO(stele_session) session = NULL;
        snprintf(id, sizeof id, "race-%d", i);
        stele_session_key key = key_of(id);
        (void)pthread_barrier_wait(c->barrier);
        c->status =
            stele_sessions_get_or_create(store, &key, NULL, 0, NULL, &session, &created, &e);
        c->created += created;
    }
    return NULL;
}

static void test_one_creates(void **state)
{
    (void)state;
    creator creators[8] = {{0}};
    pthread_barrier_t barrier;
    int created = 0;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, 8), 0);
    for (int i = 0; i < 8; i++) {
        creators[i].barrier = &barrier;
        assert_int_equal(pthread_create(&creators[i].thread, NULL, get_or_create, &creators[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(creators[i].thread, NULL), 0);
        assert_int_equal(creators[i].status, STELE_OK);
        created += creators[i].created;
    }
    assert_int_equal(created, 10);
    assert_int_equal(number("SELECT count(*) FROM {session_states}"), 10);
    (void)pthread_barrier_destroy(&barrier);
}

/* ---- states of applications, keys in any order ------------------------------------------------ */

static void *put_states(void *arg)
{
    worker *w = arg;
    stele_error e;
    for (int i = 0; i < w->count; i++) {
        char names[10][8];
        stele_session_value values[10];
        for (int k = 0; k < 10; k++) {
            snprintf(names[k], sizeof names[k], "k-%d", (k * (w->number % 2 == 0 ? 1 : 9)) % 10);
            values[k] = value_of(names[k], "x");
        }
        w->acknowledged +=
            stele_sessions_update_app_state(store, text_of("desk"), values, 10, &e) == STELE_OK;
    }
    return NULL;
}

static void test_states_do_not_deadlock(void **state)
{
    (void)state;
    worker workers[8] = {{0}};
    for (int i = 0; i < 8; i++) {
        workers[i].number = i;
        workers[i].count = 40;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, put_states, &workers[i]), 0);
    }
    assert_int_equal(join(workers, 8), 8 * 40);
    assert_int_equal(number("SELECT deadlocks FROM pg_stat_database WHERE datname ="
                            " current_database()"),
                     0);
}

/* ---- killed backends ------------------------------------------------------------------------- */

static void test_acknowledged_is_stored(void **state)
{
    (void)state;
    enum { COUNT = 8, MOST = 3000 };
    worker workers[THREADS];
    atomic_bool stop = false;
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof id, "s-%d", i);
        create_session(id);
    }
    start(workers, COUNT, 20, MOST, &stop);
    for (int i = 0; i < 20; i++)
        peer("SELECT pg_sleep(0.1); SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
             " WHERE datname = current_database() AND pid <> pg_backend_pid()");
    atomic_store(&stop, true);
    uint64_t acknowledged = join(workers, COUNT);
    assert_true(acknowledged > 0);
    char *ids = malloc(16 * COUNT * MOST);
    assert_non_null(ids);
    size_t len = 0;
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < MOST; j++)
            if (workers[i].acks[j])
                len += (size_t)snprintf(ids + len, 16, "%s%d-%d", len > 0 ? "," : "", i, j);
    forget(workers, COUNT);
    assert_int_equal(number("SELECT count(*) FROM unnest(string_to_array('%s', ',')) a WHERE NOT"
                            " EXISTS (SELECT FROM {session_events} WHERE event ->> 'id' = a)",
                            ids),
                     0);
    assert_int_equal(number("SELECT count(*) - count(DISTINCT event ->> 'id')"
                            " FROM {session_events}"),
                     0); /* none twice */
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED(test_one_hot_session),          STORED(test_many_sessions),
        STORED(test_naive_merging_loses_keys), STORED(test_one_creates),
        STORED(test_states_do_not_deadlock),   STORED(test_acknowledged_is_stored),
    };
    dbtest_require_server();
    return RUN_STORED(tests);
}
