#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>

#include <stele/gen/gen.h>

#include "summaries.h"

#include "banned.h"

void stele__summary_work_init(stele__summary_work *work, stele_sessions *store,
                              const stele_session_key *key, const stele_str *targets, size_t count,
                              bool force)
{
    memset(work, 0, sizeof *work);
    work->store = store;
    work->key = key;
    work->force = force;
    work->part_count = count;
    for (size_t i = 0; i < count; i++)
        work->parts[i].filter_key = targets[i];
}

static void release_part(stele__summary_part *part)
{
    for (size_t i = 0; i < part->count; i++)
        stele__summary_item_release(&part->items[i]);
    stele_free(part->items);
    stele_free(part->events);
    stele__summary_stored_release(&part->previous);
    stele__summary_text_release(&part->text);
    stele__summary_text_release(&part->json);
    stele_gen_free(part->block);
}

void stele__summary_work_release(stele__summary_work *work)
{
    for (size_t i = 0; i < work->part_count; i++)
        release_part(&work->parts[i]);
    memset(work, 0, sizeof *work);
}

/* ---- what is there to do ---- */

static stele_summary_view view_of(const stele__summary_work *work, const stele__summary_part *part)
{
    return (stele_summary_view){
        .app_name = work->key->app_name,
        .user_id = work->key->user_id,
        .session_id = work->key->session_id,
        .filter_key = part->filter_key,
        .previous = part->previous.text,
        .events = part->events,
        .event_count = part->count,
        .created_at = work->created_at,
        .now = work->now,
        .run = &work->run,
    };
}

static bool is_time(const stele__summary_work *work, const stele_summary_view *view)
{
    const stele_summarizer *summarizer = &work->store->summaries->summarizer;
    if (view->event_count == 0)
        return work->force && view->previous.len > 0;
    if (work->force)
        return true;
    return stele_summary_fires(&summarizer->trigger, view) &&
           (summarizer->should_summarize == NULL ||
            summarizer->should_summarize(view, summarizer->user));
}

static void plan(stele__summary_work *work)
{
    for (size_t i = 0; i < work->part_count; i++) {
        stele__summary_part *part = &work->parts[i];
        part->reach = stele__summary_reach(part->items, part->count, &part->previous.boundary);
        part->view = view_of(work, part);
        part->wanted = is_time(work, &part->view);
    }
}

static bool same_boundary(const stele__summary_boundary *a, const stele__summary_boundary *b)
{
    return a->known == b->known &&
           (!a->known ||
            (a->cutoff == b->cutoff && stele_str_eq(a->last_event_id, b->last_event_id)));
}

static bool same_end(const stele__summary_part *a, const stele__summary_part *b)
{
    return a->count == b->count &&
           (a->count == 0 || a->items[a->count - 1].row == b->items[b->count - 1].row);
}

/* Both parts would be made of the same: the same events after the same summary. */
static bool is_one(const stele__summary_work *work)
{
    const stele__summary_part *branch = &work->parts[0], *whole = &work->parts[1];
    return work->part_count == 2 && branch->wanted && same_end(branch, whole) &&
           stele_str_eq(branch->previous.text, whole->previous.text) &&
           same_boundary(&branch->previous.boundary, &whole->previous.boundary);
}

/* ---- having it done ---- */

static stele_status too_late(const stele__summary_work *work, stele_error *err)
{
    if (work->run.alive != NULL && !work->run.alive(work->run.user))
        return stele__store_fail(err, STELE_E_CANCELED,
                                 "a summary was given up as nobody waited for it any longer");
    return stele__store_fail(err, STELE_E_TIMEOUT, "a summary took longer than %u ms",
                             work->store->summaries->timeout_ms);
}

static stele_status summarize(stele__summary_work *work, stele__summary_part *part,
                              stele_error *err)
{
    const stele_summarizer *summarizer = &work->store->summaries->summarizer;
    stele_status st = summarizer->summarize(&part->view, &part->text, summarizer->user, err);
    if (st != STELE_OK)
        return st < STELE_OK ? st
                             : stele__store_fail(err, STELE_E_MISUSE,
                                                 "the summarizer answered %s, which is no failure",
                                                 stele_status_name(st));
    if (stele_summary_text_failed(&part->text))
        return stele__store_no_memory(err);
    if (stele_summary_time_left_ms(&part->view) == 0)
        return too_late(work, err);
    return STELE_OK;
}

typedef struct helper {
    stele__summary_work *work;
    stele__summary_part *part;
    stele_error err;
} helper;

static void *run_helper(void *arg)
{
    helper *this = arg;
    this->part->status = summarize(this->work, this->part, &this->err);
    return NULL;
}

static bool start(pthread_t *thread, helper *arg)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int failed = pthread_create(thread, NULL, run_helper, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}

/* Two that differ are made at the same time: their time is the model's, not ours. */
static stele_status summarize_both(stele__summary_work *work, stele_error *err)
{
    pthread_t thread;
    helper branch = {work, &work->parts[0], {0}};
    bool started = start(&thread, &branch);
    stele_status st = summarize(work, &work->parts[1], err);
    if (!started)
        (void)run_helper(&branch);
    else
        (void)pthread_join(thread, NULL); /* ours, and joined once */
    if (st != STELE_OK || branch.part->status == STELE_OK)
        return st;
    if (err != NULL)
        *err = branch.err;
    return branch.part->status;
}

static stele_status copy_text(const stele__summary_part *from, stele__summary_part *to,
                              stele_error *err)
{
    stele_str text = stele_summary_written(&from->text);
    stele_summary_add(&to->text, text.data, text.len);
    return stele_summary_text_failed(&to->text) ? stele__store_no_memory(err) : STELE_OK;
}

static stele_status summarize_wanted(stele__summary_work *work, stele_error *err)
{
    stele__summary_part *parts = work->parts;
    if (is_one(work)) {
        stele_status st = summarize(work, &parts[0], err);
        return st == STELE_OK ? copy_text(&parts[0], &parts[1], err) : st;
    }
    if (work->part_count == 2 && parts[0].wanted && parts[1].wanted)
        return summarize_both(work, err);
    for (size_t i = 0; i < work->part_count; i++) {
        if (parts[i].wanted)
            return summarize(work, &parts[i], err);
    }
    return STELE_OK;
}

stele_status stele__summary_make(stele__summary_work *work, bool *ret_any, stele_error *err)
{
    plan(work);
    stele_status st = summarize_wanted(work, err);
    bool any = false;
    for (size_t i = 0; i < work->part_count && st == STELE_OK; i++) {
        stele__summary_part *part = &work->parts[i];
        stele_str text = stele_summary_written(&part->text);
        if (text.len == 0)
            continue;
        st = stele__summary_format(text, part->filter_key, &part->reach, &part->json, err);
        any = true;
    }
    if (st == STELE_OK)
        *ret_any = any;
    return st;
}
