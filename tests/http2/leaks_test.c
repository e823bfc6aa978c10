/* SPDX-License-Identifier: Apache-2.0 */
/* Connections opened and ended in each of six ways, several at once, 20,000 of each (100,000 with
 * DACM_TEST_FULL=1): afterwards the server has the descriptors of before, and neither what it
 * has of malloc() nor RssAnon has grown by what a leak would make of them.
 *
 * The server is this process and the clients are another, so that what is measured is the
 * server's. Without TLS but in the handshake: the same code ends a connection with it.
 *
 * Under a sanitizer 800: descriptors, calls and the server's own account are looked at all the
 * same, memory is not: the sanitizers' bookkeeping, and the quarantine of what was freed, grow
 * with every connection. The address sanitizer looks for leaks itself when the test ends. */
#include "attack.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS     4
#define RESTING_MAX 5000 /* connections that wait for the idle timer at a time */
#define USED_KB_MAX 256  /* 20,000 leaks of 13 bytes */
#define RSS_KB_MAX  4096 /* 20,000 leaks of 210 bytes */
#define ROUNDS_FULL 100000

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#define ROUNDS    800
#else
#define SANITIZED 0
#define ROUNDS    20000
#endif

typedef enum way { CLOSED, RESET_BY_PEER, MID_REPLY, MID_HANDSHAKE, HALF_A_FRAME, IDLE_TIMER } way;

typedef struct order {
    unsigned port, count;
    way way;
} order;

typedef struct client {
    order order;
    unsigned number, begun;
    int done;
    pthread_barrier_t *all_rest;
    pthread_t thread;
} client;

/* ---- the clients ------------------------------------------------------------------------------
 */

static uint8_t call_bytes[1024], download_bytes[32768], hello_bytes[2048];
static size_t call_size, download_size, hello_size;

static void must(bool condition, const char *what)
{
    if (condition)
        return;
    perror(what);
    _exit(1);
}

/* A source address for each way and thread: ports that wait after a close are not run out of. */
static int dial(const client *c)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(0x7f000000u + 256u * (c->order.way + 1) + c->number + 1)};
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)c->order.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, little = 16384, fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0, "socket");
    must(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) == 0, "setsockopt");
    if (c->order.way == MID_REPLY)
        must(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little) == 0, "setsockopt");
    must(bind(fd, (struct sockaddr *)&from, sizeof from) == 0, "bind");
    must(connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    return fd;
}

static void say(int fd, const void *bytes, size_t size)
{
    must(send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size, "send");
}

/* Until a frame of that type with those flags has come, or the end. */
static void await(int fd, uint8_t type, uint8_t flags)
{
    uint8_t head[9], body[65536];
    while (recv(fd, head, sizeof head, MSG_WAITALL) == sizeof head) {
        size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        must(size <= sizeof body, "frame");
        if (size > 0 && recv(fd, body, size, MSG_WAITALL) != (ssize_t)size)
            return;
        if (head[3] == type && (head[4] & flags) == flags)
            return;
    }
}

/* Every other one has said all it has to say, and has the server's part of the handshake. */
static void half_a_handshake(int fd, bool whole_hello)
{
    uint8_t byte;
    say(fd, hello_bytes, whole_hello ? hello_size : hello_size / 2);
    if (!whole_hello)
        must(shutdown(fd, SHUT_WR) == 0, "shutdown");
    must(recv(fd, &byte, 1, 0) == whole_hello, "recv");
}

static void end_one(client *c)
{
    const struct linger now = {.l_onoff = 1};
    uint8_t bytes[4096];
    int fd = dial(c);
    switch (c->order.way) {
    case MID_REPLY:
        say(fd, download_bytes, download_size);
        await(fd, T_HEADERS, 0); /* 64 MiB are on their way */
        break;
    case MID_HANDSHAKE:
        half_a_handshake(fd, c->begun % 2);
        break;
    case HALF_A_FRAME:
        say(fd, call_bytes, 60); /* preface, SETTINGS, and some of HEADERS */
        must(recv(fd, bytes, sizeof bytes, 0) > 0, "recv");
        break;
    default:
        say(fd, call_bytes, call_size);
        await(fd, T_HEADERS, END);
    }
    if (c->order.way == RESET_BY_PEER)
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0, "linger");
    close(fd);
}

