/* SPDX-License-Identifier: Apache-2.0 */
/* From the socket to a method and back: who may, and what the audit trail says of it. */
#include "admin_internal.h"

#include "sim_proto_descriptors.h"

#include <stdlib.h>

#define THREADS     16u /* they wait for the disk, and whoever waits together has one sync */
#define QUEUE_MAX   256u
#define ARENA_BYTES (4u << 20) /* of a call: the largest page of users */

typedef struct admin_methods {
    Sim__V1__Admin_Service base;
    sim_admin *admin;
} admin_methods;

struct sim_admin {
    sim_service *service;
    rpc_server *rpc;
    rpc_pool *pool;
    program_calls calls;
    uid_t *uids;
    size_t uid_count;
    admin_methods methods;
};

typedef struct method {
    const char *name;
    admin_method_fn *run;
} method;

/* ---- for methods
 * ----------------------------------------------------------------------------------- */

sim_service *admin_service(const program_call *c)
{
    return ((sim_admin *)c->service)->service;
}

char **admin_texts(program_call *c, const char *const *list, size_t *ret_count)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    char **texts = rpc_arena_alloc(c->arena, (count + 1) * sizeof *texts);
    for (size_t i = 0; texts && i < count; i++)
        if (!(texts[i] = program_call_text(c, list[i])))
            return NULL;
    *ret_count = count;
    return texts;
}

/* ---- a call
 * ------------------------------------------------------------------------------------------ */

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
static rpc_code audit(program_call *c, const char *outcome, rpc_status *reterr)
{
    const rpc_peer *peer = rpc_call_peer(c->call);
    const method *m = c->method;
    const ProtobufCMessage *request = c->request;
    const ProtobufCFieldDescriptor *client = protobuf_c_message_descriptor_get_field_by_name(
        request->descriptor, "client");
    const ProtobufCMessage *about =
        client ? *(ProtobufCMessage *const *)(const void *)((const char *)request + client->offset)
               : NULL;
    return SIM_AUDIT(admin_service(c), c->request_id, "admin", reterr, host_text("method", m->name),
        host_text("outcome", outcome), host_number("uid", peer->has_uid ? (int64_t)peer->uid : -1),
        host_who("user", field(request, "username")),
        host_text("client_id", field(about ? about : request, "client_id")));
}

static rpc_code run(program_call *c, rpc_status *reterr)
{
    const sim_admin *admin = c->service;
    const method *m = c->method;
    const bool ours = program_admin_caller(c->call, admin->uids, admin->uid_count);
    rpc_status why;
    rpc_code code = audit(c, ours ? "asked" : "refused", reterr);
    if (code == RPC_OK && !ours)
        code = rpc_status_set(reterr, RPC_PERMISSION_DENIED,
            "this service is for the operator; listen.admin.uids says who that is besides the "
            "server's own user");
    if (code != RPC_OK)
        return code;
    code = m->run(c, reterr);
    if (code != RPC_OK && audit(c, rpc_code_name(code), &why) != RPC_OK)
        return rpc_status_text(reterr, why.code, why.message);
    return code;
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

#define DEFINE(name, rpc, reply)                                                                   \
    static void on_##name(Sim__V1__Admin_Service *self, const Sim__V1__##rpc##Request *request,    \
        Sim__V1__##reply##_Closure closure, void *call)                                            \
    {                                                                                              \
        static const method it = {#rpc, admin_##name};                                             \
        program_call_begin(&((admin_methods *)self)->admin->calls, &it, &request->base,            \
            (ProtobufCClosure)closure, call);                                                      \
    }
METHODS(DEFINE)

/* ---- life
 * -------------------------------------------------------------------------------------------- */

static rpc_code open_server(
    sim_admin *admin, host_rpc *calls, const host_values *settings, rpc_status *reterr)
{
#define MEMBER(name, method, reply) .name = on_##name,
    admin->methods = (admin_methods){
        .base = {.base = SIM__V1__ADMIN__BASE_INIT, METHODS(MEMBER)},
        .admin = admin,
    };
    const rpc_code code = program_admin_serve(admin->service->runtime, calls, settings,
        &admin->methods.base.base, rpc_bytes_of(sim_proto_descriptors, sim_proto_descriptors_size),
        &admin->rpc, reterr);
    if (code == RPC_OK)
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
    admin->calls = (program_calls){
        .pool = admin->pool, .service = admin, .arena_bytes = ARENA_BYTES, .run = run};
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
