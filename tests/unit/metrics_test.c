/*
 * The registry of metrics without a server: labels, histograms, statements from many threads, and
 * what the text says of names, numbers and strange characters.
 */
#include <locale.h>
#include <pthread.h>

#include "stele.h"
#include "unit.h"

static stele_error err;

static stele_metrics *open_metrics(const stele_metrics_options *options)
{
    stele_metrics *metrics = NULL;
    assert_int_equal(stele_metrics_open(options, &metrics, &err), STELE_OK);
    return metrics;
}

static stele_query_event event_of(const char *statement, uint64_t ns, stele_status status)
{
    return (stele_query_event){.statement = statement,
                               .table = "things",
                               .duration_ns = ns,
                               .rows = 2,
                               .round_trips = 1,
                               .status = status};
}

static char *text_of(stele_metrics *metrics, stele_metrics_format format)
{
    char *text = NULL;
    size_t len = 0;
    assert_int_equal(stele_metrics_text(metrics, format, &text, &len, &err), STELE_OK);
    assert_int_equal(strlen(text), len);
    return text;
}

static void assert_has(const char *text, const char *line)
{
    if (strstr(text, line) == NULL)
        fail_msg("no line \"%s\" in\n%s", line, text);
}

/* ---- histograms ---- */

static void bounds_rise_and_hold_what_they_say(void **state)
{
    (void)state;
    stele_snapshot found;
    stele_metrics *metrics = open_metrics(NULL);
    assert_int_equal(stele_latency_bound(0), 50000);
    assert_true(stele_latency_bound(STELE_LATENCY_BUCKETS - 1) == UINT64_MAX);
    for (size_t i = 0; i + 1 < STELE_LATENCY_BUCKETS; i++) {
        assert_true(stele_latency_bound(i) < stele_latency_bound(i + 1));
        for (uint64_t more = 0; more < 2; more++) { /* the bound itself, and one more */
            stele_query_event event = event_of("s", stele_latency_bound(i) + more, STELE_OK);
            stele_metrics_on_query(&event, metrics);
        }
    }
    stele_metrics_snapshot(metrics, &found);
    assert_int_equal(found.statement.count, 2 * (STELE_LATENCY_BUCKETS - 1));
    assert_int_equal(found.statement.buckets[0], 1);
    for (size_t i = 1; i + 1 < STELE_LATENCY_BUCKETS; i++)
        assert_int_equal(found.statement.buckets[i], 2);
    assert_int_equal(found.statement.buckets[STELE_LATENCY_BUCKETS - 1], 1);
    stele_metrics_close(metrics);
}

/* ---- statements ---- */

enum { THREADS = 8, EVENTS = 20000, NAMES = 40 };

static char names[THREADS][NAMES][16]; /* the same texts at different addresses */

static void *count_events(void *user)
{
    static int next;
    int self = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % THREADS;
    for (int i = 0; i < EVENTS; i++) {
        stele_status st = i % 100 == 0 ? STELE_E_UNIQUE : STELE_OK;
        stele_query_event event = event_of(names[self][i % NAMES], 1000, st);
        event.batch = i % 10 == 0 ? 4 : 0;
        stele_metrics_on_query(&event, user);
    }
    return NULL;
}

static void count_from_threads(stele_metrics *metrics)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < NAMES; j++)
            (void)snprintf(names[i][j], sizeof names[i][j], "statement_%02d", j);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_events, metrics), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

typedef struct tally {
    int series;
    uint64_t count;
    double errors;
    double rows;
    bool other;
} tally;

static void add_up(const stele_metric *metric, void *user)
{
    tally *t = user;
    if (strcmp(metric->name, "stele_statement_duration_seconds") == 0) {
        t->series++;
        t->count += metric->count;
        for (size_t i = 0; i < metric->label_count; i++)
            t->other = t->other || strcmp(metric->labels[i].value, "other") == 0;
    }
    if (strcmp(metric->name, "stele_statement_errors") == 0)
        t->errors += metric->value;
    if (strcmp(metric->name, "stele_statement_rows") == 0)
        t->rows += metric->value;
}

