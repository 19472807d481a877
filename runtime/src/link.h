/**
 * One server connection: libpq made deadline-safe.
 *
 * Together with result.c the only place that talks to libpq. Nothing here knows pools,
 * transactions' retry rules or generated code; a link is used by one thread at a time, except for
 * stele__link_cancel.
 *
 * Floor: conn.
 */
#ifndef STELE_LINK_H
#define STELE_LINK_H

#include "stele/status.h"

struct pg_conn;
struct pg_result;
struct pg_cancel;

/** Absolute CLOCK_MONOTONIC nanoseconds; STELE__NEVER waits for ever. */
typedef uint64_t stele__deadline;
#define STELE__NEVER UINT64_MAX

/** Now plus milliseconds. */
stele__deadline stele__deadline_in(uint32_t ms);

/** A call must have ended by the one, and within the other. */
typedef struct stele__limits {
    stele__deadline deadline; /* STELE__NEVER when none was set */
    uint32_t timeout_ms;      /* INT32_MAX at most */
} stele__limits;

typedef enum stele__tx_status {
    STELE__TX_IDLE,
    STELE__TX_ACTIVE, /* a command is under way, or its result was not read */
    STELE__TX_IN,
    STELE__TX_ERROR,
    STELE__TX_LOST
} stele__tx_status;

typedef void (*stele__notice_fn)(const char *severity, const char *message, void *user);

/** What a link is opened with. Keys and values as PQconnectdbParams takes them. */
typedef struct stele__link_params {
    const char *const *keys;
    const char *const *values;
    stele__notice_fn on_notice; /* may be NULL; called inside any call on the link */
    void *notice_user;
    uint32_t statement_cache; /* prepared statements kept */
    bool unnamed;             /* never prepare */
    bool generic;             /* plans are made once, not for the values of each run */
    const char *settings; /* a statement that every session begins with; may be NULL. Borrowed */
} stele__link_params;

typedef struct stele__link {
    struct pg_conn *pg;
    struct pg_cancel *cancel; /* made at once, so that any thread may use it */
    int fd;
    const bool *given_up; /* atomic; true: waits end, as at a deadline. NULL: none */
    bool broken;          /* never to be used again */
    bool dirty_session;   /* SET, LISTEN, temp tables, …: reset before another lease */
    bool sent;            /* the last exchange got as far as sending its last step */
    uint32_t forgiven;    /* bits of its steps whose error was taken as done */
    bool refused_write;   /* 25006 was answered: the pool looks whether the server was demoted */
    uint32_t fork_epoch;  /* see stele__fork_epoch */
    uint64_t round_trips; /* waits for the server since it was opened */
    uint64_t utc_at;      /* round_trips when TimeZone was seen to be UTC, plus one; 0: never */
    uint64_t names_id;    /* names it was last used under: tenant affinity */
    struct stele__cache *cache; /* of the stmt floor; made there on first use */
    void (*free_cache)(struct stele__cache *cache);
    uint32_t cache_capacity;
    bool unnamed; /* never prepare */
    bool generic; /* what the session was set to: see stele__link_params */
    const char *settings;
    stele__notice_fn on_notice;
    void *notice_user;
    int server_version;
    int backend_pid;
} stele__link;

/** Number of forks this process descends from since the library was loaded; cheap to read. */
extern uint32_t stele__fork_epoch;

/** Starts counting forks; call it before the first link is opened. Thread-safe, idempotent. */
void stele__fork_watch(void);

static inline bool stele__link_is_foreign(const stele__link *link)
{
    return link->fork_epoch != __atomic_load_n(&stele__fork_epoch, __ATOMIC_RELAXED);
}

/**
 * Connects, pins UTC, UTF8 and the rest of the session. Never blocks past `deadline`.
 *
 * Errors: STELE_E_CONNECT, STELE_E_AUTH, STELE_E_TIMEOUT, STELE_E_UNSUPPORTED, STELE_E_NOMEM; with
 *         sqlstate where the server sent one.
 */
stele_status stele__link_open(const stele__link_params *params, stele__deadline deadline,
                              stele__link **ret_link, stele_error *err);

/** Closes and frees. In a forked child the parent's session survives: the descriptor is closed and
 *  libpq's memory leaked. NULL is ignored. */
void stele__link_close(stele__link *link);

/**
 * Tells the server that nothing more will come: it ends the session, and with it a transaction and its
 * locks, also while a lease still holds the broken link. What it sends can be read to the end.
 */
