#include "summary.h"

#include "banned.h"

/*
 * The extractive summarizer. A sentence counts for as much as its words occur in all of them, by the
 * word and not by the sentence, so that long ones gain nothing; the best are kept, in their order.
 */
typedef struct sentence {
    stele_str who; /* "" for one of the summary before: it says so itself */
    stele_str text;
    uint64_t hash;
    uint64_t score;
    bool kept;
} sentence;

typedef struct word {
    uint64_t hash; /* 0: free */
    uint64_t count;
} word;

typedef struct digest {
    sentence *sentences;
    size_t count;
    size_t cap;
    word *words;
    size_t mask; /* places in `words`, less one */
} digest;

/* ---- sentences ---- */

static bool is_blank(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Bytes of what ends a sentence at `at`, 0 if nothing does. */
static size_t stop_at(stele_str text, size_t at)
{
    static const char *const wide[] = {"\xe3\x80\x82", "\xef\xbc\x81", "\xef\xbc\x9f"}; /* 。！？ */
    char c = text.data[at];
    if (c == '\n')
        return 1;
    if (c == '.' || c == '!' || c == '?')
        return at + 1 == text.len || is_blank((unsigned char)text.data[at + 1]);
    for (size_t i = 0; i < 3; i++) {
        if (text.len - at >= 3 && memcmp(text.data + at, wide[i], 3) == 0)
            return 3;
    }
    return 0;
}

/* Cuts the next sentence off `rest`; false when there is none. */
static bool next_sentence(stele_str *rest, stele_str *ret_sentence)
{
    while (rest->len > 0 && is_blank((unsigned char)rest->data[0])) {
        rest->data++;
        rest->len--;
    }
    if (rest->len == 0)
        return false;
    size_t end = 0, stop = 0;
    while (end < rest->len && (stop = stop_at(*rest, end)) == 0)
        end++;
    *ret_sentence = (stele_str){rest->data, end + stop};
    if (stop > 0 && rest->data[end] == '\n')
        ret_sentence->len = end;
    rest->data += end + stop;
    rest->len -= end + stop;
    return true;
}

/* ---- words ---- */

static unsigned char folded(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

static bool in_word(unsigned char c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || (folded(c) >= 'a' && folded(c) <= 'z');
}

/* FNV-1a of the next word of more than three bytes; false when there is none. */
static bool next_word(stele_str *rest, uint64_t *ret_hash)
{
    for (size_t at = 0, len = 0; at <= rest->len; at++) {
        if (at < rest->len && in_word((unsigned char)rest->data[at])) {
            len++;
            continue;
        }
        if (len > 3) {
            uint64_t hash = UINT64_C(14695981039346656037);
            for (size_t i = at - len; i < at; i++)
                hash = (hash ^ folded((unsigned char)rest->data[i])) * UINT64_C(1099511628211);
            *ret_hash = hash | 1;
            rest->data += at;
            rest->len -= at;
            return true;
        }
        len = 0;
    }
    return false;
}

static word *find_word(const digest *all, uint64_t hash)
{
    size_t at = (hash >> 8) & all->mask;
    while (all->words[at].hash != 0 && all->words[at].hash != hash)
        at = (at + 1) & all->mask;
    return &all->words[at];
}

/* ---- the digest ---- */

static size_t sentences_in(stele_str text)
{
    size_t count = 0;
    stele_str found;
    while (next_sentence(&text, &found))
        count++;
    return count;
}

static size_t words_in(stele_str text)
{
    return text.len / 4 + 1;
}

static bool speaks(const stele_summary_event *event)
{
    return event->text.len > 0 && !stele_str_eq(event->role, stele_s("tool")) &&
           !stele_str_eq(event->role, stele_s("system"));
}

static void add_sentences(digest *all, stele_str who, stele_str text)
{
    sentence next = {.who = who};
    while (next_sentence(&text, &next.text)) {
        stele_str rest = next.text;
        uint64_t hash;
        next.hash = 1;
        while (next_word(&rest, &hash)) {
            word *entry = find_word(all, hash);
            entry->hash = hash;
            entry->count++;
            next.hash = next.hash * 31 + hash;
        }
        if (next.hash != 1) /* a sentence without words to go by is left out */
            all->sentences[all->count++] = next;
    }
}

static bool gather(digest *all, const stele_summary_view *view)
{
    size_t words = words_in(view->previous), places = 16;
    all->cap = sentences_in(view->previous);
    for (size_t i = 0; i < view->event_count; i++) {
        all->cap += sentences_in(view->events[i].text);
        words += words_in(view->events[i].text);
    }
    while (places < words * 2)
        places *= 2;
    all->mask = places - 1;
    all->sentences = stele__summary_calloc(all->cap, sizeof *all->sentences);
    all->words = stele__summary_calloc(places, sizeof *all->words);
    if (all->sentences == NULL || all->words == NULL)
        return false;
    add_sentences(all, stele_s(""), view->previous);
    for (size_t i = 0; i < view->event_count; i++) {
        const stele_summary_event *event = &view->events[i];
        if (speaks(event))
            add_sentences(all, event->author.len > 0 ? event->author : event->role, event->text);
    }
    return true;
}

static void rate(digest *all)
{
    for (size_t i = 0; i < all->count; i++) {
        stele_str rest = all->sentences[i].text;
        uint64_t hash, sum = 0, words = 4; /* four more, so that "Thanks!" is not the best */
        while (next_word(&rest, &hash)) {
            sum += find_word(all, hash)->count;
            words++;
        }
        all->sentences[i].score = sum * 1024 / words;
    }
}

static bool said_already(const digest *all, const sentence *one)
{
    for (size_t i = 0; i < all->count; i++) {
        if (all->sentences[i].kept && all->sentences[i].hash == one->hash)
            return true;
    }
    return false;
}

static size_t line_bytes(const sentence *one)
{
    return one->text.len + 1 + (one->who.len > 0 ? one->who.len + 2 : 0);
}

/* Of equal ones the first is kept. */
static void choose(digest *all, size_t max_sentences, size_t max_bytes)
{
    for (size_t kept = 0; kept < max_sentences;) {
        sentence *best = NULL;
        for (size_t i = 0; i < all->count; i++) {
            sentence *one = &all->sentences[i];
            if (one->score > 0 && (best == NULL || one->score > best->score))
                best = one;
        }
        if (best == NULL)
            return;
        best->score = 0; /* looked at */
        if (line_bytes(best) > max_bytes || said_already(all, best))
            continue;
        max_bytes -= line_bytes(best);
        best->kept = true;
        kept++;
    }
}

static void write_kept(const digest *all, stele_summary_text *text)
{
    for (size_t i = 0; i < all->count; i++) {
        const sentence *one = &all->sentences[i];
        if (!one->kept)
            continue;
        if (stele_summary_written(text).len > 0)
            stele_summary_add(text, "\n", 1);
        stele_summary_add(text, one->who.data, one->who.len);
        if (one->who.len > 0)
            stele_summary_add(text, ": ", 2);
        stele_summary_add(text, one->text.data, one->text.len);
    }
}

stele_status stele_summarize_extractive(const stele_summary_view *view, stele_summary_text *text,
                                        void *user, stele_error *err)
{
    const stele_extractive_options *options = user;
    size_t sentences = options != NULL && options->max_sentences > 0 ? options->max_sentences : 8;
    size_t bytes = options != NULL && options->max_bytes > 0 ? options->max_bytes : 2000;
    stele_status st = STELE_OK;
    digest all = {0};
    if (gather(&all, view)) {
        rate(&all);
        choose(&all, sentences, bytes);
        write_kept(&all, text);
    } else {
        st = stele__store_fail(err, STELE_E_NOMEM, "no memory to pick sentences");
    }
    stele_free(all.sentences);
    stele_free(all.words);
    return st;
}
