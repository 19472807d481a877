/**
 * Waiting for the socket, by a deadline.
 *
 * Floor: conn.
 */
#include "link_internal.h"

#include <string.h>

#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define LOOK_MS 50 /* between two looks whether a link was given up */

/* For how long to wait at once where somebody may give up the link meanwhile; 0: it is. */
static int until_next_look(const stele__link *link, int timeout)
{
    if (link->given_up == NULL)
        return timeout;
    if (__atomic_load_n(link->given_up, __ATOMIC_RELAXED))
        return 0;
    return timeout < 0 || timeout > LOOK_MS ? LOOK_MS : timeout;
}

int stele__link_wait(const stele__link *link, short events, stele__deadline deadline)
{
    /* Not link->fd: libpq closes a dead connection's socket itself, and the number lives on as
     * another's. */
    struct pollfd pfd = {.fd = PQsocket(link->pg), .events = events};
    if (pfd.fd < 0)
        return -1;
    for (;;) {
        int timeout = -1;
        if (deadline != STELE__NEVER) {
            uint64_t now = (uint64_t)stele__now_ns();
            if (now >= deadline)
                return 0;
            uint64_t left_ms = (deadline - now + 999999u) / 1000000u;
            timeout = left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
        }
        timeout = until_next_look(link, timeout);
        int ready = poll(&pfd, 1, timeout);
        if (ready > 0)
            return pfd.revents;
        if (ready == 0 && timeout == 0)
            return 0;
        if (ready < 0 && errno != EINTR && errno != EAGAIN)
            return -1;
    }
}

stele_status stele__link_expired(stele__link *link, stele_error *err)
{
    /* The answer may still come, so nobody may use this link again. */
    link->broken = true;
    return stele__fail(err, STELE_E_TIMEOUT, "no answer from the server in time");
}

size_t stele__link_said(const stele__link *link)
{
    return strlen(PQerrorMessage(link->pg));
}

stele_status stele__link_starved(stele__link *link, stele_error *err)
{
    link->broken = true;
    return stele__fail(err, STELE_E_NOMEM, "out of memory while reading an answer");
}

stele_status stele__link_flush(stele__link *link, int left, stele__deadline deadline,
                               stele_error *err)
{
    for (; left != 0; left = PQflush(link->pg)) {
        if (left < 0)
            return stele__link_lost(link, err);
        int ready = stele__link_wait(link, POLLIN | POLLOUT, deadline);
        if (ready == 0)
            return stele__link_expired(link, err);
        if (ready < 0 || ((ready & POLLIN) && !PQconsumeInput(link->pg)))
            return stele__link_lost(link, err);
    }
    return STELE_OK;
}

stele_status stele__link_await(stele__link *link, stele__deadline deadline, stele_error *err)
{
    stele_status st = STELE_OK;
    size_t said = stele__link_said(link);
    while (st == STELE_OK && PQisBusy(link->pg)) {
        if (stele__link_said(link) > said)
            return stele__link_starved(link, err);
        st = stele__link_take_input(link, stele__link_wait(link, POLLIN, deadline), err);
    }
    return st;
}
