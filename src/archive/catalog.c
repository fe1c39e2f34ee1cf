/* SPDX-License-Identifier: MIT
 * Lists by names, with what the folder says of each file; opens a file only to look into it.
 * Relies on os/storage, os/file and the scan's fronts. */
#include "archive/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/source.h"
#include "channel/overview.h"
#include "os/descriptor.h"
#include "os/folder.h"
#include "os/path.h"
#include "os/storage.h"

#define PATH_BYTES_MAX 4096

/* What of a folder is listed. */
struct listing {
    struct catalog *catalog;
    const char *path;
    descriptor_t folder;
    enum catalog_lanes lanes;
    bool channels_too; /* folders in it are looked through as well */
    const char *only;  /* recordings of this channel alone; NULL: of all */
};

static int add_file(struct catalog *catalog, const char *path, const struct recording_name *name,
                    const struct storage_entry *entry)
{
    if (catalog->count == catalog->room) {
        size_t room = catalog->room == 0 ? 16 : 2 * catalog->room;
        struct catalog_file *grown = realloc(catalog->files, room * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        catalog->files = grown;
        catalog->room = room;
    }
    struct catalog_file *file = &catalog->files[catalog->count];
    size_t bytes = strlen(path) + 1;
    *file = (struct catalog_file){.path = malloc(bytes)};
    if (file->path == NULL)
        return -ENOMEM;
    memcpy(file->path, path, bytes);
    if (name != NULL) {
        file->named = true;
        file->name = *name;
    }
    if (entry != NULL) {
        file->bytes = entry->bytes;
        file->modified_ns = entry->modified_ns;
    }
    catalog->count++;
    return 0;
}

static int by_channel_and_number(const void *a, const void *b)
{
    const struct recording_name *one = &((const struct catalog_file *)a)->name;
    const struct recording_name *other = &((const struct catalog_file *)b)->name;
    int order = strcmp(one->channel, other->channel);
    if (order == 0)
        order = (one->number > other->number) - (one->number < other->number);
    if (order == 0)
        order = (one->lane > other->lane) - (one->lane < other->lane);
    if (order == 0) /* what stands behind damage is the later */
        order = (one->stage == RECORDING_DAMAGED) - (other->stage == RECORDING_DAMAGED);
    return order != 0 ? order
                      : strcmp(((const struct catalog_file *)a)->path,
                               ((const struct catalog_file *)b)->path);
}

static int list_folder(struct catalog *catalog, const char *path, enum catalog_lanes lanes,
                       bool channels_too, const char *only);

static int note_entry(void *context, const char *entry_name)
{
    struct listing *listing = context;
    char path[PATH_BYTES_MAX];
    struct recording_name name;
    struct storage_entry entry;
    bool is_recording = recording_name_read(&name, entry_name);
    if (is_recording && (name.stage == RECORDING_OPENING ||
                         (listing->lanes == CATALOG_DATUMS && name.lane != RECORDING_DATUMS)))
        return 0;
    if (is_recording && listing->only != NULL && strcmp(name.channel, listing->only) != 0)
        return 0;
    if (!is_recording && (!listing->channels_too || !channel_name_is_valid(entry_name)))
        return 0;
    if (storage_look(listing->folder, entry_name, &entry) < 0) /* it has gone meanwhile */
        return 0;
    if (path_join(listing->path, entry_name, path, sizeof(path)) < 0)
        return -ENAMETOOLONG;
    if (is_recording)
        return add_file(listing->catalog, path, &name, &entry);
    /* An overview stands in its channel's folder; of the channel that is called so are its own. */
    const char *only = strcmp(entry_name, OVERVIEW_FOLDER) == 0 ? OVERVIEW_FOLDER : NULL;
    return entry.folder ? list_folder(listing->catalog, path, listing->lanes, false, only) : 0;
}

static int list_folder(struct catalog *catalog, const char *path, enum catalog_lanes lanes,
                       bool channels_too, const char *only)
{
    struct listing listing = {.catalog = catalog,
                              .path = path,
                              .folder = folder_open(path),
                              .lanes = lanes,
                              .channels_too = channels_too,
                              .only = only};
    if (listing.folder < 0)
        return listing.folder;
    int status = folder_list(listing.folder, note_entry, &listing);
    descriptor_close(listing.folder);
    return status;
}

long catalog_add(struct catalog *catalog, const char *path, enum catalog_lanes lanes)
{
    struct storage_entry entry;
    size_t before = catalog->count;
    int status = strcmp(path, "-") == 0 ? -ENOENT : storage_look_at(path, &entry);
    if (status < 0 || !entry.folder) {
        struct recording_name name;
        const char *slash = strrchr(path, '/');
        bool named = recording_name_read(&name, slash != NULL ? slash + 1 : path);
        status = add_file(catalog, path, named ? &name : NULL, status < 0 ? NULL : &entry);
        return status < 0 ? status : 1;
    }
    status = list_folder(catalog, path, lanes, true, NULL);
    if (status < 0)
        return status;
    size_t count = catalog->count - before;
    if (count > 0)
        qsort(catalog->files + before, count, sizeof(*catalog->files), by_channel_and_number);
    return (long)count;
}

size_t catalog_find(const struct catalog *catalog, const char *channel, uint64_t number)
{
    size_t found = catalog->count;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct catalog_file *file = &catalog->files[i];
        if (!file->named || file->name.lane != RECORDING_DATUMS || file->name.number < number ||
            strcmp(file->name.channel, channel) != 0)
            continue;
        if (found == catalog->count || file->name.number < catalog->files[found].name.number)
            found = i;
    }
    return found;
}

void catalog_free(struct catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++)
        free(catalog->files[i].path);
    free(catalog->files);
    *catalog = (struct catalog){0};
}

int catalog_look(const struct catalog_file *file, struct catalog_look *look)
{
    struct source source;
    struct scan *scan;
    struct scan_event first, last;
    char error[256];
    *look = (struct catalog_look){0};
    int status = source_scan(&source, &scan, file->path, SOURCE_FILES, error, sizeof(error));
    if (status < 0 || !scan_header(scan)->ours)
        goto out;
    look->ours = true;
    do
        status = scan_next_front(scan, &first);
    while (status == 0 && first.kind == SCAN_FAULT && first.bytes == 0);
    look->empty = status == 0 && first.kind != SCAN_BLOCK;
    if (status == 0 && first.kind == SCAN_BLOCK) {
        look->first_ns = look->last_ns = first.arrival_ns;
        look->last_block = first.offset;
        status = scan_front_before(scan, scan_bytes(scan), &last);
        if (status == 0 && last.kind == SCAN_BLOCK) {
            look->last_ns = last.arrival_ns;
            look->last_block = last.offset;
        }
    }
out:
    scan_close(scan);
    source_close(&source);
    return status;
}
