/*
 * Metrics with the nth allocation failing, for all n: they say so, leak nothing, and work when
 * nothing fails. A program of its own, as it sets the allocator.
 */
#include "stele.h"
#include "unit.h"

static size_t live; /* blocks not freed */
static size_t left; /* allocations that still succeed */

static bool may_allocate(void)
{
    if (left == 0)
        return false;
    left--;
    return true;
}

static void *failing_alloc(size_t size)
{
    void *piece = may_allocate() ? malloc(size) : NULL;
    live += piece != NULL;
    return piece;
}

static void *failing_realloc(void *piece, size_t size)
{
    return may_allocate() ? realloc(piece, size) : NULL;
}

static void counting_free(void *piece)
{
    live -= piece != NULL;
    free(piece);
}

static stele_status use_metrics(stele_error *err)
{
    static const int part; /* a place that is never looked at: it is removed before the text */
    const stele_label label = {"service", "tests"};
    stele_query_event event = {.statement = "find", .table = "things", .status = STELE_E_UNIQUE};
    stele_metrics_options options = STELE_METRICS_OPTIONS_INIT;
    stele_metrics *metrics = NULL;
    char *text = NULL;
    options.labels = &label;
    options.label_count = 1;
    options.otel_names = true;
    stele_status st = stele_metrics_open(&options, &metrics, err);
    if (st != STELE_OK)
        return st;
    stele_metrics_on_query(&event, metrics);
    st = stele_metrics_add_db(metrics, (const stele_db *)(const void *)&part, NULL, 0, err);
    stele_metrics_remove(metrics, &part);
    if (st == STELE_OK)
        st = stele_metrics_text(metrics, STELE_METRICS_OPENMETRICS, &text, NULL, err);
    if (st == STELE_OK)
        assert_non_null(strstr(text, "# EOF"));
    stele_free(text);
    stele_metrics_close(metrics);
    return st;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    stele_error err;
    stele_status st = STELE_E_NOMEM;
    size_t n = 0;
    for (; st == STELE_E_NOMEM; n++) {
        left = n;
        stele_error_clear(&err);
        st = use_metrics(&err);
        assert_int_equal(live, 0);
        if (st != STELE_OK)
            assert_int_equal(err.status, STELE_E_NOMEM);
        assert_true(n < 1000);
    }
    assert_int_equal(st, STELE_OK);
    assert_true(n > 5);
}

int main(void)
{
    const stele_allocator allocator = {failing_alloc, failing_realloc, counting_free};
    if (stele_set_allocator(&allocator) != STELE_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
