/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile requests over plain HTTP: bodies that lie, framing, floods, and peers that take their
 * time. What is awaited is always that the server ends a connection, never a time. */
#include "https_client.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_MAX 1000

static host_metrics *metrics;

static void echo(void *ctx, host_request *request)
{
    rpc_bytes body = host_request_body(request);
    host_reply reply = {.status = 200, .content_type = "text/plain"};
    (void)ctx;
    int size = asprintf(&reply.body, "%s body=[%.*s]\n", host_request_path(request), (int)body.size,
        body.data ? (const char *)body.data : "");
    reply.size = size > 0 ? (size_t)size : 0;
    host_request_answer(request, &reply);
}

static void answer_large(void *ctx, host_request *request)
{
    const size_t size = (size_t)32 << 20;
    host_reply reply = {.status = 200, .body = calloc(1, size), .size = size};
    (void)ctx;
    host_request_answer(request, &reply);
}

static host_https *start_with(host_https_limits limits)
{
    static const host_route routes[] = {
        {.path = "/get", .handle = echo, .in_place = true},
        {.path = "/post",
            .handle = echo,
            .methods = HOST_POST,
            .body_max = BODY_MAX,
            .in_place = true},
        {.path = "/both", .handle = echo, .methods = HOST_GET | HOST_POST},
        {.path = "/large", .handle = answer_large, .in_place = true},
    };
    metrics = host_metrics_new();
    const host_https_options options = {.address = "127.0.0.1",
        .routes = routes,
        .route_count = sizeof routes / sizeof *routes,
        .workers = 1,
        .limits = limits,
        .metrics = metrics};
    return https_start(&options);
}

static host_https *start(void)
{
    return start_with((host_https_limits){.idle_s = 1, .request_s = 2});
}

static void stop(host_https *https)
{
    host_https_stop(https);
    host_metrics_free(metrics);
}

/* How often a limit was counted. */
static unsigned long reached(const char *limit)
{
    char name[100];
    size_t size = 0;
    snprintf(name, sizeof name, "dacm_http_limit_reached_total{limit=\"%s\"} ", limit);
    char *text = host_metrics_text(metrics, &size);
    const char *at = text ? strstr(text, name) : NULL;
    assert_non_null(at);
    unsigned long count = strtoul(at + strlen(name), NULL, 10);
    free(text);
    return count;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static unsigned count(const char *text, const char *part)
{
    unsigned found = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        found++;
    return found;
}

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"
#define POST "POST /post HTTP/1.1\r\nHost: x\r\n" FORM
#define NEXT "GET /get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

/* ---- bodies ---------------------------------------------------------------------------------- */

TEST(https_chunked_body_is_taken_up_to_the_limit)
{
    host_https *https = start();
    const char *text = https_raw(https,
        POST "Transfer-Encoding: chunked\r\n\r\n"
             "3\r\na=1\r\n3;x=y\r\n&b=\r\n1\r\n2\r\n0\r\n\r\n" NEXT);
    https_has(text, "/post body=[a=1&b=2]");
    https_has(text, "/get body=[]");
    stop(https);
}

TEST(https_body_of_the_largest_size_is_taken_and_one_byte_more_is_413)
{
    host_https *https = start();
    char request[3000];
    for (int extra = 0; extra < 2; extra++) {
        int size = snprintf(request, sizeof request, POST "Content-Length: %d\r\n\r\n%0*d%s",
            BODY_MAX + extra, BODY_MAX + extra, 7, NEXT);
        assert_true(size > 0 && (size_t)size < sizeof request);
        const char *text = https_raw(https, request);
        https_has(text, extra ? "HTTP/1.1 413 " : "HTTP/1.1 200 ");
        https_has(text, "/get body=[]"); /* the body was read, not taken for a request */
    }
    assert_int_equal(reached("body"), 1);
    stop(https);
}

TEST(https_chunked_body_beyond_the_limit_is_413)
{
    host_https *https = start();
    char request[3000];
    snprintf(request, sizeof request,
        POST "Transfer-Encoding: chunked\r\n\r\n3e0\r\n%0992d\r\n9\r\n123456789\r\n0\r\n\r\n" NEXT,
        7);
    const char *text = https_raw(https, request);
    https_has(text, "HTTP/1.1 413 ");
    https_has(text, "/get body=[]");
    assert_int_equal(reached("body"), 1);
    stop(https);
}

TEST(https_chunked_body_without_an_end_is_cut_off)
{
    host_https *https = start();
    int fd = https_connect(https);
    char chunk[4200];
    snprintf(chunk, sizeof chunk, "1000\r\n%04096d\r\n", 7);
    send_text(fd, POST "Transfer-Encoding: chunked\r\n\r\n");
    size_t sent = 0;
    while (sent < (size_t)16 << 20 && send(fd, chunk, strlen(chunk), MSG_NOSIGNAL) > 0)
        sent += strlen(chunk);
    assert_true(sent < (size_t)16 << 20);
    close(fd);
    https_has(https_curl(https, "", "/get"), "200 ");
    stop(https);
}

TEST(https_malformed_chunks_are_400_and_end_the_connection)
{
    static const char *const bodies[] = {"x\r\n", "-1\r\n", "3\r\na=1xx\r\n", "\r\n",
        "0x3\r\na=1\r\n", "3 \r\na=1\r\n", "ffffffffffffffffff\r\n", ";\r\n"};
    host_https *https = start();
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        char request[400];
        snprintf(request, sizeof request, POST "Transfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" NEXT,
            bodies[i]);
        const char *text = https_raw(https, request);
        https_has(text, "HTTP/1.1 4");
        https_lacks(text, "body=");
    }
    stop(https);
}

