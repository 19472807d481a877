#include "sessions_internal.h"

#include "banned.h"

/*
 * When sessions began, as this store saw them last. A queued append is meant for the session of that
 * time: should another process delete it and create it anew meanwhile, or create it anew over one that
 * has expired, the append is refused. The time tells both; the row's id would stay in the second case.
 *
 * Of so many sessions the one that was seen first is forgotten; its appends go wherever its key leads.
 */
enum { SESSIONS = 4096, BUCKETS = 2 * SESSIONS };

typedef struct seen {
    stele_session_key key; /* parts of `text` */
    char *text;            /* NULL: nothing here */
    stele_ts created_at;
    uint32_t bucket;
    uint32_t next; /* of the same bucket, from 1; 0 ends it */
} seen;

struct stele__seen {
    pthread_mutex_t lock;
    uint32_t turn; /* the place that is taken next */
    uint32_t buckets[BUCKETS];
    seen places[SESSIONS];
};

stele_status stele__seen_open(stele_sessions *store, stele_error *err)
{
    store->seen = stele_alloc(sizeof *store->seen);
    if (store->seen == NULL)
        return stele__store_no_memory(err);
    memset(store->seen, 0, sizeof *store->seen);
    (void)pthread_mutex_init(&store->seen->lock, NULL);
    return STELE_OK;
}

void stele__seen_free(stele_sessions *store)
{
    if (store->seen == NULL)
        return;
    for (size_t i = 0; i < SESSIONS; i++)
        stele_free(store->seen->places[i].text);
    (void)pthread_mutex_destroy(&store->seen->lock);
    stele_free(store->seen);
    store->seen = NULL;
}

static uint64_t mix(uint64_t hash, stele_str part)
{
    for (size_t i = 0; i < part.len; i++)
        hash = (hash ^ (unsigned char)part.data[i]) * 1099511628211u;
    return (hash ^ 0xff) * 1099511628211u; /* no UTF-8 has this byte */
}

static uint32_t bucket_of(const stele_session_key *key)
{
    uint64_t hash = mix(14695981039346656037u, key->app_name);
    hash = mix(mix(hash, key->user_id), key->session_id);
    return (uint32_t)((hash ^ hash >> 32) % BUCKETS);
}

/* Where the number of the key's place stands: 0 if it has none. */
static uint32_t *find(stele__seen *all, uint32_t bucket, const stele_session_key *key)
{
    uint32_t *at = &all->buckets[bucket];
    while (*at != 0) {
        seen *one = &all->places[*at - 1];
        if (stele_str_eq(one->key.session_id, key->session_id) &&
            stele_str_eq(one->key.user_id, key->user_id) &&
            stele_str_eq(one->key.app_name, key->app_name))
            break;
        at = &one->next;
    }
    return at;
}

static void leave(stele__seen *all, uint32_t *at)
{
    seen *one = &all->places[*at - 1];
    *at = one->next;
    stele_free(one->text);
    memset(one, 0, sizeof *one);
}

static stele_str put_part(char **at, stele_str part)
{
    stele_str copy = {*at, part.len};
    memcpy(*at, part.data, part.len);
    *at += part.len;
    return copy;
}

/* Without memory it is not remembered. */
static void enter(stele__seen *all, uint32_t bucket, const stele_session_key *key, stele_ts at)
{
    uint32_t place = all->turn;
    seen *one = &all->places[place];
    char *text = stele_alloc(key->app_name.len + key->user_id.len + key->session_id.len);
    if (text == NULL)
        return;
    if (one->text != NULL)
        leave(all, find(all, one->bucket, &one->key));
    all->turn = (place + 1) % SESSIONS;
    one->text = text;
    one->key.app_name = put_part(&text, key->app_name);
    one->key.user_id = put_part(&text, key->user_id);
    one->key.session_id = put_part(&text, key->session_id);
    one->created_at = at;
    one->bucket = bucket;
    one->next = all->buckets[bucket];
    all->buckets[bucket] = place + 1;
}

void stele__seen_note(stele_sessions *store, const stele_session_key *key, stele_ts created_at)
{
    stele__seen *all = store->seen;
    if (all == NULL)
        return;
    uint32_t bucket = bucket_of(key);
    (void)pthread_mutex_lock(&all->lock);
    uint32_t *at = find(all, bucket, key);
    if (*at == 0)
        enter(all, bucket, key, created_at);
    else if (created_at >= all->places[*at - 1].created_at)
        all->places[*at - 1].created_at = created_at;
    else
        leave(all, at); /* of a read that was overtaken, or restored: which one there is, is open */
    (void)pthread_mutex_unlock(&all->lock);
}

void stele__seen_forget(stele_sessions *store, const stele_session_key *key)
{
    stele__seen *all = store->seen;
    if (all == NULL)
        return;
    uint32_t bucket = bucket_of(key);
    (void)pthread_mutex_lock(&all->lock);
    uint32_t *at = find(all, bucket, key);
    if (*at != 0)
        leave(all, at);
    (void)pthread_mutex_unlock(&all->lock);
}

stele_opt_ts stele__seen_when(stele_sessions *store, const stele_session_key *key)
{
    stele_opt_ts when = {0};
    stele__seen *all = store->seen;
    if (all == NULL)
        return when;
    uint32_t bucket = bucket_of(key);
    (void)pthread_mutex_lock(&all->lock);
    uint32_t place = *find(all, bucket, key);
    if (place != 0) {
        when.has = true;
        when.v = all->places[place - 1].created_at;
    }
    (void)pthread_mutex_unlock(&all->lock);
    return when;
}
