/**
 * Sending statements and reading their results: one flush, one wait.
 *
 * Floor: conn.
 */
#include <poll.h>
#include <string.h>

#include "link_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define likely(condition) __builtin_expect(condition, 1)
#define unlikely(condition) __builtin_expect(condition, 0)

static bool is_error(ExecStatusType status)
{
    switch (status) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_PIPELINE_SYNC:
        return false;
    default:
        return true;
    }
}

/* Nobody here feeds or drains a COPY, and libpq reports it over and over until somebody does. */
static bool is_copy(ExecStatusType status)
{
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

static stele_status refuse_copy(stele__link *link, PGresult *result, stele_error *err)
{
    PQclear(result);
    link->broken = true;
    link->sent = false; /* a COPY that is never fed stores nothing */
    return stele__fail(err, STELE_E_UNSUPPORTED, "COPY from or to the client cannot run like this");
}

int stele__link_send(const stele__link *link, const stele__step *step)
{
    switch (step->kind) {
    case STELE__STEP_DEALLOCATE:
        return PQsendQueryParams(link->pg, step->sql, 0, NULL, NULL, NULL, NULL, 0) &&
               PQpipelineSync(link->pg);
    case STELE__STEP_PREPARE:
        return PQsendPrepare(link->pg, step->name, step->sql, step->param_count, step->types) &&
               PQpipelineSync(link->pg);
    case STELE__STEP_SIMPLE:
        return PQsendQueryParams(link->pg, step->sql, 0, NULL, NULL, NULL, NULL, 0);
    case STELE__STEP_EXECUTE:
        return PQsendQueryPrepared(link->pg, step->name, step->param_count, step->values,
                                   step->lengths, step->formats, step->result_format);
    case STELE__STEP_QUERY:
        return PQsendQueryParams(link->pg, step->sql, step->param_count, step->types, step->values,
                                 step->lengths, step->formats, step->result_format);
    }
    return 0;
}

/* What the reading of one exchange has seen so far. */
typedef struct reading {
    PGresult *result;    /* of the last step, when it succeeded */
    stele_status status; /* of the first error */
    int failed_step;
    bool last_words; /* the server told that the last step failed, or that it ends the session */
    bool completed;  /* the last step said "done"; only a Sync makes that true */
    bool unread;     /* an answer is missing: it never came, or libpq could not take it */
    bool ready;      /* the server takes the next command */
} reading;

static void take_error(reading *got, PGresult *result, int step, int last, stele_error *err)
{
    if (got->status == STELE_OK) {
        got->status = stele__link_server_error(result, err);
        got->failed_step = step;
    }
    /* What libpq itself reports has no SQLSTATE. */
    if (PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL)
        got->unread = true;
    else if (step == last || stele__result_is_fatal(result))
        got->last_words = true;
    /* An error at the Sync undoes what was done; the end of the session may have come after it. */
    if (got->last_words && !stele__result_is_fatal(result))
        got->completed = false;
    PQclear(result);
}

/* The exchange ends without all answers; tells whether the last step may have been done. */
static stele_status give_up(stele__link *link, const reading *got, stele_status st,
                            stele_error *err)
{
    link->broken = true;
    if (err != NULL && st != STELE_E_UNSUPPORTED)
        err->outcome_unknown = got->completed || !got->last_words;
    return st;
}

/* An answer that never came: lost, unless the server had told an error before. */
static stele_status lost_reading(stele__link *link, const reading *got, stele_error *err)
{
    stele_status st = got->status;
    if (st == STELE_OK)
        st = stele__link_lost(link, err);
    return give_up(link, got, st, err);
}

static stele_status finish(stele__link *link, reading *got, PGresult **ret_result,
                           int *ret_failed_step, stele_error *err)
{
    if (got->status == STELE_OK && got->result != NULL) {
        *ret_result = got->result;
        return STELE_OK;
    }
    /* libpq 14 has no result where it has no memory for one. */
    if (got->status == STELE_OK)
        return give_up(link, got, stele__link_starved(link, err), err);
    PQclear(got->result);
    if (ret_failed_step != NULL)
        *ret_failed_step = got->failed_step;
    if (got->unread)
        return lost_reading(link, got, err);
    if (got->status == STELE_E_LOST) {
        /* The session went on: a function or a foreign server reported a loss of its own. */
        got->status = STELE_E_SERVER;
        if (err != NULL)
            err->status = STELE_E_SERVER;
    }
    if (got->status == STELE_E_READ_ONLY)
        link->refused_write = true;
    return got->status;
}

/* ---- one statement, outside pipeline mode ---- */

/* True when the server is ready for the next command: PQgetResult would have nothing more. */
static bool is_ready(const stele__link *link)
{
    PGTransactionStatusType tx = PQtransactionStatus(link->pg);
    return tx != PQTRANS_ACTIVE && tx != PQTRANS_UNKNOWN;
}

/* Takes one result of a statement in. */
static stele_status take_result(stele__link *link, PGresult *result, reading *got, stele_error *err)
{
    /* A second result after success is the error that struck at the Sync. */
    ExecStatusType status = PQresultStatus(result);
    if (is_copy(status))
        return refuse_copy(link, result, err);
    if (is_error(status)) {
        take_error(got, result, 0, 0, err);
    } else {
        if (got->result != NULL)
            PQclear(got->result);
        got->result = result;
        got->completed = true;
    }
    return STELE_OK;
}

/* Reads all results of one statement; STELE_OK when there are no more, whatever they say. */
static stele_status read_one(stele__link *link, stele__deadline deadline, reading *got,
                             stele_error *err)
{
    for (;;) {
        stele_status st = stele__link_await(link, deadline, err);
        if (st != STELE_OK)
            return st;
        if (got->completed && is_ready(link)) {
            got->ready = true;
            return STELE_OK;
        }
        PGresult *result = PQgetResult(link->pg);
        if (result == NULL) {
            got->ready = is_ready(link);
            return STELE_OK;
        }
        st = take_result(link, result, got, err);
        if (st != STELE_OK)
            return st;
    }
}

/* Reads on after `first`, which may be NULL. NULL after a failure. */
static PGresult *read_rest(stele__link *link, PGresult *first, stele__deadline deadline,
                           stele_error *err)
{
    PGresult *result = NULL;
    reading got = {.status = STELE_OK};
    stele_status st = first != NULL ? take_result(link, first, &got, err) : STELE_OK;
    if (st == STELE_OK)
        st = read_one(link, deadline, &got, err);
    if (st == STELE_OK && got.ready) {
        err->status = finish(link, &got, &result, NULL, err);
        return result;
    }
    PQclear(got.result);
    err->status = st == STELE_OK ? lost_reading(link, &got, err) : give_up(link, &got, st, err);
    return NULL;
}

/* Sends what libpq has `left`, and reads the answer. */
static PGresult *send_rest(stele__link *link, int left, stele__deadline deadline, stele_error *err)
{
    err->status = stele__link_flush(link, left, deadline, err);
    if (err->status != STELE_OK)
        return NULL;
    link->round_trips++;
    return read_rest(link, NULL, deadline, err);
}

/* The exchange of one statement ends without an answer to it. */
static PGresult *unanswered(stele__link *link, stele_status st, stele_error *err)
{
    err->status = give_up(link, &(reading){.status = STELE_OK}, st, err);
    return NULL;
}

/* The socket was not ready in the first wait. */
static PGresult *wait_on(stele__link *link, stele__deadline deadline, stele_error *err)
{
    stele_status st = stele__link_take_input(link, stele__link_wait(link, POLLIN, deadline), err);
    return st == STELE_OK ? read_rest(link, NULL, deadline, err) : unanswered(link, st, err);
}

/* The connection has ended; the server's last words may be in the buffer already. */
static PGresult *read_last_words(stele__link *link, stele__deadline deadline, stele_error *err)
{
    return PQisBusy(link->pg) ? unanswered(link, stele__link_lost(link, err), err)
                              : read_rest(link, NULL, deadline, err);
}

/* When what began at `now_ns` must have ended. */
static stele__deadline end_of(const stele__limits *limits, uint64_t now_ns)
{
    stele__deadline end = now_ns + (uint64_t)limits->timeout_ms * 1000000u;
    return limits->deadline < end ? limits->deadline : end;
}

/* The time left, as poll() takes it. */
static int ms_until(stele__deadline end, uint64_t now_ns)
{
    return now_ns < end ? (int)((end - now_ns + 999999u) / 1000000u) : 0;
}

/* Takes in the answer to the one statement that libpq was given. NULL after a failure. */
static inline PGresult *take_answer(stele__link *link, const stele__limits *limits,
                                    stele_error *err)
{
    uint64_t now = (uint64_t)stele__now_ns();
    link->sent = true;
    int left = PQflush(link->pg);
    if (unlikely(left != 0))
        return send_rest(link, left, end_of(limits, now), err);
    link->round_trips++;
    /* Nothing was read since the statement left, so its answer cannot be there: no need to look. Had
     * libpq closed the socket, sending would have failed: here link->fd is still the connection's. */
    struct pollfd pfd = {.fd = link->fd, .events = POLLIN};
    int wait_ms = (int)limits->timeout_ms;
    if (unlikely(limits->deadline != STELE__NEVER))
        wait_ms = ms_until(end_of(limits, now), now);
    if (unlikely(link->given_up != NULL || poll(&pfd, 1, wait_ms) <= 0))
        return wait_on(link, end_of(limits, now), err);
    if (unlikely(!PQconsumeInput(link->pg)))
        return read_last_words(link, end_of(limits, now), err);
    if (unlikely(PQisBusy(link->pg)))
        return read_rest(link, NULL, end_of(limits, now), err);
    PGresult *result = PQgetResult(link->pg);
    ExecStatusType status = PQresultStatus(result);
    /* The frequent case: one result that is no error, and the server is ready. */
    if (likely((status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) && !PQisBusy(link->pg) &&
               is_ready(link)))
        return result;
    return read_rest(link, result, end_of(limits, now), err);
}

/* libpq did not take the statement. */
static PGresult *not_sent(stele__link *link, stele_error *err)
{
    link->sent = false;
    err->status = stele__link_send_failed(link, err);
    return NULL;
}

PGresult *stele__link_execute(stele__link *link, const char *name, int count,
                              const char *const *values, const int *lengths, const int *formats,
                              const stele__limits *limits, stele_error *err)
{
    if (unlikely(!PQsendQueryPrepared(link->pg, name, count, values, lengths, formats, 1)))
        return not_sent(link, err);
    return take_answer(link, limits, err);
}

static stele_status exchange_one(stele__link *link, const stele__step *step,
                                 stele__deadline deadline, PGresult **ret_result, stele_error *err)
{
    stele_error local;
    if (err == NULL)
        err = &local;
    link->forgiven = 0;
    const stele__limits limits = {.deadline = deadline, .timeout_ms = INT32_MAX};
    PGresult *result =
        stele__link_send(link, step) ? take_answer(link, &limits, err) : not_sent(link, err);
    if (result == NULL)
        return err->status;
    *ret_result = result;
    return STELE_OK;
}

/* ---- several statements, in pipeline mode ---- */

static bool has_own_segment(const stele__step *step)
{
    return step->kind == STELE__STEP_PREPARE || step->kind == STELE__STEP_DEALLOCATE;
}

/* What was to be reached is so already: the name is there (it is a hash of the SQL), or gone. */
static bool is_harmless(const stele__step *step, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *wanted = step->kind == STELE__STEP_PREPARE ? "42P05" : "26000";
    return has_own_segment(step) && sqlstate != NULL && strcmp(sqlstate, wanted) == 0;
}

/* Reads the results of one step up to the NULL that ends them. */
static stele_status read_step(stele__link *link, const stele__step *step, int index, int last,
                              reading *got, stele__deadline deadline, stele_error *err)
{
    for (;;) {
        stele_status st = stele__link_await(link, deadline, err);
        if (st != STELE_OK)
            return st;
        PGresult *result = PQgetResult(link->pg);
        if (result == NULL)
            return STELE_OK;
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_PIPELINE_ABORTED) {
            PQclear(result);
            if (got->status == STELE_OK && PQstatus(link->pg) != CONNECTION_OK)
                return stele__link_lost(link, err);
        } else if (is_copy(status)) {
            return refuse_copy(link, result, err);
        } else if (is_error(status)) {
            if (is_harmless(step, result)) {
                link->forgiven |= 1u << index;
                PQclear(result);
            } else {
                take_error(got, result, index, last, err);
            }
        } else if (index == last) {
            PQclear(got->result);
            got->result = result;
            got->completed = true;
        } else {
            PQclear(result);
        }
    }
}

