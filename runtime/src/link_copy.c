/**
 * Feeding a COPY. libpq has no COPY in pipeline mode, so this is the simple protocol.
 *
 * Floor: conn.
 */
#include "link_copy.h"

#include <poll.h>

#include "link_internal.h"
#include "status_internal.h"

#include "banned.h"

/* What the statements of one string have answered. */
typedef struct answers {
    PGresult *last;      /* of the last that succeeded */
    stele_status status; /* of the first error; also that libpq gave up */
    bool told;           /* the server said so itself */
    bool copying;        /* it waits for data */
} answers;

static void take_error(stele__link *link, answers *got, const PGresult *result, stele_error *err)
{
    if (PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL) {
        got->told = true;
        if (got->status == STELE_OK)
            got->status = stele__link_server_error(result, err);
    } else if (got->status == STELE_OK) {
        got->status = stele__link_lost(link, err);
    }
}

/* Reads results until there are no more, or the server waits for data. What went wrong first counts. */
static stele_status read_answers(stele__link *link, answers *got, stele__deadline deadline,
                                 stele_error *err)
{
    stele_error later;
    for (;;) {
        stele_error *why = got->status == STELE_OK ? err : &later;
        stele_status st = stele__link_await(link, deadline, why);
        if (st != STELE_OK)
            return st;
        PGresult *result = PQgetResult(link->pg);
        if (result == NULL)
            return PQstatus(link->pg) == CONNECTION_OK ? STELE_OK : stele__link_lost(link, why);
        switch (PQresultStatus(result)) {
        case PGRES_COPY_IN:
            PQclear(result);
            got->copying = true;
            return STELE_OK;
        case PGRES_COMMAND_OK:
        case PGRES_TUPLES_OK:
        case PGRES_EMPTY_QUERY:
            PQclear(got->last);
            got->last = result;
            break;
        default:
            take_error(link, got, result, err);
            PQclear(result);
        }
    }
}

/* An error in the answers, or a loss on the way. */
static stele_status settle(stele__link *link, answers *got, stele_status st, stele_error *err)
{
    stele_status said = got->status != STELE_OK ? got->status : st;
    PQclear(got->last);
    got->last = NULL;
    if (st != STELE_OK)
        link->broken = true;
    if (!link->broken && got->told && said == STELE_E_LOST) {
        /* The session went on: a function or a foreign server reported a loss of its own. */
        said = STELE_E_SERVER;
        err->status = STELE_E_SERVER;
    }
    if (said == STELE_E_READ_ONLY)
        link->refused_write = true;
    return said;
}

stele_status stele__link_copy_begin(stele__link *link, const char *sql, stele__deadline deadline,
                                    stele_error *err)
{
    answers got = {.status = STELE_OK};
    if (link->broken)
        return stele__fail(err, STELE_E_LOST, "connection lost earlier");
    link->sent = false; /* nothing is stored before the data has ended */
    link->forgiven = 0;
    if (!PQsendQuery(link->pg, sql))
        return stele__link_send_failed(link, err);
    stele_status st = stele__link_flush(link, PQflush(link->pg), deadline, err);
    if (st != STELE_OK)
        return st;
    link->round_trips++;
    st = read_answers(link, &got, deadline, err);
    if (got.copying) {
        PQclear(got.last);
        return STELE_OK;
    }
    if (st == STELE_OK && got.status == STELE_OK)
        got.status = stele__fail(err, STELE_E_SERVER, "the server did not ask for data");
    return settle(link, &got, st, err);
}

stele_status stele__link_copy_put(stele__link *link, const char *data, size_t len,
                                  stele__deadline deadline, stele_error *err)
{
    while (len > 0) {
        /* What libpq holds at most. */
        int piece = len < (1u << 20) ? (int)len : 1 << 20;
        int put = PQputCopyData(link->pg, data, piece);
        if (put < 0)
            return stele__link_lost(link, err);
        stele_status st = stele__link_flush(link, PQflush(link->pg), deadline, err);
        if (st != STELE_OK)
            return st;
        if (put == 0)
            continue;
        data += piece;
        len -= (size_t)piece;
    }
    return STELE_OK;
}

/* Hands over the end of the data. */
static stele_status put_end(stele__link *link, const char *reason, stele__deadline deadline,
                            stele_error *err)
{
    int put;
    while ((put = PQputCopyEnd(link->pg, reason)) == 0) {
        stele_status st = stele__link_flush(link, PQflush(link->pg), deadline, err);
        if (st != STELE_OK)
            return st;
    }
    if (put < 0)
        return stele__link_lost(link, err);
    return stele__link_flush(link, PQflush(link->pg), deadline, err);
}

stele_status stele__link_copy_end(stele__link *link, const char *reason, stele__deadline deadline,
                                  PGresult **ret_result, stele_error *err)
{
    answers got = {.status = STELE_OK};
    link->sent = reason == NULL;
    stele_status st = put_end(link, reason, deadline, err);
    link->round_trips++;
    /* A server that hung up may have said why. */
    if (st == STELE_OK || (st == STELE_E_LOST && PQstatus(link->pg) == CONNECTION_OK)) {
        link->broken = false;
        st = read_answers(link, &got, deadline, err);
    }
    if (st == STELE_OK && got.status == STELE_OK && reason == NULL) {
        *ret_result = got.last;
        return STELE_OK;
    }
    if (st == STELE_OK && got.status == STELE_OK)
        got.status = stele__fail(err, STELE_E_CANCELED, "the COPY was called off");
    bool done = got.last != NULL; /* the end of the session may have come after the commit */
    stele_status said = settle(link, &got, st, err);
    if (link->broken)
        err->outcome_unknown = reason == NULL && (done || !got.told);
    return said;
}
