/* SPDX-License-Identifier: Apache-2.0 */
#include "attack.h"

#include <malloc.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define RSS_GROWTH_KB 16384

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* their own bookkeeping is most of the memory */
#else
#define SANITIZED 0
#endif

typedef struct attacker {
    fixture *f;
    const h2_attack *attack;
    unsigned number;
    pthread_t thread;
    atomic_uint *running;
} attacker;

size_t h2_rss_anon_kb(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    size_t kb = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %zu", &kb) == 1)
            break;
    fclose(file);
    return kb;
}

h2_peer *h2_attacker(fixture *f)
{
    h2_peer *peer = h2_peer_new(h2_dial(f));
    h2_peer_put_preface(peer, true);
    return peer;
}

void h2_put_message(h2_peer *peer, uint32_t stream, uint8_t flags, const void *data, size_t size)
{
    const size_t room = 16384;
    uint8_t *bytes = malloc(size + 5);
    assert_non_null(bytes);
    memcpy(bytes,
        (uint8_t[]){
            0, (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size},
        5);
    if (size > 0)
        memcpy(bytes + 5, data, size);
    for (size_t at = 0; at < size + 5; at += room) {
        size_t left = size + 5 - at;
        h2_step step = {.type = T_DATA,
            .flags = left <= room ? flags : 0,
            .stream = stream,
            .bytes = (const char *)bytes + at,
            .size = left < room ? left : room,
            .length = -1};
        h2_peer_put(peer, &step);
    }
    free(bytes);
}

static void *run_attacker(void *arg)
{
    attacker *a = arg;
    a->attack->run(a->f, a->number);
    atomic_fetch_sub(a->running, 1);
    return NULL;
}

static void call_once(fixture *f)
{
    rpc_status status = {0};
    char *text = NULL;
    if (fixture_unary(f, NULL, "another caller", &text, &status) != RPC_OK)
        fail_msg("another caller was refused: %s", status.message);
    assert_string_equal(text, "another caller");
    free(text);
}

/* Of these there are no events. */
void h2_wait_gone(fixture *f)
{
    rpc_server_stats stats = rpc_server_get_stats(f->server);
    for (int i = 0; i < 20000; i++) {
        if (stats.connections == 0 && stats.calls_started == stats.calls_ended &&
            stats.memory_bytes == 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        stats = rpc_server_get_stats(f->server);
    }
    fail_msg("left behind: %u connections, %llu of %llu calls, %zu bytes", stats.connections,
        (unsigned long long)(stats.calls_started - stats.calls_ended),
        (unsigned long long)stats.calls_started, stats.memory_bytes);
}

/* As docs/librpc/limits.md has it for a server. Here the attackers' own large blocks are in the
 * same heap, too. */
static void keep_little_heap(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 2 << 20);
#endif
}

void h2_run_attack(fixture *f, const h2_attack *attack)
{
    keep_little_heap();
    call_once(f);
    rpc_channel_free(f->channel);
    f->channel = NULL;
    h2_wait_gone(f);
    unsigned descriptors = h2_descriptors();
    size_t rss_kb = h2_rss_anon_kb();
    f->channel = fixture_channel(f);
    call_once(f); /* is connected before an attack may move the time on */
    attacker attackers[16];
    atomic_uint running = attack->attackers;
    assert_true(attack->attackers <= 16);
    for (unsigned i = 0; i < attack->attackers; i++) {
        attackers[i] = (attacker){.f = f, .attack = attack, .number = i, .running = &running};
        assert_int_equal(
            pthread_create(&attackers[i].thread, NULL, run_attacker, &attackers[i]), 0);
    }
    unsigned calls = 0;
    for (; calls < 10 || atomic_load(&running) > 0; calls++)
        call_once(f);
    for (unsigned i = 0; i < attack->attackers; i++)
        pthread_join(attackers[i].thread, NULL);
    rpc_channel_free(f->channel);
    f->channel = NULL;
    while (rpc_server_get_stats(f->server).connections > 0)
        sched_yield();
    fixture_let_go(f); /* of the last download */
    h2_wait_gone(f);
    h2_wait_descriptors(descriptors);
    rpc_server_stats stats = rpc_server_get_stats(f->server);
    if (stats.limits[attack->limit] < attack->limit_count)
        fail_msg("limit %s was counted %llu times, not %u", rpc_limit_name(attack->limit),
            (unsigned long long)stats.limits[attack->limit], attack->limit_count);
    assert_true(stats.events[RPC_EVENT_PROTOCOL_ERROR] >= attack->protocol_errors);
    size_t now_kb = h2_rss_anon_kb();
    print_message(
        "%u calls of another caller; RssAnon %zu KiB before, %zu after\n", calls, rss_kb, now_kb);
    if (!SANITIZED && now_kb > rss_kb + RSS_GROWTH_KB)
        fail_msg("RssAnon grew from %zu to %zu KiB", rss_kb, now_kb);
}

void h2_under_attack(const h2_attack *attack)
{
    fixture f;
    fixture_init(&f);
    f.plain = !attack->tls;
    f.limits.unauthenticated_per_address_max = 1000;
    if (attack->prepare)
        attack->prepare(&f);
    fixture_start(&f);
    h2_run_attack(&f, attack);
    fixture_stop(&f);
}
