/**
 * Pages by keyset: each resumes after the last row of the one before.
 *
 * Floor: stmt.
 */
#include "stele/page.h"

#include <string.h>

#include "mem_internal.h"
#include "page_internal.h"
#include "run.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

/* The whole of a page; callers see `head`. Stands between a stele__rows header and the rows. */
typedef struct full_page {
    stele_page head;
    const stele_gen_list *list;
    const void *last_row; /* what the next page resumes after */
} full_page;

#define PAGE_LEAD ((sizeof(full_page) + 15u) & ~(size_t)15u)

#define TOKEN_VERSION 1

/* Room for the texts of numerics that a token may stand for. */
#define CURSOR_MAX ((size_t)16 * 1024 * 1024)

void stele_page_free(stele_page *page)
{
    if (page != NULL)
        stele__rows_free((stele__rows *)(void *)page - 1);
}

stele_status stele__page_take(const stele_gen_list *list, struct pg_result *result, uint32_t limit,
                              stele_page **page, stele_error *err)
{
    const stele_gen_stmt *stmt = list->stmt;
    stele__row_shape shape = {stmt->columns, stmt->column_count, stmt->row_size, stmt->name};
    stele__rows *rows;
    stele_status st = stele__result_rows(result, &shape, PAGE_LEAD, &rows, err);
    if (st != STELE_OK)
        return st;
    full_page *full = (full_page *)(void *)(rows + 1);
    const char *first = (const char *)full + PAGE_LEAD;
    full->head.rows = first;
    full->head.more = rows->count > limit;
    full->head.count = full->head.more ? limit : rows->count;
    full->list = list;
    full->last_row = full->head.count > 0 ? first + (full->head.count - 1) * stmt->row_size : NULL;
    stele_page_free(*page);
    *page = &full->head;
    if (full->head.count > 0)
        return STELE_OK;
    stele_page_free(*page);
    *page = NULL;
    return STELE_DONE;
}

stele_status stele__page_args(const stele_gen_list *list, const void **args, uint32_t *flags,
                              uint32_t limit, int64_t *fetch, stele_page **page, stele_error *err)
{
    *fetch = (int64_t)limit + 1; /* one more row tells whether there is more */
    if (limit == 0)
        return stele__fail(err, STELE_E_INPUT, "%s: the limit is 0", list->stmt->name);
    args[list->resume_arg] = NULL;
    args[list->limit_arg] = fetch;
    if (*page == NULL)
        return STELE_OK;
    const full_page *before = (const full_page *)(const void *)*page;
    if (before->list != list)
        return stele__fail(err, STELE_E_MISUSE, "%s: the page belongs to another list",
                           list->stmt->name);
    if (!before->head.more) {
        stele_page_free(*page);
        *page = NULL;
        return STELE_DONE;
    }
    args[list->resume_arg] = before->last_row;
    *flags |= STELE_FLAG_RESUME;
    return STELE_OK;
}

stele_status stele_gen_page(stele_conn *conn, const stele_gen_list *list, const void **args,
                            uint32_t flags, uint32_t limit, stele_page **page, stele_error *err)
{
    int64_t fetch;
    stele_status st = stele__page_args(list, args, &flags, limit, &fetch, page, err);
    struct pg_result *result = NULL;
    if (st == STELE_OK)
        result = stele__run(conn, list->stmt, args, flags, &st, err);
    args[list->limit_arg] = NULL; /* `fetch` ends here */
    if (result == NULL)
        return st;
    st = stele__page_take(list, result, limit, page, err);
    return st < 0 ? stele__undelivered(conn, &(stele__call){list->stmt, args, flags}, st, err) : st;
}

/* ---- tokens ---------------------------------------------------------------------------------
 *
 * base64url of: version (1 byte), identity of the list (8), for each resume parameter its length
 * (4, -1 for NULL) and wire bytes, and a checksum over all of it (4). A token of another list or of
 * another version of the schema is refused, not misread.
 */

static uint64_t list_identity(const stele_gen_list *list)
{
    const stele_gen_stmt *stmt = list->stmt;
    uint64_t hash = stele__hash64(TOKEN_VERSION, stmt->name, strlen(stmt->name));
    for (int i = list->resume_from; i < list->resume_to; i++) {
        hash = stele__hash64(hash, stmt->params[i].column, strlen(stmt->params[i].column));
        hash = stele__hash64(hash, &stmt->params[i].type, 1);
    }
    return hash;
}

static void add_be64(stele__buf *buf, uint64_t v)
{
    char bytes[8];
    stele__put_be64(bytes, v);
    stele__buf_add(buf, bytes, sizeof bytes);
}

static void add_be32(stele__buf *buf, uint32_t v)
{
    char bytes[4];
    stele__put_be32(bytes, v);
    stele__buf_add(buf, bytes, sizeof bytes);
}

