/*
 * Adds a task, lists the tasks of its owner, deletes it. The server is the one that STELE_DSN names.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tasks.gen.h"

static stele_status add(stele_conn *conn, int64_t *ret_id, stele_error *err)
{
    tasks_input input = {.owner = stele_text_v("ada"), .title = stele_text_v("carve the stone")};
    STELE_AUTO(tasks_row) task = NULL; /* one block, freed on every way out */
    stele_status st = tasks_insert(conn, &input, &task, err);
    if (st != STELE_OK)
        return st;
    printf("task %lld for %s: %s\n", (long long)task->id, task->owner.data, task->title.data);
    *ret_id = task->id;
    return STELE_OK;
}

static stele_status list(stele_conn *conn, stele_error *err)
{
    STELE_AUTO(tasks_page) page = NULL;
    stele_status st = tasks_list_by_newest(conn, stele_s("ada"), NULL, 10, &page, err);
    if (st < STELE_OK)
        return st;
    printf("%zu to do\n", st == STELE_DONE ? (size_t)0 : page->count);
    return STELE_OK;
}

static stele_status run(stele_db *db, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = NULL; /* returned to the pool on every way out */
    stele_status st = stele_db_ensure(db, &tasks_module, NULL, err); /* creates the table */
    if (st == STELE_OK)
        st = stele_db_acquire(db, &conn, err);
    int64_t id = 0;
    if (st == STELE_OK)
        st = add(conn, &id, err);
    if (st == STELE_OK)
        st = list(conn, err);
    if (st == STELE_OK)
        st = tasks_delete(conn, id, err); /* by policy: marks it, the row stays */
    if (st == STELE_OK)
        st = list(conn, err);
    return st;
}

int main(void)
{
    const stele_module *const modules[] = {&tasks_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = getenv("STELE_DSN");
    options.modules = modules;
    options.module_count = 1;

    stele_db *db = NULL;
    stele_error err = {0};
    stele_status st = stele_db_open(&options, &db, &err);
    if (st == STELE_OK)
        st = run(db, &err);
    stele_db_close(db);
    if (st != STELE_OK) {
        char line[1024];
        stele_error_format(&err, line, sizeof line);
        fprintf(stderr, "%s\n", line);
    }
    return st == STELE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
