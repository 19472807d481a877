/**
 * A connection of a thread's own.
 *
 * Floor: listen.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "db_internal.h"
#include "link_pool.h"
#include "listen_internal.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define BACKOFF_MIN_NS (10u * (uint64_t)STELE__MS)
#define LEAVE_MS 200 /* for a thread whose connection was cut to notice */

/* ---- making and freeing ---- */

static stele_status init_sync(stele__line *line, stele_error *err)
{
    line->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (line->wake_fd < 0)
        return stele__fail(err, STELE_E_NOMEM, "cannot make an event descriptor");
    bool made = stele__cond_init(&line->changed) && pthread_mutex_init(&line->lock, NULL) == 0;
    if (!made)
        (void)close(line->wake_fd);
    return made ? STELE_OK : stele__fail(err, STELE_E_NOMEM, "cannot make a lock");
}

stele_status stele__line_init(stele__line *line, stele_db *db, stele_error *err)
{
    memset(line, 0, sizeof *line);
    line->cut_fd = -1;
    line->socket = -1;
    stele_status st = stele_db_derive_policy(db, STELE_DEFAULT, &line->db, err);
    if (st != STELE_OK)
        return st;
    st = init_sync(line, err);
    if (st != STELE_OK) {
        stele_db_close(line->db);
        return st;
    }
    line->pool = line->db->pool;
    line->fork_epoch = stele__fork_epoch;
    const uint64_t seed[] = {(uint64_t)stele__now_ns(), (uint64_t)(uintptr_t)line,
                             (uint64_t)getpid()};
    line->jitter = stele__hash64(0, seed, sizeof seed) | 1;
    return STELE_OK;
}

void stele__line_release(stele__line *line)
{
    stele__line_hang_up(line);
    stele_db_close(line->db);
    (void)close(line->wake_fd);
    (void)pthread_cond_destroy(&line->changed);
    (void)pthread_mutex_destroy(&line->lock);
}

stele_status stele__line_check_fork(const stele__line *line, const char *what, stele_error *err)
{
    if (line->fork_epoch == stele__fork_epoch)
        return STELE_OK;
    stele_status st = stele__fail(err, STELE_E_FORKED, "the %s was opened before a fork", what);
    stele__error_hint(err, "open another in the child; this one may only be closed");
    return st;
}

/* ---- the connection ---- */

stele_status stele__line_connect(stele__line *line, stele_error *err)
{
    stele__link *link = NULL;
    stele_status st = stele__pool_open_link(line->pool, &line->first_host, &link, err);
    if (st != STELE_OK)
        return st;
    int socket = stele__link_socket(link);
    int duplicate = socket >= 0 ? fcntl(socket, F_DUPFD_CLOEXEC, 0) : -1;
    stele__line_lock(line);
    line->link = link;
    line->cut_fd = duplicate;
    bool cut = line->cut;
    stele__line_unlock(line);
    __atomic_store_n(&line->socket, socket, __ATOMIC_RELAXED);
    if (duplicate >= 0 && !cut)
        return STELE_OK;
    stele__line_hang_up(line);
    if (cut)
        return stele__fail(err, STELE_E_CLOSED, "closed while connecting");
    return stele__fail(err, STELE_E_NOMEM, "cannot duplicate the connection's descriptor");
}

void stele__line_hang_up(stele__line *line)
{
    stele__line_lock(line);
    int duplicate = line->cut_fd;
    line->cut_fd = -1;
    stele__line_unlock(line);
    if (duplicate >= 0)
        (void)close(duplicate);
    __atomic_store_n(&line->socket, -1, __ATOMIC_RELAXED);
    stele__link_close(line->link);
    line->link = NULL;
}

void stele__line_back_off(stele__line *line, uint32_t most_ms)
{
    uint64_t most = (uint64_t)most_ms * STELE__MS;
    uint64_t bound = line->failures < 20 ? BACKOFF_MIN_NS << line->failures : most;
    line->failures++;
    if (bound > most)
        bound = most;
    line->jitter = stele__hash64(line->jitter, &line->failures, sizeof line->failures);
    line->due_ns = (uint64_t)stele__now_ns() + (bound > 0 ? line->jitter % bound : 0);
}

