/* Summaries that workers of this process make: the cascade, full queues, one job for many requests. */
#include <time.h>

#include "summary_util.h"

static stele_session_key sessions[40];

static void many_sessions(size_t count)
{
    static char names[40][8];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof names[i], "s%zu", i);
        sessions[i] = new_session(names[i]);
        new_event(&sessions[i], "e1", 1, "");
    }
}

static void enqueue(stele_sessions *store, const stele_session_key *key, const char *filter)
{
    assert_ok(stele_sessions_enqueue_summary(store, key, filter, false, &err));
}

static bool has_summaries(const char *count)
{
    return becomes("SELECT count(*) FROM session_summaries WHERE deleted_at IS NULL", count);
}

static bool has_text(const char *filter, const char *text)
{
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT summary->>'summary' FROM session_summaries WHERE filter_key = '%s'",
                   filter);
    return becomes(sql, text);
}

static stele_sessions_options one_worker(uint32_t queue, stele_summary_full full)
{
    stele_sessions_options options = with_fake();
    options.summary_workers = 1;
    options.summary_queue = queue;
    options.summary_full = full;
    return options;
}

static stele_sessions_stats stats_of(const stele_sessions *store)
{
    stele_sessions_stats stats;
    stele_sessions_get_stats(store, &stats);
    return stats;
}

/* ---- the cascade ---- */

static void single_filter_key_persists_both_keys(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "desk");
    new_event(&key, "e2", 2, "desk/x");
    enqueue(store, &key, "desk");
    assert_true(has_text("", "desk:e1e2"));
    assert_true(has_text("desk", "desk:e1e2"));
    close_store(store);
    assert_int_equal(model.calls, 1); /* and copied */
}

static void branches_that_differ_are_made_at_the_same_time(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "desk");
    new_event(&key, "e2", 2, "other");
    fake_hold();
    enqueue(store, &key, "desk");
    fake_wait_inside(2);
    fake_let_go();
    assert_true(has_text("desk", "desk:e1"));
    assert_true(has_text("", ":e1e2"));
    /* From here on what is new is the same, but not what it continues. */
    new_event(&key, "e3", 3, "desk");
    enqueue(store, &key, "desk");
    assert_true(has_text("desk", "desk:e1+desk:e3"));
    assert_true(has_text("", ":e1e2+:e3"));
    close_store(store);
}

static void either_of_two_that_fails_fails_the_job(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "desk");
    new_event(&key, "e2", 2, "other");
    model.failures = 1;
    enqueue(store, &key, "desk");
    close_store(store);
    assert_int_equal(model.calls, 2);
    assert_true(has_summaries("0"));
}

static void a_blocked_branch_still_cascades(void **state)
{
    (void)state;
    const char *allowed[] = {"desk"};
    stele_sessions_options options = with_fake();
    options.summary_allowlist = allowed;
    options.summary_allowlist_count = 1;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "other");
    enqueue(store, &key, "other");
    close_store(store);
    assert_string_equal(stored_text(&key, ""), ":e1");
    assert_true(has_summaries("1"));
}

static void the_cascade_can_be_off(void **state)
{
    (void)state;
    const char *allowed[] = {"desk"};
    stele_sessions_options options = with_fake();
    options.summary_cascade = STELE_OFF;
    options.summary_allowlist = allowed;
    options.summary_allowlist_count = 1;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    new_event(&key, "e1", 1, "desk");
    enqueue(store, &key, "desk");
    enqueue(store, &key, "other");
    close_store(store);
    assert_string_equal(stored_text(&key, "desk"), "desk:e1");
    assert_true(has_summaries("1"));
}

/* ---- the queue ---- */

static void a_caller_does_not_wait(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    stele_sessions *store = open_with(&options);
    many_sessions(1);
    fake_hold();
    enqueue(store, &sessions[0], NULL); /* returns, though the summary cannot be made */
    fake_wait_inside(1);
    assert_true(has_summaries("0"));
    fake_let_go();
    assert_true(has_summaries("1"));
    close_store(store);
}

