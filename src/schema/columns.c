/* SPDX-License-Identifier: MIT
 * Makes columns and the plan to read them from a schema's tree. The tree is gone down along paths,
 * as deep as a datum may nest, so that a type used twice has its columns twice; a type that is open
 * already is left out there. What no wanted path leads to is one step of the plan.
 * Known limit: columns are told apart by their paths, so branches that are named alike but for
 * their namespace are so by their full names only. */
#include "schema/columns.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "schema/columns_plan.h"
#include "schema/report.h"

#define COLUMNS_PLACES_MAX (1u << 20) /* gone through, so that no short schema takes for ever */

/* What is made for a datum or for an item. */
struct table {
    struct columns *columns; /* its lists are those below once it is finished */
    struct columns_plan *plan;
    struct column *list;
    struct column_place *places;
    struct columns_step *steps;
    uint32_t *targets;
    uint32_t count, place_count, step_count, target_count;
    uint32_t barrier; /* steps before it are followed by jumps and grow no more */
};

/* What is known of a type from what it stands in. */
struct about {
    const char *unit, *doc;
    bool unit_is_far; /* of a record around, not of the field itself */
    bool nullable;
    const char *name; /* of its place */
};

struct builder {
    const char *const *fields;
    size_t field_count;
    bool *found; /* by field */
    const uint64_t *fixed_bytes;
    const struct schema *open[LAYOUT_DEPTH_MAX];
    uint32_t open_count, places_left, columns_left;
    char path[COLUMN_PATH_BYTES_MAX];
    size_t path_bytes;
    const char **recursive;
    uint32_t recursive_count;
    const char *meant;   /* a field that is not there; then what is near to it is looked for */
    const char *nearest; /* NULL, or */
    char nearest_text[64];
    char *error;
    size_t error_bytes;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct builder *builder, int status,
                                                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(builder->error, builder->error_bytes, format, arguments);
    va_end(arguments);
    report_clean(builder->error);
    return status;
}

static int refuse_memory(struct builder *builder)
{
    return refuse(builder, -ENOMEM, "%s", strerror(ENOMEM));
}

/* Room for one more in `*list`, which has `count` of `bytes` each; it doubles at powers of two. */
static bool grow(void *list, uint32_t count, size_t bytes)
{
    void *at;
    if (count > 0 && (count & (count - 1)) != 0)
        return true;
    memcpy(&at, list, sizeof(at));
    at = realloc(at, (count > 0 ? 2 * (size_t)count : 1) * bytes);
    if (at != NULL)
        memcpy(list, &at, sizeof(at));
    return at != NULL;
}

/* ---- paths ---- */

enum relation { APART, ABOVE, WITHIN };

static const char *past_brackets(const char *at)
{
    while (at[0] == '[' && at[1] == ']')
        at += 2;
    return at;
}

/* How `path` stands to the wanted `field`: on the way to it, or it or below it. Brackets do not
 * count. */
static enum relation relate(const char *path, const char *field)
{
    bool empty = *past_brackets(path) == '\0';
    if (*past_brackets(field) == '\0')
        return WITHIN;
    for (;; path++, field++) {
        path = past_brackets(path);
        field = past_brackets(field);
        if (*path != *field || *path == '\0')
            break;
    }
    if (*field == '\0' && (*path == '\0' || *path == '.' || *path == ':'))
        return WITHIN;
    return *path == '\0' && (empty || *field == '.' || *field == ':') ? ABOVE : APART;
}

/* How the builder's path stands to all that is wanted. */
static enum relation relate_all(struct builder *builder)
{
    enum relation most = builder->field_count == 0 ? WITHIN : APART;
    for (size_t i = 0; i < builder->field_count; i++) {
        enum relation relation = relate(builder->path, builder->fields[i]);
        builder->found[i] |= relation == WITHIN;
        most = relation > most ? relation : most;
    }
    return most;
}

