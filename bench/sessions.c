/*
 * The sessions store beside what a careful programmer writes on libpq: appends, reads of whole sessions,
 * of the end of a long one, and of events.
 */
#include <stdlib.h>
#include <string.h>

#include <stele/sessions.h>

#include "sessions.h"

#define LANES 10 /* the store's own number */

typedef struct user {
    uint64_t random;
    int32_t event_num;
} user;

static stele_sessions *store;
static sessions_name *names;
static int name_count;
static volatile uint64_t sink;

/* ---- the store ------------------------------------------------------------------------------ */

static void open_store(const bench_run *run, const char *kind, int count, bool async)
{
    stele_error err;
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    options.dsn = run->dsn;
    options.async_persist = async;
    options.pool.max_connections = (uint32_t)(run->threads + (async ? LANES : 0));
    bench_check(stele_sessions_open(&options, &store, &err), "stele_sessions_open", &err);
    names = sessions_names(kind, count);
    name_count = count;
}

static void setup_reads(const bench_run *run)
{
    open_store(run, "read", SESSIONS_READ, false);
}

static void setup_writes(const bench_run *run)
{
    open_store(run, "write", SESSIONS_WRITE, false);
}

static void setup_hot(const bench_run *run)
{
    open_store(run, "write", 1, false);
}

static void setup_long(const bench_run *run)
{
    open_store(run, "long", 1, false);
}

static void setup_big(const bench_run *run)
{
    open_store(run, "big", 1, false);
}

static void teardown(void)
{
    stele_error err;
    uint64_t lost;
    bench_check(stele_sessions_close(store, 10000, &lost, &err), "stele_sessions_close", &err);
    if (lost != 0)
        bench_die("stele_sessions_close", "events were lost");
    free(names);
}

static stele_session_key key_of(const sessions_name *name)
{
    const stele_session_key key = {
        .app_name = {SESSIONS_APP, sizeof SESSIONS_APP - 1},
        .user_id = {name->user, name->user_len},
        .session_id = {name->session, name->session_len},
    };
    return key;
}

static stele_session_key any_key(user *u)
{
    return key_of(&names[bench_random(&u->random) % (uint32_t)name_count]);
}

static void *open_user(const bench_run *run, int thread)
{
    user *u = bench_alloc(sizeof *u);
    (void)run;
    u->random = 88172645463325252u + (uint64_t)thread * 2654435761u;
    return u;
}

/* ---- appending ------------------------------------------------------------------------------ */

static void append(user *u, bool queued)
{
    stele_error err;
    stele_session_appended appended;
    stele_session_key key = any_key(u);
    stele_str event = {sessions_event, sessions_event_len};
    bench_check(stele_sessions_append(store, &key, event, &appended, &err), "append", &err);
    if (queued ? !appended.queued : appended.row_id == 0)
        bench_die("append", queued ? "the event was not queued" : "the event was not stored");
}

static void work_append(void *state, long count)
{
    for (long i = 0; i < count; i++)
        append(state, false);
}

static void setup_async(const bench_run *run)
{
    open_store(run, "write", SESSIONS_WRITE, true);
}

static void setup_async_hot(const bench_run *run)
{
    open_store(run, "write", 1, true);
}

static void work_async(void *state, long count)
{
    for (long i = 0; i < count; i++)
        append(state, true);
}

/* Nothing counts before it is durable. */
static void settle_async(void *state)
{
    stele_error err;
    (void)state;
    bench_check(stele_sessions_flush(store, NULL, 60000, &err), "flush", &err);
}

/* ---- reading -------------------------------------------------------------------------------- */

static uint64_t sum_of(const stele_session *session)
{
    uint64_t sum = session->state_count + session->summary_count + (uint64_t)session->updated_at;
    for (size_t i = 0; i < session->event_count; i++) {
        const stele_session_event *event = &session->events[i];
        sum += (uint64_t)event->row_id + (uint64_t)event->created_at + event->json.len;
    }
    return sum;
}

static void get(user *u, int32_t event_num, size_t least)
{
    stele_error err;
    stele_session *session = NULL;
    stele_session_key key = any_key(u);
    stele_session_get_options options = STELE_SESSION_GET_OPTIONS_INIT;
    options.event_num = event_num;
    bench_check(stele_sessions_get(store, &key, &options, &session, &err), "get", &err);
    if (session->event_count < least)
        bench_die("get", "too few events");
    sink = sum_of(session);
    stele_session_free(session);
}

static void work_get(void *state, long count)
{
    for (long i = 0; i < count; i++)
        get(state, 0, SESSIONS_EVENTS);
}

/* The last ones begin with a message of the user, so that up to two fewer come. */
static void work_last(void *state, long count)
{
    for (long i = 0; i < count; i++)
        get(state, SESSIONS_LAST, SESSIONS_LAST - 2);
}

static void work_long(void *state, long count)
{
    for (long i = 0; i < count; i++)
        get(state, 0, SESSIONS_LONG);
}

#define STELE_CASE(title, prepare, what)                                                           \
    {                                                                                              \
        .name = title, .setup = prepare, .open = open_user, .work = what, .close = free,           \
        .teardown = teardown                                                                       \
    }
#define ASYNC_CASE(title, prepare)                                                                 \
    {                                                                                              \
        .name = title, .setup = prepare, .open = open_user, .work = work_async,                    \
        .settle = settle_async, .close = free, .teardown = teardown                                \
    }

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        STELE_CASE("stele-append", setup_writes, work_append),
        STELE_CASE("stele-append-hot", setup_hot, work_append),
        ASYNC_CASE("stele-async", setup_async),
        ASYNC_CASE("stele-async-hot", setup_async_hot),
        STELE_CASE("stele-get", setup_reads, work_get),
        STELE_CASE("stele-last", setup_big, work_last),
        STELE_CASE("stele-long", setup_long, work_long),
        floor_sessions_append,
        floor_sessions_append_hot,
        floor_sessions_get,
        floor_sessions_last,
        floor_sessions_long,
        floor_sessions_ping,
        floor_sessions_commit,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
