/* SPDX-License-Identifier: MIT
 * The routes about recordings. A file's id is the name it has when it is done, also while it is
 * written, so that it stays: nothing but a recording's name is an id, and a channel's name has no
 * slash in it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/catalog.h"
#include "base/calendar.h"
#include "base/timestamp.h"
#include "channel/recording_name.h"
#include "gateway/router.h"
#include "os/file.h"
#include "os/storage.h"

enum files_value { FILES_FROM, FILES_TO, FILES_AFTER, FILES_LIMIT };

#define FILES_LIMIT_USUAL 1000u
#define PATH_BYTES        (CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + RECORDING_NAME_BYTES)

/* ---- the list ---- */

static char *write_id(char text[RECORDING_NAME_BYTES], const struct recording_name *name)
{
    struct recording_name done = *name;
    done.stage = RECORDING_DONE;
    return recording_name_write(text, &done);
}

/* `lost_before`: files between this one and the one before it, by their numbers, that are not
 * there. */
static json_t *file_json(const struct catalog_file *file, const struct catalog_look *look,
                         uint64_t lost_before)
{
    char id[RECORDING_NAME_BYTES], first[CALENDAR_TEXT_BYTES], last[CALENDAR_TEXT_BYTES];
    return json_pack(
        "{s:s, s:I, s:b, s:I, s:I, s:o, s:o}", "id", write_id(id, &file->name), "bytes",
        (json_int_t)file->bytes, "open", file->name.stage == RECORDING_PART, "number",
        (json_int_t)file->name.number, "lost_before", (json_int_t)lost_before, "first",
        look->first_ns > 0 ? json_string(calendar_write(first, look->first_ns, 0)) : json_null(),
        "last",
        look->last_ns > 0 ? json_string(calendar_write(last, look->last_ns, 0)) : json_null());
}

/* Whether it may hold something of the span; of what cannot be looked into that is not known. */
static bool is_wanted(const struct request *request, const struct catalog_look *look)
{
    const struct request_value *from = &request->values[FILES_FROM];
    const struct request_value *to = &request->values[FILES_TO];
    return !(to->given && look->first_ns >= to->number && look->first_ns > 0) &&
           !(from->given && look->last_ns < from->number && look->last_ns > 0);
}

static size_t first_behind(const struct catalog *catalog, const char *after)
{
    struct recording_name name;
    char id[RECORDING_NAME_BYTES];
    size_t i = 0;
    if (after == NULL || !recording_name_read(&name, after))
        return 0;
    while (i < catalog->count &&
           (!catalog->files[i].named || catalog->files[i].name.number < name.number ||
            strcmp(write_id(id, &catalog->files[i].name), after) == 0))
        i++;
    return i;
}

/* How many numbers there are between that file and the one before it. */
static uint64_t lost_before(const struct catalog *catalog, size_t i)
{
    size_t before = i;
    while (before > 0 && !catalog->files[--before].named)
        ;
    if (before == i || !catalog->files[before].named)
        return 0;
    uint64_t now = catalog->files[i].name.number, last = catalog->files[before].name.number;
    return now > last + 1 ? now - last - 1 : 0;
}

void rest_files(const struct request *request, struct reply *reply)
{
    char folder[PATH_BYTES];
    struct catalog catalog = {0};
    const struct request_value *limit = &request->values[FILES_LIMIT];
    uint64_t left = limit->given ? limit->number : FILES_LIMIT_USUAL;
    json_t *files;
    if (!channel_name_is_valid(request->name)) {
        reply_problem(reply, 404, "no channel can be called \"%.100s\"", request->name);
        return;
    }
    snprintf(folder, sizeof(folder), "%s/%s", request->gateway->directory, request->name);
    long status = catalog_add(&catalog, folder, CATALOG_DATUMS);
    if (status < 0) {
        reply_problem(reply, status == -ENOENT ? 404 : 500, "\"%.100s\" has no recordings: %s",
                      request->name, strerror((int)-status));
        catalog_free(&catalog);
        return;
    }
    files = json_array();
    size_t i = first_behind(&catalog, request->values[FILES_AFTER].text);
    for (; i < catalog.count && left > 0; i++) {
        struct catalog_look look = {0};
        if (!catalog.files[i].named || catalog.files[i].name.stage == RECORDING_DAMAGED ||
            catalog_look(&catalog.files[i], &look) == -ENOENT || !is_wanted(request, &look))
            continue;
        json_array_append_new(files, file_json(&catalog.files[i], &look, lost_before(&catalog, i)));
        left--;
    }
    reply_json(reply, 200,
               json_pack("{s:s, s:o, s:b}", "channel", request->name, "files", files, "more",
                         left == 0 && i < catalog.count));
    catalog_free(&catalog);
}

