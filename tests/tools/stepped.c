/* SPDX-License-Identifier: MIT
 * Linked (-Wl,--wrap) into programs for the scenarios: the machine's clock as if it had been
 * stepped, without anybody touching the real one. FLOTILLA_TEST_CLOCK names a file that whoever
 * steps it maps as well: how many steps there were, then for each since when (by the real clock)
 * and how far off the clock is since, in nanoseconds. Without it nothing is changed. The kernel's
 * own times, of a file and of an arrival, are moved by what held then. The clock always counts as
 * synchronised, or a program that looks would never act on it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "os/net.h"
#include "os/storage.h"

enum { STEPS_MAX = 4095, STEPS_BYTES = 65536 };

struct steps {
    _Atomic uint64_t count; /* written last */
    uint64_t unused;
    struct {
        int64_t since_ns, offset_ns;
    } step[STEPS_MAX];
};

int __real_adjtimex(struct timex *about);
int __wrap_adjtimex(struct timex *about);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
void __real_net_batch_message(const struct net_batch *batch, uint32_t index,
                              struct net_message *message);
void __wrap_net_batch_message(const struct net_batch *batch, uint32_t index,
                              struct net_message *message);
int __real_storage_look(descriptor_t folder, const char *name, struct storage_entry *entry);
int __wrap_storage_look(descriptor_t folder, const char *name, struct storage_entry *entry);

static const struct steps *steps;

/* Before main: a relay can open nothing once it is in its sandbox. */
__attribute__((constructor)) static void map_steps(void)
{
    const char *path = getenv("FLOTILLA_TEST_CLOCK");
    int file = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *at = file >= 0 ? mmap(NULL, STEPS_BYTES, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
    if (file >= 0)
        close(file);
    if (at != MAP_FAILED)
        steps = at;
}

/* A time of the real clock as the stepped one told it at that time. */
static int64_t stepped(int64_t real_ns)
{
    uint64_t count = steps != NULL ? atomic_load(&steps->count) : 0;
    while (count > 0 && steps->step[count - 1].since_ns > real_ns)
        count--;
    return count > 0 ? real_ns + steps->step[count - 1].offset_ns : real_ns;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = __real_clock_gettime(clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t told_ns = stepped((int64_t)now->tv_sec * 1000000000 + now->tv_nsec);
        now->tv_sec = (time_t)(told_ns / 1000000000);
        now->tv_nsec = (long)(told_ns % 1000000000);
    }
    return status;
}

int __wrap_adjtimex(struct timex *about)
{
    int state = __real_adjtimex(about);
    if (state < 0)
        return state;
    about->status &= ~STA_UNSYNC;
    about->maxerror = 1000;
    return TIME_OK;
}

void __wrap_net_batch_message(const struct net_batch *batch, uint32_t index,
                              struct net_message *message)
{
    __real_net_batch_message(batch, index, message);
    if (message->arrival_ns != 0)
        message->arrival_ns = (uint64_t)stepped((int64_t)message->arrival_ns);
}

int __wrap_storage_look(descriptor_t folder, const char *name, struct storage_entry *entry)
{
    int status = __real_storage_look(folder, name, entry);
    if (status == 0 && entry->modified_ns != 0)
        entry->modified_ns = (uint64_t)stepped((int64_t)entry->modified_ns);
    return status;
}
