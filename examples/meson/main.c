/*
 * Writes a note twice, then takes its text away: an input is unset, NULL or a value. The server is
 * the one that STELE_DSN names.
 */
#include <stdio.h>
#include <stdlib.h>

#include "notes.gen.h"

static stele_status show(stele_conn *conn, stele_error *err)
{
    STELE_AUTO(notes_row) note = NULL;
    stele_status st = notes_find(conn, stele_s("motto"), &note, err);
    if (st == STELE_OK)
        printf("motto: %s\n", note->body.data != NULL ? note->body.data : "(none)");
    return st;
}

static stele_status write_note(stele_conn *conn, const char *body, stele_error *err)
{
    notes_input input = {.name = stele_text_v("motto"), .body = stele_text_n_v(body)};
    bool inserted = false;
    stele_status st = notes_upsert(conn, &input, NULL, &inserted, err);
    if (st != STELE_OK)
        return st;
    puts(inserted ? "written" : "written again");
    return show(conn, err);
}

static stele_status run(stele_db *db, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = NULL;
    stele_status st = stele_db_ensure(db, &notes_module, NULL, err);
    if (st == STELE_OK)
        st = stele_db_acquire(db, &conn, err);
    if (st == STELE_OK)
        st = write_note(conn, "measure once", err);
    if (st == STELE_OK)
        st = write_note(conn, "measure twice", err);
    if (st == STELE_OK) {
        notes_patch patch = {.body = stele_text_n_null()}; /* exists for nullable columns only */
        st = notes_update(conn, stele_s("motto"), &patch, NULL, err);
    }
    if (st == STELE_OK)
        st = show(conn, err);
    return st;
}

int main(void)
{
    const stele_module *const modules[] = {&notes_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.modules = modules;
    options.module_count = 1;

    STELE_AUTO(stele_db) db = NULL;
    stele_error err = {0};
    stele_status st = stele_db_open(&options, &db, &err);
    if (st == STELE_OK)
        st = run(db, &err);
    if (st != STELE_OK) {
        char line[1024];
        stele_error_format(&err, line, sizeof line);
        fprintf(stderr, "%s\n", line);
    }
    return st == STELE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
