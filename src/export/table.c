/* SPDX-License-Identifier: MIT
 * Files become tables. A file is put to the newest table of its channel that it fits. */
#include "export/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "export/columns.h"
#include "schema/report.h"

/* ---- the time ---- */

/* The field that says the time of a file's datums, and its unit. */
struct time_found {
    char path[COLUMN_PATH_BYTES_MAX]; /* "": none */
    uint64_t unit_ns;                 /* of an integer; 0: it is a real number */
    double real_unit_ns;
};

static uint64_t unit_of_logical(const struct schema *type)
{
    static const struct {
        const char *end;
        uint64_t ns;
    } units[] = {{"timestamp-millis", 1000000}, {"timestamp-micros", 1000}, {"timestamp-nanos", 1}};
    const char *name = type->logical;
    if (name == NULL || !type->logical_holds)
        return 0;
    if (strncmp(name, "local-", 6) == 0)
        name += 6;
    for (size_t i = 0; i < ARRAY_COUNT(units); i++)
        if (strcmp(units[i].end, name) == 0)
            return units[i].ns;
    return 0;
}

static uint64_t unit_of_text(const char *unit)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } units[] = {{"ns", 1},
                 {"us", 1000},
                 {"\u00b5s", 1000},
                 {"\u03bcs", 1000},
                 {"ms", 1000000},
                 {"s", 1000000000},
                 {"nanoseconds", 1},
                 {"microseconds", 1000},
                 {"milliseconds", 1000000},
                 {"seconds", 1000000000}};
    for (size_t i = 0; unit != NULL && i < ARRAY_COUNT(units); i++)
        if (strcmp(units[i].text, unit) == 0)
            return units[i].ns;
    return 0;
}

/* Takes the one column of `columns` for the time, if its unit is known. -EINVAL with a message if
 * it cannot be. */
static int take_time(struct time_found *found, const struct columns *columns,
                     const struct table_choice *choice, char *error, size_t error_bytes)
{
    const struct column *column = &columns->list[0];
    enum layout_kind kind = column->type->kind;
    bool real = kind == LAYOUT_FLOAT || kind == LAYOUT_DOUBLE;
    if (columns->count != 1 || (!real && kind != LAYOUT_INT && kind != LAYOUT_LONG)) {
        snprintf(error, error_bytes, "the time cannot be \"%s\": it is no number", column->path);
        report_clean(error);
        return -EINVAL;
    }
    uint64_t unit_ns = unit_of_logical(column->type);
    if (unit_ns == 0)
        unit_ns = unit_of_text(column->unit);
    if (unit_ns == 0)
        unit_ns = choice->time_unit_ns != 0 ? choice->time_unit_ns : real ? 1000000000 : 0;
    if (unit_ns == 0) {
        snprintf(error, error_bytes,
                 "the schema does not say in which unit \"%s\" counts the time: --time-unit does",
                 column->path);
        report_clean(error);
        return -EINVAL;
    }
    snprintf(found->path, sizeof(found->path), "%s", column->path);
    found->unit_ns = real ? 0 : unit_ns;
    found->real_unit_ns = (double)unit_ns;
    return 0;
}

/* The first field of the datum itself that is an instant. */
static const char *first_instant(const struct schema *root)
{
    for (uint32_t i = 0; root->kind == LAYOUT_RECORD && i < root->count; i++)
        if (unit_of_logical(root->fields[i].type) != 0)
            return root->fields[i].name;
    return NULL;
}

/* 0, also where there is none, or one that cannot be, of which `error` tells; -EINVAL with a
 * message where it is the user who names that. */
