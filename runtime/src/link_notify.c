/**
 * Notifications, as libpq keeps them.
 *
 * Floor: conn.
 */
#include "link_notify.h"

#include "link_internal.h"
#include "text_internal.h"

#include "banned.h"

bool stele__link_next_notification(stele__link *link, stele__notification *ret_notification)
{
    PGnotify *notify = link->pg != NULL ? PQnotifies(link->pg) : NULL;
    if (notify == NULL)
        return false;
    *ret_notification = (stele__notification){.channel = notify->relname,
                                              .payload = notify->extra,
                                              .backend_pid = notify->be_pid,
                                              .memory = notify};
    return true;
}

void stele__notification_release(stele__notification *notification)
{
    PQfreemem(notification->memory);
    notification->memory = NULL;
}

static int left_ms(stele__deadline deadline)
{
    if (deadline == STELE__NEVER)
        return -1;
    uint64_t now = (uint64_t)stele__now_ns();
    uint64_t left = now < deadline ? (deadline - now + 999999u) / 1000000u : 0;
    return left > INT32_MAX ? INT32_MAX : (int)left;
}

int stele__link_wait_both(const stele__link *link, int fd, stele__deadline deadline)
{
    struct pollfd fds[2] = {{.fd = link != NULL ? PQsocket(link->pg) : -1, .events = POLLIN},
                            {.fd = fd, .events = POLLIN}};
    for (;;) {
        int timeout = left_ms(deadline);
        int ready = poll(fds, 2, timeout);
        if (ready > 0)
            return (fds[0].revents != 0 ? STELE__CAN_READ_LINK : 0) |
                   (fds[1].revents != 0 ? STELE__CAN_READ_FD : 0);
        if (ready == 0 && timeout == 0)
            return 0;
        if (ready == 0 && left_ms(deadline) == 0)
            return 0;
    }
}
