/*
 * Connections killed while many write: what was acknowledged is stored, nothing is stored twice,
 * the order of each key holds. Beside it what a client loses that believes "command ok".
 *
 * 5,000 units and 20 kills; 100,000 and 200 with STELE_PERSIST_FULL=1.
 */
#include <libpq-fe.h>
#include <pthread.h>

#include "latency.h"
#include "persist_util.h"

#define PRODUCERS 8
#define MOST_EACH 12500

/* How units are written: by each a table of its own kind of promise. */
typedef enum way {
    SKIP,  /* insert, conflicts skipped: bulk */
    KEEP,  /* a query with ON CONFLICT DO NOTHING: pipeline */
    PLAIN, /* an insert that must not come twice */
    BOTH   /* a unit of two, which must not come twice */
} way;

static stele_persist *persist;
static int each;
static int kills;
static uint64_t acked; /* atomic */

typedef struct producer {
    pthread_t thread;
    int index;
    way way;
    char account[20];
    int8_t fate[MOST_EACH]; /* written by lanes: 1 stored, -1 unknown, -2 anything else */
    stele_error worst;
} producer;

typedef struct promise {
    producer *of;
    int seq;
} promise;

static promise *promises; /* of all, each used once */

static void note_fate(stele_status status, const stele_error *why, const uint64_t *affected,
                      size_t count, void *user)
{
    promise *p = user;
    (void)affected;
    (void)count;
    p->of->fate[p->seq] = status == STELE_OK ? 1 : status == STELE_E_UNKNOWN ? -1 : -2;
    if (status != STELE_OK && status != STELE_E_UNKNOWN)
        p->of->worst = *why;
    (void)__atomic_fetch_add(&acked, 1, __ATOMIC_RELAXED);
}

static stele_status fill(const producer *p, stele_unit *unit, int seq, stele_error *why)
{
    stele_pipeline *pipeline = stele_unit_pipeline(unit);
    if (p->way == KEEP) {
        ledger_keep_entry_params params = {
            .account = stele_text_v(p->account),
            .seq = stele_i64_v(seq),
            .payload = stele_text_v("kept"),
        };
        return ledger_keep_entry_queue(pipeline, &params, NULL, why);
    }
    entries_input input = {.account = stele_text_v(p->account), .seq = stele_i64_v(seq)};
    stele_status st = entries_insert_queue(pipeline, &input, NULL, why);
    if (st != STELE_OK || p->way != BOTH)
        return st;
    ledger_add_params add = {.name = stele_text_v(p->account), .n = stele_i64_v(1)};
    return ledger_add_queue(pipeline, &add, NULL, why);
}

static void *produce(void *arg)
{
    producer *p = arg;
    stele_error why;
    for (int seq = 0; seq < each; seq++) {
        stele_unit *unit = NULL;
        promise *one = &promises[p->index * each + seq];
        stele_put_options how = STELE_PUT_OPTIONS_INIT;
        *one = (promise){p, seq};
        how.idempotent = p->way == KEEP;
        how.skip_conflicts = p->way == SKIP;
        how.on_done = note_fate;
        how.user = one;
        if (stele_unit_open(&unit, &why) != STELE_OK || fill(p, unit, seq, &why) != STELE_OK ||
            stele_persist_put(persist, p->account, strlen(p->account), &unit, &how, NULL, &why) !=
                STELE_OK) {
            p->worst = why;
            stele_unit_free(unit);
            break;
        }
    }
    return NULL;
}

/* Each time as many were settled as the kills are apart: so they are spread over all of the run. */
static void kill_all_along(void)
{
    uint64_t total = (uint64_t)each * PRODUCERS;
    for (int i = 0; i < kills; i++) {
        uint64_t from = total * (uint64_t)i / (uint64_t)kills;
        wait_until(__atomic_load_n(&acked, __ATOMIC_RELAXED) >= from);
        peer("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ="
             " '" PERSISTING "' AND datname = current_database()"
             " ORDER BY state = 'active' DESC, random() LIMIT 1");
    }
}

/* The fate of each unit beside what is there. Returns how many are unknown. */
static int check(const producer *p)
{
    int unknown = 0;
    char sql[200];
    (void)snprintf(
        sql, sizeof sql,
        "SELECT string_agg(seq::text, ',' ORDER BY id) FROM entries WHERE account = '%s'",
        p->account);
    char *list = dbtest_value(dsn, sql);
    int8_t *found = calloc((size_t)each, 1);
    long last = -1;
    assert_non_null(found);
    for (char *at = list; *at != '\0';) {
        long seq = strtol(at, &at, 10);
        assert_true(seq > last); /* once, and in order */
        last = seq;
        found[seq] = 1;
        at += *at == ',';
    }
    for (int i = 0; i < each; i++) {
        if (p->fate[i] == -2 || p->fate[i] == 0)
            fail_with(__FILE__, __LINE__, &p->worst);
        assert_true(p->fate[i] != 1 || found[i] == 1);
        unknown += p->fate[i] == -1;
    }
    free(found);
    free(list);
    return unknown;
}

