#include "sessions_call.h"
#include "sessions_event.h"

#include "banned.h"

/* ---- deleting -------------------------------------------------------------------------------- */

/* The session first: its row is locked before what belongs to it is looked at. */
static stele_status queue_soft_delete(stele_pipeline *p, const stele_session_key *key,
                                      stele_error *err)
{
    sessions_delete_session_params session = {STELE__KEY(*key)};
    sessions_delete_session_summaries_params summaries = {STELE__KEY(*key)};
    sessions_delete_session_events_params events = {STELE__KEY(*key)};
    sessions_delete_session_tracks_params tracks = {STELE__KEY(*key)};
    stele_status st = sessions_delete_session_queue(p, &session, NULL, err);
    if (st == STELE_OK)
        st = sessions_delete_session_summaries_queue(p, &summaries, NULL, err);
    if (st == STELE_OK)
        st = sessions_delete_session_events_queue(p, &events, NULL, err);
    if (st == STELE_OK)
        st = sessions_delete_session_tracks_queue(p, &tracks, NULL, err);
    return st;
}

static stele_status queue_hard_delete(stele_pipeline *p, const stele_session_key *key,
                                      stele_error *err)
{
    sessions_hard_delete_session_params session = {STELE__KEY(*key)};
    sessions_hard_delete_session_summaries_params summaries = {STELE__KEY(*key)};
    sessions_hard_delete_session_events_params events = {STELE__KEY(*key)};
    sessions_hard_delete_session_tracks_params tracks = {STELE__KEY(*key)};
    stele_status st = sessions_hard_delete_session_queue(p, &session, NULL, err);
    if (st == STELE_OK)
        st = sessions_hard_delete_session_summaries_queue(p, &summaries, NULL, err);
    if (st == STELE_OK)
        st = sessions_hard_delete_session_events_queue(p, &events, NULL, err);
    if (st == STELE_OK)
        st = sessions_hard_delete_session_tracks_queue(p, &tracks, NULL, err);
    return st;
}

static stele_status run_delete(const stele_sessions *store, stele_conn *conn,
                               const stele_session_key *key, stele_error *err)
{
    STELE_AUTO(stele_pipeline) p = NULL;
    stele_status st = stele_pipeline_open(conn, NULL, &p, err);
    if (st == STELE_OK)
        st = store->soft_delete ? queue_soft_delete(p, key, err) : queue_hard_delete(p, key, err);
    return st == STELE_OK ? stele_pipeline_sync(p, err) : st;
}

stele_status stele_sessions_delete(stele_sessions *store, const stele_session_key *key,
                                   stele_error *err)
{
    stele_conn *conn = NULL;
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, key, &conn, err);
    if (st != STELE_OK)
        return st;
    st = run_delete(store, conn, key, err);
    stele__seen_forget(store, key);
    return stele__sessions_end(store, conn, st);
}

/* ---- restoring ------------------------------------------------------------------------------- */

/* Behind it what lives under the key, by a younger snapshot: also one that was restored meanwhile. */
static stele_status run_restore(const stele_sessions *store, stele_conn *conn,
                                const stele_session_key *key, stele_error *err)
{
    STELE_AUTO(stele_pipeline) p = NULL;
    STELE_AUTO(sessions_restore_session_row) row = NULL;
    STELE_AUTO(sessions_lock_session_row) living = NULL;
    sessions_restore_session_params params = {STELE__KEY(*key),
                                              .ttl = stele__sessions_ttl(store->session_ttl_ms)};
    sessions_lock_session_params look = {STELE__KEY(*key)};
    stele_status st = stele_pipeline_open(conn, NULL, &p, err);
    if (st == STELE_OK)
        st = sessions_restore_session_queue(p, &params, &row, err);
    if (st == STELE_OK)
        st = sessions_lock_session_queue(p, &look, &living, err);
    if (st == STELE_OK)
        st = stele_pipeline_sync(p, err);
    if (st != STELE_OK || row != NULL)
        return st;
    if (living != NULL)
        return stele__store_fail(err, STELE_E_UNIQUE, "the session exists, and is not deleted");
    return stele__store_fail(err, STELE_E_NOT_FOUND, "no deleted session to restore");
}

stele_status stele_sessions_restore(stele_sessions *store, const stele_session_key *key,
                                    stele_error *err)
{
    stele_conn *conn = NULL;
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK)
        st = stele__sessions_begin_after(store, key, &conn, err);
    if (st != STELE_OK)
        return st;
    st = run_restore(store, conn, key, err);
    stele__seen_forget(store, key);
    return stele__sessions_end(store, conn, st);
}

/* ---- state ----------------------------------------------------------------------------------- */

static stele_status check_own(stele_str key, stele_error *err)
{
    if (key.len == 0)
        return stele__store_fail(err, STELE_E_INPUT, "state key is required");
    if (!stele__store_starts(key, "app:") && !stele__store_starts(key, "user:"))
        return STELE_OK;
    return stele__store_fail(err, STELE_E_INPUT,
                             "\"%.*s\" is no key of a session's state: app: and user: are those of "
                             "the application and the user",
                             (int)(key.len < 100 ? key.len : 100), key.data);
}

stele_status stele_sessions_update_state(stele_sessions *store, const stele_session_key *key,
                                         const stele_session_value *set, size_t set_count,
                                         const stele_str *remove, size_t remove_count,
                                         stele_error *err)
{
    stele_conn *conn = NULL;
    stele__store_text delta = {0};
    STELE_AUTO(sessions_update_state_row) row = NULL;
    stele_str_array removed = {remove_count > 0 ? remove : &(stele_str){"", 0}, NULL, remove_count};
    stele_status st = stele__sessions_check_key(key, err);
    for (size_t i = 0; i < set_count && st == STELE_OK; i++)
        st = check_own(set[i].key, err);
    for (size_t i = 0; i < remove_count && st == STELE_OK; i++)
        st = check_own(remove[i], err);
    if (st != STELE_OK)
        return st;
    stele__state_write(set, set_count, &delta);
    st = delta.failed ? stele__store_no_memory(err)
                      : stele__sessions_begin_after(store, key, &conn, err);
    if (st == STELE_OK) {
        stele_str text = {delta.data, delta.len};
        sessions_update_state_params params = {
            STELE__KEY(*key),
            .delta = stele_text_of(text),
            .removed = stele_str_array_v(removed),
            .ttl = stele__sessions_ttl(store->session_ttl_ms),
            .ttl_slack = stele__sessions_slack(store),
        };
        st = sessions_update_state(conn, &params, &row, err);
        if (st == STELE_OK && row == NULL)
            st = stele__sessions_refusal(conn, key, err);
        st = stele__sessions_end(store, conn, st);
    }
    stele__store_text_free(&delta);
    return st;
}
