/* SPDX-License-Identifier: MIT
 * Builds the tree from libyaml's events, which carry line and column of everything.
 * Relies on libyaml stopping at the first syntax error of a file; the rest of that file is not
 * looked at. Aliases are never followed, so a file cannot grow while it is read. */
#include "config/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "os/file.h"
#include "os/path.h"

#define FILE_BYTES_MAX (4u << 20)
#define DEPTH_MAX      16

struct reader {
    yaml_parser_t parser;
    struct config_tree *tree;
    struct config_faults *faults;
    size_t cursor_letter, cursor_byte; /* of byte_at */
    bool no_memory;
};

static struct config_place place_of(const struct reader *reader, yaml_mark_t mark)
{
    return (struct config_place){&reader->tree->file, (uint32_t)mark.line + 1,
                                 (uint32_t)mark.column + 1};
}

/* Line and column of a byte. */
static struct config_place place_of_byte(const struct reader *reader, size_t offset)
{
    const struct config_file *file = &reader->tree->file;
    struct config_place place = {file, 1, 1};
    for (size_t at = 0; at < offset && at < file->bytes;) {
        size_t line_end = config_line_end(file->text + at, file->bytes - at);
        if (line_end > 0) {
            place.line++;
            place.column = 1;
        } else if ((file->text[at] & 0xc0) != 0x80) {
            place.column++;
        }
        at += line_end > 0 ? line_end : 1;
    }
    return place;
}

/* The byte at a mark, 0 behind the end. Marks mostly come in rising order, so that the search goes
 * on from the one before. */
static char byte_at(struct reader *reader, yaml_mark_t mark)
{
    const struct config_file *file = &reader->tree->file;
    if (mark.index < reader->cursor_letter)
        reader->cursor_letter = reader->cursor_byte = 0;
    for (; reader->cursor_letter < mark.index && reader->cursor_byte < file->bytes;
         reader->cursor_letter++)
        for (reader->cursor_byte++;
             reader->cursor_byte < file->bytes && (file->text[reader->cursor_byte] & 0xc0) == 0x80;
             reader->cursor_byte++)
            ;
    return reader->cursor_byte < file->bytes ? (char)file->text[reader->cursor_byte] : 0;
}

static void syntax_error(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR) {
        reader->no_memory = true;
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        struct config_place place = place_of_byte(reader, parser->problem_offset);
        if (strstr(parser->problem, "control") != NULL)
            config_error(reader->faults, place, "control characters are not allowed");
        else
            config_error(reader->faults, place, "not UTF-8: %s", parser->problem);
        return;
    }
    struct config_place place = place_of(reader, parser->problem_mark);
    if (byte_at(reader, parser->problem_mark) == '\t')
        config_error(reader->faults, place, "a tab cannot indent; use spaces");
    else if (parser->context != NULL && parser->context_mark.line != parser->problem_mark.line)
        config_error(reader->faults, place, "not YAML: %s %s that began on line %lu",
                     parser->problem, parser->context,
                     (unsigned long)parser->context_mark.line + 1);
    else
        config_error(reader->faults, place, "not YAML: %s", parser->problem);
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    syntax_error(reader);
    return false;
}

static struct config_node *node_make(struct reader *reader, enum config_node_kind kind,
                                     struct config_place place, const void *text, size_t bytes)
{
    struct config_node *node = calloc(1, sizeof *node + bytes + 1);
    if (node == NULL) {
        reader->no_memory = true;
        return NULL;
    }
    node->kind = kind;
    node->place = place;
    node->bytes = bytes;
    if (bytes > 0)
        memcpy(node->text, text, bytes);
    node->older = reader->tree->newest;
    reader->tree->newest = node;
    return node;
}

static void refuse_extras(struct reader *reader, yaml_mark_t mark, const void *anchor,
                          const void *tag)
{
    struct config_place place = place_of(reader, mark);
    if (anchor != NULL)
        config_error(reader->faults, place, "anchors are not allowed");
    /* libyaml forgets a lone "!" in front of a text, but not where it stood. */
    if (tag != NULL || byte_at(reader, mark) == '!')
        config_error(reader->faults, place, "tags are not allowed");
}

