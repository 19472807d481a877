/*
 * The life of a row, the same for every table: each function that all tables have is called, and what
 * it gives is checked by the table's own `check`.
 *
 *     LIFE(table, key, input, check)          defines static void life_of_<table>(void **state)
 *     CHANGE(table, key, patch, …, check)     update
 */
#ifndef STELE_TESTS_GENERATED_LIFE_H
#define STELE_TESTS_GENERATED_LIFE_H

#include "util.h"

/* Calls `find` and checks the row. */
#define FINDS(table, find, check)                                                                  \
    do {                                                                                           \
        table##_row *row_ = NULL;                                                                  \
        ok(find);                                                                                  \
        check(row_);                                                                               \
        table##_row_free(row_);                                                                    \
    } while (0)

/* A row that one connection has locked, looked for on another. */
#define LOCKS(table, key, check)                                                                   \
    do {                                                                                           \
        table##_row *none_ = NULL;                                                                 \
        table##_row *held_ = NULL;                                                                 \
        assert_ok(stele_tx_begin(other, NULL, &err), &err);                                        \
        assert_ok(table##_find_for_update(other, key, &held_, &err), &err);                        \
        check(held_);                                                                              \
        table##_row_free(held_);                                                                   \
        fails(STELE_E_LOCKED, table##_find_for_update_nowait(conn, key, &none_, &err));            \
        fails(STELE_E_NOT_FOUND, table##_find_for_update_skip_locked(conn, key, &none_, &err));    \
        assert_null(none_);                                                                        \
        assert_ok(stele_tx_rollback(other, &err), &err);                                           \
        FINDS(table, table##_find_for_update(conn, key, &row_, &err), check);                      \
        FINDS(table, table##_find_for_update_nowait(conn, key, &row_, &err), check);               \
        FINDS(table, table##_find_for_update_skip_locked(conn, key, &row_, &err), check);          \
    } while (0)

#define COUNTS(table, filter, count)                                                               \
    do {                                                                                           \
        int64_t count_ = -1;                                                                       \
        bool exists_ = (count) == 0;                                                               \
        ok(table##_count(conn, filter, &count_, &err));                                            \
        assert_int_equal(count_, (count));                                                         \
        ok(table##_exists(conn, filter, &exists_, &err));                                          \
        assert_int_equal(exists_, (count) > 0);                                                    \
    } while (0)

/* insert, all finds by key, locks, dup, count, exists. Other rows may be there: `base` of them. */
#define LIVES(table, key, input, base, check)                                                      \
    do {                                                                                           \
        table##_row *made_ = NULL;                                                                 \
        table##_row *copy_ = NULL;                                                                 \
        COUNTS(table, NULL, base);                                                                 \
        ok(table##_insert(conn, input, &made_, &err));                                             \
        check(made_);                                                                              \
        ok_here(table##_row_dup(made_, &copy_, &err));                                             \
        table##_row_free(made_);                                                                   \
        check(copy_);                                                                              \
        table##_row_free(copy_);                                                                   \
        FINDS(table, table##_find(conn, key, &row_, &err), check);                                 \
        LOCKS(table, key, check);                                                                  \
        COUNTS(table, NULL, (base) + 1);                                                           \
    } while (0)

/* A call that needs no server. */
#define ok_here(call) answers(STELE_OK, 0, call)

/* A patch changes the row, with and without handing it back. */
#define CHANGES(table, key, patch, check)                                                          \
    do {                                                                                           \
        table##_row *changed_ = NULL;                                                              \
        ok(table##_update(conn, key, patch, &changed_, &err));                                     \
        check(changed_);                                                                           \
        table##_row_free(changed_);                                                                \
        ok(table##_update(conn, key, patch, NULL, &err));                                          \
        FINDS(table, table##_find(conn, key, &row_, &err), check);                                 \
    } while (0)

/* Where delete removes the row; `again` inserts it once more. */
#define DIES(table, key, again)                                                                    \
    do {                                                                                           \
        table##_row *gone_ = NULL;                                                                 \
        ok(table##_delete(conn, key, &err));                                                       \
        fails(STELE_E_NOT_FOUND, table##_find(conn, key, &gone_, &err));                           \
        fails(STELE_E_NOT_FOUND, table##_delete(conn, key, &err));                                 \
        fails(STELE_E_NOT_FOUND, table##_hard_delete(conn, key, &err));                            \
        ok(again);                                                                                 \
        ok(table##_hard_delete(conn, key, &err));                                                  \
        fails(STELE_E_NOT_FOUND, table##_find(conn, key, &gone_, &err));                           \
    } while (0)

/* Where delete leaves a tombstone. */
#define FADES(table, key, check)                                                                   \
    do {                                                                                           \
        table##_row *gone_ = NULL;                                                                 \
        uint64_t purged_ = 99;                                                                     \
        fails(STELE_E_NOT_FOUND, table##_restore(conn, key, &err));                                \
        ok(table##_delete(conn, key, &err));                                                       \
        fails(STELE_E_NOT_FOUND, table##_find(conn, key, &gone_, &err));                           \
        fails(STELE_E_NOT_FOUND, table##_find_for_update(conn, key, &gone_, &err));                \
        fails(STELE_E_NOT_FOUND, table##_delete(conn, key, &err));                                 \
        ok(table##_restore(conn, key, &err));                                                      \
        FINDS(table, table##_find(conn, key, &row_, &err), check);                                 \
        ok(table##_delete(conn, key, &err));                                                       \
        ok(table##_hard_delete(conn, key, &err));                                                  \
        fails(STELE_E_NOT_FOUND, table##_restore(conn, key, &err));                                \
        ok(table##_purge(conn, STELE_TS_INFINITY, 10, &purged_, &err));                            \
        assert_int_equal(purged_, 0);                                                              \
    } while (0)

/* `list` (on page_) gives `count` rows in pages of two; a token continues after the first page. */
#define PAGES(table, list, resume, rows_wanted)                                                    \
    do {                                                                                           \
        char token_[STELE_PAGE_TOKEN_SIZE];                                                        \
        size_t wanted_ = (rows_wanted);                                                            \
        table##_page *page_ = NULL;                                                                \
        size_t seen_ = 0;                                                                          \
        while (wanted_ > seen_) {                                                                  \
            size_t left_ = wanted_ - seen_;                                                        \
            ok(list);                                                                              \
            assert_int_equal(page_->count, left_ < 2 ? left_ : 2);                                 \
            assert_int_equal(page_->more, left_ > 2);                                              \
            seen_ += page_->count;                                                                 \
            ok_here(table##_page_token(page_, token_, sizeof token_, &err));                       \
            table##_page_free(page_);                                                              \
            page_ = NULL;                                                                          \
            ok_here(resume(stele_s(token_), &page_, &err));                                        \
        }                                                                                          \
        answers(STELE_DONE, 1, list);                                                              \
        assert_null(page_);                                                                        \
    } while (0)

#endif
