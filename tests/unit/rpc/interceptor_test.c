/* SPDX-License-Identifier: Apache-2.0 */
/* Interceptors of channels and servers: their order, what they see, what they may do. */
#include "fixture.h"

#define UNARY "/rpctest.Echo/Unary"

/* One interceptor of a test, and what all of them did. */
typedef struct watcher {
    char name;
    const char *adds;        /* the value of an x-echo header to add */
    rpc_code refuses;        /* with this code */
    char *trail;             /* of all: names on the way in, in lower case on the way out */
    flag ended;              /* on_end ran */
    rpc_code status;         /* what on_end was told */
    char path[64], seen[64]; /* x-echo of the answer, or of the request on a server */
    char trailer[64], sent[64];
    uint64_t received;
} watcher;

static void note(watcher *w, char step)
{
    size_t at = strlen(w->trail);
    w->trail[at] = step;
    w->trail[at + 1] = '\0';
}

static void copy(char *text, size_t room, bool found, rpc_bytes value)
{
    snprintf(
        text, room, "%.*s", found ? (int)value.size : 1, found ? (const char *)value.data : "-");
}

static rpc_code on_start(void *ctx, rpc_call *call, rpc_status *reterr)
{
    watcher *w = ctx;
    rpc_bytes value;
    note(w, w->name);
    snprintf(w->path, sizeof w->path, "%s", rpc_call_path(call));
    if (w->adds && rpc_call_add_header(call, "x-echo", rpc_bytes_str(w->adds)) != RPC_OK)
        return rpc_status_set(reterr, RPC_INTERNAL, "interceptor: cannot add");
    bool found = rpc_call_request_metadata(call, "x-asked", &value);
    copy(w->sent, sizeof w->sent, found, value);
    if (w->refuses != RPC_OK)
        return rpc_status_set(reterr, w->refuses, "interceptor %c says no", w->name);
    return RPC_OK;
}

static void on_end(void *ctx, rpc_call *call, const rpc_status *status)
{
    watcher *w = ctx;
    rpc_bytes value;
    uint64_t sent;
    note(w, (char)(w->name - 'A' + 'a'));
    w->status = status->code;
    bool found = rpc_call_metadata(call, "x-echo", &value);
    copy(w->seen, sizeof w->seen, found, value);
    found = rpc_call_trailer(call, "x-tail", &value);
    copy(w->trailer, sizeof w->trailer, found, value);
    rpc_call_counts(call, &w->received, &sent);
    flag_raise(&w->ended);
}

/* Three, outermost first. */
typedef struct watchers {
    watcher w[3];
    rpc_interceptor list[3];
    char trail[32];
} watchers;

static void watch(watchers *all)
{
    *all = (watchers){0};
    for (size_t i = 0; i < 3; i++) {
        all->w[i] = (watcher){.name = (char)('A' + i), .trail = all->trail};
        flag_init(&all->w[i].ended);
        all->list[i] = (rpc_interceptor){on_start, on_end, &all->w[i]};
    }
}

static void start_client(fixture *f, watchers *all)
{
    fixture_init(f);
    f->client_interceptors = all->list;
    f->client_interceptor_count = 3;
    fixture_start(f);
}

TEST(a_channels_interceptors_run_in_order_and_end_in_reverse)
{
    fixture f;
    watchers all;
    watch(&all);
    start_client(&f, &all);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    flag_wait(&all.w[0].ended, 1);
    assert_string_equal(all.trail, "ABCcba");
    assert_string_equal(all.w[0].path, UNARY);
    assert_int_equal(all.w[0].status, RPC_OK);
    assert_true(all.w[0].received > 0);
    fixture_stop(&f);
}

