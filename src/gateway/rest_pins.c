/* SPDX-License-Identifier: MIT
 * The routes about pins, and the doctor's. Pins are read here (channel/pin.h); they are made and
 * removed, and the machine is examined, by `flotilla`, which the manager runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "channel/pin.h"
#include "channel/recording_name.h"
#include "control/json_text.h"
#include "gateway/errands.h"
#include "gateway/router.h"
#include "os/folder.h"

#define PINS_MAX 10000u

void rest_doctor(const struct request *request, struct reply *reply)
{
    struct errand_end end;
    if (errands_run(request->gateway, json_pack("{s:s}", "verb", "doctor"), &end, reply)) {
        json_t *answer = json_loads(end.output, 0, NULL);
        if (answer != NULL)
            reply_json(reply, 200, answer);
        else
            reply_problem(reply, end.code == 78 ? 409 : 500, "%s",
                          end.said[0] != '\0' ? end.said : "the doctor says nothing");
    }
    errands_free(&end);
}

/* ---- those that there are ---- */

struct found {
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    struct pin pin;
};

struct listing {
    const char *directory;
    const char *channel; /* NULL: all */
    char now[CHANNEL_NAME_BYTES_MAX + 1];
    struct found *list;
    size_t count, room;
};

static int note_pin(void *context, const char *name)
{
    struct listing *listing = context;
    struct pin pin;
    if (!pin_read(&pin, name) || listing->count == PINS_MAX)
        return 0;
    struct found *more =
        room_grow(listing->list, &listing->room, listing->count + 1, sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    listing->list = more;
    struct found *one = &more[listing->count++];
    memcpy(one->channel, listing->now, sizeof(one->channel));
    one->pin = pin;
    return 0;
}

static int look_into(void *context, const char *name)
{
    struct listing *listing = context;
    if (!channel_name_is_valid(name) ||
        (listing->channel != NULL && strcmp(listing->channel, name) != 0))
        return 0;
    char path[CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 2];
    snprintf(path, sizeof(path), "%s/%s", listing->directory, name);
    descriptor_t folder = folder_open_there(path);
    if (folder < 0)
        return 0; /* a file, or gone */
    snprintf(listing->now, sizeof(listing->now), "%s", name);
    int status = folder_list(folder, note_pin, listing);
    descriptor_close(folder);
    return status;
}

static int compare(const void *left, const void *right)
{
    const struct found *a = left, *b = right;
    if (a->pin.from_ns != b->pin.from_ns)
        return a->pin.from_ns > b->pin.from_ns ? -1 : 1;
    return strcmp(a->channel, b->channel);
}

void rest_pins(const struct request *request, struct reply *reply)
{
    const struct request_value *channel = &request->values[0];
    struct listing listing = {.directory = request->gateway->directory,
                              .channel = channel->given ? channel->text : NULL};
    json_t *pins = json_array();
    descriptor_t directory = folder_open_there(request->gateway->directory);
    int status = directory;
    if (status >= 0)
        status = folder_list(directory, look_into, &listing);
    descriptor_close(directory);
    if (listing.count > 0)
        qsort(listing.list, listing.count, sizeof(*listing.list), compare);
    for (size_t i = 0; i < listing.count; i++) {
        char from[CALENDAR_TEXT_BYTES], to[CALENDAR_TEXT_BYTES];
        const struct found *one = &listing.list[i];
        json_array_append_new(pins, json_pack("{s:s, s:s, s:s, s:s}", "channel", one->channel,
                                              "name", one->pin.name, "from",
                                              calendar_write(from, one->pin.from_ns, 6), "to",
                                              calendar_write(to, one->pin.to_ns, 6)));
    }
    free(listing.list);
    if (status >= 0 || status == -ENOENT) {
        reply_json(reply, 200, json_pack("{s:o}", "pins", pins));
        return;
    }
    json_decref(pins);
    reply_problem(reply, 500, "the recordings' folder: %s", strerror(-status));
}

/* ---- making and removing ---- */

/* What was printed, an object a line. A new array. */
static json_t *read_lines(const char *text)
{
    json_t *list = json_array();
    while (*text != '\0') {
        size_t bytes = strcspn(text, "\n");
        json_t *line = json_loadb(text, bytes, 0, NULL);
        if (line != NULL)
            json_array_append_new(list, line);
        text += bytes + (text[bytes] == '\n');
    }
    return list;
}

/* What was said, a text a line. */
static json_t *read_words(const char *text)
{
    json_t *list = json_array();
    while (*text != '\0') {
        size_t bytes = strcspn(text, "\n");
        if (bytes > 0)
            json_array_append_new(list, json_of_bytes(text, bytes));
        text += bytes + (text[bytes] == '\n');
    }
    return list;
}

/* Whether each member of the body is as it is to be. */
static bool is_sound(const json_t *body, struct reply *reply)
{
    const char *key, *wrong = NULL, *at = "";
    json_t *value, *one;
    size_t index;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        if (strcmp(key, "channels") == 0) {
            bool names = json_is_array(value);
            json_array_foreach(value, index, one) names =
                names && json_is_string(one) && channel_name_is_valid(json_string_value(one));
            wrong = names ? wrong : "channels: a list of names of channels";
        } else if (strcmp(key, "name") != 0 && strcmp(key, "from") != 0 && strcmp(key, "to") != 0) {
            wrong = "there is no such member here: name, from, to, channels";
        } else if (!json_is_string(value)) {
            wrong = "a text";
        }
        at = wrong != NULL && at[0] == '\0' ? key : at;
    }
    const char *name = json_string_value(json_object_get(body, "name"));
    if (wrong == NULL && (name == NULL || !pin_name_is_valid(name)))
        wrong = "name: 1 to 64 of A-Z a-z 0-9 _ . -, a letter or digit in front", at = "name";
    if (wrong == NULL && json_object_get(body, "from") == NULL)
        wrong = "from is missing: since when", at = "from";
    if (wrong == NULL)
        return true;
    char pointer[80];
    snprintf(pointer, sizeof(pointer), "/%.60s", strpbrk(at, "~/") == NULL ? at : "");
    json_t *errors =
        json_pack("[{s:o, s:s, s:b}]", "pointer", json_of_text(pointer), "detail", wrong, "warning",
                  0);
    reply_problem_at(reply, 400, errors, wrong);
    json_decref(errors);
    return false;
}

