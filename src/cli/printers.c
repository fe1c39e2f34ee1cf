/* SPDX-License-Identifier: MIT
 * A ring of batches. The caller fills the one at the end and writes the one at the front; in
 * between stand those that are to be printed, which are claimed one by one in order, by counting.
 * Known: a batch of one huge datum keeps its memory to the end. */
#include "cli/printers.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "os/thread.h"
#include "schema/csv.h"
#include "schema/json.h"
#include "schema/schema.h"

#define PRINTERS_SLOTS 8u
#define THREADS_MAX    3u          /* beside the caller, who reads and writes meanwhile */
#define BATCH_BYTES    (64u << 10) /* of datums: a block's worth of text, some 200 KiB */
#define BATCH_DATUMS   4096u       /* where they have few bytes, or none */
#define STACK_BYTES    (1u << 20)  /* a datum may nest LAYOUT_DEPTH_MAX deep */

struct batch {
    uint8_t *datums; /* back to back */
    size_t bytes, room;
    uint32_t count;
    struct text text;
    _Atomic bool printed;
};

struct worker {
    struct thread thread;
    struct printers *printers;
    struct column_value *values;
};

struct printers {
    struct printers_form form;
    struct schema_file *schema;
    const struct columns *columns;
    struct text heading; /* of the CSV that was begun */
    struct worker caller, workers[THREADS_MAX];
    uint32_t worker_count;
    bool started, at_once;
    /* Batches by number, each in slot number % PRINTERS_SLOTS: written <= claimed <= filled. */
    struct batch slots[PRINTERS_SLOTS];
    uint64_t written;
    _Atomic uint64_t claimed, filled;
    struct wake to_print, is_printed;
    _Atomic bool ended;
};

static struct batch *slot_of(struct printers *printers, uint64_t number)
{
    return &printers->slots[number % PRINTERS_SLOTS];
}

/* ---- printing, by any thread ---- */

static void print_batch(struct worker *worker, struct batch *batch)
{
    const struct printers *printers = worker->printers;
    const struct columns *columns = printers->columns;
    struct span rest = {batch->datums, batch->bytes};
    text_clear(&batch->text);
    for (uint32_t i = 0; i < batch->count; i++) {
        size_t bytes;
        enum reject reason;
        if (columns == NULL)
            reason = datum_write_json(schema_root(printers->schema), rest, &bytes, &batch->text);
        else
            reason = columns_read(columns, rest, &bytes, worker->values);
        CHECK(reason == REJECT_NONE && bytes <= rest.bytes); /* it has been checked */
        if (columns != NULL && printers->form.csv)
            csv_add_row(columns, worker->values, &batch->text);
        else if (columns != NULL)
            columns_write_json(columns, worker->values, &batch->text);
        if (!printers->form.csv)
            text_put_literal(&batch->text, "\n");
        rest.at += bytes;
        rest.bytes -= bytes;
    }
    atomic_store_explicit(&batch->printed, true, memory_order_release);
}

/* Prints the next batch that nobody does. False if there is none. */
static bool print_next(struct worker *worker)
{
    struct printers *printers = worker->printers;
    uint64_t next = atomic_load(&printers->claimed);
    do {
        if (next == atomic_load(&printers->filled))
            return false;
    } while (!atomic_compare_exchange_weak(&printers->claimed, &next, next + 1));
    print_batch(worker, slot_of(printers, next));
    return true;
}

static void run_worker(void *context)
{
    struct worker *worker = context;
    struct printers *printers = worker->printers;
    for (;;) {
        uint32_t seen = wake_seen(&printers->to_print);
        if (print_next(worker))
            wake_signal(&printers->is_printed);
        else if (atomic_load(&printers->ended))
            return;
        else
            wake_wait(&printers->to_print, seen, -1);
    }
}

/* Threads are made when there is more than one batch. Fewer than wanted, or none, are as good. */
static void start_workers(struct printers *printers)
{
    unsigned processors = thread_processors();
    printers->started = true;
    while (printers->worker_count < THREADS_MAX && printers->worker_count + 1 < processors) {
        struct worker *worker = &printers->workers[printers->worker_count];
        if (thread_start(&worker->thread, run_worker, worker, STACK_BYTES) < 0)
            break;
        printers->worker_count++;
    }
}

/* ---- filling and writing, by the caller ---- */

static bool write_batch(struct batch *batch)
{
    const struct text *text = &batch->text;
    if (text->failed)
        fprintf(stderr, "flotilla cat: no memory for the text of %zu bytes\n", batch->bytes);
    return !text->failed && fwrite(text->at, 1, text->bytes, stdout) == text->bytes;
}

/* Writes what is printed, and prints, until at most `most` batches are left. */
static bool settle(struct printers *printers, uint64_t most)
{
    for (;;) {
        uint64_t left = atomic_load(&printers->filled) - printers->written;
        struct batch *front = slot_of(printers, printers->written);
        uint32_t seen = wake_seen(&printers->is_printed);
        if (left > 0 && atomic_load_explicit(&front->printed, memory_order_acquire)) {
            if (!write_batch(front))
                return false;
            front->count = 0;
            front->bytes = 0;
            atomic_store(&front->printed, false);
            printers->written++;
        } else if (left <= most) {
            return true;
        } else if (!print_next(&printers->caller)) {
            wake_wait(&printers->is_printed, seen, -1);
        }
    }
}

