/* The floors of bulk: binary COPY written by hand, and prepared inserts in one transaction. */
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

#define BUFFER_SIZE 65536

/* The rows, as an application has them. */
typedef struct event {
    floor_text app_name;
    floor_text user_id;
    floor_text session_id;
    floor_text event;
} event;

typedef struct bulk {
    PGconn *pg;
    event *rows;
    char *buffer;
    size_t used;
} bulk;

static void *open_floor(const bench_run *run, int thread)
{
    (void)thread;
    bulk *s = bench_alloc(sizeof *s);
    s->pg = bench_connect(run);
    s->buffer = bench_alloc(BUFFER_SIZE);
    s->rows = bench_alloc(BULK_ROWS * sizeof *s->rows);
    for (int i = 0; i < BULK_ROWS; i++)
        s->rows[i] = (event){
            .app_name = {WORKLOAD_APP, sizeof WORKLOAD_APP - 1},
            .user_id = {"writer", 6},
            .session_id = {"written", 7},
            .event = {workload_event, workload_event_len},
        };
    bench_prepare(s->pg, "put",
                  "INSERT INTO session_events (app_name, user_id, session_id, event) "
                  "VALUES ($1, $2, $3, $4)");
    return s;
}

static void run(const bulk *s, const char *sql, ExecStatusType wanted)
{
    PGresult *result = PQexec(s->pg, sql);
    if (PQresultStatus(result) != wanted)
        bench_die(sql, PQerrorMessage(s->pg));
    PQclear(result);
}

/* ---- COPY ---- */

static void flush(bulk *s)
{
    if (PQputCopyData(s->pg, s->buffer, (int)s->used) != 1)
        bench_die("COPY", PQerrorMessage(s->pg));
    s->used = 0;
}

static void add(bulk *s, const void *data, size_t len)
{
    if (BUFFER_SIZE - s->used < len)
        flush(s);
    memcpy(s->buffer + s->used, data, len);
    s->used += len;
}

static void add_text(bulk *s, const floor_text *text)
{
    uint32_t len = htobe32((uint32_t)text->len);
    add(s, &len, sizeof len);
    add(s, text->data, text->len);
}

static void add_jsonb(bulk *s, const floor_text *text)
{
    uint32_t len = htobe32((uint32_t)text->len + 1);
    add(s, &len, sizeof len);
    add(s, "\1", 1); /* the version of the format */
    add(s, text->data, text->len);
}

static void copy_once(bulk *s)
{
    static const char head[19] = "PGCOPY\n\377\r\n";
    const uint16_t four = htobe16(4);
    const uint16_t end = UINT16_MAX;
    run(s, "COPY session_events (app_name, user_id, session_id, event) FROM STDIN (FORMAT binary)",
        PGRES_COPY_IN);
    add(s, head, sizeof head);
    for (int i = 0; i < BULK_ROWS; i++) {
        const event *row = &s->rows[i];
        add(s, &four, sizeof four);
        add_text(s, &row->app_name);
        add_text(s, &row->user_id);
        add_text(s, &row->session_id);
        add_jsonb(s, &row->event);
    }
    add(s, &end, sizeof end);
    flush(s);
    if (PQputCopyEnd(s->pg, NULL) != 1)
        bench_die("COPY", PQerrorMessage(s->pg));
    for (PGresult *result; (result = PQgetResult(s->pg)) != NULL; PQclear(result))
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            bench_die("COPY", PQerrorMessage(s->pg));
}

static void work_copy(void *state, long count)
{
    for (long i = 0; i < count; i++) {
        run(state, BULK_EMPTY, PGRES_COMMAND_OK);
        copy_once(state);
    }
}

/* ---- one by one ---- */

static void insert_once(const bulk *s)
{
    static const int formats[] = {1, 1, 1, 0};
    run(s, "BEGIN", PGRES_COMMAND_OK);
    for (int i = 0; i < BULK_ROWS; i++) {
        const event *row = &s->rows[i];
        const char *const values[] = {row->app_name.data, row->user_id.data, row->session_id.data,
                                      row->event.data};
        const int lengths[] = {(int)row->app_name.len, (int)row->user_id.len,
                               (int)row->session_id.len, 0};
        PGresult *result = PQexecPrepared(s->pg, "put", 4, values, lengths, formats, 1);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            bench_die("put", PQerrorMessage(s->pg));
        PQclear(result);
    }
    run(s, "COMMIT", PGRES_COMMAND_OK);
}

static void work_single(void *state, long count)
{
    for (long i = 0; i < count; i++) {
        run(state, BULK_EMPTY, PGRES_COMMAND_OK);
        insert_once(state);
    }
}

static void close_floor(void *state)
{
    bulk *s = state;
    PQfinish(s->pg);
    free(s->rows);
    free(s->buffer);
    free(s);
}

const bench_case floor_bulk_copy = {
    .name = "copy", .open = open_floor, .work = work_copy, .close = close_floor};
const bench_case floor_bulk_single = {
    .name = "single", .open = open_floor, .work = work_single, .close = close_floor};
