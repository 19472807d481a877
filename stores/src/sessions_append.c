#include "sessions_append.h"
#include "store_json.h"
#include "summaries.h"

#include "banned.h"

enum { ROOM_MS = 200 };

/* ---- what is appended ------------------------------------------------------------------------ */

/* The id as text, for looking it up; escapes are rare in one. */
static stele_status take_id(stele__append *append, stele_error *err)
{
    stele_str raw = append->facts.id;
    char *id = stele__store_take(&append->arena, raw.len + 1);
    if (id == NULL)
        return stele__store_no_memory(err);
    size_t len = stele__json_unescape(raw, id);
    if (len == SIZE_MAX)
        return stele__store_fail(err, STELE_E_INPUT, "the event's id is no text");
    append->id.data = id;
    append->id.len = len;
    return STELE_OK;
}

stele_status stele__append_init(stele__append *append, const stele_sessions *store,
                                const stele_session_key *key, stele_str event, stele_error *err)
{
    memset(append, 0, sizeof *append);
    append->key = *key;
    append->event = event;
    stele_status st = stele__event_read(event, &append->facts, err);
    if (st != STELE_OK)
        return st;
    append->delta = append->facts.delta;
    append->stored = append->facts.stored;
    if (store->strict)
        st = stele__append_route(append, err);
    if (st == STELE_OK && store->idempotent && append->stored)
        st = take_id(append, err);
    return st;
}

void stele__append_release(stele__append *append)
{
    sessions_append_event_row_free(append->row);
    sessions_update_state_row_free(append->state_row);
    stele__pairs_release(&append->app);
    stele__pairs_release(&append->user);
    stele__store_text_free(&append->own_event);
    stele__store_text_free(&append->own_delta);
    stele__store_arena_free(&append->arena);
}

/* ---- one round trip -------------------------------------------------------------------------- */

static sessions_append_event_params event_params(const stele_sessions *store,
                                                 const stele__append *append)
{
    sessions_append_event_params params = {
        STELE__KEY(append->key),
        .event = stele_text_of(append->event),
        .delta = stele_text_of(append->delta),
        .ttl = stele__sessions_ttl(store->session_ttl_ms),
        .ttl_slack = stele__sessions_slack(store),
    };
    if (append->id.len > 0)
        params.event_id = stele_text_of(append->id);
    return params;
}

static sessions_update_state_params state_params(const stele_sessions *store,
                                                 const stele__append *append)
{
    static const stele_str none = {"", 0};
    stele_str_array removed = {&none, NULL, 0};
    sessions_update_state_params params = {
        STELE__KEY(append->key),
        .delta = stele_text_of(append->delta),
        .removed = stele_str_array_v(removed),
        .ttl = stele__sessions_ttl(store->session_ttl_ms),
        .ttl_slack = stele__sessions_slack(store),
    };
    return params;
}

/* With a lock before, which an event's id is looked up under, or states of others behind. */
static stele_status run_batch(const stele_sessions *store, stele_conn *conn, stele__append *append,
                              stele_error *err)
{
    STELE_AUTO(stele_pipeline) p = NULL;
    STELE_AUTO(sessions_lock_session_row) locked = NULL;
    sessions_lock_session_params lock = {STELE__KEY(append->key)};
    sessions_append_event_params event = event_params(store, append);
    sessions_update_state_params state = state_params(store, append);
    stele_status st = stele_pipeline_open(conn, NULL, &p, err);
    if (st == STELE_OK && append->id.len > 0)
        st = sessions_lock_session_queue(p, &lock, &locked, err);
    if (st == STELE_OK)
        st = append->stored ? sessions_append_event_queue(p, &event, &append->row, err)
                            : sessions_update_state_queue(p, &state, &append->state_row, err);
    if (st == STELE_OK)
        st = stele__append_queue_routed(store, append, p, err);
    if (st == STELE_OK && append->stored)
        st = stele__summaries_queue(store, &append->key, append->event, p, err);
    return st == STELE_OK ? stele_pipeline_sync(p, err) : st;
}

static stele_status run_append(const stele_sessions *store, stele_conn *conn, stele__append *append,
                               stele_error *err)
{
    if (append->id.len > 0 || append->app.keys.count > 0 || append->user.keys.count > 0 ||
        (append->stored && stele__summaries_ride(store)))
        return run_batch(store, conn, append, err);
    if (append->stored) {
        sessions_append_event_params event = event_params(store, append);
        return sessions_append_event(conn, &event, &append->row, err);
    }
    sessions_update_state_params state = state_params(store, append);
    return sessions_update_state(conn, &state, &append->state_row, err);
}

