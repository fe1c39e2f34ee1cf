/* SPDX-License-Identifier: MIT
 * ASAM MDF 4.10: a group of channels for each table, of records of one length, so that writing is
 * little more than copying. Relies on export/mdf4_file, export/cell.
 *
 *     time            the master: nanoseconds since the file's start as int64, seconds by 1e-9
 *     numbers         as they are; booleans as uint8, enums as uint32 with their symbols
 *     null            by invalidation bit; what is of type null has no channel
 *     strings, bytes  of varying length, beside the records; of bytes `raw.count` says how many;
 *                     fixed within
 *     arrays          of numbers: a channel an item, `cylinders[0]`; `tracks[0].x` of records of
 *                     them. Where their length varies, those behind the end are invalid and
 *                     `cylinders.count` says how many there are
 *     other arrays    (of texts, of arrays, longer than ARRAY_ITEMS_MAX), and maps: JSON as text
 *
 * How long arrays are is known of a batch only. Where a later one does not fit what the group of
 * channels was made for, the group ends and another follows it, "engine (2)".
 * Known limits: strings end at a NUL for most readers; a table that begins before the first one has
 * negative times; an enum of more than 65,534 symbols shows its indices. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "export/cell.h"
#include "export/mdf4_file.h"
#include "os/clock.h"

#define ARRAY_SLOTS_MAX 4096u
#define ARRAY_ITEMS_MAX 256u
#define ARRAY_PARTS_MAX 16u /* from here on, arrays that vary still are texts */
#define ROWS_AT_A_TIME  256u
#define SLOT_NO_BIT     UINT32_MAX
#define BLOCK_BYTES     (1u << 20)
#define BLOCK_BYTES_MIN (8u << 10)
#define TEXTS_BYTES     (8u << 20) /* of all blocks of a table's texts together */

/* How an array is written. */
enum shape_kind { SHAPE_NONE, SHAPE_EQUAL, SHAPE_VARYING, SHAPE_TEXT };
struct shape {
    enum shape_kind kind;
    uint32_t length; /* channels an item's column has */
};

enum slot_kind {
    SLOT_TIME,
    SLOT_VALUE,   /* of a column */
    SLOT_ELEMENT, /* of an array's item `element` the column `item` */
    SLOT_COUNT,   /* an array's items, or how many bytes */
    SLOT_TEXT     /* string, bytes, or JSON; beside the records */
};

/* A channel. */
struct slot {
    enum slot_kind kind;
    uint32_t column, item, element;
    uint32_t offset, width; /* in the record */
    uint32_t bit;           /* behind the values: set where there is none; or SLOT_NO_BIT */
    struct mdf4_data texts;
};

/* A group of channels that is finished. */
struct group {
    uint64_t channels, data;
    const struct mdf4_table *table;
};

struct mdf4_table {
    const struct export_table *of;
    struct shape *shapes; /* by column */
    unsigned parts;       /* groups begun */
    bool open;            /* one is being written */
    struct slot *slots;
    size_t slot_count, slot_room;
    uint32_t value_bytes, bits, record_bytes;
    uint64_t rows; /* of the group */
    struct mdf4_data records;
    struct text comment; /* where it comes from */
};

struct mdf4 {
    struct mdf4_file file;
    const struct export_options *options;
    struct mdf4_table **tables;
    size_t table_count, table_room;
    struct group *groups;
    size_t group_count, group_room;
    bool started;
    int64_t start_ns;
    struct text text; /* of a value */
};

/* ---- what an array looks like ---- */

static bool is_number(const struct export_column *column)
{
    return column->kind <= EXPORT_FIXED && column->width > 0;
}

static bool is_of_numbers(const struct export_column *column)
{
    bool numbers = column->kind == EXPORT_ARRAY;
    for (uint32_t i = 0; numbers && i < column->items->count; i++)
        numbers = is_number(&column->items->list[i]);
    return numbers;
}

