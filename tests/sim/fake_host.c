/* SPDX-License-Identifier: MIT
 * The small contracts: os/clock.h, os/thread.h, os/host.h, os/interrupt.h, os/inherit.h,
 * os/notify.h (nobody listens: a manager is there) and os/sandbox.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "os/clock.h"
#include "os/file.h"
#include "os/host.h"
#include "os/inherit.h"
#include "os/interrupt.h"
#include "os/notify.h"
#include "os/sandbox.h"
#include "os/thread.h"
#include "sim.h"
#include "world.h"

/* ---- clock ---- */

uint64_t clock_monotonic_ns(void)
{
    seam("clock_monotonic", 30);
    return machine.now_ns;
}

uint64_t clock_realtime_ns(void)
{
    seam("clock_realtime", 30);
    return machine.now_ns + (uint64_t)machine.realtime_offset;
}

void clock_sleep_until(uint64_t monotonic_ns)
{
    seam("clock_sleep", 100);
    fiber_wait(monotonic_ns, NULL, NULL);
}

/* ---- threads ---- */

static bool writer_over;

int thread_start(struct thread *thread, void (*run)(void *), void *context, size_t stack_bytes)
{
    (void)stack_bytes;
    seam("thread_start", 20000);
    if (fault(machine.faults.memory)) {
        events.out_of_memory++;
        return -EAGAIN;
    }
    fiber_add(run, context);
    thread->running = 1;
    thread->id = 2;
    return 0;
}

static bool has_writer_ended(const void *context)
{
    (void)context;
    return fiber_ended(FIBER_WRITER);
}

void thread_join(struct thread *thread)
{
    seam("thread_join", 1000);
    if (thread->running && !fiber_ended(FIBER_WRITER))
        fiber_wait(UINT64_MAX, has_writer_ended, NULL);
    writer_over = true;
    thread->running = 0;
}

void wake_signal(struct wake *wake)
{
    seam("wake_signal", 500);
    atomic_fetch_add(&wake->word, 1);
    fiber_step(STEP_SEAM);
}

struct seen {
    struct wake *wake;
    uint32_t word;
};

static bool has_been_woken(const void *context)
{
    const struct seen *seen = context;
    return atomic_load(&seen->wake->word) != seen->word;
}

void wake_wait(struct wake *wake, uint32_t seen, int64_t timeout_ns)
{
    struct seen before = {wake, seen};
    seam("wake_wait", 500);
    if (fault(machine.faults.wait)) {
        events.waits_interrupted++;
        return;
    }
    fiber_wait(timeout_ns < 0 ? UINT64_MAX : machine.now_ns + (uint64_t)timeout_ns, has_been_woken,
               &before);
}

/* ---- the host ---- */

void host_name(char *name, size_t bytes)
{
    snprintf(name, bytes, "simulated");
}

int host_random(void *out, size_t bytes)
{
    seam("host_random", 300);
    if (fault(machine.faults.random))
        return -EIO;
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)out)[i] = (uint8_t)random_next();
    return 0;
}

long host_process(void)
{
    return (long)events.lives; /* each life is a process */
}

void interrupt_wake(void)
{
    seam("interrupt_wake", 300);
    machine.woken = true;
}

bool interrupt_seen(void)
{
    seam("interrupt_seen", 5);
    return machine.interrupted;
}

bool interrupt_hands_over(void)
{
    seam("interrupt_hands_over", 5);
    return machine.handing_over;
}

/* ---- the sandbox ---- */

static bool entered;

bool host_is_writing_over(void)
{
    return writer_over;
}

bool host_is_sandboxed(void)
{
    return entered;
}

void host_life_begins(void)
{
    entered = writer_over = false;
}

int sandbox_enter(descriptor_t folder)
{
    (void)folder;
    seam("sandbox_enter", 300000);
    entered = true;
    return 0;
}

int sandbox_seal(const struct thread *other)
{
    seam("sandbox_seal", 300000);
    (void)other;
    MUST(entered);
    return 0;
}

struct sandbox_lack_text sandbox_explain(enum sandbox_lack lack)
{
    fail("the sandbox lacks %d, which nobody said", (int)lack);
    return (struct sandbox_lack_text){"", "", NULL};
}

/* ---- who supervises ---- */

int notify_send(const struct notify *notify, const char *text)
{
    (void)notify, (void)text;
    seam("notify", 300);
    return -ENOENT;
}

int notify_keep(const struct notify *notify, const char *name, descriptor_t descriptor,
                uint64_t wait_ms)
{
    (void)wait_ms;
    (void)notify, (void)name, (void)descriptor;
    fail("a relay gives its memory into keeping though it was given one");
}

uint64_t notify_watchdog_ns(void)
{
    return 0;
}

/* ---- what a relay is given ---- */

static struct span layout_image;

void host_layout(struct span image)
{
    layout_image = image;
}

int file_read_whole(const char *path, size_t bytes_max, uint8_t **bytes, size_t *byte_count)
{
    (void)path;
    seam("file_read_whole", 20000);
    MUST(layout_image.bytes <= bytes_max);
    *bytes = (uint8_t *)(uintptr_t)layout_image.at; /* nobody frees or changes it */
    *byte_count = layout_image.bytes;
    return 0;
}

descriptor_t inherit_descriptor(const char *name)
{
    seam("inherit", 100);
    MUST(!entered);
    if (strcmp(name, INHERIT_RECEIVE) == 0)
        return DESCRIPTOR_RECEIVE;
    if (strcmp(name, INHERIT_DRAINING) == 0)
        return net_is_given_old() ? DESCRIPTOR_DRAINING : -1;
    return strcmp(name, INHERIT_MEMORY) == 0 ? DESCRIPTOR_MEMORY : -1;
}

void inherit_share(void)
{
    seam("inherit_share", 300);
    MUST(!entered);
}
