/**
 * Telling hooks what runs, and the server which trace it belongs to.
 *
 * Floor: stmt.
 */
#include "observe.h"

#include <string.h>

#include "mem_internal.h"
#include "run.h"
#include "status_internal.h"

#include "banned.h"

static uint64_t now_ns(void)
{
    return (uint64_t)stele__now_ns();
}

static stele_query_event event_of(const stele_conn *conn, const stele_gen_stmt *stmt)
{
    return (stele_query_event){.statement = stmt->name,
                               .table = stmt->table,
                               .traceparent = conn->trace[0] != '\0' ? conn->trace : NULL};
}

/* ---- parameters, for those who asked ---- */

#define PARAMS_INLINE 32

typedef struct shown {
    stele__bound bound;
    stele_query_param space[PARAMS_INLINE];
    size_t count;
} shown;

/* Encodes them a second time: only who wants to see them pays. */
static bool show(stele_conn *conn, const stele__call *call, shown *s)
{
    stele_error ignored;
    stele__entry *entry;
    bool fresh = false;
    s->count = 0;
    if (!conn->hooks->show_parameters || stele__conn_usable(conn, &ignored) != STELE_OK ||
        stele__entry_find(conn, call, &entry, &fresh, &ignored) != STELE_OK)
        return false;
    bool fine = stele__bind(call->stmt, call->args, entry->states, entry->slots, entry->param_count,
                            &s->bound, &ignored) == STELE_OK;
    for (int i = 0; fine && i < s->bound.count && i < PARAMS_INLINE; i++) {
        const char *data = s->bound.values[i];
        bool binary = s->bound.formats[i] != 0;
        size_t len = data == NULL ? 0 : binary ? (size_t)s->bound.lengths[i] : strlen(data);
        s->space[s->count++] = (stele_query_param){
            .column = call->stmt->params[entry->order[i]].column,
            .data = data,
            .len = (int)len,
            .binary = binary,
        };
    }
    return true;
}

/* ---- hooks ---- */

static void tell_end(const stele__hooks *hooks, const stele_query_event *event)
{
    if (hooks->on_end != NULL)
        hooks->on_end(event, hooks->user);
    if (hooks->on_slow != NULL && event->duration_ns >= hooks->slow_ns)
        hooks->on_slow(event, hooks->user);
}

uint64_t stele__observe_start(const stele_conn *conn, const stele_gen_stmt *stmt)
{
    if (conn->hooks == NULL)
        return 0;
    stele_query_event event = event_of(conn, stmt);
    event.started_ns = now_ns();
    if (conn->hooks->on_start != NULL)
        conn->hooks->on_start(&event, conn->hooks->user);
    return event.started_ns;
}

void stele__observe_end(const stele_conn *conn, const stele_gen_stmt *stmt,
                        const stele__observed_in *where, uint64_t rows, stele_status status,
                        const stele_error *err)
{
    if (conn->hooks == NULL)
        return;
    stele_query_event event = event_of(conn, stmt);
    event.started_ns = where->started_ns;
    event.duration_ns = (where->ended_ns > 0 ? where->ended_ns : now_ns()) - where->started_ns;
    event.rows = rows;
    event.round_trips = where->round_trips;
    event.batch = where->batch;
    event.status = status;
    if (status < 0 && err != NULL)
        memcpy(event.sqlstate, err->sqlstate, sizeof event.sqlstate);
    tell_end(conn->hooks, &event);
}

/* ---- traces ---- */

char *stele__traced_sql(const stele_conn *conn, const stele__entry *entry)
{
    static const char open[] = " /*traceparent='";
    char *rendered = NULL;
    stele__buf text;
    const char *sql = entry->sql;
    if (sql == NULL) {
        rendered = stele__entry_text(conn, entry);
        sql = rendered;
    }
    if (sql == NULL)
        return NULL;
    stele__buf_init(&text);
    stele__buf_add(&text, sql, strlen(sql));
    stele__buf_add(&text, open, sizeof open - 1);
    stele__buf_add(&text, conn->trace, strlen(conn->trace));
    stele__buf_add(&text, "'*/", 3);
    stele__free(rendered);
    char *whole = stele__buf_take(&text);
    stele__buf_release(&text);
    return whole;
}

