#include "sessions_call.h"
#include "sessions_rows.h"

#include "banned.h"

static stele_status copy_options(const stele_session_list_options *from,
                                 stele_session_list_options *ret_options, stele_error *err)
{
    memset(ret_options, 0, sizeof *ret_options);
    if (from == NULL)
        return STELE_OK;
    if (from->size < sizeof from->size || from->size > sizeof *from)
        return stele__store_old_options("stele_session_list_options",
                                        "STELE_SESSION_LIST_OPTIONS_INIT", err);
    memcpy(ret_options, from, from->size);
    if (from->after_updated_at.has && from->offset > 0)
        return stele__store_fail(err, STELE_E_INPUT,
                                 "a list goes on after a session or has an offset, not both");
    if (from->after_updated_at.has != (from->after_session_id.data != NULL))
        return stele__store_fail(err, STELE_E_INPUT,
                                 "after_updated_at and after_session_id go together");
    return STELE_OK;
}

static stele_in_i64_n limit_of(const stele_session_list_options *options)
{
    return options->limit > 0 ? stele_i64_n_v(options->limit) : stele_i64_n_null();
}

static stele_status list_meta(stele_conn *conn, const stele_session_user *user,
                              const stele_session_list_options *options, stele__rows *ret_rows,
                              stele_error *err)
{
    sessions_list_meta_rows *rows = NULL;
    sessions_list_meta_params params = {
        .app_name = stele_text_of(user->app_name),
        .user_id = stele_text_of(user->user_id),
        .limit = limit_of(options),
        .offset = stele_i64_v(options->offset),
    };
    if (options->after_updated_at.has) {
        params.before = stele_ts_v(options->after_updated_at.v);
        params.before_id = stele_text_of(options->after_session_id);
    }
    stele_status st = sessions_list_meta(conn, &params, &rows, err);
    if (st == STELE_OK)
        *ret_rows = stele__rows_of_list_meta(rows);
    return st;
}

static stele_status list_whole(const stele_sessions *store, stele_conn *conn,
                               const stele_session_user *user,
                               const stele_session_list_options *options, stele__rows *ret_rows,
                               stele_error *err)
{
    sessions_list_rows *rows = NULL;
    sessions_list_params params = {
        .app_name = stele_text_of(user->app_name),
        .user_id = stele_text_of(user->user_id),
        .limit = limit_of(options),
        .offset = stele_i64_v(options->offset),
        .event_num = stele__sessions_event_num(store, options->event_num),
        .event_time = stele__sessions_since(options->event_time, store->session_ttl_ms),
        .track_time = stele__sessions_or_ever(
            stele__sessions_since(options->event_time, store->track_ttl_ms)),
        .tracks = SESSIONS_LIST_TRACKS_ALL,
    };
    if (options->after_updated_at.has) {
        params.before = stele_ts_v(options->after_updated_at.v);
        params.before_id = stele_text_of(options->after_session_id);
    }
    if (options->event_num > 0) {
        params.tracks = SESSIONS_LIST_TRACKS_LAST;
        params.track_num = params.event_num;
    }
    stele_status st = sessions_list(conn, &params, &rows, err);
    if (st == STELE_OK)
        *ret_rows = stele__rows_of_list(rows);
    return st;
}

stele_status stele_sessions_list(stele_sessions *store, const stele_session_user *user,
                                 const stele_session_list_options *given,
                                 stele_session_list **ret_list, stele_error *err)
{
    stele_session_list_options options;
    stele_conn *conn = NULL;
    stele__rows rows;
    stele_status st = stele__sessions_check_user(user, err);
    if (st == STELE_OK)
        st = copy_options(given, &options, err);
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, NULL, &conn, err);
    if (st != STELE_OK)
        return st;
    st = options.only_meta ? list_meta(conn, user, &options, &rows, err)
                           : list_whole(store, conn, user, &options, &rows, err);
    if (st == STELE_OK)
        st = stele__session_list_of_rows(user, rows, !options.only_meta, ret_list, err);
    return stele__sessions_end(store, conn, st);
}
