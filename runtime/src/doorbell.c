/**
 * The doorbell: many rings, few notifications, and no writer that waits for one.
 *
 * Floor: listen.
 */
#define _GNU_SOURCE
#include <string.h>

#include "listen_internal.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define PER_SECOND 20
#define MOST_PER_SECOND 1000
#define ANSWER_MS 5000 /* a NOTIFY that takes longer: the connection is given up */
#define RECONNECT_MAX_MS 5000
#define CACHE_LINE 64

struct stele_doorbell {
    stele__line line;
    uint64_t gap_ns; /* at least, between the end of one NOTIFY and the next */
    char sql[2 * STELE_NAME_SIZE + 16];
    uint64_t next_ns; /* the thread's: when the next NOTIFY may be sent */
    stele_bell_stats stats;
    /* Written by all who ring: on a cache line of its own. */
    char apart[CACHE_LINE];
    uint64_t rings;
    bool rung;
};

/* ---- ringing ---- */

void stele_doorbell_ring(stele_doorbell *bell)
{
    if (bell == NULL || bell->line.fork_epoch != stele__fork_epoch)
        return;
    __atomic_fetch_add(&bell->rings, 1, __ATOMIC_RELAXED);
    /* Whoever finds it silent wakes the thread; the others leave it at that. The order of this and
     * the caller's COMMIT is kept: the thread's NOTIFY comes after both. */
    if (!__atomic_exchange_n(&bell->rung, true, __ATOMIC_SEQ_CST))
        stele__line_wake(&bell->line);
}

static bool is_rung(const stele_doorbell *bell)
{
    return __atomic_load_n(&bell->rung, __ATOMIC_SEQ_CST);
}

/* ---- the thread ---- */

static stele_status connect_bell(stele_doorbell *bell, stele_error *err)
{
    char recovering = '\0';
    stele_status st = stele__line_connect(&bell->line, err);
    if (st == STELE_OK)
        st = stele__line_run(&bell->line, "SELECT pg_catalog.pg_is_in_recovery()", ANSWER_MS,
                             &recovering, err);
    if (st == STELE_OK && recovering == 't') {
        st = stele__fail(err, STELE_E_UNSUPPORTED, "a standby takes no NOTIFY");
        stele__error_hint(err, "open the handle on the primary");
    }
    if (st != STELE_OK)
        stele__line_hang_up(&bell->line);
    stele__line_lock(&bell->line);
    bell->stats.connected = st == STELE_OK;
    bell->stats.connects += st == STELE_OK ? 1 : 0;
    stele__line_unlock(&bell->line);
    return st;
}

static void failed(stele_doorbell *bell)
{
    stele__line_hang_up(&bell->line);
    stele__line_back_off(&bell->line, RECONNECT_MAX_MS);
    stele__line_lock(&bell->line);
    bell->stats.connected = false;
    bell->stats.failures++;
    stele__line_unlock(&bell->line);
}

static void notify(stele_doorbell *bell)
{
    stele_error ignored;
    /* Rings that come from here on are not covered by this NOTIFY for sure, and make another. */
    __atomic_store_n(&bell->rung, false, __ATOMIC_SEQ_CST);
    stele_status st = stele__line_run(&bell->line, bell->sql, ANSWER_MS, NULL, &ignored);
    bell->next_ns = (uint64_t)stele__now_ns() + bell->gap_ns;
    if (st != STELE_OK) {
        __atomic_store_n(&bell->rung, true, __ATOMIC_SEQ_CST);
        failed(bell);
        return;
    }
    bell->line.failures = 0;
    stele__line_lock(&bell->line);
    bell->stats.notifies++;
    stele__line_unlock(&bell->line);
}

/* One step: something that is due, or a wait for it. */
static void step(stele_doorbell *bell)
{
    stele_error ignored;
    uint64_t now = (uint64_t)stele__now_ns();
    if (bell->line.link == NULL) {
        if (now < bell->line.due_ns)
            (void)stele__line_wait(&bell->line, bell->line.due_ns);
        else if (connect_bell(bell, &ignored) != STELE_OK)
            failed(bell);
        return;
    }
    bool rung = is_rung(bell);
    if (rung && now >= bell->next_ns) {
        notify(bell);
        return;
    }
    int ready = stele__line_wait(&bell->line, rung ? bell->next_ns : STELE__NEVER);
    if ((ready & STELE__CAN_READ_LINK) != 0 && !stele__link_alive(bell->line.link))
        failed(bell);
}