/* Appends to the path; path_back takes it off again. */
static int path_add(struct builder *builder, const char *separator, const char *name)
{
    size_t room = sizeof(builder->path) - builder->path_bytes;
    int added = snprintf(builder->path + builder->path_bytes, room, "%s%s",
                         builder->path_bytes > 0 || *separator != '.' ? separator : "", name);
    if (added < 0 || (size_t)added >= room) {
        builder->path[builder->path_bytes] = '\0';
        return refuse(builder, -E2BIG, "the path of a field is longer than %u bytes",
                      COLUMN_PATH_BYTES_MAX);
    }
    builder->path_bytes += (size_t)added;
    return 0;
}

static const char *path_copy(const struct builder *builder)
{
    char *copy = malloc(builder->path_bytes + 1);
    return copy == NULL ? NULL : memcpy(copy, builder->path, builder->path_bytes + 1);
}

static void path_back(struct builder *builder, size_t bytes)
{
    builder->path_bytes = bytes;
    builder->path[bytes] = '\0';
}

/* ---- steps and columns ---- */

static int add_step(struct builder *builder, struct table *table, struct columns_step step)
{
    struct columns_step *last =
        table->step_count > table->barrier ? &table->steps[table->step_count - 1] : NULL;
    if (last != NULL && step.kind == STEP_SKIP && last->kind == STEP_SKIP &&
        last->bytes <= COLUMNS_VARYING - step.bytes) {
        last->bytes += step.bytes;
        return 0;
    }
    if (last != NULL && (step.kind == STEP_FLOATS || step.kind == STEP_DOUBLES) &&
        last->kind == step.kind && last->column + last->count == step.column) {
        last->count++;
        return 0;
    }
    if (!grow(&table->steps, table->step_count, sizeof(step)))
        return refuse_memory(builder);
    table->steps[table->step_count++] = step;
    return 0;
}

/* The step that will be next, as a target. */
static uint32_t next_step(struct table *table)
{
    return table->barrier = table->step_count;
}

/* How a value of a kind is read. A null takes no bytes. */
static const uint8_t step_of[LAYOUT_UNION] = {
    [LAYOUT_BOOLEAN] = STEP_BOOLEAN, [LAYOUT_INT] = STEP_INT,        [LAYOUT_LONG] = STEP_LONG,
    [LAYOUT_FLOAT] = STEP_FLOATS,    [LAYOUT_DOUBLE] = STEP_DOUBLES, [LAYOUT_BYTES] = STEP_BYTES,
    [LAYOUT_STRING] = STEP_STRING,   [LAYOUT_FIXED] = STEP_FIXED,    [LAYOUT_ENUM] = STEP_ENUM,
};

static int add_past(struct builder *builder, struct table *table, const struct schema *type,
                    uint32_t depth)
{
    uint64_t bytes = builder->fixed_bytes[type->node];
    if (bytes != COLUMNS_VARYING && depth + type->levels <= LAYOUT_DEPTH_MAX)
        return bytes == 0 ? 0
                          : add_step(builder, table,
                                     (struct columns_step){.kind = STEP_SKIP, .bytes = bytes});
    if (type->kind < LAYOUT_UNION)
        return add_step(builder, table,
                        (struct columns_step){.kind = step_of[type->kind],
                                              .column = COLUMNS_UNSEEN,
                                              .count = type->count});
    return add_step(
        builder, table,
        (struct columns_step){.kind = STEP_TYPE, .depth = (uint16_t)depth, .type = type});
}

static int add_column(struct builder *builder, struct table *table, const struct schema *type,
                      const struct about *about, const struct columns *items)
{
    bool plain = type->kind >= LAYOUT_INT && type->kind <= LAYOUT_DOUBLE && !type->logical_holds;
    if (builder->columns_left-- == 0)
        return refuse(builder, -E2BIG, "a datum has more than %u columns; choose some fields",
                      COLUMNS_MAX);
    if (!grow(&table->list, table->count, sizeof(struct column)))
        return refuse_memory(builder);
    struct column *column = &table->list[table->count];
    *column = (struct column){
        .path = path_copy(builder),
        .type = type,
        .nullable = about->nullable,
        .unit = about->unit_is_far && !plain && items == NULL ? NULL : about->unit,
        .doc = about->doc,
        .items = items,
    };
    /* An array's unit is that of its items, which may have it from their own type. */
    if (items != NULL)
        column->unit = items->place_count == 1 ? items->list[0].unit
                       : about->unit_is_far    ? NULL
                                               : about->unit;
    if (column->path == NULL)
        return refuse_memory(builder);
    table->count++;
    return 0;
}

