/* SPDX-License-Identifier: MIT
 * Damage: recordings and foreign files in memory, mutilated at random; every mutilation is found,
 * every intact block is kept, and what is written passes. What is intact is found out by searching
 * the original blocks' bytes, not by the code under test. The seed is printed; FLOTILLA_SEED
 * repeats a run, FLOTILLA_TEST_LONG makes it 10,000 mutilations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "archive/recover.h"
#include "archive/scan.h"
#include "avro/block.h"
#include "base/find.h"
#include "base/varint.h"
#include "schema/synth.h"

enum { PAGE = BLOCK_PAGE_BYTES, BLOCKS_MAX = 64, FILE_ROOM = 4 << 20 };
enum format { OURS, FOREIGN_NULL, FOREIGN_DEFLATE, FORMATS };
static const char schema_json[] =
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"t\",\"type\":\"long\"},"
    "{\"name\":\"v\",\"type\":\"double\"},{\"name\":\"s\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":\"int\"}}]}";

struct file {
    uint8_t *at;
    size_t bytes;
    size_t from[BLOCKS_MAX], to[BLOCKS_MAX]; /* of the blocks */
    size_t data_bytes[BLOCKS_MAX];
    uint32_t checksum[BLOCKS_MAX]; /* of a block's datums */
    uint64_t count[BLOCKS_MAX];
    unsigned blocks;
    uint8_t sync[SCAN_SYNC_BYTES];
};

static struct file original, other, damaged, saved;
static uint8_t data[BLOCK_BYTES_MAX];
static struct schema_file *schema;
static uint8_t *layout_image;
static struct layout layout;
static struct synth *synth;

static size_t below(size_t limit)
{
    return ((size_t)rand() << 16 ^ (size_t)rand()) % limit;
}

