/* SPDX-License-Identifier: MIT
 * A relay's command line: every flag is read, written and read again to the same settings, and what
 * is wrong is refused with a message that names the flag. */
#include "channel/settings.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/nearest.h"
#include "channel/value.h"
#include "config/keys.h"

#define WORDS_MAX 64

static int read_words(struct channel_settings *settings, char error[256], int count,
                      const char *const *words)
{
    settings_defaults(settings);
    error[0] = '\0';
    return settings_read_flags(settings, count, (char *const *)(uintptr_t)words, error, 256);
}

/* Member by member: padding may differ. */
static void assert_same(const struct channel_settings *a, const struct channel_settings *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->layout, b->layout);
    assert_string_equal(a->directory, b->directory);
    assert_string_equal(a->interface, b->interface);
    assert_string_equal(a->listen_interface, b->listen_interface);
    assert_string_equal(a->send_interface, b->send_interface);
    assert_string_equal(a->decimated.zone, b->decimated.zone);
    assert_true(address_equal(&a->listen, &b->listen));
    assert_true(address_equal(&a->full, &b->full));
    assert_true(address_equal(&a->decimated, &b->decimated));
    assert_int_equal(a->source_count, b->source_count);
    for (uint32_t i = 0; i < a->source_count; i++) {
        assert_true(address_equal(&a->sources[i].address, &b->sources[i].address));
        assert_int_equal(a->sources[i].bits, b->sources[i].bits);
    }
    assert_int_equal(a->factor, b->factor);
    assert_int_equal(a->algorithm, b->algorithm);
    assert_int_equal(a->ttl, b->ttl);
    assert_true(a->buffer_bytes == b->buffer_bytes);
    assert_true(a->receive_bytes == b->receive_bytes);
    assert_int_equal(a->offload, b->offload);
    assert_int_equal(a->latency, b->latency);
    assert_int_equal(a->direct_io, b->direct_io);
    assert_true(a->sync_ms == b->sync_ms);
    assert_true(a->rotate_bytes == b->rotate_bytes);
    assert_true(a->rotate_age_ms == b->rotate_age_ms);
}

static void test_defaults(void **state)
{
    (void)state;
    struct channel_settings settings;
    char text[64], *words[WORDS_MAX];
    settings_defaults(&settings);
    assert_int_equal(settings.ttl, 1);
    assert_int_equal(settings.factor, 1);
    assert_int_equal(settings.algorithm, ALGORITHM_DOWNSAMPLE);
    assert_int_equal(settings.direct_io, DIRECT_AUTO);
    assert_true(settings.buffer_bytes == 67108864);
    assert_true(settings.receive_bytes == 8388608);
    assert_true(settings.sync_ms == 1000);
    assert_true(settings.rotate_bytes == 1073741824);
    assert_true(settings.rotate_age_ms == 3600000);
    assert_int_equal(settings_write_flags(&settings, text, sizeof text, words, WORDS_MAX), 0);
}

static const char *const all_flags[] = {
    "--name",
    "engine",
    "--layout",
    "/run/a b/engine.layout",
    "--directory",
    "/data/engine",
    "--listen",
    "239.10.0.1:26000",
    "--interface",
    "lo",
    "--listen-interface",
    "eth0",
    "--send-interface",
    "eth1",
    "--source",
    "10.0.0.0/24",
    "--source",
    "127.0.0.1",
    "--full",
    "239.11.0.1:6000",
    "--decimated=[ff15::1%eth2]:6001",
    "--factor",
    "50",
    "--algorithm",
    "min-max",
    "--ttl",
    "3",
    "--buffer",
    "16MiB",
    "--receive-queue",
    "2MiB",
    "--offload",
    "off",
    "--latency",
    "on",
    "--direct-io",
    "required",
    "--sync",
    "100ms",
    "--rotate-size",
    "1.5GiB",
    "--rotate-age",
    "0",
};