static void kills_lose_nothing_that_was_acknowledged(void **state)
{
    (void)state;
    static producer producers[PRODUCERS];
    int unknown[4] = {0};
    bool full = getenv("STELE_PERSIST_FULL") != NULL;
    stele_persist_options options = STELE_PERSIST_OPTIONS_INIT;
    each = full ? MOST_EACH : 625;
    kills = full ? 200 : 20;
    options.batch_units = full ? 500 : 50;
    options.max_items = 200;
    promises = calloc((size_t)(each * PRODUCERS), sizeof *promises);
    assert_non_null(promises);
    persist = open_persist(&options);
    for (int i = 0; i < PRODUCERS; i++) {
        producer *p = &producers[i];
        p->index = i;
        p->way = (way)(i % 4);
        (void)snprintf(p->account, sizeof p->account, "account %d", i);
        char sql[100];
        (void)snprintf(sql, sizeof sql, "INSERT INTO accounts (name) VALUES ('%s')", p->account);
        peer(sql);
    }
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    kill_all_along();
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_join(producers[i].thread, NULL), 0);
    assert_ok(stele_persist_flush(persist, NULL, 0, 60000, &err), &err);
    for (int i = 0; i < PRODUCERS; i++)
        unknown[producers[i].way] += check(&producers[i]);
    assert_int_equal(unknown[SKIP], 0); /* what may come twice is never left unknown */
    assert_int_equal(unknown[KEEP], 0);
    /* Both of a unit, or neither. */
    assert_int_equal(number("SELECT count(*) FROM accounts AS a WHERE name IN ('account 3',"
                            " 'account 7') AND total <> (SELECT count(*) FROM entries AS e"
                            " WHERE e.account = a.name)"),
                     0);
    stele_commit_stats stats = numbers_of(persist);
    assert_int_equal(stats.stored + stats.unknown, (uint64_t)each * PRODUCERS);
    assert_int_equal(stats.ack.count, stats.stored);
    (void)slower_than(&stats.ack, 10000); /* they add up */
    assert_true(stats.retries > 0);
    assert_true(stats.bulk > 0);
    assert_true(stats.bulk < stats.batches);
    print_message(
        "# %d kills: %llu transactions, %llu tried again, %llu units stored once more, %llu "
        "unknown\n",
        kills, (unsigned long long)stats.batches, (unsigned long long)stats.retries,
        (unsigned long long)stats.replayed, (unsigned long long)stats.unknown);
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
    free(promises);
}

/*
 * The control: a client that takes "command ok" for an answer. The server is killed before the
 * Sync: all of it was acknowledged, none of it is there.
 */
static void what_is_believed_before_the_sync_is_lost(void **state)
{
    (void)state;
    int believed = 0;
    char sql[100];
    PGconn *pg = PQconnectdb(dsn);
    assert_int_equal(PQstatus(pg), CONNECTION_OK);
    assert_int_equal(PQenterPipelineMode(pg), 1);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(sql, sizeof sql, "INSERT INTO entries (account, seq) VALUES ('naive', %d)",
                       i);
        assert_int_equal(PQsendQueryParams(pg, sql, 0, NULL, NULL, NULL, NULL, 0), 1);
    }
    assert_int_equal(PQsendFlushRequest(pg), 1);
    assert_int_equal(PQflush(pg), 0);
    for (int i = 0; i < 100; i++) {
        PGresult *result = PQgetResult(pg);
        believed += PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
        assert_null(PQgetResult(pg));
    }
    (void)snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%d, 60000)", PQbackendPID(pg));
    peer(sql);
    PQfinish(pg);
    assert_int_equal(believed, 100);
    assert_string_equal(stored("naive"), "");
}