static int find_time(struct time_found *found, const struct table_choice *choice,
                     const struct scan *scan, char *error, size_t error_bytes)
{
    char named[COLUMN_PATH_BYTES_MAX], why[256];
    struct span header = scan_header(scan)->time;
    const struct columns *columns = NULL;
    *found = (struct time_found){0};
    error[0] = '\0';
    const char *path = choice->time;
    if (path != NULL && strcmp(path, "arrival") == 0)
        return 0;
    if (path == NULL && header.bytes > 0 && header.bytes < sizeof(named)) {
        memcpy(named, header.at, header.bytes);
        named[header.bytes] = '\0';
        path = named;
    }
    if (path == NULL)
        path = first_instant(schema_root(scan_schema(scan)));
    if (path == NULL)
        return 0;
    int status = columns_select(scan_schema(scan), &path, 1, &columns, why, sizeof(why));
    if (status == 0)
        status = take_time(found, columns, choice, why, sizeof(why));
    columns_free(columns);
    if (status == -ENOMEM || status == 0)
        return status;
    snprintf(error, error_bytes, "%s", why);
    return choice->time != NULL ? -EINVAL : 0;
}

/* ---- names ---- */

/* What a file's datums are known by: its channel and folder; of a file of another's, the file. */
static char *key_of(const struct catalog_file *file)
{
    struct text key = {0};
    const char *slash = strrchr(file->path, '/');
    if (file->named) {
        text_add_bytes(&key, file->path, slash == NULL ? 0 : (size_t)(slash - file->path) + 1);
        text_add(&key, "%s/%d", file->name.channel, (int)file->name.lane);
    } else {
        text_add_string(&key, file->path);
    }
    return text_take(&key);
}

bool table_same_channel(const struct catalog_file *a, const struct catalog_file *b)
{
    const char *slash_a = strrchr(a->path, '/'), *slash_b = strrchr(b->path, '/');
    size_t folder_a = slash_a == NULL ? 0 : (size_t)(slash_a - a->path);
    size_t folder_b = slash_b == NULL ? 0 : (size_t)(slash_b - b->path);
    if (!a->named || !b->named)
        return strcmp(a->path, b->path) == 0;
    return folder_a == folder_b && memcmp(a->path, b->path, folder_a) == 0 &&
           a->name.lane == b->name.lane && strcmp(a->name.channel, b->name.channel) == 0;
}

static bool name_is_taken(const struct tables *tables, const char *name)
{
    for (size_t i = 0; i < tables->count; i++)
        if (strcmp(tables->list[i]->name, name) == 0)
            return true;
    return false;
}

/* The channel's name, or that of the file; with a number where another table has it already. */
static char *name_table(const struct tables *tables, const struct catalog_file *file)
{
    struct text name = {0};
    const char *slash = strrchr(file->path, '/');
    const char *stem = file->named ? file->name.channel : slash != NULL ? slash + 1 : file->path;
    const char *dot = file->named ? NULL : strrchr(stem, '.');
    size_t bytes = dot != NULL && dot > stem ? (size_t)(dot - stem) : strlen(stem);
    for (unsigned number = 1; number == 1 || name_is_taken(tables, name.at); number++) {
        text_clear(&name);
        text_add_bytes(&name, stem, bytes);
        if (number > 1)
            text_add(&name, "_%u", number);
        if (name.failed)
            break;
    }
    return text_take(&name);
}

/* ---- fields ---- */

/* The fields that are wanted and that a schema has; with `room` for two more. `*list` is from
 * malloc. 0, -ENOENT if there are none, or -ENOMEM. */
static int list_fields(const struct table_choice *choice, const struct schema_file *schema,
                       const char ***list, size_t *count)
{
    const struct columns *columns = NULL;
    *list = calloc(choice->field_count + 2, sizeof(char *));
    *count = 0;
    if (*list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < choice->field_count; i++) {
        struct table_wanted *wanted = &choice->wanted[i];
        char why[sizeof(wanted->why)] = "";
        int status = columns_select(schema, &choice->fields[i], 1, &columns, why, sizeof(why));
        /* Of the files without it, one that has something like it. */
        if (wanted->why[0] == '\0' || strstr(wanted->why, "did you mean") == NULL)
            memcpy(wanted->why, why, sizeof(why));
        columns_free(columns);
        columns = NULL;
        if (status == -ENOMEM)
            return status;
        if (status < 0)
            continue;
        wanted->found = true;
        (*list)[(*count)++] = choice->fields[i];
    }
    return choice->field_count > 0 && *count == 0 ? -ENOENT : 0;
}

