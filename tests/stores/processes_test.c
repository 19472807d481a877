/* Eight processes on the same sessions. Each is this program again, told its number. */
#define _GNU_SOURCE
#include <spawn.h>
#include <sys/wait.h>

#include "store_lab.h"

enum { PROCESSES = 8, EVENTS = 60 };

extern char **environ;

static int be_one(const char *number)
{
    stele_sessions *s = NULL;
    stele_sessions_options options;
    dsn = getenv("STORE_DSN");
    options = world_options();
    options.pool.max_connections = 4;
    stele_status st = stele_sessions_open(&options, &s, &err);
    for (int i = 0; i < EVENTS && st == STELE_OK; i++) {
        char id[32];
        char session_id[32];
        STELE_AUTO(stele_session) session = NULL;
        snprintf(id, sizeof id, "%s-%d", number, i);
        snprintf(session_id, sizeof session_id, "s-%d", i % 3);
        stele_session_key key = key_of(session_id);
        st = stele_sessions_get_or_create(s, &key, NULL, 0, NULL, &session, NULL, &err);
        if (st == STELE_OK)
            st = stele_sessions_append(s, &key, stele_s(event_json(id, "user", "x")), NULL, &err);
    }
    stele_status closed = stele_sessions_close(s, 20000, NULL, st == STELE_OK ? &err : NULL);
    if (st != STELE_OK || closed != STELE_OK)
        fprintf(stderr, "process %s: %s\n", number, err.message);
    return st == STELE_OK && closed == STELE_OK ? 0 : 1;
}

static void test_eight_processes(void **state)
{
    (void)state;
    pid_t children[PROCESSES];
    assert_int_equal(setenv("STORE_DSN", dsn, 1), 0);
    for (int i = 0; i < PROCESSES; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", i);
        char *arguments[] = {"store_processes", number, NULL};
        assert_int_equal(
            posix_spawn(&children[i], "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(number("SELECT count(*) FROM {session_states}"), 3);
    assert_int_equal(number("SELECT count(DISTINCT event ->> 'id') FROM {session_events}"),
                     PROCESSES * EVENTS);
    assert_int_equal(number("SELECT count(*) FROM {session_events}"), PROCESSES * EVENTS);
    assert_int_equal(
        number("SELECT count(*) FROM (SELECT FROM {session_events} GROUP BY session_id,"
               " created_at HAVING count(*) > 1) t"),
        0);
    STELE_AUTO(stele_session) session = get_session("s-0", NULL);
    assert_int_equal(session->event_count, PROCESSES * EVENTS / 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        STORED(test_eight_processes),
    };
    if (argc > 1)
        return be_one(argv[1]);
    dbtest_require_server();
    return RUN_STORED(tests);
}
