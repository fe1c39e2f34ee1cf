/* SPDX-License-Identifier: MIT
 * Targets, ranges and hosts, letter by letter. */
#include "gateway/words.h"

#include <errno.h>
#include <string.h>

#include "os/net.h"

/* ---- the target ---- */

int words_hexadecimal(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    letter = (char)(letter | 0x20);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

bool word_is(const char *word, size_t bytes, const char *wanted)
{
    size_t i = 0;
    while (i < bytes && wanted[i] != '\0' &&
           (word[i] >= 'A' && word[i] <= 'Z' ? word[i] | 0x20 : word[i]) == wanted[i])
        i++;
    return i == bytes && wanted[i] == '\0';
}

/* Decodes up to one of the letters `ends` into `out`, and a NUL. The number of bytes read, or
 * -EINVAL. */
static long decode(const char *raw, const char *ends, const char *banned, char **out)
{
    const char *at = raw;
    for (; *at != '\0' && strchr(ends, *at) == NULL; at++) {
        int letter = (unsigned char)*at;
        if (letter == '%') {
            int high = words_hexadecimal(at[1]), low = high < 0 ? -1 : words_hexadecimal(at[2]);
            if (low < 0)
                return -EINVAL;
            letter = high << 4 | low;
            at += 2;
        } else if (letter <= ' ' || letter >= 0x7f || strchr("\"<>\\^`{|}#", letter) != NULL) {
            return -EINVAL; /* what only stands there decoded already */
        }
        if (letter < ' ' || letter == 0x7f || strchr(banned, letter) != NULL)
            return -EINVAL;
        *(*out)++ = (char)letter;
    }
    *(*out)++ = '\0';
    return at - raw;
}

static int read_path(struct target *target, const char **raw, char **out)
{
    const char *at = *raw;
    if (at[0] == '/' && (at[1] == '\0' || at[1] == '?')) {
        *raw = at + 1;
        return 0;
    }
    while (*at == '/') {
        if (target->part_count == TARGET_PARTS_MAX)
            return -ENAMETOOLONG;
        const char *part = *out;
        long bytes = decode(at + 1, "/?", "/\\", out);
        if (bytes <= 0 || strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
            return -EINVAL;
        target->parts[target->part_count++] = part;
        at += 1 + bytes;
    }
    if (*at != '\0' && *at != '?')
        return -EINVAL;
    *raw = at;
    return 0;
}

static int read_query(struct target *target, const char *raw, char **out)
{
    while (*raw != '\0') {
        if (target->query_count == TARGET_QUERIES_MAX)
            return -ENAMETOOLONG;
        const char *name = *out;
        long bytes = decode(raw, "=&", "", out);
        if (bytes <= 0)
            return -EINVAL;
        raw += bytes;
        const char *value = *out;
        bytes = decode(*raw == '=' ? raw + 1 : raw, "&", "", out);
        if (bytes < 0)
            return -EINVAL;
        raw += bytes + (*raw == '=');
        for (size_t i = 0; i < target->query_count; i++)
            if (strcmp(target->queries[i].name, name) == 0)
                return -EINVAL;
        target->queries[target->query_count].name = name;
        target->queries[target->query_count++].value = value;
        if (*raw == '&' && raw[1] == '\0')
            return -EINVAL;
        raw += *raw == '&';
    }
    return 0;
}

int target_read(struct target *target, const char *raw)
{
    char *out = target->text;
    target->part_count = target->query_count = 0;
    if (strlen(raw) > TARGET_BYTES_MAX)
        return -ENAMETOOLONG;
    if (raw[0] != '/')
        return -EINVAL;
    int status = read_path(target, &raw, &out);
    if (status == 0 && *raw == '?')
        status = read_query(target, raw + 1, &out);
    return status;
}

/* ---- ranges ---- */

/* Digits up to one that is none; false: there are none, or more than a uint64_t holds. */
static bool read_number(const char **text, uint64_t *number)
{
    const char *at = *text;
    *number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (*number > (UINT64_MAX - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    bool any = at != *text;
    *text = at;
    return any;
}

enum range_kind range_read(const char *text, uint64_t bytes, uint64_t *first, uint64_t *count)
{
    uint64_t from = 0, to = UINT64_MAX;
    *first = 0;
    *count = bytes;
    if (text == NULL || strncmp(text, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    text += 6;
    bool has_from = read_number(&text, &from);
    if (*text++ != '-')
        return RANGE_WHOLE;
    bool has_to = read_number(&text, &to);
    if (*text != '\0' || (!has_from && !has_to) || (has_from && has_to && from > to))
        return RANGE_WHOLE;
    if (!has_from) { /* the last so many */
        if (to == 0 || bytes == 0)
            return RANGE_BEYOND;
        *first = to < bytes ? bytes - to : 0;
    } else {
        if (from >= bytes)
            return RANGE_BEYOND;
        *first = from;
    }
    *count = bytes - *first;
    if (has_from && has_to && to - from < *count)
        *count = to - from + 1;
    return RANGE_PART;
}

/* ---- lists ---- */

bool list_accepts(const char *list, const char *word)
{
    const size_t bytes = strlen(word);
    while (*list != '\0') {
        list += strspn(list, ", \t");
        size_t item = strcspn(list, ",");
        if (strncmp(list, word, bytes) == 0 && bytes <= item &&
            (bytes == item || strchr("; \t", list[bytes]) != NULL)) {
            const char *weight = strstr(list, "q=");
            if (weight == NULL || weight >= list + item)
                return true;
            weight += 2;
            return weight[strspn(weight, "0.")] >= '1' && weight[strspn(weight, "0.")] <= '9';
        }
        list += item;
    }
    return false;
}

/* ---- hosts ---- */

static bool read_port(const char *text, uint32_t *port)
{
    uint64_t number;
    *port = HOST_PORT_NONE;
    if (*text == '\0')
        return true;
    if (*text++ != ':' || strlen(text) > 5 || !read_number(&text, &number) || *text != '\0' ||
        number == 0 || number > 65535)
        return false;
    *port = (uint32_t)number;
    return true;
}

bool host_read(struct host *host, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    char whole[sizeof(host->name) + 8];
    bool bracket = text[0] == '[';
    size_t bytes = bracket ? strspn(text + 1, "0123456789abcdefABCDEF:.") : strspn(text, plain);
    if (bytes == 0 || bytes >= sizeof(host->name) || (bracket && text[1 + bytes] != ']'))
        return false;
    memcpy(host->name, text + bracket, bytes);
    host->name[bytes] = '\0';
    for (char *at = host->name; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at | 0x20);
    if (!read_port(text + bytes + 2 * bracket, &host->port))
        return false;
    /* The house's own reader wants a port. */
    size_t used = 0;
    if (bracket)
        whole[used++] = '[';
    memcpy(whole + used, host->name, bytes);
    used += bytes;
    if (bracket)
        whole[used++] = ']';
    memcpy(whole + used, ":1", 3);
    if (net_read_address(whole, &host->address) < 0)
        memset(&host->address, 0, sizeof(host->address));
    host->address.port = 0;
    return !bracket || host->address.family == 6;
}
