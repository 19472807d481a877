/*
 * What subscribers are told, and when: channels, payloads, requests to look, unsubscribing.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "listen_util.h"

/* ---- channels ---- */

static void the_first_call_asks_to_look(void **state)
{
    (void)state;
    ear one = {0};
    stele_listener *listener = open_listener(db, NULL);
    stele_subscription *sub = subscribe(listener, "news", &one);
    wait_until(one.rescans == 1);
    peer("NOTIFY news, 'first'");
    wait_until(one.heard == 1);
    assert_string_equal(one.last, "first");
    assert_int_equal(one.rescans, 1);
    stele_listener_unsubscribe(listener, sub);
    close_listener(listener);
}

static void names_are_taken_as_they_are(void **state)
{
    (void)state;
    const char *long_name = "a23456789 123456789 123456789 123456789 123456789 123456789 123";
    ear upper = {0};
    ear lower = {0};
    ear odd = {0};
    ear longest = {0};
    stele_listener *listener = open_listener(db, NULL);
    (void)subscribe(listener, "Jobs", &upper);
    (void)subscribe(listener, "jobs", &lower);
    (void)subscribe(listener, "we\"ird; DROP TABLE x --", &odd);
    (void)subscribe(listener, long_name, &longest);
    assert_ok(stele_listener_wait(listener, 60000, &err), &err);
    peer("NOTIFY \"Jobs\", 'upper'; NOTIFY JOBS, 'lower';"
         " NOTIFY \"we\"\"ird; DROP TABLE x --\", 'odd';"
         " NOTIFY \"a23456789 123456789 123456789 123456789 123456789 123456789 123\", 'long'");
    wait_until(upper.heard + lower.heard + odd.heard + longest.heard == 4);
    assert_string_equal(upper.last, "upper");
    assert_string_equal(lower.last, "lower");
    assert_string_equal(odd.last, "odd");
    assert_string_equal(longest.last, "long");
    close_listener(listener);
}

static void wrong_names_and_options_are_refused(void **state)
{
    (void)state;
    const char *wrong[] = {"", "a23456789 123456789 123456789 123456789 123456789 123456789 1234",
                           "\xff\xfe", NULL};
    stele_listener *listener = open_listener(db, NULL);
    stele_subscription *sub = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(stele_listener_subscribe(listener, wrong[i], hear, NULL, &sub, &err),
                         STELE_E_NAME);
        assert_true(strlen(err.hint) > 0);
        stele_doorbell *bell = NULL;
        assert_int_equal(stele_doorbell_open(db, wrong[i], 0, &bell, &err), STELE_E_NAME);
    }
    assert_int_equal(stele_listener_subscribe(listener, "x", NULL, NULL, &sub, &err),
                     STELE_E_INPUT);
    stele_listener_options options = {0};
    stele_listener *other = NULL;
    assert_int_equal(stele_listener_open(db, &options, &other, &err), STELE_E_INPUT);
    assert_non_null(strstr(err.hint, "STELE_LISTENER_OPTIONS_INIT"));
    assert_int_equal(stele_listener_open(NULL, NULL, &other, &err), STELE_E_INPUT);
    assert_null(sub);
    assert_null(other);
    close_listener(listener);
    assert_int_equal(stele_listener_close(NULL, 0, NULL), STELE_OK);
    stele_listener_unsubscribe(NULL, NULL);
}

static void all_channels_share_one_connection(void **state)
{
    (void)state;
    enum { CHANNELS = 100 };
    static ear ears[CHANNELS];
    char name[40];
    stele_db *own = open_db("one-for-all", 2);
    stele_listener *listener = open_listener(own, NULL);
    memset(ears, 0, sizeof ears);
    for (int i = 0; i < CHANNELS; i++) {
        (void)snprintf(name, sizeof name, "channel %d", i);
        (void)subscribe(listener, name, &ears[i]);
    }
    assert_ok(stele_listener_wait(listener, 60000, &err), &err);
    /* That of the pool, from opening the handle, and that of the listener. */
    assert_int_equal(backends("one-for-all"), 2);
    assert_int_equal(stats_of(own).open, 1);
    assert_int_equal(heard_by(listener).channels, CHANNELS);
    for (int i = 0; i < CHANNELS; i++) {
        char sql[80];
        (void)snprintf(sql, sizeof sql, "NOTIFY \"channel %d\", '%d'", i, i);
        peer(sql);
    }
    for (int i = 0; i < CHANNELS; i++) {
        wait_until(ears[i].heard == 1);
        assert_int_equal(strtol(ears[i].last, NULL, 10), i);
        assert_int_equal(ears[i].rescans, 1);
    }
    close_listener(listener);
    stele_db_close(own);
    wait_for_backends("one-for-all", 0);
}

