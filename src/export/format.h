/* SPDX-License-Identifier: MIT
 * The contract between what is exported and the formats it is written in. The core (export/run)
 * reads recordings and makes tables of them; a format, a file of its own beside this one, writes
 * them. A format knows nothing of recordings, the core nothing of files.
 *
 *     begin           once; the file is open for writing (struct made)
 *     begin_table     one for each channel, before its first batch; more may be begun at any time
 *     append          batches of rows of a table, in order; those of several tables may alternate
 *     end_table       no more rows; what is known at the end only
 *     end             the file is to be whole then; the core syncs it and gives it its name
 *     abort           instead of end, at any point after begin, also after a failure of one of
 *                     these: frees everything. The file is thrown away by the core. A begin that
 *                     fails leaves nothing to abort
 *
 * All calls come from one thread, but not from that of the main program. Whatever is passed in is
 * the core's: tables and their columns live until end or abort has returned, a batch until append
 * has. A format allocates as it likes but holds no more than a few MiB a table, however many rows
 * there are. Functions return 0 or a negative errno; with a message in `error` where there is more
 * to say than strerror would; "" there means strerror's words. */
#ifndef FLOTILLA_EXPORT_FORMAT_H
#define FLOTILLA_EXPORT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "os/made.h"
#include "schema/schema.h"

/* ---- columns ---- */

/* What a column's values are in memory. */
enum export_kind {
    EXPORT_BOOLEAN, /* uint8_t, 0 or 1 */
    EXPORT_INT,     /* int32_t */
    EXPORT_LONG,    /* int64_t */
    EXPORT_FLOAT,   /* float */
    EXPORT_DOUBLE,  /* double */
    EXPORT_ENUM,    /* int32_t: index into type->symbols, of type->count */
    EXPORT_FIXED,   /* `width` bytes each, back to back */
    EXPORT_STRING,  /* UTF-8 of any length, may hold NULs: offsets into bytes */
    EXPORT_BYTES,   /* any bytes: as strings */
    EXPORT_ARRAY,   /* any number of items: offsets into the items' rows */
    EXPORT_MAP, /* the same, each item with a key: items[0] is the column of keys, named "key" */
    EXPORT_NULL /* of type null: there is no value, ever */
};

struct export_columns;

struct export_column {
    const char *path; /* as in schema/columns.h: "position.lat", "value:double", "tracks[].x"; ""
                         where the datum itself is no record */
    /* The same taken apart, from the outermost field to this one: "position", "lat". Of an item
     * from the item on: "x"; none where the item (or datum) is no record or union itself. Any
     * UTF-8 without a NUL: what a format cannot take in a name it replaces. */
    const char *const *names;
    uint32_t name_count;
    enum export_kind kind;
    uint32_t width; /* bytes of a value in memory; 0 of strings, bytes, arrays, maps and null */
    /* Of the first file that has the column: logical type (where type->logical_holds), precision
     * and scale of a decimal, an enum's symbols. NULL for the keys of a map. */
    const struct schema *type;
    bool nullable;                      /* a row may be without it */
    const char *unit, *doc;             /* UTF-8, fit for no terminal; NULL: none */
    const struct export_columns *items; /* of an array or a map, else NULL */
};

struct export_columns {
    const struct export_column *list;
    uint32_t count;
};

/* ---- tables ---- */

/* Where `time_ns` of a batch comes from. */
enum export_time {
    EXPORT_TIME_NONE,    /* nothing is known: time_ns is NULL, rows have only their number */
    EXPORT_TIME_FIELD,   /* a field of the datums, nanoseconds since 1970 */
    EXPORT_TIME_ARRIVAL, /* when the datum came in, or the first one of its block */
    EXPORT_TIME_GRID     /* --every 10ms: its multiples */
};

#define EXPORT_COLUMN_NONE UINT32_MAX

struct export_table {
    const char *name;    /* the channel's; with a number where its schema changed too much */
    const char *channel; /* "engine"; "" where it is not known */
    struct export_columns columns;
    enum export_time time;
    /* Of EXPORT_TIME_FIELD: the column that the time is made of, EXPORT_COLUMN_NONE where it is not
     * among those chosen. */
    uint32_t time_column;
    /* time_ns says all that the column does (it is an integer of nanoseconds or coarser): a format
     * may leave the column out. */
    bool time_exact;
    uint32_t rows_max; /* of a batch: less than EXPORT_BATCH_ROWS_MAX where rows are wide */
    /* With EXPORT_DATUMS: the datums' schema, one for all of the table. Else NULL. */
    const struct schema_file *schema;
    /* Dotted paths of the fields that are the time and the sequence, as the first file says; NULL:
     * there is none. */
    const char *time_path, *sequence_path;
};

