/*
 * Forks: a child may do nothing with the parent's handles but close them, and the parent must not
 * notice.
 *
 * 60 forks at random moments of traffic by 4 threads. The control is a child that ends the parent's
 * session the way libpq does: there the parent does notice.
 */
#define _GNU_SOURCE
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool_util.h"

enum { FORKS = 60, THREADS = 4 };

/* In a child the test framework cannot be used: exit codes tell what failed. */
static void require(bool condition, int code)
{
    if (!condition)
        _exit(code);
}

static int child_status(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static bool is_open(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    char target[64] = {0};
    return readlink(path, target, sizeof target - 1) > 0 && strncmp(target, "socket:", 7) == 0;
}

static int open_sockets(void)
{
    int count = 0;
    for (int fd = 3; fd < 256; fd++)
        count += is_open(fd) ? 1 : 0;
    return count;
}

static void use_in_child(stele_db *db, stele_conn *lease)
{
    stele_error err;
    stele_conn *conn = NULL;
    stele_db *derived = NULL;
    stele_pool_stats stats;
    stele_names names = {.prefix = "p_"};
    require(stele_db_acquire(db, &conn, &err) == STELE_E_FORKED, 1);
    require(err.hint[0] != '\0', 2);
    require(stele_db_derive(db, &names, &derived, &err) == STELE_E_FORKED, 3);
    stele_db_pool_stats(db, &stats);
    stele_db_reset(db);
    if (lease != NULL) {
        require(try_sql(lease, "SELECT 1", &err) == STELE_E_FORKED, 4);
        require(stele_conn_cancel(lease, &err) == STELE_E_FORKED, 5);
        require(stele_conn_use(lease, db, &err) == STELE_E_FORKED, 6);
        stele_conn_release(lease);
    }
    stele_db_close(db);
}

static void a_child_is_refused_and_the_parent_goes_on(void **state)
{
    (void)state;
    stele_db *db = open_db("fork", 3);
    stele_conn *idle = acquire(db);
    stele_conn *lease = acquire(db);
    stele_error err;
    int pid = stele_conn_backend_pid(lease);
    stele_conn_release(idle);
    assert_ok(stele_tx_begin(lease, NULL, &err), &err);
    run_sql(lease, "CREATE TABLE fork_t (n int)");
    pid_t child = fork();
    if (child == 0) {
        use_in_child(db, lease);
        require(open_sockets() == 0, 7);
        _exit(0);
    }
    assert_int_equal(child_status(child), 0);
    run_sql(lease, "INSERT INTO fork_t VALUES (1)"); /* the same transaction */
    assert_ok(stele_tx_commit(lease, &err), &err);
    assert_int_equal(stele_conn_backend_pid(lease), pid);
    stele_conn_release(lease);
    lease = acquire(db);
    assert_string_equal(ask(lease, "SELECT count(*) FROM fork_t"), "1");
    stele_conn_release(lease);
    assert_int_equal(stats_of(db).check_failures, 0);
    assert_int_equal(stats_of(db).created, 2);
    stele_db_close(db);
}

static void a_child_can_open_a_handle_of_its_own(void **state)
{
    (void)state;
    stele_db *db = open_db("fork_own", 2);
    pid_t child = fork();
    if (child == 0) {
        stele_db *own = NULL;
        stele_conn *conn = NULL;
        stele_error err;
        stele_db_options options = options_for("fork_child", 2);
        require(stele_db_open(&options, &own, &err) == STELE_OK, 1);
        require(stele_db_acquire(own, &conn, &err) == STELE_OK, 2);
        require(try_sql(conn, "SELECT 1", &err) == STELE_OK, 3);
        stele_conn_release(conn);
        stele_db_close(own);
        stele_db_close(db);
        _exit(0);
    }
    assert_int_equal(child_status(child), 0);
    stele_conn *conn = acquire(db);
    run_sql(conn, "SELECT 1");
    stele_conn_release(conn);
    stele_db_close(db);
}

/* ---- at random moments ---- */

typedef struct traffic {
    stele_db *db;
    atomic_bool over;
    atomic_long done;
    atomic_long errors;
} traffic;

static void *make_traffic(void *arg)
{
    traffic *t = arg;
    while (!atomic_load(&t->over)) {
        stele_conn *conn = NULL;
        stele_error err;
        stele_status st = stele_db_acquire(t->db, &conn, &err);
        if (st == STELE_OK) {
            st = try_sql(conn, "SELECT 1", &err);
            stele_conn_release(conn);
        }
        if (st != STELE_OK)
            atomic_fetch_add(&t->errors, 1);
        atomic_fetch_add(&t->done, 1);
    }
    return NULL;
}

static void forks_at_any_moment_do_no_harm(void **state)
{
    (void)state;
    static traffic t;
    pthread_t threads[THREADS];
    unsigned seed = 7;
    t.db = open_db("forks", 3);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_traffic, &t), 0);
    for (int i = 0; i < FORKS; i++) {
        long next = atomic_load(&t.done) + rand_r(&seed) % 50;
        wait_until(atomic_load(&t.done) >= next);
        pid_t child = fork();
        if (child == 0) {
            use_in_child(t.db, NULL);
            _exit(0);
        }
        assert_int_equal(child_status(child), 0);
    }
    atomic_store(&t.over, true);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    stele_pool_stats stats = stats_of(t.db);
    assert_int_equal(atomic_load(&t.errors), 0);
    assert_int_equal(stats.check_failures, 0);
    assert_int_equal(stats.closed[STELE_CLOSED_BROKEN], 0);
    assert_true(stats.created <= 3);
    stele_db_close(t.db);
    wait_for_backends("forks", 0);
}

static void the_control_child_ends_the_parents_session(void **state)
{
    (void)state;
    PGconn *conn = PQconnectdb(dsn);
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    pid_t child = fork();
    if (child == 0) {
        PQfinish(conn);
        _exit(0);
    }
    assert_int_equal(child_status(child), 0);
    PGresult *result = PQexec(conn, "SELECT 1");
    assert_int_not_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_is_refused_and_the_parent_goes_on),
        cmocka_unit_test(a_child_can_open_a_handle_of_its_own),
        cmocka_unit_test(forks_at_any_moment_do_no_harm),
        cmocka_unit_test(the_control_child_ends_the_parents_session),
    };
    return RUN(tests);
}
