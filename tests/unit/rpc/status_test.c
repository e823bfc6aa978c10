/* SPDX-License-Identifier: Apache-2.0 */
/* grpc-status-details-bin: what a status says to programs. */
#include "raw.h"

#define UNARY "/rpctest.Echo/Unary"

static const uint8_t packed[] = {8, 5, 18, 4, 'f', 'a', 'i', 'l', 255, 0};

static rpc_metadatum with_details(void)
{
    return (rpc_metadatum){"x-details-bin", rpc_bytes_of(packed, sizeof packed), false};
}

static rpc_code ask(fixture *f, const rpc_metadatum *metadata, const char *text, rpc_arena *arena,
    rpc_bytes *ret_details)
{
    rpc_call_options options = {.metadata = metadata,
        .metadata_count = metadata != NULL,
        .ret_status_details = ret_details};
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char copy[16];
    snprintf(copy, sizeof copy, "%s", text);
    item.text = copy;
    ProtobufCMessage *reply = NULL;
    rpc_status status = {0};
    return rpc_channel_unary(f->channel, UNARY, &options, &item.base, &rpctest__item__descriptor,
        arena, &reply, &status);
}

TEST(details_arrive_with_the_status_of_a_waiting_call)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_metadatum metadata = with_details();
    rpc_arena *arena = rpc_arena_new(1 << 20);
    rpc_bytes details = {0};
    assert_int_equal(ask(&f, &metadata, "fail", arena, &details), RPC_NOT_FOUND);
    assert_int_equal(details.size, sizeof packed);
    assert_memory_equal(details.data, packed, sizeof packed);
    assert_int_equal(ask(&f, NULL, "fail", arena, &details), RPC_NOT_FOUND);
    assert_int_equal(details.size, 0);
    assert_int_equal(ask(&f, &metadata, "hello", arena, &details), RPC_OK);
    assert_int_equal(details.size, 0);
    rpc_arena_free(arena);
    fixture_stop(&f);
}

TEST(details_are_read_when_a_call_ends)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_metadatum metadata = with_details();
    rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
    client_call c = {0}, none = {0};
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char text[] = "fail";
    item.text = text;
    client_start(&c, &f, UNARY, &options);
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    assert_int_equal(
        rpc_call_set_status_details(c.call, rpc_bytes_str("x")), RPC_FAILED_PRECONDITION);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.details_size, sizeof packed);
    assert_memory_equal(c.details, packed, sizeof packed);
    client_start(&none, &f, UNARY, NULL);
    assert_int_equal(client_send(&none, &item), RPC_SENT_OK);
    flag_wait(&none.ended, 1);
    assert_int_equal(none.status.code, RPC_NOT_FOUND);
    assert_int_equal(none.details_size, SIZE_MAX);
    client_done(&c);
    client_done(&none);
    fixture_stop(&f);
}

typedef struct stub_result {
    rpc_stub *stub;
    uint8_t details[64];
    size_t size;
    flag done;
} stub_result;

static void stub_reply(const Rpctest__Item *reply, void *data)
{
    stub_result *result = data;
    assert_null(reply);
    rpc_bytes details = rpc_stub_status_details(result->stub);
    assert_true(details.size <= sizeof result->details);
    memcpy(result->details, details.data, details.size);
    result->size = details.size;
    flag_raise(&result->done);
}

TEST(a_stub_shows_the_details_in_its_closure)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_status status = {0};
    rpc_metadatum metadata = with_details();
    rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
    stub_result result = {0};
    flag_init(&result.done);
    assert_int_equal(
        rpc_stub_new(f.channel, &rpctest__echo__descriptor, &options, &result.stub, &status),
        RPC_OK);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char text[] = "fail";
    item.text = text;
    rpctest__echo__unary(rpc_stub_service(result.stub), &item, stub_reply, &result);
    flag_wait(&result.done, 1);
    assert_int_equal(result.size, sizeof packed);
    assert_memory_equal(result.details, packed, sizeof packed);
    rpc_channel_free(f.channel);
    f.channel = NULL;
    rpc_stub_free(result.stub);
    fixture_stop(&f);
}

TEST(the_last_details_count_and_too_many_bytes_are_refused)
{
    static const uint8_t large[RPC_STATUS_DETAILS_BYTES_MAX + 1];
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, UNARY, NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char text[] = "never";
    item.text = text;
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&f.started, 1);
    assert_int_equal(rpc_call_set_status_details(f.held, rpc_bytes_of(large, sizeof large)),
        RPC_INVALID_ARGUMENT);
    assert_int_equal(
        rpc_call_set_status_details(f.held, rpc_bytes_of(large, sizeof large - 1)), RPC_OK);
    assert_int_equal(rpc_call_set_status_details(f.held, rpc_bytes_str("last")), RPC_OK);
    rpc_call_finish(f.held, RPC_ABORTED, "details");
    assert_int_equal(
        rpc_call_set_status_details(f.held, rpc_bytes_str("late")), RPC_FAILED_PRECONDITION);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_ABORTED);
    assert_int_equal(c.details_size, 4);
    assert_memory_equal(c.details, "last", 4);
    client_done(&c);
    fixture_stop(&f);
}

TEST(details_that_are_no_base64_are_as_if_they_were_not_there)
{
    const char *const headers[] = {"grpc-message", "no", "grpc-status-details-bin", "!!!", NULL};
    fixture f;
    fixture_init(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_answer(w, 1, 0, NULL);
    raw_trailers(w, 1, "10", headers);
    raw_server s;
    raw_server_start(&s, w);
    rpc_channel_options options = {
        .target = s.target, .allow_plain_text = true, .limits = f.client_limits};
    rpc_status status = {0};
    assert_int_equal(rpc_channel_new(f.runtime, &options, &f.channel, &status), RPC_OK);
    client_call c = {0};
    client_start(&c, &f, UNARY, NULL);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_ABORTED);
    assert_string_equal(c.status.message, "no");
    assert_int_equal(c.details_size, SIZE_MAX);
    client_done(&c);
    rpc_channel_free(f.channel);
    f.channel = NULL;
    raw_server_stop(&s);
    free(w);
    fixture_stop(&f);
}
