/*
 * The same session, after a column was added to the schema: the new field is simply there.
 */
#include <stdio.h>
#include <stdlib.h>

#include <stele.h>

#include "sessions.gen.h"

static stele_status add_title(stele_conn *conn, stele_error *err)
{
    STELE_AUTO(session_states_row) row = NULL;
    session_states_unique_active_key key = {stele_s("library"), stele_s("m-2071"),
                                            stele_s("room-change")};
    session_states_patch patch = {.title = stele_text_n_v("A larger room for Thursday")};
    stele_status st = stele_conn_exec(conn, "ALTER TABLE acme.session_states ADD COLUMN title text",
                                      NULL, 0, NULL, err);
    if (st == STELE_OK)
        st = session_states_find_by_unique_active(conn, &key, &row, err);
    if (st != STELE_OK)
        return st;
    printf("   before: title is %s\n", row->title.data != NULL ? row->title.data : "NULL");
    int64_t id = row->id;
    session_states_row_free(row);
    row = NULL;
    st = session_states_update(conn, id, &patch, &row, err);
    if (st == STELE_OK)
        printf("   after:  title is \"%s\"\n", row->title.data);
    return st;
}

int main(void)
{
    stele_error err;
    STELE_AUTO(stele_db) db = NULL;
    STELE_AUTO(stele_conn) conn = NULL;
    const stele_module *modules[] = {&sessions_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.modules = modules;
    options.module_count = 1;
    options.names.schema = "acme";
    stele_status st = stele_db_open(&options, &db, &err);
    if (st == STELE_OK)
        st = stele_db_acquire(db, &conn, &err);
    if (st == STELE_OK)
        st = add_title(conn, &err);
    if (st != STELE_OK) {
        char line[2048];
        (void)stele_error_format(&err, line, sizeof line);
        fprintf(stderr, "%s\n", line);
        return 1;
    }
    return 0;
}
