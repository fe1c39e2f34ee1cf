/* SPDX-License-Identifier: MIT
 * Messages in and out. JSON is jansson's. Relies, as schema/cdr does, on a little-endian machine.
 */
#include "gateway/foxglove_words.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/utf8.h"
#include "control/json_text.h"

#define NS_PER_S UINT64_C(1000000000)

/* ---- from a client ---- */

enum client_opcode { CLIENT_MESSAGE = 1, CLIENT_CALL = 2, CLIENT_PLAYBACK = 3 };
enum server_opcode { SERVER_DATA = 1, SERVER_TIME = 2, SERVER_PLAYBACK = 5 };

__attribute__((format(printf, 3, 4))) static void
refuse(struct foxglove_request *request, enum foxglove_word word, const char *why, ...)
{
    va_list arguments;
    va_start(arguments, why);
    vsnprintf(request->why, sizeof(request->why), why, arguments);
    va_end(arguments);
    request->word = word;
}

/* A number of 32 bits without a sign. */
static bool read_id(const json_t *value, uint32_t *id)
{
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    *id = (uint32_t)number;
    return number >= 0 && number <= UINT32_MAX;
}

static bool read_pair(enum foxglove_word word, const json_t *item, struct foxglove_pair *pair)
{
    pair->channel = 0;
    if (word == FOXGLOVE_UNSUBSCRIBE)
        return read_id(item, &pair->subscription);
    return read_id(json_object_get(item, "id"), &pair->subscription) &&
           read_id(json_object_get(item, "channelId"), &pair->channel);
}

static int read_pairs(struct foxglove_request *request, enum foxglove_word word, const json_t *list)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > FOXGLOVE_PAIRS_MAX) {
        refuse(request, FOXGLOVE_WRONG, "a list of up to %u was expected", FOXGLOVE_PAIRS_MAX);
        return 0;
    }
    request->pairs = calloc(count + 1, sizeof(*request->pairs));
    if (request->pairs == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!read_pair(word, json_array_get(list, i), &request->pairs[i])) {
            refuse(request, FOXGLOVE_WRONG, "number %zu in the list is no %s", i,
                   word == FOXGLOVE_SUBSCRIBE ? "subscription" : "id of one");
            return 0;
        }
    request->word = word;
    request->pair_count = count;
    return 0;
}

static int read_text(struct foxglove_request *request, struct span message)
{
    json_error_t error;
    json_t *object =
        json_loadb((const char *)message.at, message.bytes, JSON_REJECT_DUPLICATES, &error);
    const char *op = json_string_value(json_object_get(object, "op"));
    int status = 0;
    if (op == NULL)
        refuse(request, FOXGLOVE_WRONG, "a JSON object with an op was expected");
    else if (strcmp(op, "subscribe") == 0)
        status = read_pairs(request, FOXGLOVE_SUBSCRIBE, json_object_get(object, "subscriptions"));
    else if (strcmp(op, "unsubscribe") == 0)
        status =
            read_pairs(request, FOXGLOVE_UNSUBSCRIBE, json_object_get(object, "subscriptionIds"));
    else
        refuse(request, FOXGLOVE_UNKNOWN, "\"%.40s\" is not offered here", op);
    json_decref(object);
    return status;
}

/* Takes `count` bytes off the front. False: there are not so many. */
static bool take(struct span *from, void *to, size_t count)
{
    if (from->bytes < count)
        return false;
    memcpy(to, from->at, count);
    from->at += count;
    from->bytes -= count;
    return true;
}

static void read_playback(struct foxglove_request *request, struct span message)
{
    uint8_t command, seeks;
    uint32_t id_bytes;
    if (!take(&message, &command, 1) || !take(&message, &request->playback.speed, 4) ||
        !take(&message, &seeks, 1) || !take(&message, &request->playback.seek_ns, 8) ||
        !take(&message, &id_bytes, 4) || message.bytes < id_bytes)
        refuse(request, FOXGLOVE_WRONG, "a playback request is cut off");
    else if (command > 1)
        refuse(request, FOXGLOVE_WRONG, "%u is no command of playback", command);
    else if (id_bytes > FOXGLOVE_REQUEST_ID_MAX || memchr(message.at, '\0', id_bytes) != NULL ||
             !utf8_valid(message.at, message.at + id_bytes))
        refuse(request, FOXGLOVE_WRONG, "a request's id has up to %u bytes of UTF-8",
               FOXGLOVE_REQUEST_ID_MAX);
    else {
        request->word = FOXGLOVE_PLAYBACK;
        request->playback.plays = command == 0;
        request->playback.seeks = seeks != 0;
        memcpy(request->playback.id, message.at, id_bytes);
        request->playback.id[id_bytes] = '\0';
    }
}

