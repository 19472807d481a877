/* Batches driven from an event loop: nothing waits but the loop itself. */
#define _GNU_SOURCE
#include <poll.h>

#include "stele/gen/flow.h"
#include "things.h"

enum { MANY = 20, EACH = 10 };

static stele_db *db;
static stele_conn *conn;
static stele_pipeline *p;
static stele_error err;

static int open_all(void **state)
{
    (void)state;
    create_things();
    db = open_db("async", MANY + 2);
    conn = acquire(db);
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.never_wait = true;
    assert_ok(stele_pipeline_open(conn, &options, &p, &err), &err);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    stele_pipeline_close(p);
    stele_conn_release(conn);
    stele_db_close(db);
    return 0;
}

static void queue(stele_pipeline *to, made *m, const char *sql, uint64_t *ret_count)
{
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC, .count = ret_count};
    make(m, "sql", sql, NULL, 0);
    assert_ok(stele_gen_queue(to, &m->stmt, NULL, 0, &slot, &err), &err);
}

static void queue_insert(int64_t id)
{
    thing_input input = {.id = stele_i64_v(id), .name = stele_text_v("x")};
    const void *args[] = {&input};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_EXEC};
    assert_ok(stele_gen_queue(p, &thing_insert, args, 0, &slot, &err), &err);
}

static struct pollfd wish(const stele_conn *c)
{
    int wants = stele_conn_wants(c);
    return (struct pollfd){.fd = wants != 0 ? stele_conn_fd(c) : -1,
                           .events = (short)((wants & STELE_WANTS_READ ? POLLIN : 0) |
                                             (wants & STELE_WANTS_WRITE ? POLLOUT : 0))};
}

/* Steps until it is finished; counts the steps that were not the last. */
static stele_status drive(int *ret_steps)
{
    stele_status st;
    *ret_steps = 0;
    while ((st = stele_conn_step(conn, &err)) == STELE_AGAIN) {
        struct pollfd fd = wish(conn);
        assert_true(fd.fd >= 0 && (fd.events & POLLIN));
        (void)poll(&fd, 1, stele_conn_wait_ms(conn));
        ++*ret_steps;
    }
    return st;
}

static void test_two_hundred_queries_on_one_thread(void **state)
{
    (void)state;
    static made sleeps[MANY][EACH];
    stele_conn *conns[MANY];
    stele_pipeline *batches[MANY];
    char waiting[200];
    uint64_t counts[MANY][EACH] = {{0}};
    bool open[MANY];
    int left = MANY;
    for (int i = 0; i < MANY; i++) {
        conns[i] = acquire(db);
        assert_ok(stele_pipeline_open(conns[i], NULL, &batches[i], &err), &err);
    }
    /* All of them stand before a lock: who waited for one would never come to start the next. */
    stele_conn *holder = acquire(db);
    run_sql(holder, "SELECT pg_advisory_lock(77)");
    for (int i = 0; i < MANY; i++) {
        for (int q = 0; q < EACH; q++)
            queue(batches[i], &sleeps[i][q], "SELECT pg_advisory_xact_lock_shared(77)",
                  &counts[i][q]);
        assert_ok(stele_pipeline_start(batches[i], &err), &err);
        open[i] = true;
    }
    (void)snprintf(waiting, sizeof waiting,
                   "SELECT count(*) = %d FROM pg_stat_activity WHERE wait_event = 'advisory'"
                   " AND datname = current_database()",
                   MANY);
    assert_true(dbtest_wait_until(dsn, waiting));
    run_sql(holder, "SELECT pg_advisory_unlock(77)");
    stele_conn_release(holder);
    while (left > 0) {
        struct pollfd fds[MANY];
        for (int i = 0; i < MANY; i++)
            fds[i] = open[i] ? wish(conns[i]) : (struct pollfd){.fd = -1};
        assert_true(poll(fds, MANY, 60000) > 0);
        for (int i = 0; i < MANY; i++) {
            if (fds[i].revents == 0)
                continue;
            stele_status st = stele_conn_step(conns[i], &err);
            if (st == STELE_AGAIN)
                continue;
            assert_ok(st, &err);
            open[i] = false;
            left--;
        }
    }
    for (int i = 0; i < MANY; i++) {
        for (int q = 0; q < EACH; q++)
            assert_int_equal(counts[i][q], 1);
        stele_pipeline_close(batches[i]);
        stele_conn_release(conns[i]);
    }
}

static void test_more_than_fits_in_flight(void **state)
{
    (void)state;
    int steps;
    for (int i = 0; i < 5000; i++)
        queue_insert(i);
    assert_int_equal(stele_conn_wants(conn), 0);
    assert_int_equal(stele_conn_step(conn, &err), STELE_E_MISUSE);
    assert_ok(stele_pipeline_start(p, &err), &err);
    assert_int_equal(find_thing(conn, 1, &err), STELE_E_MISUSE);
    assert_int_equal(stele_pipeline_start(p, &err), STELE_E_MISUSE);
    assert_int_equal(stele_pipeline_sync(p, &err), STELE_E_MISUSE);
    assert_ok(drive(&steps), &err);
    assert_true(steps > 1);
    assert_int_equal(count_things(), 5000);
    assert_int_equal(stele_conn_wants(conn), 0);
    assert_ok(find_thing(conn, 1, &err), &err);
}