stele_status stele__line_run(stele__line *line, const char *sql, uint32_t timeout_ms,
                             char *ret_first, stele_error *err)
{
    struct pg_result *result = NULL;
    const stele__step step = {.kind = STELE__STEP_SIMPLE, .sql = sql};
    stele_status st = stele__link_exchange(line->link, &step, 1, stele__deadline_in(timeout_ms),
                                           &result, NULL, err);
    if (st == STELE_OK && ret_first != NULL) {
        const char *text =
            stele__result_count(result) > 0 ? stele__result_text(result, 0, 0) : NULL;
        *ret_first = '\0';
        if (text != NULL)
            *ret_first = text[0];
    }
    stele__result_clear(result);
    return st;
}

/* ---- the thread ---- */

stele_status stele__line_start(stele__line *line, void *(*run)(void *), void *arg, stele_error *err)
{
    stele__line_lock(line); /* the thread sees its own id */
    line->started = stele__pool_start_thread(&line->thread, run, arg, false);
    stele__line_unlock(line);
    return line->started ? STELE_OK : stele__fail(err, STELE_E_NOMEM, "cannot start a thread");
}

bool stele__line_end(stele__line *line)
{
    stele__line_hang_up(line);
    stele__line_lock(line);
    line->ended = true;
    bool abandoned = line->abandoned;
    (void)pthread_cond_broadcast(&line->changed);
    stele__line_unlock(line);
    return abandoned;
}

void stele__line_wake(const stele__line *line)
{
    const uint64_t one = 1;
    if (write(line->wake_fd, &one, sizeof one) < 0)
        return; /* EAGAIN: it is awake already */
}

int stele__line_wait(stele__line *line, stele__deadline deadline)
{
    uint64_t waste;
    int ready = stele__link_wait_both(line->link, line->wake_fd, deadline);
    if ((ready & STELE__CAN_READ_FD) != 0 && read(line->wake_fd, &waste, sizeof waste) < 0)
        return ready; /* somebody else cannot have read it: only this thread does */
    return ready;
}

bool stele__line_await_locked(stele__line *line, stele__deadline deadline)
{
    return stele__cond_wait(&line->changed, &line->lock, deadline);
}

static void cut_locked(stele__line *line)
{
    line->cut = true;
    if (line->cut_fd >= 0)
        (void)shutdown(line->cut_fd, SHUT_RDWR);
    stele__line_wake(line);
}

static void wait_for_end_locked(stele__line *line, stele__deadline deadline)
{
    while (!line->ended && stele__line_await_locked(line, deadline))
        continue;
}

bool stele__line_close(stele__line *line, bool at_once, uint32_t deadline_ms)
{
    stele__deadline deadline = stele__deadline_in(deadline_ms);
    stele__line_lock(line);
    line->closing = true;
    if (at_once)
        cut_locked(line);
    stele__line_wake(line);
    wait_for_end_locked(line, deadline);
    if (!line->ended) {
        cut_locked(line);
        wait_for_end_locked(line, stele__deadline_in(LEAVE_MS));
    }
    bool ended = line->ended;
    pthread_t thread = line->thread;
    line->abandoned = !ended;
    stele__line_unlock(line);
    /* An abandoned thread may have freed the line by now. */
    if (ended)
        (void)pthread_join(thread, NULL);
    else
        (void)pthread_detach(thread);
    return ended;
}

void stele__line_close_in_child(stele__line *line)
{
    int socket = __atomic_exchange_n(&line->socket, -1, __ATOMIC_RELAXED);
    if (socket >= 0)
        (void)close(socket);
    if (line->cut_fd >= 0)
        (void)close(line->cut_fd);
    line->cut_fd = -1;
    if (line->wake_fd >= 0)
        (void)close(line->wake_fd);
    line->wake_fd = -1;
}

/* ---- channels ---- */

stele_status stele__check_channel(const char *channel, stele_error *err)
{
    size_t len = channel != NULL ? strlen(channel) : 0;
    const char *wrong = NULL;
    if (channel == NULL || len == 0)
        wrong = "the name of the channel is empty";
    else if (len >= STELE_NAME_SIZE)
        wrong = "the name of the channel is longer than 63 bytes";
    else if (stele__utf8_check(channel, len) != len)
        wrong = "the name of the channel is not UTF-8";
    if (wrong == NULL)
        return STELE_OK;
    stele_status st = stele__fail(err, STELE_E_NAME, "%s", wrong);
    stele__error_hint(err, "PostgreSQL keeps 63 bytes of a name; letters keep their case here");
    return st;
}
