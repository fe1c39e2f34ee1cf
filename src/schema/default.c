/* SPDX-License-Identifier: MIT
 * Walks a default and its type side by side. What newer specifications and some readers take, a
 * union's default that is of a later type, and NaN and infinities as strings, is warned of: nothing
 * here reads defaults, and schemas are shared. Nests as deep as the JSON does.
 * Relies on jansson. Known limit: the text of a string is taken as it is, also with NULs. */
#include "schema/default.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"

struct check {
    struct report *report; /* NULL: only the answer counts */
    bool integers_are_real;
};

static const char *found(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "null";
    }
}

static bool wrong(const struct check *check, const struct schema *type, const char *what,
                  const json_t *value)
{
    if (check->report == NULL)
        return false;
    const char *kind = schema_kind_name(type->kind);
    bool vowel = strchr("aeiou", kind[0]) != NULL;
    report_error(check->report, "the default of %s %s is %s, found %s", vowel ? "an" : "a", kind,
                 what, found(value));
    return false;
}

static bool is_whole(const struct check *check, const json_t *value, double low, double high)
{
    if (json_is_integer(value))
        return (double)json_integer_value(value) >= low &&
               (double)json_integer_value(value) <= high;
    double real = json_real_value(value);
    return check->integers_are_real && json_is_real(value) && real >= low && real <= high &&
           real < 0x1p63 && (double)(int64_t)real == real;
}

/* One character a byte, \u0000 to \u00ff. -1 if it holds others. */
static int64_t count_bytes(const json_t *value)
{
    const uint8_t *at = (const uint8_t *)json_string_value(value);
    const uint8_t *end = at + json_string_length(value);
    int64_t count = 0;
    for (; at < end; at++) {
        if (*at >= 0xc4) /* a letter beyond U+00FF */
            return -1;
        count += (*at & 0xc0) != 0x80;
    }
    return count;
}

static bool check_value(struct check *check, const struct schema *type, const json_t *value);

static bool check_bytes(struct check *check, const struct schema *type, const json_t *value)
{
    if (!json_is_string(value))
        return wrong(check, type, "a string with one character a byte, \\u0000 to \\u00ff", value);
    int64_t count = count_bytes(value);
    if (count < 0) {
        if (check->report != NULL)
            report_error(check->report,
                         "the default of %s has characters beyond \\u00ff; one "
                         "stands for one byte",
                         schema_kind_name(type->kind));
        return false;
    }
    if (type->kind == LAYOUT_FIXED && count != type->count) {
        if (check->report != NULL)
            report_error(check->report, "the default has %" PRId64 " bytes, the fixed has %" PRIu32,
                         count, type->count);
        return false;
    }
    return true;
}

static bool check_enum(struct check *check, const struct schema *type, const json_t *value)
{
    if (!json_is_string(value))
        return wrong(check, type, "one of its symbols", value);
    for (uint32_t i = 0; i < type->count; i++)
        if (type->symbols[i] == NULL || strcmp(type->symbols[i], json_string_value(value)) == 0)
            return true;
    if (check->report != NULL)
        report_error(check->report, "the enum has no symbol \"%.100s\"", json_string_value(value));
    return false;
}

static bool check_list(struct check *check, const struct schema *type, const json_t *value)
{
    bool good = json_is_array(value);
    if (!good)
        return wrong(check, type, "a list", value);
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (check->report != NULL)
            report_into_index(check->report, i);
        good &= check_value(check, type->items, json_array_get(value, i));
        if (check->report != NULL)
            report_out(check->report);
        else if (!good)
            break;
    }
    return good;
}

static bool check_map(struct check *check, const struct schema *type, const json_t *value)
{
    bool good = json_is_object(value);
    if (!good)
        return wrong(check, type, "an object", value);
    json_t *map = (json_t *)(uintptr_t)value, *one; /* jansson's loop takes no const */
    const char *key;
    json_object_foreach(map, key, one)
    {
        if (check->report != NULL)
            report_into_key(check->report, key);
        good &= check_value(check, type->items, one);
        if (check->report != NULL)
            report_out(check->report);
        else if (!good)
            break;
    }
    return good;
}