/* Reads the answer to a Sync; an error in its place struck at the commit. */
static stele_status read_sync(stele__link *link, int index, int last, reading *got,
                              stele__deadline deadline, stele_error *err)
{
    int nulls = 0;
    for (;;) {
        stele_status st = stele__link_await(link, deadline, err);
        if (st != STELE_OK)
            return st;
        PGresult *result = PQgetResult(link->pg);
        if (result == NULL) {
            /* One NULL may separate; a second means that the Sync's answer will never come. */
            if (PQstatus(link->pg) != CONNECTION_OK || ++nulls > 1) {
                got->unread = true;
                return STELE_OK;
            }
            continue;
        }
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            return STELE_OK;
        }
        take_error(got, result, index, last, err);
    }
}

static stele_status send_all(stele__link *link, const stele__step *steps, int count,
                             stele__deadline deadline, stele_error *err)
{
    if (!PQenterPipelineMode(link->pg))
        return stele__link_send_failed(link, err);
    for (int i = 0; i < count; i++)
        if (!stele__link_send(link, &steps[i]))
            return stele__link_send_failed(link, err);
    link->sent = true;
    /* The last step is never one with a segment of its own. */
    if (!PQpipelineSync(link->pg))
        return stele__link_send_failed(link, err);
    return stele__link_flush(link, PQflush(link->pg), deadline, err);
}

