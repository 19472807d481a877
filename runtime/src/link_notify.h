/**
 * What NOTIFY brings.
 *
 * Floor: conn.
 */
#ifndef STELE_LINK_NOTIFY_H
#define STELE_LINK_NOTIFY_H

#include "link.h"

/** A notification; stele__notification_release() it. */
typedef struct stele__notification {
    const char *channel;
    const char *payload; /* "" for none */
    int backend_pid;     /* of who notified */
    void *memory;
} stele__notification;

/** The next one of those that were read; false when there are no more. */
bool stele__link_next_notification(stele__link *link, stele__notification *ret_notification);

void stele__notification_release(stele__notification *notification);

/**
 * Waits until `link` (may be NULL) or `fd` (may be -1) can be read: 0 at the deadline; else bits of
 * what can be read.
 */
enum { STELE__CAN_READ_LINK = 1, STELE__CAN_READ_FD = 2 };
int stele__link_wait_both(const stele__link *link, int fd, stele__deadline deadline);

#endif
