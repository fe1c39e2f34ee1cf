/* SPDX-License-Identifier: MIT
 * Frames in and out. What is sent goes into one piece of memory, frame behind frame, of which the
 * kernel takes as much as it likes in a call. wslay's frames alone, not its events: those queue a
 * pong for each ping of a client that reads none, and keep a list of a client's fragments.
 * A connection ends in the order that loses nothing: our close frame, an end of what we send, and
 * then until the other side ends what comes is thrown away. A connection that is closed with
 * something unread takes our last words with it. */
#include "gateway/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <wslay/wslay.h>

#include "base/check.h"
#include "base/text.h"
#include "base/utf8.h"
#include "os/clock.h"
#include "os/local.h"
#include "os/stream.h"

#define FRAME_BYTES     10u         /* at most in front of a message */
#define TURN_BYTES      (64u << 10) /* read in a turn of the loop, that others have theirs */
#define PONGS_BYTES_MAX (4u << 10)  /* of answers to pings that wait; then nothing is read */
#define KEPT_BYTES_MAX  (64u << 10) /* of memory, while nothing is in it */
#define CONTROL_BYTES   125u
#define LOOK_NS         (10 * NS_PER_S)
#define PING_NS         (20 * NS_PER_S) /* of silence; then it is asked */
#define SILENCE_NS      (60 * NS_PER_S)
#define STALLED_NS      (30 * NS_PER_S)
#define CLOSING_NS      (5 * NS_PER_S)
#define ENDING_NS       (2 * NS_PER_S)

enum close_code {
    CLOSE_PROTOCOL = 1002,
    CLOSE_TEXT = 1007,
    CLOSE_POLICY = 1008,
    CLOSE_TOO_LARGE = 1009,
};

enum stage {
    STAGE_OPEN,
    STAGE_CLOSING, /* our close frame is queued */
    STAGE_ENDING,  /* all was sent, and the end of it; what comes is thrown away */
    STAGE_OVER
};

struct socket {
    struct loop *loop;
    struct loop_watch watch;
    unsigned events; /* that are watched for */
    struct loop_timer turn, look;
    const struct socket_use *use;
    void *context;
    struct wslay_frame_context *frames;
    enum stage stage;
    bool deaf; /* what comes is not looked at any more: the other side's close came, or nonsense */
    bool gone; /* the connection has ended */
    uint64_t deadline_ns; /* of closing and ending */

    /* In. */
    uint8_t *early; /* what came before us */
    size_t early_bytes, early_at;
    size_t turn_bytes; /* that may still be read in this turn */
    bool in_frame, is_final, in_message, is_text;
    uint8_t opcode;      /* of the frame */
    uint64_t frame_left; /* bytes of it that did not come yet */
    struct utf8_state letters;
    struct text message;
    uint8_t control[CONTROL_BYTES];
    size_t control_bytes;
    uint64_t heard_ns;
    bool pinged;

    /* Out. */
    uint8_t *queue;
    size_t head, tail, room;
    uint64_t sent;     /* bytes, of all */
    uint64_t pong_end; /* where the newest pong ends among them */
    size_t pongs;      /* bytes of pongs that wait */
    bool crowded;      /* whoever sends is to be told of room */
    uint64_t taken_ns;
};

/* ---- what waits to be sent ---- */

size_t socket_queued(const struct socket *socket)
{
    return socket->tail - socket->head;
}

/* Room for so many bytes at the end. What stands there is moved to the front only where at least as
 * much was sent before it, so that no byte is moved often. */
static bool make_room(struct socket *socket, size_t bytes)
{
    if (socket->room - socket->tail >= bytes)
        return true;
    size_t queued = socket_queued(socket);
    if (socket->head >= queued && socket->room - queued >= bytes) {
        memmove(socket->queue, socket->queue + socket->head, queued);
        socket->head = 0;
        socket->tail = queued;
        return true;
    }
    size_t room = 2 * (socket->tail + bytes);
    uint8_t *moved = realloc(socket->queue, room);
    if (moved == NULL)
        return false;
    socket->queue = moved;
    socket->room = room;
    return true;
}

