/* SPDX-License-Identifier: MIT
 * Rows of files: foreign ones whose bytes were worked out by hand from the Avro 1.11 specification
 * (zlib packs the deflate blocks), our own by avro/block; one after the other, from a place in the
 * middle, through a pipe, cut anywhere, damaged, joined end to end; and the catalog that lists
 * them. Relies on cmocka, zlib, real files and a named pipe. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "archive/rows.h"
#include "avro/block.h"
#include "base/check.h"
#include "base/varint.h"

static char folder[] = "/tmp/flotilla-rows-XXXXXX";

/* A container file under construction. */
struct image {
    uint8_t bytes[8192];
    size_t count;
};

static void add(struct image *image, const void *bytes, size_t count)
{
    assert_true(count <= sizeof(image->bytes) - image->count);
    memcpy(image->bytes + image->count, bytes, count);
    image->count += count;
}

static void add_long(struct image *image, int64_t value)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    add(image, bytes, varint_write(bytes, value));
}

static void add_text(struct image *image, const char *text)
{
    add_long(image, (int64_t)strlen(text));
    add(image, text, strlen(text));
}

static const uint8_t sync_marker[16] = "0123456789abcdef";

static void add_header(struct image *image, const char *schema, const char *codec)
{
    add(image, "Obj\x01", 4);
    add_long(image, 1);
    add_text(image, "avro.schema");
    add_text(image, schema);
    if (codec != NULL) {
        /* A second block of the map, of the form with a byte count. */
        struct image entry = {.count = 0};
        add_text(&entry, "avro.codec");
        add_text(&entry, codec);
        add_long(image, -1);
        add_long(image, (int64_t)entry.count);
        add(image, entry.bytes, entry.count);
    }
    add_long(image, 0);
    add(image, sync_marker, 16);
}

static void add_block(struct image *image, int64_t count, const void *data, size_t bytes,
                      bool packing)
{
    uint8_t packed[1024];
    if (packing) {
        z_stream stream = {.next_in = (Bytef *)(uintptr_t)data,
                           .avail_in = (uInt)bytes,
                           .next_out = packed,
                           .avail_out = sizeof(packed)};
        assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
        assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
        bytes = sizeof(packed) - stream.avail_out;
        deflateEnd(&stream);
        data = packed;
    }
    add_long(image, count);
    add_long(image, (int64_t)bytes);
    add(image, data, bytes);
    add(image, sync_marker, 16);
}

/* Writes a file of these bytes in the folder. Returns its path, until the next call. */
static const char *put(const char *name, const void *bytes, size_t count)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* What came of reading: rows of "int" or records that begin with one. */
struct read {
    unsigned rows, doubtful, files, changes, faults;
    long sum;
    char error[512]; /* the first fault's */
    struct row_position at[4096];
    int64_t value[4096];
};

static int64_t first_int(struct span datum)
{
    int64_t value = 0;
    assert_true(varint_read(datum.at, datum.at + datum.bytes, &value) > 0);
    return value;
}

static struct read *read_rows(struct rows *rows)
{
    static struct read read;
    struct rows_event event;
    read = (struct read){.rows = 0};
    for (;;) {
        assert_int_equal(rows_next(rows, &event), 0);
        if (event.kind == ROWS_END)
            break;
        read.files += event.kind == ROWS_FILE;
        read.changes += event.kind == ROWS_FILE && event.schema_changed;
        if (event.kind == ROWS_FAULT && read.faults++ == 0)
            snprintf(read.error, sizeof(read.error), "%s", event.what);
        if (event.kind == ROWS_DATUM && event.datum.bytes == 0) { /* of an empty record */
            read.rows++;
        } else if (event.kind == ROWS_DATUM) {
            assert_true(read.rows < ARRAY_COUNT(read.at));
            read.at[read.rows] = event.at;
            read.value[read.rows] = first_int(event.datum);
            read.sum += (long)read.value[read.rows++];
        }
        read.doubtful += event.kind == ROWS_DATUM && event.doubtful;
    }
    assert_int_equal(rows_next(rows, &event), 0); /* it stays at its end */
    assert_int_equal(event.kind, ROWS_END);
    return &read;
}

