#include "sessions.gen.h"
#include "summaries.h"

#include "banned.h"

/* The kinds of rows that sessions_events_to_summarize() gives. */
enum { ROW_SUMMARY = 0, ROW_EVENT = 1, ROW_SESSION = 2 };

/* What sessions_put_summary() answers. */
enum { PUT_DONE = 1 };

/* ---- reading ---- */

static sessions_events_to_summarize_params source_params(const stele__summary_work *work,
                                                         stele_str filter_key)
{
    const stele_sessions *store = work->store;
    return (sessions_events_to_summarize_params){
        .app_name = stele_text_of(work->key->app_name),
        .user_id = stele_text_of(work->key->user_id),
        .session_id = stele_text_of(work->key->session_id),
        .filter_key = stele_text_of(filter_key),
        .limit = store->event_limit > 0 ? stele_i64_n_v(store->event_limit) : stele_i64_n_null(),
        .find = store->event_id_index ? SESSIONS_EVENTS_TO_SUMMARIZE_FIND_INDEX
                                      : SESSIONS_EVENTS_TO_SUMMARIZE_FIND_SCAN,
    };
}

/* Two keys are read from one snapshot: else an event between them would be in one of the two only. */
static stele_status read_two(stele__summary_work *work, stele_conn *conn,
                             sessions_events_to_summarize_rows *rows[2], stele_error *err)
{
    STELE_AUTO(stele_pipeline) pipeline = NULL;
    stele_pipeline_options options = STELE_PIPELINE_OPTIONS_INIT;
    options.isolation = STELE_REPEATABLE_READ;
    options.access = STELE_READ_ONLY;
    stele_status st = stele_pipeline_open(conn, &options, &pipeline, err);
    for (size_t i = 0; i < 2 && st == STELE_OK; i++) {
        sessions_events_to_summarize_params params = source_params(work, work->parts[i].filter_key);
        st = sessions_events_to_summarize_queue(pipeline, &params, &rows[i], err);
    }
    return st == STELE_OK ? stele_pipeline_sync(pipeline, err) : st;
}

static stele_status read_session(stele__summary_work *work,
                                 const sessions_events_to_summarize_row *row, stele_error *err)
{
    work->created_at = row->at.v;
    if (stele_ts_parse(row->body, &work->now) == STELE_OK)
        return STELE_OK;
    return stele__store_fail(err, STELE_E_DECODE, "the server's time is \"%.40s\"", row->body.data);
}

static stele_status read_row(stele__summary_work *work, stele__summary_part *part,
                             const sessions_events_to_summarize_row *row, stele_error *err)
{
    stele_status st;
    switch (row->kind) {
    case ROW_SESSION:
        return read_session(work, row, err);
    case ROW_SUMMARY:
        part->previous_row = row->id.v;
        return stele__summary_parse(row->body, row->at.v, &part->previous, err);
    case ROW_EVENT:
        st = stele__summary_item_load(row->body, row->id.v, row->at.v, &part->items[part->count],
                                      err);
        if (st == STELE_OK) {
            part->events[part->count] = part->items[part->count].event;
            part->count++;
        }
        return st;
    default:
        return stele__store_fail(err, STELE_E_DECODE, "a row of unknown kind %d", row->kind);
    }
}

/* Takes the rows over. */
static stele_status read_part(stele__summary_work *work, stele__summary_part *part,
                              sessions_events_to_summarize_rows *rows, stele_error *err)
{
    stele_status st = STELE_OK;
    part->block = rows;
    part->previous.text = part->previous.boundary.last_event_id = stele_s("");
    part->items = stele__summary_calloc(rows->count, sizeof *part->items);
    part->events = stele__summary_calloc(rows->count, sizeof *part->events);
    if (part->items == NULL || part->events == NULL)
        return stele__store_no_memory(err);
    for (size_t i = 0; i < rows->count && st == STELE_OK; i++)
        st = read_row(work, part, &rows->rows[i], err);
    return st;
}

stele_status stele__summary_read(stele__summary_work *work, stele_conn *conn, stele_error *err)
{
    sessions_events_to_summarize_rows *rows[2] = {NULL, NULL};
    stele_status st;
    if (work->part_count == 2) {
        st = read_two(work, conn, rows, err);
    } else {
        sessions_events_to_summarize_params params = source_params(work, work->parts[0].filter_key);
        st = sessions_events_to_summarize(conn, &params, &rows[0], err);
    }
    for (size_t i = 0; i < work->part_count && st == STELE_OK; i++) {
        st = rows[i]->count > 0 ? read_part(work, &work->parts[i], rows[i], err)
                                : stele__sessions_missing(work->key, err);
        if (work->parts[i].block != NULL)
            rows[i] = NULL;
    }
    sessions_events_to_summarize_rows_free(rows[0]);
    sessions_events_to_summarize_rows_free(rows[1]);
    return st;
}

/* ---- writing ---- */

static stele_status queue_lock(const stele__summary_work *work, stele_pipeline *pipeline,
                               sessions_lock_session_row **ret_row, stele_error *err)
{
    sessions_lock_session_params params = {
        .app_name = stele_text_of(work->key->app_name),
        .user_id = stele_text_of(work->key->user_id),
        .session_id = stele_text_of(work->key->session_id),
    };
    return sessions_lock_session_queue(pipeline, &params, ret_row, err);
}