stele_status stele__send_traced(stele_conn *conn, const stele_gen_stmt *stmt,
                                const stele__entry *entry, const stele__bound *bound,
                                struct pg_result **ret_result, stele_error *err)
{
    stele__step steps[STELE__PENDING_MAX + 2];
    int count = 0;
    bool reads = (stmt->properties & STELE_STMT_READ) != 0;
    char *sql = stele__traced_sql(conn, entry);
    if (sql == NULL)
        return stele__fail(err, STELE_E_NOMEM, "%s: out of memory", stmt->name);
    for (; count < conn->tx.pending_count; count++)
        steps[count] = (stele__step){.kind = STELE__STEP_SIMPLE, .sql = conn->tx.pending[count]};
    if (stele__entry_plans_anew(conn, entry))
        steps[count++] = (stele__step){.kind = STELE__STEP_SIMPLE, .sql = STELE__PLAN_ANEW};
    steps[count++] = (stele__step){.kind = STELE__STEP_QUERY,
                                   .sql = sql,
                                   .param_count = bound->count,
                                   .types = entry->types,
                                   .values = bound->values,
                                   .lengths = bound->lengths,
                                   .formats = bound->formats,
                                   .result_format = 1};
    stele_status st = stele__exchange(conn, steps, count, reads ? STELE__READS : STELE__WRITES,
                                      ret_result, NULL, err);
    stele__free(sql);
    return st;
}

static bool is_hex(const char *text, size_t count)
{
    return strspn(text, "0123456789abcdef") >= count;
}

stele_status stele_conn_set_traceparent(stele_conn *conn, const char *traceparent, stele_error *err)
{
    if (traceparent == NULL) {
        conn->trace[0] = '\0';
        conn->sampled = false;
        conn->observed = conn->hooks != NULL;
        return STELE_OK;
    }
    const char *t = traceparent;
    if (strlen(t) != sizeof conn->trace - 1 || !is_hex(t, 2) || t[2] != '-' || !is_hex(t + 3, 32) ||
        t[35] != '-' || !is_hex(t + 36, 16) || t[52] != '-' || !is_hex(t + 53, 2))
        return stele__fail(err, STELE_E_INPUT, "not a traceparent: 00-<32 digits>-<16>-<2>");
    memcpy(conn->trace, t, sizeof conn->trace);
    conn->sampled = strchr("13579bdf", t[54]) != NULL;
    conn->observed = true;
    return STELE_OK;
}

/* ---- running ---- */

stele_status stele__run_observed(stele_conn *conn, const stele__call *call,
                                 struct pg_result **ret_result, stele_error *err)
{
    shown s;
    bool shows = conn->hooks != NULL && show(conn, call, &s);
    stele_query_event event = event_of(conn, call->stmt);
    uint64_t before = stele_conn_round_trips(conn);
    if (shows) {
        event.params = s.space;
        event.param_count = s.count;
    }
    event.started_ns = now_ns();
    if (conn->hooks != NULL && conn->hooks->on_start != NULL)
        conn->hooks->on_start(&event, conn->hooks->user);
    stele_status st = stele__run_call(conn, call, ret_result, err);
    if (conn->hooks != NULL) {
        event.duration_ns = now_ns() - event.started_ns;
        event.status = st;
        event.rows = st == STELE_OK ? stele__result_affected(*ret_result) : 0;
        event.round_trips = (uint32_t)(stele_conn_round_trips(conn) - before);
        if (st != STELE_OK)
            memcpy(event.sqlstate, err->sqlstate, sizeof event.sqlstate);
        tell_end(conn->hooks, &event);
    }
    if (shows)
        stele__bind_release(&s.bound);
    return st;
}