/* The values of a column in a batch. Where a row has none (`valid` says so) its value is zero, its
 * offsets span nothing. */
struct export_vector {
    union {
        void *values;   /* `width` bytes a row, aligned for their type */
        uint8_t *bytes; /* of strings and bytes: all of them, one behind the other */
    };
    uint64_t *offsets;   /* of strings, bytes, arrays and maps: rows + 1, from 0 on; else NULL */
    uint8_t *valid;      /* a byte a row, 0 or 1; NULL where the column is not nullable */
    uint64_t null_count; /* of the rows, those with valid 0 */
    /* Of arrays and maps: a vector for each column of items, of offsets[rows] rows. */
    struct export_vector *items;
};

struct export_batch {
    const struct export_table *table;
    uint32_t rows; /* 1 to EXPORT_BATCH_ROWS_MAX */
    /* By row: the time (NULL: EXPORT_TIME_NONE), nanoseconds since 1970. It may stand still or go
     * back where the channel's does. */
    const int64_t *time_ns;
    /* By row: when the datum came in, as far as the recording tells; 0 where it does not. */
    const uint64_t *arrival_ns;
    const struct export_vector *vectors; /* by column; NULL with EXPORT_DATUMS */
    const struct span *datums; /* with EXPORT_DATUMS, by row: as recorded, valid by the schema */
};

#define EXPORT_BATCH_ROWS_MAX 16384u

/* What is known of a table at its end: where it comes from and what is missing of it. */
struct export_origin {
    const char *files; /* names, one a line, the first and last where there are many */
    uint64_t file_count;
    uint64_t rows;
    int64_t first_ns, last_ns; /* least and greatest of time_ns; 0 without time */
    const char
        *losses; /* for people, one a line: "engine-...avro: offset 4096: ..."; "" for none */
    uint64_t loss_count; /* as many places */
    uint64_t lost_bytes;
    uint64_t missing_files;  /* numbers that are not there between the first and the last */
    uint64_t missing_datums; /* numbers that the channel's sequence passes over */
    uint64_t times_back;     /* rows whose time is earlier than that of the row before */
};

/* ---- formats ---- */

enum export_rows {
    EXPORT_VECTORS, /* rows come as columns; files of one channel with other schemas are one table
                       where their fields go together by path and type */
    EXPORT_DATUMS   /* rows come as they were recorded; another schema is another table */
};

/* How times are written as text. */
enum export_clock {
    EXPORT_CLOCK_TEXT,    /* RFC 3339 */
    EXPORT_CLOCK_SECONDS, /* since 1970 */
    EXPORT_CLOCK_NS       /* the same in nanoseconds */
};

struct export_options {
    enum export_clock clock;     /* of a format with `clock` */
    unsigned gzip;               /* level 1 to 12; 0: uncompressed */
    const char *title, *command; /* of the whole: the file's name, and the words of this program */
    const char *const *fields; /* as given with --fields, which EXPORT_DATUMS has to heed itself */
    size_t field_count;
    bool several; /* more than one table is known of in advance */
    /* To be called, with `context`, where values cannot be written as they are ("3 texts hold a
     * NUL, ..."): people are told, and it counts as loss. */
    void (*tell)(void *context, const char *what);
    void *context;
};

struct export_format {
    const char *name;       /* of --format: "hdf5" */
    const char *extensions; /* of FILE, the first one the usual: ".h5 .hdf5 .nc" */
    const char *summary;    /* for --help: what opens it */
    const char *left_out;   /* NULL, or what it lacks: "was built without libhdf5" */
    bool pipe;              /* writes from front to back, so that -o - may be a pipe */
    bool one_table;         /* a file holds one table; the core refuses more in words */
    bool gzip;              /* --gzip means something to it */
    bool clock;             /* so does --time-as */
    enum export_rows rows;
    int (*begin)(void **file, struct made *made, const struct export_options *options, char *error,
                 size_t error_bytes);
    /* `*state` is the format's for this table, handed to append and end_table. */
    int (*begin_table)(void *file, const struct export_table *table, void **state, char *error,
                       size_t error_bytes);
    int (*append)(void *file, void *state, const struct export_batch *batch, char *error,
                  size_t error_bytes);
    int (*end_table)(void *file, void *state, const struct export_origin *origin, char *error,
                     size_t error_bytes);
    int (*end)(void *file, char *error, size_t error_bytes);
    void (*abort)(void *file);
};

/* Each in a file of its own, in the order of --help (export/formats.c). */
extern const struct export_format format_hdf5; /* hdf5.c, or hdf5_left_out.c */
extern const struct export_format format_mdf4, format_mcap, format_csv, format_avro;

#endif