static void test_every_flag(void **state)
{
    (void)state;
    struct channel_settings settings, again;
    char error[256], text[4096], *words[WORDS_MAX];
    assert_int_equal(read_words(&settings, error, ARRAY_COUNT(all_flags), all_flags), 0);
    assert_string_equal(settings.name, "engine");
    assert_string_equal(settings.layout, "/run/a b/engine.layout");
    assert_string_equal(settings.directory, "/data/engine");
    assert_string_equal(settings.interface, "lo");
    assert_string_equal(settings_listen_interface(&settings), "eth0");
    assert_string_equal(settings_send_interface(&settings, &settings.full), "eth1");
    assert_string_equal(settings_send_interface(&settings, &settings.decimated), "eth2");
    settings.listen_interface[0] = settings.send_interface[0] = '\0';
    assert_string_equal(settings_listen_interface(&settings), "lo");
    assert_string_equal(settings_send_interface(&settings, &settings.full), "lo");
    snprintf(settings.listen_interface, sizeof settings.listen_interface, "eth0");
    snprintf(settings.send_interface, sizeof settings.send_interface, "eth1");
    assert_int_equal(settings.listen.family, 4);
    assert_int_equal(settings.listen.port, 26000);
    assert_memory_equal(settings.listen.bytes, "\xef\x0a\x00\x01", 4);
    assert_int_equal(settings.source_count, 2);
    assert_int_equal(settings.sources[0].bits, 24);
    assert_int_equal(settings.sources[1].bits, 32);
    assert_int_equal(settings.full.port, 6000);
    assert_int_equal(settings.decimated.family, 6);
    assert_int_equal(settings.factor, 50);
    assert_int_equal(settings.algorithm, ALGORITHM_MIN_MAX);
    assert_int_equal(settings.ttl, 3);
    assert_true(settings.buffer_bytes == 16777216);
    assert_true(settings.receive_bytes == 2097152);
    assert_int_equal(settings.offload, OFFLOAD_OFF);
    assert_int_equal(settings.latency, LATENCY_ON);
    assert_int_equal(settings.direct_io, DIRECT_REQUIRED);
    assert_true(settings.sync_ms == 100);
    assert_true(settings.rotate_bytes == 1610612736);
    assert_true(settings.rotate_age_ms == 0);
    assert_int_equal(settings_validate(&settings, error, sizeof error), 0);

    int count = settings_write_flags(&settings, text, sizeof text, words, WORDS_MAX);
    assert_int_equal(count, 22);
    assert_string_equal(words[1], "--layout=/run/a b/engine.layout");
    assert_string_equal(words[11], "--factor=50");
    settings_defaults(&again);
    assert_int_equal(settings_read_flags(&again, count, words, error, sizeof error), 0);
    assert_same(&settings, &again);
}

static void test_too_little_room(void **state)
{
    (void)state;
    struct channel_settings settings;
    char error[256], text[4096], *words[WORDS_MAX];
    assert_int_equal(read_words(&settings, error, ARRAY_COUNT(all_flags), all_flags), 0);
    int count = settings_write_flags(&settings, text, sizeof text, words, WORDS_MAX);
    char *last = words[count - 1];
    size_t needed = (size_t)(last - text) + strlen(last) + 1;
    for (size_t room = 0; room < needed; room++) {
        char *small = malloc(room + 1);
        assert_int_equal(settings_write_flags(&settings, small, room, words, WORDS_MAX), -ENOSPC);
        free(small);
    }
    assert_int_equal(settings_write_flags(&settings, text, needed, words, WORDS_MAX), count);
    assert_int_equal(settings_write_flags(&settings, text, needed, words, (size_t)count - 1),
                     -ENOSPC);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *message;
    } cases[] = {
        {{"--lisen", "1.2.3.4:5"}, "unknown flag \"--lisen\"; did you mean \"--listen\"?"},
        {{"--recieve-queue=1MiB"},
         "unknown flag \"--recieve-queue\"; did you mean \"--receive-queue\"?"},
        {{"--verbose"}, "unknown flag \"--verbose\""},
        {{"--listen"}, "--listen needs a value: ADDRESS:PORT"},
        {{"--algorithm"}, "--algorithm needs a value: downsample|average|min-max|rms"},
        {{"engine"}, "unexpected argument \"engine\""},
        {{"--"}, "unexpected argument \"--\""},
        {{"-name"}, "unexpected argument \"-name\""},
        {{"--name", "Engine"},
         "--name: \"Engine\" is not a channel name: 1 to 64 of a-z 0-9 _ . -, beginning with a "
         "letter or digit"},
        {{"--name", ""},
         "--name: \"\" is not a channel name: 1 to 64 of a-z 0-9 _ . -, beginning with a letter or "
         "digit"},
        {{"--listen", "239.10.0.1"},
         "--listen: \"239.10.0.1\" is not ADDRESS:PORT, such as 239.10.0.1:26000 or "
         "[ff15::1]:26000; the port is missing"},
        {{"--listen", "239.10.0.256:1"},
         "--listen: \"239.10.0.256:1\" is not ADDRESS:PORT, such as 239.10.0.1:26000 or "
         "[ff15::1]:26000"},
        {{"--source", "10.0.0.1/24"},
         "--source: \"10.0.0.1/24\" is not ADDRESS or NETWORK/BITS, such as 10.0.0.7 or "
         "10.0.0.0/24"},
        {{"--interface", "a/name"},
         "--interface: \"a/name\" is not an interface name, such as eth0: 1 to 127 bytes"},
        {{"--factor", "0"}, "--factor: \"0\" is not a whole number from 1 to 1000000000"},
        {{"--ttl", "256"}, "--ttl: \"256\" is not a whole number from 0 to 255"},
        {{"--algorithm", "min_max"},
         "--algorithm: unknown value \"min_max\"; did you mean \"min-max\"?"},
        {{"--algorithm", "median"},
         "--algorithm: unknown value \"median\"; one of: downsample, average, min-max, rms"},
        {{"--buffer", "64"},
         "--buffer: \"64\" is not a size with its unit, such as 512KiB, 64MiB or 1GiB"},
        {{"--receive-queue", "1KiB"}, "--receive-queue: 1KiB is out of range: 4KiB to 1GiB"},
        {{"--sync", "1"},
         "--sync: \"1\" is not a duration with its unit, such as 100ms, 10s, 5min, 1h or 7d"},
        {{"--sync", "0"}, "--sync: 0 is out of range: 1ms to 1h"},
        {{"--rotate-size", "1B"},
         "--rotate-size: 1B is out of range: 4KiB to 1024TiB, or 0 for \"never by size\""},
        {{"--layout", ""}, "--layout: a value is needed"},
        {{"--directory", "a\nb"}, "--directory: control characters are not allowed"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct channel_settings settings, before;
        char error[256];
        int count = 0;
        while (count < 3 && cases[i].words[count] != NULL)
            count++;
        settings_defaults(&before);
        assert_int_equal(read_words(&settings, error, count, cases[i].words), -EINVAL);
        assert_string_equal(error, cases[i].message);
        assert_same(&settings, &before);
    }
}

