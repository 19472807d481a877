/**
 * Jobs as rows: enqueuing, canceling and reviving them in the caller's transaction.
 *
 * Floor: jobs.
 */
#include <string.h>

#include "jobs_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define KIND_MAX 100 /* characters, as the columns have them */
#define KEY_MAX 255
#define ATTEMPTS 25u
#define CENTURY_MS (100ull * 366 * 24 * 3600 * 1000)

static stele_status check_text(stele_str text, const char *name, size_t most, stele_error *err)
{
    if (text.len > 0 && text.data == NULL)
        return stele__fail(err, STELE_E_INPUT, "job.%s has a length and no text", name);
    if (stele__utf8_check(text.data, text.len) != text.len)
        return stele__fail(err, STELE_E_INPUT, "job.%s is not UTF-8", name);
    if (stele__utf8_count(text.data, text.len) > most)
        return stele__fail(err, STELE_E_INPUT, "job.%s has more than %zu characters", name, most);
    return STELE_OK;
}

stele_status stele__job_check(const stele_job_input *job, uint32_t attempts,
                              stele_gen_job_new *ret_new, stele_error *err)
{
    if (job == NULL)
        return stele__fail(err, STELE_E_INPUT, "job is NULL");
    if (job->kind.len == 0)
        return stele__fail(err, STELE_E_INPUT, "job.kind is empty: no handler would take it");
    stele_status st = check_text(job->kind, "kind", KIND_MAX, err);
    if (st == STELE_OK)
        st = check_text(job->key, "key", KEY_MAX, err);
    if (st != STELE_OK)
        return st;
    if (job->max_attempts > INT32_MAX || job->delay_ms > CENTURY_MS)
        return stele__fail(err, STELE_E_INPUT, "job.%s is out of range",
                           job->max_attempts > INT32_MAX ? "max_attempts" : "delay_ms");
    *ret_new = (stele_gen_job_new){
        .kind = job->kind,
        .key = job->key,
        .args = job->args,
        .delay_ms = (int64_t)job->delay_ms,
        .max_attempts = (int32_t)(job->max_attempts > 0 ? job->max_attempts : attempts),
        .priority = job->priority,
    };
    if (job->at != NULL)
        ret_new->at = (stele_opt_ts){.has = true, .v = *job->at};
    return STELE_OK;
}

static stele_status check(const stele_jobs_table *table, const stele_job_input *job,
                          stele_gen_job_new *ret_new, stele_error *err)
{
    if (table == NULL)
        return stele__fail(err, STELE_E_INPUT, "table is NULL");
    return stele__job_check(job, ATTEMPTS, ret_new, err);
}

stele_status stele_job_enqueue(stele_conn *conn, const stele_jobs_table *table,
                               const stele_job_input *job, int64_t *ret_id, stele_error *err)
{
    stele_gen_job_new new_job;
    stele_gen_job_id row;
    const void *args[] = {&new_job};
    stele_status st = check(table, job, &new_job, err);
    if (st == STELE_OK)
        st = stele_gen_value(conn, table->enqueue, args, 0, &row, err);
    if (st == STELE_OK && ret_id != NULL)
        *ret_id = row.id;
    return st;
}

stele_status stele_job_enqueue_queue(stele_pipeline *pipeline, const stele_jobs_table *table,
                                     const stele_job_input *job, int64_t *ret_id, stele_error *err)
{
    stele_gen_job_new new_job;
    const void *args[] = {&new_job};
    stele_gen_slot slot = {.kind = STELE_GEN_SLOT_VALUE, .out = ret_id};
    stele_status st = check(table, job, &new_job, err);
    if (st != STELE_OK)
        return st;
    return stele_gen_queue(pipeline, table->enqueue, args, 0, &slot, err);
}

static stele_status change(stele_conn *conn, const stele_jobs_table *table, bool cancel, int64_t id,
                           stele_error *err)
{
    const void *args[] = {&id};
    if (table == NULL)
        return stele__fail(err, STELE_E_INPUT, "table is NULL");
    return stele_gen_exec(conn, cancel ? table->cancel : table->revive, args, 0, true, NULL, err);
}

stele_status stele_job_cancel(stele_conn *conn, const stele_jobs_table *table, int64_t id,
                              stele_error *err)
{
    return change(conn, table, true, id, err);
}

stele_status stele_job_revive(stele_conn *conn, const stele_jobs_table *table, int64_t id,
                              stele_error *err)
{
    return change(conn, table, false, id, err);
}
