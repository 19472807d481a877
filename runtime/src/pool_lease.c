/**
 * Leases: taking a link, checking it, giving it back.
 *
 * Floor: pool.
 */
#define _GNU_SOURCE
#include "pool_internal.h"

#include <unistd.h>

#include "link_pool.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

long stele__pool_thread_id(void)
{
    /* Asking the kernel each time would cost more than the rest of an acquire, and finding the place
     * by a call a good part of it. */
    static _Thread_local struct {
        long id;
        uint32_t epoch;
    } known __attribute__((tls_model("initial-exec")));
    if (known.id == 0 || known.epoch != stele__fork_epoch) {
        known.id = (long)gettid();
        known.epoch = stele__fork_epoch;
    }
    return known.id;
}

/* ---- leases and names ---- */

static stele__lease *lease_new_locked(stele__pool *pool)
{
    stele__lease *lease = pool->free_leases;
    if (lease != NULL) {
        pool->free_leases = lease->next;
        return lease;
    }
    lease = stele__calloc(1, sizeof *lease);
    if (lease == NULL)
        return NULL;
    lease->pool = pool;
    lease->conn.owner = lease;
    lease->conn.ops = &pool->ops;
    lease->conn.limits.timeout_ms = pool->config.call_timeout_ms;
    const stele__hooks *hooks = &pool->config.hooks;
    if (hooks->on_start != NULL || hooks->on_end != NULL || hooks->on_slow != NULL) {
        lease->conn.hooks = hooks;
        lease->conn.observed = true;
    }
    lease->gone = (stele__link){.fd = -1, .broken = true, .fork_epoch = pool->fork_epoch};
    return lease;
}

static void names_drop_locked(stele__names_box *names)
{
    if (--names->refs == 0)
        stele__free(names);
}

/* ---- check-out ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Asks the server whether it answers, or for UTC. */
static __attribute__((noinline)) bool mend(const stele__pool *pool, stele__link *link, bool ping,
                                           stele__deadline deadline)
{
    uint64_t now = (uint64_t)stele__now_ns();
    deadline = earlier(deadline, now + (uint64_t)pool->config.rules.ping_timeout_ms * STELE__MS);
    if (ping && stele__link_ping(link, deadline, NULL) != STELE_OK)
        return false;
    return stele__link_is_utc(link) || stele__link_set_utc(link, deadline, NULL) == STELE_OK;
}

/* Whether the link can be trusted. Lock not held: this may talk to the server. */
static inline bool is_fit(const stele__pool *pool, const stele__slot *slot, uint64_t now_ns,
                          stele__deadline deadline)
{
    stele__link *link = slot->link;
    uint64_t ping_after = (uint64_t)pool->config.rules.ping_after_ms * STELE__MS;
    if (!stele__link_alive(link))
        return false;
    /* A clock read before the link came back says nothing: it was idle for no time. */
    bool ping = now_ns > slot->idle_since_ns + ping_after;
    if (!ping && stele__link_is_utc(link))
        return true;
    return mend(pool, link, ping, deadline);
}

/* Makes the lease run on the slot. */
static void bind_slot(stele__lease *lease, stele__slot *slot)
{
    stele__link *link = slot->link;
    lease->slot = slot;
    slot->lease = lease;
    lease->conn.link = link;
    lease->conn.round_trips_before -= link->round_trips;
}

/* Leaves the lease without a link. */
static stele__slot *unbind_slot(stele__lease *lease)
{
    stele__slot *slot = lease->slot;
    lease->conn.round_trips_before += lease->conn.link->round_trips;
    lease->conn.link = &lease->gone;
    lease->slot = NULL;
    return slot;
}

static stele_status all_dead(const stele__pool *pool, stele_error *err)
{
    stele_status st = stele__fail(err, STELE_E_CONNECT, "each of %u connections tried was dead",
                                  pool->config.rules.max_connections + 1);
    if (err != NULL)
        err->retryable = true;
    stele__error_hint(err, "something between here and the server cuts connections off");
    return st;
}

