/* SPDX-License-Identifier: MIT
 * os/file.h over a disk that keeps each page twice: as everybody sees it, and as it would be found
 * after a power cut. Names likewise: what happened in the folder since it was last synced is a
 * journal, of which a cut leaves a part from its begin. Nothing makes a name durable but
 * folder_sync, nothing a page but a sync that does not fail: weaker than what ext4 and xfs do. */
#include "os/file.h"
#include "os/mount.h"
#include "os/storage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "world.h"

#define PAGE        4096u
#define INODES_MAX  6000u
#define NAMES_MAX   3000u
#define JOURNAL_MAX 20000u
#define OPEN_MAX    24
#define NAME_BYTES  160
#define FILES_BASE  (1 << 20)

struct inode {
    uint8_t *bytes, *durable, *dirty; /* dirty: a byte a page, DIRTY or FAILED */
    size_t count, durable_count, room;
    uint64_t reserved_end;
    uint32_t links, opened;
    bool torn, harmed; /* a write was cut short; somebody cut it */
    bool shortened;    /* and that is not synced */
    bool early;        /* written before datagrams are received: what waited of another schema */
    bool passed_over;  /* a power cut has taken pages whose sync had failed, which is told once */
};
struct entry {
    char name[NAME_BYTES];
    int inode;
};
struct folder {
    struct entry entries[NAMES_MAX];
    uint32_t count;
};
struct change {
    char from[NAME_BYTES], to[NAME_BYTES]; /* from "": made; to "": removed */
    int inode;
};

enum { DIRTY = 1, FAILED = 2 };

static struct inode inodes[INODES_MAX];
static int inode_count;
static struct folder folder, durable;
static struct change journal[JOURNAL_MAX];
static uint32_t journal_count;
static struct {
    bool used, direct;
    int inode;
} opened[OPEN_MAX];
static struct disk_settings disk;
static int folder_descriptor = DESCRIPTOR_FOLDER; /* rises when the folder is lost */
static bool folder_there, locked;
static struct {
    bool active;
    int inode;
    struct span parts[16];
    uint32_t part_count;
    uint64_t offset;
} in_flight;

/* ---- inodes ---- */

static void inode_room(struct inode *inode, size_t bytes)
{
    if (bytes <= inode->room)
        return;
    size_t room = inode->room == 0 ? 16 * PAGE : inode->room;
    while (room < bytes)
        room *= 2;
    inode->bytes = realloc(inode->bytes, room);
    inode->durable = realloc(inode->durable, room);
    inode->dirty = realloc(inode->dirty, room / PAGE);
    memset(inode->bytes + inode->room, 0, room - inode->room);
    memset(inode->durable + inode->room, 0, room - inode->room);
    memset(inode->dirty + inode->room / PAGE, 0, (room - inode->room) / PAGE);
    inode->room = room;
}

static int inode_new(void)
{
    MUST(inode_count < (int)INODES_MAX);
    inodes[inode_count] = (struct inode){0};
    return inode_count++;
}

void disk_format(const struct disk_settings *settings)
{
    disk = *settings;
    folder_there = true;
}