/* ---- subscriptions ---- */

static void several_hear_the_same(void **state)
{
    (void)state;
    ear first = {0};
    ear second = {0};
    ear late = {0};
    stele_listener *listener = open_listener(db, NULL);
    stele_subscription *sub = subscribe(listener, "pair", &first);
    (void)subscribe(listener, "pair", &second);
    assert_ok(stele_listener_wait(listener, 60000, &err), &err);
    peer("NOTIFY pair, '1'");
    wait_until(first.heard == 1 && second.heard == 1);
    stele_listener_unsubscribe(listener, sub);
    (void)subscribe(listener, "pair", &late); /* the server knows the channel already */
    wait_until(late.rescans == 1);
    peer("NOTIFY pair, '2'");
    wait_until(late.heard == 1 && second.heard == 2);
    assert_int_equal(first.heard, 1);
    assert_int_equal(second.rescans, 1);
    close_listener(listener);
}

static void nobody_wants_it_any_more(void **state)
{
    (void)state;
    ear one = {0};
    ear other = {0};
    stele_listener *listener = open_listener(db, NULL);
    stele_subscription *sub = subscribe(listener, "brief", &one);
    (void)subscribe(listener, "marker", &other);
    assert_ok(stele_listener_wait(listener, 60000, &err), &err);
    stele_listener_unsubscribe(listener, sub);
    for (int i = 0; heard_by(listener).notifications == (uint64_t)other.heard; i++) {
        /* Until UNLISTEN is through each of the two is received; then only one is. */
        uint64_t before = heard_by(listener).notifications;
        int heard = other.heard;
        peer("NOTIFY brief; NOTIFY marker");
        wait_until(other.heard == heard + 1);
        if (heard_by(listener).notifications == before + 1)
            break;
        assert_true(i < 1000);
    }
    assert_int_equal(one.heard, 0);
    assert_int_equal(heard_by(listener).channels, 1);
    close_listener(listener);
}

typedef struct gate {
    atomic_bool entered;
    atomic_bool may_leave;
    atomic_bool unsubscribed;
    atomic_int calls;
    stele_listener *listener;
    stele_subscription *sub;
} gate;

static void hold(const char *channel, const char *payload, bool rescan, void *user)
{
    gate *g = user;
    (void)channel;
    (void)payload;
    (void)rescan;
    atomic_fetch_add(&g->calls, 1);
    atomic_store(&g->entered, true);
    while (!atomic_load(&g->may_leave))
        wait_a_little();
    assert_false(atomic_load(&g->unsubscribed));
}

static void *unsubscribe(void *user)
{
    gate *g = user;
    stele_listener_unsubscribe(g->listener, g->sub);
    atomic_store(&g->unsubscribed, true);
    return NULL;
}

