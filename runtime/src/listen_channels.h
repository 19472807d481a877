/**
 * The inside of a listener: its channels, who subscribed to them, and calling these.
 *
 * Floor: listen.
 */
#ifndef STELE_LISTEN_CHANNELS_H
#define STELE_LISTEN_CHANNELS_H

#include "listen_internal.h"

typedef struct stele__channel stele__channel;

struct stele_subscription {
    stele_subscription *prev;
    stele_subscription *next;
    stele__channel *channel;
    stele_listen_fn fn;
    void *user;
    bool needs_rescan;
    bool ended; /* by itself, in its own call: freed after it */
};

/** Only the thread removes channels, so that it may keep pointers to them without the lock. */
struct stele__channel {
    stele__channel *next;
    stele_subscription *first;
    uint64_t hash;
    bool listening; /* the server has it registered */
    char name[STELE_NAME_SIZE];
};

struct stele_listener {
    stele__line line; /* its lock is that of all that follows */
    stele_listener_options options;
    stele__channel *channels;
    stele_subscription *calling; /* whose fn runs now */
    stele_subscription *next;    /* who is to be called next, of the same channel */
    stele_listen_stats stats;
    bool connected;
    uint64_t down_since_ns; /* 0 while connected */
    /* the thread's */
    char probe[32];       /* a channel of this listener alone */
    uint64_t probe_count; /* what was sent to it last */
    uint64_t heard_ns;    /* when the server was heard of last */
};

/** Has the server registered for what it is subscribed to, and for nothing else. */
stele_status stele__register_channels(stele_listener *listener, stele_error *err);

/** The connection is gone: everything has to be registered and looked at again. */
void stele__forget_registration(stele_listener *listener);

/** Tells those to look who have to; gives up when the listener is closing. */
void stele__call_rescans(stele_listener *listener);

/** Hands a notification to all subscribers of its channel. */
void stele__call_subscribers(stele_listener *listener, const stele__notification *notification);

#endif