/*
 * The link that the lease got is unfit: tries others, at most as many as there can be. Who waited
 * keeps the place in line.
 */
static stele_status try_others(stele__pool *pool, stele__lease *lease, stele__waiter *waiter,
                               stele_error *err)
{
    for (uint32_t left = pool->config.rules.max_connections;; left--) {
        stele__slot *slot;
        stele__pool_lock(pool);
        slot = unbind_slot(lease);
        waiter->now_ns = (uint64_t)stele__now_ns();
        pool->stats.check_failures++;
        stele__pool_note_loss_locked(pool, slot, waiter->now_ns);
        stele__slot_retire_locked(pool, slot, STELE_CLOSED_BROKEN);
        stele__pool_connect_locked(pool);
        if (waiter->ticket == 0)
            waiter->ticket = ++pool->ticket;
        stele_status st =
            left > 0 ? stele__pool_take_locked(pool, waiter, &slot, err) : all_dead(pool, err);
        if (st == STELE_OK)
            bind_slot(lease, slot);
        stele__pool_unlock(pool);
        if (st != STELE_OK || is_fit(pool, slot, waiter->now_ns, waiter->deadline))
            return st;
    }
}

/* ---- the hook ---- */

/* What the hook changes in the session must not reach the next lease. */
static stele_status run_hook(stele__lease *lease, stele__deadline deadline, stele_error *err)
{
    const stele__pool_config *config = &lease->pool->config;
    stele_conn *conn = &lease->conn;
    stele__deadline kept = conn->limits.deadline;
    const stele__link *link = conn->link;
    uint64_t trips = link->round_trips;
    conn->limits.deadline = earlier(kept, deadline);
    stele_status st = config->on_lease(conn, config->hook_user, err);
    conn->limits.deadline = kept;
    if (conn->link != link || conn->link->round_trips != trips)
        conn->link->dirty_session = true;
    return st;
}

/* ---- acquire ---- */

/* Fills what differs from lease to lease, field by field: clearing all would cost more. */
static inline void lease_start(stele__pool *pool, stele__lease *lease, stele__slot *slot,
                               stele__names_box *names, uint64_t now_ns, const stele__place *place)
{
    stele_conn *conn = &lease->conn;
    pool->stats.acquired++;
    pool->out++;
    names->refs++;
    lease->names = names;
    lease->acquired_ns = now_ns;
    lease->file = place->file;
    lease->line = place->line;
    lease->thread_id = stele__pool_thread_id();
    lease->reported = false;
    conn->names = &names->names;
    conn->limits.deadline = STELE__NEVER;
    conn->tx.state = STELE__TX_NONE;
    conn->tx.commit_sent = false;
    conn->tx.lost = false;
    conn->tx.stale = false;
    conn->tx.pending_count = 0;
    conn->tx.first_error = STELE_OK;
    conn->tx.first_sqlstate[0] = '\0';
    __atomic_store_n(&conn->last_statement, NULL, __ATOMIC_RELAXED);
    conn->round_trips_before = 0;
    bind_slot(lease, slot);
}

/* What a lease must pass before it is the caller's. */
static __attribute__((noinline)) stele_status try_lease(stele__lease *lease, stele__waiter *waiter,
                                                        bool fit, stele_conn **ret_conn,
                                                        stele_error *err)
{
    stele__pool *pool = lease->pool;
    stele_status st = fit ? STELE_OK : try_others(pool, lease, waiter, err);
    if (st == STELE_OK && pool->config.on_lease != NULL)
        st = run_hook(lease, waiter->deadline, err);
    if (st != STELE_OK) {
        stele_conn_release(&lease->conn);
        return st;
    }
    *ret_conn = &lease->conn;
    return STELE_OK;
}

#define WAITER(names, now, until)                                                                  \
    {                                                                                              \
        .names_id = (names)->names.id, .since_ns = (now), .now_ns = (now), .deadline = (until)     \
    }

