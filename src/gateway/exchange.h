/* SPDX-License-Identifier: MIT
 * A request as the routes see it, and the answer they make; what the gateway is. A route runs in
 * one of several threads and may wait; it touches nothing but its own request and reply. */
#ifndef FLOTILLA_GATEWAY_EXCHANGE_H
#define FLOTILLA_GATEWAY_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/span.h"
#include "base/text.h"
#include "channel/settings.h"
#include "gateway/access.h"
#include "gateway/words.h"
#include "os/descriptor.h"

/* Constant once it serves. */
struct gateway {
    char runtime[CHANNEL_PATH_BYTES_MAX];   /* of the manager that is asked */
    char directory[CHANNEL_PATH_BYTES_MAX]; /* of the recordings */
    struct access access;
    bool read_only; /* nothing is changed by asking here */
};

#define REQUEST_FIELD_BYTES 256u

struct request_value {
    bool given;
    const char *text;
    uint64_t number; /* of PARAMETER_COUNT; of PARAMETER_TIME, ns since 1970 */
};

struct request {
    const struct gateway *gateway;
    struct target target;
    const char *name; /* what stands for {name}, {port} or {id} in the route's path; else NULL */
    struct request_value values[TARGET_QUERIES_MAX]; /* in the order of the route's parameters */
    /* Fields of the header, "" where there are none; what is longer counts as none. */
    char range[REQUEST_FIELD_BYTES], if_range[REQUEST_FIELD_BYTES];
    char if_none_match[REQUEST_FIELD_BYTES], accept[REQUEST_FIELD_BYTES];
    char accept_encoding[REQUEST_FIELD_BYTES];
    char if_match[REQUEST_FIELD_BYTES]; /* "?" where it is too long: nothing matches that */
    struct text body;
    descriptor_t client; /* its connection, to be looked at alone: is anybody there */
};

struct stream;

struct reply {
    unsigned status;  /* of HTTP; 0: none was made */
    const char *type; /* of its content */
    struct text body;
    /* Where it is not DESCRIPTOR_NONE, so many bytes of this file instead of the body. */
    descriptor_t file;
    uint64_t first, bytes;
    struct stream *stream; /* or what comes out of it (gateway/stream.h); NULL: nothing does */
    char etag[64], content_range[80], disposition[200]; /* "": none */
    char location[120];                                 /* the same */
    const char *allow;                                  /* of 405 and OPTIONS: methods; else NULL */
    /* NULL: as of any answer. */
    const char *policy;   /* of its content's security */
    const char *cache;    /* who may keep it */
    const char *encoding; /* gzip */
};

/* Answers with `value`, whose reference is taken; NULL stands for no memory. */
void reply_json(struct reply *reply, unsigned status, json_t *value);
/* Answers with a problem (RFC 9457): `detail` is for people. */
void reply_problem(struct reply *reply, unsigned status, const char *detail, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, with `errors`: a list (RFC 9457, 3) of pointer and detail, borrowed; NULL: none. */
void reply_problem_at(struct reply *reply, unsigned status, const json_t *errors,
                      const char *detail);
/* "Not Found" ... */
const char *reply_title(unsigned status);

/* Asks the manager; `request` is taken. The answer, a new object, or NULL: then the reply is a
 * problem, 503 where no manager answers, 409 where it refuses. */
json_t *ask_manager(const struct gateway *gateway, json_t *request, struct reply *reply);
/* Its status, as `flotilla status --json` has it; or NULL as above. */
json_t *ask_status(const struct gateway *gateway, struct reply *reply);
/* What the channel is called in it; NULL, with a problem 404, if there is none. Borrowed. */
json_t *find_channel(const json_t *status, const char *name, struct reply *reply);

#endif
