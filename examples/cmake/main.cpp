// Puts pieces on a shelf, counts, and takes more away than there are: the error names the check. The
// server is the one that STELE_DSN names. Generated code is C; its headers are C++ as well.
#include <cstdio>
#include <cstdlib>

#include "stock.gen.h"

static stele_status put(stele_conn *conn, const char *sku, int32_t pieces, stele_error *err)
{
    items_input input = {};
    input.sku = stele_text_v(sku);
    input.shelf = stele_i32_v(3);
    input.pieces = stele_i32_v(pieces);
    return items_insert(conn, &input, nullptr, err);
}

static stele_status count(stele_conn *conn, stele_error *err)
{
    items_filter filter = {};
    filter.shelf = stele_i32_v(3);
    filter.pieces_from = stele_i32_v(5); // 5 or more
    int64_t kinds = 0;
    stele_status st = items_count(conn, &filter, &kinds, err);
    if (st == STELE_OK)
        std::printf("kinds with 5 pieces or more: %lld\n", static_cast<long long>(kinds));
    return st;
}

static stele_status take_too_many(stele_conn *conn, stele_error *err)
{
    items_patch patch = {};
    patch.pieces = stele_i32_v(-1);
    stele_status st = items_update(conn, stele_s("chisel"), &patch, nullptr, err);
    if (st != STELE_E_CHECK)
        return st;
    std::printf("refused by %s\n", err->constraint);
    return STELE_OK;
}

static stele_status run(stele_db *db, stele_error *err)
{
    STELE_AUTO(stele_conn) conn = nullptr;
    stele_status st = stele_db_ensure(db, &stock_module, nullptr, err);
    if (st == STELE_OK)
        st = stele_db_acquire(db, &conn, err);
    if (st == STELE_OK)
        st = put(conn, "chisel", 5, err);
    if (st == STELE_OK)
        st = put(conn, "mallet", 2, err);
    if (st == STELE_OK)
        st = count(conn, err);
    if (st == STELE_OK)
        st = take_too_many(conn, err);
    return st;
}

int main()
{
    const stele_module *const modules[] = {&stock_module};
    stele_db_options options = STELE_DB_OPTIONS_INIT;
    options.dsn = std::getenv("STELE_DSN");
    options.modules = modules;
    options.module_count = 1;

    STELE_AUTO(stele_db) db = nullptr;
    stele_error err = {};
    stele_status st = stele_db_open(&options, &db, &err);
    if (st == STELE_OK)
        st = run(db, &err);
    if (st != STELE_OK) {
        char line[1024];
        stele_error_format(&err, line, sizeof line);
        std::fprintf(stderr, "%s\n", line);
    }
    return st == STELE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
