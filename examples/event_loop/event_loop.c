/*
 * Two hundred queries at once on one thread, with nothing but poll(2).
 *
 *     event_loop [DSN]           (or STELE_DSN in the environment)
 *
 * Twenty connections each carry a batch of ten queries. The loop starts all batches, waits for whichever
 * socket is ready, and takes a step there. With epoll, libuv or libev only `wait_for_sockets` differs:
 * watch stele_conn_fd() for what stele_conn_wants() says, and call stele_conn_step() when it comes.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sessions.gen.h"

enum { CONNECTIONS = 20, QUERIES = 10 };

typedef struct carrier {
    stele_conn *conn;
    stele_pipeline *batch;
    session_states_row *rows[QUERIES];
    bool under_way;
} carrier;

static int complain(const char *what, const stele_error *err)
{
    char text[1024];
    (void)stele_error_format(err, text, sizeof text);
    fprintf(stderr, "%s: %s\n", what, text);
    return 1;
}

/* Something to ask for: one session for each query. */
static stele_status store_sessions(stele_db *db, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = NULL;
    STELE_AUTO(stele_pipeline) batch = NULL;
    char name[32];
    stele_status st = stele_db_ensure(db, &sessions_module, NULL, err);
    if (st == STELE_OK)
        st = stele_db_acquire(db, &conn, err);
    if (st == STELE_OK)
        st = stele_pipeline_open(conn, NULL, &batch, err);
    for (int i = 0; i < CONNECTIONS * QUERIES && st == STELE_OK; i++) {
        snprintf(name, sizeof name, "session-%d", i);
        session_states_input input = {
            .app_name = stele_text_v("loop"),
            .user_id = stele_text_v("user"),
            .session_id = stele_text_v(name),
        };
        /* The text is copied: `name` may be used again at once. */
        st = session_states_upsert_by_unique_active_queue(batch, &input, NULL, NULL, err);
    }
    return st == STELE_OK ? stele_pipeline_sync(batch, err) : st;
}

/* Starts the ten queries of one connection; does not wait. */
static stele_status start(carrier *c, int number, stele_error *err)
{
    char name[32];
    stele_status st = STELE_OK;
    for (int i = 0; i < QUERIES && st == STELE_OK; i++) {
        snprintf(name, sizeof name, "session-%d", number * QUERIES + i);
        session_states_unique_active_key key = {stele_s("loop"), stele_s("user"), stele_s(name)};
        st = session_states_find_by_unique_active_queue(c->batch, &key, &c->rows[i], err);
    }
    if (st == STELE_OK)
        st = stele_pipeline_start(c->batch, err);
    c->under_way = st == STELE_OK;
    return st;
}

static void wait_for_sockets(const carrier *carriers, struct pollfd *fds)
{
    int longest = -1;
    for (int i = 0; i < CONNECTIONS; i++) {
        const carrier *c = &carriers[i];
        int wants = c->under_way ? stele_conn_wants(c->conn) : 0;
        fds[i].fd = wants != 0 ? stele_conn_fd(c->conn) : -1; /* poll ignores -1 */
        fds[i].events = (short)((wants & STELE_WANTS_READ ? POLLIN : 0) |
                                (wants & STELE_WANTS_WRITE ? POLLOUT : 0));
        int left = c->under_way ? stele_conn_wait_ms(c->conn) : -1;
        if (left >= 0 && (longest < 0 || left < longest))
            longest = left;
    }
    (void)poll(fds, CONNECTIONS, longest); /* interrupted or not: each is stepped when it is due */
}

/* Until no batch is under way; the answers found, or -1. */
static int run_loop(carrier *carriers)
{
    struct pollfd fds[CONNECTIONS];
    stele_error err;
    int found = 0;
    int open = CONNECTIONS;
    while (open > 0) {
        wait_for_sockets(carriers, fds);
        for (int i = 0; i < CONNECTIONS; i++) {
            carrier *c = &carriers[i];
            bool is_due = fds[i].revents != 0 || stele_conn_wait_ms(c->conn) == 0;
            if (!c->under_way || !is_due)
                continue;
            stele_status st = stele_conn_step(c->conn, &err);
            if (st == STELE_AGAIN)
                continue;
            c->under_way = false;
            open--;
            if (st != STELE_OK) {
                (void)complain("batch", &err);
                return -1;
            }
            for (int q = 0; q < QUERIES; q++) {
                found += c->rows[q] != NULL;
                session_states_row_free(c->rows[q]);
                c->rows[q] = NULL;
            }
        }
    }
    return found;
}

static int serve(stele_db *db)
{
    carrier carriers[CONNECTIONS];
    stele_error err;
    stele_status st = STELE_OK;
    int found = -1;
    memset(carriers, 0, sizeof carriers);
    for (int i = 0; i < CONNECTIONS && st == STELE_OK; i++) {
        st = stele_db_acquire(db, &carriers[i].conn, &err);
        if (st == STELE_OK)
            st = stele_pipeline_open(carriers[i].conn, NULL, &carriers[i].batch, &err);
    }
    for (int i = 0; i < CONNECTIONS && st == STELE_OK; i++)
        st = start(&carriers[i], i, &err);
    if (st == STELE_OK)
        found = run_loop(carriers);
    else
        (void)complain("start", &err);
    for (int i = 0; i < CONNECTIONS; i++) {
        stele_pipeline_close(carriers[i].batch);
        stele_conn_release(carriers[i].conn);
    }
    if (found >= 0)
        printf("%d of %d queries answered on one thread\n", found, CONNECTIONS * QUERIES);
    return found == CONNECTIONS * QUERIES ? 0 : 1;
}

int main(int argc, char **argv)
{
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    stele_error err;
    options.dsn = argc > 1 ? argv[1] : getenv("STELE_DSN");
    options.modules = (const stele_module *const[]){&sessions_module};
    options.module_count = 1;
    options.names.prefix = "event_loop_";
    options.pool.max_connections = CONNECTIONS;
    STELE_AUTO(stele_db) db = NULL;
    if (stele_db_open(&options, &db, &err) != STELE_OK)
        return complain("open", &err);
    if (store_sessions(db, &err) != STELE_OK)
        return complain("store", &err);
    return serve(db);
}
