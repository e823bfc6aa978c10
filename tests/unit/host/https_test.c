/* SPDX-License-Identifier: Apache-2.0 */
/* Spoken to with curl, and with raw sockets where curl is too polite. */
#include "https_client.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned answers; /* by the server's thread; read when it has stopped */

static void get_hello(void *ctx, host_request *request)
{
    answers++;
    host_reply reply = {.status = 200,
        .content_type = "text/plain",
        .cache_control = "max-age=60",
        .body = strdup(ctx),
        .size = strlen(ctx)};
    host_request_answer(request, &reply);
}

static void get_nothing(void *ctx, host_request *request)
{
    host_reply reply = {0};
    (void)ctx;
    host_request_answer(request, &reply);
}

static void get_empty(void *ctx, host_request *request)
{
    host_reply reply = {.status = 503};
    (void)ctx;
    host_request_answer(request, &reply);
}

static char hello[] = "hello";
static const host_route routes[] = {
    {.path = "/hello", .handle = get_hello, .ctx = hello, .in_place = true},
    {.path = "/nothing", .handle = get_nothing, .in_place = true},
    {.path = "/empty", .handle = get_empty, .in_place = true},
};

static host_https_options options_for(const char *certificate, const char *key)
{
    return (host_https_options){.address = "127.0.0.1",
        .certificate_file = certificate,
        .key_file = key,
        .routes = routes,
        .route_count = 3,
        .limits = {.connections_per_address = 16}};
}

static host_https *start(const host_https_options *options)
{
    answers = 0;
    return https_start(options);
}

static host_https *start_plain(void)
{
    host_https_options options = options_for(NULL, "");
    return start(&options);
}

static void refused(const host_https_options *options, rpc_code code, const char *part)
{
    host_https *https = NULL;
    rpc_status status;
    assert_int_equal(host_https_start(options, &https, &status), code);
    assert_null(https);
    if (!strstr(status.message, part))
        fail_msg("'%s' is not in '%s'", part, status.message);
}

/* ---- plain HTTP on loopback ------------------------------------------------------------------ */

TEST(https_route_answers_with_its_headers)
{
    host_https *https = start_plain();
    assert_int_equal(strncmp(host_https_url(https), "http://127.0.0.1:", 17), 0);
    assert_int_not_equal(https_port(https), 0);
    const char *text = https_curl(https, "", "/hello");
    https_has(text, "HTTP/1.1 200 ");
    https_has(text, "Content-Type: text/plain\r\n");
    https_has(text, "Cache-Control: max-age=60\r\n");
    https_has(text, "X-Content-Type-Options: nosniff\r\n");
    https_has(text, "\r\n\r\nhello");
    https_has(https_curl(https, "", "/hello?query=1"), "200 ");
    host_https_stop(https);
    assert_int_equal(answers, 2);
}

TEST(https_head_has_the_length_and_no_body)
{
    host_https *https = start_plain();
    const char *text = https_curl(https, "-I", "/hello");
    https_has(text, "HTTP/1.1 200 ");
    https_has(text, "Content-Length: 5\r\n");
    https_lacks(text, "hello");
    host_https_stop(https);
}

