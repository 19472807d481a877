/**
 * SQL in tokens: what reading definitions stands on.
 *
 * Floor: migrate.
 */
#ifndef STELE_ENSURE_TOKENS_H
#define STELE_ENSURE_TOKENS_H

#include "mem_internal.h"

typedef enum stele__token_kind {
    STELE__WORD,
    STELE__STRING,
    STELE__NUMBER,
    STELE__SIGN
} stele__token_kind;

typedef struct stele__token {
    stele__token_kind kind;
    bool quoted;      /* a word in double quotes: never a keyword */
    const char *text; /* a word folded, a string without its quotes */
} stele__token;

/** A run of tokens; taking some away moves the rest together. */
typedef struct stele__tokens {
    stele__token *at;
    size_t count;
} stele__tokens;

/** False when memory is out. Texts live in the block. */
bool stele__tokenize(stele__block *mem, const char *sql, stele__tokens *ret_tokens);

/** Bytes of the word that `s` begins with. */
size_t stele__word_length(const char *s);

/** Whether a sign, or one of the keywords (the list ends with NULL), stands at `i`; not past the end. */
bool stele__is_sign(const stele__tokens *all, size_t i, const char *sign);
bool stele__is_keyword(const stele__tokens *all, size_t i, const char *word);
bool stele__is_any_keyword(const stele__tokens *all, size_t i, const char *const *words);

/** The bracket that closes the one at `open`; the count if none does. */
size_t stele__closing(const stele__tokens *all, size_t open);

/** The next keyword outside brackets, from `i` on; the count if there is none. */
size_t stele__find_keyword(const stele__tokens *all, size_t i, const char *word);

void stele__take_away(stele__tokens *all, size_t from, size_t to);

/** Bounds outside the run are drawn in: unbalanced text must do no harm. */
stele__tokens stele__slice_tokens(const stele__tokens *all, size_t from, size_t to);

#endif
