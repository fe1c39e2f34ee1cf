/* SPDX-License-Identifier: MIT
 * A file is read twice: once to write the other, once beside it. */
#include "overview/compact.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/catalog.h"
#include "archive/history.h"
#include "archive/packed.h"
#include "archive/source.h"
#include "archive/writer.h"
#include "base/varint.h"
#include "os/clock.h"
#include "os/folder.h"
#include "os/storage.h"

#define RETRY_NS       (600 * NS_PER_S) /* behind a failure */
#define ENTRIES_MAX    40u
#define TRY_BYTES      (8u << 20) /* after so many it is seen whether it becomes smaller at all */
#define SMALLER        95u        /* per cent of what it was, at most */
#define KEY_BYTES      64u
#define COMPACT_ENDING ".compacting" /* of what is being written */

/* A file being rewritten. */
struct rewrite {
    struct compactor *compactor;
    const struct catalog_file *file;
    char name[RECORDING_NAME_BYTES], beside[RECORDING_NAME_BYTES];
    struct source source;
    struct scan *scan;
    bool joins; /* blocks may be joined */
    struct writer *writer;
    uint8_t *image, *data; /* of BLOCK_BYTES_MAX */
    size_t data_bytes;     /* of the block at hand ... */
    uint64_t count, arrival_ns;
    uint64_t datums, bytes_read;
    struct writer_entry entries[ENTRIES_MAX];
    char keys[ENTRIES_MAX][KEY_BYTES];
    size_t entry_count;
    const char *doubt;                                     /* why it is left alone */
    char fault[sizeof(((struct scan_event *)NULL)->what)]; /* the scan's words, to point at */
};

/* ---- the header ---- */

static bool is_of_format(const char *key)
{
    static const char *const own[] = {"avro.codec", "flotilla.format", "flotilla.padding",
                                      "flotilla.crc32c"};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (strcmp(key, own[i]) == 0)
            return true;
    return false;
}

/* A length and so many bytes. False where they end first. */
static bool take_sized(const uint8_t **at, const uint8_t *end, struct span *text)
{
    int64_t bytes;
    int used = varint_read(*at, end, &bytes);
    if (used <= 0 || bytes < 0 || bytes > end - *at - used)
        return false;
    *text = (struct span){*at + used, (size_t)bytes};
    *at += used + bytes;
    return true;
}

/* The header's entries but those that tell the format: one map block, as a relay writes it. */
static bool take_entries(struct rewrite *rewrite)
{
    struct span image = scan_header(rewrite->scan)->image, key, value;
    const uint8_t *at = image.at + 4, *end = image.at + image.bytes;
    int64_t count;
    int used = varint_read(at, end, &count);
    at += used > 0 ? used : 0;
    for (int64_t i = 0; used > 0 && i < count; i++) {
        char text[KEY_BYTES];
        if (!take_sized(&at, end, &key) || !take_sized(&at, end, &value) ||
            key.bytes >= sizeof(text) || rewrite->entry_count == ENTRIES_MAX)
            return false;
        memcpy(text, key.at, key.bytes);
        text[key.bytes] = '\0';
        if (is_of_format(text))
            continue;
        memcpy(rewrite->keys[rewrite->entry_count], text, key.bytes + 1);
        rewrite->entries[rewrite->entry_count] =
            (struct writer_entry){rewrite->keys[rewrite->entry_count], value};
        rewrite->entry_count++;
    }
    return used > 0 && count > 0 && rewrite->entry_count > 0;
}

/* ---- writing ---- */

static int end_block(struct rewrite *rewrite)
{
    if (rewrite->count == 0)
        return 0;
    struct span data = {rewrite->data, rewrite->data_bytes};
    const uint8_t *sync = scan_header(rewrite->scan)->sync;
    size_t alignment = writer_alignment(rewrite->writer);
    uint16_t place = block_place(writer_bytes(rewrite->writer));
    long bytes = packed_write(rewrite->image, rewrite->compactor->codec, data, rewrite->count,
                              rewrite->arrival_ns, sync, alignment, place);
    if (bytes == -ENOSPC) {
        block_append(rewrite->image, 0, data);
        bytes = (long)block_finish_at(rewrite->image, data.bytes, rewrite->count,
                                      rewrite->arrival_ns, sync, alignment, place);
    }
    rewrite->count = rewrite->data_bytes = 0;
    if (bytes < 0)
        return (int)bytes;
    return writer_add_block(rewrite->writer, (struct span){rewrite->image, (size_t)bytes});
}

