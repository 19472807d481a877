/*
 * Pages: every row once however the table changes meanwhile, ends, errors that lose no place, tokens.
 */
#include "things.h"

typedef struct entry_row {
    stele_ts at;
    stele_opt_i32 rank;
    stele_str price; /* numeric */
    stele_str name;
    int64_t id;
} entry_row;

/* args: 0 resume (an entry_row), 1 limit */
static const stele_gen_column entry_columns[] = {
    {"at", STELE_GEN_TIMESTAMP, false, offsetof(entry_row, at), NULL},
    {"rank", STELE_GEN_INT4, true, offsetof(entry_row, rank), NULL},
    {"price", STELE_GEN_NUMERIC, false, offsetof(entry_row, price), NULL},
    {"name", STELE_GEN_TEXT, false, offsetof(entry_row, name), NULL},
    {"id", STELE_GEN_INT8, false, offsetof(entry_row, id), NULL},
};

static const stele_gen_param entry_params[] = {
    {"at", STELE_GEN_TIMESTAMP, STELE_GEN_PLAIN, true, 0, offsetof(entry_row, at), 0, NULL},
    {"rank", STELE_GEN_INT4, STELE_GEN_OPT, true, 0, offsetof(entry_row, rank), 0, NULL},
    {"price", STELE_GEN_NUMERIC, STELE_GEN_PLAIN, true, 0, offsetof(entry_row, price), 0, NULL},
    {"name", STELE_GEN_TEXT, STELE_GEN_PLAIN, true, 0, offsetof(entry_row, name), 0, NULL},
    {"id", STELE_GEN_INT8, STELE_GEN_PLAIN, true, 0, offsetof(entry_row, id), 0, NULL},
    {"limit", STELE_GEN_INT8, STELE_GEN_PLAIN, true, 1, 0, 0, NULL},
};

static const stele_gen_part entry_parts[] = {
    STELE_SQL("SELECT t.at, t.rank, t.price, t.name, t.id FROM "),
    STELE_TABLE("entries"),
    STELE_SQL(" AS t"),
    STELE_IF_FLAG(STELE_FLAG_RESUME),
    STELE_SQL(" WHERE (t.at, coalesce(t.rank, 0), t.price, t.name, t.id) > ("),
    STELE_PARAM(0),
    STELE_SQL(", coalesce("),
    STELE_PARAM(1),
    STELE_SQL(", 0), "),
    STELE_PARAM(2),
    STELE_SQL(", "),
    STELE_PARAM(3),
    STELE_SQL(", "),
    STELE_PARAM(4),
    STELE_SQL(")"),
    STELE_END,
    STELE_SQL(" ORDER BY t.at, coalesce(t.rank, 0), t.price, t.name, t.id LIMIT "),
    STELE_PARAM(5),
};

#define ENTRY_STMT(stmt_name)                                                                      \
    {                                                                                              \
        .module = &things_module, .name = stmt_name, .table = "entries", .parts = entry_parts,     \
        .part_count = STELE_COUNT(entry_parts), .params = entry_params,                            \
        .param_count = STELE_COUNT(entry_params), .columns = entry_columns,                        \
        .column_count = STELE_COUNT(entry_columns), .row_size = sizeof(entry_row),                 \
        .shape_from = STELE_COUNT(entry_params), .properties = STELE_STMT_READ                     \
    }

static const stele_gen_stmt entry_stmt = ENTRY_STMT("entries_list");
static const stele_gen_stmt other_stmt = ENTRY_STMT("entries_other");
#define LIST(stmt_)                                                                                \
    {                                                                                              \
        .stmt = &stmt_, .resume_arg = 0, .limit_arg = 1, .resume_from = 0, .resume_to = 5          \
    }
static const stele_gen_list entries = LIST(entry_stmt);
static const stele_gen_list others = LIST(other_stmt);

static stele_db *db;
static stele_conn *conn;
static stele_error err;

enum { ROWS = 100 };

static int open_one(void **state)
{
    (void)state;
    dbtest_exec(dsn,
                "DROP TABLE IF EXISTS entries; CREATE TABLE entries (at timestamp, rank int, "
                "price numeric, name text, id bigint PRIMARY KEY);"
                "INSERT INTO entries SELECT '2026-01-01'::timestamp + (i / 7) * interval '1 s', "
                "nullif(i % 3, 0), i / 3 + 0.50, 'n' || i % 2, i FROM generate_series(1, 100) i");
    db = open_db("page", 2);
    conn = acquire(db);
    return 0;
}

static int close_one(void **state)
{
    (void)state;
    stele_conn_release(conn);
    stele_db_close(db);
    return 0;
}

