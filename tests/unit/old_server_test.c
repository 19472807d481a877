/* A server that is too old is told at once, by a scripted one: real ones of that age are gone. */
#define _GNU_SOURCE /* mkdtemp */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit.h"

#include <stele.h>

typedef struct old_server {
    char folder[64];
    char path[96];
    int listener;
    pthread_t thread;
} old_server;

/* One message: type, length, body. */
static void say(int fd, char type, const char *body, size_t len)
{
    unsigned n = (unsigned)len + 4;
    char head[5] = {type, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
    (void)send(fd, head, sizeof head, MSG_NOSIGNAL);
    (void)send(fd, body, len, MSG_NOSIGNAL);
}

#define SAY(fd, type, body) say(fd, type, body, sizeof body - 1)

/* Greets each client as PostgreSQL 11 would, and waits until it hangs up. */
static void *serve(void *arg)
{
    const old_server *server = arg;
    char heard[1024];
    int fd;
    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        if (recv(fd, heard, sizeof heard, 0) > 0) {
            SAY(fd, 'R', "\0\0\0\0");
            SAY(fd, 'S',
                "server_version\0"
                "11.22\0");
            SAY(fd, 'S', "client_encoding\0UTF8\0");
            SAY(fd, 'S', "TimeZone\0UTC\0");
            SAY(fd, 'K', "\0\0\0\1\0\0\0\2");
            SAY(fd, 'Z', "I");
        }
        while (recv(fd, heard, sizeof heard, 0) > 0)
            continue;
        (void)close(fd);
    }
    return NULL;
}

static void start(old_server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(server->folder, sizeof server->folder, "/tmp/stele-old-XXXXXX");
    assert_non_null(mkdtemp(server->folder));
    (void)snprintf(server->path, sizeof server->path, "%s/.s.PGSQL.5432", server->folder);
    memcpy(address.sun_path, server->path, strlen(server->path) + 1);
    server->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 4), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(old_server *server)
{
    (void)shutdown(server->listener, SHUT_RDWR); /* ends the accept */
    (void)pthread_join(server->thread, NULL);
    (void)close(server->listener);
    (void)unlink(server->path);
    (void)rmdir(server->folder);
}

static void test_an_old_server_is_refused(void **state)
{
    (void)state;
    old_server server;
    stele_error err;
    stele_db *db = NULL;
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    start(&server);
    options.host = server.folder;
    options.user = "someone";
    options.dbname = "some";
    options.read_write = STELE_OFF;
    assert_int_equal(stele_db_open(&options, &db, &err), STELE_E_UNSUPPORTED);
    assert_null(db);
    assert_string_equal(err.message, "server version 11.22 is too old");
    assert_string_equal(err.hint, "Stele needs PostgreSQL 12 or newer");
    stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_old_server_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