/* Puts the datums of a block behind those that are there, or begins with them anew. */
static int add_datums(struct rewrite *rewrite, const struct scan_event *block)
{
    bool fits = rewrite->data_bytes + block->data.bytes <= block_data_max(BLOCK_BYTES_MAX) &&
                rewrite->count + block->count <= BLOCK_DATUMS_MAX;
    bool near = rewrite->count > 0 && block->arrival_ns >= rewrite->arrival_ns &&
                block->arrival_ns - rewrite->arrival_ns < COMPACT_SPAN_NS;
    int status = fits && near && rewrite->joins ? 0 : end_block(rewrite);
    if (status < 0)
        return status;
    if (rewrite->count == 0)
        rewrite->arrival_ns = block->arrival_ns;
    if (block->data.bytes > 0)
        memcpy(rewrite->data + rewrite->data_bytes, block->data.at, block->data.bytes);
    rewrite->data_bytes += block->data.bytes;
    rewrite->count += block->count;
    rewrite->datums += block->count;
    return 0;
}

/* Writes the other file, whole and synced. 0, -ECANCELED with `doubt`, or a negative errno. */
static int write_other(struct rewrite *rewrite)
{
    struct scan_event event;
    int status;
    while ((status = scan_next(rewrite->scan, &event)) == 0 && event.kind != SCAN_END) {
        if (event.kind != SCAN_BLOCK || !event.ours) {
            memcpy(rewrite->fault, event.what, sizeof(rewrite->fault));
            rewrite->doubt =
                event.kind == SCAN_BLOCK ? "a block that is not as it is written" : rewrite->fault;
            return -ECANCELED;
        }
        status = add_datums(rewrite, &event);
        if (status < 0)
            return status;
        rewrite->bytes_read += event.bytes;
        if (rewrite->bytes_read > TRY_BYTES &&
            writer_bytes(rewrite->writer) * 100 > rewrite->bytes_read * SMALLER) {
            rewrite->doubt = "";
            return -ECANCELED;
        }
    }
    if (status == 0)
        status = end_block(rewrite);
    return status < 0 ? status : writer_sync(rewrite->writer);
}

/* ---- comparing ---- */

/* The datums of a scan as one run of bytes. */
struct run {
    struct scan *scan;
    struct span rest;
    uint64_t count;
};

/* Brings the next bytes. 1; 0 at the end; -EBADMSG at anything else, or a negative errno. */
static int next_bytes(struct run *run)
{
    struct scan_event event;
    while (run->rest.bytes == 0) {
        int status = scan_next(run->scan, &event);
        if (status < 0 || event.kind == SCAN_END)
            return status;
        if (event.kind != SCAN_BLOCK || !event.ours)
            return -EBADMSG;
        run->rest = event.data;
        run->count += event.count;
    }
    return 1;
}

/* Whether both files have the same datums, each valid by the schema: the scan has looked at each,
 * and what is the same bytes by the same schema is the same datums. 0, -EBADMSG if not. */
