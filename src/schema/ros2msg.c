/* SPDX-License-Identifier: MIT
 * Makes the text of a message and the steps that write it, together, so that they cannot differ.
 * Messages of the same name and the same text are one. Relies on jansson for sets of names. No
 * known faults. */
#include "schema/ros2msg.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "schema/columns_plan.h"

/* A part of the message with a definition of its own. */
struct part {
    char *name;
    char *body;
};

struct maker {
    char *package;
    struct part *parts;
    size_t part_count, part_room, text_bytes;
    json_t *part_names;
    json_t *known; /* "NAME\nBODY" of each as it was wanted: its place in `parts` */
    int status;
};

/* A field of a message that is being made. */
struct entry {
    uint32_t place;
    bool optional; /* it has a flag that says whether it is there */
    char *name;
    const char *was; /* in the schema */
};

struct message {
    const struct columns *columns;
    struct cdr_steps *steps;
    json_t *names; /* those taken */
    struct entry *entries;
    size_t count, room;
    struct text body;
};

static void fail(struct maker *maker, int status)
{
    if (maker->status == 0)
        maker->status = status;
}

/* ---- names ---- */

static bool is_small(char letter)
{
    return letter >= 'a' && letter <= 'z';
}

static bool is_capital(char letter)
{
    return letter >= 'A' && letter <= 'Z';
}

static bool is_digit(char letter)
{
    return letter >= '0' && letter <= '9';
}

/* Appends `name` in small letters, words apart: "Oil.Temp2", "oilTemp2" are "oil_temp2". */
static void add_words(struct text *text, const char *name)
{
    for (const char *at = name; *at != '\0'; at++) {
        char last = text->bytes > 0 ? text->at[text->bytes - 1] : '_';
        if (!is_small(*at) && !is_capital(*at) && !is_digit(*at)) {
            if (last != '_')
                text_add_char(text, '_');
            continue;
        }
        if (text->bytes == 0 && is_digit(*at))
            text_add_char(text, 'x');
        if (is_capital(*at) && at > name && (is_small(at[-1]) || is_digit(at[-1])) && last != '_')
            text_add_char(text, '_');
        text_add_char(text, is_capital(*at) ? (char)(*at - 'A' + 'a') : *at);
    }
}

/* A name of small letters out of one or two of the schema's; `upper`: of capitals. */
static char *make_name(const char *first, const char *second, bool upper)
{
    struct text text = {0};
    add_words(&text, first);
    if (second != NULL) {
        if (text.bytes > 0 && text.at[text.bytes - 1] != '_')
            text_add_char(&text, '_');
        add_words(&text, second);
    }
    while (text.bytes > 0 && text.at[text.bytes - 1] == '_')
        text.at[--text.bytes] = '\0';
    if (text.bytes == 0)
        text_add_char(&text, 'x');
    for (size_t i = 0; upper && i < text.bytes; i++)
        if (is_small(text.at[i]))
            text.at[i] = (char)(text.at[i] - 'a' + 'A');
    return text.failed ? (text_free(&text), NULL) : text_take(&text);
}

/* The name of a message: "engine_sample" and "EngineSample" are "EngineSample". Without what stands
 * before the last dot. */
static char *make_type_name(const char *name, const char *more)
{
    struct text text = {0};
    const char *dot = strrchr(name, '.');
    bool word = true;
    for (const char *at = dot != NULL && dot[1] != '\0' ? dot + 1 : name; *at != '\0'; at++) {
        if (!is_small(*at) && !is_capital(*at) && !is_digit(*at)) {
            word = true;
            continue;
        }
        if (text.bytes == 0 && is_digit(*at))
            text_add_char(&text, 'X');
        text_add_char(&text, word && is_small(*at) ? (char)(*at - 'a' + 'A') : *at);
        word = false;
    }
    text_add_string(&text, text.bytes == 0 ? "X" : "");
    text_add_string(&text, more);
    return text.failed ? (text_free(&text), NULL) : text_take(&text);
}

/* Gives `name` up for one that no other in `names` has, with a number behind `separator` if need
 * be, and takes it. `names` has for each the number that is to be tried next. NULL without memory.
 */
static char *take_name(json_t *names, char *name, const char *separator)
{
    struct text other = {0};
    json_t *next = name == NULL ? NULL : json_object_get(names, name);
    if (name == NULL)
        return NULL;
    text_add_string(&other, name);
    while (next != NULL && !other.failed && json_object_get(names, other.at) != NULL) {
        text_clear(&other);
        text_add(&other, "%s%s%" JSON_INTEGER_FORMAT, name, separator, json_integer_value(next));
        json_integer_set(next, json_integer_value(next) + 1);
    }
    free(name);
    if (other.failed || json_object_set_new(names, other.at, json_integer(2)) != 0) {
        text_free(&other);
        return NULL;
    }
    return text_take(&other);
}

