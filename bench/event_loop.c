/* Two hundred finds at once on one thread: twenty connections with ten each, and poll(2). */
#include <poll.h>
#include <stdlib.h>

#include "floor.h"
#include "workload.h"

typedef struct carrier {
    stele_conn *conn;
    stele_pipeline *batch;
    session_states_row *rows[PIPELINE_DEPTH];
    bool under_way;
} carrier;

typedef struct event_loop {
    stele_db *db;
    carrier carriers[EVENT_LOOP_CONNECTIONS];
    workload_key *keys;
    size_t next;
} event_loop;

static void *open_stele(const bench_run *run, int thread)
{
    stele_error err;
    event_loop *s = bench_alloc(sizeof *s);
    s->db = bench_open_db(run, EVENT_LOOP_CONNECTIONS);
    for (int i = 0; i < EVENT_LOOP_CONNECTIONS; i++) {
        carrier *c = &s->carriers[i];
        c->conn = bench_acquire(s->db);
        bench_check(stele_pipeline_open(c->conn, NULL, &c->batch, &err), "pipeline", &err);
    }
    s->keys = workload_keys();
    s->next = (size_t)thread * 61 % WORKLOAD_SESSIONS;
    return s;
}

static void start(event_loop *s, carrier *c)
{
    stele_error err;
    for (int k = 0; k < PIPELINE_DEPTH; k++) {
        const workload_key *at = &s->keys[s->next];
        s->next = s->next + 1 < WORKLOAD_SESSIONS ? s->next + 1 : 0;
        const session_states_unique_active_key key = {
            .app_name = {WORKLOAD_APP, sizeof WORKLOAD_APP - 1},
            .user_id = {at->user, at->user_len},
            .session_id = {at->session, at->session_len},
        };
        bench_check(session_states_find_by_unique_active_queue(c->batch, &key, &c->rows[k], &err),
                    "queue", &err);
    }
    bench_check(stele_pipeline_start(c->batch, &err), "start", &err);
    c->under_way = true;
}

static uint64_t take(carrier *c)
{
    uint64_t sum = 0;
    for (int k = 0; k < PIPELINE_DEPTH; k++) {
        const session_states_row *row = c->rows[k];
        sum += (uint64_t)row->id + row->app_name.len + row->user_id.len + row->session_id.len +
               row->state.len + (uint64_t)row->created_at + (uint64_t)row->updated_at +
               row->expires_at.has + row->deleted_at.has;
        session_states_row_free(c->rows[k]);
    }
    return sum;
}

/* Waits for the sockets of what is under way. */
static void wait_for_any(const event_loop *s, struct pollfd *fds)
{
    for (int i = 0; i < EVENT_LOOP_CONNECTIONS; i++) {
        const carrier *c = &s->carriers[i];
        int wants = c->under_way ? stele_conn_wants(c->conn) : 0;
        fds[i].fd = wants != 0 ? stele_conn_fd(c->conn) : -1;
        fds[i].events = (short)((wants & STELE_WANTS_READ ? POLLIN : 0) |
                                (wants & STELE_WANTS_WRITE ? POLLOUT : 0));
    }
    if (poll(fds, EVENT_LOOP_CONNECTIONS, -1) < 0)
        bench_die("poll", "failed");
}

static void work_stele(void *state, long count)
{
    event_loop *s = state;
    stele_error err;
    uint64_t sum = 0;
    for (long i = 0; i < count; i++) {
        struct pollfd fds[EVENT_LOOP_CONNECTIONS];
        int open = EVENT_LOOP_CONNECTIONS;
        for (int k = 0; k < EVENT_LOOP_CONNECTIONS; k++)
            start(s, &s->carriers[k]);
        while (open > 0) {
            wait_for_any(s, fds);
            for (int k = 0; k < EVENT_LOOP_CONNECTIONS; k++) {
                carrier *c = &s->carriers[k];
                if (!c->under_way || fds[k].revents == 0)
                    continue;
                stele_status st = stele_conn_step(c->conn, &err);
                if (st == STELE_AGAIN)
                    continue;
                bench_check(st, "step", &err);
                c->under_way = false;
                open--;
                sum += take(c);
            }
        }
    }
    workload_sink = sum;
}

/* The same finds, one after the other on one connection. */
static void work_sequential(void *state, long count)
{
    event_loop *s = state;
    stele_error err;
    uint64_t sum = 0;
    for (long i = 0; i < count * EVENT_LOOP_CONNECTIONS * PIPELINE_DEPTH; i++) {
        const workload_key *at = &s->keys[s->next];
        s->next = s->next + 1 < WORKLOAD_SESSIONS ? s->next + 1 : 0;
        const session_states_unique_active_key key = {
            .app_name = {WORKLOAD_APP, sizeof WORKLOAD_APP - 1},
            .user_id = {at->user, at->user_len},
            .session_id = {at->session, at->session_len},
        };
        session_states_row *row = NULL;
        bench_check(session_states_find_by_unique_active(s->carriers[0].conn, &key, &row, &err),
                    "find", &err);
        sum += row->state.len;
        session_states_row_free(row);
    }
    workload_sink = sum;
}

static void close_stele(void *state)
{
    event_loop *s = state;
    for (int i = 0; i < EVENT_LOOP_CONNECTIONS; i++) {
        stele_pipeline_close(s->carriers[i].batch);
        stele_conn_release(s->carriers[i].conn);
    }
    stele_db_close(s->db);
    free(s->keys);
    free(s);
}

int main(int argc, char **argv)
{
    const bench_case cases[] = {
        {.name = "stele", .open = open_stele, .work = work_stele, .close = close_stele},
        {.name = "sequential", .open = open_stele, .work = work_sequential, .close = close_stele},
        floor_event_loop,
    };
    return bench_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
