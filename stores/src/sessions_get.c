#include "sessions_call.h"
#include "sessions_rows.h"

#include "banned.h"

/* Checked options, and what the store adds to them. */
typedef struct get_plan {
    stele_session_get_options options;
    stele_in_i64_n event_num;
    stele_in_ts event_time; /* may be unset */
    stele_in_ts track_time;
    bool paged;
    bool tracks;
    stele__wanted_tracks wanted;
} get_plan;

static stele_status copy_options(const stele_session_get_options *from,
                                 stele_session_get_options *ret_options, stele_error *err)
{
    memset(ret_options, 0, sizeof *ret_options);
    if (from == NULL)
        return STELE_OK;
    if (from->size < sizeof from->size || from->size > sizeof *from)
        return stele__store_old_options("stele_session_get_options",
                                        "STELE_SESSION_GET_OPTIONS_INIT", err);
    memcpy(ret_options, from, from->size);
    return STELE_OK;
}

stele_in_ts stele__sessions_since(stele_in_ts given, int64_t ttl_ms)
{
    if (given.tag != NULL || ttl_ms <= 0)
        return given;
    return stele_ts_after(stele_micros(-ttl_ms * 1000));
}

stele_in_i64_n stele__sessions_event_num(const stele_sessions *store, int32_t given)
{
    int32_t num = given != 0 ? given : store->event_limit;
    return num < 0 ? stele_i64_n_null() : stele_i64_n_v(num);
}

stele_in_ts stele__sessions_or_ever(stele_in_ts since)
{
    return since.tag != NULL ? since : stele_ts_v(STELE_TS_NEG_INFINITY);
}

static stele_status make_plan(const stele_sessions *store, const stele_session_get_options *given,
                              get_plan *plan, stele_error *err)
{
    stele_session_get_options *o = &plan->options;
    stele_status st = copy_options(given, o, err);
    if (st != STELE_OK)
        return st;
    plan->paged = o->page_limit > 0;
    if (!plan->paged && (o->page_offset > 0 || o->before.row_id != 0))
        return stele__store_fail(err, STELE_E_INPUT, "a page needs page_limit");
    if (plan->paged && (o->event_num != 0 || o->event_time.tag != NULL))
        return stele__store_fail(err, STELE_E_INPUT, "a page excludes event_num and event_time");
    if (plan->paged && o->page_offset > 0 && o->before.row_id != 0)
        return stele__store_fail(err, STELE_E_INPUT, "a page has either an offset or a cursor");
    plan->event_num = stele__sessions_event_num(store, o->event_num);
    plan->event_time = stele__sessions_since(o->event_time, store->session_ttl_ms);
    plan->track_time =
        stele__sessions_or_ever(stele__sessions_since(o->event_time, store->track_ttl_ms));
    plan->tracks = !o->no_tracks && !o->only_meta;
    plan->wanted.names = o->tracks;
    plan->wanted.count = plan->tracks ? o->track_count : 0;
    plan->wanted.all = plan->tracks && o->tracks == NULL;
    return STELE_OK;
}

static sessions_get_params window_params(const stele_session_key *key, const get_plan *plan)
{
    sessions_get_params params = {STELE__KEY(*key)};
    params.event_num = plan->event_num;
    params.event_time = plan->event_time;
    params.tracks = SESSIONS_GET_TRACKS_NONE;
    if (!plan->tracks)
        return params;
    params.track_time = plan->track_time;
    params.tracks = SESSIONS_GET_TRACKS_ALL;
    if (plan->options.event_num <= 0 && plan->wanted.all)
        return params;
    params.track_num = plan->options.event_num > 0 ? plan->event_num : stele_i64_n_null();
    params.tracks = SESSIONS_GET_TRACKS_LAST;
    if (!plan->wanted.all) {
        stele_str_array names = {plan->wanted.names, NULL, plan->wanted.count};
        params.track_names = stele_str_array_v(names);
        params.tracks = SESSIONS_GET_TRACKS_NAMED;
    }
    return params;
}

/* Without events it is a page of none. */
static sessions_get_page_params page_params(const stele_session_key *key, const get_plan *plan)
{
    const stele_session_get_options *o = &plan->options;
    sessions_get_page_params params = {STELE__KEY(*key)};
    params.since = stele__sessions_or_ever(plan->event_time);
    params.offset = stele_i64_v(o->page_offset);
    params.limit = stele_i64_v(o->only_meta ? 0 : o->page_limit);
    if (o->before.row_id != 0) {
        params.before = stele_ts_v(o->before.created_at);
        params.before_id = stele_i64_v(o->before.row_id);
    }
    params.tracks = plan->tracks ? SESSIONS_GET_PAGE_TRACKS_ALL : SESSIONS_GET_PAGE_TRACKS_NONE;
    if (plan->tracks)
        params.track_time = plan->track_time;
    return params;
}

static bool is_page(const get_plan *plan)
{
    return plan->paged || plan->options.only_meta;
}

