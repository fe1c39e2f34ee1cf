/* SPDX-License-Identifier: MIT
 * A name leads to a column, or through the items of one to a column of an item, and so on. */
#include "gateway/picks.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/history.h"
#include "base/check.h"
#include "control/json_text.h"
#include "schema/columns.h"
#include "schema/json.h"

#define STEPS_MAX        4u /* arrays in arrays */
#define INDEX_DIGITS_MAX 6u
#define TIME_NS_MAX      (INT64_C(1) << 62) /* what is beyond is no time (1824 to 2116) */

/* Column by column: of each but the last, the item. */
struct pick {
    const char *name;
    char path[COLUMN_PATH_BYTES_MAX]; /* the name without what stands in brackets */
    uint32_t indices[STEPS_MAX];      /* what stood there */
    uint32_t index_count;
    uint32_t columns[STEPS_MAX + 1];
    const struct column *column; /* the last */
};

struct picks {
    const struct schema_file *file;
    const struct columns *columns;
    struct column_value *values;
    struct pick *list;
    uint32_t count;
    uint64_t unit_ns; /* of the time; 0: there is none */
    uint32_t time;    /* its column */
};

/* ---- names ---- */

static bool read_index(const char **at, uint32_t *index)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits > INDEX_DIGITS_MAX || (*at)[digits] != ']')
        return false;
    *index = (uint32_t)strtoul(*at, NULL, 10);
    *at += digits + 1;
    return true;
}

/* Takes a name apart: "tracks[2].x" is "tracks[].x" and 2. */
static bool take_name(struct pick *pick, const char *name)
{
    size_t used = 0;
    pick->name = name;
    for (const char *at = name; *at != '\0';) {
        if (used + 3 > sizeof(pick->path))
            return false;
        pick->path[used++] = *at;
        if (*at++ != '[')
            continue;
        if (pick->index_count == STEPS_MAX || !read_index(&at, &pick->indices[pick->index_count++]))
            return false;
        pick->path[used++] = ']';
    }
    pick->path[used] = '\0';
    return used > 0;
}

/* Finds the columns that a name leads through. What is wrong with it, or NULL. */
static const char *find_column(struct pick *pick, const struct columns *columns)
{
    for (uint32_t step = 0;; step++) {
        const struct column *found = NULL;
        size_t bytes = 0;
        for (uint32_t i = 0; i < columns->count && found == NULL; i++) {
            const struct column *column = &columns->list[i];
            bytes = strlen(column->path);
            bool through = strncmp(pick->path, column->path, bytes) == 0 &&
                           strncmp(pick->path + bytes, "[]", 2) == 0;
            if (through && column->items == NULL)
                return "is no array";
            if (!through && strcmp(pick->path, column->path) != 0)
                continue;
            found = column;
            pick->columns[step] = i;
        }
        if (found == NULL)
            return "is no single value: name a field in it";
        if (found->items == NULL)
            pick->column = found;
        if (found->items == NULL)
            return step == pick->index_count ? NULL : "is no array";
        if (found->type->kind != LAYOUT_ARRAY)
            return "is a map, and has no single value";
        if (step == pick->index_count)
            return "is an array: NAME[0] is the first of its items";
        columns = found->items;
    }
}

static int find_columns(struct picks *picks, const char *time, char *error, size_t error_bytes)
{
    for (uint32_t i = 0; i < picks->count; i++) {
        const char *wrong = find_column(&picks->list[i], picks->columns);
        if (wrong != NULL) {
            snprintf(error, error_bytes, "\"%.200s\" %s", picks->list[i].name, wrong);
            return -EINVAL;
        }
    }
    for (uint32_t i = 0; i < picks->columns->count && time[0] != '\0'; i++)
        if (strcmp(picks->columns->list[i].path, time) == 0) {
            picks->time = i;
            picks->unit_ns = instant_unit_ns(picks->columns->list[i].type);
        }
    return 0;
}

int picks_open(struct picks **picks, const struct schema_file *file, const char *const *names,
               uint32_t count, const char *time, char *error, size_t error_bytes)
{
    struct picks *made = calloc(1, sizeof(*made));
    const char **paths = calloc(count + 1u, sizeof(*paths));
    int status = -ENOMEM;
    snprintf(error, error_bytes, "%s", strerror(ENOMEM));
    if (made == NULL || paths == NULL ||
        (made->list = calloc(count + 1u, sizeof(*made->list))) == NULL)
        goto out;
    made->file = file;
    made->count = count;
    for (uint32_t i = 0; i < count; i++) {
        paths[i] = made->list[i].path;
        if (take_name(&made->list[i], names[i]))
            continue;
        snprintf(error, error_bytes, "\"%.200s\" is no name of a field", names[i]);
        status = -EINVAL;
        goto out;
    }
    paths[count] = time;
    status =
        columns_select(file, paths, count + (time[0] != '\0'), &made->columns, error, error_bytes);
    if (status == 0)
        status = find_columns(made, time, error, error_bytes);
    if (status == 0)
        made->values = calloc(made->columns->value_room + 1u, sizeof(*made->values));
    if (status == 0 && made->values == NULL)
        status = -ENOMEM;
out:
    free(paths);
    if (status == 0)
        *picks = made;
    else
        picks_close(made);
    return status;
}

