/**
 * Reading SQL just far enough to compare definitions.
 *
 * Floor: migrate.
 */
#include "ensure_text.h"

#include <string.h>

#include "ensure_tokens.h"
#include "text_internal.h"

#include "banned.h"

static bool is_boolean(const stele__tokens *all, size_t i)
{
    return stele__is_keyword(all, i, "and") || stele__is_keyword(all, i, "or");
}

/* ---- casts that the server adds ---- */

/* One past the type that begins at `i`, with its modifier and brackets. */
static size_t skip_type(const stele__tokens *all, size_t i)
{
    static const char *const more[] = {"varying", "precision", "with", "without",
                                       "time",    "zone",      NULL};
    if (i >= all->count || all->at[i].kind != STELE__WORD)
        return i;
    i++;
    while (stele__is_sign(all, i, ".") && i + 1 < all->count && all->at[i + 1].kind == STELE__WORD)
        i += 2;
    while (stele__is_any_keyword(all, i, more))
        i++;
    if (stele__is_sign(all, i, "("))
        i = stele__closing(all, i) + 1;
    while (stele__is_any_keyword(all, i, more))
        i++;
    while (stele__is_sign(all, i, "[") && stele__is_sign(all, i + 1, "]"))
        i += 2;
    return i < all->count ? i : all->count;
}

static bool is_call(const stele__tokens *all, size_t open)
{
    return open > 0 && all->at[open - 1].kind == STELE__WORD && !is_boolean(all, open - 1) &&
           !stele__is_keyword(all, open - 1, "not") && !stele__is_keyword(all, open - 1, "where");
}

static void drop_casts(stele__tokens *all, stele__is_varchar_fn is_varchar, const void *ctx)
{
    for (size_t i = 0; i < all->count; i++) {
        /* 'open'::text: a constant of unknown type was given the type that its place demands. */
        if (all->at[i].kind == STELE__STRING && stele__is_sign(all, i + 1, "::"))
            stele__take_away(all, i + 1, skip_type(all, i + 2));
        /* (name)::text of a varchar, which has no operators of its own. */
        if (stele__is_sign(all, i, "(") && !is_call(all, i) && i + 4 < all->count &&
            all->at[i + 1].kind == STELE__WORD && stele__is_sign(all, i + 2, ")") &&
            stele__is_sign(all, i + 3, "::") && stele__is_keyword(all, i + 4, "text") &&
            !stele__is_sign(all, i + 5, "[") && is_varchar(ctx, all->at[i + 1].text)) {
            stele__take_away(all, i + 2, i + 5);
            stele__take_away(all, i, i + 1);
        }
    }
}

/* ---- parentheses that say nothing ---- */

static bool is_redundant(const stele__tokens *all, size_t open, size_t close)
{
    bool boolean = false;
    for (size_t i = open + 1; i < close; i++) {
        if (stele__is_sign(all, i, "(") || stele__is_sign(all, i, "["))
            i = stele__closing(all, i);
        else if (stele__is_sign(all, i, ","))
            return false;
        else
            boolean = boolean || is_boolean(all, i);
    }
    bool first = open == 0 || stele__is_sign(all, open - 1, "(");
    bool last = close + 1 == all->count || stele__is_sign(all, close + 1, ")");
    if (close == open + 1)
        return false;
    if (first && last)
        return true;
    /* Everything but NOT, AND and OR binds tighter than these do. */
    return !boolean && (first || is_boolean(all, open - 1)) && (last || is_boolean(all, close + 1));
}

static void drop_parentheses(stele__tokens *all)
{
    for (size_t i = 0; i < all->count;) {
        size_t close = stele__is_sign(all, i, "(") ? stele__closing(all, i) : all->count;
        if (close < all->count && is_redundant(all, i, close)) {
            stele__take_away(all, close, close + 1);
            stele__take_away(all, i, i + 1);
            i = 0;
        } else {
            i++;
        }
    }
}

/* ---- writing ---- */

static const char *const shown_large[] = {
    "and",        "or",      "not",        "is",        "null",     "true",     "false",
    "in",         "any",     "array",      "like",      "ilike",    "desc",     "asc",
    "nulls",      "first",   "last",       "include",   "on",       "distinct", "where",
    "using",      "case",    "when",       "then",      "else",     "end",      "collate",
    "key",        "foreign", "set",        "update",    "delete",   "cascade",  "restrict",
    "references", "default", "deferrable", "initially", "deferred", NULL};

static bool is_simple(const char *word)
{
    size_t len = stele__word_length(word);
    if (len == 0 || word[len] != '\0' || (*word >= '0' && *word <= '9'))
        return false;
    for (; *word != '\0'; word++)
        if (*word >= 'A' && *word <= 'Z')
            return false;
    return true;
}

