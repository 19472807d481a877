/**
 * Driving a connection from an event loop: poll, epoll, libuv, libev. No threads, no waiting.
 *
 *     stele_pipeline_start(p, &err);                      the batch, or one query as a batch of one
 *     while ((st = stele_conn_step(conn, &err)) == STELE_AGAIN)
 *         … wait for stele_conn_fd(conn) as stele_conn_wants(conn) says …
 *
 * Taking a connection from the pool may wait (for one to be free, or to connect): keep leases rather
 * than take one for each query, or acquire in a thread of its own.
 *
 * Floor: pipeline.
 */
#ifndef STELE_ASYNC_H
#define STELE_ASYNC_H

#include "stele/pipeline.h"

STELE_BEGIN_DECLS

/** What stele_conn_wants() answers, as bits. */
#define STELE_WANTS_READ 1
#define STELE_WANTS_WRITE 2

/** The socket, -1 if there is none. It stays the same while something started is under way. */
STELE_API int stele_conn_fd(const stele_conn *conn);

/** What to wait for before the next stele_conn_step(); 0 when nothing is under way. */
STELE_API int stele_conn_wants(const stele_conn *conn);

/**
 * Milliseconds until the deadline of what is under way: the longest time to wait. -1 when there is
 * none; 0 when it has passed, and stele_conn_step() will answer STELE_E_TIMEOUT.
 */
STELE_API int stele_conn_wait_ms(const stele_conn *conn);

/**
 * Carries on what was started, as far as it goes without waiting.
 *
 * Answers STELE_AGAIN while it is not finished; then what it came to, for a pipeline as
 * stele_pipeline_sync() does. STELE_E_MISUSE when nothing was started. May be called at any time.
 */
STELE_API STELE_MUST_CHECK stele_status stele_conn_step(stele_conn *conn, stele_error *err);

STELE_END_DECLS

#endif
