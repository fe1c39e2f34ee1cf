/* SPDX-License-Identifier: MIT
 * The play clock is a pair of instants, recorded and monotonic, that belong together, and the speed
 * between; whatever sets it begins a new pair. Known: with many hundred sources choosing the next
 * datum, one after the other, takes longer than sending it. */
#include "cli/replay_player.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/calendar.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "os/terminal.h"

#define SEEK_NS      (10 * NS_PER_S)
#define SPEED_LEAST  (1.0 / 64)
#define SPEED_MOST   65536.0
#define LOOK_NS      (50 * NS_PER_MS) /* between looks for a key while nothing is due */
#define BAR_NS       (200 * NS_PER_MS)
#define AWAKE_NS     (80 * 1000ull) /* before a datum is due, with `exact` */
#define GAP_TOLD_NS  (10 * NS_PER_S)
#define TOGETHER_MAX 256u /* datums that are late leave together */
#define BAR_CELLS    24

struct head {
    struct replay_block *block;
    size_t index, offset;
    bool ended;
};

struct player {
    struct replay_reader *reader;
    struct replay_target *const *targets;
    struct replay_target *newest; /* that something was gathered for; NULL: none yet */
    struct head *heads;
    uint32_t count, together;
    const struct replay_options *options;
    struct replay_extent extent;
    struct replay_result *result;
    double speed;
    bool paused, ended;
    bool keys, bar;          /* there is a keyboard, a screen */
    bool anew;               /* the clock is to begin with the next datum */
    uint64_t at_ns, base_ns; /* recorded, monotonic: belong together */
    uint64_t last_ns;        /* recorded, of the last datum */
    uint64_t steps;          /* datums that may be sent though it is paused */
    uint64_t bar_ns, told_gap_ns, looked_ns;
};

/* ---- the clock ---- */

static void set_clock(struct player *player, uint64_t at_ns)
{
    player->at_ns = at_ns;
    player->base_ns = clock_monotonic_ns();
}

/* Where in recorded time it is now. */
static uint64_t position(const struct player *player)
{
    uint64_t passed = player->paused ? 0 : clock_monotonic_ns() - player->base_ns;
    uint64_t at = player->at_ns + (uint64_t)((double)passed * player->speed);
    return player->options->max || player->options->step ? player->last_ns : at;
}

static uint64_t due_ns(const struct player *player, uint64_t at_ns)
{
    uint64_t later = at_ns > player->at_ns ? at_ns - player->at_ns : 0;
    return player->base_ns + (uint64_t)((double)later / player->speed);
}

/* ---- what comes next ---- */

static void load(struct player *player, uint32_t source)
{
    struct head *head = &player->heads[source];
    *head = (struct head){.block = replay_reader_front(player->reader, source)};
    head->ended = head->block == NULL;
}

static struct replay_row *row_of(const struct head *head)
{
    return &head->block->rows[head->index];
}

/* The source whose datum is next; `count` at the end. */
static uint32_t choose(const struct player *player)
{
    uint32_t best = player->count;
    for (uint32_t i = 0; i < player->count; i++)
        if (!player->heads[i].ended &&
            (best == player->count ||
             row_of(&player->heads[i])->at_ns < row_of(&player->heads[best])->at_ns))
            best = i;
    return best;
}

static void advance(struct player *player, uint32_t source)
{
    struct head *head = &player->heads[source];
    head->offset += row_of(head)->bytes;
    if (++head->index < head->block->count)
        return;
    replay_reader_pop(player->reader, source);
    load(player, source);
}

static void flush(struct player *player)
{
    for (uint32_t i = 0; i < player->count; i++)
        replay_target_flush(player->targets[i]);
    player->together = 0;
}

/* Goes on with what is played from `from_ns` on; 0: from the begin. 0 or a negative errno. */
static int seek(struct player *player, uint64_t from_ns)
{
    flush(player);
    int status = replay_reader_start(player->reader, from_ns);
    for (uint32_t i = 0; i < player->count && status == 0; i++)
        load(player, i);
    player->told_gap_ns = 0;
    return status;
}

/* ---- keys and the bar ---- */

