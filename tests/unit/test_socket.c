/* SPDX-License-Identifier: MIT
 * A WebSocket by a clock that stands still until it is told to go on: who takes nothing, says
 * nothing or does not answer a close, and what waits to be sent. Relies on the linker to put our
 * clock in front of the system's. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "gateway/socket.h"
#include "os/bell.h"
#include "os/clock.h"

#define SECOND NS_PER_S

static uint64_t now_ns;

uint64_t __wrap_clock_monotonic_ns(void);
uint64_t __wrap_clock_monotonic_ns(void)
{
    return now_ns;
}

/* One socket of ours, and the other end of its connection. */
static struct world {
    struct loop *loop;
    struct loop_watch turn; /* always ready: ends the loop after so many turns */
    unsigned turns;
    struct socket *socket;
    int client;
    unsigned messages, rooms, closes;
} world;

static void count_message(void *context, bool text, struct span message)
{
    struct world *of = context;
    (void)text;
    (void)message;
    of->messages++;
}

static void count_room(void *context)
{
    ((struct world *)context)->rooms++;
}

static void count_close(void *context)
{
    struct world *of = context;
    of->closes++;
    of->socket = NULL;
}

static const struct socket_use use = {.message_bytes_max = 1000,
                                      .queue_bytes_max = 1 << 20,
                                      .message = count_message,
                                      .room = count_room,
                                      .closed = count_close};

static void take_turn(void *context, unsigned events)
{
    struct world *of = context;
    (void)events;
    if (of->turns-- == 0)
        loop_end(of->loop);
}

/* Lets the loop go round, until nothing can be left to do at this moment. */
static void turn(void)
{
    world.turns = 60;
    assert_int_equal(loop_run(world.loop), 0);
}

static void wait_for(uint64_t ns)
{
    for (uint64_t left = ns; left > 0; left -= left < SECOND ? left : SECOND) {
        now_ns += left < SECOND ? left : SECOND;
        turn();
    }
}

static void begin(int kernel_bytes)
{
    int ends[2];
    now_ns = 1000 * SECOND;
    world = (struct world){.client = -1};
    assert_int_equal(loop_open(&world.loop), 0);
    world.turn =
        (struct loop_watch){.descriptor = bell_open(), .ready = take_turn, .context = &world};
    bell_ring(world.turn.descriptor);
    assert_int_equal(loop_watch(world.loop, &world.turn, LOOP_READ), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    world.client = ends[1];
    assert_int_equal(
        socket_open(&world.socket, world.loop, ends[0], (struct span){0}, &use, &world), 0);
    if (kernel_bytes > 0)
        assert_int_equal(
            setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &kernel_bytes, sizeof(kernel_bytes)), 0);
    turn();
}

static void end(void)
{
    close(world.client);
    turn();
    assert_null(world.socket);
    assert_int_equal(world.closes, 1);
    loop_unwatch(world.loop, &world.turn);
    close(world.turn.descriptor);
    loop_close(world.loop);
}

static void say(const void *bytes, size_t count)
{
    assert_int_equal(send(world.client, bytes, count, MSG_NOSIGNAL), count);
    turn();
}

/* What has come, at most `most`; -1: nothing. */
static long hear(void *into, size_t most)
{
    return recv(world.client, into, most, MSG_DONTWAIT);
}

#define HEARD(bytes)                                                                               \
    do {                                                                                           \
        char got_[sizeof(bytes)];                                                                  \
        assert_int_equal(hear(got_, sizeof(got_)), sizeof(bytes) - 1);                             \
        assert_memory_equal(got_, bytes, sizeof(bytes) - 1);                                       \
    } while (0)
#define HEARD_NOTHING() assert_int_equal(hear((char[1]){0}, 1), -1)
#define HEARD_THE_END() assert_int_equal(hear((char[1]){0}, 1), 0)

#define MASK "\0\0\0\0"
#define PONG "\x8a\x80" MASK

static void test_silence(void **state)
{
    (void)state;
    begin(0);
    wait_for(10 * SECOND);
    HEARD_NOTHING();
    wait_for(20 * SECOND);
    HEARD("\x89\0"); /* it is asked, once */
    wait_for(5 * SECOND);
    say(PONG, 6);
    wait_for(30 * SECOND);
    HEARD("\x89\0");
    wait_for(20 * SECOND);
    HEARD_NOTHING();
    assert_non_null(world.socket);
    wait_for(20 * SECOND);
    HEARD_THE_END(); /* without a word: nobody hears it */
    end();
}

static void test_who_talks_is_not_asked(void **state)
{
    (void)state;
    begin(0);
    for (unsigned i = 0; i < 40; i++) {
        say("\x81\x81" MASK "x", 7);
        wait_for(5 * SECOND);
    }
    HEARD_NOTHING();
    assert_int_equal(world.messages, 40);
    end();
}

static void fill(void)
{
    static const char kibibyte[1024];
    int status;
    do {
        status = socket_send(world.socket, false, kibibyte, sizeof(kibibyte));
        turn();
    } while (status == 0);
    assert_int_equal(status, -ENOBUFS);
    assert_true(socket_queued(world.socket) > (1u << 20) - 2048);
    assert_true(socket_queued(world.socket) <= 1u << 20);
}