int foxglove_read(struct foxglove_request *request, bool text, struct span message)
{
    *request = (struct foxglove_request){.word = FOXGLOVE_WRONG};
    if (text)
        return read_text(request, message);
    uint8_t opcode;
    if (!take(&message, &opcode, 1))
        refuse(request, FOXGLOVE_WRONG, "an empty message");
    else if (opcode == CLIENT_PLAYBACK)
        read_playback(request, message);
    else if (opcode == CLIENT_MESSAGE || opcode == CLIENT_CALL)
        refuse(request, FOXGLOVE_UNKNOWN, "nothing is published or called here: it only reads");
    else
        refuse(request, FOXGLOVE_WRONG, "%u is no opcode", opcode);
    return 0;
}

/* ---- to a client ---- */

/* Appends `object`, whose reference is taken; NULL stands for no memory. */
static void put_json(struct text *out, json_t *object)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text != NULL)
        text_add_string(out, text);
    out->failed |= text == NULL;
    free(text);
}

static json_t *time_json(uint64_t ns)
{
    return json_pack("{s:I, s:I}", "sec", (json_int_t)(ns / NS_PER_S), "nsec",
                     (json_int_t)(ns % NS_PER_S));
}

void foxglove_write_server_info(struct text *out, const struct foxglove_server *server)
{
    json_t *object = json_pack("{s:s, s:s, s:[], s:s, s:{s:s}}", "op", "serverInfo", "name",
                               server->name, "capabilities", "sessionId", server->session,
                               "metadata", "flotilla", FLOTILLA_VERSION);
    if (server->plays) {
        json_t *capabilities = json_object_get(object, "capabilities");
        json_array_append_new(capabilities, json_string("playbackControl"));
        json_array_append_new(capabilities, json_string("time"));
        json_object_set_new(object, "dataStartTime", time_json(server->from_ns));
        json_object_set_new(object, "dataEndTime", time_json(server->to_ns));
    }
    put_json(out, object);
}

void foxglove_write_advertise(struct text *out, const struct foxglove_channel *channel)
{
    put_json(out, json_pack("{s:s, s:[{s:I, s:s, s:s, s:o, s:s, s:o}]}", "op", "advertise",
                            "channels", "id", (json_int_t)channel->id, "topic", channel->topic,
                            "encoding", "cdr", "schemaName", json_of_text(channel->schema_name),
                            "schemaEncoding", "ros2msg", "schema", json_of_text(channel->schema)));
}

void foxglove_write_unadvertise(struct text *out, uint32_t id)
{
    put_json(out, json_pack("{s:s, s:[I]}", "op", "unadvertise", "channelIds", (json_int_t)id));
}

void foxglove_write_status(struct text *out, enum foxglove_level level, const char *id,
                           const char *message)
{
    json_t *object = json_pack("{s:s, s:i, s:o}", "op", "status", "level", (int)level, "message",
                               json_of_text(message));
    if (id != NULL)
        json_object_set_new(object, "id", json_of_text(id));
    put_json(out, object);
}

void foxglove_write_data_front(char *to, uint32_t subscription, uint64_t time_ns)
{
    to[0] = SERVER_DATA;
    memcpy(to + 1, &subscription, 4);
    memcpy(to + 5, &time_ns, 8);
}

void foxglove_write_time(struct text *out, uint64_t time_ns)
{
    text_add_char(out, SERVER_TIME);
    text_add_bytes(out, &time_ns, 8);
}

void foxglove_write_playback(struct text *out, enum foxglove_playback state, uint64_t time_ns,
                             float speed, bool did_seek, const char *id)
{
    uint32_t id_bytes = (uint32_t)strlen(id);
    text_add_char(out, SERVER_PLAYBACK);
    text_add_char(out, (char)state);
    text_add_bytes(out, &time_ns, 8);
    text_add_bytes(out, &speed, 4);
    text_add_char(out, (char)did_seek);
    text_add_bytes(out, &id_bytes, 4);
    text_add_bytes(out, id, id_bytes);
}
