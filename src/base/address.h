/* SPDX-License-Identifier: MIT
 * Numeric addresses as values: what they are, without asking a system. Text is os/net's.
 * Sources: RFC 1122 3.2.1.3, RFC 5771, RFC 4291 2.4 to 2.7. */
#ifndef FLOTILLA_BASE_ADDRESS_H
#define FLOTILLA_BASE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ADDRESS_ZONE_BYTES 128 /* alternative names of an interface have up to 127 */

struct address {
    uint8_t family; /* 4, 6, or 0 for none */
    uint16_t port;
    uint8_t bytes[16]; /* network order; IPv4 uses the first four */
    /* The interface that is named behind it ("fe80::1%eth0"); "": none is. Only of what people
     * write: it is no part of the address that datagrams carry. Source: RFC 4007, 11. */
    char zone[ADDRESS_ZONE_BYTES];
};

struct prefix {
    struct address address; /* port unused */
    uint8_t bits;           /* 32 or 128 for a single address */
};

/* Port included; the zone is for whoever knows what it means where there is none. */
static inline bool address_equal(const struct address *a, const struct address *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static inline bool address_is_multicast(const struct address *address)
{
    return (address->family == 4 && (address->bytes[0] & 0xf0) == 0xe0) ||
           (address->family == 6 && address->bytes[0] == 0xff);
}

/* Whether it means something only together with an interface: every link has such an address. */
static inline bool address_is_link_local(const struct address *address)
{
    uint8_t scope = address->bytes[1] & 0x0f; /* of a group: 1 the interface, 2 the link */
    return address->family == 6 &&
           ((address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80) ||
            (address->bytes[0] == 0xff && (scope == 1 || scope == 2)));
}

/* Whether it is of the groups that are joined for single senders only, or routers forward nothing.
 * Source: RFC 4607, 1. */
static inline bool address_is_source_specific(const struct address *address)
{
    return (address->family == 4 && address->bytes[0] == 232) ||
           (address->family == 6 && address->bytes[0] == 0xff &&
            (address->bytes[1] & 0xf0) == 0x30 && address->bytes[2] == 0 && address->bytes[3] == 0);
}

/* Everybody on the link. */
static inline bool address_is_limited_broadcast(const struct address *address)
{
    return address->family == 4 && memcmp(address->bytes, "\xff\xff\xff\xff", 4) == 0;
}

/* IPv4 in the form of IPv6, ::ffff:192.0.2.1, which the sockets of neither take here. */
static inline bool address_is_mapped(const struct address *address)
{
    static const uint8_t front[12] = {[10] = 0xff, [11] = 0xff};
    return address->family == 6 && memcmp(address->bytes, front, sizeof front) == 0;
}

/* All addresses of the host, as one to listen at. */
static inline bool address_is_wildcard(const struct address *address)
{
    static const uint8_t zero[16];
    return memcmp(address->bytes, zero, address->family == 4 ? 4 : 16) == 0;
}

static inline bool address_is_loopback(const struct address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    return address->family == 4 ? address->bytes[0] == 127 : memcmp(address->bytes, one, 16) == 0;
}

static inline bool prefix_is_single(const struct prefix *prefix)
{
    return prefix->bits == (prefix->address.family == 4 ? 32 : 128);
}

static inline bool prefix_covers(const struct prefix *prefix, const struct address *address)
{
    if (prefix->address.family != address->family)
        return false;
    unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;
    if (memcmp(prefix->address.bytes, address->bytes, whole) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return rest == 0 || ((prefix->address.bytes[whole] ^ address->bytes[whole]) & mask) == 0;
}

#endif
