/* SPDX-License-Identifier: MIT
 * libmicrohttpd in the house's loop. A connection is suspended while a worker has its request, so
 * that nothing of it moves meanwhile. One that becomes a WebSocket goes to the hub as a copy of its
 * descriptor; libmicrohttpd lets go of its own at once, so that it neither counts the connection
 * nor keeps memory for it, and nothing of it is touched by two threads.
 *
 * Known: a line that ends in LF alone is taken as one that ends in CR LF, as RFC 9112, 2.2 allows;
 * a field without a name, and what stands behind a NUL in one, is not seen; what libmicrohttpd
 * refuses itself (a header that is too large, or none) has its own words. */
#include "gateway/http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "base/check.h"
#include "gateway/dialects.h"
#include "gateway/jobs.h"
#include "gateway/page.h"
#include "gateway/router.h"
#include "gateway/stream.h"
#include "gateway/upgrade.h"
#include "os/bell.h"
#include "os/clock.h"
#include "os/stream.h"

#define HEADER_BYTES_MAX 16384u /* and of what is on its way out */
#define HEADER_NS        (10 * NS_PER_S)
#define BODY_NS          (30 * NS_PER_S)
#define IDLE_S           30u
#define BODIES_BYTES_MAX (32u << 20) /* of all that have not been answered */
#define TICK_NS          (1 * NS_PER_S)
#define FOLD_BYTES_MAX   HEADER_BYTES_MAX

enum stage { STAGE_HEADER, STAGE_BODY, STAGE_WORK, STAGE_ANSWER };

/* A request on its way; made with its first line, freed when it is over. */
struct exchange {
    struct http *http;
    struct MHD_Connection *connection;
    const struct route *route;
    enum stage stage;
    int target_status; /* of target_read */
    size_t body_bytes;        /* of http's sum */
    bool too_large, too_many; /* the body; all bodies together */
    char origin[REQUEST_FIELD_BYTES]; /* a foreign one that may read the answer; "" */
    const struct dialect *dialect;    /* of a request at the path of one; NULL */
    const char *subprotocol;          /* that is agreed on */
    char accept[UPGRADE_ACCEPT_BYTES];
    struct request request;
    struct reply reply;
};

/* A connection, by which slow ones are found. */
struct visitor {
    descriptor_t descriptor;
    uint64_t deadline_ns; /* by when its header, or its body, is to be there; 0: it is our turn */
    bool used;
};

struct http {
    struct loop *loop;
    const struct gateway *gateway;
    struct MHD_Daemon *daemon;
    struct jobs *jobs;
    struct hub *hub;
    struct loop_watch watch, answered;
    descriptor_t bell; /* rung by a worker that is done */
    struct loop_timer due, tick;
    size_t body_bytes; /* of all requests */
    struct visitor visitors[HTTP_CONNECTIONS_MAX];
};

/* ---- slow connections ---- */

static struct visitor *visitor_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void expect_by(struct MHD_Connection *connection, uint64_t within_ns)
{
    struct visitor *visitor = visitor_of(connection);
    if (visitor != NULL)
        visitor->deadline_ns = within_ns > 0 ? clock_monotonic_ns() + within_ns : 0;
}

static void connection_changed(void *context, struct MHD_Connection *connection,
                               void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*socket_context != NULL)
            ((struct visitor *)*socket_context)->used = false;
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX && info != NULL; i++)
        if (!http->visitors[i].used) {
            http->visitors[i] =
                (struct visitor){info->connect_fd, clock_monotonic_ns() + HEADER_NS, true};
            *socket_context = &http->visitors[i];
            return;
        }
}

static void run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    MHD_run(http->daemon);
    if (MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES)
        loop_arm(http->loop, &http->due, clock_monotonic_ns() + wait_ms * NS_PER_MS);
    else
        loop_disarm(&http->due);
}

/* And so that libmicrohttpd listens again after there was no room for a connection. */
static void tick(void *context)
{
    struct http *http = context;
    uint64_t now_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct visitor *visitor = &http->visitors[i];
        if (visitor->used && visitor->deadline_ns != 0 && visitor->deadline_ns < now_ns) {
            stream_end(visitor->descriptor);
            visitor->deadline_ns = 0;
        }
    }
    run(http);
    loop_arm(http->loop, &http->tick, now_ns + TICK_NS);
}

