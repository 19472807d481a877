/**
 * Serving metrics over HTTP, by libmicrohttpd.
 *
 * Floor: metrics.
 */
#define _GNU_SOURCE
#include "status_internal.h"
#include "stele/metrics.h"

#ifdef STELE__WITH_HTTP

#include <arpa/inet.h>
#include <microhttpd.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "mem_internal.h"

#include "banned.h"

#define OPEN_METRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"
#define CONNECTIONS 16 /* at once */
#define IDLE_SECONDS 10
#define CONNECTION_BYTES 32768

struct stele_metrics_server {
    stele_metrics *metrics;
    struct MHD_Daemon *daemon;
    char *path;
    uint16_t port;
};

/* ---- answering ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type,
                              const char *text, size_t len)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result say(struct MHD_Connection *connection, unsigned code, const char *text)
{
    return answer(connection, code, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result answer_metrics(const stele_metrics_server *server,
                                      struct MHD_Connection *connection)
{
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    bool open = accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
    char *text = NULL;
    size_t len = 0;
    if (stele_metrics_text(server->metrics,
                           open ? STELE_METRICS_OPENMETRICS : STELE_METRICS_PROMETHEUS, &text, &len,
                           NULL) != STELE_OK)
        return say(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    enum MHD_Result result =
        answer(connection, MHD_HTTP_OK, open ? OPEN_METRICS : PROMETHEUS, text, len);
    stele_free(text);
    return result;
}

/* Called once at the head of a request, for each piece of a body, and at the end. */
static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *body,
                              size_t *body_size, void **state)
{
    static int seen;
    const stele_metrics_server *server = user;
    (void)version;
    (void)body;
    if (*state == NULL) {
        *state = &seen;
        return MHD_YES;
    }
    if (*body_size > 0) {
        *body_size = 0;
        return MHD_YES;
    }
    if (strcmp(url, server->path) != 0)
        return say(connection, MHD_HTTP_NOT_FOUND, "not found\n");
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET it\n");
    return answer_metrics(server, connection);
}

/* libmicrohttpd would write to stderr. */
static void keep_quiet(void *user, const char *format, va_list args)
{
    (void)user;
    (void)format;
    (void)args;
}

/* ---- starting ---- */

typedef union place {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} place;

static stele_status find_place(const stele_metrics_server_options *options, place *ret_place,
                               stele_error *err)
{
    const char *address = options->address != NULL ? options->address : "127.0.0.1";
    memset(ret_place, 0, sizeof *ret_place);
    ret_place->v4.sin_family = AF_INET;
    ret_place->v4.sin_port = htons(options->port);
    if (inet_pton(AF_INET, address, &ret_place->v4.sin_addr) == 1)
        return STELE_OK;
    memset(ret_place, 0, sizeof *ret_place);
    ret_place->v6.sin6_family = AF_INET6;
    ret_place->v6.sin6_port = htons(options->port);
    if (inet_pton(AF_INET6, address, &ret_place->v6.sin6_addr) == 1)
        return STELE_OK;
    stele_status st = stele__fail(err, STELE_E_INPUT, "\"%.60s\" is no address", address);
    stele__error_hint(err, "give an IPv4 or IPv6 address, such as 127.0.0.1 or ::1");
    return st;
}

static bool find_port(stele_metrics_server *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_LISTEN_FD);
    place bound;
    socklen_t size = sizeof bound;
    memset(&bound, 0, sizeof bound);
    if (info == NULL || getsockname(info->listen_fd, &bound.any, &size) != 0)
        return false;
    server->port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    return true;
}

static stele_status start(stele_metrics_server *server, const place *where, stele_error *err)
{
    sigset_t all;
    sigset_t kept;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ERROR_LOG;
    if (where->any.sa_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    /* Signals are the application's. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &kept);
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, server, MHD_OPTION_EXTERNAL_LOGGER, keep_quiet, NULL,
        MHD_OPTION_SOCK_ADDR, &where->any, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_END);
    (void)pthread_sigmask(SIG_SETMASK, &kept, NULL);
    if (server->daemon != NULL && find_port(server))
        return STELE_OK;
    stele_status st = stele__fail(err, STELE_E_CONNECT, "cannot listen for requests for metrics");
    stele__error_hint(err, "the port may be taken, or not allowed: choose another, or 0 for any");
    return st;
}

stele_status stele_metrics_serve(stele_metrics *metrics,
                                 const stele_metrics_server_options *options,
                                 stele_metrics_server **ret_server, stele_error *err)
{
    static const stele_metrics_server_options none = STELE_METRICS_SERVER_OPTIONS_INIT;
    place where;
    if (metrics == NULL || ret_server == NULL)
        return stele__fail(err, STELE_E_INPUT, "metrics or ret_server is NULL");
    if (options == NULL)
        options = &none;
    if (options->size != sizeof *options)
        return stele__fail(err, STELE_E_INPUT, "options.size is not set");
    stele_status st = find_place(options, &where, err);
    if (st != STELE_OK)
        return st;
    stele_metrics_server *server = stele__calloc(1, sizeof *server);
    char *path = stele__strdup(options->path != NULL ? options->path : "/metrics");
    if (server == NULL || path == NULL) {
        stele__free(server);
        stele__free(path);
        return stele__fail(err, STELE_E_NOMEM, "out of memory for a server of metrics");
    }
    server->metrics = metrics;
    server->path = path;
    st = start(server, &where, err);
    if (st != STELE_OK)
        stele_metrics_server_close(server);
    else
        *ret_server = server;
    return st;
}

uint16_t stele_metrics_server_port(const stele_metrics_server *server)
{
    return server->port;
}

void stele_metrics_server_close(stele_metrics_server *server)
{
    if (server == NULL)
        return;
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon);
    stele__free(server->path);
    stele__free(server);
}

#else

#include "banned.h"

stele_status stele_metrics_serve(stele_metrics *metrics,
                                 const stele_metrics_server_options *options,
                                 stele_metrics_server **ret_server, stele_error *err)
{
    (void)metrics;
    (void)options;
    (void)ret_server;
    stele_status st =
        stele__fail(err, STELE_E_UNSUPPORTED, "this build of Stele serves no metrics over HTTP");
    stele__error_hint(err, "build it with libmicrohttpd (meson -Dhttp=enabled), or hand out what "
                           "stele_metrics_text() writes with a server of your own");
    return st;
}

uint16_t stele_metrics_server_port(const stele_metrics_server *server)
{
    (void)server;
    return 0;
}

void stele_metrics_server_close(stele_metrics_server *server)
{
    (void)server;
}

#endif
