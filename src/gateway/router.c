/* SPDX-License-Identifier: MIT
 * The table of routes. */
#include "gateway/router.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "archive/overview.h"
#include "base/check.h"
#include "base/timestamp.h"
#include "base/units.h"
#include "os/clock.h"

/* ---- parameters ---- */

static const char *const states[] = {"starting",        "running",       "silent",
                                     "backoff",         "stopped",       "failed",
                                     "schema_mismatch", "not_recording", NULL};
static const char *const formats[] = {"json", "csv", "columns", NULL};

static const struct parameter channels_parameters[] = {
    {.name = "status",
     .kind = PARAMETER_CHOICE,
     .choices = states,
     .help = "only channels in this state"},
};

#define FROM                                                                                       \
    {                                                                                              \
        .name = "from", .kind = PARAMETER_TIME,                                                    \
        .help = "from then on; an RFC 3339 timestamp, now, -10min, or seconds since 1970"          \
    }
#define TO                                                                                         \
    {                                                                                              \
        .name = "to", .kind = PARAMETER_TIME, .help = "up to then, in the same form"               \
    }

/* In the order of enum files_value of rest_files.c. */
static const struct parameter files_parameters[] = {
    FROM,
    TO,
    {.name = "after",
     .kind = PARAMETER_TEXT,
     .help = "only files behind this one: the last id of the answer before"},
    {.name = "limit",
     .kind = PARAMETER_COUNT,
     .low = 1,
     .high = 1000,
     .help = "at most so many; 1000 if it is not said"},
};

/* In the order of enum samples_value of rest_samples.c. */
static const struct parameter samples_parameters[] = {
    FROM,
    TO,
    {.name = "fields",
     .kind = PARAMETER_TEXT,
     .help = "dotted paths of fields, joined by commas; all if it is not said"},
    {.name = "points",
     .kind = PARAMETER_COUNT,
     .low = 1,
     .high = 20000,
     .help = "equal parts of the span, each with minima and maxima; 1000 if it is not said"},
    {.name = "format",
     .kind = PARAMETER_CHOICE,
     .choices = formats,
     .help = "json if it is not said, and Accept does not ask for text/csv or "
             "application/vnd.flotilla.columns, the live socket's binary messages"},
};

/* In the order of enum ports_value of rest_ports.c. */
static const struct parameter ports_parameters[] = {
    {.name = "start",
     .kind = PARAMETER_COUNT,
     .low = 1,
     .high = 65535,
     .required = true,
     .help = "first port to look at"},
    {.name = "end",
     .kind = PARAMETER_COUNT,
     .low = 1,
     .high = 65535,
     .required = true,
     .help = "last port to look at; at most 4096 in all"},
};

static const char *const export_formats[] = {"csv", "h5", "mf4", "mcap", "avro", NULL};
static const char *const clocks[] = {"own", "arrival", NULL};

/* In the order of enum export_value of rest_export.c. */
static const struct parameter export_parameters[] = {
    {.name = "format",
     .kind = PARAMETER_CHOICE,
     .choices = export_formats,
     .required = true,
     .help = "csv and avro hold one channel; csv, mcap and avro are sent while they are made"},
    {.name = "channels",
     .kind = PARAMETER_TEXT,
     .required = true,
     .help = "names of channels, joined by commas"},
    {.name = "fields",
     .kind = PARAMETER_TEXT,
     .help = "dotted paths of fields, joined by commas; all if it is not said"},
    FROM,
    TO,
    {.name = "clock",
     .kind = PARAMETER_CHOICE,
     .choices = clocks,
     .help = "whether the span is of the channels' own time, where they have one, or of arrival; "
             "own if it is not said"},
    {.name = "every",
     .kind = PARAMETER_TEXT,
     .help = "only each so many-th datum (10), or all channels as one table, a row each so often "
             "(10ms)"},
    {.name = "decimate",
     .kind = PARAMETER_TEXT,
     .help = "min-max:N: of each N datums the minima and the maxima"},
    {.name = "gzip",
     .kind = PARAMETER_COUNT,
     .low = 1,
     .high = 12,
     .help = "compressed, where the format knows that"},
};