/* ---- answers ---- */

static void add(struct MHD_Response *response, const char *name, const char *value)
{
    if (value != NULL && value[0] != '\0')
        MHD_add_response_header(response, name, value);
}

static void add_fields(struct MHD_Response *response, const struct exchange *exchange)
{
    const struct reply *reply = &exchange->reply;
    add(response, "Content-Type", reply->type);
    add(response, "Content-Encoding", reply->encoding);
    add(response, "Content-Security-Policy",
        reply->policy != NULL
            ? reply->policy
            : "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
    add(response, "X-Content-Type-Options", "nosniff");
    add(response, "X-Frame-Options", "DENY");
    add(response, "Referrer-Policy", "no-referrer");
    add(response, "Cross-Origin-Opener-Policy", "same-origin");
    add(response, "Cross-Origin-Resource-Policy", "same-origin");
    add(response, "Cache-Control",
        reply->cache != NULL        ? reply->cache
        : reply->etag[0] != '\0' ? "private, no-cache"
                                    : "no-store");
    add(response, "Vary", "Origin, Authorization, Accept, Accept-Encoding");
    add(response, "Access-Control-Allow-Origin", exchange->origin);
    if (exchange->origin[0] != '\0')
        add(response, "Access-Control-Expose-Headers", "ETag, Content-Range, Content-Disposition, "
                                                               "Location");
    add(response, "ETag", reply->etag);
    add(response, "Content-Range", reply->content_range);
    add(response, "Content-Disposition", reply->disposition);
    add(response, "Allow", reply->allow);
    add(response, "Location", reply->location);
    if (exchange->route != NULL && exchange->route->answer == rest_file)
        add(response, "Accept-Ranges", "bytes");
    if (reply->status == 401)
        add(response, "WWW-Authenticate", "Bearer realm=\"flotilla\"");
    if (reply->status == 503)
        add(response, "Retry-After", "1");
    if (reply->status == 426) {
        add(response, "Connection", "Upgrade");
        add(response, "Upgrade", "websocket");
        add(response, "Sec-WebSocket-Version", "13");
    }
    if (exchange->origin[0] != '\0' && reply->allow != NULL && reply->status == 204) {
        add(response, "Access-Control-Allow-Methods", reply->allow);
        add(response, "Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, "
                                                              "Range");
        add(response, "Access-Control-Max-Age", "600");
    }
}

/* The answer 101 is on its way. */
static void hand_over(void *context, struct MHD_Connection *connection, void *made,
                      const char *early, size_t early_bytes, MHD_socket descriptor,
                      struct MHD_UpgradeResponseHandle *handle)
{
    struct exchange *exchange = made;
    (void)context;
    (void)connection;
    hub_take(exchange->http->hub, exchange->dialect, descriptor_copy(descriptor),
             (struct span){(const uint8_t *)early, early_bytes});
    MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE); /* closes its descriptor, ends nothing */
}

static struct MHD_Response *make_upgrade(const struct exchange *exchange)
{
    struct MHD_Response *response = MHD_create_response_for_upgrade(hand_over, NULL);
    if (response == NULL)
        return NULL;
    add(response, "Upgrade", "websocket");
    add(response, "Sec-WebSocket-Accept", exchange->accept);
    add(response, "Sec-WebSocket-Protocol", exchange->subprotocol);
    return response;
}