void rest_pin(const struct request *request, struct reply *reply)
{
    struct errand_end end = {0};
    json_t *body = json_loadb(request->body.at != NULL ? request->body.at : "",
                              request->body.bytes, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(body)) {
        reply_problem(reply, 400, "the body is no JSON object");
    } else if (is_sound(body, reply)) {
        json_object_set_new(body, "verb", json_string("pin"));
        if (errands_run(request->gateway, json_incref(body), &end, reply)) {
            json_t *pins = read_lines(end.output);
            if (json_array_size(pins) > 0)
                reply_json(reply, 201, json_pack("{s:O, s:o}", "pins", pins, "failed",
                                                 read_words(end.said)));
            else
                reply_problem(reply, end.code == 2 ? 400 : 409, "%s",
                              end.said[0] != '\0' ? end.said : "there is no channel to pin");
            json_decref(pins);
        }
    }
    json_decref(body);
    errands_free(&end);
}

void rest_unpin(const struct request *request, struct reply *reply)
{
    struct errand_end end = {0};
    const struct request_value *channel = &request->values[0];
    json_t *asked = json_pack("{s:s, s:o}", "verb", "unpin", "name", json_of_text(request->name));
    if (!pin_name_is_valid(request->name) ||
        (channel->given && !channel_name_is_valid(channel->text))) {
        json_decref(asked);
        reply_problem(reply, 404, "no pin, or channel, can be called so");
        return;
    }
    if (channel->given)
        json_object_set_new(asked, "channels", json_pack("[s]", channel->text));
    if (errands_run(request->gateway, asked, &end, reply)) {
        json_t *lines = read_lines(end.output), *names = json_array();
        size_t index;
        const json_t *line;
        json_array_foreach(lines, index, line)
            json_array_append(names, json_object_get(line, "channel"));
        if (json_array_size(names) > 0)
            reply_json(reply, 200, json_pack("{s:O}", "unpinned", names));
        else
            reply_problem(reply, end.code == 78 ? 409 : 404, "%s",
                          end.said[0] != '\0' ? end.said : "there is no such pin");
        json_decref(names);
        json_decref(lines);
    }
    errands_free(&end);
}