/* Takes a link in any way there is. Returns with the mutex released. */
static __attribute__((noinline)) stele_status
acquire_locked(stele__pool *pool, stele__names_box *names, uint64_t start, stele__deadline deadline,
               const stele__place *place, stele_conn **ret_conn, stele_error *err)
{
    stele__slot *slot = NULL;
    stele__lease *lease = NULL;
    stele__waiter waiter = WAITER(names, start, deadline);
    stele_status st = stele__pool_take_locked(pool, &waiter, &slot, err);
    if (st == STELE_OK) {
        lease = lease_new_locked(pool);
        if (lease == NULL) {
            stele__slot_offer_locked(pool, slot, start);
            st = stele__fail(err, STELE_E_NOMEM, "out of memory while taking a connection");
        }
    }
    if (st == STELE_OK) {
        pool->acquired_late += waiter.ticket != 0;
        lease_start(pool, lease, slot, names, waiter.now_ns, place);
    }
    stele__pool_unlock(pool);
    if (st != STELE_OK)
        return st;
    bool fit = is_fit(pool, slot, waiter.now_ns, deadline);
    return try_lease(lease, &waiter, fit, ret_conn, err);
}

/* The frequent case: the newest idle link, if it knows the names and nobody waits; or NULL. */
static inline stele__slot *take_newest_locked(stele__pool *pool, uint64_t names_id, uint64_t now_ns)
{
    stele__slot *slot = pool->idle;
    if (slot == NULL || pool->first != NULL || pool->closing || slot->link->names_id != names_id ||
        now_ns >= slot->expires_ns ||
        now_ns > slot->idle_since_ns + (uint64_t)pool->config.rules.max_idle_ms * STELE__MS)
        return NULL;
    stele__slot_unlink_idle_locked(pool, slot);
    slot->state = STELE__SLOT_LEASED;
    pool->in_use++;
    return slot;
}

stele_status stele__pool_acquire(stele__pool *pool, stele__names_box *names, uint32_t timeout_ms,
                                 const stele__place *place, stele_conn **ret_conn, stele_error *err)
{
    if (stele__pool_is_foreign(pool))
        return stele__pool_check_fork(pool, err);
    if (timeout_ms == 0)
        timeout_ms = pool->config.rules.acquire_timeout_ms;
    uint64_t now = (uint64_t)stele__now_ns();
    uint64_t deadline = now + (uint64_t)timeout_ms * STELE__MS;

    stele__pool_lock(pool);
    stele__lease *lease = pool->free_leases;
    stele__slot *slot = lease != NULL ? take_newest_locked(pool, names->names.id, now) : NULL;
    if (slot == NULL)
        return acquire_locked(pool, names, now, deadline, place, ret_conn, err);
    pool->free_leases = lease->next;
    lease_start(pool, lease, slot, names, now, place);
    stele__pool_unlock(pool);

    bool fit = is_fit(pool, slot, now, deadline);
    if (!fit || pool->config.on_lease != NULL)
        return try_lease(lease, &(stele__waiter)WAITER(names, now, deadline), fit, ret_conn, err);
    *ret_conn = &lease->conn;
    return STELE_OK;
}

/* ---- release ---- */

/* Gives a lease's slot back, or retires it, as `reason` says: STELE_CLOSE_REASONS keeps it. */
static void return_slot_locked(stele__pool *pool, stele__slot *slot, stele_close_reason reason,
                               uint64_t now_ns)
{
    if (reason == STELE_CLOSE_REASONS) {
        if (pool->closing)
            reason = STELE_CLOSED_SHUTDOWN;
        else if (slot->generation != pool->generation)
            reason = STELE_CLOSED_GENERATION;
        else if (now_ns >= slot->expires_ns)
            reason = STELE_CLOSED_LIFETIME;
        else if (slot->hold != NULL)
            reason = STELE_CLOSED_BROKEN; /* a cancel request under way would hit the next lease */
    }
    if (reason == STELE_CLOSE_REASONS)
        stele__slot_offer_locked(pool, slot, now_ns);
    else
        stele__slot_retire_locked(pool, slot, reason);
}