static void what_may_not_come_twice_is_not_tried_twice(void **state)
{
    (void)state;
    stele_put_options harmless = STELE_PUT_OPTIONS_INIT;
    stele_persist_options options = gathering(4);
    harmless.idempotent = true;
    persist = open_persist(&options);
    stele_conn *holder = acquire(db);
    run_sql(holder, "SELECT pg_advisory_lock(7)");
    /* The answer to COMMIT is lost: a trigger at the end of the transaction waits, and dies. */
    peer("CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
         " PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;"
         "CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED"
         " FOR EACH ROW EXECUTE FUNCTION stall()");
    stele_receipt *receipts[4] = {
        put_so(persist, "a", entry("a", 1, NULL), &harmless), /* a later one may not come twice */
        put(persist, "a", entry("a", 2, NULL)),
        put_so(persist, "a", entry("a", 3, NULL), &harmless),
        put_so(persist, "b", entry("b", 1, NULL), &harmless),
    };
    assert_true(someone_waits());
    peer("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE wait_event ="
         " 'advisory' AND datname = current_database()");
    assert_true(someone_waits());
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    for (int i = 0; i < 4; i++) {
        stele_status st = outcome(receipts[i]);
        assert_int_equal(st, i < 2 ? STELE_E_UNKNOWN : STELE_OK);
        assert_int_equal(err.outcome_unknown, i < 2);
    }
    assert_string_equal(stored("a"), "3");
    assert_string_equal(stored("b"), "1");
    stele_commit_stats stats = numbers_of(persist);
    assert_int_equal(stats.unknown, 2);
    assert_int_equal(stats.replayed, 2);
    peer("DROP FUNCTION stall CASCADE");
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
}

/* A refusal of what may be stored already is no answer: it may have met itself. */
static void a_refusal_after_a_loss_says_nothing(void **state)
{
    (void)state;
    stele_put_options harmless = STELE_PUT_OPTIONS_INIT;
    stele_persist_options options = gathering(2);
    harmless.idempotent = true;
    persist = open_persist(&options);
    stele_conn *holder = acquire(db);
    run_sql(holder, "SELECT pg_advisory_lock(7)");
    /* The first time it waits at the end of the transaction; the second time it is refused. */
    peer("CREATE SEQUENCE tries;"
         "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
         " PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;"
         "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
         " IF NEW.seq = 1 AND nextval('tries') > 1 THEN"
         " RAISE EXCEPTION 'it is there' USING ERRCODE = '23505'; END IF; RETURN NEW; END $$;"
         "CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED"
         " FOR EACH ROW EXECUTE FUNCTION stall();"
         "CREATE TRIGGER refuse BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION refuse()");
    stele_receipt *first = put_so(persist, "a", entry("a", 1, NULL), &harmless);
    stele_receipt *second = put_so(persist, "b", entry("b", 2, NULL), &harmless);
    assert_true(someone_waits());
    peer("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE wait_event ="
         " 'advisory' AND datname = current_database()");
    run_sql(holder, "SELECT pg_advisory_unlock(7)");
    stele_conn_release(holder);
    assert_int_equal(outcome(first), STELE_E_UNKNOWN);
    assert_true(err.outcome_unknown);
    assert_non_null(strstr(err.message, "it is there"));
    assert_ok(outcome(second), &err);
    peer("DROP FUNCTION stall CASCADE; DROP FUNCTION refuse CASCADE; DROP SEQUENCE tries");
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
}

/* While the server takes nobody in, units wait; when it does again they are stored, in order. */
static void units_wait_until_the_server_is_back(void **state)
{
    (void)state;
    char sql[400];
    stele_receipt *receipts[20];
    stele_persist_options options = gathering(5);
    char *name = dbtest_value(dsn, "SELECT current_database()");
    persist = open_persist(&options);
    (void)snprintf(
        sql, sizeof sql,
        "ALTER DATABASE \"%s\" ALLOW_CONNECTIONS false;"
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = '%s'",
        name, name);
    dbtest_exec(getenv("STELE_DSN"), sql);
    for (int i = 0; i < 20; i++)
        receipts[i] = put(persist, "a", entry("a", i, NULL));
    wait_until(numbers_of(persist).retries >= 2);
    assert_int_equal(stele_receipt_status(receipts[0]), STELE_AGAIN);
    (void)snprintf(sql, sizeof sql, "ALTER DATABASE \"%s\" ALLOW_CONNECTIONS true", name);
    dbtest_exec(getenv("STELE_DSN"), sql);
    for (int i = 0; i < 20; i++)
        assert_ok(outcome(receipts[i]), &err);
    assert_string_equal(stored("a"), "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19");
    assert_ok(stele_persist_close(persist, 60000, NULL, NULL, &err), &err);
    free(name);
}

int main(void)
{
    dbtest_require_server();
    const struct CMUnitTest tests[] = {
        LEDGER(kills_lose_nothing_that_was_acknowledged),
        LEDGER(what_is_believed_before_the_sync_is_lost),
        LEDGER(what_may_not_come_twice_is_not_tried_twice),
        LEDGER(a_refusal_after_a_loss_says_nothing),
        LEDGER(units_wait_until_the_server_is_back),
    };
    return RUN_LEDGER(tests);
}