/* The shape that takes all rows of the batch and those before it. */
static struct shape shape_for(const struct export_column *column,
                              const struct export_vector *vector, uint32_t rows,
                              const struct shape *before, bool may_change)
{
    uint64_t most = 0, least = UINT64_MAX;
    struct shape shape = *before;
    if (column->items == NULL || shape.kind == SHAPE_TEXT)
        return shape;
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t length = vector->offsets[i + 1] - vector->offsets[i];
        most = length > most ? length : most;
        least = length < least ? length : least;
    }
    bool equal = least == most && most > 0 && vector->null_count == 0;
    if (shape.kind == SHAPE_EQUAL && equal && most == shape.length)
        return shape;
    if (shape.kind == SHAPE_VARYING && most <= shape.length)
        return shape;
    if (!is_of_numbers(column) || most > ARRAY_ITEMS_MAX ||
        most * column->items->count > ARRAY_SLOTS_MAX || !may_change)
        return (struct shape){SHAPE_TEXT, 0};
    if (shape.kind == SHAPE_NONE)
        return (struct shape){equal ? SHAPE_EQUAL : SHAPE_VARYING, (uint32_t)most};
    /* It changes, so it may go on to: room for twice as many. */
    if (shape.length > most)
        return (struct shape){SHAPE_VARYING, shape.length};
    uint32_t longer = 1;
    while (longer < most)
        longer *= 2;
    return (struct shape){SHAPE_VARYING, longer};
}

/* Whether the group at hand takes the batch; else `shapes` are those of the next. */
static bool shapes_hold(struct mdf4_table *table, const struct export_batch *batch)
{
    bool hold = true;
    for (uint32_t i = 0; i < table->of->columns.count; i++) {
        const struct export_column *column = &table->of->columns.list[i];
        struct shape shape = shape_for(column, &batch->vectors[i], batch->rows, &table->shapes[i],
                                       table->parts < ARRAY_PARTS_MAX);
        hold =
            hold && shape.kind == table->shapes[i].kind && shape.length == table->shapes[i].length;
        table->shapes[i] = shape;
    }
    return hold;
}

/* ---- the channels of a group ---- */

static int add_slot(struct mdf4_table *table, struct slot slot, bool nullable)
{
    struct slot *grown =
        room_grow(table->slots, &table->slot_room, table->slot_count + 1, sizeof(*table->slots));
    if (grown == NULL)
        return -ENOMEM;
    if (slot.width > UINT32_MAX / 2 - table->value_bytes)
        return -E2BIG;
    table->slots = grown;
    slot.offset = table->value_bytes;
    slot.bit = nullable ? table->bits++ : SLOT_NO_BIT;
    table->value_bytes += slot.width;
    table->slots[table->slot_count++] = slot;
    return 0;
}

static int add_array_slots(struct mdf4_table *table, uint32_t index)
{
    const struct export_column *column = &table->of->columns.list[index];
    const struct shape *shape = &table->shapes[index];
    bool varying = shape->kind == SHAPE_VARYING;
    int status = 0;
    if (varying)
        status = add_slot(table, (struct slot){.kind = SLOT_COUNT, .column = index, .width = 4},
                          column->nullable);
    for (uint32_t element = 0; element < shape->length && status == 0; element++)
        for (uint32_t i = 0; i < column->items->count && status == 0; i++) {
            const struct export_column *item = &column->items->list[i];
            status = add_slot(table,
                              (struct slot){.kind = SLOT_ELEMENT,
                                            .column = index,
                                            .item = i,
                                            .element = element,
                                            .width = item->width},
                              varying || item->nullable);
        }
    return status;
}

static int add_column_slots(struct mdf4_table *table, uint32_t index)
{
    const struct export_column *column = &table->of->columns.list[index];
    struct slot slot = {.kind = SLOT_VALUE, .column = index, .width = column->width};
    if (cell_is_time(table->of, index) || column->kind == EXPORT_NULL)
        return 0;
    if (column->items != NULL && table->shapes[index].kind != SHAPE_TEXT)
        return add_array_slots(table, index);
    if (!is_number(column)) {
        slot.kind = SLOT_TEXT;
        slot.width = 8; /* where in the texts */
    }
    int status = 0;
    if (column->kind == EXPORT_BYTES) /* some readers fill them up to the longest */
        status =
            add_slot(table, (struct slot){.kind = SLOT_COUNT, .column = index, .width = 4}, false);
    return status < 0 ? status : add_slot(table, slot, column->nullable);
}