/* The server is told when all of all threads rest, and moves its time on. */
static void rest(client *c, unsigned count)
{
    int fds[RESTING_MAX];
    for (unsigned i = 0; i < count; i++) {
        fds[i] = dial(c);
        say(fds[i], call_bytes, call_size);
        await(fds[i], T_HEADERS, END);
    }
    pthread_barrier_wait(c->all_rest);
    if (c->number == 0)
        must(write(c->done, "r", 1) == 1, "write");
    for (unsigned i = 0; i < count; i++) {
        await(fds[i], T_GOAWAY, 0);
        close(fds[i]);
    }
    pthread_barrier_wait(c->all_rest);
}

static void *run_client(void *arg)
{
    client *c = arg;
    const unsigned most = RESTING_MAX / THREADS;
    while (c->begun < c->order.count) {
        unsigned left = c->order.count - c->begun;
        unsigned batch = c->order.way != IDLE_TIMER ? 1 : left < most ? left : most;
        if (c->order.way == IDLE_TIMER)
            rest(c, batch);
        else
            end_one(c);
        c->begun += batch;
    }
    return NULL;
}

static void run_clients(int orders, int done)
{
    order o;
    while (read(orders, &o, sizeof o) == sizeof o) {
        client clients[THREADS];
        pthread_barrier_t all_rest;
        must(pthread_barrier_init(&all_rest, NULL, THREADS) == 0, "barrier");
        o.count /= THREADS;
        for (unsigned i = 0; i < THREADS; i++) {
            clients[i] = (client){.order = o, .number = i, .done = done, .all_rest = &all_rest};
            must(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]) == 0, "thread");
        }
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(clients[i].thread, NULL);
        pthread_barrier_destroy(&all_rest);
        must(write(done, "d", 1) == 1, "done");
    }
    _exit(0);
}

/* What a client of TLS 1.3 says first. */
static void make_hello(void)
{
    static const uint8_t h2[] = "\2h2";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_non_null(context);
    SSL *ssl = SSL_new(context);
    assert_non_null(ssl);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    assert_true(in && out);
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    assert_int_equal(SSL_set_alpn_protos(ssl, h2, sizeof h2 - 1), 0);
    assert_true(SSL_do_handshake(ssl) < 0);
    int size = BIO_read(out, hello_bytes, sizeof hello_bytes);
    assert_true(size > 100);
    hello_size = (size_t)size;
    SSL_free(ssl);
    SSL_CTX_free(context);
}

static void make_requests(void)
{
    uint8_t item[16384] = {0x10, 0x80, 0x20, 0x1a, 0xf9, 0x7f}; /* size 4096, 16,377 bytes */
    h2_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    h2_peer_put_preface(peer, true);
    h2_peer_put(peer, &(h2_step)HEADERS(1, 0, UNARY));
    h2_peer_put(peer, &(h2_step)DATA(1, END, "\0\0\0\0\3\x0a\1x"));
    assert_true(peer->out_size <= sizeof call_bytes);
    memcpy(call_bytes, peer->out, call_size = peer->out_size);
    peer->out_size = 0;
    h2_peer_put_bytes(peer, PREFACE, sizeof PREFACE - 1);
    h2_peer_put(peer, &(h2_step)SETTINGS(0, 0, "\0\4\x7f\xff\xff\xff"));
    h2_peer_put(peer, &(h2_step)WINDOW(0, "\x7f\xff\0\0"));
    h2_peer_put(peer, &(h2_step)HEADERS(1, 0, REQUEST("Download")));
    h2_put_message(peer, 1, END, item, 6 + 16377);
    assert_true(peer->out_size <= sizeof download_bytes);
    memcpy(download_bytes, peer->out, download_size = peer->out_size);
    free(peer->out);
    free(peer);
    make_hello();
}

/* ---- the server -------------------------------------------------------------------------------
 */

static void wait_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* They expire together. Again, for a call whose end the server had not seen yet. */
static void let_expire(fixture *f)
{
    while (rpc_server_get_stats(f->server).connections > 0) {
        fixture_skip(f, f->limits.idle_ms);
        for (int i = 0; i < 1000 && rpc_server_get_stats(f->server).connections > 0; i++)
            wait_a_little();
    }
}