static void count(atomic_uint_fast64_t *counter)
{
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static stele_status take_answer(stele_sessions *store, stele_conn *conn,
                                const stele__append *append, stele_session_appended *ret,
                                stele_error *err)
{
    const sessions_append_event_row *row = append->row;
    if (append->stored ? row == NULL : append->state_row == NULL)
        return stele__sessions_refusal(conn, &append->key, err);
    if (!append->stored)
        return STELE_OK;
    ret->row_id = row->id.v;
    ret->created_at = row->created_at.v;
    ret->duplicate = row->status == 3;
    count(ret->duplicate ? &store->duplicates : &store->appended);
    return STELE_OK;
}

/* What goes to the application's and the user's state, too, is stored at once. */
static bool can_be_queued(const stele_sessions *store, const stele__append *append)
{
    return store->queue != NULL && append->app.keys.count == 0 && append->user.keys.count == 0;
}

static stele_status append_at_once(stele_append_call *call, stele__append *append, stele_error *err)
{
    stele_conn *conn = NULL;
    stele_status st = stele__sessions_begin_after(call->store, call->key, &conn, err);
    if (st != STELE_OK)
        return st;
    st = run_append(call->store, conn, append, err);
    if (st == STELE_OK)
        st = take_answer(call->store, conn, append, call->ret_appended, err);
    return stele__sessions_end(call->store, conn, st);
}

/* Who finds the lane full looks up now and then: closing waits until callers have left. */
static stele_status append_queued(const stele_append_call *call, const stele__append *append,
                                  stele_error *err)
{
    stele_status st;
    do {
        st = stele__sessions_enter(call->store, err);
        if (st != STELE_OK)
            return st;
        st = stele__queue_put(call->store, append, ROOM_MS, call->ret_appended, err);
        stele__sessions_leave(call->store);
    } while (st == STELE_E_TIMEOUT);
    return st;
}

static stele_status append_now(stele_append_call *call, stele_error *err)
{
    stele__append append;
    stele_status st = stele__append_init(&append, call->store, call->key, call->event, err);
    if (st == STELE_OK)
        st = can_be_queued(call->store, &append) ? append_queued(call, &append, err)
                                                 : append_at_once(call, &append, err);
    if (st == STELE_OK && append.stored)
        stele__summaries_appended(call->store, call->key, call->event);
    stele__append_release(&append);
    return st;
}

/* ---- hooks ----------------------------------------------------------------------------------- */

/* A call and how far it is in the chain. */
typedef struct append_chain {
    stele_append_call call; /* first: hooks have its address */
    size_t next;
} append_chain;

stele_status stele_append_next(stele_append_call *call, stele_error *err)
{
    append_chain *chain = (append_chain *)call;
    const stele_sessions *store = call->store;
    if (chain->next == store->append_hook_count) {
        stele_status st = stele__sessions_check_key(call->key, err); /* a hook may have set it */
        return st == STELE_OK ? append_now(call, err) : st;
    }
    const stele_append_hook *hook = &store->append_hooks[chain->next++];
    stele_append_call before = *call;
    stele_status st = hook->fn(call, hook->user, err);
    *call = before; /* what it put there ends with it */
    chain->next--;  /* and the one before may try again */
    return st;
}

stele_status stele_sessions_append(stele_sessions *store, const stele_session_key *key,
                                   stele_str event_json, stele_session_appended *ret_appended,
                                   stele_error *err)
{
    stele__event_facts facts;
    stele_session_appended appended = {0};
    append_chain chain = {.call = {store, key, event_json, &appended}};
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK && store->append_hook_count == 0) {
        st = append_now(&chain.call, err);
    } else if (st == STELE_OK) {
        st = stele__event_read(event_json, &facts, err); /* hooks see what is an event */
        if (st == STELE_OK)
            st = stele__sessions_enter(store, err);
        if (st == STELE_OK) {
            st = stele_append_next(&chain.call, err);
            stele__sessions_leave(store);
        }
    }
    if (st == STELE_OK && ret_appended != NULL)
        *ret_appended = appended;
    return st;
}

static stele_status copy_event(const stele_event *from, stele_event *ret_event, stele_error *err)
{
    if (from == NULL || from->size < sizeof from->size || from->size > sizeof *from)
        return stele__store_fail(err, STELE_E_INPUT, "the event is not one of STELE_EVENT_INIT");
    memset(ret_event, 0, sizeof *ret_event);
    memcpy(ret_event, from, from->size);
    return STELE_OK;
}

stele_status stele_sessions_append_event(stele_sessions *store, const stele_session_key *key,
                                         const stele_event *given,
                                         stele_session_appended *ret_appended, stele_error *err)
{
    stele_event event;
    stele__store_text text = {0};
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK)
        st = copy_event(given, &event, err);
    if (st == STELE_OK)
        st = stele__event_write(&event, &text, err);
    if (st == STELE_OK) {
        stele_str json = {text.data, text.len};
        st = stele_sessions_append(store, key, json, ret_appended, err);
    }
    stele__store_text_free(&text);
    return st;
}
