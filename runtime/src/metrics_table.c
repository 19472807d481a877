/**
 * What is measured: one row for each number of each part.
 *
 * Floor: metrics.
 */
#include "metrics_internal.h"

#include <string.h>

#include "latency_internal.h"

#include "banned.h"

/* Rows. `…` begins with the unit; more of stele__field may follow. */
#define KIND_OF(member)                                                                            \
    _Generic(((PART *)0)->member, uint32_t                                                         \
             : STELE__NUMBER_U32, uint64_t                                                         \
             : STELE__NUMBER_U64, int64_t                                                          \
             : STELE__NUMBER_I64, bool                                                             \
             : STELE__NUMBER_BOOL, stele_latency                                                   \
             : STELE__NUMBER_LATENCY)
#define AT(member) .offset = (uint16_t)offsetof(PART, member), .kind = KIND_OF(member)
#define ROW(of, called, means, member, ...)                                                        \
    {                                                                                              \
        .name = (called), .help = (means), .type = STELE_METRIC_##of, AT(member), __VA_ARGS__      \
    }
#define COUNTER(called, means, member, ...) ROW(COUNTER, called, means, member, __VA_ARGS__)
#define GAUGE(called, means, member, ...) ROW(GAUGE, called, means, member, __VA_ARGS__)
#define SUMMARY(called, means, member, times, ...)                                                 \
    ROW(SUMMARY, called, means, member, .count_offset = (uint16_t)offsetof(PART, times),           \
        .count_kind = KIND_OF(times), __VA_ARGS__)
#define HISTOGRAM(called, means, member, ...) ROW(HISTOGRAM, called, means, member, __VA_ARGS__)
/* Not exported. */
#define SILENT(member) ROW(COUNTER, NULL, NULL, member, PLAIN)
#define SILENT_GREATEST(member) ROW(GAUGE, NULL, NULL, member, PLAIN, GREATEST)
#define LABEL(own, text) .label = (own), .label_value = (text)
#define GREATEST .greatest = true
#define NS .unit = "seconds", .scale = 1e9
#define MS .unit = "seconds", .scale = 1e3
#define BYTES .unit = "bytes", .scale = 1
#define PLAIN .unit = "", .scale = 1

#define PART stele_pool_stats
static const stele__field pool_fields[] = {
    GAUGE("stele_pool_max_connections", "Connections the pool may open", max, PLAIN,
          .otel = "db.client.connection.max"),
    GAUGE("stele_pool_connections", "Connections that are open", idle, PLAIN,
          .otel = "db.client.connection.count", LABEL("state", "idle"),
          .otel_label = "db.client.connection.state"),
    GAUGE("stele_pool_connections", NULL, in_use, PLAIN, .otel = "db.client.connection.count",
          LABEL("state", "used"), .otel_label = "db.client.connection.state"),
    SILENT(open),
    GAUGE("stele_pool_connecting", "Connections being made", connecting, PLAIN),
    GAUGE("stele_pool_pending_requests", "Callers in line for a connection", waiting, PLAIN,
          .otel = "db.client.connection.pending_requests"),
    COUNTER("stele_pool_acquired", "Leases taken", acquired, PLAIN),
    SILENT(waited),
    COUNTER("stele_pool_timeouts", "Acquires that ended by their deadline", timeouts, PLAIN,
            .otel = "db.client.connection.timeouts"),
    COUNTER("stele_pool_rejected", "Acquires refused because the line was full", rejected, PLAIN),
    COUNTER("stele_pool_connects", "Connections made", created, PLAIN),
    COUNTER("stele_pool_closed", "Connections closed by the pool", closed[STELE_CLOSED_LIFETIME],
            PLAIN, LABEL("reason", "lifetime")),
    COUNTER("stele_pool_closed", NULL, closed[STELE_CLOSED_IDLE], PLAIN, LABEL("reason", "idle")),
    COUNTER("stele_pool_closed", NULL, closed[STELE_CLOSED_BROKEN], PLAIN,
            LABEL("reason", "broken")),
    COUNTER("stele_pool_closed", NULL, closed[STELE_CLOSED_DIRTY], PLAIN, LABEL("reason", "dirty")),
    COUNTER("stele_pool_closed", NULL, closed[STELE_CLOSED_GENERATION], PLAIN,
            LABEL("reason", "generation")),
    COUNTER("stele_pool_closed", NULL, closed[STELE_CLOSED_SHUTDOWN], PLAIN,
            LABEL("reason", "shutdown")),
    COUNTER("stele_pool_dirty", "Leases returned inside a transaction", dirty, PLAIN),
    COUNTER("stele_pool_check_failures", "Idle connections found dead when taken", check_failures,
            PLAIN),
    COUNTER("stele_pool_connect_errors", "Attempts to connect that failed", connect_errors, PLAIN),
    COUNTER("stele_pool_cancels", "Cancel requests sent", cancels, PLAIN),
    COUNTER("stele_pool_leaks", "Leases held for too long", leaks, PLAIN),
    HISTOGRAM("stele_pool_wait_seconds", "Time that acquires spent in line", wait, NS,
              .otel = "db.client.connection.wait_time"),
    HISTOGRAM("stele_pool_create_seconds", "Time of attempts to connect, failed ones included",
              create, NS, .otel = "db.client.connection.create_time"),
    SUMMARY("stele_pool_use_seconds", "Time connections were leased", use_ns, acquired, NS,
            .otel = "db.client.connection.use_time"),
};
#undef PART

