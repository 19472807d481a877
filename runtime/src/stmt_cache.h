/**
 * Which statements a connection knows, and which it saw lately.
 *
 * An entry is one statement under one set of names in one shape. It is prepared when it is used a
 * second time within the last 256 look-ups; before, its SQL is sent unnamed. Both kinds are bounded.
 *
 * Floor: stmt.
 */
#ifndef STELE_STMT_CACHE_H
#define STELE_STMT_CACHE_H

#include "bind.h"

/** How far back a first use counts. */
#define STELE__RECENT 256

typedef enum stele__entry_state {
    STELE__ENTRY_SEEN, /* not on the server */
    STELE__ENTRY_PREPARED,
    STELE__ENTRY_STALE /* on the server, but its plan no longer fits: replace it */
} stele__entry_state;

/** Whether an entry is prepared, and its result types were compared with the schema. */
typedef enum stele__entry_check {
    STELE__UNCHECKED,
    STELE__CHECKED,
    STELE__CHECKED_TEXTS /* and its parameters can go by stele__bind_texts() */
} stele__entry_check;

typedef struct stele__entry {
    uint64_t hash;
    const stele_gen_stmt *stmt;
    uint64_t names_id;
    uint32_t flags;
    stele__entry_state state;
    uint8_t checked;    /* stele__entry_check */
    bool on_way;        /* a PREPARE of it was sent and is not answered */
    bool dropped;       /* out of the cache; it lives while it is pinned */
    uint8_t stale_runs; /* executions in a row that failed as those of stale plans do */
    uint16_t param_count;
    uint16_t shape_len;
    stele__text_plan texts;
    uint32_t pins;     /* of pipelines and streams that still need it */
    uint64_t last_use; /* look-up number */
    struct stele__entry *chain;
    struct stele__entry *newer, *older; /* in the list of its kind */
    uint16_t *order;                    /* parameter of each $n */
    stele__bind_slot *slots;            /* how each $n is bound */
    uint32_t *types;                    /* OID of each $n */
    stele__bind_input *inputs;          /* their tags when it was looked up last */
    uint8_t *states;                    /* of all parameters; NULL when all are plain */
    uint8_t *shape;                     /* those of the inputs */
    char *sql;                          /* NULL once prepared */
    char name[24]; /* on the server: a hash of SQL and types, the same in every process */
} stele__entry;

/** Entries of one kind by age. */
typedef struct stele__age_list {
    stele__entry *newest, *oldest;
    uint32_t count;
    uint32_t capacity;
} stele__age_list;

#define STELE__BUCKET_BITS 10
#define STELE__LATEST 64u

/* Open to this floor, so that the frequent look-up takes no call. */
typedef struct stele__cache {
    uint64_t lookups;
    stele__age_list prepared; /* stale ones among them: the server still holds them */
    stele__age_list seen;
    stele__entry *latest[STELE__LATEST]; /* by statement and names; the newer one stays */
    stele__entry *buckets[1u << STELE__BUCKET_BITS];
} stele__cache;

static inline stele__entry **
stele__cache_latest_place(stele__cache *cache, const stele_gen_stmt *stmt, uint64_t names_id)
{
    return &cache->latest[((uintptr_t)stmt / 32 ^ names_id) % STELE__LATEST];
}

/** What an entry is found by. */
typedef struct stele__key {
    uint64_t hash;
    const stele_gen_stmt *stmt;
    uint64_t names_id;
    uint32_t flags;
    uint16_t shape_len;
    const uint8_t *shape;
} stele__key;

/** `capacity` prepared statements at most; NULL when memory is out. */
stele__cache *stele__cache_new(uint32_t capacity);
void stele__cache_free(stele__cache *cache);

/** Finds an entry; NULL if there is none. */
stele__entry *stele__cache_find(stele__cache *cache, const stele__key *key);

/**
 * The entry that was used last for a statement under these names and flags: a guess that spares the
 * look-up if its shape fits. May be NULL though there is one.
 */
static inline stele__entry *stele__cache_latest(stele__cache *cache, const stele_gen_stmt *stmt,
                                                uint64_t names_id, uint32_t flags)
{
    stele__entry *entry = *stele__cache_latest_place(cache, stmt, names_id);
    if (entry != NULL && entry->stmt == stmt && entry->names_id == names_id &&
        entry->flags == flags)
        return entry;
    return NULL;
}

/** Notes that a prepared entry's result types are those of the schema. */
static inline void stele__entry_set_checked(stele__entry *entry)
{
    entry->checked = entry->texts.possible ? STELE__CHECKED_TEXTS : STELE__CHECKED;
}

/** True if the entry was used before within the last STELE__RECENT look-ups: worth preparing. */
bool stele__cache_is_recent(const stele__cache *cache, const stele__entry *entry);

/** Adds a seen entry, taking it over; the oldest seen one may go. */
void stele__cache_add(stele__cache *cache, stele__entry *entry);

/**
 * Marks an entry as prepared and forgets its SQL. There must be room: the caller has deallocated and
 * dropped the victim.
 */
void stele__cache_prepared(stele__cache *cache, stele__entry *entry);

/** Marks an entry as not on the server; it must have its SQL. The oldest seen one may go. */
void stele__cache_unprepared(stele__cache *cache, stele__entry *entry);

/** The least recently used prepared entry if one more would be too many, else NULL. */
stele__entry *stele__cache_victim(const stele__cache *cache);

/** Makes an entry the newest of its kind. */
void stele__cache_renew(stele__cache *cache, stele__entry *entry);

/** Counts a look-up whose entry was the latest, and makes that the newest of its kind. */
static inline void stele__cache_touch_latest(stele__cache *cache, stele__entry *entry)
{
    entry->last_use = ++cache->lookups;
    if (cache->prepared.newest != entry)
        stele__cache_renew(cache, entry);
}

/** The same for any entry, which becomes the latest. */
static inline void stele__cache_touch(stele__cache *cache, stele__entry *entry)
{
    *stele__cache_latest_place(cache, entry->stmt, entry->names_id) = entry;
    stele__cache_touch_latest(cache, entry);
}

/** Forgets one entry, or all but one (NULL: all), because the server has lost them. */
void stele__cache_drop(stele__cache *cache, stele__entry *entry);
void stele__cache_clear(stele__cache *cache, const stele__entry *but);

/** Keeps an entry in memory, also when the cache drops it, until it is unpinned as often. */
static inline void stele__entry_pin(stele__entry *entry)
{
    entry->pins++;
}
void stele__entry_unpin(stele__entry *entry);

#endif
