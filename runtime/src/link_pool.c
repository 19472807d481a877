/**
 * How links end.
 *
 * Floor: conn.
 */
#define _GNU_SOURCE
#include "link_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "banned.h"

bool stele__link_is_idle(const stele__link *link)
{
    return PQtransactionStatus(link->pg) == PQTRANS_IDLE;
}

bool stele__link_has_work(const stele__link *link)
{
    return link->pg != NULL && PQstatus(link->pg) == CONNECTION_OK &&
           PQtransactionStatus(link->pg) == PQTRANS_ACTIVE;
}

static bool says_on(const stele__link *link, const char *name, bool unknown)
{
    const char *value = PQparameterStatus(link->pg, name);
    return value == NULL ? unknown : strcmp(value, "on") == 0;
}

bool stele__link_is_demoted(const stele__link *link)
{
    /* Servers from 14 on report both. A write in a READ ONLY transaction is refused with the same
     * SQLSTATE, but then neither is on. */
    return says_on(link, "in_hot_standby", true) ||
           says_on(link, "default_transaction_read_only", false);
}

int stele__link_socket(const stele__link *link)
{
    /* Not link->fd: libpq closes a dead connection's socket itself, and the number lives on as
     * another's. */
    return link->pg != NULL ? PQsocket(link->pg) : -1;
}

int stele__link_end(stele__link *link)
{
    int watch = -1;
    int fd = stele__link_socket(link);
    if (fd >= 0 && !stele__link_is_foreign(link))
        watch = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    stele__link_close(link);
    return watch;
}

bool stele__end_is_seen(int fd)
{
    char waste[512];
    for (;;) {
        ssize_t got = recv(fd, waste, sizeof waste, MSG_DONTWAIT);
        if (got > 0 || (got < 0 && errno == EINTR))
            continue;
        return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
    }
}

void stele__link_shutdown(const stele__link *link)
{
    int fd = stele__link_socket(link);
    if (fd >= 0)
        (void)shutdown(fd, SHUT_RDWR);
}
