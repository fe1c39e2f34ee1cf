/* SPDX-License-Identifier: MIT
 * Fibers by ucontext, chance by splitmix64, and the telling of what happened. Relies on a relay
 * keeping nothing outside of its stacks, its memory (fake_memory.c) and what the machine keeps.
 * Known: a killed fiber's stack is simply used again. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "sim.h"
#include "world.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
static void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t bytes)
{
    (void)save, (void)bottom, (void)bytes;
}
static void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *bytes)
{
    (void)save, (void)bottom, (void)bytes;
}
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

#define FIBER_STACK_BYTES (1u << 20)
#define NOTES             400u

struct machine machine;
struct events events;
uint64_t steps_done[STEPS];
static uint64_t steps_alone; /* that a fiber may still do before it rests */

/* ---- chance ---- */

static uint64_t random_state;

void random_seed(uint64_t seed)
{
    random_state = seed;
}

uint64_t random_next(void)
{
    uint64_t word = random_state += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

uint64_t random_below(uint64_t limit)
{
    return limit == 0 ? 0 : random_next() % limit;
}

uint64_t random_between(uint64_t low, uint64_t high)
{
    return low + random_below(high - low + 1);
}

bool random_chance(uint32_t per_million)
{
    return per_million > 0 && random_below(1000000) < per_million;
}

uint64_t random_spread(uint64_t low, uint64_t high)
{
    uint64_t top = low;
    while (top < high && random_chance(750000))
        top *= 2;
    top = top < high ? top : high;
    return random_between(low, top);
}

/* ---- what is told ---- */

struct told {
    uint64_t step, now_ns, a, b;
    int fiber;
    const char *what;
    char text[200];
};
static struct told told[NOTES];
static uint64_t told_count;

static uint64_t steps_all(void)
{
    uint64_t all = 0;
    for (int i = 0; i < STEPS; i++)
        all += steps_done[i];
    return all;
}

static void print_told(const struct told *one)
{
    static const char *const names[] = {"-", "receiver", "writer"};
    printf("%12" PRIu64 " %14.6f ms %-8s %s", one->step, (double)one->now_ns / 1e6,
           names[one->fiber + 1], one->what);
    if (one->text[0] != '\0')
        printf("%s\n", one->text);
    else
        printf(" %" PRIu64 " %" PRIu64 "\n", one->a, one->b);
}

static void tell(const char *what, uint64_t a, uint64_t b, const char *text)
{
    struct told *one = &told[told_count++ % NOTES];
    *one = (struct told){.step = steps_all(),
                         .now_ns = machine.now_ns,
                         .a = a,
                         .b = b,
                         .fiber = fiber_now(),
                         .what = what};
    if (text != NULL)
        snprintf(one->text, sizeof(one->text), "%.*s", (int)strcspn(text, "\n"), text);
    if (machine.trace)
        print_told(one);
}

void note(const char *what, uint64_t a, uint64_t b)
{
    tell(what, a, b, NULL);
}

void note_text(const char *text)
{
    tell("says: ", 0, 0, text);
}

void fail(const char *format, ...)
{
    static bool failing;
    if (failing)
        _exit(1);
    failing = true;
    if (!machine.trace) {
        uint64_t first = told_count > NOTES ? told_count - NOTES : 0;
        for (uint64_t i = first; i < told_count; i++)
            print_told(&told[i % NOTES]);
    }
    va_list arguments;
    va_start(arguments, format);
    printf("FAILED: seed %" PRIu64 ", episode %" PRIu64 ", step %" PRIu64 ", at %.6f ms: ",
           machine.seed, machine.episode, steps_all(), (double)machine.now_ns / 1e6);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\nto live it again: --seed %" PRIu64 " --episode %" PRIu64 " --trace\n", machine.seed,
           machine.episode);
    fflush(stdout);
    _exit(1);
}

static void on_crash(int number)
{
    fail("the relay crashed: %s", strsignal(number));
}

/* ---- fibers ---- */

