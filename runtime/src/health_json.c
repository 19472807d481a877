/**
 * Health as JSON.
 *
 * Floor: metrics.
 */
#include "stele/health.h"

#include "mem_internal.h"
#include "status_internal.h"
#include "stele/json.h"

#include "banned.h"

const char *stele_health_state_name(stele_health_state state)
{
    switch (state) {
    case STELE_HEALTH_OK:
        return "ok";
    case STELE_HEALTH_DEGRADED:
        return "degraded";
    case STELE_HEALTH_DOWN:
        return "down";
    }
    return "?";
}

static json_t *whole(uint64_t n)
{
    return json_integer(n < INT64_MAX ? (json_int_t)n : INT64_MAX);
}

/* Adds, and takes `value` over; false when memory is out. */
static bool put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

/* The object if all was put into it, otherwise NULL, which the next put() does not take. */
static json_t *if_fine(json_t *object, bool fine)
{
    if (fine)
        return object;
    json_decref(object);
    return NULL;
}

/* A text of the server's, which might not be UTF-8. */
static json_t *text_of(const char *text)
{
    json_t *value = json_string(text);
    return value != NULL ? value : json_string("?");
}

/* ---- sections ---- */

static json_t *problems_of(const stele_health *health)
{
    json_t *list = json_array();
    bool fine = true;
    for (uint32_t i = 0; i < health->problem_count && i < STELE_HEALTH_PROBLEMS; i++)
        fine = json_array_append_new(list, text_of(health->problems[i])) == 0 && fine;
    return if_fine(list, fine);
}

static json_t *server_of(const stele_health *health)
{
    static const char *const roles[] = {"unknown", "primary", "standby"};
    json_t *server = json_object();
    bool fine =
        put(server, "reachable", json_boolean(health->status == STELE_OK)) &&
        put(server, "status", json_string(stele_status_name(health->status))) &&
        put(server, "answer_us", whole(health->answer_ns / 1000)) &&
        put(server, "version", text_of(health->server_version)) &&
        put(server, "role", json_string(roles[health->role])) &&
        put(server, "lag_ms", health->lag_ms >= 0 ? json_integer(health->lag_ms) : json_null()) &&
        put(server, "standbys", whole(health->standbys));
    return if_fine(server, fine);
}

static json_t *pool_of(const stele_health *health)
{
    const stele_pool_stats *pool = &health->pool;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:s}", "max", (json_int_t)pool->max,
                     "in_use", (json_int_t)pool->in_use, "idle", (json_int_t)pool->idle,
                     "connecting", (json_int_t)pool->connecting, "waiting",
                     (json_int_t)pool->waiting, "used_up", health->pool_used_up, "connect_errors",
                     (json_int_t)pool->connect_errors, "last_connect_sqlstate",
                     pool->last_connect_sqlstate);
}

static json_t *modules_of(const stele_health *health)
{
    json_t *list = json_array();
    bool fine = true;
    for (uint32_t i = 0; i < health->module_count; i++) {
        const stele_health_module *one = &health->modules[i];
        json_t *module =
            json_pack("{s:s, s:s, s:I, s:I}", "name", one->name, "version", one->version, "tables",
                      (json_int_t)one->tables, "missing", (json_int_t)one->missing);
        fine = json_array_append_new(list, module) == 0 && fine;
    }
    return if_fine(list, fine);
}

static json_t *sweeper_of(const stele_health *health)
{
    const stele_sweep_stats *s = &health->sweeper;
    return json_pack("{s:b, s:I, s:I, s:I}", "running", s->running, "runs", (json_int_t)s->runs,
                     "backlog_ms", (json_int_t)s->oldest_ms, "failures", (json_int_t)s->failures);
}

static json_t *jobs_of(const stele_health *health)
{
    const stele_jobs_depth *d = &health->depth;
    json_t *jobs = json_pack("{s:I, s:I}", "workers", (json_int_t)health->jobs.workers,
                             "running_here", (json_int_t)health->jobs.running);
    if (jobs == NULL || !health->jobs_counted)
        return jobs;
    json_t *depth = json_pack("{s:I, s:I, s:I, s:I, s:I}", "due", (json_int_t)d->due, "later",
                              (json_int_t)d->later, "running", (json_int_t)d->running, "dead",
                              (json_int_t)d->dead, "oldest_due_ms", (json_int_t)d->oldest_due_ms);
    return if_fine(jobs, put(jobs, "depth", depth));
}

static json_t *persist_of(const stele_health *health)
{
    const stele_commit_stats *p = &health->persist;
    return json_pack("{s:I, s:I, s:I, s:I}", "waiting", (json_int_t)p->lanes.waiting, "stored",
                     (json_int_t)p->stored, "failed", (json_int_t)p->failed, "unknown",
                     (json_int_t)p->unknown);
}

static json_t *listener_of(const stele_health *health)
{
    const stele_listen_stats *l = &health->listener;
    return json_pack("{s:b, s:I, s:I}", "connected", l->connected, "channels",
                     (json_int_t)l->channels, "losses", (json_int_t)l->losses);
}

static json_t *doorbell_of(const stele_health *health)
{
    return json_pack("{s:b, s:I}", "connected", health->doorbell.connected, "failures",
                     (json_int_t)health->doorbell.failures);
}

/* ---- the object ---- */

static bool fill(json_t *object, const stele_health *h)
{
    return put(object, "status", json_string(stele_health_state_name(h->state))) &&
           put(object, "problems", problems_of(h)) && put(object, "server", server_of(h)) &&
           put(object, "pool", pool_of(h)) && put(object, "modules", modules_of(h)) &&
           (!h->has_sweeper || put(object, "sweeper", sweeper_of(h))) &&
           (!h->has_jobs || put(object, "jobs", jobs_of(h))) &&
           (!h->has_persist || put(object, "persist", persist_of(h))) &&
           (!h->has_listener || put(object, "listener", listener_of(h))) &&
           (!h->has_doorbell || put(object, "doorbell", doorbell_of(h)));
}

stele_status stele_health_json(const stele_health *health, char **ret_text, stele_error *err)
{
    if (health == NULL || ret_text == NULL)
        return stele__fail(err, STELE_E_INPUT, "health or ret_text is NULL");
    json_t *object = json_object();
    size_t size =
        object != NULL && fill(object, health) ? json_dumpb(object, NULL, 0, JSON_COMPACT) : 0;
    char *text = size > 0 ? stele__alloc(size + 1) : NULL;
    if (text != NULL) {
        (void)json_dumpb(object, text, size, JSON_COMPACT);
        text[size] = '\0';
        *ret_text = text;
    }
    json_decref(object);
    return text != NULL ? STELE_OK
                        : stele__fail(err, STELE_E_NOMEM, "out of memory while writing health");
}
