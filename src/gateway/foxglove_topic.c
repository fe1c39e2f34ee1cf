/* SPDX-License-Identifier: MIT
 * Topics. Known: a datum of few bytes can be a message of many (arrays of records of nulls); it is
 * made before it is found to be too long. */
#include "gateway/foxglove_topic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/history.h"
#include "gateway/foxglove_words.h"

/* Finds the column that is the channel's time, if that is an instant. */
static void find_time(struct topic_form *form, const char *time)
{
    form->time_column = UINT32_MAX;
    for (uint32_t i = 0; i < form->columns->count && time[0] != '\0'; i++) {
        const struct column *column = &form->columns->list[i];
        if (strcmp(column->path, time) != 0 || column->type->kind != LAYOUT_LONG)
            continue;
        form->unit_ns = instant_unit_ns(column->type);
        form->time_column = form->unit_ns > 0 ? i : UINT32_MAX;
    }
}

int topic_form_make(struct topic_form **made, const char *channel, struct span schema,
                    const char *time, char *error, size_t error_bytes)
{
    struct topic_form *form = calloc(1, sizeof(*form));
    *made = form;
    if (form == NULL)
        return -ENOMEM;
    form->time = text_copy(time);
    form->schema = schema_parse(schema, error, error_bytes);
    if (form->schema == NULL)
        return -EINVAL;
    int status = columns_select(form->schema, NULL, 0, &form->columns, error, error_bytes);
    if (status == 0)
        status = ros2msg_make(&form->message, form->columns, channel);
    if (status == 0 && strlen(form->message.text) > TOPIC_BYTES_MAX)
        status = -E2BIG;
    if (status == -E2BIG && form->columns != NULL)
        snprintf(error, error_bytes, "the definition of its messages is longer than %u KiB",
                 TOPIC_BYTES_MAX >> 10);
    if (status < 0)
        return status;
    form->values = calloc(form->columns->value_room + 1u, sizeof(*form->values));
    find_time(form, time);
    return form->values != NULL && form->time != NULL ? 0 : -ENOMEM;
}

void topic_form_free(struct topic_form *form)
{
    if (form == NULL)
        return;
    ros2msg_free(&form->message);
    columns_free(form->columns);
    schema_free(form->schema);
    free(form->values);
    free(form->time);
    free(form);
}

bool topic_form_is_of(const struct topic_form *form, struct span schema, const char *time)
{
    struct span own = schema_text(form->schema);
    return own.bytes == schema.bytes && memcmp(own.at, schema.at, own.bytes) == 0 &&
           strcmp(form->time, time) == 0;
}

static uint64_t stamp(const struct topic_form *form, uint64_t at_ns)
{
    if (form->time_column == UINT32_MAX)
        return at_ns;
    const struct column_value *value = &form->values[form->time_column];
    uint64_t ns;
    if (!value->present || value->integer < 0 ||
        __builtin_mul_overflow((uint64_t)value->integer, form->unit_ns, &ns))
        return at_ns;
    return ns;
}

bool topic_form_write(struct topic_form *form, struct span datum, uint64_t at_ns, struct text *out)
{
    static const char front[FOXGLOVE_DATA_BYTES];
    size_t before = out->bytes, bytes;
    if (columns_read(form->columns, datum, &bytes, form->values) != REJECT_NONE)
        return false;
    text_add_bytes(out, front, sizeof(front));
    if (!out->failed && cdr_write(&form->message.steps, stamp(form, at_ns), form->values, out) &&
        out->bytes - before <= TOPIC_BYTES_MAX)
        return true;
    out->bytes = before;
    return false;
}
