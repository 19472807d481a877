/**
 * Sending and receiving at the same time: what pipelines and streams are driven by.
 *
 * Nothing here waits but stele__flow_wait. What is sent is answered in order: for each step its
 * results and then STELE__ARRIVAL_END; for each Sync STELE__ARRIVAL_SYNC.
 *
 * Floor: conn.
 */
#ifndef STELE_LINK_FLOW_H
#define STELE_LINK_FLOW_H

#include "link.h"

/** What came next. */
typedef enum stele__arrival {
    STELE__ARRIVAL_NONE,    /* nothing yet: read more */
    STELE__ARRIVAL_RESULT,  /* a command is done, or all rows are here; of a stream: no more rows */
    STELE__ARRIVAL_ROWS,    /* some rows of a stream, and more may follow */
    STELE__ARRIVAL_ERROR,   /* what the server says; the rest of the segment is skipped */
    STELE__ARRIVAL_SKIPPED, /* a step after an error did not run */
    STELE__ARRIVAL_END,     /* no more results of this step */
    STELE__ARRIVAL_SYNC,
    STELE__ARRIVAL_COPY, /* a COPY, which nobody here feeds or drains */
    STELE__ARRIVAL_LOST  /* no answer will come any more */
} stele__arrival;

/** Opens the link for a flow. False: broken, or no memory. */
bool stele__flow_begin(stele__link *link);

/** Leaves: everything that was sent must be answered. False: the link is of no use any more. */
bool stele__flow_end(stele__link *link);

/** Hands a step over to be sent; a PREPARE and a DEALLOCATE end their segment with a Sync. */
bool stele__flow_send(stele__link *link, const stele__step *step);

/** Asks the server for the answers it has, without ending the segment. */
bool stele__flow_request(stele__link *link);

/** Ends the segment. From here on what it did may be stored. */
bool stele__flow_sync(stele__link *link);

/** After a failed hand-over: marks the link broken and says why. */
stele_status stele__flow_failed(stele__link *link, stele_error *err);

/** Pushes out what was handed over: 0 all is out, 1 the socket takes no more now, -1 lost. */
int stele__flow_push(stele__link *link);

/** Takes what has come in. False: nothing more will; what was taken before can still be read. */
bool stele__flow_pull(stele__link *link);

/** What came next; `*ret_result` belongs to the caller after RESULT, ROWS and ERROR. */
stele__arrival stele__flow_next(stele__link *link, struct pg_result **ret_result);

/** Waits until the socket can be read (or written to): 1, 0 at the deadline, -1 on a failure. */
int stele__flow_wait(const stele__link *link, bool for_write, stele__deadline deadline);

/**
 * Has the rows of the step that is answered next delivered as they come: to be called when all before
 * it was answered, before anything of its own is read.
 */
bool stele__flow_by_rows(stele__link *link);

/** Turns an error result of the server into an error. */
stele_status stele__link_server_error(const struct pg_result *result, stele_error *err);

/** Marks the link broken and says that the connection was lost, quoting libpq. */
stele_status stele__link_lost(stele__link *link, stele_error *err);

/** True if an error result ends the session: the server has rolled back what was not committed. */
bool stele__result_is_fatal(const struct pg_result *result);

#endif