static void requests_that_wait_are_one(void **state)
{
    (void)state;
    stele_sessions_options options = one_worker(10, STELE_SUMMARY_FULL_REJECT);
    stele_sessions *store = open_with(&options);
    many_sessions(2);
    fake_hold();
    enqueue(store, &sessions[0], NULL);
    fake_wait_inside(1);
    for (int i = 0; i < 20; i++)
        enqueue(store, &sessions[1], i % 2 == 0 ? NULL : "");
    assert_int_equal(stats_of(store).summary_queued, 1);
    fake_let_go();
    assert_true(has_summaries("2"));
    close_store(store);
    assert_int_equal(model.calls, 2);
}

static void what_comes_during_a_summary_is_not_missed(void **state)
{
    (void)state;
    stele_sessions_options options = one_worker(10, STELE_SUMMARY_FULL_REJECT);
    stele_sessions *store = open_with(&options);
    many_sessions(1);
    fake_hold();
    enqueue(store, &sessions[0], NULL);
    fake_wait_inside(1);
    new_event(&sessions[0], "e2", 2, "");
    enqueue(store, &sessions[0], NULL);
    fake_let_go();
    assert_true(has_text("", ":e1+:e2"));
    close_store(store);
}

typedef struct request {
    stele_sessions *store;
    stele_status status;
    stele_error err;
} request;

static void *enqueue_third(void *arg)
{
    request *this = arg;
    this->status =
        stele_sessions_enqueue_summary(this->store, &sessions[2], NULL, false, &this->err);
    return NULL;
}

/* Fills a queue of one: a job inside, and one that waits. */
static stele_sessions *open_full(const stele_sessions_options *options)
{
    stele_sessions *store = open_with(options);
    many_sessions(3);
    fake_hold();
    enqueue(store, &sessions[0], NULL);
    fake_wait_inside(1);
    enqueue(store, &sessions[1], NULL);
    return store;
}

static void queue_full_fallback_to_sync(void **state)
{
    (void)state;
    stele_sessions_options options = one_worker(1, STELE_SUMMARY_FULL_RUN_HERE);
    stele_sessions *store = open_full(&options);
    request third = {.store = store};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, enqueue_third, &third), 0);
    fake_wait_inside(2);
    assert_true(pthread_equal(model.threads[1], thread) != 0);
    fake_let_go();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(third.status, STELE_OK);
    assert_string_equal(stored_text(&sessions[2], ""), ":e1");
    assert_int_equal(stats_of(store).summary_run_here, 1);
    assert_true(has_summaries("3"));
    close_store(store);
}

static void queue_full_reject(void **state)
{
    (void)state;
    stele_sessions_options options = one_worker(1, STELE_SUMMARY_FULL_REJECT);
    stele_sessions *store = open_full(&options);
    assert_status(stele_sessions_enqueue_summary(store, &sessions[2], NULL, false, &err),
                  STELE_E_BUSY);
    enqueue(store, &sessions[1], NULL); /* it waits already */
    fake_let_go();
    assert_true(has_summaries("2"));
    close_store(store);
}

static void queue_full_block(void **state)
{
    (void)state;
    stele_sessions_options options = one_worker(1, STELE_SUMMARY_FULL_BLOCK);
    stele_sessions *store = open_full(&options);
    request third = {.store = store};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, enqueue_third, &third), 0);
    fake_let_go();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(third.status, STELE_OK);
    assert_true(has_summaries("3"));
    close_store(store);
    assert_false(pthread_equal(model.threads[2], thread) != 0);
}

static void queue_full_block_has_an_end(void **state)
{
    (void)state;
    stele_sessions_options options = one_worker(1, STELE_SUMMARY_FULL_BLOCK);
    options.summary_timeout_ms = 100;
    model.patient = true;
    stele_sessions *store = open_full(&options);
    assert_status(stele_sessions_enqueue_summary(store, &sessions[2], NULL, false, &err),
                  STELE_E_TIMEOUT);
    fake_let_go();
    close_store(store);
}

