/* SPDX-License-Identifier: MIT
 * The server: requests by HTTP/1.1 in, judged, handed to a worker, answered. libmicrohttpd parses
 * and sends, in the loop's one thread; routes run in a few threads of their own, since they may
 * wait for the manager or a disk.
 * Limits: HTTP_CONNECTIONS_MAX connections (WebSockets aside), a header of 16 KiB in 10 s, a body
 * as the route has it in 30 s, 30 s without progress; beyond JOBS_MAX requests at a time: 503.
 * Refused besides, each with a problem of RFC 9457: more or fewer than one Host, two lengths, any
 * Transfer-Encoding, a field's value on two lines, a body of GET.
 * Sources: RFC 9110, RFC 9112, RFC 9457, libmicrohttpd's manual. */
#ifndef FLOTILLA_GATEWAY_HTTP_H
#define FLOTILLA_GATEWAY_HTTP_H

#include "gateway/exchange.h"
#include "gateway/hub.h"
#include "os/loop.h"

#define HTTP_CONNECTIONS_MAX 256u

struct http; /* opaque */

/* Serves on `listener` (of stream_listen), which is taken, in the callbacks of `loop`; WebSockets
 * go to `hub`. All of them and `gateway` must outlive it; there is no way to end it but the
 * process's end. 0 or a negative errno. */
int http_start(struct http **http, struct loop *loop, descriptor_t listener,
               const struct gateway *gateway, struct hub *hub);

#endif
