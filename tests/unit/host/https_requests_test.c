/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as handlers see them, and answers: on the polling thread, on workers, and later. */
#include "https_client.h"
#include "test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- handlers -------------------------------------------------------------------------------- */

static const char *name_of(host_found found)
{
    static const char *const names[] = {"absent", "found", "twice", "malformed"};
    return names[found];
}

/* Tells what it was asked: parameter and header x, cookie c, and the rest. */
static void tell(void *ctx, host_request *request)
{
    const char *param = "", *header = "", *cookie = "", *query = "";
    host_found of_param = host_request_param(request, "x", &param);
    host_found of_query = host_params_find(host_request_query(request), "x", &query);
    host_found of_header = host_request_header(request, "x-test", &header);
    host_found of_cookie = host_request_cookie(request, "c", &cookie);
    host_reply reply = {.status = 200, .content_type = "text/plain"};
    (void)ctx;
    int size = asprintf(&reply.body,
        "%s %s?%s from %s\nparam %s '%s'\nquery %s '%s'\nheader %s '%s'\ncookie %s '%s'\n"
        "body %zu\n",
        host_request_method(request), host_request_path(request), host_request_raw_query(request),
        host_request_address(request), name_of(of_param), param, name_of(of_query), query,
        name_of(of_header), header, name_of(of_cookie), cookie, host_request_body(request).size);
    reply.size = size > 0 ? (size_t)size : 0;
    host_request_answer(request, &reply);
}

static void set_headers(void *ctx, host_request *request)
{
    static const host_header headers[] = {{"Location", "https://x.example/cb?code=1"},
        {"Set-Cookie", "a=1; Secure"}, {"Set-Cookie", "b=2; HttpOnly"},
        {"WWW-Authenticate", "Bearer error=\"invalid_token\""}};
    host_reply reply = {.status = 303,
        .csp = "default-src 'self'",
        .headers = headers,
        .header_count = sizeof headers / sizeof *headers};
    (void)ctx;
    host_request_answer(request, &reply);
}

/* Splits the answer when x has a line's end in it, if it could. */
static void redirect(void *ctx, host_request *request)
{
    const char *to = "";
    (void)ctx;
    if (host_request_param(request, "x", &to) != HOST_FOUND) {
        host_request_refuse(request, 400, "x is needed");
        return;
    }
    host_header header = {"Location", to};
    host_reply reply = {.status = 302, .headers = &header, .header_count = 1, .body = strdup("x")};
    reply.size = 1;
    host_request_answer(request, &reply);
}

/* A handler that waits until the test lets it go on. */
typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned inside;
    bool open;
} gate;

static void gate_init(gate *it)
{
    *it = (gate){.open = false};
    pthread_mutex_init(&it->lock, NULL);
    pthread_cond_init(&it->changed, NULL);
}

static void gate_open(gate *it)
{
    pthread_mutex_lock(&it->lock);
    it->open = true;
    pthread_cond_broadcast(&it->changed);
    pthread_mutex_unlock(&it->lock);
}

static void gate_wait_inside(gate *it, unsigned count)
{
    pthread_mutex_lock(&it->lock);
    while (it->inside < count)
        pthread_cond_wait(&it->changed, &it->lock);
    pthread_mutex_unlock(&it->lock);
}

static void answer_text(host_request *request, const char *text)
{
    host_reply reply = {.status = 200, .body = strdup(text), .size = strlen(text)};
    host_request_answer(request, &reply);
}

static void pass_gate(void *ctx, host_request *request)
{
    gate *it = ctx;
    pthread_mutex_lock(&it->lock);
    it->inside++;
    pthread_cond_broadcast(&it->changed);
    while (!it->open)
        pthread_cond_wait(&it->changed, &it->lock);
    pthread_mutex_unlock(&it->lock);
    answer_text(request, "passed");
}

/* Requests that are answered by the test, not by their handler. */
typedef struct shelf {
    gate gate;
    host_request *requests[8];
} shelf;

static void put_on_shelf(void *ctx, host_request *request)
{
    shelf *it = ctx;
    pthread_mutex_lock(&it->gate.lock);
    it->requests[it->gate.inside++] = request;
    pthread_cond_broadcast(&it->gate.changed);
    pthread_mutex_unlock(&it->gate.lock);
}

static gate held;
static shelf shelved;