/* The path may be what was meant: it is spelt alike, or ends in it. */
static void offer_path(struct builder *builder)
{
    const char *best = builder->nearest, *last = strrchr(builder->path, '.');
    if (builder->path_bytes >= sizeof(builder->nearest_text))
        return;
    nearest_offer(builder->meant, builder->path, &best);
    if (best == NULL && last != NULL && strcmp(last + 1, builder->meant) == 0)
        best = builder->path;
    if (best != builder->nearest)
        builder->nearest = memcpy(builder->nearest_text, builder->path, builder->path_bytes + 1);
}

/* The place is open until place_end. */
static int place_begin(struct builder *builder, struct table *table, const struct schema *type,
                       const struct about *about)
{
    if (builder->places_left-- == 0)
        return refuse(builder, -E2BIG, "a datum has more than %u fields", COLUMNS_PLACES_MAX);
    if (builder->meant != NULL)
        offer_path(builder);
    if (!grow(&table->places, table->place_count, sizeof(struct column_place)))
        return refuse_memory(builder);
    table->places[table->place_count++] = (struct column_place){
        .name = about->name, .type = type, .nullable = about->nullable, .first = table->count};
    return 0;
}

/* Takes it back if there is no column in it. */
static void place_end(struct table *table, uint32_t place)
{
    struct column_place *at = &table->places[place];
    if (at->first == table->count)
        table->place_count = place;
    at->end = table->count;
    at->next = table->place_count;
}

static void free_table(const struct columns *columns)
{
    if (columns == NULL)
        return;
    for (uint32_t i = 0; i < columns->count; i++) {
        free((void *)(uintptr_t)columns->list[i].path);
        free_table(columns->list[i].items);
    }
    free(columns->plan->steps);
    free(columns->plan->targets);
    free((void *)(uintptr_t)columns->list);
    free((void *)(uintptr_t)columns->places);
    free((void *)(uintptr_t)columns->plan);
    free((void *)(uintptr_t)columns);
}

/* ---- types ---- */

static int add_type(struct builder *builder, struct table *table, const struct schema *type,
                    uint32_t depth, struct about about);

static const struct columns *finish(struct table *table)
{
    struct columns *columns = table->columns;
    columns->list = table->list;
    columns->count = table->count;
    columns->places = table->places;
    columns->place_count = table->place_count;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct columns *items = table->list[i].items;
        if (items != NULL && items->value_room > columns->value_room)
            columns->value_room = items->value_room;
    }
    columns->value_room += table->count;
    table->plan->steps = table->steps;
    table->plan->targets = table->targets;
    columns->plan = table->plan;
    return columns;
}

/* Makes the columns of a datum or an item. `*columns` is to be freed also after an error. */
static int make_table(struct builder *builder, const struct schema *type, uint32_t depth,
                      struct about about, const struct columns **columns)
{
    struct table table = {.columns = calloc(1, sizeof(struct columns)),
                          .plan = calloc(1, sizeof(struct columns_plan))};
    if (table.columns == NULL || table.plan == NULL) {
        free(table.columns);
        free(table.plan);
        return refuse_memory(builder);
    }
    table.plan->type = type;
    table.plan->depth = depth;
    table.plan->fixed_bytes = builder->fixed_bytes;
    int status = add_type(builder, &table, type, depth, about);
    if (status == 0)
        status = add_step(builder, &table, (struct columns_step){.kind = STEP_END});
    *columns = finish(&table);
    return status;
}

