/* SPDX-License-Identifier: MIT
 * libavro's generic values, read from memory. Its allocator here keeps a list of what is made for
 * one datum and frees what libavro forgets, so that leaks of ours still show.
 * Known limits: libavro tells no position; it is found by skipping what must be left. */
#include "libavro_judge.h"

#include <avro.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What 1.11.1 asks for is what a datum claims, also where that is negative. */
#define BLOCK_BYTES_MAX (64u << 20)

struct libavro_judge {
    avro_value_iface_t *class;
};

struct block {
    struct block *next, **link_from; /* link_from NULL: kept for good */
    size_t bytes;
    _Alignas(16) uint8_t at[];
};

static struct block *blocks; /* of the datum at hand */
static bool keeping;

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "libavro_judge: %s: %s\n", what, avro_strerror());
    abort();
}

static void block_free(struct block *block)
{
    if (block->link_from != NULL) {
        *block->link_from = block->next;
        if (block->next != NULL)
            block->next->link_from = block->link_from;
    }
    free(block);
}

static void *allocate(void *context, void *from, size_t old_bytes, size_t bytes)
{
    struct block *before = from != NULL ? (struct block *)((uint8_t *)from - sizeof *before) : NULL;
    struct block *block = NULL;
    (void)context;
    (void)old_bytes;
    if (bytes > BLOCK_BYTES_MAX)
        return NULL;
    if (bytes > 0) {
        block = malloc(sizeof *block + bytes);
        must(block != NULL, "out of memory");
        block->bytes = bytes;
        block->link_from = NULL;
        if (!keeping) {
            block->next = blocks;
            block->link_from = &blocks;
            if (block->next != NULL)
                block->next->link_from = &block->next;
            blocks = block;
        }
        if (before != NULL)
            memcpy(block->at, before->at, bytes < before->bytes ? bytes : before->bytes);
    }
    if (before != NULL)
        block_free(before);
    return block != NULL ? block->at : NULL;
}

struct libavro_judge *libavro_judge_open(const char *text)
{
    struct libavro_judge *judge = malloc(sizeof *judge);
    avro_schema_t schema;
    must(judge != NULL, "out of memory");
    avro_set_allocator(allocate, NULL);
    keeping = true;
    must(avro_schema_from_json_length(text, strlen(text), &schema) == 0, text);
    judge->class = avro_generic_class_from_schema(schema);
    must(judge->class != NULL, text);
    keeping = false;
    return judge;
}

static void write_again(avro_value_t *value, uint8_t **written, size_t *written_bytes)
{
    must(avro_value_sizeof(value, written_bytes) == 0, "no size");
    *written = malloc(*written_bytes + 1);
    must(*written != NULL, "out of memory");
    avro_writer_t writer = avro_writer_memory((char *)*written, (int64_t)*written_bytes);
    must(writer != NULL && avro_value_write(writer, value) == 0, "cannot write what it read");
    must((size_t)avro_writer_tell(writer) == *written_bytes, "wrote less than its size");
    avro_writer_free(writer);
}

int libavro_judge_read(struct libavro_judge *judge, const uint8_t *at, size_t bytes, size_t used,
                       uint8_t **written, size_t *written_bytes)
{
    avro_value_t value;
    int result = 0;
    avro_reader_t reader = avro_reader_memory((const char *)at, (int64_t)bytes);
    must(reader != NULL && avro_generic_value_new(judge->class, &value) == 0, "no value");
    if (avro_value_read(reader, &value) == 0) {
        /* What is left can be skipped, and one byte more cannot. */
        bool exact = avro_skip(reader, (int64_t)(bytes - used)) == 0 && avro_skip(reader, 1) != 0;
        result = exact ? 1 : -1;
        if (written != NULL)
            write_again(&value, written, written_bytes);
    }
    avro_value_decref(&value);
    avro_reader_free(reader);
    while (blocks != NULL)
        block_free(blocks);
    return result;
}
