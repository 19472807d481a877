/**
 * One step at a time, for those who wait by themselves.
 *
 * Floor: pipeline.
 */
#include "stele/async.h"

#include "conn_internal.h"
#include "status_internal.h"

#include "banned.h"

static const stele__holder *started(const stele_conn *conn)
{
    return conn->held != NULL && conn->held->step != NULL ? conn->held : NULL;
}

int stele_conn_fd(const stele_conn *conn)
{
    return conn->link->broken ? -1 : conn->link->fd;
}

int stele_conn_wants(const stele_conn *conn)
{
    const stele__holder *holder = started(conn);
    if (holder == NULL)
        return 0;
    return holder->wants_write ? STELE_WANTS_READ | STELE_WANTS_WRITE : STELE_WANTS_READ;
}

int stele_conn_wait_ms(const stele_conn *conn)
{
    const stele__holder *holder = started(conn);
    if (holder == NULL || holder->deadline == STELE__NEVER)
        return -1;
    stele__deadline now = stele__deadline_in(0);
    if (now >= holder->deadline)
        return 0;
    uint64_t ms = (holder->deadline - now + 999999u) / 1000000u;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

stele_status stele_conn_step(stele_conn *conn, stele_error *err)
{
    if (started(conn) == NULL)
        return stele__fail(err, STELE_E_MISUSE, "nothing was started on this connection");
    if (stele__link_is_foreign(conn->link))
        return stele__fail(err, STELE_E_FORKED, "the connection belongs to the parent process");
    return conn->held->step(conn->held, err);
}
