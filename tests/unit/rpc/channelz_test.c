/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.channelz.v1 asked by our own client; tests/interop/rpc has grpcio ask. */
#include "fixture.h"

#include "grpc/channelz/v1/channelz.pb-c.h"

#define PATH(method) "/grpc.channelz.v1.Channelz/" method

typedef struct asked {
    fixture f;
    rpc_arena *arena;
    rpc_status status;
} asked;

static void begin(asked *a)
{
    fixture_init(&a->f);
    a->f.with_channelz = true;
    fixture_start(&a->f);
    a->arena = rpc_arena_new(1 << 20);
}

static void end(asked *a)
{
    rpc_arena_free(a->arena);
    fixture_stop(&a->f);
}

static rpc_code ask(asked *a, const char *path, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **ret)
{
    return rpc_channel_unary(
        a->f.channel, path, NULL, request, descriptor, a->arena, ret, &a->status);
}

/* The answer of one that is served. */
static void *answer(asked *a, const char *path, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *reply = NULL;
    if (ask(a, path, request, descriptor, &reply) != RPC_OK || !reply) {
        fail_msg("%s: %s", path, a->status.message);
        abort(); /* never reached, which compilers do not know */
    }
    return reply;
}

static Grpc__Channelz__V1__GetServersResponse *servers(asked *a, int64_t start, int64_t max)
{
    Grpc__Channelz__V1__GetServersRequest request = GRPC__CHANNELZ__V1__GET_SERVERS_REQUEST__INIT;
    request.start_server_id = start;
    request.max_results = max;
    Grpc__Channelz__V1__GetServersResponse *reply = answer(a, PATH("GetServers"), &request.base,
        &grpc__channelz__v1__get_servers_response__descriptor);
    return reply;
}

static Grpc__Channelz__V1__Socket *socket_by_id(asked *a, int64_t id)
{
    Grpc__Channelz__V1__GetSocketRequest request = GRPC__CHANNELZ__V1__GET_SOCKET_REQUEST__INIT;
    request.socket_id = id;
    Grpc__Channelz__V1__GetSocketResponse *reply = answer(
        a, PATH("GetSocket"), &request.base, &grpc__channelz__v1__get_socket_response__descriptor);
    return reply->socket;
}

TEST(a_server_shows_its_calls_and_where_it_listens)
{
    asked a;
    begin(&a);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&a.f, NULL, "x", NULL, &status), RPC_OK);
    assert_int_equal(fixture_unary(&a.f, NULL, "fail", NULL, &status), RPC_NOT_FOUND);
    Grpc__Channelz__V1__GetServersResponse *reply = servers(&a, 0, 0);
    assert_int_equal(reply->n_server, 1);
    assert_true(reply->end);
    const Grpc__Channelz__V1__Server *server = reply->server[0];
    assert_int_equal(server->data->calls_started, 3); /* this one runs */
    assert_int_equal(server->data->calls_succeeded, 1);
    assert_int_equal(server->data->calls_failed, 1);
    assert_true(server->data->last_call_started_timestamp->seconds > 1700000000);
    assert_int_equal(server->n_listen_socket, 1);
    assert_string_equal(server->listen_socket[0]->name, rpc_listener_url(a.f.listener));
    const Grpc__Channelz__V1__Socket *socket = socket_by_id(
        &a, server->listen_socket[0]->socket_id);
    assert_int_equal(
        socket->local->address_case, GRPC__CHANNELZ__V1__ADDRESS__ADDRESS_TCPIP_ADDRESS);
    assert_int_equal(servers(&a, server->ref->server_id + 1, 0)->n_server, 0);
    end(&a);
}

TEST(a_servers_connection_shows_streams_addresses_cipher_and_certificate)
{
    asked a;
    begin(&a);
    Grpc__Channelz__V1__GetServerSocketsRequest request =
        GRPC__CHANNELZ__V1__GET_SERVER_SOCKETS_REQUEST__INIT;
    request.server_id = servers(&a, 0, 0)->server[0]->ref->server_id;
    Grpc__Channelz__V1__GetServerSocketsResponse *reply = answer(&a, PATH("GetServerSockets"),
        &request.base, &grpc__channelz__v1__get_server_sockets_response__descriptor);
    assert_int_equal(reply->n_socket_ref, 1);
    assert_true(reply->end);
    const Grpc__Channelz__V1__Socket *socket = socket_by_id(&a, reply->socket_ref[0]->socket_id);
    assert_int_equal(socket->data->streams_started, 3);
    assert_int_equal(socket->data->streams_succeeded, 2);
    assert_int_equal(socket->data->messages_received, 3);
    assert_int_equal(socket->data->messages_sent, 2);
    assert_non_null(socket->data->last_remote_stream_created_timestamp);
    assert_null(socket->data->last_local_stream_created_timestamp);
    static const uint8_t loopback[] = {127, 0, 0, 1};
    assert_int_equal(
        socket->remote->address_case, GRPC__CHANNELZ__V1__ADDRESS__ADDRESS_TCPIP_ADDRESS);
    assert_memory_equal(socket->remote->tcpip_address->ip_address.data, loopback, 4);
    assert_memory_equal(socket->local->tcpip_address->ip_address.data, loopback, 4);
    unsigned port = 0;
    assert_int_equal(sscanf(rpc_listener_url(a.f.listener), "tls+tcp://127.0.0.1:%u", &port), 1);
    assert_int_equal(socket->local->tcpip_address->port, port);
    assert_int_equal(strncmp(socket->security->tls->standard_name, "TLS_", 4), 0);
    assert_true(socket->security->tls->remote_certificate.len > 100);
    end(&a);
}

