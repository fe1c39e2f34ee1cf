/* SPDX-License-Identifier: MIT
 * Numeric addresses from text and to text. Relies on inet_pton(3) and inet_ntop(3). */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/net.h"

/* "eth0", the name of an interface as systems allow it. */
static int read_zone(const char *text, size_t bytes, char zone[ADDRESS_ZONE_BYTES])
{
    if (bytes == 0 || bytes >= ADDRESS_ZONE_BYTES)
        return -EINVAL;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f || strchr("/:%[]", text[i]) != NULL)
            return -EINVAL;
    memcpy(zone, text, bytes);
    zone[bytes] = '\0';
    return 0;
}

static int read_host(const char *text, size_t bytes, struct address *address)
{
    char host[INET6_ADDRSTRLEN];
    const char *mark = memchr(text, '%', bytes);
    size_t host_bytes = mark != NULL ? (size_t)(mark - text) : bytes;
    if (host_bytes == 0 || host_bytes >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, host_bytes);
    host[host_bytes] = '\0';
    memset(address, 0, sizeof(*address));
    if (mark != NULL && read_zone(mark + 1, bytes - host_bytes - 1, address->zone) < 0)
        return -EINVAL;
    if (inet_pton(AF_INET, host, address->bytes) == 1)
        address->family = 4;
    else if (inet_pton(AF_INET6, host, address->bytes) == 1)
        address->family = 6;
    else
        return -EINVAL;
    return 0;
}

/* A whole number without sign or blanks, at most `high`. */
static int read_number(const char *text, unsigned long high, unsigned long *number)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return -EINVAL;
    *number = strtoul(text, NULL, 10);
    return *number <= high ? 0 : -EINVAL;
}

int net_read_address(const char *text, struct address *address)
{
    const char *colon = strrchr(text, ':');
    unsigned long port;
    if (colon == NULL || read_number(colon + 1, 65535, &port) < 0 || port == 0)
        return -EINVAL;
    bool six = text[0] == '[';
    if (six && (colon == text + 1 || colon[-1] != ']'))
        return -EINVAL;
    size_t bytes = (size_t)(colon - text) - (six ? 2 : 0);
    int status = read_host(text + six, bytes, address);
    if (status < 0 || (address->family == 6) != six)
        return -EINVAL;
    address->port = (uint16_t)port;
    return 0;
}

int net_read_prefix(const char *text, struct prefix *prefix)
{
    size_t bytes = strcspn(text, "/");
    int status = read_host(text, bytes, &prefix->address);
    if (status < 0)
        return status;
    unsigned long high = prefix->address.family == 4 ? 32 : 128, bits = high;
    if (text[bytes] == '/' && read_number(text + bytes + 1, high, &bits) < 0)
        return -EINVAL;
    prefix->bits = (uint8_t)bits;
    for (unsigned long bit = bits; bit < high; bit++)
        if (prefix->address.bytes[bit / 8] & (0x80 >> bit % 8))
            return -EINVAL;
    return 0;
}

#define HOST_TEXT_BYTES (INET6_ADDRSTRLEN + ADDRESS_ZONE_BYTES)
_Static_assert(HOST_TEXT_BYTES + sizeof("[]:65535") <= NET_ADDRESS_TEXT_BYTES, "an address fits");

static void write_host(char text[HOST_TEXT_BYTES], const struct address *address)
{
    text[0] = '\0';
    inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, text, INET6_ADDRSTRLEN);
    size_t used = strlen(text);
    if (address->zone[0] != '\0')
        snprintf(text + used, HOST_TEXT_BYTES - used, "%%%s", address->zone);
}

char *net_write_address(char text[NET_ADDRESS_TEXT_BYTES], const struct address *address)
{
    char host[HOST_TEXT_BYTES];
    if (address->family == 0) {
        text[0] = '\0';
        return text;
    }
    write_host(host, address);
    snprintf(text, NET_ADDRESS_TEXT_BYTES, address->family == 4 ? "%s:%u" : "[%s]:%u", host,
             address->port);
    return text;
}

char *net_write_prefix(char text[NET_ADDRESS_TEXT_BYTES], const struct prefix *prefix)
{
    char host[HOST_TEXT_BYTES];
    write_host(host, &prefix->address);
    if (prefix->bits == (prefix->address.family == 4 ? 32 : 128))
        snprintf(text, NET_ADDRESS_TEXT_BYTES, "%s", host);
    else
        snprintf(text, NET_ADDRESS_TEXT_BYTES, "%s/%u", host, prefix->bits);
    return text;
}
