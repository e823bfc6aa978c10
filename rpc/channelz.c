/* SPDX-License-Identifier: Apache-2.0 */
/* grpc.channelz.v1.Channelz: what the census of a runtime knows, as gRPC's tools ask for it.
 *
 * Answers are built in the call's arena while the census is locked, so that nothing that they show
 * ends meanwhile; an answer has at most PAGE_MAX entries. */
#include "channel.h"
#include "proto_grpc_descriptors.h"
#include "server.h"

#include "grpc/channelz/v1/channelz.pb-c.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_MAX      100
#define SCRATCH_BYTES 1024
_Static_assert(SCRATCH_BYTES >= PAGE_MAX * sizeof(void *), "a page of pointers");

typedef Grpc__Channelz__V1__Channelz_Service cz_service;
typedef Grpc__Channelz__V1__Channel cz_channel;
typedef Grpc__Channelz__V1__Subchannel cz_subchannel;
typedef Grpc__Channelz__V1__ChannelData cz_channel_data;
typedef Grpc__Channelz__V1__Server cz_server;
typedef Grpc__Channelz__V1__Socket cz_socket;
typedef Grpc__Channelz__V1__SocketData cz_socket_data;
typedef Grpc__Channelz__V1__SocketRef cz_socket_ref;
typedef Grpc__Channelz__V1__Address cz_address;
typedef Grpc__Channelz__V1__Security cz_security;

typedef struct channelz {
    cz_service service; /* first: handlers are given it */
    rpc_server *server;
} channelz;

/* What an answer is made with. Without memory all of it goes to scratch and counts as failed: what
 * was made is therefore written through its own pointer and never read back. */
typedef struct builder {
    rpc_arena *arena;
    rpc__census *census;
    int64_t wall_us; /* to be added to the runtime's monotonic time */
    bool failed;
    max_align_t scratch[SCRATCH_BYTES / sizeof(max_align_t)];
} builder;

static void *make(builder *b, size_t size)
{
    void *memory = rpc_arena_alloc(b->arena, size);
    if (memory)
        return memory;
    b->failed = true;
    return b->scratch;
}

/* A message of that type, as its generated initializer leaves it. */
static void *make_message(builder *b, const ProtobufCMessageDescriptor *descriptor)
{
    void *message = make(b, descriptor->sizeof_message);
    protobuf_c_message_init(descriptor, message);
    return message;
}
#define MAKE(b, name) make_message(b, &grpc__channelz__v1__##name##__descriptor)

static char *copy(builder *b, const char *text)
{
    size_t size = strlen(text) + 1;
    if (size > SCRATCH_BYTES)
        size = SCRATCH_BYTES;
    char *made = make(b, size);
    memcpy(made, text, size - 1);
    made[size - 1] = '\0';
    return made;
}

static Google__Protobuf__Timestamp *when(builder *b, int64_t us)
{
    if (us == 0)
        return NULL;
    int64_t wall_us = us + b->wall_us;
    Google__Protobuf__Timestamp *time = make_message(b, &google__protobuf__timestamp__descriptor);
    time->seconds = wall_us / 1000000;
    time->nanos = (int32_t)(wall_us % 1000000) * 1000;
    return time;
}

/* ---- addresses and security -------------------------------------------------------------------
 */

static cz_address *other_address(builder *b, const char *text)
{
    cz_address *address = MAKE(b, address);
    Grpc__Channelz__V1__Address__OtherAddress *other = MAKE(b, address__other_address);
    other->name = copy(b, text);
    address->address_case = GRPC__CHANNELZ__V1__ADDRESS__ADDRESS_OTHER_ADDRESS;
    address->other_address = other;
    return address;
}