static ssize_t put(const uint8_t *bytes, size_t count, int flags, void *context)
{
    struct socket *socket = context;
    (void)flags;
    CHECK(socket->room - socket->tail >= count);
    memcpy(socket->queue + socket->tail, bytes, count);
    socket->tail += count;
    return (ssize_t)count;
}

static void watch_for_what_is_wanted(struct socket *socket)
{
    unsigned events = 0;
    if (socket->stage == STAGE_OVER)
        return;
    if (socket->pongs <= PONGS_BYTES_MAX || socket->deaf)
        events |= LOOP_READ;
    if (socket_queued(socket) > 0)
        events |= LOOP_WRITE;
    if (events == socket->events)
        return;
    socket->events = events;
    if (loop_watch(socket->loop, &socket->watch, events) < 0)
        socket->gone = true; /* it is seen in the next turn of `look` */
}

/* Queues a frame. 0 or -ENOMEM. */
static int queue_frame(struct socket *socket, uint8_t opcode, const struct span *parts,
                       size_t count)
{
    struct wslay_frame_iocb frame = {.fin = 1, .opcode = opcode};
    size_t bytes = 0, part = 0;
    for (size_t i = 0; i < count; i++)
        bytes += parts[i].bytes;
    if (!make_room(socket, bytes + FRAME_BYTES))
        return -ENOMEM;
    if (socket_queued(socket) == 0)
        socket->taken_ns = clock_monotonic_ns();
    frame.payload_length = bytes;
    do { /* also of a message without a byte */
        if (part < count) {
            frame.data = parts[part].at;
            frame.data_length = parts[part].bytes;
        }
        ssize_t took =
            frame.data_length == 0 && bytes > 0 ? 0 : wslay_frame_send(socket->frames, &frame);
        CHECK(took == (ssize_t)frame.data_length);
    } while (bytes > 0 && ++part < count);
    watch_for_what_is_wanted(socket);
    return 0;
}

int socket_send_parts(struct socket *socket, bool text, const struct span *parts, size_t count)
{
    size_t bytes = FRAME_BYTES, most = socket->use->queue_bytes_max;
    if (socket->stage != STAGE_OPEN)
        return -EPIPE;
    for (size_t i = 0; i < count; i++)
        bytes += parts[i].bytes;
    if (bytes > most || socket_queued(socket) > most - bytes) {
        socket->crowded = true;
        return -ENOBUFS;
    }
    int status = queue_frame(socket, text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, parts, count);
    socket->crowded |= socket_queued(socket) >= most / 2;
    return status;
}

int socket_send(struct socket *socket, bool text, const void *bytes, size_t count)
{
    return socket_send_parts(socket, text, &(struct span){bytes, count}, 1);
}

/* ---- closing ---- */

static void be_over(struct socket *socket)
{
    if (socket->stage == STAGE_OVER)
        return;
    socket->stage = STAGE_OVER;
    loop_unwatch(socket->loop, &socket->watch);
    loop_disarm(&socket->look);
    loop_arm(socket->loop, &socket->turn, 0);
}

static void end_by(struct socket *socket, enum stage stage, uint64_t within_ns)
{
    socket->stage = stage;
    socket->deadline_ns = clock_monotonic_ns() + within_ns;
    loop_arm(socket->loop, &socket->look, socket->deadline_ns);
}

