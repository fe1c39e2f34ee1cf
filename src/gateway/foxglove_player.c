/* SPDX-License-Identifier: MIT
 * Recordings in Foxglove's protocol, played as each client asks: from where it seeks to, as fast as
 * it says, of the topics it subscribes to. Another thread reads ahead, a batch of at most two
 * seconds of playing; who takes it more slowly is played to more slowly, and nothing is left out.
 * A topic that is subscribed to while it plays begins with the next batch. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/foxglove.h"
#include "gateway/foxglove_client.h"
#include "gateway/foxglove_reader.h"
#include "os/clock.h"

#define AHEAD_NS     (2 * NS_PER_S)
#define TIME_NS      (50 * NS_PER_MS) /* between two words of what time it is */
#define LEAST_NS     (2 * NS_PER_MS)  /* between two looks */
#define BUFFERING_NS (300 * NS_PER_MS)
#define SPEED_MIN    0.01f
#define SPEED_MAX    100.0f
#define PLAYERS_MAX  8u /* each may read READER_READ_MAX channels, which takes 1.5 MiB each */

/* What another thread does. Nobody else touches it meanwhile. */
struct job {
    int status;
    bool lists; /* what there is, which comes first of all */
    const char *directory;
    struct recorded *list;
    size_t count;
    struct reader *reader;
    bool wanted[READER_CHANNELS_MAX];
    bool anew;
    uint64_t from_ns, until_ns;
    struct reader_batch batch;
};

struct player {
    struct hub *hub;
    struct socket *socket;
    struct foxglove_client *client;
    struct job job;
    bool working, gone; /* it is freed when the work is done */
    bool stale;         /* what is being read is not wanted any more */
    uint64_t first_ns, last_ns;
    struct foxglove_topic *topics[READER_CHANNELS_MAX]; /* as the job's list; NULL: not shown */
    struct reader_batch batch;                          /* that is played */
    size_t next;                                        /* of its items */
    bool ready;                                         /* the job's batch is the next */
    enum foxglove_playback state;
    float speed;
    uint64_t at_ns, since_ns; /* where it was, and when (monotonic) */
    uint64_t read_ns;         /* all before has been asked for */
    uint64_t starved_ns;      /* since when it waits for a disk; 0: it does not */
    bool told_buffering, full;
    struct loop_timer timer;
    uint64_t told_time_ns;
    uint64_t faults;
    struct text out;
};

/* ---- words ---- */

static void send_out(struct player *player)
{
    struct text *out = &player->out;
    if (!out->failed) /* state is told whatever waits: it is small */
        socket_send(player->socket, false, out->at, out->bytes);
    out->failed = false;
    text_clear(out);
}

static void tell_state(struct player *player, enum foxglove_playback state, bool did_seek,
                       const char *id)
{
    foxglove_write_playback(&player->out, state, player->at_ns, player->speed, did_seek, id);
    send_out(player);
}

static void tell_time(struct player *player, uint64_t now_ns)
{
    if (now_ns - player->told_time_ns < TIME_NS || !foxglove_client_has_room(player->client))
        return;
    player->told_time_ns = now_ns;
    foxglove_write_time(&player->out, player->at_ns);
    send_out(player);
}

/* ---- reading ahead ---- */

static void work(void *context)
{
    struct job *job = &((struct player *)context)->job;
    if (job->lists) {
        job->status = recorded_list(&job->list, &job->count, job->directory);
        return;
    }
    reader_batch_clear(&job->batch);
    job->status = reader_want(job->reader, job->wanted, job->from_ns, job->anew);
    if (job->status == 0)
        job->status = reader_read(job->reader, &job->batch, job->until_ns);
}

static void worked(void *context);

static unsigned players; /* in the hub's thread */

static void free_player(struct player *player)
{
    if (player->client != NULL)
        foxglove_client_close(player->client);
    reader_close(player->job.reader);
    recorded_free(player->job.list, player->job.count);
    reader_batch_free(&player->job.batch);
    reader_batch_free(&player->batch);
    text_free(&player->out);
    free(player);
    players--;
}