/* "127.0.0.1:7443" or "[::1]:7443"; anything else is shown as it is. */
static cz_address *address_of(builder *b, const char *text)
{
    char host[64] = "";
    uint8_t bytes[16] = {0};
    const char *colon = strrchr(text, ':');
    bool six = text[0] == '[';
    size_t size = colon ? (size_t)(colon - text) : 0;
    if (size < 3 || size >= sizeof host || (six && text[size - 1] != ']'))
        return other_address(b, text);
    memcpy(host, text + six, size - 2u * six);
    if (inet_pton(six ? AF_INET6 : AF_INET, host, bytes) != 1)
        return other_address(b, text);
    cz_address *address = MAKE(b, address);
    Grpc__Channelz__V1__Address__TcpIpAddress *tcp = MAKE(b, address__tcp_ip_address);
    uint8_t *ip = make(b, sizeof bytes);
    memcpy(ip, bytes, sizeof bytes);
    tcp->ip_address = (ProtobufCBinaryData){six ? 16 : 4, ip};
    tcp->port = (int32_t)strtol(colon + 1, NULL, 10);
    address->address_case = GRPC__CHANNELZ__V1__ADDRESS__ADDRESS_TCPIP_ADDRESS;
    address->tcpip_address = tcp;
    return address;
}

static cz_address *address_of_url(builder *b, const char *url)
{
    if (strncmp(url, "ipc://", 6) != 0) {
        const char *rest = strstr(url, "://");
        return address_of(b, rest ? rest + 3 : url);
    }
    cz_address *address = MAKE(b, address);
    Grpc__Channelz__V1__Address__UdsAddress *uds = MAKE(b, address__uds_address);
    uds->filename = copy(b, url + 6);
    address->address_case = GRPC__CHANNELZ__V1__ADDRESS__ADDRESS_UDS_ADDRESS;
    address->uds_address = uds;
    return address;
}

/* After the handshake; the cipher is set when the peer's certificate stands. */
static cz_security *security_of(builder *b, const rpc__conn *conn)
{
    const char *cipher = atomic_load_explicit(&conn->tally.cipher, memory_order_acquire);
    if (!cipher)
        return NULL;
    cz_security *security = MAKE(b, security);
    Grpc__Channelz__V1__Security__Tls *tls = MAKE(b, security__tls);
    tls->cipher_suite_case = GRPC__CHANNELZ__V1__SECURITY__TLS__CIPHER_SUITE_STANDARD_NAME;
    tls->standard_name = copy(b, cipher);
    if (conn->peer.has_certificate) {
        rpc_bytes der = conn->peer.certificate_der;
        uint8_t *data = rpc_arena_alloc(b->arena, der.size);
        b->failed |= !data;
        if (data) {
            memcpy(data, der.data, der.size);
            tls->remote_certificate = (ProtobufCBinaryData){der.size, data};
        }
    }
    security->model_case = GRPC__CHANNELZ__V1__SECURITY__MODEL_TLS;
    security->tls = tls;
    return security;
}

/* ---- sockets ------------------------------------------------------------------------------------
 */

static cz_socket_ref *socket_ref(builder *b, const rpc__census_entry *entry)
{
    cz_socket_ref *ref = MAKE(b, socket_ref);
    ref->socket_id = (int64_t)entry->id;
    if (entry->kind == RPC__CENSUS_LISTENER)
        ref->name = copy(b, ((const rpc_listener *)entry->object)->url);
    else
        ref->name = copy(b, ((const rpc__conn *)entry->object)->address);
    return ref;
}

/* Those of owner from id on; *ret_next is the first that found no room, or NULL. */
static cz_socket_ref **socket_refs(builder *b, rpc__census_kind kind, const void *owner,
    uint64_t id, size_t max, size_t *ret_count, const rpc__census_entry **ret_next)
{
    cz_socket_ref **refs = make(b, PAGE_MAX * sizeof(cz_socket_ref *));
    const rpc__census_entry *entry = rpc__census_from(b->census, kind, owner, id);
    size_t count = 0;
    for (; entry && count < max; entry = rpc__census_next(entry, owner))
        refs[count++] = socket_ref(b, entry);
    *ret_count = count;
    if (ret_next)
        *ret_next = entry;
    return refs;
}

