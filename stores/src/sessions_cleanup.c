#include "sessions_call.h"

#include "banned.h"

enum { AT_ONCE = 500 }; /* sessions that one statement looks at */

/* Where the repair of a table is; the texts are those of the row before. */
typedef struct progress {
    stele_session_key at;
    void *row;
    uint64_t deleted;
    bool done;
} progress;

/* One repair function: a step from progress.at on. */
#define REPAIR(table)                                                                              \
    static stele_status step_##table(const stele_sessions *store, stele_conn *conn, progress *p,   \
                                     stele_error *err)                                             \
    {                                                                                              \
        sessions_repair_##table##_row *row = NULL;                                                 \
        sessions_hard_repair_##table##_row *hard = NULL;                                           \
        sessions_repair_##table##_params soft_params = {STELE__KEY(p->at),                         \
                                                        .sessions = stele_i64_v(AT_ONCE)};         \
        sessions_hard_repair_##table##_params hard_params = {STELE__KEY(p->at),                    \
                                                             .sessions = stele_i64_v(AT_ONCE)};    \
        stele_status st = store->soft_delete                                                       \
                              ? sessions_repair_##table(conn, &soft_params, &row, err)             \
                              : sessions_hard_repair_##table(conn, &hard_params, &hard, err);      \
        if (st != STELE_OK)                                                                        \
            return st;                                                                             \
        stele_gen_free(p->row);                                                                    \
        p->row = row != NULL ? (void *)row : (void *)hard;                                         \
        p->done = p->row == NULL;                                                                  \
        if (row != NULL) {                                                                         \
            p->at = (stele_session_key){row->app_name, row->user_id, row->session_id};             \
            p->deleted += (uint64_t)row->deleted;                                                  \
        } else if (hard != NULL) {                                                                 \
            p->at = (stele_session_key){hard->app_name, hard->user_id, hard->session_id};          \
            p->deleted += (uint64_t)hard->deleted;                                                 \
        }                                                                                          \
        return STELE_OK;                                                                           \
    }
REPAIR(events)
REPAIR(tracks)
REPAIR(summaries)

typedef stele_status (*step_fn)(const stele_sessions *store, stele_conn *conn, progress *p,
                                stele_error *err);

static stele_status repair_table(const stele_sessions *store, stele_conn *conn, step_fn step,
                                 uint64_t *deleted, stele_error *err)
{
    const stele_str none = {"", 0};
    progress p = {.at = {none, none, none}};
    stele_status st = STELE_OK;
    while (st == STELE_OK && !p.done)
        st = step(store, conn, &p, err);
    stele_gen_free(p.row);
    *deleted += p.deleted;
    return st;
}

static stele_status repair(stele_sessions *store, uint32_t deadline_ms, uint64_t *ret_deleted,
                           stele_error *err)
{
    static const step_fn steps[] = {step_events, step_tracks, step_summaries};
    stele_conn *conn = NULL;
    stele_status st = stele__sessions_begin(store, &conn, err);
    if (st != STELE_OK)
        return st;
    if (deadline_ms > 0)
        stele_conn_set_deadline(conn, deadline_ms);
    for (size_t i = 0; i < sizeof steps / sizeof *steps && st == STELE_OK; i++)
        st = repair_table(store, conn, steps[i], ret_deleted, err);
    return stele__sessions_end(store, conn, st);
}

stele_status stele_sessions_cleanup(stele_sessions *store, uint32_t deadline_ms,
                                    stele_sessions_cleanup_report *ret_report, stele_error *err)
{
    stele_sweep_report swept = {0};
    stele_sessions_cleanup_report report = {0};
    stele_status st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    st = stele_sweeper_run(store->sweeper, deadline_ms, &swept, err);
    stele__sessions_leave(store);
    report.expired = swept.expired;
    report.followed = swept.followed;
    report.purged = swept.purged;
    if (st == STELE_OK)
        st = repair(store, deadline_ms, &report.repaired, err);
    if (ret_report != NULL)
        *ret_report = report;
    return st;
}
