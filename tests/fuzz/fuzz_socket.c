/* SPDX-License-Identifier: MIT
 * Fuzzes a WebSocket: the input is cut into what comes with the request and what comes later, in
 * pieces, and every message is sent back. What is judged: what the client reads is, byte for byte,
 * what a second reading of the whole input, written another way, says; the socket ends once, and
 * all is given back. Relies on libFuzzer. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sanitizer/allocator_interface.h>

#include "base/check.h"
#include "gateway/socket.h"
#include "os/bell.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define MESSAGE_BYTES_MAX 1000u
#define INPUT_BYTES_MAX   8192u
#define OUTPUT_BYTES_MAX  (4 * INPUT_BYTES_MAX)
#define QUIET_TURNS       12u

static struct play {
    struct loop *loop;
    struct loop_watch turn; /* always readable: calls us between all other events */
    struct socket *socket;
    int client;
    const uint8_t *at, *end;
    uint8_t pieces; /* how it is cut */
    unsigned quiet_turns, closes;
    bool ended; /* nothing can be said any more */
    uint8_t heard[OUTPUT_BYTES_MAX];
    size_t heard_bytes;
} play;

/* ---- the second reading ---- */

static struct reading {
    uint8_t said[OUTPUT_BYTES_MAX];
    size_t said_bytes;
    uint8_t message[MESSAGE_BYTES_MAX];
    size_t message_bytes;
    int kind; /* of the message that is not whole yet; 0: none */
} reading;

static void answer(uint8_t opcode, const uint8_t *bytes, size_t count)
{
    uint8_t *to = reading.said + reading.said_bytes;
    *to++ = 0x80 | opcode;
    if (count < 126) {
        *to++ = (uint8_t)count;
    } else {
        *to++ = 126;
        *to++ = (uint8_t)(count >> 8);
        *to++ = (uint8_t)count;
    }
    if (count > 0)
        memcpy(to, bytes, count);
    reading.said_bytes = (size_t)(to - reading.said) + count;
}

static bool close_with(unsigned code)
{
    answer(8, (const uint8_t[]){(uint8_t)(code >> 8), (uint8_t)code}, 2);
    return false;
}

/* The letter that [at, end) begins with: its bytes, 0 if more of them may follow, -1 if it is
 * none. By the values of RFC 3629, not by its table. */
static int letter_bytes(const uint8_t *at, const uint8_t *end)
{
    uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    int count = at[0] < 0x80       ? 1
                : at[0] >> 5 == 6  ? 2
                : at[0] >> 4 == 14 ? 3
                : at[0] >> 3 == 30 ? 4
                                   : -1;
    if (count <= 1)
        return count;
    uint32_t low = at[0] & (0xffu >> (count + 1)), high = low;
    for (int i = 1; i < count; i++) {
        if (at + i < end && (at[i] & 0xc0) != 0x80)
            return -1;
        low = low << 6 | (at + i < end ? at[i] & 63u : 0);
        high = high << 6 | (at + i < end ? at[i] & 63u : 63);
    }
    /* Some value between the two, if not all of it is there. */
    if (high < lowest[count] || low > 0x10ffff || (low >= 0xd800 && high <= 0xdfff))
        return -1;
    return end - at >= count ? count : 0;
}

static bool is_text(const uint8_t *at, size_t count, bool whole)
{
    const uint8_t *end = at + count;
    while (at < end) {
        int bytes = letter_bytes(at, end);
        if (bytes <= 0)
            return bytes == 0 && !whole;
        at += bytes;
    }
    return true;
}

static bool read_close(const uint8_t *payload, size_t bytes)
{
    unsigned code = bytes >= 2 ? (unsigned)payload[0] << 8 | payload[1] : 0;
    if (bytes == 1 || (bytes >= 2 && (code < 1000 || code >= 5000 || (code > 1014 && code < 3000) ||
                                      (code >= 1004 && code <= 1006))))
        return close_with(1002);
    if (bytes > 2 && !is_text(payload + 2, bytes - 2, true))
        return close_with(1007);
    answer(8, payload, bytes < 2 ? 0 : 2);
    return false;
}

/* A frame's payload, or as much of it as there is. False: nothing follows. */
static bool read_payload(unsigned first, const uint8_t *payload, uint64_t length, size_t there)
{
    unsigned opcode = first & 15;
    bool whole = there == length, final = first & 0x80;
    if (opcode >= 8) {
        if (whole && opcode == 9)
            answer(10, payload, there);
        return !whole || opcode != 8 ? whole : read_close(payload, there);
    }
    if (opcode != 0)
        reading.message_bytes = 0;
    if (opcode != 0)
        reading.kind = (int)opcode;
    memcpy(reading.message + reading.message_bytes, payload, there);
    reading.message_bytes += there;
    if (reading.kind == 1 && !is_text(reading.message, reading.message_bytes, whole && final))
        return close_with(1007);
    if (whole && final) {
        answer((uint8_t)reading.kind, reading.message, reading.message_bytes);
        reading.kind = 0;
    }
    return whole;
}

