#define _GNU_SOURCE
#include "relay.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, POLL_MS = 5 };

typedef struct session {
    pthread_t thread;
    struct session *next;
    int client;
    bool pooled;
    bool busy; /* the client waits for an answer */
    unsigned char *data;
    size_t have; /* bytes of the server not passed on yet */
} session;

static char folder[64];
static char client_dsn[400];
static struct sockaddr_un server_address;
static int listener = -1;
static pthread_t acceptor;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static session *sessions;
static atomic_int mode;
static atomic_int cuts;
static atomic_int accepted;
static atomic_int open_now;
static atomic_bool stopping;

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(99);
}

/* ---- passing on ---- */

static bool send_all(int fd, const unsigned char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* One message of the server: true if it is to be passed on. */
static bool look_at(session *s, unsigned char *message, size_t len)
{
    relay_mode now = (relay_mode)atomic_load(&mode);
    if (message[0] == 'K' && s->pooled && len >= 9)
        message[8] ^= 0x55; /* the process number */
    if (message[0] == 'Z')
        s->busy = false;
    if (message[0] != 'A')
        return true;
    return now != RELAY_DROP_NOTIFICATIONS && (now != RELAY_POOL_TRANSACTION || s->busy);
}

static bool pass_messages(session *s)
{
    size_t at = 0;
    while (s->have - at >= 5) {
        unsigned char *m = s->data + at;
        size_t len = 1 + ((size_t)m[1] << 24 | (size_t)m[2] << 16 | (size_t)m[3] << 8 | m[4]);
        if (s->have - at < len)
            break;
        if (look_at(s, m, len) && !send_all(s->client, m, len))
            return false;
        at += len;
    }
    memmove(s->data, s->data + at, s->have - at);
    s->have -= at;
    return true;
}

static bool from_server(session *s, int server)
{
    ssize_t got = recv(server, s->data + s->have, BUFFER - s->have, 0);
    if (got <= 0)
        return false;
    if (atomic_load(&mode) == RELAY_SWALLOW)
        return true;
    s->have += (size_t)got;
    return pass_messages(s);
}

static bool from_client(session *s, int server)
{
    unsigned char data[8192];
    ssize_t got = recv(s->client, data, sizeof data, 0);
    if (got <= 0)
        return false;
    if (atomic_load(&mode) == RELAY_SWALLOW)
        return true;
    s->busy = true;
    return send_all(server, data, (size_t)got);
}

static void relay(session *s, int server)
{
    int cut_at = atomic_load(&cuts);
    struct pollfd fds[2] = {{.fd = s->client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    while (!atomic_load(&stopping) && atomic_load(&cuts) == cut_at) {
        if (poll(fds, 2, POLL_MS) <= 0)
            continue;
        if (fds[0].revents != 0 && !from_client(s, server))
            return;
        if (fds[1].revents != 0 && !from_server(s, server))
            return;
    }
}

static void *run_session(void *user)
{
    session *s = user;
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(server, (struct sockaddr *)&server_address, sizeof server_address) == 0)
        relay(s, server);
    (void)close(server);
    (void)close(s->client);
    free(s->data);
    s->data = NULL;
    atomic_fetch_sub(&open_now, 1);
    return NULL;
}

static void begin_session(int client)
{
    session *s = calloc(1, sizeof *s);
    if (s == NULL || (s->data = malloc(BUFFER)) == NULL)
        die("malloc");
    s->client = client;
    s->pooled =
        atomic_load(&mode) == RELAY_POOL_SESSION || atomic_load(&mode) == RELAY_POOL_TRANSACTION;
    atomic_fetch_add(&open_now, 1);
    if (pthread_create(&s->thread, NULL, run_session, s) != 0)
        die("pthread_create");
    (void)pthread_mutex_lock(&lock);
    s->next = sessions;
    sessions = s;
    (void)pthread_mutex_unlock(&lock);
}

static void *accept_all(void *user)
{
    (void)user;
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            return NULL;
        atomic_fetch_add(&accepted, 1);
        if (atomic_load(&mode) == RELAY_REFUSE)
            (void)close(client);
        else
            begin_session(client);
    }
}

/* ---- where ---- */

static const char *value_of(const PQconninfoOption *options, const char *key, const char *otherwise)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, key) == 0 && options->val != NULL)
            return options->val;
    return otherwise;
}

static void find_server(const char *dsn)
{
    PQconninfoOption *options = PQconninfoParse(dsn, NULL);
    if (options == NULL)
        die("dsn");
    const char *host = value_of(options, "host", "/var/run/postgresql");
    server_address.sun_family = AF_UNIX;
    (void)snprintf(server_address.sun_path, sizeof server_address.sun_path, "%.60s/.s.PGSQL.%.6s",
                   host, value_of(options, "port", "5432"));
    (void)snprintf(client_dsn, sizeof client_dsn, "host=%s port=5432 user=%.60s dbname=%.60s",
                   folder, value_of(options, "user", "stele"),
                   value_of(options, "dbname", "stele"));
    PQconninfoFree(options);
}

void relay_start(const char *dsn)
{
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    (void)snprintf(folder, sizeof folder, "/tmp/stele-relay-XXXXXX");
    if (mkdtemp(folder) == NULL)
        die("mkdtemp");
    find_server(dsn);
    (void)snprintf(own.sun_path, sizeof own.sun_path, "%s/.s.PGSQL.5432", folder);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&own, sizeof own) != 0 ||
        listen(listener, 64) != 0)
        die("relay");
    atomic_store(&stopping, false);
    atomic_store(&mode, RELAY_PASS);
    atomic_store(&accepted, 0);
    if (pthread_create(&acceptor, NULL, accept_all, NULL) != 0)
        die("pthread_create");
}

void relay_stop(void)
{
    char path[100];
    atomic_store(&stopping, true);
    (void)shutdown(listener, SHUT_RDWR);
    (void)pthread_join(acceptor, NULL);
    (void)close(listener);
    while (sessions != NULL) {
        session *s = sessions;
        sessions = s->next;
        (void)pthread_join(s->thread, NULL);
        free(s);
    }
    (void)snprintf(path, sizeof path, "%s/.s.PGSQL.5432", folder);
    (void)unlink(path);
    (void)rmdir(folder);
}

const char *relay_dsn(void)
{
    return client_dsn;
}

void relay_set(relay_mode to)
{
    atomic_store(&mode, (int)to);
}

void relay_cut(void)
{
    atomic_fetch_add(&cuts, 1);
}

int relay_accepted(void)
{
    return atomic_load(&accepted);
}

int relay_open(void)
{
    return atomic_load(&open_now);
}