static cz_socket_data *socket_data(builder *b, const rpc__conn *conn)
{
    rpc_connection_stats stats;
    rpc__conn_stats(conn, &stats);
    cz_socket_data *data = MAKE(b, socket_data);
    data->streams_started = (int64_t)stats.streams_started;
    data->streams_succeeded = (int64_t)stats.streams_succeeded;
    data->streams_failed = (int64_t)stats.streams_failed;
    data->messages_sent = (int64_t)stats.messages_sent;
    data->messages_received = (int64_t)stats.messages_received;
    data->keep_alives_sent = (int64_t)stats.keepalives_sent;
    Google__Protobuf__Timestamp *stream = when(b, stats.last_stream_us);
    if (conn->server)
        data->last_remote_stream_created_timestamp = stream;
    else
        data->last_local_stream_created_timestamp = stream;
    data->last_message_sent_timestamp = when(b, stats.last_sent_us);
    data->last_message_received_timestamp = when(b, stats.last_received_us);
    return data;
}

static cz_address *local_address(builder *b, const rpc__conn *conn)
{
    const rpc__census_entry *entry = rpc__census_from(
        b->census, RPC__CENSUS_LISTENER, conn->server ? conn->owner : conn, 0);
    for (; entry; entry = rpc__census_next(entry, conn->owner)) {
        const rpc_listener *listener = entry->object;
        if (listener->name == conn->listener)
            return address_of_url(b, listener->url);
    }
    return NULL;
}

static cz_socket *socket_of(builder *b, const rpc__census_entry *entry)
{
    cz_socket *made = MAKE(b, socket);
    made->ref = socket_ref(b, entry);
    if (entry->kind == RPC__CENSUS_LISTENER) {
        made->local = address_of_url(b, ((const rpc_listener *)entry->object)->url);
        return made;
    }
    const rpc__conn *conn = entry->object;
    made->data = socket_data(b, conn);
    made->local = local_address(b, conn);
    made->remote = address_of(b, conn->address);
    made->security = security_of(b, conn);
    return made;
}

/* ---- servers and channels -----------------------------------------------------------------------
 */

static int64_t failed_of(const rpc_call_stats *stats)
{
    uint64_t failed = 0;
    for (size_t i = RPC_OK + 1; i < RPC_CODES; i++)
        failed += stats->ended[i];
    return (int64_t)failed;
}

static void *server_of(builder *b, const rpc__census_entry *entry)
{
    const rpc_server *server = entry->object;
    rpc_call_stats stats = rpc__server_calls(server);
    Grpc__Channelz__V1__ServerRef *ref = MAKE(b, server_ref);
    ref->server_id = (int64_t)entry->id;
    Grpc__Channelz__V1__ServerData *data = MAKE(b, server_data);
    data->calls_started = (int64_t)stats.started;
    data->calls_succeeded = (int64_t)stats.ended[RPC_OK];
    data->calls_failed = failed_of(&stats);
    data->last_call_started_timestamp = when(b, stats.last_started_us);
    size_t count = 0;
    cz_socket_ref **refs = socket_refs(b, RPC__CENSUS_LISTENER, server, 0, PAGE_MAX, &count, NULL);
    cz_server *made = MAKE(b, server);
    made->ref = ref;
    made->data = data;
    made->listen_socket = refs;
    made->n_listen_socket = count;
    return made;
}

static cz_channel_data *channel_data(
    builder *b, int state, const char *target, const rpc_call_stats *stats)
{
    Grpc__Channelz__V1__ChannelConnectivityState *connectivity = MAKE(
        b, channel_connectivity_state);
    connectivity->state = (Grpc__Channelz__V1__ChannelConnectivityState__State)state;
    cz_channel_data *data = MAKE(b, channel_data);
    data->state = connectivity;
    data->target = copy(b, target);
    if (!stats)
        return data;
    data->calls_started = (int64_t)stats->started;
    data->calls_succeeded = (int64_t)stats->ended[RPC_OK];
    data->calls_failed = failed_of(stats);
    data->last_call_started_timestamp = when(b, stats->last_started_us);
    return data;
}

