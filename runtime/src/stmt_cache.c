/**
 * A chained hash table with two lists by age: prepared statements, and those seen lately.
 *
 * Floor: stmt.
 */
#include "stmt_cache.h"

#include <string.h>

#include "mem_internal.h"

#include "banned.h"

stele__cache *stele__cache_new(uint32_t capacity)
{
    stele__cache *cache = stele__calloc(1, sizeof *cache);
    if (cache != NULL) {
        cache->prepared.capacity = capacity > 0 ? capacity : 1;
        cache->seen.capacity = STELE__RECENT;
    }
    return cache;
}

static void free_entry(stele__entry *entry)
{
    stele__free(entry->sql);
    stele__free(entry);
}

void stele__cache_free(stele__cache *cache)
{
    if (cache == NULL)
        return;
    stele__cache_clear(cache, NULL);
    stele__free(cache);
}

static stele__entry **bucket_of(stele__cache *cache, uint64_t hash)
{
    return &cache->buckets[hash >> (64 - STELE__BUCKET_BITS)];
}

static stele__age_list *list_of(stele__cache *cache, const stele__entry *entry)
{
    return entry->state == STELE__ENTRY_SEEN ? &cache->seen : &cache->prepared;
}

static void link_newest(stele__age_list *list, stele__entry *entry)
{
    entry->newer = NULL;
    entry->older = list->newest;
    if (list->newest != NULL)
        list->newest->newer = entry;
    else
        list->oldest = entry;
    list->newest = entry;
    list->count++;
}

static void unlink_entry(stele__age_list *list, stele__entry *entry)
{
    if (entry->newer != NULL)
        entry->newer->older = entry->older;
    else
        list->newest = entry->older;
    if (entry->older != NULL)
        entry->older->newer = entry->newer;
    else
        list->oldest = entry->newer;
    list->count--;
}

static bool matches(const stele__entry *entry, const stele__key *key)
{
    return entry->hash == key->hash && entry->stmt == key->stmt &&
           entry->names_id == key->names_id && entry->flags == key->flags &&
           entry->shape_len == key->shape_len &&
           (key->shape_len == 0 || memcmp(entry->shape, key->shape, key->shape_len) == 0);
}

stele__entry *stele__cache_find(stele__cache *cache, const stele__key *key)
{
    for (stele__entry *entry = *bucket_of(cache, key->hash); entry != NULL; entry = entry->chain)
        if (matches(entry, key))
            return entry;
    return NULL;
}

bool stele__cache_is_recent(const stele__cache *cache, const stele__entry *entry)
{
    return cache->lookups - entry->last_use < STELE__RECENT;
}

void stele__cache_renew(stele__cache *cache, stele__entry *entry)
{
    stele__age_list *list = list_of(cache, entry);
    if (list->newest == entry)
        return;
    unlink_entry(list, entry);
    link_newest(list, entry);
}

void stele__cache_drop(stele__cache *cache, stele__entry *entry)
{
    stele__entry **at = bucket_of(cache, entry->hash);
    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    stele__entry **latest = stele__cache_latest_place(cache, entry->stmt, entry->names_id);
    if (*latest == entry)
        *latest = NULL;
    unlink_entry(list_of(cache, entry), entry);
    entry->dropped = true;
    if (entry->pins == 0)
        free_entry(entry);
}

void stele__cache_add(stele__cache *cache, stele__entry *entry)
{
    if (cache->seen.count >= cache->seen.capacity)
        stele__cache_drop(cache, cache->seen.oldest);
    stele__entry **bucket = bucket_of(cache, entry->hash);
    entry->chain = *bucket;
    *bucket = entry;
    entry->last_use = cache->lookups;
    entry->dropped = false;
    entry->state = STELE__ENTRY_SEEN;
    link_newest(&cache->seen, entry);
}

stele__entry *stele__cache_victim(const stele__cache *cache)
{
    return cache->prepared.count >= cache->prepared.capacity ? cache->prepared.oldest : NULL;
}

static void move_entry(stele__cache *cache, stele__entry *entry, stele__entry_state state)
{
    unlink_entry(list_of(cache, entry), entry);
    entry->state = state;
    link_newest(list_of(cache, entry), entry);
}

void stele__cache_prepared(stele__cache *cache, stele__entry *entry)
{
    move_entry(cache, entry, STELE__ENTRY_PREPARED);
    entry->checked = STELE__UNCHECKED;
    stele__free(entry->sql);
    entry->sql = NULL;
}

void stele__cache_unprepared(stele__cache *cache, stele__entry *entry)
{
    if (entry->state == STELE__ENTRY_SEEN)
        return;
    if (cache->seen.count >= cache->seen.capacity)
        stele__cache_drop(cache, cache->seen.oldest);
    move_entry(cache, entry, STELE__ENTRY_SEEN);
    entry->checked = STELE__UNCHECKED;
}

static void clear_list(stele__cache *cache, stele__age_list *list, const stele__entry *but)
{
    stele__entry *entry = list->oldest;
    while (entry != NULL) {
        stele__entry *next = entry->newer;
        if (entry != but)
            stele__cache_drop(cache, entry);
        entry = next;
    }
}

void stele__cache_clear(stele__cache *cache, const stele__entry *but)
{
    clear_list(cache, &cache->prepared, but);
    clear_list(cache, &cache->seen, but);
}

void stele__entry_unpin(stele__entry *entry)
{
    if (--entry->pins == 0 && entry->dropped)
        free_entry(entry);
}