static int add_leaf(struct builder *builder, struct table *table, const struct schema *type,
                    const struct about *about)
{
    struct columns_step step = {.column = table->count};
    int status = add_column(builder, table, type, about, NULL);
    if (status < 0 || type->kind >= LAYOUT_UNION || step_of[type->kind] == STEP_END)
        return status; /* a null, or a union of nothing else, has no value to be read */
    step.kind = step_of[type->kind];
    if (type->kind == LAYOUT_FIXED)
        step.bytes = type->count;
    else
        step.count = type->kind == LAYOUT_ENUM ? type->count : 1;
    return add_step(builder, table, step);
}

static int add_items(struct builder *builder, struct table *table, const struct schema *type,
                     uint32_t depth, const struct about *about)
{
    size_t path_bytes = builder->path_bytes;
    struct about of_item = *about;
    const struct columns *items = NULL;
    of_item.nullable = false;
    of_item.name = "";
    int status = path_add(builder, "[]", "");
    if (status == 0)
        status = make_table(builder, type->items, depth + 1, of_item, &items);
    path_back(builder, path_bytes);
    if (status < 0 || items->count == 0) {
        free_table(items);
        return status < 0 ? status : add_past(builder, table, type, depth);
    }
    const struct columns_step step = {
        .kind = STEP_ITEMS, .depth = (uint16_t)depth, .column = table->count, .type = type};
    status = add_column(builder, table, type, about, items);
    if (status < 0) {
        free_table(items);
        return status;
    }
    return add_step(builder, table, step);
}

static int add_record(struct builder *builder, struct table *table, const struct schema *type,
                      uint32_t depth, const struct about *about)
{
    for (uint32_t i = 0; i < type->count; i++) {
        const struct schema_field *field = &type->fields[i];
        struct about of_field = {
            .unit = field->unit != NULL ? field->unit : about->unit,
            .doc = field->doc,
            .unit_is_far = field->unit == NULL,
            .nullable = about->nullable,
            .name = field->name,
        };
        size_t path_bytes = builder->path_bytes;
        int status = path_add(builder, ".", field->name);
        if (status == 0)
            status = add_type(builder, table, field->type, depth + 1, of_field);
        path_back(builder, path_bytes);
        if (status < 0)
            return status;
    }
    return 0;
}

/* Of a union of `values` branches that are not null: under its own path if there is one. */
static int add_branch(struct builder *builder, struct table *table, const struct schema *branch,
                      uint32_t values, uint32_t depth, struct about about)
{
    size_t path_bytes = builder->path_bytes;
    int status = 0;
    if (values > 1) {
        about.name = branch->name != NULL ? branch->name : schema_kind_name(branch->kind);
        status = path_add(builder, ":", about.name);
    }
    if (status == 0)
        status = branch->kind == LAYOUT_NULL && values > 0
                     ? 0
                     : add_type(builder, table, branch, depth + 1, about);
    path_back(builder, path_bytes);
    return status;
}

static int add_union(struct builder *builder, struct table *table, const struct schema *type,
                     uint32_t depth, struct about about)
{
    uint32_t values = 0, null = 0, place = table->place_count;
    int status = 0;
    for (uint32_t i = 0; i < type->count; i++) {
        if (type->branches[i]->kind == LAYOUT_NULL)
            null = i;
        else
            values++;
    }
    about.nullable |= values > 1 || values < type->count;
    if (values > 1)
        status = place_begin(builder, table, type, &about);
    if (status == 0 && type->count == 2 && values == 1) {
        uint32_t at = table->step_count;
        status =
            add_step(builder, table, (struct columns_step){.kind = STEP_NULLABLE, .count = null});
        next_step(table);
        if (status == 0)
            status = add_branch(builder, table, type->branches[1 - null], 1, depth, about);
        if (status == 0)
            table->steps[at].target = next_step(table);
        return status;
    }
    uint32_t targets = table->target_count;
    if (status == 0)
        status = add_step(
            builder, table,
            (struct columns_step){.kind = STEP_UNION, .target = targets, .count = type->count});
    for (uint32_t i = 0; status == 0 && i < type->count; i++, table->target_count++)
        if (!grow(&table->targets, table->target_count, sizeof(uint32_t)))
            status = refuse_memory(builder);
    /* Each branch ends in a jump, whose target is known behind the last. */
    for (uint32_t i = 0; status == 0 && i < type->count; i++) {
        table->targets[targets + i] = next_step(table);
        status = add_branch(builder, table, type->branches[i], values, depth, about);
        if (status == 0)
            status = add_step(builder, table, (struct columns_step){.kind = STEP_JUMP});
    }
    uint32_t end = status == 0 ? next_step(table) : 0;
    for (uint32_t i = 0; status == 0 && i < type->count; i++) {
        uint32_t last = i + 1 < type->count ? table->targets[targets + i + 1] : end;
        table->steps[last - 1].target = end;
    }
    if (status == 0 && values > 1)
        place_end(table, place);
    return status;
}