TEST(https_connection_serves_many_requests)
{
    host_https *https = start_plain();
    https_has(https_raw(https, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
                               "GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
                               "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        "hello");
    host_https_stop(https);
    assert_int_equal(answers, 3);
}

TEST(https_unknown_path_is_404_as_json)
{
    host_https *https = start_plain();
    const char *paths[] = {"/", "/hello/", "/hell", "/%68ello", "//hello", "/hello%00"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        const char *text = https_curl(https, "--path-as-is", paths[i]);
        https_has(text, "HTTP/1.1 404 ");
        https_has(text, "Content-Type: application/json\r\n");
        https_has(text, "Cache-Control: no-store\r\n");
        https_has(text, "X-Content-Type-Options: nosniff\r\n");
        https_has(text, "{\"error\": \"nothing is at this path\"}");
    }
    host_https_stop(https);
    assert_int_equal(answers, 0);
}

TEST(https_route_without_an_answer_is_500_and_an_empty_one_is_sent)
{
    host_https *https = start_plain();
    https_has(https_curl(https, "", "/nothing"), "HTTP/1.1 500 ");
    const char *text = https_curl(https, "", "/empty");
    https_has(text, "HTTP/1.1 503 ");
    https_has(text, "Content-Length: 0\r\n");
    host_https_stop(https);
}

TEST(https_other_methods_are_405_with_those_allowed)
{
    host_https *https = start_plain();
    const char *methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "BREW"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char arguments[40];
        snprintf(arguments, sizeof arguments, "-X %s", methods[i]);
        const char *text = https_curl(https, arguments, "/hello");
        https_has(text, "HTTP/1.1 405 ");
        https_has(text, "Allow: GET, HEAD\r\n");
        https_has(text, "X-Content-Type-Options: nosniff\r\n");
    }
    https_has(https_curl(https, "-d body", "/hello"), "HTTP/1.1 405 ");
    host_https_stop(https);
    assert_int_equal(answers, 0);
}

/* Each is followed by bytes that would be a second request to a server that read the first
 * differently: it must not be answered. */
static void refused_and_closed(const char *headers, const char *status)
{
    host_https *https = start_plain();
    char request[2000];
    snprintf(request, sizeof request,
        "GET /empty HTTP/1.1\r\nHost: x\r\n%s\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n", headers);
    const char *text = https_raw(https, request);
    https_has(text, status);
    https_lacks(text, "hello");
    host_https_stop(https);
    assert_int_equal(answers, 0);
}

TEST(https_duplicate_content_length_is_refused)
{
    refused_and_closed("Content-Length: 0\r\nContent-Length: 0\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Content-Length: 0\r\ncontent-length: 37\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Content-Length: 37\r\nX: y\r\nContent-Length: 0\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Content-Length: 0, 0\r\n", "HTTP/1.1 400 ");
}

TEST(https_content_length_with_transfer_encoding_is_refused)
{
    refused_and_closed("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "HTTP/1.1 400 ");
    refused_and_closed(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "HTTP/1.1 400 ");
}

TEST(https_content_length_that_is_no_number_is_refused)
{
    refused_and_closed("Content-Length: -1\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Content-Length: +0\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Content-Length: 0x0\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Content-Length: 99999999999999999999999\r\n", "HTTP/1.1 413 ");
}

TEST(https_header_with_a_name_that_is_none_is_refused)
{
    refused_and_closed("Content-Length : 37\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Content-Length\t: 37\r\n", "HTTP/1.1 400 ");
    refused_and_closed("Transfer-Encoding : chunked\r\n", "HTTP/1.1 400 ");
}

TEST(https_body_is_refused)
{
    refused_and_closed("Content-Length: 37\r\n", "HTTP/1.1 413 ");
    refused_and_closed("Transfer-Encoding: chunked\r\n", "HTTP/1.1 413 ");
    refused_and_closed("Transfer-Encoding: xchunked\r\n", "HTTP/1.1 413 ");
    refused_and_closed("Expect: 100-continue\r\nContent-Length: 9\r\n", "HTTP/1.1 413 ");
}

TEST(https_request_without_host_is_refused)
{
    host_https *https = start_plain();
    https_has(https_raw(https, "GET /hello HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 ");
    host_https_stop(https);
    assert_int_equal(answers, 0);
}

TEST(https_headers_larger_than_the_memory_are_refused)
{
    host_https *https = start_plain();
    char *request = malloc(41000);
    int size = snprintf(request, 200, "GET /hello HTTP/1.1\r\nHost: x\r\nX: ");
    memset(request + size, 'a', 40000);
    memcpy(request + size + 40000, "\r\n\r\n", 5);
    int fd = https_connect(https);
    /* The server may close while this is under way. */
    (void)!send(fd, request, strlen(request), MSG_NOSIGNAL);
    free(request);
    char text[100] = "";
    while (recv(fd, text, sizeof text, 0) > 0)
        ;
    close(fd);
    https_has(https_curl(https, "", "/hello"), "200 ");
    host_https_stop(https);
    assert_int_equal(answers, 1);
}

TEST(https_seventeenth_connection_of_an_address_is_closed)
{
    host_https *https = start_plain();
    int fds[17];
    char text[2000];
    const char *request = "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n";
    for (int i = 0; i < 16; i++) {
        fds[i] = https_connect(https);
        assert_int_equal(send(fds[i], request, strlen(request), MSG_NOSIGNAL), strlen(request));
        assert_true(recv(fds[i], text, sizeof text, 0) > 0);
    }
    fds[16] = https_connect(https);
    assert_true(recv(fds[16], text, sizeof text, 0) <= 0);
    /* A place that was given back can be taken. */
    for (int i = 0; i < 17; i++)
        close(fds[i]);
    bool answered = false;
    for (int i = 0; i < 1000 && !answered; i++)
        answered = strstr(https_curl(https, "", "/hello"), "200 ") != NULL;
    assert_true(answered);
    host_https_stop(https);
}

TEST(https_stops_with_connections_open)
{
    host_https *https = start_plain();
    int fd = https_connect(https);
    assert_int_equal(send(fd, "GET /hel", 8, MSG_NOSIGNAL), 8);
    host_https_stop(https);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    host_https_stop(NULL);
}

/* ---- where it listens ------------------------------------------------------------------------ */

TEST(https_address_in_use_is_unavailable_and_named)
{
    host_https *https = start_plain();
    host_https_options options = options_for(NULL, NULL);
    options.port = https_port(https);
    char part[100];
    snprintf(part, sizeof part, "'127.0.0.1' port %u: it is in use", options.port);
    refused(&options, RPC_UNAVAILABLE, part);
    host_https_stop(https);
    https = start(&options); /* and free again when it stopped */
    assert_int_equal(https_port(https), options.port);
    host_https_stop(https);
}

TEST(https_plain_http_beyond_loopback_is_refused)
{
    host_https_options options = options_for(NULL, NULL);
    const char *addresses[] = {"0.0.0.0", "::", "192.0.2.1", "128.0.0.1", "::ffff:127.0.0.1"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        options.address = addresses[i];
        refused(&options, RPC_INVALID_ARGUMENT, "plain HTTP on");
    }
    options.address = "127.9.9.9";
    host_https_stop(start(&options));
}

TEST(https_address_or_port_that_is_none_is_refused)
{
    host_https_options options = options_for(NULL, NULL);
    const char *addresses[] = {NULL, "", "localhost", "127.0.0.1:80", "1.2.3.4.5", "[::1]"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        options.address = addresses[i];
        refused(&options, RPC_INVALID_ARGUMENT, "is no IP address");
    }
    options.address = "127.0.0.1";
    options.port = 65536;
    refused(&options, RPC_INVALID_ARGUMENT, "port 65536");
}

TEST(https_listens_on_ipv6)
{
    host_https_options options = options_for(NULL, NULL);
    options.address = "::1";
    host_https *https = NULL;
    rpc_status status;
    rpc_code code = host_https_start(&options, &https, &status);
    if (code == RPC_FAILED_PRECONDITION || code == RPC_RESOURCE_EXHAUSTED)
        skip(); /* a machine without IPv6 */
    assert_int_equal(code, RPC_OK);
    assert_int_equal(strncmp(host_https_url(https), "http://[::1]:", 13), 0);
    https_has(https_curl(https, "-g", "/hello"), "200 ");
    host_https_stop(https);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static host_https *start_tls(const https_files *with)
{
    host_https_options options = options_for(with->certificate, with->key);
    return start(&options);
}

static const char *curl_tls(
    const host_https *https, const https_files *trust, const char *arguments)
{
    char all[500];
    snprintf(all, sizeof all, "--cacert '%s' %s", trust->ca, arguments);
    return https_curl(https, all, "/hello");
}

TEST(https_serves_tls_1_3_and_1_2)
{
    https_files with = https_new_files();
    https_issue(&with, "one");
    host_https *https = start_tls(&with);
    assert_int_equal(strncmp(host_https_url(https), "https://127.0.0.1:", 18), 0);
    https_has(curl_tls(https, &with, "--tlsv1.3"), "HTTP/1.1 200 ");
    https_has(curl_tls(https, &with, "--tls-max 1.2"), "HTTP/1.1 200 ");
    host_https_stop(https);
}

TEST(https_older_tls_and_plain_http_are_refused)
{
    https_files with = https_new_files();
    https_issue(&with, "one");
    host_https *https = start_tls(&with);
    /* 35: no handshake; the ciphers let curl offer what is this old */
    https_has(
        curl_tls(https, &with, "--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0"), "curl: 35");
    https_lacks(https_raw(https, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "200");
    host_https_stop(https);
    assert_int_equal(answers, 0);
}

TEST(https_reload_serves_the_new_certificate_to_new_connections)
{
    https_files with = https_new_files(), old = https_new_files();
    https_issue(&with, "one");
    host_https *https = start_tls(&with);
    assert_int_equal(rename(with.ca, old.ca), 0);
    https_has(curl_tls(https, &old, ""), "HTTP/1.1 200 ");
    https_issue(&with, "two");
    https_has(curl_tls(https, &old, ""), "HTTP/1.1 200 "); /* not before the reload */
    rpc_status status;
    const host_https_options options = options_for(with.certificate, with.key);
    assert_int_equal(host_https_reload(https, &options, &status), RPC_OK);
    https_has(curl_tls(https, &with, ""), "HTTP/1.1 200 ");
    https_has(curl_tls(https, &old, ""), "curl: 60"); /* not verified */
    host_https_stop(https);
}

TEST(https_reload_that_fails_keeps_the_old_certificate)
{
    https_files with = https_new_files(), other = https_new_files();
    https_issue(&with, "one");
    https_issue(&other, "two");
    host_https *https = start_tls(&with);
    rpc_status status;
    const host_https_options options = options_for(with.certificate, with.key);
    assert_int_equal(rename(other.key, with.key), 0);
    assert_int_equal(host_https_reload(https, &options, &status), RPC_INVALID_ARGUMENT);
    https_has(status.message, with.key);
    https_has(curl_tls(https, &with, ""), "HTTP/1.1 200 ");
    assert_int_equal(unlink(with.certificate), 0);
    assert_int_equal(host_https_reload(https, &options, &status), RPC_NOT_FOUND);
    https_has(status.message, with.certificate);
    https_has(curl_tls(https, &with, ""), "HTTP/1.1 200 ");
    host_https_stop(https);
}

TEST(https_reload_without_certificate_does_nothing)
{
    host_https *https = start_plain();
    rpc_status status;
    const host_https_options options = options_for(NULL, "");
    assert_int_equal(host_https_reload(https, &options, &status), RPC_OK);
    https_has(https_curl(https, "", "/hello"), "200 ");
    host_https_stop(https);
}

TEST(https_reload_takes_files_of_other_names)
{
    https_files with = https_new_files(), other = https_new_files();
    https_issue(&with, "one");
    https_issue(&other, "two");
    host_https *https = start_tls(&with);
    rpc_status status;
    host_https_options options = options_for(other.certificate, other.key);
    assert_int_equal(host_https_reload(https, &options, &status), RPC_OK);
    https_has(curl_tls(https, &other, ""), "HTTP/1.1 200 ");
    https_has(curl_tls(https, &with, ""), "curl: 60");
    options = options_for(NULL, NULL);
    assert_int_equal(host_https_reload(https, &options, &status), RPC_FAILED_PRECONDITION);
    https_has(status.message, "restart");
    https_has(curl_tls(https, &other, ""), "HTTP/1.1 200 ");
    host_https_stop(https);
}

TEST(https_certificate_files_that_cannot_serve_are_refused)
{
    https_files with = https_new_files(), other = https_new_files();
    https_issue(&with, "one");
    https_issue(&other, "two");
    host_https_options options = options_for(with.certificate, NULL);
    refused(&options, RPC_INVALID_ARGUMENT, "give both or none");
    options = options_for("", with.key);
    refused(&options, RPC_INVALID_ARGUMENT, "give both or none");
    options = options_for(with.certificate, other.key);
    refused(&options, RPC_INVALID_ARGUMENT, other.key);
    options = options_for(with.key, with.key);
    refused(&options, RPC_INVALID_ARGUMENT, "must be PEM");
    options = options_for("/no/such.pem", with.key);
    refused(&options, RPC_NOT_FOUND, "/no/such.pem");
    options = options_for(with.certificate, "/");
    refused(&options, RPC_INVALID_ARGUMENT, "is no file");
    assert_int_equal(truncate(other.certificate, 64 << 10), 0);
    options = options_for(other.certificate, with.key);
    refused(&options, RPC_INVALID_ARGUMENT, "is no file of less than");
    assert_int_equal(unlink(other.key), 0);
    assert_int_equal(mkfifo(other.key, 0600), 0);
    options = options_for(with.certificate, other.key);
    refused(&options, RPC_INVALID_ARGUMENT, "is no file");
}

/* ---- metrics as a route ---------------------------------------------------------------------- */

TEST(https_serves_metrics)
{
    host_metrics *metrics = host_metrics_new();
    host_counter_add(host_metrics_counter(metrics, "a_total", "A", NULL), 7);
    const host_route route = {
        .path = "/metrics", .handle = host_metrics_handle, .ctx = metrics, .in_place = true};
    host_https_options options = options_for(NULL, NULL);
    options.routes = &route;
    options.route_count = 1;
    host_https *https = start(&options);
    const char *text = https_curl(https, "", "/metrics");
    https_has(text, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    https_has(text, "\r\n\r\n# HELP a_total A\n# TYPE a_total counter\na_total 7\n");
    host_https_stop(https);
    host_metrics_free(metrics);
}
