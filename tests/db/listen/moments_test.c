/*
 * Closing at a hundred moments, whatever goes on: nothing is left behind, and nothing hangs.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "listen_util.h"
#include "relay.h"

enum { MOMENTS = 100 };

static stele_db *relayed;

static int setup_moments(void **state)
{
    (void)setup_listen(state);
    relay_start(dsn);
    stele_db_options options = options_for("moments", 2);
    options.dsn = relay_dsn();
    options.pool.connect_timeout_ms = 5000;
    relayed = open_with(&options);
    return 0;
}

static int teardown_moments(void **state)
{
    relay_set(RELAY_PASS);
    relay_cut();
    stele_db_close(relayed);
    relay_stop();
    return teardown_listen(state);
}

static atomic_bool enough;
static atomic_uint shouts;

/* Notifications without a pause; their number is the clock by which moments are chosen. */
static void *shout(void *user)
{
    (void)user;
    stele_conn *conn = acquire(db);
    while (!atomic_load(&enough)) {
        run_sql(conn, "SELECT pg_notify(n, '') FROM unnest(ARRAY['a', 'b', 'c']) AS n");
        atomic_fetch_add(&shouts, 1);
    }
    stele_conn_release(conn);
    return NULL;
}

static uint64_t seed = 88172645463325252u;

static unsigned draw(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % below;
}

static void wait_for_shouts(unsigned count)
{
    unsigned moment = atomic_load(&shouts) + count;
    wait_until(atomic_load(&shouts) >= moment);
}

static void disturb(void)
{
    static const relay_mode bad[] = {RELAY_REFUSE, RELAY_SWALLOW, RELAY_DROP_NOTIFICATIONS};
    unsigned what = draw(6);
    if (what < 3)
        relay_set(bad[what]);
    if (what % 2 == 0)
        relay_cut();
}

static void open_use_and_close(void)
{
    static const char *const channels[] = {"a", "b", "c"};
    static ear ears[3];
    stele_subscription *subs[3];
    stele_doorbell *bell = NULL;
    stele_listener_options options = quick();
    options.idle_probe_ms = 1 + draw(20);
    options.probe_timeout_ms = 10000;
    options.reconnect_max_ms = 20;
    stele_listener *listener = open_listener(relayed, &options);
    assert_ok(stele_doorbell_open(relayed, "a", 500, &bell, &err), &err);
    for (int i = 0; i < 3; i++)
        subs[i] = subscribe(listener, channels[i], &ears[i]);
    stele_doorbell_ring(bell);
    wait_for_shouts(draw(15));
    if (draw(2) == 0)
        stele_listener_unsubscribe(listener, subs[draw(3)]);
    disturb();
    wait_for_shouts(draw(100));
    uint64_t began = now_ms();
    (void)stele_doorbell_close(bell, draw(100), &err);
    (void)stele_listener_close(listener, draw(100), &err);
    assert_true(now_ms() - began < SOON_MS);
    relay_set(RELAY_PASS);
}

static bool all_gone(void)
{
    return threads_called("stele-listener") == 0 && threads_called("stele-doorbell") == 0;
}

static void closing_at_any_moment_leaves_nothing(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, shout, NULL), 0);
    relay_cut();
    wait_until(relay_open() == 0);
    int before = descriptors();
    for (int i = 0; i < MOMENTS; i++)
        open_use_and_close();
    atomic_store(&enough, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    relay_cut();
    wait_until(all_gone());
    wait_until(relay_open() == 0);
    wait_until(descriptors() <= before + 2); /* the shouter's lease is back in its pool */
    wait_for_backends("moments", 0);
}

/* ---- a subscriber that does not return ---- */

static atomic_bool may_leave;
static atomic_int inside;

static void stay(const char *channel, const char *payload, bool rescan, void *user)
{
    (void)channel;
    (void)payload;
    (void)rescan;
    (void)user;
    atomic_fetch_add(&inside, 1);
    while (!atomic_load(&may_leave))
        wait_a_little();
    atomic_fetch_sub(&inside, 1);
}

static void a_subscriber_that_stays_is_told(void **state)
{
    (void)state;
    stele_subscription *sub = NULL;
    stele_listener *listener = open_listener(db, NULL);
    assert_ok(stele_listener_subscribe(listener, "stay", stay, NULL, &sub, &err), &err);
    wait_until(atomic_load(&inside) == 1);
    uint64_t began = now_ms();
    assert_int_equal(stele_listener_close(listener, 100, &err), STELE_E_TIMEOUT);
    assert_true(now_ms() - began < SOON_MS);
    assert_int_equal(atomic_load(&inside), 1);
    atomic_store(&may_leave, true);
    wait_until(threads_called("stele-listener") == 0); /* it freed what was left */
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_at_any_moment_leaves_nothing),
        cmocka_unit_test(a_subscriber_that_stays_is_told),
    };
    return cmocka_run_group_tests(tests, setup_moments, teardown_moments);
}
