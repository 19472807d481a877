#include "sessions_call.h"

#include "banned.h"

typedef enum cut_kind { CUT_AFTER, CUT_FROM, CUT_ALL } cut_kind;

/* Which events go, as all statements of the pipeline must be told. */
typedef struct cut {
    const stele_session_key *key;
    stele_str event_id; /* "" for all */
    cut_kind kind;
    bool indexed;
} cut;

#define CUT_PARAMS(c, NAME)                                                                        \
    STELE__KEY(*(c)->key), .event_id = stele_text_of((c)->event_id),                               \
                           .find = (c)->indexed ? NAME##_FIND_INDEX : NAME##_FIND_SCAN,            \
                           .cut = (c)->kind == CUT_ALL    ? NAME##_CUT_ALL                         \
                                  : (c)->kind == CUT_FROM ? NAME##_CUT_FROM                        \
                                                          : NAME##_CUT_AFTER

static stele_status queue_soft(const cut *c, stele_pipeline *p, uint64_t *ret_count,
                               stele_error *err)
{
    sessions_truncate_summaries_params summaries = {CUT_PARAMS(c, SESSIONS_TRUNCATE_SUMMARIES)};
    sessions_truncate_events_params events = {CUT_PARAMS(c, SESSIONS_TRUNCATE_EVENTS)};
    stele_status st = sessions_truncate_summaries_queue(p, &summaries, NULL, err);
    return st == STELE_OK ? sessions_truncate_events_queue(p, &events, ret_count, err) : st;
}

static stele_status queue_hard(const cut *c, stele_pipeline *p, uint64_t *ret_count,
                               stele_error *err)
{
    sessions_hard_truncate_summaries_params summaries = {
        CUT_PARAMS(c, SESSIONS_HARD_TRUNCATE_SUMMARIES)};
    sessions_hard_truncate_events_params events = {CUT_PARAMS(c, SESSIONS_HARD_TRUNCATE_EVENTS)};
    stele_status st = sessions_hard_truncate_summaries_queue(p, &summaries, NULL, err);
    return st == STELE_OK ? sessions_hard_truncate_events_queue(p, &events, ret_count, err) : st;
}

static stele_status run_cut(const stele_sessions *store, stele_conn *conn, const cut *c,
                            uint64_t *ret_count, stele_error *err)
{
    STELE_AUTO(stele_pipeline) p = NULL;
    STELE_AUTO(sessions_truncate_session_row) row = NULL;
    sessions_truncate_session_params session = {
        CUT_PARAMS(c, SESSIONS_TRUNCATE_SESSION),
        .ttl = stele__sessions_ttl(store->session_ttl_ms),
        .ttl_slack = stele__sessions_slack(store),
    };
    stele_status st = stele_pipeline_open(conn, NULL, &p, err);
    if (st == STELE_OK)
        st = sessions_truncate_session_queue(p, &session, &row, err);
    if (st == STELE_OK)
        st = store->soft_delete ? queue_soft(c, p, ret_count, err)
                                : queue_hard(c, p, ret_count, err);
    if (st == STELE_OK)
        st = stele_pipeline_sync(p, err);
    if (st != STELE_OK)
        return st;
    if (row == NULL)
        return stele__sessions_missing(c->key, err);
    if (row->status == 2)
        return stele__store_fail(err, STELE_E_NOT_FOUND, "anchor event not found");
    return STELE_OK;
}

static stele_status truncate(stele_sessions *store, const cut *c, uint64_t *ret_count,
                             stele_error *err)
{
    stele_conn *conn = NULL;
    uint64_t count = 0;
    stele_status st = stele__sessions_begin_after(store, c->key, &conn, err);
    if (st != STELE_OK)
        return st;
    st = stele__sessions_end(store, conn, run_cut(store, conn, c, &count, err));
    if (st == STELE_OK && ret_count != NULL)
        *ret_count = count;
    return st;
}

stele_status stele_sessions_truncate_after(stele_sessions *store, const stele_session_key *key,
                                           stele_str event_id, bool including, uint64_t *ret_count,
                                           stele_error *err)
{
    cut c = {key, event_id, including ? CUT_FROM : CUT_AFTER, store->event_id_index};
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK && event_id.len == 0)
        st = stele__store_fail(err, STELE_E_INPUT, "event id is required");
    return st == STELE_OK ? truncate(store, &c, ret_count, err) : st;
}

stele_status stele_sessions_truncate(stele_sessions *store, const stele_session_key *key,
                                     uint64_t *ret_count, stele_error *err)
{
    cut c = {key, stele_s(""), CUT_ALL, store->event_id_index};
    stele_status st = stele__sessions_check_key(key, err);
    return st == STELE_OK ? truncate(store, &c, ret_count, err) : st;
}