static struct read *read_paths(enum rows_damage damage, unsigned count, const char *const *paths)
{
    struct catalog catalog = {0};
    struct rows *rows;
    for (unsigned i = 0; i < count; i++)
        assert_true(catalog_add(&catalog, paths[i], CATALOG_DATUMS) >= 0);
    assert_int_equal(rows_open(&rows, &catalog, damage), 0);
    struct read *read = read_rows(rows);
    rows_close(rows);
    catalog_free(&catalog);
    return read;
}

/* Reads a file of these bytes, as people look at it. */
static unsigned read_image(const void *bytes, size_t count, char *error, size_t error_bytes,
                           long *sum)
{
    const char *path = put("image.avro", bytes, count);
    const struct read *read = read_paths(ROWS_SHOW, 1, &path);
    snprintf(error, error_bytes, "%s", read->error);
    *sum = read->sum;
    unlink(path);
    return read->rows;
}

/* The same bytes through a named pipe: forward only. */
static struct read *read_pipe(const void *bytes, size_t count)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    pid_t writer = fork();
    if (writer == 0) {
        int descriptor = open(path, O_WRONLY);
        const uint8_t *at = bytes;
        for (size_t left = count; left > 0;) { /* in odd pieces */
            ssize_t put = write(descriptor, at, left < 777 ? left : 777);
            if (put <= 0)
                break;
            at += put;
            left -= (size_t)put;
        }
        _exit(0);
    }
    const char *paths[] = {path};
    struct read *read = read_paths(ROWS_SHOW, 1, paths);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    unlink(path);
    return read;
}

static void test_foreign_files(void **state)
{
    static const uint8_t first[] = {2, 4, 6}, second[] = {0x80, 0x02, 3}; /* 1 2 3, 128 -2 */
    char error[512];
    long sum;
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        bool packing = kind == 2;
        struct image image = {.count = 0};
        add_header(&image, "\"int\"", kind == 0 ? NULL : packing ? "deflate" : "null");
        size_t header = image.count;
        add_block(&image, 3, first, 3, packing);
        size_t middle = image.count;
        add_block(&image, 0, "", 0, false); /* some writers leave such a block */
        size_t empty = image.count;
        add_block(&image, 2, second, 3, packing);
        assert_int_equal(read_image(image.bytes, image.count, error, sizeof(error), &sum), 5);
        assert_string_equal(error, "");
        assert_int_equal(sum, 132);

        /* Cut anywhere: what stands before is read, and only a cut between blocks is none. */
        for (size_t cut = 0; cut < image.count; cut++) {
            unsigned datums = read_image(image.bytes, cut, error, sizeof(error), &sum);
            /* In front of it what is there of a block can be read, where it is not packed. */
            assert_in_range(datums, cut >= middle ? 3 : 0, cut < middle ? 3 : 5);
            if (kind < 2 && cut >= header + 2 && cut < middle)
                assert_int_equal(datums, cut < header + 5 ? cut - header - 2 : 3);
            assert_int_equal(read_pipe(image.bytes, cut)->rows, datums);
            bool whole = cut == header || cut == middle || cut == empty;
            assert_int_equal(error[0] == '\0', whole);
            if (!whole && cut >= 4)
                assert_non_null(strstr(error, "the file ends inside"));
        }
        /* Each byte of sync markers counts, though the rows in front of the last one are there. */
        for (size_t at = image.count - 16; at < image.count; at++) {
            image.bytes[at] ^= 1;
            assert_int_equal(read_image(image.bytes, image.count, error, sizeof(error), &sum), 5);
            assert_non_null(strstr(error, "sync marker"));
            image.bytes[at] ^= 1;
        }
    }
}