static void write_token(const stele__tokens *all, size_t i, stele__buf *out)
{
    const stele__token *t = &all->at[i];
    stele__tokens bare = {&(stele__token){STELE__WORD, false, t->text}, 1};
    bool large = stele__is_any_keyword(&bare, 0, shown_large);
    if (t->kind == STELE__STRING) {
        stele__buf_add_literal(out, t->text, strlen(t->text));
    } else if (t->quoted && (large || !is_simple(t->text))) {
        stele__buf_add_ident(out, t->text, strlen(t->text));
    } else if (t->kind == STELE__WORD && large) {
        for (const char *c = t->text; *c != '\0'; c++)
            stele__buf_add_char(out, *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c);
    } else {
        stele__buf_add_text(out, t->text);
    }
}

static bool is_spaced(const stele__tokens *all, size_t i)
{
    static const char *const tight_after[] = {"(", "[", ".", "::", NULL};
    static const char *const tight_before[] = {")", "]", ".", "::", ",", "[", NULL};
    if (i == 0)
        return false;
    for (const char *const *s = tight_after; *s != NULL; s++)
        if (stele__is_sign(all, i - 1, *s))
            return false;
    for (const char *const *s = tight_before; *s != NULL; s++)
        if (stele__is_sign(all, i, *s))
            return false;
    bool call = stele__is_sign(all, i, "(") && all->at[i - 1].kind == STELE__WORD &&
                (all->at[i - 1].quoted || !stele__is_any_keyword(all, i - 1, shown_large));
    return !call;
}

static void write_tokens(const stele__tokens *all, stele__buf *out)
{
    for (size_t i = 0; i < all->count; i++) {
        if (is_spaced(all, i))
            stele__buf_add_char(out, ' ');
        write_token(all, i, out);
    }
}

/* What a builder holds, moved into the block. NULL when memory is out. */
static const char *keep(stele__block *mem, stele__buf *buf)
{
    const char *text =
        buf->failed ? NULL : stele__block_strndup(mem, stele__buf_text(buf), buf->len);
    stele__buf_release(buf);
    return text;
}

/* ---- keys ---- */

/* One item of the list: drops what is a default, and the parentheses around an expression. */
static void write_item(stele__tokens item, stele__buf *out)
{
    size_t end = stele__is_sign(&item, 0, "(") ? stele__closing(&item, 0) : item.count;
    if (end < item.count && (end + 1 == item.count || item.at[end + 1].kind == STELE__WORD)) {
        stele__take_away(&item, end, end + 1);
        stele__take_away(&item, 0, 1);
        stele__tokens inner = stele__slice_tokens(&item, 0, end - 1);
        size_t before = inner.count;
        drop_parentheses(&inner);
        stele__take_away(&item, inner.count, before);
    }
    size_t n = item.count;
    bool nulls = n >= 2 && stele__is_keyword(&item, n - 2, "nulls");
    bool nulls_first = nulls && stele__is_keyword(&item, n - 1, "first");
    size_t direction = nulls ? n - 2 : n;
    bool descending = direction > 0 && stele__is_keyword(&item, direction - 1, "desc");
    if (nulls && nulls_first == descending)
        stele__take_away(&item, n - 2, n);
    if (direction > 0 && stele__is_keyword(&item, direction - 1, "asc"))
        stele__take_away(&item, direction - 1, direction);
    write_tokens(&item, out);
}

static void write_list(stele__tokens list, stele__buf *out)
{
    stele__buf_add_char(out, '(');
    for (size_t i = 0, from = 0; i <= list.count; i++) {
        if (i < list.count && (stele__is_sign(&list, i, "(") || stele__is_sign(&list, i, "[")))
            i = stele__closing(&list, i);
        if (i < list.count && !stele__is_sign(&list, i, ","))
            continue;
        /* The item is made shorter in place; what follows it is not touched. */
        write_item(stele__slice_tokens(&list, from, i < list.count ? i : list.count), out);
        if (i < list.count)
            stele__buf_add_text(out, ", ");
        from = i + 1;
    }
    stele__buf_add_char(out, ')');
}

static bool is_plain_list(const stele__tokens *list)
{
    static const char *const rest[] = {"asc", "desc", "nulls", "first", "last", NULL};
    for (size_t i = 0; i < list->count; i++) {
        bool begins = i == 0 || stele__is_sign(list, i - 1, ",");
        bool fits = begins ? list->at[i].kind == STELE__WORD
                           : stele__is_sign(list, i, ",") || stele__is_any_keyword(list, i, rest);
        if (!fits)
            return false;
    }
    return true;
}

/* ---- predicates ---- */

