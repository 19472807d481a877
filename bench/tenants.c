/* Point reads of 1,000 tenants, each with tables of its own, through one pool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tenants.h"
#include "workload.h"

/* ---- who is next ---- */

static uint16_t *choices;

/* The k-th tenant comes with a weight of 1/k: the first one in 7.5, the last in 7,500. */
static void choose_skewed(uint64_t *random)
{
    static double reach[TENANTS];
    double sum = 0;
    for (int i = 0; i < TENANTS; i++)
        reach[i] = sum += 1.0 / (i + 1);
    for (size_t i = 0; i < TENANT_CHOICES; i++) {
        double at = bench_random(random) / 4294967296.0 * sum;
        uint16_t low = 0;
        uint16_t high = TENANTS - 1;
        while (low < high) {
            uint16_t middle = (uint16_t)((low + high) / 2);
            if (reach[middle] <= at)
                low = (uint16_t)(middle + 1);
            else
                high = middle;
        }
        choices[i] = low;
    }
}

void tenants_choose(const bench_run *run)
{
    uint64_t random = UINT64_C(0x2545f4914f6cdd1d);
    choices = bench_alloc(TENANT_CHOICES * sizeof *choices);
    if (run->skewed)
        choose_skewed(&random);
    else
        for (size_t i = 0; i < TENANT_CHOICES; i++)
            choices[i] = (uint16_t)(bench_random(&random) % TENANTS);
}

void tenants_forget(void)
{
    free(choices);
}

void tenants_visit(PGconn *pg)
{
    PGresult *result =
        PQexec(pg, "DO $$ BEGIN FOR n IN 0..999 LOOP EXECUTE format("
                   "'SELECT s.* FROM tenant_%s.session_states AS s WHERE s.session_id = ''none''',"
                   "lpad(n::text, 4, '0')); END LOOP; END $$");
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        bench_die("visit", PQerrorMessage(pg));
    PQclear(result);
}

void *tenants_start(const bench_run *run, int thread)
{
    size_t *at = bench_alloc(sizeof *at);
    *at = TENANT_CHOICES / (size_t)run->threads * (size_t)thread;
    return at;
}

uint16_t tenants_next(void *state)
{
    size_t *at = state;
    uint16_t tenant = choices[*at];
    *at = *at + 1 < TENANT_CHOICES ? *at + 1 : 0;
    return tenant;
}

/* ---- Stele ---- */

static stele_db *db;
static stele_db *tenants[TENANTS];
static int connections;

/* Something for each connection of the pool, all being taken at once. */
static void with_each(void (*what)(PGconn *pg, void *arg), void *arg)
{
    stele_conn **conns = bench_alloc((size_t)connections * sizeof(stele_conn *));
    for (int i = 0; i < connections; i++) {
        conns[i] = bench_acquire(db);
        what(bench_pg_of(conns[i]), arg);
    }
    for (int i = 0; i < connections; i++)
        stele_conn_release(conns[i]);
    free(conns);
}

static void visit(PGconn *pg, void *arg)
{
    (void)arg;
    tenants_visit(pg);
}

static void setup_stele(const bench_run *run)
{
    stele_error err;
    tenants_choose(run);
    connections = run->connections;
    db = bench_open_db(run, connections);
    for (int i = 0; i < TENANTS; i++) {
        char schema[32];
        (void)snprintf(schema, sizeof schema, TENANT_FORMAT, i);
        const stele_names names = {.schema = schema};
        bench_check(stele_db_derive(db, &names, &tenants[i], &err), "derive", &err);
    }
    with_each(visit, NULL);
}

static void work_stele(void *state, long count)
{
    stele_error err;
    for (long i = 0; i < count; i++) {
        stele_conn *conn = NULL;
        bench_check(stele_db_acquire(tenants[tenants_next(state)], &conn, &err), "acquire", &err);
        workload_use_get(conn);
        stele_conn_release(conn);
    }
}

static void inspect(PGconn *pg, void *arg)
{
    bench_inspect(pg, arg);
}

static void inspect_stele(bench_backend *backends)
{
    with_each(inspect, backends);
}

static void teardown_stele(void)
{
    for (int i = 0; i < TENANTS; i++)
        stele_db_close(tenants[i]);
    stele_db_close(db);
    tenants_forget();
}

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        {.name = "stele",
         .setup = setup_stele,
         .open = tenants_start,
         .work = work_stele,
         .close = free,
         .inspect = inspect_stele,
         .teardown = teardown_stele},
        floor_tenants_always,
        floor_tenants_never,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
