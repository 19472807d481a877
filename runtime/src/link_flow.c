/**
 * The non-blocking side of libpq's pipeline mode.
 *
 * Floor: conn.
 */
#include "link_flow.h"

#include <poll.h>
#include <string.h>

#include "link_internal.h"
#include "status_internal.h"

#include "banned.h"

/*
 * Rows of a chunk where libpq can deliver chunks. Sixteen save what small rows cost one by one; more of
 * them save nothing, but are held in memory at once, waited for, and lost to an error together.
 */
#define CHUNK_ROWS 16

bool stele__flow_begin(stele__link *link)
{
    link->sent = false;
    return !link->broken && PQenterPipelineMode(link->pg);
}

bool stele__flow_end(stele__link *link)
{
    if (!link->broken && !PQexitPipelineMode(link->pg))
        link->broken = true;
    return !link->broken;
}

bool stele__flow_send(stele__link *link, const stele__step *step)
{
    return stele__link_send(link, step) != 0;
}

bool stele__flow_request(stele__link *link)
{
    return PQsendFlushRequest(link->pg) != 0;
}

bool stele__flow_sync(stele__link *link)
{
    link->sent = true;
    return PQpipelineSync(link->pg) != 0;
}

stele_status stele__flow_failed(stele__link *link, stele_error *err)
{
    return stele__link_send_failed(link, err);
}

int stele__flow_push(stele__link *link)
{
    return PQflush(link->pg);
}

bool stele__flow_pull(stele__link *link)
{
    link->utc_at = 0;
    return PQconsumeInput(link->pg) != 0;
}

static stele__arrival arrival_of(const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        return STELE__ARRIVAL_RESULT;
    case PGRES_SINGLE_TUPLE:
#ifdef LIBPQ_HAS_CHUNK_MODE
    case PGRES_TUPLES_CHUNK:
#endif
        return STELE__ARRIVAL_ROWS;
    case PGRES_PIPELINE_SYNC:
        return STELE__ARRIVAL_SYNC;
    case PGRES_PIPELINE_ABORTED:
        return STELE__ARRIVAL_SKIPPED; /* libpq says so too of what a lost connection left open */
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        return STELE__ARRIVAL_COPY;
    default:
        /* What libpq itself reports has no SQLSTATE: the answer cannot be had. */
        return PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL ? STELE__ARRIVAL_ERROR
                                                                    : STELE__ARRIVAL_LOST;
    }
}

stele__arrival stele__flow_next(stele__link *link, PGresult **ret_result)
{
    if (PQisBusy(link->pg))
        return STELE__ARRIVAL_NONE;
    PGresult *result = PQgetResult(link->pg);
    if (result == NULL)
        return PQstatus(link->pg) == CONNECTION_OK ? STELE__ARRIVAL_END : STELE__ARRIVAL_LOST;
    *ret_result = result;
    if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) /* of a stream: the frequent case */
        return STELE__ARRIVAL_ROWS;
    stele__arrival arrival = arrival_of(result);
    switch (arrival) {
    case STELE__ARRIVAL_RESULT:
    case STELE__ARRIVAL_ROWS:
    case STELE__ARRIVAL_ERROR:
        return arrival;
    case STELE__ARRIVAL_SKIPPED:
        if (PQstatus(link->pg) != CONNECTION_OK)
            arrival = STELE__ARRIVAL_LOST;
        break;
    default:
        break;
    }
    PQclear(result);
    *ret_result = NULL;
    return arrival;
}

int stele__flow_wait(const stele__link *link, bool for_write, stele__deadline deadline)
{
    int ready = stele__link_wait(link, for_write ? POLLIN | POLLOUT : POLLIN, deadline);
    return ready > 0 ? 1 : ready;
}

bool stele__flow_by_rows(stele__link *link)
{
#ifdef LIBPQ_HAS_CHUNK_MODE
    return PQsetChunkedRowsMode(link->pg, CHUNK_ROWS) != 0;
#else
    return PQsetSingleRowMode(link->pg) != 0;
#endif
}

bool stele__result_is_fatal(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity != NULL && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}