static enum MHD_Result send_reply(struct exchange *exchange)
{
    struct reply *reply = &exchange->reply;
    struct MHD_Response *response;
    exchange->stage = STAGE_ANSWER;
    expect_by(exchange->connection, 0);
    if (reply->status == 101) {
        response = make_upgrade(exchange);
    } else if (reply->file >= 0) {
        response = MHD_create_response_from_fd_at_offset64(reply->bytes, reply->file, reply->first);
        if (response != NULL)
            reply->file = DESCRIPTOR_NONE;
    } else if (reply->stream != NULL) {
        response = stream_answer(reply->stream, exchange->connection, exchange->http->loop,
                                 exchange->http->bell);
        if (response != NULL)
            reply->stream = NULL;
    } else {
        response = MHD_create_response_from_buffer(reply->body.bytes, reply->body.at,
                                                   MHD_RESPMEM_MUST_FREE);
        if (response != NULL)
            reply->body = (struct text){0};
    }
    if (response == NULL)
        return MHD_NO;
    if (reply->status != 101)
        add_fields(response, exchange);
    enum MHD_Result result = MHD_queue_response(exchange->connection, reply->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- judging ---- */

struct fields {
    unsigned hosts, lengths, origins, tokens, ranges;
    bool encoded, broken;
    bool foreign, navigates; /* by the browser: a page from elsewhere asks; somebody goes there */
    const char *host, *length, *origin, *token, *type;
    struct request *request;
    struct upgrade upgrade;
};

static void keep(char to[REQUEST_FIELD_BYTES], const char *value)
{
    size_t bytes = strlen(value);
    if (bytes < REQUEST_FIELD_BYTES)
        memcpy(to, value, bytes + 1);
}

/* A value that goes on on another line is put together elsewhere than where it stood, behind its
 * name; a name has no blank at its end. */
static bool is_in_one_piece(const char *name, size_t name_bytes, const char *value)
{
    const uintptr_t from = (uintptr_t)name + name_bytes, at = (uintptr_t)value;
    if (value == NULL || strlen(value) == 0)
        return true;
    return at > from && at - from < FOLD_BYTES_MAX &&
           strspn(name + name_bytes + 1, " \t") == at - from - 1;
}

static enum MHD_Result read_field(void *context, enum MHD_ValueKind kind, const char *name,
                                  size_t name_bytes, const char *value, size_t value_bytes)
{
    struct fields *fields = context;
    static const char token[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "!#$%&'*+-.^_`|~";
    (void)kind;
    if (value == NULL)
        value = "";
    fields->broken |= name_bytes == 0 || strspn(name, token) != name_bytes ||
                      strlen(value) != value_bytes || !is_in_one_piece(name, name_bytes, value);
    for (size_t i = 0; i < value_bytes; i++)
        fields->broken |= ((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f;
    if (word_is(name, name_bytes, "host")) {
        fields->hosts++;
        fields->host = value;
    } else if (word_is(name, name_bytes, "content-length")) {
        fields->lengths++;
        fields->length = value;
    } else if (word_is(name, name_bytes, "transfer-encoding")) {
        fields->encoded = true;
    } else if (word_is(name, name_bytes, "origin")) {
        fields->origins++;
        fields->origin = value;
    } else if (word_is(name, name_bytes, "sec-fetch-site")) {
        fields->foreign |= strcmp(value, "cross-site") == 0 || strcmp(value, "same-site") == 0;
    } else if (word_is(name, name_bytes, "sec-fetch-mode")) {
        fields->navigates = strcmp(value, "navigate") == 0;
    } else if (word_is(name, name_bytes, "authorization")) {
        fields->tokens++;
        fields->token = value;
    } else if (word_is(name, name_bytes, "content-type")) {
        fields->type = value;
    } else if (word_is(name, name_bytes, "range")) {
        fields->ranges++;
        keep(fields->request->range, value);
    } else if (word_is(name, name_bytes, "if-range")) {
        keep(fields->request->if_range, value);
    } else if (word_is(name, name_bytes, "if-none-match")) {
        keep(fields->request->if_none_match, value);
    } else if (word_is(name, name_bytes, "if-match")) {
        keep(fields->request->if_match, strlen(value) < REQUEST_FIELD_BYTES ? value : "?");
    } else if (word_is(name, name_bytes, "accept")) {
        keep(fields->request->accept, value);
    } else if (word_is(name, name_bytes, "accept-encoding")) {
        keep(fields->request->accept_encoding, value);
    } else {
        upgrade_read(&fields->upgrade, name, value);
    }
    return MHD_YES;
}

/* What could be read in two ways, by us and by a proxy in front. False with a problem. */
static bool is_sound(struct exchange *exchange, const struct fields *fields, const char *version)
{
    struct reply *reply = &exchange->reply;
    if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
        reply_problem(reply, 400, "HTTP/1.1 is spoken here");
    else if (exchange->target_status == -ENAMETOOLONG)
        reply_problem(reply, 414, "no target here is so long");
    else if (exchange->target_status < 0)
        reply_problem(reply, 400, "the target is no path, or has in it what no path here has");
    else if (fields->hosts != 1)
        reply_problem(reply, 400, "a request has one Host");
    else if (fields->encoded)
        reply_problem(reply, 411, "a body is sent with its Content-Length, not in chunks");
    else if (fields->broken || fields->origins > 1 || fields->tokens > 1 || fields->ranges > 1)
        reply_problem(reply, 400, "a field of the header is not well-formed, or there twice");
    else if (fields->lengths > 1 ||
             (fields->length != NULL &&
              strspn(fields->length, "0123456789") != strlen(fields->length)))
        reply_problem(reply, 400, "Content-Length is one number");
    else
        return true;
    return false;
}

/* By Authorization; a page that opens a WebSocket cannot set that, and offers a subprotocol. */
static bool has_token(const struct access *access, const struct fields *fields)
{
    char authorization[UPGRADE_PROTOCOLS_BYTES];
    if (fields->token != NULL || !fields->upgrade.asked ||
        !upgrade_authorization(&fields->upgrade, authorization, sizeof(authorization)))
        return access_token(access, fields->token);
    return access_token(access, authorization);
}

static bool may_ask(struct exchange *exchange, const struct fields *fields, bool preflight)
{
    const struct access *access = &exchange->http->gateway->access;
    struct reply *reply = &exchange->reply;
    if (!access_host(access, fields->host)) {
        reply_problem(reply, 421, "this gateway is not called \"%.100s\"; see allowed_hosts",
                      fields->host);
        return false;
    }
    if (fields->origin != NULL && !access_origin(access, fields->origin, fields->host)) {
        reply_problem(reply, 403, "pages of \"%.100s\" may not ask here; see origins",
                      fields->origin);
        return false;
    }
    if (fields->origin != NULL && access_foreign_origin(access, fields->origin))
        keep(exchange->origin, fields->origin);
    bool is_page = !fields->upgrade.asked && page_find(&exchange->request) != NULL;
    /* A picture or a link of another page asks without an Origin, and makes work all the same. */
    if (fields->foreign && exchange->origin[0] == '\0' && !(is_page && fields->navigates)) {
        reply_problem(reply, 403, "pages of others may not ask here; see origins");
        return false;
    }
    if (!preflight && !is_page && !has_token(access, fields)) {
        reply_problem(reply, 401, "a token is asked for: Authorization: Bearer TOKEN");
        return false;
    }
    return true;
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    for (size_t i = 0; i < sizeof(json) - 1; i++)
        if (type == NULL ||
            (type[i] >= 'A' && type[i] <= 'Z' ? type[i] | 0x20 : type[i]) != json[i])
            return false;
    type += sizeof(json) - 1 + strspn(type + sizeof(json) - 1, " \t");
    return *type == '\0' || *type == ';';
}

/* A WebSocket's path. Makes the answer: 101, or a problem. */
static void agree(struct exchange *exchange, const struct fields *fields, const char *method,
                  const char *version)
{
    struct reply *reply = &exchange->reply;
    const char *why;
    unsigned status = upgrade_judge(&fields->upgrade, exchange->dialect->subprotocols,
                                    &exchange->subprotocol, &why);
    if (strcmp(method, "OPTIONS") == 0) {
        reply->allow = "GET, OPTIONS";
        reply->status = 204;
    } else if (strcmp(method, "GET") != 0) {
        reply->allow = "GET, OPTIONS";
        reply_problem(reply, 405, "%.20s is not for a WebSocket; GET is", method);
    } else if (status != 101) {
        reply_problem(reply, status, "%s", why);
    } else if (strcmp(version, "HTTP/1.1") != 0 || fields->length != NULL) {
        reply_problem(reply, 400, "a WebSocket begins with a GET of HTTP/1.1, without a body");
    } else if (!hub_has_room(exchange->http->hub)) {
        reply_problem(reply, 503, "there are %u WebSockets already", HUB_SOCKETS_MAX);
    } else {
        upgrade_accept(exchange->accept, fields->upgrade.key);
        reply->status = 101;
    }
}

/* Whether a dialect is spoken at the path. There may be a route as well, for who asks for no
 * WebSocket. */
static bool find_dialect(struct exchange *exchange, const struct fields *fields)
{
    const struct dialect *const *one = dialects;
    while (*one != NULL && !router_is_path((*one)->path, &exchange->request))
        one++;
    exchange->dialect = *one;
    if (*one == NULL || fields->upgrade.asked)
        return *one != NULL;
    const struct route *route;
    const char *allow;
    return router_find(&exchange->request, "GET", &route, &allow) != 0;
}

/* Finds the route, reads what it is told. False with an answer: a problem, or that of OPTIONS. */
static bool find_route(struct exchange *exchange, const struct fields *fields, const char *method)
{
    struct reply *reply = &exchange->reply;
    const char *allow = NULL;
    unsigned status = router_find(&exchange->request, method, &exchange->route, &allow);
    if (status == 404) {
        reply_problem(reply, 404, "there is nothing at this path; see /api/v1/openapi.json");
        return false;
    }
    reply->allow = allow;
    if (strcmp(method, "OPTIONS") == 0) {
        reply->status = 204;
        return false;
    }
    if (status != 0) {
        reply_problem(reply, status, "%.20s is not for this path; these are: %s", method, allow);
        return false;
    }
    reply->allow = NULL;
    if (exchange->route->changes && exchange->http->gateway->read_only) {
        reply_problem(reply, 403, "this gateway is read-only: nothing is changed from here");
        return false;
    }
    bool body = fields->length != NULL && strspn(fields->length, "0") != strlen(fields->length);
    if (body && exchange->route->body_bytes_max == 0) {
        reply_problem(reply, 400, "%.20s has no body", method);
        return false;
    }
    if (body && !is_json(fields->type)) {
        reply_problem(reply, 415, "a body is application/json");
        return false;
    }
    /* Of more than seven digits nothing is taken anywhere. */
    if (body && (strlen(fields->length) > 7 ||
                 strtoul(fields->length, NULL, 10) > exchange->route->body_bytes_max)) {
        reply_problem(reply, 413, "a body has at most %zu bytes here",
                      exchange->route->body_bytes_max);
        return false;
    }
    return router_read_values(exchange->route, &exchange->request, reply);
}

static bool take(struct exchange *exchange, const char *method, const char *version)
{
    struct fields fields = {.request = &exchange->request};
    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, read_field, &fields);
    if (!is_sound(exchange, &fields, version) ||
        !may_ask(exchange, &fields, strcmp(method, "OPTIONS") == 0))
        return false;
    if (!find_dialect(exchange, &fields))
        return find_route(exchange, &fields, method);
    agree(exchange, &fields, method, version);
    return false;
}

/* ---- libmicrohttpd's calls ---- */

static void *begin(void *context, const char *raw, struct MHD_Connection *connection)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL)
        return NULL;
    exchange->http = context;
    exchange->connection = connection;
    exchange->request.gateway = exchange->http->gateway;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    exchange->request.client = info != NULL ? info->connect_fd : DESCRIPTOR_NONE;
    exchange->reply.file = DESCRIPTOR_NONE;
    exchange->target_status = target_read(&exchange->request.target, raw);
    return exchange;
}

static void end(void *context, struct MHD_Connection *connection, void **made,
                enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *made;
    (void)context;
    (void)code;
    expect_by(connection, HEADER_NS);
    if (exchange == NULL)
        return;
    descriptor_close(exchange->reply.file);
    stream_free(exchange->reply.stream);
    exchange->http->body_bytes -= exchange->body_bytes;
    text_free(&exchange->request.body);
    text_free(&exchange->reply.body);
    free(exchange);
    *made = NULL;
}

/* In a worker's thread. */
static void answer(void *job)
{
    struct exchange *exchange = job;
    exchange->route->answer(&exchange->request, &exchange->reply);
    if (exchange->reply.status == 0 || exchange->reply.body.failed)
        reply_problem(&exchange->reply, 500, "out of memory");
    struct http *http = exchange->http; /* the exchange may be gone with the next line */
    MHD_resume_connection(exchange->connection);
    bell_ring(http->bell);
}

static enum MHD_Result take_body(struct exchange *exchange, const char *bytes, size_t *count)
{
    struct http *http = exchange->http;
    if (exchange->request.body.bytes + *count > exchange->route->body_bytes_max) {
        exchange->too_large = true;
    } else if (http->body_bytes + *count > BODIES_BYTES_MAX) {
        exchange->too_many = true;
    } else {
        text_add_bytes(&exchange->request.body, bytes, *count);
        http->body_bytes += *count;
        exchange->body_bytes += *count;
    }
    *count = 0;
    return MHD_YES;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *bytes,
                              size_t *count, void **made)
{
    struct http *http = context;
    struct exchange *exchange = *made;
    (void)url;
    if (exchange == NULL)
        return MHD_NO;
    switch (exchange->stage) {
    case STAGE_HEADER:
        exchange->stage = STAGE_BODY;
        expect_by(connection, BODY_NS);
        return take(exchange, method, version) ? MHD_YES : send_reply(exchange);
    case STAGE_BODY:
        if (*count > 0)
            return take_body(exchange, bytes, count);
        if (exchange->too_large || exchange->request.body.failed) {
            reply_problem(&exchange->reply, 413, "the body is too large");
            return send_reply(exchange);
        }
        if (exchange->too_many) {
            reply_problem(&exchange->reply, 503, "too much is sent here at once; try again");
            return send_reply(exchange);
        }
        exchange->stage = STAGE_WORK;
        expect_by(connection, 0);
        MHD_suspend_connection(connection);
        if (jobs_add(http->jobs, exchange))
            return MHD_YES;
        reply_problem(&exchange->reply, 503, "%u requests wait already", JOBS_MAX);
        MHD_resume_connection(connection);
        return MHD_YES;
    case STAGE_WORK:
        return send_reply(exchange);
    case STAGE_ANSWER:
        break;
    }
    return MHD_NO;
}

/* ---- in the loop ---- */

static void ready(void *context, unsigned events)
{
    (void)events;
    run(context);
}

static void answered(void *context, unsigned events)
{
    struct http *http = context;
    (void)events;
    bell_still(http->bell);
    run(http);
}

static void due(void *context)
{
    run(context);
}

int http_start(struct http **made, struct loop *loop, descriptor_t listener,
               const struct gateway *gateway, struct hub *hub)
{
    struct http *http = calloc(1, sizeof(*http));
    if (http == NULL)
        return -ENOMEM;
    *made = http;
    http->loop = loop;
    http->gateway = gateway;
    http->hub = hub;
    http->due = (struct loop_timer){.due = due, .context = http};
    http->tick = (struct loop_timer){.due = tick, .context = http};
    http->bell = bell_open();
    http->answered =
        (struct loop_watch){.descriptor = http->bell, .ready = answered, .context = http};
    int status = http->bell < 0 ? http->bell : loop_watch(loop, &http->answered, LOOP_READ);
    if (status == 0)
        status = jobs_start(&http->jobs, answer);
    if (status < 0)
        return status;
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE, 0, NULL, NULL, handle, http,
        MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEADER_BYTES_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK,
        begin, http, MHD_OPTION_NOTIFY_COMPLETED, end, http, MHD_OPTION_NOTIFY_CONNECTION,
        connection_changed, http, MHD_OPTION_END);
    if (http->daemon == NULL)
        return -ENOMEM;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL)
        return -EOPNOTSUPP;
    http->watch =
        (struct loop_watch){.descriptor = info->epoll_fd, .ready = ready, .context = http};
    status = loop_watch(loop, &http->watch, LOOP_READ);
    if (status < 0)
        return status;
    tick(http);
    return 0;
}