void stele__link_hang_up(const stele__link *link);

/** Without waiting: false if the server has hung up or sent something that ends the session. */
bool stele__link_alive(stele__link *link);

/** An empty query; the round trip that proves the server answers. */
stele_status stele__link_ping(stele__link *link, stele__deadline deadline, stele_error *err);

/** Sends a cancel request over a connection of its own. Any thread. Waits for it to be taken. */
stele_status stele__link_cancel(stele__link *link, stele_error *err);

/** State of the session as libpq saw it last. */
stele__tx_status stele__link_tx_status(const stele__link *link);

/** A look at the TimeZone that the server told last. */
bool stele__link_look_utc(stele__link *link);

/**
 * True when TimeZone is what we pinned it to; no I/O. The server tells each change, so that only what
 * was read since the last look can have brought one.
 */
static inline bool stele__link_is_utc(stele__link *link)
{
    return link->utc_at == link->round_trips + 1 || stele__link_look_utc(link);
}

/** Sets TimeZone to UTC. One round trip. */
stele_status stele__link_set_utc(stele__link *link, stele__deadline deadline, stele_error *err);

/** Runs ROLLBACK. One round trip. */
stele_status stele__link_rollback(stele__link *link, stele__deadline deadline, stele_error *err);

/** RESET ALL, UNLISTEN *, advisory unlock, DISCARD TEMP, in one round trip; keeps statements. */
stele_status stele__link_reset_session(stele__link *link, stele__deadline deadline,
                                       stele_error *err);

/**
 * How much libpq has complained so far: its own troubles are all that makes it more while an answer is
 * awaited. One of them, no memory for the answer to a Sync, makes libpq wait for what has been read.
 */
size_t stele__link_said(const stele__link *link);

/** That has happened: marks the link broken and says so. */
stele_status stele__link_starved(stele__link *link, stele_error *err);

/* ---- sending -------------------------------------------------------------------------------- */

typedef enum stele__step_kind {
    STELE__STEP_DEALLOCATE, /* sql; a segment (Sync) of its own; that the name is gone is no error */
    STELE__STEP_PREPARE,    /* name, sql, types; a segment of its own */
    STELE__STEP_SIMPLE,     /* sql without parameters; same segment as what follows */
    STELE__STEP_EXECUTE,    /* name, values */
    STELE__STEP_QUERY       /* sql, types, values; the unnamed statement */
} stele__step_kind;

typedef struct stele__step {
    stele__step_kind kind;
    const char *name;
    const char *sql;
    int param_count;
    const unsigned *types;
    const char *const *values;
    const int *lengths;
    const int *formats;
    int result_format; /* 1: binary */
} stele__step;

/**
 * Sends all steps in one flush, waits once, and gives the result of the last.
 *
 * The first error of any step is the answer (its stele_error filled); `*ret_failed_step` (may be
 * NULL) gets its index. A prepare that fails with 42P05 (the name is there already) is taken as
 * done (and so is a DEALLOCATE with 26000), noted in link->forgiven. After a lost connection or an
 * expired deadline the link is broken; `err->outcome_unknown` is set when the last step was sent and
 * the server did not tell that it failed.
 * Owns: the caller, on success: stele__result_clear().
 */
stele_status stele__link_exchange(stele__link *link, const stele__step *steps, int count,
                                  stele__deadline deadline, struct pg_result **ret_result,
                                  int *ret_failed_step, stele_error *err);

/**
 * One prepared statement alone, its parameters as PQsendQueryPrepared() takes them, its results in
 * binary. The link must not be broken.
 *
 * Returns NULL on a failure, which `err` tells as after stele__link_exchange().
 */
struct pg_result *stele__link_execute(stele__link *link, const char *name, int count,
                                      const char *const *values, const int *lengths,
                                      const int *formats, const stele__limits *limits,
                                      stele_error *err);

void stele__result_clear(struct pg_result *result);

/** Command tag of a result, such as "UPDATE 3"; "" if none. */
const char *stele__result_tag(const struct pg_result *result);

/** True if the statement could not return rows. */
bool stele__result_is_command(const struct pg_result *result);

/** True if a command affected no row. */
bool stele__result_changed_nothing(const struct pg_result *result);

/** Rows affected by a command. */
uint64_t stele__result_affected(const struct pg_result *result);

/** Rows and text cells of a result, for catalog queries in text format. NULL for SQL NULL. */
int stele__result_count(const struct pg_result *result);
const char *stele__result_text(const struct pg_result *result, int row, int column);

#endif
