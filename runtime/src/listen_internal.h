/**
 * A line: a connection of a thread's own, that is made again when it is lost.
 *
 * The link belongs to the thread, before it is started to whoever opens the line. Other threads
 * wake the thread, or cut what it waits for.
 *
 * Floor: listen.
 */
#ifndef STELE_LISTEN_INSIDE_H
#define STELE_LISTEN_INSIDE_H

#include <pthread.h>

#include "cond.h"
#include "link_notify.h"
#include "pool_internal.h"
#include "stele/listen.h"

typedef struct stele__line {
    stele_db *db; /* a handle of its own: it keeps the pool's parameters alive */
    const stele__pool *pool;
    uint32_t fork_epoch;
    int wake_fd;
    stele__link *link; /* the thread's; NULL when there is no connection */
    size_t first_host;
    uint32_t failures; /* in a row */
    uint64_t jitter;
    uint64_t due_ns; /* the next attempt to connect */
    int socket;      /* of the link, for forked children; -1 for none */

    pthread_mutex_t lock; /* of what follows, and of the thread's own things */
    pthread_cond_t changed;
    int cut_fd; /* a duplicate of the socket, that others may shut down; -1 for none */
    pthread_t thread;
    bool started;
    bool closing;
    bool cut;       /* end at once */
    bool ended;     /* the thread has */
    bool abandoned; /* the thread frees it all */
} stele__line;

/** Errors: STELE_E_NOMEM, STELE_E_FORKED, STELE_E_CLOSED. */
stele_status stele__line_init(stele__line *line, stele_db *db, stele_error *err);
void stele__line_release(stele__line *line);

/** Connects. Errors: as stele_db_open(). */
stele_status stele__line_connect(stele__line *line, stele_error *err);

/** Ends the connection, if there is one. */
void stele__line_hang_up(stele__line *line);

/** After a failure: sets the time of the next attempt. */
void stele__line_back_off(stele__line *line, uint32_t most_ms);

/** Starts the thread, which has to end with stele__line_end(). */
stele_status stele__line_start(stele__line *line, void *(*run)(void *), void *arg,
                               stele_error *err);

/** The thread is through: true when it has to free everything itself. */
bool stele__line_end(stele__line *line);

/** Wakes the thread. Any thread, any time. */
void stele__line_wake(const stele__line *line);

/** Waits for the server, for being woken, for the deadline; as stele__link_wait_both(). */
int stele__line_wait(stele__line *line, stele__deadline deadline);

/**
 * Has the thread end: at once, or when it is through with what it still has to do by `deadline_ms`.
 * False: it had not ended when the time was over, and frees everything itself.
 */
bool stele__line_close(stele__line *line, bool at_once, uint32_t deadline_ms);

/** In a forked child: closes the copies of the descriptors. */
void stele__line_close_in_child(stele__line *line);

/** STELE_OK, or STELE_E_FORKED in a child. */
stele_status stele__line_check_fork(const stele__line *line, const char *what, stele_error *err);

static inline void stele__line_lock(stele__line *line)
{
    (void)pthread_mutex_lock(&line->lock);
}

static inline void stele__line_unlock(stele__line *line)
{
    (void)pthread_mutex_unlock(&line->lock);
}

/** Waits for a change; false at the deadline. The lock is held. */
bool stele__line_await_locked(stele__line *line, stele__deadline deadline);

/**
 * Runs one statement; `ret_text` (may be NULL) gets the first byte of its first value, 0 for none.
 */
stele_status stele__line_run(stele__line *line, const char *sql, uint32_t timeout_ms,
                             char *ret_first, stele_error *err);

/** 1 to 63 bytes of UTF-8. Errors: STELE_E_NAME. */
stele_status stele__check_channel(const char *channel, stele_error *err);

#endif
