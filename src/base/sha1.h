/* SPDX-License-Identifier: MIT
 * SHA-1, which the handshake of WebSocket asks for, and nothing that is to be secret or safe:
 * collisions of it are made. Relies on nothing. Source: RFC 3174. */
#ifndef FLOTILLA_BASE_SHA1_H
#define FLOTILLA_BASE_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_BYTES 20u

/* The digest of `count` bytes. */
void sha1(uint8_t digest[SHA1_BYTES], const void *bytes, size_t count);

#endif