static void choose(struct player *player)
{
    size_t wanted = 0;
    for (size_t i = 0; i < player->job.count; i++) {
        player->job.wanted[i] = player->topics[i] != NULL && player->topics[i]->subscribed;
        wanted += player->job.wanted[i];
    }
    if (wanted > READER_READ_MAX)
        foxglove_client_tell(player->client, FOXGLOVE_WARNING, "too-many",
                             "%zu channels are subscribed to, of which %u are read at a time",
                             wanted, READER_READ_MAX);
}

/* Has the next batch read, unless it is being read, is there, or there is none. */
static void read_ahead(struct player *player)
{
    struct job *job = &player->job;
    if (player->working || player->ready || job->reader == NULL ||
        player->read_ns > player->last_ns)
        return;
    choose(player);
    job->lists = false;
    job->anew = player->stale;
    job->from_ns = player->read_ns;
    double ahead = (double)AHEAD_NS * (double)player->speed;
    job->until_ns = player->last_ns + 1 - player->read_ns < (uint64_t)ahead
                        ? player->last_ns + 1
                        : player->read_ns + (uint64_t)ahead;
    player->stale = false;
    player->working = hub_work(player->hub, work, worked, player);
}

/* ---- playing ---- */

static uint64_t position(const struct player *player, uint64_t now_ns)
{
    double passed = (double)(now_ns - player->since_ns) * (double)player->speed;
    return passed < (double)(player->last_ns - player->at_ns) ? player->at_ns + (uint64_t)passed
                                                              : player->last_ns;
}

/* A channel's messages are of another form from here on: it is another topic. */
static void change_topic(struct player *player, struct reader_item *item)
{
    struct foxglove_topic *topic = player->topics[item->channel];
    const char *name = player->job.list[item->channel].name;
    if (topic != NULL &&
        topic_form_is_of(topic->form, schema_text(item->form->schema), item->form->time))
        return;
    if (topic != NULL)
        foxglove_client_remove(player->client, topic);
    player->topics[item->channel] = foxglove_client_add(player->client, name, item->form);
    item->form = NULL;
}

/* Plays what is due. False: the client's queue is full. */
static bool play_batch(struct player *player, uint64_t position_ns)
{
    struct reader_batch *batch = &player->batch;
    for (; player->next < batch->count && batch->items[player->next].at_ns <= position_ns;
         player->next++) {
        struct reader_item *item = &batch->items[player->next];
        const struct foxglove_topic *topic = player->topics[item->channel];
        if (item->form != NULL) {
            change_topic(player, item);
            continue;
        }
        if (topic == NULL || !topic->subscribed)
            continue;
        char *message = batch->bytes.at + item->offset;
        foxglove_write_data_front(message, topic->subscription, item->at_ns);
        if (!foxglove_client_send(player->client, false, message, item->bytes)) {
            player->at_ns = item->at_ns > player->at_ns ? item->at_ns : player->at_ns;
            return false;
        }
    }
    return true;
}

static void tell_faults(struct player *player, const struct reader_batch *batch)
{
    player->faults += batch->faults;
    if (batch->faults > 0)
        foxglove_client_tell(player->client, FOXGLOVE_WARNING, "faults",
                             "%" PRIu64 " places cannot be read, and are left out: %s",
                             player->faults, batch->fault);
    if (batch->left_out > 0)
        foxglove_client_tell(player->client, FOXGLOVE_WARNING, "too-long",
                             "%" PRIu64 " datums are too long for a message", batch->left_out);
}

/* Takes the batch that was read as the one that is played. */
static void turn_over(struct player *player)
{
    struct reader_batch played = player->batch;
    player->batch = player->job.batch;
    player->job.batch = played;
    player->next = 0;
    player->ready = false;
    tell_faults(player, &player->batch);
}

static void end_playing(struct player *player, enum foxglove_playback state)
{
    player->state = state;
    player->told_buffering = false;
    player->starved_ns = 0;
    loop_disarm(&player->timer);
}

/* The batch is played and the next is not there. */
static void starve(struct player *player, uint64_t now_ns)
{
    if (player->starved_ns == 0)
        player->starved_ns = now_ns;
    if (now_ns - player->starved_ns >= BUFFERING_NS && !player->told_buffering) {
        player->told_buffering = true;
        tell_state(player, FOXGLOVE_BUFFERING, false, "");
    }
}