static stele_status queue_put(const stele__summary_work *work, const stele__summary_part *part,
                              stele_pipeline *pipeline, sessions_put_summary_row **ret_row,
                              stele_error *err)
{
    sessions_put_summary_params params = {
        .app_name = stele_text_of(work->key->app_name),
        .user_id = stele_text_of(work->key->user_id),
        .session_id = stele_text_of(work->key->session_id),
        .filter_key = stele_text_of(part->filter_key),
        .summary = stele_text_of(stele_summary_written(&part->json)),
        .cutoff = stele_ts_v(part->reach.cutoff),
        .created_at = stele_ts_v(work->created_at),
    };
    if (part->count > 0)
        params.last_row = stele_i64_v(part->items[part->count - 1].row);
    else
        params.previous = stele_i64_v(part->previous_row);
    return sessions_put_summary_queue(pipeline, &params, ret_row, err);
}

stele_status stele__summary_write(stele__summary_work *work, stele_conn *conn, stele_error *err)
{
    STELE_AUTO(stele_pipeline) pipeline = NULL;
    STELE_AUTO(sessions_lock_session_row) lock = NULL;
    sessions_put_summary_row *put[2] = {NULL, NULL};
    stele_status st = stele_pipeline_open(conn, NULL, &pipeline, err);
    if (st == STELE_OK)
        st = queue_lock(work, pipeline, &lock, err);
    for (size_t i = 0; i < work->part_count && st == STELE_OK; i++) {
        if (stele_summary_written(&work->parts[i].json).len > 0)
            st = queue_put(work, &work->parts[i], pipeline, &put[i], err);
    }
    if (st == STELE_OK)
        st = stele_pipeline_sync(pipeline, err);
    for (size_t i = 0; i < 2; i++) {
        if (put[i] != NULL && put[i]->status == PUT_DONE)
            (void)atomic_fetch_add(&work->store->summaries->written, 1);
        sessions_put_summary_row_free(put[i]);
    }
    return st;
}

/* ---- the store's functions ---- */

bool stele__summary_store_open(void *user)
{
    stele_sessions *store = user;
    (void)pthread_mutex_lock(&store->lock);
    bool open = !store->closed;
    (void)pthread_mutex_unlock(&store->lock);
    return open;
}

/* No lease is held while the summarizer works. */
static stele_status create_now(stele__summary_work *work, stele_error *err)
{
    bool any = false;
    stele_conn *conn = NULL;
    stele_status st = stele__sessions_begin_after(work->store, work->key, &conn, err);
    if (st == STELE_OK)
        st = stele__sessions_end(work->store, conn, stele__summary_read(work, conn, err));
    if (st == STELE_OK)
        st = stele__summary_make(work, &any, err);
    if (st != STELE_OK || !any)
        return st;
    st = stele__sessions_begin(work->store, &conn, err);
    if (st == STELE_OK)
        st = stele__sessions_end(work->store, conn, stele__summary_write(work, conn, err));
    return st;
}

stele_status stele_sessions_create_summary(stele_sessions *store, const stele_session_key *key,
                                           const char *filter_key, bool force, stele_error *err)
{
    stele__summary_work work;
    stele_str filter = stele_s(filter_key != NULL ? filter_key : "");
    stele_status st = stele__sessions_check_key(key, err);
    if (st != STELE_OK || store->summaries == NULL ||
        !stele__summary_allows(&store->summaries->policy, filter))
        return st;
    st = stele__sessions_enter(store, err);
    if (st != STELE_OK)
        return st;
    stele__summary_work_init(&work, store, key, &filter, 1, force);
    work.run.alive = stele__summary_store_open;
    work.run.user = store;
    st = create_now(&work, err);
    stele__summary_work_release(&work);
    stele__sessions_leave(store);
    return st;
}

static stele_status copy_text(const sessions_get_summary_row *row, char **ret_text,
                              stele_error *err)
{
    char *text = stele_alloc(row->text.len + 1);
    if (text == NULL)
        return stele__store_no_memory(err);
    memcpy(text, row->text.data, row->text.len + 1); /* texts of rows end with NUL */
    *ret_text = text;
    return STELE_OK;
}

stele_status stele_sessions_get_summary_text(stele_sessions *store, const stele_session_key *key,
                                             const char *filter_key, char **ret_text,
                                             stele_error *err)
{
    STELE_AUTO(sessions_get_summary_row) row = NULL;
    stele_conn *conn = NULL;
    stele_status st = stele__sessions_check_key(key, err);
    if (st == STELE_OK)
        st = stele__sessions_begin(store, &conn, err);
    if (st != STELE_OK)
        return st;
    sessions_get_summary_params params = {
        .app_name = stele_text_of(key->app_name),
        .user_id = stele_text_of(key->user_id),
        .session_id = stele_text_of(key->session_id),
        .filter_key = stele_text_v(filter_key != NULL ? filter_key : ""),
    };
    st = stele__sessions_end(store, conn, sessions_get_summary(conn, &params, &row, err));
    if (st != STELE_OK)
        return st;
    if (row == NULL)
        return stele__store_fail(err, STELE_E_NOT_FOUND, "there is no summary");
    return copy_text(row, ret_text, err);
}
