#include <stdlib.h>

#include "sessions_rows.h"

#include "banned.h"

typedef struct list_block {
    stele_session_list list; /* first: callers have its address */
    stele__store_arena arena;
    void *generated;
} list_block;

void stele_session_list_free(stele_session_list *list)
{
    list_block *block = (list_block *)list;
    if (block == NULL)
        return;
    stele__store_arena arena = block->arena;
    stele_gen_free(block->generated);
    stele__store_arena_free(&arena);
}

void stele_session_list_autofree(stele_session_list **list)
{
    stele_session_list_free(*list);
}

/* One session of the list under way. */
typedef struct entry {
    stele_str session_id;
    const stele__row *own;
    stele__gathering gathering;
} entry;

/* All of them. `sorted` finds them by id; rows of one session mostly follow each other. */
typedef struct entries {
    entry *all; /* as the list has them */
    entry **sorted;
    size_t count;
    entry *last;
} entries;

static int by_id(const void *a, const void *b)
{
    return stele__store_compare((*(entry *const *)a)->session_id, (*(entry *const *)b)->session_id);
}

static entry *entry_of(entries *in, stele_str session_id)
{
    if (in->last != NULL && stele_str_eq(in->last->session_id, session_id))
        return in->last;
    entry probe = {.session_id = session_id};
    entry *wanted = &probe;
    entry **found = bsearch(&wanted, in->sorted, in->count, sizeof(entry *), by_id);
    in->last = found != NULL ? *found : NULL;
    return in->last;
}

static stele_status find_entries(stele__store_arena *arena, const stele__rows *rows,
                                 stele_session_item *items, entries *in, stele_error *err)
{
    in->sorted = stele__store_take(arena, (in->count + 1) * sizeof(entry *));
    in->all = stele__store_take_array(arena, in->count + 1, sizeof(entry));
    if (in->sorted == NULL || in->all == NULL)
        return stele__store_no_memory(err);
    size_t n = 0;
    for (size_t i = 0; i < rows->count && n < in->count; i++) {
        if (stele__rows_kind(rows, i) != STELE__ROW_SESSION)
            continue;
        entry *e = &in->all[n];
        e->session_id = stele__rows_session(rows, i);
        e->own = stele__rows_at(rows, i);
        e->gathering.arena = arena;
        e->gathering.session = &items[n].session;
        in->sorted[n++] = e;
    }
    qsort(in->sorted, in->count, sizeof(entry *), by_id);
    return STELE_OK;
}

/* Both passes over the rows: to count, then to gather. */
static void pass(const stele__rows *rows, entries *in, bool gather)
{
    for (size_t i = 0; i < rows->count; i++) {
        stele__row_kind kind = stele__rows_kind(rows, i);
        if (kind <= STELE__ROW_USER_STATE)
            continue;
        entry *e = entry_of(in, stele__rows_session(rows, i));
        if (e == NULL)
            continue;
        if (gather)
            stele__gather_row(&e->gathering, kind, stele__rows_at(rows, i));
        else
            stele__gather_count(&e->gathering, kind);
    }
}

static stele_status keep_message(stele__store_arena *arena, const char *message,
                                 stele_session_item *item, stele_error *err)
{
    item->message = stele__store_copy(arena, stele_s(message)).data;
    return item->message != NULL ? STELE_OK : stele__store_no_memory(err);
}

static stele_status finish_item(const stele__rows *rows, bool tracks, entry *e,
                                const stele_session_key *key, stele_session_item *item,
                                stele_error *err)
{
    stele__wanted_tracks wanted = {NULL, 0, tracks};
    stele_error why;
    stele_session *session = &item->session;
    session->key = *key;
    session->key.session_id = e->session_id;
    session->created_at = e->own->created_at.v;
    session->updated_at = e->own->updated_at.v;
    stele_session empty = *session;
    item->status = stele__gather_finish(&e->gathering, rows, e->own, &wanted, &why);
    if (item->status == STELE_OK)
        return STELE_OK;
    *session = empty;
    if (item->status == STELE_E_NOMEM)
        return stele__store_no_memory(err);
    return keep_message(e->gathering.arena, why.message, item, err);
}

static stele_status fill_list(list_block *block, const stele_session_user *user,
                              const stele__rows *rows, bool tracks, stele_error *err)
{
    entries in = {0};
    stele_session_key key = {.app_name = stele__store_copy(&block->arena, user->app_name),
                             .user_id = stele__store_copy(&block->arena, user->user_id)};
    for (size_t i = 0; i < rows->count; i++)
        in.count += stele__rows_kind(rows, i) == STELE__ROW_SESSION;
    stele_session_item *items = stele__store_take_array(&block->arena, in.count + 1, sizeof *items);
    if (items == NULL || key.app_name.data == NULL || key.user_id.data == NULL)
        return stele__store_no_memory(err);
    stele_status st = find_entries(&block->arena, rows, items, &in, err);
    if (st != STELE_OK)
        return st;
    pass(rows, &in, false);
    for (size_t i = 0; i < in.count && st == STELE_OK; i++)
        st = stele__gather_begin(&in.all[i].gathering, err);
    if (st != STELE_OK)
        return st;
    pass(rows, &in, true);
    for (size_t i = 0; i < in.count && st == STELE_OK; i++)
        st = finish_item(rows, tracks, &in.all[i], &key, &items[i], err);
    block->list.items = items;
    block->list.count = in.count;
    return st;
}

stele_status stele__session_list_of_rows(const stele_session_user *user, stele__rows rows,
                                         bool tracks, stele_session_list **ret_list,
                                         stele_error *err)
{
    stele__store_arena arena = {0};
    list_block *block = stele__store_take(&arena, sizeof *block);
    if (block == NULL) {
        stele_gen_free(rows.generated);
        return stele__store_no_memory(err);
    }
    memset(block, 0, sizeof *block);
    block->arena = arena;
    block->generated = rows.generated;
    stele_status st = fill_list(block, user, &rows, tracks, err);
    if (st != STELE_OK) {
        stele_session_list_free(&block->list);
        return st;
    }
    *ret_list = &block->list;
    return STELE_OK;
}
