/* SPDX-License-Identifier: MIT
 * Columns of several schemas become those of one table. Relies on paths being the same where the
 * same is meant. */
#include "export/columns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static const struct {
    uint8_t kind, width;
} kinds[] = {
    [LAYOUT_NULL] = {EXPORT_NULL, 0},   [LAYOUT_BOOLEAN] = {EXPORT_BOOLEAN, 1},
    [LAYOUT_INT] = {EXPORT_INT, 4},     [LAYOUT_LONG] = {EXPORT_LONG, 8},
    [LAYOUT_FLOAT] = {EXPORT_FLOAT, 4}, [LAYOUT_DOUBLE] = {EXPORT_DOUBLE, 8},
    [LAYOUT_BYTES] = {EXPORT_BYTES, 0}, [LAYOUT_STRING] = {EXPORT_STRING, 0},
    [LAYOUT_FIXED] = {EXPORT_FIXED, 0}, [LAYOUT_ENUM] = {EXPORT_ENUM, 4},
    [LAYOUT_UNION] = {EXPORT_NULL, 0},  [LAYOUT_RECORD] = {EXPORT_NULL, 0},
    [LAYOUT_ARRAY] = {EXPORT_ARRAY, 0}, [LAYOUT_MAP] = {EXPORT_MAP, 0},
};

/* What is const to formats is ours to change. */
static struct export_column *list_of(const struct export_columns *columns)
{
    return (struct export_column *)(uintptr_t)columns->list;
}

static struct export_columns *items_of(const struct export_column *column)
{
    return (struct export_columns *)(uintptr_t)column->items;
}

static void free_column(struct export_column *column)
{
    for (uint32_t i = 0; i < column->name_count; i++)
        free((void *)(uintptr_t)column->names[i]);
    free((void *)(uintptr_t)column->names);
    free((void *)(uintptr_t)column->path);
    if (column->items != NULL)
        export_columns_free(items_of(column));
    free((void *)(uintptr_t)column->items);
}

void export_columns_free(struct export_columns *columns)
{
    for (uint32_t i = 0; i < columns->count; i++)
        free_column(&list_of(columns)[i]);
    free(list_of(columns));
    *columns = (struct export_columns){0};
}

/* ---- of one schema ---- */

/* A column gets its names, which are copied. False without memory. */
static bool name_column(struct export_column *column, const char *const *names, uint32_t count)
{
    const char **copies = calloc(count + 1u, sizeof(char *));
    column->names = copies;
    for (uint32_t i = 0; copies != NULL && i < count; i++) {
        copies[i] = text_copy(names[i]);
        if (copies[i] == NULL)
            return false;
        column->name_count++;
    }
    return copies != NULL;
}

/* Names the columns at and below `place`, the first of all being `list`, with the `depth` names on
 * the way to it in `names`. */
static bool name_below(struct export_column *list, const struct columns *from, uint32_t place,
                       const char **names, uint32_t depth)
{
    const struct column_place *at = &from->places[place];
    if (at->next == place + 1)
        return at->first == at->end || name_column(&list[at->first], names, depth);
    for (uint32_t child = place + 1; child < at->next; child = from->places[child].next) {
        names[depth] = from->places[child].name;
        if (!name_below(list, from, child, names, depth + 1))
            return false;
    }
    return true;
}

static bool make_keys(struct export_columns *made)
{
    struct export_column *key = list_of(made);
    const char **names = calloc(1, sizeof(char *));
    made->count = 1;
    *key = (struct export_column){.path = text_copy("key"), .names = names, .kind = EXPORT_STRING};
    if (names == NULL || key->path == NULL || (names[0] = text_copy("key")) == NULL)
        return false;
    key->name_count = 1;
    return true;
}

/* As export_columns_make; the items of a map have a key in front. */
static int make(struct export_columns *made, const struct columns *from, bool is_map)
{
    made->list = calloc((size_t)from->count + 1, sizeof(struct export_column));
    if (made->list == NULL || (is_map && !make_keys(made)))
        return -ENOMEM;
    for (uint32_t i = 0; i < from->count; i++) {
        const struct column *source = &from->list[i];
        struct export_column *column = &list_of(made)[made->count++];
        *column = (struct export_column){
            .path = text_copy(source->path),
            .kind = kinds[source->type->kind].kind,
            .width = source->type->kind == LAYOUT_FIXED ? source->type->count
                                                        : kinds[source->type->kind].width,
            .type = source->type,
            .nullable = source->nullable,
            .unit = source->unit,
            .doc = source->doc,
        };
        if (column->path == NULL)
            return -ENOMEM;
        if (source->items == NULL)
            continue;
        struct export_columns *items = calloc(1, sizeof(*items));
        column->items = items;
        if (items == NULL || make(items, source->items, column->kind == EXPORT_MAP) < 0)
            return -ENOMEM;
    }
    const char *names[LAYOUT_DEPTH_MAX + 2];
    return from->place_count == 0 || name_below(list_of(made) + is_map, from, 0, names, 0)
               ? 0
               : -ENOMEM;
}

int export_columns_make(struct export_columns *made, const struct columns *from)
{
    return make(made, from, false);
}

/* ---- of several ---- */