static void test_foreign_damage(void **state)
{
    static const struct {
        const char *codec;
        int64_t count, bytes;
        const char *data, *error;
    } cases[] = {
        {NULL, 3, 2, "\2\4", "datum 3 of 3 in this block does not fit the schema (truncated)"},
        {NULL, 1, 2, "\2\4", "1 bytes behind the block's last datum"},
        {NULL, 1, 6, "\xff\xff\xff\xff\xff\x7f",
         "datum 1 of 1 in this block does not fit the schema (varint)"},
        {NULL, -1, 2, "\2\4", "no block begins here"},
        {"deflate", 1, 3, "\xff\xff\xff", "the block does not unpack"},
        {"deflate", 1, 2, "\x01\x05", "the block does not unpack (it is cut short)"},
        {"snappy", 1, 1, "\2", "the block does not unpack (its snappy data is damaged)"},
        {"lz4", 1, 1, "\2", "codec \"lz4\" is not known here"},
        {"x\033[2Jy", 1, 1, "\2", "codec \"x?[2Jy\""},
    };
    (void)state;
    char error[512], place[32];
    long sum;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct image image = {.count = 0};
        add_header(&image, "\"int\"", cases[i].codec);
        snprintf(place, sizeof(place), "offset %zu: ", image.count);
        add_long(&image, cases[i].count);
        add_long(&image, cases[i].bytes);
        add(&image, cases[i].data, (size_t)cases[i].bytes);
        add(&image, sync_marker, 16);
        read_image(image.bytes, image.count, error, sizeof(error), &sum);
        if (strstr(error, cases[i].error) == NULL)
            fail_msg("case %zu: %s", i, error);
        if (strstr(error, "block") != NULL && strncmp(error, place, strlen(place)) != 0)
            fail_msg("case %zu: not at %s: %s", i, place, error);
    }
    read_image("PK\3\4", 4, error, sizeof(error), &sum);
    assert_non_null(strstr(error, "not an Avro container file"));
    struct image image = {.count = 0};
    add_header(&image, "\"itn\"", NULL);
    read_image(image.bytes, image.count, error, sizeof(error), &sum);
    assert_string_equal(error, "offset 18: the header's schema: line 1, column 1: unknown type "
                               "\"itn\"; did you mean \"int\"?");
    const char *missing = "/nonexistent/x.avro";
    assert_string_equal(read_paths(ROWS_SHOW, 1, &missing)->error, "No such file or directory");
}

