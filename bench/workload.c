#include "workload.h"

#include <stdio.h>
#include <stdlib.h>

volatile uint64_t workload_sink;

#define PARAGRAPH                                                                                  \
    "The traveller asked to move the return flight by two days and to keep the aisle seat; the "   \
    "fare rules allow one change without a fee until three hours before departure. "

const char workload_event[] =
    "{\"id\": \"8c5e2a44-7f0b-4b6e-9d55-0a1f6f1c2d3e\", \"author\": \"assistant\", "
    "\"invocationId\": \"inv-000117\", \"timestamp\": \"2024-05-17T09:41:22.512304Z\", "
    "\"response\": {\"model\": \"large-2\", \"done\": true, \"usage\": {\"prompt\": 1873, "
    "\"completion\": 211}, \"choices\": [{\"index\": 0, \"message\": {\"role\": \"assistant\", "
    "\"content\": \"" PARAGRAPH PARAGRAPH PARAGRAPH PARAGRAPH "\"}, \"finishReason\": "
    "\"stop\"}]}, \"stateDelta\": {\"booking\": \"ZX81QF\", \"step\": 7}}";
const size_t workload_event_len = sizeof workload_event - 1;

workload_key *workload_keys(void)
{
    workload_key *keys = bench_alloc(WORKLOAD_SESSIONS * sizeof *keys);
    for (int i = 0; i < WORKLOAD_SESSIONS; i++) {
        int at = i * 617 % WORKLOAD_SESSIONS; /* 617 is prime: each comes once */
        keys[i].user_len =
            (size_t)snprintf(keys[i].user, sizeof keys[i].user, "user-%03d", at % 50);
        keys[i].session_len =
            (size_t)snprintf(keys[i].session, sizeof keys[i].session, "session-%05d", at);
    }
    return keys;
}

void workload_use_get(stele_conn *conn)
{
    const session_states_unique_active_key key = {
        .app_name = stele_s(WORKLOAD_APP),
        .user_id = stele_s("user-000"),
        .session_id = stele_s("session-00000"),
    };
    session_states_row *row = NULL;
    stele_error err;
    bench_check(session_states_find_by_unique_active(conn, &key, &row, &err), "find", &err);
    session_states_row_free(row);
}