static int begin_group(struct mdf4 *mdf4, struct mdf4_table *table)
{
    size_t texts = 0, block = mdf4->options->several ? BLOCK_BYTES / 4 : BLOCK_BYTES;
    int status = 0;
    table->slot_count = table->value_bytes = table->bits = 0;
    table->rows = 0;
    if (table->of->time != EXPORT_TIME_NONE)
        status = add_slot(table, (struct slot){.kind = SLOT_TIME, .width = 8}, false);
    for (uint32_t i = 0; i < table->of->columns.count && status == 0; i++)
        status = add_column_slots(table, i);
    if (status < 0)
        return status;
    table->record_bytes = table->value_bytes + (table->bits + 7) / 8;
    table->record_bytes += table->record_bytes == 0; /* rows of nothing still are so many */
    for (size_t i = 0; i < table->slot_count; i++)
        texts += table->slots[i].kind == SLOT_TEXT;
    table->open = true;
    table->parts++;
    if (!mdf4_data_begin(&mdf4->file, &table->records, "DT", table->record_bytes, block))
        return -ENOMEM;
    block = texts == 0 || TEXTS_BYTES / texts > block ? block : TEXTS_BYTES / texts;
    block = block > BLOCK_BYTES_MIN ? block : BLOCK_BYTES_MIN;
    for (size_t i = 0; i < table->slot_count; i++)
        if (table->slots[i].kind == SLOT_TEXT &&
            !mdf4_data_begin(&mdf4->file, &table->slots[i].texts, "SD", 1, block))
            return -ENOMEM;
    return 0;
}

/* ---- rows into records ---- */

struct rows {
    const struct export_batch *batch;
    uint32_t first, count;
    uint8_t *records; /* of the first of them */
};

static void set_bit(const struct mdf4_table *table, uint8_t *record, const struct slot *slot)
{
    record[table->value_bytes + slot->bit / 8] |= (uint8_t)(1u << slot->bit % 8);
}

/* Values of a width, one to each record. */
static void copy_values(uint8_t *to, size_t step, const uint8_t *from, size_t width, uint32_t count)
{
    if (width == 8)
        for (uint32_t i = 0; i < count; i++)
            memcpy(to + i * step, from + (size_t)i * 8, 8);
    else if (width == 4)
        for (uint32_t i = 0; i < count; i++)
            memcpy(to + i * step, from + (size_t)i * 4, 4);
    else
        for (uint32_t i = 0; i < count; i++)
            memcpy(to + i * step, from + i * width, width);
}

static void put_elements(const struct mdf4_table *table, const struct slot *slot,
                         const struct export_vector *vector, const struct rows *rows)
{
    const struct export_vector *item = &vector->items[slot->item];
    for (uint32_t i = 0; i < rows->count; i++) {
        uint64_t at = vector->offsets[rows->first + i] + slot->element;
        uint8_t *record = rows->records + (size_t)i * table->record_bytes;
        bool there = at < vector->offsets[rows->first + i + 1];
        if (there)
            memcpy(record + slot->offset, (const uint8_t *)item->values + at * slot->width,
                   slot->width);
        if (slot->bit != SLOT_NO_BIT && (!there || (item->valid != NULL && !item->valid[at])))
            set_bit(table, record, slot);
    }
}

static void put_texts(struct mdf4 *mdf4, const struct mdf4_table *table, struct slot *slot,
                      const struct export_column *column, const struct export_vector *vector,
                      const struct rows *rows)
{
    bool bytes = column->kind == EXPORT_BYTES || column->kind == EXPORT_FIXED;
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->first + i;
        const void *at = NULL;
        size_t length = 0;
        if (column->items == NULL) {
            at = cell_bytes(column, vector, row).at;
            length = cell_bytes(column, vector, row).bytes;
        } else if (cell_is_there(column, vector, row)) {
            text_clear(&mdf4->text);
            cell_add_items(&mdf4->text, column, vector, row);
            at = mdf4->text.at;
            length = mdf4->text.bytes;
        }
        uint64_t place = mdf4_data_add(&mdf4->file, &slot->texts, at, length, bytes ? 0 : 1);
        memcpy(rows->records + (size_t)i * table->record_bytes + slot->offset, &place, 8);
    }
}

