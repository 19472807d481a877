#include "http_summarizer.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_ANSWER = 4 << 20, LONGEST_HEADER = 4096 };

static const char plain_prompt[] =
    "Summarize the conversation below, so that it can be carried on without its text. Keep names, "
    "numbers, decisions and open questions; where it begins with a summary, keep what still "
    "matters "
    "of that. Answer with the summary alone.";

/* One request. */
typedef struct exchange {
    const stele_summary_view *view;
    stele_summary_text *answer;
    size_t received;
    long status;
} exchange;

static stele_status fail(stele_error *err, stele_status status, bool retryable, const char *fmt,
                         ...) __attribute__((format(printf, 4, 5)));

static stele_status fail(stele_error *err, stele_status status, bool retryable, const char *fmt,
                         ...)
{
    va_list args;
    if (err == NULL)
        return status;
    stele_error_clear(err);
    err->status = status;
    err->retryable = retryable;
    va_start(args, fmt);
    (void)vsnprintf(err->message, sizeof err->message, fmt, args); /* cut where it is too long */
    va_end(args);
    return status;
}

/* ---- asking ---- */

/* The request's body as JSON, or NULL when memory is out. */
static char *request_body(const http_summarizer_options *options, const stele_summary_view *view)
{
    stele_summary_text *transcript = stele_summary_text_new();
    char *body = NULL;
    if (transcript == NULL)
        return NULL;
    stele_summary_add_transcript(transcript, view);
    if (!stele_summary_text_failed(transcript)) {
        char limit[64];
        stele_str said = stele_summary_written(transcript);
        (void)snprintf(limit, sizeof limit, " Use at most %u words.",
                       (unsigned)(options->max_words > 0 ? options->max_words : 200));
        json_t *json = json_pack("{s:s, s:[{s:s, s:s+}, {s:s, s:s%}]}", "model", options->model,
                                 "messages", "role", "system", "content",
                                 options->prompt != NULL ? options->prompt : plain_prompt, limit,
                                 "role", "user", "content", said.data, said.len);
        body = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
        json_decref(json);
    }
    stele_summary_text_free(transcript);
    return body;
}

static size_t receive(char *data, size_t size, size_t count, void *user)
{
    exchange *this = user;
    size_t len = size * count;
    if (len > LONGEST_ANSWER - this->received)
        return 0;
    stele_summary_add(this->answer, data, len);
    this->received += len;
    return stele_summary_text_failed(this->answer) ? 0 : len;
}

/* Called by libcurl about once a second, and whenever something comes: gives up with the store. */
static int look_around(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const exchange *this = user;
    (void)a, (void)b, (void)c, (void)d;
    return stele_summary_time_left_ms(this->view) == 0;
}

static long timeout_of(const http_summarizer_options *options, const stele_summary_view *view)
{
    uint32_t left = stele_summary_time_left_ms(view);
    if (options->timeout_ms > 0 && options->timeout_ms < left)
        left = options->timeout_ms;
    if (left == 0)
        return 1; /* to libcurl 0 means none */
    return left < INT32_MAX ? (long)left : INT32_MAX;
}

static struct curl_slist *headers_of(const http_summarizer_options *options)
{
    char bearer[LONGEST_HEADER];
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (headers == NULL || options->api_key == NULL)
        return headers;
    int len = snprintf(bearer, sizeof bearer, "Authorization: Bearer %s", options->api_key);
    struct curl_slist *longer =
        len > 0 && (size_t)len < sizeof bearer ? curl_slist_append(headers, bearer) : NULL;
    if (longer == NULL)
        curl_slist_free_all(headers);
    return longer;
}

static CURLcode post(CURL *curl, const http_summarizer_options *options, const char *body,
                     const struct curl_slist *headers, exchange *this)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, options->url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* we are one of several threads */
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_of(options, this->view));
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_around);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, this);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    CURLcode code = curl_easy_perform(curl);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &this->status);
    return code;
}

static stele_status ask(const http_summarizer_options *options, exchange *this, CURLcode *ret_code)
{
    char *body = request_body(options, this->view);
    struct curl_slist *headers = headers_of(options);
    CURL *curl = curl_easy_init();
    bool fine = body != NULL && headers != NULL && curl != NULL;
    if (fine)
        *ret_code = post(curl, options, body, headers, this);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    free(body);
    return fine ? STELE_OK : STELE_E_NOMEM;
}

/* ---- the answer ---- */

static stele_status explain(CURLcode code, const exchange *this, const char *url, stele_error *err)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return fail(err, STELE_E_TIMEOUT, true, "no answer from %s in time", url);
    case CURLE_ABORTED_BY_CALLBACK:
        return fail(err, STELE_E_CANCELED, true, "gave up waiting for %s", url);
    case CURLE_OUT_OF_MEMORY:
        return fail(err, STELE_E_NOMEM, true, "no memory for a request");
    case CURLE_WRITE_ERROR:
        if (stele_summary_text_failed(this->answer))
            return fail(err, STELE_E_NOMEM, true, "no memory for an answer");
        return fail(err, STELE_E_DECODE, false, "an answer of more than %d bytes from %s",
                    LONGEST_ANSWER, url);
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return fail(err, STELE_E_LOST, true, "%s: %s", url, curl_easy_strerror(code));
    default:
        return fail(err, STELE_E_CONNECT, true, "%s: %s", url, curl_easy_strerror(code));
    }
}

static stele_status refuse(const exchange *this, const char *url, stele_error *err)
{
    stele_str body = stele_summary_written(this->answer);
    bool later = this->status == 429 || this->status >= 500;
    stele_status st =
        fail(err, STELE_E_SERVER, later, "%s answered with status %ld", url, this->status);
    if (err != NULL)
        (void)snprintf(err->detail, sizeof err->detail, "%.400s", body.data);
    return st;
}

/* Takes choices[0].message.content out of the answer. */
static stele_status read_answer(const exchange *this, const char *url, stele_summary_text *text,
                                stele_error *err)
{
    json_error_t where;
    stele_str body = stele_summary_written(this->answer);
    json_t *json = json_loadb(body.data, body.len, 0, &where);
    if (json == NULL)
        return fail(err, STELE_E_DECODE, true, "the answer of %s is no JSON: %s", url, where.text);
    const json_t *message =
        json_object_get(json_array_get(json_object_get(json, "choices"), 0), "message");
    const json_t *content = json_object_get(message, "content");
    stele_status st = STELE_OK;
    if (json_is_string(content))
        stele_summary_add(text, json_string_value(content), json_string_length(content));
    else
        st = fail(err, STELE_E_DECODE, false, "the answer of %s has no choices[0].message.content",
                  url);
    json_decref(json);
    return st;
}

stele_status http_summarize(const stele_summary_view *view, stele_summary_text *text, void *user,
                            stele_error *err)
{
    const http_summarizer_options *options = user;
    exchange this = {.view = view, .answer = stele_summary_text_new()};
    CURLcode code = CURLE_OK;
    stele_status st = this.answer != NULL ? ask(options, &this, &code) : STELE_E_NOMEM;
    if (st != STELE_OK)
        st = fail(err, st, true, "no memory for a request");
    else if (code != CURLE_OK)
        st = explain(code, &this, options->url, err);
    else if (this.status != 200)
        st = refuse(&this, options->url, err);
    else
        st = read_answer(&this, options->url, text, err);
    stele_summary_text_free(this.answer);
    return st;
}