/* What became of a link during its lease. */
typedef struct verdict {
    stele_close_reason reason; /* STELE_CLOSE_REASONS: fit for another lease */
    bool dirty;
    bool lost;
    bool demoted;
} verdict;

/* As most links come back: nothing to find out, nothing to clean. */
static bool is_clean(const stele__link *link)
{
    return !link->broken && !link->refused_write && !link->dirty_session &&
           stele__link_is_idle(link);
}

/* Looks at a link that comes back, and cleans it. Lock not held: this may talk to the server. */
static verdict inspect(const stele__pool *pool, stele__link *link)
{
    verdict v = {.reason = STELE_CLOSE_REASONS};
    if (link->refused_write) {
        link->refused_write = false;
        v.demoted = !link->broken && pool->config.read_write && stele__link_is_demoted(link);
    }
    if (link->broken || v.demoted) {
        v.reason = STELE_CLOSED_BROKEN;
        v.lost = link->broken && !stele__link_has_work(link);
        return v;
    }
    switch (stele__link_tx_status(link)) {
    case STELE__TX_IDLE:
        break;
    case STELE__TX_IN:
    case STELE__TX_ERROR:
        v.dirty = true;
        if (stele__link_rollback(link, stele__deadline_in(STELE__ROLLBACK_MS), NULL) != STELE_OK)
            v.reason = STELE_CLOSED_DIRTY;
        break;
    case STELE__TX_ACTIVE:
        v.dirty = true;
        v.reason = STELE_CLOSED_DIRTY;
        break;
    case STELE__TX_LOST:
        v.reason = STELE_CLOSED_BROKEN;
        v.lost = true;
        break;
    }
    if (v.reason == STELE_CLOSE_REASONS && link->dirty_session &&
        stele__link_reset_session(link, stele__deadline_in(STELE__RESET_MS), NULL) != STELE_OK)
        v.reason = STELE_CLOSED_DIRTY;
    return v;
}

static void note_verdict_locked(stele__pool *pool, const stele__lease *lease, verdict v,
                                uint64_t now_ns)
{
    if (v.dirty)
        pool->stats.dirty++;
    if (v.lost)
        stele__pool_note_loss_locked(pool, lease->slot, now_ns);
    if (v.demoted && lease->slot->generation == pool->generation)
        stele__pool_bump_locked(pool);
    if (pool->failures > 0 && v.reason == STELE_CLOSE_REASONS &&
        lease->conn.link->round_trips + lease->conn.round_trips_before > 0) {
        pool->seen_alive = true;
        pool->is_down = false;
    }
}

static void release_in_child(stele__lease *lease)
{
    /* Memory and lock may be in any state here; the parent's session is not ours to end. */
    if (lease->slot != NULL)
        stele__slot_close_in_child(lease->slot);
}

/* What the lease has had is given back; the mutex is released. */
static inline void lease_end_unlock(stele__pool *pool, stele__lease *lease, uint64_t now_ns)
{
    pool->stats.use_ns += now_ns - lease->acquired_ns;
    names_drop_locked(lease->names);
    lease->slot = NULL;
    lease->next = pool->free_leases;
    pool->free_leases = lease;
    pool->out--;
    if (!pool->closing) {
        stele__pool_unlock(pool);
        return;
    }
    (void)pthread_cond_broadcast(&pool->calm);
    pool->refs++;
    stele__pool_unref_unlock(pool);
}

/* A link that is not clean, or none. */
static __attribute__((noinline)) void release_unclean(stele__pool *pool, stele__lease *lease)
{
    verdict v = {.reason = STELE_CLOSE_REASONS};
    if (lease->slot != NULL)
        v = inspect(pool, lease->conn.link);
    uint64_t now = (uint64_t)stele__now_ns();
    stele__pool_lock(pool);
    if (lease->slot != NULL) {
        note_verdict_locked(pool, lease, v, now);
        return_slot_locked(pool, lease->slot, v.reason, now);
    }
    lease_end_unlock(pool, lease, now);
}