static Grpc__Channelz__V1__SubchannelRef *sub_ref(builder *b, const rpc__census_entry *entry)
{
    Grpc__Channelz__V1__SubchannelRef *ref = MAKE(b, subchannel_ref);
    ref->subchannel_id = (int64_t)entry->id;
    ref->name = copy(b, ((const rpc__sub *)entry->object)->authority);
    return ref;
}

static void *channel_of(builder *b, const rpc__census_entry *entry)
{
    static const int states[] = {
        [RPC_CHANNEL_IDLE] = GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__IDLE,
        [RPC_CHANNEL_CONNECTING] =
            GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__CONNECTING,
        [RPC_CHANNEL_READY] = GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__READY,
        [RPC_CHANNEL_TRANSIENT_FAILURE] =
            GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__TRANSIENT_FAILURE,
        [RPC_CHANNEL_SHUTDOWN] = GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__SHUTDOWN,
    };
    const rpc_channel *channel = entry->object;
    rpc_call_stats stats;
    rpc_channel_call_stats(channel, &stats);
    Grpc__Channelz__V1__ChannelRef *ref = MAKE(b, channel_ref);
    ref->channel_id = (int64_t)entry->id;
    ref->name = copy(b, channel->target);
    Grpc__Channelz__V1__SubchannelRef **subs = make(b, PAGE_MAX * sizeof ref);
    size_t count = 0;
    for (const rpc__census_entry *sub =
             rpc__census_from(b->census, RPC__CENSUS_SUBCHANNEL, channel, 0);
         sub && count < PAGE_MAX; sub = rpc__census_next(sub, channel))
        subs[count++] = sub_ref(b, sub);
    cz_channel_data *data = channel_data(
        b, states[rpc_channel_get_state(channel)], channel->target, &stats);
    cz_channel *made = MAKE(b, channel);
    made->ref = ref;
    made->data = data;
    made->subchannel_ref = subs;
    made->n_subchannel_ref = count;
    return made;
}
_Static_assert(RPC_CONNECTIONS_MAX <= PAGE_MAX, "all subchannels of a channel are listed");

static cz_subchannel *subchannel_of(builder *b, const rpc__census_entry *entry)
{
    static const int states[] = {
        [RPC__SUB_IDLE] = GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__IDLE,
        [RPC__SUB_CONNECTING] = GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__CONNECTING,
        [RPC__SUB_READY] = GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__READY,
        [RPC__SUB_FAILED] =
            GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__TRANSIENT_FAILURE,
        [RPC__SUB_CLOSED] = GRPC__CHANNELZ__V1__CHANNEL_CONNECTIVITY_STATE__STATE__SHUTDOWN,
    };
    rpc__sub *sub = entry->object;
    pthread_mutex_lock(&sub->channel->lock);
    int state = states[sub->state];
    pthread_mutex_unlock(&sub->channel->lock);
    cz_subchannel *made = MAKE(b, subchannel);
    made->ref = sub_ref(b, entry);
    made->data = channel_data(b, state, sub->authority, NULL);
    made->socket_ref = socket_refs(
        b, RPC__CENSUS_CONNECTION, sub, 0, PAGE_MAX, &made->n_socket_ref, NULL);
    return made;
}

/* ---- requests
 * ------------------------------------------------------------------------------------ */

static builder begin(cz_service *service, rpc_call *call)
{
    rpc_runtime *runtime = rpc__server_runtime(((channelz *)service)->server);
    const rpc_clock *clock = rpc__runtime_clock(runtime);
    builder b = {.arena = rpc_call_arena(call),
        .census = rpc__runtime_census(runtime),
        .wall_us = rpc_clock_wall_ms(clock) * 1000 - rpc_clock_monotonic_us(clock)};
    pthread_mutex_lock(&b.census->lock);
    return b;
}

