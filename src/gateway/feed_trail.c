/* SPDX-License-Identifier: MIT
 * A channel's recordings, followed as they grow (archive/tail), for a channel whose streams cannot
 * be joined. Read in a work thread, a job at a time, so that a disk that stalls holds up nobody but
 * this stream; what a job found is handed out behind it.
 * Known: a file that was begun by another schema is passed over. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/history.h"
#include "archive/tail.h"
#include "base/text.h"
#include "gateway/feed_parts.h"
#include "os/clock.h"

#define LOOK_NS   (200 * NS_PER_MS)
#define JOB_BYTES (1u << 20) /* of datums, at a time */

struct trail_row {
    size_t from, bytes; /* in `bytes`; of a fault, its text */
    uint64_t at_ns;
    bool fault;
};

struct trail {
    struct hub *hub;
    struct inlet *inlet; /* NULL: nobody wants it any more */
    struct loop_timer due;
    bool under_way, begun;

    /* The thread's while a job is under way. */
    char folder[CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 2];
    char name[CHANNEL_NAME_BYTES_MAX + 1];
    char *schema; /* the one that rows are to have, verbatim */
    size_t schema_bytes;
    struct tail *tail;
    struct row_clock clock;
    bool foreign; /* the file at hand has another */
    bool more;    /* there is more to be read at once */
    int status;
    struct text bytes;
    struct trail_row *rows;
    size_t row_count, row_room;
};

static void free_trail(struct trail *trail)
{
    tail_close(trail->tail);
    row_clock_free(&trail->clock);
    text_free(&trail->bytes);
    free(trail->rows);
    free(trail->schema);
    free(trail);
}

/* ---- in the thread ---- */

static int add_row(struct trail *trail, struct span bytes, uint64_t at_ns, bool fault)
{
    struct trail_row *rows =
        room_grow(trail->rows, &trail->row_room, trail->row_count + 1, sizeof(*rows));
    if (rows == NULL)
        return -ENOMEM;
    trail->rows = rows;
    rows[trail->row_count++] = (struct trail_row){trail->bytes.bytes, bytes.bytes, at_ns, fault};
    text_add_bytes(&trail->bytes, bytes.at, bytes.bytes);
    return trail->bytes.failed ? -ENOMEM : 0;
}

static int begin_file(struct trail *trail)
{
    struct span schema = schema_text(scan_schema(tail_scan(trail->tail)));
    trail->foreign =
        schema.bytes != trail->schema_bytes || memcmp(schema.at, trail->schema, schema.bytes) != 0;
    return row_clock_set(&trail->clock, tail_scan(trail->tail));
}

static int take_event(struct trail *trail, const struct tail_event *event)
{
    if (event->kind == TAIL_FILE)
        return begin_file(trail);
    if (event->kind == TAIL_FAULT)
        return add_row(trail, (struct span){(const uint8_t *)event->what, strlen(event->what)},
                       clock_realtime_ns(), true);
    uint64_t at_ns =
        row_clock_ns(&trail->clock, event->datum, event->index, event->arrival_ns, UINT64_MAX);
    return trail->foreign ? 0 : add_row(trail, event->datum, at_ns, false);
}

static void look(void *work)
{
    struct trail *trail = work;
    struct tail_event event;
    trail->more = false;
    text_clear(&trail->bytes);
    trail->row_count = 0;
    if (trail->tail == NULL) {
        trail->status = tail_open(&trail->tail, trail->folder, trail->name, RECORDING_DATUMS);
        if (trail->status == 0)
            trail->status = tail_seek_end(trail->tail);
        if (trail->status == 0 && tail_scan(trail->tail) != NULL)
            trail->status = begin_file(trail);
        return;
    }
    while (trail->status == 0 && !trail->more) {
        trail->status = tail_next(trail->tail, &event);
        if (trail->status < 0 || event.kind == TAIL_NOTHING)
            break;
        trail->status = take_event(trail, &event);
        trail->more = trail->bytes.bytes > JOB_BYTES;
    }
}

/* ---- in the hub ---- */

static void looked(void *work);

static void begin_looking(void *context)
{
    struct trail *trail = context;
    trail->under_way = hub_work(trail->hub, look, looked, trail);
    if (!trail->under_way)
        loop_arm(hub_loop(trail->hub), &trail->due, clock_monotonic_ns() + LOOK_NS);
}

static void hand_out(struct trail *trail)
{
    struct inlet *inlet = trail->inlet;
    for (size_t i = 0; i < trail->row_count && trail->inlet != NULL; i++) {
        const struct trail_row *row = &trail->rows[i];
        const char *at = trail->bytes.at + row->from;
        if (!row->fault) {
            inlet_tell_datum(inlet, (struct span){(const uint8_t *)at, row->bytes}, row->at_ns);
            inlet->last_ns = row->at_ns;
            continue;
        }
        char why[300];
        snprintf(why, sizeof(why), "%.*s", (int)row->bytes, at);
        const char *name = strrchr(why, '/'); /* no path leaves this machine */
        inlet_tell_gap(inlet, inlet->last_ns > 0 ? inlet->last_ns : row->at_ns, row->at_ns,
                       UINT64_MAX, name != NULL ? name + 1 : why);
    }
}

static void looked(void *work)
{
    struct trail *trail = work;
    trail->under_way = false;
    if (trail->inlet == NULL) {
        free_trail(trail);
        return;
    }
    struct feeds *feeds = trail->inlet->feeds;
    feeds_enter(feeds);
    if (trail->status < 0) {
        inlet_end(trail->inlet, false, strerror(-trail->status));
    } else {
        if (!trail->begun)
            inlet_tell_begins(trail->inlet);
        trail->begun = true;
        hand_out(trail);
        loop_arm(hub_loop(trail->hub), &trail->due,
                 clock_monotonic_ns() + (trail->more ? 0 : LOOK_NS));
    }
    feeds_leave(feeds);
}

int trail_open(struct trail **trail, struct inlet *inlet)
{
    struct trail *made = calloc(1, sizeof(*made));
    struct span schema = schema_text(inlet->subject.schema);
    if (made == NULL || (made->schema = malloc(schema.bytes + 1)) == NULL) {
        free(made);
        return -ENOMEM;
    }
    memcpy(made->schema, schema.at, schema.bytes);
    made->schema_bytes = schema.bytes;
    made->hub = inlet->feeds->hub;
    made->inlet = inlet;
    snprintf(made->name, sizeof(made->name), "%s", inlet->name);
    snprintf(made->folder, sizeof(made->folder), "%s/%s", hub_gateway(made->hub)->directory,
             inlet->name);
    made->due = (struct loop_timer){.due = begin_looking, .context = made};
    *trail = made;
    begin_looking(made);
    return 0;
}

void trail_close(struct trail *trail)
{
    if (trail == NULL)
        return;
    loop_disarm(&trail->due);
    trail->inlet = NULL;
    if (!trail->under_way)
        free_trail(trail);
}