/* A sound block that unpacks to more than the limit is none that is damaged. */
static void test_bombs(void **state)
{
    (void)state;
    char error[512];
    long sum;
    /* A GiB and some of zeroes packed in some MiB. */
    static uint8_t zeroes[1 << 20], packed[8 << 20];
    z_stream stream = {.next_out = packed, .avail_out = sizeof(packed)};
    assert_int_equal(deflateInit2(&stream, 1, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    for (int i = 0; i < 1025; i++) {
        stream.next_in = zeroes;
        stream.avail_in = sizeof(zeroes);
        assert_int_equal(deflate(&stream, i == 1024 ? Z_FINISH : Z_NO_FLUSH),
                         i == 1024 ? Z_STREAM_END : Z_OK);
    }
    size_t bytes = sizeof(packed) - stream.avail_out;
    deflateEnd(&stream);
    struct image front = {.count = 0};
    add_header(&front, "\"int\"", "deflate");
    add_long(&front, 1025 << 20);
    add_long(&front, (int64_t)bytes);
    uint8_t *whole = malloc(front.count + bytes + 16);
    memcpy(whole, front.bytes, front.count);
    memcpy(whole + front.count, packed, bytes);
    memcpy(whole + front.count + bytes, sync_marker, 16);
    assert_int_equal(read_image(whole, front.count + bytes + 16, error, sizeof(error), &sum), 0);
    assert_non_null(strstr(error, "unpacks to more than this program's limit of 1073741824"));
    free(whole);

    /* A block that claims a terabyte. */
    struct image image = {.count = 0};
    add_header(&image, "\"int\"", NULL);
    add_long(&image, 1);
    add_long(&image, 1ll << 40);
    read_image(image.bytes, image.count, error, sizeof(error), &sum);
    assert_non_null(strstr(error, "the file ends inside a block"));
    assert_non_null(strstr(read_pipe(image.bytes, image.count)->error, "the file ends inside"));
    static uint8_t long_pipe[1 << 17];
    memcpy(long_pipe, image.bytes, image.count);
    assert_non_null(
        strstr(read_pipe(long_pipe, sizeof(long_pipe))->error, "in a pipe, over this program's"));
}

/* Datums without bytes: all of them, however many a block claims. */
static void test_empty_datums(void **state)
{
    struct image image = {.count = 0};
    struct catalog catalog = {0};
    struct rows *rows;
    struct rows_event event;
    char error[512];
    long sum;
    (void)state;
    add_header(&image, "{\"type\":\"record\",\"name\":\"E\",\"fields\":[]}", NULL);
    add_block(&image, 65537, "", 0, false);
    assert_int_equal(read_image(image.bytes, image.count, error, sizeof(error), &sum), 65537);
    assert_string_equal(error, "");
    add_block(&image, 1ll << 60, "", 0, false);
    const char *path = put("empty.avro", image.bytes, image.count);
    assert_int_equal(catalog_add(&catalog, path, CATALOG_DATUMS), 1);
    assert_int_equal(rows_open(&rows, &catalog, ROWS_SKIP), 0);
    for (unsigned i = 0; i < 65537 + 200000; i++) {
        do
            assert_int_equal(rows_next(rows, &event), 0);
        while (event.kind == ROWS_FILE);
        assert_true(event.kind == ROWS_DATUM && event.datum.bytes == 0);
    }
    rows_close(rows);
    catalog_free(&catalog);
}

/* ---- our own ---- */

enum { OWN_BLOCKS = 40, OWN_ROOM = OWN_BLOCKS * 4 * BLOCK_PAGE_BYTES };
static const char record[] = "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
                             "{\"name\":\"t\",\"type\":\"long\"},"
                             "{\"name\":\"b\",\"type\":\"bytes\"}]}";

struct own {
    uint8_t *bytes;
    size_t count, header;
    size_t from[OWN_BLOCKS + 1];
    unsigned rows, before[OWN_BLOCKS]; /* rows in front of the block */
};

/* A recording of rows numbered from `number` on; its first block came in at `arrival_ns`, each next
 * one a second later. */
static void make_own(struct own *own, unsigned blocks, const char *schema, uint8_t marker,
                     int64_t number, uint64_t arrival_ns)
{
    uint8_t sync[BLOCK_SYNC_BYTES];
    struct block_header_text text = {.schema = {(const uint8_t *)schema, strlen(schema)},
                                     .channel = "engine",
                                     .host = "h",
                                     .started = "s",
                                     .version = "v"};
    for (unsigned i = 0; i < sizeof(sync); i++)
        sync[i] = (uint8_t)(marker + 7 * i);
    *own = (struct own){.bytes = calloc(1, OWN_ROOM)};
    long header = block_write_header(own->bytes, OWN_ROOM, &text, sync, BLOCK_PAGE_BYTES);
    assert_true(header > 0);
    own->count = own->header = (size_t)header;
    for (unsigned b = 0; b < blocks; b++) {
        uint8_t *image = own->bytes + own->count;
        size_t data_bytes = 0;
        own->from[b] = own->count;
        own->before[b] = own->rows;
        unsigned rows = 1 + b % 5 * 3, payload = b % 4 * 700;
        for (unsigned r = 0; r < rows; r++) {
            uint8_t datum[4096];
            size_t bytes = varint_write(datum, number++);
            bytes += varint_write(datum + bytes, (int64_t)payload);
            memset(datum + bytes, 'x', payload);
            block_append(image, data_bytes, (struct span){datum, bytes + payload});
            data_bytes += bytes + payload;
        }
        own->count += block_finish_at(image, data_bytes, rows, arrival_ns + b * 1000000000ull, sync,
                                      BLOCK_PAGE_BYTES, block_place(own->count));
        own->rows += rows;
        assert_true(own->count < OWN_ROOM - 64 * 1024);
    }
    own->from[blocks] = own->count;
}

static void expect_numbers(const struct read *read, unsigned rows)
{
    assert_int_equal(read->rows, rows);
    for (unsigned i = 0; i < rows; i++)
        assert_int_equal(read->value[i], i);
}

static void test_files_one_after_the_other(void **state)
{
    struct own first, second;
    struct image foreign = {.count = 0};
    char paths[4][256];
    const char *all[4];
    (void)state;
    make_own(&first, 20, record, 1, 0, 1000000000);
    make_own(&second, OWN_BLOCKS, record, 2, first.rows, 60000000000);
    add_header(&foreign, "\"int\"", NULL);
    add_block(&foreign, 1, "\0", 1, false);
    snprintf(paths[0], 256, "%s", put("a.avro", first.bytes, first.count));
    snprintf(paths[1], 256, "%s/none.avro", folder);
    snprintf(paths[2], 256, "%s", put("b.avro", second.bytes, second.count));
    snprintf(paths[3], 256, "%s", put("c.avro", foreign.bytes, foreign.count));
    for (unsigned i = 0; i < 4; i++)
        all[i] = paths[i];
    struct read *read = read_paths(ROWS_SKIP, 3, all);
    expect_numbers(read, first.rows + second.rows);
    assert_int_equal(read->files, 2);
    assert_int_equal(read->changes, 0);
    assert_int_equal(read->faults, 1);
    assert_string_equal(read->error, "No such file or directory");
    assert_int_equal(read_paths(ROWS_SKIP, 4, all)->changes, 1);

    /* From the place of each row on it goes on with that row. */
    struct catalog catalog = {0};
    struct rows *rows;
    struct rows_event event;
    struct read whole = *read_paths(ROWS_SKIP, 3, all);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(catalog_add(&catalog, paths[i], CATALOG_DATUMS), 1);
    assert_int_equal(rows_open(&rows, &catalog, ROWS_SKIP), 0);
    for (unsigned i = 0; i < whole.rows; i++) {
        rows_seek(rows, &whole.at[i]);
        assert_int_equal(rows_next(rows, &event), 0);
        assert_int_equal(event.kind, ROWS_FILE);
        for (unsigned more = i; more < i + 20 && more < whole.rows; more++) {
            do
                assert_int_equal(rows_next(rows, &event), 0);
            while (event.kind != ROWS_DATUM);
            assert_int_equal(first_int(event.datum), more);
            assert_memory_equal(&event.at, &whole.at[more], sizeof(event.at));
            assert_true(event.arrival_ns >= 1000000000);
        }
    }
    /* A place that is none is a fault, and the next file follows. */
    rows_seek(rows, &(struct row_position){0, first.from[3] + 8, 0});
    assert_int_equal(rows_next(rows, &event), 0);
    assert_int_equal(event.kind, ROWS_FAULT);
    assert_int_equal(event.at.block, first.from[3] + 8);
    assert_int_equal(read_rows(rows)->rows, second.rows);
    rows_seek(rows, &(struct row_position){2, second.count, 0});
    assert_int_equal(read_rows(rows)->faults, 0);
    rows_close(rows);
    catalog_free(&catalog);
    free(first.bytes);
    free(second.bytes);
}

static void test_pipes(void **state)
{
    struct own own;
    (void)state;
    make_own(&own, OWN_BLOCKS, record, 1, 0, 1);
    expect_numbers(read_pipe(own.bytes, own.count), own.rows);
    own.bytes[own.from[9] + 300] ^= 1;
    struct read *read = read_pipe(own.bytes, own.count);
    assert_true(read->faults == 1 && read->rows >= own.before[9]);
    read = read_pipe("Obj", 3);
    assert_true(read->faults == 1 && read->rows == 0);
    read = read_pipe("", 0);
    assert_non_null(strstr(read->error, "it is empty"));
    free(own.bytes);
}

/* Any flipped bit is told; what stands elsewhere is all there, and nothing that is not. */
static void test_damage(void **state)
{
    struct own own;
    (void)state;
    make_own(&own, OWN_BLOCKS, record, 1, 0, 1);
    for (unsigned i = 0; i < 2000; i++) {
        size_t at = own.header + (size_t)rand() % (own.count - own.header);
        unsigned block = 0;
        while (own.from[block + 1] <= at)
            block++;
        unsigned in_block =
            (block + 1 < OWN_BLOCKS ? own.before[block + 1] : own.rows) - own.before[block];
        uint8_t bit = (uint8_t)(1u << rand() % 8);
        own.bytes[at] ^= bit;
        const char *path = put("damaged.avro", own.bytes, own.count);
        struct read *read = read_paths(ROWS_SKIP, 1, &path);
        bool in_marker = at >= own.from[block + 1] - BLOCK_SYNC_BYTES;
        assert_true(read->faults > 0 && read->doubtful == 0);
        assert_int_equal(read->rows, own.rows - (in_marker ? 0 : in_block));
        read = read_paths(ROWS_SHOW, 1, &path);
        assert_true(read->faults > 0);
        assert_true(read->rows - read->doubtful >= own.before[block]);
        own.bytes[at] ^= bit;
    }
    free(own.bytes);
}

static void test_a_wrong_checksum_is_shown(void **state)
{
    struct own own;
    (void)state;
    make_own(&own, OWN_BLOCKS, record, 1, 0, 1);
    own.bytes[own.from[3] + BLOCK_DATA_OFFSET + 500] ^= 1; /* in the bytes of a datum */
    const char *path = put("damaged.avro", own.bytes, own.count);
    struct read *read = read_paths(ROWS_SHOW, 1, &path);
    expect_numbers(read, own.rows);
    assert_int_equal(read->doubtful, own.before[4] - own.before[3]);
    assert_int_equal(read->faults, 1);
    assert_non_null(strstr(read->error, "checksum"));
    free(own.bytes);
}

/* cat a.avro b.avro > both.avro: all rows, wherever one begins, and from any place in it. */
static void test_joined_files(void **state)
{
    struct own first, second;
    struct image foreign = {.count = 0};
    (void)state;
    make_own(&first, 20, record, 1, 0, 1000000000);
    make_own(&second, OWN_BLOCKS, record, 2, first.rows, 60000000000);
    add_header(&foreign, "\"int\"", "deflate");
    int64_t number = first.rows + second.rows;
    uint8_t datum[VARINT_BYTES_MAX];
    add_block(&foreign, 1, datum, varint_write(datum, number), true);
    size_t count = first.count + foreign.count + second.count;
    uint8_t *both = malloc(count);
    memcpy(both, first.bytes, first.count);
    memcpy(both + first.count, second.bytes, second.count);
    memcpy(both + first.count + second.count, foreign.bytes, foreign.count);
    const char *path = put("both.avro", both, count);
    struct read whole = *read_paths(ROWS_SKIP, 1, &path);
    expect_numbers(&whole, first.rows + second.rows + 1);
    assert_int_equal(whole.files, 3);
    assert_int_equal(whole.changes, 1);
    assert_int_equal(whole.faults, 0);
    expect_numbers(read_pipe(both, count), whole.rows);

    struct catalog catalog = {0};
    struct rows *rows;
    assert_int_equal(catalog_add(&catalog, path, CATALOG_DATUMS), 1);
    assert_int_equal(rows_open(&rows, &catalog, ROWS_SKIP), 0);
    for (unsigned i = 0; i < whole.rows; i++) {
        rows_seek(rows, &whole.at[i]);
        struct read *read = read_rows(rows);
        assert_int_equal(read->faults, 0);
        assert_int_equal(read->rows, whole.rows - i);
        assert_int_equal(read->value[0], i);
    }
    rows_close(rows);
    catalog_free(&catalog);

    /* The first one ends inside a block: the second is found behind it. */
    size_t cut = first.from[19] + 100;
    memmove(both + cut, both + first.count, count - first.count);
    path = put("both.avro", both, cut + count - first.count);
    struct read *read = read_paths(ROWS_SKIP, 1, &path);
    assert_int_equal(read->faults, 1);
    assert_int_equal(read->rows, whole.rows - (first.rows - first.before[19]));
    free(first.bytes);
    free(second.bytes);
    free(both);
}

/* A block at the end that is not whole yet is no fault once the file has grown. */
static void test_a_growing_file(void **state)
{
    struct own own;
    struct catalog catalog = {0};
    struct rows *rows;
    struct rows_event event;
    (void)state;
    make_own(&own, 10, record, 1, 0, 1);
    const char *path = put("grows.avro", own.bytes, own.from[9] + 50);
    assert_int_equal(catalog_add(&catalog, path, CATALOG_DATUMS), 1);
    assert_int_equal(rows_open(&rows, &catalog, ROWS_SKIP), 0);
    assert_int_equal(rows_next(rows, &event), 0);
    assert_int_equal(event.kind, ROWS_FILE);
    put("grows.avro", own.bytes, own.count);
    struct read *read = read_rows(rows);
    assert_int_equal(read->faults, 0);
    assert_int_equal(read->rows, own.before[9]);
    rows_seek(rows, &(struct row_position){0, own.from[9], 0});
    assert_int_equal(read_rows(rows)->rows, own.rows - own.before[9]);
    rows_close(rows);
    catalog_free(&catalog);
    free(own.bytes);
}

/* ---- the catalog ---- */

static void test_catalog(void **state)
{
    static const char *const names[] = {
        "engine-20260101T000000.000000Z-000010.avro.part",
        "engine-20260103T000000.000000Z-000002.avro.damaged",
        "engine-20260103T000000.000000Z-000002.avro",
        "engine-20260102T000000.000000Z-000009.avro",
        "engine-20260101T000000.000000Z-000003-rejects.avro",
        "engine-20260101T000000.000000Z-000004.recovered.avro",
        "engine-20260101T000000.000000Z-000001.avro.pin",
        "notes.avro",
        ".opening",
    };
    static const char *const listed[] = {
        "engine-20260103T000000.000000Z-000002.avro",
        "engine-20260103T000000.000000Z-000002.avro.damaged",
        "engine-20260101T000000.000000Z-000003-rejects.avro",
        "engine-20260102T000000.000000Z-000009.avro",
        "engine-20260101T000000.000000Z-000010.avro.part",
    };
    char storage[300], channel[400], path[600];
    struct own own;
    struct catalog catalog = {0};
    struct catalog_look look;
    (void)state;
    snprintf(storage, sizeof(storage), "%s/storage", folder);
    snprintf(channel, sizeof(channel), "%s/engine", storage);
    assert_int_equal(mkdir(storage, 0700), 0);
    assert_int_equal(catalog_add(&catalog, storage, CATALOG_ALL), 0);
    assert_int_equal(mkdir(channel, 0700), 0);
    make_own(&own, OWN_BLOCKS, record, 1, 0, 5000000000);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        snprintf(path, sizeof(path), "storage/engine/%s", names[i]);
        put(path, own.bytes, own.count);
    }
    for (int nested = 0; nested < 2; nested++) {
        const char *given = nested ? storage : channel;
        assert_int_equal(catalog_add(&catalog, given, CATALOG_ALL), 5);
        for (size_t i = 0; i < ARRAY_COUNT(listed); i++) {
            snprintf(path, sizeof(path), "%s/%s", channel, listed[i]);
            assert_string_equal(catalog.files[i].path, path);
            assert_true(catalog.files[i].named && catalog.files[i].bytes == own.count);
        }
        assert_int_equal(catalog_find(&catalog, "engine", 3), 3);
        assert_int_equal(catalog_find(&catalog, "engine", 2), 0);
        assert_int_equal(catalog_find(&catalog, "engine", 11), catalog.count);
        assert_int_equal(catalog_find(&catalog, "other", 1), catalog.count);
        catalog_free(&catalog);
        assert_int_equal(catalog_add(&catalog, given, CATALOG_DATUMS), 4);
        catalog_free(&catalog);
    }
    assert_int_equal(catalog_add(&catalog, "/nonexistent/x.avro", CATALOG_ALL), 1);
    assert_true(catalog_look(&catalog.files[0], &look) < 0);
    catalog_free(&catalog);

    /* First and last, wherever the file ends. */
    for (unsigned blocks = 0; blocks <= OWN_BLOCKS; blocks++)
        for (unsigned more = 0; more < 2; more++) {
            const char *file = put("look.avro", own.bytes, own.from[blocks] + more * 90);
            assert_int_equal(catalog_add(&catalog, file, CATALOG_ALL), 1);
            assert_int_equal(catalog_look(&catalog.files[0], &look), 0);
            assert_true(look.ours && look.empty == (blocks == 0));
            if (blocks > 0) {
                assert_int_equal(look.first_ns, 5000000000);
                assert_int_equal(look.last_ns, 5000000000 + (blocks - 1) * 1000000000ull);
                assert_int_equal(look.last_block, own.from[blocks - 1]);
            }
            catalog_free(&catalog);
        }
    free(own.bytes);
}

static int set_up(void **state)
{
    (void)state;
    const char *given = getenv("FLOTILLA_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20260106u;
    print_message("seed %u\n", seed);
    srand(seed);
    return mkdtemp(folder) == NULL;
}

static int tear_down(void **state)
{
    char command[400];
    (void)state;
    snprintf(command, sizeof(command), "%s", folder);
    const char *arguments[] = {"rm", "-r", command, NULL};
    pid_t child = fork();
    if (child == 0) {
        execvp("rm", (char *const *)(uintptr_t)arguments);
        _exit(1);
    }
    return waitpid(child, NULL, 0) != child;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_foreign_damage),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_empty_datums),
        cmocka_unit_test(test_files_one_after_the_other),
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_a_wrong_checksum_is_shown),
        cmocka_unit_test(test_joined_files),
        cmocka_unit_test(test_a_growing_file),
        cmocka_unit_test(test_catalog),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
