/*
 * One table with hand-made descriptors, such as the generator writes, for the tests of the runtime's
 * middle floors; and statements made on the spot.
 */
#ifndef STELE_TESTS_THINGS_H
#define STELE_TESTS_THINGS_H

#include "pool_util.h"
#include "stele/gen/gen.h"

typedef struct thing_row {
    int64_t id;
    stele_str name; /* varchar(5) */
    stele_opt_i32 n;
    stele_str doc; /* jsonb, may be NULL */
    stele_ts at;
} thing_row;

typedef struct thing_input {
    stele_in_i64 id;
    stele_in_str name; /* required */
    stele_in_i32_n n;
    stele_in_str_n doc;
    stele_in_ts at;
} thing_input;

extern const stele_module things_module;
extern const stele_gen_stmt thing_insert; /* args[0]: thing_input */
extern const stele_gen_stmt thing_find;   /* args[0]: int64_t */
extern const stele_gen_stmt thing_list;   /* limit only: args[0]: int64_t */
extern const stele_gen_column thing_columns[5];

/* Drops and creates the table. */
void create_things(void);

stele_status insert_thing(stele_conn *conn, int64_t id, const char *name, stele_error *err);
stele_status insert_returning(stele_conn *conn, const thing_input *input, thing_row **ret_row,
                              stele_error *err);
stele_status insert_input(stele_conn *conn, const thing_input *input, stele_error *err);
stele_status find_thing(stele_conn *conn, int64_t id, stele_error *err);

/* How many things there are, seen from a connection of its own. */
int count_things(void);

/* A statement of one piece of SQL; it borrows all it is given. */
typedef struct made {
    stele_gen_stmt stmt;
    stele_gen_part part;
} made;

void make(made *m, const char *name, const char *sql, const stele_gen_param *params,
          uint16_t param_count);
void make_read(made *m, const char *name, const char *sql, const stele_gen_column *columns,
               uint16_t column_count, uint32_t row_size);

/* Waits of `conn` since *before, which is moved on. */
uint64_t waits_since(const stele_conn *conn, uint64_t *before);

#endif
