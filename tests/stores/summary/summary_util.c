#define _GNU_SOURCE
#include "summary_util.h"

#include <stdarg.h>
#include <time.h>

char *dsn;
stele_error err;
fake model = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

/* ---- the summarizer ---- */

static void step_in(const stele_summary_view *view)
{
    size_t used;
    if (model.calls < 64)
        model.threads[model.calls] = pthread_self();
    model.calls++;
    model.inside++;
    model.most = model.inside > model.most ? model.inside : model.most;
    used = (size_t)snprintf(model.seen, sizeof model.seen, "%s|%s|", view->filter_key.data,
                            view->previous.data);
    for (size_t i = 0; i < view->event_count && used < sizeof model.seen; i++)
        used += (size_t)snprintf(model.seen + used, sizeof model.seen - used, "%s,",
                                 view->events[i].id.data);
    (void)pthread_cond_broadcast(&model.moved);
}

static void soon(struct timespec *until, long ms)
{
    (void)clock_gettime(CLOCK_REALTIME, until);
    until->tv_sec += ms / 1000;
    until->tv_nsec += ms % 1000 * 1000000;
    until->tv_sec += until->tv_nsec / 1000000000;
    until->tv_nsec %= 1000000000;
}

/* Waits while held; gives up like a good summarizer when its time is over, unless it is patient. */
static void wait_inside(const stele_summary_view *view)
{
    while (model.held) {
        struct timespec until;
        if (stele_summary_time_left_ms(view) == 0) {
            model.late = true;
            (void)pthread_cond_broadcast(&model.moved);
            if (!model.patient)
                return;
        }
        soon(&until, 10);
        (void)pthread_cond_timedwait(&model.moved, &model.lock, &until);
    }
}

static stele_status fake_summarize(const stele_summary_view *view, stele_summary_text *text,
                                   void *user, stele_error *error)
{
    (void)user;
    (void)pthread_mutex_lock(&model.lock);
    step_in(view);
    wait_inside(view);
    bool fails = model.failures > 0, silent = model.silent;
    model.failures -= fails;
    model.inside--;
    (void)pthread_cond_broadcast(&model.moved);
    (void)pthread_mutex_unlock(&model.lock);
    if (fails && error != NULL) {
        stele_error_clear(error);
        error->status = STELE_E_SERVER;
        (void)snprintf(error->message, sizeof error->message, "the model is tired");
    }
    if (fails)
        return STELE_E_SERVER;
    if (silent)
        return STELE_OK;
    stele_summary_add(text, view->previous.data, view->previous.len);
    if (view->previous.len > 0)
        stele_summary_add(text, "+", 1);
    stele_summary_add(text, view->filter_key.data, view->filter_key.len);
    stele_summary_add(text, ":", 1);
    for (size_t i = 0; i < view->event_count; i++)
        stele_summary_add(text, view->events[i].id.data, view->events[i].id.len);
    return STELE_OK;
}

static bool fake_should(const stele_summary_view *view, void *user)
{
    (void)view, (void)user;
    (void)pthread_mutex_lock(&model.lock);
    bool yes = !model.never;
    (void)pthread_mutex_unlock(&model.lock);
    return yes;
}

const stele_summarizer fake_summarizer = {
    .size = sizeof(stele_summarizer), .should_summarize = fake_should, .summarize = fake_summarize};

void fake_reset(void)
{
    (void)pthread_mutex_lock(&model.lock);
    model.calls = model.inside = model.most = model.failures = 0;
    model.held = model.patient = model.late = model.never = model.silent = false;
    model.seen[0] = '\0';
    (void)pthread_mutex_unlock(&model.lock);
}

static void set_held(bool held)
{
    (void)pthread_mutex_lock(&model.lock);
    model.held = held;
    (void)pthread_cond_broadcast(&model.moved);
    (void)pthread_mutex_unlock(&model.lock);
}

void fake_hold(void)
{
    set_held(true);
}

void fake_let_go(void)
{
    set_held(false);
}

static void wait_for(const int *number, int count)
{
    struct timespec until;
    soon(&until, 60000);
    (void)pthread_mutex_lock(&model.lock);
    int failed = 0;
    while (*number < count && failed == 0)
        failed = pthread_cond_timedwait(&model.moved, &model.lock, &until);
    (void)pthread_mutex_unlock(&model.lock);
    assert_int_equal(failed, 0);
}

void fake_wait_inside(int count)
{
    wait_for(&model.inside, count);
}

void fake_wait_calls(int count)
{
    wait_for(&model.calls, count);
}