/* "a IS NULL AND b IS NOT NULL" and the like. */
static bool is_plain_predicate(const stele__tokens *all)
{
    size_t i = 0;
    while (i < all->count) {
        if (all->at[i].kind != STELE__WORD || !stele__is_keyword(all, i + 1, "is"))
            return false;
        i += 2;
        i += stele__is_keyword(all, i, "not");
        if (!stele__is_keyword(all, i, "null"))
            return false;
        i++;
        if (i < all->count && !stele__is_keyword(all, i, "and"))
            return false;
        i++;
    }
    return true;
}

/* Puts one part in its place among those before it, as their order means nothing. */
static void insert_sorted(const char **parts, size_t count, const char *part)
{
    while (count > 0 && strcmp(parts[count - 1], part) > 0) {
        parts[count] = parts[count - 1];
        count--;
    }
    parts[count] = part;
}

static const char *write_whole(stele__block *mem, const stele__tokens *all)
{
    stele__buf buf = {0};
    write_tokens(all, &buf);
    return keep(mem, &buf);
}

static const char *write_predicate(stele__block *mem, stele__tokens all)
{
    stele__buf buf = {0};
    drop_parentheses(&all);
    /* AND is no conjunction in BETWEEN, and CASE has no brackets. */
    bool parted = stele__find_keyword(&all, 0, "or") == all.count &&
                  stele__find_keyword(&all, 0, "between") == all.count &&
                  stele__find_keyword(&all, 0, "case") == all.count;
    const char **parts = stele__block_calloc(mem, all.count + 1, sizeof *parts);
    size_t count = 0;
    if (!parted)
        return write_whole(mem, &all);
    for (size_t from = 0; parts != NULL && from < all.count;) {
        size_t end = stele__find_keyword(&all, from, "and");
        stele__tokens part = stele__slice_tokens(&all, from, end);
        const char *text = write_whole(mem, &part);
        if (text == NULL)
            return NULL;
        insert_sorted(parts, count++, text);
        from = end + 1;
    }
    for (size_t i = 0; i < count; i++) {
        stele__buf_add_text(&buf, i > 0 ? " AND " : "");
        stele__buf_add_text(&buf, parts[i]);
    }
    buf.failed = buf.failed || parts == NULL;
    return keep(mem, &buf);
}

/* ---- definitions ---- */

static bool index_def(stele__block *mem, stele__tokens all, stele__index_def *ret_def)
{
    stele__buf keys = {0};
    stele__index_def def = {.method = "btree"};
    if (stele__is_keyword(&all, 0, "using") && all.count > 1) {
        def.method = all.at[1].text;
        all = stele__slice_tokens(&all, 2, all.count);
    }
    size_t where = stele__find_keyword(&all, 0, "where");
    size_t included = stele__find_keyword(&all, 0, "include");
    size_t nulls = stele__find_keyword(&all, 0, "nulls");
    size_t close = stele__closing(&all, 0);
    if (close >= all.count)
        close = all.count > 0 ? all.count - 1 : 0;
    stele__tokens list = stele__slice_tokens(&all, all.count > 0 ? 1 : 0, close);
    def.plain = is_plain_list(&list);
    write_list(list, &keys);
    if (included < where && stele__is_sign(&all, included + 1, "(")) {
        size_t end = stele__closing(&all, included + 1);
        stele__buf_add_text(&keys, " INCLUDE ");
        write_list(stele__slice_tokens(&all, included + 2, end), &keys);
    }
    if (nulls < where && stele__is_keyword(&all, nulls + 1, "not"))
        stele__buf_add_text(&keys, " NULLS NOT DISTINCT");
    def.keys = keep(mem, &keys);
    stele__tokens predicate = where < all.count ? stele__slice_tokens(&all, where + 1, all.count)
                                                : (stele__tokens){all.at, 0};
    def.predicate = write_predicate(mem, predicate);
    stele__tokens shown = {0};
    if (def.predicate == NULL || !stele__tokenize(mem, def.predicate, &shown))
        return false;
    def.plain = def.plain && is_plain_predicate(&shown);
    *ret_def = def;
    return def.keys != NULL;
}

bool stele__index_def_of_tail(stele__block *mem, const char *tail, stele__is_varchar_fn is_varchar,
                              const void *ctx, stele__index_def *ret_def)
{
    stele__tokens all;
    if (!stele__tokenize(mem, tail, &all))
        return false;
    drop_casts(&all, is_varchar, ctx);
    return index_def(mem, all, ret_def);
}