/* ---- tables ---- */

static void free_table(struct table *table)
{
    if (table == NULL)
        return;
    export_columns_free(&table->of_format.columns);
    for (size_t i = 0; i < table->schema_count; i++)
        schema_free(table->schemas[i]);
    free(table->schemas);
    free((void *)(uintptr_t)table->time_path);
    free((void *)(uintptr_t)table->of_format.channel);
    free((void *)(uintptr_t)table->of_format.sequence_path);
    text_free(&table->files);
    text_free(&table->losses);
    free(table->name);
    free(table->key);
    free(table);
}

void tables_free(struct tables *tables)
{
    for (size_t i = 0; i < tables->count; i++)
        free_table(tables->list[i]);
    free(tables->list);
    *tables = (struct tables){.choice = tables->choice};
}

/* The channel's sequence, if the file names one that is there. */
static void find_sequence(char *path, size_t path_bytes, const struct scan *scan)
{
    char why[256];
    const struct columns *columns = NULL;
    struct span name = scan_header(scan)->sequence;
    path[0] = '\0';
    if (name.bytes == 0 || name.bytes >= path_bytes)
        return;
    memcpy(path, name.at, name.bytes);
    path[name.bytes] = '\0';
    const char *field = path;
    if (columns_select(scan_schema(scan), &field, 1, &columns, why, sizeof(why)) < 0 ||
        columns->count != 1 ||
        (columns->list[0].type->kind != LAYOUT_INT && columns->list[0].type->kind != LAYOUT_LONG))
        path[0] = '\0';
    columns_free(columns);
}

/* What a file would make of a table of its own. */
struct candidate {
    struct schema_file *schema; /* its own copy */
    struct export_columns columns;
    struct time_found time;
    bool has_arrival;
    char sequence[COLUMN_PATH_BYTES_MAX]; /* "": none */
    char *key;
};

static void free_candidate(struct candidate *candidate)
{
    export_columns_free(&candidate->columns);
    schema_free(candidate->schema);
    free(candidate->key);
}

static int make_candidate(struct candidate *made, const struct tables *tables,
                          const struct catalog_file *file, const struct scan *scan, char *error,
                          size_t error_bytes)
{
    const struct table_choice *choice = &tables->choice;
    const struct columns *columns = NULL;
    *made = (struct candidate){.has_arrival = scan_header(scan)->ours, .key = key_of(file)};
    int status = find_time(&made->time, choice, scan, error, error_bytes);
    if (status < 0)
        return status;
    find_sequence(made->sequence, sizeof(made->sequence), scan);
    const char **fields = NULL;
    size_t count;
    char note[512] = "";
    made->schema = schema_parse(schema_text(scan_schema(scan)), note, sizeof(note));
    if (made->schema == NULL)
        return -ENOMEM; /* it was parsed before */
    status = list_fields(choice, made->schema, &fields, &count);
    if (status == 0)
        status = columns_select(made->schema, fields, count, &columns, note, sizeof(note));
    free(fields);
    if (status == 0)
        status = export_columns_make(&made->columns, columns);
    columns_free(columns);
    if (status < 0)
        snprintf(error, error_bytes, "%s", note);
    return status == 0 && made->key == NULL ? -ENOMEM : status;
}

static enum export_time time_kind(const struct candidate *candidate)
{
    return candidate->time.path[0] != '\0' ? EXPORT_TIME_FIELD
           : candidate->has_arrival        ? EXPORT_TIME_ARRIVAL
                                           : EXPORT_TIME_NONE;
}

/* One that is ended takes no more: of a file that is joined behind another, the survey saw only the
 * first part. */
static bool fits(const struct table *table, struct candidate *candidate, enum export_rows rows,
                 bool may_grow)
{
    char difference[64];
    const char *path = table->time_path != NULL ? table->time_path : "";
    if (table->ended)
        return false;
    if (strcmp(table->key, candidate->key) != 0 || table->of_format.time != time_kind(candidate) ||
        strcmp(path, candidate->time.path) != 0)
        return false;
    if (rows == EXPORT_DATUMS)
        return schema_compare(table->of_format.schema, candidate->schema, difference,
                              sizeof(difference)) == 0;
    return export_columns_fit(&table->of_format.columns, &candidate->columns,
                              may_grow && !table->begun);
}