static void queue_close(struct socket *socket, uint16_t code, const char *reason)
{
    uint8_t number[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    struct span parts[2] = {{number, code != 0 ? sizeof(number) : 0},
                            {(const uint8_t *)reason, strlen(reason)}};
    CHECK(parts[1].bytes <= CONTROL_BYTES - sizeof(number));
    end_by(socket, STAGE_CLOSING, CLOSING_NS);
    if (queue_frame(socket, WSLAY_CONNECTION_CLOSE, parts, 2) < 0)
        be_over(socket);
}

void socket_close(struct socket *socket, uint16_t code, const char *reason)
{
    if (socket->stage == STAGE_OPEN)
        queue_close(socket, code, reason);
}

/* Nothing that comes is looked at any more. */
static void fail(struct socket *socket, uint16_t code)
{
    socket->deaf = true;
    socket_close(socket, code, "");
}

/* Whether the other side's close frame holds what one may, and its code; 0: it has none. */
static bool read_close(const struct socket *socket, uint16_t *code)
{
    const uint8_t *at = socket->control;
    *code = 0;
    if (socket->control_bytes == 0)
        return true;
    if (socket->control_bytes == 1)
        return false;
    *code = (uint16_t)(at[0] << 8 | at[1]);
    return (*code >= 1000 && *code <= 1014 && *code != 1004 && *code != 1005 && *code != 1006) ||
           (*code >= 3000 && *code <= 4999);
}

static void take_close(struct socket *socket)
{
    uint16_t code;
    if (!read_close(socket, &code))
        fail(socket, CLOSE_PROTOCOL);
    else if (socket->control_bytes > 2 &&
             !utf8_valid(socket->control + 2, socket->control + socket->control_bytes))
        fail(socket, CLOSE_TEXT);
    else
        fail(socket, code);
}

/* ---- what comes ---- */

static ssize_t take(uint8_t *into, size_t bytes, int flags, void *context)
{
    struct socket *socket = context;
    (void)flags;
    size_t early = socket->early_bytes - socket->early_at;
    if (early > 0) {
        early = early < bytes ? early : bytes;
        memcpy(into, socket->early + socket->early_at, early);
        socket->early_at += early;
        return (ssize_t)early;
    }
    if (socket->turn_bytes == 0 || (socket->pongs > PONGS_BYTES_MAX && !socket->deaf))
        return -1;
    long got = local_read(socket->watch.descriptor, into,
                          bytes < socket->turn_bytes ? bytes : socket->turn_bytes);
    if (got == -EAGAIN)
        return -1;
    if (got <= 0) {
        socket->gone = true;
        return -1;
    }
    socket->turn_bytes -= (size_t)got;
    socket->heard_ns = clock_monotonic_ns();
    socket->pinged = false;
    return got;
}

static void take_control(struct socket *socket)
{
    struct span all = {socket->control, socket->control_bytes};
    if (socket->opcode == WSLAY_CONNECTION_CLOSE) {
        take_close(socket);
    } else if (socket->opcode == WSLAY_PING && socket->stage == STAGE_OPEN) {
        if (queue_frame(socket, WSLAY_PONG, &all, 1) < 0) {
            fail(socket, CLOSE_POLICY);
            return;
        }
        socket->pongs += all.bytes + 2;
        socket->pong_end = socket->sent + socket_queued(socket);
    }
}

static void take_message(struct socket *socket)
{
    struct text *message = &socket->message;
    socket->in_message = false;
    if (socket->is_text && socket->letters.more > 0) {
        fail(socket, CLOSE_TEXT);
        return;
    }
    if (socket->stage == STAGE_OPEN && socket->use->message != NULL)
        socket->use->message(socket->context, socket->is_text,
                             (struct span){(const uint8_t *)message->at, message->bytes});
    text_clear(message);
    if (message->room > KEPT_BYTES_MAX)
        text_free(message);
}

/* Whether a frame may stand where it does; else it is closed. */
static bool begin_frame(struct socket *socket, const struct wslay_frame_iocb *frame)
{
    bool control = wslay_is_ctrl_frame(frame->opcode);
    bool continues = frame->opcode == WSLAY_CONTINUATION_FRAME;
    bool known = frame->opcode <= WSLAY_BINARY_FRAME ||
                 (frame->opcode >= WSLAY_CONNECTION_CLOSE && frame->opcode <= WSLAY_PONG);
    if (frame->rsv != 0 || !frame->mask || !known ||
        (!control && continues != socket->in_message)) {
        fail(socket, CLOSE_PROTOCOL);
        return false;
    }
    if (!control && frame->payload_length >
                        socket->use->message_bytes_max - (continues ? socket->message.bytes : 0)) {
        fail(socket, CLOSE_TOO_LARGE);
        return false;
    }
    socket->in_frame = true;
    socket->is_final = frame->fin;
    socket->opcode = frame->opcode;
    socket->frame_left = frame->payload_length;
    socket->control_bytes = 0;
    if (!control && !continues) {
        socket->in_message = true;
        socket->is_text = frame->opcode == WSLAY_TEXT_FRAME;
        socket->letters = (struct utf8_state){0};
        text_clear(&socket->message);
    }
    return true;
}

static void take_part(struct socket *socket, const struct wslay_frame_iocb *frame)
{
    bool control = wslay_is_ctrl_frame(frame->opcode);
    if (!socket->in_frame && !begin_frame(socket, frame))
        return;
    CHECK(frame->data_length <= socket->frame_left);
    if (frame->data_length > 0 && control) {
        memcpy(socket->control + socket->control_bytes, frame->data, frame->data_length);
        socket->control_bytes += frame->data_length;
    } else if (frame->data_length > 0) {
        if (socket->is_text && !utf8_carry(&socket->letters, frame->data, frame->data_length)) {
            fail(socket, CLOSE_TEXT);
            return;
        }
        text_add_bytes(&socket->message, frame->data, frame->data_length);
        if (socket->message.failed) {
            fail(socket, CLOSE_TOO_LARGE);
            return;
        }
    }
    socket->frame_left -= frame->data_length;
    if (socket->frame_left > 0)
        return;
    socket->in_frame = false;
    if (control)
        take_control(socket);
    else if (socket->is_final)
        take_message(socket);
}

static void take_frames(struct socket *socket)
{
    while (!socket->deaf && socket->stage != STAGE_OVER) {
        struct wslay_frame_iocb frame = {0};
        ssize_t got = wslay_frame_recv(socket->frames, &frame);
        if (got == WSLAY_ERR_WANT_READ)
            return;
        if (got < 0)
            fail(socket, CLOSE_PROTOCOL);
        else
            take_part(socket, &frame);
    }
}

static void throw_away(struct socket *socket)
{
    uint8_t nobody_wants[4096];
    while (take(nobody_wants, sizeof(nobody_wants), 0, socket) > 0)
        ;
}

/* ---- in the loop ---- */

static void send_what_waits(struct socket *socket)
{
    if (socket_queued(socket) > 0) {
        long took = local_write(socket->watch.descriptor, socket->queue + socket->head,
                                socket_queued(socket));
        if (took < 0 && took != -EAGAIN) {
            socket->gone = true;
            return;
        }
        if (took <= 0)
            return;
        socket->head += (size_t)took;
        socket->sent += (uint64_t)took;
        socket->taken_ns = clock_monotonic_ns();
    }
    if (socket->sent >= socket->pong_end)
        socket->pongs = 0;
    if (socket_queued(socket) == 0) {
        socket->head = socket->tail = 0;
        if (socket->room > KEPT_BYTES_MAX) {
            free(socket->queue);
            socket->queue = NULL;
            socket->room = 0;
        }
    }
    if (socket->crowded && socket_queued(socket) < socket->use->queue_bytes_max / 2) {
        socket->crowded = false;
        if (socket->use->room != NULL && socket->stage == STAGE_OPEN)
            socket->use->room(socket->context);
    }
}

/* What follows from what has happened. */
static void settle(struct socket *socket)
{
    if (socket->gone) {
        be_over(socket);
        return;
    }
    if (socket->stage == STAGE_CLOSING && socket->deaf && socket_queued(socket) == 0) {
        end_by(socket, STAGE_ENDING, ENDING_NS);
        stream_end_sending(socket->watch.descriptor);
    }
    watch_for_what_is_wanted(socket);
}

static void ready(void *context, unsigned events)
{
    struct socket *socket = context;
    socket->turn_bytes = TURN_BYTES;
    if (events & LOOP_WRITE)
        send_what_waits(socket);
    if ((events & LOOP_READ) && !(socket->events & LOOP_READ))
        socket->gone = true; /* it was not asked for: the other side is gone altogether */
    else if (events & LOOP_READ)
        take_frames(socket);
    if ((events & LOOP_READ) && socket->deaf)
        throw_away(socket);
    settle(socket);
}

static void turn(void *context)
{
    struct socket *socket = context;
    if (socket->stage != STAGE_OVER) {
        take_frames(socket);
        free(socket->early);
        socket->early = NULL;
        socket->early_bytes = socket->early_at = 0;
        settle(socket);
        return;
    }
    socket->use->closed(socket->context);
    descriptor_close(socket->watch.descriptor);
    wslay_frame_context_free(socket->frames);
    text_free(&socket->message);
    free(socket->early);
    free(socket->queue);
    free(socket);
}

static void look(void *context)
{
    struct socket *socket = context;
    uint64_t now_ns = clock_monotonic_ns();
    if (socket->gone || (socket->stage != STAGE_OPEN && now_ns >= socket->deadline_ns) ||
        (socket->pinged && now_ns >= socket->heard_ns + SILENCE_NS)) {
        be_over(socket);
        return;
    }
    uint64_t next_ns = now_ns + LOOK_NS;
    if (socket->stage != STAGE_OPEN) {
        next_ns = socket->deadline_ns;
    } else if (socket_queued(socket) > 0) {
        if (now_ns >= socket->taken_ns + STALLED_NS) {
            fail(socket, CLOSE_POLICY);
            settle(socket);
            return;
        }
        if (next_ns > socket->taken_ns + STALLED_NS)
            next_ns = socket->taken_ns + STALLED_NS;
    } else if (!socket->pinged && now_ns >= socket->heard_ns + PING_NS) {
        socket->pinged = queue_frame(socket, WSLAY_PING, NULL, 0) == 0;
    }
    loop_arm(socket->loop, &socket->look, next_ns);
}

static int begin(struct socket *socket, struct span early)
{
    static const struct wslay_frame_callbacks calls = {.send_callback = put, .recv_callback = take};
    if (wslay_frame_context_init(&socket->frames, &calls, socket) != 0)
        return -ENOMEM;
    if (early.bytes > 0) {
        socket->early = malloc(early.bytes);
        if (socket->early == NULL)
            return -ENOMEM;
        memcpy(socket->early, early.at, early.bytes);
        socket->early_bytes = early.bytes;
    }
    socket->events = LOOP_READ;
    return loop_watch(socket->loop, &socket->watch, socket->events);
}

int socket_open(struct socket **made, struct loop *loop, descriptor_t connection, struct span early,
                const struct socket_use *use, void *context)
{
    struct socket *socket = calloc(1, sizeof(*socket));
    if (socket == NULL) {
        descriptor_close(connection);
        return -ENOMEM;
    }
    socket->loop = loop;
    socket->use = use;
    socket->context = context;
    socket->watch =
        (struct loop_watch){.descriptor = connection, .ready = ready, .context = socket};
    socket->turn = (struct loop_timer){.due = turn, .context = socket};
    socket->look = (struct loop_timer){.due = look, .context = socket};
    stream_set_prompt(connection, SOCKET_KERNEL_BYTES);
    int status = begin(socket, early);
    if (status < 0) {
        descriptor_close(connection);
        wslay_frame_context_free(socket->frames);
        free(socket->early);
        free(socket);
        return status;
    }
    socket->heard_ns = socket->taken_ns = clock_monotonic_ns();
    loop_arm(loop, &socket->turn, 0);
    loop_arm(loop, &socket->look, socket->heard_ns + LOOK_NS);
    *made = socket;
    return 0;
}
