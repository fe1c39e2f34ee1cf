/* SPDX-License-Identifier: MIT
 * One key a line, so that a fault's line says which part of the JSON is meant.
 * Sources: YAML 1.1, 5.7 (escapes); RFC 6901. */
#include "cli/channel_text.h"

#include <stdlib.h>
#include <string.h>

#include "control/json_text.h"

#define INDENT    2u
#define DEPTH_MAX 4u
#define DIGITS    15u /* of a number that is the same in every program */

void channel_text_fault(json_t *list, const char *pointer, bool warning, const char *detail)
{
    json_array_append_new(list, json_pack("{s:o, s:o, s:b}", "pointer", json_of_text(pointer),
                                          "detail", json_of_text(detail), "warning", warning));
}

/* ---- writing ---- */

/* Quotes what YAML could take for more than one plain word, or for none. */
static void add_word(struct text *out, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-%";
    static const char *const breaks[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    static const char letters[] = "NLP";
    const char *rest = text + strspn(text, plain);
    bool port = *rest == ':' && rest[1] != '\0' && rest[1 + strspn(rest + 1, plain)] == '\0';
    if (text[0] != '\0' && strchr("-%:", text[0]) == NULL && (*rest == '\0' || port)) {
        text_add_string(out, text);
        return;
    }
    text_add_char(out, '"');
    while (*text != '\0') {
        size_t i = 0;
        while (i < 3 && strncmp(text, breaks[i], strlen(breaks[i])) != 0)
            i++;
        if (i < 3) {
            text_add(out, "\\%c", letters[i]);
            text += strlen(breaks[i]);
            continue;
        }
        if (*text == '"' || *text == '\\')
            text_add_char(out, '\\');
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            text_add(out, "\\x%02x", (unsigned)(unsigned char)*text);
        else
            text_add_char(out, *text);
        text++;
    }
    text_add_char(out, '"');
}

/* False: it is no single value. */
static bool add_scalar(struct text *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        add_word(out, json_string_value(value));
        return true;
    case JSON_INTEGER:
        text_add(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return true;
    case JSON_REAL:
        text_add(out, "%.*g", (int)DIGITS, json_real_value(value));
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        text_add_string(out, json_is_true(value) ? "true" : "false");
        return true;
    default:
        return false;
    }
}

static bool add_list(struct text *out, const json_t *list)
{
    size_t index;
    json_t *item;
    text_add_char(out, '[');
    json_array_foreach(list, index, item)
    {
        if (index > 0)
            text_add_string(out, ", ");
        if (!add_scalar(out, item))
            return false;
    }
    text_add_char(out, ']');
    return true;
}

/* Notes what the line that ends here is from. */
static bool end_line(struct channel_text *text, const char *pointer)
{
    char **more = room_grow(text->pointers, &text->pointer_room, text->pointer_count + 1,
                            sizeof *text->pointers);
    if (more == NULL)
        return false;
    text->pointers = more;
    char *copy = pointer != NULL ? text_copy(pointer) : NULL;
    more[text->pointer_count++] = copy;
    text_add_char(&text->yaml, '\n');
    return pointer == NULL || copy != NULL;
}

static void add_step(struct text *pointer, const char *key)
{
    text_add_char(pointer, '/');
    for (; *key != '\0'; key++)
        if (*key == '~' || *key == '/')
            text_add_string(pointer, *key == '~' ? "~0" : "~1");
        else
            text_add_char(pointer, *key);
}

static bool add_map(struct channel_text *text, const json_t *map, const char *above, unsigned depth,
                    json_t *errors);

static bool add_key(struct channel_text *text, const char *key, const json_t *value,
                    const char *above, unsigned depth, json_t *errors)
{
    struct text pointer = {0};
    text_add_string(&pointer, above);
    add_step(&pointer, key);
    bool good = !pointer.failed, fits = true;
    text_add(&text->yaml, "%*s", (int)((depth + 2) * INDENT), "");
    add_word(&text->yaml, key);
    text_add_char(&text->yaml, ':');
    if (json_is_object(value) && json_object_size(value) > 0 && depth < DEPTH_MAX) {
        good = good && end_line(text, pointer.at) &&
               add_map(text, value, pointer.at, depth + 1, errors);
    } else {
        text_add_char(&text->yaml, ' ');
        if (json_is_object(value)) {
            text_add_string(&text->yaml, "{}");
            fits = json_object_size(value) == 0;
        } else {
            fits = json_is_array(value) ? add_list(&text->yaml, value)
                                        : add_scalar(&text->yaml, value);
        }
        good = good && end_line(text, pointer.at);
    }
    if (!fits && good) {
        struct text whole = {0};
        text_add(&whole, "/configuration%s", pointer.at);
        channel_text_fault(errors, whole.at, false,
                           "a value is a text, a number, true or false, or a list of those");
        text_free(&whole);
    }
    text_free(&pointer);
    return good;
}

static bool add_map(struct channel_text *text, const json_t *map, const char *above, unsigned depth,
                    json_t *errors)
{
    const char *key;
    json_t *value;
    bool good = true;
    json_object_foreach((json_t *)(uintptr_t)map, key, value)
    {
        bool own = depth == 0 && strcmp(key, "schema") == 0;
        if (good && !own && !json_is_null(value)) /* null: it is not said */
            good = add_key(text, key, value, above, depth, errors);
    }
    return good;
}

bool channel_text_write(struct channel_text *text, struct span head, const char *name,
                        const json_t *configuration, const char *schema, json_t *errors)
{
    bool good = true;
    for (size_t at = 0; at < head.bytes && good;) {
        const uint8_t *from = head.at + at, *end = memchr(from, '\n', head.bytes - at);
        size_t bytes = end != NULL ? (size_t)(end - from) : head.bytes - at;
        text_add_bytes(&text->yaml, from, bytes);
        good = end_line(text, NULL);
        at += bytes + 1;
    }
    text_add_string(&text->yaml, "channels:");
    good = good && end_line(text, NULL);
    text_add(&text->yaml, "%*s", (int)INDENT, "");
    add_word(&text->yaml, name);
    bool empty = json_object_size(configuration) == 0 && schema == NULL;
    text_add_string(&text->yaml, empty ? ": {}" : ":");
    good = good && end_line(text, "");
    if (schema != NULL && good) {
        json_t *value = json_of_text(schema);
        good = value != NULL && add_key(text, "schema", value, "", 0, errors);
        json_decref(value);
    }
    return good && add_map(text, configuration, "", 0, errors) && !text->yaml.failed;
}

const char *channel_text_pointer(const struct channel_text *text, uint32_t line)
{
    bool known = line > 0 && line <= text->pointer_count && text->pointers[line - 1] != NULL;
    return known ? text->pointers[line - 1] : "";
}

void channel_text_free(struct channel_text *text)
{
    for (size_t i = 0; i < text->pointer_count; i++)
        free(text->pointers[i]);
    free(text->pointers);
    text_free(&text->yaml);
}

struct span channel_text_head(const struct config_file *file)
{
    size_t bytes = 0;
    while (bytes < file->bytes && strchr("#\n", file->text[bytes]) != NULL) {
        const uint8_t *end = memchr(file->text + bytes, '\n', file->bytes - bytes);
        if (end == NULL)
            return (struct span){file->text, bytes};
        bytes = (size_t)(end - file->text) + 1;
    }
    return (struct span){file->text, bytes};
}

/* ---- reading ---- */

/* Numbers and truths as such, where the text is how JSON would write them. */
static json_t *read_text(const struct config_node *node)
{
    const char *text = node->text;
    size_t digits = strspn(text, "0123456789");
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return json_boolean(text[0] == 't');
    if (digits > 0 && digits <= DIGITS && text[digits] == '\0' && (text[0] != '0' || digits == 1))
        return json_integer(strtoll(text, NULL, 10));
    return json_of_text(text);
}

static json_t *read_node(const struct config_node *node)
{
    if (node->kind == NODE_TEXT)
        return read_text(node);
    json_t *all = node->kind == NODE_LIST ? json_array() : json_object();
    for (const struct config_node *entry = node->first; entry != NULL; entry = entry->next)
        if (node->kind == NODE_LIST)
            json_array_append_new(all, read_node(entry));
        else if (!entry->duplicate && entry->key->kind == NODE_TEXT)
            json_object_set_new(all, entry->key->text, read_node(entry));
    return all;
}

json_t *channel_text_read(const struct config_node *keys)
{
    return keys->kind == NODE_MAP ? read_node(keys) : json_object();
}