static void hash_distribution(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    stele_sessions *store = open_with(&options);
    many_sessions(40);
    fake_hold();
    for (size_t i = 0; i < 40; i++)
        enqueue(store, &sessions[i], NULL);
    fake_wait_inside(3); /* all three workers have work */
    assert_false(pthread_equal(model.threads[0], model.threads[1]) != 0);
    assert_false(pthread_equal(model.threads[0], model.threads[2]) != 0);
    assert_false(pthread_equal(model.threads[1], model.threads[2]) != 0);
    fake_let_go();
    assert_true(has_summaries("40"));
    assert_int_equal(model.most, 3);
    close_store(store);
}

/* ---- with appends ---- */

static void an_append_may_ask(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    options.summary_on_append = true;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    assert_ok(append_event(store, &key, "e1", "desk"));
    assert_true(has_text("desk", "desk:e1"));
    assert_true(has_text("", "desk:e1"));
    close_store(store);
}

static void what_is_queued_is_told(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    options.async_persist = true;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    assert_ok(append_event(store, &key, "e1", ""));
    assert_ok(append_event(store, &key, "e2", ""));
    assert_ok(stele_sessions_create_summary(store, &key, NULL, false, &err));
    assert_string_equal(stored_text(&key, ""), ":e1e2");
    assert_ok(append_event(store, &key, "e3", ""));
    enqueue(store, &key, NULL);
    assert_true(has_text("", ":e1e2+:e3"));
    close_store(store);
}

static void closing_tells_what_was_queued(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    options.async_persist = true;
    options.summary_on_append = true;
    options.summary_workers = 1;
    stele_sessions *store = open_with(&options);
    stele_session_key key = new_session("s");
    for (int i = 0; i < 20; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "e%d", i);
        assert_ok(append_event(store, &key, id, ""));
    }
    close_store(store);
    size_t told = 0;
    for (const char *at = stored_text(&key, ""); *at != '\0'; at++)
        told += *at == 'e';
    assert_int_equal(told, 20);
}

/* ---- what goes wrong ---- */

typedef struct told {
    pthread_mutex_t lock;
    int count;
    stele_status status;
    char session[32];
} told;

static void keep_error(const stele_session_key *key, const stele_error *error, void *user)
{
    told *this = user;
    (void)pthread_mutex_lock(&this->lock);
    this->count++;
    this->status = error->status;
    (void)snprintf(this->session, sizeof this->session, "%s", key->session_id.data);
    (void)pthread_mutex_unlock(&this->lock);
}

static void failures_are_told(void **state)
{
    (void)state;
    told last = {.lock = PTHREAD_MUTEX_INITIALIZER};
    stele_sessions_options options = with_fake();
    options.on_error = keep_error;
    options.on_error_user = &last;
    stele_sessions *store = open_with(&options);
    many_sessions(2);
    model.failures = 1;
    enqueue(store, &sessions[0], NULL);
    fake_wait_calls(1);
    enqueue(store, &sessions[1], NULL);
    assert_true(has_summaries("1"));
    assert_int_equal(stats_of(store).summary_failures, 1);
    close_store(store);
    assert_int_equal(last.count, 1);
    assert_int_equal(last.status, STELE_E_SERVER);
    assert_string_equal(last.session, "s0");
}

static void a_job_has_its_time(void **state)
{
    (void)state;
    told last = {.lock = PTHREAD_MUTEX_INITIALIZER};
    stele_sessions_options options = with_fake();
    options.on_error = keep_error;
    options.on_error_user = &last;
    options.summary_timeout_ms = 3000;
    stele_sessions *store = open_with(&options);
    many_sessions(1);
    fake_hold(); /* until its time is over: then it answers, and that is thrown away */
    enqueue(store, &sessions[0], NULL);
    close_store(store);
    assert_true(model.late);
    assert_int_equal(last.count, 1);
    assert_true(last.status == STELE_E_TIMEOUT || last.status == STELE_E_CANCELED);
    assert_true(has_summaries("0"));
}