static void put_slot(struct mdf4 *mdf4, const struct mdf4_table *table, struct slot *slot,
                     const struct rows *rows)
{
    const struct export_batch *batch = rows->batch;
    const struct export_vector *vector = &batch->vectors[slot->column];
    size_t step = table->record_bytes;
    uint8_t *to = rows->records + slot->offset;
    if (slot->kind == SLOT_TIME) {
        for (uint32_t i = 0; i < rows->count; i++) {
            uint64_t ns = (uint64_t)batch->time_ns[rows->first + i] - (uint64_t)mdf4->start_ns;
            memcpy(to + i * step, &ns, 8);
        }
        return;
    }
    if (slot->kind == SLOT_ELEMENT) {
        put_elements(table, slot, vector, rows);
        return;
    }
    if (slot->kind == SLOT_VALUE)
        copy_values(to, step, (const uint8_t *)vector->values + (size_t)rows->first * slot->width,
                    slot->width, rows->count);
    else if (slot->kind == SLOT_TEXT)
        put_texts(mdf4, table, slot, &table->of->columns.list[slot->column], vector, rows);
    else
        for (uint32_t i = 0; i < rows->count; i++) {
            const uint64_t *offset = &vector->offsets[rows->first + i];
            uint32_t length = (uint32_t)(offset[1] - offset[0]);
            memcpy(to + i * step, &length, 4);
        }
    for (uint32_t i = 0; i < rows->count && slot->bit != SLOT_NO_BIT && vector->valid != NULL; i++)
        if (!vector->valid[rows->first + i])
            set_bit(table, rows->records + i * step, slot);
}

/* ---- channels into blocks ---- */

enum { TYPE_UNSIGNED = 0, TYPE_SIGNED = 2, TYPE_REAL = 4, TYPE_TEXT = 7, TYPE_BYTES = 10 };

/* What a channel block has behind its links. */
struct channel_block {
    uint8_t type, sync, data_type, bit_offset;
    uint32_t byte_offset, bit_count, flags, bit;
    uint8_t precision, zero[3];
    double ranges[6];
};
_Static_assert(sizeof(struct channel_block) == 72, "as the file has it");

enum { CHANNEL_FIXED = 0, CHANNEL_VARYING = 1, CHANNEL_MASTER = 2 };
#define CHANNEL_INVALIDATES 2u

struct conversion_block {
    uint8_t type, precision;
    uint16_t flags, links, values;
    double least, most;
};
enum { CONVERSION_LINEAR = 1, CONVERSION_TEXT = 7 };

static uint64_t write_linear(struct mdf4_file *file, double factor)
{
    struct {
        struct conversion_block front;
        double values[2]; /* offset, factor */
    } block = {.front = {.type = CONVERSION_LINEAR, .values = 2}, .values = {0, factor}};
    const uint64_t links[4] = {0};
    return mdf4_block(file, "CC", links, 4, &block, sizeof(block));
}

/* Values to texts. 0 where there are too many, or no memory. */
static uint64_t write_symbols(struct mdf4_file *file, const struct schema *type)
{
    struct conversion_block front = {.type = CONVERSION_TEXT};
    uint64_t offset = 0, *links = calloc(type->count + 5u, sizeof(*links));
    struct text bytes = {0};
    if (links != NULL && type->count < UINT16_MAX) {
        front.links = (uint16_t)(type->count + 1);
        front.values = (uint16_t)type->count;
        text_add_bytes(&bytes, &front, sizeof(front));
        for (uint32_t i = 0; i < type->count; i++) {
            double value = i;
            links[4 + i] =
                mdf4_block(file, "TX", NULL, 0, type->symbols[i], strlen(type->symbols[i]) + 1);
            text_add_bytes(&bytes, &value, sizeof(value));
        }
        if (!bytes.failed) /* the last link: what any other value is; nothing */
            offset = mdf4_block(file, "CC", links, type->count + 5u, bytes.at, bytes.bytes);
    }
    if (links == NULL || bytes.failed)
        file->status = file->status < 0 ? file->status : -ENOMEM;
    text_free(&bytes);
    free(links);
    return offset;
}