static void pool_release(stele_conn *conn)
{
    stele__lease *lease = conn->owner;
    stele__pool *pool = lease->pool;
    if (stele__pool_is_foreign(pool)) {
        release_in_child(lease);
        return;
    }
    if (lease->slot == NULL || !is_clean(conn->link)) {
        release_unclean(pool, lease);
        return;
    }
    uint64_t now = (uint64_t)stele__now_ns();
    stele__pool_lock(pool);
    if (pool->failures > 0)
        note_verdict_locked(pool, lease, (verdict){.reason = STELE_CLOSE_REASONS}, now);
    return_slot_locked(pool, lease->slot, STELE_CLOSE_REASONS, now);
    lease_end_unlock(pool, lease, now);
}

/* ---- another link for the same lease ---- */

/* Parts with the link the lease has; the lease is left with none. */
static void give_up_link(stele__pool *pool, stele__lease *lease)
{
    const stele_conn *conn = &lease->conn;
    verdict v = {.reason = STELE_CLOSED_BROKEN};
    if (lease->slot == NULL)
        return;
    v.demoted = conn->link->refused_write && !conn->link->broken && pool->config.read_write &&
                stele__link_is_demoted(conn->link);
    v.lost = conn->link->broken && !stele__link_has_work(conn->link);
    uint64_t now = (uint64_t)stele__now_ns();
    stele__pool_lock(pool);
    note_verdict_locked(pool, lease, v, now);
    stele__slot_retire_locked(pool, unbind_slot(lease), STELE_CLOSED_BROKEN);
    stele__pool_unlock(pool);
}

static stele_status pool_relink(stele_conn *conn, stele__deadline deadline, stele_error *err)
{
    stele__lease *lease = conn->owner;
    stele__pool *pool = lease->pool;
    stele_status st = stele__pool_check_fork(pool, err);
    if (st != STELE_OK)
        return st;
    conn->link->given_up = NULL;
    give_up_link(pool, lease);
    stele__slot *slot = NULL;
    stele__waiter waiter = {.is_relink = true, .names_id = conn->names->id};
    waiter.since_ns = waiter.now_ns = (uint64_t)stele__now_ns();
    waiter.deadline = earlier(deadline, waiter.now_ns + (uint64_t)STELE__MS *
                                                            pool->config.rules.acquire_timeout_ms);
    stele__pool_lock(pool);
    st = stele__pool_take_locked(pool, &waiter, &slot, err);
    if (st == STELE_OK)
        bind_slot(lease, slot);
    stele__pool_unlock(pool);
    if (st == STELE_OK && !is_fit(pool, slot, waiter.now_ns, waiter.deadline))
        st = try_others(pool, lease, &waiter, err);
    conn->link->given_up = conn->given_up;
    if (st == STELE_OK && pool->config.on_lease != NULL) {
        st = run_hook(lease, waiter.deadline, err);
        if (st != STELE_OK)
            give_up_link(pool, lease); /* never run without what the hook sets up */
    }
    return st;
}

/* ---- names ---- */

stele_status stele__pool_use(stele__pool *pool, stele_conn *conn, stele__names_box *names,
                             stele_error *err)
{
    stele__lease *lease = conn->owner;
    stele_status st = stele__pool_check_fork(pool, err);
    if (st != STELE_OK)
        return st;
    if (lease->pool != pool) {
        st = stele__fail(err, STELE_E_MISUSE, "the handle does not share the pool of this lease");
        stele__error_hint(err, "use a handle that stele_db_derive made of the same origin");
        return st;
    }
    stele__pool_lock(pool);
    names->refs++;
    names_drop_locked(lease->names);
    lease->names = names;
    stele__pool_unlock(pool);
    conn->names = &names->names;
    conn->link->names_id = names->names.id;
    return STELE_OK;
}

void stele__pool_set_ops(stele__pool *pool)
{
    pool->ops = (stele__conn_ops){
        .relink = pool_relink,
        .cancel = stele__pool_cancel,
        .release = pool_release,
        .use = pool->config.use,
    };
}