static const struct parameter pins_parameters[] = {
    {.name = "channel", .kind = PARAMETER_TEXT, .help = "only of this channel"},
};

/* ---- routes ---- */

#define BODY_MAX (2u << 20)
#define OBJECT   "{\"type\": \"object\"}"
#define JSON     "application/json"
#define REPLY(a) "{\"type\": \"object\", \"required\": [" a "]}"

#define CHANGED REPLY("\"name\", \"file\"")
#define CHANNEL_BODY                                                                               \
    "\"configuration\": {\"type\": \"object\", \"properties\": {\"listen\": {\"type\": "           \
    "\"string\"}, \"schema\": {\"type\": \"string\"}}}, "                                          \
    "\"schema\": {\"type\": [\"string\", \"object\"]}}}"

#define WITH(list) .parameters = list, .parameter_count = ARRAY_COUNT(list)

const struct route routes[] = {
    {"GET", "/", rest_index, .summary = "The page for a browser, else what is served, as text",
     .type = "text/plain", .schema = ""},
    {"GET", "/assets/{file}", rest_asset, .summary = NULL},
    {"GET", "/metrics", rest_metrics, .summary = "Metrics, for Prometheus", .type = "text/plain",
     .schema = ""},
    {"GET", "/api/v1/openapi.json", rest_openapi, .summary = "This document", .type = JSON,
     .schema = REPLY("\"openapi\", \"paths\"")},
    {"GET", "/api/v1/health", rest_health,
     .summary = "Whether the manager answers, and which channels are in trouble", .type = JSON,
     .schema = REPLY("\"status\", \"version\", \"channels\", \"troubled\""), .errors = {503}},
    {"GET", "/api/v1/channels", rest_channels, WITH(channels_parameters),
     .summary = "The channels with state and counters, as flotilla status --json has them",
     .type = JSON, .schema = REPLY("\"channels\""), .errors = {503, 409}},
    {"GET", "/api/v1/channels/{name}", rest_channel,
     .summary = "One channel with its configuration", .type = JSON,
     .schema = REPLY("\"name\", \"state\", \"configuration\""), .errors = {503, 404, 409}},
    {"GET", "/api/v1/channels/{name}/schema", rest_schema, .summary = "Its Avro schema, verbatim",
     .type = JSON, .schema = "{}", .errors = {503, 404, 409}},
    {"POST", "/api/v1/channels", rest_add, .body_bytes_max = BODY_MAX, .changes = true,
     .creates = true,
     .summary = "Adds a channel, in a file of its own among the included ones; all is checked "
                "before, and the manager takes it over",
     .type = JSON, .schema = CHANGED,
     .body = "Its name, its keys as in fleet.yaml, and its schema, unless those have the path",
     .body_schema = "{\"type\": \"object\", \"required\": [\"name\", \"configuration\"], "
                    "\"properties\": {\"name\": {\"type\": \"string\"}, " CHANNEL_BODY,
     .errors = {503, 409, 500}},
    {"PUT", "/api/v1/channels/{name}", rest_change, .body_bytes_max = BODY_MAX, .changes = true,
     .summary = "Replaces all keys of a channel; with If-Match only if nobody has changed it",
     .type = JSON, .schema = CHANGED, .body = "Its keys, and perhaps its schema",
     .body_schema = "{\"type\": \"object\", \"required\": [\"configuration\"], "
                    "\"properties\": {" CHANNEL_BODY,
     .errors = {503, 404, 409, 412, 500}},
    {"DELETE", "/api/v1/channels/{name}", rest_remove, .changes = true,
     .summary = "Removes a channel; its recordings stay", .type = JSON, .schema = CHANGED,
     .errors = {503, 404, 409, 412, 500}},
    {"GET", "/api/v1/channels/{name}/configuration", rest_channel_configuration,
     .summary = "A channel's keys as they are written, and whether they can be changed here",
     .type = JSON, .schema = REPLY("\"name\", \"editable\", \"etag\", \"configuration\""),
     .errors = {503, 404, 409, 500}},
    {"GET", "/api/v1/configuration", rest_configuration,
     .summary = "Whether channels can be added, and all keys that one can have", .type = JSON,
     .schema = REPLY("\"writable\", \"keys\""), .errors = {503, 409, 500}},
    {"POST", "/api/v1/channels/{name}/validate-schema", rest_validate, .body_bytes_max = 1u << 20,
     .body = "The Avro schema",
     .summary = "Judges an Avro schema as one for this channel; changes nothing", .type = JSON,
     .schema = REPLY("\"valid\", \"errors\", \"warnings\", \"same\""), .errors = {503, 404, 409}},
    {"POST", "/api/v1/channels/{name}/restart", rest_restart, .body_bytes_max = 64u << 10,
     .changes = true,
     .summary = "Replaces the channel's relay; nothing is lost", .type = JSON,
     .schema = REPLY("\"restarted\""), .errors = {503, 404, 409}},
    {"GET", "/api/v1/channels/{name}/files", rest_files, WITH(files_parameters),
     .summary = "Its recordings", .type = JSON, .schema = REPLY("\"files\", \"more\""),
     .errors = {404, 500}},
    {"GET", "/api/v1/channels/{name}/samples", rest_samples, WITH(samples_parameters),
     .summary = "What was recorded, in so many points: single datums or minima and maxima",
     .type = JSON, .schema = REPLY("\"channel\", \"rows\", \"exact\""), .errors = {404, 413, 500}},
    {"GET", "/api/v1/files/{id}", rest_file,
     .summary = "A recording, whole or a range of its bytes", .type = "application/avro",
     .schema = "", .errors = {404, 416, 500}},
    {"GET", "/api/v1/doctor", rest_doctor,
     .summary = "Whether this machine can do what the configuration asks, as flotilla doctor",
     .type = JSON, .schema = REPLY("\"findings\""), .errors = {503, 409, 500}},
    {"GET", "/api/v1/pins", rest_pins, WITH(pins_parameters),
     .summary = "Spans of time that retention leaves alone, the newest first", .type = JSON,
     .schema = REPLY("\"pins\""), .errors = {404, 500}},
    {"POST", "/api/v1/pins", rest_pin, .body_bytes_max = 128u << 10, .changes = true,
     .creates = true, .summary = "Keeps a span of time from retention", .type = JSON,
     .schema = REPLY("\"pins\""),
     .body = "A name, the span, and the channels (all if they are left out)",
     .body_schema =
         "{\"type\": \"object\", \"required\": [\"name\", \"from\"], \"properties\": {\"name\": "
         "{\"type\": \"string\"}, \"from\": {\"type\": \"string\"}, \"to\": {\"type\": "
         "\"string\"}, \"channels\": {\"type\": \"array\", \"items\": {\"type\": "
         "\"string\"}}}}",
     .errors = {503, 409, 500}},
    {"DELETE", "/api/v1/pins/{pin}", rest_unpin, WITH(pins_parameters), .changes = true,
     .summary = "Lets retention have again what the pins of that name kept from it", .type = JSON,
     .schema = REPLY("\"unpinned\""), .errors = {503, 404, 409, 500}},
    {"GET", "/api/v1/export", rest_export, WITH(export_parameters),
     .summary = "Recordings as a file for other programs: the rows of a span",
     .type = "application/avro", .schema = "", .errors = {503, 404, 500, 507}},
    {"GET", "/api/v1/ports/available", rest_ports_available, WITH(ports_parameters),
     .summary = "Which ports nobody on this computer takes datagrams at", .type = JSON,
     .schema = REPLY("\"start\", \"end\", \"available\""), .errors = {500}},
    {"GET", "/api/v1/ports/{port}/status", rest_port,
     .summary = "Whether a port is free, and which channels have it", .type = JSON,
     .schema = REPLY("\"port\", \"available\", \"channels\""), .errors = {503, 404, 409, 500}},
};
const size_t route_count = ARRAY_COUNT(routes);

