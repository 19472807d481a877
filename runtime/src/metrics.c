/**
 * The registry: labels, and what was added.
 *
 * Floor: metrics.
 */
#include <string.h>

#include "mem_internal.h"
#include "metrics_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

#define STATEMENTS 256
#define MOST_STATEMENTS 65536u

/* ---- labels ---- */

static bool is_name(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789.";
    return name != NULL && name[0] != '\0' && strchr(letters, name[0]) != NULL &&
           name[strspn(name, others)] == '\0' && strncmp(name, "__", 2) != 0;
}

/* As text has it: with underscores for dots. */
static bool same_name(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++)
        if (*a != *b && !((*a == '.' || *a == '_') && (*b == '.' || *b == '_')))
            return false;
    return *a == *b;
}

/* What samples have themselves, by names of both kinds. */
static bool is_taken(const char *name)
{
    static const char *const own[] = {
        "le",
        "quantile",
        "state",
        "reason",
        "kind",
        "module",
        "table",
        "schema",
        "prefix",
        "outcome",
        "statement",
        "status",
        "db.system.name",
        "db.query.summary",
        "db.collection.name",
        "db.client.connection.state",
        "error.type",
    };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (same_name(name, own[i]))
            return true;
    return false;
}

static stele_status check_label(const stele_label *label, stele_error *err)
{
    if (!is_name(label->name)) {
        stele_status st = stele__fail(err, STELE_E_NAME, "\"%.60s\" is no name of a label",
                                      label->name != NULL ? label->name : "");
        stele__error_hint(err, "letters, digits, underscores and dots, not beginning with a digit "
                               "or two underscores");
        return st;
    }
    if (is_taken(label->name))
        return stele__fail(err, STELE_E_NAME, "label \"%.60s\" is one that samples have themselves",
                           label->name);
    if (label->value == NULL)
        return stele__fail(err, STELE_E_INPUT, "label \"%.60s\" has no value", label->name);
    size_t len = strlen(label->value);
    if (stele__utf8_check(label->value, len) != len)
        return stele__fail(err, STELE_E_INPUT, "the value of label \"%.60s\" is not UTF-8",
                           label->name);
    return STELE_OK;
}

static stele_status check_labels(const stele__label_set *before, const stele_label *labels,
                                 size_t count, stele_error *err)
{
    size_t had = before != NULL ? before->count : 0;
    if (count > 0 && labels == NULL)
        return stele__fail(err, STELE_E_INPUT, "labels is NULL");
    if (had + count > STELE__LABELS - 4)
        return stele__fail(err, STELE_E_INPUT, "%zu labels are too many, at most %d are allowed",
                           had + count, STELE__LABELS - 4);
    for (size_t i = 0; i < count; i++) {
        stele_status st = check_label(&labels[i], err);
        if (st != STELE_OK)
            return st;
        for (size_t j = 0; j < had + i; j++)
            if (same_name(labels[i].name, j < had ? before->labels[j].name : labels[j - had].name))
                return stele__fail(err, STELE_E_NAME, "label \"%.60s\" is there twice",
                                   labels[i].name);
    }
    return STELE_OK;
}

static size_t text_size(const stele_label *label)
{
    return strlen(label->name) + strlen(label->value) + 2;
}

static char *put_label(stele__label_set *set, const stele_label *label, char *text)
{
    size_t name = strlen(label->name) + 1;
    size_t value = strlen(label->value) + 1;
    memcpy(text, label->name, name);
    memcpy(text + name, label->value, value);
    set->labels[set->count++] = (stele_label){text, text + name};
    return text + name + value;
}

stele__label_set *stele__join_labels(const stele__label_set *a, const stele_label *more,
                                     size_t count)
{
    size_t size = sizeof(stele__label_set);
    size_t had = a != NULL ? a->count : 0;
    for (size_t i = 0; i < had; i++)
        size += text_size(&a->labels[i]);
    for (size_t i = 0; i < count; i++)
        size += text_size(&more[i]);
    stele__label_set *set = had + count <= STELE__LABELS ? stele__calloc(1, size) : NULL;
    if (set == NULL)
        return NULL;
    char *text = (char *)(set + 1);
    for (size_t i = 0; i < had; i++)
        text = put_label(set, &a->labels[i], text);
    for (size_t i = 0; i < count; i++)
        text = put_label(set, &more[i], text);
    return set;
}

static bool has_label(const stele__label_set *set, const stele_label *label)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->labels[i].name, label->name) == 0 &&
            strcmp(set->labels[i].value, label->value) == 0)
            return true;
    return false;
}

static bool same_labels(const stele__label_set *a, const stele__label_set *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = has_label(b, &a->labels[i]);
    return same;
}

/* ---- opening ---- */