/* The name of an item's channel: of "tracks[].x" and 3 "tracks[3].x". */
static void name_slot(const struct mdf4_table *table, const struct slot *slot, struct text *name)
{
    const struct export_column *column = &table->of->columns.list[slot->column];
    text_clear(name);
    if (slot->kind == SLOT_TIME)
        text_add_string(name, cell_time_name(table->of));
    else if (slot->kind == SLOT_ELEMENT)
        text_add(name, "%s[%" PRIu32 "]%s", column->path, slot->element,
                 column->items->list[slot->item].path + strlen(column->path) + strlen("[]"));
    else
        text_add(name, "%s%s", column->path[0] != '\0' ? column->path : "value",
                 slot->kind == SLOT_COUNT ? ".count" : "");
}

/* What people wrote about it, and its logical type. */
static uint64_t write_comment(struct mdf4 *mdf4, const struct export_column *column)
{
    struct text *text = &mdf4->text;
    text_clear(text);
    text_add_string(text, column->doc != NULL ? column->doc : "");
    if (column->type != NULL && column->type->logical_holds && column->type->logical != NULL) {
        text_add(text, "%s%s", text->bytes > 0 ? "; " : "", column->type->logical);
        if (column->type->precision > 0)
            text_add(text, "(%" PRIu32 ",%" PRIu32 ")", column->type->precision,
                     column->type->scale);
    }
    return mdf4_text(&mdf4->file, text->failed ? NULL : text->at);
}

static void set_type(struct channel_block *block, const struct slot *slot,
                     const struct export_column *column)
{
    block->bit_count = 8 * slot->width;
    if (slot->kind == SLOT_TIME) {
        block->type = CHANNEL_MASTER;
        block->sync = 1; /* time */
        block->data_type = TYPE_SIGNED;
    } else if (slot->kind == SLOT_TEXT) {
        block->type = CHANNEL_VARYING;
        block->data_type =
            column->kind == EXPORT_BYTES || column->kind == EXPORT_FIXED ? TYPE_BYTES : TYPE_TEXT;
    } else if (slot->kind == SLOT_COUNT || column->kind == EXPORT_BOOLEAN ||
               column->kind == EXPORT_ENUM)
        block->data_type = TYPE_UNSIGNED;
    else if (column->kind == EXPORT_FIXED)
        block->data_type = TYPE_BYTES;
    else
        block->data_type =
            column->kind == EXPORT_INT || column->kind == EXPORT_LONG ? TYPE_SIGNED : TYPE_REAL;
}

/* Writes a channel that `next` follows. Returns where it is. */
static uint64_t write_channel(struct mdf4 *mdf4, const struct mdf4_table *table, struct slot *slot,
                              uint64_t next)
{
    struct mdf4_file *file = &mdf4->file;
    const struct export_column *column = &table->of->columns.list[slot->column];
    struct channel_block block = {.byte_offset = slot->offset};
    uint64_t links[8] = {next};
    if (slot->kind == SLOT_ELEMENT)
        column = &column->items->list[slot->item];
    set_type(&block, slot, column);
    if (slot->bit != SLOT_NO_BIT) {
        block.flags = CHANNEL_INVALIDATES;
        block.bit = slot->bit;
    }
    name_slot(table, slot, &mdf4->text);
    links[2] = mdf4_block(file, "TX", NULL, 0, mdf4->text.at, mdf4->text.bytes + 1);
    if (slot->kind == SLOT_TIME) {
        links[4] = write_linear(file, 1e-9);
        links[6] = mdf4_text(file, "s");
    } else if (slot->kind != SLOT_COUNT) {
        if (slot->kind != SLOT_TEXT && column->kind == EXPORT_ENUM)
            links[4] = write_symbols(file, column->type);
        links[6] = mdf4_text(file, column->unit);
        links[7] = write_comment(mdf4, column);
    }
    if (slot->kind == SLOT_TEXT)
        links[5] = mdf4_data_end(file, &slot->texts);
    return mdf4_block(file, "CN", links, 8, &block, sizeof(block));
}

