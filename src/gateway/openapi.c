/* SPDX-License-Identifier: MIT
 * The table of routes as an OpenAPI document: what is not in the one is not in the other.
 * Source: OpenAPI Specification 3.1. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "gateway/router.h"

static const char time_pattern[] =
    "^(now|[-+][0-9]{1,6}(ms|s|min|h|d)|[0-9]{1,10}(\\.[0-9]+)?|20[0-9]{2}-(0[1-9]|1[0-2])-"
    "(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?"
    "(Z|[-+](0[0-9]|1[0-2]):[0-5][0-9]))$";

static json_t *schema_of(const struct parameter *parameter)
{
    json_t *choices;
    switch (parameter->kind) {
    case PARAMETER_TIME:
        return json_pack("{s:s, s:s}", "type", "string", "pattern", time_pattern);
    case PARAMETER_COUNT:
        return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum",
                         (json_int_t)parameter->low, "maximum", (json_int_t)parameter->high);
    case PARAMETER_CHOICE:
        choices = json_array();
        for (size_t i = 0; parameter->choices[i] != NULL; i++)
            json_array_append_new(choices, json_string(parameter->choices[i]));
        return json_pack("{s:s, s:o}", "type", "string", "enum", choices);
    case PARAMETER_TEXT:
        break;
    }
    return json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
}

/* What stands in braces in the path. */
static void add_path_parameter(json_t *parameters, const char *path)
{
    const char *brace = strchr(path, '{');
    if (brace == NULL)
        return;
    int bytes = (int)strcspn(brace + 1, "}");
    char name[40];
    snprintf(name, sizeof(name), "%.*s", bytes, brace + 1);
    json_t *schema =
        strcmp(name, "port") == 0
            ? json_pack("{s:s, s:i, s:i}", "type", "integer", "minimum", 1, "maximum", 65535)
        : strcmp(name, "pin") == 0 ? json_pack("{s:s, s:s}", "type", "string", "pattern",
                                               "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
        : strcmp(name, "name") == 0
            ? json_pack("{s:s, s:s}", "type", "string", "pattern", "^[a-z0-9][a-z0-9_.-]{0,63}$")
            : json_pack("{s:s, s:s}", "type", "string", "pattern", "^[a-z0-9][a-zA-Z0-9_.-]*avro$");
    json_array_append_new(parameters, json_pack("{s:s, s:s, s:b, s:o}", "name", name, "in", "path",
                                                "required", 1, "schema", schema));
}

static void add_response(json_t *responses, unsigned status, const char *description,
                         const char *type, const char *schema)
{
    char code[8];
    json_t *content = schema[0] != '\0' ? json_loads(schema, JSON_DECODE_ANY, NULL)
                                        : json_pack("{s:s}", "type", "string");
    CHECK(content != NULL);
    snprintf(code, sizeof(code), "%u", status);
    json_object_set_new(responses, code,
                        json_pack("{s:s, s:{s:{s:o}}}", "description", description, "content", type,
                                  "schema", content));
}

static json_t *responses_of(const struct route *route)
{
    static const char problem[] = "{\"$ref\": \"#/components/schemas/Problem\"}";
    static const unsigned any[] = {400, 401, 403, 411, 413, 414, 415, 421};
    json_t *responses = json_object();
    add_response(responses, route->creates ? 201 : 200, route->creates ? "Created" : "OK",
                 route->type, route->schema);
    if (route->answer == rest_file) {
        add_response(responses, 206, "The range that was asked for", route->type, route->schema);
        json_object_set_new(responses, "304", json_pack("{s:s}", "description", "It is as it was"));
    }
    const char *other = route->answer == rest_metrics   ? "application/openmetrics-text"
                        : route->answer == rest_samples ? "text/csv"
                        : route->answer == rest_index   ? "text/html"
                                                        : NULL;
    if (other != NULL)
        json_object_set_new(json_object_get(json_object_get(responses, "200"), "content"), other,
                            json_pack("{s:{s:s}}", "schema", "type", "string"));
    if (route->answer == rest_samples)
        json_object_set_new(
            json_object_get(json_object_get(responses, "200"), "content"),
            "application/vnd.flotilla.columns",
            json_pack("{s:{s:s, s:s}}", "schema", "type", "string", "format", "binary"));
    static const char *const files[] = {"text/csv", "application/x-hdf5", "application/x-mf4",
                                        "application/x-mcap"};
    for (size_t i = 0; i < ARRAY_COUNT(files) && route->answer == rest_export; i++)
        json_object_set_new(json_object_get(json_object_get(responses, "200"), "content"), files[i],
                            json_pack("{s:{s:s}}", "schema", "type", "string"));
    for (size_t i = 0; i < ARRAY_COUNT(any); i++)
        add_response(responses, any[i], reply_title(any[i]), "application/problem+json", problem);
    for (size_t i = 0; i < ROUTE_ERRORS_MAX && route->errors[i] != 0; i++)
        add_response(responses, route->errors[i], reply_title(route->errors[i]),
                     "application/problem+json", problem);
    return responses;
}

static json_t *operation_of(const struct route *route)
{
    json_t *parameters = json_array();
    add_path_parameter(parameters, route->path);
    for (size_t i = 0; i < route->parameter_count; i++) {
        const struct parameter *one = &route->parameters[i];
        json_array_append_new(parameters,
                              json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", one->name, "in",
                                        "query", "required", one->required, "description",
                                        one->help, "schema", schema_of(one)));
    }
    json_t *operation = json_pack("{s:s, s:o, s:o}", "summary", route->summary, "parameters",
                                  parameters, "responses", responses_of(route));
    if (route->body != NULL) {
        json_t *schema =
            route->body_schema != NULL ? json_loads(route->body_schema, 0, NULL) : json_object();
        CHECK(schema != NULL);
        json_object_set_new(operation, "requestBody",
                            json_pack("{s:b, s:s, s:{s:{s:o}}}", "required", 1, "description",
                                      route->body, "content", "application/json", "schema",
                                      schema));
    }
    if (route->answer == rest_change || route->answer == rest_remove)
        json_array_append_new(json_object_get(operation, "parameters"),
                              json_pack("{s:s, s:s, s:b, s:s, s:{s:s}}", "name", "If-Match", "in",
                                        "header", "required", 0, "description",
                                        "the etag of the configuration that was looked at",
                                        "schema", "type", "string"));
    return operation;
}