static host_https *start(void)
{
    static const host_route routes[] = {
        {.path = "/tell", .handle = tell, .in_place = true},
        {.path = "/form", .handle = tell, .methods = HOST_GET | HOST_POST, .body_max = 1000},
        {.path = "/post",
            .handle = tell,
            .methods = HOST_POST,
            .body_max = 200000,
            .in_place = true},
        {.path = "/json", .handle = tell, .methods = HOST_POST, .body_type = HOST_BODY_JSON},
        {.path = "/headers", .handle = set_headers},
        {.path = "/redirect", .handle = redirect},
        {.path = "/gate", .handle = pass_gate, .ctx = &held},
        {.path = "/shelf", .handle = put_on_shelf, .ctx = &shelved},
        {.path = "/shelf-in-place", .handle = put_on_shelf, .ctx = &shelved, .in_place = true},
    };
    gate_init(&held);
    shelved = (shelf){.requests = {NULL}};
    gate_init(&shelved.gate);
    const host_https_options options = {.address = "127.0.0.1",
        .routes = routes,
        .route_count = sizeof routes / sizeof *routes,
        .workers = 2,
        .limits = {.queue = 1, .drain_ms = 200, .headers = 16, .idle_s = 2, .request_s = 2}};
    return https_start(&options);
}

#define HEAD " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

/* ---- parameters ------------------------------------------------------------------------------ */

TEST(https_query_reaches_the_handler)
{
    host_https *https = start();
    const char *text = https_curl(https, "", "/tell?x=a%20b&y=%zz");
    https_has(text, "GET /tell?x=a%20b&y=%zz from 127.0.0.1\n");
    https_has(text, "param found 'a b'\n");
    https_has(https_curl(https, "", "/tell?x=1&x=2"), "param twice ''\n");
    https_has(https_curl(https, "", "/tell?x=%ff"), "param malformed ''\n");
    https_has(https_curl(https, "", "/tell?"), "GET /tell? from");
    https_has(https_curl(https, "", "/tell?y?x=1"), "param absent ''\n");
    host_https_stop(https);
}

TEST(https_form_reaches_the_handler_and_the_query_apart)
{
    host_https *https = start();
    const char *text = https_curl(https, "-d x=f%26rm -d y=1", "/form?x=query");
    https_has(text, "POST /form?x=query from");
    https_has(text, "param found 'f&rm'\nquery found 'query'\n");
    https_has(text, "body 12\n");
    https_has(https_curl(https, "-d x=1 -d x=1", "/form"), "param twice ''\n");
    https_has(https_curl(https, "-d x=%00", "/form"), "param malformed ''\n");
    https_has(https_curl(https, "", "/form?x=get"), "param found 'get'\n");
    https_has(https_curl(https, "-X POST", "/form?x=get"), "param absent ''\nquery found 'get'");
    host_https_stop(https);
}

TEST(https_headers_and_cookies_reach_the_handler)
{
    host_https *https = start();
    https_has(https_curl(https, "-H 'X-Test: one'", "/tell"), "header found 'one'\n");
    https_has(https_curl(https, "-H 'X-Test: 1' -H 'x-tesT: 1'", "/tell"), "header twice ''\n");
    https_has(https_curl(https, "-b 'b=1; c=2'", "/tell"), "cookie found '2'\n");
    https_has(https_curl(https, "-b 'c=1; c=2'", "/tell"), "cookie twice ''\n");
    https_has(
        https_curl(https, "-H 'Cookie: c=1' -H 'Cookie: b=1'", "/tell"), "cookie found '1'\n");
    https_has(https_curl(https, "-H 'Cookie: c=1' -H 'Cookie: c=1'", "/tell"), "cookie twice ''\n");
    host_https_stop(https);
}

/* ---- answers --------------------------------------------------------------------------------- */

TEST(https_answer_has_its_headers_and_those_of_every_answer)
{
    host_https *https = start();
    const char *text = https_curl(https, "", "/headers");
    https_has(text, "HTTP/1.1 303 ");
    https_has(text, "Location: https://x.example/cb?code=1\r\n");
    https_has(text, "Set-Cookie: a=1; Secure\r\n");
    https_has(text, "Set-Cookie: b=2; HttpOnly\r\n");
    https_has(text, "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n");
    https_has(text, "Content-Security-Policy: default-src 'self'\r\n");
    https_has(text, "Cache-Control: no-store\r\n");
    https_has(text, "Referrer-Policy: no-referrer\r\n");
    https_has(text, "X-Content-Type-Options: nosniff\r\n");
    https_lacks(text, "Strict-Transport-Security");
    const char *id = strstr(text, "X-Request-Id: ");
    assert_non_null(id);
    char copy[HOST_REQUEST_ID_CHARS + 1] = "";
    memcpy(copy, id + 14, HOST_REQUEST_ID_CHARS);
    assert_true(host_request_id_ms(copy) > 0);
    host_https_stop(https);
}

TEST(https_answer_with_control_characters_in_a_header_is_500)
{
    host_https *https = start();
    https_has(https_curl(https, "", "/redirect?x=https://y/"), "Location: https://y/\r\n");
    static const char *const tries[] = {"%0d%0aSet-Cookie:s=1", "a%0a", "%0d", "%01", "%7f", "%09"};
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        char path[64];
        snprintf(path, sizeof path, "/redirect?x=%s", tries[i]);
        const char *text = https_curl(https, "", path);
        https_has(text, "HTTP/1.1 500 ");
        https_lacks(text, "Set-Cookie");
        https_lacks(text, "Location");
    }
    host_https_stop(https);
}

