/**
 * Reading SQL just far enough to compare definitions.
 *
 * Floor: migrate.
 */
#include "ensure_text.h"

#include <string.h>

#include "text_internal.h"

#include "banned.h"

typedef enum token_kind { WORD, STRING, NUMBER, SIGN } token_kind;

typedef struct token {
    token_kind kind;
    bool quoted;      /* a word in double quotes: never a keyword */
    const char *text; /* a word folded, a string without its quotes */
} token;

/* A run of tokens; taking some away moves the rest together. */
typedef struct tokens {
    token *at;
    size_t count;
} tokens;

/* ---- reading ---- */

static bool is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_word_start(c) || is_digit(c) || c == '$';
}

static size_t word_length(const char *s)
{
    size_t len = 0;
    while (is_word(s[len]))
        len++;
    return len;
}

/* A quoted word or string, its doubled quotes made single; gives the bytes it took of the text. */
static size_t read_quoted(stele__block *mem, const char *s, const char **ret_text)
{
    char quote = *s;
    size_t len = 1;
    size_t used = 0;
    char *text = stele__block_alloc(mem, strlen(s));
    while (s[len] != '\0' && (s[len] != quote || s[len + 1] == quote)) {
        len += s[len] == quote;
        if (text != NULL)
            text[used] = s[len];
        used++;
        len++;
    }
    if (text != NULL)
        text[used] = '\0';
    *ret_text = text;
    return s[len] == quote ? len + 1 : len;
}

static size_t sign_length(const char *s)
{
    static const char operators[] = "+-*/<>=~!@#%^&|`?";
    if (s[0] == ':' && s[1] == ':')
        return 2;
    size_t len = strspn(s, operators);
    return len > 0 ? len : 1;
}