TEST(a_channel_shows_its_state_calls_subchannels_and_their_socket)
{
    asked a;
    begin(&a);
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&a.f, NULL, "x", NULL, &status), RPC_OK);
    Grpc__Channelz__V1__GetTopChannelsRequest top =
        GRPC__CHANNELZ__V1__GET_TOP_CHANNELS_REQUEST__INIT;
    Grpc__Channelz__V1__GetTopChannelsResponse *channels = answer(&a, PATH("GetTopChannels"),
        &top.base, &grpc__channelz__v1__get_top_channels_response__descriptor);
    assert_int_equal(channels->n_channel, 1);
    const Grpc__Channelz__V1__Channel *channel = channels->channel[0];
    assert_string_equal(channel->data->target, rpc_listener_url(a.f.listener));
    assert_int_equal(
        channel->data->state->state, GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__READY);
    assert_int_equal(channel->data->calls_started, 2);
    assert_int_equal(channel->data->calls_succeeded, 1);
    Grpc__Channelz__V1__GetChannelRequest one = GRPC__CHANNELZ__V1__GET_CHANNEL_REQUEST__INIT;
    one.channel_id = channel->ref->channel_id;
    Grpc__Channelz__V1__GetChannelResponse *again = answer(
        &a, PATH("GetChannel"), &one.base, &grpc__channelz__v1__get_channel_response__descriptor);
    assert_string_equal(again->channel->ref->name, channel->ref->name);
    assert_int_equal(channel->n_subchannel_ref, 1);
    Grpc__Channelz__V1__GetSubchannelRequest sub = GRPC__CHANNELZ__V1__GET_SUBCHANNEL_REQUEST__INIT;
    sub.subchannel_id = channel->subchannel_ref[0]->subchannel_id;
    Grpc__Channelz__V1__GetSubchannelResponse *reply = answer(&a, PATH("GetSubchannel"), &sub.base,
        &grpc__channelz__v1__get_subchannel_response__descriptor);
    assert_int_equal(reply->subchannel->data->state->state,
        GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__READY);
    assert_int_equal(reply->subchannel->n_socket_ref, 1);
    const Grpc__Channelz__V1__Socket *socket = socket_by_id(
        &a, reply->subchannel->socket_ref[0]->socket_id);
    assert_non_null(socket->data->last_local_stream_created_timestamp);
    assert_true(socket->security->tls->remote_certificate.len > 100);
    end(&a);
}

TEST(pages_end_where_they_say_and_go_on_from_there)
{
    asked a;
    begin(&a);
    rpc_server *more[3];
    rpc_server_options options = {.limits = a.f.limits};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(rpc_server_new(a.f.runtime, &options, &more[i], &a.status), RPC_OK);
    Grpc__Channelz__V1__GetServersResponse *first = servers(&a, 0, 3);
    assert_int_equal(first->n_server, 3);
    assert_false(first->end);
    Grpc__Channelz__V1__GetServersResponse *rest = servers(
        &a, first->server[2]->ref->server_id + 1, 3);
    assert_int_equal(rest->n_server, 1);
    assert_true(rest->end);
    assert_int_equal(servers(&a, 0, -5)->n_server, 4);
    assert_int_equal(servers(&a, -5, INT64_MAX)->n_server, 4);
    for (size_t i = 0; i < 3; i++)
        rpc_server_free(more[i]);
    assert_int_equal(servers(&a, 0, 0)->n_server, 1);
    end(&a);
}

TEST(an_answer_has_at_most_a_hundred_entries)
{
    asked a;
    begin(&a);
    static rpc_server *more[120];
    rpc_server_options options = {.limits = a.f.limits};
    for (size_t i = 0; i < 120; i++)
        assert_int_equal(rpc_server_new(a.f.runtime, &options, &more[i], &a.status), RPC_OK);
    Grpc__Channelz__V1__GetServersResponse *reply = servers(&a, 0, 1000);
    assert_int_equal(reply->n_server, 100);
    assert_false(reply->end);
    for (size_t i = 0; i < 120; i++)
        rpc_server_free(more[i]);
    end(&a);
}

TEST(ids_that_are_none_are_not_found)
{
    asked a;
    begin(&a);
    static const int64_t ids[] = {0, -1, 999999, INT64_MIN, INT64_MAX};
    ProtobufCMessage *reply = NULL;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        Grpc__Channelz__V1__GetServerRequest server = GRPC__CHANNELZ__V1__GET_SERVER_REQUEST__INIT;
        server.server_id = ids[i];
        assert_int_equal(ask(&a, PATH("GetServer"), &server.base,
                             &grpc__channelz__v1__get_server_response__descriptor, &reply),
            RPC_NOT_FOUND);
        Grpc__Channelz__V1__GetSocketRequest socket = GRPC__CHANNELZ__V1__GET_SOCKET_REQUEST__INIT;
        socket.socket_id = ids[i];
        assert_int_equal(ask(&a, PATH("GetSocket"), &socket.base,
                             &grpc__channelz__v1__get_socket_response__descriptor, &reply),
            RPC_NOT_FOUND);
        Grpc__Channelz__V1__GetServerSocketsRequest sockets =
            GRPC__CHANNELZ__V1__GET_SERVER_SOCKETS_REQUEST__INIT;
        sockets.server_id = ids[i];
        assert_int_equal(ask(&a, PATH("GetServerSockets"), &sockets.base,
                             &grpc__channelz__v1__get_server_sockets_response__descriptor, &reply),
            RPC_NOT_FOUND);
    }
    end(&a);
}