void picks_close(struct picks *picks)
{
    if (picks == NULL)
        return;
    columns_free(picks->columns);
    free(picks->values);
    free(picks->list);
    free(picks);
}

/* ---- values ---- */

bool picks_have_time(const struct picks *picks)
{
    return picks->unit_ns > 0;
}

/* The item's values, of the pick's array at that step; NULL: it has none of that number. They stand
 * behind those of the columns that it was found through. */
static struct column_value *find_item(const struct column *column, struct column_value *values,
                                      uint32_t at, uint32_t count, uint64_t index)
{
    struct column_value *item = values + count;
    if (!values[at].present || index >= values[at].item_count)
        return NULL;
    struct column_items items = column_items(column, &values[at]);
    for (uint64_t i = 0; i <= index; i++)
        if (!column_items_next(&items, item))
            return NULL;
    return item;
}

/* The columns and values that the pick's last one is in; NULL: there is no such item. */
static struct column_value *find_values(struct picks *picks, const struct pick *pick,
                                        const struct columns **columns)
{
    struct column_value *values = picks->values;
    *columns = picks->columns;
    for (uint32_t step = 0; step < pick->index_count && values != NULL; step++) {
        const struct column *column = &(*columns)->list[pick->columns[step]];
        values =
            find_item(column, values, pick->columns[step], (*columns)->count, pick->indices[step]);
        *columns = column->items;
    }
    return values;
}

static double number_of(const struct column *column, const struct column_value *value)
{
    if (!value->present)
        return NAN;
    switch (column->type->kind) {
    case LAYOUT_BOOLEAN:
    case LAYOUT_INT:
    case LAYOUT_LONG:
    case LAYOUT_ENUM:
        return (double)value->integer;
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        return value->real;
    default:
        return NAN;
    }
}

bool picks_read(struct picks *picks, struct span datum, double *values, int64_t *time_ns)
{
    size_t bytes;
    if (columns_read(picks->columns, datum, &bytes, picks->values) != REJECT_NONE)
        return false;
    if (picks->unit_ns > 0 && picks->values[picks->time].present) {
        int64_t time = picks->values[picks->time].integer, unit = (int64_t)picks->unit_ns;
        if (time <= TIME_NS_MAX / unit && time >= -TIME_NS_MAX / unit)
            *time_ns = time * unit;
    }
    for (uint32_t i = 0; i < picks->count; i++) {
        const struct pick *pick = &picks->list[i];
        const struct columns *columns;
        if (pick->index_count == 0) {
            values[i] = number_of(pick->column, &picks->values[pick->columns[0]]);
            continue;
        }
        const struct column_value *found = find_values(picks, pick, &columns);
        values[i] =
            found == NULL ? NAN : number_of(pick->column, &found[pick->columns[pick->index_count]]);
    }
    return true;
}

void picks_add_json(struct picks *picks, struct text *text)
{
    text_put_literal(text, "{");
    for (uint32_t i = 0; i < picks->count; i++) {
        const struct pick *pick = &picks->list[i];
        const struct columns *columns;
        if (i > 0)
            text_put_literal(text, ", ");
        json_add_string(text, (struct span){(const uint8_t *)pick->name, strlen(pick->name)});
        text_put_literal(text, ": ");
        struct column_value *values = find_values(picks, pick, &columns);
        if (values == NULL)
            text_put_literal(text, "null");
        else
            columns_write_value(columns, values, pick->columns[pick->index_count], text);
    }
    text_put_literal(text, "}");
    text_end(text);
}

/* ---- what they are ---- */

json_t *picks_describe(const struct picks *picks)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < picks->count; i++) {
        const struct column *column = picks->list[i].column;
        const struct schema *type = column->type;
        json_t *symbols = type->kind == LAYOUT_ENUM ? json_array() : json_null();
        for (uint32_t k = 0; type->kind == LAYOUT_ENUM && k < type->count; k++)
            json_array_append_new(symbols, json_of_text(type->symbols[k]));
        json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:o, s:o}", "name",
                                              json_of_text(picks->list[i].name), "type",
                                              schema_kind_name(type->kind), "unit",
                                              json_of_text(column->unit), "doc",
                                              json_of_text(column->doc), "symbols", symbols));
    }
    return list;
}

struct peaks_look {
    const struct picks *picks;
    const struct layout *layout;
    uint32_t kept; /* picks that decimation aggregates */
};

static void see_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    struct peaks_look *look = context;
    (void)type;
    if (layout_is_kept(look->layout, index))
        return;
    for (uint32_t i = 0; i < look->picks->count; i++)
        look->kept += strcmp(look->picks->list[i].path, path) == 0;
}

bool picks_keep_peaks(const struct picks *picks, const struct layout *layout)
{
    struct peaks_look look = {picks, layout, 0};
    schema_visit_leaves(picks->file, layout, see_leaf, &look);
    return look.kept == picks->count;
}
