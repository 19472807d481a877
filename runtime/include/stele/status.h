/**
 * What a call answers, and where it tells why.
 *
 * Every fallible function returns a stele_status: zero, a positive outcome that is no failure, or a
 * negative error. Detail goes to a caller-owned stele_error, which holds no pointers and needs no
 * freeing. It is written only when a call fails; NULL is allowed wherever a stele_error is taken.
 *
 * Floor: status.
 */
#ifndef STELE_STATUS_H
#define STELE_STATUS_H

#include "stele/base.h"

STELE_BEGIN_DECLS

/* name, value, text */
#define STELE_STATUS_MAP(X)                                                                        \
    X(OK, 0, "success")                                                                            \
    X(DONE, 1, "no more rows")                                                                     \
    X(ROLLBACK, 2, "rolled back at the caller's wish")                                             \
    X(AGAIN, 3, "not finished yet")                                                                \
    X(E_INPUT, -1, "invalid argument")                                                             \
    X(E_NOMEM, -2, "out of memory")                                                                \
    X(E_NOT_FOUND, -3, "no such row")                                                              \
    X(E_CONFLICT, -4, "the row was changed by someone else")                                       \
    X(E_UNIQUE, -5, "a row with this key exists")                                                  \
    X(E_FOREIGN_KEY, -6, "foreign key violation")                                                  \
    X(E_CHECK, -7, "check constraint violation")                                                   \
    X(E_NOT_NULL, -8, "NULL in a NOT NULL column")                                                 \
    X(E_EXCLUSION, -9, "exclusion constraint violation")                                           \
    X(E_VALUE, -10, "value the server cannot store")                                               \
    X(E_NULL, -11, "NULL where the schema promises a value")                                       \
    X(E_DECODE, -12, "server sent a value of an unexpected shape")                                 \
    X(E_SERIALIZATION, -13, "serialization failure or deadlock")                                   \
    X(E_LOCKED, -14, "lock not available")                                                         \
    X(E_TIMEOUT, -15, "deadline expired")                                                          \
    X(E_CANCELED, -16, "canceled")                                                                 \
    X(E_CONNECT, -17, "cannot connect")                                                            \
    X(E_AUTH, -18, "authentication failed")                                                        \
    X(E_LOST, -19, "connection lost")                                                              \
    X(E_UNKNOWN, -20, "outcome unknown")                                                           \
    X(E_READ_ONLY, -21, "server is read-only")                                                     \
    X(E_PERMISSION, -22, "permission denied")                                                      \
    X(E_SCHEMA, -23, "database objects differ from the schema")                                    \
    X(E_NAME, -24, "invalid schema, prefix or object name")                                        \
    X(E_ABORTED, -25, "transaction is aborted")                                                    \
    X(E_BUSY, -26, "too many waiters")                                                             \
    X(E_CLOSED, -27, "handle is closed")                                                           \
    X(E_FORKED, -28, "handle belongs to the parent process")                                       \
    X(E_MISUSE, -29, "call not allowed in this state")                                             \
    X(E_UNSUPPORTED, -30, "not supported by this server or library")                               \
    X(E_SERVER, -31, "server error")

typedef enum stele_status {
#define STELE_STATUS_ENUM(name, value, text) STELE_##name = (value),
    STELE_STATUS_MAP(STELE_STATUS_ENUM)
#undef STELE_STATUS_ENUM
} stele_status;

/** Bytes of a PostgreSQL identifier and its terminator. */
#define STELE_NAME_SIZE 64

/**
 * Why a call failed. Plain bytes: copy it, put it on the stack, never free it.
 *
 * Empty strings mean "not known". `message` is one line without a final period; `hint` says what to
 * do. `retryable` says that running the same transaction again may succeed. `outcome_unknown` says
 * that the work may or may not have been committed: never repeat it blindly.
 */
typedef struct stele_error {
    stele_status status;
    bool retryable;
    bool outcome_unknown;
    char sqlstate[6];
    char schema[STELE_NAME_SIZE];
    char table[STELE_NAME_SIZE];
    char column[STELE_NAME_SIZE];
    char constraint[STELE_NAME_SIZE];
    char message[512];
    char detail[512];
    char hint[256];
} stele_error;

/** Name of a status, for example "STELE_E_UNIQUE"; "STELE_?" for an unknown number. Never NULL. */
STELE_API const char *stele_status_name(stele_status status);

/** Text of a status, for example "a row with this key exists". Never NULL. */
STELE_API const char *stele_status_text(stele_status status);

/** Makes `err` empty: status OK, all strings "". NULL is ignored. */
STELE_API void stele_error_clear(stele_error *err);

/**
 * Writes one line for a log into `buf`: status, SQLSTATE, message, place, hint.
 *
 * Returns the length it would have needed without the terminator, as snprintf does.
 */
STELE_API size_t stele_error_format(const stele_error *err, char *buf, size_t size);

STELE_END_DECLS

#endif