TEST(a_channels_interceptor_adds_to_the_request_and_sees_the_answer)
{
    fixture f;
    watchers all;
    watch(&all);
    all.w[1].adds = "token";
    start_client(&f, &all);
    rpc_status status = {0};
    static const uint8_t binary[] = {'b', 'i', 'n'};
    rpc_metadatum metadata[] = {{"x-asked", rpc_bytes_str("yes"), false},
        {"x-details-bin", rpc_bytes_of(binary, 3), false}};
    rpc_call_options options = {.metadata = metadata, .metadata_count = 2};
    assert_int_equal(fixture_unary(&f, &options, "fail", NULL, &status), RPC_NOT_FOUND);
    flag_wait(&all.w[0].ended, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(all.w[i].status, RPC_NOT_FOUND);
        assert_string_equal(all.w[i].seen, "token");
        assert_string_equal(all.w[i].trailer, "token");
        assert_string_equal(all.w[i].sent, "yes");
    }
    fixture_stop(&f);
}

TEST(a_channels_interceptor_refuses_a_call_before_the_network)
{
    fixture f;
    watchers all;
    watch(&all);
    all.w[1].refuses = RPC_UNAUTHENTICATED;
    start_client(&f, &all);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_UNAUTHENTICATED);
    assert_string_equal(status.message, "interceptor B says no");
    flag_wait(&all.w[0].ended, 1);
    assert_string_equal(all.trail, "ABba");
    assert_int_equal(all.w[0].status, RPC_UNAUTHENTICATED);
    assert_int_equal(flag_count(&f.events[RPC_EVENT_ACCEPTED]), 0);
    fixture_stop(&f);
}

TEST(a_call_that_never_reached_a_server_ends_its_interceptors)
{
    fixture f;
    watchers all;
    watch(&all);
    fixture_init(&f);
    rpc_status status = {0};
    rpc_channel_options options = {.target = "tcp://127.0.0.1:1",
        .allow_plain_text = true,
        .limits = f.client_limits,
        .interceptors = all.list,
        .interceptor_count = 3};
    assert_int_equal(rpc_channel_new(f.runtime, &options, &f.channel, &status), RPC_OK);
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_UNAVAILABLE);
    flag_wait(&all.w[0].ended, 1);
    assert_string_equal(all.trail, "ABCcba");
    assert_int_equal(all.w[2].status, RPC_UNAVAILABLE);
    assert_string_equal(all.w[2].seen, "-");
    fixture_stop(&f);
}

TEST(a_request_that_has_gone_takes_no_more_headers)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    flag_wait(&f.started, 1);
    assert_int_equal(
        rpc_call_add_header(c.call, "x-late", rpc_bytes_str("x")), RPC_FAILED_PRECONDITION);
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_servers_interceptors_run_in_order_and_one_may_refuse)
{
    fixture f;
    watchers all;
    watch(&all);
    fixture_init(&f);
    f.interceptors = all.list;
    f.interceptor_count = 3;
    fixture_start(&f);
    rpc_status status = {0};
    rpc_metadatum metadata = {"x-echo", rpc_bytes_str("asked"), false};
    rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
    assert_int_equal(fixture_unary(&f, &options, "fail", NULL, &status), RPC_NOT_FOUND);
    flag_wait(&all.w[0].ended, 1);
    assert_string_equal(all.trail, "ABCcba");
    assert_string_equal(all.w[2].seen, "asked");
    assert_int_equal(all.w[2].status, RPC_NOT_FOUND);
    all.trail[0] = '\0';
    all.w[0].refuses = RPC_PERMISSION_DENIED;
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_PERMISSION_DENIED);
    assert_string_equal(status.message, "interceptor A says no");
    flag_wait(&all.w[0].ended, 2);
    assert_string_equal(all.trail, "Aa");
    fixture_stop(&f);
}

TEST(an_interceptor_may_want_only_one_of_start_and_end)
{
    fixture f;
    watchers all;
    watch(&all);
    all.list[0].on_start = NULL;
    all.list[1].on_end = NULL;
    start_client(&f, &all);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK);
    flag_wait(&all.w[0].ended, 1);
    assert_string_equal(all.trail, "BCca");
    fixture_stop(&f);
}
