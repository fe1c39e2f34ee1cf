/* SPDX-License-Identifier: MIT
 * What of a request says that the connection is to become a WebSocket, and what it is answered.
 * Pure, strict. Source: RFC 6455, 4.2. */
#ifndef FLOTILLA_GATEWAY_UPGRADE_H
#define FLOTILLA_GATEWAY_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>

#define UPGRADE_KEY_BYTES       24u
#define UPGRADE_ACCEPT_BYTES    29u /* with a NUL */
#define UPGRADE_PROTOCOLS_BYTES 2048u

/* All zero to begin with. */
struct upgrade {
    bool asked;     /* Upgrade: websocket */
    bool connected; /* Connection: Upgrade */
    bool version, key_good, broken;
    unsigned versions, keys; /* how many of these fields there were */
    char key[UPGRADE_KEY_BYTES + 1];
    /* Subprotocols that are offered, each with a NUL behind. */
    char protocols[UPGRADE_PROTOCOLS_BYTES];
    size_t protocols_bytes;
};

/* Takes a field of the header in, if it is one of these. */
void upgrade_read(struct upgrade *upgrade, const char *name, const char *value);

/* Judges it by one of `subprotocols` (NULL at their end), of which the first that is offered is
 * left in `*chosen`. 101, or the status of a problem, and `*why`. */
unsigned upgrade_judge(const struct upgrade *upgrade, const char *const *subprotocols,
                       const char **chosen, const char **why);

/* The value of an Authorization field that says what a subprotocol `bearer.TOKEN` does: a page
 * cannot set that field. In TOKEN, %XX may stand for a letter, as some are not for a subprotocol.
 * False: none, or more than one, is offered, or it does not fit. */
bool upgrade_authorization(const struct upgrade *upgrade, char *authorization, size_t bytes);

/* What a key is answered. */
void upgrade_accept(char accept[UPGRADE_ACCEPT_BYTES], const char key[UPGRADE_KEY_BYTES + 1]);

#endif
