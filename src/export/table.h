/* SPDX-License-Identifier: MIT
 * Which tables the files of a catalog amount to, and which columns each has: one a channel, of all
 * the fields of its files, matched by path. Where a field's type or unit changes so that its values
 * would not go into one column, the files from there on are another table, "engine" and a number.
 * int and long are one column, so are float and double, enums of which one goes on where the other
 * ends, and what only some of the files have, which is nullable then.
 * Relies on schema/columns and archive/scan. */
#ifndef FLOTILLA_EXPORT_TABLE_H
#define FLOTILLA_EXPORT_TABLE_H

#include "archive/catalog.h"
#include "archive/scan.h"
#include "archive/search.h"
#include "base/text.h"
#include "export/format.h"
#include "schema/columns.h"

#define TABLE_BATCH_BYTES (2u << 20) /* of a batch, and again of what in it varies in length */

/* What of the files is wanted. */
struct table_choice {
    const char *const *fields; /* with none: all */
    size_t field_count;
    struct table_wanted { /* by field, set here */
        bool found;       /* some file has it */
        char why[200];    /* else: what is wrong with it, in the last file */
    } * wanted;
    const char *time;      /* the field that says the time, "arrival", or NULL: as the files say */
    uint64_t time_unit_ns; /* of that field where the schema does not say; 0: not given */
    enum export_rows rows; /* EXPORT_DATUMS: another schema is another table */
    const struct time_span *own; /* of the channels' own time (export/own.h); NULL: all rows */
};

/* How the datums of one file are read, and where their values go. */
struct table_reading {
    struct schema_file *schema;    /* a copy: it lasts when the file is closed */
    const struct columns *columns; /* with the time's and the sequence's, if they are not wanted */
    struct column_value *values;   /* room for a datum's */
    struct table_map {
        uint32_t to;             /* which of the table's columns; EXPORT_COLUMN_NONE: none */
        struct table_map *items; /* of an array or map: one for each of the file's item columns */
    } * maps;
    uint32_t time;    /* which column says the time; EXPORT_COLUMN_NONE: the arrival does */
    uint64_t unit_ns; /* of an integer time field; 0: it is a real one, of `real_unit_ns` */
    double real_unit_ns;
    char sequence_path[COLUMN_PATH_BYTES_MAX]; /* "": none */
    uint32_t sequence; /* which column is the channel's sequence, or EXPORT_COLUMN_NONE */
};

struct table {
    struct export_table of_format;
    char *name, *key;
    const char *time_path;        /* NULL: none */
    bool time_integer;            /* that field is one, in a unit of nanoseconds or coarser */
    struct schema_file **schemas; /* that the columns point into */
    size_t schema_count, schema_room;
    bool begun;       /* table_settle: it is told to formats */
    size_t last_file; /* of the catalog, the last one with datums of this table */
    /* The writing thread's: whether the format has begun it, and the format's own. */
    bool open;
    void *state;
    /* What is found out while it is read, complete when its end is handed on. */
    struct export_origin origin;
    struct text files, losses;
    uint64_t seen;    /* datums, of which --every takes some */
    int64_t sequence; /* the last one */
    int64_t last_ns;  /* time of the row that went out last */
    int64_t seen_ns;  /* of the datum that was seen last */
    bool sequence_known, ended;
};

struct tables {
    struct table **list;
    size_t count, room;
    struct table_choice choice;
};

/* The table for the datums of the file that `scan` has open; its columns are widened, or another
 * table added, as the file needs; or, where `may_grow` is not set, those that are there are left as
 * they are (rows have gone out) and another is added where none fits. 0; -ENOENT (none of the
 * fields that are wanted is there; those that are not are null), -EINVAL (a time that nobody can
 * tell) or -E2BIG with a message, or -ENOMEM. After 0 `error` is "", or says why the time that the
 * file names is not taken for it. */
int tables_take(struct tables *tables, const struct catalog_file *file, const struct scan *scan,
                bool may_grow, struct table **table, char *error, size_t error_bytes);

/* Whether two files are of one channel, in one folder. */
bool table_same_channel(const struct catalog_file *a, const struct catalog_file *b);

/* Its columns stay as they are from here on: what formats are told of it is complete. */
void table_settle(struct table *table);

/* How to read the datums of that file into that table. 0 or as tables_take. The reading is freed
 * with table_reading_free, before the scan is closed. */
int table_reading_begin(struct table_reading *reading, const struct tables *tables,
                        const struct table *table, const struct scan *scan, char *error,
                        size_t error_bytes);
void table_reading_free(struct table_reading *reading);

void tables_free(struct tables *tables);

#endif