/* ---- text ---- */

/* Appends what people wrote, on one line: what some reader takes for a line's end is a blank. */
static void add_comment(struct text *text, const char *comment)
{
    for (const unsigned char *at = (const unsigned char *)comment; *at != '\0'; at++) {
        if (at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9))
            at += 2;
        else if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
            at += 1;
        else if (*at >= ' ' && *at != 0x7f) {
            text_add_bytes(text, at, 1);
            continue;
        }
        text_add_char(text, ' ');
    }
}

/* Ends a field's line with its unit, doc, logical type and the name it had. */
static void end_line(struct text *text, const struct entry *entry, const char *unit,
                     const char *doc, const struct schema *type)
{
    const char *separator = "  # ";
    if (unit != NULL) {
        text_add(text, "%s[", separator);
        add_comment(text, unit);
        text_add_string(text, "]");
        separator = " ";
    }
    if (doc != NULL) {
        text_add_string(text, separator);
        add_comment(text, doc);
        separator = "; ";
    }
    if (type->logical_holds && type->logical != NULL) {
        text_add_string(text, separator);
        add_comment(text, type->logical);
        if (type->precision > 0)
            text_add(text, "(%" PRIu32 ",%" PRIu32 ")", type->precision, type->scale);
        separator = "; ";
    }
    if (strcmp(entry->name, entry->was) != 0) {
        text_add(text, "%s\"", separator);
        add_comment(text, entry->was);
        text_add_string(text, "\"");
    }
    text_add_char(text, '\n');
}

static struct cdr_step *add_step(struct maker *maker, struct cdr_steps *steps, uint8_t kind,
                                 uint32_t column, uint32_t count)
{
    struct cdr_step *grown =
        room_grow(steps->list, &steps->room, steps->count + 1, sizeof(*steps->list));
    if (grown == NULL) {
        fail(maker, -ENOMEM);
        return NULL;
    }
    steps->list = grown;
    steps->list[steps->count] = (struct cdr_step){.kind = kind, .column = column, .count = count};
    return &steps->list[steps->count++];
}

/* Gives `body` up for the name of a message that has it: `name` (given up as well), or one with a
 * number where another message is called so. "" after a failure. */
static const char *keep_part(struct maker *maker, char *name, struct text *body)
{
    struct text key = {0};
    char *text = body->failed ? NULL : text_take(body);
    text_free(body);
    if (name != NULL && text != NULL)
        text_add(&key, "%s\n%s", name, text);
    json_t *known = key.bytes == 0 ? NULL : json_object_get(maker->known, key.at);
    if (known != NULL) {
        free(name);
        free(text);
        text_free(&key);
        return maker->parts[json_integer_value(known)].name;
    }
    struct part *grown =
        room_grow(maker->parts, &maker->part_room, maker->part_count + 1, sizeof(*maker->parts));
    if (grown != NULL)
        maker->parts = grown;
    name = take_name(maker->part_names, name, "N");
    maker->text_bytes += key.bytes;
    if (maker->text_bytes > ROS2MSG_TEXT_BYTES_MAX)
        fail(maker, -E2BIG);
    bool kept = grown != NULL && name != NULL && text != NULL && key.bytes > 0 && !key.failed &&
                json_object_set_new_nocheck(maker->known, key.at,
                                            json_integer((json_int_t)maker->part_count)) == 0;
    text_free(&key);
    if (!kept) {
        free(name);
        free(text);
        fail(maker, -ENOMEM);
        return "";
    }
    maker->parts[maker->part_count] = (struct part){name, text};
    return maker->parts[maker->part_count++].name;
}

/* ---- messages ---- */

static bool may_be_null(const struct schema *type)
{
    if (type->kind != LAYOUT_UNION)
        return false;
    for (uint32_t i = 0; i < type->count; i++)
        if (type->branches[i]->kind == LAYOUT_NULL || may_be_null(type->branches[i]))
            return true;
    return false;
}

static void message_begin(struct maker *maker, struct message *message,
                          const struct columns *columns, struct cdr_steps *steps)
{
    *message = (struct message){.columns = columns, .steps = steps, .names = json_object()};
    if (message->names == NULL)
        fail(maker, -ENOMEM);
}