/* ---- finding ---- */

bool router_is_path(const char *path, struct request *request)
{
    const struct target *target = &request->target;
    const char *name = NULL;
    for (size_t i = 0; i < target->part_count; i++) {
        if (*path != '/')
            return false;
        size_t bytes = strcspn(++path, "/");
        if (*path == '{')
            name = target->parts[i];
        else if (strlen(target->parts[i]) != bytes || memcmp(path, target->parts[i], bytes) != 0)
            return false;
        path += bytes;
    }
    if (path[0] != '\0' && strcmp(path, "/") != 0)
        return false;
    if (path[0] == '/' && target->part_count > 0)
        return false;
    request->name = name;
    return true;
}

/* What a path is for, by the methods of its routes. */
static const char *write_allow(const char *path)
{
    enum { GET = 1, POST = 2, PUT = 4, DELETE = 8 };
    static const struct {
        unsigned methods;
        const char *text;
    } all[] = {{GET, "GET, HEAD, OPTIONS"},
               {POST, "POST, OPTIONS"},
               {DELETE, "DELETE, OPTIONS"},
               {GET | POST, "GET, HEAD, POST, OPTIONS"},
               {GET | PUT | DELETE, "GET, HEAD, PUT, DELETE, OPTIONS"}};
    unsigned methods = 0;
    size_t k = 0;
    for (size_t i = 0; i < route_count; i++)
        if (strcmp(routes[i].path, path) == 0)
            methods |= strcmp(routes[i].method, "GET") == 0    ? GET
                       : strcmp(routes[i].method, "POST") == 0 ? POST
                       : strcmp(routes[i].method, "PUT") == 0  ? PUT
                                                               : DELETE;
    while (k < ARRAY_COUNT(all) && all[k].methods != methods)
        k++;
    CHECK(k < ARRAY_COUNT(all));
    return all[k].text;
}

