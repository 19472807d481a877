/*
 * Values to a real server and back, through the codec alone: raw libpq, no Stele connection.
 */
#ifndef STELE_TESTS_WIRE_H
#define STELE_TESTS_WIRE_H

#include <libpq-fe.h>

#include "../unit/unit.h"
#include "codec_internal.h"

/* The connection and the memory of the test that runs. */
extern PGconn *wire_conn;
extern stele__block wire_memory;

/* A parameter: a value of a type, and the type's name in SQL is up to the statement. */
typedef struct wire_param {
    uint8_t type;
    const void *value;
    const stele_gen_enum *labels;
} wire_param;

/* Group fixtures: a database of its own, UTC and ISO styles. */
int wire_setup(void **state);
int wire_teardown(void **state);

/* Per test: forgets what it allocated. */
int wire_clean(void **state);

/* One row in binary for the statement; fails the test if the server complains. */
PGresult *wire_query(const char *sql, const wire_param *params, int count);

/* The same, or NULL with the SQLSTATE in `sqlstate` if the server complains. */
PGresult *wire_try(const char *sql, const wire_param *params, int count, char sqlstate[6]);

/* Column of the one row, decoded. */
void wire_decode(const PGresult *result, int column, uint8_t type, const stele_gen_enum *labels,
                 void *ret_value);

/* Column of the one row as text (the statement casts it). */
stele_str wire_text(const PGresult *result, int column);

/* The same sequence in every run. */
uint64_t wire_random(void);

/* Below `bound`. */
static inline uint64_t wire_below(uint64_t bound)
{
    return wire_random() % bound;
}

/* A number of random magnitude, so that small ones are as likely as large ones. */
static inline int64_t wire_number(void)
{
    return (int64_t)wire_random() >> wire_below(64);
}

#endif