static void test_values_that_do_not_fit_the_socket(void **state)
{
    (void)state;
    enum { SIZE = 20000000 };
    int steps;
    bool wrote = false;
    static const stele_gen_column columns[] = {{"echo", STELE_GEN_TEXT, false, 0, NULL}};
    static const stele_gen_param params[] = {
        {"text", STELE_GEN_TEXT, STELE_GEN_PLAIN, true, 0, 0, 0, NULL}};
    const stele_gen_part parts[] = {STELE_SQL("SELECT "), STELE_PARAM(0)};
    made echo;
    char *text = malloc(SIZE);
    stele_str *rows[2];
    assert_non_null(text);
    memset(text, 'a', SIZE);
    stele_str input = {text, SIZE};
    const void *args[] = {&input};
    make_read(&echo, "echo", "", columns, 1, sizeof(stele_str));
    echo.stmt.parts = parts;
    echo.stmt.part_count = 2;
    echo.stmt.params = params;
    echo.stmt.param_count = 1;
    echo.stmt.shape_from = 1;
    for (int i = 0; i < 2; i++) {
        stele_gen_slot slot = {.kind = STELE_GEN_SLOT_ROW, .out = &rows[i]};
        assert_ok(stele_gen_queue(p, &echo.stmt, args, 0, &slot, &err), &err);
    }
    assert_ok(stele_pipeline_start(p, &err), &err);
    wrote = (stele_conn_wants(conn) & STELE_WANTS_WRITE) != 0;
    assert_true(wrote);
    assert_ok(drive(&steps), &err);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rows[i]->len, SIZE);
        stele_gen_free(rows[i]);
    }
    free(text);
}

static void test_what_failed_is_told_by_the_last_step(void **state)
{
    (void)state;
    int steps;
    queue_insert(1);
    queue_insert(2);
    queue_insert(1);
    assert_ok(stele_pipeline_start(p, &err), &err);
    assert_int_equal(drive(&steps), STELE_E_UNIQUE);
    assert_int_equal(stele_pipeline_failed_entry(p), 2);
    assert_int_equal(count_things(), 0);
    assert_int_equal(stele_conn_step(conn, &err), STELE_E_MISUSE);
}

static void test_the_deadline_ends_it(void **state)
{
    (void)state;
    int steps;
    made sleep;
    stele_conn_set_deadline(conn, 5000);
    queue(p, &sleep, "SELECT pg_sleep(60)", NULL);
    sleep.stmt.properties = STELE_STMT_READ;
    assert_ok(stele_pipeline_start(p, &err), &err);
    assert_true(stele_conn_wait_ms(conn) <= 5000);
    uint64_t start = now_ms();
    assert_int_equal(drive(&steps), STELE_E_TIMEOUT);
    assert_true(now_ms() - start < SOON_MS);
    stele_conn_set_deadline(conn, 0);
    assert_string_equal(ask(conn, "SELECT 1"), "1");
}

static void test_stale_plans_are_made_anew_without_waiting(void **state)
{
    (void)state;
    int steps;
    for (int round = 0; round < 4; round++) {
        queue_insert(2 * round);
        queue_insert(2 * round + 1);
        assert_ok(stele_pipeline_start(p, &err), &err);
        assert_ok(drive(&steps), &err);
        run_sql(conn, round % 2 == 0 ? "DEALLOCATE ALL" : "DISCARD ALL");
    }
    assert_int_equal(count_things(), 8);
}

static void test_closing_what_is_under_way_gives_the_connection_up(void **state)
{
    (void)state;
    made sleep;
    queue_insert(1);
    queue(p, &sleep, "SELECT pg_sleep(60)", NULL);
    assert_ok(stele_pipeline_start(p, &err), &err);
    /* A cancel that comes before its statement would be lost. */
    assert_true(dbtest_wait_until(dsn, "SELECT count(*) = 1 FROM pg_stat_activity "
                                       "WHERE query = 'SELECT pg_sleep(60)' AND state = 'active' "
                                       "AND datname = current_database()"));
    uint64_t start = now_ms();
    stele_pipeline_close(p);
    p = NULL;
    assert_string_equal(ask(conn, "SELECT 1"), "1");
    assert_true(now_ms() - start < SOON_MS);
    assert_true(dbtest_wait_until(dsn, "SELECT count(*) = 0 FROM pg_stat_activity "
                                       "WHERE query = 'SELECT pg_sleep(60)' AND state = 'active' "
                                       "AND datname = current_database()"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_two_hundred_queries_on_one_thread),
        TEST(test_more_than_fits_in_flight),
        TEST(test_values_that_do_not_fit_the_socket),
        TEST(test_what_failed_is_told_by_the_last_step),
        TEST(test_the_deadline_ends_it),
        TEST(test_stale_plans_are_made_anew_without_waiting),
        TEST(test_closing_what_is_under_way_gives_the_connection_up),
    };
    dbtest_require_server();
    return RUN(tests);
}
