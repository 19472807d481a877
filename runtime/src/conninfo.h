/**
 * From the ways a caller can say where the server is to the parameters of a connection.
 *
 * A connection string wins key by key over single fields. A named instance is looked at only when
 * neither a connection string nor a host is given; single fields then win over it, key by key. What
 * none of them says comes from the environment as libpq reads it, and what is not there either from
 * our defaults. Messages never quote the text they complain about: it may hold a password.
 *
 * Floor: conn.
 */
#ifndef STELE_CONNINFO_H
#define STELE_CONNINFO_H

#include "stele/status.h"

typedef struct stele__conninfo_input {
    const char *dsn;
    const char *host;
    const char *port;
    const char *user;
    const char *password;
    const char *dbname;
    const char *sslmode;
    const char *application_name;
    const char *instance;     /* name of the instance, for messages */
    const char *instance_dsn; /* its connection string; NULL when none is to be used */
    bool read_write;          /* connect only to a server that accepts writes */
} stele__conninfo_input;

/** Keys and values for PQconnectdbParams, both ended by NULL. Zeroed memory is an empty one. */
typedef struct stele__conninfo {
    const char **keys;
    const char **values;
    size_t count;
    size_t host_count; /* at least 1 */
    /* values with the lists of hosts and ports turned by 0, 1, …, host_count - 1: libpq knows no
     * timeout for one host, so the next attempt begins with another. [0] is `values`. */
    const char ***turned;
    char *settings;              /* the statement that sets what every session has; NULL: nothing */
    uint32_t connect_timeout_ms; /* what the caller's connect_timeout says; 0 if nothing */
} stele__conninfo;

/** Errors: STELE_E_INPUT, STELE_E_NOMEM. Owns: the caller: stele__conninfo_release(). */
stele_status stele__conninfo_build(const stele__conninfo_input *input, stele__conninfo *ret_info,
                                   stele_error *err);

/** Frees it; the values are overwritten first. */
void stele__conninfo_release(stele__conninfo *info);

#endif