unsigned router_find(struct request *request, const char *method, const struct route **route,
                     const char **allow)
{
    const char *path = NULL;
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    /* A part that is spelt out comes before one that stands for any. */
    for (size_t i = 0; i < route_count; i++)
        if ((path == NULL || strchr(routes[i].path, '{') == NULL) &&
            router_is_path(routes[i].path, request))
            path = routes[i].path;
    if (path == NULL)
        return 404;
    router_is_path(path, request); /* whose name it is */
    *allow = write_allow(path);
    for (size_t i = 0; i < route_count; i++)
        if (strcmp(routes[i].path, path) == 0) {
            *route = &routes[i];
            if (strcmp(routes[i].method, method) == 0)
                return 0;
        }
    return 405;
}

static bool read_value(const struct parameter *parameter, struct request_value *value)
{
    switch (parameter->kind) {
    case PARAMETER_TIME:
        return timestamp_read(value->text, clock_realtime_ns(), &value->number) == 0;
    case PARAMETER_COUNT:
        return units_read_count(value->text, parameter->low, parameter->high, &value->number) == 0;
    case PARAMETER_CHOICE:
        for (size_t i = 0; parameter->choices[i] != NULL; i++)
            if (strcmp(parameter->choices[i], value->text) == 0)
                return true;
        return false;
    case PARAMETER_TEXT:
        return value->text[0] != '\0';
    }
    return false;
}

bool router_read_values(const struct route *route, struct request *request, struct reply *reply)
{
    for (size_t i = 0; i < request->target.query_count; i++) {
        const char *name = request->target.queries[i].name;
        size_t k = 0;
        while (k < route->parameter_count && strcmp(route->parameters[k].name, name) != 0)
            k++;
        if (k == route->parameter_count) {
            reply_problem(reply, 400, "there is no parameter \"%.100s\" here", name);
            return false;
        }
        struct request_value *value = &request->values[k];
        value->given = true;
        value->text = request->target.queries[i].value;
        if (!read_value(&route->parameters[k], value)) {
            reply_problem(reply, 400, "%s: \"%.100s\" is not taken: %s", name, value->text,
                          route->parameters[k].help);
            return false;
        }
    }
    for (size_t k = 0; k < route->parameter_count; k++)
        if (route->parameters[k].required && !request->values[k].given) {
            reply_problem(reply, 400, "%s is missing: %s", route->parameters[k].name,
                          route->parameters[k].help);
            return false;
        }
    return true;
}