static void test_long_values(void **state)
{
    (void)state;
    struct channel_settings settings;
    char error[256], path[CHANNEL_PATH_BYTES_MAX + 1], name[CHANNEL_NAME_BYTES_MAX + 2];
    memset(path, 'a', sizeof path);
    path[CHANNEL_PATH_BYTES_MAX] = '\0';
    const char *words[] = {"--layout", path};
    assert_int_equal(read_words(&settings, error, 2, words), -EINVAL);
    assert_string_equal(error, "--layout: 1024 bytes is too long; at most 1023");
    path[CHANNEL_PATH_BYTES_MAX - 1] = '\0';
    assert_int_equal(read_words(&settings, error, 2, words), 0);
    assert_string_equal(settings.layout, path);

    memset(name, 'a', sizeof name);
    name[CHANNEL_NAME_BYTES_MAX + 1] = '\0';
    const char *named[] = {"--name", name};
    assert_int_equal(read_words(&settings, error, 2, named), -EINVAL);
    name[CHANNEL_NAME_BYTES_MAX] = '\0';
    assert_int_equal(read_words(&settings, error, 2, named), 0);

    const char *sources[CHANNEL_SOURCES_MAX + 1];
    for (size_t i = 0; i < ARRAY_COUNT(sources); i++)
        sources[i] = "--source=10.0.0.7";
    assert_int_equal(read_words(&settings, error, CHANNEL_SOURCES_MAX, sources), 0);
    assert_int_equal(settings.source_count, CHANNEL_SOURCES_MAX);
    assert_int_equal(read_words(&settings, error, CHANNEL_SOURCES_MAX + 1, sources), -EINVAL);
    assert_string_equal(error, "--source: at most 16");
}