static int compare(struct rewrite *rewrite, const char *path)
{
    struct source sources[2] = {{.descriptor = DESCRIPTOR_NONE}, {.descriptor = DESCRIPTOR_NONE}};
    struct run runs[2] = {{0}, {0}};
    const char *paths[2] = {rewrite->file->path, path};
    char error[256];
    int status = 0, more[2] = {1, 1};
    for (int i = 0; i < 2 && status == 0; i++)
        status =
            source_scan(&sources[i], &runs[i].scan, paths[i], SOURCE_FILES, error, sizeof(error));
    if (status == 0) {
        struct span one = schema_text(scan_schema(runs[0].scan));
        struct span other = schema_text(scan_schema(runs[1].scan));
        bool same = one.bytes == other.bytes && memcmp(one.at, other.at, one.bytes) == 0;
        status = same && scan_header(runs[1].scan)->sound ? 0 : -EBADMSG;
    }
    while (status == 0) {
        for (int i = 0; i < 2 && status == 0; i++) {
            more[i] = next_bytes(&runs[i]);
            status = more[i] < 0 ? more[i] : 0;
        }
        if (status < 0 || (more[0] == 0 && more[1] == 0))
            break;
        size_t part =
            runs[0].rest.bytes < runs[1].rest.bytes ? runs[0].rest.bytes : runs[1].rest.bytes;
        if (more[0] != more[1] || memcmp(runs[0].rest.at, runs[1].rest.at, part) != 0)
            status = -EBADMSG;
        for (int i = 0; i < 2; i++) {
            runs[i].rest.at += part;
            runs[i].rest.bytes -= part;
        }
    }
    if (status == 0 && (runs[0].count != runs[1].count || runs[0].count != rewrite->datums))
        status = -EBADMSG;
    for (int i = 0; i < 2; i++) {
        scan_close(runs[i].scan);
        source_close(&sources[i]);
    }
    return status;
}

/* ---- one file ---- */

/* What a file of others, or one that was compacted, is to us. */
static bool is_wanted(struct rewrite *rewrite)
{
    const struct scan_header *header = scan_header(rewrite->scan);
    if (!header->ours || header->packed)
        return false;
    if (!header->sound)
        rewrite->doubt = header->fault != NULL ? header->fault : "its header is doubtful";
    else if (!take_entries(rewrite))
        rewrite->doubt = "its header is not as it is written";
    return rewrite->doubt == NULL;
}

/* Whether the file is still the one that was read. */
static bool is_unchanged(const struct rewrite *rewrite)
{
    struct storage_entry entry;
    return storage_look(rewrite->compactor->descriptor, rewrite->name, &entry) == 0 &&
           entry.regular && entry.bytes == rewrite->file->bytes &&
           entry.modified_ns == rewrite->file->modified_ns &&
           descriptor_is_at(rewrite->source.descriptor, rewrite->file->path);
}

/* Writes, compares, replaces. 0, -ECANCELED: it is left alone; or a negative errno. */
static int do_file(struct rewrite *rewrite)
{
    struct compactor *compactor = rewrite->compactor;
    char path[OVERVIEW_PATH_BYTES];
    struct row_clock clock = {0};
    int status = row_clock_set(&clock, rewrite->scan);
    rewrite->joins = status == 0 && clock.unit_ns != 0;
    row_clock_free(&clock);
    if (status == 0)
        status =
            writer_begin_beside(&rewrite->writer, compactor->descriptor, rewrite->name,
                                rewrite->beside, rewrite->entries, rewrite->entry_count,
                                compactor->codec, scan_header(rewrite->scan)->sync,
                                compactor->direct);
    if (status == 0)
        status = write_other(rewrite);
    if (status == 0 && writer_bytes(rewrite->writer) >= rewrite->file->bytes) {
        rewrite->doubt = "";
        status = -ECANCELED;
    }
    snprintf(path, sizeof(path), "%.1000s/%s", compactor->folder, rewrite->beside);
    if (status == 0)
        status = compare(rewrite, path);
    if (status == -EBADMSG) {
        rewrite->doubt = "what was written of it does not read back the same";
        status = -ECANCELED;
    }
    if (status == 0 && !is_unchanged(rewrite)) /* removed, or somebody is at it */
        status = -ECANCELED;
    if (status == 0) {
        status = writer_replace(rewrite->writer, rewrite->file->modified_ns);
        rewrite->writer = NULL;
        status = status == -ENOENT ? -ECANCELED : status; /* removed just now */
    }
    return status;
}

