/**
 * Databases for C tests on a real server. The server is the one that STELE_DSN names; `./dev test`
 * sets it. Failures of the support itself end the test program with a message.
 */
#ifndef STELE_TESTS_DBTEST_H
#define STELE_TESTS_DBTEST_H

#include <stdbool.h>

/**
 * Bounds for what ends by itself and would otherwise last a minute or more: far from both, since a
 * machine that runs tests may stand still for seconds.
 */
enum { SOON_MS = 20000 };

/** Ends the program with 77, "skipped", if there is no server to test with. */
void dbtest_require_server(void);

/** As libpq tells it: 150018 is 15.18. */
int dbtest_server_version(void);

/** Creates an empty database and returns its connection string. Give it to dbtest_drop(). */
char *dbtest_create(void);

/** Drops the database, disconnecting who is still connected, and frees the string. */
void dbtest_drop(char *dsn);

/** Runs SQL (several statements may be given) and discards what it answers. */
void dbtest_exec(const char *dsn, const char *sql);

/** The first column of the first row as text, "" for NULL or no row. Free it. */
char *dbtest_value(const char *dsn, const char *sql);

/** Waits until `sql` answers `t`, at most a minute; false if it never did. */
bool dbtest_wait_until(const char *dsn, const char *sql);

#endif