static void test_validate(void **state)
{
    (void)state;
    static const struct {
        const char *words[10];
        const char *message; /* NULL: good */
    } cases[] = {
        {{"--name=a", "--layout=l", "--listen=127.0.0.1:7"}, NULL},
        {{"--layout=l", "--listen=127.0.0.1:7"}, "--name is needed"},
        {{"--name=a", "--listen=127.0.0.1:7"}, "--layout is needed"},
        {{"--name=a", "--layout=l"}, "--listen is needed"},
        {{"--name=a", "--layout=l", "--listen=239.1.1.1:7", "--full=239.1.1.1:7"},
         "--full is the channel's own input"},
        {{"--name=a", "--layout=l", "--listen=[ff15::1]:7", "--decimated=[ff15::1]:7"},
         "--decimated is the channel's own input"},
        {{"--name=a", "--layout=l", "--listen=0.0.0.0:7", "--full=127.0.0.1:7"},
         "--full is the channel's own input"},
        {{"--name=a", "--layout=l", "--listen=0.0.0.0:7", "--full=127.0.0.1:8"}, NULL},
        {{"--name=a", "--layout=l", "--listen=239.1.1.1:7", "--full=239.1.1.1:8"}, NULL},
        {{"--name=a", "--layout=l", "--listen=239.1.1.1:7", "--full=0.0.0.0:8"},
         "--full: nothing can be sent to the wildcard address"},
        {{"--name=a", "--layout=l", "--listen=239.1.1.1:7", "--full=239.1.1.2:8",
          "--decimated=239.1.1.2:8"},
         "--full and --decimated are the same address"},
        {{"--name=a", "--layout=l", "--listen=239.1.1.1:7", "--factor=5"},
         "--factor and --algorithm need --decimated"},
        {{"--name=a", "--layout=l", "--listen=239.1.1.1:7", "--source=fd00::/8"},
         "--source: IPv4 and IPv6 differ from --listen"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct channel_settings settings;
        char error[256];
        int count = 0;
        while (cases[i].words[count] != NULL)
            count++;
        assert_int_equal(read_words(&settings, error, count, cases[i].words), 0);
        int result = settings_validate(&settings, error, sizeof error);
        assert_int_equal(result, cases[i].message == NULL ? 0 : -EINVAL);
        assert_string_equal(error, cases[i].message == NULL ? "" : cases[i].message);
    }
}

static void test_feeds(void **state)
{
    (void)state;
    static const struct {
        const char *output, *output_interface, *input, *input_interface;
        bool feeds;
    } cases[] = {
        {"239.1.1.1:7", "eth0", "239.1.1.1:7", "eth0", true},
        {"239.1.1.1:7", "eth0", "239.1.1.1:7", "", true},
        {"239.1.1.1:7", "", "239.1.1.1:7", "eth0", true},
        {"239.1.1.1:7", "eth1", "239.1.1.1:7", "eth0", false},
        {"239.1.1.1:7", "eth0", "239.1.1.1:8", "eth0", false},
        {"239.1.1.1:7", "eth0", "239.1.1.2:7", "eth0", false},
        {"10.0.0.1:7", "eth1", "10.0.0.1:7", "eth0", true},
        {"[fe80::1]:7", "eth1", "[fe80::1]:7", "eth0", false},
        {"[fe80::1]:7", "eth0", "[fe80::1]:7", "eth0", true},
        {"255.255.255.255:7", "eth0", "0.0.0.0:7", "", true},
        {"[::1]:7", "", "[::]:7", "", true},
        {"[::1]:7", "", "0.0.0.0:7", "", false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct address output, input;
        assert_int_equal(net_read_address(cases[i].output, &output), 0);
        assert_int_equal(net_read_address(cases[i].input, &input), 0);
        assert_int_equal(
            settings_feeds(&output, cases[i].output_interface, &input, cases[i].input_interface),
            cases[i].feeds);
    }
    struct address none = {0};
    assert_false(settings_feeds(&none, "", &none, ""));
}

static void test_nearest(void **state)
{
    (void)state;
    assert_int_equal(nearest_distance("listen", "listen"), 0);
    assert_int_equal(nearest_distance("lisen", "listen"), 1);
    assert_int_equal(nearest_distance("lsiten", "listen"), 1);
    assert_int_equal(nearest_distance("Listen", "listen"), 0);
    assert_int_equal(nearest_distance("kitten", "sitting"), 3);
    assert_int_equal(nearest_distance("", "abc"), 3);
    assert_int_equal(nearest_distance("abc", ""), 3);
    const char *best = NULL;
    nearest_offer("sync", "size", &best);
    assert_null(best);
    nearest_offer("synk", "sync", &best);
    nearest_offer("synk", "sink", &best);
    assert_string_equal(best, "sync");
}

static uint32_t mark_settings(const struct config_key *keys, size_t count)
{
    uint32_t marks = 0;
    for (size_t i = 0; i < count; i++) {
        if (keys[i].setting)
            marks |= 1u << (keys[i].setting - settings_table);
        marks |= mark_settings(keys[i].keys, keys[i].key_count);
    }
    return marks;
}

/* Whatever a relay can be told, fleet.yaml can say: under a key that goes by the same entry, or by
 * what it is: the channel's name, its schema, the folder of all recordings. */
static void test_every_setting_has_a_key(void **state)
{
    (void)state;
    uint32_t marks = mark_settings(config_fleet_keys, config_fleet_key_count) |
                     mark_settings(config_channel_keys, config_channel_key_count);
    for (uint32_t i = 0; i < SETTING_COUNT; i++)
        if (!(marks >> i & 1) && i != SETTING_NAME && i != SETTING_LAYOUT && i != SETTING_DIRECTORY)
            fail_msg("--%s has no key in fleet.yaml", settings_table[i].flag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_flag),
        cmocka_unit_test(test_too_little_room),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_validate),
        cmocka_unit_test(test_feeds),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_every_setting_has_a_key),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