/* A field for a place; of a union of several types one for each. */
static void add_entry(struct maker *maker, struct message *message, uint32_t index, char *name,
                      const char *was, bool optional)
{
    const struct column_place *places = message->columns->places, *place = &places[index];
    if (name == NULL || place->type->kind != LAYOUT_UNION) {
        struct entry *grown = room_grow(message->entries, &message->room, message->count + 1,
                                        sizeof(*message->entries));
        name = take_name(message->names, name, "_");
        if (grown != NULL)
            message->entries = grown;
        if (grown == NULL || name == NULL) {
            free(name);
            fail(maker, -ENOMEM);
            return;
        }
        message->entries[message->count++] = (struct entry){index, optional, name, was};
        return;
    }
    for (uint32_t i = index + 1; i < place->next; i = places[i].next)
        add_entry(maker, message, i, make_name(name, places[i].name, false), places[i].name, true);
    free(name);
}

/* The fields of a record. Its places are in the order of its fields, of which some have none. */
static void add_record(struct maker *maker, struct message *message, uint32_t index)
{
    const struct column_place *places = message->columns->places, *place = &places[index];
    const struct schema *type = place->type;
    uint32_t field = 0;
    for (uint32_t i = index + 1; i < place->next; i = places[i].next, field++) {
        while (field < type->count && strcmp(type->fields[field].name, places[i].name) != 0)
            field++;
        bool optional = field >= type->count || may_be_null(type->fields[field].type) ||
                        places[i].type->kind == LAYOUT_NULL;
        add_entry(maker, message, i, make_name(places[i].name, NULL, false), places[i].name,
                  optional);
    }
}

static void write_entry(struct maker *maker, struct message *message, const struct entry *entry);

/* The lines and steps of all fields, then those that say whether they are there. */
static void write_message(struct maker *maker, struct message *message)
{
    const struct column_place *places = message->columns->places;
    for (size_t i = 0; i < message->count && maker->status == 0; i++)
        write_entry(maker, message, &message->entries[i]);
    for (size_t i = 0; i < message->count && maker->status == 0; i++) {
        const struct entry *entry = &message->entries[i];
        const struct column_place *place = &places[entry->place];
        if (!entry->optional)
            continue;
        char *name = take_name(message->names, make_name(entry->name, "valid", false), "_");
        if (name == NULL)
            fail(maker, -ENOMEM);
        else
            text_add(&message->body, "bool %s\n", name);
        add_step(maker, message->steps, CDR_VALID, place->first, place->end - place->first);
        free(name);
    }
    if (message->body.bytes > ROS2MSG_TEXT_BYTES_MAX)
        fail(maker, -E2BIG);
}

static void message_end(struct message *message)
{
    for (size_t i = 0; i < message->count; i++)
        free(message->entries[i].name);
    free(message->entries);
    json_decref(message->names);
    text_free(&message->body);
}

/* The message of a record. Its name until the end; "" after a failure. */
static const char *make_record(struct maker *maker, const struct columns *columns,
                               struct cdr_steps *steps, uint32_t place)
{
    struct message message;
    const char *type_name = columns->places[place].type->name;
    message_begin(maker, &message, columns, steps);
    add_record(maker, &message, place);
    write_message(maker, &message);
    const char *name =
        keep_part(maker, make_type_name(type_name != NULL ? type_name : "", ""), &message.body);
    message_end(&message);
    return name;
}

/* What ROS has a type for that can stand in a sequence, or NULL. */
static const char *plain_type(enum layout_kind kind)
{
    static const char *const types[LAYOUT_KINDS] = {
        [LAYOUT_BOOLEAN] = "bool",  [LAYOUT_INT] = "int32",      [LAYOUT_LONG] = "int64",
        [LAYOUT_FLOAT] = "float32", [LAYOUT_DOUBLE] = "float64", [LAYOUT_STRING] = "string",
        [LAYOUT_ENUM] = "int32",
    };
    return types[kind];
}

static const uint8_t step_of[LAYOUT_KINDS] = {
    [LAYOUT_BOOLEAN] = CDR_BOOLEAN, [LAYOUT_INT] = CDR_INT,       [LAYOUT_LONG] = CDR_LONG,
    [LAYOUT_FLOAT] = CDR_FLOAT,     [LAYOUT_DOUBLE] = CDR_DOUBLE, [LAYOUT_STRING] = CDR_STRING,
    [LAYOUT_BYTES] = CDR_BYTES,     [LAYOUT_FIXED] = CDR_FIXED,   [LAYOUT_ENUM] = CDR_INT,
    [LAYOUT_ARRAY] = CDR_ITEMS,     [LAYOUT_MAP] = CDR_ITEMS,
};

