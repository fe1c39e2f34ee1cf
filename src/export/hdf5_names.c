/* SPDX-License-Identifier: MIT
 * Names that netCDF takes, groups and attributes. Texts are of fixed length and UTF-8, which old
 * readers know as well. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/hdf5.h"

#define H5_REASON_BYTES 200

/* Keeps the innermost reason. */
static herr_t see_error(unsigned depth, const H5E_error2_t *error, void *context)
{
    char *text = context;
    if (depth == 0)
        snprintf(text, H5_REASON_BYTES, "%s", error->desc);
    return 0;
}

int h5_fail(struct h5_file *file, const char *what)
{
    char text[H5_REASON_BYTES] = "no reason is given";
    if (file->status < 0)
        snprintf(text, sizeof(text), "%s", strerror(-file->status));
    else
        H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, see_error, text);
    if (file->error[0] == '\0')
        snprintf(file->error, file->error_bytes, "HDF5: cannot %s: %s", what, text);
    return file->status < 0 ? file->status : -EIO;
}

void h5_free_name(char name[H5_NAME_BYTES], hid_t group, const char *wanted)
{
    size_t bytes = 0;
    for (const char *at = wanted; *at != '\0' && bytes < H5_NAME_BYTES - 6; at++)
        name[bytes++] = *at == '/' || (unsigned char)*at < 0x20 || *at == 0x7f ? '_' : *at;
    while (bytes > 0 && (name[bytes - 1] & 0xc0) == 0x80 && wanted[bytes] != '\0')
        bytes--; /* a character that was cut */
    if (bytes > 0 && wanted[bytes] != '\0' && (name[bytes - 1] & 0x80) != 0)
        bytes--;
    if (bytes > 0 && name[bytes - 1] == ' ')
        name[bytes - 1] = '_';
    if (bytes == 0 || name[0] == '.' || name[0] == ' ')
        bytes = bytes == 0 ? 1 : bytes, name[0] = '_';
    name[bytes] = '\0';
    while (bytes < H5_NAME_BYTES - 1 && H5Lexists(group, name, H5P_DEFAULT) > 0) {
        name[bytes++] = '_';
        name[bytes] = '\0';
    }
}

static bool is_group(hid_t group, const char *name)
{
    H5O_info_t about;
    return H5Oget_info_by_name2(group, name, &about, H5O_INFO_BASIC, H5P_DEFAULT) >= 0 &&
           about.type == H5O_TYPE_GROUP;
}

hid_t h5_group(hid_t group, const char *wanted)
{
    char name[H5_NAME_BYTES];
    if (wanted[0] != '\0' && strchr(wanted, '/') == NULL && wanted[0] != '.' &&
        strlen(wanted) < H5_NAME_BYTES && H5Lexists(group, wanted, H5P_DEFAULT) > 0 &&
        is_group(group, wanted))
        return H5Gopen2(group, wanted, H5P_DEFAULT);
    h5_free_name(name, group, wanted);
    hid_t order = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_link_creation_order(order, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    H5Pset_attr_creation_order(order, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    hid_t made = H5Gcreate2(group, name, H5P_DEFAULT, order, H5P_DEFAULT);
    H5Pclose(order);
    return made;
}

/* Makes the attribute of one value or of `count`, and writes it. */
static int set(struct h5_file *file, hid_t object, const char *name, hid_t type, hid_t memory,
               const void *values, hsize_t count)
{
    hid_t space = count == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool written = attribute >= 0 && H5Awrite(attribute, memory, values) >= 0;
    int status = written ? 0 : h5_fail(file, "write an attribute");
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    return status;
}

int h5_set_text(struct h5_file *file, hid_t object, const char *name, const char *text)
{
    size_t bytes = strlen(text);
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    H5Tset_size(type, bytes > 0 ? bytes : 1);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    int status = set(file, object, name, type, type, bytes > 0 ? text : "\0", 0);
    H5Tclose(type);
    return status;
}

int h5_set_numbers(struct h5_file *file, hid_t object, const char *name, hid_t type,
                   const int64_t *values, size_t count)
{
    return set(file, object, name, type, H5T_NATIVE_INT64, values, count);
}

int h5_set_values(struct h5_file *file, hid_t object, const char *name, hid_t type,
                  const void *values, size_t count)
{
    return set(file, object, name, type, type, values, count);
}
