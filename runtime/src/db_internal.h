/**
 * The inside of a handle, for the floors above db.
 *
 * Floor: db.
 */
#ifndef STELE_DB_INTERNAL_H
#define STELE_DB_INTERNAL_H

#include "pool.h"
#include "stele/db.h"

struct stele_db {
    stele__pool *pool;
    stele__names_box *names;
    size_t module_count;
    const stele_module *modules[]; /* as stele_db_options gave them */
};

#endif