TEST(https_body_shorter_than_announced_is_never_answered)
{
    host_https *https = start();
    int fd = https_connect(https);
    send_text(fd, POST "Content-Length: 10\r\n\r\na=1");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    https_lacks(https_rest(fd), "body=");
    fd = https_connect(https);
    send_text(fd, POST "Content-Length: 10\r\n\r\na=1");
    https_lacks(https_rest(fd), "body="); /* until the idle limit */
    stop(https);
}

TEST(https_body_longer_than_announced_is_the_next_request)
{
    host_https *https = start();
    const char *text = https_raw(https, POST "Content-Length: 3\r\n\r\na=1junk\r\n\r\n" NEXT);
    https_has(text, "/post body=[a=1]");
    https_lacks(text, "/get");
    stop(https);
}

TEST(https_expect_100_continue_is_answered_before_the_body)
{
    host_https *https = start();
    int fd = https_connect(https);
    char text[200] = "";
    send_text(fd, POST "Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
    assert_true(recv(fd, text, sizeof text - 1, 0) > 0);
    https_has(text, "HTTP/1.1 100 ");
    send_text(fd, "a=1");
    https_has(https_rest(fd), "/post body=[a=1]");
    fd = https_connect(https);
    send_text(fd, POST "Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n");
    const char *refused = https_rest(fd);
    https_has(refused, "HTTP/1.1 413 ");
    https_lacks(refused, "HTTP/1.1 100 ");
    stop(https);
}

/* ---- targets, versions, methods -------------------------------------------------------------- */

TEST(https_absolute_target_is_its_path)
{
    host_https *https = start();
    https_has(https_raw(https, "GET http://x/get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "/get body");
    https_has(
        https_raw(https, "GET HTTPS://x:1/get?a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "/get body");
    https_has(https_raw(https, "GET http://x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "HTTP/1.1 404 ");
    https_has(https_raw(https, "GET x/get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "HTTP/1.1 404 ");
    stop(https);
}

TEST(https_options_of_the_server_is_no_route)
{
    host_https *https = start();
    https_has(https_raw(https, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "HTTP/1.1 404 ");
    stop(https);
}

TEST(https_allow_names_the_methods_of_the_route)
{
    host_https *https = start();
    https_has(https_curl(https, "-X PUT", "/get"), "Allow: GET, HEAD\r\n");
    https_has(https_curl(https, "", "/post"), "Allow: POST\r\n");
    https_has(https_curl(https, "-X DELETE", "/both"), "Allow: GET, HEAD, POST\r\n");
    https_has(https_curl(https, "-X PUT -d x=1", "/both"), "HTTP/1.1 405 ");
    stop(https);
}

TEST(https_1_0_is_answered_and_closed)
{
    host_https *https = start();
    https_has(https_raw(https, "GET /get HTTP/1.0\r\n\r\n"), "/get body");
    https_has(https_raw(https, "POST /post HTTP/1.0\r\n" FORM "Transfer-Encoding: chunked\r\n\r\n"
                               "3\r\na=1\r\n0\r\n\r\n"),
        " 400 ");
    stop(https);
}

TEST(https_host_given_twice_is_400)
{
    host_https *https = start();
    https_has(https_raw(https, "GET /get HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"), "HTTP/1.1 400 ");
    stop(https);
}

TEST(https_unknown_transfer_coding_is_501)
{
    host_https *https = start();
    https_has(https_raw(https, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"), "HTTP/1.1 501 ");
    stop(https);
}

TEST(https_pipelined_requests_are_answered_in_order)
{
    host_https *https = start();
    const char *text = https_raw(https,
        POST "Content-Length: 3\r\n\r\na=1"
             "GET /both HTTP/1.1\r\nHost: x\r\n\r\n" POST "Content-Length: 3\r\n\r\na=2" NEXT);
    const char *first = strstr(text, "[a=1]"), *second = strstr(text, "/both body"),
               *third = strstr(text, "[a=2]"), *last = strstr(text, "/get body");
    assert_true(first && second && third && last);
    assert_true(first < second && second < third && third < last);
    stop(https);
}

TEST(https_nul_in_a_request_is_refused)
{
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof text - 1                                                                      \
    }
    static const struct {
        const char *text;
        size_t size;
    } tries[] = {
        BYTES("GET /get\0x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        BYTES("GET /get HTTP/1.1\r\nHost: x\r\nX: a\0b\r\nConnection: close\r\n\r\n"),
        BYTES("GET /get HTTP/1.1\r\nHost: x\r\nX: \0b\r\nConnection: close\r\n\r\n"),
        BYTES("GET /get HTTP/1.1\r\nHost: x\0y\r\nConnection: close\r\n\r\n"),
        BYTES("GET /get HTTP/1.1\r\nHost: x\r\nConnection: close\0\0y\r\n\r\n"),
        BYTES("GET /get HTTP/1.1\0\r\nHost: x\r\nConnection: close\r\n\r\n"),
        BYTES("GE\0T /get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        BYTES("GET /get HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX\0: a\r\n\r\n"),
    };
#undef BYTES
    host_https *https = start();
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        int fd = https_connect(https);
        assert_int_equal(send(fd, tries[i].text, tries[i].size, MSG_NOSIGNAL), tries[i].size);
        https_lacks(https_rest(fd), "body=");
    }
    stop(https);
}

/* A CR alone ends a line for others, and what they take for Content-Length is then a value here. */
TEST(https_control_characters_in_headers_and_target_are_refused)
{
    static const char *const tries[] = {
        "GET /get HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 5\r\nConnection: close\r\n\r\n",
        "GET /get HTTP/1.1\r\nHost: x\r\nX: a\x01\r\nConnection: close\r\n\r\n",
        "GET /get HTTP/1.1\r\nHost: x\r\nX: \x7f\r\nConnection: close\r\n\r\n",
        "GET /get?a\rb HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    };
    host_https *https = start();
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        https_has(https_raw(https, tries[i]), "HTTP/1.1 400 ");
    https_has(
        https_raw(https, "GET /get HTTP/1.1\r\nHost: x\r\nX: a\tb\r\nConnection: close\r\n\r\n"),
        "HTTP/1.1 200 ");
    stop(https);
}

TEST(https_header_over_two_lines_is_refused)
{
    host_https *https = start();
    const char *text = https_raw(
        https, "GET /get HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nConnection: close\r\n\r\n");
    https_has(text, "HTTP/1.1 400 ");
    stop(https);
}

/* ---- floods ---------------------------------------------------------------------------------- */

TEST(https_too_many_headers_are_431)
{
    host_https *https = start();
    for (unsigned headers = 64; headers <= 65; headers++) {
        char request[2000] = "GET /get HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        size_t size = strlen(request);
        for (unsigned i = 2; i < headers; i++)
            size += (size_t)snprintf(request + size, sizeof request - size, "X: y\r\n");
        snprintf(request + size, sizeof request - size, "\r\n");
        https_has(https_raw(https, request), headers == 64 ? "HTTP/1.1 200 " : "HTTP/1.1 431 ");
    }
    assert_int_equal(reached("headers"), 1);
    stop(https);
}

TEST(https_too_large_headers_are_431)
{
    host_https *https = start();
    for (unsigned size = 15000; size <= 17000; size += 2000) {
        char request[18000];
        snprintf(request, sizeof request,
            "GET /get HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: %0*u\r\n\r\n", size, 7);
        https_has(https_raw(https, request), size == 15000 ? "HTTP/1.1 200 " : "HTTP/1.1 431 ");
    }
    assert_int_equal(reached("headers"), 1);
    stop(https);
}

/* libmicrohttpd refuses them by itself, at one moment or another, and does not always tell us:
 * nothing stays behind (the leak check of the sanitizers says so). */
TEST(https_requests_beyond_the_memory_of_a_connection_leave_nothing_behind)
{
    host_https *https = start_with((host_https_limits){
        .idle_s = 1, .request_s = 2, .connection_bytes = 8192, .header_bytes = 4096});
    for (int size = 3800; size <= 9000; size += 100) {
        static char request[20000];
        snprintf(request, sizeof request,
            "GET /get?%0*u HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", size, 7);
        https_raw(https, request);
        snprintf(request, sizeof request,
            "GET /get HTTP/1.1\r\nHost: x\r\nX: %0*u\r\nConnection: close\r\n\r\n", size, 7);
        https_raw(https, request);
    }
    stop(https);
}

static int connect_from(const host_https *https, const char *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in from = {.sin_family = AF_INET};
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)https_port(https)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(inet_pton(AF_INET, address, &from.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static bool is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

TEST(https_idle_connections_of_one_address_keep_no_other_out)
{
    host_https *https = start_with(
        (host_https_limits){.connections_per_address = 8, .idle_s = 60, .request_s = 60});
    int fds[100];
    for (unsigned i = 0; i < 100; i++)
        fds[i] = connect_from(https, "127.0.0.2");
    for (unsigned i = 8; i < 100; i++)
        assert_true(is_closed(fds[i]));
    https_has(https_curl(https, "", "/get"), "200 ");
    assert_int_equal(reached("connections_per_address"), 92);
    for (unsigned i = 0; i < 100; i++)
        close(fds[i]);
    stop(https);
}

TEST(https_connections_in_all_are_limited)
{
    host_https *https = start_with(
        (host_https_limits){.connections = 4, .idle_s = 60, .request_s = 60});
    int fds[6];
    for (unsigned i = 0; i < 6; i++) {
        char address[20];
        snprintf(address, sizeof address, "127.0.1.%u", i + 1);
        fds[i] = connect_from(https, address);
    }
    assert_true(is_closed(fds[4]) && is_closed(fds[5]));
    assert_int_equal(reached("connections"), 2);
    for (unsigned i = 0; i < 6; i++)
        close(fds[i]);
    stop(https);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* One byte of text again and again, never silent for long, until the server ends it. */
static bool drips_until_closed(int fd, const char *text)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (unsigned i = 0; i < 600; i++) {
        if (send(fd, &text[i % strlen(text)], 1, MSG_NOSIGNAL) != 1)
            return true;
        if (poll(&wait, 1, 100) == 1 && is_closed(fd))
            return true;
    }
    return false;
}

TEST(https_body_of_a_byte_now_and_then_ends_by_the_limit_of_the_request)
{
    host_https *https = start_with((host_https_limits){.idle_s = 60, .request_s = 1});
    int fd = https_connect(https);
    send_text(fd, POST "Content-Length: 900\r\n\r\n");
    assert_true(drips_until_closed(fd, "a"));
    close(fd);
    assert_int_equal(reached("request_time"), 1);
    https_has(https_curl(https, "", "/get"), "200 ");
    stop(https);
}

TEST(https_headers_of_a_byte_now_and_then_end_by_the_limit_of_the_request)
{
    host_https *https = start_with((host_https_limits){.idle_s = 60, .request_s = 1});
    int fd = https_connect(https);
    send_text(fd, "GET /get HTTP/1.1\r\nHost: x\r\n");
    assert_true(drips_until_closed(fd, "X: y\r\n"));
    close(fd);
    assert_int_equal(reached("request_time"), 1);
    stop(https);
}

TEST(https_answer_that_nobody_takes_ends_by_the_limit_of_the_request)
{
    host_https *https = start_with((host_https_limits){.idle_s = 60, .request_s = 1});
    int fd = https_connect(https);
    char bytes[4096];
    send_text(fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    /* The end itself waits behind what we do not read. */
    for (unsigned i = 0; i < 10000 && reached("request_time") == 0; i++)
        https_has(https_curl(https, "", "/get"), "200 ");
    size_t size = 0;
    for (ssize_t got; (got = recv(fd, bytes, sizeof bytes, 0)) > 0;)
        size += (size_t)got;
    assert_true(size < (size_t)32 << 20);
    close(fd);
    assert_int_equal(reached("request_time"), 1);
    stop(https);
}

TEST(https_idle_connection_is_closed)
{
    host_https *https = start();
    int fd = https_connect(https);
    send_text(fd, "GET /get HTTP/1.1\r\nHost: x\r\n\r\n");
    const char *text = https_rest(fd);
    assert_int_equal(count(text, "/get body"), 1);
    stop(https);
}

/* ---- what is told ---------------------------------------------------------------------------- */

TEST(https_requests_are_counted_by_route_and_code)
{
    host_https *https = start();
    https_curl(https, "", "/get");
    https_curl(https, "", "/get?secret=1");
    https_curl(https, "", "/nowhere/secret");
    https_curl(https, "-X PUT", "/get");
    host_https_stop(https);
    size_t size = 0;
    char *text = host_metrics_text(metrics, &size);
    https_has(text, "dacm_http_requests_total{route=\"/get\",code=\"200\"} 2\n");
    https_has(text, "dacm_http_requests_total{route=\"/get\",code=\"405\"} 1\n");
    https_has(text, "dacm_http_requests_total{route=\"none\",code=\"404\"} 1\n");
    https_has(text, "dacm_http_request_seconds_count{route=\"/get\"} 3\n");
    https_lacks(text, "secret");
    free(text);
    host_metrics_free(metrics);
}

TEST(https_access_line_has_no_query_header_or_address)
{
    static const host_route route = {.path = "/get", .handle = echo, .in_place = true};
    char path[300];
    host_log *log = NULL;
    rpc_status status;
    snprintf(path, sizeof path, "%s/log", test_tmpdir());
    assert_int_equal(
        host_log_open(path, HOST_INFO, "test", rpc_clock_system(), &log, &status), RPC_OK);
    const host_https_options options = {
        .address = "127.0.0.1", .routes = &route, .route_count = 1, .log = log};
    host_https *https = https_start(&options);
    const char *answer = https_curl(https, "-b c=secret3 -H 'X: secret2'", "/get?x=secret1");
    char id[HOST_REQUEST_ID_CHARS + 1] = "";
    memcpy(id, strstr(answer, "X-Request-Id: ") + 14, HOST_REQUEST_ID_CHARS);
    https_curl(https, "", "/secret4");
    host_https_stop(https);
    host_log_close(log);
    char text[4000] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    https_has(text, id);
    https_has(text, "\"method\": \"GET\", \"route\": \"/get\", \"status\": 200,");
    https_has(text, "\"route\": \"none\", \"status\": 404,");
    https_has(text, "\"duration_us\": ");
    https_lacks(text, "secret");
    https_lacks(text, "127.0.0.1");
}