/* Notes the path as left out, and if a wanted field is there, says why it has no column. */
static int leave_out(struct builder *builder, const struct schema *type)
{
    for (size_t i = 0; i < builder->field_count; i++)
        if (relate(builder->fields[i], builder->path) == WITHIN)
            return refuse(builder, -EINVAL,
                          "field \"%.200s\" has no column: \"%.200s\" leads back into %.200s, "
                          "which contains it",
                          builder->fields[i], builder->path, type->name);
    if (!grow(&builder->recursive, builder->recursive_count, sizeof(char *)))
        return refuse_memory(builder);
    builder->recursive[builder->recursive_count] = path_copy(builder);
    if (builder->recursive[builder->recursive_count] == NULL)
        return refuse_memory(builder);
    builder->recursive_count++;
    return 0;
}

static int add_type(struct builder *builder, struct table *table, const struct schema *type,
                    uint32_t depth, struct about about)
{
    uint32_t place = table->place_count;
    int status;
    if (relate_all(builder) == APART)
        return add_past(builder, table, type, depth);
    if (type->kind >= LAYOUT_UNION && depth >= LAYOUT_DEPTH_MAX)
        return add_step(builder, table, (struct columns_step){.kind = STEP_TOO_DEEP});
    for (uint32_t i = 0; i < builder->open_count; i++)
        if (type->kind == LAYOUT_RECORD && builder->open[i] == type) {
            status = leave_out(builder, type);
            return status < 0 ? status : add_past(builder, table, type, depth);
        }
    if (type->unit != NULL && (about.unit == NULL || about.unit_is_far)) {
        about.unit = type->unit;
        about.unit_is_far = false;
    }
    if (about.doc == NULL)
        about.doc = type->doc;
    if (type->kind == LAYOUT_UNION)
        return add_union(builder, table, type, depth, about);
    status = place_begin(builder, table, type, &about);
    if (status < 0)
        return status;
    if (type->kind == LAYOUT_RECORD) {
        builder->open[builder->open_count++] = type;
        status = add_record(builder, table, type, depth, &about);
        builder->open_count--;
    } else if (type->kind == LAYOUT_ARRAY || type->kind == LAYOUT_MAP)
        status = add_items(builder, table, type, depth, &about);
    else
        status = add_leaf(builder, table, type, &about);
    if (status == 0)
        place_end(table, place);
    return status;
}

/* ---- the whole ---- */

static uint64_t fixed_bytes_of(const struct schema *type, const uint64_t *known)
{
    uint64_t bytes = 0;
    switch (type->kind) {
    case LAYOUT_NULL:
        return 0;
    case LAYOUT_FLOAT:
        return 4;
    case LAYOUT_DOUBLE:
        return 8;
    case LAYOUT_FIXED:
        return type->count;
    case LAYOUT_RECORD:
        for (uint32_t i = 0; i < type->count; i++) {
            uint64_t more = known[type->fields[i].type->node];
            if (more >= COLUMNS_VARYING - bytes)
                return COLUMNS_VARYING; /* or more than there can be */
            bytes += more;
        }
        return bytes;
    default:
        return COLUMNS_VARYING;
    }
}

