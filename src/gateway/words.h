/* SPDX-License-Identifier: MIT
 * What of a request this program reads itself: its target, a range of bytes, the name of a host.
 * Pure, strict: what is not exactly as the standards have it is refused, not mended.
 * Sources: RFC 9112, 3.2 (target); RFC 3986, 2.1 and 3 (percent, path, query); RFC 9110, 7.2
 * (Host), 12.5 (Accept) and 14.1 (Range). */
#ifndef FLOTILLA_GATEWAY_WORDS_H
#define FLOTILLA_GATEWAY_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

#define TARGET_BYTES_MAX   2048u
#define TARGET_PARTS_MAX   8u
#define TARGET_QUERIES_MAX 10u

struct target {
    char text[2 * TARGET_BYTES_MAX];     /* what the words below point into */
    const char *parts[TARGET_PARTS_MAX]; /* of the path, decoded; none of "/" */
    size_t part_count;
    struct {
        const char *name, *value; /* decoded; value "" where there is none */
    } queries[TARGET_QUERIES_MAX];
    size_t query_count;
};

/* Whether a word, `bytes` long, is `wanted`, which is in small letters, in whatever letters. */
bool word_is(const char *word, size_t bytes, const char *wanted);
/* What a hexadecimal digit is worth; -1: it is none. */
int words_hexadecimal(char letter);

/* Takes a target apart as it came on the wire: "/api/v1/channels?status=running". Refused are a
 * whole URL, an empty part, "." and "..", and whatever a letter is written as, controls and NUL
 * and, in the path, slashes and backslashes; a name that is there twice. 0, -EINVAL, or
 * -ENAMETOOLONG (longer, or of more parts, than anything here). */
int target_read(struct target *target, const char *raw);

enum range_kind {
    RANGE_WHOLE, /* none, or one of a form that is to be taken as none */
    RANGE_PART,
    RANGE_BEYOND /* of nothing that is there */
};

/* Reads the value of a Range field (NULL: there is none) for something of `bytes`: one range of
 * bytes; of several the whole is sent. `*first` and `*count` are set in any case. */
enum range_kind range_read(const char *text, uint64_t bytes, uint64_t *first, uint64_t *count);

/* Whether a list as Accept and Accept-Encoding have it names `word`, and not with a weight of 0. */
bool list_accepts(const char *list, const char *word);

/* The value of a Host field, or what stands behind the "://" of an origin. */
struct host {
    char name[256];         /* small letters; an IPv6 address without its brackets */
    struct address address; /* the same as an address, port 0; family 0: it is a name */
    uint32_t port;          /* HOST_PORT_NONE: not said */
};
#define HOST_PORT_NONE 0x10000u

/* False: it is none. */
bool host_read(struct host *host, const char *text);

#endif
