/**
 * Running handlers, and what they may ask and do.
 *
 * Floor: jobs.
 */
#define _GNU_SOURCE
#include <string.h>

#include "jobs_internal.h"
#include "latency_internal.h"
#include "link.h"
#include "mem_internal.h"
#include "status_internal.h"
#include "stele/tx.h"
#include "text_internal.h"

#include "banned.h"

#define ACQUIRE_MS 5000u

/* ---- what handlers ask ---- */

const stele_job_info *stele_job_get(const stele_job *job)
{
    return &job->info;
}

/* When the handler should have returned. A job whose transaction has ended it is locked: nobody else
 * can have it, whatever the lease says. */
static uint64_t end_of(const stele_job *job)
{
    uint64_t timeout = __atomic_load_n(&job->timeout_ns, __ATOMIC_RELAXED);
    uint64_t fence = __atomic_load_n(&job->fence_ns, __ATOMIC_RELAXED);
    if (__atomic_load_n(&job->began, __ATOMIC_RELAXED))
        return timeout;
    return timeout < fence ? timeout : fence;
}

static stele__job_stop stop_of(const stele_job *job)
{
    return (stele__job_stop)__atomic_load_n(&job->stop, __ATOMIC_RELAXED);
}

bool stele_job_alive(const stele_job *job)
{
    return stop_of(job) == STELE__STOP_NOT && (uint64_t)stele__now_ns() < end_of(job);
}