struct fiber_state {
    ucontext_t context;
    uint8_t *stack;
    void *fake_stack;
    bool exists, ended;
    uint64_t until_ns; /* 0: it runs */
    bool (*ready)(const void *);
    const void *ready_context;
    void (*run)(void *);
    void *context_argument;
};
static struct fiber_state fibers[FIBERS];
static ucontext_t host;
static void *host_fake_stack;
static const void *host_stack;
static size_t host_stack_bytes;
static int running = -1;
static bool killed;
static int64_t switch_left[STEPS], kill_left[STEPS];
static uint32_t calls_until_kill; /* of the disk; then shortly behind it; 0: none */

int fiber_now(void)
{
    return running;
}

void fibers_start(void)
{
    static uint8_t alternate[65536];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigaltstack(&stack, NULL);
    sigaction(SIGABRT, &action, NULL);
#if !defined(__SANITIZE_ADDRESS__)
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    sigaction(SIGILL, &action, NULL);
#endif
    sigaction(SIGALRM, &action, NULL);
    for (int i = 0; i < FIBERS; i++) {
        uint8_t *at = mmap(NULL, FIBER_STACK_BYTES + 4096, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED || mprotect(at, 4096, PROT_NONE) < 0)
            fail("no stack");
        fibers[i].stack = at + 4096;
    }
    /* Of a program's first switch a sanitizer warns: here, not in the process of each episode. */
    volatile bool switched = false;
    getcontext(&host);
    if (!switched) {
        switched = true;
        swapcontext(&fibers[0].context, &host);
    }
}

static void to_host(void)
{
    int self = running;
    struct fiber_state *fiber = &fibers[self];
    running = -1;
    __sanitizer_start_switch_fiber(&fiber->fake_stack, host_stack, host_stack_bytes);
    swapcontext(&fiber->context, &host);
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &host_stack, &host_stack_bytes);
    running = self;
}

static void to_fiber(int index)
{
    struct fiber_state *fiber = &fibers[index];
    __sanitizer_start_switch_fiber(&host_fake_stack, fiber->stack, FIBER_STACK_BYTES);
    swapcontext(&host, &fiber->context);
    __sanitizer_finish_switch_fiber(host_fake_stack, NULL, NULL);
    running = -1;
}

static void fiber_begin(int index)
{
    __sanitizer_finish_switch_fiber(NULL, &host_stack, &host_stack_bytes);
    running = index;
    fibers[index].run(fibers[index].context_argument);
    fibers[index].ended = true;
    for (;;)
        to_host();
}

static void fiber_make(int index, void (*run)(void *), void *context)
{
    struct fiber_state *fiber = &fibers[index];
    ASAN_UNPOISON_MEMORY_REGION(fiber->stack, FIBER_STACK_BYTES);
    fiber->exists = true;
    fiber->ended = false;
    fiber->until_ns = 0;
    fiber->fake_stack = NULL;
    fiber->run = run;
    fiber->context_argument = context;
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = FIBER_STACK_BYTES;
    fiber->context.uc_link = NULL;
    makecontext(&fiber->context, (void (*)(void))fiber_begin, 1, index);
}

static void draw(int64_t left[STEPS])
{
    static const uint64_t spread[STEPS] = {60, 1000, 20000};
    int kind = (int)random_below(STEPS);
#if defined(__SANITIZE_ADDRESS__)
    kind = kind == STEP_ACCESS ? STEP_FUNCTION : kind;
#endif
    for (int i = 0; i < STEPS; i++)
        left[i] = INT64_MAX;
    left[kind] = (int64_t)random_spread(1, spread[kind]);
}

void kill_draw(void)
{
    static const uint64_t start[STEPS] = {30, 300, 700}; /* steps until it receives */
    calls_until_kill = 0;
    if (random_chance(350000)) {
        kill_never();
        calls_until_kill = (uint32_t)random_spread(1, 40);
        return;
    }
    draw(kill_left);
    if (random_chance(850000)) /* most lives get to work */
        for (int i = 0; i < STEPS; i++)
            if (kill_left[i] != INT64_MAX)
                kill_left[i] = kill_left[i] * 8 + (int64_t)random_below(start[i] * 2);
}

void kill_soon(void)
{
    if (calls_until_kill == 0 || --calls_until_kill > 0)
        return;
    int64_t *left = &kill_left[random_chance(500000) ? STEP_FUNCTION : STEP_ACCESS];
    *left = (int64_t)random_spread(1, 2000);
}

