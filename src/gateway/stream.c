/* SPDX-License-Identifier: MIT
 * While nothing has come, its connection is suspended, and the loop watches what is waited for. */
#include "gateway/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "os/bell.h"
#include "os/file.h"

#define PIECE_BYTES 65536u

struct stream {
    descriptor_t pipe, bell;
    struct control_talk talk;
    uint8_t *first;
    size_t first_bytes, taken;
    bool ended; /* nothing more comes out of the pipe; what the manager says of it is waited for */
    struct loop *loop;
    struct loop_watch watch;
    struct MHD_Connection *connection;
};

struct stream *stream_make(descriptor_t pipe, const struct control_talk *talk, uint8_t *first,
                           size_t bytes)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return NULL;
    stream->pipe = pipe;
    stream->talk = *talk;
    stream->first = first;
    stream->first_bytes = bytes;
    return stream;
}

bool stream_is_whole(const json_t *line)
{
    const json_t *code = json_object_get(line, "exit");
    json_int_t exit = json_integer_value(code);
    return json_is_integer(code) && (exit == 0 || exit == 3 || exit == 4);
}

static void ready(void *context, unsigned events)
{
    struct stream *stream = context;
    (void)events;
    loop_unwatch(stream->loop, &stream->watch);
    MHD_resume_connection(stream->connection);
    bell_ring(stream->bell);
}

/* Until something can be read there. */
static ssize_t wait_for(struct stream *stream, descriptor_t descriptor)
{
    stream->watch =
        (struct loop_watch){.descriptor = descriptor, .ready = ready, .context = stream};
    if (loop_watch(stream->loop, &stream->watch, LOOP_READ) < 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    MHD_suspend_connection(stream->connection);
    return 0;
}

/* The pipe is at its end: all of it was there, or not. */
static ssize_t end(struct stream *stream)
{
    json_t *line = NULL;
    stream->ended = true;
    int status = control_talk_next(&stream->talk, 0, &line);
    if (status == -ETIMEDOUT)
        return wait_for(stream, stream->talk.connection);
    bool whole = status == 0 && stream_is_whole(line);
    json_decref(line);
    return whole ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

static ssize_t give(void *context, uint64_t offset, char *into, size_t room)
{
    struct stream *stream = context;
    size_t left = stream->first_bytes - stream->taken;
    (void)offset;
    if (left > 0) {
        size_t bytes = left < room ? left : room;
        memcpy(into, stream->first + stream->taken, bytes);
        stream->taken += bytes;
        return (ssize_t)bytes;
    }
    if (stream->ended)
        return end(stream);
    long got = file_read_next(stream->pipe, (uint8_t *)into, room);
    if (got > 0)
        return got;
    if (got == -EAGAIN || got == -EINTR)
        return wait_for(stream, stream->pipe);
    return got == 0 ? end(stream) : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_stream(void *context)
{
    stream_free(context);
}

struct MHD_Response *stream_answer(struct stream *stream, struct MHD_Connection *connection,
                                   struct loop *loop, descriptor_t bell)
{
    stream->connection = connection;
    stream->loop = loop;
    stream->bell = bell;
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, give, stream,
                                             free_stream);
}

void stream_free(struct stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->loop != NULL)
        loop_unwatch(stream->loop, &stream->watch);
    descriptor_close(stream->pipe);
    control_talk_end(&stream->talk);
    free(stream->first);
    free(stream);
}