#define PART stele_sweep_stats
static const stele__field sweeper_fields[] = {
    GAUGE("stele_sweeper_running", "Sweeps under way", running, PLAIN),
    GAUGE("stele_sweeper_tables", "Tables that are swept", tables, PLAIN),
    COUNTER("stele_sweeper_runs", "Sweeps through all tables", runs, PLAIN),
    COUNTER("stele_sweeper_paused_seconds", "Time waited for replicas", paused_ms, MS),
    COUNTER("stele_sweeper_waited_seconds", "Time waited for rows_per_second", waited_ms, MS),
    SILENT(expired),
    SILENT(followed),
    SILENT(purged),
    SILENT(partitions),
    SILENT(batches),
    SILENT(skipped),
    SILENT(blocked),
    SILENT(failures),
    SILENT(elsewhere),
    SILENT(batch_ns),
    SILENT_GREATEST(oldest_ms),
};
#undef PART

#define PART stele_sweep_table_stats
static const stele__field swept_table_fields[] = {
    COUNTER("stele_sweeper_rows", "Rows removed", expired, PLAIN, LABEL("kind", "expired")),
    COUNTER("stele_sweeper_rows", NULL, followed, PLAIN, LABEL("kind", "followed")),
    COUNTER("stele_sweeper_rows", NULL, purged, PLAIN, LABEL("kind", "purged")),
    COUNTER("stele_sweeper_partitions", "Partitions removed", partitions, PLAIN),
    COUNTER("stele_sweeper_skipped", "Rows claimed that had been renewed meanwhile", skipped,
            PLAIN),
    COUNTER("stele_sweeper_blocked", "Rows passed over because removing them failed", blocked,
            PLAIN),
    COUNTER("stele_sweeper_failures", "Transactions that failed", failures, PLAIN),
    COUNTER("stele_sweeper_elsewhere", "Times the table was left to another sweeper", elsewhere,
            PLAIN),
    SUMMARY("stele_sweeper_batch_seconds", "Time of transactions", batch_ns, batches, NS),
    GAUGE("stele_sweeper_longest_batch_seconds", "The longest transaction", longest_batch_ns, NS),
    GAUGE("stele_sweeper_oldest_expired_seconds",
          "For how long the oldest expired row had been so, when last looked", oldest_found_ms, MS),
    GAUGE("stele_sweeper_oldest_left_seconds", "The same after that sweep", oldest_ms, MS),
};
#undef PART

