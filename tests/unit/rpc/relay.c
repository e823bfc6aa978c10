/* SPDX-License-Identifier: Apache-2.0 */
#include "relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void take(relay *it)
{
    int client = accept(it->listener, NULL, NULL);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(it->server_port);
    if (client < 0 || server < 0 || it->count == RELAY_PAIRS_MAX ||
        connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
        close(client);
        close(server);
        return;
    }
    it->pairs[it->count][0] = client;
    it->pairs[it->count++][1] = server;
}

static void end_pair(int *pair)
{
    close(pair[0]);
    close(pair[1]);
    pair[0] = pair[1] = -1;
}

static void carry(relay *it, int *pair, int from)
{
    char bytes[65536];
    ssize_t size = recv(pair[from], bytes, sizeof bytes, 0);
    if (size <= 0) {
        end_pair(pair);
        return;
    }
    for (ssize_t done = 0; done < size && !atomic_load(&it->swallow);) {
        ssize_t sent = send(pair[!from], bytes + done, (size_t)(size - done), MSG_NOSIGNAL);
        if (sent <= 0) {
            end_pair(pair);
            return;
        }
        done += sent;
    }
    flag_raise(&it->carried);
}

static void *run(void *arg)
{
    relay *it = arg;
    while (!atomic_load(&it->stop)) {
        struct pollfd polls[2 + 2 * RELAY_PAIRS_MAX] = {
            {.fd = it->wake[0], .events = POLLIN}, {.fd = it->listener, .events = POLLIN}};
        unsigned count = it->count;
        for (unsigned i = 0; i < 2 * count; i++)
            polls[2 + i] = (struct pollfd){.fd = it->pairs[i / 2][i % 2], .events = POLLIN};
        if (poll(polls, 2 + 2 * count, -1) < 0)
            break;
        for (unsigned i = 0; i < 2 * count; i++)
            if (polls[2 + i].revents && it->pairs[i / 2][i % 2] >= 0)
                carry(it, it->pairs[i / 2], (int)(i % 2));
        if (polls[1].revents)
            take(it);
    }
    for (unsigned i = 0; i < it->count; i++)
        if (it->pairs[i][0] >= 0)
            end_pair(it->pairs[i]);
    return NULL;
}

void relay_start(relay *it, const char *url)
{
    *it = (relay){.server_port = atoi(strrchr(url, ':') + 1)};
    flag_init(&it->carried);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    it->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(it->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(it->listener, 16), 0);
    assert_int_equal(getsockname(it->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(it->url, sizeof it->url, "tls+tcp://127.0.0.1:%d", ntohs(address.sin_port));
    assert_int_equal(pipe(it->wake), 0);
    assert_int_equal(pthread_create(&it->thread, NULL, run, it), 0);
}

void relay_swallow(relay *it)
{
    atomic_store(&it->swallow, true);
}

void relay_stop(relay *it)
{
    atomic_store(&it->stop, true);
    assert_int_equal(write(it->wake[1], "x", 1), 1);
    pthread_join(it->thread, NULL);
    close(it->listener);
    close(it->wake[0]);
    close(it->wake[1]);
}
