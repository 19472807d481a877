/*
 * The doorbell: few notifications for many rings, none of them lost, nobody held up.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "listen_util.h"
#include "relay.h"

static stele_listener *listener;
static ear visitor;

static int setup_bell(void **state)
{
    (void)setup_listen(state);
    listener = open_listener(db, NULL);
    (void)subscribe(listener, "bell", &visitor);
    wait_until(visitor.rescans == 1);
    relay_start(dsn);
    return 0;
}

static int teardown_bell(void **state)
{
    relay_stop();
    close_listener(listener);
    return teardown_listen(state);
}

static stele_doorbell *open_bell(stele_db *on, uint32_t per_second)
{
    stele_doorbell *bell = NULL;
    assert_ok(stele_doorbell_open(on, "bell", per_second, &bell, &err), &err);
    return bell;
}

static void close_bell(stele_doorbell *bell)
{
    assert_ok(stele_doorbell_close(bell, 60000, &err), &err);
}

static stele_bell_stats rung_by(const stele_doorbell *bell)
{
    stele_bell_stats stats;
    stele_doorbell_stats(bell, &stats);
    return stats;
}

static void each_ring_is_heard(void **state)
{
    (void)state;
    stele_doorbell *bell = open_bell(db, 1000);
    for (int i = 0; i < 200; i++) {
        int before = visitor.heard;
        stele_doorbell_ring(bell);
        wait_until(visitor.heard > before);
    }
    assert_string_equal(visitor.last, "");
    assert_int_equal(rung_by(bell).rings, 200);
    assert_int_equal(rung_by(bell).notifies, 200);
    close_bell(bell);
    stele_doorbell_ring(NULL);
    assert_int_equal(stele_doorbell_close(NULL, 0, NULL), STELE_OK);
    assert_int_equal(stele_doorbell_open(db, "bell", 5000, &bell, &err), STELE_E_INPUT);
}

enum { RINGERS = 8 };

typedef struct ringer {
    pthread_t thread;
    stele_doorbell *bell;
    uint64_t longest_ms;
} ringer;

static atomic_bool enough;

static void *ring_on(void *user)
{
    ringer *r = user;
    while (!atomic_load(&enough)) {
        uint64_t began = now_ms();
        stele_doorbell_ring(r->bell);
        uint64_t took = now_ms() - began;
        r->longest_ms = took > r->longest_ms ? took : r->longest_ms;
    }
    return NULL;
}

/* Rings from many threads, a thousand times at least, until `ms` have passed; the longest that one
 * ring took. */
static uint64_t ring_for(stele_doorbell *bell, uint64_t ms)
{
    ringer ringers[RINGERS] = {0};
    uint64_t longest = 0;
    uint64_t enough_rings = rung_by(bell).rings + 1000;
    uint64_t began = now_ms();
    atomic_store(&enough, false);
    for (int i = 0; i < RINGERS; i++) {
        ringers[i].bell = bell;
        assert_int_equal(pthread_create(&ringers[i].thread, NULL, ring_on, &ringers[i]), 0);
    }
    wait_until(now_ms() - began >= ms && rung_by(bell).rings >= enough_rings);
    atomic_store(&enough, true);
    for (int i = 0; i < RINGERS; i++) {
        assert_int_equal(pthread_join(ringers[i].thread, NULL), 0);
        longest = ringers[i].longest_ms > longest ? ringers[i].longest_ms : longest;
    }
    return longest;
}

/* How many are heard of two seconds of rings: never more than their rate allows. */
static int heard_in_two_seconds(void)
{
    stele_doorbell *bell = open_bell(db, 0);
    int ends = visitor.ends;
    int before = visitor.heard;
    uint64_t began = now_ms();
    (void)ring_for(bell, 2000);
    uint64_t rings = rung_by(bell).rings;
    close_bell(bell); /* with what is still to be sent */
    uint64_t took = now_ms() - began;
    peer("NOTIFY bell, 'end'");
    wait_until(visitor.ends == ends + 1);
    int heard = visitor.heard - before - 1;
    print_message("# %llu rings, %d notifications in %llu ms\n", (unsigned long long)rings, heard,
                  (unsigned long long)took);
    assert_true((uint64_t)heard <= 20 * took / 1000 + 1);
    return heard;
}