static struct config_node *read_text(struct reader *reader, const yaml_event_t *event)
{
    struct config_place place = place_of(reader, event->start_mark);
    const uint8_t *text = event->data.scalar.value;
    size_t bytes = event->data.scalar.length;
    refuse_extras(reader, event->start_mark, event->data.scalar.anchor, event->data.scalar.tag);
    size_t plain = 0;
    while (plain < bytes && text[plain] >= ' ' && text[plain] != 0x7f)
        plain++;
    if (plain < bytes)
        config_error(reader->faults, place,
                     "a value is one line of text without control characters");
    struct config_node *node = node_make(reader, NODE_TEXT, place, text, plain);
    if (node != NULL)
        node->refused = plain < bytes;
    return node;
}

static int compare_keys(const void *left, const void *right)
{
    const struct config_node *a = *(struct config_node *const *)left;
    const struct config_node *b = *(struct config_node *const *)right;
    int order = strcmp(a->key->text, b->key->text);
    if (order != 0)
        return order;
    if (a->place.line != b->place.line)
        return a->place.line < b->place.line ? -1 : 1;
    return a->place.column < b->place.column ? -1 : a->place.column > b->place.column;
}

static void find_duplicates(struct reader *reader, struct config_node *map)
{
    size_t count = 0;
    for (struct config_node *entry = map->first; entry != NULL; entry = entry->next)
        count++;
    if (count < 2)
        return;
    struct config_node **sorted = calloc(count, sizeof *sorted);
    if (sorted == NULL) {
        reader->no_memory = true;
        return;
    }
    count = 0;
    for (struct config_node *entry = map->first; entry != NULL; entry = entry->next)
        sorted[count++] = entry;
    qsort(sorted, count, sizeof *sorted, compare_keys);
    size_t first = 0;
    for (size_t i = 1; i < count; i++) {
        if (strcmp(sorted[i]->key->text, sorted[first]->key->text) != 0) {
            first = i;
            continue;
        }
        sorted[i]->duplicate = true;
        config_error(reader->faults, sorted[i]->key->place,
                     "duplicate key \"%s\"; first on line %lu", sorted[i]->key->text,
                     (unsigned long)sorted[first]->key->place.line);
    }
    free(sorted);
}

static bool read_node(struct reader *reader, yaml_event_t *event, unsigned depth,
                      struct config_node **into);

/* Reads entries up to the event `end`. What was read before an error stays in the tree. */
static bool read_entries(struct reader *reader, struct config_node *parent, yaml_event_type_t end,
                         unsigned depth)
{
    struct config_node **last = &parent->first, *key = NULL, *unwanted;
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event))
            return false;
        if (event.type == end) {
            yaml_event_delete(&event);
            return true;
        }
        if (parent->kind == NODE_MAP && key == NULL) {
            if (!read_node(reader, &event, depth, &key))
                return false;
            if (key->kind != NODE_TEXT)
                config_error(reader->faults, key->place, "a key is a single word, found %s",
                             config_node_name(key));
            continue;
        }
        bool usable = key == NULL || key->kind == NODE_TEXT;
        bool good = read_node(reader, &event, depth, usable ? last : &unwanted);
        if (usable && *last != NULL) {
            (*last)->key = key;
            last = &(*last)->next;
        }
        if (!good)
            return false;
        key = NULL;
    }
}

/* Reads the node that `event` begins, and ends the event. `*into` is set also if the node is cut
 * short by an error. */
static bool read_node(struct reader *reader, yaml_event_t *event, unsigned depth,
                      struct config_node **into)
{
    struct config_place place = place_of(reader, event->start_mark);
    struct config_node *node = NULL;
    bool good = true;
    yaml_event_type_t end = YAML_NO_EVENT;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        node = read_text(reader, event);
        break;
    case YAML_ALIAS_EVENT:
        config_error(reader->faults, place, "aliases are not allowed");
        node = node_make(reader, NODE_TEXT, place, NULL, 0);
        if (node != NULL)
            node->refused = true;
        break;
    case YAML_MAPPING_START_EVENT:
        refuse_extras(reader, event->start_mark, event->data.mapping_start.anchor,
                      event->data.mapping_start.tag);
        node = node_make(reader, NODE_MAP, place, NULL, 0);
        end = YAML_MAPPING_END_EVENT;
        break;
    case YAML_SEQUENCE_START_EVENT:
        refuse_extras(reader, event->start_mark, event->data.sequence_start.anchor,
                      event->data.sequence_start.tag);
        node = node_make(reader, NODE_LIST, place, NULL, 0);
        end = YAML_SEQUENCE_END_EVENT;
        break;
    default:
        config_error(reader->faults, place, "not YAML: an unexpected end");
        break;
    }
    yaml_event_delete(event);
    if (node == NULL)
        return false;
    if (end != YAML_NO_EVENT && depth == DEPTH_MAX) {
        config_error(reader->faults, place, "nested too deeply");
        return false;
    }
    if (end != YAML_NO_EVENT)
        good = read_entries(reader, node, end, depth + 1);
    if (node->kind == NODE_MAP)
        find_duplicates(reader, node);
    *into = node;
    return good;
}