/* False: the call was failed. */
static bool finished(builder *b, rpc_call *call, bool found, const char *what)
{
    rpc_status status;
    pthread_mutex_unlock(&b->census->lock);
    if (found && !b->failed)
        return true;
    if (found)
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED,
            "channelz: no memory for the answer; ask for fewer (max_results)");
    else
        rpc_status_set(&status, RPC_NOT_FOUND,
            "channelz: there is no %s of that ID, or no longer; ask GetServers or GetTopChannels",
            what);
    rpc_call_fail(call, &status);
    return false;
}

static size_t page_size(int64_t asked)
{
    return asked > 0 && asked < PAGE_MAX ? (size_t)asked : PAGE_MAX;
}

static uint64_t id_of(int64_t id)
{
    return id > 0 ? (uint64_t)id : 0;
}

static const rpc__census_entry *find(const builder *b, rpc__census_kind kind, int64_t id)
{
    const rpc__census_entry *entry = id > 0 ? rpc__census_from(b->census, kind, NULL, id_of(id))
                                            : NULL;
    return entry && entry->id == (uint64_t)id ? entry : NULL;
}

/* One page of servers or channels. */
static void **page(builder *b, rpc__census_kind kind, int64_t start, int64_t max,
    void *(*make_one)(builder *b, const rpc__census_entry *entry), size_t *ret_count, bool *ret_end)
{
    void **list = make(b, PAGE_MAX * sizeof(void *));
    const rpc__census_entry *entry = rpc__census_from(b->census, kind, NULL, id_of(start));
    size_t count = 0;
    for (; entry && count < page_size(max); entry = rpc__census_next(entry, NULL))
        list[count++] = make_one(b, entry);
    *ret_count = count;
    *ret_end = !entry;
    return list;
}

static void get_servers(cz_service *service, const Grpc__Channelz__V1__GetServersRequest *request,
    Grpc__Channelz__V1__GetServersResponse_Closure closure, void *data)
{
    builder b = begin(service, data);
    Grpc__Channelz__V1__GetServersResponse answer = GRPC__CHANNELZ__V1__GET_SERVERS_RESPONSE__INIT;
    bool end = false;
    answer.server = (cz_server **)page(&b, RPC__CENSUS_SERVER, request->start_server_id,
        request->max_results, server_of, &answer.n_server, &end);
    answer.end = end;
    if (finished(&b, data, true, "server"))
        closure(&answer, data);
}

static void get_top_channels(cz_service *service,
    const Grpc__Channelz__V1__GetTopChannelsRequest *request,
    Grpc__Channelz__V1__GetTopChannelsResponse_Closure closure, void *data)
{
    builder b = begin(service, data);
    Grpc__Channelz__V1__GetTopChannelsResponse answer =
        GRPC__CHANNELZ__V1__GET_TOP_CHANNELS_RESPONSE__INIT;
    bool end = false;
    answer.channel = (cz_channel **)page(&b, RPC__CENSUS_CHANNEL, request->start_channel_id,
        request->max_results, channel_of, &answer.n_channel, &end);
    answer.end = end;
    if (finished(&b, data, true, "channel"))
        closure(&answer, data);
}

static void get_server(cz_service *service, const Grpc__Channelz__V1__GetServerRequest *request,
    Grpc__Channelz__V1__GetServerResponse_Closure closure, void *data)
{
    builder b = begin(service, data);
    Grpc__Channelz__V1__GetServerResponse answer = GRPC__CHANNELZ__V1__GET_SERVER_RESPONSE__INIT;
    const rpc__census_entry *entry = find(&b, RPC__CENSUS_SERVER, request->server_id);
    if (entry)
        answer.server = server_of(&b, entry);
    if (finished(&b, data, entry, "server"))
        closure(&answer, data);
}