/* And not much fewer, unless the machine stands still. */
static void at_most_twenty_a_second(void **state)
{
    (void)state;
    int most = 0;
    for (int tries = 0; most < 15; tries++) {
        assert_true(tries < 5);
        int heard = heard_in_two_seconds();
        most = heard > most ? heard : most;
    }
}

static stele_db *open_relayed(void)
{
    stele_db_options options = options_for("relayed-bell", 2);
    options.dsn = relay_dsn();
    return open_with(&options);
}

static void a_dead_server_holds_nobody_up(void **state)
{
    (void)state;
    stele_db *relayed = open_relayed();
    stele_doorbell *bell = open_bell(relayed, 0);
    stele_doorbell_ring(bell);
    wait_until(rung_by(bell).notifies == 1);
    relay_set(RELAY_SWALLOW);
    uint64_t longest = ring_for(bell, 500);
    assert_true(longest < SOON_MS); /* what the scheduler takes */
    assert_int_equal(rung_by(bell).notifies, 1);
    uint64_t began = now_ms();
    assert_int_equal(stele_doorbell_close(bell, 100, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - began < SOON_MS);
    relay_set(RELAY_PASS);
    relay_cut();
    stele_db_close(relayed);
}

static void a_ring_outlives_the_connection(void **state)
{
    (void)state;
    stele_db *relayed = open_relayed();
    stele_doorbell *bell = open_bell(relayed, 0);
    for (int i = 0; i < 5; i++) {
        relay_set(RELAY_REFUSE);
        relay_cut();
        wait_until(!rung_by(bell).connected);
        int before = visitor.heard;
        stele_doorbell_ring(bell);
        uint64_t failures = rung_by(bell).failures;
        wait_until(rung_by(bell).failures > failures);
        assert_int_equal(visitor.heard, before);
        relay_set(RELAY_PASS);
        wait_until(visitor.heard > before);
    }
    assert_true(rung_by(bell).connects >= 6);
    close_bell(bell);
    stele_db_close(relayed);
}

/* A row that is committed before the ring is seen by who looks when the bell was heard. */
static void what_is_committed_before_is_seen(void **state)
{
    (void)state;
    stele_doorbell *bell = open_bell(db, 1000);
    stele_conn *conn = acquire(db);
    peer("CREATE TABLE rung (id int)");
    for (int i = 1; i <= 100; i++) {
        char sql[60];
        int before = visitor.heard;
        (void)snprintf(sql, sizeof sql, "INSERT INTO rung VALUES (%d)", i);
        run_sql(conn, sql);
        stele_doorbell_ring(bell);
        wait_until(visitor.heard > before);
        assert_int_equal(strtol(ask(conn, "SELECT max(id) FROM rung"), NULL, 10), i);
    }
    stele_conn_release(conn);
    close_bell(bell);
}

static void closing_sends_what_was_rung(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        stele_doorbell *bell = open_bell(db, 1000);
        int before = visitor.heard;
        stele_doorbell_ring(bell);
        close_bell(bell);
        wait_until(visitor.heard > before);
    }
    wait_until(threads_called("stele-doorbell") == 0);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_ring_is_heard),
        cmocka_unit_test(at_most_twenty_a_second),
        cmocka_unit_test(a_dead_server_holds_nobody_up),
        cmocka_unit_test(a_ring_outlives_the_connection),
        cmocka_unit_test(what_is_committed_before_is_seen),
        cmocka_unit_test(closing_sends_what_was_rung),
    };
    return cmocka_run_group_tests(tests, setup_bell, teardown_bell);
}
