/* SPDX-License-Identifier: MIT
 * Channels side by side: the earliest row of all is the next. Known: where a clock was set back
 * within a channel, its rows stay in the order of the recordings. */
#include "gateway/foxglove_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/catalog.h"
#include "archive/history.h"
#include "channel/recording_name.h"
#include "channel/settings.h"
#include "os/folder.h"

#define PATH_BYTES    (CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 2)
#define LAST_ROWS_MAX 1000000u /* of a channel's last block */

/* ---- what there is ---- */

/* The schema and the time field of the file at hand. */
static int form_of(struct topic_form **form, const struct scan *scan, const char *channel,
                   char *error, size_t error_bytes)
{
    char time[LAYOUT_PATH_BYTES_MAX];
    struct span name = scan_header(scan)->time;
    size_t bytes = name.bytes < sizeof(time) ? name.bytes : 0;
    if (bytes > 0)
        memcpy(time, name.at, bytes);
    time[bytes] = '\0';
    int status =
        topic_form_make(form, channel, schema_text(scan_schema(scan)), time, error, error_bytes);
    if (status < 0) {
        topic_form_free(*form);
        *form = NULL;
    }
    return status;
}

/* Reads the last block for its last datum, and for the schema. */
static int look_at_end(struct recorded *one, const struct catalog *catalog, uint64_t from_ns)
{
    struct history *history;
    struct rows_event event;
    struct time_span span = {from_ns > 0 ? from_ns : 1, UINT64_MAX - 1};
    int status = history_open(&history, catalog, &span, ROWS_SKIP);
    for (uint32_t rows = 0; status == 0 && rows < LAST_ROWS_MAX; rows++) {
        status = history_next(history, &event);
        if (status < 0 || event.kind == ROWS_END)
            break;
        if (event.kind == ROWS_FILE) {
            topic_form_free(one->form);
            status = form_of(&one->form, history_scan(history), one->name, one->error,
                             sizeof(one->error));
            status = status == -ENOMEM ? status : 0;
        } else if (event.kind == ROWS_DATUM && history_at(history) > one->last_ns) {
            one->last_ns = history_at(history);
        }
    }
    history_close(history);
    return status;
}

/* Looks at one channel. False: it has nothing. */
static bool look_at(struct recorded *one, const char *directory, const char *name, int *status)
{
    char folder[PATH_BYTES];
    struct catalog catalog = {0};
    struct catalog_look look = {0};
    uint64_t newest_ns = 0;
    *one = (struct recorded){.name = text_copy(name)};
    snprintf(folder, sizeof(folder), "%s/%s", directory, name);
    long files = one->name != NULL ? catalog_add(&catalog, folder, CATALOG_DATUMS) : -ENOMEM;
    for (size_t i = 0; i < catalog.count && one->first_ns == 0; i++)
        if (catalog_look(&catalog.files[i], &look) == 0 && !look.empty)
            one->first_ns = look.first_ns;
    for (size_t i = catalog.count; i > 0 && newest_ns == 0; i--)
        if (catalog_look(&catalog.files[i - 1], &look) == 0 && !look.empty)
            newest_ns = look.last_ns;
    one->last_ns = newest_ns;
    *status = files == -ENOMEM ? -ENOMEM : 0;
    if (newest_ns > 0 && *status == 0)
        *status = look_at_end(one, &catalog, newest_ns);
    catalog_free(&catalog);
    return newest_ns > 0 && *status == 0;
}

struct listing {
    const char *directory;
    char **names;
    size_t count, room;
};