static void play(void *context)
{
    struct player *player = context;
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t position_ns = position(player, now_ns), next_ns = now_ns + TIME_NS;
    bool sent = true, more = true;
    while (sent && more) {
        sent = play_batch(player, position_ns);
        more = sent && player->next == player->batch.count && player->ready;
        if (more)
            turn_over(player);
        read_ahead(player);
    }
    player->since_ns = now_ns;
    player->full = !sent;
    if (!sent) /* `room` has it go on */
        return;
    /* Not beyond what is known to be all. */
    bool starved = player->next == player->batch.count && player->batch.until_ns <= position_ns &&
                   player->batch.until_ns <= player->last_ns;
    if (starved && player->batch.until_ns > player->at_ns)
        position_ns = player->batch.until_ns;
    else if (starved)
        position_ns = player->at_ns;
    player->at_ns = position_ns;
    tell_time(player, now_ns);
    if (starved) {
        starve(player, now_ns);
    } else {
        if (player->told_buffering)
            tell_state(player, FOXGLOVE_PLAYING, false, "");
        player->told_buffering = false;
        player->starved_ns = 0;
    }
    if (position_ns >= player->last_ns && !starved) {
        end_playing(player, FOXGLOVE_ENDED);
        tell_state(player, FOXGLOVE_ENDED, false, "");
        return;
    }
    if (player->next < player->batch.count) {
        double until =
            (double)(player->batch.items[player->next].at_ns - position_ns) / (double)player->speed;
        if (until < (double)TIME_NS)
            next_ns = now_ns + (uint64_t)until;
    }
    if (next_ns < now_ns + LEAST_NS)
        next_ns = now_ns + LEAST_NS;
    loop_arm(hub_loop(player->hub), &player->timer, next_ns);
}

/* ---- what is asked for ---- */

static void forget_batches(struct player *player)
{
    reader_batch_clear(&player->batch);
    player->batch.until_ns = player->at_ns;
    player->next = 0;
    player->ready = false; /* and what is being read is thrown away when it comes */
    player->stale = true;
    player->read_ns = player->at_ns;
    player->faults = 0;
}

static float speed_of(float wanted)
{
    if (!(wanted >= SPEED_MIN)) /* NaN, too */
        return SPEED_MIN;
    return wanted < SPEED_MAX ? wanted : SPEED_MAX;
}

static void playback(void *context, const struct foxglove_request *request)
{
    struct player *player = context;
    uint64_t now_ns = clock_monotonic_ns(), seek_ns = request->playback.seek_ns;
    if (player->job.reader == NULL) {
        foxglove_client_tell(player->client, FOXGLOVE_WARNING, NULL, "nothing is recorded yet");
        return;
    }
    if (player->state == FOXGLOVE_PLAYING && !player->full && player->starved_ns == 0)
        player->at_ns = position(player, now_ns);
    player->since_ns = now_ns;
    player->speed = speed_of(request->playback.speed);
    if (request->playback.seeks) {
        player->at_ns = seek_ns < player->first_ns  ? player->first_ns
                        : seek_ns > player->last_ns ? player->last_ns
                                                    : seek_ns;
        forget_batches(player);
        if (player->state == FOXGLOVE_ENDED)
            player->state = FOXGLOVE_PAUSED;
    }
    if (player->state != FOXGLOVE_ENDED) {
        bool plays = request->playback.plays;
        end_playing(player, plays ? FOXGLOVE_PLAYING : FOXGLOVE_PAUSED);
        if (plays)
            loop_arm(hub_loop(player->hub), &player->timer, now_ns);
    }
    player->full = false;
    tell_state(player, player->state, request->playback.seeks, request->playback.id);
}

/* While it stands still, what is read ahead is of the topics of then. */
static void chosen(void *context, struct foxglove_topic *topic)
{
    struct player *player = context;
    (void)topic;
    if (player->state == FOXGLOVE_PAUSED)
        forget_batches(player);
}

static const struct foxglove_client_use client_use = {
    .subscribed = chosen, .unsubscribed = chosen, .playback = playback};

/* ---- beginning ---- */

