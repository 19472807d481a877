/*
 * One event on its way into a session.
 */
#ifndef STELE_SESSIONS_APPEND_H
#define STELE_SESSIONS_APPEND_H

#include "sessions_call.h"
#include "sessions_event.h"

typedef struct stele__append {
    stele_session_key key;
    stele_str event;
    stele__event_facts facts;
    bool stored;      /* the event is, not only its state */
    stele_str delta;  /* for the session's own state */
    stele_str id;     /* to be looked up; "" if there is none, or it need not be */
    stele__pairs app; /* of strict stores: what goes elsewhere */
    stele__pairs user;
    stele__store_text own_event;
    stele__store_text own_delta;
    stele__store_arena arena;
    sessions_append_event_row *row; /* answers */
    sessions_update_state_row *state_row;
} stele__append;

/* Reads the event, which is borrowed. To be released in any case. */
stele_status stele__append_init(stele__append *append, const stele_sessions *store,
                                const stele_session_key *key, stele_str event, stele_error *err);
void stele__append_release(stele__append *append);

/* Strict stores: parts the delta among session, application and user, and forgets what is temporary. */
stele_status stele__append_route(stele__append *append, stele_error *err);

/* Queues what was parted for application and user; it is stored if the session was found before. */
stele_status stele__append_queue_routed(const stele_sessions *store, const stele__append *append,
                                        stele_pipeline *p, stele_error *err);

/* Queues it; of stores with async_persist. STELE_E_TIMEOUT: for `room_ms` there was no room in its lane. */
stele_status stele__queue_put(stele_sessions *store, const stele__append *append, uint32_t room_ms,
                              stele_session_appended *ret, stele_error *err);

#endif
