/**
 * Opening, checking and closing one server connection.
 *
 * Floor: conn.
 */
#include "link_internal.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define MIN_SERVER_VERSION 120000
#define MAX_SIMPLE 8 /* statements that run_simple() takes */

uint32_t stele__fork_epoch;

static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
    stele__fork_epoch++;
}

static void install_fork_handler(void)
{
    (void)pthread_atfork(NULL, NULL, count_fork); /* ENOMEM here: forks go unnoticed, no worse */
}

void stele__fork_watch(void)
{
    (void)pthread_once(&fork_once, install_fork_handler);
}

stele__deadline stele__deadline_in(uint32_t ms)
{
    return (uint64_t)stele__now_ns() + (uint64_t)ms * 1000000u;
}

/* libpq's default receiver writes to stderr, which a library must not do. */
static void receive_notice(void *arg, const PGresult *result)
{
    stele__link *link = arg;
    if (link->on_notice == NULL)
        return;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    link->on_notice(severity != NULL ? severity : "NOTICE", message != NULL ? message : "",
                    link->notice_user);
}

/* Drives PQconnectPoll. libpq ignores connect_timeout here, so the deadline is ours to keep. */
static stele_status finish_connect(stele__link *link, stele__deadline deadline, stele_error *err)
{
    PostgresPollingStatusType wants = PGRES_POLLING_WRITING;
    for (;;) {
        /* With several hosts the socket changes on the way. */
        link->fd = PQsocket(link->pg);
        if (link->fd < 0)
            break;
        int ready =
            stele__link_wait(link, wants == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline);
        if (ready == 0) {
            stele_status st = stele__fail(err, STELE_E_TIMEOUT,
                                          "no connection to the server before the deadline");
            stele__error_hint(err, "check host and port, and that no firewall drops the packets");
            return st;
        }
        if (ready < 0)
            break;
        wants = PQconnectPoll(link->pg);
        if (wants == PGRES_POLLING_OK) {
            link->fd = PQsocket(link->pg);
            return STELE_OK;
        }
        if (wants == PGRES_POLLING_FAILED)
            break;
    }
    return stele__link_connect_error(link, err);
}

static stele_status check_version(const stele__link *link, stele_error *err)
{
    if (link->server_version >= MIN_SERVER_VERSION)
        return STELE_OK;
    const char *version = PQparameterStatus(link->pg, "server_version");
    stele_status st = stele__fail(err, STELE_E_UNSUPPORTED, "server version %s is too old",
                                  version != NULL ? version : "unknown");
    stele__error_hint(err, "Stele needs PostgreSQL 12 or newer");
    return st;
}

static stele_status run_simple(stele__link *link, const char *const *sqls, int count,
                               stele__deadline deadline, stele_error *err)
{
    stele__step steps[MAX_SIMPLE];
    PGresult *result = NULL;
    for (int i = 0; i < count; i++)
        steps[i] = (stele__step){.kind = STELE__STEP_SIMPLE, .sql = sqls[i]};
    stele_status st = stele__link_exchange(link, steps, count, deadline, &result, NULL, err);
    stele__result_clear(result);
    return st;
}

#define SET_UTC "SET TimeZone = 'UTC'"
#define SET_GENERIC "SET plan_cache_mode = force_generic_plan"

/* What every session is set to; tells how many. */
static int add_settings(const stele__link *link, const char **sqls)
{
    int count = 0;
    /* Also where the server's own zone is UTC: one of the session's own is not changed by a reload. */
    sqls[count++] = SET_UTC;
    if (link->generic)
        sqls[count++] = SET_GENERIC;
    if (link->settings != NULL)
        sqls[count++] = link->settings;
    return count;
}

/* A server that knows no plan_cache_mode plans as it likes; the error has undone the rest, which is
 * sent again. */
static stele_status settle_session(stele__link *link, stele__deadline deadline, stele_error *err)
{
    const char *sqls[3];
    stele_error why;
    stele_status st = run_simple(link, sqls, add_settings(link, sqls), deadline, &why);
    if (st != STELE_OK && link->generic && !link->broken) {
        link->generic = false;
        return settle_session(link, deadline, err);
    }
    if (st != STELE_OK && err != NULL)
        *err = why;
    return st;
}

