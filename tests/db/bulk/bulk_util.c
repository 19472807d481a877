#include "bulk_util.h"

notes noted;
stele_bulk_report report;

int setup_heaps(void **state)
{
    const stele_module *modules[] = {&shop_shop_module, &heaps_heaps_module};
    return setup_modules(state, modules, 2);
}

int clean_heaps(void **state)
{
    memset(&noted, 0, sizeof noted);
    memset(&report, 0, sizeof report);
    return clean_tables(state);
}

static void note_progress(size_t done, size_t total, void *user)
{
    notes *n = user;
    n->fell = n->fell || done < n->last_done || done > total;
    n->last_done = done;
    n->progress_count++;
}

static void note_bad_row(size_t index, const stele_error *why, void *user)
{
    notes *n = user;
    if (n->bad_count < NOTES_MAX) {
        n->bad[n->bad_count] = index;
        n->why[n->bad_count] = *why;
    }
    n->bad_count++;
}

stele_bulk_options noting(stele_bulk_mode mode)
{
    stele_bulk_options options = STELE_BULK_OPTIONS_INIT;
    memset(&noted, 0, sizeof noted);
    options.mode = mode;
    options.on_progress = note_progress;
    options.on_bad_row = note_bad_row;
    options.user = &noted;
    return options;
}

const stele_error *note_of(size_t row)
{
    for (size_t i = 0; i < noted.bad_count && i < NOTES_MAX; i++)
        if (noted.bad[i] == row)
            return &noted.why[i];
    print_error("row %zu was not reported\n", row);
    fail();
    return NULL;
}