static void nothing_is_lost_among_threads(void **state)
{
    (void)state;
    tally t = {0};
    stele_snapshot found;
    stele_metrics *metrics = open_metrics(NULL);
    count_from_threads(metrics);
    assert_int_equal(stele_metrics_each(metrics, add_up, &t, &err), STELE_OK);
    assert_int_equal(t.series, NAMES); /* each text once */
    assert_int_equal(t.count, THREADS * EVENTS);
    assert_true(t.errors == THREADS * EVENTS / 100);
    assert_true(t.rows == 2 * THREADS * EVENTS);
    assert_false(t.other);
    stele_metrics_snapshot(metrics, &found);
    assert_int_equal(found.statement.count, THREADS * EVENTS);
    assert_int_equal(found.statement_errors, THREADS * EVENTS / 100);
    assert_int_equal(found.pipelined.count, THREADS * EVENTS / 10);
    assert_int_equal(found.batches, THREADS * EVENTS / 10);
    assert_int_equal(found.round_trips, THREADS * EVENTS);
    stele_metrics_close(metrics);
}

static void too_many_statements_are_counted_together(void **state)
{
    (void)state;
    tally t = {0};
    stele_metrics_options options = STELE_METRICS_OPTIONS_INIT;
    options.max_statements = 8;
    stele_metrics *metrics = open_metrics(&options);
    count_from_threads(metrics);
    assert_int_equal(stele_metrics_each(metrics, add_up, &t, &err), STELE_OK);
    assert_true(t.series <= 9);
    assert_true(t.other);
    assert_int_equal(t.count, THREADS * EVENTS);
    stele_metrics_close(metrics);
}

/* ---- labels ---- */

static stele_status open_with(const char *name, const char *value)
{
    const stele_label label = {name, value};
    stele_metrics_options options = STELE_METRICS_OPTIONS_INIT;
    stele_metrics *metrics = NULL;
    options.labels = &label;
    options.label_count = 1;
    stele_status st = stele_metrics_open(&options, &metrics, &err);
    stele_metrics_close(metrics);
    return st;
}

static void labels_are_checked(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "9x",
                                        "a-b",
                                        "a b",
                                        "__x",
                                        "le",
                                        "quantile",
                                        "state",
                                        "statement",
                                        NULL,
                                        "db.system.name",
                                        "db_query_summary",
                                        "error.type"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(open_with(wrong[i], "x"), STELE_E_NAME);
    assert_int_equal(open_with("service", NULL), STELE_E_INPUT);
    assert_int_equal(open_with("service", "\xff"), STELE_E_INPUT);
    assert_int_equal(open_with("service.name", ""), STELE_OK);
    const stele_label twice[] = {{"a.b", "1"}, {"a_b", "2"}};
    stele_metrics_options options = STELE_METRICS_OPTIONS_INIT;
    stele_metrics *metrics = NULL;
    options.labels = twice;
    options.label_count = 2;
    assert_int_equal(stele_metrics_open(&options, &metrics, &err), STELE_E_NAME);
    options.label_count = 13;
    assert_int_equal(stele_metrics_open(&options, &metrics, &err), STELE_E_INPUT);
    options = (stele_metrics_options){0};
    assert_int_equal(stele_metrics_open(&options, &metrics, &err), STELE_E_INPUT);
    assert_null(metrics);
    stele_metrics_close(NULL);
    stele_metrics_remove(NULL, NULL);
}

/* ---- text ---- */

static void strange_characters_are_escaped(void **state)
{
    (void)state;
    const stele_label label = {"place", "a\\b\"c\nd\xc3\xa9"};
    stele_metrics_options options = STELE_METRICS_OPTIONS_INIT;
    options.labels = &label;
    options.label_count = 1;
    stele_metrics *metrics = open_metrics(&options);
    stele_query_event event = event_of("find", 1500000000, STELE_E_UNIQUE);
    stele_metrics_on_query(&event, metrics);
    char *text = text_of(metrics, STELE_METRICS_OPENMETRICS);
    assert_has(text,
               "stele_statement_rows_total{place=\"a\\\\b\\\"c\\nd\xc3\xa9\",statement=\"find\","
               "table=\"things\"} 2\n");
    assert_has(text, "status=\"STELE_E_UNIQUE\"} 1\n");
    stele_free(text);
    stele_metrics_close(metrics);
}