static int compact_file(struct compactor *compactor, const struct catalog_file *file)
{
    struct rewrite *rewrite = calloc(1, sizeof(*rewrite));
    char error[256], what[RECORDING_NAME_BYTES + 300];
    if (rewrite == NULL)
        return -ENOMEM;
    *rewrite = (struct rewrite){.compactor = compactor, .file = file};
    rewrite->image = malloc(BLOCK_BYTES_MAX);
    rewrite->data = malloc(BLOCK_BYTES_MAX);
    recording_name_write(rewrite->name, &file->name);
    snprintf(rewrite->beside, sizeof(rewrite->beside), ".%s-%llu" COMPACT_ENDING,
             compactor->channel, (unsigned long long)file->name.number);
    int status = rewrite->image == NULL || rewrite->data == NULL ? -ENOMEM : 0;
    if (status == 0)
        status = source_scan(&rewrite->source, &rewrite->scan, file->path, SOURCE_FILES, error,
                             sizeof(error));
    if (status == 0 && is_wanted(rewrite))
        status = do_file(rewrite);
    else if (status == 0)
        status = -ECANCELED;
    writer_close(rewrite->writer);
    if (status < 0)
        folder_remove(compactor->descriptor, rewrite->beside);
    if (status == -ECANCELED && rewrite->doubt != NULL && rewrite->doubt[0] != '\0') {
        snprintf(what, sizeof(what), "%s is not compacted: %s", rewrite->name, rewrite->doubt);
        compactor->tell(compactor->channel, what);
    }
    scan_close(rewrite->scan);
    source_close(&rewrite->source);
    free(rewrite->image);
    free(rewrite->data);
    free(rewrite);
    return status == -ECANCELED || status == -EBADMSG || status == -ENOMSG ? 0 : status;
}

/* ---- which one ---- */

/* Removes what a process that was killed has left. */
static int clear_left(void *context, const char *name)
{
    const struct compactor *compactor = context;
    size_t bytes = strlen(name), ending = strlen(COMPACT_ENDING);
    if (name[0] == '.' && bytes > ending && strcmp(name + bytes - ending, COMPACT_ENDING) == 0)
        folder_remove(compactor->descriptor, name);
    return 0;
}

int compact_open(struct compactor *compactor)
{
    compactor->descriptor = folder_open(compactor->folder);
    if (compactor->descriptor < 0)
        return compactor->descriptor;
    return folder_list(compactor->descriptor, clear_left, compactor);
}

/* The next finished recording; NULL if there is none that is old enough. One that is dated in the
 * future is: the clock was set back since, and how old it is nobody knows; those behind it are not
 * to wait until the clock is there again. */
static const struct catalog_file *find_next(struct compactor *compactor,
                                            const struct catalog *catalog, uint64_t below)
{
    uint64_t now_ns = clock_realtime_ns();
    for (size_t i = 0; i < catalog->count; i++) {
        const struct catalog_file *file = &catalog->files[i];
        if (!file->named || file->name.number < compactor->next ||
            strcmp(file->name.channel, compactor->channel) != 0)
            continue;
        uint64_t ended_ns =
            file->modified_ns > file->name.stamp_ns ? file->modified_ns : file->name.stamp_ns;
        bool ready = file->name.stage == RECORDING_DONE && file->name.number < below &&
                     (ended_ns > now_ns || now_ns - ended_ns >= compactor->age_ns);
        if (file->name.stage != RECORDING_DAMAGED)
            return ready ? file : NULL;
    }
    return NULL;
}

int compact_step(struct compactor *compactor, uint64_t below)
{
    struct catalog catalog = {0};
    int status = 0;
    if (clock_monotonic_ns() < compactor->retry_ns)
        return 0;
    long added = catalog_add(&catalog, compactor->folder, CATALOG_DATUMS);
    const struct catalog_file *file = added > 0 ? find_next(compactor, &catalog, below) : NULL;
    if (file != NULL) {
        uint64_t number = file->name.number;
        status = compact_file(compactor, file);
        if (status == 0)
            compactor->next = number + 1;
        else if (status != -EINTR)
            compactor->retry_ns = clock_monotonic_ns() + RETRY_NS;
    }
    catalog_free(&catalog);
    return status < 0 ? status : file != NULL;
}