static stele_status run_get(stele_conn *conn, const stele_session_key *key, const get_plan *plan,
                            stele_session **ret_session, stele_error *err)
{
    sessions_get_rows *rows = NULL;
    sessions_get_page_rows *page = NULL;
    stele_status st;
    if (is_page(plan)) {
        sessions_get_page_params params = page_params(key, plan);
        st = sessions_get_page(conn, &params, &page, err);
        if (st == STELE_OK)
            st = stele__session_of_rows(key, stele__rows_of_page(page), &plan->wanted, ret_session,
                                        err);
        return st;
    }
    sessions_get_params params = window_params(key, plan);
    st = sessions_get(conn, &params, &rows, err);
    if (st == STELE_OK)
        st = stele__session_of_rows(key, stele__rows_of_get(rows), &plan->wanted, ret_session, err);
    return st;
}

static stele_status get_now(stele_sessions *store, const stele_session_key *key,
                            const stele_session_get_options *options, stele_session **ret_session,
                            stele_error *err)
{
    get_plan plan;
    stele_conn *conn = NULL;
    stele_status st = make_plan(store, options, &plan, err);
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, key, &conn, err);
    if (st != STELE_OK)
        return st;
    st = run_get(conn, key, &plan, ret_session, err);
    if (st == STELE_OK)
        stele__seen_note(store, key, (*ret_session)->created_at);
    return stele__sessions_end(store, conn, st);
}

/* ---- hooks ----------------------------------------------------------------------------------- */

/* A call and how far it is in the chain. */
typedef struct get_chain {
    stele_get_call call; /* first: hooks have its address */
    size_t next;
} get_chain;

stele_status stele_get_next(stele_get_call *call, stele_error *err)
{
    get_chain *chain = (get_chain *)call;
    const stele_sessions *store = call->store;
    if (chain->next == store->get_hook_count) {
        stele_session_free(*call->ret_session); /* of a try before */
        *call->ret_session = NULL;
        stele_status st = stele__sessions_check_key(call->key, err); /* a hook may have set it */
        if (st != STELE_OK)
            return st;
        return get_now(call->store, call->key, call->options, call->ret_session, err);
    }
    const stele_get_hook *hook = &store->get_hooks[chain->next++];
    stele_get_call before = *call;
    stele_status st = hook->fn(call, hook->user, err);
    *call = before; /* what it put there ends with it */
    chain->next--;  /* and the one before may try again */
    return st;
}

stele_status stele_sessions_get(stele_sessions *store, const stele_session_key *key,
                                const stele_session_get_options *options,
                                stele_session **ret_session, stele_error *err)
{
    get_plan plan;
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK)
        st = make_plan(store, options, &plan, err);
    if (st != STELE_OK)
        return st;
    if (store->get_hook_count == 0)
        return get_now(store, key, options, ret_session, err);
    st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    stele_session *session = NULL;
    get_chain chain = {.call = {store, key, options, &session}};
    st = stele_get_next(&chain.call, err);
    if (st == STELE_OK && session == NULL)
        st = stele__sessions_missing(key, err);
    if (st == STELE_OK)
        *ret_session = session;
    else
        stele_session_free(session);
    stele__sessions_leave(store);
    return st;
}

/* ---- get or create --------------------------------------------------------------------------- */

static stele_status run_get_or_create(stele_sessions *store, stele_conn *conn,
                                      stele__creation *creation, const get_plan *plan,
                                      stele_session **ret_session, stele_error *err)
{
    STELE_AUTO(stele_pipeline) p = NULL;
    sessions_get_rows *rows = NULL;
    sessions_get_page_rows *page = NULL;
    sessions_get_params window = window_params(&creation->key, plan);
    sessions_get_page_params paged = page_params(&creation->key, plan);
    stele_status st = stele_pipeline_open(conn, NULL, &p, err);
    if (st == STELE_OK)
        st = stele__creation_queue(store, creation, p, err);
    if (st == STELE_OK)
        st = is_page(plan) ? sessions_get_page_queue(p, &paged, &page, err)
                           : sessions_get_queue(p, &window, &rows, err);
    if (st == STELE_OK)
        st = stele_pipeline_sync(p, err);
    if (st != STELE_OK)
        return st;
    return stele__session_of_rows(
        &creation->key, page != NULL ? stele__rows_of_page(page) : stele__rows_of_get(rows),
        &plan->wanted, ret_session, err);
}

stele_status stele_sessions_get_or_create(stele_sessions *store, const stele_session_key *key,
                                          const stele_session_value *state, size_t count,
                                          const stele_session_get_options *options,
                                          stele_session **ret_session, bool *ret_created,
                                          stele_error *err)
{
    get_plan plan;
    stele__creation creation;
    stele_conn *conn = NULL;
    stele_status st = stele__creation_init(&creation, key, state, count, err);
    if (st == STELE_OK)
        st = make_plan(store, options, &plan, err);
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, key, &conn, err);
    if (st == STELE_OK) {
        st = run_get_or_create(store, conn, &creation, &plan, ret_session, err);
        if (st == STELE_OK)
            stele__seen_note(store, &creation.key, (*ret_session)->created_at);
        st = stele__sessions_end(store, conn, st);
    }
    if (st == STELE_OK && ret_created != NULL)
        *ret_created = creation.row != NULL;
    stele__creation_release(&creation);
    return st;
}
