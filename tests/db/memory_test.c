/*
 * Running out of memory at every allocation of every path, libpq's included: an error, never a wrong
 * success, a leak, a crash or a wait without end. And how many allocations a call makes.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>

#include "conn_internal.h"
#include "conninfo.h"
#include "faultmalloc.h"
#include "link.h"
#include "stele/gen/flow.h"
#include "things.h"

static stele__names names = {.id = 1};

static stele_status no_relink(stele_conn *conn, stele__deadline deadline, stele_error *err)
{
    (void)conn;
    (void)deadline;
    stele_error_clear(err);
    err->status = STELE_E_LOST;
    return STELE_E_LOST;
}

static stele_status no_cancel(stele_conn *conn, stele_error *err)
{
    return no_relink(conn, 0, err);
}

static const stele__conn_ops ops = {.relink = no_relink, .cancel = no_cancel};

static stele__conninfo server;

static int find_server(void **state)
{
    stele_error err;
    if (setup_database(state) != 0)
        return -1;
    const stele__conninfo_input input = {.dsn = dsn};
    assert_ok(stele__conninfo_build(&input, &server, &err), &err);
    return 0;
}

static int forget_server(void **state)
{
    stele__conninfo_release(&server);
    return teardown_database(state);
}

/* A lease without a pool, so that all happens in this thread. */
static stele_status open_conn(stele_conn *conn, stele_error *err)
{
    const stele__link_params params = {
        .keys = server.keys, .values = server.values, .statement_cache = 4};
    memset(conn, 0, sizeof *conn);
    conn->names = &names;
    conn->ops = &ops;
    conn->limits.deadline = STELE__NEVER;
    conn->limits.timeout_ms = 30000;
    return stele__link_open(&params, stele__deadline_in(60000), &conn->link, err);
}

/* ---- the paths ---- */

typedef struct path {
    const char *name;
    int warm;   /* times it runs before memory gets short */
    bool opens; /* the path is the opening itself */
    stele_status (*run)(stele_conn *conn, stele_error *err);
    bool stores;
} path;

static stele_status run_open(stele_conn *conn, stele_error *err)
{
    (void)conn;
    (void)err;
    return STELE_OK;
}

static stele_status run_find(stele_conn *conn, stele_error *err)
{
    return find_thing(conn, 1, err);
}

static stele_status run_insert(stele_conn *conn, stele_error *err)
{
    thing_row *row = NULL;
    const thing_input input = {.id = stele_i64_v(2),
                               .name = stele_text_v("two"),
                               .doc = stele_text_n_v("{\"a\": [1, 2, 3]}")};
    stele_status st = insert_returning(conn, &input, &row, err);
    if (st != STELE_OK)
        return st;
    void *copy = NULL;
    if (row->id != 2 || strcmp(row->name.data, "two") != 0)
        st = STELE_E_DECODE;
    else if (stele_gen_dup(&thing_find, row, &copy, NULL) == STELE_OK)
        stele_gen_free(copy); /* that it fails says nothing about the insert */
    stele_gen_free(row);
    return st;
}

static const stele_gen_list list = {.stmt = &thing_list, .resume_arg = 1, .limit_arg = 0};

static stele_status run_page(stele_conn *conn, stele_error *err)
{
    const void *args[2] = {NULL, NULL};
    stele_page *page = NULL;
    stele_status st = stele_gen_page(conn, &list, args, 0, 10, &page, err);
    if (st == STELE_OK && page->count < 1)
        st = STELE_E_DECODE;
    stele_page_free(page);
    return st;
}

static stele_status insert_two(stele_conn *conn, void *user, stele_error *err)
{
    (void)user;
    stele_status st = insert_thing(conn, 2, "two", err);
    return st == STELE_OK ? find_thing(conn, 2, err) : st;
}

static stele_status run_transaction(stele_conn *conn, stele_error *err)
{
    return stele_tx_run(conn, NULL, insert_two, NULL, err);
}

static stele_status run_failure(stele_conn *conn, stele_error *err)
{
    stele_error local;
    stele_status st = insert_thing(conn, 1, "one", &local);
    if (st == STELE_E_UNIQUE)
        return strcmp(local.constraint, "things_pkey") == 0 ? STELE_OK : STELE_E_DECODE;
    *err = local;
    return st == STELE_OK ? STELE_E_DECODE : st;
}