static stele_status next(uint32_t limit, stele_page **page)
{
    const void *args[2] = {NULL, NULL};
    return stele_gen_page(conn, &entries, args, 0, limit, page, &err);
}

static const entry_row *row_of(const stele_page *page, size_t i)
{
    return (const entry_row *)page->rows + i;
}

static void every_row_once_while_others_write(void **state)
{
    (void)state;
    for (uint32_t limit = 1; limit <= 101; limit += 20) {
        bool seen[ROWS + 1] = {false};
        stele_page *page = NULL;
        stele_status st;
        int extra = 1000 * (int)limit;
        size_t count = 0;
        while ((st = next(limit, &page)) == STELE_OK) {
            assert_true(page->count <= limit && page->count > 0);
            for (size_t i = 0; i < page->count; i++) {
                int64_t id = row_of(page, i)->id;
                if (id > ROWS)
                    continue;
                assert_false(seen[id]);
                seen[id] = true;
                count++;
            }
            /* Rows come before and after the place, and one goes; not for ever, or it never ends. */
            if (extra >= 1000 * (int)limit + 60)
                continue;
            char sql[256];
            extra += 2;
            snprintf(sql, sizeof sql,
                     "INSERT INTO entries VALUES ('2025-01-01', 1, 1, 'x', %d), "
                     "('2026-01-01 00:00:07', 1, 1, 'x', %d); DELETE FROM entries WHERE id = %d",
                     extra, extra + 1, extra);
            dbtest_exec(dsn, sql);
        }
        assert_int_equal(st, STELE_DONE);
        assert_null(page);
        assert_int_equal(count, ROWS);
        dbtest_exec(dsn, "DELETE FROM entries WHERE id > 100");
    }
}

/* Control: pages by OFFSET see rows twice under the same writes. */
static void offsets_do_not(void **state)
{
    (void)state;
    int seen[ROWS + 1] = {0};
    int twice = 0;
    for (int at = 0; at < ROWS; at += 10) {
        for (int i = 0; i < 10; i++) {
            char sql[160];
            snprintf(sql, sizeof sql, "SELECT id FROM entries ORDER BY at, id OFFSET %d LIMIT 1",
                     at + i);
            long id = strtol(ask(conn, sql), NULL, 10);
            if (id <= ROWS)
                twice += ++seen[id] > 1;
        }
        char sql[96];
        snprintf(sql, sizeof sql, "INSERT INTO entries VALUES ('2025-01-01', 1, 1, 'x', %d)",
                 1000 + at);
        dbtest_exec(dsn, sql);
    }
    assert_true(twice > 0);
}

static void more_and_the_end(void **state)
{
    (void)state;
    stele_page *page = NULL;
    uint64_t before = stele_conn_round_trips(conn);
    assert_ok(next(100, &page), &err);
    assert_int_equal(page->count, 100);
    assert_false(page->more);
    assert_int_equal(waits_since(conn, &before), 1);
    assert_int_equal(next(100, &page), STELE_DONE); /* known without asking */
    assert_null(page);
    assert_int_equal(waits_since(conn, &before), 0);
    assert_ok(next(99, &page), &err);
    assert_true(page->more);
    assert_ok(next(99, &page), &err);
    assert_int_equal(page->count, 1);
    assert_false(page->more);
    stele_page_free(page);
    page = NULL;
    dbtest_exec(dsn, "TRUNCATE entries");
    assert_int_equal(next(10, &page), STELE_DONE);
    assert_null(page);
    assert_int_equal(next(0, &page), STELE_E_INPUT);
    assert_ok(next(UINT32_MAX, &page) == STELE_DONE ? STELE_OK : STELE_E_INPUT, &err);
}

static void an_error_keeps_the_place(void **state)
{
    (void)state;
    stele_page *page = NULL;
    assert_ok(next(10, &page), &err);
    const stele_page *first = page;
    int64_t id = row_of(page, 9)->id;
    dbtest_exec(dsn, "ALTER TABLE entries RENAME TO hidden");
    assert_int_equal(next(10, &page), STELE_E_SCHEMA);
    assert_ptr_equal(page, first);
    assert_int_equal(row_of(page, 9)->id, id);
    assert_int_equal(next(0, &page), STELE_E_INPUT);
    dbtest_exec(dsn, "ALTER TABLE hidden RENAME TO entries");
    /* A row that cannot be read: NULL where none is promised. */
    dbtest_exec(dsn, "UPDATE entries SET name = NULL WHERE id = 15");
    stele_status st = next(90, &page);
    assert_true(st == STELE_E_NULL);
    assert_ptr_equal(page, first);
    dbtest_exec(dsn, "UPDATE entries SET name = 'n1' WHERE id = 15");
    assert_ok(next(10, &page), &err);
    assert_int_equal(page->count, 10);
    const void *args[2] = {NULL, NULL};
    assert_int_equal(stele_gen_page(conn, &others, args, 0, 10, &page, &err), STELE_E_MISUSE);
    stele_page_free(page);
}