static void show_bar(struct player *player)
{
    uint64_t now = clock_monotonic_ns(), at = position(player);
    const struct replay_extent *extent = &player->extent;
    char text[CALENDAR_TEXT_BYTES], cells[BAR_CELLS + 1];
    if (!player->bar || now - player->bar_ns < BAR_NS)
        return;
    player->bar_ns = now;
    double share =
        extent->last_ns > extent->first_ns && at > extent->first_ns
            ? (double)(at - extent->first_ns) / (double)(extent->last_ns - extent->first_ns)
            : 0;
    share = share > 1 ? 1 : share;
    for (int i = 0; i < BAR_CELLS; i++)
        cells[i] = i < (int)(share * BAR_CELLS) ? '#' : '-';
    cells[BAR_CELLS] = '\0';
    fprintf(stderr, "\r[%s] %3.0f %% %s ", cells, 100 * share, calendar_write(text, at, 1));
    if (player->paused)
        fprintf(stderr, "paused");
    else if (!player->options->max)
        fprintf(stderr, "x%g", player->speed);
    fprintf(stderr, ", %" PRIu64 " datums\033[K", player->result->datums);
    fflush(stderr);
}

static int press(struct player *player, int key)
{
    uint64_t at = position(player), first = player->extent.first_ns;
    double speed = player->speed;
    player->bar_ns = 0;
    switch (key) {
    case ' ':
        player->paused = !player->paused;
        break;
    case '+':
    case TERMINAL_UP:
        speed *= 2;
        break;
    case '-':
    case TERMINAL_DOWN:
        speed /= 2;
        break;
    case '.':
        player->steps++;
        return 0;
    case 'q':
        player->ended = true;
        return 0;
    case TERMINAL_LEFT:
        at = at > first + SEEK_NS ? at - SEEK_NS : first;
        break;
    case TERMINAL_RIGHT:
        at += SEEK_NS;
        break;
    default:
        return 0;
    }
    player->speed = speed < SPEED_LEAST ? SPEED_LEAST : speed > SPEED_MOST ? SPEED_MOST : speed;
    set_clock(player, at);
    player->last_ns = at;
    return key == TERMINAL_LEFT || key == TERMINAL_RIGHT ? seek(player, at) : 0;
}

/* Looks for keys, waiting up to `timeout_ns`; 0 or a negative errno. */
static int look_for_keys(struct player *player, int64_t timeout_ns)
{
    player->looked_ns = clock_monotonic_ns();
    int key = terminal_key(timeout_ns);
    return key == TERMINAL_NONE || key == TERMINAL_END ? 0 : press(player, key);
}

/* With `step`: waits for a key, or a line where input is no terminal. */
static void wait_for_step(struct player *player)
{
    int key;
    do {
        show_bar(player);
        key = terminal_key((int64_t)BAR_NS);
    } while (!interrupt_seen() &&
             (key == TERMINAL_NONE || (!player->keys && key != '\n' && key != TERMINAL_END)));
    if (key == TERMINAL_END || key == 'q' || interrupt_seen())
        player->ended = true;
}

/* ---- playing ---- */

/* A pause in what was recorded: passed over, or told where it is long. */
static void mind_gap(struct player *player, uint64_t at_ns)
{
    uint64_t gap = at_ns > player->last_ns ? at_ns - player->last_ns : 0;
    if (player->options->max || player->options->step || player->last_ns == 0)
        return;
    if (gap > player->options->skip_gaps_ns) {
        player->result->gaps++;
        player->result->gaps_ns += gap;
        player->last_ns = at_ns;
        set_clock(player, at_ns);
    } else if (at_ns != player->told_gap_ns &&
               due_ns(player, at_ns) > clock_monotonic_ns() + GAP_TOLD_NS) {
        player->told_gap_ns = at_ns;
        fprintf(stderr,
                "%sflotilla replay: nothing was recorded for %.0f s; --skip-gaps 10s passes over "
                "such\n",
                player->bar ? "\r\033[K" : "", (double)gap / (double)NS_PER_S);
    }
}

