/*
 * The floors of tenants: a hand-written pool, and the two simple ways to treat statements.
 *
 * "Always" does what drivers with a statement cache do, at its best: what it prepares, runs and gives
 * up on the way leaves in one flush.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "floor_pool.h"
#include "tenants.h"
#include "workload.h"

#define CACHE_SIZE 256
#define NONE UINT16_MAX

/* A connection's statements by age: a ring through `newer` and `older`, TENANTS being its head. */
typedef struct cache {
    int count;
    bool has[TENANTS];
    uint16_t newer[TENANTS + 1];
    uint16_t older[TENANTS + 1];
} cache;

static floor_pool pool;
static char *sqls[TENANTS];

/* The statement as Stele has it for the first tenant, with the others' names in its place. */
static void make_statements(const bench_run *run)
{
    char first[32];
    (void)snprintf(first, sizeof first, TENANT_FORMAT, 0);
    char *sql = bench_learn_sql(run, first, workload_use_get);
    for (int i = 0; i < TENANTS; i++) {
        char name[32];
        size_t len = (size_t)snprintf(name, sizeof name, TENANT_FORMAT, i);
        sqls[i] = strdup(sql);
        if (sqls[i] == NULL)
            bench_die("strdup", "out of memory");
        for (char *at = strstr(sqls[i], first); at != NULL; at = strstr(at + 1, first))
            memcpy(at, name, len);
    }
    free(sql);
}

static void setup_never(const bench_run *run)
{
    tenants_choose(run);
    make_statements(run);
    floor_pool_open(&pool, run);
    for (int i = 0; i < pool.size; i++)
        tenants_visit(pool.slots[i].pg);
}

static void setup_always(const bench_run *run)
{
    setup_never(run);
    for (int i = 0; i < pool.size; i++) {
        cache *c = bench_alloc(sizeof *c);
        c->newer[TENANTS] = TENANTS;
        c->older[TENANTS] = TENANTS;
        pool.slots[i].extra = c;
    }
}

static void teardown(void)
{
    for (int i = 0; i < pool.size; i++)
        free(pool.slots[i].extra);
    floor_pool_close(&pool);
    for (int i = 0; i < TENANTS; i++)
        free(sqls[i]);
    tenants_forget();
}

static void inspect(bench_backend *backends)
{
    for (int i = 0; i < pool.size; i++)
        bench_inspect(pool.slots[i].pg, backends);
}

static const char *const values[] = {WORKLOAD_APP, "user-000", "session-00000"};
static const int lengths[] = {sizeof WORKLOAD_APP - 1, 8, 13};
static const int formats[] = {1, 1, 1};

static void check(const PGconn *pg, PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        bench_die("get", PQerrorMessage(pg));
    workload_sink += (uint64_t)PQgetlength(result, 0, 4);
    PQclear(result);
}

/* ---- never ---- */

static void work_never(void *state, long count)
{
    for (long i = 0; i < count; i++) {
        const char *sql = sqls[tenants_next(state)];
        floor_slot *slot = floor_pool_take_checked(&pool);
        check(slot->pg, PQexecParams(slot->pg, sql, 3, NULL, values, lengths, formats, 1));
        floor_pool_give_checked(&pool, slot);
    }
}

/* ---- always ---- */

static void unlink_tenant(cache *c, uint16_t tenant)
{
    c->newer[c->older[tenant]] = c->newer[tenant];
    c->older[c->newer[tenant]] = c->older[tenant];
}

static void link_newest(cache *c, uint16_t tenant)
{
    c->older[tenant] = c->older[TENANTS];
    c->newer[tenant] = TENANTS;
    c->newer[c->older[TENANTS]] = tenant;
    c->older[TENANTS] = tenant;
}

static void require(int fine, const PGconn *pg)
{
    if (!fine)
        bench_die("get", PQerrorMessage(pg));
}

/* Everything in one flush: deallocate, prepare, execute. */
static void send_new(PGconn *pg, const char *name, const char *sql, const char *deallocate)
{
    require(PQenterPipelineMode(pg), pg);
    if (deallocate != NULL)
        require(PQsendQueryParams(pg, deallocate, 0, NULL, NULL, NULL, NULL, 0), pg);
    require(PQsendPrepare(pg, name, sql, 3, NULL), pg);
    require(PQsendQueryPrepared(pg, name, 3, values, lengths, formats, 1), pg);
    require(PQpipelineSync(pg), pg);
}

static void read_new(PGconn *pg)
{
    for (;;) {
        PGresult *result = PQgetResult(pg);
        ExecStatusType status = PQresultStatus(result); /* of NULL: PGRES_FATAL_ERROR */
        if (result == NULL)
            continue; /* between two statements */
        if (status == PGRES_TUPLES_OK) {
            check(pg, result);
            continue;
        }
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC)
            break;
        require(status == PGRES_COMMAND_OK, pg);
    }
    require(PQexitPipelineMode(pg), pg);
}

static void get_always(floor_slot *slot, uint16_t tenant)
{
    cache *c = slot->extra;
    char name[16];
    char deallocate[32];
    (void)snprintf(name, sizeof name, "get_%d", tenant);
    if (c->has[tenant]) {
        unlink_tenant(c, tenant);
        link_newest(c, tenant);
        check(slot->pg, PQexecPrepared(slot->pg, name, 3, values, lengths, formats, 1));
        return;
    }
    uint16_t victim = NONE;
    if (c->count == CACHE_SIZE) {
        victim = c->newer[TENANTS];
        unlink_tenant(c, victim);
        c->has[victim] = false;
        c->count--;
        (void)snprintf(deallocate, sizeof deallocate, "DEALLOCATE get_%d", victim);
    }
    send_new(slot->pg, name, sqls[tenant], victim != NONE ? deallocate : NULL);
    read_new(slot->pg);
    link_newest(c, tenant);
    c->has[tenant] = true;
    c->count++;
}

static void work_always(void *state, long count)
{
    for (long i = 0; i < count; i++) {
        uint16_t tenant = tenants_next(state);
        floor_slot *slot = floor_pool_take_checked(&pool);
        get_always(slot, tenant);
        floor_pool_give_checked(&pool, slot);
    }
}

const bench_case floor_tenants_always = {.name = "always",
                                         .setup = setup_always,
                                         .open = tenants_start,
                                         .work = work_always,
                                         .close = free,
                                         .inspect = inspect,
                                         .teardown = teardown};
const bench_case floor_tenants_never = {.name = "never",
                                        .setup = setup_never,
                                        .open = tenants_start,
                                        .work = work_never,
                                        .close = free,
                                        .inspect = inspect,
                                        .teardown = teardown};