static void tokens_continue_where_they_were_taken(void **state)
{
    (void)state;
    char token[STELE_PAGE_TOKEN_SIZE];
    char again[STELE_PAGE_TOKEN_SIZE];
    int seen = 0;
    stele_page *page = NULL;
    assert_ok(next(7, &page), &err);
    for (;;) {
        seen += (int)page->count;
        bool more = page->more;
        assert_ok(stele_page_token(page, token, sizeof token, &err), &err);
        assert_int_equal(strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789-_"),
                         strlen(token));
        stele_page_free(page);
        page = NULL;
        assert_ok(stele_gen_page_resume(&entries, stele_s(token), &page, &err), &err);
        assert_int_equal(page->count, 0);
        assert_ok(stele_page_token(page, again, sizeof again, &err), &err);
        assert_string_equal(again, token);
        stele_status st = next(7, &page);
        if (st == STELE_DONE) {
            assert_false(more);
            break;
        }
        assert_ok(st, &err);
        assert_true(more);
    }
    assert_int_equal(seen, ROWS);
}

static void tokens_that_are_not_ours_are_refused(void **state)
{
    (void)state;
    char token[STELE_PAGE_TOKEN_SIZE];
    stele_page *page = NULL;
    stele_page *other = NULL;
    assert_ok(next(7, &page), &err);
    assert_ok(stele_page_token(page, token, sizeof token, &err), &err);
    size_t len = strlen(token);
    assert_int_equal(stele_page_token(page, token, len, &err), STELE_E_INPUT);
    stele_page_free(page);
    for (size_t i = 0; i < len; i++) {
        for (int c = 1; c < 256; c++) {
            char kept = token[i];
            if ((char)c == kept)
                continue;
            token[i] = (char)c;
            stele_str text = {token, len};
            assert_int_equal(stele_gen_page_resume(&entries, text, &other, &err), STELE_E_INPUT);
            token[i] = kept;
        }
        stele_str cut = {token, i};
        assert_int_equal(stele_gen_page_resume(&entries, cut, &other, &err), STELE_E_INPUT);
    }
    assert_null(other);
    assert_int_equal(stele_gen_page_resume(&others, stele_s(token), &other, &err), STELE_E_INPUT);
    assert_int_equal(stele_gen_page_resume(&entries, stele_s(NULL), &other, &err), STELE_E_INPUT);
    assert_int_equal(stele_gen_page_resume(&entries, stele_s(""), &other, NULL), STELE_E_INPUT);
    assert_int_equal(stele_page_token(NULL, token, sizeof token, &err), STELE_E_INPUT);
}

/* A few digits on the wire, thousands in text. */
static void tokens_hold_any_numeric(void **state)
{
    (void)state;
    static const char *const values[] = {"'1e5000'", "'1e100000'", "'-1e-10000'", "'NaN'"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char sql[160];
        char token[STELE_PAGE_TOKEN_SIZE];
        stele_page *page = NULL;
        snprintf(
            sql, sizeof sql,
            "TRUNCATE entries; INSERT INTO entries SELECT '2026-01-01', 1, %s::numeric, 'x', i "
            "FROM generate_series(1, 3) i",
            values[i]);
        dbtest_exec(dsn, sql);
        assert_ok(next(2, &page), &err);
        assert_ok(stele_page_token(page, token, sizeof token, &err), &err);
        stele_page_free(page);
        page = NULL;
        assert_ok(stele_gen_page_resume(&entries, stele_s(token), &page, &err), &err);
        assert_ok(next(2, &page), &err);
        assert_int_equal(page->count, 1);
        assert_int_equal(row_of(page, 0)->id, 3);
        stele_page_free(page);
    }
}

int main(void)
{
    dbtest_require_server();
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_one, close_one)
    const struct CMUnitTest tests[] = {
        TEST(every_row_once_while_others_write),
        TEST(offsets_do_not),
        TEST(more_and_the_end),
        TEST(an_error_keeps_the_place),
        TEST(tokens_continue_where_they_were_taken),
        TEST(tokens_that_are_not_ours_are_refused),
        TEST(tokens_hold_any_numeric),
    };
    return RUN(tests);
}
