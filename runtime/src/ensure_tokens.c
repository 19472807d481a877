/**
 * SQL in tokens.
 *
 * Floor: migrate.
 */
#include "ensure_tokens.h"

#include <string.h>

#include "banned.h"

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

size_t stele__word_length(const char *s)
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

static size_t read_token(stele__block *mem, const char *s, stele__token *t)
{
    size_t len;
    *t = (stele__token){.kind = STELE__SIGN};
    if (*s == '"' || *s == '\'') {
        t->kind = *s == '"' ? STELE__WORD : STELE__STRING;
        t->quoted = *s == '"';
        return read_quoted(mem, s, &t->text);
    }
    if (is_word_start(*s)) {
        t->kind = STELE__WORD;
        len = stele__word_length(s);
    } else if (is_digit(*s)) {
        t->kind = STELE__NUMBER;
        for (len = 1; is_word(s[len]) || s[len] == '.';)
            len++;
    } else {
        len = sign_length(s);
    }
    char *text = stele__block_strndup(mem, s, len);
    for (char *c = text; text != NULL && t->kind == STELE__WORD && *c != '\0'; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    t->text = text;
    if (text != NULL && strcmp(text, "!=") == 0)
        t->text = "<>";
    return len;
}

bool stele__tokenize(stele__block *mem, const char *sql, stele__tokens *ret_tokens)
{
    stele__tokens all = {.at = stele__block_calloc(mem, strlen(sql) + 1, sizeof(stele__token))};
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

bool stele__is_sign(const stele__tokens *all, size_t i, const char *sign)
{
    return i < all->count && all->at[i].kind == STELE__SIGN && strcmp(all->at[i].text, sign) == 0;
}

bool stele__is_keyword(const stele__tokens *all, size_t i, const char *word)
{
    return i < all->count && all->at[i].kind == STELE__WORD && !all->at[i].quoted &&
           strcmp(all->at[i].text, word) == 0;
}

bool stele__is_any_keyword(const stele__tokens *all, size_t i, const char *const *words)
{
    for (; *words != NULL; words++)
        if (stele__is_keyword(all, i, *words))
            return true;
    return false;
}

/* The bracket that closes the one at `open`; the count if none does. */
size_t stele__closing(const stele__tokens *all, size_t open)
{
    size_t depth = 0;
    for (size_t i = open; i < all->count; i++) {
        if (stele__is_sign(all, i, "(") || stele__is_sign(all, i, "["))
            depth++;
        else if ((stele__is_sign(all, i, ")") || stele__is_sign(all, i, "]")) && --depth == 0)
            return i;
    }
    return all->count;
}

/* The next keyword outside brackets, from `i` on; the count if there is none. */
size_t stele__find_keyword(const stele__tokens *all, size_t i, const char *word)
{
    for (; i < all->count; i++) {
        if (stele__is_sign(all, i, "("))
            i = stele__closing(all, i);
        else if (stele__is_keyword(all, i, word))
            return i;
    }
    return all->count;
}

void stele__take_away(stele__tokens *all, size_t from, size_t to)
{
    memmove(all->at + from, all->at + to, (all->count - to) * sizeof *all->at);
    all->count -= to - from;
}

/* Bounds outside the run are drawn in: unbalanced text must do no harm. */
stele__tokens stele__slice_tokens(const stele__tokens *all, size_t from, size_t to)
{
    if (to > all->count)
        to = all->count;
    if (from > to)
        from = to;
    return (stele__tokens){all->at + from, to - from};
}