/* Waits until the instant, or a while, or something else is to be done. 0 or a negative errno. */
static int wait_until(struct player *player, uint64_t due)
{
    uint64_t now = clock_monotonic_ns();
    show_bar(player);
    if (player->keys && (player->paused || due > now + NS_PER_MS)) {
        uint64_t until = player->paused || due > now + LOOK_NS ? now + LOOK_NS : due - NS_PER_MS;
        return look_for_keys(player, (int64_t)(until - now));
    }
    if (player->options->exact && due <= now + AWAKE_NS) {
        while (clock_monotonic_ns() < due) {
        }
        return 0;
    }
    if (player->options->exact)
        due -= AWAKE_NS;
    /* A signal that came just now does not end a sleep that begins. */
    clock_sleep_until(due > now + LOOK_NS ? now + LOOK_NS : due);
    return 0;
}

static void send(struct player *player, uint32_t source, uint64_t due)
{
    struct head *head = &player->heads[source];
    const struct replay_row *row = row_of(head);
    struct replay_target *target = player->targets[source];
    uint64_t passed =
        player->last_ns != 0 && row->at_ns > player->last_ns ? row->at_ns - player->last_ns : 0;
    /* What is late leaves in order, too, whichever way it goes. */
    if (player->newest != NULL && player->newest != target && !player->options->max)
        replay_target_flush(player->newest);
    player->newest = target;
    replay_target_add(target, (struct span){head->block->bytes + head->offset, row->bytes}, due);
    player->result->datums++;
    player->result->played_ns += passed;
    player->last_ns = row->at_ns;
    if (player->options->max)
        replay_target_yield(target);
    else if (++player->together >= TOGETHER_MAX || player->options->step)
        flush(player);
    advance(player, source);
}

/* Plays the next datum if it is due, or waits. 0 or a negative errno. */
static int step(struct player *player, uint32_t source)
{
    uint64_t at = row_of(&player->heads[source])->at_ns, now = clock_monotonic_ns(), due = 0;
    if (player->options->step)
        wait_for_step(player);
    if (player->ended)
        return 0;
    if (player->anew) {
        player->anew = false;
        player->last_ns = 0;
        set_clock(player, at);
    }
    if (player->keys && now - player->looked_ns > LOOK_NS) {
        int status = look_for_keys(player, 0);
        if (status < 0 || player->ended || choose(player) != source ||
            row_of(&player->heads[source])->at_ns != at)
            return status;
    }
    if (player->steps > 0) {
        player->steps--;
        set_clock(player, at);
    } else if (!player->options->max && !player->options->step) {
        mind_gap(player, at);
        due = due_ns(player, at);
        if (player->paused || due > now) {
            flush(player);
            return wait_until(player, due);
        }
    } else if (player->paused) {
        flush(player);
        return wait_until(player, UINT64_MAX);
    }
    show_bar(player);
    send(player, source, due);
    return 0;
}

static int play(struct player *player)
{
    uint64_t begun = 0;
    int status = seek(player, 0);
    while (status == 0 && !player->ended && !interrupt_seen() &&
           player->result->datums < player->options->count) {
        uint32_t source = choose(player);
        if (source < player->count) {
            status = step(player, source);
            continue;
        }
        flush(player);
        if (!player->options->loop || player->result->datums == begun)
            break;
        begun = player->result->datums;
        player->result->loops++;
        player->anew = true;
        status = seek(player, 0);
    }
    flush(player);
    return status == -EINTR ? 0 : status;
}

int replay_play(struct replay_reader *reader, struct replay_target *const *targets, uint32_t count,
                const struct replay_options *options, struct replay_result *result)
{
    uint32_t columns;
    struct player player = {.reader = reader,
                            .targets = targets,
                            .heads = calloc(count, sizeof(struct head)),
                            .count = count,
                            .options = options,
                            .extent = replay_reader_extent(reader),
                            .result = result,
                            .speed = options->speed,
                            .anew = true};
    if (player.heads == NULL)
        return -ENOMEM;
    clock_sleep_exactly();
    player.keys = terminal_keys_begin();
    player.bar = terminal_is_error(&columns);
    int status = play(&player);
    terminal_keys_end();
    if (player.bar)
        fprintf(stderr, "\r\033[K");
    free(player.heads);
    return status;
}