/* The symbols of an enum as constants of the field. */
static void write_symbols(struct maker *maker, struct message *message, const struct entry *entry,
                          const struct schema *type)
{
    for (uint32_t i = 0; i < type->count && maker->status == 0; i++) {
        char *name = take_name(message->names, make_name(entry->name, type->symbols[i], true), "_");
        if (name == NULL) {
            fail(maker, -ENOMEM);
            return;
        }
        text_add(&message->body, "int32 %s=%" PRIu32 "  # \"", name, i);
        add_comment(&message->body, type->symbols[i]);
        text_add_string(&message->body, "\"\n");
        free(name);
        if (message->body.bytes > ROS2MSG_TEXT_BYTES_MAX)
            fail(maker, -E2BIG);
    }
}

/* The message of an item that no sequence can be made of as it is, or of a map's. */
static const char *make_item(struct maker *maker, const struct columns *columns,
                             struct cdr_steps *steps, bool is_map, char *type_name)
{
    struct message message;
    const struct schema *type = columns->plan->type;
    message_begin(maker, &message, columns, steps);
    if (is_map) {
        text_add_string(&message.body, "string key\n");
        free(take_name(message.names, text_copy("key"), "_"));
    }
    add_entry(maker, &message, 0, text_copy("value"), "value",
              may_be_null(type) || type->kind == LAYOUT_NULL);
    write_message(maker, &message);
    const char *name = keep_part(maker, type_name, &message.body);
    message_end(&message);
    return name;
}

/* Writes the type of what a sequence's items are, and its steps. */
static void write_items(struct maker *maker, struct message *message, const struct entry *entry,
                        const struct column *column, struct cdr_step *step)
{
    const struct columns *items = column->items;
    const struct column_place *place = &items->places[0];
    const struct schema *type = items->plan->type;
    bool is_map = column->type->kind == LAYOUT_MAP;
    struct cdr_steps *steps = calloc(1, sizeof(*steps));
    step->array = column;
    step->items = steps;
    if (steps == NULL) {
        fail(maker, -ENOMEM);
        return;
    }
    steps->columns = items->count;
    bool bare = !is_map && !may_be_null(type) && place->next == items->place_count;
    const char *plain = bare ? plain_type(place->type->kind) : NULL;
    if (plain != NULL) {
        if (place->type->kind == LAYOUT_ENUM)
            write_symbols(maker, message, entry, place->type);
        add_step(maker, steps, step_of[place->type->kind], 0, 1);
        text_add(&message->body, "%s", plain);
    } else if (bare && place->type->kind == LAYOUT_RECORD)
        text_add(&message->body, "%s/%s", maker->package, make_record(maker, items, steps, 0));
    else
        text_add(&message->body, "%s/%s", maker->package,
                 make_item(maker, items, steps, is_map,
                           make_type_name(entry->name, is_map ? "Entry" : "Item")));
    text_add_string(&message->body, "[]");
}

static void write_entry(struct maker *maker, struct message *message, const struct entry *entry)
{
    const struct columns *columns = message->columns;
    const struct column_place *place = &columns->places[entry->place];
    const struct schema *type = place->type;
    const struct column *column = &columns->list[place->first];
    if (type->kind == LAYOUT_NULL)
        return; /* its flag says all */
    if (type->kind == LAYOUT_RECORD) {
        const char *name = make_record(maker, columns, message->steps, entry->place);
        text_add(&message->body, "%s/%s %s", maker->package, name, entry->name);
        end_line(&message->body, entry, NULL, type->doc, type);
        return;
    }
    if (type->kind == LAYOUT_ENUM)
        write_symbols(maker, message, entry, type);
    uint32_t count = type->kind == LAYOUT_FIXED ? type->count : 1;
    bool empty = type->kind == LAYOUT_FIXED && count == 0; /* ROS has no array of none */
    struct cdr_step *step = add_step(maker, message->steps, empty ? CDR_BYTES : step_of[type->kind],
                                     place->first, count);
    if (step == NULL)
        return;
    if (type->kind == LAYOUT_FIXED && !empty)
        text_add(&message->body, "uint8[%" PRIu32 "]", count);
    else if (type->kind == LAYOUT_FIXED || type->kind == LAYOUT_BYTES)
        text_add_string(&message->body, "uint8[]");
    else if (column->items != NULL)
        write_items(maker, message, entry, column, step);
    else
        text_add_string(&message->body, plain_type(type->kind));
    text_add(&message->body, " %s", entry->name);
    end_line(&message->body, entry, column->unit, column->doc, type);
}

/* ---- the whole ---- */

