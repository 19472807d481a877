/*
 * The summaries of a sessions store: what makes them, when, and who.
 */
#ifndef STELE_SUMMARIES_H
#define STELE_SUMMARIES_H

#include "sessions_internal.h"
#include "stele/jobs.h"
#include "summary.h"

/* ---- for the store ---------------------------------------------------------------------------- */

/* Sets store->summaries and starts the workers; without a summarizer in `options` it does nothing. */
stele_status stele__summaries_open(stele_sessions *store, const stele_sessions_options *options,
                                   stele_error *err);

/*
 * Ends the workers, as stele_jobs_close() does. Not before other threads have left the store, which let
 * nobody in since. Nothing the second time, and without summaries.
 */
stele_status stele__summaries_stop(stele_sessions *store, uint32_t deadline_ms, stele_error *err);

/* Frees what is left after that; NULL summaries: nothing. */
void stele__summaries_free(stele_sessions *store);

/* Adds its own numbers to those of the store. */
void stele__summaries_stats(stele_sessions *store, stele_sessions_stats *stats);

/* True when each event that is stored brings a job, in its own pipeline. */
bool stele__summaries_ride(const stele_sessions *store);

/* Queues that job behind the event; nothing unless they ride. */
stele_status stele__summaries_queue(const stele_sessions *store, const stele_session_key *key,
                                    stele_str event, stele_pipeline *pipeline, stele_error *err);

/* After an event was stored, or queued: wakes workers, or puts the job of those that do not ride. */
void stele__summaries_appended(stele_sessions *store, const stele_session_key *key,
                               stele_str event);

/* ---- for its parts ---------------------------------------------------------------------------- */

struct stele__summaries {
    stele_summarizer summarizer;
    stele__summary_policy policy;
    stele_jobs *jobs; /* NULL once they are closed */
    bool durable;
    bool on_append;
    bool blocks;          /* who finds the queue full waits for room */
    atomic_bool stopping; /* nothing is queued any more: the workers are about to end */
    uint32_t timeout_ms;
    stele__store_arena arena; /* of what is copied from the options */
    atomic_uint_fast64_t written;
    atomic_uint_fast64_t failures;
    atomic_uint_fast64_t run_here; /* of workers that were closed */
};

/* One summary of those that are made together. */
typedef struct stele__summary_part {
    stele_str filter_key;
    void *block; /* rows that were read, which the following point into */
    stele__summary_stored previous;
    int64_t previous_row;       /* its id */
    stele__summary_item *items; /* what it does not cover */
    stele_summary_event *events;
    size_t count;
    stele__summary_boundary reach;
    stele_summary_view view;
    bool wanted;
    stele_status status;
    stele_summary_text text;
    stele_summary_text json; /* to be stored; empty: nothing is */
} stele__summary_part;

/* Summaries that are made together: of a branch and of the whole session, or one of them. */
typedef struct stele__summary_work {
    stele_sessions *store;
    const stele_session_key *key;
    bool force;
    struct stele_summary_run run;
    stele__summary_part parts[2];
    size_t part_count;
    stele_ts created_at; /* of the session */
    stele_ts now;        /* by the server's clock */
} stele__summary_work;

void stele__summary_work_init(stele__summary_work *work, stele_sessions *store,
                              const stele_session_key *key, const stele_str *targets, size_t count,
                              bool force);
void stele__summary_work_release(stele__summary_work *work);

/*
 * Reads the session, its summaries and what they do not cover, from one snapshot.
 * STELE_E_NOT_FOUND "session not found".
 */
stele_status stele__summary_read(stele__summary_work *work, stele_conn *conn, stele_error *err);

/* Of struct stele_summary_run: callers of the store, who are to leave it as it is closed. */
bool stele__summary_store_open(void *store);

/* Has the summarizer write what it is time for. *ret_any: there is something to store. */
stele_status stele__summary_make(stele__summary_work *work, bool *ret_any, stele_error *err);

/*
 * Stores it. A summary that reaches less far than the one there, of a session that is gone or was
 * created anew, or of events that were deleted meanwhile, is left out: nobody misses it.
 */
stele_status stele__summary_write(stele__summary_work *work, stele_conn *conn, stele_error *err);

#endif
