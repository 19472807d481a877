/**
 * COPY … FROM STDIN: a stream of bytes into the server, bounded in memory and in time.
 *
 * Floor: conn.
 */
#ifndef STELE_LINK_COPY_H
#define STELE_LINK_COPY_H

#include "link.h"

/**
 * Sends `sql` by the simple protocol and waits until the server asks for data. It may hold statements
 * before the COPY and after it, all without parameters; what follows runs once the data has ended.
 *
 * Errors: the server's for a statement up to the COPY; then there is no COPY to end.
 */
stele_status stele__link_copy_begin(stele__link *link, const char *sql, stele__deadline deadline,
                                    stele_error *err);

/**
 * libpq sends whole multiples of 8 kB, its own five bytes of each put among them. What is left costs
 * a system call of its own.
 */
#define STELE__COPY_PUT (65536u - 5u)

/**
 * Sends some bytes, wherever they begin and end; STELE__COPY_PUT of them go best. Afterwards libpq
 * holds none of them. After a failure the link is broken.
 */
stele_status stele__link_copy_put(stele__link *link, const char *data, size_t len,
                                  stele__deadline deadline, stele_error *err);

/**
 * Ends the data and reads what the statements answer; `*ret_result` is the last one's.
 *
 * With a `reason` the COPY is called off, and the server's error for that is STELE_E_CANCELED. After
 * a loss `err->outcome_unknown` is set unless the server had told an error, or the COPY was called off.
 * Owns: the caller, on success: stele__result_clear().
 */
stele_status stele__link_copy_end(stele__link *link, const char *reason, stele__deadline deadline,
                                  struct pg_result **ret_result, stele_error *err);

#endif