static char *make_package(const char *channel)
{
    char *package = make_name(channel, NULL, false);
    struct text text = {0};
    if (package == NULL ||
        (strcmp(package, "std_msgs") != 0 && strcmp(package, "builtin_interfaces") != 0))
        return package;
    text_add(&text, "%s_2", package); /* their messages are among ours */
    free(package);
    return text_take(&text);
}

/* The whole datum: the text of its message, without those it consists of. */
static char *make_root(struct maker *maker, const struct columns *columns, struct cdr_steps *steps)
{
    struct message message;
    const struct schema *type = columns->plan->type;
    message_begin(maker, &message, columns, steps);
    text_add_string(&message.body, "std_msgs/Header header\n");
    free(take_name(message.names, text_copy("header"), "_"));
    steps->columns = columns->count;
    if (columns->place_count > 0 && columns->places[0].type->kind == LAYOUT_RECORD &&
        !may_be_null(type))
        add_record(maker, &message, 0);
    else if (columns->place_count > 0)
        add_entry(maker, &message, 0, text_copy("value"), "value",
                  may_be_null(type) || type->kind == LAYOUT_NULL);
    write_message(maker, &message);
    for (uint32_t i = 0; i < columns->recursive_count; i++) {
        text_add_string(&message.body, "# left out, for it leads back into what contains it: ");
        add_comment(&message.body, columns->recursive[i]);
        text_add_char(&message.body, '\n');
    }
    maker->text_bytes += message.body.bytes;
    char *text = message.body.failed ? NULL : text_take(&message.body);
    if (text == NULL)
        fail(maker, -ENOMEM);
    message_end(&message);
    return text;
}

static void add_part(struct text *text, const char *package, const char *name, const char *body)
{
    static const char line[] = "========================================"
                               "========================================\n";
    text_add(text, "%sMSG: %s/%s\n", line, package, name);
    text_add_string(text, body);
}

static char *join_parts(const struct maker *maker, const char *root)
{
    struct text text = {0};
    text_add_string(&text, root);
    add_part(&text, "std_msgs", "Header", "builtin_interfaces/Time stamp\nstring frame_id\n");
    add_part(&text, "builtin_interfaces", "Time", "int32 sec\nuint32 nanosec\n");
    for (size_t i = 0; i < maker->part_count; i++)
        add_part(&text, maker->package, maker->parts[i].name, maker->parts[i].body);
    return text.failed ? (text_free(&text), NULL) : text_take(&text);
}

static void free_steps(struct cdr_steps *steps)
{
    for (size_t i = 0; i < steps->count; i++) {
        struct cdr_steps *items = (struct cdr_steps *)(uintptr_t)steps->list[i].items;
        if (items != NULL)
            free_steps(items);
        free(items);
    }
    free(steps->list);
}

void ros2msg_free(struct ros2msg *message)
{
    free(message->name);
    free(message->text);
    free_steps(&message->steps);
    *message = (struct ros2msg){0};
}

int ros2msg_make(struct ros2msg *message, const struct columns *columns, const char *package)
{
    struct maker maker = {
        .package = make_package(package), .part_names = json_object(), .known = json_object()};
    struct text name = {0};
    char *type = NULL;
    *message = (struct ros2msg){0};
    if (maker.package == NULL || maker.part_names == NULL || maker.known == NULL)
        fail(&maker, -ENOMEM);
    else {
        const struct schema *root = columns->plan->type;
        char *text = make_root(&maker, columns, &message->steps);
        type = make_type_name(
            root->name != NULL && root->kind == LAYOUT_RECORD ? root->name : "Datum", "");
        /* A part may be called so, too: a datum of the same type as one of its fields is not. */
        while (type != NULL && json_object_get(maker.part_names, type) != NULL) {
            char *longer = make_type_name(type, "Datum");
            free(type);
            type = longer;
        }
        if (maker.status == 0)
            message->text = join_parts(&maker, text);
        if (type != NULL)
            text_add(&name, "%s/msg/%s", maker.package, type);
        if (type != NULL && !name.failed)
            message->name = text_take(&name);
        if (message->text == NULL || message->name == NULL)
            fail(&maker, -ENOMEM);
        free(text);
    }
    for (size_t i = 0; i < maker.part_count; i++) {
        free(maker.parts[i].name);
        free(maker.parts[i].body);
    }
    free(maker.parts);
    free(maker.package);
    free(type);
    text_free(&name);
    json_decref(maker.part_names);
    json_decref(maker.known);
    if (maker.status < 0)
        ros2msg_free(message);
    return maker.status;
}
