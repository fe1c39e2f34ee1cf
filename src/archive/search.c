/* SPDX-License-Identifier: MIT
 * Halving over the files of a run, and over the pages of a file: there its first steps are guessed
 * from the blocks' times. Everything read is judged: what does not look as the relay writes it ends
 * the search, and the file is taken from its begin.
 * Within BLOCK_DISORDER_NS nothing is known of the order, so the ends of a search are so far apart
 * from the span's. */
#include "archive/search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "archive/packed.h"
#include "avro/block.h"
#include "base/varint.h"
#include "os/file.h"

/* What is read at once: a place where a block of one page or a few begins needs one such read. */
#define PIECE_BYTES      (16u * BLOCK_PAGE_BYTES)
#define GUESSES          8u /* by the times of blocks, before it is halved */
#define HEADER_BYTES_MAX (LAYOUT_SCHEMA_BYTES_MAX + (1u << 20))

/* ---- reading ---- */

/* A view of the file that is moved about. */
struct window {
    const struct scan_source *source;
    const struct search_front *front;
    struct scan_cost *cost;
    uint8_t *bytes;
    uint64_t from; /* of the file */
    size_t count, ahead;
};

/* A block as its front has it. */
struct place {
    uint64_t offset, bytes, arrival_ns;
};

static long read_at(const struct scan_source *source, uint8_t *into, size_t bytes, uint64_t offset,
                    struct scan_cost *cost)
{
    long got = source->read(source->context, into, bytes, offset);
    if (got > 0)
        cost->bytes += (uint64_t)got;
    cost->reads++;
    return got;
}

/* Brings [offset, offset + bytes) into view, bytes <= BLOCK_PAGE_BYTES, and with it what follows.
 * NULL with `*status` 0 where the file ends before. */
static const uint8_t *look(struct window *window, uint64_t offset, size_t bytes, int *status)
{
    uint64_t end = window->from + window->count;
    if (offset < window->from || offset + bytes > end) {
        /* More at once while it goes on and on, as over the inside of a large block. */
        bool goes_on = window->count > 0 && offset >= window->from && offset <= end;
        window->ahead = goes_on ? 4 * window->ahead : 8 * BLOCK_PAGE_BYTES;
        if (window->ahead > PIECE_BYTES)
            window->ahead = PIECE_BYTES;
        window->from = offset / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
        window->count = 0;
        long got = read_at(window->source, window->bytes, window->ahead + BLOCK_PAGE_BYTES,
                           window->from, window->cost);
        if (got < 0) {
            *status = (int)got;
            return NULL;
        }
        window->count = (size_t)got;
    }
    return offset + bytes <= window->from + window->count ? window->bytes + (offset - window->from)
                                                          : NULL;
}

/* Whether a block begins at `offset`: a sync marker stands in front of it, and a front that says so
 * and names this place. */
static bool block_at(struct window *window, uint64_t offset, struct place *place, int *status)
{
    struct block_info info;
    const uint8_t *at =
        look(window, offset - BLOCK_SYNC_BYTES, BLOCK_SYNC_BYTES + BLOCK_DATA_OFFSET, status);
    if (at == NULL || memcmp(at, window->front->sync, BLOCK_SYNC_BYTES) != 0 ||
        packed_read_front((struct span){at + BLOCK_SYNC_BYTES, BLOCK_DATA_OFFSET}, &info) < 0 ||
        info.bytes % BLOCK_PAGE_BYTES != 0 || info.bytes > BLOCK_BYTES_MAX ||
        info.place != block_place(offset))
        return false;
    *place = (struct place){offset, info.bytes, info.arrival_ns};
    return true;
}

/* The first block that begins in [from, to), page boundaries. 1, 0 for none, or a negative errno.
 */
static int next_block(struct window *window, uint64_t from, uint64_t to, struct place *place)
{
    int status = 0;
    for (uint64_t at = from; at < to && status == 0; at += BLOCK_PAGE_BYTES)
        if (block_at(window, at, place, &status))
            return 1;
    return status;
}

/* Whether the last whole block ends in the marker, and behind it nothing stands but the begin of
 * another: else something was joined on. 1, 0 or a negative errno. */
static int ends_well(struct window *window, const struct place *last)
{
    struct place cut;
    int status = 0;
    uint64_t end = last->offset + last->bytes, size = window->source->bytes;
    const uint8_t *marker = look(window, end - BLOCK_SYNC_BYTES, BLOCK_SYNC_BYTES, &status);
    if (marker == NULL || memcmp(marker, window->front->sync, BLOCK_SYNC_BYTES) != 0)
        return status;
    return size - end < BLOCK_DATA_OFFSET || block_at(window, end, &cut, &status) ? 1 : status;
}

/* The last whole block. 1, 0 if the file does not end as one that is written does, or a negative
 * errno. */