/* Reads the answers to all steps; STELE_OK when they were read, whatever they say. */
static stele_status read_all(stele__link *link, const stele__step *steps, int count,
                             stele__deadline deadline, reading *got, stele_error *err)
{
    int last = count - 1;
    for (int i = 0; i < count && !got->unread; i++) {
        stele_status st = read_step(link, &steps[i], i, last, got, deadline, err);
        if (st == STELE_OK && (has_own_segment(&steps[i]) || i == last))
            st = read_sync(link, i, last, got, deadline, err);
        if (st != STELE_OK)
            return st;
    }
    if (!got->unread && !PQexitPipelineMode(link->pg))
        got->unread = true;
    return STELE_OK;
}

static stele_status exchange_many(stele__link *link, const stele__step *steps, int count,
                                  stele__deadline deadline, PGresult **ret_result,
                                  int *ret_failed_step, stele_error *err)
{
    reading got = {.status = STELE_OK};
    stele_status st = send_all(link, steps, count, deadline, err);
    if (st != STELE_OK)
        return st;
    link->round_trips++;
    st = read_all(link, steps, count, deadline, &got, err);
    if (st == STELE_OK && !got.unread)
        return finish(link, &got, ret_result, ret_failed_step, err);
    PQclear(got.result);
    if (ret_failed_step != NULL)
        *ret_failed_step = got.status != STELE_OK ? got.failed_step : count - 1;
    return st == STELE_OK ? lost_reading(link, &got, err) : give_up(link, &got, st, err);
}

