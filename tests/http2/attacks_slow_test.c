/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile clients that do nothing, or hardly anything, for as long as they may. The clock of the
 * server is the test's: a second passes when the test says so. */
#include "attack.h"

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ATTACK(...)    h2_under_attack(&(h2_attack){.attackers = 1, __VA_ARGS__})
#define DOWNLOAD_ITEMS 2048
#define DOWNLOAD_BYTES 32000     /* each: 64 MB in all */
#define SLOW_BYTES_MAX (2 << 20) /* what one slow reader may cost */

static void put(h2_peer *peer, h2_step step)
{
    h2_peer_put(peer, &step);
}

static void put_download(h2_peer *peer, uint32_t stream)
{
    static uint8_t request[DOWNLOAD_BYTES + 16];
    size_t at = 0;
    uint64_t numbers[] = {DOWNLOAD_ITEMS, DOWNLOAD_BYTES};
    const uint8_t tags[] = {0x10, 0x1a};
    for (size_t i = 0; i < 2; i++) {
        request[at++] = tags[i];
        for (; numbers[i] >= 128; numbers[i] >>= 7)
            request[at++] = (uint8_t)(numbers[i] | 128);
        request[at++] = (uint8_t)numbers[i];
    }
    put(peer, (h2_step)HEADERS(stream, 0, REQUEST("Download")));
    h2_put_message(peer, stream, END, request, at + DOWNLOAD_BYTES);
}

static uint64_t downloads(fixture *f)
{
    rpc_call_stats stats;
    const char *path;
    for (size_t i = 0; rpc_server_method_stats(f->server, i, &path, &stats); i++)
        if (strcmp(path, "/rpctest.Echo/Download") == 0)
            return stats.started;
    fail_msg("nothing is counted of downloads");
    return 0;
}