static int last_block(struct window *window, struct place *last)
{
    uint64_t size = window->source->bytes, begin = window->front->header_bytes;
    uint64_t lowest = size > begin + 2 * BLOCK_BYTES_MAX ? size - 2 * BLOCK_BYTES_MAX : begin;
    uint64_t high = size / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES, end = size;
    lowest = lowest / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
    while (high > lowest) { /* piece by piece, each from its front */
        uint64_t low = high > lowest + PIECE_BYTES ? high - PIECE_BYTES : lowest;
        struct place place, found = {0};
        for (uint64_t at = low; at < high; at = place.offset + BLOCK_PAGE_BYTES) {
            int status = next_block(window, at, high, &place);
            if (status < 0)
                return status;
            if (status == 0)
                break;
            if (place.offset + place.bytes <= end)
                found = place;
        }
        if (found.bytes > 0) {
            *last = found;
            return ends_well(window, &found);
        }
        high = low;
    }
    return 0;
}

/* ---- a file's front ---- */

/* The value of an entry of a header that block_read_header has found whole; empty if there is none.
 */
static struct span header_entry(struct span header, const char *wanted)
{
    const uint8_t *at = header.at + 4, *end = header.at + header.bytes;
    int64_t entries = 0, bytes = 0;
    for (at += varint_read(at, end, &entries); entries > 0; at += varint_read(at, end, &entries))
        for (; entries > 0; entries--) {
            at += varint_read(at, end, &bytes);
            bool is_it = (size_t)bytes == strlen(wanted) && memcmp(at, wanted, (size_t)bytes) == 0;
            at += bytes;
            at += varint_read(at, end, &bytes);
            if (is_it)
                return (struct span){at, (size_t)bytes};
            at += bytes;
        }
    return (struct span){NULL, 0};
}

static void take_header(struct span header, struct search_front *front)
{
    struct span text = header_entry(header, "flotilla.ordered_since");
    for (size_t i = 0; i < text.bytes && i < 18 && text.at[i] >= '0' && text.at[i] <= '9'; i++)
        front->ordered_since = front->ordered_since * 10 + (uint64_t)(text.at[i] - '0');
    front->ordered = front->ordered_since > 0 && header.bytes % BLOCK_PAGE_BYTES == 0 &&
                     block_check_header(header) == 0;
    front->header_bytes = header.bytes;
}

int search_read_front(const struct scan_source *source, struct search_front *front,
                      struct scan_cost *cost)
{
    uint8_t *bytes = NULL;
    int status = 0;
    *front = (struct search_front){0};
    for (size_t room = 2 * BLOCK_PAGE_BYTES;; room *= 4) {
        uint8_t *grown = realloc(bytes, room);
        long got = grown == NULL ? -ENOMEM : read_at(source, grown, room, 0, cost);
        bytes = grown != NULL ? grown : bytes;
        if (got < 0) {
            status = (int)got;
            break;
        }
        struct span there = {bytes, (size_t)got};
        long header = block_read_header(there, front->sync);
        struct block_info info;
        if (header > 0 && (size_t)header + BLOCK_DATA_OFFSET <= there.bytes) {
            take_header((struct span){bytes, (size_t)header}, front);
            front->empty =
                packed_read_front((struct span){bytes + header, BLOCK_DATA_OFFSET}, &info) < 0 ||
                info.place != block_place((uint64_t)header);
            front->first_ns = front->empty ? 0 : info.arrival_ns;
            break;
        }
        if (header > 0 && (size_t)got < room) { /* no block yet */
            take_header((struct span){bytes, (size_t)header}, front);
            front->empty = true;
            break;
        }
        if (header == -EBADMSG || (size_t)got < room || room > HEADER_BYTES_MAX)
            break;
    }
    if (!front->ordered)
        *front = (struct search_front){0};
    free(bytes);
    return status;
}

/* ---- narrowing down in a file ---- */

static uint64_t earlier(uint64_t ns)
{
    return ns > BLOCK_DISORDER_NS ? ns - BLOCK_DISORDER_NS : 0;
}

static uint64_t later(uint64_t ns)
{
    return ns < UINT64_MAX - BLOCK_DISORDER_NS ? ns + BLOCK_DISORDER_NS : UINT64_MAX;
}

/* Where to look next between `low` and `high`, where what came in at `high_ns` begins: as far on as
 * `before_ns` is in time, a block to this or that side of it; half-way where that does not help. */