/* Writes all of the group but what refers to it, which is for the end. */
static int end_group(struct mdf4 *mdf4, struct mdf4_table *table)
{
    struct {
        uint64_t id, rows;
        uint16_t flags, separator;
        uint32_t zero, value_bytes, bit_bytes;
    } block = {.rows = table->rows, .separator = '.'};
    uint64_t links[6] = {0}, data, next = 0;
    struct text name = {0};
    struct group *grown =
        room_grow(mdf4->groups, &mdf4->group_room, mdf4->group_count + 1, sizeof(*mdf4->groups));
    if (grown == NULL)
        return -ENOMEM;
    mdf4->groups = grown;
    data = mdf4_data_end(&mdf4->file, &table->records);
    for (size_t i = table->slot_count; i-- > 0;)
        next = write_channel(mdf4, table, &table->slots[i], next);
    cell_add_name(&name, table->of->name);
    if (table->parts > 1)
        text_add(&name, " (%u)", table->parts);
    links[1] = next;
    links[2] = mdf4_text(&mdf4->file, name.failed ? NULL : name.at);
    block.bit_bytes = (table->bits + 7) / 8;
    block.value_bytes = table->record_bytes - block.bit_bytes;
    uint64_t channels = mdf4_block(&mdf4->file, "CG", links, 6, &block, sizeof(block));
    mdf4->groups[mdf4->group_count++] = (struct group){channels, data, table};
    text_free(&name);
    table->open = false;
    return mdf4->file.status;
}

/* ---- tables ---- */

static void free_group(struct mdf4_table *table)
{
    mdf4_data_free(&table->records);
    for (size_t i = 0; i < table->slot_count; i++)
        mdf4_data_free(&table->slots[i].texts);
    table->slot_count = 0;
}

static void release(void *file)
{
    struct mdf4 *mdf4 = file;
    for (size_t i = 0; i < mdf4->table_count; i++) {
        struct mdf4_table *table = mdf4->tables[i];
        free_group(table);
        free(table->slots);
        free(table->shapes);
        text_free(&table->comment);
        free(table);
    }
    free(mdf4->tables);
    free(mdf4->groups);
    text_free(&mdf4->text);
    mdf4_file_free(&mdf4->file);
    free(mdf4);
}

static int begin(void **file, struct made *made, const struct export_options *options, char *error,
                 size_t error_bytes)
{
    struct mdf4 *mdf4 = calloc(1, sizeof(*mdf4));
    (void)error;
    (void)error_bytes;
    if (mdf4 == NULL)
        return -ENOMEM;
    mdf4->options = options;
    int status = mdf4_file_begin(&mdf4->file, made, options->gzip);
    if (status < 0)
        release(mdf4);
    else
        *file = mdf4;
    return status;
}

static int begin_table(void *file, const struct export_table *of, void **state, char *error,
                       size_t error_bytes)
{
    struct mdf4 *mdf4 = file;
    struct mdf4_table **grown =
        room_grow(mdf4->tables, &mdf4->table_room, mdf4->table_count + 1, sizeof(*mdf4->tables));
    struct mdf4_table *table = calloc(1, sizeof(*table));
    (void)error;
    (void)error_bytes;
    if (grown != NULL)
        mdf4->tables = grown;
    if (grown == NULL || table == NULL) {
        free(table);
        return -ENOMEM;
    }
    mdf4->tables[mdf4->table_count++] = table;
    table->of = of;
    table->shapes = calloc(of->columns.count + 1u, sizeof(*table->shapes));
    *state = table;
    return table->shapes == NULL ? -ENOMEM : 0;
}

static int append(void *file, void *state, const struct export_batch *batch, char *error,
                  size_t error_bytes)
{
    struct mdf4 *mdf4 = file;
    struct mdf4_table *table = state;
    struct rows rows = {.batch = batch};
    int status = 0;
    (void)error;
    (void)error_bytes;
    if (!mdf4->started && batch->time_ns != NULL) {
        mdf4->start_ns = batch->time_ns[0] > 0 ? batch->time_ns[0] : 0;
        mdf4->started = true;
    }
    bool hold = shapes_hold(table, batch);
    if (table->open && !hold)
        status = end_group(mdf4, table);
    if (status == 0 && !table->open)
        status = begin_group(mdf4, table);
    for (; status == 0 && rows.first < batch->rows; rows.first += rows.count) {
        struct mdf4_data *records = &table->records;
        size_t room = (records->room - records->used) / table->record_bytes;
        rows.count = batch->rows - rows.first;
        rows.count = rows.count < ROWS_AT_A_TIME ? rows.count : ROWS_AT_A_TIME;
        rows.count = rows.count < room ? rows.count : (uint32_t)room;
        rows.records = records->bytes + records->used;
        memset(rows.records, 0, (size_t)rows.count * table->record_bytes);
        for (size_t i = 0; i < table->slot_count; i++)
            put_slot(mdf4, table, &table->slots[i], &rows);
        records->used += (size_t)rows.count * table->record_bytes;
        table->rows += rows.count;
        if (records->used == records->room)
            mdf4_data_flush(&mdf4->file, records);
        status = mdf4->text.failed ? -ENOMEM : mdf4->file.status;
    }
    return status;
}