static size_t read_token(stele__block *mem, const char *s, token *t)
{
    size_t len;
    *t = (token){.kind = SIGN};
    if (*s == '"' || *s == '\'') {
        t->kind = *s == '"' ? WORD : STRING;
        t->quoted = *s == '"';
        return read_quoted(mem, s, &t->text);
    }
    if (is_word_start(*s)) {
        t->kind = WORD;
        len = word_length(s);
    } else if (is_digit(*s)) {
        t->kind = NUMBER;
        for (len = 1; is_word(s[len]) || s[len] == '.';)
            len++;
    } else {
        len = sign_length(s);
    }
    char *text = stele__block_strndup(mem, s, len);
    for (char *c = text; text != NULL && t->kind == WORD && *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    t->text = text;
    if (text != NULL && strcmp(text, "!=") == 0)
        t->text = "<>";
    return len;
}

static bool tokenize(stele__block *mem, const char *sql, tokens *ret_tokens)
{
    tokens all = {.at = stele__block_calloc(mem, strlen(sql) + 1, sizeof(token))};
    while (all.at != NULL) {
        sql += strspn(sql, " \t\r\n");
        if (*sql == '\0')
            break;
        sql += read_token(mem, sql, &all.at[all.count]);
        if (all.at[all.count++].text == NULL)
            return false;
    }
    *ret_tokens = all;
    return all.at != NULL;
}

/* ---- looking ---- */

static bool is_sign(const tokens *all, size_t i, const char *sign)
{
    return i < all->count && all->at[i].kind == SIGN && strcmp(all->at[i].text, sign) == 0;
}

static bool is_keyword(const tokens *all, size_t i, const char *word)
{
    return i < all->count && all->at[i].kind == WORD && !all->at[i].quoted &&
           strcmp(all->at[i].text, word) == 0;
}

static bool is_any_keyword(const tokens *all, size_t i, const char *const *words)
{
    for (; *words != NULL; words++)
        if (is_keyword(all, i, *words))
            return true;
    return false;
}

static bool is_boolean(const tokens *all, size_t i)
{
    return is_keyword(all, i, "and") || is_keyword(all, i, "or");
}

/* The bracket that closes the one at `open`; the count if none does. */
static size_t closing(const tokens *all, size_t open)
{
    size_t depth = 0;
    for (size_t i = open; i < all->count; i++) {
        if (is_sign(all, i, "(") || is_sign(all, i, "["))
            depth++;
        else if ((is_sign(all, i, ")") || is_sign(all, i, "]")) && --depth == 0)
            return i;
    }
    return all->count;
}

/* The next keyword outside brackets, from `i` on; the count if there is none. */
static size_t find_keyword(const tokens *all, size_t i, const char *word)
{
    for (; i < all->count; i++) {
        if (is_sign(all, i, "("))
            i = closing(all, i);
        else if (is_keyword(all, i, word))
            return i;
    }
    return all->count;
}

static void take_away(tokens *all, size_t from, size_t to)
{
    memmove(all->at + from, all->at + to, (all->count - to) * sizeof *all->at);
    all->count -= to - from;
}

/* Bounds outside the run are drawn in: unbalanced text must do no harm. */
static tokens slice(const tokens *all, size_t from, size_t to)
{
    if (to > all->count)
        to = all->count;
    if (from > to)
        from = to;
    return (tokens){all->at + from, to - from};
}

/* ---- casts that the server adds ---- */

/* One past the type that begins at `i`, with its modifier and brackets. */
static size_t skip_type(const tokens *all, size_t i)
{
    static const char *const more[] = {"varying", "precision", "with", "without",
                                       "time",    "zone",      NULL};
    if (i >= all->count || all->at[i].kind != WORD)
        return i;
    i++;
    while (is_sign(all, i, ".") && i + 1 < all->count && all->at[i + 1].kind == WORD)
        i += 2;
    while (is_any_keyword(all, i, more))
        i++;
    if (is_sign(all, i, "("))
        i = closing(all, i) + 1;
    while (is_any_keyword(all, i, more))
        i++;
    while (is_sign(all, i, "[") && is_sign(all, i + 1, "]"))
        i += 2;
    return i < all->count ? i : all->count;
}

static bool is_call(const tokens *all, size_t open)
{
    return open > 0 && all->at[open - 1].kind == WORD && !is_boolean(all, open - 1) &&
           !is_keyword(all, open - 1, "not") && !is_keyword(all, open - 1, "where");
}

static void drop_casts(tokens *all, stele__is_varchar_fn is_varchar, const void *ctx)
{
    for (size_t i = 0; i < all->count; i++) {
        /* 'open'::text: a constant of unknown type was given the type that its place demands. */
        if (all->at[i].kind == STRING && is_sign(all, i + 1, "::"))
            take_away(all, i + 1, skip_type(all, i + 2));
        /* (name)::text of a varchar, which has no operators of its own. */
        if (is_sign(all, i, "(") && !is_call(all, i) && i + 4 < all->count &&
            all->at[i + 1].kind == WORD && is_sign(all, i + 2, ")") && is_sign(all, i + 3, "::") &&
            is_keyword(all, i + 4, "text") && !is_sign(all, i + 5, "[") &&
            is_varchar(ctx, all->at[i + 1].text)) {
            take_away(all, i + 2, i + 5);
            take_away(all, i, i + 1);
        }
    }
}

/* ---- parentheses that say nothing ---- */

static bool is_redundant(const tokens *all, size_t open, size_t close)
{
    bool boolean = false;
    for (size_t i = open + 1; i < close; i++) {
        if (is_sign(all, i, "(") || is_sign(all, i, "["))
            i = closing(all, i);
        else if (is_sign(all, i, ","))
            return false;
        else
            boolean = boolean || is_boolean(all, i);
    }
    bool first = open == 0 || is_sign(all, open - 1, "(");
    bool last = close + 1 == all->count || is_sign(all, close + 1, ")");
    if (close == open + 1)
        return false;
    if (first && last)
        return true;
    /* Everything but NOT, AND and OR binds tighter than these do. */
    return !boolean && (first || is_boolean(all, open - 1)) && (last || is_boolean(all, close + 1));
}

static void drop_parentheses(tokens *all)
{
    for (size_t i = 0; i < all->count;) {
        size_t close = is_sign(all, i, "(") ? closing(all, i) : all->count;
        if (close < all->count && is_redundant(all, i, close)) {
            take_away(all, close, close + 1);
            take_away(all, i, i + 1);
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
    size_t len = word_length(word);
    if (len == 0 || word[len] != '\0' || is_digit(*word))
        return false;
    for (; *word != '\0'; word++)
        if (*word >= 'A' && *word <= 'Z')
            return false;
    return true;
}

static void write_token(const tokens *all, size_t i, stele__buf *out)
{
    const token *t = &all->at[i];
    tokens bare = {&(token){WORD, false, t->text}, 1};
    bool large = is_any_keyword(&bare, 0, shown_large);
    if (t->kind == STRING) {
        stele__buf_add_literal(out, t->text, strlen(t->text));
    } else if (t->quoted && (large || !is_simple(t->text))) {
        stele__buf_add_ident(out, t->text, strlen(t->text));
    } else if (t->kind == WORD && large) {
        for (const char *c = t->text; *c != '\0'; c++)
            stele__buf_add_char(out, *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c);
    } else {
        stele__buf_add_text(out, t->text);
    }
}

static bool is_spaced(const tokens *all, size_t i)
{
    static const char *const tight_after[] = {"(", "[", ".", "::", NULL};
    static const char *const tight_before[] = {")", "]", ".", "::", ",", "[", NULL};
    if (i == 0)
        return false;
    for (const char *const *s = tight_after; *s != NULL; s++)
        if (is_sign(all, i - 1, *s))
            return false;
    for (const char *const *s = tight_before; *s != NULL; s++)
        if (is_sign(all, i, *s))
            return false;
    bool call = is_sign(all, i, "(") && all->at[i - 1].kind == WORD &&
                (all->at[i - 1].quoted || !is_any_keyword(all, i - 1, shown_large));
    return !call;
}

static void write_tokens(const tokens *all, stele__buf *out)
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
static void write_item(tokens item, stele__buf *out)
{
    size_t end = is_sign(&item, 0, "(") ? closing(&item, 0) : item.count;
    if (end < item.count && (end + 1 == item.count || item.at[end + 1].kind == WORD)) {
        take_away(&item, end, end + 1);
        take_away(&item, 0, 1);
        tokens inner = slice(&item, 0, end - 1);
        size_t before = inner.count;
        drop_parentheses(&inner);
        take_away(&item, inner.count, before);
    }
    size_t n = item.count;
    bool nulls = n >= 2 && is_keyword(&item, n - 2, "nulls");
    bool nulls_first = nulls && is_keyword(&item, n - 1, "first");
    size_t direction = nulls ? n - 2 : n;
    bool descending = direction > 0 && is_keyword(&item, direction - 1, "desc");
    if (nulls && nulls_first == descending)
        take_away(&item, n - 2, n);
    if (direction > 0 && is_keyword(&item, direction - 1, "asc"))
        take_away(&item, direction - 1, direction);
    write_tokens(&item, out);
}

static void write_list(tokens list, stele__buf *out)
{
    stele__buf_add_char(out, '(');
    for (size_t i = 0, from = 0; i <= list.count; i++) {
        if (i < list.count && (is_sign(&list, i, "(") || is_sign(&list, i, "[")))
            i = closing(&list, i);
        if (i < list.count && !is_sign(&list, i, ","))
            continue;
        /* The item is made shorter in place; what follows it is not touched. */
        write_item(slice(&list, from, i < list.count ? i : list.count), out);
        if (i < list.count)
            stele__buf_add_text(out, ", ");
        from = i + 1;
    }
    stele__buf_add_char(out, ')');
}

static bool is_plain_list(const tokens *list)
{
    static const char *const rest[] = {"asc", "desc", "nulls", "first", "last", NULL};
    for (size_t i = 0; i < list->count; i++) {
        bool begins = i == 0 || is_sign(list, i - 1, ",");
        bool fits = begins ? list->at[i].kind == WORD
                           : is_sign(list, i, ",") || is_any_keyword(list, i, rest);
        if (!fits)
            return false;
    }
    return true;
}

/* ---- predicates ---- */

/* "a IS NULL AND b IS NOT NULL" and the like. */
static bool is_plain_predicate(const tokens *all)
{
    size_t i = 0;
    while (i < all->count) {
        if (all->at[i].kind != WORD || !is_keyword(all, i + 1, "is"))
            return false;
        i += 2;
        i += is_keyword(all, i, "not");
        if (!is_keyword(all, i, "null"))
            return false;
        i++;
        if (i < all->count && !is_keyword(all, i, "and"))
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

static const char *write_whole(stele__block *mem, const tokens *all)
{
    stele__buf buf = {0};
    write_tokens(all, &buf);
    return keep(mem, &buf);
}

static const char *write_predicate(stele__block *mem, tokens all)
{
    stele__buf buf = {0};
    drop_parentheses(&all);
    /* AND is no conjunction in BETWEEN, and CASE has no brackets. */
    bool parted = find_keyword(&all, 0, "or") == all.count &&
                  find_keyword(&all, 0, "between") == all.count &&
                  find_keyword(&all, 0, "case") == all.count;
    const char **parts = stele__block_calloc(mem, all.count + 1, sizeof *parts);
    size_t count = 0;
    if (!parted)
        return write_whole(mem, &all);
    for (size_t from = 0; parts != NULL && from < all.count;) {
        size_t end = find_keyword(&all, from, "and");
        tokens part = slice(&all, from, end);
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

static bool index_def(stele__block *mem, tokens all, stele__index_def *ret_def)
{
    stele__buf keys = {0};
    stele__index_def def = {.method = "btree"};
    if (is_keyword(&all, 0, "using") && all.count > 1) {
        def.method = all.at[1].text;
        all = slice(&all, 2, all.count);
    }
    size_t where = find_keyword(&all, 0, "where");
    size_t included = find_keyword(&all, 0, "include");
    size_t nulls = find_keyword(&all, 0, "nulls");
    size_t close = closing(&all, 0);
    if (close >= all.count)
        close = all.count > 0 ? all.count - 1 : 0;
    tokens list = slice(&all, all.count > 0 ? 1 : 0, close);
    def.plain = is_plain_list(&list);
    write_list(list, &keys);
    if (included < where && is_sign(&all, included + 1, "(")) {
        size_t end = closing(&all, included + 1);
        stele__buf_add_text(&keys, " INCLUDE ");
        write_list(slice(&all, included + 2, end), &keys);
    }
    if (nulls < where && is_keyword(&all, nulls + 1, "not"))
        stele__buf_add_text(&keys, " NULLS NOT DISTINCT");
    def.keys = keep(mem, &keys);
    tokens predicate = where < all.count ? slice(&all, where + 1, all.count) : (tokens){all.at, 0};
    def.predicate = write_predicate(mem, predicate);
    tokens shown = {0};
    if (def.predicate == NULL || !tokenize(mem, def.predicate, &shown))
        return false;
    def.plain = def.plain && is_plain_predicate(&shown);
    *ret_def = def;
    return def.keys != NULL;
}

bool stele__index_def_of_tail(stele__block *mem, const char *tail, stele__is_varchar_fn is_varchar,
                              const void *ctx, stele__index_def *ret_def)
{
    tokens all;
    if (!tokenize(mem, tail, &all))
        return false;
    drop_casts(&all, is_varchar, ctx);
    return index_def(mem, all, ret_def);
}

bool stele__index_def_of_server(stele__block *mem, const char *create,
                                stele__is_varchar_fn is_varchar, const void *ctx,
                                stele__index_def *ret_def)
{
    tokens all;
    if (!tokenize(mem, create, &all))
        return false;
    size_t i = find_keyword(&all, 0, "on") + 1;
    i += is_keyword(&all, i, "only");
    i++;
    while (is_sign(&all, i, "."))
        i += 2;
    tokens tail = slice(&all, i < all.count ? i : all.count, all.count);
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
    tokens all;
    if (!tokenize(mem, text, &all))
        return NULL;
    tokens def = slice(&all, find_keyword(&all, 0, "foreign"), all.count);
    size_t name = find_keyword(&def, 0, "references") + 1;
    while (is_sign(&def, name + 1, "."))
        take_away(&def, name, name + 2);
    if (def.count >= 2 && is_keyword(&def, def.count - 2, "not") &&
        is_keyword(&def, def.count - 1, "valid"))
        def.count -= 2;
    return write_whole(mem, &def);
}

bool stele__sql_strings(stele__block *mem, const char *sql, const char ***ret_strings,
                        size_t *ret_count)
{
    tokens all;
    if (!tokenize(mem, sql, &all))
        return false;
    const char **strings = stele__block_calloc(mem, all.count + 1, sizeof *strings);
    size_t count = 0;
    for (size_t i = 0; strings != NULL && i < all.count; i++)
        if (all.at[i].kind == STRING)
            strings[count++] = all.at[i].text;
    *ret_strings = strings;
    *ret_count = count;
    return strings != NULL;
}