static uint64_t guess(const struct place *low, uint64_t high, uint64_t high_ns, uint64_t before_ns,
                      unsigned step)
{
    uint64_t from = low->offset + low->bytes, room = high - from, at = room / 2;
    if (step < GUESSES && room > 4 * BLOCK_BYTES_MAX && high_ns > low->arrival_ns) {
        uint64_t past = before_ns - low->arrival_ns, whole = high_ns - low->arrival_ns;
        at = past < whole ? (uint64_t)((double)room * ((double)past / (double)whole)) : room;
        if (step % 2 == 0)
            at = at > BLOCK_BYTES_MAX ? at - BLOCK_BYTES_MAX : 0;
        else
            at = at + BLOCK_BYTES_MAX < room ? at + BLOCK_BYTES_MAX : room - BLOCK_BYTES_MAX;
    }
    return from + at / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
}

/* Narrows down between `*low`, the first block, and `last`: `*low` gets a block that came in before
 * `before_ns` and is followed by one that did not; or it stays. 1, 0 where no block is found, or a
 * negative errno. */
static int narrow(struct window *window, struct place *low, const struct place *last,
                  uint64_t before_ns)
{
    uint64_t high = last->offset + last->bytes, high_ns = last->arrival_ns;
    for (unsigned step = 0; low->offset + low->bytes < high; step++) {
        uint64_t middle = guess(low, high, high_ns, before_ns, step);
        uint64_t limit = high - middle > BLOCK_BYTES_MAX ? middle + BLOCK_BYTES_MAX : high;
        struct place found;
        int status = next_block(window, middle, limit, &found);
        if (status < 0 || (status == 0 && limit < high)) /* damage: no block is that long */
            return status;
        if (status > 0 && found.arrival_ns < before_ns) {
            *low = found;
        } else {
            high = middle;
            high_ns = status > 0 ? found.arrival_ns : high_ns;
        }
    }
    return 1;
}

int search_block(const struct scan_source *source, struct search_front *front, uint64_t from_ns,
                 uint64_t *block, struct scan_cost *cost)
{
    *block = 0;
    if (!front->ordered || front->empty)
        return 0;
    struct window window = {.source = source, .front = front, .cost = cost};
    window.bytes = malloc(PIECE_BYTES + BLOCK_PAGE_BYTES);
    if (window.bytes == NULL)
        return -ENOMEM;
    struct place last = {0}, at = {0};
    int status = last_block(&window, &last);
    front->ordered = status > 0;
    if (status > 0 && last.arrival_ns < earlier(from_ns)) {
        *block = last.offset;
    } else if (status > 0 && front->first_ns < earlier(from_ns)) {
        status = 0;
        if (block_at(&window, front->header_bytes, &at, &status))
            status = narrow(&window, &at, &last, earlier(from_ns));
        if (status > 0)
            *block = at.offset;
    }
    free(window.bytes);
    return status < 0 ? status : 0;
}

/* ---- files ---- */

static long read_file(void *context, uint8_t *into, size_t bytes, uint64_t offset)
{
    const descriptor_t *descriptor = context;
    return file_read_at(*descriptor, into, bytes, offset);
}

/* A file of the catalog, opened. */
struct opened {
    descriptor_t descriptor;
    struct scan_source source;
    struct search_front front; /* not ordered where it could not be read */
};

static void open_file(struct opened *opened, const struct catalog_file *file,
                      struct scan_cost *cost)
{
    *opened = (struct opened){.descriptor = file_open_search(file->path)};
    int64_t bytes = opened->descriptor < 0 ? -1 : file_bytes(opened->descriptor);
    if (bytes < 0)
        return;
    opened->source = (struct scan_source){
        .read = read_file, .context = &opened->descriptor, .bytes = (uint64_t)bytes};
    if (search_read_front(&opened->source, &opened->front, cost) < 0)
        opened->front = (struct search_front){0};
}

/* The finder at work. */
struct finder {
    const struct catalog *catalog;
    struct time_span span;
    struct scan_cost *cost;
    struct search_hit *hits;
    size_t count, room;
};