static void both_formats_are_what_they_should_be(void **state)
{
    (void)state;
    stele_metrics *metrics = open_metrics(NULL);
    char *text = text_of(metrics, STELE_METRICS_OPENMETRICS);
    assert_string_equal(text, "# EOF\n");
    stele_free(text);
    text = text_of(metrics, STELE_METRICS_PROMETHEUS);
    assert_string_equal(text, "");
    stele_free(text);
    stele_query_event event = event_of("find", 1500000001, STELE_OK);
    stele_metrics_on_query(&event, metrics);
    text = text_of(metrics, STELE_METRICS_OPENMETRICS);
    assert_has(text, "# TYPE stele_statement_rows counter\n");
    assert_has(text, "# UNIT stele_statement_duration_seconds seconds\n");
    assert_has(text, "le=\"1.0\"} 0\n");
    assert_has(text, "le=\"2.0\"} 1\n");
    assert_has(text, "le=\"+Inf\"} 1\n");
    assert_has(text, "stele_statement_duration_seconds_sum{statement=\"find\",table=\"things\"} "
                     "1.500000001\n");
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    stele_free(text);
    text = text_of(metrics, STELE_METRICS_PROMETHEUS);
    assert_has(text, "# TYPE stele_statement_rows_total counter\n");
    assert_null(strstr(text, "# UNIT"));
    assert_null(strstr(text, "# EOF"));
    stele_free(text);
    stele_metrics_close(metrics);
}

static void a_comma_stays_a_point(void **state)
{
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"};
    for (size_t i = 0; i < sizeof commas / sizeof commas[0]; i++)
        (void)setlocale(LC_ALL, commas[i]); /* where there is none, the next test is as before */
    both_formats_are_what_they_should_be(state);
    (void)setlocale(LC_ALL, "C");
}

static void otel_names_are_used_where_there_are_any(void **state)
{
    (void)state;
    stele_metrics_options options = STELE_METRICS_OPTIONS_INIT;
    options.otel_names = true;
    stele_metrics *metrics = open_metrics(&options);
    stele_query_event event = event_of("find", 1000, STELE_E_UNIQUE);
    stele_metrics_on_query(&event, metrics);
    char *text = text_of(metrics, STELE_METRICS_OPENMETRICS);
    assert_has(text, "# TYPE db_client_operation_duration_seconds histogram\n");
    assert_has(text, "db_client_operation_duration_seconds_count{db_system_name=\"postgresql\","
                     "db_query_summary=\"find\",db_collection_name=\"things\"} 1\n");
    assert_has(text, "error_type=\"STELE_E_UNIQUE\"} 1\n");
    assert_null(strstr(text, "stele_statement_duration"));
    stele_free(text);
    stele_metrics_close(metrics);
}

/* ---- names ---- */

typedef struct described {
    char names[400][80];
    int count;
} described;

static void check_name(const stele_metric *metric, void *user)
{
    described *d = user;
    const char *name = metric->name;
    assert_int_equal(strncmp(name, "stele_", 6), 0);
    assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
    assert_true(strlen(metric->help) > 3);
    assert_true(metric->help[strlen(metric->help) - 1] != '.');
    if (metric->unit[0] != '\0') { /* OpenMetrics: the name ends with the unit */
        size_t at = strlen(name) - strlen(metric->unit);
        assert_string_equal(name + at, metric->unit);
        assert_int_equal(name[at - 1], '_');
    }
    /* Endings that formats keep for themselves. */
    static const char *const reserved[] = {"_total",  "_count",   "_sum",
                                           "_bucket", "_created", "_info"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strlen(name) > strlen(reserved[i]))
            assert_string_not_equal(name + strlen(name) - strlen(reserved[i]), reserved[i]);
    for (int i = 0; i < d->count; i++)
        assert_string_not_equal(d->names[i], name);
    (void)snprintf(d->names[d->count++], sizeof d->names[0], "%s", name);
    assert_true(d->count < 400);
}

static void names_follow_the_rules(void **state)
{
    (void)state;
    static described d;
    stele_metrics_describe(check_name, &d);
    assert_true(d.count > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_rise_and_hold_what_they_say),
        cmocka_unit_test(nothing_is_lost_among_threads),
        cmocka_unit_test(too_many_statements_are_counted_together),
        cmocka_unit_test(labels_are_checked),
        cmocka_unit_test(strange_characters_are_escaped),
        cmocka_unit_test(both_formats_are_what_they_should_be),
        cmocka_unit_test(a_comma_stays_a_point),
        cmocka_unit_test(otel_names_are_used_where_there_are_any),
        cmocka_unit_test(names_follow_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
