/* SPDX-License-Identifier: Apache-2.0 */
/* From the socket to a method and back. A method waits for the store, so it runs on a pool, with a
 * copy of its request: the call may be over before. */
#include "admin_internal.h"

#include "program.h"
#include "sim_proto_descriptors.h"

#include <sodium.h>
#include <stdlib.h>

#define THREADS     16u /* they wait for the disk, and whoever waits together has one sync */
#define QUEUE_MAX   256u
#define ARENA_BYTES (4u << 20) /* of a call: the largest page of users */

typedef struct admin_service {
    Sim__V1__Admin_Service base;
    sim_admin *admin;
} admin_service;

struct sim_admin {
    sim_service *service;
    rpc_server *rpc;
    rpc_pool *pool;
    uid_t *uids;
    size_t uid_count;
    admin_service methods;
};

/* A call between the strand and the pool. */
typedef struct job {
    sim_admin *admin;
    rpc_call *call;
    ProtobufCClosure closure;
    const char *method;
    admin_method_fn *run;
    const ProtobufCMessageDescriptor *request_descriptor;
    uint8_t *packed; /* the request, which may hold a password */
    size_t packed_size;
    /* A call may end while it is worked on, and then it has none any more. */
    char request_id[HOST_REQUEST_ID_CHARS + 1];
} job;

/* ---- for methods
 * ----------------------------------------------------------------------------------- */

rpc_code admin_no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "the answer is larger than a call's memory; ask for smaller pages");
}

void *admin_new(admin_call *c, const ProtobufCMessageDescriptor *descriptor)
{
    void *message = rpc_arena_alloc(c->arena, descriptor->sizeof_message);
    if (message)
        protobuf_c_message_init(descriptor, message);
    return message;
}

char *admin_text(admin_call *c, const char *text)
{
    return rpc_arena_strndup(c->arena, text, strlen(text));
}

char **admin_texts(admin_call *c, const char *const *list, size_t *ret_count)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    char **texts = rpc_arena_alloc(c->arena, (count + 1) * sizeof *texts);
    for (size_t i = 0; texts && i < count; i++)
        if (!(texts[i] = admin_text(c, list[i])))
            return NULL;
    *ret_count = count;
    return texts;
}

uint32_t admin_page_size(uint32_t asked)
{
    if (asked == 0)
        return ADMIN_PAGE_DEFAULT;
    return asked < ADMIN_PAGE_MAX ? asked : ADMIN_PAGE_MAX;
}

/* ---- a call
 * ------------------------------------------------------------------------------------------ */

static void job_free(job *j)
{
    if (j->packed)
        sodium_memzero(j->packed, j->packed_size);
    free(j->packed);
    rpc_call_unref(j->call);
    free(j);
}

/* The value of a text field of the request, if it has it. */
static const char *field(const ProtobufCMessage *request, const char *name)
{
    const ProtobufCFieldDescriptor *found = protobuf_c_message_descriptor_get_field_by_name(
        request->descriptor, name);
    if (!found || found->type != PROTOBUF_C_TYPE_STRING)
        return "";
    return *(const char *const *)(const void *)((const char *)request + found->offset);
}

/* Whom it is about: `username`, `client_id`, or the client_id of `client`. */
static rpc_code audit(
    const job *j, const ProtobufCMessage *request, const char *outcome, rpc_status *reterr)
{
    const rpc_peer *peer = rpc_call_peer(j->call);
    const ProtobufCFieldDescriptor *client = protobuf_c_message_descriptor_get_field_by_name(
        request->descriptor, "client");
    const ProtobufCMessage *about =
        client ? *(ProtobufCMessage *const *)(const void *)((const char *)request + client->offset)
               : NULL;
    return SIM_AUDIT(j->admin->service, j->request_id, "admin", reterr,
        host_text("method", j->method), host_text("outcome", outcome),
        host_number("uid", peer->has_uid ? (int64_t)peer->uid : -1),
        host_who("user", field(request, "username")),
        host_text("client_id", field(about ? about : request, "client_id")));
}

static rpc_code run(const job *j, admin_call *c, rpc_status *reterr)
{
    ProtobufCMessage *request = NULL;
    rpc_code code = rpc_unpack(
        j->request_descriptor, rpc_bytes_of(j->packed, j->packed_size), c->arena, &request, reterr);
    if (code != RPC_OK)
        return code;
    c->request = request;
    bool ours = program_admin_caller(j->call, j->admin->uids, j->admin->uid_count);
    code = audit(j, request, ours ? "asked" : "refused", reterr);
    if (code == RPC_OK && !ours)
        code = rpc_status_set(reterr, RPC_PERMISSION_DENIED,
            "this service is for the operator; listen.admin.uids says who that is besides the "
            "server's own user");
    if (code != RPC_OK)
        return code;
    code = j->run(c, reterr);
    rpc_status why;
    if (code != RPC_OK && audit(j, request, rpc_code_name(code), &why) != RPC_OK)
        return rpc_status_text(reterr, why.code, why.message);
    return code;
}

static void wipe(const ProtobufCMessage *request, const char *name)
{
    char *secret = (char *)(uintptr_t)field(request, name);
    if (secret[0])
        sodium_memzero(secret, strlen(secret));
}

/* Pool. */
static void work(void *arg)
{
    job *j = arg;
    rpc_status status = {0};
    admin_call c = {.service = j->admin->service, .arena = rpc_arena_new(ARENA_BYTES)};
    rpc_code code = c.arena ? run(j, &c, &status) : admin_no_memory(&status);
    if (code == RPC_OK)
        j->closure(c.reply, j->call);
    else
        rpc_call_fail(j->call, &status);
    if (c.request) {
        wipe(c.request, "password");
        wipe(c.request, "password_hash");
    }
    rpc_arena_free(c.arena);
    job_free(j);
}