stele_status stele__link_exchange(stele__link *link, const stele__step *steps, int count,
                                  stele__deadline deadline, PGresult **ret_result,
                                  int *ret_failed_step, stele_error *err)
{
    if (count == 1 && ret_failed_step != NULL)
        *ret_failed_step = 0;
    if (link->broken)
        return stele__fail(err, STELE_E_LOST, "connection lost earlier");
    if (count == 1)
        return exchange_one(link, steps, deadline, ret_result, err);
    link->sent = false;
    link->forgiven = 0;
    return exchange_many(link, steps, count, deadline, ret_result, ret_failed_step, err);
}

void stele__result_clear(PGresult *result)
{
    PQclear(result);
}

const char *stele__result_tag(const PGresult *result)
{
    /* PQcmdStatus takes a non-const result but only reads it. */
    return PQcmdStatus((PGresult *)(uintptr_t)result);
}

bool stele__result_is_command(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_COMMAND_OK;
}

static const char *read_number(const char *p, uint64_t *ret)
{
    uint64_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        n = n * 10 + (uint64_t)(*p - '0');
    *ret = n;
    return p;
}

bool stele__result_changed_nothing(const PGresult *result)
{
    /* "INSERT 0 0", "UPDATE 0", "DELETE 0"; other tags are too rare for a way of their own. */
    const char *tag = stele__result_tag(result);
    if (tag[0] == 'I' && tag[1] == 'N')
        return tag[sizeof "INSERT 0"] == '0';
    if ((tag[0] == 'U' && tag[1] == 'P') || (tag[0] == 'D' && tag[1] == 'E'))
        return tag[sizeof "UPDATE"] == '0';
    return stele__result_affected(result) == 0;
}

uint64_t stele__result_affected(const PGresult *result)
{
    /* "UPDATE 3", "INSERT 0 3" with an OID of old in between, or no number at all. */
    uint64_t n;
    const char *p = stele__result_tag(result);
    while (*p > '9') /* the first word: letters are */
        p++;
    p = read_number(*p == ' ' ? p + 1 : p, &n);
    if (*p == ' ')
        (void)read_number(p + 1, &n);
    return n;
}

int stele__result_count(const PGresult *result)
{
    return PQntuples(result);
}

const char *stele__result_text(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}
