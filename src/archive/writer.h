/* SPDX-License-Identifier: MIT
 * Writes a recording for tools, in the house's block format (avro/block.h): under NAME.part, whole
 * blocks, past the page cache where that can be had, synced and then renamed to NAME. What was
 * begun can be taken up again at the end of any of its blocks. One thread.
 * Relies on os/direct; the header's entries are the caller's, but for those that tell the format.
 */
#ifndef FLOTILLA_ARCHIVE_WRITER_H
#define FLOTILLA_ARCHIVE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/codec.h"
#include "avro/block.h"
#include "base/span.h"
#include "os/descriptor.h"

struct writer; /* opaque */

/* An entry of the header. */
struct writer_entry {
    const char *key;
    struct span value;
};

/* Begins the file `name` (as it is called in the end) in `folder`, which must outlive the writer:
 * makes `name`.part, which must not be there, and writes its header: `entries` (avro.schema among
 * them) and the format's own. With `direct` past the page cache, where the file system allows it. 0
 * or a negative errno; nothing is left then. Ended by writer_finish or writer_close. */
int writer_begin(struct writer **writer, descriptor_t folder, const char *name,
                 const struct writer_entry *entries, size_t entry_count, bool direct);

/* The same for a file that is to take the place of `name` in one step: made as `beside`, which is
 * no recording's name and may be there from before, in the format of files that are compacted by
 * `codec` (archive/packed.h), with the marker `sync`. */
int writer_begin_beside(struct writer **writer, descriptor_t folder, const char *name,
                        const char *beside, const struct writer_entry *entries, size_t entry_count,
                        enum codec codec, const uint8_t sync[BLOCK_SYNC_BYTES], bool direct);

/* Goes on with `name`.part at byte `end`, where its header or a block ends; cuts off what is
 * behind. 0; -EBADMSG if there is no header or no sync marker in front of `end`; or another
 * negative errno. */
int writer_resume(struct writer **writer, descriptor_t folder, const char *name, uint64_t end,
                  bool direct);

/* Whether a datum of so many bytes still fits the block at hand, and without making it longer than
 * `bytes_max` (at most BLOCK_BYTES_MAX). An empty block takes any datum that fits a block. */
bool writer_fits(const struct writer *writer, size_t datum_bytes, size_t bytes_max);
/* Puts a datum into the block at hand, which has room for it. `arrival_ns` counts of its first. */
void writer_add(struct writer *writer, struct span datum, uint64_t arrival_ns);
/* Datum bytes, and bytes of the file, of the block at hand; 0: it is empty. */
size_t writer_block_data(const struct writer *writer);
size_t writer_block_bytes(const struct writer *writer);
/* Ends the block at hand, if it is not empty, and hands it to the system now or with later ones. 0
 * or a negative errno: then the file is as it was at the last writer_sync. */
int writer_end_block(struct writer *writer);
/* Puts a block that is finished, with its place (block_place of writer_bytes) and marker, behind
 * the last one. As writer_end_block; the block at hand is empty. */
int writer_add_block(struct writer *writer, struct span image);
/* Waits until every block that was ended is on the medium. */
int writer_sync(struct writer *writer);
/* The file's end behind the last block that was ended. */
uint64_t writer_bytes(const struct writer *writer);
size_t writer_alignment(const struct writer *writer);

/* Ends the block at hand, syncs, gives the file its final name, syncs the folder, and closes. 0 or
 * a negative errno (-EEXIST where there is one of that name); NAME.part stays then. */
int writer_finish(struct writer *writer);
/* Of writer_begin_beside: sets the time that it was modified at, has it take the place of the
 * other, syncs the folder, and closes. 0 or a negative errno, -ENOENT where the other has gone;
 * what there was of the two stays then. Where the file system cannot exchange two names (NFS,
 * FUSE), what is removed between a last look and the renaming comes back as this one. */
int writer_replace(struct writer *writer, uint64_t modified_ns);
/* Closes and leaves what there is; harmless on NULL. */
void writer_close(struct writer *writer);

#endif