/* ---- the database ---- */

static bool world_is(const char *name)
{
    const char *world = getenv("STELE_WORLD");
    return world != NULL && strstr(world, name) != NULL;
}

stele_sessions_options with_fake(void)
{
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    options.dsn = dsn;
    options.summarizer = &fake_summarizer;
    if (world_is("named")) {
        options.schema = "tenant";
        options.prefix = "app1";
    }
    if (world_is("hard"))
        options.soft_delete = STELE_OFF;
    options.async_persist = world_is("async");
    return options;
}

stele_sessions *open_with(const stele_sessions_options *options)
{
    stele_sessions *store = NULL;
    assert_ok(stele_sessions_open(options, &store, &err));
    return store;
}

void close_store(stele_sessions *store)
{
    assert_ok(stele_sessions_close(store, 10000, NULL, &err));
}

int setup_summaries(void **state)
{
    (void)state;
    dbtest_require_server();
    dsn = dbtest_create();
    if (world_is("named"))
        peer("CREATE SCHEMA tenant");
    stele_sessions_options options = with_fake();
    close_store(open_with(&options));
    /* What the tests write and look at has one name in all worlds. */
    static const char *const tables[] = {"session_states", "session_events", "session_summaries",
                                         "session_summary_jobs"};
    for (size_t i = 0; world_is("named") && i < sizeof tables / sizeof tables[0]; i++)
        peer("CREATE VIEW %s AS SELECT * FROM tenant.app1_%s", tables[i], tables[i]);
    return 0;
}

int teardown_summaries(void **state)
{
    (void)state;
    dbtest_drop(dsn);
    return 0;
}

int clean_summaries(void **state)
{
    (void)state;
    fake_reset();
    peer("DELETE FROM session_states; DELETE FROM session_events; DELETE FROM session_summaries;"
         " DELETE FROM session_summary_jobs");
    return 0;
}

void peer(const char *fmt, ...)
{
    char sql[4096];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(sql, sizeof sql, fmt, args);
    va_end(args);
    assert_in_range(len, 1, sizeof sql - 1);
    dbtest_exec(dsn, sql);
}

stele_session_key new_session(const char *id)
{
    stele_session_key key = {stele_s("a"), stele_s("u"), stele_s(id)};
    peer("INSERT INTO session_states (app_name, user_id, session_id, state, created_at, updated_at)"
         " VALUES ('a', 'u', '%s', '{\"id\": \"%s\", \"state\": {}}', '2026-03-01 09:00',"
         " '2026-03-01 09:00')",
         id, id);
    return key;
}

void new_event(const stele_session_key *key, const char *id, int minute, const char *filter_key)
{
    peer(
        "INSERT INTO session_events (app_name, user_id, session_id, event, created_at, updated_at)"
        " VALUES ('a', 'u', '%s', '{\"id\": \"%s\", \"timestamp\": \"2026-03-01T18:%02d:00+08:00\","
        " \"version\": 1, \"filterKey\": \"%s\", \"author\": \"user\", \"choices\": [{\"message\":"
        " {\"role\": \"user\", \"content\": \"This is %s.\"}}]}',"
        " timestamp '2026-03-01 10:%02d:00.001', now())",
        key->session_id.data, id, minute, filter_key, id, minute);
}

stele_status append_event(stele_sessions *store, const stele_session_key *key, const char *id,
                          const char *filter_key)
{
    stele_event event = STELE_EVENT_INIT;
    event.id = stele_s(id);
    event.author = event.role = stele_s("user");
    event.content = stele_s("Something is said.");
    event.filter_key = stele_s(filter_key);
    return stele_sessions_append_event(store, key, &event, NULL, &err);
}

const char *stored_text(const stele_session_key *key, const char *filter_key)
{
    static char texts[4][512];
    static int next;
    char sql[512], *text = texts[next++ % 4];
    (void)snprintf(sql, sizeof sql,
                   "SELECT summary->>'summary' FROM session_summaries WHERE deleted_at IS NULL"
                   " AND session_id = '%s' AND filter_key = '%s'",
                   key->session_id.data, filter_key);
    char *value = dbtest_value(dsn, sql);
    (void)snprintf(text, sizeof texts[0], "%s", value);
    free(value);
    return text;
}

bool becomes(const char *sql, const char *expected)
{
    char condition[1024];
    (void)snprintf(condition, sizeof condition, "SELECT (%s)::text = '%s'", sql, expected);
    return dbtest_wait_until(dsn, condition);
}