#define PART stele_lane_stats
static const stele__field lanes_fields[] = {
    GAUGE("stele_lanes_lanes", "Lanes", lanes, PLAIN),
    GAUGE("stele_lanes_running", "Lanes at work", running, PLAIN),
    GAUGE("stele_lanes_waiting", "Items that wait", waiting, PLAIN),
    GAUGE("stele_lanes_waiting_bytes", "Bytes of items that wait", waiting_bytes, BYTES),
    GAUGE("stele_lanes_most_waiting", "Items that wait in the fullest lane", most_waiting, PLAIN,
          GREATEST),
    COUNTER("stele_lanes_put", "Items put", put, PLAIN),
    COUNTER("stele_lanes_done", "Items done", done, PLAIN),
    COUNTER("stele_lanes_ran_here", "Batches done by threads that put", ran_here, PLAIN),
    COUNTER("stele_lanes_rejected", "Puts refused for want of room", rejected, PLAIN),
    SUMMARY("stele_lanes_blocked_seconds", "Time puts waited for room", blocked_ns, blocked, NS),
    SUMMARY("stele_lanes_run_seconds", "Time of batches", run_ns, batches, NS),
    HISTOGRAM("stele_lanes_wait_seconds", "Time items waited to be run", wait, NS),
};
#undef PART

#define PART stele_commit_stats
static const stele__field persist_fields[] = {
    COUNTER("stele_persist_put", "Units put", put, PLAIN),
    COUNTER("stele_persist_ended", "Units by what became of them", stored, PLAIN,
            LABEL("outcome", "stored")),
    COUNTER("stele_persist_ended", NULL, failed, PLAIN, LABEL("outcome", "failed")),
    COUNTER("stele_persist_ended", NULL, unknown, PLAIN, LABEL("outcome", "unknown")),
    COUNTER("stele_persist_ended", NULL, undone, PLAIN, LABEL("outcome", "undone")),
    COUNTER("stele_persist_forgotten", "Units that were not stored, and nobody waited for",
            forgotten, PLAIN),
    COUNTER("stele_persist_statements", "Statements stored", statements, PLAIN),
    COUNTER("stele_persist_bulk_batches", "Transactions sent as arrays or COPY", bulk, PLAIN),
    COUNTER("stele_persist_refusals", "Transactions that failed for one of their units", refusals,
            PLAIN),
    COUNTER("stele_persist_retries", "Transactions that were tried again", retries, PLAIN),
    COUNTER("stele_persist_replayed", "Units stored again, perhaps, after a loss", replayed, PLAIN),
    SUMMARY("stele_persist_batch_seconds", "Time of transactions that were stored", batch_ns,
            batches, NS),
    HISTOGRAM("stele_persist_ack_seconds", "Time from putting to acknowledging", ack, NS),
    GAUGE("stele_persist_longest_batch_seconds", "The longest transaction", longest_batch_ns, NS,
          GREATEST),
    GAUGE("stele_persist_longest_ack_seconds", "The longest time to an acknowledgement",
          longest_ack_ns, NS, GREATEST),
    GAUGE("stele_persist_waiting", "Units that wait", lanes.waiting, PLAIN),
    GAUGE("stele_persist_waiting_bytes", "Bytes of units that wait", lanes.waiting_bytes, BYTES),
    GAUGE("stele_persist_running", "Lanes at work", lanes.running, PLAIN),
    COUNTER("stele_persist_rejected", "Puts refused for want of room", lanes.rejected, PLAIN),
    SUMMARY("stele_persist_blocked_seconds", "Time puts waited for room", lanes.blocked_ns,
            lanes.blocked, NS),
    SILENT(lanes.lanes),
    SILENT(lanes.put),
    SILENT(lanes.done),
    SILENT(lanes.batches),
    SILENT(lanes.ran_here),
    SILENT(lanes.run_ns),
    SILENT(lanes.wait),
    SILENT_GREATEST(lanes.most_waiting),
};
#undef PART

