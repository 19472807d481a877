#define _GNU_SOURCE
#include "listen_util.h"

#include <dirent.h>
#include <unistd.h>

stele_db *db;
stele_error err;

int setup_listen(void **state)
{
    (void)setup_database(state);
    db = open_db("ears", 4);
    return 0;
}

int teardown_listen(void **state)
{
    stele_db_close(db);
    return teardown_database(state);
}

void hear(const char *channel, const char *payload, bool rescan, void *user)
{
    ear *own = user;
    (void)channel;
    if (rescan) {
        atomic_fetch_add(&own->rescans, 1);
        return;
    }
    (void)snprintf(own->last, sizeof own->last, "%s", payload);
    atomic_fetch_add(&own->ends, strcmp(payload, "end") == 0 ? 1 : 0);
    atomic_fetch_add(&own->heard, 1);
}

stele_listener_options quick(void)
{
    stele_listener_options options = STELE_LISTENER_OPTIONS_INIT;
    options.idle_probe_ms = 100;
    options.probe_timeout_ms = 30000;
    options.reconnect_max_ms = 100;
    return options;
}

stele_listener *open_listener(stele_db *on, const stele_listener_options *options)
{
    stele_listener *listener = NULL;
    assert_ok(stele_listener_open(on, options, &listener, &err), &err);
    return listener;
}

void close_listener(stele_listener *listener)
{
    assert_ok(stele_listener_close(listener, 60000, &err), &err);
}

stele_subscription *subscribe(stele_listener *listener, const char *channel, ear *who)
{
    stele_subscription *sub = NULL;
    assert_ok(stele_listener_subscribe(listener, channel, hear, who, &sub, &err), &err);
    return sub;
}

stele_listen_stats heard_by(const stele_listener *listener)
{
    stele_listen_stats stats;
    stele_listener_stats(listener, &stats);
    return stats;
}

void peer(const char *sql)
{
    dbtest_exec(dsn, sql);
}

int kill_backends(const char *name)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                   " WHERE application_name = '%s' AND datname = current_database()",
                   name);
    char *count = dbtest_value(dsn, sql);
    int n = (int)strtol(count, NULL, 10);
    free(count);
    return n;
}

static int entries(const char *path)
{
    int n = 0;
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        n++;
    (void)closedir(folder);
    return n;
}

int descriptors(void)
{
    return entries("/proc/self/fd");
}

int threads_called(const char *name)
{
    int found = 0;
    char path[64];
    char comm[32];
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    for (struct dirent *one = readdir(folder); one != NULL; one = readdir(folder)) {
        (void)snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", one->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue;
        if (fgets(comm, sizeof comm, file) != NULL) {
            comm[strcspn(comm, "\n")] = '\0';
            found += strcmp(comm, name) == 0;
        }
        (void)fclose(file);
    }
    (void)closedir(folder);
    return found;
}