static stele_status run_bad_json(stele_conn *conn, stele_error *err)
{
    stele_error local;
    const thing_input input = {
        .id = stele_i64_v(3), .name = stele_text_v("x"), .doc = stele_text_n_v("{")};
    stele_status st = insert_input(conn, &input, &local);
    if (st == STELE_E_VALUE)
        return STELE_OK;
    *err = local;
    return st == STELE_OK ? STELE_E_DECODE : st;
}

static stele_status run_exec(stele_conn *conn, stele_error *err)
{
    const stele_str params[] = {stele_s("2"), stele_s("two")};
    return stele_conn_exec(conn, "INSERT INTO things (id, name) VALUES ($1, $2)", params, 2, NULL,
                           err);
}

/* An insert, finds of one statement (the second makes it worth preparing), and an insert again. */
static stele_status run_pipeline(stele_conn *conn, stele_error *err)
{
    stele_pipeline *p = NULL;
    thing_row *rows[3] = {NULL, NULL, NULL};
    const thing_input input = {.id = stele_i64_v(2), .name = stele_text_v("two")};
    const void *inputs[] = {&input};
    const stele_gen_slot none = {.kind = STELE_GEN_SLOT_EXEC};
    stele_status st = stele_pipeline_open(conn, NULL, &p, err);
    if (st == STELE_OK)
        st = stele_gen_queue(p, &thing_insert, inputs, 0, &none, err);
    for (int64_t id = 1; id <= 3 && st == STELE_OK; id++) {
        const void *args[] = {&id};
        const stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROW, .out = &rows[id - 1]};
        st = stele_gen_queue(p, &thing_find, args, 0, &slot, err);
    }
    if (st == STELE_OK)
        st = stele_pipeline_sync(p, err);
    if (st == STELE_OK && (rows[0] == NULL || rows[1]->id != 2 || rows[2] != NULL))
        st = STELE_E_DECODE;
    for (int i = 0; i < 3; i++)
        stele_gen_free(rows[i]);
    stele_pipeline_close(p);
    return st;
}

static stele_status run_stream(stele_conn *conn, stele_error *err)
{
    int64_t limit = 10;
    const void *args[] = {&limit};
    void *iter = NULL;
    const void *row;
    int count = 0;
    stele_status st = stele_gen_iter_open(conn, &thing_list, args, 0, &iter, err);
    while (st == STELE_OK) {
        st = stele_gen_iter_next(iter, &row, err);
        count += st == STELE_OK;
    }
    stele_gen_iter_close(iter);
    if (st != STELE_DONE)
        return st;
    return count > 0 ? STELE_OK : STELE_E_DECODE;
}

static const path paths[] = {
    {"open", 0, true, run_open, false},
    {"find, unnamed", 0, false, run_find, false},
    {"find, prepare rides along", 1, false, run_find, false},
    {"find, prepared", 2, false, run_find, false},
    {"insert", 0, false, run_insert, true},
    {"page", 0, false, run_page, false},
    {"transaction", 0, false, run_transaction, true},
    {"failure", 0, false, run_failure, false},
    {"bad json", 0, false, run_bad_json, false},
    {"exec", 0, false, run_exec, true},
    {"pipeline", 0, false, run_pipeline, true},
    {"stream, unnamed", 0, false, run_stream, false},
    {"stream, prepare rides along", 1, false, run_stream, false},
};

static bool is_stored(void)
{
    char *value = dbtest_value(dsn, "SELECT count(*) FROM things WHERE id = 2");
    bool stored = strcmp(value, "1") == 0;
    free(value);
    return stored;
}

static void judge(const path *p, long n, stele_status st, const stele_error *err, bool failed)
{
    if (st == STELE_OK) {
        if (p->stores && !is_stored())
            fail_msg("%s, allocation %ld: success, and nothing is stored", p->name, n);
        return;
    }
    /* The server answers at once: a time-out would mean waiting for what cannot be taken in. */
    if (!failed || st == STELE_E_DECODE || st == STELE_E_TIMEOUT || err->status != st ||
        strchr(err->message, '\n') != NULL || strstr(err->message, "in time") != NULL)
        fail_msg("%s, allocation %ld: %s %s", p->name, n, stele_status_name(st), err->message);
    if (p->stores && !err->outcome_unknown && is_stored())
        fail_msg("%s, allocation %ld: stored, and said not to be", p->name, n);
}