static bool write_cursor(const full_page *full, stele__buf *buf)
{
    const stele_gen_list *list = full->list;
    stele__block block;
    bool fine = true;
    stele__block_init(&block, NULL, 0);
    stele__buf_add_char(buf, TOKEN_VERSION);
    add_be64(buf, list_identity(list));
    for (int i = list->resume_from; i < list->resume_to && fine; i++) {
        stele_gen_param param = list->stmt->params[i];
        stele__encoded encoded = {.data = NULL};
        param.arg = 0;
        const void *value = stele__bind_value(&param, &full->last_row);
        if (value != NULL)
            fine = stele__encode_value(param.type, param.labels, value, &encoded, &block) ==
                   STELE__CODEC_OK;
        add_be32(buf, encoded.data != NULL ? (uint32_t)encoded.len : UINT32_MAX);
        if (encoded.data != NULL)
            stele__buf_add(buf, encoded.data, (size_t)encoded.len);
    }
    add_be32(buf, (uint32_t)stele__hash64(0, stele__buf_text(buf), buf->len));
    stele__block_release(&block);
    return fine && !buf->failed;
}

stele_status stele_page_token(const stele_page *page, char *buf, size_t size, stele_error *err)
{
    const full_page *full = (const full_page *)(const void *)page;
    if (page == NULL || full->last_row == NULL)
        return stele__fail(err, STELE_E_INPUT, "a page without rows has no token");
    stele__buf raw;
    stele_status st = STELE_OK;
    stele__buf_init(&raw);
    if (!write_cursor(full, &raw))
        st = stele__fail(err, STELE_E_NOMEM, "out of memory for a page token");
    else if (stele__base64_size(raw.len) > size)
        st = stele__fail(err, STELE_E_INPUT, "the token needs %zu bytes, the buffer has %zu",
                         stele__base64_size(raw.len), size);
    else
        stele__base64_encode(raw.data, raw.len, buf);
    stele__buf_release(&raw);
    return st;
}

/* Reads the fields of a cursor back into a row; the rest of the row stays zero. */
static bool read_cursor(const stele_gen_list *list, const char *data, size_t len, char *row,
                        stele__block *block)
{
    if (len < 13 || data[0] != TOKEN_VERSION || stele__get_be64(data + 1) != list_identity(list))
        return false;
    size_t end = len - 4;
    if (stele__get_be32(data + end) != (uint32_t)stele__hash64(0, data, end))
        return false;
    size_t at = 9;
    for (int i = list->resume_from; i < list->resume_to; i++) {
        const stele_gen_param *param = &list->stmt->params[i];
        const stele__layout *layout = stele__layout_of(param->type);
        char *field = row + param->offset;
        if (end - at < 4)
            return false;
        uint32_t n = stele__get_be32(data + at);
        at += 4;
        if (n == UINT32_MAX)
            continue;
        if (n > end - at)
            return false;
        if (param->form == STELE_GEN_OPT && layout->opt != 0) {
            *(bool *)field = true;
            field += layout->opt;
        }
        if (stele__decode_value(param->type, param->labels, data + at, n, field, stele__block_mem,
                                block) != STELE__CODEC_OK)
            return false;
        at += n;
    }
    return at == end;
}

/* One heap block: header, page, a row with the cursor's fields, and the bytes they point into. */
static full_page *empty_page(const stele_gen_list *list, size_t bytes, char **ret_bytes)
{
    size_t row_size = (list->stmt->row_size + 15u) & ~(size_t)15u;
    char *block = stele__calloc(1, sizeof(stele__rows) + PAGE_LEAD + row_size + bytes);
    if (block == NULL)
        return NULL;
    full_page *full = (full_page *)(void *)(block + sizeof(stele__rows));
    full->list = list;
    full->head.more = true;
    full->last_row = (char *)full + PAGE_LEAD;
    *ret_bytes = (char *)full + PAGE_LEAD + row_size;
    return full;
}

/* NULL with STELE_E_NOMEM or, for what is no token of this list, STELE_E_INPUT in *ret_status. */
static full_page *page_of_token(const stele_gen_list *list, stele_str token, size_t room,
                                bool *ret_short, stele_status *ret_status)
{
    char *bytes;
    size_t len = 0;
    full_page *full = empty_page(list, token.len + room, &bytes);
    *ret_status = STELE_E_NOMEM;
    if (full == NULL)
        return NULL;
    stele__block block;
    stele__block_init(&block, bytes + token.len, room);
    bool fine = stele__base64_decode(token.data, token.len, (uint8_t *)bytes, &len) &&
                read_cursor(list, bytes, len, (char *)(uintptr_t)full->last_row, &block);
    *ret_short = block.chunks != NULL;
    stele__block_release(&block);
    *ret_status = fine ? STELE_OK : STELE_E_INPUT;
    if (fine && !*ret_short)
        return full;
    stele_page_free(&full->head);
    return NULL;
}

stele_status stele_gen_page_resume(const stele_gen_list *list, stele_str token,
                                   stele_page **ret_page, stele_error *err)
{
    stele_status st = STELE_E_INPUT;
    bool is_short = true;
    full_page *full = NULL;
    /* Only numeric needs room beside the token's bytes: its text is longer than its digits. */
    for (size_t room = token.len * 8 + 1024; is_short && room <= CURSOR_MAX; room *= 16) {
        if (token.data == NULL)
            break;
        full = page_of_token(list, token, room, &is_short, &st);
        if (full != NULL) {
            *ret_page = &full->head;
            return STELE_OK;
        }
    }
    if (st == STELE_E_NOMEM)
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a page token");
    return stele__fail(err, STELE_E_INPUT, "%s: not a token of this list", list->stmt->name);
}
