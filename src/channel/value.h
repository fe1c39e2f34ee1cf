/* SPDX-License-Identifier: MIT
 * One value of a setting, from text and to text: the same forms, ranges and messages whether it
 * stands in a flag or in fleet.yaml. A form is a const entry in a table next to the key's name.
 * Relies on base/units and os/net; no allocation. */
#ifndef FLOTILLA_CHANNEL_VALUE_H
#define FLOTILLA_CHANNEL_VALUE_H

#include <stddef.h>
#include <stdint.h>

/* Room for any value's text but a VALUE_TEXT of more than 1,024 bytes. */
#define VALUE_TEXT_BYTES 1088

/* What the text looks like, and in brackets what it is read into. */
enum value_kind {
    VALUE_TEXT,      /* any text of `low` to `high` bytes, NUL included in neither
                        [char array of high + 1 bytes] */
    VALUE_PATH,      /* as VALUE_TEXT */
    VALUE_NAME,      /* a channel's name [char array, CHANNEL_NAME_BYTES_MAX + 1] */
    VALUE_INTERFACE, /* a network interface's name [char array, NET_INTERFACE_BYTES] */
    VALUE_ADDRESS,   /* ADDRESS:PORT [struct address] */
    VALUE_PREFIX,    /* ADDRESS or ADDRESS/BITS [struct prefix] */
    VALUE_COUNT,     /* low to high [uint32_t] */
    VALUE_BYTES,     /* with a unit; low to high, and 0 where `zero` has a meaning [uint64_t] */
    VALUE_DURATION,  /* with a unit; as above, in milliseconds [uint64_t] */
    VALUE_PERCENT,   /* 0% to 100% [double] */
    VALUE_CHOICE,    /* one of `choices`, in the order of the enum [an enum of int's size] */
    VALUE_BOOLEAN    /* true or false [bool] */
};

struct value_form {
    enum value_kind kind;
    uint64_t low, high;
    const char *zero; /* what 0 means, for help and messages; NULL: 0 is refused below low */
    const char *const *choices; /* NULL-terminated */
};

/* Reads `text` into `*into` (see value_kind), which is left alone on failure. 0, or -EINVAL with a
 * message for people in `error`, without a place: "\"5m\" is not a duration; ...". */
int value_read(const struct value_form *form, const char *text, void *into, char *error,
               size_t error_bytes);

/* Writes what value_read reads back to the same value; "" for an address of no family and for empty
 * text. Returns `text`. */
char *value_write(const struct value_form *form, const void *from, char text[VALUE_TEXT_BYTES]);

/* What stands for such a value in help: "ADDRESS:PORT", "auto|required|off", "SIZE" ...
 * Returns `text`. */
char *value_describe(const struct value_form *form, char text[VALUE_TEXT_BYTES]);

#endif
