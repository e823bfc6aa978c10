/* SPDX-License-Identifier: Apache-2.0 */
/* Anybody on this machine can connect: a request is bounded in size and time, one at a time is
 * served, and only the state that we drew makes it count. */
#include "loopback.h"

#include "cleanup.h"
#include "http.h"
#include "pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <sys/socket.h>

#define REQUEST_BYTES_MAX 16384u
#define REQUEST_MS        2000
#define PATH              "/callback"

dacm_code loopback_open(loopback *back, unsigned port, dacm_error *reterr)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    RPC_AUTOCLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return pki_fail(reterr, DACM_UNAVAILABLE,
            "cannot listen on 127.0.0.1 port %u for the browser to come back: %s", port,
            strerror(errno));
    snprintf(back->url, sizeof back->url, "http://127.0.0.1:%u" PATH, ntohs(address.sin_port));
    back->fd = rpc_take_fd(&fd);
    return DACM_OK;
}

void loopback_close(loopback *back)
{
    if (back->fd >= 0)
        close(back->fd);
    back->fd = -1;
}

void loopback_answer_done(loopback_answer *answer)
{
    if (answer->code)
        sodium_memzero(answer->code, strlen(answer->code));
    free(answer->code);
    free(answer->iss);
    free(answer->error);
    free(answer->error_description);
    *answer = (loopback_answer){.code = NULL};
}

/* ---- one request ------------------------------------------------------------------------------
 */

/* Up to the end of the headers. False: it is too long, or too slow. */
static bool read_request(int fd, char request[REQUEST_BYTES_MAX + 1])
{
    const int64_t end = rpc_clock_monotonic_us(rpc_clock_system()) + REQUEST_MS * 1000;
    size_t size = 0;
    while (size < REQUEST_BYTES_MAX) {
        const int64_t left = end - rpc_clock_monotonic_us(rpc_clock_system());
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&ready, 1, (int)(left / 1000) + 1) <= 0)
            return false;
        const ssize_t got = recv(fd, request + size, REQUEST_BYTES_MAX - size, 0);
        if (got <= 0)
            return false;
        size += (size_t)got;
        request[size] = '\0';
        if (strlen(request) != size)
            return false; /* a NUL */
        if (strstr(request, "\r\n\r\n") || strstr(request, "\n\n"))
            return true;
    }
    return false;
}

static void reply(int fd, const char *status, const char *text)
{
    char page[1024];
    const int size = snprintf(page, sizeof page,
        "HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %zu\r\n"
        "Content-Security-Policy: default-src 'none'\r\nCache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\nConnection: close\r\n\r\n%s",
        status, strlen(text), text);
    if (size > 0)
        (void)!send(fd, page, (size_t)size, MSG_NOSIGNAL); /* the browser may be gone already */
}

/* The query of "GET /callback?query HTTP/1.1", in place; NULL: another request. */
static char *query_of(char *request)
{
    static const char start[] = "GET " PATH "?";
    if (strncmp(request, start, sizeof start - 1) != 0)
        return NULL;
    char *query = request + sizeof start - 1;
    char *end = query + strcspn(query, " \r\n#");
    if (strncmp(end, " HTTP/1.", 8) != 0)
        return NULL;
    *end = '\0';
    return query;
}

static bool is_state(const char *query, const char *state)
{
    RPC_AUTOFREE char *got = http_query_value(query, "state");
    return got && strlen(got) == strlen(state) && sodium_memcmp(got, state, strlen(state)) == 0;
}

/* True: it was the one. */
static bool serve(int fd, const char *state, loopback_answer *ret)
{
    RPC_AUTOFREE char *request = malloc(REQUEST_BYTES_MAX + 1);
    if (!request || !read_request(fd, request))
        return false;
    char *query = query_of(request);
    if (!query || !is_state(query, state)) {
        reply(fd, "404 Not Found", "<!DOCTYPE html><title>dacm</title><p>There is nothing here.");
        return false;
    }
    *ret = (loopback_answer){.code = http_query_value(query, "code"),
        .iss = http_query_value(query, "iss"),
        .error = http_query_value(query, "error"),
        .error_description = http_query_value(query, "error_description")};
    reply(fd, "200 OK",
        "<!DOCTYPE html><html lang=en><title>dacm</title><p>The login goes on in your terminal. "
        "You can close this page.");
    sodium_memzero(request, REQUEST_BYTES_MAX);
    return true;
}

dacm_code loopback_wait(const loopback *back, const char *state, int timeout_s,
    loopback_answer *ret, dacm_error *reterr)
{
    const int64_t end = rpc_clock_monotonic_us(rpc_clock_system()) + timeout_s * (int64_t)1000000;
    for (;;) {
        const int64_t left = end - rpc_clock_monotonic_us(rpc_clock_system());
        struct pollfd ready = {.fd = back->fd, .events = POLLIN};
        if (left <= 0)
            return pki_fail(reterr, DACM_DEADLINE_EXCEEDED,
                "nobody logged in within %d s; --timeout gives more", timeout_s);
        if (poll(&ready, 1, (int)(left / 1000) + 1) <= 0)
            continue;
        RPC_AUTOCLOSE int fd = accept4(back->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && serve(fd, state, ret))
            return DACM_OK;
    }
}
