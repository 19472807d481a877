/**
 * What the files that speak to libpq share. No other file includes this.
 *
 * Floor: conn.
 */
#ifndef STELE_LINK_INTERNAL_H
#define STELE_LINK_INTERNAL_H

#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>

#include "link_flow.h"

/** Waits for `events` on the socket: the poll revents, 0 at the deadline, -1 on a failure. */
int stele__link_wait(const stele__link *link, short events, stele__deadline deadline);

/** The deadline has passed: marks the link broken and says so. */
stele_status stele__link_expired(stele__link *link, stele_error *err);

/**
 * Pushes out what libpq holds, reading meanwhile so that neither side blocks the other; `left` is what
 * PQflush has said. A link that fails here has not sent the end of what it was given.
 */
stele_status stele__link_flush(stele__link *link, int left, stele__deadline deadline,
                               stele_error *err);

/** Waits until the next PQgetResult would not block. */
stele_status stele__link_await(stele__link *link, stele__deadline deadline, stele_error *err);

/** Reads what the socket is `ready` for. STELE_OK also when there is only the end. */
static inline stele_status stele__link_take_input(stele__link *link, int ready, stele_error *err)
{
    if (ready == 0)
        return stele__link_expired(link, err);
    /* The server's last words may be in the buffer already. */
    if ((ready < 0 || !PQconsumeInput(link->pg)) && PQisBusy(link->pg))
        return stele__link_lost(link, err);
    return STELE_OK;
}

/** Turns a failed connection attempt into an error, with its SQLSTATE if the server sent one. */
stele_status stele__link_connect_error(const stele__link *link, stele_error *err);

/** Hands one step to libpq; 0 if it does not take it. */
int stele__link_send(const stele__link *link, const stele__step *step);

/** After that: tells a dead connection from what libpq refuses before sending anything. */
stele_status stele__link_send_failed(stele__link *link, stele_error *err);

#endif
