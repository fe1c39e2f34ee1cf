/* SPDX-License-Identifier: MIT
 * Who may ask: every request is judged by the host it names, the page it comes from, and its token.
 * The host, because a page that was loaded from elsewhere can have its own name lead to this
 * address (DNS rebinding), and then counts as of the same origin. Pure. Sources: RFC 6454 (Origin),
 * RFC 6750 (Bearer). */
#ifndef FLOTILLA_GATEWAY_ACCESS_H
#define FLOTILLA_GATEWAY_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"

#define ACCESS_TOKEN_BYTES_MIN 16u
#define ACCESS_TOKEN_BYTES_MAX 512u
#define ACCESS_NAMES_MAX       64u

struct access {
    struct address listen;
    const char *hosts[ACCESS_NAMES_MAX]; /* besides localhost, loopback and the address itself */
    size_t host_count;
    const char *origins[ACCESS_NAMES_MAX]; /* as browsers write them, https://tools.example */
    size_t origin_count;
    char token[ACCESS_TOKEN_BYTES_MAX + 1]; /* "": none is asked for */
};

/* Takes the token out of what the file holds: one line. False: it is no token. */
bool access_set_token(struct access *access, const char *text, size_t bytes);

/* Whether `host`, the value of a Host field, is this gateway: localhost, a loopback address or the
 * one it listens at (of a wildcard: any address, for those are no names) with its port, or one of
 * `hosts` with whatever port, as a proxy leaves it. */
bool access_host(const struct access *access, const char *host);

/* Whether pages of that origin may ask: its own, or one of `origins`. Its own is `http://` and a
 * host as above; of `hosts`, also by `https://`, the one with no port or that which was `asked`,
 * the request's Host: at another port of it there is another service. */
bool access_origin(const struct access *access, const char *origin, const char *asked);
/* Whether it is one of `origins`, which are told that they may (CORS). */
bool access_foreign_origin(const struct access *access, const char *origin);

/* Whether `authorization` (NULL: none) carries the token. Takes as long whatever it holds. */
bool access_token(const struct access *access, const char *authorization);

#endif
