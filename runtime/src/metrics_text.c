/**
 * The text formats of OpenMetrics and of Prometheus.
 *
 * Floor: metrics.
 */
#include <string.h>

#include "metrics_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

typedef struct writing {
    stele__buf text;
    bool open_metrics;
    bool otel;
    const char *last; /* the name whose head was written last */
    char name[128];   /* as this text has it, without "_total" */
} writing;

/* ---- pieces ---- */

/* A number, whatever the locale says of decimal points. */
static void add_number(stele__buf *text, double value)
{
    if (value < 0) {
        stele__buf_add_char(text, '-');
        value = -value;
    }
    if (value >= 9e9) { /* no room for nine decimals, nor use */
        stele__buf_add_uint(text, value < 1.8e19 ? (uint64_t)value : UINT64_MAX);
        return;
    }
    uint64_t nanos = (uint64_t)(value * 1e9 + 0.5);
    stele__buf_add_uint(text, nanos / 1000000000u);
    nanos %= 1000000000u;
    if (nanos == 0)
        return;
    char digits[10] = "000000000";
    for (int i = 8; i >= 0; i--, nanos /= 10)
        digits[i] = (char)('0' + nanos % 10);
    size_t len = 9;
    while (digits[len - 1] == '0')
        len--;
    stele__buf_add_char(text, '.');
    stele__buf_add(text, digits, len);
}

static void add_escaped(stele__buf *text, const char *s, bool quotes)
{
    for (; *s != '\0'; s++) {
        if (*s == '\n') {
            stele__buf_add_text(text, "\\n");
            continue;
        }
        if (*s == '\\' || (*s == '"' && quotes))
            stele__buf_add_char(text, '\\');
        stele__buf_add_char(text, *s);
    }
}

static void add_underscored(stele__buf *text, const char *name)
{
    for (; *name != '\0'; name++)
        stele__buf_add_char(text, *name == '.' ? '_' : *name);
}

/* Labels in braces; `le` NULL but for buckets. */
static void add_labels(stele__buf *text, const stele_metric *metric, const char *le)
{
    char before = '{';
    for (size_t i = 0; i < metric->label_count; i++, before = ',') {
        stele__buf_add_char(text, before);
        add_underscored(text, metric->labels[i].name);
        stele__buf_add_text(text, "=\"");
        add_escaped(text, metric->labels[i].value, true);
        stele__buf_add_char(text, '"');
    }
    if (le != NULL) {
        stele__buf_add_char(text, before);
        stele__buf_add_text(text, "le=\"");
        stele__buf_add_text(text, le);
        stele__buf_add_char(text, '"');
        before = ',';
    }
    if (before == ',')
        stele__buf_add_char(text, '}');
}

/* ---- names ---- */

static void choose_name(writing *w, const stele_metric *metric)
{
    if (!w->otel || metric->otel_name == NULL) {
        (void)stele__copy_text(w->name, sizeof w->name, metric->name);
        return;
    }
    stele__buf name;
    stele__buf_init(&name);
    add_underscored(&name, metric->otel_name);
    if (metric->unit[0] != '\0') {
        stele__buf_add_char(&name, '_');
        stele__buf_add_text(&name, metric->unit);
    }
    w->text.failed = w->text.failed || name.failed;
    (void)stele__copy_text(w->name, sizeof w->name, stele__buf_text(&name));
    stele__buf_release(&name);
}

/* In Prometheus' own format a counter is called what its sample is called. */
static const char *family_suffix(const writing *w, const stele_metric *metric)
{
    return metric->type == STELE_METRIC_COUNTER && !w->open_metrics ? "_total" : "";
}

static void add_head(writing *w, const stele_metric *metric)
{
    static const char *const types[] = {"counter", "gauge", "summary", "histogram"};
    const char *suffix = family_suffix(w, metric);
    stele__buf_addf(&w->text, "# HELP %s%s ", w->name, suffix);
    add_escaped(&w->text, metric->help, w->open_metrics);
    stele__buf_addf(&w->text, "\n# TYPE %s%s %s\n", w->name, suffix, types[metric->type]);
    if (w->open_metrics && metric->unit[0] != '\0')
        stele__buf_addf(&w->text, "# UNIT %s %s\n", w->name, metric->unit);
}

/* ---- samples ---- */

static void add_sample(writing *w, const stele_metric *metric, const char *suffix, const char *le,
                       double value)
{
    stele__buf_add_text(&w->text, w->name);
    stele__buf_add_text(&w->text, suffix);
    add_labels(&w->text, metric, le);
    stele__buf_add_char(&w->text, ' ');
    add_number(&w->text, value);
    stele__buf_add_char(&w->text, '\n');
}

static void add_buckets(writing *w, const stele_metric *metric)
{
    /* As Go and Python write these numbers, which some parsers insist on. */
    static const char *const bounds[STELE_LATENCY_BUCKETS] = {
        "5e-05", "0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01", "0.02",
        "0.05",  "0.1",    "0.2",    "0.5",    "1.0",   "2.0",   "5.0",   "10.0", "+Inf"};
    uint64_t up_to = 0;
    for (size_t i = 0; i < STELE_LATENCY_BUCKETS; i++) {
        up_to += metric->latency->buckets[i];
        add_sample(w, metric, "_bucket", bounds[i], (double)up_to);
    }
}

static void write_metric(const stele_metric *metric, void *user)
{
    writing *w = user;
    if (w->last == NULL || strcmp(w->last, metric->name) != 0) {
        choose_name(w, metric);
        add_head(w, metric);
        w->last = metric->name;
    }
    switch (metric->type) {
    case STELE_METRIC_COUNTER:
        add_sample(w, metric, "_total", NULL, metric->value);
        return;
    case STELE_METRIC_GAUGE:
        add_sample(w, metric, "", NULL, metric->value);
        return;
    case STELE_METRIC_HISTOGRAM:
        add_buckets(w, metric);
        break;
    case STELE_METRIC_SUMMARY:
        break;
    }
    add_sample(w, metric, "_count", NULL, (double)metric->count);
    add_sample(w, metric, "_sum", NULL, metric->sum);
}

stele_status stele_metrics_text(stele_metrics *metrics, stele_metrics_format format,
                                char **ret_text, size_t *ret_len, stele_error *err)
{
    if (metrics == NULL || ret_text == NULL)
        return stele__fail(err, STELE_E_INPUT, "metrics or ret_text is NULL");
    writing w = {.open_metrics = format == STELE_METRICS_OPENMETRICS,
                 .otel = metrics->options.otel_names};
    stele__buf_init(&w.text);
    stele_status st = stele_metrics_each(metrics, write_metric, &w, err);
    if (st == STELE_OK && w.open_metrics)
        stele__buf_add_text(&w.text, "# EOF\n");
    else if (st == STELE_OK)
        stele__buf_add_text(&w.text, "");
    size_t len = w.text.len;
    char *text = st == STELE_OK ? stele__buf_take(&w.text) : NULL;
    stele__buf_release(&w.text);
    if (st != STELE_OK)
        return st;
    if (text == NULL)
        return stele__fail(err, STELE_E_NOMEM, "out of memory while writing metrics");
    *ret_text = text;
    if (ret_len != NULL)
        *ret_len = len;
    return STELE_OK;
}