/* Strand. */
static void begin(admin_service *methods, const ProtobufCMessage *request, ProtobufCClosure closure,
    rpc_call *call, const char *method, admin_method_fn *fn)
{
    rpc_status status;
    sim_admin *admin = methods->admin;
    size_t size = protobuf_c_message_get_packed_size(request);
    job *j = calloc(1, sizeof *j);
    if (j) {
        *j = (job){.admin = admin,
            .call = rpc_call_ref(call),
            .closure = closure,
            .method = method,
            .run = fn,
            .request_descriptor = request->descriptor,
            .packed = malloc(size + 1),
            .packed_size = size};
        rpc_text_copy(j->request_id, sizeof j->request_id, host_rpc_request_id(call));
        if (j->packed) {
            protobuf_c_message_pack(request, j->packed);
            if (rpc_pool_submit(admin->pool, work, j) == RPC_OK)
                return;
        }
        job_free(j);
    }
    rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "simsd: too many calls wait; try again");
    rpc_call_fail(call, &status);
}

#define METHODS(X)                                                                                 \
    X(create_user, CreateUser, User)                                                               \
    X(get_user, GetUser, User)                                                                     \
    X(list_users, ListUsers, ListUsersResponse)                                                    \
    X(update_user, UpdateUser, User)                                                               \
    X(end_sessions, EndSessions, EndSessionsResponse)                                              \
    X(delete_user, DeleteUser, DeleteUserResponse)                                                 \
    X(create_client, CreateClient, CreateClientResponse)                                           \
    X(get_client, GetClient, Client)                                                               \
    X(list_clients, ListClients, ListClientsResponse)                                              \
    X(update_client, UpdateClient, Client)                                                         \
    X(delete_client, DeleteClient, DeleteClientResponse)                                           \
    X(get_status, GetStatus, GetStatusResponse)

#define DEFINE(name, method, reply)                                                                \
    static void on_##name(Sim__V1__Admin_Service *self, const Sim__V1__##method##Request *request, \
        Sim__V1__##reply##_Closure closure, void *call)                                            \
    {                                                                                              \
        begin((admin_service *)self, &request->base, (ProtobufCClosure)closure, call, #method,     \
            admin_##name);                                                                         \
    }
METHODS(DEFINE)

/* ---- life
 * -------------------------------------------------------------------------------------------- */

static rpc_code open_server(
    sim_admin *admin, host_rpc *calls, const host_values *settings, rpc_status *reterr)
{
#define MEMBER(name, method, reply) .name = on_##name,
    admin->methods = (admin_service){
        .base = {.base = SIM__V1__ADMIN__BASE_INIT, METHODS(MEMBER)},
        .admin = admin,
    };
    const rpc_interceptor interceptor = host_rpc_interceptor(calls);
    const rpc_server_options options = {.limits = host_rpc_limits(settings),
        .interceptors = &interceptor,
        .interceptor_count = 1,
        .on_event = host_rpc_event,
        .event_ctx = calls};
    const rpc_service_options described = {
        .descriptor_set = {sim_proto_descriptors, sim_proto_descriptors_size}};
    const rpc_listener_options listener = {
        .name = "admin", .url = host_string(settings, "listen.admin.url")};
    rpc_status why = {0};
    rpc_code code = rpc_server_new(admin->service->runtime, &options, &admin->rpc, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_service(admin->rpc, &admin->methods.base.base, &described, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_health(admin->rpc, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_channelz(admin->rpc, NULL, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_reflection(admin->rpc, reterr);
    if (code == RPC_OK && (code = rpc_server_listen(admin->rpc, &listener, NULL, &why)) != RPC_OK)
        code = rpc_status_set(reterr, code, "'listen.admin.url': %.300s", why.message);
    if (code == RPC_OK && (code = rpc_server_start(admin->rpc, reterr)) == RPC_OK)
        host_rpc_show(calls, admin->rpc);
    return code;
}

rpc_code sim_admin_start(sim_service *service, host_rpc *calls, const host_values *settings,
    sim_admin **ret, rpc_status *reterr)
{
    *ret = NULL;
    if (!host_string(settings, "listen.admin.url")[0])
        return RPC_OK;
    sim_admin *admin = calloc(1, sizeof *admin);
    if (!admin)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "admin: no memory");
    admin->service = service;
    rpc_code code = program_admin_uids(settings, &admin->uids, &admin->uid_count, reterr);
    if (code == RPC_OK)
        code = rpc_pool_new(service->runtime, "admin", THREADS, QUEUE_MAX, &admin->pool, reterr);
    if (code == RPC_OK)
        code = open_server(admin, calls, settings, reterr);
    if (code != RPC_OK) {
        sim_admin_stop(admin, 0);
        return code;
    }
    rpc_server_set_health(admin->rpc, "", true);
    rpc_server_set_health(admin->rpc, "sim.v1.Admin", true);
    *ret = admin;
    return RPC_OK;
}

void sim_admin_stop(sim_admin *admin, int64_t grace_ms)
{
    if (!admin)
        return;
    if (admin->rpc)
        rpc_server_stop(admin->rpc, grace_ms);
    rpc_pool_free(admin->pool); /* its jobs hold calls of the server */
    rpc_server_free(admin->rpc);
    free(admin->uids);
    free(admin);
}
