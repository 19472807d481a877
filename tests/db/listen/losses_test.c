/*
 * Connections that end, hang, or are not what they seem: nothing that was stored goes unseen, and
 * who cannot be told says so.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "latency.h"
#include "listen_util.h"
#include "relay.h"

static stele_db *relayed; /* through the relay */

static int setup_relay(void **state)
{
    (void)setup_listen(state);
    relay_start(dsn);
    char *direct = dsn;
    stele_db_options options = options_for("relayed", 2);
    options.dsn = relay_dsn();
    relayed = open_with(&options);
    dsn = direct;
    return 0;
}

static int teardown_relay(void **state)
{
    relay_set(RELAY_PASS);
    stele_db_close(relayed);
    relay_stop();
    return teardown_listen(state);
}

static int pass_again(void **state)
{
    (void)state;
    relay_set(RELAY_PASS);
    return 0;
}

#define RELAYED(test) cmocka_unit_test_setup(test, pass_again)

/* ---- reconnecting ---- */

static void a_killed_connection_is_made_again(void **state)
{
    (void)state;
    ear one = {0};
    ear two = {0};
    stele_db *own = open_db("victim", 1);
    stele_listener_options options = quick();
    stele_listener *listener = open_listener(own, &options);
    (void)subscribe(listener, "one", &one);
    (void)subscribe(listener, "two", &two);
    wait_until(one.rescans == 1 && two.rescans == 1);
    for (int i = 2; i <= 6; i++) {
        (void)kill_backends("victim");
        wait_until(one.rescans == i && two.rescans == i);
        assert_ok(stele_listener_wait(listener, 60000, &err), &err);
        peer("NOTIFY one; NOTIFY two");
        wait_until(one.heard == i - 1 && two.heard == i - 1);
    }
    stele_listen_stats stats = heard_by(listener);
    assert_int_equal(stats.losses, 5);
    assert_int_equal(stats.connects, 6);
    assert_true(stats.connected);
    assert_int_equal(stats.outage.count, 5);
    assert_true(stats.outage.sum_ns > 0);
    assert_int_equal(slower_than(&stats.outage, 10000), 0);
    assert_int_equal(stats.probe.count, stats.probes - stats.probes_failed);
    assert_true(stats.probe.count >= 6); /* each registration was proven */
    close_listener(listener);
    stele_db_close(own);
}

/* One who looks when told to, and one who believes what is notified. */
typedef struct reader {
    ear told;
    stele_conn *conn;
    int64_t seen;     /* by looking */
    int64_t believed; /* by counting payloads */
    pthread_mutex_t lock;
} reader;

static void look(const char *channel, const char *payload, bool rescan, void *user)
{
    reader *r = user;
    hear(channel, payload, rescan, &r->told);
    (void)pthread_mutex_lock(&r->lock);
    r->seen = strtol(ask(r->conn, "SELECT count(*) FROM events"), NULL, 10);
    r->believed += rescan ? 0 : 1;
    (void)pthread_mutex_unlock(&r->lock);
}

static atomic_int written;
static atomic_bool enough;

static void *write_events(void *user)
{
    stele_conn *conn = user;
    while (!atomic_load(&enough)) {
        run_sql(conn, "WITH x AS (INSERT INTO events DEFAULT VALUES)"
                      " SELECT pg_notify('events', '')");
        atomic_fetch_add(&written, 1);
    }
    return NULL;
}

static int64_t seen_by(reader *r, bool believed)
{
    (void)pthread_mutex_lock(&r->lock);
    int64_t count = believed ? r->believed : r->seen;
    (void)pthread_mutex_unlock(&r->lock);
    return count;
}

/* Also when the last row falls into a reconnection: nobody writes after it. */
static void who_looks_when_told_misses_nothing(void **state)
{
    (void)state;
    pthread_t writer;
    stele_db *own = open_db("victim", 1);
    reader r = {.conn = acquire(db), .lock = PTHREAD_MUTEX_INITIALIZER};
    stele_conn *conn = acquire(db);
    stele_subscription *sub = NULL;
    stele_listener_options options = quick();
    peer("CREATE TABLE events (id bigserial PRIMARY KEY)");
    stele_listener *listener = open_listener(own, &options);
    assert_ok(stele_listener_subscribe(listener, "events", look, &r, &sub, &err), &err);
    for (int round = 0; round < 10; round++) {
        atomic_store(&enough, false);
        assert_int_equal(pthread_create(&writer, NULL, write_events, conn), 0);
        int before = atomic_load(&written);
        wait_until(atomic_load(&written) > before + 20);
        (void)kill_backends("victim");
        atomic_store(&enough, true);
        assert_int_equal(pthread_join(writer, NULL), 0);
        wait_until(seen_by(&r, false) == atomic_load(&written));
    }
    assert_true(heard_by(listener).losses >= 5);
    /* The control: who believes what is notified has missed some. */
    assert_true(seen_by(&r, true) < atomic_load(&written));
    close_listener(listener);
    stele_conn_release(conn);
    stele_conn_release(r.conn);
    stele_db_close(own);
}

typedef struct log {
    atomic_int errors;
    atomic_int connects;
    stele_status last;
} log;