static int set_up(void **state)
{
    (void)state;
    const char *given = getenv("FLOTILLA_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20260102u;
    print_message("seed %u\n", seed);
    srand(seed);
    char error[256];
    size_t bytes;
    schema = schema_parse((struct span){(const uint8_t *)schema_json, strlen(schema_json)}, error,
                          sizeof(error));
    assert_non_null(schema);
    assert_int_equal(schema_compile(schema, "t", NULL, &layout_image, &bytes, error, sizeof(error)),
                     0);
    assert_int_equal(layout_load(&layout, (struct span){layout_image, bytes}), 0);
    synth = synth_new(schema, &layout, seed);
    struct file *files[] = {&original, &other, &damaged, &saved};
    for (size_t i = 0; i < 4; i++)
        files[i]->at = malloc(FILE_ROOM);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    synth_free(synth);
    schema_free(schema);
    free(layout_image);
    free(original.at);
    free(other.at);
    free(damaged.at);
    free(saved.at);
    return 0;
}

static size_t make_datums(size_t bytes_wanted, uint64_t *count)
{
    static uint64_t now_ns = 1767225600000000000u;
    size_t bytes = 0;
    for (*count = 0; bytes < bytes_wanted; ++*count) {
        long made = synth_datum(synth, now_ns += 1000000, data + bytes, sizeof(data) - bytes);
        assert_true(made > 0);
        bytes += (size_t)made;
    }
    return bytes;
}

static size_t put_text(uint8_t *at, const char *text, size_t bytes)
{
    size_t used = varint_write(at, (int64_t)bytes);
    memcpy(at + used, text, bytes);
    return used + bytes;
}

static size_t foreign_header(uint8_t *at, enum format format, const uint8_t *sync)
{
    const char *codec = format == FOREIGN_NULL ? "null" : "deflate";
    size_t used = 5;
    memcpy(at, "Obj\x01\x04", 5);
    used += put_text(at + used, "avro.codec", 10);
    used += put_text(at + used, codec, strlen(codec));
    used += put_text(at + used, "avro.schema", 11);
    used += put_text(at + used, schema_json, strlen(schema_json));
    at[used++] = 0;
    memcpy(at + used, sync, SCAN_SYNC_BYTES);
    return used + SCAN_SYNC_BYTES;
}

static size_t foreign_block(uint8_t *at, enum format format, size_t data_bytes, uint64_t count,
                            const uint8_t *sync)
{
    static uint8_t packed[BLOCK_BYTES_MAX + 1024];
    const uint8_t *stored = data;
    size_t bytes = data_bytes, used;
    if (format == FOREIGN_DEFLATE) {
        z_stream stream = {.next_in = data, .avail_in = (uInt)data_bytes};
        stream.next_out = packed;
        stream.avail_out = sizeof(packed);
        assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
        assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
        stored = packed;
        bytes = stream.total_out;
        deflateEnd(&stream);
    }
    used = varint_write(at, (int64_t)count);
    used += varint_write(at + used, (int64_t)bytes);
    memcpy(at + used, stored, bytes);
    memcpy(at + used + bytes, sync, SCAN_SYNC_BYTES);
    return used + bytes + SCAN_SYNC_BYTES;
}

static void make_file(struct file *file, enum format format)
{
    file->blocks = (unsigned)below(12) + 1;
    for (size_t i = 0; i < SCAN_SYNC_BYTES; i++)
        file->sync[i] = (uint8_t)below(256);
    if (format == OURS) {
        struct block_header_text text = {
            .schema = {(const uint8_t *)schema_json, strlen(schema_json)},
            .channel = "engine",
            .host = "host",
            .started = "2026-01-01T00:00:00Z",
            .version = "0.1.0",
            .ordered_since = 1};
        file->bytes = (size_t)block_write_header(file->at, FILE_ROOM, &text, file->sync, PAGE);
    } else {
        file->bytes = foreign_header(file->at, format, file->sync);
    }
    for (unsigned i = 0; i < file->blocks; i++) {
        size_t wanted = below(8) == 0 ? 60000 + below(20000) : 1 + below(9000);
        uint64_t count;
        size_t bytes = make_datums(wanted, &count);
        uint8_t *at = file->at + file->bytes;
        file->from[i] = file->bytes;
        file->data_bytes[i] = bytes;
        file->count[i] = count;
        file->checksum[i] = (uint32_t)crc32(0, data, (uInt)bytes);
        if (format == OURS) {
            block_append(at, 0, (struct span){data, bytes});
            file->bytes += block_finish_at(at, bytes, count, 1767225600000000000u + 1000u * i,
                                           file->sync, PAGE, block_place(file->bytes));
        } else {
            file->bytes += foreign_block(at, format, bytes, count, file->sync);
        }
        file->to[i] = file->bytes;
    }
}

static long read_memory(void *context, uint8_t *into, size_t bytes, uint64_t offset)
{
    const struct file *file = context;
    size_t left = offset < file->bytes ? file->bytes - (size_t)offset : 0;
    if (bytes > left)
        bytes = left;
    memcpy(into, file->at + offset, bytes);
    return (long)bytes;
}

static int begin_memory(void *context, unsigned output)
{
    (void)context;
    assert_int_equal(output, 0);
    return 0;
}

static int write_memory(void *context, unsigned output, struct span bytes, uint64_t offset)
{
    struct file *file = context;
    assert_int_equal(output, 0);
    assert_true(offset + bytes.bytes <= FILE_ROOM);
    assert_int_equal(offset, file->bytes);
    memcpy(file->at + offset, bytes.at, bytes.bytes);
    file->bytes += bytes.bytes;
    return 0;
}

static struct scan_source source_of(struct file *file)
{
    return (struct scan_source){.read = read_memory, .context = file, .bytes = file->bytes};
}

static void insert(struct file *file, size_t at, const uint8_t *bytes, size_t count)
{
    memmove(file->at + at + count, file->at + at, file->bytes - at);
    memcpy(file->at + at, bytes, count);
    file->bytes += count;
}

static void take_out(struct file *file, size_t from, size_t to)
{
    memmove(file->at + from, file->at + to, file->bytes - to);
    file->bytes -= to - from;
}

/* A place: often a block's edge, or a page's. */
static size_t some_place(void)
{
    unsigned block = (unsigned)below(original.blocks);
    size_t place = below(original.bytes + 1);
    switch (below(5)) {
    case 0:
        place = original.from[block];
        break;
    case 1:
        place = original.to[block];
        break;
    case 2:
        place = place / PAGE * PAGE;
        break;
    case 3:
        place = below(original.from[0]); /* the header has its share */
        break;
    }
    return place;
}

static const char *mutilate(void)
{
    static const char *const names[] = {"flip",   "zero",   "cut off", "take out",   "shuffle",
                                        "double", "random", "splice",  "swap blocks"};
    static uint8_t piece[FILE_ROOM];
    size_t from = some_place(), to = some_place(), kind = below(9);
    if (from > to) {
        size_t kept = from;
        from = to;
        to = kept;
    }
    memcpy(damaged.at, original.at, original.bytes);
    damaged.bytes = original.bytes;
    memcpy(piece, original.at + from, to - from);
    switch (kind) {
    case 0:
        for (size_t flips = 1 + below(3); flips > 0; flips--)
            damaged.at[below(damaged.bytes)] ^= (uint8_t)(1 << below(8));
        break;
    case 1:
        memset(damaged.at + from, 0, to - from);
        break;
    case 2:
        damaged.bytes = from;
        break;
    case 3:
        take_out(&damaged, from, to);
        break;
    case 4: /* the piece goes elsewhere */
        take_out(&damaged, from, to);
        insert(&damaged, below(damaged.bytes + 1), piece, to - from);
        break;
    case 5:
        insert(&damaged, some_place(), piece, to - from);
        break;
    case 6:
        for (size_t at = from; at < to && at < from + 5000; at++)
            damaged.at[at] = (uint8_t)below(256);
        break;
    case 7: { /* from another recording of the channel */
        size_t begin = below(other.bytes), bytes = 1 + below(other.bytes - begin);
        insert(&damaged, from, other.at + begin, bytes);
        break;
    }
    default: {
        unsigned a = (unsigned)below(original.blocks), b = (unsigned)below(original.blocks);
        size_t bytes = original.to[a] - original.from[a];
        take_out(&damaged, original.from[a], original.to[a]);
        size_t target =
            original.from[b] > original.from[a] ? original.to[b] - bytes : original.from[b];
        insert(&damaged, target, original.at + original.from[a], bytes);
    }
    }
    return names[kind];
}

static bool is_same(void)
{
    return damaged.bytes == original.bytes && memcmp(damaged.at, original.at, original.bytes) == 0;
}

/* Nothing tells a file that was cut between two blocks from one that was never longer. */
static bool is_cut_between_blocks(void)
{
    bool edge = damaged.bytes == original.from[0];
    for (unsigned i = 0; i < original.blocks; i++)
        edge = edge || damaged.bytes == original.to[i];
    return edge && memcmp(damaged.at, original.at, damaged.bytes) == 0;
}

static unsigned faults_of(struct file *file, uint64_t *datums)
{
    struct scan_source source = source_of(file);
    struct scan *scan;
    struct scan_event event;
    struct scan_totals totals = {0};
    char error[256] = "";
    if (scan_open(&scan, &source, error, sizeof(error)) < 0) {
        assert_true(strncmp(error, "offset ", 7) == 0);
        return 1;
    }
    uint64_t at = 0;
    do {
        assert_int_equal(scan_next(scan, &event), 0);
        scan_count(&totals, &event);
        if (event.kind != SCAN_END && event.bytes > 0) {
            assert_true(event.offset >= at);
            at = event.offset + event.bytes;
            assert_true(at <= file->bytes);
        }
        assert_true(event.kind != SCAN_FAULT || event.what[0] != '\0');
    } while (event.kind != SCAN_END);
    scan_close(scan);
    *datums = totals.datums;
    return (unsigned)totals.faults;
}

/* Recovers `damaged` into `saved`. False if its header is lost and no block is left. */
static bool save(struct scan_totals *totals, bool *lost_header)
{
    struct scan_source source = source_of(&damaged);
    struct span text = {(const uint8_t *)schema_json, strlen(schema_json)};
    const struct block_header_text lost = {.schema = text,
                                           .channel = "engine",
                                           .host = "host",
                                           .started = "2026-01-01T00:00:00Z",
                                           .version = "0.1.0"};
    const struct recover recover = {
        .begin = begin_memory, .write = write_memory, .context = &saved};
    static struct recover_result result;
    struct scan *scan;
    char error[256];
    bool new_header = false;
    result = (struct recover_result){.count = 0};
    *totals = (struct scan_totals){0};
    saved.bytes = 0;
    int status = scan_open(&scan, &source, error, sizeof(error));
    /* A foreign header has no checksum: whoever recovers gives the schema. */
    bool doubted = status == 0 && (!scan_header(scan)->sound ||
                                   memcmp(damaged.at, original.at, original.from[0]) != 0);
    if (doubted) {
        new_header = true;
        assert_int_equal(scan_use_schema(scan, text, error, sizeof(error)), 0);
    }
    if (status < 0) {
        new_header = true;
        status = scan_search(&scan, &source, text, error, sizeof(error));
    }
    if (status < 0) {
        assert_int_equal(status, -61); /* ENODATA */
        return false;
    }
    *lost_header = new_header;
    assert_int_equal(recover_run(scan, new_header ? &lost : NULL, &recover, &result), 0);
    scan_close(scan);
    *totals = result.totals;
    assert_int_equal(result.outputs[0].blocks, totals->blocks + totals->partial_blocks);
    assert_int_equal(result.outputs[0].datums, totals->datums + totals->partial_datums);
    return true;
}

struct expected {
    size_t at;
    unsigned block;
};

static int by_place(const void *a, const void *b)
{
    const struct expected *left = a, *right = b;
    return left->at < right->at ? -1 : left->at > right->at;
}

/* The original blocks that still stand whole in `damaged`, in their order there. */
static size_t list_intact(struct expected *list, size_t room)
{
    size_t count = 0;
    for (unsigned i = 0; i < original.blocks; i++) {
        size_t bytes = original.to[i] - original.from[i];
        const struct span wanted = {original.at + original.from[i], bytes};
        const uint8_t *at = damaged.at, *end = damaged.at + damaged.bytes;
        while ((at = find_bytes((struct span){at, (size_t)(end - at)}, wanted)) != NULL) {
            assert_true(count < room);
            list[count++] = (struct expected){(size_t)(at - damaged.at), i};
            at++;
        }
    }
    qsort(list, count, sizeof(*list), by_place);
    return count;
}

/* Reads `saved` with block_inspect and zlib alone: each of its blocks' datums, checksummed. */
static unsigned list_saved(uint32_t *checksums, unsigned room, enum format format)
{
    static uint8_t inflated[BLOCK_BYTES_MAX];
    uint8_t sync[SCAN_SYNC_BYTES];
    struct span whole = {saved.at, saved.bytes};
    long at = block_read_header(whole, sync);
    unsigned count = 0;
    assert_true(at > 0);
    while ((size_t)at < saved.bytes) {
        const uint8_t *block = saved.at + at, *end = saved.at + saved.bytes;
        int64_t datums = 0, size = 0;
        block += varint_read(block, end, &datums);
        block += varint_read(block, end, &size);
        assert_true(size > 0 && size + (int64_t)SCAN_SYNC_BYTES <= end - block);
        assert_memory_equal(block + size, sync, SCAN_SYNC_BYTES);
        assert_true(count < room);
        if (format == FOREIGN_NULL) {
            checksums[count++] = (uint32_t)crc32(0, block, (uInt)size);
        } else {
            z_stream stream = {.next_in = (uint8_t *)(uintptr_t)block, .avail_in = (uInt)size};
            stream.next_out = inflated;
            stream.avail_out = sizeof(inflated);
            assert_int_equal(inflateInit2(&stream, -15), Z_OK);
            assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
            checksums[count++] = (uint32_t)crc32(0, inflated, (uInt)stream.total_out);
            inflateEnd(&stream);
        }
        at = (block - saved.at) + size + SCAN_SYNC_BYTES;
    }
    return count;
}

static void check_saved(enum format format, const char *kind)
{
    enum { ROOM = 4 * BLOCKS_MAX };
    struct expected intact[ROOM];
    uint32_t checksums[ROOM];
    struct scan_totals totals;
    uint64_t datums = 0;
    size_t wanted = list_intact(intact, ROOM), found = 0;
    /* One block alone tells no foreign marker, and nothing tells where one without checksum begins
     * once what stood in front of it has gone. */
    if (format != OURS)
        for (size_t i = 0, kept = 0; i <= wanted; i++) {
            if (i == wanted) {
                wanted = kept;
                break;
            }
            size_t at = intact[i].at;
            if (at >= SCAN_SYNC_BYTES &&
                memcmp(damaged.at + at - SCAN_SYNC_BYTES, original.sync, SCAN_SYNC_BYTES) == 0)
                intact[kept++] = intact[i];
        }
    bool lost_header = true, saves = save(&totals, &lost_header);
    /* Which of two recordings without a header is meant, their length decides. */
    if (lost_header && strcmp(kind, "splice") == 0)
        wanted = 0;
    if (!saves) {
        assert_int_equal(wanted, 0);
        return;
    }
    unsigned kept = list_saved(checksums, ROOM, format);
    assert_int_equal(kept, totals.blocks + totals.partial_blocks);
    assert_true(format != OURS || totals.partial_blocks == 0);
    for (unsigned i = 0; i < kept; i++) {
        if (found < wanted && checksums[i] == original.checksum[intact[found].block])
            found++;
        /* Without a checksum a damaged block may pass. */
        bool known = format != OURS || strcmp(kind, "splice") == 0;
        for (unsigned k = 0; k < original.blocks; k++)
            known = known || checksums[i] == original.checksum[k];
        assert_true(known);
    }
    if (found != wanted)
        print_error("%s: kept %u blocks, %zu of %zu that are intact\n", kind, kept, found, wanted);
    assert_int_equal(found, wanted);
    assert_int_equal(faults_of(&saved, &datums), 0);
    assert_int_equal(datums, totals.datums + totals.partial_datums);
}

static void mutilations(enum format format, unsigned share)
{
    unsigned rounds = (getenv("FLOTILLA_TEST_LONG") != NULL ? 10000u : 150u) / share;
    uint64_t datums, total;
    for (unsigned round = 0; round < rounds; round++) {
        if (round % 10 == 0) {
            make_file(&original, format);
            make_file(&other, format);
            total = 0;
            for (unsigned i = 0; i < original.blocks; i++)
                total += original.count[i];
            assert_int_equal(faults_of(&original, &datums), 0);
            assert_int_equal(datums, total);
        }
        const char *kind = mutilate();
        if (format == OURS && !is_same() && !is_cut_between_blocks() &&
            faults_of(&damaged, &datums) == 0)
            fail_msg("round %u: %s was not found", round, kind);
        faults_of(&damaged, &datums);
        check_saved(format, kind);
    }
}

static void test_damaged_recordings(void **state)
{
    (void)state;
    mutilations(OURS, 1);
}

static void test_damaged_foreign_files(void **state)
{
    (void)state;
    mutilations(FOREIGN_NULL, 8);
    mutilations(FOREIGN_DEFLATE, 8);
}

/* Every bit of a small recording, one at a time. */
static void test_every_bit_counts(void **state)
{
    (void)state;
    uint64_t datums;
    original.blocks = 0;
    while (original.blocks != 1 || original.bytes != 2 * PAGE)
        make_file(&original, OURS);
    memcpy(damaged.at, original.at, original.bytes);
    damaged.bytes = original.bytes;
    size_t step = getenv("FLOTILLA_TEST_LONG") != NULL ? 1 : 7;
    for (size_t bit = below(step); bit < 8 * original.bytes; bit += step) {
        damaged.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (faults_of(&damaged, &datums) == 0)
            fail_msg("bit %zu of byte %zu was not missed", bit % 8, bit / 8);
        damaged.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* Fronts alone give the same blocks. */
static void test_fronts_agree(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 30; round++) {
        make_file(&original, (enum format)(round % FORMATS));
        struct scan_source source = source_of(&original);
        struct scan *scan;
        struct scan_event event;
        struct scan_totals totals = {0};
        char error[256];
        assert_int_equal(scan_open(&scan, &source, error, sizeof(error)), 0);
        for (unsigned i = 0; i < original.blocks; i++) {
            assert_int_equal(scan_next_front(scan, &event), 0);
            assert_int_equal(event.kind, SCAN_BLOCK);
            assert_int_equal(event.offset, original.from[i]);
            assert_int_equal(event.bytes, original.to[i] - original.from[i]);
            assert_int_equal(event.count, original.count[i]);
            scan_count(&totals, &event);
        }
        assert_int_equal(scan_next_front(scan, &event), 0);
        assert_int_equal(event.kind, SCAN_END);
        if (round % FORMATS == OURS) {
            assert_int_equal(totals.first_ns, 1767225600000000000u);
            assert_int_equal(totals.last_ns, totals.first_ns + 1000u * (original.blocks - 1));
        }
        scan_close(scan);
    }
}

/* A file of four blocks or more, and a copy of it to be damaged. */
static void make_four_blocks(void)
{
    do
        make_file(&original, OURS);
    while (original.blocks < 4);
    memcpy(damaged.at, original.at, original.bytes);
    damaged.bytes = original.bytes;
}

/* What is lost is told in bytes exactly, in datums nearly. */
static void test_losses_are_counted(void **state)
{
    (void)state;
    struct scan_totals totals;
    bool lost_header;
    make_four_blocks();
    memset(damaged.at + original.from[1], 0, 100); /* its front, too: it claims nothing */
    assert_true(save(&totals, &lost_header));
    assert_int_equal(totals.faults, 1);
    assert_int_equal(totals.lost_bytes, original.to[1] - original.from[1]);
    assert_int_equal(totals.blocks, original.blocks - 1);
    assert_true(totals.lost_datums > 0);

    memcpy(damaged.at, original.at, original.bytes);
    damaged.at[original.from[2] + BLOCK_DATA_OFFSET] ^=
        1; /* the front stands: exactly its datums */
    assert_true(save(&totals, &lost_header));
    assert_int_equal(totals.faults, 1);
    assert_true(totals.lost_datums == (double)original.count[2]);

    memcpy(damaged.at, original.at, original.bytes);
    take_out(&damaged, original.from[1], original.to[1]);
    assert_true(save(&totals, &lost_header));
    assert_int_equal(totals.lost_bytes, 0);
    assert_int_equal(totals.missing_bytes, original.to[1] - original.from[1]);
}

/* A header holds no datums: where it alone is lost, or with the first block's bytes, the estimate
 * leaves it out. */
static void test_a_lost_header_held_no_datums(void **state)
{
    (void)state;
    struct scan_totals totals;
    bool lost_header;
    make_four_blocks();
    memset(damaged.at, 0, original.from[0]);
    assert_true(save(&totals, &lost_header) && lost_header);
    assert_int_equal(totals.blocks, original.blocks);
    assert_int_equal(totals.lost_bytes, original.from[0]);
    assert_true(totals.lost_datums == 0);

    memcpy(damaged.at, original.at, original.bytes);
    take_out(&damaged, 0, original.from[0]);
    assert_true(save(&totals, &lost_header) && lost_header);
    assert_int_equal(totals.blocks, original.blocks);
    assert_int_equal(totals.missing_bytes, original.from[0]);
    assert_true(totals.lost_datums == 0);

    /* The first block with it: its bytes count, and no more. */
    memcpy(damaged.at, original.at, original.bytes);
    damaged.bytes = original.bytes;
    take_out(&damaged, 0, original.to[0]);
    assert_true(save(&totals, &lost_header) && lost_header);
    assert_int_equal(totals.missing_bytes, original.to[0]);
    double bytes = (double)(original.bytes - original.to[0]), lost = (double)original.to[0];
    lost = (lost - (double)original.from[0]) * (double)totals.datums / bytes;
    assert_true(totals.lost_datums > 0.999 * lost && totals.lost_datums < 1.001 * lost);

    /* Where the header stands, what is missing behind it was no header. */
    memcpy(damaged.at, original.at, original.bytes);
    damaged.bytes = original.bytes;
    take_out(&damaged, original.from[0], original.to[0]);
    assert_true(save(&totals, &lost_header) && !lost_header);
    assert_true(totals.lost_datums > 0.999 * lost && totals.lost_datums < 1.001 * lost);
}

/* A header that has lost its codec seems to say null; the blocks tell better, also where the first
 * one is damaged. */
static void test_a_lost_codec_is_found(void **state)
{
    (void)state;
    struct scan_totals totals;
    bool lost_header;
    do
        make_file(&original, FOREIGN_DEFLATE);
    while (original.blocks < 3);
    for (unsigned first = 0; first < 2; first++) {
        memcpy(damaged.at, original.at, original.bytes);
        damaged.bytes = original.bytes;
        damaged.at[11] ^= 0x10; /* avro.sodec */
        if (first)
            memset(damaged.at + original.from[0] + 4, 0xff, 20);
        assert_true(save(&totals, &lost_header) && lost_header);
        assert_int_equal(totals.blocks, original.blocks - first);
        assert_true(totals.faults >= 1);
    }
}

/* For the fuzzers: small files, sound and mutilated, in the folder FLOTILLA_SEEDS. */
static void test_seeds_are_written(void **state)
{
    (void)state;
    const char *folder = getenv("FLOTILLA_SEEDS");
    if (folder == NULL)
        skip();
    for (unsigned i = 0; i < 60; i++) {
        char path[512];
        do
            make_file(&original, (enum format)(i % FORMATS));
        while (original.bytes > 40000);
        make_file(&other, OURS);
        if (i < 30)
            memcpy(damaged.at, original.at, damaged.bytes = original.bytes);
        else
            mutilate();
        snprintf(path, sizeof(path), "%s/%02u.avro", folder, i);
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(damaged.at, 1, damaged.bytes, out), damaged.bytes);
        assert_int_equal(fclose(out), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged_recordings),
        cmocka_unit_test(test_damaged_foreign_files),
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_fronts_agree),
        cmocka_unit_test(test_losses_are_counted),
        cmocka_unit_test(test_seeds_are_written),
        cmocka_unit_test(test_a_lost_header_held_no_datums),
        cmocka_unit_test(test_a_lost_codec_is_found),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
