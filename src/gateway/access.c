/* SPDX-License-Identifier: MIT
 * Lists, and a comparison that tells nothing by its time. */
#include "gateway/access.h"

#include <stdint.h>
#include <string.h>

#include "gateway/words.h"

static char small(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter | 0x20) : letter;
}

static bool same_word(const char *a, const char *b)
{
    while (*a != '\0' && small(*a) == small(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

bool access_set_token(struct access *access, const char *text, size_t bytes)
{
    while (bytes > 0 && (text[bytes - 1] == '\n' || text[bytes - 1] == '\r'))
        bytes--;
    if (bytes < ACCESS_TOKEN_BYTES_MIN || bytes > ACCESS_TOKEN_BYTES_MAX)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (text[i] <= ' ' || text[i] >= 0x7f)
            return false;
    memcpy(access->token, text, bytes);
    access->token[bytes] = '\0';
    return true;
}

static bool is_listed_host(const struct access *access, const struct host *host, const char *text)
{
    for (size_t i = 0; i < access->host_count; i++) {
        const char *name = access->hosts[i];
        struct host listed;
        if (same_word(name, host->name) || same_word(name, text) ||
            (host_read(&listed, name) && listed.address.family != 0 &&
             address_equal(&listed.address, &host->address)))
            return true;
    }
    return false;
}

static bool is_this_host(const struct access *access, const char *text)
{
    struct host host;
    if (!host_read(&host, text) ||
        (host.port == HOST_PORT_NONE ? 80 : host.port) != access->listen.port)
        return false;
    if (host.address.family == 0)
        return strcmp(host.name, "localhost") == 0;
    struct address own = access->listen;
    own.port = 0;
    return address_is_loopback(&host.address) || address_is_wildcard(&own) ||
           address_equal(&own, &host.address);
}

bool access_host(const struct access *access, const char *host)
{
    struct host read;
    return host_read(&read, host) &&
           (is_listed_host(access, &read, host) || is_this_host(access, host));
}

bool access_foreign_origin(const struct access *access, const char *origin)
{
    for (size_t i = 0; i < access->origin_count; i++)
        if (same_word(access->origins[i], origin))
            return true;
    return false;
}

/* Another port of a listed host is another service's; as a proxy leaves it, it is the one asked. */
static bool is_own_page(const struct access *access, const char *text, const char *asked)
{
    struct host host;
    return host_read(&host, text) && is_listed_host(access, &host, text) &&
           (host.port == HOST_PORT_NONE || same_word(text, asked));
}

bool access_origin(const struct access *access, const char *origin, const char *asked)
{
    if (access_foreign_origin(access, origin))
        return true;
    if (strncmp(origin, "http://", 7) == 0)
        return is_this_host(access, origin + 7) || is_own_page(access, origin + 7, asked);
    return strncmp(origin, "https://", 8) == 0 && is_own_page(access, origin + 8, asked);
}

bool access_token(const struct access *access, const char *authorization)
{
    static const char scheme[] = "bearer ";
    size_t bytes = strlen(access->token), i = 0;
    if (bytes == 0)
        return true;
    if (authorization == NULL)
        return false;
    for (; scheme[i] != '\0'; i++)
        if (small(authorization[i]) != scheme[i])
            return false;
    const char *given = authorization + i + strspn(authorization + i, " ");
    size_t given_bytes = strlen(given);
    volatile uint8_t difference = given_bytes != bytes;
    for (i = 0; i < ACCESS_TOKEN_BYTES_MAX; i++) {
        uint8_t mine = (uint8_t)access->token[i < bytes ? i : bytes];
        uint8_t theirs = (uint8_t)given[i < given_bytes ? i : given_bytes];
        difference = (uint8_t)(difference | (mine ^ theirs));
    }
    return difference == 0;
}