uint32_t export_columns_find(const struct export_columns *columns, const char *path, uint32_t near)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        uint32_t at = (near + i) % columns->count;
        if (strcmp(columns->list[at].path, path) == 0)
            return at;
    }
    return EXPORT_COLUMN_NONE;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Whether the symbols of the one are those of the other, as far as both go. */
static bool enums_fit(const struct schema *a, const struct schema *b)
{
    uint32_t count = a->count < b->count ? a->count : b->count;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(a->symbols[i], b->symbols[i]) != 0)
            return false;
    return true;
}

/* Whether `other` has values that `column` has no room for, though they are of its sort. */
static bool is_wider(const struct export_column *other, const struct export_column *column)
{
    if (column->kind == EXPORT_ENUM)
        return other->type->count > column->type->count;
    return other->kind != column->kind &&
           (other->kind == EXPORT_LONG || other->kind == EXPORT_DOUBLE);
}

static bool kinds_fit(const struct export_column *a, const struct export_column *b)
{
    bool integers = (a->kind == EXPORT_INT || a->kind == EXPORT_LONG) &&
                    (b->kind == EXPORT_INT || b->kind == EXPORT_LONG);
    bool reals = (a->kind == EXPORT_FLOAT || a->kind == EXPORT_DOUBLE) &&
                 (b->kind == EXPORT_FLOAT || b->kind == EXPORT_DOUBLE);
    return a->kind == b->kind || integers || reals;
}

static bool column_fits(const struct export_column *column, const struct export_column *other,
                        bool widened)
{
    const struct schema *a = column->type, *b = other->type;
    if (!kinds_fit(column, other) || !same_text(column->unit, other->unit))
        return false;
    if (!widened && ((other->nullable && !column->nullable) || is_wider(other, column)))
        return false;
    if (a == NULL || b == NULL) /* a map's keys */
        return a == b;
    if (!same_text(a->logical_holds ? a->logical : NULL, b->logical_holds ? b->logical : NULL) ||
        a->precision != b->precision || a->scale != b->scale)
        return false;
    if (column->kind == EXPORT_FIXED && column->width != other->width)
        return false;
    if (column->kind == EXPORT_ENUM && !enums_fit(a, b))
        return false;
    return column->items == NULL || export_columns_fit(column->items, other->items, widened);
}

bool export_columns_fit(const struct export_columns *columns, const struct export_columns *other,
                        bool widened)
{
    uint32_t at = 0, found = 0;
    for (uint32_t i = 0; i < other->count; i++) {
        at = export_columns_find(columns, other->list[i].path, at);
        if (at == EXPORT_COLUMN_NONE && !widened)
            return false;
        if (at == EXPORT_COLUMN_NONE) {
            at = 0;
            continue;
        }
        if (!column_fits(&columns->list[at], &other->list[i], widened))
            return false;
        found++;
        at++;
    }
    if (widened || found == columns->count)
        return true;
    for (uint32_t i = 0; i < columns->count; i++)
        if (!columns->list[i].nullable &&
            export_columns_find(other, columns->list[i].path, i) == EXPORT_COLUMN_NONE)
            return false;
    return true;
}

static int widen_column(struct export_column *column, struct export_column *other)
{
    if (is_wider(other, column)) {
        column->kind = other->kind;
        column->width = other->width;
        column->type = other->type;
    }
    column->nullable |= other->nullable;
    return column->items == NULL ? 0 : export_columns_widen(items_of(column), items_of(other));
}

/* Takes a column of `other` over, as the one at `at`. */
static int insert(struct export_columns *columns, uint32_t at, struct export_column *other)
{
    struct export_column *list =
        realloc(list_of(columns), ((size_t)columns->count + 1) * sizeof(*list));
    if (list == NULL)
        return -ENOMEM;
    memmove(&list[at + 1], &list[at], (columns->count - at) * sizeof(*list));
    list[at] = *other;
    list[at].nullable = true;
    columns->list = list;
    columns->count++;
    /* What it was is a column that nothing belongs to. */
    *other = (struct export_column){.path = text_copy(list[at].path)};
    return other->path == NULL ? -ENOMEM : 0;
}

int export_columns_widen(struct export_columns *columns, struct export_columns *other)
{
    uint32_t near = 0;
    for (uint32_t i = 0; i < columns->count; i++)
        if (export_columns_find(other, columns->list[i].path, i) == EXPORT_COLUMN_NONE)
            list_of(columns)[i].nullable = true;
    for (uint32_t i = 0; i < other->count; i++) {
        uint32_t at = export_columns_find(columns, other->list[i].path, near);
        int status = at == EXPORT_COLUMN_NONE
                         ? insert(columns, near, &list_of(other)[i])
                         : widen_column(&list_of(columns)[at], &list_of(other)[i]);
        if (status < 0)
            return status;
        near = (at == EXPORT_COLUMN_NONE ? near : at) + 1;
    }
    return 0;
}

uint32_t export_columns_row_bytes(const struct export_columns *columns)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < columns->count; i++) {
        const struct export_column *column = &columns->list[i];
        bool varies = column->width == 0 && column->kind != EXPORT_NULL;
        uint32_t more = (varies ? 16 : column->width) + column->nullable;
        bytes = more > UINT32_MAX - bytes ? UINT32_MAX : bytes + more;
    }
    return bytes;
}
