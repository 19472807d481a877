/**
 * A list of named connection strings.
 *
 * Floor: db.
 */
#define _GNU_SOURCE
#include "registry.h"

#include <pthread.h>
#include <string.h>

#include "mem_internal.h"
#include "status_internal.h"
#include "text_internal.h"

#include "banned.h"

typedef struct instance {
    char *name;
    char *dsn;
} instance;

struct stele_registry {
    pthread_mutex_t mutex;
    instance *items;
    size_t count;
};

void stele__registry_forget(char *dsn)
{
    if (dsn == NULL)
        return;
    explicit_bzero(dsn, strlen(dsn));
    stele__free(dsn);
}

stele_status stele_registry_new(stele_registry **ret_registry, stele_error *err)
{
    if (ret_registry == NULL)
        return stele__fail(err, STELE_E_INPUT, "ret_registry is NULL");
    stele_registry *registry = stele__calloc(1, sizeof *registry);
    if (registry == NULL || pthread_mutex_init(&registry->mutex, NULL) != 0) {
        stele__free(registry);
        return stele__fail(err, STELE_E_NOMEM, "out of memory while making a registry");
    }
    *ret_registry = registry;
    return STELE_OK;
}

static instance *find(const stele_registry *registry, const char *name)
{
    for (size_t i = 0; i < registry->count; i++)
        if (strcmp(registry->items[i].name, name) == 0)
            return &registry->items[i];
    return NULL;
}

/* Takes both strings on success. */
static bool put(stele_registry *registry, char *name, char *dsn)
{
    instance *item = find(registry, name);
    if (item != NULL) {
        stele__registry_forget(item->dsn);
        item->dsn = dsn;
        stele__free(name);
        return true;
    }
    item = stele__realloc_array(registry->items, registry->count + 1, sizeof *item);
    if (item == NULL)
        return false;
    registry->items = item;
    registry->items[registry->count++] = (instance){.name = name, .dsn = dsn};
    return true;
}

stele_status stele_registry_set(stele_registry *registry, const char *name, const char *dsn,
                                stele_error *err)
{
    if (registry == NULL || name == NULL || name[0] == '\0' || dsn == NULL || dsn[0] == '\0')
        return stele__fail(err, STELE_E_INPUT, "an instance needs a registry, a name and a dsn");
    char *name_copy = stele__strdup(name);
    char *dsn_copy = stele__strdup(dsn);
    bool done = false;
    if (name_copy != NULL && dsn_copy != NULL) {
        (void)pthread_mutex_lock(&registry->mutex);
        done = put(registry, name_copy, dsn_copy);
        (void)pthread_mutex_unlock(&registry->mutex);
    }
    if (done)
        return STELE_OK;
    stele__free(name_copy);
    stele__registry_forget(dsn_copy);
    return stele__fail(err, STELE_E_NOMEM, "out of memory while naming an instance");
}

static stele_status not_there(const stele_registry *registry, const char *name, stele_error *err)
{
    stele_status st = stele__fail(err, STELE_E_INPUT, "no instance \"%s\" in the registry", name);
    stele__buf known = {0};
    for (size_t i = 0; i < registry->count; i++)
        stele__buf_addf(&known, "%s\"%s\"", i > 0 ? ", " : "", registry->items[i].name);
    if (registry->count == 0)
        stele__error_hint(err, "the registry is empty: add it with stele_registry_set");
    else
        stele__error_hint(err, "there are: %s", stele__buf_text(&known));
    stele__buf_release(&known);
    return st;
}

stele_status stele__registry_copy(const stele_registry *registry, const char *name, char **ret_dsn,
                                  stele_error *err)
{
    /* The lock is no part of what the caller sees as constant. */
    pthread_mutex_t *mutex = (pthread_mutex_t *)(uintptr_t)&registry->mutex;
    stele_status st = STELE_OK;
    (void)pthread_mutex_lock(mutex);
    const instance *item = find(registry, name);
    if (item == NULL) {
        st = not_there(registry, name, err);
    } else {
        char *dsn = stele__strdup(item->dsn);
        if (dsn == NULL)
            st = stele__fail(err, STELE_E_NOMEM, "out of memory while reading the registry");
        else
            *ret_dsn = dsn;
    }
    (void)pthread_mutex_unlock(mutex);
    return st;
}

void stele_registry_free(stele_registry *registry)
{
    if (registry == NULL)
        return;
    for (size_t i = 0; i < registry->count; i++) {
        stele__free(registry->items[i].name);
        stele__registry_forget(registry->items[i].dsn);
    }
    stele__free(registry->items);
    (void)pthread_mutex_destroy(&registry->mutex);
    stele__free(registry);
}