/* Of calls that begin there is no event of their own: f->started is the other caller's too. */
static void wait_downloads(fixture *f, uint64_t count)
{
    while (downloads(f) < count)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Moves the time on by a step, which is a jump for the other caller too: no second one comes before
 * a call of its has ended and the next has come, so that it is as little late as it is in truth. */
static bool skip_step(fixture *f, rpc_limit_kind limit, unsigned count, int64_t step_ms)
{
    unsigned before = flag_count(&f->started);
    fixture_skip(f, step_ms);
    flag_wait(&f->started, before + 2);
    return flag_wait_for(&f->limits_hit[limit], count, 50);
}

static void skip_until(fixture *f, rpc_limit_kind limit, unsigned count, int64_t step_ms)
{
    while (!skip_step(f, limit, count, step_ms))
        continue;
}

static void check_memory(fixture *f, unsigned readers)
{
    rpc_server_stats stats = rpc_server_get_stats(f->server);
    if (stats.memory_bytes > (readers + 1) * (size_t)SLOW_BYTES_MAX)
        fail_msg("%u slow readers cost %zu bytes", readers, stats.memory_bytes);
}

/* ---- readers ----------------------------------------------------------------------------------
 */

/* Windows wide open, and not a byte is read. */
static void read_nothing(fixture *f, unsigned attacker)
{
    (void)attacker;
    uint64_t before = downloads(f);
    h2_peer *peers[10];
    for (int i = 0; i < 10; i++) {
        peers[i] = h2_attacker(f);
        put(peers[i], (h2_step)SETTINGS(0, 0, "\0\4\x7f\xff\xff\xff"));
        put(peers[i], (h2_step)WINDOW(0, "\x7f\xff\0\0"));
        put_download(peers[i], 1);
        peers[i]->hold = true;
        (void)h2_peer_run(peers[i], h2_peer_sent, 0);
    }
    wait_downloads(f, before + 10);
    /* Another reader gets all of its 64 MB meanwhile. */
    client_call c = {0};
    client_start(&c, f, "/rpctest.Echo/Download", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    static uint8_t data[DOWNLOAD_BYTES];
    item.size = DOWNLOAD_ITEMS;
    item.data.data = data;
    item.data.len = sizeof data;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    assert_true(c.bytes > (uint64_t)DOWNLOAD_ITEMS * DOWNLOAD_BYTES);
    client_done(&c);
    check_memory(f, 11);
    skip_until(f, RPC_LIMIT_WRITE_PROGRESS, 10, 1000);
    for (int i = 0; i < 10; i++)
        h2_peer_free(peers[i]);
}

TEST(readers_that_read_nothing)
{
    ATTACK(.run = read_nothing, .limit = RPC_LIMIT_WRITE_PROGRESS, .limit_count = 10);
}

static void read_one_byte_a_second(fixture *f, unsigned attacker)
{
    (void)attacker;
    h2_peer *peer = h2_attacker(f);
    put(peer, (h2_step)SETTINGS(0, 0, "\0\4\x7f\xff\xff\xff"));
    put(peer, (h2_step)WINDOW(0, "\x7f\xff\0\0"));
    put_download(peer, 1);
    uint64_t before = downloads(f);
    peer->hold = true;
    (void)h2_peer_run(peer, h2_peer_sent, 0);
    wait_downloads(f, before + 1);
    /* Until it is given up: what one byte a second frees in the socket is no progress. */
    do {
        uint8_t byte;
        (void)recv(peer->fd, &byte, 1, 0);
        check_memory(f, 1);
    } while (!skip_step(f, RPC_LIMIT_WRITE_PROGRESS, 1, 1000));
    h2_peer_free(peer);
}

TEST(a_reader_of_one_byte_a_second)
{
    ATTACK(.run = read_one_byte_a_second, .limit = RPC_LIMIT_WRITE_PROGRESS, .limit_count = 1);
}

/* The window of every stream stays at zero: nothing is written, so nothing stands still there. */
static void hold_the_window(fixture *f, unsigned attacker)
{
    (void)attacker;
    uint64_t before = downloads(f);
    h2_peer *peer = h2_attacker(f);
    put(peer, (h2_step)SETTINGS(0, 0, "\0\4\0\0\0\0"));
    for (uint32_t i = 0; i < 20; i++)
        put_download(peer, 2 * i + 1);
    (void)h2_peer_run(peer, h2_peer_sent, 0);
    wait_downloads(f, before + 20);
    check_memory(f, 1);
    skip_until(f, RPC_LIMIT_STREAM_SEND, 20, 10000);
    h2_peer_free(peer);
}

static void wait_for_ever(fixture *f)
{
    f->limits.idle_ms = RPC_NO_TIMEOUT; /* or the other caller goes first */
}

TEST(a_window_held_at_zero)
{
    ATTACK(.run = hold_the_window, .prepare = wait_for_ever, .limit = RPC_LIMIT_STREAM_SEND,
        .limit_count = 20);
}

/* ---- writers ----------------------------------------------------------------------------------
 */

static void write_one_byte_a_second(fixture *f, unsigned attacker)
{
    (void)attacker;
    h2_peer *whole = h2_attacker(f);
    put(whole, (h2_step)HEADERS(1, 0, CHAT));
    h2_peer *peer = h2_peer_new(h2_dial(f));
    peer->hold = true; /* no SETTINGS to acknowledge between the bytes */
    for (size_t i = 0; i < whole->out_size; i++) {
        h2_peer_put_bytes(peer, whole->out + i, 1);
        (void)h2_peer_run(peer, h2_peer_sent, 0);
        if (skip_step(f, RPC_LIMIT_FIRST_REQUEST, 2, 1000))
            break;
    }
    fixture_wait_limit(f, RPC_LIMIT_FIRST_REQUEST, 2); /* both: the other never wrote */
    h2_peer_free(peer);
    h2_peer_free(whole);
}

TEST(a_request_of_one_byte_a_second)
{
    ATTACK(.run = write_one_byte_a_second, .limit = RPC_LIMIT_FIRST_REQUEST, .limit_count = 2);
}

static void never_finish(fixture *f, unsigned attacker)
{
    (void)attacker;
    static const uint8_t hello[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
    int fds[200];
    for (size_t i = 0; i < 200; i++) {
        fds[i] = h2_dial(f);
        /* nothing, a head, or most of a ClientHello */
        size_t size = i % 3 == 0 ? 0 : i % 3 == 1 ? 5 : sizeof hello;
        assert_int_equal(send(fds[i], hello, size, MSG_NOSIGNAL), (ssize_t)size);
    }
    skip_until(f, RPC_LIMIT_HANDSHAKE, 200, 1000);
    for (size_t i = 0; i < 200; i++)
        close(fds[i]);
}

TEST(handshakes_that_are_never_finished)
{
    ATTACK(.run = never_finish, .tls = true, .limit = RPC_LIMIT_HANDSHAKE, .limit_count = 200);
}

/* ---- idle -------------------------------------------------------------------------------------
 */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IDLE 300
#else
#define IDLE 1000
#endif
#define IDLE_FULL   10000
#define IDLE_KB_MAX 32 /* a connection without TLS */

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    perror(what);
    _exit(1);
}

/* A process of its own: its descriptors are as many as the server's. Each connection has had one
 * answer; then it rests until from_test is closed. */
static void idle_client(int from_test, int to_test, const uint8_t *request, size_t size)
{
    unsigned numbers[2]; /* port, connections */
    must(read(from_test, numbers, sizeof numbers) == sizeof numbers, "port");
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)numbers[0]),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (unsigned i = 0; i < numbers[1]; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        uint8_t answer[4096];
        must(fd >= 0, "socket");
        must(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
        must(send(fd, request, size, MSG_NOSIGNAL) == (ssize_t)size, "send");
        must(recv(fd, answer, sizeof answer, 0) > 0, "recv");
    }
    must(write(to_test, "r", 1) == 1, "ready");
    char byte;
    (void)!read(from_test, &byte, 1);
    _exit(0);
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static size_t idle_request(uint8_t *bytes)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    h2_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->fd = pair[0];
    h2_peer_put_preface(peer, true);
    put(peer, (h2_step)HEADERS(1, 0, UNARY));
    put(peer, (h2_step)DATA(1, END, "\0\0\0\0\3\x0a\1x"));
    size_t size = peer->out_size;
    memcpy(bytes, peer->out, size);
    close(peer->fd);
    free(peer->out);
    free(peer);
    return size;
}

TEST(ten_thousand_idle_connections)
{
    const char *full = getenv("DACM_TEST_FULL");
    unsigned numbers[2] = {0, full && strcmp(full, "1") == 0 ? IDLE_FULL : IDLE};
    int to_client[2], to_test[2];
    uint8_t request[1024];
    raise_descriptors();
    size_t size = idle_request(request);
    assert_int_equal(pipe(to_client), 0);
    assert_int_equal(pipe(to_test), 0);
    pid_t child = fork();
    if (child == 0) {
        close(to_client[1]);
        idle_client(to_client[0], to_test[1], request, size);
    }
    close(to_client[0]);
    close(to_test[1]);
    fixture f;
    fixture_init(&f);
    f.plain = true;
    f.limits.connections_max = f.limits.connections_per_address_max = numbers[1] + 10;
    fixture_start(&f);
    assert_int_equal(sscanf(strrchr(rpc_listener_url(f.listener), ':'), ":%u", &numbers[0]), 1);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    size_t before_kb = h2_rss_anon_kb();
    assert_int_equal(write(to_client[1], numbers, sizeof numbers), sizeof numbers);
    char byte;
    assert_int_equal(read(to_test[0], &byte, 1), 1);
    /* Buffers and what is kept for the next call go with the second tick that finds no use. */
    for (int i = 0; i < 100; i++)
        assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    rpc_server_stats stats = rpc_server_get_stats(f.server);
    assert_int_equal(stats.connections, numbers[1] + 1);
    while (rpc_server_get_stats(f.server).memory_bytes > (size_t)numbers[1] * IDLE_KB_MAX * 1024)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    double kb = (double)(h2_rss_anon_kb() - before_kb) / numbers[1];
    print_message("%u idle connections: RssAnon %.1f KiB each, accounted %.1f KiB\n", numbers[1],
        kb, (double)rpc_server_get_stats(f.server).memory_bytes / 1024 / numbers[1]);
    close(to_client[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    while (rpc_server_get_stats(f.server).connections > 1)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    close(to_test[0]);
    fixture_stop(&f);
}

/* ---- the end of a call frees what it holds ----------------------------------------------------
 */

static void wait_memory(fixture *f, size_t bytes)
{
    size_t now = rpc_server_get_stats(f->server).memory_bytes;
    for (int i = 0; now > bytes && i < 10000; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        now = rpc_server_get_stats(f->server).memory_bytes;
    }
    if (now > bytes)
        fail_msg("%zu bytes were in use before, %zu are now", bytes, now);
}

/* 20 downloads that nobody reads, ended by end(). */
static void end_downloads(const char *request, void (*end)(fixture *f, h2_peer *peer))
{
    fixture f;
    fixture_init(&f);
    f.plain = true;
    fixture_start(&f);
    h2_peer *peer = h2_attacker(&f);
    put(peer, (h2_step)SETTINGS(0, 0, "\0\4\0\0\0\0"));
    for (uint32_t i = 0; i < 20; i++) {
        put(peer, (h2_step)HEADERS(2 * i + 1, 0, request));
        put(peer, (h2_step)DATA(2 * i + 1, 0,
                      "\0\0\0\0\x0c\x10\x90\x4e\x1a\x07"
                      "1234567"));
    }
    /* 10,000 items of 7 bytes each: a few are queued */
    assert_true(h2_peer_sync(peer));
    flag_wait(&f.started, 20);
    size_t sent = flag_count(&f.released);
    assert_int_equal(sent, 0);
    end(&f, peer);
    flag_wait(&f.server_ended, 20);
    rpc_server_stats stats = rpc_server_get_stats(f.server);
    assert_int_equal(stats.calls_started, 20);
    /* Every body that was queued has been given back, and nothing waits for the connection. */
    flag_wait(&f.released, 20);
    fixture_let_go(&f);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "another caller", NULL, &status), RPC_OK);
    assert_true(h2_peer_sync(peer)); /* the connection goes on */
    h2_peer_free(peer);
    rpc_channel_free(f.channel);
    f.channel = NULL;
    wait_memory(&f, 0);
    fixture_stop(&f);
}

static void reset_all(fixture *f, h2_peer *peer)
{
    (void)f;
    for (uint32_t i = 0; i < 20; i++)
        put(peer, (h2_step)RST(2 * i + 1, CODE_CANCEL));
    assert_true(h2_peer_sync(peer));
    assert_int_equal(rpc_server_get_stats(f->server).calls_ended, 20);
}

TEST(a_cancel_frees_everything_at_once)
{
    end_downloads(REQUEST("Download"), reset_all);
}

static void pass_the_deadline(fixture *f, h2_peer *peer)
{
    do
        fixture_skip(f, 1000);
    while (!flag_wait_for(&f->server_ended, 20, 50));
    assert_int_equal(f->server_end, RPC_DEADLINE_EXCEEDED);
    assert_true(h2_peer_sync(peer));
}

TEST(a_deadline_frees_everything_at_once)
{
    end_downloads(REQUEST("Download") "grpc-timeout: 5S\n", pass_the_deadline);
}

static void break_all(fixture *f, h2_peer *peer)
{
    /* The handler refuses its second message, which is no Item. */
    for (uint32_t i = 0; i < 20; i++)
        put(peer, (h2_step)DATA(2 * i + 1, 0, "\0\0\0\0\1\xff"));
    (void)f;
    assert_true(h2_peer_sync(peer));
    for (uint32_t i = 0; i < 20; i++)
        put(peer, (h2_step)WINDOW(2 * i + 1, "\0\1\0\0"));
    assert_true(h2_peer_sync(peer));
}

TEST(an_error_of_the_handler_frees_everything)
{
    end_downloads(REQUEST("Download"), break_all);
}
