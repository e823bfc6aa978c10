/* SPDX-License-Identifier: Apache-2.0 */
/* Spoken to with curl, and with raw sockets where curl is too polite. */
#include "certs.h"
#include "host.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned answers; /* by the server's thread; read when it has stopped */

static void get_hello(void *ctx, host_reply *ret)
{
    answers++;
    *ret = (host_reply){.status = 200,
        .content_type = "text/plain",
        .cache_control = "max-age=60",
        .body = strdup(ctx),
        .size = strlen(ctx)};
}

static void get_nothing(void *ctx, host_reply *ret)
{
    (void)ctx, (void)ret;
}

static void get_empty(void *ctx, host_reply *ret)
{
    (void)ctx;
    ret->status = 503;
}

static char hello[] = "hello";
static const host_route routes[] = {
    {"/hello", get_hello, hello}, {"/nothing", get_nothing, NULL}, {"/empty", get_empty, NULL}};

static host_https_options options_for(const char *certificate, const char *key)
{
    return (host_https_options){.address = "127.0.0.1",
        .certificate_file = certificate,
        .key_file = key,
        .routes = routes,
        .route_count = 3};
}

static host_https *start(const host_https_options *options)
{
    host_https *https = NULL;
    rpc_status status;
    answers = 0;
    if (host_https_start(options, &https, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return https;
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

/* What curl prints for arguments and URL; head and body, or the code that it ended with. */
static const char *curl(const host_https *https, const char *arguments, const char *path)
{
    static char text[20000];
    char command[1000];
    snprintf(command, sizeof command, "curl -q -s -i --noproxy '*' --max-time 30 %s '%s%s' 2>&1",
        arguments, host_https_url(https), path);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    size_t size = fread(text, 1, sizeof text - 40, out);
    text[size] = '\0';
    int status = pclose(out);
    if (status != 0)
        snprintf(text + size, 40, "\ncurl: %d", WEXITSTATUS(status));
    return text;
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in '%s'", part, text);
}

static void lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("'%s' is in '%s'", part, text);
}

static unsigned port_of(const host_https *https)
{
    return (unsigned)strtoul(strrchr(host_https_url(https), ':') + 1, NULL, 10);
}

static int connect_to(const host_https *https)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port_of(https)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* All that comes back for these bytes until the server closes. */
static const char *raw(const host_https *https, const char *request)
{
    static char text[20000];
    int fd = connect_to(https);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    size_t size = 0;
    ssize_t got;
    while ((got = recv(fd, text + size, sizeof text - 1 - size, 0)) > 0)
        size += (size_t)got;
    text[size] = '\0';
    close(fd);
    return text;
}

/* ---- plain HTTP on loopback ------------------------------------------------------------------ */

TEST(https_route_answers_with_its_headers)
{
    host_https *https = start_plain();
    assert_int_equal(strncmp(host_https_url(https), "http://127.0.0.1:", 17), 0);
    assert_int_not_equal(port_of(https), 0);
    const char *text = curl(https, "", "/hello");
    has(text, "HTTP/1.1 200 ");
    has(text, "Content-Type: text/plain\r\n");
    has(text, "Cache-Control: max-age=60\r\n");
    has(text, "X-Content-Type-Options: nosniff\r\n");
    has(text, "\r\n\r\nhello");
    has(curl(https, "", "/hello?query=1"), "200 ");
    host_https_stop(https);
    assert_int_equal(answers, 2);
}

TEST(https_head_has_the_length_and_no_body)
{
    host_https *https = start_plain();
    const char *text = curl(https, "-I", "/hello");
    has(text, "HTTP/1.1 200 ");
    has(text, "Content-Length: 5\r\n");
    lacks(text, "hello");
    host_https_stop(https);
}

TEST(https_connection_serves_many_requests)
{
    host_https *https = start_plain();
    has(raw(https, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
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
        const char *text = curl(https, "--path-as-is", paths[i]);
        has(text, "HTTP/1.1 404 ");
        has(text, "Content-Type: application/json\r\n");
        has(text, "Cache-Control: no-store\r\n");
        has(text, "X-Content-Type-Options: nosniff\r\n");
        has(text, "{\"error\": \"nothing is at this path\"}");
    }
    host_https_stop(https);
    assert_int_equal(answers, 0);
}

TEST(https_route_without_an_answer_is_500_and_an_empty_one_is_sent)
{
    host_https *https = start_plain();
    has(curl(https, "", "/nothing"), "HTTP/1.1 500 ");
    const char *text = curl(https, "", "/empty");
    has(text, "HTTP/1.1 503 ");
    has(text, "Content-Length: 0\r\n");
    host_https_stop(https);
}

TEST(https_other_methods_are_405_with_those_allowed)
{
    host_https *https = start_plain();
    const char *methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get", "BREW"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char arguments[40];
        snprintf(arguments, sizeof arguments, "-X %s", methods[i]);
        const char *text = curl(https, arguments, "/hello");
        has(text, "HTTP/1.1 405 ");
        has(text, "Allow: GET, HEAD\r\n");
        has(text, "X-Content-Type-Options: nosniff\r\n");
    }
    has(curl(https, "-d body", "/hello"), "HTTP/1.1 405 ");
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
    const char *text = raw(https, request);
    has(text, status);
    lacks(text, "hello");
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
    has(raw(https, "GET /hello HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 ");
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
    int fd = connect_to(https);
    /* The server may close while this is under way. */
    (void)!send(fd, request, strlen(request), MSG_NOSIGNAL);
    free(request);
    char text[100] = "";
    while (recv(fd, text, sizeof text, 0) > 0)
        ;
    close(fd);
    has(curl(https, "", "/hello"), "200 ");
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
        fds[i] = connect_to(https);
        assert_int_equal(send(fds[i], request, strlen(request), MSG_NOSIGNAL), strlen(request));
        assert_true(recv(fds[i], text, sizeof text, 0) > 0);
    }
    fds[16] = connect_to(https);
    assert_true(recv(fds[16], text, sizeof text, 0) <= 0);
    /* A place that was given back can be taken. */
    for (int i = 0; i < 17; i++)
        close(fds[i]);
    bool answered = false;
    for (int i = 0; i < 1000 && !answered; i++)
        answered = strstr(curl(https, "", "/hello"), "200 ") != NULL;
    assert_true(answered);
    host_https_stop(https);
}

TEST(https_stops_with_connections_open)
{
    host_https *https = start_plain();
    int fd = connect_to(https);
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
    options.port = port_of(https);
    char part[100];
    snprintf(part, sizeof part, "'127.0.0.1' port %u: it is in use", options.port);
    refused(&options, RPC_UNAVAILABLE, part);
    host_https_stop(https);
    https = start(&options); /* and free again when it stopped */
    assert_int_equal(port_of(https), options.port);
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
    has(curl(https, "-g", "/hello"), "200 ");
    host_https_stop(https);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

typedef struct files {
    char ca[300], certificate[300], key[300];
} files;

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static files new_files(void)
{
    files made;
    const char *dir = test_tmpdir();
    snprintf(made.ca, sizeof made.ca, "%s/ca.pem", dir);
    snprintf(made.certificate, sizeof made.certificate, "%s/cert.pem", dir);
    snprintf(made.key, sizeof made.key, "%s/key.pem", dir);
    return made;
}

/* A certificate for 127.0.0.1 by a CA of its own. */
static void issue(const files *to, const char *name)
{
    char ca_name[60];
    snprintf(ca_name, sizeof ca_name, "CA of %s", name);
    test_cert ca = test_ca(ca_name);
    test_cert cert = test_cert_issue(&ca, name, "IP:127.0.0.1", -60, 3600);
    write_file(to->ca, ca.cert_pem);
    write_file(to->certificate, cert.cert_pem);
    write_file(to->key, cert.key_pem);
    test_cert_free(&cert);
    test_cert_free(&ca);
}

static host_https *start_tls(const files *with)
{
    host_https_options options = options_for(with->certificate, with->key);
    return start(&options);
}

static const char *curl_tls(const host_https *https, const files *trust, const char *arguments)
{
    char all[500];
    snprintf(all, sizeof all, "--cacert '%s' %s", trust->ca, arguments);
    return curl(https, all, "/hello");
}

TEST(https_serves_tls_1_3_and_1_2)
{
    files with = new_files();
    issue(&with, "one");
    host_https *https = start_tls(&with);
    assert_int_equal(strncmp(host_https_url(https), "https://127.0.0.1:", 18), 0);
    has(curl_tls(https, &with, "--tlsv1.3"), "HTTP/1.1 200 ");
    has(curl_tls(https, &with, "--tls-max 1.2"), "HTTP/1.1 200 ");
    host_https_stop(https);
}

TEST(https_older_tls_and_plain_http_are_refused)
{
    files with = new_files();
    issue(&with, "one");
    host_https *https = start_tls(&with);
    /* 35: no handshake; the ciphers let curl offer what is this old */
    has(curl_tls(https, &with, "--tlsv1.0 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0"), "curl: 35");
    lacks(raw(https, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "200");
    host_https_stop(https);
    assert_int_equal(answers, 0);
}

TEST(https_reload_serves_the_new_certificate_to_new_connections)
{
    files with = new_files(), old = new_files();
    issue(&with, "one");
    host_https *https = start_tls(&with);
    assert_int_equal(rename(with.ca, old.ca), 0);
    has(curl_tls(https, &old, ""), "HTTP/1.1 200 ");
    issue(&with, "two");
    has(curl_tls(https, &old, ""), "HTTP/1.1 200 "); /* not before the reload */
    rpc_status status;
    assert_int_equal(host_https_reload(https, &status), RPC_OK);
    has(curl_tls(https, &with, ""), "HTTP/1.1 200 ");
    has(curl_tls(https, &old, ""), "curl: 60"); /* not verified */
    host_https_stop(https);
}

TEST(https_reload_that_fails_keeps_the_old_certificate)
{
    files with = new_files(), other = new_files();
    issue(&with, "one");
    issue(&other, "two");
    host_https *https = start_tls(&with);
    rpc_status status;
    assert_int_equal(rename(other.key, with.key), 0);
    assert_int_equal(host_https_reload(https, &status), RPC_INVALID_ARGUMENT);
    has(status.message, with.key);
    has(curl_tls(https, &with, ""), "HTTP/1.1 200 ");
    assert_int_equal(unlink(with.certificate), 0);
    assert_int_equal(host_https_reload(https, &status), RPC_NOT_FOUND);
    has(status.message, with.certificate);
    has(curl_tls(https, &with, ""), "HTTP/1.1 200 ");
    host_https_stop(https);
}

TEST(https_reload_without_certificate_does_nothing)
{
    host_https *https = start_plain();
    rpc_status status;
    assert_int_equal(host_https_reload(https, &status), RPC_OK);
    has(curl(https, "", "/hello"), "200 ");
    host_https_stop(https);
}

TEST(https_certificate_files_that_cannot_serve_are_refused)
{
    files with = new_files(), other = new_files();
    issue(&with, "one");
    issue(&other, "two");
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
    const host_route route = {"/metrics", host_metrics_get, metrics};
    host_https_options options = options_for(NULL, NULL);
    options.routes = &route;
    options.route_count = 1;
    host_https *https = start(&options);
    const char *text = curl(https, "", "/metrics");
    has(text, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    has(text, "\r\n\r\n# HELP a_total A\n# TYPE a_total counter\na_total 7\n");
    host_https_stop(https);
    host_metrics_free(metrics);
}