static void unsubscribing_waits_for_the_call(void **state)
{
    (void)state;
    gate *g = calloc(1, sizeof *g);
    pthread_t thread;
    g->listener = open_listener(db, NULL);
    stele_listener *listener = g->listener;
    assert_ok(stele_listener_subscribe(listener, "held", hold, g, &g->sub, &err), &err);
    wait_until(atomic_load(&g->entered));
    assert_int_equal(pthread_create(&thread, NULL, unsubscribe, g), 0);
    wait_until(heard_by(listener).subscriptions == 0); /* it is in there, and waits */
    assert_false(atomic_load(&g->unsubscribed));
    atomic_store(&g->may_leave, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    free(g); /* nobody looks at it any more */
    close_listener(listener);
}

static void leave_at_third(const char *channel, const char *payload, bool rescan, void *user)
{
    gate *g = user;
    (void)channel;
    (void)payload;
    if (!rescan && atomic_fetch_add(&g->calls, 1) == 2)
        stele_listener_unsubscribe(g->listener, g->sub);
}

static void a_call_may_be_the_last_by_its_own_wish(void **state)
{
    (void)state;
    gate g = {0};
    ear after = {0};
    g.listener = open_listener(db, NULL);
    assert_ok(stele_listener_subscribe(g.listener, "own", leave_at_third, &g, &g.sub, &err), &err);
    (void)subscribe(g.listener, "own", &after);
    assert_ok(stele_listener_wait(g.listener, 60000, &err), &err);
    for (int i = 1; i <= 5; i++) {
        peer("NOTIFY own");
        wait_until(after.heard == i);
    }
    wait_until(heard_by(g.listener).delivered == 8);
    assert_int_equal(g.calls, 3);
    close_listener(g.listener);
}

typedef struct chain {
    stele_listener *listener;
    stele_subscription *subs[4];
    ear heard;
    atomic_int deep;
} chain;

static void subscribe_more(const char *channel, const char *payload, bool rescan, void *user)
{
    chain *c = user;
    stele_error why;
    (void)channel;
    (void)payload;
    int depth = atomic_load(&c->deep);
    if (!rescan || depth == 3)
        return;
    atomic_store(&c->deep, depth + 1);
    char name[20];
    (void)snprintf(name, sizeof name, "depth%d", depth);
    if (stele_listener_subscribe(c->listener, name, subscribe_more, c, &c->subs[depth + 1], &why) !=
        STELE_OK)
        atomic_store(&c->deep, -100);
    /* These two would wait for themselves. */
    if (stele_listener_wait(c->listener, 0, &why) != STELE_E_MISUSE ||
        stele_listener_close(c->listener, 0, &why) != STELE_E_MISUSE)
        atomic_store(&c->deep, -100);
}

static void a_call_may_subscribe(void **state)
{
    (void)state;
    chain c = {0};
    c.listener = open_listener(db, NULL);
    assert_ok(stele_listener_subscribe(c.listener, "root", subscribe_more, &c, &c.subs[0], &err),
              &err);
    wait_until(atomic_load(&c.deep) == 3);
    assert_ok(stele_listener_wait(c.listener, 60000, &err), &err);
    assert_int_equal(heard_by(c.listener).channels, 4);
    assert_int_equal(heard_by(c.listener).rescans, 4);
    close_listener(c.listener);
}

/* ---- forks ---- */

static void a_child_has_neither(void **state)
{
    (void)state;
    ear one = {0};
    int status = -1;
    stele_listener *listener = open_listener(db, NULL);
    stele_subscription *sub = subscribe(listener, "kept", &one);
    stele_doorbell *bell = NULL;
    assert_ok(stele_doorbell_open(db, "kept", 0, &bell, &err), &err);
    wait_until(one.rescans == 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        stele_subscription *none = NULL;
        stele_doorbell_ring(bell);
        stele_listener_unsubscribe(listener, sub);
        bool right =
            heard_by(listener).subscriptions == 0 &&
            stele_listener_subscribe(listener, "x", hear, NULL, &none, &err) == STELE_E_FORKED &&
            stele_listener_wait(listener, 1, &err) == STELE_E_FORKED &&
            stele_listener_close(listener, 0, &err) == STELE_E_FORKED &&
            stele_doorbell_close(bell, 0, &err) == STELE_E_FORKED;
        _exit(right ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    peer("NOTIFY kept, 'still'");
    wait_until(one.heard == 1);
    stele_doorbell_ring(bell);
    wait_until(one.heard == 2);
    assert_int_equal(one.rescans, 1);
    assert_ok(stele_doorbell_close(bell, 60000, &err), &err);
    close_listener(listener);
}

/* The handle it was opened with may go first. */
static void it_has_a_handle_of_its_own(void **state)
{
    (void)state;
    ear one = {0};
    stele_db *brief = open_db("brief-ears", 2);
    stele_listener *listener = open_listener(brief, NULL);
    stele_db_close(brief);
    (void)subscribe(listener, "late", &one);
    wait_until(one.rescans == 1);
    close_listener(listener);
    wait_for_backends("brief-ears", 0);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_call_asks_to_look),
        cmocka_unit_test(names_are_taken_as_they_are),
        cmocka_unit_test(wrong_names_and_options_are_refused),
        cmocka_unit_test(all_channels_share_one_connection),
        cmocka_unit_test(several_hear_the_same),
        cmocka_unit_test(nobody_wants_it_any_more),
        cmocka_unit_test(unsubscribing_waits_for_the_call),
        cmocka_unit_test(a_call_may_be_the_last_by_its_own_wish),
        cmocka_unit_test(a_call_may_subscribe),
        cmocka_unit_test(a_child_has_neither),
        cmocka_unit_test(it_has_a_handle_of_its_own),
    };
    return RUN_LISTEN(tests);
}