static bool read_documents(struct reader *reader)
{
    yaml_event_t event;
    for (;;) {
        if (!next_event(reader, &event))
            return false;
        struct config_place place = place_of(reader, event.start_mark);
        bool directives = false;
        switch (event.type) {
        case YAML_STREAM_END_EVENT:
            yaml_event_delete(&event);
            return true;
        case YAML_DOCUMENT_START_EVENT:
            directives = event.data.document_start.tag_directives.start !=
                         event.data.document_start.tag_directives.end;
            yaml_event_delete(&event);
            if (directives)
                config_error(reader->faults, place, "tags are not allowed");
            if (reader->tree->root != NULL) {
                config_error(reader->faults, place, "a second document is not allowed");
                return false;
            }
            if (!next_event(reader, &event) || !read_node(reader, &event, 0, &reader->tree->root))
                return false;
            break;
        default:
            yaml_event_delete(&event);
            break;
        }
    }
}

static int name_file(struct config_file *file, const char *path)
{
    snprintf(file->name, sizeof file->name, "%s", path);
    if (strlen(path) >= sizeof file->name)
        return -ENAMETOOLONG;
    return path_folder(path, file->folder, sizeof file->folder);
}

/* What is in the tree's file. */
static int read_file(struct config_tree *tree, struct config_faults *faults)
{
    struct config_file *file = &tree->file;
    struct reader reader = {.tree = tree, .faults = faults};
    struct config_place whole_file = {file, 0, 0};
    /* Some editors put a byte order mark in front. libyaml would count it as a column. */
    if (file->bytes >= 3 && memcmp(file->text, "\xef\xbb\xbf", 3) == 0) {
        file->bytes -= 3;
        memmove(file->text, file->text + 3, file->bytes + 1);
    }
    if (!yaml_parser_initialize(&reader.parser)) {
        config_error(faults, whole_file, "out of memory");
        return -ENOMEM;
    }
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, file->text, file->bytes);
    tree->whole = read_documents(&reader);
    yaml_parser_delete(&reader.parser);
    if (reader.no_memory) {
        config_error(faults, whole_file, "out of memory");
        return -ENOMEM;
    }
    return 0;
}

int config_tree_read(struct config_tree *tree, const char *path, struct config_faults *faults)
{
    struct config_file *file = &tree->file;
    int error = name_file(file, path);
    if (error == 0)
        error = file_read_handed(path, FILE_BYTES_MAX, &file->text, &file->bytes);
    if (error < 0)
        config_error(faults, (struct config_place){file, 0, 0}, "%s", file_error_text(error));
    return error < 0 ? error : read_file(tree, faults);
}

int config_tree_take(struct config_tree *tree, const char *path, uint8_t *text, size_t bytes,
                     struct config_faults *faults)
{
    struct config_file *file = &tree->file;
    file->text = text;
    file->bytes = bytes;
    int error = name_file(file, path);
    if (error == 0 && bytes > FILE_BYTES_MAX)
        error = -EFBIG;
    if (error < 0)
        config_error(faults, (struct config_place){file, 0, 0}, "%s", file_error_text(error));
    return error < 0 ? error : read_file(tree, faults);
}

const char *config_node_name(const struct config_node *node)
{
    return node->kind == NODE_TEXT ? "a value" : node->kind == NODE_MAP ? "a map" : "a list";
}

void config_tree_free(struct config_tree *tree)
{
    while (tree->newest != NULL) {
        struct config_node *node = tree->newest;
        tree->newest = node->older;
        free(node);
    }
    free(tree->file.text);
    *tree = (struct config_tree){0};
}
