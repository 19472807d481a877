/**
 * What the pool asks of a link beyond using it: whether work is left on it, how it ends, and
 * whether its server was demoted.
 *
 * Floor: conn.
 */
#ifndef STELE_LINK_POOL_H
#define STELE_LINK_POOL_H

#include "link.h"

/** True if the session is outside of a transaction, with nothing under way; not for a broken link. */
bool stele__link_is_idle(const stele__link *link);

/** True if the server may still be at work for it: a cancel request should come before the end. */
bool stele__link_has_work(const stele__link *link);

/** True if the server says that it takes no writes (or is too old to say), now that it refused one. */
bool stele__link_is_demoted(const stele__link *link);

/** The socket as it is now, -1 if there is none any more. */
int stele__link_socket(const stele__link *link);

/**
 * Closes the link, and gives a descriptor that reads end-of-file once the server's process is gone:
 * only then is a new connection in its place not one too many. -1 if that cannot be watched.
 * Owns: the caller: close().
 */
int stele__link_end(stele__link *link);

/** Without waiting: true once the server's process behind `fd` is gone. */
bool stele__end_is_seen(int fd);

/** Makes the server notice that nobody listens any more; for a link that cannot be closed yet. */
void stele__link_shutdown(const stele__link *link);

#endif
