/*
 * Taking a connection and giving it back: with nothing in between, where only the pool's own cost
 * shows, and with a point read in between, as applications do.
 */
#include <stdlib.h>

#include "floor_pool.h"
#include "workload.h"

static stele_db *db;
static floor_pool hand_made;

static void setup_stele(const bench_run *run)
{
    /* All connections at once, so that none is made while the clock runs. */
    db = bench_open_db(run, run->connections);
    stele_conn **conns = bench_alloc((size_t)run->connections * sizeof(stele_conn *));
    for (int i = 0; i < run->connections; i++)
        conns[i] = bench_acquire(db);
    for (int i = 0; i < run->connections; i++)
        stele_conn_release(conns[i]);
    free(conns);
}

static void teardown_stele(void)
{
    stele_db_close(db);
}

static void setup_floor(const bench_run *run)
{
    floor_pool_open(&hand_made, run);
}

static void setup_floor_get(const bench_run *run)
{
    floor_pool_open(&hand_made, run);
    char *sql = bench_learn_sql(run, NULL, workload_use_get);
    for (int i = 0; i < hand_made.size; i++)
        bench_prepare(hand_made.slots[i].pg, "get", sql);
    free(sql);
}

static void teardown_floor(void)
{
    floor_pool_close(&hand_made);
}

/* ---- nothing in between ---- */

static void work_stele(void *state, long count)
{
    (void)state;
    stele_error err;
    for (long i = 0; i < count; i++) {
        stele_conn *conn = NULL;
        bench_check(stele_db_acquire(db, &conn, &err), "acquire", &err);
        stele_conn_release(conn);
    }
}

static void work_plain(void *state, long count)
{
    (void)state;
    for (long i = 0; i < count; i++)
        floor_pool_give(&hand_made, floor_pool_take(&hand_made));
}

static void work_checked(void *state, long count)
{
    (void)state;
    for (long i = 0; i < count; i++)
        floor_pool_give_checked(&hand_made, floor_pool_take_checked(&hand_made));
}

/* ---- a point read in between ---- */

static void work_stele_get(void *state, long count)
{
    (void)state;
    stele_error err;
    for (long i = 0; i < count; i++) {
        stele_conn *conn = NULL;
        bench_check(stele_db_acquire(db, &conn, &err), "acquire", &err);
        workload_use_get(conn);
        stele_conn_release(conn);
    }
}

static void get(PGconn *pg)
{
    static const char *const values[] = {WORKLOAD_APP, "user-000", "session-00000"};
    static const int lengths[] = {sizeof WORKLOAD_APP - 1, 8, 13};
    static const int formats[] = {1, 1, 1};
    PGresult *result = PQexecPrepared(pg, "get", 3, values, lengths, formats, 1);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        bench_die("get", PQerrorMessage(pg));
    PQclear(result);
}

static void work_plain_get(void *state, long count)
{
    (void)state;
    for (long i = 0; i < count; i++) {
        floor_slot *slot = floor_pool_take(&hand_made);
        get(slot->pg);
        floor_pool_give(&hand_made, slot);
    }
}

static void work_checked_get(void *state, long count)
{
    (void)state;
    for (long i = 0; i < count; i++) {
        floor_slot *slot = floor_pool_take_checked(&hand_made);
        get(slot->pg);
        floor_pool_give_checked(&hand_made, slot);
    }
}

#define FLOOR_CASE(case_name, begin, way)                                                          \
    {                                                                                              \
        .name = case_name, .setup = begin, .work = way, .teardown = teardown_floor                 \
    }

int main(int argc, char **argv)
{
    static const bench_case cases[] = {
        {.name = "stele", .setup = setup_stele, .work = work_stele, .teardown = teardown_stele},
        {.name = "stele-get",
         .setup = setup_stele,
         .work = work_stele_get,
         .teardown = teardown_stele},
        FLOOR_CASE("plain", setup_floor, work_plain),
        FLOOR_CASE("checked", setup_floor, work_checked),
        FLOOR_CASE("plain-get", setup_floor_get, work_plain_get),
        FLOOR_CASE("checked-get", setup_floor_get, work_checked_get),
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
