/*
 * Events as the peer writes them: what an append must know of one, and making one.
 */
#ifndef STELE_SESSIONS_EVENT_H
#define STELE_SESSIONS_EVENT_H

#include "stele/session.h"
#include "store_util.h"

/* What an append must know. The texts are parts of the event's. */
typedef struct stele__event_facts {
    stele_str id;    /* raw; "" when there is none */
    stele_str delta; /* the object stateDelta; "{}" when there is none */
    bool stored;     /* it has content, and is not partial */
} stele__event_facts;

/* Reads an event: STELE_E_INPUT for what is none. */
stele_status stele__event_read(stele_str json, stele__event_facts *ret_facts, stele_error *err);

/* Writes one: STELE_E_INPUT for parts that are no JSON or no time, STELE_E_NOMEM. */
stele_status stele__event_write(const stele_event *event, stele__store_text *text,
                                stele_error *err);

/* Writes a track's event. `timestamp` as stele__event_now() gives it. */
stele_status stele__track_write(stele_str track, stele_str payload, stele_ts timestamp,
                                stele__store_text *text, stele_error *err);

/* {"key": base64 or null, …} */
void stele__state_write(const stele_session_value *values, size_t count, stele__store_text *text);

/* This machine's clock. */
stele_ts stele__event_now(void);

#endif