static void sessions_that_are_gone_are_passed_over(void **state)
{
    (void)state;
    told last = {.lock = PTHREAD_MUTEX_INITIALIZER};
    stele_sessions_options options = with_fake();
    options.on_error = keep_error;
    options.on_error_user = &last;
    stele_sessions *store = open_with(&options);
    stele_session_key none = {stele_s("a"), stele_s("u"), stele_s("none")};
    enqueue(store, &none, NULL);
    close_store(store);
    assert_int_equal(last.count, 0);
    assert_int_equal(model.calls, 0);
}

/* ---- closing ---- */

static void closing_waits_for_what_is_queued(void **state)
{
    (void)state;
    stele_sessions_options options = one_worker(10, STELE_SUMMARY_FULL_REJECT);
    stele_sessions *store = open_with(&options);
    many_sessions(5);
    for (size_t i = 0; i < 5; i++)
        enqueue(store, &sessions[i], NULL);
    close_store(store);
    assert_true(has_summaries("5"));
}

static void closing_has_a_deadline(void **state)
{
    (void)state;
    stele_sessions_options options = with_fake();
    stele_sessions *store = open_with(&options);
    many_sessions(1);
    fake_hold();
    enqueue(store, &sessions[0], NULL);
    fake_wait_inside(1);
    assert_status(stele_sessions_close(store, 50, NULL, &err), STELE_E_TIMEOUT);
    assert_true(model.late);
    assert_true(has_summaries("0"));
}

/* Whoever waits for room, or does the job itself, is told so when the store is closed beside it. */
static void closing_has_callers_leave(void **state)
{
    (void)state;
    static const stele_summary_full full[] = {STELE_SUMMARY_FULL_BLOCK,
                                              STELE_SUMMARY_FULL_RUN_HERE};
    for (size_t i = 0; i < 2; i++) {
        (void)clean_summaries(NULL);
        stele_sessions_options options = one_worker(1, full[i]);
        options.summary_timeout_ms = 6 * SOON_MS; /* how long they would wait of themselves */
        stele_sessions *store = open_full(&options);
        request third = {.store = store};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, enqueue_third, &third), 0);
        if (full[i] == STELE_SUMMARY_FULL_RUN_HERE)
            fake_wait_inside(2);
        time_t begun = time(NULL);
        assert_status(stele_sessions_shutdown(store, 200, NULL, &err), STELE_E_TIMEOUT);
        assert_true(time(NULL) - begun < SOON_MS / 1000);
        assert_int_equal(pthread_join(thread, NULL), 0);
        /* What becomes of a job that runs here is told as of one that runs elsewhere. */
        assert_int_equal(third.status,
                         full[i] == STELE_SUMMARY_FULL_BLOCK ? STELE_E_CLOSED : STELE_OK);
        assert_true(has_summaries("0"));
        assert_status(stele_sessions_enqueue_summary(store, &sessions[0], NULL, false, &err),
                      STELE_E_CLOSED);
        assert_status(stele_sessions_create_summary(store, &sessions[0], NULL, true, &err),
                      STELE_E_CLOSED);
        (void)stele_sessions_close(store, 0, NULL, &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(single_filter_key_persists_both_keys),
        CLEAN(branches_that_differ_are_made_at_the_same_time),
        CLEAN(either_of_two_that_fails_fails_the_job),
        CLEAN(a_blocked_branch_still_cascades),
        CLEAN(the_cascade_can_be_off),
        CLEAN(a_caller_does_not_wait),
        CLEAN(requests_that_wait_are_one),
        CLEAN(what_comes_during_a_summary_is_not_missed),
        CLEAN(queue_full_fallback_to_sync),
        CLEAN(queue_full_reject),
        CLEAN(queue_full_block),
        CLEAN(queue_full_block_has_an_end),
        CLEAN(hash_distribution),
        CLEAN(an_append_may_ask),
        CLEAN(what_is_queued_is_told),
        CLEAN(closing_tells_what_was_queued),
        CLEAN(failures_are_told),
        CLEAN(a_job_has_its_time),
        CLEAN(sessions_that_are_gone_are_passed_over),
        CLEAN(closing_waits_for_what_is_queued),
        CLEAN(closing_has_a_deadline),
        CLEAN(closing_has_callers_leave),
    };
    return RUN_CLEAN(tests);
}