static stele_status start_session(stele__link *link, stele__deadline deadline, stele_error *err)
{
    if (PQsetnonblocking(link->pg, 1) != 0)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while connecting");
    (void)PQsetErrorVerbosity(link->pg, PQERRORS_DEFAULT);
    link->server_version = PQserverVersion(link->pg);
    link->backend_pid = PQbackendPID(link->pg);
    stele_status st = check_version(link, err);
    if (st != STELE_OK)
        return st;
    link->cancel = PQgetCancel(link->pg);
    if (link->cancel == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while connecting");
    return settle_session(link, deadline, err);
}

stele_status stele__link_open(const stele__link_params *params, stele__deadline deadline,
                              stele__link **ret_link, stele_error *err)
{
    stele__fork_watch();
    stele__link *link = stele__calloc(1, sizeof *link);
    if (link == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while connecting");
    link->fd = -1;
    link->fork_epoch = stele__fork_epoch;
    link->on_notice = params->on_notice;
    link->notice_user = params->notice_user;
    link->cache_capacity = params->statement_cache;
    link->unnamed = params->unnamed;
    link->generic = params->generic;
    link->settings = params->settings;
    link->pg = PQconnectStartParams(params->keys, params->values, 0);
    stele_status st;
    if (link->pg == NULL) {
        st = stele__fail(err, STELE_E_NOMEM, "out of memory while connecting");
    } else {
        (void)PQsetNoticeReceiver(link->pg, receive_notice, link);
        /* Verbose messages are the only way libpq tells the SQLSTATE of a refused connection. */
        (void)PQsetErrorVerbosity(link->pg, PQERRORS_VERBOSE);
        st = PQstatus(link->pg) == CONNECTION_BAD ? stele__link_connect_error(link, err)
                                                  : finish_connect(link, deadline, err);
    }
    if (st == STELE_OK)
        st = start_session(link, deadline, err);
    if (st != STELE_OK) {
        stele__link_close(link);
        return st;
    }
    *ret_link = link;
    return STELE_OK;
}

void stele__link_close(stele__link *link)
{
    if (link == NULL)
        return;
    if (stele__link_is_foreign(link)) {
        /* PQfinish would say goodbye on a session that belongs to the parent. */
        if (link->fd >= 0)
            (void)close(link->fd);
    } else {
        if (link->cancel != NULL)
            PQfreeCancel(link->cancel);
        PQfinish(link->pg);
    }
    if (link->cache != NULL)
        link->free_cache(link->cache);
    stele__free(link);
}

void stele__link_hang_up(const stele__link *link)
{
    int fd = link->pg != NULL ? PQsocket(link->pg) : -1; /* libpq may have closed it already */
    if (fd >= 0)
        (void)shutdown(fd, SHUT_WR);
}

bool stele__link_alive(stele__link *link)
{
    if (link->broken)
        return false;
    struct pollfd pfd = {.fd = link->fd, .events = POLLIN};
    if (poll(&pfd, 1, 0) <= 0)
        return true;
    link->utc_at = 0;
    /* The first read takes the server's last words, only the second sees that it hung up. */
    if (!PQconsumeInput(link->pg) || !PQconsumeInput(link->pg) ||
        PQstatus(link->pg) != CONNECTION_OK) {
        link->broken = true;
        return false;
    }
    return true;
}

stele_status stele__link_cancel(stele__link *link, stele_error *err)
{
    char text[256];
    if (link->cancel == NULL || stele__link_is_foreign(link))
        return stele__fail(err, STELE_E_MISUSE, "no connection to cancel on");
    if (PQcancel(link->cancel, text, sizeof text))
        return STELE_OK;
    text[strcspn(text, "\n")] = '\0';
    return stele__fail(err, STELE_E_CONNECT, "cannot send a cancel request: %s", text);
}

stele__tx_status stele__link_tx_status(const stele__link *link)
{
    if (link->broken)
        return STELE__TX_LOST;
    switch (PQtransactionStatus(link->pg)) {
    case PQTRANS_IDLE:
        return STELE__TX_IDLE;
    case PQTRANS_ACTIVE:
        return STELE__TX_ACTIVE;
    case PQTRANS_INTRANS:
        return STELE__TX_IN;
    case PQTRANS_INERROR:
        return STELE__TX_ERROR;
    case PQTRANS_UNKNOWN:
        break;
    }
    return STELE__TX_LOST;
}

bool stele__link_look_utc(stele__link *link)
{
    const char *zone = PQparameterStatus(link->pg, "TimeZone");
    bool is_utc = zone != NULL && strcmp(zone, "UTC") == 0;
    link->utc_at = is_utc ? link->round_trips + 1 : 0;
    return is_utc;
}

stele_status stele__link_ping(stele__link *link, stele__deadline deadline, stele_error *err)
{
    return run_simple(link, (const char *const[]){""}, 1, deadline, err);
}

stele_status stele__link_set_utc(stele__link *link, stele__deadline deadline, stele_error *err)
{
    return run_simple(link, (const char *const[]){SET_UTC}, 1, deadline, err);
}

stele_status stele__link_rollback(stele__link *link, stele__deadline deadline, stele_error *err)
{
    return run_simple(link, (const char *const[]){"ROLLBACK"}, 1, deadline, err);
}

stele_status stele__link_reset_session(stele__link *link, stele__deadline deadline,
                                       stele_error *err)
{
    /* DISCARD ALL would also throw the prepared statements away. RESET ALL brings back the role's
     * own settings, hence the last ones. */
    const char *sqls[MAX_SIMPLE] = {"RESET ALL", "RESET SESSION AUTHORIZATION",
                                    "SELECT pg_catalog.pg_advisory_unlock_all()", "UNLISTEN *",
                                    "DISCARD TEMP"};
    stele_status st = run_simple(link, sqls, 5 + add_settings(link, sqls + 5), deadline, err);
    if (st == STELE_OK)
        link->dirty_session = false;
    return st;
}