static void test_who_takes_nothing(void **state)
{
    (void)state;
    static char all[2 << 20];
    begin(4096);
    fill();
    wait_for(29 * SECOND);
    say("\x81\x81" MASK "x", 7); /* to say something is not to take something */
    assert_int_equal(world.messages, 1);
    wait_for(2 * SECOND);
    assert_non_null(world.socket);
    assert_int_equal(socket_send(world.socket, false, "x", 1), -EPIPE);
    /* It comes to its senses just in time, and reads why. */
    long bytes = 0, got;
    for (unsigned rounds = 0; rounds < 2000; rounds++) {
        while ((got = hear(all + bytes, sizeof(all) - (size_t)bytes)) > 0)
            bytes += got;
        turn();
    }
    assert_int_equal(got, 0); /* an end */
    assert_true(bytes > 1 << 20);
    assert_memory_equal(all + bytes - 4, "\x88\x02\x03\xf0", 4);
    assert_int_equal(world.rooms, 0); /* nobody may send any more */
    end();
}

static void test_who_never_takes_anything(void **state)
{
    (void)state;
    begin(4096);
    fill();
    wait_for(34 * SECOND);
    assert_non_null(world.socket);
    wait_for(3 * SECOND);
    assert_null(world.socket);
    end();
}

static void test_who_takes_little_stays(void **state)
{
    (void)state;
    char some[8192];
    begin(4096);
    fill();
    for (unsigned i = 0; i < 20; i++) {
        wait_for(25 * SECOND);
        assert_true(hear(some, sizeof(some)) > 0);
        turn();
    }
    assert_non_null(world.socket);
    assert_int_equal(world.rooms, 0);
    while (world.rooms == 0 && hear(some, sizeof(some)) > 0)
        turn();
    assert_int_equal(world.rooms, 1);
    assert_true(socket_queued(world.socket) < 512u << 10);
    assert_int_equal(socket_send(world.socket, false, "x", 1), 0);
    end();
}

static void test_no_answer_to_a_close(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(socket_send(world.socket, true, "ab", 2), 0);
    socket_close(world.socket, 1000, "why");
    assert_int_equal(socket_send(world.socket, true, "ab", 2), -EPIPE);
    turn();
    HEARD("\x81\x02"
          "ab\x88\x05\x03\xe8why");
    wait_for(4 * SECOND);
    HEARD_NOTHING();
    wait_for(2 * SECOND);
    HEARD_THE_END();
    end();
}

/* The other side leaves its end open: it is not waited for longer than 2 s. */
static void test_no_end_after_a_close(void **state)
{
    (void)state;
    begin(0);
    say("\x88\x82" MASK "\x03\xe8", 8);
    HEARD("\x88\x02\x03\xe8");
    HEARD_THE_END();
    say("\x81\x81" MASK "x", 7);
    assert_int_equal(world.messages, 0);
    wait_for(SECOND);
    assert_non_null(world.socket);
    wait_for(2 * SECOND);
    assert_null(world.socket);
    end();
}

static void test_pings_that_are_not_read(void **state)
{
    (void)state;
    static char pings[1 << 17], pongs[1 << 17];
    size_t said = 0, heard = 0;
    begin(4096);
    for (size_t i = 0; i + 16 <= sizeof(pings); i += 16) {
        char number[11];
        snprintf(number, sizeof(number), "%010zu", i);
        memcpy(pings + i, "\x89\x8a" MASK, 6);
        memcpy(pings + i + 6, number, 10);
    }
    long took;
    do {
        took = send(world.client, pings + said, sizeof(pings) - said, MSG_DONTWAIT | MSG_NOSIGNAL);
        said += took > 0 ? (size_t)took : 0;
        turn();
    } while (took > 0 && said < sizeof(pings));
    assert_true(socket_queued(world.socket) < 16384);
    for (unsigned rounds = 0; rounds < 5000 && heard < sizeof(pings) / 16 * 12; rounds++) {
        long got = hear(pongs + heard, sizeof(pongs) - heard);
        heard += got > 0 ? (size_t)got : 0;
        took = said < sizeof(pings) ? send(world.client, pings + said, sizeof(pings) - said,
                                           MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : 0;
        said += took > 0 ? (size_t)took : 0;
        turn();
    }
    assert_int_equal(heard, sizeof(pings) / 16 * 12);
    for (size_t i = 0; i < sizeof(pings) / 16; i++) {
        assert_memory_equal(pongs + 12 * i, "\x8a\x0a", 2);
        assert_memory_equal(pongs + 12 * i + 2, pings + 16 * i + 6, 10);
    }
    end();
}

static void test_parts(void **state)
{
    (void)state;
    begin(0);
    struct span parts[] = {
        {NULL, 0}, {(const uint8_t *)"ab", 2}, {NULL, 0}, {(const uint8_t *)"cde", 3}, {NULL, 0}};
    assert_int_equal(socket_send_parts(world.socket, true, parts, 5), 0);
    assert_int_equal(socket_send_parts(world.socket, true, parts, 1), 0);
    assert_int_equal(socket_send_parts(world.socket, false, NULL, 0), 0);
    assert_int_equal(socket_queued(world.socket), 7 + 2 + 2);
    static const char large[(1 << 20) + 1];
    assert_int_equal(socket_send(world.socket, false, large, sizeof(large)), -ENOBUFS);
    turn();
    HEARD("\x81\x05"
          "abcde\x81\x00\x82\x00");
    assert_int_equal(socket_queued(world.socket), 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_who_talks_is_not_asked),
        cmocka_unit_test(test_who_takes_nothing),
        cmocka_unit_test(test_who_never_takes_anything),
        cmocka_unit_test(test_who_takes_little_stays),
        cmocka_unit_test(test_no_answer_to_a_close),
        cmocka_unit_test(test_no_end_after_a_close),
        cmocka_unit_test(test_pings_that_are_not_read),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