void rest_openapi(const struct request *request, struct reply *reply)
{
    (void)request;
    json_t *paths = json_object();
    for (size_t i = 0; i < route_count; i++) {
        if (routes[i].summary == NULL)
            continue;
        json_t *path = json_object_get(paths, routes[i].path);
        if (path == NULL) {
            path = json_object();
            json_object_set_new(paths, routes[i].path, path);
        }
        json_object_set_new(path,
                            strcmp(routes[i].method, "GET") == 0    ? "get"
                            : strcmp(routes[i].method, "POST") == 0 ? "post"
                            : strcmp(routes[i].method, "PUT") == 0  ? "put"
                                                                    : "delete",
                            operation_of(&routes[i]));
    }
    json_t *problem = json_loads(
        "{\"type\": \"object\", \"required\": [\"type\", \"title\", \"status\"]}", 0, NULL);
    reply_json(reply, 200,
               json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:{s:o}, s:{s:{s:s, s:s}}}, s:[{}, "
                         "{s:[]}]}",
                         "openapi", "3.1.0", "info", "title", "Flotilla", "version",
                         FLOTILLA_VERSION, "description", "A fleet of recorded UDP streams",
                         "paths", paths, "components", "schemas", "Problem", problem,
                         "securitySchemes", "token", "type", "http", "scheme", "bearer", "security",
                         "token"));
}