static stele_status fill_options(const stele_metrics_options *given, stele_metrics_options *ret,
                                 stele_error *err)
{
    static const stele_metrics_options none = STELE_METRICS_OPTIONS_INIT;
    if (given == NULL)
        given = &none;
    if (given->size != sizeof *given) {
        stele_status st = stele__fail(err, STELE_E_INPUT, "options.size is not set");
        stele__error_hint(
            err, "start from: stele_metrics_options options = STELE_METRICS_OPTIONS_INIT;");
        return st;
    }
    if (given->max_statements > MOST_STATEMENTS)
        return stele__fail(err, STELE_E_INPUT, "max_statements is %u, at most %u are allowed",
                           given->max_statements, MOST_STATEMENTS);
    *ret = *given;
    if (ret->max_statements == 0)
        ret->max_statements = STATEMENTS;
    return check_labels(NULL, ret->labels, ret->label_count, err);
}

stele_status stele_metrics_open(const stele_metrics_options *options, stele_metrics **ret_metrics,
                                stele_error *err)
{
    stele_metrics_options chosen;
    if (ret_metrics == NULL)
        return stele__fail(err, STELE_E_INPUT, "ret_metrics is NULL");
    stele_status st = fill_options(options, &chosen, err);
    if (st != STELE_OK)
        return st;
    stele_metrics *metrics = stele__calloc(1, sizeof *metrics);
    if (metrics == NULL || pthread_mutex_init(&metrics->lock, NULL) != 0) {
        stele__free(metrics);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for metrics");
    }
    metrics->options = chosen;
    metrics->capacity = 1;
    while (metrics->capacity < chosen.max_statements)
        metrics->capacity *= 2;
    metrics->statements = stele__calloc(metrics->capacity + 1, sizeof *metrics->statements);
    metrics->labels = stele__join_labels(NULL, chosen.labels, chosen.label_count);
    if (metrics->statements == NULL || metrics->labels == NULL) {
        stele_metrics_close(metrics);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for metrics");
    }
    metrics->options.labels = NULL; /* the caller's */
    *ret_metrics = metrics;
    return STELE_OK;
}

static void free_part(stele__part *part)
{
    stele__free(part->labels);
    stele__free(part);
}

void stele_metrics_close(stele_metrics *metrics)
{
    if (metrics == NULL)
        return;
    while (metrics->parts != NULL) {
        stele__part *part = metrics->parts;
        metrics->parts = part->next;
        free_part(part);
    }
    (void)pthread_mutex_destroy(&metrics->lock);
    stele__free(metrics->statements);
    stele__free(metrics->labels);
    stele__free(metrics);
}

/* ---- parts ---- */

static stele_status insert_locked(stele_metrics *metrics, stele__part *part, stele_error *err)
{
    stele__part **at = &metrics->parts;
    for (; *at != NULL; at = &(*at)->next)
        if ((*at)->kind == part->kind && same_labels((*at)->labels, part->labels)) {
            stele_status st =
                stele__fail(err, STELE_E_INPUT, "there is one of this kind with the same labels");
            stele__error_hint(err, "give it a label that tells them apart");
            return st;
        }
    *at = part;
    return STELE_OK;
}

static stele_status add_part(stele_metrics *metrics, stele__part_kind kind, const void *handle,
                             const stele_label *labels, size_t count, stele_error *err)
{
    if (metrics == NULL || handle == NULL)
        return stele__fail(err, STELE_E_INPUT, "metrics or what is to be measured is NULL");
    stele_status st = check_labels(metrics->labels, labels, count, err);
    if (st != STELE_OK)
        return st;
    stele__part *part = stele__calloc(1, sizeof *part);
    stele__label_set *set = stele__join_labels(metrics->labels, labels, count);
    if (part == NULL || set == NULL) {
        stele__free(part);
        stele__free(set);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for metrics");
    }
    *part = (stele__part){.kind = kind, .handle = handle, .labels = set};
    (void)pthread_mutex_lock(&metrics->lock);
    st = insert_locked(metrics, part, err);
    (void)pthread_mutex_unlock(&metrics->lock);
    if (st != STELE_OK)
        free_part(part);
    return st;
}

#define DEFINE_ADD(part, type, kind)                                                               \
    stele_status stele_metrics_add_##part(stele_metrics *metrics, const type *handle,              \
                                          const stele_label *labels, size_t count,                 \
                                          stele_error *err)                                        \
    {                                                                                              \
        return add_part(metrics, kind, handle, labels, count, err);                                \
    }

DEFINE_ADD(db, stele_db, STELE__PART_POOL)
DEFINE_ADD(sweeper, stele_sweeper, STELE__PART_SWEEPER)
DEFINE_ADD(lanes, stele_lanes, STELE__PART_LANES)
DEFINE_ADD(persist, stele_persist, STELE__PART_PERSIST)
DEFINE_ADD(jobs, stele_jobs, STELE__PART_JOBS)
DEFINE_ADD(listener, stele_listener, STELE__PART_LISTENER)
DEFINE_ADD(doorbell, stele_doorbell, STELE__PART_DOORBELL)

void stele_metrics_remove(stele_metrics *metrics, const void *part)
{
    if (metrics == NULL)
        return;
    (void)pthread_mutex_lock(&metrics->lock);
    stele__part **at = &metrics->parts;
    while (*at != NULL) {
        stele__part *one = *at;
        if (one->handle != part) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        free_part(one);
    }
    (void)pthread_mutex_unlock(&metrics->lock);
}
