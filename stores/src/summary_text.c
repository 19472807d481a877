#define _GNU_SOURCE
#include <time.h>

#include "summary.h"

#include "banned.h"

void *stele__summary_calloc(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *memory = stele_alloc(total);
    if (memory != NULL)
        memset(memory, 0, total);
    return memory;
}

int64_t stele__summary_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint32_t stele_summary_time_left_ms(const stele_summary_view *view)
{
    const struct stele_summary_run *run = view->run;
    if (run == NULL)
        return UINT32_MAX;
    if (run->alive != NULL && !run->alive(run->user))
        return 0;
    if (run->deadline_ns == 0)
        return UINT32_MAX;
    int64_t left = run->deadline_ns - stele__summary_now_ns();
    if (left <= 0)
        return 0;
    left = (left + 999999) / 1000000;
    return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX - 1;
}

/* ---- text ---- */

void stele_summary_add(stele_summary_text *text, const char *data, size_t len)
{
    stele__store_add(&text->text, data, len);
}

void stele__summary_text_add(stele_summary_text *text, const char *s)
{
    stele__store_adds(&text->text, s);
}

stele_str stele_summary_written(const stele_summary_text *text)
{
    return text->text.len > 0 ? (stele_str){text->text.data, text->text.len} : stele_s("");
}

void stele__summary_text_release(stele_summary_text *text)
{
    stele__store_text_free(&text->text);
    memset(text, 0, sizeof *text);
}

stele_summary_text *stele_summary_text_new(void)
{
    return stele__summary_calloc(1, sizeof(stele_summary_text));
}

bool stele_summary_text_failed(const stele_summary_text *text)
{
    return text->text.failed;
}

void stele_summary_text_free(stele_summary_text *text)
{
    if (text == NULL)
        return;
    stele__summary_text_release(text);
    stele_free(text);
}

/* ---- transcript ---- */

static void add_lines(stele_summary_text *text, const char *head, stele_str lines)
{
    if (lines.len == 0)
        return;
    stele__summary_text_add(text, head);
    stele_summary_add(text, lines.data, lines.len);
    stele__summary_text_add(text, "\n");
}

void stele_summary_add_transcript(stele_summary_text *text, const stele_summary_view *view)
{
    bool first = true;
    if (view->previous.len > 0) {
        add_lines(text, "Summary so far: ", view->previous);
        first = false;
    }
    for (size_t i = 0; i < view->event_count; i++) {
        const stele_summary_event *event = &view->events[i];
        if (event->text.len == 0 && event->calls.len == 0)
            continue;
        if (!first)
            stele__summary_text_add(text, "\n");
        first = false;
        stele_str who = event->author.len > 0 ? event->author : event->role;
        stele_summary_add(text, who.data, who.len);
        add_lines(text, ": ", event->text);
        add_lines(text, event->text.len > 0 ? "calls " : ": calls ", event->calls);
    }
}
