#include "one.h"

stele_db *db;
stele_conn *conn;
stele_error err;

int open_one(void **state)
{
    (void)state;
    create_things();
    db = open_db("one", 6);
    conn = acquire(db);
    return 0;
}

int close_one(void **state)
{
    (void)state;
    stele_conn_release(conn);
    stele_db_close(db);
    return 0;
}
