/* SPDX-License-Identifier: MIT
 * What can be asked for: one table, by which requests are judged and answered and the OpenAPI
 * document is written. A new route is a line in router.c's table. */
#ifndef FLOTILLA_GATEWAY_ROUTER_H
#define FLOTILLA_GATEWAY_ROUTER_H

#include "gateway/exchange.h"

#define ROUTE_ERRORS_MAX 6u

enum parameter_kind {
    PARAMETER_TIME,   /* as base/timestamp.h has it */
    PARAMETER_COUNT,  /* low to high */
    PARAMETER_CHOICE, /* one of `choices` */
    PARAMETER_TEXT    /* any but none */
};

struct parameter {
    const char *name;
    enum parameter_kind kind;
    uint64_t low, high;
    const char *const *choices; /* NULL at their end */
    bool required;
    const char *help;
};

struct route {
    const char *method; /* "GET" (HEAD too), "POST", "PUT", "DELETE" */
    const char *path;   /* "/api/v1/channels/{name}"; one part may stand for any */
    void (*answer)(const struct request *request, struct reply *reply);
    const struct parameter *parameters;
    size_t parameter_count;
    size_t body_bytes_max; /* 0: it takes no body */
    bool changes;          /* refused where the gateway is read-only */
    /* For the document. */
    const char *summary;               /* NULL: it is not in it, for it is the page's alone */
    const char *type;                  /* of what is answered with 200 */
    const char *schema;                /* of that, as JSON; "": it is no JSON */
    const char *body;                  /* what the body is; NULL: it has none */
    const char *body_schema;           /* as JSON; NULL: any */
    bool creates;                      /* it is 201 */
    unsigned errors[ROUTE_ERRORS_MAX]; /* beside those that any request may meet; 0 at their end */
};

extern const struct route routes[];
extern const size_t route_count;

/* Whether the request's target is this path; sets `request->name`. */
bool router_is_path(const char *path, struct request *request);
/* Finds the route of the request's target, and sets `request->name`. 0, or 404, or 405 with the
 * methods that there are in `*allow`. */
unsigned router_find(struct request *request, const char *method, const struct route **route,
                     const char **allow);
/* Reads the parameters. False with a problem in the reply: one is unknown, wrong or missing. */
bool router_read_values(const struct route *route, struct request *request, struct reply *reply);

/* ---- the routes, by their files ---- */

/* rest.c */
void rest_index(const struct request *request, struct reply *reply);
void rest_health(const struct request *request, struct reply *reply);
void rest_channels(const struct request *request, struct reply *reply);
void rest_channel(const struct request *request, struct reply *reply);
void rest_schema(const struct request *request, struct reply *reply);
void rest_validate(const struct request *request, struct reply *reply);
void rest_restart(const struct request *request, struct reply *reply);
/* rest_page.c */
void rest_asset(const struct request *request, struct reply *reply);
/* rest_ports.c */
void rest_ports_available(const struct request *request, struct reply *reply);
void rest_port(const struct request *request, struct reply *reply);
/* rest_files.c */
void rest_files(const struct request *request, struct reply *reply);
void rest_file(const struct request *request, struct reply *reply);
/* rest_channels.c */
void rest_configuration(const struct request *request, struct reply *reply);
void rest_channel_configuration(const struct request *request, struct reply *reply);
void rest_add(const struct request *request, struct reply *reply);
void rest_change(const struct request *request, struct reply *reply);
void rest_remove(const struct request *request, struct reply *reply);
/* rest_export.c */
void rest_export(const struct request *request, struct reply *reply);
/* rest_pins.c */
void rest_doctor(const struct request *request, struct reply *reply);
void rest_pins(const struct request *request, struct reply *reply);
void rest_pin(const struct request *request, struct reply *reply);
void rest_unpin(const struct request *request, struct reply *reply);
/* rest_samples.c */
void rest_samples(const struct request *request, struct reply *reply);
/* metrics.c */
void rest_metrics(const struct request *request, struct reply *reply);
/* openapi.c */
void rest_openapi(const struct request *request, struct reply *reply);

#endif
