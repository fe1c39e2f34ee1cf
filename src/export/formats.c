/* SPDX-License-Identifier: MIT
 * The formats there are. */
#include "export/formats.h"

#include <string.h>

#include "base/check.h"

static const struct export_format *const formats[] = {
    &format_hdf5,
    &format_mdf4,
    &format_mcap,
    &format_csv,
    &format_avro,
};

const struct export_format *formats_at(size_t index)
{
    return index < ARRAY_COUNT(formats) ? formats[index] : NULL;
}

const struct export_format *formats_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++)
        if (strcmp(formats[i]->name, name) == 0)
            return formats[i];
    return NULL;
}

/* Whether `extension` (".h5") is one of the words of `extensions`. */
static bool is_among(const char *extension, const char *extensions)
{
    size_t bytes = strlen(extension);
    for (const char *at = extensions; *at != '\0'; at += strspn(at, " ")) {
        size_t word = strcspn(at, " ");
        if (word == bytes && memcmp(at, extension, bytes) == 0)
            return true;
        at += word;
    }
    return false;
}

const struct export_format *formats_of_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash != NULL ? slash : path, '.');
    for (size_t i = 0; dot != NULL && i < ARRAY_COUNT(formats); i++)
        if (is_among(dot, formats[i]->extensions))
            return formats[i];
    return NULL;
}