/* By node; NULL without memory. A record made of records defined further up needs another pass. */
static uint64_t *find_fixed_bytes(const struct schema_file *file)
{
    uint32_t count;
    const struct schema *const *types = schema_types(file, &count);
    uint64_t *known = malloc(count * sizeof(uint64_t));
    bool changed = known != NULL;
    for (uint32_t i = 0; changed && i < count; i++)
        known[i] = COLUMNS_VARYING;
    for (uint32_t pass = 0; changed && pass < LAYOUT_DEPTH_MAX; pass++) {
        changed = false;
        for (uint32_t i = count; i-- > 0;) {
            uint64_t bytes = fixed_bytes_of(types[i], known);
            changed |= bytes != known[i];
            known[i] = bytes;
        }
    }
    return known;
}

static void free_paths(const char *const *paths, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free((void *)(uintptr_t)paths[i]);
    free((void *)(uintptr_t)paths);
}

void columns_free(const struct columns *columns)
{
    if (columns == NULL)
        return;
    free_paths(columns->recursive, columns->recursive_count);
    free((void *)(uintptr_t)columns->plan->fixed_bytes);
    free_table(columns);
}

/* Whether one of the columns is at or below the field. */
static bool has_column(const struct columns *columns, const char *field)
{
    for (uint32_t i = 0; i < columns->count; i++)
        if (relate(columns->list[i].path, field) == WITHIN ||
            (columns->list[i].items != NULL && has_column(columns->list[i].items, field)))
            return true;
    return false;
}

/* Says what is wrong with a field that no column is at. */
static int refuse_field(struct builder *builder, const struct schema *root, const char *field)
{
    const struct columns *all = NULL;
    builder->meant = field;
    builder->field_count = 0;
    builder->columns_left = COLUMNS_MAX;
    builder->places_left = COLUMNS_PLACES_MAX;
    builder->open_count = 0;
    path_back(builder, 0);
    (void)make_table(builder, root, 0, (struct about){.name = ""}, &all);
    free_table(all);
    if (builder->nearest != NULL)
        return refuse(builder, -EINVAL, "no field \"%.200s\"; did you mean \"%s\"?", field,
                      builder->nearest);
    return refuse(builder, -EINVAL, "no field \"%.200s\"", field);
}

int columns_select(const struct schema_file *file, const char *const *fields, size_t field_count,
                   const struct columns **columns, char *error, size_t error_bytes)
{
    const struct columns *made = NULL;
    const struct schema *root = schema_root(file);
    uint64_t *fixed_bytes = find_fixed_bytes(file);
    struct builder *builder = calloc(1, sizeof(*builder));
    int status = -ENOMEM;
    *columns = NULL;
    if (builder == NULL || fixed_bytes == NULL) {
        snprintf(error, error_bytes, "%s", strerror(ENOMEM));
        goto out;
    }
    *builder = (struct builder){
        .fields = fields,
        .field_count = field_count,
        .found = calloc(field_count + 1, sizeof(bool)),
        .fixed_bytes = fixed_bytes,
        .columns_left = COLUMNS_MAX,
        .places_left = COLUMNS_PLACES_MAX,
        .error = error,
        .error_bytes = error_bytes,
    };
    status = builder->found == NULL
                 ? refuse_memory(builder)
                 : make_table(builder, root, 0, (struct about){.name = ""}, &made);
    for (size_t i = 0; status == 0 && i < field_count; i++) {
        if (!builder->found[i])
            status = refuse_field(builder, root, fields[i]);
        else if (!has_column(made, fields[i]))
            status = refuse(builder, -EINVAL, "field \"%.200s\" has no column", fields[i]);
    }
out:
    if (builder != NULL && status == 0) {
        struct columns *root_columns = (struct columns *)(uintptr_t)made;
        root_columns->recursive = builder->recursive;
        root_columns->recursive_count = builder->recursive_count;
        *columns = made;
    } else if (builder != NULL) {
        free_paths(builder->recursive, builder->recursive_count);
        free_table(made);
    }
    if (status != 0)
        free(fixed_bytes);
    if (builder != NULL)
        free(builder->found);
    free(builder);
    return status;
}
