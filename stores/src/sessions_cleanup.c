#include "sessions_call.h"
#include "summaries.h"

#include "banned.h"

/* Sessions that one statement looks at, and statements after a sweep of the store's own. */
enum { AT_ONCE = 500, PATROL = 30, PATROL_MS = 10000 };

/* Where the repair of a table is; the texts are those of the row before. Zeroed memory: at its beginning. */
typedef struct progress {
    stele_session_key at;
    void *row;
    uint64_t deleted;
    bool done;
} progress;

/* The repair that goes on after each sweep; only the thread that sweeps looks at it. */
struct stele__patrol {
    size_t table;
    progress progress;
};

static const stele_session_key beginning = {{"", 0}, {"", 0}, {"", 0}};

/* One repair function: a step from progress.at on. */
#define REPAIR(table)                                                                              \
    static stele_status step_##table(const stele_sessions *store, stele_conn *conn, progress *p,   \
                                     stele_error *err)                                             \
    {                                                                                              \
        sessions_repair_##table##_row *row = NULL;                                                 \
        sessions_hard_repair_##table##_row *hard = NULL;                                           \
        stele_session_key from = p->row != NULL ? p->at : beginning;                               \
        sessions_repair_##table##_params soft_params = {STELE__KEY(from),                          \
                                                        .sessions = stele_i64_v(AT_ONCE)};         \
        sessions_hard_repair_##table##_params hard_params = {STELE__KEY(from),                     \
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
static const step_fn steps[] = {step_events, step_tracks, step_summaries};

enum { TABLES = sizeof steps / sizeof *steps };

static stele_status repair_table(const stele_sessions *store, stele_conn *conn, step_fn step,
                                 uint64_t *deleted, stele_error *err)
{
    progress p = {0};
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
    stele_conn *conn = NULL;
    stele_status st = stele__sessions_begin(store, &conn, err);
    if (st != STELE_OK)
        return st;
    if (deadline_ms > 0)
        stele_conn_set_deadline(conn, deadline_ms);
    for (size_t i = 0; i < TABLES && st == STELE_OK; i++)
        st = repair_table(store, conn, steps[i], ret_deleted, err);
    return stele__sessions_end(store, conn, st);
}

/* ---- after sweeps ---------------------------------------------------------------------------- */

static stele_status patrol_step(stele_sessions *store, stele__patrol *patrol, stele_error *err)
{
    stele_conn *conn = NULL;
    stele_status st = stele__sessions_begin(store, &conn, err);
    if (st != STELE_OK)
        return st;
    stele_conn_set_deadline(conn, PATROL_MS);
    return stele__sessions_end(store, conn,
                               steps[patrol->table](store, conn, &patrol->progress, err));
}

void stele__patrol_on(stele_sessions *store)
{
    stele_error err;
    stele__patrol *patrol = store->patrol;
    size_t ended = 0;
    for (int i = 0; i < PATROL && ended < TABLES; i++) {
        stele_status st = patrol_step(store, patrol, &err);
        if (st != STELE_OK && st != STELE_E_CLOSED && store->on_error != NULL)
            store->on_error(NULL, &err, store->on_error_user);
        if (st != STELE_OK)
            return;
        if (!patrol->progress.done)
            continue;
        memset(&patrol->progress, 0, sizeof patrol->progress); /* its row is freed by then */
        patrol->table = (patrol->table + 1) % TABLES;
        ended++;
    }
}

stele_status stele__patrol_open(stele_sessions *store, stele_error *err)
{
    store->patrol = stele_alloc(sizeof *store->patrol);
    if (store->patrol == NULL)
        return stele__store_no_memory(err);
    memset(store->patrol, 0, sizeof *store->patrol);
    return STELE_OK;
}

void stele__patrol_free(stele_sessions *store)
{
    if (store->patrol != NULL)
        stele_gen_free(store->patrol->progress.row);
    stele_free(store->patrol);
}

/* ---- at once --------------------------------------------------------------------------------- */

/* What is left of a deadline for its second half; 0 stands for none. */
static uint32_t rest_of(uint32_t deadline_ms, int64_t begun_ns)
{
    int64_t left = (int64_t)deadline_ms - (stele__summary_now_ns() - begun_ns) / 1000000;
    return deadline_ms == 0 ? 0 : left > 1 ? (uint32_t)left : 1;
}

stele_status stele_sessions_cleanup(stele_sessions *store, uint32_t deadline_ms,
                                    stele_sessions_cleanup_report *ret_report, stele_error *err)
{
    stele_sweep_report swept = {0};
    stele_sessions_cleanup_report report = {0};
    int64_t begun_ns = stele__summary_now_ns();
    stele_status st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    st = stele_sweeper_run(store->sweeper, deadline_ms, &swept, err);
    stele__sessions_leave(store);
    report.expired = swept.expired;
    report.followed = swept.followed;
    report.purged = swept.purged;
    if (st == STELE_OK)
        st = repair(store, rest_of(deadline_ms, begun_ns), &report.repaired, err);
    if (ret_report != NULL)
        *ret_report = report;
    return st;
}
