/* SPDX-License-Identifier: MIT
 * Fuzzes recovery: of any bytes, with the header they have or the schema of the corpus, all that is
 * written must pass the same scan without a fault, block for block. Relies on libFuzzer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "archive/recover.h"
#include "archive/scan.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char schema[] =
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"t\",\"type\":\"long\"},"
    "{\"name\":\"v\",\"type\":\"double\"},{\"name\":\"s\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":\"int\"}}]}";

struct memory {
    uint8_t *at;
    size_t bytes, room;
};

static long read_memory(void *context, uint8_t *into, size_t bytes, uint64_t offset)
{
    const struct memory *file = context;
    size_t left = offset < file->bytes ? file->bytes - (size_t)offset : 0;
    if (bytes > left)
        bytes = left;
    if (bytes > 0)
        memcpy(into, file->at + offset, bytes);
    return (long)bytes;
}

static struct memory saved[RECOVER_OUTPUTS_MAX];

static int begin_memory(void *context, unsigned output)
{
    (void)context;
    CHECK(saved[output].at == NULL);
    return 0;
}

static int write_memory(void *context, unsigned output, struct span bytes, uint64_t offset)
{
    struct memory *file = &saved[output];
    (void)context;
    CHECK(offset == file->bytes);
    if (file->bytes + bytes.bytes > file->room) {
        file->room = 2 * (file->bytes + bytes.bytes);
        file->at = realloc(file->at, file->room);
        CHECK(file->at != NULL);
    }
    if (bytes.bytes > 0)
        memcpy(file->at + file->bytes, bytes.at, bytes.bytes);
    file->bytes += bytes.bytes;
    return 0;
}

static void check_output(struct memory *file, const struct recover_output *meant)
{
    const struct scan_source source = {.read = read_memory, .context = file, .bytes = file->bytes};
    struct scan_totals again = {0};
    struct scan_event event;
    struct scan *scan;
    char error[256];
    CHECK(scan_open(&scan, &source, error, sizeof(error)) == 0);
    do {
        CHECK(scan_next(scan, &event) == 0);
        scan_count(&again, &event);
    } while (event.kind != SCAN_END);
    CHECK(again.faults == 0 && again.unread_blocks == meant->unread_blocks);
    CHECK(again.blocks + again.unread_blocks == meant->blocks);
    CHECK(again.datums + again.unread_datums == meant->datums);
    CHECK(again.data_bytes == meant->data_bytes);
    scan_close(scan);
    free(file->at);
    *file = (struct memory){0};
}

static void check(struct scan *scan, const struct block_header_text *header)
{
    static struct recover_result result;
    const struct recover recover = {.begin = begin_memory, .write = write_memory};
    result = (struct recover_result){.count = 0};
    CHECK(recover_run(scan, header, &recover, &result) == 0);
    scan_close(scan);
    uint64_t datums = 0;
    for (unsigned i = 0; i < result.count; i++) {
        datums += result.outputs[i].datums;
        check_output(&saved[i], &result.outputs[i]);
    }
    CHECK(datums ==
          result.totals.datums + result.totals.partial_datums + result.totals.unread_datums);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory file = {(uint8_t *)(uintptr_t)data, size, size};
    const struct scan_source source = {.read = read_memory, .context = &file, .bytes = size};
    struct span text = {(const uint8_t *)schema, sizeof(schema) - 1};
    struct block_header_text header = {.schema = text,
                                       .channel = "engine",
                                       .host = "host",
                                       .started = "started",
                                       .version = "version"};
    struct scan *scan;
    char error[256];
    if (scan_open(&scan, &source, error, sizeof(error)) == 0) {
        bool sound = scan_header(scan)->sound;
        header.schema = scan_header(scan)->schema;
        check(scan, sound ? NULL : &header);
    }
    header.schema = text;
    if (scan_search(&scan, &source, text, error, sizeof(error)) == 0)
        check(scan, &header);
    return 0;
}