static bool check_record(struct check *check, const struct schema *type, const json_t *value)
{
    bool good = json_is_object(value);
    if (!good)
        return wrong(check, type, "an object with its fields", value);
    for (uint32_t i = 0; i < type->count; i++) {
        const struct schema_field *field = &type->fields[i];
        if (field->name == NULL)
            continue;
        const json_t *one = json_object_get(value, field->name);
        if (one == NULL) {
            if (!field->has_default && check->report != NULL)
                report_error(check->report,
                             "the default lacks the field \"%.100s\", which has no "
                             "default of its own",
                             field->name);
            good &= field->has_default;
            continue;
        }
        if (check->report != NULL)
            report_into_key(check->report, field->name);
        good &= check_value(check, field->type, one);
        if (check->report != NULL)
            report_out(check->report);
        else if (!good)
            break;
    }
    return good;
}

static bool check_real(struct check *check, const struct schema *type, const json_t *value)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    const char *text = json_string_value(value);
    if (json_is_number(value))
        return true;
    for (size_t i = 0; text != NULL && i < ARRAY_COUNT(words); i++)
        if (strcmp(text, words[i]) == 0) {
            if (check->report != NULL)
                report_warning(check->report,
                               "the default of a %s is \"%s\": avsc, hamba, goavro and polars do "
                               "not open files with it",
                               schema_kind_name(type->kind), text);
            return true;
        }
    return wrong(check, type, "a number", value);
}

static bool check_union(struct check *check, const struct schema *type, const json_t *value)
{
    struct check quiet = {NULL, check->integers_are_real};
    if (type->count == 0 || type->branches[0] == NULL)
        return true;
    if (check_value(&quiet, type->branches[0], value))
        return check_value(check, type->branches[0], value); /* which may warn */
    if (check->report == NULL)
        return false;
    for (uint32_t i = 1; i < type->count; i++) {
        const struct schema *branch = type->branches[i], *first = type->branches[0];
        if (branch == NULL || !check_value(&quiet, branch, value))
            continue;
        const char *name = branch->name ? branch->name : schema_kind_name(branch->kind);
        report_warning(
            check->report,
            "the default of a union is of its first type, here %.100s; Java 1.11 refuses "
            "the schema, and avsc, hamba and goavro do not open files with it: to have "
            "%.100s as the default, put it first",
            first->name ? first->name : schema_kind_name(first->kind), name);
        return true;
    }
    return check_value(check, type->branches[0], value);
}

static bool check_value(struct check *check, const struct schema *type, const json_t *value)
{
    if (type == NULL)
        return true;
    switch (type->kind) {
    case LAYOUT_NULL:
        return json_is_null(value) || wrong(check, type, "null", value);
    case LAYOUT_BOOLEAN:
        return json_is_boolean(value) || wrong(check, type, "true or false", value);
    case LAYOUT_INT:
        return is_whole(check, value, INT32_MIN, INT32_MAX) ||
               wrong(check, type, "a whole number from -2147483648 to 2147483647", value);
    case LAYOUT_LONG:
        return is_whole(check, value, -0x1p63, 0x1p63) ||
               wrong(check, type, "a whole number of 64 bits", value);
    case LAYOUT_FLOAT:
    case LAYOUT_DOUBLE:
        return check_real(check, type, value);
    case LAYOUT_STRING:
        return json_is_string(value) || wrong(check, type, "a string", value);
    case LAYOUT_BYTES:
    case LAYOUT_FIXED:
        return check_bytes(check, type, value);
    case LAYOUT_ENUM:
        return check_enum(check, type, value);
    case LAYOUT_UNION:
        return check_union(check, type, value);
    case LAYOUT_ARRAY:
        return check_list(check, type, value);
    case LAYOUT_MAP:
        return check_map(check, type, value);
    case LAYOUT_RECORD:
        return check_record(check, type, value);
    default:
        return false;
    }
}

void schema_check_default(struct report *report, const struct schema *type, const json_t *value,
                          bool integers_are_real)
{
    struct check check = {report, integers_are_real};
    check_value(&check, type, value);
}