uint32_t stele_job_left_ms(const stele_job *job)
{
    uint64_t now = (uint64_t)stele__now_ns();
    uint64_t end = end_of(job);
    if (stop_of(job) != STELE__STOP_NOT || end <= now)
        return 0;
    uint64_t ms = (end - now) / STELE__JOB_MS;
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

void stele_job_delay(stele_job *job, uint64_t delay_ms)
{
    const uint64_t most = 100ull * 366 * 24 * 3600 * 1000;
    job->delayed = true;
    job->delay_ms = delay_ms < most ? delay_ms : most;
}

uint64_t stele__job_backoff(const stele_job *job)
{
    if (job->delayed)
        return job->delay_ms;
    const stele_job_kind *kind = &job->kind->given;
    uint64_t ms = kind->backoff_ms;
    for (uint32_t i = 1; i < job->info.attempt && ms < kind->backoff_max_ms; i++)
        ms *= 2;
    if (ms > kind->backoff_max_ms)
        ms = kind->backoff_max_ms;
    return ms - stele__jobs_random(job, ms / 2 + 1);
}

/* ---- its transaction ---- */

static void set_conn(stele_job *job, stele_conn *conn)
{
    (void)pthread_mutex_lock(&job->jobs->lock);
    job->conn = conn;
    (void)pthread_mutex_unlock(&job->jobs->lock);
}

static void let_go(stele_job *job)
{
    stele_conn *conn = job->conn;
    set_conn(job, NULL);
    stele_conn_release(conn);
}

/* Ends the job in the transaction: then its row is locked until that is over. */
static stele_status claim_end(stele_job *job, stele_error *err)
{
    stele_gen_job_failed what = {.id = job->info.id, .token = job->token, .gen = job->info.gen};
    const void *args[] = {&what};
    void *row = NULL;
    stele_status st = stele_gen_maybe(job->conn, job->jobs->table->finish_one, args, 0, &row, err);
    if (st != STELE_OK)
        return st;
    if (row == NULL) {
        __atomic_store_n(&job->stop, STELE__STOP_LOST, __ATOMIC_RELAXED);
        return stele__fail(err, STELE_E_CANCELED, "the job is no longer this worker's");
    }
    stele_gen_free(row);
    __atomic_store_n(&job->began, true, __ATOMIC_RELAXED);
    return STELE_OK;
}

/*
 * A process that is frozen in the transaction, or cut off from the server, would keep the job's row from
 * others for as long as the server believes in its connection.
 */
static void limit_silence(const stele_job *job)
{
    uint32_t left_ms = stele_job_left_ms(job);
    if (left_ms <= INT32_MAX)
        stele__tx_set_local(job->conn, "idle_in_transaction_session_timeout",
                            left_ms > 0 ? left_ms : 1);
}

static stele_status open_transaction(stele_job *job, stele_error *err)
{
    stele_tx_options options = STELE_TX_OPTIONS_INIT;
    /* What was enqueued while we waited for the row must be seen. */
    options.isolation = STELE_READ_COMMITTED;
    options.access = STELE_READ_WRITE;
    stele_status st = stele_tx_begin(job->conn, &options, err);
    if (st == STELE_OK)
        limit_silence(job);
    if (st == STELE_OK && job->jobs->durable)
        st = claim_end(job, err);
    return st;
}

stele_status stele_job_begin(stele_job *job, stele_conn **ret_conn, stele_error *err)
{
    stele_conn *conn;
    if (job->jobs->db == NULL)
        return stele__fail(err, STELE_E_MISUSE, "the workers were opened without a database");
    if (job->conn != NULL)
        return stele__fail(err, STELE_E_MISUSE, "the job's transaction is open already");
    uint32_t left_ms = stele_job_left_ms(job);
    if (left_ms == 0)
        return stele__fail(err, STELE_E_CANCELED, "the job is no longer alive");
    stele_status st = stele_db_acquire_at(
        job->jobs->db, left_ms < ACQUIRE_MS ? left_ms : ACQUIRE_MS, __FILE__, __LINE__, &conn, err);
    if (st != STELE_OK)
        return st;
    stele_conn_set_deadline(conn, left_ms);
    set_conn(job, conn);
    st = open_transaction(job, err);
    if (st != STELE_OK) {
        (void)!stele_tx_rollback(conn, NULL); /* what failed first is what counts */
        let_go(job);
        return st;
    }
    left_ms = stele_job_left_ms(job);
    if (left_ms == 0)
        left_ms = 1; /* over, not without end */
    stele_conn_set_deadline(conn, left_ms < UINT32_MAX ? left_ms : 0);
    *ret_conn = conn;
    return STELE_OK;
}

/* Commits or rolls back; what the handler answered, or why it could not be kept. */
static stele_status close_transaction(stele_job *job, stele_status st, stele_error *err)
{
    if (st == STELE_OK) {
        st = stele_tx_commit(job->conn, err);
        if (st == STELE_OK)
            job->end = STELE__END_STORED;
        job->unsure = st == STELE_E_UNKNOWN;
    } else {
        (void)!stele_tx_rollback(job->conn, NULL); /* the handler's error is what counts */
    }
    let_go(job);
    __atomic_store_n(&job->began, false, __ATOMIC_RELAXED);
    return st;
}

/* ---- running ---- */

static void keep_error(stele_job *job, stele_status st, const stele_error *err)
{
    stele__free(job->error);
    job->error = stele__alloc(sizeof *job->error);
    if (job->error == NULL)
        return;
    *job->error = *err;
    job->error->status = st;
    if (err->message[0] == '\0')
        (void)stele__copy_text(job->error->message, sizeof job->error->message,
                               stele_status_text(st));
}

static void settle(stele_job *job, stele_status st, stele_error *err)
{
    if (st == STELE_OK && !job->jobs->durable && stop_of(job) == STELE__STOP_LOST)
        st = STELE_E_CANCELED; /* as the table would say of a durable one */
    if (job->conn != NULL)
        st = close_transaction(job, st, err);
    if (st == STELE_OK) {
        if (job->end == STELE__END_NOT)
            job->end = STELE__END_FINISH;
        return;
    }
    if (st < 0)
        keep_error(job, st, err);
    if (stop_of(job) == STELE__STOP_LOST)
        return;
    bool stopped = stop_of(job) == STELE__STOP_CLOSING && st != STELE_ROLLBACK;
    job->end = stopped ? STELE__END_RETURN : STELE__END_FAIL;
    job->dead = st == STELE_ROLLBACK;
    job->counts = st != STELE_AGAIN;
}

void stele__job_run(stele_job *job)
{
    const stele_job_kind *kind = &job->kind->given;
    uint64_t began = (uint64_t)stele__now_ns();
    stele_error err;
    if (kind->timeout_ms > 0)
        __atomic_store_n(&job->timeout_ns, began + (uint64_t)kind->timeout_ms * STELE__JOB_MS,
                         __ATOMIC_RELAXED);
    stele_error_clear(&err);
    settle(job, kind->run(job, kind->user, &err), &err);
    uint64_t now = (uint64_t)stele__now_ns();
    job->ran = true;
    job->run_ns = now - began;
    job->timed_out = now >= __atomic_load_n(&job->timeout_ns, __ATOMIC_RELAXED);
    job->fenced =
        job->end != STELE__END_STORED && now >= __atomic_load_n(&job->fence_ns, __ATOMIC_RELAXED);
}

void stele__job_count_run(const stele_job *job)
{
    stele_job_stats *stats = &job->jobs->stats;
    if (job->ran)
        stele__latency_add(&stats->run, job->run_ns);
    stats->timed_out += job->timed_out;
    stats->fenced += job->fenced;
}

void stele__job_count_wait(const stele_job *job, uint64_t ns)
{
    stele_job_stats *stats = &job->jobs->stats;
    uint64_t ms = ns / STELE__JOB_MS;
    stele__latency_add(&stats->wait, ns);
    if (ms > stats->longest_wait_ms)
        stats->longest_wait_ms = ms;
}

/* Its lease may have run out while it waited here: somebody else may have it now. */
static void run_or_leave(stele_job *job)
{
    if (stele_job_alive(job))
        stele__job_run(job);
    else
        job->fenced = stop_of(job) == STELE__STOP_NOT;
}

/* The turn is woken when there is enough to tell, not for each job. The lock is held. */
static void hand_over(stele_jobs *jobs, stele_job *job)
{
    job->ended_ns = (uint64_t)stele__now_ns();
    stele__jobs_push(&jobs->ended, job);
    if (jobs->ended.count == 1 || jobs->ready.count == 0)
        (void)pthread_cond_signal(&jobs->turn);
}

/* The lock is held, and given back meanwhile. */
static void work_one(stele_jobs *jobs, stele_job *job)
{
    uint64_t here = (uint64_t)stele__now_ns() - job->taken_ns;
    stele__job_count_wait(job, job->info.waited_ms * STELE__JOB_MS + here);
    job->kind->running++;
    stele__jobs_push(&jobs->running, job);
    (void)pthread_mutex_unlock(&jobs->lock);
    run_or_leave(job);
    (void)pthread_mutex_lock(&jobs->lock);
    stele__jobs_remove(&jobs->running, job);
    stele__job_count_run(job);
    job->kind->running--;
    job->kind->held--;
    if (job->end == STELE__END_FINISH || job->end == STELE__END_FAIL ||
        job->end == STELE__END_RETURN) {
        hand_over(jobs, job);
        return;
    }
    (void)pthread_cond_signal(&jobs->turn); /* there is room for another one */
    (void)pthread_mutex_unlock(&jobs->lock);
    stele__job_over(job, job->end == STELE__END_STORED ? STELE_JOB_DONE : STELE_JOB_LOST);
    (void)pthread_mutex_lock(&jobs->lock);
}

void *stele__jobs_work(void *arg)
{
    stele_jobs *jobs = arg;
    (void)pthread_setname_np(pthread_self(), "stele-job");
    (void)pthread_mutex_lock(&jobs->lock);
    for (;;) {
        stele_job *job = stele__jobs_pop(&jobs->ready);
        if (job != NULL) {
            work_one(jobs, job);
            continue;
        }
        if (jobs->closing)
            break;
        jobs->idle_workers++;
        if (jobs->more)
            (void)pthread_cond_signal(&jobs->turn);
        (void)stele__cond_wait(&jobs->work, &jobs->lock, STELE__NEVER);
        jobs->idle_workers--;
    }
    jobs->threads--;
    (void)pthread_cond_broadcast(&jobs->idle);
    (void)pthread_cond_broadcast(&jobs->turn);
    (void)pthread_mutex_unlock(&jobs->lock);
    return NULL;
}