static void get_server_sockets(cz_service *service,
    const Grpc__Channelz__V1__GetServerSocketsRequest *request,
    Grpc__Channelz__V1__GetServerSocketsResponse_Closure closure, void *data)
{
    builder b = begin(service, data);
    Grpc__Channelz__V1__GetServerSocketsResponse answer =
        GRPC__CHANNELZ__V1__GET_SERVER_SOCKETS_RESPONSE__INIT;
    const rpc__census_entry *entry = find(&b, RPC__CENSUS_SERVER, request->server_id), *next = NULL;
    if (entry)
        answer.socket_ref = socket_refs(&b, RPC__CENSUS_CONNECTION, entry->object,
            id_of(request->start_socket_id), page_size(request->max_results), &answer.n_socket_ref,
            &next);
    answer.end = !next;
    if (finished(&b, data, entry, "server"))
        closure(&answer, data);
}

static void get_channel(cz_service *service, const Grpc__Channelz__V1__GetChannelRequest *request,
    Grpc__Channelz__V1__GetChannelResponse_Closure closure, void *data)
{
    builder b = begin(service, data);
    Grpc__Channelz__V1__GetChannelResponse answer = GRPC__CHANNELZ__V1__GET_CHANNEL_RESPONSE__INIT;
    const rpc__census_entry *entry = find(&b, RPC__CENSUS_CHANNEL, request->channel_id);
    if (entry)
        answer.channel = channel_of(&b, entry);
    if (finished(&b, data, entry, "channel"))
        closure(&answer, data);
}

static void get_subchannel(cz_service *service,
    const Grpc__Channelz__V1__GetSubchannelRequest *request,
    Grpc__Channelz__V1__GetSubchannelResponse_Closure closure, void *data)
{
    builder b = begin(service, data);
    Grpc__Channelz__V1__GetSubchannelResponse answer =
        GRPC__CHANNELZ__V1__GET_SUBCHANNEL_RESPONSE__INIT;
    const rpc__census_entry *entry = find(&b, RPC__CENSUS_SUBCHANNEL, request->subchannel_id);
    if (entry)
        answer.subchannel = subchannel_of(&b, entry);
    if (finished(&b, data, entry, "subchannel"))
        closure(&answer, data);
}

static void get_socket(cz_service *service, const Grpc__Channelz__V1__GetSocketRequest *request,
    Grpc__Channelz__V1__GetSocketResponse_Closure closure, void *data)
{
    builder b = begin(service, data);
    Grpc__Channelz__V1__GetSocketResponse answer = GRPC__CHANNELZ__V1__GET_SOCKET_RESPONSE__INIT;
    const rpc__census_entry *entry = find(&b, RPC__CENSUS_CONNECTION, request->socket_id);
    if (!entry)
        entry = find(&b, RPC__CENSUS_LISTENER, request->socket_id);
    if (entry)
        answer.socket = socket_of(&b, entry);
    if (finished(&b, data, entry, "socket"))
        closure(&answer, data);
}

rpc_code rpc_server_add_channelz(
    rpc_server *server, const char *const *listeners, rpc_status *reterr)
{
    const rpc_service_options options = {
        .descriptor_set = {proto_grpc_descriptors, proto_grpc_descriptors_size},
        .listeners = listeners};
    channelz *made = calloc(1, sizeof *made);
    if (!made)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channelz: no memory");
    made->server = server;
    made->service = (cz_service){.base = GRPC__CHANNELZ__V1__CHANNELZ__BASE_INIT,
        .get_top_channels = get_top_channels,
        .get_servers = get_servers,
        .get_server = get_server,
        .get_server_sockets = get_server_sockets,
        .get_channel = get_channel,
        .get_subchannel = get_subchannel,
        .get_socket = get_socket};
    rpc_code code = rpc_server_add_service(server, &made->service.base, &options, reterr);
    if (code != RPC_OK) {
        free(made);
        return code;
    }
    rpc__server_set_slot(server, RPC__SLOT_CHANNELZ, made, free);
    return RPC_OK;
}