/* Hands the batch at the end over, and has the next one free. */
static bool submit(struct printers *printers)
{
    uint64_t filled = atomic_load(&printers->filled);
    if (slot_of(printers, filled)->count == 0)
        return true;
    atomic_store(&printers->filled, filled + 1);
    if (printers->at_once)
        return settle(printers, 0);
    if (!printers->started && filled > 0)
        start_workers(printers);
    if (printers->worker_count > 0)
        wake_signal(&printers->to_print);
    return settle(printers, printers->worker_count > 0 ? PRINTERS_SLOTS - 1 : 0);
}

bool printers_add(struct printers *printers, struct span datum)
{
    struct batch *batch = slot_of(printers, atomic_load(&printers->filled));
    if (batch->count > 0 &&
        (batch->bytes + datum.bytes > BATCH_BYTES || batch->count == BATCH_DATUMS)) {
        if (!submit(printers))
            return false;
        batch = slot_of(printers, atomic_load(&printers->filled));
    }
    uint8_t *datums = room_grow(batch->datums, &batch->room, batch->bytes + datum.bytes, 1);
    if (datums == NULL) {
        fprintf(stderr, "flotilla cat: no memory for a datum of %zu bytes\n", datum.bytes);
        return false;
    }
    batch->datums = datums;
    if (datum.bytes > 0)
        memcpy(batch->datums + batch->bytes, datum.at, datum.bytes);
    batch->bytes += datum.bytes;
    batch->count++;
    return !printers->at_once || submit(printers);
}

bool printers_flush(struct printers *printers)
{
    return submit(printers) && settle(printers, 0) && fflush(stdout) == 0;
}

/* ---- schemas ---- */

static void end_schema(struct printers *printers)
{
    for (uint32_t i = 0; i < THREADS_MAX; i++) {
        free(printers->workers[i].values);
        printers->workers[i].values = NULL;
    }
    free(printers->caller.values);
    printers->caller.values = NULL;
    columns_free(printers->columns);
    printers->columns = NULL;
    schema_free(printers->schema);
    printers->schema = NULL;
}

/* The columns, and values of them for each thread. */
static int select_columns(struct printers *printers, char *error, size_t error_bytes)
{
    const struct printers_form *form = &printers->form;
    int status = columns_select(printers->schema, form->fields, form->field_count,
                                &printers->columns, error, error_bytes);
    if (status < 0)
        return status;
    for (uint32_t i = 0; i <= THREADS_MAX; i++) {
        struct worker *worker = i < THREADS_MAX ? &printers->workers[i] : &printers->caller;
        worker->values = calloc(printers->columns->value_room, sizeof(*worker->values));
        if (worker->values == NULL && printers->columns->value_room > 0) {
            snprintf(error, error_bytes, "%s", strerror(ENOMEM));
            return -ENOMEM;
        }
    }
    return 0;
}

/* Writes the heading if it is the first; 0 also if it is the same again. */
static int write_heading(struct printers *printers, char *error, size_t error_bytes)
{
    struct text text = {0};
    int status = 0;
    if (printers->columns->count == 0) {
        snprintf(error, error_bytes, "has no columns");
        return -EINVAL;
    }
    csv_add_heading(printers->columns, &text);
    if (text.failed) {
        snprintf(error, error_bytes, "%s", strerror(ENOMEM));
        status = -ENOMEM;
    } else if (printers->heading.at == NULL) {
        status = fwrite(text.at, 1, text.bytes, stdout) == text.bytes ? 0 : -EIO;
        printers->heading = text;
        return status;
    } else if (strcmp(text.at, printers->heading.at) != 0) {
        snprintf(error, error_bytes,
                 "its columns are others than those of the files before: it is left out");
        status = -EINVAL;
    }
    text_free(&text);
    return status;
}

int printers_begin(struct printers *printers, struct span schema, bool at_once, char *error,
                   size_t error_bytes)
{
    const struct printers_form *form = &printers->form;
    error[0] = '\0';
    if (!printers_flush(printers))
        return -EIO;
    end_schema(printers);
    printers->at_once = at_once;
    printers->schema = schema_parse(schema, error, error_bytes);
    if (printers->schema == NULL)
        return -EINVAL;
    int status = 0;
    if (form->csv || form->field_count > 0)
        status = select_columns(printers, error, error_bytes);
    if (status == 0 && form->csv)
        status = write_heading(printers, error, error_bytes);
    return status;
}

const struct columns *printers_columns(const struct printers *printers)
{
    return printers->columns;
}

/* ---- from first to last ---- */

struct printers *printers_open(const struct printers_form *form)
{
    struct printers *printers = calloc(1, sizeof(*printers));
    if (printers == NULL)
        return NULL;
    printers->form = *form;
    printers->caller.printers = printers;
    for (uint32_t i = 0; i < THREADS_MAX; i++)
        printers->workers[i].printers = printers;
    return printers;
}

void printers_close(struct printers *printers)
{
    if (printers == NULL)
        return;
    /* What nobody has claimed is not printed any more. */
    atomic_store(&printers->claimed, atomic_load(&printers->filled));
    atomic_store(&printers->ended, true);
    wake_signal(&printers->to_print);
    for (uint32_t i = 0; i < printers->worker_count; i++)
        thread_join(&printers->workers[i].thread);
    end_schema(printers);
    for (uint32_t i = 0; i < PRINTERS_SLOTS; i++) {
        free(printers->slots[i].datums);
        text_free(&printers->slots[i].text);
    }
    text_free(&printers->heading);
    free(printers);
}