#define PART stele_job_stats
static const stele__field jobs_fields[] = {
    GAUGE("stele_jobs_workers", "Threads that run jobs", workers, PLAIN),
    GAUGE("stele_jobs_running", "Jobs under way here", running, PLAIN),
    GAUGE("stele_jobs_waiting", "Jobs that wait here", waiting, PLAIN),
    COUNTER("stele_jobs_put", "Jobs put", put, PLAIN),
    COUNTER("stele_jobs_merged", "Jobs joined to one of the same key", merged, PLAIN),
    COUNTER("stele_jobs_claimed", "Jobs claimed", claimed, PLAIN),
    COUNTER("stele_jobs_ended", "Jobs by what became of them", done, PLAIN,
            LABEL("outcome", "done")),
    COUNTER("stele_jobs_ended", NULL, retried, PLAIN, LABEL("outcome", "retried")),
    COUNTER("stele_jobs_ended", NULL, dead, PLAIN, LABEL("outcome", "dead")),
    COUNTER("stele_jobs_ended", NULL, returned, PLAIN, LABEL("outcome", "returned")),
    COUNTER("stele_jobs_ended", NULL, lost, PLAIN, LABEL("outcome", "lost")),
    COUNTER("stele_jobs_timed_out", "Jobs that took longer than their kind allows", timed_out,
            PLAIN),
    COUNTER("stele_jobs_fenced", "Leases that could not be renewed in time", fenced, PLAIN),
    COUNTER("stele_jobs_rescued", "Jobs of others whose lease had run out", rescued, PLAIN),
    COUNTER("stele_jobs_purged", "Jobs removed after their end", purged, PLAIN),
    COUNTER("stele_jobs_rejected", "Jobs refused as the queue was full", rejected, PLAIN),
    COUNTER("stele_jobs_ran_here", "Jobs done by callers", ran_here, PLAIN),
    COUNTER("stele_jobs_claims", "Statements that looked for jobs", claims, PLAIN),
    COUNTER("stele_jobs_wakes", "Times workers were woken", wakes, PLAIN),
    COUNTER("stele_jobs_heartbeats", "Statements that renewed leases", heartbeats, PLAIN),
    COUNTER("stele_jobs_errors", "Statements that failed", errors, PLAIN),
    HISTOGRAM("stele_jobs_run_seconds", "Time spent in handlers", run, NS),
    HISTOGRAM("stele_jobs_wait_seconds", "Time from due to begun", wait, NS),
    GAUGE("stele_jobs_longest_wait_seconds", "The longest time from due to begun", longest_wait_ms,
          MS, GREATEST),
};
#undef PART

#define PART stele_listen_stats
static const stele__field listener_fields[] = {
    GAUGE("stele_listener_connected", "Listeners whose registration is proven", connected, PLAIN),
    GAUGE("stele_listener_channels", "Channels", channels, PLAIN),
    GAUGE("stele_listener_subscriptions", "Subscriptions", subscriptions, PLAIN),
    COUNTER("stele_listener_connects", "Connections made", connects, PLAIN),
    COUNTER("stele_listener_connect_errors", "Attempts to connect that failed", connect_errors,
            PLAIN),
    COUNTER("stele_listener_losses", "Connections lost or given up", losses, PLAIN),
    COUNTER("stele_listener_probes", "Questions to an idle server", probes, PLAIN),
    COUNTER("stele_listener_probes_failed", "Questions that were not answered", probes_failed,
            PLAIN),
    COUNTER("stele_listener_notifications", "Notifications received", notifications, PLAIN),
    COUNTER("stele_listener_delivered", "Calls of subscribers with a notification", delivered,
            PLAIN),
    COUNTER("stele_listener_rescans", "Calls of subscribers that asked them to look", rescans,
            PLAIN),
    COUNTER("stele_listener_callback_seconds", "Time spent in calls", callback_ns, NS),
    GAUGE("stele_listener_longest_callback_seconds", "The longest call", longest_callback_ns, NS,
          GREATEST),
    HISTOGRAM("stele_listener_probe_seconds", "Time until the server answered", probe, NS),
    HISTOGRAM("stele_listener_outage_seconds", "Time from a loss to the next proven registration",
              outage, NS),
    COUNTER("stele_listener_down_seconds", "Time without a connection", down_ms, MS),
};
#undef PART