bool stele__index_def_of_server(stele__block *mem, const char *create,
                                stele__is_varchar_fn is_varchar, const void *ctx,
                                stele__index_def *ret_def)
{
    stele__tokens all;
    if (!stele__tokenize(mem, create, &all))
        return false;
    size_t i = stele__find_keyword(&all, 0, "on") + 1;
    i += stele__is_keyword(&all, i, "only");
    i++;
    while (stele__is_sign(&all, i, "."))
        i += 2;
    stele__tokens tail = stele__slice_tokens(&all, i < all.count ? i : all.count, all.count);
    drop_casts(&tail, is_varchar, ctx);
    return index_def(mem, tail, ret_def);
}

bool stele__index_def_equal(const stele__index_def *a, const stele__index_def *b)
{
    return strcmp(a->method, b->method) == 0 && strcmp(a->keys, b->keys) == 0 &&
           strcmp(a->predicate, b->predicate) == 0;
}

const char *stele__foreign_key_def(stele__block *mem, const char *text)
{
    stele__tokens all;
    if (!stele__tokenize(mem, text, &all))
        return NULL;
    stele__tokens def =
        stele__slice_tokens(&all, stele__find_keyword(&all, 0, "foreign"), all.count);
    size_t name = stele__find_keyword(&def, 0, "references") + 1;
    while (stele__is_sign(&def, name + 1, "."))
        stele__take_away(&def, name, name + 2);
    if (def.count >= 2 && stele__is_keyword(&def, def.count - 2, "not") &&
        stele__is_keyword(&def, def.count - 1, "valid"))
        def.count -= 2;
    return write_whole(mem, &def);
}

/* ---- tables ---- */

/* What fills a column, from its definition; NULL if nothing, or NULL, does. `*ret_failed`: no memory. */
static const char *filling(stele__block *mem, const stele__tokens *column, bool *ret_failed)
{
    static const char *const serials[] = {"serial", "bigserial", "smallserial", NULL};
    if (stele__is_any_keyword(column, 1, serials))
        return column->at[1].text;
    size_t at = stele__find_keyword(column, 1, "generated");
    if (at < column->count)
        return stele__is_keyword(column, column->count - 1, "identity") ? "IDENTITY" : "GENERATED";
    at = stele__find_keyword(column, 1, "default");
    if (at == column->count || stele__is_keyword(column, at + 1, "null"))
        return NULL;
    stele__tokens value = stele__slice_tokens(column, at, column->count);
    const char *text = write_whole(mem, &value);
    *ret_failed = text == NULL;
    return text;
}

static bool read_item(stele__block *mem, const stele__tokens *item, stele__table_def *def)
{
    static const char *const others[] = {"constraint", "check",   "unique",
                                         "foreign",    "exclude", NULL};
    stele__buf key = {0};
    if (stele__is_keyword(item, 0, "primary")) {
        write_list(stele__slice_tokens(item, 3, stele__closing(item, 2)), &key);
        def->key = keep(mem, &key);
        return def->key != NULL;
    }
    if (item->count == 0 || stele__is_any_keyword(item, 0, others))
        return true;
    bool failed = false;
    const char *how = filling(mem, item, &failed);
    if (how != NULL)
        def->filled[def->filled_count++] = (stele__filled){item->at[0].text, how};
    return !failed;
}

bool stele__table_def_of(stele__block *mem, const char *create, stele__table_def *ret_def)
{
    stele__tokens all;
    stele__table_def def = {.key = ""};
    size_t open = 0;
    if (!stele__tokenize(mem, create, &all))
        return false;
    while (open < all.count && !stele__is_sign(&all, open, "("))
        open++;
    stele__tokens list = stele__slice_tokens(&all, open + 1, stele__closing(&all, open));
    def.filled = stele__block_calloc(mem, list.count + 1, sizeof *def.filled);
    bool read = def.filled != NULL;
    for (size_t i = 0, from = 0; i <= list.count && read; i++) {
        if (i < list.count && stele__is_sign(&list, i, "("))
            i = stele__closing(&list, i);
        if (i < list.count && !stele__is_sign(&list, i, ","))
            continue;
        stele__tokens item = stele__slice_tokens(&list, from, i);
        read = read_item(mem, &item, &def);
        from = i + 1;
    }
    *ret_def = def;
    return read;
}

bool stele__sql_strings(stele__block *mem, const char *sql, const char ***ret_strings,
                        size_t *ret_count)
{
    stele__tokens all;
    if (!stele__tokenize(mem, sql, &all))
        return false;
    const char **strings = stele__block_calloc(mem, all.count + 1, sizeof *strings);
    size_t count = 0;
    for (size_t i = 0; strings != NULL && i < all.count; i++)
        if (all.at[i].kind == STELE__STRING)
            strings[count++] = all.at[i].text;
    *ret_strings = strings;
    *ret_count = count;
    return strings != NULL;
}