/* Runs a path with the nth allocation failing; false when it makes fewer. */
static bool try_path(const path *p, long n, void (*arm)(long successes))
{
    static const char reset[] = "TRUNCATE things; INSERT INTO things (id, name) VALUES (1, 'one')";
    stele_conn conn;
    stele_error err;
    stele_error_clear(&err);
    if (p->stores)
        dbtest_exec(dsn, reset);
    long live = fault_live();
    if (p->opens)
        arm(n);
    stele_status st = open_conn(&conn, &err);
    for (int i = 0; i < p->warm && st == STELE_OK; i++)
        st = p->run(&conn, &err);
    if (st == STELE_OK && !p->opens)
        arm(n);
    if (st == STELE_OK)
        st = p->run(&conn, &err);
    bool failed = fault_disarm();
    judge(p, n, st, &err, failed);
    if (!p->opens || st == STELE_OK)
        stele__link_close(conn.link);
    if (fault_live() != live)
        fail_msg("%s, allocation %ld: %ld blocks leaked", p->name, n, fault_live() - live);
    return failed;
}

static void exhaust_paths(void (*arm)(long successes))
{
    create_things();
    dbtest_exec(dsn, "INSERT INTO things (id, name) VALUES (1, 'one')");
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        (void)try_path(&paths[i], 100000, arm); /* what libraries keep for good, they take here */
        long n = 0;
        while (try_path(&paths[i], n, arm))
            n++;
        print_message("# %s: %ld allocations\n", paths[i].name, n);
        if (fault_reaches_all())
            assert_true(n > 1);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    exhaust_paths(fault_arm);
}

static void memory_may_end_for_good(void **state)
{
    (void)state;
    exhaust_paths(fault_arm_for_good);
}

/* ---- how many there are ---- */

enum { CALLS = 100 };

static PGresult *plain_find(PGconn *pg, int64_t id)
{
    char wire[8];
    for (int i = 0; i < 8; i++)
        wire[i] = (char)((uint64_t)id >> (56 - 8 * i));
    const char *values[] = {wire};
    const int lengths[] = {8};
    const int formats[] = {1};
    return PQexecPrepared(pg, "f", 1, values, lengths, formats, 1);
}

static long plain_allocations(int64_t id)
{
    PGconn *pg = PQconnectdb(dsn);
    PQclear(PQprepare(pg, "f",
                      "SELECT t.id, t.name, t.n, t.doc, t.at FROM things AS t WHERE t.id = $1", 0,
                      NULL));
    for (int i = 0; i < 10; i++)
        PQclear(plain_find(pg, id));
    long before = fault_count();
    for (int i = 0; i < CALLS; i++)
        PQclear(plain_find(pg, id));
    long count = fault_count() - before;
    PQfinish(pg);
    return count;
}

static void a_call_allocates_no_more_than_libpq(void **state)
{
    (void)state;
    stele_conn conn;
    stele_error err;
    create_things();
    dbtest_exec(dsn,
                "INSERT INTO things (id, name, doc) VALUES (1, 'one', '{\"a\": \"some text\"}')");
    assert_ok(open_conn(&conn, &err), &err);
    for (int i = 0; i < 10; i++)
        assert_ok(find_thing(&conn, 1, &err), &err);
    long before = fault_count();
    for (int i = 0; i < CALLS; i++)
        assert_ok(find_thing(&conn, 1, &err), &err);
    long ours = fault_count() - before;
    long plain = plain_allocations(1);
    print_message("# allocations of %d calls: %ld, of bare libpq: %ld\n", (int)CALLS, ours, plain);
    assert_true(plain > 0);
    assert_true(ours <= plain);
    stele__link_close(conn.link);
}

int main(void)
{
    fault_install();
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(memory_may_end_for_good),
        cmocka_unit_test(a_call_allocates_no_more_than_libpq),
    };
    /* Under a sanitizer libpq's allocations cannot be counted. */
    size_t count = sizeof tests / sizeof tests[0] - (fault_reaches_all() ? 0 : 1);
    return _cmocka_run_group_tests("memory", tests, count, find_server, forget_server);
}