static int add_hit(struct finder *finder, const struct search_hit *hit)
{
    if (finder->count == finder->room) {
        size_t room = finder->room > 0 ? 2 * finder->room : 16;
        struct search_hit *grown = realloc(finder->hits, room * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        finder->hits = grown;
        finder->room = room;
    }
    finder->hits[finder->count++] = *hit;
    return 0;
}

/* The file, whatever is around it. `*until_ns`: when the first datum of the file behind it, if that
 * is in order with it, came in; it gets this one's, for the file in front. */
static int try_file(struct finder *finder, size_t index, uint64_t *until_ns)
{
    struct opened file;
    struct search_hit hit = {.file = index, .until_ns = *until_ns};
    int status = 0;
    open_file(&file, &finder->catalog->files[index], finder->cost);
    if (file.front.ordered &&
        search_block(&file.source, &file.front, finder->span.from_ns, &hit.block, finder->cost) < 0)
        file.front.ordered = false; /* who reads it is told */
    hit.ordered = file.front.ordered;
    if (!file.front.ordered || file.front.empty || file.front.first_ns < later(finder->span.to_ns))
        status = add_hit(finder, &hit);
    if (file.front.ordered && !file.front.empty)
        *until_ns = file.front.first_ns;
    descriptor_close(file.descriptor);
    return status;
}

/* When the file's first datum came in. False where the file does not say, or is of another run than
 * that of file number `ordered_since`. */
static bool first_of(struct finder *finder, size_t index, uint64_t ordered_since, uint64_t *first)
{
    struct opened file;
    open_file(&file, &finder->catalog->files[index], finder->cost);
    descriptor_close(file.descriptor);
    *first = file.front.first_ns;
    return file.front.ordered && !file.front.empty && file.front.ordered_since == ordered_since;
}

/* Files [begin, end) of one run: those that may hold something of the span. False, and no hit,
 * where they are not what they should be. */
static bool halve_run(struct finder *finder, size_t *begin, size_t *end, uint64_t ordered_since)
{
    size_t low = *begin, high = *end; /* the last that began before the span is in [low, high) */
    uint64_t first;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (!first_of(finder, middle, ordered_since, &first))
            return false;
        if (first < earlier(finder->span.from_ns))
            low = middle;
        else
            high = middle;
    }
    size_t from = low;
    high = *end; /* the first that begins behind the span is in (low, high], as a rule near by */
    for (size_t step = 1; high - low > 1; step *= 2) {
        size_t middle =
            high < *end || step > (high - low) / 2 ? low + (high - low) / 2 : low + step;
        if (!first_of(finder, middle, ordered_since, &first))
            return false;
        if (first < later(finder->span.to_ns))
            low = middle;
        else
            high = middle;
    }
    *begin = from;
    *end = low + 1;
    return true;
}

/* Recordings [begin, end) of one folder, channel and lane whose numbers rise. From the newest back:
 * each file says with which the run that it is in began. */
static int find_runs(struct finder *finder, size_t begin, size_t end)
{
    const struct catalog_file *files = finder->catalog->files;
    size_t first_hit = finder->count;
    int status = 0;
    while (end > begin && status == 0) {
        struct opened newest;
        uint64_t block;
        open_file(&newest, &files[end - 1], finder->cost);
        if (search_block(&newest.source, &newest.front, 0, &block, finder->cost) < 0)
            newest.front.ordered = false; /* by its end it is not: then it stands for itself */
        descriptor_close(newest.descriptor);
        size_t low = end - 1, high = end;
        if (newest.front.ordered && !newest.front.empty)
            while (low > begin && files[low - 1].name.number >= newest.front.ordered_since)
                low--;
        end = low;
        if (high - low > 1 && !halve_run(finder, &low, &high, newest.front.ordered_since))
            low = end; /* each for itself */
        uint64_t until_ns = UINT64_MAX;
        for (size_t i = high; i > low && status == 0; i--)
            status = try_file(finder, i - 1, &until_ns);
    }
    for (size_t i = first_hit, j = finder->count; i + 1 < j; i++) { /* back in order */
        struct search_hit kept = finder->hits[i];
        finder->hits[i] = finder->hits[--j];
        finder->hits[j] = kept;
    }
    return status;
}

/* Whether `b` follows `a` in the recordings of one channel and lane, in one folder. */
static bool follows(const struct catalog_file *a, const struct catalog_file *b)
{
    const char *slash_a = strrchr(a->path, '/'), *slash_b = strrchr(b->path, '/');
    size_t folder_a = slash_a == NULL ? 0 : (size_t)(slash_a - a->path);
    size_t folder_b = slash_b == NULL ? 0 : (size_t)(slash_b - b->path);
    return a->named && b->named && a->name.lane == b->name.lane &&
           a->name.stage != RECORDING_DAMAGED && b->name.stage != RECORDING_DAMAGED &&
           a->name.number < b->name.number && strcmp(a->name.channel, b->name.channel) == 0 &&
           folder_a == folder_b && memcmp(a->path, b->path, folder_a) == 0;
}

int search_catalog(const struct catalog *catalog, const struct time_span *span,
                   struct search_hit **hits, size_t *hit_count, struct scan_cost *cost)
{
    struct finder finder = {.catalog = catalog, .span = *span, .cost = cost};
    int status = 0;
    for (size_t begin = 0, end; begin < catalog->count && status == 0; begin = end) {
        end = begin + 1;
        while (end < catalog->count && follows(&catalog->files[end - 1], &catalog->files[end]))
            end++;
        uint64_t until_ns = UINT64_MAX;
        status =
            end - begin > 1 ? find_runs(&finder, begin, end) : try_file(&finder, begin, &until_ns);
    }
    if (status < 0) {
        free(finder.hits);
        return status;
    }
    *hits = finder.hits;
    *hit_count = finder.count;
    return 0;
}
