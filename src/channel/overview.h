/* SPDX-License-Identifier: MIT
 * What programs agree on of overviews: min-max levels of a channel's recordings, each of so many
 * windows of the one below. Their files are in a folder of this name in the channel's. And of
 * compaction: by what recordings are packed. */
#ifndef FLOTILLA_CHANNEL_OVERVIEW_H
#define FLOTILLA_CHANNEL_OVERVIEW_H

#define OVERVIEW_FOLDER     "overview"
#define OVERVIEW_FACTOR     50u
#define OVERVIEW_FACTOR_MIN 2u
#define OVERVIEW_FACTOR_MAX 1000u
#define OVERVIEW_LEVELS     3u
#define OVERVIEW_LEVELS_MAX 6u

enum compact_codec { COMPACT_DEFLATE, COMPACT_ZSTANDARD };
/* Their names, for tables of values. */
#define COMPACT_CODEC_NAMES                                                                        \
    {                                                                                              \
        [COMPACT_DEFLATE] = "deflate", [COMPACT_ZSTANDARD] = "zstandard",                          \
        [COMPACT_ZSTANDARD + 1] = NULL                                                             \
    }

#endif