static size_t page_up(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static uint64_t inode_used(const struct inode *inode)
{
    uint64_t used = page_up(inode->count);
    return inode->links == 0 && inode->opened == 0 ? 0
           : inode->reserved_end > used            ? inode->reserved_end
                                                   : used;
}

uint64_t disk_used(void)
{
    uint64_t used = 0;
    for (int i = 0; i < inode_count; i++)
        used += inode_used(&inodes[i]);
    return used;
}

void disk_room(uint64_t bytes)
{
    disk.room = bytes;
}

/* ---- names ---- */

static int find(const struct folder *in, const char *name)
{
    for (uint32_t i = 0; i < in->count; i++)
        if (strcmp(in->entries[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void copy_folder(struct folder *to, const struct folder *from)
{
    to->count = from->count;
    memcpy(to->entries, from->entries, from->count * sizeof(from->entries[0]));
}

static void apply(struct folder *to, const struct change *change)
{
    int at = change->from[0] != '\0' ? find(to, change->from) : -1;
    if (change->from[0] == '\0') {
        MUST(to->count < NAMES_MAX);
        at = (int)to->count++;
        to->entries[at].inode = change->inode;
    }
    if (at < 0)
        return;
    if (change->to[0] == '\0')
        to->entries[at] = to->entries[--to->count];
    else
        memcpy(to->entries[at].name, change->to, NAME_BYTES);
}

static void change_folder(const char *from, const char *to, int inode)
{
    struct change *change = &journal[journal_count];
    MUST(journal_count < JOURNAL_MAX);
    journal_count++;
    memset(change, 0, sizeof(*change));
    snprintf(change->from, NAME_BYTES, "%s", from);
    snprintf(change->to, NAME_BYTES, "%s", to);
    change->inode = inode;
    char text[2 * NAME_BYTES + 40];
    snprintf(text, sizeof(text), "inode %d: %s -> %s", inode, from, to);
    note_text(text);
    apply(&folder, change);
}

static void count_links(void)
{
    for (int i = 0; i < inode_count; i++)
        inodes[i].links = 0;
    for (uint32_t i = 0; i < folder.count; i++)
        inodes[folder.entries[i].inode].links++;
}

/* A call that may wait for the disk: the receiving thread makes none before the other one is over,
 * but to end a file of another schema before it begins; a memory that was garbled may tell it of
 * one. */
static void disk_call(const char *name, uint64_t cost_ns)
{
    seam(name, cost_ns);
    if (fiber_now() == FIBER_RECEIVER && !host_is_writing_over() && !machine.garbled &&
        !machine.schema_changed)
        fail("the receiving thread calls the disk: %s", name);
}

static bool is_there(descriptor_t descriptor)
{
    return folder_there && descriptor == folder_descriptor;
}

descriptor_t folder_open(const char *path)
{
    (void)path;
    seam("folder_open", 5000);
    if (host_is_sandboxed())
        fail("a folder is opened from inside the sandbox");
    if (fault(machine.faults.open)) {
        events.open_errors++;
        return random_chance(500000) ? -EACCES : -EIO;
    }
    folder_there = true;
    return folder_descriptor;
}

uint64_t folder_identity(descriptor_t descriptor)
{
    seam("folder_identity", 500);
    return (uint64_t)descriptor * 0x9e3779b97f4a7c15u; /* no two are close to one another */
}

bool storage_is_full(int status)
{
    return status == -ENOSPC;
}

int folder_place(descriptor_t descriptor, struct folder_place *place)
{
    seam("folder_place", 500);
    *place = (struct folder_place){1, 1};
    return is_there(descriptor) ? 0 : -ENOENT;
}

int folder_place_at(const char *path, struct folder_place *place)
{
    (void)path;
    seam("folder_place_at", 500);
    *place = (struct folder_place){1, 1};
    return folder_there ? 0 : 1;
}

bool mount_is_at(const char *path)
{
    (void)path;
    fail("nothing has to be mounted here");
    return false;
}

int folder_possible(const char *path)
{
    (void)path;
    seam("folder_possible", 5000);
    return fault(machine.faults.open / 2) ? -EACCES : 0;
}

int folder_rename(descriptor_t descriptor, const char *from, const char *to)
{
    disk_call("folder_rename", 20000);
    if (!is_there(descriptor))
        return -ENOENT;
    if (fault(machine.faults.rename)) {
        events.rename_errors++;
        return -EIO;
    }
    int at = find(&folder, from);
    if (at < 0)
        return -ENOENT;
    if (find(&folder, to) >= 0)
        return -EEXIST;
    change_folder(from, to, folder.entries[at].inode);
    events.files_ended += strstr(to, ".part") == NULL;
    kill_soon();
    fiber_step(STEP_SEAM);
    return 0;
}

int folder_remove(descriptor_t descriptor, const char *name)
{
    disk_call("folder_remove", 10000);
    int at = is_there(descriptor) ? find(&folder, name) : -1;
    if (at < 0)
        return -ENOENT;
    if (fault(machine.faults.rename)) {
        events.rename_errors++;
        return -EIO;
    }
    inodes[folder.entries[at].inode].links--;
    change_folder(name, "", folder.entries[at].inode);
    kill_soon();
    fiber_step(STEP_SEAM);
    return 0;
}

int folder_sync(descriptor_t descriptor)
{
    disk_call("folder_sync", 10000);
    if (!is_there(descriptor))
        return -ENOENT;
    if (fiber_now() >= 0)
        fiber_wait(machine.now_ns + random_between(50000, 500000), NULL, NULL);
    if (fault(machine.faults.folder)) {
        events.folder_errors++;
        return -EIO;
    }
    copy_folder(&durable, &folder);
    journal_count = 0;
    kill_soon();
    fiber_step(STEP_SEAM);
    return 0;
}

int folder_list(descriptor_t descriptor, int (*each)(void *, const char *), void *context)
{
    static struct folder seen;
    disk_call("folder_list", 20000);
    if (!is_there(descriptor))
        return -ENOENT;
    if (fault(machine.faults.folder)) {
        events.folder_errors++;
        return -EIO;
    }
    copy_folder(&seen, &folder);
    uint32_t first = (uint32_t)random_below(seen.count + 1);
    for (uint32_t i = 0; i < seen.count; i++) {
        int status = each(context, seen.entries[(first + i) % seen.count].name);
        if (status != 0)
            return status;
    }
    return 0;
}

descriptor_t folder_lock(descriptor_t descriptor, const char *name)
{
    (void)name;
    seam("folder_lock", 5000);
    if (!is_there(descriptor))
        return -ENOENT;
    if (locked)
        return -EWOULDBLOCK;
    locked = true;
    return DESCRIPTOR_LOCK;
}

void descriptor_close(descriptor_t descriptor)
{
    net_close(descriptor);
    seam("close", 500);
    if (descriptor == DESCRIPTOR_LOCK)
        locked = false;
}

/* ---- files ---- */

static struct inode *inode_of(const struct direct_file *file)
{
    int index = file->descriptor - FILES_BASE;
    if (index < 0 || index >= OPEN_MAX || !opened[index].used)
        fail("a file is used that is not open");
    return &inodes[opened[index].inode];
}

int direct_file_open(struct direct_file *file, descriptor_t descriptor, const char *name,
                     enum file_open how, bool direct)
{
    *file = (struct direct_file){.descriptor = -1, .alignment = PAGE};
    disk_call("file_open", 20000);
    if (!is_there(descriptor))
        return -ENOENT;
    if (fault(machine.faults.open)) {
        events.open_errors++;
        return random_chance(500000) ? -EMFILE : -EIO;
    }
    int at = find(&folder, name);
    if (how == FILE_CREATE && at >= 0)
        return -EEXIST;
    if (how == FILE_EXISTING && at < 0)
        return -ENOENT;
    if (direct && !disk.direct && !disk.refuses_late)
        return -EINVAL;
    if (how == FILE_CREATE) {
        if (disk_used() + PAGE > disk.room)
            return -ENOSPC;
        int inode = inode_new();
        inodes[inode].links = 1;
        change_folder("", name, inode);
        at = find(&folder, name);
        events.files_made++;
    }
    int index = 0;
    while (index < OPEN_MAX && opened[index].used)
        index++;
    if (index == OPEN_MAX)
        fail("descriptors leak");
    opened[index].used = true;
    opened[index].direct = direct;
    opened[index].inode = folder.entries[at].inode;
    inodes[opened[index].inode].opened++;
    file->descriptor = FILES_BASE + index;
    file->direct = direct;
    file->alignment = direct ? disk.alignment : PAGE;
    return 0;
}

void direct_file_close(struct direct_file *file)
{
    seam("file_close", 1000);
    if (file->descriptor < 0)
        return;
    inode_of(file)->opened--;
    opened[file->descriptor - FILES_BASE].used = false;
    file->descriptor = -1;
}

int direct_file_probe_open(descriptor_t descriptor, const char *name, bool direct,
                           struct direct_probe *probe)
{
    (void)name;
    *probe = (struct direct_probe){.alignment = direct ? disk.alignment : PAGE, .step = "make"};
    seam("file_probe_open", 1000);
    if (!is_there(descriptor))
        return -ENOENT;
    probe->refused = direct && !disk.direct && !disk.refuses_late;
    return probe->refused ? -EINVAL : 0;
}

int direct_file_probe(descriptor_t descriptor, const char *name, bool direct,
                      struct direct_probe *probe)
{
    (void)name;
    *probe = (struct direct_probe){.alignment = direct ? disk.alignment : PAGE, .step = "try"};
    disk_call("file_probe", 100000);
    if (!is_there(descriptor))
        return -ENOENT;
    probe->refused = direct && !disk.direct;
    if (probe->refused)
        return random_chance(500000) ? -EINVAL : -EOPNOTSUPP;
    if (disk_used() + PAGE > disk.room)
        return -ENOSPC;
    return fault(machine.faults.write) ? -EIO : 0;
}

uint64_t direct_file_bytes_max(descriptor_t descriptor, uint32_t alignment, uint64_t wanted,
                               bool *limited)
{
    (void)descriptor;
    seam("file_bytes_max", 500);
    *limited = false;
    return wanted / alignment * alignment;
}

bool direct_page_atomic(uint32_t alignment)
{
    return alignment == PAGE && disk.pages_atomic;
}

static void put(struct inode *inode, const uint8_t *from, uint64_t offset, size_t bytes)
{
    inode_room(inode, offset + bytes);
    memcpy(inode->bytes + offset, from, bytes);
    memset(inode->dirty + offset / PAGE, DIRTY, (offset + bytes - 1) / PAGE - offset / PAGE + 1);
    if (offset + bytes > inode->count)
        inode->count = offset + bytes;
}

/* Writes the first `bytes` of the parts; through the page cache they are seen page by page. */
static void put_parts(struct inode *inode, const struct span *parts, uint32_t part_count,
                      uint64_t offset, size_t bytes, bool at_once)
{
    for (uint32_t i = 0; i < part_count; i++)
        for (size_t at = 0; at < parts[i].bytes && bytes > 0; at += PAGE) {
            size_t piece = parts[i].bytes - at < PAGE ? parts[i].bytes - at : PAGE;
            put(inode, parts[i].at + at, offset, piece);
            offset += piece;
            bytes -= piece < bytes ? piece : bytes;
            if (!at_once)
                fiber_step(STEP_SEAM);
        }
}

/* A disk that takes long, now and then very long. */
static void work_on_disk(uint64_t usual_ns)
{
    uint64_t takes_ns = random_between(usual_ns / 4, usual_ns);
    if (fault(machine.faults.stall)) {
        events.stalls++;
        takes_ns = random_spread(1000000, machine.faults.stall_ns_max);
        note("stalls", takes_ns, 0);
    }
    if (fiber_now() >= 0)
        fiber_wait(machine.now_ns + takes_ns, NULL, NULL);
}

static int fail_write(struct inode *inode, const struct span *parts, uint32_t part_count,
                      uint64_t offset, size_t all, bool direct)
{
    events.write_errors++;
    note("write fails", offset, all);
    if (random_chance(400000))
        return -EIO;
    if (direct && offset < inode->count) { /* over a page that stands: half of it, by sectors */
        uint8_t mixed[PAGE];
        memcpy(mixed, inode->bytes + offset, PAGE);
        for (size_t at = 0; at < PAGE; at += 512)
            if (random_chance(500000))
                memcpy(mixed + at, parts[0].at + at, 512);
        put(inode, mixed, offset, PAGE);
        inode->torn = true;
        events.torn_pages++;
        machine.page_torn = true;
        return -EIO;
    }
    events.short_writes++;
    inode->torn = true;
    put_parts(inode, parts, part_count, offset, random_between(0, all / PAGE) * PAGE, true);
    return -EIO;
}

static bool is_there_already(const struct inode *inode, const struct span *parts,
                             uint32_t part_count, uint64_t offset)
{
    for (uint32_t i = 0; i < part_count; offset += parts[i++].bytes)
        if (offset + parts[i].bytes > inode->count ||
            memcmp(inode->bytes + offset, parts[i].at, parts[i].bytes) != 0)
            return false;
    return true;
}

bool disk_holds(const struct direct_file *file, struct span bytes, uint64_t offset)
{
    return is_there_already(inode_of(file), &bytes, 1, offset);
}

int direct_file_write(struct direct_file *file, const struct span *parts, uint32_t part_count,
                      uint64_t offset)
{
    disk_call("file_write", 3000);
    struct inode *inode = inode_of(file);
    size_t all = 0;
    MUST(part_count > 0 && part_count <= 16);
    for (uint32_t i = 0; i < part_count; i++) {
        MUST(parts[i].bytes > 0);
        if (file->direct)
            MUST(parts[i].bytes % disk.alignment == 0 && (uintptr_t)parts[i].at % PAGE == 0);
        all += parts[i].bytes;
    }
    if (file->direct && !disk.direct)
        return -EINVAL;
    if (file->direct)
        MUST(offset % disk.alignment == 0);
    note("writes to inode, at", (uint64_t)(inode - inodes), offset);
    note("writes so much", all, 0);
    in_flight.active = true;
    in_flight.inode = (int)(inode - inodes);
    in_flight.offset = offset;
    inode->early = inode->early || fiber_now() == FIBER_RECEIVER;
    in_flight.part_count = part_count;
    memcpy(in_flight.parts, parts, part_count * sizeof(parts[0]));
    work_on_disk(40000 + all / 2);
    in_flight.active = false;
    if (fault(machine.faults.write))
        return fail_write(inode, parts, part_count, offset, all, file->direct);
    uint64_t end = offset + all > inode->reserved_end ? offset + all : inode->reserved_end;
    uint64_t used = disk_used() - inode_used(inode);
    if (used + page_up(end) > disk.room && offset + all > inode->count) {
        uint64_t fits = disk.room > used + inode->count ? (disk.room - used - inode->count) : 0;
        fits = fits / disk.alignment * disk.alignment;
        events.full_disks++;
        note("no room", offset, fits);
        if (fits > 0 && fits < all) {
            inode->torn = true;
            events.short_writes++;
            put_parts(inode, parts, part_count, offset, fits, true);
        }
        if (fits < all)
            return -ENOSPC;
    }
    if (offset < inode->count)
        events.pages_rewritten++;
    else
        events.blocks_written++;
    bool whole = file->direct || all <= PAGE;
    bool same = is_there_already(inode, parts, part_count, offset); /* a torn page stays torn */
    if (!whole && !same)
        inode->torn = true;
    put_parts(inode, parts, part_count, offset, all, whole);
    if (offset + all == inode->count && !same)
        inode->torn = false;
    kill_soon();
    fiber_step(STEP_SEAM);
    return 0;
}

long direct_file_read(struct direct_file *file, uint8_t *into, size_t bytes, uint64_t offset)
{
    disk_call("file_read", 20000);
    struct inode *inode = inode_of(file);
    if (fault(machine.faults.open)) {
        machine.page_torn = true; /* what cannot be read back counts as torn */
        return -EIO;
    }
    if (offset >= inode->count)
        return 0;
    size_t there = inode->count - offset;
    if (there > bytes)
        there = bytes;
    memcpy(into, inode->bytes + offset, there);
    return (long)there;
}

int direct_file_reserve(struct direct_file *file, uint64_t offset, uint64_t bytes)
{
    disk_call("file_reserve", 10000);
    struct inode *inode = inode_of(file);
    if (disk_used() + bytes > disk.room)
        return -ENOSPC;
    if (fault(machine.faults.write))
        return -EOPNOTSUPP;
    inode->reserved_end = offset + bytes;
    return 0;
}

int direct_file_sync(struct direct_file *file)
{
    disk_call("file_sync", 3000);
    struct inode *inode = inode_of(file);
    work_on_disk(400000);
    bool fails = fault(machine.faults.sync);
    for (size_t page = 0; page < inode->room / PAGE; page++) {
        if (inode->dirty[page] != DIRTY)
            continue;
        if (!fails)
            memcpy(inode->durable + page * PAGE, inode->bytes + page * PAGE, PAGE);
        /* A failed sync is told of once; later ones pass over its pages. */
        inode->dirty[page] = fails ? FAILED : 0;
    }
    if (fails) {
        events.sync_errors++;
        /* What was cut off may come back with a power cut. */
        machine.truncate_failed = machine.truncate_failed || inode->shortened;
        note("sync fails", 0, 0);
        kill_at_once();
        fiber_step(STEP_SEAM);
        return -EIO;
    }
    inode->durable_count = inode->count;
    inode->shortened = false;
    events.syncs++;
    note("synced inode, bytes", (uint64_t)(inode - inodes), inode->count);
    kill_soon();
    fiber_step(STEP_SEAM);
    return 0;
}

int direct_file_truncate(struct direct_file *file, uint64_t bytes)
{
    disk_call("file_truncate", 20000);
    struct inode *inode = inode_of(file);
    if (fault(machine.faults.rename / 8)) {
        events.truncate_errors++;
        machine.truncate_failed = true;
        return -EIO;
    }
    inode_room(inode, bytes);
    if (bytes < inode->count)
        memset(inode->bytes + bytes, 0, inode->count - bytes);
    inode->count = bytes;
    inode->reserved_end = 0;
    inode->torn = false;
    inode->shortened = true;
    note("truncated inode, to", (uint64_t)(inode - inodes), bytes);
    kill_soon();
    fiber_step(STEP_SEAM);
    return 0;
}

int64_t direct_file_size(struct direct_file *file)
{
    seam("file_size", 300);
    return (int64_t)inode_of(file)->count;
}

bool direct_file_linked(const struct direct_file *file)
{
    seam("file_linked", 300);
    return inode_of(file)->links > 0;
}

/* ---- what happens to it ---- */

bool disk_is_writing(void)
{
    return in_flight.active;
}

void disk_life_ends(void)
{
    if (in_flight.active && random_chance(600000)) { /* the kernel ends what it began */
        struct inode *inode = &inodes[in_flight.inode];
        size_t all = 0;
        for (uint32_t i = 0; i < in_flight.part_count; i++)
            all += in_flight.parts[i].bytes;
        bool same =
            is_there_already(inode, in_flight.parts, in_flight.part_count, in_flight.offset);
        put_parts(inode, in_flight.parts, in_flight.part_count, in_flight.offset, all, true);
        if (in_flight.offset + all == inode->count && !same)
            inode->torn = false;
        note("written after the kill", in_flight.offset, all);
    }
    in_flight.active = false;
    memset(opened, 0, sizeof(opened));
    for (int i = 0; i < inode_count; i++)
        inodes[i].opened = 0;
    locked = false;
}

void disk_power_cut(void)
{
    uint32_t keeps = (uint32_t)random_below(3) * 500000; /* nothing, half, all */
    uint32_t kept_changes = (uint32_t)random_below(journal_count + 1);
    for (uint32_t i = 0; i < kept_changes; i++)
        apply(&durable, &journal[i]);
    note("names kept", kept_changes, journal_count);
    copy_folder(&folder, &durable);
    journal_count = 0;
    for (int i = 0; i < inode_count; i++) {
        struct inode *inode = &inodes[i];
        size_t least = inode->count < inode->durable_count ? inode->count : inode->durable_count;
        size_t most = inode->count < inode->durable_count ? inode->durable_count : inode->count;
        size_t size = random_chance(300000)   ? least
                      : random_chance(500000) ? most
                                              : random_between(least, most) / PAGE * PAGE;
        if (size < least)
            size = least;
        for (size_t page = 0; page < inode->room / PAGE; page++) {
            if (inode->dirty[page] == DIRTY && random_chance(keeps))
                memcpy(inode->durable + page * PAGE, inode->bytes + page * PAGE, PAGE);
            else if (inode->dirty[page]) {
                inode->torn = true;
                inode->passed_over = inode->passed_over || inode->dirty[page] == FAILED;
                events.pages_lost++;
            }
            inode->dirty[page] = 0;
        }
        if (inode->room > 0) {
            memset(inode->durable + size, 0, inode->room - size);
            memcpy(inode->bytes, inode->durable, inode->room);
        }
        if (size != inode->count)
            inode->torn = true;
        inode->count = inode->durable_count = size;
        inode->reserved_end = 0;
    }
    count_links();
}

bool disk_file_at(uint32_t index, struct disk_file *file)
{
    if (!folder_there || index >= folder.count)
        return false;
    const struct entry *entry = &folder.entries[index];
    const struct inode *inode = &inodes[entry->inode];
    *file = (struct disk_file){.name = entry->name,
                               .bytes = inode->bytes,
                               .count = inode->count,
                               .durable = inode->durable,
                               .durable_count = inode->durable_count,
                               .torn = inode->torn || inode->harmed,
                               .harmed = inode->harmed || inode->passed_over,
                               .early = inode->early};
    return true;
}

bool disk_is_name_durable(const char *name)
{
    int at = find(&folder, name);
    for (uint32_t i = 0; at >= 0 && i < durable.count; i++)
        if (durable.entries[i].inode == folder.entries[at].inode)
            return true;
    return false;
}

void disk_remove(const char *name)
{
    int at = find(&folder, name);
    if (at < 0)
        return;
    inodes[folder.entries[at].inode].links--;
    change_folder(name, "", folder.entries[at].inode);
}

void disk_cut(const char *name, size_t bytes)
{
    int at = find(&folder, name);
    if (at < 0)
        return;
    struct inode *inode = &inodes[folder.entries[at].inode];
    if (bytes < inode->count)
        memset(inode->bytes + bytes, 0, inode->count - bytes);
    inode->count = bytes;
    inode->harmed = true; /* what is being written now may leave a hole */
}

void disk_lose_folder(void)
{
    while (folder.count > 0)
        disk_remove(folder.entries[0].name);
    folder_there = false;
    folder_descriptor++;
    durable.count = journal_count = 0;
    locked = false;
}