static void run_order(fixture *f, int orders, int done, const order *o, unsigned descriptors)
{
    char byte = 'r';
    assert_int_equal(write(orders, o, sizeof *o), sizeof *o);
    while (byte != 'd') {
        if (read(done, &byte, 1) != 1)
            fail_msg("the clients have failed");
        if (byte == 'r')
            let_expire(f);
    }
    while (rpc_server_get_stats(f->server).connections > 0)
        wait_a_little();
    fixture_let_go(f);
    h2_wait_gone(f);
    h2_wait_descriptors(descriptors);
    (void)malloc_trim(0); /* what it keeps for the next */
}

static void set_limits(fixture *f, way how)
{
    f->plain = how != MID_HANDSHAKE;
    f->limits.unauthenticated_max = f->limits.unauthenticated_per_address_max = RESTING_MAX;
    if (how == MID_HANDSHAKE)
        f->limits.handshake_ms = 60000;
    /* One that has just answered is charged for its whole buffers, written to or not. */
    if (how == IDLE_TIMER)
        f->limits.server_memory_bytes_max = (size_t)RESTING_MAX << 20;
}

static size_t used_kb(void)
{
    struct mallinfo2 info = mallinfo2();
    return (info.uordblks + info.hblkhd) / 1024;
}

static void measure(fixture *f, int orders, int done, const order *all)
{
    order warm = *all;
    warm.count /= 4; /* these make what is made once */
    const unsigned descriptors = h2_descriptors();
    run_order(f, orders, done, &warm, descriptors);
    const size_t used = used_kb(), rss = h2_rss_anon_kb();
    run_order(f, orders, done, all, descriptors);
    const size_t used_now = used_kb(), rss_now = h2_rss_anon_kb();
    print_message("%u descriptors; after %u connections %zu KiB in use, RssAnon %zu KiB; after %u "
                  "more %zu and %zu KiB, %u descriptors\n",
        descriptors, warm.count, used, rss, all->count, used_now, rss_now, h2_descriptors());
    rpc_server_stats stats = rpc_server_get_stats(f->server);
    assert_int_equal(stats.events[RPC_EVENT_CLOSED], all->count + warm.count);
    if (all->way == IDLE_TIMER)
        assert_int_equal(stats.limits[RPC_LIMIT_IDLE], all->count + warm.count);
    if (!SANITIZED && (used_now > used + USED_KB_MAX || rss_now > rss + RSS_KB_MAX))
        fail_msg("memory has grown");
}

static void nothing_leaks(way how)
{
    const char *full = getenv("DACM_TEST_FULL");
    const bool many = !SANITIZED && full && strcmp(full, "1") == 0;
    order all = {.way = how, .count = many ? ROUNDS_FULL : ROUNDS};
    int orders[2], done[2];
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (!SANITIZED) /* only this one heap's end can be trimmed */
        assert_int_equal(mallopt(M_ARENA_MAX, 1), 1);
    make_requests();
    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        close(orders[1]);
        close(done[0]);
        run_clients(orders[0], done[1]);
    }
    close(orders[0]);
    close(done[1]);
    fixture f;
    fixture_init(&f);
    set_limits(&f, how);
    fixture_start(&f);
    all.port = (unsigned)strtoul(strrchr(rpc_listener_url(f.listener), ':') + 1, NULL, 10);
    measure(&f, orders[1], done[0], &all);
    close(orders[1]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(done[0]);
    fixture_stop(&f);
}

TEST(connections_that_are_closed)
{
    nothing_leaks(CLOSED);
}

TEST(connections_that_are_reset)
{
    nothing_leaks(RESET_BY_PEER);
}

TEST(connections_that_end_in_mid_reply)
{
    nothing_leaks(MID_REPLY);
}

TEST(connections_that_end_in_mid_handshake)
{
    nothing_leaks(MID_HANDSHAKE);
}

TEST(connections_that_end_in_half_a_frame)
{
    nothing_leaks(HALF_A_FRAME);
}

TEST(connections_that_the_idle_timer_ends)
{
    nothing_leaks(IDLE_TIMER);
}