/* The candidate's schema is the table's from here on: its columns point into it. */
static int keep_schema(struct table *table, struct candidate *candidate)
{
    void *grown = room_grow(table->schemas, &table->schema_room, table->schema_count + 1,
                            sizeof(struct schema_file *));
    if (grown == NULL)
        return -ENOMEM;
    table->schemas = grown;
    table->schemas[table->schema_count++] = candidate->schema;
    candidate->schema = NULL;
    return 0;
}

static int widen(struct table *table, struct candidate *candidate)
{
    if (export_columns_fit(&table->of_format.columns, &candidate->columns, false))
        return 0;
    int status = keep_schema(table, candidate);
    return status < 0 ? status
                      : export_columns_widen(&table->of_format.columns, &candidate->columns);
}

static int add_table(struct tables *tables, const struct catalog_file *file,
                     struct candidate *candidate, struct table **added)
{
    struct table *table = calloc(1, sizeof(*table));
    void *grown = room_grow(tables->list, &tables->room, tables->count + 1, sizeof(struct table *));
    if (grown != NULL)
        tables->list = grown;
    if (table == NULL || grown == NULL || keep_schema(table, candidate) < 0) {
        free_table(table);
        return -ENOMEM;
    }
    struct export_table *of_format = &table->of_format;
    table->key = candidate->key;
    candidate->key = NULL;
    table->name = name_table(tables, file);
    of_format->name = table->name;
    of_format->channel = text_copy(file->named ? file->name.channel : "");
    of_format->columns = candidate->columns;
    candidate->columns = (struct export_columns){0};
    of_format->time = time_kind(candidate);
    of_format->schema = tables->choice.rows == EXPORT_DATUMS ? table->schemas[0] : NULL;
    if (of_format->time == EXPORT_TIME_FIELD)
        table->time_path = text_copy(candidate->time.path);
    of_format->time_path = table->time_path;
    if (candidate->sequence[0] != '\0')
        of_format->sequence_path = text_copy(candidate->sequence);
    if (table->name == NULL || of_format->channel == NULL ||
        (of_format->time == EXPORT_TIME_FIELD && table->time_path == NULL)) {
        free_table(table);
        return -ENOMEM;
    }
    table->time_integer = candidate->time.unit_ns != 0;
    tables->list[tables->count++] = table;
    *added = table;
    return 0;
}

int tables_take(struct tables *tables, const struct catalog_file *file, const struct scan *scan,
                bool may_grow, struct table **taken, char *error, size_t error_bytes)
{
    struct candidate candidate;
    int status = make_candidate(&candidate, tables, file, scan, error, error_bytes);
    struct table *table = NULL;
    for (size_t i = tables->count; status == 0 && table == NULL && i-- > 0;)
        if (fits(tables->list[i], &candidate, tables->choice.rows, may_grow))
            table = tables->list[i];
    if (status == 0)
        status = table == NULL ? add_table(tables, file, &candidate, &table)
                 : may_grow && !table->begun && tables->choice.rows == EXPORT_VECTORS
                     ? widen(table, &candidate)
                     : 0;
    free_candidate(&candidate);
    *taken = table;
    return status;
}

void table_settle(struct table *table)
{
    struct export_table *of_format = &table->of_format;
    of_format->time_column = EXPORT_COLUMN_NONE;
    if (of_format->time == EXPORT_TIME_FIELD)
        of_format->time_column = export_columns_find(&of_format->columns, table->time_path, 0);
    bool there = of_format->time_column != EXPORT_COLUMN_NONE;
    of_format->time_exact =
        there && table->time_integer && !of_format->columns.list[of_format->time_column].nullable;
    uint32_t row_bytes = export_columns_row_bytes(&of_format->columns) + 8;
    uint32_t rows = TABLE_BATCH_BYTES / row_bytes;
    of_format->rows_max = rows < 1                       ? 1
                          : rows > EXPORT_BATCH_ROWS_MAX ? EXPORT_BATCH_ROWS_MAX
                                                         : rows;
    table->begun = true;
}