static void advertise(struct player *player)
{
    struct job *job = &player->job;
    char id[96];
    for (size_t i = 0; i < job->count; i++) {
        struct recorded *one = &job->list[i];
        if (one->form == NULL) {
            snprintf(id, sizeof(id), "left-out-%s", one->name);
            foxglove_client_tell(player->client, FOXGLOVE_INFO, id, "%s is left out: %s", one->name,
                                 one->error);
            continue;
        }
        player->topics[i] = foxglove_client_add(player->client, one->name, one->form);
        one->form = NULL;
    }
}

/* What there is, is known. */
static void begin(struct player *player)
{
    struct job *job = &player->job;
    player->first_ns = UINT64_MAX;
    for (size_t i = 0; i < job->count; i++) {
        const struct recorded *one = &job->list[i];
        player->first_ns = one->first_ns < player->first_ns ? one->first_ns : player->first_ns;
        player->last_ns = one->last_ns > player->last_ns ? one->last_ns : player->last_ns;
    }
    if (job->status == 0 && job->count > 0)
        job->status =
            reader_open(&job->reader, job->directory, job->list, job->count, player->last_ns);
    struct foxglove_span span = {player->first_ns, player->last_ns};
    if (job->status < 0 || !foxglove_client_greet(player->client, job->count > 0 ? &span : NULL)) {
        socket_close(player->socket, 1011, "out of memory");
        return;
    }
    if (job->count == 0)
        foxglove_client_tell(player->client, FOXGLOVE_WARNING, NULL, "nothing is recorded yet");
    player->at_ns = player->first_ns;
    player->speed = 1;
    player->state = FOXGLOVE_PAUSED;
    forget_batches(player);
    advertise(player);
}

static void worked(void *context)
{
    struct player *player = context;
    struct job *job = &player->job;
    player->working = false;
    if (player->gone) {
        free_player(player);
        return;
    }
    if (job->lists) {
        begin(player);
        return;
    }
    if (job->status < 0) {
        foxglove_client_tell(player->client, FOXGLOVE_ERROR, "reading", "out of memory");
        player->stale = true;
    }
    if (player->stale) { /* it is not wanted any more */
        reader_batch_clear(&job->batch);
    } else {
        player->ready = true;
        player->read_ns = job->batch.until_ns;
    }
    if (player->state == FOXGLOVE_PLAYING && !player->full)
        loop_arm(hub_loop(player->hub), &player->timer, clock_monotonic_ns());
}

/* ---- the socket's calls ---- */

static void message(void *context, bool text, struct span bytes)
{
    struct player *player = context;
    foxglove_client_message(player->client, text, bytes);
}

static void room(void *context)
{
    struct player *player = context;
    foxglove_client_fill(player->client);
    if (player->full && player->state == FOXGLOVE_PLAYING) {
        player->full = false;
        player->since_ns = clock_monotonic_ns();
        loop_arm(hub_loop(player->hub), &player->timer, player->since_ns);
    }
}

static void closed(void *context)
{
    struct player *player = context;
    loop_disarm(&player->timer);
    player->gone = true;
    if (!player->working)
        free_player(player);
}

static void *opened(struct hub *hub, struct socket *socket)
{
    struct player *player = calloc(1, sizeof(*player));
    if (player == NULL)
        return NULL;
    players++;
    player->hub = hub;
    player->socket = socket;
    player->state = FOXGLOVE_ENDED; /* until it is known what there is */
    player->timer = (struct loop_timer){.due = play, .context = player};
    player->job = (struct job){.lists = true, .directory = hub_gateway(hub)->directory};
    int status = foxglove_client_open(&player->client, socket, &client_use, player);
    if (status == 0 && players > PLAYERS_MAX) {
        socket_close(socket, 1013, "others play recordings: try again later");
        return player;
    }
    if (status == 0)
        player->working = hub_work(hub, work, worked, player);
    if (player->working)
        return player;
    free_player(player);
    return NULL;
}

const struct dialect foxglove_recordings = {.path = "/foxglove/recordings",
                                            .subprotocols = foxglove_subprotocols,
                                            .opened = opened,
                                            .use = {.message_bytes_max = FOXGLOVE_MESSAGE_BYTES_MAX,
                                                    .queue_bytes_max = FOXGLOVE_QUEUE_BYTES,
                                                    .message = message,
                                                    .room = room,
                                                    .closed = closed}};
