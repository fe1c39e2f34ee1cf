/* SPDX-License-Identifier: MIT
 * A schema's columns for people, as a table, and for machines. Relies on schema/columns. */
#include "cli/columns.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "schema/report.h"

/* What of a column is no row of its own: an array is shown by its items. */
static bool is_row(const struct column *column)
{
    return column->items == NULL;
}

#define CELLS      3
#define CELL_BYTES 256u

/* Path, type and unit, as they are shown. */
static void column_cells(const struct column *column, char cells[CELLS][CELL_BYTES])
{
    const struct schema *type = column->type;
    const char *logical = type->logical_holds ? type->logical : NULL;
    char *kind = cells[1];
    snprintf(cells[0], CELL_BYTES, "%s", column->path[0] != '\0' ? column->path : "-");
    if (type->precision > 0)
        snprintf(kind, CELL_BYTES, "decimal(%" PRIu32 ",%" PRIu32 ")", type->precision,
                 type->scale);
    else if (type->kind == LAYOUT_FIXED)
        snprintf(kind, CELL_BYTES, "fixed(%" PRIu32 ")%s%s", type->count, logical ? " " : "",
                 logical ? logical : "");
    else
        snprintf(kind, CELL_BYTES, "%s%s%s", schema_kind_name(type->kind), logical ? " " : "",
                 logical ? logical : "");
    if (column->nullable)
        snprintf(kind + strlen(kind), CELL_BYTES - strlen(kind), "?");
    snprintf(cells[2], CELL_BYTES, "%s", column->unit != NULL ? column->unit : "");
    report_clean(cells[0]);
    report_clean(cells[2]);
}

/* In characters: units are not all ASCII. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

static void widen_for_rows(const struct columns *columns, int widths[CELLS])
{
    char cells[CELLS][CELL_BYTES];
    for (uint32_t i = 0; i < columns->count; i++) {
        if (!is_row(&columns->list[i])) {
            widen_for_rows(columns->list[i].items, widths);
            continue;
        }
        column_cells(&columns->list[i], cells);
        for (int k = 0; k < CELLS; k++)
            if (width_of(cells[k]) > widths[k])
                widths[k] = width_of(cells[k]);
    }
}

/* The last cell is a line of `doc`; without one nothing stands behind what there is. */
static void print_row(char cells[CELLS][CELL_BYTES], const char *doc, const int widths[CELLS])
{
    char line[CELL_BYTES];
    int last = CELLS - 1;
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(doc, "\n"), doc);
    report_clean(line);
    while (line[0] == '\0' && cells[last][0] == '\0')
        last--;
    printf(" ");
    for (int k = 0; k <= last; k++)
        printf(" %s%*s", cells[k],
               k < last || line[0] != '\0' ? widths[k] - width_of(cells[k]) + 1 : 0, "");
    printf("%s%s\n", line[0] != '\0' ? " " : "", line);
}

static void print_rows(const struct columns *columns, const int widths[CELLS])
{
    char cells[CELLS][CELL_BYTES];
    for (uint32_t i = 0; i < columns->count; i++) {
        const struct column *column = &columns->list[i];
        if (!is_row(column)) {
            print_rows(column->items, widths);
            continue;
        }
        column_cells(column, cells);
        print_row(cells, column->doc != NULL ? column->doc : "", widths);
    }
}

void columns_print(const struct columns *columns)
{
    char heading[CELLS][CELL_BYTES] = {"COLUMN", "TYPE", "UNIT"};
    int widths[CELLS] = {6, 4, 4};
    widen_for_rows(columns, widths);
    printf("\n");
    print_row(heading, "DOC", widths);
    print_rows(columns, widths);
    for (uint32_t i = 0; i < columns->recursive_count; i++)
        printf("  %s leads back into a type that contains it: no column\n", columns->recursive[i]);
}

static json_t *column_json(const struct column *column)
{
    const struct schema *type = column->type;
    json_t *one = json_pack("{s:s, s:s, s:s?, s:b, s:s?, s:s?}", "column", column->path, "type",
                            schema_kind_name(type->kind), "logical",
                            type->logical_holds ? type->logical : NULL, "nullable",
                            column->nullable, "unit", column->unit, "doc", column->doc);
    if (type->kind == LAYOUT_FIXED)
        json_object_set_new(one, "size", json_integer(type->count));
    if (type->precision > 0) {
        json_object_set_new(one, "precision", json_integer(type->precision));
        json_object_set_new(one, "scale", json_integer(type->scale));
    }
    if (type->kind == LAYOUT_ENUM) {
        json_t *symbols = json_array();
        for (uint32_t i = 0; i < type->count; i++)
            json_array_append_new(symbols, json_string(type->symbols[i]));
        json_object_set_new(one, "symbols", symbols);
    }
    return one;
}

static void list_columns(json_t *list, const struct columns *columns)
{
    for (uint32_t i = 0; i < columns->count; i++) {
        const struct column *column = &columns->list[i];
        json_array_append_new(list, column_json(column));
        if (column->items != NULL)
            list_columns(list, column->items);
    }
}

void columns_add_json(const struct columns *columns, json_t *object)
{
    json_t *list = columns == NULL ? json_null() : json_array();
    json_t *recursive = columns == NULL ? json_null() : json_array();
    if (columns != NULL)
        list_columns(list, columns);
    for (uint32_t i = 0; columns != NULL && i < columns->recursive_count; i++)
        json_array_append_new(recursive, json_string(columns->recursive[i]));
    json_object_set_new(object, "columns", list);
    json_object_set_new(object, "recursive", recursive);
}