static int list_name(void *context, const char *name)
{
    struct listing *listing = context;
    if (!channel_name_is_valid(name) || listing->count == READER_CHANNELS_MAX)
        return 0;
    char **grown = room_grow(listing->names, &listing->room, listing->count + 1, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    listing->names = grown;
    grown[listing->count] = text_copy(name);
    return grown[listing->count] != NULL ? (listing->count++, 0) : -ENOMEM;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int recorded_list(struct recorded **list, size_t *count, const char *directory)
{
    struct listing listing = {.directory = directory};
    descriptor_t folder = folder_open_there(directory);
    int status = folder >= 0 ? folder_list(folder, list_name, &listing) : 0;
    descriptor_close(folder);
    status = status == -ENOMEM ? status : 0; /* what cannot be listed has nothing */
    *count = 0;
    *list = calloc(listing.count + 1, sizeof(**list));
    if (*list == NULL)
        status = -ENOMEM;
    if (listing.count > 0)
        qsort(listing.names, listing.count, sizeof(*listing.names), by_name);
    for (size_t i = 0; i < listing.count; i++) {
        if (status == 0 && look_at(&(*list)[*count], directory, listing.names[i], &status)) {
            (*count)++;
        } else if (*list != NULL) {
            topic_form_free((*list)[*count].form);
            free((*list)[*count].name);
            (*list)[*count] = (struct recorded){0};
        }
        free(listing.names[i]);
    }
    free(listing.names);
    return status;
}

void recorded_free(struct recorded *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].name);
        topic_form_free(list[i].form);
    }
    free(list);
}

/* ---- batches ---- */

void reader_batch_clear(struct reader_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        topic_form_free(batch->items[i].form);
    text_clear(&batch->bytes);
    *batch =
        (struct reader_batch){.bytes = batch->bytes, .items = batch->items, .room = batch->room};
}

void reader_batch_free(struct reader_batch *batch)
{
    reader_batch_clear(batch);
    text_free(&batch->bytes);
    free(batch->items);
    *batch = (struct reader_batch){0};
}

static struct reader_item *batch_add(struct reader_batch *batch, uint32_t channel, uint64_t at_ns)
{
    struct reader_item *grown =
        room_grow(batch->items, &batch->room, batch->count + 1, sizeof(*grown));
    if (grown == NULL)
        return NULL;
    batch->items = grown;
    grown[batch->count] =
        (struct reader_item){.channel = channel, .at_ns = at_ns, .offset = batch->bytes.bytes};
    return &grown[batch->count++];
}

/* ---- the reader ---- */

/* A channel that is read. */
struct lane {
    const char *name;
    struct catalog catalog;
    struct history *history;  /* NULL: it is not read */
    struct topic_form *form;  /* of the file at hand; NULL: it cannot be shown */
    struct topic_form *other; /* a second of it, to be handed out: it is not that before */
    bool waits;               /* a datum, that came in at `at_ns` */
    struct span datum;
    uint64_t at_ns;
};

struct reader {
    const char *directory;
    struct lane *lanes;
    size_t count;
    uint64_t to_ns;
};

int reader_open(struct reader **made, const char *directory, const struct recorded *list,
                size_t count, uint64_t to_ns)
{
    struct reader *reader = calloc(1, sizeof(*reader));
    struct lane *lanes = calloc(count + 1, sizeof(*lanes));
    *made = reader;
    if (reader == NULL || lanes == NULL) {
        free(reader);
        free(lanes);
        *made = NULL;
        return -ENOMEM;
    }
    *reader =
        (struct reader){.directory = directory, .lanes = lanes, .count = count, .to_ns = to_ns};
    for (size_t i = 0; i < count; i++)
        lanes[i].name = list[i].name;
    return 0;
}

static void lane_close(struct lane *lane)
{
    history_close(lane->history);
    catalog_free(&lane->catalog);
    topic_form_free(lane->form);
    topic_form_free(lane->other);
    lane->history = NULL;
    lane->form = lane->other = NULL;
    lane->waits = false;
}

void reader_close(struct reader *reader)
{
    if (reader == NULL)
        return;
    for (size_t i = 0; i < reader->count; i++)
        lane_close(&reader->lanes[i]);
    free(reader->lanes);
    free(reader);
}

static int lane_open(struct reader *reader, struct lane *lane, uint64_t from_ns)
{
    char folder[PATH_BYTES];
    struct time_span span = {from_ns > 0 ? from_ns : 1, reader->to_ns + 1};
    snprintf(folder, sizeof(folder), "%s/%s", reader->directory, lane->name);
    if (catalog_add(&lane->catalog, folder, CATALOG_DATUMS) == -ENOMEM)
        return -ENOMEM;
    return history_open(&lane->history, &lane->catalog, &span, ROWS_SKIP);
}