static int end_table(void *file, void *state, const struct export_origin *origin, char *error,
                     size_t error_bytes)
{
    struct mdf4 *mdf4 = file;
    struct mdf4_table *table = state;
    struct text *comment = &table->comment;
    int status = 0;
    (void)error;
    (void)error_bytes;
    if (!table->open && table->parts == 0) /* a table without rows has its channels all the same */
        status = begin_group(mdf4, table);
    if (status == 0 && table->open)
        status = end_group(mdf4, table);
    text_add(comment, "%" PRIu64 " rows of %" PRIu64 " files\n", origin->rows, origin->file_count);
    cell_add_name(comment, origin->files);
    if (origin->missing_files > 0)
        text_add(comment, "\n%" PRIu64 " files in between are not there", origin->missing_files);
    if (origin->missing_datums > 0)
        text_add(comment, "\n%" PRIu64 " numbers of the sequence are not there",
                 origin->missing_datums);
    if (origin->loss_count > 0) {
        text_add(comment, "\nlost at %" PRIu64 " places, %" PRIu64 " bytes:\n", origin->loss_count,
                 origin->lost_bytes);
        cell_add_name(comment, origin->losses);
    }
    if (origin->times_back > 0)
        text_add(comment, "\nthe time goes back at %" PRIu64 " rows", origin->times_back);
    return status < 0 || !comment->failed ? status : -ENOMEM;
}

/* ---- the end ---- */

static uint64_t write_history(struct mdf4_file *file)
{
    struct {
        uint64_t ns;
        int16_t zone, summer;
        uint8_t flags, zero[3];
    } block = {.ns = clock_realtime_ns()};
    uint64_t links[2] = {
        0, mdf4_xml(file, "<FHcomment><TX>exported</TX><tool_id>flotilla</tool_id>"
                          "<tool_vendor>Flotilla</tool_vendor><tool_version>" FLOTILLA_VERSION
                          "</tool_version></FHcomment>")};
    return mdf4_block(file, "FH", links, 2, &block, sizeof(block));
}

static int end(void *file, char *error, size_t error_bytes)
{
    struct mdf4 *mdf4 = file;
    uint64_t next = 0;
    const uint8_t group_block[8] = {0}; /* records have no number in front: one group each */
    (void)error;
    (void)error_bytes;
    for (size_t i = mdf4->group_count; i-- > 0;) {
        const struct group *group = &mdf4->groups[i];
        uint64_t links[4] = {next, group->channels, group->data,
                             mdf4_text(&mdf4->file, group->table->comment.at)};
        next = mdf4_block(&mdf4->file, "DG", links, 4, group_block, sizeof(group_block));
    }
    text_clear(&mdf4->text);
    cell_add_name(&mdf4->text, mdf4->options->command);
    uint64_t comment = mdf4_text(&mdf4->file, mdf4->text.failed ? NULL : mdf4->text.at);
    uint64_t history = write_history(&mdf4->file);
    int status = mdf4_file_end(&mdf4->file, next, history, comment, (uint64_t)mdf4->start_ns);
    release(mdf4);
    return status;
}

const struct export_format format_mdf4 = {
    .name = "mdf4",
    .extensions = ".mf4 .mdf",
    .summary = "asammdf, CANape, DIAdem, MATLAB: ASAM MDF 4.10",
    .gzip = true,
    .rows = EXPORT_VECTORS,
    .begin = begin,
    .begin_table = begin_table,
    .append = append,
    .end_table = end_table,
    .end = end,
    .abort = release,
};