/* The next frame of [*at, end). False: nothing follows. */
static bool read_frame(const uint8_t **at, const uint8_t *end)
{
    size_t left = (size_t)(end - *at), front = 2;
    const uint8_t *from = *at;
    if (left < 2)
        return false;
    unsigned opcode = from[0] & 15;
    uint64_t length = from[1] & 127;
    if (opcode >= 8 && (length > 125 || !(from[0] & 0x80)))
        return close_with(1002);
    if (length >= 126) {
        front += length == 126 ? 2 : 8;
        if (left < front)
            return false;
        uint64_t least = length == 126 ? 126 : 65536;
        length = 0;
        for (size_t i = 2; i < front; i++)
            length = length << 8 | from[i];
        if (length < least || length >> 63)
            return close_with(1002);
    }
    bool masked = from[1] & 128;
    const uint8_t *mask = from + front;
    front += masked ? 4 : 0;
    if (left < front || (length > 0 && left == front))
        return false; /* what is in front is judged with what is behind */
    bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
    if ((from[0] & 0x70) || !masked || !known ||
        (opcode < 8 && (opcode == 0) != (reading.kind != 0)))
        return close_with(1002);
    if (opcode < 8 && length + (opcode == 0 ? reading.message_bytes : 0) > MESSAGE_BYTES_MAX)
        return close_with(1009);
    uint8_t payload[MESSAGE_BYTES_MAX];
    size_t there = left - front < length ? left - front : (size_t)length;
    for (size_t i = 0; i < there; i++)
        payload[i] = from[front + i] ^ mask[i % 4];
    *at = from + front + there;
    return read_payload(from[0], payload, length, there);
}

static void read_all(const uint8_t *at, const uint8_t *end)
{
    reading.said_bytes = reading.message_bytes = 0;
    reading.kind = 0;
    while (read_frame(&at, end))
        ;
}

/* ---- the play ---- */

static void send_back(void *context, bool text, struct span message)
{
    CHECK(context == &play && play.closes == 0);
    CHECK(socket_send(play.socket, text, message.at, message.bytes) == 0);
}

static void count_close(void *context)
{
    CHECK(context == &play);
    play.closes++;
}

static const struct socket_use use = {.message_bytes_max = MESSAGE_BYTES_MAX,
                                      .queue_bytes_max = OUTPUT_BYTES_MAX,
                                      .message = send_back,
                                      .closed = count_close};

static void listen_to_it(void)
{
    ssize_t got = recv(play.client, play.heard + play.heard_bytes,
                       sizeof(play.heard) - play.heard_bytes, MSG_DONTWAIT);
    if (got <= 0)
        return;
    play.heard_bytes += (size_t)got;
    play.quiet_turns = 0;
}

static void take_turn(void *context, unsigned events)
{
    (void)context;
    (void)events;
    listen_to_it();
    if (play.at < play.end && !play.ended) {
        size_t left = (size_t)(play.end - play.at), piece = 1 + play.pieces % 61;
        play.pieces = (uint8_t)(play.pieces * 5 + 1);
        ssize_t took =
            send(play.client, play.at, piece < left ? piece : left, MSG_DONTWAIT | MSG_NOSIGNAL);
        play.ended = took < 0 && errno != EAGAIN;
        play.at += took > 0 ? took : 0;
        play.quiet_turns = 0;
    } else if (++play.quiet_turns == QUIET_TURNS) {
        shutdown(play.client, SHUT_RDWR);
    } else if (play.quiet_turns > 2 * QUIET_TURNS) {
        loop_end(play.loop);
    }
}

static void run_play(const uint8_t *data, size_t size)
{
    int ends[2];
    size_t early = size >= 2 && data[0] < 128 ? data[0] : 0;
    memset(&play, 0, offsetof(struct play, heard));
    play.heard_bytes = 0;
    play.pieces = size >= 2 ? data[1] : 0;
    if (size < 2)
        return;
    data += 2;
    size -= 2;
    early = early < size ? early : size;
    CHECK(loop_open(&play.loop) == 0);
    play.turn = (struct loop_watch){.descriptor = bell_open(), .ready = take_turn};
    bell_ring(play.turn.descriptor);
    CHECK(loop_watch(play.loop, &play.turn, LOOP_READ) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    play.client = ends[1];
    play.at = data + early;
    play.end = data + size;
    CHECK(socket_open(&play.socket, play.loop, ends[0], (struct span){data, early}, &use, &play) ==
          0);
    CHECK(loop_run(play.loop) == 0);
    CHECK(play.closes == 1);
    loop_unwatch(play.loop, &play.turn);
    close(play.turn.descriptor);
    close(play.client);
    loop_close(play.loop);
    read_all(data, data + size);
    CHECK(play.heard_bytes == reading.said_bytes);
    CHECK(memcmp(play.heard, reading.said, reading.said_bytes) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint8_t warm[] = {0, 7, 0x81, 0x81, 1, 2, 3, 4, 'x', 0x88, 0x80, 1, 2, 3, 4};
    (void)argc;
    (void)argv;
    run_play(warm, sizeof(warm)); /* what libraries make once is made now */
    CHECK(play.heard_bytes == 3 + 2);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t before = __sanitizer_get_current_allocated_bytes();
    int first = dup(2);
    CHECK(first >= 0 && close(first) == 0);
    run_play(data, size < INPUT_BYTES_MAX ? size : INPUT_BYTES_MAX);
    int again = dup(2);
    CHECK(again == first && close(again) == 0); /* no descriptor stays open */
    CHECK(__sanitizer_get_current_allocated_bytes() <= before);
    return 0;
}