static bool goes_on(stele_doorbell *bell)
{
    stele__line_lock(&bell->line);
    bool closing = bell->line.closing;
    bool cut = bell->line.cut;
    stele__line_unlock(&bell->line);
    return !cut && (!closing || is_rung(bell));
}

static void free_bell(stele_doorbell *bell)
{
    stele__line_release(&bell->line);
    stele__free(bell);
}

static void *thread_main(void *arg)
{
    stele_doorbell *bell = arg;
    (void)pthread_setname_np(pthread_self(), "stele-doorbell");
    while (goes_on(bell))
        step(bell);
    if (stele__line_end(&bell->line))
        free_bell(bell);
    return NULL;
}

/* ---- opening, numbers, closing ---- */

static stele_status write_sql(stele_doorbell *bell, const char *channel, stele_error *err)
{
    stele__buf sql;
    stele__buf_init(&sql);
    stele__buf_add_text(&sql, "NOTIFY ");
    stele__buf_add_ident(&sql, channel, strlen(channel));
    bool fits = !sql.failed && sql.len < sizeof bell->sql;
    if (fits)
        memcpy(bell->sql, sql.data, sql.len + 1);
    stele__buf_release(&sql);
    return fits ? STELE_OK : stele__fail(err, STELE_E_NOMEM, "out of memory for a doorbell");
}

static stele_status fill_bell(stele_doorbell *bell, const char *channel, uint32_t per_second,
                              stele_error *err)
{
    bell->gap_ns = STELE__S / (per_second > 0 ? per_second : PER_SECOND);
    stele_status st = write_sql(bell, channel, err);
    if (st == STELE_OK)
        st = connect_bell(bell, err);
    if (st == STELE_OK)
        st = stele__line_start(&bell->line, thread_main, bell, err);
    return st;
}

stele_status stele_doorbell_open(stele_db *db, const char *channel, uint32_t per_second,
                                 stele_doorbell **ret_bell, stele_error *err)
{
    if (db == NULL || ret_bell == NULL)
        return stele__fail(err, STELE_E_INPUT, "db or ret_bell is NULL");
    if (per_second > MOST_PER_SECOND)
        return stele__fail(err, STELE_E_INPUT, "per_second is %u, at most %d make sense",
                           per_second, MOST_PER_SECOND);
    stele_status st = stele__check_channel(channel, err);
    if (st != STELE_OK)
        return st;
    stele_doorbell *bell = stele__calloc(1, sizeof *bell);
    if (bell == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a doorbell");
    st = stele__line_init(&bell->line, db, err);
    if (st != STELE_OK) {
        stele__free(bell);
        return st;
    }
    st = fill_bell(bell, channel, per_second, err);
    if (st != STELE_OK)
        free_bell(bell);
    else
        *ret_bell = bell;
    return st;
}

void stele_doorbell_stats(const stele_doorbell *bell, stele_bell_stats *ret_stats)
{
    stele_doorbell *own = (stele_doorbell *)(uintptr_t)bell; /* to lock it */
    memset(ret_stats, 0, sizeof *ret_stats);
    if (stele__line_check_fork(&own->line, "doorbell", NULL) != STELE_OK)
        return;
    stele__line_lock(&own->line);
    *ret_stats = own->stats;
    stele__line_unlock(&own->line);
    ret_stats->rings = __atomic_load_n(&own->rings, __ATOMIC_RELAXED);
}

stele_status stele_doorbell_close(stele_doorbell *bell, uint32_t deadline_ms, stele_error *err)
{
    if (bell == NULL)
        return STELE_OK;
    stele_status st = stele__line_check_fork(&bell->line, "doorbell", err);
    if (st != STELE_OK) {
        stele__line_close_in_child(&bell->line);
        return st;
    }
    bool ended = stele__line_close(&bell->line, false, deadline_ms);
    bool unsent = !ended || is_rung(bell);
    if (ended)
        free_bell(bell);
    if (!unsent)
        return STELE_OK;
    return stele__fail(err, STELE_E_TIMEOUT, "the last ring was not sent before the deadline");
}