#define PART stele_bell_stats
static const stele__field doorbell_fields[] = {
    GAUGE("stele_doorbell_connected", "Doorbells that are connected", connected, PLAIN),
    COUNTER("stele_doorbell_rings", "Rings", rings, PLAIN),
    COUNTER("stele_doorbell_notifies", "Notifications sent", notifies, PLAIN),
    COUNTER("stele_doorbell_failures", "Attempts to connect or to notify that failed", failures,
            PLAIN),
    COUNTER("stele_doorbell_connects", "Connections made", connects, PLAIN),
};
#undef PART

static const struct {
    const stele__field *fields;
    size_t count;
} kinds[STELE__PART_KINDS] = {
#define KIND(kind, fields) [kind] = {fields, sizeof fields / sizeof fields[0]}
    KIND(STELE__PART_POOL, pool_fields),
    KIND(STELE__PART_SWEEPER, sweeper_fields),
    KIND(STELE__PART_SWEPT_TABLE, swept_table_fields),
    KIND(STELE__PART_LANES, lanes_fields),
    KIND(STELE__PART_PERSIST, persist_fields),
    KIND(STELE__PART_JOBS, jobs_fields),
    KIND(STELE__PART_LISTENER, listener_fields),
    KIND(STELE__PART_DOORBELL, doorbell_fields),
};

const stele__field *stele__fields_of(stele__part_kind kind, size_t *ret_count)
{
    *ret_count = kinds[kind].count;
    return kinds[kind].fields;
}

double stele__read_number(const void *stats, uint16_t offset, uint8_t kind)
{
    const char *at = (const char *)stats + offset;
    uint32_t small;
    uint64_t large;
    int64_t with_sign;
    bool truth;
    switch ((stele__number_kind)kind) {
    case STELE__NUMBER_U32:
        memcpy(&small, at, sizeof small);
        return small;
    case STELE__NUMBER_U64:
        memcpy(&large, at, sizeof large);
        return (double)large;
    case STELE__NUMBER_I64:
        memcpy(&with_sign, at, sizeof with_sign);
        return (double)with_sign;
    case STELE__NUMBER_BOOL:
        memcpy(&truth, at, sizeof truth);
        return truth ? 1 : 0;
    case STELE__NUMBER_LATENCY: /* more than one number */
        break;
    }
    return 0;
}

static void add_up(const stele__field *field, char *sum, const char *stats)
{
    uint32_t small[2];
    uint64_t large[2];
    int64_t with_sign[2];
    bool truth[2];
#define ADD(pair)                                                                                  \
    memcpy(&(pair)[0], sum + field->offset, sizeof(pair)[0]);                                      \
    memcpy(&(pair)[1], stats + field->offset, sizeof(pair)[1]);                                    \
    if (!field->greatest)                                                                          \
        (pair)[0] += (pair)[1];                                                                    \
    else if ((pair)[1] > (pair)[0])                                                                \
        (pair)[0] = (pair)[1];                                                                     \
    memcpy(sum + field->offset, &(pair)[0], sizeof(pair)[0])
    switch ((stele__number_kind)field->kind) {
    case STELE__NUMBER_U32:
        ADD(small);
        break;
    case STELE__NUMBER_U64:
        ADD(large);
        break;
    case STELE__NUMBER_I64:
        ADD(with_sign);
        break;
    case STELE__NUMBER_BOOL:
        memcpy(&truth[0], sum + field->offset, sizeof truth[0]);
        memcpy(&truth[1], stats + field->offset, sizeof truth[1]);
        truth[0] = truth[0] || truth[1];
        memcpy(sum + field->offset, &truth[0], sizeof truth[0]);
        break;
    case STELE__NUMBER_LATENCY:
        stele__latency_join((void *)(sum + field->offset), (const void *)(stats + field->offset));
        break;
    }
#undef ADD
}

void stele__sum_up(stele__part_kind kind, void *sum, const void *stats)
{
    for (size_t i = 0; i < kinds[kind].count; i++)
        add_up(&kinds[kind].fields[i], sum, stats);
}
