/*
 * Many writers, few transactions: events of 1.1 KB put one by one, each as a unit of its own, and
 * acknowledged when they are durable. `--connections` is the number of lanes.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "floor.h"
#include "workload.h"

typedef struct writer {
    char session[16];
    uint64_t next;
    uint64_t put;
    uint64_t done;   /* atomic */
    uint64_t wanted; /* who waits is told when so many are; atomic */
    pthread_mutex_t lock;
    pthread_cond_t reached;
    int thread;
} writer;

static stele_db *db;
static stele_persist *persist;

static void empty(const bench_run *run)
{
    PGconn *pg = bench_connect(run);
    PGresult *result = PQexec(pg, BULK_EMPTY);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die(BULK_EMPTY, PQerrorMessage(pg));
    PQclear(result);
    PQfinish(pg);
}

static void setup(const bench_run *run)
{
    stele_error err;
    stele_persist_options options = STELE_PERSIST_OPTIONS_INIT;
    empty(run);
    options.lanes = (uint32_t)run->connections;
    options.max_items = 2000;
    db = bench_open_db(run, run->connections);
    bench_check(stele_persist_open(db, &options, &persist, &err), "stele_persist_open", &err);
}

static void teardown(void)
{
    stele_error err;
    stele_commit_stats stats;
    stele_persist_stats(persist, &stats);
    if (stats.stored != stats.put)
        bench_die("put", "not all was stored");
    bench_check(stele_persist_close(persist, 10000, NULL, NULL, &err), "stele_persist_close", &err);
    stele_db_close(db);
}

static void *open_writer(const bench_run *run, int thread)
{
    writer *w = bench_alloc(sizeof *w);
    (void)run;
    w->thread = thread;
    if (pthread_mutex_init(&w->lock, NULL) != 0 || pthread_cond_init(&w->reached, NULL) != 0)
        bench_die("threads", "no mutex");
    return w;
}

/* Each thread has keys of its own, enough for all lanes to have work. */
static size_t next_key(writer *w, char *key)
{
    uint64_t n = w->next++ % GROUP_KEYS;
    key[0] = (char)('A' + w->thread / 26);
    key[1] = (char)('A' + w->thread % 26);
    key[2] = (char)('a' + n / 26);
    key[3] = (char)('a' + n % 26);
    return 4;
}

static stele_unit *new_unit(void)
{
    stele_error err;
    stele_unit *unit = NULL;
    bench_check(stele_unit_open(&unit, &err), "stele_unit_open", &err);
    return unit;
}

static void add_event(stele_unit *unit, stele_str session)
{
    stele_error err;
    const session_events_input event = {
        .app_name = stele_text_of((stele_str){WORKLOAD_APP, sizeof WORKLOAD_APP - 1}),
        .user_id = stele_text_of((stele_str){"writer", 6}),
        .session_id = stele_text_of(session),
        .event = stele_text_of((stele_str){workload_event, workload_event_len}),
    };
    bench_check(session_events_insert_queue(stele_unit_pipeline(unit), &event, NULL, &err),
                "insert", &err);
}

/* The state of a key's own session: units that write the same rows have the same key. */
static void add_state(stele_unit *unit, const writer *w)
{
    stele_error err;
    const session_states_patch patch = {.state = stele_text_n_of((stele_str){"{\"turn\": 1}", 11})};
    bench_check(session_states_update_queue(stele_unit_pipeline(unit),
                                            (int64_t)(w->thread * GROUP_KEYS) +
                                                (int64_t)(w->next % GROUP_KEYS) + 1,
                                            &patch, NULL, NULL, &err),
                "update", &err);
}

static void note_done(stele_status status, const stele_error *err, const uint64_t *affected,
                      size_t count, void *user)
{
    writer *w = user;
    (void)affected;
    (void)count;
    bench_check(status, "put", err);
    uint64_t done = __atomic_add_fetch(&w->done, 1, __ATOMIC_SEQ_CST);
    if (done != __atomic_load_n(&w->wanted, __ATOMIC_SEQ_CST))
        return;
    (void)pthread_mutex_lock(&w->lock);
    (void)pthread_cond_signal(&w->reached);
    (void)pthread_mutex_unlock(&w->lock);
}

static void put(writer *w, stele_unit *unit, stele_str key)
{
    stele_error err;
    stele_put_options how = STELE_PUT_OPTIONS_INIT;
    how.on_done = note_done;
    how.user = w;
    w->put++;
    bench_check(stele_persist_put(persist, key.data, key.len, &unit, &how, NULL, &err), "put",
                &err);
}

/* Waits until all that this writer has put is stored. */
static void wait_for_mine(writer *w)
{
    __atomic_store_n(&w->wanted, w->put, __ATOMIC_SEQ_CST);
    (void)pthread_mutex_lock(&w->lock);
    while (__atomic_load_n(&w->done, __ATOMIC_SEQ_CST) < w->put)
        (void)pthread_cond_wait(&w->reached, &w->lock);
    (void)pthread_mutex_unlock(&w->lock);
}

/* GROUP_ROWS events, and all of them stored. */
static void work_events(void *state, long count)
{
    writer *w = state;
    for (long i = 0; i < count; i++) {
        for (int row = 0; row < GROUP_ROWS; row++) {
            char key[4];
            stele_str session = {key, next_key(w, key)};
            stele_unit *unit = new_unit();
            add_event(unit, session);
            put(w, unit, session);
        }
        wait_for_mine(w);
    }
}

/* A state and an event in each unit. */
static void work_appends(void *state, long count)
{
    writer *w = state;
    for (long i = 0; i < count; i++) {
        for (int row = 0; row < GROUP_ROWS; row++) {
            char key[4];
            stele_str session = {key, next_key(w, key)};
            stele_unit *unit = new_unit();
            add_state(unit, w);
            add_event(unit, session);
            put(w, unit, session);
        }
        wait_for_mine(w);
    }
}

/* One event, and wait until it is stored. */
static void work_wait(void *state, long count)
{
    writer *w = state;
    stele_error err;
    for (long i = 0; i < count; i++) {
        char key[4];
        stele_receipt *receipt = NULL;
        stele_str session = {key, next_key(w, key)};
        stele_unit *unit = new_unit();
        add_event(unit, session);
        bench_check(stele_persist_put(persist, key, session.len, &unit, NULL, &receipt, &err),
                    "put", &err);
        bench_check(stele_receipt_wait(receipt, 0, &err), "receipt", &err);
        stele_receipt_free(receipt);
    }
}

int main(int argc, char **argv)
{
    bench_case cases[] = {
        {.name = "stele", .work = work_events},
        {.name = "stele-appends", .work = work_appends},
        {.name = "stele-wait", .work = work_wait},
        floor_group_unnest,
        floor_group_pipeline,
        floor_group_autocommit,
    };
    for (int i = 0; i < 3; i++) {
        cases[i].setup = setup;
        cases[i].open = open_writer;
        cases[i].close = free;
        cases[i].teardown = teardown;
    }
    for (int i = 3; i < 6; i++)
        cases[i].setup = empty;
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
