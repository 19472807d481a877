/* Names and events of bench-sessions. */
#include <stdio.h>

#include "sessions.h"

#define PARAGRAPH                                                                                  \
    "The traveller asked to move the return flight by two days and to keep the aisle seat; the "   \
    "fare rules allow one change without a fee until three hours before departure. "
#define DELTA "{\"booking\": \"WlgtODFRRg==\", \"step\": \"Nw==\"}"

const char sessions_delta[] = DELTA;
const char sessions_event[] =
    "{\"id\": \"8c5e2a44-7f0b-4b6e-9d55-0a1f6f1c2d3e\", \"timestamp\": "
    "\"2024-05-17T09:41:22.512304Z\", \"author\": \"assistant\", \"invocationId\": \"inv-000117\", "
    "\"object\": \"chat.completion\", \"created\": 1715938882, \"model\": \"large-2\", "
    "\"choices\": [{\"index\": 0, \"message\": {\"role\": \"assistant\", \"content\": \"" PARAGRAPH
        PARAGRAPH PARAGRAPH PARAGRAPH "\"}, \"finish_reason\": \"stop\"}], \"usage\": "
    "{\"prompt_tokens\": 1873, \"completion_tokens\": 211}, \"done\": true, \"is_partial\": false, "
    "\"response\": {\"id\": \"r-000117\", \"timestamp\": \"2024-05-17T09:41:22.512304Z\"}, "
    "\"stateDelta\": " DELTA ", \"version\": 1}";
const size_t sessions_event_len = sizeof sessions_event - 1;

sessions_name *sessions_names(const char *kind, int count)
{
    sessions_name *names = bench_alloc((size_t)count * sizeof *names);
    for (int i = 0; i < count; i++) {
        sessions_name *n = &names[i];
        n->user_len = (size_t)snprintf(n->user, sizeof n->user, "user-%03d", i % SESSIONS_USERS);
        n->session_len = (size_t)snprintf(n->session, sizeof n->session, "%s-%05d", kind, i);
    }
    return names;
}