/* ---- one file ---- */

/* Opens it, done or being written. A descriptor, or a negative errno. */
static descriptor_t open_recording(const struct gateway *gateway, struct recording_name *name,
                                   struct storage_entry *entry)
{
    static const enum recording_stage stages[] = {RECORDING_DONE, RECORDING_PART, RECORDING_DONE};
    char path[PATH_BYTES], file[RECORDING_NAME_BYTES];
    descriptor_t descriptor = -ENOENT;
    /* Once more the first one: it may get its name between the two. */
    for (size_t i = 0; i < 3 && descriptor == -ENOENT; i++) {
        name->stage = stages[i];
        snprintf(path, sizeof(path), "%s/%s/%s", gateway->directory, name->channel,
                 recording_name_write(file, name));
        descriptor = storage_look_at(path, entry);
        if (descriptor == 0)
            descriptor = entry->regular ? file_open_read(path) : -ENOENT;
    }
    return descriptor;
}

void rest_file(const struct request *request, struct reply *reply)
{
    struct recording_name name;
    struct storage_entry entry;
    if (!recording_name_read(&name, request->name) || name.stage != RECORDING_DONE) {
        reply_problem(reply, 404, "no recording is called so");
        return;
    }
    descriptor_t file = open_recording(request->gateway, &name, &entry);
    if (file < 0) {
        reply_problem(reply, file == -ENOENT || file == -ENOTDIR ? 404 : 500, "%.150s: %s",
                      request->name, strerror(-file));
        return;
    }
    int64_t bytes = file_bytes(file);
    bool open = name.stage == RECORDING_PART;
    uint64_t total = bytes > 0 ? (uint64_t)bytes : 0;
    /* Of a file that grows the next answer is another one. */
    snprintf(reply->etag, sizeof(reply->etag), "%s\"%" PRIx64 "-%" PRIx64 "\"", open ? "W/" : "",
             total, entry.modified_ns);
    snprintf(reply->disposition, sizeof(reply->disposition), "attachment; filename=\"%s\"",
             request->name);
    reply->type = "application/avro";
    if (strcmp(request->if_none_match, reply->etag) == 0 ||
        strcmp(request->if_none_match, "*") == 0) {
        reply->status = 304;
        descriptor_close(file);
        return;
    }
    bool whole =
        request->range[0] == '\0' ||
        (request->if_range[0] != '\0' && (open || strcmp(request->if_range, reply->etag) != 0));
    enum range_kind range =
        range_read(whole ? NULL : request->range, total, &reply->first, &reply->bytes);
    if (range == RANGE_BEYOND) {
        descriptor_close(file);
        reply->etag[0] = reply->disposition[0] = '\0';
        reply_problem(reply, 416, "the file has %" PRIu64 " bytes", total);
        snprintf(reply->content_range, sizeof(reply->content_range), "bytes */%" PRIu64, total);
        return;
    }
    if (range == RANGE_PART)
        snprintf(reply->content_range, sizeof(reply->content_range),
                 "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, reply->first,
                 reply->first + reply->bytes - 1, total);
    reply->status = range == RANGE_PART ? 206 : 200;
    reply->file = file;
}
