/*
 * A network between a client and a server of the same machine: what one sends reaches the other half a
 * millisecond later, or what was asked for, in the same order.
 *
 *     bench-delay-proxy LISTEN-SOCKET SERVER-SOCKET DELAY-US
 *
 * It prints "ready" once it listens, and ends with its standard input.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WIRES 256
#define PIECE 65536
#define MOST_UNDER_WAY (8 << 20) /* bytes of one direction; then its sender waits */

/* Bytes that were read together. None: the sender has ended. */
typedef struct piece {
    struct piece *next;
    uint64_t due_ns;
    size_t len;
    size_t sent;
    char bytes[];
} piece;

/* One direction of a wire. */
typedef struct flow {
    piece *first;
    piece *last;
    size_t under_way;
    bool ended;   /* nothing more comes */
    bool blocked; /* the receiver takes nothing now */
    bool done;
} flow;

/* A client and its connection to the server; flow i leads from ends[i] to the other one. */
typedef struct wire {
    bool open;
    int ends[2];
    flow flows[2];
} wire;

static wire wires[WIRES];
static struct pollfd polled[2 + 2 * WIRES];
static uint64_t delay_ns;

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "bench-delay-proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- sockets -------------------------------------------------------------------------------- */

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        die(path);
    }
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, WIRES) != 0)
        die(path);
    return fd;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        die(path);
    return fd;
}

static void accept_client(int listener, const char *server)
{
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0)
        return; /* it has gone again */
    for (int i = 0; i < WIRES; i++) {
        if (wires[i].open)
            continue;
        wires[i] = (wire){.open = true, .ends = {client, connect_to(server)}};
        return;
    }
    (void)close(client);
}

static void close_wire(wire *w)
{
    for (int i = 0; i < 2; i++) {
        while (w->flows[i].first != NULL) {
            piece *p = w->flows[i].first;
            w->flows[i].first = p->next;
            free(p);
        }
        (void)close(w->ends[i]);
    }
    w->open = false;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static void take_in(wire *w, int from)
{
    static char bytes[PIECE];
    flow *f = &w->flows[from];
    ssize_t got = recv(w->ends[from], bytes, sizeof bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    size_t len = got > 0 ? (size_t)got : 0; /* an error ends it, too */
    piece *p = malloc(sizeof *p + len);
    if (p == NULL)
        die("malloc");
    *p = (piece){.due_ns = now_ns() + delay_ns, .len = len};
    memcpy(p->bytes, bytes, len);
    if (f->first == NULL)
        f->first = p;
    else
        f->last->next = p;
    f->last = p;
    f->under_way += len;
    f->ended = len == 0;
}

/* What can be handed on now of a piece; false: nothing. */
static bool hand_on_some(wire *w, int from, piece *p)
{
    flow *f = &w->flows[from];
    if (p->len == 0 || f->done) {
        p->sent = p->len;
        if (!f->done)
            (void)shutdown(w->ends[1 - from], SHUT_WR);
        f->done = true;
        return true;
    }
    ssize_t sent = send(w->ends[1 - from], p->bytes + p->sent, p->len - p->sent, MSG_NOSIGNAL);
    if (sent >= 0)
        p->sent += (size_t)sent;
    else if (errno == EAGAIN)
        f->blocked = true;
    else if (errno != EINTR)
        f->done = true; /* nobody is there: what comes is dropped */
    return sent >= 0;
}

static void hand_on(wire *w, int from, uint64_t now)
{
    flow *f = &w->flows[from];
    while (f->first != NULL && f->first->due_ns <= now && !f->blocked) {
        piece *p = f->first;
        if (!hand_on_some(w, from, p) || p->sent < p->len)
            continue;
        f->first = p->next;
        f->under_way -= p->len;
        free(p);
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void watch(wire *w, struct pollfd *fds)
{
    for (int i = 0; i < 2; i++) {
        const flow *in = &w->flows[i];
        const flow *out = &w->flows[1 - i];
        bool reads = !in->ended && in->under_way < MOST_UNDER_WAY;
        fds[i].fd = w->open && (reads || out->blocked) ? w->ends[i] : -1;
        fds[i].events = (short)((reads ? POLLIN : 0) | (out->blocked ? POLLOUT : 0));
        fds[i].revents = 0;
    }
}

static uint64_t next_due(void)
{
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < WIRES; i++)
        for (int j = 0; j < 2 && wires[i].open; j++) {
            const flow *f = &wires[i].flows[j];
            if (f->first != NULL && !f->blocked && f->first->due_ns < due)
                due = f->first->due_ns;
        }
    return due;
}

static void wait_for_something(void)
{
    uint64_t due = next_due();
    uint64_t now = now_ns();
    uint64_t left = due > now ? due - now : 0;
    struct timespec t = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
    if (ppoll(polled, 2 + 2 * WIRES, due == UINT64_MAX ? NULL : &t, NULL) < 0 && errno != EINTR)
        die("ppoll");
}

static void serve(wire *w, const struct pollfd *fds)
{
    for (int i = 0; i < 2; i++) {
        if ((fds[i].revents & (POLLOUT | POLLHUP | POLLERR)) != 0)
            w->flows[1 - i].blocked = false;
        if ((fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !w->flows[i].ended)
            take_in(w, i);
    }
    uint64_t now = now_ns();
    hand_on(w, 0, now);
    hand_on(w, 1, now);
    if (w->flows[0].done && w->flows[1].done)
        close_wire(w);
}

int main(int argc, char **argv)
{
    char *end;
    if (argc != 4 || (delay_ns = strtoull(argv[3], &end, 10) * 1000, *end != '\0')) {
        (void)fprintf(stderr, "usage: bench-delay-proxy LISTEN-SOCKET SERVER-SOCKET DELAY-US\n");
        return 2;
    }
    int listener = listen_at(argv[1]);
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); /* else 50 us late */
    polled[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    polled[1] = (struct pollfd){.fd = listener, .events = POLLIN};
    (void)printf("ready\n");
    (void)fflush(stdout);
    while ((polled[0].revents & (POLLIN | POLLHUP)) == 0) {
        for (int i = 0; i < WIRES; i++)
            watch(&wires[i], &polled[2 + 2 * i]);
        wait_for_something();
        for (int i = 0; i < WIRES; i++)
            if (wires[i].open)
                serve(&wires[i], &polled[2 + 2 * i]);
        if ((polled[1].revents & POLLIN) != 0)
            accept_client(listener, argv[2]);
    }
    return 0;
}