static void note_error(const stele_error *why, void *user)
{
    log *l = user;
    l->last = why->status;
    atomic_fetch_add(&l->errors, 1);
}

static void note_connect(void *user)
{
    log *l = user;
    atomic_fetch_add(&l->connects, 1);
}

static void it_knocks_ever_more_rarely(void **state)
{
    (void)state;
    ear one = {0};
    log told = {0};
    stele_listener_options options = quick();
    options.reconnect_max_ms = 5000;
    options.on_error = note_error;
    options.on_connect = note_connect;
    options.user = &told;
    stele_listener *listener = open_listener(relayed, &options);
    (void)subscribe(listener, "patience", &one);
    wait_until(one.rescans == 1);
    relay_set(RELAY_REFUSE);
    int before = relay_accepted();
    relay_cut();
    wait_until(told.errors >= 5);
    uint64_t began = now_ms();
    int fast = relay_accepted();
    wait_until(now_ms() - began > 1000);
    /* Waits are drawn from 320 ms and more by now. */
    assert_true(relay_accepted() - fast <= 40);
    assert_true(fast - before >= 4);
    assert_false(heard_by(listener).connected);
    assert_true(heard_by(listener).down_ms >= 900);
    relay_set(RELAY_PASS);
    wait_until(one.rescans == 2);
    assert_int_equal(told.connects, 1);
    assert_int_equal(told.last, STELE_E_CONNECT);
    stele_listen_stats stats = heard_by(listener);
    assert_int_equal(stats.outage.count, 1); /* with all attempts in vain */
    assert_int_equal(slower_than(&stats.outage, 500), 1);
    close_listener(listener);
}

/* ---- half open ---- */

static void silence_is_noticed(void **state)
{
    (void)state;
    ear one = {0};
    log told = {0};
    stele_listener_options options = quick();
    options.probe_timeout_ms = 6000;
    options.on_error = note_error;
    options.user = &told;
    stele_listener *listener = open_listener(relayed, &options);
    (void)subscribe(listener, "alive", &one);
    wait_until(one.rescans == 1);
    wait_until(heard_by(listener).probes >= 3); /* idle, and answered */
    assert_int_equal(told.errors, 0);
    relay_set(RELAY_SWALLOW);
    peer("NOTIFY alive, 'into the void'");
    uint64_t began = now_ms();
    wait_until(told.errors >= 1);
    assert_true(now_ms() - began < SOON_MS);
    assert_int_equal(told.last, STELE_E_TIMEOUT);
    assert_int_equal(one.heard, 0);
    stele_listen_stats stats = heard_by(listener);
    assert_true(stats.probes_failed >= 1);
    assert_true(stats.probe.count >= 3); /* what was not answered is not there */
    assert_true(stats.probe.count <= stats.probes - 1);
    relay_set(RELAY_PASS);
    relay_cut(); /* an attempt under way would wait for its own deadline */
    wait_until(one.rescans >= 2);
    peer("NOTIFY alive, 'again'");
    wait_until(one.heard >= 1);
    assert_string_equal(one.last, "again");
    close_listener(listener);
}

/* ---- poolers ---- */

static void a_pooler_that_swallows_notifications_is_found_out(void **state)
{
    (void)state;
    stele_listener *listener = NULL;
    stele_listener_options options = quick();
    options.probe_timeout_ms = 1000;
    static const relay_mode modes[] = {RELAY_DROP_NOTIFICATIONS, RELAY_POOL_TRANSACTION};
    for (int i = 0; i < 2; i++) {
        relay_set(modes[i]);
        assert_int_equal(stele_listener_open(relayed, &options, &listener, &err),
                         STELE_E_UNSUPPORTED);
        assert_non_null(strstr(err.hint, "pooler"));
        assert_int_equal(stele_listener_open(relayed, &options, &listener, NULL),
                         STELE_E_UNSUPPORTED);
    }
    assert_null(listener);
    /* One that gives each client a connection for as long as it stays is fine. */
    ear one = {0};
    options.probe_timeout_ms = 30000;
    relay_set(RELAY_POOL_SESSION);
    listener = open_listener(relayed, &options);
    assert_int_equal(heard_by(listener).probes, 2);
    (void)subscribe(listener, "pooled", &one);
    wait_until(one.rescans == 1);
    peer("NOTIFY pooled");
    wait_until(one.heard == 1);
    close_listener(listener);
}

static void a_server_that_is_away_is_told_at_once(void **state)
{
    (void)state;
    stele_listener *listener = NULL;
    stele_doorbell *bell = NULL;
    relay_set(RELAY_REFUSE);
    assert_int_equal(stele_listener_open(relayed, NULL, &listener, &err), STELE_E_CONNECT);
    assert_int_equal(stele_doorbell_open(relayed, "x", 0, &bell, &err), STELE_E_CONNECT);
    assert_null(listener);
    assert_null(bell);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        RELAYED(a_killed_connection_is_made_again),
        RELAYED(who_looks_when_told_misses_nothing),
        RELAYED(it_knocks_ever_more_rarely),
        RELAYED(silence_is_noticed),
        RELAYED(a_pooler_that_swallows_notifications_is_found_out),
        RELAYED(a_server_that_is_away_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, setup_relay, teardown_relay);
}
