/*
 * A process that makes summaries of jobs in the table, for test_summary_processes.py.
 *
 *     summary_driver work             makes summaries until its input ends
 *     summary_driver die SESSION      has the session summarized, and is killed in the middle of that
 *     summary_driver stop SESSION     the same, but stops in the middle; when continued it goes on
 *     summary_driver slow SESSION     stops in the middle of a summary that no job asks for
 *     summary_driver ask SESSION      asks for a summary, and is killed at once
 *     summary_driver append SESSION   appends an event that asks for one, and is killed at once
 *
 * STELE_DSN names the database; sessions are those of app "a" and user "u".
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stele/sessions.h"
#include "stele/summarizer.h"

static stele_status work(const stele_summary_view *view, stele_summary_text *text, void *user,
                         stele_error *err)
{
    (void)user, (void)err;
    printf("made %s\n", view->session_id.data);
    (void)fflush(stdout);
    stele_summary_add_transcript(text, view);
    return STELE_OK;
}

static stele_status die(const stele_summary_view *view, stele_summary_text *text, void *user,
                        stele_error *err)
{
    (void)view, (void)text, (void)user, (void)err;
    (void)kill(getpid(), SIGKILL);
    return STELE_E_SERVER;
}

static stele_status stop(const stele_summary_view *view, stele_summary_text *text, void *user,
                         stele_error *err)
{
    (void)raise(SIGSTOP); /* to this thread, which gets no further */
    return work(view, text, user, err);
}

static int failed(const stele_error *err)
{
    char line[2048];
    (void)stele_error_format(err, line, sizeof line);
    fprintf(stderr, "%s\n", line);
    return 1;
}

static stele_status begin(stele_sessions *store, const char *how, const char *session,
                          stele_error *err)
{
    stele_session_key key = {stele_s("a"), stele_s("u"), stele_s(session)};
    stele_event event = STELE_EVENT_INIT;
    event.content = stele_s("Said at last.");
    if (strcmp(how, "slow") == 0)
        return stele_sessions_create_summary(store, &key, NULL, false, err);
    if (strcmp(how, "append") != 0)
        return stele_sessions_enqueue_summary(store, &key, NULL, false, err);
    return stele_sessions_append_event(store, &key, &event, NULL, err);
}

int main(int argc, char **argv)
{
    stele_error err;
    stele_sessions *store = NULL;
    stele_sessions_options options = STELE_SESSIONS_OPTIONS_INIT;
    stele_summarizer summarizer = STELE_SUMMARIZER_INIT;
    bool begins = argc == 3;
    bool stops = begins && argv[1][0] == 's';
    bool dies = begins && strcmp(argv[1], "die") == 0;
    summarizer.summarize = stops ? stop : begins ? die : work;
    options.dsn = getenv("STELE_DSN");
    options.summarizer = &summarizer;
    options.summary_jobs = STELE_SUMMARY_DURABLE;
    options.summary_on_append = true;
    if (stele_sessions_open(&options, &store, &err) != STELE_OK)
        return failed(&err);
    if (begins && begin(store, argv[1], argv[2], &err) != STELE_OK)
        return failed(&err);
    if (begins && !stops && !dies)
        (void)kill(getpid(), SIGKILL);
    while (getchar() != EOF)
        continue;
    return stele_sessions_close(store, 10000, NULL, &err) == STELE_OK ? 0 : failed(&err);
}