TEST(https_request_is_answered_later_by_another_thread)
{
    host_https *https = start();
    static const char *const paths[] = {"/shelf", "/shelf-in-place"};
    for (unsigned i = 0; i < 2; i++) {
        char request[100];
        snprintf(request, sizeof request, "GET %s" HEAD "\r\n", paths[i]);
        int fd = https_connect(https);
        assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
        gate_wait_inside(&shelved.gate, i + 1);
        https_has(https_curl(https, "", "/tell"), "HTTP/1.1 200 "); /* nobody waits for it */
        answer_text(shelved.requests[i], "late");
        https_has(https_rest(fd), "\r\n\r\nlate");
    }
    host_https_stop(https);
}

/* ---- workers --------------------------------------------------------------------------------- */

TEST(https_queue_of_workers_that_is_full_is_503_with_retry_after)
{
    host_https *https = start();
    struct pollfd fds[4];
    const char *request = "GET /gate" HEAD "\r\n";
    for (unsigned i = 0; i < 4; i++) { /* two run, one waits, one is too many */
        fds[i] = (struct pollfd){.fd = https_connect(https), .events = POLLIN};
        assert_int_equal(send(fds[i].fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
        if (i < 2)
            gate_wait_inside(&held, i + 1);
    }
    assert_int_equal(poll(fds, 4, 30000), 1);
    unsigned refused = fds[2].revents ? 2 : 3;
    const char *text = https_rest(fds[refused].fd);
    https_has(text, "HTTP/1.1 503 ");
    https_has(text, "Retry-After: 1\r\n");
    https_has(https_curl(https, "", "/tell"), "HTTP/1.1 200 "); /* in place: nothing is busy */
    gate_open(&held);
    for (unsigned i = 0; i < 4; i++)
        if (i != refused)
            https_has(https_rest(fds[i].fd), "passed");
    https_has(https_curl(https, "", "/form"), "HTTP/1.1 200 ");
    host_https_stop(https);
}

static void *stop(void *arg)
{
    host_https_stop(arg);
    return NULL;
}

TEST(https_stop_lets_running_handlers_finish)
{
    host_https *https = start();
    int fd = https_connect(https);
    const char *request = "GET /gate" HEAD "\r\n";
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    gate_wait_inside(&held, 1);
    pthread_t stopper;
    assert_int_equal(pthread_create(&stopper, NULL, stop, https), 0);
    gate_open(&held);
    https_has(https_rest(fd), "passed");
    pthread_join(stopper, NULL);
}

TEST(https_stop_answers_503_for_those_who_do_not_and_their_answer_is_void)
{
    host_https *https = start();
    int fds[2];
    static const char *const requests[] = {
        "GET /shelf" HEAD "\r\n", "GET /shelf-in-place" HEAD "\r\n"};
    for (unsigned i = 0; i < 2; i++) {
        fds[i] = https_connect(https);
        assert_int_equal(
            send(fds[i], requests[i], strlen(requests[i]), MSG_NOSIGNAL), strlen(requests[i]));
        gate_wait_inside(&shelved.gate, i + 1);
    }
    host_https_stop(https);
    for (unsigned i = 0; i < 2; i++) {
        https_has(https_rest(fds[i]), "HTTP/1.1 503 ");
        assert_int_equal(strncmp(host_request_path(shelved.requests[i]), "/shelf", 6), 0);
        answer_text(shelved.requests[i], "late");
    }
}

/* ---- bodies ---------------------------------------------------------------------------------- */

TEST(https_body_of_another_type_is_415)
{
    host_https *https = start();
    https_has(https_curl(https, "-H 'Content-Type: text/plain' -d x", "/form"), "HTTP/1.1 415 ");
    https_has(https_curl(https, "-H 'Content-Type:' -d x", "/form"), "HTTP/1.1 415 ");
    https_has(https_curl(https, "-F x=1", "/form"), "HTTP/1.1 415 ");
    https_has(https_curl(https, "-d x", "/json"), "HTTP/1.1 415 ");
    https_has(https_curl(https, "-H 'Content-Encoding: gzip' -d x", "/form"), "HTTP/1.1 415 ");
    https_has(
        https_curl(https, "-H 'content-type: Application/JSON; charset=utf-8' -d {}", "/json"),
        "body 2\n");
    https_has(
        https_curl(https,
            "-H 'Content-Type: application/x-www-form-urlencoded;charset=UTF-8' -d x=1", "/form"),
        "param found '1'");
    https_has(
        https_curl(https, "-H 'Content-Type: application/jsonx' -d {}", "/json"), "HTTP/1.1 415 ");
    host_https_stop(https);
}
