/*
 * A summarizer that asks a model, at any server that speaks OpenAI's chat completions.
 *
 *     http_summarizer_options model = {.url = "http://localhost:11434/v1/chat/completions",
 *                                      .model = "llama3"};
 *     stele_summarizer summarizer = STELE_SUMMARIZER_INIT;
 *     summarizer.summarize = http_summarize;
 *     summarizer.user = &model;
 */
#ifndef HTTP_SUMMARIZER_H
#define HTTP_SUMMARIZER_H

#include <stele/summarizer.h>

/* Must outlive the store. 0 and NULL take the default in brackets. */
typedef struct http_summarizer_options {
    const char *url;     /* of the endpoint, to its end: …/v1/chat/completions */
    const char *model;   /* as the server calls it */
    const char *api_key; /* [none] sent as a bearer token */
    const char *prompt;  /* [a plain one] what the model is told to do */
    uint32_t max_words;  /* [200] */
    uint32_t timeout_ms; /* [what the store allows] one answer */
} http_summarizer_options;

/*
 * The `summarize` of a stele_summarizer; `user` is its http_summarizer_options. Call curl_global_init()
 * before the first thread is started.
 *
 * Errors: STELE_E_CONNECT; STELE_E_TIMEOUT; STELE_E_CANCELED when the store is closing; STELE_E_LOST when
 *         the answer broke off; STELE_E_SERVER for an answer other than 200, with the beginning of it in
 *         err->detail; STELE_E_DECODE for one without a text; STELE_E_NOMEM. err->retryable says
 *         whether the same may succeed later.
 */
stele_status http_summarize(const stele_summary_view *view, stele_summary_text *text, void *user,
                            stele_error *err);

#endif
