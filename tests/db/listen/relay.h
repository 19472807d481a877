/*
 * A relay between clients and the server that can turn bad: a Unix socket in a folder of its own
 * that passes messages on, or does with them what networks and poolers do.
 */
#ifndef STELE_TESTS_RELAY_H
#define STELE_TESTS_RELAY_H

typedef enum relay_mode {
    RELAY_PASS,
    RELAY_SWALLOW,            /* takes everything, passes nothing on, closes nothing: half open */
    RELAY_REFUSE,             /* hangs up on new connections */
    RELAY_DROP_NOTIFICATIONS, /* all of them */
    RELAY_POOL_SESSION,       /* a process number of its own, as poolers tell */
    RELAY_POOL_TRANSACTION    /* the same, and notifications reach busy clients only */
} relay_mode;

/* Starts it, in front of the server of `dsn`; one at a time. */
void relay_start(const char *dsn);
void relay_stop(void);

/* A connection string through the relay. Valid until relay_stop(). */
const char *relay_dsn(void);

/* Modes take effect at once, but for RELAY_POOL_… that begin with a connection. */
void relay_set(relay_mode mode);

/* Hangs up on everybody. */
void relay_cut(void);

/* Connections that were made, or tried, so far; how many are open. */
int relay_accepted(void);
int relay_open(void);

#endif