int reader_want(struct reader *reader, const bool *wanted, uint64_t from_ns, bool anew)
{
    size_t read = 0;
    int status = 0;
    for (size_t i = 0; i < reader->count && status == 0; i++) {
        struct lane *lane = &reader->lanes[i];
        bool reads = wanted[i] && read < READER_READ_MAX;
        read += reads;
        if (lane->history != NULL && (anew || !reads))
            lane_close(lane);
        if (lane->history == NULL && reads)
            status = lane_open(reader, lane, from_ns);
    }
    return status;
}

static void note_fault(struct reader_batch *batch, const char *path, const char *what)
{
    const char *slash = strrchr(path, '/');
    if (batch->faults++ == 0)
        snprintf(batch->fault, sizeof(batch->fault), "%s: %s", slash != NULL ? slash + 1 : path,
                 what);
}

/* A file begins: what its messages are. */
static int lane_begin_file(struct lane *lane, struct reader_batch *batch)
{
    struct topic_form *form, *other = NULL;
    char error[200];
    const struct scan *scan = history_scan(lane->history);
    int status = form_of(&form, scan, lane->name, error, sizeof(error));
    if (status == 0 && lane->form != NULL &&
        topic_form_is_of(form, schema_text(lane->form->schema), lane->form->time)) {
        topic_form_free(form);
        return 0;
    }
    if (status == 0)
        status = form_of(&other, scan, lane->name, error, sizeof(error));
    if (status < 0) {
        topic_form_free(form);
        note_fault(batch, lane->name, error);
        history_next_file(lane->history);
        return status == -ENOMEM ? status : 0;
    }
    topic_form_free(lane->form);
    topic_form_free(lane->other);
    lane->form = form;
    lane->other = other;
    return 0;
}

/* Has the next datum of a channel wait, if there is one. */
static int lane_advance(struct lane *lane, struct reader_batch *batch)
{
    struct rows_event event;
    int status = 0;
    lane->waits = false;
    while (status == 0 && !lane->waits) {
        status = history_next(lane->history, &event);
        if (status < 0 || event.kind == ROWS_END)
            return status;
        if (event.kind == ROWS_FILE)
            status = lane_begin_file(lane, batch);
        else if (event.kind == ROWS_FAULT)
            note_fault(batch, lane->catalog.files[event.at.file].path, event.what);
        else if (lane->form != NULL) {
            lane->waits = true;
            lane->datum = event.datum;
            lane->at_ns = history_at(lane->history);
        }
    }
    return status;
}

/* Adds what waits of a channel, in front of it the form where that is another. */
static int lane_hand_out(struct lane *lane, uint32_t channel, struct reader_batch *batch)
{
    if (lane->other != NULL) {
        struct reader_item *item = batch_add(batch, channel, lane->at_ns);
        if (item == NULL)
            return -ENOMEM;
        item->form = lane->other;
        lane->other = NULL;
    }
    struct reader_item *item = batch_add(batch, channel, lane->at_ns);
    if (item == NULL)
        return -ENOMEM;
    if (topic_form_write(lane->form, lane->datum, lane->at_ns, &batch->bytes)) {
        item->bytes = batch->bytes.bytes - item->offset;
        return 0;
    }
    batch->count--;
    batch->left_out++;
    return batch->bytes.failed ? -ENOMEM : 0;
}

int reader_read(struct reader *reader, struct reader_batch *batch, uint64_t until_ns)
{
    for (size_t i = 0; i < reader->count; i++)
        if (reader->lanes[i].history != NULL && !reader->lanes[i].waits) {
            int status = lane_advance(&reader->lanes[i], batch);
            if (status < 0)
                return status;
        }
    for (;;) {
        size_t first = reader->count;
        for (size_t i = 0; i < reader->count; i++)
            if (reader->lanes[i].waits &&
                (first == reader->count || reader->lanes[i].at_ns < reader->lanes[first].at_ns))
                first = i;
        batch->until_ns = first < reader->count && reader->lanes[first].at_ns < until_ns
                              ? reader->lanes[first].at_ns
                              : until_ns;
        if (batch->until_ns == until_ns || batch->bytes.bytes >= READER_BATCH_BYTES)
            return 0;
        int status = lane_hand_out(&reader->lanes[first], (uint32_t)first, batch);
        if (status == 0)
            status = lane_advance(&reader->lanes[first], batch);
        if (status < 0)
            return status;
    }
}