/* ---- a file's datums into its table ---- */

static void free_maps(struct table_map *maps, const struct columns *columns)
{
    for (uint32_t i = 0; maps != NULL && i < columns->count; i++)
        if (maps[i].items != NULL)
            free_maps(maps[i].items, columns->list[i].items);
    free(maps);
}

/* `is_map`: keys are column 0 of the table's. NULL without memory. */
static struct table_map *make_maps(const struct columns *columns, const struct export_columns *to)
{
    struct table_map *maps = calloc((size_t)columns->count + 1, sizeof(*maps));
    uint32_t at = 0;
    for (uint32_t i = 0; maps != NULL && i < columns->count; i++) {
        const struct column *column = &columns->list[i];
        maps[i].to = export_columns_find(to, column->path, at);
        if (maps[i].to == EXPORT_COLUMN_NONE)
            continue;
        at = maps[i].to + 1;
        if (column->items == NULL)
            continue;
        maps[i].items = make_maps(column->items, to->list[maps[i].to].items);
        if (maps[i].items == NULL) {
            free_maps(maps, columns);
            return NULL;
        }
    }
    return maps;
}

static uint32_t find_column(const struct columns *columns, const char *path)
{
    for (uint32_t i = 0; path[0] != '\0' && i < columns->count; i++)
        if (strcmp(columns->list[i].path, path) == 0)
            return i;
    return EXPORT_COLUMN_NONE;
}

/* The columns that are wanted, and those of the time and the sequence; of datums that go out as
 * they are, these alone. */
static int select_columns(struct table_reading *reading, const struct table_choice *choice,
                          const char *time, const char *sequence, char *error, size_t error_bytes)
{
    bool some = choice->field_count > 0 || choice->rows == EXPORT_DATUMS;
    const char **fields;
    size_t count;
    int status = list_fields(choice, reading->schema, &fields, &count);
    if (choice->rows == EXPORT_DATUMS)
        count = 0;
    if (status == 0 && some && time[0] != '\0')
        fields[count++] = time;
    if (status == 0 && some && sequence[0] != '\0')
        fields[count++] = sequence;
    if (status == 0 && (!some || count > 0))
        status =
            columns_select(reading->schema, fields, count, &reading->columns, error, error_bytes);
    free(fields);
    return status;
}

int table_reading_begin(struct table_reading *reading, const struct tables *tables,
                        const struct table *table, const struct scan *scan, char *error,
                        size_t error_bytes)
{
    struct time_found time;
    *reading = (struct table_reading){0};
    int status = find_time(&time, &tables->choice, scan, error, error_bytes);
    char *sequence = reading->sequence_path;
    find_sequence(sequence, sizeof(reading->sequence_path), scan);
    if (status == 0) {
        reading->schema = schema_parse(schema_text(scan_schema(scan)), error, error_bytes);
        if (reading->schema == NULL)
            return -ENOMEM; /* it was parsed before */
        status = select_columns(reading, &tables->choice, time.path, sequence, error, error_bytes);
    }
    reading->time = reading->sequence = EXPORT_COLUMN_NONE;
    if (status < 0 || reading->columns == NULL)
        return status;
    reading->values = calloc(reading->columns->value_room + 1u, sizeof(struct column_value));
    reading->maps = make_maps(reading->columns, &table->of_format.columns);
    reading->time = find_column(reading->columns, time.path);
    reading->unit_ns = time.unit_ns;
    reading->real_unit_ns = time.real_unit_ns;
    reading->sequence = find_column(reading->columns, sequence);
    return reading->values == NULL || reading->maps == NULL ? -ENOMEM : 0;
}

void table_reading_free(struct table_reading *reading)
{
    if (reading->columns != NULL)
        free_maps(reading->maps, reading->columns);
    columns_free(reading->columns);
    schema_free(reading->schema);
    free(reading->values);
    *reading = (struct table_reading){0};
}