void kill_at_once(void)
{
    bool may = calls_until_kill > 0;
    for (int i = 0; i < STEPS; i++)
        may = may || kill_left[i] != INT64_MAX;
    if (may && random_chance(500000))
        kill_left[random_chance(500000) ? STEP_FUNCTION : STEP_ACCESS] =
            (int64_t)random_spread(1, 50);
}

void kill_never(void)
{
    calls_until_kill = 0;
    for (int i = 0; i < STEPS; i++)
        kill_left[i] = INT64_MAX;
}

static void run_plain(void *context)
{
    void (*run)(void);
    memcpy(&run, &context, sizeof(run));
    run();
}

void fibers_begin(void (*run)(void))
{
    void *context;
    memcpy(&context, &run, sizeof(context));
    killed = false;
    fibers[FIBER_WRITER].exists = false;
    draw(switch_left);
    fiber_make(FIBER_RECEIVER, run_plain, context);
}

void fiber_add(void (*run)(void *), void *context)
{
    MUST(!fibers[FIBER_WRITER].exists);
    fiber_make(FIBER_WRITER, run, context);
}

bool fiber_ended(enum fiber fiber)
{
    return fibers[fiber].ended;
}

void fibers_kill(void)
{
    killed = true;
}

void fiber_step(enum step kind)
{
    if (running < 0)
        return;
    steps_done[kind]++;
    if (--steps_alone == 0)
        fail("hangs: it never comes to a call");
    if (--kill_left[kind] <= 0) {
        kill_never();
        killed = true;
        to_host();
    } else if (--switch_left[kind] <= 0) {
        draw(switch_left);
        events.switches++;
        to_host();
    }
}

void fiber_wait(uint64_t until_ns, bool (*ready)(const void *), const void *context)
{
    struct fiber_state *fiber = &fibers[running];
    fiber->until_ns = until_ns == 0 ? 1 : until_ns;
    fiber->ready = ready;
    fiber->ready_context = context;
    to_host();
}

static bool is_ready(const struct fiber_state *fiber)
{
    return fiber->exists && !fiber->ended &&
           (fiber->until_ns == 0 || fiber->until_ns <= machine.now_ns ||
            (fiber->ready != NULL && fiber->ready(fiber->ready_context)));
}

enum life fibers_run(uint64_t until_ns, void (*look)(void))
{
    uint64_t began = steps_all(), began_ns = machine.now_ns;
    for (;;) {
        if (killed)
            return LIFE_KILLED;
        if (fibers[FIBER_RECEIVER].ended)
            return LIFE_ENDED;
        if (machine.now_ns >= until_ns)
            return LIFE_PAUSED;
        if (steps_all() - began > 50000000) {
            if (machine.now_ns - began_ns < 1000000)
                fail("hangs: 50 million steps in %" PRIu64 " ns", machine.now_ns - began_ns);
            began = steps_all();
            began_ns = machine.now_ns;
        }
        int ready[FIBERS], count = 0;
        for (int i = 0; i < FIBERS; i++)
            if (is_ready(&fibers[i]))
                ready[count++] = i;
        if (count == 0) {
            uint64_t next = world_next_ns();
            for (int i = 0; i < FIBERS; i++)
                if (fibers[i].exists && !fibers[i].ended && fibers[i].until_ns < next)
                    next = fibers[i].until_ns;
            clock_to(next < until_ns ? next : until_ns);
            continue;
        }
        int chosen = ready[random_below((uint64_t)count)];
        fibers[chosen].until_ns = 0;
        steps_alone = 1000000000;
        to_fiber(chosen);
        look();
    }
}

void seam(const char *name, uint64_t cost_ns)
{
    if (running < 0)
        return;
    if (machine.trace)
        note(name, 0, 0);
    clock_to(machine.now_ns + cost_ns);
    fiber_step(STEP_SEAM);
}

bool fault(uint32_t per_million)
{
    return running >= 0 && random_chance(per_million);
}

void clock_to(uint64_t ns)
{
    if (ns > machine.now_ns)
        machine.now_ns = ns;
    world_arrive();
}
